/* Files: their rows, what a message tells of its file, and what front ends ask for.
 *
 * A file belongs to the message with its conversation, author and id. Each comes into the
 * database by itself, so nothing here relies on which was first; a file whose message was
 * taken back has no name any more. */
#include <string.h>

#include "base/err.h"
#include "store_priv.h"

_Static_assert(FILE_ACTIVE == 2 && FILE_AUTO == 16, "statements have them as numbers");

/* Columns of `file`, in the order of the table. */
enum file_col {
    COL_ID,
    COL_CONV,
    COL_AUTHOR,
    COL_DEVICE,
    COL_MID,
    COL_KIND,
    COL_STATE,
    COL_FLAGS,
    COL_SIZE,
    COL_HEAD,
    COL_COUNT,
    COL_ROOT,
    COL_NAME,
    COL_PATH,
    COL_DEST,
    COL_CREATED,
    COL_ENDED,
};

bool store_file_cols(sqlite3_stmt *st, bool compact, struct rec_file *v)
{
    v->id = (uint32_t)col_int(st, COL_ID);
    v->conv = (uint32_t)col_int(st, COL_CONV);
    v->author = (uint32_t)col_int(st, COL_AUTHOR);
    v->device = (uint32_t)col_int(st, COL_DEVICE);
    v->kind = (uint8_t)col_int(st, COL_KIND);
    v->state = (uint8_t)col_int(st, COL_STATE);
    v->flags = (uint32_t)col_int(st, COL_FLAGS);
    v->size = col_int(st, COL_SIZE);
    v->count = (uint32_t)col_int(st, COL_COUNT);
    v->created_ms = col_int(st, COL_CREATED);
    v->ended_ms = col_int(st, COL_ENDED);
    if (!col_fixed(st, COL_MID, v->mid, sizeof v->mid)) {
        return false;
    }
    bool piped = v->state == FILE_DONE && (v->flags & FILE_PIPE) != 0;
    if (compact && v->state > FILE_ACTIVE && !piped) {
        return true;
    }
    v->head = col_int(st, COL_HEAD);
    v->name = col_blob(st, COL_NAME);
    v->path = col_blob(st, COL_PATH);
    v->dest = col_blob(st, COL_DEST);
    return col_fixed(st, COL_ROOT, v->root, sizeof v->root);
}

void store_file_peer_cols(sqlite3_stmt *st, struct rec_file_peer *v)
{
    v->file = (uint32_t)col_int(st, 0);
    v->contact = (uint32_t)col_int(st, 1);
    v->end = (uint8_t)col_int(st, 2);
    v->leaves = col_int(st, 3);
}

/* ---- writing ---- */

static struct bind start_of(struct store *s, enum stmt_id id, uint32_t conv,
                            uint32_t author, const uint8_t mid[WIRE_MID])
{
    struct bind b = bind_start(s, id);
    bind_int(&b, conv);
    bind_int(&b, author);
    bind_bytes(&b, mid, WIRE_MID);
    return b;
}

static int run_file(struct store *s, enum stmt_id id, uint32_t file)
{
    struct bind b = bind_start(s, id);
    bind_int(&b, file);
    return bind_run(&b);
}

static int del_file(struct store *s, uint32_t id)
{
    static const enum stmt_id all[] = {ST_FILE_DEL, ST_FILE_BITS_CLEAR,
                                       ST_FILE_PEERS_CLEAR};
    int err = 0;
    for (size_t i = 0; err == 0 && i < sizeof all / sizeof all[0]; i++) {
        err = run_file(s, all[i], id);
    }
    return err;
}

/* Whether the message of a file was taken back: 1, 0 or an error. */
static int nameless(struct store *s, const struct rec_file *v)
{
    struct bind b = start_of(s, ST_MSG_TARGET, v->conv, v->author, v->mid);
    int rc = bind_row(&b);
    if (rc == 1) {
        rc = (col_int(b.st, 1) & MSG_REDACTED) != 0;
        (void)sqlite3_reset(b.st);
    }
    return rc;
}

int store_file_put(struct store *s, const struct rec_file *v, bool del)
{
    struct store_msg_file there = {0};
    if (del) {
        return del_file(s, v->id);
    }
    int rc = store_file_of(s, v->conv, v->author, v->mid, &there);
    if (rc == 1 && there.id != v->id) {
        return 0; /* an offer that was repeated after it was forgotten: the first stays */
    }
    int gone = rc < 0 ? rc : nameless(s, v);
    if (gone < 0) {
        return gone;
    }
    struct bind b = bind_start(s, ST_FILE_PUT);
    bind_int(&b, v->id);
    bind_int(&b, v->conv);
    bind_int(&b, v->author);
    bind_int(&b, v->device);
    bind_bytes(&b, v->mid, sizeof v->mid);
    bind_int(&b, v->kind);
    bind_int(&b, v->state);
    bind_int(&b, v->flags);
    bind_int(&b, v->size);
    bind_int(&b, v->head);
    bind_int(&b, v->count);
    bind_bytes(&b, v->root, sizeof v->root);
    bind_bytes(&b, v->name.p, gone == 1 ? 0 : v->name.n);
    bind_bytes(&b, v->path.p, v->path.n);
    bind_bytes(&b, v->dest.p, v->dest.n);
    bind_int(&b, v->created_ms);
    bind_int(&b, v->ended_ms);
    return bind_run(&b);
}

