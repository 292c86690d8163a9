/* Attackers in the world of dht_world.h, and victims who only count what reaches them.
 *
 * An attacker is a stranger at an address of its own, or one of the hosts: that one joins
 * as all do, and lies in some of its answers. Attackers know everything: all hosts, all
 * ids, and what is stored under which target. They have no deadlines: the caller lets
 * them act between the steps of the world, which runs in one thread. */
#ifndef LINNET_TESTS_DHT_ATTACK_H
#define LINNET_TESTS_DHT_ATTACK_H

#include "dht_world.h"

enum {
    ATTACK_NEAR = 48,       /* hosts around a target that its attackers court */
    ATTACK_PUTS = 16,       /* hosts at which a putter tries */
    ATTACK_NODES = 24,      /* in an answer that lies about nodes */
    ATTACK_VALUES = 5,      /* ways to lie about a value */
    ATTACK_PACE_MS = 10000, /* between two queries of one who courts */
};

enum attack_role {
    ATTACK_NONE,
    ATTACK_VICTIM,   /* counts, and answers nothing */
    ATTACK_POISONER, /* names nodes at addresses where nobody should be asked */
    ATTACK_SYBIL,    /* names its own group only, and stores nothing */
    ATTACK_FORGER,   /* answers with values that are not the newest true one */
    ATTACK_PUTTER,   /* asks for tokens, and puts such values */
    ATTACK_FLOODER,  /* asks for tokens, and puts as much as it can */
};

struct attack_actor {
    enum attack_role role;
    uint32_t group;
    struct addr addr;
    struct dht_id id;
    uint64_t sent, sent_bytes, received, received_bytes; /* without headers */
    uint64_t next_ms;                                    /* when it acts again */
};

/* Attackers that work together on one target. */
struct attack_group {
    struct dht_id target;
    uint32_t near[ATTACK_NEAR]; /* hosts that are courted */
    uint32_t n_near;
    uint32_t *member; /* strangers */
    uint32_t n;
};

/* A mutable item with an older and a newer value. */
struct attack_item {
    struct item_key key;
    struct dht_id target;
    struct item it[2];
    uint8_t v[2][ITEM_VALUE_MAX], sig[2][ITEM_SIG_LEN];
};

struct attack {
    struct dw *w;
    struct attack_actor *actor; /* hosts and strangers */
    uint32_t n;
    struct attack_group *group;
    uint32_t n_groups;
    const struct attack_item *item; /* what forgers and putters know */
    uint32_t n_items;
    struct addr victim; /* whom poisoners name */
    uint64_t random;
    struct env env;
    uint64_t taken[ATTACK_VALUES]; /* puts of a putter that were not refused */
    uint64_t refused;
    uint32_t flood; /* queries of flooders so far, each of which has a number */
};

void attack_init(struct attack *a, struct dw *w, uint64_t seed);
void attack_release(struct attack *a);
/* For on_letter of the world. */
bool attack_letter(struct attack *a, const struct dw_arrival *l);
/* What is due. */
void attack_step(struct attack *a);

uint64_t attack_random(struct attack *a);
/* An address in one of the attackers' /24s. */
struct addr attack_addr(uint32_t net, uint8_t last);
uint32_t attack_nets(void); /* how many there are */
/* A /24 of which nothing else is known. */
uint32_t attack_net(struct attack *a);
/* A stranger; its number. */
uint32_t attack_add(struct attack *a, enum attack_role role, const struct addr *addr,
                    const struct dht_id *id, uint32_t group);
/* So many per cent of the hosts. */
void attack_corrupt(struct attack *a, uint32_t percent, enum attack_role role);
bool attack_is_honest(const struct attack *a, uint32_t host);

/* A group around a target, courting the hosts nearest to it. */
uint32_t attack_group(struct attack *a, const struct dht_id *target);
/* Adds n members, evenly from so many /24s. They stand at distances of 0 to radius (a
 * part of the space), evenly, or as near as they can (radius 0): anywhere, or, with fit,
 * where an address of their /24 allows it (BEP 42). */
void attack_surround(struct attack *a, uint32_t group, uint32_t n, uint32_t nets,
                     double radius, bool fit);
/* The honest hosts closest to a target; how many. */
uint32_t attack_closest(const struct attack *a, const struct dht_id *target,
                        uint32_t *out, uint32_t max);

/* Sends a query to an address, as the actor, or as if from elsewhere. target: of all but
 * ping. */
void attack_query(struct attack *a, uint32_t who, const struct addr *from,
                  const struct dht_id *id, enum krpc_method method,
                  const struct dht_id *target, const struct addr *to);

/* A query of a flooder: each kind in turn. A get is of the target of a value that the
 * flooder puts when it gets a token. */
void attack_flood(struct attack *a, uint32_t who, const struct addr *from,
                  const struct addr *to);
/* An answer to a query that may never have been sent, with a guessed transaction id, as
 * if from `from`. */
void attack_guess(struct attack *a, uint32_t who, const struct addr *from,
                  const struct dht_id *id, const struct addr *to);

/* An item of a key, with values of this length, numbered 1 and 2. */
void attack_item_make(struct attack *a, size_t len, struct attack_item *out);
/* The item of a key of small order, for which anybody can make signatures that a careless
 * verifier takes: nobody honest has it. */
void attack_item_small(struct attack *a, struct attack_item *out);
/* What all actors of a role have sent and received together. */
struct attack_actor attack_sum(const struct attack *a, enum attack_role role);

#endif
