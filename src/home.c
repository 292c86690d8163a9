#include "home.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"

enum { HASH_HEX = 8, SOCKET_PATH_MAX = 107 };

/* path = a/b; false when it does not fit. */
static bool join(char out[HOME_PATH_MAX], const char *a, const char *b)
{
    int n = snprintf(out, HOME_PATH_MAX, "%s/%s", a, b);
    return n > 0 && n < HOME_PATH_MAX;
}

static const char *env_dir(const char *name)
{
    const char *v = getenv(name);
    return v != NULL && v[0] == '/' ? v : NULL; /* the base directory specification */
}

/* $name/linnet, or ~/fallback/linnet. */
static bool default_dir(char out[HOME_PATH_MAX], const char *name, const char *fallback)
{
    char base[HOME_PATH_MAX];
    const char *v = env_dir(name);
    if (v != NULL) {
        return join(out, v, "linnet");
    }
    v = env_dir("HOME");
    return v != NULL && join(base, v, fallback) && join(out, base, "linnet");
}

int home_make_dirs(const char *path)
{
    char part[HOME_PATH_MAX];
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof part) {
        return ERR_IO;
    }
    memcpy(part, path, len + 1);
    for (size_t i = 1; i <= len; i++) {
        if (part[i] != '/' && part[i] != '\0') {
            continue;
        }
        char c = part[i];
        part[i] = '\0';
        if (mkdir(part, 0700) != 0 && errno != EEXIST && errno != EROFS &&
            errno != EISDIR && errno != EACCES) {
            return ERR_IO;
        }
        part[i] = c;
    }
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? 0 : ERR_IO;
}

/* The run folder and both endpoints. */
static int run_paths(struct home *h, char why[HOME_WHY_MAX])
{
    unsigned char hash[32];
    char hex[2 * sizeof hash + 1], dir[HOME_PATH_MAX];
    (void)crypto_generichash(hash, sizeof hash, (const unsigned char *)h->dir,
                             strlen(h->dir), NULL, 0);
    (void)sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    hex[HASH_HEX] = '\0';
    const char *runtime = env_dir("XDG_RUNTIME_DIR");
    bool ok = runtime != NULL ? join(dir, runtime, "linnet") && join(h->run, dir, hex)
                              : join(h->run, h->dir, "run");
    int n = -1, m = -1;
    if (ok && strlen(h->run) + sizeof "/events" - 1 <= SOCKET_PATH_MAX) {
        n = snprintf(h->api, sizeof h->api, "ipc://%s/api", h->run);
        m = snprintf(h->events, sizeof h->events, "ipc://%s/events", h->run);
    }
    if (n < 0 || m < 0 || (size_t)m >= sizeof h->events) {
        (void)snprintf(
            why, HOME_WHY_MAX,
            "The folder for the API's sockets has too long a path (%d bytes are "
            "possible). Set XDG_RUNTIME_DIR, or use a home with a shorter path.",
            SOCKET_PATH_MAX);
        return ERR_LIMIT;
    }
    return 0;
}

/* HOME/config.ini when the home was named, else the user's configuration folder. */
static bool config_path(struct home *h, bool named)
{
    char dir[HOME_PATH_MAX];
    if (named) {
        return join(h->config, h->dir, "config.ini");
    }
    return default_dir(dir, "XDG_CONFIG_HOME", ".config") &&
           join(h->config, dir, "config.ini");
}

