/* What sources of an incoming file send: leaves, lists, words; who is believed. */
#include <stdlib.h>
#include <string.h>

#include "xfer_priv.h"

static bool is_origin(const struct source *s)
{
    return s->peer->device == s->file->r.device;
}

static bool anybody_left(const struct get *g)
{
    for (const struct source *s = g->sources; s != NULL; s = s->next) {
        if (!s->liar && !s->gone) {
            return true;
        }
    }
    return false;
}

/* What it sent does not fit. The offering device's own word for a hash is no proof of a
 * lie: its file may have changed. */
int get_blame(struct xfer *x, struct txn *t, struct source *s)
{
    struct file *f = s->file;
    struct get *g = f->get;
    source_release(x, s);
    if (is_origin(s) && !g->strict && ++g->strikes < XFER_STRIKES) {
        return 0;
    }
    s->liar = true;
    return is_origin(s) && !anybody_left(g) ? get_broken(x, t, f) : 0;
}

/* ---- asks that end ---- */

bool get_unask(struct xfer *x, struct file *f, uint64_t leaf)
{
    struct get *g = f->get;
    file_touch(x, f);
    for (size_t i = 0; i < g->n_asks; i++) {
        if (g->asks[i].leaf == leaf) {
            x->room = true;
            g->asks[i] = g->asks[--g->n_asks];
            return true;
        }
    }
    return false;
}

void get_trim(struct xfer *x, struct file *f)
{
    struct get *g = f->get;
    file_touch(x, f);
    x->room = true;
    for (size_t i = 0; i < g->n_asks;) {
        if (g->asks[i].leaf >= file_leaves(f) && g->asks[i].source != NULL) {
            g->asks[i].source->under_way--;
            g->asks[i] = g->asks[--g->n_asks];
        } else {
            i++;
        }
    }
}

bool get_fits(const struct file *f, uint64_t size)
{
    const struct get *g = f->get;
    uint64_t leaves = hashtree_leaves(size);
    for (uint64_t i = leaves; i < f->n_bits; i++) {
        if (bit_get(f->bits, i)) {
            return false;
        }
    }
    for (size_t i = 0; g != NULL && i < g->n_asks; i++) {
        if (g->asks[i].source == NULL && g->asks[i].leaf >= leaves) {
            return false;
        }
    }
    return g == NULL ||
           (g->whole_end <= size &&
            (g->short_len == 0 ||
             (uint64_t)g->short_leaf * HASHTREE_LEAF + g->short_len == size));
}

/* ---- leaves ---- */

static struct ask *ask_of(struct get *g, uint32_t leaf, const struct source *s)
{
    for (size_t i = 0; i < g->n_asks; i++) {
        if (g->asks[i].leaf == leaf && g->asks[i].source == s) {
            return &g->asks[i];
        }
    }
    return NULL;
}

/* The length that the leaf has to have; of a stream only the last one is not whole. */
static bool length_fits(const struct file *f, const struct wire_file_leaf *v)
{
    struct get *g = f->get;
    if ((f->r.flags & FILE_SIZED) == 0 && v->len == HASHTREE_LEAF) {
        uint64_t end = ((uint64_t)v->leaf + 1) * HASHTREE_LEAF;
        g->whole_end = end > g->whole_end ? end : g->whole_end;
        return g->short_len == 0 || v->leaf < g->short_leaf;
    }
    if ((f->r.flags & FILE_SIZED) == 0) {
        bool other =
            g->short_len != 0 && (g->short_leaf != v->leaf || g->short_len != v->len);
        g->short_leaf = other ? g->short_leaf : v->leaf;
        g->short_len = other ? g->short_len : v->len;
        return !other;
    }
    return v->leaf < hashtree_leaves(f->r.size) &&
           v->len == hashtree_leaf_len(f->r.size, v->leaf);
}

/* The hash that counts for a leaf of that source, NULL: nobody's word for it does, or the
 * source says another one. */
static const uint8_t *hash_for(const struct source *s, const struct wire_file_leaf *v)
{
    const struct get *g = s->file->get;
    const struct hashes *h = get_hashes(g, v->leaf / HASHTREE_FANOUT);
    if (h != NULL) {
        const uint8_t *hash = h->v + (size_t)(v->leaf % HASHTREE_FANOUT) * HASHTREE_HASH;
        return memcmp(hash, v->hash, HASHTREE_HASH) == 0 ? hash : NULL;
    }
    return is_origin(s) && !g->strict ? v->hash : NULL;
}

