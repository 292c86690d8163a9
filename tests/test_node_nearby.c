/* Whole nodes that meet as strangers: seeing each other, asking, accepting, refusing. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "link.h"
#include "node_world.h"
#include "verify.h"

enum { A, B, C };

static struct nw_world *w;

static void up(void)
{
    w = malloc(sizeof *w);
    cr_assert_not_null(w);
    nw_init(w);
}

static void down(void)
{
    nw_release(w);
    free(w);
}

TestSuite(node_nearby, .init = up, .fini = down);

static struct node *node(int i)
{
    return w->n[i].node;
}

static void visible(int i, bool on)
{
    cr_assert_eq(node_visible(node(i), 20, on, false, w->now_ms), 0);
    nw_drain(w, i);
    nw_run(w, 600);
}

static const struct nearby_person *heard(int i, int who)
{
    const struct nearby_person *p;
    uint8_t hash[32];
    size_t pos = 0;
    node_cert_hash(node(who), hash);
    while ((p = nearby_next(node_nearby(node(i)), &pos)) != NULL) {
        if (memcmp(p->cert, hash, sizeof hash) == 0) {
            return p;
        }
    }
    return NULL;
}

static int ask(int i, int who, uint64_t tag, const char *line)
{
    uint8_t hash[32];
    node_cert_hash(node(who), hash);
    w->n[i].results[tag] = 0;
    int err = node_ask(node(i), tag, hash, NULL, line, w->now_ms);
    nw_drain(w, i);
    return err;
}

static const struct rec_request *request(int i)
{
    size_t pos = 0;
    return contacts_request_next(node_contacts(node(i)), &pos);
}

static const struct rec_contact *contact(int i, int who)
{
    return contacts_by_root(node_contacts(node(i)), node_root(node(who)));
}

static void accept_first(int i)
{
    const struct rec_request *q = request(i);
    cr_assert_not_null(q);
    cr_assert_eq(node_request_accept(node(i), 21, q->id, NULL, w->now_ms), 0);
    nw_drain(w, i);
}

static bool linked(int i, int who)
{
    const struct rec_contact *c = contact(i, who);
    return c != NULL && node_linked(node(i), c->id);
}

Test(node_nearby, who_is_visible_is_seen_and_goes)
{
    visible(A, true);
    cr_assert_not_null(heard(B, A));
    cr_assert_str_eq(heard(B, A)->name, "ada");
    cr_assert_null(heard(A, B));
    visible(B, true);
    cr_assert_not_null(heard(A, B), "at once");
    visible(A, false);
    cr_assert_null(heard(B, A));
    nw_run(w, NEARBY_VISIBLE_MS);
    cr_assert_null(heard(A, B), "ten minutes are over");
    cr_assert_eq(node_visible_left(node(B), w->now_ms), 0);
}

Test(node_nearby, a_new_name_is_told)
{
    visible(A, true);
    cr_assert_eq(node_set_name(node(A), 30, "adele", w->now_ms), 0);
    nw_drain(w, A);
    nw_run(w, NEARBY_INTERVAL_MS + NEARBY_JITTER_MS);
    cr_assert_str_eq(heard(B, A)->name, "adele");
}

Test(node_nearby, asked_accepted_and_they_talk)
{
    visible(B, true);
    cr_assert_eq(ask(A, B, 1, "it's ada"), 0);
    nw_run(w, 2000);
    cr_assert_eq(w->n[A].results[1], 0, "stored is not accepted");
    cr_assert_eq(contact(A, B)->flags, CONTACT_ASKED);
    cr_assert_null(contact(B, A));
    cr_assert_str_eq(request(B)->name, "ada");
    nw_say(w, A, 2, contact(A, B)->id, "may I?");
    nw_run(w, 5000);
    cr_assert_eq(w->n[B].received, 0, "nothing before that");
    cr_assert_not(linked(A, B));
    cr_assert_eq(w->n[A].state, STATE_QUEUED);
    accept_first(B);
    nw_run(w, 3000);
    cr_assert(linked(A, B) && linked(B, A));
    cr_assert_eq(w->n[A].results[1], 1);
    cr_assert_eq(w->n[A].result[1].err, 0);
    cr_assert_eq(w->n[A].result[1].contact, contact(A, B)->id);
    cr_assert_eq(contact(A, B)->flags, 0);
    cr_assert_str_eq(w->n[B].text, "may I?");
    cr_assert(contacts_met(node_contacts(node(A)), contact(A, B)->id));
    cr_assert(contacts_met(node_contacts(node(B)), contact(B, A)->id));
    nw_say(w, B, 3, contact(B, A)->id, "welcome");
    nw_run(w, 2000);
    cr_assert_str_eq(w->n[A].text, "welcome");
}

/* Presence is told after both have accepted: then they find each other by beacons, after
 * the link is gone and neither is visible. */
