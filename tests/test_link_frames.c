/* What happens on a link that is up: padding, classes, back-pressure, rekey, the new
 * handshake in place, CLOSE, timers. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "link_world.h"

Test(link_frames, bodies_are_padded)
{
    static const size_t lens[][2] = {
        {4, 256},     {253, 256},    {254, 1024},    {1021, 1024},   {1022, 4096},
        {4093, 4096}, {4094, 16384}, {16381, 16384}, {16382, 65519}, {65516, 65519}};
    struct world w;
    world_init_up(&w, LINK_CONTACT);
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        cr_assert_eq(world_put(&w.d, LINK_CHAT, (uint32_t)i, lens[i][0]), 0);
        cr_assert_eq(world_drain(&w, &w.d), lens[i][1] + TRANSPORT_OVERHEAD);
    }
    cr_assert_eq(world_put(&w.d, LINK_CONTROL, 10, 100), 0);
    cr_assert_eq(world_drain(&w, &w.d), 256 + TRANSPORT_OVERHEAD);
    world_put_bulk(&w.d, 11, 1000);
    cr_assert_eq(world_drain(&w, &w.d), 1003 + TRANSPORT_OVERHEAD);
    world_pump(&w);
    cr_assert_eq(w.s.frames, 12);
    cr_assert(w.s.in_order);
    cr_assert_eq(world_put(&w.d, LINK_CHAT, 0, WIRE_FRAME_MAX + 1), ERR_LIMIT);
    cr_assert_eq(link_send(w.d.l, LINK_CLASSES, FRAME_HELLO, NULL, 0), ERR_LIMIT);
    world_release(&w);
}

Test(link_frames, many_frames_in_few_bodies)
{
    struct world w;
    world_init_up(&w, LINK_CONTACT);
    size_t payload = 600, n = 1000;
    for (uint32_t i = 0; i < n; i++) {
        cr_assert_eq(world_put(&w.d, LINK_CHAT, i, payload), 0);
    }
    uint64_t before = w.d.l->s->t.tx_frames;
    size_t out = world_drain(&w, &w.d);
    uint64_t bodies = w.d.l->s->t.tx_frames - before;
    cr_assert_leq(bodies, 16);
    cr_assert_leq(out, n * (payload + WIRE_FRAME_HEAD) * 11 / 10);
    world_pump(&w);
    cr_assert_eq(w.s.frames, n);
    cr_assert(w.s.in_order);
    world_release(&w);
}

Test(link_frames, padding_is_never_more_than_the_content_of_big_batches)
{
    struct world w;
    world_init_up(&w, LINK_CONTACT);
    for (uint32_t n = 1; n < 110; n += 3) {
        for (uint32_t i = 0; i < n; i++) {
            cr_assert_eq(world_put(&w.d, LINK_CHAT, i, 600), 0);
        }
        size_t out = world_drain(&w, &w.d);
        cr_assert_leq(out, (size_t)n * 603 * 2 + 1024, "%u frames took %zu bytes", n,
                      out);
    }
    world_pump(&w);
    world_release(&w);
}

Test(link_frames, classes_go_in_order)
{
    struct world w;
    world_init_up(&w, LINK_CONTACT);
    uint8_t big[100] = {0};
    for (uint32_t i = 0; i < 3; i++) {
        world_put_bulk(&w.d, i, 60000);
    }
    cr_assert_eq(link_send(w.d.l, LINK_CHAT, FRAME_ENTRY, big, 100), 0);
    cr_assert_eq(link_send(w.d.l, LINK_CHAT, FRAME_WANT, big, 0), 0);
    cr_assert_eq(link_send(w.d.l, LINK_CONTROL, FRAME_HELLO, big, 10), 0);
    world_pump(&w);
    static const uint8_t want[] = {FRAME_HELLO, FRAME_ENTRY, FRAME_WANT,
                                   WORLD_FRAME, WORLD_FRAME, WORLD_FRAME};
    cr_assert_eq(w.s.frames, sizeof want);
    cr_assert_arr_eq(w.s.types, want, sizeof want);
    world_release(&w);
}

/* What is not yet sealed when a message comes waits behind it. */
Test(link_frames, chat_overtakes_files)
{
    struct world w;
    struct wr bulk;
    world_init_up(&w, LINK_CONTACT);
    static uint8_t big[60000], out[WORLD_OUT];
    cr_assert(link_bulk_begin(w.d.l, out, sizeof out, &bulk));
    wire_frame(&bulk, (enum frame_type)WORLD_FRAME, big, sizeof big);
    size_t n = link_bulk_end(w.d.l, out, &bulk, w.now);
    cr_assert_eq(n, sizeof big + WIRE_FRAME_HEAD + TRANSPORT_OVERHEAD);
    cr_assert_eq(buf_append(&w.d.wire, out, n), 0);
    link_sent(w.d.l, n);
    cr_assert_eq(link_send(w.d.l, LINK_CHAT, FRAME_ENTRY, big, 100), 0);
    cr_assert(!link_bulk_begin(w.d.l, out, sizeof out, &bulk));
    for (uint32_t i = 0; i < 10; i++) {
        world_put_bulk(&w.d, i, 60000);
    }
    world_pump(&w);
    cr_assert_eq(w.s.frames, 12);
    cr_assert_eq(w.s.types[1], FRAME_ENTRY);
    world_release(&w);
}

