#include "dht_fakes.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "seeded.h"

static uint64_t state = 11;
const struct env net_env = {&state, seeded, NULL};

struct fake *net_fake_at(struct net *n, const struct addr *a)
{
    for (unsigned i = 0; i < n->n; i++) {
        if (addr_eq(&n->f[i].n.addr, a)) {
            return &n->f[i];
        }
    }
    return NULL;
}

static void reply_value(const struct fake *f, const struct krpc_msg *q,
                        struct krpc_msg *r)
{
    if (f->cas && q->method == KRPC_GET) {
        r->seq = f->it.seq;
        r->has |= KRPC_SEQ;
    }
    if (f->it.v.p == NULL || q->method != KRPC_GET) {
        return;
    }
    r->v = f->it.v;
    r->has |= KRPC_V;
    if (f->it.k != NULL && !f->half) {
        r->k = f->k;
        r->sig = f->sig;
        r->seq = f->it.seq;
        r->has |= KRPC_K | KRPC_SIG | KRPC_SEQ;
        if ((q->has & KRPC_SEQ) != 0 && q->seq >= f->it.seq) {
            r->has &= ~(uint32_t)(KRPC_V | KRPC_K | KRPC_SIG);
        }
    }
}

/* The eight of a family closest to target, as nodes or nodes6. */
static size_t nodes_of(const struct net *n, unsigned family, const struct dht_id *target,
                       uint8_t *out)
{
    bool used[FAKES_MAX] = {false};
    size_t len = 0;
    for (int k = 0; k < 8; k++) {
        unsigned best = FAKES_MAX;
        for (unsigned i = 0; i < n->n; i++) {
            if (n->f[i].n.addr.family == family && !used[i] &&
                (best == FAKES_MAX ||
                 dht_id_cmp(target, &n->f[i].n.id, &n->f[best].n.id) < 0)) {
                best = i;
            }
        }
        if (best < FAKES_MAX) {
            used[best] = true;
            len += krpc_pack_node(&n->f[best].n, out + len);
        }
    }
    return len;
}

static void answer(struct net *n, struct fake *f, const struct krpc_msg *q,
                   const struct addr *us)
{
    struct krpc_msg r;
    uint8_t nodes[8 * KRPC_NODE4_LEN], nodes6[8 * KRPC_NODE6_LEN];
    bool six = f->n.addr.family == 6;
    struct dht_id other = f->n.id;
    other.b[10] ^= 1;
    krpc_reply_init(&r, q, f->sees.family != 0 ? &f->sees : us,
                    f->other_id ? &other : &f->n.id);
    bool stores = q->method == KRPC_PUT || q->method == KRPC_ANNOUNCE_PEER;
    if (f->strict && !dht_id_fits(&q->id, us)) {
        krpc_error_init(&r, q, f->sees.family != 0 ? &f->sees : us, KRPC_E_PROTOCOL,
                        "invalid node ID");
        stores = false;
    } else if (stores) {
        cr_assert(q->token.n == 3 && memcmp(q->token.p, "tok", 3) == 0);
        f->stored++;
        f->had_cas = (q->has & KRPC_CAS) != 0;
    }
    bool asks = q->method == KRPC_GET || q->method == KRPC_GET_PEERS;
    if (f->errs) {
        krpc_error_init(&r, q, us, KRPC_E_SERVER, "no");
    } else if (stores && f->refuses) {
        krpc_error_init(&r, q, us, KRPC_E_SEQ, "no");
    } else if (asks && f->error != 0) {
        krpc_error_init(&r, q, us, f->error, "what?");
    } else if (stores && f->cas) {
        if ((q->has & KRPC_CAS) != 0 && q->cas != f->it.seq) {
            krpc_error_init(&r, q, us, KRPC_E_CAS, "no");
        }
        f->it.seq = r.kind == KRPC_ERROR ? f->it.seq : q->seq;
        if (f->swallows) {
            f->swallows = false;
            return;
        }
    } else if ((q->has & (KRPC_TARGET | KRPC_INFO_HASH)) != 0 && !stores) {
        const struct dht_id *target = (q->has & KRPC_TARGET) ? &q->target : &q->info_hash;
        r.nodes = (struct krpc_view){nodes, nodes_of(n, 4, target, nodes)};
        r.nodes = f->lies.p != NULL ? f->lies : r.nodes;
        r.nodes6 = (struct krpc_view){nodes6, nodes_of(n, 6, target, nodes6)};
        r.has |= !six || (q->want & KRPC_N4) != 0 ? KRPC_NODES : 0;
        r.has |= six || (q->want & KRPC_N6) != 0 ? KRPC_NODES6 : 0;
        if (q->method != KRPC_FIND_NODE && !f->no_token) {
            r.token = (struct krpc_view){(const uint8_t *)"tok", 3};
            r.has |= KRPC_TOKEN;
        }
        reply_value(f, q, &r);
        if (f->peers.p != NULL && q->method == KRPC_GET_PEERS) {
            r.values = f->peers;
            r.has |= KRPC_VALUES;
        }
    }
    cr_assert_lt(n->w_n, WAITING_MAX);
    struct waiting *w = &n->w[(n->w_first + n->w_n++) % WAITING_MAX];
    w->at_ms = n->now_ms + RTT_MS;
    w->from = f->n.addr;
    w->len = krpc_encode(&r, w->bytes, sizeof w->bytes);
    cr_assert_gt(w->len, 0);
}

