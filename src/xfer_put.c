/* Files that are given: reading ahead, sealing, what goes out to whom. */
#include <stdlib.h>
#include <string.h>

#include "xfer_priv.h"

/* ---- refusing ---- */

static int say_no(struct xfer *x, struct xpeer *p, uint32_t handle, enum file_no reason)
{
    uint8_t buf[XFER_FRAME_MAX];
    struct wr w = wr_init(buf, sizeof buf);
    struct wire_file_no v = {.handle = handle, .reason = reason};
    wire_file_no_put(&w, &v);
    return xout_add(x, p->device, FRAME_FILE_NO, &w);
}

static void slot_free(struct xfer *x, struct slot *s)
{
    buf_give(x, s->buf, BUF_OUT);
    free(s);
}

/* Slots of a serve go, or (still being read) go when that is done. */
static void slots_drop(struct xfer *x, struct xpeer *p, const struct serve *v)
{
    for (struct slot **at = &p->slots; *at != NULL;) {
        struct slot *s = *at;
        if (s->serve != v) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        p->n_slots--;
        s->serve = NULL;
        if (s->ready) {
            slot_free(x, s);
        }
    }
    p->slots_end = &p->slots;
    while (*p->slots_end != NULL) {
        p->slots_end = &(*p->slots_end)->next;
    }
}

static size_t queued(const struct serve *v)
{
    size_t n = 0;
    for (size_t i = 0; i < v->n_q; i++) {
        n += v->q[i].count;
    }
    return n;
}

static void serve_free(struct xfer *x, struct serve *v)
{
    struct xpeer *p = v->peer;
    for (struct serve **at = &p->serves; *at != NULL; at = &(*at)->next) {
        if (*at == v) {
            *at = v->next;
            break;
        }
    }
    p->wanted -= queued(v);
    slots_drop(x, p, v);
    free(v);
}

int put_stop_peer(struct xfer *x, struct file *f, struct xpeer *p, bool tell,
                  enum file_no reason)
{
    int err = 0;
    for (struct serve *v = p->serves, *next; err == 0 && v != NULL; v = next) {
        next = v->next;
        if (v->file == f) {
            err = tell ? say_no(x, p, v->handle, reason) : 0;
            serve_free(x, v);
        }
    }
    return err;
}

int put_stop(struct xfer *x, struct file *f, enum file_no reason)
{
    int err = 0;
    for (struct xpeer *p = x->peers; err == 0 && p != NULL; p = p->next) {
        err = put_stop_peer(x, f, p, true, reason);
    }
    return err;
}

void put_peer_down(struct xfer *x, struct xpeer *p)
{
    while (p->serves != NULL) {
        serve_free(x, p->serves);
    }
}

/* ---- what is wanted ---- */

/* NULL: the device has as many as it may, or (*err) there is no memory. */
static struct serve *serve_get(struct xpeer *p, struct file *f, uint32_t handle, int *err)
{
    struct serve **at = &p->serves;
    size_t n = 0;
    while (*at != NULL && ((*at)->handle != handle || (*at)->file != f)) {
        at = &(*at)->next;
        n++;
    }
    if (*at != NULL || n >= XFER_SERVES_MAX) {
        return *at;
    }
    *at = calloc(1, sizeof **at);
    if (*at == NULL) {
        *err = ERR_NOMEM;
        return NULL;
    }
    (*at)->peer = p;
    (*at)->file = f;
    (*at)->handle = handle;
    return *at;
}

/* False: more than can be queued. */
static bool enqueue(struct serve *v, const struct wire_file_want *w)
{
    size_t n = 0;
    for (size_t i = 0; i < w->n_ranges; i++) {
        n += w->ranges[i].count;
    }
    if (w->n_ranges > WIRE_FILE_RANGES_MAX - v->n_q ||
        w->n_lists > WIRE_FILE_RANGES_MAX - v->n_lists ||
        n > XFER_WANTED_MAX - v->peer->wanted) {
        return false;
    }
    memcpy(v->q + v->n_q, w->ranges, w->n_ranges * sizeof *v->q);
    v->n_q += w->n_ranges;
    memcpy(v->lists + v->n_lists, w->lists, w->n_lists * sizeof *v->lists);
    v->n_lists += w->n_lists;
    v->peer->wanted += n;
    return true;
}

