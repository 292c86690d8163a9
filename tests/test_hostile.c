/* A contact who turned hostile: he holds valid keys and speaks the link's protocol, and
 * sends what he likes. Ada must drop or ignore it, live, stay small, and go on talking to
 * Cy. Bob's own node keeps still meanwhile, and comes back at the end. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "base/err.h"
#include "link.h"
#include "node_world.h"

enum { A, B, C, RX_MAX = 8 * 1024 * 1024, GROWTH_MAX = 96 * 1024 * 1024, SEEN_MAX = 64 };

/* What is freed should be seen to be free. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=4";
}

static struct nw_world *w;
static uint32_t b_at_a, a_at_b, c_at_a, a_at_c;

/* Bob's end. */
static struct hostile {
    struct link_self self;
    struct link_candidate as;
    uint64_t counter;
    struct link *link;
    size_t carrier, rx_len;
    uint8_t *rx;
    bool up, over;
    unsigned links, got[256];
    /* of the conversation with Ada, as she told it */
    uint8_t cid[WIRE_ID];
    struct wire_have_feed feeds[SEEN_MAX];
    size_t n_feeds;
    unsigned foreign; /* entries of another conversation */
} h;

static uint8_t payload[WIRE_FRAME_MAX], out_buf[65600];
static struct wire_have_feed have_buf[WIRE_HAVE_FEEDS_MAX];
static struct wire_read_feed read_buf[WIRE_HAVE_FEEDS_MAX];
static struct wire_digest digest_buf[WIRE_DIGESTS_MAX];

static size_t memory(void)
{
    unsigned long all = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    cr_assert_not_null(f);
    cr_assert_eq(fscanf(f, "%lu %lu", &all, &resident), 2);
    (void)fclose(f);
    return (size_t)resident * (size_t)sysconf(_SC_PAGESIZE);
}

/* ---- Bob's link ---- */

static void heard(void *ctx, size_t carrier, const uint8_t *p, size_t len)
{
    (void)ctx;
    if (carrier == h.carrier && h.link != NULL) {
        cr_assert_leq(h.rx_len + len, (size_t)RX_MAX, "an answer without end");
        memcpy(h.rx + h.rx_len, p, len);
        h.rx_len += len;
    }
}

static void note(const struct link_event *ev)
{
    struct wire_have v = {.feeds = have_buf};
    struct wire_entry e;
    struct wire_header head;
    size_t n = 0;
    h.got[ev->type]++;
    if (ev->type == FRAME_DIGEST &&
        wire_digest_get(ev->payload, ev->len, digest_buf, WIRE_DIGESTS_MAX, &n) &&
        n > 0) {
        memcpy(h.cid, digest_buf[0].conv, WIRE_ID);
    } else if (ev->type == FRAME_HAVE && wire_have_get(ev->payload, ev->len, &v) &&
               v.full_end && v.n_feeds >= 2) {
        h.n_feeds = v.n_feeds < SEEN_MAX ? v.n_feeds : SEEN_MAX;
        memcpy(h.feeds, have_buf, h.n_feeds * sizeof h.feeds[0]);
    } else if (ev->type == FRAME_ENTRY && wire_entry_get(ev->payload, ev->len, &e) &&
               wire_header_get(e.header, e.header_len, &head)) {
        h.foreign += memcmp(head.conv, h.cid, WIRE_ID) != 0;
    }
}

static void pump(void)
{
    for (bool any = true; any;) {
        any = false;
        struct link_event ev;
        if (h.link != NULL && h.rx_len > 0) {
            size_t n = h.rx_len;
            h.rx_len = 0;
            (void)link_recv(h.link, h.rx, n, w->now_ms);
            any = true;
        }
        while (h.link != NULL && link_next_event(h.link, &ev)) {
            h.up = h.up || ev.kind == LINK_EV_UP;
            if (ev.kind == LINK_EV_FRAME) {
                note(&ev);
            } else if (ev.kind == LINK_EV_CLOSED) {
                h.over = true;
                h.up = false;
            }
        }
        size_t n;
        while (h.link != NULL && !h.over &&
               (n = link_next_out(h.link, out_buf, sizeof out_buf, w->now_ms)) > 0) {
            nw_give(w, h.carrier, out_buf, n);
            link_sent(h.link, n);
            any = true;
        }
    }
}

