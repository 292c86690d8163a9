#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "dht/dht_priv.h"

enum {
    OPS_STEP = 8,
    INDEX_BITS = 16,
    BUSY_MS = 100, /* before another try when too much is under way */
    KEEP_RETRIES_MAX = 6,
};

/* ---- the list of operations ---- */

static bool reserve_op(struct dht *d)
{
    size_t cap = d->ops_cap + (size_t)OPS_STEP;
    struct op **p = reallocarray(d->ops, cap, sizeof(struct op *));
    if (p == NULL) {
        return false;
    }
    for (size_t i = d->ops_cap; i < cap; i++) {
        p[i] = NULL;
    }
    d->ops = p;
    d->ops_cap = (uint16_t)cap;
    return true;
}

/* Room for the event with which a round ends. False: too many were not taken yet, or no
 * memory. */
static bool reserve_done(const struct dht *d, struct op *op)
{
    if (op->done == NULL && d->event_n < DHT_EVENTS_MAX) {
        op->done = calloc(1, sizeof *op->done);
    }
    return op->done != NULL;
}

struct op *op_new(struct dht *d, enum op_kind kind, uint64_t now_ms)
{
    uint16_t i = 0;
    while (i < d->ops_cap && d->ops[i] != NULL) {
        i++;
    }
    if (d->ops_n >= DHT_OPS_MAX || d->event_n >= DHT_EVENTS_MAX ||
        (i == d->ops_cap && !reserve_op(d))) {
        return NULL;
    }
    struct op *op = calloc(1, sizeof *op);
    if (op == NULL || !reserve_done(d, op)) {
        free(op);
        return NULL;
    }
    d->ops_gen = d->ops_gen == UINT16_MAX ? 1 : (uint16_t)(d->ops_gen + 1);
    op->handle = (uint32_t)d->ops_gen << INDEX_BITS | i;
    op->kind = kind;
    op->begun_ms = now_ms;
    op->next_ms = now_ms;
    d->ops[i] = op;
    d->ops_n++;
    d->ops_next_ms = now_ms;
    return op;
}

struct op *op_by_handle(const struct dht *d, uint32_t handle)
{
    uint32_t i = handle & ((1u << INDEX_BITS) - 1);
    struct op *op = i < d->ops_cap ? d->ops[i] : NULL;
    return op != NULL && op->handle == handle ? op : NULL;
}

static void end_round(struct dht *d, struct op *op)
{
    for (unsigned i = 0; i < SIDES; i++) {
        lookup_free(op->l[i]);
        op->l[i] = NULL;
    }
    if (op->phase == OP_LOOKS || op->phase == OP_STORES) {
        d->ops_active--;
    }
}

void op_free(struct dht *d, struct op *op)
{
    end_round(d, op);
    d->ops[op->handle & ((1u << INDEX_BITS) - 1)] = NULL;
    d->ops_n--;
    free(op->item.v);
    free(op->item.salt);
    free(op->peers);
    free(op->done);
    free(op);
}

void op_free_handle(struct dht *d, uint32_t handle)
{
    struct op *op = op_by_handle(d, handle);
    if (op != NULL) {
        op_free(d, op);
    }
}

static void wake(struct dht *d, struct op *op, uint64_t at_ms)
{
    op->next_ms = at_ms;
    d->ops_next_ms = at_ms < d->ops_next_ms ? at_ms : d->ops_next_ms;
}

/* ---- the end of a round ---- */

static enum dht_outcome judge(const struct dht *d, const struct op *op, uint64_t now_ms)
{
    bool stores = op->kind == OP_PUT || op->kind == OP_ANNOUNCE;
    const struct dht_result *r = &op->result;
    if (op->kind == OP_PING || op->kind == OP_FIND) {
        return r->n.answered > 0 ? DHT_OK : DHT_NOT_ASKED;
    }
    if (stores) {
        size_t taken = 0;
        for (unsigned i = 0; i < SIDES; i++) {
            taken += op->l[i] != NULL ? lookup_taken(op->l[i]) : 0;
        }
        /* Who is new there takes anything. */
        return r->copies > taken ? DHT_OK : r->code != 0 ? DHT_REFUSED : DHT_NOT_ASKED;
    }
    if (op->found) {
        return DHT_OK;
    }
    if (op->alone) {
        return r->n.closest > 0 ? DHT_NOT_FOUND : DHT_NOT_ASKED;
    }
    return doubt_is_absent(d, op, now_ms) ? DHT_NOT_FOUND : DHT_NOT_ASKED;
}

