#include <criterion/criterion.h>
#include <sodium.h>
#include <string.h>

#include "base/err.h"
#include "contact_make.h"

/* ---- pairing ---- */

Test(contact, two_pair)
{
    struct pair p;
    pair_init(&p);
    pair_run(&p, 1);
    cr_assert(sides_paired(&p.a, &p.b));
    cr_assert(sides_paired(&p.b, &p.a));
    cr_assert_str_eq(side_contact(&p.a, &p.b)->name, "bob");
    cr_assert_str_eq(side_contact(&p.b, &p.a)->announced, "alice");
    cr_assert_eq(p.a.paired, 1);
    cr_assert_eq(p.a.stored, 1);
    cr_assert_eq(p.b.stored, 1);
    cr_assert_eq(p.b.paired, 0);
    cr_assert_eq(p.a.close_code, CLOSE_PAIRED);
    cr_assert(p.w.down);
    cr_assert_eq(side_told(&p.a, EVENT_CONTACT_ADDED), 1);
    cr_assert_eq(side_told(&p.b, EVENT_CONTACT_ADDED), 1);
    cr_assert_eq(side_told(&p.b, EVENT_INVITE_USED), 1);
    const struct rec_invite *i = contacts_invite_get(p.b.c, p.invite);
    cr_assert(i->used);
    cr_assert_arr_eq(i->used_by, p.a.root, 32);
    /* and all of it is on disk */
    side_crash(&p.a);
    side_crash(&p.b);
    cr_assert(sides_paired(&p.a, &p.b));
    cr_assert(sides_paired(&p.b, &p.a));
    cr_assert(contacts_invite_get(p.b.c, p.invite)->used);
    pair_release(&p);
}

/* Both orders of the first two frames. */
Test(contact, order_of_frames_does_not_matter)
{
    struct pair p;
    pair_init(&p);
    sim_up(&p.w, &p.a, &p.b, 1, p.slot, p.invite);
    p.w.b_was_first = true;
    (void)sim_run(&p.w, SIM_ALL);
    cr_assert(sides_paired(&p.a, &p.b));
    cr_assert(sides_paired(&p.b, &p.a));
    pair_release(&p);
}

enum fault { CUT, CRASH_A, CRASH_B, CRASH_BOTH, FAULTS };

/* The fault comes when `steps` frames have been taken, the last one perhaps not
 * committed (early); then a tries again as long as it holds the code. */
static void with_fault(enum fault f, unsigned steps, bool b_first, bool early)
{
    struct pair p;
    pair_init(&p);
    sim_up(&p.w, &p.a, &p.b, 1, p.slot, p.invite);
    p.w.b_was_first = b_first;
    (void)sim_run(&p.w, steps);
    if (early && !p.w.down) {
        /* Taken, but lost before it was on disk. */
        for (unsigned dir = 0; dir < 2; dir++) {
            struct side *s = dir == 0 ? &p.b : &p.a;
            bool crashes = f == CRASH_BOTH || (f == CRASH_A && dir == 1) ||
                           (f == CRASH_B && dir == 0);
            if (crashes && p.w.head[dir] < p.w.tail[dir]) {
                size_t i = p.w.head[dir];
                (void)contacts_pair_recv(s->c, &s->txn, 1, p.w.q[dir][i].type,
                                         p.w.q[dir][i].bytes, p.w.q[dir][i].len);
            }
        }
    }
    if (f == CRASH_A || f == CRASH_BOTH) {
        side_crash(&p.a);
    }
    if (f == CRASH_B || f == CRASH_BOTH) {
        side_crash(&p.b);
    }
    sim_down(&p.w);
    size_t pos = 0;
    const struct contacts_adding *again = contacts_adding_next(p.a.c, &pos);
    if (again != NULL) {
        cr_assert_eq(
            contacts_invite_judge(p.b.c, p.invite, p.a.root, p.b.wall_us / 1000000), 0);
        sim_up(&p.w, &p.a, &p.b, 2, again->slot, p.invite);
        (void)sim_run(&p.w, SIM_ALL);
    }
    cr_assert(sides_paired(&p.a, &p.b));
    cr_assert(sides_paired(&p.b, &p.a));
    cr_assert_eq(side_told(&p.a, EVENT_CONTACT_ADDED), 1);
    cr_assert_eq(side_told(&p.b, EVENT_CONTACT_ADDED), 1);
    cr_assert_eq(side_told(&p.b, EVENT_INVITE_USED), 1);
    pair_release(&p);
}

Test(contact, any_fault_at_any_step_is_mended)
{
    for (enum fault f = CUT; f < FAULTS; f++) {
        for (unsigned steps = 0; steps <= 4; steps++) {
            for (unsigned i = 0; i < 4; i++) {
                with_fault(f, steps, (i & 1) != 0, (i & 2) != 0);
            }
        }
    }
}

