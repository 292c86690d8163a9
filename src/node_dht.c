/* The DHT node that this node is: its datagrams, the nodes that it remembers over a
 * restart, where it may begin, and who asked for what. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "dht/dht.h"
#include "node_priv.h"

static const char meta_nodes[] = "dht_nodes"; /* addresses: length, wire address, … */

enum {
    KEPT_MAX = 64,         /* nodes of one address family that are remembered */
    SAVE_FIRST_MS = 60000, /* after the table was filled */
    SAVE_MS = 600000,
    ASKED_MAX = DHT_OPS_MAX,
    ASKED_STEP = 16,
    KEPT_BYTES = 2 * KEPT_MAX * (1 + ADDR_WIRE6),
};

/* ---- what is remembered ---- */

static void hints_kept(struct node *n, uint64_t now_ms)
{
    const struct blob *b = node_meta(n, meta_nodes);
    struct rd r = rd_init(b != NULL ? b->p : NULL, b != NULL ? b->n : 0);

    while (rd_ok(&r) && r.n > 0) {
        size_t len = rd_u8(&r);
        const uint8_t *p = rd_bytes(&r, len);
        struct addr a;

        if (p != NULL && addr_from_wire(p, len, &a) == 0) {
            (void)dht_add_hint(n->dht, &a, now_ms);
        }
    }
}

static size_t nodes_write(const struct node *n, uint8_t out[KEPT_BYTES])
{
    struct wr w = wr_init(out, KEPT_BYTES);
    struct krpc_node node;
    size_t pos = 0, count[2] = {0, 0};

    while (dht_next_node(n->dht, &pos, &node)) {
        uint8_t a[ADDR_WIRE6];
        size_t len = addr_to_wire(&node.addr, a, sizeof(a));

        if (len > 0 && count[node.addr.family == 6]++ < KEPT_MAX) {
            wr_u8(&w, (uint8_t)len);
            wr_bytes(&w, a, len);
        }
    }
    return wr_ok(&w) ? w.len : 0;
}

/* A table that is empty says nothing of the nodes that are remembered. */
static void save(struct node *n)
{
    uint8_t bytes[KEPT_BYTES];
    const struct blob *b = node_meta(n, meta_nodes);
    size_t len = nodes_write(n, bytes);

    if (len == 0 || (b != NULL && b->n == len && memcmp(b->p, bytes, len) == 0)) {
        return;
    }
    if (node_meta_put(n, meta_nodes, bytes, len) == ERR_NOMEM) {
        n->broken = ERR_NOMEM;
    }
}

bool node_dht_remembers(const struct node *n)
{
    const struct blob *b = node_meta(n, meta_nodes);

    return b != NULL && b->n > 0;
}

/* ---- where to begin ---- */

static bool is_router(const struct node *n, const struct addr *a)
{
    for (size_t i = 0; i < n->n_dht_routers; i++) {
        if (addr_eq(&n->dht_routers[i], a)) {
            return true;
        }
    }
    return false;
}

static bool is_contacts(const struct node *n, const struct addr *a)
{
    const struct rec_contact *c;
    size_t pos = 0;

    if (contacts_addr_met(n->contacts, a)) {
        return true;
    }
    while ((c = contacts_next(n->contacts, &pos)) != NULL) {
        const struct rec_device *d;
        size_t at = 0;

        while ((d = contacts_device_next(n->contacts, c->id, &at)) != NULL) {
            struct addr v[PEER_ADDRS];
            size_t count = peers_addrs(n->peers, d->id, v, PEER_ADDRS);

            for (size_t i = 0; i < count; i++) {
                if (addr_eq_ip(&v[i], a)) {
                    return true;
                }
            }
        }
    }
    return false;
}

/* Who is invisible neither asks nor answers where contacts are: a query would tell them.
 * The nodes that our user named to begin from are needed all the same. */
static bool may_send(void *ctx, const struct addr *a)
{
    const struct node *n = ctx;
    const struct node_dht_config *c = &n->dht_config;

    if (c->may_send != NULL && !c->may_send(c->ctx, a)) {
        return false;
    }
    return !node_hidden(n) || is_router(n, a) || !is_contacts(n, a);
}

/* To somebody who is invisible to contacts, their addresses are of no use: being asked
 * would tell them. */
void node_dht_met(struct node *n, const struct addr *a, uint64_t now_ms)
{
    if (n->dht != NULL && !node_hidden(n)) {
        (void)dht_add_hint(n->dht, a, now_ms);
    }
}

