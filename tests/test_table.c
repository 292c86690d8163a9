/* The routing table of the DHT. */
#include <criterion/criterion.h>
#include <string.h>

#include "dht/table.h"
#include "seeded.h"

enum { S = 1000, MIN = 60 * S };

static uint64_t state = 7;
static const struct env env = {&state, seeded, NULL};
static const struct dht_id self = {{0}};
static const struct table_config v4 = {.family = 4};

/* Addresses of as many /24 as there are numbers. */
static struct addr address(unsigned i)
{
    return (struct addr){
        .family = 4,
        .ip = {(uint8_t)(20 + i / 65536), (uint8_t)(i / 256), (uint8_t)i, 9},
        .port = 6881};
}

static struct dht_id id_in(unsigned bucket)
{
    struct dht_id id;
    dht_id_random_near(&env, &self, bucket, &id);
    return id;
}

static bool add(struct table *t, unsigned bucket, unsigned i, uint64_t now_ms)
{
    struct dht_id id = id_in(bucket);
    struct addr a = address(i);
    return table_answered(t, &id, &a, 50, now_ms);
}

static unsigned fill(struct table *t, unsigned bucket, unsigned first, unsigned n)
{
    unsigned placed = 0;
    for (unsigned i = 0; i < n; i++) {
        placed += add(t, bucket, first + i, 0);
    }
    return placed;
}

Test(table, the_first_buckets_are_wide)
{
    static const unsigned places[] = {128, 64, 32, 16, 8, 8};
    struct table *t = table_new(&self, &v4);
    for (unsigned b = 0; b < 6; b++) {
        cr_assert_eq(fill(t, b, b * 1000, 200), places[b]);
    }
    cr_assert_eq(table_count(t), 256);
    table_free(t);

    struct table_config leaf = {.family = 4, .narrow = true, .max = 20};
    t = table_new(&self, &leaf);
    cr_assert_eq(fill(t, 0, 0, 30), 8);
    cr_assert_eq(fill(t, 1, 1000, 30), 8);
    cr_assert_eq(fill(t, 2, 2000, 30), 4, "20 in all");
    table_free(t);
}

Test(table, our_own_id_no_id_and_another_family_have_no_place)
{
    const struct dht_id own = {{1}}, zero = {{0}};
    struct table *t = table_new(&own, &v4);
    struct addr a = address(1), six = {.family = 6, .ip = {0x20, 1}, .port = 1};
    struct dht_id id = id_in(3);
    cr_assert_not(table_answered(t, &own, &a, 1, 0));
    cr_assert_not(table_answered(t, &zero, &a, 1, 0));
    cr_assert_not(table_answered(t, &id, &six, 1, 0));
    table_queried(t, &id, &six, 0);
    table_heard(t, &own, &a);
    table_heard(t, &zero, &a);
    table_queried(t, &zero, &a, 0);
    cr_assert_eq(table_count(t), 0);
    cr_assert_not(table_next_check(t, 0, &(struct table_node){.fails = 0}));
    table_free(t);
}

static int compare(const void *a, const void *b, void *target)
{
    return dht_id_cmp(target, &((const struct table_node *)a)->id,
                      &((const struct table_node *)b)->id);
}

Test(table, closest_is_what_sorting_all_says)
{
    struct dht_id me;
    dht_id_random(&env, &me);
    struct table *t = table_new(&me, &v4);
    static struct table_node all[512];
    size_t n = 0;
    for (unsigned i = 0; i < 3000; i++) {
        struct dht_id id;
        struct addr a = address(i);
        if (i % 3 == 0) {
            dht_id_random(&env, &id);
        } else {
            dht_id_random_near(&env, &me, i % 24, &id);
        }
        (void)table_answered(t, &id, &a, 1, 0);
    }
    for (size_t pos = 0; table_next(t, &pos, &all[n]);) {
        n++;
    }
    cr_assert_eq(n, table_count(t));
    for (unsigned round = 0; round < 200; round++) {
        struct dht_id target;
        struct table_node got[20];
        dht_id_random_near(&env, &me, round % 30, &target);
        qsort_r(all, n, sizeof all[0], compare, &target);
        cr_assert_eq(table_closest(t, &target, got, 20), 20);
        for (unsigned i = 0; i < 20; i++) {
            cr_assert(dht_id_eq(&got[i].id, &all[i].id), "target %u, place %u", round, i);
        }
    }
    table_free(t);
}

