/* Meeting through the DHT: tells meet who and where we are and whom we know, carries its
 * requests to the DHT, and what is found to who dials. */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/log.h"
#include "dht/dht.h"
#include "meet.h"
#include "node_near.h"
#include "node_priv.h"

enum {
    OPS_MAX = 64,  /* requests of meet that run; it has fewer */
    POLLS_MAX = 3, /* nodes that one poll asks until one answers */
    SWEEP_INVITES_MS = 3600000,
    MS_PER_S = 1000,
    US_PER_S = 1000000,
    CALLS_MAX = 4, /* addresses of one knock that are called */
    CALLS_BURST = 16,
    CALLS_MIN = 8,
    MINUTE_MS = 60000,
    KNOCKS_KEPT = 64, /* contacts' devices whose newest knock outlives a restart */
    KNOCK_LEN = 4 + 8,
};

static const char meta_seq[] = "meet_seq"; /* 8 bytes */
static const char meta_knocks[] =
    "meet_knocks"; /* (device row 4, time 8), … newest first */

static const struct bucket_rate call_rate = {CALLS_BURST, CALLS_MIN, MINUTE_MS};

struct running {
    uint32_t op, id; /* of the DHT; of meet. op 0: free */
    enum meet_out_kind kind;
    uint64_t seq;
    struct krpc_node at; /* the one node that is asked; family 0: a look-up */
    unsigned polled;     /* nodes so far */
    uint8_t pub[BLIND_PUB];
};

struct meeting {
    struct meet *meet;
    struct running ops[OPS_MAX];
    struct near near;
    struct bucket calls;
    uint64_t seq,
        seq_txn; /* that becomes durable with that transaction; seq_txn 0: none */
    struct knocked {
        uint32_t device;
        uint64_t time_ms;
    } knocked[KNOCKS_KEPT]; /* newest first */
    size_t n_knocked;
    uint64_t invites_ms; /* when an open one expires, or to look at them again */
};

/* ---- who and where we are ---- */

static bool is_ours(const struct node *n, const struct addr *a)
{
    for (size_t i = 0; i < n->n_addrs; i++) {
        if (addr_eq(&n->addrs[i], a)) {
            return true;
        }
    }
    return false;
}

static void add_link(struct wire_where *w, const struct addr *a)
{
    for (size_t i = 0; i < w->n_links; i++) {
        if (addr_eq(&w->links[i], a)) {
            return;
        }
    }
    if (w->n_links < WIRE_WHERE_ADDRS_MAX && addr_is_dialable(a)) {
        w->links[w->n_links++] = *a;
    }
}

static void add_interfaces(const struct node *n, struct wire_where *w, bool private)
{
    for (size_t i = 0; i < n->n_addrs; i++) {
        if (addr_is_private(&n->addrs[i]) == private) {
            add_link(w, &n->addrs[i]);
        }
    }
}

/* Public addresses of our own first, then what others see of us (somebody may have opened
 * the port there), then private ones: contacts may be behind the same translation. */
void node_meet_where(struct node *n, uint64_t now_ms)
{
    struct wire_where w = {.nat = WIRE_NAT_UNKNOWN};
    struct dht_stats s;
    bool translated = false;

    if (n->meeting == NULL || !node_dht_stats(n, &s)) {
        return;
    }
    add_interfaces(n, &w, false);
    translated = w.n_links == 0;
    for (size_t i = 0; i < 2; i++) {
        struct addr a = s.seen[i];

        if (a.family == 0) {
            continue;
        }
        w.udp[w.n_udp++] = a;
        a.port = n->link_port;
        translated = translated || !is_ours(n, &a);
        add_link(&w, &a);
    }
    add_interfaces(n, &w, true);
    if (!translated && !s.read_only) {
        w.nat = WIRE_NAT_NONE;
    }
    meet_set_where(n->meeting->meet, &w, now_ms);
}

/* Once ready, the DHT can be asked as long as there is a network: without one there is no
 * address, but on `lo` alone there never is. */
