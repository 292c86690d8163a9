#include "file_disk.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "seeded.h"

uint32_t disk_rand(struct disk *d, uint32_t n)
{
    uint32_t v;
    seeded(&d->rng, &v, sizeof v);
    return v % n;
}

void disk_init(struct disk *d, uint64_t seed)
{
    memset(d, 0, sizeof *d);
    d->rng = seed;
    d->quota = UINT64_MAX;
}

static void note_clear(struct disk_note *n)
{
    free(n->p);
    free(n->leaf);
    *n = (struct disk_note){0};
}

void disk_release(struct disk *d)
{
    for (size_t i = 0; i < d->n_sources; i++) {
        free(d->source[i].p);
    }
    for (size_t i = 0; i < DISK_NOTES; i++) {
        note_clear(&d->note[i]);
    }
    for (size_t i = 0; i < d->n_jobs; i++) {
        free(d->job[i].bits);
    }
    free(d->out_bits);
}

/* ---- sources ---- */

/* Numbers that differ by place and salt, one in each DISK_SAMPLE bytes and at the end. */
static void stamp(uint8_t *p, size_t from, size_t to, uint64_t salt)
{
    size_t first = (from + DISK_SAMPLE - 1) / DISK_SAMPLE * DISK_SAMPLE;
    for (size_t i = first; i + 8 <= to; i += DISK_SAMPLE) {
        uint64_t v = (salt << 40 | i) * UINT64_C(0x9e3779b97f4a7c15);
        memcpy(p + i, &v, sizeof v);
    }
    if (to > from) {
        p[to - 1] = (uint8_t)(salt * 7 + to);
    }
}

static void source_room(struct disk_source *s, size_t cap)
{
    if (cap > s->cap || s->p == NULL) {
        uint8_t *p = calloc(1, cap + 1);
        assert(p != NULL);
        if (s->len > 0) {
            memcpy(p, s->p, s->len);
        }
        free(s->p);
        s->p = p;
        s->cap = cap;
    }
}

static struct disk_source *source_new(struct disk *d, const char *path, uint8_t kind)
{
    assert(d->n_sources < DISK_SOURCES);
    struct disk_source *s = &d->source[d->n_sources++];
    (void)snprintf(s->path, sizeof s->path, "%s", path);
    s->kind = kind;
    return s;
}

struct disk_source *disk_put(struct disk *d, const char *path, size_t len, uint64_t salt)
{
    struct disk_source *s = source_new(d, path, FILE_PLAIN);
    source_room(s, len);
    stamp(s->p, 0, len, salt);
    s->len = len;
    return s;
}

struct disk_source *disk_put_folder(struct disk *d, const char *path, unsigned n,
                                    size_t len, uint64_t salt)
{
    struct disk_source *s = source_new(d, path, FILE_FOLDER);
    source_room(s, (size_t)n * (len + 64));
    struct wr w = wr_init(s->p, s->cap);
    for (unsigned i = 0; i < n; i++) {
        char name[16];
        int c = snprintf(name, sizeof name, "f%05u", i);
        wire_manifest_put(&w, &(struct wire_manifest_entry){.size = len,
                                                            .path = (const uint8_t *)name,
                                                            .path_len = (size_t)c});
    }
    assert(wr_ok(&w));
    s->head = w.len;
    s->count = n;
    s->len = w.len + n * len;
    stamp(s->p, s->head, s->len, salt);
    return s;
}

void disk_grow(struct disk *d, struct disk_source *s, size_t len)
{
    size_t from = s->len;
    source_room(s, 2 * (from + len));
    s->len += len;
    stamp(s->p, from, s->len, disk_rand(d, 1 << 16));
}

void disk_change(struct disk_source *s)
{
    s->version++;
    for (size_t i = 0; s->p != NULL && i < s->len; i += DISK_SAMPLE) {
        s->p[i] ^= 0x55;
    }
}

void disk_shrink(struct disk_source *s, size_t len)
{
    s->version++;
    s->len = len < s->len ? len : s->len;
}

void disk_remove(struct disk_source *s)
{
    free(s->p);
    s->p = NULL;
    s->len = s->cap = 0;
    s->version++;
}

/* ---- notes ---- */

