/* The secret network: its beacons, links under its key, and what its members tell each
 * other of further ones (docs/PROTOCOL.md, "A secret network"). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/log.h"
#include "node_priv.h"

static const char meta_name[] = "network_name"; /* of the network that we were in last */

enum {
    TELL_SOON_MS = 2000,   /* several news together */
    TELL_AGAIN_MS = 30000, /* to one contact */
    TELL_MORE_MS = 3000,   /* when one frame could not hold all */
    TOLD_BURST = 16,       /* MEMBERS frames of one link … */
    TOLD_PER_S = 1,        /* … */
    MEMBERS_BUF = 16384,
    LIMIT_SAID_MS = 3600000,
};

static const struct bucket_rate frames_rate = {TOLD_BURST, TOLD_PER_S, 1000};

/* ---- life ---- */

void node_set_network(struct node *n, const char *name, const uint8_t key[NETKEY],
                      const uint8_t cache[NETKEY_CACHE])
{
    (void)snprintf(n->network_name, sizeof(n->network_name), "%s", name);
    memcpy(n->network_key, key, NETKEY);
    memcpy(n->network_cache, cache, NETKEY_CACHE);
    n->self.network_len = strlen(n->network_name);
    memcpy(n->self.network, n->network_name, n->self.network_len);
}

const char *node_network(const struct node *n)
{
    return n->network_name;
}

static bool meta_is(const struct node *n, const char *key, const void *p, size_t len)
{
    const struct blob *b = node_meta(n, key);

    return b == NULL ? len == 0 : b->n == len && (len == 0 || memcmp(b->p, p, len) == 0);
}

/* A network that we are not in any more is said once. */
static int note_left(struct node *n)
{
    const struct blob *b = node_meta(n, meta_name);
    struct rec r = {.kind = REC_EVENT};
    size_t len = strlen(n->network_name);
    int err = 0;

    if (meta_is(n, meta_name, n->network_name, len)) {
        return 0;
    }
    if (b != NULL && b->n > 0 && b->n < sizeof(r.u.event.text)) {
        r.u.event.topic = TOPIC_NODE;
        r.u.event.what = EVENT_NETWORK_LEFT;
        memcpy(r.u.event.text, b->p, b->n);
        r.u.event.value = contacts_of_network(n->contacts, r.u.event.text);
        memcpy(n->network_left, r.u.event.text, b->n + 1);
        err = txn_add(&n->txn, &r);
    }
    return err != 0 ? err : node_meta_put(n, meta_name, n->network_name, len);
}

/* The key is kept, so that the next start need not make it again. */
static int keep_key(struct node *n)
{
    uint8_t both[NETKEY_CACHE + NETKEY];
    size_t len = n->network_name[0] != '\0' ? sizeof(both) : 0;
    int err = 0;

    memcpy(both, n->network_cache, NETKEY_CACHE);
    memcpy(both + NETKEY_CACHE, n->network_key, NETKEY);
    if (!meta_is(n, NODE_META_NETWORK, both, len)) {
        err = node_meta_put(n, NODE_META_NETWORK, both, len);
    }
    sodium_memzero(both, sizeof(both));
    return err;
}

void network_show(struct node *n)
{
    struct link_candidate as = {.kind = LINK_NETWORK};

    if (n->network == NULL) {
        return;
    }
    if (node_hidden(n)) {
        keyring_del(&n->ring, LINK_NETWORK, 0);
        return;
    }
    keys_link_network(n->network_key, &as.keys);
    if (keyring_put(&n->ring, &as) == ERR_NOMEM) {
        n->broken = ERR_NOMEM;
    }
    sodium_memzero(&as, sizeof(as));
}

int network_begin(struct node *n, uint64_t now_ms)
{
    uint8_t key[32];
    int err = note_left(n);

    err = err != 0 ? err : keep_key(n);
    n->net_tell_ms = DEADLINE_NONE;
    if (err != 0 || n->network_name[0] == '\0') {
        return err;
    }
    n->network = network_new(n->env, n->network_key, n->device);
    if (n->network == NULL) {
        return ERR_NOMEM;
    }
    contacts_set_network(n->contacts, n->network_name);
    network_show(n);
    wire_beacon_key_network(n->network_key, key);
    err = lan_set_network(n->lan, key, network_member(n->network), now_ms);
    sodium_memzero(key, sizeof(key));
    return err;
}

