#include <criterion/criterion.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bencode.h"
#include "base/err.h"
#include "dht/server.h"
#include "dht/token.h"
#include "seeded.h"

#define ID "abcdefghij0123456789"
#define OTHER "mnopqrstuvwxyz123456"

enum { NODES_MAX = 20 };

static uint64_t state;
static const struct env env = {.ctx = &state, .random = seeded};
static struct krpc_node known[NODES_MAX];
static size_t n_known;

static struct server *server;
static struct addr from;
static uint64_t now_ms;
static uint8_t bytes[KRPC_SEND_MAX]; /* the answer, to which what ask() returns points */
static size_t len;

/* In the order of known, which stands for the closest first. */
static size_t closest(void *ctx, unsigned family, const struct dht_id *target,
                      struct krpc_node *out, size_t max)
{
    size_t n = 0;
    (void)ctx;
    (void)target;
    for (size_t i = 0; i < n_known && n < max; i++) {
        if (known[i].addr.family == family) {
            out[n++] = known[i];
        }
    }
    return n;
}

static const struct server_nodes nodes = {NULL, closest};

static struct dht_id id_of(const char *s)
{
    struct dht_id id;
    memcpy(id.b, s, sizeof id.b);
    return id;
}

static struct addr ip(const char *s)
{
    struct addr a;
    cr_assert_eq(addr_parse(s, 6881, &a), 0, "%s", s);
    return a;
}

static void know(size_t v4, size_t v6)
{
    n_known = v4 + v6;
    for (size_t i = 0; i < n_known; i++) {
        dht_id_random(&env, &known[i].id);
        known[i].addr = ip(i < v4 ? "20.0.0.1" : "[2001:db8::1]");
        known[i].addr.ip[3] = (uint8_t)i;
    }
}

static void start_with(const struct server_config *c)
{
    struct dht_id self = id_of(ID);
    cr_assert(sodium_init() >= 0);
    server = server_new(&env, &self, c, 0);
    cr_assert_not_null(server);
}

static void start(void)
{
    struct server_config c;
    server_config_init(&c);
    state = 1;
    now_ms = 1000;
    from = ip("9.8.7.6:5000");
    start_with(&c);
}

static void stop(void)
{
    server_free(server);
    server_free(NULL);
}

TestSuite(server, .init = start, .fini = stop);

/* The decoded answer; kind KRPC_QUERY stands for silence. */
static struct krpc_msg answer(const struct krpc_msg *q)
{
    struct krpc_msg r = {.kind = KRPC_QUERY};
    struct ben whole;
    len = server_answer(server, q, &from, &nodes, now_ms, bytes);
    if (len > 0) {
        cr_assert_leq(len, KRPC_SEND_MAX);
        cr_assert(bencode_check(bytes, len, &whole), "canonical");
        cr_assert_eq(krpc_decode(bytes, len, &r), 0);
        cr_assert_eq(r.bad, 0);
        cr_assert(r.t.n == q->t.n && (r.t.n == 0 || memcmp(r.t.p, q->t.p, r.t.n) == 0));
        cr_assert(addr_eq(&r.ip, &from), "BEP 42");
        cr_assert_not(r.ro);
        cr_assert_null(r.version.p);
        cr_assert(r.kind == KRPC_ERROR || r.kind == KRPC_REPLY);
        cr_assert(r.kind == KRPC_ERROR || memcmp(r.id.b, ID, DHT_ID_LEN) == 0);
    }
    return r;
}

static struct krpc_msg query(enum krpc_method method)
{
    struct krpc_msg q;
    struct dht_id id = id_of("the asker's own id..");
    krpc_query_init(&q, method, "\x01\x02\x03\x04", 4, &id);
    return q;
}

static struct krpc_msg about(enum krpc_method method, const struct dht_id *target)
{
    struct krpc_msg q = query(method);
    bool hash = method == KRPC_GET_PEERS || method == KRPC_ANNOUNCE_PEER;
    *(hash ? &q.info_hash : &q.target) = *target;
    q.has |= hash ? KRPC_INFO_HASH : KRPC_TARGET;
    return q;
}

static void set_view(struct krpc_view *v, const void *p, size_t n)
{
    *v = (struct krpc_view){p, n};
}

/* Asks for a token and copies it. */
static void token_for(enum krpc_method method, const struct dht_id *target,
                      uint8_t token[TOKEN_LEN])
{
    struct krpc_msg q = about(method, target), r = answer(&q);
    cr_assert_eq(r.token.n, TOKEN_LEN);
    memcpy(token, r.token.p, TOKEN_LEN);
}

