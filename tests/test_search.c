/* The search through the store: the index in slices, queries, what is not indexed yet. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "store_make.h"
#include "store_priv.h"
#include "store_search.h"

enum { ROWS_MAX = 8192 };

struct found {
    uint64_t row[ROWS_MAX];
    size_t n, limit;
    char marks[512]; /* of the last message: [what] [was found] */
};

static struct store *fresh(void)
{
    struct store *s = NULL;
    cr_assert_eq(store_open(":memory:", &s, NULL, 0), 0);
    return s;
}

static void commit(struct store *s, struct txn *t)
{
    const struct txn *list[] = {t};
    cr_assert_eq(store_commit(s, list, 1, NULL), 0);
    txn_release(t);
}

/* A message of that text as the next row. Conversation 1 is with contact 1 and so on. */
static uint64_t say_at(struct store *s, uint32_t conv, uint32_t author, const char *text,
                       uint64_t time_ms)
{
    uint64_t row = s->row_last + 1;
    struct txn t = {0};
    make_msg(&t, conv, conv, row, author, row, 1000 + row);
    struct rec_msg *m = &t.recs[t.n - 1].u.msg;
    blob_release(&m->text);
    cr_assert(blob_set(&m->text, text, strlen(text)));
    m->time_ms = time_ms;
    commit(s, &t);
    cr_assert_eq(s->row_last, row);
    return row;
}

static uint64_t say(struct store *s, const char *text)
{
    return say_at(s, 1, 1, text, 1000);
}

static void index_all(struct store *s)
{
    bool more = true;
    while (more) {
        cr_assert_eq(store_index(s, false, &more), 0);
    }
    cr_assert_eq(store_index_behind(s), 0);
}

static int on_found(void *ctx, const struct store_msg *m, const struct search_match *v,
                    size_t n)
{
    struct found *f = ctx;
    cr_assert(f->n < ROWS_MAX);
    cr_assert(f->n == 0 || m->row < f->row[f->n - 1], "newest first");
    f->row[f->n++] = m->row;
    f->marks[0] = '\0';
    for (size_t i = 0, at = 0; i < n; i++) {
        cr_assert(v[i].from < v[i].to && v[i].to <= m->text.n);
        at += (size_t)snprintf(f->marks + at, sizeof f->marks - at, "[%.*s]",
                               (int)(v[i].to - v[i].from), (char *)m->text.p + v[i].from);
    }
    return f->limit > 0 && f->n == f->limit ? 1 : 0;
}

static struct search *query(const char *text)
{
    static struct search q;
    cr_assert_eq(search_parse(text, strlen(text), &q), 0, "%s", text);
    for (size_t i = 0; i < q.n_filters; i++) { /* names are numbers here */
        q.filters[i].id = strtoull(q.filters[i].value, NULL, 10);
    }
    return &q;
}

static struct found look(struct store *s, const char *text)
{
    struct found f = {.n = 0};
    struct search_at at = {.below = UINT64_MAX};
    struct search *q = query(text);
    while (!at.done) {
        cr_assert_eq(store_search(s, q, &at, on_found, &f), 0);
    }
    return f;
}

/* The rows that are found, before they are indexed and after it. */
static void finds(struct store *s, const char *text, size_t n, const uint64_t *rows)
{
    struct found f = look(s, text);
    cr_assert_eq(f.n, n, "%s: %zu rows", text, f.n);
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(f.row[i], rows[i], "%s: row %zu", text, (size_t)f.row[i]);
    }
}
#define FINDS(s, text, ...)                                                              \
    do {                                                                                 \
        static const uint64_t rows_[] = {__VA_ARGS__};                                   \
        finds(s, text, sizeof rows_ / sizeof *rows_ - 1, rows_ + 1);                     \
    } while (0)

static const char *const said[] = {
    "The quick brown fox jumps over the lazy dog",                       /* 1 */
    "Der schnelle braune Fuchs; CAFÉ um drei?",                          /* 2 */
    "我们明天去中国银行",                                                /* 3 */
    "東京タワーに行きました。が",                                        /* 4 */
    "안녕하세요 한국어",                                                 /* 5 */
    "ฉันรักภาษาไทย",                                                       /* 6 */
    "party 🎉🎉 at 8 👍🏽",                                      /* 7 */
    "שָׁלוֹם עולם",                                                         /* 8 */
    "quick quick slow, don't stop: from:bob AND OR NOT \"x\" NEAR(a b)", /* 9 */
    "人",                                                                /* 10 */
    "mixed 中文 and English 中",                                         /* 11 */
};