Test(contact, both_add_each_others_code_at_once)
{
    /* Whatever the interleaving: when no code is left, both hold one secret. */
    for (unsigned order = 0; order < 256; order++) {
        struct pair p;
        struct wire_sim w2;
        char code[WIRE_CODE_MAX + 1];
        uint32_t id, slot, conn = 10;
        pair_init(&p);
        side_invite(&p.a, 3600, code, &id);
        slot = side_add(&p.b, code, NULL);
        bool first = order & 1;
        sim_up(&p.w, &p.a, &p.b, 1, p.slot, p.invite);
        if (first) {
            (void)sim_step(&p.w, (order & 2) != 0);
        }
        sim_up(&w2, &p.b, &p.a, 2, slot, id);
        for (unsigned i = 2; i < 8; i++) {
            (void)sim_step((order >> i) & 1 ? &p.w : &w2, i & 1);
        }
        for (unsigned i = 0; i < 6; i++) {
            sim_down(i == 0 ? &p.w : &w2);
            size_t pos = 0;
            if (contacts_adding_next(p.a.c, &pos) != NULL) {
                sim_up(&p.w, &p.a, &p.b, conn++, p.slot, p.invite);
                (void)sim_run(&p.w, SIM_ALL);
            }
            pos = 0;
            if (contacts_adding_next(p.b.c, &pos) != NULL) {
                sim_up(&w2, &p.b, &p.a, conn++, slot, id);
                (void)sim_run(&w2, SIM_ALL);
            }
        }
        cr_assert(sides_paired(&p.a, &p.b));
        cr_assert(sides_paired(&p.b, &p.a));
        pair_release(&p);
    }
}

Test(contact, of_two_links_one_way_the_newer_stays)
{
    struct pair p;
    struct wire_sim w2;
    pair_init(&p);
    sim_up(&p.w, &p.a, &p.b, 1, p.slot, p.invite);
    cr_assert(sim_step(&p.w, true)); /* b has stored */
    sim_up(&w2, &p.a, &p.b, 2, p.slot, p.invite);
    cr_assert_eq(p.b.close_conn, 1);
    cr_assert_eq(p.b.close_code, CLOSE_REPLACED);
    /* Nothing of the older counts any more. */
    cr_assert(sim_step(&p.w, false));
    cr_assert_eq(p.w.err[0], ERR_STATE);
    (void)sim_run(&w2, SIM_ALL);
    cr_assert(sides_paired(&p.a, &p.b));
    pair_release(&p);
}

Test(contact, frames_out_of_place_are_refused)
{
    struct pair p;
    uint8_t junk[4] = {0};
    pair_init(&p);
    cr_assert_eq(contacts_pair_recv(p.a.c, &p.a.txn, 9, FRAME_PAIR, junk, 4), ERR_STATE);
    sim_up(&p.w, &p.a, &p.b, 1, p.slot, p.invite);
    const uint8_t *pair = p.w.q[0][0].bytes;
    size_t len = p.w.q[0][0].len;
    uint8_t empty[2] = {'d', 'e'};
    /* PAIRED before PAIR, another frame, a cut one, another's certificate */
    cr_assert_eq(contacts_pair_recv(p.b.c, &p.b.txn, 1, FRAME_PAIRED, empty, 2),
                 ERR_STATE);
    cr_assert_eq(contacts_pair_recv(p.b.c, &p.b.txn, 1, FRAME_PAIRED, junk, 4),
                 ERR_FORMAT);
    cr_assert_eq(contacts_pair_recv(p.b.c, &p.b.txn, 1, FRAME_HELLO, pair, len),
                 ERR_STATE);
    for (size_t i = 0; i < len; i++) {
        cr_assert_eq(contacts_pair_recv(p.b.c, &p.b.txn, 1, FRAME_PAIR, pair, i),
                     ERR_FORMAT);
    }
    cr_assert_eq(contacts_pair_recv(p.b.c, &p.b.txn, 1, FRAME_PAIR, p.w.q[1][0].bytes,
                                    p.w.q[1][0].len),
                 ERR_AUTH);
    cr_assert_eq(p.b.txn.n, 0);
    cr_assert_null(side_contact(&p.b, &p.a));
    cr_assert(!contacts_invite_get(p.b.c, p.invite)->used);
    /* a second PAIR */
    cr_assert(sim_step(&p.w, true));
    cr_assert_eq(contacts_pair_recv(p.b.c, &p.b.txn, 1, FRAME_PAIR, pair, len),
                 ERR_STATE);
    pair_release(&p);
}

Test(contact, keys_of_small_order_are_refused)
{
    struct pair p;
    struct wire_pair v;
    uint8_t bytes[1024];
    pair_init(&p);
    sim_up(&p.w, &p.a, &p.b, 1, p.slot, p.invite);
    cr_assert(wire_pair_get(p.w.q[0][0].bytes, p.w.q[0][0].len, &v));
    memset(v.dh, 0, sizeof v.dh);
    struct wr w = wr_init(bytes, sizeof bytes);
    wire_pair_put(&w, &v);
    cr_assert(wr_ok(&w));
    cr_assert_eq(contacts_pair_recv(p.b.c, &p.b.txn, 1, FRAME_PAIR, bytes, w.len),
                 ERR_AUTH);
    cr_assert_null(side_contact(&p.b, &p.a));
    pair_release(&p);
}

