#include "presence.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "presence_priv.h"

/* Every contact is always in the heap, so that only adding one can fail. */
#define NEVER (DEADLINE_NONE - 1)

enum { FRAME_BUF = WIRE_TEXT_MAX + 512, SECOND_MS = 1000 };

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ---- small things ---- */

int presence_text_set(struct presence_text *t, const void *p, size_t len)
{
    uint8_t *copy = NULL;
    if (len > 0) {
        copy = malloc(len + 1);
        if (copy == NULL) {
            return ERR_NOMEM;
        }
        memcpy(copy, p, len);
        copy[len] = '\0';
    }
    if (t->p != NULL) {
        sodium_memzero(t->p, t->len);
        free(t->p);
    }
    t->p = copy;
    t->len = len;
    return 0;
}

bool presence_text_is(const struct presence_text *t, const void *p, size_t len)
{
    return t->len == len && (len == 0 || memcmp(t->p, p, len) == 0);
}

/* ---- life ---- */

struct presence *presence_new(const struct env *env)
{
    struct presence *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return NULL;
    }
    p->env = env;
    p->away_after_ms = PRESENCE_AWAY_AFTER_MS;
    map_init(&p->contacts, env, sizeof(uint32_t), PRESENCE_CONTACTS_MAX);
    map_init(&p->devices, env, sizeof(uint32_t), PRESENCE_DEVICES_MAX);
    deadlines_init(&p->deadlines, PRESENCE_CONTACTS_MAX);
    p->buf = malloc(FRAME_BUF);
    if (p->buf == NULL) {
        presence_free(p);
        return NULL;
    }
    return p;
}

static void device_free(struct presence_device *d)
{
    (void)presence_text_set(&d->status, NULL, 0);
    (void)presence_text_set(&d->text, NULL, 0);
    free(d);
}

static void contact_free(struct presence_contact *k)
{
    while (k->devices != NULL) {
        struct presence_device *d = k->devices;
        k->devices = d->next;
        device_free(d);
    }
    (void)presence_text_set(&k->draft, NULL, 0);
    free(k);
}

void presence_free(struct presence *p)
{
    size_t pos = 0;
    const void *key;
    void *k;
    if (p == NULL) {
        return;
    }
    deadlines_release(&p->deadlines);
    while (map_next(&p->contacts, &pos, &key, &k)) {
        contact_free(k);
    }
    map_release(&p->contacts);
    map_release(&p->devices);
    if (p->buf != NULL) {
        sodium_memzero(p->buf, FRAME_BUF);
        free(p->buf);
    }
    sodium_memzero(p, sizeof *p);
    free(p);
}

static struct presence_device *find(const struct presence *p, uint32_t device)
{
    return map_get(&p->devices, &device);
}

static struct presence_contact *find_contact(const struct presence *p, uint32_t contact)
{
    return map_get(&p->contacts, &contact);
}

static int make_contact(struct presence *p, uint32_t contact,
                        struct presence_contact **out)
{
    struct presence_contact *k = find_contact(p, contact);
    if (k != NULL) {
        *out = k;
        return 0;
    }
    k = calloc(1, sizeof *k);
    if (k == NULL) {
        return ERR_NOMEM;
    }
    k->id = contact;
    k->at.owner = k;
    int rc = deadlines_set(&p->deadlines, &k->at, NEVER);
    if (rc == 0) {
        rc = map_put(&p->contacts, &k->id, k);
    }
    if (rc != 0) {
        deadlines_remove(&p->deadlines, &k->at);
        free(k);
        return rc;
    }
    *out = k;
    return 0;
}

/* The device, new when it was not met yet. */
static int make(struct presence *p, uint32_t device, uint32_t contact,
                struct presence_device **out)
{
    struct presence_device *d = find(p, device);
    struct presence_contact *k;
    if (d != NULL) {
        *out = d;
        return 0;
    }
    int rc = make_contact(p, contact, &k);
    if (rc != 0) {
        return rc;
    }
    d = calloc(1, sizeof *d);
    rc = d == NULL ? ERR_NOMEM : map_put(&p->devices, &device, d);
    if (rc != 0) {
        free(d);
        return rc;
    }
    d->ref = device;
    d->contact = k;
    d->fetch_at_ms = DEADLINE_NONE;
    d->next = k->devices;
    k->devices = d;
    *out = d;
    return 0;
}

