/* Strangers: whom we ask, and who asks us (contact_priv.h; docs/PROTOCOL.md, "Requests").
 */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "contact_priv.h"

/* Requests of one address, and of all. */
static const struct bucket_rate source_rate = {REQUESTS_SOURCE_BURST, 1,
                                               REQUESTS_SOURCE_MS},
                                all_rate = {REQUESTS_BURST, 1, REQUESTS_MS};

/* ---- rows ---- */

static void row_free(struct rec_request *r)
{
    blob_release(&r->cert);
    blob_release(&r->text);
    sodium_memzero(r, sizeof *r);
    free(r);
}

void contacts_requests_free(struct contacts *c)
{
    for (size_t i = 0; i < c->n_requests; i++) {
        row_free(c->requests[i]);
    }
    free(c->requests);
    for (size_t i = 0; i < c->n_asks; i++) {
        sodium_memzero(c->asks[i], sizeof *c->asks[i]);
        free(c->asks[i]);
    }
}

static size_t count(const struct contacts *c, enum request_state state)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n_requests; i++) {
        n += c->requests[i]->state == state;
    }
    return n;
}

static size_t place(const struct contacts *c, uint32_t id)
{
    size_t i = 0;
    while (i < c->n_requests && c->requests[i]->id != id) {
        i++;
    }
    return i;
}

static size_t place_of_root(const struct contacts *c, const uint8_t root[WIRE_ID])
{
    size_t i = 0;
    while (i < c->n_requests && memcmp(c->requests[i]->root, root, WIRE_ID) != 0) {
        i++;
    }
    return i;
}

static int put(struct txn *t, const struct rec_request *v, bool del)
{
    struct rec r = {.kind = REC_REQUEST, .del = del, .u.request = *v};
    r.u.request.cert = r.u.request.text = (struct blob){NULL, 0};
    int err = ERR_NOMEM;
    if (blob_set(&r.u.request.cert, v->cert.p, v->cert.n) &&
        blob_set(&r.u.request.text, v->text.p, v->text.n)) {
        err = txn_add(t, &r);
    } else {
        rec_release(&r);
    }
    sodium_memzero(&r, sizeof r);
    return err;
}

/* Takes over v, in the order of ids. */
static int insert(struct contacts *c, struct rec_request *v)
{
    if (c->n_requests == c->cap_requests) {
        size_t cap = c->cap_requests == 0 ? 8 : 2 * c->cap_requests;
        struct rec_request **p = realloc(c->requests, cap * sizeof(*p));
        if (p == NULL) {
            return ERR_NOMEM;
        }
        c->requests = p;
        c->cap_requests = cap;
    }
    size_t i = c->n_requests++;
    for (; i > 0 && c->requests[i - 1]->id > v->id; i--) {
        c->requests[i] = c->requests[i - 1];
    }
    c->requests[i] = v;
    c->last_request = v->id > c->last_request ? v->id : c->last_request;
    return 0;
}

int contacts_load_request(struct contacts *c, const struct rec_request *r)
{
    if (r->id == 0 || place(c, r->id) < c->n_requests ||
        place_of_root(c, r->root) < c->n_requests || r->addr_len > sizeof r->addr) {
        return ERR_CORRUPT;
    }
    struct rec_request *v = malloc(sizeof *v);
    if (v == NULL) {
        return ERR_NOMEM;
    }
    *v = *r;
    v->name[WIRE_NAME_MAX] = '\0';
    v->cert = v->text = (struct blob){NULL, 0};
    if (!blob_set(&v->cert, r->cert.p, r->cert.n) ||
        !blob_set(&v->text, r->text.p, r->text.n) || insert(c, v) != 0) {
        row_free(v);
        return ERR_NOMEM;
    }
    return 0;
}

static int drop_at(struct contacts *c, struct txn *t, size_t i)
{
    int err = put(t, c->requests[i], true);
    if (err != 0) {
        return err;
    }
    row_free(c->requests[i]);
    c->n_requests--;
    memmove(&c->requests[i], &c->requests[i + 1],
            (c->n_requests - i) * sizeof(struct rec_request *));
    return 0;
}

int contacts_request_drop_root(struct contacts *c, struct txn *t,
                               const uint8_t root[WIRE_ID])
{
    size_t i = place_of_root(c, root);
    return i < c->n_requests ? drop_at(c, t, i) : 0;
}

