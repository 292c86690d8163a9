/* Entries without their boxes: they replicate when their author says so, and nobody else
 * can make a message disappear. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "feed_harness.h"

/* Takes the boxes out of what node 1 passes on to node 2 of node 0's messages. */
static bool strip(struct hnet *h, size_t from, size_t to, uint8_t type, uint8_t *p,
                  size_t *len)
{
    static uint8_t out[WIRE_ENTRY_MAX];
    struct wire_entry e;
    struct wire_header head;
    (void)h;
    if (type != FRAME_ENTRY || from != 1 || to != 2 || !wire_entry_get(p, *len, &e) ||
        !wire_header_get(e.header, e.header_len, &head) || head.chain == head.seq ||
        memcmp(head.device, h->node[0].device, WIRE_ID) != 0) {
        return true;
    }
    e.box = NULL;
    e.box_len = 0;
    struct wr w = wr_init(out, sizeof out);
    wire_entry_put(&w, &e);
    cr_assert(wr_ok(&w) && w.len < *len);
    memcpy(p, out, w.len);
    *len = w.len;
    return true;
}

static void redact(struct hnode *n, size_t which)
{
    struct hlist *list = harness_history(n);
    struct feeds_change v = {.kind = CHANGE_REDACTION};
    memcpy(v.target, list->v[which].mid, sizeof v.target);
    free(list);
    cr_assert_eq(feeds_change(n->f, &n->txn, n->conv, &v, n->net->now_ms), 0);
    (void)harness_settle(n);
}

static uint64_t opened(struct hnode *n, size_t author)
{
    const struct rec_feed *f = harness_feed(n, author, 0);
    return f == NULL ? 0 : f->opened;
}

Test(feed_change, who_passes_an_entry_on_cannot_take_its_box_away)
{
    struct hnet *h = harness_new(3, 1);
    harness_mesh(h);
    (void)harness_run(h, 1000);
    harness_say(&h->node[0], 1);
    (void)harness_run(h, 1000);
    cr_assert_eq(harness_count(&h->node[2], 1, NULL), 1);
    uint64_t before = opened(&h->node[2], 0);
    harness_cut(h, 0, 2);
    h->meddle = strip;
    harness_say(&h->node[0], 2);
    harness_say(&h->node[0], 3);
    (void)harness_run(h, 1000);
    harness_pass(h, 60000);
    cr_assert_eq(harness_count(&h->node[1], 2, NULL), 1);
    cr_assert_eq(harness_count(&h->node[2], 2, NULL), 0);
    cr_assert_eq(opened(&h->node[2], 0), before, "it does not count as opened");
    cr_assert_eq(h->node[2].n_errors, 0, "who cannot know is not cut off");
    harness_link(h, 0, 2);
    (void)harness_run(h, 1000);
    harness_pass(h, 20000);
    harness_same(h, 3);
    harness_free(h);
}

Test(feed_change, the_author_may_bring_it_without)
{
    for (size_t n = 2; n <= 3; n++) {
        struct hnet *h = harness_new(n, n);
        struct hnode *a = &h->node[0], *last = &h->node[n - 1];
        harness_mesh(h);
        (void)harness_run(h, 1000);
        harness_cut(h, 0, n - 1);
        if (n == 3) {
            harness_cut(h, 1, 2);
        }
        harness_say(a, 1);
        redact(a, 0);
        harness_say(a, 2);
        (void)harness_run(h, 1000);
        harness_link(h, 0, n - 1);
        (void)harness_run(h, 1000);
        harness_pass(h, 10000);
        cr_assert_eq(harness_count(last, 1, NULL), 0);
        cr_assert_eq(harness_count(last, 2, NULL), 1, "what is behind it opens");
        cr_assert_eq(opened(last, 0), harness_feed(a, 0, 0)->head);
        cr_assert_eq(last->n_errors + last->n_forks, 0);
        harness_restart(last);
        harness_link(h, 0, n - 1);
        harness_say(a, 3);
        (void)harness_run(h, 1000);
        cr_assert_eq(harness_count(last, 3, NULL), 1, "the chain goes on");
        harness_free(h);
    }
}

Test(feed_change, what_cannot_be_is_refused)
{
    struct hnet *h = harness_new(2, 4);
    struct hnode *a = &h->node[0];
    static const uint8_t two[] = "ok";
    struct feeds_change v = {.kind = CHANGE_REACTION, .text = two, .len = 2};
    cr_assert_eq(feeds_change(a->f, &a->txn, a->conv, &v, h->now_ms), ERR_ARG);
    v.kind = CHANGE_EDIT;
    v.len = 0;
    cr_assert_eq(feeds_change(a->f, &a->txn, a->conv, &v, h->now_ms), ERR_ARG);
    v.kind = CHANGE_REDACTION;
    cr_assert_eq(feeds_change(a->f, &a->txn, 99, &v, h->now_ms), ERR_NOTFOUND);
    v.kind = CHANGE_REACTION;
    v.author = 77;
    cr_assert_eq(feeds_change(a->f, &a->txn, a->conv, &v, h->now_ms), ERR_NOTFOUND);
    cr_assert_eq(a->txn.n, 0, "nothing of it is stored");
    harness_free(h);
}
