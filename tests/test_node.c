/* The node's own rules: what it routes, holds back, ends and refuses. Two or three whole
 * nodes over plumbing in memory. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "link.h"
#include "node_world.h"

enum { A, B, C };

static struct nw_world *w;
static uint32_t b_at_a, a_at_b;

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

static struct node *node(int i)
{
    return w->n[i].node;
}

static unsigned links(int i)
{
    struct node_stats s;
    node_stats(node(i), &s);
    return s.links;
}

/* Ada invites, Bob adds; then nothing moves for a while. */
static void know(void)
{
    nw_pair(w, A, B, &b_at_a, &a_at_b);
    nw_run(w, 10000);
    cr_assert_eq(links(A), 1);
    cr_assert_eq(links(B), 1);
}

static void check_delivered(int from, int to, uint32_t contact, const char *text)
{
    w->n[from].state = 0;
    nw_say(w, from, 1, contact, text);
    nw_run(w, 1500);
    cr_assert_eq(w->n[from].results[1], 1);
    cr_assert_eq(w->n[from].result[1].err, 0);
    cr_assert_str_eq(w->n[to].text, text);
    cr_assert_eq(w->n[from].state, STATE_DELIVERED);
}

TestSuite(node, .init = up, .fini = down);

Test(node, pair_and_talk)
{
    know();
    cr_assert(node_linked(node(A), b_at_a));
    cr_assert(node_online(node(B), a_at_b));
    cr_assert_str_eq(contacts_get(node_contacts(node(A)), b_at_a)->name, "bob");
    check_delivered(A, B, b_at_a, "good morning");
    check_delivered(B, A, a_at_b, "and to you");
    cr_assert_eq(w->n[A].received, 1);
    cr_assert_eq(w->n[B].received, 1);
}

Test(node, talk_after_a_cut)
{
    know();
    w->n[A].refuse = w->n[B].refuse = true;
    nw_cut(w);
    cr_assert_eq(links(A), 0);
    nw_say(w, A, 2, b_at_a, "are you there?");
    nw_run(w, 5000);
    cr_assert_eq(w->n[B].received, 0);
    w->n[A].refuse = w->n[B].refuse = false;
    nw_run(w, 120000);
    cr_assert_str_eq(w->n[B].text, "are you there?");
    cr_assert_eq(w->n[A].state, STATE_DELIVERED);
    cr_assert_eq(links(A), 1);
}

static void add(int i, uint64_t tag, const char *code)
{
    cr_assert_eq(node_add(node(i), tag, code, strlen(code), NULL, w->now_ms), 0);
    nw_drain(w, i);
}

Test(node, without_multicast_an_address_where_they_met_gets_beacons)
{
    know();
    w->n[A].unicasts = w->n[B].unicasts = 0;
    nw_run(w, 130000);
    cr_assert_eq(w->n[A].unicasts + w->n[B].unicasts, 0); /* who is linked needs none */
    w->n[A].no_multicast = w->n[B].no_multicast = true;
    w->n[A].refuse = w->n[B].refuse = true;
    nw_cut(w);
    nw_run(w, 200000);
    cr_assert_gt(w->n[A].unicasts, 0);
    cr_assert_gt(w->n[B].unicasts, 0);
    w->n[A].refuse = false;
    nw_run(w, 120000);
    cr_assert_eq(links(A), 1);
}

Test(node, a_revoked_invite_is_refused)
{
    char code[WIRE_CODE_MAX + 1];
    uint32_t id;
    nw_invite(w, A, code, &id);
    cr_assert_eq(node_invite_revoke(node(A), 3, id, w->now_ms), 0);
    nw_drain(w, A);
    cr_assert_eq(w->n[A].results[3], 1);
    add(B, 4, code);
    nw_run(w, 3000);
    cr_assert_eq(w->n[B].results[4], 1);
    cr_assert_eq(w->n[B].result[4].err, ERR_REFUSED);
    cr_assert_eq(w->n[B].result[4].close_code, CLOSE_REVOKED);
    size_t pos = 0;
    cr_assert_null(contacts_next(node_contacts(node(A)), &pos));
    nw_run(w, 60000);
    cr_assert_eq(w->n[B].results[4], 1);
}

