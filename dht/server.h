/* Answers to the queries of others: all verbs of BEP 5, 44 and 51, with want (BEP 32),
 * scrape (BEP 33) and the asker's address (BEP 42). It owns the tokens and the shelf; the
 * nodes that it names come from the caller's table. One for each address family, since
 * each has an id of its own.
 *
 * A datagram's source may be forged, so an answer is one datagram, and rarely a large
 * one: an item's value and many peers go at full rate to addresses that have proved
 * themselves (by a token, or by an answer to a query of ours: server_proved()), to others
 * SERVER_LARGE_BURST at once and then one each SERVER_LARGE_GAP_MS. Every address (IPv6:
 * every /64) gets SERVER_BURST answers at once and then one each SERVER_GAP_MS, its
 * network ten times as much; all together share a budget of bytes, a quarter of which is
 * kept for addresses that have proved themselves. Beyond that there is silence. Nobody is
 * banned, since nobody can be told from who forges his address.
 *
 * A put costs the verification of a signature only when its token is good. */
#ifndef LINNET_DHT_SERVER_H
#define LINNET_DHT_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/env.h"
#include "dht/id.h"
#include "dht/krpc.h"
#include "dht/shelf.h"

enum {
    SERVER_NODES = 8, /* in an answer, for each family */
    SERVER_GAP_MS = 100,
    SERVER_BURST = 50,
    SERVER_NET_GAP_MS = 10, /* a network: /24 or /48, or a local address */
    SERVER_NET_BURST = 500,
    SERVER_LARGE_GAP_MS = 1000,
    SERVER_LARGE_BURST = 8,
    SERVER_BYTES_PER_S = 250 * 1000, /* of all answers */
    SERVER_BYTES_BURST = 1000 * 1000,
    SERVER_VERIFIES_PER_S = 2000, /* signatures of puts */
    SERVER_VERIFIES_BURST = 2000,
    SERVER_SMALL_MAX = 1024, /* bytes of an answer that holds no value (BEP 32) */
    SERVER_PEERS4_MAX = 60,  /* peers in an answer */
    SERVER_PEERS6_MAX = 28,
    SERVER_PEERS_SCRAPE = 8, /* … beside the filters of BEP 33, or in a small answer */
};

struct server_config {
    struct shelf_config shelf;
    uint32_t gap_ms, burst; /* each address; gap 0: no limit, of networks neither */
    uint64_t bytes_per_s, bytes_burst; /* 0: no limit */
};

/* Where nodes come from: writes at most max good nodes of a family (4 or 6), the closest
 * to target first; returns how many. */
struct server_nodes {
    void *ctx;
    size_t (*closest)(void *ctx, unsigned family, const struct dht_id *target,
                      struct krpc_node *out, size_t max);
};

struct server;

/* The limits above. */
void server_config_init(struct server_config *c);
/* env and what it points to stay the caller's; the rest is copied. NULL: out of memory.
 */
struct server *server_new(const struct env *env, const struct dht_id *self,
                          const struct server_config *c, uint64_t now_ms);
void server_free(struct server *s);
/* Our own id has changed. */
void server_set_self(struct server *s, const struct dht_id *self);

/* The answer to a query (kind KRPC_QUERY) that came from `from`, written to out: its
 * length, or 0 for silence. */
size_t server_answer(struct server *s, const struct krpc_msg *query,
                     const struct addr *from, const struct server_nodes *nodes,
                     uint64_t now_ms, uint8_t out[KRPC_SEND_MAX]);
/* The address has answered a query of ours with its transaction id. */
void server_proved(struct server *s, const struct addr *a, uint64_t now_ms);

void server_tick(struct server *s, uint64_t now_ms);
/* UINT64_MAX: nothing to do. */
uint64_t server_deadline(const struct server *s);

/* What is kept here; borrowed. */
struct shelf *server_shelf(struct server *s);

struct server_stats {
    uint64_t answers, errors, bytes; /* sent */
    uint64_t silent;                 /* queries over a limit */
    uint64_t held_back;              /* answers whose value or peers were left out */
};
void server_stats(const struct server *s, struct server_stats *out);
/* Bytes of memory, about. */
size_t server_memory(const struct server *s);

#endif
