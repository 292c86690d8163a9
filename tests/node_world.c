#include "node_world.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

static const uint64_t wall_us = UINT64_C(1700000000000000);

/* SplitMix64. */
static uint64_t draw(struct nw_world *w)
{
    uint64_t z = (w->rng += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void random_bytes(void *ctx, void *buf, size_t len)
{
    struct nw_node *n = ctx;
    uint8_t *p = buf;
    for (size_t i = 0; i < len; i += 8) {
        uint64_t v = draw(n->w);
        memcpy(p + i, &v, len - i < 8 ? len - i : 8);
    }
}

static uint64_t wall(void *ctx)
{
    const struct nw_node *n = ctx;
    return wall_us + n->w->now_ms * 1000 + n->skew_us;
}

struct addr nw_addr(int i)
{
    return (struct addr){.family = 4, .port = 7679, .ip = {10, 0, 0, (uint8_t)(i + 1)}};
}

struct addr nw_addr_of(const struct nw_world *w, int i)
{
    struct addr a = nw_addr(i);
    a.ip[0] = w->n[i].net != 0 ? w->n[i].net : a.ip[0];
    a.ip[2] = w->n[i].vlan;
    return a;
}

/* ---- events ---- */

static void push(struct nw_world *w, enum nw_kind kind, size_t carrier, int side,
                 const struct addr *from, const uint8_t *p, size_t len)
{
    struct nw_event *e = calloc(1, sizeof *e + len);
    assert(e != NULL);
    e->kind = kind;
    e->carrier = carrier;
    e->side = side;
    if (from != NULL) {
        e->from = *from;
    }
    e->due_ms = w->now_ms + w->latency_ms;
    e->len = len;
    if (len > 0) {
        memcpy(e->bytes, p, len);
    }
    *(w->last != NULL ? &w->last->next : &w->first) = e;
    w->last = e;
}

static size_t carrier_new(struct nw_world *w, int from, int to)
{
    assert(w->n_carriers < w->cap_carriers);
    w->carriers[w->n_carriers] = (struct nw_carrier){.node = {from, to}};
    return w->n_carriers++;
}

static struct nw_carrier *carrier_of(struct nw_world *w, int node, uint32_t id, int *side)
{
    const struct nw_node *n = &w->n[node];
    if (id >= n->cap_conns || n->by_conn[id] == 0) {
        return NULL;
    }
    struct nw_carrier *c = &w->carriers[n->by_conn[id] - 1];
    for (int s = 0; s < 2; s++) {
        if (c->open[s] && c->node[s] == node && c->id[s] == id) {
            *side = s;
            return c;
        }
    }
    return NULL;
}

/* One side of a carrier has a number. */
static void carrier_open(struct nw_world *w, size_t carrier, int side, uint32_t id)
{
    struct nw_carrier *c = &w->carriers[carrier];
    struct nw_node *n = &w->n[c->node[side]];
    c->id[side] = id;
    c->open[side] = id != 0;
    if (id >= n->cap_conns) {
        size_t cap = 2 * (size_t)id + 64;
        n->by_conn = realloc(n->by_conn, cap * sizeof *n->by_conn);
        assert(n->by_conn != NULL);
        memset(n->by_conn + n->cap_conns, 0, (cap - n->cap_conns) * sizeof *n->by_conn);
        n->cap_conns = cap;
    }
    n->by_conn[id] = carrier + 1;
}

/* ---- what a node gives ---- */

static void out_dial(struct nw_world *w, int i, const struct node_out *out)
{
    int to = out->dst.ip[3] - 1;
    size_t c = carrier_new(w, i, to);
    carrier_open(w, c, 0, out->conn);
    w->carriers[c].to = out->dst;
    bool there = out->dst.family == 4 && !w->n[i].refuse && to >= 0 && to < w->count &&
                 w->n[to].node != NULL && !w->n[to].closed &&
                 out->dst.ip[2] == w->n[to].vlan;
    push(w, there ? NW_CONNECT : NW_END, c, 0, NULL, NULL, 0);
}

static void out_stream(struct nw_world *w, int i, const struct node_out *out)
{
    int side = 0;
    struct nw_carrier *c = carrier_of(w, i, out->conn, &side);
    if (c == NULL) {
        return;
    }
    size_t at = (size_t)(c - w->carriers);
    if (out->kind == NODE_OUT_SEND) {
        c->sent[side] += out->len;
        c->pieces[side]++;
        w->n[i].out_bytes += out->len;
        push(w, NW_DATA, at, 1 - side, NULL, out->data, out->len);
    } else if (!w->n[i].keep_ends) {
        push(w, NW_END, at, 1 - side, NULL, NULL, 0);
        push(w, NW_END, at, side, NULL, NULL, 0);
    }
}

static void out_datagram(struct nw_world *w, const struct node_out *out)
{
    bool all = addr_is_multicast(&out->dst);
    for (int i = 0; i < w->count; i++) {
        bool near = out->source.ip[2] == w->n[i].vlan;
        bool meant = out->dst.ip[3] == i + 1 && out->dst.ip[2] == w->n[i].vlan;
        if (w->n[i].node != NULL && (all ? near : meant)) {
            w->n[i].udp_in += out->len + NW_UDP_HEAD;
            push(w, NW_DATAGRAM, 0, i, &out->source, out->data, out->len);
        }
    }
}

static void keep_entry(struct nw_node *n, const struct rec_entry *e)
{
    if (n->n_entries == n->cap_entries) {
        n->cap_entries = n->cap_entries == 0 ? 64 : 2 * n->cap_entries;
        n->entries = realloc(n->entries, n->cap_entries * sizeof *n->entries);
        assert(n->entries != NULL);
    }
    struct rec_entry *v = &n->entries[n->n_entries++];
    *v = *e;
    v->header = v->box = (struct blob){NULL, 0};
    bool ok = blob_set(&v->header, e->header.p, e->header.n) &&
              blob_set(&v->box, e->box.p, e->box.n);
    assert(ok);
}

static void apply(struct nw_node *n, const struct rec *r)
{
    if (r->kind == REC_ENTRY && !r->del) {
        keep_entry(n, &r->u.entry);
    } else if (r->kind == REC_STATE) {
        n->states_sent += r->u.state.state == STATE_SENT;
        n->state = r->u.state.state > n->state ? r->u.state.state : n->state;
    } else if (r->kind == REC_MSG && r->u.msg.state == STATE_RECEIVED) {
        n->received++;
        size_t len = r->u.msg.text.n < sizeof n->text ? r->u.msg.text.n : 0;
        memset(n->text, 0, sizeof n->text);
        memcpy(n->text, r->u.msg.text.p, len);
    } else if (r->kind == REC_EVENT && r->u.event.what == EVENT_NETWORK_LIMIT) {
        n->told_limit++;
    } else if (r->kind == REC_EVENT && r->u.event.what == EVENT_CONTACT_REPAIRED) {
        n->repaired++;
    } else if (r->kind == REC_META && (strcmp(r->u.meta.key, "dht_nodes") == 0 ||
                                       strcmp(r->u.meta.key, "meet_seq") == 0)) {
        bool nodes = r->u.meta.key[0] == 'd';
        struct blob *kept = nodes ? &n->dht_nodes : &n->meet_seq;
        blob_release(kept);
        bool ok = blob_set(kept, r->u.meta.value.p, r->u.meta.value.n);
        assert(ok);
    } else if (r->kind == REC_CONTACT) {
        memcpy(n->announced, r->u.contact.announced, sizeof n->announced);
    }
}

void nw_commit(struct nw_world *w, int i)
{
    struct nw_node *n = &w->n[i];
    uint64_t no = 0;
    for (size_t k = 0; k < n->n_txns; k++) {
        struct txn *t = n->txns[k];
        for (size_t j = 0; j < t->n; j++) {
            apply(n, &t->recs[j]);
        }
        no = t->no;
        txn_release(t);
        free(t);
    }
    if (n->n_txns > 0) {
        n->n_txns = 0;
        node_committed(n->node, no, w->now_ms);
    }
}

static void answer_load(struct nw_world *w, int i, const struct node_event *ev)
{
    struct nw_node *n = &w->n[i];
    struct rec_entry v[64];
    size_t count = 0;
    for (uint64_t seq = ev->from; seq <= ev->to && count < 64 && count < ev->max; seq++) {
        for (size_t k = 0; k < n->n_entries; k++) {
            if (n->entries[k].feed == ev->feed && n->entries[k].seq == seq) {
                v[count++] = n->entries[k];
                break;
            }
        }
    }
    node_loaded(n->node, ev->request, v, count, w->now_ms);
}

static void take_event(struct nw_world *w, int i, const struct node_event *ev)
{
    struct nw_node *n = &w->n[i];
    switch (ev->kind) {
    case NODE_EV_COMMIT:
        if (n->n_txns == n->cap_txns) {
            n->cap_txns = n->cap_txns == 0 ? 16 : 2 * n->cap_txns;
            n->txns = realloc(n->txns, n->cap_txns * sizeof(struct txn *));
            assert(n->txns != NULL);
        }
        n->txns[n->n_txns++] = ev->txn;
        if (w->latency_ms > 0) {
            push(w, NW_COMMIT, 0, i, NULL, NULL, 0);
        }
        break;
    case NODE_EV_LOAD:
        answer_load(w, i, ev);
        break;
    case NODE_EV_RESULT:
        assert(ev->tag < NW_TAGS);
        n->results[ev->tag]++;
        n->result[ev->tag] = *ev;
        break;
    case NODE_EV_PRESENCE:
        *(ev->contact == 0 ? &n->told_own : &n->told[ev->what]) += 1;
        break;
    case NODE_EV_JOB:
        n->scan = ev->job->kind == XFER_JOB_SCAN ? ev->job->id : n->scan;
        break;
    case NODE_EV_NEARBY:
    case NODE_EV_VISIBLE:
    case NODE_EV_VERIFY:
    case NODE_EV_TRANSFER:
        break;
    case NODE_EV_DHT:
        if (w->dht != NULL) {
            w->dht(w->dht_ctx, i, ev->tag, ev->dht);
        }
        free(ev->dht);
        break;
    case NODE_EV_BROKEN:
        assert(ev->kind != NODE_EV_BROKEN);
        break;
    }
}

void nw_drain(struct nw_world *w, int i)
{
    struct nw_node *n = &w->n[i];
    struct node_out out;
    struct node_event ev;
    for (bool any = true; any;) {
        any = false;
        while (node_next_out(n->node, &out, w->now_ms)) {
            any = true;
            switch (out.kind) {
            case NODE_OUT_DIAL:
                out_dial(w, i, &out);
                break;
            case NODE_OUT_SEND:
            case NODE_OUT_CLOSE:
                out_stream(w, i, &out);
                break;
            case NODE_OUT_UDP:
                n->beacons++;
                n->udp_out += out.len + NW_UDP_HEAD;
                n->watched += n->watch.family != 0 && addr_eq(&n->watch, &out.dst);
                if (out.source.family == 0) { /* the DHT's: by any */
                    out.source = nw_addr_of(w, i);
                }
                n->unicasts += addr_is_multicast(&out.dst) ? 0 : 1;
                if (!n->no_multicast || !addr_is_multicast(&out.dst)) {
                    out_datagram(w, &out);
                }
                break;
            }
        }
        while (node_next_event(n->node, &ev)) {
            any = true;
            take_event(w, i, &ev);
        }
        if (!n->hold && n->n_txns > 0 && w->latency_ms == 0) {
            nw_commit(w, i);
            any = true;
        }
    }
}

/* ---- what happens ---- */

static void happen_connect(struct nw_world *w, struct nw_carrier *c)
{
    struct addr from = nw_addr_of(w, c->node[0]);
    from.port = 40000;
    if (!c->open[0]) {
        return;
    }
    carrier_open(w, (size_t)(c - w->carriers), 1,
                 node_accepted(w->n[c->node[1]].node, &from, w->now_ms));
    nw_drain(w, c->node[1]);
    if (c->open[1]) {
        node_connected(w->n[c->node[0]].node, c->id[0], w->now_ms);
        nw_drain(w, c->node[0]);
    } else {
        push(w, NW_END, (size_t)(c - w->carriers), 0, NULL, NULL, 0);
    }
}

static void happen_data(struct nw_world *w, struct nw_carrier *c,
                        const struct nw_event *e)
{
    int to = c->node[e->side], from = c->node[1 - e->side];
    if (from != NW_STRANGER && c->open[1 - e->side] && !w->n[from].hold_sent) {
        node_sent(w->n[from].node, c->id[1 - e->side], e->len, w->now_ms);
        nw_drain(w, from);
    }
    if (to == NW_STRANGER && w->heard != NULL) {
        w->heard(w->heard_ctx, e->carrier, e->bytes, e->len);
    }
    if (to != NW_STRANGER && c->open[e->side]) {
        w->n[to].tcp_in += e->len;
        node_recv(w->n[to].node, c->id[e->side], e->bytes, e->len, w->now_ms);
        nw_drain(w, to);
    }
}

bool nw_step(struct nw_world *w)
{
    struct nw_event *e = w->first;
    if (e == NULL || e->due_ms > w->now_ms) {
        return false;
    }
    w->first = e->next;
    w->last = w->first == NULL ? NULL : w->last;
    struct nw_carrier *c = &w->carriers[e->carrier];
    switch (e->kind) {
    case NW_CONNECT:
        happen_connect(w, c);
        break;
    case NW_DATA:
        happen_data(w, c, e);
        break;
    case NW_END:
        if (c->open[e->side]) {
            c->open[e->side] = false;
            if (c->node[e->side] != NW_STRANGER) {
                node_closed(w->n[c->node[e->side]].node, c->id[e->side], w->now_ms);
                nw_drain(w, c->node[e->side]);
            }
        }
        break;
    case NW_COMMIT:
        if (w->n[e->side].node != NULL && !w->n[e->side].hold) {
            nw_commit(w, e->side);
            nw_drain(w, e->side);
        }
        break;
    case NW_DATAGRAM:
        if (w->n[e->side].node == NULL) {
            break;
        }
        node_udp_recv(w->n[e->side].node, &e->from, e->bytes, e->len, w->now_ms);
        nw_drain(w, e->side);
        break;
    }
    free(e);
    return true;
}

void nw_run(struct nw_world *w, uint64_t ms)
{
    uint64_t end = w->now_ms + ms;
    for (;;) {
        while (nw_step(w)) {
        }
        uint64_t at = w->first != NULL && w->first->due_ms < end ? w->first->due_ms : end;
        for (int i = 0; i < w->count; i++) {
            uint64_t due = w->n[i].node != NULL ? node_deadline(w->n[i].node) : end;
            at = due < at ? due : at;
        }
        w->now_ms = at > w->now_ms ? at : w->now_ms;
        for (int i = 0; i < w->count; i++) {
            if (w->n[i].node != NULL && node_deadline(w->n[i].node) <= w->now_ms) {
                node_tick(w->n[i].node, w->now_ms);
                nw_drain(w, i);
            }
        }
        if ((w->first == NULL || w->first->due_ms > end) && w->now_ms >= end) {
            return;
        }
    }
}

/* ---- life ---- */

static void plug(struct nw_world *w, int i)
{
    struct lan_interface eth = {
        .ifindex = 1, .addr = nw_addr_of(w, i), .bits = 24, .up = true};
    node_interfaces(w->n[i].node, &eth, 1, w->now_ms);
}

void nw_start(struct nw_world *w, int i)
{
    struct nw_node *n = &w->n[i];
    struct node_config cfg = {
        .env = &n->env, .key = &n->key, .link_port = 7679, .udp_port = 7679};
    cfg.dht = (struct node_dht_config){
        .on = n->dht,
        .family = {true, false},
        .own_network = true,
        .may_send = n->dht_may_send,
        .ctx = n,
    };
    static const char *const names[NW_NODES] = {"ada", "bob", "cy"};
    static const uint8_t cache[NETKEY_CACHE];
    uint8_t key[NETKEY];
    n->w = w;
    n->env = (struct env){.ctx = n, .random = random_bytes, .wall_us = wall};
    if (sodium_is_zero(n->key.seed, sizeof n->key.seed)) {
        random_bytes(n, n->key.seed, sizeof n->key.seed);
        random_bytes(n, n->key.device_sec, sizeof n->key.device_sec);
        keys_self(n->key.seed, n->key.self);
        random_bytes(n, n->key.presence_p, sizeof n->key.presence_p);
        random_bytes(n, n->key.presence_a, sizeof n->key.presence_a);
    }
    if (n->name != NULL || i < NW_NODES) {
        (void)snprintf(cfg.name, sizeof cfg.name, "%s",
                       n->name != NULL ? n->name : names[i]);
    } else {
        (void)snprintf(cfg.name, sizeof cfg.name, "user%d", i);
    }
    n->node = node_new(&cfg);
    assert(n->node != NULL);
    if (n->network != NULL) {
        memset(key, n->secret, sizeof key);
        node_set_network(n->node, n->network, key, cache);
    }
    int err = 0;
    if (n->dht_nodes.n > 0) {
        struct rec r = {.kind = REC_META, .u.meta.key = "dht_nodes"};
        r.u.meta.value = n->dht_nodes;
        err = node_load(n->node, &r);
    }
    if (err == 0 && n->meet_seq.n > 0) {
        struct rec r = {.kind = REC_META, .u.meta.key = "meet_seq"};
        r.u.meta.value = n->meet_seq;
        err = node_load(n->node, &r);
    }
    err = err != 0 ? err : node_start(n->node, w->now_ms);
    assert(err == 0);
    plug(w, i);
}

void nw_move(struct nw_world *w, int i, uint8_t vlan)
{
    w->n[i].vlan = vlan;
    plug(w, i);
    nw_drain(w, i);
    for (size_t c = 0; c < w->n_carriers; c++) {
        if (w->carriers[c].node[0] == i || w->carriers[c].node[1] == i) {
            push(w, NW_END, c, 0, NULL, NULL, 0);
            push(w, NW_END, c, 1, NULL, NULL, 0);
        }
    }
    while (nw_step(w)) {
    }
}

void nw_init_of(struct nw_world *w, int count)
{
    assert(count <= NW_NODES_MAX);
    memset(w, 0, sizeof *w);
    w->count = count;
    w->cap_carriers = NW_CARRIERS + 8 * (size_t)count * (size_t)count;
    w->carriers = calloc(w->cap_carriers, sizeof *w->carriers);
    assert(w->carriers != NULL);
    w->now_ms = 1000;
    w->rng = 7;
}

void nw_init(struct nw_world *w)
{
    nw_init_of(w, NW_NODES);
    for (int i = 0; i < w->count; i++) {
        nw_start(w, i);
    }
    for (int i = 0; i < w->count; i++) {
        nw_drain(w, i);
    }
}

void nw_release(struct nw_world *w)
{
    for (int i = 0; i < w->count; i++) {
        struct nw_node *n = &w->n[i];
        node_free(n->node);
        for (size_t k = 0; k < n->n_txns; k++) {
            txn_release(n->txns[k]);
            free(n->txns[k]);
        }
        for (size_t k = 0; k < n->n_entries; k++) {
            blob_release(&n->entries[k].header);
            blob_release(&n->entries[k].box);
        }
        blob_release(&n->dht_nodes);
        blob_release(&n->meet_seq);
        free(n->entries);
        free(n->txns);
        free(n->by_conn);
    }
    free(w->carriers);
    while (w->first != NULL) {
        struct nw_event *e = w->first;
        w->first = e->next;
        free(e);
    }
}

void nw_lose(struct nw_world *w, int i)
{
    struct nw_node *n = &w->n[i];
    for (size_t c = 0; c < w->n_carriers; c++) {
        for (int side = 0; side < 2; side++) {
            if (w->carriers[c].node[side] == i) {
                w->carriers[c].open[side] = false;
                push(w, NW_END, c, 1 - side, NULL, NULL, 0);
            }
        }
    }
    node_free(n->node);
    n->node = NULL;
    for (size_t k = 0; k < n->n_txns; k++) {
        txn_release(n->txns[k]);
        free(n->txns[k]);
    }
    n->n_txns = 0;
    for (size_t k = 0; k < n->n_entries; k++) {
        blob_release(&n->entries[k].header);
        blob_release(&n->entries[k].box);
    }
    n->n_entries = 0;
}

size_t nw_connect(struct nw_world *w, int to, const struct addr *from)
{
    size_t c = carrier_new(w, NW_STRANGER, to);
    w->carriers[c].open[0] = true;
    carrier_open(w, c, 1, node_accepted(w->n[to].node, from, w->now_ms));
    nw_drain(w, to);
    return w->carriers[c].open[1] ? c : SIZE_MAX;
}

void nw_give(struct nw_world *w, size_t carrier, const uint8_t *p, size_t len)
{
    push(w, NW_DATA, carrier, 1, NULL, p, len);
    while (nw_step(w)) {
    }
}

void nw_cut(struct nw_world *w)
{
    for (size_t i = 0; i < w->n_carriers; i++) {
        push(w, NW_END, i, 0, NULL, NULL, 0);
        push(w, NW_END, i, 1, NULL, NULL, 0);
    }
    while (nw_step(w)) {
    }
}

void nw_invite(struct nw_world *w, int i, char code[WIRE_CODE_MAX + 1], uint32_t *id)
{
    enum { TAG = NW_TAGS - 1 };
    int err = node_invite(w->n[i].node, TAG, INVITE_EXPIRES_S, NULL, 0, w->now_ms);
    assert(err == 0);
    w->n[i].results[TAG] = 0;
    nw_drain(w, i);
    assert(w->n[i].results[TAG] == 1 && w->n[i].result[TAG].err == 0);
    memcpy(code, w->n[i].result[TAG].code, WIRE_CODE_MAX + 1);
    *id = w->n[i].result[TAG].id;
}

void nw_pair(struct nw_world *w, int inviter, int adder, uint32_t *at_inviter,
             uint32_t *at_adder)
{
    enum { TAG = NW_TAGS - 2 };
    char code[WIRE_CODE_MAX + 1];
    uint32_t id;
    nw_invite(w, inviter, code, &id);
    w->n[adder].results[TAG] = 0;
    int err = node_add(w->n[adder].node, TAG, code, strlen(code), NULL, w->now_ms);
    assert(err == 0);
    nw_drain(w, adder);
    nw_run(w, 2000);
    assert(w->n[adder].results[TAG] == 1 && w->n[adder].result[TAG].err == 0);
    *at_adder = w->n[adder].result[TAG].contact;
    const struct rec_contact *c =
        contacts_by_root(node_contacts(w->n[inviter].node), node_root(w->n[adder].node));
    assert(c != NULL);
    *at_inviter = c->id;
}

void nw_say(struct nw_world *w, int i, uint64_t tag, uint32_t contact, const char *text)
{
    w->n[i].results[tag] = 0;
    int err = node_send_text(w->n[i].node, tag, contact, (const uint8_t *)text,
                             strlen(text), NULL, w->now_ms);
    assert(err == 0);
    nw_drain(w, i);
}