Test(node, a_used_invite_is_refused)
{
    char code[WIRE_CODE_MAX + 1];
    uint32_t id;
    nw_invite(w, A, code, &id);
    add(B, 4, code);
    nw_run(w, 3000);
    cr_assert_eq(w->n[B].result[4].err, 0);
    add(C, 5, code);
    nw_run(w, 3000);
    cr_assert_eq(w->n[C].result[5].err, ERR_REFUSED);
    cr_assert_eq(w->n[C].result[5].close_code, CLOSE_USED);
}

Test(node, adding_nobody_times_out_and_goes_on)
{
    char code[WIRE_CODE_MAX + 1];
    uint32_t id;
    nw_invite(w, A, code, &id);
    w->n[B].refuse = true;
    add(B, 4, code);
    nw_run(w, NODE_ADD_WAIT_MS + 1);
    cr_assert_eq(w->n[B].result[4].err, ERR_TIMEOUT);
    w->n[B].refuse = false;
    nw_run(w, 10000);
    cr_assert_eq(links(B), 1);
    cr_assert_eq(w->n[B].results[4], 1);
}

static void block(int i, uint32_t contact, bool on)
{
    cr_assert_eq(node_contact_block(node(i), 6, contact, on, w->now_ms), 0);
    nw_drain(w, i);
}

Test(node, a_blocked_contact_is_away_until_unblocked)
{
    know();
    block(A, b_at_a, true);
    nw_run(w, 1000);
    cr_assert_eq(links(A), 0);
    cr_assert_eq(links(B), 0);
    cr_assert_eq(
        node_send_text(node(A), 7, b_at_a, (const uint8_t *)"x", 1, NULL, w->now_ms),
        ERR_REFUSED);
    nw_say(w, B, 8, a_at_b, "hello?");
    nw_run(w, 100000);
    cr_assert_eq(w->n[A].received, 0);
    cr_assert_lt(w->n[B].state, STATE_STORED);
    block(A, b_at_a, false);
    nw_run(w, 130000);
    cr_assert_str_eq(w->n[A].text, "hello?");
    check_delivered(A, B, b_at_a, "sorry");
}

/* A is to offer a file to B; after the look at it, `meanwhile` is done. */
static int offered_after(void (*meanwhile)(void))
{
    static const char path[] = "/home/ann/plan.odt";
    struct xfer_result r = {.file_kind = FILE_PLAIN, .size = 5, .name = "plan.odt"};
    know();
    cr_assert_eq(node_send_file(node(A), 5, b_at_a, path, NULL, w->now_ms), 0);
    nw_drain(w, A);
    cr_assert_neq(w->n[A].scan, 0);
    meanwhile();
    size_t before = w->n[A].n_entries;
    r.id = w->n[A].scan;
    r.path = path;
    node_job_done(node(A), &r, w->now_ms);
    nw_run(w, 5000);
    cr_assert_eq(w->n[A].results[5], 1, "it is answered");
    cr_assert_eq(w->n[A].n_entries > before, w->n[A].result[5].err == 0);
    return w->n[A].result[5].err;
}

static void meanwhile_nothing(void)
{
}

static void meanwhile_blocked(void)
{
    block(A, b_at_a, true);
}

static void meanwhile_removed(void)
{
    cr_assert_eq(node_contact_remove(node(A), 6, b_at_a, w->now_ms), 0);
    nw_run(w, 2000);
}

Test(node, a_file_is_offered_after_the_look_at_it)
{
    cr_assert_eq(offered_after(meanwhile_nothing), 0);
}

Test(node, nothing_is_offered_to_who_was_blocked_meanwhile)
{
    cr_assert_eq(offered_after(meanwhile_blocked), ERR_REFUSED);
    block(A, b_at_a, false);
    check_delivered(A, B, b_at_a, "again");
    cr_assert_eq(w->n[B].received, 1, "and nothing besides");
}

