/* Meeting through the DHT: own whereabouts, and bounds. */
#include "meet_lone.h"

/* ---- own whereabouts ---- */

Test(meet, nothing_is_asked_while_offline)
{
    struct lone *l = lone();
    (void)befriend(l, 1);
    meet_want(l->m, 1, true, l->now_ms);
    run(l, 5 * HOUR);
    cr_assert_eq(l->n, 0);
    cr_assert_eq(meet_deadline(l->m), DEADLINE_NONE);
    online(l);
    run(l, MINUTE);
    cr_assert_gt(l->n, 0);
    meet_set_online(l->m, false, l->now_ms);
    clear(l);
    run(l, 5 * HOUR);
    cr_assert_eq(l->n, 0);
    cr_assert_eq(meet_deadline(l->m), DEADLINE_NONE);
    done(l);
}

Test(meet, whereabouts_are_put_where_contacts_look)
{
    struct lone *l = lone();
    struct wire_where got;
    struct meet_stats stats;
    uint8_t pub[32], seal[32];
    online(l);
    own_pub(l, 0, pub);
    size_t i = wait_for(l, MEET_PUT, NULL, S);
    cr_assert_arr_eq(l->log[i].out.pub, pub, 32);
    cr_assert_eq(l->log[i].out.seq, wall_s(l));
    blind_where_seal(l->p, blind_epoch(blind_offset(l->p), wall_s(l)), seal);
    open_where(&l->log[i].out, seal, &got);
    cr_assert(got.n_udp == 1 && got.udp[0].ip[3] == 1 && got.nat == WIRE_NAT_NONE);
    cr_assert(!got.has_presence && got.time_ms == 0);
    meet_stats(l->m, &stats);
    cr_assert(stats.published && stats.puts == 1);
    done(l);
}

Test(meet, whereabouts_are_put_every_hour_with_jitter)
{
    struct lone *l = lone();
    uint8_t pub[32];
    uint64_t last_ms = 0, least = UINT64_MAX, most = 0;
    online(l);
    own_pub(l, 0, pub);
    run(l, 5 * HOUR);
    for (size_t i = 0; i < l->n; i++) {
        if (l->log[i].out.kind != MEET_PUT) {
            continue;
        }
        cr_assert_arr_eq(l->log[i].out.pub, pub, 32);
        uint64_t gap = l->log[i].at_ms - last_ms;
        if (last_ms != 0) {
            least = gap < least ? gap : least;
            most = gap > most ? gap : most;
        }
        last_ms = l->log[i].at_ms;
    }
    cr_assert_geq(least, 54 * MINUTE);
    cr_assert_leq(most, 66 * MINUTE + MEET_LOOK_MS);
    cr_assert_gt(most - least, MINUTE);
    done(l);
}

/* At no moment of three days is the key of the present epoch without an item that is
 * younger than 66 min, and none is put earlier than it may. */
Test(meet, every_epoch_is_covered_from_before_its_beginning)
{
    struct lone *l = lone();
    uint8_t now_pub[32], next_pub[32];
    uint64_t off = blind_offset(l->p);
    online(l);
    run(l, MINUTE);
    for (unsigned minute = 0; minute < 3 * 24 * 60; minute++) {
        uint64_t newest = 0;
        own_pub(l, 0, now_pub);
        own_pub(l, 1, next_pub);
        for (size_t i = 0; i < l->n; i++) {
            if (memcmp(l->log[i].out.pub, now_pub, 32) == 0) {
                newest = l->log[i].at_ms;
            }
        }
        cr_assert(newest > 0 && l->now_ms - newest <= 67 * MINUTE, "minute %u", minute);
        uint64_t left_s = EPOCH_S - blind_epoch_age(off, wall_s(l));
        bool early = count_pub(l, MEET_PUT, next_pub) > 0;
        cr_assert(!early || left_s <= MEET_EARLY_S + 60, "put too early");
        cr_assert(early || left_s >= MEET_EARLY_S - 60, "put too late");
        run(l, MINUTE);
    }
    done(l);
}