static void follow_online(struct node *n, uint64_t now_ms)
{
    struct dht_stats s;
    bool ready = node_dht_stats(n, &s) && s.ready;
    bool gone = n->dht_had_addrs && n->n_addrs == 0;

    meet_set_online(n->meeting->meet, ready && !gone, now_ms);
}

void node_meet_moved(struct node *n, bool changed, uint64_t now_ms)
{
    if (n->meeting == NULL) {
        return;
    }
    follow_online(n, now_ms);
    if (changed && n->n_addrs > 0) {
        meet_network_changed(n->meeting->meet, now_ms);
    }
}

void node_meet_ready(struct node *n, uint64_t now_ms)
{
    if (n->meeting != NULL) {
        node_meet_where(n, now_ms);
        follow_online(n, now_ms);
    }
}

/* ---- whom we know ---- */

static void failed(struct node *n, int err)
{
    if (err == ERR_NOMEM) {
        n->broken = err;
    } else if (err != 0) {
        log_warn("somebody cannot be looked for in the DHT: %s", err_str(err));
    }
}

/* ---- what outlives a restart ---- */

/* The newest knocks that were heard are not heard again; how far seq has got is known. */
static void load(struct node *n)
{
    struct meeting *m = n->meeting;
    const struct blob *b = node_meta(n, meta_seq);
    struct rd r = rd_init(b != NULL ? b->p : NULL, b != NULL ? b->n : 0);
    uint64_t seq = b != NULL ? rd_u64(&r) : 0;

    meet_set_seq(m->meet, rd_end(&r) ? seq : 0);
    b = node_meta(n, meta_knocks);
    r = rd_init(b != NULL ? b->p : NULL, b != NULL ? b->n : 0);
    while (r.n >= KNOCK_LEN && m->n_knocked < KNOCKS_KEPT) {
        struct knocked *k = &m->knocked[m->n_knocked++];

        k->device = rd_u32(&r);
        k->time_ms = rd_u64(&r);
    }
}

static void keep(struct node *n, const char *key, const void *value, size_t len)
{
    if (node_meta_put(n, key, value, len) == ERR_NOMEM) {
        n->broken = ERR_NOMEM;
    }
}

/* What meet wants to use is kept first. */
static void keep_seq(struct node *n, uint64_t now_ms)
{
    struct meeting *m = n->meeting;
    uint8_t bytes[8];
    struct wr w = wr_init(bytes, sizeof(bytes));

    if (m->seq_txn != 0 && m->seq_txn <= n->durable) {
        m->seq_txn = 0;
        meet_seq_kept(m->meet, m->seq, now_ms);
    }
    if (m->seq_txn == 0 && meet_seq_wanted(m->meet) != 0) {
        m->seq = meet_seq_wanted(m->meet);
        wr_u64(&w, m->seq);
        keep(n, meta_seq, bytes, sizeof(bytes));
        m->seq_txn = n->last_txn + 1;
    }
}

static void keep_knock(struct node *n, const struct meet_event *e)
{
    struct meeting *m = n->meeting;
    uint8_t bytes[KNOCKS_KEPT * KNOCK_LEN];
    struct wr w = wr_init(bytes, sizeof(bytes));
    size_t at = 0;

    while (at < m->n_knocked && m->knocked[at].device != e->ref) {
        at++;
    }
    m->n_knocked += at == m->n_knocked && at < KNOCKS_KEPT ? 1 : 0;
    at = at < KNOCKS_KEPT ? at : KNOCKS_KEPT - 1;
    memmove(&m->knocked[1], &m->knocked[0], at * sizeof(m->knocked[0]));
    m->knocked[0] = (struct knocked){e->ref, e->where.time_ms};
    for (size_t i = 0; i < m->n_knocked; i++) {
        wr_u32(&w, m->knocked[i].device);
        wr_u64(&w, m->knocked[i].time_ms);
    }
    keep(n, meta_knocks, bytes, w.len);
}