void disk_hash(const struct disk *d, const uint8_t *p, size_t len,
               uint8_t out[HASHTREE_HASH])
{
    if (!d->quick) {
        hashtree_leaf(p, len, out);
        return;
    }
    uint8_t s[8 * (HASHTREE_LEAF / DISK_SAMPLE + 2)];
    size_t n = 0;
    for (size_t i = 0; i + 8 <= len; i += DISK_SAMPLE, n += 8) {
        memcpy(s + n, p + i, 8);
    }
    uint64_t l = len;
    memcpy(s + n, &l, sizeof l);
    s[n + 8] = len > 0 ? p[len - 1] : 0;
    hashtree_leaf(s, n + 9, out);
}

struct disk_note *disk_note(struct disk *d, const uint8_t key[WIRE_MID], bool incoming)
{
    for (size_t i = 0; i < DISK_NOTES; i++) {
        struct disk_note *n = &d->note[i];
        if (n->used && n->incoming == incoming && memcmp(n->key, key, WIRE_MID) == 0) {
            return n;
        }
    }
    return NULL;
}

static struct disk_note *note_new(struct disk *d, const uint8_t key[WIRE_MID],
                                  bool incoming)
{
    struct disk_note *n = disk_note(d, key, incoming);
    for (size_t i = 0; n == NULL && i < DISK_NOTES; i++) {
        n = d->note[i].used ? NULL : &d->note[i];
    }
    assert(n != NULL);
    n->used = true;
    n->incoming = incoming;
    memcpy(n->key, key, WIRE_MID);
    return n;
}

static struct disk_leaf *leaf_at(struct disk_note *n, size_t i)
{
    if (i >= n->n_leaves) {
        size_t cap = i + 16;
        n->leaf = reallocarray(n->leaf, cap, sizeof *n->leaf);
        assert(n->leaf != NULL);
        memset(n->leaf + n->n_leaves, 0, (cap - n->n_leaves) * sizeof *n->leaf);
        n->n_leaves = cap;
    }
    return &n->leaf[i];
}

/* The bytes of a leaf as they lie there. */
static const uint8_t *leaf_bytes(const struct disk_note *n, size_t leaf, size_t *len)
{
    const uint8_t *p = n->incoming ? n->p : n->source->p;
    size_t all = n->incoming ? n->len : n->source->len;
    size_t from = leaf * (size_t)HASHTREE_LEAF;
    if (p == NULL || from >= all) {
        return NULL;
    }
    *len = all - from < HASHTREE_LEAF ? all - from : (size_t)HASHTREE_LEAF;
    return p + from;
}

static void bits_out(struct disk *d, struct xfer_result *r, size_t n)
{
    free(d->out_bits);
    d->out_bits = calloc(1, n + 1);
    assert(d->out_bits != NULL);
    r->bits = d->out_bits;
    r->n_bits = n;
}

static void bit_on(uint8_t *p, size_t i)
{
    p[i / 8] |= (uint8_t)(1u << i % 8);
}

static bool bit_is(const uint8_t *p, size_t n, size_t i)
{
    return i / 8 < n && (p[i / 8] >> i % 8 & 1) != 0;
}

/* ---- jobs of ours ---- */

static int source_state(const struct disk_note *n)
{
    return n == NULL || n->source->p == NULL  ? ERR_NOTFOUND
           : n->source->version != n->version ? ERR_STALE
                                              : 0;
}

static int do_scan(struct disk *d, struct disk_job *j, struct xfer_result *r)
{
    struct disk_source *s = NULL;
    if (j->j.path == NULL) {
        (void)snprintf(j->path, sizeof j->path, "/spool/%zu", d->n_sources);
        s = source_new(d, j->path, FILE_STREAM);
        source_room(s, 1);
    }
    for (size_t i = 0; s == NULL && i < d->n_sources; i++) {
        bool is = strcmp(d->source[i].path, j->path) == 0 && d->source[i].p != NULL;
        s = is ? &d->source[i] : NULL;
    }
    if (s == NULL) {
        r->why = "There is no such file.";
        return ERR_NOTFOUND;
    }
    struct disk_note *n = note_new(d, j->j.key, false);
    n->source = s;
    n->version = s->version;
    r->file_kind = s->kind;
    r->size = s->kind == FILE_STREAM ? 0 : s->len;
    r->head = s->head;
    r->count = s->count;
    r->exec = s->exec;
    r->path = s->path;
    r->name = j->name[0] != '\0' ? j->name : strrchr(s->path, '/') + 1;
    return 0;
}

