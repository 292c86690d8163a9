/* Transfers that break in the middle, and files that come from more than one: what was
 * verified is not sent again, lists against the root, liars. */
#include <criterion/criterion.h>

#include <string.h>

#include "xfer_world.h"

enum { MIB = 1024 * 1024, LEAVES = 12 };

/* Node 0 has offered a file of LEAVES leaves and a bit to the others, who are linked. */
static struct xw *offered(size_t n, const uint8_t **mid)
{
    struct xw *w = xw_new(n, 7);
    xw_mesh(w);
    xw_offer(w, 0, (LEAVES - 1) * MIB + 5);
    *mid = w->node[0].mid;
    return w;
}

static uint64_t resent(const struct xw *w, size_t i, const uint8_t *mid)
{
    struct xfer_view v = {0};
    return xw_view(w, i, mid, &v) ? v.resent : 0;
}

Test(xfer_group, a_link_that_is_lost_again_and_again)
{
    const uint8_t *mid;
    struct xw *w = offered(2, &mid);
    cr_assert_eq(xw_accept(w, 1, mid), 0);
    for (uint64_t k = 2; k < LEAVES; k += 3) {
        cr_assert(xw_until(w, 1, mid, k));
        xw_cut(w, 0, 1);
        xw_settle(w);
        xw_link(w, 0, 1);
    }
    xw_settle(w);
    cr_assert_eq(xw_state(w, 1, mid), FILE_DONE);
    cr_assert(xw_equal(w, 1, 0, mid));
    cr_expect_eq(resent(w, 1, mid), 0);
    xw_free(w);
}

/* Either side; the receiver finds on its disk what it had verified. */
Test(xfer_group, a_kill_in_the_middle_sends_nothing_verified_again)
{
    for (size_t who = 0; who < 2; who++) {
        const uint8_t *mid;
        struct xw *w = offered(2, &mid);
        cr_assert_eq(xw_accept(w, 1, mid), 0);
        cr_assert(xw_until(w, 1, mid, 5));
        xw_kill(w, who, false);
        xw_start(w, who);
        xw_link(w, 0, 1);
        xw_settle(w);
        cr_assert_eq(xw_state(w, 1, mid), FILE_DONE, "node %zu was killed", who);
        cr_assert(xw_equal(w, 1, 0, mid));
        cr_expect_eq(resent(w, 1, mid) + w->node[1].resent, 0);
        xw_free(w);
    }
}

/* What the author last stored of who takes its file is lost, as by a kill before it is
 * on disk. */
static void forget_takers(struct xw_node *n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n->n_recs; i++) {
        if (n->recs[i].kind == REC_FILE) {
            n->recs[i].u.file.flags &= (uint8_t)~FILE_UNDER_WAY;
        }
        if (n->recs[i].kind != REC_FILE_PEER) {
            n->recs[kept++] = n->recs[i];
        }
    }
    n->n_recs = kept;
}

/* The receiver asks for nothing any more, and still waits for the seal. */
Test(xfer_group, an_author_that_ends_before_it_seals_does_so_later)
{
    for (unsigned forget = 0; forget < 2; forget++) {
        const uint8_t *mid;
        struct xfer_view v;
        struct xw *w = offered(2, &mid);
        cr_assert_eq(xw_accept(w, 1, mid), 0);
        while (w->node[0].disk.done[XFER_JOB_READ] < LEAVES) {
            cr_assert(xw_step(w));
        }
        w->node[0].jobs_held = true;
        cr_assert(xw_until(w, 1, mid, LEAVES));
        cr_assert(xw_view(w, 1, mid, &v));
        cr_assert_eq(v.done, v.r->size);
        cr_assert_eq(v.r->flags & FILE_SEALED, 0);
        xw_kill(w, 0, false);
        w->node[0].jobs_held = false;
        if (forget == 1) {
            forget_takers(&w->node[0]);
        }
        xw_settle(w);
        xw_start(w, 0);
        xw_link(w, 0, 1);
        xw_settle(w);
        cr_assert_eq(xw_state(w, 1, mid), FILE_DONE);
        cr_assert_eq(xw_state(w, 0, mid), FILE_DONE);
        xw_free(w);
    }
}

Test(xfer_group, after_a_power_loss_the_content_is_right)
{
    const uint8_t *mid;
    struct xw *w = offered(2, &mid);
    cr_assert_eq(xw_accept(w, 1, mid), 0);
    cr_assert(xw_until(w, 1, mid, 7));
    xw_kill(w, 1, true);
    xw_start(w, 1);
    xw_link(w, 0, 1);
    xw_settle(w);
    cr_assert_eq(xw_state(w, 1, mid), FILE_DONE);
    cr_assert(xw_equal(w, 1, 0, mid));
    xw_free(w);
}

