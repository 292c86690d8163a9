#include "feed_harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The harness serves unit tests and simulations: what must hold in it is checked here. */
#define MUST(ok) must((ok), #ok, __LINE__)
static void must(bool ok, const char *what, int line)
{
    if (!ok) {
        fprintf(stderr, "feed_harness.c:%d: %s\n", line, what);
        abort();
    }
}

/* ---- environment ---- */

uint64_t harness_random(struct hnet *h)
{
    uint64_t z = (h->seed += 0x9e3779b97f4a7c15U); /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

static void fill(void *ctx, void *buf, size_t len)
{
    for (size_t i = 0; i < len; i += 8) {
        uint64_t v = harness_random(ctx);
        memcpy((uint8_t *)buf + i, &v, len - i < 8 ? len - i : 8);
    }
}

static uint64_t wall(void *ctx)
{
    return ((struct hnet *)ctx)->wall_us;
}

/* ---- nodes ---- */

uint32_t harness_ref(const struct hnode *n, size_t other)
{
    return n->i == other ? 1 : (uint32_t)other + 2;
}

static size_t node_of(const struct hnode *n, uint32_t ref)
{
    return ref == 1 ? n->i : ref - 2;
}

static void put_device(struct hnode *n, size_t other)
{
    const struct hnode *o = &n->net->node[other];
    struct feeds_device d = {.ref = harness_ref(n, other),
                             .contact = other == n->i ? 0 : (uint32_t)other + 1,
                             .box_time = o->box_time};
    memcpy(d.root, o->root, 32);
    memcpy(d.device, o->device, 32);
    memcpy(d.stat, o->stat, 32);
    memcpy(d.box, o->box, 32);
    if (n->net->n == 2 && other != n->i && n->known.box_time > 0) {
        memcpy(d.box, n->known.box, 32);
        d.box_time = n->known.box_time;
    }
    MUST(feeds_device_put(n->f, &d) == 0);
}

static void pair_of(size_t a, size_t b, uint8_t out[32])
{
    memset(out, 0x40, 32);
    out[0] = (uint8_t)(a < b ? a : b);
    out[1] = (uint8_t)(a < b ? b : a);
}

static int load_rec(void *ctx, const struct rec *r)
{
    struct hnode *n = ctx;
    if (r->kind == REC_DEVICE && r->u.device.id != 1 && n->net->n == 2) {
        memcpy(n->known.box, r->u.device.box, 32);
        n->known.box_time = r->u.device.box_time;
        put_device(n, 1 - n->i);
    }
    return feeds_load(n->f, r);
}

static void make_feeds(struct hnode *n)
{
    struct feeds_self self = {.env = &n->net->env, .device_ref = 1};
    memcpy(self.root, n->root, 32);
    memcpy(self.device, n->device, 32);
    memcpy(self.stat_sec, n->stat_sec, 32);
    memcpy(self.self_key, n->self_key, 32);
    memset(&n->known, 0, sizeof n->known); /* as its store says */
    n->f = feeds_new(&self);
    MUST(n->f != NULL);
    for (size_t j = 0; j < n->net->n; j++) {
        uint8_t pair[32];
        put_device(n, j);
        if (j != n->i) {
            pair_of(n->i, j, pair);
            MUST(feeds_pair_put(n->f, (uint32_t)j + 1, n->net->node[j].root, pair) == 0);
        }
    }
    MUST(store_load(n->store, load_rec, n) == 0);
    MUST(feeds_start(n->f, &n->txn, n->net->now_ms) == 0);
    n->alive = true;
}

static void add_device_rec(struct hnode *n, size_t j)
{
    struct rec r = {.kind = REC_DEVICE,
                    .u.device = {.id = harness_ref(n, j),
                                 .contact = j == n->i ? 0 : (uint32_t)j + 1}};
    memcpy(r.u.device.device, n->net->node[j].device, 32);
    if (n->net->n == 2) {
        memcpy(r.u.device.box, n->known.box, 32);
        r.u.device.box_time = n->known.box_time;
    }
    MUST(txn_add(&n->txn, &r) == 0);
}

static void make_conv(struct hnode *n)
{
    struct hnet *h = n->net;
    uint8_t roots[HARNESS_NODES][WIRE_ID], cid[WIRE_ID];
    if (h->n == 2) {
        MUST(feeds_conv_pair(n->f, &n->txn, n->i == 0 ? 2 : 1, &n->conv) == 0);
        return;
    }
    for (size_t j = 0; j < h->n; j++) {
        memcpy(roots[j], h->node[j].root, WIRE_ID);
    }
    memset(cid, 0xc1, sizeof cid);
    MUST(feeds_conv_group(n->f, &n->txn, cid, (const uint8_t(*)[WIRE_ID])roots, h->n,
                          &n->conv) == 0);
}

struct hnet *harness_new(size_t n, uint64_t seed)
{
    struct hnet *h = calloc(1, sizeof *h);
    MUST(h != NULL && n <= HARNESS_NODES);
    h->seed = seed;
    h->n = n;
    h->now_ms = 1000;
    h->wall_us = 1700000000000000U;
    h->env = (struct env){.ctx = h, .random = fill, .wall_us = wall};
    for (size_t i = 0; i < n; i++) {
        struct hnode *x = &h->node[i];
        x->net = h;
        x->i = i;
        x->die_in = -1;
        fill(h, x->root, 32);
        fill(h, x->stat_sec, 32);
        fill(h, x->self_key, 32);
        keys_public(x->stat_sec, x->stat);
        keys_device_id(x->root, x->stat, x->device);
        MUST(store_open(":memory:", &x->store, NULL, 0) == 0);
    }
    for (size_t i = 0; i < n; i++) {
        make_feeds(&h->node[i]);
        feeds_box(h->node[i].f, h->node[i].box, &h->node[i].box_time);
    }
    for (size_t i = 0; i < n; i++) {
        struct hnode *o = &h->node[(i + 1) % n];
        memcpy(h->node[i].known.box, o->box, 32);
        h->node[i].known.box_time = o->box_time;
        for (size_t j = 0; j < n; j++) {
            put_device(&h->node[i], j);
            add_device_rec(&h->node[i], j);
        }
        make_conv(&h->node[i]);
        (void)harness_settle(&h->node[i]);
    }
    return h;
}

static void drop_frames(struct hnet *h, size_t a, size_t b)
{
    while (h->first[a][b] != NULL) {
        struct frame *fr = h->first[a][b];
        h->first[a][b] = fr->next;
        free(fr);
    }
    h->last[a][b] = NULL;
    h->queued[a][b] = 0;
}

static void drop_loads(struct hnode *n)
{
    while (n->loads != NULL) {
        struct wait_load *w = n->loads;
        n->loads = w->next;
        free(w);
    }
    n->loads_end = NULL;
}

void harness_free(struct hnet *h)
{
    for (size_t i = 0; i < h->n; i++) {
        for (size_t j = 0; j < h->n; j++) {
            drop_frames(h, i, j);
        }
        drop_loads(&h->node[i]);
        feeds_free(h->node[i].f);
        free(h->node[i].files);
        txn_release(&h->node[i].txn);
        store_close(h->node[i].store);
    }
    free(h);
}

/* ---- one node's turn ---- */

static bool commit(struct hnode *n);

void harness_announce(struct hnode *n)
{
    struct wire_device d = {.cert = (const uint8_t *)"cert", .cert_len = 4};
    n->n_announced++;
    feeds_box(n->f, d.box, &d.box_time);
    memcpy(d.name, "name", 4);
    if (n->net->n == 2) {
        (void)feeds_send_device(n->f, &n->txn, n->conv, &d, n->net->now_ms);
        return;
    }
    /* Groups have no device entries yet; the members are told when it is durable. */
    if (!commit(n)) {
        return;
    }
    memcpy(n->box, d.box, 32);
    n->box_time = d.box_time;
    for (size_t j = 0; j < n->net->n; j++) {
        if (n->net->node[j].alive) {
            put_device(&n->net->node[j], n->i);
        }
    }
}

/* Keeps in the store that a node said something of a file. */
static void keep_file(struct hnode *n, size_t who, const struct wire_body *b)
{
    struct rec r = {.kind = REC_META};
    uint32_t number;
    memcpy(&number, b->kind == BODY_OFFER ? b->mid : b->target, sizeof number);
    (void)snprintf(r.u.meta.key, sizeof r.u.meta.key, "file %zu %u %u", who,
                   (unsigned)b->kind, number);
    MUST(txn_add(&n->txn, &r) == 0);
}

static void on_file(struct hnode *n, const struct feeds_event *ev)
{
    size_t who = node_of(n, ev->device);
    if (ev->body->kind != BODY_REDACTION) {
        keep_file(n, who, ev->body);
    }
    if (n->files == NULL) {
        n->files = calloc(HARNESS_FILES, sizeof *n->files);
        MUST(n->files != NULL);
    }
    if (n->n_files < HARNESS_FILES) {
        struct hfile *x = &n->files[n->n_files];
        *x = (struct hfile){.body = *ev->body,
                            .who = who,
                            .conv = ev->conv,
                            .taken_back = ev->taken_back};
        if (x->body.text_len > 0) {
            MUST(x->body.text_len <= sizeof x->name);
            memcpy(x->name, ev->body->text, x->body.text_len);
        }
        x->body.text = x->name;
    }
    n->n_files++;
}

static void on_event(struct hnode *n, const struct feeds_event *ev)
{
    struct wait_load *w;
    switch (ev->kind) {
    case FEEDS_EV_LOAD:
        w = calloc(1, sizeof *w);
        MUST(w != NULL);
        w->ev = *ev;
        if (n->loads_end != NULL) {
            n->loads_end->next = w;
        } else {
            n->loads = w;
        }
        n->loads_end = w;
        n->n_loads++;
        break;
    case FEEDS_EV_WAITS:
        n->waits[node_of(n, ev->device)] = ev->waits;
        break;
    case FEEDS_EV_DEVICE: {
        size_t other = node_of(n, ev->device);
        n->n_devices++;
        if (ev->dict->box_time > n->known.box_time) {
            memcpy(n->known.box, ev->dict->box, 32);
            n->known.box_time = ev->dict->box_time;
            add_device_rec(n, other);
        }
        put_device(n, other);
        break;
    }
    case FEEDS_EV_FILE:
        on_file(n, ev);
        break;
    case FEEDS_EV_ANNOUNCE:
        harness_announce(n);
        break;
    }
}

static bool commit(struct hnode *n)
{
    const struct txn *t = &n->txn;
    struct store_events events = {0};
    if (n->txn.n == 0) {
        return true;
    }
    if (n->die_in == 0) {
        n->die_in = -1;
        harness_kill(n);
        return false;
    }
    n->die_in -= n->die_in > 0;
    for (size_t i = 0; i < t->n; i++) {
        if (t->recs[i].kind == REC_EVENT) {
            n->n_restored += t->recs[i].u.event.what == EVENT_RESTORED;
            n->n_forks += t->recs[i].u.event.what == EVENT_FORK;
        }
    }
    int err = store_commit(n->store, &t, 1, &events);
    MUST(err == 0);
    store_events_release(&events);
    txn_release(&n->txn);
    return true;
}

static void put_frame(struct hnode *n, const struct feeds_out *o)
{
    struct hnet *h = n->net;
    size_t to = node_of(n, o->device);
    if (!h->up[n->i][to]) {
        return;
    }
    struct frame *fr = malloc(sizeof *fr + o->len + 64);
    MUST(fr != NULL);
    fr->next = NULL;
    fr->type = (uint8_t)o->type;
    fr->len = o->len;
    memcpy(fr->payload, o->payload, o->len);
    n->n_entries += o->type == FRAME_ENTRY;
    n->n_haves += o->type == FRAME_HAVE;
    if (h->meddle != NULL && !h->meddle(h, n->i, to, fr->type, fr->payload, &fr->len)) {
        free(fr);
        return;
    }
    if (h->last[n->i][to] != NULL) {
        h->last[n->i][to]->next = fr;
    } else {
        h->first[n->i][to] = fr;
    }
    h->last[n->i][to] = fr;
    h->queued[n->i][to] += fr->len;
}

bool harness_settle(struct hnode *n)
{
    struct feeds_event ev;
    struct feeds_out o;
    if (!n->alive) {
        return false;
    }
    while (n->alive && feeds_next_event(n->f, &ev)) {
        on_event(n, &ev);
    }
    if (!n->alive || !commit(n)) {
        return false;
    }
    while (feeds_next_out(n->f, &o)) {
        put_frame(n, &o);
        if (o.feed != 0) {
            feeds_handed(n->f, o.feed, o.seq);
        }
    }
    while (n->alive && feeds_next_event(n->f, &ev)) {
        on_event(n, &ev);
    }
    return n->alive && commit(n);
}

void harness_kill(struct hnode *n)
{
    struct hnet *h = n->net;
    for (size_t j = 0; j < h->n; j++) {
        if (h->up[n->i][j]) {
            harness_cut(h, n->i, j);
        }
    }
    drop_loads(n);
    feeds_free(n->f);
    n->f = NULL;
    n->alive = false;
    txn_release(&n->txn);
    memset(n->waits, 0, sizeof n->waits);
}

void harness_start(struct hnode *n)
{
    MUST(!n->alive);
    make_feeds(n);
    make_conv(n);
    (void)harness_settle(n);
}

void harness_restart(struct hnode *n)
{
    if (n->alive) {
        harness_kill(n);
    }
    harness_start(n);
}

struct blob harness_copy(struct hnode *n)
{
    struct blob b = {0};
    MUST(store_snapshot(n->store, &b) == 0);
    return b;
}

void harness_back(struct hnode *n, const struct blob *copy)
{
    harness_kill(n);
    store_close(n->store);
    MUST(store_from_snapshot(copy, &n->store) == 0);
    harness_start(n);
}

/* ---- links ---- */

void harness_link(struct hnet *h, size_t a, size_t b)
{
    if (h->up[a][b] || !h->node[a].alive || !h->node[b].alive) {
        return;
    }
    h->up[a][b] = h->up[b][a] = true;
    feeds_peer_up(h->node[a].f, harness_ref(&h->node[a], b), h->now_ms);
    feeds_peer_up(h->node[b].f, harness_ref(&h->node[b], a), h->now_ms);
    (void)harness_settle(&h->node[a]);
    (void)harness_settle(&h->node[b]);
}

void harness_unmesh(struct hnet *h)
{
    for (size_t i = 0; i < h->n; i++) {
        for (size_t j = i + 1; j < h->n; j++) {
            harness_cut(h, i, j);
        }
    }
}

void harness_cut(struct hnet *h, size_t a, size_t b)
{
    if (!h->up[a][b]) {
        return;
    }
    h->up[a][b] = h->up[b][a] = false;
    drop_frames(h, a, b);
    drop_frames(h, b, a);
    for (size_t k = 0; k < 2; k++) {
        struct hnode *n = &h->node[k == 0 ? a : b];
        if (n->alive && n->f != NULL) {
            feeds_peer_down(n->f, harness_ref(n, k == 0 ? b : a), h->now_ms);
        }
    }
}

void harness_mesh(struct hnet *h)
{
    for (size_t i = 0; i < h->n; i++) {
        for (size_t j = i + 1; j < h->n; j++) {
            harness_link(h, i, j);
        }
    }
}

/* Delivers the next frame from a to b. */
static void deliver(struct hnet *h, size_t a, size_t b)
{
    struct hnode *n = &h->node[b];
    struct frame *fr = h->first[a][b];
    h->first[a][b] = fr->next;
    h->last[a][b] = fr->next == NULL ? NULL : h->last[a][b];
    h->queued[a][b] -= fr->len;
    int err = feeds_recv(n->f, &n->txn, harness_ref(n, a), fr->type, fr->payload, fr->len,
                         h->now_ms);
    free(fr);
    if (err != 0) {
        n->err = err;
        n->n_errors++;
    }
    bool lives = harness_settle(n);
    if (err != 0 && lives) {
        harness_cut(h, a, b);
        (void)harness_settle(n);
    }
    struct hnode *from = &h->node[a];
    if (h->up[a][b] && from->alive) {
        size_t used = h->queued[a][b];
        feeds_room(from->f, harness_ref(from, b),
                   used < LINK_INFLIGHT_MAX ? LINK_INFLIGHT_MAX - used : 0, h->now_ms);
        (void)harness_settle(from);
    }
}

static void answer_load(struct hnode *n)
{
    struct wait_load *w = n->loads;
    struct store_entries e = {0};
    n->loads = w->next;
    n->loads_end = n->loads == NULL ? NULL : n->loads_end;
    MUST(store_entries(n->store, w->ev.feed, w->ev.from, w->ev.to, w->ev.max,
                       w->ev.max_bytes, &e) == 0);
    int err = feeds_loaded(n->f, &n->txn, w->ev.request, e.v, e.n, n->net->now_ms);
    MUST(err == 0);
    store_entries_release(&e);
    free(w);
    (void)harness_settle(n);
}

size_t harness_run(struct hnet *h, size_t steps)
{
    size_t done = 0;
    for (bool any = true; any && done < steps;) {
        any = false;
        size_t turn = h->shuffle ? (size_t)(harness_random(h) % (h->n * h->n)) : 0;
        for (size_t k = 0; k < h->n * h->n && done < steps; k++) {
            size_t at = (turn + k) % (h->n * h->n), a = at / h->n, b = at % h->n;
            if (h->node[a].alive && h->node[a].loads != NULL) {
                answer_load(&h->node[a]);
                any = true;
                done++;
            }
            if (h->first[a][b] != NULL && h->node[b].alive) {
                deliver(h, a, b);
                any = true;
                done++;
            }
        }
    }
    return done;
}

void harness_pass(struct hnet *h, uint64_t ms)
{
    uint64_t end = h->now_ms + ms;
    for (unsigned turns = 0; turns < 100000; turns++) {
        uint64_t at = end;
        (void)harness_run(h, 1000000);
        for (size_t i = 0; i < h->n; i++) {
            uint64_t d = h->node[i].alive ? feeds_deadline(h->node[i].f) : UINT64_MAX;
            at = d < at ? d : at;
        }
        at = at < h->now_ms ? h->now_ms : at;
        h->wall_us += (at - h->now_ms) * 1000;
        h->now_ms = at;
        for (size_t i = 0; i < h->n; i++) {
            struct hnode *n = &h->node[i];
            if (n->alive && feeds_deadline(n->f) <= at) {
                feeds_tick(n->f, &n->txn, at);
                (void)harness_settle(n);
            }
        }
        (void)harness_run(h, 1000000);
        if (at == end) {
            return;
        }
    }
    must(false, "time passes", __LINE__);
}

/* ---- talking ---- */

void harness_text(struct hnode *n, const char *text, size_t len)
{
    uint8_t mid[WIRE_MID];
    int err = feeds_send_text(n->f, &n->txn, n->conv, (const uint8_t *)text, len, NULL,
                              mid, n->net->now_ms);
    MUST(err == 0);
    (void)harness_settle(n);
}

void harness_say(struct hnode *n, unsigned number)
{
    char text[32];
    int len = snprintf(text, sizeof text, "%u", number);
    harness_text(n, text, (size_t)len);
}

void harness_mid(unsigned number, uint8_t mid[WIRE_MID])
{
    uint32_t v = number;
    memset(mid, 0, WIRE_MID);
    memcpy(mid, &v, sizeof v);
}

void harness_file(struct hnode *n, enum body_kind kind, size_t author, unsigned number)
{
    char name[32];
    struct wire_body b = {.kind = kind,
                          .has_size = true,
                          .size = number,
                          .end = FILE_END_RECEIVED,
                          .text = (const uint8_t *)name};
    b.text_len = (size_t)snprintf(name, sizeof name, "%u", number);
    harness_mid(number, kind == BODY_OFFER ? b.mid : b.target);
    uint32_t contact = author == n->i ? 0 : (uint32_t)author + 1;
    MUST(feeds_send_file(n->f, &n->txn, n->conv, contact, &b, n->net->now_ms) == 0);
    keep_file(n, n->i, &b);
    (void)harness_settle(n);
}

struct files_seen {
    void (*seen)(void *ctx, size_t author, enum body_kind kind, unsigned number);
    void *ctx;
};

static int see_file(void *ctx, const struct rec *r)
{
    const struct files_seen *v = ctx;
    size_t author;
    unsigned kind, number;
    if (r->kind == REC_META &&
        sscanf(r->u.meta.key, "file %zu %u %u", &author, &kind, &number) == 3) {
        v->seen(v->ctx, author, kind, number);
    }
    return 0;
}

void harness_files(struct hnode *n,
                   void (*seen)(void *ctx, size_t author, enum body_kind kind,
                                unsigned number),
                   void *ctx)
{
    struct files_seen v = {.seen = seen, .ctx = ctx};
    MUST(store_load(n->store, see_file, &v) == 0);
}

static int add_msg(void *ctx, const struct store_msg *m)
{
    struct hlist *l = ctx;
    char text[16] = {0};
    MUST(l->n < HARNESS_MSGS);
    struct hmsg *x = &l->v[l->n++];
    memcpy(x->mid, m->mid, sizeof x->mid);
    if (m->text.n > 0) { /* else it was redacted */
        memcpy(text, m->text.p,
               m->text.n < sizeof text - 1 ? m->text.n : sizeof text - 1);
    }
    x->number = (unsigned)strtoul(text, NULL, 10);
    x->kind = m->kind;
    x->author = m->author;
    x->feed = m->feed;
    x->seq = m->seq;
    x->state = m->state;
    x->flags = m->flags;
    x->order = m->order;
    x->len = m->text.n;
    return 0;
}

struct page {
    struct hlist *list;
    struct store_query q;
    size_t n;
};

static int page_msg(void *ctx, const struct store_msg *m)
{
    struct page *p = ctx;
    p->n++;
    p->q.after_order = m->order;
    p->q.after_device = m->device;
    p->q.after_row = m->row;
    return add_msg(p->list, m);
}

struct hlist *harness_history(struct hnode *n)
{
    struct page p = {.list = calloc(1, sizeof *p.list),
                     .q = {.conv = n->conv, .limit = STORE_PAGE_ROWS}};
    MUST(p.list != NULL);
    do {
        p.n = 0;
        MUST(store_history(n->store, &p.q, page_msg, &p) == 0);
    } while (p.n == STORE_PAGE_ROWS);
    return p.list;
}

size_t harness_count(struct hnode *n, unsigned number, uint8_t *state)
{
    struct hlist *l = harness_history(n);
    size_t count = 0;
    for (size_t i = 0; i < l->n; i++) {
        if (l->v[i].number == number) {
            count++;
            if (state != NULL) {
                *state = l->v[i].state;
            }
        }
    }
    free(l);
    return count;
}

void harness_same(struct hnet *h, size_t n_msgs)
{
    struct hlist *first = harness_history(&h->node[0]);
    MUST(first->n == n_msgs);
    for (size_t i = 1; i < h->n; i++) {
        struct hlist *l = harness_history(&h->node[i]);
        MUST(l->n == n_msgs);
        for (size_t k = 0; k < l->n; k++) {
            MUST(memcmp(l->v[k].mid, first->v[k].mid, WIRE_MID) == 0);
        }
        free(l);
    }
    free(first);
}

const struct rec_feed *harness_feed(struct hnode *n, size_t author, unsigned flags_not)
{
    const struct rec_feed *best = NULL;
    for (uint32_t id = 1; id < 2000; id++) {
        const struct rec_feed *r = feeds_feed(n->f, id);
        if (r != NULL && r->conv == n->conv && r->device == harness_ref(n, author) &&
            (r->flags & flags_not) == 0) {
            best = r;
        }
    }
    return best;
}

void harness_dump(struct hnode *n)
{
    for (uint32_t id = 1; id < 2000; id++) {
        const struct rec_feed *r = feeds_feed(n->f, id);
        if (r != NULL) {
            printf("  node %zu: feed %u of node %zu gen %02x%02x flags %u head %llu "
                   "%02x%02x "
                   "opened %llu closed_from %llu chain %llu\n",
                   n->i, id, node_of(n, r->device), r->gen[0], r->gen[1], r->flags,
                   (unsigned long long)r->head, r->head_id[0], r->head_id[1],
                   (unsigned long long)r->opened, (unsigned long long)r->closed_from,
                   (unsigned long long)r->chain_start);
        }
    }
}
