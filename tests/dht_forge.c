#include "dht_forge.h"

#include <assert.h>
#include <string.h>

#include "base/bencode.h"
#include "seeded.h"

enum {
    NODES = 256,
    TARGETS = 8,
    NEAR_BITS = 24, /* of our own id or of a target that a node may share */
    TOLD = 8,       /* nodes of one answer */
    PORT = 9,
};

static struct {
    bool ready;
    struct dht_id id[NODES], self[2], target[TARGETS];
    struct item item[FORGE_ITEMS];
    uint8_t key[ITEM_KEY_LEN], sig[FORGE_ITEMS][ITEM_SIG_LEN], big[ITEM_VALUE_MAX];
} made;

/* ---- who and what there is ---- */

static struct addr addr4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
    return (struct addr){.family = 4, .ip = {a, b, c, d}, .port = PORT};
}

static struct addr far4(uint8_t i)
{
    if (i < 128) {
        return addr4(20, i, 1, 1);
    }
    if (i < 160) {
        return addr4(21, 1, 1, i);
    }
    if (i < 176) {
        return addr4(10, 1, 1, i);
    }
    if (i < 184) {
        struct addr a = addr4(127, 0, 0, 1);
        a.port = (uint16_t)(PORT + i);
        return a;
    }
    struct addr a = i < 187 ? addr4(224, 0, 0, i) : addr4(22, i, 1, 1);
    a.port = i < 190 ? PORT : 0;
    return a;
}

struct addr forge_addr(uint8_t i)
{
    struct addr a = {.family = 6, .ip = {0x20, 1, 2, i}, .port = PORT};
    if (i < 192) {
        return far4(i);
    }
    if (i >= 224 && i < 240) {
        a.ip[3] = 1;
        a.ip[7] = i; /* a /64 in one /48 */
    } else if (i >= 240) {
        static const uint8_t first[] = {0xfd, 0xfd, 0xfe, 0xff};
        a.ip[0] = first[i / 4 % 4];
        a.ip[1] = i / 4 % 4 == 2 ? 0x80 : 1;
        a.ip[15] = i;
    }
    return a;
}

uint8_t forge_number(const struct addr *a)
{
    if (a->family == 6) {
        return a->ip[0] != 0x20 ? a->ip[15] : a->ip[7] != 0 ? a->ip[7] : a->ip[3];
    }
    if (a->ip[0] == 127) {
        return (uint8_t)(a->port - PORT);
    }
    return a->ip[0] == 20 || a->ip[0] == 22 ? a->ip[1] : a->ip[3];
}

static void make_ids(const struct env *env)
{
    for (unsigned i = 0; i < NODES; i++) {
        struct addr a = forge_addr((uint8_t)i);
        unsigned bits = i / 4 % NEAR_BITS;
        switch (i % 4) {
        case 0:
            dht_id_random_near(env, &made.self[i >= 192], bits, &made.id[i]);
            break;
        case 1:
            dht_id_random_near(env, &made.target[FORGE_SIGNED], bits, &made.id[i]);
            break;
        case 2:
            dht_id_for_addr(env, &a, &made.id[i]);
            break;
        default:
            dht_id_random(env, &made.id[i]);
            break;
        }
    }
}

static void make_item(uint8_t i, const struct item_key *key)
{
    static const char *const values[] = {"2:hi", "d1:ai7ee"};
    unsigned kind = i & FORGE_KIND_MASK;
    struct item *it = &made.item[i];
    const char *v = values[i >> FORGE_VALUE_SHIFT & 1];
    it->v = (struct krpc_view){(const uint8_t *)v, strlen(v)};
    if (kind == FORGE_SMALL) {
        it->v = (struct krpc_view){(const uint8_t *)values[0], strlen(values[0])};
    } else if (kind == FORGE_BIG) {
        it->v = (struct krpc_view){made.big, sizeof made.big};
    } else {
        it->k = made.key;
        it->seq = i >> FORGE_SEQ_SHIFT & 3;
        it->salt.n = kind == FORGE_SALTED ? 4 : 0;
        it->salt.p = (const uint8_t *)"salt";
        int rc = item_sign(it, key, made.sig[i]);
        assert(rc == 0);
        it->sig = made.sig[i];
    }
}

