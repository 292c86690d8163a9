#include "contact.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "contact_priv.h"
#include "crypto/noise.h"

/* Events that one call may add beside one for each contact, and frames. */
enum { ROOM_EVENTS = 2 * PAIRINGS_MAX + ADDINGS_MAX, ROOM_OUTS = 4, CAP_MIN = 16 };

struct contacts *contacts_new(const struct contacts_self *self)
{
    struct contacts *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return NULL;
    }
    c->self = *self;
    c->last_device = self->device_ref;
    map_init(&c->by_root, self->env, WIRE_ID, CONTACT_ROWS_MAX);
    return c;
}

static void device_free(struct device *d)
{
    blob_release(&d->r.cert);
    blob_release(&d->r.addrs);
    sodium_memzero(d, sizeof *d);
    free(d);
}

void contacts_free(struct contacts *c)
{
    if (c == NULL) {
        return;
    }
    contacts_pairings_free(c);
    contacts_invites_free(c);
    contacts_requests_free(c);
    for (size_t i = 0; i < c->n_devices; i++) {
        device_free(c->devices[i]);
    }
    free(c->devices);
    for (size_t i = 0; i < c->n; i++) {
        sodium_memzero(c->v[i], sizeof *c->v[i]);
        free(c->v[i]);
    }
    free(c->v);
    free(c->likes);
    map_release(&c->by_root);
    free(c->events);
    for (size_t i = c->off_outs; i < c->n_outs; i++) {
        free(c->outs[i].bytes);
    }
    free(c->outs);
    free(c->lent);
    sodium_memzero(c, sizeof *c);
    free(c);
}

/* ---- rows ---- */

/* Room for one more element. */
static bool grow(void **v, size_t n, size_t *cap, size_t size)
{
    if (n < *cap) {
        return true;
    }
    size_t more = *cap == 0 ? CAP_MIN : 2 * *cap;
    void *p = realloc(*v, more * size);
    if (p == NULL) {
        return false;
    }
    *v = p;
    *cap = more;
    return true;
}

struct contact *contacts_row(const struct contacts *c, uint32_t id)
{
    size_t lo = 0, hi = c->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (c->v[mid]->r.id < id) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo < c->n && c->v[lo]->r.id == id ? c->v[lo] : NULL;
}

struct contact *contacts_row_by_root(const struct contacts *c,
                                     const uint8_t root[WIRE_ID])
{
    return map_get(&c->by_root, root);
}

static struct device *device_row(const struct contacts *c, uint32_t ref)
{
    size_t lo = 0, hi = c->n_devices;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (c->devices[mid]->r.id < ref) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo < c->n_devices && c->devices[lo]->r.id == ref ? c->devices[lo] : NULL;
}

/* Takes over k. 0, ERR_EXISTS, ERR_LIMIT, ERR_NOMEM. */
static int contact_insert(struct contacts *c, struct contact *k)
{
    void *v = c->v;
    if (contacts_row(c, k->r.id) != NULL) {
        return ERR_EXISTS;
    }
    if (!grow(&v, c->n, &c->cap, sizeof(struct contact *))) {
        return ERR_NOMEM;
    }
    c->v = v;
    int err = map_put(&c->by_root, k->r.root, k);
    if (err != 0) {
        return err;
    }
    size_t i = c->n++;
    for (; i > 0 && c->v[i - 1]->r.id > k->r.id; i--) {
        c->v[i] = c->v[i - 1];
    }
    c->v[i] = k;
    c->changes++;
    if (k->r.id > c->last_contact) {
        c->last_contact = k->r.id;
    }
    return 0;
}

/* Takes over d. 0, ERR_EXISTS, ERR_NOMEM. */
static int device_insert(struct contacts *c, struct contact *k, struct device *d)
{
    void *v = c->devices;
    if (device_row(c, d->r.id) != NULL) {
        return ERR_EXISTS;
    }
    if (!grow(&v, c->n_devices, &c->cap_devices, sizeof(struct device *))) {
        return ERR_NOMEM;
    }
    c->devices = v;
    size_t i = c->n_devices++;
    for (; i > 0 && c->devices[i - 1]->r.id > d->r.id; i--) {
        c->devices[i] = c->devices[i - 1];
    }
    c->devices[i] = d;
    struct device **at = &k->devices;
    while (*at != NULL && (*at)->r.id < d->r.id) {
        at = &(*at)->next;
    }
    d->next = *at;
    *at = d;
    if (d->r.id > c->last_device) {
        c->last_device = d->r.id;
    }
    return 0;
}