void op_add_closest(struct op *op, const struct krpc_node *n)
{
    struct dht_result *r = &op->result;
    const struct dht_id *target = &op->target;
    size_t i = r->n_closest;
    if (i == LOOKUP_K && dht_id_cmp(target, &n->id, &r->closest[i - 1].id) >= 0) {
        return;
    }
    i -= i == LOOKUP_K ? 1 : 0;
    r->n_closest = (uint8_t)(i + 1);
    for (; i > 0 && dht_id_cmp(target, &n->id, &r->closest[i - 1].id) < 0; i--) {
        r->closest[i] = r->closest[i - 1];
    }
    r->closest[i] = *n;
}

static void count_side(struct op *op, const struct lookup *l)
{
    struct dht_result *r = &op->result;
    struct lookup_counts n;
    struct table_node closest[LOOKUP_K];
    lookup_count(l, &n);
    r->n.asked = (uint16_t)(r->n.asked + n.asked);
    r->n.answered = (uint16_t)(r->n.answered + n.answered);
    r->n.closest = (uint16_t)(r->n.closest + n.closest);
    r->n.silent = (uint16_t)(r->n.silent + n.silent);
    r->n.depth = n.depth > r->n.depth ? n.depth : r->n.depth;
    size_t have, lack;
    lookup_count_copies(l, &have, &lack);
    bool stores = op->kind == OP_PUT || op->kind == OP_ANNOUNCE;
    r->copies = (uint8_t)(r->copies + (stores ? lookup_copies(l) : have));
    size_t got = op->alone ? 0 : lookup_closest(l, closest, LOOKUP_K);
    for (size_t i = 0; i < got; i++) {
        const struct krpc_node node = {closest[i].id, closest[i].addr};
        op_add_closest(op, &node);
    }
}

static uint64_t keep_gap_ms(const struct dht *d, const struct op *op, bool reached)
{
    uint64_t gap = op->kind == OP_PUT ? DHT_KEEP_ITEM_MS : DHT_KEEP_PEER_MS;
    if (!reached && op->retries < KEEP_RETRIES_MAX) {
        gap = (uint64_t)DHT_KEEP_RETRY_MS << op->retries;
    }
    return gap - gap / 10 + env_uniform(d->env, (uint32_t)(gap / 5) + 1);
}

static void op_finish(struct dht *d, struct op *op, uint64_t now_ms)
{
    struct dht_result *r = &op->result;
    for (unsigned i = 0; i < SIDES; i++) {
        if (op->l[i] != NULL) {
            count_side(op, op->l[i]);
            doubt_note_size(d, i, op, now_ms);
        }
    }
    if (op->kind != OP_PING) {
        r->ms = (uint32_t)(now_ms - op->begun_ms);
    }
    r->outcome = judge(d, op, now_ms);
    if (op->internal) {
        keep_self_done(d, op, now_ms);
    } else {
        op->done->e.type = DHT_DONE;
        op->done->e.op = op->handle;
        op->done->e.u.done = *r;
        dht_event_append(d, op->done);
        op->done = NULL;
    }
    d->ops_next_ms = now_ms; /* there is place for another */
    if (!op->keep) {
        op_free(d, op);
        return;
    }
    bool reached = r->outcome == DHT_OK;
    if (reached) {
        op->item.has_cas = false; /* what it replaced is replaced */
    }
    uint64_t gap = keep_gap_ms(d, op, reached);
    op->retries = reached ? 0 : (uint16_t)(op->retries + 1);
    end_round(d, op);
    op->phase = OP_KEPT;
    op->next_ms = now_ms + gap;
}

/* ---- asking ---- */