static void make(void)
{
    static const uint8_t seed[ITEM_SEED_LEN] = {7};
    uint64_t state = 42;
    struct env env = {.ctx = &state, .random = seeded};
    struct item_key key;
    if (made.ready) {
        return;
    }
    item_key_from_seed(seed, &key);
    memcpy(made.key, key.public_key, sizeof made.key);
    memcpy(made.big, "996:", 4);
    memset(made.big + 4, 'b', sizeof made.big - 4);
    for (uint8_t i = 0; i < FORGE_ITEMS; i++) {
        make_item(i, &key);
    }
    for (unsigned i = 0; i < TARGETS; i++) {
        dht_id_random(&env, &made.target[i]);
    }
    for (uint8_t kind = 0; kind <= FORGE_SALTED; kind++) {
        item_target(&made.item[kind], &made.target[kind]);
    }
    dht_id_random(&env, &made.self[0]);
    dht_id_random(&env, &made.self[1]);
    made.target[4] = made.self[0];
    made.target[5] = made.self[1];
    make_ids(&env);
    made.target[6] = made.id[0];
    made.ready = true;
}

const struct dht_id *forge_id(uint8_t i)
{
    make();
    return &made.id[i];
}

const struct dht_id *forge_self(unsigned side)
{
    make();
    return &made.self[side];
}

const struct item *forge_item(uint8_t i)
{
    make();
    return &made.item[i % FORGE_ITEMS];
}

const struct dht_id *forge_target(uint8_t i)
{
    make();
    return &made.target[i % TARGETS];
}

/* ---- answers ---- */

/* The bytes that an answer points to. */
struct parts {
    uint8_t nodes[TOLD * KRPC_NODE6_LEN], nodes6[TOLD * KRPC_NODE6_LEN];
    uint8_t peers[2048], token[KRPC_TOKEN_MAX], sig[ITEM_SIG_LEN];
};

static size_t tell_nodes(unsigned first, unsigned limit, uint8_t *out)
{
    size_t len = 0;
    for (unsigned i = 0; i < TOLD; i++) {
        uint8_t number =
            (uint8_t)(limit == 192 ? (first + i) % 192 : 192 + (first + i) % 64);
        struct krpc_node n = {.id = made.id[number], .addr = forge_addr(number)};
        len += krpc_pack_node(&n, out + len);
    }
    return len;
}

static size_t tell_peers(const struct addr *from, unsigned n, uint8_t *out, size_t cap)
{
    struct wr w = wr_init(out, cap);
    wr_ben_list(&w);
    for (unsigned i = 0; i < n; i++) {
        uint8_t a[KRPC_ADDR6_LEN];
        struct addr peer = forge_addr((uint8_t)(from->family == 4 ? i : 192 + i % 64));
        peer.port = (uint16_t)(peer.port == 0 ? 0 : 1000 + i);
        wr_ben_str(&w, a, krpc_pack_addr(&peer, a));
    }
    wr_ben_end(&w);
    return wr_ok(&w) ? w.len : 0;
}

static void add_item(struct krpc_msg *m, const struct forge_asked *q, unsigned flags,
                     uint8_t more, struct parts *p)
{
    const struct item *it = forge_item(more);
    for (uint8_t kind = 0; kind <= FORGE_SALTED && (flags & FORGE_OTHER) == 0; kind++) {
        if (dht_id_eq(&q->target, &made.target[kind])) {
            it = forge_item((uint8_t)((more & ~FORGE_KIND_MASK) | kind));
        }
    }
    if (it->k != NULL) {
        m->seq = it->seq;
        m->has |= KRPC_SEQ;
    }
    if ((flags & (FORGE_VALUE | FORGE_OTHER)) == 0) {
        return;
    }
    m->v = it->v;
    m->has |= KRPC_V;
    if (it->k != NULL && (flags & FORGE_UNSIGNED) == 0) {
        memcpy(p->sig, it->sig, sizeof p->sig);
        p->sig[0] ^= (flags & FORGE_LIE) != 0;
        m->k = it->k;
        m->sig = p->sig;
        m->has |= KRPC_K | KRPC_SIG;
    }
}

static void add_nodes(struct krpc_msg *m, unsigned flags, uint8_t more, struct parts *p)
{
    if ((flags & FORGE_NODES) != 0) {
        m->nodes = (struct krpc_view){p->nodes, tell_nodes(more, 192, p->nodes)};
        m->has |= KRPC_NODES;
    }
    if ((flags & FORGE_NODES6) != 0) {
        m->nodes6 = (struct krpc_view){p->nodes6, tell_nodes(more, 64, p->nodes6)};
        m->has |= KRPC_NODES6;
    }
}

