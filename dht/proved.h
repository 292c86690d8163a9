/* Which addresses have shown lately that they receive what is sent to them: nobody else
 * is behind what comes from there. A cache: when it is full, newer ones push out older
 * ones, which have to show it again. */
#ifndef LINNET_DHT_PROVED_H
#define LINNET_DHT_PROVED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/env.h"

enum {
    PROVED_SLOTS_MIN = 16,
    PROVED_SLOTS_MAX = 8192,
    PROVED_WAYS = 4,            /* places that an address may take */
    PROVED_MS = 10 * 60 * 1000, /* how long it counts */
    PROVED_SEED_LEN = 16,
};

struct proved_slot {
    uint32_t tag, until_s;
};

struct proved {
    struct proved_slot *slots;
    size_t n; /* a power of two */
    uint8_t seed[PROVED_SEED_LEN];
};

void proved_init(struct proved *p, const struct env *env);
void proved_release(struct proved *p);
/* The address has proved itself; without memory it is forgotten. */
void proved_add(struct proved *p, const struct addr *a, uint64_t now_ms);
bool proved_has(const struct proved *p, const struct addr *a, uint64_t now_ms);
/* Bytes of memory it holds. */
size_t proved_memory(const struct proved *p);

#endif
