/* The method recv: what was not received through it yet.
 *
 * How far that is stands in the node's meta value "recv": the row up to which everything
 * was received, then pairs (conversation, row) for conversations that are ahead of that,
 * since they were asked for alone. One recv runs at a time, so that two never tell the
 * same message. */
#include <stdlib.h>
#include <string.h>

#include "api_priv.h"
#include "base/buf.h"
#include "base/err.h"

enum { MARK_HEAD = 8, MARK_PAIR = 12, MARKS_MAX = 1024, SCANS_MAX = 16 };

static const char meta_key[] = "recv";

struct marks {
    uint64_t all;
    size_t n;
    struct {
        uint32_t conv;
        uint64_t row;
    } v[MARKS_MAX];
};

struct recv_job {
    struct recv_job *next;
    struct app *app;
    uint64_t tag;
    uint32_t conv; /* 0: all */
    size_t limit;
    bool peek, more, at_store;
    bool has_after; /* after this row, whatever was received already */
    uint64_t after;
    struct marks marks;
    struct rows rows;
    size_t seen;      /* rows of one scan */
    uint64_t scanned; /* the last row looked at */
};

/* Those that wait for their turn; the first one runs. */
struct recv_queue {
    struct recv_job *first, **last;
};

/* ---- marks ---- */

static void marks_load(const struct app *a, struct marks *m)
{
    const struct blob *b = node_meta(a->node, meta_key);
    m->all = 0;
    m->n = 0;
    if (b == NULL) {
        return;
    }
    struct rd r = rd_init(b->p, b->n);
    m->all = rd_u64(&r);
    while (rd_ok(&r) && r.n >= MARK_PAIR && m->n < MARKS_MAX) {
        m->v[m->n].conv = rd_u32(&r);
        m->v[m->n].row = rd_u64(&r);
        m->n++;
    }
}

static uint64_t marks_get(const struct marks *m, uint32_t conv)
{
    for (size_t i = 0; conv != 0 && i < m->n; i++) {
        if (m->v[i].conv == conv && m->v[i].row > m->all) {
            return m->v[i].row;
        }
    }
    return m->all;
}

/* Everything of a conversation (0: of all) up to row was received. */
static void marks_set(struct marks *m, uint32_t conv, uint64_t row)
{
    if (conv == 0) {
        m->all = row > m->all ? row : m->all;
    }
    size_t kept = 0;
    for (size_t i = 0; i < m->n; i++) {
        if (m->v[i].row > m->all && m->v[i].conv != conv) {
            m->v[kept++] = m->v[i];
        }
    }
    m->n = kept;
    if (conv != 0 && row > m->all && m->n < MARKS_MAX) {
        m->v[m->n].conv = conv;
        m->v[m->n].row = row;
        m->n++;
    }
}

static int marks_store(struct app *a, struct api_req *r, const struct marks *m)
{
    size_t cap = MARK_HEAD + m->n * MARK_PAIR;
    uint8_t *bytes = malloc(cap);
    if (bytes == NULL) {
        return ERR_NOMEM;
    }
    struct wr w = wr_init(bytes, cap);
    wr_u64(&w, m->all);
    for (size_t i = 0; i < m->n; i++) {
        wr_u32(&w, m->v[i].conv);
        wr_u64(&w, m->v[i].row);
    }
    int rc = node_set_meta(a->node, r->tag, meta_key, bytes, w.len, env_mono_ms());
    free(bytes);
    return rc;
}

/* ---- the store's side ---- */

static int recv_row(void *ctx, const struct store_msg *m)
{
    struct recv_job *j = ctx;
    bool got = m->row <= marks_get(&j->marks, m->conv);
    if (!got && api_rows_full(&j->rows, j->limit)) {
        j->more = true;
        return 1;
    }
    j->seen++;
    j->scanned = m->row;
    return got ? 0 : api_rows_add(&j->rows, m);
}

static int recv_run(void *ctx, struct store *s)
{
    struct recv_job *j = ctx;
    int rc = 0;
    j->scanned = marks_get(&j->marks, j->conv);
    for (int i = 0; i < SCANS_MAX && rc == 0 && !j->more; i++) {
        j->seen = 0;
        rc = store_arrivals(s, j->conv, j->scanned, STORE_PAGE_ROWS, recv_row, j);
        if (j->seen < STORE_PAGE_ROWS) {
            return rc < 0 ? rc : 0;
        }
    }
    j->more = j->more || rc == 0;
    return rc < 0 ? rc : 0;
}

/* ---- the loop's side ---- */

static void start_next(struct app *a);

static void job_free(struct recv_job *j)
{
    if (j != NULL) {
        j->app->receiving--;
        api_rows_release(&j->rows);
        free(j);
    }
}

static void answer(struct app *a, struct api_req *r, const struct recv_job *j)
{
    struct jout *o = api_begin(r);
    jout_open(o, '{');
    jout_key(o, "messages");
    jout_open(o, '[');
    for (size_t i = 0; i < j->rows.n; i++) {
        api_show_row(a, o, &j->rows.v[i].m);
    }
    jout_close(o, ']');
    jout_kbool(o, "more", j->more);
    jout_close(o, '}');
    api_end(r);
}