static void look_query(const struct dht *d, const struct op *op, unsigned side,
                       struct krpc_msg *m)
{
    static const enum krpc_method methods[] = {
        [OP_PING] = KRPC_PING,       [OP_FIND] = KRPC_FIND_NODE,
        [OP_GET] = KRPC_GET,         [OP_PUT] = KRPC_GET,
        [OP_PEERS] = KRPC_GET_PEERS, [OP_ANNOUNCE] = KRPC_GET_PEERS,
    };
    dht_query_init(d, m, methods[op->kind], side);
    if (op->kind == OP_PEERS || op->kind == OP_ANNOUNCE) {
        m->info_hash = op->target;
        m->has |= KRPC_INFO_HASH;
    } else if (op->kind != OP_PING) {
        m->target = op->target;
        m->has |= KRPC_TARGET;
    }
    if (op->item.is_mutable) {
        /* Always a seq: without one, some answer with an unsigned item of the same
         * target. Who has nothing newer than what we have need not send it. */
        m->seq = op->kind == OP_PUT ? rival_seq_asked(op) : op->item.seq;
        m->has |= KRPC_SEQ;
    }
    if (d->side[0].table != NULL && d->side[1].table != NULL &&
        table_count(d->side[1 - side].table) < TABLE_K) {
        m->want = KRPC_N4 | KRPC_N6;
        m->has |= KRPC_WANT;
    }
}

static void store_query(const struct dht *d, const struct op *op, unsigned side,
                        const struct krpc_view *token, uint16_t slot, struct krpc_msg *m)
{
    const struct op_item *item = &op->item;
    const struct lookup *l = op->l[side];
    dht_query_init(d, m, op->kind == OP_ANNOUNCE ? KRPC_ANNOUNCE_PEER : KRPC_PUT, side);
    m->token = *token;
    m->has |= KRPC_TOKEN;
    if (op->kind == OP_ANNOUNCE) {
        uint16_t seen = d->side[side].seen.port;
        m->info_hash = op->target;
        m->port = op->port != 0 ? op->port : seen != 0 ? seen : 1;
        m->implied_port = op->port == 0 ? 1 : 0;
        m->has |= KRPC_INFO_HASH | KRPC_PORT | KRPC_IMPLIED_PORT;
        return;
    }
    m->v = (struct krpc_view){item->v, item->v_len};
    m->has |= KRPC_V;
    if (item->is_mutable) {
        m->k = item->k;
        m->sig = item->sig;
        m->seq = item->seq;
        m->has |= KRPC_K | KRPC_SIG | KRPC_SEQ;
        m->salt = (struct krpc_view){item->salt, item->salt_len};
        m->has |= item->salt_len > 0 ? KRPC_SALT : 0;
        m->cas = lookup_store_confirms(l, slot) ? item->seq : item->cas;
        m->has |= item->has_cas && lookup_names_seq(l, slot) ? KRPC_CAS : 0;
    }
}

static int op_query(struct dht *d, const struct op *op, enum call_kind kind,
                    const struct table_node *who, uint16_t slot, struct krpc_msg *m,
                    uint64_t now_ms)
{
    struct rpc_call call = {
        .id = who->id,
        .addr = who->addr,
        .owner = op->handle,
        .slot = slot,
        .kind = (uint16_t)kind,
        .rtt_ms = who->rtt_ms,
    };
    return dht_query(d, &call, m, now_ms);
}

static uint64_t retry_at(const struct dht *d, const struct addr *a, uint64_t now_ms)
{
    uint64_t wait = rpc_wait_ms(&d->rpc, a, now_ms);
    return now_ms + (wait > 0 ? wait : BUSY_MS);
}

/* Asks at most so many more. */
static void pump_look(struct dht *d, struct op *op, unsigned side, unsigned most,
                      uint64_t now_ms)
{
    struct lookup *l = op->l[side];
    struct table_node who;
    uint16_t slot;
    for (unsigned n = 0; n < most && lookup_next(l, now_ms, &who, &slot); n++) {
        struct krpc_msg m;
        look_query(d, op, side, &m);
        if (op_query(d, op, CALL_LOOK, &who, slot, &m, now_ms) != 0) {
            lookup_postpone(l, slot, retry_at(d, &who.addr, now_ms));
        }
    }
}

