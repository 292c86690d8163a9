/* The nodes of the DHT that are nearest to keys that are polled, so that a poll asks one
 * node instead of looking the key up.
 *
 * They come from look-ups and puts, and are kept up by the polls themselves: who is asked
 * names the nodes nearest to the key that it knows. What it names is hearsay: one of it
 * is the first that the next poll asks, and has a place only when it has answered; it
 * must be nearer than the farthest that has one, be in a subnet of its own, and have an
 * id that fits its address (BEP 42), so that a liar gains no more by naming others than
 * by having those addresses. All the same the key is looked up again after NEAR_MS, and
 * when less than NEAR_FEW are left.
 *
 * Who does not answer twice in a row has no place any more; hearsay that does not answer
 * is gone at once. Of both the last NEAR_SILENT are passed over when they are named again
 * before the next look-up. */
#ifndef LINNET_NODE_NEAR_H
#define LINNET_NODE_NEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypto/blind.h"
#include "dht/krpc.h"
#include "dht/lookup.h"

enum {
    NEAR_KEYS = 24,    /* that are remembered; more push out who was of no use longest */
    NEAR_MS = 7200000, /* after a look-up the key is looked up again */
    NEAR_FEW = 3,
    NEAR_FAILS = 2,
    NEAR_NAMED = 4,  /* that wait to be asked */
    NEAR_SILENT = 8, /* that are remembered */
};

struct near_node {
    struct krpc_node node;
    uint8_t fails;
};

struct near_key {
    uint8_t pub[BLIND_PUB];
    struct dht_id target;
    struct near_node v[LOOKUP_K]; /* the nearest first */
    size_t n, next;               /* n 0: free, or all have fallen silent */
    struct krpc_node named[NEAR_NAMED];
    size_t n_named;
    struct addr silent[NEAR_SILENT];
    size_t next_silent;
    uint64_t used_ms, until_ms;
};

/* Zeroed: none. */
struct near {
    struct near_key key[NEAR_KEYS];
};

/* Whom to poll now, another one each time; hearsay: it may be one who was named only,
 * who may be as silent as all others that the same liar has named. False: the key is to
 * be looked up. */
bool near_next(struct near *m, const uint8_t pub[BLIND_PUB], bool hearsay,
               uint64_t now_ms, struct krpc_node *out);
/* A look-up of the key, or a put there, has ended at these nodes. */
void near_found(struct near *m, const uint8_t pub[BLIND_PUB], const struct krpc_node *v,
                size_t n, uint64_t now_ms);
/* Who was polled has answered, and named these. */
void near_answered(struct near *m, const uint8_t pub[BLIND_PUB],
                   const struct krpc_node *who, const struct krpc_node *named, size_t n);
void near_silent(struct near *m, const uint8_t pub[BLIND_PUB],
                 const struct krpc_node *who);

#endif
