/* Files of ours that are sent: notes of what they were, and leaves of them.
 *
 * ID.source: version 1 ‖ entries 4 ‖ length of the manifest 8 ‖ for each: flags 1
 * (NOTE_FOLDER) ‖ inode 8 ‖ size 8 ‖ mtime 8 ‖ ctime 8 (both nanoseconds) ‖ length of the
 * path 2 ‖ path, which is empty when no folder is sent. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "files_priv.h"

enum { NOTES_VERSION = 1, NOTES_HEAD = 13, NOTE_HEAD = 35, NOTE_FOLDER = 1 };

/* ---- notes ---- */

int files_notes_write(struct files_job *j, const struct files_tree *t)
{
    size_t len = NOTES_HEAD;
    for (uint32_t i = 0; i < t->n; i++) {
        len += NOTE_HEAD + strlen(t->v[i].path);
    }
    uint8_t *p = malloc(len);
    if (p == NULL) {
        return ERR_NOMEM;
    }
    struct wr w = wr_init(p, len);
    wr_u8(&w, NOTES_VERSION);
    wr_u32(&w, t->n);
    wr_u64(&w, t->head);
    for (uint32_t i = 0; i < t->n; i++) {
        const struct files_entry *e = &t->v[i];
        wr_u8(&w, e->folder ? NOTE_FOLDER : 0);
        wr_u64(&w, e->id.inode);
        wr_u64(&w, e->id.size);
        wr_u64(&w, e->id.mtime_ns);
        wr_u64(&w, e->id.ctime_ns);
        wr_u16(&w, (uint16_t)strlen(e->path));
        wr_bytes(&w, e->path, strlen(e->path));
    }
    int err = files_kept_write(j, "source", p, w.len);
    free(p);
    return err;
}

static bool read_note(struct rd *r, struct files_entry *e, char **text)
{
    e->folder = (rd_u8(r) & NOTE_FOLDER) != 0;
    e->id.inode = rd_u64(r);
    e->id.size = rd_u64(r);
    e->id.mtime_ns = rd_u64(r);
    e->id.ctime_ns = rd_u64(r);
    e->size = e->folder ? 0 : e->id.size;
    size_t len = rd_u16(r);
    const uint8_t *path = rd_bytes(r, len);
    if (path == NULL) {
        return false;
    }
    memcpy(*text, path, len);
    (*text)[len] = '\0';
    e->path = *text;
    *text += len + 1;
    return true;
}

/* NULL: damaged, or (no_memory) there is none. */
static struct files_tree *parse_notes(const uint8_t *p, size_t len, bool *no_memory)
{
    struct rd r = rd_init(p, len);
    uint8_t version = rd_u8(&r);
    uint32_t n = rd_u32(&r);
    uint64_t head = rd_u64(&r);
    if (r.bad || version != NOTES_VERSION || n > WIRE_FILE_ENTRIES_MAX ||
        n > r.n / NOTE_HEAD || head > WIRE_MANIFEST_MAX) {
        return NULL;
    }
    struct files_tree *t = calloc(1, sizeof *t);
    if (t != NULL) {
        t->v = calloc((size_t)n + 1, sizeof *t->v);
        t->text = malloc(len); /* the heads leave room for each NUL */
    }
    if (t == NULL || t->v == NULL || t->text == NULL) {
        files_tree_free(t);
        *no_memory = true;
        return NULL;
    }
    char *text = t->text;
    t->head = t->size = head;
    bool ok = true;
    for (; ok && t->n < n; t->n++) {
        struct files_entry *e = &t->v[t->n];
        e->start = t->size;
        ok = read_note(&r, e, &text) && e->size <= WIRE_FILE_SIZE_MAX;
        t->size += e->size;
    }
    if (!ok || !rd_end(&r)) {
        files_tree_free(t);
        return NULL;
    }
    return t;
}

static int notes_gone(struct files_job *j)
{
    char shown[FILES_SHOWN_MAX + 1];
    return files_fail(
        j, ERR_NOTFOUND,
        "What this node noted about %s is gone from its home: send it again.",
        files_shown(j->in.path, shown));
}

int files_notes_read(struct files_job *j, struct files_tree **out)
{
    uint8_t *p;
    size_t len;
    int err = files_kept_read(j, "source", FILES_NOTES_MAX, &p, &len);
    if (err != 0) {
        return err;
    }
    bool no_memory = false;
    struct files_tree *t = parse_notes(p, len, &no_memory);
    free(p);
    bool fits = t != NULL && (j->in.file_kind == FILE_FOLDER || t->n == 1);
    if (!fits) {
        files_tree_free(t);
        return no_memory ? ERR_NOMEM : ERR_NOTFOUND;
    }
    *out = t;
    return 0;
}

/* ---- the source ---- */

static int changed(struct files_job *j, const char *path)
{
    char shown[FILES_SHOWN_MAX + 1];
    return files_fail(j, ERR_STALE,
                      "%s has changed since it was offered: send it again as it is now.",
                      files_shown(path, shown));
}

