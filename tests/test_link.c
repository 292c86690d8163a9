/* Both ends of a link in memory, with the bytes between them in any pieces. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "link_priv.h"
#include "link_world.h"

static void check_both_up(struct world *w)
{
    cr_assert_eq(w->d.ups, 1);
    cr_assert_eq(w->s.ups, 1);
    cr_assert(link_is_up(w->d.l) && link_is_up(w->s.l));
    cr_assert_arr_eq(link_hash(w->d.l), link_hash(w->s.l), NOISE_HASH);
    cr_assert_arr_eq(link_remote_static(w->d.l), w->b.stat_pub, 32);
    cr_assert_arr_eq(link_remote_static(w->s.l), w->a.stat_pub, 32);
    cr_assert_eq(link_kind(w->d.l), w->dial.kind);
    cr_assert_eq(link_kind(w->s.l), w->dial.kind);
    cr_assert_eq(link_ref(w->s.l), w->listen.ref);
    cr_assert_eq(link_ref(w->d.l), w->dial.ref);
    cr_assert(link_is_dialler(w->d.l) && !link_is_dialler(w->s.l));
}

/* The listener ends silent: no byte, no UP, the carrier's end after the random delay. */
static void check_silent(struct world *w, uint64_t since)
{
    world_pump(w);
    cr_assert_eq(w->s.out_total, 0);
    cr_assert_eq(w->s.ups, 0);
    cr_assert_eq(w->s.closes, 0);
    uint64_t at = link_deadline(w->s.l);
    cr_assert_geq(at, since + LINK_SILENCE_MIN_MS);
    cr_assert_leq(at, since + LINK_SILENCE_MAX_MS);
    link_tick(w->s.l, at - 1);
    world_events(&w->s);
    cr_assert_eq(w->s.closes, 0);
    link_tick(w->s.l, at);
    world_events(&w->s);
    cr_assert_eq(w->s.closes, 1);
    cr_assert(w->s.closed.cut);
    cr_assert_eq(link_deadline(w->s.l), UINT64_MAX);
}

/* Handshakes */

static void all_kinds(size_t chunk)
{
    for (int kind = LINK_CONTACT; kind <= LINK_STRANGER; kind++) {
        struct world w;
        world_init(&w, (enum link_kind)kind);
        w.chunk = chunk;
        cr_assert(link_is_half_open(w.s.l));
        cr_assert_eq(link_kind(w.s.l), 0);
        cr_assert_eq(link_send(w.d.l, LINK_CHAT, FRAME_HELLO, NULL, 0), ERR_STATE);
        world_pump(&w);
        check_both_up(&w);
        cr_assert(!link_is_half_open(w.s.l));
        cr_assert_eq(w.s.counters, kind == LINK_CONTACT ? 1 : 0);
        for (uint32_t i = 0; i < 20; i++) {
            cr_assert_eq(world_put(&w.d, LINK_CHAT, i, 100 * i + 4), 0);
            cr_assert_eq(world_put(&w.s, LINK_CONTROL, i, 60 * i + 4), 0);
        }
        world_pump(&w);
        cr_assert_eq(w.s.frames, 20);
        cr_assert_eq(w.d.frames, 20);
        cr_assert(w.s.in_order && w.d.in_order);
        cr_assert_eq(w.s.bytes, 20 * 4 + 100 * 190);
        world_release(&w);
    }
}

Test(link, all_kinds_come_up)
{
    all_kinds(SIZE_MAX);
}

Test(link, byte_at_a_time)
{
    all_kinds(1);
}

Test(link, odd_chunks)
{
    all_kinds(7);
    all_kinds(17);
    all_kinds(513);
}

Test(link, records_have_their_sizes_and_look_random)
{
    for (int kind = LINK_CONTACT; kind <= LINK_STRANGER; kind++) {
        struct world w;
        world_init(&w, (enum link_kind)kind);
        cr_assert_eq(world_drain(&w, &w.d), WIRE_RECORD1);
        world_deliver(&w, &w.d, &w.s);
        cr_assert_eq(world_drain(&w, &w.s), WIRE_RECORD2);
        world_deliver(&w, &w.s, &w.d);
        uint8_t out[WORLD_OUT];
        size_t first = kind != LINK_CONTACT ? WIRE_RECORD3 : 0;
        size_t n = link_next_out(w.d.l, out, sizeof out, w.now);
        if (kind != LINK_CONTACT) {
            /* the transport frame needs the whole room that is left */
            cr_assert_eq(n, first);
            n += link_next_out(w.d.l, out, sizeof out, w.now);
        }
        cr_assert_eq(n, first + WIRE_FRAME_HEAD + TRANSPORT_OVERHEAD,
                     "a keepalive although nothing was queued");
        world_release(&w);
    }
}