static void hang_up(void)
{
    if (h.link != NULL) {
        link_free(h.link);
        h.link = NULL;
        w->carriers[h.carrier].open[0] = false;
        if (w->carriers[h.carrier].open[1]) {
            w->carriers[h.carrier].open[1] = false;
            node_closed(w->n[A].node, w->carriers[h.carrier].id[1], w->now_ms);
            nw_drain(w, A);
        }
    }
    h.up = h.over = false;
    h.rx_len = 0;
}

static void ring_up(void)
{
    struct addr from = nw_addr(B);
    hang_up();
    h.counter = h.counter + 1 > w->n[B].env.wall_us(&w->n[B])
                    ? h.counter + 1
                    : w->n[B].env.wall_us(&w->n[B]);
    h.carrier = nw_connect(w, A, &from);
    cr_assert_neq(h.carrier, SIZE_MAX);
    h.link = link_dial(&h.self, &h.as, CARRIER_TCP, h.counter, w->now_ms);
    cr_assert_not_null(h.link);
    h.links++;
    pump();
    cr_assert(h.up, "Bob's keys are valid");
}

static void send_raw(uint8_t type, const uint8_t *p, size_t len)
{
    if (!h.up || h.over) {
        ring_up();
    }
    if (link_send(h.link, LINK_CHAT, (enum frame_type)type, p, len) == ERR_LIMIT) {
        ring_up();
    }
    pump();
}

static void send_wr(uint8_t type, const struct wr *f)
{
    cr_assert(wr_ok(f));
    send_raw(type, payload, f->len);
}

/* ---- the world ---- */

static void check_delivered(int from, int to, uint32_t contact, const char *text)
{
    w->n[from].state = 0;
    nw_say(w, from, 1, contact, text);
    for (int i = 0; i < 60 && w->n[from].state < STATE_DELIVERED; i++) {
        nw_run(w, 1000);
        pump();
    }
    cr_assert_eq(w->n[from].result[1].err, 0);
    cr_assert_str_eq(w->n[to].text, text);
    cr_assert_eq(w->n[from].state, STATE_DELIVERED, "%s", text);
}

static void others_go_on(void)
{
    nw_run(w, 10);
    pump();
    check_delivered(C, A, a_at_c, "from cy");
    check_delivered(A, C, c_at_a, "to cy");
}

static void up(void)
{
    w = malloc(sizeof *w);
    memset(&h, 0, sizeof h);
    h.rx = malloc(RX_MAX);
    cr_assert(w != NULL && h.rx != NULL);
    nw_init(w);
    nw_pair(w, A, B, &b_at_a, &a_at_b);
    nw_pair(w, A, C, &c_at_a, &a_at_c);
    nw_run(w, 10000);
    check_delivered(B, A, a_at_b, "before");
    check_delivered(A, B, b_at_a, "all was well");
    /* Ada is dialled, and does not dial: so Bob's node meets her no more. */
    w->n[A].refuse = w->n[B].refuse = true;
    nw_cut(w);
    nw_run(w, 3000);
    w->heard = heard;
    uint8_t root_sec[64];
    size_t at = 0;
    const struct nw_node *b = &w->n[B];
    const struct rec_contact *ada = contacts_get(node_contacts(b->node), a_at_b);
    const struct rec_device *d =
        contacts_device_next(node_contacts(b->node), a_at_b, &at);
    h.self.env = &b->env;
    keys_root(b->key.seed, h.self.root, root_sec);
    memcpy(h.self.stat_sec, b->key.device_sec, 32);
    keys_public(h.self.stat_sec, h.self.stat_pub);
    h.as.kind = LINK_CONTACT;
    h.as.ref = d->id;
    keys_link_pair(ada->pair, h.self.stat_pub, d->stat, &h.as.keys);
    memcpy(h.as.remote_static, d->stat, 32);
    memcpy(h.as.remote_root, ada->root, KEYS_ROOT);
    ring_up();
    memset(digest_buf, 0, sizeof digest_buf[0]);
    memcpy(digest_buf[0].conv, h.cid, WIRE_ID);
    struct wr f = wr_init(payload, sizeof payload);
    wire_digest_put(&f, digest_buf, 1); /* asks for what she has */
    send_wr(FRAME_DIGEST, &f);
    cr_assert_geq(h.n_feeds, 2, "Ada's feed and Bob's");
}

