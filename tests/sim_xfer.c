/* Transfers under everything that goes wrong, deterministic from a seed: two to five
 * nodes in one conversation that offer files, folders and streams, accept, pause and
 * cancel; links that come and go, programs that are killed, power that is lost, disks
 * that are full or fail, sources that change, liars, jobs and frames in any order. At the
 * end all is healed and all meet, and then:
 *
 *   - who accepted a file that was not cancelled or changed has it, byte for byte;
 *   - nobody has ever finished other bytes;
 *   - no leaf that was verified, and not lost with the power, came again;
 *   - no buffer and no job is left, and both ends tell the same of a file.
 *
 *   sim_xfer                 the fixed seeds and a fresh one
 *   sim_xfer --seed N        one of them, told step by step
 *   sim_xfer FROM TO         seeds FROM to TO */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xfer_priv.h"
#include "xfer_world.h"

enum { SEEDS = 200, STEPS = 90, FILES = 8, LEAVES = 12, MEETINGS = 4, MINUTE = 60000 };

static bool say_all;

#define note(...)                                                                        \
    do {                                                                                 \
        if (say_all) {                                                                   \
            (void)printf(__VA_ARGS__);                                                   \
        }                                                                                \
    } while (0)

struct sim_file {
    uint8_t mid[WIRE_MID];
    size_t author;
    uint8_t kind;
    bool open; /* a stream that has not ended */
    bool changed, cancelled;
    uint8_t *copy; /* of the source before it changed */
    size_t copy_len;
    uint64_t received[XW_NODES]; /* leaves, in lives that have ended */
    bool lost[XW_NODES];         /* power went, or what came was not right */
};

struct walk {
    struct xw *w;
    uint64_t seed;
    struct sim_file file[FILES];
    size_t n_files;
    size_t liar; /* XW_NODES: nobody */
    bool ok;
};

#define fail(v, ...)                                                                     \
    do {                                                                                 \
        (void)printf("seed %llu: ", (unsigned long long)(v)->seed);                      \
        (void)printf(__VA_ARGS__);                                                       \
        (v)->ok = false;                                                                 \
    } while (0)

/* ---- what happens ---- */

static void offer(struct walk *v)
{
    struct xw *w = v->w;
    size_t i = xw_rand(w, (uint32_t)w->n);
    if (v->n_files == FILES || w->node[i].x == NULL || w->node[i].jobs_held) {
        return;
    }
    struct disk *d = &w->node[i].disk;
    struct sim_file *f = &v->file[v->n_files];
    uint32_t leaves = xw_rand(w, 3) == 0 ? xw_rand(w, LEAVES + 1) : xw_rand(w, 4);
    size_t len = (size_t)leaves * HASHTREE_LEAF;
    len -= len > 0 && xw_rand(w, 2) == 0 ? xw_rand(w, HASHTREE_LEAF) : 0;
    char path[DISK_PATH];
    (void)snprintf(path, sizeof path, "/src/%zu", d->n_sources);
    uint64_t salt = v->n_files + 1;
    uint32_t kind = xw_rand(w, 4);
    *f = (struct sim_file){.author = i, .kind = FILE_PLAIN};
    if (kind == 0) {
        f->kind = FILE_STREAM;
        f->open = true;
    } else if (kind == 1) {
        f->kind = FILE_FOLDER;
        (void)disk_put_folder(d, path, 1 + leaves, len / (1 + leaves), salt);
    } else {
        (void)disk_put(d, path, len, salt);
    }
    uint8_t before[WIRE_MID];
    memcpy(before, w->node[i].mid, sizeof before);
    if (xw_scan(w, i, 1, kind == 0 ? NULL : path, "name") != 0) {
        return;
    }
    while (memcmp(before, w->node[i].mid, WIRE_MID) == 0 && d->n_jobs > 0) {
        (void)xw_step(w);
    }
    if (memcmp(before, w->node[i].mid, WIRE_MID) == 0) {
        return; /* the disk failed */
    }
    memcpy(f->mid, w->node[i].mid, WIRE_MID);
    note("%zu: node %zu offers kind %u, %zu bytes\n", v->n_files, i, f->kind, len);
    v->n_files++;
}

static struct sim_file *any_file(struct walk *v)
{
    return v->n_files == 0 ? NULL : &v->file[xw_rand(v->w, (uint32_t)v->n_files)];
}

static void spool(struct walk *v, struct sim_file *f, bool end)
{
    struct xw_node *n = &v->w->node[f->author];
    if (!f->open || n->x == NULL || xw_state(v->w, f->author, f->mid) != FILE_ACTIVE) {
        return;
    }
    uint32_t more = xw_rand(v->w, 3 * HASHTREE_LEAF);
    note("node %zu spools %u more%s\n", f->author, more, end ? ", and that is all" : "");
    (void)xw_spool(v->w, f->author, f->mid, more, end);
    f->open = !end;
}

