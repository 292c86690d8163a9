/* What one member, or device, can take of what is shared by all: buffers, memory, the
 * quota, the rate. None of them stops what others send or take. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "xfer_priv.h"
#include "xfer_world.h"

enum { MIB = 1024 * 1024, SECOND = 1000, HOUR = 3600 * SECOND };

struct sent {
    uint8_t p[XFER_FRAME_MAX];
    struct wr w;
};

static struct xw *world(size_t n)
{
    struct xw *w = xw_new(n, 3);
    for (size_t i = 0; i < n; i++) {
        w->node[i].disk.quick = true;
    }
    return w;
}

static void policy(struct xw *w, uint64_t max, uint64_t quota)
{
    w->node[1].policy = (struct xfer_policy){XFER_ACCEPT_CONTACTS, max, quota};
    xfer_set_policy(w->node[1].x, &w->node[1].policy);
}

static void recv_ok(struct xw *w, size_t to, size_t from, uint8_t type,
                    const struct sent *s)
{
    cr_assert(wr_ok(&s->w));
    cr_assert_eq(xw_recv(w, to, from, type, s->p, s->w.len), 0);
}

static void leaf_begins(struct xw *w, size_t from, uint32_t handle)
{
    struct sent s;
    struct wire_file_leaf v = {.handle = handle, .len = MIB};
    s.w = wr_init(s.p, sizeof s.p);
    wire_file_leaf_put(&s.w, &v);
    recv_ok(w, 1, from, FRAME_FILE_LEAF, &s);
}

static void one_byte(struct xw *w, size_t from, uint32_t handle, uint32_t offset)
{
    static const uint8_t zero;
    struct sent s;
    struct wire_file_data v = {
        .handle = handle, .offset = offset, .data = &zero, .len = 1};
    s.w = wr_init(s.p, sizeof s.p);
    wire_file_data_put(&s.w, &v);
    recv_ok(w, 1, from, FRAME_FILE_DATA, &s);
}

static struct source *source_at(const struct xw *w, struct file *f, size_t from)
{
    struct source *s = f->get->sources;
    while (s->peer != xpeer_get(w->node[1].x, 100 + (uint32_t)from)) {
        s = s->next;
    }
    return s;
}

static struct file *file_at(struct xw *w, size_t author, const uint8_t *mid)
{
    return file_by_key(w->node[1].x, (uint32_t)author + 1, mid);
}

static void wants(struct xw *w, size_t to, size_t from, const uint8_t *mid, bool list)
{
    struct sent s;
    struct wire_file_want v = {.handle = 7 + list, .ranges = {{0, 4}}, .lists = {0}};
    v.n_lists = list;
    v.n_ranges = !list;
    xw_root(to, v.author);
    memcpy(v.mid, mid, sizeof v.mid);
    s.w = wr_init(s.p, sizeof s.p);
    wire_file_want_put(&s.w, &v);
    recv_ok(w, to, from, FRAME_FILE_WANT, &s);
}

static void says(struct xw *w, size_t to, size_t from, const uint8_t *mid,
                 enum file_word word)
{
    struct sent s;
    struct wire_file_state v = {.state = word};
    xw_root(to == 1 ? from : to, v.author);
    memcpy(v.mid, mid, sizeof v.mid);
    s.w = wr_init(s.p, sizeof s.p);
    wire_file_state_put(&s.w, &v);
    recv_ok(w, to, from, FRAME_FILE_STATE, &s);
}

/* ---- buffers ---- */

