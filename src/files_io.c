/* Sentences about failures, reading and writing, and what is kept in the home. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "files_priv.h"
#include "home.h"

enum { KIBI = 1000, SECOND_NS = 1000000000 };

static const char *const endings[] = {"leaves", "source", "manifest", "spool"};

/* ---- sentences ---- */

int files_fail(struct files_job *j, int err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(j->why, sizeof j->why, fmt, ap);
    va_end(ap);
    j->out.why = j->why;
    return err;
}

/* The first byte of a character, or no UTF-8 at all. */
static bool begins(char c)
{
    return ((uint8_t)c & 0xc0) != 0x80;
}

const char *files_shown(const char *path, char out[FILES_SHOWN_MAX + 1])
{
    static const char dots[] = "…";
    size_t len = strlen(path);
    if (len <= FILES_SHOWN_MAX) {
        return path;
    }
    const char *p = path + len - (FILES_SHOWN_MAX - (sizeof dots - 1));
    while (!begins(*p)) {
        p++;
    }
    (void)snprintf(out, FILES_SHOWN_MAX + 1, "%s%s", dots, p);
    return out;
}

void files_size_text(uint64_t size, char out[FILES_SIZE_TEXT])
{
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
    size_t unit = 0;
    uint64_t tenths = size > UINT64_MAX / 10 ? UINT64_MAX : size * 10;
    while (tenths >= 10 * KIBI && unit + 1 < sizeof units / sizeof units[0]) {
        tenths /= KIBI;
        unit++;
    }
    if (unit == 0) {
        (void)snprintf(out, FILES_SIZE_TEXT, "%llu bytes", (unsigned long long)size);
        return;
    }
    (void)snprintf(out, FILES_SIZE_TEXT, "%llu.%llu %s", (unsigned long long)tenths / 10,
                   (unsigned long long)tenths % 10, units[unit]);
}

int files_fail_errno(struct files_job *j, int e, const char *what, const char *path)
{
    char shown[FILES_SHOWN_MAX + 1], text[FILES_SHOWN_MAX];
    int err = ERR_IO;
    const char *next = "Look at that disk, then it goes on.";
    switch (e) {
    case ENOENT:
    case ENOTDIR:
        err = ERR_NOTFOUND;
        next = "It may have been moved or removed.";
        break;
    case EACCES:
    case EPERM:
    case EROFS:
        err = ERR_REFUSED;
        next = "Change the rights to it, or choose another one.";
        break;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        err = ERR_FULL;
        next = "Make room there, then it goes on.";
        break;
    case ENAMETOOLONG:
        err = ERR_ARG;
        next = "Choose a shorter path.";
        break;
    case ELOOP:
        err = ERR_REFUSED;
        next = "There is a symbolic link in its place: remove it.";
        break;
    case ENOMEM:
        return ERR_NOMEM;
    default:
        break;
    }
    return files_fail(j, err, "%s %s: %s. %s", files_shown(path, shown), what,
                      strerror_r(e, text, sizeof text), next);
}

/* ---- bytes ---- */

ssize_t files_pread(int fd, void *p, size_t n, uint64_t at)
{
    size_t got = 0;
    while (got < n) {
        ssize_t r = pread(fd, (uint8_t *)p + got, n - got, (off_t)(at + got));
        if (r < 0 && errno == EINTR) {
            continue;
        }
        if (r < 0) {
            return -1;
        }
        if (r == 0) {
            break;
        }
        got += (size_t)r;
    }
    return (ssize_t)got;
}

int files_pwrite(int fd, const void *p, size_t n, uint64_t at)
{
    size_t put = 0;
    while (put < n) {
        ssize_t r = pwrite(fd, (const uint8_t *)p + put, n - put, (off_t)(at + put));
        if (r < 0 && errno == EINTR) {
            continue;
        }
        if (r <= 0) {
            errno = r == 0 ? ENOSPC : errno;
            return -1;
        }
        put += (size_t)r;
    }
    return 0;
}

bool files_close(int *fd)
{
    int old = *fd;
    *fd = -1;
    return old < 0 || close(old) == 0;
}

bool files_sync_dir(int fd)
{
    return fsync(fd) == 0 || errno == EINVAL || errno == EOPNOTSUPP;
}

bool files_join(char out[PATH_MAX], const char *dir, const char *name)
{
    bool top = strcmp(dir, "/") == 0;
    int n = snprintf(out, PATH_MAX, "%s/%s", top ? "" : dir, name);
    return n > 0 && n < PATH_MAX;
}

bool files_given_up(const struct files_job *j)
{
    return atomic_load(&j->f->age) != j->age;
}

