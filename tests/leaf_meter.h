/* What the datagrams of somebody in the DHT were for. Its keys are known here, so each
 * query says by its target whose matter it is, and each answer by its transaction id. */
#ifndef LINNET_TESTS_LEAF_METER_H
#define LINNET_TESTS_LEAF_METER_H

#include "base/map.h"
#include "crypto/blind.h"
#include "dht/krpc.h"
#include "seed.h"

enum meter_cause {
    METER_TABLE,   /* whom it knows: find_node and ping */
    METER_PUBLISH, /* its own whereabouts */
    METER_FIND,    /* whereabouts of contacts */
    METER_POLL,    /* its own knock slots */
    METER_KNOCK,   /* those of contacts */
    METER_ANSWER,  /* queries of others */
    METER_OTHER,   /* beacons, and what nobody waited for */
    METER_CAUSES,
};

enum { METER_WAITING = 1024 };

struct meter_sum {
    uint64_t out, in, out_bytes, in_bytes; /* bytes without headers */
};

struct meter {
    const struct seed_person *me, *contacts;
    size_t n;
    const struct env *env;
    uint64_t until_s; /* when the targets are to be made anew */
    struct map targets;
    struct {
        uint8_t tid[4];
        uint8_t cause;
    } waiting[METER_WAITING]; /* the newest */
    size_t next;
    struct meter_sum sum[METER_CAUSES];
    /* When each of its own slots was asked for last, and the longest that none was. */
    uint64_t polled_ms[BLIND_KNOCK_SLOTS], longest_ms;
};

/* env gives the wall clock; all pointers outlive it. */
void meter_init(struct meter *m, const struct env *env, const struct seed_person *me,
                const struct seed_person *contacts, size_t n);
void meter_release(struct meter *m);
/* As lw_person.meter; ctx is the meter. */
void meter_datagram(void *ctx, bool out, const struct addr *a, const uint8_t *p,
                    size_t len, uint64_t now_ms);
const char *meter_name(enum meter_cause cause);

#endif
