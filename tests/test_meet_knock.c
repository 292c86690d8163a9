/* Meeting through the DHT: knocks, own slots, and codes. */
#include "meet_lone.h"

/* ---- knocks ---- */

/* Whether out is a put into a slot of o in the epoch `ahead` from now. */
static bool is_knock(const struct lone *l, const struct other *o, int ahead,
                     const struct meet_out *out)
{
    uint64_t e = blind_epoch(blind_offset(o->p), wall_s(l)) + (uint64_t)ahead;
    for (unsigned slot = 0; out->kind == MEET_PUT && slot < BLIND_KNOCK_SLOTS; slot++) {
        struct blind_key k;
        blind_knock_slot(o->p, e, slot, &k);
        if (memcmp(k.pub, out->pub, 32) == 0) {
            return true;
        }
    }
    return false;
}

static size_t knocks(const struct lone *l, const struct other *o, int ahead)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++) {
        n += is_knock(l, o, ahead, &l->log[i].out);
    }
    return n;
}

/* Online, o wanted and found there; requests are answered from then on. */
static void find_other(struct lone *l, const struct other *o, enum wire_nat nat)
{
    struct wire_where there = where_of(77, nat);
    uint8_t pub[32];
    l->hold = true;
    online(l);
    meet_want(l->m, o->c.ref, true, l->now_ms);
    other_pub(l, o, 0, pub);
    size_t i = wait_for(l, MEET_GET, pub, S);
    struct item it = word_of(l, o, 0, 100, &there);
    cr_assert_eq(give(l, l->log[i].out.id, &it), 0);
    l->hold = false;
    for (i = 0; i < l->n; i++) {
        answer(l, &l->log[i].out);
    }
}

Test(meet_knock, who_cannot_be_dialled_is_knocked_at)
{
    struct lone *l = lone();
    struct other o = befriend(l, 1), x = other(l, 2);
    struct wire_where got;
    uint8_t seal[32], content[BLIND_CONTENT_MAX];
    size_t n, at = 0;
    find_other(l, &o, WIRE_NAT_HARD);
    run(l, 2 * S);
    cr_assert_eq(knocks(l, &o, 0), 1);
    while (!is_knock(l, &o, 0, &l->log[at].out)) {
        at++;
    }
    const struct meet_out *out = &l->log[at].out;
    blind_knock_seal(o.c.pair, l->device, o.c.device, seal);
    open_where(out, seal, &got);
    cr_assert(got.time_ms != 0 && got.udp[0].ip[3] == 1 && !got.has_presence);
    blind_knock_seal(x.c.pair, l->device, o.c.device, seal); /* another contact of o */
    cr_assert_eq(blind_open(seal, out->pub, out->seq,
                            wire_item_get(out->v, sizeof out->v), BLIND_VALUE, content,
                            &n),
                 ERR_AUTH);
    /* Again twice, and not when it is reached. */
    run(l, 50 * S);
    cr_assert_eq(knocks(l, &o, 0), 1);
    run(l, 45 * S);
    cr_assert_geq(knocks(l, &o, 0), 2);
    clear(l);
    meet_reached(l->m, MEET_CONTACT, 1, true, l->now_ms);
    run(l, HOUR);
    cr_assert_eq(knocks(l, &o, 0), 0);
    done(l);
}

Test(meet_knock, who_can_be_dialled_is_knocked_at_later)
{
    struct lone *l = lone();
    struct other o = befriend(l, 1);
    find_other(l, &o, WIRE_NAT_NONE);
    run(l, MEET_DIAL_WANTED_MS - 1);
    cr_assert_eq(knocks(l, &o, 0), 0);
    run(l, 2);
    cr_assert_eq(knocks(l, &o, 0), 1);
    done(l);
}

/* It was found when nobody waited for it, and its knock may take 30 s. */
Test(meet_knock, who_is_wanted_meanwhile_is_knocked_at_sooner)
{
    struct lone *l = lone();
    struct other o = befriend(l, 1);
    struct wire_where there = where_of(77, WIRE_NAT_NONE);
    uint8_t pub[32];
    uint64_t late = 0;
    other_pub(l, &o, 0, pub);
    l->hold = true;
    online(l);
    size_t i = wait_for(l, MEET_GET, pub, 40 * S);
    struct item it = word_of(l, &o, 0, 100, &there);
    cr_assert_eq(give(l, l->log[i].out.id, &it), 0);
    l->hold = false;
    for (size_t j = 0; j < l->n; j++) {
        answer(l, &l->log[j].out);
    }
    run(l, S);
    clear(l);
    l->hold = true;
    meet_want(l->m, 1, true, l->now_ms);
    i = wait_for(l, MEET_GET, pub, S);
    it = word_of(l, &o, 0, 101, &there);
    cr_assert_eq(give(l, l->log[i].out.id, &it), 0);
    l->hold = false;
    answer(l, &l->log[i].out);
    for (late = l->now_ms; knocks(l, &o, 0) == 0;) {
        run(l, 100);
        cr_assert_leq(l->now_ms - late, MEET_DIAL_WANTED_MS + 200);
    }
    done(l);
}

