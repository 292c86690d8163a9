#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "dht/dht_priv.h"

/* ---- life ---- */

static int side_init(struct dht *d, unsigned i)
{
    struct side *s = &d->side[i];
    struct table_config c = {
        .family = i == 0 ? 4 : 6,
        .narrow = d->leaf,
        .max = d->leaf ? DHT_LEAF_NODES : 0,
        .private_too = d->c.private_too,
    };
    s->id = d->c.id[i];
    if (dht_id_is_zero(&s->id)) {
        dht_id_random(d->env, &s->id);
    }
    s->table = table_new(&s->id, &c);
    return s->table == NULL ? ERR_NOMEM : 0;
}

struct dht *dht_new(const struct dht_config *c, const struct env *env, uint64_t now_ms)
{
    struct dht *d = calloc(1, sizeof *d);
    if (d == NULL) {
        return NULL;
    }
    d->c = *c;
    d->env = env;
    d->read_only = c->read_only || !c->open;
    d->leaf = c->leaf || (!c->read_only && !c->open);
    d->next_trial_ms = UINT64_MAX;
    d->ops_next_ms = UINT64_MAX;
    d->next_hint_ms = now_ms;
    d->hint_gap_ms = DHT_HINTS_GAP_MS;
    d->next_check_ms = now_ms;
    rpc_init(&d->rpc, env, c->private_too);
    for (unsigned i = 0; i < SIDES; i++) {
        d->side[i].next_self_ms = UINT64_MAX;
        d->side[i].self_gap_ms = DHT_SELF_FEW_MS;
        if (c->family[i] && side_init(d, i) != 0) {
            dht_free(d);
            return NULL;
        }
    }
    if (answer_init(d, now_ms) != 0) {
        dht_free(d);
        return NULL;
    }
    return d;
}

static void free_queues(struct dht *d)
{
    while (d->out_first != NULL) {
        struct packet *p = d->out_first;
        d->out_first = p->next;
        free(p);
    }
    while (d->event_first != NULL) {
        struct event_node *e = d->event_first;
        d->event_first = e->next;
        free(e);
    }
}

void dht_free(struct dht *d)
{
    if (d == NULL) {
        return;
    }
    for (size_t i = 0; i < d->ops_cap; i++) {
        if (d->ops[i] != NULL) {
            op_free(d, d->ops[i]);
        }
    }
    free(d->ops);
    for (unsigned i = 0; i < SIDES; i++) {
        table_free(d->side[i].table);
    }
    free_queues(d);
    keep_release(d);
    answer_release(d);
    rpc_release(&d->rpc);
    free(d->contacts);
    free(d);
}

/* ---- sending ---- */

bool dht_may_send(const struct dht *d, const struct addr *a)
{
    return addr_is_dialable(a) && d->side[side_of(a)].table != NULL &&
           (d->c.may_send == NULL || d->c.may_send(d->c.ctx, a));
}

void dht_send(struct dht *d, const struct addr *dest, const uint8_t *p, size_t len)
{
    if (d->out_n >= DHT_OUTS_MAX) {
        return; /* as the network would */
    }
    struct packet *out = malloc(sizeof *out + len);
    if (out == NULL) {
        return;
    }
    out->next = NULL;
    out->dest = *dest;
    out->len = len;
    memcpy(out->bytes, p, len);
    if (d->out_last == NULL) {
        d->out_first = out;
    } else {
        d->out_last->next = out;
    }
    d->out_last = out;
    d->out_n++;
}

void dht_query_init(const struct dht *d, struct krpc_msg *m, enum krpc_method method,
                    unsigned side)
{
    krpc_query_init(m, method, NULL, 0, &d->side[side].id);
    m->ro = d->read_only;
}

int dht_query(struct dht *d, const struct rpc_call *want, struct krpc_msg *m,
              uint64_t now_ms)
{
    uint8_t tid[RPC_TID_LEN], bytes[KRPC_SEND_MAX];
    if (d->out_n >= DHT_OUTS_MAX) {
        return ERR_LIMIT;
    }
    int rc = rpc_begin(&d->rpc, want, now_ms, tid);
    if (rc != 0) {
        return rc;
    }
    m->t = (struct krpc_view){tid, sizeof tid};
    size_t len = krpc_encode(m, bytes, sizeof bytes);
    if (len > 0) { /* with the longest token it may not fit: as good as lost */
        self_contacted(d, &want->addr, now_ms);
        dht_send(d, &want->addr, bytes, len);
    }
    return 0;
}

bool dht_next_out(struct dht *d, struct dht_out *out)
{
    struct packet *p = d->out_first;
    if (p == NULL) {
        return false;
    }
    d->out_first = p->next;
    d->out_last = p->next == NULL ? NULL : d->out_last;
    d->out_n--;
    out->dest = p->dest;
    out->len = p->len;
    memcpy(out->bytes, p->bytes, p->len);
    free(p);
    d->count.sent++;
    d->count.sent_bytes += out->len;
    return true;
}

