/* Whole nodes that share no network find each other through the DHT: by an invite, after
 * they have moved, and not after they were removed. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "dht/dht_priv.h"
#include "node_priv.h"
#include "node_world.h"

enum {
    ADA = 0,
    BOB = 1,
    CY = 2,
    SERVER = 3,
    NODES = 8,
    TAG = 5,
    SETTLED_MS = 60000,
    ADD_MS = 15000, /* NODE_ADD_WAIT_MS */
    SOON_MS = 30000,
    LATER_MS = 240000,
    LATENCY_MS = 20,
};

static struct nw_world *w;

static void down(void)
{
    nw_release(w);
    free(w);
}

/* Each in a network of its own, without multicast. They know one node of the DHT. */
static void up(void)
{
    struct addr a;
    w = malloc(sizeof *w);
    cr_assert_not_null(w);
    nw_init_of(w, NODES);
    for (int i = 0; i < NODES; i++) {
        w->n[i].no_multicast = w->n[i].dht = true;
        w->n[i].vlan = (uint8_t)(10 + i);
    }
    a = nw_addr_of(w, SERVER);
    for (int i = NODES - 1; i >= 0; i--) {
        nw_start(w, i);
        if (i != SERVER) {
            cr_assert_eq(node_dht_router(w->n[i].node, &a, w->now_ms), 0);
        }
        nw_drain(w, i);
    }
    nw_run(w, SETTLED_MS);
}

TestSuite(node_meet, .init = up, .fini = down);

static struct node *node(int i)
{
    return w->n[i].node;
}

static void begin_add(int i, const char *code)
{
    w->n[i].results[TAG] = 0;
    cr_assert_eq(node_add(node(i), TAG, code, strlen(code), NULL, w->now_ms), 0);
    nw_drain(w, i);
}

/* The contact's id at either. */
static void pair(int inviter, int adder, uint32_t *at_inviter, uint32_t *at_adder)
{
    char code[WIRE_CODE_MAX + 1];
    uint32_t id;
    nw_invite(w, inviter, code, &id);
    nw_run(w, 1000);
    begin_add(adder, code);
    nw_run(w, ADD_MS - 1000);
    cr_assert_eq(w->n[adder].results[TAG], 1, "they have not met");
    cr_assert_eq(w->n[adder].result[TAG].err, 0);
    *at_adder = w->n[adder].result[TAG].contact;
    const struct rec_contact *c =
        contacts_by_root(node_contacts(node(inviter)), node_root(node(adder)));
    cr_assert_not_null(c);
    *at_inviter = c->id;
}

static void talk(int from, uint32_t contact, int to, const char *text)
{
    nw_say(w, from, TAG, contact, text);
    nw_run(w, 2000);
    cr_assert_str_eq(w->n[to].text, text);
}

/* Whether one has dialled the other where it is now, since there were so many carriers.
 */
static bool found(int who, int whom, size_t since)
{
    struct addr a = nw_addr_of(w, whom);
    for (size_t c = since; c < w->n_carriers; c++) {
        if (w->carriers[c].node[0] == who && addr_eq(&w->carriers[c].to, &a)) {
            return true;
        }
    }
    return false;
}

/* At one moment, so that neither hears from the other where it has gone. */
static void both_move(void)
{
    w->n[ADA].vlan = 110;
    w->n[BOB].vlan = 111;
    nw_move(w, ADA, 110);
    nw_move(w, BOB, 111);
}

static void remove_contact(int i, uint32_t contact)
{
    cr_assert_eq(node_contact_remove(node(i), TAG, contact, w->now_ms), 0);
    nw_drain(w, i);
}

static void block(int i, uint32_t contact, bool on)
{
    cr_assert_eq(node_contact_block(node(i), TAG, contact, on, w->now_ms), 0);
    nw_drain(w, i);
}

static void hide(int i)
{
    int err = node_presence_set(node(i), TAG, PRESENCE_INVISIBLE, NULL, 0, w->now_ms);
    cr_assert_eq(err, 0);
    nw_drain(w, i);
}

Test(node_meet, an_invite_alone_brings_two_together)
{
    uint32_t bob, ada;
    pair(ADA, BOB, &bob, &ada);
    talk(ADA, bob, BOB, "hello");
    talk(BOB, ada, ADA, "hello yourself");
}

/* What is public is called; w->n[].closed is what address translation does. */
static void is_public(int i)
{
    w->n[i].net = 45;
    nw_move(w, i, w->n[i].vlan);
    nw_run(w, SETTLED_MS);
}