Test(node, nothing_is_offered_to_who_was_removed_meanwhile)
{
    cr_assert_eq(offered_after(meanwhile_removed), ERR_NOTFOUND);
}

/* The first record was taken, then comes the block, then the rest of the handshake. */
Test(node, blocked_in_the_middle_of_a_handshake)
{
    know();
    w->n[A].refuse = w->n[B].refuse = true;
    nw_cut(w);
    w->n[B].refuse = false;
    size_t at = w->n_carriers;
    nw_say(w, B, 8, a_at_b, "now");
    for (int i = 0; i < 1000 && (w->n_carriers == at || w->carriers[at].sent[1] == 0);
         i++) {
        if (!nw_step(w)) {
            w->now_ms += 10;
            node_tick(node(B), w->now_ms);
            nw_drain(w, B);
        }
    }
    cr_assert_eq(w->carriers[at].sent[1], WIRE_RECORD2);
    block(A, b_at_a, true);
    nw_run(w, 400);
    cr_assert_eq(links(A), 0, "a blocked contact got a link");
    nw_run(w, 30000);
    cr_assert_eq(links(A), 0);
    cr_assert_eq(links(B), 0);
    cr_assert_eq(w->n[A].received, 0);
}

/* The old link's CLOSE does not get out for a while; the new link is up before that. */
Test(node, unblocked_while_the_old_link_still_closes)
{
    know();
    w->n[A].hold_sent = true;
    w->n[A].keep_ends = w->n[B].keep_ends = true;
    block(A, b_at_a, true);
    block(A, b_at_a, false);
    nw_run(w, 3000);
    cr_assert_eq(links(A), 1);
    w->n[A].hold_sent = false;
    nw_run(w, 10000);
    check_delivered(A, B, b_at_a, "still here");
}

Test(node, what_changed_while_blocked_is_told_after)
{
    know();
    block(A, b_at_a, true);
    nw_run(w, 1000);
    cr_assert_eq(node_set_name(node(A), 9, "ada lovelace", w->now_ms), 0);
    nw_drain(w, A);
    nw_run(w, 1000);
    cr_assert_str_eq(w->n[B].announced, "ada");
    block(A, b_at_a, false);
    nw_run(w, 130000);
    cr_assert_str_eq(w->n[B].announced, "ada lovelace");
}

Test(node, a_removed_contact_is_gone)
{
    know();
    uint32_t c_at_a, a_at_c;
    nw_pair(w, A, C, &c_at_a, &a_at_c);
    nw_run(w, 5000);
    uint8_t before[32];
    const struct rec_device *d;
    size_t pos = 0;
    d = contacts_device_next(node_contacts(node(C)), a_at_c, &pos);
    memcpy(before, d->presence_p, sizeof before);
    cr_assert_eq(node_contact_remove(node(A), 10, b_at_a, w->now_ms), 0);
    nw_drain(w, A);
    cr_assert_eq(w->n[A].results[10], 1);
    nw_run(w, 5000);
    cr_assert_eq(links(A), 1);
    cr_assert_eq(links(B), 0);
    /* Who stays has the new presence secret. */
    cr_assert_neq(memcmp(before, d->presence_p, sizeof before), 0);
    cr_assert_eq(node_contact_remove(node(A), 11, b_at_a, w->now_ms), ERR_NOTFOUND);
    nw_say(w, B, 12, a_at_b, "hello?");
    nw_run(w, 200000);
    cr_assert_eq(w->n[A].received, 0);
    check_delivered(A, C, c_at_a, "just us");
}