/* No more than one body of file data waits at the carrier. */
Test(link_frames, file_data_waits_for_the_carrier)
{
    struct world w;
    struct wr bulk;
    world_init_up(&w, LINK_CONTACT);
    static uint8_t big[60000], out[WORLD_OUT];
    cr_assert(link_bulk_begin(w.d.l, out, sizeof out, &bulk));
    wire_frame(&bulk, (enum frame_type)WORLD_FRAME, big, sizeof big);
    size_t handed = link_bulk_end(w.d.l, out, &bulk, w.now);
    cr_assert_gt(handed, sizeof big);
    link_sent(w.d.l, handed - 1);
    cr_assert(!link_bulk_begin(w.d.l, out, sizeof out, &bulk));
    link_sent(w.d.l, 1);
    cr_assert(link_bulk_begin(w.d.l, out, sizeof out, &bulk));
    cr_assert_eq(link_bulk_end(w.d.l, out, &bulk, w.now), 0);
    cr_assert(!link_bulk_begin(w.d.l, out, 1000, &bulk), "too small a room");
    link_close(w.d.l, CLOSE_NORMAL, w.now);
    cr_assert(!link_bulk_begin(w.d.l, out, sizeof out, &bulk));
    world_release(&w);
}

Test(link_frames, back_pressure)
{
    struct world w;
    world_init_up(&w, LINK_CONTACT);
    static uint8_t big[WIRE_FRAME_MAX], out[WORLD_OUT];
    size_t handed = 0, n, queued = 0;
    cr_assert_eq(link_room(w.d.l, LINK_CHAT), LINK_INFLIGHT_MAX);
    int rc;
    while ((rc = link_send(w.d.l, LINK_CHAT, (enum frame_type)63, big, sizeof big)) ==
           0) {
        queued += WIRE_FRAME_HEAD + sizeof big;
    }
    cr_assert_eq(rc, ERR_LIMIT);
    cr_assert_leq(queued, LINK_QUEUE_MAX);
    cr_assert_gt(queued + sizeof big + WIRE_FRAME_HEAD, LINK_QUEUE_MAX);
    cr_assert_eq(link_room(w.d.l, LINK_CHAT), 0);
    cr_assert_eq(link_room(w.d.l, LINK_CONTROL), LINK_INFLIGHT_MAX);
    while ((n = link_next_out(w.d.l, out, sizeof out, w.now)) > 0) {
        handed += n;
    }
    cr_assert_geq(handed, LINK_INFLIGHT_MAX);
    cr_assert_lt(handed, LINK_INFLIGHT_MAX + WORLD_OUT);
    link_sent(w.d.l, handed - LINK_INFLIGHT_MAX);
    cr_assert_eq(link_next_out(w.d.l, out, sizeof out, w.now), 0);
    link_sent(w.d.l, 1);
    cr_assert_gt(link_next_out(w.d.l, out, sizeof out, w.now), 0);
    world_release(&w);
}

Test(link_frames, small_rooms_make_no_progress_and_no_harm)
{
    struct world w;
    world_init_up(&w, LINK_CONTACT);
    static uint8_t out[WORLD_OUT];
    cr_assert_eq(world_put(&w.d, LINK_CHAT, 0, 10), 0);
    cr_assert_eq(link_next_out(w.d.l, out, 1000, w.now), 0);
    world_pump(&w);
    cr_assert_eq(w.s.frames, 1);
    world_release(&w);
}

