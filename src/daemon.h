/* The node in the foreground: what `linnet daemon` runs.
 *
 * Hardens the process, locks the home, reads or makes the key, opens the store, binds,
 * then prints on stdout, one line each, flushed: that it is ready, its addresses, the
 * API's endpoint. Ends on SIGTERM, SIGINT, SIGHUP or the API's `stop`. */
#ifndef LINNET_DAEMON_H
#define LINNET_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DAEMON_PEERS_MAX = 32, DAEMON_BOOTSTRAP_MAX = 16 };

/* Options; NULL, 0 or -1 where they were not given. Strings are borrowed. */
struct daemon_opts {
    const char *home;  /* --home; NULL: as home_init says */
    const char *scope; /* "lan" or "internet" */
    const char *port;  /* a number */
    const char *name;
    const char *peers[DAEMON_PEERS_MAX];
    size_t n_peers;
    const char *bootstrap[DAEMON_BOOTSTRAP_MAX]; /* given: instead of the configured */
    size_t n_bootstrap;
    const char *network;
    int network_secret_fd; /* its first line is the network's secret; -1: none */
    int passphrase_fd;     /* its first line, or all of it, is the passphrase; -1: none */
};
/* No option given. */
void daemon_opts_init(struct daemon_opts *o);

/* Runs until the end. Returns the exit code: 0, 1 (a sentence is on stderr), 2 (an option
 * is unusable), 3 (the key has a passphrase and none can be asked for), 130 (^C when it
 * was asked for). */
int daemon_main(const struct daemon_opts *o);

#endif
