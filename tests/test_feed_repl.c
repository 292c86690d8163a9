#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "feed_harness.h"

static struct hnet *meshed(size_t n, uint64_t seed)
{
    struct hnet *h = harness_new(n, seed);
    harness_mesh(h);
    (void)harness_run(h, 10000);
    return h;
}

static void check_quiet(struct hnet *h)
{
    for (size_t i = 0; i < h->n; i++) {
        cr_assert_eq(h->node[i].n_errors, 0, "node %zu: %s", i, err_str(h->node[i].err));
        for (size_t j = 0; j < h->n; j++) {
            cr_assert_not(h->node[i].waits[j], "node %zu waits for %zu", i, j);
        }
    }
}

/* ---- passing through, paging, telling ---- */

Test(feed_repl, entries_pass_through_the_middle_one)
{
    struct hnet *h = harness_new(3, 1);
    uint8_t state = 0;
    harness_link(h, 0, 1);
    harness_link(h, 1, 2);
    (void)harness_run(h, 10000);
    for (unsigned i = 1; i <= 30; i++) {
        harness_say(&h->node[i % 3], i);
        (void)harness_run(h, i % 4 == 0 ? 10000 : 3);
    }
    (void)harness_run(h, 100000);
    harness_same(h, 30);
    /* The ends never meet: what the other one has opened is not known. */
    (void)harness_count(&h->node[0], 3, &state);
    cr_assert_eq(state, STATE_STORED);
    cr_assert(h->node[0].waits[2]);
    harness_cut(h, 0, 1);
    harness_link(h, 0, 2);
    (void)harness_run(h, 100000);
    (void)harness_count(&h->node[0], 3, &state);
    cr_assert_eq(state, STATE_DELIVERED);
    cr_assert_eq(h->node[0].n_errors + h->node[1].n_errors + h->node[2].n_errors, 0);
    harness_free(h);
}

Test(feed_repl, a_thousand_entries_are_paged_and_sent_once)
{
    struct hnet *h = harness_new(2, 2);
    for (unsigned i = 1; i <= 1000; i++) {
        harness_say(&h->node[0], i);
    }
    harness_link(h, 0, 1);
    (void)harness_run(h, 100000);
    harness_same(h, 1000);
    cr_assert_eq(h->node[0].n_entries, 1002); /* two chains */
    cr_assert_leq(h->node[0].n_loads, 12);
    check_quiet(h);
    harness_free(h);
}

Test(feed_repl, long_texts_wait_for_room)
{
    struct hnet *h = meshed(2, 3);
    char *text = malloc(WIRE_TEXT_MAX);
    memset(text, 'x', WIRE_TEXT_MAX);
    for (unsigned i = 0; i < 40; i++) {
        harness_text(&h->node[0], text, WIRE_TEXT_MAX);
        cr_assert_leq(h->queued[0][1], LINK_INFLIGHT_MAX + 2048U);
    }
    (void)harness_run(h, 100000);
    struct hlist *l = harness_history(&h->node[1]);
    cr_assert_eq(l->n, 40);
    check_quiet(h);
    free(l);
    free(text);
    harness_free(h);
}

Test(feed_repl, a_burst_is_told_in_one_have)
{
    struct hnet *h = meshed(2, 4);
    struct hnode *n = &h->node[1];
    harness_say(&h->node[0], 1);
    (void)harness_run(h, 1000);
    size_t haves = n->n_haves;
    for (unsigned i = 2; i <= 101; i++) {
        harness_say(&h->node[0], i);
    }
    while (h->first[0][1] != NULL) { /* all in one call of the node */
        struct frame *fr = h->first[0][1];
        h->first[0][1] = fr->next;
        cr_assert_eq(feeds_recv(n->f, &n->txn, harness_ref(n, 0), fr->type, fr->payload,
                                fr->len, h->now_ms),
                     0);
        free(fr);
    }
    h->last[0][1] = NULL;
    (void)harness_settle(n);
    cr_assert_eq(n->n_haves, haves + 1);
    (void)harness_run(h, 1000);
    harness_same(h, 101);
    check_quiet(h);
    harness_free(h);
}

