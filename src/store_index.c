/* The index of words: an FTS5 table that follows the messages.
 *
 * The table has no texts of its own ("contentless"), so what is taken out has to be named
 * as it was put in: whoever changes a message's text calls store_index_forget before and
 * store_index_learn after it, in the same transaction. What a word is depends on the
 * tables of Unicode: when those change, the index is made anew. */
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

#include "base/err.h"
#include "store_priv.h"
#include "store_words.h"

enum {
    SLICE_ROWS = 512,        /* messages of one slice */
    SLICE_BYTES = 64 * 1024, /* of text; at least one message */
    MERGE_PAGES = 48,        /* of one slice of merging */
    PARTS_MAX = 64,          /* slices of indexing that merging may be behind when busy */
    TAGS_MAX = 48,
};

/* ---- the tokenizer that FTS5 calls ---- */

struct told {
    void *ctx;
    int (*token)(void *ctx, int flags, const char *s, int len, int from, int to);
};

static int fts_create(void *ctx, const char **args, int n, Fts5Tokenizer **out)
{
    (void)args, (void)n;
    *out = ctx; /* nothing to keep */
    return SQLITE_OK;
}

static void fts_delete(Fts5Tokenizer *t)
{
    (void)t;
}

static int fts_word(void *ctx, const struct word *w)
{
    struct told *t = ctx;
    return t->token(t->ctx, w->pair ? FTS5_TOKEN_COLOCATED : 0, w->s, (int)w->len,
                    (int)w->from, (int)w->to);
}

static int
fts_tokenize(Fts5Tokenizer *tokenizer, void *ctx, int flags, const char *text, int len,
             int (*token)(void *ctx, int flags, const char *s, int len, int from, int to))
{
    struct told t = {ctx, token};
    (void)tokenizer;
    if (text == NULL || len <= 0) {
        return SQLITE_OK;
    }
    if ((flags & FTS5_TOKENIZE_QUERY) != 0) { /* made of words already (store_search.c) */
        return token(ctx, 0, text, len, 0, len);
    }
    return words_each(text, (size_t)len, fts_word, &t);
}

int store_index_register(sqlite3 *db)
{
    static fts5_tokenizer tokenizer = {fts_create, fts_delete, fts_tokenize};
    static const char nobody; /* what every table's tokenizer is: it has no state */
    sqlite3_stmt *st = NULL;
    fts5_api *api = NULL;
    int rc = sqlite3_prepare_v2(db, "SELECT fts5(?1)", -1, &st, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_bind_pointer(st, 1, (void *)&api, "fts5_api_ptr", NULL);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(st);
        rc = rc == SQLITE_ROW ? SQLITE_OK : rc;
    }
    (void)sqlite3_finalize(st);
    if (rc == SQLITE_OK && api == NULL) {
        rc = SQLITE_ERROR;
    }
    return rc != SQLITE_OK
               ? store_err(rc)
               : store_err(api->xCreateTokenizer(
                     api, "linnet", (void *)(uintptr_t)&nobody, &tokenizer, NULL));
}

int store_index_open(struct store *s)
{
    struct bind b = bind_start(s, ST_INDEXED_GET);
    int rc = bind_row(&b);
    if (rc != 1) {
        return rc < 0 ? rc : ERR_CORRUPT;
    }
    struct blob unicode = col_blob(b.st, 1);
    const char *now = utf8proc_unicode_version();
    bool same = unicode.n == strlen(now) && memcmp(unicode.p, now, unicode.n) == 0;
    s->index.row = same ? col_int(b.st, 0) : 0;
    s->index.stale = !same;
    s->index.merge = false;
    (void)sqlite3_reset(b.st);
    return 0;
}

/* ---- one message ---- */

/* Who wrote it and where, as words that a query can ask for. */
static size_t tags_of(uint32_t conv, uint32_t author, char out[TAGS_MAX])
{
    int n = snprintf(out, TAGS_MAX, "c%u a%u", (unsigned)conv, (unsigned)author);
    return (size_t)n;
}

static int put_words(struct store *s, enum stmt_id id, uint64_t row, const struct blob *t,
                     uint32_t conv, uint32_t author)
{
    char tags[TAGS_MAX];
    size_t n = tags_of(conv, author, tags);
    if (t->n == 0) {
        return 0; /* redacted: not in the index */
    }
    struct bind b = bind_start(s, id);
    bind_int(&b, row);
    bind_text(&b, t->p, t->n);
    bind_text(&b, tags, n);
    return bind_run(&b);
}

/* Puts a message that is indexed already in (or takes it out of) the index, with the text
 * it has now. */
static int again(struct store *s, enum stmt_id id, uint64_t row)
{
    if (row > s->index.row) {
        return 0; /* its turn comes */
    }
    struct bind b = bind_start(s, ST_INDEX_ROW);
    bind_int(&b, row);
    int rc = bind_row(&b);
    if (rc == 1) {
        struct blob text = col_blob(b.st, 1);
        rc = put_words(s, id, row, &text, (uint32_t)col_int(b.st, 2),
                       (uint32_t)col_int(b.st, 3));
        (void)sqlite3_reset(b.st);
        s->index.merge = true;
    }
    return rc;
}

