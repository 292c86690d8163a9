/* Reading: entries, history, arrivals, lookups and events, in pages. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "store_priv.h"

enum { FIND_DIGITS_MIN = 8, FIND_MAX = 2, ENTRIES_CAP_MIN = 16 };

/* Columns of a message, in the order of MSG_COLS in store_sql.c. */
enum msg_col {
    COL_ROW,
    COL_MID,
    COL_CONV,
    COL_AUTHOR,
    COL_WORD,
    COL_DEVICE,
    COL_FEED,
    COL_SEQ,
    COL_KIND,
    COL_FLAGS,
    COL_REPLY,
    COL_TIME,
    COL_ORD,
    COL_TEXT,
    COL_MSG_END,
};

void store_msg_cols(sqlite3_stmt *st, struct store_msg *m)
{
    memset(m, 0, sizeof *m);
    m->row = col_int(st, COL_ROW);
    (void)col_fixed(st, COL_MID, m->mid, sizeof m->mid);
    m->conv = (uint32_t)col_int(st, COL_CONV);
    m->author = (uint32_t)col_int(st, COL_AUTHOR);
    m->state = (uint8_t)(col_int(st, COL_WORD) - STORE_WORD);
    m->device = (uint32_t)col_int(st, COL_DEVICE);
    m->feed = (uint32_t)col_int(st, COL_FEED);
    m->seq = col_int(st, COL_SEQ);
    m->kind = (uint8_t)col_int(st, COL_KIND);
    m->flags = (uint32_t)col_int(st, COL_FLAGS);
    m->has_reply = col_fixed(st, COL_REPLY, m->reply, sizeof m->reply);
    m->time_ms = col_int(st, COL_TIME);
    m->order = col_int(st, COL_ORD);
    m->text = col_blob(st, COL_TEXT);
}

void store_event_cols(sqlite3_stmt *st, int i, struct store_event *e)
{
    e->row = col_int(st, i + COL_ROW);
    (void)col_fixed(st, i + COL_MID, e->mid, sizeof e->mid);
    e->conv = (uint32_t)col_int(st, i + COL_CONV);
    e->author = (uint32_t)col_int(st, i + COL_AUTHOR);
    e->state = (uint8_t)(col_int(st, i + COL_WORD) - STORE_WORD);
    e->device = (uint32_t)col_int(st, i + COL_DEVICE);
    e->kind = (uint8_t)col_int(st, i + COL_KIND);
    e->flags = (uint32_t)col_int(st, i + COL_FLAGS);
    e->has_reply = col_fixed(st, i + COL_REPLY, e->reply, sizeof e->reply);
    e->time_ms = col_int(st, i + COL_TIME);
    e->order = col_int(st, i + COL_ORD);
}

/* Hands the current row to cb. */
static int tell_msg(struct store *s, sqlite3_stmt *st, store_msg_cb *cb, void *ctx)
{
    struct store_msg m;
    store_msg_cols(st, &m);
    int rc = store_msg_more(s, &m);
    return rc == 0 ? cb(ctx, &m) : rc;
}

/* Hands each row of a bound statement to cb; left, when not NULL, counts down. */
static int each_msg(struct store *s, struct bind *b, store_msg_cb *cb, void *ctx,
                    size_t *left)
{
    int rc = 0;
    while ((rc = bind_row(b)) == 1) {
        rc = tell_msg(s, b->st, cb, ctx);
        if (rc != 0) {
            (void)sqlite3_reset(b->st);
            return rc;
        }
        if (left != NULL) {
            --*left;
        }
    }
    return rc;
}

/* Entries */

void store_entries_release(struct store_entries *e)
{
    for (size_t i = 0; i < e->n; i++) {
        blob_release(&e->v[i].header);
        blob_release(&e->v[i].box);
    }
    free(e->v);
    memset(e, 0, sizeof *e);
}

