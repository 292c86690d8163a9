#include "app.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "api_priv.h"
#include "base/deadline.h"
#include "base/err.h"
#include "base/log.h"

enum { PORT_DEFAULT = WIRE_LINK_PORT };

/* ---- small things that others ask ---- */

const char *app_store_state(const struct app *a)
{
    return a->state != APP_DOWN ? "ok" : a->store_err == ERR_FULL ? "full" : "failed";
}

size_t app_addresses(const struct app *a, struct addr *out, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < a->n_ifaces && n < max; i++) {
        if (a->ifaces[i].up) {
            out[n] = a->ifaces[i].addr;
            out[n].port = loop_port(a->cfg.loop);
            n++;
        }
    }
    return n;
}

/* Results come in the order of the messages in a commit, so the search goes on where the
 * last one ended. */
const struct store_event *app_fresh_message(struct app *a, const uint8_t mid[WIRE_MID])
{
    const struct store_events *e = a->fresh;
    for (size_t i = 0; e != NULL && i < e->n; i++) {
        size_t k = (a->fresh_at + i) % e->n;
        if (e->v[k].topic == TOPIC_MESSAGE && e->v[k].author == 0 &&
            memcmp(e->v[k].mid, mid, WIRE_MID) == 0) {
            a->fresh_at = k + 1;
            return &e->v[k];
        }
    }
    return NULL;
}

struct query {
    struct app *app;
    int (*run)(void *ctx, struct store *s);
    void (*done)(void *ctx, int rc);
    void *ctx;
};

static int query_run(void *ctx, struct store *s)
{
    struct query *q = ctx;
    return q->run(q->ctx, s);
}

static void query_done(void *ctx, int rc)
{
    struct query *q = ctx;
    q->app->queries--;
    q->done(q->ctx, rc);
    free(q);
}

int app_query(struct app *a, int (*run)(void *ctx, struct store *s),
              void (*done)(void *ctx, int rc), void *ctx)
{
    struct query *q = a->state == APP_STOPPING ? NULL : malloc(sizeof *q);
    if (q == NULL) {
        return a->state == APP_STOPPING ? ERR_STATE : ERR_NOMEM;
    }
    *q = (struct query){a, run, done, ctx};
    int rc = store_thread_query(a->store, query_run, query_done, q);
    if (rc != 0) {
        free(q);
    } else {
        a->queries++;
    }
    return rc;
}

/* ---- the node's life ---- */

static struct node *make_node(struct app *a)
{
    struct node_config cfg = {
        .env = a->cfg.env,
        .key = a->cfg.key,
        .link_port = loop_port(a->cfg.loop),
        .udp_port = loop_port(a->cfg.loop),
        .active_ms = a->active_ms,
    };
    (void)snprintf(cfg.name, sizeof cfg.name, "%s", a->cfg.view->name);
    app_dht_config(a, &cfg.dht);
    return node_new(&cfg);
}

static int load_one(void *ctx, const struct rec *r)
{
    return node_load(ctx, r);
}

static void set_targets(struct app *a, uint64_t now_ms)
{
    struct addr v[APP_TARGETS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < a->cfg.view->n_peers; i++) {
        for (size_t k = 0; k < a->n_peers[i] && n < APP_TARGETS_MAX; k++) {
            v[n++] = a->peers[i][k];
        }
    }
    if (a->node != NULL && node_set_targets(a->node, v, n, now_ms) != 0) {
        log_warn("too many peers are configured: some are left out");
    }
}

/* The key of the secret network, from the store when it was made of the same name and
 * secret; making it takes a while. */
