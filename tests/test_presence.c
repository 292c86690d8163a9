/* Every rule of presence.h, on a clock that is an integer. Most tests have two sides, Ada
 * and Bob, whose frames are carried over by hand. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include "base/deadline.h"
#include "base/err.h"
#include "link_world.h"
#include "presence.h"

enum { T0 = 1000000, DEVICE = 7, CONTACT = 3, MINUTE = 60000 };

static struct world_env env;

struct side {
    struct presence *p;
    unsigned frames[3];             /* PRESENCE, TYPING, LIVE that it sent */
    unsigned events[8];             /* by kind */
    uint64_t live_at[4096], last_n; /* when it sent LIVE */
};
static struct side ada, bob;
static uint64_t now;

static void start(void)
{
    world_env(&env, 1);
    now = T0;
    memset(&ada, 0, sizeof ada);
    memset(&bob, 0, sizeof bob);
    ada.p = presence_new(&env.env);
    bob.p = presence_new(&env.env);
    cr_assert(ada.p != NULL && bob.p != NULL);
    presence_active(ada.p, now, now);
    presence_active(bob.p, now, now);
}

static void end(void)
{
    presence_free(ada.p);
    presence_free(bob.p);
}

TestSuite(presence, .init = start, .fini = end);

static struct presence_link conv_link(bool live)
{
    struct presence_link l = {.device = DEVICE, .contact = CONTACT, .live = live};
    memset(l.conv, 'c', sizeof l.conv);
    return l;
}

static void take_events(struct side *s)
{
    struct presence_event ev;
    while (presence_next_event(s->p, &ev)) {
        cr_assert(ev.kind == PRESENCE_EV_OWN || ev.contact == CONTACT);
        s->events[ev.kind]++;
    }
}

/* What the one has for the other; without it the frames are lost. */
static void carry(struct side *from, struct side *to)
{
    struct presence_out out;
    while (presence_next_out(from->p, &out)) {
        cr_assert_eq(out.device, DEVICE);
        unsigned which = (unsigned)out.type - FRAME_PRESENCE;
        if (out.type == FRAME_LIVE) {
            from->live_at[from->frames[which]] = now;
        }
        from->frames[which]++;
        if (to != NULL) {
            cr_assert_eq(
                presence_recv(to->p, DEVICE, out.type, out.payload, out.len, now), 0);
        }
    }
}

static void pump(void)
{
    for (int i = 0; i < 4; i++) {
        carry(&ada, &bob);
        carry(&bob, &ada);
        take_events(&ada);
        take_events(&bob);
    }
}

/* Time passes, deadline by deadline. */
static void pass(uint64_t ms)
{
    uint64_t until = now + ms;
    for (;;) {
        uint64_t a = presence_deadline(ada.p), b = presence_deadline(bob.p);
        uint64_t at = a < b ? a : b;
        if (at > until) {
            break;
        }
        cr_assert_geq(at, now, "a deadline that was missed");
        now = at;
        presence_tick(ada.p, now);
        presence_tick(bob.p, now);
        pump();
        cr_assert_gt(presence_deadline(ada.p), now);
        cr_assert_gt(presence_deadline(bob.p), now);
    }
    now = until;
}

static void link_up(bool live_ada, bool live_bob)
{
    struct presence_link a = conv_link(live_ada), b = conv_link(live_bob);
    cr_assert_eq(presence_up(ada.p, &a, now), 0);
    cr_assert_eq(presence_up(bob.p, &b, now), 0);
    pump();
}

static void link_down(void)
{
    presence_down(ada.p, DEVICE, now);
    presence_down(bob.p, DEVICE, now);
    take_events(&ada);
    take_events(&bob);
}

static void set(struct side *s, enum presence_state state, const char *text)
{
    cr_assert_eq(presence_set(s->p, state, text, strlen(text), now), 0);
    pump();
}

static struct presence_view view(struct side *s)
{
    struct presence_view v;
    presence_view(s->p, CONTACT, &v);
    cr_assert_eq(v.online, presence_online(s->p, CONTACT));
    return v;
}

