/* Files that come in: the part that leaves are written to, until it gets its name. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "files_priv.h"

static bool is_folder(const struct files_job *j)
{
    return j->in.file_kind == FILE_FOLDER;
}

/* ---- opening what is there ---- */

static int gone(struct files_job *j)
{
    char shown[FILES_SHOWN_MAX + 1];
    return files_fail(j, ERR_NOTFOUND,
                      "%s, where the transfer was kept, is gone or was replaced.",
                      files_shown(j->in.path, shown));
}

/* A regular file that has no other name, or a folder; no link to something else. */
static int open_part(struct files_job *j, int *out)
{
    if (j->in.path == NULL) {
        return files_fail(j, ERR_ARG, "The transfer has no place yet.");
    }
    int flags = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    int fd = j->in.pipe     ? files_kept_open(j, "spool", O_RDWR)
             : is_folder(j) ? open(j->in.path, flags | O_RDONLY | O_DIRECTORY)
                            : open(j->in.path, flags | O_RDWR);
    struct stat st;
    if (fd < 0 && j->in.kind == XFER_JOB_READ) { /* of one that is finished */
        fd = open(j->in.path, flags | O_RDONLY);
    }
    if (fd < 0) {
        bool other = errno == ENOENT || errno == ENOTDIR || errno == ELOOP ||
                     errno == EISDIR || errno == ENXIO;
        return other ? gone(j)
                     : files_fail_errno(j, errno, "cannot be opened", j->in.path);
    }
    if (fstat(fd, &st) != 0 ||
        (!is_folder(j) && (!S_ISREG(st.st_mode) || st.st_nlink != 1))) {
        (void)files_close(&fd);
        return gone(j);
    }
    *out = fd;
    return 0;
}

/* Its mode tells whether what it names has been made. */
static int open_manifest(struct files_job *j, int *out, bool *made)
{
    struct stat st;
    int fd = files_kept_open(j, "manifest", O_RDONLY | O_CREAT);
    if (fd < 0 || fstat(fd, &st) != 0) {
        int e = errno;
        (void)files_close(&fd);
        return files_fail_errno(j, e, "cannot be opened", j->f->dir);
    }
    *made = (st.st_mode & S_IWUSR) == 0;
    if (!*made) {
        (void)files_close(&fd);
        fd = files_kept_open(j, "manifest", O_RDWR);
    }
    if (fd < 0) {
        return files_fail_errno(j, errno, "cannot be opened", j->f->dir);
    }
    *out = fd;
    return 0;
}

/* What the manifest that was found right names. */
static int load_tree(struct files_job *j, struct files_tree **out)
{
    uint8_t *p;
    size_t len;
    int err = files_kept_read(j, "manifest", WIRE_MANIFEST_MAX, &p, &len);
    if (err == 0) {
        err =
            j->in.head <= len ? files_tree_parse(p, (size_t)j->in.head, out) : ERR_FORMAT;
        free(p);
    }
    return err == ERR_FORMAT || err == ERR_NOTFOUND ? gone(j) : err;
}

int files_part_get(struct files_job *j)
{
    struct files_open *o = j->o;
    int err = 0;
    (void)pthread_mutex_lock(&o->lock);
    if (o->fd < 0) {
        err = open_part(j, &o->fd);
    }
    if (err == 0 && is_folder(j) && o->manifest < 0) {
        err = open_manifest(j, &o->manifest, &o->made);
    }
    if (err == 0 && o->made && o->tree == NULL) {
        err = load_tree(j, &o->tree);
    }
    (void)pthread_mutex_unlock(&o->lock);
    return err;
}

/* ---- leaves ---- */

int files_part_read(struct files_job *j, uint8_t *p, size_t len, uint64_t at)
{
    int err = files_part_get(j);
    const struct files_open *o = j->o;
    if (err != 0) {
        return err;
    }
    size_t n = len; /* what is read as it stands */
    if (o->made) {
        n = at >= o->tree->head        ? 0
            : o->tree->head - at < len ? (size_t)(o->tree->head - at)
                                       : len;
    }
    ssize_t got = n == 0 ? 0 : files_pread(is_folder(j) ? o->manifest : o->fd, p, n, at);
    if (got < 0) {
        return files_fail_errno(j, errno, "cannot be read", j->in.path);
    }
    memset(p + got, 0, n - (size_t)got);
    return n == len ? 0 : files_tree_read(j, p + n, len - n, at + n);
}

