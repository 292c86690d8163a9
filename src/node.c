/* Life, time, routing between the modules, and the gate that holds outputs back. */
#include "node.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/log.h"
#include "node_priv.h"

/* ---- life ---- */

static int keys_init(struct node *n)
{
    n->self.env = n->env;
    keys_root(n->key.seed, n->self.root, n->root_sec);
    memcpy(n->self.stat_sec, n->key.device_sec, 32);
    keys_public(n->self.stat_sec, n->self.stat_pub);
    keys_device_id(n->self.root, n->self.stat_pub, n->device);
    memcpy(n->presence_p, n->key.presence_p, 32);
    memcpy(n->presence_seed, n->key.presence_a, 32);
    return 0;
}

static int modules_init(struct node *n)
{
    struct feeds_self fs = {.env = n->env, .device_ref = 1};
    struct contacts_self cs = {.env = n->env, .device_ref = 1};

    memcpy(fs.root, n->self.root, 32);
    memcpy(fs.device, n->device, 32);
    memcpy(fs.stat_sec, n->self.stat_sec, 32);
    memcpy(fs.self_key, n->key.self, 32);
    memcpy(cs.root, n->self.root, 32);
    cs.cert = n->self.cert;
    n->feeds = feeds_new(&fs);
    n->contacts = contacts_new(&cs);
    n->peers = peers_new(n->env, n->self.stat_pub);
    n->lan = lan_new(n->env);
    n->nearby = nearby_new(n->env);
    n->presence = presence_new(n->env);
    n->xfer = xfer_new(n->env);
    sodium_memzero(&fs, sizeof(fs));
    return n->feeds && n->contacts && n->peers && n->lan && n->nearby && n->presence &&
                   n->xfer
               ? 0
               : ERR_NOMEM;
}

struct node *node_new(const struct node_config *cfg)
{
    struct node *n = calloc(1, sizeof(*n));

    if (n == NULL) {
        return NULL;
    }
    n->env = cfg->env;
    n->key = *cfg->key;
    memcpy(n->name, cfg->name, sizeof(n->name));
    n->link_port = cfg->link_port;
    n->udp_port = cfg->udp_port;
    n->active_ms = cfg->active_ms;
    n->dht_config = cfg->dht;
    map_init(&n->conns, n->env, sizeof(uint32_t), NODE_CONNS_MAX);
    deadlines_init(&n->deadlines, NODE_CONNS_MAX);
    n->out_buf = malloc(NODE_OUT_BUF);
    if (n->out_buf == NULL || keys_init(n) != 0 || modules_init(n) != 0) {
        node_free(n);
        return NULL;
    }
    return n;
}

/* A PAIR frame holds our presence secret, the result of an invite its code. */
static void gated_free(struct gated *g)
{
    sodium_memzero(g, sizeof(*g) + g->len);
    free(g);
}

static void event_free(struct event_item *e)
{
    sodium_memzero(e, sizeof(*e));
    free(e);
}

static void queues_free(struct node *n)
{
    for (struct gated *g = n->gate_first, *next; g != NULL; g = next) {
        next = g->next;
        gated_free(g);
    }
    for (struct out_item *o = n->out_first, *next; o != NULL; o = next) {
        next = o->next;
        free(o);
    }
    free(n->out_now);
    for (struct event_item *e = n->ev_first, *next; e != NULL; e = next) {
        next = e->next;
        if (e->ev.kind == NODE_EV_COMMIT) {
            txn_release(e->ev.txn);
            free(e->ev.txn);
        }
        free(e->ev.dht);
        event_free(e);
    }
    for (struct event_item *e = n->res_first, *next; e != NULL; e = next) {
        next = e->next;
        event_free(e);
    }
}

