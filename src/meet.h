/* Meeting through the DHT: whereabouts and knocks (docs/PROTOCOL.md, "Whereabouts").
 *
 * Owns: which mutable items of ours are to be put, where and when; which keys are looked
 * up for whom; which knock slots are polled; what was found. Knows neither sockets nor
 * nodes of the DHT: it hands out requests, and is told what became of each.
 *
 *   own whereabouts   put under our presence secret while we are online, not hidden and
 *                     have an address: at once, when they change, and every 54 to 66 min;
 *                     for the next epoch, too, in the last 30 min of one. What is new is
 *                     looked at once, and put again when it is not there; half an hour
 *                     later it is put back where it has gone. The same, but for that, for
 *                     each open invite, and, under a key of the pair, for each contact
 *                     that has not acknowledged our newest presence secret.
 *   contacts          each that has no link is looked up once after we have come online
 *                     or the network has changed, as soon as our own whereabouts are
 *                     stored (so of two who come at one moment the second finds the
 *                     first), and once when its link was lost. One that is wanted is
 *                     looked up at once and then, until it is reached, after 1 min
 *                     doubling to 4 h.
 *   knocks            who was found and is not reached is knocked at: at once when
 *                     address translation stands before it (within 20 s when it is not
 *                     wanted), else 3 s later, or 10 to 30 s when it is not wanted; then
 *                     after 75 to 94 s, doubling, five times in all.
 * Own slots are polled every 5 s for 2 min after we have come online, the network has
 * changed, an invite was made or a knock was heard, else every 54 to 66 s.
 *
 * Epochs follow the wall clock. A reader near the beginning or end of an epoch looks at
 * the neighbour as well, and who knocks writes there as well, so that clocks may differ
 * by MEET_SKEW_S. Who is looked for again is looked for in neighbours, whatever the time,
 * the first times in both, then in one of them by turns; and who was found in one is
 * knocked at in all three: clocks may be hours apart. When our own clock jumps it is as
 * if we had come online.
 *
 * The seq of whereabouts, and the times of knocks, only grow, over restarts as well and
 * whatever the clock does: the caller keeps the highest that may be in use.
 *
 * Everything found is hostile until its signature and seal are right; then it is what a
 * contact says, who may lie about addresses. Memory is bounded by who is known, requests
 * by the limits below. */
#ifndef LINNET_MEET_H
#define LINNET_MEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "wire.h"

enum {
    MEET_MAX = 32768, /* contacts' devices, invites and codes */

    MEET_SKEW_S = 5400,    /* between two clocks */
    MEET_JUMP_MS = 600000, /* of the clock, against that of the caller */
    MEET_EARLY_S = 1800,   /* before its beginning an epoch is published, too */
    MEET_REFRESH_MS = 3600000,
    MEET_REFRESH_JITTER_MS = 360000, /* ± */
    MEET_SETTLE_MS = 2000,      /* a change of whereabouts waits for more changes … */
    MEET_CHANGE_GAP_MS = 30000, /* … and for so long after the last put */
    MEET_LOOK_MS = 8000,        /* after a put it is looked whether it is there */
    MEET_MEND_MS = 1800000,     /* after a put it is put back where it is gone, ± 10 % */
    MEET_LOOKS_MAX = 3,    /* then it is put again more rarely: 10 min doubling to 1 h */
    MEET_PUBS_MAX = 4,     /* puts of whereabouts, and looks, at one time */
    MEET_OTHER_BURST = 16, /* puts for single contacts and invites at once … */
    MEET_OTHER_HOUR = 24,  /* … and each hour; beyond it they take turns */

    MEET_ARRIVE_GAP_MS = 10000, /* between two changes of the network that count */
    MEET_ROUND_LATE_MS = 30000, /* everybody is looked up after so long all the same */
    MEET_LOST_MIN_MS = 5000, /* from the loss of a link to the look-up, and up to … */
    MEET_LOST_JITTER_MS = 10000, /* … so much more */
    MEET_FINDS_MAX = 4,          /* look-ups at one time */
    MEET_GETS_BURST = 96,        /* gets of look-ups at once … */
    MEET_GETS_KEPT = 16,         /* … of which so many are for who is wanted … */
    MEET_GETS_MIN = 20,          /* … and each minute */
    MEET_AGAIN_MIN_MS = 60000,   /* who is wanted and absent is looked up again */
    MEET_AGAIN_MAX_MS = 4 * 3600000,
    MEET_WIDE_TRIES = 3,    /* the first times in both neighbours of the epoch, too */
    MEET_ADD_MIN_MS = 2000, /* the same of an inviter, who may be leaving word just now */
    MEET_ADD_MAX_MS = 3600000,
    MEET_RETRY_MIN_MS = 15000, /* what could not be asked is asked again */
    MEET_RETRY_MAX_MS = 600000,

