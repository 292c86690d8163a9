/* Meeting through the DHT: looking others up, and what is found. */
#include "meet_lone.h"

/* ---- look-ups ---- */

Test(meet_find, everybody_is_looked_up_once_after_our_own_word_is_stored)
{
    struct lone *l = lone();
    struct other o = befriend(l, 1);
    uint8_t pub[32], pair[32];
    l->hold = true;
    online(l);
    run(l, 20 * S);
    cr_assert_eq(count(l, MEET_GET), 0);
    l->hold = false;
    for (size_t i = 0; i < l->n; i++) {
        answer(l, &l->log[i].out);
    }
    run(l, S);
    other_pub(l, &o, 0, pub);
    pair_pub(l, &o, 0, pair);
    cr_assert_eq(count_pub(l, MEET_GET, pub), 1);
    cr_assert_eq(count_pub(l, MEET_GET, pair), 1);
    cr_assert_eq(count_events(l, MEET_ABSENT), 1);
    size_t n = count(l, MEET_GET);
    run(l, 10 * HOUR);
    cr_assert_eq(count(l, MEET_GET), n);
    done(l);
}

Test(meet_find, everybody_is_looked_up_also_when_nothing_can_be_stored)
{
    struct lone *l = lone();
    (void)befriend(l, 1);
    l->puts = MEET_UNASKED;
    online(l);
    run(l, MEET_ROUND_LATE_MS + S);
    cr_assert_gt(count(l, MEET_GET), 0);
    done(l);
}

Test(meet_find, found)
{
    struct lone *l = lone();
    struct other o = befriend(l, 1);
    struct wire_where there = where_of(77, WIRE_NAT_NONE);
    uint8_t pub[32];
    l->hold = true;
    online(l);
    meet_want(l->m, 1, true, l->now_ms);
    other_pub(l, &o, 0, pub);
    size_t i = wait_for(l, MEET_GET, pub, S);
    cr_assert_eq(l->log[i].out.seq, 0);
    struct item it = word_of(l, &o, 0, 100, &there);
    cr_assert_eq(give(l, l->log[i].out.id, &it), 0);
    cr_assert_eq(give(l, l->log[i].out.id, &it), ERR_STALE); /* of another node */
    drain(l);
    cr_assert_eq(l->n_events, 1);
    cr_assert(l->events[0].type == MEET_WHERE && l->events[0].kind == MEET_CONTACT);
    cr_assert(l->events[0].ref == 1 && l->events[0].where.udp[0].ip[3] == 77);
    size_t gets = count(l, MEET_GET);
    meet_done(l->m, l->log[i].out.id, MEET_ANSWERED, 0, l->now_ms);
    run(l, 5 * S); /* nothing else is looked at */
    cr_assert_eq(count(l, MEET_GET), gets);
    cr_assert_eq(count_events(l, MEET_ABSENT) + count_events(l, MEET_UNKNOWN), 0);
    done(l);
}

/* An older item is refused, a newer one of the same look-up is told as well. */
Test(meet_find, the_newest_counts)
{
    struct lone *l = lone();
    struct other o = befriend(l, 1);
    struct wire_where there = where_of(77, WIRE_NAT_NONE);
    uint8_t pub[32];
    l->hold = true;
    online(l);
    meet_want(l->m, 1, true, l->now_ms);
    other_pub(l, &o, 0, pub);
    size_t i = wait_for(l, MEET_GET, pub, S);
    struct item old = word_of(l, &o, 0, 99, &there), it = word_of(l, &o, 0, 100, &there);
    struct item newer = word_of(l, &o, 0, 101, &there);
    cr_assert_eq(give(l, l->log[i].out.id, &it), 0);
    cr_assert_eq(give(l, l->log[i].out.id, &old), ERR_STALE);
    cr_assert_eq(give(l, l->log[i].out.id, &newer), 0);
    meet_done(l->m, l->log[i].out.id, MEET_ANSWERED, 0, l->now_ms);
    drain(l);
    cr_assert_eq(count_events(l, MEET_WHERE), 2);
    /* Nor is it believed at the next look-up, when somebody plays it back. */
    clear(l);
    i = wait_for(l, MEET_GET, pub, 5 * MINUTE);
    cr_assert_eq(give(l, l->log[i].out.id, &it), ERR_STALE);
    cr_assert_eq(give(l, l->log[i].out.id, &newer), 0);
    done(l);
}

