/* The DHT node: BitTorrent's Mainline DHT (BEP 5, 32, 42, 43, 44), or a private network
 * of the same kind.
 *
 * It owns the routing tables (one for each address family, each with an id of its own,
 * BEP 45), the queries that wait, the operations of the user, and what it stores for
 * others. It has no key, no socket and no clock: bytes and time go in, packets, events
 * and the next deadline come out, and the caller resolves names, signs items and
 * remembers nodes.
 *
 * Its life: while its table is empty and an address to begin from is known, it asks
 * there; then it looks up its own id and fills its table (DHT_READY). Nodes that were not
 * heard of for 15 minutes are checked, one at a time. When 5 nodes of different /16 agree
 * on the address that they see, it takes an id that fits it (DHT_SELF). It is read-only
 * (BEP 43) until a query came from somebody it had not written to; from time to time it
 * tries not to be, for a few minutes, since nobody asks a node that says it is. Until
 * then it is a leaf: its table is small, and checked half as often. After a change of
 * address it becomes one again only when it has tried in vain.
 *
 * Operations run until DHT_DONE; what is published with keep runs until dht_cancel(),
 * with a DHT_DONE after each round. */
#ifndef LINNET_DHT_DHT_H
#define LINNET_DHT_DHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/env.h"
#include "dht/id.h"
#include "dht/item.h"
#include "dht/krpc.h"
#include "dht/lookup.h"
#include "dht/server.h"

enum {
    DHT_PEERS_MAX = 64,  /* in one event */
    DHT_OPS_MAX = 1024,  /* that wait, run or are kept */
    DHT_ACTIVE_MAX = 32, /* that run at a time */
    DHT_EVENTS_MAX = 4096,
    DHT_OUTS_MAX = 1024,     /* datagrams that wait to be sent; more are dropped */
    DHT_HINTS_MAX = 256,     /* addresses to begin from */
    DHT_ROUTERS_MAX = 16,    /* … that are configured */
    DHT_HINTS_AT_ONCE = 8,   /* that are asked at a time */
    DHT_HINTS_GAP_MS = 5000, /* between two attempts, doubled up to … */
    DHT_HINTS_GAP_MAX_MS = 60000,

    DHT_KEEP_ITEM_MS = 3600000, /* between two rounds of what is kept, ± 10 % */
    DHT_KEEP_PEER_MS = 900000,
    DHT_KEEP_RETRY_MS = 30000, /* after a round that reached nobody, doubled each time */
    DHT_WAIT_MS = 20000,       /* how long an operation waits for a first node */

    DHT_CHECK_FAST_MS = 250,  /* between two checks, while the table has few nodes */
    DHT_CHECK_FILL_MS = 1000, /* … while nodes are known that may be new */
    DHT_CHECK_MS = 4000,      /* … otherwise */
    DHT_FEW_NODES = 48,
    DHT_SELF_MS = 900000,   /* between two lookups of our own id, ± 10 % */
    DHT_SELF_FEW_MS = 5000, /* … while less than k nodes are known, doubled each time */
    DHT_LEAF_NODES = 64,
    DHT_LEAF_SELF_MS = 3600000, /* between two lookups of a leaf's own id, ± 10 % */

    DHT_VOTERS = 5,        /* of different /16 (IPv6: /32) that settle our address */
    DHT_TRIAL_MS = 300000, /* how long it tries not to be read-only */
    DHT_TRIAL_GAP_MS = 3600000,
    DHT_OPEN_MS = 7200000, /* after the last unsolicited query it is read-only again */
};

struct dht;

struct dht_config {
    struct dht_id id[2]; /* for IPv4 and IPv6; zero: a random one */
    bool family[2];      /* IPv4, IPv6: which are in use */
    bool read_only;      /* for good (mobile) */
    bool open;           /* never read-only: a server that others can reach */
    bool leaf;           /* a small table (DHT_LEAF_NODES) for good; else until others
                          * reach it, unless read_only or open is set */
    bool private_too;    /* for tests: no limits for nodes of one private subnet */
    /* What may be sent to, beside what can be dialled at all; NULL: everything. */
    bool (*may_send)(void *ctx, const struct addr *a);
    void *ctx;
    const struct server_config *server; /* copied; NULL: as server_config_init() */
};

/* NULL: out of memory. env outlives it. */
struct dht *dht_new(const struct dht_config *c, const struct env *env, uint64_t now_ms);
void dht_free(struct dht *d);

/* An address to begin from: configured (a router) or remembered. 0, ERR_ARG (not usable),
 * ERR_LIMIT: the oldest of its kind has made room. */
int dht_add_router(struct dht *d, const struct addr *a, uint64_t now_ms);
int dht_add_hint(struct dht *d, const struct addr *a, uint64_t now_ms);
/* The network has changed (another interface, after sleep): what is known is tried
 * again now. */
void dht_network_changed(struct dht *d, uint64_t now_ms);

/* ---- operations; op is their handle, never 0 ---- */

/* All: 0, ERR_ARG, ERR_LIMIT (also while too many events were not taken), ERR_NOMEM. */
int dht_ping(struct dht *d, const struct addr *a, uint64_t now_ms, uint32_t *op);
int dht_find(struct dht *d, const struct dht_id *target, uint64_t now_ms, uint32_t *op);
/* An immutable item: ends with the first valid value. With repair it goes on, one node at
 * a time, until a second has it; when one of the closest lacks it, it asks all of them,
 * and stores it again where it is missing. */
int dht_get(struct dht *d, const struct dht_id *target, bool repair, uint64_t now_ms,
            uint32_t *op);
/* A mutable item: every valid value newer than the ones before is an event at once; ends
 * when the closest nodes have answered. With repair the newest is stored again at those
 * of them that lack it. */
