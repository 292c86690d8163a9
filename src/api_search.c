/* The method search: words, phrases and filters over all messages, newest first. */
#include <stdlib.h>
#include <string.h>

#include "api_priv.h"
#include "base/err.h"
#include "base/when.h"

/* The places found in one message. */
struct places {
    size_t n;
    struct search_match v[SEARCH_MATCHES_MAX];
};

struct search_job {
    struct app *app;
    uint64_t tag;
    size_t limit;
    bool more;
    struct search q;
    struct search_at at;
    struct rows rows;
    struct places *places; /* of each row */
};

static void job_free(struct search_job *j)
{
    if (j != NULL) {
        api_rows_release(&j->rows);
        free(j->places);
        free(j);
    }
}

static int on_found(void *ctx, const struct store_msg *m, const struct search_match *v,
                    size_t n)
{
    struct search_job *j = ctx;
    if (api_rows_full(&j->rows, j->limit)) {
        j->more = true;
        return 1;
    }
    struct places *p = &j->places[j->rows.n];
    memcpy(p->v, v, n * sizeof *v);
    p->n = n;
    return api_rows_add(&j->rows, m);
}

static int search_run(void *ctx, struct store *s)
{
    struct search_job *j = ctx;
    int rc = store_search(s, &j->q, &j->at, on_found, j);
    return rc < 0 ? rc : 0;
}

static void answer(struct app *a, struct api_req *r, const struct search_job *j)
{
    struct jout *o = api_begin(r);
    jout_open(o, '{');
    jout_key(o, "messages");
    jout_open(o, '[');
    for (size_t i = 0; i < j->rows.n; i++) {
        api_show_found(a, o, &j->rows.v[i].m, j->places[i].v, j->places[i].n);
    }
    jout_close(o, ']');
    jout_kbool(o, "more", j->more);
    jout_key(o, "after");
    if (j->rows.n > 0) {
        jout_u64(o, j->rows.v[j->rows.n - 1].m.row);
    } else {
        jout_null(o);
    }
    jout_close(o, '}');
    api_end(r);
}

/* A slice is done: the answer, or the next slice, before which what waits has its turn.
 */
static void search_done(void *ctx, int rc)
{
    struct search_job *j = ctx;
    struct app *a = j->app;
    struct api_req *r = api_find(a->api, j->tag);
    bool done = r == NULL || j->more || j->at.done;
    if (rc == 0 && a->node != NULL && !done) {
        rc = app_query(a, search_run, search_done, j);
        if (rc == 0) {
            return;
        }
    }
    if (r != NULL && (rc != 0 || a->node == NULL)) {
        api_fail_err(a, r, rc, NULL);
    } else if (r != NULL) {
        answer(a, r, j);
    }
    job_free(j);
}

/* ---- what is asked ---- */

static bool take_person(struct app *a, struct api_req *r, struct search_filter *f)
{
    const struct rec_contact *c = NULL;
    const char *me = api_contact_name(a, 0);
    bool mine = strcmp(f->value, "me") == 0 || strcmp(f->value, me) == 0;
    if (f->kind == SEARCH_FROM && mine &&
        contacts_find(node_contacts(a->node), f->value, &c) != 0) {
        f->id = 0;
        return true;
    }
    c = api_find_contact(a, r, f->value);
    if (c == NULL) {
        return false;
    }
    f->id = f->kind == SEARCH_FROM ? c->id : api_conv_of(a, c);
    return true;
}

static bool take_filter(struct app *a, struct api_req *r, struct search_filter *f)
{
    switch (f->kind) {
    case SEARCH_FROM:
    case SEARCH_IN:
        return take_person(a, r, f);
    case SEARCH_BEFORE:
    case SEARCH_AFTER:
        if (!when_since(f->value, env_wall_ms(a->cfg.env), &f->id)) {
            api_fail(r, CODE_USAGE,
                     "%s wants a date, as in 2026-11-22, 2026-11-22T14:00 or yesterday, "
                     "or a duration, as in 2h or 7d.",
                     f->kind == SEARCH_BEFORE ? "before:" : "after:");
            return false;
        }
        return true;
    }
    return false;
}

/* False: r has been answered. */
static bool take_query(struct app *a, struct api_req *r, const char *query, size_t len,
                       struct search *q)
{
    int rc = search_parse(query, len, q);
    if (rc == ERR_LIMIT) {
        api_fail(r, CODE_USAGE,
                 "That is too much to search for at once: at most %d bytes, %d words or "
                 "phrases of %d words in all, and %d filters.",
                 SEARCH_QUERY_MAX, SEARCH_TERMS_MAX, SEARCH_WORDS_MAX,
                 SEARCH_FILTERS_MAX);
    } else if (rc != 0) {
        api_fail(r, CODE_USAGE,
                 "There is no word in that to search for. Give letters, digits or emoji, "
                 "or from:NAME, in:NAME, before:DATE, after:DATE.");
    }
    bool ok = rc == 0;
    for (size_t i = 0; ok && i < q->n_filters; i++) {
        ok = take_filter(a, r, &q->filters[i]);
    }
    return ok;
}

void api_search(struct app *a, struct api_req *r, const json_t *params)
{
    uint64_t limit = API_PAGE_MAX, after = INT64_MAX;
    const char *query;
    size_t len;
    if (!api_want_str(r, params, "query", &query, &len) ||
        !api_may_u64(r, params, "limit", API_PAGE_MAX, &limit) ||
        !api_may_u64(r, params, "after", INT64_MAX, &after)) {
        return;
    }
    struct search_job *j = calloc(1, sizeof *j);
    struct places *places = calloc((size_t)limit + 1, sizeof *places);
    if (j == NULL || places == NULL) {
        free(j);
        free(places);
        api_fail_err(a, r, ERR_NOMEM, NULL);
        return;
    }
    j->places = places;
    j->app = a;
    j->tag = r->tag;
    j->limit = (size_t)limit;
    j->at.below = after;
    j->at.done = after <= 1;
    if (!take_query(a, r, query, len, &j->q)) {
        job_free(j);
        return;
    }
    int rc = app_query(a, search_run, search_done, j);
    if (rc != 0) {
        job_free(j);
        api_fail_err(a, r, rc, NULL);
    }
}