static void pump_store(struct dht *d, struct op *op, unsigned side, uint64_t now_ms)
{
    struct lookup *l = op->l[side];
    struct table_node who;
    struct krpc_view token;
    uint16_t slot;
    while (lookup_store_next(l, now_ms, &who, &slot, &token)) {
        struct krpc_msg m;
        store_query(d, op, side, &token, slot, &m);
        if (op_query(d, op, CALL_STORE, &who, slot, &m, now_ms) != 0) {
            lookup_postpone(l, slot, retry_at(d, &who.addr, now_ms));
        }
    }
}

/* An immutable value that was found is the same everywhere; what is left is to see
 * whether it is kept well. Those tell who were asked along with the first who had it, and
 * then one after the other, as long as none of the closest lacks it. */
static bool is_sampled(const struct op *op, unsigned side)
{
    return op->kind == OP_GET && !op->item.is_mutable && op->held[side] > 0 &&
           !op->lacked[side];
}

/* Whether something is to be stored after the lookups; then it has begun. */
static bool begin_store(struct op *op, uint64_t now_ms)
{
    bool stores = op->kind == OP_PUT || op->kind == OP_ANNOUNCE, any = false;
    if (rival_stands(op)) {
        return false;
    }
    for (unsigned i = 0; i < SIDES; i++) {
        size_t have, lack;
        if (op->l[i] == NULL || op_is_held_well(op, i)) {
            continue;
        }
        lookup_count_copies(op->l[i], &have, &lack);
        if (lack > 0 && (stores || (op->repair && op->found))) {
            lookup_store(op->l[i], now_ms);
            any = true;
        }
    }
    if (any) {
        op->phase = OP_STORES;
    }
    return any;
}

/* Whether the side's part of the phase is not over. */
static bool pump_side(struct dht *d, struct op *op, unsigned side, uint64_t now_ms)
{
    if (op->phase == OP_LOOKS) {
        bool waits = lookup_waits(op->l[side], now_ms), sampled = is_sampled(op, side);
        if (op_is_held_well(op, side) || (sampled && waits)) {
            return waits;
        }
        pump_look(d, op, side, sampled ? 1 : LOOKUP_ASKED_MAX, now_ms);
        return lookup_state(op->l[side], now_ms) == LOOKUP_RUNNING;
    }
    pump_store(d, op, side, now_ms);
    return !lookup_store_done(op->l[side], now_ms);
}

void op_seed(const struct dht *d, struct op *op, unsigned side)
{
    struct table_node seeds[SEEDS];
    size_t n = table_closest(d->side[side].table, &op->target, seeds, SEEDS);
    for (size_t i = 0; i < n; i++) {
        if (dht_may_send(d, &seeds[i].addr)) {
            (void)lookup_add(op->l[side], &seeds[i], LOOKUP_TABLE);
        }
    }
}

/* Sends what can be sent; goes on to the next phase when this one is over. op may be
 * freed when this returns. */
static void op_pump(struct dht *d, struct op *op, uint64_t now_ms)
{
    if (op->kind == OP_PING) {
        return;
    }
    for (;;) {
        bool runs = false;
        uint64_t next = UINT64_MAX;
        for (unsigned i = 0; i < SIDES; i++) {
            struct lookup *l = op->l[i];
            if (l == NULL) {
                continue;
            }
            if (pump_side(d, op, i, now_ms)) {
                uint64_t at = lookup_deadline(l, now_ms);
                next = at < next ? at : next;
                runs = true;
            }
        }
        if (runs) {
            wake(d, op, next);
            return;
        }
        if (op->phase == OP_LOOKS && (doubt_asks(d, op) || doubt_widens(op))) {
            continue;
        }
        if (op->phase != OP_LOOKS || !begin_store(op, now_ms)) {
            op_finish(d, op, now_ms);
            return;
        }
    }
}

/* ---- answers ---- */

