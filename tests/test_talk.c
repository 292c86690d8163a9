#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "feed_harness.h"

static struct hnet *two(uint64_t seed)
{
    struct hnet *h = harness_new(2, seed);
    harness_link(h, 0, 1);
    (void)harness_run(h, 1000);
    return h;
}

struct found {
    size_t n;
    uint8_t reply[WIRE_MID], mid[WIRE_MID];
    bool has_reply;
    char text[64];
    size_t len;
};

static int last_msg(void *ctx, const struct store_msg *m)
{
    struct found *x = ctx;
    x->n++;
    x->has_reply = m->has_reply;
    memcpy(x->reply, m->reply, WIRE_MID);
    memcpy(x->mid, m->mid, WIRE_MID);
    x->len = m->text.n;
    memcpy(x->text, m->text.p, m->text.n < 64 ? m->text.n : 64);
    return 0;
}

Test(talk, replies_name_the_message)
{
    struct hnet *h = two(1);
    struct hnode *a = &h->node[0], *b = &h->node[1];
    uint8_t mid[WIRE_MID], answer[WIRE_MID];
    const uint8_t text[] = "caf\xc3\xa9\n\xe4\xbd\xa0";
    cr_assert_eq(feeds_send_text(a->f, &a->txn, a->conv, text, sizeof text - 1, NULL, mid,
                                 h->now_ms),
                 0);
    (void)harness_settle(a);
    (void)harness_run(h, 1000);
    cr_assert_eq(feeds_send_text(b->f, &b->txn, b->conv, text, 3, mid, answer, h->now_ms),
                 0);
    (void)harness_settle(b);
    (void)harness_run(h, 1000);
    struct found x = {0};
    cr_assert_eq(store_arrivals(b->store, 0, 0, 10, last_msg, &x), 0);
    cr_assert_eq(x.n, 1);
    cr_assert(!x.has_reply && x.len == sizeof text - 1);
    cr_assert_eq(memcmp(x.text, text, x.len), 0);
    cr_assert_eq(memcmp(x.mid, mid, WIRE_MID), 0);
    x = (struct found){0};
    cr_assert_eq(store_arrivals(a->store, 0, 0, 10, last_msg, &x), 0);
    cr_assert_eq(x.n, 1);
    cr_assert(x.has_reply && memcmp(x.reply, mid, WIRE_MID) == 0);
    cr_assert_eq(memcmp(x.mid, answer, WIRE_MID), 0);
    harness_free(h);
}

Test(talk, device_entries_are_told_and_acknowledged)
{
    struct hnet *h = two(2);
    cr_assert(feeds_device_acked(h->node[0].f, 2)); /* there is none yet */
    harness_cut(h, 0, 1);
    harness_announce(&h->node[0]);
    (void)harness_settle(&h->node[0]);
    cr_assert_not(feeds_device_acked(h->node[0].f, 2));
    cr_assert(h->node[0].waits[1]);
    harness_restart(&h->node[0]);
    cr_assert_not(feeds_device_acked(h->node[0].f, 2));
    harness_link(h, 0, 1);
    (void)harness_run(h, 1000);
    cr_assert(feeds_device_acked(h->node[0].f, 2));
    cr_assert_eq(h->node[1].n_devices, 1);
    harness_restart(&h->node[0]);
    cr_assert(feeds_device_acked(h->node[0].f, 2));
    harness_same(h, 0); /* they are nothing that people see */
    harness_free(h);
}

Test(talk, read_marks_wait_for_who_is_away)
{
    struct hnet *h = two(3);
    struct hnode *b = &h->node[1];
    uint8_t state = 0;
    harness_say(&h->node[0], 1);
    harness_say(&h->node[0], 2);
    (void)harness_run(h, 1000);
    harness_cut(h, 0, 1);
    cr_assert_not(b->waits[0]);
    cr_assert_eq(feeds_read(b->f, &b->txn, b->conv, h->now_ms), 0);
    (void)harness_settle(b);
    cr_assert(b->waits[0]);
    uint64_t unread = 9;
    cr_assert_eq(store_unread(b->store, b->conv, &unread), 0);
    cr_assert_eq(unread, 0);
    harness_link(h, 0, 1);
    (void)harness_run(h, 1000);
    cr_assert_not(b->waits[0]);
    (void)harness_count(&h->node[0], 1, &state);
    cr_assert_eq(state, STATE_READ);
    /* A mark that does not move makes nothing. */
    cr_assert_eq(feeds_read(b->f, &b->txn, b->conv, h->now_ms), 0);
    cr_assert_eq(b->txn.n, 0);
    cr_assert_eq(feeds_read(b->f, &b->txn, 99, h->now_ms), ERR_NOTFOUND);
    harness_say(&h->node[0], 3);
    (void)harness_run(h, 1000);
    (void)harness_count(&h->node[0], 3, &state);
    cr_assert_eq(state, STATE_DELIVERED);
    harness_free(h);
}

Test(talk, in_a_group_read_means_by_all)
{
    struct hnet *h = harness_new(3, 4);
    uint8_t state = 0;
    harness_mesh(h);
    (void)harness_run(h, 1000);
    harness_say(&h->node[0], 1);
    (void)harness_run(h, 1000);
    for (size_t i = 1; i < 3; i++) {
        struct hnode *n = &h->node[i];
        (void)harness_count(&h->node[0], 1, &state);
        cr_assert_eq(state, STATE_DELIVERED);
        cr_assert_eq(feeds_read(n->f, &n->txn, n->conv, h->now_ms), 0);
        (void)harness_settle(n);
        (void)harness_run(h, 1000);
    }
    (void)harness_count(&h->node[0], 1, &state);
    cr_assert_eq(state, STATE_READ);
    harness_free(h);
}

/* Repeats keep the message's id, its place and its author's time. */
Test(talk, a_repeat_is_the_same_message)
{
    struct hnet *h = two(5);
    harness_say(&h->node[0], 1);
    (void)harness_run(h, 1000);
    struct blob copy = harness_copy(&h->node[0]);
    harness_say(&h->node[0], 2);
    (void)harness_run(h, 1000);
    h->wall_us += 5000000;
    harness_back(&h->node[0], &copy);
    harness_say(&h->node[0], 3);
    struct hlist *before = harness_history(&h->node[0]);
    h->wall_us += 5000000;
    harness_say(&h->node[1], 4);
    harness_link(h, 0, 1);
    (void)harness_run(h, 10000);
    harness_pass(h, 10000);
    harness_same(h, 4);
    struct hlist *after = harness_history(&h->node[1]);
    cr_assert_eq(before->n, 2);
    cr_assert_eq(before->v[1].number, 3);
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(after->v[i].number, i + 1);
    }
    cr_assert_eq(memcmp(after->v[2].mid, before->v[1].mid, WIRE_MID), 0);
    cr_assert_eq(after->v[2].order, before->v[1].order);
    free(before);
    free(after);
    blob_release(&copy);
    harness_free(h);
}
