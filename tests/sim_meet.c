/* People who find each other through a DHT that loses puts, lies, and does not always
 * answer.
 *
 *   sim_meet [SEED]      fixed seeds and a fresh one
 *
 * What must hold, for each seed: all who come find each other, also when they come at one
 * moment, with clocks an hour apart, behind address translation, and after all have moved
 * at once; a change of presence secrets while others are away parts nobody who stays; who
 * was removed finds nobody any more; a code is enough to meet; over days, through all
 * ends of epochs, two who look for each other meet; an idle day costs no more than it
 * may. A table has the figures. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "meet_world.h"

enum {
    MINUTE = 60000,
    HOUR = 60 * MINUTE,
    PEOPLE = 12,
    BUDGET = 6000000, /* bytes a day, of which … */
    TABLE = 1500000,  /* … the DHT's own table needs so much */
};

static void check(bool ok, const struct mw_world *w, const char *what)
{
    if (!ok) {
        fprintf(stderr, "seed %" PRIu64 ", %" PRIu64 " ms: %s\n", w->seed, w->now_ms,
                what);
        exit(1);
    }
}

static struct mw_world *world(int count, uint64_t seed, bool rough)
{
    struct mw_world *w = mw_new(count, seed);
    for (int i = 0; i < count; i++) {
        w->v[i].nat = mw_random(w, 2) == 0;
        if (rough) {
            w->v[i].skew_ms = (int64_t)mw_random(w, HOUR) - HOUR / 2;
        }
    }
    w->lost = rough ? 15 : 0;
    w->silent = rough ? 10 : 0;
    w->lying = rough ? 10 : 0;
    return w;
}

/* Everybody wants everybody: what is under test is that they meet, not when they look. */
static void all_want(struct mw_world *w)
{
    for (int a = 0; a < w->count; a++) {
        for (int b = 0; b < w->count; b++) {
            if (a != b) {
                mw_want(w, a, b, true);
            }
        }
    }
}

/* How long until nobody is apart; ends the run when that is too long. */
static uint64_t until_met(struct mw_world *w, uint64_t most_ms, const char *what)
{
    uint64_t begin_ms = w->now_ms;
    while (mw_apart(w) > 0) {
        check(w->now_ms - begin_ms < most_ms, w, what);
        mw_run(w, 1000);
    }
    return w->now_ms - begin_ms;
}

/* Every other time at the same moment, else later. */
static void pause_or_not(struct mw_world *w, uint32_t most_ms)
{
    if (mw_random(w, 2) == 1) {
        mw_run(w, mw_random(w, most_ms));
    }
}

/* ---- coming and moving ---- */

static void arrive(uint64_t seed)
{
    struct mw_world *w = world(PEOPLE, seed, false);
    mw_pair_all(w);
    for (int i = 0; i < PEOPLE; i++) { /* some at one moment; nobody is wanted */
        mw_on(w, i, true);
        mw_run(w, mw_random(w, 3) == 0 ? mw_random(w, 3 * MINUTE) : 0);
    }
    uint64_t come = until_met(w, 25 * MINUTE, "not all have met who came");
    for (int i = 0; i < PEOPLE; i++) {
        mw_move(w, i);
    }
    uint64_t moved = until_met(w, 25 * MINUTE, "not all have met who moved");
    printf("  arrive     met after %.0f s, after a move of all %.0f s\n",
           (double)come / 1000, (double)moved / 1000);
    mw_free(w);
}

static void rough(uint64_t seed)
{
    struct mw_world *w = world(PEOPLE, seed, true);
    mw_pair_all(w);
    all_want(w);
    for (int i = 0; i < PEOPLE; i++) {
        mw_on(w, i, true);
        mw_run(w, mw_random(w, MINUTE));
    }
    uint64_t come = until_met(w, 60 * MINUTE, "rough: not all have met who came");
    for (int i = 0; i < PEOPLE; i++) {
        mw_move(w, i);
    }
    uint64_t moved = until_met(w, 60 * MINUTE, "rough: not all have met who moved");
    printf("  rough      met after %.0f s, after a move of all %.0f s\n",
           (double)come / 1000, (double)moved / 1000);
    mw_free(w);
}

/* ---- rotation ---- */

/* Of the people some are away while 0 removes the last one, and others remove nobody but
 * get new secrets, too. Nobody wants anybody: the pair's places alone must do. */