static int take_network(struct app *a, char why[APP_WHY_MAX])
{
    const struct app_config *cfg = &a->cfg;
    const struct blob *kept = node_meta(a->node, NODE_META_NETWORK);
    int rc = 0;
    if (cfg->network == NULL || cfg->network[0] == '\0') {
        return 0;
    }
    netkey_cache(cfg->key->db_key, cfg->network, cfg->network_secret,
                 cfg->network_secret_len, a->network_cache);
    if (kept != NULL && kept->n == NETKEY_CACHE + NETKEY &&
        sodium_memcmp(kept->p, a->network_cache, NETKEY_CACHE) == 0) {
        memcpy(a->network_key, kept->p + NETKEY_CACHE, NETKEY);
    } else {
        rc = netkey_make(cfg->network, cfg->network_secret, cfg->network_secret_len,
                         a->network_key);
    }
    if (rc != 0) {
        (void)snprintf(why, APP_WHY_MAX, "The key of the network cannot be made: %s.",
                       err_str(rc));
        return rc;
    }
    (void)snprintf(a->network, sizeof a->network, "%s", cfg->network);
    return 0;
}

static void tell_file_settings(struct app *a, uint64_t now_ms)
{
    if (a->node != NULL) {
        node_file_policy(a->node, &a->accept, now_ms);
        node_file_limit(a->node, a->limit_rate, now_ms);
    }
}

void app_file_settings(struct app *a, const struct config_view *v)
{
    a->accept = v->accept;
    a->limit_rate = v->limit_rate;
    if (a->files != NULL) {
        files_set_downloads(a->files, v->downloads);
    }
    tell_file_settings(a, env_mono_ms());
}

/* After the last record: tells the node its world. */
static int start_node(struct app *a, uint64_t now_ms)
{
    const struct config_view *v = a->cfg.view;
    if (a->network[0] != '\0') {
        node_set_network(a->node, a->network, a->network_key, a->network_cache);
    }
    int rc = node_start(a->node, now_ms);
    if (rc == 0) {
        node_away_after(a->node, a->away_after_ms, now_ms);
        tell_file_settings(a, now_ms);
        api_watch_spools(a, now_ms);
    }
    if (rc == 0 && v->n_subnets > 0 &&
        node_set_subnets(a->node, v->subnets, v->n_subnets, PORT_DEFAULT, now_ms) != 0) {
        log_warn("the configured subnets have too many hosts: they get no beacons");
    }
    if (rc == 0) {
        app_dht_start(a, now_ms);
        set_targets(a, now_ms);
        loop_tell_interfaces(a->cfg.loop);
    }
    return rc;
}

void app_away_after(struct app *a, uint64_t ms)
{
    a->away_after_ms = ms;
    if (a->node != NULL) {
        node_away_after(a->node, ms, env_mono_ms());
    }
}

static void drop_node(struct app *a)
{
    loop_drop_all(a->cfg.loop);
    files_forget(a->files); /* jobs under way write into the node's buffers */
    node_free(a->node);
    a->node = NULL;
    a->life++;
    loop_set_reading(a->cfg.loop, false);
}

static const char *store_sentence(int err)
{
    switch (err) {
    case ERR_FULL:
        return "The disk is full: the message was not stored. Free some space and send "
               "it "
               "again.";
    case ERR_BUSY:
        return "Another program holds the database: nothing was stored. Close that "
               "program "
               "and try again.";
    case ERR_CORRUPT:
        return "The database is damaged: nothing was stored. Stop the node and restore a "
               "backup of the home.";
    case ERR_NOMEM:
        return "Memory is exhausted: nothing was stored. Close other programs and try "
               "again.";
    default:
        return "The disk has failed an operation: it is not certain that the message was "
               "stored. Check the disk, then look at the history before you send again.";
    }
}

/* A commit has failed: what was built on it goes, as in a crash, and comes back from the
 * store. */
static void store_down(struct app *a, int err)
{
    if (a->state == APP_STOPPING || a->node == NULL) {
        a->store_err = err;
        return;
    }
    log_error("the store has failed (%s): the node waits until it works again",
              err_str(err));
    a->store_err = err;
    (void)snprintf(a->store_error, sizeof a->store_error, "%s", store_sentence(err));
    a->state = APP_DOWN;
    a->probe_at = env_mono_ms() + APP_PROBE_MS;
    drop_node(a);
    api_fail_all(a->api, CODE_ERROR, a->store_error);
    api_recv_reset(a);
    api_publish_node(a, err == ERR_FULL ? "store_full" : "store_failed", a->store_error);
}