/* The first time that a contact takes of a file. */
static int begun(struct xfer *x, struct txn *t, struct file *f, uint32_t contact)
{
    if (file_incoming(f) || file_taker(f, contact, false) != NULL) {
        return 0;
    }
    struct taker *k = file_taker(f, contact, true);
    if (k == NULL) {
        return ERR_NOMEM;
    }
    f->r.flags |= FILE_UNDER_WAY;
    waits_changed(x);
    int err = file_peer_row(t, &k->r);
    if (err == 0) {
        err = file_row(t, f);
    }
    return err == 0 ? file_event(t, f, EVENT_FILE_ACCEPTED, contact) : err;
}

/* Whether anything is given of the file now; else why not. */
static enum file_no why_not(const struct file *f)
{
    /* Of two, one has sent it, and what lies at its path now is none of its business. */
    bool whole = f != NULL && file_incoming(f) && f->r.state == FILE_DONE &&
                 f->conv->n > 2 && (f->r.flags & FILE_PIPE) == 0;
    if (f == NULL || (!whole && (file_incoming(f) || f->r.state != FILE_ACTIVE))) {
        return FILE_NO_GONE;
    }
    return (f->r.flags & FILE_PAUSED) != 0 && !whole ? FILE_NO_PAUSED : 0;
}

static int check(struct xfer *x, struct file *f)
{
    struct xjob *j = f->checking ? NULL : job_new(x, XFER_JOB_CHECK, f);
    if (f->checking || j == NULL) {
        return f->checking ? 0 : ERR_NOMEM;
    }
    f->checking = true;
    job_give(x, j);
    return 0;
}

int put_want(struct xfer *x, struct txn *t, struct xpeer *p,
             const struct wire_file_want *w)
{
    struct file *f = file_named(x, p, w->author, w->mid);
    enum file_no reason = why_not(f);
    if (reason != 0) {
        return say_no(x, p, w->handle, reason);
    }
    int err = 0;
    struct serve *v = serve_get(p, f, w->handle, &err);
    if (err != 0) {
        return err;
    }
    if (v == NULL || !enqueue(v, w)) {
        if (v != NULL) {
            serve_free(x, v);
        }
        return say_no(x, p, w->handle, FILE_NO_BUSY);
    }
    err = begun(x, t, f, p->contact);
    file_told(x, f);
    if (err == 0 && !f->checked && !file_incoming(f)) {
        err = check(x, f);
    }
    return err;
}

/* ---- reading ahead ---- */

/* The number of the next leaf of a serve that can be read now. */
static bool next_leaf(const struct serve *v, uint32_t *leaf)
{
    const struct file *f = v->file;
    if (v->n_q == 0) {
        return false;
    }
    *leaf = v->q[0].first;
    if (f->held_back || (f->r.flags & FILE_SIZED) == 0) { /* whole leaves only */
        return ((uint64_t)*leaf + 1) * HASHTREE_LEAF <= f->spooled;
    }
    return true;
}

static void leaf_taken(struct serve *v)
{
    v->peer->wanted--;
    v->q[0].first++;
    if (--v->q[0].count == 0) {
        memmove(v->q, v->q + 1, --v->n_q * sizeof *v->q);
    }
}

static int read_one(struct xfer *x, struct serve *v, bool list, uint32_t number)
{
    struct xpeer *p = v->peer;
    struct file *f = v->file;
    struct slot *s = calloc(1, sizeof *s);
    struct xjob *j = job_new(x, list ? XFER_JOB_LIST : XFER_JOB_READ, f);
    if (s == NULL || j == NULL || (s->buf = buf_take(x, BUF_OUT)) == NULL) {
        free(s);
        if (j != NULL) {
            job_free(j);
        }
        return ERR_NOMEM;
    }
    s->serve = v;
    s->list = list;
    s->number = number;
    j->slot = s;
    j->j.buf = s->buf;
    j->j.leaf = list ? 0 : number;
    j->j.list = list ? number : 0;
    uint64_t from = (uint64_t)number * HASHTREE_LEAF, size = f->r.size;
    if (!list && f->r.kind == FILE_STREAM && !file_incoming(f)) {
        size = f->spooled > size ? f->spooled : size;
        j->j.len =
            size - from < HASHTREE_LEAF ? (size_t)(size - from) : (size_t)HASHTREE_LEAF;
    }
    *p->slots_end = s;
    p->slots_end = &s->next;
    p->n_slots++;
    job_give(x, j);
    return 0;
}

