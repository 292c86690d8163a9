/* A search: the index names messages, each of which is looked at before it is told. */
#include "store_search.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "store_priv.h"

enum {
    SLICE_US = 4000,      /* from here on a slice ends */
    ROWS_A_LOOK = 16,     /* messages between two looks at the clock */
    SCAN_ROWS = 1024,     /* messages read without the index at once */
    SPAN_FIRST = 1 << 17, /* rows that the index is asked for at once: at first, */
    SPAN_MIN = 1 << 16,   /* at least, since asking has its price, */
    SPAN_MAX = 1 << 24,   /* and at most */
    SPAN_FAST_US = 4000,  /* of processor time, or less: the next span is wider */
    SPAN_SLOW_US = 10000, /* or more: it is narrower */
    SAMPLES = 256,        /* messages that are looked at for how common a prefix is, */
    SAMPLED_ROWS = 4096,  /* where there are so many at least; */
    SAMPLES_COMMON = 4,   /* it is, when so many of them have it */
    EXPR_MAX = SEARCH_WORDS_MAX * (WORD_BYTES_MAX + 8) + SEARCH_FILTERS_MAX * 32 + 256,
};

static uint64_t now_us(clockid_t clock)
{
    struct timespec t;
    (void)clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- where the words stand in a text ---- */

/* Finds all terms in one pass. Bit i of `now` says that word i of the query, and those
 * before it in its term, end at the place that is being read. */
struct finder {
    const struct search *q;
    uint64_t firsts, lasts; /* words that begin and end a term */
    uint64_t now, before;
    size_t from_now[SEARCH_WORDS_MAX], from_before[SEARCH_WORDS_MAX];
    uint32_t pos;
    uint64_t found; /* of terms' last words */
    struct search_match v[SEARCH_MATCHES_MAX];
    size_t n;
};

static void finder_init(struct finder *f, const struct search *q)
{
    f->q = q;
    f->firsts = f->lasts = 0;
    for (size_t i = 0; i < q->n_terms; i++) {
        f->firsts |= UINT64_C(1) << q->terms[i].first;
        f->lasts |= UINT64_C(1) << (q->terms[i].first + q->terms[i].n - 1);
    }
}

static const struct search_term *term_of(const struct search *q, size_t word)
{
    size_t i = 0;
    while (q->terms[i].first + q->terms[i].n <= word) {
        i++;
    }
    return &q->terms[i];
}

static bool same_word(const struct finder *f, size_t i, const struct word *w)
{
    const struct search_word *v = &f->q->words[i];
    if (w->len == v->len) {
        return memcmp(w->s, v->s, v->len) == 0;
    }
    return w->len > v->len && (f->lasts >> i & 1) != 0 && !w->joined &&
           term_of(f->q, i)->prefix && memcmp(w->s, v->s, v->len) == 0;
}

static void note_match(struct finder *f, size_t i, const struct word *w)
{
    uint32_t from = (uint32_t)f->from_now[i], to = (uint32_t)w->to;
    f->found |= UINT64_C(1) << i;
    if (term_of(f->q, i)->exclude || f->n == SEARCH_MATCHES_MAX) {
        return;
    }
    if (f->n > 0 && from < f->v[f->n - 1].to) { /* one place, told once */
        struct search_match *last = &f->v[f->n - 1];
        last->from = from < last->from ? from : last->from;
        last->to = to > last->to ? to : last->to;
    } else {
        f->v[f->n++] = (struct search_match){from, to};
    }
}

static int find_word(void *ctx, const struct word *w)
{
    struct finder *f = ctx;
    if (w->pos != f->pos) {
        f->before = f->now;
        memcpy(f->from_before, f->from_now, f->q->n_words * sizeof *f->from_now);
        f->now = 0;
        f->pos = w->pos;
    }
    for (size_t i = 0; i < f->q->n_words; i++) {
        bool first = (f->firsts >> i & 1) != 0;
        if ((first || (f->before >> (i - 1) & 1) != 0) && same_word(f, i, w)) {
            f->now |= UINT64_C(1) << i;
            f->from_now[i] = first ? w->from : f->from_before[i - 1];
            if ((f->lasts >> i & 1) != 0) {
                note_match(f, i, w);
            }
        }
    }
    return 0;
}

static void read_text(struct finder *f, const struct blob *text)
{
    f->now = f->before = f->found = 0;
    f->pos = 0;
    f->n = 0;
    (void)words_each((const char *)text->p, text->n, find_word, f);
}

/* Whether a term stands in the text that was read. */
static bool has_term(const struct finder *f, const struct search_term *t)
{
    return (f->found >> (t->first + t->n - 1) & 1) != 0;
}

/* Whether all that is looked for stands in the text, and nothing that is not wanted. */
static bool text_fits(struct finder *f, const struct blob *text)
{
    read_text(f, text);
    for (size_t i = 0; i < f->q->n_terms; i++) {
        if (has_term(f, &f->q->terms[i]) == f->q->terms[i].exclude) {
            return false;
        }
    }
    return true;
}

/* ---- filters ---- */

/* Whether a message's author (conversation) is one of those that are wanted. */
static bool person_fits(const struct search *q, enum search_kind kind, uint32_t id)
{
    bool asked = false, is = false;
    for (size_t i = 0; i < q->n_filters; i++) {
        const struct search_filter *f = &q->filters[i];
        if (f->kind == kind && f->exclude && f->id == id) {
            return false;
        }
        if (f->kind == kind && !f->exclude) {
            asked = true;
            is = is || f->id == id;
        }
    }
    return !asked || is;
}

/* Times that are wanted: from first to last, both included. */
struct times {
    uint64_t first, last;
};

static struct times times_of(const struct search *q)
{
    struct times t = {0, UINT64_MAX};
    for (size_t i = 0; i < q->n_filters; i++) {
        const struct search_filter *f = &q->filters[i];
        bool after = f->kind == SEARCH_AFTER;
        if (!after && f->kind != SEARCH_BEFORE) {
            continue;
        }
        if (after != f->exclude) { /* -before: is after: */
            t.first = f->id > t.first ? f->id : t.first;
        } else if (f->id == 0) {
            t.first = UINT64_MAX; /* nothing is older than that */
        } else {
            t.last = f->id - 1 < t.last ? f->id - 1 : t.last;
        }
    }
    return t;
}

/* ---- what FTS5 is asked ---- */

struct expr {
    char s[EXPR_MAX];
    size_t n;
    bool any;
    bool prefix;     /* a prefix is asked for */
    uint64_t common; /* terms that are left out */
};

__attribute__((format(printf, 2, 3))) static void add(struct expr *e, const char *fmt,
                                                      ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(e->s + e->n, sizeof e->s - e->n, fmt, ap);
    va_end(ap);
    e->n += n > 0 ? (size_t)n : 0; /* EXPR_MAX holds the longest query */
}

/* One more part; op stands between it and the one before. */
static void next_part(struct expr *e, const char *op)
{
    add(e, "%s", e->any ? op : "");
    e->any = true;
}

/* Terms that are wanted (or, with exclude, are not), each a phrase of words that the
 * tokenizer takes as they are. They hold no quotation marks. Common prefixes are left
 * out: FTS5 would gather every message that has one. */
static void add_terms(struct expr *e, const struct search *q, bool exclude,
                      const char *op)
{
    for (size_t i = 0; i < q->n_terms; i++) {
        const struct search_term *t = &q->terms[i];
        if (t->exclude != exclude || (e->common >> i & 1) != 0) {
            continue;
        }
        next_part(e, op);
        e->prefix = e->prefix || (t->prefix && !exclude);
        for (size_t k = 0; k < t->n; k++) {
            const struct search_word *w = &q->words[t->first + k];
            add(e, "%s\"%.*s\"", k == 0 ? "text : " : " + ", (int)w->len, w->s);
        }
        add(e, "%s", t->prefix ? " *" : "");
    }
}

/* from: or in:, of which one has to be there (with exclude: none may be). */
static void add_people(struct expr *e, const struct search *q, enum search_kind kind,
                       bool exclude, const char *op)
{
    bool any = false;
    for (size_t i = 0; i < q->n_filters; i++) {
        const struct search_filter *f = &q->filters[i];
        if (f->kind != kind || f->exclude != exclude) {
            continue;
        }
        if (!any) {
            next_part(e, op);
        }
        add(e, "%s\"%c%u\"", any ? " OR " : "tags : (", kind == SEARCH_FROM ? 'a' : 'c',
            (unsigned)f->id);
        any = true;
    }
    add(e, "%s", any ? ")" : "");
}

/* False: the index cannot name them, since nothing is looked for, only excluded. */
static bool expr_of(const struct search *q, uint64_t common, struct expr *e)
{
    e->n = 0;
    e->any = e->prefix = false;
    e->common = common;
    add(e, "(");
    add_terms(e, q, false, " AND ");
    add_people(e, q, SEARCH_FROM, false, " AND ");
    add_people(e, q, SEARCH_IN, false, " AND ");
    if (!e->any) {
        return false;
    }
    add(e, ")");
    size_t kept = e->n;
    add(e, " NOT (");
    e->any = false;
    add_terms(e, q, true, " OR ");
    add_people(e, q, SEARCH_FROM, true, " OR ");
    add_people(e, q, SEARCH_IN, true, " OR ");
    if (e->any) {
        add(e, ")");
    } else {
        e->n = kept;
    }
    return true;
}

/* ---- slices ---- */

struct hunt {
    struct store *s;
    const struct search *q;
    struct search_at *at;
    search_cb *cb;
    void *ctx;
    uint64_t begun_us;
    struct times times;
    struct finder finder;
    bool indexed; /* the index can be asked */
    bool late;    /* the time of this slice is up */
    struct expr expr;
};

/* Looks at each row of a bound statement, until the time is up. 0, what cb returned, or
 * an error. at->below stands at the last row that was looked at. */
static int look_at(struct hunt *h, struct bind *b)
{
    int rc = 0;
    unsigned n = 0;
    while (!h->late && (rc = bind_row(b)) == 1) {
        struct store_msg m;
        store_msg_cols(b->st, &m);
        h->at->below = m.row;
        bool fits =
            m.text.n > 0 && m.time_ms >= h->times.first && m.time_ms <= h->times.last &&
            person_fits(h->q, SEARCH_FROM, m.author) &&
            person_fits(h->q, SEARCH_IN, m.conv) && text_fits(&h->finder, &m.text);
        rc = fits ? store_msg_more(h->s, &m) : 0;
        if (fits && rc == 0) {
            rc = h->cb(h->ctx, &m, h->finder.v, h->finder.n);
        }
        h->late =
            ++n % ROWS_A_LOOK == 0 && now_us(CLOCK_MONOTONIC) - h->begun_us >= SLICE_US;
        if (rc != 0) {
            break;
        }
    }
    if (b->st != NULL) {
        (void)sqlite3_reset(b->st);
    }
    return rc;
}

/* The next rows, at most span, in zones with messages of the times that are wanted.
 * *to 0: there are none. */
static int next_zones(struct hunt *h, uint64_t span, uint64_t *from, uint64_t *to)
{
    uint64_t top = *to;
    struct bind b = bind_start(h->s, ST_ZONES);
    bind_int(&b, top >> STORE_ZONE_BITS);
    int rc;
    *to = 0;
    while ((rc = bind_row(&b)) == 1) {
        uint64_t first = col_int(b.st, 0) << STORE_ZONE_BITS;
        uint64_t last = first + (UINT64_C(1) << STORE_ZONE_BITS) - 1;
        bool wanted =
            col_int(b.st, 2) >= h->times.first && col_int(b.st, 1) <= h->times.last;
        if (wanted && *to == 0) {
            *to = last < top ? last : top;
        } else if (*to != 0 && (!wanted || last + 1 != *from)) {
            break;
        }
        if (wanted) {
            *from = first;
            if (*to - first >= span) {
                break;
            }
        }
    }
    if (b.st != NULL) {
        (void)sqlite3_reset(b.st);
    }
    return rc < 0 ? rc : 0;
}

/* The rows from..to that are looked through next. *from > *to: there are none. */
static int next_rows(struct hunt *h, bool *scan, uint64_t *from, uint64_t *to)
{
    uint64_t indexed = h->s->index.row, span = h->at->span;
    *to = h->at->below - 1;
    *scan = !h->indexed || *to > indexed;
    if (*to > indexed) { /* not in the index yet */
        *from = *to - indexed > SCAN_ROWS ? *to - SCAN_ROWS + 1 : indexed + 1;
        return 0;
    }
    *from = *to >= span ? *to - span + 1 : 1;
    if (h->times.first > 0 || h->times.last < UINT64_MAX) {
        return next_zones(h, *scan ? SCAN_ROWS : span, from, to);
    }
    if (*scan && *to - *from >= SCAN_ROWS) {
        *from = *to - SCAN_ROWS + 1;
    }
    return 0;
}

static void next_span(struct search_at *at, uint64_t took_us)
{
    if (took_us <= SPAN_FAST_US && at->span < SPAN_MAX) {
        at->span *= 8;
    } else if (took_us > SPAN_SLOW_US && at->span > SPAN_MIN) {
        at->span /= 2;
    }
}

/* Looks through the next rows. As look_at. */
static int window(struct hunt *h)
{
    uint64_t from = 1, to = 0, t0 = now_us(CLOCK_THREAD_CPUTIME_ID);
    bool scan = true;
    int rc = next_rows(h, &scan, &from, &to);
    if (rc != 0) {
        return rc;
    }
    if (to < 1) {
        h->at->done = true;
        return 0;
    }
    struct bind b = bind_start(h->s, scan ? ST_SEARCH_ALL : ST_SEARCH);
    if (!scan) {
        bind_text(&b, h->expr.s, h->expr.n);
    }
    bind_int(&b, from);
    bind_int(&b, to);
    rc = look_at(h, &b);
    if (rc == 0 && !h->late) {
        h->at->below = from;
        h->at->done = from <= 1;
        if (!scan) {
            next_span(h->at, now_us(CLOCK_THREAD_CPUTIME_ID) - t0);
        }
    }
    return rc;
}

/* Reads a few messages, spread over all, to learn which prefixes are common. */
static int sample(struct hunt *h)
{
    const struct search *q = h->q;
    uint64_t last = h->s->row_last;
    unsigned seen[SEARCH_TERMS_MAX] = {0};
    bool any = false;
    h->at->sampled = true;
    for (size_t i = 0; i < q->n_terms; i++) {
        any = any || q->terms[i].prefix;
    }
    for (uint64_t k = 0; any && last >= SAMPLED_ROWS && k < SAMPLES; k++) {
        struct bind b = bind_start(h->s, ST_SEARCH_ALL);
        bind_int(&b, last - k * (last / SAMPLES));
        bind_int(&b, last - k * (last / SAMPLES));
        int rc = bind_row(&b);
        if (rc < 0) {
            return rc;
        }
        if (rc == 1) {
            struct store_msg m;
            store_msg_cols(b.st, &m);
            read_text(&h->finder, &m.text);
            (void)sqlite3_reset(b.st);
            for (size_t i = 0; i < q->n_terms; i++) {
                seen[i] += q->terms[i].prefix && has_term(&h->finder, &q->terms[i]);
            }
        }
    }
    for (size_t i = 0; i < q->n_terms; i++) {
        h->at->common |= (uint64_t)(seen[i] >= SAMPLES_COMMON) << i;
    }
    return 0;
}

int store_search(struct store *s, const struct search *q, struct search_at *at,
                 search_cb *cb, void *ctx)
{
    struct hunt h = {.s = s, .q = q, .at = at, .cb = cb, .ctx = ctx};
    int rc = 0;
    h.begun_us = now_us(CLOCK_MONOTONIC);
    h.times = times_of(q);
    finder_init(&h.finder, q);
    if (!at->sampled) {
        rc = sample(&h);
    }
    h.indexed = expr_of(q, at->common, &h.expr);
    if (at->below > s->row_last) {
        at->below = s->row_last + 1;
    }
    if (at->span < SPAN_MIN) { /* a prefix costs the same for any span */
        at->span = h.expr.prefix ? SPAN_MAX : SPAN_FIRST;
    }
    if (h.times.first > h.times.last) {
        at->done = true;
    }
    while (rc == 0 && !at->done && !h.late) {
        rc = window(&h);
        h.late = h.late || now_us(CLOCK_MONOTONIC) - h.begun_us >= SLICE_US;
    }
    return rc;
}