static int reload_run(void *ctx, struct store *s)
{
    struct app *a = ctx;
    int rc = store_probe(s);
    /* The loop leaves the next node alone until this is done. */
    return rc != 0 ? rc : store_load(s, load_one, a->next);
}

static void reload_done(void *ctx, int rc)
{
    struct app *a = ctx;
    uint64_t now_ms = env_mono_ms();
    a->node = a->next;
    a->next = NULL;
    if (a->state == APP_STOPPING) {
        return;
    }
    if (rc == 0) {
        store_thread_resume(a->store);
        rc = start_node(a, now_ms);
    }
    if (rc != 0) {
        node_free(a->node);
        a->node = NULL;
        a->store_err = rc;
        (void)snprintf(a->store_error, sizeof a->store_error, "%s", store_sentence(rc));
        a->probe_at = now_ms + APP_PROBE_MS;
        return;
    }
    log_warn("the store works again");
    a->state = APP_RUN;
    loop_set_reading(a->cfg.loop, true);
    api_publish_node(a, "store_ok", NULL);
}

static void probe(struct app *a, uint64_t now_ms)
{
    a->probe_at = now_ms + APP_PROBE_MS;
    if (a->next != NULL || a->state != APP_DOWN) {
        return;
    }
    a->next = make_node(a);
    if (a->next != NULL && app_query(a, reload_run, reload_done, a) != 0) {
        node_free(a->next);
        a->next = NULL;
    }
}

/* ---- the store's answers ---- */

static void node_events(struct app *a, uint64_t now_ms);

static void committed(void *ctx, uint64_t up_to, struct store_events *events)
{
    struct app *a = ctx;
    if (a->node == NULL) {
        return;
    }
    uint64_t now_ms = env_mono_ms();
    if (events->n > 0) {
        a->newest = events->v[events->n - 1].n;
    }
    for (size_t i = 0; i < events->n; i++) {
        if (events->v[i].topic == TOPIC_MESSAGE && events->v[i].row > a->newest_row) {
            a->newest_row = events->v[i].row;
        }
    }
    a->fresh = events;
    a->fresh_at = 0;
    node_committed(a->node, up_to, now_ms);
    node_events(a, now_ms);
    a->fresh = NULL;
    for (size_t i = 0; i < events->n && a->node != NULL; i++) {
        api_publish_event(a, &events->v[i]);
    }
}

static void failed(void *ctx, int err, uint64_t no)
{
    (void)no;
    store_down(ctx, err);
}

struct load {
    struct app *app;
    uint32_t life, feed;
    uint64_t request, from, to;
    size_t max, max_bytes;
    struct store_entries out;
};

static int load_run(void *ctx, struct store *s)
{
    struct load *l = ctx;
    return store_entries(s, l->feed, l->from, l->to, l->max, l->max_bytes, &l->out);
}

static void load_done(void *ctx, int rc)
{
    struct load *l = ctx;
    struct app *a = l->app;
    if (rc != 0) {
        log_error("entries cannot be read from the store: %s", err_str(rc));
    }
    if (a->node != NULL && a->life == l->life) {
        node_loaded(a->node, l->request, l->out.v, rc == 0 ? l->out.n : 0, env_mono_ms());
    }
    store_entries_release(&l->out);
    free(l);
}

static void load(struct app *a, const struct node_event *ev, uint64_t now_ms)
{
    struct load *l = calloc(1, sizeof *l);
    int rc = ERR_NOMEM;
    if (l != NULL) {
        *l = (struct load){
            .app = a,
            .life = a->life,
            .feed = ev->feed,
            .request = ev->request,
            .from = ev->from,
            .to = ev->to,
            .max = ev->max,
            .max_bytes = ev->max_bytes,
        };
        rc = store_thread_query(a->store, load_run, load_done, l);
    }
    if (rc != 0) {
        free(l);
        node_loaded(a->node, ev->request, NULL, 0, now_ms);
    }
}