static void down(void)
{
    hang_up();
    nw_release(w);
    free(w);
    free(h.rx);
}

/* Bob comes to his senses: what was said meanwhile is delivered both ways. */
static void bob_returns(void)
{
    hang_up();
    w->n[A].refuse = w->n[B].refuse = false;
    check_delivered(A, B, b_at_a, "are you back?");
    check_delivered(B, A, a_at_b, "sorry for that");
    others_go_on();
}

TestSuite(hostile, .init = up, .fini = down, .timeout = 150);

/* ---- frames ---- */

static const uint8_t types[] = {FRAME_HELLO, FRAME_PAIR, FRAME_PAIRED, FRAME_DIGEST,
                                FRAME_HAVE,  FRAME_WANT, FRAME_ENTRY,  FRAME_READ,
                                19,          36,         49,           64,
                                200,         255};

Test(hostile, junk_in_every_frame)
{
    size_t before = memory();
    for (size_t i = 0; i < sizeof types; i++) {
        for (size_t len = 0; len < 64; len++) {
            randombytes_buf(payload, len);
            send_raw(types[i], payload, len);
        }
        static const size_t lengths[] = {1000, 16384, 65000, WIRE_FRAME_MAX};
        for (size_t k = 0; k < 4; k++) {
            memset(payload, k % 2 == 0 ? 'l' : 'd', lengths[k]);
            send_raw(types[i], payload, lengths[k]);
            memset(payload, '1', lengths[k]);
            send_raw(types[i], payload, lengths[k]);
        }
    }
    others_go_on();
    cr_assert_lt(memory(), before + GROWTH_MAX);
    bob_returns();
}

/* A frame of Bob's, cut at each length and with each byte changed. */
static void torn(uint8_t type, const struct wr *f)
{
    cr_assert(wr_ok(f));
    size_t len = f->len, step = len < 400 ? 1 : len / 400;
    uint8_t *whole = malloc(len);
    memcpy(whole, payload, len);
    for (size_t i = 0; i <= len; i += step) {
        send_raw(type, whole, i);
    }
    for (size_t i = 0; i < len; i += step) {
        memcpy(payload, whole, len);
        payload[i] ^= (uint8_t)(1u << (i % 8));
        send_raw(type, payload, len);
    }
    free(whole);
}

static const struct wire_have_feed *feed_of(int author)
{
    for (size_t i = 0; i < h.n_feeds; i++) {
        if (memcmp(h.feeds[i].device, node_device(w->n[author].node), WIRE_ID) == 0) {
            return &h.feeds[i];
        }
    }
    cr_assert_fail("no feed");
    return NULL;
}

static struct wire_have_feed claim(int author, bool fresh, uint64_t n, uint64_t opened)
{
    struct wire_have_feed v = {.n = n, .opened = opened};
    memcpy(v.device, node_device(w->n[author].node), WIRE_ID);
    if (fresh || author == C) {
        randombytes_buf(v.gen, sizeof v.gen);
    } else {
        memcpy(v.gen, feed_of(author)->gen, sizeof v.gen);
    }
    randombytes_buf(v.id, sizeof v.id);
    return v;
}

static void send_have(struct wire_have_feed *feeds, size_t n, bool end)
{
    struct wire_have v = {.full_end = end, .feeds = feeds, .n_feeds = n};
    struct wr f = wr_init(payload, sizeof payload);
    memcpy(v.conv, h.cid, WIRE_ID);
    wire_have_put(&f, &v);
    send_wr(FRAME_HAVE, &f);
}

