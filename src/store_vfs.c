/* The write-ahead log in few system calls: SQLite writes each page of a commit with two
 * calls, a header of 24 bytes and 4,096 bytes. Here what follows on is gathered and
 * written before anything could tell the difference: before a sync (which is when a
 * commit becomes durable), a read, and whatever asks or changes the file's size. A
 * failed write is told by that call; SQLite then rolls back as after a failed one of its
 * own.
 *
 * The database, so that what was deleted is gone: `secure_delete` overwrites the cells of
 * a page that are deleted, but not copies that stay behind in the middle of it when cells
 * move to another page. That gap is zeroed in every page on its way into the file (in the
 * log it can't be: checksums are over it). All other files are the system's own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store_priv.h"

enum { GATHER_MAX = 64 * 1024, PAGE = 4096 };

/* SQLite hands this around as a sqlite3_file; the system's file lies behind it. */
struct wal_file {
    sqlite3_file base;
    uint8_t *buf; /* bytes from offset `at` on that are not written yet */
    sqlite3_int64 at;
    int n;
};

enum { REAL_AT = (sizeof(struct wal_file) + 15) / 16 * 16 };

static sqlite3_file *real_of(sqlite3_file *f)
{
    return (sqlite3_file *)(void *)((char *)f + REAL_AT);
}

static int flush(struct wal_file *w)
{
    sqlite3_file *real = real_of(&w->base);
    int n = w->n;
    w->n = 0;
    return n == 0 ? SQLITE_OK : real->pMethods->xWrite(real, w->buf, n, w->at);
}

static struct wal_file *wal_of(sqlite3_file *f)
{
    return (struct wal_file *)(void *)f;
}

static int wal_close(sqlite3_file *f)
{
    struct wal_file *w = wal_of(f);
    int rc = flush(w), closed = real_of(f)->pMethods->xClose(real_of(f));
    free(w->buf);
    w->buf = NULL;
    return rc != SQLITE_OK ? rc : closed;
}

static int wal_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
    int rc = flush(wal_of(f));
    return rc != SQLITE_OK ? rc : real_of(f)->pMethods->xRead(real_of(f), p, n, at);
}

static int wal_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    struct wal_file *w = wal_of(f);
    if (at != w->at + w->n || n > GATHER_MAX - w->n) {
        int rc = flush(w);
        if (rc != SQLITE_OK) {
            return rc;
        }
    }
    if (n > GATHER_MAX) {
        return real_of(f)->pMethods->xWrite(real_of(f), p, n, at);
    }
    if (w->n == 0) {
        w->at = at;
    }
    memcpy(w->buf + w->n, p, (size_t)n);
    w->n += n;
    return SQLITE_OK;
}

/* Where the unused middle of a page of a tree is (the file format of SQLite, section
 * 1.6): between the pointers to its cells and the first cell. False: there is none. */
static bool page_gap(const uint8_t *p, sqlite3_int64 at, size_t *from, size_t *to)
{
    size_t head = at == 0 ? 100 : 0; /* the first page begins with the file's header */
    uint8_t type = p[head];
    bool leaf = type == 0x0a || type == 0x0d;
    if (!leaf && type != 0x02 && type != 0x05) {
        return false; /* of no tree */
    }
    size_t cells = (size_t)p[head + 3] << 8 | p[head + 4];
    *from = head + (leaf ? 8 : 12) + 2 * cells;
    *to = (size_t)p[head + 5] << 8 | p[head + 6];
    return *from < *to && *to <= PAGE;
}

static int db_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    uint8_t page[PAGE];
    size_t from, to;
    if (n == PAGE && at % PAGE == 0 && page_gap(p, at, &from, &to)) {
        memcpy(page, p, PAGE);
        memset(page + from, 0, to - from);
        p = page;
    }
    return real_of(f)->pMethods->xWrite(real_of(f), p, n, at);
}

static int wal_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    int rc = flush(wal_of(f));
    return rc != SQLITE_OK ? rc : real_of(f)->pMethods->xTruncate(real_of(f), size);
}

