/* LAN discovery, sending: interfaces, targets, the schedule and the sweep. */
#include "lan_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/err.h"

enum {
    BURST = 3,             /* rounds after a start */
    NETWORK_BURST = 6,     /* the same under a network's key */
    OUTS_CAP_MIN = 64,     /* kept allocated */
    SUBNET_HOST_BITS = 12, /* the largest subnet */
};
static_assert(1 << SUBNET_HOST_BITS == LAN_SUBNET_HOSTS_MAX, "one subnet may be all");

void lan_group(uint8_t family, struct addr *out)
{
    static const uint8_t v4[4] = {239, 255, 76, 78};
    static const uint8_t v6[16] = {0xff, 0x12, [14] = 0x4c, [15] = 0x4e};
    *out = (struct addr){.family = family, .port = WIRE_BEACON_PORT};
    if (family == 4) {
        memcpy(out->ip, v4, sizeof v4);
    } else {
        memcpy(out->ip, v6, sizeof v6);
    }
}

/* ---- interfaces ---- */

static bool usable(const struct lan_interface *i, uint8_t family)
{
    return i->up && i->addr.family == family;
}

static bool link_local6(const struct addr *a)
{
    return a->family == 6 && addr_is_link_local(a);
}

bool lan_is_own(const struct lan *l, const struct addr *a)
{
    for (size_t i = 0; i < l->n_ifaces; i++) {
        if (addr_eq_ip(&l->ifaces[i].addr, a)) {
            return true;
        }
    }
    return false;
}

static bool on_prefix(const struct lan_interface *i, const struct addr *a)
{
    struct prefix p = {i->addr, i->bits};
    return prefix_contains(&p, a);
}

bool lan_is_neighbour(const struct lan *l, const struct addr *a)
{
    if (addr_is_link_local(a)) {
        return true;
    }
    for (size_t i = 0; i < l->n_ifaces; i++) {
        if (l->ifaces[i].up && on_prefix(&l->ifaces[i], a)) {
            return true;
        }
    }
    return false;
}

/* Multicast leaves from every IPv4 address, and once for each interface over IPv6: from
 * its link-local address when it has one. Not over loopback in IPv6. */
static bool multicasts(const struct lan *l, size_t at)
{
    const struct lan_interface *me = &l->ifaces[at];
    if (!me->up || me->addr.family == 4) {
        return me->up;
    }
    if (addr_is_loopback(&me->addr)) {
        return false;
    }
    for (size_t i = 0; i < l->n_ifaces; i++) {
        const struct lan_interface *other = &l->ifaces[i];
        if (i == at || !usable(other, 6) || other->ifindex != me->ifindex) {
            continue;
        }
        bool better = link_local6(&other->addr) && !link_local6(&me->addr);
        bool worse = link_local6(&me->addr) && !link_local6(&other->addr);
        if (better || (!worse && i < at)) {
            return false;
        }
    }
    return true;
}

static bool same_iface(const struct lan_interface *a, const struct lan_interface *b)
{
    return a->ifindex == b->ifindex && addr_eq_ip(&a->addr, &b->addr) &&
           a->bits == b->bits && a->up == b->up;
}

int lan_set_interfaces(struct lan *l, const struct lan_interface *v, size_t n,
                       uint64_t now_ms)
{
    int rc = n > LAN_IFACES_MAX ? ERR_LIMIT : 0;
    n = n > LAN_IFACES_MAX ? LAN_IFACES_MAX : n;
    bool same = n == l->n_ifaces;
    for (size_t i = 0; same && i < n; i++) {
        same = same_iface(&v[i], &l->ifaces[i]);
    }
    if (same) {
        return rc;
    }
    l->n_ifaces = n;
    for (size_t i = 0; i < n; i++) {
        l->ifaces[i] = v[i];
        l->ifaces[i].addr.scope = link_local6(&v[i].addr) ? v[i].ifindex : 0;
    }
    for (size_t i = 0; i < n; i++) {
        l->multicasts[i] = multicasts(l, i);
    }
    lan_restart(l, now_ms);
    return rc;
}