Test(node_nearby, they_find_each_other_again)
{
    visible(B, true);
    cr_assert_eq(ask(A, B, 1, NULL), 0);
    nw_run(w, 1000);
    accept_first(B);
    nw_run(w, 3000);
    visible(B, false);
    nw_cut(w);
    nw_run(w, 130000);
    nw_say(w, A, 2, contact(A, B)->id, "again");
    nw_run(w, 5000);
    cr_assert_str_eq(w->n[B].text, "again");
}

Test(node_nearby, not_answered_is_a_timeout_that_says_so)
{
    visible(B, true);
    cr_assert_eq(ask(A, B, 1, NULL), 0);
    nw_run(w, NODE_ADD_WAIT_MS + 1);
    cr_assert_eq(w->n[A].result[1].err, ERR_TIMEOUT);
    cr_assert_eq(w->n[A].result[1].contact, contact(A, B)->id);
}

Test(node_nearby, who_hid_meanwhile_answers_nobody)
{
    visible(B, true);
    const struct nearby_person *p = heard(A, B);
    cr_assert_not_null(p);
    w->n[B].no_multicast = true; /* nobody hears that it hides */
    cr_assert_eq(node_visible(node(B), 20, false, false, w->now_ms), 0);
    nw_drain(w, B);
    size_t at = w->n_carriers;
    cr_assert_eq(ask(A, B, 1, NULL), 0);
    nw_run(w, 20000);
    cr_assert_gt(w->n_carriers, at);
    for (size_t i = at; i < w->n_carriers; i++) {
        cr_assert_eq(w->carriers[i].sent[1], 0, "not one byte");
    }
    cr_assert_eq(w->n[A].result[1].err, ERR_TIMEOUT);
    cr_assert_eq(w->n[A].result[1].contact, 0);
    cr_assert_null(request(B));
    /* it goes on trying: visible again, it is asked */
    w->n[B].no_multicast = false;
    visible(B, true);
    nw_run(w, 10000);
    cr_assert_not_null(request(B));
}

Test(node_nearby, denied_and_blocked)
{
    visible(B, true);
    cr_assert_eq(ask(A, B, 1, NULL), 0);
    nw_run(w, 1000);
    cr_assert_eq(node_request_deny(node(B), 22, request(B)->id, true, w->now_ms), 0);
    nw_drain(w, B);
    nw_run(w, 120000);
    cr_assert_not(linked(A, B));
    cr_assert_eq(contact(A, B)->flags, CONTACT_ASKED, "learns nothing");
    cr_assert_eq(ask(A, B, 2, NULL), 0);
    nw_run(w, NODE_ADD_WAIT_MS + 1);
    cr_assert_eq(w->n[A].result[2].err, ERR_TIMEOUT);
    cr_assert_eq(request(B)->state, REQUEST_BLOCKED);
}

Test(node_nearby, both_ask_each_other)
{
    visible(A, true);
    visible(B, true);
    cr_assert_eq(ask(A, B, 1, NULL), 0);
    cr_assert_eq(ask(B, A, 2, NULL), 0);
    nw_run(w, 12000);
    cr_assert_eq(w->n[A].results[1], 1);
    cr_assert_eq(w->n[B].results[2], 1);
    cr_assert_eq(w->n[A].result[1].err, 0);
    cr_assert_eq(w->n[B].result[2].err, 0);
    cr_assert(linked(A, B) && linked(B, A));
    cr_assert_null(request(A));
    cr_assert_null(request(B));
}

Test(node_nearby, asking_who_has_asked_accepts)
{
    visible(A, true);
    visible(B, true);
    cr_assert_eq(ask(A, B, 1, NULL), 0);
    nw_run(w, 1000);
    cr_assert_not_null(request(B));
    cr_assert_eq(ask(B, A, 2, NULL), 0);
    nw_run(w, 3000);
    cr_assert_eq(w->n[B].result[2].err, 0);
    cr_assert_eq(w->n[A].result[1].err, 0);
    cr_assert(linked(A, B));
}

Test(node_nearby, a_contact_is_there_already)
{
    uint32_t at_a, at_b;
    nw_pair(w, A, B, &at_a, &at_b);
    visible(B, true);
    cr_assert_eq(node_nearby_contact(node(A), heard(A, B)), contact(A, B));
    cr_assert_eq(ask(A, B, 1, NULL), 0);
    nw_run(w, 100);
    cr_assert_eq(w->n[A].results[1], 1);
    cr_assert_eq(w->n[A].result[1].contact, at_a);
    cr_assert_null(request(B));
}

/* Strangers who open handshakes as fast as they can cost so many Diffie-Hellmans, and a
 * contact gets through all the same. */
