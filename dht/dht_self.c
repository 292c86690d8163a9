/* What others see of us: our address, by their vote (BEP 42), and whether they reach us
 * (BEP 43). */
#include <stdlib.h>
#include <string.h>

#include "dht/dht_priv.h"

enum { VOTER4_LEN = 2, VOTER6_LEN = 4 };

/* ---- our address ---- */

static uint32_t voter(const struct addr *from)
{
    uint32_t v = 0;
    memcpy(&v, from->ip, from->family == 4 ? VOTER4_LEN : VOTER6_LEN);
    return v;
}

/* The candidate of this address; a new one takes the place of the weakest. */
static struct vote *candidate(struct side *s, const struct addr *ip)
{
    struct vote *weakest = &s->votes[0];
    for (size_t i = 0; i < VOTE_CANDIDATES; i++) {
        struct vote *v = &s->votes[i];
        if (v->n > 0 && memcmp(v->ip, ip->ip, sizeof v->ip) == 0) {
            return v;
        }
        weakest = v->n < weakest->n ? v : weakest;
    }
    *weakest = (struct vote){.n = 0};
    memcpy(weakest->ip, ip->ip, sizeof weakest->ip);
    return weakest;
}

/* Takes the voice of one voter, who may change his mind; true when there are enough. */
static bool take_vote(struct side *s, uint32_t who, const struct addr *ip)
{
    struct vote *to = candidate(s, ip);
    for (size_t i = 0; i < VOTE_CANDIDATES; i++) {
        struct vote *v = &s->votes[i];
        for (uint8_t j = 0; j < v->n; j++) {
            if (v->voter[j] == who) {
                v->voter[j] = v->voter[--v->n];
            }
        }
    }
    to->port = ip->port;
    to->voter[to->n++] = who;
    return to->n == DHT_VOTERS;
}

static void fit_id(const struct dht *d, struct side *s, const struct addr *ip)
{
    dht_id_for_addr(d->env, ip, &s->id);
    table_set_self(s->table, &s->id);
    server_set_self(s->server, &s->id);
}

static void take_id(struct dht *d, unsigned side, uint64_t now_ms)
{
    struct side *s = &d->side[side];
    if (!dht_id_fits(&s->id, &s->seen)) {
        fit_id(d, s, &s->seen);
        op_free_handle(d, s->self_op);
        s->self_op = 0;
        keep_self_look(d, side, now_ms);
    }
    struct dht_event *e = dht_event_add(d, DHT_SELF, 0);
    if (e != NULL) {
        e->u.self.id = s->id;
        e->u.self.addr = s->seen;
    }
}

static bool has_votes(const struct side *s)
{
    unsigned n = 0;
    for (size_t i = 0; i < VOTE_CANDIDATES; i++) {
        n += s->votes[i].n;
    }
    return n > 0;
}

void self_vote(struct dht *d, const struct addr *from, const struct addr *ip,
               uint64_t now_ms)
{
    unsigned side = side_of(from);
    struct side *s = &d->side[side];
    if (ip->family != from->family || !addr_is_dialable(ip) ||
        (addr_eq_ip(ip, &s->seen) && !has_votes(s))) {
        return;
    }
    /* Who is not of our own network cannot see an address of it. */
    if ((addr_is_private(ip) && !addr_is_private(from)) ||
        !take_vote(s, voter(from), ip)) {
        return;
    }
    memset(s->votes, 0, sizeof s->votes);
    bool same = addr_eq_ip(ip, &s->seen);
    s->seen = *ip;
    if (!same) {
        take_id(d, side, now_ms);
    }
}

/* Some answer only those whose id fits their address, and then none of the others can be
 * heard of who would vote. One id is as good as another while nobody knows us, so this
 * one suffices; the vote may replace it. */
void self_refused(struct dht *d, const struct addr *from, const struct addr *ip,
                  uint64_t now_ms)
{
    struct side *s = &d->side[side_of(from)];
    if (ip->family != from->family || !addr_is_dialable(ip) || s->seen.family != 0 ||
        table_count(s->table) > 0 || dht_id_fits(&s->id, ip)) {
        return;
    }
    fit_id(d, s, ip);
    if (!s->refused) { /* once: two who see different addresses would have us ask on */
        s->refused = true;
        d->next_hint_ms = now_ms;
    }
}

/* ---- reached by others ---- */

static void contact_bits(const struct addr *a, uint32_t bit[2])
{
    uint64_t h = 0x9e3779b97f4a7c15;
    for (size_t i = 0; i < sizeof a->ip; i += sizeof h) {
        uint64_t part;
        memcpy(&part, a->ip + i, sizeof part);
        h = (h ^ part) * 0xbf58476d1ce4e5b9;
        h ^= h >> 29;
    }
    bit[0] = (uint32_t)h % CONTACTS_BITS;
    bit[1] = (uint32_t)(h >> 32) % CONTACTS_BITS;
}

