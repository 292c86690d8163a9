/* Members who break the rules, or lie, and what becomes of it: their links end, they are
 * refused, or the file is broken; nothing of it harms anybody else. */
#include <criterion/criterion.h>

#include <string.h>

#include "xfer_priv.h"
#include "xfer_world.h"

enum { MIB = 1024 * 1024, LEAVES = 12, SECOND = 1000 };

/* What a test sends in the name of a node. */
struct sent {
    uint8_t p[XFER_FRAME_MAX];
    struct wr w;
};

static int leaf(struct xw *w, size_t from, struct wire_file_leaf v)
{
    struct sent s;
    s.w = wr_init(s.p, sizeof s.p);
    wire_file_leaf_put(&s.w, &v);
    return xw_recv(w, 1, from, FRAME_FILE_LEAF, s.p, s.w.len);
}

static int data(struct xw *w, size_t from, uint32_t handle, uint32_t n, uint32_t offset)
{
    struct sent s;
    struct wire_file_data v = {
        .handle = handle, .leaf = n, .offset = offset, .data = s.p + 1000, .len = 100};
    memset(s.p, 0, sizeof s.p);
    s.w = wr_init(s.p, 500);
    wire_file_data_put(&s.w, &v);
    return xw_recv(w, 1, from, FRAME_FILE_DATA, s.p, s.w.len);
}

static int want(struct xw *w, size_t to, size_t from, const struct wire_file_want *v)
{
    struct sent s;
    s.w = wr_init(s.p, sizeof s.p);
    wire_file_want_put(&s.w, v);
    cr_assert(wr_ok(&s.w));
    return xw_recv(w, to, from, FRAME_FILE_WANT, s.p, s.w.len);
}

static struct wire_file_want want_of(size_t author, const uint8_t *mid, uint32_t handle)
{
    struct wire_file_want v = {.handle = handle, .n_ranges = 1, .ranges = {{0, 1}}};
    xw_root(author, v.author);
    memcpy(v.mid, mid, sizeof v.mid);
    return v;
}

/* The reason of the next NO that a node has for another; 0: there is none. */
static unsigned no(struct xw *w, size_t from, size_t to)
{
    struct wire_file_no v;
    for (const struct xw_frame *f = w->node[from].first[to]; f != NULL; f = f->next) {
        if (f->type == FRAME_FILE_NO) {
            cr_assert(wire_file_no_get(f->bytes, f->len, &v));
            return (unsigned)v.reason;
        }
    }
    return 0;
}

/* Node 0 has offered to node 1, who has asked for the first leaves; what node 0 answers
 * is held back. handle: of node 1's requests. */
static struct xw *asked_among(size_t nodes, size_t len, uint32_t *handle)
{
    struct xw *w = xw_new(nodes, 3);
    xw_mesh(w);
    w->node[0].disk.quick = w->node[1].disk.quick = true;
    xw_offer(w, 0, len);
    w->node[0].held[1] = true;
    cr_assert_eq(xw_accept(w, 1, w->node[0].mid), 0);
    w->node[1].held[0] = true;
    xw_settle(w);
    struct wire_file_want v;
    for (const struct xw_frame *f = w->node[1].first[0]; f != NULL; f = f->next) {
        if (f->type == FRAME_FILE_WANT) {
            cr_assert(wire_file_want_get(f->bytes, f->len, &v));
            *handle = v.handle;
        }
    }
    return w;
}

static struct xw *asked(size_t len, uint32_t *handle)
{
    return asked_among(2, len, handle);
}

/* ---- frames ---- */

Test(xfer_hostile, data_for_nothing_is_ignored)
{
    uint32_t h;
    struct xw *w = asked(LEAVES * MIB, &h);
    cr_expect_eq(data(w, 0, h + 9, 0, 0), 0);
    cr_expect_eq(leaf(w, 0, (struct wire_file_leaf){.handle = h + 9, .len = MIB}), 0);
    cr_expect_eq(data(w, 0, h, 0, 0), 0); /* before its LEAF */
    cr_expect_eq(leaf(w, 0, (struct wire_file_leaf){h, 11, MIB, {0}}), 0); /* not asked */
    cr_expect_eq(data(w, 0, h, 11, 0), 0);
    cr_expect_eq(leaf(w, 0, (struct wire_file_leaf){h, LEAVES, MIB, {0}}), 0);
    cr_expect_eq(leaf(w, 0, (struct wire_file_leaf){h, 1 << 23, MIB, {0}}), 0);
    cr_expect_eq(w->node[1].x->bufs[BUF_IN], 0);
    w->node[0].held[1] = w->node[1].held[0] = false;
    xw_settle(w);
    cr_expect(xw_equal(w, 1, 0, w->node[0].mid));
    xw_free(w);
}

