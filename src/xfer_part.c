/* What an incoming file is on disk: its part is opened, written and synced, checked and
 * given its name. Leaves are asked for in xfer_get.c. */
#include <stdlib.h>
#include <string.h>

#include "xfer_priv.h"

uint64_t get_durable(const struct file *f)
{
    const struct get *g = f->get;
    uint64_t not_yet = g->unsynced + g->in_sync;
    return f->n_have > not_yet ? f->n_have - not_yet : 0;
}

/* ---- going on ---- */

static bool all_there(const struct file *f, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        if (i >= f->n_bits || !bit_get(f->bits, i)) {
            return false;
        }
    }
    return true;
}

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
    if (f->n_bits > 0) { /* a copy: the seal of a stream makes room for more */
        j->bits = malloc((size_t)(f->n_bits / 8));
        if (j->bits == NULL) {
            job_free(j);
            return ERR_NOMEM;
        }
        memcpy(j->bits, f->bits, (size_t)(f->n_bits / 8));
        j->j.bits = j->bits;
        j->j.n_bits = (size_t)(f->n_bits / 8);
    }
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
        if (j != NULL) {
            job_free(j);
        }
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
    g->in_sync = g->unsynced;
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
    struct source *s = get_pick(g);
    bool there = false;
    if (g->keep_job || s == NULL) {
        return 0;
    }
    int err = get_lists(x, f, s, g->keep_block, &there);
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

static int run_open(struct xfer *x, struct file *f)
{
    struct get *g = f->get;
    bool held = (f->r.flags & FILE_PAUSED) != 0 || f->retry_ms != 0;
    int err = maybe_sync(x, f, held);
    if (err != 0 || held) {
        return err;
    }
    if (f->r.kind == FILE_FOLDER && !g->tree && g->n_asks == 0 && !g->syncing &&
        all_there(f, hashtree_leaves(f->r.head))) {
        return job_simple(x, f, XFER_JOB_TREE, GET_TREE);
    }
    if (f->n_have == file_leaves(f) && g->n_asks == 0) {
        err = file_bits_room(f, file_leaves(f)); /* KEEP needs them */
        if (err == 0) { /* it gets its name when its bytes are durable */
            err = maybe_sync(x, f, true);
        }
        return err != 0 || g->syncing ? err : complete(x, f);
    }
    return get_ask(x, f);
}

/* At least so many has a stream. */
static uint64_t stream_bytes(const struct file *f)
{
    return (f->r.flags & FILE_SIZED) != 0 ? f->r.size
           : f->n_have == 0               ? 0
                                          : (f->n_have - 1) * HASHTREE_LEAF + 1;
}

int get_run(struct xfer *x, struct txn *t, struct file *f)
{
    struct get *g = f->get;
    int err = 0;
    if (g == NULL || file_ended(f)) {
        return 0;
    }
    file_touch(x, f);
    bool held = (f->r.flags & FILE_PAUSED) != 0 || f->retry_ms != 0;
    if ((f->r.flags & FILE_AUTO) != 0 && f->r.kind == FILE_STREAM && !held) {
        err = file_auto_grown(x, f, stream_bytes(f), &held);
        err = err == 0 && held ? too_large(x, t, f) : err;
    }
    if (err != 0) {
        return err;
    }
    if (g->step == GET_CLOSED && !held && !g->syncing) {
        err = open_part(x, f);
    } else if (g->step == GET_OPEN) {
        err = run_open(x, f);
    } else if (g->step == GET_KEEP && !held) {
        err = keep_next(x, f);
    }
    held = (f->r.flags & FILE_PAUSED) != 0 || f->retry_ms != 0; /* it may be by now */
    for (struct source *s = f->get != NULL ? f->get->sources : NULL;
         err == 0 && s != NULL; s = s->next) {
        bool other = (s->told_word == 1u + FILE_WORD_ACTIVE) != !held;
        bool all = get_durable(f) == file_leaves(f); /* the seal waits for that word */
        bool word = s->told_word != 0 && get_is_origin(s) && (other || all);
        err = word ? get_tell(x, f, s) : 0;
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

/* What OPEN found by its hash alone was written before a kill, and not synced yet. */
static int found_anew(struct xfer *x, struct file *f, const struct xjob *j)
{
    struct get *g = f->get;
    int err = 0;
    for (uint64_t i = 0; err == 0 && i < f->n_bits; i++) {
        bool known = i / 8 < j->j.n_bits && bit_get(j->j.bits, i);
        if (bit_get(f->bits, i) && !known) {
            err = dirty_set(g, i);
            g->sync_ms = g->unsynced++ == 0 ? x->now_ms + XFER_SYNC_MS : g->sync_ms;
        }
    }
    return err;
}

static int opened(struct xfer *x, struct txn *t, struct file *f, const struct xjob *j,
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
    for (size_t i = 0; err == 0 && i < r->n_bits; i++) {
        f->bits[i] = g->distrust ? f->bits[i] & r->bits[i] : r->bits[i];
    }
    g->distrust = false;
    err = err == 0 ? found_anew(x, f, j) : err;
    f->n_have = count_bits(f->bits, f->n_bits);
    g->first_missing = 0;
    g->step = GET_OPEN;
    file_told(x, f);
    err = err == 0 ? file_row(t, f) : err;
    return err == 0 ? get_run(x, t, f) : err;
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
    if (r->err == 0 && !g->distrust) {
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

static void block_forget(struct file *f, uint32_t block)
{
    uint64_t at = (uint64_t)block * HASHTREE_FANOUT;
    for (uint64_t i = at; i < f->n_bits && i < at + HASHTREE_FANOUT; i++) {
        f->n_have -= bit_get(f->bits, i);
        bit_set(f->bits, i, false);
    }
}

/* What a disk did not take it may have dropped, and a second sync says nothing of that:
 * all blocks that were not durable as a whole come again, into a part that is opened
 * anew. Their rows still name what was durable before. */
static void sync_failed(struct xfer *x, struct file *f, const struct xfer_result *r)
{
    struct get *g = f->get;
    for (size_t i = 0; i < g->n_copies; i++) {
        block_forget(f, g->copies[i].block);
    }
    for (uint32_t i = 0; i < 8 * g->n_dirty_bytes; i++) {
        if (bit_get(g->dirty, i)) {
            block_forget(f, i);
        }
    }
    if (g->n_dirty_bytes > 0) {
        memset(g->dirty, 0, g->n_dirty_bytes);
    }
    g->unsynced = g->first_missing = 0;
    g->step = GET_CLOSED;
    g->tree = g->root_ok = false;
    g->distrust = true;
    file_stuck(x, f, r->why, r->err);
}

static int synced(struct xfer *x, struct txn *t, struct file *f,
                  const struct xfer_result *r)
{
    struct get *g = f->get;
    bool there = g->step != GET_CLOSED; /* else the part was lost meanwhile */
    int err = 0;
    g->syncing = false;
    g->in_sync = 0;
    for (size_t i = 0; err == 0 && r->err == 0 && there && i < g->n_copies; i++) {
        err = bits_row(t, f, g->copies[i].block, g->copies[i].bits);
    }
    if (r->err != 0 && there) {
        sync_failed(x, f, r);
    }
    free(g->copies);
    g->copies = NULL;
    g->n_copies = 0;
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
    if (r->err == ERR_AUTH && (g->strict || file_leaves(f) == 0)) {
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
        buf_give(x, j->j.buf, j->buf_kind);
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
        return opened(x, t, f, j, r);
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
