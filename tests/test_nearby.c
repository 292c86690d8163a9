/* People nearby, on a virtual clock. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "nearby.h"
#include "seeded.h"

enum { START = 1000000 };

static uint64_t no_wall(void *ctx)
{
    (void)ctx;
    return 0;
}

static uint64_t state = 1;
static const struct env env = {&state, seeded, no_wall};

static struct nearby *host(const char *name, uint8_t cert)
{
    struct nearby *n = nearby_new(&env);
    uint8_t hash[32];
    cr_assert_not_null(n);
    memset(hash, cert, sizeof hash);
    nearby_set_self(n, hash, name, 7679);
    return n;
}

static struct addr ip(unsigned last)
{
    return (struct addr){
        .family = 4, .ip = {192, 0, (uint8_t)(last >> 8), (uint8_t)last}, .port = 7679};
}

static void make(uint8_t out[WIRE_OPEN], uint32_t who, const char *name, uint8_t flags)
{
    struct wire_open v = {.port = 7000, .flags = flags};
    memcpy(v.cert, &who, sizeof who);
    v.cert[31] = 1;
    seeded(&state, v.nonce, sizeof v.nonce);
    memcpy(v.name, name, strlen(name));
    wire_open_put(out, &v);
}

static int hear(struct nearby *n, uint32_t who, const char *name, uint8_t flags,
                const struct addr *from, uint64_t now)
{
    uint8_t bytes[WIRE_OPEN];
    make(bytes, who, name, flags);
    return nearby_recv(n, from, true, bytes, sizeof bytes, now);
}

static size_t listed(const struct nearby *n)
{
    size_t pos = 0, k = 0;
    while (nearby_next(n, &pos) != NULL) {
        k++;
    }
    return k;
}

static unsigned events(struct nearby *n, enum nearby_event_type type)
{
    struct nearby_event e;
    unsigned k = 0;
    while (nearby_next_event(n, &e)) {
        k += e.type == type;
    }
    return k;
}

static size_t outs(struct nearby *n, struct nearby_out *last)
{
    size_t k = 0;
    while (nearby_next_out(n, last)) {
        k++;
    }
    return k;
}

Test(nearby, the_schedule)
{
    struct nearby *n = host("ann", 7);
    struct nearby_out o;
    struct wire_open v;
    uint64_t at[6];
    cr_assert_eq(nearby_deadline(n), UINT64_MAX);
    nearby_show(n, START + NEARBY_VISIBLE_MS, START);
    for (size_t i = 0; i < 6; i++) {
        at[i] = nearby_deadline(n);
        nearby_tick(n, at[i]);
        cr_assert(nearby_next_out(n, &o) && o.all);
        cr_assert(wire_open_get(o.bytes, WIRE_OPEN, &v));
        cr_assert_str_eq(v.name, "ann");
        cr_assert_eq(v.flags, i < 3 ? OPEN_FLAG_ASK : 0);
        cr_assert_not(nearby_next_out(n, &o));
    }
    cr_assert(at[0] == START && at[1] == START + 150 && at[2] == START + 500);
    for (size_t i = 3; i < 6; i++) {
        cr_assert_geq(at[i] - at[i - 1], NEARBY_INTERVAL_MS);
        cr_assert_leq(at[i] - at[i - 1], NEARBY_INTERVAL_MS + NEARBY_JITTER_MS);
    }
    nearby_restart(n, at[5] + 1);
    cr_assert_eq(nearby_deadline(n), at[5] + 1);
    nearby_free(n);
}

Test(nearby, visible_for_its_time_only)
{
    struct nearby *n = host("ann", 7);
    struct nearby_out o;
    struct wire_open v;
    size_t pos = 0;
    nearby_show(n, START + NEARBY_VISIBLE_MS, START);
    while (nearby_until(n) != 0) {
        uint64_t now = nearby_deadline(n);
        cr_assert_leq(now, START + NEARBY_VISIBLE_MS);
        nearby_tick(n, now);
        cr_assert_gt(outs(n, &o), 0);
    }
    cr_assert(wire_open_get(o.bytes, WIRE_OPEN, &v) && v.flags == OPEN_FLAG_LEAVE);
    cr_assert_eq(events(n, NEARBY_HIDDEN), 1);
    cr_assert_null(nearby_nonce_next(n, &pos), "no stranger is answered any more");
    cr_assert_eq(nearby_deadline(n), UINT64_MAX);
    nearby_show(n, UINT64_MAX, START);
    nearby_tick(n, START + 365 * UINT64_C(86400000));
    cr_assert_eq(nearby_until(n), UINT64_MAX);
    nearby_free(n);
}

Test(nearby, nonces_serve_a_minute_and_count_for_ten)
{
    struct nearby *n = host("ann", 7);
    struct nearby_out o;
    struct wire_open v;
    const struct nearby_nonce *first;
    size_t pos = 0, most = 0;
    nearby_show(n, UINT64_MAX, START);
    first = nearby_nonce_next(n, &pos);
    cr_assert_not_null(first);
    uint32_t ref = first->ref;
    for (uint64_t now = START; now < START + 2 * NEARBY_NONCE_KEEP_MS;
         now = nearby_deadline(n)) {
        nearby_tick(n, now);
        while (nearby_next_out(n, &o)) {
            cr_assert(wire_open_get(o.bytes, WIRE_OPEN, &v));
        }
        size_t k = 0;
        bool newest = false, still = false;
        const struct nearby_nonce *x;
        for (pos = 0; (x = nearby_nonce_next(n, &pos)) != NULL; k++) {
            cr_assert_lt(now - x->made_ms, NEARBY_NONCE_KEEP_MS);
            newest = memcmp(x->nonce, v.nonce, sizeof v.nonce) == 0;
            still = still || x->ref == ref;
        }
        cr_assert(newest, "what is told counts");
        cr_assert_eq(still, now - START < NEARBY_NONCE_KEEP_MS);
        most = k > most ? k : most;
    }
    cr_assert_geq(most, 8);
    cr_assert_leq(most, NEARBY_NONCES_MAX);
    cr_assert_gt(events(n, NEARBY_NONCES), 15);
    nearby_free(n);
}

Test(nearby, two_see_each_other_at_once)
{
    struct nearby *a = host("ann", 7), *b = host("bob", 8);
    struct addr at_a = ip(1), at_b = ip(2);
    struct nearby_out o;
    struct nearby_event e;
    nearby_show(a, UINT64_MAX, START);
    nearby_tick(a, START);
    (void)outs(a, &o);
    nearby_show(b, UINT64_MAX, START + 5000);
    nearby_tick(b, START + 5000);
    cr_assert(nearby_next_out(b, &o));
    cr_assert_eq(nearby_recv(a, &at_b, true, o.bytes, WIRE_OPEN, START + 5000), 0);
    cr_assert(nearby_next_event(a, &e) && e.type == NEARBY_NONCES);
    cr_assert(nearby_next_event(a, &e) && e.type == NEARBY_CAME);
    cr_assert_str_eq(e.person.name, "bob");
    cr_assert(nearby_next_out(a, &o) && !o.all && addr_eq(&o.dest, &at_b));
    cr_assert_eq(nearby_recv(b, &at_a, true, o.bytes, WIRE_OPEN, START + 5001), 0);
    cr_assert_eq(listed(b), 1);
    cr_assert_eq(outs(b, &o), 0, "an answer is not answered");
    nearby_free(a);
    nearby_free(b);
}

Test(nearby, who_is_hidden_or_far_away_answers_nobody)
{
    struct nearby *n = host("ann", 7);
    struct addr from = ip(9);
    struct nearby_out o;
    uint8_t bytes[WIRE_OPEN];
    cr_assert_eq(hear(n, 1, "bob", OPEN_FLAG_ASK, &from, START), 0);
    cr_assert_eq(outs(n, &o), 0);
    cr_assert_eq(listed(n), 1, "but listens");
    nearby_show(n, UINT64_MAX, START);
    nearby_tick(n, START);
    (void)outs(n, &o);
    make(bytes, 2, "eve", OPEN_FLAG_ASK);
    cr_assert_eq(nearby_recv(n, &from, false, bytes, sizeof bytes, START), 0);
    cr_assert_eq(outs(n, &o), 0);
    nearby_free(n);
}

Test(nearby, answers_are_limited)
{
    struct nearby *n = host("ann", 7);
    struct nearby_out o;
    nearby_show(n, UINT64_MAX, START);
    nearby_tick(n, START);
    (void)outs(n, &o);
    struct addr one = ip(9);
    for (uint32_t i = 0; i < 16; i++) {
        (void)hear(n, 1, "bob", OPEN_FLAG_ASK, &one, START);
    }
    cr_assert_eq(outs(n, &o), 2, "of one source");
    size_t all = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        struct addr from = ip(100 + i);
        (void)hear(n, 100 + i, "bob", OPEN_FLAG_ASK, &from, START);
        all += outs(n, &o);
    }
    cr_assert_leq(all, 64);
    nearby_free(n);
}

Test(nearby, gone_when_silent_or_when_it_says_so)
{
    struct nearby *n = host("ann", 7);
    struct addr from = ip(9), other = ip(10);
    (void)hear(n, 1, "bob", 0, &from, START);
    (void)hear(n, 2, "eve", 0, &from, START);
    cr_assert_eq(events(n, NEARBY_CAME), 2);
    (void)hear(n, 1, "bob", OPEN_FLAG_LEAVE, &other, START + 1);
    cr_assert_eq(listed(n), 2, "not by another address");
    (void)hear(n, 1, "bob", OPEN_FLAG_LEAVE, &from, START + 1);
    cr_assert_eq(listed(n), 1);
    cr_assert_eq(events(n, NEARBY_LEFT), 1);
    cr_assert_eq(nearby_deadline(n), START + NEARBY_GONE_MS);
    nearby_tick(n, START + NEARBY_GONE_MS);
    cr_assert_eq(listed(n), 0);
    cr_assert_eq(events(n, NEARBY_LEFT), 1);
    nearby_free(n);
}

Test(nearby, one_person_of_two_addresses_is_listed_once)
{
    struct nearby *n = host("ann", 7);
    struct addr v4 = ip(9),
                v6 = {.family = 6, .ip = {0xfe, 0x80, [15] = 9}, .port = 7679};
    size_t pos = 0, k = 0;
    (void)hear(n, 1, "bob", 0, &v4, START);
    (void)hear(n, 1, "bob", 0, &v6, START);
    cr_assert_eq(listed(n), 1);
    while (nearby_next_all(n, &pos) != NULL) {
        k++;
    }
    cr_assert_eq(k, 2);
    cr_assert_eq(events(n, NEARBY_CAME), 1);
    (void)hear(n, 1, "bob", OPEN_FLAG_LEAVE, &v6, START);
    cr_assert_eq(events(n, NEARBY_LEFT), 0);
    (void)hear(n, 1, "bob", OPEN_FLAG_LEAVE, &v4, START);
    cr_assert_eq(events(n, NEARBY_LEFT), 1);
    nearby_free(n);
}

Test(nearby, another_name_is_another_face)
{
    struct nearby *n = host("ann", 7);
    struct addr from = ip(9);
    struct nearby_event e;
    (void)hear(n, 1, "bob", 0, &from, START);
    (void)events(n, NEARBY_CAME);
    (void)hear(n, 1, "rob", 0, &from, START);
    cr_assert(nearby_next_event(n, &e) && e.type == NEARBY_LEFT);
    cr_assert_str_eq(e.person.name, "bob");
    cr_assert(nearby_next_event(n, &e) && e.type == NEARBY_CAME);
    cr_assert_str_eq(e.person.name, "rob");
    nearby_free(n);
}

Test(nearby, refusals)
{
    struct nearby *n = host("ann", 7);
    struct addr from = ip(9), group;
    uint8_t bytes[WIRE_OPEN];
    struct wire_open own = {.port = 1, .name = "ann"};
    memset(own.cert, 7, sizeof own.cert);
    wire_open_put(bytes, &own);
    cr_assert_eq(nearby_recv(n, &from, true, bytes, WIRE_OPEN, START), ERR_FORMAT, "own");
    make(bytes, 1, "bob", 0);
    cr_assert_eq(nearby_recv(n, &from, true, bytes, WIRE_OPEN - 1, START), ERR_FORMAT);
    group = (struct addr){.family = 4, .ip = {239, 1, 1, 1}, .port = 1};
    cr_assert_eq(nearby_recv(n, &group, true, bytes, WIRE_OPEN, START), ERR_FORMAT);
    cr_assert_eq(listed(n), 0);
    nearby_free(n);
}

/* One host sends names as fast as it can; others that come and go are seen all the same,
 * and nobody who was there is pushed out. */
