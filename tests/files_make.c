#include "files_make.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/env.h"
#include "base/err.h"
#include "loop.h"

enum { OPEN_AT_ONCE = 16, PATHS = 8 };

struct world w;
static struct config_view view;

static void on_done(void *ctx, const struct xfer_result *r)
{
    (void)ctx;
    cr_assert_leq(r->id, w.n_got);
    struct got *g = &w.got[r->id - 1];
    cr_assert(!g->done, "told twice");
    *g = (struct got){.done = true,
                      .err = r->err,
                      .file_kind = r->file_kind,
                      .exec = r->exec,
                      .size = r->size,
                      .head = r->head,
                      .count = r->count,
                      .len = r->len};
    memcpy(g->hash, r->hash, sizeof g->hash);
    (void)snprintf(g->why, sizeof g->why, "%s", r->why == NULL ? "" : r->why);
    (void)snprintf(g->name, sizeof g->name, "%s", r->name == NULL ? "" : r->name);
    (void)snprintf(g->path, sizeof g->path, "%s", r->path == NULL ? "" : r->path);
    if (r->bits != NULL) {
        g->bits = malloc(r->n_bits + 1);
        cr_assert_not_null(g->bits);
        memcpy(g->bits, r->bits, r->n_bits);
        g->n_bits = r->n_bits;
    }
    w.n_done++;
}

static void files_begin(void)
{
    cr_assert_eq(files_new(w.loop, w.home, w.downloads, on_done, NULL, &w.files), 0);
}

void world_begin(void)
{
    char why[LOOP_WHY_MAX];
    cr_assert_geq(sodium_init(), 0);
    memset(&w, 0, sizeof w);
    (void)snprintf(w.top, sizeof w.top, "/tmp/linnet-files-XXXXXX");
    cr_assert_not_null(mkdtemp(w.top));
    (void)snprintf(w.home, sizeof w.home, "%s/home", w.top);
    (void)snprintf(w.kept, sizeof w.kept, "%s/files", w.home);
    (void)snprintf(w.downloads, sizeof w.downloads, "%s/down/loads", w.top);
    (void)snprintf(w.source, sizeof w.source, "%s/source", w.top);
    (void)snprintf(w.outside, sizeof w.outside, "%s/outside", w.top);
    cr_assert_eq(mkdir(w.home, 0700), 0);
    cr_assert_eq(mkdir(w.source, 0700), 0);
    cr_assert_eq(mkdir(w.outside, 0700), 0);
    view.scope = SCOPE_LAN;
    view.n_ifaces = 1;
    memcpy(view.ifaces[0], "lo", 3);
    cr_assert_eq(loop_new(env_system(), &view, 0, false, &w.loop, why), 0, "%s", why);
    files_begin();
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    (void)remove(path);
    return 0;
}

void world_end(void)
{
    files_free(w.files);
    loop_free(w.loop);
    for (size_t i = 0; i < w.n_got; i++) {
        free(w.got[i].bits);
    }
    free(w.got);
    (void)nftw(w.top, remove_one, OPEN_AT_ONCE, FTW_DEPTH | FTW_PHYS);
}

void world_restart(void)
{
    files_free(w.files);
    files_begin();
}

/* ---- jobs ---- */

uint64_t begin(struct xfer_job j)
{
    j.id = ++w.next_id;
    struct got *v = realloc(w.got, w.next_id * sizeof *v);
    cr_assert_not_null(v);
    w.got = v;
    memset(&w.got[w.n_got++], 0, sizeof *v);
    files_start(w.files, &j);
    return j.id;
}

struct got *wait_for(uint64_t id)
{
    while (!w.got[id - 1].done) {
        loop_once(w.loop, true);
    }
    return &w.got[id - 1];
}

struct got *run(struct xfer_job j)
{
    return wait_for(begin(j));
}

struct got *must(int err, struct xfer_job j)
{
    struct got *g = run(j);
    cr_assert_eq(g->err, err, "job %d gave %d: %s", (int)j.kind, g->err, g->why);
    return g;
}

/* ---- files ---- */

const char *at(const char *fmt, ...)
{
    static char paths[PATHS][PATH_MAX];
    static size_t next;
    char *out = paths[next++ % PATHS];
    int n = snprintf(out, PATH_MAX, "%s/", w.top);
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(out + n, PATH_MAX - (size_t)n, fmt, ap);
    va_end(ap);
    return out;
}

void put_file(const char *path, const void *p, size_t len)
{
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f, "%s", path);
    cr_assert_eq(fwrite(p, 1, len, f), len);
    cr_assert_eq(fclose(f), 0);
}

