/* Files: links, jobs, buffers, ends, time. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "xfer_priv.h"

/* ---- buffers ---- */

uint8_t *buf_take(struct xfer *x, enum buf_kind kind)
{
    unsigned *used = &x->bufs[kind];
    unsigned most = kind == BUF_STREAM ? (unsigned)XFER_STREAM_WINDOW : XFER_BUFFERS;
    if (*used >= most) {
        return NULL;
    }
    uint8_t *b = x->n_pool > 0 ? x->pool[--x->n_pool] : malloc(HASHTREE_LEAF);
    *used += b != NULL;
    return b;
}

void buf_give(struct xfer *x, uint8_t *buf, enum buf_kind kind)
{
    if (buf == NULL) {
        return;
    }
    x->bufs[kind]--;
    x->pool[x->n_pool++] = buf;
    x->pool_ms = x->now_ms + XFER_POOL_MS;
}

/* ---- the rate limit ---- */

static double burst(const struct rate *r)
{
    double b = (double)r->per_s * XFER_BURST_MS / 1000;
    return b < WIRE_FILE_CHUNK ? WIRE_FILE_CHUNK : b;
}

static void refill(struct rate *r, uint64_t now_ms)
{
    r->tokens += (double)(now_ms - r->at_ms) * (double)r->per_s / 1000;
    r->tokens = r->tokens > burst(r) ? burst(r) : r->tokens;
    r->at_ms = now_ms;
}

bool rate_may(struct rate *r, uint64_t now_ms)
{
    if (r->per_s == 0) {
        return true;
    }
    refill(r, now_ms);
    return r->tokens > 0;
}

/* More than there is may be spent at once: it is paid for afterwards. */
void rate_spend(struct rate *r, uint64_t n, uint64_t now_ms)
{
    if (r->per_s != 0) {
        refill(r, now_ms);
        r->tokens -= (double)n;
    }
}

void rate_return(struct rate *r, uint64_t n)
{
    if (r->per_s != 0) {
        r->tokens += (double)n;
    }
}

bool rate_short(const struct rate *r)
{
    return r->per_s != 0 && r->tokens <= 0;
}

uint64_t rate_next(const struct rate *r, uint64_t now_ms)
{
    if (!rate_short(r)) {
        return now_ms;
    }
    return r->at_ms + 1 + (uint64_t)(-r->tokens * 1000 / (double)r->per_s);
}

void xfer_limit(struct xfer *x, uint64_t rate, uint64_t now_ms)
{
    struct rate *both[] = {&x->tx, &x->rx};
    xfer_enter(x, now_ms);
    for (size_t i = 0; i < 2; i++) {
        both[i]->per_s = rate;
        both[i]->at_ms = now_ms;
        both[i]->tokens = 0;
    }
    x->room = true; /* who waited for the limit looks again */
}

/* ---- jobs ---- */

static bool text_copy(char **out, const struct blob *b)
{
    *out = b->n > 0 ? strdup(text_of(b)) : NULL;
    return b->n == 0 || *out != NULL;
}

struct xjob *job_new(struct xfer *x, enum xfer_job_kind kind, struct file *f)
{
    struct xjob *j = calloc(1, sizeof *j);
    if (j == NULL) {
        return NULL;
    }
    j->j.id = ++x->next_job;
    j->j.kind = kind;
    j->file = f;
    if (f != NULL) {
        j->j.incoming = file_incoming(f);
        j->j.file_kind = f->r.kind;
        file_kept_key(f, j->j.key);
        j->j.exec = (f->r.flags & FILE_EXEC) != 0;
        j->j.pipe = (f->r.flags & FILE_PIPE) != 0;
        j->j.sized = (f->r.flags & FILE_SIZED) != 0;
        j->j.size = f->r.size;
        j->j.head = f->r.head;
        j->j.count = f->r.count;
        j->j.dest = text_of(&f->r.dest);
        memcpy(j->j.hash, f->r.root, sizeof j->j.hash);
        if (!text_copy(&j->path, &f->r.path) || !text_copy(&j->name, &f->r.name)) {
            job_free(j);
            return NULL;
        }
        j->j.path = j->path;
        j->j.name = j->name;
    }
    return j;
}

void job_give(struct xfer *x, struct xjob *j)
{
    struct xev *e = ev_new(x, XFER_EV_JOB);
    if (e == NULL) {
        return; /* the event queue's memory is gone: the node ends */
    }
    if (j->file != NULL) {
        j->file->jobs++;
    }
    j->next = x->jobs;
    x->jobs = j;
    e->e.job = &j->j;
}

