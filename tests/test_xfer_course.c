/* The course of transfers: sources that change, streams, folders, full disks, many at
 * once that share what there is, and what a node that starts again goes on with. */
#include <criterion/criterion.h>

#include <string.h>

#include "xfer_priv.h"
#include "xfer_world.h"

enum { MIB = 1024 * 1024, LEAVES = 6, LONG = 20, SECOND = 1000 };

/* n nodes, linked, whose disks hash by samples. */
static struct xw *world(size_t n)
{
    struct xw *w = xw_new(n, 5);
    for (size_t i = 0; i < n; i++) {
        w->node[i].disk.quick = true;
    }
    xw_mesh(w);
    return w;
}

static struct disk_source *source(struct xw *w, const uint8_t *mid)
{
    return disk_note(&w->node[0].disk, mid, false)->source;
}

static void done(struct xw *w, size_t i, const uint8_t *mid)
{
    cr_expect_eq(xw_state(w, i, mid), FILE_DONE, "state %u at %zu", xw_state(w, i, mid),
                 i);
    cr_expect(xw_equal(w, i, 0, mid));
}

/* ---- sources ---- */

static void spoil(struct disk_source *s, unsigned how)
{
    if (how == 0) {
        disk_change(s);
    } else if (how == 1) {
        disk_shrink(s, s->len / 3);
    } else {
        disk_remove(s);
    }
}

/* Before it is accepted, in the middle, and when all is read but the seal. */
Test(xfer_course, a_source_that_changes_ends_the_offer)
{
    for (unsigned k = 0; k < 9; k++) {
        struct xw *w = world(2);
        xw_offer(w, 0, LONG * MIB - 7);
        const uint8_t *mid = w->node[0].mid;
        unsigned stage = k / 3;
        if (stage == 0) {
            spoil(source(w, mid), k % 3);
        }
        cr_assert_eq(xw_accept(w, 1, mid), 0);
        if (stage == 1) {
            cr_assert(xw_until(w, 1, mid, 2));
            spoil(source(w, mid), k % 3);
        } else if (stage == 2) {
            while (w->node[0].disk.done[XFER_JOB_READ] < LONG) {
                cr_assert(xw_step(w));
            }
            spoil(source(w, mid), k % 3);
        }
        xw_pass(w, 30 * SECOND);
        cr_expect_eq(xw_state(w, 0, mid), FILE_CHANGED, "%u: %u", k, xw_state(w, 0, mid));
        cr_expect_eq(xw_state(w, 1, mid), FILE_CHANGED, "%u: %u", k, xw_state(w, 1, mid));
        cr_expect_eq(w->node[1].disk.done[XFER_JOB_FINISH], 0);
        cr_expect_eq(w->node[1].disk.used, 0); /* the part went */
        xw_free(w);
    }
}

/* ---- streams and folders ---- */

static const uint8_t *stream(struct xw *w)
{
    cr_assert_eq(xw_scan(w, 0, 1, NULL, "input"), 0);
    xw_settle(w);
    return w->node[0].mid;
}

Test(xfer_course, a_stream_ends_before_or_after_it_is_asked_for)
{
    static const size_t sizes[] = {0, 1, MIB, 5 * MIB + 9};
    for (unsigned k = 0; k < 8; k++) {
        struct xw *w = world(2);
        const uint8_t *mid = stream(w);
        if (k % 2 == 0) {
            cr_assert_eq(xw_spool(w, 0, mid, sizes[k / 2], true), 0);
        }
        cr_assert_eq(xw_accept(w, 1, mid), 0);
        xw_settle(w);
        if (k % 2 == 1) {
            cr_assert_eq(xw_spool(w, 0, mid, sizes[k / 2], false), 0);
            xw_settle(w);
            cr_expect_eq(xw_state(w, 1, mid), FILE_ACTIVE);
            cr_assert_eq(xw_spool(w, 0, mid, 0, true), 0);
        }
        xw_settle(w);
        done(w, 1, mid);
        cr_expect_eq(xw_leaves(w, 0, 1), hashtree_leaves(sizes[k / 2]));
        xw_free(w);
    }
}