static struct krpc_msg announce(const struct dht_id *hash, uint16_t port, int64_t seed)
{
    uint8_t token[TOKEN_LEN];
    token_for(KRPC_GET_PEERS, hash, token);
    struct krpc_msg q = about(KRPC_ANNOUNCE_PEER, hash);
    set_view(&q.token, token, sizeof token);
    q.port = port;
    q.seed = seed;
    q.has |= KRPC_TOKEN | KRPC_PORT | KRPC_SEED;
    return answer(&q);
}

/* A put of a value with a good token, and fields beside it. */
static struct krpc_msg put_with(const struct item *it, uint32_t fields)
{
    uint8_t token[TOKEN_LEN];
    struct dht_id target;
    struct krpc_msg q = query(KRPC_PUT);
    item_target(it, &target);
    token_for(KRPC_GET, &target, token);
    set_view(&q.token, token, sizeof token);
    q.v = it->v;
    q.has |= KRPC_TOKEN | KRPC_V | fields;
    return answer(&q);
}

/* A put of this item with a good token. */
static struct krpc_msg put_item(const struct item *it, const int64_t *cas)
{
    uint8_t token[TOKEN_LEN];
    struct dht_id target;
    struct krpc_msg q = query(KRPC_PUT);
    item_target(it, &target);
    token_for(KRPC_GET, &target, token);
    set_view(&q.token, token, sizeof token);
    q.v = it->v;
    q.has |= KRPC_TOKEN | KRPC_V;
    if (it->k != NULL) {
        q.k = it->k;
        q.sig = it->sig;
        q.seq = it->seq;
        q.has |= KRPC_K | KRPC_SIG | KRPC_SEQ;
    }
    if (it->salt.n > 0) {
        q.salt = it->salt;
        q.has |= KRPC_SALT;
    }
    if (cas != NULL) {
        q.cas = *cas;
        q.has |= KRPC_CAS;
    }
    return answer(&q);
}

/* A signed item; key and signature live until the next call. */
static struct item made(const char *v, const char *salt, int64_t seq)
{
    static struct item_key key;
    static uint8_t sig[ITEM_SIG_LEN];
    static const uint8_t seed[ITEM_SEED_LEN] = {1};
    item_key_from_seed(seed, &key);
    struct item it = {.v = {(const uint8_t *)v, strlen(v)},
                      .k = key.public_key,
                      .sig = sig,
                      .salt = {(const uint8_t *)salt, strlen(salt)},
                      .seq = seq};
    cr_assert_eq(item_sign(&it, &key, sig), 0);
    return it;
}

static struct item plain(const char *v)
{
    return (struct item){.v = {(const uint8_t *)v, strlen(v)}};
}

static struct krpc_msg get_item(const struct item *it)
{
    struct dht_id target;
    item_target(it, &target);
    struct krpc_msg q = about(KRPC_GET, &target);
    return answer(&q);
}

static bool carries(const struct krpc_msg *r, const char *v)
{
    return (r->has & KRPC_V) != 0 && r->v.n == strlen(v) &&
           memcmp(r->v.p, v, r->v.n) == 0;
}

Test(server, ping)
{
    struct krpc_msg q = query(KRPC_PING), r = answer(&q);
    cr_assert_eq(r.kind, KRPC_REPLY);
    cr_assert_eq(r.has, KRPC_ID);
    q.ro = true;
    r = answer(&q);
    cr_assert_eq(r.kind, KRPC_REPLY, "read-only askers are answered");
    set_view(&q.t, "", 0);
    r = answer(&q);
    cr_assert_eq(r.kind, KRPC_REPLY);
}

Test(server, transaction_ids_come_back)
{
    static const size_t lens[] = {0, 1, 2, 20, 128, 256};
    static uint8_t tid[256];
    env_random(&env, tid, sizeof tid);
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        struct krpc_msg q = query(KRPC_PING);
        set_view(&q.t, tid, lens[i]);
        cr_assert_eq(answer(&q).kind, KRPC_REPLY, "%zu bytes", lens[i]);
    }
}