void node_free(struct node *n)
{
    if (n == NULL) {
        return;
    }
    conns_free(n);
    attempts_free(n);
    askings_free(n);
    verifies_free(n);
    map_release(&n->conns);
    deadlines_release(&n->deadlines);
    queues_free(n);
    txn_release(&n->txn);
    for (size_t i = 0; i < n->n_metas; i++) {
        blob_release(&n->metas[i].value);
    }
    feeds_free(n->feeds);
    contacts_free(n->contacts);
    peers_free(n->peers);
    lan_free(n->lan);
    nearby_free(n->nearby);
    network_stop(n);
    presence_free(n->presence);
    xfer_free(n->xfer);
    node_meet_free(n);
    node_dht_free(n);
    keyring_release(&n->ring);
    free(n->sizes);
    free(n->targets);
    free(n->unacked);
    free(n->out_buf);
    sodium_memzero(n, sizeof(*n));
    free(n);
}

/* ---- queues ---- */

void node_out_push(struct node *n, const struct node_out *out)
{
    struct out_item *o = malloc(sizeof(*o));

    if (o == NULL) {
        n->broken = ERR_NOMEM;
        return;
    }
    o->next = NULL;
    o->out = *out;
    *(n->out_last != NULL ? &n->out_last->next : &n->out_first) = o;
    n->out_last = o;
}

static void event_push(struct event_item **first, struct event_item **last,
                       const struct node_event *ev, uint64_t txn, int *broken)
{
    struct event_item *e = malloc(sizeof(*e));

    if (e == NULL) {
        *broken = ERR_NOMEM;
        return;
    }
    e->next = NULL;
    e->txn = txn;
    e->ev = *ev;
    *(*last != NULL ? &(*last)->next : first) = e;
    *last = e;
}

void node_emit(struct node *n, const struct node_event *ev)
{
    event_push(&n->ev_first, &n->ev_last, ev, 0, &n->broken);
}

/* The number that the present transaction gets, or would get. */
static uint64_t present_txn(const struct node *n)
{
    return n->txn.n > 0 ? n->last_txn + 1 : n->last_txn;
}

void node_result(struct node *n, const struct node_event *ev)
{
    event_push(&n->res_first, &n->res_last, ev, present_txn(n), &n->broken);
}

/* ---- the gate ---- */

static void gate_pass(struct node *n, struct conn *c, const struct gated *g,
                      const uint8_t *payload, uint64_t now_ms)
{
    if (g->close) {
        conn_close(n, c, g->close_code, now_ms);
        return;
    }
    bool sent = conn_send(n, c, g->cls, g->type, payload, g->len, now_ms);

    if (sent && g->feed != 0) {
        feeds_handed(n->feeds, g->feed, g->seq);
    }
}

/* Lets through, or holds back until the present transaction is durable. */
static void gate(struct node *n, struct conn *c, const struct gated *g,
                 const uint8_t *payload, uint64_t now_ms)
{
    struct gated *copy;

    if (n->gate_first == NULL && n->last_txn <= n->durable) {
        gate_pass(n, c, g, payload, now_ms);
        return;
    }
    if (n->gated_bytes + g->len > NODE_GATED_MAX ||
        (copy = malloc(sizeof(*copy) + g->len)) == NULL) {
        conn_close(n, c, CLOSE_BUSY, now_ms);
        return;
    }
    *copy = *g;
    copy->next = NULL;
    copy->txn = n->last_txn;
    copy->conn = c->id;
    if (g->len > 0) {
        memcpy(copy->payload, payload, g->len);
    }
    c->gated += g->len;
    n->gated_bytes += g->len;
    *(n->gate_last != NULL ? &n->gate_last->next : &n->gate_first) = copy;
    n->gate_last = copy;
}

static void gate_open(struct node *n, uint64_t now_ms)
{
    struct gated *g;

    if (n->broken != 0) {
        return;
    }
    while ((g = n->gate_first) != NULL && g->txn <= n->durable) {
        struct conn *c = conn_get(n, g->conn);

        n->gate_first = g->next;
        if (n->gate_first == NULL) {
            n->gate_last = NULL;
        }
        n->gated_bytes -= g->len;
        if (c != NULL) {
            c->gated -= g->len;
            gate_pass(n, c, g, g->payload, now_ms);
        }
        gated_free(g);
    }
    for (struct event_item *e; (e = n->res_first) != NULL && e->txn <= n->durable;) {
        n->res_first = e->next;
        if (n->res_first == NULL) {
            n->res_last = NULL;
        }
        node_emit(n, &e->ev);
        event_free(e);
    }
}

