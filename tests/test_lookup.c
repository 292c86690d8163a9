/* A lookup, told by hand what becomes of its queries. */
#include <criterion/criterion.h>
#include <string.h>

#include "dht/lookup.h"
#include "seeded.h"

static uint64_t state = 5;
static const struct env env = {&state, seeded, NULL};
static const struct dht_id target = {{0x55}};
static const struct krpc_view token = {(const uint8_t *)"token", 5};

/* A node that shares so many bits with the target, in a /24 of its own. */
static struct table_node node(unsigned i, unsigned bits)
{
    struct table_node n = {
        .addr = {.family = 4, .ip = {20, (uint8_t)(i >> 8), (uint8_t)i, 1}, .port = 1},
    };
    dht_id_random_near(&env, &target, bits, &n.id);
    return n;
}

static struct lookup *start(bool tokens, bool private_too)
{
    struct lookup_config c = {
        .target = target, .tokens = tokens, .private_too = private_too};
    struct lookup *l = lookup_new(&c, 0);
    cr_assert_not_null(l);
    return l;
}

static void add(struct lookup *l, unsigned first, unsigned n, unsigned bits)
{
    for (unsigned i = 0; i < n; i++) {
        struct table_node t = node(first + i, bits);
        cr_assert(lookup_add(l, &t, LOOKUP_TABLE));
    }
}

/* Asks whoever is to be asked; the slots go to slots. */
static unsigned ask(struct lookup *l, uint64_t now_ms, uint16_t slots[16])
{
    struct table_node who;
    unsigned n = 0;
    while (n < 16 && lookup_next(l, now_ms, &who, &slots[n])) {
        n++;
    }
    return n;
}

static void answer_all(struct lookup *l, const struct krpc_view *t)
{
    uint16_t slots[16];
    for (unsigned n; (n = ask(l, 0, slots)) > 0;) {
        while (n-- > 0) {
            cr_assert(lookup_answered(l, slots[n], t));
        }
    }
}

Test(lookup, the_closest_are_asked_first_four_at_a_time)
{
    struct lookup *l = start(false, false);
    struct table_node who, last = {.rtt_ms = 0};
    uint16_t slot;
    add(l, 0, 20, 3);
    add(l, 100, 20, 9);
    for (int i = 0; i < LOOKUP_ALPHA; i++) {
        cr_assert(lookup_next(l, 0, &who, &slot));
        cr_assert(i == 0 || dht_id_cmp(&target, &last.id, &who.id) < 0);
        cr_assert_geq(dht_id_shared(&target, &who.id), 9);
        last = who;
    }
    cr_assert_not(lookup_next(l, 0, &who, &slot));
    cr_assert(lookup_answered(l, slot, NULL));
    cr_assert_not(lookup_answered(l, slot, NULL), "only once");
    cr_assert(lookup_next(l, 0, &who, &slot));
    lookup_free(l);
}

Test(lookup, complete_when_the_closest_eight_have_answered)
{
    struct lookup *l = start(false, false);
    struct lookup_counts n;
    add(l, 0, 20, 3);
    cr_assert_eq(lookup_state(l, 0), LOOKUP_RUNNING);
    answer_all(l, NULL);
    cr_assert_eq(lookup_state(l, 0), LOOKUP_COMPLETE);
    lookup_count(l, &n);
    cr_assert(n.asked == 8 && n.answered == 8 && n.closest == 8 && n.silent == 0);
    struct table_node closest[20];
    cr_assert_eq(lookup_closest(l, closest, 20), 8);
    struct table_node nearer = node(500, 30);
    cr_assert(lookup_add(l, &nearer, 0));
    cr_assert_eq(lookup_state(l, 0), LOOKUP_RUNNING, "somebody closer is known now");
    lookup_free(l);
}

Test(lookup, depth_counts_tellers)
{
    struct lookup *l = start(false, false);
    uint16_t slots[16];
    struct lookup_counts n;
    struct table_node second = node(1, 20), third = node(2, 30);
    add(l, 0, 1, 3);
    cr_assert_eq(ask(l, 0, slots), 1);
    cr_assert(lookup_answered(l, slots[0], NULL));
    cr_assert(lookup_add(l, &second, slots[0]));
    cr_assert_eq(ask(l, 0, slots), 1);
    cr_assert_eq(lookup_depth(l, slots[0]), 1);
    cr_assert(lookup_answered(l, slots[0], NULL));
    cr_assert(lookup_add(l, &third, slots[0]));
    cr_assert_eq(ask(l, 0, slots), 1);
    cr_assert(lookup_answered(l, slots[0], NULL));
    lookup_count(l, &n);
    cr_assert_eq(n.depth, 2);
    cr_assert_eq(lookup_state(l, 0), LOOKUP_EXHAUSTED, "there are only three");
    lookup_free(l);
}