Test(nearby, a_flood_pushes_nobody_out)
{
    struct nearby *n = host("ann", 7);
    struct addr evil = ip(6);
    for (uint32_t i = 0; i < 100; i++) {
        struct addr from = ip(100 + i);
        cr_assert_eq(hear(n, 1000 + i, "somebody", 0, &from, START), 0);
    }
    size_t taken = 0;
    for (uint32_t i = 0; i < 100000; i++) {
        uint64_t now = START + i / 10;
        char name[32];
        (void)snprintf(name, sizeof name, "fake %u", i);
        taken += hear(n, 5000 + i, name, 0, &evil, now) == 0;
    }
    cr_assert_leq(taken, 16 + 4 * 10, "as many as its bucket gives");
    cr_assert_eq(listed(n), 100 + NEARBY_SOURCE_MAX);
    for (uint32_t i = 0; i < 100; i++) {
        struct addr from = ip(100 + i);
        cr_assert_eq(hear(n, 1000 + i, "somebody", 0, &from, START + 10000), 0);
    }
    cr_assert_eq(listed(n), 100 + NEARBY_SOURCE_MAX);
    nearby_free(n);
}

/* Many addresses with many names each: a new one with one name gets in at the cost of
 * who has most. */
Test(nearby, a_full_list_stays_fair)
{
    struct nearby *n = host("ann", 7);
    uint32_t who = 1;
    uint64_t now = START;
    for (unsigned host_no = 0; host_no < 64; host_no++) {
        struct addr from = ip(100 + host_no);
        for (unsigned k = 0; k < NEARBY_SOURCE_MAX; k++) {
            (void)hear(n, who++, "fake", 0, &from, now);
        }
        now += 50;
    }
    size_t pos = 0, k = 0;
    while (nearby_next_all(n, &pos) != NULL) {
        k++;
    }
    cr_assert_eq(k, NEARBY_MAX);
    for (unsigned host_no = 0; host_no < 60; host_no++) {
        struct addr from = ip(1000 + host_no);
        cr_assert_eq(hear(n, who++, "honest", 0, &from, now), 0, "%u", host_no);
        now += 20;
    }
    unsigned honest = 0;
    const struct nearby_person *p;
    for (pos = 0; (p = nearby_next_all(n, &pos)) != NULL;) {
        honest += strcmp(p->name, "honest") == 0;
    }
    cr_assert_eq(honest, 60);
    nearby_free(n);
}