/* The interface a unicast beacon leaves from: of the longest prefix that holds dest, or
 * else the first of its family that leads anywhere. NULL: none. */
static const struct lan_interface *route(const struct lan *l, const struct addr *dest)
{
    const struct lan_interface *best = NULL, *first = NULL;
    for (size_t i = 0; i < l->n_ifaces; i++) {
        const struct lan_interface *at = &l->ifaces[i];
        if (!usable(at, dest->family) || link_local6(&at->addr) != link_local6(dest) ||
            addr_is_loopback(&at->addr) != addr_is_loopback(dest)) {
            continue;
        }
        if (link_local6(dest) && dest->scope != at->ifindex) {
            continue;
        }
        first = first == NULL ? at : first;
        if (on_prefix(at, dest) && (best == NULL || at->bits > best->bits)) {
            best = at;
        }
    }
    return best != NULL ? best : first;
}

/* ---- one beacon ---- */

/* Room for one more, or NULL: what does not fit is lost, as any datagram may be. */
static struct lan_out *push(struct lan *l)
{
    if (l->outs_head + l->outs_len == l->outs_cap && l->outs_head > 0) {
        memmove(l->outs, l->outs + l->outs_head, l->outs_len * sizeof *l->outs);
        l->outs_head = 0;
    }
    if (l->outs_len == l->outs_cap) {
        size_t cap = l->outs_cap == 0 ? OUTS_CAP_MIN : 2 * l->outs_cap;
        struct lan_out *v = cap > LAN_OUTS_MAX ? NULL : realloc(l->outs, cap * sizeof *v);
        if (v == NULL) {
            return NULL;
        }
        l->outs = v;
        l->outs_cap = cap;
    }
    return &l->outs[l->outs_head + l->outs_len++];
}

bool lan_next_out(struct lan *l, struct lan_out *out)
{
    if (l->outs_len == 0) {
        return false;
    }
    *out = l->outs[l->outs_head++];
    if (--l->outs_len == 0) {
        l->outs_head = 0;
        if (l->outs_cap > OUTS_CAP_MIN) {
            free(l->outs);
            l->outs = NULL;
            l->outs_cap = 0;
        }
    }
    return true;
}

/* A datagram without its bytes; NULL when it cannot be sent. */
static struct lan_out *push_from(struct lan *l, const struct lan_interface *from,
                                 const struct addr *dest, bool multicast, size_t len)
{
    struct lan_out *out = l->link_port == 0 || l->udp_port == 0 ? NULL : push(l);
    if (out == NULL) {
        return NULL;
    }
    *out = (struct lan_out){
        .ifindex = from->ifindex,
        .multicast = multicast,
        .source = from->addr,
        .dest = *dest,
        .len = len,
    };
    out->source.port = l->udp_port;
    return out;
}

static void send_from(struct lan *l, const struct lan_interface *from,
                      const uint8_t key[32], uint8_t flags, const struct addr *dest,
                      bool multicast)
{
    bool leaving = (flags & BEACON_FLAG_LEAVE) != 0;
    struct lan_out *out =
        l->left && !leaving ? NULL : push_from(l, from, dest, multicast, WIRE_BEACON);
    if (out == NULL) {
        return;
    }
    struct wire_beacon b = {
        .port = l->link_port,
        .presence = l->presence,
        .flags = flags,
    };
    if (l->network != NULL && key == l->network->keys[0]) {
        memcpy(b.member, l->member, sizeof b.member);
    }
    env_random(l->env, b.nonce, sizeof b.nonce);
    wire_beacon_put(out->bytes, key, &out->source, &b);
}

void lan_send_unicast(struct lan *l, const uint8_t key[32], uint8_t flags,
                      const struct addr *dest)
{
    const struct lan_interface *from = route(l, dest);
    if (from != NULL) {
        send_from(l, from, key, flags, dest, false);
    }
}