static int entry_cols(sqlite3_stmt *st, struct rec_entry *v)
{
    struct blob header = col_blob(st, 2), box = col_blob(st, 3);
    uint64_t k = col_int(st, 0);
    memset(v, 0, sizeof *v);
    v->feed = (uint32_t)(k >> STORE_SEQ_BITS);
    v->seq = k & ((UINT64_C(1) << STORE_SEQ_BITS) - 1);
    if (!col_fixed(st, 1, v->id, sizeof v->id)) {
        return ERR_CORRUPT;
    }
    v->has_self = col_fixed(st, 4, v->self, sizeof v->self);
    v->has_sig = col_fixed(st, 5, v->sig, sizeof v->sig);
    (void)col_fixed(st, 6, v->mid, sizeof v->mid);
    if (!blob_set(&v->header, header.p, header.n) || !blob_set(&v->box, box.p, box.n)) {
        blob_release(&v->header);
        return ERR_NOMEM;
    }
    return 0;
}

/* Appends the current row to list; cap is its capacity. */
static int add_entry(struct store_entries *list, size_t *cap, sqlite3_stmt *st)
{
    if (list->n == *cap) {
        size_t more = *cap == 0 ? ENTRIES_CAP_MIN : 2 * *cap;
        struct rec_entry *v = realloc(list->v, more * sizeof *v);
        if (v == NULL) {
            return ERR_NOMEM;
        }
        list->v = v;
        *cap = more;
    }
    int err = entry_cols(st, &list->v[list->n]);
    list->n += err == 0;
    return err;
}

int store_entries(struct store *s, uint32_t feed, uint64_t from, uint64_t to, size_t max,
                  size_t max_bytes, struct store_entries *out)
{
    uint64_t seq_last = (UINT64_C(1) << STORE_SEQ_BITS) - 1, first = 0, last = 0;
    struct store_entries list = {0};
    size_t cap = 0, bytes = 0;
    if (from > to || from > seq_last || max == 0 || !store_key(feed, from, &first) ||
        !store_key(feed, to < seq_last ? to : seq_last, &last)) {
        *out = list;
        return 0;
    }
    struct bind b = bind_start(s, ST_ENTRIES);
    bind_int(&b, first);
    bind_int(&b, last);
    bind_int(&b, max < INT32_MAX ? max : INT32_MAX);
    int rc = 0;
    while ((rc = bind_row(&b)) == 1) {
        bytes +=
            (size_t)sqlite3_column_bytes(b.st, 2) + (size_t)sqlite3_column_bytes(b.st, 3);
        rc = list.n > 0 && bytes > max_bytes ? 1 : add_entry(&list, &cap, b.st);
        if (rc != 0) {
            (void)sqlite3_reset(b.st);
            break;
        }
    }
    if (rc < 0) {
        store_entries_release(&list);
        return rc;
    }
    *out = list;
    return 0;
}

/* History */

/* A place in the history, between messages. */
struct place {
    int64_t ord, rank, row;
};

/* Where a query begins: rows beyond it, in its direction, are wanted. */
static int query_start(struct store *s, const struct store_query *q, struct place *p)
{
    *p = q->backwards ? (struct place){INT64_MAX, INT64_MAX, INT64_MAX}
                      : (struct place){0, INT64_MIN, 0};
    if (q->after_row != 0) {
        p->ord = (int64_t)q->after_order;
        p->row = (int64_t)q->after_row;
        int err = store_rank(s, q->after_device, &p->rank);
        if (err != 0) {
            return err;
        }
    }
    if (!q->backwards && p->ord < (int64_t)q->since_ms) {
        *p = (struct place){(int64_t)q->since_ms, INT64_MIN, 0};
    }
    return 0;
}

static void bind_place(struct bind *b, uint32_t conv, const struct place *p)
{
    bind_int(b, conv);
    bind_i64(b, p->ord);
    bind_i64(b, p->rank);
    bind_i64(b, p->row);
}

/* One conversation of a merge: the place of its next message. */
struct cursor {
    uint32_t conv;
    struct place at;
};
struct merge {
    struct cursor *v; /* a binary heap, the next one first */
    size_t n;
    bool backwards;
    /* kept for the next page: what it was made of */
    uint64_t since_ms, row_last;
    int64_t told; /* row of the last message told */
};

static bool comes_first(const struct merge *m, const struct cursor *x,
                        const struct cursor *y)
{
    const struct place *a = m->backwards ? &y->at : &x->at;
    const struct place *b = m->backwards ? &x->at : &y->at;
    if (a->ord != b->ord) {
        return a->ord < b->ord;
    }
    return a->rank != b->rank ? a->rank < b->rank : a->row < b->row;
}

