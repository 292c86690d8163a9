#include "base/env.h"

#include <assert.h>
#include <time.h>

#include <sodium.h>

void env_random(const struct env *env, void *buf, size_t len)
{
    if (len > 0) {
        env->random(env->ctx, buf, len);
    }
}

uint32_t env_uniform(const struct env *env, uint32_t bound)
{
    assert(bound > 0);
    /* Numbers below 2^32 mod bound are drawn again: what is left is a multiple. */
    uint32_t min = (UINT32_MAX - bound + 1) % bound;
    uint32_t v;
    do {
        env_random(env, &v, sizeof v);
    } while (v < min);
    return v % bound;
}

uint64_t env_wall_us(const struct env *env)
{
    return env->wall_us(env->ctx);
}

uint64_t env_wall_ms(const struct env *env)
{
    return env_wall_us(env) / 1000;
}

static void system_random(void *ctx, void *buf, size_t len)
{
    (void)ctx;
    randombytes_buf(buf, len);
}

static uint64_t system_wall_us(void *ctx)
{
    (void)ctx;
    struct timespec ts;
    if (clock_gettime(CLOCK_REALTIME, &ts) != 0 || ts.tv_sec < 0) {
        return 0;
    }
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

const struct env *env_system(void)
{
    static const struct env env = {NULL, system_random, system_wall_us};
    return &env;
}

uint64_t env_mono_ms(void)
{
    struct timespec ts;
    int rc = clock_gettime(CLOCK_MONOTONIC, &ts);
    assert(rc == 0);
    (void)rc;
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}