int get_leaf(struct xfer *x, struct txn *t, struct xpeer *p, const uint8_t *b, size_t len)
{
    struct wire_file_leaf v;
    if (!wire_file_leaf_get(b, len, &v)) {
        return ERR_FORMAT;
    }
    struct source *s = source_named(x, p, v.handle);
    if (s == NULL) {
        return 0; /* of before it ended here */
    }
    struct file *f = s->file;
    struct intake *in = &s->in;
    if (in->on && !in->skip) {
        return ERR_FORMAT; /* the one before is not complete */
    }
    s->heard_ms = p->heard_ms = x->now_ms;
    *in = (struct intake){.on = true, .skip = true, .leaf = v.leaf, .len = v.len};
    f->resent += v.leaf < f->n_bits && bit_get(f->bits, v.leaf);
    if (ask_of(f->get, v.leaf, s) == NULL) {
        return 0; /* not wanted any more */
    }
    const uint8_t *hash = hash_for(s, &v);
    if (hash == NULL || !length_fits(f, &v)) {
        int err = get_blame(x, t, s);
        return err == 0 ? get_run(x, t, f) : err;
    }
    in->kind = get_open_stream(f) ? BUF_STREAM : BUF_IN;
    in->begun_ms = x->now_ms;
    in->buf = buf_take(x, in->kind);
    if (in->buf == NULL) { /* others hold all: it is asked for again in a while */
        (void)get_unask(x, f, v.leaf);
        s->under_way--;
        f->get->first_missing = 0;
        f->get->pause_ms = x->now_ms + XFER_TELL_MS;
        x->starving_stream = x->starving_stream || in->kind == BUF_STREAM;
        return 0;
    }
    memcpy(in->hash, hash, sizeof in->hash);
    in->skip = false;
    return 0;
}

/* A leaf is complete: it is judged and written on a worker. */
static int leaf_in(struct xfer *x, struct source *s)
{
    struct file *f = s->file;
    struct intake *in = &s->in;
    struct ask *a = ask_of(f->get, in->leaf, s);
    struct xjob *j = a == NULL ? NULL : job_new(x, XFER_JOB_WRITE, f);
    if (a == NULL) { /* not wanted any more */
        buf_give(x, in->buf, in->kind);
        *in = (struct intake){0};
        return 0;
    }
    if (j == NULL) {
        return ERR_NOMEM;
    }
    j->j.buf = in->buf;
    j->j.len = in->len;
    j->j.leaf = in->leaf;
    memcpy(j->j.hash, in->hash, sizeof j->j.hash);
    j->buf_kind = in->kind;
    j->source = s;
    if (in->kind == BUF_IN) {
        s->peer->tardy = s->peer->leaf_ms + XFER_TURN_MS < x->now_ms;
        s->peer->leaf_ms = x->now_ms;
    }
    a->source = NULL;
    s->under_way--;
    file_touch(x, f);
    *in = (struct intake){0};
    job_give(x, j);
    return 0;
}

int get_data(struct xfer *x, struct txn *t, struct xpeer *p, const uint8_t *b, size_t len)
{
    struct wire_file_data v;
    (void)t;
    if (!wire_file_data_get(b, len, &v)) {
        return ERR_FORMAT;
    }
    struct source *s = source_named(x, p, v.handle);
    struct intake *in = s == NULL ? NULL : &s->in;
    if (in == NULL || !in->on || in->skip) {
        return 0;
    }
    if (v.leaf != in->leaf || v.offset != in->filled || v.len > in->len - in->filled) {
        return ERR_FORMAT;
    }
    memcpy(in->buf + in->filled, v.data, v.len);
    in->filled += v.len;
    s->heard_ms = p->heard_ms = x->now_ms;
    return in->filled == in->len ? leaf_in(x, s) : 0;
}

/* ---- lists ---- */

static int top_in(struct xfer *x, struct txn *t, struct source *s,
                  const struct wire_file_list *v)
{
    struct file *f = s->file;
    struct get *g = f->get;
    uint32_t blocks = (uint32_t)hashtree_blocks(file_leaves(f));
    if (v->first != g->top_n || v->n > blocks - g->top_n) {
        return get_blame(x, t, s);
    }
    if (g->top == NULL && (g->top = malloc((size_t)blocks * HASHTREE_HASH)) == NULL) {
        return ERR_NOMEM;
    }
    memcpy(g->top + (size_t)g->top_n * HASHTREE_HASH, v->hashes, v->n * HASHTREE_HASH);
    g->top_n += (uint32_t)v->n;
    if (g->top_n < blocks) {
        return 0;
    }
    struct hashtree_root r;
    uint8_t root[HASHTREE_HASH];
    hashtree_root_init(&r, f->r.size);
    hashtree_root_add(&r, g->top, blocks);
    hashtree_root_final(&r, root);
    g->top_ok = memcmp(root, f->r.root, sizeof root) == 0;
    g->list_asked = 0;
    g->list_from = NULL;
    g->top_n = g->top_ok ? g->top_n : 0;
    return g->top_ok ? 0 : get_blame(x, t, s);
}