Test(table, less_than_asked_for)
{
    struct table *t = table_new(&self, &v4);
    struct table_node got[8];
    struct dht_id target = id_in(2);
    cr_assert_eq(table_closest(t, &target, got, 8), 0);
    cr_assert_eq(fill(t, 5, 0, 3), 3);
    cr_assert_eq(table_closest(t, &target, got, 8), 3);
    cr_assert_eq(table_closest(t, &target, got, 2), 2);
    table_free(t);
}

Test(table, an_unanswered_query_hides_three_drop)
{
    struct table *t = table_new(&self, &v4);
    struct dht_id id = id_in(6);
    struct addr a = address(1);
    struct table_node got;
    cr_assert(table_answered(t, &id, &a, 30, 0));
    table_failed(t, &id, &a);
    cr_assert_eq(table_closest(t, &id, &got, 1), 0, "it is not handed out");
    cr_assert_eq(table_count(t), 1, "but kept");
    cr_assert(table_answered(t, &id, &a, 30, 0));
    cr_assert_eq(table_closest(t, &id, &got, 1), 1);
    for (int i = 0; i < TABLE_FAILS_DROP; i++) {
        cr_assert_eq(table_count(t), 1);
        table_failed(t, &id, &a);
    }
    cr_assert_eq(table_count(t), 0);
    table_free(t);
}

Test(table, a_spare_takes_the_place_after_two)
{
    struct table *t = table_new(&self, &v4);
    struct dht_id id = id_in(6), waiting = id_in(6);
    struct addr a = address(1), w = address(2);
    cr_assert(table_answered(t, &id, &a, 30, 0));
    cr_assert_eq(fill(t, 6, 100, 7), 7);
    cr_assert_not(table_answered(t, &waiting, &w, 30, 0), "full");
    table_failed(t, &id, &a);
    cr_assert_eq(table_count(t), 8);
    table_failed(t, &id, &a);
    cr_assert_eq(table_count(t), 8);
    struct table_node got;
    cr_assert_eq(table_closest(t, &waiting, &got, 1), 1);
    cr_assert(dht_id_eq(&got.id, &waiting));
    table_failed(t, &id, &a);
    cr_assert_eq(table_count(t), 8, "it is gone, nobody else counts for it");
    table_free(t);
}

Test(table, a_failure_at_another_address_says_nothing)
{
    struct table *t = table_new(&self, &v4);
    struct dht_id id = id_in(6);
    struct addr a = address(1), other = address(2);
    cr_assert(table_answered(t, &id, &a, 30, 0));
    table_failed(t, &id, &other);
    struct table_node got;
    cr_assert_eq(table_closest(t, &id, &got, 1), 1);
    table_free(t);
}

Test(table, one_entry_an_address)
{
    struct table *t = table_new(&self, &v4);
    struct dht_id first = id_in(0), second = id_in(1);
    struct addr a = address(1), other_port = a;
    other_port.port++;
    cr_assert(table_answered(t, &first, &a, 30, 0));
    cr_assert_not(table_answered(t, &second, &other_port, 30, 0), "the address is taken");
    cr_assert_eq(table_count(t), 1);
    cr_assert(table_answered(t, &second, &a, 30, 0), "it has another id now");
    cr_assert_eq(table_count(t), 1);
    table_failed(t, &second, &a);
    cr_assert(table_answered(t, &first, &other_port, 30, 0), "who owes an answer goes");
    cr_assert_eq(table_count(t), 1);
    table_free(t);
}