static void check_all(struct store *s)
{
    FINDS(s, "quick", 0, 9, 1);
    FINDS(s, "QUICK fox", 0, 1);
    FINDS(s, "fox quick", 0, 1);
    FINDS(s, "\"fox quick\"", 0);
    FINDS(s, "\"quick brown\"", 0, 1);
    FINDS(s, "\"quick brown", 0, 1);
    FINDS(s, "cafe", 0, 2);
    FINDS(s, "Café", 0, 2);
    FINDS(s, "bra*", 0, 2);
    FINDS(s, "br*", 0, 2, 1);
    FINDS(s, "bra", 0);
    FINDS(s, "\"schnelle bra\"*", 0, 2);
    FINDS(s, "quick -fox", 0, 9);
    FINDS(s, "quick -\"brown fox\"", 0, 9);
    FINDS(s, "quick -quick", 0);
    FINDS(s, "don't", 0, 9);
    FINDS(s, "-the -中", 0, 10, 9, 8, 7, 6, 5, 4, 2);
    FINDS(s, "中国", 0, 3);
    FINDS(s, "国银", 0, 3);
    FINDS(s, "中国银行", 0, 3);
    FINDS(s, "中行", 0);
    FINDS(s, "中", 0, 11, 3);
    FINDS(s, "人", 0, 10);
    FINDS(s, "行", 0, 4, 3);
    FINDS(s, "中 english", 0, 11);
    FINDS(s, "\"中文 and\"", 0, 11);
    FINDS(s, "中国*", 0, 3);
    FINDS(s, "東京", 0, 4);
    FINDS(s, "タワー", 0, 4);
    FINDS(s, "か", 0);
    FINDS(s, "한국", 0, 5);
    FINDS(s, "ไทย", 0, 6);
    FINDS(s, "🎉", 0, 7);
    FINDS(s, "👍", 0, 7);
    FINDS(s, "שלום", 0, 8);
    FINDS(s, "NEAR(a b)", 0, 9);
    FINDS(s, "AND OR NOT", 0, 9);
    FINDS(s, "\"from:bob\"", 0, 9);
    FINDS(s, "nothing", 0);
    FINDS(s, "* - \"\" quick", 0, 9, 1);
}

Test(search, languages_and_syntax)
{
    struct store *s = fresh();
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        (void)say(s, said[i]);
    }
    check_all(s); /* nothing is indexed yet */
    index_all(s);
    check_all(s);
    store_close(s);
}

Test(search, half_of_it_is_indexed)
{
    struct store *s = fresh();
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        (void)say(s, said[i]);
        if (i == 5) {
            index_all(s);
        }
    }
    check_all(s);
    store_close(s);
}

Test(search, people_and_conversations)
{
    struct store *s = fresh();
    (void)say_at(s, 1, 1, "lunch one", 1000);   /* 1 */
    (void)say_at(s, 1, 0, "lunch two", 1000);   /* 2: ours */
    (void)say_at(s, 2, 2, "lunch c1 a1", 1000); /* 3: words like tags */
    (void)say_at(s, 2, 0, "dinner", 1000);      /* 4: ours */
    for (int i = 0; i < 2; i++) {
        FINDS(s, "lunch from:1", 0, 1);
        FINDS(s, "lunch from:0", 0, 2);
        FINDS(s, "lunch in:1", 0, 2, 1);
        FINDS(s, "in:2", 0, 4, 3);
        FINDS(s, "from:1 from:2", 0, 3, 1);
        FINDS(s, "lunch -in:1", 0, 3);
        FINDS(s, "-from:0", 0, 3, 1);
        FINDS(s, "in:1 in:2 -lunch", 0, 4);
        FINDS(s, "from:9", 0);
        FINDS(s, "c1", 0, 3);
        FINDS(s, "IN:\"1\" lunch", 0, 2, 1);
        index_all(s);
    }
    store_close(s);
}

/* Times jump; zones of rows know only their ends. */
Test(search, times)
{
    struct store *s = fresh();
    for (uint64_t i = 1; i <= 3 << STORE_ZONE_BITS; i++) {
        uint64_t at = i == 5 ? 9000000 : i == 3000 ? 10 : 1000 * i;
        (void)say_at(s, 1, 1, i % 1000 == 0 ? "bell" : "tick", at);
    }
    for (int i = 0; i < 2; i++) {
        FINDS(s, "bell", 0, 3000, 2000, 1000);
        FINDS(s, "bell before:2000000", 0, 3000, 1000);
        FINDS(s, "bell before:2000001", 0, 3000, 2000, 1000);
        FINDS(s, "bell after:2000000", 0, 2000);
        FINDS(s, "bell after:1 before:1000001", 0, 3000, 1000);
        FINDS(s, "after:3073000", 0, 5);
        FINDS(s, "before:11", 0, 3000);
        FINDS(s, "bell -after:11", 0, 3000);
        FINDS(s, "tick before:0", 0);
        FINDS(s, "tick before:5 after:6", 0);
        index_all(s);
    }
    store_close(s);
}