static void check_state(struct side *s, enum presence_state state, const char *status)
{
    struct presence_view v = view(s);
    cr_assert(v.online);
    cr_assert_eq(v.state, state);
    cr_assert_eq(v.status == NULL, status == NULL);
    if (status != NULL) {
        cr_assert_str_eq(v.status, status);
    }
}

static void check_own(struct side *s, enum presence_state state, bool automatic)
{
    struct presence_own own;
    presence_own(s->p, &own);
    cr_assert_eq(own.state, state);
    cr_assert_eq(own.automatic, automatic);
}

static void key(struct side *s, const char *draft)
{
    cr_assert_eq(
        presence_typing(s->p, CONTACT, (const uint8_t *)draft, strlen(draft), false, now),
        0);
    pump();
}

static void check_draft(struct side *s, const char *draft)
{
    struct presence_view v = view(s);
    if (draft == NULL) {
        cr_assert_null(v.text);
        return;
    }
    cr_assert_not_null(v.text);
    cr_assert_eq(v.text_len, strlen(draft));
    cr_assert_arr_eq(v.text, draft, v.text_len);
}

/* ---- states ---- */

Test(presence, states_and_texts_over_a_link)
{
    cr_assert(!view(&ada).online);
    link_up(false, false);
    check_state(&ada, PRESENCE_ONLINE, NULL);
    cr_assert_eq(ada.events[PRESENCE_EV_STATE], 1);
    set(&bob, PRESENCE_BUSY, "writing");
    check_state(&ada, PRESENCE_BUSY, "writing");
    set(&bob, PRESENCE_AWAY, "");
    check_state(&ada, PRESENCE_AWAY, NULL);
    cr_assert_eq(ada.events[PRESENCE_EV_STATE], 3);
    set(&bob, PRESENCE_AWAY, "");
    cr_assert_eq(bob.frames[0], 3); /* nothing new was said */
    cr_assert_eq(bob.events[PRESENCE_EV_OWN], 2);
    link_down();
    cr_assert(!view(&ada).online);
    cr_assert_eq(ada.events[PRESENCE_EV_STATE], 4);
}

Test(presence, what_cannot_be_set)
{
    char longest[WIRE_STATUS_MAX + 2];
    memset(longest, 'x', sizeof longest);
    cr_assert_eq(presence_set(ada.p, PRESENCE_AWAY, longest, WIRE_STATUS_MAX, now), 0);
    cr_assert_eq(presence_set(ada.p, PRESENCE_BUSY, longest, WIRE_STATUS_MAX + 1, now),
                 ERR_ARG);
    cr_assert_eq(presence_set(ada.p, PRESENCE_BUSY, "a\nb", 3, now), ERR_ARG);
    cr_assert_eq(presence_set(ada.p, (enum presence_state)4, "", 0, now), ERR_ARG);
    check_own(&ada, PRESENCE_AWAY, false);
}

Test(presence, invisible_is_offline_at_once)
{
    link_up(false, false);
    set(&bob, PRESENCE_ONLINE, "here");
    set(&bob, PRESENCE_INVISIBLE, "not for you");
    cr_assert(!view(&ada).online);
    cr_assert_null(view(&ada).status);
    cr_assert_eq(ada.events[PRESENCE_EV_HIDING], 1);
    cr_assert(presence_is_hiding(ada.p, DEVICE));
    uint64_t seen = view(&ada).seen_ms;
    cr_assert_gt(seen, 0);
    /* The link ends and comes again: no glimpse of them in between. */
    unsigned events = ada.events[PRESENCE_EV_STATE];
    link_down();
    struct presence_link l = conv_link(false);
    cr_assert_eq(presence_up(ada.p, &l, now), 0);
    cr_assert_eq(presence_reach(ada.p, DEVICE, CONTACT, true, now), 0);
    cr_assert_eq(presence_up(bob.p, &l, now), 0);
    take_events(&ada);
    pass(10000);
    pump();
    cr_assert(!view(&ada).online);
    cr_assert_eq(ada.events[PRESENCE_EV_STATE], events);
    cr_assert_eq(view(&ada).seen_ms, seen);
    set(&bob, PRESENCE_ONLINE, "back");
    check_state(&ada, PRESENCE_ONLINE, "back");
}