/* ---- what the node wants ---- */

static void commit(struct app *a, const struct node_event *ev)
{
    int rc = store_thread_commit(a->store, ev->txn);
    txn_release(ev->txn);
    free(ev->txn);
    if (rc != 0 && rc != ERR_STATE) {
        store_down(a, rc);
    }
}

static void node_events(struct app *a, uint64_t now_ms)
{
    struct node_event ev;
    struct api_req *r;
    while (a->node != NULL && node_next_event(a->node, &ev)) {
        switch (ev.kind) {
        case NODE_EV_COMMIT:
            commit(a, &ev);
            break;
        case NODE_EV_LOAD:
            load(a, &ev, now_ms);
            break;
        case NODE_EV_RESULT:
            r = api_find(a->api, ev.tag);
            if (r != NULL && r->result != NULL) {
                r->result(a, r, &ev);
            }
            break;
        case NODE_EV_PRESENCE:
            api_publish_presence(a, ev.contact, (enum node_presence_what)ev.what);
            break;
        case NODE_EV_NEARBY:
            api_publish_nearby(a, &ev);
            break;
        case NODE_EV_VISIBLE:
            api_publish_visible(a);
            break;
        case NODE_EV_VERIFY:
            api_publish_verify(a, ev.contact);
            break;
        case NODE_EV_JOB:
            files_start(a->files, ev.job);
            break;
        case NODE_EV_TRANSFER:
            api_publish_transfer(a, ev.id);
            break;
        case NODE_EV_DHT:
            api_dht_told(a, ev.tag, ev.dht);
            free(ev.dht);
            break;
        case NODE_EV_BROKEN:
            store_down(a, ev.err);
            break;
        }
    }
}

static void job_done(void *ctx, const struct xfer_result *r)
{
    struct app *a = ctx;
    if (a->node != NULL) {
        node_job_done(a->node, r, env_mono_ms());
    }
}

static bool file_needed(void *ctx, const uint8_t mid[WIRE_MID])
{
    const struct app *a = ctx;
    return a->node == NULL || xfer_needs(node_xfer(a->node), mid);
}

/* What the user gave with a code, where a contact was met, and where members of the
 * user's network say that one is, counts as configured. */
static void allow_known(struct app *a, const struct addr *dst)
{
    if (!addr_is_multicast(dst) && !loop_may_dial(a->cfg.loop, dst) &&
        (contacts_addr_known(node_contacts(a->node), dst) ||
         node_network_at(a->node, dst))) {
        (void)loop_allow_now(a->cfg.loop, dst);
    }
}

static void node_out(struct app *a, const struct node_out *out, uint64_t now_ms)
{
    struct loop *l = a->cfg.loop;
    size_t gone;
    switch (out->kind) {
    case NODE_OUT_UDP:
        allow_known(a, &out->dst);
        loop_send_datagram(l, &out->source, out->ifindex, &out->dst, out->data, out->len);
        break;
    case NODE_OUT_DIAL:
        allow_known(a, &out->dst);
        if (loop_dial(l, out->conn, &out->dst, now_ms) != 0) {
            node_closed(a->node, out->conn, now_ms);
        }
        break;
    case NODE_OUT_SEND:
        gone = loop_send(l, out->conn, out->data, out->len);
        if (gone > 0) {
            node_sent(a->node, out->conn, gone, now_ms);
        }
        break;
    case NODE_OUT_CLOSE:
        if (loop_close(l, out->conn, now_ms)) {
            node_closed(a->node, out->conn, now_ms);
        }
        break;
    }
}

