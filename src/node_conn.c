/* Carriers and their links: who is behind them, what their frames are for, when they go.
 */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/log.h"
#include "node_priv.h"

struct conn *conn_get(const struct node *n, uint32_t id)
{
    return map_get(&n->conns, &id);
}

static struct conn *conn_new(struct node *n, const struct addr *a)
{
    struct conn *c;

    if (n->n_conns >= NODE_CONNS_MAX || (c = calloc(1, sizeof(*c))) == NULL) {
        return NULL;
    }
    do {
        c->id = ++n->next_conn;
    } while (c->id == 0 || conn_get(n, c->id) != NULL);
    c->deadline.owner = c;
    c->addr = *a;
    addr_source_key(a, c->source);
    if (map_put(&n->conns, &c->id, c) != 0) {
        free(c);
        return NULL;
    }
    c->prev = n->last;
    *(n->last != NULL ? &n->last->next : &n->first) = c;
    n->last = c;
    n->n_conns++;
    return c;
}

static void conn_free(struct node *n, struct conn *c)
{
    struct conn *last = NULL;

    deadlines_remove(&n->deadlines, &c->deadline);
    (void)map_del(&n->conns, &c->id);
    *(c->prev != NULL ? &c->prev->next : &n->first) = c->next;
    *(c->next != NULL ? &c->next->prev : &n->last) = c->prev;
    if (c->ready) {
        for (struct conn **at = &n->ready_first; *at != NULL; at = &(*at)->ready_next) {
            if (*at == c) {
                *at = c->ready_next;
                break;
            }
            last = *at;
        }
        if (n->ready_last == c) {
            n->ready_last = last;
        }
    }
    n->n_conns--;
    link_free(c->link);
    free(c);
}

void conns_free(struct node *n)
{
    while (n->first != NULL) {
        conn_free(n, n->first);
    }
}

void conn_make_ready(struct node *n, struct conn *c)
{
    if (c->link != NULL) {
        (void)deadlines_set(&n->deadlines, &c->deadline, link_deadline(c->link));
    }
    if (c->ready) {
        return;
    }
    c->ready = true;
    c->ready_next = NULL;
    *(n->ready_last != NULL ? &n->ready_last->ready_next : &n->ready_first) = c;
    n->ready_last = c;
}

/* The carrier is not wanted any more; the outer layer answers with node_closed. */
static void carrier_close(struct node *n, struct conn *c)
{
    struct node_out out = {.kind = NODE_OUT_CLOSE, .conn = c->id};

    if (!c->closing) {
        c->closing = true;
        node_out_push(n, &out);
    }
}

/* ---- dialling and accepting ---- */

static uint32_t dial(struct node *n, struct conn *c, enum link_kind kind, uint32_t ref)
{
    struct node_out out = {.kind = NODE_OUT_DIAL, .conn = c->id, .dst = c->addr};

    c->dialled = true;
    c->kind = kind;
    c->ref = ref;
    node_out_push(n, &out);
    return c->id;
}

uint32_t conn_dial_contact(struct node *n, uint32_t device, const struct addr *to,
                           uint64_t now_ms)
{
    struct conn *c = n->stopping ? NULL : conn_new(n, to);

    (void)now_ms;
    return c == NULL ? 0 : dial(n, c, LINK_CONTACT, device);
}

uint32_t conn_dial_network(struct node *n, const struct addr *to, uint64_t now_ms)
{
    struct conn *c = n->stopping ? NULL : conn_new(n, to);

    (void)now_ms;
    return c == NULL ? 0 : dial(n, c, LINK_NETWORK, 0);
}

uint32_t conn_dial_code(struct node *n, uint32_t slot, const struct addr *to,
                        uint64_t now_ms)
{
    struct conn *c = n->stopping ? NULL : conn_new(n, to);

    (void)now_ms;
    return c == NULL ? 0 : dial(n, c, LINK_INVITE, slot);
}

uint32_t conn_dial_stranger(struct node *n, uint32_t slot, const struct addr *to,
                            uint64_t now_ms)
{
    struct conn *c = n->stopping ? NULL : conn_new(n, to);

    (void)now_ms;
    return c == NULL ? 0 : dial(n, c, LINK_STRANGER, slot);
}