Test(feed_repl, equal_digests_are_all_that_is_said)
{
    struct hnet *h = meshed(2, 5);
    for (unsigned i = 1; i <= 20; i++) {
        harness_say(&h->node[i % 2], i);
        (void)harness_run(h, 1000);
    }
    harness_restart(&h->node[0]);
    harness_restart(&h->node[1]);
    size_t before = h->node[0].n_haves + h->node[1].n_haves + h->node[0].n_entries +
                    h->node[1].n_entries;
    harness_link(h, 0, 1);
    (void)harness_run(h, 1000);
    cr_assert_eq(h->node[0].n_haves + h->node[1].n_haves + h->node[0].n_entries +
                     h->node[1].n_entries,
                 before);
    harness_say(&h->node[0], 21); /* and both know that they may go on */
    (void)harness_run(h, 1000);
    harness_same(h, 21);
    check_quiet(h);
    harness_free(h);
}

/* A conversation that one side makes while the link is up already. */
Test(feed_repl, a_conversation_begins_on_a_link)
{
    struct hnet *h = meshed(3, 6);
    uint8_t roots[2][WIRE_ID], cid[WIRE_ID] = {7};
    memcpy(roots[0], h->node[0].root, WIRE_ID);
    memcpy(roots[1], h->node[1].root, WIRE_ID);
    for (size_t i = 0; i < 2; i++) {
        struct hnode *n = &h->node[i];
        cr_assert_eq(feeds_conv_group(n->f, &n->txn, cid,
                                      (const uint8_t(*)[WIRE_ID])roots, 2, &n->conv),
                     0);
        (void)harness_settle(n);
        (void)harness_run(h, 1000); /* the other one does not know it yet, or does */
        harness_say(n, (unsigned)i + 1);
        (void)harness_run(h, 1000);
    }
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(harness_count(&h->node[i], 1, NULL), 1);
        cr_assert_eq(harness_count(&h->node[i], 2, NULL), 1);
    }
    check_quiet(h);
    harness_free(h);
}

/* ---- what goes wrong ---- */

/* Either side dies before each single commit of an exchange, starts again and goes on. */
Test(feed_repl, a_crash_at_any_commit_loses_nothing)
{
    for (long at = 0; at < 24; at++) {
        struct hnet *h = harness_new(2, 100 + (uint64_t)at);
        size_t who = (size_t)at % 2;
        bool said[11] = {false};
        harness_link(h, 0, 1);
        (void)harness_run(h, 1000);
        h->node[who].die_in = at / 2;
        for (unsigned i = 1; i <= 10; i++) {
            struct hnode *n = &h->node[i % 2];
            if (n->alive) {
                harness_say(n, i);
                said[i] = n->alive; /* it died before the commit: never acknowledged */
            }
            (void)harness_run(h, 1000);
        }
        if (!h->node[who].alive) {
            harness_start(&h->node[who]);
        }
        h->node[who].die_in = -1;
        harness_link(h, 0, 1);
        (void)harness_run(h, 1000);
        size_t n = 0;
        for (unsigned i = 1; i <= 10; i++) {
            n += said[i];
            cr_assert_eq(harness_count(&h->node[1], i, NULL), said[i]);
        }
        harness_same(h, n);
        check_quiet(h);
        harness_free(h);
    }
}

Test(feed_repl, an_author_set_back_takes_its_entries_back)
{
    struct hnet *h = meshed(2, 7);
    harness_say(&h->node[0], 1);
    (void)harness_run(h, 1000);
    struct blob copy = harness_copy(&h->node[0]);
    for (unsigned i = 2; i <= 6; i++) {
        harness_say(&h->node[i % 2], i);
        (void)harness_run(h, 1000);
    }
    harness_back(&h->node[0], &copy);
    harness_link(h, 0, 1);
    (void)harness_run(h, 10000);
    harness_same(h, 6);
    cr_assert_eq(h->node[0].n_restored, 1);
    cr_assert_eq(h->node[1].n_forks, 0);
    harness_say(&h->node[0], 7); /* in a new generation */
    (void)harness_run(h, 10000);
    harness_same(h, 7);
    cr_assert_neq(harness_feed(&h->node[0], 0, FEED_CLOSED)->id, 1);
    uint8_t state = 0;
    for (unsigned i = 2; i <= 6; i += 2) {
        cr_assert_eq(harness_count(&h->node[0], i, &state), 1);
        cr_assert_eq(state, STATE_DELIVERED);
    }
    check_quiet(h);
    blob_release(&copy);
    harness_free(h);
}

