/* People nearby: being visible, and who else is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "fmt.h"

enum { NAME_COLUMNS = 24, NUMBER_COLUMNS = 4 };

/* ---- visible ---- */

static void say_visible(const json_t *o)
{
    char *name = cli_shown(cli_str(o, "name"));
    uint64_t until = cli_int(o, "visible_until_ms");
    char at[FMT_TIME_MAX];
    if (!cli_true(o, "visible")) {
        cli_say("You are not visible to people nearby.");
    } else {
        fmt_clock(until, at);
        cli_say(
            "Visible to everyone on this network, %s%s: your name \"%s\" and the hash "
            "%.*s of your identity. Anybody who sees them may ask to become your "
            "contact: linnet requests",
            until > 0 ? "until " : "until you turn it off", until > 0 ? at : "", name,
            CLI_ID_SHOWN, cli_str(o, "hash"));
    }
    free(name);
}

int cmd_visible(struct cli *c)
{
    const char *word = c->args.n_words > 0 ? c->args.words[0] : NULL;
    bool stay = args_value(&c->args, "--stay") != NULL;
    json_t *params = NULL, *o;
    if (word != NULL && strcmp(word, "on") == 0) {
        params = json_pack("{s:b,s:b}", "on", 1, "stay", stay);
    } else if (word != NULL && strcmp(word, "off") == 0 && !stay) {
        params = json_pack("{s:b}", "on", 0);
    } else if (word != NULL || stay) {
        return cli_misused(c, "Say on or off.");
    }
    int rc = cli_call(c, "visible", params, &o);
    if (rc != 0) {
        return rc;
    }
    if (c->json) {
        cli_json(o);
    } else {
        say_visible(o);
    }
    json_decref(o);
    return 0;
}

/* ---- nearby ---- */

/* What there is to say of somebody beside name and hash; freed by the caller. */
static char *remark(const json_t *p)
{
    char *contact = cli_shown(cli_str(p, "contact")),
         *like = cli_shown(cli_str(p, "like"));
    char *out = NULL;
    int n = 0;
    if (contact[0] != '\0') {
        n = asprintf(&out, "your contact %s", contact);
    } else if (like[0] != '\0') {
        n = asprintf(&out, "looks like your contact %s, but is somebody else", like);
    } else {
        out = strdup("");
    }
    free(contact);
    free(like);
    if (n < 0 || out == NULL) {
        _exit(cli_fail(CLI_ERROR, "Memory is exhausted."));
    }
    return out;
}

static void print_person(struct cli *c, const json_t *p, const char *sign)
{
    char *name = cli_shown(cli_str(p, "name")), *what = remark(p);
    unsigned long long number = cli_int(p, "number");
    if (c->tty_out) {
        bool warn = cli_str(p, "like")[0] != '\0';
        (void)printf("%s%*llu  %s", sign, NUMBER_COLUMNS, number, cli_bold(c));
        fmt_pad(stdout, name, NAME_COLUMNS);
        (void)printf("%s  %.*s  %s%s%s\n", cli_plain(c), CLI_ID_SHOWN, cli_str(p, "hash"),
                     warn ? cli_bold(c) : cli_dim(c), what, cli_plain(c));
    } else {
        (void)printf("%s%llu\t", sign, number);
        fmt_put(stdout, cli_str(p, "name"), FMT_LINE);
        (void)printf("\t%.*s\t%s\t%s\n", CLI_ID_SHOWN, cli_str(p, "hash"),
                     cli_str(p, "address"), what);
    }
    free(name);
    free(what);
}

