#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "loop_priv.h"
#include "netif.h"
#include "sock.h"

enum { PORT_TRIES = 16 };

static const uint8_t families[LOOP_FAMILIES] = {4, 6};

uint16_t loop_port(const struct loop *l)
{
    return l->port;
}

uv_loop_t *loop_uv(struct loop *l)
{
    return &l->uv;
}

/* ---- binding ---- */

static void unbind(struct loop *l)
{
    for (size_t i = 0; i < LOOP_FAMILIES; i++) {
        struct watch *all[] = {&l->listener[i], &l->udp[i]};
        for (size_t k = 0; k < sizeof all / sizeof all[0]; k++) {
            if (all[k]->fd >= 0) {
                (void)close(all[k]->fd);
                all[k]->fd = -1;
            }
        }
    }
}

/* One number for TCP and UDP of both families. A family that this host does not have is
 * left out. 0 or -errno. */
static int bind_all(struct loop *l, uint16_t port)
{
    int rc = -EAFNOSUPPORT;
    for (size_t i = 0; i < LOOP_FAMILIES; i++) {
        int tcp = sock_listen(families[i], port);
        if (tcp == -EAFNOSUPPORT || tcp == -EADDRNOTAVAIL || tcp == -EPROTONOSUPPORT) {
            continue;
        }
        l->listener[i].fd = tcp < 0 ? -1 : tcp;
        port = port == 0 && tcp >= 0 ? sock_port(tcp) : port;
        int udp = tcp < 0 ? tcp : sock_udp(families[i], port);
        l->udp[i].fd = udp < 0 ? -1 : udp;
        rc = udp < 0 ? udp : 0;
        if (rc != 0) {
            unbind(l);
            return rc;
        }
    }
    l->port = port;
    return rc;
}

static int bind_ports(struct loop *l, uint16_t port, bool asked, char why[LOOP_WHY_MAX])
{
    int rc = bind_all(l, port);
    for (int i = 0; i < PORT_TRIES && rc == -EADDRINUSE && !asked; i++) {
        rc = bind_all(l, 0);
    }
    if (rc == -EADDRINUSE) {
        (void)snprintf(
            why, LOOP_WHY_MAX,
            "Port %u is in use by another program. Choose another with --port, "
            "or leave it out to get any free one.",
            (unsigned)port);
        return ERR_BUSY;
    }
    if (rc != 0) {
        (void)snprintf(why, LOOP_WHY_MAX, "Port %u cannot be opened: %s.", (unsigned)port,
                       strerror(-rc));
        return ERR_IO;
    }
    for (size_t i = 0; i < LOOP_FAMILIES; i++) {
        int fd = l->udp[i].fd >= 0 ? sock_multicast(families[i], WIRE_BEACON_PORT) : -1;
        l->multicast[i].fd = fd;
        if (fd < 0 && l->udp[i].fd >= 0) {
            log_warn(
                "UDP port %d cannot be shared (%s): contacts nearby are found only by "
                "--peer",
                WIRE_BEACON_PORT, strerror(-fd));
            l->multicast[i].fd = -1;
        }
    }
    return 0;
}

/* All but the sockets. */
static struct loop *make(const struct env *env)
{
    struct loop *l = calloc(1, sizeof *l);
    if (l == NULL) {
        return NULL;
    }
    l->read_buf = malloc(LOOP_READ_SIZE);
    if (l->read_buf == NULL || uv_loop_init(&l->uv) != 0) {
        free(l->read_buf);
        free(l);
        return NULL;
    }
    l->env = env;
    l->reading = true;
    l->timer_at = l->caller_at = DEADLINE_NONE;
    for (size_t i = 0; i < LOOP_FAMILIES; i++) {
        l->listener[i].fd = l->udp[i].fd = l->multicast[i].fd = -1;
        l->listener[i].family = l->udp[i].family = l->multicast[i].family = families[i];
    }
    l->netlink.fd = l->reserve_fd = -1;
    map_init(&l->carriers, env, sizeof(uint32_t), LOOP_CARRIERS_MAX);
    deadlines_init(&l->deadlines, LOOP_CARRIERS_MAX);
    (void)uv_prepare_init(&l->uv, &l->prepare);
    (void)uv_idle_init(&l->uv, &l->idle);
    (void)uv_timer_init(&l->uv, &l->timer);
    for (size_t i = 0; i < LOOP_SIGNALS; i++) {
        (void)uv_signal_init(&l->uv, &l->signals[i]);
    }
    l->prepare.data = l->idle.data = l->timer.data = l;
    return l;
}

