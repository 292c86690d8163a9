/* People who meet through an ideal DHT, on one clock: a store of mutable items with
 * expiry, latency, lost puts and unanswered gets, all from one seed. Every put is checked
 * as a node of the real DHT would.
 *
 * A link stands for what node does: who learns where somebody is dials, which succeeds
 * when that one is still there and nothing is in between; who is knocked at punches,
 * which succeeds when the one who knocks is still there. Over a link both tell their
 * presence secret and acknowledge the other's. */
#ifndef LINNET_TESTS_MEET_WORLD_H
#define LINNET_TESTS_MEET_WORLD_H

#include "base/map.h"
#include "meet.h"

enum {
    MW_PEOPLE_MAX = 128,
    MW_ITEMS_MAX = 1 << 20,
    MW_PENDING_MAX = 1024,
    MW_EXPIRE_MS = 2 * 3600000,
    MW_CODE = 1000, /* ref of a code and id of an invite */
    /* Bytes of a request with its answers, headers of IP and UDP included: a look-up asks
     * 25 nodes, a put writes to 8 more (docs of the testbed: 123 and 341 bytes a get). */
    MW_GET_BYTES = 25 * 464,
    MW_POLL_BYTES = 464,
    MW_PUT_BYTES = 25 * 464 + 8 * (1050 + 110),
};

struct mw_item {
    uint8_t sig[64], v[WIRE_ITEM_VALUE];
    uint64_t seq, expires_ms;
    uint8_t old_sig[64], old_v[WIRE_ITEM_VALUE]; /* the one before; old_seq 0: none */
    uint64_t old_seq;
};

struct mw_person {
    struct mw_world *world;
    struct env env;
    struct meet *meet;
    int me;
    bool on;        /* has a DHT; else it is away */
    bool nat;       /* cannot be dialled */
    uint16_t place; /* its address, changed by mw_move() */
    int64_t skew_ms;
    uint8_t device[32], p[32], seed[32];
    struct meet_contact known[MW_PEOPLE_MAX]; /* what it knows of others; ref 0: nobody */
    bool linked[MW_PEOPLE_MAX];
    /* counted since the last mw_count() */
    size_t puts, gets, polls, wheres, knocks, absents, unknowns;
    bool met_code; /* somebody with our code, or our inviter, was linked */
    int code_of;   /* whose code it holds; -1: nobody's */
};

struct mw_pending {
    bool used;
    uint64_t at_ms, order;
    int who;
    struct meet_out out;
};

struct mw_world {
    uint64_t rng, seed, now_ms, order;
    int count;
    struct mw_person v[MW_PEOPLE_MAX];
    struct map items; /* of struct mw_item, by key */
    struct mw_pending pending[MW_PENDING_MAX];
    uint32_t latency_ms;
    /* Percent: puts that store nothing, requests not answered, and those answered by
     * somebody who plays back what was there before, makes up values, and claims to know
     * something newer. */
    unsigned lost, silent, lying;
};

/* Heap; everybody is off and knows nobody. */
struct mw_world *mw_new(int count, uint64_t seed);
void mw_free(struct mw_world *w);
uint32_t mw_random(struct mw_world *w, uint32_t bound);
/* They pair: each knows the other's presence secret and has acknowledged it. */
void mw_pair(struct mw_world *w, int a, int b);
void mw_pair_all(struct mw_world *w);
/* a removes b: forgets it and gets another presence secret. */
void mw_remove(struct mw_world *w, int a, int b);
/* a's presence secret changes; nobody has acknowledged it. */
void mw_rotate(struct mw_world *w, int a);
void mw_on(struct mw_world *w, int who, bool on);
void mw_move(struct mw_world *w, int who);
void mw_want(struct mw_world *w, int who, int whom, bool want);
/* who makes an invite, whom holds its code. */
void mw_invite(struct mw_world *w, int who, int whom);
void mw_run(struct mw_world *w, uint64_t ms);
bool mw_linked(const struct mw_world *w, int a, int b);
/* Pairs of people who know each other, are on, and have no link. */
size_t mw_apart(const struct mw_world *w);
void mw_count(struct mw_world *w);
size_t mw_bytes(const struct mw_person *p);

#endif