static void user(struct walk *v)
{
    struct xw *w = v->w;
    size_t i = xw_rand(w, (uint32_t)w->n);
    struct sim_file *f = any_file(v);
    if (f == NULL || w->node[i].x == NULL || xw_file(w, i, f->mid) == NULL) {
        return;
    }
    uint32_t what = xw_rand(w, 24);
    note("node %zu does %u with %zu\n", i, what, (size_t)(f - v->file));
    if (what < 12) {
        (void)xw_accept(w, i, f->mid);
    } else if (what < 16) {
        (void)xw_do(w, i, f->mid, xfer_pause);
    } else if (what < 21) {
        (void)xw_do(w, i, f->mid, xfer_resume);
    } else if (what < 22) {
        (void)xw_do(w, i, f->mid, xfer_decline);
    } else if (what < 23) {
        f->cancelled = f->cancelled || i == f->author;
        (void)xw_do(w, i, f->mid, xfer_cancel);
    } else {
        spool(v, f, true);
    }
}

static void keep_received(struct walk *v, size_t i, bool power)
{
    struct xfer_view view;
    for (size_t k = 0; k < v->n_files; k++) {
        struct sim_file *f = &v->file[k];
        if (v->w->node[i].x != NULL && xw_view(v->w, i, f->mid, &view)) {
            f->received[i] += view.received;
        }
        f->lost[i] = f->lost[i] || power;
    }
}

static void die(struct walk *v)
{
    struct xw *w = v->w;
    size_t i = xw_rand(w, (uint32_t)w->n);
    bool power = xw_rand(w, 2) == 0;
    note("node %zu is %s\n", i, power ? "without power" : "killed");
    keep_received(v, i, power);
    xw_kill(w, i, power);
    w->node[i].jobs_held = false;
    if (xw_rand(w, 3) != 0) {
        xw_start(w, i);
        xw_mesh(w);
    }
}

static void change(struct walk *v)
{
    struct sim_file *f = any_file(v);
    struct disk_note *n =
        f == NULL ? NULL : disk_note(&v->w->node[f->author].disk, f->mid, false);
    if (n == NULL || n->source->p == NULL || f->changed || f->open) {
        return;
    }
    f->changed = true;
    f->copy_len = n->source->len;
    f->copy = malloc(f->copy_len + 1);
    if (f->copy == NULL) {
        abort();
    }
    memcpy(f->copy, n->source->p, f->copy_len);
    note("the source of %zu changes\n", (size_t)(f - v->file));
    switch (xw_rand(v->w, 3)) {
    case 0:
        disk_change(n->source);
        break;
    case 1:
        disk_shrink(n->source, n->source->len / 2);
        break;
    default:
        disk_remove(n->source);
        break;
    }
}

static void disk_trouble(struct walk *v)
{
    static const int errs[] = {ERR_IO, ERR_FULL, ERR_REFUSED};
    struct xw *w = v->w;
    struct disk *d = &w->node[xw_rand(w, (uint32_t)w->n)].disk;
    switch (xw_rand(w, 3)) {
    case 0:
        d->quota = d->used + xw_rand(w, 4 * HASHTREE_LEAF);
        break;
    case 1:
        d->quota = UINT64_MAX;
        break;
    default:
        d->fail[xw_rand(w, XFER_JOB_DROP)] = errs[xw_rand(w, 3)];
        break;
    }
}

static void link_trouble(struct walk *v)
{
    struct xw *w = v->w;
    size_t a = xw_rand(w, (uint32_t)w->n), b = xw_rand(w, (uint32_t)w->n);
    uint32_t what = xw_rand(w, 5);
    if (a == b) {
        return;
    }
    if (what == 0) {
        xw_cut(w, a, b);
    } else if (what == 1) {
        w->node[a].held[b] = !w->node[a].held[b];
    } else if (what == 2) {
        w->node[a].jobs_held = !w->node[a].jobs_held;
    } else {
        xw_link(w, a, b);
    }
    note("link or jobs of %zu, %zu: %u\n", a, b, what);
}

/* Somebody's rate; 0: any, everybody's. */
static void limit(struct xw *w, uint64_t rate)
{
    size_t one = xw_rand(w, (uint32_t)w->n);
    for (size_t i = 0; i < w->n; i++) {
        struct xw_node *n = &w->node[i];
        if (rate == 0 || i == one) {
            n->rate = rate;
            if (n->x != NULL) {
                xfer_limit(n->x, rate, w->now_ms);
            }
        }
    }
}