static int write_plain(struct files_job *j, int fd, const uint8_t *p, size_t len,
                       uint64_t at, const char *path)
{
    (void)pthread_mutex_lock(&j->o->writing);
    int e = files_pwrite(fd, p, len, at) == 0 ? 0 : errno;
    (void)pthread_mutex_unlock(&j->o->writing);
    return e == 0 ? 0 : files_fail_errno(j, e, "cannot be written", path);
}

/* The manifest was checked and its tree made: what comes again must be the same. */
static int same_manifest(struct files_job *j, const uint8_t *p, size_t len, uint64_t at)
{
    uint8_t *kept = malloc(len + 1);
    if (kept == NULL) {
        return ERR_NOMEM;
    }
    ssize_t got = files_pread(j->o->manifest, kept, len, at);
    bool same = got >= 0 && (size_t)got == len && memcmp(kept, p, len) == 0;
    free(kept);
    return same ? 0
                : files_fail(
                      j, ERR_FORMAT,
                      "The sender's list of what is in the folder has changed while "
                      "it was being sent. Ask for it to be sent again.");
}

static int write_folder(struct files_job *j, const uint8_t *p, size_t len, uint64_t at)
{
    const struct files_open *o = j->o;
    uint64_t head = o->made ? o->tree->head : j->in.head;
    if (!o->made) { /* the first contents wait behind the manifest */
        return at < head ? write_plain(j, o->manifest, p, len, at, j->f->dir)
                         : files_fail(j, ERR_STATE,
                                      "The list of what is in the folder is not "
                                      "there yet.");
    }
    size_t n = at >= head ? 0 : head - at < len ? (size_t)(head - at) : len;
    int err = n == 0 ? 0 : same_manifest(j, p, n, at);
    return err != 0 || n == len ? err : files_tree_write(j, p + n, len - n, at + n);
}

static uint64_t bytes_left(const struct statvfs *v)
{
    uint64_t blocks = (uint64_t)v->f_bavail, unit = (uint64_t)v->f_frsize;
    return unit > 0 && blocks > UINT64_MAX / unit ? UINT64_MAX : blocks * unit;
}

/* A stream was not asked for by its size, and does not fill the disk either. */
static int check_stream(struct files_job *j)
{
    struct statvfs v;
    char shown[FILES_SHOWN_MAX + 1];
    if (j->in.file_kind != FILE_STREAM || fstatvfs(j->o->fd, &v) != 0 ||
        bytes_left(&v) >= FILES_SPARE + j->in.len) {
        return 0;
    }
    return files_fail(j, ERR_FULL,
                      "The disk of %s has too little room left for more of it. Make room "
                      "there, then it goes on.",
                      files_shown(j->in.path, shown));
}

int files_part_write(struct files_job *j)
{
    uint64_t at = (uint64_t)j->in.leaf * HASHTREE_LEAF;
    size_t len = j->in.len;
    bool fits = len > 0 && len <= HASHTREE_LEAF && j->in.leaf < HASHTREE_LEAVES_MAX;
    if (fits && j->in.sized) {
        fits = at < j->in.size && len == hashtree_leaf_len(j->in.size, j->in.leaf);
    }
    if (!fits) {
        return files_fail(j, ERR_ARG, "There is no such part of the file.");
    }
    uint8_t hash[HASHTREE_HASH];
    hashtree_leaf(j->in.buf, len, hash);
    if (memcmp(hash, j->in.hash, sizeof hash) != 0) {
        return files_fail(j, ERR_AUTH, "What came does not fit its hash.");
    }
    int err = files_part_get(j);
    if (err == 0) {
        err = check_stream(j);
    }
    if (err == 0) {
        err = is_folder(j) ? write_folder(j, j->in.buf, len, at)
                           : write_plain(j, j->o->fd, j->in.buf, len, at, j->in.path);
    }
    /* In this order: a hash that is kept was written for what is there. */
    return err == 0 ? files_hash_keep(j, j->in.leaf, hash) : err;
}

int files_part_sync(struct files_job *j)
{
    int err = files_part_get(j);
    const struct files_open *o = j->o;
    if (err != 0) {
        return err;
    }
    int failed = !is_folder(j) ? fdatasync(o->fd)
                 : o->made     ? syncfs(o->fd)
                               : fdatasync(o->manifest);
    if (failed == 0) {
        return 0;
    }
    /* What the disk did not take may still be read, and would fit its hash: from now on
     * only what was durable before is there. */
    int e = errno;
    return files_hashes_forget(j) == 0
               ? files_fail_errno(j, e, "cannot be written", j->in.path)
               : files_fail_errno(j, errno, "cannot be written", j->f->dir);
}

/* ---- a new part ---- */