Test(node, rename)
{
    know();
    uint32_t c_at_a, a_at_c;
    nw_pair(w, A, C, &c_at_a, &a_at_c);
    cr_assert_eq(node_contact_rename(node(A), 13, b_at_a, "robert", w->now_ms), 0);
    nw_drain(w, A);
    cr_assert_eq(w->n[A].results[13], 1);
    cr_assert_str_eq(contacts_get(node_contacts(node(A)), b_at_a)->name, "robert");
    cr_assert_eq(node_contact_rename(node(A), 14, c_at_a, "robert", w->now_ms),
                 ERR_EXISTS);
    nw_drain(w, A);
    cr_assert_eq(w->n[A].results[14], 0);
    check_delivered(A, B, b_at_a, "new name");
}

/* ---- durable before it is said ---- */

Test(node, nothing_leaves_before_the_commit)
{
    know();
    w->n[A].hold = true;
    size_t before = w->n[A].out_bytes;
    nw_say(w, A, 15, b_at_a, "wait");
    nw_run(w, 2000);
    cr_assert_eq(w->n[A].out_bytes, before);
    cr_assert_eq(w->n[A].results[15], 0);
    cr_assert_eq(w->n[B].received, 0);
    nw_commit(w, A);
    w->n[A].hold = false;
    nw_drain(w, A);
    cr_assert_eq(w->n[A].results[15], 1);
    nw_run(w, 1000);
    cr_assert_str_eq(w->n[B].text, "wait");
}

Test(node, nothing_is_acknowledged_before_the_commit)
{
    know();
    w->n[B].hold = true;
    nw_say(w, A, 15, b_at_a, "did you get it?");
    nw_run(w, 2000);
    cr_assert_lt(w->n[A].state, STATE_STORED);
    nw_commit(w, B);
    w->n[B].hold = false;
    nw_drain(w, B);
    nw_run(w, 1000);
    cr_assert_eq(w->n[A].state, STATE_DELIVERED);
}

/* "sent" is said of what a link took, not of what was held back for one that ended. */
Test(node, a_message_that_no_link_took_was_not_sent)
{
    know();
    w->n[A].refuse = w->n[B].refuse = true;
    w->n[A].hold = true;
    nw_run(w, 2000);
    unsigned before = w->n[A].states_sent;
    /* The link closes, and its carrier does not end yet. */
    w->n[A].keep_ends = w->n[B].keep_ends = true;
    nw_say(w, A, 15, b_at_a, "too late");
    node_shutdown(node(B), w->now_ms);
    nw_drain(w, B);
    while (nw_step(w)) {
    }
    nw_commit(w, A);
    w->n[A].hold = false;
    nw_drain(w, A);
    nw_run(w, 3000);
    cr_assert_eq(w->n[A].states_sent, before, "what never left was called sent");
}

Test(node, pairing_is_told_after_both_commits)
{
    char code[WIRE_CODE_MAX + 1];
    uint32_t id;
    nw_invite(w, A, code, &id);
    w->n[A].hold = true;
    add(B, 4, code);
    nw_run(w, 3000);
    cr_assert_eq(w->n[B].results[4], 0);
    nw_commit(w, A);
    w->n[A].hold = false;
    nw_drain(w, A);
    nw_run(w, 3000);
    cr_assert_eq(w->n[B].results[4], 1);
    cr_assert_eq(w->n[B].result[4].err, 0);
}

/* ---- strangers ---- */

static struct addr stranger(unsigned i, bool one_source)
{
    struct addr a = {.family = 4, .port = (uint16_t)(1024 + i), .ip = {192, 168, 7, 7}};
    if (!one_source) {
        a.ip[2] = (uint8_t)(i >> 8);
        a.ip[3] = (uint8_t)i;
    }
    return a;
}

static void flood(unsigned from, unsigned count, bool one_source)
{
    uint8_t junk[WIRE_RECORD1];
    for (unsigned i = from; i < from + count; i++) {
        struct addr a = stranger(i, one_source);
        size_t c = nw_connect(w, A, &a);
        memset(junk, (int)i, sizeof junk);
        if (c != SIZE_MAX && i % 3 != 0) {
            nw_give(w, c, junk, i % 3 == 1 ? sizeof junk : 7);
        }
        while (nw_step(w)) {
        }
    }
}