Test(contact, only_the_root_of_the_code_is_taken)
{
    struct pair p;
    struct side m;
    uint8_t hash[64] = {1};
    pair_init(&p);
    side_init(&m, 3, "mallory");
    cr_assert_eq(
        contacts_pair_up(p.a.c, 1, true, p.slot, &m.cert, m.cert_bytes, m.cert_len, hash),
        ERR_AUTH);
    /* and nobody pairs with themselves */
    cr_assert_eq(contacts_pair_up(p.b.c, 1, false, p.invite, &p.b.cert, p.b.cert_bytes,
                                  p.b.cert_len, hash),
                 ERR_AUTH);
    /* a code given up meanwhile */
    cr_assert_eq(contacts_pair_up(p.a.c, 1, true, p.slot + 1, &p.b.cert, p.b.cert_bytes,
                                  p.b.cert_len, hash),
                 0);
    side_commit(&p.a);
    cr_assert_eq(p.a.closed, 1);
    cr_assert_eq(p.a.close_code, CLOSE_NORMAL);
    side_release(&m);
    pair_release(&p);
}

Test(contact, a_pairing_that_does_not_get_on_is_ended)
{
    struct pair p;
    pair_init(&p);
    cr_assert_eq(contacts_deadline(p.b.c), 0);
    contacts_tick(p.b.c, &p.b.txn, 50);
    cr_assert_eq(contacts_deadline(p.b.c), 50 + SWEEP_MS);
    sim_up(&p.w, &p.a, &p.b, 1, p.slot, p.invite);
    cr_assert_eq(contacts_deadline(p.b.c), 0);
    contacts_tick(p.b.c, &p.b.txn, 100);
    cr_assert_eq(contacts_deadline(p.b.c), 100 + PAIRING_MS);
    contacts_tick(p.b.c, &p.b.txn, 99 + PAIRING_MS);
    side_commit(&p.b);
    cr_assert_eq(p.b.closed, 0);
    contacts_tick(p.b.c, &p.b.txn, 100 + PAIRING_MS);
    side_commit(&p.b);
    cr_assert_eq(p.b.closed, 1);
    cr_assert_eq(p.b.close_conn, 1);
    pair_release(&p);
}

/* ---- names ---- */

Test(contact, a_second_bob_is_told_apart_and_both_are_marked)
{
    struct side a, b, c, d;
    side_init(&a, 1, "alice");
    side_init(&b, 2, "bob");
    side_init(&c, 3, "bob");
    side_init(&d, 4, "bob");
    cr_assert_eq(side_meet(&a, &b, NULL)->flags, 0);
    cr_assert_str_eq(side_meet(&a, &c, NULL)->name, "bob-2");
    cr_assert_str_eq(side_contact(&a, &b)->name, "bob");
    cr_assert_eq(side_contact(&a, &b)->flags, CONTACT_CONFLICT);
    cr_assert_eq(side_contact(&a, &c)->flags, CONTACT_CONFLICT);
    cr_assert_eq(side_told(&a, EVENT_CONTACT_CONFLICT), 2);
    /* verifying says which one it is */
    uint32_t id = side_contact(&a, &b)->id;
    cr_assert_eq(contacts_set_flags(a.c, &a.txn, id, CONTACT_VERIFIED, 0), 0);
    side_commit(&a);
    cr_assert_eq(side_contact(&a, &b)->flags, CONTACT_VERIFIED);
    cr_assert_eq(side_contact(&a, &c)->flags, CONTACT_CONFLICT);
    cr_assert_str_eq(side_meet(&a, &d, NULL)->name, "bob-3");
    cr_assert_eq(side_contact(&a, &b)->flags, CONTACT_VERIFIED | CONTACT_CONFLICT);
    side_crash(&a);
    cr_assert_str_eq(side_contact(&a, &d)->name, "bob-3");
    cr_assert_eq(side_contact(&a, &c)->flags, CONTACT_CONFLICT);
    side_release(&a);
    side_release(&b);
    side_release(&c);
    side_release(&d);
}

/* alice, who met two or three that call themselves bob. */
static void side_bobs(struct side v[4], size_t n)
{
    side_init(&v[0], 1, "alice");
    for (size_t i = 1; i <= n; i++) {
        side_init(&v[i], (uint8_t)(i + 1), "bob");
        (void)side_meet(&v[0], &v[i], NULL);
        cr_assert_eq(side_contact(&v[0], &v[i])->flags, i > 1 ? CONTACT_CONFLICT : 0);
    }
}

static void bobs_release(struct side v[4], size_t n)
{
    for (size_t i = 0; i <= n; i++) {
        side_release(&v[i]);
    }
}