Test(meet_knock, a_knock_stands_in_the_epoch_that_the_other_may_be_in)
{
    struct lone *l = lone();
    struct other o = befriend(l, 1);
    at_age(l, &o, EPOCH_S - 1000);
    find_other(l, &o, WIRE_NAT_EASY);
    run(l, 2 * S);
    cr_assert(knocks(l, &o, 0) == 1 && knocks(l, &o, 1) == 1 && knocks(l, &o, -1) == 0);
    done(l);
    l = lone();
    o = befriend(l, 1);
    at_age(l, &o, 1000);
    find_other(l, &o, WIRE_NAT_EASY);
    run(l, 2 * S);
    cr_assert(knocks(l, &o, 0) == 1 && knocks(l, &o, 1) == 0 && knocks(l, &o, -1) == 1);
    done(l);
}

Test(meet_knock, a_slot_that_is_taken_is_left_for_another)
{
    struct lone *l = lone();
    struct other o = befriend(l, 1);
    at_age(l, &o, EPOCH_S / 2);
    find_other(l, &o, WIRE_NAT_EASY);
    l->hold = true;
    clear(l);
    size_t i = wait_for(l, MEET_PUT, NULL, S);
    while (!is_knock(l, &o, 0, &l->log[i].out)) {
        meet_done(l->m, l->log[i].out.id, MEET_ANSWERED, 0, l->now_ms);
        clear(l);
        i = wait_for(l, MEET_PUT, NULL, S);
    }
    struct meet_out first = l->log[i].out;
    clear(l);
    meet_done(l->m, first.id, MEET_ANSWERED, first.seq + 500, l->now_ms);
    i = wait_for(l, MEET_PUT, NULL, S);
    cr_assert(is_knock(l, &o, 0, &l->log[i].out));
    cr_assert_gt(l->log[i].out.seq, first.seq + 500);
    struct meet_out second = l->log[i].out;
    clear(l); /* by one who knocks in the same millisecond */
    meet_done(l->m, second.id, MEET_ANSWERED, second.seq, l->now_ms);
    i = wait_for(l, MEET_PUT, NULL, S);
    cr_assert(is_knock(l, &o, 0, &l->log[i].out));
    cr_assert_gt(l->log[i].out.seq, second.seq);
    /* One that cannot be passed: a few tries, no storm. */
    for (unsigned tries = 0; tries < 20; tries++) {
        for (i = 0; i < l->n; i++) {
            meet_done(l->m, l->log[i].out.id, MEET_ANSWERED, INT64_MAX, l->now_ms);
        }
        run(l, 10);
    }
    cr_assert_leq(knocks(l, &o, 0), 3);
    done(l);
}

Test(meet_knock, nobody_is_knocked_at_without_an_address_or_when_hidden)
{
    struct lone *l = lone();
    struct other o = befriend(l, 1);
    struct wire_where nowhere = {.nat = WIRE_NAT_HARD};
    meet_set_where(l->m, &nowhere, l->now_ms);
    find_other(l, &o, WIRE_NAT_EASY);
    run(l, 30 * S);
    cr_assert_eq(count(l, MEET_PUT), 0);
    done(l);
    l = lone(); /* hidden, and nothing waits for it any more */
    o = befriend(l, 1);
    meet_set_hidden(l->m, true, l->now_ms);
    find_other(l, &o, WIRE_NAT_EASY);
    meet_want(l->m, 1, false, l->now_ms);
    run(l, 30 * S);
    cr_assert_eq(count(l, MEET_PUT), 0);
    done(l);
}

/* ---- own slots ---- */

static void slot_pub(const struct lone *l, unsigned slot, uint8_t pub[32])
{
    struct blind_key k;
    blind_knock_slot(l->p, blind_epoch(blind_offset(l->p), wall_s(l)), slot, &k);
    memcpy(pub, k.pub, 32);
}