    MEET_DIAL_MS = 10000,         /* for dialling, before a knock … */
    MEET_DIAL_WANTED_MS = 3000,   /* … at who is wanted */
    MEET_KNOCK_SPREAD_MS = 20000, /* of knocks at who is not wanted */
    MEET_KNOCK_AGAIN_MS = 75000,
    MEET_KNOCKS = 5,        /* after each time somebody was found */
    MEET_KNOCKS_MAX = 4,    /* at one time */
    MEET_KNOCKS_BURST = 16, /* in all at once … */
    MEET_KNOCKS_MIN = 2,    /* … and each minute */

    MEET_SEQ_SPARE_S = 600,         /* of seq that are taken into use at once */
    MEET_KNOCK_AHEAD_MS = 86400000, /* what counts of a knock's time, before our clock */

    MEET_POLL_FAST_MS = 5000,
    MEET_POLL_FAST_FOR_MS = 120000,
    MEET_POLL_MORE_BURST = 4, /* times that a knock makes it fast again … */
    MEET_POLL_MORE_HOUR = 4,  /* … and each hour */
    MEET_POLL_MS = 60000,
    MEET_POLL_JITTER_MS = 6000, /* ± */
    MEET_POLL_INVITES = 4,      /* in one round; more take turns */

    MEET_ANSWER_MS = 60000, /* a request without an end is given up */
    MEET_EVENTS_MAX = 64,
};

enum meet_kind {
    MEET_CONTACT = 1, /* a contact's device; ref: its row id */
    MEET_INVITE,      /* an open invite of ours; ref: its id */
    MEET_ADDING,      /* a code we hold and try; ref: the caller's */
};

struct meet;

/* NULL: out of memory. env outlives it. */
struct meet *meet_new(const struct env *env);
void meet_free(struct meet *m); /* wipes; tolerates NULL */

/* ---- ourselves ---- */

/* Our device id, and p and the seed of A of our presence secret. When they are others
 * than before, only the new ones are published from now on. */
void meet_set_self(struct meet *m, const uint8_t device[WIRE_ID], const uint8_t p[32],
                   const uint8_t seed[32], uint64_t now_ms);
/* Until now at most this seq was in use: only higher ones are used, and none before
 * meet_seq_kept(). To be called at the start, or never: then all may be used. */
void meet_set_seq(struct meet *m, uint64_t last);
/* What is to be kept, and meet_seq_kept() be told when it is, before anything more is
 * put; 0: nothing. */
uint64_t meet_seq_wanted(const struct meet *m);
void meet_seq_kept(struct meet *m, uint64_t last, uint64_t now_ms);
/* Where we are (its presence secret and time are not looked at). Without any address and
 * relay nothing is published, and nobody is knocked at. */
void meet_set_where(struct meet *m, const struct wire_where *where, uint64_t now_ms);
/* Whether the DHT can be asked; at first not. True again: what could not be asked is
 * asked at once. */
void meet_set_online(struct meet *m, bool online, uint64_t now_ms);
/* Hidden: nothing is published, no slot polled, and only who is wanted knocked at. */
void meet_set_hidden(struct meet *m, bool hidden, uint64_t now_ms);
/* We are somewhere else: as when we come online. */
void meet_network_changed(struct meet *m, uint64_t now_ms);

/* ---- others ---- */

struct meet_contact {
    uint32_t ref;
    uint8_t device[WIRE_ID];
    uint8_t pair[KEYS_PAIR_SECRET];
    bool has_presence; /* one whose A is no key counts as none */
    uint8_t p[32], a[32];
    /* The contact has acknowledged our newest presence secret; of several devices of one
     * account true for all but one: they read the same place. */
    bool acked;
};
/* Adds it, or replaces what is known of it; then again looks once when it has got another
 * presence secret. 0, ERR_LIMIT, ERR_NOMEM. */