uint32_t conn_call(struct node *n, uint32_t invite, const struct addr *to)
{
    struct conn *c = n->stopping ? NULL : conn_new(n, to);

    return c == NULL ? 0 : dial(n, c, LINK_CALL, invite);
}

/* Links of listeners that may have to make room: those that recognised nobody, and
 * those that did and are not yet those of a contact (who replays first records, or
 * holds an old code, gets no further). */
static bool makes_room(const struct conn *c, bool half_open)
{
    if (c->closing || c->link == NULL || c->dialled) {
        return false;
    }
    return link_is_half_open(c->link) ? half_open
                                      : !half_open && (!c->up || c->kind != LINK_CONTACT);
}

/* Frees a place for one more listener's link: the oldest of its sort, of the same source
 * when that one has too many. */
static void evict(struct node *n, const uint8_t source[ADDR_SOURCE_LEN], bool half_open,
                  uint64_t now_ms)
{
    unsigned same = 0, all = 0;
    struct conn *oldest = NULL, *oldest_same = NULL;

    for (struct conn *c = n->first; c != NULL; c = c->next) {
        if (!makes_room(c, half_open)) {
            continue;
        }
        all++;
        oldest = oldest == NULL ? c : oldest;
        if (memcmp(c->source, source, ADDR_SOURCE_LEN) == 0) {
            same++;
            oldest_same = oldest_same == NULL ? c : oldest_same;
        }
    }
    if (same >= NODE_HALF_OPEN_SOURCE_MAX) {
        oldest = oldest_same;
    } else if (all < NODE_HALF_OPEN_MAX) {
        return;
    }
    if (oldest != NULL) {
        link_carrier_closed(oldest->link, now_ms);
        conn_pump(n, oldest, now_ms);
    }
}

uint32_t node_accepted(struct node *n, const struct addr *from, uint64_t now_ms)
{
    uint8_t source[ADDR_SOURCE_LEN];
    struct conn *c;

    if (n->stopping) {
        return 0;
    }
    addr_source_key(from, source);
    evict(n, source, true, now_ms);
    evict(n, source, false, now_ms);
    c = conn_new(n, from);
    if (c != NULL) {
        c->connected = true;
        c->link = link_listen(&n->self, &n->ring, CARRIER_TCP, now_ms);
        if (c->link == NULL) {
            conn_free(n, c);
            c = NULL;
        } else {
            link_set_source(c->link, from);
            conn_make_ready(n, c);
        }
    }
    node_settle(n, now_ms);
    return c != NULL ? c->id : 0;
}

static bool stranger_candidate(struct node *n, const struct conn *c,
                               struct link_candidate *as)
{
    const struct asking *a = asking_get(n, c->ref);
    uint8_t nonce[16];

    if (a == NULL || !asking_nonce(n, a, &c->addr, nonce)) {
        return false;
    }
    keys_link_stranger(nonce, a->cert, &as->keys);
    memcpy(as->cert_hash, a->cert, sizeof(as->cert_hash));
    return true;
}

/* The candidate to dial as; false when the one behind it is gone meanwhile. */
static bool dial_candidate(struct node *n, struct conn *c, struct link_candidate *as)
{
    const struct rec_device *d;
    const struct rec_contact *contact;
    const struct attempt *a;

    memset(as, 0, sizeof(*as));
    as->kind = c->kind;
    as->ref = c->ref;
    if (c->kind == LINK_NETWORK) {
        keys_link_network(n->network_key, &as->keys);
        return n->network != NULL;
    }
    if (c->kind == LINK_INVITE) {
        if ((a = attempt_get(n, c->ref)) == NULL) {
            return false;
        }
        keys_link_invite(a->code.secret, a->code.root, &as->keys);
        memcpy(as->remote_root, a->code.root, KEYS_ROOT);
        return true;
    }
    if (c->kind == LINK_STRANGER) {
        return stranger_candidate(n, c, as);
    }
    d = contacts_device(n->contacts, c->ref);
    contact = d != NULL ? contacts_get(n->contacts, d->contact) : NULL;
    if (contact == NULL || (contact->flags & (CONTACT_BLOCKED | CONTACT_REMOVED)) != 0) {
        return false;
    }
    keys_link_pair(contact->pair, n->self.stat_pub, d->stat, &as->keys);
    memcpy(as->remote_static, d->stat, 32);
    memcpy(as->remote_root, contact->root, KEYS_ROOT);
    return true;
}