Test(presence, an_invisible_stranger_to_this_run_is_never_shown)
{
    struct presence_link l = conv_link(false);
    cr_assert_eq(presence_set(bob.p, PRESENCE_INVISIBLE, NULL, 0, now), 0);
    cr_assert_eq(presence_up(ada.p, &l, now), 0);
    cr_assert_eq(presence_reach(ada.p, DEVICE, CONTACT, true, now), 0);
    cr_assert(!view(&ada).online); /* linked, and nothing told yet */
    cr_assert_eq(presence_up(bob.p, &l, now), 0);
    pump();
    pass(MINUTE);
    cr_assert(!view(&ada).online);
    cr_assert_eq(ada.events[PRESENCE_EV_STATE], 0);
}

Test(presence, a_link_that_tells_nothing_is_online_after_a_while)
{
    struct presence_link l = conv_link(false);
    cr_assert_eq(presence_up(ada.p, &l, now), 0);
    pass(PRESENCE_TOLD_MS - 1);
    cr_assert(!view(&ada).online);
    pass(1);
    check_state(&ada, PRESENCE_ONLINE, NULL);
}

Test(presence, states_not_known_are_online)
{
    link_up(false, false);
    cr_assert_eq(presence_recv(ada.p, DEVICE, FRAME_PRESENCE,
                               (const uint8_t *)"d1:pi6e1:ri0ee", 14, now),
                 0);
    check_state(&ada, PRESENCE_ONLINE, NULL);
    cr_assert_eq(presence_recv(ada.p, DEVICE, FRAME_PRESENCE,
                               (const uint8_t *)"d1:pi9e1:ri0ee", 14, now),
                 ERR_FORMAT);
}

Test(presence, of_two_devices_the_one_that_is_there)
{
    struct presence_link l = conv_link(false);
    link_up(false, false);
    set(&bob, PRESENCE_AWAY, "out");
    l.device = DEVICE + 1;
    cr_assert_eq(presence_up(ada.p, &l, now), 0);
    cr_assert_eq(presence_recv(ada.p, DEVICE + 1, FRAME_PRESENCE,
                               (const uint8_t *)"d1:pi2e1:ri0e1:s4:busye", 23, now),
                 0);
    check_state(&ada, PRESENCE_BUSY, "busy");
    presence_down(ada.p, DEVICE + 1, now);
    check_state(&ada, PRESENCE_AWAY, "out");
    presence_down(ada.p, DEVICE, now);
    cr_assert(!view(&ada).online);
}

/* ---- beacons ---- */

static void beacon(uint8_t byte)
{
    cr_assert_eq(presence_beacon(ada.p, DEVICE, CONTACT, byte, now), 0);
    take_events(&ada);
}

Test(presence, beacons_tell_the_state_and_that_a_text_is_to_fetch)
{
    beacon(PRESENCE_AWAY);
    check_state(&ada, PRESENCE_AWAY, NULL);
    cr_assert_eq(presence_reach(ada.p, DEVICE, CONTACT, false, now), 0);
    cr_assert(!view(&ada).online);
    pass(MINUTE);
    cr_assert_eq(ada.events[PRESENCE_EV_FETCH], 0);
    beacon(PRESENCE_BUSY | BEACON_STATUS | 1 << BEACON_REVISION_SHIFT);
    check_state(&ada, PRESENCE_BUSY, NULL);
    pass(PRESENCE_FETCH_MS);
    cr_assert_eq(ada.events[PRESENCE_EV_FETCH], 1);
    /* Nobody came of it: not again before the gap is over. */
    for (int i = 0; i < 20; i++) {
        pass(2500);
        beacon(PRESENCE_BUSY | BEACON_STATUS | 1 << BEACON_REVISION_SHIFT);
    }
    cr_assert_eq(ada.events[PRESENCE_EV_FETCH], 1);
    pass(PRESENCE_FETCH_GAP_MS);
    cr_assert_eq(ada.events[PRESENCE_EV_FETCH], 2);
}

