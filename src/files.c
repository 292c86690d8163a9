#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "files_priv.h"
#include "loop.h"

/* ---- a job ---- */

static void job_free(struct files_job *j)
{
    if (j != NULL) {
        free(j->path_in);
        free(j->name_in);
        free(j->dest_in);
        free(j->downloads);
        free(j->bits_in);
        free(j->bits);
        free(j);
    }
}

/* "" counts as none. */
static bool copy_text(char **out, const char **in)
{
    *out = *in != NULL && **in != '\0' ? strdup(*in) : NULL;
    bool ok = *out != NULL || *in == NULL || **in == '\0';
    *in = *out;
    return ok;
}

static struct files_job *job_new(struct files *f, const struct xfer_job *in)
{
    struct files_job *j = calloc(1, sizeof *j);
    if (j == NULL) {
        return NULL;
    }
    j->f = f;
    j->age = atomic_load(&f->age);
    j->in = *in;
    j->in.bits = NULL;
    j->in.n_bits = 0;
    const char *downloads = in->kind == XFER_JOB_OPEN ? f->downloads : NULL;
    bool ok = copy_text(&j->path_in, &j->in.path);
    ok = copy_text(&j->name_in, &j->in.name) && ok;
    ok = copy_text(&j->dest_in, &j->in.dest) && ok;
    ok = copy_text(&j->downloads, &downloads) && ok;
    if (ok && in->bits != NULL && in->n_bits > 0) {
        j->bits_in = malloc(in->n_bits);
        ok = j->bits_in != NULL;
        if (ok) {
            memcpy(j->bits_in, in->bits, in->n_bits);
            j->in.bits = j->bits_in;
            j->in.n_bits = in->n_bits;
        }
    }
    if (!ok) {
        job_free(j);
        return NULL;
    }
    j->out.id = in->id;
    return j;
}

/* Jobs that read and write leaves of a file run beside each other, the others alone. */
static bool runs_alone(enum xfer_job_kind kind)
{
    switch (kind) {
    case XFER_JOB_READ:
    case XFER_JOB_WRITE:
    case XFER_JOB_SYNC:
    case XFER_JOB_LIST:
        return false;
    case XFER_JOB_SCAN:
    case XFER_JOB_CHECK:
    case XFER_JOB_SEAL:
    case XFER_JOB_OPEN:
    case XFER_JOB_TREE:
    case XFER_JOB_ROOT:
    case XFER_JOB_KEEP:
    case XFER_JOB_FINISH:
    case XFER_JOB_DROP:
    case XFER_JOB_FORGET:
        return true;
    }
    return true;
}

static int forget(struct files_job *j)
{
    (void)files_close_all(j->o);
    int e = files_kept_remove(j);
    return e == 0 ? 0 : files_fail_errno(j, e, "cannot be cleared", j->f->dir);
}

static bool needs_hashes(enum xfer_job_kind kind)
{
    return kind != XFER_JOB_SCAN && kind != XFER_JOB_FINISH && kind != XFER_JOB_DROP &&
           kind != XFER_JOB_FORGET;
}

static int run_kind(struct files_job *j)
{
    int err = needs_hashes(j->in.kind) ? files_hashes_open(j) : 0;
    if (err != 0) {
        return err;
    }
    switch (j->in.kind) {
    case XFER_JOB_SCAN:
        return files_scan(j);
    case XFER_JOB_CHECK:
        return files_check(j);
    case XFER_JOB_READ:
        return files_read(j);
    case XFER_JOB_SEAL:
        return files_seal(j);
    case XFER_JOB_LIST:
        return files_list(j);
    case XFER_JOB_OPEN:
        return files_part_open(j);
    case XFER_JOB_WRITE:
        return files_part_write(j);
    case XFER_JOB_SYNC:
        return files_part_sync(j);
    case XFER_JOB_TREE:
        return files_tree_make(j);
    case XFER_JOB_ROOT:
        return files_check_root(j);
    case XFER_JOB_KEEP:
        return files_compare(j);
    case XFER_JOB_FINISH:
        return files_part_finish(j);
    case XFER_JOB_DROP:
        return files_drop(j);
    case XFER_JOB_FORGET:
        return forget(j);
    }
    return ERR_ARG;
}

/* ---- on a worker ---- */

/* The workers are libuv's, which makes them when it likes: each one steps back when it
 * gets a job of ours. */
static void step_back(void)
{
    id_t self = (id_t)gettid();
    errno = 0;
    int nice = getpriority(PRIO_PROCESS, self);
    if (nice < FILES_NICE && errno == 0) {
        (void)setpriority(PRIO_PROCESS, self, FILES_NICE);
    }
}