/* max(last + 1, wall clock): kept per pair of devices, told in record 1. */
static uint64_t next_counter(struct node *n, struct conn *c)
{
    uint64_t wall = env_wall_us(n->env);
    const struct rec_device *d =
        c->kind == LINK_CONTACT ? contacts_device(n->contacts, c->ref) : NULL;

    if (d == NULL) {
        return wall;
    }
    uint64_t counter = d->counter_tx + 1 > wall ? d->counter_tx + 1 : wall;

    (void)contacts_device_counters(n->contacts, &n->txn, c->ref, counter, d->counter_rx);
    return counter;
}

void node_connected(struct node *n, uint32_t conn, uint64_t now_ms)
{
    struct conn *c = conn_get(n, conn);
    struct link_candidate as = {0};

    if (c == NULL || c->closing || c->link != NULL || !c->dialled) {
        return;
    }
    c->connected = true;
    if (c->kind == LINK_CALL) {
        c->link = link_call(&n->self, &n->ring, c->ref, CARRIER_TCP, now_ms);
    } else if (dial_candidate(n, c, &as)) {
        c->link = link_dial(&n->self, &as, CARRIER_TCP, next_counter(n, c), now_ms);
    }
    sodium_memzero(&as, sizeof(as));
    if (c->link == NULL) {
        carrier_close(n, c);
    } else {
        conn_make_ready(n, c);
    }
    node_settle(n, now_ms);
}

/* ---- what links say ---- */

static uint32_t contact_of(struct node *n, uint32_t device)
{
    const struct rec_device *d = contacts_device(n->contacts, device);

    return d != NULL ? d->contact : 0;
}

uint32_t conn_contact(struct node *n, const struct conn *c)
{
    return contact_of(n, c->ref);
}

/* Whether the device is one we talk to. */
static bool is_contact(struct node *n, uint32_t device)
{
    const struct rec_contact *c = contacts_get(n->contacts, contact_of(n, device));

    return c != NULL && (c->flags & (CONTACT_BLOCKED | CONTACT_REMOVED)) == 0;
}

static void send_hello(struct node *n, struct conn *c, uint64_t now_ms)
{
    uint8_t buf[1024];
    struct wr w = wr_init(buf, sizeof(buf));
    const struct rec_device *d = contacts_device(n->contacts, c->ref);
    struct wire_hello hello = {.n_addrs = n->n_addrs,
                               .counter = d != NULL ? d->counter_rx : 0};

    memcpy(hello.addrs, n->addrs, sizeof(hello.addrs));
    wire_hello_put(&w, &hello);
    if (wr_ok(&w)) {
        (void)conn_send(n, c, LINK_CONTROL, FRAME_HELLO, buf, w.len, now_ms);
    }
}