static void add_id(struct krpc_msg *m, uint8_t i, unsigned flags, uint8_t more)
{
    m->id = made.id[(flags & FORGE_ID) != 0 ? more : i];
    if ((flags & FORGE_OUR_ID) != 0) {
        m->id = made.self[i >= 192];
    }
    if ((flags & FORGE_NO_ID) == 0) {
        m->has |= KRPC_ID;
    }
}

size_t forge_answer(const struct forge_asked *q, uint8_t i, unsigned flags, uint8_t more,
                    uint8_t out[FORGE_MAX])
{
    static const int codes[] = {0, 201, 202, 203, 204, 205, 206, 207, 301, 302};
    struct parts p;
    struct krpc_msg m = {.kind = KRPC_REPLY, .t = {q->tid, sizeof q->tid}};
    make();
    if ((flags & FORGE_IP) != 0) {
        m.ip = forge_addr(more);
    }
    if ((flags & FORGE_ERROR) != 0) {
        m.kind = KRPC_ERROR;
        m.code = codes[more % (sizeof codes / sizeof *codes)];
        m.text = (struct krpc_view){(const uint8_t *)"no", 2};
        return krpc_encode(&m, out, FORGE_MAX);
    }
    add_id(&m, i, flags, more);
    add_nodes(&m, flags, more, &p);
    if ((flags & (FORGE_TOKEN | FORGE_LONG)) != 0) {
        memset(p.token, 't', sizeof p.token);
        m.token =
            (struct krpc_view){p.token, (flags & FORGE_LONG) != 0 ? KRPC_TOKEN_MAX : 4};
        m.has |= KRPC_TOKEN;
    }
    if ((flags & FORGE_PEERS) != 0) {
        size_t n = tell_peers(&q->addr, more % 128, p.peers, sizeof p.peers);
        m.values = (struct krpc_view){p.peers, n};
        m.has |= n > 0 ? KRPC_VALUES : 0;
    }
    if ((flags & (FORGE_VALUE | FORGE_OTHER | FORGE_SEQ)) != 0) {
        add_item(&m, q, flags, more, &p);
    }
    return krpc_encode(&m, out, FORGE_MAX);
}

/* ---- queries ---- */

static void put_item(struct krpc_msg *m, const struct item *it, bool cas)
{
    m->v = it->v;
    m->has |= KRPC_V;
    if (it->k != NULL) {
        m->k = it->k;
        m->sig = it->sig;
        m->seq = it->seq;
        m->salt = it->salt;
        m->has |= KRPC_K | KRPC_SIG | KRPC_SEQ | (it->salt.n > 0 ? KRPC_SALT : 0);
        m->cas = it->seq - (it->seq > 0);
        m->has |= cas ? KRPC_CAS : 0;
    }
}

size_t forge_query(uint8_t i, uint8_t flags, uint8_t which, uint8_t more,
                   const struct krpc_view *token, uint8_t out[FORGE_MAX])
{
    struct krpc_msg m;
    enum krpc_method method = (enum krpc_method)(flags & 7);
    bool odd = (flags & FORGE_SCRAPE) != 0;
    krpc_query_init(&m, method, "qq", 2, forge_id(i));
    m.q = (struct krpc_view){(const uint8_t *)"vote", 4};
    m.ro = (flags & FORGE_RO) != 0;
    m.token = *token;
    m.has |= token->n > 0 ? KRPC_TOKEN : 0;
    m.want = (uint8_t)((flags & FORGE_WANT4 ? KRPC_N4 : 0) |
                       (flags & FORGE_WANT6 ? KRPC_N6 : 0));
    m.has |= m.want != 0 ? KRPC_WANT : 0;
    m.target = m.info_hash = *forge_target(which);
    m.scrape = m.seed = odd;
    m.noseed = m.implied_port = more & 1;
    m.port = more;
    if (method == KRPC_GET_PEERS) {
        m.has |= KRPC_INFO_HASH | KRPC_SCRAPE | KRPC_NOSEED;
    } else if (method == KRPC_ANNOUNCE_PEER) {
        m.has |= KRPC_INFO_HASH | KRPC_PORT | KRPC_IMPLIED_PORT | KRPC_SEED;
    } else if (method == KRPC_PUT) {
        put_item(&m, forge_item(more), odd);
    } else if (method != KRPC_PING) {
        m.has |= KRPC_TARGET;
        m.seq = more & 3;
        m.has |= method == KRPC_GET && odd ? KRPC_SEQ : 0;
    }
    return krpc_encode(&m, out, FORGE_MAX);
}