Test(presence, a_text_is_kept_by_its_revision_when_the_link_ends)
{
    link_up(false, false);
    set(&bob, PRESENCE_ONLINE, "one");
    beacon(presence_byte(bob.p));
    link_down();
    cr_assert(view(&ada).online == false);
    beacon(presence_byte(bob.p));
    check_state(&ada, PRESENCE_ONLINE, "one");
    cr_assert_eq(presence_set(bob.p, PRESENCE_AWAY, "one", 3, now), 0);
    beacon(presence_byte(bob.p));
    check_state(&ada, PRESENCE_AWAY, "one"); /* another state, the same text */
    pass(MINUTE);
    cr_assert_eq(ada.events[PRESENCE_EV_FETCH], 0);
    cr_assert_eq(presence_set(bob.p, PRESENCE_AWAY, "two", 3, now), 0);
    beacon(presence_byte(bob.p));
    check_state(&ada, PRESENCE_AWAY, NULL); /* not the old one */
    pass(PRESENCE_FETCH_MS);
    cr_assert_eq(ada.events[PRESENCE_EV_FETCH], 1);
    link_up(false, false);
    check_state(&ada, PRESENCE_AWAY, "two");
    link_down();
    cr_assert_eq(presence_set(bob.p, PRESENCE_ONLINE, NULL, 0, now), 0);
    beacon(presence_byte(bob.p));
    check_state(&ada, PRESENCE_ONLINE, NULL);
    pass(2 * MINUTE);
    cr_assert_eq(ada.events[PRESENCE_EV_FETCH], 1);
}

Test(presence, a_beacon_after_the_link_ends_hiding)
{
    link_up(false, false);
    set(&bob, PRESENCE_INVISIBLE, "");
    beacon(PRESENCE_ONLINE); /* sent before they hid */
    cr_assert(!view(&ada).online);
    link_down();
    cr_assert(!view(&ada).online);
    beacon(PRESENCE_ONLINE);
    check_state(&ada, PRESENCE_ONLINE, NULL);
}

Test(presence, texts_are_asked_for_at_different_times)
{
    uint64_t least = UINT64_MAX, most = 0;
    for (uint32_t i = 0; i < 100; i++) {
        struct presence *p = presence_new(&env.env);
        struct presence_event ev;
        uint64_t t = now;
        presence_active(p, now, now);
        cr_assert_eq(presence_beacon(p, DEVICE, CONTACT, BEACON_STATUS, now), 0);
        for (bool fetch = false; !fetch;) {
            while (presence_next_event(p, &ev)) {
                fetch = fetch || ev.kind == PRESENCE_EV_FETCH;
            }
            if (!fetch) {
                t = presence_deadline(p);
                presence_tick(p, t);
            }
        }
        least = t - now < least ? t - now : least;
        most = t - now > most ? t - now : most;
        presence_free(p);
    }
    cr_assert_leq(most, PRESENCE_FETCH_MS);
    cr_assert_gt(most, PRESENCE_FETCH_MS / 2);
    cr_assert_lt(least, PRESENCE_FETCH_MS / 4);
}

/* ---- away by itself ---- */

Test(presence, away_after_ten_minutes_and_back)
{
    link_up(false, false);
    set(&bob, PRESENCE_ONLINE, "in");
    pass(PRESENCE_AWAY_AFTER_MS - 1);
    check_own(&bob, PRESENCE_ONLINE, false);
    presence_active(bob.p, now, now);
    pass(PRESENCE_AWAY_AFTER_MS - 1);
    check_state(&ada, PRESENCE_ONLINE, "in");
    pass(1);
    check_own(&bob, PRESENCE_AWAY, true);
    check_state(&ada, PRESENCE_AWAY, "in");
    pass(MINUTE);
    presence_active(bob.p, now, now);
    pump();
    check_own(&bob, PRESENCE_ONLINE, false);
    check_state(&ada, PRESENCE_ONLINE, "in");
    cr_assert_eq(bob.events[PRESENCE_EV_OWN], 3);
}

