/* What it costs to read, write and answer messages of the DHT, without sockets: CPU time
 * of one thread. Prints `name: value unit`. Queries come from 65,536 networks in turn, so
 * that no limit holds one back; each answer names 8 nodes. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dht/server.h"

enum { ROUNDS = 1000000, PER_MS = 100, FOUND = SERVER_NODES + 1 };

static struct krpc_node known[FOUND];
static uint8_t packet[KRPC_SEND_MAX], out[KRPC_SEND_MAX];

static double cpu_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void tell(const char *what, const char *of, double seconds, size_t rounds)
{
    printf("krpc_%s_%s: %.0f ns\n", what, of, seconds / (double)rounds * 1e9);
}

static size_t closest(void *ctx, unsigned family, const struct dht_id *target,
                      struct krpc_node *found, size_t max)
{
    size_t n = max < FOUND ? max : FOUND;
    (void)ctx;
    (void)family;
    (void)target;
    memcpy(found, known, n * sizeof *found);
    return n;
}

static const struct server_nodes nodes = {NULL, closest};

static struct addr nth(uint32_t n)
{
    return (struct addr){
        .family = 4, .ip = {20, (uint8_t)(n >> 8), (uint8_t)n, 1}, .port = 6881};
}

static size_t query(enum krpc_method method, const struct dht_id *target)
{
    struct krpc_msg q;
    krpc_query_init(&q, method, "abcd", 4, target);
    q.target = q.info_hash = *target;
    q.has |= method == KRPC_PING        ? 0
             : method == KRPC_GET_PEERS ? KRPC_INFO_HASH
                                        : KRPC_TARGET;
    return krpc_encode(&q, packet, sizeof packet);
}

static size_t repeat_decode(const char *of, const uint8_t *p, size_t n)
{
    struct krpc_msg m;
    size_t bad = 0;
    double start = cpu_s();
    for (size_t i = 0; i < ROUNDS; i++) {
        bad += krpc_decode(p, n, &m) != 0;
    }
    tell("decode", of, cpu_s() - start, ROUNDS);
    return bad;
}

static size_t repeat_encode(const char *of, const struct krpc_msg *m)
{
    size_t bad = 0;
    double start = cpu_s();
    for (size_t i = 0; i < ROUNDS; i++) {
        bad += krpc_encode(m, out, sizeof out) == 0;
    }
    tell("encode", of, cpu_s() - start, ROUNDS);
    return bad;
}

/* Datagram in, datagram out. */
static size_t repeat_answer(struct server *s, enum krpc_method method,
                            const struct dht_id *target, uint64_t *now_ms)
{
    size_t n = query(method, target), silent = 0;
    double start = cpu_s();
    for (uint32_t i = 0; i < ROUNDS; i++) {
        struct krpc_msg q;
        struct addr from = nth(i);
        *now_ms += i % PER_MS == 0;
        silent += krpc_decode(packet, n, &q) != 0 ||
                  server_answer(s, &q, &from, &nodes, *now_ms, out) == 0;
    }
    tell("answer", krpc_method_name(method), cpu_s() - start, ROUNDS);
    return silent;
}

static size_t messages(const struct dht_id *id)
{
    struct krpc_msg q, m;
    struct addr from = nth(1);
    size_t n = query(KRPC_FIND_NODE, id), bad = krpc_decode(packet, n, &q) != 0;
    uint8_t compact[SERVER_NODES * KRPC_NODE4_LEN];
    for (size_t i = 0; i < SERVER_NODES; i++) {
        (void)krpc_pack_node(&known[i], compact + i * KRPC_NODE4_LEN);
    }
    bad += repeat_decode("query", packet, n);
    bad += repeat_encode("query", &q);
    krpc_reply_init(&m, &q, &from, id);
    m.nodes = (struct krpc_view){compact, sizeof compact};
    m.has |= KRPC_NODES;
    bad += repeat_encode("reply", &m);
    n = krpc_encode(&m, out, sizeof out);
    memcpy(packet, out, n);
    return bad + repeat_decode("reply", packet, n);
}

static size_t answers(struct server *s, const struct dht_id *id)
{
    static const enum krpc_method methods[] = {KRPC_PING, KRPC_FIND_NODE, KRPC_GET_PEERS,
                                               KRPC_GET, KRPC_SAMPLE_INFOHASHES};
    uint64_t now_ms = 0;
    size_t bad = 0;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        now_ms += 60000;
        bad += repeat_answer(s, methods[i], id, &now_ms);
    }
    return bad;
}

int main(void)
{
    struct server_config c;
    struct dht_id id;
    if (sodium_init() < 0) {
        return 1;
    }
    dht_id_random(env_system(), &id);
    for (uint32_t i = 0; i < FOUND; i++) {
        dht_id_random(env_system(), &known[i].id);
        known[i].addr = nth(1000 + i);
    }
    server_config_init(&c);
    c.bytes_per_s = 0;
    struct server *s = server_new(env_system(), &id, &c, 0);
    if (s == NULL) {
        return 1;
    }
    size_t bad = messages(&id) + answers(s, &id);
    printf("krpc_server_memory: %zu bytes\n", server_memory(s));
    server_free(s);
    if (bad > 0) {
        fprintf(stderr, "%zu failed\n", bad);
    }
    return bad > 0;
}
