/* Upkeep: from nothing to a full table, and keeping it so. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "dht/dht_priv.h"

enum { HINTS_STEP = 8 };

/* ---- addresses to begin from ---- */

static int add(struct hints *h, const struct addr *a, size_t max)
{
    for (size_t i = 0; i < h->n; i++) {
        if (addr_eq(&h->a[i], a)) {
            return 0;
        }
    }
    if (h->n == max) {
        memmove(h->a, h->a + 1, (h->n - 1u) * sizeof *h->a);
        h->a[h->n - 1] = *a;
        return ERR_LIMIT;
    }
    if (h->n == h->cap) {
        size_t cap = h->cap + (size_t)HINTS_STEP;
        struct addr *p = reallocarray(h->a, cap, sizeof *p);
        if (p == NULL) {
            return ERR_NOMEM;
        }
        h->a = p;
        h->cap = (uint16_t)cap;
    }
    h->a[h->n++] = *a;
    return 0;
}

static int add_hint(struct dht *d, struct hints *h, const struct addr *a, size_t max,
                    uint64_t now_ms)
{
    if (!dht_may_send(d, a)) {
        return ERR_ARG;
    }
    d->next_hint_ms = now_ms;
    return add(h, a, max);
}

int dht_add_router(struct dht *d, const struct addr *a, uint64_t now_ms)
{
    return add_hint(d, &d->routers, a, DHT_ROUTERS_MAX, now_ms);
}

int dht_add_hint(struct dht *d, const struct addr *a, uint64_t now_ms)
{
    return add_hint(d, &d->hints, a, DHT_HINTS_MAX, now_ms);
}

void keep_release(struct dht *d)
{
    free(d->routers.a);
    free(d->hints.a);
}

/* A find_node query beside any lookup. */
static int ask(struct dht *d, enum call_kind kind, const struct table_node *who,
               const struct dht_id *target, uint64_t now_ms)
{
    struct krpc_msg m;
    struct rpc_call call = {
        .id = who->id,
        .addr = who->addr,
        .kind = (uint16_t)kind,
        .rtt_ms = who->rtt_ms,
    };
    if (!dht_may_send(d, &who->addr)) { /* it was allowed once */
        return ERR_REFUSED;
    }
    dht_query_init(d, &m, target == NULL ? KRPC_PING : KRPC_FIND_NODE,
                   side_of(&who->addr));
    if (target != NULL) {
        m.target = *target;
        m.has |= KRPC_TARGET;
        if (d->side[0].table != NULL && d->side[1].table != NULL) {
            m.want = KRPC_N4 | KRPC_N6;
            m.has |= KRPC_WANT;
        }
    }
    return dht_query(d, &call, &m, now_ms);
}

static bool is_empty(const struct dht *d, unsigned side)
{
    return d->side[side].table != NULL && table_count(d->side[side].table) == 0;
}

static void ask_hint(struct dht *d, struct hints *h, uint64_t now_ms)
{
    const struct addr *a;
    size_t steps = h->n;
    do { /* those of a family that has nodes are passed over */
        a = &h->a[h->next++ % h->n];
    } while (--steps > 0 && !is_empty(d, side_of(a)));
    const struct side *s = &d->side[side_of(a)];
    if (is_empty(d, side_of(a))) {
        struct table_node who = {.addr = *a};
        (void)ask(d, CALL_HINT, &who, &s->id, now_ms);
    }
}

static bool has_hint(const struct hints *h, unsigned side)
{
    for (size_t i = 0; i < h->n; i++) {
        if (side_of(&h->a[i]) == side) {
            return true;
        }
    }
    return false;
}

/* Whether an empty table has somewhere to begin from. */
static bool wants_hints(const struct dht *d)
{
    for (unsigned i = 0; i < SIDES; i++) {
        if (is_empty(d, i) && (has_hint(&d->hints, i) || has_hint(&d->routers, i))) {
            return true;
        }
    }
    return false;
}