static void knocked_tell(const struct meeting *m, uint32_t device)
{
    for (size_t i = 0; i < m->n_knocked; i++) {
        if (m->knocked[i].device == device) {
            meet_knocked(m->meet, device, m->knocked[i].time_ms);
        }
    }
}

/* Devices of one account read the same place: one of them stands for all. */
static void follow_contact(struct node *n, const struct rec_contact *c, bool acked,
                           uint64_t now_ms)
{
    const struct rec_device *d;
    size_t pos = 0;

    while ((d = contacts_device_next(n->contacts, c->id, &pos)) != NULL) {
        struct meet_contact m = {
            .ref = d->id, .has_presence = d->has_presence, .acked = acked};

        memcpy(m.device, d->device, sizeof(m.device));
        memcpy(m.pair, c->pair, sizeof(m.pair));
        if (d->has_presence) {
            memcpy(m.p, d->presence_p, sizeof(m.p));
            memcpy(m.a, d->presence_a, sizeof(m.a));
        }
        failed(n, meet_contact(n->meeting->meet, &m, now_ms));
        sodium_memzero(&m, sizeof(m));
        knocked_tell(n->meeting, d->id);
        node_meet_want(n, d->id, now_ms);
        node_meet_reached(n, d->id, now_ms);
        acked = true;
    }
}

/* n_unacked is in the order of contacts. */
void node_meet_follow(struct node *n, uint64_t now_ms)
{
    const struct rec_contact *c;
    size_t pos = 0, at = 0;

    if (n->meeting == NULL) {
        return;
    }
    meet_set_self(n->meeting->meet, n->device, n->presence_p, n->presence_seed, now_ms);
    meet_set_hidden(n->meeting->meet, node_hidden(n), now_ms);
    while ((c = contacts_next(n->contacts, &pos)) != NULL) {
        bool unacked = at < n->n_unacked && n->unacked[at] == c->id;

        at += unacked ? 1 : 0;
        if ((c->flags & (CONTACT_REMOVED | CONTACT_BLOCKED)) == 0) {
            follow_contact(n, c, !unacked, now_ms);
        }
    }
}

void node_meet_forget(struct node *n, uint32_t device)
{
    if (n->meeting != NULL) {
        meet_forget(n->meeting->meet, MEET_CONTACT, device);
    }
}

void node_meet_want(struct node *n, uint32_t device, uint64_t now_ms)
{
    if (n->meeting != NULL) {
        meet_want(n->meeting->meet, device, peers_wanted(n->peers, device), now_ms);
    }
}

void node_meet_reached(struct node *n, uint32_t device, uint64_t now_ms)
{
    if (n->meeting != NULL) {
        meet_reached(n->meeting->meet, MEET_CONTACT, device,
                     peers_link(n->peers, device) != 0, now_ms);
    }
}

/* Whether nothing is to come of the invite any more. One that has been used counts until
 * its user and we have met as contacts: they may have to be called once more when the
 * link on which they paired was cut. */
static bool invite_is_over(const struct node *n, const struct rec_invite *inv,
                           uint64_t wall_s)
{
    const struct rec_contact *c =
        inv->used ? contacts_by_root(n->contacts, inv->used_by) : NULL;
    const struct rec_device *d;
    size_t pos = 0;

    if (inv->revoked || inv->expiry_s <= wall_s) {
        return true;
    }
    if (!inv->used) {
        return false;
    }
    if (c == NULL || (c->flags & (CONTACT_REMOVED | CONTACT_BLOCKED)) != 0) {
        return true;
    }
    while ((d = contacts_device_next(n->contacts, c->id, &pos)) != NULL) {
        if (d->counter_rx != 0 || d->addrs.n > 0) {
            return true;
        }
    }
    return false;
}