static void check_silent(void)
{
    struct node_stats s;
    node_stats(node(A), &s);
    cr_assert_leq(s.half_open, NODE_HALF_OPEN_MAX);
    for (size_t i = 0; i < w->n_carriers; i++) {
        if (w->carriers[i].node[0] == NW_STRANGER) {
            cr_assert_eq(w->carriers[i].sent[1], 0, "a stranger got a byte");
        }
    }
}

Test(node, half_open_connections_keep_nobody_out)
{
    know();
    w->n[A].refuse = true;
    nw_cut(w);
    flood(0, 2500, false);
    flood(2500, 2500, true);
    check_silent();
    nw_say(w, B, 16, a_at_b, "through the crowd");
    nw_run(w, 1500);
    cr_assert_str_eq(w->n[A].text, "through the crowd");
    check_silent();
    nw_run(w, 20000);
    struct node_stats s;
    node_stats(node(A), &s);
    cr_assert_eq(s.half_open, 0);
    cr_assert_eq(s.conns, 1);
}

/* The holder of a revoked code begins handshakes by the thousand and ends none. */
Test(node, unfinished_handshakes_keep_nobody_out)
{
    char text[WIRE_CODE_MAX + 1];
    uint32_t id;
    know();
    nw_invite(w, A, text, &id);
    cr_assert_eq(node_invite_revoke(node(A), 3, id, w->now_ms), 0);
    nw_drain(w, A);
    w->n[A].refuse = true;
    nw_cut(w);
    struct wire_code code;
    cr_assert_eq(wire_code_get(text, strlen(text), &code), 0);
    struct link_candidate as = {.kind = LINK_INVITE, .ref = 1};
    struct link_self self = {.env = &w->n[C].env};
    keys_link_invite(code.secret, code.root, &as.keys);
    memcpy(as.remote_root, code.root, sizeof as.remote_root);
    memset(self.stat_sec, 9, sizeof self.stat_sec);
    keys_public(self.stat_sec, self.stat_pub);
    static uint8_t out[65600];
    for (unsigned i = 0; i < NODE_CONNS_MAX + 50; i++) {
        struct addr a = stranger(i, false);
        size_t c = nw_connect(w, A, &a);
        struct link *l = link_dial(&self, &as, CARRIER_TCP, 1, w->now_ms);
        cr_assert_eq(link_next_out(l, out, sizeof out, w->now_ms), WIRE_RECORD1);
        link_free(l);
        if (c != SIZE_MAX) {
            nw_give(w, c, out, WIRE_RECORD1);
        }
    }
    nw_say(w, B, 16, a_at_b, "me too");
    nw_run(w, 1500);
    cr_assert_str_eq(w->n[A].text, "me too");
}

Test(node, junk_on_every_port_of_the_protocol)
{
    know();
    uint8_t junk[3000];
    struct addr from = nw_addr(C);
    for (unsigned i = 0; i < 200; i++) {
        randombytes_buf(junk, sizeof junk);
        node_udp_recv(node(A), &from, junk, i % 2 == 0 ? WIRE_BEACON : i, w->now_ms);
        nw_drain(w, A);
        struct addr a = stranger(i, true);
        size_t c = nw_connect(w, A, &a);
        if (c != SIZE_MAX) {
            nw_give(w, c, junk, 1 + i * 13);
        }
    }
    nw_run(w, 10000);
    check_silent();
    check_delivered(A, B, b_at_a, "fine");
}

Test(node, shutdown_says_so)
{
    know();
    node_shutdown(node(A), w->now_ms);
    nw_drain(w, A);
    nw_run(w, 500);
    struct node_stats s;
    node_stats(node(A), &s);
    cr_assert_eq(s.conns, 0);
    cr_assert_eq(links(B), 0);
    struct addr from = nw_addr(B);
    cr_assert_eq(node_accepted(node(A), &from, w->now_ms), 0);
}