/* ---- events ---- */

struct dht_event *dht_event_add(struct dht *d, enum dht_event_type type, uint32_t op)
{
    if (d->event_n >= DHT_EVENTS_MAX) {
        return NULL;
    }
    struct event_node *n = calloc(1, sizeof *n);
    if (n == NULL) {
        return NULL;
    }
    n->e.type = type;
    n->e.op = op;
    dht_event_append(d, n);
    return &n->e;
}

void dht_event_append(struct dht *d, struct event_node *n)
{
    n->next = NULL;
    if (d->event_last == NULL) {
        d->event_first = n;
    } else {
        d->event_last->next = n;
    }
    d->event_last = n;
    d->event_n++;
}

void dht_events_drop(struct dht *d, uint32_t op)
{
    struct event_node **at = &d->event_first;
    d->event_last = NULL;
    while (*at != NULL) {
        struct event_node *n = *at;
        if (n->e.op == op) {
            *at = n->next;
            d->event_n--;
            free(n);
        } else {
            d->event_last = n;
            at = &n->next;
        }
    }
}

bool dht_next_event(struct dht *d, struct dht_event *e)
{
    struct event_node *n = d->event_first;
    if (n == NULL) {
        return false;
    }
    d->event_first = n->next;
    d->event_last = n->next == NULL ? NULL : d->event_last;
    d->event_n--;
    *e = n->e;
    free(n);
    return true;
}

/* ---- receiving ---- */

static void call_answered(struct dht *d, const struct rpc_call *call,
                          const struct krpc_msg *m, bool other, uint64_t now_ms)
{
    switch ((enum call_kind)call->kind) {
    case CALL_CHECK:
    case CALL_HINT:
        keep_answered(d, call, m, now_ms);
        break;
    case CALL_PING:
    case CALL_LOOK:
    case CALL_STORE:
        op_answered(d, call, m, other, now_ms);
        break;
    }
}

/* Whether nobody has answered for a while, in any family. A few dead nodes in a row,
 * which one liar can name, do not suffice. */
static bool was_away(const struct dht *d, uint64_t now_ms)
{
    uint64_t heard_ms = 0;
    for (unsigned i = 0; i < SIDES; i++) {
        heard_ms = d->side[i].heard_ms > heard_ms ? d->side[i].heard_ms : heard_ms;
    }
    return d->lost_row == LOST_ROW && now_ms >= heard_ms + AWAY_MS;
}

/* An answer: r, or an error. Who answers an error is alive, but has not said who he is.
 */
static int recv_answer(struct dht *d, const struct addr *from, const struct krpc_msg *m,
                       uint64_t now_ms)
{
    struct rpc_call call;
    if (!rpc_answer(&d->rpc, m->t.p, m->t.n, from, now_ms, &call)) {
        return ERR_STATE;
    }
    struct side *s = &d->side[side_of(from)];
    if (d->ready && was_away(d, now_ms)) {
        (void)dht_event_add(d, DHT_READY, 0);
    }
    d->lost_row = 0;
    s->heard_ms = now_ms;
    bool named =
        m->kind == KRPC_REPLY && (m->has & KRPC_ID) != 0 && !dht_id_eq(&m->id, &s->id);
    bool other = !dht_id_is_zero(&call.id) && named && !dht_id_eq(&call.id, &m->id);
    if (other) {
        table_failed(s->table, &call.id, from);
    }
    if (named) {
        bool first = table_count(s->table) == 0;
        (void)table_answered(s->table, &m->id, from, call.rtt_ms, now_ms);
        d->ops_next_ms = first ? now_ms : d->ops_next_ms; /* some wait for it */
    } else {
        table_nameless(s->table, &call.id, from);
    }
    if (m->ip.family != 0) {
        self_vote(d, from, &m->ip, now_ms);
    }
    if (m->ip.family != 0 && m->kind == KRPC_ERROR && call.kind == CALL_HINT) {
        self_refused(d, from, &m->ip, now_ms);
    }
    call_answered(d, &call, m, other || (m->kind == KRPC_REPLY && !named), now_ms);
    return 0;
}

static int recv_query(struct dht *d, const struct addr *from, const struct krpc_msg *m,
                      uint64_t now_ms)
{
    struct side *s = &d->side[side_of(from)];
    self_queried(d, from, now_ms);
    if (!m->ro && (m->has & KRPC_ID) != 0 && !dht_id_eq(&m->id, &s->id)) {
        table_queried(s->table, &m->id, from, now_ms);
        keep_queried(d, side_of(from), now_ms);
    }
    answer_query(d, from, m, now_ms);
    return 0;
}

