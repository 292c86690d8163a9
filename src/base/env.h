/* What protocol code may know of the outside world: randomness and the wall clock.
 *
 * Monotonic time is always an argument (now_ms). The simulator gives seeded randomness
 * and a virtual wall clock; the program gives libsodium and the system's clock
 * (env_system). */
#ifndef LINNET_BASE_ENV_H
#define LINNET_BASE_ENV_H

#include <stddef.h>
#include <stdint.h>

struct env {
    void *ctx;
    void (*random)(void *ctx, void *buf, size_t len);
    uint64_t (*wall_us)(void *ctx); /* microseconds since 1970, may jump */
};

/* Fills buf with len random bytes. */
void env_random(const struct env *env, void *buf, size_t len);
/* A uniform number below bound (bound > 0). */
uint32_t env_uniform(const struct env *env, uint32_t bound);
/* Wall clock, microseconds and milliseconds since 1970. */
uint64_t env_wall_us(const struct env *env);
uint64_t env_wall_ms(const struct env *env);

/* The real thing: randombytes_buf and CLOCK_REALTIME. Static, never freed. */
const struct env *env_system(void);
/* CLOCK_MONOTONIC in milliseconds, for the program's outermost files and for tests. */
uint64_t env_mono_ms(void);

#endif
