/* Exports: everything that was said, as JSON Lines or Markdown. */
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "fmt.h"
#include "show.h"

struct markdown {
    char day[FMT_TIME_MAX];
    char with[256]; /* the conversation of the last heading */
};

/* Whether the character at p, the first of a line but for digits, would begin a heading
 * or a list there. */
static bool begins_block(const char *line, const char *p)
{
    size_t number = strspn(line, "0123456789");
    return (p == line && strchr("#+-=", *p) != NULL) ||
           (number > 0 && p == line + number && (*p == '.' || *p == ')'));
}

/* Text as Markdown shows it: what would be markup is escaped, lines stay lines. */
static void put_markdown(const char *s, size_t len)
{
    static const char markup[] = "\\`*_[]<>|~&";
    char *shown = fmt_escape(s, len, FMT_TEXT);
    const char *line = shown;
    for (const char *p = shown; p != NULL && *p != '\0'; p++) {
        if (*p == '\n') {
            (void)fputs("  \n> ", stdout);
            line = p + 1;
        } else {
            if (p == line && *p == ' ') { /* blanks would begin a block of code */
                (void)fputs("&#32;", stdout);
                continue;
            }
            if (strchr(markup, *p) != NULL || begins_block(line, p)) {
                (void)fputc('\\', stdout);
            }
            (void)fputc(*p, stdout);
        }
    }
    free(shown);
}

static void put_str(const json_t *m, const char *key)
{
    put_markdown(cli_str(m, key), json_string_length(json_object_get(m, key)));
}

static void print_reactions(const json_t *m)
{
    const json_t *list = json_object_get(m, "reactions");
    json_t *r;
    size_t i;
    json_array_foreach(list, i, r)
    {
        (void)fputs(i == 0 ? "" : ", ", stdout);
        put_str(r, "emoji");
        (void)fputc(' ', stdout);
        put_str(r, "from");
    }
    if (json_array_size(list) > 0) {
        (void)printf("\n\n");
    }
}

static void print_markdown(struct markdown *md, const json_t *m)
{
    char day[FMT_TIME_MAX], iso[FMT_TIME_MAX];
    uint64_t when = cli_int(m, "time_ms");
    const char *with = cli_str(m, "conversation");
    fmt_day(when, day);
    fmt_iso(when, iso);
    if (strcmp(with, md->with) != 0) {
        (void)printf("# ");
        put_str(m, "conversation");
        (void)printf("\n\n");
        (void)snprintf(md->with, sizeof md->with, "%s", with);
        md->day[0] = '\0';
    }
    if (strcmp(day, md->day) != 0) {
        (void)printf("## %s\n\n", day);
        memcpy(md->day, day, sizeof day);
    }
    (void)printf("**");
    put_str(m, "from");
    (void)printf("** %s `%.*s`", iso, CLI_ID_SHOWN, cli_str(m, "id"));
    if (cli_str(m, "reply_to")[0] != '\0') {
        (void)printf(" to `%.*s`", CLI_ID_SHOWN, cli_str(m, "reply_to"));
    }
    if (cli_int(m, "edited") != 0) {
        (void)fputs(" (edited)", stdout);
    }
    (void)printf("\n\n> ");
    if (cli_true(m, "redacted")) {
        (void)fputs("*redacted*", stdout);
    }
    if (show_is_file(m)) {
        char *file = show_file_text(m, true);
        put_markdown(file, strlen(file));
        free(file);
    } else {
        put_str(m, "text");
    }
    (void)printf("\n\n");
    print_reactions(m);
}

static int export_page(struct cli *c, json_t *after, json_t **o)
{
    json_t *params = json_object();
    if (c->args.n_words > 0) {
        (void)json_object_set_new(params, "name", json_string(c->args.words[0]));
    }
    if (after != NULL) {
        (void)json_object_set(params, "after", after);
    }
    return cli_call(c, "export", params, o);
}

int cmd_export(struct cli *c)
{
    const char *format = args_value(&c->args, "--format");
    struct markdown md = {.day = ""};
    json_t *after = NULL, *o, *m;
    size_t i;
    bool more = true, markdown = format != NULL && strcmp(format, "md") == 0;
    int rc = 0;
    if (format != NULL && !markdown && strcmp(format, "jsonl") != 0) {
        return cli_misused(c, "--format wants jsonl or md.");
    }
    while (rc == 0 && more) {
        rc = export_page(c, after, &o);
        if (rc != 0) {
            break;
        }
        json_array_foreach(json_object_get(o, "messages"), i, m)
        {
            if (markdown && !c->json) {
                print_markdown(&md, m);
            } else {
                cli_json(m);
            }
        }
        json_decref(after);
        after = json_incref(json_object_get(o, "after"));
        more = cli_true(o, "more") && after != NULL;
        json_decref(o);
        rc = cli_flush();
    }
    json_decref(after);
    return rc;
}
