/* Every rule of peer.h, on a clock that is an integer. */
#include <criterion/criterion.h>

#include <string.h>

#include "base/deadline.h"
#include "base/err.h"
#include "link_world.h"
#include "peer.h"

enum { T0 = 10000 };

static struct world_env env;
static const uint8_t own[32] = {5};
static const uint8_t smaller[32] = {4}, larger[32] = {6};

static struct peers *start(void)
{
    world_env(&env, 1);
    struct peers *p = peers_new(&env.env, own);
    cr_assert_not_null(p);
    return p;
}

static struct addr addr(uint8_t last)
{
    return (struct addr){.family = 4, .ip = {192, 0, 2, last}, .port = 7679};
}

static void tell(struct peers *p, uint32_t ref, uint8_t last, bool seen, uint64_t now)
{
    struct addr a = addr(last);
    peers_addr(p, ref, &a, seen, now);
}

/* The next dial goes there; it is given this conn. */
static void check_dial(struct peers *p, uint32_t ref, uint8_t last, uint32_t conn,
                       uint32_t drop)
{
    struct peer_out out;
    struct addr a = addr(last);
    cr_assert(peers_next_out(p, &out), "no dial of %u", ref);
    cr_assert_eq(out.ref, ref);
    cr_assert(addr_eq(&out.addr, &a), "%u instead of %u", out.addr.ip[3], last);
    cr_assert_eq(out.drop, drop);
    peers_dialling(p, ref, conn);
}

static void check_no_dial(struct peers *p)
{
    struct peer_out out;
    cr_assert(!peers_next_out(p, &out));
}

static void check_event(struct peers *p, uint32_t ref, bool online)
{
    struct peer_event ev;
    cr_assert(peers_next_event(p, &ev));
    cr_assert_eq(ev.ref, ref);
    cr_assert_eq(ev.online, online);
    cr_assert_eq(peers_online(p, ref), online);
}

static void check_no_event(struct peers *p)
{
    struct peer_event ev;
    cr_assert(!peers_next_event(p, &ev));
}

/* Ticks to the next deadline; returns it. */
static uint64_t next(struct peers *p)
{
    uint64_t at = peers_deadline(p);
    cr_assert_neq(at, DEADLINE_NONE);
    peers_tick(p, at);
    return at;
}

Test(peer, devices_come_and_go)
{
    struct peers *p = start();
    cr_assert_eq(peers_add(p, 3, larger), 0);
    cr_assert_eq(peers_add(p, 1, larger), 0);
    cr_assert_eq(peers_add(p, 2, larger), 0);
    cr_assert_eq(peers_add(p, 2, larger), ERR_EXISTS);
    tell(p, 1, 1, true, T0);
    tell(p, 2, 2, true, T0);
    tell(p, 3, 3, true, T0);
    peers_del(p, 2);
    peers_del(p, 2);
    check_dial(p, 1, 1, 11, 0);
    check_dial(p, 3, 3, 13, 0);
    check_no_dial(p);
    check_event(p, 1, true);
    check_event(p, 3, true);
    check_no_event(p);
    /* unknown devices are nobody */
    tell(p, 2, 2, true, T0);
    peers_want(p, 2, true, T0);
    peers_gone(p, 2, T0);
    peers_dialling(p, 2, 5);
    peers_dial_failed(p, 2, 5, T0);
    cr_assert_eq(peers_link_up(p, 2, 5, true, T0), 0);
    peers_link_down(p, 2, 5, PEER_END_CUT, T0);
    cr_assert_eq(peers_link(p, 2), 0);
    cr_assert(!peers_online(p, 2));
    cr_assert_eq(peers_addrs(p, 2, NULL, 0), 0);
    check_no_dial(p);
    peers_free(p);
    peers_free(NULL);
}

Test(peer, at_most_so_many)
{
    struct peers *p = start();
    for (uint32_t i = 0; i < PEER_MAX; i++) {
        cr_assert_eq(peers_add(p, PEER_MAX - i, larger), 0);
    }
    cr_assert_eq(peers_add(p, PEER_MAX + 1, larger), ERR_LIMIT);
    peers_del(p, 7);
    cr_assert_eq(peers_add(p, PEER_MAX + 1, larger), 0);
    cr_assert_eq(peers_deadline(p), DEADLINE_NONE);
    peers_free(p);
}

