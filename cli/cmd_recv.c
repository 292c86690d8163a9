/* Reading: what arrives, the history, exports, events. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cmd.h"
#include "fmt.h"
#include "follow.h"
#include "show.h"

enum {
    SCREEN_MESSAGES = 50, /* of a history on a terminal, unless asked otherwise */
    KEPT_PAGES = 64,      /* of a long history that are not asked for twice */
    CURSOR_MAX = 256,
};

/* What recv is about to print. */
struct recv {
    struct cli *cli;
    struct show show;
    const char *from;      /* NULL: all */
    char *from_name;       /* our name for them, in the end */
    struct follow *follow; /* NULL: without -f */
    struct follow space;   /* where it is */
    bool news;             /* what arrived after `last`, printed by another `recv` or not;
                            * else what was not printed yet */
    uint64_t last;         /* the last row that was printed, or passed over */
};

static int recv_call(struct recv *v, const char *method, json_t *params, json_t **o)
{
    if (v->from != NULL) {
        (void)json_object_set_new(params, "from", json_string(v->from));
    }
    return v->follow != NULL ? follow_call(v->follow, method, params, o)
                             : cli_call(v->cli, method, params, o);
}

/* Tells the node that all up to the row was printed. */
static int acknowledge(struct recv *v, uint64_t row)
{
    json_t *o;
    int rc = recv_call(v, "recv.ack", json_pack("{s:I}", "row", (json_int_t)row), &o);
    if (rc == 0) {
        json_decref(o);
    }
    return rc;
}

/* Prints the messages of a page up to a row; the last one's row, 0: none. */
static uint64_t recv_print(struct recv *v, const json_t *list, uint64_t up_to)
{
    uint64_t row = 0;
    json_t *m;
    size_t i;
    show_prepare(&v->show, list);
    json_array_foreach(list, i, m)
    {
        if (cli_int(m, "row") > up_to) {
            break;
        }
        show_message(&v->show, m);
        row = cli_int(m, "row");
    }
    return row;
}

/* Prints one page, and only then says so to the node. */
static int recv_page(struct recv *v, uint64_t up_to, bool *more)
{
    json_t *o;
    json_t *params = json_pack("{s:i,s:b}", "limit", CLI_PAGE, "peek", 1);
    if (v->news) {
        (void)json_object_set_new(params, "after", json_integer((json_int_t)v->last));
    }
    int rc = recv_call(v, "recv", params, &o);
    if (rc != 0) {
        return rc;
    }
    uint64_t row = recv_print(v, json_object_get(o, "messages"), up_to);
    *more = cli_true(o, "more") && row > 0;
    v->last = row > v->last ? row : v->last;
    json_decref(o);
    rc = cli_flush();
    return rc == 0 && row > 0 ? acknowledge(v, row) : rc;
}

static int recv_all(struct recv *v, uint64_t up_to)
{
    bool more = true;
    int rc = 0;
    while (rc == 0 && more) {
        rc = recv_page(v, up_to, &more);
    }
    return rc;
}

/* Something is known of a contact that whoever reads should see at once. */
static int recv_contact(struct recv *v, const char *topic, json_t *e)
{
    bool conflict = strcmp(cli_str(e, "what"), "conflict") == 0;
    if (!conflict && cli_str(e, "like")[0] == '\0') {
        return 0;
    }
    if (v->cli->json) {
        show_event(v->cli, topic, e);
        return cli_flush();
    }
    if (!conflict) {
        show_like(cli_str(e, "name"), cli_str(e, "like"));
    } else if (cli_str(e, "other")[0] !=
               '\0') { /* the newcomer has an event of its own */
        show_conflict(cli_str(e, "name"), cli_str(e, "other"));
    }
    return 0;
}

/* Our name for whom --from means, which events have. NULL: not found. */
static char *name_of(struct recv *v)
{
    json_t *o, *k;
    size_t i, len = strlen(v->from);
    char *name = NULL;
    if (follow_call(v->follow, "contacts", NULL, &o) != 0) {
        return NULL;
    }
    json_array_foreach(json_object_get(o, "contacts"), i, k)
    {
        bool root =
            len >= CLI_ID_SHOWN && strncasecmp(cli_str(k, "root"), v->from, len) == 0;
        if (strcmp(cli_str(k, "name"), v->from) == 0 || (name == NULL && root)) {
            free(name);
            name = strdup(cli_str(k, "name"));
        }
    }
    json_decref(o);
    return name;
}