Test(meet, hidden_or_without_address_nothing_is_put)
{
    struct lone *l = lone();
    struct wire_where nowhere = {.nat = WIRE_NAT_HARD}, here = where_of(3, WIRE_NAT_NONE);
    meet_set_hidden(l->m, true, l->now_ms);
    online(l);
    (void)befriend(l, 1);
    run(l, 3 * HOUR);
    cr_assert_eq(count(l, MEET_PUT), 0);
    cr_assert_eq(count(l, MEET_POLL), 0);
    meet_set_where(l->m, &nowhere, l->now_ms);
    meet_set_hidden(l->m, false, l->now_ms);
    run(l, 3 * HOUR);
    cr_assert_eq(count(l, MEET_PUT), 0);
    meet_set_where(l->m, &here, l->now_ms);
    run(l, MINUTE);
    cr_assert_eq(count(l, MEET_PUT), 1);
    done(l);
}

Test(meet, a_change_is_put_soon_and_not_too_often)
{
    struct lone *l = lone();
    struct wire_where v = where_of(1, WIRE_NAT_NONE);
    online(l);
    run(l, MINUTE);
    cr_assert_eq(count(l, MEET_PUT), 1);
    meet_set_where(l->m, &v, l->now_ms); /* the same */
    run(l, MINUTE);
    cr_assert_eq(count(l, MEET_PUT), 1);
    for (uint8_t i = 0; i < 10; i++) { /* an address that comes and goes */
        v = where_of((uint8_t)(10 + i), WIRE_NAT_NONE);
        meet_set_where(l->m, &v, l->now_ms);
        run(l, S);
    }
    run(l, 2 * MINUTE);
    cr_assert_eq(count(l, MEET_PUT), 2 + 1);
    const struct meet_out *last = NULL;
    for (size_t i = 0; i < l->n; i++) {
        if (l->log[i].out.kind == MEET_PUT) {
            cr_assert(last == NULL || l->log[i].out.seq > last->seq);
            last = &l->log[i].out;
        }
    }
    struct wire_where got;
    uint8_t seal[32];
    blind_where_seal(l->p, blind_epoch(blind_offset(l->p), wall_s(l)), seal);
    open_where(last, seal, &got);
    cr_assert_eq(got.udp[0].ip[3], 19);
    done(l);
}

Test(meet, a_change_while_a_put_is_under_way_is_put_after_it)
{
    struct lone *l = lone();
    struct wire_where v = where_of(9, WIRE_NAT_NONE);
    l->hold = true;
    online(l);
    size_t i = wait_for(l, MEET_PUT, NULL, S);
    meet_set_where(l->m, &v, l->now_ms);
    l->hold = false;
    answer(l, &l->log[i].out);
    run(l, MINUTE);
    cr_assert_eq(count(l, MEET_PUT), 2);
    done(l);
}

Test(meet, a_put_that_fails_is_tried_again_ever_more_rarely)
{
    struct lone *l = lone();
    struct meet_stats stats;
    l->puts = MEET_UNASKED;
    online(l);
    run(l, HOUR);
    size_t n = count(l, MEET_PUT);
    cr_assert(n >= 8 && n <= 14, "%zu", n);
    meet_stats(l->m, &stats);
    cr_assert(!stats.published);
    l->puts = MEET_ANSWERED;
    run(l, 13 * MINUTE);
    meet_stats(l->m, &stats);
    cr_assert(stats.published);
    done(l);
}

Test(meet, seq_goes_beyond_what_is_there)
{
    struct lone *l = lone();
    l->newest = wall_s(l) + 5000; /* our clock was ahead once */
    l->hold = true;
    online(l);
    size_t i = wait_for(l, MEET_PUT, NULL, S);
    meet_done(l->m, l->log[i].out.id, MEET_ANSWERED, l->newest, l->now_ms);
    clear(l);
    i = wait_for(l, MEET_PUT, NULL, S);
    cr_assert_eq(l->log[i].out.seq, l->newest + 1);
    meet_done(l->m, l->log[i].out.id, MEET_ANSWERED, 0, l->now_ms);
    l->hold = false;
    run(l, 30 * MINUTE);
    cr_assert_eq(count(l, MEET_PUT), 1);
    done(l);
}