/* ---- queues ---- */

void presence_push_out(struct presence *p, struct presence_device *d, unsigned bits)
{
    if (!d->link) {
        return;
    }
    d->out |= bits;
    if (d->in_outs) {
        return;
    }
    d->in_outs = true;
    d->next_out = NULL;
    *(p->outs_tail != NULL ? &p->outs_tail->next_out : &p->outs_head) = d;
    p->outs_tail = d;
}

static void push_event(struct presence *p, struct presence_contact *k)
{
    if (k->in_events) {
        return;
    }
    k->in_events = true;
    k->next_event = NULL;
    *(p->events_tail != NULL ? &p->events_tail->next_event : &p->events_head) = k;
    p->events_tail = k;
}

static void unqueue_out(struct presence *p, const struct presence_device *gone)
{
    struct presence_device *d = p->outs_head, *next;
    p->outs_head = p->outs_tail = NULL;
    for (; d != NULL; d = next) {
        next = d->next_out;
        d->in_outs = false;
        if (d != gone) {
            presence_push_out(p, d, 0);
        }
    }
}

static void unqueue_event(struct presence *p, const struct presence_contact *gone)
{
    struct presence_contact *k = p->events_head, *next;
    p->events_head = p->events_tail = NULL;
    for (; k != NULL; k = next) {
        next = k->next_event;
        k->in_events = false;
        if (k != gone) {
            push_event(p, k);
        }
    }
}

void presence_forget(struct presence *p, uint32_t contact)
{
    struct presence_contact *k = map_del(&p->contacts, &contact);
    if (k == NULL) {
        return;
    }
    for (struct presence_device *d = k->devices; d != NULL; d = d->next) {
        (void)map_del(&p->devices, &d->ref);
        unqueue_out(p, d);
    }
    unqueue_event(p, k);
    deadlines_remove(&p->deadlines, &k->at);
    contact_free(k);
}

/* ---- how a contact is shown ---- */

static bool shown(const struct presence_device *d)
{
    return (d->link || d->reach) && !d->pending && !d->hidden;
}

/* Of several devices the one that is most there. */
static unsigned rank(const struct presence_device *d)
{
    return !shown(d)                   ? 3
           : d->state == PRESENCE_AWAY ? 2
           : d->state == PRESENCE_BUSY ? 1
                                       : 0;
}

static const struct presence_device *best(const struct presence_contact *k)
{
    const struct presence_device *top = NULL;
    for (const struct presence_device *d = k->devices; d != NULL; d = d->next) {
        top = top == NULL || rank(d) < rank(top) ? d : top;
    }
    return top;
}

static bool any_typing(const struct presence_contact *k)
{
    for (const struct presence_device *d = k->devices; d != NULL; d = d->next) {
        if (d->typing) {
            return true;
        }
    }
    return false;
}

bool presence_online(const struct presence *p, uint32_t contact)
{
    const struct presence_contact *k = find_contact(p, contact);
    const struct presence_device *top = k == NULL ? NULL : best(k);
    return top != NULL && shown(top);
}

void presence_view(const struct presence *p, uint32_t contact, struct presence_view *out)
{
    const struct presence_contact *k = find_contact(p, contact);
    memset(out, 0, sizeof *out);
    if (k == NULL) {
        return;
    }
    const struct presence_device *top = best(k);
    out->live_ours = k->live;
    out->typing = any_typing(k);
    for (const struct presence_device *d = k->devices; d != NULL; d = d->next) {
        out->live_theirs = out->live_theirs || (d->link && d->live);
        out->seen_ms = d->seen_ms > out->seen_ms ? d->seen_ms : out->seen_ms;
        if (d->text.p != NULL) {
            out->text = d->text.p;
            out->text_len = d->text.len;
        }
    }
    if (top != NULL && shown(top)) {
        out->online = true;
        out->state = top->state;
        out->status = (const char *)top->status.p;
        out->seen_ms = env_wall_ms(p->env);
    }
}

