#include "link_world.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

enum { REF_OF_LISTENER = 7 };

/* SplitMix64 */
uint64_t world_random(struct world_env *w)
{
    uint64_t z = w->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static void fill(void *ctx, void *buf, size_t len)
{
    uint8_t *p = buf;
    for (size_t i = 0; i < len; i++) {
        p[i] = (uint8_t)(world_random(ctx) >> 24);
    }
}

static uint64_t wall(void *ctx)
{
    return ((struct world_env *)ctx)->wall_us;
}

void world_env(struct world_env *w, uint64_t seed)
{
    *w = (struct world_env){.state = seed, .wall_us = WORLD_WALL_US};
    w->env = (struct env){.ctx = w, .random = fill, .wall_us = wall};
}

void world_self(struct link_self *self, const struct env *env, uint8_t name)
{
    uint8_t seed[KEYS_SEED], sk[64];
    struct cert cert = {.not_before = 1600000000};
    memset(seed, name, sizeof seed);
    *self = (struct link_self){.env = env};
    keys_root(seed, self->root, sk);
    memset(self->stat_sec, name + 64, sizeof self->stat_sec);
    keys_public(self->stat_sec, self->stat_pub);
    memcpy(cert.stat, self->stat_pub, sizeof cert.stat);
    memset(seed, name + 128, sizeof seed);
    keys_public(seed, cert.box);
    int rc = cert_sign(&cert, sk, self->cert, &self->cert_len);
    assert(rc == 0);
    (void)rc;
    self->network_len = sizeof WORLD_NETWORK - 1;
    memcpy(self->network, WORLD_NETWORK, self->network_len);
}

void world_contact(const struct link_self *dialler, const struct link_self *listener,
                   uint8_t secret, struct link_candidate *dial,
                   struct link_candidate *listen)
{
    uint8_t pair[KEYS_PAIR_SECRET];
    struct link_candidate c = {.kind = LINK_CONTACT};
    memset(pair, secret, sizeof pair);
    keys_link_pair(pair, dialler->stat_pub, listener->stat_pub, &c.keys);
    if (dial != NULL) {
        *dial = c;
        dial->ref = REF_OF_LISTENER;
        memcpy(dial->remote_static, listener->stat_pub, 32);
        memcpy(dial->remote_root, listener->root, KEYS_ROOT);
    }
    if (listen != NULL) {
        *listen = c;
        listen->ref = secret;
        memcpy(listen->remote_static, dialler->stat_pub, 32);
        memcpy(listen->remote_root, dialler->root, KEYS_ROOT);
    }
}

void world_invite(const struct link_self *listener, uint8_t secret, uint32_t ref,
                  struct link_candidate *dial, struct link_candidate *listen)
{
    uint8_t s[32];
    struct link_candidate c = {.kind = LINK_INVITE, .ref = ref};
    memset(s, secret, sizeof s);
    keys_link_invite(s, listener->root, &c.keys);
    if (dial != NULL) {
        *dial = c;
        memcpy(dial->remote_root, listener->root, KEYS_ROOT);
    }
    if (listen != NULL) {
        *listen = c;
    }
}

void world_network(uint8_t secret, struct link_candidate *dial,
                   struct link_candidate *listen)
{
    uint8_t key[KEYS_NETWORK];
    struct link_candidate c = {.kind = LINK_NETWORK};
    memset(key, secret, sizeof key);
    keys_link_network(key, &c.keys);
    if (dial != NULL) {
        *dial = c;
    }
    if (listen != NULL) {
        *listen = c;
    }
}

void world_stranger(const struct link_self *listener, uint8_t nonce, uint32_t ref,
                    struct link_candidate *dial, struct link_candidate *listen)
{
    uint8_t n[KEYS_OPEN_NONCE];
    struct link_candidate c = {.kind = LINK_STRANGER, .ref = ref};
    memset(n, nonce, sizeof n);
    cert_hash(listener->cert, listener->cert_len, c.cert_hash);
    keys_link_stranger(n, c.cert_hash, &c.keys);
    if (dial != NULL) {
        *dial = c;
    }
    if (listen != NULL) {
        *listen = c;
        memset(listen->cert_hash, 0, sizeof listen->cert_hash);
    }
}

void world_events(struct end *e)
{
    struct link_event ev;
    while (link_next_event(e->l, &ev)) {
        assert(e->closes == 0);
        switch (ev.kind) {
        case LINK_EV_UP:
            assert(e->frames == 0);
            e->ups++;
            break;
        case LINK_EV_COUNTER:
            assert(e->ups == 0);
            e->counters++;
            e->counter = ev.counter;
            break;
        case LINK_EV_FRAME:
            assert(e->ups == 1);
            if (e->frames < WORLD_SEEN_MAX) {
                e->types[e->frames] = ev.type;
            }
            if (ev.type == WORLD_FRAME && ev.len >= 4) {
                struct rd r = rd_init(ev.payload, ev.len);
                e->in_order = e->in_order && rd_u32(&r) == e->next_seq++;
            }
            e->frames++;
            e->bytes += ev.len;
            break;
        case LINK_EV_CLOSED:
            e->closes++;
            e->closed = ev;
            break;
        }
    }
}

/* The next frame of file data, when there is one and its turn has come. */
static size_t next_bulk(struct world *w, struct end *e, uint8_t *out, size_t cap)
{
    struct wr body;
    if (e->bulk.len == 0 || !link_bulk_begin(e->l, out, cap, &body)) {
        return 0;
    }
    struct rd r = rd_init(buf_data(&e->bulk), e->bulk.len);
    (void)rd_u8(&r);
    size_t len = WIRE_FRAME_HEAD + (size_t)rd_u16(&r);
    wr_bytes(&body, buf_data(&e->bulk), len);
    buf_consume(&e->bulk, len);
    return link_bulk_end(e->l, out, &body, w->now);
}

size_t world_drain(struct world *w, struct end *e)
{
    uint8_t out[WORLD_OUT];
    size_t n, total = 0;
    while ((n = link_next_out(e->l, out, sizeof out, w->now)) > 0 ||
           (n = next_bulk(w, e, out, sizeof out)) > 0) {
        assert(n <= sizeof out);
        assert(buf_append(&e->wire, out, n) == 0);
        link_sent(e->l, n);
        total += n;
    }
    e->out_total += total;
    return total;
}

size_t world_deliver(struct world *w, struct end *from, struct end *to)
{
    size_t n = from->wire.len;
    if (n > w->chunk) {
        n = w->chunk;
    }
    if (n > 0) {
        (void)link_recv(to->l, buf_data(&from->wire), n, w->now);
        buf_consume(&from->wire, n);
        world_events(to);
    }
    return n;
}

void world_pump(struct world *w)
{
    size_t moved;
    do {
        moved = world_drain(w, &w->d) + world_drain(w, &w->s);
        moved += world_deliver(w, &w->d, &w->s) + world_deliver(w, &w->s, &w->d);
    } while (moved > 0);
    world_events(&w->d);
    world_events(&w->s);
}

void world_end(struct end *e, struct link *l)
{
    link_free(e->l);
    buf_release(&e->wire);
    buf_release(&e->bulk);
    *e = (struct end){.l = l, .in_order = true};
    buf_init(&e->wire, WORLD_WIRE_MAX);
    buf_init(&e->bulk, WORLD_WIRE_MAX);
}

void world_open_counter(struct world *w, uint64_t counter)
{
    world_end(&w->d, link_dial(&w->a, &w->dial, CARRIER_TCP, counter, w->now));
    world_end(&w->s, link_listen(&w->b, &w->ring, CARRIER_TCP, w->now));
    assert(w->d.l != NULL);
    assert(w->s.l != NULL);
}

void world_open(struct world *w)
{
    w->env.wall_us += 1000;
    world_open_counter(w, w->env.wall_us);
}

void world_init(struct world *w, enum link_kind kind)
{
    assert(sodium_init() >= 0);
    memset(w, 0, sizeof *w);
    world_env(&w->env, 1);
    world_self(&w->a, &w->env.env, 1);
    world_self(&w->b, &w->env.env, 2);
    switch (kind) {
    case LINK_CONTACT:
        world_contact(&w->a, &w->b, 3, &w->dial, &w->listen);
        break;
    case LINK_INVITE:
        world_invite(&w->b, 3, 5, &w->dial, &w->listen);
        break;
    case LINK_NETWORK:
        world_network(3, &w->dial, &w->listen);
        break;
    case LINK_STRANGER:
        world_stranger(&w->b, 3, 5, &w->dial, &w->listen);
        break;
    case LINK_CALL: /* a way to begin a link of an invite */
        abort();
    }
    assert(keyring_put(&w->ring, &w->listen) == 0);
    w->now = 1000;
    w->chunk = SIZE_MAX;
    world_open(w);
}

void world_init_up(struct world *w, enum link_kind kind)
{
    world_init(w, kind);
    world_pump(w);
    assert(w->d.ups == 1);
    assert(w->s.ups == 1);
}

void world_release(struct world *w)
{
    link_free(w->d.l);
    link_free(w->s.l);
    buf_release(&w->d.wire);
    buf_release(&w->s.wire);
    buf_release(&w->d.bulk);
    buf_release(&w->s.bulk);
    keyring_release(&w->ring);
}

int world_put(struct end *e, enum link_class cls, uint32_t seq, size_t len)
{
    static uint8_t payload[WIRE_FRAME_MAX];
    struct wr w = wr_init(payload, sizeof payload);
    wr_u32(&w, seq);
    return link_send(e->l, cls, (enum frame_type)WORLD_FRAME, payload, len);
}

void world_put_bulk(struct end *e, uint32_t seq, size_t len)
{
    static uint8_t payload[WIRE_FRAME_MAX];
    uint8_t head[WIRE_FRAME_HEAD];
    struct wr w = wr_init(payload, sizeof payload), h = wr_init(head, sizeof head);
    wr_u32(&w, seq);
    wr_u8(&h, WORLD_FRAME);
    wr_u16(&h, (uint16_t)len);
    if (buf_append(&e->bulk, head, sizeof head) != 0 ||
        buf_append(&e->bulk, payload, len) != 0) {
        abort();
    }
}

void world_candidate_copy(struct link_candidate *to, const struct link_candidate *from)
{
    free(to->tags);
    *to = *from;
    to->tags = NULL;
    if (from->tags != NULL) {
        to->tags = malloc(from->cap_tags * sizeof *to->tags);
        if (to->tags == NULL) {
            abort();
        }
        memcpy(to->tags, from->tags, from->n_tags * sizeof *to->tags);
    }
}
