/* Reading: what arrives, the history, exports, events. */
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "fmt.h"
#include "show.h"

enum {
    SCREEN_MESSAGES = 50, /* of a history on a terminal, unless asked otherwise */
    KEPT_PAGES = 64,      /* of a long history that are not asked for twice */
    CURSOR_MAX = 256,
};

/* Tells the node that all up to the row was printed. */
static int acknowledge(struct cli *c, uint64_t row, const char *from)
{
    json_t *o, *params = json_pack("{s:I}", "row", (json_int_t)row);
    if (from != NULL) {
        (void)json_object_set_new(params, "from", json_string(from));
    }
    int rc = cli_call(c, "recv.ack", params, &o);
    if (rc == 0) {
        json_decref(o);
    }
    return rc;
}

/* What recv is about to print. */
struct recv {
    struct cli *cli;
    struct show show;
    const char *from; /* NULL: all */
    uint64_t after;   /* 0: what was not printed yet; else what arrived after this row */
    uint64_t last;    /* the last row that was printed */
};

/* Prints one page, and only then says so to the node. */
static int recv_page(struct recv *v, bool *more)
{
    json_t *o, *m;
    size_t i;
    uint64_t row = 0;
    json_t *params = json_pack("{s:i,s:b}", "limit", CLI_PAGE, "peek", 1);
    if (v->from != NULL) {
        (void)json_object_set_new(params, "from", json_string(v->from));
    }
    if (v->after > 0) {
        (void)json_object_set_new(params, "after", json_integer((json_int_t)v->after));
    }
    int rc = cli_call(v->cli, "recv", params, &o);
    if (rc != 0) {
        return rc;
    }
    const json_t *list = json_object_get(o, "messages");
    show_prepare(&v->show, list);
    json_array_foreach(list, i, m)
    {
        show_message(&v->show, m);
        row = cli_int(m, "row") > row ? cli_int(m, "row") : row;
    }
    *more = cli_true(o, "more") && row > 0;
    v->last = row > v->last ? row : v->last;
    v->after = v->after > 0 ? v->last : 0;
    rc = cli_flush();
    if (rc == 0 && row > 0) {
        rc = acknowledge(v->cli, row, v->from);
    }
    json_decref(o);
    return rc;
}

static int recv_all(struct recv *v)
{
    bool more = true;
    int rc = 0;
    while (rc == 0 && more) {
        rc = recv_page(v, &more);
    }
    return rc;
}

/* Something arrived as this row. What stands behind the last printed row is printed here
 * even when another `recv` has printed it meanwhile: each follower shows everything. */
static int recv_news(struct recv *v, uint64_t row)
{
    if (row <= v->last) {
        return 0;
    }
    v->last = v->last > 0 ? v->last : row - 1;
    v->after = v->last;
    return recv_all(v);
}

static int recv_follow(struct recv *v)
{
    static const char *const topics[] = {"message", NULL};
    struct cli *c = v->cli;
    struct client_fail fail;
    uint64_t newest;
    int rc = cli_connect(c);
    if (rc == 0 && client_follow(c->client, topics, &newest, &fail) != 0) {
        rc = cli_fail(fail.code, "%s", fail.message);
    }
    if (rc == 0) {
        rc = recv_all(v);
    }
    while (rc == 0) {
        char topic[CLIENT_TOPIC_MAX];
        json_t *e;
        if (client_event(c->client, UINT64_MAX, topic, &e) < 0) {
            return cli_fail(CLI_NO_NODE, "The node has ended; nothing more can arrive.");
        }
        bool news = strcmp(topic, "message") == 0 && !cli_true(e, "mine");
        uint64_t row = cli_int(e, "row");
        json_decref(e);
        rc = news ? recv_news(v, row) : 0;
    }
    return rc;
}

