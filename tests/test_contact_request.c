/* Strangers: asking, being asked, accepting, denying. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "contact_make.h"

static struct side a, b;
static struct wire_sim w;

static void up(void)
{
    side_init(&a, 1, "alice");
    side_init(&b, 2, "bob");
    a.now_ms = b.now_ms = 1000;
}

static void down(void)
{
    side_release(&a);
    side_release(&b);
}

TestSuite(request, .init = up, .fini = down);

/* x asks y over link number conn, to its end. */
static void ask(struct side *x, struct side *y, uint32_t conn, const char *line)
{
    sim_up_stranger(&w, x, y, conn, side_ask(x, y, NULL, line), NULL);
    (void)sim_run(&w, SIM_ALL);
}

static const struct rec_contact *accept_first(struct side *s, const char *as)
{
    uint32_t contact = 0;
    const struct rec_request *q = side_request(s);
    cr_assert_not_null(q);
    cr_assert_eq(contacts_request_accept(s->c, &s->txn, q->id, as, &contact), 0);
    side_commit(s);
    return contacts_get(s->c, contact);
}

static void deny_first(struct side *s, bool block)
{
    const struct rec_request *q = side_request(s);
    cr_assert_not_null(q);
    cr_assert_eq(contacts_request_deny(s->c, &s->txn, q->id, block, s->now_ms), 0);
    side_commit(s);
}

Test(request, asked_and_accepted)
{
    ask(&a, &b, 1, "it's me");
    cr_assert_eq(w.err[0], 0);
    cr_assert_eq(w.err[1], 0);
    cr_assert_eq(a.close_code, CLOSE_PAIRED);
    cr_assert_eq(a.asked, 1);
    const struct rec_contact *bob = side_contact(&a, &b);
    cr_assert_not_null(bob);
    cr_assert_eq(bob->flags, CONTACT_ASKED);
    cr_assert_str_eq(bob->name, "bob");
    cr_assert_null(side_contact(&b, &a), "no contact before the user says so");
    const struct rec_request *q = side_request(&b);
    cr_assert_not_null(q);
    cr_assert_str_eq(q->name, "alice");
    cr_assert(q->text.n == 7 && memcmp(q->text.p, "it's me", 7) == 0);
    cr_assert_eq(side_told(&b, EVENT_REQUEST), 1);
    cr_assert_not(contacts_met(a.c, bob->id), "no presence before both have accepted");
    /* both processes end in between */
    side_crash(&a);
    side_crash(&b);
    const struct rec_contact *alice = accept_first(&b, NULL);
    cr_assert_not_null(alice);
    cr_assert_eq(alice->flags, 0);
    cr_assert_str_eq(alice->name, "alice");
    bob = side_contact(&a, &b);
    cr_assert_arr_eq(alice->pair, bob->pair, 32);
    cr_assert_null(side_request(&b));
    size_t pos = 0;
    struct addr at;
    const struct rec_device *d = contacts_device_next(b.c, alice->id, &pos);
    cr_assert_not_null(d);
    cr_assert_eq(contacts_device_addrs(d, &at, 1), 1);
    cr_assert(at.ip[0] == 10 && at.port == 7679, "where they listen");
    cr_assert_eq(contacts_answered(a.c, &a.txn, bob->id), 0);
    side_commit(&a);
    cr_assert_eq(bob->flags, 0);
    cr_assert_eq(side_told(&a, EVENT_REQUEST_ACCEPTED), 1);
    cr_assert_eq(contacts_answered(a.c, &a.txn, bob->id), ERR_NOTFOUND);
    side_crash(&b);
    cr_assert_null(side_request(&b));
    cr_assert_not_null(side_contact(&b, &a));
}

/* The link or a process ends after each number of frames; asking again mends it. */
Test(request, mended_by_asking_again)
{
    for (unsigned steps = 0; steps <= 5; steps++) {
        for (unsigned crash = 0; crash < 4; crash++) {
            down();
            up();
            sim_up_stranger(&w, &a, &b, 1, side_ask(&a, &b, NULL, "x"), NULL);
            (void)sim_run(&w, steps);
            sim_down(&w);
            if ((crash & 1) != 0) {
                side_crash(&a);
            }
            if ((crash & 2) != 0) {
                side_crash(&b);
            }
            ask(&a, &b, 2, "x");
            cr_assert_eq(w.err[0] + w.err[1], 0);
            const struct rec_contact *alice = accept_first(&b, NULL);
            cr_assert_arr_eq(alice->pair, side_contact(&a, &b)->pair, 32, "%u %u", steps,
                             crash);
            cr_assert_eq(side_told(&b, EVENT_REQUEST), 1, "told once");
        }
    }
}

