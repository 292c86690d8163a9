/* What people ask of files, and what is accepted by itself. */
#include <criterion/criterion.h>
#include <string.h>

#include "xfer_priv.h"
#include "xfer_world.h"

#define MIB ((size_t)HASHTREE_LEAF)

/* Node 0 has offered so many bytes to all. */
static struct xw *offered(size_t nodes, size_t len, const uint8_t **mid)
{
    struct xw *w = xw_new(nodes, len + 1);
    xw_mesh(w);
    xw_offer(w, 0, len);
    *mid = w->node[0].mid;
    return w;
}

static enum xfer_phase phase(const struct xw *w, size_t i, const uint8_t *mid)
{
    struct xfer_view v;
    cr_assert(xw_view(w, i, mid, &v));
    return v.phase;
}

static void whole(size_t len)
{
    const uint8_t *mid;
    struct xw *w = offered(2, len, &mid);
    cr_assert_eq(xw_state(w, 1, mid), FILE_OFFERED);
    cr_assert_eq(xw_accept(w, 1, mid), 0);
    xw_settle(w);
    cr_expect_eq(xw_state(w, 1, mid), FILE_DONE, "%zu bytes", len);
    cr_expect_eq(xw_state(w, 0, mid), FILE_DONE, "%zu bytes", len);
    cr_expect(xw_equal(w, 1, 0, mid));
    cr_expect_eq(xw_leaves(w, 0, 1), hashtree_leaves(len));
    cr_expect_eq(w->node[1].events[EVENT_FILE_DONE], 1);
    cr_expect_eq(w->node[0].events[EVENT_FILE_DONE], 1);
    cr_expect_eq(xw_accept(w, 1, mid), ERR_STATE);
    xw_free(w);
}

Test(xfer, sizes)
{
    static const size_t sizes[] = {0, 1, MIB - 1, MIB, MIB + 1, 20 * MIB};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        whole(sizes[i]);
    }
}

Test(xfer, what_cannot_be_offered)
{
    struct xw *w = xw_new(2, 1);
    cr_assert_eq(xw_scan(w, 0, 1, "/nothing", NULL), 0);
    xw_settle(w);
    cr_expect_eq(w->node[0].offer_err, ERR_NOTFOUND);
    cr_expect_str_eq(w->node[0].offer_why, "There is no such file.");
    cr_expect_eq(w->node[0].n_said, 0);
    xw_free(w);
}

Test(xfer, declined)
{
    const uint8_t *mid;
    struct xw *w = offered(2, 3 * MIB, &mid);
    cr_assert_eq(xw_do(w, 1, mid, xfer_decline), 0);
    xw_settle(w);
    cr_expect_eq(xw_state(w, 1, mid), FILE_DECLINED);
    cr_expect_eq(xw_state(w, 0, mid), FILE_DECLINED);
    cr_expect_eq(w->node[0].events[EVENT_FILE_DECLINED], 1);
    cr_expect_eq(xw_leaves(w, 0, 1), 0);
    cr_expect_eq(xw_accept(w, 1, mid), ERR_STATE);
    cr_expect_eq(xw_do(w, 0, mid, xfer_cancel), ERR_STATE);
    xw_free(w);
}

/* before, during, after */
static void cancelled(size_t who, uint64_t leaves, bool after)
{
    const uint8_t *mid;
    struct xw *w = offered(2, 12 * MIB, &mid);
    if (leaves > 0) {
        cr_assert_eq(xw_accept(w, 1, mid), 0);
        cr_assert(xw_until(w, 1, mid, leaves));
    }
    if (after) {
        xw_settle(w);
    }
    cr_expect_eq(xw_do(w, who, mid, xfer_cancel), after ? ERR_STATE : 0);
    xw_settle(w);
    unsigned end = after         ? FILE_DONE
                   : who == 0    ? FILE_CANCELLED
                   : leaves == 0 ? FILE_DECLINED
                                 : FILE_STOPPED;
    cr_expect_eq(xw_state(w, 0, mid), end, "%zu %u", who, xw_state(w, 0, mid));
    cr_expect_eq(xw_state(w, 1, mid), end, "%zu %u", who, xw_state(w, 1, mid));
    if (!after) {
        cr_expect_null(xw_note(w, 1, 0, mid), "no part is left");
        cr_expect_lt(xw_leaves(w, 0, 1), 12);
    }
    xw_free(w);
}

Test(xfer, cancelled_by_each_side)
{
    for (size_t who = 0; who < 2; who++) {
        cancelled(who, 0, false);
        cancelled(who, 3, false);
        cancelled(who, 12, true);
    }
}