Test(contact, another_name_tells_two_apart)
{
    struct side v[4];
    side_bobs(v, 2);
    struct contacts *c = v[0].c;
    uint32_t id = side_contact(&v[0], &v[2])->id;
    cr_assert_eq(contacts_rival(c, id)->id, side_contact(&v[0], &v[1])->id);
    unsigned told = side_told(&v[0], EVENT_CONTACT_CHANGED);
    cr_assert_eq(contacts_rename(c, &v[0].txn, id, "bob sales"), 0);
    side_commit(&v[0]);
    cr_assert_eq(side_contact(&v[0], &v[1])->flags, 0);
    cr_assert_eq(side_contact(&v[0], &v[2])->flags, 0);
    cr_assert_eq(side_told(&v[0], EVENT_CONTACT_CHANGED), told + 2);
    side_crash(&v[0]);
    cr_assert_eq(side_contact(&v[0], &v[1])->flags, 0, "it is durable");
    cr_assert_str_eq(side_contact(&v[0], &v[2])->name, "bob sales");
    bobs_release(v, 2);
}

Test(contact, of_three_two_are_left_to_tell_apart)
{
    struct side v[4];
    side_bobs(v, 3);
    uint32_t id = side_contact(&v[0], &v[2])->id;
    cr_assert_eq(contacts_rename(v[0].c, &v[0].txn, id, "bob sales"), 0);
    side_commit(&v[0]);
    cr_assert_eq(side_contact(&v[0], &v[1])->flags, CONTACT_CONFLICT);
    cr_assert_eq(side_contact(&v[0], &v[2])->flags, 0);
    cr_assert_eq(side_contact(&v[0], &v[3])->flags, CONTACT_CONFLICT);
    cr_assert_eq(contacts_remove(v[0].c, &v[0].txn, side_contact(&v[0], &v[1])->id), 0);
    side_commit(&v[0]);
    cr_assert_eq(side_contact(&v[0], &v[3])->flags, 0);
    bobs_release(v, 3);
}

Test(contact, who_is_left_when_the_other_is_removed_or_blocked_is_meant)
{
    for (int blocked = 0; blocked < 2; blocked++) {
        for (size_t gone = 1; gone <= 2; gone++) {
            struct side v[4];
            side_bobs(v, 2);
            uint32_t id = side_contact(&v[0], &v[gone])->id;
            int err = blocked
                          ? contacts_set_flags(v[0].c, &v[0].txn, id, CONTACT_BLOCKED, 0)
                          : contacts_remove(v[0].c, &v[0].txn, id);
            cr_assert_eq(err, 0);
            side_commit(&v[0]);
            cr_assert_eq(side_contact(&v[0], &v[3 - gone])->flags, 0);
            if (blocked) {
                cr_assert_eq(side_contact(&v[0], &v[gone])->flags,
                             CONTACT_BLOCKED | CONTACT_CONFLICT);
            }
            bobs_release(v, 2);
        }
    }
}

Test(contact, to_verify_one_says_nothing_of_the_other)
{
    struct side v[4];
    side_bobs(v, 2);
    uint32_t id = side_contact(&v[0], &v[1])->id;
    uint32_t other = side_contact(&v[0], &v[2])->id;
    cr_assert_eq(contacts_set_flags(v[0].c, &v[0].txn, id, CONTACT_VERIFIED, 0), 0);
    cr_assert_eq(contacts_rename(v[0].c, &v[0].txn, id, "bob the first"), 0);
    side_commit(&v[0]);
    cr_assert_eq(side_contact(&v[0], &v[2])->flags, CONTACT_CONFLICT);
    cr_assert_eq(contacts_rename(v[0].c, &v[0].txn, other, "bob"), 0);
    side_commit(&v[0]);
    cr_assert_eq(side_contact(&v[0], &v[2])->flags, 0);
    bobs_release(v, 2);
}

Test(contact, a_root_under_a_name_that_a_contact_had_is_a_conflict_too)
{
    struct side a, b, c;
    side_init(&a, 1, "alice");
    side_init(&b, 2, "bob");
    side_init(&c, 3, "bob");
    (void)side_meet(&a, &b, "robert"); /* announces bob, and so does the next */
    cr_assert_str_eq(side_meet(&a, &c, NULL)->name, "bob");
    cr_assert_eq(side_contact(&a, &b)->flags, CONTACT_CONFLICT);
    cr_assert_eq(side_contact(&a, &c)->flags, CONTACT_CONFLICT);
    side_release(&a);
    side_release(&b);
    side_release(&c);
}

Test(contact, as_a_name_says_which_root_is_meant)
{
    struct side a, b, c;
    side_init(&a, 1, "alice");
    side_init(&b, 2, "bob");
    side_init(&c, 3, "carol");
    (void)side_meet(&a, &b, NULL);
    cr_assert_str_eq(side_meet(&a, &c, "bob")->name, "bob");
    cr_assert_eq(side_contact(&a, &c)->flags, 0);
    cr_assert_str_eq(side_contact(&a, &b)->name, "bob-2");
    cr_assert_eq(side_contact(&a, &b)->flags, CONTACT_CONFLICT);
    cr_assert_eq(side_told(&a, EVENT_CONTACT_CONFLICT), 1);
    /* and back again, by a new invite of the first */
    cr_assert_str_eq(side_meet(&a, &b, "bob")->name, "bob");
    cr_assert_eq(side_contact(&a, &b)->flags, 0);
    cr_assert_str_eq(side_contact(&a, &c)->name, "bob-2");
    cr_assert_eq(side_contact(&a, &c)->flags, CONTACT_CONFLICT);
    /* without a name it keeps the one it has */
    cr_assert_str_eq(side_meet(&a, &c, NULL)->name, "bob-2");
    side_release(&a);
    side_release(&b);
    side_release(&c);
}