Test(link, certificates_are_given)
{
    struct world w;
    const uint8_t *bytes = NULL;
    size_t len = 0;
    for (int kind = LINK_INVITE; kind <= LINK_STRANGER; kind++) {
        world_init_up(&w, (enum link_kind)kind);
        const struct cert *c = link_remote_cert(w.d.l, &bytes, &len);
        cr_assert_not_null(c);
        cr_assert_arr_eq(c->root, w.b.root, KEYS_ROOT);
        cr_assert_eq(len, w.b.cert_len);
        cr_assert_arr_eq(bytes, w.b.cert, len);
        c = link_remote_cert(w.s.l, &bytes, &len);
        cr_assert_not_null(c);
        cr_assert_arr_eq(c->root, w.a.root, KEYS_ROOT);
        cr_assert_arr_eq(bytes, w.a.cert, w.a.cert_len);
        world_release(&w);
    }
    world_init_up(&w, LINK_CONTACT);
    cr_assert_null(link_remote_cert(w.d.l, &bytes, &len));
    world_release(&w);
}

Test(link, nothing_before_the_diallers_first_frame)
{
    struct world w;
    world_init(&w, LINK_CONTACT);
    world_drain(&w, &w.d);
    world_deliver(&w, &w.d, &w.s);
    world_drain(&w, &w.s);
    world_deliver(&w, &w.s, &w.d);
    cr_assert_eq(w.d.ups, 1);
    cr_assert_eq(w.s.ups, 0);
    cr_assert_eq(w.s.counters, 1);
    cr_assert_eq(link_send(w.s.l, LINK_CONTROL, FRAME_HELLO, NULL, 0), ERR_STATE);
    /* no frame at all: a cut at the handshake's end */
    cr_assert_eq(link_deadline(w.s.l), 1000 + LINK_HANDSHAKE_MS);
    link_tick(w.s.l, 1000 + LINK_HANDSHAKE_MS);
    world_events(&w.s);
    cr_assert_eq(w.s.closes, 1);
    cr_assert(w.s.closed.cut);
    cr_assert_eq(w.s.ups, 0);
    world_release(&w);
}

Test(link, the_same_frame_may_bring_hello)
{
    struct world w;
    world_init(&w, LINK_CONTACT);
    world_drain(&w, &w.d);
    world_deliver(&w, &w.d, &w.s);
    world_drain(&w, &w.s);
    world_deliver(&w, &w.s, &w.d);
    cr_assert_eq(world_put(&w.d, LINK_CONTROL, 0, 10), 0);
    cr_assert_eq(world_drain(&w, &w.d), 256 + TRANSPORT_OVERHEAD);
    world_deliver(&w, &w.d, &w.s);
    cr_assert_eq(w.s.ups, 1);
    cr_assert_eq(w.s.frames, 1);
    world_release(&w);
}

Test(link, the_right_candidate_among_many)
{
    struct world w;
    world_init(&w, LINK_CONTACT);
    struct link_self other;
    struct link_candidate c;
    for (uint8_t i = 10; i < 60; i++) {
        world_self(&other, &w.env.env, i);
        world_contact(&other, &w.b, i, NULL, &c);
        cr_assert_eq(keyring_put(&w.ring, &c), 0);
        world_invite(&w.b, i, i, NULL, &c);
        cr_assert_eq(keyring_put(&w.ring, &c), 0);
    }
    cr_assert_eq(w.ring.n, 101);
    world_pump(&w);
    check_both_up(&w);
    /* an invite among them */
    world_invite(&w.b, 33, 33, &w.dial, &w.listen);
    world_open(&w);
    world_pump(&w);
    check_both_up(&w);
    cr_assert_eq(link_kind(w.s.l), LINK_INVITE);
    world_release(&w);
}

/* Refusals */

static void refused(struct world *w)
{
    world_open(w);
    check_silent(w, w->now);
    cr_assert_eq(w->d.ups, 0);
    link_tick(w->d.l, w->now + LINK_HANDSHAKE_MS);
    world_events(&w->d);
    cr_assert_eq(w->d.closes, 1);
    cr_assert(w->d.closed.cut);
}