/* The inviter calls, the other one proves that it has the code; then they are contacts,
 * and it is the inviter who dials. */
Test(node_meet, an_inviter_who_cannot_be_dialled_calls_who_knocks)
{
    char code[WIRE_CODE_MAX + 1];
    uint32_t id;
    is_public(BOB);
    w->n[ADA].closed = true;
    nw_invite(w, ADA, code, &id);
    nw_run(w, 1000);
    begin_add(BOB, code);
    nw_run(w, SETTLED_MS);
    const struct rec_contact *bob =
        contacts_by_root(node_contacts(node(ADA)), node_root(node(BOB)));
    const struct rec_contact *ada =
        contacts_by_root(node_contacts(node(BOB)), node_root(node(ADA)));
    cr_assert(bob != NULL && ada != NULL, "they have not met");
    cr_assert(node_linked(node(ADA), bob->id));
    talk(ADA, bob->id, BOB, "hello");
    talk(BOB, ada->id, ADA, "hello yourself");
}

static const struct rec_contact *contact_at(int i, int other)
{
    return contacts_by_root(node_contacts(node(i)), node_root(node(other)));
}

/* What is on its way is lost too. */
static void cut_now(void)
{
    for (size_t i = 0; i < w->n_carriers; i++) {
        struct nw_carrier *c = &w->carriers[i];
        for (int side = 0; side < 2; side++) {
            if (c->open[side]) {
                c->open[side] = false;
                node_closed(node(c->node[side]), c->id[side], w->now_ms);
                nw_drain(w, c->node[side]);
            }
        }
    }
}

/* Only who has used the invite, once it is stored, holds the rest of it. */
Test(node_meet, a_call_that_is_cut_in_the_middle_of_pairing_comes_again)
{
    char code[WIRE_CODE_MAX + 1];
    uint32_t id;
    is_public(BOB);
    w->n[ADA].closed = true;
    nw_invite(w, ADA, code, &id);
    w->latency_ms = LATENCY_MS;
    nw_run(w, 1000);
    begin_add(BOB, code);
    for (int i = 0; i < SETTLED_MS && contact_at(ADA, BOB) == NULL; i++) {
        nw_run(w, 1);
    }
    cr_assert(contact_at(ADA, BOB) != NULL && contact_at(BOB, ADA) == NULL);
    cut_now();
    nw_run(w, LATER_MS);
    cr_assert(contact_at(BOB, ADA) != NULL, "she does not call again");
    cr_assert(node_linked(node(ADA), contact_at(ADA, BOB)->id));
    talk(ADA, contact_at(ADA, BOB)->id, BOB, "hello");
}

/* Both have stored the other when the last words are lost: no call is needed for them. */
Test(node_meet, a_code_is_done_with_when_they_meet_as_contacts)
{
    char code[WIRE_CODE_MAX + 1];
    uint32_t id;
    size_t pos = 0;
    is_public(BOB);
    w->n[ADA].closed = true;
    nw_invite(w, ADA, code, &id);
    w->latency_ms = LATENCY_MS;
    w->n[BOB].hold = true; /* his PAIR waits, and so comes after hers */
    begin_add(BOB, code);
    nw_run(w, SOON_MS);
    w->n[BOB].hold = false;
    nw_commit(w, BOB);
    nw_drain(w, BOB);
    for (int i = 0; i < SETTLED_MS && contact_at(ADA, BOB) == NULL; i++) {
        nw_run(w, 1);
    }
    cr_assert(contact_at(ADA, BOB) != NULL && contact_at(BOB, ADA) != NULL);
    cut_now();
    nw_run(w, LATER_MS);
    cr_assert(node_linked(node(ADA), contact_at(ADA, BOB)->id));
    cr_assert_null(contacts_adding_next(node_contacts(node(BOB)), &pos));
    cr_assert_eq(w->n[ADA].repaired + w->n[BOB].repaired, 0);
}

