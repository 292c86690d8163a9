/* Token buckets. */
#include <criterion/criterion.h>

#include "base/bucket.h"

static const struct bucket_rate slow = {3, 1, 5000}, fast = {64, 8, 1000},
                                odd = {10, 7, 5000};

static unsigned take_all(struct bucket *b, const struct bucket_rate *r, uint64_t now_ms)
{
    unsigned n = 0;
    while (n < 1000 && bucket_take(b, r, 1, now_ms)) {
        n++;
    }
    return n;
}

Test(bucket, a_zeroed_one_is_full_and_comes_back)
{
    struct bucket b = {0};
    cr_assert_eq(take_all(&b, &slow, 1000), 3);
    cr_assert_not(bucket_has(&b, &slow, 1, 5999));
    cr_assert(bucket_has(&b, &slow, 1, 6000));
    cr_assert_eq(take_all(&b, &slow, 6000), 1);
    cr_assert_eq(take_all(&b, &slow, 1000000), 3, "never more than the burst");
}

Test(bucket, what_is_not_there_is_not_spent)
{
    struct bucket b = {0};
    cr_assert_not(bucket_take(&b, &slow, 4, 0));
    cr_assert(bucket_take(&b, &slow, 3, 0));
}

/* However often one asks, no more comes back than the rate says, and not less than that
 * share of it, in percent: rounding is to the disadvantage of who asks. */
static void check_rate(const struct bucket_rate *r, uint64_t step_ms, uint64_t least)
{
    struct bucket b = {0};
    uint64_t got = take_all(&b, r, 0), end = 1000000;
    cr_assert_eq(got, r->burst);
    got = 0;
    for (uint64_t now = step_ms; now <= end; now += step_ms) {
        got += bucket_take(&b, r, 1, now) ? 1 : 0;
    }
    uint64_t most = end * r->tokens / r->per_ms;
    most = most < end / step_ms ? most : end / step_ms;
    cr_assert_leq(got, most);
    cr_assert_geq(got, most * least / 100 - 1, "%llu of %llu at %llu ms",
                  (unsigned long long)got, (unsigned long long)most,
                  (unsigned long long)step_ms);
}

Test(bucket, asking_often_gains_nothing)
{
    static const uint64_t steps[] = {1, 2, 3, 6, 7, 11, 100, 997};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        check_rate(&slow, steps[i], 99);
        check_rate(&fast, steps[i], 99);
        check_rate(&odd, steps[i], 70);
    }
}

Test(bucket, a_clock_that_stands_or_goes_back)
{
    struct bucket b = {0};
    cr_assert_eq(take_all(&b, &fast, 5000), 64);
    cr_assert_not(bucket_has(&b, &fast, 1, 4000));
    cr_assert_not(bucket_has(&b, &fast, 1, 5000));
    cr_assert(bucket_has(&b, &fast, 1, 5125));
}
