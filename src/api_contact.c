/* Methods about people: invite, add, contacts, contact.*, verify. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "api_priv.h"
#include "base/err.h"

/* ---- unread messages ---- */

/* A conversation, and which contact of the job it is with. */
struct place {
    uint32_t conv;
    size_t i;
};

struct unread_job {
    struct app *app;
    uint64_t tag;
    api_unread_fn *done;
    struct place *order; /* by conversation */
    struct unread u;
};

static int by_conv(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    return (x->conv > y->conv) - (x->conv < y->conv);
}

static int on_unread(void *ctx, uint32_t conv, uint64_t n)
{
    struct unread_job *j = ctx;
    const struct place key = {.conv = conv};
    const struct place *p = bsearch(&key, j->order, j->u.n, sizeof key, by_conv);
    if (p != NULL) {
        j->u.v[p->i].unread = n;
        j->u.sum += n;
    }
    return 0;
}

/* All in one pass over those conversations that have some. */
static int unread_run(void *ctx, struct store *s)
{
    struct unread_job *j = ctx;
    if (j->u.n == 1) {
        int rc = store_unread(s, j->u.v[0].conv, &j->u.v[0].unread);
        j->u.sum = j->u.v[0].unread;
        return rc;
    }
    j->order = calloc(j->u.n + 1, sizeof *j->order);
    if (j->order == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < j->u.n; i++) {
        j->order[i] = (struct place){j->u.v[i].conv, i};
    }
    qsort(j->order, j->u.n, sizeof *j->order, by_conv);
    int rc = store_unread_each(s, on_unread, j);
    free(j->order);
    return rc;
}

static void unread_done(void *ctx, int rc)
{
    struct unread_job *j = ctx;
    struct api_req *r = api_find(j->app->api, j->tag);
    if (r != NULL && (rc != 0 || j->app->node == NULL)) {
        api_fail_err(j->app, r, rc, NULL);
    } else if (r != NULL) {
        j->done(j->app, r, &j->u);
    }
    free(j);
}

void api_with_unread(struct app *a, struct api_req *r, uint32_t contact,
                     api_unread_fn *done)
{
    const struct rec_contact *c;
    size_t pos = 0, max = contact != 0 ? 1 : CONTACTS_MAX;
    struct unread_job *j = calloc(1, sizeof *j + max * sizeof j->u.v[0]);
    int rc = ERR_NOMEM;
    if (j != NULL) {
        j->app = a;
        j->tag = r->tag;
        j->done = done;
        while (j->u.n < max &&
               (c = contacts_next(node_contacts(a->node), &pos)) != NULL) {
            if ((c->flags & CONTACT_REMOVED) == 0 && (contact == 0 || c->id == contact)) {
                j->u.v[j->u.n].contact = c->id;
                j->u.v[j->u.n++].conv = api_conv_of(a, c);
            }
        }
        rc = app_query(a, unread_run, unread_done, j);
    }
    if (rc != 0) {
        free(j);
        api_fail_err(a, r, rc, NULL);
    }
}

/* ---- invites ---- */

static void invited(struct app *a, struct api_req *r, const struct node_event *ev)
{
    const struct rec_invite *i = contacts_invite_get(node_contacts(a->node), ev->id);
    if (ev->err != 0) {
        api_fail_err(a, r, ev->err, NULL);
        return;
    }
    struct jout *o = api_begin(r);
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    jout_ku64(o, "n", ev->id);
    jout_kstr(o, "code", ev->code);
    jout_ku64(o, "expires_ms", i == NULL ? 0 : i->expiry_s * 1000);
    jout_close(o, '}');
    api_end(r);
}

/* The addresses that a code is to carry. False: r has been answered. */
static bool take_addrs(struct app *a, struct api_req *r, const json_t *params,
                       struct addr out[WIRE_CODE_ADDRS_MAX], size_t *n)
{
    const json_t *v = json_object_get(params, "addr");
    *n = 0;
    if (v == NULL || json_is_null(v)) {
        return true;
    }
    size_t count = json_is_array(v) ? json_array_size(v) : WIRE_CODE_ADDRS_MAX + 1;
    if (count > WIRE_CODE_ADDRS_MAX) {
        api_fail(r, CODE_USAGE, "\"addr\" has to be a list of at most %d addresses.",
                 WIRE_CODE_ADDRS_MAX);
        return false;
    }
    for (; *n < count; (*n)++) {
        const char *s = json_string_value(json_array_get(v, *n));
        if (s == NULL || strlen(s) != json_string_length(json_array_get(v, *n)) ||
            addr_parse(s, loop_port(a->cfg.loop), &out[*n]) != 0 ||
            !addr_is_dialable(&out[*n])) {
            api_fail(
                r, CODE_USAGE,
                "\"%.80s\" is not an address, as in 192.0.2.1:7679 or [2001:db8::1].",
                s == NULL ? "?" : s);
            return false;
        }
    }
    return true;
}

