/* A secret network (an office): who of its members we do not know yet, and when to dial
 * them (docs/PROTOCOL.md, "A secret network"). Knows no bytes and no contacts: it is told
 * which devices are known, which members beacons and contacts have named, and what became
 * of the dials it asked for.
 *
 * Of two members the one with the smaller short name dials, within NETWORK_SPREAD_MS; the
 * other one only after NETWORK_LATE_MS, when that has come to nothing. Dials that failed
 * back off to NETWORK_RETRY_MAX_MS; who refused is left alone for NETWORK_REFUSED_MS.
 * What is remembered of unknown members is bounded in all and for each source. */
#ifndef LINNET_NETWORK_H
#define LINNET_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/env.h"
#include "crypto/netkey.h"

enum {
    NETWORK_MEMBERS_MAX = 1024, /* unknown members remembered */
    NETWORK_SOURCE_MAX = 64,    /* of them, named by one source */
    NETWORK_ADDRS = 2,          /* addresses kept of each */
    NETWORK_KNOWN_MAX = 65536,  /* devices that are known */
    NETWORK_DIALS_MAX = 8,      /* dials at one time */
    NETWORK_DIAL_MS = 20000,    /* from the dial to its end; then it is given up */
    NETWORK_SPREAD_MS = 400,
    NETWORK_LATE_MS = 8000,
    NETWORK_RETRY_MIN_MS = 1000,
    NETWORK_RETRY_MAX_MS = 600000,
    NETWORK_BUSY_MAX_MS = 30000, /* the same of who had no room */
    NETWORK_REFUSED_MS = 3600000,
    NETWORK_ANSWER_MS = 5000, /* between two answers to one member's beacons */
    NETWORK_TRIES_MAX = 12,   /* then it is forgotten, until it is named again */
    NETWORK_NEW_BURST = 512,  /* contacts made through the network at once … */
    NETWORK_NEW_HOUR = 512,   /* … and each hour */
    NETWORK_NEW_SOURCE = 32,  /* the same from one source */
    NETWORK_SOURCES = 1024,   /* counted */
    NETWORK_SOURCE_KEY = 17,  /* bytes of what names a source */
    NETWORK_TOLD_BURST = 128, /* dials to addresses that members told, at once … */
    NETWORK_TOLD_PER_S = 4,   /* … and each second */
};

struct network;

/* own: our device id. NULL: out of memory. */
struct network *network_new(const struct env *env, const uint8_t key[NETKEY],
                            const uint8_t own[32]);
void network_free(struct network *w); /* wipes; tolerates NULL */

/* Our short name. */
const uint8_t *network_member(const struct network *w);
/* A device that is known (a contact's, also a removed or blocked one's): it is not
 * dialled and its beacons mean nothing. 0, ERR_LIMIT, ERR_NOMEM. */
int network_know(struct network *w, const uint8_t device[32]);

/* A member's beacon; at: where it is to be dialled; source: whom it counts for
 * (lan_source_key). True: it wants to know that we are here, since it is the one to
 * dial. */
bool network_heard(struct network *w, const uint8_t member[NETKEY_MEMBER],
                   const struct addr *at, const uint8_t source[NETWORK_SOURCE_KEY],
                   uint64_t now_ms);
/* A contact told where a member is. */
void network_told(struct network *w, const uint8_t device[32], const struct addr *at,
                  const uint8_t source[NETWORK_SOURCE_KEY], uint64_t now_ms);
/* Whether a member that we do not know yet is to be dialled there (port ignored). */
bool network_names(const struct network *w, const struct addr *a);

/* One more contact through the network, from this source? False: too many lately. */
bool network_admit(struct network *w, const uint8_t source[NETWORK_SOURCE_KEY],
                   uint64_t now_ms);

struct network_out { /* dial this, or end that dial */
    bool give_up;    /* conn took too long */
    uint32_t conn;
    uint32_t ref; /* names the dial in network_dialling */
    struct addr addr;
};
bool network_next_out(struct network *w, struct network_out *out);
/* The conn of a dial; 0: it could not be made. */
void network_dialling(struct network *w, uint32_t ref, uint32_t conn, uint64_t now_ms);
/* It has ended. refused: the member said so; a member that became known meanwhile is
 * forgotten whatever the end. */
enum network_end { NETWORK_FAILED, NETWORK_BUSY, NETWORK_REFUSED };
void network_over(struct network *w, uint32_t conn, enum network_end end,
                  uint64_t now_ms);

void network_tick(struct network *w, uint64_t now_ms);
uint64_t network_deadline(const struct network *w);
/* Unknown members at present. */
size_t network_count(const struct network *w);

#endif
