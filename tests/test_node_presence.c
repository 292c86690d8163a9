/* Presence and typing between whole nodes: what goes over links and beacons, what waits
 * for the disk and what does not. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "node_world.h"

enum { A, B, C };
enum { MINUTE = 60000 };

static struct nw_world *w;
static uint32_t b_at_a, a_at_b;

static struct node *node(int i)
{
    return w->n[i].node;
}

static void up(void)
{
    w = malloc(sizeof *w);
    cr_assert_not_null(w);
    nw_init(w);
    nw_pair(w, A, B, &b_at_a, &a_at_b);
    nw_run(w, 10000);
    cr_assert(node_linked(node(A), b_at_a));
}

static void down(void)
{
    nw_release(w);
    free(w);
}

TestSuite(node_presence, .init = up, .fini = down);

/* Everything that is under way arrives; no time passes. */
static void settle(void)
{
    while (nw_step(w)) {
    }
}

static void set(int i, enum presence_state state, const char *text)
{
    cr_assert_eq(node_presence_set(node(i), 1, state, text, strlen(text), w->now_ms), 0);
    nw_drain(w, i);
    settle();
}

static struct presence_view view(int i, uint32_t contact)
{
    struct presence_view v;
    node_presence_of(node(i), contact, &v);
    cr_assert_eq(v.online, node_online(node(i), contact));
    return v;
}

static void check_b(enum presence_state state, const char *status)
{
    struct presence_view v = view(A, b_at_a);
    cr_assert(v.online);
    cr_assert_eq(v.state, state);
    cr_assert_eq(v.status == NULL, status == NULL);
    if (status != NULL) {
        cr_assert_str_eq(v.status, status);
    }
}

static void check_says(int from, uint32_t contact, int to, const char *text)
{
    w->n[from].state = 0;
    nw_say(w, from, 2, contact, text);
    nw_run(w, 2000);
    cr_assert_str_eq(w->n[to].text, text);
    cr_assert_eq(w->n[from].state, STATE_DELIVERED);
}

Test(node_presence, a_state_is_told_before_it_is_stored)
{
    check_b(PRESENCE_ONLINE, NULL);
    w->n[B].hold = true;
    w->n[B].results[1] = 0;
    unsigned told = w->n[A].told[NODE_PRESENCE_STATE];
    set(B, PRESENCE_BUSY, "writing");
    check_b(PRESENCE_BUSY, "writing");
    cr_assert_eq(w->n[A].told[NODE_PRESENCE_STATE], told + 1);
    cr_assert_eq(w->n[B].told_own, 1);
    cr_assert_eq(w->n[B].results[1], 0); /* who set it is answered when it is durable */
    w->n[B].hold = false;
    nw_commit(w, B);
    nw_drain(w, B);
    cr_assert_eq(w->n[B].results[1], 1);
    const struct blob *b = node_meta(node(B), "status");
    cr_assert(b != NULL && b->n > 0);
    cr_assert_eq(node_presence_set(node(B), 1, PRESENCE_BUSY, "\033[2J", 4, w->now_ms),
                 ERR_ARG);
}

Test(node_presence, invisible)
{
    set(B, PRESENCE_INVISIBLE, "");
    cr_assert(node_hidden(node(B)));
    cr_assert(!view(A, b_at_a).online);
    cr_assert_eq(w->n[A].told[NODE_PRESENCE_STATE], 2);
    unsigned beacons = w->n[B].beacons;
    nw_run(w, 10 * MINUTE);
    cr_assert_eq(w->n[B].beacons, beacons, "an invisible node sends no beacons");
    cr_assert(node_linked(node(A), b_at_a));
    check_says(A, b_at_a, B, "are you there?");
    check_says(B, a_at_b, A, "not for others");
    cr_assert(!view(A, b_at_a).online);
    /* The link breaks: they meet again, and nobody is shown. */
    nw_cut(w);
    nw_run(w, 3 * MINUTE);
    cr_assert(node_linked(node(A), b_at_a));
    check_says(B, a_at_b, A, "still here");
    check_says(A, b_at_a, B, "good");
    cr_assert(!view(A, b_at_a).online);
    cr_assert_eq(w->n[A].told[NODE_PRESENCE_STATE], 2);
    cr_assert_eq(w->n[B].beacons, beacons);
    set(B, PRESENCE_ONLINE, "");
    check_b(PRESENCE_ONLINE, NULL);
    nw_run(w, 1000);
    cr_assert_gt(w->n[B].beacons, beacons);
}

Test(node_presence, who_hides_without_a_link_says_good_bye)
{
    w->n[A].refuse = w->n[B].refuse = true;
    nw_run(w, MINUTE + 20000);
    nw_cut(w);
    nw_run(w, 1000);
    cr_assert(!node_linked(node(A), b_at_a));
    cr_assert(view(A, b_at_a).online, "its beacons are heard");
    set(B, PRESENCE_INVISIBLE, "");
    nw_run(w, 1000);
    cr_assert(!view(A, b_at_a).online);
    unsigned beacons = w->n[B].beacons;
    nw_run(w, 5 * MINUTE);
    cr_assert_eq(w->n[B].beacons, beacons);
    cr_assert(!view(A, b_at_a).online);
}