const struct rec_request *contacts_request_get(const struct contacts *c, uint32_t id)
{
    size_t i = place(c, id);
    return i < c->n_requests ? c->requests[i] : NULL;
}

const struct rec_request *contacts_request_next(const struct contacts *c, size_t *pos)
{
    return *pos < c->n_requests ? c->requests[(*pos)++] : NULL;
}

bool contacts_root_blocked(const struct contacts *c, const uint8_t root[WIRE_ID])
{
    size_t i = place_of_root(c, root);
    const struct contact *k = contacts_row_by_root(c, root);
    return (i < c->n_requests && c->requests[i]->state == REQUEST_BLOCKED) ||
           (k != NULL && (k->r.flags & CONTACT_BLOCKED) != 0);
}

/* ---- whom we ask ---- */

struct contacts_ask *contacts_ask_row(const struct contacts *c, uint32_t slot)
{
    for (size_t i = 0; i < c->n_asks; i++) {
        if (c->asks[i]->slot == slot) {
            return c->asks[i];
        }
    }
    return NULL;
}

static struct contacts_ask *ask_of_cert(const struct contacts *c, const uint8_t cert[32])
{
    for (size_t i = 0; i < c->n_asks; i++) {
        if (memcmp(c->asks[i]->cert, cert, sizeof c->asks[i]->cert) == 0) {
            return c->asks[i];
        }
    }
    return NULL;
}

int contacts_ask(struct contacts *c, const uint8_t cert[32], const char *as,
                 const char *line, uint32_t *slot)
{
    size_t as_len = as == NULL ? 0 : strlen(as), len = line == NULL ? 0 : strlen(line);
    if ((as_len > 0 && !wire_name_ok((const uint8_t *)as, as_len)) ||
        !wire_line_ok((const uint8_t *)line, len)) {
        return ERR_ARG;
    }
    struct contacts_ask *a = ask_of_cert(c, cert);
    if (a == NULL && (c->n_asks == ASKS_MAX || contacts_full(c))) {
        return ERR_LIMIT;
    }
    if (a == NULL) {
        a = calloc(1, sizeof *a);
        if (a == NULL) {
            return ERR_NOMEM;
        }
        a->slot = ++c->last_slot;
        memcpy(a->cert, cert, sizeof a->cert);
        c->asks[c->n_asks++] = a;
    }
    memset(a->as, 0, sizeof a->as);
    memset(a->line, 0, sizeof a->line);
    memcpy(a->as, as_len > 0 ? as : "", as_len);
    memcpy(a->line, len > 0 ? line : "", len);
    *slot = a->slot;
    return 0;
}

const struct contacts_ask *contacts_ask_next(const struct contacts *c, size_t *pos)
{
    return *pos < c->n_asks ? c->asks[(*pos)++] : NULL;
}

void contacts_ask_drop(struct contacts *c, uint32_t slot)
{
    for (size_t i = 0; i < c->n_asks; i++) {
        if (c->asks[i]->slot == slot) {
            sodium_memzero(c->asks[i], sizeof *c->asks[i]);
            free(c->asks[i]);
            c->asks[i] = c->asks[--c->n_asks];
            return;
        }
    }
}

bool contacts_unmet(const struct contact *k)
{
    for (const struct device *d = k->devices; d != NULL; d = d->next) {
        if (d->r.has_presence) {
            return false;
        }
    }
    return true;
}

bool contacts_met(const struct contacts *c, uint32_t id)
{
    const struct contact *k = contacts_row(c, id);
    return k != NULL && !contacts_unmet(k);
}

int contacts_answered(struct contacts *c, struct txn *t, uint32_t id)
{
    struct contact *k = contacts_row(c, id);
    if (k == NULL || (k->r.flags & CONTACT_ASKED) == 0) {
        return ERR_NOTFOUND;
    }
    k->r.flags &= ~(uint32_t)CONTACT_ASKED;
    int err = contacts_put(c, t, k);
    return err != 0 ? err : contacts_tell(t, EVENT_REQUEST_ACCEPTED, id, 0, k->r.name);
}

/* ---- who asks us ---- */