void net_drain(struct net *n)
{
    static const struct addr us = {.family = 4, .ip = {99, 9, 9, 9}, .port = 999};
    struct dht_out out;
    struct dht_event e;
    while (dht_next_out(n->d, &out)) {
        static uint8_t kept[KRPC_SEND_MAX];
        struct krpc_msg q;
        cr_assert_eq(krpc_decode(out.bytes, out.len, &q), 0);
        struct fake *f = net_fake_at(n, &out.dest);
        if (q.kind == KRPC_QUERY && q.method == n->watch) {
            memcpy(kept, out.bytes, out.len);
            (void)krpc_decode(kept, out.len, &n->last);
        }
        if (q.kind == KRPC_QUERY) {
            n->ro = q.ro;
        }
        if (f == NULL) {
            n->strays++;
            n->stray = out.dest;
        } else if (q.kind == KRPC_QUERY) {
            f->asked++;
            if (!f->silent) {
                answer(n, f, &q, &us);
            }
        }
    }
    while (dht_next_event(n->d, &e)) {
        n->n_done += e.type == DHT_DONE;
        n->n_values += e.type == DHT_VALUE;
        n->n_self += e.type == DHT_SELF;
        n->n_open += e.type == DHT_OPEN;
        n->n_ready += e.type == DHT_READY;
        n->n_peers += e.type == DHT_PEERS;
        for (size_t i = 0; e.type == DHT_PEERS && i < e.u.peers.n; i++) {
            n->n_local += addr_is_private(&e.u.peers.a[i]);
            n->n_public += !addr_is_private(&e.u.peers.a[i]);
        }
        n->done = e.type == DHT_DONE ? e : n->done;
        n->value = e.type == DHT_VALUE ? e : n->value;
    }
}

void net_run(struct net *n, uint64_t ms)
{
    uint64_t until = n->now_ms + ms;
    for (;;) {
        net_drain(n);
        uint64_t at = dht_deadline(n->d);
        uint64_t arrives = n->w_n > 0 ? n->w[n->w_first].at_ms : UINT64_MAX;
        uint64_t next = at < arrives ? at : arrives;
        if (next > until) {
            n->now_ms = until;
            return;
        }
        n->now_ms = next > n->now_ms ? next : n->now_ms;
        if (arrives <= n->now_ms) {
            struct waiting *w = &n->w[n->w_first];
            n->w_first = (n->w_first + 1) % WAITING_MAX;
            n->w_n--;
            (void)dht_recv(n->d, &w->from, w->bytes, w->len, n->now_ms);
        } else {
            dht_tick(n->d, n->now_ms);
        }
    }
}

void net_until_done(struct net *n)
{
    unsigned before = n->n_done;
    for (int i = 0; i < 400 && n->n_done == before; i++) {
        net_run(n, 100);
    }
    cr_assert_eq(n->n_done, before + 1);
}

struct net *net_new(unsigned fakes, const struct dht_config *c)
{
    struct net *n = calloc(1, sizeof *n);
    cr_assert(sodium_init() >= 0);
    n->now_ms = 1000;
    n->n = fakes;
    for (unsigned i = 0; i < fakes; i++) {
        dht_id_random(&net_env, &n->f[i].n.id);
        n->f[i].n.addr = (struct addr){
            .family = 4, .ip = {20, (uint8_t)(100 + i), (uint8_t)i, 1}, .port = 6881};
    }
    n->d = dht_new(c, &net_env, n->now_ms);
    cr_assert_not_null(n->d);
    if (fakes > 0) {
        cr_assert_eq(dht_add_router(n->d, &n->f[0].n.addr, n->now_ms), 0);
    }
    return n;
}

void net_free(struct net *n)
{
    dht_free(n->d);
    free(n);
}

const struct dht_config net_open = {.family = {true, false}, .open = true};

struct net *net_joined(unsigned fakes)
{
    struct net *n = net_new(fakes, &net_open);
    net_run(n, 2 * MIN);
    cr_assert_eq(n->n_ready, 1);
    return n;
}

size_t net_nodes(const struct net *n)
{
    struct dht_stats s;
    dht_stats(n->d, &s);
    return s.nodes[0];
}

void fake_sign(struct item *it, const struct item_key *key, uint8_t *k, uint8_t *sig)
{
    memcpy(k, key->public_key, ITEM_KEY_LEN);
    it->k = k;
    cr_assert_eq(item_sign(it, key, sig), 0);
    it->sig = sig;
}

void fake_give(struct fake *f, const struct item_key *key, const char *v, int64_t seq)
{
    size_t len = strlen(v);
    memcpy(f->v, v, len);
    f->it = (struct item){.v = {f->v, len}, .seq = seq};
    fake_sign(&f->it, key, f->k, f->sig);
}

void fake_give_immutable(struct fake *f, const char *v)
{
    size_t len = strlen(v);
    memcpy(f->v, v, len);
    f->it = (struct item){.v = {f->v, len}};
}

struct item_key fake_key(uint8_t seed)
{
    uint8_t s[ITEM_SEED_LEN] = {seed};
    struct item_key key;
    item_key_from_seed(s, &key);
    return key;
}

struct fake *net_closest(struct net *n, const struct dht_id *target, unsigned place)
{
    uint8_t list[8 * KRPC_NODE4_LEN];
    struct krpc_view v = {list, nodes_of(n, 4, target, list)};
    struct krpc_node node;
    for (unsigned i = 0; i <= place; i++) {
        cr_assert(krpc_node_next(&v, 4, &node));
    }
    return net_fake_at(n, &node.addr);
}