/* A page ends where it is told to, and the next one goes on behind it. */
Test(search, pages)
{
    struct store *s = fresh();
    for (uint64_t i = 1; i <= 1000; i++) {
        (void)say(s, i % 3 == 0 ? "three" : "not");
    }
    for (int i = 0; i < 2; i++) {
        uint64_t below = UINT64_MAX, last = 999 + 3, all = 0;
        for (size_t got = 50; got == 50;) {
            struct found f = {.limit = 50};
            struct search_at at = {.below = below};
            struct search *q = query("three");
            while (!at.done && store_search(s, q, &at, on_found, &f) == 0) {
            }
            for (size_t k = 0; k < f.n; k++) {
                cr_assert_eq(f.row[k], last - 3);
                last = f.row[k];
            }
            got = f.n;
            all += got;
            below = last;
        }
        cr_assert_eq(all, 333);
        index_all(s);
    }
    store_close(s);
}

Test(search, places)
{
    struct store *s = fresh();
    (void)say(s, "Ein Café, zwei cafés; drei CAFE\xcc\x81. 北京北京");
    cr_assert_str_eq(look(s, "cafe").marks, "[Café][CAFE\xcc\x81]");
    cr_assert_str_eq(look(s, "caf*").marks, "[Café][cafés][CAFE\xcc\x81]");
    cr_assert_str_eq(look(s, "\"ein cafe\" zwei").marks, "[Ein Café][zwei]");
    cr_assert_str_eq(look(s, "北京").marks, "[北京][北京]");
    cr_assert_str_eq(look(s, "drei -vier").marks, "[drei]");
    store_close(s);
}

static void set_text(struct store *s, uint64_t row, const char *text)
{
    char sql[256];
    (void)snprintf(sql, sizeof sql, "UPDATE msg SET text = '%s' WHERE row = %llu", text,
                   (unsigned long long)row);
    cr_assert_eq(store_index_forget(s, row), 0);
    cr_assert_eq(sqlite3_exec(s->db, sql, NULL, NULL, NULL), SQLITE_OK);
    cr_assert_eq(store_index_learn(s, row), 0);
}

Test(search, texts_that_change)
{
    struct store *s = fresh();
    (void)say(s, "first words");
    (void)say(s, "second words");
    index_all(s);
    (void)say(s, "third words"); /* not indexed yet */
    for (int i = 0; i < 2; i++) {
        set_text(s, 1, i == 0 ? "changed words" : "more");
        set_text(s, 2, "");
        set_text(s, 3, i == 0 ? "other words" : "third");
        FINDS(s, "first", 0);
        FINDS(s, "second", 0);
        if (i == 0) {
            FINDS(s, "words", 0, 3, 1);
            FINDS(s, "changed", 0, 1);
        } else {
            FINDS(s, "words", 0);
            FINDS(s, "third", 0, 3);
        }
        FINDS(s, "in:1", 0, 3, 1);
        index_all(s);
    }
    int64_t bad = 0;
    sqlite3_stmt *st = NULL; /* nothing of the old words is left in the index itself */
    cr_assert_eq(sqlite3_prepare_v2(s->db,
                                    "SELECT count(*) FROM words WHERE words MATCH"
                                    " '\"first\" OR \"second\" OR \"changed\"'",
                                    -1, &st, NULL),
                 SQLITE_OK);
    cr_assert_eq(sqlite3_step(st), SQLITE_ROW);
    bad = sqlite3_column_int64(st, 0);
    (void)sqlite3_finalize(st);
    cr_assert_eq(bad, 0);
    store_close(s);
}

/* The index is of another version of Unicode: it is thrown away and made again. */
Test(search, other_unicode)
{
    struct store *s = fresh();
    (void)say(s, "hello");
    index_all(s);
    cr_assert_eq(
        sqlite3_exec(s->db, "UPDATE indexed SET unicode = '1.0'", NULL, NULL, NULL),
        SQLITE_OK);
    cr_assert_eq(store_index_open(s), 0);
    cr_assert_eq(store_index_behind(s), 1);
    FINDS(s, "hello", 0, 1);
    index_all(s);
    FINDS(s, "hello", 0, 1);
    store_close(s);
}

static void refused(const char *text, int err)
{
    static struct search q;
    cr_assert_eq(search_parse(text, strlen(text), &q), err, "%s", text);
}

