/* How people, messages and events look in JSON; publishing them. */
#include <stdlib.h>
#include <string.h>

#include "api_priv.h"
#include "api_unread.h"
#include "base/err.h"

enum { DEVICE_SHOWN = 8, EVENTS_BYTES = 1024 * 1024 };

static const char *state_word(uint8_t state)
{
    switch ((enum msg_state)state) {
    case STATE_QUEUED:
        return "queued";
    case STATE_SENT:
        return "sent";
    case STATE_STORED:
        return "stored";
    case STATE_DELIVERED:
        return "delivered";
    case STATE_READ:
        return "read";
    case STATE_RECEIVED:
        return "received";
    }
    return "queued";
}

const char *api_contact_name(const struct app *a, uint32_t contact)
{
    const struct rec_contact *c =
        contact == 0 ? NULL : contacts_get(node_contacts(a->node), contact);
    return contact == 0 ? node_name(a->node) : c == NULL ? "" : c->name;
}

uint32_t api_conv_of(const struct app *a, const struct rec_contact *c)
{
    uint32_t conv = node_conv_of(a->node, c->id);
    return conv != 0 ? conv : UINT32_MAX;
}

const char *api_conv_name(const struct app *a, uint32_t conv)
{
    uint32_t contact = node_conv_contact(a->node, conv);
    return contact == 0 ? "" : api_contact_name(a, contact);
}

void api_view_event(const struct store_event *e, struct msg_view *out)
{
    *out = (struct msg_view){
        .n = e->n,
        .row = e->row,
        .time_ms = e->time_ms,
        .order = e->order,
        .mid = e->mid,
        .reply = e->has_reply ? e->reply : NULL,
        .conv = e->conv,
        .author = e->author,
        .device = e->device,
        .kind = e->kind,
        .state = e->state,
        .flags = e->flags,
        .text = e->text.p,
        .text_len = e->text.n,
        .file = e->has_file ? &e->file : NULL,
    };
}

static void open_event(struct jout *o, uint64_t n, const char *topic)
{
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    if (n != 0) {
        jout_ku64(o, "n", n);
    }
    if (topic != NULL) {
        jout_kstr(o, "topic", topic);
    }
}

/* Where the words of a search stand: first byte of the text, and the one behind. */
static void show_matches(struct jout *o, const struct msg_view *m)
{
    jout_key(o, "matches");
    jout_open(o, '[');
    for (size_t i = 0; i < m->n_matches; i++) {
        jout_open(o, '[');
        jout_u64(o, m->matches[i].from);
        jout_u64(o, m->matches[i].to);
        jout_close(o, ']');
    }
    jout_close(o, ']');
}

/* Null for 0. */
static void put_time(struct jout *o, const char *key, uint64_t ms)
{
    jout_key(o, key);
    if (ms != 0) {
        jout_u64(o, ms);
    } else {
        jout_null(o);
    }
}

static void show_changes(struct app *a, struct jout *o, const struct msg_view *m)
{
    put_time(o, "edited", m->edited_ms);
    jout_kbool(o, "redacted", (m->flags & MSG_REDACTED) != 0);
    jout_key(o, "reactions");
    jout_open(o, '[');
    for (size_t i = 0; i < m->n_reactions; i++) {
        jout_open(o, '{');
        jout_kstr(o, "from", api_contact_name(a, m->reactions[i].author));
        jout_kstr(o, "emoji", m->reactions[i].emoji);
        jout_close(o, '}');
    }
    jout_close(o, ']');
}

void api_show_message(struct app *a, struct jout *o, const struct msg_view *m,
                      const char *topic)
{
    const struct rec_device *d = contacts_device(node_contacts(a->node), m->device);
    bool mine = m->author == 0;
    open_event(o, m->n, topic);
    jout_khex(o, "id", m->mid, WIRE_MID);
    jout_kstr(o, "conversation", api_conv_name(a, m->conv));
    jout_kstr(o, "from", api_contact_name(a, m->author));
    const uint8_t *device = d != NULL ? d->device : mine ? node_device(a->node) : NULL;
    if (device != NULL) {
        jout_khex(o, "device", device, DEVICE_SHOWN);
    } else {
        jout_kstr(o, "device", ""); /* of a contact that was removed */
    }
    jout_ku64(o, "time_ms", m->time_ms);
    jout_kstr(o, "kind", m->kind == MSG_FILE ? "file" : "text");
    jout_key(o, "text");
    jout_strn(o, m->text, m->text_len);
    jout_key(o, "reply_to");
    if (m->reply != NULL) {
        jout_hex(o, m->reply, WIRE_MID);
    } else {
        jout_null(o);
    }
    jout_kstr(o, "state", state_word(m->state));
    jout_kbool(o, "mine", mine);
    jout_ku64(o, "row", m->row);
    jout_kbool(o, "gap", (m->flags & MSG_GAP) != 0);
    show_changes(a, o, m);
    if (m->kind == MSG_FILE) {
        api_show_msg_file(a, o, m);
    }
    if (m->omitted) {
        jout_kbool(o, "omitted", true);
    }
    if (m->matches != NULL) {
        show_matches(o, m);
    }
    jout_close(o, '}');
}

