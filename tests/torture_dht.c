/* Lets allocations of a small DHT network fail, one in each run: nodes go on, forget or
 * refuse, and in the end hold nothing. Memory errors and leaks are the sanitizer's to
 * find. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dht/dht.h"
#include "seeded.h"
#include "torture.h"

enum { NODES = 12, QUEUE = 1024, DELAY_MS = 30, RUN_MS = 40000, STEP_MS = 10 };

static uint64_t state;
static const struct env env = {.ctx = &state, .random = seeded};

struct net {
    struct dht *d[NODES];
    struct dht_out out[QUEUE];
    uint64_t at_ms[QUEUE];
    uint8_t from[QUEUE];
    size_t first, n;
    uint64_t now_ms;
    unsigned found;
};

static struct addr address(unsigned i)
{
    return (struct addr){.family = 4, .ip = {20, (uint8_t)i, 1, 1}, .port = 9};
}

static void drain(struct net *n, uint8_t i)
{
    struct dht_event e;
    while (n->n < QUEUE && dht_next_out(n->d[i], &n->out[(n->first + n->n) % QUEUE])) {
        size_t at = (n->first + n->n++) % QUEUE;
        n->at_ms[at] = n->now_ms + DELAY_MS;
        n->from[at] = i;
    }
    while (dht_next_event(n->d[i], &e)) {
        n->found += e.type == DHT_VALUE || e.type == DHT_PEERS;
    }
}

static void deliver(struct net *n)
{
    while (n->n > 0 && n->at_ms[n->first] <= n->now_ms) {
        const struct dht_out *out = &n->out[n->first];
        struct addr from = address(n->from[n->first]);
        struct dht *to = out->dest.ip[1] < NODES ? n->d[out->dest.ip[1]] : NULL;
        if (to != NULL) {
            (void)dht_recv(to, &from, out->bytes, out->len, n->now_ms);
        }
        n->first = (n->first + 1) % QUEUE;
        n->n--;
    }
}

static void begin(struct net *n)
{
    struct item it = {.v = {(const uint8_t *)"2:hi", 4}};
    static const uint8_t k[KRPC_KEY_LEN] = {1};
    struct dht_id target;
    struct addr a = address(1);
    uint32_t op;
    uint64_t t = n->now_ms;
    item_target(&it, &target);
    if (n->d[2] == NULL || n->d[3] == NULL) {
        return;
    }
    switch (t) {
    case 15000:
        (void)dht_put(n->d[2], &it, NULL, true, t, &op);
        (void)dht_announce(n->d[2], &target, 0, true, t, &op);
        (void)dht_ping(n->d[2], &a, t, &op);
        break;
    case 25000:
        (void)dht_get(n->d[3], &target, true, t, &op);
        (void)dht_get_mutable(n->d[3], k, NULL, 0, false, t, &op);
        (void)dht_peers(n->d[3], &target, t, &op);
        break;
    default:
        break;
    }
}

/* How many things were found. */
static unsigned run(long fail_at)
{
    static struct net n;
    n = (struct net){.now_ms = 0};
    state = 1;
    torture_arm(fail_at);
    for (unsigned i = 0; i < NODES; i++) {
        struct dht_config c = {.family = {true, false}, .open = i != 5};
        struct addr a = address(i == 0 ? 1 : 0);
        n.d[i] = dht_new(&c, &env, 0);
        if (n.d[i] != NULL) {
            (void)dht_add_router(n.d[i], &a, 0);
        }
    }
    for (; n.now_ms < RUN_MS; n.now_ms += STEP_MS) {
        deliver(&n);
        begin(&n);
        for (uint8_t i = 0; i < NODES; i++) {
            if (n.d[i] != NULL && dht_deadline(n.d[i]) <= n.now_ms) {
                dht_tick(n.d[i], n.now_ms);
            }
            if (n.d[i] != NULL) {
                drain(&n, i);
            }
        }
    }
    for (unsigned i = 0; i < NODES; i++) {
        dht_free(n.d[i]);
    }
    return n.found;
}

int main(void)
{
    if (sodium_init() < 0) {
        return 1;
    }
    unsigned runs = 0, best = run(-1);
    if (best < 2) {
        fprintf(stderr, "without a failure %u things are found\n", best);
        return 1;
    }
    for (long n = 0; !torture_armed(); n += 1 + n / 64) { /* until none is left to fail */
        (void)run(n);
        runs++;
    }
    printf("%u runs, in each another allocation fails\n", runs);
    return 0;
}
