/* Objects and their records: accounts, devices, conversations, seats, feeds. */
#include "feed.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "crypto/kdf.h"
#include "feed_priv.h"

#define LABEL_CONV "linnet conversation of two v1"

/* Makes room for one more pointer in an array that grows by doubling at powers of two. */
static bool grow(void *array, size_t n)
{
    void **p;
    memcpy(&p, array, sizeof p);
    if (n == 0 || (n & (n - 1)) == 0) {
        p = realloc(p, (n == 0 ? 1 : n * 2) * sizeof *p);
        if (p == NULL) {
            return false;
        }
        memcpy(array, &p, sizeof p);
    }
    return true;
}

/* ---- lookups ---- */

bool feed_is_mine(const struct feed *fd)
{
    return (fd->r.flags & FEED_MINE) != 0;
}

struct dev *dev_by_id(const struct feeds *f, const uint8_t id[WIRE_ID])
{
    return map_get(&f->dev_by_id, id);
}

struct dev *dev_by_ref(const struct feeds *f, uint32_t ref)
{
    return map_get(&f->dev_by_ref, &ref);
}

struct conv *conv_by_cid(const struct feeds *f, const uint8_t cid[WIRE_ID])
{
    return map_get(&f->conv_by_cid, cid);
}

struct conv *conv_by_id(const struct feeds *f, uint32_t id)
{
    /* Row ids are given out in order, so the place is near the id. */
    for (size_t i = id < f->n_convs ? id : f->n_convs; i > 0; i--) {
        if (f->convs[i - 1]->r.id == id) {
            return f->convs[i - 1];
        }
    }
    return NULL;
}

bool conv_has(const struct conv *c, const uint8_t root[WIRE_ID])
{
    for (size_t i = 0; i + WIRE_ID <= c->r.members.n; i += WIRE_ID) {
        if (memcmp(c->r.members.p + i, root, WIRE_ID) == 0) {
            return true;
        }
    }
    return false;
}

struct seat *seat_of(const struct conv *c, const struct dev *d)
{
    /* Whichever list is the shorter one: a conversation of two has two, a device one. */
    if (d->n_seats < c->n_seats) {
        for (size_t i = 0; i < d->n_seats; i++) {
            if (d->seats[i]->conv == c) {
                return d->seats[i];
            }
        }
        return NULL;
    }
    for (size_t i = 0; i < c->n_seats; i++) {
        if (c->seats[i]->dev == d) {
            return c->seats[i];
        }
    }
    return NULL;
}

static void gen_key(const struct conv *c, const uint8_t gen[WIRE_GEN], uint8_t key[12])
{
    memcpy(key, &c->r.id, 4);
    memcpy(key + 4, gen, WIRE_GEN);
}

struct feed *feed_gen(const struct feeds *f, const struct conv *c,
                      const uint8_t gen[WIRE_GEN])
{
    uint8_t key[12];
    gen_key(c, gen, key);
    return map_get(&f->feed_by_gen, key);
}

struct feed *feed_find(const struct feeds *f, const struct conv *c, const struct dev *d,
                       const uint8_t gen[WIRE_GEN])
{
    struct feed *fd = feed_gen(f, c, gen);
    while (fd != NULL && fd->dev != d) {
        fd = fd->same_gen;
    }
    return fd;
}

static struct feed *feed_by_row(const struct feeds *f, uint32_t id)
{
    return id < f->n_feeds ? f->feeds[id] : NULL;
}

const struct rec_feed *feeds_feed(const struct feeds *f, uint32_t feed)
{
    const struct feed *fd = feed_by_row(f, feed);
    return fd == NULL ? NULL : &fd->r;
}

/* ---- accounts and devices ---- */

static struct account *account_by_root(const struct feeds *f, const uint8_t root[WIRE_ID])
{
    /* Only when contacts change or conversations are made; there are few thousands. */
    for (size_t i = 0; i < f->n_accounts; i++) {
        if (memcmp(f->accounts[i]->root, root, WIRE_ID) == 0) {
            return f->accounts[i];
        }
    }
    return NULL;
}