/* The last buffer may go to a hash that was lost while a read is being looked for. */
Test(xfer_share, hashes_that_were_lost_beside_leaves)
{
    struct xw *w = world(3);
    uint8_t whole[WIRE_MID];
    xw_mesh(w);
    xw_offer(w, 0, 40 * MIB);
    memcpy(whole, w->node[0].mid, WIRE_MID);
    cr_assert_eq(xw_accept(w, 1, whole), 0);
    xw_settle(w);
    xw_offer(w, 0, 12 * MIB);
    const uint8_t *mid = w->node[0].mid;
    xw_kill(w, 0, true);
    struct disk_note *n = disk_note(&w->node[0].disk, whole, false);
    for (size_t i = 0; i < n->n_leaves; i++) {
        n->leaf[i].known = false;
    }
    xw_start(w, 0);
    xw_link(w, 0, 2);
    xw_settle(w);
    w->node[0].held[2] = true;
    wants(w, 0, 2, mid, false);
    wants(w, 0, 2, whole, true);
    for (unsigned k = 0; k < 2000; k++) {
        if (xw_rand(w, 3) == 0) {
            says(w, 0, 2, mid, FILE_WORD_PAUSED);
            wants(w, 0, 2, mid, false);
        }
        (void)xw_step(w);
    }
    xw_free(w);
}

/* Streams that have begun a leaf each and go on with a byte now and then. */
Test(xfer_share, streams_do_not_take_the_buffers_of_files)
{
    enum { STREAMS = XFER_BUFFERS };
    struct xw *w = world(3);
    xw_mesh(w);
    for (unsigned k = 0; k < STREAMS; k++) {
        cr_assert_eq(xw_scan(w, 0, 1, NULL, "input"), 0);
        xw_settle(w);
        cr_assert_eq(xw_accept(w, 1, w->node[0].mid), 0);
        xw_settle(w);
        uint32_t h = source_at(w, file_at(w, 0, w->node[0].mid), 0)->handle;
        leaf_begins(w, 0, h);
        one_byte(w, 0, h, 0);
    }
    cr_expect_eq(w->node[1].x->bufs[BUF_STREAM], XFER_STREAM_WINDOW);
    cr_expect_eq(w->node[1].x->bufs[BUF_IN], 0);
    xw_offer(w, 2, 4 * MIB);
    cr_assert_eq(xw_accept(w, 1, w->node[2].mid), 0);
    xw_settle(w);
    cr_expect_eq(xw_state(w, 1, w->node[2].mid), FILE_DONE);
    cr_expect_eq(xw_leaves(w, 2, 1), 4);
    /* Nor do those that stand still keep another stream waiting. */
    cr_assert_eq(xw_scan(w, 2, 1, NULL, "input"), 0);
    xw_settle(w);
    const uint8_t *mid = w->node[2].mid;
    cr_assert_eq(xw_accept(w, 1, mid), 0);
    cr_assert_eq(xw_spool(w, 2, mid, 3 * MIB, true), 0);
    xw_pass(w, 4 * XFER_TURN_MS);
    cr_expect_eq(xw_state(w, 1, mid), FILE_DONE);
    cr_expect_leq(xw_leaves(w, 2, 1), 4 + 3 + 2 * XFER_TURN_MS / XFER_TELL_MS);
    xw_free(w);
}

/* The first one has all buffers and sends a byte a minute. */
Test(xfer_share, a_byte_a_minute_holds_nobody_up)
{
    struct xw *w = world(3);
    xw_mesh(w);
    xw_offer(w, 0, 40 * MIB);
    const uint8_t *mid = w->node[0].mid;
    w->node[0].held[1] = true;
    cr_assert_eq(xw_accept(w, 1, mid), 0);
    xw_settle(w);
    struct file *f = file_at(w, 0, mid);
    cr_assert_eq(f->get->n_asks, XFER_WINDOW);
    leaf_begins(w, 0, source_at(w, f, 0)->handle);
    xw_offer(w, 2, 40 * MIB);
    cr_assert_eq(xw_accept(w, 1, w->node[2].mid), 0);
    for (uint32_t k = 0; k < 5; k++) {
        one_byte(w, 0, source_at(w, f, 0)->handle, k);
        xw_pass(w, XFER_TURN_MS / 4);
    }
    xw_settle(w);
    cr_expect_eq(xw_state(w, 1, w->node[2].mid), FILE_DONE);
    cr_expect_eq(xw_leaves(w, 2, 1), 40);
    w->node[0].held[1] = false;
    xw_pass(w, 2 * XFER_ANSWER_MS);
    cr_expect_eq(xw_state(w, 1, mid), FILE_DONE, "it is slow, and not given up");
    xw_free(w);
}