Test(server, nodes_by_family_and_want)
{
    static const struct {
        const char *from;
        uint8_t want;
        size_t n4, n6;
        uint32_t has;
    } cases[] = {
        {"9.8.7.6", 0, 8, 0, KRPC_NODES},
        {"9.8.7.6", KRPC_N4, 8, 0, KRPC_NODES},
        {"9.8.7.6", KRPC_N6, 0, 7, KRPC_NODES6},
        {"9.8.7.6", KRPC_N4 | KRPC_N6, 8, 7, KRPC_NODES | KRPC_NODES6},
        {"[2001:db8::99]", 0, 0, 7, KRPC_NODES6},
        {"[2001:db8::99]", KRPC_N4, 8, 0, KRPC_NODES},
    };
    struct dht_id target = id_of(OTHER);
    know(10, 7);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        from = ip(cases[i].from);
        struct krpc_msg q = about(KRPC_FIND_NODE, &target);
        q.want = cases[i].want;
        q.has |= KRPC_WANT;
        struct krpc_msg r = answer(&q);
        cr_assert_eq(r.has, cases[i].has | KRPC_ID, "case %zu", i);
        cr_assert_eq(r.nodes.n, cases[i].n4 * KRPC_NODE4_LEN);
        cr_assert_eq(r.nodes6.n, cases[i].n6 * KRPC_NODE6_LEN);
    }
    n_known = 0;
    from = ip("9.8.7.6");
    struct krpc_msg q = about(KRPC_FIND_NODE, &target), r = answer(&q);
    cr_assert_eq(r.has, KRPC_ID | KRPC_NODES, "an empty list is one");
}

Test(server, the_asker_is_not_told_of_itself)
{
    struct dht_id target = id_of(OTHER);
    struct krpc_node node;
    know(9, 0);
    struct krpc_msg q = about(KRPC_FIND_NODE, &target);
    known[3].id = q.id;
    known[5].addr = from;
    struct krpc_msg r = answer(&q);
    cr_assert_eq(r.nodes.n, 7 * KRPC_NODE4_LEN);
    while (krpc_node_next(&r.nodes, 4, &node)) {
        cr_assert_not(dht_id_eq(&node.id, &q.id));
        cr_assert_not(addr_eq(&node.addr, &from));
    }
}

Test(server, arguments_that_are_missing)
{
    static const enum krpc_method methods[] = {
        KRPC_FIND_NODE, KRPC_GET_PEERS, KRPC_ANNOUNCE_PEER,    KRPC_GET,
        KRPC_PUT,       KRPC_PING,      KRPC_SAMPLE_INFOHASHES};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        struct krpc_msg q = query(methods[i]);
        if (methods[i] == KRPC_PING) {
            q.has = 0;
        }
        struct krpc_msg r = answer(&q);
        cr_assert_eq(r.kind, KRPC_ERROR, "%s", krpc_method_name(methods[i]));
        cr_assert_eq(r.code, KRPC_E_PROTOCOL);
    }
}

Test(server, unknown_methods)
{
    struct dht_id target = id_of(OTHER);
    know(3, 0);
    struct krpc_msg q = query(KRPC_OTHER);
    set_view(&q.q, "vote", 4);
    struct krpc_msg r = answer(&q);
    cr_assert(r.kind == KRPC_ERROR && r.code == KRPC_E_METHOD);
    q = about(KRPC_OTHER, &target);
    set_view(&q.q, "vote", 4);
    r = answer(&q);
    cr_assert(r.kind == KRPC_REPLY && r.nodes.n == 3 * KRPC_NODE4_LEN);
    q = query(KRPC_OTHER);
    q.info_hash = target;
    q.has |= KRPC_INFO_HASH;
    set_view(&q.q, "vote", 4);
    r = answer(&q);
    cr_assert(r.kind == KRPC_REPLY && r.nodes.n == 3 * KRPC_NODE4_LEN);
    set_view(&q.q, NULL, 0);
    r = answer(&q);
    cr_assert(r.kind == KRPC_ERROR && r.code == KRPC_E_PROTOCOL, "no q");
}

Test(server, peers)
{
    struct dht_id hash = id_of(OTHER);
    struct addr a;
    size_t pos = 0;
    know(2, 0);
    struct krpc_msg q = about(KRPC_GET_PEERS, &hash), r = answer(&q);
    cr_assert_eq(r.has, KRPC_ID | KRPC_NODES | KRPC_TOKEN);
    r = announce(&hash, 4321, false);
    cr_assert_eq(r.kind, KRPC_REPLY);
    r = answer(&q);
    cr_assert_eq(r.has, KRPC_ID | KRPC_NODES | KRPC_TOKEN | KRPC_VALUES);
    cr_assert(krpc_peer_next(&r.values, &pos, &a));
    cr_assert(a.port == 4321 && addr_eq_ip(&a, &from));
    cr_assert_not(krpc_peer_next(&r.values, &pos, &a));
}

