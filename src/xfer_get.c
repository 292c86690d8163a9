/* Files that come in: opening and writing the part, asking for leaves, ends. What sources
 * send is judged in xfer_take.c. */
#include <stdlib.h>
#include <string.h>

#include "xfer_priv.h"

/* ---- what is missing ---- */

static bool leaf_asked(const struct get *g, uint64_t leaf)
{
    for (size_t i = 0; i < g->n_asks; i++) {
        if (g->asks[i].leaf == leaf) {
            return true;
        }
    }
    return false;
}

/* Up to which leaf there is something to ask for now. */
static uint64_t ask_limit(const struct file *f)
{
    if (f->r.kind == FILE_FOLDER && !f->get->tree) {
        return hashtree_leaves(f->r.head);
    }
    uint64_t n = file_leaves(f);
    return n < HASHTREE_LEAVES_MAX ? n : (uint64_t)HASHTREE_LEAVES_MAX;
}

/* The first leaf that is neither there nor asked for; the limit: none. */
static uint64_t next_missing(struct file *f)
{
    struct get *g = f->get;
    uint64_t limit = ask_limit(f), i = g->first_missing;
    while (i < limit && i < f->n_bits && bit_get(f->bits, i)) {
        i++;
    }
    g->first_missing = i;
    while (i < limit && ((i < f->n_bits && bit_get(f->bits, i)) || leaf_asked(g, i))) {
        i++;
    }
    return i;
}

static bool all_there(const struct file *f, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        if (i >= f->n_bits || !bit_get(f->bits, i)) {
            return false;
        }
    }
    return true;
}

/* ---- asking ---- */

static bool can_ask(const struct source *s)
{
    return s->usable && !s->liar && !s->gone && !s->slow && !s->paused;
}

static bool is_origin(const struct source *s)
{
    return s->peer->device == s->file->r.device;
}

/* Whether hashes have to come from lists: the root did not fit, or others than the
 * offering device are asked as well. */
static bool by_lists(const struct get *g)
{
    bool others = false;
    for (const struct source *s = g->sources; s != NULL; s = s->next) {
        others = others || (can_ask(s) && !is_origin(s));
    }
    return g->strict || others;
}

struct hashes *get_hashes(const struct get *g, uint32_t block)
{
    for (size_t i = 0; i < XFER_LISTS; i++) {
        if (g->lists[i] != NULL && g->lists[i]->ok && g->lists[i]->block == block) {
            return g->lists[i];
        }
    }
    return NULL;
}

/* The one with the least under way. */
static struct source *pick(const struct get *g)
{
    struct source *best = NULL;
    for (struct source *s = g->sources; s != NULL; s = s->next) {
        if (can_ask(s) && (best == NULL || s->under_way < best->under_way)) {
            best = s;
        }
    }
    return best;
}

static int want(struct xfer *x, const struct source *s, const struct wire_file_want *v)
{
    uint8_t buf[XFER_FRAME_MAX];
    struct wr w = wr_init(buf, sizeof buf);
    struct wire_file_want full = *v;
    memcpy(full.author, file_author_root(s->file), sizeof full.author);
    memcpy(full.mid, s->file->r.mid, sizeof full.mid);
    full.handle = s->handle;
    wire_file_want_put(&w, &full);
    return xout_add(x, s->peer->device, FRAME_FILE_WANT, &w);
}

/* Asks for a list, one at a time. */
static int want_list(struct xfer *x, struct file *f, struct source *s, uint32_t list)
{
    struct get *g = f->get;
    struct wire_file_want v = {.n_lists = 1, .lists = {list}};
    if (g->list_asked != 0) {
        return 0;
    }
    g->list_asked = 1 + list;
    g->list_from = s;
    s->heard_ms = x->now_ms;
    return want(x, s, &v);
}

/* True when the hashes of the block's leaves are known; else asks for what is missing. */
static int have_lists(struct xfer *x, struct file *f, struct source *s, uint32_t block,
                      bool *there)
{
    *there = get_hashes(f->get, block) != NULL;
    if (*there) {
        return 0;
    }
    return want_list(x, f, s, f->get->top_ok ? block + 1 : 0);
}

