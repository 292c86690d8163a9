#include <criterion/criterion.h>
#include <string.h>

#include "base/env.h"
#include "base/err.h"

/* Gives the numbers of a list, then zeros. */
static void listed(void *ctx, void *buf, size_t len)
{
    uint32_t **next = ctx;
    memset(buf, 0, len);
    memcpy(buf, (*next)++, len < sizeof **next ? len : sizeof **next);
}

static uint64_t fixed_wall(void *ctx)
{
    (void)ctx;
    return 1234567;
}

Test(env, uniform_draws_again_what_would_be_biased)
{
    /* 2^32 mod 3 = 1: a 0 is drawn again. */
    uint32_t numbers[] = {0, 0, 7, 8, 0, 9}, *next = numbers;
    struct env env = {&next, listed, fixed_wall};
    cr_assert_eq(env_uniform(&env, 3), 1);
    cr_assert_eq(env_uniform(&env, 3), 2);
    cr_assert_eq(env_uniform(&env, 3), 0);
    cr_assert_eq(next, numbers + 6);
}

Test(env, uniform_of_one_is_zero)
{
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(env_uniform(env_system(), 1), 0);
        cr_assert_lt(env_uniform(env_system(), 10), 10);
        cr_assert_lt(env_uniform(env_system(), UINT32_MAX), UINT32_MAX);
    }
}

Test(env, wall_clock_units)
{
    struct env env = {NULL, listed, fixed_wall};
    cr_assert_eq(env_wall_us(&env), 1234567);
    cr_assert_eq(env_wall_ms(&env), 1234);
    cr_assert_gt(env_wall_ms(env_system()), UINT64_C(1600000000000));
    uint64_t first = env_mono_ms();
    cr_assert_leq(first, env_mono_ms());
}

Test(env, system_randomness_differs)
{
    uint8_t a[32], b[32];
    env_random(env_system(), a, sizeof a);
    env_random(env_system(), b, sizeof b);
    cr_assert_neq(memcmp(a, b, sizeof a), 0);
    env_random(env_system(), NULL, 0);
}

Test(err, every_value_has_a_phrase_of_its_own)
{
    for (int e = ERR_TIMEOUT; e < 0; e++) {
        cr_assert_str_neq(err_str(e), err_str(-1000), "%d", e);
        for (int f = e + 1; f <= 0; f++) {
            cr_assert_str_neq(err_str(e), err_str(f), "%d and %d", e, f);
        }
    }
}