Test(server, the_port_of_an_announce)
{
    struct dht_id hash = id_of(OTHER);
    struct addr a;
    size_t pos = 0;
    uint8_t token[TOKEN_LEN];
    struct krpc_msg r = announce(&hash, 0, false);
    cr_assert(r.kind == KRPC_ERROR && r.code == KRPC_E_PROTOCOL);
    token_for(KRPC_GET_PEERS, &hash, token);
    struct krpc_msg q = about(KRPC_ANNOUNCE_PEER, &hash);
    set_view(&q.token, token, sizeof token);
    q.has |= KRPC_TOKEN;
    r = answer(&q);
    cr_assert(r.kind == KRPC_ERROR && r.code == KRPC_E_PROTOCOL, "none");
    q.implied_port = 1;
    q.has |= KRPC_IMPLIED_PORT;
    r = answer(&q);
    cr_assert_eq(r.kind, KRPC_REPLY);
    q = about(KRPC_GET_PEERS, &hash);
    r = answer(&q);
    cr_assert(krpc_peer_next(&r.values, &pos, &a));
    cr_assert_eq(a.port, from.port);
}

Test(server, tokens)
{
    struct dht_id hash = id_of(OTHER), another = id_of(ID);
    uint8_t token[TOKEN_LEN];
    token_for(KRPC_GET_PEERS, &hash, token);
    struct krpc_msg q = about(KRPC_ANNOUNCE_PEER, &hash);
    q.port = 4321;
    q.has |= KRPC_PORT | KRPC_TOKEN;
    set_view(&q.token, "badtoken", 8);
    struct krpc_msg r = answer(&q);
    cr_assert(r.kind == KRPC_ERROR && r.code == KRPC_E_PROTOCOL);
    set_view(&q.token, token, sizeof token);
    q.info_hash = another;
    r = answer(&q);
    cr_assert_eq(r.kind, KRPC_ERROR, "for another hash");
    q.info_hash = hash;
    from = ip("9.8.7.7:5000");
    r = answer(&q);
    cr_assert_eq(r.kind, KRPC_ERROR, "from another address");
    from = ip("9.8.7.6:999");
    r = answer(&q);
    cr_assert_eq(r.kind, KRPC_REPLY, "from another port");
    uint64_t got_ms = now_ms;
    now_ms = got_ms + TOKEN_ROTATE_MS;
    r = answer(&q);
    cr_assert_eq(r.kind, KRPC_REPLY, "that of the secret before counts");
    now_ms = got_ms + 2 * (uint64_t)TOKEN_ROTATE_MS;
    r = answer(&q);
    cr_assert_eq(r.kind, KRPC_ERROR, "too old");
}

Test(server, scrape_and_seeds)
{
    struct dht_id hash = id_of(OTHER);
    uint8_t want[BLOOM_LEN] = {0}, none[BLOOM_LEN] = {0};
    struct krpc_msg q = about(KRPC_GET_PEERS, &hash);
    q.scrape = 1;
    q.has |= KRPC_SCRAPE;
    struct krpc_msg r = answer(&q);
    cr_assert_eq(r.has & (KRPC_BFSD | KRPC_BFPE), 0, "nothing to count");
    (void)announce(&hash, 4321, true);
    bloom_add(want, &from);
    know(8, 8);
    q.want = KRPC_N4 | KRPC_N6;
    q.has |= KRPC_WANT;
    r = answer(&q);
    cr_assert_eq(r.has & (KRPC_BFSD | KRPC_BFPE), KRPC_BFSD | KRPC_BFPE);
    cr_assert_arr_eq(r.bfsd, want, BLOOM_LEN);
    cr_assert_arr_eq(r.bfpe, none, BLOOM_LEN);
    cr_assert_leq(len, SERVER_SMALL_MAX);
    q = about(KRPC_GET_PEERS, &hash);
    q.noseed = 1;
    q.has |= KRPC_NOSEED;
    r = answer(&q);
    cr_assert_eq(r.has & KRPC_VALUES, 0);
    (void)announce(&hash, 4321, 2);
    r = answer(&q);
    cr_assert_neq(r.has & KRPC_VALUES, 0, "only 1 says that it is a seed");
}