Test(contact, names_are_cut_between_characters)
{
    struct side a, b, c;
    char name[WIRE_NAME_MAX + 1] = "";
    for (size_t i = 0; i < WIRE_NAME_MAX / 2; i++) {
        memcpy(name + 2 * i, "\xc3\xa9", 3);
    }
    side_init(&a, 1, "alice");
    side_init(&b, 2, name);
    side_init(&c, 3, name);
    (void)side_meet(&a, &b, NULL);
    const char *second = side_meet(&a, &c, NULL)->name;
    size_t len = strlen(second);
    cr_assert_str_eq(second + len - 2, "-2");
    cr_assert(wire_name_ok((const uint8_t *)second, len));
    cr_assert_eq(len, WIRE_NAME_MAX);
    side_release(&a);
    side_release(&b);
    side_release(&c);
}

Test(contact, rename)
{
    struct side a, b, c;
    side_init(&a, 1, "alice");
    side_init(&b, 2, "bob");
    side_init(&c, 3, "carol");
    uint32_t id = side_meet(&a, &b, NULL)->id;
    (void)side_meet(&a, &c, NULL);
    cr_assert_eq(contacts_rename(a.c, &a.txn, id, "carol"), ERR_EXISTS);
    cr_assert_eq(contacts_rename(a.c, &a.txn, id, ""), ERR_ARG);
    cr_assert_eq(contacts_rename(a.c, &a.txn, id, "b\x1b[1mob"), ERR_ARG);
    cr_assert_eq(contacts_rename(a.c, &a.txn, 99, "x"), ERR_NOTFOUND);
    cr_assert_eq(contacts_rename(a.c, &a.txn, id, "bob"), 0);
    cr_assert_eq(a.txn.n, 0);
    cr_assert_eq(contacts_rename(a.c, &a.txn, id, "Robert"), 0);
    side_commit(&a);
    side_crash(&a);
    cr_assert_str_eq(side_contact(&a, &b)->name, "Robert");
    cr_assert_eq(side_told(&a, EVENT_CONTACT_CHANGED), 1);
    side_release(&a);
    side_release(&b);
    side_release(&c);
}

static void hex(const uint8_t *p, size_t digits, char *out)
{
    char all[65];
    (void)sodium_bin2hex(all, sizeof all, p, 32);
    memcpy(out, all, digits);
    out[digits] = 0;
}

Test(contact, find)
{
    struct side a, b, c;
    const struct rec_contact *k = NULL;
    char prefix[65];
    side_init(&a, 1, "alice");
    side_init(&b, 2, "bob");
    side_init(&c, 3, "carol");
    (void)side_meet(&a, &b, NULL);
    uint32_t id = side_meet(&a, &c, NULL)->id;
    cr_assert_eq(contacts_find(a.c, "bob", &k), 0);
    cr_assert_eq(k, side_contact(&a, &b));
    cr_assert_eq(contacts_find(a.c, "bo", &k), ERR_NOTFOUND);
    cr_assert_eq(contacts_find(a.c, "", &k), ERR_NOTFOUND);
    for (size_t n = 1; n <= 64; n++) {
        hex(b.root, n, prefix);
        k = NULL;
        cr_assert_eq(contacts_find(a.c, prefix, &k),
                     n < CONTACT_HEX_MIN ? ERR_NOTFOUND : 0);
        cr_assert_eq(k, n < CONTACT_HEX_MIN ? NULL : side_contact(&a, &b));
    }
    /* Who takes the beginning of somebody's root for a name catches nothing. */
    hex(b.root, 12, prefix);
    cr_assert_eq(contacts_rename(a.c, &a.txn, id, prefix), 0);
    cr_assert_eq(contacts_find(a.c, prefix, &k), ERR_EXISTS);
    hex(c.root, 12, prefix);
    cr_assert_eq(contacts_rename(a.c, &a.txn, id, prefix), 0);
    cr_assert_eq(contacts_find(a.c, prefix, &k), 0);
    cr_assert_eq(k->id, id);
    side_release(&a);
    side_release(&b);
    side_release(&c);
}

/* ---- block, remove ---- */