Test(xfer_course, a_stream_that_grows_beyond_what_is_accepted_waits_for_the_user)
{
    struct xw *w = world(2);
    w->node[1].policy = (struct xfer_policy){XFER_ACCEPT_CONTACTS, 2 * MIB, UINT64_MAX};
    xfer_set_policy(w->node[1].x, &w->node[1].policy);
    const uint8_t *mid = stream(w);
    struct xfer_view v;
    cr_assert_eq(xw_spool(w, 0, mid, 6 * MIB, false), 0);
    xw_pass(w, 3 * SECOND);
    cr_assert(xw_view(w, 1, mid, &v));
    cr_expect_eq(v.phase, XFER_PHASE_PAUSED);
    cr_expect_not_null(v.why);
    cr_assert(xw_view(w, 0, mid, &v));
    cr_expect_eq(v.phase, XFER_PHASE_HELD);
    cr_assert_eq(xw_accept(w, 1, mid), 0);
    cr_assert_eq(xw_spool(w, 0, mid, 5, true), 0);
    xw_settle(w);
    done(w, 1, mid);
    xw_free(w);
}

/* A stream of so many bytes from its beginning to its end; what becomes of it. */
static unsigned streamed(struct xw *w, size_t len)
{
    struct xfer_view v = {0};
    const uint8_t *mid = stream(w);
    cr_assert_eq(xw_spool(w, 0, mid, len, true), 0);
    xw_settle(w);
    cr_assert(xw_view(w, 1, mid, &v));
    return v.phase;
}

Test(xfer_course, streams_count_against_the_quota)
{
    struct xw *w = world(2);
    w->node[1].policy = (struct xfer_policy){XFER_ACCEPT_CONTACTS, 4 * MIB, 5 * MIB};
    xfer_set_policy(w->node[1].x, &w->node[1].policy);
    cr_expect_eq(streamed(w, 4 * MIB + 1), XFER_PHASE_PAUSED); /* over the size */
    xw_kill(w, 1, false);
    w->node[1].policy.quota = 10 * MIB;
    xw_start(w, 1);
    xw_link(w, 0, 1);
    xw_settle(w);
    cr_expect_eq(streamed(w, 3 * MIB), XFER_PHASE_ENDED);
    cr_expect_eq(streamed(w, 3 * MIB), XFER_PHASE_PAUSED); /* over what is left */
    cr_expect_eq(streamed(w, 0), XFER_PHASE_OFFERED);
    xw_free(w);
}

Test(xfer_course, what_is_put_into_its_place_is_not_given_up)
{
    for (unsigned k = 0; k < 2; k++) {
        struct xw *w = world(2);
        xw_offer(w, 0, LEAVES * MIB);
        const uint8_t *mid = w->node[0].mid;
        struct disk *d = &w->node[1].disk;
        cr_assert_eq(xw_accept(w, 1, mid), 0);
        while (d->n_jobs == 0 || d->job[0].j.kind != XFER_JOB_FINISH) {
            cr_assert(xw_step(w));
        }
        w->node[1].jobs_held = true;
        if (k == 0) {
            cr_expect_eq(xw_do(w, 1, mid, xfer_cancel), ERR_STATE);
        } else {
            cr_expect_eq(xw_do(w, 0, mid, xfer_cancel), 0);
        }
        xw_settle(w);
        w->node[1].jobs_held = false;
        xw_settle(w);
        done(w, 1, mid);
        xw_free(w);
    }
}

Test(xfer_course, a_folder_is_a_manifest_and_what_it_names)
{
    static const unsigned counts[] = {0, 1, 40000}; /* the last has two leaves of names */
    for (size_t k = 0; k < 3; k++) {
        struct xw *w = world(2);
        (void)disk_put_folder(&w->node[0].disk, "/src/dir", counts[k], 40, 3);
        cr_assert_eq(xw_scan(w, 0, 1, "/src/dir", NULL), 0);
        xw_settle(w);
        cr_assert_eq(xw_accept(w, 1, w->node[0].mid), 0);
        xw_settle(w);
        done(w, 1, w->node[0].mid);
        cr_expect_eq(w->node[1].disk.done[XFER_JOB_TREE], 1);
        xw_free(w);
    }
}