int loop_new(const struct env *env, const struct config_view *config, uint16_t port,
             bool port_asked, struct loop **out, char why[LOOP_WHY_MAX])
{
    struct loop *l = make(env);
    (void)snprintf(why, LOOP_WHY_MAX, "Memory is exhausted.");
    if (l == NULL) {
        return ERR_NOMEM;
    }
    l->config = config;
    l->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    scope_init(&l->scope, config->scope);
    scope_set_subnets(&l->scope, config->subnets, config->n_subnets);
    l->netlink.fd = netif_watch();
    int rc = bind_ports(l, port, port_asked, why);
    if (rc != 0) {
        loop_free(l);
        return rc;
    }
    *out = l;
    return 0;
}

/* 0 or -errno. */
static int bind_udp(struct loop *l, const struct addr *at)
{
    struct watch *w = &l->udp[at->family == 6];
    int fd = w->fd >= 0 ? -EEXIST : sock_udp_at(at);
    if (fd < 0) {
        return fd;
    }
    w->fd = fd;
    l->udp_at[at->family == 6] = *at;
    l->udp_at[at->family == 6].port = sock_port(fd);
    return 0;
}

static bool is_missing(int rc)
{
    return rc == -EAFNOSUPPORT || rc == -EADDRNOTAVAIL || rc == -EPROTONOSUPPORT;
}

int loop_new_udp(const struct env *env, const struct addr *at, size_t n,
                 struct loop **out, char why[LOOP_WHY_MAX])
{
    struct loop *l = make(env);
    char s[ADDR_STR_MAX];
    int rc = 0, bound = 0;
    (void)snprintf(why, LOOP_WHY_MAX, "Memory is exhausted.");
    if (l == NULL) {
        return ERR_NOMEM;
    }
    l->udp_only = l->ifaces_told = true;
    scope_init(&l->scope, SCOPE_INTERNET);
    for (size_t i = 0; i < n; i++) {
        rc = bind_udp(l, &at[i]);
        bound += rc == 0 ? 1 : 0;
        if (rc != 0 && (!is_missing(rc) || (i + 1 == n && bound == 0))) {
            (void)snprintf(why, LOOP_WHY_MAX, "UDP %s cannot be opened: %s.",
                           addr_str(&at[i], s), strerror(-rc));
            loop_free(l);
            return rc == -EADDRINUSE ? ERR_BUSY : ERR_IO;
        }
    }
    *out = l;
    return 0;
}

bool loop_udp_at(const struct loop *l, size_t i, struct addr *out)
{
    for (size_t k = 0; k < LOOP_FAMILIES; k++) {
        if (l->udp[k].fd >= 0 && i-- == 0) {
            *out = l->udp_at[k];
            return true;
        }
    }
    return false;
}

bool loop_has_family(const struct loop *l, uint8_t family)
{
    return l->udp[family == 6].fd >= 0;
}

static void close_handle(uv_handle_t *h, void *arg)
{
    (void)arg;
    if (!uv_is_closing(h)) {
        uv_close(h, NULL);
    }
}

void loop_free(struct loop *l)
{
    if (l == NULL) {
        return;
    }
    loop_drop_all(l);
    for (size_t i = 0; i < LOOP_FAMILIES; i++) {
        loop_watch_close(&l->listener[i]);
        loop_watch_close(&l->udp[i]);
        loop_watch_close(&l->multicast[i]);
    }
    loop_watch_close(&l->netlink);
    loop_unwatch_wakes(l);
    loop_name_free(l);
    uv_walk(&l->uv, close_handle, NULL);
    (void)uv_run(&l->uv, UV_RUN_DEFAULT);
    (void)uv_loop_close(&l->uv);
    if (l->reserve_fd >= 0) {
        (void)close(l->reserve_fd);
    }
    map_release(&l->carriers);
    deadlines_release(&l->deadlines);
    loop_udp_free(l);
    free(l->read_buf);
    free(l);
}

/* ---- watching ---- */

bool loop_watch(struct loop *l, struct watch *w, uv_poll_cb cb)
{
    w->loop = l;
    w->poll.data = w;
    if (w->fd < 0 || (!w->open && uv_poll_init(&l->uv, &w->poll, w->fd) != 0)) {
        return false;
    }
    w->open = true;
    return uv_poll_start(&w->poll, UV_READABLE, cb) == 0;
}

