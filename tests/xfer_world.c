#include "xfer_world.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "seeded.h"
#include "xfer_priv.h"

enum { DEVICE = 100, STEPS_MAX = 4000000, FRAME_CAP = 66000 };
#define WALL_US UINT64_C(1700000000000000)

void xw_root(size_t i, uint8_t root[WIRE_ID])
{
    memset(root, 'A' + (int)i, WIRE_ID);
}

uint32_t xw_rand(struct xw *w, uint32_t n)
{
    uint32_t v;
    seeded(&w->rng, &v, sizeof v);
    return v % n;
}

static void draw(void *ctx, void *buf, size_t len)
{
    seeded(&((struct xw_node *)ctx)->w->rng, buf, len);
}

static uint64_t wall(void *ctx)
{
    const struct xw *w = ((const struct xw_node *)ctx)->w;
    return WALL_US + w->now_ms * 1000 + w->clock_us;
}

static uint32_t contact_of(const struct xw_node *n, size_t k)
{
    return k == n->i ? 0 : (uint32_t)k + 1;
}

/* ---- records ---- */

static bool same_key(const struct rec *a, const struct rec *b)
{
    if (a->kind != b->kind) {
        return false;
    }
    switch (a->kind) {
    case REC_FILE:
        return a->u.file.id == b->u.file.id;
    case REC_FILE_BITS:
        return a->u.file_bits.file == b->u.file_bits.file &&
               (a->u.file_bits.block == b->u.file_bits.block ||
                (b->del && b->u.file_bits.block == UINT32_MAX));
    case REC_FILE_PEER:
        return a->u.file_peer.file == b->u.file_peer.file &&
               a->u.file_peer.contact == b->u.file_peer.contact;
    case REC_FILE_RULE:
        return a->u.file_rule.contact == b->u.file_rule.contact;
    default:
        return false;
    }
}

static void copy_blob(struct blob *b)
{
    struct blob out = {0};
    bool ok = blob_set(&out, b->p, b->n);
    assert(ok);
    *b = out;
}

static void rec_copy(struct rec *out, const struct rec *r)
{
    *out = *r;
    if (r->kind == REC_FILE) {
        copy_blob(&out->u.file.name);
        copy_blob(&out->u.file.path);
        copy_blob(&out->u.file.dest);
    }
}

static void store_one(struct xw_node *n, const struct rec *r)
{
    size_t kept = 0, at = SIZE_MAX;
    for (size_t i = 0; i < n->n_recs; i++) {
        bool same = same_key(&n->recs[i], r);
        if (same) {
            rec_release(&n->recs[i]);
        }
        if (!same || !r->del) { /* it keeps its place */
            at = same ? kept : at;
            n->recs[kept++] = n->recs[i];
        }
    }
    n->n_recs = kept;
    if (r->del) {
        return;
    }
    if (at == SIZE_MAX) {
        if (n->n_recs == n->cap_recs) {
            n->cap_recs = 2 * n->cap_recs + 16;
            n->recs = reallocarray(n->recs, n->cap_recs, sizeof *n->recs);
            assert(n->recs != NULL);
        }
        at = n->n_recs++;
    }
    rec_copy(&n->recs[at], r);
}

static void store(struct xw_node *n, struct txn *t)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct rec *r = &t->recs[i];
        if (r->kind == REC_EVENT) {
            assert(r->u.event.what < XW_EVENTS);
            n->events[r->u.event.what]++;
        } else {
            store_one(n, r);
        }
    }
    txn_release(t);
    *t = (struct txn){0};
}

/* ---- what a node gives ---- */

static void frame_add(struct xw_node *n, size_t to, uint8_t type, const uint8_t *p,
                      size_t len)
{
    if (!n->w->link[n->i][to]) {
        return;
    }
    struct xw_frame *f = malloc(sizeof *f + len);
    assert(f != NULL && type < XW_TYPES);
    *f = (struct xw_frame){.type = type, .len = len};
    memcpy(f->bytes, p, len);
    *n->end[to] = f;
    n->end[to] = &f->next;
    n->n_frames[to]++;
    n->frames[to][type]++;
}