/* Two addresses of one are called at the same time: one link pairs, and once. */
Test(node_meet, of_several_calls_one_pairs)
{
    char code[WIRE_CODE_MAX + 1];
    uint32_t id;
    is_public(BOB);
    struct lan_interface eth[2] = {{.ifindex = 1, .bits = 24, .up = true},
                                   {.ifindex = 2}};
    eth[0].addr = nw_addr_of(w, BOB);
    eth[1] = eth[0];
    eth[1].ifindex = 2;
    eth[1].addr.ip[1] ^= 1;
    node_interfaces(node(BOB), eth, 2, w->now_ms);
    nw_drain(w, BOB);
    nw_run(w, SETTLED_MS);
    w->n[ADA].closed = true;
    nw_invite(w, ADA, code, &id);
    w->latency_ms = LATENCY_MS;
    nw_run(w, 1000);
    size_t since = w->n_carriers, calls = 0;
    begin_add(BOB, code);
    for (int i = 0; i < SETTLED_MS && contact_at(ADA, BOB) == NULL; i++) {
        nw_run(w, 1);
    }
    nw_run(w, SOON_MS);
    for (size_t c = since; c < w->n_carriers; c++) {
        calls += w->carriers[c].node[0] == ADA && w->carriers[c].node[1] == BOB &&
                 w->carriers[c].to.ip[1] == eth[1].addr.ip[1];
    }
    cr_assert_gt(calls, 0, "the other address is not called");
    cr_assert(contact_at(ADA, BOB) != NULL && contact_at(BOB, ADA) != NULL);
    cr_assert(node_linked(node(ADA), contact_at(ADA, BOB)->id));
    cr_assert_eq(w->n[ADA].repaired + w->n[BOB].repaired, 0);
}

Test(node_meet, two_inviters_call_who_holds_both_codes)
{
    char codes[2][WIRE_CODE_MAX + 1];
    const int inviters[2] = {ADA, CY};
    uint32_t id;
    is_public(BOB);
    for (int i = 0; i < 2; i++) {
        w->n[inviters[i]].closed = true;
        nw_invite(w, inviters[i], codes[i], &id);
    }
    nw_run(w, 1000);
    w->latency_ms = LATENCY_MS;
    begin_add(BOB, codes[0]);
    begin_add(BOB, codes[1]);
    nw_run(w, 2 * SETTLED_MS);
    for (int i = 0; i < 2; i++) {
        const struct rec_contact *bob = contact_at(inviters[i], BOB);
        cr_assert(bob != NULL && contact_at(BOB, inviters[i]) != NULL);
        cr_assert(node_linked(node(inviters[i]), bob->id));
    }
}

/* The invite is taken back while the call is on its way: who adds is told so. */
Test(node_meet, who_is_called_for_an_invite_that_is_over_is_told)
{
    char code[WIRE_CODE_MAX + 1];
    uint32_t id;
    size_t pos = 0;
    is_public(BOB);
    w->n[ADA].closed = true;
    nw_invite(w, ADA, code, &id);
    w->latency_ms = LATENCY_MS;
    size_t since = w->n_carriers;
    begin_add(BOB, code);
    for (int i = 0; i < SETTLED_MS && !found(ADA, BOB, since); i++) {
        nw_run(w, 1);
    }
    cr_assert(found(ADA, BOB, since));
    cr_assert_eq(node_invite_revoke(node(ADA), TAG, id, w->now_ms), 0);
    nw_drain(w, ADA);
    nw_run(w, 1000);
    cr_assert_null(contacts_adding_next(node_contacts(node(BOB)), &pos));
    cr_assert_null(contact_at(BOB, ADA));
    cr_assert_null(contact_at(ADA, BOB));
}

/* Who holds a code may make the inviter call; not any address, and not too often. */
Test(node_meet, nobody_private_is_called)
{
    char code[WIRE_CODE_MAX + 1];
    uint32_t id;
    w->n[ADA].closed = true;
    nw_invite(w, ADA, code, &id);
    nw_run(w, 1000);
    size_t since = w->n_carriers;
    begin_add(BOB, code);
    nw_run(w, LATER_MS);
    cr_assert(found(BOB, ADA, since), "he has not heard of her");
    cr_assert_not(found(ADA, BOB, since));
}

/* Contacts, one of whom cannot be dialled. */
Test(node_meet, one_of_two_who_can_be_dialled_is_enough)
{
    uint32_t bob, ada;
    pair(ADA, BOB, &bob, &ada);
    nw_run(w, SETTLED_MS);
    w->n[ADA].closed = true;
    both_move();
    nw_run(w, LATER_MS);
    cr_assert(node_linked(node(ADA), bob));
    w->n[ADA].closed = false;
    w->n[BOB].closed = true;
    w->n[ADA].vlan = 120;
    w->n[BOB].vlan = 121;
    nw_move(w, ADA, 120);
    nw_move(w, BOB, 121);
    nw_run(w, LATER_MS);
    cr_assert(node_linked(node(ADA), bob));
}

