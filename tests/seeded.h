/* Randomness from a seed, for tests of one module. */
#ifndef LINNET_TESTS_SEEDED_H
#define LINNET_TESTS_SEEDED_H

#include <stddef.h>

/* SplitMix64, one byte of each number. As env's random: ctx is a uint64_t, the state. */
void seeded(void *ctx, void *buf, size_t len);

#endif