Test(nearby, when_each_has_one_newcomers_wait)
{
    struct nearby *n = host("ann", 7);
    for (unsigned i = 0; i < NEARBY_MAX; i++) {
        struct addr from = ip(100 + i);
        cr_assert_eq(hear(n, 1 + i, "x", 0, &from, START + i * 10), 0);
    }
    struct addr late = ip(1000);
    cr_assert_eq(hear(n, 9999, "late", 0, &late, START + 10000), ERR_LIMIT);
    cr_assert_eq(listed(n), NEARBY_MAX);
    nearby_free(n);
}

Test(nearby, events_beyond_the_cap_become_one)
{
    struct nearby *n = host("ann", 7);
    unsigned came = 0, many = 0;
    struct nearby_event e;
    for (unsigned i = 0; i < 3 * NEARBY_EVENTS_MAX; i++) {
        struct addr from = ip(100 + i % 512);
        (void)hear(n, 1 + i, "x", 0, &from, START + i * 100);
        nearby_tick(n, START + i * 100);
    }
    while (nearby_next_event(n, &e)) {
        came += e.type == NEARBY_CAME;
        many += e.type == NEARBY_MANY;
    }
    cr_assert_gt(came, 0);
    cr_assert_eq(many, 1);
    nearby_free(n);
}