static void on_worker(void *ctx)
{
    struct files_job *j = ctx;
    struct files *f = j->f;
    (void)pthread_mutex_lock(&f->lock);
    bool wanted = !files_given_up(j);
    f->running += wanted;
    (void)pthread_mutex_unlock(&f->lock);
    if (!wanted) {
        return;
    }
    step_back();
    j->out.err = run_kind(j);
    if (j->out.err == 0) {
        j->out.why = NULL; /* of something that was tried on the way */
    }
    (void)pthread_mutex_lock(&f->lock);
    if (--f->running == 0) {
        (void)pthread_cond_broadcast(&f->idle);
    }
    (void)pthread_mutex_unlock(&f->lock);
}

/* ---- the table of open files ---- */

bool files_close_all(struct files_open *o)
{
    files_tree_free(o->tree);
    o->tree = NULL;
    o->made = false;
    bool ok = files_close(&o->fd);
    ok = files_close(&o->leaves) && ok;
    return files_close(&o->manifest) && ok;
}

static bool idle(const struct files_open *o)
{
    return o->users == 0 && o->first == NULL;
}

static struct files_open *find(const struct files *f, const uint8_t key[WIRE_MID])
{
    struct files_open *o = f->open;
    while (o != NULL && memcmp(o->key, key, WIRE_MID) != 0) {
        o = o->next;
    }
    return o;
}

static void open_free(struct files *f, struct files_open *o)
{
    struct files_open **at = &f->open;
    while (*at != o) {
        at = &(*at)->next;
    }
    *at = o->next;
    f->n_open--;
    (void)files_close_all(o);
    (void)pthread_mutex_destroy(&o->lock);
    (void)pthread_mutex_destroy(&o->writing);
    free(o);
}

/* A place for a file: that of the idle one that was used longest ago, if need be. NULL:
 * all are busy, or (no_memory) there is none. */
static struct files_open *open_new(struct files *f, const uint8_t key[WIRE_MID],
                                   bool *no_memory)
{
    struct files_open *oldest = NULL;
    for (struct files_open *o = f->open; o != NULL; o = o->next) {
        if (idle(o) && (oldest == NULL || o->used < oldest->used)) {
            oldest = o;
        }
    }
    if (f->n_open == FILES_OPEN_MAX && oldest == NULL) {
        return NULL;
    }
    struct files_open *o = calloc(1, sizeof *o);
    if (o == NULL) {
        *no_memory = true;
        return NULL;
    }
    (void)pthread_mutex_init(&o->lock, NULL); /* neither fails in glibc */
    (void)pthread_mutex_init(&o->writing, NULL);
    if (f->n_open == FILES_OPEN_MAX) {
        open_free(f, oldest);
    }
    memcpy(o->key, key, WIRE_MID);
    (void)sodium_bin2hex(o->hex, sizeof o->hex, key, WIRE_MID);
    o->fd = o->leaves = o->manifest = -1;
    o->next = f->open;
    f->open = o;
    f->n_open++;
    return o;
}

/* ---- queues ---- */

static void append(struct files_job **first, struct files_job **last, struct files_job *j)
{
    j->next = NULL;
    *(*first == NULL ? first : &(*last)->next) = j;
    *last = j;
}

static struct files_job *take(struct files_job **first, struct files_job **last)
{
    struct files_job *j = *first;
    *first = j->next;
    *last = *first == NULL ? NULL : *last;
    return j;
}

static void tell(struct files *f, struct files_job *j)
{
    if (!files_given_up(j)) {
        f->done(f->ctx, &j->out);
    }
    job_free(j);
}

static void on_loop(void *ctx);

/* Hands to the workers what may run now. */
static void pump_open(struct files *f, struct files_open *o)
{
    while (o->first != NULL) {
        bool alone = runs_alone(o->first->in.kind);
        if (o->alone || (alone && o->users > 0)) {
            return;
        }
        struct files_job *j = take(&o->first, &o->last);
        o->users++;
        o->alone = alone;
        o->used = ++f->clock;
        f->n_jobs++;
        if (loop_work(f->loop, on_worker, on_loop, j) != 0) {
            o->users--;
            o->alone = false;
            f->n_jobs--;
            append(&f->failed_first, &f->failed_last, j);
        }
    }
}

/* Gives places to the files of jobs that wait for one, in order. */
static void pump_waiting(struct files *f)
{
    struct files_job *j = f->first;
    f->first = f->last = NULL;
    while (j != NULL) {
        struct files_job *next = j->next;
        bool no_memory = false;
        struct files_open *o = find(f, j->in.key);
        o = o == NULL ? open_new(f, j->in.key, &no_memory) : o;
        if (o != NULL) {
            j->o = o;
            append(&o->first, &o->last, j);
            pump_open(f, o);
        } else if (no_memory) {
            append(&f->failed_first, &f->failed_last, j);
        } else {
            append(&f->first, &f->last, j);
        }
        j = next;
    }
}