void network_stop(struct node *n)
{
    network_free(n->network);
    n->network = NULL;
}

const char *node_network_left(const struct node *n)
{
    return n->network_left;
}

/* ---- who is known ---- */

void network_follow(struct node *n, uint32_t contact, uint64_t now_ms)
{
    const struct rec_device *d;
    size_t pos = 0;

    while (n->network != NULL &&
           (d = contacts_device_next(n->contacts, contact, &pos)) != NULL) {
        if (network_know(n->network, d->device) == ERR_NOMEM) {
            n->broken = ERR_NOMEM;
        }
    }
    network_moved(n, contact, now_ms);
}

static bool is_member(const struct node *n, const struct rec_contact *c)
{
    const uint32_t away = CONTACT_REMOVED | CONTACT_BLOCKED;

    return (c->flags & (CONTACT_NETWORK | away)) == CONTACT_NETWORK &&
           strcmp(c->network, n->network_name) == 0;
}

void network_moved(struct node *n, uint32_t contact, uint64_t now_ms)
{
    const struct rec_contact *c = contacts_get(n->contacts, contact);

    if (n->network == NULL || c == NULL || !is_member(n, c)) {
        return;
    }
    n->net_rev++;
    if (n->net_tell_ms > now_ms + TELL_SOON_MS) {
        n->net_tell_ms = now_ms + TELL_SOON_MS;
    }
}

/* ---- beacons and dials ---- */

void network_beacon(struct node *n, const struct lan_event *ev, uint64_t now_ms)
{
    uint8_t source[LAN_SOURCE_KEY];

    lan_source_key(n->lan, &ev->source, source);
    if (n->network != NULL &&
        network_heard(n->network, ev->member, &ev->addr, source, now_ms)) {
        lan_answer_member(n->lan, &ev->source);
    }
}

bool node_network_at(const struct node *n, const struct addr *a)
{
    return n->network != NULL && network_names(n->network, a);
}

bool network_route(struct node *n, uint64_t now_ms)
{
    struct network_out out;
    bool any = false;

    if (n->network == NULL || n->stopping || node_hidden(n)) {
        return false;
    }
    network_tick(n->network, now_ms);
    while (network_next_out(n->network, &out)) {
        struct conn *late = out.give_up ? conn_get(n, out.conn) : NULL;

        any = true;
        if (late != NULL) {
            conn_close(n, late, CLOSE_BUSY, now_ms);
        } else if (out.give_up) {
            network_over(n->network, out.conn, NETWORK_FAILED, now_ms);
        } else {
            network_dialling(n->network, out.ref, conn_dial_network(n, &out.addr, now_ms),
                             now_ms);
        }
    }
    return any;
}

/* ---- pairing ---- */

/* True when there were too many new contacts lately; that is said once an hour. */
static bool over_limit(struct node *n, const struct conn *c, uint64_t now_ms)
{
    uint8_t source[LAN_SOURCE_KEY];
    struct rec r = {.kind = REC_EVENT};

    lan_source_key(n->lan, &c->addr, source);
    if (network_admit(n->network, source, now_ms)) {
        return false;
    }
    if (n->net_limit_ms != 0 && now_ms - n->net_limit_ms < LIMIT_SAID_MS) {
        return true;
    }
    n->net_limit_ms = now_ms > 0 ? now_ms : 1;
    log_warn("too many new members of the network %s: some are refused for now",
             n->network_name);
    r.u.event.topic = TOPIC_NODE;
    r.u.event.what = EVENT_NETWORK_LIMIT;
    memcpy(r.u.event.text, n->network_name, sizeof(n->network_name));
    if (txn_add(&n->txn, &r) != 0) {
        n->broken = ERR_NOMEM;
    }
    return true;
}

