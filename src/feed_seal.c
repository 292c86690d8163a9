/* Box keys, and the boxes of `keys` entries.
 *
 * A `keys` box: ephemeral 32 ‖ signing key 32 (zeros between two) ‖ n × CHAIN_SEAL. The
 * associated data of each copy is the entry's header without `b`, and the signing key: so
 * a copy vouches for the whole entry, in the place where it stands. */
#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "base/err.h"
#include "crypto/kdf.h"
#include "feed_priv.h"

#define LABEL_SIGN "linnet entry signature v1"

enum { PREFIX = 8 }; /* of a device id, before its copy */

/* ---- box keys ---- */

int box_load(struct feeds *f, const struct rec_boxkey *r)
{
    if (f->n_box == FEED_PRIV_BOXKEYS) {
        return ERR_LIMIT;
    }
    size_t i = f->n_box++;
    for (; i > 0 && f->box[i - 1].created_s > r->created_s; i--) {
        f->box[i] = f->box[i - 1];
    }
    memcpy(f->box[i].pub, r->pub, sizeof r->pub);
    memcpy(f->box[i].sec, r->sec, sizeof r->sec);
    f->box[i].created_s = r->created_s;
    return 0;
}

bool box_known(const struct feeds *f, const uint8_t pub[32])
{
    bool known = false;
    for (size_t i = 0; i < f->n_box; i++) {
        known = known || memcmp(f->box[i].pub, pub, 32) == 0;
    }
    return known;
}

void box_gone(struct feeds *f, uint64_t time_s)
{
    uint64_t newest = f->n_box > 0 ? f->box[f->n_box - 1].created_s : 0;
    f->box_after = time_s > f->box_after ? time_s : f->box_after;
    if (newest <= time_s) { /* one made meanwhile would not be taken for the newer */
        f->box_lost = true;
        f->box_renewed = false;
    }
}

static int box_record(struct txn *t, const struct boxkey *b, bool del)
{
    struct rec r = {.kind = REC_BOXKEY, .del = del};
    memcpy(r.u.boxkey.pub, b->pub, sizeof b->pub);
    if (!del) {
        memcpy(r.u.boxkey.sec, b->sec, sizeof b->sec);
    }
    r.u.boxkey.created_s = b->created_s;
    return txn_add(t, &r);
}

static int box_drop_oldest(struct feeds *f, struct txn *t)
{
    int err = box_record(t, &f->box[0], true);
    f->n_box--;
    memmove(f->box, f->box + 1, f->n_box * sizeof f->box[0]);
    sodium_memzero(&f->box[f->n_box], sizeof f->box[0]);
    return err;
}

/* A key goes 90 days after the next one was made, and not by its own age: a clock that
 * jumps makes a new key, and must not take the one that others still seal to. */
int box_new(struct feeds *f, struct txn *t, uint64_t wall_s)
{
    int err = 0;
    while (err == 0 && f->n_box > 0 &&
           (f->n_box == FEED_PRIV_BOXKEYS ||
            (f->n_box > 1 && f->box[1].created_s + FEEDS_BOXKEY_KEEP_S < wall_s))) {
        err = box_drop_oldest(f, t);
    }
    struct boxkey *b = &f->box[f->n_box];
    /* Others take the key with the latest time for the newest, whatever our clock did. */
    uint64_t after = f->n_box > 0 ? f->box[f->n_box - 1].created_s + 1 : 0;
    after = f->box_after >= after ? f->box_after + 1 : after;
    b->created_s = wall_s > after ? wall_s : after;
    env_random(f->self.env, b->sec, sizeof b->sec);
    keys_public(b->sec, b->pub);
    f->n_box++;
    return err == 0 ? box_record(t, b, false) : err;
}

void feeds_box(const struct feeds *f, uint8_t pub[32], uint64_t *created_s)
{
    memset(pub, 0, 32);
    *created_s = 0;
    if (f->n_box > 0) {
        memcpy(pub, f->box[f->n_box - 1].pub, 32);
        *created_s = f->box[f->n_box - 1].created_s;
    }
}