Test(search, queries_that_cannot_be)
{
    char text[SEARCH_QUERY_MAX + 2];
    refused("", ERR_ARG);
    refused("  ", ERR_ARG);
    refused("!? - \"\" *", ERR_ARG);
    refused("a b c d e f g h i j k l m n o p", 0);
    refused("a b c d e f g h i j k l m n o p q", ERR_LIMIT);
    refused("in:1 in:2 in:3 in:4 in:5 in:6 in:7 in:8 in:9 in:10 in:11 in:12 in:13 in:14"
            " in:15 in:16 in:17",
            ERR_LIMIT);
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    refused(text, ERR_LIMIT);
    text[SEARCH_QUERY_MAX] = '\0';
    refused(text, 0);
    for (size_t i = 1; i < SEARCH_QUERY_MAX; i += 2) {
        text[i] = ',';
    }
    refused(text, ERR_LIMIT); /* one phrase of too many words */
}

Test(search, filters_are_read)
{
    static struct search q;
    static const char text[] =
        "From:\"Bob \\\"B\\\" Smith\" -in:x before:2d after:\"\" to:y in: z";
    cr_assert_eq(search_parse(text, strlen(text), &q), 0);
    cr_assert_eq(q.n_filters, 4);
    cr_assert_str_eq(q.filters[0].value, "Bob \"B\" Smith");
    cr_assert_eq(q.filters[0].kind, SEARCH_FROM);
    cr_assert(q.filters[1].exclude);
    cr_assert_eq(q.filters[1].kind, SEARCH_IN);
    cr_assert_str_eq(q.filters[2].value, "2d");
    cr_assert_str_eq(q.filters[3].value, "");
    cr_assert_eq(q.n_terms, 3); /* "to y", "in", "z" */
}

/* Prefixes that many messages have, and some that few have, in a longer history. */
Test(search, prefixes_common_and_rare)
{
    struct store *s = fresh();
    for (uint64_t i = 1; i <= 6000; i++) {
        (void)say(s, i % 3000 == 7 ? "commoner zebra"
                     : i % 2 == 0  ? "common thing"
                                   : "other thing");
    }
    index_all(s);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(look(s, "com*").n, 3002);
        cr_assert_eq(look(s, "thing com*").n, 3000);
        FINDS(s, "zeb*", 0, 3007, 7);
        FINDS(s, "com* zeb*", 0, 3007, 7);
        FINDS(s, "com* -common", 0, 3007, 7);
        FINDS(s, "zeb* -com*", 0);
        cr_assert_eq(look(s, "thi* -com*").n, 2998);
        s->index.row = i == 0 ? 3500 : s->index.row; /* the rest is read */
    }
    struct search_at at = {.below = UINT64_MAX};
    struct found f = {.limit = 1};
    cr_assert_eq(store_search(s, query("com*"), &at, on_found, &f), 1);
    cr_assert_eq(at.common, 1);
    store_close(s);
}

/* ---- pages of all conversations ---- */

struct paged {
    struct store_query q;
    uint64_t rows[ROWS_MAX];
    size_t n;
};

static int on_row(void *ctx, const struct store_msg *m)
{
    struct paged *p = ctx;
    cr_assert(p->n < ROWS_MAX);
    p->rows[p->n++] = m->row;
    p->q.after_order = m->order;
    p->q.after_device = m->device;
    p->q.after_row = m->row;
    return 0;
}

/* What is kept between two pages changes nothing of what they say, whether messages come
 * in between or not. */
Test(search, pages_of_all_conversations)
{
    enum { CONVS = 40, EACH = 10, PAGES = 8 };
    struct store *s = fresh();
    for (uint32_t i = 0; i < CONVS * EACH; i++) {
        (void)say_at(s, 1 + i * 7 % CONVS, 1, "x", 1000);
    }
    static struct paged p, other, back;
    p = other = back = (struct paged){.q = {.limit = CONVS * EACH / PAGES}};
    back.q.backwards = true;
    for (int i = 0; i < PAGES; i++) {
        cr_assert_eq(store_history(s, &p.q, on_row, &p), 0);
        if (i % 3 == 1) { /* another reader takes what was kept */
            cr_assert_eq(store_history(s, &back.q, on_row, &back), 0);
        }
        if (i % 3 == 2) { /* at the end of all: both come to it */
            (void)say_at(s, 3, 1, "late", 1000);
        }
    }
    for (size_t before = 0; before != p.n;) {
        before = p.n;
        cr_assert_eq(store_history(s, &p.q, on_row, &p), 0);
    }
    cr_assert_eq(p.n, s->row_last);
    for (size_t i = 0; i < p.n; i++) {
        cr_assert_eq(p.rows[i], i + 1, "row %zu", i); /* order grows with the row */
    }
    store_close(s);
}