/* Whoever is told may start further jobs, so nothing of the table is held meanwhile. */
static void tell_failed(struct files *f)
{
    while (f->failed_first != NULL) {
        struct files_job *j = take(&f->failed_first, &f->failed_last);
        j->out.err = ERR_NOMEM;
        tell(f, j);
    }
}

static void on_loop(void *ctx)
{
    struct files_job *j = ctx;
    struct files *f = j->f;
    struct files_open *o = j->o;
    o->users--;
    o->alone = false;
    f->n_jobs--;
    pump_open(f, o);
    if (idle(o) && o->fd < 0 && o->leaves < 0) {
        open_free(f, o);
    }
    pump_waiting(f);
    tell(f, j);
    tell_failed(f);
}

void files_start(struct files *f, const struct xfer_job *job)
{
    struct files_job *j = job_new(f, job);
    if (j == NULL) {
        struct xfer_result none = {.id = job->id, .err = ERR_NOMEM};
        f->done(f->ctx, &none);
        return;
    }
    append(&f->first, &f->last, j);
    pump_waiting(f);
    tell_failed(f);
}

/* ---- life ---- */

static int open_folder(struct files *f, const char *home)
{
    struct stat st;
    if (realpath(home, f->home) == NULL || !files_join(f->dir, f->home, "files") ||
        stat(f->home, &st) != 0) {
        return ERR_IO;
    }
    f->home_dev = st.st_dev;
    f->home_inode = st.st_ino;
    if (mkdir(f->dir, FILES_PART_DIR_MODE) != 0 && errno != EEXIST) {
        return ERR_IO;
    }
    f->dir_fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return f->dir_fd >= 0 && fchmod(f->dir_fd, FILES_PART_DIR_MODE) == 0 ? 0 : ERR_IO;
}

int files_new(struct loop *l, const char *home, const char *downloads, files_done *done,
              void *ctx, struct files **out)
{
    struct files *f = calloc(1, sizeof *f);
    if (f == NULL) {
        return ERR_NOMEM;
    }
    f->loop = l;
    f->done = done;
    f->ctx = ctx;
    f->dir_fd = -1;
    (void)pthread_mutex_init(&f->lock, NULL); /* neither fails in glibc */
    (void)pthread_cond_init(&f->idle, NULL);
    int err = open_folder(f, home);
    f->downloads = strdup(downloads);
    if (err == 0 && f->downloads == NULL) {
        err = ERR_NOMEM;
    }
    if (err != 0) {
        files_free(f);
        return err;
    }
    *out = f;
    return 0;
}

void files_set_downloads(struct files *f, const char *downloads)
{
    char *copy = strdup(downloads);
    if (copy != NULL) {
        free(f->downloads);
        f->downloads = copy;
    }
}

static void drop_queue(struct files_job **first, struct files_job **last)
{
    while (*first != NULL) {
        job_free(take(first, last));
    }
}

void files_forget(struct files *f)
{
    (void)pthread_mutex_lock(&f->lock);
    (void)atomic_fetch_add(&f->age, 1);
    while (f->running > 0) {
        (void)pthread_cond_wait(&f->idle, &f->lock);
    }
    (void)pthread_mutex_unlock(&f->lock);
    drop_queue(&f->first, &f->last);
    for (struct files_open *o = f->open; o != NULL; o = o->next) {
        drop_queue(&o->first, &o->last);
    }
}

void files_free(struct files *f)
{
    if (f == NULL) {
        return;
    }
    files_forget(f);
    while (f->n_jobs > 0) { /* the loop still has to hand them back */
        loop_once(f->loop, true);
    }
    tell_failed(f);
    while (f->open != NULL) {
        open_free(f, f->open);
    }
    (void)files_close(&f->dir_fd);
    (void)pthread_cond_destroy(&f->idle);
    (void)pthread_mutex_destroy(&f->lock);
    free(f->downloads);
    free(f);
}

void files_clean(struct files *f, bool (*needs)(void *ctx, const uint8_t key[WIRE_MID]),
                 void *ctx)
{
    DIR *d = opendir(f->dir);
    if (d == NULL) {
        return;
    }
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        uint8_t key[WIRE_MID];
        if (files_kept_parse(e->d_name, key) && find(f, key) == NULL &&
            !needs(ctx, key)) {
            (void)unlinkat(f->dir_fd, e->d_name, 0);
        }
    }
    (void)closedir(d);
}