/* The multicast group as it is reached over an interface. */
static void group_of(const struct lan_interface *from, struct addr *group)
{
    lan_group(from->addr.family, group);
    group->scope = group->family == 6 ? from->ifindex : 0;
}

static bool lately(const struct lan *l, uint64_t at_ms)
{
    return at_ms != 0 && l->now_ms - at_ms < LAN_GONE_MS;
}

/* To one place where a contact was met, as far as it is not enough that we hear each
 * other by multicast. */
static void send_met(struct lan *l, const uint8_t key[32], uint8_t flags,
                     const struct lan_met *m)
{
    const struct lan_watch *w = lan_contact(l, m->ref);
    bool heard = w != NULL && lately(l, w->heard_ms);
    if (!heard) {
        lan_send_unicast(l, key, flags | BEACON_FLAG_ALONE | BEACON_FLAG_DEAF, &m->addr);
    } else if (lately(l, w->deaf_ms)) {
        lan_send_unicast(l, key, flags | BEACON_FLAG_ALONE, &m->addr);
    }
}

/* By multicast over all interfaces, and to all targets. */
static void send_all(struct lan *l, const uint8_t key[32], uint8_t flags)
{
    for (size_t i = 0; i < l->n_ifaces; i++) {
        if (l->multicasts[i]) {
            struct addr group;
            group_of(&l->ifaces[i], &group);
            send_from(l, &l->ifaces[i], key, flags, &group, true);
        }
    }
    for (size_t i = 0; i < l->n_targets; i++) {
        lan_send_unicast(l, key, flags | BEACON_FLAG_ALONE, &l->targets[i]);
    }
}

static void send_all_met(struct lan *l, const uint8_t key[32], uint8_t flags)
{
    for (size_t i = 0; i < l->n_met; i++) {
        send_met(l, key, flags, &l->met[i]);
    }
}

static void open_from(struct lan *l, const struct lan_interface *from,
                      const uint8_t *bytes, const struct addr *dest, bool multicast)
{
    struct lan_out *out = push_from(l, from, dest, multicast, WIRE_OPEN);
    if (out != NULL) {
        memcpy(out->bytes, bytes, WIRE_OPEN);
    }
}

void lan_open_to(struct lan *l, const uint8_t bytes[WIRE_OPEN], const struct addr *dest)
{
    const struct lan_interface *from = route(l, dest);
    if (from != NULL) {
        open_from(l, from, bytes, dest, false);
    }
}

void lan_open(struct lan *l, const uint8_t *bytes, uint64_t now_ms)
{
    bool begins = !l->has_open;
    l->has_open = bytes != NULL;
    if (bytes == NULL) {
        return;
    }
    memcpy(l->open, bytes, WIRE_OPEN);
    for (size_t i = 0; i < l->n_ifaces; i++) {
        if (l->multicasts[i]) {
            struct addr group;
            group_of(&l->ifaces[i], &group);
            open_from(l, &l->ifaces[i], bytes, &group, true);
        }
    }
    for (size_t i = 0; i < l->n_targets; i++) {
        lan_open_to(l, bytes, &l->targets[i]);
    }
    if (begins) {
        lan_sweep_start(l, now_ms);
    }
}

/* All that one host beyond multicast has to get at once: the main key, the network's, the
 * codes, and that we are visible. */
static void send_host(struct lan *l, const struct addr *dest)
{
    if (l->has_open) {
        lan_open_to(l, l->open, dest);
    }
    if (l->has_main) {
        lan_send_unicast(l, l->main, BEACON_FLAG_ALONE, dest);
    }
    if (l->has_main && l->network != NULL) {
        lan_send_unicast(l, l->network->keys[0], 0, dest);
    }
    for (size_t i = 0; i < l->n_watches; i++) {
        if (l->watches[i]->kind == LAN_ADDING) {
            lan_send_unicast(l, l->watches[i]->keys[0],
                             BEACON_FLAG_ADD | BEACON_FLAG_ALONE, dest);
        }
    }
}

