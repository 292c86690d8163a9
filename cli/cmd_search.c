/* Searching: what was found, newest first, with the words marked. */
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "fmt.h"
#include "show.h"

enum {
    SCREEN_FOUND = 50,    /* on a terminal, unless asked otherwise */
    QUERY_MAX = 4 * 1024, /* bytes; the node takes less, and says so */
    AROUND = 60,          /* bytes before the first match that are shown, about */
    SHOWN_MAX = 300,      /* bytes of a text that are shown on a terminal, about */
    SEARCH_MS = 120000, /* for an answer: a history that is being indexed takes a while */
};

/* The words as one query. NULL: too long. */
static char *query_of(const struct args *a)
{
    static char q[QUERY_MAX];
    size_t n = 0;
    for (size_t i = 0; i < a->n_words; i++) {
        size_t len = strlen(a->words[i]);
        if (len + 2 > sizeof q - n) {
            return NULL;
        }
        if (i > 0) {
            q[n++] = ' ';
        }
        memcpy(q + n, a->words[i], len + 1);
        n += len;
    }
    return q;
}

/* ---- one message on a terminal ---- */

/* A text and where its matches are; everything in bytes. */
struct text {
    const char *s;
    size_t len;
    const json_t *matches;
};

/* The i-th match; false: there is none, or it does not lie in the text. */
static bool match_at(const struct text *t, size_t i, size_t *from, size_t *to)
{
    const json_t *m = json_array_get(t->matches, i);
    json_int_t a = json_integer_value(json_array_get(m, 0));
    json_int_t b = json_integer_value(json_array_get(m, 1));
    if (m == NULL || a < 0 || b <= a || (uint64_t)b > t->len) {
        return false;
    }
    *from = (size_t)a;
    *to = (size_t)b;
    return true;
}

static bool inside_char(const struct text *t, size_t i)
{
    return i < t->len && ((unsigned char)t->s[i] & 0xc0) == 0x80;
}

/* Which part of a long text is shown: from a little before the first match on. */
static void window(const struct text *t, size_t *from, size_t *to)
{
    size_t a = 0, b = 0;
    *from = 0;
    if (t->len > SHOWN_MAX && match_at(t, 0, &a, &b) && a > AROUND) {
        *from = a - AROUND;
    }
    while (*from > 0 && inside_char(t, *from)) {
        --*from;
    }
    *to = t->len - *from > SHOWN_MAX ? *from + SHOWN_MAX : t->len;
    *to = b > *to ? b : *to;
    while (inside_char(t, *to)) {
        ++*to;
    }
}

/* Bytes on one line, whatever they are. */
static void put_plain(const struct text *t, size_t from, size_t to)
{
    char *shown = fmt_escape(t->s + from, to - from, FMT_NAME);
    (void)fputs(shown != NULL ? shown : "", stdout);
    free(shown);
}

/* The text with its matches marked: by weight and a line below, or, where the terminal is
 * not to be told such things, by brackets. */
static void put_marked(const struct cli *c, const struct text *t)
{
    size_t at, end, from, to;
    window(t, &at, &end);
    (void)fputs(at > 0 ? "…" : "", stdout);
    for (size_t i = 0; match_at(t, i, &from, &to) && from < end; i++) {
        if (from < at || to > end) {
            continue;
        }
        put_plain(t, at, from);
        (void)fputs(c->colour ? "\x1b[1;4m" : "[", stdout);
        put_plain(t, from, to);
        (void)fputs(c->colour ? "\x1b[0m" : "]", stdout);
        at = to;
    }
    put_plain(t, at, end);
    (void)fputs(end < t->len ? "…" : "", stdout);
}

