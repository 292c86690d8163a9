/* Full-text search over all messages (docs/ARCHITECTURE.md, "Search").
 *
 * The index is an FTS5 table without texts of its own. It follows the commits: slices of
 * bounded size, each its own transaction, which the store's thread runs when it has
 * nothing else to do. It remembers up to which row of `msg` it has come; what is behind
 * that a search reads from the messages themselves, so that it misses nothing and waits
 * for nothing. A crash between two slices loses nothing.
 *
 * A search goes from the newest row (of arrival) to the oldest and looks at each message
 * that the index names, which also finds where in the text the words stand. It too comes
 * in slices, so that no commit waits long. */
#ifndef LINNET_STORE_SEARCH_H
#define LINNET_STORE_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store.h"
#include "store_words.h"

enum {
    SEARCH_QUERY_MAX = 1024, /* bytes of a query */
    SEARCH_TERMS_MAX = 16,   /* words and phrases */
    SEARCH_WORDS_MAX = 64,   /* of all of them */
    SEARCH_FILTERS_MAX = 16,
    SEARCH_MATCHES_MAX = 64, /* places told of one message */
};

enum search_kind { SEARCH_FROM, SEARCH_IN, SEARCH_BEFORE, SEARCH_AFTER };

/* One word of the query, folded. */
struct search_word {
    char s[WORD_BYTES_MAX];
    size_t len;
    bool pair, joined; /* as in struct word */
};

/* A word, or several that stand one behind the other. */
struct search_term {
    bool exclude;
    bool prefix;     /* its last word may go on */
    size_t first, n; /* in words */
};

/* from:, in:, before:, after:. The value is the query's own; who asks fills in what it
 * stands for. */
struct search_filter {
    enum search_kind kind;
    bool exclude;
    const char *value; /* unquoted, NUL-terminated */
    uint64_t id;       /* contact (0: us), conversation, or ms */
};

struct search {
    struct search_word words[SEARCH_WORDS_MAX];
    struct search_term terms[SEARCH_TERMS_MAX];
    struct search_filter filters[SEARCH_FILTERS_MAX];
    size_t n_words, n_terms, n_filters;
    char text[2 * SEARCH_QUERY_MAX + 2]; /* the values, each with a NUL behind it */
};

/* Takes a query apart. Words are looked for in any order, "what is quoted" as it stands;
 * a trailing * means words that begin so, a leading - excludes; from:, in:, before: and
 * after: take a value, which may be quoted. Everything else is text. 0; ERR_LIMIT: too
 * long or too many words; ERR_ARG: nothing to look for is in it. */
int search_parse(const char *query, size_t len, struct search *out);

/* A search under way, from newest to oldest. */
struct search_at {
    uint64_t below;  /* rows from here on are done; UINT64_MAX at first */
    uint64_t span;   /* rows that the next slice looks through; 0 at first */
    bool done;       /* nothing is left */
    bool sampled;    /* common is known */
    uint64_t common; /* terms whose prefix is too common to ask the index for it */
};
struct search_match {
    uint32_t from, to; /* bytes of the text, from 0 */
};
/* Called for each message found; non-zero stops behind it, as the end of a page does. */
typedef int search_cb(void *ctx, const struct store_msg *m, const struct search_match *v,
                      size_t n);

/* One slice of a search: a bounded amount of work. 0: go on with the same at, unless it
 * is done; what cb returned; or an error. */
int store_search(struct store *s, const struct search *q, struct search_at *at,
                 search_cb *cb, void *ctx);

/* One slice of indexing, or of merging what was indexed, which is put off while the
 * caller is busy. *more: there is something left to do. 0 or an error; nothing but the
 * index is touched. */
int store_index(struct store *s, bool busy, bool *more);
/* Whether store_index has something to do. */
bool store_index_due(const struct store *s);
/* Rows that are not in the index yet. */
uint64_t store_index_behind(const struct store *s);

#endif