static struct xjob *job_take(struct xfer *x, uint64_t id)
{
    for (struct xjob **at = &x->jobs; *at != NULL; at = &(*at)->next) {
        if ((*at)->j.id == id) {
            struct xjob *j = *at;
            *at = j->next;
            return j;
        }
    }
    return NULL;
}

static int job_route(struct xfer *x, struct txn *t, struct xjob *j,
                     const struct xfer_result *r)
{
    switch (j->j.kind) {
    case XFER_JOB_SCAN:
        return scan_done(x, j, r);
    case XFER_JOB_CHECK:
    case XFER_JOB_READ:
    case XFER_JOB_SEAL:
    case XFER_JOB_LIST:
        return put_done(x, t, j, r);
    case XFER_JOB_OPEN:
    case XFER_JOB_WRITE:
    case XFER_JOB_SYNC:
    case XFER_JOB_TREE:
    case XFER_JOB_ROOT:
    case XFER_JOB_KEEP:
    case XFER_JOB_FINISH:
        return get_done(x, t, j, r);
    case XFER_JOB_DROP:
    case XFER_JOB_FORGET:
        break;
    }
    return 0;
}

int xfer_done(struct xfer *x, struct txn *t, const struct xfer_result *r, uint64_t now_ms)
{
    struct xjob *j = job_take(x, r->id);
    xfer_enter(x, now_ms);
    if (j == NULL) {
        return 0;
    }
    struct file *f = j->file;
    if (f != NULL) {
        f->jobs--;
    }
    int err = job_route(x, t, j, r);
    job_free(j);
    if (f != NULL) {
        file_free_if_over(x, f);
    }
    return err == 0 ? put_pump(x) : err;
}

void file_stuck(struct xfer *x, struct file *f, const char *why, int err)
{
    size_t n = strnlen(why != NULL ? why : "", sizeof f->why - 1);
    get_stop(x, f); /* who hears of it forgets what we asked for */
    f->retry_ms = x->now_ms + XFER_RETRY_MS;
    memset(f->why, 0, sizeof f->why);
    if (n > 0) {
        memcpy(f->why, why, n);
    } else {
        const char *s = err_str(err);
        memcpy(f->why, s, strnlen(s, sizeof f->why - 1));
    }
    file_told(x, f);
}

/* ---- ends ---- */

static int job_last(struct xfer *x, struct file *f, enum xfer_job_kind kind)
{
    struct xjob *j = job_new(x, kind, f);
    if (j == NULL) {
        return ERR_NOMEM;
    }
    job_give(x, j);
    return 0;
}

int file_drop(struct xfer *x, struct file *f)
{
    return job_last(x, f, XFER_JOB_DROP);
}

/* Piped files that are not shown any more soon (ended_shown) are not kept either. */
static int spools_go(struct xfer *x, struct txn *t)
{
    size_t n = x->n_ended_shown > XFER_SHOWN ? x->n_ended_shown - XFER_SHOWN : 0;
    int err = 0;
    for (const struct file *f = x->files; err == 0 && f != NULL && n > 0; f = f->next) {
        err = file_piped(&f->r) ? xfer_piped(x, t, f->r.id, x->now_ms) : 0;
        n -= file_ended(f);
    }
    return err;
}

int file_end(struct xfer *x, struct txn *t, struct file *f, enum file_state state,
             uint8_t event, bool drop)
{
    bool began = f->get != NULL || f->r.path.n > 0 || !file_incoming(f);
    bool first = !file_ended(f);
    int err = put_stop(x, f, FILE_NO_GONE);
    get_free(x, f);
    f->r.state = (uint8_t)state;
    f->r.ended_ms = env_wall_ms(x->env);
    f->why[0] = '\0';
    /* Others of a group may want it, or whoever reads a piped one (xfer_piped). */
    bool wanted = f->conv->n > 2 || (f->r.flags & FILE_PIPE) != 0;
    bool kept = file_incoming(f) && state == FILE_DONE && wanted;
    if (err == 0 && began && !kept) {
        err = job_last(x, f, drop ? XFER_JOB_DROP : XFER_JOB_FORGET);
    }
    if (err == 0) {
        err = file_row(t, f);
    }
    if (err == 0 && first) {
        err = file_incoming(f) ? file_bits_gone(t, f) : 0;
        x->n_open--;
        x->n_ended_shown++;
        err = err == 0 ? spools_go(x, t) : err;
    }
    if (err == 0 && event != 0) {
        uint32_t contact = file_incoming(f) ? f->r.author : 0;
        err = file_event(t, f, event, contact);
    }
    file_told(x, f);
    waits_changed(x);
    return err;
}