static void paused(size_t who)
{
    const uint8_t *mid;
    struct xw *w = offered(2, 20 * MIB, &mid);
    struct xfer_view v;
    cr_expect_eq(xw_do(w, 1, mid, xfer_pause), ERR_STATE, "nobody has accepted it");
    cr_assert_eq(xw_accept(w, 1, mid), 0);
    cr_assert(xw_until(w, 1, mid, 5));
    cr_assert_eq(xw_do(w, who, mid, xfer_pause), 0);
    xw_settle(w);
    uint64_t sent = xw_leaves(w, 0, 1);
    xw_pass(w, 200000);
    cr_expect_eq(xw_leaves(w, 0, 1), sent);
    cr_expect_lt(sent, 20);
    cr_expect_eq(phase(w, who, mid), XFER_PHASE_PAUSED);
    cr_expect_eq(phase(w, 1 - who, mid), XFER_PHASE_HELD);
    cr_assert_eq(xw_do(w, who, mid, xfer_resume), 0);
    xw_settle(w);
    cr_expect_eq(xw_state(w, 1, mid), FILE_DONE);
    cr_expect(xw_equal(w, 1, 0, mid));
    cr_assert(xw_view(w, 1, mid, &v));
    cr_expect_eq(v.resent, 0);
    cr_expect_eq(v.received, 20);
    xw_free(w);
}

Test(xfer, paused_by_each_side)
{
    paused(0);
    paused(1);
}

/* Frames of before are still on their way. */
Test(xfer, paused_and_resumed_at_once)
{
    for (uint64_t seed = 1; seed < 60; seed++) {
        struct xw *w = xw_new(2, seed);
        struct xfer_view v;
        w->shuffled = true;
        xw_mesh(w);
        xw_offer(w, 0, 10 * MIB);
        const uint8_t *mid = w->node[0].mid;
        cr_assert_eq(xw_accept(w, 1, mid), 0);
        for (size_t i = 0; i < 3; i++) {
            (void)xw_until(w, 1, mid, 2 * i + 1);
            size_t who = seed % 2;
            for (uint32_t k = xw_rand(w, 40); k > 0; k--) {
                (void)xw_step(w);
            }
            (void)xw_do(w, who, mid, xfer_pause);
            (void)xw_do(w, who, mid, xfer_resume);
        }
        xw_settle(w);
        cr_expect_eq(xw_state(w, 1, mid), FILE_DONE, "seed %d", (int)seed);
        cr_expect(xw_equal(w, 1, 0, mid));
        cr_assert(xw_view(w, 1, mid, &v));
        cr_expect_eq(v.resent, 0, "seed %d", (int)seed);
        xw_free(w);
    }
}

/* ---- piped out ---- */

/* An offer of node 0 without a source, as somebody hostile makes it. */
static void bare_offer(struct xw *w, unsigned k, uint64_t size, uint8_t mid[WIRE_MID])
{
    struct wire_body b = {.kind = BODY_OFFER,
                          .text = (const uint8_t *)"x",
                          .text_len = 1,
                          .has_size = true,
                          .size = size};
    memset(b.mid, 0x77, sizeof b.mid);
    memcpy(b.mid, &k, sizeof k);
    memcpy(mid, b.mid, sizeof b.mid);
    xw_say(w, 0, 1, &b);
    xw_settle(w);
}

static int accept_pipe(struct xfer *x, struct txn *t, uint32_t id, uint64_t now_ms)
{
    return xfer_accept(x, t, id, NULL, true, now_ms);
}

static bool kept_is_needed(struct xw *w, const uint8_t *mid)
{
    uint8_t root[WIRE_ID], key[WIRE_MID];
    xw_root(0, root);
    xfer_key(root, mid, key);
    return xfer_needs(w->node[1].x, key);
}

/* Node 1 has all of it, and nobody has read it out yet. */
static struct xw *piped(const uint8_t **mid)
{
    struct xw *w = offered(2, 3 * MIB, mid);
    cr_assert_eq(xw_do(w, 1, *mid, accept_pipe), 0);
    xw_settle(w);
    cr_assert_eq(xw_state(w, 1, *mid), FILE_DONE);
    cr_assert(kept_is_needed(w, *mid));
    return w;
}

