/* Methods about people nearby: visible, nearby, add of one of them, requests.*. */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "api_priv.h"
#include "base/err.h"

/* ---- being visible ---- */

void api_show_visible(struct app *a, struct jout *o)
{
    uint64_t left = node_visible_left(a->node, env_mono_ms());
    jout_kbool(o, "visible", left > 0);
    jout_key(o, "visible_until_ms");
    if (left > 0 && left < UINT64_MAX) {
        jout_u64(o, env_wall_ms(a->cfg.env) + left);
    } else {
        jout_null(o);
    }
}

static void show_visible(struct app *a, struct jout *o)
{
    uint8_t hash[32];
    node_cert_hash(a->node, hash);
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    api_show_visible(a, o);
    jout_kstr(o, "name", node_name(a->node));
    jout_khex(o, "hash", hash, sizeof hash);
    jout_close(o, '}');
}

static void visible_set(struct app *a, struct api_req *r, const struct node_event *ev)
{
    if (ev->err != 0) {
        api_fail_err(a, r, ev->err, NULL);
        return;
    }
    api_publish_visible(a);
    show_visible(a, api_begin(r));
    api_end(r);
}

void api_visible(struct app *a, struct api_req *r, const json_t *params)
{
    bool on = false, stay = false;
    if (!api_may_bool(r, params, "on", &on) || !api_may_bool(r, params, "stay", &stay)) {
        return;
    }
    if (json_object_get(params, "on") == NULL) {
        show_visible(a, api_begin(r));
        api_end(r);
        return;
    }
    if (on && node_hidden(a->node)) {
        api_fail(r, CODE_ERROR,
                 "You are invisible: nobody can be shown that you are here. Say `linnet "
                 "online` first.");
        return;
    }
    r->result = visible_set;
    api_started(a, r, node_visible(a->node, r->tag, on, stay, env_mono_ms()), NULL);
}

void api_publish_visible(struct app *a)
{
    if (a->node == NULL || !api_wanted(a->api, "node")) {
        return;
    }
    struct jout *o = api_event(a->api);
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    jout_key(o, "n");
    jout_null(o);
    jout_kstr(o, "what", "visible");
    api_show_visible(a, o);
    jout_close(o, '}');
    api_publish(a->api, "node");
}

/* ---- who is nearby ---- */

static void name_or_null(struct jout *o, const char *key, const struct rec_contact *c)
{
    jout_key(o, key);
    if (c != NULL) {
        jout_str(o, c->name);
    } else {
        jout_null(o);
    }
}

/* The members of an entry, without its braces. */
static void show_person(struct app *a, struct jout *o, const struct nearby_person *p)
{
    char s[ADDR_STR_MAX];
    jout_ku64(o, "number", p->number);
    jout_kstr(o, "name", p->name);
    jout_khex(o, "hash", p->cert, sizeof p->cert);
    name_or_null(o, "contact", node_nearby_contact(a->node, p));
    name_or_null(o, "like", node_nearby_like(a->node, p));
    jout_kstr(o, "address", addr_ip_str(&p->source, s));
}

void api_nearby(struct app *a, struct api_req *r, const json_t *params)
{
    const struct nearby_person *p;
    size_t pos = 0;
    (void)params;
    struct jout *o = api_begin(r);
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    jout_key(o, "people");
    jout_open(o, '[');
    while ((p = nearby_next(node_nearby(a->node), &pos)) != NULL) {
        jout_open(o, '{');
        jout_ku64(o, "v", 1);
        show_person(a, o, p);
        jout_close(o, '}');
    }
    jout_close(o, ']');
    api_show_visible(a, o);
    jout_close(o, '}');
    api_end(r);
}

void api_publish_nearby(struct app *a, const struct node_event *ev)
{
    if (!api_wanted(a->api, "request")) {
        return;
    }
    struct jout *o = api_event(a->api);
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    jout_key(o, "n");
    jout_null(o);
    if (ev->person.number == 0) {
        jout_kstr(o, "what", "nearby_many");
    } else {
        jout_kstr(o, "what", ev->online ? "nearby" : "nearby_gone");
        show_person(a, o, &ev->person);
    }
    jout_close(o, '}');
    api_publish(a->api, "request");
}

/* ---- asking somebody ---- */