/* What lies at the path of a file that was taken in is none of its author's business. */
Test(xfer_hostile, who_sent_a_file_is_not_given_it)
{
    for (size_t n = 2; n <= 3; n++) {
        struct xw *w = xw_new(n, 3);
        xw_mesh(w);
        xw_offer(w, 0, LEAVES * MIB);
        const uint8_t *mid = w->node[0].mid;
        cr_assert_eq(xw_accept(w, 1, mid), 0);
        xw_settle(w);
        cr_assert_eq(xw_state(w, 1, mid), FILE_DONE);
        size_t from = n == 2 ? 0 : 2; /* the author; others of a group are given it */
        w->node[1].held[from] = true;
        struct wire_file_want v = want_of(0, mid, 77);
        cr_assert_eq(want(w, 1, from, &v), 0);
        cr_expect_eq(no(w, 1, from), n == 2 ? FILE_NO_GONE : 0);
        xw_free(w);
    }
}

static void bare_offer(struct xw *w, size_t by, const uint8_t mid[WIRE_MID],
                       uint64_t size)
{
    struct wire_body b = {.kind = BODY_OFFER,
                          .text = (const uint8_t *)"x",
                          .text_len = 1,
                          .has_size = true,
                          .size = size};
    memcpy(b.mid, mid, WIRE_MID);
    xw_say(w, by, 1, &b);
    xw_settle(w);
}

/* An offer that has the id of another one, of ours or of somebody else's, touches nothing
 * that is kept for that. */
Test(xfer_hostile, the_id_of_another_offer)
{
    struct xw *w = xw_new(3, 3);
    xw_mesh(w);
    w->node[1].policy = (struct xfer_policy){XFER_ACCEPT_CONTACTS, MIB, UINT64_MAX};
    xfer_set_policy(w->node[1].x, &w->node[1].policy);
    xw_offer(w, 0, LEAVES * MIB);
    const uint8_t *mid = w->node[0].mid;
    cr_assert_eq(xw_accept(w, 1, mid), 0);
    cr_assert(xw_until(w, 1, mid, 3));
    w->node[1].jobs_held = true;
    uint64_t opened = w->node[1].disk.done[XFER_JOB_OPEN];
    bare_offer(w, 2, mid, MIB);
    w->node[1].jobs_held = false;
    xw_settle(w);
    cr_expect_eq(w->node[1].disk.done[XFER_JOB_OPEN], opened + 1);
    cr_expect(xw_equal(w, 1, 0, mid));
    cr_expect_eq(xw_leaves(w, 0, 1), LEAVES);
    xw_offer(w, 1, 3 * MIB);
    const uint8_t *ours = w->node[1].mid;
    bare_offer(w, 2, ours, MIB);
    cr_expect_not_null(disk_note(&w->node[1].disk, ours, false));
    cr_expect_null(disk_note(&w->node[1].disk, ours, true));
    cr_assert_eq(xw_accept(w, 0, ours), 0);
    xw_settle(w);
    cr_expect(xw_equal(w, 0, 1, ours));
    xw_free(w);
}

/* Another member knows the handle, by chance or because it is a small number. */
Test(xfer_hostile, a_handle_is_good_on_its_own_link_only)
{
    uint32_t h;
    struct xw *w = asked_among(3, LEAVES * MIB, &h);
    const uint8_t *mid = w->node[0].mid;
    struct wire_file_no v = {.handle = h, .reason = FILE_NO_GONE};
    struct sent s;
    s.w = wr_init(s.p, sizeof s.p);
    wire_file_no_put(&s.w, &v);
    cr_expect_eq(leaf(w, 2, (struct wire_file_leaf){h, 0, MIB, {0}}), 0);
    cr_expect_eq(w->node[1].x->bufs[BUF_IN], 0);
    cr_expect_eq(xw_recv(w, 1, 2, FRAME_FILE_NO, s.p, s.w.len), 0);
    xw_settle(w);
    cr_expect_eq(xw_state(w, 1, mid), FILE_ACTIVE);
    cr_expect_eq(xw_recv(w, 1, 0, FRAME_FILE_NO, s.p, s.w.len), 0);
    xw_settle(w);
    cr_expect_eq(xw_state(w, 1, mid), FILE_LOST);
    xw_free(w);
}