bool contacts_full(const struct contacts *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++) {
        n += (c->v[i]->r.flags & CONTACT_REMOVED) == 0;
    }
    return n >= CONTACTS_MAX;
}

int contacts_row_add(struct contacts *c, const uint8_t root[WIRE_ID],
                     struct contact **out)
{
    if (contacts_full(c) || c->last_contact == UINT32_MAX) {
        return ERR_LIMIT;
    }
    struct contact *k = calloc(1, sizeof *k);
    if (k == NULL) {
        return ERR_NOMEM;
    }
    k->r.id = c->last_contact + 1;
    memcpy(k->r.root, root, WIRE_ID);
    k->r.created_ms = env_wall_ms(c->self.env);
    int err = contact_insert(c, k);
    if (err != 0) {
        free(k);
        return err;
    }
    *out = k;
    return 0;
}

static int load_contact(struct contacts *c, const struct rec_contact *r)
{
    struct contact *k = calloc(1, sizeof *k);
    if (k == NULL) {
        return ERR_NOMEM;
    }
    k->r = *r;
    k->r.name[WIRE_NAME_MAX] = 0;
    k->r.announced[WIRE_NAME_MAX] = 0;
    k->r.network[NETKEY_NAME_MAX] = 0;
    int err = r->id == 0 ? ERR_CORRUPT : contact_insert(c, k);
    if (err != 0) {
        sodium_memzero(k, sizeof *k);
        free(k);
    }
    return err == ERR_EXISTS ? ERR_CORRUPT : err;
}

static int load_device(struct contacts *c, const struct rec_device *r)
{
    if (r->contact == 0) { /* of our own account */
        if (r->id > c->last_device) {
            c->last_device = r->id;
        }
        return 0;
    }
    struct contact *k = contacts_row(c, r->contact);
    if (k == NULL || r->id == 0) {
        return ERR_CORRUPT;
    }
    struct device *d = calloc(1, sizeof *d);
    if (d == NULL) {
        return ERR_NOMEM;
    }
    d->r = *r;
    d->r.cert = d->r.addrs = (struct blob){NULL, 0};
    int err = ERR_NOMEM;
    if (blob_set(&d->r.cert, r->cert.p, r->cert.n) &&
        blob_set(&d->r.addrs, r->addrs.p, r->addrs.n)) {
        err = device_insert(c, k, d);
    }
    if (err != 0) {
        device_free(d);
    }
    return err == ERR_EXISTS ? ERR_CORRUPT : err;
}

int contacts_load(struct contacts *c, const struct rec *r)
{
    switch (r->kind) {
    case REC_CONTACT:
        return load_contact(c, &r->u.contact);
    case REC_DEVICE:
        return load_device(c, &r->u.device);
    case REC_INVITE:
        return contacts_load_invite(c, &r->u.invite);
    case REC_ADDING:
        return contacts_load_adding(c, &r->u.adding);
    case REC_REQUEST:
        return contacts_load_request(c, &r->u.request);
    case REC_META:
    case REC_BOXKEY:
    case REC_CONV:
    case REC_FEED:
    case REC_HAVE:
    case REC_FILE:
    case REC_FILE_BITS:
    case REC_FILE_PEER:
    case REC_FILE_RULE:
    case REC_ENTRY:
    case REC_FORK:
    case REC_MSG:
    case REC_CHANGE:
    case REC_STATE:
    case REC_EVENT:
        break;
    }
    return 0;
}

void contacts_set_device(struct contacts *c, const struct wire_device *own)
{
    c->own = own;
}

/* ---- records, events, frames ---- */

int contacts_put(struct contacts *c, struct txn *t, const struct contact *k)
{
    struct rec r = {.kind = REC_CONTACT, .u.contact = k->r};
    c->changes++;
    int err = txn_add(t, &r);
    sodium_memzero(&r, sizeof r);
    return err;
}

