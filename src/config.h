/* The configuration: a small INI file of known keys, without sections.
 *
 *   name        what we announce ourselves as
 *   interfaces  only these count, e.g. "lo,eth0"; empty: all
 *   subnets     networks beyond the link that belong to the LAN, "10.1.0.0/16,…"
 *   peer        hosts that are told of us where multicast does not pass, "HOST[:PORT],…"
 *   bootstrap   nodes of the DHT to begin from, "HOST:PORT,…"; empty: public ones in
 * scope internet, and no DHT in scope lan scope       "lan" or "internet" (the default)
 *   port        of links and unicast beacons; empty: 7679, or any free one
 *   log_level   error, warn, info or debug
 *   network     the secret network that we are in
 *   network-secret-file  its secret, the first line of that file; an absolute path
 *   away_after  how long without activity until we are away, "10m" by default; 0: never
 *   accept      whose files are accepted without asking: ask (nobody's, the default),
 *               contacts or verified
 *   accept_max  the largest file that is accepted so, "100M" by default; "none": any
 *   accept_quota  bytes of such files in a day, "10G" by default; "none": any
 *   downloads   the folder where files go, absolute; by default $XDG_DOWNLOAD_DIR/linnet
 *               or ~/Downloads/linnet
 *   limit_rate  bytes of files a second in each direction, as in "5M"; 0: any
 *
 * An unknown key or an unusable value is an error that names the line. Setting a key
 * rewrites the file atomically and keeps every other line, comments too. */
#ifndef LINNET_CONFIG_H
#define LINNET_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/log.h"
#include "home.h"
#include "wire.h"
#include "xfer.h"

enum {
    CONFIG_VALUE_MAX = 1024,     /* bytes of a value */
    CONFIG_FILE_MAX = 64 * 1024, /* bytes of the file */
    CONFIG_IFACES_MAX = 32,      /* names in `interfaces` */
    CONFIG_IFACE_LEN = 15,       /* bytes of such a name */
    CONFIG_SUBNETS_MAX = 16,
    CONFIG_PEERS_MAX = 32,
    CONFIG_BOOTSTRAP_MAX = 16,
    CONFIG_HOST_MAX = 255, /* bytes of "HOST[:PORT]" */
    CONFIG_WHY_MAX = 512,
};

enum config_key {
    CONFIG_NAME,
    CONFIG_INTERFACES,
    CONFIG_SUBNETS,
    CONFIG_PEER,
    CONFIG_BOOTSTRAP,
    CONFIG_SCOPE,
    CONFIG_PORT,
    CONFIG_LOG_LEVEL,
    CONFIG_NETWORK,
    CONFIG_NETWORK_SECRET_FILE,
    CONFIG_AWAY_AFTER,
    CONFIG_ACCEPT,
    CONFIG_ACCEPT_MAX,
    CONFIG_ACCEPT_QUOTA,
    CONFIG_DOWNLOADS,
    CONFIG_LIMIT_RATE,
    CONFIG_KEYS,
};

enum scope_mode { SCOPE_LAN, SCOPE_INTERNET };

/* The values as they stand in the file; empty when not set. */
struct config {
    char value[CONFIG_KEYS][CONFIG_VALUE_MAX + 1];
};

/* What the values mean. */
struct config_view {
    char name[WIRE_NAME_MAX + 1];
    char ifaces[CONFIG_IFACES_MAX][CONFIG_IFACE_LEN + 1];
    size_t n_ifaces; /* 0: all */
    struct prefix subnets[CONFIG_SUBNETS_MAX];
    size_t n_subnets;
    char peers[CONFIG_PEERS_MAX][CONFIG_HOST_MAX + 1];
    size_t n_peers;
    char bootstrap[CONFIG_BOOTSTRAP_MAX][CONFIG_HOST_MAX + 1];
    size_t n_bootstrap;
    enum scope_mode scope;
    uint16_t port; /* 0: not asked for */
    enum log_level log_level;
    char network[WIRE_NAME_MAX + 1]; /* empty: none */
    char network_secret_file[CONFIG_VALUE_MAX + 1];
    uint64_t away_after_ms; /* 0: never */
    struct xfer_policy accept;
    char downloads[HOME_PATH_MAX]; /* empty: no folder is known */
    uint64_t limit_rate;           /* 0: none */
};

/* The key's name, and back; CONFIG_KEYS when there is none such. */
const char *config_key_name(enum config_key k);
enum config_key config_key_find(const char *name);
/* Whether a change counts only from the next start. */
bool config_key_restarts(enum config_key k);

/* Reads the file; a missing one is empty. 0, ERR_FORMAT (unknown key, unusable value),
 * ERR_LIMIT (too long), ERR_IO; why gets a sentence with path and line. */
int config_load(const char *path, struct config *out, char why[CONFIG_WHY_MAX]);
/* The same from bytes (not NUL-terminated), for the above and the tests. */
int config_parse(const char *text, size_t len, struct config *out,
                 char why[CONFIG_WHY_MAX]);
/* Checks one value. 0 or ERR_ARG. */
int config_check(enum config_key k, const char *value, char why[CONFIG_WHY_MAX]);
/* HOST[:PORT] apart, 7679 without a port; false when it is not of that form (but may be
 * an address, for addr_parse). */
bool config_split_peer(const char *s, char host[CONFIG_HOST_MAX + 1], uint16_t *port);
/* The same with a port that has to be there. */
bool config_split_bootstrap(const char *s, char host[CONFIG_HOST_MAX + 1],
                            uint16_t *port);
/* What checked values mean. */
void config_view(const struct config *c, struct config_view *out);
/* Sets one key (empty: removes it) in the file and in c. 0, ERR_ARG, ERR_FULL, ERR_IO,
 * ERR_LIMIT, ERR_FORMAT (the file is unusable as it stands). */
int config_set(const char *path, struct config *c, enum config_key k, const char *value,
               char why[CONFIG_WHY_MAX]);

#endif
