/* Whose record it is: where candidates were met says whom to try first, and how much may
 * be tried for others is limited. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/err.h"
#include "link_priv.h"
#include "link_world.h"

enum { OTHERS = 1000, REF = 7000 };

static struct addr at(const char *text)
{
    struct addr a;
    cr_assert_eq(addr_parse(text, 0, &a), 0);
    return a;
}

/* A ring of many, w.listen behind them all, and the record that is from it. */
static void begin(struct world *w, uint8_t rec[WORLD_OUT])
{
    world_init(w, LINK_CONTACT);
    keyring_release(&w->ring);
    struct link_candidate c = {.kind = LINK_CONTACT};
    for (uint32_t i = 1; i <= OTHERS; i++) {
        c.ref = i;
        memset(c.keys.k_tag, 1, sizeof c.keys.k_tag);
        memcpy(c.keys.k_tag, &i, sizeof i);
        cr_assert_eq(keyring_put(&w->ring, &c), 0);
    }
    w->listen.ref = REF;
    cr_assert_eq(keyring_put(&w->ring, &w->listen), 0);
    cr_assert_eq(link_next_out(w->d.l, rec, WORLD_OUT, w->now), WIRE_RECORD1);
}

static uint32_t whose(struct world *w, const struct addr *from, const uint8_t *rec,
                      uint64_t now)
{
    uint8_t msg[LINK_MSG1];
    struct link_candidate *c = keyring_match(&w->ring, from, rec, msg, now);
    return c != NULL ? c->ref : 0;
}

Test(keyring, finds_whose_record_it_is)
{
    struct world w;
    uint8_t rec[WORLD_OUT];
    struct addr from = at("10.0.0.1:1"), unknown = {0};
    begin(&w, rec);
    cr_assert_eq(whose(&w, &from, rec, w.now), REF);
    cr_assert_eq(whose(&w, &unknown, rec, w.now), REF);
    rec[20] ^= 1;
    cr_assert_eq(whose(&w, &from, rec, w.now), 0);
    world_release(&w);
}

Test(keyring, a_source_can_try_only_so_much)
{
    struct world w;
    uint8_t rec[WORLD_OUT], junk[WORLD_OUT] = {9};
    struct addr bad = at("10.0.0.66:1"), good = at("10.0.0.1:1");
    uint64_t now = 1000000;
    unsigned most = LINK_TRIALS_SOURCE_BURST / (OTHERS + 1);
    begin(&w, rec);
    for (unsigned i = 0; i < most; i++) {
        cr_assert_eq(whose(&w, &bad, junk, now), 0);
    }
    cr_assert_eq(whose(&w, &bad, rec, now), 0, "beyond its limit");
    cr_assert_eq(whose(&w, &good, rec, now), REF, "others are not hurt");
    cr_assert_eq(whose(&w, &bad, rec, now + 1000), REF, "it comes back");
    for (unsigned i = 0; i < most; i++) {
        (void)whose(&w, &bad, junk, now + 1000);
    }
    cr_assert_eq(whose(&w, &bad, rec, now + 1000), 0);
    keyring_met(&w.ring, LINK_CONTACT, REF, &bad);
    cr_assert_eq(whose(&w, &bad, rec, now + 1000), REF,
                 "who was met there is not counted");
    world_release(&w);
}

Test(keyring, many_sources_cannot_shut_out_who_was_met)
{
    struct world w;
    uint8_t rec[WORLD_OUT], junk[WORLD_OUT] = {9};
    struct addr home = at("10.0.0.1:1"), other = at("10.9.0.1:1");
    uint64_t now = 1000000;
    begin(&w, rec);
    keyring_met(&w.ring, LINK_CONTACT, REF, &home);
    for (unsigned i = 0; i < LINK_TRIALS_BURST / OTHERS; i++) {
        struct addr from = {.family = 4, .ip = {10, 1, (uint8_t)(i >> 8), (uint8_t)i}};
        (void)whose(&w, &from, junk, now);
    }
    cr_assert_eq(whose(&w, &other, rec, now), 0);
    cr_assert_eq(whose(&w, &home, rec, now), REF);
    world_release(&w);
}

Test(keyring, hints_are_kept_when_the_ring_grows_and_are_not_for_ever)
{
    struct world w;
    uint8_t rec[WORLD_OUT], junk[WORLD_OUT] = {9};
    struct addr home = at("10.0.0.1:1");
    struct link_candidate c = {.kind = LINK_CONTACT};
    uint64_t now = 1000000;
    begin(&w, rec);
    keyring_met(&w.ring, LINK_CONTACT, REF, &home);
    for (uint32_t i = 10000; i < 14000; i++) {
        c.ref = i;
        cr_assert_eq(keyring_put(&w.ring, &c), 0);
    }
    for (unsigned i = 0; i < LINK_TRIALS_SOURCE_BURST / w.ring.n; i++) {
        (void)whose(&w, &home, junk, now);
    }
    cr_assert_eq(whose(&w, &home, rec, now), REF);
    /* LINK_HINTS others at the same place take its place; nobody was met there for whom
     * no record fits */
    for (uint32_t i = 0; i < LINK_HINTS; i++) {
        keyring_met(&w.ring, LINK_CONTACT, 10000 + i, &home);
    }
    cr_assert_eq(whose(&w, &home, rec, now), 0);
    keyring_met(&w.ring, LINK_CONTACT, REF, &home);
    cr_assert_eq(whose(&w, &home, rec, now), REF);
    keyring_del(&w.ring, LINK_CONTACT, REF);
    cr_assert_eq(whose(&w, &home, rec, now), 0, "gone from the ring: no candidate");
    world_release(&w);
}