Test(lookup, who_is_slow_blocks_nothing_and_still_counts)
{
    struct lookup *l = start(false, false);
    uint16_t first[16], more[16];
    add(l, 0, 40, 3);
    cr_assert_eq(ask(l, 0, first), 4);
    for (int i = 0; i < 4; i++) {
        lookup_slow(l, first[i]);
    }
    cr_assert_eq(ask(l, 300, more), LOOKUP_ALPHA_MAX);
    for (int i = 0; i < 8; i++) {
        cr_assert(lookup_answered(l, more[i], NULL));
    }
    cr_assert_eq(lookup_state(l, 300), LOOKUP_COMPLETE, "without those four");
    cr_assert(lookup_answered(l, first[0], NULL));
    struct lookup_counts n;
    lookup_count(l, &n);
    cr_assert(n.answered == 9 && n.closest == 8 && n.silent == 3);
    lookup_free(l);
}

Test(lookup, silence_of_all_is_no_answer)
{
    struct lookup *l = start(false, false);
    uint16_t slots[16];
    add(l, 0, 3, 3);
    cr_assert_eq(ask(l, 0, slots), 3);
    for (int i = 0; i < 3; i++) {
        lookup_slow(l, slots[i]);
    }
    cr_assert_eq(lookup_state(l, 300), LOOKUP_RUNNING, "they may answer yet");
    for (int i = 0; i < 3; i++) {
        lookup_failed(l, slots[i]);
    }
    cr_assert_eq(lookup_state(l, 7000), LOOKUP_EXHAUSTED);
    struct lookup_counts n;
    lookup_count(l, &n);
    cr_assert(n.answered == 0 && n.silent == 3);
    lookup_free(l);
}

Test(lookup, it_ends_after_its_time)
{
    struct lookup *l = start(false, false);
    uint16_t slots[16];
    add(l, 0, 3, 3);
    cr_assert_eq(ask(l, 0, slots), 3);
    cr_assert_eq(lookup_deadline(l, 0), LOOKUP_MS);
    cr_assert_eq(lookup_state(l, LOOKUP_MS - 1), LOOKUP_RUNNING);
    cr_assert(lookup_waits(l, LOOKUP_MS - 1));
    cr_assert_eq(lookup_state(l, LOOKUP_MS), LOOKUP_LATE);
    cr_assert_not(lookup_waits(l, LOOKUP_MS), "nobody is waited for");
    add(l, 10, 1, 9);
    cr_assert_eq(ask(l, LOOKUP_MS, slots), 0);
    lookup_free(l);
}

Test(lookup, who_gives_no_token_does_not_count)
{
    struct lookup *l = start(true, false);
    struct table_node closest[16];
    uint16_t slots[16];
    add(l, 0, 8, 9);
    add(l, 100, 8, 3);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(ask(l, 0, slots), 4);
        for (int j = 0; j < 4; j++) {
            cr_assert(lookup_answered(l, slots[j], NULL));
        }
    }
    cr_assert_eq(lookup_state(l, 0), LOOKUP_RUNNING, "none of the nearer had one");
    answer_all(l, &token);
    cr_assert_eq(lookup_state(l, 0), LOOKUP_COMPLETE);
    cr_assert_eq(lookup_closest(l, closest, 16), 8);
    cr_assert_eq(dht_id_shared(&target, &closest[0].id), 3);
    lookup_free(l);
}