static void drain(struct app *a, uint64_t now_ms)
{
    bool any = true;
    while (any && a->node != NULL) {
        struct node_out out;
        any = false;
        node_events(a, now_ms);
        while (a->node != NULL && node_next_out(a->node, &out, now_ms)) {
            node_out(a, &out, now_ms);
            any = true;
        }
    }
}

/* ---- the loop's calls ---- */

static uint32_t on_accepted(void *ctx, const struct addr *from, uint64_t now_ms)
{
    struct app *a = ctx;
    return a->node != NULL ? node_accepted(a->node, from, now_ms) : 0;
}

static void on_connected(void *ctx, uint32_t conn, uint64_t now_ms)
{
    struct app *a = ctx;
    if (a->node != NULL) {
        node_connected(a->node, conn, now_ms);
    }
}

static void on_received(void *ctx, uint32_t conn, const uint8_t *p, size_t len,
                        uint64_t now_ms)
{
    struct app *a = ctx;
    if (a->node != NULL) {
        node_recv(a->node, conn, p, len, now_ms);
    }
}

static void on_sent(void *ctx, uint32_t conn, size_t len, uint64_t now_ms)
{
    struct app *a = ctx;
    if (a->node != NULL) {
        node_sent(a->node, conn, len, now_ms);
    }
}

static void on_closed(void *ctx, uint32_t conn, uint64_t now_ms)
{
    struct app *a = ctx;
    if (a->node != NULL) {
        node_closed(a->node, conn, now_ms);
    }
}

static void on_datagram(void *ctx, bool group, const struct addr *from, const uint8_t *p,
                        size_t len, uint64_t now_ms)
{
    struct app *a = ctx;
    if (a->node != NULL && group) {
        node_beacon_recv(a->node, from, p, len, now_ms);
    } else if (a->node != NULL) {
        node_udp_recv(a->node, from, p, len, now_ms);
    }
}

/* ---- peers that were configured by name ---- */

static void resolve_peers(struct app *a)
{
    a->resolve_at = DEADLINE_NONE;
    for (size_t i = 0; i < a->cfg.view->n_peers; i++) {
        char host[CONFIG_HOST_MAX + 1];
        uint16_t port;
        if (a->n_peers[i] == 0 && config_split_peer(a->cfg.view->peers[i], host, &port)) {
            (void)loop_resolve(a->cfg.loop, i, host, port);
        }
    }
}

static void on_resolved(void *ctx, uint64_t what, const struct addr *v, size_t n,
                        uint64_t now_ms)
{
    struct app *a = ctx;
    if (what >= APP_WHAT_REQUEST) {
        api_dht_resolved(a, what & ~APP_WHAT_REQUEST, v, n);
        return;
    }
    if (what >= APP_WHAT_BOOTSTRAP) {
        app_dht_resolved(a, (size_t)(what - APP_WHAT_BOOTSTRAP), v, n, now_ms);
        return;
    }
    if (n == 0) {
        log_warn("the peer %s is not known to the name service",
                 a->cfg.view->peers[what]);
        a->resolve_at = now_ms + APP_RESOLVE_MS;
        return;
    }
    memcpy(a->peers[what], v, n * sizeof *v);
    a->n_peers[what] = n;
    if (a->node != NULL) {
        set_targets(a, now_ms);
    }
}

/* Peers given by number; names follow when the loop runs. */
static int take_peers(struct app *a, char why[APP_WHY_MAX])
{
    const struct config_view *v = a->cfg.view;
    for (size_t i = 0; i < v->n_peers; i++) {
        char host[CONFIG_HOST_MAX + 1];
        uint16_t port;
        if (addr_parse(v->peers[i], PORT_DEFAULT, &a->peers[i][0]) == 0) {
            a->n_peers[i] = 1;
            if (loop_allow_peer(a->cfg.loop, &a->peers[i][0]) != 0) {
                (void)snprintf(
                    why, APP_WHY_MAX,
                    "The peer %s is not on a private network, and the scope is "
                    "lan. Leave it out, or use --scope internet.",
                    v->peers[i]);
                return ERR_ARG;
            }
        } else if (v->scope == SCOPE_LAN) {
            (void)snprintf(why, APP_WHY_MAX,
                           "The peer %s is not an address, and in scope lan no names are "
                           "looked up. Give its address.",
                           v->peers[i]);
            return ERR_ARG;
        } else if (!config_split_peer(v->peers[i], host, &port)) {
            (void)snprintf(why, APP_WHY_MAX,
                           "The peer \"%s\" is not of the form HOST or HOST:PORT.",
                           v->peers[i]);
            return ERR_ARG;
        }
    }
    return 0;
}