int home_init(struct home *h, const char *dir, bool create, char why[HOME_WHY_MAX])
{
    char asked[HOME_PATH_MAX];
    memset(h, 0, sizeof *h);
    h->lock_fd = -1;
    const char *env = getenv("LINNET_HOME");
    bool named = true;
    if (dir == NULL && env != NULL && env[0] != '\0') {
        dir = env;
    }
    if (dir == NULL) {
        named = false;
        if (!default_dir(asked, "XDG_DATA_HOME", ".local/share")) {
            (void)snprintf(why, HOME_WHY_MAX,
                           "HOME is not set, so there is no place for the key and the "
                           "messages. Set it, or use --home DIR.");
            return ERR_IO;
        }
        dir = asked;
    }
    if (strlen(dir) + sizeof "/linnet.db.tmp-xxxxxxxxxx" > HOME_PATH_MAX) {
        (void)snprintf(why, HOME_WHY_MAX, "The path of the home is too long.");
        return ERR_LIMIT;
    }
    if (create && home_make_dirs(dir) != 0) {
        (void)snprintf(why, HOME_WHY_MAX, "The home %.200s cannot be made: %s.", dir,
                       strerror(errno));
        return ERR_IO;
    }
    if (realpath(dir, h->dir) == NULL) {
        int e = errno;
        (void)snprintf(h->dir, sizeof h->dir, "%s", dir);
        if (!config_path(h, named)) {
            h->config[0] = '\0';
        }
        (void)snprintf(why, HOME_WHY_MAX, "There is no home at %.200s: %s.", dir,
                       strerror(e));
        return e == ENOENT ? ERR_NOTFOUND : ERR_IO;
    }
    if (!join(h->key, h->dir, "key") || !join(h->db, h->dir, "linnet.db") ||
        !config_path(h, named)) {
        (void)snprintf(why, HOME_WHY_MAX, "The path of the home is too long.");
        return ERR_LIMIT;
    }
    return run_paths(h, why);
}

void home_release(struct home *h)
{
    if (h->lock_fd >= 0) {
        (void)close(h->lock_fd);
        h->lock_fd = -1;
    }
}

int home_lock(struct home *h, char why[HOME_WHY_MAX])
{
    char path[HOME_PATH_MAX], pid[16] = "";
    struct stat st;
    if (!join(path, h->dir, "lock")) {
        return ERR_LIMIT;
    }
    if (stat(h->dir, &st) == 0 && (st.st_mode & 077) != 0 && chmod(h->dir, 0700) != 0) {
        (void)snprintf(why, HOME_WHY_MAX,
                       "Others may read the home %.200s, and that cannot be changed: %s.",
                       h->dir, strerror(errno));
        return ERR_IO;
    }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        (void)snprintf(why, HOME_WHY_MAX, "The home %.200s cannot be used: %s.", h->dir,
                       strerror(errno));
        return errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_IO;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        bool busy = errno == EWOULDBLOCK;
        ssize_t n = busy ? pread(fd, pid, sizeof pid - 1, 0) : 0;
        pid[n > 0 ? n : 0] = '\0';
        pid[strspn(pid, "0123456789")] = '\0';
        (void)snprintf(why, HOME_WHY_MAX,
                       busy ? "A node runs in %.200s already (process %s). Stop it with "
                              "`linnet stop`, or use another home."
                            : "The home %.200s cannot be locked: %s.",
                       h->dir, busy ? pid : strerror(errno));
        (void)close(fd);
        return busy ? ERR_BUSY : ERR_IO;
    }
    int len = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)len, 0) != len) {
        pid[0] = '\0'; /* on a full disk the lock holds without naming the process */
    }
    h->lock_fd = fd;
    return 0;
}

static void socket_path(const struct home *h, const char *name, char out[HOME_PATH_MAX])
{
    if (!join(out, h->run, name)) {
        out[0] = '\0';
    }
}

void home_clear_run(const struct home *h)
{
    char path[HOME_PATH_MAX];
    static const char *const names[] = {"api", "events"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        socket_path(h, names[i], path);
        (void)unlink(path);
    }
    (void)rmdir(h->run);
}

/* Makes a folder that nobody but us can have made, or changes: who owns it could put
 * sockets of its own in the place of ours. */
