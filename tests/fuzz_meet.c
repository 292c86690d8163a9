/* One person who meets others through a DHT that does anything at any time. The input is
 * a sequence of steps: time passes; a request ends; a value comes, raw, or with content
 * from the input, sealed and signed by who may write there; what is known changes.
 *
 * What must hold: puts are signed rightly, there are never more requests under way than
 * there may be (asserted within), and time goes on. */
#include <assert.h>
#include <string.h>

#include <sodium.h>

#include "base/deadline.h"
#include "meet.h"
#include "seeded.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    OUTS = 64, /* under way */
    STEPS_MAX = 48,
    TICKS_MAX = 12, /* of one step; what is left is done at its end … */
    DUE_MAX = 200,  /* … in so many */
    CONTACT = 1,
    INVITE = 2,
    CODE = 3,
};

struct world {
    uint64_t rng, now_ms, wall_s;
    struct env env;
    struct meet *m;
    struct meet_out outs[OUTS];
    size_t n;
    uint8_t p[32], seed[32], device[32]; /* own */
    uint8_t their_seed[32];
    struct meet_contact c;
    uint8_t invite[32], code[32];
};

static uint64_t wall(void *ctx)
{
    const struct world *w = ctx;
    return w->wall_s * 1000000 + w->now_ms * 1000;
}

static void bytes(void *ctx, void *buf, size_t len)
{
    struct world *w = ctx;
    seeded(&w->rng, buf, len);
}

static void drain(struct world *w)
{
    struct meet_event e;
    struct meet_out out;
    while (meet_next_event(w->m, &e)) {
        assert(!e.where.has_presence);
        assert(e.ref == CONTACT || e.ref == INVITE || e.ref == CODE);
    }
    while (meet_next_out(w->m, &out)) {
        if (out.kind == MEET_PUT) {
            uint8_t text[WIRE_ITEM_SIGNED_MAX];
            struct wr t = wr_init(text, sizeof text);
            wire_item_signed(&t, out.seq, out.v, sizeof out.v);
            int rc = blind_verify(out.pub, text, t.len, out.sig);
            assert(rc == 0);
        }
        if (w->n == OUTS) { /* the oldest is forgotten: it never ends */
            memmove(&w->outs[0], &w->outs[1], (OUTS - 1) * sizeof w->outs[0]);
            w->n--;
        }
        w->outs[w->n++] = out;
    }
}

static void pass(struct world *w, uint64_t ms)
{
    uint64_t end_ms = w->now_ms + ms;
    for (size_t i = 0; i < TICKS_MAX && meet_deadline(w->m) <= end_ms; i++) {
        uint64_t at_ms = meet_deadline(w->m);
        w->now_ms = at_ms > w->now_ms ? at_ms : w->now_ms;
        meet_tick(w->m, w->now_ms);
        drain(w);
    }
    w->now_ms = end_ms;
    /* What is due now is done in few steps. */
    for (size_t i = 0; meet_deadline(w->m) <= w->now_ms; i++) {
        assert(i < DUE_MAX);
        meet_tick(w->m, w->now_ms);
        drain(w);
    }
}

/* The keys of all places that others may write in one epoch, made once. */
struct places {
    bool made;
    uint64_t wall_s; /* when */
    uint8_t own;     /* first byte of our p */
    struct blind_slot v[4 + BLIND_KNOCK_SLOTS];
};

static void make_places(const struct world *w, struct places *c, uint64_t t)
{
    uint64_t e = blind_epoch(blind_offset(w->c.p), t);
    c->made = true;
    c->wall_s = t;
    c->own = w->p[0];
    int rc = blind_key(w->c.p, w->their_seed, e, &c->v[0].key);
    assert(rc == 0);
    blind_where_seal(w->c.p, e, c->v[0].seal);
    blind_pair_slot(w->c.pair, w->c.device, blind_epoch(blind_offset(w->c.pair), t),
                    &c->v[1]);
    blind_invite_slot(w->code, blind_epoch(blind_offset(w->code), t), &c->v[2]);
    blind_invite_knock(w->invite, blind_epoch(blind_offset(w->invite), t), &c->v[3]);
    e = blind_epoch(blind_offset(w->p), t);
    for (unsigned i = 0; i < BLIND_KNOCK_SLOTS; i++) {
        blind_knock_slot(w->p, e, i, &c->v[4 + i].key);
        blind_knock_seal(w->c.pair, w->c.device, w->device, c->v[4 + i].seal);
    }
}

/* The key and seal of a place that others may write, when pub is one. */
static bool writer(const struct world *w, const uint8_t pub[32], struct blind_slot *s)
{
    static struct places cache[64];
    uint64_t t = w->wall_s + w->now_ms / 1000;
    struct places *c = &cache[t / 1024 % 64];
    if (!c->made || c->wall_s / 1024 != t / 1024 || c->own != w->p[0]) {
        make_places(w, c, t);
    }
    for (size_t i = 0; i < sizeof c->v / sizeof c->v[0]; i++) {
        if (memcmp(c->v[i].key.pub, pub, 32) == 0) {
            *s = c->v[i];
            return true;
        }
    }
    return false;
}