void api_invite(struct app *a, struct api_req *r, const json_t *params)
{
    struct addr addrs[WIRE_CODE_ADDRS_MAX];
    size_t n;
    uint64_t expires_s = INVITE_EXPIRES_S;
    if (!api_may_u64(r, params, "expires_s", INVITE_EXPIRES_MAX_S, &expires_s) ||
        !take_addrs(a, r, params, addrs, &n)) {
        return;
    }
    if (expires_s == 0) {
        api_fail(r, CODE_USAGE, "\"expires_s\" has to be at least one second.");
        return;
    }
    r->result = invited;
    api_started(a, r, node_invite(a->node, r->tag, expires_s, addrs, n, env_mono_ms()),
                NULL);
}

static const char *invite_state(const struct rec_invite *i, uint64_t now_s)
{
    return i->used                ? "used"
           : i->revoked           ? "revoked"
           : i->expiry_s <= now_s ? "expired"
                                  : "open";
}

void api_invite_ls(struct app *a, struct api_req *r, const json_t *params)
{
    const struct contacts *all = node_contacts(a->node);
    const struct rec_invite *i;
    uint64_t now_s = env_wall_ms(a->cfg.env) / 1000;
    size_t pos = 0;
    (void)params;
    struct jout *o = api_begin(r);
    jout_open(o, '{');
    jout_key(o, "invites");
    jout_open(o, '[');
    while ((i = contacts_invite_next(all, &pos)) != NULL) {
        const struct rec_contact *by = i->used ? contacts_by_root(all, i->used_by) : NULL;
        jout_open(o, '{');
        jout_ku64(o, "v", 1);
        jout_ku64(o, "n", i->id);
        jout_kstr(o, "state", invite_state(i, now_s));
        jout_ku64(o, "created_ms", i->created_s * 1000);
        jout_ku64(o, "expires_ms", i->expiry_s * 1000);
        jout_key(o, "used_by");
        if (by != NULL) {
            jout_str(o, by->name);
        } else if (i->used) {
            jout_hex(o, i->used_by, WIRE_ID);
        } else {
            jout_null(o);
        }
        jout_close(o, '}');
    }
    jout_close(o, ']');
    jout_close(o, '}');
    api_end(r);
}

void api_invite_revoke(struct app *a, struct api_req *r, const json_t *params)
{
    uint64_t n = 0;
    if (!api_may_u64(r, params, "n", UINT32_MAX, &n)) {
        return;
    }
    r->result = api_result_empty;
    int rc = node_invite_revoke(a->node, r->tag, (uint32_t)n, env_mono_ms());
    if (rc == ERR_NOTFOUND) {
        api_fail(r, CODE_UNKNOWN, "There is no invite %llu.", (unsigned long long)n);
    } else if (rc == ERR_STATE) {
        api_fail(r, CODE_ERROR, "Invite %llu has ended already.", (unsigned long long)n);
    } else {
        api_started(a, r, rc, NULL);
    }
}

/* ---- add ---- */

void api_show_added(struct app *a, struct api_req *r, const struct unread *u)
{
    const struct rec_contact *c = contacts_get(node_contacts(a->node), r->contact);
    if (c == NULL) {
        api_fail_err(a, r, ERR_NOTFOUND, NULL);
        return;
    }
    struct jout *o = api_begin(r);
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    jout_kstr(o, "name", c->name);
    jout_khex(o, "root", c->root, WIRE_ID);
    jout_key(o, "contact");
    api_show_contact(a, o, c, u->sum);
    jout_close(o, '}');
    api_end(r);
}

static void fail_closed(struct api_req *r, unsigned code)
{
    api_fail(r, CODE_REFUSED,
             code == CLOSE_USED      ? "That code was used already. Ask for a new one."
             : code == CLOSE_REVOKED ? "That code was taken back. Ask for a new one."
             : code == CLOSE_EXPIRED ? "That code has expired. Ask for a new one."
                                     : "The other side refused. Ask for a new code.");
}