static int do_check(struct disk *d, struct disk_note *n, struct xfer_result *r)
{
    int err = source_state(n);
    if (err == 0) {
        bits_out(d, r, (n->n_leaves + 7) / 8);
        for (size_t i = 0; i < n->n_leaves; i++) {
            if (n->leaf[i].known) {
                bit_on(d->out_bits, i);
            }
        }
    }
    return err;
}

static int do_read(struct disk *d, struct disk_note *n, const struct disk_job *j,
                   struct xfer_result *r)
{
    int err =
        j->j.incoming ? (n != NULL && n->finished ? 0 : ERR_NOTFOUND) : source_state(n);
    size_t len = 0;
    const uint8_t *p = err == 0 ? leaf_bytes(n, j->j.leaf, &len) : NULL;
    if (err != 0 || p == NULL) {
        return err != 0 ? err : ERR_STALE;
    }
    if (!j->j.incoming && j->j.file_kind == FILE_STREAM) {
        assert(j->j.len > 0 && j->j.len <= len);
        len = j->j.len;
    }
    memcpy(j->j.buf, p, len);
    r->len = len;
    struct disk_leaf *l = leaf_at(n, j->j.leaf);
    if (d->lie == LIE_AUTHOR) {
        j->j.buf[0] ^= 1;
    }
    disk_hash(d, j->j.buf, len, r->hash);
    if (d->lie == LIE_DATA) {
        j->j.buf[0] ^= 1;
    }
    r->hash[0] ^= d->lie == LIE_HASH;
    l->reads++;
    if (!j->j.incoming) {
        disk_hash(d, p, len, l->hash);
        l->known = true;
        l->at = ++d->clock;
    }
    return 0;
}

/* The hash of a block of leaves; false: not all are known. */
static bool block_of(struct disk_note *n, uint64_t leaves, uint64_t block,
                     uint8_t *hashes, uint8_t out[HASHTREE_HASH], size_t *len)
{
    uint64_t from = block * HASHTREE_FANOUT, k = leaves - from;
    k = k < HASHTREE_FANOUT ? k : (uint64_t)HASHTREE_FANOUT;
    for (size_t i = 0; i < k; i++) {
        const struct disk_leaf *l = leaf_at(n, (size_t)from + i);
        if (!l->known) {
            return false;
        }
        memcpy(hashes + i * HASHTREE_HASH, l->hash, HASHTREE_HASH);
    }
    hashtree_block(hashes, (size_t)k, out);
    *len = (size_t)k * HASHTREE_HASH;
    return true;
}

static bool root_of(struct disk_note *n, uint64_t size, uint8_t out[HASHTREE_HASH])
{
    static uint8_t hashes[HASHTREE_FANOUT * HASHTREE_HASH];
    uint64_t leaves = hashtree_leaves(size);
    struct hashtree_root root;
    hashtree_root_init(&root, size);
    for (uint64_t b = 0; b < hashtree_blocks(leaves); b++) {
        uint8_t block[HASHTREE_HASH];
        size_t len;
        if (!block_of(n, leaves, b, hashes, block, &len)) {
            return false;
        }
        hashtree_root_add(&root, block, 1);
    }
    hashtree_root_final(&root, out);
    return true;
}

static int do_seal(struct disk *d, struct disk_note *n, const struct disk_job *j,
                   struct xfer_result *r)
{
    int err = source_state(n);
    if (err != 0) {
        return err;
    }
    bool ok = root_of(n, j->j.size, r->hash);
    r->hash[0] ^= d->lie == LIE_FORK;
    return ok ? 0 : ERR_STATE;
}

