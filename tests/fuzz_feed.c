/* Any frames from a linked contact, in a conversation (of two, of three) that has a
 * history: nothing may break, and what is ours goes on.
 *
 * Input: frames of type byte ‖ length (2, big-endian) ‖ payload, the type taken modulo
 * the known ones. In a payload, "@c" stands for the conversation's id, "@d" "@e" "@f" for
 * the devices', "@1" to "@3" for their generations, so that inputs get past the lookups.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "feed_harness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct names {
    uint8_t conv[WIRE_ID], device[3][WIRE_ID], gen[3][WIRE_GEN];
};

/* What node 0 has in its store after a conversation; made once for each number of
 * members, so that an input costs little. */
enum { RECS = 64, FEEDS = 8 };
struct base {
    struct hnet *h; /* keys of the nodes; its own feeds are not used any more */
    struct names names;
    struct rec recs[RECS];
    size_t n;
    struct store_entries entries[FEEDS];
};

static int keep_rec(void *ctx, const struct rec *r)
{
    struct base *b = ctx;
    if (r->kind != REC_BOXKEY && r->kind != REC_CONV && r->kind != REC_FEED &&
        r->kind != REC_HAVE) {
        return 0;
    }
    assert(b->n < RECS);
    struct rec *copy = &b->recs[b->n++];
    *copy = *r;
    if (r->kind == REC_CONV) {
        bool ok =
            blob_set(&copy->u.conv.members, r->u.conv.members.p, r->u.conv.members.n);
        assert(ok);
        memcpy(b->names.conv, r->u.conv.cid, WIRE_ID);
    }
    return 0;
}

static void make_base(struct base *b, size_t nodes)
{
    struct hnet *h = b->h = harness_new(nodes, 7);
    harness_mesh(h);
    (void)harness_run(h, 1000);
    for (unsigned i = 0; i < 6; i++) {
        harness_say(&h->node[i % nodes], i + 1);
        (void)harness_run(h, 1000);
    }
    struct hnode *n = &h->node[0];
    int err = store_load(n->store, keep_rec, b);
    assert(err == 0);
    for (size_t i = 0; i < nodes; i++) {
        const struct rec_feed *r = harness_feed(n, i, 0);
        assert(r != NULL && r->id < FEEDS);
        memcpy(b->names.device[i], h->node[i].device, WIRE_ID);
        memcpy(b->names.gen[i], r->gen, WIRE_GEN);
        err = store_entries(n->store, r->id, 1, 100, 100, 1 << 20, &b->entries[r->id]);
        assert(err == 0);
    }
}

/* Copies a payload, with names in the place of their short forms. */
static size_t expand(const struct names *v, const uint8_t *p, size_t n, uint8_t *out,
                     size_t cap)
{
    struct wr w = wr_init(out, cap);
    for (size_t i = 0; i < n; i++) {
        uint8_t k = p[i] == '@' && i + 1 < n ? p[i + 1] : 0;
        if (k == 'c') {
            wr_bytes(&w, v->conv, WIRE_ID);
        } else if (k >= 'd' && k <= 'f') {
            wr_bytes(&w, v->device[k - 'd'], WIRE_ID);
        } else if (k >= '1' && k <= '3') {
            wr_bytes(&w, v->gen[k - '1'], WIRE_GEN);
        } else {
            wr_u8(&w, p[i]);
            continue;
        }
        i++;
    }
    return wr_ok(&w) ? w.len : 0;
}