int store_file_bits_put(struct store *s, const struct rec_file_bits *v, bool del)
{
    if (del && v->block == UINT32_MAX) {
        return run_file(s, ST_FILE_BITS_CLEAR, v->file);
    }
    struct bind b = bind_start(s, del ? ST_FILE_BITS_DEL : ST_FILE_BITS_PUT);
    bind_int(&b, v->file);
    bind_int(&b, v->block);
    if (!del) {
        bind_bytes(&b, v->bits, sizeof v->bits);
    }
    return bind_run(&b);
}

int store_file_peer_put(struct store *s, const struct rec_file_peer *v, bool del)
{
    struct bind b = bind_start(s, del ? ST_FILE_PEER_DEL : ST_FILE_PEER_PUT);
    bind_int(&b, v->file);
    bind_int(&b, v->contact);
    if (!del) {
        bind_int(&b, v->end);
        bind_int(&b, v->leaves);
    }
    return bind_run(&b);
}

static void bind_if(struct bind *b, bool present, uint64_t v)
{
    if (present) {
        bind_int(b, v);
    } else {
        bind_null(b);
    }
}

int store_file_rule_put(struct store *s, const struct rec_file_rule *v, bool del)
{
    struct bind b = bind_start(s, del ? ST_FILE_RULE_DEL : ST_FILE_RULE_PUT);
    bind_int(&b, v->contact);
    if (!del) {
        bind_int(&b, v->mode);
        bind_if(&b, v->has_max, v->max);
        bind_if(&b, v->has_quota, v->quota);
    }
    return bind_run(&b);
}

int store_file_unname(struct store *s, uint32_t conv, uint32_t author,
                      const uint8_t mid[WIRE_MID])
{
    struct bind b = start_of(s, ST_FILE_UNNAME, conv, author, mid);
    return bind_run(&b);
}

/* ---- what a message tells ---- */

int store_file_of(struct store *s, uint32_t conv, uint32_t author,
                  const uint8_t mid[WIRE_MID], struct store_msg_file *out)
{
    struct bind b = start_of(s, ST_FILE_OF, conv, author, mid);
    int rc = bind_row(&b);
    if (rc == 1) {
        out->id = (uint32_t)col_int(b.st, 0);
        out->kind = (uint8_t)col_int(b.st, 1);
        out->state = (uint8_t)col_int(b.st, 2);
        out->flags = (uint32_t)col_int(b.st, 3);
        out->size = col_int(b.st, 4);
        out->head = col_int(b.st, 5);
        out->count = (uint32_t)col_int(b.st, 6);
        (void)sqlite3_reset(b.st);
    }
    return rc;
}

int store_event_file(struct store *s, struct store_event *e)
{
    if (e->topic != TOPIC_MESSAGE || e->kind != MSG_FILE) {
        return 0;
    }
    int rc = store_file_of(s, e->conv, e->author, e->mid, &e->file);
    e->has_file = rc == 1;
    return rc < 0 ? rc : 0;
}

/* ---- queries ---- */

/* Hands each row of a bound statement to cb; *told counts them. */
static int each_file(struct bind *b, store_file_cb *cb, void *ctx, size_t *told)
{
    int rc = 0;
    while ((rc = bind_row(b)) == 1) {
        struct rec_file v = {0};
        rc = store_file_cols(b->st, false, &v) ? cb(ctx, &v) : ERR_CORRUPT;
        ++*told;
        if (rc != 0) {
            (void)sqlite3_reset(b->st);
            return rc;
        }
    }
    return rc;
}

int store_files(struct store *s, uint32_t after, size_t limit, store_file_cb *cb,
                void *ctx)
{
    size_t told = 0;
    struct bind b = bind_start(s, ST_FILES);
    bind_int(&b, after);
    bind_int(&b, limit < STORE_PAGE_ROWS ? limit : STORE_PAGE_ROWS);
    return each_file(&b, cb, ctx, &told);
}

int store_file(struct store *s, uint32_t id, store_file_cb *cb, void *ctx)
{
    size_t told = 0;
    struct bind b = bind_start(s, ST_FILE_GET);
    bind_int(&b, id);
    int rc = each_file(&b, cb, ctx, &told);
    return rc == 0 && told == 0 ? ERR_NOTFOUND : rc;
}

int store_file_peers(struct store *s, uint32_t file, store_file_peer_cb *cb, void *ctx)
{
    struct bind b = bind_start(s, ST_FILE_PEERS);
    int rc = 0;
    bind_int(&b, file);
    while ((rc = bind_row(&b)) == 1) {
        struct rec_file_peer v = {0};
        store_file_peer_cols(b.st, &v);
        rc = cb(ctx, &v);
        if (rc != 0) {
            (void)sqlite3_reset(b.st);
            return rc;
        }
    }
    return rc;
}

int store_files_auto(struct store *s, uint64_t since_ms, uint32_t contact,
                     uint64_t *bytes)
{
    struct bind b = bind_start(s, ST_FILES_AUTO);
    bind_int(&b, since_ms < INT64_MAX ? since_ms : INT64_MAX);
    bind_int(&b, contact);
    int rc = bind_row(&b);
    if (rc != 1) {
        return rc < 0 ? rc : ERR_CORRUPT; /* a sum always has a row */
    }
    *bytes = col_int(b.st, 0);
    (void)sqlite3_reset(b.st);
    return 0;
}