static struct account *account_get(struct feeds *f, uint32_t contact,
                                   const uint8_t root[WIRE_ID])
{
    struct account *a = account_by_root(f, root);
    if (a == NULL) {
        a = calloc(1, sizeof *a);
        if (a == NULL || !grow(&f->accounts, f->n_accounts)) {
            free(a);
            return NULL;
        }
        memcpy(a->root, root, WIRE_ID);
        f->accounts[f->n_accounts++] = a;
    }
    a->contact = contact;
    return a;
}

static struct account *account_by_contact(const struct feeds *f, uint32_t contact)
{
    for (size_t i = 0; i < f->n_accounts; i++) {
        if (f->accounts[i]->contact == contact) {
            return f->accounts[i];
        }
    }
    return NULL;
}

static struct dev *dev_new(struct feeds *f, uint32_t ref)
{
    struct dev *d = calloc(1, sizeof *d);
    if (d == NULL || !grow(&f->devs, f->n_devs)) {
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
    if (s == NULL || !grow(&c->seats, c->n_seats) || !grow(&d->seats, d->n_seats)) {
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
static int seats_for(struct feeds *f, struct account *a)
{
    for (size_t i = 0; i < f->n_convs; i++) {
        struct conv *c = f->convs[i];
        if (!conv_has(c, a->root)) {
            continue;
        }
        for (size_t j = 0; j < a->n_devs; j++) {
            int err = a->devs[j] == f->own ? 0 : seat_add(c, a->devs[j]);
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
    for (size_t i = 0; i < f->n_convs; i++) {
        struct conv *c = f->convs[i];
        if (conv_has(c, a->root)) {
            c->epoch++;
            c->answer = true;
            f->answers = true;
        }
    }
}

/* The waits of a device that came back: what was appended while it was away. */
static int seats_wait(struct feeds *f, struct dev *d)
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
        if (a == NULL || !grow(&a->devs, a->n_devs)) {
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
    d->acc->contact = v->contact;
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

static int conv_register(struct feeds *f, struct conv *c)
{
    if (!grow(&f->convs, f->n_convs)) {
        return ERR_NOMEM;
    }
    int err = map_put(&f->conv_by_cid, c->r.cid, c);
    if (err != 0) {
        return err;
    }
    f->convs[f->n_convs++] = c;
    c->epoch = 1;
    for (size_t i = 0; err == 0 && i < f->n_accounts; i++) {
        struct account *a = f->accounts[i];
        for (size_t j = 0; err == 0 && j < a->n_devs && conv_has(c, a->root); j++) {
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

static int conv_make(struct feeds *f, struct txn *t, const struct rec_conv *r,
                     struct conv **out)
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
    for (size_t i = 0; contact != 0 && i < f->n_convs; i++) {
        if (f->convs[i]->r.kind == CONV_PAIR && f->convs[i]->r.contact == contact) {
            return f->convs[i]->r.id;
        }
    }
    return 0;
}

uint32_t feeds_conv_contact(const struct feeds *f, uint32_t conv)
{
    const struct conv *c = conv_by_id(f, conv);
    return c != NULL && c->r.kind == CONV_PAIR ? c->r.contact : 0;
}

/* ---- feeds ---- */

static int feed_register(struct feeds *f, struct feed *fd)
{
    uint8_t key[12];
    if (!grow(&fd->conv->feeds, fd->conv->n_feeds)) {
        return ERR_NOMEM;
    }
    struct feed *first = feed_gen(f, fd->conv, fd->r.gen);
    if (first != NULL) {
        fd->same_gen = first->same_gen;
        first->same_gen = fd;
    } else {
        gen_key(fd->conv, fd->r.gen, key);
        int err = map_put(&f->feed_by_gen, key, fd);
        if (err != 0) {
            return err;
        }
    }
    fd->conv->feeds[fd->conv->n_feeds++] = fd;
    return 0;
}

/* How many generations of the device there are, and how many of them are stubs. */
static size_t count_gens(const struct conv *c, const struct dev *d, size_t *stubs)
{
    size_t n = 0;
    *stubs = 0;
    for (size_t i = 0; i < c->n_feeds; i++) {
        if (c->feeds[i]->dev == d) {
            n += c->feeds[i]->r.id != 0;
            *stubs += c->feeds[i]->r.id == 0;
        }
    }
    return n;
}

int feed_stub(struct feeds *f, struct conv *c, struct dev *d, const uint8_t gen[WIRE_GEN],
              struct feed **out)
{
    size_t stubs, real = count_gens(c, d, &stubs);
    if (real >= WIRE_GENERATIONS_MAX || stubs >= FEED_PRIV_STUBS ||
        f->feeds_count >= FEEDS_MAX) {
        return ERR_LIMIT;
    }
    struct feed *fd = calloc(1, sizeof *fd);
    if (fd == NULL) {
        return ERR_NOMEM;
    }
    fd->conv = c;
    fd->dev = d;
    fd->r.conv = c->r.id;
    fd->r.device = d->ref;
    fd->r.flags = d == f->own ? FEED_MINE : 0;
    memcpy(fd->r.gen, gen, sizeof fd->r.gen);
    int err = feed_register(f, fd);
    if (err != 0) {
        free(fd);
        return err;
    }
    f->feeds_count++;
    *out = fd;
    return 0;
}

static void feed_free(struct feed *fd)
{
    for (size_t i = 0; i < fd->n_haves; i++) {
        free(fd->haves[i]);
    }
    free(fd->haves);
    if (fd->lag != NULL) {
        sodium_memzero(fd->lag, sizeof *fd->lag);
        free(fd->lag);
    }
    sodium_memzero(fd, sizeof *fd);
    free(fd);
}

static void unlink_gen(struct feeds *f, struct feed *fd)
{
    uint8_t key[12];
    struct feed *first = feed_gen(f, fd->conv, fd->r.gen);
    if (first != fd) {
        while (first->same_gen != fd) {
            first = first->same_gen;
        }
        first->same_gen = fd->same_gen;
        return;
    }
    gen_key(fd->conv, fd->r.gen, key);
    (void)map_del(&f->feed_by_gen, key);
    if (fd->same_gen != NULL) {
        (void)map_put(&f->feed_by_gen, key, fd->same_gen); /* its place is free */
    }
}

void feed_stub_drop(struct feeds *f, struct feed *fd)
{
    assert(fd->r.id == 0 && fd->lag == NULL && !fd->dirty && !fd->row_dirty);
    struct conv *c = fd->conv;
    diff_stop(f, fd);
    loads_kill(f, NULL, fd, LOAD_FREE);
    deadlines_remove(&f->timers, &fd->want_timer.d);
    unlink_gen(f, fd);
    for (size_t i = 0; i < c->n_feeds; i++) {
        if (c->feeds[i] == fd) {
            c->feeds[i] = c->feeds[--c->n_feeds];
            break;
        }
    }
    for (size_t i = 0; i < fd->n_haves; i++) {
        if (fd->haves[i] != NULL) {
            send_stop(fd->haves[i]);
        }
    }
    f->feeds_count--;
    feed_free(fd);
}

/* Puts the feed where its row id says. */
static int feed_place(struct feeds *f, struct feed *fd)
{
    size_t id = fd->r.id;
    if (id >= f->cap_feeds) {
        size_t cap = f->cap_feeds == 0 ? 16 : f->cap_feeds;
        while (cap <= id) {
            cap *= 2;
        }
        struct feed **v = realloc(f->feeds, cap * sizeof *v);
        if (v == NULL) {
            return ERR_NOMEM;
        }
        memset(v + f->cap_feeds, 0, (cap - f->cap_feeds) * sizeof *v);
        f->feeds = v;
        f->cap_feeds = cap;
    }
    if (f->feeds[id] != NULL) {
        return ERR_CORRUPT;
    }
    f->feeds[id] = fd;
    f->n_feeds = id >= f->n_feeds ? id + 1 : f->n_feeds;
    f->next_feed = fd->r.id >= f->next_feed ? fd->r.id + 1 : f->next_feed;
    return 0;
}

int feed_make_real(struct feeds *f, struct txn *t, struct feed *fd)
{
    if (fd->r.id != 0) {
        return 0;
    }
    fd->r.id = f->next_feed;
    int err = feed_place(f, fd);
    struct rec r = {.kind = REC_FEED, .u.feed = fd->r};
    if (err == 0) {
        err = txn_add(t, &r);
    }
    for (size_t i = 0; err == 0 && i < fd->n_haves; i++) {
        err = fd->haves[i] == NULL ? 0 : have_row(t, fd->haves[i]);
    }
    return err;
}

struct have *have_peek(const struct seat *s, const struct feed *fd)
{
    return s->idx < fd->n_haves ? fd->haves[s->idx] : NULL;
}

struct have *have_get(struct seat *s, struct feed *fd)
{
    if (s->idx >= fd->n_haves) {
        struct have **v = realloc(fd->haves, fd->conv->n_seats * sizeof *v);
        if (v == NULL) {
            return NULL;
        }
        memset(v + fd->n_haves, 0, (fd->conv->n_seats - fd->n_haves) * sizeof *v);
        fd->haves = v;
        fd->n_haves = fd->conv->n_seats;
    }
    struct have *h = fd->haves[s->idx];
    if (h == NULL) {
        h = calloc(1, sizeof *h);
        if (h == NULL) {
            return NULL;
        }
        h->seat = s;
        h->feed = fd;
        fd->haves[s->idx] = h;
    }
    return h;
}

/* ---- records ---- */

void feed_row(struct feeds *f, struct feed *fd)
{
    if (!fd->row_dirty) {
        fd->row_dirty = true;
        fd->row_next = f->rows;
        f->rows = fd;
    }
}

void feed_dirty(struct feeds *f, struct feed *fd)
{
    struct conv *c = fd->conv;
    feed_row(f, fd);
    if (fd->dirty) {
        return;
    }
    fd->dirty = true;
    fd->dirty_next = c->dirty;
    c->dirty = fd;
    if (!c->dirty_queued) {
        c->dirty_queued = true;
        c->dirty_next = f->dirty;
        f->dirty = c;
    }
}

int rows_flush(struct feeds *f, struct txn *t)
{
    int err = 0;
    while (f->rows != NULL) {
        struct feed *fd = f->rows;
        f->rows = fd->row_next;
        fd->row_dirty = false;
        if (err == 0) {
            struct rec r = {.kind = REC_FEED, .u.feed = fd->r};
            err = txn_add(t, &r);
            sodium_memzero(&r, sizeof r);
        }
    }
    return err;
}

int have_row(struct txn *t, const struct have *h)
{
    if (h->feed->r.id == 0) {
        return 0;
    }
    struct rec r = {.kind = REC_HAVE,
                    .u.have = {.device = h->seat->dev->ref,
                               .feed = h->feed->r.id,
                               .n = h->n,
                               .opened = h->opened,
                               .read = h->read}};
    return txn_add(t, &r);
}

int event_add(struct txn *t, uint8_t topic, uint8_t what, const struct feed *fd)
{
    struct rec r = {
        .kind = REC_EVENT,
        .u.event = {.topic = topic,
                    .what = what,
                    .contact = fd->dev->acc == NULL ? 0 : fd->dev->acc->contact,
                    .conv = fd->conv->r.id,
                    .value = fd->r.head}};
    return txn_add(t, &r);
}

int entry_store(struct txn *t, const struct feed *fd, const struct entry *e,
                const uint8_t *mid)
{
    struct rec r = {.kind = REC_ENTRY,
                    .u.entry = {.feed = fd->r.id,
                                .seq = e->h.seq,
                                .has_self = e->w.has_self,
                                .has_sig = e->w.has_sig}};
    struct rec_entry *v = &r.u.entry;
    memcpy(v->id, e->id, sizeof v->id);
    memcpy(v->self, e->w.self, sizeof v->self);
    memcpy(v->sig, e->w.sig, sizeof v->sig);
    if (mid != NULL) {
        memcpy(v->mid, mid, sizeof v->mid);
    }
    if (!blob_set(&v->header, e->w.header, e->w.header_len) ||
        !blob_set(&v->box, e->w.box, e->w.box_len)) {
        rec_release(&r);
        return ERR_NOMEM;
    }
    return txn_add(t, &r);
}

bool entry_from_rec(const struct rec_entry *r, struct entry *e)
{
    memset(&e->w, 0, sizeof e->w);
    e->w.header = r->header.p;
    e->w.header_len = r->header.n;
    e->w.box = r->box.p;
    e->w.box_len = r->box.n;
    e->w.has_self = r->has_self;
    e->w.has_sig = r->has_sig;
    memcpy(e->w.self, r->self, sizeof e->w.self);
    memcpy(e->w.sig, r->sig, sizeof e->w.sig);
    memcpy(e->id, r->id, sizeof e->id);
    return wire_header_get(e->w.header, e->w.header_len, &e->h) && e->h.seq == r->seq;
}

/* ---- life ---- */

struct feeds *feeds_new(const struct feeds_self *self)
{
    struct feeds *f = calloc(1, sizeof *f);
    if (f == NULL) {
        return NULL;
    }
    f->self = *self;
    map_init(&f->dev_by_id, self->env, WIRE_ID, FEEDS_DEVICES_MAX + 1);
    map_init(&f->dev_by_ref, self->env, 4, 2 * FEEDS_DEVICES_MAX);
    map_init(&f->conv_by_cid, self->env, WIRE_ID, FEEDS_CONVS_MAX);
    map_init(&f->feed_by_gen, self->env, 12, FEEDS_MAX);
    deadlines_init(&f->timers, (size_t)4 * FEEDS_MAX);
    f->next_conv = f->next_feed = 1;
    struct dev *d = dev_new(f, self->device_ref);
    struct account *a = account_get(f, 0, self->root);
    if (d == NULL || a == NULL || !grow(&a->devs, 0)) {
        feeds_free(f);
        return NULL;
    }
    a->devs[a->n_devs++] = d;
    d->acc = a;
    d->known = true;
    memcpy(d->id, self->device, sizeof d->id);
    keys_public(self->stat_sec, d->stat);
    f->own = d;
    if (map_put(&f->dev_by_id, d->id, d) != 0) {
        feeds_free(f);
        return NULL;
    }
    return f;
}

static void conv_free(struct feeds *f, struct conv *c)
{
    while (c->repeats != NULL) {
        struct repeat *r = c->repeats;
        c->repeats = r->next;
        repeat_free(f, r);
    }
    for (size_t i = 0; i < c->n_feeds; i++) {
        diff_stop(f, c->feeds[i]);
    }
    for (size_t i = 0; i < c->n_feeds; i++) {
        feed_free(c->feeds[i]);
    }
    for (size_t i = 0; i < c->n_seats; i++) {
        free(c->seats[i]);
    }
    free(c->feeds);
    free(c->seats);
    blob_release(&c->r.members);
    free(c);
}

void feeds_free(struct feeds *f)
{
    if (f == NULL) {
        return;
    }
    deadlines_release(&f->timers); /* first: it reaches into the seats */
    for (size_t i = 0; i < f->n_convs; i++) {
        conv_free(f, f->convs[i]);
    }
    for (size_t i = 0; i < f->n_devs; i++) {
        free(f->devs[i]->seats);
        free(f->devs[i]);
    }
    for (size_t i = 0; i < f->n_accounts; i++) {
        free(f->accounts[i]->devs);
        sodium_memzero(f->accounts[i], sizeof *f->accounts[i]);
        free(f->accounts[i]);
    }
    while (f->out_n > 0) {
        free(f->outs[f->out_at++].bytes);
        f->out_n--;
    }
    while (f->ev_n > 0) {
        free(f->evs[f->ev_at++]);
        f->ev_n--;
    }
    free(f->out_last);
    free(f->ev_last);
    free(f->outs);
    free(f->evs);
    free(f->feeds);
    free(f->convs);
    free(f->devs);
    free(f->accounts);
    map_release(&f->dev_by_id);
    map_release(&f->dev_by_ref);
    map_release(&f->conv_by_cid);
    map_release(&f->feed_by_gen);
    sodium_memzero(f, sizeof *f);
    free(f);
}

static int load_feed(struct feeds *f, const struct rec_feed *r)
{
    struct conv *c = conv_by_id(f, r->conv);
    struct dev *d = dev_by_ref(f, r->device);
    if (c == NULL || r->id == 0 || r->id > (uint32_t)FEEDS_MAX * 2 ||
        r->opened > r->head || f->feeds_count >= FEEDS_MAX) {
        return ERR_CORRUPT;
    }
    if (d == NULL && (d = dev_new(f, r->device)) == NULL) {
        return ERR_NOMEM;
    }
    struct feed *fd = calloc(1, sizeof *fd);
    if (fd == NULL) {
        return ERR_NOMEM;
    }
    fd->r = *r;
    fd->conv = c;
    fd->dev = d;
    int err = feed_register(f, fd);
    if (err != 0) {
        free(fd);
        return err;
    }
    f->feeds_count++;
    return feed_place(f, fd);
}

static int load_have(struct feeds *f, const struct rec_have *r)
{
    struct dev *d = dev_by_ref(f, r->device);
    struct feed *fd = feed_by_row(f, r->feed);
    struct seat *s = d == NULL || fd == NULL ? NULL : seat_of(fd->conv, d);
    if (s == NULL) {
        return 0; /* of a contact who is gone */
    }
    struct have *h = have_get(s, fd);
    if (h == NULL) {
        return ERR_NOMEM;
    }
    h->n = r->n;
    h->opened = h->told_opened = r->opened;
    h->read = r->read;
    return 0;
}

int feeds_load(struct feeds *f, const struct rec *r)
{
    struct conv *c;
    switch (r->kind) {
    case REC_BOXKEY:
        return box_load(f, &r->u.boxkey);
    case REC_CONV:
        if (r->u.conv.id == 0 || r->u.conv.members.n % WIRE_ID != 0) {
            return ERR_CORRUPT;
        }
        return conv_make(f, NULL, &r->u.conv, &c);
    case REC_FEED:
        return load_feed(f, &r->u.feed);
    case REC_HAVE:
        return load_have(f, &r->u.have);
    case REC_META:
    case REC_CONTACT:
    case REC_DEVICE:
    case REC_INVITE:
    case REC_ADDING:
    case REC_ENTRY:
    case REC_FORK:
    case REC_MSG:
    case REC_STATE:
    case REC_EVENT:
        break;
    }
    return 0;
}

/* What is derived from a loaded feed. */
static int start_feed(struct feeds *f, struct feed *fd)
{
    struct conv *c = fd->conv;
    if (fd->r.opened_order > c->order_max) {
        c->order_max = fd->r.opened_order;
    }
    if (feed_is_mine(fd)) {
        if ((fd->r.flags & (FEED_CLOSED | FEED_FROZEN)) == 0) {
            c->own = fd;
        }
        /* Where `device` entries are was not stored: no later than the head. */
        if (c->device_feed == NULL || (fd->r.flags & FEED_CLOSED) == 0) {
            c->device_feed = fd;
            c->device_seq = fd->r.head;
        }
        int err = feed_words(f, NULL, fd);
        fd->sent = fd->sent_said = fd->stored;
        return err;
    }
    fd->fresh = true;
    fd->fresh_next = c->fresh;
    c->fresh = fd;
    return fd->r.head > fd->r.opened && fd->dev->acc != NULL ? lag_start(f, fd) : 0;
}

int feeds_start(struct feeds *f, struct txn *t, uint64_t now_ms)
{
    int err = f->n_box > 0 ? 0 : box_new(f, t, env_wall_ms(f->self.env) / 1000);
    f->now_ms = now_ms;
    for (size_t i = 0; err == 0 && i < f->n_feeds; i++) {
        err = f->feeds[i] == NULL ? 0 : start_feed(f, f->feeds[i]);
    }
    f->started = true;
    for (size_t i = 0; err == 0 && i < f->n_devs; i++) {
        err = f->devs[i]->known ? seats_wait(f, f->devs[i]) : 0;
    }
    for (size_t i = 0; i < f->n_convs; i++) {
        f->convs[i]->answer = false; /* nobody has told anything yet */
    }
    f->answers = false;
    return err == 0 ? rows_flush(f, t) : err;
}