static void is_not_kept(struct xw *w, const uint8_t *mid)
{
    cr_expect_null(xw_note(w, 1, 0, mid));
    cr_expect_not(kept_is_needed(w, mid));
    cr_expect_eq(xw_file(w, 1, mid)->path.n, 0);
    xw_kill(w, 1, false);
    xw_start(w, 1);
    cr_expect_eq(xw_state(w, 1, mid), FILE_DONE);
    cr_expect_not(kept_is_needed(w, mid));
    cr_expect_eq(xw_do(w, 1, mid, xfer_piped), ERR_NOTFOUND);
}

Test(xfer, piped_is_kept_until_it_was_read_out)
{
    const uint8_t *mid;
    struct xw *w = piped(&mid);
    struct xfer_view v;
    for (unsigned k = 0; k < 3; k++) {
        xw_kill(w, 1, k == 1);
        xw_start(w, 1);
        xw_mesh(w);
        xw_settle(w);
        cr_assert(kept_is_needed(w, mid));
        cr_assert(xw_view(w, 1, mid, &v));
        cr_expect_eq(v.prefix, 3 * MIB);
        cr_expect_gt(v.r->path.n, 0);
        cr_expect(xw_equal(w, 1, 0, mid));
        cr_expect_eq(xw_do(w, 1, mid, xfer_cancel), ERR_STATE);
    }
    uint8_t other[WIRE_MID];
    bare_offer(w, 1, 10, other);
    cr_expect_eq(xw_state(w, 1, other), FILE_OFFERED);
    cr_assert_eq(xw_do(w, 1, mid, xfer_piped), 0);
    xw_settle(w);
    cr_expect_eq(xw_do(w, 1, mid, xfer_piped), ERR_STATE);
    is_not_kept(w, mid);
    xw_free(w);
}

Test(xfer, piped_that_is_not_shown_any_more_is_not_kept)
{
    const uint8_t *mid;
    struct xw *w = piped(&mid);
    uint8_t other[WIRE_MID];
    for (unsigned k = 0; k < XFER_SHOWN; k++) {
        cr_assert(kept_is_needed(w, mid), "%u", k);
        bare_offer(w, k, 10, other);
        cr_assert_eq(xw_do(w, 1, other, xfer_decline), 0);
    }
    xw_settle(w);
    is_not_kept(w, mid);
    xw_free(w);
}

/* ---- policy ---- */

static void rule(struct xw *w, size_t i, const struct rec_file_rule *r)
{
    struct txn t = {0};
    xw_after(&w->node[i], &t, xfer_set_rule(w->node[i].x, &t, r));
}

static void policy(struct xw *w, size_t i, struct xfer_policy p)
{
    w->node[i].policy = p;
    xfer_set_policy(w->node[i].x, &p);
}

/* What becomes of an offer of so many bytes. */
static unsigned judged(struct xw *w, size_t len)
{
    xw_offer(w, 0, len);
    return xw_state(w, 1, w->node[0].mid);
}

Test(xfer, policies)
{
    struct xw *w = xw_new(2, 1);
    xw_mesh(w);
    cr_expect_eq(judged(w, 5), FILE_OFFERED, "it asks when nothing is said");
    policy(w, 1, (struct xfer_policy){XFER_ACCEPT_CONTACTS, 100, UINT64_MAX});
    cr_expect_eq(judged(w, 100), FILE_DONE);
    cr_expect_eq(judged(w, 101), FILE_OFFERED);
    policy(w, 1, (struct xfer_policy){XFER_ACCEPT_VERIFIED, 100, UINT64_MAX});
    cr_expect_eq(judged(w, 99), FILE_OFFERED);
    w->node[1].verified[0] = true;
    cr_expect_eq(judged(w, 98), FILE_DONE);
    xw_free(w);
}

Test(xfer, quota_of_a_day)
{
    struct xw *w = xw_new(2, 1);
    xw_mesh(w);
    policy(w, 1, (struct xfer_policy){XFER_ACCEPT_CONTACTS, UINT64_MAX, 1000});
    cr_expect_eq(judged(w, 600), FILE_DONE);
    cr_expect_eq(judged(w, 401), FILE_OFFERED);
    cr_expect_eq(judged(w, 400), FILE_DONE);
    cr_expect_eq(judged(w, 1), FILE_OFFERED);
    xw_kill(w, 1, false);
    xw_start(w, 1);
    xw_mesh(w);
    cr_expect_eq(judged(w, 1), FILE_OFFERED, "a restart forgets nothing");
    xw_pass(w, 86400000);
    cr_expect_eq(judged(w, 1000), FILE_DONE, "another day");
    xw_free(w);
}

