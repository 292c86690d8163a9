/* The nodes near to keys that are polled. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "dht/item.h"
#include "node_near.h"
#include "seeded.h"

static uint64_t rng = 5;
static const uint8_t pub[BLIND_PUB] = {7};

static void random_bytes(void *ctx, void *buf, size_t len)
{
    seeded(ctx, buf, len);
}

static const struct env env = {.ctx = &rng, .random = random_bytes};

/* Nodes with fitting ids, each in a subnet of its own, the nearest to pub first. */
enum { NODES = 32 };
static struct krpc_node node[NODES];
static struct dht_id target;

static int compare(const void *a, const void *b)
{
    const struct krpc_node *x = a, *y = b;
    return dht_id_cmp(&target, &x->id, &y->id);
}

static void up(void)
{
    const struct item it = {.k = pub};
    cr_assert(sodium_init() >= 0);
    item_target(&it, &target);
    for (size_t i = 0; i < NODES; i++) {
        node[i].addr =
            (struct addr){.family = 4, .ip = {20, (uint8_t)(50 + i), 1, 1}, .port = 6881};
        dht_id_for_addr(&env, &node[i].addr, &node[i].id);
    }
    qsort(node, NODES, sizeof node[0], compare);
}

TestSuite(near, .init = up);

/* With the nodes first to first + n - 1, in their order. */
static struct near *near_new(size_t first, size_t n)
{
    struct near *m = calloc(1, sizeof *m);
    cr_assert_not_null(m);
    near_found(m, pub, &node[first], n, 1000);
    return m;
}

/* Which one is asked; NODES: the key is to be looked up. */
static size_t next(struct near *m)
{
    struct krpc_node at;
    size_t i = 0;
    if (!near_next(m, pub, true, 2000, &at)) {
        return NODES;
    }
    while (i < NODES && !addr_eq(&node[i].addr, &at.addr)) {
        i++;
    }
    cr_assert_lt(i, NODES, "somebody whom nobody has named");
    return i;
}

/* Which are asked in so many polls, all answered: a bit each. */
static uint32_t asked(struct near *m, int polls)
{
    uint32_t bits = 0;
    for (int i = 0; i < polls; i++) {
        size_t at = next(m);
        cr_assert_lt(at, NODES);
        bits |= 1u << at;
        near_answered(m, pub, &node[at], NULL, 0);
    }
    return bits;
}

Test(near, nothing_is_known_at_first_and_after_two_hours)
{
    struct near *m = calloc(1, sizeof *m);
    struct krpc_node at;
    cr_assert_not(near_next(m, pub, true, 1000, &at));
    near_found(m, pub, node, 0, 1000);
    cr_assert_not(near_next(m, pub, true, 1000, &at));
    near_found(m, pub, node, 8, 1000);
    cr_assert(near_next(m, pub, true, 1000 + NEAR_MS - 1, &at));
    cr_assert_not(near_next(m, pub, true, 1000 + NEAR_MS, &at));
    near_found(m, pub, node, NEAR_FEW - 1, 1000);
    cr_assert_not(near_next(m, pub, true, 1000, &at), "too few");
    free(m);
}

Test(near, each_has_its_turn)
{
    struct near *m = near_new(0, 8);
    cr_assert_eq(asked(m, 8), 0xff);
    cr_assert_neq(next(m), next(m));
    free(m);
}

Test(near, a_nearer_one_that_is_named_is_asked_next_and_takes_the_place_of_the_farthest)
{
    struct near *m = near_new(1, 8);
    size_t at = next(m);
    near_answered(m, pub, &node[at], node, 8);
    cr_assert_eq(next(m), 0);
    cr_assert_eq(asked(m, 8), 0x1fe, "it has not answered yet");
    near_answered(m, pub, &node[0], NULL, 0);
    cr_assert_eq(asked(m, 8), 0xff);
    free(m);
}

