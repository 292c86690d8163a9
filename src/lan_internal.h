/* What lan.c (who is there) and lan_send.c (what goes out) share. */
#ifndef LINNET_LAN_INTERNAL_H
#define LINNET_LAN_INTERNAL_H

#include "base/bucket.h"
#include "base/deadline.h"
#include "base/map.h"
#include "lan.h"

struct lan_nonce {
    uint64_t hash, at_ms;
};

/* One watched (kind, ref). */
struct lan_watch {
    struct lan *lan;
    enum lan_kind kind;
    uint32_t ref;
    size_t index; /* in lan.watches */
    uint8_t (*keys)[32];
    size_t n_keys;
    struct deadline timer; /* LAN_CONTACT: gone; LAN_ADDING, LAN_NETWORK: next beacon */
    unsigned step;         /* LAN_ADDING, LAN_NETWORK: beacons of the burst are out */
    bool seen;             /* LAN_CONTACT */
    /* LAN_CONTACT, 0: never. Its multicast was heard; it said that it hears not ours. */
    uint64_t heard_ms, deaf_ms;
    uint8_t presence;
    struct addr sources[2]; /* where it was last seen, IPv4 and IPv6 */
    struct bucket bucket;
    struct lan_nonce *nonces; /* a ring, the oldest at nonce_pos once it is full */
    size_t n_nonces, cap_nonces, nonce_pos;
};

/* The hosts of subnets, one after the other. */
struct lan_sweep {
    struct prefix subnets[LAN_SUBNETS_MAX];
    size_t n;
    uint16_t port;
    bool running;
    size_t subnet;
    uint32_t host;
    uint64_t next_ms;
};

struct lan {
    const struct env *env;
    uint16_t link_port, udp_port;
    uint8_t presence;

    bool has_main;
    bool left; /* said good-bye */
    uint8_t main[32];
    uint8_t (*alternates)[32];
    size_t n_alternates, turn; /* turn: the alternate that is next */

    struct lan_interface ifaces[LAN_IFACES_MAX];
    bool multicasts[LAN_IFACES_MAX]; /* the interface sends multicast from this address */
    size_t n_ifaces;
    struct addr targets[LAN_TARGETS_MAX];
    size_t n_targets;
    struct lan_met met[LAN_MET_MAX];
    size_t n_met;
    uint64_t now_ms; /* of the newest call that told */
    struct lan_sweep sweep;

    unsigned step; /* rounds of the burst that are out */
    uint64_t next_ms, last_ms;
    bool has_open;
    uint8_t open[WIRE_OPEN];

    struct lan_watch *network; /* of watches, or NULL */
    uint8_t member[NETKEY_MEMBER];

    struct lan_watch **watches; /* in no order that matters */
    size_t n_watches, cap_watches, n_keys;
    struct map by_ref, by_source;
    struct deadlines timers;

    uint8_t hash_seed[16];
    struct bucket sources[LAN_SOURCES], checks;

    struct lan_out *outs;
    size_t outs_head, outs_len, outs_cap;
    struct lan_event events[LAN_EVENTS_MAX];
    size_t events_head, events_len;
};

/* The watch of a contact's device, or NULL. */
const struct lan_watch *lan_contact(const struct lan *l, uint32_t ref);
/* Starts the whole schedule again. */
void lan_restart(struct lan *l, uint64_t now_ms);
/* What is due of own beacons and of the sweep. */
void lan_send_tick(struct lan *l, uint64_t now_ms);
/* The beacons of a code that is being added are due; sets the next time. */
void lan_send_adding(struct lan *l, struct lan_watch *w, uint64_t now_ms);
/* The same for the network. */
void lan_send_network(struct lan *l, struct lan_watch *w, uint64_t now_ms);
/* Begins a pass over the subnets, unless one runs. */
void lan_sweep_start(struct lan *l, uint64_t now_ms);
/* One unicast beacon; dropped when no interface leads there or too much waits. */
void lan_send_unicast(struct lan *l, const uint8_t key[32], uint8_t flags,
                      const struct addr *dest);
/* True when a is an address of this host. */
bool lan_is_own(const struct lan *l, const struct addr *a);

#endif