Test(meet_find, absent_and_not_asked_are_told_apart)
{
    struct lone *l = lone();
    (void)befriend(l, 1);
    online(l);
    meet_want(l->m, 1, true, l->now_ms);
    run(l, 2 * S);
    cr_assert_geq(count_events(l, MEET_ABSENT), 1);
    cr_assert_eq(count_events(l, MEET_UNKNOWN), 0);
    done(l);
    l = lone();
    (void)befriend(l, 1);
    l->gets = MEET_UNASKED;
    online(l);
    run(l, MINUTE);
    cr_assert_eq(count_events(l, MEET_ABSENT), 0);
    cr_assert_geq(count_events(l, MEET_UNKNOWN), 2); /* tried again */
    l->gets = MEET_ANSWERED;
    clear(l);
    run(l, 15 * MINUTE);
    cr_assert_eq(count_events(l, MEET_ABSENT), 1);
    clear(l);
    run(l, 5 * HOUR);
    cr_assert_eq(l->n_events, 0);
    done(l);
}

Test(meet_find, who_is_wanted_is_looked_up_ever_more_rarely_until_reached)
{
    struct lone *l = lone();
    (void)befriend(l, 1);
    online(l);
    run(l, MINUTE);
    clear(l);
    meet_want(l->m, 1, true, l->now_ms);
    run(l, HOUR);
    size_t first = count_events(l, MEET_ABSENT);
    cr_assert(first >= 5 && first <= 7, "%zu", first);
    run(l, 23 * HOUR);
    size_t day = count_events(l, MEET_ABSENT);
    cr_assert(day >= first + 4 && day <= first + 9, "%zu", day);
    clear(l);
    meet_reached(l->m, MEET_CONTACT, 1, true, l->now_ms);
    run(l, 24 * HOUR);
    cr_assert_eq(count(l, MEET_GET), 0);
    meet_reached(l->m, MEET_CONTACT, 1, false, l->now_ms); /* the link was lost */
    run(l, MEET_LOST_MIN_MS - 1);
    cr_assert_eq(count(l, MEET_GET), 0);
    run(l, MEET_LOST_JITTER_MS + S);
    cr_assert_gt(count(l, MEET_GET), 0);
    done(l);
}

/* Word of the code may be on its way into the DHT while it is used. */
Test(meet_find, an_inviter_is_looked_up_again_at_once_and_then_ever_more_rarely)
{
    struct lone *l = lone();
    uint8_t secret[32] = {1};
    online(l);
    run(l, MINUTE);
    clear(l);
    cr_assert_eq(meet_adding(l->m, 4, secret, l->now_ms), 0);
    run(l, 4 * S);
    cr_assert_eq(count_events(l, MEET_ABSENT), 2);
    run(l, MINUTE - 4 * S);
    size_t first = count_events(l, MEET_ABSENT);
    cr_assert(first >= 5 && first <= 6, "%zu", first);
    run(l, HOUR);
    size_t more = count_events(l, MEET_ABSENT) - first;
    cr_assert(more >= 4 && more <= 6, "%zu", more);
    done(l);
}