static void signed_value(struct world *w, const struct meet_out *out, uint64_t seq,
                         const uint8_t *content, size_t len)
{
    static const uint8_t nonce[BLIND_NONCE] = {1}, fresh[BLIND_RANDOM] = {1};
    uint8_t value[BLIND_VALUE], v[WIRE_ITEM_VALUE], text[WIRE_ITEM_SIGNED_MAX], sig[64];
    struct blind_slot s;
    if (!writer(w, out->pub, &s) ||
        blind_seal(s.seal, out->pub, seq, nonce, content, len, value) != 0) {
        return;
    }
    struct wr i = wr_init(v, sizeof v), t = wr_init(text, sizeof text);
    wire_item_put(&i, value);
    wire_item_signed(&t, seq, v, sizeof v);
    if (wr_ok(&t) && blind_sign(&s.key, text, t.len, fresh, sig) == 0) {
        (void)meet_value(w->m, out->id, seq, v, sizeof v, sig, w->now_ms);
    }
}

static void set_where(struct world *w, uint8_t host)
{
    struct wire_where where = {.nat = host % 4, .n_udp = host != 0};
    where.udp[0] = (struct addr){.family = 4, .ip = {192, 0, 2, host}, .port = 7679};
    meet_set_where(w->m, &where, w->now_ms);
}

static void change(struct world *w, uint8_t what, uint8_t arg)
{
    switch (what % 10) {
    case 0:
        meet_set_online(w->m, arg & 1, w->now_ms);
        break;
    case 1:
        meet_set_hidden(w->m, arg & 1, w->now_ms);
        break;
    case 2:
        meet_network_changed(w->m, w->now_ms);
        break;
    case 3:
        set_where(w, arg);
        break;
    case 4:
        meet_want(w->m, CONTACT, arg & 1, w->now_ms);
        break;
    case 5:
        meet_reached(w->m, MEET_CONTACT + arg % 3, CONTACT + arg % 3, arg & 8, w->now_ms);
        break;
    case 6:
        meet_forget(w->m, MEET_CONTACT + arg % 3, CONTACT + arg % 3);
        break;
    case 7:
        w->c.acked = arg & 1;
        w->c.has_presence = arg & 2;
        (void)meet_contact(w->m, &w->c, w->now_ms);
        (void)meet_invite(w->m, INVITE, w->invite, w->now_ms);
        (void)meet_adding(w->m, CODE, w->code, w->now_ms);
        break;
    case 8:
        w->wall_s += (uint64_t)arg * 900;
        break;
    case 9:
        w->p[0] = arg;
        meet_set_self(w->m, w->device, w->p, w->seed, w->now_ms);
        break;
    }
}

static void start(struct world *w)
{
    memset(w, 0, sizeof *w);
    w->wall_s = 1800000000;
    w->now_ms = 1000;
    w->env = (struct env){.ctx = w, .random = bytes, .wall_us = wall};
    bytes(w, w->p, 32);
    bytes(w, w->seed, 32);
    bytes(w, w->device, 32);
    bytes(w, w->their_seed, 32);
    bytes(w, w->invite, 32);
    bytes(w, w->code, 32);
    w->c = (struct meet_contact){.ref = CONTACT, .has_presence = true};
    bytes(w, w->c.p, 32);
    bytes(w, w->c.device, 32);
    bytes(w, w->c.pair, 32);
    blind_point(w->their_seed, w->c.a);
    w->m = meet_new(&w->env);
    assert(w->m != NULL);
    meet_set_self(w->m, w->device, w->p, w->seed, w->now_ms);
    set_where(w, 1);
    change(w, 7, 2);
    change(w, 0, 1);
    drain(w);
}

/* One step; false at the end of the input. */
static bool step(struct world *w, struct rd *r)
{
    static const uint8_t no_sig[64];
    uint8_t what = rd_u8(r), arg = rd_u8(r);
    const struct meet_out *out = w->n > 0 ? &w->outs[arg % w->n] : NULL;
    switch (what % 5) {
    case 0:
        pass(w, (uint64_t)rd_u16(r) << arg % 12);
        break;
    case 1: {
        uint64_t newest = what & 0x80 ? rd_u64(r) : 0;
        if (out != NULL) {
            meet_done(w->m, out->id, what & 0x40 ? MEET_UNASKED : MEET_ANSWERED, newest,
                      w->now_ms);
        }
        break;
    }
    case 2:
    case 3: {
        uint64_t seq = rd_u64(r);
        size_t len = rd_u16(r);
        const uint8_t *p = rd_bytes(r, len);
        if (p != NULL && out != NULL && what % 5 == 2) {
            (void)meet_value(w->m, out->id, seq, p, len, no_sig, w->now_ms);
        } else if (p != NULL && out != NULL) {
            signed_value(w, out, seq, p, len);
        }
        break;
    }
    case 4:
        change(w, what / 5, arg);
        break;
    }
    drain(w);
    return rd_ok(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world w;
    struct meet_stats stats;
    struct rd r = rd_init(data, size);
    start(&w);
    for (size_t i = 0; i < STEPS_MAX && r.n > 0 && step(&w, &r); i++) {
        meet_stats(w.m, &stats);
        assert(stats.known <= 3);
    }
    pass(&w, 100000);
    meet_free(w.m);
    return 0;
}