int dht_get_mutable(struct dht *d, const uint8_t k[KRPC_KEY_LEN], const uint8_t *salt,
                    size_t salt_len, bool repair, uint64_t now_ms, uint32_t *op);
/* The same, asking that node alone, and for what is newer than seq (0: anything):
 * DHT_NOT_FOUND says that it has none, DHT_NOT_ASKED that it did not answer, or keeps no
 * items. For who polls a key: nodes near it are in the result of a get or put, and in
 * this one's those that the node names. */
int dht_get_mutable_at(struct dht *d, const struct krpc_node *at,
                       const uint8_t k[KRPC_KEY_LEN], int64_t seq, uint64_t now_ms,
                       uint32_t *op);
/* The item is copied. cas: NULL, or the sequence number that must be stored so far; who
 * has nothing is not told. A mutable one should have a seq above 0: readers ask for what
 * is newer than 0. ERR_AUTH: the signature is wrong. */
int dht_put(struct dht *d, const struct item *it, const int64_t *cas, bool keep,
            uint64_t now_ms, uint32_t *op);
int dht_peers(struct dht *d, const struct dht_id *info_hash, uint64_t now_ms,
              uint32_t *op);
/* port 0: the one our packets come from. */
int dht_announce(struct dht *d, const struct dht_id *info_hash, uint16_t port, bool keep,
                 uint64_t now_ms, uint32_t *op);
/* It ends without an event, and events of it that wait are dropped; what was kept is not
 * any more. An unknown one is ignored. */
void dht_cancel(struct dht *d, uint32_t op);

/* ---- the five verbs ---- */

/* A datagram. 0, or ERR_FORMAT (no message), ERR_STATE (an answer nobody waits for),
 * ERR_LIMIT, ERR_REFUSED (from whom nothing is taken). */
int dht_recv(struct dht *d, const struct addr *from, const uint8_t *p, size_t len,
             uint64_t now_ms);
void dht_tick(struct dht *d, uint64_t now_ms);
uint64_t dht_deadline(const struct dht *d);

struct dht_out {
    struct addr dest;
    size_t len;
    uint8_t bytes[KRPC_SEND_MAX];
};
bool dht_next_out(struct dht *d, struct dht_out *out);

enum dht_event_type {
    DHT_DONE = 1, /* of an operation */
    DHT_VALUE,    /* a valid value; of a mutable item, newer than the last */
    DHT_PEERS,    /* peers that were not told before */
    DHT_READY, /* the table has been filled for the first time, or again, or nodes answer
                * after none of them has for a while */
    DHT_SELF,  /* our address as others see it, and the id that fits it */
    DHT_OPEN,  /* whether others reach us has changed */
};

enum dht_outcome {
    DHT_OK = 1,    /* answered; found; stored at one node at least; for find: complete */
    DHT_NOT_FOUND, /* enough nodes were asked, none has it; a family that is out of order,
                    * nobody in it answering anything, was not asked */
    DHT_NOT_ASKED, /* too few nodes could be asked to know */
    DHT_REFUSED,   /* nobody took it, or no more nodes than have what does not give way;
                    * code says why */
};

struct dht_result {
    enum dht_outcome outcome;
    struct lookup_counts n;
    /* Put and announce: nodes that say that they have stored it, of 8 in each family,
     * or of up to 24 where ids crowd the target (whether they keep it, only a get from
     * elsewhere tells). Get: those of the closest 8 that gave the newest value, or named
     * its seq; unproved where they sent no value, so that a repair may pass over a node
     * that only says it has it. */
    uint8_t copies;
    int64_t code; /* of the last error that somebody sent when he was to store */
    int64_t seq;  /* the highest that anybody named, unproved; 0: none */
    /* Put of a mutable item: another valid value stands there with rival_seq, which is
     * the seq of what was to be stored or a higher one. Nothing was stored. */
    bool rival;
    int64_t rival_seq;
    uint32_t ms; /* since it began to run; ping: the round trip */
    /* That answered; of all but ping. Of dht_get_mutable_at: that it named, hearsay. */
    uint8_t n_closest;
    struct krpc_node closest[LOOKUP_K];
};

struct dht_event {
    enum dht_event_type type;
    uint32_t op;
    union {
        struct dht_result done;
        struct {
            size_t len;
            int64_t seq;
            uint8_t depth; /* of who had it; 0: we knew it */
            bool is_mutable;
            uint8_t sig[KRPC_SIG_LEN];
            uint8_t v[ITEM_VALUE_MAX];
        } value;
        struct {
            size_t n;
            struct addr a[DHT_PEERS_MAX];
        } peers;
        struct {
            struct dht_id id;
            struct addr addr; /* with the port as it was seen from outside */
        } self;
        struct {
            bool open;
        } open;
    } u;
};
bool dht_next_event(struct dht *d, struct dht_event *e);

/* ---- what it knows ---- */

/* Good nodes, the ones closest to us first, to be remembered: start with *pos = 0. */
bool dht_next_node(const struct dht *d, size_t *pos, struct krpc_node *out);

struct dht_stats {
    struct dht_id id[2];
    struct addr seen[2];  /* our address as others see it; family 0: not settled */
    size_t nodes[2];      /* in the tables */
    uint64_t estimate[2]; /* nodes of the whole network, about; 0: not known */
    bool read_only, ready;
    size_t ops, queries; /* that run or are kept; that wait for an answer */
    size_t items, peers; /* stored for others */
    uint64_t sent, received, sent_bytes, received_bytes; /* datagrams */
};
void dht_stats(const struct dht *d, struct dht_stats *out);
/* Bytes of memory that it holds, about. */
size_t dht_memory(const struct dht *d);

#endif