Test(feed_repl, an_author_set_back_who_wrote_on_repeats_it)
{
    struct hnet *h = meshed(2, 8);
    harness_say(&h->node[0], 1);
    (void)harness_run(h, 1000);
    struct blob copy = harness_copy(&h->node[0]);
    harness_say(&h->node[0], 2);
    harness_say(&h->node[0], 3);
    (void)harness_run(h, 1000);
    for (unsigned wrote = 1; wrote <= 6; wrote++) { /* behind, level with and ahead */
        h->wall_us += 1000000;
        harness_back(&h->node[0], &copy);
        for (unsigned i = 0; i < wrote; i++) {
            harness_say(&h->node[0], wrote * 10 + i);
        }
        harness_link(h, 0, 1);
        (void)harness_run(h, 10000);
        harness_pass(h, 30000);
        size_t n = 3;
        for (unsigned k = 1; k <= wrote; k++) {
            n += k;
        }
        harness_same(h, n);
        /* What was taken back is not seen as a fork by who holds it. */
        cr_assert_eq(h->node[1].n_forks, 0);
        check_quiet(h);
    }
    harness_restart(&h->node[0]);
    harness_restart(&h->node[1]);
    size_t entries = h->node[0].n_entries + h->node[1].n_entries;
    harness_link(h, 0, 1);
    (void)harness_run(h, 10000);
    cr_assert_eq(h->node[0].n_entries + h->node[1].n_entries, entries);
    blob_release(&copy);
    harness_free(h);
}

Test(feed_repl, a_receiver_set_back_gets_all_again)
{
    struct hnet *h = meshed(2, 9);
    uint8_t state = 0;
    harness_say(&h->node[0], 1);
    (void)harness_run(h, 1000);
    struct blob copy = harness_copy(&h->node[1]);
    for (unsigned i = 2; i <= 5; i++) {
        harness_say(&h->node[0], i);
        (void)harness_run(h, 1000);
    }
    harness_back(&h->node[1], &copy);
    harness_say(&h->node[0], 6);
    harness_link(h, 0, 1);
    (void)harness_run(h, 1000);
    harness_same(h, 6);
    (void)harness_count(&h->node[0], 5, &state);
    cr_assert_eq(state, STATE_DELIVERED);
    cr_assert_eq(h->node[0].n_restored + h->node[1].n_restored, 0);
    check_quiet(h);
    blob_release(&copy);
    harness_free(h);
}

/* Two lives of one device have told two others different things. */
Test(feed_repl, a_fork_is_proved_and_repaired)
{
    struct hnet *h = harness_new(3, 10);
    harness_link(h, 0, 1);
    harness_link(h, 0, 2);
    (void)harness_run(h, 1000);
    harness_say(&h->node[0], 1);
    (void)harness_run(h, 1000);
    struct blob copy = harness_copy(&h->node[0]);
    harness_cut(h, 0, 2);
    harness_say(&h->node[0], 2);
    harness_say(&h->node[0], 3);
    (void)harness_run(h, 1000);
    h->wall_us += 1000000;
    harness_back(&h->node[0], &copy);
    harness_link(h, 0, 2);
    harness_say(&h->node[0], 4);
    harness_say(&h->node[0], 5);
    (void)harness_run(h, 1000);
    harness_cut(h, 0, 2);
    cr_assert_eq(h->node[1].n_forks + h->node[2].n_forks, 0);
    harness_link(h, 1, 2); /* the two compare */
    (void)harness_run(h, 10000);
    cr_assert_eq(h->node[1].n_forks, 1);
    cr_assert_eq(h->node[2].n_forks, 1);
    cr_assert_neq(harness_feed(&h->node[1], 0, 0)->flags & FEED_FROZEN, 0);
    harness_link(h, 0, 1);
    harness_link(h, 0, 2);
    (void)harness_run(h, 10000);
    harness_pass(h, 60000);
    harness_same(h, 5);
    harness_say(&h->node[0], 6);
    (void)harness_run(h, 1000);
    harness_same(h, 6);
    check_quiet(h);
    blob_release(&copy);
    harness_free(h);
}

