/* A bare node of the DHT: what `linnet dht serve` runs. No identity, no home, no
 * contacts; others begin from it. It answers everybody and is never read-only.
 *
 * Prints on stdout, flushed, where it listens and its ids, and again when an id has
 * changed to fit the address that others see (BEP 42). Ends on SIGINT, SIGTERM or
 * SIGHUP. */
#ifndef LINNET_DAEMON_DHT_H
#define LINNET_DAEMON_DHT_H

#include <stdbool.h>
#include <stddef.h>

enum { DAEMON_DHT_BOOTSTRAP_MAX = 16, DAEMON_DHT_PORT = 6881 };

struct daemon_dht_opts {
    const char
        *listen; /* ADDR[:PORT], port 0 any; NULL: every address, DAEMON_DHT_PORT */
    const char *bootstrap[DAEMON_DHT_BOOTSTRAP_MAX]; /* HOST:PORT */
    size_t n_bootstrap;
    const char *rate; /* of all answers, a size for a second or "none"; NULL: 50M */
    bool json;        /* JSON Lines on stdout */
};

/* Runs until the end. Returns the exit code: 0, 1 or 2, with a sentence on stderr. */
int daemon_dht_main(const struct daemon_dht_opts *o);

#endif