/* ---- what is due ---- */

static uint64_t device_due(struct presence *p, struct presence_device *d, uint64_t now_ms)
{
    uint64_t at = NEVER;
    if (d->pending && now_ms >= d->told_by_ms) {
        d->pending = false;
    } else if (d->pending) {
        at = earlier(at, d->told_by_ms);
    }
    if (d->typing && now_ms >= d->typing_until_ms) {
        d->typing = false;
    } else if (d->typing) {
        at = earlier(at, d->typing_until_ms);
    }
    if (d->fetch_at_ms == DEADLINE_NONE) {
        return at;
    }
    if (d->link || !d->reach || !d->has_status || d->has_revision) {
        d->fetch_at_ms = DEADLINE_NONE;
    } else if (now_ms >= d->fetch_at_ms) {
        d->fetch_at_ms = DEADLINE_NONE;
        d->fetch_next_ms = now_ms + PRESENCE_FETCH_GAP_MS;
        d->fetch = true;
        push_event(p, d->contact);
    } else {
        at = earlier(at, d->fetch_at_ms);
    }
    return at;
}

/* What has changed of how the contact is shown. */
static void compare(struct presence_contact *k)
{
    const struct presence_device *top = best(k);
    bool online = top != NULL && shown(top);
    enum presence_state state = online ? top->state : PRESENCE_ONLINE;
    bool typing = any_typing(k);
    if (online != k->told_online || state != k->told_state) {
        k->dirty |= DIRTY_STATE;
    }
    if (typing != k->told_typing) {
        k->dirty |= DIRTY_TYPING;
    }
    k->told_online = online;
    k->told_state = state;
    k->told_typing = typing;
}

/* Lets events through, as many as may be told now; returns when the next may. */
static uint64_t release(struct presence *p, struct presence_contact *k, uint64_t now_ms)
{
    static const struct bucket_rate rate = {PRESENCE_EVENTS_BURST, PRESENCE_EVENTS_PER_S,
                                            SECOND_MS};
    uint64_t at = NEVER;
    for (unsigned bit = DIRTY_STATE; bit <= DIRTY_LIVE; bit <<= 1) {
        if ((k->dirty & ~k->ready & bit) == 0) {
            k->dirty &= ~bit; /* the one that waits tells this too */
            continue;
        }
        if (!bucket_take(&k->events, &rate, 1, now_ms)) {
            at = now_ms + SECOND_MS / PRESENCE_EVENTS_PER_S;
            break;
        }
        k->dirty &= ~bit;
        k->ready |= bit;
        push_event(p, k);
    }
    return at;
}

void presence_settle(struct presence *p, struct presence_contact *k, uint64_t now_ms)
{
    uint64_t at = presence_draft_due(p, k, now_ms);
    for (struct presence_device *d = k->devices; d != NULL; d = d->next) {
        at = earlier(at, device_due(p, d, now_ms));
    }
    compare(k);
    at = earlier(at, release(p, k, now_ms));
    (void)deadlines_set(&p->deadlines, &k->at, earlier(at, NEVER));
}

/* ---- contacts' devices ---- */

static void seen(struct presence *p, struct presence_device *d)
{
    if (shown(d)) {
        d->seen_ms = env_wall_ms(p->env);
    }
}

int presence_up(struct presence *p, const struct presence_link *l, uint64_t now_ms)
{
    struct presence_device *d;
    int rc = make(p, l->device, l->contact, &d);
    if (rc != 0) {
        return rc;
    }
    struct presence_contact *k = d->contact;
    memcpy(d->conv, l->conv, sizeof d->conv);
    presence_live_reset(d);
    d->pending = d->pending || !(d->link || d->reach);
    d->told_by_ms = now_ms + PRESENCE_TOLD_MS;
    d->link = true;
    k->live = l->live;
    k->live_due = k->live_due || k->live;
    presence_push_out(p, d, OUT_PRESENCE);
    presence_settle(p, k, now_ms);
    return 0;
}

