/* Files on their way: the list, one of them, what is to become of them; what of a contact
 * is accepted by itself. */
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "fmt.h"
#include "transfer.h"

/* ---- the list ---- */

static int list_page(struct cli *c, bool all, json_t *after, json_t **o)
{
    json_t *params = json_pack("{s:b}", "all", all);
    if (after != NULL) {
        (void)json_object_set(params, "after", after);
    }
    return cli_call(c, "transfers", params, o);
}

/* All pages in one list; limit gets how many bytes a second there may be, 0: any. */
static int list_get(struct cli *c, bool all, json_t *list, uint64_t *limit)
{
    json_t *after = NULL, *o;
    bool more = true;
    int rc = 0;
    while (rc == 0 && more) {
        rc = list_page(c, all, after, &o);
        if (rc != 0) {
            break;
        }
        (void)json_array_extend(list, json_object_get(o, "transfers"));
        *limit = cli_int(o, "limit");
        json_decref(after);
        after = json_incref(json_object_get(o, "after"));
        more = cli_true(o, "more") && json_is_integer(after);
        json_decref(o);
    }
    json_decref(after);
    return rc;
}

static void list_print(struct cli *c, const json_t *list, uint64_t limit)
{
    json_t *t;
    size_t i;
    if (c->tty_out && !c->json && json_array_size(list) > 0) {
        transfer_table(stdout, list, c->width);
        if (limit > 0) {
            char rate[FMT_TIME_MAX];
            fmt_size(limit, rate);
            (void)printf("At most %s/s each way: linnet transfers limit\n", rate);
        }
        return;
    }
    json_array_foreach(list, i, t)
    {
        if (c->json) {
            cli_json(t);
        } else {
            transfer_row(stdout, t);
        }
    }
    if (json_array_size(list) == 0 && c->tty_err && !c->json) {
        cli_say("No files are on their way. Send one: linnet send NAME -f PATH");
    }
}

static int transfers_list(struct cli *c)
{
    json_t *list = json_array();
    uint64_t limit = 0;
    int rc = list_get(c, args_value(&c->args, "--all") != NULL, list, &limit);
    if (rc == 0) {
        list_print(c, list, limit);
    }
    json_decref(list);
    return rc;
}

/* ---- one of them ---- */

static bool number(const struct cli *c, size_t i, uint64_t *n)
{
    const char *s = c->args.words[i];
    return fmt_number(s[0] == '#' ? s + 1 : s, UINT32_MAX, n) && *n > 0;
}

static int transfers_show(struct cli *c, uint64_t n)
{
    json_t *t;
    int rc = cli_call(c, "transfers.show", json_pack("{s:I}", "n", (json_int_t)n), &t);
    if (rc != 0) {
        return rc;
    }
    if (c->json) {
        cli_json(t);
    } else {
        transfer_details(stdout, t);
    }
    json_decref(t);
    return 0;
}

/* What has become of one, and how to go on. */
static void verb_said(struct cli *c, const char *verb, json_t *t)
{
    unsigned long long n = cli_int(t, "n");
    if (c->json) {
        cli_json(t);
        return;
    }
    char *name = cli_shown(cli_str(t, "name"));
    if (strcmp(verb, "accept") == 0) {
        cli_say("%s is accepted. How it goes: linnet transfers show %llu", name, n);
    } else if (strcmp(verb, "decline") == 0) {
        cli_say("%s is declined.", name);
    } else if (strcmp(verb, "pause") == 0) {
        cli_say("%s is paused. Go on: linnet transfers resume %llu", name, n);
    } else if (strcmp(verb, "resume") == 0) {
        cli_say("%s goes on. How: linnet transfers show %llu", name, n);
    } else {
        cli_say(cli_true(t, "mine") ? "The offer of %s is taken back."
                                    : "%s is given up; what had come of it is removed.",
                name);
    }
    free(name);
}

/* A verb for each number; the first error ends it. */
static int transfers_verb(struct cli *c, const char *verb, const char *path)
{
    char method[CLIENT_TOPIC_MAX];
    int rc = 0;
    (void)snprintf(method, sizeof method, "transfers.%s", verb);
    for (size_t i = 1; rc == 0 && i < c->args.n_words; i++) {
        uint64_t n = 0;
        json_t *t;
        (void)number(c, i, &n);
        json_t *params = json_pack("{s:I}", "n", (json_int_t)n);
        if (path != NULL) {
            (void)json_object_set_new(params, "path", json_string(path));
        }
        rc = cli_call(c, method, params, &t);
        if (rc == 0) {
            verb_said(c, verb, t);
            json_decref(t);
        }
    }
    return rc;
}

static int transfers_accept(struct cli *c)
{
    const char *to = args_value(&c->args, "--output");
    if (to != NULL && strcmp(to, "-") == 0) {
        return cli_misused(c, "To standard output: linnet recv --file N -o -");
    }
    if (c->args.n_words != 2) {
        return cli_misused(c, "accept wants one number.");
    }
    char *path = to != NULL ? cmd_absolute(to) : NULL;
    int rc = to != NULL && path == NULL ? CLI_ERROR : transfers_verb(c, "accept", path);
    free(path);
    return rc;
}