static int make_private(const char *path, char why[HOME_WHY_MAX])
{
    struct stat st;
    if (home_make_dirs(path) != 0) {
        (void)snprintf(why, HOME_WHY_MAX, "The folder %.200s cannot be made: %s.", path,
                       strerror(errno));
        return ERR_IO;
    }
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    bool ours =
        fd >= 0 && fstat(fd, &st) == 0 && st.st_uid == geteuid() && fchmod(fd, 0700) == 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    if (!ours) {
        (void)snprintf(
            why, HOME_WHY_MAX,
            "The folder %.200s is not ours: whoever owns it could read and send "
            "your messages. Remove it and start again.",
            path);
    }
    return ours ? 0 : ERR_IO;
}

int home_make_run(const struct home *h, char why[HOME_WHY_MAX])
{
    /* The folder above it is the home, or `linnet` in a place that others may share. */
    char above[HOME_PATH_MAX];
    (void)snprintf(above, sizeof above, "%s", h->run);
    *strrchr(above, '/') = '\0';
    int rc = strcmp(above, h->dir) == 0 ? 0 : make_private(above, why);
    rc = rc == 0 ? make_private(h->run, why) : rc;
    if (rc != 0) {
        return rc;
    }
    char path[HOME_PATH_MAX];
    socket_path(h, "api", path);
    (void)unlink(path);
    socket_path(h, "events", path);
    (void)unlink(path);
    return 0;
}

int home_read_key(const struct home *h, uint8_t out[KEYFILE_MAX], size_t *len)
{
    uint8_t more;
    int fd = open(h->key, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? ERR_NOTFOUND : ERR_IO;
    }
    size_t n = 0;
    int rc = 0;
    for (;;) {
        ssize_t r = n < KEYFILE_MAX ? read(fd, out + n, KEYFILE_MAX - n)
                                    : read(fd, &more, sizeof more);
        if (r < 0 && errno == EINTR) {
            continue;
        }
        if (r < 0) {
            rc = ERR_IO;
        } else if (r > 0 && n == KEYFILE_MAX) {
            rc = ERR_CORRUPT;
        }
        if (r <= 0 || rc != 0) {
            break;
        }
        n += (size_t)r;
    }
    (void)close(fd);
    if (rc == 0) {
        *len = n;
    }
    return rc;
}

int home_key_protected(const struct home *h, bool *protected_)
{
    uint8_t key[KEYFILE_MAX];
    size_t len;
    int rc = home_read_key(h, key, &len);
    if (rc == ERR_NOTFOUND) {
        *protected_ = false;
        return 0;
    }
    return rc == 0 ? keyfile_protected(key, len, protected_) : rc;
}

static int write_all(int fd, const uint8_t *p, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return -1;
        }
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

/* fsync of the folder that holds path, so that a rename in it lasts. */
static int sync_folder(const char *path)
{
    char dir[HOME_PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t n = slash == NULL ? 0 : (size_t)(slash - path);
    if (n >= sizeof dir) {
        return -1;
    }
    memcpy(dir, path, n);
    dir[n] = '\0';
    int fd = open(n > 0           ? dir
                  : slash != NULL ? "/"
                                  : ".",
                  O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    int rc = fsync(fd);
    (void)close(fd);
    return rc;
}

int home_write_file(const char *path, const void *p, size_t len)
{
    char tmp[HOME_PATH_MAX];
    int n = snprintf(tmp, sizeof tmp, "%s.tmp", path);
    if (n < 0 || (size_t)n >= sizeof tmp) {
        return ERR_IO;
    }
    (void)unlink(tmp); /* what a crash left */
    int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_IO;
    }
    int rc = write_all(fd, p, len);
    if (rc == 0) {
        rc = fsync(fd);
    }
    int e = errno;
    if (close(fd) != 0 && rc == 0) {
        e = errno;
        rc = -1;
    }
    if (rc == 0 && rename(tmp, path) != 0) {
        e = errno;
        rc = -1;
    }
    if (rc != 0) {
        (void)unlink(tmp);
        return e == ENOSPC || e == EDQUOT ? ERR_FULL : ERR_IO;
    }
    return sync_folder(path) == 0 ? 0 : ERR_IO;
}

int home_write_key(const struct home *h, const uint8_t *p, size_t len)
{
    return home_write_file(h->key, p, len);
}