/* She asks again after he has accepted, since the word of it was lost. */
Test(request, repeated_after_it_was_accepted)
{
    ask(&a, &b, 1, "x");
    const struct rec_contact *alice = accept_first(&b, NULL);
    ask(&a, &b, 2, "x");
    cr_assert_null(side_request(&b), "he has said so already");
    cr_assert_arr_eq(alice->pair, side_contact(&a, &b)->pair, 32);
}

Test(request, denied_is_forgotten_and_learns_nothing)
{
    ask(&a, &b, 1, "x");
    deny_first(&b, false);
    cr_assert_null(side_request(&b));
    side_crash(&b);
    cr_assert_null(side_request(&b));
    cr_assert_null(side_contact(&b, &a));
    cr_assert_eq(side_contact(&a, &b)->flags, CONTACT_ASKED);
}

Test(request, denied_may_ask_again_later)
{
    ask(&a, &b, 1, "x");
    deny_first(&b, false);
    ask(&a, &b, 2, "x");
    cr_assert_eq(w.err[1], ERR_REFUSED);
    cr_assert_null(side_request(&b));
    b.now_ms += REQUEST_AGAIN_MS;
    ask(&a, &b, 3, "x");
    cr_assert_not_null(side_request(&b));
}

Test(request, blocked_for_good_until_unblocked)
{
    ask(&a, &b, 1, "x");
    deny_first(&b, true);
    const struct rec_request *q = side_request(&b);
    cr_assert_not_null(q);
    cr_assert_eq(q->state, REQUEST_BLOCKED);
    cr_assert(sodium_is_zero(q->pair, sizeof q->pair) && q->text.n == 0);
    b.now_ms += 100 * (uint64_t)REQUEST_AGAIN_MS;
    side_crash(&b);
    ask(&a, &b, 2, "x");
    cr_assert_eq(w.err[1], ERR_REFUSED);
    cr_assert(contacts_root_blocked(b.c, a.root));
    char code[WIRE_CODE_MAX + 1];
    uint32_t id;
    side_invite(&b, 3600, code, &id);
    cr_assert_eq(side_judge(&b, id, &a), CLOSE_REVOKED, "also with a code");
    uint32_t contact;
    q = side_request(&b);
    cr_assert_eq(contacts_request_accept(b.c, &b.txn, q->id, NULL, &contact),
                 ERR_NOTFOUND);
    cr_assert_eq(contacts_request_unblock(b.c, &b.txn, q->id), 0);
    side_commit(&b);
    ask(&a, &b, 3, "x");
    cr_assert_eq(side_request(&b)->state, REQUEST_OPEN);
}

Test(request, asks_that_cross_are_accepted)
{
    uint32_t slot = side_ask(&b, &a, "al", NULL);
    (void)slot;
    ask(&a, &b, 1, "x");
    const struct rec_contact *alice = side_contact(&b, &a);
    cr_assert_not_null(alice);
    cr_assert_eq(alice->flags, 0);
    cr_assert_str_eq(alice->name, "al");
    cr_assert_eq(b.paired, 1);
    cr_assert_null(side_request(&b));
    cr_assert_eq(side_told(&b, EVENT_REQUEST), 0);
    size_t pos = 0;
    cr_assert_null(contacts_ask_next(b.c, &pos));
    cr_assert_arr_eq(alice->pair, side_contact(&a, &b)->pair, 32);
}

Test(request, both_links_at_once)
{
    struct wire_sim w2;
    sim_up_stranger(&w, &a, &b, 1, side_ask(&a, &b, NULL, NULL), NULL);
    sim_up_stranger(&w2, &b, &a, 2, side_ask(&b, &a, NULL, NULL), NULL);
    /* one of them gave way to the other; what is on its way there finds nobody */
    (void)sim_run(&w, SIM_ALL);
    (void)sim_run(&w2, SIM_ALL);
    cr_assert_eq(a.stored + b.stored, 2, "over one link");
    cr_assert_arr_eq(side_contact(&a, &b)->pair, side_contact(&b, &a)->pair, 32);
    cr_assert_null(side_request(&a));
    cr_assert_null(side_request(&b));
}