/* ---- targets and subnets ---- */

int lan_set_targets(struct lan *l, const struct addr *v, size_t n, uint64_t now_ms)
{
    (void)now_ms;
    if (n > LAN_TARGETS_MAX) {
        return ERR_LIMIT;
    }
    for (size_t i = 0; i < n; i++) {
        if (!addr_is_dialable(&v[i])) {
            return ERR_ARG;
        }
    }
    struct addr old[LAN_TARGETS_MAX];
    size_t n_old = l->n_targets;
    memcpy(old, l->targets, n_old * sizeof old[0]);
    l->n_targets = 0;
    for (size_t i = 0; i < n; i++) {
        bool twice = false, known = false;
        for (size_t j = 0; j < l->n_targets; j++) {
            twice = twice || addr_eq(&l->targets[j], &v[i]);
        }
        for (size_t j = 0; j < n_old; j++) {
            known = known || addr_eq(&old[j], &v[i]);
        }
        if (!twice) {
            l->targets[l->n_targets++] = v[i];
        }
        if (!twice && !known) {
            send_host(l, &v[i]);
        }
    }
    return 0;
}

int lan_set_met(struct lan *l, const struct lan_met *v, size_t n, uint64_t now_ms)
{
    if (n > LAN_MET_MAX) {
        return ERR_LIMIT;
    }
    struct lan_met old[LAN_MET_MAX];
    size_t n_old = l->n_met;
    memcpy(old, l->met, n_old * sizeof old[0]);
    l->now_ms = now_ms;
    l->n_met = 0;
    for (size_t i = 0; i < n; i++) {
        bool target = !addr_is_dialable(&v[i].addr), known = false;
        for (size_t j = 0; j < l->n_targets && !target; j++) {
            target = addr_eq(&l->targets[j], &v[i].addr);
        }
        for (size_t j = 0; j < n_old && !known; j++) {
            known = old[j].ref == v[i].ref && addr_eq(&old[j].addr, &v[i].addr);
        }
        if (target) {
            continue;
        }
        l->met[l->n_met++] = v[i];
        if (!known && l->has_main) {
            send_met(l, l->main, 0, &v[i]);
        }
    }
    return 0;
}

/* Bits of the host's part, 32 or 128 less those of the prefix. */
static unsigned host_bits(const struct prefix *p)
{
    return (p->addr.family == 4 ? 32u : 128u) - p->bits;
}

int lan_set_subnets(struct lan *l, const struct prefix *v, size_t n, uint16_t port,
                    uint64_t now_ms)
{
    size_t hosts = 0;
    if (n > LAN_SUBNETS_MAX) {
        return ERR_LIMIT;
    }
    for (size_t i = 0; i < n; i++) {
        if ((v[i].addr.family != 4 && v[i].addr.family != 6) || port == 0) {
            return ERR_ARG;
        }
        if (v[i].bits > 128 || host_bits(&v[i]) > SUBNET_HOST_BITS) {
            return ERR_LIMIT;
        }
        hosts += (size_t)1 << host_bits(&v[i]);
    }
    if (hosts > LAN_SUBNET_HOSTS_MAX) {
        return ERR_LIMIT;
    }
    l->sweep = (struct lan_sweep){.n = n, .port = port, .next_ms = DEADLINE_NONE};
    memcpy(l->sweep.subnets, v, n * sizeof v[0]);
    lan_sweep_start(l, now_ms);
    return 0;
}

void lan_sweep_start(struct lan *l, uint64_t now_ms)
{
    struct lan_sweep *s = &l->sweep;
    if (s->n > 0 && !s->running) {
        s->running = true;
        s->subnet = 0;
        s->host = 0;
        s->next_ms = now_ms;
    }
}

/* The next host; false at the end of the pass. Network and broadcast addresses of IPv4
 * are left out. */