static void sift_down(struct merge *m, size_t i)
{
    for (;;) {
        size_t first = i;
        for (size_t c = 2 * i + 1; c <= 2 * i + 2 && c < m->n; c++) {
            if (comes_first(m, &m->v[c], &m->v[first])) {
                first = c;
            }
        }
        if (first == i) {
            return;
        }
        struct cursor tmp = m->v[i];
        m->v[i] = m->v[first];
        m->v[first] = tmp;
        i = first;
    }
}

/* Moves c to the message after (or before) its place. 1, 0 at the end, or an error. */
static int cursor_next(struct store *s, struct cursor *c, const struct store_query *q)
{
    struct bind b = bind_start(s, q->backwards ? ST_NEXT_DOWN : ST_NEXT_UP);
    bind_place(&b, c->conv, &c->at);
    int rc = bind_row(&b);
    if (rc == 1) {
        c->at.ord = sqlite3_column_int64(b.st, 0);
        c->at.rank = sqlite3_column_int64(b.st, 1);
        c->at.row = sqlite3_column_int64(b.st, 2);
        (void)sqlite3_reset(b.st);
        if (q->backwards && c->at.ord < (int64_t)q->since_ms) {
            return 0;
        }
    }
    return rc;
}

static int merge_start(struct store *s, const struct store_query *q,
                       const struct place *start, struct merge *m)
{
    struct bind b = bind_start(s, ST_CONVS);
    size_t cap = 0;
    int rc = 0;
    while ((rc = bind_row(&b)) == 1) {
        if (m->n == cap) {
            cap = cap == 0 ? 16 : 2 * cap;
            struct cursor *v = realloc(m->v, cap * sizeof *v);
            if (v == NULL) {
                (void)sqlite3_reset(b.st);
                return ERR_NOMEM;
            }
            m->v = v;
        }
        struct cursor *c = &m->v[m->n];
        c->conv = (uint32_t)col_int(b.st, 0);
        c->at = *start;
        rc = cursor_next(s, c, q);
        if (rc < 0) {
            (void)sqlite3_reset(b.st);
            return rc;
        }
        m->n += rc == 1;
    }
    for (size_t i = m->n / 2; rc == 0 && i > 0; i--) {
        sift_down(m, i - 1);
    }
    return rc;
}

/* Tells the message of the first cursor, unless its author's time is too early. */
static int merge_tell(struct store *s, const struct store_query *q, int64_t row,
                      store_msg_cb *cb, void *ctx, size_t *told)
{
    struct bind b = bind_start(s, ST_MSG_ROW);
    bind_i64(&b, row);
    int rc = bind_row(&b);
    if (rc == 1) {
        bool wanted = col_int(b.st, COL_TIME) >= q->since_ms;
        rc = wanted ? tell_msg(s, b.st, cb, ctx) : 0;
        *told += wanted;
        (void)sqlite3_reset(b.st);
    }
    return rc;
}

/* The merge of the page before this one, when nothing was stored since; otherwise a new
 * one, which has to look into every conversation. */
static int merge_take(struct store *s, const struct store_query *q,
                      const struct place *start, struct merge *m)
{
    const struct merge *kept = s->merge;
    *m = (struct merge){.backwards = q->backwards};
    if (kept != NULL && q->after_row != 0 && kept->told == (int64_t)q->after_row &&
        kept->backwards == q->backwards && kept->since_ms == q->since_ms &&
        kept->row_last == s->row_last) {
        *m = *kept;
        free(s->merge);
        s->merge = NULL;
        return 0;
    }
    store_merge_release(s);
    return merge_start(s, q, start, m);
}

void store_merge_release(struct store *s)
{
    if (s->merge != NULL) {
        free(s->merge->v);
        free(s->merge);
        s->merge = NULL;
    }
}