static struct xw_frame *frame_take(struct xw_node *n, size_t to)
{
    struct xw_frame *f = n->first[to];
    if (f != NULL) {
        n->first[to] = f->next;
        n->end[to] = f->next == NULL ? &n->first[to] : n->end[to];
        n->n_frames[to]--;
    }
    return f;
}

static struct xw_said *said_new(struct xw_node *n)
{
    if (n->n_said == n->cap_said) {
        n->cap_said = 2 * n->cap_said + 16;
        n->said = reallocarray(n->said, n->cap_said, sizeof *n->said);
        assert(n->said != NULL);
    }
    struct xw_said *s = &n->said[n->n_said++];
    *s = (struct xw_said){0};
    return s;
}

void xw_say(struct xw *w, size_t i, uint32_t conv, const struct wire_body *b)
{
    struct xw_said *s = said_new(&w->node[i]);
    s->conv = conv;
    s->body = *b;
    assert(b->text_len < sizeof s->text);
    if (b->text_len > 0) {
        memcpy(s->text, b->text, b->text_len);
    }
}

static void offer(struct xw_node *n, const struct xfer_event *ev, struct txn *t)
{
    uint32_t id = 0;
    n->offer_err = ev->err;
    (void)snprintf(n->offer_why, sizeof n->offer_why, "%s",
                   ev->why != NULL ? ev->why : "");
    if (ev->err != 0) {
        return;
    }
    uint64_t tag = ev->tag;
    memcpy(n->mid, ev->body.mid, sizeof n->mid);
    xw_say(n->w, n->i, ev->conv, &ev->body);
    int err =
        xfer_offered_by_us(n->x, t, tag, DEVICE + (uint32_t)n->i, &id, n->w->now_ms);
    assert(err == 0 && id != 0);
}

static void say(struct xw_node *n, const struct xfer_event *ev)
{
    struct wire_body b = ev->body;
    if (b.kind == BODY_FILE_END) {
        xw_root(ev->author == 0 ? n->i : ev->author - 1, b.author);
    }
    xw_say(n->w, n->i, ev->conv, &b);
}

/* Whatever moved a file's time, or its share, was told by file_touch(). */
static void check_touched(struct xfer *x)
{
    uint64_t rate = x->rx.per_s;
    assert(x->touched == NULL);
    x->rx.per_s = 0; /* only who had something to ask for waits for the limit */
    for (struct file *f = x->files; f != NULL; f = f->next) {
        uint64_t due = f->due.pos != 0 ? f->due.at_ms : XFER_NEVER;
        assert(due <= rate_deadline(f));
        assert(file_ended(f) || f->retry_ms == 0 || due <= f->retry_ms);
        assert(f->get == NULL || due <= get_deadline(x, f));
        struct shares before = x->shares;
        get_count(x, f);
        assert(before.files == x->shares.files && before.asks == x->shares.asks);
    }
    x->rx.per_s = rate;
    size_t asks = 0;
    for (const struct xpeer *p = x->peers; p != NULL; p = p->next) {
        size_t under_way = 0, busy = 0;
        for (const struct source *s = p->sources; s != NULL; s = s->peer_next) {
            under_way += get_open_stream(s->file) ? 0 : s->under_way;
            busy += s->busy;
        }
        assert(p->asks == under_way && p->busy == busy);
        asks += p->asks;
    }
    assert(asks <= x->shares.asks);
}

void xw_after(struct xw_node *n, struct txn *t, int err)
{
    struct xfer_out o;
    struct xfer_event ev;
    assert(err == 0);
    store(n, t);
    while (xfer_next_out(n->x, &o)) {
        frame_add(n, o.device - DEVICE, (uint8_t)o.type, o.payload, o.len);
    }
    while (xfer_next_event(n->x, &ev)) {
        switch (ev.kind) {
        case XFER_EV_JOB:
            disk_start(&n->disk, ev.job);
            break;
        case XFER_EV_OFFER:
            offer(n, &ev, t);
            store(n, t);
            break;
        case XFER_EV_SAY:
            say(n, &ev);
            break;
        case XFER_EV_WAITS:
            n->waits_on += ev.waits ? 1 : UINT32_MAX;
            break;
        case XFER_EV_TELL:
            break;
        }
    }
    while (xfer_next_out(n->x, &o)) {
        frame_add(n, o.device - DEVICE, (uint8_t)o.type, o.payload, o.len);
    }
    check_touched(n->x);
}