bool feeds_box_rotate(struct feeds *f, struct txn *t, uint64_t wall_s)
{
    uint64_t made = f->n_box > 0 ? f->box[f->n_box - 1].created_s : 0;
    bool old = wall_s >= made + FEEDS_BOXKEY_S;
    bool ahead = made > wall_s + FEEDS_BOXKEY_S; /* the clock was far ahead then */
    if (f->n_box > 0 && !old && !ahead) {
        return false;
    }
    return box_new(f, t, wall_s) == 0;
}

/* ---- chains ---- */

bool chain_fit(const struct feeds *f, const struct conv *c, const struct feed *fd)
{
    uint64_t now = env_wall_ms(f->self.env) / 1000, made = fd->r.chain_created_s;
    return fd->r.chain_start != 0 && c->chain_epoch == c->epoch &&
           fd->r.chain_n < WIRE_CHAIN_ENTRIES_MAX && now < made + FEEDS_CHAIN_S &&
           made < now + FEEDS_CHAIN_S;
}

/* The pair's secret goes into what is sealed between the two accounts of a pair, not into
 * what an account's devices seal to one another. */
static bool pair_secret(const struct conv *c, const struct account *own,
                        const struct account *other, const uint8_t **pair)
{
    *pair = NULL;
    if (c->r.kind != CONV_PAIR || own == other) {
        return true;
    }
    *pair = other->pair;
    return other->has_pair;
}

/* The copy for the device that writes is sealed to its static key and not to a box key: a
 * home set back to an old copy has lost newer box keys, and must still read what it takes
 * back (docs/THREATS.md, "Known limits"). */
static size_t seal_copies(struct feeds *f, struct conv *c,
                          const uint8_t secret[CHAIN_SECRET], const uint8_t eph_sec[32],
                          size_t ad_len, struct wr *w)
{
    size_t n = 0;
    for (size_t i = 0; i <= c->n_seats && n < WIRE_DEVICES_MAX; i++) {
        const struct dev *d = i == 0 ? f->own : c->seats[i - 1]->dev;
        const uint8_t *box = i == 0 ? d->stat : d->box, *pair;
        uint8_t copy[CHAIN_SEAL];
        if (!d->known || !pair_secret(c, f->own->acc, d->acc, &pair) ||
            chain_seal_secret(secret, eph_sec, f->self.stat_sec, box, d->id, pair, f->ad,
                              ad_len, copy) != 0) {
            continue; /* gone, or its key is no key */
        }
        wr_bytes(w, copy, sizeof copy);
        n++;
    }
    return n;
}

int keys_box_put(struct feeds *f, struct feed *fd, const uint8_t *ad, size_t ad_len,
                 size_t *box_len)
{
    struct conv *c = fd->conv;
    struct chain chain;
    uint8_t eph_sec[32], eph_pub[32], seed[crypto_sign_SEEDBYTES];
    assert(ad == f->ad && f->n_box > 0);
    chain_start(&chain, f->self.env);
    env_random(f->self.env, eph_sec, sizeof eph_sec);
    keys_public(eph_sec, eph_pub);
    if (c->r.kind == CONV_GROUP) {
        env_random(f->self.env, seed, sizeof seed);
        (void)crypto_sign_seed_keypair(fd->r.sign_pub, fd->r.sign_sec, seed);
        sodium_memzero(seed, sizeof seed);
    }
    memcpy(f->ad + ad_len, fd->r.sign_pub, sizeof fd->r.sign_pub);
    struct wr w = wr_init(f->box_buf, sizeof f->box_buf);
    wr_bytes(&w, eph_pub, sizeof eph_pub);
    wr_bytes(&w, fd->r.sign_pub, sizeof fd->r.sign_pub);
    (void)seal_copies(f, c, chain.secret, eph_sec, ad_len + sizeof fd->r.sign_pub, &w);
    fd->r.chain_start = fd->r.head + 1;
    fd->r.chain_n = 0;
    fd->r.chain_created_s = env_wall_ms(f->self.env) / 1000;
    memcpy(fd->r.chain_secret, chain.secret, sizeof chain.secret);
    chain_release(&chain);
    sodium_memzero(eph_sec, sizeof eph_sec);
    *box_len = w.len;
    return wr_ok(&w) ? 0 : ERR_LIMIT;
}