static struct bucket *bucket_of(struct contacts *c, const struct addr *a)
{
    uint64_t h;
    uint8_t key[1 + sizeof a->ip];
    key[0] = a->family;
    memcpy(key + 1, a->ip, sizeof a->ip);
    if (sodium_is_zero(c->requests_seed, sizeof c->requests_seed)) {
        env_random(c->self.env, c->requests_seed, sizeof c->requests_seed);
    }
    (void)crypto_shorthash((uint8_t *)&h, key, sizeof key, c->requests_seed);
    return &c->request_sources[h % REQUESTS_SOURCES];
}

/* Open requests that came from the address. */
static size_t open_of(const struct contacts *c, const struct addr *a)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n_requests; i++) {
        const struct rec_request *r = c->requests[i];
        struct addr from;
        n += r->state == REQUEST_OPEN &&
             addr_from_wire(r->addr, r->addr_len, &from) == 0 && addr_eq_ip(&from, a);
    }
    return n;
}

static bool denied_lately(const struct contacts *c, const uint8_t root[WIRE_ID],
                          uint64_t now_ms)
{
    for (size_t i = 0; i < REQUESTS_DENIED_MAX; i++) {
        const struct denied *d = &c->denied[i];
        if (d->at_ms != 0 && now_ms - d->at_ms < REQUEST_AGAIN_MS &&
            memcmp(d->root, root, WIRE_ID) == 0) {
            return true;
        }
    }
    return false;
}

bool contacts_wanted(const struct contacts *c, const struct pairing *p)
{
    uint8_t hash[32];
    const struct contact *k = contacts_row_by_root(c, p->root);
    cert_hash(p->cert, p->cert_len, hash);
    if (ask_of_cert(c, hash) != NULL) {
        return true;
    }
    return k != NULL && (k->r.flags & (CONTACT_REMOVED | CONTACT_BLOCKED)) == 0 &&
           ((k->r.flags & CONTACT_ASKED) != 0 || contacts_unmet(k));
}

bool contacts_request_room(const struct contacts *c, const struct pairing *p)
{
    bool again = place_of_root(c, p->root) < c->n_requests;
    return again || (count(c, REQUEST_OPEN) < REQUESTS_OPEN_MAX &&
                     open_of(c, &p->addr) < REQUESTS_SOURCE_OPEN_MAX);
}

bool contacts_request_let(struct contacts *c, const struct pairing *p, uint64_t now_ms)
{
    if (contacts_root_blocked(c, p->root) || denied_lately(c, p->root, now_ms)) {
        return false;
    }
    if (contacts_wanted(c, p)) {
        return true;
    }
    return contacts_request_room(c, p) &&
           bucket_take(bucket_of(c, &p->addr), &source_rate, 1, now_ms) &&
           bucket_take(&c->requests_all, &all_rate, 1, now_ms);
}

static int fill(struct rec_request *v, const struct pairing *p,
                const struct wire_device *d, const uint8_t secret[32])
{
    struct blob cert = {NULL, 0}, text = {NULL, 0};
    if (!blob_set(&cert, p->cert, p->cert_len) ||
        !blob_set(&text, p->line, strlen(p->line))) {
        blob_release(&cert);
        return ERR_NOMEM;
    }
    blob_release(&v->cert);
    blob_release(&v->text);
    v->cert = cert;
    v->text = text;
    v->state = REQUEST_OPEN;
    memcpy(v->root, p->root, sizeof v->root);
    memcpy(v->device, p->device, sizeof v->device);
    memcpy(v->stat, p->stat, sizeof v->stat);
    memcpy(v->box, d->box, sizeof v->box);
    v->box_time = d->box_time;
    memcpy(v->pair, secret, sizeof v->pair);
    memset(v->name, 0, sizeof v->name);
    memcpy(v->name, d->name, strnlen(d->name, WIRE_NAME_MAX));
    v->addr_len = (uint8_t)addr_to_wire(&p->addr, v->addr, sizeof v->addr);
    return 0;
}