/* ---- life ---- */

static void load(struct xw_node *n)
{
    static const enum rec_kind order[] = {REC_FILE, REC_FILE_BITS, REC_FILE_PEER,
                                          REC_FILE_RULE};
    for (size_t k = 0; k < sizeof order / sizeof *order; k++) {
        for (size_t i = 0; i < n->n_recs; i++) {
            int err = n->recs[i].kind == order[k] ? xfer_load(n->x, &n->recs[i]) : 0;
            assert(err == 0);
        }
    }
}

static void tell_conv(struct xw_node *n, uint32_t conv)
{
    struct xfer_member v[XW_NODES];
    size_t k = 0;
    for (size_t j = 0; j < n->w->n; j++) {
        if ((n->w->convs[conv - 1] >> j & 1) != 0) {
            v[k].contact = contact_of(n, j);
            xw_root(j, v[k++].root);
        }
    }
    int err = (n->w->convs[conv - 1] >> n->i & 1) != 0 ? xfer_conv(n->x, conv, v, k) : 0;
    assert(err == 0);
}

void xw_start(struct xw *w, size_t i)
{
    struct xw_node *n = &w->node[i];
    struct txn t = {0};
    assert(n->x == NULL);
    n->x = xfer_new(&n->env);
    assert(n->x != NULL);
    for (uint32_t c = 1; c <= XW_CONVS; c++) {
        tell_conv(n, c);
    }
    xfer_set_policy(n->x, &n->policy);
    xfer_limit(n->x, n->rate, w->now_ms);
    load(n);
    xw_after(n, &t, xfer_start(n->x, &t, w->now_ms));
}

struct xw *xw_new(size_t n, uint64_t seed)
{
    struct xw *w = calloc(1, sizeof *w);
    assert(w != NULL && n <= XW_NODES);
    w->n = n;
    w->rng = seed;
    w->now_ms = 1000000;
    w->convs[0] = (1u << n) - 1;
    for (size_t i = 0; i < n; i++) {
        struct xw_node *v = &w->node[i];
        v->w = w;
        v->i = i;
        v->env = (struct env){.ctx = v, .random = draw, .wall_us = wall};
        v->policy = (struct xfer_policy){XFER_ACCEPT_ASK, UINT64_MAX, UINT64_MAX};
        disk_init(&v->disk, seed * 31 + i);
        for (size_t k = 0; k < XW_NODES; k++) {
            v->end[k] = &v->first[k];
        }
        xw_start(w, i);
    }
    return w;
}

uint32_t xw_conv(struct xw *w, uint32_t members)
{
    uint32_t c = 1;
    while (w->convs[c - 1] != 0) {
        assert(c < XW_CONVS);
        c++;
    }
    w->convs[c - 1] = members;
    for (size_t i = 0; i < w->n; i++) {
        tell_conv(&w->node[i], c);
    }
    return c;
}

static void frames_drop(struct xw_node *n, size_t to)
{
    struct xw_frame *f;
    while ((f = frame_take(n, to)) != NULL) {
        free(f);
    }
}

void xw_link(struct xw *w, size_t a, size_t b)
{
    if (w->link[a][b] || w->node[a].x == NULL || w->node[b].x == NULL || a == b) {
        return;
    }
    w->link[a][b] = w->link[b][a] = true;
    for (unsigned k = 0; k < 2; k++) {
        struct xw_node *n = &w->node[k == 0 ? a : b];
        size_t o = k == 0 ? b : a;
        struct txn t = {0};
        xw_after(
            n, &t,
            xfer_peer_up(n->x, &t, DEVICE + (uint32_t)o, contact_of(n, o), w->now_ms));
    }
}

void xw_mesh(struct xw *w)
{
    for (size_t a = 0; a < w->n; a++) {
        for (size_t b = 0; b < a; b++) {
            xw_link(w, a, b);
        }
    }
}