/* Leaves that nobody wants, because they are there at the other side, but whose hashes
 * were lost here with the power: they are read one after the other for their hashes
 * alone. */
static int hash_rest(struct xfer *x, struct file *f)
{
    uint64_t leaves = file_leaves(f), leaf = 0;
    f->rest = f->rest && !file_ended(f) && f->n_have < leaves;
    if (!f->rest || f->hashing || !f->checked || f->retry_ms != 0 ||
        x->bufs[BUF_OUT] >= XFER_BUFFERS) {
        return 0;
    }
    while (leaf < leaves && bit_get(f->bits, leaf)) {
        leaf++;
    }
    struct xjob *j = job_new(x, XFER_JOB_READ, f);
    struct slot *s = calloc(1, sizeof *s);
    if (s == NULL || j == NULL || (s->buf = buf_take(x, BUF_OUT)) == NULL) {
        free(s);
        if (j != NULL) {
            job_free(j);
        }
        return ERR_NOMEM;
    }
    s->rest = f->hashing = true;
    s->number = (uint32_t)leaf;
    j->slot = s;
    j->j.buf = s->buf;
    j->j.leaf = s->number;
    j->j.len = f->r.kind == FILE_STREAM ? hashtree_leaf_len(f->r.size, leaf) : (size_t)0;
    job_give(x, j);
    return 0;
}

static int want_rest(struct xfer *x, struct file *f)
{
    f->rest = x->rests = true;
    return hash_rest(x, f);
}

static int all_rests(struct xfer *x)
{
    int err = 0;
    bool any = false;
    for (struct file *f = x->rests ? x->files : NULL; err == 0 && f != NULL;
         f = f->next) {
        err = f->rest ? hash_rest(x, f) : 0;
        any = any || f->rest;
    }
    x->rests = any;
    return err;
}

/* Beyond the end there is nothing: such leaves are asked for before the end was known. */
static bool beyond(const struct file *f, uint32_t leaf)
{
    return (f->r.flags & FILE_SIZED) != 0 && leaf >= hashtree_leaves(f->r.size);
}

/* Far more is read for a list than it has: a device gets one after the other. */
static bool list_under_way(const struct xpeer *p)
{
    const struct slot *s = p->slots;
    while (s != NULL && !s->list) {
        s = s->next;
    }
    return s != NULL;
}

/* Starts one read of a serve. *any when it did. */
static int serve_read(struct xfer *x, struct serve *v, bool *any)
{
    struct file *f = v->file;
    uint32_t leaf;
    *any = false;
    if (!f->checked && !file_incoming(f)) {
        return 0;
    }
    bool sealed = (f->r.flags & FILE_SEALED) != 0;
    if (v->n_lists > 0 && sealed && !file_incoming(f) && f->n_have < file_leaves(f)) {
        return want_rest(x, f); /* hashes were lost: the list comes behind them */
    }
    while (v->n_lists > 0 && sealed && !list_under_way(v->peer)) {
        uint32_t list = v->lists[0];
        memmove(v->lists, v->lists + 1, --v->n_lists * sizeof *v->lists);
        if (file_leaves(f) > 0 && list <= hashtree_blocks(file_leaves(f))) {
            *any = true;
            return read_one(x, v, true, list);
        }
    }
    while (next_leaf(v, &leaf)) {
        leaf_taken(v);
        if (!beyond(f, leaf)) {
            *any = true;
            return read_one(x, v, false, leaf);
        }
    }
    return 0;
}

