#include "sim_world.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SIM_PORT = 7679,
    SIM_CUT_AFTER_MS = 20000,
    SIM_STALL_MS = 200,
    SIM_HOSTS = 250,
    SIM_STOP_MS = 50,
    SIM_CONNS_MAX = 1 << 20
};

enum sim_event_kind {
    EV_DATAGRAM = 1,
    EV_CONNECT,
    EV_DATA,
    EV_SENT,
    EV_END,    /* the stream's end reaches that side */
    EV_COMMIT, /* the disk is done */
    EV_LOADED,
    EV_START,
};

struct sim_conn {
    struct sim_conn *next, *prev;
    size_t events; /* in the queue that name it */
    int node[2];
    uint32_t id[2];
    uint64_t incarnation[2];
    bool open[2];
    uint64_t last_ms[2]; /* newest arrival at that side: streams keep their order */
};

struct sim_event {
    uint64_t at_ms, order;
    enum sim_event_kind kind;
    int node, side;
    uint64_t incarnation, stalled_ms;
    struct sim_conn *conn;
    struct addr from;
    uint8_t *data;
    size_t len;
    uint64_t request;
    uint32_t feed;
    uint64_t first, last;
    size_t max, max_bytes;
};

/* ---- chance ---- */

/* SplitMix64 (Steele, Lea, Flood 2014). */
uint64_t sim_random(struct sim_world *w)
{
    uint64_t z = (w->rng += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t sim_below(struct sim_world *w, uint64_t bound)
{
    return bound == 0 ? 0 : sim_random(w) % bound;
}

bool sim_chance(struct sim_world *w, unsigned per_mille)
{
    return sim_below(w, 1000) < per_mille;
}

static void node_random(void *ctx, void *buf, size_t len)
{
    struct sim_node *sn = ctx;
    uint8_t *p = buf;

    for (size_t i = 0; i < len; i += 8) {
        uint64_t v = sim_random(sn->world);

        memcpy(p + i, &v, len - i < 8 ? len - i : 8);
    }
}

static uint64_t node_wall(void *ctx)
{
    struct sim_node *sn = ctx;

    return (uint64_t)((int64_t)(sn->world->wall_us + sn->world->now_ms * 1000) +
                      sn->wall_offset_us);
}

/* ---- the queue of what will happen ---- */

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void push(struct sim_world *w, struct sim_event ev)
{
    size_t i = w->heap_len;

    if (w->heap_len == w->heap_cap) {
        w->heap_cap = w->heap_cap == 0 ? 256 : w->heap_cap * 2;
        w->heap = realloc(w->heap, w->heap_cap * sizeof(*w->heap));
        assert(w->heap != NULL);
    }
    ev.order = ++w->order;
    if (ev.conn != NULL) {
        ev.conn->events++;
    }
    w->heap[w->heap_len++] = ev;
    while (i > 0 && before(&w->heap[i], &w->heap[(i - 1) / 2])) {
        struct sim_event t = w->heap[i];

        w->heap[i] = w->heap[(i - 1) / 2];
        w->heap[(i - 1) / 2] = t;
        i = (i - 1) / 2;
    }
}

static struct sim_event pop(struct sim_world *w)
{
    struct sim_event top = w->heap[0];
    size_t i = 0;

    w->heap[0] = w->heap[--w->heap_len];
    for (;;) {
        size_t least = i, l = 2 * i + 1, r = l + 1;

        if (l < w->heap_len && before(&w->heap[l], &w->heap[least])) {
            least = l;
        }
        if (r < w->heap_len && before(&w->heap[r], &w->heap[least])) {
            least = r;
        }
        if (least == i) {
            return top;
        }
        struct sim_event t = w->heap[i];

        w->heap[i] = w->heap[least];
        w->heap[least] = t;
        i = least;
    }
}

static uint8_t *copy_of(const uint8_t *p, size_t len)
{
    uint8_t *c = malloc(len == 0 ? 1 : len);

    assert(c != NULL);
    memcpy(c, p, len);
    return c;
}

/* ---- addresses ---- */

static struct addr node_addr(int i)
{
    struct addr a = {
        .family = 4,
        .port = SIM_PORT,
        .ip = {10, 0, (uint8_t)(i / SIM_HOSTS), (uint8_t)(i % SIM_HOSTS + 1)}};

    return a;
}

static int addr_node(const struct sim_world *w, const struct addr *a)
{
    int i = a->ip[2] * SIM_HOSTS + a->ip[3] - 1;

    return a->family == 4 && a->ip[0] == 10 && i >= 0 && i < w->n ? i : -1;
}

/* ---- streams ---- */

struct conn_key {
    uint64_t incarnation;
    uint32_t node, id;
};

static void key_of(const struct sim_conn *c, int side, struct conn_key *key)
{
    memset(key, 0, sizeof(*key));
    key->incarnation = c->incarnation[side];
    key->node = (uint32_t)c->node[side];
    key->id = c->id[side];
}

static struct sim_conn *conn_find(struct sim_world *w, int node, uint32_t id, int *side)
{
    struct conn_key key = {w->nodes[node].incarnation, (uint32_t)node, id};
    struct sim_conn *c = map_get(&w->conn_by_id, &key);

    if (c == NULL) {
        return NULL;
    }
    *side = c->node[0] == node && c->id[0] == id ? 0 : 1;
    return c->open[*side] ? c : NULL;
}

static void side_open(struct sim_world *w, struct sim_conn *c, int side)
{
    struct conn_key key;

    key_of(c, side, &key);
    c->open[side] = true;
    (void)map_put(&w->conn_by_id, &key, c); /* or nothing comes over it */
}

static void side_close(struct sim_world *w, struct sim_conn *c, int side)
{
    struct conn_key key;

    key_of(c, side, &key);
    if (c->open[side]) {
        (void)map_del(&w->conn_by_id, &key);
    }
    c->open[side] = false;
}

/* Neither side knows it any more and no event names it. */
static void conn_sweep(struct sim_world *w, struct sim_conn *c)
{
    if (c->open[0] || c->open[1] || c->events > 0) {
        return;
    }
    *(c->prev != NULL ? &c->prev->next : &w->conns) = c->next;
    if (c->next != NULL) {
        c->next->prev = c->prev;
    }
    free(c);
}

static bool side_alive(const struct sim_world *w, const struct sim_conn *c, int side)
{
    const struct sim_node *sn = &w->nodes[c->node[side]];

    return c->open[side] && sn->node != NULL && sn->incarnation == c->incarnation[side];
}

static void stream_event(struct sim_world *w, struct sim_conn *c, int side,
                         struct sim_event ev)
{
    uint64_t at = w->now_ms + 1 + sim_below(w, w->faults.delay_max_ms + 1);

    if (at < c->last_ms[side]) {
        at = c->last_ms[side];
    }
    c->last_ms[side] = at;
    ev.at_ms = at;
    ev.conn = c;
    ev.side = side;
    push(w, ev);
}

static void end_at(struct sim_world *w, struct sim_conn *c, int side)
{
    stream_event(w, c, side, (struct sim_event){.kind = EV_END});
}

static void on_connect(struct sim_world *w, struct sim_event *ev)
{
    struct sim_conn *c = ev->conn;
    int a = c->node[0], b = c->node[1];
    struct addr from = node_addr(a);

    if (!side_alive(w, c, 0)) {
        return;
    }
    from.port = (uint16_t)(20000 + sim_below(w, 20000));
    if (b < 0 || w->nodes[b].node == NULL || w->cut[a][b] || w->nodes[b].frozen) {
        end_at(w, c, 0);
        return;
    }
    w->nodes[a].sent += SIM_TCP_SETUP;
    w->nodes[a].received += SIM_TCP_SETUP;
    w->nodes[b].sent += SIM_TCP_SETUP;
    w->nodes[b].received += SIM_TCP_SETUP;
    c->id[1] = node_accepted(w->nodes[b].node, &from, w->now_ms);
    c->incarnation[1] = w->nodes[b].incarnation;
    if (c->id[1] == 0) {
        end_at(w, c, 0);
    } else {
        side_open(w, c, 1);
        node_connected(w->nodes[a].node, c->id[0], w->now_ms);
        sim_drain(w, a);
    }
    sim_drain(w, b);
}

/* True when the bytes cannot pass now and the event was put off. */
static bool stalled(struct sim_world *w, struct sim_event *ev)
{
    struct sim_conn *c = ev->conn;

    if (!w->cut[c->node[0]][c->node[1]] && !w->nodes[c->node[0]].frozen &&
        !w->nodes[c->node[1]].frozen) {
        return false;
    }
    ev->stalled_ms += SIM_STALL_MS;
    if (ev->stalled_ms > SIM_CUT_AFTER_MS) {
        end_at(w, c, 0);
        end_at(w, c, 1);
        free(ev->data);
        return true;
    }
    ev->at_ms = w->now_ms + SIM_STALL_MS;
    for (int s = 0; s < 2; s++) {
        if (c->last_ms[s] < ev->at_ms) {
            c->last_ms[s] = ev->at_ms;
        }
    }
    push(w, *ev);
    return true;
}

static void on_data(struct sim_world *w, struct sim_event *ev)
{
    struct sim_conn *c = ev->conn;
    int i = c->node[ev->side];
    size_t at = 0;

    if (!side_alive(w, c, ev->side)) {
        free(ev->data);
        return;
    }
    if (stalled(w, ev)) {
        return;
    }
    while (at < ev->len && side_alive(w, c, ev->side)) {
        size_t n = 1 + sim_below(w, ev->len - at);

        node_recv(w->nodes[i].node, c->id[ev->side], ev->data + at, n, w->now_ms);
        at += n;
        sim_drain(w, i);
    }
    free(ev->data);
}

static void on_end(struct sim_world *w, struct sim_event *ev)
{
    struct sim_conn *c = ev->conn;
    int i = c->node[ev->side];

    bool alive = side_alive(w, c, ev->side);

    if (alive && w->nodes[i].frozen) { /* it hears of it when it is awake */
        ev->at_ms = w->now_ms + SIM_STALL_MS;
        push(w, *ev);
        return;
    }
    side_close(w, c, ev->side);
    if (!alive) {
        return;
    }
    node_closed(w->nodes[i].node, c->id[ev->side], w->now_ms);
    sim_drain(w, i);
}

/* ---- datagrams ---- */

static void datagram(struct sim_world *w, int from, int to, const struct node_out *out)
{
    unsigned copies = 1;

    if (w->nodes[to].node == NULL || w->nodes[to].frozen) {
        return;
    }
    if (sim_chance(w, w->faults.loss_pct * 10)) {
        copies = 0;
    } else if (sim_chance(w, w->faults.dup_pct * 10)) {
        copies = 2;
    }
    for (unsigned i = 0; i < copies; i++) {
        push(w, (struct sim_event){.kind = EV_DATAGRAM,
                                   .at_ms = w->now_ms +
                                            sim_below(w, w->faults.delay_max_ms + 1),
                                   .node = to,
                                   .from = node_addr(from),
                                   .data = copy_of(out->data, out->len),
                                   .len = out->len});
    }
}

static void send_datagram(struct sim_world *w, int from, const struct node_out *out)
{
    int to = addr_node(w, &out->dst);

    w->nodes[from].sent += out->len + SIM_UDP_HEADERS;
    if (!addr_is_multicast(&out->dst)) {
        if (to >= 0) {
            datagram(w, from, to, out);
        }
        return;
    }
    for (int i = 0; i < w->n; i++) {
        datagram(w, from, i, out); /* the sender hears itself */
    }
}

static void on_datagram(struct sim_world *w, struct sim_event *ev)
{
    struct sim_node *sn = &w->nodes[ev->node];

    if (sn->node != NULL && !sn->frozen && !w->cut[addr_node(w, &ev->from)][ev->node]) {
        sn->received += ev->len + SIM_UDP_HEADERS;
        sn->packets_in++;
        node_udp_recv(sn->node, &ev->from, ev->data, ev->len, w->now_ms);
        sim_drain(w, ev->node);
    }
    free(ev->data);
}

/* ---- the disk ---- */

static void queue_commit(struct sim_world *w, struct sim_node *sn, struct txn *t)
{
    if (sn->queue_len == sn->queue_cap) {
        sn->queue_cap = sn->queue_cap == 0 ? 16 : sn->queue_cap * 2;
        sn->queue = realloc(sn->queue, sn->queue_cap * sizeof(*sn->queue));
        assert(sn->queue != NULL);
    }
    sn->queue[sn->queue_len++] = t;
    if (!sn->commit_scheduled) {
        sn->commit_scheduled = true;
        push(w, (struct sim_event){.kind = EV_COMMIT,
                                   .at_ms = w->now_ms + sim_below(w, 4),
                                   .node = sn->index,
                                   .incarnation = sn->incarnation});
    }
}

static void queue_drop(struct sim_node *sn)
{
    for (size_t i = 0; i < sn->queue_len; i++) {
        txn_release(sn->queue[i]);
        free(sn->queue[i]);
    }
    sn->queue_len = 0;
    sn->commit_scheduled = false;
}

static void apply(struct sim_world *w, struct sim_node *sn, struct store_events *events)
{
    int err = store_commit(sn->store, (const struct txn *const *)sn->queue, sn->queue_len,
                           events);

    assert(err == 0);
    for (size_t i = 0; i < sn->queue_len; i++) {
        w->hooks.committed(w->hooks.ctx, sn->index, sn->queue[i]);
    }
    for (size_t i = 0; i < events->n; i++) {
        w->hooks.event(w->hooks.ctx, sn->index, &events->v[i]);
    }
}

/* True when the node is frozen, and the event was put off. */
static bool later(struct sim_world *w, const struct sim_node *sn, struct sim_event *ev)
{
    if (sn->frozen) {
        ev->at_ms = w->now_ms + SIM_STALL_MS;
        push(w, *ev);
    }
    return sn->frozen;
}

static void on_commit(struct sim_world *w, struct sim_event *ev)
{
    struct sim_node *sn = &w->nodes[ev->node];
    struct store_events events = {0};
    uint64_t no;

    if (sn->node == NULL || sn->incarnation != ev->incarnation || sn->queue_len == 0 ||
        later(w, sn, ev)) {
        return;
    }
    if (sim_chance(w, w->faults.crash_per_mille)) {
        if (w->faults.torn && sim_chance(w, 500)) {
            apply(w, sn, &events); /* it took effect, and nobody was told */
            store_events_release(&events);
        }
        sim_crash(w, ev->node, sim_below(w, 30000));
        return;
    }
    apply(w, sn, &events);
    no = sn->queue[sn->queue_len - 1]->no;
    store_events_release(&events);
    queue_drop(sn);
    node_committed(sn->node, no, w->now_ms);
    sim_drain(w, ev->node);
}

static void on_loaded(struct sim_world *w, struct sim_event *ev)
{
    struct sim_node *sn = &w->nodes[ev->node];
    struct store_entries e = {0};

    if (sn->node == NULL || sn->incarnation != ev->incarnation || later(w, sn, ev)) {
        return;
    }
    if (sn->queue_len > 0) { /* queries see what was committed before them */
        ev->at_ms = w->now_ms + 1;
        push(w, *ev);
        return;
    }
    if (store_entries(sn->store, ev->feed, ev->first, ev->last, ev->max, ev->max_bytes,
                      &e) != 0) {
        e.n = 0;
    }
    node_loaded(sn->node, ev->request, e.v, e.n, w->now_ms);
    store_entries_release(&e);
    sim_drain(w, ev->node);
}

/* ---- nodes ---- */

static int load_one(void *ctx, const struct rec *r)
{
    return node_load(ctx, r);
}

void sim_start(struct sim_world *w, int i)
{
    struct sim_node *sn = &w->nodes[i];
    struct node_config cfg = {
        .env = &sn->env, .key = &sn->key, .link_port = SIM_PORT, .udp_port = SIM_PORT};
    struct lan_interface ifc = {
        .ifindex = 1, .addr = node_addr(i), .bits = 16, .up = true};
    int err;

    assert(sn->node == NULL);
    memcpy(cfg.name, sn->name, strlen(sn->name) + 1);
    sn->incarnation++;
    sn->node = node_new(&cfg);
    assert(sn->node != NULL);
    err = store_load(sn->store, load_one, sn->node);
    assert(err == 0);
    err = node_start(sn->node, w->now_ms);
    assert(err == 0);
    sim_drain(w, i);
    node_interfaces(sn->node, &ifc, 1, w->now_ms);
    sim_drain(w, i);
}

static void node_down(struct sim_world *w, int i)
{
    struct sim_node *sn = &w->nodes[i];

    node_free(sn->node);
    sn->node = NULL;
    sn->frozen = false;
    sn->deadline_ms = UINT64_MAX;
    queue_drop(sn);
    for (struct sim_conn *c = w->conns, *next; c != NULL; c = next) {
        next = c->next;
        for (int s = 0; s < 2; s++) {
            if (c->node[s] == i && c->open[s]) {
                side_close(w, c, s);
                if (c->open[1 - s]) {
                    end_at(w, c, 1 - s);
                }
            }
        }
        conn_sweep(w, c);
    }
}

void sim_crash(struct sim_world *w, int i, uint64_t down_ms)
{
    if (w->nodes[i].node == NULL) {
        return;
    }
    if (w->trace) {
        printf("%8lu %s crashes\n", (unsigned long)w->now_ms, w->nodes[i].name);
    }
    node_down(w, i);
    push(w, (struct sim_event){
                .kind = EV_START, .at_ms = w->now_ms + 1 + down_ms, .node = i});
}

void sim_stop(struct sim_world *w, int i)
{
    struct sim_node *sn = &w->nodes[i];
    struct store_events events = {0};

    if (sn->node == NULL) {
        return;
    }
    node_shutdown(sn->node, w->now_ms);
    sim_drain(w, i);
    sim_run(w, w->now_ms + SIM_STOP_MS);
    if (sn->queue_len > 0) {
        apply(w, sn, &events);
        store_events_release(&events);
    }
    node_down(w, i);
}

void sim_freeze(struct sim_world *w, int i, bool frozen)
{
    w->nodes[i].frozen = frozen;
    w->nodes[i].deadline_ms =
        frozen || w->nodes[i].node == NULL ? UINT64_MAX : node_deadline(w->nodes[i].node);
}

void sim_snapshot(struct sim_world *w, int i)
{
    struct sim_node *sn = &w->nodes[i];
    struct blob *b =
        &sn->snapshots[sn->n_snapshots < SIM_SNAPSHOTS ? sn->n_snapshots
                                                       : sim_below(w, SIM_SNAPSHOTS)];

    blob_release(b);
    assert(store_snapshot(sn->store, b) == 0);
    if (sn->n_snapshots < SIM_SNAPSHOTS) {
        sn->n_snapshots++;
    }
}

bool sim_roll_back(struct sim_world *w, int i, uint64_t down_ms)
{
    struct sim_node *sn = &w->nodes[i];
    struct store *old;

    if (sn->n_snapshots == 0 || sn->node == NULL) {
        return false;
    }
    sim_crash(w, i, down_ms);
    if (store_from_snapshot(&sn->snapshots[sim_below(w, sn->n_snapshots)], &old) != 0) {
        assert(false);
    }
    store_close(sn->store);
    sn->store = old;
    w->hooks.rolled_back(w->hooks.ctx, i);
    return true;
}

void sim_set_cut(struct sim_world *w, int a, int b, bool cut)
{
    w->cut[a][b] = w->cut[b][a] = cut;
}

/* What the bytes cost both sides, with the acknowledgements. */
static void count_stream(struct sim_world *w, const struct sim_conn *c, int side,
                         size_t len)
{
    size_t packets = (len + SIM_TCP_PAYLOAD - 1) / SIM_TCP_PAYLOAD;
    struct sim_node *from = &w->nodes[c->node[side]], *to = &w->nodes[c->node[1 - side]];

    from->sent += len + packets * SIM_TCP_HEADERS;
    from->received += packets * SIM_TCP_HEADERS;
    to->received += len + packets * SIM_TCP_HEADERS;
    to->sent += packets * SIM_TCP_HEADERS;
    to->packets_in++;
}

static void do_out(struct sim_world *w, int i, const struct node_out *out)
{
    struct sim_conn *c;
    int side;

    switch (out->kind) {
    case NODE_OUT_UDP:
        send_datagram(w, i, out);
        break;
    case NODE_OUT_DIAL:
        c = calloc(1, sizeof(*c));
        assert(c != NULL);
        c->node[0] = i;
        c->id[0] = out->conn;
        c->incarnation[0] = w->nodes[i].incarnation;
        c->node[1] = addr_node(w, &out->dst);
        side_open(w, c, 0);
        c->next = w->conns;
        if (c->next != NULL) {
            c->next->prev = c;
        }
        w->conns = c;
        w->nodes[i].dials++;
        stream_event(w, c, 0, (struct sim_event){.kind = EV_CONNECT});
        break;
    case NODE_OUT_SEND:
        if ((c = conn_find(w, i, out->conn, &side)) != NULL) {
            count_stream(w, c, side, out->len);
            stream_event(w, c, 1 - side,
                         (struct sim_event){.kind = EV_DATA,
                                            .data = copy_of(out->data, out->len),
                                            .len = out->len});
            push(w, (struct sim_event){.kind = EV_SENT,
                                       .at_ms = w->now_ms + 1,
                                       .conn = c,
                                       .side = side,
                                       .len = out->len});
        }
        break;
    case NODE_OUT_CLOSE:
        if ((c = conn_find(w, i, out->conn, &side)) != NULL) {
            end_at(w, c, side);
            if (c->open[1 - side]) {
                end_at(w, c, 1 - side);
            }
        }
        break;
    }
}

void sim_drain(struct sim_world *w, int i)
{
    struct sim_node *sn = &w->nodes[i];
    struct node_out out;
    struct node_event ev;
    bool any = true;

    while (any && sn->node != NULL) {
        any = false;
        while (node_next_out(sn->node, &out, w->now_ms)) {
            do_out(w, i, &out);
            any = true;
        }
        while (node_next_event(sn->node, &ev)) {
            any = true;
            switch (ev.kind) {
            case NODE_EV_COMMIT:
                queue_commit(w, sn, ev.txn);
                break;
            case NODE_EV_LOAD:
                push(w, (struct sim_event){.kind = EV_LOADED,
                                           .at_ms = w->now_ms + sim_below(w, 3),
                                           .node = i,
                                           .incarnation = sn->incarnation,
                                           .request = ev.request,
                                           .feed = ev.feed,
                                           .first = ev.from,
                                           .last = ev.to,
                                           .max = ev.max,
                                           .max_bytes = ev.max_bytes});
                break;
            case NODE_EV_RESULT:
                w->hooks.result(w->hooks.ctx, i, &ev);
                break;
            case NODE_EV_PRESENCE:
                if (w->hooks.presence != NULL) {
                    w->hooks.presence(w->hooks.ctx, i, &ev);
                }
                break;
            case NODE_EV_NEARBY:
            case NODE_EV_VISIBLE:
            case NODE_EV_VERIFY:
            case NODE_EV_JOB:
            case NODE_EV_TRANSFER:
            case NODE_EV_DHT: /* not in it */
            case NODE_EV_BROKEN:
                assert(ev.kind != NODE_EV_DHT && ev.kind != NODE_EV_BROKEN);
                break;
            }
        }
    }
    sn->deadline_ms =
        sn->node == NULL || sn->frozen ? UINT64_MAX : node_deadline(sn->node);
}

static void happen(struct sim_world *w, struct sim_event *ev)
{
    int i;

    switch (ev->kind) {
    case EV_DATAGRAM:
        on_datagram(w, ev);
        break;
    case EV_CONNECT:
        on_connect(w, ev);
        break;
    case EV_DATA:
        on_data(w, ev);
        break;
    case EV_SENT:
        i = ev->conn->node[ev->side];
        if (later(w, &w->nodes[i], ev)) {
            break;
        }
        if (side_alive(w, ev->conn, ev->side)) {
            node_sent(w->nodes[i].node, ev->conn->id[ev->side], ev->len, w->now_ms);
            sim_drain(w, i);
        }
        break;
    case EV_END:
        on_end(w, ev);
        break;
    case EV_COMMIT:
        on_commit(w, ev);
        break;
    case EV_LOADED:
        on_loaded(w, ev);
        break;
    case EV_START:
        if (w->nodes[ev->node].node == NULL) {
            sim_start(w, ev->node);
        }
        break;
    }
}

void sim_run(struct sim_world *w, uint64_t until_ms)
{
    while (w->now_ms < until_ms) {
        uint64_t next = w->heap_len > 0 ? w->heap[0].at_ms : UINT64_MAX;
        int due = -1;

        for (int i = 0; i < w->n; i++) {
            if (w->nodes[i].deadline_ms < next) {
                next = w->nodes[i].deadline_ms;
                due = i;
            }
        }
        if (next > until_ms) {
            break;
        }
        if (next > w->now_ms) {
            w->now_ms = next;
        }
        if (due >= 0) {
            node_tick(w->nodes[due].node, w->now_ms);
            sim_drain(w, due);
        } else {
            struct sim_event ev = pop(w);

            happen(w, &ev);
            if (ev.conn != NULL) {
                ev.conn->events--;
                conn_sweep(w, ev.conn);
            }
        }
    }
    w->now_ms = until_ms;
}

/* A map's seed is no part of what happens. */
static void map_random(void *ctx, void *buf, size_t len)
{
    (void)ctx;
    memset(buf, 1, len);
}

void sim_init(struct sim_world *w, uint64_t seed, int n)
{
    memset(w, 0, sizeof(*w));
    w->rng = seed;
    w->n = n;
    w->wall_us = 1750000000000000u;
    assert(n <= SIM_NODES_MAX);
    w->nodes = calloc((size_t)n, sizeof(*w->nodes));
    w->cut = calloc(SIM_NODES_MAX, sizeof(*w->cut));
    assert(w->nodes != NULL && w->cut != NULL);
    w->map_env = (struct env){.ctx = NULL, .random = map_random, .wall_us = NULL};
    map_init(&w->conn_by_id, &w->map_env, sizeof(struct conn_key), SIM_CONNS_MAX);
    for (int i = 0; i < n; i++) {
        struct sim_node *sn = &w->nodes[i];

        sn->world = w;
        sn->index = i;
        sn->deadline_ms = UINT64_MAX;
        sn->env = (struct env){.ctx = sn, .random = node_random, .wall_us = node_wall};
        (void)snprintf(sn->name, sizeof(sn->name), "n%d", i);
        node_random(sn, &sn->key, sizeof(sn->key));
        keys_self(sn->key.seed, sn->key.self);
        assert(store_open(":memory:", &sn->store, NULL, 0) == 0);
    }
}

void sim_release(struct sim_world *w)
{
    for (int i = 0; i < w->n; i++) {
        struct sim_node *sn = &w->nodes[i];

        node_free(sn->node);
        queue_drop(sn);
        free(sn->queue);
        store_close(sn->store);
        for (unsigned k = 0; k < SIM_SNAPSHOTS; k++) {
            blob_release(&sn->snapshots[k]);
        }
    }
    for (size_t i = 0; i < w->heap_len; i++) {
        free(w->heap[i].data);
    }
    free(w->heap);
    while (w->conns != NULL) {
        struct sim_conn *c = w->conns;

        w->conns = c->next;
        free(c);
    }
    map_release(&w->conn_by_id);
    free(w->nodes);
    free(w->cut);
}