void xw_cut(struct xw *w, size_t a, size_t b)
{
    if (!w->link[a][b]) {
        return;
    }
    w->link[a][b] = w->link[b][a] = false;
    frames_drop(&w->node[a], b);
    frames_drop(&w->node[b], a);
    for (unsigned k = 0; k < 2; k++) {
        struct xw_node *n = &w->node[k == 0 ? a : b];
        struct txn t = {0};
        if (n->x != NULL) {
            xfer_peer_down(n->x, DEVICE + (uint32_t)(k == 0 ? b : a), w->now_ms);
            xw_after(n, &t, 0);
        }
    }
}

static void keep_counts(struct xw_node *n)
{
    struct xfer_view v;
    for (uint32_t id = 0; xfer_next(n->x, id, &v); id = v.r->id) {
        n->resent += v.resent;
    }
}

void xw_kill(struct xw *w, size_t i, bool power)
{
    struct xw_node *n = &w->node[i];
    if (n->x == NULL) {
        return;
    }
    keep_counts(n);
    disk_kill(&n->disk, power);
    xfer_free(n->x);
    n->x = NULL;
    n->waits_on = 0;
    for (size_t k = 0; k < w->n; k++) {
        xw_cut(w, i, k);
    }
}

void xw_free(struct xw *w)
{
    for (size_t i = 0; i < w->n; i++) {
        struct xw_node *n = &w->node[i];
        for (size_t k = 0; k < w->n; k++) {
            frames_drop(n, k);
        }
        xfer_free(n->x);
        disk_release(&n->disk);
        for (size_t k = 0; k < n->n_recs; k++) {
            rec_release(&n->recs[k]);
        }
        free(n->recs);
        free(n->said);
    }
    free(w);
}

/* ---- what can happen ---- */

enum act { ACT_SAID, ACT_PULL, ACT_FRAME, ACT_JOB };
struct choice {
    enum act act;
    size_t a, b; /* from, to; of a job: the node, which one */
};
enum { CHOICES = XW_NODES * XW_NODES * 3 + XW_NODES * DISK_JOBS };

/* Whose entry b would get from a next; XW_NODES: a has nothing that b lacks. */
static size_t said_by(const struct xw *w, size_t a, size_t b)
{
    const struct xw_node *from = &w->node[a], *to = &w->node[b];
    for (size_t k = 0; k < w->n; k++) {
        size_t have = k == a ? from->n_said : from->seen[k];
        if (k != b && to->seen[k] < have) {
            return k;
        }
    }
    return XW_NODES;
}

static size_t choices(const struct xw *w, struct choice *v)
{
    size_t n = 0;
    for (size_t a = 0; a < w->n; a++) {
        for (size_t b = 0; b < w->n; b++) {
            const struct xw_node *from = &w->node[a];
            if (!w->link[a][b] || from->held[b]) {
                continue;
            }
            if (said_by(w, a, b) != XW_NODES) {
                v[n++] = (struct choice){ACT_SAID, a, b};
            }
            if (from->n_frames[b] > 0) {
                v[n++] = (struct choice){ACT_FRAME, a, b};
            }
            if (from->n_frames[b] < XW_PIPE &&
                xfer_has_data(from->x, DEVICE + (uint32_t)b, w->now_ms)) {
                v[n++] = (struct choice){ACT_PULL, a, b};
            }
        }
        for (size_t k = 0;
             w->node[a].x != NULL && !w->node[a].jobs_held &&
             k < (w->shuffled ? w->node[a].disk.n_jobs : w->node[a].disk.n_jobs > 0);
             k++) {
            if (disk_may(&w->node[a].disk, k)) {
                v[n++] = (struct choice){ACT_JOB, a, k};
            }
        }
    }
    return n;
}

static void pass_said(struct xw *w, size_t a, size_t b)
{
    size_t k = said_by(w, a, b);
    struct xw_node *to = &w->node[b];
    struct xw_said *s = &w->node[k].said[to->seen[k]++];
    struct txn t = {0};
    if ((w->convs[s->conv - 1] >> b & 1) == 0) {
        return;
    }
    s->body.text = s->text;
    struct xfer_said v = {.conv = s->conv,
                          .contact = contact_of(to, k),
                          .device = DEVICE + (uint32_t)k,
                          .verified = to->verified[k],
                          .body = &s->body};
    xw_after(to, &t, xfer_said(to->x, &t, &v, w->now_ms));
}

