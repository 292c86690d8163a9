/* Queries of ours that wait for their answer.
 *
 * Each has a random transaction id of 4 bytes; only an answer that comes from the address
 * the query went to, with that id, counts. A query passes through two deadlines. After
 * the first, max(250 ms, min(1.5 s, 3 × smoothed round trip)), it is slow: whoever asked
 * goes on with somebody else. After the second it is lost. An answer in between still
 * counts.
 *
 * Towards one address no more than RPC_RATE_BURST queries at once and then RPC_RATE_PER_S
 * a second: implementations in use ban who sends them more than 50 packets in 10 s. */
#ifndef LINNET_DHT_RPC_H
#define LINNET_DHT_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/env.h"
#include "dht/id.h"

enum {
    RPC_TID_LEN = 4,
    RPC_CALLS_MAX = 512,
    RPC_DROPPED_MAX = 64, /* slow ones that made room and were not reported yet */
    RPC_SLOW_MIN_MS = 250,
    RPC_SLOW_MAX_MS = 1500,
    RPC_SLOW_RTTS = 3,
    RPC_LOST_MS = 7000,
    RPC_RTT_START_MS = 150, /* assumed until something was measured */
    RPC_RATE_BURST = 16,
    RPC_RATE_PER_S = 3,
    RPC_RATE_ROWS = 4,    /* addresses are counted by a hash, … */
    RPC_RATE_SLOTS = 128, /* in one of so many slots of each row */
};

/* What the owner of a query gets back with its answer or its end. */
struct rpc_call {
    struct dht_id id; /* of who was asked; zero: not known */
    struct addr addr;
    uint32_t owner; /* the caller's */
    uint16_t slot, kind;
    uint32_t tid;    /* its bytes as they go over the wire */
    uint16_t rtt_ms; /* as known before, or 0; in an answer: as measured, at least 1 */
    bool slow;       /* the first deadline has passed */
    uint64_t sent_ms, next_ms;
};

struct rpc {
    const struct env *env;
    struct rpc_call *calls; /* in no order */
    size_t n, cap;
    uint64_t next_ms; /* no deadline is earlier */
    uint32_t rtt_ms;  /* smoothed over all nodes */
    uint32_t *rate;   /* rows, by hash of the address: when it is empty again, in ms */
    uint64_t rate_start_ms;
    uint32_t rate_seed;
    bool private_too;
};

/* private_too, for tests: the nodes of one private address are counted each alone. */
void rpc_init(struct rpc *r, const struct env *env, bool private_too);
void rpc_release(struct rpc *r);

/* In how many milliseconds a query may be sent to this address; 0: now. */
uint64_t rpc_wait_ms(const struct rpc *r, const struct addr *a, uint64_t now_ms);
/* A query is sent; where there are too many, the slow one that has waited longest is lost
 * for it. want says to whom (id, addr, rtt_ms) and whose it is. The transaction
 * id's bytes go to tid. 0, ERR_LIMIT, ERR_BUSY (rpc_wait_ms is not 0), ERR_NOMEM. */
int rpc_begin(struct rpc *r, const struct rpc_call *want, uint64_t now_ms,
              uint8_t tid[RPC_TID_LEN]);
/* An answer has come. True when a query waits for it: that one is ended. */
bool rpc_answer(struct rpc *r, const uint8_t *tid, size_t tid_len,
                const struct addr *from, uint64_t now_ms, struct rpc_call *out);
/* The next query whose deadline has passed: with slow set it still waits, and is given
 * once; with lost set it is ended. */
bool rpc_next_late(struct rpc *r, uint64_t now_ms, struct rpc_call *out, bool *lost);
/* Not later than the earliest deadline; UINT64_MAX: nothing waits. */
uint64_t rpc_deadline(const struct rpc *r);
/* How long an answer may take before the query is slow. */
uint32_t rpc_slow_ms(const struct rpc *r, uint16_t rtt_ms);
/* Bytes of memory that it holds. */
size_t rpc_memory(const struct rpc *r);

#endif