Test(peer, addresses_newest_first)
{
    struct peers *p = start();
    struct addr out[PEER_ADDRS + 2];
    cr_assert_eq(peers_add(p, 1, larger), 0);
    for (uint8_t i = 1; i <= 10; i++) {
        tell(p, 1, i, false, T0);
    }
    tell(p, 1, 5, false, T0); /* known */
    cr_assert_eq(peers_addrs(p, 1, out, 20), PEER_ADDRS);
    for (size_t i = 0; i < PEER_ADDRS; i++) {
        cr_assert_eq(out[i].ip[3], 10 - i);
    }
    tell(p, 1, 5, true, T0); /* seen there: before all others */
    tell(p, 1, 11, false, T0);
    cr_assert_eq(peers_addrs(p, 1, out, 3), 3);
    cr_assert_eq(out[0].ip[3], 5);
    cr_assert_eq(out[1].ip[3], 11);
    cr_assert_eq(out[2].ip[3], 10);
    struct addr bad = {.family = 4, .ip = {192, 0, 2, 1}};
    peers_addr(p, 1, &bad, true, T0);
    cr_assert_eq(peers_addrs(p, 1, out, 20), PEER_ADDRS);
    peers_free(p);
}

Test(peer, wanted_without_an_address_waits_for_one)
{
    struct peers *p = start();
    cr_assert_eq(peers_add(p, 1, larger), 0);
    peers_want(p, 1, true, T0);
    check_no_dial(p);
    tell(p, 1, 1, false, T0 + 5);
    check_dial(p, 1, 1, 11, 0);
    check_no_dial(p);
    check_no_event(p); /* not seen yet */
    peers_free(p);
}

Test(peer, an_address_alone_is_no_reason)
{
    struct peers *p = start();
    cr_assert_eq(peers_add(p, 1, larger), 0);
    tell(p, 1, 1, false, T0);
    check_no_dial(p);
    peers_want(p, 1, true, T0);
    peers_want(p, 1, false, T0);
    check_no_dial(p); /* not any more */
    cr_assert_eq(peers_deadline(p), DEADLINE_NONE);
    peers_free(p);
}

Test(peer, who_is_called_is_dialled_once_seen_or_not)
{
    struct peers *p = start();
    cr_assert_eq(peers_add(p, 1, larger), 0);
    peers_call(p, 1, T0); /* it has no address */
    tell(p, 1, 1, false, T0);
    check_no_dial(p);
    tell(p, 1, 2, false, T0);
    peers_call(p, 1, T0);
    check_dial(p, 1, 2, 10, 0);
    peers_dial_failed(p, 1, 10, T0);
    check_dial(p, 1, 1, 11, 0);
    peers_dial_failed(p, 1, 11, T0);
    check_no_dial(p);
    check_no_event(p);
    cr_assert_eq(peers_deadline(p), DEADLINE_NONE, "each address was tried once");
    peers_call(p, 1, T0);
    check_dial(p, 1, 2, 12, 0);
    cr_assert_eq(peers_link_up(p, 1, 12, true, T0), 0);
    peers_call(p, 1, T0); /* nothing to do */
    peers_link_down(p, 1, 12, PEER_END_CUT, T0);
    cr_assert_eq(peers_deadline(p), DEADLINE_NONE);
    peers_free(p);
}

Test(peer, who_is_wanted_can_be_asked)
{
    struct peers *p = start();
    cr_assert_eq(peers_add(p, 1, larger), 0);
    cr_assert_not(peers_wanted(p, 1));
    cr_assert_not(peers_wanted(p, 2));
    peers_want(p, 1, true, T0);
    cr_assert(peers_wanted(p, 1));
    peers_hold(p, 1, PEER_HOLD_FILE, true, T0);
    peers_want(p, 1, false, T0);
    cr_assert(peers_wanted(p, 1));
    peers_hold(p, 1, PEER_HOLD_FILE, false, T0);
    cr_assert_not(peers_wanted(p, 1));
    peers_free(p);
}

