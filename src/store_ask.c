/* A query of words, phrases and filters, taken apart. */
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "store_search.h"

struct ask {
    const char *p, *end;
    struct search *out;
    size_t used; /* bytes of out->text */
    int err;
};

static const struct {
    const char *key;
    enum search_kind kind;
} keys[] = {
    {"from:", SEARCH_FROM},
    {"in:", SEARCH_IN},
    {"before:", SEARCH_BEFORE},
    {"after:", SEARCH_AFTER},
};

/* Bytes of the blank at p, 0: there is none. */
static size_t blank(const struct ask *a)
{
    static const char wide[] = "\xe3\x80\x80", hard[] = "\xc2\xa0";
    size_t left = (size_t)(a->end - a->p);
    if (left >= 1 && (unsigned char)*a->p <= ' ') {
        return 1;
    }
    if (left >= 3 && memcmp(a->p, wide, 3) == 0) {
        return 3;
    }
    return left >= 2 && memcmp(a->p, hard, 2) == 0 ? 2 : 0;
}

/* What is quoted, or goes on to the next blank, as a string of its own. A quotation that
 * does not end goes on to the end. */
static const char *take_value(struct ask *a, size_t *len, bool *quoted)
{
    char *out = a->out->text + a->used;
    size_t n = 0;
    *quoted = a->p < a->end && *a->p == '"';
    a->p += *quoted;
    while (a->p < a->end && (*quoted ? *a->p != '"' : blank(a) == 0)) {
        bool escaped = *quoted && *a->p == '\\' && a->p + 1 < a->end &&
                       (a->p[1] == '"' || a->p[1] == '\\');
        a->p += escaped;
        out[n++] = *a->p++;
    }
    a->p += *quoted && a->p < a->end;
    out[n] = '\0';
    a->used += n + 1;
    *len = n;
    return out;
}

static int add_word(void *ctx, const struct word *w)
{
    struct ask *a = ctx;
    struct search *q = a->out;
    struct search_term *t = &q->terms[q->n_terms];
    if (!w->pair) { /* a pair takes the place of its first character */
        if (t->first + t->n == SEARCH_WORDS_MAX) {
            return ERR_LIMIT;
        }
        t->n++;
    }
    struct search_word *to = &q->words[t->first + t->n - 1];
    memcpy(to->s, w->s, w->len);
    to->len = w->len;
    to->pair = w->pair;
    to->joined = w->joined;
    return 0;
}

static void add_term(struct ask *a, const char *s, size_t len, bool exclude, bool prefix)
{
    struct search *q = a->out;
    if (q->n_terms == SEARCH_TERMS_MAX) {
        a->err = ERR_LIMIT;
        return;
    }
    struct search_term *t = &q->terms[q->n_terms];
    *t = (struct search_term){.exclude = exclude, .first = q->n_words};
    a->err = words_each(s, len, add_word, a);
    const struct search_word *v = &q->words[t->first];
    if (t->n >= 2 && v[t->n - 1].joined && !v[t->n - 1].pair && v[t->n - 2].pair) {
        t->n--; /* the pair before it ends in this character */
    }
    if (t->n > 0) {
        t->prefix = prefix && !v[t->n - 1].joined;
        q->n_words += t->n;
        q->n_terms++;
    }
}

/* from:VALUE and so on. False: it is none. */
static bool take_filter(struct ask *a, bool exclude)
{
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        size_t n = strlen(keys[i].key), left = (size_t)(a->end - a->p), len;
        bool quoted;
        if (left <= n || strncasecmp(a->p, keys[i].key, n) != 0) {
            continue;
        }
        struct ask rest = *a;
        rest.p += n;
        if (blank(&rest) > 0) {
            return false;
        }
        if (a->out->n_filters == SEARCH_FILTERS_MAX) {
            a->err = ERR_LIMIT;
            return true;
        }
        a->p += n;
        struct search_filter *f = &a->out->filters[a->out->n_filters++];
        *f = (struct search_filter){.kind = keys[i].kind, .exclude = exclude};
        f->value = take_value(a, &len, &quoted);
        return true;
    }
    return false;
}

static void take_item(struct ask *a)
{
    bool exclude = *a->p == '-' && a->end - a->p > 1, quoted;
    size_t len;
    a->p += exclude;
    if (take_filter(a, exclude)) {
        return;
    }
    const char *s = take_value(a, &len, &quoted);
    bool prefix = false;
    if (quoted) {
        prefix = a->p < a->end && *a->p == '*';
        a->p += prefix;
    } else {
        prefix = len > 0 && s[len - 1] == '*';
    }
    add_term(a, s, len, exclude, prefix);
}

int search_parse(const char *query, size_t len, struct search *out)
{
    struct ask a = {.p = query, .end = query + len, .out = out};
    memset(out, 0, sizeof *out);
    if (len > SEARCH_QUERY_MAX) {
        return ERR_LIMIT;
    }
    while (a.err == 0 && a.p < a.end) {
        size_t n = blank(&a);
        if (n > 0) {
            a.p += n;
        } else {
            take_item(&a);
        }
    }
    if (a.err != 0) {
        return a.err;
    }
    return out->n_terms == 0 && out->n_filters == 0 ? ERR_ARG : 0;
}