/* A stream whose end is not known: a leaf of it comes when it has been written at the
 * other side, which may be never. Nobody else waits behind it. */
static bool open_stream(const struct file *f)
{
    return f->r.kind == FILE_STREAM && (f->r.flags & FILE_SIZED) == 0;
}

/* Leaves that are asked for or being written and have their buffers. */
static size_t all_asks(const struct xfer *x)
{
    size_t n = 0;
    for (const struct file *f = x->files; f != NULL; f = f->next) {
        n += f->get != NULL && !open_stream(f) ? f->get->n_asks : 0;
    }
    return n;
}

/* How many leaves a file may have under way: buffers are shared. */
static size_t window(const struct xfer *x, const struct file *of)
{
    size_t n = 0;
    if (open_stream(of)) {
        return XFER_STREAM_WINDOW;
    }
    for (const struct file *f = x->files; f != NULL; f = f->next) {
        n += f->get != NULL && f->get->step == GET_OPEN && f->retry_ms == 0 &&
             !open_stream(f) && (f->r.flags & FILE_PAUSED) == 0 && pick(f->get) != NULL;
    }
    size_t share = n == 0 ? XFER_WINDOW : XFER_BUFFERS / n;
    return share < 1 ? 1 : share > XFER_WINDOW ? (size_t)XFER_WINDOW : share;
}

static int want_leaf(struct xfer *x, struct file *f, struct source *s, uint32_t leaf)
{
    struct get *g = f->get;
    struct wire_file_want v = {.n_ranges = 1, .ranges = {{leaf, 1}}};
    g->asks[g->n_asks++] = (struct ask){leaf, s};
    if (s->under_way++ == 0) {
        s->heard_ms = x->now_ms;
    }
    rate_spend(&x->rx, HASHTREE_LEAF, x->now_ms);
    return want(x, s, &v);
}

static int ask(struct xfer *x, struct file *f)
{
    struct get *g = f->get;
    size_t may = window(x, f), all = open_stream(f) ? 0 : all_asks(x);
    bool lists = (f->r.flags & FILE_SEALED) != 0 && by_lists(g), there = true;
    int err = 0;
    while (err == 0 && g->n_asks < may && all++ < XFER_BUFFERS &&
           rate_may(&x->rx, x->now_ms)) {
        uint64_t leaf = next_missing(f);
        struct source *s = pick(g);
        if (s == NULL || leaf >= ask_limit(f)) {
            break;
        }
        if (lists) {
            err = have_lists(x, f, s, (uint32_t)(leaf / HASHTREE_FANOUT), &there);
        }
        if (err != 0 || !there) {
            break;
        }
        err = want_leaf(x, f, s, (uint32_t)leaf);
    }
    return err;
}

int get_ask_all(struct xfer *x, struct txn *t, struct file *f)
{
    int err = 0;
    for (struct file *k = f->next; err == 0 && k != f;
         k = k == NULL ? x->files : k->next) {
        if (k != NULL && k->get != NULL && k->get->n_asks == 0) {
            err = get_run(x, t, k);
        }
    }
    return err == 0 ? get_run(x, t, f) : err;
}

/* ---- asks that end ---- */

static void intake_drop(struct xfer *x, struct source *s)
{
    buf_give(x, s->in.buf, true);
    s->in = (struct intake){0};
}

/* Nothing of what was asked of this source is waited for any more. What is on its way
 * comes under the old handle, and is not taken for an answer to what is asked next. */