static void contact_up(struct node *n, struct conn *c, uint64_t now_ms)
{
    uint32_t drop;
    struct conn *old;

    c->ref = link_ref(c->link);
    if (!is_contact(n, c->ref)) { /* not any more, since its first record */
        link_close(c->link, CLOSE_NORMAL, now_ms);
        return;
    }
    old = conn_get(n, peers_link(n->peers, c->ref));
    drop = peers_link_up(n->peers, c->ref, c->id, c->dialled, now_ms);
    if (drop == c->id) {
        link_close(c->link, CLOSE_REPLACED, now_ms);
        return;
    }
    if (old != NULL && old->current) {
        old->current = false;
        verify_link_down(n, old, contact_of(n, c->ref), now_ms);
        feeds_peer_down(n->feeds, c->ref, now_ms);
        xfer_peer_down(n->xfer, c->ref, now_ms);
        conn_close(n, old, CLOSE_REPLACED, now_ms);
    }
    c->current = true;
    node_meet_reached(n, c->ref, now_ms);
    keyring_met(&n->ring, LINK_CONTACT, c->ref, &c->addr);
    if (contacts_answered(n->contacts, &n->txn, contact_of(n, c->ref)) == 0) {
        waiters_answered(n, contact_of(n, c->ref));
    }
    if (c->dialled) {
        (void)contacts_device_met(n->contacts, &n->txn, c->ref, &c->addr);
    }
    if (contacts_linked(n->contacts, &n->txn, contact_of(n, c->ref)) == ERR_NOMEM) {
        n->broken = ERR_NOMEM;
    }
    node_meet_invites(n, now_ms);
    node_targets_changed(n, now_ms);
    send_hello(n, c, now_ms);
    network_greet(n, c, now_ms);
    node_presence_up(n, c->ref, now_ms);
    verify_link_up(n, c, contact_of(n, c->ref), now_ms);
    feeds_peer_up(n->feeds, c->ref, now_ms);
    node_file_up(n, c, contact_of(n, c->ref), now_ms);
    conn_room(n, c, now_ms);
}

static void invite_up(struct node *n, struct conn *c, uint64_t now_ms)
{
    const uint8_t *bytes = NULL;
    size_t len = 0;
    const struct cert *cert = link_remote_cert(c->link, &bytes, &len);
    unsigned code = CLOSE_PROTOCOL;
    bool adds = link_is_dialler(c->link); /* who has made the carrier may have called */

    c->ref = link_ref(c->link);
    if (adds && !contacts_code_free(n->contacts, c->ref)) {
        /* Who adds comes up first: as record 3 is not out, the inviter does not learn of
         * this link, and the other one, of several calls, goes on. */
        link_carrier_closed(c->link, now_ms);
        return;
    }
    if (cert != NULL) {
        code = adds ? 0
                    : contacts_invite_judge(n->contacts, c->ref, cert->root,
                                            env_wall_us(n->env) / 1000000);
    }
    if (code == 0) {
        int err = contacts_pair_up(n->contacts, c->id, adds, c->ref, cert, bytes, len,
                                   link_hash(c->link));

        code = err == 0 ? 0 : err == ERR_NOMEM ? CLOSE_BUSY : CLOSE_PROTOCOL;
    }
    if (code != 0) {
        link_close(c->link, code, now_ms);
    }
}

static void stranger_up(struct node *n, struct conn *c, uint64_t now_ms)
{
    struct contacts_stranger s = {.conn = c->id,
                                  .dialler = c->dialled,
                                  .slot = c->dialled ? c->ref : 0,
                                  .port = n->link_port,
                                  .addr = &c->addr,
                                  .hash = link_hash(c->link)};
    int err = ERR_AUTH;

    s.cert = link_remote_cert(c->link, &s.cert_bytes, &s.cert_len);
    if (s.cert != NULL) {
        err = contacts_stranger_up(n->contacts, &s, now_ms);
    }
    if (err != 0) {
        link_close(c->link,
                   err == ERR_NOMEM || err == ERR_REFUSED ? CLOSE_BUSY : CLOSE_PROTOCOL,
                   now_ms);
    }
}

static void on_up(struct node *n, struct conn *c, uint64_t now_ms)
{
    c->kind = link_kind(c->link);
    c->up = true;
    switch (c->kind) {
    case LINK_CONTACT:
        contact_up(n, c, now_ms);
        break;
    case LINK_NETWORK:
        network_up(n, c, now_ms);
        break;
    case LINK_INVITE:
        invite_up(n, c, now_ms);
        break;
    case LINK_STRANGER:
        stranger_up(n, c, now_ms);
        break;
    case LINK_CALL: /* no link's own */
        break;
    }
}

/* Where the device listens, and the newest counter it has seen of us: a node whose clock
 * went back, or whose home was set back, learns here what to go on from. */
