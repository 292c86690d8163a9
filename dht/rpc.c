#include "dht/rpc.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"

enum {
    CALLS_STEP = 8,
    RATE_MS = 1000 / RPC_RATE_PER_S, /* after which one more is allowed */
    RATE_BITS = 7,                   /* of a slot in a row */
    RATE_ALL = RPC_RATE_ROWS * RPC_RATE_SLOTS,
};
_Static_assert(1 << RATE_BITS == RPC_RATE_SLOTS, "a slot fits exactly");
_Static_assert(RPC_RATE_ROWS *RATE_BITS <= 32, "a hash has bits for all rows");

void rpc_init(struct rpc *r, const struct env *env, bool private_too)
{
    *r = (struct rpc){.env = env,
                      .next_ms = UINT64_MAX,
                      .rtt_ms = RPC_RTT_START_MS,
                      .private_too = private_too};
    env_random(env, &r->rate_seed, sizeof r->rate_seed);
}

void rpc_release(struct rpc *r)
{
    free(r->calls);
    free(r->rate);
    r->calls = NULL;
    r->rate = NULL;
    r->n = r->cap = 0;
}

/* ---- the rate towards one address ---- */

static uint32_t rate_hash(const struct rpc *r, const struct addr *a)
{
    uint32_t h = r->rate_seed;
    if (r->private_too && addr_is_private(a)) {
        h ^= a->port * 0x85ebca6bu;
    }
    for (size_t i = 0; i < sizeof a->ip; i += sizeof(uint32_t)) {
        uint32_t part;
        memcpy(&part, a->ip + i, sizeof part);
        h = (h ^ part) * 0x9e3779b1u;
        h ^= h >> 15;
    }
    return h;
}

/* The slot of an address in each row, by bits of its hash of its own. */
static size_t rate_slot(uint32_t hash, unsigned row)
{
    return row * RPC_RATE_SLOTS + (hash >> row * RATE_BITS) % RPC_RATE_SLOTS;
}

/* A slot says until when its queries are spent, in milliseconds of rate_start_ms; each
 * query moves it on by RATE_MS. Addresses that share a slot share its rate, and the slot
 * that is spent least of all rows counts: it is never wrong towards a node, and wrong to
 * us only where each of the slots is shared. */
static uint32_t rate_until(const struct rpc *r, uint32_t hash)
{
    uint32_t until = UINT32_MAX;
    for (unsigned row = 0; row < RPC_RATE_ROWS; row++) {
        uint32_t at = r->rate[rate_slot(hash, row)];
        until = at < until ? at : until;
    }
    return until;
}

uint64_t rpc_wait_ms(const struct rpc *r, const struct addr *a, uint64_t now_ms)
{
    if (r->rate == NULL) {
        return 0;
    }
    uint64_t from = r->rate_start_ms + rate_until(r, rate_hash(r, a)) + RATE_MS;
    uint64_t allowed = now_ms + (uint64_t)RPC_RATE_BURST * RATE_MS;
    return from <= allowed ? 0 : from - allowed;
}

/* Numbers of 32 bits last for weeks: then all start again. */
static bool rate_ready(struct rpc *r, uint64_t now_ms)
{
    if (r->rate == NULL) {
        r->rate = calloc(RATE_ALL, sizeof *r->rate);
        r->rate_start_ms = now_ms;
    } else if (now_ms - r->rate_start_ms > UINT32_MAX / 2) {
        memset(r->rate, 0, RATE_ALL * sizeof *r->rate);
        r->rate_start_ms = now_ms;
    }
    return r->rate != NULL;
}

static void rate_spend(struct rpc *r, const struct addr *a, uint64_t now_ms)
{
    uint32_t hash = rate_hash(r, a), until = rate_until(r, hash);
    uint32_t now = (uint32_t)(now_ms - r->rate_start_ms);
    until = (until > now ? until : now) + RATE_MS;
    for (unsigned row = 0; row < RPC_RATE_ROWS; row++) {
        uint32_t *at = &r->rate[rate_slot(hash, row)];
        *at = *at > until ? *at : until;
    }
}

/* ---- calls ---- */

uint32_t rpc_slow_ms(const struct rpc *r, uint16_t rtt_ms)
{
    uint32_t slow = RPC_SLOW_RTTS * (rtt_ms != 0 ? rtt_ms : r->rtt_ms);
    slow = slow < RPC_SLOW_MAX_MS ? slow : RPC_SLOW_MAX_MS;
    return slow > RPC_SLOW_MIN_MS ? slow : RPC_SLOW_MIN_MS;
}

