/* Methods of the conversation: send, read, history, export, message. */
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api_priv.h"
#include "base/err.h"

enum { CURSOR_MAX = 64 };

/* ---- rows ---- */

int api_rows_add(struct rows *rows, const struct store_msg *m)
{
    if (rows->n == rows->cap) {
        size_t cap = rows->cap == 0 ? 16 : 2 * rows->cap;
        struct row *v = realloc(rows->v, cap * sizeof *v);
        if (v == NULL) {
            return ERR_NOMEM;
        }
        rows->v = v;
        rows->cap = cap;
    }
    struct row *r = &rows->v[rows->n];
    r->m = *m;
    struct blob reactions = {0};
    size_t size = m->n_reactions * sizeof *m->reactions;
    if (!blob_set(&r->m.text, m->text.p, m->text.n)) {
        return ERR_NOMEM;
    }
    if (!blob_set(&reactions, m->reactions, size)) {
        blob_release(&r->m.text);
        return ERR_NOMEM;
    }
    r->m.reactions = (const void *)reactions.p;
    rows->n++;
    rows->bytes += m->text.n + size;
    return 0;
}

void api_rows_release(struct rows *rows)
{
    for (size_t i = 0; i < rows->n; i++) {
        blob_release(&rows->v[i].m.text);
        free((void *)(uintptr_t)rows->v[i].m.reactions);
    }
    free(rows->v);
    memset(rows, 0, sizeof *rows);
}

bool api_rows_full(const struct rows *rows, size_t limit)
{
    return rows->n >= limit || (rows->n > 0 && rows->bytes >= API_PAGE_BYTES);
}

/* ---- one message by its id ---- */

static int find_row(void *ctx, const struct store_msg *m)
{
    struct find *q = ctx;
    return api_rows_add(&q->rows, m);
}

static int find_run(void *ctx, struct store *s)
{
    struct find *q = ctx;
    return store_find(s, q->prefix, find_row, q);
}

void api_find_free(struct find *q)
{
    api_rows_release(&q->rows);
    free(q->text);
    free(q);
}

bool api_found_one(struct app *a, struct api_req *r, const struct find *q, int rc)
{
    if (rc != 0 || a->node == NULL) {
        api_fail_err(a, r, rc, NULL);
    } else if (q->rows.n == 0) {
        api_fail(r, CODE_UNKNOWN, "There is no message %s here.", q->prefix);
    } else if (q->rows.n > 1) {
        api_fail(r, CODE_UNKNOWN, "More than one message's id begins with %s.",
                 q->prefix);
    } else {
        return true;
    }
    return false;
}

void api_found_show(void *ctx, int rc)
{
    struct find *q = ctx;
    struct api_req *r = api_find(q->app->api, q->tag);
    if (r != NULL && api_found_one(q->app, r, q, rc)) {
        api_show_row(q->app, api_begin(r), &q->rows.v[0].m);
        api_end(r);
    }
    api_find_free(q);
}

/* Digits of an id into out, lower case. */
static bool take_id(const char *s, size_t len, char out[API_ID_DIGITS + 1])
{
    if (len < API_ID_DIGITS_MIN || len > API_ID_DIGITS) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        c = (char)(c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c);
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
        out[i] = c;
    }
    out[len] = '\0';
    return true;
}

/* Looks up the id of prefix in v, then calls done. Takes v's text over (also on failure).
 */
static void find_start(struct app *a, struct api_req *r, const struct find *v,
                       void (*done)(void *ctx, int rc))
{
    struct find *q = malloc(sizeof *q);
    if (q == NULL) {
        free(v->text);
        api_fail_err(a, r, ERR_NOMEM, NULL);
        return;
    }
    *q = *v;
    q->app = a;
    q->tag = r->tag;
    int rc = app_query(a, find_run, done, q);
    if (rc != 0) {
        api_find_free(q);
        api_fail_err(a, r, rc, NULL);
    }
}

static void fail_id(struct api_req *r)
{
    api_fail(r, CODE_USAGE, "A message's id is 8 to 32 hexadecimal digits.");
}

void api_find_message(struct app *a, struct api_req *r, const json_t *params,
                      const struct find *q, void (*done)(void *ctx, int rc))
{
    const char *id;
    size_t len;
    struct find v = *q;
    if (!api_want_str(r, params, "id", &id, &len)) {
        free(v.text);
        return;
    }
    if (!take_id(id, len, v.prefix)) {
        free(v.text);
        fail_id(r);
        return;
    }
    find_start(a, r, &v, done);
}

void api_find_mid(struct app *a, struct api_req *r, const uint8_t mid[WIRE_MID],
                  void (*done)(void *ctx, int rc))
{
    struct find v = {0};
    (void)sodium_bin2hex(v.prefix, sizeof v.prefix, mid, WIRE_MID);
    find_start(a, r, &v, done);
}

void api_message(struct app *a, struct api_req *r, const json_t *params)
{
    const struct find v = {0};
    api_find_message(a, r, params, &v, api_found_show);
}