void file_told(struct xfer *x, struct file *f)
{
    f->tell = true;
    file_touch(x, f);
}

/* ---- when a file has to be looked at ---- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* When a file has to be looked at next. A time that has passed counts until a tick has
 * looked: what finds it out in between does not lose it. */
static uint64_t file_due(const struct xfer *x, const struct file *f)
{
    uint64_t at = rate_deadline(f);
    if (file_ended(f)) {
        return at;
    }
    at = f->retry_ms != 0 ? earlier(at, f->retry_ms) : at;
    return f->get != NULL ? earlier(at, get_deadline(x, f)) : at;
}

void file_touch(struct xfer *x, struct file *f)
{
    if (f->touched || f->over) {
        return;
    }
    f->touched = true;
    f->touched_prev = NULL;
    f->touched_next = x->touched;
    if (x->touched != NULL) {
        x->touched->touched_prev = f;
    }
    x->touched = f;
}

static void touch_end(struct xfer *x, struct file *f)
{
    if (!f->touched) {
        return;
    }
    f->touched = false;
    *(f->touched_prev != NULL ? &f->touched_prev->touched_next : &x->touched) =
        f->touched_next;
    if (f->touched_next != NULL) {
        f->touched_next->touched_prev = f->touched_prev;
    }
}

void file_untouch(struct xfer *x, struct file *f)
{
    touch_end(x, f);
    deadlines_remove(&x->due, &f->due);
}

/* Finds out the times of those that were touched. Without memory they stay so. */
static void times_settle(struct xfer *x)
{
    for (struct file *f = x->touched, *next; f != NULL; f = next) {
        next = f->touched_next;
        f->due.owner = f;
        get_count(x, f);
        if (deadlines_set(&x->due, &f->due, file_due(x, f)) == 0) {
            touch_end(x, f);
        }
    }
}

/* ---- whom a link is wanted to ---- */

void waits_changed(struct xfer *x)
{
    x->waits_dirty = true;
}

static void want_one(struct xfer *x, uint32_t device, uint32_t contact)
{
    for (size_t i = 0; i < x->n_waits; i++) {
        if (x->waits[i].device == device && x->waits[i].contact == contact) {
            x->waits[i].now = true;
            return;
        }
    }
    struct want_link *v = reallocarray(x->waits, x->n_waits + 1, sizeof *v);
    if (v != NULL) { /* else the next change tries again */
        x->waits = v;
        v[x->n_waits++] = (struct want_link){device, contact, false, true};
    }
}

static void waits_of(struct xfer *x, const struct file *f)
{
    if (file_ended(f) || f->r.state != FILE_ACTIVE || (f->r.flags & FILE_PAUSED) != 0) {
        return;
    }
    if (file_incoming(f)) {
        if (f->retry_ms <= x->now_ms) {
            want_one(x, f->r.device, f->r.author);
        }
        return;
    }
    for (size_t i = 0; i < f->n_takers; i++) { /* who has begun to take it */
        if (f->takers[i].r.end == 0) {
            want_one(x, 0, f->takers[i].r.contact);
        }
    }
}

static void waits_run(struct xfer *x)
{
    size_t kept = 0;
    x->waits_dirty = false;
    for (size_t i = 0; i < x->n_waits; i++) {
        x->waits[i].now = false;
    }
    for (const struct file *f = x->files; f != NULL; f = f->next) {
        waits_of(x, f);
    }
    for (size_t i = 0; i < x->n_waits; i++) {
        struct want_link *w = &x->waits[i];
        if (w->on != w->now) {
            struct xev *e = ev_new(x, XFER_EV_WAITS);
            if (e != NULL) {
                e->e.device = w->device;
                e->e.contact = w->contact;
                e->e.waits = w->now;
            }
            w->on = w->now;
        }
        if (w->on) {
            x->waits[kept++] = *w;
        }
    }
    x->n_waits = kept;
}