/* ---- trouble on disks ---- */

Test(xfer_course, a_full_disk_is_waited_for)
{
    struct xw *w = world(2);
    struct xfer_view v;
    xw_offer(w, 0, LEAVES * MIB);
    const uint8_t *mid = w->node[0].mid;
    w->node[1].disk.quota = 2 * MIB;
    cr_assert_eq(xw_accept(w, 1, mid), 0);
    xw_settle(w);
    cr_assert(xw_view(w, 1, mid, &v));
    cr_expect_eq(v.phase, XFER_PHASE_STUCK);
    cr_assert(xw_view(w, 0, mid, &v));
    cr_expect_eq(v.phase, XFER_PHASE_HELD);
    w->node[1].disk.quota = UINT64_MAX;
    xw_pass(w, XFER_RETRY_MS);
    done(w, 1, mid);
    xw_free(w);
}

/* Every job fails once, at either side. */
Test(xfer_course, a_failure_of_a_disk_is_got_over)
{
    static const enum xfer_job_kind kinds[] = {
        XFER_JOB_READ, XFER_JOB_SEAL, XFER_JOB_OPEN,  XFER_JOB_WRITE,
        XFER_JOB_SYNC, XFER_JOB_ROOT, XFER_JOB_FINISH};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        struct xw *w = world(2);
        xw_offer(w, 0, 70 * MIB); /* with a sync on its way */
        const uint8_t *mid = w->node[0].mid;
        w->node[k < 2 ? 0 : 1].disk.fail[kinds[k]] = ERR_IO;
        cr_assert_eq(xw_accept(w, 1, mid), 0);
        xw_pass(w, 4 * XFER_RETRY_MS);
        done(w, 1, mid);
        xw_free(w);
    }
}

/* The first sync fails, and the disk has dropped what it did not take: those leaves come
 * again, all others do not, and no sync is tried meanwhile. */
Test(xfer_course, what_a_sync_did_not_take_comes_again)
{
    enum { WHOLE = 2 * XFER_SYNC_LEAVES + 4 };
    struct xw *w = world(2);
    xw_offer(w, 0, (size_t)WHOLE * MIB);
    const uint8_t *mid = w->node[0].mid;
    struct disk *d = &w->node[1].disk;
    struct xfer_view v;
    cr_assert_eq(xw_accept(w, 1, mid), 0);
    while (d->done[XFER_JOB_SYNC] < 1) { /* the first one is durable */
        cr_assert(xw_step(w));
    }
    d->fail[XFER_JOB_SYNC] = ERR_IO;
    while (d->done[XFER_JOB_SYNC] < 2) {
        cr_assert(xw_step(w));
    }
    xw_settle(w);
    cr_assert(xw_view(w, 1, mid, &v));
    cr_expect_eq(v.phase, XFER_PHASE_STUCK);
    cr_expect_eq(d->done[XFER_JOB_SYNC], 2);
    cr_expect_eq(v.done, 0); /* all were of one block */
    uint64_t before = xw_leaves(w, 0, 1);
    xw_pass(w, 2 * XFER_RETRY_MS);
    done(w, 1, mid);
    cr_expect_leq(xw_leaves(w, 0, 1) - before, WHOLE);
    xw_free(w);
}

/* What is told to be there is safely on disk. */
Test(xfer_course, leaves_are_told_when_they_are_durable)
{
    struct xw *w = world(2);
    xw_offer(w, 0, LONG * MIB);
    const uint8_t *mid = w->node[0].mid;
    struct xfer_view v;
    cr_assert_eq(xw_accept(w, 1, mid), 0);
    cr_assert(xw_until(w, 1, mid, LEAVES));
    w->node[0].held[1] = true; /* nothing more comes */
    xw_settle(w);
    w->node[1].jobs_held = true;
    xw_pass(w, XFER_SYNC_MS + XFER_TELL_MS);
    const struct file *f = w->node[0].x->files;
    cr_expect_eq(w->node[1].disk.done[XFER_JOB_SYNC], 0);
    cr_assert_eq(f->n_takers, 1);
    cr_expect_eq(f->takers[0].r.leaves, 0);
    w->node[1].jobs_held = false;
    xw_pass(w, XFER_TELL_MS);
    cr_expect_eq(w->node[1].disk.done[XFER_JOB_SYNC], 1);
    cr_assert(xw_view(w, 1, mid, &v));
    cr_expect_geq(v.done, LEAVES * MIB);
    cr_expect_eq(f->takers[0].r.leaves * MIB, v.done);
    xw_free(w);
}

