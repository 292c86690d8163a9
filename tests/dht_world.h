/* Thousands of DHT nodes in one process, on a virtual clock, from a seed.
 *
 * Hosts have public IPv4 addresses, the round trip between two of them is drawn once from
 * a distribution of wide-area latencies (median 80 ms), and each datagram may be lost.
 * A host behind a NAT gets answers, but no queries. Guests are addresses of the caller's,
 * who sends and receives himself, between two steps.
 *
 * Beside the hosts there may be strangers: addresses that are none of theirs, an
 * attacker's or a victim's. What they do with a datagram is the caller's business, who
 * may also read, and take away, what arrives at a host, and may send as anybody.
 *
 * The hosts are divided into DW_SHARDS, each with its own queue, which run in threads of
 * their own for DW_STEP_MS at a time: no datagram arrives sooner. So the outcome depends
 * on the seed alone. Between two steps the caller may do as he likes. */
#ifndef LINNET_TESTS_DHT_WORLD_H
#define LINNET_TESTS_DHT_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "dht/dht.h"

enum {
    DW_SHARDS = 2,
    DW_STEP_MS = 10,
    DW_HINTS = 3, /* hosts that a new one knows */
    DW_RTT_MEDIAN_MS = 80,
    DW_GUESTS_MAX = 250,
    DW_IP_HEADERS = 28, /* of IPv4 and UDP, counted with the bytes */
};

/* A datagram that has arrived. */
struct dw_arrival {
    struct addr from, to;
    uint32_t at; /* a host, or what dw_stranger() gave */
    const uint8_t *p;
    size_t len;
    uint64_t now_ms;
};

struct dw_config {
    uint32_t hosts;
    uint64_t seed;
    double loss;      /* 0 .. 1, of datagrams */
    double read_only; /* share of the hosts that are behind a NAT */
    double leaf;      /* share of those that keep a small table */
    double median_ms; /* of a session; 0: nobody leaves */
    bool threads;     /* the shards run at the same time; the outcome is the same */
    void *ctx;
    /* An event of a host, in one of the shards' threads. */
    void (*on_event)(void *ctx, uint32_t host, const struct dht_event *e,
                     uint64_t now_ms);
    /* True: a host is not to see it. In one of the shards' threads; may be NULL. */
    bool (*on_letter)(void *ctx, const struct dw_arrival *l);
};

struct dw_host {
    struct dht *d; /* NULL: not started */
    struct env env;
    uint64_t random; /* its own */
    struct addr addr;
    uint64_t born_ms, dies_ms, wake_ms;
    uint32_t life; /* how often its place was taken anew */
    bool read_only;
    bool silent;  /* its datagrams go nowhere, and none reach it */
    uint8_t part; /* of the network; 0 unless it is parted */
};

struct dw;

struct dw *dw_new(const struct dw_config *c);
void dw_free(struct dw *w);
uint64_t dw_now(const struct dw *w);
struct dw_host *dw_host(struct dw *w, uint32_t i);
uint32_t dw_count(const struct dw *w);
/* Starts a host, or in place of the one there was another. */
void dw_start(struct dw *w, uint32_t i);
/* Somebody at an address that is no host's, in use or once used: his number. */
uint32_t dw_stranger(struct dw *w, const struct addr *a);
/* Who is at this address; false: nobody. */
bool dw_find(const struct dw *w, const struct addr *a, uint32_t *who);
/* Host or stranger `who` sends a datagram that seems to come from `from`. Between steps,
 * or from within on_letter() for a datagram at who. */
void dw_send(struct dw *w, uint32_t who, const struct addr *from, const struct addr *to,
             const uint8_t *p, size_t len);
/* Runs one step. */
void dw_step(struct dw *w);
/* Must be called when something was begun at a host. */
void dw_touch(struct dw *w, uint32_t i);
/* The world's own randomness, between steps. */
uint64_t dw_random(struct dw *w);
uint32_t dw_below(struct dw *w, uint32_t bound);
/* A host that runs, is not silent and has been there for age_ms; false: none was found.
 */
bool dw_pick(struct dw *w, uint64_t age_ms, bool open, uint32_t *out);

/* ---- guests ---- */

/* The public address of guest i, beside those of all hosts. */
void dw_guest_addr(uint32_t i, struct addr *out);
/* Guest i sends a datagram at at_ms, within the last step. */
void dw_guest_send(struct dw *w, uint32_t i, uint64_t at_ms, const struct addr *dest,
                   const uint8_t *p, size_t len);
struct dw_letter {
    uint32_t guest;
    uint64_t at_ms;
    struct addr from;
    size_t len;
    uint8_t bytes[KRPC_RECV_MAX];
};
/* Takes the next datagram that has reached a guest, in the order of time. */
bool dw_guest_next(struct dw *w, struct dw_letter *out);

/* What became of datagrams, since the last dw_reset(). */
struct dw_sums {
    uint64_t datagrams, bytes, lost, events;
    uint64_t births;
    uint64_t stray;     /* of hosts, to addresses that are nobody's */
    uint64_t forbidden; /* … that nobody can be at, that are local, or their own */
    uint64_t forged, forged_taken; /* answers not from where they seem to come from, and
                                    * those that a host believed */
};
void dw_sums(const struct dw *w, struct dw_sums *out);
void dw_reset(struct dw *w);
/* A number over all that happened, to compare runs. */
uint64_t dw_mark(const struct dw *w);

#endif