Test(server, samples)
{
    struct dht_id target = id_of(OTHER);
    struct krpc_msg q = about(KRPC_SAMPLE_INFOHASHES, &target), r = answer(&q);
    cr_assert_eq(r.has, KRPC_ID | KRPC_NODES | KRPC_SAMPLES | KRPC_NUM | KRPC_INTERVAL);
    cr_assert(r.samples.n == 0 && r.num == 0);
    for (int i = 0; i < SHELF_SAMPLES_MAX + 5; i++) {
        struct dht_id hash;
        dht_id_random(&env, &hash);
        now_ms += 1000;
        (void)announce(&hash, 4321, false);
    }
    know(8, 8);
    q.want = KRPC_N4 | KRPC_N6;
    q.has |= KRPC_WANT;
    r = answer(&q);
    cr_assert_eq(r.samples.n, SHELF_SAMPLES_MAX * DHT_ID_LEN);
    cr_assert_eq(r.num, SHELF_SAMPLES_MAX + 5);
    cr_assert(r.interval > 0 && r.interval <= KRPC_INTERVAL_MAX_S);
    cr_assert_leq(len, SERVER_SMALL_MAX);
}

Test(server, immutable_items)
{
    struct item it = plain("d1:ali1e3:twoee"), odd = plain("i-0e");
    struct krpc_msg r = get_item(&it);
    cr_assert_eq(r.has, KRPC_ID | KRPC_NODES | KRPC_TOKEN);
    r = put_item(&it, NULL);
    cr_assert_eq(r.kind, KRPC_REPLY);
    r = get_item(&it);
    cr_assert(carries(&r, "d1:ali1e3:twoee"));
    cr_assert_eq(r.has, KRPC_ID | KRPC_NODES | KRPC_TOKEN | KRPC_V);
    r = put_item(&odd, NULL);
    cr_assert(r.kind == KRPC_ERROR && r.code == KRPC_E_PROTOCOL, "not canonical");
    r = get_item(&odd);
    cr_assert_eq(r.has & KRPC_V, 0);
}

Test(server, mutable_items)
{
    const int64_t three = 3, four = 4, negative = -1;
    struct item it = made("5:first", "", 4);
    struct dht_id target;
    item_target(&it, &target);
    cr_assert_eq(put_item(&it, &negative).kind, KRPC_REPLY, "cas: nothing is stored");
    cr_assert_eq(put_item(&it, &negative).code, KRPC_E_CAS);
    struct krpc_msg r = get_item(&it);
    cr_assert(carries(&r, "5:first"));
    cr_assert_eq(r.has, KRPC_ID | KRPC_NODES | KRPC_TOKEN | KRPC_V | KRPC_K | KRPC_SIG |
                            KRPC_SEQ);
    struct item back;
    item_of(&r, &back);
    cr_assert(item_is(&back, &target));
    cr_assert_eq(put_item(&it, NULL).kind, KRPC_REPLY, "again");
    uint8_t sig[ITEM_SIG_LEN];
    memcpy(sig, it.sig, sizeof sig);
    struct item forged = it;
    forged.v.p = (const uint8_t *)"5:FIRST";
    cr_assert_eq(put_item(&forged, NULL).code, KRPC_E_SIGNATURE,
                 "that of what is stored");
    forged = it;
    forged.sig = sig;
    sig[3] ^= 1;
    cr_assert_eq(put_item(&forged, NULL).code, KRPC_E_SIGNATURE);
    it = made("5:other", "", 4);
    cr_assert_eq(put_item(&it, NULL).code, KRPC_E_SEQ);
    it = made("5:other", "", 3);
    cr_assert_eq(put_item(&it, NULL).code, KRPC_E_SEQ);
    it = made("5:other", "", 5);
    cr_assert_eq(put_item(&it, &three).code, KRPC_E_CAS);
    r = get_item(&it);
    cr_assert(carries(&r, "5:first"));
    cr_assert_eq(put_item(&it, &four).kind, KRPC_REPLY);
    r = get_item(&it);
    cr_assert(carries(&r, "5:other") && r.seq == 5);
}