static int wal_sync(sqlite3_file *f, int flags)
{
    int rc = flush(wal_of(f));
    return rc != SQLITE_OK ? rc : real_of(f)->pMethods->xSync(real_of(f), flags);
}

static int wal_size(sqlite3_file *f, sqlite3_int64 *size)
{
    int rc = flush(wal_of(f));
    return rc != SQLITE_OK ? rc : real_of(f)->pMethods->xFileSize(real_of(f), size);
}

static int wal_lock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xLock(real_of(f), level);
}

static int wal_unlock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xUnlock(real_of(f), level);
}

static int wal_locked(sqlite3_file *f, int *out)
{
    return real_of(f)->pMethods->xCheckReservedLock(real_of(f), out);
}

static int wal_control(sqlite3_file *f, int op, void *arg)
{
    return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}

static int wal_sector(sqlite3_file *f)
{
    return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int wal_device(sqlite3_file *f)
{
    return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

/* Version 1: a log is neither shared nor mapped. */
static const sqlite3_io_methods wal_methods = {
    .iVersion = 1,
    .xClose = wal_close,
    .xRead = wal_read,
    .xWrite = wal_write,
    .xTruncate = wal_truncate,
    .xSync = wal_sync,
    .xFileSize = wal_size,
    .xLock = wal_lock,
    .xUnlock = wal_unlock,
    .xCheckReservedLock = wal_locked,
    .xFileControl = wal_control,
    .xSectorSize = wal_sector,
    .xDeviceCharacteristics = wal_device,
};

/* The database: nothing is gathered, so the rest passes through. Never shared: it is
 * locked for as long as it is open. */
static const sqlite3_io_methods db_methods = {
    .iVersion = 1,
    .xClose = wal_close,
    .xRead = wal_read,
    .xWrite = db_write,
    .xTruncate = wal_truncate,
    .xSync = wal_sync,
    .xFileSize = wal_size,
    .xLock = wal_lock,
    .xUnlock = wal_unlock,
    .xCheckReservedLock = wal_locked,
    .xFileControl = wal_control,
    .xSectorSize = wal_sector,
    .xDeviceCharacteristics = wal_device,
};

static int vfs_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags,
                    int *out_flags)
{
    struct store_vfs *sv = (struct store_vfs *)(void *)v;
    bool wal = (flags & SQLITE_OPEN_WAL) != 0;
    if (!wal && (flags & SQLITE_OPEN_MAIN_DB) == 0) {
        return sv->real->xOpen(sv->real, name, f, flags, out_flags);
    }
    struct wal_file *w = wal_of(f);
    memset(w, 0, sizeof *w);
    w->buf = wal ? malloc(GATHER_MAX) : NULL;
    if (wal && w->buf == NULL) {
        return SQLITE_NOMEM;
    }
    int rc = sv->real->xOpen(sv->real, name, real_of(f), flags, out_flags);
    if (rc != SQLITE_OK) {
        /* Without methods SQLite does not close it, so that must be done here. */
        if (real_of(f)->pMethods != NULL) {
            (void)real_of(f)->pMethods->xClose(real_of(f));
        }
        free(w->buf);
        w->buf = NULL;
        return rc;
    }
    w->base.pMethods = wal ? &wal_methods : &db_methods;
    return SQLITE_OK;
}

int store_vfs_init(struct store_vfs *sv)
{
    sqlite3_vfs *real = sqlite3_vfs_find(NULL);
    if (real == NULL) {
        return SQLITE_ERROR;
    }
    sv->real = real;
    sv->v = *real;
    sv->v.pNext = NULL;
    sv->v.szOsFile = REAL_AT + real->szOsFile;
    sv->v.xOpen = vfs_open;
    /* SQLite finds it by name: one for each store. */
    (void)snprintf(sv->name, sizeof sv->name, "linnet-%p", (void *)sv);
    sv->v.zName = sv->name;
    int rc = sqlite3_vfs_register(&sv->v, 0);
    if (rc != SQLITE_OK) {
        sv->real = NULL;
    }
    return rc;
}

void store_vfs_release(struct store_vfs *sv)
{
    if (sv->real != NULL) {
        (void)sqlite3_vfs_unregister(&sv->v);
        sv->real = NULL;
    }
}
