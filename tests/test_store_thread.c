/* The store's thread: what is handed in comes back, in order, on the loop. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#include "base/err.h"
#include "store_make.h"
#include "store_priv.h"
#include "store_thread.h"

enum { BASE = 1000 };

struct owner {
    uv_loop_t loop;
    struct store_thread *st;
    uint64_t no, up_to, last_event;
    size_t commits, events, fails, answers;
    int err;
    uint64_t failed_no;
    bool take_events;
    struct store_events taken;
    pthread_t self;
};

static void on_committed(void *ctx, uint64_t up_to, struct store_events *events)
{
    struct owner *o = ctx;
    cr_assert(pthread_equal(pthread_self(), o->self));
    cr_assert_gt(up_to, o->up_to);
    o->up_to = up_to;
    o->commits++;
    for (size_t i = 0; i < events->n; i++) {
        cr_assert_eq(events->v[i].n, ++o->last_event);
    }
    o->events += events->n;
    if (o->take_events) {
        o->taken = *events;
        memset(events, 0, sizeof *events);
    }
}

static void on_failed(void *ctx, int err, uint64_t no)
{
    struct owner *o = ctx;
    cr_assert(pthread_equal(pthread_self(), o->self));
    o->fails++;
    o->err = err;
    o->failed_no = no;
}

static void start(struct owner *o)
{
    struct store *s = NULL;
    memset(o, 0, sizeof *o);
    o->self = pthread_self();
    cr_assert_eq(store_open(":memory:", &s, NULL, 0), 0);
    cr_assert_eq(uv_loop_init(&o->loop), 0);
    const struct store_thread_cb cb = {o, on_committed, on_failed};
    cr_assert_eq(store_thread_start(&o->loop, s, &cb, &o->st), 0);
}

static void stop(struct owner *o)
{
    store_thread_stop(o->st);
    cr_assert_eq(uv_run(&o->loop, UV_RUN_DEFAULT), 0);
    cr_assert_eq(uv_loop_close(&o->loop), 0);
}

static int hand_in(struct owner *o, struct txn *t)
{
    t->no = ++o->no;
    int err = store_thread_commit(o->st, t);
    if (err != 0) {
        txn_release(t);
    }
    return err;
}

static void message(struct owner *o)
{
    struct txn t = {0};
    uint64_t i = o->no + 1;
    make_entry(&t, 1, i, 100, i, true);
    make_msg(&t, 1, 1, i, 0, i, BASE + i);
    cr_assert_eq(hand_in(o, &t), 0);
    cr_assert_null(t.recs, "handed over");
}

static void bad(struct owner *o)
{
    struct txn t = {0};
    make_state(&t, 1, 1, 1, 200);
    cr_assert_eq(hand_in(o, &t), 0);
}

/* A query that counts the messages. */
struct count {
    struct owner *o;
    size_t seen, want;
    int rc;
    bool done;
    uv_sem_t *hold, *held;
};

static int count_one(void *ctx, const struct store_msg *m)
{
    struct count *c = ctx;
    (void)m;
    c->seen++;
    return 0;
}

static int count_run(void *ctx, struct store *s)
{
    struct count *c = ctx;
    struct store_query q = {.conv = 1, .limit = STORE_PAGE_ROWS};
    cr_assert_not(pthread_equal(pthread_self(), c->o->self));
    if (c->hold != NULL) {
        uv_sem_post(c->held);
        uv_sem_wait(c->hold);
    }
    return store_history(s, &q, count_one, c) == 0 ? 42 : -1;
}

static void count_done(void *ctx, int rc)
{
    struct count *c = ctx;
    cr_assert(pthread_equal(pthread_self(), c->o->self));
    c->rc = rc;
    c->done = true;
    c->o->answers++;
}

static void run_until(struct owner *o, const size_t *counter, size_t n)
{
    while (*counter < n) {
        (void)uv_run(&o->loop, UV_RUN_ONCE);
    }
}

Test(store_thread, commits_are_told_in_order)
{
    struct owner o;
    start(&o);
    for (int i = 0; i < 1000; i++) {
        message(&o);
    }
    cr_assert_gt(store_thread_pending(o.st), 0);
    while (o.up_to < 1000) {
        (void)uv_run(&o.loop, UV_RUN_ONCE);
    }
    cr_assert_eq(o.events, 1000);
    cr_assert_eq(store_thread_pending(o.st), 0);
    cr_assert_eq(o.fails, 0);
    stop(&o);
}

Test(store_thread, what_waits_is_one_commit)
{
    struct owner o;
    uv_sem_t hold, held;
    struct count c = {.o = &o, .hold = &hold, .held = &held};
    start(&o);
    cr_assert_eq(uv_sem_init(&hold, 0), 0);
    cr_assert_eq(uv_sem_init(&held, 0), 0);
    cr_assert_eq(store_thread_query(o.st, count_run, count_done, &c), 0);
    uv_sem_wait(&held); /* the thread is busy now */
    for (int i = 0; i < 50; i++) {
        message(&o);
    }
    uv_sem_post(&hold);
    run_until(&o, &o.commits, 1);
    cr_assert_eq(o.up_to, 50);
    cr_assert_eq(o.commits, 1);
    cr_assert(c.done);
    cr_assert_eq(c.rc, 42);
    cr_assert_eq(c.seen, 0);
    stop(&o);
    uv_sem_destroy(&hold);
    uv_sem_destroy(&held);
}