Test(presence, what_was_said_is_never_overridden)
{
    static const enum presence_state said[] = {PRESENCE_AWAY, PRESENCE_BUSY,
                                               PRESENCE_INVISIBLE};
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(presence_set(ada.p, said[i], NULL, 0, now), 0);
        pass(3 * PRESENCE_AWAY_AFTER_MS);
        check_own(&ada, said[i], false);
        presence_active(ada.p, now, now);
        check_own(&ada, said[i], false);
    }
    cr_assert_eq(presence_set(ada.p, PRESENCE_ONLINE, NULL, 0, now), 0);
    check_own(&ada, PRESENCE_ONLINE, false);
    pass(PRESENCE_AWAY_AFTER_MS);
    check_own(&ada, PRESENCE_AWAY, true);
    /* "away" when away already: it stays. */
    cr_assert_eq(presence_set(ada.p, PRESENCE_AWAY, NULL, 0, now), 0);
    presence_active(ada.p, now, now);
    check_own(&ada, PRESENCE_AWAY, false);
}

Test(presence, away_after_can_be_changed_and_turned_off)
{
    presence_away_after(ada.p, MINUTE, now);
    pass(MINUTE);
    check_own(&ada, PRESENCE_AWAY, true);
    presence_away_after(ada.p, 0, now);
    check_own(&ada, PRESENCE_ONLINE, false);
    pass(24 * 60 * MINUTE);
    check_own(&ada, PRESENCE_ONLINE, false);
    cr_assert_eq(presence_deadline(ada.p), DEADLINE_NONE);
    presence_away_after(ada.p, MINUTE, now);
    check_own(&ada, PRESENCE_AWAY, true);
}

Test(presence, saved_and_loaded)
{
    uint8_t saved[PRESENCE_SAVED_MAX];
    char longest[WIRE_STATUS_MAX];
    memset(longest, 'x', sizeof longest);
    cr_assert_eq(presence_set(ada.p, PRESENCE_BUSY, longest, sizeof longest, now), 0);
    uint8_t byte = presence_byte(ada.p);
    size_t len = presence_save(ada.p, saved);
    cr_assert_leq(len, sizeof saved);
    cr_assert_eq(presence_load(bob.p, saved, len), 0);
    check_own(&bob, PRESENCE_BUSY, false);
    cr_assert_eq(presence_byte(bob.p), byte);
    cr_assert_eq(presence_load(bob.p, saved, len - 1), ERR_CORRUPT);
    cr_assert_eq(presence_load(bob.p, (const uint8_t *)"d1:pi4e1:ri0ee", 14),
                 ERR_CORRUPT);
    check_own(&bob, PRESENCE_BUSY, false);
    /* Away by itself is not what was said. */
    cr_assert_eq(presence_set(ada.p, PRESENCE_ONLINE, NULL, 0, now), 0);
    pass(PRESENCE_AWAY_AFTER_MS);
    check_own(&ada, PRESENCE_AWAY, true);
    len = presence_save(ada.p, saved);
    cr_assert_eq(presence_load(bob.p, saved, len), 0);
    presence_active(bob.p, now, now);
    check_own(&bob, PRESENCE_ONLINE, false);
}

/* ---- typing ---- */

Test(presence, typing_is_repeated_and_ends)
{
    link_up(false, false);
    key(&ada, "h");
    cr_assert(view(&bob).typing);
    check_draft(&bob, NULL);
    cr_assert_eq(ada.frames[1], 1);
    for (int i = 0; i < 90; i++) { /* 18 seconds of keys */
        pass(200);
        key(&ada, "he");
        cr_assert(view(&bob).typing);
    }
    cr_assert_eq(ada.frames[1], 5);
    cr_assert_eq(bob.events[PRESENCE_EV_TYPING], 1);
    pass(PRESENCE_TYPING_IDLE_MS - 1);
    cr_assert(view(&bob).typing);
    pass(1);
    cr_assert(!view(&bob).typing);
    key(&ada, "hel");
    cr_assert(view(&bob).typing);
    key(&ada, "");
    cr_assert(!view(&bob).typing);
    cr_assert_eq(presence_typing(ada.p, CONTACT, NULL, 0, true, now), 0);
    pump();
    cr_assert(view(&bob).typing);
    cr_assert_eq(bob.events[PRESENCE_EV_TYPING], 5);
    cr_assert_eq(ada.frames[2] + bob.frames[2], 0); /* nobody wants live typing */
}