Test(peer, addresses_are_tried_one_at_a_time)
{
    struct peers *p = start();
    cr_assert_eq(peers_add(p, 1, larger), 0);
    for (uint8_t i = 1; i <= 4; i++) {
        tell(p, 1, i, false, T0);
    }
    peers_want(p, 1, true, T0);
    check_dial(p, 1, 4, 14, 0);
    check_no_dial(p);
    /* no answer: the next after PEER_ADDR_MS, and the one before is ended */
    cr_assert_eq(peers_deadline(p), T0 + PEER_ADDR_MS);
    peers_tick(p, T0 + PEER_ADDR_MS - 1);
    check_no_dial(p);
    peers_tick(p, T0 + PEER_ADDR_MS);
    struct peer_out out;
    cr_assert(peers_next_out(p, &out));
    cr_assert_eq(out.drop, 14);
    peers_dial_failed(p, 1, 14, T0 + PEER_ADDR_MS); /* by ending it */
    check_no_dial(p);
    peers_dialling(p, 1, 13);
    peers_dial_failed(p, 1, 14, T0 + PEER_ADDR_MS);
    check_no_dial(p);
    /* a failure: the next at once */
    peers_dial_failed(p, 1, 13, T0 + 2000);
    check_dial(p, 1, 2, 12, 0);
    /* an address learnt meanwhile comes before the older ones */
    tell(p, 1, 9, false, T0 + 2000);
    peers_dial_failed(p, 1, 12, T0 + 2100);
    check_dial(p, 1, 9, 19, 0);
    peers_dial_failed(p, 1, 19, T0 + 2100);
    check_dial(p, 1, 1, 11, 0);
    /* the last one has all the time it needs */
    peers_tick(p, T0 + 20000);
    check_no_dial(p);
    cr_assert_eq(peers_deadline(p), DEADLINE_NONE);
    peers_free(p);
}

Test(peer, a_dial_that_nobody_wants_any_more_goes_on_alone, .timeout = 20)
{
    struct peers *p = start();
    uint64_t late = T0 + PEER_ADDR_MS;
    cr_assert_eq(peers_add(p, 1, larger), 0);
    tell(p, 1, 1, false, T0);
    tell(p, 1, 2, false, T0);
    peers_want(p, 1, true, T0);
    check_dial(p, 1, 2, 10, 0);
    peers_want(p, 1, false, T0);
    peers_tick(p, late);
    check_no_dial(p); /* the next address is for nobody */
    cr_assert_eq(peers_deadline(p), DEADLINE_NONE);
    peers_want(p, 1, true, late);
    check_dial(p, 1, 1, 11, 10);
    peers_free(p);
}

Test(peer, failures_back_off)
{
    struct peers *p = start();
    cr_assert_eq(peers_add(p, 1, larger), 0);
    tell(p, 1, 1, false, T0);
    peers_want(p, 1, true, T0);
    uint64_t now = T0, want = PEER_RETRY_MIN_MS;
    uint32_t conn = 1;
    for (int i = 0; i < 20; i++) {
        check_dial(p, 1, 1, conn, 0);
        peers_dial_failed(p, 1, conn++, now);
        check_no_dial(p);
        uint64_t wait = peers_deadline(p) - now;
        cr_assert_leq(wait, want);
        cr_assert_gt(wait, want * 3 / 4 - 1);
        peers_tick(p, now + wait - 1);
        check_no_dial(p);
        now = next(p);
        want = want * 2 < PEER_RETRY_MAX_MS ? want * 2 : PEER_RETRY_MAX_MS;
    }
    check_dial(p, 1, 1, conn, 0);
    peers_dial_failed(p, 1, conn++, now);
    /* a known address is no news; a new one is, and so is a beacon */
    tell(p, 1, 1, false, now);
    check_no_dial(p);
    tell(p, 1, 2, false, now);
    check_dial(p, 1, 2, conn, 0);
    peers_dial_failed(p, 1, conn++, now);
    check_dial(p, 1, 1, conn, 0);
    peers_dial_failed(p, 1, conn++, now);
    cr_assert_leq(peers_deadline(p), now + PEER_RETRY_MIN_MS);
    tell(p, 1, 1, true, now + 10);
    check_dial(p, 1, 1, conn, 0);
    peers_free(p);
}

