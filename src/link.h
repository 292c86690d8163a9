/* The link: Noise over one carrier, an ordered stream of bytes (docs/PROTOCOL.md,
 * "Link").
 *
 *   dialler                                listener
 *   HS1 --- record 1 --->                  WAIT1 (reads to the fixed size; no match:
 * silence, HS2 <-- record 2 ----                         closes after a random delay)
 *   (XX: --- record 3 --->                 HS3; with and without psk)
 *   UP  --- transport ...                  CONFIRM until the first transport frame opens,
 * then UP
 *
 * An inviter who cannot be dialled calls: it makes the carrier and sends one record, a
 * call, that only who holds the code recognises. From there on it is the listener, and
 * the other side the dialler:
 *
 *   listener (link_call)                   dialler
 *   WAIT1 --- call --->                    WAIT1 (as above), then HS1, HS2
 *
 * A link owns the handshake, the framing, padding, classes, keepalive, rekey, the new
 * handshake in place, and CLOSE. It does not know what frames above type 15 mean.
 * Candidates (whose first record or call we would answer) are lent to it by the node as
 * a keyring. Nothing is allocated for the session, and no event is given, before the
 * dialler has proved itself.
 *
 * Shape: recv, tick, deadline, next_out, next_event. */
#ifndef LINNET_LINK_H
#define LINNET_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/bucket.h"
#include "base/env.h"
#include "crypto/keys.h"
#include "wire.h"

enum {
    LINK_HANDSHAKE_MS = 10000, /* from open to UP */
    LINK_SILENCE_MIN_MS = 500, /* an unrecognised listener's carrier ends after */
    LINK_SILENCE_MAX_MS = 5000,
    LINK_KEEPALIVE_MS = 60000, /* sent when nothing else was for so long */
    LINK_DEAD_MS = 150000,     /* nothing received for so long: a cut */
    LINK_REHANDSHAKE_MS = 15 * 60 * 1000,
    LINK_REHANDSHAKE_WAIT_MS = 30000, /* for its answer */
    LINK_CLOSE_MS = 5000,             /* for our CLOSE to leave */
    LINK_INFLIGHT_MAX = 256 * 1024,   /* handed to the carrier, not yet gone */
    LINK_QUEUE_MAX = 4 * 1024 * 1024, /* bytes waiting in one class */
    LINK_RX_MAX = 4 * 1024 * 1024,    /* opened frames that wait to be taken */
    LINK_TAGS = 64,                   /* tags remembered for each candidate */
    LINK_CANDIDATES_MAX = 32768,
    /* A first record is tried against every candidate, at about a microsecond each. Who
     * comes from where a candidate was met last is tried against that one first, and
     * that is not counted; the rest is, for each source (/32, /64; hashed into buckets)
     * and in all, and beyond it the record is taken for a stranger's. */
    LINK_TRIAL_SOURCES = 256,
    LINK_TRIALS_SOURCE_BURST = 131072,
    LINK_TRIALS_SOURCE_PER_S = 25000,
    LINK_TRIALS_BURST = 500000,
    LINK_TRIALS_PER_S = 100000,
    LINK_HINTS = 4,             /* candidates remembered for one address, or for few */
    LINK_NETWORK_NAME_MAX = 64, /* bytes of a secret network's name */
};
enum { LINK_COUNTER_AHEAD_US = 86400000000 }; /* see link_counter_fresh */

enum carrier { CARRIER_TCP = 1, CARRIER_UDP = 2 };

enum link_kind {
    LINK_CONTACT = 1,  /* KKpsk0 */
    LINK_INVITE = 2,   /* XXpsk0 under an invite's secret */
    LINK_NETWORK = 3,  /* XXpsk0 under the key of a secret network */
    LINK_STRANGER = 4, /* XX, to who was seen in an open beacon */
    /* Never a link's own: a candidate whose call we take, keys as when dialling its
     * inviter. The link then is LINK_INVITE, its ref the candidate's, and we dialled. */
    LINK_CALL = 5,
};