Test(presence, typing_expires_with_the_receiver_too)
{
    link_up(false, false);
    key(&ada, "h");
    now += 100;
    uint64_t until = now - 100 + PRESENCE_TYPING_EXPIRE_MS;
    presence_tick(bob.p, until - 1); /* Ada's node hangs */
    cr_assert(view(&bob).typing);
    presence_tick(bob.p, until);
    cr_assert(!view(&bob).typing);
}

Test(presence, typing_ends_with_the_link_and_with_a_message)
{
    link_up(false, false);
    key(&ada, "h");
    presence_heard(bob.p, CONTACT, now);
    take_events(&bob);
    cr_assert(!view(&bob).typing);
    cr_assert_eq(bob.events[PRESENCE_EV_TYPING], 2);
    key(&ada, "");
    key(&ada, "h");
    cr_assert(view(&bob).typing);
    link_down();
    cr_assert(!view(&bob).typing);
}

/* ---- live typing ---- */

Test(presence, live_typing_when_both_want_it)
{
    link_up(true, true);
    cr_assert(view(&ada).live_ours && view(&ada).live_theirs);
    cr_assert(view(&bob).live_ours && view(&bob).live_theirs);
    pass(1000);
    key(&ada, "h");
    check_draft(&bob, "h"); /* at once */
    pass(50);
    key(&ada, "he");
    pass(50);
    key(&ada, "hey");
    check_draft(&bob, "h");
    pass(PRESENCE_LIVE_GAP_MS - 101);
    check_draft(&bob, "h");
    pass(1);
    check_draft(&bob, "hey"); /* as one */
    pass(1000);
    key(&ada, "");
    check_draft(&bob, NULL);
    cr_assert(!view(&bob).typing);
}

Test(presence, live_typing_of_one_side_alone_shows_nothing)
{
    link_up(true, false);
    pass(1000);
    key(&ada, "secret");
    key(&bob, "secret");
    pass(10000);
    check_draft(&bob, NULL);
    check_draft(&ada, NULL);
    cr_assert_eq(ada.frames[2], 1); /* the wish */
    cr_assert_eq(bob.frames[2], 0);
    cr_assert(view(&bob).live_theirs && !view(&bob).live_ours);
    cr_assert(!view(&ada).live_theirs && view(&ada).live_ours);
    /* Bob wants it too: what Ada is at is told then. */
    key(&ada, "secret!");
    presence_live(bob.p, CONTACT, true, now);
    pump();
    check_draft(&bob, "secret!");
    presence_live(bob.p, CONTACT, false, now);
    pump();
    check_draft(&bob, NULL);
    pass(1000);
    key(&ada, "more");
    pass(1000);
    check_draft(&bob, NULL);
    cr_assert(!view(&ada).live_theirs);
}