/* Two devices, or one that was started twice, in one second. */
Test(meet, a_seq_that_another_value_has_is_passed)
{
    struct lone *l = lone();
    struct meet_stats stats;
    l->hold = true;
    online(l);
    size_t i = wait_for(l, MEET_PUT, NULL, S);
    uint64_t seq = l->log[i].out.seq;
    meet_done(l->m, l->log[i].out.id, MEET_ANSWERED, seq, l->now_ms);
    meet_stats(l->m, &stats);
    cr_assert(!stats.published);
    clear(l);
    i = wait_for(l, MEET_PUT, NULL, S);
    cr_assert_eq(l->log[i].out.seq, seq + 1);
    done(l);
}

/* Whoever can write there makes no storm of puts, and does not take us to where no seq is
 * left; and what is not stored is not said to be. */
Test(meet, a_seq_that_nobody_can_have_put_is_not_passed)
{
    struct lone *l = lone();
    uint8_t pub[32];
    struct meet_stats stats;
    static const uint64_t lies[] = {INT64_MAX, INT64_MAX - 1, T0_S + 10 * 86400ull};
    online(l);
    own_pub(l, 0, pub);
    for (size_t i = 0; i < 3; i++) {
        l->newest = lies[i];
        run(l, HOUR);
        meet_stats(l->m, &stats);
        cr_assert(!stats.published);
    }
    size_t n = count(l, MEET_PUT);
    cr_assert(n >= 4 && n <= 6, "%zu puts", n);
    l->beaten = true; /* again and again */
    run(l, 2 * HOUR); /* still in the same epoch */
    cr_assert_leq(count(l, MEET_PUT), n + 3 + 3);
    cr_assert_leq(last_put(l, pub)->seq, wall_s(l));
    meet_stats(l->m, &stats);
    cr_assert(!stats.published);
    l->beaten = false;
    l->newest = 0;
    run(l, 80 * MINUTE);
    meet_stats(l->m, &stats);
    cr_assert(stats.published);
    done(l);
}

Test(meet, what_was_not_stored_after_all_is_put_again)
{
    struct lone *l = lone();
    l->there = false;
    online(l);
    run(l, 9 * MINUTE);
    cr_assert_eq(count(l, MEET_PUT), MEET_LOOKS_MAX);
    run(l, 21 * MINUTE);
    cr_assert_eq(count(l, MEET_PUT), MEET_LOOKS_MAX + 1);
    done(l);
    l = lone();
    l->there = false;
    l->gets = MEET_UNASKED; /* silence says nothing */
    online(l);
    run(l, 30 * MINUTE);
    cr_assert_eq(count(l, MEET_PUT), 1);
    done(l);
    l = lone();
    online(l);
    run(l, 50 * MINUTE);
    cr_assert_eq(count(l, MEET_PUT), 1);
    uint8_t pub[32];
    own_pub(l, 0, pub);
    cr_assert_eq(count_pub(l, MEET_POLL, pub), 1);
    done(l);
}

Test(meet, what_could_not_be_asked_is_asked_when_it_can_be)
{
    struct lone *l = lone();
    struct other o = befriend(l, 1);
    uint8_t pub[32], own[32];
    own_pub(l, 0, own);
    other_pub(l, &o, 0, pub);
    l->puts = l->gets = MEET_UNASKED;
    online(l);
    meet_want(l->m, 1, true, l->now_ms);
    run(l, HOUR);
    clear(l);
    run(l, 2 * MINUTE);
    cr_assert_eq(count_pub(l, MEET_PUT, own), 0, "it has not become rare");
    l->puts = l->gets = MEET_ANSWERED;
    meet_set_online(l->m, true, l->now_ms);
    run(l, S);
    cr_assert_eq(count_pub(l, MEET_PUT, own), 1);
    cr_assert_eq(count_pub(l, MEET_GET, pub), 1);
    done(l);
}