/* Something happened to a message: printed when somebody else did it. */
static int recv_change(struct recv *v, json_t *e)
{
    bool other = v->from != NULL &&
                 (v->from_name == NULL || strcmp(v->from_name, cli_str(e, "from")) != 0);
    json_t *m;
    if (!show_is_change(e) || cli_true(e, "mine") || other) {
        return 0;
    }
    if (cli_true(e, "omitted")) { /* too much was unread for long texts */
        int rc = follow_call(v->follow, "message",
                             json_pack("{s:s}", "id", cli_str(e, "id")), &m);
        if (rc != 0) {
            return rc;
        }
        (void)json_object_set(e, "text", json_object_get(m, "text"));
        (void)json_object_del(e, "omitted");
        json_decref(m);
    }
    show_change(&v->show, e);
    return cli_flush();
}

static int recv_event(struct recv *v, const char *topic, json_t *e)
{
    if (e == NULL) { /* the node ran not: what arrived before its end, and since */
        v->last = v->follow->set_back ? v->follow->row : v->last;
        return recv_all(v, UINT64_MAX);
    }
    if (strcmp(topic, "contact") == 0) {
        return recv_contact(v, topic, e);
    }
    if (strcmp(topic, "state") == 0) {
        return recv_change(v, e);
    }
    bool news = strcmp(topic, "message") == 0 && !cli_true(e, "mine");
    return news && cli_int(e, "row") > v->last ? recv_all(v, UINT64_MAX) : 0;
}

/* What nobody has printed yet, up to what was there when we began to follow; from there
 * on everything, whether or not another `recv` has printed it meanwhile. */
static int recv_follow(struct recv *v)
{
    static const char *const topics[] = {"message", "state", "contact", NULL};
    int rc = follow_start(&v->space, v->cli, topics, NULL);
    v->follow = &v->space;
    uint64_t begin = v->space.row;
    if (rc == 0) {
        rc = recv_all(v, begin);
    }
    v->news = true;
    v->last = begin;
    if (rc == 0) {
        rc = recv_all(v, UINT64_MAX);
    }
    v->from_name = rc == 0 && v->from != NULL ? name_of(v) : NULL;
    while (rc == 0) {
        char topic[CLIENT_TOPIC_MAX];
        json_t *e;
        rc = follow_next(v->follow, topic, &e);
        if (rc == 0) {
            rc = recv_event(v, topic, e);
            json_decref(e);
        }
    }
    free(v->from_name);
    follow_end(v->follow);
    return rc;
}

int cmd_recv(struct cli *c)
{
    struct recv v = {.cli = c,
                     .show = {.cli = c, .conversation = false},
                     .from = args_value(&c->args, "--from")};
    if (args_value(&c->args, "--file") != NULL) {
        return cmd_recv_file(c);
    }
    if (args_value(&c->args, "--output") != NULL) {
        return cli_misused(c, "-o is where the file of --file N goes.");
    }
    return args_value(&c->args, "--follow") != NULL ? recv_follow(&v)
                                                    : recv_all(&v, UINT64_MAX);
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

/* A conversation with somebody whose name another claims, too, says so. */
static int history_claims(struct cli *c, const char *name)
{
    json_t *o;
    int rc = c->json ? 0
                     : cli_call(c, "verify",
                                json_pack("{s:s,s:b}", "name", name, "active", 0), &o);
    if (rc == 0 && !c->json) {
        show_claims(o);
        json_decref(o);
    }
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
    if (rc == 0) {
        rc = history_claims(c, h.name);
    }
    return rc;
}

int cmd_events(struct cli *c)
{
    static const char *const topics[] = {"", NULL};
    const char *since = args_value(&c->args, "--since");
    struct follow f;
    uint64_t n = 0;
    if (since != NULL && !fmt_number(since, INT64_MAX, &n)) {
        return cli_misused(c, "--since wants the number of an event, the first column.");
    }
    int rc = follow_start(&f, c, topics, since != NULL ? &n : NULL);
    while (rc == 0) {
        char topic[CLIENT_TOPIC_MAX];
        json_t *e;
        rc = follow_next(&f, topic, &e);
        if (rc == 0 && e != NULL) {
            show_event(c, topic, e);
            rc = cli_flush();
            json_decref(e);
        }
    }
    follow_end(&f);
    return rc;
}