static void step(struct walk *v)
{
    struct xw *w = v->w;
    uint32_t what = xw_rand(w, 100);
    if (what < 12) {
        offer(v);
    } else if (what < 55) {
        user(v);
    } else if (what < 70) {
        link_trouble(v);
    } else if (what < 78) {
        struct sim_file *f = any_file(v);
        if (f != NULL) {
            spool(v, f, xw_rand(w, 4) == 0);
        }
    } else if (what < 84) {
        die(v);
    } else if (what < 90) {
        disk_trouble(v);
    } else if (what < 92) {
        change(v);
    } else if (what < 94) {
        limit(w, 1000000ull << xw_rand(w, 6));
    } else {
        w->now_ms += xw_rand(w, 8000);
    }
    for (uint32_t k = xw_rand(w, 3) == 0 ? xw_rand(w, 300) : xw_rand(w, 12); k > 0; k--) {
        (void)xw_step(w);
        xw_tick(w);
    }
}

/* ---- the end ---- */

static void heal(struct walk *v)
{
    struct xw *w = v->w;
    note("the end: all is healed\n");
    limit(w, 0);
    for (size_t i = 0; i < w->n; i++) {
        struct xw_node *n = &w->node[i];
        memset(n->held, 0, sizeof n->held);
        memset(n->disk.fail, 0, sizeof n->disk.fail);
        n->jobs_held = false;
        n->disk.quota = UINT64_MAX;
        if (n->x == NULL) {
            xw_start(w, i);
        }
    }
    for (size_t k = 0; k < v->n_files; k++) {
        for (size_t i = 0; i < w->n; i++) {
            if (xw_file(w, i, v->file[k].mid) != NULL) {
                (void)xw_do(w, i, v->file[k].mid, xfer_resume);
            }
        }
        spool(v, &v->file[k], true);
    }
    if (v->liar == XW_NODES && v->seed % 2 == 0) { /* over the links that there are */
        xw_mesh(w);
        xw_pass(w, 3 * MINUTE);
        return;
    }
    for (unsigned k = 0; k < MEETINGS; k++) {
        xw_mesh(w);
        xw_pass(w, k + 1 < MEETINGS ? 10000 : 3 * MINUTE);
        for (size_t a = 0; k + 1 < MEETINGS && a < w->n; a++) {
            for (size_t b = 0; b < a; b++) {
                xw_cut(w, a, b);
            }
        }
    }
}

static bool right(struct walk *v, const struct sim_file *f, size_t i)
{
    const struct disk_note *to = xw_note(v->w, i, f->author, f->mid);
    const struct disk_note *from = disk_note(&v->w->node[f->author].disk, f->mid, false);
    const uint8_t *p = f->copy != NULL ? f->copy : from->source->p;
    size_t len = f->copy != NULL ? f->copy_len : from->source->len;
    return to != NULL && to->finished && to->len == len &&
           (len == 0 || memcmp(to->p, p, len) == 0);
}

/* How it is inside, for who looks for a mistake. */
static void dump(const struct walk *v, const struct sim_file *f)
{
    for (size_t i = 0; i < v->w->n; i++) {
        const struct file *k = file_by_key(
            v->w->node[i].x, i == f->author ? 0 : (uint32_t)f->author + 1, f->mid);
        if (k == NULL) {
            continue;
        }
        note("  node %zu: state %u, flags %x, %llu leaves of %llu, retry %llu, jobs %u, "
             "checked %d\n",
             i, k->r.state, k->r.flags, (unsigned long long)k->n_have,
             (unsigned long long)file_leaves(k), (unsigned long long)k->retry_ms, k->jobs,
             k->checked);
        for (const struct source *s = k->get != NULL ? k->get->sources : NULL; s != NULL;
             s = s->next) {
            note("    step %d, %zu asks, list %u; of device %u: usable %d, liar %d, gone "
                 "%d, slow %d, paused %d, %u under way\n",
                 (int)k->get->step, k->get->n_asks, k->get->list_asked, s->peer->device,
                 s->usable, s->liar, s->gone, s->slow, s->paused, s->under_way);
        }
    }
}

static uint8_t told_end(const struct walk *v, const struct sim_file *f, size_t i)
{
    const struct xw_node *n = &v->w->node[f->author];
    const struct rec_file *r = xw_file(v->w, f->author, f->mid);
    for (size_t k = 0; k < n->n_recs; k++) {
        const struct rec *e = &n->recs[k];
        if (e->kind == REC_FILE_PEER && e->u.file_peer.file == r->id &&
            e->u.file_peer.contact == i + 1) {
            return e->u.file_peer.end;
        }
    }
    return 0;
}