void presence_down(struct presence *p, uint32_t device, uint64_t now_ms)
{
    struct presence_device *d = find(p, device);
    if (d == NULL || !d->link) {
        return;
    }
    seen(p, d);
    d->link = d->pending = false;
    d->out = 0;
    d->contact->dirty |= d->live || d->text.p != NULL ? (unsigned)DIRTY_LIVE : 0u;
    presence_live_reset(d);
    presence_settle(p, d->contact, now_ms);
}

int presence_reach(struct presence *p, uint32_t device, uint32_t contact, bool reachable,
                   uint64_t now_ms)
{
    struct presence_device *d = find(p, device);
    if (d == NULL && !reachable) {
        return 0;
    }
    int rc = make(p, device, contact, &d);
    if (rc != 0) {
        return rc;
    }
    if (!reachable) {
        seen(p, d);
    }
    d->reach = reachable;
    presence_settle(p, d->contact, now_ms);
    return 0;
}

static void set_state(struct presence_device *d, uint64_t state)
{
    d->state = state == PRESENCE_AWAY || state == PRESENCE_BUSY
                   ? (enum presence_state)state
                   : PRESENCE_ONLINE;
}

/* The text is not known, or there is none. */
static void drop_status(struct presence_device *d)
{
    if (d->status.p != NULL) {
        d->contact->dirty |= DIRTY_STATE;
    }
    (void)presence_text_set(&d->status, NULL, 0);
    d->has_revision = false;
}

int presence_beacon(struct presence *p, uint32_t device, uint32_t contact, uint8_t byte,
                    uint64_t now_ms)
{
    struct presence_device *d;
    int rc = make(p, device, contact, &d);
    if (rc != 0) {
        return rc;
    }
    if (d->link) {
        return 0; /* it tells more there */
    }
    d->hidden = false;
    set_state(d, byte & BEACON_STATE);
    d->has_status = (byte & BEACON_STATUS) != 0;
    if (!d->has_status ||
        (d->has_revision &&
         d->revision % BEACON_REVISIONS != (unsigned)(byte >> BEACON_REVISION_SHIFT))) {
        drop_status(d);
    }
    if (d->has_status && !d->has_revision && d->fetch_at_ms == DEADLINE_NONE) {
        uint64_t soon = now_ms + env_uniform(p->env, PRESENCE_FETCH_MS + 1);
        d->fetch_at_ms = soon > d->fetch_next_ms ? soon : d->fetch_next_ms;
    }
    d->reach = true;
    seen(p, d);
    presence_settle(p, d->contact, now_ms);
    return 0;
}

static int recv_presence(struct presence *p, struct presence_device *d,
                         const uint8_t *payload, size_t len, uint64_t now_ms)
{
    struct wire_presence v;
    if (!wire_presence_get(payload, len, &v)) {
        return ERR_FORMAT;
    }
    bool hidden = v.state == PRESENCE_INVISIBLE;
    if (hidden && !d->hidden) {
        seen(p, d);
        d->hiding = true;
        push_event(p, d->contact);
    }
    d->pending = false;
    d->hidden = hidden;
    set_state(d, v.state);
    if (hidden) {
        drop_status(d);
        presence_heard(p, d->contact->id, now_ms);
        return 0;
    }
    if (!presence_text_is(&d->status, v.status, v.status_len)) {
        if (presence_text_set(&d->status, v.status, v.status_len) != 0) {
            return ERR_NOMEM;
        }
        d->contact->dirty |= DIRTY_STATE;
    }
    d->has_status = v.status != NULL;
    d->has_revision = true;
    d->revision = v.revision;
    seen(p, d);
    return 0;
}

int presence_recv(struct presence *p, uint32_t device, unsigned type,
                  const uint8_t *payload, size_t len, uint64_t now_ms)
{
    struct presence_device *d = find(p, device);
    int rc = 0;
    if (d == NULL || !d->link) {
        return 0;
    }
    if (type == FRAME_PRESENCE) {
        rc = recv_presence(p, d, payload, len, now_ms);
    } else if (type == FRAME_TYPING) {
        rc = presence_recv_typing(p, d, payload, len, now_ms);
    } else if (type == FRAME_LIVE) {
        rc = presence_recv_live(p, d, payload, len, now_ms);
    }
    presence_settle(p, d->contact, now_ms);
    return rc;
}