Test(hostile, claims_of_all_sizes)
{
    static const uint64_t sizes[] = {1, 2, 1000, UINT32_MAX, INT64_MAX - 1, INT64_MAX};
    size_t before = memory();
    struct wire_have_feed v[WIRE_HAVE_FEEDS_MAX];
    for (unsigned turn = 0; turn < 40; turn++) {
        size_t n = 0;
        for (int author = A; author <= C; author++) {
            for (size_t i = 0; i < 6; i++) {
                v[n] = claim(author, false, sizes[i], sizes[(i + turn) % 6]);
                v[n].opened = v[n].opened > v[n].n ? v[n].n : v[n].opened;
                v[n].frozen = (turn & 1) != 0;
                v[n].closed = (turn & 2) != 0 ? 1 + sizes[i] / 2 : 0;
                v[n].closed = v[n].closed > v[n].n ? v[n].n : v[n].closed;
                n++;
            }
        }
        send_have(v, n, (turn & 4) != 0);
        for (n = 0; n < WIRE_HAVE_FEEDS_MAX; n++) { /* and generations without end */
            v[n] = claim(n % 3 == 0 ? A : B, true, sizes[n % 6], 0);
        }
        send_have(v, n, false);
        if (turn % 10 == 9) {
            hang_up();
            others_go_on();
        }
        nw_run(w, 1500);
        pump();
    }
    cr_assert_lt(memory(), before + GROWTH_MAX);
    bob_returns();
}

Test(hostile, wants_without_end)
{
    size_t before = memory();
    struct wr f;
    struct wire_want v = {.from = 1, .to = INT64_MAX};
    memcpy(v.conv, h.cid, WIRE_ID);
    for (unsigned i = 0; i < 2000; i++) {
        const struct wire_have_feed *fd = feed_of(i % 4 == 3 ? B : A);
        memcpy(v.device, fd->device, WIRE_ID);
        memcpy(v.gen, fd->gen, WIRE_GEN);
        v.from = i % 5 == 4 ? INT64_MAX : 1 + i % 3;
        if (i % 7 == 6) {
            randombytes_buf(v.gen, sizeof v.gen);
        }
        f = wr_init(payload, sizeof payload);
        wire_want_put(&f, &v);
        send_wr(FRAME_WANT, &f);
    }
    nw_run(w, 2000);
    pump();
    cr_assert_gt(h.got[FRAME_ENTRY], 0, "Ada gives what Bob may have");
    cr_assert_eq(h.foreign, 0, "nothing of the conversation with Cy");
    /* What is between Ada and Cy, of which Bob knows the name. */
    const struct nw_node *c = &w->n[C];
    for (size_t i = 0; i < c->n_entries; i++) {
        struct wire_header head;
        cr_assert(wire_header_get(c->entries[i].header.p, c->entries[i].header.n, &head));
        memcpy(v.conv, head.conv, WIRE_ID);
        memcpy(v.device, head.device, WIRE_ID);
        memcpy(v.gen, head.gen, WIRE_GEN);
        v.from = 1;
        f = wr_init(payload, sizeof payload);
        wire_want_put(&f, &v);
        send_wr(FRAME_WANT, &f);
        memset(&digest_buf[0], 0, sizeof digest_buf[0]);
        memcpy(digest_buf[0].conv, head.conv, WIRE_ID);
        f = wr_init(payload, sizeof payload);
        wire_digest_put(&f, digest_buf, 1);
        unsigned told = h.got[FRAME_HAVE];
        send_wr(FRAME_DIGEST, &f);
        cr_assert_eq(h.got[FRAME_HAVE], told, "nothing is told of it either");
    }
    cr_assert_eq(h.foreign, 0);
    cr_assert_lt(memory(), before + GROWTH_MAX);
    torn(FRAME_WANT, &f);
    bob_returns();
}

Test(hostile, digests_without_end)
{
    size_t before = memory();
    for (unsigned i = 0; i < 60; i++) {
        for (size_t k = 0; k < WIRE_DIGESTS_MAX; k++) {
            memcpy(digest_buf[k].conv, h.cid, WIRE_ID);
            randombytes_buf(digest_buf[k].hash, sizeof digest_buf[k].hash);
        }
        struct wr f = wr_init(payload, sizeof payload);
        wire_digest_put(&f, digest_buf, WIRE_DIGESTS_MAX);
        send_wr(FRAME_DIGEST, &f);
    }
    others_go_on();
    cr_assert_lt(memory(), before + GROWTH_MAX);
    bob_returns();
}