Test(meet_knock, slots_are_polled_fast_and_then_slowly)
{
    struct lone *l = lone();
    uint8_t pub[32];
    (void)befriend(l, 1);
    online(l);
    run(l, 2 * MINUTE);
    for (unsigned i = 0; i < BLIND_KNOCK_SLOTS; i++) {
        slot_pub(l, i, pub);
        size_t n = count_pub(l, MEET_POLL, pub);
        cr_assert(n >= 24 && n <= 25, "%zu", n);
    }
    run(l, 10 * S);
    clear(l);
    run(l, HOUR);
    slot_pub(l, 2, pub);
    size_t n = count_pub(l, MEET_POLL, pub);
    cr_assert(n >= 54 && n <= 67, "%zu", n);
    clear(l);
    meet_network_changed(l->m, l->now_ms);
    run(l, MINUTE);
    cr_assert_geq(count_pub(l, MEET_POLL, pub), 12);
    done(l);
}

Test(meet_knock, nobody_to_knock_no_polls)
{
    struct lone *l = lone();
    online(l);
    run(l, HOUR);
    cr_assert_eq(count(l, MEET_POLL), 1); /* at our own whereabouts */
    (void)befriend(l, 1);
    meet_reached(l->m, MEET_CONTACT, 1, true, l->now_ms);
    run(l, HOUR);
    cr_assert_leq(count(l, MEET_POLL), 1 + BLIND_KNOCK_SLOTS);
    meet_reached(l->m, MEET_CONTACT, 1, false, l->now_ms);
    clear(l);
    run(l, HOUR);
    cr_assert_geq(count(l, MEET_POLL), 50 * BLIND_KNOCK_SLOTS);
    done(l);
}

static struct item knock_of(const struct lone *l, const struct other *o, unsigned slot,
                            uint64_t seq, uint64_t time_ms)
{
    struct wire_where there = where_of(99, WIRE_NAT_EASY);
    struct blind_key k;
    uint8_t seal[32];
    there.time_ms = time_ms;
    blind_knock_slot(l->p, blind_epoch(blind_offset(l->p), wall_s(l)), slot, &k);
    blind_knock_seal(o->c.pair, o->c.device, l->device, seal);
    return make_item(&k, seal, seq, &there);
}

/* Waits for the next poll of that slot and gives it the value. */
static int give_slot(struct lone *l, unsigned slot, const struct item *it,
                     uint64_t *seq_asked)
{
    uint8_t pub[32];
    slot_pub(l, slot, pub);
    clear(l);
    l->hold = true;
    size_t i = wait_for(l, MEET_POLL, pub, 70 * S);
    *seq_asked = l->log[i].out.seq;
    int err = give(l, l->log[i].out.id, it);
    l->hold = false;
    for (i = 0; i < l->n; i++) {
        answer(l, &l->log[i].out);
    }
    drain(l);
    return err;
}

Test(meet_knock, a_knock_is_heard_once)
{
    struct lone *l = lone();
    struct other o = befriend(l, 1), stranger = other(l, 2), friend = befriend(l, 3);
    uint64_t asked;
    online(l);
    run(l, 5 * MINUTE);
    struct item it = knock_of(l, &friend, 1, 100, 5000);
    cr_assert_eq(give_slot(l, 1, &it, &asked), 0);
    cr_assert_eq(asked, 0);
    cr_assert_eq(count_events(l, MEET_KNOCK), 1);
    cr_assert(l->events[0].ref == 3 && l->events[0].where.udp[0].ip[3] == 99);
    cr_assert_eq(give_slot(l, 1, &it, &asked), ERR_STALE);
    cr_assert_eq(asked, 100);                /* so nobody needs to send it again */
    it = knock_of(l, &friend, 2, 100, 5000); /* the same in another slot */
    cr_assert_eq(give_slot(l, 2, &it, &asked), ERR_STALE);
    cr_assert_eq(count_events(l, MEET_KNOCK), 0);
    it = knock_of(l, &o, 1, 101, 9);
    cr_assert_eq(give_slot(l, 1, &it, &asked), 0);
    cr_assert_eq(l->events[0].ref, 1);
    it = knock_of(l, &stranger, 3, 100, 5000); /* was removed, has p still */
    cr_assert_eq(give_slot(l, 3, &it, &asked), ERR_AUTH);
    it = knock_of(l, &o, 0, 100, 0); /* without a time */
    cr_assert_eq(give_slot(l, 0, &it, &asked), ERR_FORMAT);
    cr_assert_eq(count_events(l, MEET_KNOCK), 0);
    done(l);
}