/* Keeps a merge that may go on; otherwise frees what it holds. */
static void merge_keep(struct store *s, const struct store_query *q, struct merge *m,
                       int rc)
{
    store_merge_release(s);
    if (rc >= 0 && m->n > 0 && m->told != 0) {
        s->merge = malloc(sizeof *s->merge);
    }
    if (s->merge == NULL) {
        free(m->v);
        return;
    }
    m->since_ms = q->since_ms;
    m->row_last = s->row_last;
    *s->merge = *m;
}

static int history_all(struct store *s, const struct store_query *q,
                       const struct place *start, size_t limit, store_msg_cb *cb,
                       void *ctx)
{
    struct merge m;
    size_t told = 0;
    int rc = merge_take(s, q, start, &m);
    while (rc == 0 && m.n > 0 && told < limit) {
        int64_t row = m.v[0].at.row;
        rc = merge_tell(s, q, row, cb, ctx, &told);
        if (rc == 0) {
            m.told = row;
            rc = cursor_next(s, &m.v[0], q);
            if (rc == 0) {
                m.v[0] = m.v[--m.n];
            }
            rc = rc < 0 ? rc : 0;
            sift_down(&m, 0);
        }
    }
    merge_keep(s, q, &m, rc);
    return rc;
}

int store_history(struct store *s, const struct store_query *q, store_msg_cb *cb,
                  void *ctx)
{
    size_t limit = q->limit < STORE_PAGE_ROWS ? q->limit : STORE_PAGE_ROWS;
    struct place start;
    int err = query_start(s, q, &start);
    if (err != 0) {
        return err;
    }
    if (q->conv == 0) {
        return history_all(s, q, &start, limit, cb, ctx);
    }
    struct bind b = bind_start(s, q->backwards ? ST_HISTORY_DOWN : ST_HISTORY_UP);
    bind_place(&b, q->conv, &start);
    bind_int(&b, q->since_ms);
    bind_int(&b, limit);
    return each_msg(s, &b, cb, ctx, NULL);
}

int store_arrivals(struct store *s, uint32_t conv, uint64_t after_row, size_t limit,
                   store_msg_cb *cb, void *ctx)
{
    struct bind b = bind_start(s, conv == 0 ? ST_ARRIVALS : ST_ARRIVALS_CONV);
    bind_int(&b, after_row);
    bind_int(&b, limit < STORE_PAGE_ROWS ? limit : STORE_PAGE_ROWS);
    if (conv != 0) {
        bind_int(&b, conv);
    }
    return each_msg(s, &b, cb, ctx, NULL);
}

/* The smallest and the largest id that begin with the given hex digits. */
static bool prefix_range(const char *prefix, uint8_t lo[WIRE_MID], uint8_t hi[WIRE_MID])
{
    size_t n = strnlen(prefix, 2 * WIRE_MID + 1);
    if (n < FIND_DIGITS_MIN || n > 2 * WIRE_MID) {
        return false;
    }
    memset(lo, 0x00, WIRE_MID);
    memset(hi, 0xff, WIRE_MID);
    for (size_t i = 0; i < n; i++) {
        char c = prefix[i];
        int v = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (v < 0) {
            return false;
        }
        int shift = i % 2 == 0 ? 4 : 0;
        lo[i / 2] = (uint8_t)(lo[i / 2] | v << shift);
        hi[i / 2] = (uint8_t)((hi[i / 2] & ~(0xf << shift)) | v << shift);
    }
    return true;
}

/* The next author of a conversation who wrote something, behind the given pair. 1, 0 at
 * the end, or an error. */
static int author_next(struct store *s, uint32_t *conv, uint32_t *author)
{
    int rc = 0;
    for (int i = 0; rc == 0 && i < 2; i++) { /* in this conversation, else in the next */
        struct bind b = bind_start(s, i == 0 ? ST_AUTHOR_NEXT : ST_AUTHOR_FIRST);
        bind_int(&b, *conv);
        if (i == 0) {
            bind_int(&b, *author);
        }
        rc = bind_row(&b);
        if (rc == 1) {
            *conv = (uint32_t)col_int(b.st, 0);
            *author = (uint32_t)col_int(b.st, 1);
            (void)sqlite3_reset(b.st);
        }
    }
    return rc;
}