Test(table, a_spare_whose_address_is_taken_takes_no_place)
{
    struct table *t = table_new(&self, &v4);
    struct dht_id id = id_in(6), waiting = id_in(6), now = id_in(7);
    struct addr a = address(1), w = address(2);
    cr_assert(table_answered(t, &id, &a, 30, 0));
    cr_assert_eq(fill(t, 6, 100, 7), 7);
    cr_assert_not(table_answered(t, &waiting, &w, 30, 0), "full");
    cr_assert(table_answered(t, &now, &w, 30, 0), "it has another id now");
    for (int i = 0; i < TABLE_FAILS_DROP; i++) {
        table_failed(t, &id, &a);
    }
    struct table_node got;
    unsigned found = 0;
    for (size_t pos = 0; table_next(t, &pos, &got);) {
        found += addr_eq(&got.addr, &w);
    }
    cr_assert_eq(found, 1);
    cr_assert_eq(table_count(t), 8, "the place stays empty");
    table_free(t);
}

Test(table, an_id_stays_where_it_answers)
{
    struct table *t = table_new(&self, &v4);
    struct dht_id id = id_in(2);
    struct addr a = address(1), thief = address(2);
    struct table_node got;
    cr_assert_not(table_has(t, &id, &a));
    cr_assert(table_answered(t, &id, &a, 30, 0));
    cr_assert_not(table_answered(t, &id, &thief, 30, 0));
    cr_assert(table_has(t, &id, &a) && !table_has(t, &id, &thief));
    table_queried(t, &id, &thief, 0);
    cr_assert_eq(table_closest(t, &id, &got, 1), 1);
    cr_assert(addr_eq(&got.addr, &a));
    table_failed(t, &id, &a);
    cr_assert(table_answered(t, &id, &thief, 30, 0), "the first one is silent");
    cr_assert_eq(table_closest(t, &id, &got, 1), 1);
    cr_assert(addr_eq(&got.addr, &thief));
    table_free(t);
}

Test(table, two_of_a_subnet_in_a_bucket)
{
    struct table *t = table_new(&self, &v4);
    unsigned placed = 0;
    for (uint8_t i = 0; i < 20; i++) {
        struct addr a = {.family = 4, .ip = {30, 1, 2, i}, .port = 1};
        struct dht_id id = id_in(0);
        placed += table_answered(t, &id, &a, 1, 0);
    }
    cr_assert_eq(placed, 2);
    struct addr a = {.family = 4, .ip = {30, 1, 2, 200}, .port = 1};
    struct dht_id id = id_in(1);
    cr_assert(table_answered(t, &id, &a, 1, 0), "another bucket");
    table_free(t);

    struct table_config v6 = {.family = 6};
    t = table_new(&self, &v6);
    placed = 0;
    for (uint8_t i = 0; i < 20; i++) {
        struct addr six = {.family = 6, .ip = {0x20, 1, 2, 3, 4, 5, i}, .port = 1};
        id = id_in(0);
        placed += table_answered(t, &id, &six, 1, 0);
    }
    cr_assert_eq(placed, 2, "a /48");
    table_free(t);
}

Test(table, a_test_network_may_live_at_one_private_address)
{
    struct table_config crowded = {.family = 4, .private_too = true};
    for (int round = 0; round < 2; round++) {
        struct table *t = table_new(&self, round == 0 ? &v4 : &crowded);
        unsigned placed = 0;
        for (uint16_t i = 1; i <= 8; i++) {
            struct addr a = {.family = 4, .ip = {127, 0, 0, 1}, .port = i};
            struct dht_id id = id_in(0);
            placed += table_answered(t, &id, &a, 1, 0);
        }
        cr_assert_eq(placed, round == 0 ? 1 : 8);
        for (uint8_t i = 1; i <= 8; i++) {
            struct addr a = {.family = 4, .ip = {30, 0, 0, i}, .port = 1};
            struct dht_id id = id_in(1);
            placed += table_answered(t, &id, &a, 1, 0);
        }
        cr_assert_eq(placed, round == 0 ? 3 : 10, "public ones are limited all the same");
        table_free(t);
    }
}

