#include <criterion/criterion.h>
#include <string.h>

#include "base/err.h"
#include "contact_make.h"

Test(contact, an_invite_works_once)
{
    struct pair p;
    struct side m;
    pair_init(&p);
    side_init(&m, 3, "mallory");
    pair_run(&p, 1);
    /* somebody else */
    uint32_t slot = side_add(&m, p.code, NULL);
    struct wire_sim w;
    side_forget(&p.b);
    cr_assert_eq(side_judge(&p.b, p.invite, &m), CLOSE_USED);
    sim_up(&w, &m, &p.b, 2, slot, p.invite);
    cr_assert(w.down);
    cr_assert_eq(w.tail[1], 0); /* the reason and nothing else */
    cr_assert_eq(p.b.close_code, CLOSE_USED);
    contacts_add_failed(m.c, &m.txn, slot, CLOSE_USED);
    side_commit(&m);
    cr_assert_eq(m.failed, 1);
    cr_assert_eq(m.fail_code, CLOSE_USED);
    cr_assert_eq(side_adding_count(&m), 0);
    cr_assert_eq(side_told(&m, EVENT_ADD_FAILED), 1);
    /* the same one may repeat until it expires */
    cr_assert_eq(side_judge(&p.b, p.invite, &p.a), 0);
    p.b.wall_us += 3601ULL * 1000000;
    cr_assert_eq(side_judge(&p.b, p.invite, &p.a), CLOSE_EXPIRED);
    cr_assert_eq(side_judge(&p.b, p.invite, &m), CLOSE_USED);
    /* a clock set back opens nothing */
    p.b.wall_us -= 2 * 86400ULL * 1000000;
    cr_assert_eq(side_judge(&p.b, p.invite, &m), CLOSE_USED);
    side_crash(&p.b);
    cr_assert_eq(side_judge(&p.b, p.invite, &m), CLOSE_USED);
    side_release(&m);
    pair_release(&p);
}

Test(contact, the_same_root_may_repeat_and_gets_new_secrets)
{
    struct pair p;
    uint8_t before[32];
    pair_init(&p);
    pair_run(&p, 1);
    memcpy(before, side_contact(&p.a, &p.b)->pair, 32);
    uint32_t id = side_contact(&p.a, &p.b)->id;
    cr_assert_eq(contacts_set_flags(p.a.c, &p.a.txn, id, CONTACT_VERIFIED, 0), 0);
    p.slot = side_add(&p.a, p.code, NULL);
    pair_run(&p, 2);
    cr_assert(sides_paired(&p.a, &p.b));
    cr_assert_neq(memcmp(before, side_contact(&p.a, &p.b)->pair, 32), 0);
    cr_assert_eq(side_contact(&p.a, &p.b)->id, id);
    cr_assert_eq(side_contact(&p.a, &p.b)->flags, CONTACT_VERIFIED);
    cr_assert_str_eq(side_contact(&p.a, &p.b)->name, "bob");
    cr_assert_eq(side_told(&p.a, EVENT_CONTACT_REPAIRED), 1);
    cr_assert_eq(side_told(&p.a, EVENT_CONTACT_ADDED), 1);
    cr_assert_eq(side_told(&p.b, EVENT_CONTACT_REPAIRED), 1);
    pair_release(&p);
}

Test(contact, an_invite_ends_while_the_link_is_up)
{
    struct pair p;
    pair_init(&p);
    sim_up(&p.w, &p.a, &p.b, 1, p.slot, p.invite);
    cr_assert_eq(contacts_revoke(p.b.c, &p.b.txn, p.invite), 0);
    side_commit(&p.b);
    cr_assert(sim_step(&p.w, true));
    cr_assert_eq(p.b.close_code, CLOSE_REVOKED);
    cr_assert_null(side_contact(&p.b, &p.a));
    cr_assert(p.w.down);
    pair_release(&p);
}