void source_release(struct xfer *x, struct source *s)
{
    struct get *g = s->file->get;
    if (s->under_way > 0 || s->in.on || g->list_from == s) {
        s->handle = ++x->next_handle;
    }
    for (size_t i = 0; i < g->n_asks;) {
        if (g->asks[i].source == s) {
            x->room = true;
            g->first_missing =
                g->asks[i].leaf < g->first_missing ? g->asks[i].leaf : g->first_missing;
            g->asks[i] = g->asks[--g->n_asks];
        } else {
            i++;
        }
    }
    if (g->list_from == s) {
        g->list_from = NULL;
        g->list_asked = 0;
        g->top_n = g->top_ok ? g->top_n : 0;
        for (size_t i = 0; i < XFER_LISTS; i++) { /* the next one begins with the first */
            if (g->lists[i] != NULL && !g->lists[i]->ok) {
                g->lists[i]->n = 0;
            }
        }
    }
    intake_drop(x, s);
    s->under_way = 0;
}

static void source_free(struct xfer *x, struct source *s)
{
    source_release(x, s);
    for (struct xjob *j = x->jobs; j != NULL; j = j->next) {
        j->source = j->source == s ? NULL : j->source;
    }
    struct xpeer *p = s->peer;
    for (struct source **at = &p->sources; *at != NULL; at = &(*at)->peer_next) {
        if (*at == s) {
            *at = s->peer_next;
            break;
        }
    }
    p->last = p->last == s ? NULL : p->last;
    free(s);
}

void get_peer_down(struct xfer *x, struct file *f, struct xpeer *p)
{
    for (struct source **at = &f->get->sources; *at != NULL;) {
        struct source *s = *at;
        if (s->peer == p) {
            *at = s->next;
            source_free(x, s);
        } else {
            at = &s->next;
        }
    }
}

void get_stop(struct xfer *x, struct file *f)
{
    for (struct source *s = f->get == NULL ? NULL : f->get->sources; s != NULL;
         s = s->next) {
        source_release(x, s);
    }
}

void get_free(struct xfer *x, struct file *f)
{
    struct get *g = f->get;
    if (g == NULL) {
        return;
    }
    while (g->sources != NULL) {
        struct source *s = g->sources;
        g->sources = s->next;
        source_free(x, s);
    }
    x->room = x->room || g->n_asks > 0;
    for (size_t i = 0; i < XFER_LISTS; i++) {
        free(g->lists[i]);
    }
    free(g->top);
    free(g->dirty);
    free(g->copies);
    free(g);
    f->get = NULL;
}

/* ---- sources ---- */

/* How it is here, told to who offered it. */
static int tell_origin(struct xfer *x, struct file *f, struct source *s)
{
    enum file_word word = (f->r.flags & FILE_PAUSED) != 0 ? FILE_WORD_PAUSED
                          : f->retry_ms != 0              ? FILE_WORD_STUCK
                                                          : FILE_WORD_ACTIVE;
    if (s->told_word == 1u + word && s->told_leaves == f->n_have) {
        return 0;
    }
    s->told_word = 1u + word;
    s->told_leaves = f->n_have;
    s->told_ms = x->now_ms;
    return state_send(x, f, s->peer, word, f->n_have);
}

static int source_new(struct xfer *x, struct file *f, struct xpeer *p)
{
    struct source *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return ERR_NOMEM;
    }
    s->file = f;
    s->peer = p;
    s->handle = ++x->next_handle;
    s->usable = p->device == f->r.device;
    s->next = f->get->sources;
    f->get->sources = s;
    s->peer_next = p->sources;
    p->sources = s;
    /* Others say whether they have it when they hear that we want it. */
    return s->usable ? tell_origin(x, f, s)
                     : state_send(x, f, p, FILE_WORD_ACTIVE, f->n_have);
}

int get_peer_up(struct xfer *x, struct txn *t, struct file *f, struct xpeer *p)
{
    if (f->get != NULL) {
        int err = source_new(x, f, p);
        return err == 0 ? get_run(x, t, f) : err;
    }
    if (f->r.state == FILE_OFFERED && p->device == f->r.device) {
        return state_send(x, f, p, FILE_WORD_ASKS, 0);
    }
    if (f->r.state == FILE_DONE && f->conv->n > 2) {
        return state_send(x, f, p, FILE_WORD_WHOLE, file_leaves(f));
    }
    return 0;
}