/* Who has that number gets the number only. */
Test(server, get_with_seq)
{
    struct item it = made("5:first", "", 4);
    struct dht_id target;
    item_target(&it, &target);
    (void)put_item(&it, NULL);
    for (int64_t seq = 0; seq < 9; seq++) {
        struct krpc_msg q = about(KRPC_GET, &target);
        q.seq = seq;
        q.has |= KRPC_SEQ;
        struct krpc_msg r = answer(&q);
        cr_assert((r.has & KRPC_SEQ) != 0 && r.seq == 4 && (r.has & KRPC_TOKEN) != 0);
        cr_assert_eq(carries(&r, "5:first"), seq < 4);
        cr_assert_eq((r.has & (KRPC_K | KRPC_SIG)) != 0, seq < 4);
    }
}

Test(server, puts_that_are_refused)
{
    static uint8_t value[ITEM_VALUE_MAX + 1], salt[ITEM_SALT_MAX + 1];
    struct item it = made("5:first", "", 1), big = it, salted = it, half = it;
    memcpy(value, "997:", 4);
    set_view(&big.v, value, sizeof value);
    cr_assert_eq(put_item(&big, NULL).code, KRPC_E_TOO_BIG);
    big.k = NULL;
    cr_assert_eq(put_item(&big, NULL).code, KRPC_E_TOO_BIG);
    set_view(&salted.salt, salt, sizeof salt);
    cr_assert_eq(put_item(&salted, NULL).code, KRPC_E_SALT);
    it.seq = 2;
    cr_assert_eq(put_item(&it, NULL).code, KRPC_E_SIGNATURE);
    it.seq = 1;
    struct item loose = plain("5:loose");
    loose.seq = 1;
    cr_assert_eq(put_with(&loose, KRPC_SEQ).code, KRPC_E_PROTOCOL, "seq, but no key");
    cr_assert_eq(put_with(&loose, KRPC_CAS).kind, KRPC_REPLY, "cas is for the mutable");
    cr_assert_eq(put_with(&loose, 0).kind, KRPC_REPLY);

    /* Without sig and seq it would be an immutable item under the target of a mutable. */
    uint8_t token[TOKEN_LEN];
    struct dht_id target;
    item_target(&half, &target);
    token_for(KRPC_GET, &target, token);
    struct krpc_msg q = query(KRPC_PUT);
    set_view(&q.token, token, sizeof token);
    q.v = half.v;
    q.k = half.k;
    q.has |= KRPC_TOKEN | KRPC_V | KRPC_K;
    cr_assert_eq(answer(&q).code, KRPC_E_PROTOCOL);
    struct krpc_msg r = get_item(&it);
    cr_assert_eq(r.has & KRPC_V, 0, "nothing of it was stored");

    q = query(KRPC_PUT);
    q.v = half.v;
    q.has |= KRPC_V;
    cr_assert_eq(answer(&q).code, KRPC_E_PROTOCOL, "no token");
    set_view(&q.token, token, sizeof token);
    q.has |= KRPC_TOKEN;
    cr_assert_eq(answer(&q).code, KRPC_E_PROTOCOL, "the token of another target");
    q.v = (struct krpc_view){NULL, 0};
    q.has &= ~(uint32_t)KRPC_V;
    cr_assert_eq(answer(&q).code, KRPC_E_PROTOCOL, "no v");
}

static unsigned pings(unsigned times)
{
    unsigned got = 0;
    for (unsigned i = 0; i < times; i++) {
        struct krpc_msg q = query(KRPC_PING);
        got += answer(&q).kind == KRPC_REPLY;
    }
    return got;
}

Test(server, each_address_has_a_limit)
{
    struct server_stats st;
    cr_assert_eq(pings(200), SERVER_BURST);
    server_stats(server, &st);
    cr_assert_eq(st.silent, 200 - SERVER_BURST);
    cr_assert_eq(st.answers, SERVER_BURST);
    from.port++;
    cr_assert_eq(pings(5), 0, "another port is the same address");
    from = ip("9.8.6.7");
    cr_assert_eq(pings(5), 5, "another address is served");
    from = ip("9.8.7.6");
    now_ms += 1000;
    cr_assert_eq(pings(200), 10, "10 a second come back");
    from = ip("2001:db8:1:2::1");
    cr_assert_eq(pings(200), SERVER_BURST);
    from = ip("2001:db8:1:2::2");
    cr_assert_eq(pings(5), 0, "who has one address of a /64 has them all");
    from = ip("2001:db8:1:3::1");
    cr_assert_eq(pings(5), 5);
}

