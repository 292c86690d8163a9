/* The store's file: durability, damage, locks, migrations, a full disk. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "store.h"
#include "store_make.h"
#include "store_priv.h"

enum { BASE = 1000, PATH_LEN = 128 };

struct home {
    char dir[64], path[PATH_LEN];
};

static void home_make(struct home *h)
{
    (void)snprintf(h->dir, sizeof h->dir, "/tmp/linnet-store-XXXXXX");
    cr_assert_not_null(mkdtemp(h->dir));
    (void)snprintf(h->path, sizeof h->path, "%s/linnet.db", h->dir);
}

static void home_remove_files(const struct home *h)
{
    static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
    char path[PATH_LEN + 16];
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        (void)snprintf(path, sizeof path, "%s%s", h->path, ends[i]);
        (void)unlink(path);
    }
}

static void home_remove(const struct home *h)
{
    home_remove_files(h);
    cr_assert_eq(rmdir(h->dir), 0);
}

static struct store *open_ok(const struct home *h)
{
    struct store *s = NULL;
    char why[256] = "";
    cr_assert_eq(store_open(h->path, &s, why, sizeof why), 0, "%s", why);
    return s;
}

/* Opening is refused with err and a sentence, and the file stays as it was. */
static void open_refused(const struct home *h, int err)
{
    static uint8_t before[1 << 20], after[1 << 20];
    struct store *s = NULL;
    char why[256] = "";
    int fd = open(h->path, O_RDONLY);
    ssize_t n = read(fd, before, sizeof before);
    (void)close(fd);
    cr_assert_eq(store_open(h->path, &s, why, sizeof why), err, "%s", why);
    cr_assert_null(s);
    size_t len = strlen(why);
    cr_assert_gt(len, 20);
    cr_assert_eq(why[len - 1], '.', "%s", why);
    cr_assert_eq(store_open(h->path, &s, NULL, 0), err);
    fd = open(h->path, O_RDONLY);
    cr_assert_eq(read(fd, after, sizeof after), n);
    (void)close(fd);
    cr_assert_eq(memcmp(before, after, (size_t)n), 0);
}

static int try_message(struct store *s, uint64_t i)
{
    struct txn t = {0};
    struct store_events ev = {0};
    make_entry(&t, 1, i, 300, i, true);
    make_msg(&t, 1, 1, i, 0, i, BASE + i);
    const struct txn *list[] = {&t};
    int err = store_commit(s, list, 1, &ev);
    cr_assert_eq(ev.n, err == 0);
    store_events_release(&ev);
    txn_release(&t);
    return err;
}

static void messages(struct store *s, uint64_t from, uint64_t to)
{
    struct txn t = {0};
    for (uint64_t i = from; i <= to; i++) {
        make_entry(&t, 1, i, 300, i, true);
        make_msg(&t, 1, 1, i, 0, i, BASE + i);
    }
    const struct txn *list[] = {&t};
    cr_assert_eq(store_commit(s, list, 1, NULL), 0);
    txn_release(&t);
}

/* Entries 1 to the result are there, each with its message. */
static uint64_t check_all(struct store *s)
{
    struct store_entries e = {0};
    struct store_events ev = {0};
    uint64_t seq = 0, newest = 0, n = 0;
    do {
        store_entries_release(&e);
        cr_assert_eq(store_entries(s, 1, seq + 1, UINT64_MAX, 100, SIZE_MAX, &e), 0);
        for (size_t i = 0; i < e.n; i++) {
            cr_assert_eq(e.v[i].seq, ++seq);
        }
    } while (e.n > 0);
    store_entries_release(&e);
    do {
        store_events_release(&ev);
        cr_assert_eq(store_events_since(s, n, 100, &ev, &newest), 0);
        for (size_t i = 0; i < ev.n; i++) {
            cr_assert_eq(ev.v[i].n, ++n);
            cr_assert_eq(ev.v[i].order, BASE + n);
            cr_assert_eq(ev.v[i].text.n, 100);
        }
    } while (ev.n > 0);
    store_events_release(&ev);
    cr_assert_eq(n, seq);
    cr_assert_eq(newest, n);
    return seq;
}