Test(link_frames, events_that_nobody_takes_end_the_link)
{
    struct world w;
    world_init_up(&w, LINK_CONTACT);
    static uint8_t big[WIRE_FRAME_MAX], out[WORLD_OUT];
    int rc = 0;
    for (int i = 0; i < 80 && rc == 0; i++) {
        cr_assert_eq(link_send(w.d.l, LINK_CHAT, (enum frame_type)63, big, sizeof big),
                     0);
        size_t n = link_next_out(w.d.l, out, sizeof out, w.now);
        link_sent(w.d.l, n);
        rc = link_recv(w.s.l, out, n, w.now);
    }
    cr_assert_eq(rc, ERR_LIMIT);
    world_events(&w.s);
    cr_assert_geq(w.s.frames, 60);
    cr_assert_eq(w.s.closes, 1);
    world_release(&w);
}

Test(link_frames, rekeys_every_1024_frames)
{
    struct world w;
    world_init_up(&w, LINK_CONTACT);
    uint8_t first[NOISE_KEY];
    memcpy(first, w.d.l->s->t.tx.k, sizeof first);
    for (uint32_t i = 0; i < 3300; i++) {
        cr_assert_eq(world_put(&w.d, LINK_CHAT, i, 8), 0);
        if (i % 3 == 0) {
            cr_assert_eq(world_put(&w.s, LINK_CHAT, i / 3, 8), 0);
        }
        world_pump(&w);
    }
    cr_assert_eq(w.s.frames, 3300);
    cr_assert_eq(w.d.frames, 1100);
    cr_assert(w.s.in_order && w.d.in_order);
    cr_assert_arr_neq(first, w.d.l->s->t.tx.k, sizeof first);
    cr_assert_arr_eq(w.d.l->s->t.tx.k, w.s.l->s->t.rx.k, NOISE_KEY);
    cr_assert_gt(w.d.l->s->t.tx_frames, 3 * 1024);
    world_release(&w);
}

/* New handshakes in place */

/* Keeps both ends alive until the dialler's time has come, and starts it. */
static void rehs_start(struct world *w)
{
    uint64_t at = w->d.l->s->rehs_ms;
    while (w->now < at) {
        w->now = at - w->now > LINK_KEEPALIVE_MS ? w->now + LINK_KEEPALIVE_MS : at;
        link_tick(w->s.l, w->now);
        link_tick(w->d.l, w->now);
        if (w->now < at) {
            world_pump(w);
        }
    }
}

Test(link_frames, new_handshake_in_place)
{
    for (size_t chunk = 1; chunk < 2000; chunk += 333) {
        struct world w;
        world_init_up(&w, LINK_CONTACT);
        w.chunk = chunk;
        uint8_t hash[NOISE_HASH];
        memcpy(hash, link_hash(w.d.l), sizeof hash);
        uint32_t sent = 0;
        for (int round = 0; round < 4; round++) {
            uint8_t key[2][NOISE_KEY], key_hash[NOISE_HASH];
            memcpy(key[0], w.d.l->s->t.tx.k, NOISE_KEY);
            memcpy(key[1], w.d.l->s->t.rx.k, NOISE_KEY);
            memcpy(key_hash, w.d.l->s->key_hash, NOISE_HASH);
            rehs_start(&w);
            cr_assert(w.d.l->s->rehs_begun);
            /* traffic all the while */
            for (int i = 0; i < 400; i++) {
                if (i % 4 == 0) {
                    cr_assert_eq(world_put(&w.d, LINK_CHAT, sent, 40), 0);
                    cr_assert_eq(world_put(&w.s, LINK_CHAT, sent, 40), 0);
                    sent++;
                }
                world_drain(&w, i % 2 == 0 ? &w.d : &w.s);
                world_deliver(&w, &w.d, &w.s);
                world_deliver(&w, &w.s, &w.d);
            }
            world_pump(&w);
            cr_assert_eq(w.d.frames, sent);
            cr_assert_eq(w.s.frames, sent);
            cr_assert(w.d.in_order && w.s.in_order);
            struct link_session *d = w.d.l->s, *s = w.s.l->s;
            cr_assert(!d->rehs_begun && !d->next_ready && !s->next_ready);
            cr_assert_arr_neq(key[0], d->t.tx.k, NOISE_KEY);
            cr_assert_arr_neq(key[1], d->t.rx.k, NOISE_KEY);
            cr_assert_arr_eq(d->t.tx.k, s->t.rx.k, NOISE_KEY);
            cr_assert_arr_eq(d->t.rx.k, s->t.tx.k, NOISE_KEY);
            cr_assert_arr_eq(d->key_hash, s->key_hash, NOISE_HASH);
            cr_assert_arr_neq(d->key_hash, key_hash, NOISE_HASH);
            cr_assert_eq(d->rehs_ms, w.now + LINK_REHANDSHAKE_MS);
        }
        cr_assert_arr_eq(hash, link_hash(w.d.l), sizeof hash);
        cr_assert_arr_eq(hash, link_hash(w.s.l), sizeof hash);
        cr_assert_eq(w.d.closes + w.s.closes, 0);
        world_release(&w);
    }
}

