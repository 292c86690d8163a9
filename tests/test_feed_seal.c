#include <criterion/criterion.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "feed_harness.h"

/* The last ENTRY on its way from a to b whose header says it is a `keys` entry (or not),
 * decoded from the frame, whose bytes it borrows. */
static struct frame *find_entry(struct hnet *h, size_t a, size_t b, bool keys,
                                struct wire_entry *e, struct wire_header *v)
{
    struct frame *found = NULL;
    for (struct frame *fr = h->first[a][b]; fr != NULL; fr = fr->next) {
        if (fr->type == FRAME_ENTRY && wire_entry_get(fr->payload, fr->len, e) &&
            wire_header_get(e->header, e->header_len, v) &&
            (v->chain == v->seq) == keys) {
            found = fr;
        }
    }
    cr_assert_not_null(found);
    cr_assert(wire_entry_get(found->payload, found->len, e));
    cr_assert(wire_header_get(e->header, e->header_len, v));
    return found;
}

/* Encodes an entry anew after header or box were changed. */
static size_t encode(const struct wire_entry *old, struct wire_header *v,
                     const uint8_t *box, size_t box_len, uint8_t *out, size_t cap)
{
    static uint8_t header[WIRE_HEADER_MAX];
    struct wire_entry e = *old;
    struct wr hw = wr_init(header, sizeof header), w = wr_init(out, cap);
    wire_box_hash(box, box_len, v->box_hash);
    wire_header_put(&hw, v, true);
    e.header = header;
    e.header_len = hw.len;
    e.box = box;
    e.box_len = box_len;
    wire_entry_put(&w, &e);
    cr_assert(wr_ok(&hw) && wr_ok(&w));
    return w.len;
}

static int give(struct hnode *n, size_t from, const uint8_t *p, size_t len)
{
    int err = feeds_recv(n->f, &n->txn, harness_ref(n, from), FRAME_ENTRY, p, len,
                         n->net->now_ms);
    (void)harness_settle(n);
    return err;
}

static struct hnet *linked(size_t n, uint64_t seed)
{
    struct hnet *h = harness_new(n, seed);
    harness_mesh(h);
    (void)harness_run(h, 10000);
    return h;
}

Test(feed_seal, every_device_of_every_member_has_a_copy)
{
    struct hnet *h = linked(5, 1);
    struct wire_entry e;
    struct wire_header v;
    harness_say(&h->node[0], 1);
    (void)find_entry(h, 0, 1, true, &e, &v);
    cr_assert_eq(e.box_len, 64 + 5 * CHAIN_SEAL);
    for (size_t i = 0; i < 5; i++) {
        bool there = false;
        for (size_t at = 64; at < e.box_len; at += CHAIN_SEAL) {
            there = there || memcmp(e.box + at, h->node[i].device, 8) == 0;
        }
        cr_assert(there, "node %zu", i);
    }
    cr_assert_not(sodium_is_zero(e.box + 32, 32)); /* the signing key */
    cr_assert(e.has_sig && e.has_self);
    harness_free(h);
    h = linked(2, 2);
    harness_say(&h->node[0], 1);
    (void)find_entry(h, 0, 1, true, &e, &v);
    cr_assert_eq(e.box_len, 64 + 2 * CHAIN_SEAL);
    cr_assert(sodium_is_zero(e.box + 32, 32)); /* deniable: nothing is signed */
    cr_assert(!e.has_sig && e.has_self);
    harness_free(h);
}

/* Every copy vouches for the whole `keys` entry: with another header, signing key,
 * ephemeral or secret it opens nowhere, and who is not the author cannot have it taken.
 */
Test(feed_seal, a_relay_cannot_forge_keys)
{
    struct hnet *h = linked(3, 3);
    struct hnode *n = &h->node[2];
    static uint8_t box[WIRE_BOX_MAX], out[WIRE_ENTRY_MAX];
    struct wire_entry e;
    struct wire_header v;
    harness_say(&h->node[0], 1);
    (void)find_entry(h, 0, 2, true, &e, &v);
    for (size_t at = 0; at < e.box_len; at += 5) {
        memcpy(box, e.box, e.box_len);
        box[at] ^= 1;
        struct wire_header w = v;
        size_t len = encode(&e, &w, box, e.box_len, out, sizeof out);
        int err = give(n, 1, out, len);
        cr_assert(err == 0 || err == ERR_AUTH);
        cr_assert_null(harness_feed(n, 0, 0), "byte %zu of the box", at);
    }
    struct wire_header w = v;
    w.order++;
    size_t len = encode(&e, &w, e.box, e.box_len, out, sizeof out);
    cr_assert_eq(give(n, 1, out, len), 0);
    cr_assert_null(harness_feed(n, 0, 0));
    (void)harness_run(h, 10000);
    harness_same(h, 1);
    harness_free(h);
}