Test(hostile, hellos_and_read_marks_of_all_sizes)
{
    size_t before = memory();
    struct wr f;
    for (unsigned i = 0; i < 1000; i++) {
        struct wire_hello v = {.n_addrs = WIRE_ADDRS_MAX,
                               .counter = i % 2 == 0 ? INT64_MAX : i,
                               .presence = i % 3 == 0 ? INT64_MAX : 0};
        for (size_t k = 0; k < WIRE_ADDRS_MAX; k++) {
            v.addrs[k] = (struct addr){.family = 4, .port = 1 + (uint16_t)i};
            randombytes_buf(v.addrs[k].ip, 4);
        }
        f = wr_init(payload, sizeof payload);
        wire_hello_put(&f, &v);
        send_wr(FRAME_HELLO, &f);
        struct wire_read r = {.feeds = read_buf, .n_feeds = WIRE_HAVE_FEEDS_MAX};
        memcpy(r.conv, h.cid, WIRE_ID);
        for (size_t k = 0; k < WIRE_HAVE_FEEDS_MAX; k++) {
            const struct wire_have_feed *fd = feed_of(k % 2 == 0 ? A : B);
            memcpy(read_buf[k].device, fd->device, WIRE_ID);
            memcpy(read_buf[k].gen, fd->gen, WIRE_GEN);
            read_buf[k].seq = k % 3 == 0 ? INT64_MAX : k;
            if (k > 200) {
                randombytes_buf(read_buf[k].gen, WIRE_GEN);
            }
        }
        f = wr_init(payload, sizeof payload);
        wire_read_put(&f, &r);
        send_wr(FRAME_READ, &f);
    }
    cr_assert_lt(memory(), before + GROWTH_MAX);
    cr_assert_lt(w->n_carriers, 200, "dials that Bob made Ada try");
    f = wr_init(payload, sizeof payload);
    wire_hello_put(&f, &(struct wire_hello){.counter = 5});
    torn(FRAME_HELLO, &f);
    others_go_on();
    bob_returns();
}

/* ---- entries ---- */

/* An entry that Bob's node made. */
static struct wire_entry entry_of(size_t k, struct wire_header *head)
{
    const struct rec_entry *e = &w->n[B].entries[k];
    struct wire_entry v = {.header = e->header.p,
                           .header_len = e->header.n,
                           .box = e->box.p,
                           .box_len = e->box.n,
                           .has_self = e->has_self,
                           .has_sig = e->has_sig};
    memcpy(v.self, e->self, sizeof v.self);
    memcpy(v.sig, e->sig, sizeof v.sig);
    cr_assert(wire_header_get(v.header, v.header_len, head));
    return v;
}

static void send_entry(struct wire_entry v, const struct wire_header *head)
{
    uint8_t bytes[WIRE_HEADER_MAX];
    if (head != NULL) {
        struct wr f = wr_init(bytes, sizeof bytes);
        wire_header_put(&f, head, true);
        if (!wr_ok(&f)) {
            return; /* what nobody can encode */
        }
        v.header = bytes;
        v.header_len = f.len;
    }
    struct wr f = wr_init(payload, sizeof payload);
    wire_entry_put(&f, &v);
    if (wr_ok(&f)) {
        send_raw(FRAME_ENTRY, payload, f.len);
    }
}