void loop_watch_close(struct watch *w)
{
    if (w->open) {
        uv_close((uv_handle_t *)&w->poll, NULL);
        w->open = false;
    }
    if (w->fd >= 0) {
        (void)close(w->fd);
        w->fd = -1;
    }
}

/* ---- interfaces ---- */

static void join_all(struct loop *l)
{
    for (size_t i = 0; i < l->n_joins; i++) {
        l->joins[i].seen = false;
    }
    for (size_t i = 0; i < l->n_ifaces; i++) {
        const struct lan_interface *f = &l->ifaces[i];
        const struct watch *w = &l->multicast[f->addr.family == 6];
        if (!f->up || w->fd < 0 || (f->addr.family == 6 && addr_is_loopback(&f->addr))) {
            continue;
        }
        size_t k = 0;
        while (k < l->n_joins && (l->joins[k].ifindex != f->ifindex ||
                                  l->joins[k].family != f->addr.family)) {
            k++;
        }
        if (k < l->n_joins) {
            l->joins[k].seen = true;
            continue;
        }
        struct addr group;
        lan_group(f->addr.family, &group);
        int rc = sock_join(w->fd, &group, f->ifindex, true);
        if (rc == 0 && l->n_joins < LOOP_JOINS_MAX) {
            l->joins[l->n_joins++] = (struct join){f->ifindex, f->addr.family, true};
        } else {
            log_warn("no multicast on interface %u: %s", (unsigned)f->ifindex,
                     strerror(-rc));
        }
    }
    for (size_t i = 0; i < l->n_joins;) {
        if (l->joins[i].seen) {
            i++;
            continue;
        }
        struct addr group;
        lan_group(l->joins[i].family, &group);
        (void)sock_join(l->multicast[l->joins[i].family == 6].fd, &group,
                        l->joins[i].ifindex, false);
        l->joins[i] = l->joins[--l->n_joins];
    }
}

static void tell_interfaces(struct loop *l, uint64_t now_ms)
{
    l->n_ifaces = netif_list(l->config, l->ifaces, LAN_IFACES_MAX);
    l->ifaces_told = true;
    scope_set_interfaces(&l->scope, l->ifaces, l->n_ifaces);
    memset(l->askers, 0, sizeof l->askers); /* our addresses may be others now */
    join_all(l);
    loop_tcp_stranded(l, now_ms);
    l->h->interfaces(l->h->ctx, l->ifaces, l->n_ifaces, now_ms);
}

void loop_tell_interfaces(struct loop *l)
{
    l->ifaces_told = false;
}

static void on_netlink(uv_poll_t *p, int status, int events)
{
    (void)status;
    (void)events;
    struct watch *w = p->data;
    netif_drain(w->fd);
    w->loop->ifaces_told = false;
}

/* ---- the scope ---- */

int loop_allow_peer(struct loop *l, const struct addr *a)
{
    return scope_add_peer(&l->scope, a);
}

int loop_allow_now(struct loop *l, const struct addr *a)
{
    return scope_allow_now(&l->scope, a);
}

bool loop_may_dial(const struct loop *l, const struct addr *a)
{
    return scope_may_dial(&l->scope, a);
}

bool loop_may_send(const struct loop *l, const struct addr *a)
{
    return scope_may_send(&l->scope, a);
}

/* ---- work beside the loop, and descriptors of others ---- */

struct work {
    uv_work_t req;
    void (*run)(void *ctx);
    void (*done)(void *ctx);
    void *ctx;
};

static void on_work(uv_work_t *req)
{
    struct work *w = req->data;
    w->run(w->ctx);
}

static void on_worked(uv_work_t *req, int status)
{
    struct work *w = req->data;
    (void)status; /* nobody cancels */
    w->done(w->ctx);
    free(w);
}

int loop_work(struct loop *l, void (*run)(void *ctx), void (*done)(void *ctx), void *ctx)
{
    struct work *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return ERR_NOMEM;
    }
    w->run = run;
    w->done = done;
    w->ctx = ctx;
    w->req.data = w;
    if (uv_queue_work(&l->uv, &w->req, on_work, on_worked) != 0) {
        free(w);
        return ERR_NOMEM;
    }
    return 0;
}

static void on_wake(uv_poll_t *p, int status, int events)
{
    (void)p; /* the turn that follows looks */
    (void)status;
    (void)events;
}

bool loop_watch_wake(struct loop *l, int fd)
{
    if (l->n_wakes == LOOP_WAKES) {
        return false;
    }
    l->wake[l->n_wakes].fd = fd;
    return loop_watch(l, &l->wake[l->n_wakes++], on_wake);
}