/* When all move at one moment, each is to find what the others have put since. */
Test(meet_find, who_is_lost_while_everybody_is_to_be_looked_up_waits_for_that)
{
    struct lone *l = lone();
    struct other o = befriend(l, 1);
    uint8_t pub[32];
    online(l);
    run(l, MINUTE);
    meet_reached(l->m, MEET_CONTACT, 1, true, l->now_ms);
    clear(l);
    l->hold = true;
    meet_network_changed(l->m, l->now_ms);
    struct wire_where moved = where_of(2, WIRE_NAT_NONE);
    meet_set_where(l->m, &moved, l->now_ms);
    meet_reached(l->m, MEET_CONTACT, 1, false, l->now_ms);
    run(l, MEET_LOST_MIN_MS + MEET_LOST_JITTER_MS);
    cr_assert_eq(count(l, MEET_GET), 0);
    run(l, MEET_ROUND_LATE_MS);
    other_pub(l, &o, 0, pub);
    cr_assert_eq(count_pub(l, MEET_GET, pub), 1);
    done(l);
}

Test(meet_find, near_the_end_of_an_epoch_the_next_is_looked_at_as_well)
{
    struct lone *l = lone();
    struct other o = befriend(l, 1);
    struct wire_where old = where_of(50, WIRE_NAT_NONE), new = where_of(51, 1);
    uint8_t pub[3][32];
    at_age(l, &o, EPOCH_S - 1800);
    l->hold = true;
    online(l);
    meet_want(l->m, 1, true, l->now_ms);
    for (int i = 0; i < 3; i++) {
        other_pub(l, &o, i - 1, pub[i]);
    }
    size_t i = wait_for(l, MEET_GET, pub[1], S);
    struct item it = word_of(l, &o, 0, 100, &old);
    cr_assert_eq(give(l, l->log[i].out.id, &it), 0);
    meet_done(l->m, l->log[i].out.id, MEET_ANSWERED, 0, l->now_ms);
    i = wait_for(l, MEET_GET, pub[2], S); /* its clock may have gone on */
    it = word_of(l, &o, 1, 200, &new);
    cr_assert_eq(give(l, l->log[i].out.id, &it), 0);
    meet_done(l->m, l->log[i].out.id, MEET_ANSWERED, 0, l->now_ms);
    run(l, 5 * S);
    cr_assert_eq(count_pub(l, MEET_GET, pub[0]), 0);
    cr_assert_eq(count_events(l, MEET_WHERE), 2);
    cr_assert_eq(l->events[1].where.udp[0].ip[3], 51);
    done(l);
}

Test(meet_find, near_the_beginning_the_one_before_is_looked_at_when_nothing_is_there)
{
    struct lone *l = lone();
    struct other o = befriend(l, 1);
    uint8_t pub[3][32];
    at_age(l, &o, 3599);
    for (int i = 0; i < 3; i++) {
        other_pub(l, &o, i - 1, pub[i]);
    }
    online(l);
    run(l, 2 * S);
    cr_assert_eq(count_pub(l, MEET_GET, pub[1]), 1);
    cr_assert_eq(count_pub(l, MEET_GET, pub[0]), 1);
    cr_assert_eq(count_pub(l, MEET_GET, pub[2]), 0);
    done(l);
}

Test(meet_find, in_the_middle_neighbours_are_looked_at_only_the_second_time)
{
    struct lone *l = lone();
    struct other o = befriend(l, 1);
    uint8_t pub[3][32];
    at_age(l, &o, EPOCH_S / 2);
    online(l);
    meet_want(l->m, 1, true, l->now_ms);
    for (int i = 0; i < 3; i++) {
        other_pub(l, &o, i - 1, pub[i]);
    }
    wait_for(l, MEET_GET, pub[1], S);
    run(l, 100);
    cr_assert_eq(count_pub(l, MEET_GET, pub[0]) + count_pub(l, MEET_GET, pub[2]), 0);
    run(l, 3 * MINUTE);
    cr_assert_geq(count_pub(l, MEET_GET, pub[0]), 1);
    cr_assert_geq(count_pub(l, MEET_GET, pub[2]), 1);
    done(l);
}

/* ---- hostile answers ---- */