Test(xfer_course, a_seal_that_failed_is_tried_when_the_user_asks)
{
    struct xw *w = world(2);
    xw_offer(w, 0, MIB);
    const uint8_t *mid = w->node[0].mid;
    w->node[0].disk.fail[XFER_JOB_SEAL] = ERR_IO;
    cr_assert_eq(xw_accept(w, 1, mid), 0);
    xw_settle(w);
    cr_assert_eq(xw_state(w, 1, mid), FILE_ACTIVE);
    cr_assert_eq(xw_do(w, 0, mid, xfer_resume), 0);
    xw_settle(w);
    done(w, 1, mid);
    xw_free(w);
}

/* ---- starts ---- */

/* The author's power goes when all was sent and nothing sealed: its hashes may go, too.
 */
Test(xfer_course, what_nobody_wants_any_more_is_sealed_after_a_start)
{
    for (size_t len = 0; len <= LEAVES * MIB; len += LEAVES * MIB) {
        struct xw *w = world(2);
        xw_offer(w, 0, len);
        const uint8_t *mid = w->node[0].mid;
        struct disk *d = &w->node[0].disk;
        cr_assert_eq(xw_accept(w, 1, mid), 0);
        d->fail[XFER_JOB_SEAL] = ERR_IO;
        xw_kill(w, 0, false);
        xw_start(w, 0);
        xw_link(w, 0, 1);
        d->fail[XFER_JOB_SEAL] = ERR_IO;
        xw_settle(w);
        xw_kill(w, 0, true);
        d->fail[XFER_JOB_SEAL] = 0;
        for (size_t i = 0; i < disk_note(d, mid, false)->n_leaves; i++) {
            disk_note(d, mid, false)->leaf[i].known = false;
        }
        xw_start(w, 0);
        xw_link(w, 0, 1);
        xw_pass(w, 10 * SECOND);
        done(w, 1, mid);
        cr_expect_eq(xw_leaves(w, 0, 1), hashtree_leaves(len));
        xw_free(w);
    }
}

/* Hashes of a sealed file are lost: they are made anew for who asks for lists. */
Test(xfer_course, lists_come_from_an_author_whose_hashes_were_lost)
{
    struct xw *w = world(3);
    xw_offer(w, 0, LEAVES * MIB);
    const uint8_t *mid = w->node[0].mid;
    cr_assert_eq(xw_accept(w, 1, mid), 0);
    xw_settle(w);
    xw_kill(w, 0, false);
    for (size_t i = 0; i < LEAVES; i++) {
        disk_note(&w->node[0].disk, mid, false)->leaf[i].known = false;
    }
    xw_cut(w, 1, 2);
    xw_start(w, 0);
    xw_link(w, 0, 2);
    /* What node 2 has is not what was sealed, so that it asks for the list. */
    w->node[0].disk.lie = LIE_AUTHOR;
    cr_assert_eq(xw_accept(w, 2, mid), 0);
    cr_assert(xw_until(w, 2, mid, 1));
    w->node[0].disk.lie = LIE_NONE;
    xw_pass(w, 30 * SECOND);
    done(w, 2, mid);
    xw_free(w);
}

/* The end of a stream became known after the start: it is given on all the same. */
Test(xfer_course, a_stream_is_given_on_after_a_start)
{
    struct xw *w = world(3);
    const uint8_t *mid = stream(w);
    cr_assert_eq(xw_accept(w, 1, mid), 0);
    cr_assert_eq(xw_spool(w, 0, mid, 3 * MIB, false), 0);
    xw_settle(w);
    xw_kill(w, 1, false);
    xw_start(w, 1);
    xw_link(w, 0, 1);
    cr_assert_eq(xw_spool(w, 0, mid, 9, true), 0);
    xw_settle(w);
    done(w, 1, mid);
    xw_cut(w, 0, 2);
    xw_link(w, 1, 2);
    cr_assert_eq(xw_accept(w, 2, mid), 0);
    xw_settle(w);
    done(w, 2, mid);
    xw_free(w);
}