Test(node_meet, without_a_network_nobody_is_asked_and_with_another_one_at_once)
{
    uint32_t bob, ada;
    struct meet_stats before, after;
    pair(ADA, BOB, &bob, &ada);
    nw_run(w, SETTLED_MS);
    w->n[BOB].refuse = true; /* she has to find him */
    w->n[ADA].refuse = true;
    w->n[ADA].vlan = 200; /* nothing gets to her */
    node_interfaces(node(ADA), NULL, 0, w->now_ms);
    nw_drain(w, ADA);
    nw_cut(w);
    nw_move(w, BOB, 111);
    nw_run(w, 1000);
    cr_assert_not(node_linked(node(ADA), bob));
    cr_assert(node_meet_stats(node(ADA), &before));
    nw_run(w, 10 * SETTLED_MS);
    cr_assert(node_meet_stats(node(ADA), &after));
    cr_assert_eq(before.polls + before.gets + before.puts,
                 after.polls + after.gets + after.puts);
    cr_assert_not(after.published);
    w->n[ADA].refuse = false;
    nw_move(w, ADA, 110);
    nw_run(w, SOON_MS);
    cr_assert(node_meet_stats(node(ADA), &after) && after.published);
    cr_assert(node_linked(node(ADA), bob));
}

/* Or a restart would hear it again. */
Test(node_meet, a_knock_that_was_heard_is_remembered)
{
    uint32_t bob, ada;
    pair(ADA, BOB, &bob, &ada);
    nw_run(w, SETTLED_MS);
    w->n[ADA].refuse = w->n[ADA].closed = true; /* he knocks in vain */
    both_move();
    nw_say(w, BOB, TAG, ada, "are you there?");
    nw_run(w, LATER_MS);
    const struct blob *kept = node_meta(node(ADA), "meet_knocks");
    cr_assert(kept != NULL && kept->n == 12);
    struct rd r = rd_init(kept->p, kept->n);
    cr_assert_eq(contacts_device(node_contacts(node(ADA)), rd_u32(&r))->contact, bob);
    cr_assert_gt(rd_u64(&r), 0);
}

Test(node_meet, who_has_not_heard_of_the_inviter_says_why)
{
    char code[WIRE_CODE_MAX + 1];
    uint32_t id;
    nw_invite(w, ADA, code, &id);
    nw_lose(w, ADA);
    begin_add(BOB, code);
    nw_run(w, ADD_MS + 1000);
    cr_assert_eq(w->n[BOB].result[TAG].err, ERR_TIMEOUT);
    cr_assert_eq(w->n[BOB].result[TAG].looked, NODE_LOOKED_ABSENT);
}

Test(node_meet, nobody_to_ask_is_another_answer_than_nothing_there)
{
    char code[WIRE_CODE_MAX + 1];
    uint32_t id;
    nw_invite(w, ADA, code, &id);
    for (int i = 0; i < NODES; i++) {
        if (i != BOB) {
            nw_lose(w, i);
        }
    }
    begin_add(BOB, code);
    nw_run(w, ADD_MS + 1000);
    cr_assert_eq(w->n[BOB].result[TAG].err, ERR_TIMEOUT);
    cr_assert_eq(w->n[BOB].result[TAG].looked, NODE_LOOKED_UNASKED);
}

Test(node_meet, two_who_move_find_each_other_again)
{
    uint32_t bob, ada;
    pair(ADA, BOB, &bob, &ada);
    nw_run(w, SETTLED_MS);
    cr_assert_eq(node_looked(node(ADA), bob), NODE_LOOKED_NOT);
    both_move();
    cr_assert_not(node_linked(node(ADA), bob));
    nw_run(w, SOON_MS);
    cr_assert(node_linked(node(ADA), bob));
    talk(ADA, bob, BOB, "here");
    talk(BOB, ada, ADA, "and here");
    cr_assert(node_looked(node(ADA), bob) == NODE_LOOKED_FOUND ||
              node_looked(node(BOB), ada) == NODE_LOOKED_FOUND);
}