Test(presence, a_receiver_that_did_not_ask_drops_the_text)
{
    char frame[256];
    link_up(false, false);
    int len = snprintf(frame, sizeof frame, "d1:c32:%s1:ni1e1:oi1e1:s2:hie",
                       "cccccccccccccccccccccccccccccccc");
    cr_assert_eq(presence_recv(ada.p, DEVICE, FRAME_LIVE, (const uint8_t *)frame,
                               (size_t)len, now),
                 0);
    check_draft(&ada, NULL);
    cr_assert(view(&ada).live_theirs);
    presence_live(ada.p, CONTACT, true, now);
    /* The same number again is old. */
    cr_assert_eq(presence_recv(ada.p, DEVICE, FRAME_LIVE, (const uint8_t *)frame,
                               (size_t)len, now),
                 0);
    check_draft(&ada, NULL);
    len = snprintf(frame, sizeof frame, "d1:c32:%s1:ni2e1:oi1e1:s2:hie",
                   "cccccccccccccccccccccccccccccccc");
    frame[7] = 'x'; /* of another conversation */
    cr_assert_eq(presence_recv(ada.p, DEVICE, FRAME_LIVE, (const uint8_t *)frame,
                               (size_t)len, now),
                 0);
    check_draft(&ada, NULL);
    frame[7] = 'c';
    cr_assert_eq(presence_recv(ada.p, DEVICE, FRAME_LIVE, (const uint8_t *)frame,
                               (size_t)len, now),
                 0);
    check_draft(&ada, "hi");
    cr_assert_eq(presence_recv(ada.p, DEVICE, FRAME_LIVE, (const uint8_t *)"de", 2, now),
                 ERR_FORMAT);
}

Test(presence, live_typing_at_any_speed_is_five_updates_a_second)
{
    static const unsigned gaps[] = {5, 33, 100, 199};
    link_up(true, true);
    for (size_t g = 0; g < 4; g++) {
        char draft[8] = "a";
        pass(5000);
        unsigned from = ada.frames[2];
        uint64_t since = now;
        for (unsigned i = 0; now < since + 20000; i++) {
            draft[0] = (char)('a' + i % 26);
            key(&ada, draft);
            pass(gaps[g]);
        }
        pass(PRESENCE_LIVE_GAP_MS);
        check_draft(&bob, draft); /* the last one is always told */
        unsigned n = ada.frames[2] - from;
        cr_assert_leq(n, 5 * 20 + 2, "%u updates at a key each %u ms", n, gaps[g]);
        cr_assert_geq(n, 90);
        for (unsigned i = from + 1; i < ada.frames[2]; i++) {
            cr_assert_geq(ada.live_at[i] - ada.live_at[i - 1], PRESENCE_LIVE_GAP_MS);
        }
    }
}

Test(presence, a_draft_goes_with_message_link_wish_and_time)
{
    link_up(true, true);
    pass(1000);
    key(&ada, "one");
    presence_heard(bob.p, CONTACT, now); /* the message has come */
    check_draft(&bob, NULL);
    pass(1000);
    key(&ada, "two");
    check_draft(&bob, "two");
    link_down();
    check_draft(&bob, NULL);
    cr_assert(!view(&bob).live_theirs);
    link_up(true, true);
    pass(1000);
    check_draft(&bob, "two"); /* Ada has not sent it */
    presence_live(ada.p, CONTACT, false, now);
    pump();
    check_draft(&bob, NULL);
    presence_live(ada.p, CONTACT, true, now);
    pass(1000);
    check_draft(&bob, NULL);
    key(&ada, "three");
    check_draft(&bob, "three");
    pass(PRESENCE_LIVE_IDLE_MS - 1);
    check_draft(&bob, "three");
    pass(1 + PRESENCE_LIVE_GAP_MS);
    check_draft(&bob, NULL);
}

Test(presence, the_invisible_do_not_type)
{
    link_up(true, true);
    pass(1000);
    key(&ada, "hm");
    check_draft(&bob, "hm");
    set(&ada, PRESENCE_INVISIBLE, "");
    cr_assert(!view(&bob).typing);
    check_draft(&bob, NULL);
    unsigned frames = ada.frames[1] + ada.frames[2];
    pass(1000);
    frames = ada.frames[1] + ada.frames[2];
    key(&ada, "hmm");
    pass(10000);
    cr_assert_eq(ada.frames[1] + ada.frames[2], frames);
}