static int transfers_limit(struct cli *c)
{
    json_t *params = json_object(), *o;
    uint64_t rate;
    if (c->args.n_words > 2) {
        json_decref(params);
        return cli_misused(c, "limit wants one rate.");
    }
    if (c->args.n_words == 2) {
        const char *s = c->args.words[1];
        bool none = strcmp(s, "none") == 0;
        if (!none && !fmt_bytes(s, &rate)) {
            json_decref(params);
            return cli_misused(c, "A rate is bytes a second, as in 500k or 5M, or none.");
        }
        (void)json_object_set_new(params, "rate",
                                  none ? json_null() : json_integer((json_int_t)rate));
    }
    int rc = cli_call(c, "transfers.limit", params, &o);
    if (rc != 0) {
        return rc;
    }
    char shown[FMT_TIME_MAX];
    fmt_size(cli_int(o, "limit"), shown);
    if (c->json) {
        cli_json(o);
    } else if (cli_int(o, "limit") > 0) {
        (void)printf("%s/s\n", shown);
    } else {
        (void)puts("none");
    }
    json_decref(o);
    return 0;
}

int cmd_transfers(struct cli *c)
{
    static const char *const verbs[] = {"decline", "pause", "resume", "cancel"};
    const char *verb = c->args.n_words > 0 ? c->args.words[0] : NULL;
    bool all = args_value(&c->args, "--all") != NULL;
    bool output = args_value(&c->args, "--output") != NULL;
    uint64_t n = 0;
    if ((all && verb != NULL) || (output && (!verb || strcmp(verb, "accept") != 0))) {
        return cli_misused(c, "Those arguments do not fit together.");
    }
    if (verb == NULL) {
        return transfers_list(c);
    }
    if (strcmp(verb, "limit") == 0) {
        return transfers_limit(c);
    }
    for (size_t i = 1; i < c->args.n_words; i++) {
        if (!number(c, i, &n)) {
            return cli_misused(c, "Transfers have numbers: linnet transfers");
        }
    }
    if (c->args.n_words < 2) {
        return cli_misused(c, "The number of a transfer is missing, or there is no such "
                              "thing to do.");
    }
    if (strcmp(verb, "show") == 0 && c->args.n_words == 2) {
        return transfers_show(c, n);
    }
    if (strcmp(verb, "accept") == 0) {
        return transfers_accept(c);
    }
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(verb, verbs[i]) == 0) {
            return transfers_verb(c, verb, NULL);
        }
    }
    return cli_misused(c, "With transfers you can do: show, accept, decline, pause, "
                          "resume, cancel, limit.");
}

/* ---- what of a contact is accepted by itself ---- */

/* The value of --max or --quota into params. False: it is none. */
static bool take_bytes(struct cli *c, const char *option, json_t *params)
{
    const char *s = args_value(&c->args, option);
    uint64_t v;
    json_t *j = NULL;
    if (s == NULL) {
        return true;
    }
    if (strcmp(s, "none") == 0) {
        j = json_string("none");
    } else if (strcmp(s, "default") == 0) {
        j = json_null();
    } else if (fmt_bytes(s, &v)) {
        j = json_integer((json_int_t)v);
    }
    return j != NULL && json_object_set_new(params, option + 2, j) == 0;
}

/* "at most 1.0 GB", of a limit that may be none or the general one. */
static void put_limit(const json_t *o, const char *key, const char *what)
{
    const json_t *v = json_object_get(o, key);
    char size[FMT_TIME_MAX];
    (void)printf("%-7s", key);
    if (json_is_integer(v)) {
        fmt_size(cli_int(o, key), size);
        (void)printf("%s%s\n", size, what);
    } else if (json_is_string(v)) {
        (void)puts("none");
    } else {
        (void)printf("as the setting accept_%s says\n", key);
    }
}

static void rule_print(const json_t *o)
{
    const char *mode = cli_str(o, "mode");
    char *name = cli_shown(cli_str(o, "name"));
    (void)printf("Files of %s are %s.\n", name,
                 strcmp(mode, "always") == 0  ? "accepted without asking"
                 : strcmp(mode, "ask") == 0   ? "accepted when you say so"
                 : strcmp(mode, "never") == 0 ? "declined"
                                              : "accepted as the setting accept says");
    if (strcmp(mode, "never") != 0) {
        put_limit(o, "max", " a file, without asking");
        put_limit(o, "quota", " a day, without asking");
    }
    free(name);
}

int cmd_contact_files(struct cli *c)
{
    json_t *params = json_pack("{s:s}", "name", c->args.words[1]), *o;
    if (c->args.n_words > 2) {
        (void)json_object_set_new(params, "mode", json_string(c->args.words[2]));
    }
    if (!take_bytes(c, "--max", params) || !take_bytes(c, "--quota", params)) {
        json_decref(params);
        return cli_misused(c, "--max and --quota want a size, as in 100M or 1.5G, none, "
                              "or default.");
    }
    int rc = cli_call(c, "contact.files", params, &o);
    if (rc != 0) {
        return rc;
    }
    if (c->json) {
        cli_json(o);
    } else {
        rule_print(o);
    }
    json_decref(o);
    return 0;
}