Test(node_meet, who_was_removed_does_not_find_us_who_stays_does)
{
    uint32_t bob, ada, cy, ada_of_cy;
    pair(ADA, BOB, &bob, &ada);
    pair(ADA, CY, &cy, &ada_of_cy);
    nw_run(w, SETTLED_MS);
    remove_contact(ADA, cy);
    nw_run(w, SETTLED_MS);
    size_t since = w->n_carriers;
    w->n[ADA].refuse = true; /* the others have to find her */
    both_move();
    nw_say(w, BOB, TAG, ada, "still there?");
    nw_say(w, CY, TAG, ada_of_cy, "come back");
    nw_run(w, LATER_MS);
    cr_assert(found(BOB, ADA, since));
    cr_assert_str_eq(w->n[ADA].text, "still there?");
    cr_assert_not(found(CY, ADA, since));
}

Test(node_meet, who_is_blocked_does_not_find_us_who_is_unblocked_does)
{
    uint32_t bob, ada, cy, ada_of_cy;
    pair(ADA, BOB, &bob, &ada);
    pair(ADA, CY, &cy, &ada_of_cy);
    nw_run(w, SETTLED_MS);
    block(ADA, cy, true);
    nw_run(w, SETTLED_MS);
    size_t since = w->n_carriers;
    w->n[ADA].refuse = true; /* the others have to find her */
    both_move();
    nw_say(w, BOB, TAG, ada, "still there?");
    nw_say(w, CY, TAG, ada_of_cy, "come back");
    nw_run(w, LATER_MS);
    cr_assert(found(BOB, ADA, since));
    cr_assert_str_eq(w->n[ADA].text, "still there?");
    cr_assert_not(found(CY, ADA, since), "who is blocked sees where we are");

    block(ADA, cy, false);
    nw_run(w, 4 * LATER_MS); /* he looks ever more rarely */
    cr_assert(found(CY, ADA, since));
    cr_assert_str_eq(w->n[ADA].text, "come back");
}

Test(node_meet, blocking_somebody_again_changes_nothing_for_the_others)
{
    uint32_t bob, ada;
    struct meet_stats before, after;
    pair(ADA, BOB, &bob, &ada);
    block(ADA, bob, true);
    nw_run(w, SETTLED_MS);
    cr_assert(node_meet_stats(node(ADA), &before));
    block(ADA, bob, true);
    nw_run(w, SETTLED_MS);
    cr_assert(node_meet_stats(node(ADA), &after));
    cr_assert_eq(before.puts, after.puts);
}

Test(node_meet, who_did_not_hear_that_our_secret_is_another_finds_us_all_the_same)
{
    uint32_t bob, ada, cy, ada_of_cy;
    pair(ADA, BOB, &bob, &ada);
    pair(ADA, CY, &cy, &ada_of_cy);
    nw_run(w, SETTLED_MS);
    w->n[ADA].refuse = w->n[BOB].refuse = true;
    hide(BOB); /* or he would be found, and knocked at */
    nw_cut(w);
    remove_contact(ADA, cy);
    nw_run(w, SETTLED_MS);
    size_t since = w->n_carriers;
    both_move();
    w->n[BOB].refuse = false;
    nw_say(w, BOB, TAG, ada, "still there?");
    nw_say(w, CY, TAG, ada_of_cy, "come back");
    nw_run(w, LATER_MS);
    cr_assert(found(BOB, ADA, since));
    cr_assert_str_eq(w->n[ADA].text, "still there?");
    cr_assert_not(found(CY, ADA, since));
}

/* 240 rounds of 4 polls: each asks one node, where a look-up would ask all seven. */
Test(node_meet, polling_costs_one_query_each)
{
    enum { HOUR_MS = 3600000, POLLS = 4 * 60, POLL_BYTES = 200, OTHER_BYTES = 100000 };
    uint32_t bob, ada;
    struct meet_stats before, after;
    pair(ADA, BOB, &bob, &ada);
    nw_lose(w, ADA);
    nw_run(w, HOUR_MS / 6);
    cr_assert(node_meet_stats(node(BOB), &before));
    size_t bytes = w->n[BOB].udp_out;
    nw_run(w, HOUR_MS);
    cr_assert(node_meet_stats(node(BOB), &after));
    bytes = w->n[BOB].udp_out - bytes;
    cr_assert_geq(after.polls - before.polls, POLLS / 2);
    cr_assert_leq(bytes, POLLS * POLL_BYTES + OTHER_BYTES);
}

