/* The end of a file that comes in: it gets its name, or goes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "files_priv.h"

/* The folder of a path, and its last component. -1 (errno). */
static int open_dir_of(const char *path, char dir[PATH_MAX], const char **last)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL || strlen(path) >= PATH_MAX) {
        errno = ENAMETOOLONG;
        return -1;
    }
    size_t len = slash == path ? 1 : (size_t)(slash - path);
    memcpy(dir, path, len);
    dir[len] = '\0';
    *last = slash + 1;
    return open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* ---- the name ---- */

/* Where the file system does not know RENAME_NOREPLACE. A folder takes the place of an
 * empty one, which nobody can have put something into. */
static int rename_otherwise(int dir, const char *part, const char *name, bool folder)
{
    if (folder) {
        return mkdirat(dir, name, FILES_PART_DIR_MODE) != 0
                   ? -1
                   : renameat(dir, part, dir, name);
    }
    return linkat(dir, part, dir, name, 0) != 0 ? -1 : unlinkat(dir, part, 0);
}

/* 0, or -1 (errno; EEXIST: the name is taken). */
static int rename_new(int dir, const char *part, const char *name, bool folder)
{
    if (renameat2(dir, part, dir, name, RENAME_NOREPLACE) == 0) {
        return 0;
    }
    return errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP
               ? rename_otherwise(dir, part, name, folder)
               : -1;
}

/* Gives the part the name that is wanted for it, or the next one that is free. */
static int give_name(struct files_job *j, int dir, const char *path, const char *part)
{
    char wanted[WIRE_FILE_NAME_MAX + 1], name[WIRE_FILE_NAME_MAX + 1];
    bool folder = j->in.file_kind == FILE_FOLDER;
    files_wanted(j, path, wanted);
    for (unsigned n = 0; n <= FILES_CLASHES_MAX; n++) {
        files_numbered(wanted, folder, n, 0, name);
        if (!files_join(j->path, path, name)) {
            return files_fail_errno(j, ENAMETOOLONG, "cannot be used", path);
        }
        if (rename_new(dir, part, name, folder) == 0) {
            return files_sync_dir(dir)
                       ? 0
                       : files_fail_errno(j, errno, "cannot be written", path);
        }
        if (errno != EEXIST) {
            return files_fail_errno(j, errno, "cannot get its name", j->in.path);
        }
    }
    return files_fail(j, ERR_IO,
                      "There are too many files of this name already: clear up "
                      "the folder, then it goes on.");
}

static int replaced(struct files_job *j)
{
    char shown[FILES_SHOWN_MAX + 1];
    return files_fail(
        j, ERR_NOTFOUND,
        "%s, where the transfer was kept, was changed or replaced by another "
        "program.",
        files_shown(j->in.path, shown));
}

/* What is behind the end came from a leaf that was wrong and has been replaced since. */
static int settle_plain(struct files_job *j)
{
    int fd = j->o->fd;
    struct stat st;
    if (!j->in.pipe && !files_is_part(j->in.path)) { /* it may be in use already */
        return fsync(fd) == 0
                   ? 0
                   : files_fail_errno(j, errno, "cannot be written", j->in.path);
    }
    if (fstat(fd, &st) != 0 ||
        ((uint64_t)st.st_size > j->in.size && ftruncate(fd, (off_t)j->in.size) != 0)) {
        return files_fail_errno(j, errno, "cannot be written", j->in.path);
    }
    if ((uint64_t)st.st_size < j->in.size) {
        return replaced(j);
    }
    if (j->in.exec && !j->in.pipe && fchmod(fd, FILES_PART_DIR_MODE) != 0 &&
        errno != EPERM && errno != EOPNOTSUPP) { /* some disks know no such mode */
        return files_fail_errno(j, errno, "cannot be made executable", j->in.path);
    }
    return fsync(fd) == 0 ? 0
                          : files_fail_errno(j, errno, "cannot be written", j->in.path);
}

static int settle_folder(struct files_job *j)
{
    int err = j->o->made ? 0 : files_tree_make(j);
    if (err == 0) {
        err = files_tree_modes(j);
    }
    if (err == 0 && (!files_sync_dir(j->o->fd) || syncfs(j->o->fd) != 0)) {
        err = files_fail_errno(j, errno, "cannot be written", j->in.path);
    }
    return err;
}

static int finish_part(struct files_job *j)
{
    char path[PATH_MAX];
    const char *part = NULL;
    struct stat st, named;
    bool known = fstat(j->o->fd, &st) == 0;
    int dir = open_dir_of(j->in.path, path, &part);
    int err = 0;
    if (!known || dir < 0) {
        err = files_fail_errno(j, errno, "cannot be used", j->in.path);
    } else if (fstatat(dir, part, &named, AT_SYMLINK_NOFOLLOW) != 0 ||
               named.st_ino != st.st_ino || named.st_dev != st.st_dev) {
        err = replaced(j);
    } else if (!files_close_all(j->o)) {
        err = files_fail_errno(j, errno, "cannot be written", j->in.path);
    }
    if (err == 0) {
        err = give_name(j, dir, path, part);
    }
    (void)files_close(&dir);
    return err;
}

int files_part_finish(struct files_job *j)
{
    int err = files_part_get(j);
    if (err == ERR_NOTFOUND) {
        err = files_find_finished(j);
    }
    if (err == 0) {
        err = j->in.file_kind == FILE_FOLDER ? settle_folder(j) : settle_plain(j);
    }
    if (err != 0) {
        return err;
    }
    if (j->in.pipe || !files_is_part(j->in.path)) { /* it has its name already */
        j->out.path = j->in.path;
        return 0;
    }
    err = finish_part(j);
    (void)files_close_all(j->o);
    j->out.path = j->path;
    return err;
}

/* ---- the end of a part ---- */

/* Only what the manifest names; anything else in it is somebody else's. */
static void empty_folder(struct files_job *j, const char *path)
{
    struct files_tree *t = NULL;
    uint8_t *p = NULL;
    size_t len = 0;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && files_kept_read(j, "manifest", WIRE_MANIFEST_MAX, &p, &len) == 0 &&
        j->in.head <= len && files_tree_parse(p, (size_t)j->in.head, &t) == 0) {
        files_tree_remove(t, fd);
    }
    files_tree_free(t);
    free(p);
    (void)files_close(&fd);
}

int files_part_remove(struct files_job *j, const char *path)
{
    char dir_path[PATH_MAX];
    const char *part = NULL;
    struct stat st;
    bool folder = j->in.file_kind == FILE_FOLDER;
    if (!files_is_part(path)) {
        return 0;
    }
    if (folder) {
        empty_folder(j, path);
    }
    int dir = open_dir_of(path, dir_path, &part);
    bool there = dir >= 0 && fstatat(dir, part, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                 (folder ? S_ISDIR(st.st_mode) : S_ISREG(st.st_mode));
    int e = there && unlinkat(dir, part, folder ? AT_REMOVEDIR : 0) != 0 ? errno : 0;
    (void)files_close(&dir);
    return e == 0 || e == ENOENT || e == ENOTEMPTY || e == EEXIST
               ? 0
               : files_fail_errno(j, e, "cannot be removed", path);
}

int files_drop(struct files_job *j)
{
    bool part = j->in.incoming && !j->in.pipe;
    (void)files_close_all(j->o);
    int err = !part                ? 0
              : j->in.path != NULL ? files_part_remove(j, j->in.path)
                                   : files_part_remove_noted(j);
    int e = files_kept_remove(j);
    if (err == 0 && e != 0) {
        err = files_fail_errno(j, e, "cannot be cleared", j->f->dir);
    }
    return err;
}