/* Who we are. Borrowed by links for their life (of the network's name only what the
 * handshake needs). */
struct link_self {
    const struct env *env;
    uint8_t root[KEYS_ROOT], stat_sec[32], stat_pub[32];
    uint8_t cert[KEYS_CERT_MAX];
    size_t cert_len;
    char network[LINK_NETWORK_NAME_MAX]; /* the secret network's name, in the prologue */
    size_t network_len;
};

/* Somebody whose first record we answer (keys: the peer dials), or whom we dial (keys: we
 * dial). */
struct link_candidate {
    enum link_kind kind;
    uint32_t ref; /* device row, invite id, number of a beacon's nonce; 0 of a network;
                   * of a call what the code is known by */
    struct link_keys keys;
    uint8_t remote_static[32];         /* LINK_CONTACT */
    uint8_t remote_root[KEYS_ROOT];    /* CONTACT, CALL, and INVITE when dialling */
    uint8_t cert_hash[KEYS_CERT_HASH]; /* LINK_STRANGER when dialling: who was chosen */
    uint64_t counter_seen;             /* LINK_CONTACT: newest of record 1 */
    uint8_t (*tags)[KEYS_TAG];         /* the keyring's; NULL while there are none */
    unsigned n_tags, cap_tags, next_tag;
};

/* Who was met at an address. */
struct link_hint {
    uint64_t address; /* hashed */
    enum link_kind kind;
    uint32_t ref; /* 0: free */
};

/* The listener's candidates, in the order of their kinds. The node owns and changes it;
 * links hold the pointer, never a candidate's. */
struct keyring {
    struct link_candidate *v;
    size_t n, cap;
    struct link_hint (*hints)[LINK_HINTS]; /* cap sets */
    struct bucket trials, sources[LINK_TRIAL_SOURCES];
};
/* Adds or replaces (kind, ref). 0, ERR_LIMIT, ERR_NOMEM. Keeps tags of a replaced one
 * whose keys are the same. */
int keyring_put(struct keyring *k, const struct link_candidate *c);
void keyring_del(struct keyring *k, enum link_kind kind, uint32_t ref);
struct link_candidate *keyring_get(const struct keyring *k, enum link_kind kind,
                                   uint32_t ref);
/* The candidate was met at that address (its port does not matter). */
void keyring_met(struct keyring *k, enum link_kind kind, uint32_t ref,
                 const struct addr *at);
void keyring_release(struct keyring *k);

/* counter > min(seen, wall_us + LINK_COUNTER_AHEAD_US). */
bool link_counter_fresh(uint64_t counter, uint64_t seen, uint64_t wall_us);

struct link;

/* A dialler's link over a fresh carrier. counter is what record 1 carries.
 * as->keys.k_*[0] are the dialler's direction. NULL: out of memory or unusable keys. */
struct link *link_dial(const struct link_self *self, const struct link_candidate *as,
                       enum carrier carrier, uint64_t counter, uint64_t now_ms);
/* A listener's link. ring must outlive it. */
struct link *link_listen(const struct link_self *self, struct keyring *ring,
                         enum carrier carrier, uint64_t now_ms);
/* A listener's link over a carrier that we have made: calls who holds the code of the
 * invite with that ref, the only one of the ring that is then answered. */
struct link *link_call(const struct link_self *self, struct keyring *ring, uint32_t ref,
                       enum carrier carrier, uint64_t now_ms);
/* Where a listener's carrier comes from; to be told before its first bytes. */
void link_set_source(struct link *l, const struct addr *from);
void link_free(struct link *l); /* wipes; tolerates NULL */

/* A listener answers no stranger (LINK_STRANGER) as long as skip is true: too many came,
 * or too many from there. To be said before the bytes are given. */
void link_skip_strangers(struct link *l, bool skip);

/* Bytes from the carrier. 0, or negative when the link is over (a LINK_CLOSED event
 * follows; the listener's silence is not an error: bytes are swallowed). Events are to be
 * taken after each call: more than LINK_RX_MAX bytes of them end the link. */