/* Remembered nodes first; routers get what is left of the round. */
static void ask_hints(struct dht *d, uint64_t now_ms)
{
    unsigned hints = d->hints.n < DHT_HINTS_AT_ONCE ? d->hints.n : DHT_HINTS_AT_ONCE;
    unsigned routers =
        DHT_HINTS_AT_ONCE - (hints < DHT_HINTS_AT_ONCE ? hints : hints / 2);
    routers = routers < d->routers.n ? routers : d->routers.n;
    for (unsigned i = 0; i < hints; i++) {
        ask_hint(d, &d->hints, now_ms);
    }
    for (unsigned i = 0; i < routers; i++) {
        ask_hint(d, &d->routers, now_ms);
    }
    d->next_hint_ms = now_ms + d->hint_gap_ms;
    d->hint_gap_ms = d->hint_gap_ms < DHT_HINTS_GAP_MAX_MS / 2 ? 2 * d->hint_gap_ms
                                                               : DHT_HINTS_GAP_MAX_MS;
}

/* ---- lookups of our own ---- */

static struct op *look(struct dht *d, unsigned side, const struct dht_id *target,
                       uint64_t now_ms)
{
    struct op *op = op_new(d, OP_FIND, now_ms);
    if (op != NULL) {
        op->internal = true;
        op->only_side = (uint8_t)(side + 1);
        op->target = *target;
    }
    return op;
}

static uint64_t jitter(const struct dht *d, uint64_t ms)
{
    return ms - ms / 10 + env_uniform(d->env, (uint32_t)(ms / 5) + 1);
}

static bool knows_few(const struct side *s)
{
    return table_count(s->table) < TABLE_K;
}

/* The first nodes of a network begin at about the same time: they look again soon. */
static uint64_t self_gap(const struct dht *d, struct side *s)
{
    uint64_t most = d->leaf ? DHT_LEAF_SELF_MS : DHT_SELF_MS;
    uint64_t gap = knows_few(s) ? s->self_gap_ms : most;
    s->self_gap_ms = gap < DHT_SELF_MS / 2 ? 2 * gap : DHT_SELF_MS;
    return jitter(d, gap);
}

void keep_queried(struct dht *d, unsigned side, uint64_t now_ms)
{
    bool few = table_count(d->side[side].table) < DHT_FEW_NODES;
    if (few && d->next_check_ms > now_ms + DHT_CHECK_FAST_MS) {
        d->next_check_ms = now_ms + DHT_CHECK_FAST_MS;
    }
}

void keep_self_look(struct dht *d, unsigned side, uint64_t now_ms)
{
    struct side *s = &d->side[side];
    if (s->table == NULL || s->self_op != 0) {
        return;
    }
    s->next_self_ms = now_ms + self_gap(d, s);
    struct op *op = look(d, side, &s->id, now_ms);
    if (op != NULL) {
        s->self_op = op->handle;
        ops_begin(d, now_ms);
    }
}

void keep_self_done(struct dht *d, const struct op *op, uint64_t now_ms)
{
    struct side *s = &d->side[op->only_side - 1];
    if (s->self_op != op->handle) {
        return;
    }
    s->self_op = 0;
    d->next_check_ms = now_ms;
    if (!d->ready && op->result.n.answered > 0) {
        d->ready = true;
        (void)dht_event_add(d, DHT_READY, 0);
    }
}

/* ---- what answers bring ---- */

bool keep_may_name(const struct dht *d, const struct addr *from, const struct addr *a)
{
    if (addr_eq(a, &d->side[side_of(a)].seen)) {
        return false;
    }
    if (addr_is_loopback(a)) {
        return addr_is_loopback(from);
    }
    return !addr_is_private(a) || addr_is_private(from);
}

/* Nodes are hearsay; some are not worth a packet. */
static bool is_usable(const struct dht *d, const struct addr *from,
                      const struct krpc_node *n)
{
    return dht_may_send(d, &n->addr) && keep_may_name(d, from, &n->addr) &&
           !dht_id_eq(&n->id, &d->side[side_of(&n->addr)].id);
}

static void hear(struct dht *d, const struct addr *from, struct krpc_view nodes,
                 unsigned side, struct op *op, uint16_t slot)
{
    struct krpc_node n;
    uint16_t teller = side == side_of(from) ? slot : (uint16_t)(slot | LOOKUP_OTHER);
    if (d->side[side].table == NULL) {
        return;
    }
    for (int i = 0; i < HEARD_MAX && krpc_node_next(&nodes, side == 0 ? 4 : 6, &n); i++) {
        if (!is_usable(d, from, &n)) {
            continue;
        }
        table_heard(d->side[side].table, &n.id, &n.addr);
        if (op != NULL) {
            op_add_node(op, side, &n, teller);
        }
    }
}