/* ---- routing ---- */

/* Who met us as a stranger has not got our presence secret: it waits for the first link
 * of contacts. */
static void stored(struct node *n, uint32_t contact, uint64_t now_ms)
{
    uint32_t conv = feeds_conv_of(n->feeds, contact);

    if (!contacts_met(n->contacts, contact) && conv != 0) {
        (void)feeds_send_device(n->feeds, &n->txn, conv, &n->own, now_ms);
    }
}

static void on_contacts_event(struct node *n, const struct contacts_event *ev,
                              uint64_t now_ms)
{
    struct conn *c;

    switch (ev->kind) {
    case CONTACTS_EV_CHANGED:
        contact_follow(n, ev->contact, now_ms);
        break;
    case CONTACTS_EV_GONE:
        contact_unfollow(n, ev->contact, now_ms);
        break;
    case CONTACTS_EV_INVITES:
        invites_follow(n, now_ms);
        break;
    case CONTACTS_EV_STORED:
        contact_follow(n, ev->contact, now_ms);
        stored(n, ev->contact, now_ms);
        break;
    case CONTACTS_EV_ASKED:
        asking_stored(n, ev->slot, ev->contact);
        if ((c = conn_get(n, ev->conn)) != NULL) {
            conn_met(n, ev->contact, c, now_ms);
        }
        break;
    case CONTACTS_EV_PAIRED:
        if (ev->slot != 0) {
            waiters_done(n, ev->slot, ev->contact, 0, 0);
        }
        /* One who has called dials again. */
        if ((c = conn_get(n, ev->conn)) != NULL &&
            (c->dialled || c->kind != LINK_INVITE)) {
            conn_met(n, ev->contact, c, now_ms);
        }
        break;
    case CONTACTS_EV_CLOSE:
        if ((c = conn_get(n, ev->conn)) != NULL) {
            c->close_wanted = true;
            c->close_code = (enum close_code)ev->code;
            n->closes_wanted = true;
        }
        break;
    case CONTACTS_EV_FAILED:
        waiters_done(n, ev->slot, 0, ERR_REFUSED, ev->code);
        break;
    }
}

static void on_lan_event(struct node *n, const struct lan_event *ev, uint64_t now_ms)
{
    switch (ev->kind) {
    case LAN_CONTACT:
        if (ev->type == LAN_GONE) {
            peers_gone(n->peers, ev->ref, now_ms);
        } else {
            bool there = node_presence_beacon(n, ev->ref, ev->presence, now_ms);

            peers_addr(n->peers, ev->ref, &ev->addr, there, now_ms);
            node_dht_met(n, &ev->addr, now_ms);
            keyring_met(&n->ring, LINK_CONTACT, ev->ref, &ev->addr);
        }
        break;
    case LAN_ADDING:
        if (ev->type == LAN_SEEN) {
            attempt_found(n, ev->ref, &ev->addr, now_ms);
        }
        break;
    case LAN_INVITE:
        break; /* lan has answered */
    case LAN_NETWORK:
        network_beacon(n, ev, now_ms);
        break;
    }
}

static void on_feeds_event(struct node *n, const struct feeds_event *ev, uint64_t now_ms)
{
    struct node_event out = {.kind = NODE_EV_LOAD};
    int err;

    switch (ev->kind) {
    case FEEDS_EV_LOAD:
        out.request = ev->request;
        out.feed = ev->feed;
        out.from = ev->from;
        out.to = ev->to;
        out.max = ev->max;
        out.max_bytes = ev->max_bytes;
        /* What is asked for may be in the present transaction. */
        event_push(&n->res_first, &n->res_last, &out, present_txn(n), &n->broken);
        break;
    case FEEDS_EV_WAITS:
        peers_want(n->peers, ev->device, ev->waits, now_ms);
        node_meet_want(n, ev->device, now_ms);
        break;
    case FEEDS_EV_DEVICE:
        err = contacts_device_update(n->contacts, &n->txn, ev->device, ev->dict);
        if (err == ERR_NOMEM) {
            n->broken = err;
        } else if (err != 0) {
            log_peer(now_ms, LOG_WARN, "a device dictionary was refused");
        }
        break;
    case FEEDS_EV_FILE:
        node_file_said(n, ev, now_ms);
        break;
    case FEEDS_EV_ANNOUNCE:
        if (ev->conv == 0) {
            node_device_changed(n, true, now_ms);
        } else {
            (void)feeds_send_device(n->feeds, &n->txn, ev->conv, &n->own, now_ms);
        }
        break;
    }
}