Test(xfer_hostile, frames_out_of_order_end_the_link)
{
    uint32_t h;
    struct xw *w = asked(LEAVES * MIB, &h);
    struct wire_file_leaf v = {h, 0, MIB, {0}};
    cr_expect_eq(leaf(w, 0, v), 0);
    cr_expect_eq(leaf(w, 0, v), ERR_FORMAT); /* the one before is not complete */
    cr_expect_eq(data(w, 0, h, 1, 0), ERR_FORMAT);
    cr_expect_eq(data(w, 0, h, 0, 5), ERR_FORMAT);
    cr_expect_eq(xw_recv(w, 1, 0, FRAME_FILE_LEAF, NULL, 0), ERR_FORMAT);
    cr_expect_eq(xw_recv(w, 1, 0, FRAME_FILE_DATA, (const uint8_t *)"x", 1), ERR_FORMAT);
    cr_expect_eq(xw_recv(w, 1, 0, FRAME_FILE_WANT, (const uint8_t *)"de", 2), ERR_FORMAT);
    cr_expect_eq(xw_recv(w, 1, 0, 79, NULL, 0), 0); /* of a later version */
    xw_cut(w, 0, 1);
    cr_expect_eq(w->node[1].x->bufs[BUF_IN], 0);
    xw_free(w);
}

Test(xfer_hostile, a_leaf_of_a_wrong_length_is_not_taken)
{
    uint32_t h;
    struct xw *w = asked(LEAVES * MIB - 5, &h);
    for (unsigned k = 0; k < XFER_STRIKES; k++) {
        struct file *f = w->node[1].x->files;
        cr_assert_eq(xw_state(w, 1, w->node[0].mid), FILE_ACTIVE);
        h = f->get->sources->handle;
        cr_expect_eq(leaf(w, 0, (struct wire_file_leaf){h, 0, MIB - 1, {0}}), 0);
        cr_expect_eq(w->node[1].x->bufs[BUF_IN], 0);
    }
    cr_expect_eq(xw_state(w, 1, w->node[0].mid), FILE_BROKEN);
    xw_free(w);
}

/* ---- what is wanted ---- */

Test(xfer_hostile, files_of_others_are_not_given)
{
    struct xw *w = xw_new(3, 3);
    uint32_t two = xw_conv(w, 3); /* of nodes 0 and 1 */
    xw_mesh(w);
    (void)disk_put(&w->node[0].disk, "/src/secret", MIB, 1);
    cr_assert_eq(xw_scan(w, 0, two, "/src/secret", NULL), 0);
    xw_settle(w);
    struct wire_file_want v = want_of(0, w->node[0].mid, 7);
    w->node[0].held[2] = true;
    cr_expect_eq(want(w, 0, 2, &v), 0);
    cr_expect_eq(no(w, 0, 2), FILE_NO_GONE);
    v.mid[0] ^= 1; /* there is none */
    w->node[0].held[1] = true;
    cr_expect_eq(want(w, 0, 1, &v), 0);
    cr_expect_eq(no(w, 0, 1), FILE_NO_GONE);
    xw_settle(w);
    cr_expect_eq(w->node[0].disk.done[XFER_JOB_READ], 0);
    xw_free(w);
}

