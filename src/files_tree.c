/* What a folder holds: which file has which bytes of what is sent, and the way to it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "files_priv.h"

/* ---- the way down ---- */

void files_at_init(struct files_at *at, int top)
{
    at->top = top;
    at->fd = -1;
    at->len = 0;
    at->path[0] = '\0';
}

void files_at_release(struct files_at *at)
{
    if (at->fd != at->top) {
        (void)files_close(&at->fd);
    }
    at->fd = -1;
}

/* Opens the folder path[0 .. len) component by component. */
static int go_down(struct files_at *at, const char *path, size_t len)
{
    int fd = at->top;
    for (size_t i = 0; i < len;) {
        size_t n = 0;
        while (i + n < len && path[i + n] != '/') {
            n++;
        }
        char name[NAME_MAX + 1];
        int next = -1;
        if (n > NAME_MAX) {
            errno = ENAMETOOLONG;
        } else {
            memcpy(name, path + i, n);
            name[n] = '\0';
            next = openat(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        }
        int e = errno;
        if (fd != at->top) {
            (void)files_close(&fd);
        }
        if (next < 0) {
            errno = e;
            return -1;
        }
        fd = next;
        i += n + 1;
    }
    return fd;
}

int files_at_dir(struct files_at *at, const char *path, const char **last)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - path);
    *last = slash == NULL ? path : slash + 1;
    if (at->fd >= 0 && at->len == len && memcmp(at->path, path, len) == 0) {
        return at->fd;
    }
    files_at_release(at);
    if (len >= sizeof at->path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    at->fd = go_down(at, path, len);
    memcpy(at->path, path, len);
    at->len = len;
    return at->fd;
}

int files_at_open(struct files_at *at, const char *path, int flags)
{
    const char *last;
    int dir = files_at_dir(at, path, &last);
    return dir < 0
               ? -1
               : openat(dir, last, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
                        FILES_PART_MODE);
}

/* ---- a manifest ---- */

void files_tree_free(struct files_tree *t)
{
    if (t != NULL) {
        free(t->v);
        free(t->text);
        free(t);
    }
}

uint32_t files_tree_find(const struct files_tree *t, uint64_t at)
{
    uint32_t lo = 0, hi = t->n; /* the last one that starts at or before at */
    while (hi - lo > 1) {
        uint32_t mid = lo + (hi - lo) / 2;
        *(t->v[mid].start <= at ? &lo : &hi) = mid;
    }
    return lo;
}

/* Counts, and finds out whether all of it is right. */
static bool measure(const uint8_t *p, size_t len, uint32_t *n, size_t *text)
{
    struct rd r = rd_init(p, len);
    struct wire_manifest_at at = {0};
    struct wire_manifest_entry e;
    *n = 0;
    *text = 0;
    while (wire_manifest_next(&r, &at, &e)) {
        *n += 1;
        *text += e.path_len + 1;
    }
    return !r.bad && at.total <= WIRE_FILE_SIZE_MAX - len;
}

int files_tree_parse(const uint8_t *p, size_t len, struct files_tree **out)
{
    uint32_t n;
    size_t text;
    if (!measure(p, len, &n, &text)) {
        return ERR_FORMAT;
    }
    struct files_tree *t = calloc(1, sizeof *t);
    if (t != NULL) {
        t->v = calloc((size_t)n + 1, sizeof *t->v);
        t->text = malloc(text + 1);
    }
    if (t == NULL || t->v == NULL || t->text == NULL) {
        files_tree_free(t);
        return ERR_NOMEM;
    }
    struct rd r = rd_init(p, len);
    struct wire_manifest_at at = {0};
    struct wire_manifest_entry e;
    char *next = t->text;
    t->head = t->size = len;
    while (t->n < n && wire_manifest_next(&r, &at, &e)) {
        memcpy(next, e.path, e.path_len);
        next[e.path_len] = '\0';
        t->v[t->n++] = (struct files_entry){.start = t->size,
                                            .size = e.size,
                                            .path = next,
                                            .folder = (e.flags & MANIFEST_FOLDER) != 0,
                                            .exec = (e.flags & MANIFEST_EXEC) != 0};
        next += e.path_len + 1;
        t->size += e.size;
    }
    *out = t;
    return 0;
}

/* ---- contents of an incoming folder ---- */

static int not_ours(struct files_job *j, const char *path)
{
    char shown[FILES_SHOWN_MAX + 1];
    return files_fail(
        j, ERR_NOTFOUND,
        "%s is not the file any more that was made for the transfer: another "
        "program has put something in its place.",
        files_shown(path, shown));
}