Test(server, a_network_has_a_limit)
{
    unsigned got = 0;
    from = ip("9.8.7.0");
    for (unsigned i = 0; i < 250; i++) {
        from.ip[3] = (uint8_t)i;
        got += pings(4);
    }
    cr_assert_eq(got, SERVER_NET_BURST);
    got = 0;
    from = ip("2001:db8:1::1");
    for (unsigned i = 0; i < 250; i++) {
        from.ip[7] = (uint8_t)i;
        got += pings(4);
    }
    cr_assert_eq(got, SERVER_NET_BURST, "a /48");
    from = ip("9.8.6.7");
    cr_assert_eq(pings(4), 4);
    got = 0;
    from = ip("192.168.1.0");
    for (unsigned i = 1; i < 250; i++) {
        from.ip[3] = (uint8_t)i;
        got += pings(4);
    }
    cr_assert_eq(got, 249 * 4, "but for local addresses, each of which is one");
}

Test(server, all_share_a_budget_of_bytes)
{
    struct server_config c;
    struct server_stats st;
    server_config_init(&c);
    c.gap_ms = 0;
    c.bytes_per_s = 10000;
    c.bytes_burst = 20000;
    now_ms = 0;
    server_free(server);
    start_with(&c);
    cr_assert_lt(pings(1000), 1000);
    server_stats(server, &st);
    cr_assert(st.bytes > 14000 && st.bytes <= 15000, "%zu", (size_t)st.bytes);
    server_proved(server, &from, now_ms);
    (void)pings(1000);
    server_stats(server, &st);
    cr_assert(st.bytes > 19000 && st.bytes <= 20000, "the rest is for such ones");
    now_ms += 1000;
    (void)pings(1000);
    server_stats(server, &st);
    cr_assert(st.bytes > 29000 && st.bytes <= 30000, "%zu", (size_t)st.bytes);
}

/* An item that somebody else has put; the asker has proved nothing. */
static struct item put_by_another(const char *v)
{
    struct addr asker = from;
    struct item it = plain(v);
    from = ip("7.7.7.7");
    cr_assert_eq(put_item(&it, NULL).kind, KRPC_REPLY);
    from = asker;
    return it;
}

/* Forged queries for a large value bring its victim little. */
Test(server, values_for_who_has_proved_nothing)
{
    struct item it = put_by_another("5:hello");
    struct krpc_msg r;
    unsigned got = 0;
    for (int i = 0; i < 20; i++) {
        r = get_item(&it);
        cr_assert((r.has & KRPC_TOKEN) != 0, "it can prove itself");
        got += carries(&r, "5:hello");
    }
    cr_assert_eq(got, SERVER_LARGE_BURST);
    now_ms += SERVER_LARGE_GAP_MS;
    r = get_item(&it);
    cr_assert(carries(&r, "5:hello"));
    r = get_item(&it);
    cr_assert_not(carries(&r, "5:hello"));
    server_proved(server, &from, now_ms);
    for (int i = 0; i < 20; i++) {
        r = get_item(&it);
        cr_assert(carries(&r, "5:hello"));
    }
}

Test(server, a_token_proves_an_address)
{
    struct item it = put_by_another("5:hello"), own = plain("3:own");
    struct krpc_msg r;
    for (int i = 0; i < 10; i++) {
        r = get_item(&it);
    }
    cr_assert_not(carries(&r, "5:hello"));
    cr_assert_eq(put_item(&own, NULL).kind, KRPC_REPLY);
    r = get_item(&it);
    cr_assert(carries(&r, "5:hello"));
}

Test(server, many_peers_for_who_has_proved_nothing)
{
    struct dht_id hash = id_of(OTHER);
    struct addr asker = from, a;
    size_t most = 0, least = 1000;
    for (uint8_t i = 0; i < 100; i++) {
        from = ip("20.0.0.1");
        from.ip[2] = i;
        (void)announce(&hash, 4321, false);
    }
    from = asker;
    know(8, 8);
    for (int i = 0; i < 20; i++) {
        struct krpc_msg q = about(KRPC_GET_PEERS, &hash);
        q.want = KRPC_N4 | KRPC_N6;
        q.has |= KRPC_WANT;
        struct krpc_msg r = answer(&q);
        size_t pos = 0, n = 0;
        while (krpc_peer_next(&r.values, &pos, &a)) {
            n++;
        }
        most = n > most ? n : most;
        least = n < least ? n : least;
        cr_assert_leq(len, SERVER_SMALL_MAX);
    }
    cr_assert_eq(most, SERVER_PEERS4_MAX);
    cr_assert_eq(least, SERVER_PEERS_SCRAPE);

    /* Beside the filters, there is room for few. */
    server_proved(server, &from, now_ms);
    struct krpc_msg q = about(KRPC_GET_PEERS, &hash);
    q.scrape = 1;
    q.has |= KRPC_SCRAPE;
    struct krpc_msg r = answer(&q);
    size_t pos = 0, n = 0;
    while (krpc_peer_next(&r.values, &pos, &a)) {
        n++;
    }
    cr_assert(r.bfpe != NULL && r.bfsd != NULL);
    cr_assert_eq(n, SERVER_PEERS_SCRAPE);
    cr_assert_eq(r.nodes.n, 8 * KRPC_NODE4_LEN, "no node gives way");
}