/* An invite is left word for until it is over; its inviter's clock says when. */
void node_meet_invites(struct node *n, uint64_t now_ms)
{
    const struct rec_invite *inv;
    uint64_t wall_s = env_wall_us(n->env) / US_PER_S, next_ms = SWEEP_INVITES_MS;
    size_t pos = 0;

    if (n->meeting == NULL) {
        return;
    }
    while ((inv = contacts_invite_next(n->contacts, &pos)) != NULL) {
        if (invite_is_over(n, inv, wall_s)) {
            meet_forget(n->meeting->meet, MEET_INVITE, inv->id);
            continue;
        }
        failed(n, meet_invite(n->meeting->meet, inv->id, inv->secret, now_ms));
        if (inv->expiry_s - wall_s < next_ms / MS_PER_S) {
            next_ms = (inv->expiry_s - wall_s) * MS_PER_S;
        }
    }
    n->meeting->invites_ms = now_ms + next_ms;
}

void node_meet_adding(struct node *n, const struct attempt *a, uint64_t now_ms)
{
    if (n->meeting != NULL) {
        failed(n, meet_adding(n->meeting->meet, a->slot, a->code.secret, now_ms));
    }
}

void node_meet_added(struct node *n, uint32_t slot)
{
    if (n->meeting != NULL) {
        meet_forget(n->meeting->meet, MEET_ADDING, slot);
    }
}

/* ---- life ---- */

int node_meet_start(struct node *n, uint64_t now_ms)
{
    if (n->dht == NULL) {
        return 0;
    }
    n->meeting = calloc(1, sizeof(*n->meeting));
    if (n->meeting == NULL || (n->meeting->meet = meet_new(n->env)) == NULL) {
        node_meet_free(n);
        return ERR_NOMEM;
    }
    load(n);
    node_meet_invites(n, now_ms);
    for (const struct attempt *a = n->attempts; a != NULL; a = a->next) {
        node_meet_adding(n, a, now_ms);
    }
    return 0;
}

void node_meet_free(struct node *n)
{
    if (n->meeting != NULL) {
        meet_free(n->meeting->meet);
        free(n->meeting);
        n->meeting = NULL;
    }
}

/* ---- the DHT ---- */

static int begin_put(struct node *n, const struct meet_out *o, uint64_t now_ms,
                     uint32_t *op)
{
    const struct item it = {
        .v = {o->v, sizeof(o->v)}, .k = o->pub, .sig = o->sig, .seq = (int64_t)o->seq};

    return dht_put(n->dht, &it, NULL, false, now_ms, op);
}

/* Asks one node, of those that are known to be near, after a silent one only of those
 * that have answered before; else it is a look-up. */
static int begin_poll(struct node *n, struct running *r, uint64_t now_ms)
{
    if (!near_next(&n->meeting->near, r->pub, r->polled == 0, now_ms, &r->at)) {
        return dht_get_mutable(n->dht, r->pub, NULL, 0, false, now_ms, &r->op);
    }
    r->polled++;
    return dht_get_mutable_at(n->dht, &r->at, r->pub, (int64_t)r->seq, now_ms, &r->op);
}

static int begin(struct node *n, const struct meet_out *o, uint64_t now_ms,
                 struct running *r)
{
    switch (o->kind) {
    case MEET_PUT:
        return begin_put(n, o, now_ms, &r->op);
    case MEET_POLL:
        return begin_poll(n, r, now_ms);
    case MEET_GET:
    case MEET_MEND:
        break;
    }
    return dht_get_mutable(n->dht, o->pub, NULL, 0, o->kind == MEET_MEND, now_ms, &r->op);
}

static void ask(struct node *n, const struct meet_out *o, uint64_t now_ms)
{
    struct running *r = NULL;
    int err = n->dht == NULL ? ERR_STATE : ERR_LIMIT;

    for (size_t i = 0; i < OPS_MAX && r == NULL; i++) {
        r = n->meeting->ops[i].op == 0 ? &n->meeting->ops[i] : NULL;
    }
    if (n->dht != NULL && r != NULL) {
        *r = (struct running){.id = o->id, .kind = o->kind, .seq = o->seq};
        memcpy(r->pub, o->pub, sizeof(r->pub));
        err = begin(n, o, now_ms, r);
    }
    if (err != 0) {
        if (r != NULL) {
            r->op = 0;
        }
        meet_done(n->meeting->meet, o->id, MEET_UNASKED, 0, now_ms);
    }
}