static int on_hello(struct node *n, struct conn *c, const uint8_t *p, size_t len,
                    uint64_t now_ms)
{
    struct wire_hello hello;
    const struct rec_device *d = contacts_device(n->contacts, c->ref);
    uint64_t most = env_wall_us(n->env) + LINK_COUNTER_AHEAD_US;

    if (!wire_hello_get(p, len, &hello) || d == NULL) {
        return ERR_FORMAT;
    }
    if (hello.counter > d->counter_tx && hello.counter <= most) {
        (void)contacts_device_counters(n->contacts, &n->txn, c->ref, hello.counter,
                                       d->counter_rx);
    }
    for (size_t i = 0; i < hello.n_addrs; i++) {
        if (addr_is_dialable(&hello.addrs[i])) {
            peers_addr(n->peers, c->ref, &hello.addrs[i], false, now_ms);
            if (addr_eq_ip(&hello.addrs[i], &c->addr)) { /* it is there, and listens */
                (void)contacts_device_met(n->contacts, &n->txn, c->ref, &hello.addrs[i]);
            }
        }
    }
    network_moved(n, d->contact, now_ms);
    return 0;
}

static int on_frame(struct node *n, struct conn *c, const struct link_event *ev,
                    uint64_t now_ms)
{
    if (c->kind != LINK_CONTACT) {
        return ev->type == FRAME_PAIR || ev->type == FRAME_PAIRED ||
                       (ev->type == FRAME_REQUEST && c->kind == LINK_STRANGER)
                   ? contacts_pair_recv(n->contacts, &n->txn, c->id, ev->type,
                                        ev->payload, ev->len)
                   : 0;
    }
    if (!c->current) {
        return 0; /* a link that was replaced: its rest comes again on the new one */
    }
    if (ev->type == FRAME_HELLO) {
        return on_hello(n, c, ev->payload, ev->len, now_ms);
    }
    if (ev->type == FRAME_CODE) {
        return verify_frame(n, c, contact_of(n, c->ref), ev->payload, ev->len, now_ms);
    }
    if (ev->type == FRAME_MEMBERS) {
        return network_members(n, c, ev->payload, ev->len, now_ms);
    }
    if (ev->type >= FRAME_PRESENCE && ev->type <= FRAME_LIVE) {
        if (ev->type != FRAME_PRESENCE) {
            peers_used(n->peers, c->ref, now_ms);
        }
        return presence_recv(n->presence, c->ref, ev->type, ev->payload, ev->len, now_ms);
    }
    if (ev->type >= 32 && ev->type < 64) {
        peers_used(n->peers, c->ref, now_ms);
        int err =
            feeds_recv(n->feeds, &n->txn, c->ref, ev->type, ev->payload, ev->len, now_ms);

        if (err == 0 && ev->type == FRAME_HAVE &&
            node_newly_acked(n, contact_of(n, c->ref))) {
            node_beacons_changed(n);
        }
        return err;
    }
    if (ev->type >= FRAME_FILE_WANT && ev->type < 80) {
        peers_used(n->peers, c->ref, now_ms);
        return xfer_recv(n->xfer, &n->txn, c->ref, ev->type, ev->payload, ev->len,
                         now_ms);
    }
    return 0;
}

static enum peer_end link_end(const struct link_event *ev, unsigned code)
{
    if (ev == NULL || ev->cut) {
        return PEER_END_CUT;
    }
    if (!ev->by_peer || code == CLOSE_REPLACED) {
        return PEER_END_OURS;
    }
    return code == CLOSE_IDLE ? PEER_END_IDLE : PEER_END_CUT;
}

void conn_met(struct node *n, uint32_t contact, const struct conn *c, uint64_t now_ms)
{
    const uint8_t *stat = c->link != NULL ? link_remote_static(c->link) : NULL;
    const struct rec_device *d;
    size_t pos = 0;

    while (stat != NULL &&
           (d = contacts_device_next(n->contacts, contact, &pos)) != NULL) {
        if (memcmp(d->stat, stat, sizeof(d->stat)) == 0) {
            peers_addr(n->peers, d->id, &c->addr, true, now_ms);
            if (c->dialled) { /* it listens there */
                (void)contacts_device_met(n->contacts, &n->txn, d->id, &c->addr);
            }
        }
    }
}