Test(lookup, one_of_a_subnet_counts)
{
    struct lookup *l = start(false, false);
    struct table_node closest[16];
    unsigned welcome = 0;
    for (uint8_t i = 0; i < 20; i++) {
        struct table_node n = node(0, 40);
        n.addr.ip[3] = i;
        welcome += lookup_add(l, &n, LOOKUP_TABLE);
    }
    cr_assert_eq(welcome, LOOKUP_SUBNET_MAX);
    add(l, 1, 10, 3);
    answer_all(l, NULL);
    cr_assert_eq(lookup_state(l, 0), LOOKUP_COMPLETE);
    cr_assert_eq(lookup_closest(l, closest, 16), 8);
    cr_assert_eq(dht_id_shared(&target, &closest[0].id), 40);
    cr_assert_eq(dht_id_shared(&target, &closest[1].id), 3);
    lookup_free(l);

    l = start(false, true);
    welcome = 0;
    for (uint16_t i = 1; i <= 20; i++) {
        struct table_node n = node(0, 40);
        n.addr = (struct addr){.family = 4, .ip = {127, 0, 0, 1}, .port = i};
        welcome += lookup_add(l, &n, LOOKUP_TABLE);
    }
    cr_assert_eq(welcome, 20, "a test network may live at one address");
    lookup_free(l);
}

Test(lookup, the_farthest_make_room)
{
    struct lookup *l = start(false, false);
    struct table_node far = node(1000, 1), near = node(1001, 20);
    add(l, 0, LOOKUP_NODES_MAX, 9);
    cr_assert_not(lookup_add(l, &far, LOOKUP_TABLE));
    cr_assert(lookup_add(l, &near, LOOKUP_TABLE));
    cr_assert_not(lookup_add(l, &near, LOOKUP_TABLE), "known");
    uint16_t slot;
    struct table_node who;
    cr_assert(lookup_next(l, 0, &who, &slot));
    cr_assert(dht_id_eq(&who.id, &near.id));
    lookup_free(l);
}

Test(lookup, who_is_silent_makes_room)
{
    struct lookup *l = start(false, false);
    uint16_t slots[16];
    add(l, 0, LOOKUP_NODES_MAX, 9);
    unsigned lost = 0;
    for (unsigned n; lost < LOOKUP_NODES_MAX && (n = ask(l, 0, slots)) > 0; lost += n) {
        for (unsigned i = 0; i < n; i++) {
            lookup_slow(l, slots[i]);
        }
    }
    cr_assert_eq(lost, LOOKUP_NODES_MAX);
    add(l, 200, 16, 3);
    answer_all(l, NULL);
    cr_assert_eq(lookup_state(l, 0), LOOKUP_COMPLETE);
    for (uint16_t i = 0; i < LOOKUP_NODES_MAX; i++) {
        (void)lookup_answered(l, i, NULL); /* the first that had these places */
    }
    struct lookup_counts n;
    lookup_count(l, &n);
    cr_assert_leq(n.answered, LOOKUP_NODES_MAX - 8);
    lookup_free(l);
}

Test(lookup, the_closest_eight_of_one_teller)
{
    struct lookup *l = start(false, false);
    uint16_t teller, slot;
    struct table_node who;
    unsigned asked = 0;
    add(l, 0, 1, 3);
    cr_assert(lookup_next(l, 0, &who, &teller));
    cr_assert(lookup_answered(l, teller, NULL));
    for (unsigned i = 0; i < 20; i++) {
        struct table_node n = node(100 + i, 5 + i);
        cr_assert(lookup_add(l, &n, teller), "each is closer");
    }
    for (unsigned i = 0; i < 20; i++) {
        struct table_node n = node(200 + i, 4);
        cr_assert_not(lookup_add(l, &n, teller));
    }
    while (lookup_next(l, 0, &who, &slot)) {
        cr_assert_geq(dht_id_shared(&target, &who.id), 17);
        lookup_failed(l, slot);
        asked++;
    }
    cr_assert_eq(asked, LOOKUP_K);
    lookup_free(l);
}

Test(lookup, what_is_told_keeps_nobody_away)
{
    struct lookup *l = start(false, false);
    struct table_node closest[16];
    struct lookup_counts n;
    uint16_t slots[16];
    struct table_node real = node(7, 20), wrong_addr = real, wrong_id = node(7, 21);
    wrong_addr.addr.ip[1] = 9;
    cr_assert(lookup_add(l, &wrong_addr, 1));
    cr_assert(lookup_add(l, &wrong_id, 1));
    for (uint8_t i = 0; i < 4; i++) {
        struct table_node near = node(7, 30);
        near.addr.ip[3] = (uint8_t)(9 + i);
        cr_assert_eq(lookup_add(l, &near, 2), i < LOOKUP_SUBNET_MAX);
    }
    cr_assert(lookup_add(l, &real, 3));
    cr_assert_not(lookup_add(l, &real, 4), "known");
    for (unsigned i = 0, k; (k = ask(l, 0, slots)) > 0 && i < 9; i++) {
        struct table_node who;
        for (unsigned j = 0; j < k; j++) {
            (void)lookup_closest(l, &who, 1);
            lookup_slow(l, slots[j]);
        }
    }
    /* Whatever slot it has: only the real one answers. */
    for (uint16_t i = 0; i < 5; i++) {
        lookup_failed(l, i == 4 ? 15 : i);
    }
    cr_assert_eq(ask(l, 0, slots), 1, "somebody else was at its address");
    cr_assert(lookup_answered(l, 4, NULL));
    cr_assert_eq(lookup_closest(l, closest, 16), 1);
    cr_assert(dht_id_eq(&closest[0].id, &real.id));
    cr_assert(addr_eq(&closest[0].addr, &real.addr));
    lookup_count(l, &n);
    cr_assert_eq(n.silent, 2, "of the others, two were never there");
    cr_assert_not(lookup_add(l, &(struct table_node){.id = real.id}, 5), "it is known");
    lookup_free(l);
}