Test(meet_find, what_is_not_right_is_refused)
{
    struct lone *l = lone();
    struct other o = befriend(l, 1), x = other(l, 2);
    struct wire_where there = where_of(77, WIRE_NAT_NONE);
    struct meet_stats stats;
    uint8_t pub[32];
    l->hold = true;
    online(l);
    meet_want(l->m, 1, true, l->now_ms);
    other_pub(l, &o, 0, pub);
    uint32_t id = l->log[wait_for(l, MEET_GET, pub, S)].out.id;
    struct item good = word_of(l, &o, 0, 100, &there), it = good;
    it.sig[5] ^= 1;
    cr_assert_eq(give(l, id, &it), ERR_AUTH);
    it = good;
    it.v[100] ^= 1;
    cr_assert_eq(give(l, id, &it), ERR_AUTH);
    it = good;
    it.seq = 101; /* who stores it makes it seem newer */
    cr_assert_eq(give(l, id, &it), ERR_AUTH);
    it.seq = UINT64_MAX;
    cr_assert_eq(give(l, id, &it), ERR_FORMAT);
    it = word_of(l, &x, 0, 100, &there); /* somebody else's */
    cr_assert_eq(give(l, id, &it), ERR_AUTH);
    it = word_of(l, &o, 1, 100, &there); /* of another epoch */
    cr_assert_eq(give(l, id, &it), ERR_AUTH);
    cr_assert_eq(meet_value(l->m, id, 100, good.v, 0, good.sig, l->now_ms), ERR_AUTH);
    cr_assert_eq(meet_value(l->m, id, 100, good.v, sizeof good.v + 1, good.sig, 0),
                 ERR_FORMAT);
    cr_assert_eq(give(l, id + 1000, &good), ERR_NOTFOUND);
    meet_stats(l->m, &stats);
    cr_assert_eq(stats.refused, 8);
    drain(l);
    cr_assert_eq(l->n_events, 0);
    cr_assert_eq(give(l, id, &good), 0);
    done(l);
}

/* Signed by the owner, but not what it should be. */
Test(meet_find, a_contact_who_breaks_the_rules)
{
    struct lone *l = lone();
    struct other o = befriend(l, 1);
    uint8_t pub[32], seal[32], text[WIRE_ITEM_SIGNED_MAX], sig[64];
    static const uint8_t fresh[BLIND_RANDOM] = {1};
    struct blind_key k;
    uint64_t e = blind_epoch(blind_offset(o.p), wall_s(l));
    l->hold = true;
    online(l);
    meet_want(l->m, 1, true, l->now_ms);
    other_pub(l, &o, 0, pub);
    uint32_t id = l->log[wait_for(l, MEET_GET, pub, S)].out.id;
    cr_assert_eq(blind_key(o.p, o.seed, e, &k), 0);
    struct wr w = wr_init(text, sizeof text);
    wire_item_signed(&w, 5, (const uint8_t *)"3:abc", 5);
    cr_assert_eq(blind_sign(&k, text, w.len, fresh, sig), 0);
    cr_assert_eq(meet_value(l->m, id, 5, (const uint8_t *)"3:abc", 5, sig, 0),
                 ERR_FORMAT);
    uint8_t value[BLIND_VALUE], v[WIRE_ITEM_VALUE];
    static const uint8_t nonce[BLIND_NONCE] = {1};
    blind_where_seal(o.p, e, seal);
    cr_assert_eq(blind_seal(seal, k.pub, 6, nonce, (const uint8_t *)"i1e", 3, value), 0);
    w = wr_init(v, sizeof v);
    wire_item_put(&w, value);
    w = wr_init(text, sizeof text);
    wire_item_signed(&w, 6, v, sizeof v);
    cr_assert_eq(blind_sign(&k, text, w.len, fresh, sig), 0);
    cr_assert_eq(meet_value(l->m, id, 6, v, sizeof v, sig, 0), ERR_FORMAT);
    done(l);
}