Test(peer, network_change_tries_all_again)
{
    struct peers *p = start();
    uint64_t now = T0;
    for (uint32_t i = 1; i <= 2; i++) {
        cr_assert_eq(peers_add(p, i, larger), 0);
        tell(p, i, 1, false, now);
        peers_want(p, i, true, now);
    }
    check_dial(p, 1, 1, 11, 0);
    check_dial(p, 2, 1, 12, 0);
    for (int i = 0; i < 6; i++) {
        peers_dial_failed(p, 1, 11, now);
        now = next(p);
        check_dial(p, 1, 1, 11, 0);
    }
    peers_dial_failed(p, 1, 11, now);
    peers_network_changed(p, now + 1);
    check_dial(p, 1, 1, 21, 0);
    check_dial(p, 2, 1, 22, 12); /* the old one goes over a network that is gone */
    peers_dial_failed(p, 1, 21, now + 1);
    cr_assert_leq(peers_deadline(p), now + 1 + PEER_RETRY_MIN_MS);
    peers_free(p);
}

Test(peer, beacons_make_online_and_their_end_offline)
{
    struct peers *p = start();
    cr_assert_eq(peers_add(p, 1, larger), 0);
    tell(p, 1, 1, true, T0);
    check_event(p, 1, true);
    tell(p, 1, 1, true, T0 + 60000);
    check_no_event(p);
    check_dial(p, 1, 1, 11, 0);
    cr_assert_eq(peers_deadline(p), T0 + 60000 + PEER_GONE_MS);
    peers_tick(p, T0 + 60000 + PEER_GONE_MS - 1);
    check_no_event(p);
    peers_tick(p, T0 + 60000 + PEER_GONE_MS);
    check_event(p, 1, false);
    tell(p, 1, 1, true, T0 + 300000);
    check_event(p, 1, true);
    peers_gone(p, 1, T0 + 300001);
    check_event(p, 1, false);
    /* there and gone before anybody asked is no event */
    tell(p, 1, 1, true, T0 + 300002);
    peers_gone(p, 1, T0 + 300003);
    check_no_event(p);
    peers_free(p);
}

Test(peer, a_link_is_online_without_beacons)
{
    struct peers *p = start();
    cr_assert_eq(peers_add(p, 1, larger), 0);
    cr_assert_eq(peers_link_up(p, 1, 9, false, T0), 0);
    check_event(p, 1, true);
    cr_assert_eq(peers_link(p, 1), 9);
    peers_gone(p, 1, T0 + 1);
    check_no_event(p);
    peers_link_down(p, 1, 8, PEER_END_CUT, T0 + 2); /* another one */
    cr_assert_eq(peers_link(p, 1), 9);
    peers_link_down(p, 1, 9, PEER_END_CUT, T0 + 2);
    check_event(p, 1, false);
    cr_assert_eq(peers_link(p, 1), 0);
    check_no_dial(p);
    peers_free(p);
}

/* Fills the table with links. */
static void link_many(struct peers *p, uint32_t n, uint64_t now)
{
    for (uint32_t i = 0; i < n; i++) {
        cr_assert_eq(peers_add(p, 100 + i, larger), 0);
        cr_assert_eq(peers_link_up(p, 100 + i, 1000 + i, false, now), 0);
        check_event(p, 100 + i, true);
    }
}

Test(peer, seen_ones_are_dialled_while_links_are_few)
{
    struct peers *p = start();
    link_many(p, PEER_LINKS_FREE - 1, T0);
    for (uint32_t i = 1; i <= 2; i++) {
        cr_assert_eq(peers_add(p, i, larger), 0);
        /* seen and asked: a link was up in this presence */
        tell(p, i, (uint8_t)i, true, T0);
        cr_assert_eq(peers_link_up(p, i, i, false, T0), 0);
        peers_link_down(p, i, i, PEER_END_OURS, T0 + 10000);
        check_event(p, i, true);
    }
    check_no_dial(p);
    /* one place is free, and a dial takes it */
    uint64_t now = T0 + 10000 + PEER_RACE_MS;
    peers_tick(p, now);
    check_dial(p, 1, 1, 11, 0);
    check_no_dial(p);
    cr_assert_eq(peers_link_up(p, 1, 11, true, now), 0);
    check_no_dial(p);
    /* a link fewer: the next one's turn */
    peers_link_down(p, 100, 1000, PEER_END_OURS, now + 1);
    check_dial(p, 2, 2, 12, 0);
    cr_assert_eq(peers_link_up(p, 2, 12, true, now + 1), 0);
    check_no_dial(p);
    /* so it is when a device is deleted */
    cr_assert_eq(peers_add(p, 3, larger), 0);
    tell(p, 3, 3, true, now + 2);
    cr_assert_eq(peers_link_up(p, 3, 13, false, now + 2), 0);
    peers_link_down(p, 3, 13, PEER_END_OURS, now + 10000);
    peers_tick(p, now + 20000);
    check_no_dial(p);
    peers_del(p, 101);
    check_dial(p, 3, 3, 13, 0);
    peers_free(p);
}