int get_begin(struct xfer *x, struct txn *t, struct file *f)
{
    int err = 0;
    if (f->get == NULL) {
        /* Not before: an offer may claim any size, and costs nothing. */
        bool sized = (f->r.flags & FILE_SIZED) != 0;
        err = file_bits_room(f, sized ? hashtree_leaves(f->r.size) : 0);
        f->get = err == 0 ? calloc(1, sizeof *f->get) : NULL;
        if (f->get == NULL) {
            return ERR_NOMEM;
        }
        for (struct xpeer *p = x->peers; err == 0 && p != NULL; p = p->next) {
            err = conv_has_contact(f->conv, p->contact) ? source_new(x, f, p) : 0;
        }
    }
    return err == 0 ? get_run(x, t, f) : err;
}

/* ---- going on ---- */

static int job_simple(struct xfer *x, struct file *f, enum xfer_job_kind kind,
                      enum get_step step)
{
    struct xjob *j = job_new(x, kind, f);
    if (j == NULL) {
        return ERR_NOMEM;
    }
    f->get->step = step;
    job_give(x, j);
    return 0;
}

static int open_part(struct xfer *x, struct file *f)
{
    struct xjob *j = job_new(x, XFER_JOB_OPEN, f);
    if (j == NULL) {
        return ERR_NOMEM;
    }
    j->j.bits = f->bits; /* not changed while the part is not open */
    j->j.n_bits = (size_t)(f->n_bits / 8);
    f->get->step = GET_OPENING;
    job_give(x, j);
    return 0;
}

static int start_sync(struct xfer *x, struct file *f)
{
    struct get *g = f->get;
    struct xjob *j = job_new(x, XFER_JOB_SYNC, f);
    size_t n = 0;
    for (size_t i = 0; i < 8 * g->n_dirty_bytes; i++) {
        n += bit_get(g->dirty, i);
    }
    g->copies = j == NULL ? NULL : calloc(n + 1, sizeof *g->copies);
    if (g->copies == NULL) {
        return ERR_NOMEM;
    }
    g->n_copies = 0;
    for (uint32_t i = 0; i < 8 * g->n_dirty_bytes; i++) {
        if (bit_get(g->dirty, i)) {
            struct block_bits *c = &g->copies[g->n_copies++];
            c->block = i;
            memcpy(c->bits, f->bits + (size_t)i * FILE_BITS, FILE_BITS);
        }
    }
    memset(g->dirty, 0, g->n_dirty_bytes);
    g->unsynced = 0;
    g->syncing = true;
    job_give(x, j);
    return 0;
}

static int maybe_sync(struct xfer *x, struct file *f, bool now)
{
    struct get *g = f->get;
    bool due = now || g->unsynced >= XFER_SYNC_LEAVES || g->sync_ms <= x->now_ms;
    return g->unsynced > 0 && due && !g->syncing ? start_sync(x, f) : 0;
}

/* A stream that was accepted by itself has become larger than that allows. */
static int too_large(struct xfer *x, struct txn *t, struct file *f)
{
    static const char why[] = "it is larger than what is accepted by itself";
    f->r.flags |= FILE_PAUSED;
    get_stop(x, f);
    memcpy(f->why, why, sizeof why);
    file_told(x, f);
    waits_changed(x);
    int err = file_row(t, f);
    return err == 0 ? file_event(t, f, EVENT_FILE_PAUSED, f->r.author) : err;
}

static int keep_next(struct xfer *x, struct file *f)
{
    struct get *g = f->get;
    struct source *s = pick(g);
    bool there = false;
    if (g->keep_job || s == NULL) {
        return 0;
    }
    int err = have_lists(x, f, s, g->keep_block, &there);
    if (err != 0 || !there) {
        return err;
    }
    struct hashes *h = get_hashes(g, g->keep_block);
    struct xjob *j = job_new(x, XFER_JOB_KEEP, f);
    if (j == NULL || (j->j.buf = malloc((size_t)h->n * HASHTREE_HASH)) == NULL) {
        return ERR_NOMEM;
    }
    j->j.len = (size_t)h->n * HASHTREE_HASH;
    memcpy(j->j.buf, h->v, j->j.len);
    j->j.list = g->keep_block + 1;
    g->keep_job = true;
    job_give(x, j);
    return 0;
}

