/* Feeds and their records; the life of the whole. */
#include "feed.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "feed_priv.h"

/* Makes room for one more pointer in an array that grows by doubling at powers of two. */
bool feed_grow(void *array, size_t n)
{
    void **old, **grown;
    memcpy(&old, array, sizeof old);
    if (n == 0 || (n & (n - 1)) == 0) {
        grown = realloc(old, (n == 0 ? 1 : n * 2) * sizeof *old);
        if (grown == NULL) {
            return false;
        }
        memcpy(array, &grown, sizeof grown);
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

/* ---- feeds ---- */

static int feed_register(struct feeds *f, struct feed *fd)
{
    uint8_t key[12];
    if (!feed_grow(&fd->conv->feeds, fd->conv->n_feeds)) {
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

size_t count_gens(const struct conv *c, const struct dev *d, size_t *stubs)
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
    map_init(&f->account_by_root, self->env, WIRE_ID, FEEDS_DEVICES_MAX + 1);
    map_init(&f->account_by_contact, self->env, 4, FEEDS_DEVICES_MAX + 1);
    deadlines_init(&f->timers, (size_t)4 * FEEDS_MAX);
    f->next_conv = f->next_feed = 1;
    struct dev *d = dev_new(f, self->device_ref);
    struct account *a = account_get(f, 0, self->root);
    if (d == NULL || a == NULL || !feed_grow(&a->devs, 0)) {
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
        free(f->accounts[i]->convs);
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
    map_release(&f->account_by_root);
    map_release(&f->account_by_contact);
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
    case REC_REQUEST:
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