Test(link, silence_for_wrong_secrets)
{
    struct world w;
    world_init(&w, LINK_CONTACT);
    struct link_candidate good = w.dial;
    w.dial.keys.k_tag[0] ^= 1;
    refused(&w);
    cr_assert(link_kind(w.s.l) == 0);
    w.dial = good;
    w.dial.keys.k_mask[0][5] ^= 1;
    refused(&w);
    w.dial = good;
    w.dial.keys.psk[31] ^= 0x80; /* found by its tag, refused by Noise */
    refused(&w);
    w.dial = good;
    w.dial.remote_root[0] ^= 1; /* another prologue */
    refused(&w);
    w.dial = good;
    w.dial.remote_static[0] ^= 1;
    refused(&w);
    w.dial = good;
    struct link_self a = w.a;
    memset(w.a.stat_sec, 0x55, 32); /* not the static that was paired */
    refused(&w);
    w.a = a;
    w.a.root[3] ^= 1;
    refused(&w);
    w.a = a;
    world_open(&w);
    world_pump(&w);
    check_both_up(&w);
    world_release(&w);
}

Test(link, silence_for_a_deleted_candidate)
{
    struct world w;
    world_init(&w, LINK_INVITE);
    keyring_del(&w.ring, LINK_INVITE, w.listen.ref);
    refused(&w);
    world_release(&w);
}

Test(link, carriers_do_not_mix)
{
    struct world w;
    world_init(&w, LINK_CONTACT);
    world_end(&w.d, link_dial(&w.a, &w.dial, CARRIER_UDP, w.env.wall_us, w.now));
    check_silent(&w, w.now);
    world_release(&w);
}

Test(link, wrong_psk_is_silent)
{
    for (int kind = LINK_INVITE; kind <= LINK_NETWORK; kind++) {
        struct world w;
        world_init(&w, (enum link_kind)kind);
        w.dial.keys.psk[0] ^= 1;
        refused(&w);
        world_release(&w);
    }
}

Test(link, another_network_is_silent)
{
    struct world w;
    world_init(&w, LINK_NETWORK);
    struct link_candidate good = w.dial;
    world_network(4, &w.dial, NULL);
    refused(&w);
    w.dial = good;
    memcpy(w.a.network, "our office", w.a.network_len); /* the key, under another name */
    refused(&w);
    w.a.network_len = 0;
    refused(&w);
    w.a.network_len = w.b.network_len;
    memcpy(w.a.network, w.b.network, w.b.network_len);
    world_open(&w);
    world_pump(&w);
    check_both_up(&w);
    world_release(&w);
}

/* Who knows neither nonce nor certificate, or only an old nonce. */
Test(link, a_stranger_needs_the_beacon)
{
    struct world w;
    world_init(&w, LINK_STRANGER);
    struct link_candidate good = w.dial;
    world_stranger(&w.b, 4, 5, &w.dial, NULL);
    refused(&w);
    world_stranger(&w.a, 3, 5, &w.dial, NULL);
    refused(&w);
    w.dial = good;
    world_open(&w);
    world_pump(&w);
    check_both_up(&w);
    keyring_del(&w.ring, LINK_STRANGER, w.listen.ref);
    refused(&w);
    world_release(&w);
}

/* The same 32 bytes as psk, tag and mask keys under every kind: the handshakes differ. */
Test(link, kinds_do_not_mix)
{
    for (int dial = LINK_CONTACT; dial <= LINK_STRANGER; dial++) {
        for (int listen = LINK_CONTACT; listen <= LINK_STRANGER; listen++) {
            if (dial == listen) {
                continue;
            }
            struct world w;
            world_init(&w, (enum link_kind)dial);
            w.listen.kind = (enum link_kind)listen;
            keyring_del(&w.ring, (enum link_kind)dial, w.listen.ref);
            memcpy(w.listen.remote_static, w.a.stat_pub, 32);
            memcpy(w.listen.remote_root, w.a.root, KEYS_ROOT);
            cr_assert_eq(keyring_put(&w.ring, &w.listen), 0);
            world_open(&w);
            world_pump(&w);
            cr_assert_eq(w.d.ups, 0, "%d and %d", dial, listen);
            cr_assert_eq(w.s.ups, 0);
            cr_assert_eq(w.d.out_total, WIRE_RECORD1, "message 3 tells who asks");
            world_release(&w);
        }
    }
}

