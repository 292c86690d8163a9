/* Meeting through the DHT, for tests: one person whose requests the test answers. */
#ifndef LINNET_TESTS_MEET_LONE_H
#define LINNET_TESTS_MEET_LONE_H

#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/deadline.h"
#include "base/err.h"
#include "meet.h"
#include "seeded.h"

enum {
    LOG_MAX = 20000,
    S = 1000,
    MINUTE = 60 * S,
    HOUR = 60 * MINUTE,
    EPOCH_S = BLIND_EPOCH_S,
    T0_S = 1800000000,
};

struct entry {
    uint64_t at_ms;
    struct meet_out out;
};

/* Requests are logged and, unless `hold`, answered as the members say. */
struct lone {
    uint64_t rng, now_ms, wall_s; /* wall_s: at now_ms 0 */
    struct env env;
    struct meet *m;
    uint8_t device[32], p[32], seed[32], a[32];
    bool hold;
    enum meet_end puts, gets;
    uint64_t newest; /* told of puts: what stands there */
    bool beaten;     /* of each put: something newer stands there */
    bool there;      /* looks at own places find what was put */
    struct entry *log;
    size_t n;
    struct meet_event events[4096];
    size_t n_events;
};

static inline uint64_t wall(void *ctx)
{
    const struct lone *l = ctx;
    return (l->wall_s * S + l->now_ms) * 1000;
}

static inline void random_bytes(void *ctx, void *buf, size_t len)
{
    struct lone *l = ctx;
    seeded(&l->rng, buf, len);
}

static inline uint64_t wall_s(const struct lone *l)
{
    return l->wall_s + l->now_ms / S;
}

static inline struct wire_where where_of(uint8_t host, enum wire_nat nat)
{
    struct wire_where v = {.nat = nat, .n_udp = 1};
    v.udp[0] = (struct addr){.family = 4, .ip = {192, 0, 2, host}, .port = 7679};
    return v;
}

/* Offline; knows itself and where it is. wall: in the middle of an epoch of its p. */
static inline struct lone *lone(void)
{
    struct lone *l = calloc(1, sizeof *l);
    struct wire_where where = where_of(1, WIRE_NAT_NONE);
    cr_assert(l != NULL && sodium_init() >= 0);
    l->log = calloc(LOG_MAX, sizeof *l->log);
    cr_assert_not_null(l->log);
    l->rng = 7;
    l->env = (struct env){.ctx = l, .random = random_bytes, .wall_us = wall};
    random_bytes(l, l->device, 32);
    random_bytes(l, l->p, 32);
    random_bytes(l, l->seed, 32);
    blind_point(l->seed, l->a);
    uint64_t off = blind_offset(l->p);
    l->wall_s = T0_S - blind_epoch_age(off, T0_S) + EPOCH_S / 2;
    l->now_ms = 1000;
    l->puts = l->gets = MEET_ANSWERED;
    l->there = true;
    l->m = meet_new(&l->env);
    cr_assert_not_null(l->m);
    meet_set_self(l->m, l->device, l->p, l->seed, l->now_ms);
    meet_set_where(l->m, &where, l->now_ms);
    return l;
}

static inline void done(struct lone *l)
{
    meet_free(l->m);
    free(l->log);
    free(l);
}

/* What an item of ours must be. */
static inline void check_put(const struct meet_out *out)
{
    uint8_t text[WIRE_ITEM_SIGNED_MAX];
    struct wr w = wr_init(text, sizeof text);
    wire_item_signed(&w, out->seq, out->v, sizeof out->v);
    cr_assert_eq(crypto_sign_verify_detached(out->sig, text, w.len, out->pub), 0);
    cr_assert_not_null(wire_item_get(out->v, sizeof out->v));
    cr_assert_gt(out->seq, 0);
}

/* The newest put under that key, or NULL. */
static const struct meet_out *last_put(const struct lone *l, const uint8_t pub[32])
{
    for (size_t i = l->n; i-- > 0;) {
        if (l->log[i].out.kind == MEET_PUT && memcmp(l->log[i].out.pub, pub, 32) == 0) {
            return &l->log[i].out;
        }
    }
    return NULL;
}