/* Somebody else answers where an unknown member was: one whom we know. */
static bool is_known(const struct node *n, const struct cert *cert)
{
    const struct rec_contact *c = contacts_by_root(n->contacts, cert->root);
    const struct rec_device *d;
    size_t pos = 0;

    while (c != NULL && (d = contacts_device_next(n->contacts, c->id, &pos)) != NULL) {
        if (memcmp(d->device, cert->device, WIRE_ID) == 0) {
            return true;
        }
    }
    return false;
}

void network_up(struct node *n, struct conn *c, uint64_t now_ms)
{
    const uint8_t *bytes = NULL;
    size_t len = 0;
    const struct cert *cert = link_remote_cert(c->link, &bytes, &len);
    int err;

    if (cert == NULL || n->network == NULL || (c->dialled && is_known(n, cert))) {
        link_close(c->link, CLOSE_NORMAL, now_ms);
        return;
    }
    if (over_limit(n, c, now_ms)) {
        link_close(c->link, CLOSE_BUSY, now_ms);
        return;
    }
    err = contacts_pair_up_network(n->contacts, c->id, c->dialled, cert, bytes, len,
                                   link_hash(c->link));
    if (err != 0) {
        link_close(c->link, err == ERR_NOMEM ? CLOSE_BUSY : CLOSE_PROTOCOL, now_ms);
    }
}

void network_down(struct node *n, struct conn *c, unsigned code, uint64_t now_ms)
{
    bool refused =
        c->up && c->peer_closed && (code == CLOSE_NORMAL || code == CLOSE_REVOKED);

    contacts_pair_down(n->contacts, c->id);
    if (c->dialled && n->network != NULL) {
        network_over(n->network, c->id,
                     refused                                        ? NETWORK_REFUSED
                     : code == CLOSE_BUSY || code == CLOSE_REPLACED ? NETWORK_BUSY
                                                                    : NETWORK_FAILED,
                     now_ms);
    }
}

/* ---- what members tell ---- */

static void send_members(struct node *n, struct conn *c, struct wire_members *m,
                         uint64_t now_ms)
{
    uint8_t *buf = malloc(MEMBERS_BUF);
    struct wr w = wr_init(buf, buf != NULL ? MEMBERS_BUF : 0);

    if (buf == NULL) {
        return; /* told the next time */
    }
    netkey_proof(n->network_key, link_hash(c->link), n->device, m->proof);
    wire_members_put(&w, m);
    if (wr_ok(&w)) {
        (void)conn_send(n, c, LINK_CONTROL, FRAME_MEMBERS, buf, w.len, now_ms);
    }
    free(buf);
}

void network_greet(struct node *n, struct conn *c, uint64_t now_ms)
{
    struct wire_members none = {.n = 0};

    if (n->network != NULL) {
        send_members(n, c, &none, now_ms);
    }
}

static bool tellable(const struct addr *a)
{
    return addr_is_dialable(a) && addr_is_private(a) && !addr_is_loopback(a) &&
           !addr_is_link_local(a);
}

/* Addresses of a device that c's other end may not hear of by itself: who is on our own
 * link hears whoever else is there. */
static void put_member(struct node *n, const struct conn *c, const struct rec_device *d,
                       struct wire_members *m)
{
    struct wire_member *v = &m->v[m->n];
    struct addr addrs[PEER_ADDRS];
    size_t count = peers_addrs(n->peers, d->id, addrs, PEER_ADDRS);
    bool near = lan_is_neighbour(n->lan, &c->addr);

    v->n_addrs = 0;
    for (size_t i = 0; i < count && v->n_addrs < WIRE_MEMBER_ADDRS_MAX; i++) {
        if (tellable(&addrs[i]) && !(near && lan_is_neighbour(n->lan, &addrs[i]))) {
            v->addrs[v->n_addrs++] = addrs[i];
        }
    }
    memcpy(v->device, d->device, WIRE_ID);
    m->n += v->n_addrs > 0;
}