Test(contact, a_blocked_contact_does_not_pair)
{
    struct pair p;
    pair_init(&p);
    pair_run(&p, 1);
    uint32_t id = side_contact(&p.b, &p.a)->id;
    side_forget(&p.b);
    cr_assert_eq(contacts_set_flags(p.b.c, &p.b.txn, id, CONTACT_BLOCKED, 0), 0);
    side_commit(&p.b);
    cr_assert_eq(p.b.gone, 1);
    cr_assert_eq(p.b.changed, 0);
    cr_assert_eq(side_judge(&p.b, p.invite, &p.a), CLOSE_REVOKED);
    uint32_t fresh, slot = 0;
    char code[WIRE_CODE_MAX + 1];
    side_invite(&p.b, 60, code, &fresh);
    cr_assert_eq(side_judge(&p.b, fresh, &p.a), CLOSE_REVOKED);
    side_invite(&p.a, 60, code, &fresh);
    cr_assert_eq(contacts_add(p.b.c, &p.b.txn, code, strlen(code), NULL, &slot),
                 ERR_REFUSED);
    cr_assert_eq(contacts_set_flags(p.b.c, &p.b.txn, id, 0, CONTACT_BLOCKED), 0);
    side_commit(&p.b);
    cr_assert_eq(p.b.changed, 1);
    cr_assert_eq(side_judge(&p.b, p.invite, &p.a), 0);
    cr_assert_eq(contacts_set_flags(p.b.c, &p.b.txn, id, CONTACT_REMOVED, 0), ERR_ARG);
    cr_assert_eq(contacts_set_flags(p.b.c, &p.b.txn, 99, 0, 0), ERR_NOTFOUND);
    pair_release(&p);
}

Test(contact, blocking_ends_a_pairing_under_way)
{
    struct pair p;
    pair_init(&p);
    pair_run(&p, 1);
    p.slot = side_add(&p.a, p.code, NULL);
    sim_up(&p.w, &p.a, &p.b, 2, p.slot, p.invite);
    side_forget(&p.a);
    cr_assert_eq(contacts_set_flags(p.a.c, &p.a.txn, side_contact(&p.a, &p.b)->id,
                                    CONTACT_BLOCKED, 0),
                 0);
    side_commit(&p.a);
    cr_assert_eq(p.a.closed, 1);
    cr_assert_eq(p.a.failed, 1);
    cr_assert_eq(side_adding_count(&p.a), 0);
    cr_assert(sim_step(&p.w, false));
    cr_assert_eq(p.w.err[0], ERR_STATE);
    pair_release(&p);
}

Test(contact, a_removed_contact_comes_back_under_its_row)
{
    struct pair p;
    const struct rec_contact *k = NULL;
    pair_init(&p);
    pair_run(&p, 1);
    uint32_t id = side_contact(&p.b, &p.a)->id, ref;
    size_t pos = 0;
    ref = contacts_device_next(p.b.c, id, &pos)->id;
    cr_assert_eq(contacts_remove(p.b.c, &p.b.txn, id), 0);
    side_commit(&p.b);
    cr_assert_eq(p.b.gone, 1);
    cr_assert_eq(side_told(&p.b, EVENT_CONTACT_REMOVED), 1);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(contacts_get(p.b.c, id)->flags, CONTACT_REMOVED);
        cr_assert(sodium_is_zero(contacts_get(p.b.c, id)->pair, 32));
        cr_assert_eq(contacts_find(p.b.c, "alice", &k), ERR_NOTFOUND);
        pos = 0;
        cr_assert_null(contacts_next(p.b.c, &pos));
        const struct rec_device *d = contacts_device(p.b.c, ref);
        cr_assert_eq(d->cert.n, 0);
        cr_assert_eq(d->addrs.n, 0);
        cr_assert(!d->has_presence);
        cr_assert(sodium_is_zero(d->box, 32));
        cr_assert_eq(contacts_remove(p.b.c, &p.b.txn, id), ERR_NOTFOUND);
        cr_assert_eq(contacts_rename(p.b.c, &p.b.txn, id, "x"), ERR_NOTFOUND);
        /* The invite it once used does not bring it back. */
        cr_assert_eq(side_judge(&p.b, p.invite, &p.a), CLOSE_REVOKED);
        side_crash(&p.b);
    }
    cr_assert_eq(side_meet(&p.b, &p.a, NULL)->id, id);
    cr_assert(sides_paired(&p.a, &p.b));
    cr_assert_str_eq(side_contact(&p.b, &p.a)->name, "alice");
    cr_assert_eq(side_contact(&p.b, &p.a)->flags, 0);
    pos = 0;
    cr_assert_eq(contacts_device_next(p.b.c, id, &pos)->id, ref);
    cr_assert_eq(side_told(&p.b, EVENT_CONTACT_ADDED), 2);
    cr_assert_eq(side_told(&p.b, EVENT_CONTACT_CONFLICT), 0);
    pair_release(&p);
}

Test(contact, a_name_of_a_removed_contact_is_free)
{
    struct side a, b, c;
    side_init(&a, 1, "alice");
    side_init(&b, 2, "bob");
    side_init(&c, 3, "bob");
    uint32_t id = side_meet(&a, &b, NULL)->id;
    cr_assert_eq(contacts_remove(a.c, &a.txn, id), 0);
    side_commit(&a);
    cr_assert_str_eq(side_meet(&a, &c, NULL)->name, "bob");
    cr_assert_eq(side_contact(&a, &c)->flags, 0);
    cr_assert_str_eq(side_meet(&a, &b, NULL)->name, "bob-2");
    cr_assert_eq(side_contact(&a, &b)->id, id);
    cr_assert_eq(side_contact(&a, &b)->flags, CONTACT_CONFLICT);
    side_release(&a);
    side_release(&b);
    side_release(&c);
}