/* Who adds closes when all is stored; then we, who have called, dial as contacts, since
 * we are the one who can. */
static void invite_over(struct node *n, struct conn *c, unsigned code, uint64_t now_ms)
{
    bool adds = c->link != NULL ? link_is_dialler(c->link) : c->dialled;
    const struct rec_contact *k;
    const struct cert *cert;
    const uint8_t *bytes;
    size_t len;

    contacts_pair_down(n->contacts, c->id);
    if (adds) {
        if (c->up &&
            (code == CLOSE_USED || code == CLOSE_REVOKED || code == CLOSE_EXPIRED)) {
            contacts_add_failed(n->contacts, &n->txn, c->ref, code);
        }
        attempt_conn_over(n, c->id, now_ms);
    } else if (c->dialled && c->up && code == CLOSE_PAIRED &&
               (cert = link_remote_cert(c->link, &bytes, &len)) != NULL &&
               (k = contacts_by_root(n->contacts, cert->root)) != NULL) {
        conn_met(n, k->id, c, now_ms);
    }
}

/* The link is over, whyever; the carrier may still be there. */
static void conn_over(struct node *n, struct conn *c, const struct link_event *ev,
                      uint64_t now_ms)
{
    unsigned code = ev != NULL && ev->by_peer ? ev->code : CLOSE_NORMAL;

    c->peer_closed = ev != NULL && ev->by_peer;

    if (c->kind == LINK_INVITE) {
        invite_over(n, c, code, now_ms);
    } else if (c->kind == LINK_NETWORK) {
        network_down(n, c, code, now_ms);
    } else if (c->kind == LINK_STRANGER) {
        contacts_pair_down(n->contacts, c->id);
        if (c->dialled) {
            asking_conn_over(n, c->id, now_ms);
        }
    } else if (c->kind == LINK_CONTACT && c->up) {
        bool current = c->current;

        c->current = false;
        if (current && code == CLOSE_SHUTDOWN) {
            /* It said good-bye: the beacons heard before count no more. */
            peers_gone(n->peers, c->ref, now_ms);
        }
        peers_link_down(n->peers, c->ref, c->id, link_end(ev, code), now_ms);
        node_meet_reached(n, c->ref, now_ms);
        if (current) {
            feeds_peer_down(n->feeds, c->ref, now_ms);
            xfer_peer_down(n->xfer, c->ref, now_ms);
            presence_down(n->presence, c->ref, now_ms);
            verify_link_down(n, c, contact_of(n, c->ref), now_ms);
            node_targets_changed(n, now_ms);
        }
    } else if (c->kind == LINK_CONTACT && c->dialled) {
        peers_dial_failed(n->peers, c->ref, c->id, now_ms);
    }
    c->kind = 0;
    c->up = false;
}

void conn_pump_quiet(struct node *n, struct conn *c, uint64_t now_ms)
{
    struct link_event ev;
    int err;

    while (c->link != NULL && link_next_event(c->link, &ev)) {
        switch (ev.kind) {
        case LINK_EV_UP:
            on_up(n, c, now_ms);
            break;
        case LINK_EV_FRAME:
            err = c->up ? on_frame(n, c, &ev, now_ms) : 0;
            if (err == ERR_NOMEM) {
                n->broken = err;
            } else if (err != 0) {
                log_peer(now_ms, LOG_WARN, "link %u: the peer broke the rules (frame %u)",
                         c->id, ev.type);
                link_close(c->link, CLOSE_PROTOCOL, now_ms);
            }
            break;
        case LINK_EV_COUNTER: {
            const struct rec_device *d = contacts_device(n->contacts, link_ref(c->link));

            if (d != NULL) {
                (void)contacts_device_counters(n->contacts, &n->txn, d->id, d->counter_tx,
                                               ev.counter);
            }
            break;
        }
        case LINK_EV_CLOSED:
            deadlines_remove(&n->deadlines, &c->deadline);
            conn_over(n, c, &ev, now_ms);
            link_free(c->link);
            c->link = NULL;
            carrier_close(n, c);
            break;
        }
    }
    if (c->link != NULL) {
        (void)deadlines_set(&n->deadlines, &c->deadline, link_deadline(c->link));
    }
}