static int check_space(struct files_job *j, int dir, const char *path)
{
    struct statvfs v;
    char shown[FILES_SHOWN_MAX + 1], has[FILES_SIZE_TEXT], wants[FILES_SIZE_TEXT];
    if (!j->in.sized || fstatvfs(dir, &v) != 0) {
        return 0; /* then writing finds it out */
    }
    uint64_t left = bytes_left(&v);
    if (left >= j->in.size && left - j->in.size >= FILES_SPARE) {
        return 0;
    }
    files_size_text(left, has);
    files_size_text(j->in.size, wants);
    return files_fail(
        j, ERR_FULL,
        "%s has %s left, which is too little for the %s that would come. Make "
        "room there, or take it in elsewhere.",
        files_shown(path, shown), has, wants);
}

static int make_spool(struct files_job *j)
{
    char name[FILES_KEPT_MAX];
    files_kept_name(j->o, "spool", name);
    int err = check_space(j, j->f->dir_fd, j->f->dir);
    if (err != 0) {
        return err;
    }
    if (!files_join(j->path, j->f->dir, name)) {
        return files_fail_errno(j, ENAMETOOLONG, "cannot be used", j->f->dir);
    }
    (void)unlinkat(j->f->dir_fd, name, 0); /* of a start that was cut off */
    j->o->fd = files_kept_open(j, "spool", O_RDWR | O_CREAT | O_EXCL);
    return j->o->fd >= 0 && files_sync_dir(j->f->dir_fd)
               ? 0
               : files_fail_errno(j, errno, "cannot be written", j->f->dir);
}

/* Whether nothing has that name. False: errno, EEXIST when something has. */
static bool is_free(int dir, const char *name)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        errno = EEXIST;
    }
    return errno == ENOENT;
}