Test(table, ids_that_fit_push_out_those_that_do_not)
{
    struct table *t = table_new(&self, &v4);
    cr_assert_eq(fill(t, 0, 0, 128), 128);
    unsigned placed = 0;
    for (unsigned i = 0; i < 300; i++) {
        struct addr a = address(1000 + i);
        struct dht_id id;
        dht_id_for_addr(&env, &a, &id);
        placed += dht_id_shared(&self, &id) == 0 && table_answered(t, &id, &a, 1, 0);
    }
    cr_assert_geq(placed, 120);
    cr_assert_eq(table_count(t), 128);
    size_t fit = 0;
    struct table_node n;
    for (size_t pos = 0; table_next(t, &pos, &n);) {
        fit += dht_id_fits(&n.id, &n.addr);
    }
    cr_assert_geq(fit, 120);
    cr_assert_not(add(t, 0, 5000, 0), "nor do they come back");
    table_free(t);
}

Test(table, hearsay_is_asked_and_never_handed_out)
{
    struct table *t = table_new(&self, &v4);
    struct dht_id id = id_in(0), asker = id_in(0);
    struct addr a = address(1), b = address(2);
    struct table_node n;
    table_heard(t, &id, &a);
    table_queried(t, &asker, &b, 0);
    cr_assert_eq(table_count(t), 0);
    cr_assert_eq(table_closest(t, &id, &n, 1), 0);
    cr_assert(table_next_check(t, 0, &n));
    cr_assert(dht_id_eq(&n.id, &id));
    cr_assert_not(n.answered);
    cr_assert(table_answered(t, &id, &a, 1, 0));
    cr_assert(table_next_check(t, 0, &n));
    cr_assert(dht_id_eq(&n.id, &asker));
    table_failed(t, &asker, &b);
    cr_assert_not(table_next_check(t, 0, &n), "forgotten");
    cr_assert_eq(table_count(t), 1);
    table_free(t);
}

Test(table, hearsay_that_does_not_say_who_it_is_makes_room)
{
    struct table *t = table_new(&self, &v4);
    struct dht_id id[TABLE_SPARES + 1];
    struct table_node n;
    unsigned named = 0;
    for (unsigned i = 0; i <= TABLE_SPARES; i++) {
        struct addr a = address(i);
        id[i] = id_in(5);
        table_heard(t, &id[i], &a);
    }
    struct addr first = address(0), elsewhere = address(1), last = address(TABLE_SPARES);
    table_nameless(t, &id[0], &elsewhere);
    table_heard(t, &id[TABLE_SPARES], &last);
    table_nameless(t, &id[0], &first);
    for (; table_next_check(t, 0, &n); named++) {
        cr_assert_not(dht_id_eq(&n.id, &id[0]));
        cr_assert_not(dht_id_eq(&n.id, &id[TABLE_SPARES]), "there was no room for it");
    }
    cr_assert_eq(named, TABLE_SPARES - 1);
    table_heard(t, &id[TABLE_SPARES], &last);
    cr_assert(table_next_check(t, 0, &n) && dht_id_eq(&n.id, &id[TABLE_SPARES]));
    cr_assert(table_answered(t, &id[1], &elsewhere, 9, 0));
    table_nameless(t, &id[1], &elsewhere);
    cr_assert(table_has(t, &id[1], &elsewhere), "who has a place keeps it");
    table_free(t);
}