Test(meet, another_address_after_a_time_without_network_is_put_at_once)
{
    struct lone *l = lone();
    struct wire_where where = where_of(2, WIRE_NAT_NONE), none = {0};
    uint8_t own[32];
    own_pub(l, 0, own);
    online(l);
    run(l, 2 * S);
    cr_assert_eq(count_pub(l, MEET_PUT, own), 1);
    meet_set_where(l->m, &none, l->now_ms);
    meet_set_online(l->m, false, l->now_ms);
    clear(l);
    run(l, 4 * S);
    cr_assert_eq(l->n, 0, "there is no network");
    meet_set_where(l->m, &where, l->now_ms);
    meet_set_online(l->m, true, l->now_ms);
    run(l, MEET_SETTLE_MS + S);
    cr_assert_eq(count_pub(l, MEET_PUT, own), 1);
    done(l);
}

/* It may be about to expire. */
Test(meet, after_a_time_without_network_it_does_not_do_to_see_our_word_there)
{
    struct lone *l = lone();
    uint8_t own[32];
    own_pub(l, 0, own);
    l->there = true;
    online(l);
    run(l, MINUTE);
    cr_assert_eq(count_pub(l, MEET_PUT, own), 1);
    meet_set_online(l->m, false, l->now_ms);
    run(l, 100 * MINUTE);
    cr_assert_eq(count_pub(l, MEET_PUT, own), 1);
    meet_set_online(l->m, true, l->now_ms);
    run(l, 2 * S);
    cr_assert_eq(count_pub(l, MEET_PUT, own), 2);
    done(l);
}

/* Between two runs nothing is known but what was kept. */
static struct lone *restarted(struct lone *l, uint64_t kept)
{
    struct wire_where where = where_of(2, WIRE_NAT_NONE);
    meet_free(l->m);
    l->m = meet_new(&l->env);
    cr_assert_not_null(l->m);
    meet_set_seq(l->m, kept);
    meet_set_self(l->m, l->device, l->p, l->seed, l->now_ms);
    meet_set_where(l->m, &where, l->now_ms);
    clear(l);
    return l;
}

Test(meet, a_seq_outlives_a_restart)
{
    struct lone *l = restarted(lone(), 0);
    uint8_t pub[32];
    own_pub(l, 0, pub);
    online(l);
    run(l, MINUTE);
    cr_assert_eq(count(l, MEET_PUT), 0, "it is not kept yet");
    uint64_t kept = meet_seq_wanted(l->m);
    cr_assert_geq(kept, wall_s(l) - 60);
    meet_seq_kept(l->m, kept, l->now_ms);
    cr_assert_eq(meet_seq_wanted(l->m), 0);
    run(l, S);
    uint64_t seq = last_put(l, pub)->seq;
    cr_assert_leq(seq, kept);

    l = restarted(l, kept); /* within the second */
    online(l);
    meet_seq_kept(l->m, meet_seq_wanted(l->m), l->now_ms);
    run(l, S);
    cr_assert_gt(meet_seq_wanted(l->m) + count(l, MEET_PUT), 0);
    meet_seq_kept(l->m, meet_seq_wanted(l->m), l->now_ms);
    run(l, S);
    cr_assert_gt(last_put(l, pub)->seq, kept);

    uint64_t again = last_put(l, pub)->seq + MEET_SEQ_SPARE_S;
    l = restarted(l, again);
    l->wall_s -= 2 * 3600; /* and the clock went back */
    own_pub(l, 0, pub);
    online(l);
    run(l, S);
    meet_seq_kept(l->m, meet_seq_wanted(l->m), l->now_ms);
    run(l, S);
    cr_assert_gt(last_put(l, pub)->seq, again);
    done(l);
}