Test(peer, many_links_do_not_keep_away_what_is_unknown_or_waited_for)
{
    struct peers *p = start();
    link_many(p, PEER_LINKS_FREE + 3, T0);
    for (uint32_t i = 1; i <= 2; i++) {
        cr_assert_eq(peers_add(p, i, larger), 0);
    }
    /* a beacon after silence: what it has is not known */
    tell(p, 1, 1, true, T0);
    check_event(p, 1, true);
    check_dial(p, 1, 1, 11, 0);
    cr_assert_eq(peers_link_up(p, 1, 11, true, T0), 0);
    peers_link_down(p, 1, 11, PEER_END_OURS, T0 + 10000);
    peers_tick(p, T0 + 20000);
    tell(p, 1, 1, true, T0 + 20000);
    check_no_dial(p); /* it was asked */
    peers_gone(p, 1, T0 + 20000);
    check_event(p, 1, false);
    tell(p, 1, 1, true, T0 + 20001);
    check_dial(p, 1, 1, 21, 0); /* silence again */
    peers_dial_failed(p, 1, 21, T0 + 20001);
    /* something waits */
    tell(p, 2, 2, false, T0 + 20002);
    check_no_dial(p);
    peers_want(p, 2, true, T0 + 20002);
    check_dial(p, 2, 2, 12, 0);
    peers_free(p);
}

Test(peer, a_cut_link_is_dialled_again)
{
    struct peers *p = start();
    link_many(p, PEER_LINKS_FREE, T0);
    cr_assert_eq(peers_add(p, 1, larger), 0);
    tell(p, 1, 1, true, T0);
    check_dial(p, 1, 1, 11, 0);
    cr_assert_eq(peers_link_up(p, 1, 11, true, T0 + 5), 0);
    peers_link_down(p, 1, 11, PEER_END_CUT, T0 + 60000);
    cr_assert_leq(peers_deadline(p), T0 + 60000 + PEER_RETRY_MIN_MS);
    uint64_t now = next(p);
    check_dial(p, 1, 1, 12, 0);
    /* links that break at once back off like failures */
    for (unsigned i = 0; i < 5; i++) {
        cr_assert_eq(peers_link_up(p, 1, 12 + i, true, now), 0);
        peers_link_down(p, 1, 12 + i, PEER_END_CUT, now + 1);
        uint64_t at = peers_deadline(p);
        cr_assert_geq(at, now + ((uint64_t)PEER_RETRY_MIN_MS << i) * 3 / 4);
        now = next(p);
        check_dial(p, 1, 1, 13 + i, 0);
    }
    peers_free(p);
}

Test(peer, one_we_closed_is_not_dialled_at_once)
{
    struct peers *p = start();
    cr_assert_eq(peers_add(p, 1, larger), 0);
    tell(p, 1, 1, true, T0);
    check_dial(p, 1, 1, 11, 0);
    cr_assert_eq(peers_link_up(p, 1, 11, true, T0), 0);
    peers_want(p, 1, true, T0);
    peers_link_down(p, 1, 11, PEER_END_OURS, T0 + 1000);
    check_no_dial(p);
    cr_assert_eq(peers_deadline(p), T0 + 1000 + PEER_RACE_MS);
    next(p);
    check_dial(p, 1, 1, 12, 0);
    peers_free(p);
}