Test(table, other_limits)
{
    struct table *t = table_new(&self, &v4);
    struct table_node n;
    cr_assert_eq(fill(t, 0, 0, 40), 40);
    cr_assert_eq(fill(t, 1, 1000, 20), 20);
    cr_assert_eq(fill(t, 5, 2000, 8), 8);
    table_limit(t, true, 20);
    cr_assert_eq(table_count(t), 20, "8, 8 and 4");
    cr_assert_eq(fill(t, 0, 3000, 8), 0);
    cr_assert_not(table_next_check(t, 29 * (uint64_t)MIN, &n), "a leaf takes its time");
    cr_assert(table_next_check(t, 30 * (uint64_t)MIN, &n));
    table_limit(t, false, 0);
    cr_assert_eq(table_count(t), 20);
    cr_assert_eq(fill(t, 0, 4000, 8), 8);
    cr_assert(table_next_check(t, 15 * (uint64_t)MIN, &n));
    table_free(t);
}

Test(table, who_asks_us_takes_the_turn_of_who_was_asked)
{
    struct table *t = table_new(&self, &v4);
    struct dht_id id[TABLE_SPARES + 3];
    struct table_node n;
    for (unsigned i = 0; i < TABLE_SPARES + 3; i++) {
        id[i] = id_in(5);
    }
    for (unsigned i = 0; i < TABLE_SPARES; i++) {
        struct addr a = address(i);
        table_heard(t, &id[i], &a);
    }
    struct addr a = address(TABLE_SPARES), b = address(TABLE_SPARES + 1),
                c = address(TABLE_SPARES + 2), first = address(0);
    table_queried(t, &id[TABLE_SPARES], &a, 0);
    for (unsigned i = 0; i < TABLE_SPARES; i++) {
        cr_assert(table_next_check(t, i * S, &n) && dht_id_eq(&n.id, &id[i]),
                  "who was not asked yet keeps its turn");
    }
    table_heard(t, &id[TABLE_SPARES + 1], &b);
    cr_assert_not(table_next_check(t, 5 * S, &n), "it was only named");
    table_queried(t, &id[TABLE_SPARES + 2], &c, 5 * S);
    cr_assert(table_next_check(t, 5 * S, &n) && dht_id_eq(&n.id, &id[TABLE_SPARES + 2]));
    cr_assert(table_answered(t, &id[0], &first, 9, 6 * S), "it has answered after all");
    table_free(t);
}

Test(table, questionable_nodes_are_checked_each_in_turn)
{
    struct table *t = table_new(&self, &v4);
    struct table_node n;
    cr_assert_eq(fill(t, 0, 0, 40), 40);
    cr_assert_eq(fill(t, 3, 100, 10), 10);
    cr_assert_not(table_next_check(t, 14 * (uint64_t)MIN, &n));
    uint64_t now = 15 * (uint64_t)MIN;
    unsigned asked = 0;
    for (unsigned i = 0; i < 200; i++) {
        if (table_next_check(t, now, &n)) {
            asked++;
            cr_assert(table_answered(t, &n.id, &n.addr, 1, now));
        }
    }
    cr_assert_eq(asked, 50);
    for (unsigned i = 0; i < 200; i++) {
        asked += table_next_check(t, now + 14 * (uint64_t)MIN, &n);
    }
    cr_assert_eq(asked, 50);
    table_free(t);
}

Test(table, who_asks_us_is_there)
{
    struct table *t = table_new(&self, &v4);
    struct dht_id id = id_in(0);
    struct addr a = address(1);
    struct table_node n;
    cr_assert(table_answered(t, &id, &a, 1, 0));
    table_queried(t, &id, &a, 10 * (uint64_t)MIN);
    cr_assert_not(table_next_check(t, 16 * (uint64_t)MIN, &n));
    cr_assert(table_next_check(t, 26 * (uint64_t)MIN, &n));
    table_free(t);
}