Test(node_meet, an_invisible_node_leaves_no_word)
{
    uint32_t bob, ada;
    pair(ADA, BOB, &bob, &ada);
    nw_run(w, SETTLED_MS);
    hide(ADA);
    struct meet_stats s;
    cr_assert(node_meet_stats(node(ADA), &s) && !s.published);
    size_t since = w->n_carriers;
    w->n[ADA].refuse = true;
    both_move();
    nw_say(w, BOB, TAG, ada, "are you there?");
    nw_run(w, LATER_MS);
    cr_assert_not(found(BOB, ADA, since));
}

/* He is in her table of the DHT, too: as one who was met, and as one who asked. */
Test(node_meet, an_invisible_node_does_not_talk_to_contacts_in_the_dht)
{
    enum { HOUR_MS = 3600000 };
    uint32_t bob, ada;
    pair(ADA, BOB, &bob, &ada);
    nw_run(w, SETTLED_MS);
    w->n[ADA].refuse = w->n[BOB].refuse = true;
    nw_cut(w);
    w->n[ADA].watch = nw_addr_of(w, BOB);
    nw_run(w, HOUR_MS);
    cr_assert_gt(w->n[ADA].watched, 0, "they do not meet in the DHT at all");
    hide(ADA);
    w->n[ADA].watched = 0;
    nw_run(w, 2 * HOUR_MS);
    cr_assert_eq(w->n[ADA].watched, 0, "%zu datagrams", w->n[ADA].watched);
}

static uint64_t seq_of(int i)
{
    struct meet_stats s;
    cr_assert(node_meet_stats(node(i), &s));
    return s.seq;
}

/* Also when the power fails, and the clock starts at the epoch. */
Test(node_meet, a_seq_is_never_used_again)
{
    uint64_t before = seq_of(ADA);
    cr_assert_gt(before, 0);
    for (int i = 0; i < 3; i++) {
        struct meet_stats s;
        nw_lose(w, ADA);
        w->n[ADA].skew_us = i == 0 ? 0 : -UINT64_C(1600000000000000);
        nw_start(w, ADA);
        struct addr a = nw_addr_of(w, SERVER);
        cr_assert_eq(node_dht_router(node(ADA), &a, w->now_ms), 0);
        nw_drain(w, ADA);
        nw_run(w, SETTLED_MS);
        cr_assert(node_meet_stats(node(ADA), &s) && s.published);
        cr_assert_gt(seq_of(ADA), before);
        before = seq_of(ADA);
    }
}

/* What would be used is on the disk first. */
Test(node_meet, nothing_is_left_before_its_seq_is_kept)
{
    struct meet_stats s;
    nw_lose(w, ADA);
    blob_release(&w->n[ADA].meet_seq);
    w->n[ADA].hold = true;
    nw_start(w, ADA);
    struct addr a = nw_addr_of(w, SERVER);
    cr_assert_eq(node_dht_router(node(ADA), &a, w->now_ms), 0);
    nw_drain(w, ADA);
    nw_run(w, SETTLED_MS);
    cr_assert(node_meet_stats(node(ADA), &s));
    cr_assert(s.puts == 0 && !s.published);
    w->n[ADA].hold = false;
    nw_commit(w, ADA);
    nw_run(w, SETTLED_MS);
    cr_assert(node_meet_stats(node(ADA), &s) && s.published);
}

/* A put that a node has begun, or a poll, at one node, of that target or (NULL) of any,
 * when it has. */
static struct op *begun_by(int i, bool poll, const struct dht_id *target)
{
    struct dht *d = node(i)->dht;
    w->latency_ms = LATENCY_MS;
    for (int ms = 0; ms < 2 * SETTLED_MS; ms++) {
        for (size_t at = 0; at < d->ops_cap; at++) {
            struct op *op = d->ops[at];
            if (op != NULL && (poll ? op->alone : op->kind == OP_PUT) &&
                (target == NULL || dht_id_eq(&op->target, target))) {
                return op;
            }
        }
        nw_run(w, 1);
    }
    cr_assert_fail("nothing is begun");
    return NULL;
}

static struct op *put_by(int i)
{
    return begun_by(i, false, NULL);
}

/* One of the nodes near the key names a seq that nobody has used. */
enum { LIE_BIT = 62 };

/* Its put ends so, with that lie; returns its seq. rival: how far above it the seq of
 * what stands there is, or -1. */