/* The copies of a `keys` box; false when it cannot be one. */
static bool box_copies(const struct entry *e, struct rd *r, const uint8_t **eph,
                       const uint8_t **sign)
{
    *r = rd_init(e->w.box, e->w.box_len);
    *eph = rd_bytes(r, 32);
    *sign = rd_bytes(r, 32);
    return rd_ok(r) && r->n % CHAIN_SEAL == 0 && r->n / CHAIN_SEAL <= WIRE_DEVICES_MAX;
}

bool keys_box_has(const struct entry *e, const uint8_t device[WIRE_ID])
{
    struct rd r;
    const uint8_t *eph, *sign;
    if (!box_copies(e, &r, &eph, &sign)) {
        return false;
    }
    while (r.n > 0) {
        if (memcmp(rd_bytes(&r, CHAIN_SEAL), device, PREFIX) == 0) {
            return true;
        }
    }
    return false;
}

static int open_copy(struct feeds *f, const struct feed *fd, const uint8_t *copy,
                     const uint8_t *eph, const uint8_t *pair, size_t ad_len,
                     uint8_t secret[CHAIN_SECRET])
{
    if (fd->dev == f->own) {
        return chain_open_secret(copy, eph, fd->dev->stat, f->self.stat_sec,
                                 f->self.device, pair, f->ad, ad_len, secret);
    }
    for (size_t i = f->n_box; i > 0; i--) {
        if (chain_open_secret(copy, eph, fd->dev->stat, f->box[i - 1].sec, f->self.device,
                              pair, f->ad, ad_len, secret) == 0) {
            return 0;
        }
    }
    return ERR_AUTH;
}

int keys_box_get(struct feeds *f, const struct feed *fd, const struct entry *e,
                 uint8_t secret[CHAIN_SECRET], uint8_t sign_pub[32])
{
    struct rd r;
    const uint8_t *eph, *sign, *pair;
    if (!box_copies(e, &r, &eph, &sign)) {
        return ERR_FORMAT;
    }
    struct wr ad = wr_init(f->ad, sizeof f->ad);
    wire_header_put(&ad, &e->h, false);
    wr_bytes(&ad, sign, 32);
    if (!wr_ok(&ad) || !pair_secret(fd->conv, f->own->acc, fd->dev->acc, &pair)) {
        return ERR_NOTFOUND;
    }
    unsigned tried = 0;
    while (r.n > 0 && tried < FEED_PRIV_COPIES) {
        const uint8_t *copy = rd_bytes(&r, CHAIN_SEAL);
        if (memcmp(copy, f->self.device, PREFIX) != 0) {
            continue;
        }
        tried++;
        if (open_copy(f, fd, copy, eph, pair, ad.len, secret) == 0) {
            memcpy(sign_pub, sign, 32);
            return 0;
        }
    }
    return tried > 0 ? ERR_AUTH : ERR_NOTFOUND;
}

/* ---- signatures ---- */

static void sign_input(const uint8_t id[WIRE_ID], uint8_t out[32])
{
    kdf_hash(out, 32, NULL, LABEL_SIGN, id, (size_t)WIRE_ID, NULL);
}

void sign_entry(const struct feed *fd, const uint8_t id[WIRE_ID], uint8_t sig[WIRE_SIGN])
{
    uint8_t m[32];
    sign_input(id, m);
    (void)crypto_sign_detached(sig, NULL, m, sizeof m, fd->r.sign_sec);
}

bool sign_ok(const uint8_t pub[32], const uint8_t id[WIRE_ID],
             const uint8_t sig[WIRE_SIGN])
{
    uint8_t m[32];
    sign_input(id, m);
    return crypto_sign_verify_detached(sig, m, sizeof m, pub) == 0;
}