bool presence_is_hiding(const struct presence *p, uint32_t device)
{
    const struct presence_device *d = find(p, device);
    return d != NULL && d->link && d->hidden;
}

/* ---- ourselves ---- */

static enum presence_state own_state(const struct presence *p)
{
    return p->state == PRESENCE_ONLINE && p->automatic ? PRESENCE_AWAY : p->state;
}

static void own_frame(const struct presence *p, struct wire_presence *out)
{
    *out = (struct wire_presence){.state = own_state(p), .revision = p->revision};
    if (p->status_len > 0 && p->state != PRESENCE_INVISIBLE) {
        out->status = (const uint8_t *)p->status;
        out->status_len = p->status_len;
    }
}

uint8_t presence_byte(const struct presence *p)
{
    struct wire_presence v;
    own_frame(p, &v);
    return wire_presence_byte(&v);
}

void presence_own(const struct presence *p, struct presence_own *out)
{
    *out = (struct presence_own){
        .state = own_state(p),
        .automatic = p->state == PRESENCE_ONLINE && p->automatic,
        .status = p->status_len > 0 ? p->status : NULL,
    };
}

size_t presence_save(const struct presence *p, uint8_t out[PRESENCE_SAVED_MAX])
{
    struct wire_presence v = {.state = p->state, .revision = p->revision};
    struct wr w = wr_init(out, PRESENCE_SAVED_MAX);
    if (p->status_len > 0) {
        v.status = (const uint8_t *)p->status;
        v.status_len = p->status_len;
    }
    wire_presence_put(&w, &v);
    return w.len;
}

int presence_load(struct presence *p, const uint8_t *bytes, size_t len)
{
    struct wire_presence v;
    if (!wire_presence_get(bytes, len, &v) || v.state > PRESENCE_INVISIBLE) {
        return ERR_CORRUPT;
    }
    p->state = (enum presence_state)v.state;
    p->revision = v.revision;
    p->status_len = v.status_len;
    memcpy(p->status, v.status_len > 0 ? (const void *)v.status : "", v.status_len);
    p->status[v.status_len] = '\0';
    return 0;
}

/* Everybody who is linked is told; beacons and front ends follow. */
static void own_changed(struct presence *p, uint64_t now_ms)
{
    size_t pos = 0;
    const void *key;
    void *value;
    p->own_dirty = true;
    while (map_next(&p->devices, &pos, &key, &value)) {
        presence_push_out(p, value, OUT_PRESENCE);
    }
    pos = 0;
    while (p->state == PRESENCE_INVISIBLE && map_next(&p->contacts, &pos, &key, &value)) {
        presence_draft_end(p, value);
        presence_settle(p, value, now_ms);
    }
}

static uint64_t own_away_at(const struct presence *p)
{
    return p->state == PRESENCE_ONLINE && !p->automatic && p->away_after_ms > 0
               ? p->active_ms + p->away_after_ms
               : DEADLINE_NONE;
}

/* Away by ourselves, or back. */
static void own_due(struct presence *p, uint64_t now_ms)
{
    bool away = p->state == PRESENCE_ONLINE && p->away_after_ms > 0 &&
                now_ms >= p->active_ms + p->away_after_ms;
    if (away != p->automatic) {
        p->automatic = away;
        own_changed(p, now_ms);
    }
}

int presence_set(struct presence *p, enum presence_state state, const char *status,
                 size_t len, uint64_t now_ms)
{
    if ((unsigned)state > PRESENCE_INVISIBLE ||
        (len > 0 && !wire_status_ok((const uint8_t *)status, len))) {
        return ERR_ARG;
    }
    presence_active(p, now_ms, now_ms);
    bool text = len != p->status_len || (len > 0 && memcmp(p->status, status, len) != 0);
    if (!text && state == p->state) {
        return 0;
    }
    if (text) {
        p->revision++;
        p->status_len = len;
        memcpy(p->status, len > 0 ? status : "", len);
        p->status[len] = '\0';
    }
    p->state = state;
    own_changed(p, now_ms);
    return 0;
}