static bool sweep_next(struct lan_sweep *s, struct addr *host)
{
    while (s->subnet < s->n) {
        const struct prefix *p = &s->subnets[s->subnet];
        unsigned bits = host_bits(p);
        uint32_t i = s->host++, n = (uint32_t)1 << bits;
        if (i >= n) {
            s->subnet++;
            s->host = 0;
            continue;
        }
        if (p->addr.family == 4 && bits > 1 && (i == 0 || i == n - 1)) {
            continue;
        }
        *host = p->addr;
        host->port = s->port;
        uint8_t *low = host->ip + (p->addr.family == 4 ? 2 : 14);
        uint32_t ip = ((uint32_t)low[0] << 8 | low[1]) & ~(n - 1);
        ip |= i;
        low[0] = (uint8_t)(ip >> 8);
        low[1] = (uint8_t)ip;
        return true;
    }
    return false;
}

static void sweep_tick(struct lan *l, uint64_t now_ms)
{
    struct lan_sweep *s = &l->sweep;
    if (s->next_ms > now_ms) {
        return;
    }
    s->running = s->running || s->n > 0;
    for (unsigned i = 0; i < LAN_SWEEP_BATCH; i++) {
        struct addr host;
        if (!sweep_next(s, &host)) {
            s->running = false;
            s->subnet = 0;
            s->host = 0;
            s->next_ms = s->n > 0 ? now_ms + LAN_SWEEP_MS : DEADLINE_NONE;
            return;
        }
        if (addr_is_dialable(&host) && !lan_is_own(l, &host)) {
            send_host(l, &host);
        }
    }
    s->next_ms = now_ms + LAN_SWEEP_GAP_MS;
}

/* ---- the schedule ---- */

/* How long after the beacon of this step of a burst the next one follows. */
static uint64_t burst_gap(unsigned step)
{
    return step == 1 ? LAN_BURST_2_MS : LAN_BURST_3_MS - LAN_BURST_2_MS;
}

void lan_restart(struct lan *l, uint64_t now_ms)
{
    l->step = 0;
    l->next_ms = l->has_main ? now_ms : DEADLINE_NONE;
    for (size_t i = 0; i < l->n_watches; i++) {
        struct lan_watch *w = l->watches[i];
        if (w->kind == LAN_ADDING || w->kind == LAN_NETWORK) {
            w->step = 0;
            (void)deadlines_set(&l->timers, &w->timer, now_ms);
        }
    }
    lan_sweep_start(l, now_ms);
}

static void send_round(struct lan *l, uint64_t now_ms)
{
    send_all(l, l->main, 0);
    send_all_met(l, l->main, 0);
    size_t n =
        l->n_alternates < LAN_ALTERNATES_ROUND ? l->n_alternates : LAN_ALTERNATES_ROUND;
    for (size_t i = 0; i < n; i++) {
        send_all(l, l->alternates[l->turn], 0);
        send_all_met(l, l->alternates[l->turn], 0);
        l->turn = (l->turn + 1) % l->n_alternates;
    }
    l->last_ms = now_ms;
    if (l->step < BURST) {
        l->step++;
    }
    if (l->step < BURST) {
        l->next_ms = now_ms + burst_gap(l->step);
        return;
    }
    l->next_ms = now_ms + LAN_INTERVAL_MS - LAN_JITTER_MS +
                 env_uniform(l->env, 2 * LAN_JITTER_MS + 1);
}

void lan_leave(struct lan *l)
{
    l->outs_head = l->outs_len = 0;
    l->left = true;
    if (l->has_main) {
        send_all(l, l->main, BEACON_FLAG_LEAVE);
        send_all_met(l, l->main, BEACON_FLAG_LEAVE);
    }
    size_t n =
        l->n_alternates < LAN_ALTERNATES_ROUND ? l->n_alternates : LAN_ALTERNATES_ROUND;
    for (size_t i = 0; i < n; i++) {
        send_all(l, l->alternates[i], BEACON_FLAG_LEAVE);
        send_all_met(l, l->alternates[i], BEACON_FLAG_LEAVE);
    }
}