/* One that we made: what something else with its name leads to is not touched. */
static int open_ours(struct files_job *j, struct files_at *at, const char *path,
                     int flags, int *out)
{
    struct stat st;
    int fd = files_at_open(at, path, flags);
    if (fd < 0) {
        return errno == ELOOP || errno == ENOTDIR || errno == ENXIO
                   ? not_ours(j, path)
                   : files_fail_errno(j, errno, "cannot be opened", path);
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1) {
        (void)files_close(&fd);
        return not_ours(j, path);
    }
    *out = fd;
    return 0;
}

/* The part of one file that lies in [at, at + len). */
struct stretch {
    const struct files_entry *e;
    uint64_t from; /* in the file */
    size_t len;
};

static bool next_stretch(const struct files_tree *t, uint32_t *i, uint64_t at, size_t len,
                         struct stretch *out)
{
    while (*i < t->n && t->v[*i].size == 0) {
        *i += 1;
    }
    if (len == 0 || *i == t->n) {
        return false;
    }
    const struct files_entry *e = &t->v[(*i)++];
    uint64_t from = at - e->start, left = e->size - from;
    *out = (struct stretch){.e = e, .from = from, .len = left < len ? (size_t)left : len};
    return true;
}

static int write_one(struct files_job *j, struct files_at *at, const struct stretch *s,
                     const uint8_t *p)
{
    int fd;
    int err = open_ours(j, at, s->e->path, O_WRONLY, &fd);
    if (err != 0) {
        return err;
    }
    int e = files_pwrite(fd, p, s->len, s->from) == 0 ? 0 : errno;
    if (!files_close(&fd) && e == 0) {
        e = errno;
    }
    return e == 0 ? 0 : files_fail_errno(j, e, "cannot be written", s->e->path);
}

static int read_one(struct files_job *j, struct files_at *at, const struct stretch *s,
                    uint8_t *p)
{
    int fd;
    int err = open_ours(j, at, s->e->path, O_RDONLY, &fd);
    if (err != 0) {
        return err;
    }
    ssize_t got = files_pread(fd, p, s->len, s->from);
    int e = errno;
    (void)files_close(&fd);
    if (got < 0) {
        return files_fail_errno(j, e, "cannot be read", s->e->path);
    }
    memset(p + got, 0, s->len - (size_t)got);
    return 0;
}

int files_tree_write(struct files_job *j, const uint8_t *p, size_t len, uint64_t at)
{
    const struct files_tree *t = j->o->tree;
    uint32_t i = files_tree_find(t, at);
    struct files_at dir;
    struct stretch s;
    int err = 0;
    files_at_init(&dir, j->o->fd);
    while (err == 0 && next_stretch(t, &i, at, len, &s)) {
        err = write_one(j, &dir, &s, p);
        p += s.len;
        at += s.len;
        len -= s.len;
    }
    files_at_release(&dir);
    return err != 0 || len == 0 ? err : ERR_ARG;
}

int files_tree_read(struct files_job *j, uint8_t *p, size_t len, uint64_t at)
{
    const struct files_tree *t = j->o->tree;
    uint32_t i = files_tree_find(t, at);
    struct files_at dir;
    struct stretch s;
    int err = 0;
    files_at_init(&dir, j->o->fd);
    while (err == 0 && next_stretch(t, &i, at, len, &s)) {
        err = read_one(j, &dir, &s, p);
        p += s.len;
        at += s.len;
        len -= s.len;
    }
    files_at_release(&dir);
    return err != 0 || len == 0 ? err : ERR_ARG;
}

/* ---- making it ---- */

struct made {
    uint64_t inode;
    uint32_t entry;
};

static int by_inode(const void *a, const void *b)
{
    const struct made *x = a, *y = b;
    return x->inode < y->inode ? -1 : x->inode > y->inode;
}

static int clash(struct files_job *j, const char *path)
{
    char shown[FILES_SHOWN_MAX + 1];
    return files_fail(j, ERR_FORMAT,
                      "%s cannot be made: on this disk another name of the folder is the "
                      "same. Take it in on another one.",
                      files_shown(path, shown));
}

