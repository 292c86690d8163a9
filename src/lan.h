/* LAN discovery: beacons out, beacons in (docs/PROTOCOL.md, "Beacons").
 *
 * Owns: when a beacon is sent, over which interface, to whom and under which key; which
 * of those received are from somebody we know; who of them is there. Knows nothing of
 * sockets: the outer layer tells it the interfaces, sends what lan_next_out() gives from
 * exactly the source address it names (the tag covers that address and the port of the
 * node's own UDP socket), and passes on what arrives at that socket and at the
 * multicast one.
 *
 * Own beacons go out at 0, 150 and 500 ms after the start and after each change of
 * interfaces, then every 60 s ± 20 %: by multicast over every interface that is up (IPv6
 * not over loopback) and as unicast to every target. While a code is being added, beacons
 * under its key go the same ways at 0, 150 and 500 ms, then every 5 s. Beacons under a
 * secret network's key: at 0, 150 and 500 ms, 5, 20 and 60 s, then every 5 min ± 20 %.
 *
 * Received beacons are checked against the watched keys, within a limit for each source
 * and one for all. A nonce is accepted once an hour; only those of recognised beacons are
 * remembered, each watched device in its own memory, so that nobody can push out
 * another's. Costs memory only for what the node itself watches. */
#ifndef LINNET_LAN_H
#define LINNET_LAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/env.h"
#include "wire.h"

enum {
    LAN_IFACES_MAX = 256, /* addresses of interfaces */
    LAN_ALTERNATES_MAX = 16384,
    LAN_ALTERNATES_ROUND = 4, /* alternates that go out beside the main key at a time */
    LAN_WATCH_MAX = 32768,    /* watched refs */
    LAN_WATCH_KEYS = 4,       /* keys of one watched ref */
    LAN_TARGETS_MAX = 256,    /* unicast targets */
    LAN_MET_MAX = 256,        /* places where contacts were met */
    LAN_SUBNETS_MAX = 16,
    LAN_SUBNET_HOSTS_MAX = 4096, /* hosts in all subnets together */
    LAN_OUTS_MAX = 8192,
    LAN_EVENTS_MAX = 256,

    LAN_BURST_2_MS = 150,
    LAN_BURST_3_MS = 500,
    LAN_INTERVAL_MS = 60000,
    LAN_JITTER_MS = 12000, /* the interval's ± 20 % */
    LAN_ADD_INTERVAL_MS = 5000,
    LAN_NETWORK_INTERVAL_MS = 300000,
    LAN_NETWORK_JITTER_MS = 60000,
    LAN_PRESENCE_GAP_MS = 1000, /* between beacons because presence changed */
    LAN_GONE_MS = 150000,
    LAN_SWEEP_MS = 300000, /* between two passes over the subnets */
    LAN_SWEEP_BATCH = 32,  /* hosts at a time … */
    LAN_SWEEP_GAP_MS = 50, /* … every so often */

    LAN_NONCE_MS = 3600000,
    LAN_NONCES_MAX = 512, /* remembered for each watched ref; the oldest makes room */

    /* Limits of what is received. Sources are hashed into buckets: neighbours each count
     * alone, others by /32 or /64. A beacon from where a watched one was last seen is
     * checked against that one's keys before any limit, so that a flood from elsewhere
     * does not make known contacts disappear. */
    LAN_SOURCES = 1024,
    LAN_SOURCE_KEY = 17,   /* bytes of what names a source */
    LAN_SOURCE_BURST = 64, /* beacons of one source */
    LAN_SOURCE_PER_S = 8,
    LAN_CHECKS_BURST = 500000, /* checks of one key, of all sources together */
    LAN_CHECKS_PER_S = 100000,
    LAN_WATCH_BURST = 64, /* accepted beacons of one watched ref */
    LAN_WATCH_PER_S = 8,
    LAN_NETWORK_BURST = 2048, /* accepted beacons under the network's key */
    LAN_NETWORK_PER_S = 64,
};

/* One address of one interface. In the list, the interface of the default route stands
 * first of its family: targets beyond every prefix are reached from there. */
struct lan_interface {
    uint32_t ifindex;
    struct addr addr; /* port ignored */
    uint8_t bits;     /* of its prefix */
    bool up;          /* and can multicast */
};

enum lan_kind {
    LAN_CONTACT = 1, /* a contact's device; ref: its row id */
    LAN_INVITE,      /* an open invite of ours; ref: its id */
    LAN_ADDING,      /* a code we hold and try; ref: the caller's */
    LAN_NETWORK,     /* the secret network we are in; ref: 0 */
};

struct lan;

/* NULL: out of memory. env outlives it. Without interfaces and own keys it is silent. */
struct lan *lan_new(const struct env *env);
void lan_free(struct lan *l); /* wipes keys; tolerates NULL */

/* The port told in beacons (TCP, links) and the port of the node's own UDP socket, which
 * all beacons are sent from. A change starts the schedule again; while either is 0
 * nothing is sent. */
void lan_set_ports(struct lan *l, uint16_t link_port, uint16_t udp_port, uint64_t now_ms);
/* The whole list; equal to the last: nothing happens, otherwise the schedule starts
 * again. 0, or ERR_LIMIT: there are more than LAN_IFACES_MAX, the first are used. */
int lan_set_interfaces(struct lan *l, const struct lan_interface *v, size_t n,
                       uint64_t now_ms);
/* Keys of own beacons (wire_beacon_key_*): main of the presence secret, NULL: send none
 * (invisible); alternates of pairs whose contact has not acknowledged the newest presence
 * secret, taken in turn. The first main key starts the schedule. 0, ERR_LIMIT,
 * ERR_NOMEM. */