Test(link_frames, invites_have_no_new_handshake)
{
    struct world w;
    world_init_up(&w, LINK_INVITE);
    rehs_start(&w);
    world_pump(&w);
    cr_assert(!w.d.l->s->rehs_begun);
    cr_assert(link_is_up(w.d.l) && link_is_up(w.s.l));
    world_release(&w);
}

Test(link_frames, new_handshake_without_answer_is_a_cut)
{
    struct world w;
    world_init_up(&w, LINK_CONTACT);
    rehs_start(&w);
    uint64_t at = w.now + LINK_REHANDSHAKE_WAIT_MS;
    cr_assert_eq(link_deadline(w.d.l), at);
    world_drain(&w, &w.d);
    link_tick(w.d.l, at - 1);
    cr_assert(link_is_up(w.d.l));
    link_tick(w.d.l, at);
    world_events(&w.d);
    cr_assert_eq(w.d.closes, 1);
    cr_assert(w.d.closed.cut);
    /* the listener answered and hears no SWITCH */
    world_deliver(&w, &w.d, &w.s);
    world_drain(&w, &w.s);
    cr_assert(w.s.l->s->next_ready && w.s.l->s->tx_switched);
    link_tick(w.s.l, w.now + LINK_REHANDSHAKE_WAIT_MS);
    world_events(&w.s);
    cr_assert_eq(w.s.closes, 1);
    cr_assert(w.s.closed.cut);
    world_release(&w);
}

/* A body of these bytes from one end, as only a broken or hostile peer seals it. */
static int send_body(struct world *w, struct end *from, struct end *to,
                     const uint8_t *body, size_t len)
{
    static uint8_t out[WORLD_OUT];
    cr_assert_eq(transport_seal(&from->l->s->t, body, len, out), 0);
    int rc = link_recv(to->l, out, len + TRANSPORT_OVERHEAD, w->now);
    world_events(to);
    return rc;
}

static void violates(const uint8_t *body, size_t len)
{
    for (int dir = 0; dir < 2; dir++) {
        struct world w;
        world_init_up(&w, LINK_CONTACT);
        struct end *from = dir == 0 ? &w.d : &w.s, *to = dir == 0 ? &w.s : &w.d;
        cr_assert_eq(world_put(to, LINK_CHAT, 0, 100), 0);
        cr_assert_lt(send_body(&w, from, to, body, len), 0);
        cr_assert(!link_is_up(to->l));
        cr_assert_eq(to->frames, 0);
        cr_assert_eq(world_put(to, LINK_CHAT, 0, 100), ERR_STATE);
        world_pump(&w);
        cr_assert_eq(to->closes, 1);
        cr_assert_eq(to->closed.code, CLOSE_PROTOCOL);
        cr_assert(!to->closed.cut && !to->closed.by_peer);
        cr_assert_eq(from->closes, 1);
        cr_assert_eq(from->closed.code, CLOSE_PROTOCOL);
        cr_assert(!from->closed.cut && from->closed.by_peer);
        cr_assert_eq(from->frames, 0, "what was queued does not go to a liar");
        world_release(&w);
    }
}