/* A put that is refused has stored nothing, whatever its nodes say: only a value that
 * stands there, and proves it, is an answer. */
static enum meet_end end_of(const struct dht_result *d)
{
    switch (d->outcome) {
    case DHT_OK:
    case DHT_NOT_FOUND:
        return MEET_ANSWERED;
    case DHT_REFUSED:
        return d->rival ? MEET_ANSWERED : MEET_UNASKED;
    case DHT_NOT_ASKED:
        return MEET_UNASKED;
    }
    return MEET_UNASKED;
}

/* Keeps up who is near. True: who was polled is silent, and another one is asked now. */
static bool learn(struct node *n, struct running *r, const struct dht_result *d,
                  uint64_t now_ms)
{
    struct near *near = &n->meeting->near;

    if (r->at.addr.family == 0) {
        if (r->kind != MEET_GET) { /* what is looked up now and then is not polled */
            near_found(near, r->pub, d->closest, d->n_closest, now_ms);
        }
        return false;
    }
    if (d->outcome != DHT_NOT_ASKED) {
        near_answered(near, r->pub, &r->at, d->closest, d->n_closest);
        return false;
    }
    near_silent(near, r->pub, &r->at);
    r->at.addr.family = 0;
    return r->polled < POLLS_MAX && begin_poll(n, r, now_ms) == 0;
}

static void done(struct node *n, struct running *r, const struct dht_result *d,
                 uint64_t now_ms)
{
    struct running was = *r;
    enum meet_end end = end_of(d);
    bool rival = was.kind == MEET_PUT && d->rival && d->rival_seq > 0;

    if (learn(n, r, d, now_ms)) {
        return;
    }
    r->op = 0;
    meet_done(n->meeting->meet, was.id, end, rival ? (uint64_t)d->rival_seq : 0, now_ms);
}

bool node_meet_told(struct node *n, const struct dht_event *e, uint64_t now_ms)
{
    struct running *r = NULL;

    for (size_t i = 0; n->meeting != NULL && i < OPS_MAX && e->op != 0; i++) {
        if (n->meeting->ops[i].op == e->op) {
            r = &n->meeting->ops[i];
            break;
        }
    }
    if (r == NULL) {
        return false;
    }
    if (e->type == DHT_VALUE && e->u.value.seq > 0) {
        (void)meet_value(n->meeting->meet, r->id, (uint64_t)e->u.value.seq, e->u.value.v,
                         e->u.value.len, e->u.value.sig, now_ms);
    } else if (e->type == DHT_DONE) {
        done(n, r, &e->u.done, now_ms);
    }
    return true;
}

/* ---- what is found ---- */

/* Peers try what was told last first. */
static void call(struct node *n, const struct meet_event *e, uint64_t now_ms)
{
    for (size_t i = e->where.n_links; i-- > 0;) {
        if (!is_ours(n, &e->where.links[i])) {
            peers_addr(n->peers, e->ref, &e->where.links[i], false, now_ms);
        }
    }
    peers_call(n->peers, e->ref, now_ms);
}

static void found_inviter(struct node *n, const struct meet_event *e, uint64_t now_ms)
{
    struct addr v[WIRE_WHERE_ADDRS_MAX];
    size_t count = 0;

    for (size_t i = 0; i < e->where.n_links; i++) {
        if (!is_ours(n, &e->where.links[i])) {
            v[count++] = e->where.links[i];
        }
    }
    attempt_where(n, e->ref, v, count, now_ms);
}