static int gone_or(struct files_job *j, int e, const char *path)
{
    return e == ELOOP ? changed(j, path) : files_fail_errno(j, e, "cannot be read", path);
}

/* A link in the path that the user named is followed; what is not a file any more is not
 * waited for. */
static int open_top(struct files_job *j, int *out)
{
    struct stat st;
    int fd = open(j->in.path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        int e = errno;
        (void)files_close(&fd);
        return files_fail_errno(j, e, "cannot be read", j->in.path);
    }
    if (j->in.file_kind == FILE_FOLDER ? !S_ISDIR(st.st_mode) : !S_ISREG(st.st_mode)) {
        (void)files_close(&fd);
        return changed(j, j->in.path);
    }
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    *out = fd;
    return 0;
}

static int open_kept(struct files_job *j, const char *ending, int *out)
{
    int fd = files_kept_open(j, ending, O_RDONLY);
    if (fd < 0) {
        return errno == ENOENT ? notes_gone(j)
                               : files_fail_errno(j, errno, "cannot be read", j->f->dir);
    }
    *out = fd;
    return 0;
}

/* What a job of a source needs, once for all that come. */
static int get(struct files_job *j)
{
    struct files_open *o = j->o;
    if (j->in.path == NULL) {
        return files_fail(j, ERR_ARG, "There is no path of what is to be sent.");
    }
    bool folder = j->in.file_kind == FILE_FOLDER, stream = j->in.file_kind == FILE_STREAM;
    (void)pthread_mutex_lock(&o->lock);
    int err = 0;
    if (o->tree == NULL && !stream) {
        err = files_notes_read(j, &o->tree);
        bool other = err == 0 && folder && o->tree->head != j->in.head;
        err = err == ERR_NOTFOUND || other ? notes_gone(j) : err;
    }
    if (err == 0 && o->manifest < 0 && folder) {
        err = open_kept(j, "manifest", &o->manifest);
    }
    if (err == 0 && o->fd < 0) {
        err = stream ? open_kept(j, "spool", &o->fd) : open_top(j, &o->fd);
    }
    (void)pthread_mutex_unlock(&o->lock);
    return err;
}

/* Looks at all of it by its path, as somebody else would find it now. */
static int compare_all(struct files_job *j)
{
    struct files_open *o = j->o;
    const struct files_tree *t = o->tree;
    struct files_at at;
    int err = 0;
    if (j->in.file_kind == FILE_PLAIN) {
        struct stat st;
        struct files_id id;
        if (fstat(o->fd, &st) != 0) {
            return files_fail_errno(j, errno, "cannot be read", j->in.path);
        }
        files_id_of(&st, &id);
        return files_id_equal(&id, &t->v[0].id) ? 0 : changed(j, j->in.path);
    }
    files_at_init(&at, o->fd);
    for (uint32_t i = 0; err == 0 && i < t->n; i++) {
        const struct files_entry *e = &t->v[i];
        const char *last;
        struct stat st;
        struct files_id id;
        int dir = e->folder ? -1 : files_at_dir(&at, e->path, &last);
        if (e->folder) {
            continue;
        }
        if (files_given_up(j)) {
            err = ERR_CLOSED;
        } else if (dir < 0 || fstatat(dir, last, &st, AT_SYMLINK_NOFOLLOW) != 0) {
            err = gone_or(j, errno, e->path);
        } else {
            files_id_of(&st, &id);
            err = S_ISREG(st.st_mode) && files_id_equal(&id, &e->id)
                      ? 0
                      : changed(j, e->path);
        }
    }
    files_at_release(&at);
    return err;
}

static int compare_spool(struct files_job *j)
{
    struct stat st;
    if (fstat(j->o->fd, &st) != 0) {
        return files_fail_errno(j, errno, "cannot be read", j->f->dir);
    }
    return (uint64_t)st.st_size >= j->in.size ? 0 : changed(j, j->in.path);
}

/* By the path, not by what may be open since long. */
static int compare_anew(struct files_job *j)
{
    (void)files_close(&j->o->fd);
    int err = get(j);
    if (err == 0) {
        err = j->in.file_kind == FILE_STREAM ? compare_spool(j) : compare_all(j);
    }
    return err;
}

int files_check(struct files_job *j)
{
    int err = compare_anew(j);
    uint64_t leaves = hashtree_leaves(j->in.size);
    if (err == 0) {
        err = leaves > HASHTREE_LEAVES_MAX ? ERR_LIMIT : files_bits(j, leaves);
    }
    for (uint64_t at = 0; err == 0 && at < leaves; at += HASHTREE_FANOUT) {
        uint8_t v[HASHTREE_FANOUT * HASHTREE_HASH];
        uint64_t left = leaves - at;
        size_t n = left < HASHTREE_FANOUT ? (size_t)left : (size_t)HASHTREE_FANOUT;
        err = files_given_up(j) ? ERR_CLOSED : files_hashes(j, at, n, v);
        for (size_t i = 0; err == 0 && i < n; i++) {
            files_bit_set(j->bits, at + i, files_hash_known(v + i * HASHTREE_HASH));
        }
    }
    return err;
}

