/* How large the network is, by what was seen at targets and around our own id. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "dht/dht_priv.h"
#include "seeded.h"

static uint64_t state = 3;
static const struct env env = {&state, seeded, NULL};

static struct dht *start(void)
{
    struct dht *d = calloc(1, sizeof *d);
    struct table_config c = {.family = 4};
    cr_assert_not_null(d);
    dht_id_random(&env, &d->side[0].id);
    d->side[0].table = table_new(&d->side[0].id, &c);
    cr_assert_not_null(d->side[0].table);
    return d;
}

static void end(struct dht *d)
{
    table_free(d->side[0].table);
    free(d);
}

static uint64_t size(const struct dht *d)
{
    return doubt_size(&d->side[0]);
}

static struct table_node node_at(const struct dht_id *target, unsigned i, double far)
{
    struct table_node n = {
        .addr = {.family = 4, .ip = {20, (uint8_t)i, 1, 1}, .port = 1}};
    uint64_t bits = (uint64_t)(far * 18446744073709551615.0);
    dht_id_random(&env, &n.id);
    for (int j = 0; j < 8; j++) {
        n.id.b[j] = target->b[j] ^ (uint8_t)(bits >> (56 - 8 * j));
    }
    return n;
}

/* A lookup has ended; the closest are so far away, as parts of the space. self: it was of
 * our own id. */
static void note(struct dht *d, const struct dht_id *target, const double far[LOOKUP_K],
                 bool self)
{
    struct lookup_config c = {.target = *target, .nodes = size(d)};
    struct op op = {.handle = 7, .internal = self, .target = *target};
    struct table_node who;
    uint16_t slot;
    op.l[0] = lookup_new(&c, 0);
    cr_assert_not_null(op.l[0]);
    for (unsigned i = 0; i < LOOKUP_K; i++) {
        who = node_at(target, i, far[i]);
        cr_assert(lookup_add(op.l[0], &who, LOOKUP_TABLE));
    }
    while (lookup_next(op.l[0], 0, &who, &slot)) {
        cr_assert(lookup_answered(op.l[0], slot, NULL));
    }
    d->side[0].self_op = self ? op.handle : 0;
    doubt_note_size(d, 0, &op, 0);
    lookup_free(op.l[0]);
}

/* The closest of so many nodes stand as evenly as they can. */
static void note_even(struct dht *d, const struct dht_id *target, double nodes, bool self)
{
    double far[LOOKUP_K];
    for (unsigned i = 0; i < LOOKUP_K; i++) {
        far[i] = (i + 0.67) / nodes;
    }
    note(d, target, far, self);
}

static void note_somewhere(struct dht *d, double nodes)
{
    struct dht_id target;
    dht_id_random(&env, &target);
    note_even(d, &target, nodes, false);
}

static struct dht *among(unsigned nodes)
{
    struct dht *d = start();
    note_even(d, &d->side[0].id, nodes, true);
    for (unsigned i = 0; i < FARS; i++) {
        note_somewhere(d, nodes);
    }
    cr_assert(10 * size(d) > 9 * nodes && 10 * size(d) < 11 * nodes, "%u",
              (unsigned)size(d));
    return d;
}

/* Eight who stand just so close to a target that it may be chance, by what is known. */
static void note_close(struct dht *d, const struct dht_id *target)
{
    static const double gaps[LOOKUP_K] = {.1, .2, .3, .44, .75, 1.12, 1.53, 1.98};
    double far[LOOKUP_K];
    for (unsigned i = 0; i < LOOKUP_K; i++) {
        far[i] = gaps[i] / (double)size(d);
    }
    note(d, target, far, false);
}

Test(dht_doubt, one_target_has_one_voice)
{
    struct dht *d = among(1000);
    struct dht_id target;
    dht_id_random(&env, &target);
    for (unsigned i = 0; i < 40; i++) {
        note_close(d, &target);
        cr_assert_lt(size(d), 1500, "%u: %u", i, (unsigned)size(d));
    }
    for (unsigned i = 0; i < FARS; i++) { /* beside others, too */
        note_somewhere(d, 1000);
        note_close(d, &target);
        cr_assert_lt(size(d), 1500, "%u: %u", i, (unsigned)size(d));
    }
    end(d);
}

Test(dht_doubt, a_crowd_is_not_counted)
{
    struct dht *d = among(1000);
    for (unsigned i = 0; i < 3 * FARS; i++) {
        note_somewhere(d, 1e6);
        cr_assert_lt(size(d), 1500, "%u: %u", i, (unsigned)size(d));
    }
    end(d);
}

/* Who stands around our own id as well has to do so at many targets. */
Test(dht_doubt, a_crowd_at_our_own_id_counts_little_by_little)
{
    struct dht *d = among(1000);
    note_even(d, &d->side[0].id, 1e6, true);
    cr_assert_lt(size(d), 1500);
    for (unsigned i = 0; i < FARS; i++) {
        note_somewhere(d, 1e6);
    }
    cr_assert_lt(size(d), 5000, "%u", (unsigned)size(d));
    end(d);
}

Test(dht_doubt, a_network_that_grows_is_seen)
{
    struct dht *d = among(100);
    note_even(d, &d->side[0].id, 1000, true);
    for (unsigned i = 0; i < 5 * FARS; i++) {
        note_somewhere(d, 1000);
    }
    cr_assert_gt(size(d), 900, "%u", (unsigned)size(d));
    end(d);
}

Test(dht_doubt, the_first_few_nodes_tell_nothing)
{
    struct dht *d = start();
    struct side *s = &d->side[0];
    for (unsigned i = 0; i < 16; i++) {
        struct table_node n = node_at(&s->id, i, (i + 0.5) / 16);
        cr_assert(table_answered(s->table, &n.id, &n.addr, 50, 0));
    }
    cr_assert_eq(size(d), 0, "%u", (unsigned)size(d));
    note_even(d, &s->id, 1000, true);
    cr_assert_gt(size(d), 900, "%u", (unsigned)size(d));
    end(d);
}
