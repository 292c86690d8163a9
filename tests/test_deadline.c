#include <criterion/criterion.h>

#include "base/deadline.h"
#include "base/err.h"

enum { MANY = 500 };

Test(deadline, earliest_first_and_not_too_early)
{
    struct deadlines h;
    struct deadline a = {0}, b = {0}, c = {0};
    deadlines_init(&h, 10);
    cr_assert_eq(deadlines_next(&h), DEADLINE_NONE);
    cr_assert_null(deadlines_pop(&h, UINT64_MAX));
    cr_assert_eq(deadlines_set(&h, &a, 300), 0);
    cr_assert_eq(deadlines_set(&h, &b, 100), 0);
    cr_assert_eq(deadlines_set(&h, &c, 200), 0);
    cr_assert_eq(deadlines_next(&h), 100);
    cr_assert_null(deadlines_pop(&h, 99));
    cr_assert_eq(deadlines_pop(&h, 100), &b);
    cr_assert_null(deadlines_pop(&h, 100));
    cr_assert_eq(deadlines_pop(&h, 1000), &c);
    cr_assert_eq(deadlines_pop(&h, 1000), &a);
    cr_assert_null(deadlines_pop(&h, 1000));
    deadlines_release(&h);
}

Test(deadline, equal_times_fire_in_the_order_they_were_set)
{
    struct deadlines h;
    struct deadline d[MANY] = {0};
    deadlines_init(&h, MANY);
    for (size_t i = 0; i < MANY; i++) {
        cr_assert_eq(deadlines_set(&h, &d[i], 5), 0);
    }
    cr_assert_eq(deadlines_set(&h, &d[0], 5), 0, "set again: now the last one");
    for (size_t i = 1; i < MANY; i++) {
        cr_assert_eq(deadlines_pop(&h, 5), &d[i]);
    }
    cr_assert_eq(deadlines_pop(&h, 5), &d[0]);
    deadlines_release(&h);
}

Test(deadline, move_and_remove)
{
    struct deadlines h;
    struct deadline a = {0}, b = {0};
    deadlines_init(&h, 10);
    cr_assert_eq(deadlines_set(&h, &a, 10), 0);
    cr_assert_eq(deadlines_set(&h, &b, 20), 0);
    cr_assert_eq(deadlines_set(&h, &a, 30), 0);
    cr_assert_eq(h.len, 2);
    cr_assert_eq(deadlines_next(&h), 20);
    cr_assert_eq(deadlines_set(&h, &b, DEADLINE_NONE), 0);
    cr_assert_eq(deadlines_next(&h), 30);
    deadlines_remove(&h, &b);
    deadlines_remove(&h, &a);
    cr_assert_eq(deadlines_next(&h), DEADLINE_NONE);
    cr_assert_eq(deadlines_set(&h, &a, 40), 0);
    cr_assert_eq(deadlines_pop(&h, 40), &a);
    deadlines_release(&h);
}

Test(deadline, the_cap_is_an_ordinary_error)
{
    struct deadlines h;
    struct deadline a = {0}, b = {0};
    deadlines_init(&h, 1);
    cr_assert_eq(deadlines_set(&h, &a, 10), 0);
    cr_assert_eq(deadlines_set(&h, &b, 5), ERR_LIMIT);
    cr_assert_eq(b.pos, 0);
    cr_assert_eq(deadlines_set(&h, &a, 20), 0, "moving needs no room");
    cr_assert_eq(deadlines_pop(&h, 20), &a);
    cr_assert_eq(deadlines_set(&h, &b, 5), 0);
    deadlines_release(&h);
    cr_assert_eq(b.pos, 0);
    deadlines_release(NULL);
}

/* Random sets, moves, removals and pops against a search of the whole array. */
Test(deadline, behaves_like_a_search)
{
    struct deadlines h;
    struct deadline d[MANY] = {0};
    uint64_t at[MANY], order[MANY] = {0}, next_order = 1;
    for (size_t i = 0; i < MANY; i++) {
        at[i] = DEADLINE_NONE;
    }
    deadlines_init(&h, MANY);
    uint32_t x = 7;
    for (size_t step = 0; step < 20000; step++) {
        x = x * 1664525u + 1013904223u;
        size_t i = (x >> 8) % MANY;
        if ((x >> 29) < 6) {
            at[i] = (x >> 27) % 7 == 0 ? DEADLINE_NONE : (x >> 12) % 1000;
            order[i] = next_order++;
            cr_assert_eq(deadlines_set(&h, &d[i], at[i]), 0);
        } else {
            size_t best = 0;
            for (size_t j = 1; j < MANY; j++) {
                if (at[j] < at[best] || (at[j] == at[best] && order[j] < order[best])) {
                    best = j;
                }
            }
            cr_assert_eq(deadlines_next(&h), at[best]);
            if (at[best] != DEADLINE_NONE) {
                cr_assert_eq(deadlines_pop(&h, at[best]), &d[best]);
                at[best] = DEADLINE_NONE;
            }
        }
    }
    deadlines_release(&h);
}