Test(xfer_hostile, who_wants_too_much_is_told)
{
    struct xw *w = xw_new(2, 3);
    xw_mesh(w);
    xw_offer(w, 0, 3 * MIB);
    w->node[0].held[1] = w->node[0].jobs_held = true;
    struct wire_file_want v = want_of(0, w->node[0].mid, 7);
    v.n_ranges = WIRE_FILE_RANGES_MAX;
    for (size_t k = 0; k < v.n_ranges; k++) {
        v.ranges[k] = (struct wire_file_range){0, 3};
    }
    cr_expect_eq(want(w, 0, 1, &v), 0);
    cr_expect_eq(no(w, 0, 1), 0);
    v.handle++;
    cr_expect_eq(want(w, 0, 1, &v), 0);
    cr_expect_eq(no(w, 0, 1), FILE_NO_BUSY);
    for (uint32_t k = 0; k < 2 * XFER_SERVES_MAX; k++) { /* and under any handles */
        v.handle = 100 + k;
        v.n_ranges = 0;
        cr_expect_eq(want(w, 0, 1, &v), 0);
    }
    w->node[0].held[1] = w->node[0].jobs_held = false;
    cr_expect_leq(w->node[0].frames[1][FRAME_FILE_NO], 3 * XFER_SERVES_MAX);
    xw_settle(w);
    cr_assert_eq(xw_accept(w, 1, w->node[0].mid), 0);
    xw_settle(w);
    xw_cut(w, 0, 1);
    xw_link(w, 0, 1);
    xw_settle(w);
    cr_expect(xw_equal(w, 1, 0, w->node[0].mid));
    xw_free(w);
}

/* An offer of the greatest size costs no memory before it is accepted. */
Test(xfer_hostile, offers_are_cheap)
{
    struct xw *w = xw_new(2, 3);
    xw_mesh(w);
    struct wire_body b = {.kind = BODY_OFFER,
                          .text = (const uint8_t *)"all",
                          .text_len = 3,
                          .has_size = true,
                          .size = WIRE_FILE_SIZE_MAX};
    for (uint8_t k = 0; k < 20; k++) {
        b.mid[0] = k;
        xw_say(w, 0, 1, &b);
    }
    xw_settle(w);
    unsigned n = 0;
    for (const struct file *f = w->node[1].x->files; f != NULL; f = f->next, n++) {
        cr_expect_eq(f->n_bits, 0);
    }
    cr_expect_eq(n, 20);
    cr_expect_eq(xw_accept(w, 1, b.mid), 0);
    xw_settle(w);
    cr_expect_eq(xw_state(w, 1, b.mid), FILE_LOST); /* nobody gives it */
    xw_free(w);
}

/* ---- authors ---- */

/* A stream is sealed with another size than what came of it. */
Test(xfer_hostile, a_stream_that_shrinks_is_broken)
{
    static const uint64_t sizes[] = {2 * MIB, 4 * MIB - 1, 5 * MIB};
    for (size_t k = 0; k < 3; k++) {
        struct xw *w = xw_new(2, 3);
        xw_mesh(w);
        cr_assert_eq(xw_scan(w, 0, 1, NULL, "input"), 0);
        xw_settle(w);
        uint8_t mid[WIRE_MID];
        memcpy(mid, w->node[0].mid, sizeof mid);
        cr_assert_eq(xw_accept(w, 1, mid), 0);
        cr_assert_eq(xw_spool(w, 0, mid, 4 * MIB, false), 0);
        xw_settle(w);
        struct wire_body b = {.kind = BODY_SEALED, .size = sizes[k]};
        memcpy(b.target, mid, sizeof mid);
        xw_say(w, 0, 1, &b);
        xw_settle(w);
        cr_expect_eq(xw_state(w, 1, mid), k < 2 ? FILE_BROKEN : FILE_ACTIVE, "%zu", k);
        cr_expect_eq(w->node[1].disk.done[XFER_JOB_FINISH], 0);
        xw_free(w);
    }
}

/* A leaf of a stream that is not whole, with more behind it. */
Test(xfer_hostile, a_stream_has_no_holes)
{
    struct xw *w = xw_new(2, 3);
    xw_mesh(w);
    cr_assert_eq(xw_scan(w, 0, 1, NULL, "input"), 0);
    xw_settle(w);
    cr_assert_eq(xw_accept(w, 1, w->node[0].mid), 0);
    xw_settle(w);
    const struct file *f = w->node[1].x->files;
    uint32_t h = f->get->sources->handle;
    cr_expect_eq(leaf(w, 0, (struct wire_file_leaf){h, 0, 100, {0}}), 0);
    cr_expect_eq(data(w, 0, h, 0, 0), 0);
    cr_expect_eq(f->get->strikes, 0);
    cr_expect_eq(leaf(w, 0, (struct wire_file_leaf){h, 1, MIB, {0}}), 0);
    cr_expect_eq(f->get->strikes, 1);
    xw_free(w);
}