int meet_contact(struct meet *m, const struct meet_contact *c, uint64_t now_ms);
/* An open invite of ours: its holder finds us. The same errors. */
int meet_invite(struct meet *m, uint32_t id, const uint8_t secret[32], uint64_t now_ms);
/* A code: its inviter is wanted until meet_forget(). The same errors. */
int meet_adding(struct meet *m, uint32_t ref, const uint8_t secret[32], uint64_t now_ms);
void meet_forget(struct meet *m, enum meet_kind kind, uint32_t ref);
/* A knock of the contact's device with that time was heard before we started. */
void meet_knocked(struct meet *m, uint32_t ref, uint64_t time_ms);
/* Somebody waits for the contact, or not any more. */
void meet_want(struct meet *m, uint32_t contact, bool want, uint64_t now_ms);
/* A link to it is up, or is not any more. */
void meet_reached(struct meet *m, enum meet_kind kind, uint32_t ref, bool reached,
                  uint64_t now_ms);

/* ---- the DHT ---- */

enum meet_out_kind {
    MEET_PUT = 1, /* store (pub, no salt, seq, v, sig) at the nodes nearest to the key */
    MEET_GET,     /* look the key up (no salt) */
    MEET_POLL,    /* the same, but at one of the nodes known to be nearest, another one
                   * each time; a look-up only while none is known */
    MEET_MEND,    /* look the key up, and store what is there where it is missing */
};
struct meet_out {
    enum meet_out_kind kind;
    uint32_t id; /* for the answer */
    uint8_t pub[BLIND_PUB];
    uint64_t seq; /* GET, POLL, MEND: of a value that is known already (0: none) */
    uint8_t sig[BLIND_SIG];
    uint8_t v[WIRE_ITEM_VALUE];
};
bool meet_next_out(struct meet *m, struct meet_out *out);

/* A value found for a request; v is bencoded. There may be several, in any order; each is
 * to be told as it comes. 0, ERR_NOTFOUND (of no request), ERR_AUTH (signature or seal),
 * ERR_FORMAT, ERR_STALE (known, or older than what is). */
int meet_value(struct meet *m, uint32_t id, uint64_t seq, const uint8_t *v, size_t len,
               const uint8_t sig[BLIND_SIG], uint64_t now_ms);
/* The request has ended: the nodes it was for answered (PUT: at least one has stored it),
 * or could not be asked. rival_seq: of PUT, 0, or nothing was stored since another value
 * stands there with this seq, which is that of the put or higher, and proved: a seq that
 * a node only names is none. */
enum meet_end { MEET_ANSWERED = 1, MEET_UNASKED };
void meet_done(struct meet *m, uint32_t id, enum meet_end end, uint64_t rival_seq,
               uint64_t now_ms);

/* ---- what comes of it ---- */

enum meet_event_type {
    MEET_WHERE = 1, /* it is (or was within the hour) there: dial, or punch */
    MEET_KNOCK,     /* it is there and wants to reach us: dial, or punch; now */
    MEET_ABSENT,    /* looked for, and it has left no word */
    MEET_UNKNOWN,   /* it could not be looked for: the DHT did not answer */
};
struct meet_event {
    enum meet_event_type type;
    enum meet_kind kind;
    uint32_t ref;
    struct wire_where where; /* WHERE, KNOCK; without presence secret */
    bool reached;            /* KNOCK: it had been by then: nothing is to be done */
};
bool meet_next_event(struct meet *m, struct meet_event *e);
/* Of what type the last event of that one was; false: there was none. */
bool meet_last(const struct meet *m, enum meet_kind kind, uint32_t ref,
               enum meet_event_type *out);

void meet_tick(struct meet *m, uint64_t now_ms);
uint64_t meet_deadline(const struct meet *m);

struct meet_stats {
    size_t known;               /* contacts' devices, invites, codes */
    uint64_t puts, gets, polls; /* requests handed out; gets: and mends */
    uint64_t knocks;            /* of the puts */
    uint64_t refused;           /* values that were not what they should be */
    uint64_t seq;               /* the highest that was used */
    bool published;             /* our present whereabouts are stored, and kept up */
};
void meet_stats(const struct meet *m, struct meet_stats *out);

#endif