Test(contact, expired_and_revoked)
{
    struct pair p;
    char code[WIRE_CODE_MAX + 1];
    uint32_t other;
    pair_init(&p);
    side_invite(&p.b, 60, code, &other);
    cr_assert_eq(side_judge(&p.b, other, &p.a), 0);
    p.b.wall_us += 59ULL * 1000000;
    cr_assert_eq(side_judge(&p.b, other, &p.a), 0);
    p.b.wall_us += 1000000;
    cr_assert_eq(side_judge(&p.b, other, &p.a), CLOSE_EXPIRED);
    sim_up(&p.w, &p.a, &p.b, 1, p.slot, other);
    cr_assert_eq(p.b.close_code, CLOSE_EXPIRED);
    cr_assert_eq(side_judge(&p.b, p.invite, &p.a), 0);
    cr_assert_eq(contacts_revoke(p.b.c, &p.b.txn, p.invite), 0);
    side_commit(&p.b);
    cr_assert_eq(side_judge(&p.b, p.invite, &p.a), CLOSE_REVOKED);
    cr_assert_eq(contacts_revoke(p.b.c, &p.b.txn, p.invite), ERR_STATE);
    cr_assert_eq(contacts_revoke(p.b.c, &p.b.txn, 99), ERR_NOTFOUND);
    side_crash(&p.b);
    cr_assert_eq(side_judge(&p.b, p.invite, &p.a), CLOSE_REVOKED);
    cr_assert_eq(side_judge(&p.b, 99, &p.a), CLOSE_EXPIRED);
    pair_release(&p);
}

Test(contact, secrets_of_ended_invites_are_kept_for_a_time)
{
    struct pair p;
    uint32_t unused;
    char code[WIRE_CODE_MAX + 1];
    pair_init(&p);
    pair_run(&p, 1);
    side_invite(&p.b, 86400, code, &unused);
    contacts_tick(p.b.c, &p.b.txn, 1);
    p.b.wall_us += (INVITE_KEEP_S - 1) * 1000000ULL;
    contacts_tick(p.b.c, &p.b.txn, (INVITE_KEEP_S - 1) * 1000ULL);
    side_commit(&p.b);
    cr_assert_not_null(contacts_invite_get(p.b.c, p.invite));
    p.b.wall_us += 2 * SWEEP_MS * 1000ULL;
    contacts_tick(p.b.c, &p.b.txn, INVITE_KEEP_S * 1000ULL + 2 * SWEEP_MS);
    side_commit(&p.b);
    cr_assert_null(contacts_invite_get(p.b.c, p.invite));
    cr_assert_not_null(contacts_invite_get(p.b.c, unused));
    p.b.wall_us += 2 * 86400 * 1000000ULL;
    contacts_tick(p.b.c, &p.b.txn, (INVITE_KEEP_S + 3 * 86400) * 1000ULL);
    side_commit(&p.b);
    cr_assert_null(contacts_invite_get(p.b.c, unused));
    side_crash(&p.b);
    size_t pos = 0;
    cr_assert_null(contacts_invite_next(p.b.c, &pos));
    cr_assert_eq(contacts_deadline(p.b.c), UINT64_MAX);
    pair_release(&p);
}

Test(contact, what_an_invite_refuses)
{
    struct side s;
    char code[WIRE_CODE_MAX + 1] = "";
    uint32_t id = 0;
    struct addr a[3] = {0};
    side_init(&s, 1, "alice");
    cr_assert_eq(contacts_invite(s.c, &s.txn, 0, NULL, 0, code, &id), ERR_ARG);
    cr_assert_eq(
        contacts_invite(s.c, &s.txn, INVITE_EXPIRES_MAX_S + 1, NULL, 0, code, &id),
        ERR_ARG);
    cr_assert_eq(contacts_invite(s.c, &s.txn, 60, a, 1, code, &id), ERR_ARG);
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(addr_parse("192.0.2.1:7679", 0, &a[i]), 0);
    }
    cr_assert_eq(contacts_invite(s.c, &s.txn, 60, a, 3, code, &id), ERR_ARG);
    cr_assert_eq(s.txn.n, 0);
    cr_assert_eq(id, 0);
    cr_assert_eq(contacts_invite(s.c, &s.txn, INVITE_EXPIRES_MAX_S, a, 2, code, &id), 0);
    struct wire_code v;
    cr_assert_eq(wire_code_get(code, strlen(code), &v), 0);
    cr_assert_arr_eq(v.root, s.root, 32);
    cr_assert_eq(v.expiry_s, s.wall_us / 1000000 + INVITE_EXPIRES_MAX_S);
    cr_assert_eq(v.n_addrs, 2);
    cr_assert(addr_eq(&v.addrs[1], &a[1]));
    cr_assert_arr_eq(contacts_invite_get(s.c, id)->secret, v.secret, 32);
    side_release(&s);
}