Test(node_nearby, handshakes_of_strangers_are_limited)
{
    uint32_t at_a, at_b;
    struct link_self self = {.env = &w->n[C].env};
    struct link_candidate as = {.kind = LINK_STRANGER};
    uint8_t sec[64], seed[32] = {1};
    struct cert cert = {0};
    unsigned answered = 0;
    nw_pair(w, A, B, &at_a, &at_b);
    visible(A, true);
    keys_root(seed, self.root, sec);
    keys_public(seed, self.stat_pub);
    memcpy(self.stat_sec, seed, 32);
    memcpy(cert.stat, self.stat_pub, 32);
    keys_public(seed, cert.box);
    cr_assert_eq(cert_sign(&cert, sec, self.cert, &self.cert_len), 0);
    keys_link_stranger(heard(B, A)->nonce, heard(B, A)->cert, &as.keys);
    memcpy(as.cert_hash, heard(B, A)->cert, 32);
    for (unsigned i = 0; i < 400; i++) {
        struct addr from = {.family = 4, .ip = {10, 0, 9, (uint8_t)(i % 4)}, .port = 1};
        size_t c = nw_connect(w, A, &from);
        struct link *l =
            link_dial(&self, &as, CARRIER_TCP, w->now_ms * 1000 + i, w->now_ms);
        uint8_t bytes[70000];
        cr_assert_not_null(l);
        size_t n = link_next_out(l, bytes, sizeof bytes, w->now_ms);
        cr_assert_eq(n, WIRE_RECORD1);
        if (c != SIZE_MAX) {
            nw_give(w, c, bytes, n);
            answered += w->carriers[c].sent[1] > 0;
        }
        link_free(l);
    }
    cr_assert_eq(answered, 4 * NEARBY_SHAKE_SOURCE_BURST);
    nw_say(w, B, 3, at_b, "still here");
    nw_run(w, 2000);
    cr_assert_str_eq(w->n[A].text, "still here");
}

/* ---- the live code ---- */

Test(node_nearby, two_nodes_get_one_live_code)
{
    uint32_t at_a, at_b;
    nw_pair(w, A, B, &at_a, &at_b);
    cr_assert_eq(node_verify_code(node(A), 5, at_b, w->now_ms), 0);
    nw_drain(w, A);
    nw_run(w, 1000);
    cr_assert_eq(w->n[A].results[5], 0);
    cr_assert_eq(node_verify_code(node(B), 6, at_a, w->now_ms), 0);
    nw_drain(w, B);
    nw_run(w, 1000);
    cr_assert_eq(w->n[A].results[5], 1);
    cr_assert_eq(w->n[B].results[6], 1);
    cr_assert_eq(w->n[A].result[5].err, 0);
    cr_assert_eq(strlen(w->n[A].result[5].code), 8);
    cr_assert_str_eq(w->n[A].result[5].code, w->n[B].result[6].code);
}

Test(node_nearby, a_live_code_with_nobody_there)
{
    uint32_t at_a, at_b;
    nw_pair(w, A, B, &at_a, &at_b);
    w->n[A].refuse = w->n[B].refuse = true;
    nw_cut(w);
    cr_assert_eq(node_verify_code(node(A), 5, at_b, w->now_ms), 0);
    nw_run(w, NODE_ADD_WAIT_MS + 1);
    cr_assert_eq(w->n[A].result[5].err, ERR_NOTFOUND);
    /* with a link in time it goes on by itself */
    cr_assert_eq(node_verify_code(node(A), 7, at_b, w->now_ms), 0);
    nw_drain(w, A);
    w->n[A].refuse = w->n[B].refuse = false;
    nw_run(w, 10000);
    cr_assert_eq(node_verify_code(node(B), 8, at_a, w->now_ms), 0);
    nw_drain(w, B);
    nw_run(w, 1000);
    cr_assert_eq(w->n[A].result[7].err, 0);
    cr_assert_str_eq(w->n[A].result[7].code, w->n[B].result[8].code);
}

Test(node_nearby, a_live_code_whose_link_is_lost_or_that_nobody_wants)
{
    uint32_t at_a, at_b;
    nw_pair(w, A, B, &at_a, &at_b);
    cr_assert_eq(node_verify_code(node(A), 5, at_b, w->now_ms), 0);
    nw_drain(w, A);
    nw_run(w, 100);
    nw_cut(w);
    cr_assert_eq(w->n[A].results[5], 1);
    cr_assert_eq(w->n[A].result[5].err, ERR_IO);
    nw_run(w, 10000);
    cr_assert_eq(node_verify_code(node(A), 6, at_b, w->now_ms), 0);
    nw_drain(w, A);
    nw_run(w, VERIFY_MS + 1000);
    cr_assert_eq(w->n[A].result[6].err, ERR_TIMEOUT);
}