/* Dials a device; the dial before it, which took too long, ends. */
static void dial_peer(struct node *n, const struct peer_out *po, uint64_t now_ms)
{
    struct conn *late = po->drop != 0 ? conn_get(n, po->drop) : NULL;
    uint32_t conn = conn_dial_contact(n, po->ref, &po->addr, now_ms);

    if (conn != 0) {
        peers_dialling(n->peers, po->ref, conn);
    } else {
        peers_dial_failed(n->peers, po->ref, 0, now_ms);
    }
    if (late != NULL) {
        conn_close(n, late, CLOSE_NORMAL, now_ms);
    }
}

static bool route_events(struct node *n, uint64_t now_ms)
{
    struct contacts_event ce;
    struct lan_event le;
    struct feeds_event fe;
    struct peer_event pe;
    struct peer_out po;
    uint32_t conn;
    bool any = false;

    while (contacts_next_event(n->contacts, &ce)) {
        on_contacts_event(n, &ce, now_ms);
        any = true;
    }
    while (lan_next_event(n->lan, &le)) {
        on_lan_event(n, &le, now_ms);
        any = true;
    }
    any = nearby_route(n, now_ms) || any;
    any = network_route(n, now_ms) || any;
    any = node_dht_route(n, now_ms) || any;
    any = node_meet_route(n, now_ms) || any;
    while (feeds_next_event(n->feeds, &fe)) {
        on_feeds_event(n, &fe, now_ms);
        any = true;
    }
    any = node_file_route(n, now_ms) || any;
    while (peers_next_out(n->peers, &po)) {
        dial_peer(n, &po, now_ms);
        any = true;
    }
    while ((conn = peers_next_idle(n->peers)) != 0) {
        struct conn *c = conn_get(n, conn);

        if (c != NULL) {
            conn_close(n, c, CLOSE_IDLE, now_ms);
        }
    }
    while (peers_next_event(n->peers, &pe)) {
        node_presence_reach(n, pe.ref, pe.online, now_ms);
    }
    return node_presence_route(n, now_ms) || any;
}

static void seal_txn(struct node *n)
{
    struct node_event ev = {.kind = NODE_EV_COMMIT};
    size_t bytes;

    if (n->txn.n == 0) {
        return;
    }
    if (n->sizes_len == n->sizes_cap) {
        size_t cap = n->sizes_cap == 0 ? 64 : n->sizes_cap * 2;
        struct fifo_size *v = realloc(n->sizes, cap * sizeof(*v));

        if (v == NULL) {
            n->broken = ERR_NOMEM;
            return;
        }
        n->sizes = v;
        n->sizes_cap = cap;
    }
    ev.txn = malloc(sizeof(*ev.txn));
    if (ev.txn == NULL) {
        n->broken = ERR_NOMEM;
        return;
    }
    bytes = txn_bytes(&n->txn);
    n->txn.no = ++n->last_txn;
    *ev.txn = n->txn;
    memset(&n->txn, 0, sizeof(n->txn));
    n->sizes[n->sizes_len++] = (struct fifo_size){.no = n->last_txn, .bytes = bytes};
    n->unstored += bytes;
    node_emit(n, &ev);
}