static int do_list(struct disk *d, struct disk_note *n, const struct disk_job *j,
                   struct xfer_result *r)
{
    static uint8_t hashes[HASHTREE_FANOUT * HASHTREE_HASH];
    uint64_t leaves = hashtree_leaves(j->j.size);
    uint8_t block[HASHTREE_HASH];
    if (n == NULL) {
        return ERR_NOTFOUND;
    }
    if (j->j.list > 0) {
        if (!block_of(n, leaves, j->j.list - 1, j->j.buf, block, &r->len)) {
            return ERR_STATE;
        }
    }
    for (uint64_t b = 0; j->j.list == 0 && b < hashtree_blocks(leaves); b++) {
        size_t len;
        if (!block_of(n, leaves, b, hashes, block, &len)) {
            return ERR_STATE;
        }
        memcpy(j->j.buf + r->len, block, sizeof block);
        r->len += sizeof block;
    }
    j->j.buf[0] ^= d->lie == LIE_LIST;
    return 0;
}

/* ---- jobs of incoming files ---- */

static int do_open(struct disk *d, struct disk_note *n, const struct disk_job *j,
                   struct xfer_result *r)
{
    if (j->j.path != NULL && (n == NULL || !n->part)) {
        return ERR_NOTFOUND;
    }
    if (j->j.path == NULL && (n == NULL || !n->part)) {
        n = note_new(d, j->j.key, true);
        n->part = true;
        n->finished = false;
    }
    size_t bytes = (n->n_leaves + 7) / 8;
    bits_out(d, r, bytes > j->j.n_bits ? bytes : j->j.n_bits);
    for (size_t i = 0; i < r->n_bits * 8; i++) {
        uint8_t hash[HASHTREE_HASH];
        size_t len;
        const uint8_t *p = leaf_bytes(n, i, &len);
        bool right = false;
        if (p != NULL && leaf_at(n, i)->known) {
            disk_hash(d, p, len, hash);
            right = memcmp(hash, n->leaf[i].hash, sizeof hash) == 0;
        }
        assert(right || !bit_is(j->bits, j->j.n_bits, i)); /* durable is durable */
        if (right) {
            bit_on(d->out_bits, i);
        }
    }
    (void)snprintf(d->out_path, sizeof d->out_path, "/part/%02x%02x", j->j.key[0],
                   j->j.key[1]);
    r->path = d->out_path;
    return 0;
}

static int do_write(struct disk *d, struct disk_note *n, const struct disk_job *j)
{
    uint8_t hash[HASHTREE_HASH];
    size_t from = j->j.leaf * (size_t)HASHTREE_LEAF, to = from + j->j.len;
    disk_hash(d, j->j.buf, j->j.len, hash);
    if (memcmp(hash, j->j.hash, sizeof hash) != 0) {
        return ERR_AUTH;
    }
    if (n == NULL || !n->part) {
        return ERR_NOTFOUND;
    }
    if (j->j.file_kind == FILE_FOLDER && from >= j->j.head && !n->tree) {
        return ERR_STATE;
    }
    struct disk_leaf *l = leaf_at(n, j->j.leaf);
    if (d->used + j->j.len > d->quota) {
        return ERR_FULL;
    }
    if (to > n->cap) {
        uint8_t *p = calloc(1, to + 4 * (size_t)HASHTREE_LEAF);
        assert(p != NULL);
        if (n->len > 0) {
            memcpy(p, n->p, n->len);
        }
        free(n->p);
        n->p = p;
        n->cap = to + 4 * (size_t)HASHTREE_LEAF;
    }
    d->used += l->known ? 0 : j->j.len;
    memcpy(n->p + from, j->j.buf, j->j.len);
    n->len = to > n->len ? to : n->len;
    memcpy(l->hash, hash, sizeof hash);
    l->known = true;
    l->at = ++d->clock;
    return 0;
}

static int do_sync(struct disk_note *n, const struct disk_job *j)
{
    if (n == NULL || !n->part) {
        return ERR_NOTFOUND;
    }
    n->synced = true;
    for (size_t i = 0; i < n->n_leaves; i++) {
        n->leaf[i].at = n->leaf[i].at <= j->at ? 0 : n->leaf[i].at;
    }
    return 0;
}

static int do_tree(struct disk_note *n, const struct disk_job *j)
{
    if (n == NULL || !n->part) {
        return ERR_NOTFOUND;
    }
    assert(n->len >= j->j.head);
    struct rd rd = rd_init(n->p, (size_t)j->j.head);
    struct wire_manifest_at at = {0};
    struct wire_manifest_entry e;
    while (wire_manifest_next(&rd, &at, &e)) {
    }
    bool ok = rd_end(&rd) && at.n == j->j.count && at.total == j->j.size - j->j.head;
    n->tree = n->tree || ok;
    return ok ? 0 : ERR_FORMAT;
}