/* The same address under other ids, by others and later ones; at most one port of it by
 * one teller. */
Test(lookup, a_silent_address_is_asked_once)
{
    struct lookup *l = start(false, false);
    struct table_node victim = node(7, 20), other_port = node(7, 21);
    uint16_t slots[16], more[16];
    cr_assert(lookup_add(l, &victim, 1));
    other_port.addr.port = 2;
    cr_assert_not(lookup_add(l, &other_port, 1));
    for (uint16_t teller = 2; teller < 8; teller++) {
        victim.id = node(0, 20).id;
        cr_assert(lookup_add(l, &victim, teller));
    }
    cr_assert_eq(ask(l, 0, slots), 1);
    lookup_slow(l, slots[0]);
    victim.id = node(0, 20).id;
    cr_assert(lookup_add(l, &victim, 9));
    cr_assert_eq(ask(l, 0, more), 0);
    lookup_lost(l, slots[0]);
    cr_assert_eq(ask(l, 0, more), 0);
    cr_assert_eq(lookup_state(l, 0), LOOKUP_EXHAUSTED);
    lookup_free(l);
}

Test(lookup, somebody_far_is_asked_beside)
{
    struct lookup *l = start(true, false);
    struct table_node far = node(500, 0), near = node(501, 30);
    struct lookup_counts n;
    uint16_t slots[16];
    add(l, 0, LOOKUP_NODES_MAX, 9);
    answer_all(l, &token);
    cr_assert(lookup_is_complete(l));
    cr_assert(lookup_add_beside(l, &far));
    cr_assert_not(lookup_add_beside(l, &far), "known");
    cr_assert_eq(lookup_state(l, 0), LOOKUP_RUNNING);
    cr_assert_eq(ask(l, 0, slots), 1);
    cr_assert(lookup_answered(l, slots[0], &token));
    cr_assert_eq(lookup_state(l, 0), LOOKUP_COMPLETE);
    cr_assert(lookup_add(l, &near, slots[0]), "what he tells counts");
    cr_assert_eq(lookup_state(l, 0), LOOKUP_RUNNING);
    lookup_count(l, &n);
    cr_assert_eq(n.beside, 1);
    cr_assert_eq(n.answered, LOOKUP_K + 1);
    lookup_free(l);
}

Test(lookup, half_of_the_closest_have_fitting_ids)
{
    struct lookup *l = start(true, false);
    struct table_node closest[16], far[6];
    unsigned fit = 0;
    add(l, 0, 12, 40); /* chosen ids */
    for (unsigned i = 0; i < 6; i++) {
        far[i] = node(100 + i, 1);
        dht_id_for_addr(&env, &far[i].addr, &far[i].id);
        cr_assert(lookup_add(l, &far[i], LOOKUP_TABLE));
    }
    answer_all(l, &token);
    cr_assert_eq(lookup_state(l, 0), LOOKUP_COMPLETE);
    cr_assert_eq(lookup_closest(l, closest, 8), 8);
    for (unsigned i = 0; i < 8; i++) {
        fit += dht_id_fits(&closest[i].id, &closest[i].addr);
    }
    cr_assert_eq(fit, 4);
    lookup_store(l, 0);
    for (fit = 0; fit < 20;) {
        struct table_node who;
        struct krpc_view t;
        uint16_t slot;
        if (!lookup_store_next(l, 0, &who, &slot, &t)) {
            break;
        }
        fit += dht_id_fits(&who.id, &who.addr) ? 1 : 0;
    }
    cr_assert_eq(fit, 4);
    lookup_free(l);
}

