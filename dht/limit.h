/* How often something may happen for each of very many keys (addresses), in little
 * memory.
 *
 * Each key has a place in two rows, found by a keyed hash. A place holds the time at
 * which what was taken there is paid back; the earlier of the two counts. So a key is
 * refused when it took too much itself, or when others did in both of its places, which
 * is rare: the rows grow with the load, at most to LIMIT_SLOTS_MAX. Nothing is allocated
 * before the first use, and there is nothing that a flood of forged addresses could push
 * out. */
#ifndef LINNET_DHT_LIMIT_H
#define LINNET_DHT_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"

enum { LIMIT_SLOTS_MIN = 32, LIMIT_SLOTS_MAX = 32768, LIMIT_SEED_LEN = 16 };

struct limit {
    uint64_t *slots; /* two rows */
    size_t n;        /* slots of a row, a power of two */
    uint8_t seed[LIMIT_SEED_LEN];
    uint32_t gap_ms, burst; /* one each gap_ms, and so many at once; gap 0: no limit */
    uint64_t window_ms;     /* the second in which taken is counted */
    size_t taken;
};

void limit_init(struct limit *l, const struct env *env, uint32_t gap_ms, uint32_t burst);
void limit_release(struct limit *l);
/* Takes one for this key; false when it has none left, or without memory. */
bool limit_take(struct limit *l, const void *key, size_t key_len, uint64_t now_ms);
/* Bytes of memory it holds. */
size_t limit_memory(const struct limit *l);

#endif