int store_find(struct store *s, const char *prefix, store_msg_cb *cb, void *ctx)
{
    uint8_t lo[WIRE_MID], hi[WIRE_MID];
    uint32_t conv = 0, author = UINT32_MAX; /* before the first conversation */
    size_t left = FIND_MAX;
    if (!prefix_range(prefix, lo, hi)) {
        return ERR_ARG;
    }
    int rc = author_next(s, &conv, &author);
    while (rc == 1 && left > 0) {
        struct bind b = bind_start(s, ST_FIND);
        bind_int(&b, conv);
        bind_int(&b, author);
        bind_bytes(&b, lo, sizeof lo);
        bind_bytes(&b, hi, sizeof hi);
        bind_int(&b, left);
        rc = each_msg(s, &b, cb, ctx, &left);
        if (rc == 0) {
            rc = author_next(s, &conv, &author);
        }
    }
    return rc == 1 ? 0 : rc;
}

int store_unread_each(struct store *s, int (*cb)(void *ctx, uint32_t conv, uint64_t n),
                      void *ctx)
{
    struct bind b = bind_start(s, ST_UNREAD_ALL);
    int rc;
    while ((rc = bind_row(&b)) == 1) {
        rc = cb(ctx, (uint32_t)col_int(b.st, 0), col_int(b.st, 1));
        if (rc != 0) {
            (void)sqlite3_reset(b.st);
            break;
        }
    }
    return rc;
}

int store_unread(struct store *s, uint32_t conv, uint64_t *out)
{
    struct bind b = bind_start(s, ST_UNREAD_GET);
    bind_int(&b, conv);
    int rc = bind_row(&b);
    if (rc < 0) {
        return rc;
    }
    *out = 0;
    if (rc == 1) {
        *out = col_int(b.st, 0);
        (void)sqlite3_reset(b.st);
    }
    return 0;
}

/* Events */

static int event_cols(struct store *s, sqlite3_stmt *st, struct store_event *e)
{
    memset(e, 0, sizeof *e);
    e->n = col_int(st, COL_MSG_END);
    e->topic = (uint8_t)col_int(st, COL_MSG_END + 1);
    uint8_t what = (uint8_t)col_int(st, COL_MSG_END + 2);
    if (sqlite3_column_type(st, COL_MSG_END + 3) == SQLITE_NULL) {
        e->event.topic = e->topic;
        e->event.what = what;
        e->event.contact = (uint32_t)col_int(st, COL_MSG_END + 4);
        e->event.conv = (uint32_t)col_int(st, COL_MSG_END + 5);
        e->event.value = col_int(st, COL_MSG_END + 6);
        col_name(st, COL_MSG_END + 7, e->event.text, sizeof e->event.text);
        return 0;
    }
    store_event_cols(st, 0, e);
    if (what > STORE_CHANGED) {
        e->change = (uint8_t)(what - STORE_CHANGED);
        e->by = (uint32_t)col_int(st, COL_MSG_END + 4);
        int err = store_event_changes(s, e);
        if (err != 0 || e->change != CHANGE_EDIT) {
            return err;
        }
    } else {
        e->state = what;
        if (e->topic != TOPIC_MESSAGE) {
            return 0;
        }
    }
    struct blob text = col_blob(st, COL_TEXT);
    return blob_set(&e->text, text.p, text.n) ? store_event_file(s, e) : ERR_NOMEM;
}

uint64_t store_newest_row(const struct store *s)
{
    return s->row_last;
}

int store_events_since(struct store *s, uint64_t since, size_t limit,
                       struct store_events *out, uint64_t *newest)
{
    size_t kept = out->n;
    struct bind b = bind_start(s, ST_EVENTS);
    bind_int(&b, since < INT64_MAX ? since : INT64_MAX);
    bind_int(&b, limit < INT32_MAX ? limit : INT32_MAX);
    int rc = 0;
    while ((rc = bind_row(&b)) == 1) {
        struct store_event *e = store_events_add(out);
        rc = e == NULL ? ERR_NOMEM : event_cols(s, b.st, e);
        if (rc != 0) {
            (void)sqlite3_reset(b.st);
            break;
        }
    }
    if (rc < 0) {
        while (out->n > kept) {
            blob_release(&out->v[--out->n].text);
        }
        return rc;
    }
    *newest = s->event_last;
    return 0;
}