static int put_device(struct txn *t, const struct device *d)
{
    struct rec r = {.kind = REC_DEVICE, .u.device = d->r};
    r.u.device.cert = r.u.device.addrs = (struct blob){NULL, 0};
    int err = ERR_NOMEM;
    if (blob_set(&r.u.device.cert, d->r.cert.p, d->r.cert.n) &&
        blob_set(&r.u.device.addrs, d->r.addrs.p, d->r.addrs.n)) {
        err = txn_add(t, &r);
    } else {
        rec_release(&r);
    }
    sodium_memzero(&r, sizeof r);
    return err;
}

int contacts_tell(struct txn *t, enum event_what what, uint32_t contact, uint64_t value,
                  const char *name)
{
    struct rec r = {.kind = REC_EVENT};
    bool of_invite = what == EVENT_INVITE_USED || what == EVENT_ADD_FAILED ||
                     what == EVENT_REQUEST || what == EVENT_REQUEST_ACCEPTED;
    r.u.event.topic = of_invite ? TOPIC_REQUEST : TOPIC_CONTACT;
    r.u.event.what = (uint8_t)what;
    r.u.event.contact = contact;
    r.u.event.value = value;
    (void)snprintf(r.u.event.text, sizeof r.u.event.text, "%s", name);
    return txn_add(t, &r);
}

int contacts_room(struct contacts *c)
{
    size_t events = c->n_events + c->n + ROOM_EVENTS;
    if (events > c->cap_events) {
        struct contacts_event *v = realloc(c->events, 2 * events * sizeof *v);
        if (v == NULL) {
            return ERR_NOMEM;
        }
        c->events = v;
        c->cap_events = 2 * events;
    }
    size_t outs = c->n_outs + ROOM_OUTS;
    if (outs > c->cap_outs) {
        struct out_frame *v = realloc(c->outs, 2 * outs * sizeof *v);
        if (v == NULL) {
            return ERR_NOMEM;
        }
        c->outs = v;
        c->cap_outs = 2 * outs;
    }
    return 0;
}

void contacts_event_add(struct contacts *c, struct contacts_event ev)
{
    if (c->n_events < c->cap_events) {
        c->events[c->n_events++] = ev;
    }
}

void contacts_out_add(struct contacts *c, uint32_t conn, enum frame_type type,
                      uint8_t *bytes, size_t len)
{
    if (c->n_outs < c->cap_outs) {
        c->outs[c->n_outs++] = (struct out_frame){{conn, type, bytes, len}, bytes};
    } else {
        free(bytes);
    }
}

bool contacts_next_out(struct contacts *c, struct contacts_out *out)
{
    free(c->lent);
    c->lent = NULL;
    if (c->off_outs == c->n_outs) {
        c->off_outs = c->n_outs = 0;
        return false;
    }
    struct out_frame *f = &c->outs[c->off_outs++];
    c->lent = f->bytes;
    f->bytes = NULL;
    *out = f->pub;
    return true;
}

bool contacts_next_event(struct contacts *c, struct contacts_event *ev)
{
    if (c->off_events == c->n_events) {
        c->off_events = c->n_events = 0;
        return false;
    }
    *ev = c->events[c->off_events++];
    return true;
}

uint64_t contacts_deadline(const struct contacts *c)
{
    uint64_t at = contacts_pairings_deadline(c);
    bool any = c->n_invites > 0 || c->n_addings > 0;
    return any && c->sweep_ms < at ? c->sweep_ms : at;
}

void contacts_tick(struct contacts *c, struct txn *t, uint64_t now_ms)
{
    if (contacts_room(c) != 0) {
        return;
    }
    contacts_pairings_tick(c, now_ms);
    contacts_sweep(c, t, now_ms);
}

/* ---- names ---- */

void contacts_base_name(const struct rec_contact *r, char out[WIRE_NAME_MAX + 1])
{
    if (r->announced[0] != 0) {
        memcpy(out, r->announced, WIRE_NAME_MAX + 1);
        return;
    }
    (void)snprintf(out, WIRE_NAME_MAX + 1, "user-%02x%02x%02x%02x", r->root[0],
                   r->root[1], r->root[2], r->root[3]);
}