/* ---- send ---- */

/* The message lies in the commit that is being told; another one is not to be expected,
 * but would still be answered truly. */
static void sent(struct app *a, struct api_req *r, const struct node_event *ev)
{
    if (ev->err != 0) {
        api_fail_err(a, r, ev->err, api_contact_name(a, r->contact));
        return;
    }
    if (r->work != NULL) { /* files follow */
        api_offer_next(a, r, ev->mid);
        return;
    }
    const struct store_event *e = app_fresh_message(a, ev->mid);
    if (e == NULL) {
        api_find_mid(a, r, ev->mid, api_found_show);
        return;
    }
    struct msg_view v;
    api_view_event(e, &v);
    v.n = 0;
    api_show_message(a, api_begin(r), &v, NULL);
    api_end(r);
}

static void send_now(struct app *a, struct api_req *r, uint32_t contact, const char *text,
                     size_t len, const uint8_t *reply)
{
    r->result = sent;
    r->contact = contact;
    int rc = node_send_text(a->node, r->tag, contact, (const uint8_t *)text, len, reply,
                            env_mono_ms());
    if (rc != 0) {
        api_fail_err(a, r, rc, api_contact_name(a, contact));
    }
}

static void reply_done(void *ctx, int rc)
{
    struct find *q = ctx;
    struct api_req *r = api_find(q->app->api, q->tag);
    if (r != NULL && api_found_one(q->app, r, q, rc)) {
        send_now(q->app, r, q->contact, q->text, q->text_len, q->rows.v[0].m.mid);
    }
    api_find_free(q);
}

bool api_text_ok(struct api_req *r, const char *text, size_t len)
{
    if (len > 0 && len <= WIRE_TEXT_MAX && wire_text_ok((const uint8_t *)text, len)) {
        return true;
    }
    api_fail(r, CODE_USAGE,
             len == 0              ? "The text is empty."
             : len > WIRE_TEXT_MAX ? "The text is longer than 32,768 bytes. Send it in "
                                     "parts, or as a file."
                                   : "The text is not UTF-8.");
    return false;
}

void api_send(struct app *a, struct api_req *r, const json_t *params)
{
    const char *text, *reply;
    size_t len, reply_len;
    const struct rec_contact *c = api_want_contact(a, r, params, "to");
    bool files = json_object_get(params, "files") != NULL;
    if (c == NULL || !api_may_str(r, params, "text", &text, &len) ||
        !api_may_str(r, params, "reply_to", &reply, &reply_len) ||
        (text == NULL && !files && !api_want_str(r, params, "text", &text, &len)) ||
        (text != NULL && !api_text_ok(r, text, len)) ||
        (files && !api_offer_take(a, r, c->id, params))) {
        return;
    }
    if (text == NULL) {
        api_offer_next(a, r, NULL);
        return;
    }
    struct find v = {.contact = c->id, .text_len = len};
    if (reply == NULL) {
        send_now(a, r, c->id, text, len, NULL);
    } else if (!take_id(reply, reply_len, v.prefix)) {
        fail_id(r);
    } else if (reply_len == API_ID_DIGITS) {
        uint8_t mid[WIRE_MID];
        (void)sodium_hex2bin(mid, sizeof mid, v.prefix, API_ID_DIGITS, NULL, NULL, NULL);
        send_now(a, r, c->id, text, len, mid);
    } else {
        v.text = malloc(len);
        if (v.text == NULL) {
            api_fail_err(a, r, ERR_NOMEM, NULL);
            return;
        }
        memcpy(v.text, text, len);
        find_start(a, r, &v, reply_done);
    }
}

/* ---- read ---- */

static void read_done(struct app *a, struct api_req *r, const struct node_event *ev)
{
    if (ev->err != 0) {
        api_fail_err(a, r, ev->err, NULL);
        return;
    }
    struct jout *o = api_begin(r);
    jout_open(o, '{');
    jout_ku64(o, "unread", 0);
    jout_close(o, '}');
    api_end(r);
}

void api_read(struct app *a, struct api_req *r, const json_t *params)
{
    const struct rec_contact *c = api_want_contact(a, r, params, "name");
    if (c != NULL) {
        r->result = read_done;
        api_started(a, r, node_read(a->node, r->tag, c->id, env_mono_ms()), c->name);
    }
}

/* ---- history, export ---- */

struct page {
    struct app *app;
    uint64_t tag;
    size_t limit;
    bool export;
    struct store_query q;
    struct rows rows;
    size_t seen; /* rows of one query */
    bool more;
};

static int page_row(void *ctx, const struct store_msg *m)
{
    struct page *p = ctx;
    if (api_rows_full(&p->rows, p->limit)) {
        p->more = true;
        return 1;
    }
    p->seen++;
    p->q.after_order = m->order;
    p->q.after_device = m->device;
    p->q.after_row = m->row;
    return api_rows_add(&p->rows, m);
}

