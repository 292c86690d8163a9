/* Accounts, their devices, conversations, and who has a seat in which. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "crypto/kdf.h"
#include "feed_priv.h"

#define LABEL_CONV "linnet conversation of two v1"

/* ---- accounts and devices ---- */

struct account *account_by_root(const struct feeds *f, const uint8_t root[WIRE_ID])
{
    return map_get(&f->account_by_root, root);
}

struct account *account_by_contact(const struct feeds *f, uint32_t contact)
{
    return map_get(&f->account_by_contact, &contact);
}

static int account_join(struct account *a, struct conv *c)
{
    if (!feed_grow(&a->convs, a->n_convs)) {
        return ERR_NOMEM;
    }
    a->convs[a->n_convs++] = c;
    return 0;
}

static struct account *account_new(struct feeds *f, const uint8_t root[WIRE_ID])
{
    struct account *a = calloc(1, sizeof *a);
    if (a == NULL || !feed_grow(&f->accounts, f->n_accounts) ||
        map_put(&f->account_by_root, root, a) != 0) {
        free(a);
        return NULL;
    }
    memcpy(a->root, root, WIRE_ID);
    f->accounts[f->n_accounts++] = a;
    for (size_t i = 0; i < f->n_convs; i++) {
        if (conv_has(f->convs[i], root) && account_join(a, f->convs[i]) != 0) {
            return NULL; /* after ERR_NOMEM all is thrown away */
        }
    }
    return a;
}

struct account *account_get(struct feeds *f, uint32_t contact,
                            const uint8_t root[WIRE_ID])
{
    struct account *a = account_by_root(f, root);
    bool fresh = a == NULL;
    if (fresh && (a = account_new(f, root)) == NULL) {
        return NULL;
    }
    if (a->contact != contact && map_get(&f->account_by_contact, &a->contact) == a) {
        (void)map_del(&f->account_by_contact, &a->contact);
    }
    if (contact != 0 && (fresh || a->contact != contact)) {
        (void)map_del(&f->account_by_contact, &contact);
        if (map_put(&f->account_by_contact, &contact, a) != 0) {
            return NULL;
        }
    }
    a->contact = contact;
    return a;
}

struct dev *dev_new(struct feeds *f, uint32_t ref)
{
    struct dev *d = calloc(1, sizeof *d);
    if (d == NULL || !feed_grow(&f->devs, f->n_devs)) {
        free(d);
        return NULL;
    }
    d->ref = ref;
    if (map_put(&f->dev_by_ref, &ref, d) != 0) {
        free(d);
        return NULL;
    }
    f->devs[f->n_devs++] = d;
    return d;
}

static int seat_add(struct conv *c, struct dev *d)
{
    if (seat_of(c, d) != NULL) {
        return 0;
    }
    struct seat *s = calloc(1, sizeof *s);
    if (s == NULL || !feed_grow(&c->seats, c->n_seats) ||
        !feed_grow(&d->seats, d->n_seats)) {
        free(s);
        return ERR_NOMEM;
    }
    s->conv = c;
    s->dev = d;
    s->idx = (uint32_t)c->n_seats;
    c->seats[c->n_seats++] = s;
    d->seats[d->n_seats++] = s;
    return 0;
}

/* Everybody of the account sits in every conversation it is a member of. */
static int seats_for(const struct feeds *f, const struct account *a)
{
    for (size_t i = 0; i < a->n_convs; i++) {
        for (size_t j = 0; j < a->n_devs; j++) {
            int err = a->devs[j] == f->own ? 0 : seat_add(a->convs[i], a->devs[j]);
            if (err != 0) {
                return err;
            }
        }
    }
    return 0;
}

/* Whoever our chains have to be sealed to has changed. */
static void account_changed(struct feeds *f, const struct account *a)
{
    for (size_t i = 0; i < a->n_convs; i++) {
        a->convs[i]->epoch++;
        a->convs[i]->answer = true;
        f->answers = true;
    }
}

/* The waits of a device that came back: what was appended while it was away. */
int seats_wait(struct feeds *f, struct dev *d)
{
    for (size_t i = 0; i < d->n_seats; i++) {
        struct conv *c = d->seats[i]->conv;
        for (size_t j = 0; j < c->n_feeds; j++) {
            struct have *h = have_get(d->seats[i], c->feeds[j]);
            if (h == NULL) {
                return ERR_NOMEM;
            }
            have_lacks(f, h);
        }
    }
    dev_waits(f, d);
    return 0;
}