/* One more read for a device, files in turn. */
static int peer_read(struct xfer *x, struct xpeer *p, bool *any)
{
    struct serve **end = &p->serves;
    int err = 0;
    size_t n = 0;
    *any = false;
    for (struct serve *v = p->serves; v != NULL; v = v->next) {
        n++;
        end = &v->next;
    }
    for (; err == 0 && !*any && n > 0 && x->bufs[BUF_OUT] < XFER_BUFFERS; n--) {
        struct serve *v = p->serves;
        if (v->next != NULL) { /* it goes to the end of the queue */
            p->serves = v->next;
            *end = v;
            v->next = NULL;
            end = &v->next;
        }
        err = serve_read(x, v, any);
    }
    return err;
}

int put_pump(struct xfer *x)
{
    int err = 0;
    size_t n = 0, idle = 0, want = 0;
    for (const struct xpeer *p = x->peers; p != NULL; p = p->next) {
        n++;
        want += p->serves != NULL;
    }
    /* Links that stand still do not hold all buffers: some are left for the next one. */
    size_t ahead = XFER_BUFFERS / (want + 1);
    ahead = ahead < 1 ? 1 : ahead > XFER_AHEAD ? (size_t)XFER_AHEAD : ahead;
    struct xpeer *p = x->turn != NULL ? x->turn : x->peers;
    while (err == 0 && idle < n && x->bufs[BUF_OUT] < XFER_BUFFERS) {
        bool any = false;
        if (p->n_slots < ahead) {
            err = peer_read(x, p, &any);
        }
        idle = any ? 0 : idle + 1;
        p = p->next != NULL ? p->next : x->peers;
    }
    x->turn = p; /* who stands here has waited longest */
    return err == 0 ? all_rests(x) : err;
}

/* ---- links that stand still ---- */

static bool stands_still(const struct xpeer *p)
{
    return p->slots != NULL && p->slots->ready;
}

static uint64_t moved_ms(const struct xpeer *p)
{
    return p->filled_ms > p->ready_ms ? p->filled_ms : p->ready_ms;
}

/* Whether somebody waits for a buffer, who has none. */
static bool one_waits(const struct xfer *x)
{
    bool waits = false;
    for (const struct xpeer *p = x->peers; p != NULL; p = p->next) {
        waits = waits || (p->n_slots == 0 && p->serves != NULL);
    }
    return waits && x->bufs[BUF_OUT] >= XFER_BUFFERS;
}

/* What was read for links that do not take it makes room for others. */
int put_tick(struct xfer *x)
{
    int err = 0;
    bool waits = one_waits(x);
    for (struct xpeer *p = x->peers; waits && err == 0 && p != NULL; p = p->next) {
        bool still = stands_still(p) && moved_ms(p) + XFER_TURN_MS <= x->now_ms;
        while (still && err == 0 && p->slots != NULL) {
            struct serve *v = p->slots->serve;
            err = say_no(x, p, v->handle, FILE_NO_BUSY);
            serve_free(x, v);
        }
    }
    return err;
}

uint64_t put_deadline(const struct xfer *x)
{
    uint64_t at = XFER_NEVER;
    bool waits = one_waits(x);
    for (const struct xpeer *p = waits ? x->peers : NULL; p != NULL; p = p->next) {
        uint64_t turn = moved_ms(p) + XFER_TURN_MS;
        at = stands_still(p) && turn < at ? turn : at;
    }
    return at;
}

/* ---- sealing ---- */

int put_run(struct xfer *x, struct file *f)
{
    bool due = !file_incoming(f) && f->r.state == FILE_ACTIVE && f->checked &&
               (f->r.flags & (FILE_SIZED | FILE_SEALED)) == FILE_SIZED && !f->sealing &&
               f->retry_ms == 0 && f->n_have == file_leaves(f);
    struct xjob *j = due ? job_new(x, XFER_JOB_SEAL, f) : NULL;
    if (due && j == NULL) {
        return ERR_NOMEM;
    }
    if (due) {
        f->sealing = true;
        job_give(x, j);
    }
    return 0;
}

static int changed(struct xfer *x, struct txn *t, struct file *f)
{
    int err = file_say_end(x, f, FILE_END_CHANGED);
    return err == 0 ? file_end(x, t, f, FILE_CHANGED, EVENT_FILE_CHANGED, false) : err;
}