Test(link_frames, violations)
{
    static const uint8_t beyond[] = {40, 0, 9, 1, 2, 3};
    static const uint8_t short_head[] = {40, 0};
    static const uint8_t padding[] = {40, 0, 1, 1, 0, 0, 0, 1, 0};
    static const uint8_t bad_close[] = {FRAME_CLOSE, 0, 2, 'd', 'x'};
    static const uint8_t no_close[] = {FRAME_CLOSE, 0, 0};
    static const uint8_t lone_switch[] = {FRAME_SWITCH, 0, 0};
    static const uint8_t short_rehs[] = {FRAME_REHS, 0, 1, 0};
    violates(beyond, sizeof beyond);
    violates(short_head, sizeof short_head);
    violates(padding, sizeof padding);
    violates(bad_close, sizeof bad_close);
    violates(no_close, sizeof no_close);
    violates(lone_switch, sizeof lone_switch);
    violates(short_rehs, sizeof short_rehs);
}

Test(link_frames, unknown_types_and_empty_bodies_are_ignored)
{
    struct world w;
    world_init_up(&w, LINK_CONTACT);
    static const uint8_t own[] = {9, 0, 2, 1, 2, 15, 0, 0, FRAME_KEEPALIVE, 0, 1, 7};
    static const uint8_t high[] = {9, 0, 0, 255, 0, 1, 8, 10, 0, 0, 200, 0, 0, 0, 0, 0};
    cr_assert_eq(send_body(&w, &w.d, &w.s, own, sizeof own), 0);
    cr_assert_eq(send_body(&w, &w.d, &w.s, own, 0), 0);
    cr_assert_eq(w.s.frames, 0);
    cr_assert_eq(send_body(&w, &w.d, &w.s, high, sizeof high), 0);
    cr_assert_eq(w.s.frames, 2, "frames above the link are the node's to ignore");
    cr_assert_eq(w.s.types[0], 255);
    cr_assert_eq(w.s.types[1], 200);
    cr_assert(link_is_up(w.s.l));
    world_release(&w);
}

Test(link_frames, forged_rehs_is_a_cut)
{
    struct world w;
    world_init_up(&w, LINK_CONTACT);
    uint8_t body[WIRE_FRAME_HEAD + LINK_REHS_MSG] = {FRAME_REHS, 0, LINK_REHS_MSG, 9};
    cr_assert_eq(send_body(&w, &w.d, &w.s, body, sizeof body), ERR_AUTH);
    cr_assert_eq(w.s.closes, 1);
    cr_assert(w.s.closed.cut);
    world_release(&w);
    /* to the dialler, which has asked */
    world_init_up(&w, LINK_CONTACT);
    rehs_start(&w);
    cr_assert_eq(send_body(&w, &w.s, &w.d, body, sizeof body), ERR_AUTH);
    cr_assert(w.d.closed.cut);
    world_release(&w);
    /* in an invite's link */
    world_init_up(&w, LINK_INVITE);
    cr_assert_eq(send_body(&w, &w.d, &w.s, body, sizeof body), ERR_FORMAT);
    world_release(&w);
}

Test(link_frames, nothing_may_follow_switch)
{
    struct world w;
    world_init_up(&w, LINK_CONTACT);
    rehs_start(&w);
    world_drain(&w, &w.d);
    world_deliver(&w, &w.d, &w.s);
    cr_assert(w.s.l->s->next_ready);
    static const uint8_t body[] = {FRAME_SWITCH, 0, 0, FRAME_KEEPALIVE, 0, 0};
    cr_assert_eq(send_body(&w, &w.d, &w.s, body, sizeof body), ERR_FORMAT);
    world_release(&w);
}