int cmd_recv(struct cli *c)
{
    struct recv v = {.cli = c,
                     .show = {.cli = c, .conversation = false},
                     .from = args_value(&c->args, "--from")};
    if (args_value(&c->args, "--file") != NULL ||
        args_value(&c->args, "--output") != NULL) {
        return cli_fail(CLI_ERROR, "Receiving files is not there yet.");
    }
    return args_value(&c->args, "--follow") != NULL ? recv_follow(&v) : recv_all(&v);
}

/* A history page by page, from the newest backwards. Only the newest KEPT_PAGES are kept;
 * older ones are asked for again when their turn to be printed comes. */
struct history {
    struct cli *cli;
    const char *name;
    bool since;
    uint64_t since_ms, left; /* messages still wanted */
    struct page {
        json_t *before;   /* where it begins; NULL: at the newest */
        json_t *messages; /* NULL: not kept */
        uint64_t limit;
    } * pages;
    size_t n, cap;
};

static int history_page(struct history *h, json_t *before, uint64_t limit, json_t **o)
{
    json_t *params = json_pack("{s:s,s:I}", "name", h->name, "limit", (json_int_t)limit);
    if (h->since) {
        (void)json_object_set_new(params, "since_ms",
                                  json_integer((json_int_t)h->since_ms));
    }
    if (before != NULL) {
        (void)json_object_set(params, "before", before);
    }
    return cli_call(h->cli, "history", params, o);
}

static bool history_room(struct history *h)
{
    if (h->n == h->cap) {
        size_t cap = h->cap == 0 ? KEPT_PAGES : 2 * h->cap;
        struct page *more = reallocarray(h->pages, cap, sizeof *more);
        if (more == NULL) {
            return false;
        }
        h->pages = more;
        h->cap = cap;
    }
    return true;
}

/* Pages backwards as far as is wanted. */
static int history_collect(struct history *h)
{
    json_t *before = NULL, *o;
    bool more = true;
    int rc = 0;
    while (rc == 0 && more && h->left > 0) {
        uint64_t limit = h->left < CLI_PAGE ? h->left : CLI_PAGE;
        if (!history_room(h)) {
            rc = cli_fail(CLI_ERROR, "Memory is exhausted.");
            break;
        }
        rc = history_page(h, before, limit, &o);
        if (rc != 0) {
            break;
        }
        json_t *list = json_object_get(o, "messages");
        size_t got = json_array_size(list);
        h->pages[h->n].before = before;
        h->pages[h->n].messages = h->n < KEPT_PAGES ? json_incref(list) : NULL;
        h->pages[h->n++].limit = limit;
        h->left -= got < h->left ? got : h->left;
        before = json_incref(json_object_get(o, "before"));
        more = cli_true(o, "more") && got > 0 && before != NULL;
        json_decref(o);
    }
    json_decref(before);
    return rc;
}

static int history_print(struct history *h, struct show *s)
{
    int rc = 0;
    for (size_t i = h->n; rc == 0 && i-- > 0;) {
        struct page *p = &h->pages[i];
        json_t *o = NULL, *m;
        size_t k;
        if (p->messages == NULL) {
            rc = history_page(h, p->before, p->limit, &o);
            p->messages = rc == 0 ? json_incref(json_object_get(o, "messages")) : NULL;
            json_decref(o);
        }
        show_prepare(s, p->messages);
        json_array_foreach(p->messages, k, m)
        {
            show_message(s, m);
        }
        json_decref(p->messages);
        p->messages = NULL;
        if (rc == 0) {
            rc = cli_flush();
        }
    }
    return rc;
}

/* All of it, oldest first: page by page as it comes. */
static int history_all(struct history *h, struct show *s)
{
    json_t *after = NULL, *o, *m;
    bool more = true;
    int rc = 0;
    while (rc == 0 && more) {
        size_t i;
        json_t *params =
            json_pack("{s:s,s:I}", "name", h->name, "since_ms", (json_int_t)h->since_ms);
        if (after != NULL) {
            (void)json_object_set(params, "after", after);
        }
        rc = cli_call(h->cli, "export", params, &o);
        if (rc != 0) {
            break;
        }
        const json_t *list = json_object_get(o, "messages");
        show_prepare(s, list);
        json_array_foreach(list, i, m)
        {
            show_message(s, m);
        }
        json_decref(after);
        after = json_incref(json_object_get(o, "after"));
        more = cli_true(o, "more") && json_is_string(after);
        json_decref(o);
        rc = cli_flush();
    }
    json_decref(after);
    return rc;
}