static inline void answer(struct lone *l, const struct meet_out *out)
{
    if (out->kind == MEET_PUT) {
        uint64_t newest = l->beaten ? out->seq + 1 : l->newest;
        meet_done(l->m, out->id, l->puts, newest, l->now_ms);
        return;
    }
    const struct meet_out *put = last_put(l, out->pub);
    if (l->there && put != NULL && out->kind != MEET_GET) {
        (void)meet_value(l->m, out->id, put->seq, put->v, sizeof put->v, put->sig,
                         l->now_ms);
    }
    meet_done(l->m, out->id, l->gets, 0, l->now_ms);
}

static inline void drain(struct lone *l)
{
    struct meet_out out;
    while (meet_next_out(l->m, &out)) {
        cr_assert_lt(l->n, LOG_MAX);
        l->log[l->n++] = (struct entry){l->now_ms, out};
        if (out.kind == MEET_PUT) {
            check_put(&out);
        }
        if (!l->hold) {
            answer(l, &out);
        }
    }
    while (l->n_events < 4096 && meet_next_event(l->m, &l->events[l->n_events])) {
        l->n_events++;
    }
}

static inline void run(struct lone *l, uint64_t ms)
{
    uint64_t end_ms = l->now_ms + ms;
    drain(l);
    while (meet_deadline(l->m) <= end_ms) {
        uint64_t at_ms = meet_deadline(l->m);
        l->now_ms = at_ms > l->now_ms ? at_ms : l->now_ms;
        meet_tick(l->m, l->now_ms);
        drain(l);
    }
    l->now_ms = end_ms;
}

static inline void online(struct lone *l)
{
    meet_set_online(l->m, true, l->now_ms);
}

static inline size_t count(const struct lone *l, enum meet_out_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++) {
        n += l->log[i].out.kind == kind;
    }
    return n;
}

static inline size_t count_pub(const struct lone *l, enum meet_out_kind kind,
                               const uint8_t pub[32])
{
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++) {
        n += l->log[i].out.kind == kind && memcmp(l->log[i].out.pub, pub, 32) == 0;
    }
    return n;
}

static inline size_t count_events(const struct lone *l, enum meet_event_type type)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n_events; i++) {
        n += l->events[i].type == type;
    }
    return n;
}

static inline void clear(struct lone *l)
{
    l->n = l->n_events = 0;
}

/* The key of our own whereabouts, `ahead` epochs from now. */
static inline void own_pub(const struct lone *l, int ahead, uint8_t pub[32])
{
    uint64_t e = blind_epoch(blind_offset(l->p), wall_s(l)) + (uint64_t)ahead;
    cr_assert_eq(blind_pub(l->p, l->a, e, pub), 0);
}

static inline void open_where(const struct meet_out *out, const uint8_t seal[32],
                              struct wire_where *where)
{
    uint8_t content[BLIND_CONTENT_MAX];
    size_t n;
    cr_assert_eq(blind_open(seal, out->pub, out->seq,
                            wire_item_get(out->v, sizeof out->v), BLIND_VALUE, content,
                            &n),
                 0);
    cr_assert(wire_where_get(content, n, where));
}

/* ---- others ---- */

/* Another person, as the test plays it. */
struct other {
    uint8_t p[32], seed[32];
    struct meet_contact c;
};

static inline struct other other(struct lone *l, uint32_t ref)
{
    struct other o = {.c = {.ref = ref, .has_presence = true, .acked = true}};
    random_bytes(l, o.p, 32);
    random_bytes(l, o.seed, 32);
    random_bytes(l, o.c.device, 32);
    random_bytes(l, o.c.pair, 32);
    memcpy(o.c.p, o.p, 32);
    blind_point(o.seed, o.c.a);
    return o;
}

static inline struct other befriend(struct lone *l, uint32_t ref)
{
    struct other o = other(l, ref);
    cr_assert_eq(meet_contact(l->m, &o.c, l->now_ms), 0);
    return o;
}