int dht_recv(struct dht *d, const struct addr *from, const uint8_t *p, size_t len,
             uint64_t now_ms)
{
    if (!dht_may_send(d, from)) {
        return ERR_REFUSED;
    }
    d->count.received++;
    d->count.received_bytes += len;
    struct krpc_msg m;
    int rc = krpc_decode(p, len, &m);
    if (rc != 0) {
        return rc;
    }
    switch (m.kind) {
    case KRPC_QUERY:
        return recv_query(d, from, &m, now_ms);
    case KRPC_REPLY:
    case KRPC_ERROR:
        return recv_answer(d, from, &m, now_ms);
    }
    return ERR_FORMAT;
}

/* ---- time ---- */

/* While nothing at all comes in, the network is gone, not the nodes. */
static void call_late(struct dht *d, const struct rpc_call *call, bool lost,
                      uint64_t now_ms)
{
    if (lost) {
        d->lost_row += d->lost_row < LOST_ROW ? 1 : 0;
        if (!dht_id_is_zero(&call->id) && d->lost_row < LOST_ROW) {
            table_failed(d->side[side_of(&call->addr)].table, &call->id, &call->addr);
        }
    }
    switch ((enum call_kind)call->kind) {
    case CALL_CHECK:
    case CALL_HINT:
        break;
    case CALL_PING:
    case CALL_LOOK:
    case CALL_STORE:
        op_late(d, call, lost, now_ms);
        break;
    }
}

void dht_tick(struct dht *d, uint64_t now_ms)
{
    struct rpc_call call;
    bool lost;
    while (rpc_next_late(&d->rpc, now_ms, &call, &lost)) {
        call_late(d, &call, lost, now_ms);
    }
    self_tick(d, now_ms);
    keep_tick(d, now_ms);
    answer_tick(d, now_ms);
    ops_tick(d, now_ms);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t dht_deadline(const struct dht *d)
{
    uint64_t at = earlier(rpc_deadline(&d->rpc), d->ops_next_ms);
    at = earlier(at, keep_deadline(d));
    at = earlier(at, self_deadline(d));
    return earlier(at, answer_deadline(d));
}

/* ---- what it knows ---- */

bool dht_next_node(const struct dht *d, size_t *pos, struct krpc_node *out)
{
    /* The sides one behind the other; a node that owes an answer is passed over. */
    struct table_node n;
    for (;;) {
        size_t at = *pos, first = 0;
        unsigned i = 0;
        if (d->side[0].table != NULL) {
            first = table_count(d->side[0].table);
        }
        if (at >= first) {
            at -= first;
            i = 1;
        }
        if (d->side[i].table == NULL || !table_next(d->side[i].table, &at, &n)) {
            return false;
        }
        (*pos)++;
        if (n.fails == 0) {
            *out = (struct krpc_node){n.id, n.addr};
            return true;
        }
    }
}

void dht_stats(const struct dht *d, struct dht_stats *out)
{
    *out = d->count;
    for (unsigned i = 0; i < SIDES; i++) {
        const struct side *s = &d->side[i];
        if (s->table != NULL) {
            out->id[i] = s->id;
            out->seen[i] = s->seen;
            out->nodes[i] = table_count(s->table);
            uint64_t about = doubt_size(s), known = out->nodes[i];
            out->estimate[i] = about > 0 && about < known ? known : about;
        }
    }
    out->read_only = d->read_only;
    out->ready = d->ready;
    out->ops = d->ops_n;
    out->queries = d->rpc.n;
    answer_stats(d, out);
}

static size_t op_memory(const struct dht *d)
{
    size_t n = d->ops_cap * sizeof *d->ops;
    for (size_t i = 0; i < d->ops_cap; i++) {
        const struct op *op = d->ops[i];
        if (op != NULL) {
            n += sizeof *op + sizeof *op->done + op->item.v_len + op->item.salt_len +
                 op->n_peers * sizeof *op->peers;
            n += op->l[0] == NULL ? 0 : lookup_memory();
            n += op->l[1] == NULL ? 0 : lookup_memory();
        }
    }
    return n;
}

size_t dht_memory(const struct dht *d)
{
    size_t n = sizeof *d + rpc_memory(&d->rpc) + op_memory(d) + answer_memory(d) +
               d->event_n * sizeof *d->event_first + d->out_n * sizeof *d->out_first;
    for (unsigned i = 0; i < SIDES; i++) {
        n += d->side[i].table == NULL ? 0 : table_memory(d->side[i].table);
    }
    n += (size_t)(d->routers.cap + d->hints.cap) * sizeof *d->hints.a;
    return n + (d->contacts == NULL ? 0 : sizeof *d->contacts);
}