struct contact *contacts_named(const struct contacts *c, const char *name,
                               const struct contact *except)
{
    for (size_t i = 0; i < c->n; i++) {
        struct contact *k = c->v[i];
        if (k != except && (k->r.flags & CONTACT_REMOVED) == 0 &&
            strcmp(k->r.name, name) == 0) {
            return k;
        }
    }
    return NULL;
}

void contacts_unique(const struct contacts *c, const struct contact *self,
                     const char *base, unsigned from, char out[WIRE_NAME_MAX + 1])
{
    char name[WIRE_NAME_MAX + 1];
    (void)snprintf(name, sizeof name, "%s", base);
    /* Among n + 2 different names one is free. */
    for (unsigned i = from; i == from || contacts_named(c, name, self) != NULL; i++) {
        if (i == 1) {
            continue;
        }
        char suffix[16];
        int n = snprintf(suffix, sizeof suffix, "-%u", i);
        size_t len = strlen(base), max = WIRE_NAME_MAX - (size_t)n;
        if (len > max) {
            /* Not in the middle of a character. */
            for (len = max; len > 0 && ((uint8_t)base[len] & 0xc0) == 0x80; len--) {
            }
        }
        (void)snprintf(name, sizeof name, "%.*s%s", (int)len, base, suffix);
    }
    memcpy(out, name, WIRE_NAME_MAX + 1);
}

bool contacts_announce(struct contacts *c, struct contact *k, const char *name)
{
    char base[WIRE_NAME_MAX + 1];
    size_t len = strnlen(name, WIRE_NAME_MAX + 1);
    if (len > WIRE_NAME_MAX || !wire_name_ok((const uint8_t *)name, len) ||
        strcmp(name, k->r.announced) == 0) {
        return false;
    }
    contacts_base_name(&k->r, base);
    bool follow = k->r.announced[0] == 0 && strcmp(base, k->r.name) == 0;
    memset(k->r.announced, 0, sizeof k->r.announced);
    memcpy(k->r.announced, name, len);
    if (follow) {
        contacts_unique(c, k, name, 1, k->r.name);
    }
    return true;
}

/* ---- contacts ---- */

const struct rec_contact *contacts_get(const struct contacts *c, uint32_t id)
{
    const struct contact *k = contacts_row(c, id);
    return k == NULL ? NULL : &k->r;
}

const struct rec_contact *contacts_by_root(const struct contacts *c,
                                           const uint8_t root[WIRE_ID])
{
    const struct contact *k = contacts_row_by_root(c, root);
    return k == NULL ? NULL : &k->r;
}

static int hex_digit(char ch)
{
    if (ch >= '0' && ch <= '9') {
        return ch - '0';
    }
    if (ch >= 'a' && ch <= 'f') {
        return ch - 'a' + 10;
    }
    return ch >= 'A' && ch <= 'F' ? ch - 'A' + 10 : -1;
}

static bool root_starts(const uint8_t root[WIRE_ID], const char *hex, size_t len)
{
    if (len < CONTACT_HEX_MIN || len > 2 * WIRE_ID) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        int nibble = i % 2 == 0 ? root[i / 2] >> 4 : root[i / 2] & 15;
        if (hex_digit(hex[i]) != nibble) {
            return false;
        }
    }
    return true;
}

int contacts_find(const struct contacts *c, const char *name,
                  const struct rec_contact **out)
{
    const struct contact *found = contacts_named(c, name, NULL);
    size_t len = strlen(name);
    for (size_t i = 0; i < c->n; i++) {
        const struct contact *k = c->v[i];
        if (k == found || (k->r.flags & CONTACT_REMOVED) != 0 ||
            !root_starts(k->r.root, name, len)) {
            continue;
        }
        /* Also when the name belongs to somebody who chose it to catch what is meant
         * for this root. */
        if (found != NULL) {
            return ERR_EXISTS;
        }
        found = k;
    }
    if (found == NULL) {
        return ERR_NOTFOUND;
    }
    *out = &found->r;
    return 0;
}