/* A source that changed or is gone ends the offer; what may pass is tried again. */
static int source_failed(struct xfer *x, struct txn *t, struct file *f,
                         const struct xfer_result *r)
{
    if (file_ended(f)) {
        return 0;
    }
    if (r->err == ERR_STALE || r->err == ERR_NOTFOUND) {
        return changed(x, t, f);
    }
    file_stuck(x, f, r->why, r->err);
    return put_stop(x, f, FILE_NO_FAILED);
}

static int checked(struct xfer *x, struct txn *t, struct file *f,
                   const struct xfer_result *r)
{
    f->checking = false;
    if (r->err != 0) {
        return source_failed(x, t, f, r);
    }
    f->checked = true;
    int err = file_bits_room(f, 8 * (uint64_t)r->n_bits);
    if (err == 0 && r->n_bits > 0) {
        memcpy(f->bits, r->bits, r->n_bits);
    }
    f->n_have = 0;
    for (uint64_t i = 0; err == 0 && i < f->n_bits; i++) {
        f->n_have += bit_get(f->bits, i);
    }
    return err == 0 ? put_run(x, f) : err;
}

static int sealed(struct xfer *x, struct txn *t, struct file *f,
                  const struct xfer_result *r)
{
    f->sealing = false;
    if (r->err != 0) {
        return source_failed(x, t, f, r);
    }
    struct xev *e = ev_new(x, XFER_EV_SAY);
    if (e == NULL) {
        return ERR_NOMEM;
    }
    e->e.conv = f->r.conv;
    e->e.body.kind = BODY_SEALED;
    e->e.body.size = f->r.size;
    memcpy(e->e.body.target, f->r.mid, sizeof e->e.body.target);
    memcpy(e->e.body.hash, r->hash, sizeof e->e.body.hash);
    memcpy(f->r.root, r->hash, sizeof f->r.root);
    f->r.flags |= FILE_SEALED;
    file_told(x, f);
    return file_row(t, f);
}

/* A slot that nobody waits for any more is freed with its job. */
static int slot_read(struct xfer *x, struct txn *t, struct xjob *j,
                     const struct xfer_result *r)
{
    struct slot *s = j->slot;
    struct file *f = j->file;
    j->slot = NULL;
    f->hashing = f->hashing && !s->rest;
    bool fresh = r->err == 0 && !s->list && !file_incoming(f) && !file_ended(f) &&
                 s->number < f->n_bits && !bit_get(f->bits, s->number);
    if (fresh) {
        bit_set(f->bits, s->number, true);
        f->n_have++;
    }
    if (s->serve == NULL) {
        bool failed = s->rest && r->err != 0;
        slot_free(x, s);
        if (failed) {
            return source_failed(x, t, f, r);
        }
    } else if (r->err == 0) {
        struct xpeer *p = s->serve->peer;
        p->ready_ms = p->slots == s ? x->now_ms : p->ready_ms;
        s->ready = true;
        s->len = r->len;
        memcpy(s->hash, r->hash, sizeof s->hash);
    } else {
        struct serve *v = s->serve;
        int err = say_no(x, v->peer, v->handle,
                         file_incoming(f) ? FILE_NO_GONE : FILE_NO_FAILED);
        serve_free(x, v); /* its slots with it, but for those that are being read */
        slot_free(x, s);
        return err == 0 && !file_incoming(f) ? source_failed(x, t, f, r) : err;
    }
    return fresh ? put_run(x, f) : 0;
}

int put_done(struct xfer *x, struct txn *t, struct xjob *j, const struct xfer_result *r)
{
    struct file *f = j->file;
    if (j->slot != NULL) {
        return slot_read(x, t, j, r);
    }
    if (file_ended(f)) {
        return 0;
    }
    return j->j.kind == XFER_JOB_CHECK ? checked(x, t, f, r) : sealed(x, t, f, r);
}

/* ---- going out ---- */

