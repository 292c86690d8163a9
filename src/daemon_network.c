#include "daemon_network.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"

enum { OPEN_TO_OTHERS = 077 };

void daemon_network_wipe(struct daemon_network *w)
{
    sodium_memzero(w, sizeof *w);
}

__attribute__((format(printf, 3, 4))) static int
sentence(char why[DAEMON_NETWORK_WHY_MAX], int rc, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(why, DAEMON_NETWORK_WHY_MAX, fmt, ap);
    va_end(ap);
    return rc;
}

/* The first line, without its end. Its length may be one more than fits, which says that
 * it is too long. */
static int read_secret(int fd, struct daemon_network *out)
{
    size_t n = 0;
    uint8_t ch = 0;
    while (n <= NETKEY_SECRET_MAX) {
        ssize_t got = read(fd, &ch, 1);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return ERR_IO;
        }
        if (got == 0 || ch == '\n') {
            break;
        }
        if (n < NETKEY_SECRET_MAX) {
            out->secret[n] = ch;
        }
        n++;
    }
    sodium_memzero(&ch, sizeof ch);
    if (n > 0 && n <= NETKEY_SECRET_MAX && out->secret[n - 1] == '\r') {
        n--;
    }
    out->secret_len = n;
    return 0;
}

/* Opens the file, when nobody else can have read or written it. */
static int open_file(const char *path, int *fd, char why[DAEMON_NETWORK_WHY_MAX])
{
    struct stat st;
    int f = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (f < 0 || fstat(f, &st) != 0) {
        int err = errno;
        if (f >= 0) {
            (void)close(f);
        }
        return sentence(why, ERR_IO,
                        "The secret of the network cannot be read from %.200s: %s.", path,
                        strerror(err));
    }
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
        (st.st_mode & OPEN_TO_OTHERS) != 0) {
        (void)close(f);
        return sentence(
            why, ERR_REFUSED,
            st.st_uid != geteuid()
                ? "The secret of the network in %.200s belongs to somebody "
                  "else. Copy it to a file of your own, with mode 0600."
            : S_ISREG(st.st_mode)
                ? "The secret of the network in %.200s can be read by others, "
                  "who would be in the network with it. Change it, and: chmod "
                  "600 on that file."
                : "The secret of the network, %.200s, is no file.",
            path);
    }
    *fd = f;
    return 0;
}

static int check_length(const struct daemon_network *w, char why[DAEMON_NETWORK_WHY_MAX])
{
    if (w->secret_len > NETKEY_SECRET_MAX) {
        return sentence(why, ERR_LIMIT,
                        "The secret of the network is too long: at most %d bytes.",
                        NETKEY_SECRET_MAX);
    }
    if (w->secret_len < NETKEY_SECRET_MIN) {
        return sentence(why, ERR_LIMIT,
                        "The secret of the network is too short: it has %zu bytes and "
                        "needs %d at least, since who guesses it is in. `openssl rand "
                        "-base64 24` makes a good one.",
                        w->secret_len, NETKEY_SECRET_MIN);
    }
    return 0;
}

int daemon_network_take(const struct daemon_opts *o, const struct config_view *v,
                        struct daemon_network *out, char why[DAEMON_NETWORK_WHY_MAX])
{
    const char *name = o->network != NULL ? o->network : v->network;
    int fd = o->network_secret_fd, rc = 0;
    bool from_file = fd < 0 && v->network_secret_file[0] != '\0';
    daemon_network_wipe(out);
    if (name[0] == '\0') {
        return fd >= 0 ? sentence(why, ERR_ARG,
                                  "--network-secret-fd wants --network NAME too.")
                       : 0;
    }
    if (fd < 0 && !from_file) {
        return sentence(
            why, ERR_ARG,
            "The network \"%.64s\" wants its secret: give --network-secret-fd "
            "N, or set network-secret-file.",
            name);
    }
    if (from_file) {
        rc = open_file(v->network_secret_file, &fd, why);
    }
    if (rc == 0 && read_secret(fd, out) != 0) {
        rc = sentence(why, ERR_IO, "The secret of the network cannot be read: %s.",
                      strerror(errno));
    }
    if (from_file && fd >= 0) {
        (void)close(fd);
    }
    rc = rc != 0 ? rc : check_length(out, why);
    if (rc != 0) {
        daemon_network_wipe(out);
        return rc;
    }
    (void)snprintf(out->name, sizeof out->name, "%s", name);
    return 0;
}