Test(table, buckets_with_room_are_refreshed)
{
    struct table *t = table_new(&self, &v4);
    struct dht_id target;
    cr_assert_eq(fill(t, 0, 0, 128), 128);
    cr_assert_eq(fill(t, 1, 200, 20), 20);
    cr_assert_eq(fill(t, 5, 300, 8), 8);
    cr_assert_not(table_next_refresh(t, &env, 14 * (uint64_t)MIN, &target));
    uint64_t now = 16 * (uint64_t)MIN;
    bool seen[8] = {false};
    for (int i = 0; i < 4; i++) {
        cr_assert(table_next_refresh(t, &env, now, &target));
        seen[dht_id_shared(&self, &target)] = true;
    }
    cr_assert(!seen[0] && seen[1] && seen[2] && seen[3] && seen[4]);
    cr_assert_not(table_next_refresh(t, &env, now, &target));
    table_free(t);
}

/* Eight nodes in a bucket in which of a thousand there should be none. */
Test(table, nobody_is_looked_for_deeper_than_the_network_reaches)
{
    struct table *t = table_new(&self, &v4);
    struct dht_id target;
    uint64_t now = 16 * (uint64_t)MIN;
    unsigned refreshed = 0, wanted = 0;
    cr_assert_eq(fill(t, 0, 0, 8), 8);
    cr_assert_eq(fill(t, 140, 300, 8), 8);
    while (table_next_refresh(t, &env, now, &target)) {
        refreshed++;
    }
    cr_assert_eq(refreshed, 8, "of 16 nodes, log2 + 4: %u", refreshed);
    table_expect(t, 1000);
    while (table_next_wanted(t, &env, now, &target)) {
        wanted++;
    }
    cr_assert_eq(wanted, 13, "%u", wanted);
    table_free(t);
}

Test(table, nodes_are_wanted_until_nobody_new_is_found)
{
    struct table *t = table_new(&self, &v4);
    struct dht_id target, id = id_in(1);
    struct addr a = address(900);
    (void)fill(t, 0, 0, 5);
    (void)fill(t, 2, 100, 8);
    bool seen[8] = {false};
    for (int i = 0; i < 3; i++) {
        cr_assert(table_next_wanted(t, &env, 0, &target));
        seen[dht_id_shared(&self, &target)] = true;
    }
    cr_assert(seen[0] && seen[1] && seen[2]);
    cr_assert_not(table_next_wanted(t, &env, 1000, &target));
    cr_assert(add(t, 0, 50, 1000));
    cr_assert(table_next_wanted(t, &env, 2000, &target), "it grows");
    cr_assert_eq(dht_id_shared(&self, &target), 0);
    cr_assert_not(table_next_wanted(t, &env, 3000, &target));
    table_heard(t, &id, &a);
    cr_assert(add(t, 1, 60, 4000));
    cr_assert_not(table_next_wanted(t, &env, 5000, &target), "that one is asked first");
    cr_assert(table_next_wanted(t, &env, 16 * (uint64_t)MIN, &target));
    table_free(t);
}

Test(table, another_id_of_our_own)
{
    struct table *t = table_new(&self, &v4);
    (void)fill(t, 0, 0, 40);
    (void)fill(t, 4, 100, 8);
    cr_assert_eq(table_count(t), 48);
    struct dht_id me = {{0x80}};
    table_set_self(t, &me);
    cr_assert_geq(table_count(t), 40);
    struct table_node got[8];
    cr_assert_eq(table_closest(t, &self, got, 8), 8);
    for (int i = 0; i < 8; i++) {
        cr_assert_eq(dht_id_shared(&self, &got[i].id), 4);
    }
    table_free(t);
}

Test(table, a_full_one_fits_into_16_kib)
{
    struct table *t = table_new(&self, &v4);
    unsigned next = 0;
    for (unsigned b = 0; b < 14; b++) {
        (void)fill(t, b, next, 200);
        next += 200;
    }
    cr_assert_geq(table_count(t), 320);
    cr_assert_leq(table_memory(t), 16 * 1024);
    table_free(t);
}