static void pull(struct xw *w, size_t a, size_t b)
{
    static uint8_t buf[FRAME_CAP];
    struct xw_node *n = &w->node[a];
    struct wr out = wr_init(buf, WIRE_FRAME_MAX + WIRE_FRAME_HEAD);
    struct txn t = {0};
    const uint8_t *p;
    uint8_t type;
    size_t len;
    bool any = xfer_fill(n->x, DEVICE + (uint32_t)b, &out, w->now_ms);
    assert(any && wr_ok(&out) && out.len > 0); /* as xfer_has_data() said */
    struct rd rd = rd_init(buf, out.len);
    while (wire_frame_next(&rd, &type, &p, &len)) {
        frame_add(n, b, type, p, len);
    }
    assert(!rd.bad);
    xw_after(n, &t, 0);
}

int xw_recv(struct xw *w, size_t to, size_t from, uint8_t type, const uint8_t *p,
            size_t len)
{
    struct xw_node *n = &w->node[to];
    struct txn t = {0};
    int err = xfer_recv(n->x, &t, DEVICE + (uint32_t)from, type, p, len, w->now_ms);
    xw_after(n, &t, err == ERR_FORMAT ? 0 : err);
    return err;
}

static void pass_frame(struct xw *w, size_t a, size_t b)
{
    struct xw_frame *f = frame_take(&w->node[a], b);
    int err = xw_recv(w, b, a, f->type, f->bytes, f->len);
    free(f);
    if (err != 0) {
        assert(w->node[a].hostile);
        w->node[a].caught++;
        xw_cut(w, a, b);
    }
}

static void job(struct xw *w, size_t a, size_t k)
{
    struct xw_node *n = &w->node[a];
    struct xfer_result r;
    struct txn t = {0};
    disk_run(&n->disk, k, &r);
    xw_after(n, &t, xfer_done(n->x, &t, &r, w->now_ms));
}

bool xw_step(struct xw *w)
{
    static struct choice v[CHOICES];
    size_t n = choices(w, v);
    if (n == 0) {
        return false;
    }
    const struct choice *c = &v[w->shuffled ? xw_rand(w, (uint32_t)n) : 0];
    switch (c->act) {
    case ACT_SAID:
        pass_said(w, c->a, c->b);
        break;
    case ACT_PULL:
        pull(w, c->a, c->b);
        break;
    case ACT_FRAME:
        pass_frame(w, c->a, c->b);
        break;
    case ACT_JOB:
        job(w, c->a, c->b);
        break;
    }
    return true;
}

/* A tick at once may follow what happened. */
void xw_tick(struct xw *w)
{
    for (size_t i = 0; i < w->n; i++) {
        struct xw_node *n = &w->node[i];
        struct txn t = {0};
        if (n->x != NULL && xfer_deadline(n->x) <= w->now_ms) {
            xw_after(n, &t, xfer_tick(n->x, &t, w->now_ms));
        }
    }
}

void xw_settle(struct xw *w)
{
    for (unsigned k = 0;; k++) {
        assert(k < STEPS_MAX); /* else it never comes to rest */
        bool any = xw_step(w);
        xw_tick(w);
        if (!any && !xw_step(w)) {
            return;
        }
    }
}

void xw_pass(struct xw *w, uint64_t ms)
{
    uint64_t end = w->now_ms + ms;
    xw_settle(w);
    while (w->now_ms < end) {
        uint64_t next = end;
        for (size_t i = 0; i < w->n; i++) {
            uint64_t at = w->node[i].x != NULL ? xfer_deadline(w->node[i].x) : UINT64_MAX;
            next = at < next ? at : next;
        }
        w->now_ms = next > w->now_ms ? next : w->now_ms + 1;
        xw_tick(w);
        xw_settle(w);
    }
}

/* ---- calls ---- */

int xw_scan(struct xw *w, size_t i, uint32_t conv, const char *path, const char *name)
{
    struct xw_node *n = &w->node[i];
    struct txn t = {0};
    struct xfer_source s = {conv, path, name};
    int err = xfer_scan(n->x, ++n->tag, &s, w->now_ms);
    xw_after(n, &t, 0);
    return err;
}