static inline void other_pub(const struct lone *l, const struct other *o, int ahead,
                             uint8_t pub[32])
{
    uint64_t e = blind_epoch(blind_offset(o->p), wall_s(l)) + (uint64_t)ahead;
    cr_assert_eq(blind_pub(o->p, o->c.a, e, pub), 0);
}

static inline void pair_pub(const struct lone *l, const struct other *o, int ahead,
                            uint8_t pub[32])
{
    struct blind_slot s;
    uint64_t e = blind_epoch(blind_offset(o->c.pair), wall_s(l)) + (uint64_t)ahead;
    blind_pair_slot(o->c.pair, o->c.device, e, &s);
    memcpy(pub, s.key.pub, 32);
}

struct item {
    uint8_t v[WIRE_ITEM_VALUE], sig[64];
    uint64_t seq;
};

static inline struct item make_item(const struct blind_key *k, const uint8_t seal[32],
                                    uint64_t seq, const struct wire_where *where)
{
    struct item it = {.seq = seq};
    uint8_t content[WIRE_WHERE_MAX], value[BLIND_VALUE], text[WIRE_ITEM_SIGNED_MAX];
    static const uint8_t nonce[BLIND_NONCE] = {9}, fresh[BLIND_RANDOM] = {8};
    struct wr w = wr_init(content, sizeof content);
    wire_where_put(&w, where);
    cr_assert_eq(blind_seal(seal, k->pub, seq, nonce, content, w.len, value), 0);
    w = wr_init(it.v, sizeof it.v);
    wire_item_put(&w, value);
    w = wr_init(text, sizeof text);
    wire_item_signed(&w, seq, it.v, sizeof it.v);
    cr_assert_eq(blind_sign(k, text, w.len, fresh, it.sig), 0);
    return it;
}

/* Whereabouts of another, as it would put them. */
static inline struct item word_of(const struct lone *l, const struct other *o, int ahead,
                                  uint64_t seq, const struct wire_where *where)
{
    struct blind_key k;
    uint8_t seal[32];
    uint64_t e = blind_epoch(blind_offset(o->p), wall_s(l)) + (uint64_t)ahead;
    cr_assert_eq(blind_key(o->p, o->seed, e, &k), 0);
    blind_where_seal(o->p, e, seal);
    return make_item(&k, seal, seq, where);
}

static inline struct item pair_word_of(const struct lone *l, const struct other *o,
                                       uint64_t seq, const struct wire_where *where)
{
    struct blind_slot s;
    blind_pair_slot(o->c.pair, o->c.device,
                    blind_epoch(blind_offset(o->c.pair), wall_s(l)), &s);
    return make_item(&s.key, s.seal, seq, where);
}

static inline int give(struct lone *l, uint32_t id, const struct item *it)
{
    return meet_value(l->m, id, it->seq, it->v, sizeof it->v, it->sig, l->now_ms);
}

/* Runs until a request of that kind (and key, or NULL) is logged; its place in the log.
 */
static inline size_t wait_for(struct lone *l, enum meet_out_kind kind, const uint8_t *pub,
                              uint64_t most_ms)
{
    size_t i = 0;
    uint64_t end_ms = l->now_ms + most_ms;
    for (;;) {
        drain(l);
        for (; i < l->n; i++) {
            if (l->log[i].out.kind == kind &&
                (pub == NULL || memcmp(l->log[i].out.pub, pub, 32) == 0)) {
                return i;
            }
        }
        cr_assert_leq(meet_deadline(l->m), end_ms, "no such request");
        run(l, meet_deadline(l->m) > l->now_ms ? meet_deadline(l->m) - l->now_ms : 0);
    }
}

/* Moves the clock so that o's epoch is that old. */
static inline void at_age(struct lone *l, const struct other *o, uint64_t age_s)
{
    uint64_t age = blind_epoch_age(blind_offset(o->p), wall_s(l));
    l->wall_s += EPOCH_S + age_s - age;
}

#endif