void api_show_row(struct app *a, struct jout *o, const struct store_msg *m)
{
    api_show_found(a, o, m, NULL, 0);
}

void api_show_found(struct app *a, struct jout *o, const struct store_msg *m,
                    const struct search_match *found, size_t n)
{
    struct msg_view v = {
        .row = m->row,
        .time_ms = m->time_ms,
        .order = m->order,
        .mid = m->mid,
        .reply = m->has_reply ? m->reply : NULL,
        .conv = m->conv,
        .author = m->author,
        .device = m->device,
        .kind = m->kind,
        .state = m->state,
        .flags = m->flags,
        .text = m->text.p,
        .text_len = m->text.n,
        .matches = found,
        .n_matches = n,
        .edited_ms = m->edited_ms,
        .reactions = m->reactions,
        .n_reactions = m->n_reactions,
        .file = m->has_file ? &m->file : NULL,
    };
    api_show_message(a, o, &v, NULL);
}

/* A contact's name, or null. */
static void show_name(struct jout *o, const char *key, const struct rec_contact *c)
{
    jout_key(o, key);
    if (c != NULL) {
        jout_str(o, c->name);
    } else {
        jout_null(o);
    }
}

const struct rec_contact *api_rival(const struct app *a, const struct rec_contact *c)
{
    return (c->flags & CONTACT_CONFLICT) == 0
               ? NULL
               : contacts_rival(node_contacts(a->node), c->id);
}

/* What the DHT said when the contact was looked for last; null: it was not. */
static void show_looked(struct jout *o, enum node_looked looked)
{
    jout_key(o, "dht");
    switch (looked) {
    case NODE_LOOKED_NOT:
        jout_null(o);
        break;
    case NODE_LOOKED_UNASKED:
        jout_str(o, "unasked");
        break;
    case NODE_LOOKED_ABSENT:
        jout_str(o, "absent");
        break;
    case NODE_LOOKED_FOUND:
        jout_str(o, "found");
        break;
    }
}

void api_show_contact(struct app *a, struct jout *o, const struct rec_contact *c,
                      uint64_t unread)
{
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    jout_kstr(o, "name", c->name);
    jout_kstr(o, "announced", c->announced);
    jout_khex(o, "root", c->root, WIRE_ID);
    api_show_presence_of(a, o, c);
    jout_kbool(o, "linked", node_linked(a->node, c->id) && node_online(a->node, c->id));
    jout_kbool(o, "verified", (c->flags & CONTACT_VERIFIED) != 0);
    jout_kbool(o, "blocked", (c->flags & CONTACT_BLOCKED) != 0);
    jout_kbool(o, "conflict", (c->flags & CONTACT_CONFLICT) != 0);
    jout_kbool(o, "asked", (c->flags & CONTACT_ASKED) != 0);
    show_name(o, "rival", api_rival(a, c));
    show_name(o, "like", node_contact_like(a->node, c->id));
    show_looked(o, node_looked(a->node, c->id));
    jout_ku64(o, "unread", unread);
    jout_ku64(o, "created_ms", c->created_ms);
    jout_key(o, "network");
    if ((c->flags & CONTACT_NETWORK) != 0) {
        jout_str(o, c->network);
    } else {
        jout_null(o);
    }
    jout_close(o, '}');
}

/* ---- events ---- */

static const char *topic_name(uint8_t topic)
{
    switch ((enum event_topic)topic) {
    case TOPIC_MESSAGE:
        return "message";
    case TOPIC_STATE:
        return "state";
    case TOPIC_PRESENCE:
        return "presence";
    case TOPIC_REQUEST:
        return "request";
    case TOPIC_TRANSFER:
        return "transfer";
    case TOPIC_CONTACT:
        return "contact";
    case TOPIC_NODE:
        return "node";
    }
    return "node";
}