void presence_active(struct presence *p, uint64_t at_ms, uint64_t now_ms)
{
    p->active_ms = at_ms > p->active_ms ? at_ms : p->active_ms;
    own_due(p, now_ms);
}

void presence_away_after(struct presence *p, uint64_t ms, uint64_t now_ms)
{
    p->away_after_ms = ms;
    own_due(p, now_ms);
}

/* ---- verbs ---- */

void presence_tick(struct presence *p, uint64_t now_ms)
{
    struct deadline *d;
    own_due(p, now_ms);
    while ((d = deadlines_pop(&p->deadlines, now_ms)) != NULL) {
        presence_settle(p, d->owner, now_ms);
    }
}

uint64_t presence_deadline(const struct presence *p)
{
    uint64_t at = deadlines_next(&p->deadlines);
    return earlier(at < NEVER ? at : DEADLINE_NONE, own_away_at(p));
}

bool presence_next_out(struct presence *p, struct presence_out *out)
{
    struct wr w = wr_init(p->buf, FRAME_BUF);
    struct presence_device *d;
    while ((d = p->outs_head) != NULL && d->out == 0) {
        p->outs_head = d->next_out;
        p->outs_tail = p->outs_head == NULL ? NULL : p->outs_tail;
        d->in_outs = false;
    }
    if (d == NULL) {
        return false;
    }
    if ((d->out & OUT_PRESENCE) != 0) {
        struct wire_presence v;
        own_frame(p, &v);
        d->out &= ~(unsigned)OUT_PRESENCE;
        out->type = FRAME_PRESENCE;
        wire_presence_put(&w, &v);
    } else if ((d->out & OUT_TYPING) != 0) {
        d->out &= ~(unsigned)OUT_TYPING;
        out->type = FRAME_TYPING;
        presence_put_typing(d, &w);
    } else {
        d->out = 0;
        out->type = FRAME_LIVE;
        presence_put_live(d, &w);
    }
    out->device = d->ref;
    out->payload = p->buf;
    out->len = w.len;
    return wr_ok(&w);
}

/* Events of one device; false when it has none. */
static bool device_event(struct presence_device *d, struct presence_event *ev)
{
    if (!d->hiding && !d->fetch) {
        return false;
    }
    ev->kind = d->hiding ? PRESENCE_EV_HIDING : PRESENCE_EV_FETCH;
    ev->device = d->ref;
    if (d->hiding) {
        d->hiding = false;
    } else {
        d->fetch = false;
    }
    return true;
}

static bool contact_event(struct presence_contact *k, struct presence_event *ev)
{
    static const struct {
        unsigned bit;
        enum presence_event_kind kind;
    } kinds[] = {{DIRTY_STATE, PRESENCE_EV_STATE},
                 {DIRTY_TYPING, PRESENCE_EV_TYPING},
                 {DIRTY_LIVE, PRESENCE_EV_LIVE}};
    ev->contact = k->id;
    for (struct presence_device *d = k->devices; d != NULL; d = d->next) {
        if (device_event(d, ev)) {
            return true;
        }
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if ((k->ready & kinds[i].bit) != 0) {
            k->ready &= ~kinds[i].bit;
            ev->kind = kinds[i].kind;
            return true;
        }
    }
    return false;
}

bool presence_next_event(struct presence *p, struct presence_event *ev)
{
    memset(ev, 0, sizeof *ev);
    if (p->own_dirty) {
        p->own_dirty = false;
        ev->kind = PRESENCE_EV_OWN;
        return true;
    }
    while (p->events_head != NULL) {
        struct presence_contact *k = p->events_head;
        if (contact_event(k, ev)) {
            return true;
        }
        p->events_head = k->next_event;
        p->events_tail = p->events_head == NULL ? NULL : p->events_tail;
        k->in_events = false;
    }
    return false;
}