int link_recv(struct link *l, const uint8_t *p, size_t n, uint64_t now_ms);
void link_tick(struct link *l, uint64_t now_ms);
uint64_t link_deadline(const struct link *l);
/* Bytes for the carrier, at most cap (≥ 65,600 to make progress). Returns the length, 0
 * when there is nothing or LINK_INFLIGHT_MAX is out. Frames waiting in a class go out in
 * class order, many in one transport body. To be called until it gives 0 after every
 * other call, once the events have been taken. */
size_t link_next_out(struct link *l, uint8_t *out, size_t cap, uint64_t now_ms);
/* The carrier got rid of n bytes of those. */
void link_sent(struct link *l, size_t n);

enum link_class { LINK_CONTROL, LINK_CHAT, LINK_CLASSES };
/* Queues one frame (copied). Only in UP. 0, ERR_LIMIT (LINK_QUEUE_MAX), ERR_STATE,
 * ERR_NOMEM. */
int link_send(struct link *l, enum link_class cls, enum frame_type type,
              const uint8_t *payload, size_t len);
/* Bytes that may still be queued in a class before it holds more than a good buffer
 * (LINK_INFLIGHT_MAX): replication fills up to this. */
size_t link_room(const struct link *l, enum link_class cls);
/* File data is never queued: it is asked for when nothing else is to be sent and the
 * carrier has taken all there was, so that whatever comes next waits for one body. True
 * then: frames (of any type from 16 on) are to be written into w, which lies in out (cap
 * as for link_next_out), and link_bulk_end() called, nothing else between the two. That
 * gives the length, 0 when nothing was written or the link has ended. */
bool link_bulk_begin(const struct link *l, uint8_t *out, size_t cap, struct wr *w);
size_t link_bulk_end(struct link *l, uint8_t *out, const struct wr *w, uint64_t now_ms);
/* Ends the link: with a CLOSE frame when the session is up (frames queued before are
 * sent first), else at once. A LINK_CLOSED event follows when all is out (link_sent) or
 * LINK_CLOSE_MS have passed; frames that come in are no longer given. */
void link_close(struct link *l, enum close_code code, uint64_t now_ms);

enum link_event_kind {
    LINK_EV_UP,      /* proved on both sides; frames may be sent */
    LINK_EV_FRAME,   /* a frame of type ≥ 16 */
    LINK_EV_CLOSED,  /* the last event: the carrier is to be closed, the link freed */
    LINK_EV_COUNTER, /* a listener accepted a contact's record 1; the candidate's
                      * counter_seen is now this (at most a day ahead of our clock) */
};
struct link_event {
    enum link_event_kind kind;
    uint8_t type;           /* FRAME */
    const uint8_t *payload; /* FRAME; dies with the next call */
    size_t len;
    unsigned code;    /* CLOSED: enum close_code; CLOSE_NORMAL with cut */
    bool cut;         /* CLOSED without an authenticated CLOSE */
    bool by_peer;     /* CLOSED by the peer's CLOSE */
    uint64_t counter; /* COUNTER */
};
bool link_next_event(struct link *l, struct link_event *ev);

/* The carrier has ended. */
void link_carrier_closed(struct link *l, uint64_t now_ms);

/* What is known once the candidate is: kind 0 before. */
enum link_kind link_kind(const struct link *l);
uint32_t link_ref(const struct link *l);
bool link_is_up(const struct link *l);
bool link_is_dialler(const struct link *l);
/* A listener that has not yet recognised anybody: the first to go under pressure. */
bool link_is_half_open(const struct link *l);
/* 64 bytes, of the link's first handshake: the same for its whole life. */
const uint8_t *link_hash(const struct link *l);
const uint8_t *link_remote_static(const struct link *l); /* 32 bytes */
/* All kinds but LINK_CONTACT, in UP: the peer's certificate, verified, its static the
 * handshake's. */
const struct cert *link_remote_cert(const struct link *l, const uint8_t **bytes,
                                    size_t *len);

#endif