static void fail_nobody(struct api_req *r, enum node_looked looked)
{
    const char *why = "";
    switch (looked) {
    case NODE_LOOKED_NOT:
        break;
    case NODE_LOOKED_UNASKED:
        why = " The DHT could not be asked where they are: `linnet status` shows whether "
              "this node knows others there.";
        break;
    case NODE_LOOKED_ABSENT:
        why = " Nothing in the DHT says where they are: perhaps their node does not run.";
        break;
    case NODE_LOOKED_FOUND:
        why = " The DHT says where they were not long ago, but nobody answers there: "
              "perhaps their node does not run any more, or a firewall or address "
              "translation is in between.";
        break;
    }
    api_fail(
        r, CODE_NOBODY,
        "Nobody has answered to that code yet.%s The node goes on trying: the contact "
        "appears when both are reachable.",
        why);
}

static void added(struct app *a, struct api_req *r, const struct node_event *ev)
{
    if (ev->err == 0) {
        r->contact = ev->contact;
        api_with_unread(a, r, ev->contact, api_show_added);
    } else if (ev->err == ERR_TIMEOUT && r->nearby) {
        const char *name = api_contact_name(a, ev->contact);
        if (ev->contact != 0) {
            api_fail(r, CODE_NOBODY,
                     "%s has been asked and has not answered yet. What you write to them "
                     "waits until they accept.",
                     name);
        } else {
            api_fail(r, CODE_NOBODY,
                     "Their node does not answer: perhaps they are not visible any more, "
                     "or take no more requests now. The node goes on trying for half an "
                     "hour.");
        }
    } else if (ev->err == ERR_TIMEOUT) {
        fail_nobody(r, ev->looked);
    } else if (ev->err == ERR_REFUSED) {
        fail_closed(r, ev->close_code);
    } else {
        api_fail_err(a, r, ev->err, NULL);
    }
}

void api_add(struct app *a, struct api_req *r, const json_t *params)
{
    const char *code, *as, *line;
    size_t len, as_len, line_len;
    if (!api_want_str(r, params, "code", &code, &len) ||
        !api_may_str(r, params, "as", &as, &as_len) ||
        !api_may_str(r, params, "message", &line, &line_len)) {
        return;
    }
    if (as != NULL && !wire_name_ok((const uint8_t *)as, as_len)) {
        api_fail(r, CODE_USAGE,
                 "That name cannot be used: it has to be UTF-8 of at most "
                 "64 bytes, without control characters.");
        return;
    }
    r->result = added;
    if (api_add_nearby(a, r, code, as, line)) {
        return;
    }
    switch (node_add(a->node, r->tag, code, len, as, env_mono_ms())) {
    case 0:
        break;
    case ERR_FORMAT:
        api_fail(r, CODE_USAGE,
                 "That is neither an invite code (or it is mistyped: copy the whole of "
                 "it) nor somebody nearby.");
        break;
    case ERR_NEWER:
        api_fail(r, CODE_ERROR,
                 "That code was made by a newer linnet. Bring this one up to date.");
        break;
    case ERR_STATE:
        api_fail(r, CODE_USAGE, "That is a code of your own. Give it to somebody else.");
        break;
    case ERR_ARG:
        api_fail(r, CODE_USAGE, "That name cannot be used.");
        break;
    case ERR_REFUSED:
        api_fail(r, CODE_REFUSED, "That code was tried already and refused.");
        break;
    default:
        api_fail(r, CODE_ERROR, "Too many codes are being tried already.");
        break;
    }
}

/* ---- contacts ---- */

static void show_contacts(struct app *a, struct api_req *r, const struct unread *u)
{
    struct jout *o = api_begin(r);
    jout_open(o, '{');
    jout_key(o, "contacts");
    jout_open(o, '[');
    for (size_t i = 0; i < u->n; i++) {
        const struct rec_contact *c =
            contacts_get(node_contacts(a->node), u->v[i].contact);
        if (c != NULL && (c->flags & CONTACT_REMOVED) == 0) {
            api_show_contact(a, o, c, u->v[i].unread);
        }
    }
    jout_close(o, ']');
    jout_close(o, '}');
    api_end(r);
}

void api_contacts(struct app *a, struct api_req *r, const json_t *params)
{
    (void)params;
    api_with_unread(a, r, 0, show_contacts);
}

static void show_renamed(struct app *a, struct api_req *r, const struct unread *u)
{
    const struct rec_contact *c = contacts_get(node_contacts(a->node), r->contact);
    if (c == NULL) {
        api_fail_err(a, r, ERR_NOTFOUND, NULL);
        return;
    }
    struct jout *o = api_begin(r);
    jout_open(o, '{');
    jout_key(o, "contact");
    api_show_contact(a, o, c, u->sum);
    jout_close(o, '}');
    api_end(r);
}

static void renamed(struct app *a, struct api_req *r, const struct node_event *ev)
{
    if (ev->err != 0) {
        api_fail_err(a, r, ev->err, NULL);
    } else {
        api_with_unread(a, r, r->contact, show_renamed);
    }
}