static void drain_outputs(struct node *n, uint64_t now_ms)
{
    struct contacts_out co;
    struct feeds_out fo;
    struct xfer_out xo;

    while (contacts_next_out(n->contacts, &co)) {
        struct conn *c = conn_get(n, co.conn);
        struct gated g = {.cls = LINK_CONTROL, .type = co.type, .len = co.len};

        if (c != NULL) {
            gate(n, c, &g, co.payload, now_ms);
        }
    }
    while (feeds_next_out(n->feeds, &fo)) {
        struct conn *c = conn_get(n, peers_link(n->peers, fo.device));
        struct gated g = {.cls = fo.cls,
                          .type = fo.type,
                          .len = fo.len,
                          .feed = fo.feed,
                          .seq = fo.seq};

        if (c != NULL) {
            gate(n, c, &g, fo.payload, now_ms);
        }
    }
    /* What ends a file is in an entry, which says more than that nothing is left. */
    while (xfer_next_out(n->xfer, &xo)) {
        struct conn *c = conn_get(n, peers_link(n->peers, xo.device));
        struct gated g = {.cls = xo.type == FRAME_FILE_NO ? LINK_CHAT : LINK_CONTROL,
                          .type = xo.type,
                          .len = xo.len};

        if (c != NULL) {
            gate(n, c, &g, xo.payload, now_ms);
        }
    }
    node_presence_drain(n, now_ms);
    for (struct conn *c = n->closes_wanted ? n->first : NULL; c != NULL; c = c->next) {
        struct gated g = {.close = true, .close_code = c->close_code};

        if (c->close_wanted) {
            c->close_wanted = false;
            gate(n, c, &g, NULL, now_ms);
        }
    }
    n->closes_wanted = false;
}

/* Routes until nothing is left; false when there was nothing. */
static bool route_all(struct node *n, uint64_t now_ms)
{
    unsigned i = 0;

    /* Routing one event may raise another; a chain of them is short. */
    while (i < NODE_ROUTES_MAX && route_events(n, now_ms)) {
        i++;
    }
    node_beacons_follow(n, now_ms);
    return i > 0;
}

/* Memory and transaction may differ: the transaction is not given out, nor what depends
 * on it. */
static void break_off(struct node *n)
{
    struct node_event ev = {.kind = NODE_EV_BROKEN, .err = n->broken};

    if (!n->broken_told) {
        n->broken_told = true;
        node_emit(n, &ev);
    }
}

void node_settle(struct node *n, uint64_t now_ms)
{
    for (unsigned i = 0; i < NODE_TURNS_MAX; i++) {
        /* After the first turn: what the drain itself has raised, as the end of a link on
         * overflow, with the records that this has made. */
        if (!route_all(n, now_ms) && n->txn.n == 0 && i > 0) {
            return;
        }
        if (n->broken == 0) {
            node_presence_heard(n, now_ms);
            seal_txn(n);
        }
        if (n->broken != 0) {
            break_off(n);
            return;
        }
        drain_outputs(n, now_ms);
        gate_open(n, now_ms);
    }
}

/* ---- the world ---- */

void node_interfaces(struct node *n, const struct lan_interface *v, size_t count,
                     uint64_t now_ms)
{
    n->n_addrs = 0;
    for (size_t i = 0; i < count && n->n_addrs < WIRE_ADDRS_MAX; i++) {
        if (v[i].up && !addr_is_loopback(&v[i].addr) && !addr_is_link_local(&v[i].addr)) {
            n->addrs[n->n_addrs] = v[i].addr;
            n->addrs[n->n_addrs].scope = 0;
            n->addrs[n->n_addrs++].port = n->link_port;
        }
    }
    if (lan_set_interfaces(n->lan, v, count, now_ms) != 0) {
        log_warn("too many interfaces: some are not used");
    }
    nearby_restart(n->nearby, now_ms);
    peers_network_changed(n->peers, now_ms);
    node_dht_moved(n, now_ms);
    node_settle(n, now_ms);
}

/* Beside the configured targets, where devices of contacts that are not linked were met
 * last, as many as there is room for, get beacons as unicast. */
