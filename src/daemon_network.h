/* The secret network of this run: its name and secret, from options and configuration. */
#ifndef LINNET_DAEMON_NETWORK_H
#define LINNET_DAEMON_NETWORK_H

#include <stddef.h>
#include <stdint.h>

#include "config.h"
#include "crypto/netkey.h"
#include "daemon.h"

enum { DAEMON_NETWORK_WHY_MAX = 512 };

struct daemon_network {
    char name[NETKEY_NAME_MAX + 1]; /* empty: in none */
    uint8_t secret[NETKEY_SECRET_MAX];
    size_t secret_len;
};

/* The first line of the descriptor or of the file is the secret. A file has to be ours
 * and closed to others. 0, ERR_ARG (options that do not fit together), ERR_IO, ERR_LIMIT
 * (length), ERR_REFUSED (the file: not ours, or open to others); why gets a sentence. */
int daemon_network_take(const struct daemon_opts *o, const struct config_view *v,
                        struct daemon_network *out, char why[DAEMON_NETWORK_WHY_MAX]);
void daemon_network_wipe(struct daemon_network *w);

#endif