int files_seal(struct files_job *j)
{
    int err = compare_anew(j);
    uint8_t root[HASHTREE_HASH];
    if (err == 0) {
        err = files_root(j, root);
    }
    if (err == ERR_STATE) {
        return files_fail(j, err, "Not all of the file has been hashed yet.");
    }
    if (err == 0) {
        memcpy(j->out.hash, root, sizeof root);
    }
    return err;
}

/* ---- a leaf ---- */

/* The file is compared behind the read: what was read is from before any change that
 * comes later. */
static int read_file(struct files_job *j, int fd, const struct files_entry *e,
                     const char *path, uint8_t *p, size_t len, uint64_t from)
{
    struct stat st;
    struct files_id id;
    ssize_t got = files_pread(fd, p, len, from);
    if (got < 0 || fstat(fd, &st) != 0) {
        return files_fail_errno(j, errno, "cannot be read", path);
    }
    files_id_of(&st, &id);
    return (size_t)got == len && files_id_equal(&id, &e->id) ? 0 : changed(j, path);
}

static int read_folder(struct files_job *j, uint8_t *p, size_t len, uint64_t from)
{
    const struct files_tree *t = j->o->tree;
    struct files_at at;
    int err = 0;
    files_at_init(&at, j->o->fd);
    for (uint32_t i = files_tree_find(t, from); err == 0 && len > 0 && i < t->n; i++) {
        const struct files_entry *e = &t->v[i];
        if (e->size == 0) {
            continue;
        }
        uint64_t in = from - e->start, left = e->size - in;
        size_t n = left < len ? (size_t)left : len;
        int fd = files_at_open(&at, e->path, O_RDONLY);
        err =
            fd < 0 ? gone_or(j, errno, e->path) : read_file(j, fd, e, e->path, p, n, in);
        (void)files_close(&fd);
        p += n;
        from += n;
        len -= n;
    }
    files_at_release(&at);
    return err != 0 || len == 0 ? err : ERR_ARG;
}

static int read_spool(struct files_job *j, int fd, uint8_t *p, size_t len, uint64_t from)
{
    ssize_t got = files_pread(fd, p, len, from);
    if (got < 0) {
        return files_fail_errno(j, errno, "cannot be read", j->f->dir);
    }
    return (size_t)got == len ? 0 : changed(j, j->in.path);
}

static int read_source(struct files_job *j, uint8_t *p, size_t len, uint64_t from)
{
    int err = get(j);
    const struct files_open *o = j->o;
    if (err != 0) {
        return err;
    }
    if (j->in.file_kind == FILE_PLAIN) {
        err = read_file(j, o->fd, &o->tree->v[0], j->in.path, p, len, from);
        bool gone = err == ERR_STALE && access(j->in.path, F_OK) != 0;
        return gone ? files_fail_errno(j, errno, "cannot be read", j->in.path) : err;
    }
    if (j->in.file_kind == FILE_STREAM) {
        return read_spool(j, o->fd, p, len, from);
    }
    uint64_t head = j->in.head;
    size_t n = from >= head ? 0 : head - from < len ? (size_t)(head - from) : len;
    if (n > 0) {
        err = read_spool(j, o->manifest, p, n, from);
    }
    return err != 0 || n == len ? err : read_folder(j, p + n, len - n, from + n);
}

/* Where a leaf is, and how long. Of a spool as much as the job says is there. */
static int leaf_len(struct files_job *j, uint64_t *from, size_t *len)
{
    bool spool = j->in.file_kind == FILE_STREAM && !j->in.incoming;
    *from = (uint64_t)j->in.leaf * HASHTREE_LEAF;
    bool fits = spool ? j->in.len > 0 && j->in.len <= HASHTREE_LEAF &&
                            *from <= WIRE_FILE_SIZE_MAX - j->in.len
                      : *from < j->in.size && j->in.size <= WIRE_FILE_SIZE_MAX;
    if (!fits) {
        return files_fail(j, ERR_ARG, "There is no such part of the file.");
    }
    *len = spool ? j->in.len : hashtree_leaf_len(j->in.size, j->in.leaf);
    return 0;
}

int files_read(struct files_job *j)
{
    uint64_t from;
    size_t len = 0;
    uint8_t hash[HASHTREE_HASH], kept[HASHTREE_HASH];
    int err = leaf_len(j, &from, &len);
    if (err == 0) {
        err = j->in.incoming ? files_part_read(j, j->in.buf, len, from)
                             : read_source(j, j->in.buf, len, from);
    }
    if (err == 0) {
        err = files_hashes(j, j->in.leaf, 1, kept);
    }
    if (err != 0) {
        return err;
    }
    hashtree_leaf(j->in.buf, len, hash);
    bool known = files_hash_known(kept);
    /* Of a file that was taken in nothing is given but what was verified. */
    if ((known || j->in.incoming) && memcmp(kept, hash, sizeof hash) != 0) {
        return changed(j, j->in.path);
    }
    err = known ? 0 : files_hash_keep(j, j->in.leaf, hash);
    if (err == 0) {
        j->out.len = len;
        memcpy(j->out.hash, hash, sizeof hash);
    }
    return err;
}
