#include "show.h"

#include <stdlib.h>
#include <string.h>

enum {
    NAME_COLUMNS_MAX = 14,
    WIDE = 60,   /* columns from which ids are shown */
    NARROW = 50, /* columns below which names are cut shorter */
    NAME_COLUMNS_NARROW = 8,
    DAY_LINE_MAX = 76,
};

const char *show_mark(const char *state)
{
    static const char *const marks[][2] = {
        {"queued", "· queued"},       {"sent", "› sent"},  {"stored", "» stored"},
        {"delivered", "✓ delivered"}, {"read", "✓✓ read"},
    };
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        if (strcmp(state, marks[i][0]) == 0) {
            return marks[i][1];
        }
    }
    return "";
}

/* Who wrote it, as the terminal names them; freed by the caller. */
static char *author(const struct show *s, const json_t *m)
{
    bool mine = cli_true(m, "mine");
    if (mine && s->conversation) {
        char *with = cli_shown(cli_str(m, "conversation")), *out;
        if (asprintf(&out, "me→%s", with) >= 0) {
            free(with);
            return out;
        }
        return with;
    }
    return cli_shown(mine ? "me" : cli_str(m, "from"));
}

void show_prepare(struct show *s, const json_t *messages)
{
    size_t i, max = s->cli->width < NARROW ? NAME_COLUMNS_NARROW : NAME_COLUMNS_MAX;
    json_t *m;
    json_array_foreach(messages, i, m)
    {
        char *name = author(s, m);
        size_t w = fmt_width(name);
        if (w > s->name_width) {
            s->name_width = w < max ? w : max;
        }
        free(name);
    }
}

static void show_line(json_t *m)
{
    char when[FMT_TIME_MAX];
    fmt_iso(cli_int(m, "time_ms"), when);
    (void)printf("%s\t", when);
    fmt_put(stdout, cli_str(m, "from"), FMT_LINE);
    (void)printf("\t%s\t%.*s\t", cli_str(m, "state"), CLI_ID_SHOWN, cli_str(m, "id"));
    const json_t *text = json_object_get(m, "text");
    char *shown = fmt_escape(cli_str(m, "text"), json_string_length(text), FMT_LINE);
    (void)fputs(shown != NULL ? shown : "", stdout);
    (void)fputc('\n', stdout);
    free(shown);
}

/* ── Sun 22 Nov 2026 ────── */
static void show_day(struct show *s, uint64_t time_ms)
{
    char day[FMT_TIME_MAX];
    size_t line = s->cli->width < DAY_LINE_MAX ? s->cli->width : DAY_LINE_MAX;
    fmt_day(time_ms, day);
    if (strcmp(day, s->day) == 0) {
        return;
    }
    memcpy(s->day, day, sizeof day);
    (void)printf("%s── %s ", cli_dim(s->cli), day);
    for (size_t w = strlen(day) + 4; w < line; w++) {
        (void)fputs("─", stdout);
    }
    (void)printf("%s\n", cli_plain(s->cli));
}

/* The word behind a message of ours, on the same line when it fits. */
static void show_state(struct show *s, const char *state, size_t column, size_t indent)
{
    const char *mark = show_mark(state);
    if (column + 2 + fmt_width(mark) <= s->cli->width) {
        (void)printf("  ");
    } else {
        (void)printf("\n%*s", (int)indent, "");
    }
    (void)printf("%s%s%s", cli_dim(s->cli), mark, cli_plain(s->cli));
}

static void show_people(struct show *s, json_t *m)
{
    struct cli *c = s->cli;
    uint64_t time_ms = cli_int(m, "time_ms");
    char clock[FMT_TIME_MAX];
    char *name = author(s, m);
    const json_t *text = json_object_get(m, "text");
    char *shown = fmt_escape(cli_str(m, "text"), json_string_length(text), FMT_TEXT);
    show_day(s, time_ms);
    fmt_clock(time_ms, clock);
    if (cli_true(m, "gap")) {
        (void)printf("%s  … something before this is missing%s\n", cli_dim(c),
                     cli_plain(c));
    }
    size_t indent = strlen(clock) + 1;
    (void)printf("%s ", clock);
    if (c->width >= WIDE) {
        (void)printf("%s%.*s%s ", cli_dim(c), CLI_ID_SHOWN, cli_str(m, "id"),
                     cli_plain(c));
        indent += CLI_ID_SHOWN + 1;
    }
    (void)fputs(cli_bold(c), stdout);
    fmt_pad(stdout, name, s->name_width);
    (void)printf("%s  ", cli_plain(c));
    indent += s->name_width + 2;
    const char *reply = cli_str(m, "reply_to");
    size_t start = indent;
    if (reply[0] != '\0') {
        (void)printf("%sto %.*s%s\n%*s", cli_dim(c), CLI_ID_SHOWN, reply, cli_plain(c),
                     (int)indent, "");
    }
    size_t column = fmt_wrap(stdout, shown != NULL ? shown : "", start, c->width);
    if (cli_true(m, "mine")) {
        show_state(s, cli_str(m, "state"), column, indent);
    }
    (void)fputc('\n', stdout);
    free(shown);
    free(name);
}