/* All that can be there is there. */
static int complete(struct xfer *x, struct file *f)
{
    if ((f->r.flags & FILE_SEALED) == 0) {
        return 0;
    }
    return f->get->root_ok ? job_simple(x, f, XFER_JOB_FINISH, GET_FINISH)
                           : job_simple(x, f, XFER_JOB_ROOT, GET_ROOT);
}

static int run_open(struct xfer *x, struct txn *t, struct file *f)
{
    struct get *g = f->get;
    bool held = (f->r.flags & FILE_PAUSED) != 0 || f->retry_ms != 0;
    int err = maybe_sync(x, f, held);
    if (err != 0 || held) {
        return err;
    }
    if ((f->r.flags & (FILE_AUTO | FILE_SIZED)) == FILE_AUTO &&
        f->n_have * HASHTREE_LEAF > file_auto_max(x, f)) {
        return too_large(x, t, f);
    }
    if (f->r.kind == FILE_FOLDER && !g->tree && g->n_asks == 0 &&
        all_there(f, hashtree_leaves(f->r.head))) {
        return job_simple(x, f, XFER_JOB_TREE, GET_TREE);
    }
    if (f->n_have == file_leaves(f) && g->n_asks == 0 && !g->syncing) {
        return complete(x, f);
    }
    return ask(x, f);
}

int get_run(struct xfer *x, struct txn *t, struct file *f)
{
    struct get *g = f->get;
    int err = 0;
    if (g == NULL || file_ended(f)) {
        return 0;
    }
    bool held = (f->r.flags & FILE_PAUSED) != 0 || f->retry_ms != 0;
    if (g->step == GET_CLOSED && !held && !g->syncing) {
        err = open_part(x, f);
    } else if (g->step == GET_OPEN) {
        err = run_open(x, t, f);
    } else if (g->step == GET_KEEP && !held) {
        err = keep_next(x, f);
    }
    held = (f->r.flags & FILE_PAUSED) != 0 || f->retry_ms != 0; /* it may be by now */
    for (struct source *s = f->get != NULL ? f->get->sources : NULL;
         err == 0 && s != NULL; s = s->next) {
        bool word = s->told_word != 0 && is_origin(s) &&
                    (s->told_word == 1u + FILE_WORD_ACTIVE) != !held;
        err = word ? tell_origin(x, f, s) : 0;
    }
    return err;
}

/* ---- what jobs found ---- */

static uint64_t count_bits(const uint8_t *bits, uint64_t n)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        sum += bit_get(bits, i);
    }
    return sum;
}

/* The part is gone: from the beginning. */
static int part_lost(struct xfer *x, struct txn *t, struct file *f)
{
    struct get *g = f->get;
    get_stop(x, f);
    if (f->r.path.n == 0) {
        file_stuck(x, f, "the place for it is gone", ERR_NOTFOUND);
        return 0;
    }
    if (f->n_bits > 0) {
        memset(f->bits, 0, (size_t)(f->n_bits / 8));
    }
    if (g->n_dirty_bytes > 0) {
        memset(g->dirty, 0, g->n_dirty_bytes);
    }
    f->n_have = g->unsynced = g->first_missing = 0;
    g->step = GET_CLOSED;
    g->tree = g->root_ok = false;
    int err = text_set(&f->r.path, NULL, 0) ? file_bits_gone(t, f) : ERR_NOMEM;
    return err == 0 ? file_row(t, f) : err;
}

