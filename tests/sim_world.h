/* A world of whole nodes on a virtual clock, from one seed.
 *
 * Nodes are the real ones over the real store (in memory). Their network is a model:
 * datagrams are lost, doubled, reordered and delayed; streams are delayed, stall in
 * partitions and are cut. A node can crash at any commit (before or after it took
 * effect), be set back to an old copy of its store, and have its wall clock jump.
 * Everything that happens follows from the seed. */
#ifndef LINNET_TESTS_SIM_WORLD_H
#define LINNET_TESTS_SIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/map.h"
#include "node.h"
#include "store.h"

enum {
    SIM_NODES_MAX = 256,
    SIM_SNAPSHOTS = 4,
    /* Beside what is sent: Ethernet, IPv4 and UDP or TCP (with time stamps) of a packet
     * of at most so many bytes, and the acknowledgement that the other side sends. */
    SIM_UDP_HEADERS = 14 + 20 + 8,
    SIM_TCP_HEADERS = 14 + 20 + 32,
    SIM_TCP_PAYLOAD = 1448,
    SIM_TCP_SETUP = 3 * SIM_TCP_HEADERS, /* packets without payload, begin and end */
};

struct sim_world;

struct sim_node {
    struct sim_world *world;
    int index;
    struct node *node; /* NULL while it is down */
    struct store *store;
    struct keyfile key;
    struct env env;
    int64_t wall_offset_us;
    uint64_t incarnation, up_at_ms;
    struct txn **queue; /* commits under way */
    size_t queue_len, queue_cap;
    bool commit_scheduled;
    struct blob snapshots[SIM_SNAPSHOTS];
    unsigned n_snapshots;
    char name[16];
    bool frozen;                /* as a laptop with its lid closed: nothing reaches it */
    uint64_t deadline_ms;       /* node_deadline() after the last call */
    uint64_t sent, received;    /* bytes with headers */
    uint64_t dials, packets_in; /* counted */
};

/* What the scenario wants to hear. */
struct sim_hooks {
    void *ctx;
    /* Records of a transaction that is now durable, and the events it made. */
    void (*committed)(void *ctx, int node, const struct txn *t);
    void (*event)(void *ctx, int node, const struct store_event *ev);
    void (*result)(void *ctx, int node, const struct node_event *ev);
    /* A contact came or went; may be NULL. */
    void (*presence)(void *ctx, int node, const struct node_event *ev);
    /* Its store was set back: what it had after the copy is gone there. */
    void (*rolled_back)(void *ctx, int node);
};

struct sim_faults {
    unsigned loss_pct, dup_pct; /* of datagrams */
    uint64_t delay_max_ms;
    unsigned crash_per_mille; /* of commits */
    bool torn;                /* crashed commits may have taken effect */
};

struct sim_world {
    uint64_t rng, now_ms, wall_us;
    int n;
    struct sim_node *nodes;
    bool (*cut)[SIM_NODES_MAX];
    struct sim_faults faults;
    struct sim_hooks hooks;
    struct sim_event *heap;
    size_t heap_len, heap_cap;
    uint64_t order;
    struct sim_conn *conns;
    struct env map_env;
    struct map conn_by_id;
    bool trace;
};

uint64_t sim_random(struct sim_world *w);
uint64_t sim_below(struct sim_world *w, uint64_t bound);
bool sim_chance(struct sim_world *w, unsigned per_mille);

void sim_init(struct sim_world *w, uint64_t seed, int n);
void sim_release(struct sim_world *w);
void sim_start(struct sim_world *w, int node);
/* Power is lost: nothing that was not committed survives. Comes up again after
 * down_ms. */
void sim_crash(struct sim_world *w, int node, uint64_t down_ms);
void sim_snapshot(struct sim_world *w, int node);
/* Crash, and an old copy of its home comes up. False when there is none. */
bool sim_roll_back(struct sim_world *w, int node, uint64_t down_ms);
void sim_set_cut(struct sim_world *w, int a, int b, bool cut);
/* Nothing reaches the node and nothing leaves it, until it is set going again: streams
 * stall, and are cut when it lasts. */
void sim_freeze(struct sim_world *w, int node, bool frozen);
/* A clean stop: it says good-bye and is gone. */
void sim_stop(struct sim_world *w, int node);
/* Runs until the virtual time has come. */
void sim_run(struct sim_world *w, uint64_t until_ms);
/* To be called after each request made to a node. */
void sim_drain(struct sim_world *w, int node);

#endif