/* Takes the first job out of the queue and lets the next one run. */
static struct recv_job *take_first(struct app *a)
{
    struct recv_queue *q = a->recv;
    struct recv_job *j = q->first;
    q->first = j->next;
    if (q->first == NULL) {
        q->last = &q->first;
    }
    return j;
}

/* The mark is durable: now the messages may be told. */
static void marked(struct app *a, struct api_req *r, const struct node_event *ev)
{
    struct recv_job *j = a->recv == NULL ? NULL : a->recv->first;
    if (j == NULL || j->tag != r->tag) {
        api_fail_err(a, r, ERR_STATE, NULL);
        return;
    }
    if (ev->err != 0) {
        api_fail_err(a, r, ev->err, NULL);
    } else {
        answer(a, r, j);
    }
    job_free(take_first(a));
    start_next(a);
}

static void recv_done(void *ctx, int rc)
{
    struct recv_job *j = ctx;
    struct app *a = j->app;
    struct api_req *r = api_find(a->api, j->tag);
    j->at_store = false;
    if (a->recv == NULL || a->recv->first != j) {
        job_free(j); /* the queue was reset; the request has been answered */
        return;
    }
    bool waits = false;
    if (r != NULL && (rc != 0 || a->node == NULL)) {
        api_fail_err(a, r, rc, NULL);
    } else if (r != NULL && (j->peek || j->scanned <= marks_get(&j->marks, j->conv))) {
        answer(a, r, j);
    } else if (r != NULL) {
        marks_set(&j->marks, j->conv, j->scanned);
        r->result = marked;
        rc = marks_store(a, r, &j->marks);
        waits = rc == 0;
        if (rc != 0) {
            api_fail_err(a, r, rc, NULL);
        }
    }
    if (!waits) {
        job_free(take_first(a));
        start_next(a);
    }
}

static void start_next(struct app *a)
{
    while (a->recv != NULL && a->recv->first != NULL) {
        struct recv_job *j = a->recv->first;
        int rc = ERR_STATE;
        if (a->node != NULL) {
            marks_load(a, &j->marks);
            if (j->has_after) {
                j->marks.all = j->after;
                j->marks.n = 0;
            }
            rc = app_query(a, recv_run, recv_done, j);
        }
        if (rc == 0) {
            j->at_store = true;
            return;
        }
        struct api_req *r = api_find(a->api, j->tag);
        if (r != NULL) {
            api_fail_err(a, r, rc, NULL);
        }
        job_free(take_first(a));
    }
}

/* The node is gone: what waits has been answered. A job that is at the store frees itself
 * when it comes back. */
void api_recv_reset(struct app *a)
{
    struct recv_queue *q = a->recv;
    a->recv = NULL;
    if (q == NULL) {
        return;
    }
    for (struct recv_job *j = q->first, *next; j != NULL; j = next) {
        next = j->next;
        if (!j->at_store) {
            job_free(j);
        }
    }
    free(q);
}

/* The conversation of the parameter `from`, 0 (all) without it. False: answered. */
static bool want_conv(struct app *a, struct api_req *r, const json_t *params,
                      uint32_t *conv)
{
    const char *from;
    size_t len;
    if (!api_may_str(r, params, "from", &from, &len)) {
        return false;
    }
    *conv = 0;
    if (from != NULL) {
        const struct rec_contact *c = api_want_contact(a, r, params, "from");
        if (c == NULL) {
            return false;
        }
        *conv = api_conv_of(a, c);
    }
    return true;
}

void api_recv(struct app *a, struct api_req *r, const json_t *params)
{
    uint64_t limit = API_PAGE_MAX, after = UINT64_MAX;
    bool peek = false;
    uint32_t conv;
    if (!want_conv(a, r, params, &conv) ||
        !api_may_u64(r, params, "limit", API_PAGE_MAX, &limit) ||
        !api_may_u64(r, params, "after", INT64_MAX, &after) ||
        !api_may_bool(r, params, "peek", &peek)) {
        return;
    }
    if (a->recv == NULL) {
        a->recv = calloc(1, sizeof *a->recv);
        if (a->recv != NULL) {
            a->recv->last = &a->recv->first;
        }
    }
    struct recv_job *j = a->recv == NULL ? NULL : calloc(1, sizeof *j);
    if (j == NULL) {
        api_fail_err(a, r, ERR_NOMEM, NULL);
        return;
    }
    a->receiving++;
    j->app = a;
    j->tag = r->tag;
    j->conv = conv;
    j->limit = (size_t)limit;
    j->has_after = after != UINT64_MAX;
    j->after = after;
    j->peek = peek || j->has_after;
    bool idle = a->recv->first == NULL;
    *a->recv->last = j;
    a->recv->last = &j->next;
    if (idle) {
        start_next(a);
    }
}

void api_recv_ack(struct app *a, struct api_req *r, const json_t *params)
{
    uint64_t row = 0;
    uint32_t conv;
    struct marks *m = malloc(sizeof *m);
    if (m == NULL) {
        api_fail_err(a, r, ERR_NOMEM, NULL);
        return;
    }
    if (want_conv(a, r, params, &conv) &&
        api_may_u64(r, params, "row", INT64_MAX, &row)) {
        marks_load(a, m);
        marks_set(m, conv, row);
        r->result = api_result_empty;
        api_started(a, r, marks_store(a, r, m), NULL);
    }
    free(m);
}
