/* What storing a message costs: CPU and rate of whole batches (entry, message and the
 * states that follow), beside the plainest table in the same run, and the time of a
 * commit of one message. Prints `name: value unit`. Argument: a folder on the disk to
 * measure. */
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench_disk.h"
#include "store.h"
#include "store_make.h"
#include "store_thread.h"

enum { MESSAGES = 100000, SINGLES = 500, BOX = 384 };

static void commit(struct store *s, struct txn *t)
{
    struct store_events ev = {0};
    const struct txn *list[] = {t};
    disk_check(store_commit(s, list, 1, &ev), "commit");
    store_events_release(&ev);
    txn_release(t);
    if (store_checkpoint_due(s)) {
        disk_check(store_checkpoint(s), "checkpoint");
    }
}

static void put_feed(struct txn *t, uint64_t head)
{
    struct rec r = {.kind = REC_FEED};
    r.u.feed.id = 1;
    r.u.feed.head = head;
    disk_check(txn_add(t, &r), "feed");
}

/* Both sides of a conversation: author 0 sends, whose states rise; else receives. */
static void batches(const char *dir, size_t batch, uint32_t author)
{
    char path[512], name[64];
    struct store *s = NULL;
    (void)snprintf(name, sizeof name, "%s_batch%zu", author == 0 ? "sent" : "received",
                   batch);
    disk_scratch(dir, name, path, sizeof path);
    disk_check(store_open(path, &s, NULL, 0), "open");
    struct txn first = {0};
    make_device(&first, 1, author, 1);
    commit(s, &first);
    double wall = disk_now(CLOCK_MONOTONIC), cpu = disk_now(CLOCK_PROCESS_CPUTIME_ID);
    double made = 0;
    for (uint64_t i = 1; i <= MESSAGES; i += batch) {
        double t0 = disk_now(CLOCK_PROCESS_CPUTIME_ID);
        struct txn t = {0};
        for (uint64_t j = i; j < i + batch; j++) {
            make_entry(&t, 1, j, BOX, j, author == 0);
            make_msg(&t, 1, 1, j, author, j, 1700000000000 + j);
        }
        put_feed(&t, i);
        made += disk_now(CLOCK_PROCESS_CPUTIME_ID) - t0;
        commit(s, &t);
        if (author == 0) {
            make_state(&t, 1, i, i + batch - 1, STATE_DELIVERED);
            commit(s, &t);
        }
    }
    wall = disk_now(CLOCK_MONOTONIC) - wall;
    cpu = disk_now(CLOCK_PROCESS_CPUTIME_ID) - cpu - made;
    (void)printf("%s_rate: %.0f messages/s\n", name, MESSAGES / wall);
    (void)printf("%s_cpu: %.2f us/message\n", name, cpu * 1e6 / MESSAGES);
    double t0 = disk_now(CLOCK_MONOTONIC);
    store_close(s);
    s = NULL;
    double t1 = disk_now(CLOCK_MONOTONIC);
    disk_check(store_open(path, &s, NULL, 0), "open");
    (void)printf("%s_close: %.2f ms\n%s_open: %.2f ms\n", name, (t1 - t0) * 1e3, name,
                 (disk_now(CLOCK_MONOTONIC) - t1) * 1e3);
    store_close(s);
    disk_scratch(dir, name, path, sizeof path);
}

