/* The store's file: opening, checking, migrating, what a node starts from, snapshots.
 *
 * One connection, WAL, synchronous=FULL, exclusive: while a store is open no other
 * program can read or write the database, and the WAL's index lives in our memory. */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "store_priv.h"

enum { DB_HEAD = 100, DB_HEAD_PAGE_SIZE = 16, DB_HEAD_VERSIONS = 18, DB_HEAD_PAGES = 28 };

/* Errors and statements */

int store_err(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return 0;
    case SQLITE_FULL:
        return ERR_FULL;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_BUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_CORRUPT;
    case SQLITE_NOMEM:
        return ERR_NOMEM;
    case SQLITE_TOOBIG:
        return ERR_LIMIT;
    case SQLITE_ERROR:
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_MISUSE:
    case SQLITE_RANGE:
        return ERR_STATE;
    default:
        return ERR_IO;
    }
}

sqlite3_stmt *store_stmt(struct store *s, enum stmt_id id, int *err)
{
    if (s->st[id] == NULL) {
        int rc = sqlite3_prepare_v3(s->db, store_sql[id], -1, SQLITE_PREPARE_PERSISTENT,
                                    &s->st[id], NULL);
        if (rc != SQLITE_OK) {
            *err = store_err(rc);
            return NULL;
        }
    }
    return s->st[id];
}

struct bind bind_start(struct store *s, enum stmt_id id)
{
    struct bind b = {.i = 0};
    b.st = store_stmt(s, id, &b.err);
    return b;
}

static void bound(struct bind *b, int rc)
{
    if (rc != SQLITE_OK && b->err == 0) {
        b->err = store_err(rc);
    }
}

void bind_i64(struct bind *b, int64_t v)
{
    if (b->err == 0) {
        bound(b, sqlite3_bind_int64(b->st, ++b->i, v));
    }
}

void bind_int(struct bind *b, uint64_t v)
{
    bind_i64(b, (int64_t)v);
}

void bind_bytes(struct bind *b, const void *p, size_t n)
{
    if (b->err == 0) {
        bound(b, sqlite3_bind_blob64(b->st, ++b->i, n > 0 ? p : "", n, SQLITE_STATIC));
    }
}

void bind_bytes_if(struct bind *b, bool present, const void *p, size_t n)
{
    if (present) {
        bind_bytes(b, p, n);
    } else {
        bind_null(b);
    }
}

void bind_text(struct bind *b, const void *p, size_t n)
{
    if (b->err == 0) {
        bound(b, sqlite3_bind_text64(b->st, ++b->i, n > 0 ? p : "", n, SQLITE_STATIC,
                                     SQLITE_UTF8));
    }
}

void bind_name(struct bind *b, const char *s, size_t max)
{
    bind_text(b, s, strnlen(s, max));
}

void bind_null(struct bind *b)
{
    if (b->err == 0) {
        bound(b, sqlite3_bind_null(b->st, ++b->i));
    }
}

int bind_row(struct bind *b)
{
    if (b->err != 0) {
        return b->err;
    }
    int rc = sqlite3_step(b->st);
    if (rc == SQLITE_ROW) {
        return 1;
    }
    (void)sqlite3_reset(b->st);
    if (rc != SQLITE_DONE) {
        b->err = (rc & 0xff) == SQLITE_IOERR &&
                         sqlite3_system_errno(sqlite3_db_handle(b->st)) == EDQUOT
                     ? ERR_FULL
                     : store_err(rc);
    }
    return b->err;
}

int bind_run(struct bind *b)
{
    int rc = bind_row(b);
    while (rc == 1) {
        rc = bind_row(b);
    }
    return rc;
}

uint64_t col_int(sqlite3_stmt *st, int i)
{
    return (uint64_t)sqlite3_column_int64(st, i);
}

struct blob col_blob(sqlite3_stmt *st, int i)
{
    const void *p = sqlite3_column_blob(st, i);
    return (struct blob){(uint8_t *)(uintptr_t)p, (size_t)sqlite3_column_bytes(st, i)};
}

bool col_fixed(sqlite3_stmt *st, int i, void *out, size_t n)
{
    struct blob b = col_blob(st, i);
    if (b.n != n || b.p == NULL) {
        memset(out, 0, n);
        return false;
    }
    memcpy(out, b.p, n);
    return true;
}

void col_name(sqlite3_stmt *st, int i, char *out, size_t size)
{
    struct blob b = col_blob(st, i);
    size_t n = b.n < size - 1 ? b.n : size - 1;
    if (n > 0) {
        memcpy(out, b.p, n);
    }
    memset(out + n, 0, size - n);
}