/* Whether a folder of so many empty files is accepted by itself. */
static bool takes_folder(struct xw *w, unsigned k, uint64_t count)
{
    struct wire_body b = {.kind = BODY_OFFER,
                          .text = (const uint8_t *)"x",
                          .text_len = 1,
                          .has_size = true,
                          .folder = true,
                          .size = 5 * count,
                          .manifest = 5 * count,
                          .count = count};
    memcpy(b.mid, &k, sizeof k);
    xw_say(w, 0, 1, &b);
    xw_settle(w);
    return (xw_file(w, 1, b.mid)->flags & FILE_AUTO) != 0;
}

Test(xfer, files_in_a_folder_take_of_the_quota)
{
    const uint64_t ten = 10 * (5 + XFER_ENTRY_COST);
    struct xw *w = xw_new(2, 1);
    xw_mesh(w);
    policy(w, 1, (struct xfer_policy){XFER_ACCEPT_CONTACTS, 1000, ten});
    cr_expect_not(takes_folder(w, 1, 11));
    cr_expect(takes_folder(w, 2, 6));
    xw_kill(w, 1, false);
    xw_start(w, 1);
    xw_mesh(w);
    cr_expect_not(takes_folder(w, 3, 5));
    cr_expect(takes_folder(w, 4, 4));
    cr_expect_eq(judged(w, 1), FILE_OFFERED);
    xw_free(w);
}

/* Set back by ten days, it does not count what was accepted for ten days more. */
static void clock_set_back(bool restart)
{
    const uint64_t ten_days_us = UINT64_C(10) * 86400 * 1000000;
    struct xw *w = xw_new(2, 1);
    xw_mesh(w);
    policy(w, 1, (struct xfer_policy){XFER_ACCEPT_CONTACTS, UINT64_MAX, 1000});
    w->clock_us = ten_days_us;
    cr_expect_eq(judged(w, 1000), FILE_DONE);
    w->clock_us = 0;
    if (restart) {
        xw_kill(w, 1, false);
        xw_start(w, 1);
        xw_mesh(w);
    }
    cr_expect_eq(judged(w, 1), FILE_OFFERED, "it counts, as of now");
    xw_pass(w, 86400000);
    cr_expect_eq(judged(w, 1000), FILE_DONE, "another day");
    xw_free(w);
}

Test(xfer, a_clock_that_is_set_back_does_not_stretch_the_day)
{
    clock_set_back(false);
    clock_set_back(true);
}

Test(xfer, rules_of_a_contact)
{
    struct xw *w = xw_new(2, 1);
    struct rec_file_rule r = {.contact = 1, .mode = FILE_MODE_ALWAYS}, got;
    xw_mesh(w);
    rule(w, 1, &r);
    cr_expect_eq(judged(w, 50), FILE_DONE);
    r.has_max = r.has_quota = true;
    r.max = 60;
    r.quota = 100;
    rule(w, 1, &r);
    cr_expect_eq(judged(w, 61), FILE_OFFERED);
    cr_expect_eq(judged(w, 50), FILE_DONE);
    cr_expect_eq(judged(w, 1), FILE_OFFERED, "100 bytes are used up");
    xw_kill(w, 1, false);
    xw_start(w, 1);
    xw_mesh(w);
    xfer_rule(w->node[1].x, 1, &got);
    cr_expect_eq(got.mode, FILE_MODE_ALWAYS);
    cr_expect_eq(got.max, 60);
    policy(w, 1, (struct xfer_policy){XFER_ACCEPT_CONTACTS, UINT64_MAX, UINT64_MAX});
    rule(w, 1, &(struct rec_file_rule){.contact = 1, .mode = FILE_MODE_ASK});
    cr_expect_eq(judged(w, 10), FILE_OFFERED);
    rule(w, 1, &(struct rec_file_rule){.contact = 1, .mode = FILE_MODE_NEVER});
    cr_expect_eq(judged(w, 10), FILE_DECLINED);
    cr_expect_eq(xw_state(w, 0, w->node[0].mid), FILE_DECLINED, "they are told");
    rule(w, 1, &(struct rec_file_rule){.contact = 1});
    cr_expect_eq(judged(w, 10), FILE_DONE);
    xw_free(w);
}

/* ---- what feeds tell ---- */