static int64_t refuse_put(int i, int64_t rival)
{
    struct op *op = put_by(i);
    int64_t seq = op->item.seq;
    struct dht_event e = {.type = DHT_DONE, .op = op->handle};
    e.u.done = (struct dht_result){.outcome = DHT_REFUSED,
                                   .code = KRPC_E_SEQ,
                                   .seq = INT64_C(1) << LIE_BIT,
                                   .rival = rival >= 0,
                                   .rival_seq = rival >= 0 ? seq + rival : 0};
    cr_assert(node_meet_told(node(i), &e, w->now_ms));
    dht_cancel(node(i)->dht, e.op);
    nw_drain(w, i);
    return seq;
}

static bool published(int i)
{
    struct meet_stats s;
    return node_meet_stats(node(i), &s) && s.published;
}

/* Its clock was set back, or another one has written in the same second. */
Test(node_meet, what_stands_where_we_put_is_passed_whatever_a_node_says_of_it)
{
    static const int64_t above[] = {1000, 0};
    for (size_t i = 0; i < 2; i++) {
        w->n[ADA].vlan = (uint8_t)(110 + i);
        nw_move(w, ADA, w->n[ADA].vlan);
        int64_t seq = refuse_put(ADA, above[i]);
        cr_assert_not(published(ADA));
        cr_assert_eq(put_by(ADA)->item.seq, seq + above[i] + 1);
        nw_run(w, SETTLED_MS);
        cr_assert(published(ADA));
    }
}

Test(node_meet, a_put_that_was_refused_is_not_taken_for_one_that_was_stored)
{
    w->n[ADA].vlan = 110;
    nw_move(w, ADA, 110);
    int64_t seq = refuse_put(ADA, -1);
    nw_run(w, MEET_RETRY_MIN_MS / 2);
    cr_assert_not(published(ADA));
    nw_run(w, MEET_RETRY_MIN_MS);
    cr_assert(published(ADA));
    cr_assert_lt((int64_t)seq_of(ADA), seq + SETTLED_MS / 1000, "it followed the lie");
}

/* Nobody is in her way: one node lies. */
Test(node_meet, a_put_that_was_stored_is_not_made_again_for_what_a_node_says)
{
    struct meet_stats before, after;
    w->n[ADA].vlan = 110;
    nw_move(w, ADA, 110);
    struct op *op = put_by(ADA);
    op->result.seq = op->item.seq + 1000;
    cr_assert(node_meet_stats(node(ADA), &before));
    nw_run(w, SETTLED_MS / 2);
    cr_assert(node_meet_stats(node(ADA), &after));
    cr_assert(after.published);
    cr_assert_eq(after.puts, before.puts);
}

/* Addresses where nobody is. */
enum { NOWHERE = 99 };

/* A poll is answered by one who names four of them as the nearest; returns its target. */
static struct dht_id name_nobodies(int i)
{
    struct op *op = begun_by(i, true, NULL);
    struct dht_id target = op->target;
    struct dht_event e = {.type = DHT_DONE, .op = op->handle};
    struct dht_result *d = &e.u.done;
    d->outcome = DHT_NOT_FOUND;
    for (; d->n_closest < 4; d->n_closest++) {
        struct krpc_node *n = &d->closest[d->n_closest];
        n->id = target;
        n->id.b[DHT_ID_LEN - 1] ^= d->n_closest;
        n->addr = nw_addr_of(w, i);
        n->addr.ip[1] = NOWHERE;
        n->addr.ip[3] = d->n_closest;
    }
    cr_assert(node_meet_told(node(i), &e, w->now_ms));
    dht_cancel(node(i)->dht, e.op);
    nw_drain(w, i);
    return target;
}

/* Each of the next polls asks one of them, and then somebody who is known to be there. */
Test(node_meet, one_who_names_nobodies_does_not_make_polls_fail)
{
    enum { TEN_MIN_MS = 600000 };
    uint32_t bob, ada;
    pair(ADA, BOB, &bob, &ada);
    nw_lose(w, ADA);
    nw_run(w, TEN_MIN_MS); /* he polls slowly by now */
    struct dht_id target = name_nobodies(BOB);
    for (int i = 0; i < 4; i++) {
        const struct op *op = begun_by(BOB, true, &target);
        cr_assert_eq(op->addr.ip[1], NOWHERE);
        uint32_t handle = op->handle;
        while (op->handle == handle) {
            nw_run(w, 1);
            op = begun_by(BOB, true, &target);
        }
        cr_assert_neq(op->addr.ip[1], NOWHERE);
        nw_run(w, SOON_MS);
    }
}