void keep_heard(struct dht *d, const struct addr *from, const struct krpc_msg *m,
                struct op *op, uint16_t slot)
{
    if ((m->has & KRPC_NODES) != 0) {
        hear(d, from, m->nodes, 0, op, slot);
    }
    if ((m->has & KRPC_NODES6) != 0) {
        hear(d, from, m->nodes6, 1, op, slot);
    }
}

void keep_answered(struct dht *d, const struct rpc_call *call, const struct krpc_msg *m,
                   uint64_t now_ms)
{
    unsigned side = side_of(&call->addr);
    if (m->kind != KRPC_REPLY) {
        return;
    }
    struct op *op = NULL;
    if (call->kind == CALL_HINT) {
        d->hint_gap_ms = DHT_HINTS_GAP_MS;
        keep_self_look(d, side, now_ms);
        op = op_by_handle(d, d->side[side].self_op);
        d->ops_next_ms = now_ms; /* it may be the first node: others wait for it */
    }
    keep_heard(d, &call->addr, m, op, LOOKUP_TABLE);
    if (op != NULL) {
        op->next_ms = now_ms; /* there are more to ask now */
    }
}

/* ---- checks ---- */

/* Who is asked whether he is there may as well name some nodes where we lack them.
 * Returns in how long to go on. */
static uint64_t check_side(struct dht *d, unsigned side, uint64_t now_ms)
{
    struct table *t = d->side[side].table;
    struct table_node who = {.answered = true};
    struct dht_id target;
    bool wanted = table_next_wanted(t, d->env, now_ms, &target);
    if (!table_next_check(t, now_ms, &who) &&
        (!wanted || table_closest(t, &target, &who, 1) == 0)) {
        return DHT_CHECK_MS;
    }
    (void)ask(d, CALL_CHECK, &who, wanted ? &target : NULL, now_ms);
    bool fills = wanted || !who.answered;
    return !fills                           ? DHT_CHECK_MS
           : table_count(t) < DHT_FEW_NODES ? DHT_CHECK_FAST_MS
                                            : DHT_CHECK_FILL_MS;
}

/* One lookup at a time. */
static void refresh_side(struct dht *d, unsigned side, uint64_t now_ms)
{
    struct side *s = &d->side[side];
    struct dht_id target;
    if (table_count(s->table) == 0) {
        return;
    }
    if (now_ms >= s->next_self_ms || s->next_self_ms == UINT64_MAX) {
        keep_self_look(d, side, now_ms);
        return;
    }
    if (d->leaf || s->self_op != 0 || op_by_handle(d, s->refresh_op) != NULL) {
        return;
    }
    table_expect(s->table, doubt_size_slow(s));
    if (table_next_refresh(s->table, d->env, now_ms, &target)) {
        const struct op *op = look(d, side, &target, now_ms);
        s->refresh_op = op == NULL ? 0 : op->handle;
        ops_begin(d, now_ms);
    }
}

static void check(struct dht *d, uint64_t now_ms)
{
    uint64_t gap = DHT_CHECK_MS;
    for (unsigned i = 0; i < SIDES; i++) {
        const struct table *t = d->side[i].table;
        if (t != NULL) {
            refresh_side(d, i, now_ms);
            uint64_t wait = check_side(d, i, now_ms);
            gap = wait < gap ? wait : gap;
        }
    }
    d->next_check_ms = now_ms + gap;
}

void keep_tick(struct dht *d, uint64_t now_ms)
{
    if (now_ms >= d->next_hint_ms && wants_hints(d)) {
        ask_hints(d, now_ms);
    }
    if (now_ms >= d->next_check_ms) {
        check(d, now_ms);
    }
}

uint64_t keep_deadline(const struct dht *d)
{
    uint64_t at = d->next_check_ms;
    return wants_hints(d) && d->next_hint_ms < at ? d->next_hint_ms : at;
}

void dht_network_changed(struct dht *d, uint64_t now_ms)
{
    d->hint_gap_ms = DHT_HINTS_GAP_MS;
    d->next_hint_ms = d->next_check_ms = now_ms;
    for (unsigned i = 0; i < SIDES; i++) {
        d->side[i].next_self_ms = now_ms;
        d->side[i].self_gap_ms = DHT_SELF_FEW_MS;
    }
    self_network_changed(d, now_ms);
}