static void hints_contacts(struct node *n, uint64_t now_ms)
{
    const struct rec_contact *c;
    size_t pos = 0;

    while ((c = contacts_next(n->contacts, &pos)) != NULL) {
        const struct rec_device *d;
        size_t at = 0;

        if ((c->flags & (CONTACT_BLOCKED | CONTACT_REMOVED)) != 0) {
            continue;
        }
        while ((d = contacts_device_next(n->contacts, c->id, &at)) != NULL) {
            struct addr a;

            if (contacts_device_addrs(d, &a, 1) == 1) {
                node_dht_met(n, &a, now_ms);
            }
        }
    }
}

int node_dht_router(struct node *n, const struct addr *a, uint64_t now_ms)
{
    if (n->dht == NULL) {
        return ERR_STATE;
    }
    if (!is_router(n, a)) {
        size_t keep =
            n->n_dht_routers < DHT_ROUTERS_MAX ? n->n_dht_routers : DHT_ROUTERS_MAX - 1;

        memmove(&n->dht_routers[1], &n->dht_routers[0], keep * sizeof(*a));
        n->dht_routers[0] = *a;
        n->n_dht_routers = keep + 1;
    }
    return dht_add_router(n->dht, a, now_ms);
}

bool node_dht_alone(const struct node *n)
{
    struct dht_stats s;

    return node_dht_stats(n, &s) && s.nodes[0] + s.nodes[1] == 0;
}

/* ---- life ---- */

int node_dht_start(struct node *n, uint64_t now_ms)
{
    const struct node_dht_config *c = &n->dht_config;
    const struct dht_config cfg = {
        .family = {c->family[0], c->family[1]},
        .private_too = c->own_network,
        .may_send = may_send,
        .ctx = n,
    };

    n->dht_save_ms = DEADLINE_NONE;
    if (!c->on) {
        return 0;
    }
    /* A new id each time: an old one would tell where we have been. */
    n->dht = dht_new(&cfg, n->env, now_ms);
    if (n->dht == NULL) {
        return ERR_NOMEM;
    }
    hints_contacts(n, now_ms);
    hints_kept(n, now_ms); /* the newest hints stay when there are too many */
    return 0;
}

void node_dht_free(struct node *n)
{
    dht_free(n->dht);
    n->dht = NULL;
    free(n->asked);
    n->asked = NULL;
    n->n_asked = n->cap_asked = 0;
}

void node_dht_stop(struct node *n)
{
    if (n->dht != NULL) {
        save(n);
        node_dht_free(n);
    }
}

/* Our addresses, not only the state of an interface, may have changed. */
void node_dht_moved(struct node *n, uint64_t now_ms)
{
    bool known = n->dht_told, same = n->n_dht_addrs == n->n_addrs;

    for (size_t i = 0; same && i < n->n_addrs; i++) {
        same = addr_eq(&n->dht_addrs[i], &n->addrs[i]);
    }
    memcpy(n->dht_addrs, n->addrs, n->n_addrs * sizeof(n->addrs[0]));
    n->n_dht_addrs = n->n_addrs;
    n->dht_told = true;
    n->dht_had_addrs = n->dht_had_addrs || n->n_addrs > 0;
    if (n->dht != NULL && known && !same) {
        dht_network_changed(n->dht, now_ms);
    }
    node_meet_where(n, now_ms);
    node_meet_moved(n, known && !same, now_ms);
}

/* ---- datagrams ---- */

/* Beacons come in by the same socket. Theirs are random bytes; what can be read as a
 * message of the DHT is none. */
bool node_dht_recv(struct node *n, const struct addr *from, const uint8_t *p, size_t len,
                   uint64_t now_ms)
{
    int rc;

    if (n->dht == NULL || len < 2 || p[0] != 'd' || p[len - 1] != 'e') {
        return false;
    }
    rc = dht_recv(n->dht, from, p, len, now_ms);
    return rc != ERR_FORMAT && rc != ERR_REFUSED;
}

bool node_dht_out(struct node *n, struct node_out *out)
{
    struct dht_out o;

    if (n->dht == NULL || n->broken != 0 || !dht_next_out(n->dht, &o)) {
        return false;
    }
    memset(out, 0, sizeof(*out));
    memcpy(n->out_buf, o.bytes, o.len);
    out->kind = NODE_OUT_UDP;
    out->dst = o.dest;
    out->data = n->out_buf;
    out->len = o.len;
    return true;
}

/* ---- who asked ---- */

static uint64_t asked_by(struct node *n, uint32_t op, bool ended)
{
    for (size_t i = 0; i < n->n_asked; i++) {
        uint64_t tag = n->asked[i].tag;

        if (n->asked[i].op == op) {
            if (ended) {
                n->asked[i] = n->asked[--n->n_asked];
            }
            return tag;
        }
    }
    return 0;
}

