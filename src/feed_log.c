/* The logs: appending to our own feeds, accepting entries into those of others. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "feed_priv.h"

/* ---- appending ---- */

int conv_own_feed(struct feeds *f, struct txn *t, struct conv *c, struct feed **out)
{
    if (c->own != NULL) {
        *out = c->own;
        return 0;
    }
    uint8_t gen[WIRE_GEN];
    do {
        env_random(f->self.env, gen, sizeof gen);
    } while (feed_gen(f, c, gen) != NULL);
    struct feed *fd = NULL;
    int err = feed_stub(f, c, f->own, gen, &fd);
    if (err == 0) {
        err = feed_make_real(f, t, fd);
    }
    if (err != 0) {
        return err;
    }
    c->own = fd;
    *out = fd;
    /* Whom does it go to: everybody linked who has told what it has. */
    for (size_t i = 0; i < c->n_seats; i++) {
        struct have *h = have_get(c->seats[i], fd);
        if (h == NULL) {
            return ERR_NOMEM;
        }
        if (c->seats[i]->synced) {
            send_from(f, h, 1, UINT64_MAX);
        }
    }
    return 0;
}

static int cmp_parent(const void *a, const void *b)
{
    const struct wire_parent *x = a, *y = b;
    return memcmp(x->gen, y->gen, sizeof x->gen);
}

/* Takes the heads that others have reached since our last entry: those of the greatest
 * order, as many as there is room for. */
static void take_parents(struct conv *c, struct wire_header *h)
{
    struct feed *best[WIRE_PARENTS_MAX];
    size_t n = 0;
    while (c->fresh != NULL) {
        struct feed *fd = c->fresh;
        c->fresh = fd->fresh_next;
        fd->fresh = false;
        bool twice = false;
        for (size_t i = 0; i < n; i++) {
            twice = twice || memcmp(best[i]->r.gen, fd->r.gen, WIRE_GEN) == 0;
        }
        if (twice || fd->r.opened == 0) {
            continue;
        }
        if (n < WIRE_PARENTS_MAX) {
            best[n++] = fd;
            continue;
        }
        size_t least = 0;
        for (size_t i = 1; i < n; i++) {
            least = best[i]->r.opened_order < best[least]->r.opened_order ? i : least;
        }
        if (fd->r.opened_order > best[least]->r.opened_order) {
            best[least] = fd;
        }
    }
    for (size_t i = 0; i < n; i++) {
        memcpy(h->parents[i].gen, best[i]->r.gen, WIRE_GEN);
        memcpy(h->parents[i].id, best[i]->r.opened_id, WIRE_ID);
        h->parents[i].seq = best[i]->r.opened;
    }
    qsort(h->parents, n, sizeof h->parents[0], cmp_parent);
    h->n_parents = n;
}

static void fill_header(struct feeds *f, struct conv *c, const struct feed *fd, bool keys,
                        struct wire_header *h)
{
    uint64_t wall = env_wall_ms(f->self.env);
    memset(h, 0, sizeof *h);
    memcpy(h->conv, c->r.cid, sizeof h->conv);
    memcpy(h->device, f->self.device, sizeof h->device);
    memcpy(h->gen, fd->r.gen, sizeof h->gen);
    memcpy(h->prev, fd->r.head_id, sizeof h->prev);
    h->seq = fd->r.head + 1;
    h->chain = keys ? h->seq : fd->r.chain_start;
    h->order = wall > c->order_max ? wall : c->order_max + 1;
    if (h->order > FEED_PRIV_ORDER_MAX) {
        h->order = FEED_PRIV_ORDER_MAX;
    }
    take_parents(c, h);
}

/* Seals the box in f->box_buf: a body under the chain, or (NULL) the keys of a new one.
 */
static int seal_box(struct feeds *f, struct feed *fd, const struct wire_header *h,
                    const uint8_t *body, size_t len, size_t *box_len)
{
    struct wr ad = wr_init(f->ad, WIRE_HEADER_MAX);
    wire_header_put(&ad, h, false);
    if (!wr_ok(&ad)) {
        return ERR_LIMIT;
    }
    if (body == NULL) {
        return keys_box_put(f, fd, f->ad, ad.len, box_len);
    }
    struct chain chain = {.n = fd->r.chain_n};
    memcpy(chain.secret, fd->r.chain_secret, sizeof chain.secret);
    int err = chain_seal(&chain, f->self.env, f->ad, ad.len, body, len, f->box_buf);
    if (err == 0) {
        memcpy(fd->r.chain_secret, chain.secret, sizeof chain.secret);
        fd->r.chain_n = chain.n;
        *box_len = len + CHAIN_BOX_OVERHEAD;
    }
    chain_release(&chain);
    return err;
}