/* ---- devices ---- */

Test(contact, device_counters_and_addresses)
{
    struct pair p;
    struct addr a[CONTACT_ADDRS_MAX + 2], got;
    pair_init(&p);
    pair_run(&p, 1);
    size_t pos = 0;
    uint32_t ref = contacts_device_next(p.a.c, side_contact(&p.a, &p.b)->id, &pos)->id;
    cr_assert_eq(ref, 2); /* 1 is our own */
    cr_assert_eq(contacts_device_counters(p.a.c, &p.a.txn, ref, 7, 9), 0);
    cr_assert_eq(contacts_device_counters(p.a.c, &p.a.txn, ref, 6, 8), 0);
    cr_assert_eq(contacts_device_counters(p.a.c, &p.a.txn, ref, 6, 10), 0);
    cr_assert_eq(contacts_device_counters(p.a.c, &p.a.txn, 99, 1, 1), ERR_NOTFOUND);
    for (size_t i = 0; i < CONTACT_ADDRS_MAX + 2; i++) {
        cr_assert_eq(
            addr_parse(i % 2 ? "192.0.2.1:1000" : "[2001:db8::1]:1000", 0, &a[i]), 0);
        a[i].port = (uint16_t)(1000 + i);
        cr_assert_eq(contacts_device_met(p.a.c, &p.a.txn, ref, &a[i]), 0);
    }
    cr_assert_eq(contacts_device_met(p.a.c, &p.a.txn, ref, &a[5]), 0);
    side_commit(&p.a);
    cr_assert_eq(contacts_device_met(p.a.c, &p.a.txn, ref, &a[5]), 0);
    cr_assert_eq(p.a.txn.n, 0); /* nothing new */
    side_crash(&p.a);
    const struct rec_device *d = contacts_device(p.a.c, ref);
    cr_assert_eq(d->counter_tx, 7);
    cr_assert_eq(d->counter_rx, 10);
    struct rd r = rd_init(d->addrs.p, d->addrs.n);
    static const uint16_t want[CONTACT_ADDRS_MAX] = {1005, 1009, 1008, 1007,
                                                     1006, 1004, 1003, 1002};
    for (size_t i = 0; i < CONTACT_ADDRS_MAX; i++) {
        size_t len = want[i] % 2 ? ADDR_WIRE4 : ADDR_WIRE6;
        cr_assert_eq(addr_from_wire(rd_bytes(&r, len), len, &got), 0);
        cr_assert_eq(got.port, want[i]);
    }
    cr_assert(rd_end(&r));
    pair_release(&p);
}

Test(contact, device_update)
{
    struct pair p;
    struct side m;
    pair_init(&p);
    side_init(&m, 3, "mallory");
    pair_run(&p, 1);
    size_t pos = 0;
    uint32_t id = side_contact(&p.a, &p.b)->id;
    uint32_t ref = contacts_device_next(p.a.c, id, &pos)->id;
    struct wire_device d = p.b.dev;
    memset(d.box, 9, sizeof d.box);
    d.box[31] = 0;
    memcpy(d.name, "robert", 7);
    /* not newer: the key stays */
    cr_assert_eq(contacts_device_update(p.a.c, &p.a.txn, ref, &d), 0);
    cr_assert_arr_eq(contacts_device(p.a.c, ref)->box, p.b.dev.box, 32);
    d.box_time++;
    d.has_presence = false;
    cr_assert_eq(contacts_device_update(p.a.c, &p.a.txn, ref, &d), 0);
    side_commit(&p.a);
    cr_assert_arr_eq(contacts_device(p.a.c, ref)->box, d.box, 32);
    cr_assert(contacts_device(p.a.c, ref)->has_presence);
    cr_assert_str_eq(contacts_get(p.a.c, id)->announced, "robert");
    cr_assert_str_eq(contacts_get(p.a.c, id)->name, "bob");
    /* another account's certificate, a damaged one, an unusable key */
    cr_assert_eq(contacts_device_update(p.a.c, &p.a.txn, ref, &m.dev), ERR_AUTH);
    uint8_t bad[KEYS_CERT_MAX];
    memcpy(bad, p.b.cert_bytes, p.b.cert_len);
    bad[p.b.cert_len - 5] ^= 1;
    d.cert = bad;
    cr_assert_eq(contacts_device_update(p.a.c, &p.a.txn, ref, &d), ERR_AUTH);
    d.cert = p.b.cert_bytes;
    d.cert_len--;
    cr_assert_eq(contacts_device_update(p.a.c, &p.a.txn, ref, &d), ERR_FORMAT);
    d.cert_len++;
    memset(d.box, 0xff, sizeof d.box);
    cr_assert_eq(contacts_device_update(p.a.c, &p.a.txn, ref, &d), ERR_AUTH);
    cr_assert_eq(contacts_device_update(p.a.c, &p.a.txn, 99, &d), ERR_NOTFOUND);
    cr_assert_eq(p.a.txn.n, 0);
    side_release(&m);
    pair_release(&p);
}