int store_rank(struct store *s, uint32_t device, int64_t *rank)
{
    size_t slot = device & (STORE_DEVICES_CACHED - 1);
    if (device == 0) {
        *rank = 0;
        return 0;
    }
    if (s->device[slot].id != device) {
        struct bind b = bind_start(s, ST_DEVICE_ID);
        bind_int(&b, device);
        int rc = bind_row(&b);
        if (rc < 0) {
            return rc;
        }
        int64_t v = 0;
        if (rc == 1) {
            struct blob id = col_blob(b.st, 0);
            struct rd r = rd_init(id.p, id.n);
            /* order as signed numbers what is ordered as bytes */
            v = (int64_t)(rd_u64(&r) ^ (UINT64_C(1) << 63));
            (void)sqlite3_reset(b.st);
        }
        s->device[slot].id = device;
        s->device[slot].rank = v;
    }
    *rank = s->device[slot].rank;
    return 0;
}

/* Opening */

__attribute__((format(printf, 4, 5))) static int
refuse(int err, char *why, size_t why_len, const char *fmt, ...)
{
    if (why != NULL && why_len > 0) {
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(why, why_len, fmt, ap);
        va_end(ap);
    }
    return err;
}

/* A sentence for an error that SQLite gave while opening. */
static int refuse_err(int err, const char *path, char *why, size_t why_len)
{
    switch (err) {
    case ERR_BUSY:
        return refuse(
            err, why, why_len,
            "The database %s is locked: another program has it open. Close that "
            "program and try again.",
            path);
    case ERR_CORRUPT:
        return refuse(
            err, why, why_len,
            "The database %s is damaged and was left as it is. Put back a backup, "
            "or move it away to start with an empty history.",
            path);
    case ERR_FULL:
        return refuse(
            err, why, why_len,
            "There is no space left for the database %s. Free some and try again.", path);
    default:
        return refuse(err, why, why_len, "The database %s cannot be used: %s.", path,
                      err_str(err));
    }
}

static int run_sql(sqlite3 *db, const char *sql)
{
    return store_err(sqlite3_exec(db, sql, NULL, NULL, NULL));
}

/* The first column of the first row as a number. */
static int get_int(sqlite3 *db, const char *sql, int64_t *out)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(st);
        if (rc == SQLITE_ROW) {
            *out = sqlite3_column_int64(st, 0);
        }
    }
    (void)sqlite3_finalize(st);
    return rc == SQLITE_DONE ? ERR_NOTFOUND : store_err(rc);
}

/* Creates the file when there is none, readable by its owner only, and looks for damage
 * that SQLite would take for an empty or a shorter database. */
static int check_file(const char *path, char *why, size_t why_len)
{
    uint8_t head[DB_HEAD];
    char wal[4096];
    struct stat st, wal_st;
    int n = snprintf(wal, sizeof wal, "%s-wal", path);
    if (n < 0 || (size_t)n >= sizeof wal) {
        return refuse(ERR_ARG, why, why_len, "The path of the database is too long.");
    }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || fstat(fd, &st) != 0) {
        int e = errno;
        if (fd >= 0) {
            (void)close(fd);
        }
        return refuse(e == ENOSPC || e == EDQUOT ? ERR_FULL : ERR_IO, why, why_len,
                      "The database %s cannot be opened: %s.", path, strerror(e));
    }
    ssize_t got = pread(fd, head, sizeof head, 0);
    (void)close(fd);
    bool has_wal = stat(wal, &wal_st) == 0 && wal_st.st_size > 0;
    if (st.st_size == 0 && !has_wal) {
        return 0;
    }
    struct rd r = rd_init(head, got > 0 ? (size_t)got : 0);
    (void)rd_bytes(&r, DB_HEAD_PAGE_SIZE);
    uint64_t page = rd_u16(&r);
    (void)rd_bytes(&r, DB_HEAD_PAGES - DB_HEAD_PAGE_SIZE - 2);
    uint64_t pages = rd_u32(&r);
    if (got != DB_HEAD || !rd_ok(&r) || memcmp(head, "SQLite format 3", 16) != 0 ||
        (!has_wal && pages * page > (uint64_t)st.st_size)) {
        return refuse_err(ERR_CORRUPT, path, why, why_len);
    }
    return 0;
}

int store_migrate(sqlite3 *db, const char *const *steps, int n)
{
    int64_t version = 0;
    int err = get_int(db, "PRAGMA user_version", &version);
    if (err != 0) {
        return err;
    }
    if (version < 0 || version > n) {
        return ERR_NEWER;
    }
    if (version == n) {
        return 0;
    }
    err = run_sql(db, "BEGIN IMMEDIATE");
    for (int64_t i = version; err == 0 && i < n; i++) {
        err = run_sql(db, steps[i]);
    }
    if (err == 0) {
        char sql[48];
        (void)snprintf(sql, sizeof sql, "PRAGMA user_version = %d", n);
        err = run_sql(db, sql);
    }
    if (err == 0) {
        err = run_sql(db, "COMMIT");
    }
    if (sqlite3_get_autocommit(db) == 0) {
        (void)run_sql(db, "ROLLBACK");
    }
    return err;
}

