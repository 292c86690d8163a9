/* Whole nodes (node.h) as guests of a simulated network of DHT nodes: the real schedule,
 * ids and keys of who meets through the DHT, over the datagrams of dht_world.h.
 *
 * Who is behind address translation gets datagrams only from where it has sent one within
 * LW_NAT_MS, and no stream. Streams between guests are in order and whole, LW_STREAM_MS
 * late; what nobody takes, is lost without a word. Stores are in memory, and commits are
 * durable at once. */
#ifndef LINNET_TESTS_LEAF_WORLD_H
#define LINNET_TESTS_LEAF_WORLD_H

#include "dht_world.h"
#include "node.h"
#include "seed.h"
#include "store.h"

enum {
    LW_PEOPLE_MAX = 32,
    LW_STREAMS_MAX = 4096, /* that are open at a time */
    LW_STREAM_MS = 40,
    LW_NAT_MS = 120000, /* RFC 4787, 4.3: not shorter */
    LW_NAT_SLOTS = 4096,
    LW_ROUTERS = 3, /* nodes of the DHT that everybody knows */
};

struct lw_nat {
    struct addr a;
    uint64_t sent_ms;
};

struct lw_person {
    struct lw *w;
    uint32_t guest; /* where it is */
    bool nat;
    struct seed_person who;
    struct store *store;
    struct node *node; /* NULL: it is away */
    struct env env;
    uint64_t random, deadline_ms;
    struct lw_nat *holes;
    /* Told of each datagram that it sends, and of each that reaches it; or NULL. */
    void (*meter)(void *ctx, bool out, const struct addr *a, const uint8_t *p, size_t len,
                  uint64_t now_ms);
    void *meter_ctx;
};

struct lw {
    struct dw *dw;
    uint64_t now_ms;
    struct lw_person v[LW_PEOPLE_MAX];
    size_t n;
    struct lw_stream *streams;
    struct lw_event *first, *last;
};

/* dw outlives it. */
void lw_init(struct lw *w, struct dw *dw);
void lw_release(struct lw *w);
/* Somebody new, who is away and knows nobody: seed_home() into its store. */
struct lw_person *lw_person(struct lw *w, bool nat);
/* It starts, at the address of that guest; it is gone, without a word. */
void lw_on(struct lw_person *p, uint32_t guest);
void lw_off(struct lw_person *p);
/* One step of the network, and what of it concerns guests. */
void lw_step(struct lw *w);

#endif
