/* The routing table of one address family (BEP 5; BEP 32 asks for one for each family).
 *
 * A bucket holds nodes whose ids share exactly so many leading bits with our own: 8 of
 * them, and in the first ones 128, 64, 32 and 16, which saves a lookup one hop. Buckets
 * and their places are allocated when they are needed. Only nodes that have answered a
 * query of ours stand in a bucket. Behind each bucket, a few more wait (spares): some
 * have answered, some are hearsay; when a place is free, table_next_check() names one to
 * ask.
 *
 * A node is good when it was heard of within 15 minutes and owes no answer; questionable
 * when nothing was heard for longer; bad when it left two queries in a row unanswered:
 * then a spare that has answered takes its place, or, after the third, nobody.
 *
 * Against one who owns few addresses and many ids: one entry an IP address, and at most 2
 * of one /24 (IPv6: /48) in a bucket and its spares together. Nodes whose id fits their
 * address (BEP 42) push out those whose id does not. A node keeps the address under which
 * it answered: who only claims its id changes nothing. */
#ifndef LINNET_DHT_TABLE_H
#define LINNET_DHT_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/env.h"
#include "dht/id.h"

enum {
    TABLE_K = 8,
    TABLE_WIDE = 4,           /* buckets that are wider: 128, 64, 32, 16 */
    TABLE_WIDE_MAX = 128,     /* places of the first bucket */
    TABLE_SPARES = 4,         /* that wait behind a bucket */
    TABLE_SUBNET_MAX = 2,     /* nodes of one /24 or /48 in a bucket */
    TABLE_FAILS_REPLACE = 2,  /* unanswered queries after which a spare takes the place */
    TABLE_FAILS_DROP = 3,     /* … and after which it is left empty */
    TABLE_GOOD_S = 900,       /* BEP 5's 15 minutes … */
    TABLE_LEAF_GOOD_S = 1800, /* … and for a narrow table: nobody else uses it */
    TABLE_AGAIN_S = 60,       /* who owes an answer is asked again */
    TABLE_RTT_NONE = 0,       /* not measured */
};

struct table_node {
    struct dht_id id;
    struct addr addr;
    uint16_t rtt_ms; /* smoothed; TABLE_RTT_NONE */
    uint8_t fails;   /* queries in a row without an answer */
    bool answered;   /* false: hearsay */
};

struct table_config {
    uint8_t family;   /* 4 or 6 */
    bool narrow;      /* no wide buckets, and checked more rarely: a leaf */
    uint16_t max;     /* nodes in all buckets; 0: no limit but the buckets' */
    bool private_too; /* for tests: many nodes at one private address or in its /24 */
};

struct table;

/* NULL: out of memory. */
struct table *table_new(const struct dht_id *self, const struct table_config *c);
void table_free(struct table *t);
/* Our own id has changed: every node is put where it belongs now; those for whom there is
 * no place are forgotten. */
void table_set_self(struct table *t, const struct dht_id *self);

/* Other limits from now on, as in the configuration: those for whom there is no place any
 * more are forgotten, the farthest from us last. */
void table_limit(struct table *t, bool narrow, uint16_t max);

/* A node has answered a query of ours after rtt_ms. True when it is in a bucket now. */
bool table_answered(struct table *t, const struct dht_id *id, const struct addr *a,
                    uint32_t rtt_ms, uint64_t now_ms);
/* A node that is not read-only has sent us a query: one we know is alive, another becomes
 * hearsay, if need be instead of some that was asked and has not answered yet. */
void table_queried(struct table *t, const struct dht_id *id, const struct addr *a,
                   uint64_t now_ms);
/* Somebody has named a node that may be new: hearsay, when there is a place for it. */
void table_heard(struct table *t, const struct dht_id *id, const struct addr *a);
/* A node has answered, but not said who it is (an error, or no id of its own): as hearsay
 * it makes room. */
void table_nameless(struct table *t, const struct dht_id *id, const struct addr *a);
/* A node has left a query unanswered. */
void table_failed(struct table *t, const struct dht_id *id, const struct addr *a);

/* Whether a node is in a bucket with this id and address and owes no answer: it has shown
 * that it receives what is sent there. */
bool table_has(const struct table *t, const struct dht_id *id, const struct addr *a);
/* The nodes closest to target that owe no answer, the closest first; at most max, of
 * which there may be less. */
size_t table_closest(const struct table *t, const struct dht_id *target,
                     struct table_node *out, size_t max);

/* Who should be asked next whether it is there: a spare for whose bucket a place is free,
 * or the next questionable node of a walk through the table. False: nobody now. */
bool table_next_check(struct table *t, uint64_t now_ms, struct table_node *out);
/* How many nodes the network has, about (0: not known). In buckets so deep that none of
 * them, nor of those in the table, should be there, nobody is looked for: who stands
 * there has chosen his id. */
void table_expect(struct table *t, uint64_t nodes);
/* The shallowest bucket that has room and in which nobody has answered for 15 minutes: a
 * random id in it, to be looked up, and the bucket counts as refreshed. The last ones,
 * which hold less than k nodes together, are left to lookups of our own id. False:
 * none. */
bool table_next_refresh(struct table *t, const struct env *env, uint64_t now_ms,
                        struct dht_id *target);
/* A random id in the shallowest bucket that lacks nodes and knows nobody who could be
 * asked: any node may be asked for nodes near to it. Each bucket has its turn when it has
 * got a new node, and every 15 minutes. False: none. */
bool table_next_wanted(struct table *t, const struct env *env, uint64_t now_ms,
                       struct dht_id *target);

size_t table_count(const struct table *t);
/* Bytes of memory that it holds. */
size_t table_memory(const struct table *t);
/* All nodes in buckets, the deepest first: start with *pos = 0; false at the end. */
bool table_next(const struct table *t, size_t *pos, struct table_node *out);

#endif