Test(presence, typing_bounds)
{
    static uint8_t text[WIRE_TEXT_MAX + 1];
    memset(text, 'x', sizeof text);
    link_up(true, true);
    pass(1000);
    cr_assert_eq(presence_typing(ada.p, CONTACT, text, WIRE_TEXT_MAX + 1, false, now),
                 ERR_ARG);
    cr_assert_eq(presence_typing(ada.p, CONTACT, (const uint8_t *)"\xff", 1, false, now),
                 ERR_ARG);
    cr_assert_eq(presence_typing(ada.p, CONTACT, text, WIRE_TEXT_MAX, false, now), 0);
    pump();
    cr_assert_eq(view(&bob).text_len, WIRE_TEXT_MAX);
    /* Nobody we know of: nothing is kept. */
    cr_assert_eq(presence_typing(ada.p, 99, text, 4, false, now), 0);
}

Test(presence, what_found_no_room_is_told_later)
{
    struct presence_out out;
    link_up(true, true);
    pass(1000);
    cr_assert_eq(presence_typing(ada.p, CONTACT, (const uint8_t *)"a", 1, false, now), 0);
    while (presence_next_out(ada.p, &out)) {
        presence_unsent(ada.p, &out, now);
    }
    check_draft(&bob, NULL);
    pass(PRESENCE_LIVE_GAP_MS);
    check_draft(&bob, "a");
}

/* ---- the hostile ---- */

Test(presence, floods_are_few_events)
{
    char frame[512];
    link_up(true, true);
    pass(1000);
    memset(ada.events, 0, sizeof ada.events);
    for (unsigned i = 0; i < 20000; i++) { /* ten seconds */
        int len = snprintf(frame, sizeof frame, "d1:pi%ue1:ri%ue1:s6:%06ue", i % 4, i, i);
        cr_assert_eq(presence_recv(ada.p, DEVICE, FRAME_PRESENCE, (uint8_t *)frame,
                                   (size_t)len, now),
                     0);
        len = snprintf(frame, sizeof frame, "d1:c32:%s1:si%uee",
                       "cccccccccccccccccccccccccccccccc", i % 2);
        cr_assert_eq(presence_recv(ada.p, DEVICE, FRAME_TYPING, (uint8_t *)frame,
                                   (size_t)len, now),
                     0);
        len = snprintf(frame, sizeof frame, "d1:c32:%s1:ni%ue1:oi%ue1:s6:%06ue",
                       "cccccccccccccccccccccccccccccccc", i + 10, i % 7 != 0, i);
        cr_assert_eq(
            presence_recv(ada.p, DEVICE, FRAME_LIVE, (uint8_t *)frame, (size_t)len, now),
            0);
        take_events(&ada);
        now += i % 2;
        presence_tick(ada.p, now);
    }
    unsigned all = ada.events[PRESENCE_EV_STATE] + ada.events[PRESENCE_EV_TYPING] +
                   ada.events[PRESENCE_EV_LIVE];
    cr_assert_leq(all, PRESENCE_EVENTS_BURST + 10 * PRESENCE_EVENTS_PER_S + 1);
    cr_assert_leq(ada.frames[2], 60);
    /* And the last state is the one shown. */
    int len = snprintf(frame, sizeof frame, "d1:pi2e1:ri1e1:s4:donee");
    cr_assert_eq(
        presence_recv(ada.p, DEVICE, FRAME_PRESENCE, (uint8_t *)frame, (size_t)len, now),
        0);
    check_state(&ada, PRESENCE_BUSY, "done");
    unsigned before = ada.events[PRESENCE_EV_STATE];
    pass(1000);
    cr_assert_eq(ada.events[PRESENCE_EV_STATE], before + 1);
}

Test(presence, forgotten)
{
    link_up(true, true);
    key(&ada, "a");
    presence_forget(ada.p, CONTACT);
    cr_assert(!view(&ada).online);
    cr_assert_eq(presence_recv(ada.p, DEVICE, FRAME_TYPING, (const uint8_t *)"x", 1, now),
                 0);
    presence_down(ada.p, DEVICE, now);
    presence_forget(ada.p, CONTACT);
    struct presence_out out;
    struct presence_event ev;
    cr_assert(!presence_next_out(ada.p, &out));
    cr_assert(!presence_next_event(ada.p, &ev));
    cr_assert_eq(presence_deadline(ada.p), T0 + PRESENCE_AWAY_AFTER_MS);
}
