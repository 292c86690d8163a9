#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "store_make.h"
#include "store_priv.h"
#include "store_search.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUTS_A_STORE = 500 };

static int check_word(void *ctx, const struct word *w)
{
    uint32_t *next = ctx;
    assert(w->len > 0 && w->len <= WORD_BYTES_MAX && w->from < w->to);
    assert(w->pair ? w->pos + 1 == *next : w->pos == *next);
    *next += w->pair ? 0 : 1;
    return 0;
}

static struct store *fresh(void)
{
    struct store *s = NULL;
    struct txn t = {0};
    int err = store_open(":memory:", &s, NULL, 0);
    assert(err == 0);
    make_msg(&t, 1, 1, 1, 1, 1, 1);
    const struct txn *list[] = {&t};
    err = store_commit(s, list, 1, NULL);
    assert(err == 0);
    txn_release(&t);
    for (bool more = true; more;) {
        err = store_index(s, false, &more);
        assert(err == 0);
    }
    return s;
}

static void set_text(struct store *s, const uint8_t *text, size_t len)
{
    sqlite3_stmt *st = NULL;
    int err = store_index_forget(s, 1);
    assert(err == 0);
    int rc =
        sqlite3_prepare_v2(s->db, "UPDATE msg SET text = ? WHERE row = 1", -1, &st, NULL);
    assert(rc == SQLITE_OK);
    (void)sqlite3_bind_text64(st, 1, (const char *)text, len, SQLITE_STATIC, SQLITE_UTF8);
    rc = sqlite3_step(st);
    assert(rc == SQLITE_DONE);
    (void)sqlite3_finalize(st);
    err = store_index_learn(s, 1);
    assert(err == 0);
}

static int on_found(void *ctx, const struct store_msg *m, const struct search_match *v,
                    size_t n)
{
    for (size_t i = 0; i < n; i++) {
        assert(v[i].from < v[i].to && v[i].to <= m->text.n);
    }
    ++*(size_t *)ctx;
    return 0;
}

static size_t count(struct store *s, const struct search *q)
{
    struct search_at at = {.below = UINT64_MAX};
    size_t n = 0;
    while (!at.done) {
        int err = store_search(s, q, &at, on_found, &n);
        assert(err == 0);
    }
    return n;
}

/* A query, a NUL and a text, of any bytes: nothing breaks, and the index finds the text
 * exactly when reading it does. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct store *s;
    static size_t inputs;
    static struct search q;
    const uint8_t *end = size > 0 ? memchr(data, 0, size) : NULL;
    size_t len = end != NULL ? (size_t)(end - data) : size;
    const uint8_t *text = end != NULL ? end + 1 : data;
    size_t text_len = size - (size_t)(text - data);
    uint32_t next = 0;
    (void)words_each((const char *)text, text_len, check_word, &next);
    if (search_parse((const char *)data, len, &q) != 0) {
        return 0;
    }
    assert(q.n_words <= SEARCH_WORDS_MAX && q.n_terms + q.n_filters > 0);
    for (size_t i = 0; i < q.n_filters; i++) {
        q.filters[i].id = strtoull(q.filters[i].value, NULL, 10);
    }
    if (s == NULL || ++inputs % INPUTS_A_STORE == 0) {
        store_close(s);
        s = fresh();
    }
    set_text(s, text, text_len);
    uint64_t indexed = s->index.row;
    size_t with = count(s, &q);
    s->index.row = 0;
    size_t without = count(s, &q);
    s->index.row = indexed;
    assert(with == without);
    return 0;
}