/* She was asked, did nothing, and now asks herself. */
Test(request, asking_who_has_asked)
{
    ask(&a, &b, 1, "x");
    ask(&b, &a, 2, "y");
    cr_assert_null(side_request(&a));
    cr_assert_null(side_request(&b), "settled");
    cr_assert_arr_eq(side_contact(&a, &b)->pair, side_contact(&b, &a)->pair, 32);
    cr_assert_eq(side_contact(&a, &b)->flags, 0);
}

Test(request, a_contact_is_not_asked_and_keeps_its_secret)
{
    const struct rec_contact *bob = side_meet(&a, &b, NULL);
    uint8_t pair[32];
    memcpy(pair, bob->pair, sizeof pair);
    sim_up_stranger(&w, &a, &b, 7, side_ask(&a, &b, NULL, NULL), NULL);
    cr_assert(w.down);
    cr_assert_arr_eq(bob->pair, pair, 32);
}

/* A contact who has lost us asks anew: our user decides, and until then nothing of what
 * is there changes. */
Test(request, a_contact_who_asks_anew_waits_for_the_user)
{
    uint8_t old[32];
    const struct rec_contact *alice;
    (void)side_meet(&a, &b, NULL);
    alice = side_contact(&b, &a);
    memcpy(old, alice->pair, sizeof old);
    cr_assert_eq(contacts_remove(a.c, &a.txn, side_contact(&a, &b)->id), 0);
    side_commit(&a);
    ask(&a, &b, 9, "lost you");
    cr_assert_arr_eq(alice->pair, old, 32);
    cr_assert_eq(alice->flags, 0);
    (void)accept_first(&b, NULL);
    cr_assert_arr_eq(alice->pair, side_contact(&a, &b)->pair, 32);
    cr_assert_eq(side_told(&b, EVENT_CONTACT_REPAIRED), 1);
}

/* ---- names ---- */

Test(request, a_name_in_use_puts_both_in_conflict_when_accepted_only)
{
    struct side eve;
    (void)side_meet(&b, &a, NULL);
    side_init(&eve, 3, "alice");
    ask(&eve, &b, 5, "it's me, alice");
    cr_assert_eq(side_contact(&b, &a)->flags, 0, "a request alone changes nothing");
    const struct rec_contact *fake = accept_first(&b, NULL);
    cr_assert_eq(fake->flags, CONTACT_CONFLICT);
    cr_assert_str_eq(fake->name, "alice-2");
    cr_assert_eq(side_contact(&b, &a)->flags, CONTACT_CONFLICT);
    side_release(&eve);
}

Test(request, a_look_alike_too_unless_the_user_names_it)
{
    struct side eve, mal;
    (void)side_meet(&b, &a, NULL);
    side_init(&eve, 3, "\xd0\xb0lice"); /* a Cyrillic a */
    side_init(&mal, 4, "A1ice");
    cr_assert_eq(contacts_like(b.c, eve.dev.name, 0), side_contact(&b, &a));
    cr_assert_null(contacts_like(b.c, eve.dev.name, side_contact(&b, &a)->id));
    cr_assert_null(contacts_like(b.c, "bruce", 0));
    ask(&eve, &b, 5, NULL);
    const struct rec_contact *other = accept_first(&b, "somebody else");
    cr_assert_eq(other->flags, 0);
    cr_assert_eq(side_contact(&b, &a)->flags, 0);
    ask(&mal, &b, 6, NULL);
    other = accept_first(&b, NULL);
    cr_assert_eq(other->flags, CONTACT_CONFLICT);
    cr_assert_eq(side_contact(&b, &a)->flags, CONTACT_CONFLICT);
    side_release(&eve);
    side_release(&mal);
}

Test(request, known_by_the_certificate)
{
    uint8_t hash[32];
    (void)side_meet(&b, &a, NULL);
    cert_hash(a.cert_bytes, a.cert_len, hash);
    cr_assert_eq(contacts_by_cert(b.c, hash), side_contact(&b, &a));
    hash[0] ^= 1;
    cr_assert_null(contacts_by_cert(b.c, hash));
}

/* ---- limits ---- */

static struct addr from_host(unsigned i)
{
    return (struct addr){
        .family = 4, .ip = {10, 1, (uint8_t)(i >> 8), (uint8_t)i}, .port = 40000};
}