static int opened(struct xfer *x, struct txn *t, struct file *f,
                  const struct xfer_result *r)
{
    struct get *g = f->get;
    g->step = GET_CLOSED;
    if (r->err == ERR_NOTFOUND) {
        int err = part_lost(x, t, f);
        return err == 0 ? get_run(x, t, f) : err;
    }
    if (r->err != 0) {
        file_stuck(x, f, r->why, r->err);
        return get_run(x, t, f); /* tells the other side */
    }
    int err = text_set(&f->r.path, r->path, strlen(r->path))
                  ? file_bits_room(f, 8 * (uint64_t)r->n_bits)
                  : ERR_NOMEM;
    if (err == 0 && r->n_bits > 0) {
        memcpy(f->bits, r->bits, r->n_bits);
    }
    f->n_have = count_bits(f->bits, f->n_bits);
    g->first_missing = 0;
    g->step = GET_OPEN;
    file_told(x, f);
    err = err == 0 ? file_row(t, f) : err;
    return err == 0 ? get_run(x, t, f) : err;
}

static int dirty_set(struct get *g, uint64_t leaf)
{
    size_t block = (size_t)(leaf / HASHTREE_FANOUT);
    if (block / 8 >= g->n_dirty_bytes) {
        size_t n = block / 8 + 1;
        uint8_t *v = realloc(g->dirty, n);
        if (v == NULL) {
            return ERR_NOMEM;
        }
        memset(v + g->n_dirty_bytes, 0, n - g->n_dirty_bytes);
        g->dirty = v;
        g->n_dirty_bytes = n;
    }
    bit_set(g->dirty, block, true);
    return 0;
}

/* A leaf is there. */
static int leaf_there(struct xfer *x, struct file *f, const struct xjob *j)
{
    struct get *g = f->get;
    int err = file_bits_room(f, (uint64_t)j->j.leaf + 1);
    if (err == 0) {
        err = dirty_set(g, j->j.leaf);
    }
    if (err != 0) {
        return err;
    }
    f->n_have += !bit_get(f->bits, j->j.leaf);
    bit_set(f->bits, j->j.leaf, true);
    g->sync_ms = g->unsynced++ == 0 ? x->now_ms + XFER_SYNC_MS : g->sync_ms;
    f->received++;
    f->bytes += j->j.len;
    if (j->source != NULL) {
        j->source->slow = false;
    }
    return 0;
}

static int written(struct xfer *x, struct txn *t, struct file *f, struct xjob *j,
                   const struct xfer_result *r)
{
    struct get *g = f->get;
    int err = 0;
    (void)get_unask(x, f, j->j.leaf);
    if (r->err == 0) {
        err = leaf_there(x, f, j);
    } else {
        g->first_missing = j->j.leaf < g->first_missing ? j->j.leaf : g->first_missing;
    }
    if (r->err == ERR_AUTH) {
        err = j->source != NULL ? get_blame(x, t, j->source) : 0;
    } else if (r->err == ERR_NOTFOUND && g->step == GET_OPEN) {
        err = part_lost(x, t, f);
    } else if (r->err != 0 && r->err != ERR_NOTFOUND) {
        file_stuck(x, f, r->why, r->err);
    }
    if (err != 0) {
        return err;
    }
    x->room = false; /* given out here */
    return get_ask_all(x, t, f);
}

static int bits_row(struct txn *t, const struct file *f, uint32_t block,
                    const uint8_t bits[FILE_BITS])
{
    struct rec rec = {.kind = REC_FILE_BITS,
                      .u.file_bits = {.file = f->r.id, .block = block}};
    memcpy(rec.u.file_bits.bits, bits, FILE_BITS);
    return txn_add(t, &rec);
}

static int synced(struct xfer *x, struct txn *t, struct file *f,
                  const struct xfer_result *r)
{
    struct get *g = f->get;
    int err = 0;
    g->syncing = false;
    for (size_t i = 0; err == 0 && i < g->n_copies; i++) {
        bool there = g->step != GET_CLOSED; /* else the part was lost meanwhile */
        err = r->err == 0 && there ? bits_row(t, f, g->copies[i].block, g->copies[i].bits)
                                   : 0;
        if (r->err != 0 && there) {
            err = dirty_set(g, (uint64_t)g->copies[i].block * HASHTREE_FANOUT);
            g->unsynced++;
        }
    }
    free(g->copies);
    g->copies = NULL;
    g->n_copies = 0;
    if (r->err != 0) {
        file_stuck(x, f, r->why, r->err);
    }
    return err == 0 ? get_run(x, t, f) : err;
}