/* They wait for the disk, not for a turn that others then have taken. */
Test(meet, what_waits_to_be_kept_uses_no_ones_turn)
{
    struct lone *l = restarted(lone(), 0);
    for (uint32_t i = 1; i <= MEET_OTHER_BURST; i++) {
        uint8_t secret[32] = {(uint8_t)i};
        cr_assert_eq(meet_invite(l->m, i, secret, l->now_ms), 0);
    }
    online(l);
    run(l, S);
    meet_seq_kept(l->m, meet_seq_wanted(l->m), l->now_ms);
    run(l, 5 * S);
    cr_assert_eq(count(l, MEET_PUT), 1 + MEET_OTHER_BURST);
    done(l);
}

/* One number for all: of two places the one that was written last has the higher. */
Test(meet, seq_grows_from_epoch_to_epoch_and_over_a_clock_that_jumps)
{
    struct lone *l = lone();
    uint64_t last = 0;
    online(l);
    for (int i = 0; i < 6; i++) {
        uint8_t pub[32];
        l->wall_s = i % 2 == 0 ? l->wall_s + 3 * EPOCH_S : l->wall_s - 2 * EPOCH_S;
        run(l, 70 * MINUTE);
        own_pub(l, 0, pub);
        const struct meet_out *put = last_put(l, pub);
        cr_assert_not_null(put);
        cr_assert_gt(put->seq, last);
        last = put->seq;
    }
    done(l);
}

/* Between two puts it is put back where it is gone; all of it, when nobody has it. */
Test(meet, whereabouts_are_mended_between_two_puts)
{
    struct lone *l = lone();
    uint8_t pub[32];
    online(l);
    own_pub(l, 0, pub);
    run(l, 5 * HOUR);
    size_t puts = count(l, MEET_PUT), mends = count_pub(l, MEET_MEND, pub);
    cr_assert(mends + 1 >= puts && mends <= puts, "%zu, %zu", puts, mends);
    for (size_t i = 0, put = 0; i < l->n; i++) {
        put = l->log[i].out.kind == MEET_PUT ? i : put;
        if (l->log[i].out.kind == MEET_MEND) {
            uint64_t ms = l->log[i].at_ms - l->log[put].at_ms;
            cr_assert(ms >= 27 * MINUTE && ms <= 33 * MINUTE + MEET_LOOK_MS);
        }
    }
    done(l);
    l = lone();
    online(l);
    run(l, MINUTE);
    l->there = false;
    run(l, 35 * MINUTE);
    cr_assert_eq(count(l, MEET_PUT), 2, "it had gone");
    done(l);
    l = lone();
    online(l);
    run(l, MINUTE);
    l->there = false;
    l->gets = MEET_UNASKED;
    run(l, 35 * MINUTE);
    cr_assert_eq(count(l, MEET_PUT), 1, "silence says nothing");
    done(l);
}

Test(meet, another_wall_clock_another_epoch)
{
    struct lone *l = lone();
    uint8_t pub[32];
    online(l);
    run(l, MINUTE);
    l->wall_s += 5 * EPOCH_S;
    run(l, 67 * MINUTE);
    own_pub(l, 0, pub);
    cr_assert_geq(count_pub(l, MEET_PUT, pub), 1);
    l->wall_s -= 20 * EPOCH_S;
    run(l, 67 * MINUTE);
    own_pub(l, 0, pub);
    cr_assert_geq(count_pub(l, MEET_PUT, pub), 1);
    done(l);
}

/* ---- for single contacts ---- */

Test(meet, who_has_not_acknowledged_has_a_place_of_its_own)
{
    struct lone *l = lone();
    struct other o = other(l, 1);
    struct blind_slot s;
    struct wire_where got;
    o.c.acked = false;
    cr_assert_eq(meet_contact(l->m, &o.c, l->now_ms), 0);
    online(l);
    run(l, MINUTE);
    blind_pair_slot(o.c.pair, l->device, blind_epoch(blind_offset(o.c.pair), wall_s(l)),
                    &s);
    const struct meet_out *put = last_put(l, s.key.pub);
    cr_assert_not_null(put);
    open_where(put, s.seal, &got);
    cr_assert(got.has_presence);
    cr_assert_arr_eq(got.presence_p, l->p, 32);
    cr_assert_arr_eq(got.presence_a, l->a, 32);
    cr_assert_eq(got.udp[0].ip[3], 1);
    o.c.acked = true;
    cr_assert_eq(meet_contact(l->m, &o.c, l->now_ms), 0);
    clear(l);
    run(l, 3 * HOUR);
    cr_assert_eq(count_pub(l, MEET_PUT, s.key.pub), 0);
    cr_assert_geq(count(l, MEET_PUT), 2);
    done(l);
}