bool xfer_has_data(const struct xfer *x, uint32_t device, uint64_t now_ms)
{
    const struct xpeer *p = xpeer_get(x, device);
    return p != NULL && p->slots != NULL && p->slots->ready &&
           rate_next(&x->tx, now_ms) <= now_ms;
}

/* How much goes at once: what leaves in 5 to 20 ms. */
static size_t chunk_of(struct xpeer *p, uint64_t now_ms)
{
    uint64_t ms = now_ms - p->filled_ms;
    if (p->chunk == 0) {
        p->chunk = WIRE_FILE_CHUNK;
    } else if (ms > XFER_CHUNK_SLOW_MS) {
        p->chunk = p->chunk / 2 < XFER_CHUNK_MIN ? (size_t)XFER_CHUNK_MIN : p->chunk / 2;
    } else if (ms < XFER_CHUNK_FAST_MS) {
        p->chunk =
            p->chunk > WIRE_FILE_CHUNK / 2 ? (size_t)WIRE_FILE_CHUNK : p->chunk * 2;
    }
    p->filled_ms = now_ms;
    return p->chunk;
}

static void fill_leaf(struct slot *s, size_t chunk, struct wr *w)
{
    const struct serve *v = s->serve;
    if (!s->head_sent) {
        struct wire_file_leaf head = {
            .handle = v->handle, .leaf = s->number, .len = (uint32_t)s->len};
        memcpy(head.hash, s->hash, sizeof head.hash);
        size_t begin = wire_frame_begin(w, FRAME_FILE_LEAF);
        wire_file_leaf_put(w, &head);
        wire_frame_end(w, begin);
        s->head_sent = true;
    }
    size_t left = s->len - s->off;
    struct wire_file_data d = {.handle = v->handle,
                               .leaf = s->number,
                               .offset = (uint32_t)s->off,
                               .data = s->buf + s->off,
                               .len = left < chunk ? left : chunk};
    size_t begin = wire_frame_begin(w, FRAME_FILE_DATA);
    wire_file_data_put(w, &d);
    wire_frame_end(w, begin);
    s->off += d.len;
}

static void fill_list(struct slot *s, struct wr *w)
{
    size_t left = (s->len - s->off) / HASHTREE_HASH;
    struct wire_file_list v = {
        .handle = s->serve->handle,
        .list = s->number,
        .first = (uint32_t)(s->off / HASHTREE_HASH),
        .hashes = s->buf + s->off,
        .n = left < WIRE_FILE_LIST_MAX ? left : (size_t)WIRE_FILE_LIST_MAX};
    size_t begin = wire_frame_begin(w, FRAME_FILE_LIST);
    wire_file_list_put(w, &v);
    wire_frame_end(w, begin);
    s->off += v.n * HASHTREE_HASH;
}

/* A serve that has given all goes, so that its handle does not count any more. */
static void serve_settle(struct xfer *x, struct serve *v)
{
    bool read = false;
    for (const struct slot *s = v->peer->slots; s != NULL; s = s->next) {
        read = read || s->serve == v;
    }
    if (!read && v->n_q == 0 && v->n_lists == 0) {
        serve_free(x, v);
    }
}

bool xfer_fill(struct xfer *x, uint32_t device, struct wr *w, uint64_t now_ms)
{
    struct xpeer *p = xpeer_get(x, device);
    struct slot *s = p == NULL ? NULL : p->slots;
    xfer_enter(x, now_ms);
    if (s == NULL || !s->ready || !rate_may(&x->tx, now_ms)) {
        return false;
    }
    size_t before = w->len;
    if (s->list) {
        fill_list(s, w);
    } else {
        fill_leaf(s, chunk_of(p, now_ms), w);
    }
    rate_spend(&x->tx, w->len - before, now_ms);
    s->serve->file->bytes += w->len - before;
    file_touch(x, s->serve->file);
    if (s->off == s->len) {
        p->slots = s->next;
        p->slots_end = p->slots == NULL ? &p->slots : p->slots_end;
        p->n_slots--;
        struct serve *v = s->serve;
        p->ready_ms = now_ms;
        slot_free(x, s);
        serve_settle(x, v);
        (void)put_pump(x); /* without memory: the next call of anything tries again */
    }
    return true;
}