Test(feed_seal, a_relay_cannot_forge_entries)
{
    struct hnet *h = linked(3, 4);
    struct hnode *n = &h->node[2];
    static uint8_t box[WIRE_BOX_MAX], out[WIRE_ENTRY_MAX];
    struct wire_entry e;
    struct wire_header v;
    harness_say(&h->node[0], 1);
    (void)harness_run(h, 10000);
    harness_say(&h->node[0], 2);
    (void)find_entry(h, 0, 2, false, &e, &v);
    const struct rec_feed *r = harness_feed(n, 0, 0);
    uint64_t head = r->head;
    memcpy(box, e.box, e.box_len);
    box[30] ^= 1; /* the signature is over the header, and so over the box's hash */
    struct wire_header w = v;
    size_t len = encode(&e, &w, box, e.box_len, out, sizeof out);
    cr_assert_eq(give(n, 1, out, len), ERR_AUTH);
    w = v;
    w.order += 5;
    len = encode(&e, &w, e.box, e.box_len, out, sizeof out);
    cr_assert_eq(give(n, 1, out, len), ERR_AUTH);
    struct wire_entry unsigned_one = e;
    unsigned_one.has_sig = false;
    w = v;
    len = encode(&unsigned_one, &w, e.box, e.box_len, out, sizeof out);
    cr_assert_eq(give(n, 1, out, len), ERR_AUTH);
    /* A box that is not there, or that does not have its hash. */
    struct wire_entry empty = e;
    struct wr ew = wr_init(out, sizeof out);
    empty.box = NULL;
    wire_entry_put(&ew, &empty);
    cr_assert_eq(give(n, 1, out, ew.len), 0);
    cr_assert_eq(r->head, head);
    (void)harness_run(h, 10000);
    harness_same(h, 2);
    harness_free(h);
}

/* An entry of one of our own devices is taken from others only with our account's MAC. */
Test(feed_seal, entries_in_our_name_need_our_mac)
{
    struct hnet *h = linked(2, 5);
    struct hnode *n = &h->node[0];
    static uint8_t box[WIRE_BOX_MAX], out[WIRE_ENTRY_MAX], have[2048];
    struct wire_entry e;
    struct wire_header v;
    harness_say(n, 1);
    struct frame *fr = find_entry(h, 0, 1, true, &e, &v);
    (void)fr;
    memcpy(box, e.box, e.box_len);
    /* The peer claims a generation that we never had, and shows an entry of it. */
    struct wire_have_feed one = {.n = 1};
    struct wire_have hv = {.feeds = &one, .n_feeds = 1};
    memcpy(hv.conv, v.conv, WIRE_ID);
    memcpy(one.device, n->device, WIRE_ID);
    memset(one.gen, 9, WIRE_GEN);
    memset(one.id, 9, WIRE_ID);
    struct wr hw = wr_init(have, sizeof have);
    wire_have_put(&hw, &hv);
    size_t frames = h->queued[0][1];
    cr_assert_eq(
        feeds_recv(n->f, &n->txn, harness_ref(n, 1), FRAME_HAVE, have, hw.len, h->now_ms),
        0);
    (void)harness_settle(n);
    cr_assert_gt(h->queued[0][1], frames); /* it is asked for what it claims */
    struct wire_header w = v;
    memset(w.gen, 9, WIRE_GEN);
    size_t len = encode(&e, &w, box, e.box_len, out, sizeof out);
    cr_assert_eq(give(n, 1, out, len), 0);
    cr_assert_eq(n->n_restored, 0);
    cr_assert_null(feeds_feed(n->f, 2));
    harness_say(n, 2); /* and we write on where we were */
    cr_assert_eq(harness_feed(n, 0, 0)->head, 3);
    (void)harness_run(h, 10000);
    harness_same(h, 2);
    harness_free(h);
}

