#include "show.h"

#include <stdlib.h>
#include <string.h>

enum {
    NAME_COLUMNS_MAX = 14,
    WIDE = 60,   /* columns from which ids are shown */
    NARROW = 50, /* columns below which names are cut shorter */
    NAME_COLUMNS_NARROW = 8,
    DAY_LINE_MAX = 76,
    QUOTE_MIN = 8, /* columns from which what is replied to is quoted */
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
    s->around = messages;
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

void show_words(const json_t *m)
{
    json_t *r;
    size_t i;
    (void)fputs(cli_str(m, "state"), stdout);
    (void)fputs(cli_true(m, "redacted")     ? ",redacted"
                : cli_int(m, "edited") != 0 ? ",edited"
                                            : "",
                stdout);
    if (cli_str(m, "reply_to")[0] != '\0') {
        (void)printf(",>%.*s", CLI_ID_SHOWN, cli_str(m, "reply_to"));
    }
    json_array_foreach(json_object_get(m, "reactions"), i, r)
    {
        (void)fputs(",+", stdout);
        fmt_put(stdout, cli_str(r, "emoji"), FMT_LINE);
    }
}

static void put_text(const json_t *m, const char *key, enum fmt_mode mode)
{
    const json_t *text = json_object_get(m, key);
    char *shown = fmt_escape(cli_str(m, key), json_string_length(text), mode);
    (void)fputs(shown != NULL ? shown : "", stdout);
    free(shown);
}

bool show_is_file(const json_t *m)
{
    return strcmp(cli_str(m, "kind"), "file") == 0 && !cli_true(m, "redacted");
}

/* What follows the name: its size, number, and state or what to do. */
static void put_file_rest(FILE *f, const json_t *m, const json_t *file)
{
    unsigned long long n = cli_int(file, "n");
    const char *state = cli_str(file, "state");
    char size[FMT_TIME_MAX];
    if (json_is_integer(json_object_get(file, "size"))) {
        fmt_size(cli_int(file, "size"), size);
        (void)fprintf(f, " %s", size);
    }
    if (n > 0 && !cli_true(m, "mine") && strcmp(state, "offered") == 0) {
        (void)fprintf(f, "  #%llu: linnet transfers accept %llu", n, n);
    } else if (n > 0) {
        (void)fprintf(f, "  #%llu %s", n, state);
    }
}

char *show_file_text(const json_t *m, bool people)
{
    const json_t *file = json_object_get(m, "file");
    const char *kind = cli_str(file, "kind");
    char *out = NULL;
    size_t len;
    FILE *f = open_memstream(&out, &len);
    if (f == NULL) {
        return cli_shown("");
    }
    (void)fprintf(f, "[%s", kind[0] != '\0' ? kind : "file");
    if (!people && cli_int(file, "n") > 0) {
        (void)fprintf(f, " #%llu ", (unsigned long long)cli_int(file, "n"));
        if (json_is_integer(json_object_get(file, "size"))) {
            (void)fprintf(f, "%llu", (unsigned long long)cli_int(file, "size"));
        } else {
            (void)fputc('-', f);
        }
    }
    (void)fputs("] ", f);
    fmt_put(f, cli_str(m, "text"), people ? FMT_NAME : FMT_LINE);
    if (people) {
        put_file_rest(f, m, file);
    }
    if (fclose(f) != 0) {
        free(out);
        return cli_shown("");
    }
    return out;
}

static void show_line(json_t *m)
{
    char when[FMT_TIME_MAX];
    fmt_iso(cli_int(m, "time_ms"), when);
    (void)printf("%s\t", when);
    fmt_put(stdout, cli_str(m, "from"), FMT_LINE);
    (void)fputc('\t', stdout);
    show_words(m);
    (void)printf("\t%.*s\t", CLI_ID_SHOWN, cli_str(m, "id"));
    if (show_is_file(m)) {
        char *file = show_file_text(m, false);
        (void)fputs(file, stdout);
        free(file);
    } else {
        put_text(m, "text", FMT_LINE);
    }
    (void)fputc('\n', stdout);
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

/* A word behind a text, on the same line when it fits. The column behind it. */
static size_t show_behind(struct show *s, const char *word, size_t column, size_t indent)
{
    if (column + 2 + fmt_width(word) <= s->cli->width) {
        (void)printf("  ");
        column += 2;
    } else {
        (void)printf("\n%*s", (int)indent, "");
        column = indent;
    }
    (void)printf("%s%s%s", cli_dim(s->cli), word, cli_plain(s->cli));
    return column + fmt_width(word);
}

/* The message of that id: among those being printed, else of the node. NULL, or the
 * caller's. */
static json_t *find_message(struct show *s, const char *id)
{
    struct client_fail fail;
    json_t *m;
    size_t i;
    json_array_foreach(s->around, i, m)
    {
        if (strcmp(cli_str(m, "id"), id) == 0) {
            return json_incref(m);
        }
    }
    if (s->cli->client != NULL &&
        client_call(s->cli->client, "message", json_pack("{s:s}", "id", id),
                    CLIENT_ANSWER_MS, &m, &fail) == 0) {
        return m;
    }
    return NULL;
}

/* ↪ 1a2b3c4d bob: what they wrote …   on one line of its own. */
static void show_reply(struct show *s, const char *id, size_t indent)
{
    struct cli *c = s->cli;
    json_t *to = find_message(s, id);
    (void)printf("%s↪ %.*s", cli_dim(c), CLI_ID_SHOWN, id);
    size_t used = indent + 2 + CLI_ID_SHOWN;
    if (to != NULL) {
        char *name = cli_shown(cli_true(to, "mine") ? "me" : cli_str(to, "from"));
        const json_t *text = json_object_get(to, "text");
        char *shown = show_is_file(to) ? show_file_text(to, true)
                                       : fmt_escape(cli_str(to, "text"),
                                                    json_string_length(text), FMT_LINE);
        (void)printf(" %s: ", name);
        used += fmt_width(name) + 3;
        const char *what = cli_true(to, "redacted") ? "redacted"
                           : shown != NULL          ? shown
                                                    : "";
        if (used + QUOTE_MIN <= c->width) {
            size_t room = c->width - used, len = fmt_width(what);
            fmt_pad(stdout, what, len < room ? len : room);
        }
        free(shown);
        free(name);
        json_decref(to);
    }
    (void)printf("%s\n%*s", cli_plain(c), (int)indent, "");
}

/* 👍 ann, bob  ❤ me   each emoji once, in the order in which it was first given. */
static void show_reactions(struct show *s, const json_t *m, size_t indent)
{
    const json_t *list = json_object_get(m, "reactions");
    json_t *r, *o;
    size_t i, k;
    if (json_array_size(list) == 0) {
        return;
    }
    (void)printf("\n%*s%s", (int)indent, "", cli_dim(s->cli));
    json_array_foreach(list, i, r)
    {
        const char *emoji = cli_str(r, "emoji");
        bool before = false, first = true;
        for (k = 0; k < i; k++) {
            before =
                before || strcmp(cli_str(json_array_get(list, k), "emoji"), emoji) == 0;
        }
        if (before) {
            continue;
        }
        (void)fputs(i == 0 ? "" : "  ", stdout);
        fmt_put(stdout, emoji, FMT_LINE);
        json_array_foreach(list, k, o)
        {
            if (k >= i && strcmp(cli_str(o, "emoji"), emoji) == 0) {
                (void)fputs(first ? " " : ", ", stdout);
                fmt_put(stdout, cli_str(o, "from"), FMT_LINE);
                first = false;
            }
        }
    }
    (void)fputs(cli_plain(s->cli), stdout);
}

/* The clock, the id where there is room, and a name. The column behind them. */
static size_t show_head(struct show *s, uint64_t time_ms, const char *id,
                        const char *name)
{
    struct cli *c = s->cli;
    char clock[FMT_TIME_MAX];
    fmt_clock(time_ms, clock);
    size_t indent = strlen(clock) + 1;
    (void)printf("%s ", clock);
    if (c->width >= WIDE) {
        (void)printf("%s%.*s%s ", cli_dim(c), CLI_ID_SHOWN, id, cli_plain(c));
        indent += CLI_ID_SHOWN + 1;
    }
    (void)fputs(cli_bold(c), stdout);
    fmt_pad(stdout, name, s->name_width);
    (void)printf("%s  ", cli_plain(c));
    return indent + s->name_width + 2;
}

static void show_people(struct show *s, json_t *m)
{
    struct cli *c = s->cli;
    bool redacted = cli_true(m, "redacted");
    char *name = author(s, m);
    const json_t *text = json_object_get(m, "text");
    char *shown = show_is_file(m) ? show_file_text(m, true)
                                  : fmt_escape(cli_str(m, "text"),
                                               json_string_length(text), FMT_TEXT);
    show_day(s, cli_int(m, "time_ms"));
    if (cli_true(m, "gap")) {
        (void)printf("%s  … something before this is missing%s\n", cli_dim(c),
                     cli_plain(c));
    }
    size_t indent = show_head(s, cli_int(m, "time_ms"), cli_str(m, "id"), name);
    if (cli_str(m, "reply_to")[0] != '\0') {
        show_reply(s, cli_str(m, "reply_to"), indent);
    }
    size_t column = indent;
    if (redacted) {
        column += sizeof "redacted" - 1;
        (void)printf("%sredacted%s", cli_dim(c), cli_plain(c));
    } else {
        column = fmt_wrap(stdout, shown != NULL ? shown : "", indent, c->width);
    }
    if (cli_int(m, "edited") != 0) {
        column = show_behind(s, "(edited)", column, indent);
    }
    if (cli_true(m, "mine")) {
        (void)show_behind(s, show_mark(cli_str(m, "state")), column, indent);
    }
    show_reactions(s, m, indent);
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

bool show_is_change(const json_t *e)
{
    const char *what = cli_str(e, "what");
    return strcmp(what, "edited") == 0 || strcmp(what, "redacted") == 0 ||
           strcmp(what, "reaction") == 0;
}

/* For people: what somebody did to a message. */
static void change_people(struct show *s, const json_t *e)
{
    const char *what = cli_str(e, "what"), *emoji = cli_str(e, "emoji");
    struct cli *c = s->cli;
    char *name = cli_shown(cli_str(e, "from"));
    show_day(s, cli_now_ms());
    size_t indent = show_head(s, cli_now_ms(), cli_str(e, "id"), name);
    (void)fputs(cli_dim(c), stdout);
    if (c->width < WIDE) {
        (void)printf("%.*s ", CLI_ID_SHOWN, cli_str(e, "id"));
        indent += CLI_ID_SHOWN + 1;
    }
    if (strcmp(what, "edited") == 0) {
        const json_t *text = json_object_get(e, "text");
        char *shown = fmt_escape(cli_str(e, "text"), json_string_length(text), FMT_TEXT);
        (void)printf("edited: %s", cli_plain(c));
        (void)fmt_wrap(stdout, shown != NULL ? shown : "", indent + sizeof "edited: " - 1,
                       c->width);
        free(shown);
    } else if (strcmp(what, "redacted") == 0) {
        (void)fputs("took this message back", stdout);
    } else if (emoji[0] == '\0') {
        (void)fputs("took the reaction back", stdout);
    } else {
        (void)fputs("reacted ", stdout);
        fmt_put(stdout, emoji, FMT_LINE);
    }
    (void)printf("%s\n", cli_plain(c));
    free(name);
}

void show_change(struct show *s, json_t *e)
{
    const char *what = cli_str(e, "what");
    if (s->cli->json) {
        json_t *line = json_copy(e);
        (void)json_object_set_new(line, "kind", json_string(what));
        cli_json(line);
        json_decref(line);
    } else if (s->cli->tty_out) {
        change_people(s, e);
    } else {
        char when[FMT_TIME_MAX];
        fmt_iso(cli_now_ms(), when);
        (void)printf("%s\t", when);
        fmt_put(stdout, cli_str(e, "from"), FMT_LINE);
        (void)printf("\t%s\t%.*s\t", what, CLI_ID_SHOWN, cli_str(e, "id"));
        put_text(e, strcmp(what, "reaction") == 0 ? "emoji" : "text", FMT_LINE);
        (void)fputc('\n', stdout);
    }
}

/* WHO \t #N \t what: NAME, of a file; with how far it has come. */
static void show_transfer_text(const json_t *e)
{
    const json_t *t = json_object_get(e, "transfer");
    bool progress = json_is_object(t);
    fmt_put(stdout, progress ? cli_str(t, "conversation") : cli_str(e, "contact"),
            FMT_LINE);
    (void)printf("\t#%llu\t", (unsigned long long)(progress ? cli_int(t, "n")
                                                            : cli_int(e, "transfer")));
    fmt_put(stdout, cli_str(e, "what"), FMT_LINE);
    if (progress && json_is_integer(json_object_get(t, "percent"))) {
        (void)printf(" %llu%%", (unsigned long long)cli_int(t, "percent"));
    }
    (void)fputs(": ", stdout);
    fmt_put(stdout, cli_str(progress ? t : e, "name"), FMT_LINE);
}

/* What an event is about, in words. */
static void show_event_text(const char *topic, const json_t *e)
{
    if (strcmp(topic, "message") == 0) {
        fmt_put(stdout, cli_str(e, "from"), FMT_LINE);
        (void)printf("\t%.*s\t", CLI_ID_SHOWN, cli_str(e, "id"));
        if (show_is_file(e)) {
            char *file = show_file_text(e, false);
            (void)fputs(file, stdout);
            free(file);
        } else {
            fmt_put(stdout, cli_str(e, "text"), FMT_LINE);
        }
    } else if (strcmp(topic, "transfer") == 0) {
        show_transfer_text(e);
    } else if (strcmp(topic, "state") == 0) {
        fmt_put(stdout, cli_str(e, "conversation"), FMT_LINE);
        bool change = show_is_change(e);
        (void)printf("\t%.*s\t%s", CLI_ID_SHOWN, cli_str(e, "id"),
                     cli_str(e, change ? "what" : "state"));
        if (change && strcmp(cli_str(e, "what"), "redacted") != 0) {
            (void)fputs(": ", stdout);
            put_text(e, strcmp(cli_str(e, "what"), "reaction") == 0 ? "emoji" : "text",
                     FMT_LINE);
        }
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
