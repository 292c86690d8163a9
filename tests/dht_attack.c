#include "dht_attack.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

enum {
    FIRST_NET = 64, /* attackers are in 64.0.0.0 to 95.255.255.255 */
    NETS_BITS = 21,
    PLACE_TRIES = 4096, /* ids that an attacker tries, of 8 for each of 254 addresses */
    SYBIL_NODES = 8,
    FAR_SEQ = 1000000,
};

static const char token[] = "tok";

static void fill_random(void *ctx, void *buf, size_t len)
{
    uint8_t *p = buf;
    for (size_t i = 0; i < len; i++) {
        p[i] = (uint8_t)(attack_random(ctx) >> 32);
    }
}

/* SplitMix64. */
uint64_t attack_random(struct attack *a)
{
    uint64_t z = (a->random += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static uint32_t below(struct attack *a, uint32_t bound)
{
    return (uint32_t)(attack_random(a) % bound);
}

void attack_init(struct attack *a, struct dw *w, uint64_t seed)
{
    *a = (struct attack){.w = w, .n = dw_count(w) + DW_GUESTS_MAX, .random = seed};
    a->env = (struct env){a, fill_random, NULL};
    a->actor = calloc(a->n, sizeof *a->actor);
    assert(a->actor != NULL);
}

void attack_release(struct attack *a)
{
    for (uint32_t i = 0; i < a->n_groups; i++) {
        free(a->group[i].member);
    }
    free(a->group);
    free(a->actor);
}

/* ---- who ---- */

struct addr attack_addr(uint32_t net, uint8_t last)
{
    return (struct addr){
        .family = 4,
        .ip = {(uint8_t)(FIRST_NET + (net >> 16)), (uint8_t)(net >> 8), (uint8_t)net,
               last},
        .port = 6881,
    };
}

uint32_t attack_nets(void)
{
    return 1u << NETS_BITS;
}

uint32_t attack_net(struct attack *a)
{
    return below(a, attack_nets());
}

uint32_t attack_add(struct attack *a, enum attack_role role, const struct addr *addr,
                    const struct dht_id *id, uint32_t group)
{
    uint32_t who = dw_stranger(a->w, addr);
    if (who >= a->n) {
        a->actor = realloc(a->actor, (who + 1) * sizeof *a->actor);
        assert(a->actor != NULL && who == a->n);
        a->n = who + 1;
    }
    a->actor[who] = (struct attack_actor){
        .role = role,
        .group = group,
        .addr = *addr,
        .id = *id,
        .next_ms = dw_now(a->w) + below(a, ATTACK_PACE_MS),
    };
    return who;
}

static struct dht_id host_id(const struct attack *a, uint32_t host)
{
    struct dht_stats s;
    dht_stats(dw_host(a->w, host)->d, &s);
    return s.id[0];
}

void attack_corrupt(struct attack *a, uint32_t percent, enum attack_role role)
{
    uint32_t hosts = dw_count(a->w), n = hosts * percent / 100;
    while (n > 0) {
        uint32_t i = below(a, hosts);
        const struct dw_host *h = dw_host(a->w, i);
        if (h->d != NULL && !h->read_only && a->actor[i].role == ATTACK_NONE) {
            a->actor[i] = (struct attack_actor){.role = role,
                                                .addr = h->addr,
                                                .id = host_id(a, i),
                                                .next_ms = UINT64_MAX};
            n--;
        }
    }
}

bool attack_is_honest(const struct attack *a, uint32_t host)
{
    return a->actor[host].role == ATTACK_NONE;
}

uint32_t attack_closest(const struct attack *a, const struct dht_id *target,
                        uint32_t *out, uint32_t max)
{
    struct dht_id *id = calloc(max + 1, sizeof *id);
    uint32_t n = 0;
    assert(id != NULL);
    for (uint32_t i = 0; i < dw_count(a->w); i++) {
        const struct dw_host *h = dw_host(a->w, i);
        if (h->d == NULL || h->read_only || !attack_is_honest(a, i)) {
            continue;
        }
        struct dht_id own = host_id(a, i);
        uint32_t at = n;
        for (; at > 0 && dht_id_cmp(target, &own, &id[at - 1]) < 0; at--) {
            id[at] = id[at - 1];
            if (at < max) {
                out[at] = out[at - 1];
            }
        }
        if (at < max) {
            id[at] = own;
            out[at] = i;
            n += n < max ? 1 : 0;
        }
    }
    free(id);
    return n;
}

/* ---- where ---- */

uint32_t attack_group(struct attack *a, const struct dht_id *target)
{
    a->group = realloc(a->group, (a->n_groups + 1) * sizeof *a->group);
    assert(a->group != NULL);
    struct attack_group *g = &a->group[a->n_groups];
    *g = (struct attack_group){.target = *target};
    g->n_near = attack_closest(a, target, g->near, ATTACK_NEAR);
    return a->n_groups++;
}

/* At this distance (a part of the space) from target, about. */
static struct dht_id id_at(struct attack *a, const struct dht_id *target, double distance)
{
    struct dht_id id;
    dht_id_random(&a->env, &id);
    uint64_t far = (uint64_t)(distance * 18446744073709551615.0);
    for (int i = 0; i < 8; i++) {
        id.b[i] = target->b[i] ^ (uint8_t)(far >> (56 - 8 * i));
    }
    return id;
}

/* The address of a /24 and the id fitting it that come nearest to what is wanted. */
static void place(struct attack *a, const struct dht_id *target, double distance,
                  uint32_t net, struct addr *addr, struct dht_id *id)
{
    double best = 2;
    for (int i = 0; i < PLACE_TRIES; i++) {
        struct dht_id try;
        uint32_t who;
        struct addr from = attack_addr(net, (uint8_t)(1 + below(a, 254)));
        dht_id_for_addr(&a->env, &from, &try);
        double d = dht_id_distance(target, &try) - distance;
        d = d < 0 ? -d : d;
        if (d < best && !dw_find(a->w, &from, &who)) {
            best = d;
            *addr = from;
            *id = try;
        }
    }
    assert(best < 2);
}

static void join(struct attack *a, uint32_t group, const struct addr *addr,
                 const struct dht_id *id)
{
    struct attack_group *g = &a->group[group];
    g->member = realloc(g->member, (g->n + 1) * sizeof *g->member);
    assert(g->member != NULL);
    g->member[g->n++] = attack_add(a, ATTACK_SYBIL, addr, id, group);
}

void attack_surround(struct attack *a, uint32_t group, uint32_t n, uint32_t nets,
                     double radius, bool fit)
{
    struct dht_id target = a->group[group].target;
    uint32_t *net = calloc(nets, sizeof *net);
    assert(net != NULL);
    for (uint32_t i = 0; i < nets; i++) {
        net[i] = attack_net(a);
    }
    for (uint32_t i = 0; i < n; i++) {
        double distance = radius * (i + 1) / n;
        uint32_t who;
        struct addr addr;
        struct dht_id id;
        if (fit) {
            place(a, &target, distance, net[i % nets], &addr, &id);
        } else {
            do {
                addr = attack_addr(net[i % nets], (uint8_t)(1 + below(a, 254)));
            } while (dw_find(a->w, &addr, &who));
            id = id_at(a, &target, distance);
        }
        join(a, group, &addr, &id);
    }
    free(net);
}

/* ---- what they send ---- */

static void send_as(struct attack *a, uint32_t who, const struct addr *from,
                    const struct addr *to, const struct krpc_msg *m)
{
    uint8_t bytes[KRPC_SEND_MAX];
    size_t len = krpc_encode(m, bytes, sizeof bytes);
    assert(len > 0);
    a->actor[who].sent++;
    a->actor[who].sent_bytes += len;
    dw_send(a->w, who, from, to, bytes, len);
}

void attack_query(struct attack *a, uint32_t who, const struct addr *from,
                  const struct dht_id *id, enum krpc_method method,
                  const struct dht_id *target, const struct addr *to)
{
    struct krpc_msg m;
    krpc_query_init(&m, method, "at", 2, id);
    if (method == KRPC_GET_PEERS) {
        m.info_hash = *target;
        m.has |= KRPC_INFO_HASH;
    } else if (method != KRPC_PING) {
        m.target = *target;
        m.has |= KRPC_TARGET;
    }
    send_as(a, who, from, to, &m);
}

/* Poison: each kind of address where nobody should be asked, in turn. */
static struct addr bad_addr(struct attack *a, const struct addr *asker, int i)
{
    static const uint8_t unroutable[][4] = {
        {0, 0, 0, 1}, {224, 0, 0, 1}, {255, 255, 255, 255}, {240, 1, 1, 1}};
    static const uint8_t local[][4] = {{10, 0, 0, 7},
                                       {192, 168, 1, 1},
                                       {172, 16, 3, 1},
                                       {127, 0, 0, 1},
                                       {169, 254, 1, 1}};
    struct addr to = {.family = 4, .port = (uint16_t)(1 + below(a, 65535))};
    switch (i % 4) {
    case 0:
        memcpy(to.ip, unroutable[below(a, 4)], 4);
        break;
    case 1:
        memcpy(to.ip, local[below(a, 5)], 4);
        break;
    case 2: /* the asker itself, or a port where nobody can be */
        to = *asker;
        to.port = i % 8 == 2 ? asker->port : 0;
        break;
    default:
        to = a->victim;
        to.port = i % 8 == 3 ? to.port : (uint16_t)(1 + below(a, 65535));
        break;
    }
    return to;
}

static size_t poison(struct attack *a, const struct addr *asker,
                     const struct dht_id *target, uint8_t *out)
{
    size_t len = 0;
    for (int i = 0; i < ATTACK_NODES; i++) {
        struct krpc_node n = {.id = id_at(a, target, 0), .addr = bad_addr(a, asker, i)};
        len += krpc_pack_node(&n, out + len);
    }
    return len;
}

static size_t accomplices(struct attack *a, const struct attack_actor *self, uint8_t *out)
{
    const struct attack_group *g = &a->group[self->group];
    size_t len = 0;
    uint32_t first = below(a, g->n);
    for (uint32_t i = 0; i < SYBIL_NODES && i < g->n; i++) {
        const struct attack_actor *other = &a->actor[g->member[(first + i) % g->n]];
        struct krpc_node n = {other->id, other->addr};
        len += krpc_pack_node(&n, out + len);
    }
    return len;
}

static const struct attack_item *item_at(const struct attack *a,
                                         const struct dht_id *target)
{
    for (uint32_t i = 0; i < a->n_items; i++) {
        if (dht_id_eq(&a->item[i].target, target)) {
            return &a->item[i];
        }
    }
    return NULL;
}

/* A value that must not be taken; buf holds its parts. */
struct lie {
    struct item it;
    uint8_t k[ITEM_KEY_LEN], sig[ITEM_SIG_LEN];
    struct item_key other;
};

/* A key of small order has signatures for everything: R = S * B. */
static void small_order(struct attack *a, struct lie *lie)
{
    uint8_t scalar[32];
    memset(lie->k, 0, sizeof lie->k);
    lie->k[0] = 1;
    fill_random(a, scalar, sizeof scalar);
    scalar[31] &= 0x0f;
    int rc = crypto_scalarmult_ed25519_base_noclamp(lie->sig, scalar);
    assert(rc == 0);
    memcpy(lie->sig + 32, scalar, sizeof scalar);
    lie->it.k = lie->k;
}

static void lie_make(struct attack *a, const struct attack_item *item, unsigned how,
                     struct lie *lie)
{
    uint8_t seed[ITEM_SEED_LEN];
    int rc = 0;
    lie->it = item->it[1];
    memcpy(lie->sig, item->it[1].sig, sizeof lie->sig);
    switch (how) {
    case 0: /* the signature of another number */
        lie->it.seq = FAR_SEQ;
        break;
    case 1: /* a signature with a flipped bit */
        lie->sig[1] ^= 1;
        lie->it.seq = FAR_SEQ;
        break;
    case 2: /* another's item, signed in order */
        fill_random(a, seed, sizeof seed);
        item_key_from_seed(seed, &lie->other);
        lie->it.k = lie->other.public_key;
        lie->it.seq = FAR_SEQ;
        rc = item_sign(&lie->it, &lie->other, lie->sig);
        break;
    case 3: /* a key of small order */
        small_order(a, lie);
        lie->it.seq = FAR_SEQ;
        break;
    default: /* the older one */
        lie->it = item->it[0];
        memcpy(lie->sig, item->it[0].sig, sizeof lie->sig);
        break;
    }
    assert(rc == 0);
    lie->it.sig = lie->sig;
}

static void set_item(struct krpc_msg *m, const struct item *it)
{
    m->v = it->v;
    m->k = it->k;
    m->sig = it->sig;
    m->seq = it->seq;
    m->has |= KRPC_V | KRPC_K | KRPC_SIG | KRPC_SEQ;
}

/* ---- what they answer ---- */

static const struct dht_id *target_of(const struct krpc_msg *q)
{
    return (q->has & KRPC_TARGET) != 0      ? &q->target
           : (q->has & KRPC_INFO_HASH) != 0 ? &q->info_hash
                                            : NULL;
}

static bool lookup_method(enum krpc_method m)
{
    return m == KRPC_FIND_NODE || m == KRPC_GET || m == KRPC_GET_PEERS;
}

static void give_nodes(struct krpc_msg *r, const uint8_t *nodes, size_t len,
                       bool with_token)
{
    r->nodes = (struct krpc_view){nodes, len};
    r->has |= KRPC_NODES;
    if (with_token) {
        r->token = (struct krpc_view){(const uint8_t *)token, sizeof token - 1};
        r->has |= KRPC_TOKEN;
    }
}

/* False: the host answers for itself. */
static bool answer(struct attack *a, struct attack_actor *self,
                   const struct dw_arrival *l, const struct krpc_msg *q)
{
    struct krpc_msg r;
    struct lie lie;
    uint8_t nodes[ATTACK_NODES * KRPC_NODE4_LEN];
    const struct dht_id *target = target_of(q);
    bool looks = lookup_method(q->method) && target != NULL;
    const struct attack_item *item = looks ? item_at(a, target) : NULL;
    krpc_reply_init(&r, q, &l->from, &self->id);
    switch (self->role) {
    case ATTACK_NONE:
        return false;
    case ATTACK_VICTIM:
    case ATTACK_PUTTER:
        return true;
    case ATTACK_FLOODER:
        break;
    case ATTACK_POISONER:
        if (!looks) {
            return false;
        }
        give_nodes(&r, nodes, poison(a, &l->from, target, nodes),
                   q->method != KRPC_FIND_NODE);
        break;
    case ATTACK_SYBIL:
        if (looks) {
            give_nodes(&r, nodes, accomplices(a, self, nodes),
                       q->method != KRPC_FIND_NODE);
        }
        break;
    case ATTACK_FORGER:
        if (item == NULL || q->method != KRPC_GET) {
            return false;
        }
        lie_make(a, item, below(a, ATTACK_VALUES), &lie);
        set_item(&r, &lie.it);
        r.token = (struct krpc_view){(const uint8_t *)token, sizeof token - 1};
        r.has |= KRPC_TOKEN;
        break;
    }
    send_as(a, l->at, &l->to, &l->from, &r);
    return true;
}

/* A putter has a token now, and uses it for a lie of each kind. */
static void put_lies(struct attack *a, const struct dw_arrival *l,
                     const struct krpc_msg *m)
{
    struct attack_actor *self = &a->actor[l->at];
    const struct attack_item *item = &a->item[self->group];
    for (unsigned how = 0; how < ATTACK_VALUES; how++) {
        struct lie lie;
        struct krpc_msg q;
        char tid = (char)('0' + how);
        lie_make(a, item, how, &lie);
        krpc_query_init(&q, KRPC_PUT, &tid, 1, &self->id);
        set_item(&q, &lie.it);
        q.token = m->token;
        q.has |= KRPC_TOKEN;
        send_as(a, l->at, &l->to, &l->from, &q);
    }
}

/* The value of the flood's query of this number. */
static struct krpc_view flood_value(uint32_t number, char out[16])
{
    return (struct krpc_view){(const uint8_t *)out,
                              (size_t)snprintf(out, 16, "i%ue", number)};
}

void attack_flood(struct attack *a, uint32_t who, const struct addr *from,
                  const struct addr *to)
{
    static const enum krpc_method kinds[] = {KRPC_GET, KRPC_FIND_NODE, KRPC_GET_PEERS,
                                             KRPC_PING};
    char buf[16];
    uint32_t number = a->flood++;
    struct item it = {.v = flood_value(number, buf)};
    struct dht_id id = a->actor[who].id;
    struct krpc_msg m;
    if (!addr_eq(from, &a->actor[who].addr)) {
        dht_id_random(&a->env, &id);
    }
    krpc_query_init(&m, kinds[number % 4], &number, sizeof number, &id);
    item_target(&it, &m.target);
    m.info_hash = m.target;
    m.has |= number % 4 == 2 ? KRPC_INFO_HASH : number % 4 < 2 ? KRPC_TARGET : 0;
    send_as(a, who, from, to, &m);
}

static void flood_put(struct attack *a, const struct dw_arrival *l,
                      const struct krpc_msg *m)
{
    char buf[16];
    uint32_t number;
    struct krpc_msg q;
    memcpy(&number, m->t.p, sizeof number);
    krpc_query_init(&q, number % 4 == 2 ? KRPC_ANNOUNCE_PEER : KRPC_PUT, "p", 1,
                    &a->actor[l->at].id);
    struct item it = {.v = flood_value(number, buf)};
    item_target(&it, &q.info_hash);
    q.v = it.v;
    q.port = 1;
    q.token = m->token;
    q.has |= KRPC_TOKEN | (number % 4 == 2 ? KRPC_INFO_HASH | KRPC_PORT : KRPC_V);
    send_as(a, l->at, &l->to, &l->from, &q);
}

void attack_guess(struct attack *a, uint32_t who, const struct addr *from,
                  const struct dht_id *id, const struct addr *to)
{
    uint8_t tid[8], nodes[ATTACK_NODES * KRPC_NODE4_LEN];
    struct krpc_msg q = {.kind = KRPC_QUERY}, r;
    fill_random(a, tid, sizeof tid);
    /* Mostly of the length in use; some shorter, some longer. */
    q.t = (struct krpc_view){tid, below(a, 8) == 0 ? below(a, sizeof tid) : 4};
    krpc_reply_init(&r, &q, to, id);
    give_nodes(&r, nodes, poison(a, to, id, nodes), true);
    send_as(a, who, from, to, &r);
}

static void hear(struct attack *a, const struct dw_arrival *l, const struct krpc_msg *m)
{
    enum attack_role role = a->actor[l->at].role;
    bool has_token = m->kind == KRPC_REPLY && (m->has & KRPC_TOKEN) != 0;
    if (role == ATTACK_FLOODER && has_token && m->t.n == 4) {
        flood_put(a, l, m);
    }
    if (role != ATTACK_PUTTER) {
        return;
    }
    if (has_token) {
        put_lies(a, l, m);
    } else if (m->kind == KRPC_REPLY && m->t.n == 1) {
        a->taken[(m->t.p[0] - '0') % ATTACK_VALUES]++;
    } else {
        a->refused += m->kind == KRPC_ERROR;
    }
}

bool attack_letter(struct attack *a, const struct dw_arrival *l)
{
    struct attack_actor *self = &a->actor[l->at];
    struct krpc_msg m;
    if (self->role == ATTACK_NONE) {
        return false;
    }
    self->received++;
    self->received_bytes += l->len;
    if (krpc_decode(l->p, l->len, &m) != 0) {
        return true;
    }
    if (m.kind == KRPC_QUERY) {
        return answer(a, self, l, &m);
    }
    hear(a, l, &m);
    return l->at >= dw_count(a->w);
}

/* ---- time ---- */

/* A putter asks for a token near its item. */
static void ask_token(struct attack *a, uint32_t who)
{
    struct attack_actor *self = &a->actor[who];
    const struct dht_id *target = &a->item[self->group].target;
    uint32_t near[ATTACK_PUTS];
    uint32_t n = attack_closest(a, target, near, ATTACK_PUTS);
    for (uint32_t i = 0; i < n; i++) {
        attack_query(a, who, &self->addr, &self->id, KRPC_GET, target,
                     &dw_host(a->w, near[i])->addr);
    }
}

/* A Sybil shows itself to somebody near its target, so as to be known there. */
static void court(struct attack *a, uint32_t who)
{
    struct attack_actor *self = &a->actor[who];
    const struct attack_group *g = &a->group[self->group];
    uint32_t to = g->near[below(a, g->n_near)];
    attack_query(a, who, &self->addr, &self->id, KRPC_FIND_NODE, &g->target,
                 &dw_host(a->w, to)->addr);
}

void attack_step(struct attack *a)
{
    for (uint32_t i = dw_count(a->w); i < a->n; i++) {
        struct attack_actor *self = &a->actor[i];
        if (self->role == ATTACK_SYBIL && self->next_ms <= dw_now(a->w)) {
            self->next_ms += ATTACK_PACE_MS;
            court(a, i);
        } else if (self->role == ATTACK_PUTTER && self->next_ms <= dw_now(a->w)) {
            self->next_ms = UINT64_MAX;
            ask_token(a, i);
        }
    }
}

/* ---- the rest ---- */

void attack_item_make(struct attack *a, size_t len, struct attack_item *out)
{
    uint8_t seed[ITEM_SEED_LEN];
    fill_random(a, seed, sizeof seed);
    item_key_from_seed(seed, &out->key);
    for (int i = 0; i < 2; i++) {
        int head = snprintf((char *)out->v[i], sizeof out->v[i], "%zu:", len);
        assert((size_t)head + len <= sizeof out->v[i]);
        fill_random(a, out->v[i] + head, len);
        struct item *it = &out->it[i];
        *it = (struct item){
            .v = {out->v[i], (size_t)head + len},
            .k = out->key.public_key,
            .seq = i + 1,
            .sig = out->sig[i],
        };
        int rc = item_sign(it, &out->key, out->sig[i]);
        assert(rc == 0);
    }
    item_target(&out->it[0], &out->target);
}

void attack_item_small(struct attack *a, struct attack_item *out)
{
    attack_item_make(a, 1, out);
    memset(out->key.public_key, 0, ITEM_KEY_LEN);
    out->key.public_key[0] = 1; /* the neutral element */
    item_target(&out->it[0], &out->target);
}

struct attack_actor attack_sum(const struct attack *a, enum attack_role role)
{
    struct attack_actor sum = {.role = role};
    for (uint32_t i = 0; i < a->n; i++) {
        const struct attack_actor *one = &a->actor[i];
        if (one->role == role) {
            sum.sent += one->sent;
            sum.sent_bytes += one->sent_bytes;
            sum.received += one->received;
            sum.received_bytes += one->received_bytes;
        }
    }
    return sum;
}