static void rotation(uint64_t seed)
{
    struct mw_world *w = world(PEOPLE, seed, false);
    const int gone = PEOPLE - 1;
    mw_pair_all(w);
    for (int i = 0; i < PEOPLE; i++) {
        mw_on(w, i, true);
    }
    (void)until_met(w, 25 * MINUTE, "rotation: not all have met");
    for (int i = 1; i < gone; i++) {
        if (mw_random(w, 2) == 0) {
            mw_on(w, i, false);
        }
    }
    mw_run(w, mw_random(w, HOUR));
    mw_remove(w, 0, gone);
    for (int i = 1; i < gone; i++) {
        if (mw_random(w, 3) == 0) {
            mw_rotate(w, i); /* also those who are away */
        }
    }
    mw_move(w, 0);
    mw_run(w, 3 * HOUR + mw_random(w, 24 * HOUR));
    for (int i = 1; i < gone; i++) {
        if (!w->v[i].on) {
            w->v[i].place++;
            mw_on(w, i, true);
            pause_or_not(w, 10 * MINUTE);
        }
    }
    uint64_t met = until_met(w, 25 * MINUTE, "a rotation has parted two who stay");
    mw_move(w, gone); /* he looks everybody up once more */
    mw_count(w);
    mw_want(w, gone, 0, true);
    mw_run(w, HOUR);
    check(w->v[gone].wheres == 0 || !mw_linked(w, gone, 0), w, "a removed one has met");
    check(w->v[gone].absents > 0, w, "a removed one still finds somebody");
    printf("  rotation   met again after %.0f s\n", (double)met / 1000);
    mw_free(w);
}

/* One is away for a month, and comes back elsewhere with a clock that is wrong; the other
 * one has removed somebody, has changed its secret again, and has moved. */
static void month(uint64_t seed)
{
    struct mw_world *w = world(3, seed, false);
    mw_pair_all(w);
    for (int i = 0; i < 3; i++) {
        mw_on(w, i, true);
    }
    mw_run(w, HOUR);
    mw_on(w, 1, false);
    mw_remove(w, 0, 2);
    mw_run(w, 15 * 24 * HOUR);
    mw_rotate(w, 0);
    mw_move(w, 0);
    mw_run(w, 15 * 24 * HOUR);
    w->v[1].place++;
    w->v[1].skew_ms = 3 * HOUR;
    mw_want(w, 1, 0, true);
    mw_on(w, 1, true);
    uint64_t begin_ms = w->now_ms;
    while (!mw_linked(w, 0, 1)) {
        check(w->now_ms - begin_ms < 25 * MINUTE, w, "a month has parted two");
        mw_run(w, 1000);
    }
    check(!mw_linked(w, 0, 2), w, "a removed one has met");
    printf("  month      met again after %.0f s\n",
           (double)(w->now_ms - begin_ms) / 1000);
    mw_free(w);
}

/* ---- days ---- */

/* Two with clocks up to an hour apart come and go for days; who is there with the other
 * meets it. */
static void days(uint64_t seed)
{
    struct mw_world *w = world(2, seed, false);
    uint64_t worst = 0;
    w->v[0].skew_ms = (int64_t)mw_random(w, HOUR) - HOUR / 2;
    w->v[1].skew_ms = w->v[0].skew_ms + (mw_random(w, 2) == 0 ? HOUR : -HOUR);
    mw_pair(w, 0, 1);
    for (int i = 0; i < 150; i++) {
        int first = (int)mw_random(w, 2);
        mw_on(w, first, true);
        mw_run(w, mw_random(w, 2 * HOUR));
        mw_on(w, 1 - first, true);
        uint64_t ms = until_met(w, 4 * MINUTE, "two with other clocks have not met");
        worst = ms > worst ? ms : worst;
        mw_on(w, 0, false);
        mw_on(w, 1, false);
        w->v[mw_random(w, 2)].place++;
        mw_run(w, mw_random(w, HOUR));
    }
    printf(
        "  clocks     150 meetings of two, an hour apart by their clocks: at most %.0f "
        "s\n",
        (double)worst / 1000);
    mw_free(w);
}

/* Two whose clocks are hours apart, behind address translation or not, and in every third
 * case one of them has changed its secret while the other one was away. */