static int do_root(struct disk_note *n, const struct disk_job *j)
{
    uint8_t root[HASHTREE_HASH];
    if (n == NULL || !n->part) {
        return ERR_NOTFOUND;
    }
    bool ok = root_of(n, j->j.size, root);
    return ok && memcmp(root, j->j.hash, sizeof root) == 0 ? 0 : ERR_AUTH;
}

static int do_keep(struct disk *d, struct disk_note *n, const struct disk_job *j,
                   struct xfer_result *r)
{
    if (n == NULL || !n->part) {
        return ERR_NOTFOUND;
    }
    bits_out(d, r, FILE_BITS);
    for (size_t i = 0; i < j->j.len / HASHTREE_HASH; i++) {
        size_t leaf = (size_t)(j->j.list - 1) * HASHTREE_FANOUT + i;
        const struct disk_leaf *l = leaf_at(n, leaf);
        const uint8_t *right = j->j.buf + i * HASHTREE_HASH;
        if (l->known && memcmp(l->hash, right, HASHTREE_HASH) == 0) {
            bit_on(d->out_bits, i);
        }
    }
    return 0;
}

static int do_finish(struct disk *d, struct disk_note *n, const struct disk_job *j,
                     struct xfer_result *r)
{
    if (n == NULL || !n->part || n->len < j->j.size) {
        return ERR_NOTFOUND;
    }
    n->len = (size_t)j->j.size;
    n->part = false;
    n->finished = n->synced = true;
    for (size_t i = 0; i < n->n_leaves; i++) {
        n->leaf[i].at = 0;
    }
    (void)snprintf(d->out_path, sizeof d->out_path, "/done/%02x%02x", j->j.key[0],
                   j->j.key[1]);
    r->path = d->out_path;
    return 0;
}

/* What is finished, and which source was offered, stays for the test to look at. */
static int do_drop(struct disk *d, struct disk_note *n, const struct disk_job *j)
{
    if (n != NULL && n->incoming && (!n->finished || j->j.pipe)) {
        for (size_t i = 0; i < n->n_leaves; i++) {
            size_t len;
            d->used -= n->leaf[i].known && leaf_bytes(n, i, &len) != NULL ? len : 0;
        }
        note_clear(n);
    }
    return 0;
}

/* ---- the queue ---- */

static void count_bufs(struct disk *d)
{
    size_t in = 0, out = 0;
    for (size_t i = 0; i < d->n_jobs; i++) {
        enum xfer_job_kind k = d->job[i].j.kind;
        in += k == XFER_JOB_WRITE;
        out += k == XFER_JOB_READ || k == XFER_JOB_LIST;
    }
    d->bufs_in_max = in > d->bufs_in_max ? in : d->bufs_in_max;
    d->bufs_out_max = out > d->bufs_out_max ? out : d->bufs_out_max;
}

static char *keep_text(char *to, size_t cap, const char *s)
{
    (void)snprintf(to, cap, "%s", s != NULL ? s : "");
    return s != NULL ? to : NULL;
}

void disk_start(struct disk *d, const struct xfer_job *j)
{
    assert(d->n_jobs < DISK_JOBS);
    struct disk_job *v = &d->job[d->n_jobs++];
    v->j = *j;
    v->at = d->clock;
    v->bits = calloc(1, j->n_bits + 1);
    assert(v->bits != NULL);
    if (j->n_bits > 0) {
        memcpy(v->bits, j->bits, j->n_bits);
    }
    (void)keep_text(v->path, sizeof v->path, j->path);
    (void)keep_text(v->name, sizeof v->name, j->name);
    (void)keep_text(v->dest, sizeof v->dest, j->dest);
    count_bufs(d);
}

static bool runs_alone(enum xfer_job_kind kind)
{
    return kind != XFER_JOB_READ && kind != XFER_JOB_WRITE && kind != XFER_JOB_SYNC &&
           kind != XFER_JOB_LIST;
}

bool disk_may(const struct disk *d, size_t k)
{
    for (size_t i = 0; i < k; i++) {
        const struct xfer_job *a = &d->job[i].j, *b = &d->job[k].j;
        if (memcmp(a->key, b->key, WIRE_MID) == 0 &&
            (runs_alone(a->kind) || runs_alone(b->kind))) {
            return false;
        }
    }
    return true;
}