Test(link_frames, flipped_bits_in_transport_are_a_cut)
{
    for (size_t bit = 0; bit < 8 * (256 + TRANSPORT_OVERHEAD); bit += 29) {
        struct world w;
        world_init_up(&w, LINK_CONTACT);
        cr_assert_eq(world_put(&w.d, LINK_CHAT, 0, 100), 0);
        cr_assert_eq(world_put(&w.d, LINK_CHAT, 1, 100), 0);
        uint8_t out[WORLD_OUT];
        size_t n = link_next_out(w.d.l, out, sizeof out, w.now);
        n += link_next_out(w.d.l, out + n, sizeof out, w.now);
        out[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_eq(link_recv(w.s.l, out, n, w.now), ERR_AUTH);
        world_events(&w.s);
        cr_assert_eq(w.s.frames, 0);
        cr_assert_eq(w.s.closes, 1);
        cr_assert(w.s.closed.cut);
        cr_assert_eq(w.s.closed.code, CLOSE_NORMAL);
        world_drain(&w, &w.s);
        cr_assert_eq(w.s.wire.len, 0);
        world_release(&w);
    }
}

/* CLOSE */

Test(link_frames, close_codes)
{
    for (unsigned code = CLOSE_NORMAL; code <= CLOSE_IDLE; code++) {
        struct world w;
        world_init_up(&w, code % 2 == 0 ? LINK_CONTACT : LINK_INVITE);
        struct end *from = code % 3 == 0 ? &w.d : &w.s, *to = code % 3 == 0 ? &w.s : &w.d;
        cr_assert_eq(world_put(from, LINK_CHAT, 0, 60000), 0);
        cr_assert_eq(world_put(to, LINK_CHAT, 0, 10), 0);
        link_close(from->l, (enum close_code)code, w.now);
        link_close(from->l, CLOSE_BUSY, w.now); /* the first one counts */
        cr_assert(!link_is_up(from->l));
        world_pump(&w);
        cr_assert_eq(to->frames, 1, "what was queued goes first");
        cr_assert_eq(from->frames, 0);
        cr_assert_eq(from->closes, 1);
        cr_assert_eq(from->closed.code, code);
        cr_assert(!from->closed.cut && !from->closed.by_peer);
        cr_assert_eq(to->closes, 1);
        cr_assert_eq(to->closed.code, code);
        cr_assert(!to->closed.cut && to->closed.by_peer);
        cr_assert_eq(link_recv(to->l, (const uint8_t *)"x", 1, w.now), ERR_CLOSED);
        world_release(&w);
    }
}

Test(link_frames, close_waits_for_the_carrier_but_not_for_ever)
{
    struct world w;
    world_init_up(&w, LINK_CONTACT);
    uint8_t out[WORLD_OUT];
    link_close(w.d.l, CLOSE_SHUTDOWN, w.now);
    size_t n = link_next_out(w.d.l, out, sizeof out, w.now);
    world_events(&w.d);
    cr_assert_eq(w.d.closes, 0);
    cr_assert_eq(link_deadline(w.d.l), w.now + LINK_CLOSE_MS);
    link_sent(w.d.l, n - 1);
    world_events(&w.d);
    cr_assert_eq(w.d.closes, 0);
    link_sent(w.d.l, 1);
    world_events(&w.d);
    cr_assert_eq(w.d.closes, 1);
    cr_assert(!w.d.closed.cut);
    /* a carrier that ends after the CLOSE frame was handed to it */
    link_close(w.s.l, CLOSE_BUSY, w.now);
    cr_assert_gt(link_next_out(w.s.l, out, sizeof out, w.now), 0);
    link_carrier_closed(w.s.l, w.now);
    world_events(&w.s);
    cr_assert(!w.s.closed.cut);
    cr_assert_eq(w.s.closed.code, CLOSE_BUSY);
    world_release(&w);

    world_init_up(&w, LINK_CONTACT);
    link_close(w.d.l, CLOSE_SHUTDOWN, w.now);
    link_tick(w.d.l, w.now + LINK_CLOSE_MS - 1);
    world_events(&w.d);
    cr_assert_eq(w.d.closes, 0);
    link_tick(w.d.l, w.now + LINK_CLOSE_MS);
    world_events(&w.d);
    cr_assert_eq(w.d.closes, 1);
    cr_assert(w.d.closed.cut);
    world_release(&w);
}

Test(link_frames, close_before_up_sends_nothing)
{
    struct world w;
    world_init(&w, LINK_CONTACT);
    link_close(w.s.l, CLOSE_BUSY, w.now);
    link_close(w.d.l, CLOSE_NORMAL, w.now);
    world_pump(&w);
    cr_assert_eq(w.s.out_total + w.d.out_total, 0);
    cr_assert_eq(w.s.closes, 1);
    cr_assert_eq(w.d.closes, 1);
    cr_assert(w.s.closed.cut && w.d.closed.cut);
    world_release(&w);
}

Test(link_frames, an_end_without_close_is_a_cut)
{
    struct world w;
    world_init_up(&w, LINK_CONTACT);
    cr_assert_eq(world_put(&w.d, LINK_CHAT, 0, 100), 0);
    world_drain(&w, &w.d);
    (void)link_recv(w.s.l, buf_data(&w.d.wire), w.d.wire.len, w.now);
    link_carrier_closed(w.s.l, w.now);
    world_events(&w.s);
    cr_assert_eq(w.s.frames, 1, "what came before the end is given");
    cr_assert_eq(w.s.closes, 1);
    cr_assert(w.s.closed.cut && !w.s.closed.by_peer);
    cr_assert_eq(link_deadline(w.s.l), UINT64_MAX);
    world_release(&w);
}

/* Timers */

Test(link_frames, keepalives_keep_an_idle_link)
{
    struct world w;
    world_init_up(&w, LINK_INVITE);
    w.chunk = 1000;
    for (uint32_t i = 0; i < 100; i++) {
        cr_assert_eq(world_put(&w.d, LINK_CHAT, i, 20000), 0);
        cr_assert_eq(world_put(&w.s, LINK_CHAT, i, 20000), 0);
    }
    world_pump(&w);
    cr_assert_eq(w.s.frames, 100);
    w.s.frames = w.d.frames = 0;
    size_t before = w.d.out_total;
    for (int i = 0; i < 60; i++) {
        w.now += LINK_KEEPALIVE_MS - 1;
        cr_assert_eq(link_deadline(w.d.l), w.now + 1);
        link_tick(w.d.l, w.now);
        cr_assert_eq(world_drain(&w, &w.d), 0);
        w.now++;
        link_tick(w.d.l, w.now);
        link_tick(w.s.l, w.now);
        world_pump(&w);
    }
    cr_assert_eq(w.d.out_total - before, 60 * (WIRE_FRAME_HEAD + TRANSPORT_OVERHEAD));
    cr_assert(link_is_up(w.d.l) && link_is_up(w.s.l));
    cr_assert_eq(w.d.frames + w.s.frames, 0);
    cr_assert_leq(w.d.l->s->in.cap + w.d.l->s->rx.cap + w.d.l->s->tx[1].cap, 1024,
                  "an idle link holds hardly any buffers");
    world_release(&w);
}

Test(link_frames, silence_is_death)
{
    struct world w;
    world_init_up(&w, LINK_CONTACT);
    uint64_t at = w.now + LINK_DEAD_MS;
    link_tick(w.d.l, w.now + LINK_KEEPALIVE_MS); /* due, but its carrier is stuck */
    cr_assert_eq(link_deadline(w.d.l), at);
    link_tick(w.d.l, at - 1);
    cr_assert(link_is_up(w.d.l));
    link_tick(w.d.l, at);
    world_events(&w.d);
    cr_assert_eq(w.d.closes, 1);
    cr_assert(w.d.closed.cut);
    world_release(&w);
}

Test(link_frames, a_handshake_has_its_time)
{
    struct world w;
    world_init(&w, LINK_CONTACT);
    for (int i = 0; i < 2; i++) {
        struct end *e = i == 0 ? &w.d : &w.s;
        cr_assert_eq(link_deadline(e->l), w.now + LINK_HANDSHAKE_MS);
        link_tick(e->l, w.now + LINK_HANDSHAKE_MS - 1);
        world_events(e);
        cr_assert_eq(e->closes, 0);
        link_tick(e->l, w.now + LINK_HANDSHAKE_MS);
        world_events(e);
        cr_assert_eq(e->closes, 1);
    }
    world_release(&w);
}

Test(link_frames, free_tolerates_anything)
{
    struct world w;
    link_free(NULL);
    world_init(&w, LINK_CONTACT);
    world_release(&w);
    world_init(&w, LINK_INVITE);
    w.dial.kind = LINK_CONTACT;
    memset(w.dial.remote_static, 0xff, 32); /* not canonical */
    cr_assert_null(link_dial(&w.a, &w.dial, CARRIER_TCP, 1, 0));
    world_release(&w);
}

/* Keys are gone from a link that has ended, though its events are still to be taken. */
Test(link_frames, keys_are_wiped_at_the_end)
{
    struct world w;
    world_init_up(&w, LINK_CONTACT);
    link_carrier_closed(w.d.l, w.now);
    const struct link_session *s = w.d.l->s;
    cr_assert(sodium_is_zero(s->psk, sizeof s->psk));
    cr_assert(sodium_is_zero(s->t.tx.k, NOISE_KEY) &&
              sodium_is_zero(s->t.rx.k, NOISE_KEY));
    cr_assert(sodium_is_zero(s->k_mask2, sizeof s->k_mask2));
    world_release(&w);
}