/* How long a start takes after a kill that left a long write-ahead log. */
static void open_after_kill(const char *dir)
{
    char path[512];
    struct store *s = NULL;
    disk_scratch(dir, "killed", path, sizeof path);
    pid_t pid = fork();
    if (pid == 0) {
        disk_check(store_open(path, &s, NULL, 0), "open");
        for (uint64_t i = 1; !store_checkpoint_due(s); i += 100) {
            struct txn t = {0};
            for (uint64_t j = i; j < i + 100; j++) {
                make_entry(&t, 1, j, BOX, j, true);
                make_msg(&t, 1, 1, j, 0, j, 1700000000000 + j);
            }
            const struct txn *list[] = {&t};
            disk_check(store_commit(s, list, 1, NULL), "commit");
            txn_release(&t);
        }
        (void)kill(getpid(), SIGKILL);
    }
    disk_check(pid > 0 && waitpid(pid, NULL, 0) == pid ? 0 : 1, "child");
    double t0 = disk_now(CLOCK_MONOTONIC);
    disk_check(store_open(path, &s, NULL, 0), "open");
    (void)printf("open_after_kill: %.2f ms\n", (disk_now(CLOCK_MONOTONIC) - t0) * 1e3);
    store_close(s);
    disk_scratch(dir, "killed", path, sizeof path);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_times(const char *name, double *v, size_t n)
{
    qsort(v, n, sizeof *v, by_value);
    (void)printf("%s_median: %.1f us\n%s_p99: %.1f us\n", name, v[n / 2] * 1e6, name,
                 v[n * 99 / 100] * 1e6);
}

static void singles(const char *dir)
{
    static double times[SINGLES];
    char path[512];
    struct store *s = NULL;
    disk_scratch(dir, "single", path, sizeof path);
    disk_check(store_open(path, &s, NULL, 0), "open");
    for (uint64_t i = 1; i <= SINGLES; i++) {
        struct txn t = {0};
        make_entry(&t, 1, i, BOX, i, true);
        make_msg(&t, 1, 1, i, 0, i, 1700000000000 + i);
        put_feed(&t, i);
        double t0 = disk_now(CLOCK_MONOTONIC);
        commit(s, &t);
        times[i - 1] = disk_now(CLOCK_MONOTONIC) - t0;
    }
    print_times("commit_one_message", times, SINGLES);
    store_close(s);
    disk_scratch(dir, "single", path, sizeof path);
}

/* The way to the thread and back: each commit is handed in when the one before is told.
 * Beside it the same commits on the loop's own thread, in turn, so that both meet the
 * same disk. */
struct pingpong {
    uv_loop_t loop;
    struct store_thread *st;
    struct store *direct;
    double start, thread[SINGLES], bare[SINGLES];
    uint64_t n;
};

static void one_message(struct txn *t, uint64_t i)
{
    make_entry(t, 1, i, BOX, i, true);
    make_msg(t, 1, 1, i, 0, i, 1700000000000 + i);
    put_feed(t, i);
    t->no = i;
}

static void next_message(struct pingpong *p)
{
    struct txn t = {0};
    if (p->n == SINGLES) {
        uv_stop(&p->loop);
        return;
    }
    p->n++;
    one_message(&t, p->n);
    p->start = disk_now(CLOCK_MONOTONIC);
    commit(p->direct, &t);
    p->bare[p->n - 1] = disk_now(CLOCK_MONOTONIC) - p->start;
    one_message(&t, p->n);
    p->start = disk_now(CLOCK_MONOTONIC);
    disk_check(store_thread_commit(p->st, &t), "hand in");
}

static void on_committed(void *ctx, uint64_t up_to, struct store_events *events)
{
    struct pingpong *p = ctx;
    (void)up_to, (void)events;
    p->thread[p->n - 1] = disk_now(CLOCK_MONOTONIC) - p->start;
    next_message(p);
}

static void on_failed(void *ctx, int err, uint64_t no)
{
    (void)ctx, (void)no;
    disk_check(err, "commit on the thread");
}

static void hand_over(const char *dir)
{
    static struct pingpong p;
    const struct store_thread_cb cb = {&p, on_committed, on_failed};
    char path[512], direct[512];
    struct store *s = NULL;
    disk_scratch(dir, "thread", path, sizeof path);
    disk_scratch(dir, "direct", direct, sizeof direct);
    disk_check(store_open(path, &s, NULL, 0), "open");
    disk_check(store_open(direct, &p.direct, NULL, 0), "open");
    disk_check(uv_loop_init(&p.loop), "loop");
    disk_check(store_thread_start(&p.loop, s, &cb, &p.st), "thread");
    next_message(&p);
    (void)uv_run(&p.loop, UV_RUN_DEFAULT);
    print_times("commit_beside_thread", p.bare, SINGLES);
    print_times("commit_through_thread", p.thread, SINGLES);
    (void)printf("hand_over_median: %.1f us\n",
                 (p.thread[SINGLES / 2] - p.bare[SINGLES / 2]) * 1e6);
    store_thread_stop(p.st);
    (void)uv_run(&p.loop, UV_RUN_DEFAULT);
    disk_check(uv_loop_close(&p.loop), "loop");
    store_close(p.direct);
    disk_scratch(dir, "thread", path, sizeof path);
    disk_scratch(dir, "direct", direct, sizeof direct);
}

static void sql(sqlite3 *db, const char *text)
{
    disk_check(sqlite3_exec(db, text, NULL, NULL, NULL), text);
}

/* The comparison: rows of the same bytes in one table without an index. */
static void bare(const char *dir, size_t batch)
{
    static double times[SINGLES];
    static const uint8_t bytes[BOX + 210 + 100];
    char path[512];
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;
    disk_scratch(dir, "bare", path, sizeof path);
    disk_check(sqlite3_open(path, &db), "open");
    sql(db, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
            "PRAGMA synchronous = FULL; CREATE TABLE t(n INTEGER PRIMARY KEY, b BLOB)");
    disk_check(sqlite3_prepare_v2(db, "INSERT INTO t(b) VALUES(?)", -1, &st, NULL),
               "prepare");
    double wall = disk_now(CLOCK_MONOTONIC), cpu = disk_now(CLOCK_PROCESS_CPUTIME_ID);
    size_t rows = batch > 1 ? MESSAGES : SINGLES;
    for (size_t i = 0; i < rows; i += batch) {
        double t0 = disk_now(CLOCK_MONOTONIC);
        sql(db, "BEGIN");
        for (size_t j = 0; j < batch; j++) {
            (void)sqlite3_bind_blob(st, 1, bytes, sizeof bytes, SQLITE_STATIC);
            (void)sqlite3_step(st);
            disk_check(sqlite3_reset(st), "insert");
        }
        sql(db, "COMMIT");
        times[i / batch % SINGLES] = disk_now(CLOCK_MONOTONIC) - t0;
    }
    wall = disk_now(CLOCK_MONOTONIC) - wall;
    cpu = disk_now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    if (batch > 1) {
        (void)printf("bare_batch%zu_rate: %.0f rows/s\nbare_batch%zu_cpu: %.2f us/row\n",
                     batch, (double)rows / wall, batch, cpu * 1e6 / (double)rows);
    } else {
        print_times("bare_commit_one_row", times, SINGLES);
    }
    (void)sqlite3_finalize(st);
    (void)sqlite3_close(db);
    disk_scratch(dir, "bare", path, sizeof path);
}

int main(int argc, char **argv)
{
    const char *dir = argc > 1 ? argv[1] : ".";
    bare(dir, 1);
    singles(dir);
    hand_over(dir);
    bare(dir, 200);
    batches(dir, 200, 0);
    batches(dir, 200, 2);
    open_after_kill(dir);
    return 0;
}