static void put_head(const struct cli *c, const json_t *m)
{
    char day[FMT_TIME_MAX], clock[FMT_TIME_MAX];
    char *with = cli_shown(cli_str(m, "conversation"));
    char *from = cli_shown(cli_true(m, "mine") ? "me" : cli_str(m, "from"));
    fmt_day(cli_int(m, "time_ms"), day);
    fmt_clock(cli_int(m, "time_ms"), clock);
    (void)printf("%s%s %s %.*s%s  %s%s%s", cli_dim(c), day, clock, CLI_ID_SHOWN,
                 cli_str(m, "id"), cli_plain(c), cli_bold(c), from, cli_plain(c));
    if (strcmp(with, from) != 0) {
        (void)printf(" in %s", with);
    }
    (void)fputc('\n', stdout);
    free(with);
    free(from);
}

/* TIME \t CONVERSATION \t FROM \t ID \t TEXT. */
static void put_line(const json_t *m)
{
    char when[FMT_TIME_MAX];
    fmt_iso(cli_int(m, "time_ms"), when);
    (void)printf("%s\t", when);
    fmt_put(stdout, cli_str(m, "conversation"), FMT_LINE);
    (void)fputc('\t', stdout);
    fmt_put(stdout, cli_str(m, "from"), FMT_LINE);
    (void)printf("\t%.*s\t", CLI_ID_SHOWN, cli_str(m, "id"));
    char *text = fmt_escape(cli_str(m, "text"),
                            json_string_length(json_object_get(m, "text")), FMT_LINE);
    (void)fputs(text != NULL ? text : "", stdout);
    (void)fputc('\n', stdout);
    free(text);
}

static void put_found(const struct cli *c, json_t *m)
{
    if (c->json) {
        cli_json(m);
    } else if (c->tty_out) {
        const json_t *text = json_object_get(m, "text");
        const struct text t = {cli_str(m, "text"), json_string_length(text),
                               json_object_get(m, "matches")};
        put_head(c, m);
        (void)fputs("    ", stdout);
        put_marked(c, &t);
        (void)fputc('\n', stdout);
    } else {
        put_line(m);
    }
}

/* ---- pages ---- */

static int search_page(struct cli *c, const char *query, uint64_t limit, json_t *after,
                       json_t **o)
{
    json_t *text = json_string(query), *params;
    if (text == NULL) {
        return cli_misused(c, "The words are not UTF-8.");
    }
    params = json_pack("{s:o,s:I}", "query", text, "limit", (json_int_t)limit);
    if (after != NULL) {
        (void)json_object_set(params, "after", after);
    }
    return cli_call_for(c, "search", params, SEARCH_MS, o);
}

static int search_all(struct cli *c, const char *query, uint64_t left, uint64_t *found,
                      bool *more)
{
    json_t *after = NULL, *o, *m;
    int rc = 0;
    *more = true;
    while (rc == 0 && *more && left > 0) {
        size_t i;
        rc = search_page(c, query, left < CLI_PAGE ? left : CLI_PAGE, after, &o);
        if (rc != 0) {
            break;
        }
        json_array_foreach(json_object_get(o, "messages"), i, m)
        {
            put_found(c, m);
            ++*found;
            --left;
        }
        json_decref(after);
        after = json_incref(json_object_get(o, "after"));
        *more = cli_true(o, "more") && json_is_integer(after);
        json_decref(o);
        rc = cli_flush();
    }
    json_decref(after);
    return rc;
}

int cmd_search(struct cli *c)
{
    const char *n = args_value(&c->args, "--number");
    const char *query = query_of(&c->args);
    uint64_t left = c->tty_out && !c->json ? SCREEN_FOUND : UINT64_MAX, found = 0;
    bool more = false;
    if (n != NULL && (!fmt_number(n, INT64_MAX, &left) || left == 0)) {
        return cli_misused(c, "-n wants a number of messages.");
    }
    if (query == NULL) {
        return cli_misused(c, "That is too much to search for at once.");
    }
    int rc = search_all(c, query, left, &found, &more);
    if (rc == 0 && c->tty_out && !c->json) {
        if (found == 0) {
            cli_say("Nothing was found.");
        } else if (more && n == NULL) {
            cli_say("There is more: -n N shows the newest N.");
        }
    }
    return rc;
}
