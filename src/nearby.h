/* People nearby: being visible, and who else is (docs/PROTOCOL.md, "Open beacons").
 *
 * Owns: whether this node is visible and until when, when its open beacons go out and
 * with which nonce, which nonces a stranger's first record may name, and the list of
 * those whose open beacons were heard. Knows neither sockets nor keys: the node sends
 * what nearby_next_out() gives, and tells what has come.
 *
 *   hidden --- nearby_show() ---> visible: beacons at 0, 150, 500 ms, then every 12..18 s
 *   visible -- its time is over, nearby_hide() --> hidden: one beacon that says so
 *
 * Everything heard is hostile: it costs a fixed amount of memory, each source can fill
 * only its share of it, and what it says is shown, never believed. Nothing of it is
 * logged. */
#ifndef LINNET_NEARBY_H
#define LINNET_NEARBY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/env.h"
#include "wire.h"

enum {
    NEARBY_VISIBLE_MS = 10 * 60 * 1000, /* unless it is to stay */
    NEARBY_BURST_2_MS = 150,
    NEARBY_BURST_3_MS = 500,
    NEARBY_INTERVAL_MS = 12000,            /* between beacons, and up to … */
    NEARBY_JITTER_MS = 6000,               /* … so much more */
    NEARBY_NONCE_MS = 60000,               /* one nonce serves so long … */
    NEARBY_NONCE_KEEP_MS = 10 * 60 * 1000, /* … and counts so long after its first use */
    NEARBY_NONCES_MAX = 16,
    NEARBY_GONE_MS = 50000, /* nothing heard for so long */
    NEARBY_MAX = 256,       /* entries in all … */
    NEARBY_SOURCE_MAX = 8,  /* … and of one address */
    NEARBY_OUTS_MAX = 64,
    NEARBY_EVENTS_MAX = 512, /* beyond it one event says that the list has changed */
    NEARBY_SOURCES = 1024,   /* buckets that sources are hashed into */
    NEARBY_SHAKE_SOURCE_BURST = 6, /* handshakes of one address, then one in … */
    NEARBY_SHAKE_SOURCE_MS = 10000,
    NEARBY_SHAKE_BURST = 48, /* of all, then … */
    NEARBY_SHAKE_PER_S = 4,  /* … so many */
};

struct nearby;

/* NULL: out of memory. env outlives it. */
struct nearby *nearby_new(const struct env *env);
void nearby_free(struct nearby *n); /* tolerates NULL */

/* What own open beacons say; nothing is sent before a port and a name are known. */
void nearby_set_self(struct nearby *n, const uint8_t cert[32], const char *name,
                     uint16_t link_port);
void nearby_set_presence(struct nearby *n, uint8_t presence);

/* Becomes visible, or stays so: until until_ms (UINT64_MAX: until nearby_hide). */
void nearby_show(struct nearby *n, uint64_t until_ms, uint64_t now_ms);
void nearby_hide(struct nearby *n, uint64_t now_ms);
/* 0 when hidden. */
uint64_t nearby_until(const struct nearby *n);
/* Interfaces have changed: begins again. */
void nearby_restart(struct nearby *n, uint64_t now_ms);

/* A datagram of WIRE_OPEN bytes. local: the source is private, link-local or on the
 * prefix of an interface, and may be answered. 0, ERR_FORMAT (also our own), ERR_LIMIT.
 */
int nearby_recv(struct nearby *n, const struct addr *source, bool local, const uint8_t *p,
                size_t len, uint64_t now_ms);
void nearby_tick(struct nearby *n, uint64_t now_ms);
uint64_t nearby_deadline(const struct nearby *n);

struct nearby_out {
    bool all; /* to the groups and all single addresses; else to dest */
    struct addr dest;
    uint8_t bytes[WIRE_OPEN];
};
bool nearby_next_out(struct nearby *n, struct nearby_out *out);

/* Somebody whose open beacon was heard. */
struct nearby_person {
    uint32_t number; /* counts up while the program runs */
    uint8_t cert[32], nonce[16];
    struct addr source; /* of the newest beacon */
    uint16_t port;      /* for links */
    uint8_t presence;
    char name[WIRE_NAME_MAX + 1];
    uint64_t first_ms, last_ms;
};
enum nearby_event_type {
    NEARBY_CAME = 1, /* person; also under another name */
    NEARBY_LEFT,     /* person, as it was last */
    NEARBY_NONCES,   /* nearby_nonce_next() gives others than before */
    NEARBY_HIDDEN,   /* the time of visibility is over */
    NEARBY_MANY,     /* events were left out: look at the list */
};
struct nearby_event {
    enum nearby_event_type type;
    struct nearby_person person;
};
bool nearby_next_event(struct nearby *n, struct nearby_event *e);

/* The list, by number; one who is heard at several addresses stands in it once. Start
 * with *pos = 0; NULL at the end. Borrowed until the next call that is not a query. */
const struct nearby_person *nearby_next(const struct nearby *n, size_t *pos);
/* Every address of it, too. */
const struct nearby_person *nearby_next_all(const struct nearby *n, size_t *pos);

/* Whether one more handshake of a stranger from there may be answered now; and that one
 * was. They are limited, each source and all together. */
bool nearby_may_shake(struct nearby *n, const struct addr *source, uint64_t now_ms);
void nearby_shook(struct nearby *n, const struct addr *source, uint64_t now_ms);

/* Nonces of own beacons that still count; none while hidden. ref is never used twice. */
struct nearby_nonce {
    uint32_t ref;
    uint8_t nonce[16];
    uint64_t made_ms;
};
const struct nearby_nonce *nearby_nonce_next(const struct nearby *n, size_t *pos);

#endif