static int64_t pragma(const struct store *s, const char *name)
{
    char sql[64];
    sqlite3_stmt *st = NULL;
    (void)snprintf(sql, sizeof sql, "PRAGMA %s", name);
    cr_assert_eq(sqlite3_prepare_v2(s->db, sql, -1, &st, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_step(st), SQLITE_ROW);
    int64_t v = sqlite3_column_int64(st, 0);
    (void)sqlite3_finalize(st);
    return v;
}

static void run_sql(const struct home *h, const char *sql)
{
    sqlite3 *db = NULL;
    cr_assert_eq(sqlite3_open(h->path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK, "%s",
                 sqlite3_errmsg(db));
    cr_assert_eq(sqlite3_close(db), SQLITE_OK);
}

Test(store_file, a_new_one_is_private_and_durable_by_settings)
{
    struct home h;
    struct stat st;
    home_make(&h);
    struct store *s = open_ok(&h);
    cr_assert_eq(stat(h.path, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600);
    cr_assert_eq(pragma(s, "synchronous"), 2);
    cr_assert_eq(pragma(s, "secure_delete"), 1);
    cr_assert_eq(pragma(s, "application_id"), STORE_APP_ID);
    cr_assert_eq(pragma(s, "user_version"), STORE_SCHEMA);
    messages(s, 1, 10);
    store_close(s);
    s = open_ok(&h);
    cr_assert_eq(check_all(s), 10);
    cr_assert_eq(try_message(s, 11), 0);
    cr_assert_eq(check_all(s), 11, "numbers go on after a restart");
    store_close(s);
    store_close(NULL);
    home_remove(&h);
}

/* Damage */

Test(store_file, a_newer_schema_is_refused_untouched)
{
    struct home h;
    home_make(&h);
    store_close(open_ok(&h));
    run_sql(&h, "PRAGMA user_version = 99; CREATE TABLE novelty(x);");
    open_refused(&h, ERR_NEWER);
    home_remove(&h);
}

Test(store_file, a_newer_schema_keeps_its_write_ahead_log)
{
    struct home h;
    char wal[PATH_LEN + 8];
    struct stat before, after;
    home_make(&h);
    store_close(open_ok(&h));
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) { /* a newer program that is killed, with its last commit in the WAL */
        sqlite3 *db = NULL;
        if (sqlite3_open(h.path, &db) == SQLITE_OK &&
            sqlite3_exec(db, "PRAGMA user_version = 9", NULL, NULL, NULL) == SQLITE_OK) {
            (void)kill(getpid(), SIGKILL);
        }
        _exit(1);
    }
    int status = 0;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFSIGNALED(status));
    (void)snprintf(wal, sizeof wal, "%s-wal", h.path);
    cr_assert_eq(stat(wal, &before), 0);
    cr_assert_gt(before.st_size, 0);
    open_refused(&h, ERR_NEWER);
    cr_assert_eq(stat(wal, &after), 0);
    cr_assert_eq(before.st_size, after.st_size);
    home_remove(&h);
}

Test(store_file, another_programs_database_is_refused)
{
    struct home h;
    home_make(&h);
    run_sql(&h, "CREATE TABLE t(x); INSERT INTO t VALUES(1);");
    open_refused(&h, ERR_CORRUPT);
    home_remove(&h);
}

static void write_at(const struct home *h, off_t at, const void *p, size_t n)
{
    int fd = open(h->path, O_RDWR | O_CREAT, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(pwrite(fd, p, n, at), (ssize_t)n);
    (void)close(fd);
}

Test(store_file, garbage_and_damage_are_refused)
{
    static uint8_t noise[20000];
    struct home h;
    struct stat st;
    home_make(&h);
    for (size_t i = 0; i < sizeof noise; i++) {
        noise[i] = (uint8_t)(i * 197 >> 3);
    }
    write_at(&h, 0, noise, sizeof noise);
    open_refused(&h, ERR_CORRUPT);
    (void)unlink(h.path);
    write_at(&h, 0, "SQLite", 6);
    open_refused(&h, ERR_CORRUPT);
    (void)unlink(h.path);
    /* truncated at a page, and in one; a small database and one that is not */
    for (uint64_t n = 10; n <= 3000; n += 2990) {
        for (int odd = 0; odd < 2; odd++) {
            struct store *s = open_ok(&h);
            messages(s, 1, n);
            store_close(s);
            cr_assert_eq(stat(h.path, &st), 0);
            cr_assert_eq(truncate(h.path, st.st_size / 8192 * 4096 + odd), 0);
            open_refused(&h, ERR_CORRUPT);
            (void)unlink(h.path);
        }
    }
    /* a header and a page of a table overwritten */
    for (int page = 0; page < 2; page++) {
        struct store *s = open_ok(&h);
        messages(s, 1, 10);
        store_close(s);
        write_at(&h, page == 0 ? 20 : 4096 * 3, noise + 1, 60);
        open_refused(&h, ERR_CORRUPT);
        (void)unlink(h.path);
    }
    home_remove(&h);
}

Test(store_file, an_emptied_file_beside_its_log_is_damage)
{
    struct home h;
    char wal[PATH_LEN + 8];
    home_make(&h);
    (void)snprintf(wal, sizeof wal, "%s-wal", h.path);
    int fd = open(wal, O_RDWR | O_CREAT, 0600);
    cr_assert_eq(write(fd, "log", 3), 3);
    (void)close(fd);
    write_at(&h, 0, "", 0);
    open_refused(&h, ERR_CORRUPT);
    home_remove(&h);
}

Test(store_file, a_path_that_cannot_be_is_an_error)
{
    struct store *s = NULL;
    char why[256] = "";
    cr_assert_eq(store_open("/nonexistent/linnet.db", &s, why, sizeof why), ERR_IO);
    cr_assert_not_null(strstr(why, "/nonexistent/linnet.db"));
}

Test(store_file, one_that_is_locked_is_busy)
{
    struct home h;
    int ready[2], go[2];
    char byte = 0;
    home_make(&h);
    store_close(open_ok(&h));
    cr_assert_eq(pipe(ready), 0);
    cr_assert_eq(pipe(go), 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        struct store *s = NULL;
        int err = store_open(h.path, &s, NULL, 0);
        (void)!write(ready[1], err == 0 ? "y" : "n", 1);
        (void)!read(go[0], &byte, 1);
        store_close(s);
        _exit(0);
    }
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    cr_assert_eq(byte, 'y');
    struct store *s = NULL;
    char why[256] = "";
    cr_assert_eq(store_open(h.path, &s, why, sizeof why), ERR_BUSY, "%s", why);
    cr_assert_not_null(strstr(why, "locked"));
    cr_assert_eq(write(go[1], "x", 1), 1);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
    store_close(open_ok(&h));
    home_remove(&h);
}

/* Migrations */

Test(store_file, migrations_are_all_or_none)
{
    static const char *const good[] = {"CREATE TABLE a(x)",
                                       "CREATE TABLE b(x); INSERT INTO b VALUES(7)",
                                       "ALTER TABLE a ADD COLUMN y"};
    static const char *const broken[] = {"CREATE TABLE a(x)", "CREATE TABLE b(x)",
                                         "ALTER TABLE nosuch ADD COLUMN y"};
    sqlite3 *db = NULL;
    cr_assert_eq(sqlite3_open(":memory:", &db), SQLITE_OK);
    cr_assert_eq(store_migrate(db, good, 1), 0);
    cr_assert_eq(store_migrate(db, broken, 3), ERR_STATE);
    cr_assert_neq(sqlite3_exec(db, "SELECT * FROM b", NULL, NULL, NULL), SQLITE_OK);
    cr_assert_eq(store_migrate(db, good, 3), 0, "from 1 to 3, not from the start");
    cr_assert_eq(sqlite3_exec(db, "SELECT y FROM a; SELECT x FROM b", NULL, NULL, NULL),
                 SQLITE_OK);
    cr_assert_eq(store_migrate(db, good, 3), 0);
    cr_assert_eq(store_migrate(db, good, 2), ERR_NEWER);
    (void)sqlite3_close(db);
}

/* A full disk */

Test(store_file, a_full_disk_loses_nothing_and_passes)
{
    struct home h;
    char sql[64];
    uint64_t i = 0;
    int err = 0;
    home_make(&h);
    struct store *s = open_ok(&h);
    messages(s, 1, 20);
    (void)snprintf(sql, sizeof sql, "PRAGMA max_page_count = %lld",
                   (long long)pragma(s, "page_count") + 10);
    cr_assert_eq(sqlite3_exec(s->db, sql, NULL, NULL, NULL), SQLITE_OK);
    for (i = 21; err == 0 && i < 10000; i++) {
        err = try_message(s, i);
    }
    cr_assert_eq(err, ERR_FULL);
    uint64_t stored = check_all(s);
    cr_assert_eq(stored, i - 2, "all before the failure, none of it");
    cr_assert_eq(try_message(s, stored + 1), ERR_FULL);
    cr_assert_eq(sqlite3_exec(s->db, "PRAGMA max_page_count = 100000", NULL, NULL, NULL),
                 SQLITE_OK);
    cr_assert_eq(store_probe(s), 0);
    cr_assert_eq(try_message(s, stored + 1), 0);
    store_close(s);
    s = open_ok(&h);
    cr_assert_eq(check_all(s), stored + 1);
    store_close(s);
    home_remove(&h);
}

/* Kill -9: the child commits and acknowledges each commit over a pipe, until it is killed
 * in the middle. What was acknowledged is there, and nothing is there in part. */
static void child_commits(const struct home *h, int ack)
{
    struct store *s = NULL;
    if (store_open(h->path, &s, NULL, 0) != 0) {
        _exit(1);
    }
    uint64_t newest = s->event_last;
    for (uint64_t i = newest + 1;; i += 3) {
        struct txn t[3];
        const struct txn *list[3];
        memset(t, 0, sizeof t);
        for (uint64_t j = 0; j < 3; j++) {
            make_entry(&t[j], 1, i + j, 2000, i + j, true);
            make_msg(&t[j], 1, 1, i + j, 0, i + j, BASE + i + j);
            list[j] = &t[j];
        }
        uint64_t acked = i + 2;
        if (store_commit(s, list, 3, NULL) != 0 ||
            write(ack, &acked, sizeof acked) != sizeof acked) {
            _exit(1);
        }
        for (int j = 0; j < 3; j++) {
            txn_release(&t[j]);
        }
        if (store_checkpoint_due(s)) {
            (void)store_checkpoint(s);
        }
    }
}

Test(store_file, what_was_acknowledged_survives_a_kill)
{
    enum { KILLS = 12, ACKS_MIN = 5 };
    struct home h;
    uint64_t acked = 0, stored = 0;
    home_make(&h);
    for (unsigned round = 0; round < KILLS; round++) {
        int ack[2];
        cr_assert_eq(pipe(ack), 0);
        pid_t pid = fork();
        cr_assert_geq(pid, 0);
        if (pid == 0) {
            (void)close(ack[0]);
            child_commits(&h, ack[1]);
        }
        (void)close(ack[1]);
        /* a different number of commits each time, and then wherever it happens to be */
        for (unsigned i = 0; i < ACKS_MIN + round * 37 % 50; i++) {
            cr_assert_eq(read(ack[0], &acked, sizeof acked), (ssize_t)sizeof acked);
        }
        cr_assert_eq(kill(pid, SIGKILL), 0);
        cr_assert_eq(waitpid(pid, NULL, 0), pid);
        uint64_t more;
        while (read(ack[0], &more, sizeof more) == (ssize_t)sizeof more) {
            acked = more;
        }
        (void)close(ack[0]);
        struct store *s = open_ok(&h);
        stored = check_all(s);
        cr_assert_geq(stored, acked);
        cr_assert_leq(stored, acked + 3);
        cr_assert_eq(stored % 3, 0, "a commit is there as a whole");
        store_close(s);
    }
    home_remove(&h);
}

/* A file that takes up what the file system has left. */
static void fill_disk(const char *path)
{
    static const uint8_t zeros[4096];
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    cr_assert_geq(fd, 0);
    while (write(fd, zeros, sizeof zeros) > 0) {
    }
    (void)close(fd);
}

/* A commit larger than what the log's writes are gathered into. */
Test(store_file, a_large_commit_survives_a_kill)
{
    enum { ENTRIES = 40, BOX = 20000 };
    struct home h;
    struct store *s = NULL;
    struct store_entries out = {0};
    home_make(&h);
    pid_t pid = fork();
    if (pid == 0) {
        struct txn t = {0};
        const struct txn *list[] = {&t};
        make_device(&t, 1, 0, 1);
        for (uint64_t i = 1; i <= ENTRIES; i++) {
            make_entry(&t, 1, i, BOX, i, true);
            make_msg(&t, 1, 1, i, 0, i, BASE + i);
        }
        if (store_open(h.path, &s, NULL, 0) == 0 && store_commit(s, list, 1, NULL) == 0) {
            (void)kill(getpid(), SIGKILL);
        }
        _exit(1);
    }
    int status = 0;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFSIGNALED(status));
    cr_assert_eq(store_open(h.path, &s, NULL, 0), 0);
    cr_assert_eq(store_entries(s, 1, 1, ENTRIES, ENTRIES, ENTRIES * 2 * BOX, &out), 0);
    cr_assert_eq(out.n, ENTRIES);
    store_entries_release(&out);
    store_close(s);
    home_remove(&h);
}

Test(store_file, a_full_file_system_loses_nothing_and_passes)
{
    struct home h;
    char ballast[PATH_LEN];
    uint64_t i = 0;
    int err = 0;
    home_make(&h);
    if ((unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", h.dir, "tmpfs", 0, "size=2m") != 0) {
        home_remove(&h);
        cr_skip_test("mounting a tmpfs is not permitted here");
    }
    (void)snprintf(ballast, sizeof ballast, "%s/ballast", h.dir);
    struct store *s = open_ok(&h);
    messages(s, 1, 20);
    fill_disk(ballast);
    for (i = 21; err == 0 && i < 10000; i++) {
        err = try_message(s, i);
    }
    cr_assert_eq(err, ERR_FULL);
    uint64_t stored = check_all(s);
    cr_assert_eq(stored, i - 2);
    cr_assert_eq(try_message(s, stored + 1), ERR_FULL);
    cr_assert_eq(unlink(ballast), 0);
    cr_assert_eq(store_probe(s), 0);
    cr_assert_eq(try_message(s, stored + 1), 0);
    store_close(s);
    s = open_ok(&h);
    cr_assert_eq(check_all(s), stored + 1);
    store_close(s);
    /* and with no room at all for a new one */
    home_remove_files(&h);
    fill_disk(ballast);
    char why[256] = "";
    cr_assert_eq(store_open(h.path, &s, why, sizeof why), ERR_FULL, "%s", why);
    cr_assert_not_null(strstr(why, "space"));
    cr_assert_eq(umount2(h.dir, MNT_DETACH), 0);
    cr_assert_eq(rmdir(h.dir), 0);
}

static int keep_nothing(void *ctx, const struct rec *r)
{
    (void)ctx, (void)r;
    return 0;
}

static int read_nothing(void *ctx, const struct store_msg *m)
{
    (void)ctx, (void)m;
    return 0;
}

Test(store_file, flipped_bits_never_do_more_than_fail)
{
    enum { FLIPS = 400, MESSAGES = 100 }; /* pages of empty tables hold little */
    struct home h;
    struct stat st;
    static uint8_t good[1 << 20];
    size_t refused = 0;
    home_make(&h);
    struct store *s = open_ok(&h);
    messages(s, 1, MESSAGES);
    store_close(s);
    cr_assert_eq(stat(h.path, &st), 0);
    int fd = open(h.path, O_RDWR);
    size_t n = (size_t)st.st_size;
    cr_assert_eq(read(fd, good, sizeof good), st.st_size);
    (void)close(fd);
    for (size_t i = 0; i < FLIPS; i++) {
        /* half of them where the trees' headers and cell pointers are */
        size_t at = i * 7919 % n;
        at = i % 2 == 0 ? at / 4096 * 4096 + i % 160 : at;
        uint8_t bad = good[at] ^ (uint8_t)(1u << i % 8);
        write_at(&h, (off_t)at, &bad, 1);
        s = NULL;
        int err = store_open(h.path, &s, NULL, 0);
        refused += err != 0;
        if (err == 0) {
            struct store_query q = {.limit = STORE_PAGE_ROWS};
            struct store_events ev = {0};
            struct store_entries e = {0};
            uint64_t newest = 0;
            (void)store_load(s, keep_nothing, NULL);
            (void)store_history(s, &q, read_nothing, NULL);
            (void)store_events_since(s, 0, 100, &ev, &newest);
            (void)store_entries(s, 1, 1, 100, 100, SIZE_MAX, &e);
            store_events_release(&ev);
            store_entries_release(&e);
            store_close(s);
        }
        (void)unlink(h.path);
        write_at(&h, 0, good, n);
    }
    cr_assert_gt(refused, FLIPS / 10);
    s = open_ok(&h);
    cr_assert_eq(check_all(s), MESSAGES);
    store_close(s);
    home_remove(&h);
}

Test(store_file, no_page_of_a_query_sorts_or_scans_a_history)
{
    static const enum stmt_id ids[] = {
        ST_MSG_SAME,   ST_MSG_RISE,      ST_MSG_READ,     ST_ENTRIES,
        ST_HISTORY_UP, ST_HISTORY_DOWN,  ST_NEXT_UP,      ST_NEXT_DOWN,
        ST_FIND,       ST_AUTHOR_NEXT,   ST_AUTHOR_FIRST, ST_EVENTS,
        ST_ARRIVALS,   ST_ARRIVALS_CONV, ST_ENTRY_DEL,    ST_CARRIES_DEL};
    struct store *s = NULL;
    cr_assert_eq(store_open(":memory:", &s, NULL, 0), 0);
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        char sql[2048];
        sqlite3_stmt *st = NULL;
        (void)snprintf(sql, sizeof sql, "EXPLAIN QUERY PLAN %s", store_sql[ids[i]]);
        cr_assert_eq(sqlite3_prepare_v2(s->db, sql, -1, &st, NULL), SQLITE_OK);
        while (sqlite3_step(st) == SQLITE_ROW) {
            const char *plan = (const char *)sqlite3_column_text(st, 3);
            cr_assert(strncmp(plan, "SCAN", 4) != 0 && strstr(plan, "TEMP") == NULL,
                      "%s: %s", sql, plan);
        }
        (void)sqlite3_finalize(st);
    }
    store_close(s);
}

/* Older schemas */

static char *read_text(const char *name)
{
    static char text[1 << 20];
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/%s", getenv("LINNET_TESTS"), name);
    FILE *f = fopen(path, "r");
    cr_assert_not_null(f, "%s", path);
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = '\0';
    cr_assert_eq(fclose(f), 0);
    return text;
}

struct texts {
    size_t n;
    char last[256];
};

static int on_text(void *ctx, const struct store_msg *m, const struct search_match *v,
                   size_t n)
{
    struct texts *t = ctx;
    (void)v, (void)n;
    t->n++;
    (void)snprintf(t->last, sizeof t->last, "%.*s", (int)m->text.n, (char *)m->text.p);
    return 0;
}

static struct texts look_for(struct store *s, const char *text)
{
    static struct search q;
    struct texts t = {.n = 0};
    struct search_at at = {.below = UINT64_MAX};
    cr_assert_eq(search_parse(text, strlen(text), &q), 0);
    while (!at.done) {
        cr_assert_eq(store_search(s, &q, &at, on_text, &t), 0);
    }
    return t;
}

/* A home as the first version left it: nothing of it is lost, what is newer is there, and
 * its history is found, before and after it is indexed. */
Test(store_file, schema_1_is_brought_up_to_date)
{
    struct home h;
    home_make(&h);
    run_sql(&h, read_text("schema1/linnet.sql"));
    struct store *s = open_ok(&h);
    cr_assert_eq(pragma(s, "user_version"), STORE_SCHEMA);
    cr_assert_eq(s->row_last, 3);
    cr_assert_eq(store_index_behind(s), 3);
    for (int i = 0; i < 3; i++) {
        cr_assert_str_eq(look_for(s, "cafe").last, "Shall we meet at the Café?");
        cr_assert_str_eq(look_for(s, "北京").last, "好，明天在北京见。");
        for (bool more = i == 1; more;) {
            cr_assert_eq(store_index(s, false, &more), 0);
        }
        store_close(s);
        s = open_ok(&h);
        cr_assert_eq(store_index_behind(s), i == 0 ? 3 : 0);
    }
    store_close(s);
    home_remove(&h);
}

static int on_flags(void *ctx, const struct store_msg *m)
{
    uint32_t **flags = ctx;
    *(*flags)++ = m->flags;
    return 0;
}

/* Schema 2 had the index and changes already: they stay as they were. */
Test(store_file, schema_2_is_brought_up_to_date)
{
    struct home h;
    home_make(&h);
    run_sql(&h, read_text("schema2/linnet.sql"));
    for (int i = 0; i < 2; i++) {
        struct store *s = open_ok(&h);
        uint32_t flags[4] = {0}, *at = flags;
        struct store_query q = {.conv = 1, .limit = 4};
        cr_assert_eq(pragma(s, "user_version"), STORE_SCHEMA);
        cr_assert_eq(s->row_last, 4);
        cr_assert_eq(store_index_behind(s), 0);
        cr_assert_str_eq(look_for(s, "umbrella").last, "Bring the new umbrella");
        cr_assert_eq(look_for(s, "old").n, 0, "what was edited away");
        cr_assert_eq(store_history(s, &q, on_flags, &at), 0);
        cr_assert_eq(at - flags, 4);
        cr_assert(flags[0] == MSG_REACTED && flags[1] == 0);
        cr_assert(flags[2] == MSG_EDITED && flags[3] == MSG_REDACTED);
        store_close(s);
    }
    home_remove(&h);
}

/* The index */

static int on_row(void *ctx, const struct store_msg *m, const struct search_match *v,
                  size_t n)
{
    (void)m, (void)v, (void)n;
    ++*(size_t *)ctx;
    return 0;
}

/* Messages that a word is found in: make_msg writes the message's number. */
static size_t hits(struct store *s, const char *text)
{
    static struct search q;
    struct search_at at = {.below = UINT64_MAX};
    size_t n = 0;
    cr_assert_eq(search_parse(text, strlen(text), &q), 0);
    while (!at.done) {
        cr_assert_eq(store_search(s, &q, &at, on_row, &n), 0);
    }
    return n;
}

static void index_is_whole(struct store *s)
{
    for (bool more = true; more;) {
        cr_assert_eq(store_index(s, false, &more), 0);
    }
    cr_assert_eq(store_index_behind(s), 0);
    cr_assert_eq(sqlite3_exec(s->db,
                              "INSERT INTO words(words) VALUES('integrity-check');"
                              "INSERT INTO words(words) VALUES('optimize')",
                              NULL, NULL, NULL),
                 SQLITE_OK);
}

/* A node dies again and again while it indexes, in the middle of a slice or between two:
 * nothing is lost, nothing is there twice. */
Test(store_file, killed_while_indexing)
{
    enum { COUNT = 6000, LIVES = 8 };
    struct home h;
    home_make(&h);
    struct store *s = open_ok(&h);
    for (uint64_t i = 1; i <= COUNT; i += 1000) {
        messages(s, i, i + 999);
    }
    store_close(s);
    for (uint64_t life = 1; life <= LIVES; life++) {
        int fds[2];
        char byte = 0;
        cr_assert_eq(pipe(fds), 0);
        pid_t pid = fork();
        cr_assert_geq(pid, 0);
        if (pid == 0) {
            bool more = true;
            s = open_ok(&h);
            for (uint64_t i = 0; i < life % 4 && more; i++) {
                more = store_index(s, false, &more) == 0 && more;
            }
            if (write(fds[1], &byte, 1) != 1) {
                _exit(1);
            }
            while (more && store_index(s, false, &more) == 0) {
            }
            (void)pause();
            _exit(1);
        }
        (void)close(fds[1]);
        cr_assert_eq(read(fds[0], &byte, 1), 1); /* it is at work */
        (void)close(fds[0]);
        cr_assert_eq(kill(pid, SIGKILL), 0);
        cr_assert_eq(waitpid(pid, NULL, 0), pid);
        s = open_ok(&h);
        cr_assert_eq(hits(s, "777"), 1);
        cr_assert_eq(hits(s, "from:0"), COUNT);
        store_close(s);
    }
    s = open_ok(&h);
    index_is_whole(s);
    cr_assert_eq(hits(s, "777"), 1);
    cr_assert_eq(hits(s, "in:1"), 0);
    cr_assert_eq(hits(s, "77*"), 11); /* 77, and 770 to 779 */
    store_close(s);
    home_remove(&h);
}

/* No room for the index: messages are stored and found all the same, and it goes on when
 * there is room again. */
Test(store_file, no_room_for_the_index)
{
    struct home h;
    bool more = true;
    home_make(&h);
    struct store *s = open_ok(&h);
    messages(s, 1, 3000);
    char sql[64];
    (void)snprintf(sql, sizeof sql, "PRAGMA max_page_count = %lld",
                   (long long)pragma(s, "page_count") + 3);
    cr_assert_eq(sqlite3_exec(s->db, sql, NULL, NULL, NULL), SQLITE_OK);
    int err = 0;
    while (err == 0 && more) {
        err = store_index(s, false, &more);
    }
    cr_assert_eq(err, ERR_FULL);
    cr_assert_not(more);
    cr_assert_gt(store_index_behind(s), 0);
    cr_assert_eq(hits(s, "2999"), 1);
    cr_assert_eq(hits(s, "17"), 1);
    cr_assert_eq(sqlite3_exec(s->db, "PRAGMA max_page_count = 1000000", NULL, NULL, NULL),
                 SQLITE_OK);
    messages(s, 3001, 3001);
    index_is_whole(s);
    cr_assert_eq(hits(s, "17"), 1);
    cr_assert_eq(hits(s, "3001"), 1);
    store_close(s);
    home_remove(&h);
}