static void look_answered(struct dht *d, struct op *op, const struct rpc_call *call,
                          const struct krpc_msg *m, bool bad, uint64_t now_ms)
{
    unsigned side = side_of(&call->addr);
    struct lookup *l = op->l[side];
    if (bad) {
        lookup_failed(l, call->slot);
    } else if (lookup_answered(l, call->slot,
                               (m->has & KRPC_TOKEN) != 0 ? &m->token : NULL)) {
        keep_heard(d, &call->addr, m, op, call->slot);
        op_found(d, op, call, m);
        if (op->found && op->kind == OP_GET && !op->item.is_mutable && !op->repair) {
            op_finish(d, op, now_ms);
            return;
        }
    }
    op_pump(d, op, now_ms);
}

/* Before what is kept begins another round, all queries of the last are lost. */
_Static_assert(DHT_KEEP_RETRY_MS - DHT_KEEP_RETRY_MS / 10 > RPC_LOST_MS,
               "rounds overlap");

/* The operation that a query belongs to, unless it, or this round of it, has ended. */
static struct op *op_of_call(const struct dht *d, const struct rpc_call *call)
{
    struct op *op = op_by_handle(d, call->owner);
    if (op == NULL) {
        return NULL;
    }
    return call->kind == CALL_PING || op->l[side_of(&call->addr)] != NULL ? op : NULL;
}

static void store_answered(struct op *op, const struct rpc_call *call,
                           const struct krpc_msg *m)
{
    struct lookup *l = op->l[side_of(&call->addr)];
    if (m->kind != KRPC_ERROR) {
        lookup_store_result(l, call->slot, LOOKUP_STORED);
    } else if (m->code != KRPC_E_CAS || !op->item.has_cas ||
               !lookup_store_confirm(l, call->slot)) {
        /* Of an immutable item, and of peers, nothing else can stand there. */
        bool taken = op->item.is_mutable && (m->code == KRPC_E_SEQ ||
                                             (m->code == KRPC_E_CAS && op->item.has_cas));
        lookup_store_result(l, call->slot, taken ? LOOKUP_TAKEN : LOOKUP_REFUSED);
        op->result.code = m->code;
    }
}

void op_answered(struct dht *d, const struct rpc_call *call, const struct krpc_msg *m,
                 bool other, uint64_t now_ms)
{
    struct op *op = op_of_call(d, call);
    if (op == NULL) {
        return;
    }
    if (call->kind == CALL_PING) {
        op->result.n.answered = 1;
        op->result.ms = call->rtt_ms;
        op_finish(d, op, now_ms);
    } else if (call->kind == CALL_STORE) {
        store_answered(op, call, m);
        op_pump(d, op, now_ms);
    } else if (op->phase == OP_LOOKS) {
        look_answered(d, op, call, m, other || m->kind == KRPC_ERROR, now_ms);
    }
}

void op_late(struct dht *d, const struct rpc_call *call, bool lost, uint64_t now_ms)
{
    struct op *op = op_of_call(d, call);
    if (op == NULL) {
        return;
    }
    struct lookup *l = op->l[side_of(&call->addr)];
    if (call->kind == CALL_PING) {
        if (lost) {
            op->result.n.silent = 1;
            op_finish(d, op, now_ms);
        }
        return;
    }
    if (call->kind == CALL_STORE) {
        lookup_store_result(l, call->slot, lost ? LOOKUP_LOST : LOOKUP_SLOW);
    } else if (lost) {
        lookup_lost(l, call->slot);
    } else {
        lookup_slow(l, call->slot);
    }
    op_pump(d, op, now_ms);
}

/* ---- beginning, and time ---- */

static bool has_nodes(const struct dht *d)
{
    for (unsigned i = 0; i < SIDES; i++) {
        if (d->side[i].table != NULL && table_count(d->side[i].table) > 0) {
            return true;
        }
    }
    return false;
}

static void begin_side(struct dht *d, struct op *op, unsigned side, uint64_t now_ms)
{
    struct lookup_config c = {
        .target = op->target,
        .nodes = doubt_size(&d->side[side]),
        .wary = op->kind == OP_PUT || op->kind == OP_ANNOUNCE,
        .tokens = op->kind != OP_FIND,
        .private_too = d->c.private_too,
    };
    op->l[side] = lookup_new(&c, now_ms);
    if (op->l[side] == NULL) {
        return;
    }
    if (op->alone) {
        struct table_node at = {.id = op->at, .addr = op->addr};
        (void)lookup_add(op->l[side], &at, LOOKUP_TABLE);
        return;
    }
    op_seed(d, op, side);
}