void loop_unwatch_wakes(struct loop *l)
{
    while (l->n_wakes > 0) {
        struct watch *w = &l->wake[--l->n_wakes];
        w->fd = -1; /* its owner closes it */
        loop_watch_close(w);
    }
}

void loop_once(struct loop *l, bool wait)
{
    (void)uv_run(&l->uv, wait ? UV_RUN_ONCE : UV_RUN_NOWAIT);
}

/* ---- time and turns ---- */

static void on_idle(uv_idle_t *h)
{
    (void)h; /* its being active keeps the loop from sleeping */
}

static void on_timer(uv_timer_t *t)
{
    struct loop *l = t->data;
    uint64_t now_ms = env_mono_ms();
    l->timer_at = DEADLINE_NONE;
    loop_tcp_timer(l, now_ms);
    if (l->caller_at <= now_ms) {
        l->caller_at = DEADLINE_NONE;
        l->h->timer(l->h->ctx, now_ms);
    }
}

static void arm(struct loop *l)
{
    uint64_t at = deadlines_next(&l->deadlines);
    if (l->caller_at < at) {
        at = l->caller_at;
    }
    if (at == l->timer_at) {
        return;
    }
    l->timer_at = at;
    if (at == DEADLINE_NONE) {
        (void)uv_timer_stop(&l->timer);
        return;
    }
    uint64_t now_ms = env_mono_ms();
    uv_update_time(&l->uv);
    (void)uv_timer_start(&l->timer, on_timer, at > now_ms ? at - now_ms : 0, 0);
}

void loop_set_timer(struct loop *l, uint64_t at_ms)
{
    l->caller_at = at_ms;
}

static void on_prepare(uv_prepare_t *p)
{
    struct loop *l = p->data;
    uint64_t now_ms = env_mono_ms();
    l->turn++;
    if (!l->ifaces_told) {
        tell_interfaces(l, now_ms);
    }
    loop_tcp_turn(l, now_ms);
    bool again = l->h->turn(l->h->ctx, now_ms) || l->any_failed || !l->ifaces_told;
    loop_udp_flush(l);
    arm(l);
    if (again && !l->stopping) {
        (void)uv_idle_start(&l->idle, on_idle);
    } else {
        (void)uv_idle_stop(&l->idle);
    }
}

static void on_signal(uv_signal_t *s, int signum)
{
    struct loop *l = s->data;
    l->h->signalled(l->h->ctx, signum);
}

void loop_set_reading(struct loop *l, bool on)
{
    if (l->reading != on) {
        l->reading = on;
        loop_tcp_listen(l, on);
        loop_tcp_reading(l);
    }
}

static void watch_stop(struct watch *w)
{
    if (w->open) {
        (void)uv_poll_stop(&w->poll);
    }
}

/* After the last turn only those who wake the loop from outside are still heard: what
 * comes in from the network has nobody any more. */
static void quiet(struct loop *l)
{
    (void)uv_prepare_stop(&l->prepare);
    (void)uv_idle_stop(&l->idle);
    (void)uv_timer_stop(&l->timer);
    for (size_t i = 0; i < LOOP_SIGNALS; i++) {
        (void)uv_signal_stop(&l->signals[i]);
    }
    loop_tcp_listen(l, false);
    loop_drop_all(l);
    for (size_t i = 0; i < LOOP_FAMILIES; i++) {
        watch_stop(&l->udp[i]);
        watch_stop(&l->multicast[i]);
    }
    watch_stop(&l->netlink);
}

void loop_run(struct loop *l, const struct loop_handler *h)
{
    static const int signums[LOOP_SIGNALS] = {SIGTERM, SIGINT, SIGHUP};
    l->h = h;
    for (size_t i = 0; i < LOOP_SIGNALS; i++) {
        l->signals[i].data = l;
        (void)uv_signal_start(&l->signals[i], on_signal, signums[i]);
    }
    (void)uv_prepare_start(&l->prepare, on_prepare);
    loop_tcp_listen(l, true);
    for (size_t i = 0; i < LOOP_FAMILIES; i++) {
        (void)loop_watch(l, &l->udp[i], loop_udp_readable);
        (void)loop_watch(l, &l->multicast[i], loop_udp_readable);
    }
    (void)loop_watch(l, &l->netlink, on_netlink);
    (void)uv_run(&l->uv, UV_RUN_DEFAULT);
    quiet(l);
    l->h = NULL;
}

void loop_stop(struct loop *l)
{
    l->stopping = true;
    uv_stop(&l->uv);
}