const struct rec_contact *contacts_next(const struct contacts *c, size_t *pos)
{
    while (*pos < c->n) {
        const struct contact *k = c->v[(*pos)++];
        if ((k->r.flags & CONTACT_REMOVED) == 0) {
            return &k->r;
        }
    }
    return NULL;
}

/* The contact when it is there and not removed. */
static struct contact *present(const struct contacts *c, uint32_t id)
{
    struct contact *k = contacts_row(c, id);
    return k != NULL && (k->r.flags & CONTACT_REMOVED) == 0 ? k : NULL;
}

int contacts_set_flags(struct contacts *c, struct txn *t, uint32_t id, uint32_t set,
                       uint32_t clear)
{
    struct contact *k = present(c, id);
    if (k == NULL) {
        return ERR_NOTFOUND;
    }
    const uint32_t ours =
        CONTACT_VERIFIED | CONTACT_BLOCKED | CONTACT_CONFLICT | CONTACT_LIVE;
    if (((set | clear) & ~ours) != 0) {
        return ERR_ARG;
    }
    if ((set & CONTACT_VERIFIED) != 0) {
        clear |= CONTACT_CONFLICT;
    }
    uint32_t flags = (k->r.flags & ~clear) | set;
    if (flags == k->r.flags) {
        return 0;
    }
    if (contacts_room(c) != 0) {
        return ERR_NOMEM;
    }
    bool blocked = (flags & ~k->r.flags & CONTACT_BLOCKED) != 0;
    k->r.flags = flags;
    contacts_event_add(
        c, (struct contacts_event){blocked ? CONTACTS_EV_GONE : CONTACTS_EV_CHANGED, id,
                                   0, 0, 0});
    int err = contacts_put(c, t, k);
    if (err == 0) {
        err = contacts_tell(t, EVENT_CONTACT_CHANGED, id, flags, k->r.name);
    }
    if (err == 0 && blocked) {
        contacts_pairings_drop_root(c, k->r.root);
        err = contacts_addings_drop_root(c, t, k->r.root);
    }
    return err == 0 && blocked ? contacts_settle(c, t, k, k->r.name) : err;
}

/* What makes a device reachable goes; its row, id and keys of identity stay. */
static void forget_device(struct device *d)
{
    blob_release(&d->r.cert);
    blob_release(&d->r.addrs);
    d->r.cert = d->r.addrs = (struct blob){NULL, 0};
    d->r.has_presence = false;
    sodium_memzero(d->r.presence_p, sizeof d->r.presence_p);
    sodium_memzero(d->r.presence_a, sizeof d->r.presence_a);
    sodium_memzero(d->r.box, sizeof d->r.box);
    d->r.box_time = 0;
}

int contacts_remove(struct contacts *c, struct txn *t, uint32_t id)
{
    struct contact *k = present(c, id);
    if (k == NULL) {
        return ERR_NOTFOUND;
    }
    if (contacts_room(c) != 0) {
        return ERR_NOMEM;
    }
    k->r.flags = CONTACT_REMOVED;
    memset(k->r.network, 0, sizeof k->r.network);
    sodium_memzero(k->r.pair, sizeof k->r.pair);
    int err = contacts_put(c, t, k);
    for (struct device *d = k->devices; d != NULL && err == 0; d = d->next) {
        forget_device(d);
        err = put_device(t, d);
    }
    contacts_event_add(c, (struct contacts_event){CONTACTS_EV_GONE, id, 0, 0, 0});
    contacts_pairings_drop_root(c, k->r.root);
    if (err == 0) {
        err = contacts_addings_drop_root(c, t, k->r.root);
    }
    if (err == 0) {
        err = contacts_tell(t, EVENT_CONTACT_REMOVED, id, 0, k->r.name);
    }
    return err == 0 ? contacts_settle(c, t, k, k->r.name) : err;
}

/* ---- devices ---- */

const struct rec_device *contacts_device(const struct contacts *c, uint32_t ref)
{
    const struct device *d = device_row(c, ref);
    return d == NULL ? NULL : &d->r;
}