/* Links that do not take what was read for them. */
Test(xfer_share, links_that_stand_still_make_room)
{
    struct xw *w = world(5);
    xw_offer(w, 0, 20 * MIB);
    const uint8_t *mid = w->node[0].mid;
    for (size_t i = 1; i < 5; i++) {
        xw_link(w, 0, i);
        xw_settle(w);
    }
    for (size_t i = 1; i < 5; i++) {
        w->node[0].held[i] = i < 4;
        cr_assert_eq(xw_accept(w, i, mid), 0);
        xw_settle(w);
    }
    cr_expect_eq(w->node[0].x->bufs[BUF_OUT], XFER_BUFFERS);
    xw_pass(w, 2 * XFER_TURN_MS);
    cr_expect_eq(xw_state(w, 4, mid), FILE_DONE);
    for (size_t i = 1; i < 4; i++) {
        w->node[0].held[i] = false;
    }
    xw_pass(w, 2 * XFER_ANSWER_MS);
    for (size_t i = 1; i < 4; i++) {
        cr_expect_eq(xw_state(w, i, mid), FILE_DONE);
    }
    xw_free(w);
}

/* ---- memory ---- */

static void sealed_stream(struct xw *w, uint32_t k)
{
    struct wire_body b = {
        .kind = BODY_OFFER, .text = (const uint8_t *)"all", .text_len = 3};
    struct wire_body s = {.kind = BODY_SEALED, .size = WIRE_FILE_SIZE_MAX};
    memcpy(b.mid, &k, sizeof k);
    memcpy(s.target, &k, sizeof k);
    xw_say(w, 0, 1, &b);
    xw_say(w, 0, 1, &s);
}

static size_t bits_of_all(const struct xw *w)
{
    size_t sum = 0;
    for (const struct file *f = w->node[1].x->files; f != NULL; f = f->next) {
        sum += (size_t)(f->n_bits / 8);
    }
    return sum;
}

Test(xfer_share, what_a_seal_says_costs_no_memory)
{
    struct xw *w = world(2);
    xw_mesh(w);
    w->node[1].held[0] = true; /* its author does not say that it has none of it */
    for (unsigned k = 0; k < 2; k++) {
        policy(w, k == 0 ? 100 * MIB : UINT64_MAX, UINT64_MAX);
        for (uint32_t i = 0; i < 50; i++) {
            sealed_stream(w, 100 * k + i);
        }
        xw_settle(w);
    }
    cr_expect_eq(bits_of_all(w), 0);
    xw_kill(w, 1, false);
    xw_start(w, 1);
    xw_settle(w);
    cr_expect_eq(bits_of_all(w), 0);
    cr_expect_eq(w->node[1].x->n_open, 100);
    xw_free(w);
}

Test(xfer_share, one_contact_does_not_fill_the_table)
{
    struct xw *w = world(2);
    policy(w, UINT64_MAX, UINT64_MAX);
    size_t asked = 0;
    for (uint32_t k = 0; k < XFER_AUTO_MAX + 5; k++) {
        struct wire_body b = {.kind = BODY_OFFER,
                              .text = (const uint8_t *)"a",
                              .text_len = 1,
                              .has_size = true,
                              .size = 1};
        struct txn t = {0};
        memcpy(b.mid, &k, sizeof k);
        struct xfer_said v = {.conv = 1, .contact = 1, .device = 100, .body = &b};
        xw_after(&w->node[1], &t, xfer_said(w->node[1].x, &t, &v, w->now_ms));
        struct disk *d = &w->node[1].disk;
        w->node[1].jobs_held = true;
        while (d->n_jobs > 0) { /* OPEN of each, which is never done */
            free(d->job[--d->n_jobs].bits);
        }
    }
    for (const struct file *f = w->node[1].x->files; f != NULL; f = f->next) {
        asked += f->r.state == FILE_OFFERED;
    }
    cr_expect_eq(asked, 5);
    xw_free(w);
}