Test(xfer, offer_counts_once)
{
    struct xw *w = xw_new(2, 1);
    uint8_t mid[WIRE_MID];
    xw_mesh(w);
    bare_offer(w, 1, 10, mid);
    uint32_t id = xw_file(w, 1, mid)->id;
    bare_offer(w, 1, 20, mid);
    cr_expect_eq(xw_file(w, 1, mid)->id, id);
    cr_expect_eq(xw_file(w, 1, mid)->size, 10);
    cr_assert_eq(xw_do(w, 1, mid, xfer_decline), 0);
    bare_offer(w, 1, 10, mid);
    cr_expect_eq(xw_state(w, 1, mid), FILE_DECLINED);
    xw_kill(w, 1, false);
    xw_start(w, 1);
    xw_mesh(w);
    bare_offer(w, 1, 10, mid);
    cr_expect_eq(xw_state(w, 1, mid), FILE_DECLINED);
    cr_expect_eq(w->node[1].events[EVENT_FILE_OFFERED], 1);
    xw_free(w);
}

Test(xfer, undecided_offers_have_a_limit)
{
    struct xw *w = xw_new(2, 1);
    uint8_t mid[WIRE_MID];
    xw_mesh(w);
    for (unsigned k = 0; k < XFER_OFFERS_MAX; k++) {
        bare_offer(w, k, 10, mid);
        cr_assert_eq(xw_state(w, 1, mid), FILE_OFFERED);
    }
    bare_offer(w, XFER_OFFERS_MAX, 10, mid);
    cr_expect_eq(xw_state(w, 1, mid), FILE_DECLINED);
    cr_expect_eq(w->node[1].n_said, 0, "who floods is not answered");
    bare_offer(w, 0, 10, mid);
    cr_assert_eq(xw_do(w, 1, mid, xfer_decline), 0);
    bare_offer(w, XFER_OFFERS_MAX + 1, 10, mid);
    cr_expect_eq(xw_state(w, 1, mid), FILE_OFFERED);
    xw_free(w);
}

static int redact(struct xfer *x, struct txn *t, uint32_t id, uint64_t now_ms)
{
    struct xfer_view v;
    return xfer_get(x, id, &v) ? xfer_redacted(x, t, v.r->mid, now_ms) : ERR_NOTFOUND;
}

Test(xfer, offer_taken_back)
{
    const uint8_t *mid;
    struct xw *w = offered(2, 9 * MIB, &mid);
    cr_assert_eq(xw_accept(w, 1, mid), 0);
    cr_assert(xw_until(w, 1, mid, 2));
    cr_assert_eq(xw_do(w, 0, mid, redact), 0);
    struct wire_body b = {.kind = BODY_REDACTION};
    memcpy(b.target, mid, sizeof b.target);
    xw_say(w, 0, 1, &b);
    xw_settle(w);
    cr_expect_eq(xw_state(w, 0, mid), FILE_CANCELLED);
    cr_expect_eq(xw_state(w, 1, mid), FILE_CANCELLED);
    cr_expect_null(xw_note(w, 1, 0, mid));
    xw_free(w);
}

Test(xfer, contact_removed)
{
    for (size_t who = 0; who < 2; who++) {
        const uint8_t *mid;
        struct xw *w = offered(2, 20 * MIB, &mid);
        struct txn t = {0};
        struct xw_node *n = &w->node[who];
        cr_assert_eq(xw_accept(w, 1, mid), 0);
        cr_assert(xw_until(w, 1, mid, 2));
        uint64_t sent = xw_leaves(w, 0, 1);
        xw_after(n, &t, xfer_contact_gone(n->x, &t, who == 0 ? 2 : 1, w->now_ms));
        xw_settle(w);
        cr_expect_eq(xw_state(w, who, mid), who == 0 ? FILE_CANCELLED : FILE_STOPPED);
        cr_expect_leq(xw_leaves(w, 0, 1), sent + XFER_WINDOW);
        cr_expect_not(xw_equal(w, 1, 0, mid));
        xw_free(w);
    }
}
Test(xfer, contact_removed_from_a_group_is_not_waited_for)
{
    const uint8_t *mid;
    struct xw *w = offered(3, 9 * MIB, &mid);
    struct txn t = {0};
    cr_assert_eq(xw_accept(w, 1, mid), 0);
    cr_assert_eq(xw_accept(w, 2, mid), 0);
    cr_assert(xw_until(w, 2, mid, 2));
    xw_after(&w->node[0], &t, xfer_contact_gone(w->node[0].x, &t, 3, w->now_ms));
    xw_cut(w, 0, 2);
    xw_cut(w, 1, 2);
    xw_settle(w);
    cr_expect_eq(xw_state(w, 1, mid), FILE_DONE);
    cr_expect_eq(xw_state(w, 0, mid), FILE_DONE);
    cr_expect_eq(w->node[0].waits_on, 0);
    xw_free(w);
}