static int append(struct feeds *f, struct txn *t, struct conv *c, struct feed *fd,
                  const uint8_t *body, size_t len, const uint8_t *mid)
{
    struct entry e = {.w = {.header = f->header, .box = f->box_buf, .has_self = true}};
    fill_header(f, c, fd, body == NULL, &e.h);
    int err = seal_box(f, fd, &e.h, body, len, &e.w.box_len);
    if (err != 0) {
        return err;
    }
    struct wr w = wr_init(f->header, sizeof f->header);
    wire_box_hash(f->box_buf, e.w.box_len, e.h.box_hash);
    wire_header_put(&w, &e.h, true);
    if (!wr_ok(&w)) {
        return ERR_LIMIT;
    }
    e.w.header_len = w.len;
    wire_entry_id(f->header, w.len, e.id);
    keys_self_mac(f->self.self_key, e.id, e.w.self);
    if (c->r.kind == CONV_GROUP) {
        e.w.has_sig = true;
        sign_entry(fd, e.id, e.w.sig);
    }
    err = entry_store(t, fd, &e, mid);
    if (err != 0) {
        return err;
    }
    fd->r.head = fd->r.opened = e.h.seq;
    fd->r.head_order = fd->r.opened_order = c->order_max = e.h.order;
    memcpy(fd->r.head_id, e.id, sizeof e.id);
    memcpy(fd->r.opened_id, e.id, sizeof e.id);
    feed_dirty(f, fd);
    return push_live(f, fd, e.h.seq, &e.w);
}

int conv_append_keys(struct feeds *f, struct txn *t, struct conv *c, struct feed *fd)
{
    int err = append(f, t, c, fd, NULL, 0, NULL);
    if (err == 0) {
        c->chain_epoch = c->epoch;
    }
    return err;
}

int conv_append(struct feeds *f, struct txn *t, struct conv *c, const uint8_t *body,
                size_t len, const uint8_t mid[WIRE_MID], uint64_t *order)
{
    struct feed *fd = NULL;
    int err = conv_own_feed(f, t, c, &fd);
    if (err == 0 && !chain_fit(f, c, fd)) {
        err = conv_append_keys(f, t, c, fd);
    }
    if (err == 0) {
        err = append(f, t, c, fd, body, len, mid);
    }
    if (err == 0 && order != NULL) {
        *order = fd->r.head_order;
    }
    return err;
}

/* ---- accepting ---- */

/* Decodes what came over the wire; nothing in it is believed yet. */
static bool entry_get(const uint8_t *p, size_t len, struct entry *e)
{
    uint8_t hash[WIRE_ID];
    if (!wire_entry_get(p, len, &e->w) ||
        !wire_header_get(e->w.header, e->w.header_len, &e->h) ||
        e->h.order > FEED_PRIV_ORDER_MAX) {
        return false;
    }
    wire_entry_id(e->w.header, e->w.header_len, e->id);
    if (e->w.box == NULL) {
        return true;
    }
    wire_box_hash(e->w.box, e->w.box_len, hash);
    return memcmp(hash, e->h.box_hash, sizeof hash) == 0;
}

static bool self_ok(const struct feeds *f, const struct entry *e)
{
    uint8_t mac[KEYS_SELF_MAC];
    keys_self_mac(f->self.self_key, e->id, mac);
    bool ok = e->w.has_self && sodium_memcmp(mac, e->w.self, sizeof mac) == 0;
    sodium_memzero(mac, sizeof mac);
    return ok;
}

/* The peer has the entry that it sent; not worth a row: its own HAVE says more. */
static int sender_has(struct feeds *f, struct seat *s, struct feed *fd, uint64_t seq)
{
    if (s->dev == fd->dev) {
        return 0;
    }
    struct have *h = have_get(s, fd);
    if (h == NULL) {
        return ERR_NOMEM;
    }
    if (h->n < seq) {
        h->n = seq;
        have_lacks(f, h);
    }
    return 0;
}

/* Stores an entry that fits at the head and was judged. */
static int take_entry(struct feeds *f, struct txn *t, struct seat *s, struct feed *fd,
                      const struct entry *e, const struct cursor *after, enum judged how,
                      size_t body_len)
{
    int err = feed_make_real(f, t, fd);
    if (err == 0) {
        err = entry_store(t, fd, e, NULL);
    }
    if (err != 0) {
        return err;
    }
    fd->r.head = e->h.seq;
    fd->r.head_order = e->h.order;
    memcpy(fd->r.head_id, e->id, sizeof e->id);
    feed_dirty(f, fd);
    err = sender_has(f, s, fd, e->h.seq);
    if (err == 0) {
        err = entry_accepted(f, t, fd, e, after, how, body_len);
    }
    if (err == 0 && fd->want_from != NULL && fd->r.head >= fd->want_to) {
        fd->want_from = NULL;
        feed_want(f, fd);
    }
    return err;
}