int store_index_forget(struct store *s, uint64_t row)
{
    return again(s, ST_WORDS_DEL, row);
}

int store_index_learn(struct store *s, uint64_t row)
{
    return again(s, ST_WORDS_PUT, row);
}

/* ---- slices ---- */

/* Times of the messages of one zone of rows, being gathered. */
struct zone {
    uint64_t n, first_ms, last_ms;
    bool any;
};

static int put_zone(struct store *s, const struct zone *z)
{
    if (!z->any) {
        return 0;
    }
    struct bind b = bind_start(s, ST_ZONE_PUT);
    bind_int(&b, z->n);
    bind_int(&b, z->first_ms);
    bind_int(&b, z->last_ms);
    return bind_run(&b);
}

static int add_zone(struct store *s, struct zone *z, uint64_t row, uint64_t time_ms)
{
    uint64_t n = row >> STORE_ZONE_BITS;
    int err = 0;
    if (z->any && z->n != n) {
        err = put_zone(s, z);
        z->any = false;
    }
    if (!z->any) {
        *z = (struct zone){n, time_ms, time_ms, true};
    }
    z->first_ms = time_ms < z->first_ms ? time_ms : z->first_ms;
    z->last_ms = time_ms > z->last_ms ? time_ms : z->last_ms;
    return err;
}

/* Indexes the next messages, in an open transaction; *row is the last one. */
static int index_rows(struct store *s, uint64_t *row)
{
    struct zone z = {.any = false};
    size_t bytes = 0;
    int rc = 0;
    struct bind b = bind_start(s, ST_INDEX_NEXT);
    bind_int(&b, s->index.row);
    bind_int(&b, SLICE_ROWS);
    while (bytes < SLICE_BYTES && (rc = bind_row(&b)) == 1) {
        struct blob text = col_blob(b.st, 1);
        *row = col_int(b.st, 0);
        bytes += text.n;
        rc = put_words(s, ST_WORDS_PUT, *row, &text, (uint32_t)col_int(b.st, 2),
                       (uint32_t)col_int(b.st, 3));
        if (rc == 0) {
            rc = add_zone(s, &z, *row, col_int(b.st, 4));
        }
        if (rc != 0) {
            break;
        }
    }
    if (b.st != NULL) {
        (void)sqlite3_reset(b.st);
    }
    return rc < 0 ? rc : put_zone(s, &z);
}

static int run_one(struct store *s, enum stmt_id id)
{
    struct bind b = bind_start(s, id);
    return bind_run(&b);
}

static int set_row(struct store *s, uint64_t row)
{
    struct bind b = bind_start(s, ST_INDEXED_PUT);
    const char *unicode = utf8proc_unicode_version();
    bind_int(&b, row);
    bind_text(&b, unicode, strlen(unicode));
    return bind_run(&b);
}

/* Everything out: the words are not those of this version of Unicode. */
static int clear(struct store *s)
{
    int err = run_one(s, ST_WORDS_CLEAR);
    return err == 0 ? run_one(s, ST_ZONE_CLEAR) : err;
}

static int index_slice(struct store *s)
{
    uint64_t row = s->index.row;
    int err = run_one(s, ST_BEGIN);
    if (err == 0) {
        err = s->index.stale ? clear(s) : index_rows(s, &row);
    }
    if (err == 0) {
        err = set_row(s, row);
    }
    if (err == 0) {
        err = run_one(s, ST_COMMIT);
    }
    if (err == 0) {
        s->index.row = row;
        s->index.stale = false;
        s->index.merge = true;
        s->index.parts++;
    }
    return err;
}

/* Parts of the index are put together, so that a search has few of them to look at. */
static int merge_slice(struct store *s)
{
    int before = sqlite3_total_changes(s->db);
    struct bind b = bind_start(s, ST_WORDS_MERGE);
    bind_int(&b, MERGE_PAGES);
    int err = bind_run(&b);
    /* FTS5's own way of saying that there was nothing to do. */
    s->index.merge = err == 0 && sqlite3_total_changes(s->db) - before >= 2;
    s->index.parts = s->index.merge ? s->index.parts : 0;
    return err;
}

int store_index(struct store *s, bool busy, bool *more)
{
    bool behind = s->index.stale || s->index.row < s->row_last;
    bool may = s->index.merge && (!busy || s->index.parts > PARTS_MAX);
    s->index.merge_next = may && (!behind || !s->index.merge_next);
    int err = s->index.merge_next ? merge_slice(s) : behind ? index_slice(s) : 0;
    if (err != 0 && sqlite3_get_autocommit(s->db) == 0) {
        (void)run_one(s, ST_ROLLBACK);
    }
    *more = err == 0 && store_index_due(s);
    return err;
}

bool store_index_due(const struct store *s)
{
    return s->index.stale || s->index.merge || s->index.row < s->row_last;
}

uint64_t store_index_behind(const struct store *s)
{
    return s->index.stale ? s->row_last : s->row_last - s->index.row;
}