/* The same entry with one thing in its header, or beside it, changed. */
static void changed(const struct wire_entry *v, const struct wire_header *was)
{
    static const uint64_t numbers[] = {
        0, 1, 2, UINT32_MAX, 1u << 31, UINT64_C(1) << 53, INT64_MAX, INT64_MAX - 1};
    struct wire_header x;
    struct wire_entry e = *v;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        uint64_t n = numbers[i];
        x = *was, x.seq = n, send_entry(*v, &x);
        x.chain = n, send_entry(*v, &x);
        x = *was, x.order = n, send_entry(*v, &x);
        x.order = n + 1, send_entry(*v, &x);
        x = *was, x.chain = n, send_entry(*v, &x);
        x = *was, x.n_parents = WIRE_PARENTS_MAX;
        for (size_t k = 0; k < WIRE_PARENTS_MAX; k++) {
            memset(&x.parents[k], (int)k, sizeof x.parents[k]);
            x.parents[k].seq = n;
        }
        send_entry(*v, &x);
        x = *was, x.n_parents = 1; /* of Ada's feed, far ahead */
        memcpy(x.parents[0].gen, feed_of(A)->gen, WIRE_GEN);
        x.parents[0].seq = n, send_entry(*v, &x);
        x = *was, randombytes_buf(x.gen, sizeof x.gen), x.seq = n, send_entry(*v, &x);
    }
    x = *was, x.prev[0] ^= 1, send_entry(*v, &x);
    x = *was, x.box_hash[0] ^= 1, send_entry(*v, &x);
    x = *was, x.conv[0] ^= 1, send_entry(*v, &x);
    x = *was, memcpy(x.device, node_device(w->n[A].node), WIRE_ID), send_entry(*v, &x);
    x = *was, memcpy(x.device, node_device(w->n[C].node), WIRE_ID), send_entry(*v, &x);
    e.box = NULL, e.box_len = 0, send_entry(e, NULL), e = *v;
    e.box_len--, send_entry(e, NULL), e = *v;
    e.has_self = true, randombytes_buf(e.self, sizeof e.self), send_entry(e, NULL),
    e = *v;
    e.has_sig = true, randombytes_buf(e.sig, sizeof e.sig), send_entry(e, NULL);
}

Test(hostile, entries_of_every_kind)
{
    size_t before = memory(), n = w->n[B].n_entries;
    struct wire_header head;
    cr_assert_gt(n, 0);
    for (unsigned turn = 0; turn < 3; turn++) {
        for (size_t k = 0; k < n; k++) {
            struct wire_entry v = entry_of(k, &head);
            send_entry(v, NULL); /* the same again */
            if (memcmp(head.conv, h.cid, WIRE_ID) == 0) {
                changed(&v, &head);
            }
        }
        others_go_on();
    }
    for (unsigned i = 0; i < 500; i++) { /* generations without end */
        struct wire_entry v = entry_of(i % n, &head);
        randombytes_buf(head.gen, sizeof head.gen);
        send_entry(v, &head);
    }
    struct wire_entry v = entry_of(n - 1, &head);
    struct wr f = wr_init(payload, sizeof payload);
    wire_entry_put(&f, &v);
    torn(FRAME_ENTRY, &f);
    cr_assert_lt(memory(), before + GROWTH_MAX);
    bob_returns();
}

/* Links made and left as fast as the protocol allows. */
Test(hostile, links_by_the_hundred)
{
    size_t before = memory();
    for (unsigned i = 0; i < 600; i++) {
        if (i % 2 == 0) {
            ring_up();
        } else { /* and some without an end */
            struct addr from = nw_addr(B);
            h.counter++;
            size_t c = nw_connect(w, A, &from);
            struct link *l = link_dial(&h.self, &h.as, CARRIER_TCP, h.counter, w->now_ms);
            cr_assert_not_null(l);
            size_t n = link_next_out(l, out_buf, sizeof out_buf, w->now_ms);
            link_free(l);
            if (c != SIZE_MAX) {
                nw_give(w, c, out_buf, n);
            }
        }
    }
    others_go_on();
    cr_assert_lt(memory(), before + GROWTH_MAX);
    bob_returns();
}

/* Bob's clock stands at the end of time: his entries carry the largest order there is.
 * Ada takes them, and both can go on writing. */
Test(hostile, an_order_at_the_end_of_time)
{
    hang_up();
    w->n[B].skew_us = (UINT64_C(1) << 63) - UINT64_C(1800000000000000);
    w->n[A].refuse = w->n[B].refuse = false;
    check_delivered(B, A, a_at_b, "I come from the future");
    check_delivered(A, B, b_at_a, "can I still write?");
    check_delivered(A, B, b_at_a, "and again?");
    check_delivered(B, A, a_at_b, "so can I");
    w->n[B].skew_us = 0;
    check_delivered(B, A, a_at_b, "back in the present");
    check_delivered(A, B, b_at_a, "welcome");
    others_go_on();
}