/* ---- groups ---- */

/* Half a list, and gone: the next one is not blamed for it. */
Test(xfer_hostile, half_a_list_is_forgotten)
{
    struct xw *w = xw_new(3, 3);
    for (size_t i = 0; i < 3; i++) {
        w->node[i].disk.quick = true;
    }
    xw_mesh(w);
    xw_offer(w, 0, LEAVES * MIB);
    const uint8_t *mid = w->node[0].mid;
    cr_assert_eq(xw_accept(w, 1, mid), 0);
    xw_settle(w);
    xw_cut(w, 0, 1);
    xw_cut(w, 0, 2);
    cr_assert_eq(xw_accept(w, 2, mid), 0);
    const struct get *g = w->node[2].x->files->get;
    while (!g->top_ok || g->list_asked != 2) {
        cr_assert(xw_step(w));
    }
    struct sent s;
    struct wire_file_list v = {.handle = g->list_from->handle,
                               .list = 1,
                               .hashes = xw_note(w, 1, 0, mid)->leaf[0].hash,
                               .n = 1};
    s.w = wr_init(s.p, sizeof s.p);
    wire_file_list_put(&s.w, &v);
    cr_assert_eq(xw_recv(w, 2, 1, FRAME_FILE_LIST, s.p, s.w.len), 0);
    xw_cut(w, 1, 2);
    xw_link(w, 1, 2);
    xw_settle(w);
    cr_expect_eq(xw_state(w, 2, mid), FILE_DONE);
    xw_free(w);
}

/* A file of a group is pushed out of what is shown while it is being given. */
Test(xfer_hostile, what_is_shown_no_more_is_given_no_more)
{
    struct xw *w = xw_new(3, 3);
    xw_mesh(w);
    xw_offer(w, 0, 3 * MIB);
    uint8_t mid[WIRE_MID];
    memcpy(mid, w->node[0].mid, sizeof mid);
    cr_assert_eq(xw_accept(w, 1, mid), 0);
    xw_settle(w);
    cr_assert_eq(xw_state(w, 1, mid), FILE_DONE);
    w->node[1].jobs_held = true;
    struct wire_file_want v = want_of(0, mid, 7);
    v.ranges[0].count = 3;
    cr_assert_eq(want(w, 1, 2, &v), 0);
    struct wire_body b = {
        .kind = BODY_OFFER, .text = (const uint8_t *)"x", .text_len = 1};
    b.has_size = true;
    for (unsigned k = 0; k < XFER_SHOWN + 8; k++) {
        b.mid[0] = (uint8_t)k;
        b.mid[1] = (uint8_t)(k >> 8);
        b.mid[2] = 1;
        xw_say(w, 0, 1, &b);
        xw_settle(w);
        cr_assert_eq(xw_do(w, 1, b.mid, xfer_decline), 0);
    }
    struct xfer_view view;
    cr_assert_not(xw_view(w, 1, mid, &view));
    w->node[1].jobs_held = false;
    xw_settle(w);
    cr_assert_eq(want(w, 1, 2, &v), 0);
    xw_settle(w);
    xw_free(w);
}

/* All that a liar may do, when it is the author: nothing is finished that is not what was
 * sealed, and who tells the truth is believed. */
Test(xfer_hostile, liars_are_found_out)
{
    for (unsigned lie = LIE_DATA; lie <= LIE_FORK; lie++) {
        struct xw *w = xw_new(2, 3);
        xw_mesh(w);
        xw_offer(w, 0, LEAVES * MIB);
        const uint8_t *mid = w->node[0].mid;
        w->node[0].disk.lie = lie;
        cr_assert_eq(xw_accept(w, 1, mid), 0);
        xw_pass(w, 30 * SECOND);
        bool harmless = lie == LIE_LIST; /* no list is needed of the author alone */
        cr_expect_eq(xw_state(w, 1, mid), harmless ? FILE_DONE : FILE_BROKEN, "%u: %u",
                     lie, xw_state(w, 1, mid));
        cr_expect_eq(w->node[1].disk.done[XFER_JOB_FINISH], harmless ? 1 : 0);
        cr_expect_eq(w->node[1].x->bufs[BUF_IN], 0);
        xw_free(w);
    }
}