/* A receiver whose box key went with its newer home. */
Test(feed_repl, what_cannot_be_opened_is_repeated)
{
    struct hnet *h = meshed(2, 11);
    harness_say(&h->node[0], 1);
    harness_say(&h->node[1], 2);
    (void)harness_run(h, 1000);
    struct blob copy = harness_copy(&h->node[1]);
    h->wall_us += (FEEDS_BOXKEY_S + 10) * UINT64_C(1000000);
    struct hnode *n = &h->node[1];
    cr_assert(feeds_box_rotate(n->f, &n->txn, h->wall_us / 1000000));
    harness_announce(n);
    (void)harness_settle(n);
    (void)harness_run(h, 1000);
    for (unsigned i = 3; i <= 8; i++) {
        harness_say(&h->node[0], i);
        (void)harness_run(h, 1000);
    }
    uint8_t state = 0;
    harness_back(n, &copy);
    h->wall_us += 60 * UINT64_C(1000000);
    harness_link(h, 0, 1);
    (void)harness_run(h, 10000);
    harness_pass(h, 60000);
    harness_same(h, 8);
    cr_assert_eq(harness_feed(n, 0, 0)->closed_from, 0);
    (void)harness_count(&h->node[0], 8, &state);
    cr_assert_eq(state, STATE_DELIVERED);
    cr_assert_geq(n->n_announced, 1);
    check_quiet(h);
    /* It was answered once: nothing is repeated again. */
    uint64_t head = harness_feed(&h->node[0], 0, FEED_CLOSED)->head;
    harness_restart(&h->node[0]);
    harness_restart(n);
    harness_link(h, 0, 1);
    (void)harness_run(h, 10000);
    harness_pass(h, 60000);
    cr_assert_eq(harness_feed(&h->node[0], 0, FEED_CLOSED)->head, head);
    blob_release(&copy);
    harness_free(h);
}

/* ---- parents ---- */

static bool only_from_two(struct hnet *h, size_t from, size_t to, uint8_t type,
                          uint8_t *p, size_t *len)
{
    (void)h;
    (void)p;
    (void)len;
    return !(type == FRAME_ENTRY && from == 0 && to == 1);
}

Test(feed_repl, an_entry_waits_for_its_parent)
{
    struct hnet *h = meshed(3, 12);
    harness_say(&h->node[0], 1);
    (void)harness_run(h, 10000);
    h->meddle = only_from_two; /* 1 gets nothing from 0 itself */
    harness_cut(h, 1, 2);
    harness_say(&h->node[0], 2);
    (void)harness_run(h, 10000);
    harness_say(&h->node[2], 3); /* after having seen 2 */
    (void)harness_run(h, 10000);
    harness_cut(h, 0, 2);
    harness_link(h, 1, 2);
    (void)harness_run(h, 1);
    size_t steps = 0;
    do { /* at no time is 3 shown without 2 */
        cr_assert(harness_count(&h->node[1], 3, NULL) == 0 ||
                  harness_count(&h->node[1], 2, NULL) == 1);
    } while (++steps < 60 && harness_run(h, 1) > 0);
    harness_pass(h, FEEDS_WANT_WAIT_MS + 100);
    cr_assert_eq(harness_count(&h->node[1], 3, NULL), 1);
    cr_assert_eq(harness_count(&h->node[1], 2, NULL), 1);
    struct hlist *l = harness_history(&h->node[1]);
    cr_assert_eq(l->v[2].flags & MSG_GAP, 0);
    free(l);
    harness_free(h);
}

static bool hides_feed_of_0(struct hnet *h, size_t from, size_t to, uint8_t type,
                            uint8_t *p, size_t *len)
{
    struct wire_entry e;
    struct wire_header v;
    (void)from;
    if (to != 1 || type != FRAME_ENTRY || !wire_entry_get(p, *len, &e) ||
        !wire_header_get(e.header, e.header_len, &v)) {
        return true;
    }
    return memcmp(v.device, h->node[0].device, WIRE_ID) != 0;
}

Test(feed_repl, a_parent_that_never_comes_is_a_gap)
{
    struct hnet *h = meshed(3, 13);
    h->meddle = hides_feed_of_0;
    harness_say(&h->node[0], 1);
    (void)harness_run(h, 10000);
    harness_say(&h->node[2], 2);
    (void)harness_run(h, 10000);
    cr_assert_eq(harness_count(&h->node[1], 2, NULL), 0);
    harness_unmesh(h);
    harness_pass(h, 4 * FEEDS_PARENT_WAIT_MS);
    cr_assert_eq(harness_count(&h->node[1], 2, NULL), 0); /* nobody could have given it */
    harness_cut(h, 0, 1);
    h->meddle = NULL;
    harness_free(h);
}

/* ---- bounds ---- */

static int give(struct hnode *n, uint8_t type, const struct wr *w)
{
    cr_assert(wr_ok(w));
    int err =
        feeds_recv(n->f, &n->txn, harness_ref(n, 1), type, w->p, w->len, n->net->now_ms);
    (void)harness_settle(n);
    return err;
}