Test(contact, open_invites_are_limited_and_kept_ones_give_way)
{
    struct side s;
    char code[WIRE_CODE_MAX + 1];
    uint32_t id = 0, last = 0;
    side_init(&s, 1, "alice");
    for (unsigned i = 0; i < INVITES_OPEN_MAX; i++) {
        cr_assert_eq(contacts_invite(s.c, &s.txn, 60, NULL, 0, code, &id), 0);
    }
    cr_assert_eq(contacts_invite(s.c, &s.txn, 60, NULL, 0, code, &last), ERR_LIMIT);
    for (unsigned i = 0; i < 2 * INVITES_KEPT_MAX; i++) {
        cr_assert_eq(contacts_revoke(s.c, &s.txn, id), 0);
        cr_assert_eq(contacts_invite(s.c, &s.txn, 60, NULL, 0, code, &id), 0);
        s.wall_us += 1000;
        txn_release(&s.txn);
        memset(&s.txn, 0, sizeof s.txn);
    }
    size_t n = 0, pos = 0;
    while (contacts_invite_next(s.c, &pos) != NULL) {
        n++;
    }
    cr_assert_eq(n, INVITES_KEPT_MAX);
    cr_assert_not_null(contacts_invite_get(s.c, 1)); /* open still */
    side_release(&s);
}

/* ---- adding ---- */