static uint32_t id_of(const struct xw *w, size_t i, const uint8_t mid[WIRE_MID])
{
    const struct rec_file *r = xw_file(w, i, mid);
    return r != NULL ? r->id : 0;
}

int xw_do(struct xw *w, size_t i, const uint8_t mid[WIRE_MID],
          int (*call)(struct xfer *, struct txn *, uint32_t, uint64_t))
{
    struct xw_node *n = &w->node[i];
    struct txn t = {0};
    int err = call(n->x, &t, id_of(w, i, mid), w->now_ms);
    xw_after(n, &t, err == ERR_STATE || err == ERR_NOTFOUND ? 0 : err);
    return err;
}

static int accept_plain(struct xfer *x, struct txn *t, uint32_t id, uint64_t now_ms)
{
    return xfer_accept(x, t, id, NULL, false, now_ms);
}

int xw_accept(struct xw *w, size_t i, const uint8_t mid[WIRE_MID])
{
    return xw_do(w, i, mid, accept_plain);
}

int xw_spool(struct xw *w, size_t i, const uint8_t mid[WIRE_MID], size_t more, bool end)
{
    struct xw_node *n = &w->node[i];
    struct disk_source *s = disk_note(&n->disk, mid, false)->source;
    struct txn t = {0};
    disk_grow(&n->disk, s, more);
    int err = xfer_spooled(n->x, &t, id_of(w, i, mid), s->len, end, w->now_ms);
    xw_after(n, &t, err == ERR_STATE ? 0 : err);
    return err;
}

void xw_offer(struct xw *w, size_t i, size_t len)
{
    char path[DISK_PATH];
    struct xw_node *n = &w->node[i];
    (void)snprintf(path, sizeof path, "/src/f%zu", n->disk.n_sources);
    (void)disk_put(&n->disk, path, len, n->disk.n_sources + 10 * i + 1);
    int err = xw_scan(w, i, 1, path, NULL);
    assert(err == 0);
    xw_settle(w);
    assert(n->offer_err == 0);
}

const struct rec_file *xw_file(const struct xw *w, size_t i, const uint8_t mid[WIRE_MID])
{
    const struct xw_node *n = &w->node[i];
    for (size_t k = 0; k < n->n_recs; k++) {
        if (n->recs[k].kind == REC_FILE &&
            memcmp(n->recs[k].u.file.mid, mid, WIRE_MID) == 0) {
            return &n->recs[k].u.file;
        }
    }
    return NULL;
}

unsigned xw_state(const struct xw *w, size_t i, const uint8_t mid[WIRE_MID])
{
    const struct rec_file *r = xw_file(w, i, mid);
    return r != NULL ? r->state : 0;
}

bool xw_until(struct xw *w, size_t i, const uint8_t mid[WIRE_MID], uint64_t leaves)
{
    struct xfer_view v;
    while (xw_view(w, i, mid, &v) && v.received < leaves) {
        if (!xw_step(w)) {
            return false;
        }
    }
    return true;
}

bool xw_view(const struct xw *w, size_t i, const uint8_t mid[WIRE_MID],
             struct xfer_view *v)
{
    return xfer_get(w->node[i].x, id_of(w, i, mid), v);
}

struct disk_note *xw_note(struct xw *w, size_t i, size_t a, const uint8_t mid[WIRE_MID])
{
    uint8_t root[WIRE_ID], key[WIRE_MID];
    xw_root(a, root);
    xfer_key(root, mid, key);
    return disk_note(&w->node[i].disk, key, true);
}

bool xw_equal(struct xw *w, size_t i, size_t a, const uint8_t mid[WIRE_MID])
{
    const struct disk_note *to = xw_note(w, i, a, mid);
    const struct disk_note *from = disk_note(&w->node[a].disk, mid, false);
    if (to == NULL || !to->finished) {
        return false;
    }
    assert(from != NULL && from->source->p != NULL);
    return to->len == from->source->len &&
           (to->len == 0 || memcmp(to->p, from->source->p, to->len) == 0);
}

uint64_t xw_leaves(const struct xw *w, size_t a, size_t b)
{
    return w->node[a].frames[b][FRAME_FILE_LEAF];
}