/* What is far, and who we are, is by our id of now. */
Test(server, another_id_of_ours)
{
    struct server_config c;
    struct item x = plain("1:x"), y = plain("1:y");
    struct dht_id self;
    server_config_init(&c);
    c.shelf.items_max = 1;
    server_free(server);
    start_with(&c);
    item_target(&x, &self);
    server_set_self(server, &self);
    struct krpc_msg q = query(KRPC_PING), r;
    len = server_answer(server, &q, &from, &nodes, now_ms, bytes);
    cr_assert_eq(krpc_decode(bytes, len, &r), 0);
    cr_assert(dht_id_eq(&r.id, &self));
    self = id_of(ID);
    server_set_self(server, &self);
    cr_assert_eq(put_item(&x, NULL).kind, KRPC_REPLY);
    item_target(&x, &self);
    server_set_self(server, &self);
    struct shelf *shelf = server_shelf(server);
    struct dht_id target;
    struct addr other = ip("20.1.2.3");
    item_target(&y, &target);
    cr_assert_eq(shelf_put(shelf, &target, &y, NULL, &other, now_ms), ERR_FULL);
    server_set_self(server, &target);
    cr_assert_eq(shelf_put(shelf, &target, &y, NULL, &other, now_ms), 0);
}

/* The largest answer there is: nodes give way to the value. */
Test(server, a_large_value_fits_a_datagram)
{
    static char value[ITEM_VALUE_MAX + 1];
    (void)snprintf(value, sizeof value, "996:%0996d", 7);
    from = ip("[2001:db8::5]:9");
    struct item it = made(value, "salt", INT64_MAX);
    cr_assert_eq(put_item(&it, NULL).kind, KRPC_REPLY);
    know(8, 8);
    struct dht_id target;
    item_target(&it, &target);
    struct krpc_msg q = about(KRPC_GET, &target);
    q.want = KRPC_N4 | KRPC_N6;
    q.has |= KRPC_WANT;
    struct krpc_msg r = answer(&q);
    cr_assert(carries(&r, value));
    cr_assert_gt(r.nodes.n + r.nodes6.n, 0);
    cr_assert_lt(r.nodes.n + r.nodes6.n, 8 * (KRPC_NODE4_LEN + KRPC_NODE6_LEN));
}

Test(server, time_passes)
{
    struct item it = put_by_another("5:hello");
    uint64_t due = server_deadline(server);
    cr_assert_eq(due, now_ms + SHELF_ITEM_TTL_MS);
    now_ms = due;
    server_tick(server, now_ms);
    struct krpc_msg r = get_item(&it);
    cr_assert_eq(r.has & KRPC_V, 0);
    cr_assert_eq(server_deadline(server), UINT64_MAX);
}

Test(server, nobody_answers_who_cannot_be_reached)
{
    static const char *const bad[] = {"9.8.7.6:0", "0.0.0.0:5", "224.0.0.1:5",
                                      "[ff02::1]:5"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_eq(addr_parse(bad[i], 0, &from), 0);
        cr_assert_eq(pings(1), 0, "%s", bad[i]);
    }
}

/* A node of the simulation keeps little. */
Test(server, memory_of_a_quiet_node)
{
    struct item it = plain("5:hello");
    cr_assert_lt(server_memory(server), 2048);
    (void)put_item(&it, NULL);
    for (uint8_t i = 0; i < 60; i++) {
        now_ms += 1000;
        from.ip[0] = i + 1;
        (void)pings(3);
        server_proved(server, &from, now_ms);
    }
    cr_assert_lt(server_memory(server), 6 * 1024, "%zu", server_memory(server));
}
