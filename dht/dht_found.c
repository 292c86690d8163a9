/* What operations find in answers: values, peers, nodes to ask. */
#include <stdlib.h>
#include <string.h>

#include "dht/dht_priv.h"

enum {
    OP_PEERS_MAX = 512,
    OP_PEERS_ONE = 64, /* … of one answer */
    HELD_ENOUGH = 2,   /* copies that were seen, when nobody lacked one */
};

void op_add_node(struct op *op, unsigned side, const struct krpc_node *n, uint16_t slot)
{
    struct table_node t = {.id = n->id, .addr = n->addr};
    if (op->alone) {
        op_add_closest(op, n);
    } else if (op->l[side] != NULL) {
        (void)lookup_add(op->l[side], &t, slot);
    }
}

static bool keep_value(struct op_item *item, const struct krpc_view *v)
{
    uint8_t *copy = malloc(v->n + 1);
    if (copy == NULL) {
        return false;
    }
    memcpy(copy, v->p, v->n);
    free(item->v);
    item->v = copy;
    item->v_len = v->n;
    return true;
}

static void tell_value(struct dht *d, const struct op *op, uint8_t depth)
{
    const struct op_item *item = &op->item;
    struct dht_event *e = dht_event_add(d, DHT_VALUE, op->handle);
    if (e != NULL) {
        e->u.value.len = item->v_len;
        e->u.value.seq = item->seq;
        e->u.value.depth = depth;
        e->u.value.is_mutable = item->is_mutable;
        memcpy(e->u.value.sig, item->sig, sizeof item->sig);
        memcpy(e->u.value.v, item->v, item->v_len);
    }
}

static void found_immutable(struct dht *d, struct op *op, unsigned side, uint16_t slot,
                            const struct krpc_msg *m)
{
    struct item it = {.v = m->v};
    if ((m->has & KRPC_V) == 0 || !item_is(&it, &op->target)) {
        bool should = op->held[side] > 0 && lookup_is_near(op->l[side], slot);
        op->lacked[side] = op->lacked[side] || should;
        return;
    }
    lookup_has_copy(op->l[side], slot);
    op->held[side] = (uint8_t)(op->held[side] + (op->held[side] < HELD_ENOUGH ? 1 : 0));
    if (!op->found && keep_value(&op->item, &m->v)) {
        op->found = true;
        tell_value(d, op, lookup_depth(op->l[side], slot));
    }
}

/* Whether an answer has, or claims to have without sending it, the value we have. */
static bool is_our_value(const struct op *op, const struct krpc_msg *m)
{
    const struct op_item *item = &op->item;
    if (!op->found || (m->has & KRPC_SEQ) == 0 || m->seq != item->seq) {
        return false;
    }
    return (m->has & KRPC_V) == 0 ||
           (m->v.n == item->v_len && memcmp(m->v.p, item->v, m->v.n) == 0);
}

/* Whether only what is newer than item.seq is wanted. */
static bool has_seq(const struct op *op)
{
    return op->found || op->item.seq > 0;
}

static void found_mutable(struct dht *d, struct op *op, unsigned side, uint16_t slot,
                          const struct krpc_msg *m)
{
    struct op_item *item = &op->item;
    struct item it;
    if ((m->has & KRPC_SEQ) != 0 && m->seq > op->result.seq) {
        op->result.seq = m->seq;
    }
    if (is_our_value(op, m)) {
        lookup_has_copy(op->l[side], slot);
        return;
    }
    item_of(m, &it);
    it.salt = (struct krpc_view){item->salt, item->salt_len};
    /* Of two values with one seq, the first stays. */
    if (it.k == NULL || (has_seq(op) && m->seq <= item->seq) ||
        !item_is(&it, &op->target) || !keep_value(item, &m->v)) {
        return;
    }
    item->seq = it.seq;
    memcpy(item->sig, it.sig, sizeof item->sig);
    op->found = true;
    for (unsigned i = 0; i < SIDES; i++) {
        if (op->l[i] != NULL) {
            lookup_no_copies(op->l[i]);
        }
    }
    lookup_has_copy(op->l[side], slot);
    tell_value(d, op, lookup_depth(op->l[side], slot));
}

static bool is_new_peer(struct op *op, const struct addr *a)
{
    for (size_t i = 0; i < op->n_peers; i++) {
        if (addr_eq(&op->peers[i], a)) {
            return false;
        }
    }
    if (op->n_peers >= OP_PEERS_MAX) {
        return false;
    }
    struct addr *p = reallocarray(op->peers, op->n_peers + 1u, sizeof *p);
    if (p == NULL) {
        return false;
    }
    op->peers = p;
    op->peers[op->n_peers++] = *a;
    return true;
}

static bool is_peer(const struct dht *d, const struct addr *from, const struct addr *a)
{
    return addr_is_dialable(a) && keep_may_name(d, from, a) &&
           (d->c.may_send == NULL || d->c.may_send(d->c.ctx, a));
}

static void found_peers(struct dht *d, struct op *op, const struct rpc_call *call,
                        const struct krpc_view *values)
{
    struct dht_event *e = NULL;
    struct addr a;
    size_t pos = 0;
    for (int i = 0; i < OP_PEERS_ONE && krpc_peer_next(values, &pos, &a); i++) {
        if (!is_peer(d, &call->addr, &a)) {
            continue;
        }
        lookup_has_copy(op->l[side_of(&call->addr)], call->slot);
        op->found = true;
        if (!is_new_peer(op, &a)) {
            continue;
        }
        if (e == NULL || e->u.peers.n == DHT_PEERS_MAX) {
            e = dht_event_add(d, DHT_PEERS, op->handle);
        }
        if (e != NULL) {
            e->u.peers.a[e->u.peers.n++] = a;
        }
    }
}

void op_found(struct dht *d, struct op *op, const struct rpc_call *call,
              const struct krpc_msg *m)
{
    unsigned side = side_of(&call->addr);
    uint16_t slot = call->slot;
    switch (op->kind) {
    case OP_GET:
        if (op->item.is_mutable) {
            found_mutable(d, op, side, slot, m);
        } else {
            found_immutable(d, op, side, slot, m);
        }
        break;
    case OP_PEERS:
        if ((m->has & KRPC_VALUES) != 0) {
            found_peers(d, op, call, &m->values);
        }
        break;
    case OP_PUT:
        if ((m->has & KRPC_SEQ) != 0) {
            op->result.seq = m->seq > op->result.seq ? m->seq : op->result.seq;
            lookup_named_seq(op->l[side], slot);
            rival_look(op, m);
        }
        break;
    case OP_PING:
    case OP_FIND:
    case OP_ANNOUNCE:
        break;
    }
}

bool op_is_held_well(const struct op *op, unsigned side)
{
    return op->held[side] >= HELD_ENOUGH && !op->lacked[side];
}