/* Two links: when they came, who dialled, who has the smaller key. */
static void race(const uint8_t *theirs, bool first_ours, bool second_ours, uint64_t apart,
                 bool newer_stays)
{
    struct peers *p = start();
    cr_assert_eq(peers_add(p, 1, theirs), 0);
    cr_assert_eq(peers_link_up(p, 1, 21, first_ours, T0), 0);
    uint32_t close = peers_link_up(p, 1, 22, second_ours, T0 + apart);
    cr_assert_eq(close, newer_stays ? 21 : 22);
    cr_assert_eq(peers_link(p, 1), newer_stays ? 22 : 21);
    peers_link_down(p, 1, close, PEER_END_OURS, T0 + apart);
    cr_assert_neq(peers_link(p, 1), 0);
    cr_assert_eq(peers_link_up(p, 1, peers_link(p, 1), true, T0 + apart), 0);
    check_event(p, 1, true);
    check_no_event(p);
    peers_free(p);
}

Test(peer, of_two_links_one_stays)
{
    /* later than the race: the newer, whoever dialled */
    for (int i = 0; i < 8; i++) {
        race((i & 1) != 0 ? smaller : larger, (i & 2) != 0, (i & 4) != 0,
             PEER_RACE_MS + 1, true);
    }
    /* in the race: the one whose dialler has the smaller key */
    race(larger, true, false, PEER_RACE_MS, false);
    race(larger, false, true, PEER_RACE_MS, true);
    race(smaller, true, false, 0, true);
    race(smaller, false, true, 0, false);
    /* by the same dialler: it has restarted, the older one is dead */
    race(larger, true, true, 10, true);
    race(larger, false, false, 10, true);
    race(smaller, true, true, 10, true);
    race(smaller, false, false, 10, true);
}

Test(peer, both_sides_of_a_race_agree)
{
    for (int order = 0; order < 4; order++) {
        world_env(&env, 1);
        struct peers *a = peers_new(&env.env, smaller), *b = peers_new(&env.env, larger);
        cr_assert_eq(peers_add(a, 1, larger), 0);
        cr_assert_eq(peers_add(b, 1, smaller), 0);
        /* 31 dialled by a, 32 by b; they complete in either order on either side */
        for (int i = 0; i < 2; i++) {
            uint32_t conn = 31 + (uint32_t)(i ^ (order & 1));
            (void)peers_link_up(a, 1, conn, conn == 31, T0 + (uint64_t)i);
            conn = 31 + (uint32_t)(i ^ (order >> 1));
            (void)peers_link_up(b, 1, conn, conn == 32, T0 + (uint64_t)i);
        }
        cr_assert_eq(peers_link(a, 1), 31);
        cr_assert_eq(peers_link(b, 1), 31);
        peers_free(a);
        peers_free(b);
    }
}

Test(peer, an_incoming_link_ends_the_search)
{
    struct peers *p = start();
    cr_assert_eq(peers_add(p, 1, larger), 0);
    tell(p, 1, 1, false, T0);
    tell(p, 1, 2, false, T0);
    peers_want(p, 1, true, T0);
    check_dial(p, 1, 2, 12, 0);
    peers_tick(p, T0 + PEER_ADDR_MS); /* the next is queued */
    cr_assert_eq(peers_link_up(p, 1, 50, false, T0 + PEER_ADDR_MS), 0);
    check_no_dial(p);
    cr_assert_eq(peers_deadline(p), DEADLINE_NONE);
    peers_dial_failed(p, 1, 12, T0 + 5000); /* ours, still out */
    check_no_dial(p);
    peers_link_down(p, 1, 50, PEER_END_CUT, T0 + 100000);
    cr_assert_leq(next(p), T0 + 100000 + PEER_RETRY_MIN_MS);
    check_dial(p, 1, 2, 13, 0);
    peers_free(p);
}

Test(peer, waiting_again_tries_at_once)
{
    struct peers *p = start();
    uint64_t now = T0;
    cr_assert_eq(peers_add(p, 1, larger), 0);
    tell(p, 1, 1, false, now);
    peers_want(p, 1, true, now);
    check_dial(p, 1, 1, 11, 0);
    for (int i = 0; i < 9; i++) {
        peers_dial_failed(p, 1, 11, now);
        now = next(p);
        check_dial(p, 1, 1, 11, 0);
    }
    peers_dial_failed(p, 1, 11, now);
    peers_want(p, 1, true, now); /* nothing new */
    check_no_dial(p);
    peers_want(p, 1, false, now);
    peers_want(p, 1, true, now);
    check_dial(p, 1, 1, 12, 0);
    peers_dial_failed(p, 1, 12, now);
    cr_assert_gt(peers_deadline(p), now + PEER_RETRY_MAX_MS / 2, "it still backs off");
    peers_free(p);
}

