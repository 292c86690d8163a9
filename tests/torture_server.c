/* Lets each allocation of a DHT server fail once: it goes on, forgets or refuses, and in
 * the end holds nothing. Memory errors and leaks are the sanitizer's to find. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dht/server.h"
#include "dht/token.h"
#include "seeded.h"
#include "torture.h"

enum { STEPS = 300, STEP_MS = 3000, SUBNETS = 50, VALUES = 120 };

static uint64_t state;
static const struct env env = {.ctx = &state, .random = seeded};

static size_t closest(void *ctx, unsigned family, const struct dht_id *target,
                      struct krpc_node *out, size_t max)
{
    (void)ctx;
    (void)family;
    (void)target;
    (void)out;
    (void)max;
    return 0;
}

static const struct server_nodes nodes = {NULL, closest};

/* A token, and what it is for: an item or an announce, from one of some networks. */
static void step(struct server *s, uint32_t i)
{
    char v[16];
    uint8_t out[KRPC_SEND_MAX], token[TOKEN_LEN];
    bool put = i % 2 != 0;
    uint64_t now_ms = (uint64_t)i * STEP_MS;
    struct addr from = {
        .family = 4, .ip = {20, (uint8_t)(7 * i), (uint8_t)(i % SUBNETS), 1}, .port = 9};
    struct dht_id target, id = {{1}};
    struct krpc_msg q, r;
    int n = snprintf(v, sizeof v, "i%ue", (unsigned)(i % VALUES));
    struct item it = {.v = {(const uint8_t *)v, (size_t)n}};
    item_target(&it, &target);

    krpc_query_init(&q, put ? KRPC_GET : KRPC_GET_PEERS, "a", 1, &id);
    q.target = q.info_hash = target;
    q.has |= put ? KRPC_TARGET : KRPC_INFO_HASH;
    size_t len = server_answer(s, &q, &from, &nodes, now_ms, out);
    if (len == 0 || krpc_decode(out, len, &r) != 0 || r.token.n != sizeof token) {
        return;
    }
    memcpy(token, r.token.p, sizeof token);
    krpc_query_init(&q, put ? KRPC_PUT : KRPC_ANNOUNCE_PEER, "a", 1, &id);
    q.info_hash = target;
    q.port = 8;
    q.v = it.v;
    q.token = (struct krpc_view){token, sizeof token};
    q.has |= KRPC_TOKEN | (put ? KRPC_V : KRPC_INFO_HASH | KRPC_PORT);
    (void)server_answer(s, &q, &from, &nodes, now_ms, out);
    server_tick(s, now_ms);
}

/* True when something was left behind. */
static bool run(void)
{
    struct server_config c;
    struct shelf_stats stats = {0};
    struct dht_id self = {{0}};
    server_config_init(&c);
    c.shelf.items_max = 40;
    c.shelf.hashes_max = 30;
    c.shelf.peers_max = 60;
    state = 7;
    struct server *s = server_new(&env, &self, &c, 0);
    for (uint32_t i = 0; s != NULL && i < STEPS; i++) {
        step(s, i);
    }
    if (s != NULL) {
        server_tick(s, UINT64_MAX - 1);
        shelf_stats(server_shelf(s), &stats);
    }
    server_free(s);
    return stats.items + stats.item_bytes + stats.hashes + stats.peers > 0;
}

int main(void)
{
    long failed = 0, bad = 0;
    if (sodium_init() < 0) {
        return 1;
    }
    for (;; failed++) {
        torture_arm(failed);
        bad += run();
        if (torture_armed()) {
            break; /* there were not so many */
        }
    }
    printf("%ld failures, %ld left something behind\n", failed, bad);
    return bad > 0 || failed < 100;
}