/* A small database is checked page by page; of a large one the ends of each tree, where
 * truncation and torn writes show. All other damage shows when the page is read. */
static int check_pages(sqlite3 *db)
{
    static const char *const ends[] = {
        "SELECT (SELECT min(k) FROM entry) + (SELECT max(k) FROM entry)",
        "SELECT length(box) FROM entry ORDER BY k DESC LIMIT 1",
        "SELECT (SELECT min(k) FROM carries) + (SELECT max(k) FROM carries)",
        "SELECT (SELECT min(row) FROM msg) + (SELECT max(row) FROM msg)",
        "SELECT length(text) FROM msg ORDER BY row DESC LIMIT 1",
        "SELECT count(*) FROM (SELECT mid FROM msg ORDER BY conv, author, mid LIMIT 1)",
        "SELECT count(*) FROM (SELECT mid FROM msg ORDER BY conv DESC, author DESC,"
        " mid DESC LIMIT 1)",
        "SELECT count(*) FROM (SELECT ord FROM msg ORDER BY conv, ord, rank LIMIT 1)",
        "SELECT count(*) FROM (SELECT ord FROM msg ORDER BY conv DESC, ord DESC,"
        " rank DESC LIMIT 1)",
        "SELECT (SELECT min(n) FROM event) + (SELECT max(n) FROM event)",
        "SELECT (SELECT min(id) FROM file) + (SELECT max(id) FROM file)",
    };
    int64_t pages = 0, ignored = 0;
    int err = get_int(db, "PRAGMA page_count", &pages);
    if (err == 0 && pages <= STORE_CHECK_PAGES) {
        sqlite3_stmt *st = NULL;
        int rc = sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &st, NULL);
        if (rc == SQLITE_OK) {
            rc = sqlite3_step(st);
            const char *text = (const char *)sqlite3_column_text(st, 0);
            if (rc == SQLITE_ROW && (text == NULL || strcmp(text, "ok") != 0)) {
                rc = SQLITE_CORRUPT;
            }
        }
        (void)sqlite3_finalize(st);
        return store_err(rc);
    }
    for (size_t i = 0; err == 0 && i < sizeof ends / sizeof *ends; i++) {
        err = get_int(db, ends[i], &ignored);
        err = err == ERR_NOTFOUND ? 0 : err;
    }
    return err;
}

static int wal_grew(void *ctx, sqlite3 *db, const char *name, int pages)
{
    struct store *s = ctx;
    (void)db, (void)name;
    s->wal_pages = pages;
    return SQLITE_OK;
}

/* Settings, and a first read, which takes the lock. Nothing is written. */
static int set_up(sqlite3 *db)
{
    char sql[512];
    (void)snprintf(sql, sizeof sql,
                   "PRAGMA locking_mode = EXCLUSIVE; PRAGMA trusted_schema = OFF;"
                   "PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY;"
                   "PRAGMA cache_size = -%d; PRAGMA secure_delete = ON;"
                   "PRAGMA auto_vacuum = NONE; PRAGMA synchronous = FULL;"
                   "PRAGMA journal_size_limit = %d; SELECT count(*) FROM sqlite_schema;",
                   STORE_CACHE_KIB, STORE_WAL_HARD / 2 * 4096);
    int rc = sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_busy_timeout(db, STORE_BUSY_MS);
    }
    return rc == SQLITE_OK ? run_sql(db, sql) : store_err(rc);
}

