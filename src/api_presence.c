/* Presence, typing and live typing: methods and events. */
#include <string.h>

#include "api_priv.h"
#include "api_unread.h"
#include "base/err.h"

/* ---- how it looks ---- */

static const char *state_word(bool online, enum presence_state state)
{
    return !online                  ? "offline"
           : state == PRESENCE_AWAY ? "away"
           : state == PRESENCE_BUSY ? "busy"
                                    : "online";
}

static void maybe_str(struct jout *o, const char *key, const char *s)
{
    jout_key(o, key);
    if (s != NULL) {
        jout_str(o, s);
    } else {
        jout_null(o);
    }
}

void api_show_presence(struct app *a, struct jout *o)
{
    struct presence_own own;
    node_presence(a->node, &own);
    jout_kstr(o, "presence",
              own.state == PRESENCE_INVISIBLE ? "invisible"
                                              : state_word(true, own.state));
    maybe_str(o, "status", own.status);
    jout_kbool(o, "automatic", own.automatic);
}

static void show_live(struct jout *o, const struct presence_view *v)
{
    jout_key(o, "live");
    jout_open(o, '{');
    jout_kbool(o, "ours", v->live_ours);
    jout_kbool(o, "theirs", v->live_theirs);
    jout_close(o, '}');
}

/* Their draft, but for one that would fill the memory of who does not read. */
static void show_draft(struct app *a, struct jout *o, const char *key,
                       const struct presence_view *v, bool event)
{
    bool omitted = event && v->text_len > API_UNREAD_SHORT && api_behind(a->api);
    jout_key(o, key);
    if (v->text != NULL && !omitted) {
        jout_strn(o, v->text, v->text_len);
    } else {
        jout_null(o);
    }
    if (omitted) {
        jout_kbool(o, "omitted", true);
    }
}

static void show_seen(struct jout *o, const struct presence_view *v)
{
    jout_key(o, "seen_ms");
    if (v->seen_ms > 0) {
        jout_u64(o, v->seen_ms);
    } else {
        jout_null(o);
    }
}

void api_show_presence_of(struct app *a, struct jout *o, const struct rec_contact *c)
{
    struct presence_view v;
    node_presence_of(a->node, c->id, &v);
    jout_kbool(o, "online", v.online);
    jout_kstr(o, "presence", state_word(v.online, v.state));
    maybe_str(o, "status", v.status);
    show_seen(o, &v);
    show_live(o, &v);
    jout_kbool(o, "typing", v.typing);
    show_draft(a, o, "draft", &v, false);
}

/* ---- events ---- */

static void publish_own(struct app *a)
{
    struct jout *o = api_event(a->api);
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    jout_kstr(o, "what", "presence");
    jout_kbool(o, "mine", true);
    jout_kstr(o, "name", node_name(a->node));
    jout_khex(o, "root", node_root(a->node), WIRE_ID);
    jout_kbool(o, "online", !node_hidden(a->node));
    api_show_presence(a, o);
    jout_close(o, '}');
    api_publish(a->api, "presence");
}

void api_publish_presence(struct app *a, uint32_t contact, enum node_presence_what what)
{
    static const char *const words[] = {"presence", "typing", "live"};
    const struct rec_contact *c = contacts_get(node_contacts(a->node), contact);
    struct presence_view v;
    if (!api_wanted(a->api, "presence") || (contact != 0 && c == NULL)) {
        return;
    }
    if (contact == 0) {
        publish_own(a);
        return;
    }
    node_presence_of(a->node, contact, &v);
    struct jout *o = api_event(a->api);
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    jout_kstr(o, "what", words[what]);
    jout_kbool(o, "mine", false);
    jout_kstr(o, "name", c->name);
    jout_khex(o, "root", c->root, WIRE_ID);
    jout_kbool(o, "online", v.online);
    switch (what) {
    case NODE_PRESENCE_STATE:
        jout_kstr(o, "presence", state_word(v.online, v.state));
        maybe_str(o, "status", v.status);
        show_seen(o, &v);
        break;
    case NODE_PRESENCE_TYPING:
        jout_kbool(o, "typing", v.typing);
        break;
    case NODE_PRESENCE_LIVE:
        show_live(o, &v);
        show_draft(a, o, "text", &v, true);
        break;
    }
    jout_close(o, '}');
    api_publish(a->api, "presence");
}

/* ---- what a person does ---- */