void api_contact_rename(struct app *a, struct api_req *r, const json_t *params)
{
    const char *name;
    size_t len;
    const struct rec_contact *c = api_want_contact(a, r, params, "name");
    if (c == NULL || !api_want_str(r, params, "new", &name, &len)) {
        return;
    }
    r->result = renamed;
    r->contact = c->id;
    int rc = wire_name_ok((const uint8_t *)name, len)
                 ? node_contact_rename(a->node, r->tag, c->id, name, env_mono_ms())
                 : ERR_ARG;
    if (rc == ERR_ARG) {
        api_fail(r, CODE_USAGE,
                 "That name cannot be used: it has to be UTF-8 of at most 64 bytes, "
                 "without control characters.");
    } else if (rc == ERR_EXISTS) {
        api_fail(r, CODE_ERROR, "Another contact is called \"%s\" already.", name);
    } else {
        api_started(a, r, rc, c->name);
    }
}

static void set_blocked(struct app *a, struct api_req *r, const json_t *params,
                        bool block)
{
    const struct rec_contact *c = api_want_contact(a, r, params, "name");
    if (c != NULL) {
        r->result = api_result_empty;
        api_started(a, r,
                    node_contact_block(a->node, r->tag, c->id, block, env_mono_ms()),
                    c->name);
    }
}

void api_contact_block(struct app *a, struct api_req *r, const json_t *params)
{
    set_blocked(a, r, params, true);
}

void api_contact_unblock(struct app *a, struct api_req *r, const json_t *params)
{
    const char *name = json_string_value(json_object_get(params, "name"));
    const struct rec_contact *c;
    const struct rec_request *q =
        name == NULL || contacts_find(node_contacts(a->node), name, &c) == 0
            ? NULL
            : api_blocked_request(a, name);
    if (q != NULL) { /* somebody who asked, and was blocked */
        r->result = api_result_empty;
        api_started(a, r, node_request_unblock(a->node, r->tag, q->id, env_mono_ms()),
                    name);
        return;
    }
    set_blocked(a, r, params, false);
}

void api_contact_remove(struct app *a, struct api_req *r, const json_t *params)
{
    const struct rec_contact *c = api_want_contact(a, r, params, "name");
    if (c != NULL) {
        r->result = api_result_empty;
        api_started(a, r, node_contact_remove(a->node, r->tag, c->id, env_mono_ms()),
                    c->name);
    }
}

/* ---- verify ---- */

static void show_verify(struct app *a, struct api_req *r, const struct rec_contact *c)
{
    char number[KEYS_SAFETY_STR];
    keys_safety_number(node_root(a->node), c->root, number);
    struct jout *o = api_begin(r);
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    jout_kstr(o, "name", c->name);
    jout_khex(o, "root", c->root, WIRE_ID);
    jout_kstr(o, "number", number);
    jout_kbool(o, "verified", (c->flags & CONTACT_VERIFIED) != 0);
    jout_kbool(o, "conflict", (c->flags & CONTACT_CONFLICT) != 0);
    jout_key(o, "rival");
    const struct rec_contact *rival = contacts_rival(node_contacts(a->node), c->id);
    bool open = rival != NULL && ((c->flags | rival->flags) & CONTACT_CONFLICT) != 0;
    if (open) {
        jout_str(o, rival->name);
    } else {
        jout_null(o);
    }
    const struct rec_contact *like = node_contact_like(a->node, c->id);
    jout_key(o, "like");
    if (like != NULL) {
        jout_str(o, like->name);
    } else {
        jout_null(o);
    }
    jout_close(o, '}');
    api_end(r);
}

static void verified(struct app *a, struct api_req *r, const struct node_event *ev)
{
    const struct rec_contact *c = contacts_get(node_contacts(a->node), r->contact);
    if (ev->err != 0 || c == NULL) {
        api_fail_err(a, r, ev->err != 0 ? ev->err : ERR_NOTFOUND, NULL);
    } else {
        show_verify(a, r, c);
    }
}

void api_verify(struct app *a, struct api_req *r, const json_t *params)
{
    bool confirm = false, code = false;
    const struct rec_contact *c = api_want_contact(a, r, params, "name");
    if (c == NULL || !api_may_bool(r, params, "confirm", &confirm) ||
        !api_may_bool(r, params, "code", &code)) {
        return;
    }
    if (code && !confirm) {
        api_verify_code(a, r, c);
        return;
    }
    if (!confirm) {
        show_verify(a, r, c);
        return;
    }
    r->result = verified;
    r->contact = c->id;
    api_started(a, r, node_contact_verify(a->node, r->tag, c->id, true, env_mono_ms()),
                c->name);
}