static void tell(struct node *n, uint64_t tag, const struct dht_event *e)
{
    struct node_event ev = {.kind = NODE_EV_DHT, .tag = tag, .dht = malloc(sizeof(*e))};

    if (ev.dht == NULL) {
        n->broken = ERR_NOMEM;
        return;
    }
    *ev.dht = *e;
    node_emit(n, &ev);
}

bool node_dht_route(struct node *n, uint64_t now_ms)
{
    struct dht_event e;
    char s[ADDR_STR_MAX];
    uint64_t tag;
    bool any = false;

    while (n->dht != NULL && dht_next_event(n->dht, &e)) {
        any = true;
        switch (e.type) {
        case DHT_DONE:
        case DHT_VALUE:
        case DHT_PEERS:
            tag = asked_by(n, e.op, e.type == DHT_DONE);
            if (tag != 0) {
                tell(n, tag, &e);
            } else {
                (void)node_meet_told(n, &e, now_ms);
            }
            break;
        case DHT_READY:
            n->dht_save_ms = now_ms + SAVE_FIRST_MS;
            node_meet_ready(n, now_ms);
            break;
        case DHT_SELF:
            log_debug("the DHT sees us at %s", addr_str(&e.u.self.addr, s));
            node_meet_where(n, now_ms);
            break;
        case DHT_OPEN:
            log_debug("nodes of the DHT %s",
                      e.u.open.open ? "reach us" : "do not reach us");
            node_meet_where(n, now_ms);
            break;
        }
    }
    return any;
}

static int begin(struct node *n, const struct node_dht_ask *q, uint64_t now_ms,
                 uint32_t *op)
{
    switch (q->verb) {
    case NODE_DHT_PING:
        return dht_ping(n->dht, &q->addr, now_ms, op);
    case NODE_DHT_FIND:
        return dht_find(n->dht, &q->target, now_ms, op);
    case NODE_DHT_GET:
        return dht_get(n->dht, &q->target, true, now_ms, op);
    case NODE_DHT_GET_MUTABLE:
        return dht_get_mutable(n->dht, q->item.k, q->item.salt.p, q->item.salt.n, true,
                               now_ms, op);
    case NODE_DHT_PUT:
        return dht_put(n->dht, &q->item, q->has_cas ? &q->cas : NULL, false, now_ms, op);
    case NODE_DHT_ANNOUNCE:
        return dht_announce(n->dht, &q->target, q->port, false, now_ms, op);
    case NODE_DHT_PEERS:
        return dht_peers(n->dht, &q->target, now_ms, op);
    }
    return ERR_ARG;
}

int node_dht_ask(struct node *n, uint64_t tag, const struct node_dht_ask *q,
                 uint64_t now_ms)
{
    uint32_t op;
    int err = n->dht == NULL ? ERR_STATE : n->n_asked == ASKED_MAX ? ERR_LIMIT : 0;

    if (err == 0 && n->n_asked == n->cap_asked) {
        size_t cap = n->cap_asked + ASKED_STEP;
        struct asked *v = realloc(n->asked, cap * sizeof(*v));

        if (v == NULL) {
            return ERR_NOMEM;
        }
        n->asked = v;
        n->cap_asked = cap;
    }
    if (err == 0) {
        err = begin(n, q, now_ms, &op);
    }
    if (err == 0) {
        n->asked[n->n_asked++] = (struct asked){.tag = tag, .op = op};
        node_settle(n, now_ms);
    }
    return err;
}

void node_dht_drop(struct node *n, uint64_t tag)
{
    for (size_t i = 0; i < n->n_asked; i++) {
        if (n->asked[i].tag == tag) {
            dht_cancel(n->dht, n->asked[i].op);
            n->asked[i] = n->asked[--n->n_asked];
            return;
        }
    }
}

bool node_dht_stats(const struct node *n, struct dht_stats *out)
{
    if (n->dht == NULL) {
        return false;
    }
    dht_stats(n->dht, out);
    return true;
}

/* ---- time ---- */

void node_dht_tick(struct node *n, uint64_t now_ms)
{
    if (n->dht == NULL) {
        return;
    }
    if (dht_deadline(n->dht) <= now_ms) {
        dht_tick(n->dht, now_ms);
    }
    if (now_ms >= n->dht_save_ms) {
        n->dht_save_ms = now_ms + SAVE_MS;
        save(n);
    }
}

uint64_t node_dht_deadline(const struct node *n)
{
    uint64_t at;

    if (n->dht == NULL) {
        return DEADLINE_NONE;
    }
    at = dht_deadline(n->dht);
    return n->dht_save_ms < at ? n->dht_save_ms : at;
}