static const char *what_word(uint8_t what)
{
    switch ((enum event_what)what) {
    case EVENT_CONTACT_ADDED:
        return "added";
    case EVENT_CONTACT_CHANGED:
        return "changed";
    case EVENT_CONTACT_REMOVED:
        return "removed";
    case EVENT_CONTACT_REPAIRED:
        return "repaired";
    case EVENT_CONTACT_CONFLICT:
        return "conflict";
    case EVENT_INVITE_USED:
        return "invite_used";
    case EVENT_ADD_FAILED:
        return "add_failed";
    case EVENT_FORK:
        return "fork";
    case EVENT_RESTORED:
        return "restored";
    case EVENT_ORDER_GAP:
        return "gap";
    case EVENT_UNREAD:
        return "unread";
    case EVENT_NETWORK_LEFT:
        return "network_left";
    case EVENT_NETWORK_LIMIT:
        return "network_limit";
    case EVENT_REQUEST:
        return "received";
    case EVENT_REQUEST_ACCEPTED:
    case EVENT_FILE_ACCEPTED:
        return "accepted";
    case EVENT_FILE_OFFERED:
        return "offered";
    case EVENT_FILE_DONE:
        return "done";
    case EVENT_FILE_DECLINED:
        return "declined";
    case EVENT_FILE_STOPPED:
        return "stopped";
    case EVENT_FILE_CANCELLED:
        return "cancelled";
    case EVENT_FILE_CHANGED:
        return "changed";
    case EVENT_FILE_BROKEN:
        return "broken";
    case EVENT_FILE_LOST:
        return "lost";
    case EVENT_FILE_PAUSED:
        return "paused";
    case EVENT_FILE_RESUMED:
        return "resumed";
    }
    return "changed";
}

static const char *reason_word(uint64_t code)
{
    return code == CLOSE_USED      ? "used"
           : code == CLOSE_REVOKED ? "revoked"
           : code == CLOSE_EXPIRED ? "expired"
                                   : "refused";
}

static void show_other(struct app *a, struct jout *o, const struct rec_event *e)
{
    jout_kstr(o, "what", what_word(e->what));
    if (e->topic == TOPIC_TRANSFER) {
        api_show_file_event(a, o, e);
        return;
    }
    const struct rec_contact *c =
        e->contact == 0 ? NULL : contacts_get(node_contacts(a->node), e->contact);
    const char *name = e->text[0] != '\0' ? e->text : c != NULL ? c->name : "";
    switch (e->what) {
    case EVENT_INVITE_USED:
        jout_ku64(o, "invite", e->value);
        jout_kstr(o, "name", name);
        break;
    case EVENT_NETWORK_LEFT:
        jout_ku64(o, "contacts", e->value);
        jout_kstr(o, "network", e->text);
        break;
    case EVENT_NETWORK_LIMIT:
        jout_kstr(o, "network", e->text);
        break;
    case EVENT_ADD_FAILED:
        jout_kstr(o, "reason", reason_word(e->value));
        break;
    case EVENT_REQUEST:
        api_show_received(a, o, e);
        break;
    case EVENT_FORK:
    case EVENT_RESTORED:
    case EVENT_ORDER_GAP:
        jout_kstr(o, "conversation", e->conv == 0 ? name : api_conv_name(a, e->conv));
        jout_kstr(o, "name", name);
        break;
    default:
        jout_kstr(o, "name", c != NULL ? c->name : name);
        jout_key(o, "root");
        if (c != NULL) {
            jout_hex(o, c->root, WIRE_ID);
        } else {
            jout_null(o);
        }
        if (e->what == EVENT_CONTACT_CONFLICT) {
            const struct rec_contact *other =
                e->value == 0 ? NULL
                              : contacts_get(node_contacts(a->node), (uint32_t)e->value);
            show_name(o, "other", other);
        }
        if (e->what == EVENT_CONTACT_ADDED) {
            show_name(o, "like", c == NULL ? NULL : node_contact_like(a->node, c->id));
        }
        if (e->what == EVENT_UNREAD) {
            jout_ku64(o, "unread", 0);
        }
        break;
    }
}

