#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "dht/dht_priv.h"

/* Begins it at once when there is place; it may even have ended when this returns. */
static void begin(struct dht *d, struct op *op, uint64_t now_ms, uint32_t *out)
{
    *out = op->handle;
    ops_begin(d, now_ms);
}

int dht_ping(struct dht *d, const struct addr *a, uint64_t now_ms, uint32_t *op)
{
    if (!dht_may_send(d, a)) {
        return ERR_ARG;
    }
    struct op *o = op_new(d, OP_PING, now_ms);
    if (o == NULL) {
        return ERR_LIMIT;
    }
    o->addr = *a;
    begin(d, o, now_ms, op);
    return 0;
}

static int begin_target(struct dht *d, enum op_kind kind, const struct dht_id *target,
                        bool repair, uint64_t now_ms, uint32_t *op)
{
    struct op *o = op_new(d, kind, now_ms);
    if (o == NULL) {
        return ERR_LIMIT;
    }
    o->target = *target;
    o->repair = repair;
    begin(d, o, now_ms, op);
    return 0;
}

int dht_find(struct dht *d, const struct dht_id *target, uint64_t now_ms, uint32_t *op)
{
    return begin_target(d, OP_FIND, target, false, now_ms, op);
}

int dht_get(struct dht *d, const struct dht_id *target, bool repair, uint64_t now_ms,
            uint32_t *op)
{
    return begin_target(d, OP_GET, target, repair, now_ms, op);
}

int dht_peers(struct dht *d, const struct dht_id *info_hash, uint64_t now_ms,
              uint32_t *op)
{
    return begin_target(d, OP_PEERS, info_hash, false, now_ms, op);
}

static uint8_t *copy(const struct krpc_view *v)
{
    uint8_t *c = malloc(v->n + 1);
    if (c != NULL && v->n > 0) {
        memcpy(c, v->p, v->n);
    }
    return c;
}

static void set_at(struct op *o, const struct krpc_node *at)
{
    o->alone = true;
    o->at = at->id;
    o->addr = at->addr;
    o->only_side = (uint8_t)(side_of(&at->addr) + 1);
}

static int begin_item(struct dht *d, enum op_kind kind, const struct item *it,
                      const int64_t *cas, bool flag, const struct krpc_node *at,
                      uint64_t now_ms, uint32_t *op)
{
    struct op *o = op_new(d, kind, now_ms);
    if (o == NULL) {
        return ERR_LIMIT;
    }
    struct op_item *own = &o->item;
    own->v = copy(&it->v);
    own->salt = copy(&it->salt);
    if (own->v == NULL || own->salt == NULL) {
        op_free(d, o);
        return ERR_NOMEM;
    }
    own->v_len = it->v.n;
    own->salt_len = it->salt.n;
    own->seq = it->seq;
    own->is_mutable = it->k != NULL;
    if (it->k != NULL) {
        memcpy(own->k, it->k, sizeof own->k);
    }
    if (it->sig != NULL) {
        memcpy(own->sig, it->sig, sizeof own->sig);
    }
    if (cas != NULL) {
        own->has_cas = true;
        own->cas = *cas;
    }
    item_target(it, &o->target);
    o->repair = kind == OP_GET && flag;
    o->keep = kind == OP_PUT && flag;
    if (at != NULL) {
        set_at(o, at);
    }
    begin(d, o, now_ms, op);
    return 0;
}

int dht_get_mutable(struct dht *d, const uint8_t k[KRPC_KEY_LEN], const uint8_t *salt,
                    size_t salt_len, bool repair, uint64_t now_ms, uint32_t *op)
{
    struct item it = {.k = k, .salt = {salt, salt_len}};
    if (salt_len > ITEM_SALT_MAX) {
        return ERR_ARG;
    }
    return begin_item(d, OP_GET, &it, NULL, repair, NULL, now_ms, op);
}

int dht_get_mutable_at(struct dht *d, const struct krpc_node *at,
                       const uint8_t k[KRPC_KEY_LEN], int64_t seq, uint64_t now_ms,
                       uint32_t *op)
{
    struct item it = {.k = k, .seq = seq};
    if (!dht_may_send(d, &at->addr) || seq < 0) {
        return ERR_ARG;
    }
    return begin_item(d, OP_GET, &it, NULL, false, at, now_ms, op);
}

int dht_put(struct dht *d, const struct item *it, const int64_t *cas, bool keep,
            uint64_t now_ms, uint32_t *op)
{
    int code = item_check(it);
    if (code != 0 || (cas != NULL && *cas < 0)) {
        return code == KRPC_E_SIGNATURE ? ERR_AUTH : ERR_ARG;
    }
    return begin_item(d, OP_PUT, it, cas, keep, NULL, now_ms, op);
}

int dht_announce(struct dht *d, const struct dht_id *info_hash, uint16_t port, bool keep,
                 uint64_t now_ms, uint32_t *op)
{
    struct op *o = op_new(d, OP_ANNOUNCE, now_ms);
    if (o == NULL) {
        return ERR_LIMIT;
    }
    o->target = *info_hash;
    o->port = port;
    o->keep = keep;
    begin(d, o, now_ms, op);
    return 0;
}

void dht_cancel(struct dht *d, uint32_t op)
{
    struct op *o = op_by_handle(d, op);
    if (op != 0) {
        dht_events_drop(d, op); /* it may have ended, and the user not know it yet */
    }
    if (o != NULL && !o->internal) {
        op_free(d, o);
        d->ops_next_ms = 0; /* there may be place for another */
    }
}
