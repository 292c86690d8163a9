#include "leaf_world.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { PORT = 7679, OUTER_PORT = 40000 };

static const uint64_t wall_us = UINT64_C(1800000000000000);

enum event_kind { EV_CONNECT, EV_DATA, EV_END };

struct lw_stream {
    struct lw_person *of[2]; /* who dialled, and who was */
    uint32_t id[2];
    bool open[2], used;
};

struct lw_event {
    struct lw_event *next;
    enum event_kind kind;
    struct lw_stream *stream;
    int side;
    uint64_t at_ms;
    size_t len;
    uint8_t bytes[];
};

static void drain(struct lw_person *p);

/* ---- the environment of a person ---- */

/* SplitMix64. */
static uint64_t draw(struct lw_person *p)
{
    uint64_t z = (p->random += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static void env_bytes(void *ctx, void *buf, size_t len)
{
    uint8_t *out = buf;
    for (size_t i = 0; i < len; i++) {
        out[i] = (uint8_t)draw(ctx);
    }
}

static uint64_t env_wall(void *ctx)
{
    const struct lw_person *p = ctx;
    return wall_us + p->w->now_ms * 1000;
}

/* ---- streams ---- */

static void push(struct lw *w, enum event_kind kind, struct lw_stream *s, int side,
                 const uint8_t *p, size_t len)
{
    struct lw_event *e = calloc(1, sizeof *e + len);
    assert(e != NULL);
    e->kind = kind;
    e->stream = s;
    e->side = side;
    e->at_ms = w->now_ms + LW_STREAM_MS;
    e->len = len;
    if (len > 0) {
        memcpy(e->bytes, p, len);
    }
    *(w->last != NULL ? &w->last->next : &w->first) = e;
    w->last = e;
}

static struct lw_person *at_addr(struct lw *w, const struct addr *a)
{
    for (size_t i = 0; i < w->n; i++) {
        struct lw_person *p = &w->v[i];
        struct addr own;
        dw_guest_addr(p->guest, &own);
        if (p->node != NULL && !p->nat && addr_eq(a, &own)) {
            return p;
        }
    }
    return NULL;
}

static struct lw_stream *stream_of(struct lw_person *p, uint32_t id, int *side)
{
    for (size_t i = 0; i < LW_STREAMS_MAX; i++) {
        struct lw_stream *s = &p->w->streams[i];
        for (int k = 0; k < 2; k++) {
            if (s->open[k] && s->of[k] == p && s->id[k] == id) {
                *side = k;
                return s;
            }
        }
    }
    return NULL;
}

/* Its place may be taken again once no event names it. */
static void sweep(struct lw *w, struct lw_stream *s)
{
    for (const struct lw_event *e = w->first; e != NULL; e = e->next) {
        if (e->stream == s) {
            return;
        }
    }
    s->used = s->open[0] || s->open[1];
}

static void dial(struct lw_person *p, const struct node_out *out)
{
    struct lw_stream *s = p->w->streams;
    while (s->used) {
        s++;
        assert(s < p->w->streams + LW_STREAMS_MAX);
    }
    *s = (struct lw_stream){.of = {p, at_addr(p->w, &out->dst)},
                            .id = {out->conn, 0},
                            .open = {true, false},
                            .used = true};
    if (s->of[1] != NULL) {
        push(p->w, EV_CONNECT, s, 1, NULL, 0);
    }
}

static void connect_now(struct lw *w, struct lw_stream *s)
{
    struct addr from;
    if (!s->open[0] || s->of[1]->node == NULL) {
        return;
    }
    dw_guest_addr(s->of[0]->guest, &from);
    from.port = OUTER_PORT;
    s->id[1] = node_accepted(s->of[1]->node, &from, w->now_ms);
    s->open[1] = s->id[1] != 0;
    drain(s->of[1]);
    if (s->open[1]) {
        node_connected(s->of[0]->node, s->id[0], w->now_ms);
        drain(s->of[0]);
    }
}

static void end_now(struct lw *w, struct lw_stream *s, int side)
{
    if (s->open[side]) {
        s->open[side] = false;
        node_closed(s->of[side]->node, s->id[side], w->now_ms);
        drain(s->of[side]);
    }
}

static void data_now(struct lw *w, struct lw_stream *s, const struct lw_event *e)
{
    struct lw_person *from = s->of[1 - e->side];
    if (s->open[1 - e->side]) {
        node_sent(from->node, s->id[1 - e->side], e->len, w->now_ms);
        drain(from);
    }
    if (s->open[e->side]) {
        node_recv(s->of[e->side]->node, s->id[e->side], e->bytes, e->len, w->now_ms);
        drain(s->of[e->side]);
    }
}

static void happen(struct lw *w)
{
    struct lw_event *e = w->first;
    struct lw_stream *s = e->stream;
    w->first = e->next;
    w->last = w->first == NULL ? NULL : w->last;
    switch (e->kind) {
    case EV_CONNECT:
        connect_now(w, s);
        break;
    case EV_DATA:
        data_now(w, s, e);
        break;
    case EV_END:
        end_now(w, s, e->side);
        break;
    }
    free(e);
    sweep(w, s);
}

static void stream_out(struct lw_person *p, const struct node_out *out)
{
    int side;
    struct lw_stream *s = stream_of(p, out->conn, &side);
    if (s == NULL) {
        return;
    }
    if (out->kind == NODE_OUT_SEND) {
        push(p->w, EV_DATA, s, 1 - side, out->data, out->len);
    } else {
        push(p->w, EV_END, s, side, NULL, 0);
        push(p->w, EV_END, s, 1 - side, NULL, 0);
    }
}

/* ---- datagrams ---- */

static struct lw_nat *hole(const struct lw_person *p, const struct addr *a)
{
    uint32_t h = 0;
    memcpy(&h, a->ip, sizeof h);
    h = (h ^ a->port) * 0x9e3779b1u;
    return &p->holes[(h >> 16) % LW_NAT_SLOTS];
}

static bool passes(const struct lw_person *p, const struct addr *from, uint64_t now_ms)
{
    const struct lw_nat *h = hole(p, from);
    return !p->nat ||
           (h->sent_ms != 0 && addr_eq(&h->a, from) && now_ms - h->sent_ms <= LW_NAT_MS);
}

static void datagram_out(struct lw_person *p, const struct node_out *out)
{
    if (addr_is_multicast(&out->dst)) {
        return;
    }
    *hole(p, &out->dst) = (struct lw_nat){out->dst, p->w->now_ms};
    if (p->meter != NULL) {
        p->meter(p->meter_ctx, true, &out->dst, out->data, out->len, p->w->now_ms);
    }
    dw_guest_send(p->w->dw, p->guest, p->w->now_ms, &out->dst, out->data, out->len);
}

static void letter_in(struct lw *w, const struct dw_letter *l)
{
    for (size_t i = 0; i < w->n; i++) {
        struct lw_person *p = &w->v[i];
        if (p->node == NULL || p->guest != l->guest || !passes(p, &l->from, w->now_ms)) {
            continue;
        }
        if (p->meter != NULL) {
            p->meter(p->meter_ctx, false, &l->from, l->bytes, l->len, w->now_ms);
        }
        node_udp_recv(p->node, &l->from, l->bytes, l->len, w->now_ms);
        drain(p);
    }
}

/* ---- what a node gives ---- */

static void commit(struct lw_person *p, struct txn *t)
{
    struct store_events events = {0};
    const struct txn *one = t;
    int err = store_commit(p->store, &one, 1, &events);
    assert(err == 0);
    uint64_t no = t->no;
    store_events_release(&events);
    txn_release(t);
    free(t);
    node_committed(p->node, no, p->w->now_ms);
}

static void load(struct lw_person *p, const struct node_event *ev)
{
    struct store_entries e = {0};
    if (store_entries(p->store, ev->feed, ev->from, ev->to, ev->max, ev->max_bytes, &e) !=
        0) {
        e.n = 0;
    }
    node_loaded(p->node, ev->request, e.v, e.n, p->w->now_ms);
    store_entries_release(&e);
}

static void event(struct lw_person *p, const struct node_event *ev)
{
    switch (ev->kind) {
    case NODE_EV_COMMIT:
        commit(p, ev->txn);
        break;
    case NODE_EV_LOAD:
        load(p, ev);
        break;
    case NODE_EV_RESULT:
    case NODE_EV_NEARBY:
    case NODE_EV_VISIBLE:
    case NODE_EV_VERIFY:
    case NODE_EV_PRESENCE:
    case NODE_EV_JOB:
    case NODE_EV_TRANSFER:
        break;
    case NODE_EV_DHT:
    case NODE_EV_BROKEN:
        assert(false);
        break;
    }
}

static void drain(struct lw_person *p)
{
    struct node_out out;
    struct node_event ev;
    for (bool any = true; any;) {
        any = false;
        while (node_next_out(p->node, &out, p->w->now_ms)) {
            any = true;
            switch (out.kind) {
            case NODE_OUT_UDP:
                datagram_out(p, &out);
                break;
            case NODE_OUT_DIAL:
                dial(p, &out);
                break;
            case NODE_OUT_SEND:
            case NODE_OUT_CLOSE:
                stream_out(p, &out);
                break;
            }
        }
        while (node_next_event(p->node, &ev)) {
            any = true;
            event(p, &ev);
        }
    }
    p->deadline_ms = node_deadline(p->node);
}

/* ---- life ---- */

void lw_init(struct lw *w, struct dw *dw)
{
    *w = (struct lw){.dw = dw, .now_ms = dw_now(dw)};
    w->streams = calloc(LW_STREAMS_MAX, sizeof *w->streams);
    assert(w->streams != NULL);
}

void lw_release(struct lw *w)
{
    for (size_t i = 0; i < w->n; i++) {
        node_free(w->v[i].node);
        store_close(w->v[i].store);
        free(w->v[i].holes);
    }
    while (w->first != NULL) {
        struct lw_event *e = w->first;
        w->first = e->next;
        free(e);
    }
    free(w->streams);
}

struct lw_person *lw_person(struct lw *w, bool nat)
{
    assert(w->n < LW_PEOPLE_MAX);
    struct lw_person *p = &w->v[w->n++];
    *p = (struct lw_person){.w = w,
                            .nat = nat,
                            .random = dw_random(w->dw),
                            .deadline_ms = UINT64_MAX,
                            .env = {.ctx = p, .random = env_bytes, .wall_us = env_wall}};
    p->holes = calloc(LW_NAT_SLOTS, sizeof *p->holes);
    int err = store_open(":memory:", &p->store, NULL, 0);
    assert(err == 0 && p->holes != NULL);
    seed_person(&p->who, &p->env, NULL, "somebody");
    return p;
}

static int load_one(void *ctx, const struct rec *r)
{
    return node_load(ctx, r);
}

static void interfaces(struct lw_person *p)
{
    struct lan_interface eth = {.ifindex = 1, .bits = 24, .up = true};
    eth.addr = (struct addr){.family = 4, .port = PORT, .ip = {192, 168, 1, 2}};
    if (!p->nat) {
        dw_guest_addr(p->guest, &eth.addr);
    }
    node_interfaces(p->node, &eth, 1, p->w->now_ms);
}

void lw_on(struct lw_person *p, uint32_t guest)
{
    struct node_config cfg = {.env = &p->env,
                              .key = &p->who.key,
                              .link_port = PORT,
                              .udp_port = PORT,
                              .dht = {.on = true, .family = {true, false}}};
    assert(p->node == NULL && guest < DW_GUESTS_MAX);
    p->guest = guest;
    memset(p->holes, 0, LW_NAT_SLOTS * sizeof *p->holes);
    p->node = node_new(&cfg);
    assert(p->node != NULL);
    int err = store_load(p->store, load_one, p->node);
    assert(err == 0);
    err = node_start(p->node, p->w->now_ms);
    assert(err == 0);
    drain(p);
    interfaces(p);
    for (uint32_t i = 0; i < LW_ROUTERS; i++) {
        uint32_t host;
        if (dw_pick(p->w->dw, 1, true, &host)) {
            (void)node_dht_router(p->node, &dw_host(p->w->dw, host)->addr, p->w->now_ms);
        }
    }
    drain(p);
}

void lw_off(struct lw_person *p)
{
    for (size_t i = 0; i < LW_STREAMS_MAX; i++) {
        struct lw_stream *s = &p->w->streams[i];
        for (int side = 0; side < 2; side++) {
            if (s->open[side] && s->of[side] == p) {
                s->open[side] = false;
                push(p->w, EV_END, s, 1 - side, NULL, 0);
            }
        }
    }
    node_free(p->node);
    p->node = NULL;
    p->deadline_ms = UINT64_MAX;
}

/* ---- time ---- */

static struct lw_person *first_due(struct lw *w)
{
    struct lw_person *first = &w->v[0];
    for (size_t i = 1; i < w->n; i++) {
        first = w->v[i].deadline_ms < first->deadline_ms ? &w->v[i] : first;
    }
    return w->n > 0 ? first : NULL;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* What is due before until_ms, in the order of time. */
static void catch_up(struct lw *w, uint64_t until_ms)
{
    for (;;) {
        struct lw_person *p = first_due(w);
        uint64_t due = p != NULL ? p->deadline_ms : UINT64_MAX;
        uint64_t next = w->first != NULL ? w->first->at_ms : UINT64_MAX;
        if (due >= until_ms && next >= until_ms) {
            return;
        }
        w->now_ms = later(w->now_ms, due < next ? due : next);
        if (due < next) {
            node_tick(p->node, w->now_ms);
            drain(p);
        } else {
            happen(w);
        }
    }
}

void lw_step(struct lw *w)
{
    struct dw_letter l;
    dw_step(w->dw);
    while (dw_guest_next(w->dw, &l)) {
        catch_up(w, l.at_ms);
        w->now_ms = later(w->now_ms, l.at_ms);
        letter_in(w, &l);
    }
    catch_up(w, dw_now(w->dw));
    w->now_ms = dw_now(w->dw);
}