/* shown, when not NULL, gets the hashes of all of them. */
static int list_people(struct cli *c, const char *sign, json_t *shown)
{
    json_t *o, *p;
    size_t i;
    int rc = cli_call(c, "nearby", NULL, &o);
    if (rc != 0) {
        return rc;
    }
    const json_t *people = json_object_get(o, "people");
    json_array_foreach(people, i, p)
    {
        if (c->json) {
            cli_json(p);
        } else {
            print_person(c, p, sign);
        }
        if (shown != NULL) {
            (void)json_object_set_new(shown, cli_str(p, "hash"), json_true());
        }
    }
    if (c->tty_err && sign[0] == '\0') {
        if (json_array_size(people) == 0) {
            cli_say(
                "Nobody is visible on this network, as far as was heard. They have to "
                "say: linnet visible on");
        } else {
            cli_say("Ask one of them to become your contact: linnet add NUMBER");
        }
        if (!cli_true(o, "visible")) {
            cli_say("You yourself are not visible. To be: linnet visible on");
        }
    }
    json_decref(o);
    return cli_flush();
}

/* One event of the topic `request`; others than those of people nearby are dropped, and
 * so is what the list told already: events of before it may come behind it. */
static int watch_event(struct cli *c, json_t *e, json_t *shown)
{
    const char *what = cli_str(e, "what");
    bool came = strcmp(what, "nearby") == 0;
    if (strcmp(what, "nearby_many") == 0) {
        (void)json_object_clear(shown);
        return list_people(c, "=", shown);
    }
    if (!came && strcmp(what, "nearby_gone") != 0) {
        return 0;
    }
    const char *hash = cli_str(e, "hash");
    if (came == (json_object_get(shown, hash) != NULL)) {
        return 0;
    }
    if (came) {
        (void)json_object_set_new(shown, hash, json_true());
    } else {
        (void)json_object_del(shown, hash);
    }
    if (c->json) {
        cli_json(e);
    } else {
        print_person(c, e, came ? "+" : "-");
    }
    return cli_flush();
}

static int watch_people(struct cli *c)
{
    static const char *const topics[] = {"request", NULL};
    struct client_fail fail;
    struct client_welcome welcome;
    int rc = cli_connect(c);
    if (rc == 0 && client_follow(c->client, topics, &welcome, &fail) != 0) {
        rc = cli_fail(fail.code, "%s", fail.message);
    }
    json_t *shown = json_object();
    if (rc == 0) {
        rc = list_people(c, c->json ? "" : "+", shown);
    }
    while (rc == 0) {
        char topic[CLIENT_TOPIC_MAX];
        json_t *e;
        if (client_event(c->client, UINT64_MAX, topic, &e) < 0) {
            rc = cli_fail(CLI_NO_NODE, "The node has ended.");
            break;
        }
        if (strcmp(topic, "request") == 0) {
            rc = watch_event(c, e, shown);
        }
        json_decref(e);
    }
    json_decref(shown);
    return rc;
}

int cmd_nearby(struct cli *c)
{
    return args_value(&c->args, "--watch") != NULL ? watch_people(c)
                                                   : list_people(c, "", NULL);
}

/* ---- requests ---- */

static void print_request(struct cli *c, json_t *q)
{
    char *name = cli_shown(cli_str(q, "name")), *text = cli_shown(cli_str(q, "text"));
    char *what = remark(q), at[FMT_TIME_MAX];
    unsigned long long number = cli_int(q, "number");
    fmt_iso(cli_int(q, "time_ms"), at);
    if (c->json) {
        cli_json(q);
    } else if (c->tty_out) {
        (void)printf("%*llu  %s%s%s  %.*s  %s%s%s", NUMBER_COLUMNS, number, cli_bold(c),
                     name, cli_plain(c), CLI_ID_SHOWN, cli_str(q, "root"), cli_dim(c), at,
                     cli_plain(c));
        if (text[0] != '\0') {
            (void)printf("\n      \"%s\"", text);
        }
        if (what[0] != '\0') {
            (void)printf("\n      %s%s%s", cli_bold(c), what, cli_plain(c));
        }
        (void)fputc('\n', stdout);
    } else {
        (void)printf("%llu\t", number);
        fmt_put(stdout, cli_str(q, "name"), FMT_LINE);
        (void)printf("\t%.*s\t%s\t%s\t", CLI_ID_SHOWN, cli_str(q, "root"), at, what);
        fmt_put(stdout, cli_str(q, "text"), FMT_LINE);
        (void)fputc('\n', stdout);
    }
    free(name);
    free(text);
    free(what);
}