Test(meet, places_of_many_contacts_take_turns)
{
    struct lone *l = lone();
    enum { MANY = 40 };
    bool had[MANY] = {false};
    struct other o[MANY];
    struct blind_slot s;
    for (uint32_t i = 0; i < MANY; i++) {
        o[i] = other(l, i + 1);
        o[i].c.acked = false;
        cr_assert_eq(meet_contact(l->m, &o[i].c, l->now_ms), 0);
    }
    online(l);
    run(l, MINUTE);
    cr_assert_eq(count(l, MEET_PUT), 1 + MEET_OTHER_BURST);
    run(l, 6 * HOUR);
    cr_assert_leq(count(l, MEET_PUT), 8 + MEET_OTHER_BURST + 6 * MEET_OTHER_HOUR + 4);
    size_t all = 0;
    for (size_t i = 0; i < MANY; i++) {
        uint64_t off = blind_offset(o[i].c.pair);
        for (uint64_t t = wall_s(l) - 7 * 3600; t <= wall_s(l) + 3600; t += 3600) {
            blind_pair_slot(o[i].c.pair, l->device, blind_epoch(off, t), &s);
            had[i] = had[i] || last_put(l, s.key.pub) != NULL;
        }
        all += had[i];
    }
    cr_assert_eq(all, MANY);
    done(l);
}

Test(meet, after_a_rotation_the_old_key_is_left_alone)
{
    struct lone *l = lone();
    uint8_t old[2][32], pub[32];
    online(l);
    run(l, MINUTE);
    own_pub(l, 0, old[0]);
    own_pub(l, 1, old[1]);
    random_bytes(l, l->p, 32);
    random_bytes(l, l->seed, 32);
    blind_point(l->seed, l->a);
    meet_set_self(l->m, l->device, l->p, l->seed, l->now_ms);
    clear(l);
    run(l, MINUTE);
    own_pub(l, 0, pub);
    cr_assert_eq(count_pub(l, MEET_PUT, pub), 1);
    run(l, 14 * HOUR);
    cr_assert_eq(count_pub(l, MEET_PUT, old[0]), 0);
    cr_assert_eq(count_pub(l, MEET_PUT, old[1]), 0);
    done(l);
}

/* ---- bounds ---- */

Test(meet, requests_without_an_end_are_given_up)
{
    struct lone *l = lone();
    (void)befriend(l, 1);
    l->hold = true;
    online(l);
    meet_want(l->m, 1, true, l->now_ms);
    run(l, MEET_ANSWER_MS - S);
    size_t n = l->n;
    run(l, 2 * S);
    cr_assert_gt(l->n, n);
    uint32_t id = l->log[0].out.id;
    meet_done(l->m, id, MEET_ANSWERED, 0, l->now_ms); /* too late: of no effect */
    run(l, 5 * HOUR);
    cr_assert_gt(count(l, MEET_GET), 10);
    cr_assert_gt(count(l, MEET_PUT), 5);
    cr_assert_eq(count_events(l, MEET_ABSENT), 0);
    done(l);
}