void node_targets_changed(struct node *n, uint64_t now_ms)
{
    struct lan_met met[LAN_MET_MAX];
    size_t count = 0, pos = 0;
    const struct rec_contact *c;

    while (count < LAN_MET_MAX && (c = contacts_next(n->contacts, &pos)) != NULL) {
        const struct rec_device *d;
        size_t at = 0;

        if ((c->flags & CONTACT_BLOCKED) != 0) {
            continue;
        }
        while (count < LAN_MET_MAX &&
               (d = contacts_device_next(n->contacts, c->id, &at)) != NULL) {
            bool linked = peers_link(n->peers, d->id) != 0;

            met[count].ref = d->id;
            count += linked ? 0 : contacts_device_addrs(d, &met[count].addr, 1);
        }
    }
    (void)lan_set_targets(n->lan, n->targets, n->n_targets, now_ms);
    (void)lan_set_met(n->lan, met, count, now_ms);
}

int node_set_targets(struct node *n, const struct addr *v, size_t count, uint64_t now_ms)
{
    struct addr *copy;

    if (count > LAN_TARGETS_MAX) {
        return ERR_LIMIT;
    }
    for (size_t i = 0; i < count; i++) {
        if (!addr_is_dialable(&v[i])) {
            return ERR_ARG;
        }
    }
    copy = calloc(count + 1, sizeof(*copy));
    if (copy == NULL) {
        return ERR_NOMEM;
    }
    if (count > 0) {
        memcpy(copy, v, count * sizeof(*copy));
    }
    free(n->targets);
    n->targets = copy;
    n->n_targets = count;
    node_targets_changed(n, now_ms);
    node_settle(n, now_ms);
    return 0;
}

int node_set_subnets(struct node *n, const struct prefix *v, size_t count, uint16_t port,
                     uint64_t now_ms)
{
    int err = lan_set_subnets(n->lan, v, count, port, now_ms);

    node_settle(n, now_ms);
    return err;
}

void node_udp_recv(struct node *n, const struct addr *from, const uint8_t *p, size_t len,
                   uint64_t now_ms)
{
    if (!node_dht_recv(n, from, p, len, now_ms)) {
        node_beacon_recv(n, from, p, len, now_ms);
    } else if (node_dht_route(n, now_ms)) {
        node_settle(n, now_ms);
    }
}

void node_beacon_recv(struct node *n, const struct addr *from, const uint8_t *p,
                      size_t len, uint64_t now_ms)
{
    if (len == WIRE_OPEN) {
        nearby_datagram(n, from, p, len, now_ms);
    } else {
        (void)lan_recv(n->lan, from, p, len, now_ms);
    }
    node_settle(n, now_ms);
}