int get_broken(struct xfer *x, struct txn *t, struct file *f)
{
    int err = file_say_end(x, f, FILE_END_BROKEN);
    return err == 0 ? file_end(x, t, f, FILE_BROKEN, EVENT_FILE_BROKEN, true) : err;
}

static int tree_made(struct xfer *x, struct txn *t, struct file *f,
                     const struct xfer_result *r)
{
    f->get->step = GET_OPEN;
    if (r->err == ERR_FORMAT) {
        return get_broken(x, t, f);
    }
    if (r->err == ERR_NOTFOUND) {
        int err = part_lost(x, t, f);
        return err == 0 ? get_run(x, t, f) : err;
    }
    if (r->err != 0) {
        file_stuck(x, f, r->why, r->err);
        return get_run(x, t, f); /* tells the other side */
    }
    f->get->tree = true;
    return get_run(x, t, f);
}

static int rooted(struct xfer *x, struct txn *t, struct file *f,
                  const struct xfer_result *r)
{
    struct get *g = f->get;
    g->step = GET_OPEN;
    g->root_ok = r->err == 0;
    if (r->err == ERR_AUTH && g->strict) {
        return get_broken(x, t, f); /* the lists that fit the root were followed */
    }
    if (r->err == ERR_NOTFOUND) {
        int err = part_lost(x, t, f);
        return err == 0 ? get_run(x, t, f) : err;
    }
    if (r->err == ERR_AUTH) {
        g->step = GET_KEEP;
        g->strict = true;
        g->keep_block = 0;
    } else if (r->err != 0) {
        file_stuck(x, f, r->why, r->err);
        return get_run(x, t, f); /* tells the other side */
    }
    return get_run(x, t, f);
}

static int kept(struct xfer *x, struct txn *t, struct file *f,
                const struct xfer_result *r)
{
    struct get *g = f->get;
    uint8_t *bits = f->bits + (size_t)g->keep_block * FILE_BITS;
    g->keep_job = false;
    if (r->err != 0 || r->n_bits != FILE_BITS) {
        file_stuck(x, f, r->why, r->err);
        return get_run(x, t, f); /* tells the other side */
    }
    int err = 0;
    if (memcmp(bits, r->bits, FILE_BITS) != 0) {
        /* Before a leaf is written in the place of a wrong one no row says that it is
         * there: a part of it may be all that a loss of power leaves. */
        static const uint8_t none[FILE_BITS];
        err = bits_row(t, f, g->keep_block, none);
    }
    f->n_have -= count_bits(bits, HASHTREE_FANOUT);
    memcpy(bits, r->bits, FILE_BITS);
    f->n_have += count_bits(bits, HASHTREE_FANOUT);
    if (err == 0) {
        err = dirty_set(g, (uint64_t)g->keep_block * HASHTREE_FANOUT);
    }
    g->unsynced++;
    g->first_missing = 0;
    if (++g->keep_block == hashtree_blocks(file_leaves(f))) {
        g->step = GET_OPEN;
    }
    return err == 0 ? get_run(x, t, f) : err;
}

static int finished(struct xfer *x, struct txn *t, struct file *f,
                    const struct xfer_result *r)
{
    f->get->step = GET_OPEN;
    if (r->err == ERR_NOTFOUND) {
        int err = part_lost(x, t, f);
        return err == 0 ? get_run(x, t, f) : err;
    }
    if (r->err != 0) {
        file_stuck(x, f, r->why, r->err);
        return get_run(x, t, f); /* tells the other side */
    }
    int err = text_set(&f->r.path, r->path, strlen(r->path)) ? 0 : ERR_NOMEM;
    if (err == 0) {
        err = file_say_end(x, f, FILE_END_RECEIVED);
    }
    if (err == 0) {
        err = file_end(x, t, f, FILE_DONE, EVENT_FILE_DONE, false);
    }
    for (struct xpeer *p = f->conv->n > 2 ? x->peers : NULL; err == 0 && p != NULL;
         p = p->next) {
        err = conv_has_contact(f->conv, p->contact) ? get_peer_up(x, t, f, p) : 0;
    }
    return err;
}