const struct rec_device *contacts_device_next(const struct contacts *c, uint32_t contact,
                                              size_t *pos)
{
    const struct contact *k = contacts_row(c, contact);
    if (k == NULL) {
        return NULL;
    }
    bool removed = (k->r.flags & CONTACT_REMOVED) != 0;
    size_t i = 0;
    for (const struct device *d = k->devices; d != NULL; d = d->next) {
        if ((removed || d->r.cert.n > 0) && i++ == *pos) {
            (*pos)++;
            return &d->r;
        }
    }
    return NULL;
}

struct device *contacts_device_of(const struct contact *k, const uint8_t id[WIRE_ID])
{
    struct device *d = k->devices;
    while (d != NULL && memcmp(d->r.device, id, WIRE_ID) != 0) {
        d = d->next;
    }
    return d;
}

bool contacts_device_fits(const struct contact *k, const uint8_t id[WIRE_ID])
{
    size_t rows = 0, live = 0;
    bool row = false;
    for (const struct device *d = k->devices; d != NULL; d = d->next) {
        bool same = memcmp(d->r.device, id, WIRE_ID) == 0;
        if (same && d->r.cert.n > 0) {
            return true;
        }
        row = row || same;
        rows++;
        live += d->r.cert.n > 0;
    }
    return live < CONTACT_DEVICES_MAX && (row || rows < CONTACT_DEVICE_ROWS_MAX);
}

/* Copies what a device tells of itself. */
static int device_set(struct device *d, const struct wire_device *v, bool fresh)
{
    if (d->r.cert.n != v->cert_len || memcmp(d->r.cert.p, v->cert, v->cert_len) != 0) {
        struct blob cert = {NULL, 0};
        if (!blob_set(&cert, v->cert, v->cert_len)) {
            return ERR_NOMEM;
        }
        blob_release(&d->r.cert);
        d->r.cert = cert;
        d->hashed = false;
    }
    if (fresh || v->box_time > d->r.box_time) {
        memcpy(d->r.box, v->box, sizeof d->r.box);
        d->r.box_time = v->box_time;
    }
    if (v->has_presence) {
        d->r.has_presence = true;
        memcpy(d->r.presence_p, v->presence_p, sizeof d->r.presence_p);
        memcpy(d->r.presence_a, v->presence_a, sizeof d->r.presence_a);
    }
    return 0;
}

int contacts_device_put(struct contacts *c, struct txn *t, struct contact *k,
                        const uint8_t id[WIRE_ID], const uint8_t stat[32],
                        const struct wire_device *v, bool fresh)
{
    struct device *d = contacts_device_of(k, id);
    if (!contacts_device_fits(k, id) || c->last_device == UINT32_MAX) {
        return ERR_LIMIT;
    }
    if (d == NULL) {
        d = calloc(1, sizeof *d);
        if (d == NULL) {
            return ERR_NOMEM;
        }
        d->r.id = c->last_device + 1;
        d->r.contact = k->r.id;
        memcpy(d->r.device, id, WIRE_ID);
        memcpy(d->r.stat, stat, sizeof d->r.stat);
        int err = device_insert(c, k, d);
        if (err != 0) {
            device_free(d);
            return err;
        }
    }
    if (fresh) {
        /* The pair's new secret gives new tag keys: no old record fits them, and a peer
         * whose clock had run ahead is not locked out. */
        d->r.counter_rx = 0;
    }
    int err = device_set(d, v, fresh);
    return err != 0 ? err : put_device(t, d);
}

int contacts_device_update(struct contacts *c, struct txn *t, uint32_t ref,
                           const struct wire_device *v)
{
    struct device *d = device_row(c, ref);
    struct contact *k = d == NULL ? NULL : present(c, d->r.contact);
    if (k == NULL) {
        return ERR_NOTFOUND;
    }
    struct cert cert;
    int err = cert_open(v->cert, v->cert_len, &cert);
    if (err != 0) {
        return err == ERR_NEWER ? ERR_FORMAT : err;
    }
    if (memcmp(cert.root, k->r.root, WIRE_ID) != 0 || !noise_key_canonical(cert.stat) ||
        !noise_key_canonical(v->box)) {
        return ERR_AUTH;
    }
    if (!contacts_device_fits(k, cert.device)) {
        return ERR_LIMIT;
    }
    if (contacts_room(c) != 0) {
        return ERR_NOMEM;
    }
    err = contacts_device_put(c, t, k, cert.device, cert.stat, v, false);
    if (err == 0 && contacts_announce(c, k, v->name)) {
        err = contacts_put(c, t, k);
        if (err == 0) {
            err = contacts_tell(t, EVENT_CONTACT_CHANGED, k->r.id, 0, k->r.name);
        }
    }
    contacts_event_add(c, (struct contacts_event){CONTACTS_EV_CHANGED, k->r.id, 0, 0, 0});
    return err;
}

