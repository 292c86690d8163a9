/* What is not believed at once: that there is nothing, that nobody else is near, and that
 * so many have come to stand around one target by chance. */
#include <string.h>

#include "dht/dht_priv.h"

enum {
    BESIDE = 4,       /* nodes anywhere that are asked before an end */
    SURE_ANSWERS = 3, /* without which only who knows nobody else is sure */
    DEAF_MS = 60000, /* without an answer: a family of which few could be asked is gone */
};

/* ---- how large the network is ---- */

static uint64_t nodes_of(double nodes)
{
    return nodes < (double)(1ull << 62) ? (uint64_t)nodes : 1ull << 62;
}

/* Around our own id. Not by the table alone: the first nodes that it has stand anywhere,
 * and beside so few all others would look like a crowd. */
static float own_far(const struct side *s)
{
    struct table_node near[LOOKUP_K];
    if (s->own_far <= 0 || table_closest(s->table, &s->id, near, LOOKUP_K) < LOOKUP_K) {
        return s->own_far;
    }
    float far = (float)dht_id_distance(&s->id, &near[LOOKUP_K - 1].id);
    return s->own_far < far ? s->own_far : far;
}

uint64_t doubt_size_slow(const struct side *s)
{
    return nodes_of(s->distance > 0 ? LOOKUP_K / s->distance : 0);
}

/* The median of what was seen at some targets and around our own id, so that who stands
 * around a few of them does not matter; 0: nothing was seen. */
static float median_far(const struct side *s)
{
    float far[FARS + 1] = {0};
    size_t n = 0;
    for (size_t i = 0; i <= FARS; i++) {
        float one = i < FARS ? s->far[i] : own_far(s);
        size_t at = n;
        if (one <= 0) {
            continue;
        }
        for (n++; at > 0 && far[at - 1] > one; at--) {
            far[at] = far[at - 1];
        }
        far[at] = one;
    }
    return n == 0 ? 0 : far[n / 2];
}

/* Of n nodes, half the time the k-th is not farther than median_k / n. */
uint64_t doubt_size(const struct side *s)
{
    static const double median_k = 7.67;
    double far = (double)median_far(s);
    return nodes_of(far > 0 ? median_k / far : 0);
}

/* One entry a target: who stands around one has one voice, however often it is looked
 * up. */
static void note_far(struct side *s, const struct dht_id *target, float far)
{
    uint32_t of;
    size_t at = 0;
    memcpy(&of, target->b, sizeof of);
    while (at < FARS && (s->far[at] <= 0 || s->far_of[at] != of)) {
        at++;
    }
    if (at == FARS) {
        at = s->next_far;
        s->next_far = (uint8_t)((s->next_far + 1) % FARS);
    }
    s->far[at] = far;
    s->far_of[at] = of;
}

/* What is noted for a target with a crowd, where the ids tell nothing; 0: nothing. The
 * network may have grown, which shows around our own id; but a crowd may stand there,
 * too, so that this counts for twice as many nodes at most. */
static float crowded_far(const struct side *s)
{
    float own = own_far(s), least = median_far(s) / 2;
    return own > 0 && own < least ? least : own;
}

/* How dense the ids are tells how many nodes there are; not where somebody may have
 * chosen them. */
void doubt_note_size(struct dht *d, unsigned side, const struct op *op, uint64_t now_ms)
{
    struct side *s = &d->side[side];
    struct table_node closest[LOOKUP_K];
    const struct lookup *l = op->l[side];
    if (lookup_state(l, now_ms) != LOOKUP_COMPLETE ||
        lookup_closest(l, closest, LOOKUP_K) < LOOKUP_K) {
        return;
    }
    double distance = dht_id_distance(&op->target, &closest[LOOKUP_K - 1].id);
    s->distance = s->distance > 0 ? (7 * s->distance + distance) / 8 : distance;
    if (op->handle == s->self_op) {
        s->own_far = (float)distance;
    } else if (!op->internal) {
        float far = lookup_is_crowded(l) ? crowded_far(s) : (float)distance;
        if (far > 0) {
            note_far(s, &op->target, far);
        }
    }
}

/* ---- whether there is nothing ---- */

/* Whether the answers of a side show that there is nothing. Where as many are silent as
 * have answered, the silent ones may have it. */
static bool is_sure(const struct lookup *l)
{
    struct lookup_counts n;
    lookup_count(l, &n);
    return lookup_is_complete(l) ? n.answered - n.beside > n.silent_near
                                 : n.closest > n.silent;
}

/* Whether a family is out of order, a route gone for example: none of its nodes answers
 * anything. Then it is as if we were not in it. */
static bool is_deaf(const struct side *s, const struct op *op,
                    const struct lookup_counts *n, uint64_t now_ms)
{
    uint64_t since = n->asked >= LOOKUP_K ? op->begun_ms
                     : now_ms > DEAF_MS   ? now_ms - DEAF_MS
                                          : 0;
    return n->answered == 0 && s->heard_ms < since;
}

/* Whether nothing was found because there is nothing: every family in which nodes are
 * known, and of which any answers, is sure, and it is not one liar or two who say so. */
bool doubt_is_absent(const struct dht *d, const struct op *op, uint64_t now_ms)
{
    bool any = false, all = true;
    for (unsigned i = 0; i < SIDES; i++) {
        const struct table *t = d->side[i].table;
        struct lookup_counts n;
        if (t == NULL || table_count(t) == 0) {
            continue;
        }
        if (op->l[i] == NULL) {
            return false;
        }
        lookup_count(op->l[i], &n);
        if (is_deaf(&d->side[i], op, &n, now_ms)) {
            continue;
        }
        if (!is_sure(op->l[i])) {
            return false;
        }
        any = true;
        all = all && n.asked >= table_count(t);
    }
    return any && (all || op->result.n.answered >= SURE_ANSWERS);
}

/* Whether some more are asked, since too many of the closest are silent to be sure that
 * there is nothing. */
bool doubt_widens(struct op *op)
{
    bool any = false;
    if (op->found || op->alone || (op->kind != OP_GET && op->kind != OP_PEERS)) {
        return false;
    }
    for (unsigned i = 0; i < SIDES; i++) {
        struct lookup *l = op->l[i];
        if (l != NULL && lookup_is_complete(l) && !is_sure(l) && lookup_widen(l)) {
            any = true;
        }
    }
    return any;
}

/* Nodes of the table that stand anywhere. */
static void ask_beside(const struct dht *d, struct lookup *l, const struct table *t)
{
    for (int n = 0; n < BESIDE && table_count(t) > 0; n++) {
        struct table_node who;
        size_t at = env_uniform(d->env, (uint32_t)table_count(t));
        if (table_next(t, &at, &who) && who.fails == 0 && dht_may_send(d, &who.addr)) {
            (void)lookup_add_beside(l, &who);
        }
    }
}

/* Whether somebody else is to be asked before it is said that there is nothing, or stored
 * somewhere. Liars may have filled the part of the table in which the target is; and who
 * began with them alone may know others by now. */
bool doubt_asks(const struct dht *d, struct op *op)
{
    bool stores = op->kind == OP_PUT || op->kind == OP_ANNOUNCE;
    bool looks = op->kind == OP_GET || op->kind == OP_PEERS;
    if (op->doubted || op->alone || !(stores || (looks && !op->found))) {
        return false;
    }
    for (unsigned i = 0; i < SIDES; i++) {
        if (op->l[i] != NULL) {
            op_seed(d, op, i);
            ask_beside(d, op->l[i], d->side[i].table);
        }
    }
    op->doubted = true;
    return true;
}