/* Somebody sends what we say to ourselves: nobody is our own peer. */
Test(link, a_reflected_handshake_is_not_a_peer)
{
    for (int kind = LINK_INVITE; kind <= LINK_STRANGER; kind++) {
        struct world w;
        world_init(&w, (enum link_kind)kind);
        w.a = w.b;
        world_open(&w);
        world_pump(&w);
        cr_assert_eq(w.d.ups, 0);
        cr_assert_eq(w.s.ups, 0);
        cr_assert_eq(w.d.closes, 1);
        cr_assert_eq(w.d.out_total, WIRE_RECORD1);
        world_release(&w);
    }
}

static void refused_by_the_dialler(struct world *w)
{
    world_open(w);
    world_pump(w);
    cr_assert_eq(w->d.ups, 0);
    cr_assert_eq(w->d.closes, 1);
    cr_assert(w->d.closed.cut);
    cr_assert_eq(w->d.out_total, WIRE_RECORD1, "message 3 tells who asks");
    cr_assert_eq(w->s.ups, 0);
}

Test(link, dialler_refuses_a_listener_of_another_root)
{
    struct world w;
    world_init(&w, LINK_INVITE);
    w.dial.remote_root[0] ^= 1;
    refused_by_the_dialler(&w);
    world_release(&w);
}

Test(link, dialler_refuses_a_stranger_of_another_certificate)
{
    struct world w;
    world_init(&w, LINK_STRANGER);
    w.dial.cert_hash[31] ^= 1; /* the keys are those of the beacon all the same */
    refused_by_the_dialler(&w);
    world_release(&w);
}

/* A certificate over somebody else's static, on either side. */
static void lie(enum link_kind kind, bool dialler_lies)
{
    struct world w;
    world_init(&w, kind);
    struct link_self *liar = dialler_lies ? &w.a : &w.b;
    memset(liar->stat_sec, 0x77, 32);
    keys_public(liar->stat_sec, liar->stat_pub);
    world_open(&w);
    world_pump(&w);
    cr_assert_eq(w.s.ups, 0);
    cr_assert_eq(w.d.ups, dialler_lies ? 1 : 0); /* it cannot know yet */
    cr_assert_eq(w.s.out_total, WIRE_RECORD2);
    world_release(&w);
    world_init(&w, kind);
    liar->cert[liar->cert_len - 1] ^= 1; /* its signature or its end */
    world_open(&w);
    world_pump(&w);
    cr_assert_eq(w.s.ups, 0);
    world_release(&w);
}

Test(link, certificates_must_be_over_the_static)
{
    for (int kind = LINK_INVITE; kind <= LINK_STRANGER; kind++) {
        lie((enum link_kind)kind, true);
        lie((enum link_kind)kind, false);
    }
}

Test(link, failure_after_record_2_is_silent)
{
    struct world w;
    world_init(&w, LINK_INVITE);
    world_drain(&w, &w.d);
    world_deliver(&w, &w.d, &w.s);
    cr_assert_eq(world_drain(&w, &w.s), WIRE_RECORD2);
    uint8_t junk[WIRE_RECORD3 + 100] = {1};
    w.now += 100;
    cr_assert_eq(link_recv(w.s.l, junk, sizeof junk, w.now), 0);
    w.s.out_total = 0;
    buf_consume(&w.s.wire, w.s.wire.len);
    check_silent(&w, w.now);
    world_release(&w);

    world_init(&w, LINK_CONTACT);
    world_drain(&w, &w.d);
    world_deliver(&w, &w.d, &w.s);
    cr_assert_eq(link_recv(w.s.l, junk, sizeof junk, w.now), 0);
    check_silent(&w, w.now); /* record 2 had not left yet: it does not */
    world_release(&w);
}

Test(link, replayed_record_1_is_silent)
{
    for (int kind = LINK_CONTACT; kind <= LINK_STRANGER; kind++) {
        struct world w;
        world_init(&w, (enum link_kind)kind);
        uint8_t rec[WORLD_OUT];
        cr_assert_eq(link_next_out(w.d.l, rec, sizeof rec, w.now), WIRE_RECORD1);
        cr_assert_eq(link_recv(w.s.l, rec, WIRE_RECORD1, w.now), 0);
        cr_assert_eq(world_drain(&w, &w.s), WIRE_RECORD2);
        world_end(&w.s, link_listen(&w.b, &w.ring, CARRIER_TCP, w.now));
        cr_assert_eq(link_recv(w.s.l, rec, WIRE_RECORD1, w.now), 0);
        check_silent(&w, w.now);
        cr_assert_eq(link_kind(w.s.l), 0, "no session for a replay");
        /* the same for a contact whose tags are forgotten (restart): the counter */
        if (kind == LINK_CONTACT) {
            keyring_get(&w.ring, LINK_CONTACT, w.listen.ref)->n_tags = 0;
            world_end(&w.s, link_listen(&w.b, &w.ring, CARRIER_TCP, w.now));
            cr_assert_eq(link_recv(w.s.l, rec, WIRE_RECORD1, w.now), 0);
            check_silent(&w, w.now);
        }
        world_release(&w);
    }
}