void fill_random(uint8_t *p, size_t size, uint64_t seed)
{
    uint8_t key[randombytes_SEEDBYTES] = {0};
    memcpy(key, &seed, sizeof seed);
    randombytes_buf_deterministic(p, size, key);
}

void put_random(const char *path, size_t size, uint64_t seed)
{
    uint8_t *p = malloc(size + 1);
    cr_assert_not_null(p);
    fill_random(p, size, seed);
    put_file(path, p, size);
    free(p);
}

uint8_t *get_file(const char *path, size_t *len)
{
    FILE *f = fopen(path, "r");
    cr_assert_not_null(f, "%s", path);
    struct stat st;
    cr_assert_eq(fstat(fileno(f), &st), 0);
    *len = (size_t)st.st_size;
    uint8_t *p = malloc(*len + 1);
    cr_assert_not_null(p);
    cr_assert_eq(fread(p, 1, *len, f), *len);
    cr_assert_eq(fclose(f), 0);
    return p;
}

bool same_file(const char *a, const char *b)
{
    size_t n, m;
    uint8_t *p = get_file(a, &n), *q = get_file(b, &m);
    bool same = n == m && memcmp(p, q, n) == 0;
    free(p);
    free(q);
    return same;
}

bool is_there(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

size_t count_in(const char *dir)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    cr_assert_not_null(d, "%s", dir);
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        n += e->d_name[0] != '.';
    }
    (void)closedir(d);
    return n;
}

/* ---- a transfer ---- */

void move_scan(struct move *m, const char *path, unsigned n)
{
    *m = (struct move){.out = {.kind = XFER_JOB_SCAN, .path = path},
                       .in = {.incoming = true}};
    memset(m->out.key, 2 * (int)n, sizeof m->out.key);
    memset(m->in.key, 2 * (int)n + 1, sizeof m->in.key);
    const struct got *g = must(0, m->out);
    memcpy(m->from, g->path, sizeof m->from);
    memcpy(m->name, g->name, sizeof m->name);
    m->out.path = m->from;
    m->in.name = m->name;
    m->out.file_kind = m->in.file_kind = g->file_kind;
    m->out.exec = m->in.exec = g->exec;
    m->out.sized = m->in.sized = true;
    m->out.size = m->in.size = g->size;
    m->out.head = m->in.head = g->head;
    m->out.count = m->in.count = g->count;
}

void move_open(struct move *m)
{
    m->in.kind = XFER_JOB_OPEN;
    m->in.bits = m->bits;
    m->in.n_bits = m->n_bits;
    const struct got *g = must(0, m->in);
    memcpy(m->to, g->path, sizeof m->to);
    m->in.path = m->to;
    m->bits = g->bits;
    m->n_bits = g->n_bits;
}

uint32_t move_count(const struct move *m)
{
    return (uint32_t)hashtree_leaves(m->in.size);
}

void move_leaf(struct move *m, uint32_t leaf)
{
    uint8_t *buf = malloc(HASHTREE_LEAF);
    cr_assert_not_null(buf);
    m->out.kind = XFER_JOB_READ;
    m->in.kind = XFER_JOB_WRITE;
    m->out.buf = m->in.buf = buf;
    m->out.leaf = m->in.leaf = leaf;
    const struct got *g = must(0, m->out);
    m->in.len = g->len;
    memcpy(m->in.hash, g->hash, sizeof g->hash);
    (void)must(0, m->in);
    free(buf);
}

void move_leaves(struct move *m, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        move_leaf(m, i);
    }
}

void move_tree(struct move *m)
{
    m->in.kind = XFER_JOB_TREE;
    const struct got *g = must(0, m->in);
    cr_assert_eq(g->size, m->in.size);
}

void move_finish(struct move *m)
{
    m->in.kind = XFER_JOB_SYNC;
    (void)must(0, m->in);
    m->out.kind = XFER_JOB_SEAL;
    memcpy(m->root, must(0, m->out)->hash, sizeof m->root);
    m->in.kind = XFER_JOB_ROOT;
    memcpy(m->in.hash, m->root, sizeof m->root);
    (void)must(0, m->in);
    m->in.kind = XFER_JOB_FINISH;
    memcpy(m->to, must(0, m->in)->path, sizeof m->to);
}

void move_all(struct move *m, const char *path, unsigned n)
{
    move_scan(m, path, n);
    move_open(m);
    uint32_t head =
        m->in.file_kind == FILE_FOLDER ? (uint32_t)hashtree_leaves(m->in.head) : 0;
    move_leaves(m, 0, head);
    if (m->in.file_kind == FILE_FOLDER) {
        move_tree(m);
    }
    move_leaves(m, head, move_count(m));
    move_finish(m);
}