Test(contact, a_mistyped_code_is_refused)
{
    static const char other[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7lb1io-Q";
    struct pair p;
    struct side m;
    uint32_t slot = 0;
    pair_init(&p);
    side_init(&m, 3, "mallory");
    size_t len = strlen(p.code);
    for (size_t i = 0; i < len; i++) {
        char was = p.code[i];
        for (size_t k = 0; other[k] != 0; k++) {
            if (other[k] != was) {
                p.code[i] = other[k];
                cr_assert_eq(contacts_add(m.c, &m.txn, p.code, len, NULL, &slot),
                             ERR_FORMAT, "%zu %c", i, other[k]);
            }
        }
        p.code[i] = was;
        cr_assert_eq(contacts_add(m.c, &m.txn, p.code, i, NULL, &slot), ERR_FORMAT);
    }
    cr_assert_eq(m.txn.n, 0);
    cr_assert_eq(side_adding_count(&m), 0);
    side_release(&m);
    pair_release(&p);
}

Test(contact, own_code_and_bad_names_are_refused)
{
    struct pair p;
    uint32_t slot = 0;
    char longer[WIRE_NAME_MAX + 2];
    memset(longer, 'n', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    pair_init(&p);
    size_t len = strlen(p.code);
    cr_assert_eq(contacts_add(p.b.c, &p.b.txn, p.code, len, NULL, &slot), ERR_STATE);
    cr_assert_eq(contacts_add(p.a.c, &p.a.txn, p.code, len, "  ", &slot), ERR_ARG);
    cr_assert_eq(contacts_add(p.a.c, &p.a.txn, p.code, len, "a\nb", &slot), ERR_ARG);
    cr_assert_eq(contacts_add(p.a.c, &p.a.txn, p.code, len, "\xff", &slot), ERR_ARG);
    cr_assert_eq(contacts_add(p.a.c, &p.a.txn, p.code, len, longer, &slot), ERR_ARG);
    cr_assert_eq(slot, 0);
    pair_release(&p);
}

Test(contact, adding_the_same_code_twice_goes_on)
{
    struct pair p;
    pair_init(&p);
    cr_assert_eq(side_add(&p.a, p.code, NULL), p.slot);
    cr_assert_eq(side_add(&p.a, p.code, "bobby"), p.slot);
    cr_assert_eq(side_add(&p.a, p.code, NULL), p.slot);
    cr_assert_eq(side_adding_count(&p.a), 1);
    side_crash(&p.a);
    size_t pos = 0;
    const struct contacts_adding *a = contacts_adding_next(p.a.c, &pos);
    cr_assert_str_eq(a->as, "bobby");
    p.slot = a->slot;
    pair_run(&p, 1);
    cr_assert(sides_paired(&p.a, &p.b));
    cr_assert_str_eq(side_contact(&p.a, &p.b)->name, "bobby");
    cr_assert_str_eq(side_contact(&p.a, &p.b)->announced, "bob");
    pair_release(&p);
}

Test(contact, addresses_of_codes_and_of_contacts_are_known)
{
    struct pair p;
    struct addr in_code, met, other;
    char code[WIRE_CODE_MAX + 1];
    uint32_t id;
    cr_assert_eq(addr_parse("10.1.2.3:7679", 0, &in_code), 0);
    cr_assert_eq(addr_parse("10.9.9.9:1234", 0, &met), 0);
    cr_assert_eq(addr_parse("10.1.2.4:7679", 0, &other), 0);
    pair_init(&p);
    cr_assert(!contacts_addr_known(p.a.c, &in_code));
    cr_assert_eq(contacts_invite(p.b.c, &p.b.txn, 60, &in_code, 1, code, &id), 0);
    side_commit(&p.b);
    uint32_t slot = side_add(&p.a, code, NULL);
    in_code.port = 1;
    cr_assert(contacts_addr_known(p.a.c, &in_code));
    cr_assert(!contacts_addr_known(p.a.c, &other));
    contacts_add_failed(p.a.c, &p.a.txn, slot, CLOSE_REVOKED);
    cr_assert(!contacts_addr_known(p.a.c, &in_code));
    pair_run(&p, 1);
    uint32_t contact = side_contact(&p.a, &p.b)->id;
    size_t pos = 0;
    uint32_t ref = contacts_device_next(p.a.c, contact, &pos)->id;
    cr_assert(!contacts_addr_known(p.a.c, &met));
    cr_assert_eq(contacts_device_met(p.a.c, &p.a.txn, ref, &met), 0);
    cr_assert(contacts_addr_known(p.a.c, &met));
    cr_assert_eq(contacts_set_flags(p.a.c, &p.a.txn, contact, CONTACT_BLOCKED, 0), 0);
    cr_assert(!contacts_addr_known(p.a.c, &met));
    pair_release(&p);
}

Test(contact, only_final_reasons_give_a_code_up)
{
    struct pair p;
    pair_init(&p);
    for (unsigned code = CLOSE_NORMAL; code <= CLOSE_BUSY; code++) {
        bool final = code == CLOSE_USED || code == CLOSE_REVOKED || code == CLOSE_EXPIRED;
        contacts_add_failed(p.a.c, &p.a.txn, p.slot, code);
        side_commit(&p.a);
        cr_assert_eq(side_adding_count(&p.a), final ? 0 : 1, "%u", code);
        p.slot = final ? side_add(&p.a, p.code, NULL) : p.slot;
    }
    cr_assert_eq(side_told(&p.a, EVENT_ADD_FAILED), 3);
    contacts_add_failed(p.a.c, &p.a.txn, 12345, CLOSE_USED);
    pair_release(&p);
}

Test(contact, a_code_is_given_up_after_thirty_days)
{
    struct pair p;
    pair_init(&p);
    uint64_t now = 1000;
    contacts_tick(p.a.c, &p.a.txn, now);
    for (unsigned h = 1; h < 30 * 24; h++) {
        p.a.wall_us += SWEEP_MS * 1000ULL;
        now += SWEEP_MS;
        cr_assert_leq(contacts_deadline(p.a.c), now);
        contacts_tick(p.a.c, &p.a.txn, now);
        side_commit(&p.a);
    }
    cr_assert_eq(p.a.failed, 0);
    p.a.wall_us += SWEEP_MS * 1000ULL;
    contacts_tick(p.a.c, &p.a.txn, now + SWEEP_MS);
    side_commit(&p.a);
    cr_assert_eq(p.a.failed, 1);
    cr_assert_eq(side_adding_count(&p.a), 0);
    cr_assert_eq(side_told(&p.a, EVENT_ADD_FAILED), 1);
    pair_release(&p);
}

Test(contact, a_clock_that_jumps_gives_no_code_up)
{
    struct pair p;
    pair_init(&p);
    contacts_tick(p.a.c, &p.a.txn, 1000);
    p.a.wall_us += 70ULL * 365 * 86400 * 1000000;
    contacts_tick(p.a.c, &p.a.txn, 1000 + SWEEP_MS);
    side_commit(&p.a);
    cr_assert_eq(side_adding_count(&p.a), 1);
    side_crash(&p.a); /* the new clock holds after a restart too */
    contacts_tick(p.a.c, &p.a.txn, 1000);
    cr_assert_eq(side_adding_count(&p.a), 1);
    p.a.wall_us -= 71ULL * 365 * 86400 * 1000000;
    contacts_tick(p.a.c, &p.a.txn, 1000 + SWEEP_MS);
    side_commit(&p.a);
    cr_assert_eq(side_adding_count(&p.a), 1);
    cr_assert_eq(p.a.failed, 0);
    pair_release(&p);
}

Test(contact, codes_that_are_tried_are_limited)
{
    struct side a, b;
    char code[WIRE_CODE_MAX + 1];
    uint32_t id, slot = 0;
    side_init(&a, 1, "alice");
    side_init(&b, 2, "bob");
    for (unsigned i = 0; i < ADDINGS_MAX; i++) {
        side_invite(&b, 60, code, &id);
        (void)side_add(&a, code, NULL);
    }
    side_invite(&b, 60, code, &id);
    cr_assert_eq(contacts_add(a.c, &a.txn, code, strlen(code), NULL, &slot), ERR_LIMIT);
    side_crash(&a);
    cr_assert_eq(side_adding_count(&a), ADDINGS_MAX);
    side_release(&a);
    side_release(&b);
}