/* ---- a crowd around the target ---- */

/* The one of so many nodes that stands at this many mean gaps from the target. */
static struct table_node at_gap(unsigned i, double gaps, double nodes)
{
    struct table_node n = node(i, 0);
    uint64_t far = (uint64_t)(gaps / nodes * 18446744073709551615.0);
    for (int j = 0; j < 8; j++) {
        n.id.b[j] = target.b[j] ^ (uint8_t)(far >> (56 - 8 * j));
    }
    return n;
}

/* Honest nodes, one a gap, behind a crowd in a tenth of the first; all answer. */
static struct lookup *crowded(unsigned crowd, uint64_t known, bool wary)
{
    struct lookup_config c = {
        .target = target, .nodes = known, .tokens = true, .wary = wary};
    struct lookup *l = lookup_new(&c, 0);
    for (unsigned i = 0; i < 24; i++) {
        struct table_node t = at_gap(i, i + 0.5, 1000);
        cr_assert(lookup_add(l, &t, LOOKUP_TABLE));
    }
    for (unsigned i = 0; i < crowd; i++) {
        struct table_node t = at_gap(100 + i, 0.1 * (i + 1) / crowd, 1000);
        (void)lookup_add(l, &t, LOOKUP_TABLE);
    }
    answer_all(l, &token);
    cr_assert(lookup_is_complete(l));
    cr_assert_eq(lookup_state(l, 0), LOOKUP_COMPLETE);
    return l;
}

static unsigned store_all(struct lookup *l, unsigned *honest)
{
    struct table_node who;
    struct krpc_view t;
    uint16_t slot;
    unsigned n = 0;
    *honest = 0;
    lookup_store(l, 0);
    for (; lookup_store_next(l, 0, &who, &slot, &t); n++) {
        lookup_store_result(l, slot, LOOKUP_STORED);
        *honest += who.addr.ip[2] < 100;
    }
    cr_assert(lookup_store_done(l, 0));
    return n;
}

static void expect_asked(unsigned crowd, uint64_t known, unsigned asked, unsigned honest)
{
    struct lookup *l = crowded(crowd, known, false);
    struct lookup_counts n;
    unsigned good;
    lookup_count(l, &n);
    cr_assert_eq(n.asked, asked, "%u", n.asked);
    cr_assert_eq(lookup_is_crowded(l), asked > LOOKUP_K);
    cr_assert_eq(store_all(l, &good), asked, "stored at all of them");
    cr_assert_eq(good, honest, "%u", good);
    lookup_free(l);
}

Test(lookup, behind_a_crowd_others_are_asked)
{
    expect_asked(0, 1000, 8, 8);
    expect_asked(20, 0, 8, 0); /* the size is not known */
    expect_asked(20, 1000, 8 + 13, 13);
    expect_asked(8, 1000, 8 + 13, 13);
    expect_asked(60, 1000, 8 + 13, 13); /* more than may be remembered */
}

Test(lookup, who_stores_is_careful_sooner)
{
    for (int wary = 0; wary < 2; wary++) {
        struct lookup *l = crowded(3, 800, wary == 1);
        cr_assert_eq(lookup_is_crowded(l), wary == 1);
        lookup_free(l);
    }
}

Test(lookup, what_could_not_be_sent_is_sent_later)
{
    struct lookup *l = start(false, false);
    struct table_node who;
    uint16_t slot, again;
    add(l, 0, 1, 9);
    cr_assert(lookup_next(l, 0, &who, &slot));
    lookup_postpone(l, slot, 250);
    cr_assert_eq(lookup_deadline(l, 0), 250);
    cr_assert_not(lookup_next(l, 249, &who, &again));
    cr_assert_eq(lookup_state(l, 249), LOOKUP_RUNNING);
    cr_assert(lookup_next(l, 250, &who, &again));
    cr_assert_eq(slot, again);
    struct lookup_counts n;
    lookup_count(l, &n);
    cr_assert_eq(n.asked, 1);
    lookup_free(l);
}

/* ---- storing ---- */