/* Notes an address; whether it was noted in the last DHT_TRIAL_MS or so. */
static bool note_contact(struct dht *d, const struct addr *a, uint64_t now_ms)
{
    struct contacts *c = d->contacts;
    uint32_t bit[2];
    bool known = false;
    if (now_ms >= c->turn_ms) {
        c->young ^= 1;
        memset(c->bits[c->young], 0, sizeof c->bits[c->young]);
        c->turn_ms = now_ms + DHT_TRIAL_MS;
    }
    contact_bits(a, bit);
    for (unsigned i = 0; i < 2; i++) {
        const uint64_t *b = c->bits[i];
        known = known || ((b[bit[0] / 64] >> bit[0] % 64 & 1) != 0 &&
                          (b[bit[1] / 64] >> bit[1] % 64 & 1) != 0);
    }
    for (unsigned i = 0; i < 2; i++) {
        c->bits[c->young][bit[i] / 64] |= 1ull << bit[i] % 64;
    }
    return known;
}

static bool decides(const struct dht *d)
{
    return !d->c.read_only && !d->c.open;
}

void self_contacted(struct dht *d, const struct addr *a, uint64_t now_ms)
{
    if (!decides(d)) {
        return;
    }
    if (d->contacts == NULL) {
        d->contacts = calloc(1, sizeof *d->contacts);
    }
    if (d->contacts != NULL) {
        (void)note_contact(d, a, now_ms);
    }
}

static void set_read_only(struct dht *d, bool read_only, bool tell)
{
    d->read_only = read_only;
    struct dht_event *e = tell ? dht_event_add(d, DHT_OPEN, 0) : NULL;
    if (e != NULL) {
        e->u.open.open = !read_only;
    }
}

/* Who is reached by others is asked for nodes by them; a leaf's table is for itself. */
static void set_open(struct dht *d, uint64_t open_ms)
{
    bool leaf = d->c.leaf || open_ms == 0;
    d->open_ms = open_ms;
    if (leaf == d->leaf) {
        return;
    }
    d->leaf = leaf;
    for (unsigned i = 0; i < SIDES; i++) {
        if (d->side[i].table != NULL) {
            table_limit(d->side[i].table, leaf, leaf ? DHT_LEAF_NODES : 0);
        }
    }
}

/* Whether a query from there shows that everybody reaches us: those of our own network
 * always do, and matter only where they are the whole network. */
static bool shows_open(const struct dht *d, const struct addr *from)
{
    struct krpc_node n;
    if (!addr_is_private(from) || d->c.private_too) {
        return true;
    }
    for (size_t pos = 0; dht_next_node(d, &pos, &n);) {
        if (!addr_is_private(&n.addr)) {
            return false;
        }
    }
    return true;
}

void self_queried(struct dht *d, const struct addr *from, uint64_t now_ms)
{
    if (!decides(d) || d->contacts == NULL || note_contact(d, from, now_ms) ||
        !shows_open(d, from)) {
        return;
    }
    bool was_open = d->open_ms != 0;
    set_open(d, now_ms);
    d->trial_end_ms = 0;
    d->next_trial_ms = UINT64_MAX;
    if (!was_open) {
        set_read_only(d, false, true);
    }
}

void self_network_changed(struct dht *d, uint64_t now_ms)
{
    for (unsigned i = 0; i < SIDES; i++) {
        d->side[i].seen = (struct addr){.family = 0};
        memset(d->side[i].votes, 0, sizeof d->side[i].votes);
        d->side[i].refused = false;
    }
    if (decides(d)) {
        bool was_open = d->open_ms != 0;
        d->trial_end_ms = 0;
        d->open_ms = 0; /* the table stays as it is until a trial tells */
        d->next_trial_ms = now_ms;
        set_read_only(d, true, was_open);
    }
}

static uint64_t trial_gap(const struct dht *d)
{
    return DHT_TRIAL_GAP_MS - DHT_TRIAL_GAP_MS / 10 +
           env_uniform(d->env, DHT_TRIAL_GAP_MS / 5);
}

void self_tick(struct dht *d, uint64_t now_ms)
{
    if (!decides(d)) {
        return;
    }
    if (d->open_ms != 0 && now_ms >= d->open_ms + DHT_OPEN_MS) {
        set_open(d, 0);
        set_read_only(d, true, true);
        d->next_trial_ms = now_ms;
    }
    if (d->trial_end_ms != 0 && now_ms >= d->trial_end_ms) {
        d->trial_end_ms = 0;
        set_open(d, 0);
        set_read_only(d, true, false);
        d->next_trial_ms = now_ms + trial_gap(d);
    }
    if (d->ready && d->next_trial_ms == UINT64_MAX && d->open_ms == 0 &&
        d->trial_end_ms == 0) {
        d->next_trial_ms = now_ms; /* the first */
    }
    if (now_ms >= d->next_trial_ms) {
        d->next_trial_ms = UINT64_MAX;
        d->trial_end_ms = now_ms + DHT_TRIAL_MS;
        set_read_only(d, false, false);
        for (unsigned i = 0; i < SIDES; i++) { /* so that others hear of us */
            keep_self_look(d, i, now_ms);
        }
    }
}

uint64_t self_deadline(const struct dht *d)
{
    uint64_t at = UINT64_MAX;
    if (!decides(d)) {
        return at;
    }
    at = d->open_ms != 0 ? d->open_ms + DHT_OPEN_MS : at;
    at = d->trial_end_ms != 0 && d->trial_end_ms < at ? d->trial_end_ms : at;
    return d->next_trial_ms < at ? d->next_trial_ms : at;
}