int feeds_device_put(struct feeds *f, const struct feeds_device *v)
{
    struct dev *d = dev_by_ref(f, v->ref);
    bool same = d != NULL && d->known && memcmp(d->box, v->box, sizeof d->box) == 0;
    if (d == f->own || same) {
        return 0;
    }
    if (d == NULL) {
        if (f->n_devs >= FEEDS_DEVICES_MAX) {
            return ERR_LIMIT;
        }
        d = dev_new(f, v->ref);
        if (d == NULL) {
            return ERR_NOMEM;
        }
    }
    if (d->acc == NULL) {
        struct account *a = account_get(f, v->contact, v->root);
        if (a == NULL || !feed_grow(&a->devs, a->n_devs)) {
            return ERR_NOMEM;
        }
        memcpy(d->id, v->device, sizeof d->id);
        int err = map_put(&f->dev_by_id, d->id, d);
        if (err != 0) {
            return err;
        }
        a->devs[a->n_devs++] = d;
        d->acc = a;
    }
    if (account_get(f, v->contact, d->acc->root) == NULL) {
        return ERR_NOMEM;
    }
    memcpy(d->stat, v->stat, sizeof d->stat);
    memcpy(d->box, v->box, sizeof d->box);
    d->box_time = v->box_time;
    bool back = !d->known;
    d->known = true;
    int err = seats_for(f, d->acc);
    account_changed(f, d->acc);
    return err == 0 && back && f->started ? seats_wait(f, d) : err;
}

int feeds_pair_put(struct feeds *f, uint32_t contact, const uint8_t root[KEYS_ROOT],
                   const uint8_t pair[KEYS_PAIR_SECRET])
{
    struct account *a = account_get(f, contact, root);
    if (a == NULL) {
        return ERR_NOMEM;
    }
    if (a->has_pair && sodium_memcmp(a->pair, pair, sizeof a->pair) == 0) {
        return 0;
    }
    memcpy(a->pair, pair, sizeof a->pair);
    a->has_pair = true;
    account_changed(f, a);
    return 0;
}

void feeds_contact_del(struct feeds *f, uint32_t contact)
{
    struct account *a = contact == 0 ? NULL : account_by_contact(f, contact);
    if (a == NULL) {
        return;
    }
    sodium_memzero(a->pair, sizeof a->pair);
    a->has_pair = false;
    for (size_t i = 0; i < a->n_devs; i++) {
        feeds_peer_down(f, a->devs[i]->ref, f->now_ms);
        a->devs[i]->known = false;
        dev_waits(f, a->devs[i]);
    }
    account_changed(f, a);
}

/* ---- conversations ---- */

static void pair_cid(const uint8_t *members, uint8_t cid[WIRE_ID])
{
    kdf_hash(cid, WIRE_ID, NULL, LABEL_CONV, members, (size_t)2 * WIRE_ID, NULL);
}

void feeds_pair_id(const uint8_t a[WIRE_ID], const uint8_t b[WIRE_ID],
                   uint8_t cid[WIRE_ID])
{
    uint8_t members[2 * WIRE_ID];
    bool first = memcmp(a, b, WIRE_ID) < 0;
    memcpy(members, first ? a : b, WIRE_ID);
    memcpy(members + WIRE_ID, first ? b : a, WIRE_ID);
    pair_cid(members, cid);
}

static int conv_register(struct feeds *f, struct conv *c)
{
    if (!feed_grow(&f->convs, f->n_convs)) {
        return ERR_NOMEM;
    }
    int err = map_put(&f->conv_by_cid, c->r.cid, c);
    if (err != 0) {
        return err;
    }
    f->convs[f->n_convs++] = c;
    c->epoch = 1;
    for (size_t i = 0; err == 0 && i + WIRE_ID <= c->r.members.n; i += WIRE_ID) {
        struct account *a = account_by_root(f, c->r.members.p + i);
        err = a == NULL ? 0 : account_join(a, c);
        for (size_t j = 0; err == 0 && a != NULL && j < a->n_devs; j++) {
            err = a->devs[j] == f->own ? 0 : seat_add(c, a->devs[j]);
        }
    }
    return err;
}

static int conv_record(struct txn *t, const struct conv *c)
{
    struct rec r = {.kind = REC_CONV, .u.conv = c->r};
    if (!blob_set(&r.u.conv.members, c->r.members.p, c->r.members.n)) {
        return ERR_NOMEM;
    }
    return txn_add(t, &r);
}

