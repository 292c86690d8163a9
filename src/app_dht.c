/* Where the node enters the DHT: what is configured, or public routers. Names are looked
 * up only while it knows nobody there, so that a restart asks neither the name service
 * nor a router. */
#include <stdio.h>

#include "api_priv.h"
#include "app.h"
#include "base/deadline.h"
#include "base/err.h"
#include "base/log.h"

enum {
    FIRST_MS = 10000, /* for remembered nodes, before names are looked up */
    AGAIN_MS = 60000,
    LATER_MS = 600000,
};

static const char *const routers[] = {
    "router.bittorrent.com:6881",
    "dht.transmissionbt.com:6881",
    "router.utorrent.com:6881",
    "dht.libtorrent.org:25401",
};

enum { ROUTERS = sizeof routers / sizeof routers[0] };

static bool is_configured(const struct app *a)
{
    return a->cfg.view->n_bootstrap > 0;
}

/* The i-th node to begin from, or NULL. */
static const char *host_at(const struct app *a, size_t i)
{
    const struct config_view *v = a->cfg.view;
    if (is_configured(a)) {
        return i < v->n_bootstrap ? v->bootstrap[i] : NULL;
    }
    return i < ROUTERS && v->scope == SCOPE_INTERNET ? routers[i] : NULL;
}

static bool may_send(void *ctx, const struct addr *a)
{
    return loop_may_send(ctx, a);
}

void app_dht_config(const struct app *a, struct node_dht_config *out)
{
    *out = (struct node_dht_config){
        .on = is_configured(a) || a->cfg.view->scope == SCOPE_INTERNET,
        .family = {loop_has_family(a->cfg.loop, 4), loop_has_family(a->cfg.loop, 6)},
        .own_network = is_configured(a),
        .may_send = may_send,
        .ctx = a->cfg.loop,
    };
}

int app_dht_take(struct app *a, char why[APP_WHY_MAX])
{
    struct addr addr;
    const char *s;
    for (size_t i = 0; is_configured(a) && (s = host_at(a, i)) != NULL; i++) {
        bool number = addr_parse(s, 0, &addr) == 0;
        if (number && loop_allow_peer(a->cfg.loop, &addr) != 0) {
            (void)snprintf(why, APP_WHY_MAX,
                           "The bootstrap node %s is not on a private network, and the "
                           "scope is lan. Leave it out, or use --scope internet.",
                           s);
            return ERR_ARG;
        }
        if (!number && a->cfg.view->scope == SCOPE_LAN) {
            (void)snprintf(why, APP_WHY_MAX,
                           "The bootstrap node %s is not an address, and in scope lan no "
                           "names are looked up. Give its address.",
                           s);
            return ERR_ARG;
        }
    }
    return 0;
}

void app_dht_start(struct app *a, uint64_t now_ms)
{
    struct addr addr;
    const char *s;
    a->boot_at = DEADLINE_NONE;
    for (size_t i = 0; (s = host_at(a, i)) != NULL; i++) {
        if (addr_parse(s, 0, &addr) != 0) {
            a->boot_at = now_ms + (node_dht_remembers(a->node) ? FIRST_MS : 0);
        } else if (node_dht_router(a->node, &addr, now_ms) == ERR_ARG) {
            log_warn("the bootstrap node %s cannot be used", s);
        }
    }
}

void app_dht_resolve(struct app *a, uint64_t now_ms)
{
    const char *s;
    bool alone = a->node != NULL && node_dht_alone(a->node);
    a->boot_at = now_ms + (alone ? AGAIN_MS : LATER_MS);
    for (size_t i = 0; alone && (s = host_at(a, i)) != NULL; i++) {
        char host[CONFIG_HOST_MAX + 1];
        struct addr addr;
        uint16_t port;
        if (addr_parse(s, 0, &addr) != 0 && config_split_bootstrap(s, host, &port)) {
            (void)loop_resolve(a->cfg.loop, APP_WHAT_BOOTSTRAP + i, host, port);
        }
    }
}

void app_dht_interfaces(struct app *a, uint64_t now_ms)
{
    if (a->boot_at != DEADLINE_NONE && a->boot_at > now_ms + FIRST_MS) {
        a->boot_at = now_ms + FIRST_MS;
    }
}

void app_dht_resolved(struct app *a, size_t i, const struct addr *v, size_t n,
                      uint64_t now_ms)
{
    const char *s = host_at(a, i);
    if (n == 0 && s != NULL && is_configured(a)) {
        log_warn("the bootstrap node %s is not known to the name service", s);
    }
    for (size_t k = 0; k < n && a->node != NULL; k++) {
        (void)node_dht_router(a->node, &v[k], now_ms);
    }
}
