/* The home: the folder that holds a node's key and database, and the lock that keeps a
 * second node away from it.
 *
 *   HOME/key         the key file (crypto/keyfile.h), mode 0600
 *   HOME/linnet.db   the store
 *   HOME/lock        held with flock for as long as the node runs; it names its process
 *   run folder       the API's sockets: $XDG_RUNTIME_DIR/linnet/H/, H being 8 hex digits
 *                    of BLAKE2b over the home's real path, or HOME/run/
 *
 * Every file is created 0600 and every folder 0700, whatever the umask. The lock is
 * taken before anything is bound: a second bind of an ipc endpoint would take it over. */
#ifndef LINNET_HOME_H
#define LINNET_HOME_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypto/keyfile.h"

enum {
    HOME_PATH_MAX = PATH_MAX,
    HOME_ENDPOINT_MAX = 128, /* a Unix socket's path is at most 107 bytes */
    HOME_WHY_MAX = 512,      /* a sentence about what went wrong */
};

struct home {
    char dir[HOME_PATH_MAX]; /* real path */
    char key[HOME_PATH_MAX], db[HOME_PATH_MAX], config[HOME_PATH_MAX];
    char run[HOME_PATH_MAX];
    char api[HOME_ENDPOINT_MAX], events[HOME_ENDPOINT_MAX]; /* "ipc://…" */
    int lock_fd;                                            /* -1: not locked */
};

/* Fills in the paths. dir NULL: $LINNET_HOME, else $XDG_DATA_HOME/linnet, else
 * ~/.local/share/linnet. With create the folder is made (0700); without, a missing one is
 * ERR_NOTFOUND (only dir, as asked for, and config are then set). 0, ERR_NOTFOUND,
 * ERR_IO, ERR_LIMIT (a path is too long); why gets a sentence. */
int home_init(struct home *h, const char *dir, bool create, char why[HOME_WHY_MAX]);
/* Gives the lock back. Tolerates a zeroed struct only when lock_fd is -1. */
void home_release(struct home *h);
/* Takes the lock. ERR_BUSY: another node runs there. ERR_IO. */
int home_lock(struct home *h, char why[HOME_WHY_MAX]);
/* Makes the run folder (after the lock) and removes sockets that a dead node left. */
int home_make_run(const struct home *h, char why[HOME_WHY_MAX]);
/* Removes the sockets; before the lock is given back. */
void home_clear_run(const struct home *h);

/* Reads the key file's bytes. 0, ERR_NOTFOUND, ERR_CORRUPT (too long), ERR_IO. */
int home_read_key(const struct home *h, uint8_t out[KEYFILE_MAX], size_t *len);
/* Whether the key file wants a passphrase; false when there is no key file yet. 0,
 * ERR_CORRUPT, ERR_NEWER, ERR_IO. */
int home_key_protected(const struct home *h, bool *protected_);
/* Replaces the key file at once or not at all: temporary file, fsync, rename, fsync of
 * the folder. 0, ERR_FULL, ERR_IO. */
int home_write_key(const struct home *h, const uint8_t *p, size_t len);

/* The same for any file. mode of a new file is 0600. */
int home_write_file(const char *path, const void *p, size_t len);
/* Creates a folder and its missing parents, each 0700. 0 or ERR_IO. */
int home_make_dirs(const char *path);

#endif