int conv_make(struct feeds *f, struct txn *t, const struct rec_conv *r, struct conv **out)
{
    if (f->n_convs >= FEEDS_CONVS_MAX) {
        return ERR_LIMIT;
    }
    struct conv *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return ERR_NOMEM;
    }
    c->r = *r;
    if (!blob_set(&c->r.members, r->members.p, r->members.n)) {
        free(c);
        return ERR_NOMEM;
    }
    int err = conv_register(f, c);
    if (err != 0) {
        return err; /* after ERR_NOMEM all is thrown away */
    }
    if (c->r.id >= f->next_conv) {
        f->next_conv = c->r.id + 1;
    }
    *out = c;
    return t == NULL ? 0 : conv_record(t, c);
}

static int cmp_root(const void *a, const void *b)
{
    return memcmp(a, b, WIRE_ID);
}

static int conv_create(struct feeds *f, struct txn *t, struct rec_conv *r, uint32_t *conv)
{
    struct conv *c = conv_by_cid(f, r->cid);
    if (c != NULL) {
        *conv = c->r.id;
        return 0;
    }
    r->id = f->next_conv;
    r->created_ms = env_wall_ms(f->self.env);
    int err = conv_make(f, t, r, &c);
    if (err == 0) {
        conv_hello(f, c);
        *conv = c->r.id;
    }
    return err;
}

int feeds_conv_pair(struct feeds *f, struct txn *t, uint32_t contact, uint32_t *conv)
{
    const struct account *a = contact == 0 ? NULL : account_by_contact(f, contact);
    if (a == NULL) {
        return ERR_NOTFOUND;
    }
    uint8_t roots[2][WIRE_ID];
    memcpy(roots[0], f->self.root, WIRE_ID);
    memcpy(roots[1], a->root, WIRE_ID);
    qsort(roots, 2, WIRE_ID, cmp_root);
    struct rec_conv r = {
        .kind = CONV_PAIR, .contact = contact, .members = {roots[0], sizeof roots}};
    pair_cid(roots[0], r.cid);
    return conv_create(f, t, &r, conv);
}

int feeds_conv_group(struct feeds *f, struct txn *t, const uint8_t cid[WIRE_ID],
                     const uint8_t (*roots)[WIRE_ID], size_t n, uint32_t *conv)
{
    if (n == 0 || n > WIRE_MEMBERS_MAX) {
        return ERR_LIMIT;
    }
    bool own = false;
    for (size_t i = 0; i < n; i++) {
        if (account_by_root(f, roots[i]) == NULL) {
            return ERR_NOTFOUND;
        }
        own = own || memcmp(roots[i], f->self.root, WIRE_ID) == 0;
    }
    if (!own) {
        return ERR_NOTFOUND;
    }
    uint8_t *sorted = malloc(n * WIRE_ID);
    if (sorted == NULL) {
        return ERR_NOMEM;
    }
    memcpy(sorted, roots, n * WIRE_ID);
    qsort(sorted, n, WIRE_ID, cmp_root);
    struct rec_conv r = {.kind = CONV_GROUP, .members = {sorted, n * WIRE_ID}};
    memcpy(r.cid, cid, sizeof r.cid);
    int err = conv_create(f, t, &r, conv);
    free(sorted);
    return err;
}

uint32_t feeds_conv_of(const struct feeds *f, uint32_t contact)
{
    const struct account *a = contact == 0 ? NULL : account_by_contact(f, contact);
    for (size_t i = 0; a != NULL && i < a->n_convs; i++) {
        if (a->convs[i]->r.kind == CONV_PAIR && a->convs[i]->r.contact == contact) {
            return a->convs[i]->r.id;
        }
    }
    return 0;
}

uint32_t feeds_conv_contact(const struct feeds *f, uint32_t conv)
{
    const struct conv *c = conv_by_id(f, conv);
    return c != NULL && c->r.kind == CONV_PAIR ? c->r.contact : 0;
}

bool feeds_member(const struct feeds *f, uint32_t conv, size_t k, uint8_t root[WIRE_ID],
                  uint32_t *contact)
{
    const struct conv *c = conv_by_id(f, conv);
    if (c == NULL || k >= c->r.members.n / WIRE_ID) {
        return false;
    }
    memcpy(root, c->r.members.p + k * WIRE_ID, WIRE_ID);
    const struct account *a = account_by_root(f, root);
    *contact = a == NULL ? UINT32_MAX : a->contact;
    return true;
}
