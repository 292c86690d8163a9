/* What this node keeps for the network: peers of info hashes (BEP 5) and items (BEP 44).
 *
 * Nobody is asked to pay for it, so everything has a limit: how much there is in all, how
 * much of it one /24 (IPv6: /48) may have put here, and how long it stays without being
 * put again. When a shelf is full, what lies farthest from our own id gives way to what
 * is closer: others keep the far things. Local addresses, which nobody can have many of
 * by paying, count one by one.
 *
 * A signed item takes the place of an unsigned one under the same target, never the other
 * way, so nothing unsigned hides a mutable item from its readers.
 *
 * Memory is allocated when something is kept, and given back when nothing is. */
#ifndef LINNET_DHT_SHELF_H
#define LINNET_DHT_SHELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/env.h"
#include "dht/bloom.h"
#include "dht/id.h"
#include "dht/item.h"

enum {
    SHELF_ITEMS_MAX = 4000,
    SHELF_ITEM_BYTES_MAX = 8 << 20, /* memory of all items */
    SHELF_ITEM_TTL_MS = 2 * 3600 * 1000,
    SHELF_HASHES_MAX = 4000,
    SHELF_PEERS_MAX = 16000, /* of all hashes */
    SHELF_HASH_PEERS_MAX = 500,
    SHELF_PEER_TTL_MS = 45 * 60 * 1000,
    SHELF_SOURCE_PERCENT = 5, /* of items or peers that one network may have put here */
    SHELF_SAMPLES_MAX = 20,   /* hashes of one sample (BEP 51) */
    SHELF_SAMPLE_S = 600,     /* how long a sample stays the same */
};

struct shelf_config {
    size_t items_max, item_bytes_max, hashes_max, peers_max;
    unsigned source_percent; /* at least one item and one peer is allowed to everybody */
};

struct shelf;

/* The limits above. */
void shelf_config_init(struct shelf_config *c);
/* c is copied, env and what it points to stay the caller's. NULL: out of memory. */
struct shelf *shelf_new(const struct env *env, const struct dht_id *self,
                        const struct shelf_config *c);
void shelf_free(struct shelf *s);
/* Our own id has changed: what is far is now something else. */
void shelf_set_self(struct shelf *s, const struct dht_id *self);

/* Keeps an item that passed item_check(), under its target. cas: see item_replaces();
 * NULL: not said. 0 (kept, or its time begins anew), an error of BEP 44 (> 0): KRPC_E_CAS
 * or _SEQ, or ERR_FULL (a limit, of all or of that network), ERR_NOMEM. */
int shelf_put(struct shelf *s, const struct dht_id *target, const struct item *it,
              const int64_t *cas, const struct addr *from, uint64_t now_ms);
/* A view that lives until the next call that changes s. The salt is not kept. */
bool shelf_get(const struct shelf *s, const struct dht_id *target, uint64_t now_ms,
               struct item *out);

/* Remembers a peer, one an IP address and hash; a hash that has SHELF_HASH_PEERS_MAX
 * forgets its oldest. 0, ERR_ARG (an address or port that nobody can dial), ERR_FULL,
 * ERR_NOMEM. */
int shelf_announce(struct shelf *s, const struct dht_id *hash, const struct addr *peer,
                   bool seed, uint64_t now_ms);
/* Writes a bencoded list of compact peers of one family to w, at most max (> 0) of them,
 * drawn at random when there are more; without seeds if noseed. Returns how many; writes
 * nothing when there is none. */
size_t shelf_peers(const struct shelf *s, const struct dht_id *hash, unsigned family,
                   bool noseed, size_t max, uint64_t now_ms, struct wr *w);
/* The filters of BEP 33 over all peers of a hash; false (untouched) when it has none. */
bool shelf_scrape(const struct shelf *s, const struct dht_id *hash, uint64_t now_ms,
                  uint8_t seeds[BLOOM_LEN], uint8_t peers[BLOOM_LEN]);
/* The hashes that have peers (BEP 51); where there are more than SHELF_SAMPLES_MAX, so
 * many drawn at random, the same ones for SHELF_SAMPLE_S seconds: who asks more often
 * learns nothing more. Returns how many were written. */
size_t shelf_sample(struct shelf *s, uint64_t now_ms,
                    struct dht_id out[SHELF_SAMPLES_MAX]);

/* Forgets what has expired. */
void shelf_tick(struct shelf *s, uint64_t now_ms);
/* UINT64_MAX: nothing expires. */
uint64_t shelf_deadline(const struct shelf *s);

struct shelf_stats {
    size_t items, item_bytes, hashes, peers;
};
void shelf_stats(const struct shelf *s, struct shelf_stats *out);
/* Bytes of memory that it holds, about. */
size_t shelf_memory(const struct shelf *s);

#endif
