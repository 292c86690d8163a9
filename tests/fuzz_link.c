/* A link fed with anything: raw bytes at any stage, an honest exchange with bits of it
 * changed, bodies sealed by a peer who is known but hostile, a hostile message 3.
 *
 *   flags 1 ‖ chunk 1 ‖ data
 *
 * Flags give the kind of link: INVITE alone, with NETWORK or with STRANGER; a hostile
 * message 3 is of an invite unless they say otherwise. That of an invite may begin with a
 * CALL, which is then on its way to the dialler.
 *
 * Changed bytes are the honest ones XOR data, so that zeros are an honest exchange and
 * the corpus does not age. The rest of the honest bytes goes unchanged. */
#include <assert.h>
#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "link_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum flags {
    INVITE = 1,
    TO_DIALLER = 2,
    UP_FIRST = 4,
    REHS = 8, /* with UP_FIRST, contacts: a new handshake has begun */
    CALL = 8, /* with INVITE alone */
    NETWORK = 0x40,
    STRANGER = 0x80,
    MODE = 0x30,
    MODE_RAW = 0,
    MODE_XOR = 0x10,
    MODE_BODIES = 0x20,
    MODE_MESSAGE3 = 0x30,
};

/* Feeds one end and looks at what it does. */
static void feed(struct world *w, struct end *to, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t piece = n - i < w->chunk ? n - i : w->chunk;
        int rc = link_recv(to->l, p + i, piece, w->now);
        world_events(to);
        if (rc != 0) {
            assert(!link_is_up(to->l));
            assert(to->closes == 1 || to->l->state == LINK_CLOSING);
        }
        i += piece;
    }
}

/* What one end has sent reaches the other, XOR data. True when that changed a byte. */
static bool cross(struct world *w, struct end *from, struct end *to, const uint8_t **p,
                  size_t *n)
{
    bool changed = false;
    size_t len = from->wire.len;
    static uint8_t bytes[1 << 16];
    if (len > sizeof bytes) {
        len = sizeof bytes;
    }
    memcpy(bytes, buf_data(&from->wire), len);
    for (size_t i = 0; i<len && * n> 0; i++) {
        bytes[i] ^= **p;
        changed = changed || **p != 0;
        (*p)++;
        (*n)--;
    }
    buf_consume(&from->wire, len);
    feed(w, to, bytes, len);
    return changed;
}

static void honest_but_changed(struct world *w, struct end *from, struct end *to,
                               const uint8_t *p, size_t n)
{
    bool changed = false;
    for (int round = 0; round < 6; round++) {
        (void)world_drain(w, from);
        (void)world_drain(w, to);
        if (from->wire.len > 0) {
            changed = cross(w, from, to, &p, &n) || changed;
        }
        assert(!changed || (to->ups == 0 && to->frames == 0));
        while (to->wire.len > 0) {
            world_deliver(w, to, from);
        }
    }
    assert(changed || (to->ups == 1 && from->ups == 1));
}

/* Bodies (length 2 ‖ bytes) of a peer who has all keys. */
static void bodies(struct world *w, struct end *from, struct end *to, const uint8_t *p,
                   size_t n)
{
    static uint8_t out[WORLD_OUT];
    struct rd r = rd_init(p, n);
    while (r.n >= 2 && !from->l->s->t.failed && to->closes == 0) {
        size_t len = rd_u16(&r);
        len = len < r.n ? len : r.n;
        const uint8_t *body = rd_bytes(&r, len);
        int rc = transport_seal(&from->l->s->t, body, len, out);
        assert(rc == 0);
        (void)rc;
        feed(w, to, out, len + TRANSPORT_OVERHEAD);
        world_drain(w, to);
    }
}