static void on_interfaces(void *ctx, const struct lan_interface *v, size_t n,
                          uint64_t now_ms)
{
    struct app *a = ctx;
    memcpy(a->ifaces, v, n * sizeof *v);
    a->n_ifaces = n;
    if (a->ready != NULL) {
        a->ready(a->ready_ctx, a);
        a->ready = NULL;
    }
    if (a->node != NULL) {
        node_interfaces(a->node, v, n, now_ms);
    }
    resolve_peers(a);
    app_dht_interfaces(a, now_ms);
}

/* ---- time, turns, the end ---- */

void app_stop(struct app *a)
{
    if (a->state == APP_STOPPING) {
        return;
    }
    uint64_t now_ms = env_mono_ms();
    api_publish_node(a, "stopping", NULL);
    if (a->node != NULL) {
        node_shutdown(a->node, now_ms);
        drain(a, now_ms);
    }
    a->state = APP_STOPPING;
    a->stop_at = now_ms + APP_STOP_MS;
}

static void on_signalled(void *ctx, int signum)
{
    (void)signum;
    app_stop(ctx);
}

static void on_timer(void *ctx, uint64_t now_ms)
{
    struct app *a = ctx;
    if (a->node != NULL && node_deadline(a->node) <= now_ms) {
        node_tick(a->node, now_ms);
    }
    if (a->probe_at <= now_ms) {
        a->probe_at = DEADLINE_NONE;
        probe(a, now_ms);
    }
    if (a->resolve_at <= now_ms) {
        resolve_peers(a);
    }
    if (a->boot_at <= now_ms) {
        app_dht_resolve(a, now_ms);
    }
    if (a->spool_at <= now_ms) {
        api_watch_spools(a, now_ms);
    }
}

static uint64_t earliest(const struct app *a)
{
    uint64_t at = a->node != NULL ? node_deadline(a->node) : DEADLINE_NONE;
    at = a->state == APP_DOWN && a->probe_at < at ? a->probe_at : at;
    at = a->resolve_at < at ? a->resolve_at : at;
    at = a->boot_at < at ? a->boot_at : at;
    at = a->spool_at < at ? a->spool_at : at;
    return a->state == APP_STOPPING && a->stop_at < at ? a->stop_at : at;
}

bool app_takes(const struct app *a)
{
    return a->queries + a->receiving < APP_QUERIES_MAX &&
           (a->node == NULL || node_reading(a->node));
}

static bool on_turn(void *ctx, uint64_t now_ms)
{
    struct app *a = ctx;
    api_turn(a->api);
    drain(a, now_ms);
    if (a->node != NULL) {
        loop_set_reading(a->cfg.loop, node_reading(a->node));
    }
    if (a->state == APP_STOPPING &&
        (now_ms >= a->stop_at ||
         (loop_carriers(a->cfg.loop) == 0 && store_thread_pending(a->store) == 0))) {
        api_fail_all(a->api, CODE_NO_NODE, "The node is stopping.");
        loop_stop(a->cfg.loop);
        return false;
    }
    loop_set_timer(a->cfg.loop, earliest(a));
    return api_more(a->api); /* sending may have let some in without a wake */
}