Test(meet_find, a_presence_secret_that_is_none_is_not_used)
{
    struct lone *l = lone();
    struct other o = other(l, 1);
    static const uint8_t neutral[32] = {1};
    uint8_t pair[32];
    memcpy(o.c.a, neutral, 32);
    cr_assert_eq(meet_contact(l->m, &o.c, l->now_ms), 0);
    online(l);
    meet_want(l->m, 1, true, l->now_ms);
    run(l, 100);
    cr_assert_gt(count(l, MEET_GET), 0);
    size_t there = 0;
    for (int i = -1; i <= 1; i++) {
        pair_pub(l, &o, i, pair);
        there += count_pub(l, MEET_GET, pair);
    }
    cr_assert_eq(there, count(l, MEET_GET));
    done(l);
}

/* ---- rotation of the other ---- */

Test(meet_find, a_new_presence_secret_is_learnt_from_the_pairs_place)
{
    struct lone *l = lone();
    struct other o = befriend(l, 1), fresh = other(l, 1);
    struct wire_where there = where_of(88, WIRE_NAT_EASY);
    uint8_t pair[32];
    bool knocked = false;
    l->hold = true;
    online(l);
    meet_want(l->m, 1, true, l->now_ms);
    size_t i = wait_for(l, MEET_GET, NULL, S);
    meet_done(l->m, l->log[i].out.id, MEET_ANSWERED, 0, l->now_ms);
    clear(l);
    pair_pub(l, &o, 0, pair);
    l->hold = false; /* neighbours, when there are, have nothing */
    for (l->hold = true;;) {
        i = wait_for(l, MEET_GET, NULL, S);
        if (memcmp(l->log[i].out.pub, pair, 32) == 0) {
            break;
        }
        meet_done(l->m, l->log[i].out.id, MEET_ANSWERED, 0, l->now_ms);
        clear(l);
    }
    there.has_presence = true;
    memcpy(there.presence_p, fresh.c.p, 32);
    memcpy(there.presence_a, fresh.c.a, 32);
    struct item it = pair_word_of(l, &o, 100, &there);
    cr_assert_eq(give(l, l->log[i].out.id, &it), 0);
    drain(l);
    cr_assert_eq(count_events(l, MEET_WHERE), 1);
    cr_assert(!l->events[0].where.has_presence);
    /* It is knocked at where it polls now. */
    run(l, 2 * S);
    for (unsigned slot = 0; slot < BLIND_KNOCK_SLOTS; slot++) {
        struct blind_key k;
        blind_knock_slot(fresh.p, blind_epoch(blind_offset(fresh.p), wall_s(l)), slot,
                         &k);
        knocked = knocked || last_put(l, k.pub) != NULL;
    }
    cr_assert(knocked);
    done(l);
}

/* Gives a word at the pair's place, with that seq, as soon as it is looked at. */
static int word_at_pair(struct lone *l, const struct other *o, uint64_t seq)
{
    struct wire_where there = where_of(88, WIRE_NAT_NONE);
    uint8_t pair[32];
    pair_pub(l, o, 0, pair);
    l->hold = true;
    for (;;) {
        clear(l);
        size_t i = wait_for(l, MEET_GET, NULL, 10 * MINUTE);
        if (memcmp(l->log[i].out.pub, pair, 32) == 0) {
            struct item it = pair_word_of(l, o, seq, &there);
            int err = give(l, l->log[i].out.id, &it);
            meet_done(l->m, l->log[i].out.id, MEET_ANSWERED, 0, l->now_ms);
            return err;
        }
        meet_done(l->m, l->log[i].out.id, MEET_ANSWERED, 0, l->now_ms);
    }
}

Test(meet_find, who_pairs_anew_has_new_places)
{
    struct lone *l = lone();
    struct other o = other(l, 1);
    o.c.has_presence = false;
    cr_assert_eq(meet_contact(l->m, &o.c, l->now_ms), 0);
    online(l);
    meet_want(l->m, 1, true, l->now_ms);
    cr_assert_eq(word_at_pair(l, &o, 100), 0);
    cr_assert_eq(word_at_pair(l, &o, 99), ERR_STALE);
    random_bytes(l, o.c.pair, 32);
    cr_assert_eq(meet_contact(l->m, &o.c, l->now_ms), 0);
    cr_assert_eq(word_at_pair(l, &o, 50), 0);
    done(l);
}