static void settle(struct feeds *f, struct txn *t, struct base *b, uint64_t now_ms)
{
    struct feeds_event ev;
    struct feeds_out o;
    for (unsigned turn = 0; turn < 1000; turn++) {
        bool any = false;
        while (feeds_next_out(f, &o)) {
            any = true;
        }
        while (feeds_next_event(f, &ev)) {
            any = true;
            if (ev.kind != FEEDS_EV_LOAD) {
                continue;
            }
            const struct store_entries *e = ev.feed < FEEDS ? &b->entries[ev.feed] : NULL;
            size_t n = e == NULL || ev.from > e->n ? 0 : e->n - (size_t)ev.from + 1;
            n = n > ev.to - ev.from + 1 ? (size_t)(ev.to - ev.from + 1) : n;
            (void)feeds_loaded(f, t, ev.request, n == 0 ? NULL : e->v + ev.from - 1, n,
                               now_ms);
        }
        txn_release(t);
        if (!any) {
            return;
        }
    }
    abort(); /* it never comes to rest */
}

static struct feeds *start(struct base *b, struct txn *t)
{
    const struct hnode *own = &b->h->node[0];
    b->h->seed = 7;
    struct feeds_self self = {.env = &b->h->env, .device_ref = 1};
    memcpy(self.root, own->root, 32);
    memcpy(self.device, own->device, 32);
    memcpy(self.stat_sec, own->stat_sec, 32);
    memcpy(self.self_key, own->self_key, 32);
    struct feeds *f = feeds_new(&self);
    assert(f != NULL);
    for (size_t i = 1; i < b->h->n; i++) {
        const struct hnode *o = &b->h->node[i];
        uint8_t pair[KEYS_PAIR_SECRET] = {1};
        struct feeds_device d = {
            .ref = (uint32_t)i + 2, .contact = (uint32_t)i + 1, .box_time = o->box_time};
        memcpy(d.root, o->root, 32);
        memcpy(d.device, o->device, 32);
        memcpy(d.stat, o->stat, 32);
        memcpy(d.box, o->box, 32);
        int err = feeds_device_put(f, &d);
        err = err == 0 ? feeds_pair_put(f, d.contact, d.root, pair) : err;
        assert(err == 0);
    }
    for (size_t i = 0; i < b->n; i++) {
        int err = feeds_load(f, &b->recs[i]);
        assert(err == 0);
    }
    int err = feeds_start(f, t, 1000);
    assert(err == 0);
    feeds_peer_up(f, 3, 1000);
    settle(f, t, b, 1000);
    return f;
}

static void run(struct base *b, const uint8_t *data, size_t size)
{
    static const uint8_t types[] = {FRAME_DIGEST, FRAME_HAVE, FRAME_WANT,
                                    FRAME_ENTRY,  FRAME_READ, 47};
    static uint8_t payload[WIRE_FRAME_MAX];
    struct txn t = {0};
    struct feeds *f = start(b, &t);
    struct rd r = rd_init(data, size);
    for (unsigned k = 0; r.n > 0 && k < 64; k++) {
        uint8_t type = types[rd_u8(&r) % sizeof types];
        size_t len = rd_u16(&r);
        len = len < r.n ? len : r.n;
        const uint8_t *p = rd_bytes(&r, len);
        if (p == NULL) {
            break;
        }
        len = expand(&b->names, p, len, payload, sizeof payload);
        (void)feeds_recv(f, &t, 3, type, payload, len, 1000);
        settle(f, &t, b, 1000);
    }
    uint64_t now = 1000;
    for (unsigned i = 0; i < 200 && feeds_deadline(f) < 200000; i++) {
        now = feeds_deadline(f) > now ? feeds_deadline(f) : now;
        feeds_tick(f, &t, now);
        settle(f, &t, b, now);
    }
    assert(feeds_deadline(f) > 200000 || now > 1000);
    uint8_t mid[WIRE_MID]; /* whatever was claimed, we write on */
    int err = feeds_send_text(f, &t, 1, (const uint8_t *)"8", 1, NULL, mid, now);
    assert(err == 0);
    settle(f, &t, b, now);
    feeds_free(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct base bases[2];
    if (size == 0) {
        return 0;
    }
    struct base *b = &bases[data[0] % 2];
    if (b->h == NULL) {
        make_base(b, 2 + data[0] % 2);
    }
    run(b, data + 1, size - 1);
    return 0;
}