/* From an opened connection to a usable store. */
static int prepare(struct store *s, const char *path, char *why, size_t why_len)
{
    int64_t version = 0, app = 0, tables = 0, last = 0;
    int err = set_up(s->db);
    if (err == 0) {
        err = get_int(s->db, "PRAGMA user_version", &version);
    }
    if (err == 0) {
        err = get_int(s->db, "PRAGMA application_id", &app);
    }
    if (err == 0) {
        err = get_int(s->db, "SELECT count(*) FROM sqlite_schema", &tables);
    }
    if (err == 0 && (tables > 0 || version != 0) && app != STORE_APP_ID) {
        return refuse(
            ERR_CORRUPT, why, why_len,
            "The file %s is a database of another program. Move it away to start "
            "with an empty history.",
            path);
    }
    if (err == 0 && version > STORE_SCHEMA) {
        return refuse(
            ERR_NEWER, why, why_len,
            "The database %s was written by a newer linnet (schema %lld, this one "
            "knows %d) and was left as it is. Install that version.",
            path, (long long)version, STORE_SCHEMA);
    }
    if (err == 0) {
        err = run_sql(s->db, "PRAGMA journal_mode = WAL");
    }
    if (err == 0) {
        err = store_index_register(s->db);
    }
    if (err == 0) {
        err = store_migrate(s->db, store_steps, STORE_SCHEMA);
    }
    if (err == 0) {
        err = check_pages(s->db);
    }
    if (err == 0) {
        err = get_int(s->db, "SELECT max(row) FROM msg", &last);
        s->row_last = (uint64_t)last;
    }
    if (err == 0) {
        err = get_int(s->db, "SELECT max(n) FROM event", &last);
        s->event_last = (uint64_t)last;
    }
    if (err == 0) {
        err = store_index_open(s);
    }
    if (err == 0) {
        err = get_int(s->db, "SELECT count(*) FROM pending", &last);
        s->pending_n = (uint64_t)last;
    }
    if (err == ERR_STATE) {
        err = ERR_CORRUPT; /* a table is missing or has other columns */
    }
    if (err == 0) {
        (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
        (void)sqlite3_wal_hook(s->db, wal_grew, s);
    }
    return err == 0 ? 0 : refuse_err(err, path, why, why_len);
}

static int open_db(const char *path, struct store **out)
{
    struct store *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return ERR_NOMEM;
    }
    bool file = strcmp(path, ":memory:") != 0;
    int rc = file ? store_vfs_init(&s->vfs) : SQLITE_OK;
    if (rc == SQLITE_OK) {
        rc = sqlite3_open_v2(path, &s->db,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                                 SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE |
                                 SQLITE_OPEN_EXRESCODE,
                             file ? s->vfs.name : NULL);
    }
    if (rc != SQLITE_OK) {
        store_close(s);
        return store_err(rc);
    }
    *out = s;
    return 0;
}

int store_open(const char *path, struct store **out, char *why, size_t why_len)
{
    struct store *s = NULL;
    int err = 0;
    if (strcmp(path, ":memory:") != 0) {
        err = check_file(path, why, why_len);
        if (err != 0) {
            return err;
        }
    }
    err = open_db(path, &s);
    if (err != 0) {
        return refuse_err(err, path, why, why_len);
    }
    err = prepare(s, path, why, why_len);
    if (err != 0) {
        store_close(s);
        return err;
    }
    *out = s;
    return 0;
}

void store_close(struct store *s)
{
    if (s == NULL) {
        return;
    }
    for (int i = 0; i < ST_COUNT; i++) {
        (void)sqlite3_finalize(s->st[i]);
    }
    (void)sqlite3_close(s->db);
    store_vfs_release(&s->vfs);
    store_merge_release(s);
    free(s->unread);
    free(s->reactions);
    free(s);
}

bool store_checkpoint_due(const struct store *s)
{
    return s->wal_pages >= STORE_WAL_SOFT || s->scrub;
}

int store_checkpoint(struct store *s)
{
    /* What was taken away is to leave the WAL's file as well. */
    int mode = s->scrub ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE;
    s->wal_pages = 0;
    s->scrub = false;
    return store_err(sqlite3_wal_checkpoint_v2(s->db, NULL, mode, NULL, NULL));
}

/* Snapshots */

int store_snapshot(struct store *s, struct blob *out)
{
    sqlite3_int64 n = 0;
    struct blob copy = {0};
    unsigned char *p = sqlite3_serialize(s->db, "main", &n, 0);
    if (p == NULL || n < DB_HEAD) {
        sqlite3_free(p);
        return ERR_NOMEM;
    }
    p[DB_HEAD_VERSIONS] = p[DB_HEAD_VERSIONS + 1] = 1; /* not WAL, which needs a file */
    bool ok = blob_set(&copy, p, (size_t)n);
    sodium_memzero(p, (size_t)n);
    sqlite3_free(p);
    if (!ok) {
        return ERR_NOMEM;
    }
    *out = copy;
    return 0;
}

int store_from_snapshot(const struct blob *b, struct store **out)
{
    struct store *s = NULL;
    int err = open_db(":memory:", &s);
    if (err != 0) {
        return err;
    }
    unsigned char *p = sqlite3_malloc64(b->n);
    if (p == NULL) {
        store_close(s);
        return ERR_NOMEM;
    }
    memcpy(p, b->p, b->n);
    err = store_err(sqlite3_deserialize(
        s->db, "main", p, (sqlite3_int64)b->n, (sqlite3_int64)b->n,
        SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_RESIZEABLE));
    if (err == 0) {
        err = prepare(s, "(snapshot)", NULL, 0);
    }
    if (err != 0) {
        store_close(s);
        return err;
    }
    *out = s;
    return 0;
}