/* The newest ones, for which the way goes backwards first. */
static int history_last(struct history *h, struct show *s)
{
    int rc = history_collect(h);
    if (rc == 0) {
        rc = history_print(h, s);
    }
    for (size_t i = 0; i < h->n; i++) {
        json_decref(h->pages[i].before);
        json_decref(h->pages[i].messages);
    }
    free(h->pages);
    return rc;
}

int cmd_history(struct cli *c)
{
    struct history h = {.cli = c, .name = c->args.words[0], .left = UINT64_MAX};
    struct show s = {.cli = c};
    const char *n = args_value(&c->args, "--number");
    const char *since = args_value(&c->args, "--since");
    if (n != NULL && (!fmt_number(n, INT64_MAX, &h.left) || h.left == 0)) {
        return cli_misused(c, "-n wants a number of messages.");
    }
    h.since = since != NULL;
    if (h.since && !fmt_since(since, cli_now_ms(), &h.since_ms)) {
        return cli_misused(c, "--since wants a duration, as in 2h or 7d, today, "
                              "yesterday, or a date, as in "
                              "2026-11-22 or 2026-11-22T14:00.");
    }
    if (n == NULL && !h.since && c->tty_out && !c->json) {
        h.left = SCREEN_MESSAGES;
    }
    int rc = h.left == UINT64_MAX ? history_all(&h, &s) : history_last(&h, &s);
    if (rc == 0 && s.day[0] == '\0' && c->tty_out && !c->json) {
        cli_say(h.since ? "Nothing since then." : "Nothing was said yet.");
    }
    return rc;
}

/* A subscription first, then what happened before it, then what happens. */
static int events_catch_up(struct cli *c, uint64_t *n)
{
    for (;;) {
        json_t *o, *e;
        size_t i;
        int rc =
            cli_call(c, "events.since",
                     json_pack("{s:I,s:i}", "n", (json_int_t)*n, "limit", CLI_PAGE), &o);
        if (rc != 0) {
            return rc;
        }
        const json_t *list = json_object_get(o, "events");
        json_array_foreach(list, i, e)
        {
            show_event(c, cli_str(e, "topic"), e);
            *n = cli_int(e, "n") > *n ? cli_int(e, "n") : *n;
        }
        bool more = json_array_size(list) > 0 && *n < cli_int(o, "newest");
        json_decref(o);
        rc = cli_flush();
        if (rc != 0 || !more) {
            return rc;
        }
    }
}

int cmd_events(struct cli *c)
{
    static const char *const topics[] = {"", NULL};
    const char *since = args_value(&c->args, "--since");
    struct client_fail fail;
    uint64_t n = 0, newest;
    if (since != NULL && !fmt_number(since, INT64_MAX, &n)) {
        return cli_misused(c, "--since wants the number of an event, the first column.");
    }
    int rc = cli_connect(c);
    if (rc == 0 && client_follow(c->client, topics, &newest, &fail) != 0) {
        rc = cli_fail(fail.code, "%s", fail.message);
    }
    if (rc == 0 && since != NULL) {
        rc = events_catch_up(c, &n);
    }
    while (rc == 0) {
        char topic[CLIENT_TOPIC_MAX];
        json_t *e;
        if (client_event(c->client, UINT64_MAX, topic, &e) < 0) {
            return cli_fail(CLI_NO_NODE, "The node has ended.");
        }
        uint64_t number = cli_int(e, "n");
        if (strcmp(topic, "welcome") != 0 && (number == 0 || number > n)) {
            show_event(c, topic, e);
            rc = cli_flush();
        }
        json_decref(e);
    }
    return rc;
}
