/* Where node, store thread, loop and API meet. Orders side effects: what the node wants
 * stored goes to the store thread, what is durable back to the node, to whoever asked and
 * to subscribers, what the node wants sent to the loop. Holds no protocol state.
 *
 *   RUN       all is well
 *   DOWN      a commit has failed: the node is gone (as in a crash), requests are refused
 *             with a sentence; the store is probed every APP_PROBE_MS and the node then
 *             made anew from it
 *   STOPPING  links say good-bye, the store finishes, the loop ends */
#ifndef LINNET_APP_H
#define LINNET_APP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api.h"
#include "config.h"
#include "files.h"
#include "home.h"
#include "loop.h"
#include "node.h"
#include "store_thread.h"

enum {
    APP_PROBE_MS = 1000,
    APP_STOP_MS = 1500,     /* for links to end */
    APP_QUERIES_MAX = 32,   /* of the API, each with a page; the rest are the node's */
    APP_RESOLVE_MS = 60000, /* until an unknown name is looked up again */
    APP_TARGETS_MAX = 256,
    APP_WHY_MAX = 512,
    APP_WHAT_BOOTSTRAP = 1 << 10,
};
/* What names are looked up for: peers from 0, bootstrap nodes from APP_WHAT_BOOTSTRAP,
 * and requests, with the tag in the lower bits. */
#define APP_WHAT_REQUEST (UINT64_C(1) << 63)

/* What stays the same while it runs; all borrowed. */
struct app_config {
    const struct env *env;
    const struct home *home;
    struct config *config;
    const struct config_view *view; /* with the command line's options in it */
    const struct keyfile *key;
    bool protected_;
    struct loop *loop;
    struct store *store;           /* taken over by app_new, also when it fails */
    const char *network;           /* the secret network's name; empty: none */
    const uint8_t *network_secret; /* read by app_new only */
    size_t network_secret_len;
};

enum app_state { APP_RUN, APP_DOWN, APP_STOPPING };

/* Read by the API's methods; changed by app.c alone, but for what is marked. */
struct app {
    struct app_config cfg;
    enum app_state state;
    struct api *api;
    struct store_thread *store;
    struct files *files;
    struct node *node; /* NULL while DOWN */
    struct node *next; /* being loaded by the store's thread */
    uint32_t life;     /* counts nodes, so that late answers for an old one are dropped */
    bool protected_;   /* by `passphrase` */
    bool changing;     /* by `passphrase`: one change at a time */
    uint64_t away_after_ms;
    struct xfer_policy accept;
    uint64_t limit_rate; /* bytes of files a second, 0: any */
    uint64_t active_ms;  /* when a person last did something; 0: not since the start.
                          * Changed by api_presence.c */
    uint64_t newest;     /* number of the newest durable event */
    uint64_t newest_row; /* of the newest message */

    int store_err;
    char store_error[APP_WHY_MAX];
    uint64_t probe_at, stop_at, resolve_at;
    uint64_t boot_at;  /* when names of bootstrap nodes may be looked up */
    uint64_t spool_at; /* when to look at spools (api_file_send.c) */
    size_t queries;
    size_t receiving; /* `recv`s that wait or run: one at a time */

    struct store_events *fresh; /* while a commit is being told */
    size_t fresh_at;            /* where the last result was found */

    struct lan_interface ifaces[LAN_IFACES_MAX];
    size_t n_ifaces;
    struct addr peers[CONFIG_PEERS_MAX][LOOP_RESOLVE_MAX];
    size_t n_peers[CONFIG_PEERS_MAX]; /* addresses known of each configured peer */

    void (*ready)(void *ctx, struct app *a); /* not called yet */
    void *ready_ctx;

    char network[NETKEY_NAME_MAX + 1]; /* empty: none */
    uint8_t network_key[NETKEY], network_cache[NETKEY_CACHE];

    struct recv_queue *recv; /* the method `recv`'s (api_recv.c) */
};

/* Loads the store, makes the node, binds the API. 0 or negative with a sentence. */
int app_new(const struct app_config *cfg, struct app **out, char why[APP_WHY_MAX]);
/* Runs the loop until app_stop or a signal. ready is called in the first
 * turn, when the interfaces are known. */
void app_run(struct app *a, void (*ready)(void *ctx, struct app *a), void *ctx);
void app_free(struct app *a);

/* Begins to stop; the loop ends when links and store are done. */
void app_stop(struct app *a);

/* As the configuration says now. */
void app_away_after(struct app *a, uint64_t ms);
void app_file_settings(struct app *a, const struct config_view *v);

/* app_dht.c: where the DHT is entered. */
void app_dht_config(const struct app *a, struct node_dht_config *out);
/* 0, or ERR_ARG with a sentence: what is configured does not fit the scope. */
int app_dht_take(struct app *a, char why[APP_WHY_MAX]);
/* For a new node. */
void app_dht_start(struct app *a, uint64_t now_ms);
void app_dht_resolve(struct app *a, uint64_t now_ms); /* boot_at is due */
void app_dht_interfaces(struct app *a, uint64_t now_ms);
void app_dht_resolved(struct app *a, size_t i, const struct addr *v, size_t n,
                      uint64_t now_ms);

/* Runs a query on the store's thread. ERR_LIMIT: too many wait. */
int app_query(struct app *a, int (*run)(void *ctx, struct store *s),
              void (*done)(void *ctx, int rc), void *ctx);
/* The event of a message that this commit has stored, or NULL. */
const struct store_event *app_fresh_message(struct app *a, const uint8_t mid[WIRE_MID]);
/* Our addresses with port, at most max. */
size_t app_addresses(const struct app *a, struct addr *out, size_t max);
/* Whether another request may be taken: not while the store is behind, nor while as many
 * of its queries as are allowed are under way. */
bool app_takes(const struct app *a);
/* "ok", "full" or "failed". */
const char *app_store_state(const struct app *a);

#endif