/* Who knocks with a code has not reached us; where the knock says that they take links,
 * we call, at what is public: behind an address translation of their own they would have
 * to be met halfway. Who else has read the code could have us call anybody: rarely. */
static void call_adder(struct node *n, const struct meet_event *e, uint64_t now_ms)
{
    size_t calls = 0;

    for (size_t i = 0; i < e->where.n_links && calls < CALLS_MAX; i++) {
        const struct addr *a = &e->where.links[i];

        if (!addr_is_private(a) && !is_ours(n, a) &&
            bucket_take(&n->meeting->calls, &call_rate, 1, now_ms)) {
            (void)conn_call(n, e->ref, a);
            calls++;
        }
    }
}

static void on_event(struct node *n, const struct meet_event *e, uint64_t now_ms)
{
    if (e->type != MEET_WHERE && e->type != MEET_KNOCK) {
        return; /* meet remembers it, for who asks */
    }
    if (e->type == MEET_KNOCK && e->kind == MEET_CONTACT) {
        keep_knock(n, e);
    }
    if (e->reached) {
        return;
    }
    switch (e->kind) {
    case MEET_CONTACT:
        call(n, e, now_ms);
        break;
    case MEET_ADDING:
        found_inviter(n, e, now_ms);
        break;
    case MEET_INVITE:
        call_adder(n, e, now_ms);
        break;
    }
}

bool node_meet_route(struct node *n, uint64_t now_ms)
{
    struct meet_out o;
    struct meet_event e;
    bool any = false;

    while (n->meeting != NULL && meet_next_out(n->meeting->meet, &o)) {
        ask(n, &o, now_ms);
        any = true;
    }
    while (n->meeting != NULL && meet_next_event(n->meeting->meet, &e)) {
        on_event(n, &e, now_ms);
        any = true;
    }
    if (n->meeting != NULL) {
        keep_seq(n, now_ms);
    }
    return any;
}

static enum node_looked looked(const struct node *n, enum meet_kind kind, uint32_t ref)
{
    enum meet_event_type last;

    if (n->meeting == NULL || !meet_last(n->meeting->meet, kind, ref, &last)) {
        return NODE_LOOKED_NOT;
    }
    switch (last) {
    case MEET_WHERE:
    case MEET_KNOCK:
        return NODE_LOOKED_FOUND;
    case MEET_ABSENT:
        return NODE_LOOKED_ABSENT;
    case MEET_UNKNOWN:
        return NODE_LOOKED_UNASKED;
    }
    return NODE_LOOKED_NOT;
}

enum node_looked node_meet_looked(const struct node *n, uint32_t slot)
{
    return looked(n, MEET_ADDING, slot);
}

enum node_looked node_looked(const struct node *n, uint32_t contact)
{
    enum node_looked most = NODE_LOOKED_NOT;
    const struct rec_device *d;
    size_t pos = 0;

    while ((d = contacts_device_next(n->contacts, contact, &pos)) != NULL) {
        enum node_looked v = looked(n, MEET_CONTACT, d->id);

        most = v > most ? v : most;
    }
    return most;
}

bool node_meet_stats(const struct node *n, struct meet_stats *out)
{
    if (n->meeting == NULL) {
        return false;
    }
    meet_stats(n->meeting->meet, out);
    return true;
}

/* ---- time ---- */

void node_meet_tick(struct node *n, uint64_t now_ms)
{
    if (n->meeting == NULL) {
        return;
    }
    if (now_ms >= n->meeting->invites_ms) {
        node_meet_invites(n, now_ms);
    }
    if (meet_deadline(n->meeting->meet) <= now_ms) {
        meet_tick(n->meeting->meet, now_ms);
    }
}

uint64_t node_meet_deadline(const struct node *n)
{
    uint64_t at;

    if (n->meeting == NULL) {
        return DEADLINE_NONE;
    }
    at = meet_deadline(n->meeting->meet);
    return n->meeting->invites_ms < at ? n->meeting->invites_ms : at;
}