/* Makes an entry, or takes what a run before made. */
static int make_one(struct files_job *j, struct files_at *at, const struct files_entry *e,
                    uint64_t *inode)
{
    const char *last;
    struct stat st;
    int dir = files_at_dir(at, e->path, &last), fd = -1;
    if (dir < 0) {
        return files_fail_errno(j, errno, "cannot be made", e->path);
    }
    if (e->folder) {
        if ((mkdirat(dir, last, FILES_PART_DIR_MODE) != 0 && errno != EEXIST) ||
            fstatat(dir, last, &st, AT_SYMLINK_NOFOLLOW) != 0) {
            return files_fail_errno(j, errno, "cannot be made", e->path);
        }
        *inode = (uint64_t)st.st_ino;
        return S_ISDIR(st.st_mode)   ? 0
               : S_ISREG(st.st_mode) ? clash(j, e->path)
                                     : not_ours(j, e->path);
    }
    fd = files_at_open(at, e->path, O_WRONLY | O_CREAT | O_EXCL);
    if (fd < 0 && errno != EEXIST) {
        return files_fail_errno(j, errno, "cannot be made", e->path);
    }
    int err = fd < 0 ? open_ours(j, at, e->path, O_WRONLY, &fd) : 0;
    if (err != 0) {
        return errno == EISDIR ? clash(j, e->path) : err;
    }
    bool ok = fstat(fd, &st) == 0 &&
              ((uint64_t)st.st_size <= e->size || ftruncate(fd, (off_t)e->size) == 0);
    int err_no = errno;
    if (!files_close(&fd) && ok) {
        ok = false;
        err_no = errno;
    }
    *inode = (uint64_t)st.st_ino;
    return ok ? 0 : files_fail_errno(j, err_no, "cannot be made", e->path);
}

/* Before anything is made: whether there is room for what an earlier run has not made. */
static int room_for_all(struct files_job *j, const struct files_tree *t)
{
    struct files_at at;
    uint32_t n = 0;
    if (files_room_for(j, j->o->fd, j->in.path, t->n) == 0) {
        return 0;
    }
    files_at_init(&at, j->o->fd);
    for (uint32_t i = 0; i < t->n; i++) {
        struct stat st;
        const char *last;
        int dir = files_at_dir(&at, t->v[i].path, &last);
        n += dir < 0 || fstatat(dir, last, &st, AT_SYMLINK_NOFOLLOW) != 0;
    }
    files_at_release(&at);
    return files_room_for(j, j->o->fd, j->in.path, n);
}

static int make_all(struct files_job *j, const struct files_tree *t)
{
    struct made *v = calloc((size_t)t->n + 1, sizeof *v);
    struct files_at at;
    int err = v == NULL ? ERR_NOMEM : 0;
    files_at_init(&at, j->o->fd);
    for (uint32_t i = 0; err == 0 && i < t->n; i++) {
        v[i].entry = i;
        err = files_given_up(j) ? ERR_CLOSED : make_one(j, &at, &t->v[i], &v[i].inode);
    }
    files_at_release(&at);
    if (err == 0) { /* a disk may take names for the same that a manifest does not */
        qsort(v, t->n, sizeof *v, by_inode);
    }
    for (uint32_t i = 1; err == 0 && i < t->n; i++) {
        if (v[i].inode == v[i - 1].inode) {
            char a[FILES_SHOWN_MAX + 1], b[FILES_SHOWN_MAX + 1];
            err = files_fail(j, ERR_FORMAT,
                             "The folder has %s and %s, which are the same name on this "
                             "disk. Take it in on another one.",
                             files_shown(t->v[v[i - 1].entry].path, a),
                             files_shown(t->v[v[i].entry].path, b));
        }
    }
    free(v);
    return err;
}

/* The leaf that ends the manifest may bring the first contents with it; they were kept
 * behind it. */
static int move_rest(struct files_job *j, const struct files_tree *t)
{
    uint64_t end = hashtree_leaves(t->head) * HASHTREE_LEAF;
    size_t len = (size_t)((end < t->size ? end : t->size) - t->head);
    uint8_t *p = malloc(len + 1);
    if (p == NULL) {
        return ERR_NOMEM;
    }
    ssize_t got = files_pread(j->o->manifest, p, len, t->head);
    int err = got < 0 ? files_fail_errno(j, errno, "cannot be read", j->f->dir) : 0;
    if (err == 0) {
        err = (size_t)got == len ? files_tree_write(j, p, len, t->head) : ERR_STATE;
    }
    free(p);
    return err;
}