int contacts_request_put(struct contacts *c, struct txn *t, const struct pairing *p,
                         const struct wire_device *d, const uint8_t secret[32])
{
    size_t i = place_of_root(c, p->root);
    bool again = i < c->n_requests;
    if (!again && c->last_request == UINT32_MAX) {
        return ERR_LIMIT;
    }
    struct rec_request *v = again ? c->requests[i] : calloc(1, sizeof *v);
    if (v == NULL) {
        return ERR_NOMEM;
    }
    int err = fill(v, p, d, secret);
    if (!again && err == 0) {
        v->id = c->last_request + 1;
        v->time_ms = env_wall_ms(c->self.env);
        err = insert(c, v);
    }
    if (!again && err != 0) {
        row_free(v);
        return err;
    }
    if (err == 0) {
        err = put(t, v, false);
    }
    /* Somebody who repeats is told once. */
    return err != 0 || again ? err : contacts_tell(t, EVENT_REQUEST, 0, v->id, v->name);
}

int contacts_request_accept(struct contacts *c, struct txn *t, uint32_t id,
                            const char *as, uint32_t *contact)
{
    size_t i = place(c, id);
    if (i == c->n_requests || c->requests[i]->state != REQUEST_OPEN) {
        return ERR_NOTFOUND;
    }
    if (as != NULL && as[0] != '\0' && !wire_name_ok((const uint8_t *)as, strlen(as))) {
        return ERR_ARG;
    }
    const struct rec_request *r = c->requests[i];
    if (!contacts_has_room(c, r->root, r->device)) {
        return ERR_LIMIT;
    }
    if (contacts_room(c) != 0) {
        return ERR_NOMEM;
    }
    struct wire_device d = {
        .cert = r->cert.p, .cert_len = r->cert.n, .box_time = r->box_time};
    memcpy(d.box, r->box, sizeof d.box);
    memcpy(d.name, r->name, sizeof d.name);
    struct newcomer n = {.root = r->root,
                         .device = r->device,
                         .stat = r->stat,
                         .secret = r->pair,
                         .as = as == NULL ? "" : as,
                         .dict = &d,
                         .stranger = true};
    struct contact *k = NULL;
    struct addr met;
    int err = contacts_store(c, t, &n, &k);
    const struct device *dev = err == 0 ? contacts_device_of(k, r->device) : NULL;
    if (dev != NULL && addr_from_wire(r->addr, r->addr_len, &met) == 0 && met.port != 0) {
        err = contacts_device_met(c, t, dev->r.id, &met);
    }
    if (err == 0) {
        err = drop_at(c, t, i);
    }
    if (err == 0) {
        *contact = k->r.id;
        contacts_event_add(
            c, (struct contacts_event){CONTACTS_EV_CHANGED, k->r.id, 0, 0, 0});
        contacts_event_add(c,
                           (struct contacts_event){CONTACTS_EV_STORED, k->r.id, 0, 0, 0});
    }
    return err;
}

/* Of the denied one only what is needed to know it again. */
static int block(struct contacts *c, struct txn *t, struct rec_request *r)
{
    if (count(c, REQUEST_BLOCKED) >= REQUESTS_BLOCKED_MAX) {
        return ERR_LIMIT;
    }
    blob_release(&r->cert);
    blob_release(&r->text);
    sodium_memzero(r->pair, sizeof r->pair);
    r->addr_len = 0;
    r->state = REQUEST_BLOCKED;
    return put(t, r, false);
}

int contacts_request_deny(struct contacts *c, struct txn *t, uint32_t id, bool for_good,
                          uint64_t now_ms)
{
    size_t i = place(c, id);
    if (i == c->n_requests || c->requests[i]->state != REQUEST_OPEN) {
        return ERR_NOTFOUND;
    }
    contacts_pairings_drop_root(c, c->requests[i]->root);
    if (for_good) {
        return block(c, t, c->requests[i]);
    }
    struct denied *d = &c->denied[c->next_denied];
    c->next_denied = (c->next_denied + 1) % REQUESTS_DENIED_MAX;
    memcpy(d->root, c->requests[i]->root, sizeof d->root);
    d->at_ms = now_ms > 0 ? now_ms : 1;
    return drop_at(c, t, i);
}

int contacts_request_unblock(struct contacts *c, struct txn *t, uint32_t id)
{
    size_t i = place(c, id);
    if (i == c->n_requests || c->requests[i]->state != REQUEST_BLOCKED) {
        return ERR_NOTFOUND;
    }
    return drop_at(c, t, i);
}