Test(near, who_is_only_named_is_left_for_another_poll)
{
    struct near *m = near_new(8, 8);
    struct krpc_node at;
    near_answered(m, pub, &node[8], node, 2);
    for (size_t i = 0; i < 8; i++) {
        cr_assert(near_next(m, pub, false, 2000, &at));
        cr_assert_lt(dht_id_cmp(&target, &node[7].id, &at.id), 0, "it has no place");
    }
    cr_assert_eq(asked(m, 2), 0x03);
    free(m);
}

Test(near, hearsay_takes_no_place)
{
    struct near *m = near_new(8, 8);
    size_t at = next(m);
    near_answered(m, pub, &node[at], node, 8);
    for (int i = 0; i < NEAR_NAMED; i++) {
        at = next(m);
        cr_assert_lt(at, 8);
        near_silent(m, pub, &node[at]);
    }
    cr_assert_eq(asked(m, 8), 0xff00);
    near_answered(m, pub, &node[8], node, NEAR_NAMED);
    cr_assert_geq(next(m), 8, "who was silent is not asked again");
    free(m);
}

Test(near, who_is_farther_or_of_a_subnet_that_is_there_or_has_an_unfit_id_is_passed_over)
{
    struct near *m = near_new(1, 8);
    struct krpc_node bad[3] = {node[9], node[0], node[0]};
    bad[1].addr = node[3].addr;
    do { /* near enough */
        bad[1].addr.ip[3]++;
        dht_id_for_addr(&env, &bad[1].addr, &bad[1].id);
    } while (dht_id_cmp(&target, &bad[1].id, &node[8].id) >= 0);
    bad[2].id.b[2] ^= 0x08; /* the last bit of those that the address fixes */
    size_t at = next(m);
    near_answered(m, pub, &node[at], bad, 3);
    cr_assert_eq(asked(m, 9), 0x1fe);
    free(m);
}

Test(near, a_place_is_lost_by_two_silences_in_a_row)
{
    struct near *m = near_new(0, 8);
    near_silent(m, pub, &node[2]);
    near_answered(m, pub, &node[2], NULL, 0);
    near_silent(m, pub, &node[2]);
    cr_assert_eq(asked(m, 8), 0xff);
    near_silent(m, pub, &node[5]);
    near_silent(m, pub, &node[5]);
    cr_assert_eq(asked(m, 7), 0xdf);
    near_answered(m, pub, &node[0], &node[5], 1);
    cr_assert_eq(asked(m, 7), 0xdf, "and it is not asked again");
    for (size_t i = 0; i < 8; i++) {
        near_silent(m, pub, &node[i]);
        near_silent(m, pub, &node[i]);
    }
    cr_assert_eq(next(m), NODES);
    free(m);
}

Test(near, a_free_place_is_for_a_farther_one_too)
{
    struct near *m = near_new(0, 4);
    near_answered(m, pub, &node[0], &node[6], 1);
    cr_assert_eq(next(m), 6);
    near_answered(m, pub, &node[6], NULL, 0);
    cr_assert_eq(asked(m, 5), 0x4f);
    free(m);
}

Test(near, the_key_of_no_use_for_longest_makes_room)
{
    struct near *m = calloc(1, sizeof *m);
    struct krpc_node at;
    for (uint8_t i = 0; i < NEAR_KEYS; i++) {
        uint8_t key[BLIND_PUB] = {100, i};
        near_found(m, key, node, 8, 1000);
    }
    const uint8_t first[BLIND_PUB] = {100, 0}, second[BLIND_PUB] = {100, 1};
    cr_assert(near_next(m, first, true, 2000, &at));
    near_found(m, pub, node, 8, 2000);
    cr_assert(near_next(m, pub, true, 2000, &at));
    cr_assert(near_next(m, first, true, 2000, &at));
    cr_assert_not(near_next(m, second, true, 2000, &at));
    near_answered(m, second, &node[0], node, 8); /* of no consequence */
    near_silent(m, second, &node[0]);
    free(m);
}