/* Who stores knocks may show one again that was heard before. */
Test(meet_knock, an_old_knock_does_nothing)
{
    struct lone *l = lone();
    struct other o = befriend(l, 1);
    uint64_t asked, now_ms = wall_s(l) * S, far_ms = UINT64_C(4070908800000);
    online(l);
    run(l, 5 * MINUTE);
    struct item it = knock_of(l, &o, 1, 100, now_ms);
    cr_assert_eq(give_slot(l, 1, &it, &asked), 0);
    it = knock_of(l, &o, 2, 100, now_ms - 1);
    cr_assert_eq(give_slot(l, 2, &it, &asked), ERR_STALE);
    cr_assert_eq(count_events(l, MEET_KNOCK), 0);
    meet_knocked(l->m, 1, now_ms + 50); /* heard in an earlier run */
    it = knock_of(l, &o, 2, 101, now_ms + 50);
    cr_assert_eq(give_slot(l, 2, &it, &asked), ERR_STALE);
    it = knock_of(l, &o, 2, 102, now_ms + 51);
    cr_assert_eq(give_slot(l, 2, &it, &asked), 0);
    /* A clock in 2099 locks nobody out for long. */
    it = knock_of(l, &o, 3, 100, far_ms);
    cr_assert_eq(give_slot(l, 3, &it, &asked), 0);
    it = knock_of(l, &o, 0, 100, far_ms);
    cr_assert_eq(give_slot(l, 0, &it, &asked), ERR_STALE);
    run(l, 25 * HOUR);
    it = knock_of(l, &o, 1, 100, wall_s(l) * S);
    cr_assert_eq(give_slot(l, 1, &it, &asked), 0);
    done(l);
}

/* It says so, so that it can be remembered. */
Test(meet_knock, who_is_reached_knocks_for_nothing)
{
    struct lone *l = lone();
    struct other o = befriend(l, 1);
    (void)befriend(l, 2); /* who is not: slots are polled */
    uint64_t asked;
    online(l);
    run(l, 5 * MINUTE);
    meet_reached(l->m, MEET_CONTACT, 1, true, l->now_ms);
    struct item it = knock_of(l, &o, 1, 100, 5000);
    cr_assert_eq(give_slot(l, 1, &it, &asked), 0);
    cr_assert_eq(count_events(l, MEET_KNOCK), 1);
    cr_assert(l->events[0].reached);
    done(l);
}

/* The other one takes nothing older than it has heard. What somebody says of the seq of
 * our whereabouts is nothing to a slot that others write, too. */
Test(meet_knock, times_of_knocks_grow_when_the_clock_goes_back)
{
    struct lone *l = lone();
    struct other o = befriend(l, 1);
    struct wire_where got;
    uint8_t seal[32];
    uint64_t last = 0, n = 0;
    l->newest = wall_s(l) + 80000;
    find_other(l, &o, WIRE_NAT_HARD);
    run(l, 2 * S);
    l->wall_s -= 600;
    run(l, 5 * MINUTE);
    blind_knock_seal(o.c.pair, l->device, o.c.device, seal);
    for (size_t i = 0; i < l->n; i++) {
        if (is_knock(l, &o, 0, &l->log[i].out)) {
            open_where(&l->log[i].out, seal, &got);
            cr_assert_gt(got.time_ms, last);
            uint64_t clock_s = l->wall_s + (n == 0 ? 600 : 0);
            cr_assert_leq(l->log[i].out.seq, clock_s * S + l->log[i].at_ms,
                          "it keeps others out of the slot");
            last = got.time_ms;
            n++;
        }
    }
    cr_assert_geq(n, 3);
    done(l);
}