/* How many of count strangers get a request stored, all from one address (or each from
 * its own), gap_ms apart. */
static unsigned flood(unsigned count, bool one_address, uint64_t gap_ms)
{
    unsigned before = side_told(&b, EVENT_REQUEST);
    for (unsigned i = 0; i < count; i++) {
        struct side eve;
        struct addr from = from_host(one_address ? 1 : i + 2);
        side_init_bare(&eve, 100 + i, "eve");
        sim_up_stranger(&w, &eve, &b, 100 + i, side_ask(&eve, &b, NULL, NULL), &from);
        (void)sim_run(&w, SIM_ALL);
        sim_down(&w);
        side_release(&eve);
        b.now_ms += gap_ms;
    }
    return side_told(&b, EVENT_REQUEST) - before;
}

Test(request, one_address_gets_its_burst_and_its_share)
{
    cr_assert_eq(flood(20, true, 0), REQUESTS_SOURCE_BURST);
    cr_assert_eq(flood(40, true, 2 * (uint64_t)REQUESTS_SOURCE_MS),
                 REQUESTS_SOURCE_OPEN_MAX - REQUESTS_SOURCE_BURST);
    ask(&a, &b, 1, "an honest one");
    cr_assert_not_null(side_contact(&a, &b), "from elsewhere");
}

Test(request, all_together)
{
    cr_assert_eq(flood(100, false, 0), REQUESTS_BURST);
    cr_assert_eq(flood(100, false, 2 * (uint64_t)REQUESTS_MS),
                 REQUESTS_OPEN_MAX - REQUESTS_BURST);
    size_t pos = 0, n = 0;
    while (contacts_request_next(b.c, &pos) != NULL) {
        n++;
    }
    cr_assert_eq(n, REQUESTS_OPEN_MAX);
    deny_first(&b, false);
    b.now_ms += REQUESTS_MS;
    cr_assert_eq(flood(1, false, 0), 0, "who is there already, again");
    ask(&a, &b, 1, NULL);
    cr_assert_not_null(side_contact(&a, &b), "one more fits");
}

Test(request, refusals)
{
    uint32_t slot, contact;
    uint8_t hash[32] = {9};
    char line[WIRE_LINE_MAX + 2];
    memset(line, 'x', sizeof line);
    line[WIRE_LINE_MAX + 1] = '\0';
    cr_assert_eq(contacts_ask(a.c, hash, NULL, line, &slot), ERR_ARG);
    cr_assert_eq(contacts_ask(a.c, hash, "a\nb", NULL, &slot), ERR_ARG);
    for (unsigned i = 0; i < ASKS_MAX; i++) {
        hash[1] = (uint8_t)i;
        cr_assert_eq(contacts_ask(a.c, hash, NULL, NULL, &slot), 0);
    }
    hash[1] = 0xff;
    cr_assert_eq(contacts_ask(a.c, hash, NULL, NULL, &slot), ERR_LIMIT);
    cr_assert_eq(contacts_request_accept(b.c, &b.txn, 77, NULL, &contact), ERR_NOTFOUND);
    cr_assert_eq(contacts_request_deny(b.c, &b.txn, 77, true, 0), ERR_NOTFOUND);
    cr_assert_eq(contacts_request_unblock(b.c, &b.txn, 77), ERR_NOTFOUND);
}

/* PAIR without REQUEST, REQUEST twice, REQUEST from the one who was asked. */
Test(request, frames_out_of_place)
{
    static const uint8_t frame[] = "d1:li1e1:s0:e";
    size_t len = sizeof frame - 1;
    sim_up_stranger(&w, &a, &b, 1, side_ask(&a, &b, NULL, NULL), NULL);
    cr_assert_eq(contacts_pair_recv(a.c, &a.txn, 1, FRAME_REQUEST, frame, len),
                 ERR_STATE);
    cr_assert_eq(
        contacts_pair_recv(b.c, &b.txn, 1, FRAME_PAIR, w.q[0][1].bytes, w.q[0][1].len),
        ERR_STATE, "no line");
    cr_assert_eq(contacts_pair_recv(b.c, &b.txn, 1, FRAME_REQUEST, frame, len), 0);
    cr_assert_eq(contacts_pair_recv(b.c, &b.txn, 1, FRAME_REQUEST, frame, len),
                 ERR_STATE);
    cr_assert_null(side_request(&b));
}