static int perform(struct disk *d, struct disk_job *j, struct xfer_result *r)
{
    struct disk_note *n = disk_note(d, j->j.key, j->j.incoming);
    switch (j->j.kind) {
    case XFER_JOB_SCAN:
        return do_scan(d, j, r);
    case XFER_JOB_CHECK:
        return do_check(d, n, r);
    case XFER_JOB_READ:
        return do_read(d, n, j, r);
    case XFER_JOB_SEAL:
        return do_seal(d, n, j, r);
    case XFER_JOB_LIST:
        return do_list(d, n, j, r);
    case XFER_JOB_OPEN:
        return do_open(d, n, j, r);
    case XFER_JOB_WRITE:
        return do_write(d, n, j);
    case XFER_JOB_SYNC:
        return do_sync(n, j);
    case XFER_JOB_TREE:
        return do_tree(n, j);
    case XFER_JOB_ROOT:
        return do_root(n, j);
    case XFER_JOB_KEEP:
        return do_keep(d, n, j, r);
    case XFER_JOB_FINISH:
        return do_finish(d, n, j, r);
    case XFER_JOB_DROP:
    case XFER_JOB_FORGET:
        return do_drop(d, n, j);
    }
    return ERR_STATE;
}

/* A disk that does not take what was written drops it; no hash of it is kept. */
static void sync_fails(struct disk *d, const struct disk_job *j)
{
    struct disk_note *n = disk_note(d, j->j.key, j->j.incoming);
    d->syncs_failed++;
    for (size_t i = 0; n != NULL && i < n->n_leaves; i++) {
        struct disk_leaf *l = &n->leaf[i];
        size_t len = 0;
        uint8_t *p = l->at == 0 ? NULL : (uint8_t *)(uintptr_t)leaf_bytes(n, i, &len);
        if (p != NULL) {
            memset(p, 0, len);
            d->used -= l->known ? len : 0;
            l->known = false;
        }
    }
}

void disk_run(struct disk *d, size_t k, struct xfer_result *r)
{
    static struct disk_job j; /* the result borrows its name */
    assert(k < d->n_jobs);
    j = d->job[k];
    memmove(d->job + k, d->job + k + 1, (--d->n_jobs - k) * sizeof *d->job);
    int *fail = &d->fail[j.j.kind];
    *r = (struct xfer_result){.id = j.j.id};
    if (*fail != 0 && j.j.kind == XFER_JOB_SYNC) {
        sync_fails(d, &j);
    }
    r->err = *fail != 0 ? *fail : perform(d, &j, r);
    *fail = 0;
    d->done[j.j.kind]++;
    free(j.bits);
    j.bits = NULL;
}

/* What was written since the last sync is there, or not; so are hashes that are kept. */
static void lose(struct disk *d, struct disk_note *n)
{
    for (size_t i = 0; i < n->n_leaves; i++) {
        struct disk_leaf *l = &n->leaf[i];
        size_t len = 0;
        if (l->at == 0) {
            continue;
        }
        uint8_t *p = n->incoming ? (uint8_t *)(uintptr_t)leaf_bytes(n, i, &len) : NULL;
        if (p != NULL && disk_rand(d, 2) == 0) {
            memset(p, 0, len);
        }
        if (disk_rand(d, 2) == 0) {
            d->used -= n->incoming && p != NULL ? len : 0;
            l->known = false;
        }
        l->at = 0;
    }
    if (n->incoming && n->part && !n->synced && disk_rand(d, 2) == 0) {
        note_clear(n);
    }
}

void disk_kill(struct disk *d, bool power)
{
    struct xfer_result r;
    while (d->n_jobs > 0) {
        bool renames = d->job[0].j.kind == XFER_JOB_FINISH;
        if (!renames && disk_rand(d, 2) == 0) {
            disk_run(d, 0, &r);
        } else {
            free(d->job[0].bits);
            memmove(d->job, d->job + 1, --d->n_jobs * sizeof *d->job);
        }
    }
    for (size_t i = 0; power && i < DISK_NOTES; i++) {
        if (d->note[i].used) {
            lose(d, &d->note[i]);
        }
    }
}