static int list_requests(struct cli *c)
{
    bool blocked = args_value(&c->args, "--blocked") != NULL;
    json_t *o, *q;
    size_t i;
    int rc = cli_call(c, "requests", json_pack("{s:b}", "blocked", blocked), &o);
    if (rc != 0) {
        return rc;
    }
    const json_t *list = json_object_get(o, "requests");
    json_array_foreach(list, i, q)
    {
        print_request(c, q);
    }
    if (c->tty_err && !blocked) {
        cli_say(json_array_size(list) == 0
                    ? "Nobody asks."
                    : "linnet requests accept N, or deny N, or deny N --block");
    }
    json_decref(o);
    return cli_flush();
}

static int accept_request(struct cli *c, uint64_t n)
{
    const char *as = args_value(&c->args, "--as");
    json_t *params = json_pack("{s:I}", "n", (json_int_t)n), *o;
    if (as != NULL) {
        (void)json_object_set_new(params, "as", json_string(as));
    }
    int rc = cli_call(c, "requests.accept", params, &o);
    if (rc != 0) {
        return rc;
    }
    if (c->json) {
        cli_json(o);
    } else {
        const json_t *k = json_object_get(o, "contact");
        char *name = cli_shown(cli_str(o, "name"));
        (void)puts(name);
        if (cli_true(k, "conflict")) {
            cli_say("Another contact goes by a name like that. Nothing is sent to either "
                    "until you have made sure who is who: linnet verify %s",
                    name);
        } else if (c->tty_err) {
            cli_say("%s is your contact now. Make sure that it is really them: linnet "
                    "verify %s --code",
                    name, name);
        }
        free(name);
    }
    json_decref(o);
    return 0;
}

static int deny_request(struct cli *c, uint64_t n)
{
    bool block = args_value(&c->args, "--block") != NULL;
    json_t *o;
    int rc = cli_call(c, "requests.deny",
                      json_pack("{s:I,s:b}", "n", (json_int_t)n, "block", block), &o);
    if (rc != 0) {
        return rc;
    }
    json_decref(o);
    if (c->json) {
        o = json_pack("{s:b}", "denied", 1);
        cli_json(o);
        json_decref(o);
    } else {
        cli_say(block
                    ? "Denied, and blocked for good. They learn nothing of that. To undo "
                      "it: linnet requests unblock %llu"
                    : "Denied. They learn nothing of that.",
                (unsigned long long)n);
    }
    return 0;
}

static int unblock_request(struct cli *c, uint64_t n)
{
    json_t *o;
    int rc = cli_call(c, "requests.unblock", json_pack("{s:I}", "n", (json_int_t)n), &o);
    if (rc != 0) {
        return rc;
    }
    json_decref(o);
    if (c->json) {
        o = json_pack("{s:b}", "unblocked", 1);
        cli_json(o);
        json_decref(o);
    } else {
        cli_say("They may ask again.");
    }
    return 0;
}

int cmd_requests(struct cli *c)
{
    static const struct {
        const char *verb;
        int (*run)(struct cli *c, uint64_t n);
        bool as, block;
    } verbs[] = {{"accept", accept_request, true, false},
                 {"deny", deny_request, false, true},
                 {"unblock", unblock_request, false, false}};
    uint64_t n;
    bool as = args_value(&c->args, "--as") != NULL;
    bool block = args_value(&c->args, "--block") != NULL;
    bool blocked = args_value(&c->args, "--blocked") != NULL;
    if (c->args.n_words == 0 && !as && !block) {
        return list_requests(c);
    }
    for (size_t i = 0; c->args.n_words == 2 && i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(c->args.words[0], verbs[i].verb) != 0 || blocked ||
            (as && !verbs[i].as) || (block && !verbs[i].block)) {
            continue;
        }
        if (!fmt_number(c->args.words[1], UINT32_MAX, &n)) {
            return cli_misused(c, "N is the number that `linnet requests` shows.");
        }
        return verbs[i].run(c, n);
    }
    return cli_misused(c, "Those arguments do not fit together.");
}