/* ---- many at once ---- */

enum { MANY = 4 };

Test(xfer_course, several_share_what_there_is)
{
    struct xw *w = world(2);
    uint8_t mid[MANY][WIRE_MID];
    struct xfer_view v;
    for (size_t k = 0; k < MANY; k++) {
        xw_offer(w, 0, 30 * MIB);
        memcpy(mid[k], w->node[0].mid, WIRE_MID);
    }
    for (size_t k = 0; k < MANY; k++) {
        cr_assert_eq(xw_accept(w, 1, mid[k]), 0);
    }
    while (xw_leaves(w, 0, 1) < 60) {
        cr_assert(xw_step(w));
    }
    for (size_t k = 0; k < MANY; k++) {
        cr_assert(xw_view(w, 1, mid[k], &v));
        cr_expect(v.received >= 10 && v.received <= 20, "%zu: %zu", k,
                  (size_t)v.received);
    }
    xw_free(w);
}

/* More than there are buffers, and more than a device may have handles. */
Test(xfer_course, more_than_there_are_buffers_all_end)
{
    struct xw *w = world(2);
    enum { FILES = XFER_SERVES_MAX + 6 };
    static uint8_t mid[FILES][WIRE_MID];
    for (size_t k = 0; k < FILES; k++) {
        xw_offer(w, 0, 2 * MIB);
        memcpy(mid[k], w->node[0].mid, WIRE_MID);
    }
    for (size_t k = 0; k < FILES; k++) {
        cr_assert_eq(xw_accept(w, 1, mid[k]), 0);
    }
    xw_settle(w);
    for (size_t k = 0; k < FILES; k++) {
        cr_expect_eq(xw_state(w, 1, mid[k]), FILE_DONE);
    }
    cr_expect_eq(w->node[0].frames[1][FRAME_FILE_NO], 0);
    cr_expect_leq(w->node[1].disk.bufs_in_max, XFER_BUFFERS);
    cr_expect_leq(w->node[0].disk.bufs_out_max, XFER_BUFFERS);
    cr_expect_eq(w->node[1].x->bufs[BUF_IN], 0);
    cr_expect_eq(w->node[0].x->bufs[BUF_OUT], 0);
    xw_free(w);
}

/* The first has all places; when it is paused the other one begins, though nothing else
 * happens. */
Test(xfer_course, room_that_is_left_is_used)
{
    struct xw *w = world(2);
    uint8_t first[WIRE_MID];
    xw_offer(w, 0, 30 * MIB);
    memcpy(first, w->node[0].mid, WIRE_MID);
    xw_offer(w, 0, MIB);
    const uint8_t *mid = w->node[0].mid;
    cr_assert_eq(xw_accept(w, 1, first), 0);
    while (w->node[1].frames[0][FRAME_FILE_WANT] < XFER_WINDOW) {
        cr_assert(xw_step(w));
    }
    cr_assert_eq(xw_accept(w, 1, mid), 0);
    cr_assert_eq(xw_do(w, 1, first, xfer_pause), 0);
    xw_settle(w);
    done(w, 1, mid);
    xw_free(w);
}

/* Links of two that stand still do not keep the third one waiting. */
Test(xfer_course, devices_take_turns)
{
    struct xw *w = world(4);
    xw_offer(w, 0, 20 * MIB);
    const uint8_t *mid = w->node[0].mid;
    for (size_t i = 1; i < 4; i++) {
        w->node[0].held[i] = i > 1; /* what goes to the last two waits */
        for (size_t k = 1; k < i; k++) {
            xw_cut(w, i, k);
        }
    }
    w->node[1].held[0] = true;
    for (size_t i = 1; i < 4; i++) {
        w->node[0].held[i] = false;
        xw_settle(w);
        w->node[0].held[i] = i > 1;
        cr_assert_eq(xw_accept(w, i, mid), 0);
    }
    xw_settle(w); /* the two have wanted, and been read for */
    w->node[1].held[0] = false;
    xw_settle(w);
    done(w, 1, mid);
    xw_free(w);
}