Test(feed_seal, box_keys_change_every_week)
{
    struct hnet *h = linked(2, 6);
    struct hnode *n = &h->node[0];
    uint8_t first[32], second[32];
    uint64_t then, now = h->wall_us / 1000000;
    feeds_box(n->f, first, &then);
    cr_assert_not(feeds_box_rotate(n->f, &n->txn, now + FEEDS_BOXKEY_S - 10));
    cr_assert(feeds_box_rotate(n->f, &n->txn, now + FEEDS_BOXKEY_S));
    feeds_box(n->f, second, &then);
    cr_assert_neq(memcmp(first, second, 32), 0);
    cr_assert_eq(then, now + FEEDS_BOXKEY_S);
    cr_assert_not(feeds_box_rotate(n->f, &n->txn, now + FEEDS_BOXKEY_S));
    /* The clock is set back far: the next one is newer all the same. */
    cr_assert(feeds_box_rotate(n->f, &n->txn, 1000));
    uint64_t later;
    feeds_box(n->f, first, &later);
    cr_assert_gt(later, then);
    (void)harness_settle(n);
    harness_restart(n);
    feeds_box(n->f, second, &then);
    cr_assert_eq(memcmp(first, second, 32), 0);
    /* What was sealed to the first one still opens. */
    harness_link(h, 0, 1);
    harness_say(&h->node[1], 1);
    (void)harness_run(h, 1000);
    harness_same(h, 1);
    harness_free(h);
}

Test(feed_seal, a_new_box_key_starts_a_chain)
{
    struct hnet *h = linked(2, 7);
    struct hnode *n = &h->node[0], *o = &h->node[1];
    harness_say(n, 1);
    (void)harness_run(h, 1000);
    h->wall_us += FEEDS_BOXKEY_S * UINT64_C(1000000) / 2;
    harness_say(n, 2);
    cr_assert_eq(harness_feed(n, 0, 0)->chain_start, 1);
    cr_assert(feeds_box_rotate(o->f, &o->txn, h->wall_us / 1000000 + FEEDS_BOXKEY_S));
    harness_announce(o);
    (void)harness_settle(o);
    (void)harness_run(h, 1000);
    cr_assert_eq(n->n_devices, 1);
    cr_assert_eq(harness_feed(n, 0, 0)->chain_start, 1); /* not before it is needed */
    harness_say(n, 3);
    cr_assert_eq(harness_feed(n, 0, 0)->chain_start, 4);
    (void)harness_run(h, 1000);
    harness_same(h, 3);
    cr_assert(feeds_device_acked(o->f, 1));
    harness_free(h);
}

/* The pair's secret is part of what is sealed between two. */
Test(feed_seal, pairing_anew_starts_a_chain)
{
    struct hnet *h = linked(2, 8);
    uint8_t pair[KEYS_PAIR_SECRET];
    harness_say(&h->node[0], 1);
    (void)harness_run(h, 1000);
    memset(pair, 0x21, sizeof pair);
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(
            feeds_pair_put(h->node[i].f, i == 0 ? 2 : 1, h->node[1 - i].root, pair), 0);
    }
    harness_say(&h->node[0], 2);
    cr_assert_eq(harness_feed(&h->node[0], 0, 0)->chain_start, 3);
    (void)harness_run(h, 1000);
    harness_same(h, 2);
    harness_free(h);
}

/* Between two who do not share it nothing opens, and nothing breaks. */
Test(feed_seal, another_pair_secret_opens_nothing)
{
    struct hnet *h = linked(2, 9);
    uint8_t pair[KEYS_PAIR_SECRET] = {5}, state = 0;
    cr_assert_eq(feeds_pair_put(h->node[0].f, 2, h->node[1].root, pair), 0);
    harness_say(&h->node[0], 1);
    (void)harness_run(h, 1000);
    harness_pass(h, 100000);
    cr_assert_eq(harness_count(&h->node[1], 1, NULL), 0);
    (void)harness_count(&h->node[0], 1, &state);
    cr_assert_eq(state, STATE_STORED);
    cr_assert_leq(harness_feed(&h->node[0], 0, 0)->head, 8);
    cr_assert_eq(h->node[1].n_errors, 0);
    cr_assert_eq(feeds_pair_put(h->node[1].f, 1, h->node[0].root, pair), 0);
    harness_announce(&h->node[1]);
    (void)harness_settle(&h->node[1]);
    (void)harness_run(h, 1000);
    harness_pass(h, 100000);
    harness_say(&h->node[0], 2);
    harness_pass(h, 100000);
    cr_assert_eq(harness_count(&h->node[1], 2, NULL), 1);
    harness_free(h);
}