/* ---- what is durable ---- */

/* Found by their hashes after a kill: written, and never synced. */
Test(xfer_share, what_a_kill_left_is_synced_before_it_is_told)
{
    struct xw *w = world(2);
    xw_mesh(w);
    xw_offer(w, 0, 12 * MIB);
    const uint8_t *mid = w->node[0].mid;
    cr_assert_eq(xw_accept(w, 1, mid), 0);
    cr_assert(xw_until(w, 1, mid, 12));
    xw_kill(w, 1, false);
    const struct disk *d = &w->node[1].disk;
    unsigned before = (unsigned)d->done[XFER_JOB_SYNC];
    cr_expect_eq(before, 0);
    xw_start(w, 1);
    xw_link(w, 0, 1);
    while (d->done[XFER_JOB_FINISH] == 0) {
        cr_assert(xw_step(w));
        const struct file *f = file_at(w, 0, mid);
        bool synced = d->done[XFER_JOB_SYNC] > before;
        cr_assert(synced || get_durable(f) == 0);
    }
    cr_expect_gt(d->done[XFER_JOB_SYNC], before);
    xw_settle(w);
    cr_expect(xw_equal(w, 1, 0, mid));
    xw_free(w);
}

/* ---- the quota and the rate ---- */

/* A stream may be open for days: what comes of it later counts then. */
Test(xfer_share, an_old_stream_counts_as_it_comes)
{
    struct xw *w = world(2);
    struct xfer_view v;
    xw_mesh(w);
    policy(w, UINT64_MAX, 4 * MIB);
    cr_assert_eq(xw_scan(w, 0, 1, NULL, "input"), 0);
    xw_settle(w);
    const uint8_t *mid = w->node[0].mid;
    for (unsigned k = 0; k < 25; k++) {
        xw_pass(w, HOUR);
    }
    cr_assert_eq(xw_spool(w, 0, mid, 40 * MIB, false), 0);
    xw_pass(w, 10 * SECOND);
    cr_assert(xw_view(w, 1, mid, &v));
    cr_expect_eq(v.phase, XFER_PHASE_PAUSED);
    cr_expect_leq(v.done, (4 + 1 + XFER_STREAM_WINDOW) * MIB);
    xw_free(w);
}

/* A member who says no to what it was asked for, and offers it again, over and over. */
Test(xfer_share, the_rate_is_not_spent_on_what_does_not_come)
{
    struct xw *w = world(3);
    struct xfer_view v;
    xw_mesh(w);
    xw_offer(w, 0, 40 * MIB);
    xw_offer(w, 2, 40 * MIB);
    const uint8_t *evil = w->node[0].mid, *mid = w->node[2].mid;
    w->node[0].held[1] = true;
    xfer_limit(w->node[1].x, MIB / 10, w->now_ms);
    cr_assert_eq(xw_accept(w, 1, evil), 0);
    cr_assert_eq(xw_accept(w, 1, mid), 0);
    struct file *f = file_at(w, 0, evil);
    for (unsigned k = 0; k < 600; k++) {
        struct source *s = source_at(w, f, 0);
        if (s->under_way > 0) {
            struct sent n;
            struct wire_file_no no = {.handle = s->handle, .reason = FILE_NO_PAUSED};
            n.w = wr_init(n.p, sizeof n.p);
            wire_file_no_put(&n.w, &no);
            recv_ok(w, 1, 0, FRAME_FILE_NO, &n);
            says(w, 1, 0, evil, FILE_WORD_ACTIVE);
        }
        xw_pass(w, 200);
    }
    cr_assert(xw_view(w, 1, mid, &v)); /* two minutes, half of 12 MiB */
    cr_expect_geq(v.received, 5);
    xw_free(w);
}