Test(peer, dials_of_many_are_given_in_order)
{
    struct peers *p = start();
    for (uint32_t i = 1; i <= 200; i++) {
        cr_assert_eq(peers_add(p, i, larger), 0);
        peers_want(p, i, true, T0);
        tell(p, i, (uint8_t)i, true, T0);
    }
    for (uint32_t i = 1; i <= 200; i++) {
        check_event(p, i, true);
        if (i != 40) {
            continue;
        }
        peers_del(p, 100);
        peers_del(p, 200);
        break;
    }
    for (uint32_t i = 1; i < 200; i++) {
        if (i != 100) {
            check_dial(p, i, (uint8_t)i, i, 0);
        }
    }
    check_no_dial(p);
    for (uint32_t i = 41; i < 200; i++) {
        if (i != 100) {
            check_event(p, i, true);
        }
    }
    check_no_event(p);
    peers_free(p);
}

/* More links than PEER_LINKS_FREE to devices that are seen, all in use since now. */
static void link_seen(struct peers *p, uint32_t n, uint64_t now)
{
    for (uint32_t i = 0; i < n; i++) {
        cr_assert_eq(peers_add(p, 100 + i, larger), 0);
        cr_assert_eq(peers_link_up(p, 100 + i, 1000 + i, false, now), 0);
        tell(p, 100 + i, (uint8_t)(100 + i), true, now);
    }
}

Test(peer, idle_links_end_down_to_what_is_free)
{
    struct peers *p = start();
    link_seen(p, PEER_LINKS_FREE + 3, T0);
    cr_assert_eq(peers_links(p), PEER_LINKS_FREE + 3);
    cr_assert_eq(peers_next_idle(p), 0, "none is idle yet");
    /* these are of use, waited for, or have no other way to be known as there */
    peers_used(p, 100, T0 + PEER_IDLE_MS - 1);
    peers_want(p, 101, true, T0 + 1);
    peers_gone(p, 102, T0 + 1);
    peers_tick(p, T0 + PEER_IDLE_MS - 1);
    cr_assert_eq(peers_next_idle(p), 0);
    peers_tick(p, T0 + PEER_IDLE_MS);
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t conn = peers_next_idle(p);
        cr_assert(conn > 1002, "%u", conn);
        peers_link_down(p, conn - 900, conn, PEER_END_OURS, T0 + PEER_IDLE_MS);
        cr_assert(peers_online(p, conn - 900), "its beacons tell that it is there");
    }
    cr_assert_eq(peers_next_idle(p), 0, "no more than enough are up");
    cr_assert_eq(peers_links(p), PEER_LINKS_FREE);
    check_no_dial(p);
    peers_free(p);
}

Test(peer, a_few_links_are_kept_however_idle)
{
    struct peers *p = start();
    link_seen(p, PEER_LINKS_FREE, T0);
    peers_tick(p, T0 + 10 * PEER_IDLE_MS);
    cr_assert_eq(peers_next_idle(p), 0);
    peers_free(p);
}

Test(peer, an_idle_link_that_is_wanted_meanwhile_stays)
{
    struct peers *p = start();
    link_seen(p, PEER_LINKS_FREE + 1, T0);
    uint64_t now = T0 + PEER_IDLE_MS;
    peers_tick(p, now);
    for (uint32_t i = 0; i < PEER_LINKS_FREE; i++) {
        peers_want(p, 100 + i, true, now);
    }
    peers_used(p, 100 + PEER_LINKS_FREE, now);
    cr_assert_eq(peers_next_idle(p), 0);
    for (uint32_t i = 0; i < PEER_LINKS_FREE; i++) {
        peers_want(p, 100 + i, false, now);
    }
    cr_assert_neq(peers_next_idle(p), 0, "and goes when it is not");
    peers_free(p);
}

