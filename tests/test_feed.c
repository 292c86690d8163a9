#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "feed_harness.h"

Test(feed, two_talk)
{
    struct hnet *h = harness_new(2, 1);
    uint8_t state = 0;
    harness_link(h, 0, 1);
    (void)harness_run(h, 1000);
    harness_say(&h->node[0], 1);
    (void)harness_run(h, 1000);
    harness_say(&h->node[1], 2);
    (void)harness_run(h, 1000);
    harness_same(h, 2);
    cr_assert_eq(harness_count(&h->node[0], 1, &state), 1);
    cr_assert_eq(state, STATE_DELIVERED);
    cr_assert_eq(harness_count(&h->node[1], 1, &state), 1);
    cr_assert_eq(state, STATE_RECEIVED);
    cr_assert_eq(h->node[0].err, 0);
    cr_assert_eq(h->node[1].err, 0);
    /* Nothing was read back from the disk for that. */
    cr_assert_eq(h->node[0].n_loads + h->node[1].n_loads, 0);
    harness_free(h);
}