void conn_pump(struct node *n, struct conn *c, uint64_t now_ms)
{
    conn_pump_quiet(n, c, now_ms);
    conn_make_ready(n, c);
}

void conn_room(struct node *n, struct conn *c, uint64_t now_ms)
{
    size_t room;

    if (!c->current || c->link == NULL) {
        return;
    }
    room = link_room(c->link, LINK_CHAT);
    if (room > c->gated) {
        feeds_room(n->feeds, c->ref, room - c->gated, now_ms);
    }
}

void node_recv(struct node *n, uint32_t conn, const uint8_t *p, size_t len,
               uint64_t now_ms)
{
    struct conn *c = conn_get(n, conn);

    if (c == NULL || c->link == NULL) {
        return;
    }
    strangers_before(n, c, now_ms);
    (void)link_recv(c->link, p, len, now_ms);
    strangers_after(n, c, now_ms);
    conn_pump(n, c, now_ms);
    node_settle(n, now_ms);
}

void node_sent(struct node *n, uint32_t conn, size_t len, uint64_t now_ms)
{
    struct conn *c = conn_get(n, conn);

    if (c == NULL || c->link == NULL) {
        return;
    }
    link_sent(c->link, len);
    conn_make_ready(n, c);
    conn_room(n, c, now_ms);
    node_settle(n, now_ms);
}

void node_closed(struct node *n, uint32_t conn, uint64_t now_ms)
{
    struct conn *c = conn_get(n, conn);

    if (c == NULL) {
        return;
    }
    c->closing = true;
    if (c->link != NULL) {
        link_carrier_closed(c->link, now_ms);
        conn_pump(n, c, now_ms);
    }
    if (c->kind != 0) { /* a dial that never had a link */
        conn_over(n, c, NULL, now_ms);
    }
    conn_free(n, c);
    node_settle(n, now_ms);
}

void conn_close(struct node *n, struct conn *c, enum close_code code, uint64_t now_ms)
{
    if (c->link == NULL) {
        carrier_close(n, c);
        return;
    }
    link_close(c->link, code, now_ms);
    conn_pump(n, c, now_ms);
}

bool conn_send(struct node *n, struct conn *c, enum link_class cls, enum frame_type type,
               const uint8_t *payload, size_t len, uint64_t now_ms)
{
    if (c->link == NULL || !link_is_up(c->link)) {
        return false;
    }
    bool sent = link_send(c->link, cls, type, payload, len) == 0;

    if (sent && c->current) {
        peers_used(n->peers, c->ref, now_ms);
    }
    if (!sent) {
        /* What does not fit is asked for again over a new link. */
        link_close(c->link, CLOSE_BUSY, now_ms);
    }
    conn_make_ready(n, c);
    return sent;
}

void conns_tick(struct node *n, uint64_t now_ms)
{
    struct deadline *d;

    while ((d = deadlines_pop(&n->deadlines, now_ms)) != NULL) {
        struct conn *c = d->owner;

        if (c->link != NULL) {
            link_tick(c->link, now_ms);
            conn_pump(n, c, now_ms);
            conn_room(n, c, now_ms);
        }
    }
}

void conns_drop_contact(struct node *n, uint32_t contact, enum close_code code,
                        uint64_t now_ms)
{
    for (struct conn *c = n->first; c != NULL; c = c->next) {
        if (c->kind != LINK_CONTACT || contact_of(n, c->ref) != contact) {
            continue;
        }
        if (c->current) { /* its end must not be taken for that of a later link */
            c->current = false;
            verify_link_down(n, c, contact, now_ms);
            feeds_peer_down(n->feeds, c->ref, now_ms);
            xfer_peer_down(n->xfer, c->ref, now_ms);
            presence_down(n->presence, c->ref, now_ms);
        }
        conn_close(n, c, code, now_ms);
    }
}