/* Node 1 has all of it; the author is gone: node 2 gets it from node 1, by lists. */
Test(xfer_group, a_member_who_has_it_can_give_it)
{
    const uint8_t *mid;
    struct xw *w = offered(3, &mid);
    cr_assert_eq(xw_accept(w, 1, mid), 0);
    xw_settle(w);
    cr_assert_eq(xw_state(w, 1, mid), FILE_DONE);
    xw_cut(w, 0, 1);
    xw_cut(w, 0, 2);
    cr_assert_eq(xw_accept(w, 2, mid), 0);
    xw_settle(w);
    cr_assert_eq(xw_state(w, 2, mid), FILE_DONE);
    cr_assert(xw_equal(w, 2, 0, mid));
    cr_expect_eq(xw_leaves(w, 1, 2), LEAVES);
    cr_expect_eq(xw_leaves(w, 0, 2), 0);
    xw_free(w);
}

Test(xfer_group, leaves_come_from_several_at_once)
{
    const uint8_t *mid;
    struct xw *w = offered(4, &mid);
    cr_assert_eq(xw_accept(w, 1, mid), 0);
    cr_assert_eq(xw_accept(w, 2, mid), 0);
    xw_settle(w);
    cr_assert_eq(xw_accept(w, 3, mid), 0);
    xw_settle(w);
    cr_assert_eq(xw_state(w, 3, mid), FILE_DONE);
    cr_assert(xw_equal(w, 3, 0, mid));
    for (size_t i = 0; i < 3; i++) {
        cr_expect_gt(xw_leaves(w, i, 3), 0, "node %zu gave none", i);
    }
    cr_expect_eq(resent(w, 3, mid), 0);
    xw_free(w);
}

/* A liar among two is found out and asked no more, and the file is there all the same. */
Test(xfer_group, a_liar_is_dropped)
{
    static const enum disk_lie lies[] = {LIE_DATA, LIE_HASH, LIE_LIST};
    for (size_t k = 0; k < sizeof lies / sizeof lies[0]; k++) {
        const uint8_t *mid;
        struct xw *w = offered(4, &mid);
        cr_assert_eq(xw_accept(w, 1, mid), 0);
        cr_assert_eq(xw_accept(w, 2, mid), 0);
        xw_settle(w);
        xw_cut(w, 0, 3);
        w->node[1].disk.lie = lies[k];
        cr_assert_eq(xw_accept(w, 3, mid), 0);
        xw_settle(w);
        cr_assert_eq(xw_state(w, 3, mid), FILE_DONE, "lie %u", (unsigned)lies[k]);
        cr_assert(xw_equal(w, 3, 0, mid));
        if (lies[k] != LIE_LIST) { /* it may not have been asked for one */
            cr_expect_lt(xw_leaves(w, 1, 3), LEAVES / 2);
        }
        xw_free(w);
    }
}

/* What the author seals is not what it gave: nothing of it is put into place. */
Test(xfer_group, an_author_who_lies_breaks_the_file)
{
    static const enum disk_lie lies[] = {LIE_DATA, LIE_FORK};
    for (size_t k = 0; k < sizeof lies / sizeof lies[0]; k++) {
        const uint8_t *mid;
        struct xw *w = offered(2, &mid);
        w->node[0].disk.lie = lies[k];
        cr_assert_eq(xw_accept(w, 1, mid), 0);
        xw_settle(w);
        xw_pass(w, 10 * 60 * 1000);
        cr_assert_neq(xw_state(w, 1, mid), FILE_DONE, "lie %u", (unsigned)lies[k]);
        cr_expect_eq(xw_state(w, 1, mid), FILE_BROKEN);
        xw_free(w);
    }
}

/* The answer of the disk comes when nobody wants the file any more. */
Test(xfer_group, a_part_that_is_made_too_late_goes)
{
    const uint8_t *mid;
    struct xw *w = offered(2, &mid);
    w->node[1].jobs_held = true;
    cr_assert_eq(xw_accept(w, 1, mid), 0);
    cr_assert_eq(xw_do(w, 0, mid, xfer_cancel), 0);
    xw_settle(w);
    cr_assert_eq(xw_state(w, 1, mid), FILE_CANCELLED);
    w->node[1].jobs_held = false;
    xw_settle(w);
    cr_expect_eq(w->node[1].disk.done[XFER_JOB_OPEN], 1);
    cr_expect_eq(w->node[1].disk.done[XFER_JOB_DROP], 2);
    cr_expect_eq(w->node[1].disk.used, 0);
    xw_free(w);
}