int contacts_device_counters(struct contacts *c, struct txn *t, uint32_t ref, uint64_t tx,
                             uint64_t rx)
{
    struct device *d = device_row(c, ref);
    if (d == NULL) {
        return ERR_NOTFOUND;
    }
    if (tx <= d->r.counter_tx && rx <= d->r.counter_rx) {
        return 0;
    }
    d->r.counter_tx = tx > d->r.counter_tx ? tx : d->r.counter_tx;
    d->r.counter_rx = rx > d->r.counter_rx ? rx : d->r.counter_rx;
    return put_device(t, d);
}

/* Takes the next address of a blob. */
static bool addr_next(struct rd *r, struct addr *out)
{
    if (r->n == 0) {
        return false;
    }
    size_t len = r->p[0] == 4 ? ADDR_WIRE4 : ADDR_WIRE6;
    const uint8_t *p = rd_bytes(r, len);
    return p != NULL && addr_from_wire(p, len, out) == 0;
}

size_t contacts_device_addrs(const struct rec_device *d, struct addr *out, size_t max)
{
    struct rd r = rd_init(d->addrs.p, d->addrs.n);
    size_t n = 0;
    while (n < max && addr_next(&r, &out[n])) {
        n++;
    }
    return n;
}

int contacts_device_met(struct contacts *c, struct txn *t, uint32_t ref,
                        const struct addr *a)
{
    struct device *d = device_row(c, ref);
    if (d == NULL) {
        return ERR_NOTFOUND;
    }
    uint8_t bytes[CONTACT_ADDRS_MAX * ADDR_WIRE6];
    size_t len = addr_to_wire(a, bytes, sizeof bytes), n = 1;
    if (len == 0) {
        return ERR_ARG;
    }
    struct rd r = rd_init(d->r.addrs.p, d->r.addrs.n);
    struct addr known;
    for (size_t i = 0; n < CONTACT_ADDRS_MAX && addr_next(&r, &known); i++) {
        if (addr_eq_ip(&known, a) && known.port == a->port) {
            if (i == 0) {
                return 0;
            }
            continue;
        }
        len += addr_to_wire(&known, bytes + len, sizeof bytes - len);
        n++;
    }
    struct blob addrs = {NULL, 0};
    if (!blob_set(&addrs, bytes, len)) {
        return ERR_NOMEM;
    }
    blob_release(&d->r.addrs);
    d->r.addrs = addrs;
    return put_device(t, d);
}

static bool met_at(const struct contact *k, const struct addr *a)
{
    for (const struct device *d = k->devices; d != NULL; d = d->next) {
        struct rd r = rd_init(d->r.addrs.p, d->r.addrs.n);
        struct addr met;
        while (addr_next(&r, &met)) {
            if (addr_eq_ip(&met, a)) {
                return true;
            }
        }
    }
    return false;
}

bool contacts_addr_known(const struct contacts *c, const struct addr *a)
{
    for (size_t i = 0; i < c->n_addings; i++) {
        const struct wire_code *code = &c->addings[i]->pub.code;
        for (size_t j = 0; j < code->n_addrs; j++) {
            if (addr_eq_ip(&code->addrs[j], a)) {
                return true;
            }
        }
    }
    for (size_t i = 0; i < c->n; i++) {
        if ((c->v[i]->r.flags & (CONTACT_REMOVED | CONTACT_BLOCKED)) == 0 &&
            met_at(c->v[i], a)) {
            return true;
        }
    }
    return false;
}

bool contacts_addr_met(const struct contacts *c, const struct addr *a)
{
    for (size_t i = 0; i < c->n; i++) {
        if (met_at(c->v[i], a)) { /* of removed ones nothing is kept */
            return true;
        }
    }
    return false;
}