Test(link, flipped_bits_in_record_1)
{
    struct world w;
    world_init(&w, LINK_CONTACT);
    uint8_t rec[WORLD_OUT];
    cr_assert_eq(link_next_out(w.d.l, rec, sizeof rec, w.now), WIRE_RECORD1);
    for (size_t i = 0; i < 8 * WIRE_RECORD1; i += 5) {
        rec[i / 8] ^= (uint8_t)(1u << i % 8);
        world_end(&w.s, link_listen(&w.b, &w.ring, CARRIER_TCP, w.now));
        cr_assert_eq(link_recv(w.s.l, rec, WIRE_RECORD1, w.now), 0);
        check_silent(&w, w.now);
        rec[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    world_end(&w.s, link_listen(&w.b, &w.ring, CARRIER_TCP, w.now));
    cr_assert_eq(link_recv(w.s.l, rec, WIRE_RECORD1, w.now), 0);
    cr_assert_eq(world_drain(&w, &w.s), WIRE_RECORD2);
    world_release(&w);
}

Test(link, flipped_bits_in_record_2)
{
    for (int kind = LINK_CONTACT; kind <= LINK_STRANGER; kind++) {
        for (size_t i = 0; i < 8 * WIRE_RECORD2; i += 41) {
            struct world w;
            world_init(&w, (enum link_kind)kind);
            world_drain(&w, &w.d);
            world_deliver(&w, &w.d, &w.s);
            uint8_t rec[WORLD_OUT];
            cr_assert_eq(link_next_out(w.s.l, rec, sizeof rec, w.now), WIRE_RECORD2);
            rec[i / 8] ^= (uint8_t)(1u << i % 8);
            cr_assert_lt(link_recv(w.d.l, rec, WIRE_RECORD2, w.now), 0);
            world_events(&w.d);
            cr_assert_eq(w.d.ups, 0);
            cr_assert_eq(w.d.closes, 1);
            world_drain(&w, &w.d);
            cr_assert_eq(w.d.out_total, WIRE_RECORD1);
            cr_assert_eq(link_recv(w.d.l, rec, 1, w.now), ERR_CLOSED);
            world_release(&w);
        }
    }
}

Test(link, a_prober_gets_nothing_for_any_length)
{
    struct world w;
    world_init(&w, LINK_CONTACT);
    uint8_t junk[2 * WIRE_RECORD1];
    for (size_t n = 0; n < sizeof junk; n++) {
        env_random(&w.env.env, junk, sizeof junk);
        world_end(&w.s, link_listen(&w.b, &w.ring, CARRIER_TCP, w.now));
        for (size_t i = 0; i < n; i += 50) {
            size_t piece = n - i < 50 ? n - i : 50;
            cr_assert_eq(link_recv(w.s.l, junk + i, piece, w.now), 0);
        }
        cr_assert_eq(world_drain(&w, &w.s), 0);
        cr_assert(link_is_half_open(w.s.l));
        if (n < WIRE_RECORD1) {
            cr_assert_eq(link_deadline(w.s.l), w.now + LINK_HANDSHAKE_MS);
        } else {
            cr_assert_leq(link_deadline(w.s.l), w.now + LINK_SILENCE_MAX_MS);
        }
        link_tick(w.s.l, w.now + LINK_HANDSHAKE_MS);
        world_events(&w.s);
        cr_assert_eq(w.s.closes, 1);
        cr_assert_eq(w.s.ups + w.s.counters + w.s.frames, 0);
    }
    world_release(&w);
}

/* Counters */

Test(link, counter_rule)
{
    uint64_t now = WORLD_WALL_US, day = LINK_COUNTER_AHEAD_US;
    cr_assert(link_counter_fresh(5, 4, now));
    cr_assert(!link_counter_fresh(4, 4, now));
    cr_assert(!link_counter_fresh(3, 4, now));
    cr_assert(link_counter_fresh(now + day + 1, UINT64_MAX, now));
    cr_assert(!link_counter_fresh(now + day, UINT64_MAX, now));
    cr_assert(!link_counter_fresh(UINT64_MAX, UINT64_MAX, UINT64_MAX));
    cr_assert(!link_counter_fresh(0, 0, 0));
}

static bool comes_up_with(struct world *w, uint64_t counter)
{
    world_open_counter(w, counter);
    world_pump(w);
    cr_assert_eq(w->d.ups, w->s.ups);
    cr_assert_eq(w->s.counters, w->s.ups);
    if (w->s.ups == 0) {
        cr_assert_eq(w->s.out_total, 0);
    }
    return w->s.ups == 1;
}

Test(link, stale_counters_are_silent)
{
    struct world w;
    world_init(&w, LINK_CONTACT);
    uint64_t c = w.env.wall_us;
    cr_assert(comes_up_with(&w, c + 10));
    cr_assert_eq(w.s.counter, c + 10);
    cr_assert(!comes_up_with(&w, c + 10));
    cr_assert(!comes_up_with(&w, c + 9));
    cr_assert(!comes_up_with(&w, 0));
    cr_assert(comes_up_with(&w, c + 11));
    world_release(&w);
}

Test(link, a_clock_in_2099_locks_nobody_out_for_long)
{
    struct world w;
    world_init(&w, LINK_CONTACT);
    uint64_t y2099 = UINT64_C(4070908800000000), day = LINK_COUNTER_AHEAD_US;
    cr_assert(comes_up_with(&w, y2099));
    cr_assert_eq(w.s.counter, w.env.wall_us + day, "what is kept stays near our clock");
    cr_assert(comes_up_with(&w, y2099 + 1));
    cr_assert(!comes_up_with(&w, w.env.wall_us));
    w.env.wall_us += day + 1000;
    cr_assert(comes_up_with(&w, w.env.wall_us));
    cr_assert_eq(w.s.counter, w.env.wall_us);
    cr_assert(!comes_up_with(&w, w.env.wall_us));
    world_release(&w);
}

Test(link, invites_ignore_counters)
{
    struct world w;
    world_init(&w, LINK_INVITE);
    world_open_counter(&w, 0);
    world_pump(&w);
    check_both_up(&w);
    world_open_counter(&w, 0);
    world_pump(&w);
    check_both_up(&w);
    world_release(&w);
}

/* The inviter makes the carrier, and a, who holds the code, takes the call. */
static void call(struct world *w, struct keyring *ring)
{
    w->env.wall_us += 1000;
    world_end(&w->d, link_listen(&w->a, ring, CARRIER_TCP, w->now));
    world_end(&w->s, link_call(&w->b, &w->ring, w->listen.ref, CARRIER_TCP, w->now));
    cr_assert_not_null(w->s.l);
}

static void init_call(struct world *w, struct keyring *ring)
{
    world_init(w, LINK_INVITE);
    struct link_candidate as = w->dial;
    as.kind = LINK_CALL;
    *ring = (struct keyring){0};
    cr_assert_eq(keyring_put(ring, &as), 0);
}

Test(link, who_is_called_is_the_dialler)
{
    struct world w;
    struct keyring ring;
    init_call(&w, &ring);
    call(&w, &ring);
    cr_assert_eq(world_drain(&w, &w.s), WIRE_RECORD1);
    cr_assert_eq(world_drain(&w, &w.d), 0, "it speaks before it is called");
    world_pump(&w);
    check_both_up(&w);
    cr_assert(link_is_dialler(w.d.l));
    cr_assert_not(link_is_dialler(w.s.l));
    cr_assert_eq(link_kind(w.d.l), LINK_INVITE);
    cr_assert_eq(link_ref(w.d.l), w.dial.ref);
    world_release(&w);
    keyring_release(&ring);
}

Test(link, only_the_inviter_is_answered_when_they_call)
{
    struct world w;
    struct keyring ring;
    init_call(&w, &ring);
    ring.v[0].remote_root[3] ^= 1; /* another one holds the code */
    call(&w, &ring);
    world_pump(&w);
    cr_assert_eq(w.d.ups, 0);
    cr_assert_eq(w.s.ups, 0);
    cr_assert_eq(w.s.closes + w.d.closes, 1, "who is called ends it");
    world_release(&w);
    keyring_release(&ring);
}

Test(link, a_call_counts_once_and_only_with_the_code)
{
    struct world w;
    struct keyring ring;
    uint8_t rec[WORLD_OUT], again[WORLD_OUT];
    init_call(&w, &ring);
    call(&w, &ring);
    cr_assert_eq(link_next_out(w.s.l, rec, sizeof rec, w.now), WIRE_RECORD1);
    cr_assert_eq(link_next_out(w.s.l, again, sizeof again, w.now), 0);
    memcpy(again, rec, sizeof rec);
    rec[WIRE_RECORD1 - 1] ^= 1;
    cr_assert_eq(link_recv(w.d.l, rec, WIRE_RECORD1, w.now), 0);
    cr_assert_eq(world_drain(&w, &w.d), 0, "it is not the code's");
    for (int i = 0; i < 2; i++) {
        call(&w, &ring);
        cr_assert_eq(link_recv(w.d.l, again, WIRE_RECORD1, w.now), 0);
        cr_assert_eq(world_drain(&w, &w.d), i == 0 ? WIRE_RECORD1 : 0);
    }
    /* A first record is no call, nor the other way round. */
    world_open(&w);
    cr_assert_eq(link_recv(w.s.l, again, WIRE_RECORD1, w.now), 0);
    cr_assert_eq(world_drain(&w, &w.s), 0);
    world_release(&w);
    keyring_release(&ring);
}

/* A contact, or the holder of another code, is not who was called. */
Test(link, who_calls_answers_nobody_else)
{
    struct world w;
    struct keyring ring;
    struct link_candidate dial, listen;
    init_call(&w, &ring);
    world_invite(&w.b, 4, 6, &dial, &listen);
    cr_assert_eq(keyring_put(&w.ring, &listen), 0);
    call(&w, &ring);
    (void)world_drain(&w, &w.s);
    world_end(&w.d, link_dial(&w.a, &dial, CARRIER_TCP, w.env.wall_us, w.now));
    (void)world_drain(&w, &w.d);
    (void)world_deliver(&w, &w.d, &w.s);
    cr_assert_eq(world_drain(&w, &w.s), 0);
    cr_assert_null(link_call(&w.b, &w.ring, 7, CARRIER_TCP, w.now), "no such invite");
    world_release(&w);
    keyring_release(&ring);
}

/* The record 1 that answers a call, on the wire of w->d. */
static void answer_call(struct world *w, struct keyring *ring)
{
    call(w, ring);
    cr_assert_eq(world_drain(w, &w->s), WIRE_RECORD1);
    (void)world_deliver(w, &w->s, &w->d);
    cr_assert_eq(world_drain(w, &w->d), WIRE_RECORD1);
}

/* The answer to a call goes to who has made that call, and nowhere else; nor is another
 * record 1 under the same code an answer. */
Test(link, a_call_is_part_of_the_handshake)
{
    struct world w;
    struct keyring ring;
    init_call(&w, &ring);
    answer_call(&w, &ring);
    world_end(&w.s, link_listen(&w.b, &w.ring, CARRIER_TCP, w.now));
    (void)world_deliver(&w, &w.d, &w.s);
    cr_assert_eq(world_drain(&w, &w.s), 0, "it has not called");
    answer_call(&w, &ring);
    world_end(&w.s, link_call(&w.b, &w.ring, w.listen.ref, CARRIER_TCP, w.now));
    cr_assert_eq(world_drain(&w, &w.s), WIRE_RECORD1);
    (void)world_deliver(&w, &w.d, &w.s);
    cr_assert_eq(world_drain(&w, &w.s), 0, "it has made another call");
    call(&w, &ring);
    cr_assert_eq(world_drain(&w, &w.s), WIRE_RECORD1);
    world_end(&w.d, link_dial(&w.a, &w.dial, CARRIER_TCP, w.env.wall_us, w.now));
    (void)world_drain(&w, &w.d);
    (void)world_deliver(&w, &w.d, &w.s);
    cr_assert_eq(world_drain(&w, &w.s), 0, "this one was not called");
    world_release(&w);
    keyring_release(&ring);
}

/* As many records as strangers send: they have no part in it. */
Test(link, a_flood_of_records_keeps_no_call_from_being_answered)
{
    struct world w;
    struct keyring ring;
    init_call(&w, &ring);
    call(&w, &ring);
    w.ring.trials =
        (struct bucket){.at_ms = w.now, .spent = UINT64_C(1000) * LINK_TRIALS_BURST};
    world_pump(&w);
    check_both_up(&w);
    world_release(&w);
    keyring_release(&ring);
}

/* Then it says nothing any more, not even its call. */
Test(link, who_speaks_before_the_call_is_nobody)
{
    struct world w;
    struct keyring ring;
    init_call(&w, &ring);
    answer_call(&w, &ring);
    world_end(&w.s, link_call(&w.b, &w.ring, w.listen.ref, CARRIER_TCP, w.now));
    (void)world_deliver(&w, &w.d, &w.s);
    cr_assert_eq(world_drain(&w, &w.s), 0);
    world_release(&w);
    keyring_release(&ring);
}

Test(link, only_so_many_tags_are_remembered)
{
    struct world w;
    world_init(&w, LINK_INVITE);
    uint8_t first[WORLD_OUT], rec[WORLD_OUT];
    cr_assert_eq(link_next_out(w.d.l, first, sizeof first, w.now), WIRE_RECORD1);
    for (int i = 0; i < LINK_TAGS; i++) {
        world_open(&w);
        size_t n = link_next_out(w.d.l, rec, sizeof rec, w.now);
        cr_assert_eq(link_recv(w.s.l, i == 0 ? first : rec, n, w.now), 0);
        cr_assert_eq(world_drain(&w, &w.s), WIRE_RECORD2);
    }
    struct link_candidate *c = keyring_get(&w.ring, LINK_INVITE, 5);
    cr_assert_eq(c->n_tags, LINK_TAGS);
    world_open(&w);
    cr_assert_eq(link_recv(w.s.l, first, WIRE_RECORD1, w.now), 0);
    cr_assert_eq(world_drain(&w, &w.s), 0);
    cr_assert_eq(keyring_put(&w.ring, &w.listen), 0);
    cr_assert_eq(keyring_get(&w.ring, LINK_INVITE, 5)->n_tags, LINK_TAGS,
                 "the same keys keep their tags");
    w.listen.keys.psk[0] ^= 1;
    cr_assert_eq(keyring_put(&w.ring, &w.listen), 0);
    cr_assert_eq(keyring_get(&w.ring, LINK_INVITE, 5)->n_tags, 0);
    world_release(&w);
}

Test(link, keyring_is_sorted_and_capped)
{
    struct keyring k = {0};
    struct link_candidate c = {.kind = LINK_INVITE};
    for (uint32_t i = 0; i < 40; i++) {
        c.kind = i % 3 == 0 ? LINK_CONTACT : LINK_INVITE;
        c.ref = (i * 17) % 41;
        cr_assert_eq(keyring_put(&k, &c), 0);
    }
    for (size_t i = 1; i < k.n; i++) {
        cr_assert(k.v[i - 1].kind < k.v[i].kind ||
                  (k.v[i - 1].kind == k.v[i].kind && k.v[i - 1].ref < k.v[i].ref));
    }
    cr_assert_eq(k.n, 40);
    cr_assert_eq(keyring_put(&k, &c), 0);
    cr_assert_eq(k.n, 40);
    cr_assert_eq(keyring_get(&k, c.kind, c.ref)->ref, c.ref);
    keyring_del(&k, c.kind, c.ref);
    cr_assert_null(keyring_get(&k, c.kind, c.ref));
    keyring_del(&k, c.kind, c.ref);
    cr_assert_eq(k.n, 39);
    for (uint32_t i = 0; k.n < LINK_CANDIDATES_MAX; i++) {
        c.ref = 1000 + i;
        cr_assert_eq(keyring_put(&k, &c), 0);
    }
    c.ref = 900;
    cr_assert_eq(keyring_put(&k, &c), ERR_LIMIT);
    keyring_release(&k);
    keyring_release(&k);
    keyring_release(NULL);
}

/* Lengths: an end in the middle of anything */

Test(link, truncated_anywhere)
{
    for (int kind = LINK_CONTACT; kind <= LINK_STRANGER; kind++) {
        for (size_t cut = 0; cut < 1100; cut += 13) {
            struct world w;
            world_init(&w, (enum link_kind)kind);
            w.chunk = 13;
            for (size_t n = 0; n < cut; n += 13) {
                world_drain(&w, &w.d);
                world_drain(&w, &w.s);
                world_deliver(&w, &w.d, &w.s);
                world_deliver(&w, &w.s, &w.d);
            }
            link_carrier_closed(w.d.l, w.now);
            link_carrier_closed(w.s.l, w.now);
            link_carrier_closed(w.s.l, w.now);
            world_events(&w.d);
            world_events(&w.s);
            cr_assert_eq(w.d.closes, 1);
            cr_assert_eq(w.s.closes, 1);
            cr_assert(w.d.closed.cut && w.s.closed.cut);
            cr_assert_eq(world_drain(&w, &w.d), 0);
            cr_assert_eq(world_drain(&w, &w.s), 0);
            world_release(&w);
        }
    }
}