void app_run(struct app *a, void (*ready)(void *ctx, struct app *a), void *ctx)
{
    const struct loop_handler h = {
        .ctx = a,
        .accepted = on_accepted,
        .connected = on_connected,
        .received = on_received,
        .sent = on_sent,
        .closed = on_closed,
        .datagram = on_datagram,
        .interfaces = on_interfaces,
        .resolved = on_resolved,
        .timer = on_timer,
        .signalled = on_signalled,
        .turn = on_turn,
    };
    a->ready = ready;
    a->ready_ctx = ctx;
    loop_run(a->cfg.loop, &h);
}

/* ---- making and ending ---- */

static void load_fail(const struct app *a, int rc, char why[APP_WHY_MAX])
{
    (void)snprintf(
        why, APP_WHY_MAX,
        rc == ERR_CORRUPT
            ? "The database %.200s is damaged, or belongs to another key. Nothing "
              "was changed. Restore a backup of the home."
            : "The node cannot start from %.200s: %s.",
        a->cfg.home->db, err_str(rc));
}

int app_new(const struct app_config *cfg, struct app **out, char why[APP_WHY_MAX])
{
    struct app *a = calloc(1, sizeof *a);
    struct store *s = cfg->store;
    const struct store_thread_cb cb = {a, committed, failed};
    struct store_events none = {0};
    (void)snprintf(why, APP_WHY_MAX, "Memory is exhausted.");
    if (a == NULL) {
        store_close(s);
        return ERR_NOMEM;
    }
    a->cfg = *cfg;
    a->protected_ = cfg->protected_;
    a->away_after_ms = cfg->view->away_after_ms;
    a->active_ms = env_mono_ms();
    a->probe_at = a->stop_at = a->resolve_at = a->boot_at = a->spool_at = DEADLINE_NONE;
    app_file_settings(a, cfg->view);
    int rc = take_peers(a, why);
    rc = rc != 0 ? rc : app_dht_take(a, why);
    if (rc == 0) {
        a->node = make_node(a);
        rc = a->node == NULL ? ERR_NOMEM : store_load(s, load_one, a->node);
        if (rc == 0) {
            rc = store_events_since(s, INT64_MAX, 1, &none, &a->newest);
            store_events_release(&none);
            a->newest_row = store_newest_row(s);
        }
        if (rc != 0) {
            load_fail(a, rc, why);
        }
    }
    if (rc == 0) {
        rc = take_network(a, why);
    }
    if (rc == 0) {
        rc = api_new(a, cfg->home->api, cfg->home->events, &a->api, why, APP_WHY_MAX);
    }
    if (rc == 0) {
        rc = store_thread_start(loop_uv(cfg->loop), s, &cb, &a->store);
    }
    if (rc != 0) {
        store_close(s);
        app_free(a);
        return rc;
    }
    int fds[2];
    api_fds(a->api, fds);
    rc = loop_watch_wake(cfg->loop, fds[0]) && loop_watch_wake(cfg->loop, fds[1])
             ? 0
             : ERR_IO;
    if (rc == 0) {
        rc = files_new(cfg->loop, cfg->home->dir, cfg->view->downloads, job_done, a,
                       &a->files);
    }
    if (rc == 0) {
        rc = start_node(a, env_mono_ms());
    }
    if (rc == 0) {
        files_clean(a->files, file_needed, a);
    }
    if (rc != 0) {
        load_fail(a, rc, why);
        app_free(a);
        return rc;
    }
    *out = a;
    return 0;
}

void app_free(struct app *a)
{
    if (a == NULL) {
        return;
    }
    while (a->changing) { /* the key file is being written */
        loop_once(a->cfg.loop, true);
    }
    a->state = APP_STOPPING;
    files_free(a->files);
    node_free(a->node);
    a->node = NULL;
    store_thread_stop(a->store);
    node_free(a->next);
    loop_unwatch_wakes(a->cfg.loop);
    loop_once(a->cfg.loop, false);
    api_recv_reset(a);
    api_free(a->api);
    sodium_memzero(a->network_key, sizeof a->network_key);
    free(a);
}