int lan_set_keys(struct lan *l, const uint8_t main[32], const uint8_t (*alternates)[32],
                 size_t n, uint64_t now_ms);
/* The presence byte; a change is sent soon. */
void lan_set_presence(struct lan *l, uint8_t presence, uint64_t now_ms);
/* Who gets own beacons as unicast: addresses (the other's own UDP port), and every host
 * of subnets at the given port (a slow sweep at start, when a code is added, and every
 * LAN_SWEEP_MS). Both replace the list before. 0, ERR_LIMIT (too many, or subnets too
 * large), ERR_ARG (an address that cannot be dialled); new targets get a beacon at once.
 */
int lan_set_targets(struct lan *l, const struct addr *v, size_t n, uint64_t now_ms);
/* Where devices of contacts were met that have no link: they too get own beacons as
 * unicast, unless their multicast is heard, and they have not said that they do not hear
 * ours. Replaces the list before; new ones get a beacon at once. 0, ERR_LIMIT. */
struct lan_met {
    uint32_t ref; /* of LAN_CONTACT */
    struct addr addr;
};
int lan_set_met(struct lan *l, const struct lan_met *v, size_t n, uint64_t now_ms);
int lan_set_subnets(struct lan *l, const struct prefix *v, size_t n, uint16_t port,
                    uint64_t now_ms);

/* Watches for beacons under these keys (1..LAN_WATCH_KEYS: presence key, pair key …) on
 * behalf of (kind, ref); again for the same (kind, ref): replaces the keys and keeps what
 * was seen. A new LAN_ADDING begins to send. 0, ERR_LIMIT, ERR_NOMEM. */
int lan_watch(struct lan *l, enum lan_kind kind, uint32_t ref, const uint8_t (*keys)[32],
              size_t n, uint64_t now_ms);
/* Sends good-bye beacons (BEACON_FLAG_LEAVE) in place of what waits to be sent, so that
 * contacts without a link need not wait for LAN_GONE_MS. No other beacon of ours is sent
 * until the next lan_set_keys: a beacon behind the good-bye would say that we are there.
 */
void lan_leave(struct lan *l);
/* Our short name under the key of a LAN_NETWORK, which is then watched and begins to send
 * (nothing while there is no main key: invisible). 0, ERR_NOMEM. */
int lan_set_network(struct lan *l, const uint8_t key[32],
                    const uint8_t member[NETKEY_MEMBER], uint64_t now_ms);
/* One beacon under the network's key to the source of another. */
void lan_answer_member(struct lan *l, const struct addr *source);
/* Forgets it, without an event. */
void lan_unwatch(struct lan *l, enum lan_kind kind, uint32_t ref);
/* Whether a contact's device is there (between LAN_SEEN and LAN_GONE). */
bool lan_is_seen(const struct lan *l, uint32_t ref);

/* A datagram from either socket; source with its scope when it is link-local. 0 when it
 * was recognised, ERR_FORMAT (size, or our own), ERR_LIMIT, ERR_AUTH (nobody's),
 * ERR_STALE (nonce known). */
int lan_recv(struct lan *l, const struct addr *source, const uint8_t *p, size_t len,
             uint64_t now_ms);
void lan_tick(struct lan *l, uint64_t now_ms);
uint64_t lan_deadline(const struct lan *l);

/* Sends an open beacon to everybody that own beacons go to, and to hosts of subnets and
 * new targets as long as it is the newest; NULL: no more. */
void lan_open(struct lan *l, const uint8_t *bytes, uint64_t now_ms);
/* Sends one to a single address. */
void lan_open_to(struct lan *l, const uint8_t bytes[WIRE_OPEN], const struct addr *dest);
/* True when a is on the prefix of an interface, or link-local. */
bool lan_is_neighbour(const struct lan *l, const struct addr *a);

/* One datagram to send: from source (port = udp_port) over interface ifindex. */
struct lan_out {
    uint32_t ifindex;
    bool multicast;
    struct addr source, dest;
    uint8_t bytes[WIRE_OPEN];
    size_t len; /* WIRE_BEACON or WIRE_OPEN */
};
bool lan_next_out(struct lan *l, struct lan_out *out);

enum lan_event_type {
    LAN_SEEN = 1, /* a recognised beacon (each one) */
    LAN_GONE,     /* LAN_CONTACT only: nothing for LAN_GONE_MS, or it said good-bye */
};
struct lan_event {
    enum lan_event_type type;
    enum lan_kind kind;
    uint32_t ref;
    /* LAN_SEEN: */
    struct addr addr; /* to dial: the source's ip and the link port it told */
    struct addr source;
    uint8_t member[NETKEY_MEMBER]; /* LAN_NETWORK: who */
    uint8_t presence, flags;
    uint8_t key;  /* which of the watched keys */
    bool first;   /* its beacons have just begun */
    bool changed; /* another address of its family, or another presence, than the last */
};
/* LAN_SEEN of a LAN_INVITE: somebody who holds the code asked; the answer is on its way.
 * LAN_SEEN of a LAN_ADDING: the inviter's answer: dial addr. LAN_SEEN of a LAN_NETWORK:
 * a member is there. */
bool lan_next_event(struct lan *l, struct lan_event *e);

/* Whom a limit counts for an address: neighbours each, others by /32 or /64. */
void lan_source_key(const struct lan *l, const struct addr *a,
                    uint8_t key[LAN_SOURCE_KEY]);

/* The multicast groups, with port, by family (4 or 6). */
void lan_group(uint8_t family, struct addr *out);

#endif