Test(node_presence, beacons_tell_who_is_not_linked_and_a_text_is_fetched)
{
    w->n[A].refuse = w->n[B].refuse = true;
    nw_run(w, MINUTE + 20000);
    nw_cut(w);
    set(B, PRESENCE_AWAY, "");
    nw_run(w, 2000);
    check_b(PRESENCE_AWAY, NULL);
    set(B, PRESENCE_BUSY, "see me");
    nw_run(w, 2000);
    check_b(PRESENCE_BUSY, NULL);
    w->n[A].refuse = w->n[B].refuse = false;
    nw_run(w, 2 * MINUTE);
    check_b(PRESENCE_BUSY, "see me");
}

Test(node_presence, away_by_itself)
{
    node_away_after(node(B), 5 * MINUTE, w->now_ms);
    nw_run(w, 5 * MINUTE);
    check_b(PRESENCE_AWAY, NULL);
    node_activity(node(B), w->now_ms);
    nw_drain(w, B);
    settle();
    check_b(PRESENCE_ONLINE, NULL);
    nw_run(w, 4 * MINUTE);
    check_says(B, a_at_b, A, "I am here"); /* to write is activity */
    nw_run(w, 4 * MINUTE);
    check_b(PRESENCE_ONLINE, NULL);
    check_says(A, b_at_a, B, "so?"); /* to be written to is not */
    nw_run(w, MINUTE);
    check_b(PRESENCE_AWAY, NULL);
    cr_assert_null(node_meta(node(B), "status")); /* nothing was written for it */
}

static void type(int i, uint32_t contact, const char *text)
{
    cr_assert_eq(node_typing(node(i), contact, (const uint8_t *)text, strlen(text), false,
                             w->now_ms),
                 0);
    nw_drain(w, i);
    settle();
}

static void live(int i, uint32_t contact, bool on)
{
    cr_assert_eq(node_live(node(i), 3, contact, on, w->now_ms), 0);
    nw_drain(w, i);
    settle();
}

static void check_draft(const char *text)
{
    struct presence_view v = view(A, b_at_a);
    cr_assert_eq(v.text == NULL, text == NULL);
    cr_assert(text == NULL ||
              (v.text_len == strlen(text) && memcmp(v.text, text, v.text_len) == 0));
}

Test(node_presence, typing_and_live_typing_until_the_message_comes)
{
    live(A, b_at_a, true);
    nw_run(w, 1000);
    type(B, a_at_b, "sec");
    cr_assert(view(A, b_at_a).typing);
    check_draft(NULL); /* Bob does not want it */
    live(B, a_at_b, true);
    cr_assert(view(A, b_at_a).live_theirs && view(B, a_at_b).live_theirs);
    nw_run(w, 1000);
    type(B, a_at_b, "hel");
    check_draft("hel");
    w->n[B].hold = true;
    nw_run(w, 1000);
    type(B, a_at_b, "hello");
    check_draft("hello"); /* a slow disk does not slow it */
    w->n[B].hold = false;
    nw_commit(w, B);
    nw_run(w, 500);
    unsigned told = w->n[A].told[NODE_PRESENCE_LIVE];
    nw_say(w, B, 2, a_at_b, "hello!");
    settle();
    cr_assert_str_eq(w->n[A].text, "hello!");
    check_draft(NULL);
    cr_assert(!view(A, b_at_a).typing);
    nw_run(w, 5000);
    cr_assert_eq(w->n[A].told[NODE_PRESENCE_LIVE], told + 1);
    live(A, b_at_a, false);
    type(B, a_at_b, "more");
    nw_run(w, 1000);
    check_draft(NULL);
}

Test(node_presence, a_link_that_comes_again_knows_the_wishes)
{
    live(A, b_at_a, true);
    live(B, a_at_b, true);
    nw_cut(w);
    cr_assert(!view(A, b_at_a).live_theirs);
    cr_assert(view(A, b_at_a).live_ours);
    nw_run(w, 10000);
    cr_assert(view(A, b_at_a).live_theirs && view(B, a_at_b).live_theirs);
    type(B, a_at_b, "again");
    check_draft("again");
}

Test(node_presence, whom_one_does_not_type_to)
{
    cr_assert_eq(node_typing(node(A), 99, NULL, 0, true, w->now_ms), ERR_NOTFOUND);
    cr_assert_eq(node_live(node(A), 3, 99, true, w->now_ms), ERR_NOTFOUND);
    cr_assert_eq(node_contact_block(node(A), 4, b_at_a, true, w->now_ms), 0);
    nw_drain(w, A);
    settle();
    cr_assert(!view(A, b_at_a).online);
    cr_assert_eq(node_typing(node(A), b_at_a, NULL, 0, true, w->now_ms), ERR_REFUSED);
}