enum { NUMBER_DIGITS_MAX = 7, HEX_MIN = 8, HASH_DIGITS = 64 };

static bool all_of(const char *s, const char *set)
{
    return s[0] != '\0' && s[strspn(s, set)] == '\0';
}

/* Whether the word means that person: number, name, or the beginning of the hash. */
static bool means(const struct nearby_person *p, const char *word)
{
    char hex[HASH_DIGITS + 1];
    size_t len = strlen(word);
    if (len <= NUMBER_DIGITS_MAX && all_of(word, "0123456789")) {
        return p->number == strtoul(word, NULL, 10);
    }
    for (size_t i = 0; i < sizeof p->cert; i++) {
        static const char digits[] = "0123456789abcdef";
        hex[2 * i] = digits[p->cert[i] >> 4];
        hex[2 * i + 1] = digits[p->cert[i] & 15];
    }
    hex[HASH_DIGITS] = '\0';
    return strcmp(p->name, word) == 0 ||
           (len >= HEX_MIN && len <= HASH_DIGITS &&
            all_of(word, "0123456789abcdefABCDEF") && strncasecmp(hex, word, len) == 0);
}

/* How many different ones the word means (of one hash under several names: one). */
static unsigned find_nearby(const struct app *a, const char *word, uint8_t cert[32])
{
    const struct nearby_person *p;
    size_t pos = 0;
    unsigned n = 0;
    while ((p = nearby_next(node_nearby(a->node), &pos)) != NULL) {
        if (means(p, word) && (n == 0 || memcmp(cert, p->cert, sizeof p->cert) != 0)) {
            memcpy(cert, p->cert, sizeof p->cert);
            n++;
        }
    }
    return n;
}

bool api_add_nearby(struct app *a, struct api_req *r, const char *word, const char *as,
                    const char *line)
{
    uint8_t cert[32];
    unsigned n = find_nearby(a, word, cert);
    if (n > 1) {
        api_fail(r, CODE_UNKNOWN,
                 "%u people nearby are called \"%.80s\". Give the number or the hash: "
                 "linnet nearby",
                 n, word);
        return true;
    }
    if (n == 0 && strlen(word) <= HASH_DIGITS && all_of(word, "0123456789abcdefABCDEF") &&
        (strlen(word) >= HEX_MIN || all_of(word, "0123456789"))) {
        api_fail(r, CODE_UNKNOWN,
                 "Nobody nearby has the number or hash %.64s. See who is "
                 "there: linnet nearby",
                 word);
        return true;
    }
    if (n == 0) {
        return false;
    }
    r->nearby = true;
    switch (node_ask(a->node, r->tag, cert, as, line, env_mono_ms())) {
    case 0:
        break;
    case ERR_ARG:
        api_fail(r, CODE_USAGE,
                 "That line cannot be sent: it has to be one line of UTF-8, at most %d "
                 "bytes, without control characters.",
                 WIRE_LINE_MAX);
        break;
    case ERR_REFUSED:
        api_fail(r, CODE_REFUSED, "They are blocked here. Unblock them first.");
        break;
    default:
        api_fail(r, CODE_ERROR,
                 "Too many are being asked already, or too many contacts "
                 "are there.");
        break;
    }
    return true;
}

/* ---- who asks us ---- */

static void show_request(struct app *a, struct jout *o, const struct rec_request *q)
{
    const struct contacts *all = node_contacts(a->node);
    const struct rec_contact *c = contacts_by_root(all, q->root);
    c = c != NULL && (c->flags & CONTACT_REMOVED) == 0 ? c : NULL;
    jout_ku64(o, "number", q->id);
    jout_kstr(o, "name", q->name);
    jout_khex(o, "root", q->root, sizeof q->root);
    jout_key(o, "text");
    jout_strn(o, q->text.p, q->text.n);
    jout_ku64(o, "time_ms", q->time_ms);
    jout_kbool(o, "blocked", q->state == REQUEST_BLOCKED);
    name_or_null(o, "contact", c);
    name_or_null(o, "like", c != NULL ? NULL : node_like(a->node, q->name, 0));
}