static void hours(uint64_t seed)
{
    uint64_t worst = 0;
    for (uint64_t i = 0; i < 60; i++) {
        struct mw_world *w = world(2, seed * 1000 + i, false);
        int64_t ms = (int64_t)(90 * MINUTE + mw_random(w, 10 * HOUR));
        w->v[1].skew_ms = mw_random(w, 2) == 0 ? ms : -ms;
        mw_pair(w, 0, 1);
        all_want(w);
        w->now_ms += mw_random(w, 24 * HOUR);
        if (i % 3 == 0) {
            mw_rotate(w, 0);
        }
        mw_on(w, 0, true);
        pause_or_not(w, 3 * HOUR);
        mw_on(w, 1, true);
        uint64_t met = until_met(w, 40 * MINUTE, "two with other clocks have not met");
        worst = met > worst ? met : worst;
        mw_free(w);
    }
    printf("  hours      60 meetings of two with clocks up to 11 hours apart: at most "
           "%.0f s\n",
           (double)worst / 1000);
}

/* One whose clock is set, by more than an epoch or less, while the other is there; both
 * have lost each other. */
static void jumps(uint64_t seed)
{
    uint64_t worst = 0;
    for (uint64_t i = 0; i < 20; i++) {
        struct mw_world *w = world(2, seed * 1000 + i, false);
        mw_pair(w, 0, 1);
        w->v[1].skew_ms = (int64_t)mw_random(w, 200 * HOUR) - 100 * (int64_t)HOUR;
        mw_on(w, 0, true);
        mw_on(w, 1, true);
        mw_run(w, 30 * MINUTE);
        w->v[1].skew_ms = 0; /* it learns the time */
        uint64_t met = until_met(w, 5 * MINUTE, "one that has learnt the time is apart");
        worst = met > worst ? met : worst;
        mw_free(w);
    }
    printf("  jumps      20 clocks that were set: met after at most %.0f s\n",
           (double)worst / 1000);
}

/* ---- codes ---- */

/* Two who know nothing of each other but a code, with clocks an hour apart. */
static void codes(uint64_t seed)
{
    uint64_t worst = 0;
    for (uint64_t i = 0; i < 20; i++) {
        struct mw_world *w = world(2, seed * 1000 + i, false);
        w->v[1].skew_ms = mw_random(w, 2) == 0 ? HOUR : -HOUR;
        w->now_ms += mw_random(w, 24 * HOUR);
        mw_on(w, 0, true);
        mw_on(w, 1, true);
        pause_or_not(w, HOUR);
        mw_invite(w, 0, 1);
        uint64_t begin_ms = w->now_ms;
        while (!w->v[0].met_code) {
            check(w->now_ms - begin_ms < 3 * MINUTE, w, "a code has not led to anybody");
            mw_run(w, 100);
        }
        worst = w->now_ms - begin_ms > worst ? w->now_ms - begin_ms : worst;
        mw_free(w);
    }
    printf("  codes      20 of them: at most %.1f s\n", (double)worst / 1000);
}

/* ---- what it costs ---- */

static size_t day(uint64_t seed, int others, bool want)
{
    struct mw_world *w = world(others + 1, seed, false);
    for (int i = 1; i <= others; i++) { /* who are never there */
        mw_pair(w, 0, i);
        mw_want(w, 0, i, want);
    }
    mw_on(w, 0, true);
    mw_run(w, 24 * HOUR);
    const struct mw_person *p = &w->v[0];
    size_t bytes = mw_bytes(p);
    printf("  a day      %d contacts%s: %zu puts, %zu look-ups, %zu polls, %.1f MB\n",
           others, want ? ", all wanted" : "", p->puts, p->gets, p->polls,
           (double)bytes / 1e6);
    mw_free(w);
    return bytes;
}

static void run(uint64_t seed)
{
    printf("seed %" PRIu64 "\n", seed);
    arrive(seed);
    rough(seed);
    rotation(seed);
    days(seed);
    hours(seed);
    jumps(seed);
    codes(seed);
    size_t bytes = day(seed, 20, false);
    if (bytes > BUDGET - TABLE) {
        fprintf(stderr, "seed %" PRIu64 ": an idle day costs %zu bytes\n", seed, bytes);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    uint64_t fresh = 0;
    if (argc > 1) {
        run(strtoull(argv[1], NULL, 10));
        return 0;
    }
    for (uint64_t seed = 1; seed <= 5; seed++) {
        run(seed);
        month(seed);
    }
    (void)day(1, 100, false);
    (void)day(1, 20, true);
    if (getrandom(&fresh, sizeof fresh, 0) != sizeof fresh) {
        return 1;
    }
    run(fresh >> 32);
    return 0;
}