void node_tick(struct node *n, uint64_t now_ms)
{
    lan_tick(n->lan, now_ms);
    nearby_tick(n->nearby, now_ms);
    network_due(n, now_ms);
    peers_tick(n->peers, now_ms);
    feeds_tick(n->feeds, &n->txn, now_ms);
    contacts_tick(n->contacts, &n->txn, now_ms);
    presence_tick(n->presence, now_ms);
    node_dht_tick(n, now_ms);
    node_meet_tick(n, now_ms);
    node_file_tick(n, now_ms);
    attempts_tick(n, now_ms);
    askings_tick(n, now_ms);
    verifies_tick(n, now_ms);
    conns_tick(n, now_ms);
    if (now_ms >= n->next_box_check_ms) {
        n->next_box_check_ms = now_ms + NODE_BOX_CHECK_MS;
        if (feeds_box_rotate(n->feeds, &n->txn, env_wall_us(n->env) / 1000000)) {
            node_device_changed(n, true, now_ms);
        }
    }
    node_settle(n, now_ms);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t node_deadline(const struct node *n)
{
    uint64_t at = lan_deadline(n->lan);

    at = earlier(at, nearby_deadline(n->nearby));
    at = earlier(at, network_next(n));
    at = earlier(at, peers_deadline(n->peers));
    at = earlier(at, feeds_deadline(n->feeds));
    at = earlier(at, contacts_deadline(n->contacts));
    at = earlier(at, presence_deadline(n->presence));
    at = earlier(at, xfer_deadline(n->xfer));
    at = earlier(at, node_dht_deadline(n));
    at = earlier(at, node_meet_deadline(n));
    at = earlier(at, attempts_deadline(n));
    at = earlier(at, askings_deadline(n));
    at = earlier(at, verifies_deadline(n));
    at = earlier(at, deadlines_next(&n->deadlines));
    return earlier(at, n->next_box_check_ms);
}

bool node_reading(const struct node *n)
{
    return n->broken == 0 && n->unstored < NODE_UNSTORED_MAX;
}

void node_committed(struct node *n, uint64_t no, uint64_t now_ms)
{
    size_t done = 0;

    n->durable = no > n->durable ? no : n->durable;
    while (done < n->sizes_len && n->sizes[done].no <= n->durable) {
        n->unstored -= n->sizes[done++].bytes;
    }
    memmove(n->sizes, n->sizes + done, (n->sizes_len - done) * sizeof(*n->sizes));
    n->sizes_len -= done;
    gate_open(n, now_ms);
    node_settle(n, now_ms);
}

void node_loaded(struct node *n, uint64_t request, const struct rec_entry *v,
                 size_t count, uint64_t now_ms)
{
    if (feeds_loaded(n->feeds, &n->txn, request, v, count, now_ms) == ERR_NOMEM) {
        n->broken = ERR_NOMEM;
    }
    node_settle(n, now_ms);
}

void node_shutdown(struct node *n, uint64_t now_ms)
{
    n->stopping = true;
    lan_leave(n->lan);
    nearby_hide(n->nearby, now_ms);
    node_meet_free(n);
    node_dht_stop(n);
    for (struct conn *c = n->first; c != NULL; c = c->next) {
        conn_close(n, c, CLOSE_SHUTDOWN, now_ms);
    }
    node_settle(n, now_ms);
}

static bool next_lan_out(struct node *n, struct node_out *out)
{
    struct lan_out lo;

    if (!lan_next_out(n->lan, &lo)) {
        return false;
    }
    memset(out, 0, sizeof(*out));
    memcpy(n->out_buf, lo.bytes, lo.len);
    out->kind = NODE_OUT_UDP;
    out->ifindex = lo.ifindex;
    out->source = lo.source;
    out->dst = lo.dest;
    out->data = n->out_buf;
    out->len = lo.len;
    return true;
}

bool node_next_out(struct node *n, struct node_out *out, uint64_t now_ms)
{
    struct conn *c;

    if (next_lan_out(n, out) || node_dht_out(n, out)) {
        return true;
    }
    while ((c = n->ready_first) != NULL) {
        size_t len = c->link != NULL && !c->closing
                         ? link_next_out(c->link, n->out_buf, NODE_OUT_BUF, now_ms)
                         : 0;

        len = len == 0 && !c->closing ? node_file_out(n, c, now_ms) : len;
        if (len > 0) {
            memset(out, 0, sizeof(*out));
            out->kind = NODE_OUT_SEND;
            out->conn = c->id;
            out->data = n->out_buf;
            out->len = len;
            return true;
        }
        n->ready_first = c->ready_next;
        if (n->ready_first == NULL) {
            n->ready_last = NULL;
        }
        c->ready = false;
        if (c->link != NULL) { /* an end that waited for its last bytes */
            conn_pump_quiet(n, c, now_ms);
            if (c->link == NULL) {
                node_settle(n, now_ms);
            }
        }
    }
    free(n->out_now);
    n->out_now = n->out_first;
    if (n->out_now == NULL) {
        return false;
    }
    n->out_first = n->out_now->next;
    if (n->out_first == NULL) {
        n->out_last = NULL;
    }
    *out = n->out_now->out;
    return true;
}

bool node_next_event(struct node *n, struct node_event *ev)
{
    struct event_item *e = n->ev_first;

    if (e == NULL) {
        return false;
    }
    n->ev_first = e->next;
    if (n->ev_first == NULL) {
        n->ev_last = NULL;
    }
    *ev = e->ev;
    event_free(e);
    return true;
}