/* Makes the part, with the mode of a new one. -1 (errno). */
static int make_at(struct files_job *j, int dir, const char *part)
{
    if (is_folder(j)) {
        return mkdirat(dir, part, FILES_NEW_DIR_MODE) != 0
                   ? -1
                   : openat(dir, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    return openat(dir, part, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                  FILES_NEW_MODE);
}

/* Notes which file it is, should the node end before its path is stored, here or when it
 * gets its name. Before it is made: what it is going to be called, without an inode. */
static int note_part(struct files_job *j)
{
    struct stat st;
    struct files_entry e = {.path = j->path, .folder = is_folder(j)};
    struct files_tree t = {.v = &e, .n = 1};
    if (j->o->fd >= 0) {
        if (fstat(j->o->fd, &st) != 0) {
            return files_fail_errno(j, errno, "cannot be used", j->path);
        }
        files_id_of(&st, &e.id);
    }
    return files_notes_write(j, &t);
}

/* Makes the part when nothing is in its way, nor in that of what it becomes. 0; or an
 * error, with errno EEXIST: take the next one. */
static int make_noted(struct files_job *j, int dir, const char *name, const char *part)
{
    int err;
    if (is_free(dir, name) && is_free(dir, part)) {
        err = note_part(j);
        if (err != 0) {
            errno = 0;
            return err;
        }
        j->o->fd = make_at(j, dir, part);
    }
    if (j->o->fd < 0) {
        int e = errno;
        err = files_fail_errno(j, e, "cannot be made", j->path);
        errno = e;
        return err == ERR_NOTFOUND ? ERR_IO : err; /* no part was there */
    }
    err = note_part(j);
    bool usable =
        fchmod(j->o->fd, is_folder(j) ? FILES_PART_DIR_MODE : FILES_PART_MODE) == 0 ||
        errno == EPERM || errno == EOPNOTSUPP; /* some disks know no such mode */
    if (err == 0 && (!usable || !files_sync_dir(dir))) {
        err = files_fail_errno(j, errno, "cannot be written", j->path);
    }
    if (err != 0) {
        (void)unlinkat(dir, part, is_folder(j) ? AT_REMOVEDIR : 0);
    }
    errno = 0;
    return err;
}

static int make_in(struct files_job *j, int dir, const char *path, const char *wanted)
{
    char name[WIRE_FILE_NAME_MAX + 1], part[WIRE_FILE_NAME_MAX + 1];
    const size_t room = sizeof FILES_PART - 1;
    int err = check_space(j, dir, path);
    if (err == 0 && is_folder(j)) { /* and itself */
        err = files_room_for(j, dir, path, j->in.count + 1);
    }
    for (unsigned n = 0; err == 0 && n <= FILES_CLASHES_MAX; n++) {
        files_numbered(wanted, is_folder(j), n, 0, name);
        files_numbered(wanted, is_folder(j), n, room, part);
        memcpy(part + strlen(part), FILES_PART, room + 1);
        if (!files_join(j->path, path, part)) {
            return files_fail_errno(j, ENAMETOOLONG, "cannot be used", path);
        }
        int made = make_noted(j, dir, name, part);
        if (made == 0 || errno != EEXIST) {
            return made;
        }
    }
    return err != 0
               ? err
               : files_fail(j, ERR_IO,
                            "There are too many files of this name already: clear up "
                            "the folder, or take it in elsewhere.");
}

static int make_part(struct files_job *j)
{
    char path[PATH_MAX], wanted[WIRE_FILE_NAME_MAX + 1];
    if (j->in.pipe) {
        return make_spool(j);
    }
    int err = files_place(j, path, wanted);
    if (err != 0) {
        return err;
    }
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        err = files_fail_errno(j, errno, "cannot be used", path);
        return err == ERR_NOTFOUND ? ERR_IO : err;
    }
    err = make_in(j, dir, path, wanted);
    (void)files_close(&dir);
    return err;
}

/* Whether what has the noted path is the part. One that was not noted again after it was
 * made is empty and still has the mode of a new one, which no other transfer's has. */
static bool is_part_of(const struct files_entry *e)
{
    struct stat st;
    if (lstat(e->path, &st) != 0) {
        return false;
    }
    bool folder = S_ISDIR(st.st_mode);
    mode_t mode = folder ? FILES_NEW_DIR_MODE : FILES_NEW_MODE;
    bool as_made = (st.st_mode & ACCESSPERMS) == mode && (folder || st.st_size == 0);
    return e->id.inode != 0 ? (uint64_t)st.st_ino == e->id.inode : as_made;
}

int files_part_remove_noted(struct files_job *j)
{
    struct files_tree *note = NULL;
    int err = 0;
    if (files_notes_read(j, &note) == 0) {
        if (note->n == 1 && is_part_of(&note->v[0])) {
            err = files_part_remove(j, note->v[0].path);
        }
        files_tree_free(note);
    }
    return err;
}

/* Removes an earlier part, and what it left in the home. */
static int begin_anew(struct files_job *j)
{
    (void)files_close_all(j->o);
    (void)files_part_remove_noted(j);
    int e = files_kept_remove(j);
    if (e != 0) {
        return files_fail_errno(j, e, "cannot be cleared", j->f->dir);
    }
    return files_hashes_open(j);
}

/* ---- a part that is there ---- */

int files_find_finished(struct files_job *j)
{
    struct files_tree *note = NULL;
    char dir[PATH_MAX], wanted[WIRE_FILE_NAME_MAX + 1];
    if (j->in.pipe || files_notes_read(j, &note) != 0) {
        return gone(j);
    }
    uint64_t inode = note->n == 1 ? note->v[0].id.inode : 0;
    files_tree_free(note);
    (void)snprintf(dir, sizeof dir, "%s", j->in.path);
    char *slash = strrchr(dir, '/');
    slash[slash == dir ? 1 : 0] = '\0';
    files_wanted(j, dir, wanted);
    for (unsigned n = 0; n <= FILES_CLASHES_MAX; n++) {
        char name[WIRE_FILE_NAME_MAX + 1];
        struct stat st;
        files_numbered(wanted, is_folder(j), n, 0, name);
        if (files_join(j->path, dir, name) && lstat(j->path, &st) == 0 &&
            (uint64_t)st.st_ino == inode) {
            j->in.path = j->path;
            return files_part_get(j);
        }
    }
    return gone(j);
}

static int leaf_of(const struct files_job *j, uint64_t leaf, uint64_t there, size_t *len)
{
    uint64_t at = leaf * HASHTREE_LEAF;
    uint64_t size = j->in.sized ? j->in.size : there;
    if (at >= size) {
        return ERR_NOTFOUND;
    }
    *len = hashtree_leaf_len(size, leaf);
    return at + *len <= there ? 0 : ERR_NOTFOUND;
}

/* Bytes that leaves may lie in; of a folder that is made all, holes are found later. */
static int bytes_there(struct files_job *j, uint64_t *out)
{
    const struct files_open *o = j->o;
    struct stat st;
    if (fstat(is_folder(j) ? o->manifest : o->fd, &st) != 0) {
        return files_fail_errno(j, errno, "cannot be read", j->in.path);
    }
    *out = is_folder(j) && o->made ? o->tree->size : (uint64_t)st.st_size;
    return 0;
}

/* Whether a leaf is there. What is known to be durable is believed; its hash is made
 * again when a crash of the machine took it. What only has a hash is read. */
static int verify(struct files_job *j, uint64_t leaf, size_t len, const uint8_t *kept,
                  uint8_t *buf)
{
    static const uint8_t unknown[HASHTREE_HASH] = {0};
    uint8_t hash[HASHTREE_HASH];
    bool known = files_hash_known(kept);
    bool durable = leaf / 8 < j->in.n_bits && files_bit(j->in.bits, leaf);
    if (!durable && !known) {
        return 0;
    }
    int err = durable && known ? 0 : files_part_read(j, buf, len, leaf * HASHTREE_LEAF);
    if (err == ERR_NOTFOUND && is_folder(j)) { /* a file in it is: it is made again */
        return 0;
    }
    if (err != 0) {
        return err;
    }
    if (!durable || !known) {
        hashtree_leaf(buf, len, hash);
        err = !known ? files_hash_keep(j, leaf, hash) : 0;
        durable = !known || memcmp(hash, kept, sizeof hash) == 0;
    }
    files_bit_set(j->bits, leaf, durable);
    return err == 0 && !durable ? files_hash_keep(j, leaf, unknown) : err;
}

static int verify_all(struct files_job *j, uint64_t leaves)
{
    uint64_t there = 0;
    uint8_t *buf = malloc(HASHTREE_LEAF);
    int err = buf == NULL ? ERR_NOMEM : bytes_there(j, &there);
    for (uint64_t at = 0; err == 0 && at < leaves; at += HASHTREE_FANOUT) {
        uint8_t v[HASHTREE_FANOUT * HASHTREE_HASH];
        uint64_t left = leaves - at;
        size_t n = left < HASHTREE_FANOUT ? (size_t)left : (size_t)HASHTREE_FANOUT, len;
        err = files_hashes(j, at, n, v);
        for (size_t i = 0; err == 0 && i < n; i++) {
            if (leaf_of(j, at + i, there, &len) == 0) {
                err = files_given_up(j)
                          ? ERR_CLOSED
                          : verify(j, at + i, len, v + i * HASHTREE_HASH, buf);
            }
        }
    }
    free(buf);
    return err;
}

static int count_leaves(struct files_job *j, uint64_t *out)
{
    struct stat st;
    if (j->in.sized) {
        *out = hashtree_leaves(j->in.size);
        return *out <= HASHTREE_LEAVES_MAX ? 0 : ERR_LIMIT;
    }
    if (fstat(j->o->leaves, &st) != 0) {
        return files_fail_errno(j, errno, "cannot be read", j->f->dir);
    }
    uint64_t kept = (uint64_t)st.st_size / HASHTREE_HASH, told = 8 * j->in.n_bits;
    *out = kept > told ? kept : told;
    *out = *out < HASHTREE_LEAVES_MAX ? *out : HASHTREE_LEAVES_MAX;
    return 0;
}

/* Whether what is open is the part that was made, and not another file in its place. */
static bool same_part(struct files_job *j)
{
    struct files_tree *note = NULL;
    struct stat st;
    if (j->in.pipe) {
        return true; /* in the home */
    }
    bool same = files_notes_read(j, &note) == 0 && note->n == 1 &&
                fstat(j->o->fd, &st) == 0 && (uint64_t)st.st_ino == note->v[0].id.inode;
    files_tree_free(note);
    return same;
}

static int open_again(struct files_job *j)
{
    uint64_t leaves = 0;
    int err = files_part_get(j);
    if (err == ERR_NOTFOUND) {
        err = files_find_finished(j);
    }
    if (err == 0 && !same_part(j)) {
        j->in.n_bits = 0; /* nothing is known of it: what has a hash is read */
    }
    if (err == 0) {
        err = count_leaves(j, &leaves);
    }
    if (err == 0) {
        err = files_bits(j, leaves);
    }
    if (err == 0) {
        err = verify_all(j, leaves);
    }
    if (err == 0 && j->o->made) {
        files_tree_holes(j, j->bits);
    }
    j->out.path = j->in.path;
    return err;
}

int files_part_open(struct files_job *j)
{
    if (j->in.path != NULL) {
        return open_again(j);
    }
    int err = begin_anew(j);
    if (err == 0) {
        err = make_part(j);
    }
    if (err == 0) {
        err = files_part_get(j); /* a folder's manifest */
    }
    if (err == 0) {
        err = files_bits(j, j->in.sized ? hashtree_leaves(j->in.size) : 0);
    }
    j->out.path = j->path;
    return err;
}