/* An entry that does not continue what we have, or is another one in the same place: our
 * version is compared with the peer's before anything is believed. */
static int other_version(struct feeds *f, struct seat *s, struct feed *fd)
{
    struct have *h = have_get(s, fd);
    return h == NULL ? ERR_NOMEM : diff_start(f, h, fd->r.head);
}

/* What we cannot open is taken from the author's own device and from devices of our own
 * account. What has no box any more also from another device of the author's account: it
 * has checked the self MAC. From nobody else: who relays could make any message
 * disappear (docs/PROTOCOL.md, "Edits,
 * reactions, redactions"). */
static bool may_vouch(const struct feeds *f, const struct dev *from,
                      const struct dev *author, enum judged how)
{
    return from == author || from->acc == f->own->acc ||
           (how == JUDGED_EMPTY && from->acc == author->acc);
}

static int feed_accept(struct feeds *f, struct txn *t, struct seat *s, struct feed *fd,
                       const struct entry *e)
{
    struct cursor at;
    if ((fd->r.flags & FEED_FROZEN) != 0) {
        return 0;
    }
    if (e->h.seq <= fd->r.head) {
        bool other =
            e->h.seq == fd->r.head && memcmp(e->id, fd->r.head_id, sizeof e->id) != 0;
        return other ? other_version(f, s, fd) : 0;
    }
    if (e->h.seq > fd->r.head + 1 || !feed_ready(f, fd, &at)) {
        struct have *h = have_get(s, fd);
        if (h == NULL) {
            return ERR_NOMEM;
        }
        h->n = h->n < e->h.seq ? e->h.seq : h->n;
        feed_want(f, fd);
        return 0;
    }
    if (memcmp(e->h.prev, fd->r.head_id, sizeof e->h.prev) != 0) {
        return other_version(f, s, fd);
    }
    if (e->h.order < fd->r.head_order ||
        (e->h.order == fd->r.head_order && e->h.order != FEED_PRIV_ORDER_MAX)) {
        return ERR_FORMAT;
    }
    size_t body_len = 0;
    int err = 0;
    enum judged how = entry_judge(f, fd, &at, e, &body_len);
    if (how == JUDGED_FORGED) {
        err = ERR_AUTH;
    } else if (how == JUDGED_OK || may_vouch(f, s->dev, fd->dev, how)) {
        err = take_entry(f, t, s, fd, e, &at, how, body_len);
    }
    /* Else a relay brings what we cannot check: the author itself has to. */
    sodium_memzero(&at, sizeof at);
    sodium_memzero(f->body, body_len);
    return err;
}

int entry_recv(struct feeds *f, struct txn *t, struct dev *from, const uint8_t *p,
               size_t len)
{
    struct entry e;
    if (!entry_get(p, len, &e)) {
        return ERR_FORMAT;
    }
    struct conv *c = conv_by_cid(f, e.h.conv);
    struct seat *s = c == NULL ? NULL : seat_of(c, from);
    struct dev *author = dev_by_id(f, e.h.device);
    if (s == NULL || author == NULL || !author->known ||
        !conv_has(c, author->acc->root)) {
        return 0; /* not ours to know, or no longer */
    }
    struct feed *fd = feed_find(f, c, author, e.h.gen);
    bool taken = false;
    if (author->acc == f->own->acc && !self_ok(f, &e)) {
        /* Whoever relays it cannot know: no reason to end its link. */
        s->liar = true;
        if (fd != NULL) {
            diff_stop(f, fd);
        }
        return 0;
    }
    if (fd != NULL && fd->diff != NULL) {
        int err = diff_entry(f, t, s, fd, &e, &taken);
        if (err != 0 || taken) {
            return err;
        }
    }
    if (author == f->own) {
        return 0; /* only what was asked for */
    }
    bool fresh = fd == NULL;
    if (fresh) {
        int err = e.h.seq != 1 ? ERR_LIMIT : feed_stub(f, c, author, e.h.gen, &fd);
        if (err != 0) {
            return err == ERR_NOMEM ? err : 0;
        }
    }
    int err = feed_accept(f, t, s, fd, &e);
    if (fresh && fd->r.id == 0 && fd->diff == NULL) {
        feed_stub_drop(f, fd);
    }
    return err;
}