Test(feed_repl, claims_of_a_peer_are_bounded)
{
    static uint8_t buf[WIRE_FRAME_MAX];
    static struct wire_have_feed feeds[WIRE_HAVE_FEEDS_MAX];
    struct hnet *h = meshed(2, 14);
    struct hnode *n = &h->node[0];
    harness_say(n, 1);
    harness_say(&h->node[1], 2);
    (void)harness_run(h, 1000);
    for (size_t round = 0; round < 20; round++) {
        struct wire_have v = {.feeds = feeds, .n_feeds = WIRE_HAVE_FEEDS_MAX};
        const struct rec_feed *own = harness_feed(n, 0, 0);
        (void)own;
        struct wr w = wr_init(buf, sizeof buf);
        for (size_t i = 0; i < WIRE_HAVE_FEEDS_MAX; i++) {
            memset(&feeds[i], 0, sizeof feeds[i]);
            memcpy(feeds[i].device, h->node[i % 2].device, WIRE_ID);
            memset(feeds[i].gen, (int)round, WIRE_GEN);
            feeds[i].gen[0] = (uint8_t)i;
            feeds[i].n = INT64_MAX;
            feeds[i].opened = round % 2 == 0 ? 0 : INT64_MAX;
            feeds[i].frozen = i % 3 == 0;
        }
        memset(v.conv, 0, sizeof v.conv);
        /* The conversation's id: hash of both roots; taken from an entry on its way. */
        h->meddle_ctx = v.conv;
        harness_say(n, 10 + (unsigned)round);
        struct wire_entry e;
        struct wire_header hd;
        cr_assert(wire_entry_get(h->last[0][1]->payload, h->last[0][1]->len, &e));
        cr_assert(wire_header_get(e.header, e.header_len, &hd));
        memcpy(v.conv, hd.conv, sizeof v.conv);
        wire_have_put(&w, &v);
        cr_assert_eq(give(n, FRAME_HAVE, &w), 0);
        (void)harness_run(h, 10000);
    }
    harness_pass(h, 200000);
    /* Nothing was closed on the strength of claims, nothing stored for them. */
    cr_assert_eq(n->n_restored, 0);
    cr_assert_eq(harness_feed(n, 0, FEED_CLOSED)->id, harness_feed(n, 0, 0)->id);
    for (uint32_t id = 3; id < 100; id++) {
        cr_assert_null(feeds_feed(n->f, id));
    }
    harness_cut(h, 0, 1);
    harness_link(h, 0, 1);
    (void)harness_run(h, 10000);
    harness_same(h, 22);
    harness_free(h);
}

Test(feed_repl, frames_cut_short_are_refused)
{
    struct hnet *h = meshed(2, 15);
    harness_say(&h->node[0], 1);
    struct frame *fr = h->last[0][1];
    struct hnode *n = &h->node[1];
    static const uint8_t types[] = {FRAME_DIGEST, FRAME_HAVE, FRAME_WANT, FRAME_ENTRY,
                                    FRAME_READ};
    for (size_t t = 0; t < sizeof types; t++) {
        for (size_t len = 0; len < fr->len; len++) {
            cr_assert_eq(feeds_recv(n->f, &n->txn, harness_ref(n, 0), types[t],
                                    fr->payload, len, h->now_ms),
                         ERR_FORMAT);
        }
    }
    /* Types of a later version are ignored, devices that are not linked too. */
    cr_assert_eq(feeds_recv(n->f, &n->txn, harness_ref(n, 0), 40, fr->payload, 9, 0), 0);
    cr_assert_eq(feeds_recv(n->f, &n->txn, 77, FRAME_ENTRY, fr->payload, 9, 0), 0);
    cr_assert_eq(n->txn.n, 0);
    (void)harness_run(h, 1000);
    harness_same(h, 1);
    harness_free(h);
}

/* A device can be set back until its generations are used up; then it says so. */
Test(feed_repl, generations_are_limited)
{
    struct hnet *h = meshed(2, 16);
    uint8_t mid[WIRE_MID];
    harness_say(&h->node[0], 1);
    (void)harness_run(h, 1000);
    int err = 0;
    unsigned number = 1;
    for (unsigned i = 0; i < WIRE_GENERATIONS_MAX + 4 && err == 0; i++) {
        struct blob copy = harness_copy(&h->node[0]);
        harness_say(&h->node[0], ++number);
        (void)harness_run(h, 1000);
        harness_back(&h->node[0], &copy);
        harness_link(h, 0, 1);
        (void)harness_run(h, 10000);
        blob_release(&copy);
        err = feeds_send_text(h->node[0].f, &h->node[0].txn, h->node[0].conv,
                              (const uint8_t *)"x", 1, NULL, mid, h->now_ms);
        (void)harness_settle(&h->node[0]);
    }
    cr_assert_eq(err, ERR_LIMIT);
    harness_free(h);
}