void api_note_activity(struct app *a, const char *method, const json_t *params)
{
    static const char *const by_hand[] = {"add",
                                          "contact.block",
                                          "contact.files",
                                          "contact.remove",
                                          "contact.rename",
                                          "contact.unblock",
                                          "edit",
                                          "invite",
                                          "live",
                                          "nearby",
                                          "react",
                                          "read",
                                          "redact",
                                          "requests.accept",
                                          "requests.deny",
                                          "requests.unblock",
                                          "search",
                                          "send",
                                          "transfers.accept",
                                          "transfers.cancel",
                                          "transfers.decline",
                                          "transfers.limit",
                                          "transfers.pause",
                                          "transfers.resume",
                                          "transfers.spool",
                                          "typing",
                                          "verify",
                                          "visible"};
    bool active = true;
    if (a->node == NULL || param_bool(params, "active", &active) < 0 || !active) {
        return;
    }
    for (size_t i = 0; i < sizeof by_hand / sizeof by_hand[0]; i++) {
        if (strcmp(method, by_hand[i]) == 0) {
            a->active_ms = env_mono_ms();
            node_activity(a->node, a->active_ms);
            return;
        }
    }
}

/* ---- methods ---- */

static void presence_is_set(struct app *a, struct api_req *r, const struct node_event *ev)
{
    if (ev->err != 0) {
        api_fail_err(a, r, ev->err, NULL);
        return;
    }
    struct jout *o = api_begin(r);
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    api_show_presence(a, o);
    jout_close(o, '}');
    api_end(r);
}

static void set(struct app *a, struct api_req *r, const json_t *params,
                enum presence_state state)
{
    const char *status;
    size_t len;
    if (!api_may_str(r, params, "status", &status, &len)) {
        return;
    }
    if (len > 0 && !wire_status_ok((const uint8_t *)status, len)) {
        api_fail(r, CODE_USAGE,
                 "That status text cannot be used: it has to be one line of at most %d "
                 "bytes without control characters, and not begin or end with a blank.",
                 WIRE_STATUS_MAX);
        return;
    }
    a->active_ms = env_mono_ms();
    r->result = presence_is_set;
    api_started(
        a, r, node_presence_set(a->node, r->tag, state, status, len, a->active_ms), NULL);
}

void api_away(struct app *a, struct api_req *r, const json_t *params)
{
    set(a, r, params, PRESENCE_AWAY);
}

void api_busy(struct app *a, struct api_req *r, const json_t *params)
{
    set(a, r, params, PRESENCE_BUSY);
}

void api_online(struct app *a, struct api_req *r, const json_t *params)
{
    set(a, r, params, PRESENCE_ONLINE);
}

void api_invisible(struct app *a, struct api_req *r, const json_t *params)
{
    set(a, r, params, PRESENCE_INVISIBLE);
}

static void live_is_set(struct app *a, struct api_req *r, const struct node_event *ev)
{
    const struct rec_contact *c = contacts_get(node_contacts(a->node), r->contact);
    struct presence_view v;
    if (ev->err != 0 || c == NULL) {
        api_fail_err(a, r, ev->err != 0 ? ev->err : ERR_NOTFOUND, NULL);
        return;
    }
    node_presence_of(a->node, c->id, &v);
    struct jout *o = api_begin(r);
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    jout_kstr(o, "name", c->name);
    jout_khex(o, "root", c->root, WIRE_ID);
    show_live(o, &v);
    jout_close(o, '}');
    api_end(r);
}

void api_live(struct app *a, struct api_req *r, const json_t *params)
{
    bool on = false;
    const struct rec_contact *c = api_want_contact(a, r, params, "name");
    if (c == NULL || !api_may_bool(r, params, "on", &on)) {
        return;
    }
    if (json_object_get(params, "on") == NULL) {
        api_fail(r, CODE_USAGE, "\"on\" is missing: true or false.");
        return;
    }
    r->result = live_is_set;
    r->contact = c->id;
    api_started(a, r, node_live(a->node, r->tag, c->id, on, env_mono_ms()), c->name);
}

void api_typing(struct app *a, struct api_req *r, const json_t *params)
{
    const char *text;
    size_t len;
    bool typing = false;
    struct presence_view v;
    const struct rec_contact *c = api_want_contact(a, r, params, "to");
    if (c == NULL || !api_may_str(r, params, "text", &text, &len) ||
        !api_may_bool(r, params, "typing", &typing)) {
        return;
    }
    if (text == NULL && json_object_get(params, "typing") == NULL) {
        api_fail(r, CODE_USAGE, "\"text\" or \"typing\" is missing.");
        return;
    }
    int rc =
        node_typing(a->node, c->id, (const uint8_t *)text, len, typing, env_mono_ms());
    if (rc == ERR_ARG) {
        api_fail(r, CODE_USAGE, "A draft has at most %d bytes of UTF-8.", WIRE_TEXT_MAX);
        return;
    }
    if (rc != 0) {
        api_fail_err(a, r, rc, c->name);
        return;
    }
    node_presence_of(a->node, c->id, &v);
    struct jout *o = api_begin(r);
    jout_open(o, '{');
    jout_kbool(o, "live", v.live_ours && v.live_theirs && !node_hidden(a->node));
    jout_close(o, '}');
    api_end(r);
}