static void check_receiver(struct walk *v, const struct sim_file *f, size_t i)
{
    struct xw *w = v->w;
    size_t k = (size_t)(f - v->file);
    unsigned state = xw_state(w, i, f->mid), ours = xw_state(w, f->author, f->mid);
    struct xfer_view view = {0};
    uint64_t came = f->received[i] + (xw_view(w, i, f->mid, &view) ? view.received : 0);
    if (state == FILE_DONE && f->author != v->liar && !right(v, f, i)) {
        fail(v, "file %zu is finished at node %zu with other bytes\n", k, i);
    }
    if (state == FILE_ACTIVE && f->author != v->liar) {
        fail(v, "file %zu is not done at node %zu (phase %u, %s; author %u)\n", k, i,
             view.phase, view.why != NULL ? view.why : "", ours);
        dump(v, f);
    }
    bool ends = state == FILE_BROKEN || state == FILE_LOST;
    if (ends && f->author != v->liar && !f->changed && !f->cancelled) {
        fail(v, "file %zu has ended as %u at node %zu\n", k, state, i);
    }
    if (state == FILE_CHANGED && !f->changed) {
        fail(v, "file %zu has not changed, as node %zu has it\n", k, i);
    }
    if (state == FILE_DONE && ours <= FILE_ACTIVE &&
        told_end(v, f, i) != FILE_END_RECEIVED) {
        fail(v, "node %zu has file %zu, and its author does not know\n", i, k);
    }
    bool lost = f->lost[i] || v->liar != XW_NODES || w->node[i].disk.syncs_failed > 0;
    if (state == FILE_DONE && !lost &&
        came > hashtree_leaves(xw_file(w, i, f->mid)->size)) {
        fail(v, "%llu leaves of file %zu came to node %zu\n", (unsigned long long)came, k,
             i);
    }
    if (view.resent != 0) {
        fail(v, "%llu leaves of file %zu came to node %zu again\n",
             (unsigned long long)view.resent, k, i);
    }
}

static void check(struct walk *v)
{
    struct xw *w = v->w;
    for (size_t k = 0; k < v->n_files; k++) {
        for (size_t i = 0; i < w->n; i++) {
            if (i != v->file[k].author) {
                check_receiver(v, &v->file[k], i);
            }
        }
    }
    for (size_t i = 0; i < w->n; i++) {
        const struct xw_node *n = &w->node[i];
        if (n->disk.n_jobs != 0 || n->x->jobs != NULL) {
            fail(v, "jobs are left at node %zu\n", i);
        }
        if (v->liar == XW_NODES &&
            (n->x->bufs[BUF_IN] != 0 || n->x->bufs[BUF_OUT] != 0)) {
            fail(v, "buffers are in use at node %zu\n", i);
        }
        if (n->resent != 0) {
            fail(v, "%llu leaves came to node %zu again\n", (unsigned long long)n->resent,
                 i);
        }
    }
}

static uint64_t walking;

static void died(int sig)
{
    (void)printf("seed %llu died\n", (unsigned long long)walking);
    (void)signal(sig, SIG_DFL);
    (void)raise(sig);
}

static bool walk(uint64_t seed)
{
    struct walk *v = calloc(1, sizeof *v);
    if (v == NULL) {
        abort();
    }
    v->seed = walking = seed;
    v->ok = true;
    size_t n = 2 + seed % 4;
    struct xw *w = v->w = xw_new(n, seed);
    w->shuffled = true;
    v->liar = xw_rand(w, 5) == 0 ? xw_rand(w, (uint32_t)n) : (size_t)XW_NODES;
    for (size_t i = 0; i < n; i++) {
        w->node[i].disk.quick = true;
    }
    if (v->liar != XW_NODES) {
        w->node[v->liar].disk.lie = 1 + xw_rand(w, LIE_FORK);
        note("node %zu lies: %d\n", v->liar, (int)w->node[v->liar].disk.lie);
    }
    xw_mesh(w);
    offer(v);
    for (unsigned k = 0; k < STEPS; k++) {
        step(v);
    }
    heal(v);
    check(v);
    bool ok = v->ok;
    for (size_t k = 0; k < v->n_files; k++) {
        free(v->file[k].copy);
    }
    xw_free(w);
    free(v);
    return ok;
}

int main(int argc, char **argv)
{
    uint64_t from = 1, to = SEEDS, failed = 0, fresh;
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    (void)signal(SIGABRT, died);
    if (argc == 3 && strcmp(argv[1], "--seed") == 0) {
        from = to = strtoull(argv[2], NULL, 10);
        say_all = true;
    } else if (argc == 3) {
        from = strtoull(argv[1], NULL, 10);
        to = strtoull(argv[2], NULL, 10);
    } else {
        env_random(env_system(), &fresh, sizeof fresh);
        printf("fresh seed %llu\n", (unsigned long long)fresh);
        failed += !walk(fresh);
    }
    for (uint64_t s = from; s <= to; s++) {
        failed += !walk(s);
    }
    printf("%llu of %llu seeds failed\n", (unsigned long long)failed,
           (unsigned long long)(to - from + 1 + (argc == 1)));
    return failed == 0 ? 0 : 1;
}