/* Tells c's other end of members, as many as a frame holds. */
static void tell(struct node *n, struct conn *c, uint64_t now_ms)
{
    const struct rec_device *own = contacts_device(n->contacts, c->ref);
    struct wire_members m = {.v = calloc(WIRE_MEMBERS_FRAME_MAX, sizeof(*m.v))};
    const struct rec_contact *k = NULL;
    size_t pos = 0;

    while (m.v != NULL && m.n < WIRE_MEMBERS_FRAME_MAX &&
           (k = contacts_next(n->contacts, &pos)) != NULL) {
        const struct rec_device *d;
        size_t at = 0;

        if (k->id <= c->tell.from || !is_member(n, k) ||
            (own != NULL && k->id == own->contact)) {
            continue;
        }
        while (m.n < WIRE_MEMBERS_FRAME_MAX &&
               (d = contacts_device_next(n->contacts, k->id, &at)) != NULL) {
            put_member(n, c, d, &m);
        }
        c->tell.from = k->id;
    }
    if (m.n > 0) {
        send_members(n, c, &m, now_ms);
    }
    if (k == NULL) { /* all have been told */
        c->tell.from = 0;
        c->tell.told = n->net_rev;
    }
    c->tell.next_ms = now_ms + (k == NULL ? TELL_AGAIN_MS : TELL_MORE_MS);
    free(m.v);
}

void network_due(struct node *n, uint64_t now_ms)
{
    uint64_t next = DEADLINE_NONE;

    if (n->network == NULL || n->net_tell_ms > now_ms) {
        return;
    }
    for (struct conn *c = n->first; c != NULL; c = c->next) {
        if (!c->current || !c->tell.same || c->link == NULL || !link_is_up(c->link) ||
            c->tell.told == n->net_rev) {
            continue;
        }
        if (c->tell.next_ms <= now_ms) {
            tell(n, c, now_ms);
        }
        if (c->tell.told != n->net_rev && c->tell.next_ms < next) {
            next = c->tell.next_ms;
        }
    }
    n->net_tell_ms = next;
}

uint64_t network_next(const struct node *n)
{
    uint64_t at;

    if (n->network == NULL || n->stopping) {
        return DEADLINE_NONE;
    }
    at = node_hidden(n) ? DEADLINE_NONE : network_deadline(n->network);
    return at < n->net_tell_ms ? at : n->net_tell_ms;
}

static bool is_ours(const struct node *n, const struct addr *a)
{
    for (size_t i = 0; i < n->n_addrs; i++) {
        if (addr_eq_ip(&n->addrs[i], a)) {
            return true;
        }
    }
    return false;
}

/* The first of its frames proves that it is of our network; then it is told too. */
int network_members(struct node *n, struct conn *c, const uint8_t *p, size_t len,
                    uint64_t now_ms)
{
    const struct rec_device *d = contacts_device(n->contacts, c->ref);
    struct wire_members m = {.v = calloc(WIRE_MEMBERS_FRAME_MAX, sizeof(*m.v))};
    uint8_t proof[NETKEY_PROOF], source[LAN_SOURCE_KEY];
    int err = m.v == NULL ? ERR_NOMEM : wire_members_get(p, len, &m) ? 0 : ERR_FORMAT;

    if (err != 0 || n->network == NULL || d == NULL ||
        !bucket_take(&c->tell.frames, &frames_rate, 1, now_ms)) {
        free(m.v);
        return err;
    }
    netkey_proof(n->network_key, link_hash(c->link), d->device, proof);
    if (sodium_memcmp(proof, m.proof, sizeof(proof)) == 0) {
        if (!c->tell.same) {
            c->tell.same = true;
            c->tell.told = n->net_rev - 1;
            c->tell.next_ms = now_ms + TELL_SOON_MS;
            n->net_tell_ms =
                c->tell.next_ms < n->net_tell_ms ? c->tell.next_ms : n->net_tell_ms;
        }
        lan_source_key(n->lan, &c->addr, source);
        for (size_t i = 0; i < m.n; i++) {
            for (size_t k = 0; k < m.v[i].n_addrs; k++) {
                const struct addr *a = &m.v[i].addrs[k];

                if (tellable(a) && !is_ours(n, a)) {
                    network_told(n->network, m.v[i].device, a, source, now_ms);
                }
            }
        }
    }
    free(m.v);
    return 0;
}