/* Reads the manifest that came and compares it with the offer. */
static int read_manifest(struct files_job *j, struct files_tree **out)
{
    struct files_tree *t = NULL;
    size_t len = (size_t)j->in.head;
    if (j->in.head > WIRE_MANIFEST_MAX) {
        return ERR_FORMAT;
    }
    uint8_t *p = malloc(len + 1);
    if (p == NULL) {
        return ERR_NOMEM;
    }
    ssize_t got = files_pread(j->o->manifest, p, len, 0);
    int err = got < 0 ? files_fail_errno(j, errno, "cannot be read", j->f->dir)
              : (size_t)got < len ? ERR_FORMAT
                                  : files_tree_parse(p, len, &t);
    free(p);
    if (err == 0 && (t->n != j->in.count || (j->in.sized && t->size != j->in.size))) {
        err = ERR_FORMAT;
    }
    if (err == ERR_FORMAT) {
        (void)files_fail(j, err,
                         "The sender's list of what is in the folder is not right. "
                         "Ask for it to be sent again.");
    }
    if (err != 0) {
        files_tree_free(t);
        return err;
    }
    *out = t;
    return 0;
}

int files_tree_make(struct files_job *j)
{
    struct files_open *o = j->o;
    int err = files_part_get(j);
    if (err == 0) {
        files_tree_free(o->tree);
        o->tree = NULL;
        err = read_manifest(j, &o->tree);
    }
    if (err == 0) {
        err = room_for_all(j, o->tree);
    }
    if (err == 0) {
        err = make_all(j, o->tree);
    }
    if (err == 0 && !o->made) {
        err = move_rest(j, o->tree);
    }
    if (err == 0 && syncfs(o->fd) != 0) {
        err = files_fail_errno(j, errno, "cannot be written", j->in.path);
    }
    /* From here on contents are in their files, also for a node that starts anew. */
    if (err == 0 && !o->made &&
        (fchmod(o->manifest, FILES_MANIFEST_DONE) != 0 || fsync(o->manifest) != 0)) {
        err = files_fail_errno(j, errno, "cannot be written", j->f->dir);
    }
    if (err != 0) {
        files_tree_free(o->tree);
        o->tree = NULL;
        return err;
    }
    o->made = true;
    j->out.size = o->tree->size;
    j->out.head = o->tree->head;
    j->out.count = o->tree->n;
    return 0;
}

int files_tree_modes(struct files_job *j)
{
    const struct files_tree *t = j->o->tree;
    struct files_at at;
    int err = 0;
    files_at_init(&at, j->o->fd);
    for (uint32_t i = 0; err == 0 && i < t->n; i++) {
        const struct files_entry *e = &t->v[i];
        struct stat st;
        int fd = -1;
        if (e->folder) {
            continue;
        }
        err = open_ours(j, &at, e->path, O_RDONLY, &fd);
        if (err == 0 && (fstat(fd, &st) != 0 || (uint64_t)st.st_size != e->size)) {
            err = not_ours(j, e->path);
        }
        if (err == 0 && e->exec && fchmod(fd, FILES_PART_DIR_MODE) != 0 &&
            errno != EPERM && errno != EOPNOTSUPP) { /* some disks know no such mode */
            err = files_fail_errno(j, errno, "cannot be made executable", e->path);
        }
        (void)files_close(&fd);
    }
    files_at_release(&at);
    return err;
}

void files_tree_holes(struct files_job *j, uint8_t *bits)
{
    const struct files_tree *t = j->o->tree;
    struct files_at at;
    files_at_init(&at, j->o->fd);
    for (uint32_t i = 0; i < t->n; i++) {
        const struct files_entry *e = &t->v[i];
        const char *last;
        struct stat st;
        int dir = e->size == 0 ? -1 : files_at_dir(&at, e->path, &last);
        bool ours = dir >= 0 && fstatat(dir, last, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                    S_ISREG(st.st_mode) && st.st_nlink == 1;
        uint64_t there = ours ? (uint64_t)st.st_size : 0;
        if (there < e->size) {
            uint64_t to = (e->start + e->size - 1) / HASHTREE_LEAF;
            for (uint64_t k = (e->start + there) / HASHTREE_LEAF; k <= to; k++) {
                files_bit_set(bits, k, false);
            }
        }
    }
    files_at_release(&at);
}

void files_tree_remove(const struct files_tree *t, int top)
{
    struct files_at at;
    files_at_init(&at, top);
    for (uint32_t i = t->n; i > 0; i--) { /* what is in a folder stands behind it */
        const struct files_entry *e = &t->v[i - 1];
        const char *last;
        int dir = files_at_dir(&at, e->path, &last);
        if (dir >= 0) { /* a folder that holds something else stays */
            (void)unlinkat(dir, last, e->folder ? AT_REMOVEDIR : 0);
        }
    }
    files_at_release(&at);
}