bool xfer_next_event(struct xfer *x, struct xfer_event *ev)
{
    if (x->ev_now != NULL) {
        scan_free(x->ev_now->scan);
        free(x->ev_now);
    }
    if (x->ev_first == NULL) { /* nobody holds a file now */
        ended_shown(x);
    }
    if (x->ev_first == NULL && x->waits_dirty && x->started) {
        waits_run(x);
    }
    if (x->ev_first == NULL) {
        times_settle(x);
    }
    x->ev_now = x->ev_first;
    if (x->ev_now == NULL) {
        return false;
    }
    x->ev_first = x->ev_now->next;
    x->ev_last = x->ev_first == NULL ? NULL : x->ev_last;
    *ev = x->ev_now->e;
    return true;
}

/* ---- links ---- */

struct xpeer *xpeer_get(const struct xfer *x, uint32_t device)
{
    return map_get(&x->peer_by_device, &device);
}

int xfer_peer_up(struct xfer *x, struct txn *t, uint32_t device, uint32_t contact,
                 uint64_t now_ms)
{
    struct xpeer *p = calloc(1, sizeof *p);
    xfer_enter(x, now_ms);
    int err = p == NULL ? ERR_NOMEM : map_put(&x->peer_by_device, &device, p);
    if (err != 0) {
        free(p);
        return err == ERR_EXISTS ? 0 : err;
    }
    p->device = device;
    p->contact = contact;
    p->slots_end = &p->slots;
    p->next = x->peers;
    x->peers = p;
    for (struct file *f = x->files; err == 0 && f != NULL; f = f->next) {
        if (!conv_has_contact(f->conv, contact)) {
            continue;
        }
        if (file_incoming(f)) {
            err = get_peer_up(x, t, f, p);
        } else if (!file_ended(f)) {
            err = put_tell(x, f);
        }
        file_told(x, f);
    }
    return err;
}

void xfer_peer_down(struct xfer *x, uint32_t device, uint64_t now_ms)
{
    struct xpeer *p = map_del(&x->peer_by_device, &device);
    xfer_enter(x, now_ms);
    if (p == NULL) {
        return;
    }
    for (struct file *f = x->files; f != NULL; f = f->next) {
        if (file_incoming(f) && f->get != NULL) {
            get_peer_down(x, f, p);
        }
        if (conv_has_contact(f->conv, p->contact)) {
            file_told(x, f);
        }
    }
    put_peer_down(x, p);
    for (struct xpeer **at = &x->peers; *at != NULL; at = &(*at)->next) {
        if (*at == p) {
            *at = p->next;
            break;
        }
    }
    x->turn = x->turn == p ? NULL : x->turn;
    free(p);
}

void source_name(struct xfer *x, struct source *s)
{
    source_unname(x, s);
    s->handle = ++x->next_handle;
    /* Without memory nothing is heard of it, until it is asked anew. */
    (void)map_put(&x->source_by_handle, &s->handle, s);
}

void source_unname(struct xfer *x, const struct source *s)
{
    if (map_get(&x->source_by_handle, &s->handle) == s) {
        (void)map_del(&x->source_by_handle, &s->handle);
    }
}

struct source *source_named(const struct xfer *x, const struct xpeer *p, uint32_t handle)
{
    struct source *s = map_get(&x->source_by_handle, &handle);
    return s != NULL && s->peer == p ? s : NULL;
}

/* The file that a frame names, when its sender is in the conversation. */
struct file *file_named(const struct xfer *x, const struct xpeer *p,
                        const uint8_t author[WIRE_ID], const uint8_t mid[WIRE_MID])
{
    const struct xroot *r = map_get(&x->contact_by_root, author);
    struct file *f = r == NULL ? NULL : file_by_key(x, r->contact, mid);
    bool theirs = f != NULL && conv_has_contact(f->conv, p->contact) &&
                  conv_contact(f->conv, author) == f->r.author;
    return theirs ? f : NULL;
}

static int recv_state(struct xfer *x, struct txn *t, struct xpeer *p, const uint8_t *b,
                      size_t len)
{
    struct wire_file_state v;
    if (!wire_file_state_get(b, len, &v)) {
        return ERR_FORMAT;
    }
    struct file *f = file_named(x, p, v.author, v.mid);
    if (f == NULL) {
        return 0;
    }
    return file_incoming(f) ? get_state(x, t, f, p, &v) : put_state(x, t, f, p, &v);
}

static int recv_want(struct xfer *x, struct txn *t, struct xpeer *p, const uint8_t *b,
                     size_t len)
{
    struct wire_file_want v;
    return wire_file_want_get(b, len, &v) ? put_want(x, t, p, &v) : ERR_FORMAT;
}