void api_show_received(struct app *a, struct jout *o, const struct rec_event *e)
{
    const struct rec_request *q =
        contacts_request_get(node_contacts(a->node), (uint32_t)e->value);
    if (q != NULL && q->state == REQUEST_OPEN) {
        show_request(a, o, q);
    } else { /* settled meanwhile */
        jout_ku64(o, "number", e->value);
        jout_kstr(o, "name", e->text);
    }
}

void api_requests(struct app *a, struct api_req *r, const json_t *params)
{
    const struct rec_request *q;
    size_t pos = 0;
    bool blocked = false;
    if (!api_may_bool(r, params, "blocked", &blocked)) {
        return;
    }
    struct jout *o = api_begin(r);
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    jout_key(o, "requests");
    jout_open(o, '[');
    while ((q = contacts_request_next(node_contacts(a->node), &pos)) != NULL) {
        if ((q->state == REQUEST_BLOCKED) == blocked) {
            jout_open(o, '{');
            jout_ku64(o, "v", 1);
            show_request(a, o, q);
            jout_close(o, '}');
        }
    }
    jout_close(o, ']');
    jout_close(o, '}');
    api_end(r);
}

unsigned api_open_requests(const struct app *a)
{
    const struct rec_request *q;
    size_t pos = 0;
    unsigned n = 0;
    while ((q = contacts_request_next(node_contacts(a->node), &pos)) != NULL) {
        n += q->state == REQUEST_OPEN;
    }
    return n;
}

const struct rec_request *api_blocked_request(struct app *a, const char *name)
{
    const struct rec_request *q, *found = NULL;
    char hex[HASH_DIGITS + 1];
    size_t pos = 0, len = strlen(name);
    while ((q = contacts_request_next(node_contacts(a->node), &pos)) != NULL) {
        (void)sodium_bin2hex(hex, sizeof hex, q->root, sizeof q->root);
        bool meant =
            strcmp(q->name, name) == 0 ||
            (len >= HEX_MIN && len <= HASH_DIGITS && strncasecmp(hex, name, len) == 0);
        if (q->state == REQUEST_BLOCKED && meant) {
            if (found != NULL) {
                return NULL;
            }
            found = q;
        }
    }
    return found;
}

static void fail_request(struct app *a, struct api_req *r, int err, uint64_t n)
{
    switch (err) {
    case 0:
        break;
    case ERR_NOTFOUND:
        api_fail(r, CODE_UNKNOWN,
                 "There is no request %llu. See which there are: linnet "
                 "requests",
                 (unsigned long long)n);
        break;
    case ERR_ARG:
        api_fail(r, CODE_USAGE,
                 "That name cannot be used: it has to be UTF-8 of at most "
                 "64 bytes, without control characters.");
        break;
    default:
        api_fail_err(a, r, err, NULL);
        break;
    }
}

static void accepted(struct app *a, struct api_req *r, const struct node_event *ev)
{
    if (ev->err != 0) {
        api_fail_err(a, r, ev->err, NULL);
        return;
    }
    r->contact = ev->contact;
    api_with_unread(a, r, ev->contact, api_show_added);
}

void api_requests_accept(struct app *a, struct api_req *r, const json_t *params)
{
    uint64_t n = 0;
    const char *as;
    size_t as_len;
    if (!api_may_u64(r, params, "n", UINT32_MAX, &n) ||
        !api_may_str(r, params, "as", &as, &as_len)) {
        return;
    }
    r->result = accepted;
    fail_request(a, r,
                 node_request_accept(a->node, r->tag, (uint32_t)n, as, env_mono_ms()), n);
}

void api_requests_deny(struct app *a, struct api_req *r, const json_t *params)
{
    uint64_t n = 0;
    bool block = false;
    if (!api_may_u64(r, params, "n", UINT32_MAX, &n) ||
        !api_may_bool(r, params, "block", &block)) {
        return;
    }
    r->result = api_result_empty;
    fail_request(
        a, r, node_request_deny(a->node, r->tag, (uint32_t)n, block, env_mono_ms()), n);
}

void api_requests_unblock(struct app *a, struct api_req *r, const json_t *params)
{
    uint64_t n = 0;
    if (!api_may_u64(r, params, "n", UINT32_MAX, &n)) {
        return;
    }
    r->result = api_result_empty;
    fail_request(a, r, node_request_unblock(a->node, r->tag, (uint32_t)n, env_mono_ms()),
                 n);
}