/* ---- what others tell ---- */

int put_state(struct xfer *x, struct txn *t, struct file *f, struct xpeer *p,
              const struct wire_file_state *v)
{
    bool held = v->state == FILE_WORD_PAUSED || v->state == FILE_WORD_STUCK;
    if (file_ended(f)) {
        return 0;
    }
    /* Who has some of it has begun, also where a kill took the note of that. */
    int err =
        v->leaves > 0 && why_not(f) != FILE_NO_GONE ? begun(x, t, f, p->contact) : 0;
    struct taker *k = file_taker(f, p->contact, false);
    if (k != NULL) {
        k->r.leaves = v->leaves;
        k->held = held;
    }
    file_told(x, f);
    if (err != 0 || held) {
        return err == 0 ? put_stop_peer(x, f, p, false, 0) : err;
    }
    /* Who has all of it waits for it to be sealed; of an empty one nothing is wanted. */
    if (v->state != FILE_WORD_ACTIVE || v->leaves < file_leaves(f) ||
        (f->r.flags & (FILE_SIZED | FILE_SEALED)) != FILE_SIZED) {
        return 0;
    }
    err = f->checked ? put_run(x, f) : check(x, f);
    return err == 0 ? want_rest(x, f) : err;
}

int put_tell(struct xfer *x, struct file *f)
{
    enum file_word word =
        (f->r.flags & FILE_PAUSED) != 0 ? FILE_WORD_PAUSED : FILE_WORD_ACTIVE;
    int err = 0;
    for (struct xpeer *p = x->peers; err == 0 && p != NULL; p = p->next) {
        const struct taker *k = file_taker(f, p->contact, false);
        if (conv_has_contact(f->conv, p->contact) && (k == NULL || k->r.end == 0)) {
            err = state_send(x, f, p, word, f->n_have);
        }
    }
    return err;
}

static uint8_t end_event(uint64_t end)
{
    return end == FILE_END_RECEIVED   ? EVENT_FILE_DONE
           : end == FILE_END_DECLINED ? EVENT_FILE_DECLINED
           : end == FILE_END_BROKEN   ? EVENT_FILE_BROKEN
                                      : EVENT_FILE_STOPPED;
}

static enum file_state end_state(const struct file *f, uint64_t end)
{
    if (f->conv->n > 2) {
        return FILE_DONE;
    }
    return end == FILE_END_RECEIVED   ? FILE_DONE
           : end == FILE_END_DECLINED ? FILE_DECLINED
           : end == FILE_END_BROKEN   ? FILE_BROKEN
                                      : FILE_STOPPED;
}

/* A contact has done with a file of ours. */
int put_end_told(struct xfer *x, struct txn *t, struct file *f, uint32_t contact,
                 uint64_t end)
{
    struct taker *k = file_ended(f) ? NULL : file_taker(f, contact, true);
    if (file_ended(f) || (k != NULL && k->r.end != 0)) {
        return 0;
    }
    if (k == NULL) {
        return ERR_NOMEM;
    }
    k->r.end =
        (uint8_t)(end >= FILE_END_DECLINED && end <= FILE_END_BROKEN ? end
                                                                     : FILE_END_STOPPED);
    k->r.leaves = end == FILE_END_RECEIVED ? file_leaves(f) : k->r.leaves;
    int err = file_peer_row(t, &k->r);
    if (err == 0) {
        err = file_event(t, f, end_event(k->r.end), contact);
    }
    for (struct xpeer *p = x->peers; err == 0 && p != NULL; p = p->next) {
        err = p->contact == contact ? put_stop_peer(x, f, p, false, 0) : 0;
    }
    file_told(x, f);
    waits_changed(x);
    for (size_t i = 0; i < f->conv->n; i++) {
        uint32_t c = f->conv->v[i].contact;
        const struct taker *o = c == 0 ? NULL : file_taker(f, c, false);
        if (c != 0 && (o == NULL || o->r.end == 0)) {
            return err; /* others go on */
        }
    }
    return err == 0 ? file_end(x, t, f, end_state(f, k->r.end), 0, false) : err;
}