static int recv_no(struct xfer *x, struct txn *t, struct xpeer *p, const uint8_t *b,
                   size_t len)
{
    struct wire_file_no v;
    return wire_file_no_get(b, len, &v) ? get_no(x, t, p, &v) : ERR_FORMAT;
}

int xfer_recv(struct xfer *x, struct txn *t, uint32_t device, uint8_t type,
              const uint8_t *b, size_t len, uint64_t now_ms)
{
    struct xpeer *p = xpeer_get(x, device);
    int err = 0;
    xfer_enter(x, now_ms);
    if (p == NULL) {
        return 0;
    }
    switch (type) {
    case FRAME_FILE_WANT:
        err = recv_want(x, t, p, b, len);
        break;
    case FRAME_FILE_STATE:
        err = recv_state(x, t, p, b, len);
        break;
    case FRAME_FILE_NO:
        err = recv_no(x, t, p, b, len);
        break;
    case FRAME_FILE_LEAF:
        err = get_leaf(x, t, p, b, len);
        break;
    case FRAME_FILE_DATA:
        return get_data(x, t, p, b, len);
    case FRAME_FILE_LIST:
        err = get_list(x, t, p, b, len);
        break;
    default: /* of a later version */
        return 0;
    }
    return err == 0 ? put_pump(x) : err;
}

/* ---- time ---- */

static void pool_tick(struct xfer *x)
{
    if (x->n_pool > 0 && x->pool_ms <= x->now_ms) {
        while (x->n_pool > 0) {
            free(x->pool[--x->n_pool]);
        }
    }
}

void gets_add(struct xfer *x, struct file *f)
{
    f->gets_next = NULL;
    f->gets_prev = x->gets_last;
    *(x->gets_last != NULL ? &x->gets_last->gets_next : &x->gets) = f;
    x->gets_last = f;
}

void gets_del(struct xfer *x, struct file *f)
{
    *(f->gets_prev != NULL ? &f->gets_prev->gets_next : &x->gets) = f->gets_next;
    *(f->gets_next != NULL ? &f->gets_next->gets_prev : &x->gets_last) = f->gets_prev;
    f->gets_next = f->gets_prev = NULL;
}

static int file_tick(struct xfer *x, struct txn *t, struct file *f)
{
    int err = 0;
    rate_tick(x, f);
    if (file_ended(f)) {
        return 0;
    }
    if (f->retry_ms != 0 && f->retry_ms <= x->now_ms) {
        f->retry_ms = 0;
        f->why[0] = '\0';
        waits_changed(x);
        err = file_incoming(f) ? 0 : put_run(x, f);
    }
    return err == 0 && file_incoming(f) ? get_tick(x, t, f) : err;
}

/* Those whose time has come, and when there is room again whoever waits for it. */
static int files_tick(struct xfer *x, struct txn *t)
{
    bool room = x->room;
    struct deadline *d;
    int err = 0;
    x->room = false;
    times_settle(x);
    while (err == 0 && (d = deadlines_pop(&x->due, x->now_ms)) != NULL) {
        struct file *f = d->owner;
        file_touch(x, f); /* its next time is set below, so that each comes once */
        err = file_tick(x, t, f);
    }
    return err == 0 && room ? get_ask_room(x, t) : err;
}

int xfer_tick(struct xfer *x, struct txn *t, uint64_t now_ms)
{
    xfer_enter(x, now_ms);
    pool_tick(x);
    (void)rate_may(&x->rx, now_ms); /* what there is of it now */
    int err = files_tick(x, t);
    if (err == 0) {
        get_make_room(x);
        err = put_tick(x);
    }
    times_settle(x);
    return err == 0 ? put_pump(x) : err;
}

uint64_t xfer_deadline(const struct xfer *x)
{
    uint64_t at = earlier(deadlines_next(&x->due), x->room ? x->now_ms : XFER_NEVER);
    at = x->n_pool > 0 ? earlier(at, x->pool_ms) : at;
    at = earlier(at, earlier(get_room_deadline(x), put_deadline(x)));
    for (const struct file *f = x->touched; f != NULL; f = f->touched_next) {
        at = earlier(at, file_due(x, f));
    }
    for (const struct xpeer *p = x->tx.per_s == 0 ? NULL : x->peers; p != NULL;
         p = p->next) {
        uint64_t next = rate_next(&x->tx, x->now_ms);
        bool waits = p->slots != NULL && p->slots->ready && next > x->now_ms;
        at = waits ? earlier(at, next) : at; /* else it waits for its link */
    }
    return at;
}
