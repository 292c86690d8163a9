/* Peers: for each known device, its addresses, whether and when to dial, which link is
 * the one. Knows no bytes: links are named by their carrier's number (conn).
 *
 * Dialled are: a device that something waits for; one whose digest is unknown since it
 * was seen last (a beacon after silence); one that is called, until each address has been
 * tried; any seen one while fewer than PEER_LINKS_FREE
 * links are up. Where PEER_LINKS_FREE or more are seen, one whose beacons begin is
 * dialled after a random part of PEER_SPREAD_MS for each of them, unless something waits
 * for it: all who are there see it begin at once. Failures back off, per device,
 * PEER_RETRY_MIN_MS doubling to PEER_RETRY_MAX_MS with jitter; a beacon or a new address
 * resets that. Addresses are tried newest first, one at a time, PEER_ADDR_MS apart, at
 * most PEER_ADDRS of them.
 *
 * Links are held as far as they are needed: while more than PEER_LINKS_FREE are up, one
 * that was of no use for PEER_IDLE_MS is to be closed (CLOSE_IDLE), the longest unused
 * first, when nothing waits for the device and its beacons tell that it is there. Neither
 * side then dials the other for the mere sake of a link: the one that was sent away not
 * until its beacons have begun again, the one that closed not before fewer than
 * PEER_LINKS_FEW are up.
 *
 * Two links of one device: the newer completed handshake replaces the older (the other
 * side may have lost power); when both completed within PEER_RACE_MS, the one whose
 * dialler has the smaller static key stays. */
#ifndef LINNET_PEER_H
#define LINNET_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/env.h"

enum {
    PEER_LINKS_FREE = 16,
    PEER_LINKS_FEW = 8,
    PEER_IDLE_MS = 30000,
    PEER_LINKS_MANY = 64,
    PEER_IDLE_MANY_MS = 3000, /* while more than that are up */
    PEER_SPREAD_MS = 10,      /* for each device that is seen */
    PEER_ADDRS = 8,
    PEER_ADDR_MS = 1500,
    PEER_RETRY_MIN_MS = 500,
    PEER_RETRY_MAX_MS = 60000,
    PEER_RACE_MS = 5000,
    PEER_GONE_MS = 150000, /* no beacon for so long: offline */
    PEER_MAX = 32768,
};

struct peers;

/* own_static: 32 bytes, for the race rule. */
struct peers *peers_new(const struct env *env, const uint8_t own_static[32]);
void peers_free(struct peers *p);

/* A device that may be dialled. 0, ERR_LIMIT, ERR_NOMEM, ERR_EXISTS. */
int peers_add(struct peers *p, uint32_t ref, const uint8_t stat[32]);
void peers_del(struct peers *p, uint32_t ref);

/* An address to try. From a beacon: seen is true (the device is alive there now). */
void peers_addr(struct peers *p, uint32_t ref, const struct addr *a, bool seen,
                uint64_t now_ms);
/* Its beacons have ended. */
void peers_gone(struct peers *p, uint32_t ref, uint64_t now_ms);
/* Something waits for the device, or nothing any more. */
void peers_want(struct peers *p, uint32_t ref, bool want, uint64_t now_ms);
/* A link is wanted once, while the device is seen: it has something to tell. */
void peers_ask(struct peers *p, uint32_t ref, uint64_t now_ms);
/* It is said to be at its addresses now, or was not long ago: each of them is tried once,
 * also when it is not seen and nothing waits for it. */
void peers_call(struct peers *p, uint32_t ref, uint64_t now_ms);
/* Others wait for the device: as peers_want(), beside it, each for itself. */
enum peer_hold {
    PEER_HOLD_PERSON = 1,
    PEER_HOLD_FILE = 2,  /* a file that it offers */
    PEER_HOLD_FILES = 4, /* files that its account takes */
};
void peers_hold(struct peers *p, uint32_t ref, enum peer_hold why, bool hold,
                uint64_t now_ms);
/* Something waits for it, by either of these. */
bool peers_wanted(const struct peers *p, uint32_t ref);
/* The network has changed: try all again. */
void peers_network_changed(struct peers *p, uint64_t now_ms);

/* A dial given out by next_out failed or its link ended before it was up. */
void peers_dial_failed(struct peers *p, uint32_t ref, uint32_t conn, uint64_t now_ms);
/* A link of the device is up. Returns the conn that is to be closed (CLOSE_REPLACED): the
 * older one, the new one itself, or 0. */
uint32_t peers_link_up(struct peers *p, uint32_t ref, uint32_t conn, bool we_dialled,
                       uint64_t now_ms);
/* Something went over the device's link that others than the link itself asked for. */
void peers_used(struct peers *p, uint32_t ref, uint64_t now_ms);
/* Why a link that was up has ended. */
enum peer_end {
    PEER_END_CUT,  /* without a word, or with one that asks for another link */
    PEER_END_OURS, /* no redial is wanted at once (shutdown, replaced) */
    PEER_END_IDLE, /* the peer sent CLOSE_IDLE */
};
void peers_link_down(struct peers *p, uint32_t ref, uint32_t conn, enum peer_end why,
                     uint64_t now_ms);

/* The conn of the device's one link, 0 when none is up. */
uint32_t peers_link(const struct peers *p, uint32_t ref);
/* Linked, or seen within PEER_GONE_MS. */
bool peers_online(const struct peers *p, uint32_t ref);
/* The addresses, newest first; returns how many (at most max). */
size_t peers_addrs(const struct peers *p, uint32_t ref, struct addr *out, size_t max);

void peers_tick(struct peers *p, uint64_t now_ms);
uint64_t peers_deadline(const struct peers *p);
struct peer_out { /* dial this; the node gives it a conn and tells it */
    uint32_t ref;
    struct addr addr;
    uint32_t drop; /* 0, or the dial before this one, which took too long: end it first */
};
bool peers_next_out(struct peers *p, struct peer_out *out);
void peers_dialling(struct peers *p, uint32_t ref, uint32_t conn);
/* A link that is to be closed with CLOSE_IDLE: its conn; 0 when there is none. */
uint32_t peers_next_idle(struct peers *p);
/* How many links are up. */
size_t peers_links(const struct peers *p);
/* online ↔ offline. */
struct peer_event {
    uint32_t ref;
    bool online;
};
bool peers_next_event(struct peers *p, struct peer_event *ev);

#endif
