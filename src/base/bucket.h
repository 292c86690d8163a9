/* A token bucket: how much of something may happen at once, and how fast it comes back.
 *
 * It counts what was spent, so that a zeroed one is full. Burst and rate are given with
 * each call and stay the same for one bucket. */
#ifndef LINNET_BASE_BUCKET_H
#define LINNET_BASE_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

struct bucket {
    uint64_t at_ms, spent; /* spent: thousandths of a token */
};

/* What a bucket holds when it is full, and how much comes back in how long. */
struct bucket_rate {
    uint64_t burst, tokens, per_ms; /* none is 0 */
};

/* Whether cost tokens are there now; nothing is spent. */
bool bucket_has(struct bucket *b, const struct bucket_rate *r, uint64_t cost,
                uint64_t now_ms);
/* Spends cost tokens; false, and nothing is spent, when there are not so many. */
bool bucket_take(struct bucket *b, const struct bucket_rate *r, uint64_t cost,
                 uint64_t now_ms);

#endif