Test(meet_knock, a_knock_makes_polls_fast_a_few_times_an_hour)
{
    struct lone *l = lone();
    struct other o = befriend(l, 1);
    uint64_t asked, seq = 100;
    uint8_t pub[32];
    online(l);
    run(l, 5 * MINUTE);
    slot_pub(l, 1, pub);
    struct item it = knock_of(l, &o, 1, seq, seq);
    cr_assert_eq(give_slot(l, 1, &it, &asked), 0);
    clear(l);
    run(l, MINUTE);
    cr_assert_geq(count_pub(l, MEET_POLL, pub), 11);
    size_t polls = 0;
    for (unsigned i = 0; i < 60; i++) { /* a contact who never stops */
        seq++;
        it = knock_of(l, &o, 1, seq, seq);
        cr_assert_eq(give_slot(l, 1, &it, &asked), 0);
        polls += count_pub(l, MEET_POLL, pub);
        clear(l);
        run(l, MINUTE);
        polls += count_pub(l, MEET_POLL, pub);
    }
    cr_assert_leq(polls, 70 + 60 + 9 * 24);
    done(l);
}

/* ---- codes ---- */

Test(meet_knock, inviter_and_holder_of_the_code_use_the_same_places)
{
    struct lone *l = lone();
    struct blind_slot where, knock;
    struct wire_where got, there = where_of(66, WIRE_NAT_HARD);
    uint8_t secret[32] = {5};
    uint64_t e = blind_epoch(blind_offset(secret), wall_s(l));
    blind_invite_slot(secret, e, &where);
    blind_invite_knock(secret, e, &knock);
    /* inviter */
    cr_assert_eq(meet_invite(l->m, 9, secret, l->now_ms), 0);
    online(l);
    run(l, S);
    const struct meet_out *put = last_put(l, where.key.pub);
    cr_assert_not_null(put);
    open_where(put, where.seal, &got);
    cr_assert(!got.has_presence && got.udp[0].ip[3] == 1);
    clear(l);
    l->hold = true;
    size_t i = wait_for(l, MEET_POLL, knock.key.pub, 6 * S);
    there.time_ms = 1;
    struct item it = make_item(&knock.key, knock.seal, 50, &there);
    cr_assert_eq(give(l, l->log[i].out.id, &it), 0);
    drain(l);
    cr_assert(l->events[0].type == MEET_KNOCK && l->events[0].kind == MEET_INVITE);
    cr_assert(l->events[0].ref == 9 && l->events[0].where.udp[0].ip[3] == 66);
    done(l);
    /* holder */
    l = lone();
    l->hold = true;
    online(l);
    cr_assert_eq(meet_adding(l->m, 4, secret, l->now_ms), 0);
    i = wait_for(l, MEET_GET, where.key.pub, S);
    there.time_ms = 0;
    it = make_item(&where.key, where.seal, 60, &there);
    cr_assert_eq(give(l, l->log[i].out.id, &it), 0);
    l->hold = false;
    answer(l, &l->log[i].out);
    run(l, 2 * S);
    cr_assert(l->events[0].type == MEET_WHERE && l->events[0].kind == MEET_ADDING);
    put = last_put(l, knock.key.pub);
    cr_assert_not_null(put);
    open_where(put, knock.seal, &got);
    cr_assert_neq(got.time_ms, 0);
    meet_forget(l->m, MEET_ADDING, 4);
    clear(l);
    run(l, 5 * HOUR);
    cr_assert_eq(count(l, MEET_GET), 0);
    done(l);
}

Test(meet_knock, an_inviter_is_looked_for_again_soon)
{
    struct lone *l = lone();
    uint8_t secret[32] = {5};
    online(l);
    cr_assert_eq(meet_adding(l->m, 4, secret, l->now_ms), 0);
    cr_assert_eq(meet_adding(l->m, 4, secret, l->now_ms), 0); /* known */
    run(l, MINUTE);
    cr_assert_geq(count_events(l, MEET_ABSENT), 3);
    done(l);
}

Test(meet_knock, many_invites_take_turns)
{
    struct lone *l = lone();
    for (uint32_t i = 1; i <= 10; i++) {
        uint8_t secret[32] = {(uint8_t)i};
        cr_assert_eq(meet_invite(l->m, i, secret, l->now_ms), 0);
    }
    online(l);
    run(l, 5 * MINUTE);
    clear(l);
    run(l, 20 * MINUTE);
    size_t all = 0;
    for (uint32_t i = 1; i <= 10; i++) {
        struct blind_slot s;
        uint8_t secret[32] = {(uint8_t)i};
        blind_invite_knock(secret, blind_epoch(blind_offset(secret), wall_s(l)), &s);
        all += count_pub(l, MEET_POLL, s.key.pub) >= 5;
    }
    cr_assert_geq(all, 9); /* one may have gone into its next epoch */
    cr_assert_leq(count(l, MEET_POLL), 23 * MEET_POLL_INVITES);
    done(l);
}