/* The dialler of a link with certificates seals any payload as message 3. */
static void message3(struct world *w, const uint8_t *p, size_t n)
{
    uint8_t payload[WIRE_RECORD3] = {0}, honest[WIRE_RECORD3] = {0}, rec[WIRE_RECORD3];
    while (w->s.wire.len > 0) { /* the call, if there is one */
        (void)world_deliver(w, &w->s, &w->d);
    }
    (void)world_drain(w, &w->d);
    feed(w, &w->s, buf_data(&w->d.wire), w->d.wire.len);
    (void)world_drain(w, &w->s);
    assert(w->s.wire.len == WIRE_RECORD2);
    struct link_session *d = w->d.l->s;
    uint8_t msg2[WIRE_RECORD2];
    memcpy(msg2, buf_data(&w->s.wire), sizeof msg2);
    keys_mask(d->k_mask2, d->tag, msg2, NOISE_KEY);
    size_t len;
    int rc = noise_read(&d->hs, msg2, sizeof msg2, rec, sizeof rec, &len);
    assert(rc == 0);
    size_t room = WIRE_RECORD3 - noise_overhead(&d->hs);
    struct wr ours = wr_init(honest, room);
    wr_u16(&ours, (uint16_t)w->a.cert_len);
    wr_bytes(&ours, w->a.cert, w->a.cert_len);
    memcpy(payload, honest, room);
    for (size_t i = 0; i < n && i < room; i++) {
        payload[i] ^= p[i];
    }
    rc = noise_write(&d->hs, payload, room, rec, sizeof rec, &len);
    assert(rc == 0 && len == WIRE_RECORD3);
    (void)rc;
    feed(w, &w->s, rec, len);
    bool same = memcmp(payload, honest, room) == 0;
    assert((w->s.l->state == LINK_CONFIRM) == same);
    assert((link_remote_cert(w->s.l, &p, &n) != NULL) == same);
}

/* The two people are made once; every input gets fresh links and the same randomness. */
static struct world *fresh(enum link_kind kind)
{
    static struct world worlds[LINK_STRANGER + 1];
    struct world *w = &worlds[kind];
    if (w->ring.n == 0) {
        world_init(w, kind);
    }
    w->env.state = 1;
    w->env.wall_us = WORLD_WALL_US;
    w->now = 1000;
    struct link_candidate *c = &w->ring.v[0];
    c->n_tags = c->next_tag = 0;
    c->counter_seen = 0;
    world_open(w);
    return w;
}

/* The listener of fresh links has made the carrier, and a call. */
static void begin_with_call(struct world *w)
{
    static struct keyring ring;
    struct link_candidate as = w->dial;
    as.kind = LINK_CALL;
    int rc = keyring_put(&ring, &as);
    assert(rc == 0);
    (void)rc;
    ring.v[0].n_tags = ring.v[0].next_tag = 0;
    world_end(&w->d, link_listen(&w->a, &ring, CARRIER_TCP, w->now));
    world_end(&w->s, link_call(&w->b, &w->ring, w->listen.ref, CARRIER_TCP, w->now));
    (void)world_drain(w, &w->s);
}

static enum link_kind kind_of(uint8_t flags)
{
    if ((flags & INVITE) == 0 && (flags & MODE) != MODE_MESSAGE3) {
        return LINK_CONTACT;
    }
    return (flags & NETWORK) != 0    ? LINK_NETWORK
           : (flags & STRANGER) != 0 ? LINK_STRANGER
                                     : LINK_INVITE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    uint8_t flags = data[0], chunk = data[1];
    data += 2;
    size -= 2;
    bool is_message3 = (flags & MODE) == MODE_MESSAGE3;
    struct world *w = fresh(kind_of(flags));
    bool call =
        (flags & CALL) != 0 && (flags & INVITE) != 0 && kind_of(flags) == LINK_INVITE;
    if (call) {
        begin_with_call(w);
    }
    struct end *to = (flags & TO_DIALLER) != 0 ? &w->d : &w->s;
    struct end *from = to == &w->d ? &w->s : &w->d;
    bool up = (flags & UP_FIRST) != 0 || (flags & MODE) == MODE_BODIES;
    w->chunk = SIZE_MAX;
    if (up && (flags & MODE) != MODE_XOR && !is_message3) {
        world_pump(w);
        assert(to->ups == 1 && from->ups == 1);
        if ((flags & REHS) != 0 && (flags & INVITE) == 0) {
            w->d.l->s->rehs_ms = w->now;
            link_tick(w->d.l, w->now);
            world_drain(w, &w->d);
            world_deliver(w, &w->d, &w->s);
        }
    }
    w->chunk = chunk == 0 ? SIZE_MAX : chunk;
    size_t before = to->out_total;
    switch (flags & MODE) {
    case MODE_RAW:
        feed(w, to, data, size);
        assert(up || to->ups == 0);
        break;
    case MODE_XOR:
        honest_but_changed(w, from, to, data, size);
        break;
    case MODE_BODIES:
        bodies(w, from, to, data, size);
        break;
    default:
        message3(w, data, size);
        break;
    }
    (void)world_drain(w, to);
    if ((flags & MODE) == MODE_RAW && !up && (call || to == &w->s)) {
        assert(to->out_total == before);
    }
    link_tick(to->l, w->now + LINK_DEAD_MS);
    world_events(to);
    assert(to->closes == 1 || link_is_up(to->l));
    return 0;
}