/* The place of a list that is coming in. */
static struct hashes *list_place(struct get *g, uint32_t block)
{
    for (size_t i = 0; i < XFER_LISTS; i++) {
        if (g->lists[i] != NULL && !g->lists[i]->ok && g->lists[i]->block == block) {
            return g->lists[i];
        }
    }
    struct hashes **at = &g->lists[g->next_list];
    g->next_list = (g->next_list + 1) % XFER_LISTS;
    if (*at == NULL && (*at = malloc(sizeof **at)) == NULL) {
        return NULL;
    }
    (*at)->block = block;
    (*at)->ok = false;
    (*at)->n = 0;
    return *at;
}

static int block_in(struct xfer *x, struct txn *t, struct source *s,
                    const struct wire_file_list *v)
{
    struct file *f = s->file;
    struct get *g = f->get;
    uint32_t block = v->list - 1;
    uint64_t leaves = file_leaves(f), before = (uint64_t)block * HASHTREE_FANOUT;
    uint64_t n = leaves - before < HASHTREE_FANOUT ? leaves - before : HASHTREE_FANOUT;
    struct hashes *h = list_place(g, block);
    if (h == NULL) {
        return ERR_NOMEM;
    }
    if (v->first != h->n || v->n > n - h->n) {
        h->n = 0;
        return get_blame(x, t, s);
    }
    memcpy(h->v + (size_t)h->n * HASHTREE_HASH, v->hashes, v->n * HASHTREE_HASH);
    h->n += (uint32_t)v->n;
    if (h->n < n) {
        return 0;
    }
    uint8_t hash[HASHTREE_HASH];
    hashtree_block(h->v, (size_t)n, hash);
    h->ok = memcmp(hash, g->top + (size_t)block * HASHTREE_HASH, sizeof hash) == 0;
    g->list_asked = 0;
    g->list_from = NULL;
    if (!h->ok) {
        h->n = 0;
        return get_blame(x, t, s);
    }
    return 0;
}

int get_list(struct xfer *x, struct txn *t, struct xpeer *p, const uint8_t *b, size_t len)
{
    struct wire_file_list v;
    if (!wire_file_list_get(b, len, &v)) {
        return ERR_FORMAT;
    }
    struct source *s = source_named(x, p, v.handle);
    struct get *g = s == NULL ? NULL : s->file->get;
    if (g == NULL || g->list_from != s || g->list_asked != 1 + v.list) {
        return 0; /* not wanted any more */
    }
    s->heard_ms = p->heard_ms = x->now_ms;
    struct file *f = s->file;
    int err = v.list == 0 ? top_in(x, t, s, &v) : block_in(x, t, s, &v);
    return err == 0 ? get_run(x, t, f) : err;
}

/* ---- words ---- */

/* The device that offered it does not have it any more, and nobody else can give it. */
static int lost(struct xfer *x, struct txn *t, struct file *f)
{
    bool others = (f->r.flags & FILE_SEALED) != 0 && f->conv->n > 2;
    if (others || f->get->step == GET_FINISH) {
        return get_run(x, t, f);
    }
    return file_end(x, t, f, FILE_LOST, EVENT_FILE_LOST, true);
}

int get_no(struct xfer *x, struct txn *t, struct xpeer *p, const struct wire_file_no *v)
{
    struct source *s = source_named(x, p, v->handle);
    if (s == NULL) {
        return 0;
    }
    struct file *f = s->file;
    source_release(x, s);
    file_told(x, f);
    if (v->reason == FILE_NO_GONE) {
        s->gone = true;
        return is_origin(s) ? lost(x, t, f) : get_run(x, t, f);
    }
    if (v->reason == FILE_NO_PAUSED) {
        s->paused = true;
        if (x->rx.per_s != 0) { /* others have a turn meanwhile */
            f->get->pause_ms = x->now_ms + XFER_TELL_MS;
        }
        return get_run(x, t, f);
    }
    if (is_origin(s)) {
        file_stuck(x, f, "the other side cannot read it at the moment", ERR_IO);
    } else {
        s->slow = true;
    }
    return get_run(x, t, f);
}

int get_state(struct xfer *x, struct txn *t, struct file *f, struct xpeer *p,
              const struct wire_file_state *v)
{
    if (f->r.state == FILE_DONE && f->conv->n > 2 && v->state == FILE_WORD_ACTIVE &&
        p->device != f->r.device) {
        return state_send(x, f, p, FILE_WORD_WHOLE, file_leaves(f));
    }
    struct source *s = f->get == NULL ? NULL : f->get->sources;
    while (s != NULL && s->peer != p) {
        s = s->next;
    }
    if (s == NULL) {
        return 0;
    }
    s->word = v->state;
    s->whole = v->state == FILE_WORD_WHOLE;
    s->paused = v->state == FILE_WORD_PAUSED || v->state == FILE_WORD_STUCK;
    s->usable = is_origin(s) || s->whole;
    file_told(x, f);
    if (v->state == FILE_WORD_UNKNOWN && is_origin(s)) {
        s->gone = true;
        source_release(x, s);
        return lost(x, t, f);
    }
    return get_run(x, t, f);
}