static bool reserve_call(struct rpc *r)
{
    if (r->n < r->cap) {
        return true;
    }
    size_t cap = r->cap == 0 ? CALLS_STEP : 2 * r->cap;
    struct rpc_call *p = reallocarray(r->calls, cap, sizeof *p);
    if (p == NULL) {
        return false;
    }
    r->calls = p;
    r->cap = cap;
    return true;
}

static struct rpc_call *find(const struct rpc *r, uint32_t tid)
{
    for (size_t i = 0; i < r->n; i++) {
        if (r->calls[i].tid == tid) {
            return &r->calls[i];
        }
    }
    return NULL;
}

/* Room for one more: nodes that never answer must not keep others from being asked. */
static bool make_room(struct rpc *r, uint64_t now_ms)
{
    if (r->n < RPC_CALLS_MAX) {
        return true;
    }
    struct rpc_call *oldest = NULL;
    for (size_t i = 0; i < r->n; i++) {
        struct rpc_call *c = &r->calls[i];
        bool waits = c->slow && c->next_ms > now_ms;
        if (waits && (oldest == NULL || c->sent_ms < oldest->sent_ms)) {
            oldest = c;
        }
    }
    if (oldest == NULL || r->n >= RPC_CALLS_MAX + RPC_DROPPED_MAX) {
        return false;
    }
    oldest->next_ms = r->next_ms = now_ms;
    return true;
}

int rpc_begin(struct rpc *r, const struct rpc_call *want, uint64_t now_ms,
              uint8_t tid[RPC_TID_LEN])
{
    if (!rate_ready(r, now_ms)) {
        return ERR_NOMEM;
    }
    if (rpc_wait_ms(r, &want->addr, now_ms) > 0) {
        return ERR_BUSY;
    }
    if (!make_room(r, now_ms)) {
        return ERR_LIMIT;
    }
    if (!reserve_call(r)) {
        return ERR_NOMEM;
    }
    struct rpc_call c = *want;
    do {
        env_random(r->env, &c.tid, sizeof c.tid);
    } while (find(r, c.tid) != NULL);
    c.sent_ms = now_ms;
    c.next_ms = now_ms + rpc_slow_ms(r, want->rtt_ms);
    c.slow = false;
    r->calls[r->n++] = c;
    r->next_ms = c.next_ms < r->next_ms ? c.next_ms : r->next_ms;
    rate_spend(r, &want->addr, now_ms);
    memcpy(tid, &c.tid, RPC_TID_LEN);
    return 0;
}

static void end_call(struct rpc *r, struct rpc_call *c)
{
    *c = r->calls[--r->n];
    if (r->n == 0) {
        free(r->calls);
        r->calls = NULL;
        r->cap = 0;
        r->next_ms = UINT64_MAX;
    }
}

static void note_rtt(struct rpc *r, uint32_t rtt_ms)
{
    /* One slow node must not make us wait for all others. */
    uint32_t most = 4 * r->rtt_ms;
    rtt_ms = rtt_ms < most ? rtt_ms : most;
    r->rtt_ms = (r->rtt_ms * 15 + rtt_ms + 8) / 16;
    r->rtt_ms = r->rtt_ms == 0 ? 1 : r->rtt_ms;
}

bool rpc_answer(struct rpc *r, const uint8_t *tid, size_t tid_len,
                const struct addr *from, uint64_t now_ms, struct rpc_call *out)
{
    uint32_t key;
    if (tid_len != sizeof key) {
        return false;
    }
    memcpy(&key, tid, sizeof key);
    struct rpc_call *c = find(r, key);
    if (c == NULL || !addr_eq(&c->addr, from)) {
        return false;
    }
    *out = *c;
    end_call(r, c);
    uint64_t rtt = now_ms - out->sent_ms;
    out->rtt_ms = (uint16_t)(rtt == 0 ? 1 : rtt < UINT16_MAX ? rtt : UINT16_MAX);
    note_rtt(r, out->rtt_ms);
    return true;
}

bool rpc_next_late(struct rpc *r, uint64_t now_ms, struct rpc_call *out, bool *lost)
{
    if (now_ms < r->next_ms) {
        return false;
    }
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < r->n; i++) {
        struct rpc_call *c = &r->calls[i];
        if (c->next_ms > now_ms) {
            next = c->next_ms < next ? c->next_ms : next;
            continue;
        }
        *lost = c->slow;
        c->slow = true;
        c->next_ms = c->sent_ms + RPC_LOST_MS;
        *out = *c;
        if (*lost) {
            end_call(r, c);
        }
        return true;
    }
    r->next_ms = next;
    return false;
}

uint64_t rpc_deadline(const struct rpc *r)
{
    return r->next_ms;
}

size_t rpc_memory(const struct rpc *r)
{
    return r->cap * sizeof *r->calls + (r->rate == NULL ? 0 : RATE_ALL * sizeof *r->rate);
}