void show_message(struct show *s, json_t *m)
{
    if (s->cli->json) {
        cli_json(m);
    } else if (s->cli->tty_out) {
        show_people(s, m);
    } else {
        show_line(m);
    }
}

void show_conflict(const char *name, const char *other)
{
    char *a = cli_shown(name), *b = cli_shown(other);
    char *x = cli_word(name), *y = cli_word(other);
    cli_say("Careful: %s and %s claim the same name. Somebody began anew, or pretends to "
            "be them: nothing is sent to either before you say who is who. Compare the "
            "numbers, face to face or by voice:\n"
            "    linnet verify %s\n"
            "    linnet verify %s\n"
            "Then remove the one that is gone or wrong, or give it another name:\n"
            "    linnet contact remove NAME\n"
            "    linnet contact rename NAME NEW",
            a, b, x, y);
    free(a);
    free(b);
    free(x);
    free(y);
}

/* How somebody is, or what they write. */
static void show_presence_text(const json_t *e)
{
    const char *what = cli_str(e, "what"), *more = "";
    const json_t *live = json_object_get(e, "live");
    if (strcmp(what, "typing") == 0) {
        (void)fputs(cli_true(e, "typing") ? "typing" : "not typing", stdout);
    } else if (strcmp(what, "live") == 0) {
        (void)printf("live %s", cli_true(live, "ours") && cli_true(live, "theirs") ? "on"
                                : cli_true(live, "theirs") ? "wanted by them"
                                : cli_true(live, "ours")   ? "wanted by us"
                                                           : "off");
        more = cli_str(e, "text");
    } else {
        fmt_put(stdout, cli_str(e, "presence"), FMT_LINE);
        (void)fputs(cli_true(e, "automatic") ? " (by itself)" : "", stdout);
        more = cli_str(e, "status");
    }
    if (more[0] != '\0') {
        (void)fputs(": ", stdout);
        fmt_put(stdout, more, FMT_LINE);
    }
}

void show_like(const char *name, const char *like)
{
    char *a = cli_shown(name), *b = cli_shown(like), *x = cli_word(name);
    cli_say(
        "Careful: %s looks like %s, but is written with other letters and is somebody "
        "else. Make sure who it is:\n    linnet verify %s",
        a, b, x);
    free(a);
    free(b);
    free(x);
}

void show_claims(const json_t *contact)
{
    const char *name = cli_str(contact, "name");
    if (cli_true(contact, "conflict")) {
        const char *rival = cli_str(contact, "rival");
        show_conflict(name, rival[0] != '\0' ? rival : "another");
    } else if (cli_str(contact, "like")[0] != '\0') {
        show_like(name, cli_str(contact, "like"));
    }
}

/* What an event is about, in words. */
static void show_event_text(const char *topic, const json_t *e)
{
    if (strcmp(topic, "message") == 0) {
        fmt_put(stdout, cli_str(e, "from"), FMT_LINE);
        (void)printf("\t%.*s\t", CLI_ID_SHOWN, cli_str(e, "id"));
        fmt_put(stdout, cli_str(e, "text"), FMT_LINE);
    } else if (strcmp(topic, "state") == 0) {
        fmt_put(stdout, cli_str(e, "conversation"), FMT_LINE);
        (void)printf("\t%.*s\t%s", CLI_ID_SHOWN, cli_str(e, "id"), cli_str(e, "state"));
    } else if (strcmp(topic, "presence") == 0) {
        fmt_put(stdout, cli_str(e, "name"), FMT_LINE);
        (void)printf("\t%.*s\t", CLI_ID_SHOWN, cli_str(e, "root"));
        show_presence_text(e);
    } else {
        fmt_put(stdout, cli_str(e, "name"), FMT_LINE);
        (void)printf("\t%.*s\t", CLI_ID_SHOWN, cli_str(e, "root"));
        fmt_put(stdout, cli_str(e, "what"), FMT_LINE);
        if (cli_str(e, "reason")[0] != '\0') {
            (void)fputs(": ", stdout);
            fmt_put(stdout, cli_str(e, "reason"), FMT_LINE);
        }
    }
}

void show_event(struct cli *c, const char *topic, json_t *event)
{
    if (c->json) {
        json_t *with = json_copy(event);
        (void)json_object_set_new(with, "topic", json_string(topic));
        cli_json(with);
        json_decref(with);
        return;
    }
    const json_t *n = json_object_get(event, "n");
    if (json_is_integer(n)) {
        (void)printf("%llu\t%s\t", (unsigned long long)cli_int(event, "n"), topic);
    } else {
        (void)printf("-\t%s\t", topic);
    }
    show_event_text(topic, event);
    (void)fputc('\n', stdout);
}