/* A page, and whether another row follows. */
static int page_run(void *ctx, struct store *s)
{
    struct page *p = ctx;
    int rc;
    do {
        p->seen = 0;
        rc = store_history(s, &p->q, page_row, p);
    } while (rc == 0 && !p->more && p->seen == p->q.limit);
    return rc < 0 ? rc : 0;
}

static void page_free(struct page *p)
{
    api_rows_release(&p->rows);
    free(p);
}

static void show_page(struct app *a, struct jout *o, const struct page *p)
{
    const char *key = p->export ? "after" : "before";
    jout_open(o, '{');
    jout_key(o, "messages");
    jout_open(o, '[');
    for (size_t i = 0; i < p->rows.n; i++) {
        size_t k = p->q.backwards ? p->rows.n - 1 - i : i;
        api_show_row(a, o, &p->rows.v[k].m);
    }
    jout_close(o, ']');
    jout_kbool(o, "more", p->more);
    jout_key(o, key);
    if (p->rows.n > 0) {
        const struct store_msg *m = &p->rows.v[p->rows.n - 1].m;
        char cursor[CURSOR_MAX];
        int n = snprintf(cursor, sizeof cursor, "%" PRIu64 ".%" PRIu32 ".%" PRIu64,
                         m->order, m->device, m->row);
        jout_strn(o, cursor, (size_t)n);
    } else {
        jout_null(o);
    }
    jout_close(o, '}');
}

static void page_done(void *ctx, int rc)
{
    struct page *p = ctx;
    struct app *a = p->app;
    struct api_req *r = api_find(a->api, p->tag);
    if (r != NULL && (rc != 0 || a->node == NULL)) {
        api_fail_err(a, r, rc, NULL);
    } else if (r != NULL) {
        show_page(a, api_begin(r), p);
        api_end(r);
    }
    page_free(p);
}

/* A decimal number and the end that follows it. */
static bool cursor_part(const char **s, char end, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    const char *p = *s;
    while (*p >= '0' && *p <= '9') {
        uint64_t digit = (uint64_t)(*p++ - '0');
        if (v > (UINT64_MAX - digit) / 10) {
            return false;
        }
        v = v * 10 + digit;
    }
    if (p == *s || *p != end || v > max) {
        return false;
    }
    *s = end == '\0' ? p : p + 1;
    *out = v;
    return true;
}

static bool take_cursor(const char *s, struct store_query *q)
{
    uint64_t device;
    bool ok = cursor_part(&s, '.', INT64_MAX, &q->after_order) &&
              cursor_part(&s, '.', UINT32_MAX, &device) &&
              cursor_part(&s, '\0', INT64_MAX, &q->after_row);
    if (ok) {
        q->after_device = (uint32_t)device;
    }
    return ok;
}

static void page_start(struct app *a, struct api_req *r, const struct page *p)
{
    struct page *q = malloc(sizeof *q);
    int rc = ERR_NOMEM;
    if (q != NULL) {
        *q = *p;
        rc = app_query(a, page_run, page_done, q);
    }
    if (rc != 0) {
        free(q);
        api_fail_err(a, r, rc, NULL);
    }
}

void api_history(struct app *a, struct api_req *r, const json_t *params)
{
    uint64_t limit = API_PAGE_MAX;
    const char *before;
    size_t len;
    struct page p = {.app = a, .tag = r->tag};
    const struct rec_contact *c = api_want_contact(a, r, params, "name");
    if (c == NULL || !api_may_u64(r, params, "limit", API_PAGE_MAX, &limit) ||
        !api_may_u64(r, params, "since_ms", INT64_MAX, &p.q.since_ms) ||
        !api_may_str(r, params, "before", &before, &len)) {
        return;
    }
    p.limit = (size_t)limit;
    p.q.backwards = true;
    p.q.conv = api_conv_of(a, c);
    p.q.limit = STORE_PAGE_ROWS;
    if (before != NULL && !take_cursor(before, &p.q)) {
        api_fail(r, CODE_USAGE, "\"before\" is not what a page of history gave.");
        return;
    }
    page_start(a, r, &p);
}

void api_export(struct app *a, struct api_req *r, const json_t *params)
{
    const char *after, *name;
    size_t len;
    struct page p = {.app = a, .tag = r->tag, .limit = API_PAGE_MAX, .export = true};
    if (!api_may_str(r, params, "after", &after, &len) ||
        !api_may_u64(r, params, "since_ms", INT64_MAX, &p.q.since_ms) ||
        !api_may_str(r, params, "name", &name, &len)) {
        return;
    }
    p.q.limit = STORE_PAGE_ROWS;
    if (name != NULL) {
        const struct rec_contact *c = api_want_contact(a, r, params, "name");
        if (c == NULL) {
            return;
        }
        p.q.conv = api_conv_of(a, c);
    }
    if (after != NULL && !take_cursor(after, &p.q)) {
        api_fail(r, CODE_USAGE, "\"after\" is not what a page of export gave.");
        return;
    }
    page_start(a, r, &p);
}
