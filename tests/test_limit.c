#include <criterion/criterion.h>
#include <sodium.h>
#include <string.h>

#include "dht/limit.h"
#include "dht/proved.h"
#include "seeded.h"

static uint64_t state;
static const struct env env = {.ctx = &state, .random = seeded};

static void start(void)
{
    cr_assert(sodium_init() >= 0);
    state = 1;
}

TestSuite(limit, .init = start);
TestSuite(proved, .init = start);

static struct addr nth(uint32_t n)
{
    return (struct addr){.family = 4,
                         .ip = {20, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n},
                         .port = 6881};
}

static unsigned take(struct limit *l, uint32_t key, unsigned times, uint64_t now_ms)
{
    unsigned got = 0;
    for (unsigned i = 0; i < times; i++) {
        got += limit_take(l, &key, sizeof key, now_ms);
    }
    return got;
}

Test(limit, a_burst_and_then_a_rate)
{
    struct limit l;
    limit_init(&l, &env, 100, 50);
    cr_assert_eq(limit_memory(&l), 0, "nothing before the first use");
    cr_assert_eq(take(&l, 7, 80, 1000), 50);
    cr_assert_eq(take(&l, 8, 80, 1000), 50, "another key has its own");
    cr_assert_eq(take(&l, 7, 9, 1099), 0);
    cr_assert_eq(take(&l, 7, 9, 1100), 1);
    cr_assert_eq(take(&l, 7, 99, 2100), 10);
    unsigned got = 0;
    for (uint64_t ms = 2100; ms < 12100; ms++) {
        got += take(&l, 7, 1, ms);
    }
    cr_assert(got >= 99 && got <= 101, "%u in 10 s", got);
    cr_assert_eq(take(&l, 7, 80, 60000), 50, "all is back");
    limit_release(&l);
}

Test(limit, none)
{
    struct limit l;
    limit_init(&l, &env, 0, 1);
    cr_assert_eq(take(&l, 7, 10000, 0), 10000);
    cr_assert_eq(limit_memory(&l), 0);
    limit_release(&l);
}

/* Neither many who ask nor one who floods take anything from the others. */
Test(limit, many_keys)
{
    enum { KEYS = 20000 };
    struct limit l;
    unsigned refused = 0;
    limit_init(&l, &env, 100, 50);
    for (uint64_t s = 0; s < 20; s++) {
        for (uint32_t key = 0; key < KEYS; key++) {
            uint64_t now_ms = s * 1000 + key / (KEYS / 1000);
            (void)take(&l, KEYS, 1, now_ms);
            refused += take(&l, key, 1, now_ms) == 0;
        }
    }
    cr_assert_eq(refused, 0, "%u", refused);
    cr_assert_eq(take(&l, KEYS, 100, 19999), 0, "who floods is limited");
    cr_assert_leq(limit_memory(&l), 2 * LIMIT_SLOTS_MAX * sizeof(uint64_t));
    limit_release(&l);
}

/* Growing forgives nothing. */
Test(limit, what_was_taken_stays_taken)
{
    struct limit l;
    limit_init(&l, &env, 1000, 5);
    cr_assert_eq(take(&l, 1, 9, 0), 5);
    size_t before = limit_memory(&l);
    for (uint32_t key = 100; key < 3000; key++) {
        (void)take(&l, key, 1, 0);
    }
    cr_assert_gt(limit_memory(&l), before);
    cr_assert_eq(take(&l, 1, 9, 0), 0);
    limit_release(&l);
}

/* More addresses than the rows can tell apart: memory stays what it is. */
Test(limit, a_flood_of_forged_addresses)
{
    struct limit l;
    limit_init(&l, &env, 100, 50);
    for (uint32_t key = 0; key < 2000000; key++) {
        (void)take(&l, key, 1, key / 1000);
    }
    cr_assert_eq(limit_memory(&l), 2 * LIMIT_SLOTS_MAX * sizeof(uint64_t));
    limit_release(&l);
}

Test(proved, for_a_while)
{
    struct proved p;
    struct addr a = nth(1), b = nth(2);
    proved_init(&p, &env);
    cr_assert_eq(proved_memory(&p), 0);
    cr_assert_not(proved_has(&p, &a, 0));
    proved_add(&p, &a, 5000);
    cr_assert(proved_has(&p, &a, 5000));
    a.port++;
    cr_assert(proved_has(&p, &a, 5000), "the port does not matter");
    cr_assert_not(proved_has(&p, &b, 5000));
    cr_assert(proved_has(&p, &a, 5000 + PROVED_MS));
    cr_assert_not(proved_has(&p, &a, 5000 + PROVED_MS + 2000));
    proved_add(&p, &a, 5000 + PROVED_MS);
    cr_assert(proved_has(&p, &a, 5000 + 2 * (uint64_t)PROVED_MS));
    proved_release(&p);
}

Test(proved, many_addresses)
{
    enum { ADDRS = 1000 };
    struct proved p;
    unsigned lost = 0, wrong = 0;
    proved_init(&p, &env);
    for (uint32_t i = 0; i < ADDRS; i++) {
        struct addr a = nth(i);
        proved_add(&p, &a, i);
        cr_assert(proved_has(&p, &a, i));
    }
    for (uint32_t i = 0; i < ADDRS; i++) {
        struct addr a = nth(i), other = nth(i + ADDRS);
        lost += !proved_has(&p, &a, ADDRS);
        wrong += proved_has(&p, &other, ADDRS);
    }
    cr_assert_lt(lost, ADDRS / 20, "%u", lost);
    cr_assert_eq(wrong, 0);
    cr_assert_leq(proved_memory(&p), 8 * ADDRS * sizeof(struct proved_slot));
    for (uint32_t i = 0; i < 100000; i++) {
        struct addr a = nth(i);
        proved_add(&p, &a, ADDRS);
    }
    cr_assert_leq(proved_memory(&p), PROVED_SLOTS_MAX * sizeof(struct proved_slot));
    proved_release(&p);
}