/* A word of a message, or what a change did to it. */
static void show_state(struct app *a, struct jout *o, const struct store_event *e,
                       bool brief)
{
    static const char *const whats[] = {[0] = "state",
                                        [CHANGE_EDIT] = "edited",
                                        [CHANGE_REACTION] = "reaction",
                                        [CHANGE_REDACTION] = "redacted"};
    bool known = e->change < sizeof whats / sizeof whats[0];
    jout_kstr(o, "what", known ? whats[e->change] : "state");
    jout_khex(o, "id", e->mid, WIRE_MID);
    jout_kstr(o, "conversation", api_conv_name(a, e->conv));
    jout_kstr(o, "state", state_word(e->state));
    if (e->change == 0) {
        return;
    }
    jout_kstr(o, "from", api_contact_name(a, e->by));
    jout_kbool(o, "mine", e->by == 0);
    jout_ku64(o, "row", e->row);
    if (e->change == CHANGE_EDIT) {
        bool omitted = brief && e->text.n > API_UNREAD_SHORT && api_behind(a->api);
        put_time(o, "edited", e->changed_ms);
        jout_key(o, "text");
        jout_strn(o, e->text.p, omitted ? 0 : e->text.n);
        if (omitted) {
            jout_kbool(o, "omitted", true);
        }
    } else if (e->change == CHANGE_REACTION) {
        jout_key(o, "emoji");
        if (e->text.n > 0) {
            jout_strn(o, e->text.p, e->text.n);
        } else {
            jout_null(o);
        }
    }
}

static void show_event(struct app *a, struct jout *o, const struct store_event *e,
                       bool with_topic)
{
    const char *topic = with_topic ? topic_name(e->topic) : NULL;
    if (e->topic == TOPIC_MESSAGE) {
        struct msg_view v;
        api_view_event(e, &v);
        if (topic == NULL && v.text_len > API_UNREAD_SHORT && api_behind(a->api)) {
            v.omitted = true;
            v.text_len = 0;
        }
        api_show_message(a, o, &v, topic);
        return;
    }
    open_event(o, e->n, topic);
    if (e->topic == TOPIC_STATE) {
        show_state(a, o, e, topic == NULL);
    } else {
        show_other(a, o, &e->event);
    }
    jout_close(o, '}');
}

void api_publish_event(struct app *a, const struct store_event *e)
{
    const char *topic = topic_name(e->topic);
    if (api_wanted(a->api, topic)) {
        show_event(a, api_event(a->api), e, false);
        api_publish(a->api, topic);
    }
}

void api_publish_node(struct app *a, const char *what, const char *error)
{
    struct jout *o = api_event(a->api);
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    jout_key(o, "n");
    jout_null(o);
    jout_kstr(o, "what", what);
    if (error != NULL) {
        jout_kstr(o, "error", error);
    }
    jout_close(o, '}');
    api_publish(a->api, "node");
}

void api_welcome(struct app *a)
{
    struct jout *o = api_event(a->api);
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    jout_ku64(o, "newest", a->newest);
    jout_ku64(o, "row", a->newest_row);
    jout_close(o, '}');
    api_publish(a->api, "welcome");
}

/* ---- events.since ---- */

struct since {
    struct app *app;
    uint64_t tag, n, limit, newest;
    struct store_events events;
};

static int since_run(void *ctx, struct store *s)
{
    struct since *q = ctx;
    return store_events_since(s, q->n, q->limit, &q->events, &q->newest);
}

static void since_done(void *ctx, int rc)
{
    struct since *q = ctx;
    struct app *a = q->app;
    struct api_req *r = api_find(a->api, q->tag);
    if (r != NULL && (rc != 0 || a->node == NULL)) {
        api_fail_err(a, r, rc, NULL);
    } else if (r != NULL) {
        struct jout *o = api_begin(r);
        jout_open(o, '{');
        jout_key(o, "events");
        jout_open(o, '[');
        for (size_t i = 0; i < q->events.n && o->len < EVENTS_BYTES; i++) {
            show_event(a, o, &q->events.v[i], true);
        }
        jout_close(o, ']');
        jout_ku64(o, "newest", q->newest);
        jout_close(o, '}');
        api_end(r);
    }
    store_events_release(&q->events);
    free(q);
}

void api_events_since(struct app *a, struct api_req *r, const json_t *params)
{
    uint64_t n = 0, limit = API_PAGE_MAX;
    if (!api_may_u64(r, params, "n", INT64_MAX, &n) ||
        !api_may_u64(r, params, "limit", API_PAGE_MAX, &limit)) {
        return;
    }
    struct since *q = calloc(1, sizeof *q);
    int rc = ERR_NOMEM;
    if (q != NULL) {
        *q = (struct since){.app = a, .tag = r->tag, .n = n, .limit = limit};
        rc = app_query(a, since_run, since_done, q);
    }
    if (rc != 0) {
        free(q);
        api_fail_err(a, r, rc, NULL);
    }
}
