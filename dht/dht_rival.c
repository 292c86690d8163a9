/* A put of a mutable item asks before it stores whether another value stands there with
 * its seq, or with a higher one: some implementations answer the put as if they had
 * obeyed, and where some obey and some do not, readers see the one or the other. */
#include <string.h>

#include "dht/dht_priv.h"

int64_t rival_seq_asked(const struct op *op)
{
    return op->item.seq > 0 ? op->item.seq - 1 : 0;
}

static bool is_same_value(const struct op_item *own, const struct krpc_view *v)
{
    return v->n == own->v_len && memcmp(v->p, own->v, v->n) == 0;
}

void rival_look(struct op *op, const struct krpc_msg *m)
{
    const struct op_item *own = &op->item;
    struct dht_result *r = &op->result;
    struct item it;
    item_of(m, &it);
    it.salt = (struct krpc_view){own->salt, own->salt_len};
    if (!own->is_mutable || it.k == NULL || it.v.p == NULL || it.seq < own->seq ||
        (r->rival && it.seq <= r->rival_seq) ||
        (it.seq == own->seq && is_same_value(own, &it.v)) || !item_is(&it, &op->target)) {
        return;
    }
    r->rival = true;
    r->rival_seq = it.seq;
}

bool rival_stands(struct op *op)
{
    const struct op_item *own = &op->item;
    struct dht_result *r = &op->result;
    if (r->rival) {
        r->code = own->has_cas && own->cas != r->rival_seq ? KRPC_E_CAS : KRPC_E_SEQ;
    }
    return r->rival;
}