/* Files of a device that sends nothing do not keep those of others waiting for good. */
Test(xfer_course, who_sends_nothing_does_not_take_all_buffers)
{
    enum { SILENT = XFER_BUFFERS + 1 };
    struct xw *w = world(3);
    uint8_t mid[SILENT][WIRE_MID];
    for (size_t k = 0; k < SILENT; k++) {
        xw_offer(w, 0, MIB);
        memcpy(mid[k], w->node[0].mid, WIRE_MID);
    }
    xw_offer(w, 2, 2 * LONG * MIB);
    w->node[0].held[1] = true;
    for (size_t k = 0; k < SILENT; k++) {
        cr_assert_eq(xw_accept(w, 1, mid[k]), 0);
    }
    cr_assert_eq(xw_accept(w, 1, w->node[2].mid), 0);
    xw_settle(w);
    cr_assert_eq(xw_state(w, 1, w->node[2].mid), FILE_ACTIVE);
    xw_pass(w, XFER_ANSWER_MS);
    cr_expect_eq(xw_state(w, 1, w->node[2].mid), FILE_DONE);
    w->node[0].held[1] = false;
    xw_pass(w, XFER_ANSWER_MS);
    for (size_t k = 0; k < SILENT; k++) {
        done(w, 1, mid[k]);
    }
    xw_free(w);
}

/* ---- the rate ---- */

/* The limit of either side. */
Test(xfer_course, a_limit_of_the_rate_is_kept)
{
    enum { RATE = 2 * MIB, TIME = 10 };
    for (size_t who = 0; who < 2; who++) {
        struct xw *w = world(2);
        struct xfer_view v;
        xw_offer(w, 0, 60 * MIB);
        const uint8_t *mid = w->node[0].mid;
        xfer_limit(w->node[who].x, RATE, w->now_ms);
        cr_assert_eq(xw_accept(w, 1, mid), 0);
        xw_pass(w, TIME * SECOND);
        cr_assert(xw_view(w, 1, mid, &v));
        double share = (double)v.done / ((double)RATE * TIME);
        cr_expect(share > 0.9 && share < 1.1, "%f of the limit", share);
        xw_free(w);
    }
}

/* While a link has no room, a limit does not make the node tick all the time. */
Test(xfer_course, a_limit_does_not_spin)
{
    struct xw *w = world(2);
    xw_offer(w, 0, 20 * MIB);
    xfer_limit(w->node[0].x, 100 * MIB, w->now_ms);
    cr_assert_eq(xw_accept(w, 1, w->node[0].mid), 0);
    while (w->node[0].frames[1][FRAME_FILE_DATA] < 3) {
        cr_assert(xw_step(w) || (w->now_ms++, true));
    }
    w->node[0].held[1] = true;
    xw_settle(w);
    xw_tick(w);
    cr_expect_gt(xfer_deadline(w->node[0].x), w->now_ms);
    xw_free(w);
}

/* At a low rate files come one after the other, each after minutes: none is asked for
 * twice. */
Test(xfer_course, who_waits_for_its_turn_does_not_ask_again)
{
    struct xw *w = world(2);
    enum { FILES = 3 };
    uint8_t mid[FILES][WIRE_MID];
    xfer_limit(w->node[0].x, 10 * 1024, w->now_ms);
    for (size_t k = 0; k < FILES; k++) {
        xw_offer(w, 0, 2 * MIB);
        memcpy(mid[k], w->node[0].mid, WIRE_MID);
        cr_assert_eq(xw_accept(w, 1, mid[k]), 0);
    }
    xw_pass(w, 1000 * SECOND);
    for (size_t k = 0; k < FILES; k++) {
        cr_expect_eq(xw_state(w, 1, mid[k]), FILE_DONE);
    }
    cr_expect_eq(w->node[1].frames[0][FRAME_FILE_WANT], 2 * FILES);
    xw_free(w);
}