static void begin_ping(struct dht *d, struct op *op, uint64_t now_ms)
{
    struct table_node who = {.addr = op->addr};
    struct krpc_msg m;
    look_query(d, op, side_of(&op->addr), &m);
    op->next_ms = UINT64_MAX;
    int rc = op_query(d, op, CALL_PING, &who, 0, &m, now_ms);
    if (rc == ERR_BUSY) { /* others have just asked there */
        wake(d, op, retry_at(d, &op->addr, now_ms));
    } else if (rc != 0) {
        op_finish(d, op, now_ms);
    }
}

/* op may be freed when this returns. */
static void op_begin(struct dht *d, struct op *op, uint64_t now_ms)
{
    op->phase = OP_LOOKS;
    op->doubted = false;
    op->begun_ms = now_ms;
    op->result = (struct dht_result){.seq = 0};
    d->ops_active++;
    if (op->kind == OP_PING) {
        begin_ping(d, op, now_ms);
        return;
    }
    for (unsigned i = 0; i < SIDES; i++) {
        if (d->side[i].table != NULL && (op->only_side == 0 || op->only_side == i + 1)) {
            begin_side(d, op, i, now_ms);
        }
    }
    op_pump(d, op, now_ms);
}

/* The one that has waited longest; our own come first. */
static struct op *first_waiting(const struct dht *d, bool nodes)
{
    struct op *first = NULL;
    for (size_t i = 0; i < d->ops_cap; i++) {
        struct op *op = d->ops[i];
        if (op == NULL || op->phase != OP_WAITS || (!nodes && op->kind != OP_PING)) {
            continue;
        }
        if (first == NULL || (op->internal && !first->internal) ||
            (op->internal == first->internal && op->begun_ms < first->begun_ms)) {
            first = op;
        }
    }
    return first;
}

void ops_begin(struct dht *d, uint64_t now_ms)
{
    bool nodes = has_nodes(d);
    while (d->ops_active < DHT_ACTIVE_MAX) {
        struct op *op = first_waiting(d, nodes);
        if (op == NULL) {
            return;
        }
        op_begin(d, op, now_ms);
    }
}

static void op_due(struct dht *d, struct op *op, uint64_t now_ms)
{
    switch (op->phase) {
    case OP_WAITS:
        if (has_nodes(d)) {
            op->next_ms = now_ms + DHT_WAIT_MS; /* for its turn; they may all go */
        } else if (now_ms >= op->begun_ms + DHT_WAIT_MS) {
            op_finish(d, op, now_ms);
        } else {
            op->next_ms = op->begun_ms + DHT_WAIT_MS;
        }
        break;
    case OP_LOOKS:
        if (op->kind == OP_PING) {
            begin_ping(d, op, now_ms);
            break;
        }
        op_pump(d, op, now_ms);
        break;
    case OP_STORES:
        op_pump(d, op, now_ms);
        break;
    case OP_KEPT:
        if (!reserve_done(d, op)) {
            op->next_ms = now_ms + DHT_KEEP_RETRY_MS;
            break;
        }
        op->phase = OP_WAITS;
        op->begun_ms = now_ms;
        op->next_ms = now_ms;
        break;
    }
}

void ops_tick(struct dht *d, uint64_t now_ms)
{
    if (now_ms < d->ops_next_ms) {
        return;
    }
    d->ops_next_ms = UINT64_MAX;
    ops_begin(d, now_ms);
    for (size_t i = 0; i < d->ops_cap; i++) {
        struct op *op = d->ops[i];
        if (op != NULL && op->next_ms <= now_ms) {
            op_due(d, op, now_ms);
        }
    }
    ops_begin(d, now_ms);
    for (size_t i = 0; i < d->ops_cap; i++) {
        if (d->ops[i] != NULL && d->ops[i]->next_ms < d->ops_next_ms) {
            d->ops_next_ms = d->ops[i]->next_ms;
        }
    }
}