void lan_send_tick(struct lan *l, uint64_t now_ms)
{
    if (l->next_ms <= now_ms) {
        send_round(l, now_ms);
    }
    sweep_tick(l, now_ms);
}

void lan_send_adding(struct lan *l, struct lan_watch *w, uint64_t now_ms)
{
    send_all(l, w->keys[0], BEACON_FLAG_ADD);
    for (size_t i = 0; i < l->n_met; i++) { /* its inviter may be one we know */
        lan_send_unicast(l, w->keys[0], BEACON_FLAG_ADD | BEACON_FLAG_ALONE,
                         &l->met[i].addr);
    }
    if (w->step < BURST) {
        w->step++;
    }
    uint64_t gap = w->step < BURST ? burst_gap(w->step) : LAN_ADD_INTERVAL_MS;
    (void)deadlines_set(&l->timers, &w->timer, now_ms + gap);
}

void lan_send_network(struct lan *l, struct lan_watch *w, uint64_t now_ms)
{
    static const uint64_t gaps[NETWORK_BURST] = {
        0, LAN_BURST_2_MS, LAN_BURST_3_MS - LAN_BURST_2_MS, 4500, 15000, 40000,
    };
    if (l->has_main) {
        send_all(l, w->keys[0], 0);
    }
    if (w->step < NETWORK_BURST) {
        w->step++;
    }
    uint64_t gap = w->step < NETWORK_BURST
                       ? gaps[w->step]
                       : LAN_NETWORK_INTERVAL_MS - LAN_NETWORK_JITTER_MS +
                             env_uniform(l->env, 2 * LAN_NETWORK_JITTER_MS + 1);
    (void)deadlines_set(&l->timers, &w->timer, now_ms + gap);
}

/* ---- what is told ---- */

void lan_set_ports(struct lan *l, uint16_t link_port, uint16_t udp_port, uint64_t now_ms)
{
    if (l->link_port != link_port || l->udp_port != udp_port) {
        l->link_port = link_port;
        l->udp_port = udp_port;
        lan_restart(l, now_ms);
    }
}

void lan_set_presence(struct lan *l, uint8_t presence, uint64_t now_ms)
{
    if (l->presence == presence) {
        return;
    }
    l->presence = presence;
    if (!l->has_main) {
        return;
    }
    uint64_t soon = l->last_ms + LAN_PRESENCE_GAP_MS;
    soon = soon > now_ms ? soon : now_ms;
    l->next_ms = soon < l->next_ms ? soon : l->next_ms;
}

int lan_set_keys(struct lan *l, const uint8_t main[32], const uint8_t (*alternates)[32],
                 size_t n, uint64_t now_ms)
{
    uint8_t(*copy)[32] = NULL;
    n = main == NULL ? 0 : n;
    l->left = false;
    if (n > LAN_ALTERNATES_MAX) {
        return ERR_LIMIT;
    }
    if (n > 0) {
        copy = malloc(n * sizeof *copy);
        if (copy == NULL) {
            return ERR_NOMEM;
        }
        memcpy(copy, alternates, n * sizeof *copy);
    }
    if (l->alternates != NULL) {
        sodium_memzero(l->alternates, l->n_alternates * sizeof *l->alternates);
        free(l->alternates);
    }
    l->alternates = copy;
    l->n_alternates = n;
    l->turn = n == 0 ? 0 : l->turn % n;
    bool begins = main != NULL && !l->has_main;
    l->has_main = main != NULL;
    if (main == NULL) {
        sodium_memzero(l->main, sizeof l->main);
        l->next_ms = DEADLINE_NONE;
    } else {
        memcpy(l->main, main, sizeof l->main);
    }
    if (begins) {
        l->step = 0;
        l->next_ms = now_ms;
        if (l->network != NULL) {
            l->network->step = 0;
            (void)deadlines_set(&l->timers, &l->network->timer, now_ms);
        }
        lan_sweep_start(l, now_ms);
    }
    return 0;
}
