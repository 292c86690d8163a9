/* Words of texts in many scripts, as the search knows them. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include "store_words.h"

struct list {
    char s[4096];
    size_t n, count;
    uint32_t last;
    const char *text;
};

/* Words with a blank between them; of a pair with a + before it. */
static int note(void *ctx, const struct word *w)
{
    struct list *l = ctx;
    cr_assert(w->len > 0 && w->len <= WORD_BYTES_MAX && w->from < w->to);
    cr_assert_eq(w->pos, w->pair ? l->last : l->count == 0 ? 0 : l->last + 1);
    l->last = w->pos;
    l->count++;
    int n = snprintf(l->s + l->n, sizeof l->s - l->n, "%s%s%.*s", l->n > 0 ? " " : "",
                     w->pair ? "+" : "", (int)w->len, w->s);
    l->n += (size_t)n;
    return 0;
}

static const char *words(const char *text)
{
    static struct list l;
    memset(&l, 0, sizeof l);
    cr_assert_eq(words_each(text, strlen(text), note, &l), 0);
    return l.s;
}

#define same(text, expected)                                                             \
    do {                                                                                 \
        const char *got_ = words(text);                                                  \
        cr_assert(strcmp(got_, expected) == 0, "%s: %s", text, got_);                    \
    } while (0)

Test(words, latin)
{
    same("", "");
    same("  ,.!?  ", "");
    same("Hello, World!", "hello world");
    same("don't re-run v2.0 foo_bar", "don t re run v2 0 foo bar");
    same("x", "x");
}

Test(words, accents_and_case)
{
    same("Café CAFÉ cafe\xcc\x81", "cafe cafe cafe");
    same("Straße STRASSE", "strasse strasse");
    same("Ærø Łódź Đà Nẵng İstanbul ısı", "æro lodz da nang istanbul isi");
    same("Ελλάδα ΕΛΛΑΔΑ Σίσυφος", "ελλαδα ελλαδα σισυφοσ");
    same("Ёлка ёлка", "елка елка");
}

Test(words, compatibility)
{
    same("ＡＢＣ ﬁne ™ ①", "abc fine tm 1");
    same("ｶﾞｷﾞ", "ガ +ガギ ギ");
}

Test(words, han_in_pairs)
{
    same("中", "中");
    same("中国人", "中 +中国 国 +国人 人");
    same("中国,人", "中 +中国 国 人");
    same("用iPhone拍", "用 iphone 拍");
    same("第3章节", "第 3 章 +章节 节");
}

Test(words, japanese_korean_thai)
{
    same("がか", "が +がか か");
    same("か\xe3\x82\x99", "が"); /* with a voicing mark of its own */
    same("한국", "한 +한국 국");
    same("\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", "한"); /* in letters */
    same("ไทย", "ไ +ไท ท +ทย ย");
}

Test(words, right_to_left)
{
    same("שָׁלוֹם", "שלום");
    same("مُحَمَّد", "محمد");
    same("\xe2\x80\x8fשלום\xe2\x80\x8e", "שלום"); /* direction marks are nothing */
}

Test(words, indic_vowels_stay)
{
    same("की का", "की का");
}

Test(words, emoji)
{
    same("👍", "👍");
    same("ok👍🏽!", "ok 👍");
    same("👨‍👩‍👧", "👨 👩 👧");
    same("❤️", "❤");
    same("5€", "5 €");
}

Test(words, long_words_are_cut)
{
    char text[1000], longer[1001];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    char first[4096];
    (void)snprintf(first, sizeof first, "%s", words(text));
    cr_assert_eq(strlen(first), WORD_BYTES_MAX);
    same(longer, first);
}

Test(words, bytes_that_are_no_text)
{
    same("a\xff"
         "b\xc3",
         "a b");
    same("\xed\xa0\x80x", "x"); /* a surrogate */
    cr_assert_eq(words_each("a\0b", 3, note, &(struct list){.n = 0}), 0);
}

static int places(void *ctx, const struct word *w)
{
    struct list *l = ctx;
    char part[64];
    (void)snprintf(part, sizeof part, "%.*s", (int)(w->to - w->from), l->text + w->from);
    l->n += (size_t)snprintf(l->s + l->n, sizeof l->s - l->n, "[%s]", part);
    return 0;
}

Test(words, places_in_the_text)
{
    struct list l = {.text = "Ünïcode! 日本 x\xcc\x81y 👍🏽"};
    cr_assert_eq(words_each(l.text, strlen(l.text), places, &l), 0);
    cr_assert_str_eq(l.s, "[Ünïcode][日][日本][本][x\xcc\x81y][👍]");
}

static int stop(void *ctx, const struct word *w)
{
    (void)w;
    return ++*(int *)ctx == 2 ? 7 : 0;
}

Test(words, stops_when_told)
{
    int n = 0;
    cr_assert_eq(words_each("a b c d", 7, stop, &n), 7);
    cr_assert_eq(n, 2);
}

/* A character with thousands of marks is one, and does not take long. */
Test(words, marks_without_end)
{
    static char text[30001] = "a";
    for (size_t i = 1; i + 1 < sizeof text; i += 2) {
        memcpy(text + i, "\xcc\x81", 2);
    }
    text[sizeof text - 1] = '\0';
    struct list l = {.n = 0};
    cr_assert_eq(words_each(text, strlen(text), note, &l), 0);
    cr_assert_str_eq(l.s, "a");
}