int get_done(struct xfer *x, struct txn *t, struct xjob *j, const struct xfer_result *r)
{
    struct file *f = j->file;
    if (j->j.kind == XFER_JOB_WRITE) {
        buf_give(x, j->j.buf, true);
        j->j.buf = NULL;
        x->room = true;
    }
    if (f->get == NULL) { /* it has ended meanwhile: a part that was made goes, too */
        bool made = j->j.kind == XFER_JOB_OPEN && r->err == 0 && f->r.state != FILE_DONE;
        return !made                                            ? 0
               : text_set(&f->r.path, r->path, strlen(r->path)) ? file_drop(x, f)
                                                                : ERR_NOMEM;
    }
    switch (j->j.kind) {
    case XFER_JOB_OPEN:
        return opened(x, t, f, r);
    case XFER_JOB_WRITE:
        return written(x, t, f, j, r);
    case XFER_JOB_SYNC:
        return synced(x, t, f, r);
    case XFER_JOB_TREE:
        return tree_made(x, t, f, r);
    case XFER_JOB_ROOT:
        return rooted(x, t, f, r);
    case XFER_JOB_KEEP:
        return kept(x, t, f, r);
    case XFER_JOB_FINISH:
        return finished(x, t, f, r);
    case XFER_JOB_SCAN:
    case XFER_JOB_CHECK:
    case XFER_JOB_READ:
    case XFER_JOB_SEAL:
    case XFER_JOB_LIST:
    case XFER_JOB_DROP:
    case XFER_JOB_FORGET:
        break;
    }
    return 0;
}

/* ---- time ---- */

/* When nothing has come for too long. The offering device gives one file after the other,
 * so what it gives of any is a sign of life. */
static uint64_t silent_at(const struct file *f, const struct source *s)
{
    bool waits = s->under_way > 0 || f->get->list_from == s;
    uint64_t heard = s->heard_ms;
    if (is_origin(s) && s->peer->heard_ms > heard) {
        heard = s->peer->heard_ms;
    }
    return waits && !open_stream(f) ? heard + XFER_ANSWER_MS : XFER_NEVER;
}

int get_tick(struct xfer *x, struct txn *t, struct file *f)
{
    struct get *g = f->get;
    int err = 0;
    if (g == NULL) {
        return 0;
    }
    for (struct source *s = g->sources; s != NULL; s = s->next) {
        if (silent_at(f, s) <= x->now_ms) {
            s->slow = !is_origin(s);
            s->heard_ms = x->now_ms;
            source_release(x, s);
        }
    }
    for (struct source *s = g->sources; err == 0 && s != NULL; s = s->next) {
        bool due = is_origin(s) && s->told_ms + XFER_TELL_MS <= x->now_ms;
        err = due ? tell_origin(x, f, s) : 0;
    }
    return err == 0 ? get_run(x, t, f) : err;
}

uint64_t get_deadline(const struct xfer *x, const struct file *f)
{
    const struct get *g = f->get;
    uint64_t at = XFER_NEVER;
    if (g->step == GET_OPEN && g->unsynced > 0 && !g->syncing) {
        at = g->sync_ms;
    }
    if (g->step == GET_OPEN && x->rx.per_s != 0 && g->n_asks == 0) {
        uint64_t next = rate_next(&x->rx, x->now_ms);
        at = next > x->now_ms && next < at ? next : at;
    }
    for (const struct source *s = g->sources; s != NULL; s = s->next) {
        if (is_origin(s) && s->told_leaves != f->n_have &&
            s->told_ms + XFER_TELL_MS < at) {
            at = s->told_ms + XFER_TELL_MS;
        }
        at = silent_at(f, s) < at ? silent_at(f, s) : at;
    }
    return at;
}