static uint64_t time_ns(struct timespec t)
{
    return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

int files_room_for(struct files_job *j, int dir, const char *path, uint32_t n)
{
    struct statvfs v;
    char shown[FILES_SHOWN_MAX + 1];
    if (n == 0 || fstatvfs(dir, &v) != 0 || v.f_files == 0) {
        return 0; /* many file systems have no such limit */
    }
    uint64_t left = (uint64_t)v.f_favail;
    if (left >= n && left - n >= FILES_SPARE_ENTRIES) {
        return 0;
    }
    return files_fail(j, ERR_FULL,
                      "%s has room for %llu more files, which is too little for the %u "
                      "that would come. Make room there, or take it in elsewhere.",
                      files_shown(path, shown), (unsigned long long)left, n);
}

void files_id_of(const struct stat *st, struct files_id *out)
{
    *out = (struct files_id){.inode = (uint64_t)st->st_ino,
                             .size = (uint64_t)st->st_size,
                             .mtime_ns = time_ns(st->st_mtim),
                             .ctime_ns = time_ns(st->st_ctim)};
}

bool files_id_equal(const struct files_id *a, const struct files_id *b)
{
    return a->inode == b->inode && a->size == b->size && a->mtime_ns == b->mtime_ns &&
           a->ctime_ns == b->ctime_ns;
}

/* ---- what is kept in the home ---- */

void files_kept_name(const struct files_open *o, const char *ending,
                     char out[FILES_KEPT_MAX])
{
    (void)snprintf(out, FILES_KEPT_MAX, "%s.%s", o->hex, ending);
}

int files_kept_open(const struct files_job *j, const char *ending, int flags)
{
    char name[FILES_KEPT_MAX];
    files_kept_name(j->o, ending, name);
    return openat(j->f->dir_fd, name, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK,
                  FILES_PART_MODE);
}

int files_kept_write(struct files_job *j, const char *ending, const void *p, size_t len)
{
    char name[FILES_KEPT_MAX], path[PATH_MAX];
    files_kept_name(j->o, ending, name);
    int err = files_join(path, j->f->dir, name) ? home_write_file(path, p, len) : ERR_IO;
    if (err == 0) {
        return 0;
    }
    return files_fail(
        j, err, "What has to be kept for the transfer cannot be written in %s%s.",
        files_shown(j->f->dir, (char[FILES_SHOWN_MAX + 1]){0}),
        err == ERR_FULL ? ": no space is left. Make room there" : ". Look at that disk");
}

int files_kept_read(struct files_job *j, const char *ending, size_t max, uint8_t **out,
                    size_t *len)
{
    int fd = files_kept_open(j, ending, O_RDONLY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        int e = errno;
        (void)files_close(&fd);
        return e == ENOENT ? ERR_NOTFOUND
                           : files_fail_errno(j, e, "cannot be read", j->f->dir);
    }
    size_t n = (uint64_t)st.st_size > max ? max : (size_t)st.st_size;
    uint8_t *p = malloc(n + 1);
    ssize_t got = p == NULL ? -1 : files_pread(fd, p, n, 0);
    int e = p == NULL ? ENOMEM : errno;
    (void)files_close(&fd);
    if (got < 0) {
        free(p);
        return files_fail_errno(j, e, "cannot be read", j->f->dir);
    }
    *out = p;
    *len = (size_t)got;
    return 0;
}

int files_kept_remove(const struct files_job *j)
{
    int e = 0;
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        char name[FILES_KEPT_MAX], tmp[FILES_KEPT_MAX + sizeof ".tmp"];
        files_kept_name(j->o, endings[i], name);
        (void)snprintf(tmp, sizeof tmp, "%s.tmp", name);
        (void)unlinkat(j->f->dir_fd, tmp, 0); /* what a crash left */
        if (unlinkat(j->f->dir_fd, name, 0) != 0 && errno != ENOENT) {
            e = errno;
        }
    }
    return e;
}

bool files_kept_parse(const char *name, uint8_t key[WIRE_MID])
{
    size_t n = 0;
    const char *end = NULL;
    if (sodium_hex2bin(key, WIRE_MID, name, strlen(name), NULL, &n, &end) != 0 ||
        n != WIRE_MID || end != name + FILES_HEX || *end++ != '.') {
        return false;
    }
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        size_t len = strlen(endings[i]);
        if (strncmp(end, endings[i], len) == 0 &&
            (end[len] == '\0' || strcmp(end + len, ".tmp") == 0)) {
            return true;
        }
    }
    return false;
}