Test(meet, forgotten_while_asked_for)
{
    struct lone *l = lone();
    struct other o = befriend(l, 1);
    struct wire_where there = where_of(77, WIRE_NAT_NONE);
    uint8_t pub[32], secret[32] = {3};
    cr_assert_eq(meet_invite(l->m, 7, secret, l->now_ms), 0);
    l->hold = true;
    online(l);
    meet_want(l->m, 1, true, l->now_ms);
    other_pub(l, &o, 0, pub);
    size_t i = wait_for(l, MEET_GET, pub, S);
    struct item it = word_of(l, &o, 0, 100, &there);
    meet_forget(l->m, MEET_CONTACT, 1);
    meet_forget(l->m, MEET_CONTACT, 1);
    meet_forget(l->m, MEET_INVITE, 7);
    cr_assert_eq(give(l, l->log[i].out.id, &it), ERR_NOTFOUND);
    l->hold = false;
    for (i = 0; i < l->n; i++) {
        answer(l, &l->log[i].out);
    }
    meet_want(l->m, 1, true, l->now_ms);
    meet_reached(l->m, MEET_CONTACT, 1, true, l->now_ms);
    run(l, HOUR);
    cr_assert_eq(l->n_events, 0);
    done(l);
}

Test(meet, going_offline_ends_what_is_under_way)
{
    struct lone *l = lone();
    (void)befriend(l, 1);
    l->hold = true;
    online(l);
    meet_want(l->m, 1, true, l->now_ms);
    run(l, S);
    meet_set_online(l->m, false, l->now_ms);
    drain(l);
    cr_assert_eq(count_events(l, MEET_ABSENT), 0);
    clear(l);
    run(l, 24 * HOUR);
    cr_assert_eq(l->n, 0);
    l->hold = false;
    online(l);
    run(l, MINUTE);
    cr_assert_geq(count(l, MEET_PUT), 1);
    cr_assert_geq(count_events(l, MEET_ABSENT), 1);
    done(l);
}

Test(meet, limits)
{
    struct lone *l = lone();
    struct meet_contact c = {.acked = true};
    struct meet_stats stats;
    for (uint32_t i = 0; i < MEET_MAX; i++) {
        c.ref = i;
        cr_assert_eq(meet_contact(l->m, &c, l->now_ms), 0);
    }
    c.ref = MEET_MAX;
    cr_assert_eq(meet_contact(l->m, &c, l->now_ms), ERR_LIMIT);
    cr_assert_eq(meet_invite(l->m, 1, c.pair, l->now_ms), ERR_LIMIT);
    c.ref = 5;
    cr_assert_eq(meet_contact(l->m, &c, l->now_ms), 0);
    meet_stats(l->m, &stats);
    cr_assert_eq(stats.known, MEET_MAX);
    meet_forget(l->m, MEET_CONTACT, 0);
    c.ref = MEET_MAX;
    cr_assert_eq(meet_contact(l->m, &c, l->now_ms), 0);
    online(l);
    run(l, MINUTE); /* look-ups go on at their rate, and not more of them at one time */
    cr_assert_leq(count(l, MEET_GET), MEET_GETS_BURST + 2 * MEET_GETS_MIN);
    done(l);
}

Test(meet, a_wanted_one_does_not_wait_behind_all_others)
{
    struct lone *l = lone();
    uint8_t pub[32];
    struct other o = befriend(l, 1);
    for (uint32_t i = 2; i < 400; i++) {
        (void)befriend(l, i);
    }
    online(l);
    run(l, 2 * MINUTE);
    clear(l);
    other_pub(l, &o, 0, pub);
    meet_want(l->m, 1, true, l->now_ms);
    run(l, 10);
    cr_assert_eq(count_pub(l, MEET_GET, pub), 1);
    done(l);
}

/* An idle day with 20 contacts that are away: what is counted in the note on traffic. */
Test(meet, requests_of_an_idle_day)
{
    struct lone *l = lone();
    for (uint32_t i = 1; i <= 20; i++) {
        (void)befriend(l, i);
    }
    online(l);
    run(l, 24 * HOUR);
    size_t puts = count(l, MEET_PUT), gets = count(l, MEET_GET);
    size_t polls = count(l, MEET_POLL);
    cr_assert(puts >= 22 && puts <= 32, "%zu puts", puts);
    cr_assert(gets >= 40 && gets <= 80, "%zu gets", gets);
    size_t mends = count(l, MEET_MEND);
    cr_assert(mends >= 20 && mends <= 28, "%zu mends", mends);
    cr_assert(polls >= 5000 && polls <= 6300, "%zu polls", polls);
    done(l);
}