Test(peer, who_was_sent_away_dials_only_with_a_reason)
{
    struct peers *p = start();
    cr_assert_eq(peers_add(p, 1, larger), 0);
    tell(p, 1, 1, true, T0);
    check_dial(p, 1, 1, 11, 0);
    cr_assert_eq(peers_link_up(p, 1, 11, true, T0), 0);
    peers_link_down(p, 1, 11, PEER_END_IDLE, T0 + 60000);
    cr_assert(peers_online(p, 1));
    tell(p, 1, 1, true, T0 + 60001);
    check_no_dial(p);
    peers_want(p, 1, true, T0 + 60002); /* at once: no time to wait for */
    check_dial(p, 1, 1, 12, 0);
    cr_assert_eq(peers_link_up(p, 1, 12, true, T0 + 60003), 0);
    peers_want(p, 1, false, T0 + 60004);
    peers_link_down(p, 1, 12, PEER_END_IDLE, T0 + 120000);
    check_no_dial(p);
    /* new beacons after silence: its digest is not known */
    peers_gone(p, 1, T0 + 300000);
    tell(p, 1, 1, true, T0 + 400000);
    check_dial(p, 1, 1, 13, 0);
    peers_free(p);
}

Test(peer, who_let_a_link_go_dials_again_when_few_are_left)
{
    struct peers *p = start();
    link_seen(p, PEER_LINKS_FREE + 1, T0);
    uint64_t now = T0 + PEER_IDLE_MS;
    peers_tick(p, now);
    uint32_t conn = peers_next_idle(p);
    peers_link_down(p, conn - 900, conn, PEER_END_OURS, now);
    for (uint32_t i = 0; i < PEER_LINKS_FREE + 1; i++) {
        check_no_dial(p);
        if (1000 + i != conn) {
            peers_gone(p, 100 + i, now);
            peers_link_down(p, 100 + i, 1000 + i, PEER_END_OURS, now);
        }
        if (peers_links(p) < PEER_LINKS_FEW) {
            break;
        }
    }
    struct peer_out out;
    cr_assert(peers_next_out(p, &out));
    cr_assert_eq(out.ref, conn - 900);
    peers_free(p);
}

Test(peer, who_comes_is_not_dialled_by_all_at_once)
{
    struct peers *p = start();
    struct peer_out out;
    link_seen(p, 100, T0);
    while (peers_next_out(p, &out)) {
    }
    uint64_t first = UINT64_MAX, last = 0;
    for (uint32_t i = 1; i <= 50; i++) {
        cr_assert_eq(peers_add(p, i, larger), 0);
        tell(p, i, (uint8_t)i, true, T0);
        tell(p, i, (uint8_t)i, true, T0); /* its burst goes on */
    }
    for (unsigned n = 0; n < 50; n++) {
        while (!peers_next_out(p, &out)) {
            uint64_t at = peers_deadline(p);
            cr_assert_leq(at, T0 + 150 * PEER_SPREAD_MS);
            first = at < first ? at : first;
            last = at;
            peers_tick(p, at);
        }
        peers_dialling(p, out.ref, 5000 + out.ref);
        cr_assert_eq(peers_link_up(p, out.ref, 5000 + out.ref, true, last), 0);
    }
    cr_assert_gt(last, first + 50 * PEER_SPREAD_MS, "spread out");
    /* but at once when something waits */
    cr_assert_eq(peers_add(p, 60, larger), 0);
    tell(p, 60, 60, true, last);
    peers_want(p, 60, true, last);
    cr_assert(peers_next_out(p, &out));
    cr_assert_eq(out.ref, 60);
    peers_free(p);
}

Test(peer, links_end_sooner_while_they_are_very_many)
{
    struct peers *p = start();
    link_seen(p, PEER_LINKS_MANY + 5, T0);
    uint64_t now = T0 + PEER_IDLE_MS;
    unsigned ended = 0;
    for (uint32_t i = 0; i < PEER_LINKS_MANY + 5; i++) {
        peers_used(p, 100 + i, now - PEER_IDLE_MANY_MS);
    }
    peers_tick(p, now);
    for (uint32_t conn; (conn = peers_next_idle(p)) != 0; ended++) {
        peers_link_down(p, conn - 900, conn, PEER_END_OURS, now);
    }
    cr_assert_eq(ended, 5);
    peers_free(p);
}