Test(store_thread, a_query_sees_what_was_handed_in_before)
{
    enum { ROUNDS = 100 };
    static struct count c[ROUNDS];
    struct owner o;
    start(&o);
    for (size_t i = 0; i < ROUNDS; i++) {
        c[i] = (struct count){.o = &o};
        message(&o);
        cr_assert_eq(store_thread_query(o.st, count_run, count_done, &c[i]), 0);
    }
    run_until(&o, &o.answers, ROUNDS);
    for (size_t i = 0; i < ROUNDS; i++) {
        cr_assert_eq(c[i].rc, 42);
        cr_assert_geq(c[i].seen, i + 1);
    }
    stop(&o);
}

Test(store_thread, stopping_does_what_was_handed_in)
{
    struct owner o;
    struct count c = {.o = &o};
    start(&o);
    o.take_events = true;
    for (int i = 0; i < 20; i++) {
        message(&o);
    }
    cr_assert_eq(store_thread_query(o.st, count_run, count_done, &c), 0);
    o.take_events = false;
    stop(&o);
    cr_assert_eq(o.up_to, 20);
    cr_assert_eq(c.seen, 20);
    store_thread_stop(NULL);
}

Test(store_thread, events_can_be_taken_over)
{
    struct owner o;
    start(&o);
    o.take_events = true;
    message(&o);
    run_until(&o, &o.commits, 1);
    stop(&o);
    cr_assert_eq(o.taken.n, 1);
    cr_assert_eq(o.taken.v[0].text.n, 100);
    store_events_release(&o.taken);
}

Test(store_thread, after_a_failure_nothing_is_stored_until_resumed)
{
    struct owner o;
    uv_sem_t hold, held;
    struct count c = {.o = &o, .hold = &hold, .held = &held}, after = {.o = &o};
    start(&o);
    cr_assert_eq(uv_sem_init(&hold, 0), 0);
    cr_assert_eq(uv_sem_init(&held, 0), 0);
    message(&o);
    run_until(&o, &o.commits, 1);
    bad(&o); /* 2 */
    cr_assert_eq(store_thread_query(o.st, count_run, count_done, &c), 0);
    uv_sem_wait(&held); /* 2 has failed; we have not heard of it */
    message(&o);        /* 3: builds on 2 */
    uv_sem_post(&hold);
    run_until(&o, &o.fails, 1);
    cr_assert_eq(o.err, ERR_STATE);
    cr_assert_eq(o.failed_no, 2);
    struct txn t = {0};
    make_meta(&t, "key", "v", 1);
    cr_assert_eq(hand_in(&o, &t), ERR_STATE);
    store_thread_resume(o.st);
    message(&o); /* 5 */
    cr_assert_eq(store_thread_query(o.st, count_run, count_done, &after), 0);
    run_until(&o, &o.commits, 2);
    run_until(&o, &o.answers, 2);
    cr_assert_eq(o.up_to, 5);
    cr_assert_eq(o.fails, 1);
    cr_assert_eq(after.seen, 2, "messages 1 and 5");
    stop(&o);
    uv_sem_destroy(&hold);
    uv_sem_destroy(&held);
}

Test(store_thread, what_waits_is_bounded)
{
    struct owner o;
    uv_sem_t hold, held;
    struct count c = {.o = &o, .hold = &hold, .held = &held};
    static uint8_t big[1 << 20];
    struct txn t = {0};
    start(&o);
    cr_assert_eq(uv_sem_init(&hold, 0), 0);
    cr_assert_eq(uv_sem_init(&held, 0), 0);
    cr_assert_eq(store_thread_query(o.st, count_run, count_done, &c), 0);
    uv_sem_wait(&held);
    size_t n = 0;
    int err = 0;
    while (err == 0) {
        make_meta(&t, "key", big, sizeof big);
        t.no = ++o.no;
        err = store_thread_commit(o.st, &t);
        n += err == 0;
    }
    cr_assert_eq(err, ERR_LIMIT);
    cr_assert_eq(n, STORE_THREAD_BYTES_MAX / sizeof big - 1);
    cr_assert_eq(t.n, 1, "it stays ours");
    cr_assert_geq(store_thread_pending(o.st), n * sizeof big);
    struct count more = {.o = &o};
    for (n = 1; n < STORE_THREAD_QUERIES_MAX; n++) {
        cr_assert_eq(store_thread_query(o.st, count_run, count_done, &more), 0);
    }
    err = store_thread_query(o.st, count_run, count_done, &more);
    cr_assert_eq(err, ERR_LIMIT);
    uv_sem_post(&hold);
    run_until(&o, &o.commits, 1);
    cr_assert_eq(store_thread_pending(o.st), 0);
    cr_assert_eq(store_thread_commit(o.st, &t), 0, "room again");
    run_until(&o, &o.answers, STORE_THREAD_QUERIES_MAX);
    stop(&o);
    uv_sem_destroy(&hold);
    uv_sem_destroy(&held);
}