Test(lookup, who_is_near_as_far_as_is_known)
{
    struct lookup *l = start(false, false);
    uint16_t slots[16];
    add(l, 0, 4, 10);
    cr_assert_eq(ask(l, 0, slots), 4);
    for (unsigned i = 0; i < 4; i++) {
        cr_assert(lookup_is_near(l, slots[i]), "%u", i);
    }
    add(l, 10, 8, 20);
    for (unsigned i = 0; i < 4; i++) {
        cr_assert_not(lookup_is_near(l, slots[i]), "%u", i);
    }
    lookup_free(l);
}

static struct lookup *with_tokens(unsigned n)
{
    struct lookup *l = start(true, false);
    add(l, 0, n, 9);
    answer_all(l, &token);
    if (n > LOOKUP_K) {
        add(l, 100, 4, 20); /* so that twelve have answered */
        answer_all(l, &token);
    }
    lookup_store(l, 0);
    return l;
}

static unsigned store(struct lookup *l, uint64_t now_ms, uint16_t slots[16])
{
    struct table_node who;
    struct krpc_view t;
    unsigned n = 0;
    while (n < 16 && lookup_store_next(l, now_ms, &who, &slots[n], &t)) {
        cr_assert(t.n == token.n && memcmp(t.p, token.p, t.n) == 0);
        n++;
    }
    return n;
}

Test(lookup, what_stands_there_is_not_put_beside_it)
{
    struct lookup *l = with_tokens(12);
    uint16_t slots[16];
    cr_assert_eq(store(l, 0, slots), 8);
    for (unsigned i = 0; i < 8; i++) {
        cr_assert_not(lookup_store_done(l, 0));
        lookup_store_result(l, slots[i], LOOKUP_TAKEN);
    }
    cr_assert_eq(lookup_taken(l), 8);
    cr_assert_eq(store(l, 0, slots), 0, "no spare");
    cr_assert(lookup_store_done(l, 0));
    lookup_free(l);
}

Test(lookup, stored_at_eight)
{
    struct lookup *l = with_tokens(9);
    uint16_t slots[16];
    cr_assert_eq(store(l, 0, slots), 8);
    for (int i = 0; i < 8; i++) {
        cr_assert_not(lookup_store_done(l, 0));
        lookup_store_result(l, slots[i], LOOKUP_STORED);
    }
    cr_assert(lookup_store_done(l, 0));
    cr_assert_eq(lookup_copies(l), 8);
    lookup_free(l);
}

Test(lookup, one_retry_then_a_spare)
{
    struct lookup *l = with_tokens(9);
    uint16_t slots[16], again[16];
    cr_assert_eq(store(l, 0, slots), 8);
    lookup_store_result(l, slots[7], LOOKUP_SLOW);
    cr_assert_eq(store(l, 300, again), 1);
    cr_assert_eq(again[0], slots[7]);
    lookup_store_result(l, slots[7], LOOKUP_SLOW);
    cr_assert_eq(store(l, 600, again), 1);
    cr_assert_neq(again[0], slots[7], "a spare");
    lookup_store_result(l, again[0], LOOKUP_REFUSED);
    cr_assert_eq(store(l, 900, again), 1, "no retry after an error");
    lookup_store_result(l, slots[7], LOOKUP_STORED);
    cr_assert_eq(lookup_copies(l), 1, "late, but it counts");
    lookup_free(l);
}

Test(lookup, storing_ends)
{
    struct lookup *l = with_tokens(2);
    uint16_t slots[16];
    cr_assert_eq(store(l, 0, slots), 2);
    lookup_store_result(l, slots[0], LOOKUP_STORED);
    cr_assert_not(lookup_store_done(l, LOOKUP_STORE_MS - 1));
    cr_assert(lookup_store_done(l, LOOKUP_STORE_MS));
    lookup_store_result(l, slots[1], LOOKUP_REFUSED);
    cr_assert(lookup_store_done(l, 0));
    cr_assert_eq(lookup_copies(l), 1);
    lookup_free(l);
}

Test(lookup, who_has_a_copy_is_left_alone)
{
    struct lookup *l = start(true, false);
    uint16_t slots[16];
    size_t have, lack;
    add(l, 0, 8, 9);
    answer_all(l, &token);
    for (uint16_t i = 0; i < 5; i++) {
        lookup_has_copy(l, i);
    }
    lookup_count_copies(l, &have, &lack);
    cr_assert(have == 5 && lack == 3);
    lookup_store(l, 0);
    cr_assert_eq(store(l, 0, slots), 3);
    lookup_no_copies(l);
    lookup_count_copies(l, &have, &lack);
    cr_assert(have == 0 && lack == 8);
    lookup_free(l);
}