/* Another device of the side's account: certificate into bytes, described by d. */
static void other_device(struct side *s, uint8_t bytes[KEYS_CERT_MAX],
                         struct wire_device *d)
{
    struct cert cert = s->cert;
    uint8_t sec[32];
    env_random(&s->env, sec, sizeof sec);
    keys_public(sec, cert.stat);
    *d = s->dev;
    d->cert = bytes;
    cr_assert_eq(cert_sign(&cert, s->sign, bytes, &d->cert_len), 0);
}

Test(contact, devices_of_an_account_are_limited)
{
    struct pair p;
    uint8_t bytes[KEYS_CERT_MAX];
    struct wire_device d;
    pair_init(&p);
    pair_run(&p, 1);
    size_t pos = 0, n = 0;
    uint32_t id = side_contact(&p.a, &p.b)->id;
    uint32_t ref = contacts_device_next(p.a.c, id, &pos)->id;
    for (unsigned i = 1; i < CONTACT_DEVICES_MAX; i++) {
        other_device(&p.b, bytes, &d);
        cr_assert_eq(contacts_device_update(p.a.c, &p.a.txn, ref, &d), 0);
    }
    other_device(&p.b, bytes, &d);
    cr_assert_eq(contacts_device_update(p.a.c, &p.a.txn, ref, &d), ERR_LIMIT);
    cr_assert_eq(contacts_device_update(p.a.c, &p.a.txn, ref, &p.b.dev), 0);
    side_commit(&p.a);
    side_crash(&p.a);
    pos = 0;
    const struct rec_device *got;
    while ((got = contacts_device_next(p.a.c, id, &pos)) != NULL) {
        cr_assert_eq(got->contact, id);
        n++;
    }
    cr_assert_eq(n, CONTACT_DEVICES_MAX);
    pair_release(&p);
}

Test(contact, own_devices_stay_out_of_the_lists)
{
    struct side s;
    side_init(&s, 1, "alice");
    struct rec r = {.kind = REC_DEVICE};
    r.u.device.id = 7;
    cr_assert_eq(contacts_load(s.c, &r), 0);
    cr_assert_null(contacts_device(s.c, 7));
    size_t pos = 0;
    cr_assert_null(contacts_device_next(s.c, 0, &pos));
    /* rows that cannot be */
    r.u.device.contact = 3;
    cr_assert_eq(contacts_load(s.c, &r), ERR_CORRUPT);
    struct rec k = {.kind = REC_CONTACT};
    cr_assert_eq(contacts_load(s.c, &k), ERR_CORRUPT);
    k.u.contact.id = 3;
    cr_assert_eq(contacts_load(s.c, &k), 0);
    cr_assert_eq(contacts_load(s.c, &k), ERR_CORRUPT);
    cr_assert_eq(contacts_load(s.c, &r), 0);
    cr_assert_eq(contacts_load(s.c, &r), ERR_CORRUPT);
    side_release(&s);
}

Test(contact, contacts_are_limited)
{
    struct pair p;
    pair_init(&p);
    for (uint32_t i = 1; i <= CONTACTS_MAX; i++) {
        struct rec k = {.kind = REC_CONTACT};
        k.u.contact.id = i;
        memcpy(k.u.contact.root, &i, sizeof i);
        (void)snprintf(k.u.contact.name, sizeof k.u.contact.name, "c%u", i);
        cr_assert_eq(contacts_load(p.b.c, &k), 0);
        cr_assert_eq(contacts_load(p.a.c, &k), 0);
    }
    /* the inviter cannot take one more, and burns nothing */
    sim_up(&p.w, &p.a, &p.b, 1, p.slot, p.invite);
    cr_assert(sim_step(&p.w, true));
    cr_assert_eq(p.b.close_code, CLOSE_BUSY);
    cr_assert(!contacts_invite_get(p.b.c, p.invite)->used);
    cr_assert_null(side_contact(&p.b, &p.a));
    uint32_t slot = 0, id;
    char code[WIRE_CODE_MAX + 1];
    side_invite(&p.b, 60, code, &id);
    cr_assert_eq(contacts_add(p.a.c, &p.a.txn, code, strlen(code), NULL, &slot),
                 ERR_LIMIT);
    pair_release(&p);
}

Test(contact, safety_number_is_the_same_at_both_ends)
{
    struct pair p;
    char ab[KEYS_SAFETY_STR], ba[KEYS_SAFETY_STR];
    pair_init(&p);
    pair_run(&p, 1);
    keys_safety_number(p.a.root, side_contact(&p.a, &p.b)->root, ab);
    keys_safety_number(p.b.root, side_contact(&p.b, &p.a)->root, ba);
    cr_assert_str_eq(ab, ba);
    cr_assert_eq(strlen(ab), KEYS_SAFETY_STR - 1);
    pair_release(&p);
}
