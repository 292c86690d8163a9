#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bencode.h"

static struct ben check(const char *s)
{
    struct ben v = {0};
    cr_assert(bencode_check((const uint8_t *)s, strlen(s), &v), "%s", s);
    cr_assert_eq(v.n, strlen(s));
    return v;
}

static bool accepts(const char *s, bool lax)
{
    struct ben v = {0};
    size_t n = strlen(s);
    bool ok = lax ? bencode_check_lax((const uint8_t *)s, n, &v)
                  : bencode_check((const uint8_t *)s, n, &v);
    cr_assert(ok || v.p == NULL, "outputs stay untouched");
    return ok;
}

Test(bencode, integers)
{
    static const struct {
        const char *s;
        int64_t v;
    } good[] = {
        {"i0e", 0},
        {"i7e", 7},
        {"i-7e", -7},
        {"i10e", 10},
        {"i9223372036854775807e", INT64_MAX},
        {"i-9223372036854775808e", INT64_MIN},
    };
    static const char *const bad[] = {
        "i", "ie", "i-e", "i+1e", "i 1e", "i1 e", "i1", "i1e ", "i--1e", "i1.0e", "i0x1e",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        int64_t v;
        cr_assert(ben_int(check(good[i].s), &v));
        cr_assert_eq(v, good[i].v, "%s", good[i].s);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_not(accepts(bad[i], false), "%s", bad[i]);
        cr_assert_not(accepts(bad[i], true), "%s", bad[i]);
    }
}

/* What sloppy senders write: one value, but none that is hashed, signed or believed. */
Test(bencode, numbers_that_are_not_canonical)
{
    static const char *const lax[] = {
        "i-0e",
        "i00e",
        "i01e",
        "i-01e",
        "i9223372036854775808e",
        "i-9223372036854775809e",
        "i99999999999999999999999e",
        "i18446744073709551616e",
        "01:a",
        "00:",
        "003:abc",
    };
    for (size_t i = 0; i < sizeof lax / sizeof *lax; i++) {
        const uint8_t *p;
        size_t n;
        int64_t number;
        struct ben v;
        cr_assert_not(accepts(lax[i], false), "%s", lax[i]);
        cr_assert(accepts(lax[i], true), "%s", lax[i]);
        cr_assert(bencode_check_lax((const uint8_t *)lax[i], strlen(lax[i]), &v));
        cr_assert_not(ben_int(v, &number), "%s", lax[i]);
        cr_assert_not(ben_str(v, &p, &n), "%s", lax[i]);
    }
}

/* Such numbers are stepped over, so that what stands beside them can be read. */
Test(bencode, values_beside_sloppy_ones)
{
    static const char s[] = "d1:xi007e01:y002:hi1:zld1:ai-0eei1ee1:z2:noe";
    struct ben v, value;
    struct ben_iter it = {0};
    int64_t number;
    cr_assert(bencode_check_lax((const uint8_t *)s, sizeof s - 1, &v));
    cr_assert(ben_is_list(ben_get(v, "z")), "the first of two");
    cr_assert(ben_list_next(ben_get(v, "z"), &it, &value) && ben_is_dict(value));
    cr_assert(ben_list_next(ben_get(v, "z"), &it, &value));
    cr_assert(ben_int(value, &number) && number == 1);
    cr_assert_not(ben_list_next(ben_get(v, "z"), &it, &value));
}

Test(bencode, strings)
{
    static const char *const bad[] = {"1:",
                                      "2:a",
                                      "1:ab",
                                      "-1:a",
                                      "0",
                                      "00",
                                      "002:a",
                                      ":",
                                      "a",
                                      "1",
                                      "",
                                      "18446744073709551616:",
                                      "1 :a",
                                      "+1:a",
                                      "4294967297:a",
                                      "18446744073709551615:a"};
    const uint8_t *p;
    size_t n;
    cr_assert(ben_str(check("4:spam"), &p, &n));
    cr_assert_eq(n, 4);
    cr_assert_arr_eq(p, "spam", 4);
    cr_assert(ben_str(check("0:"), &p, &n));
    cr_assert_eq(n, 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_not(accepts(bad[i], false), "%s", bad[i]);
        cr_assert_not(accepts(bad[i], true), "%s", bad[i]);
    }
}

Test(bencode, strings_may_hold_any_byte)
{
    static const uint8_t raw[] = {'3', ':', 0, 0xff, 'e'};
    struct ben v;
    uint8_t out[3];
    cr_assert(bencode_check(raw, sizeof raw, &v));
    cr_assert(ben_fixed(v, out, 3));
    cr_assert_arr_eq(out, raw + 2, 3);
    cr_assert_not(ben_fixed(v, out, 2));
    cr_assert_not(ben_fixed(v, out, 4));
}

Test(bencode, containers)
{
    static const char *const good[] = {"le",
                                       "de",
                                       "lleldeee",
                                       "d0:0:e",
                                       "d1:ai1e1:bi2ee",
                                       "d1:a0:2:aa0:e",
                                       "li1ei1ee",
                                       "ld1:ale1:bdeee"};
    static const char *const bad[] = {
        "l",     "d",        "e",           "li1e",      "d1:a",
        "d1:ae", "di1e1:ae", "dlei1ee",     "d1:a1:ae1", "d1:ai1e1:be",
        "lee",   "i1ei1e",   "d1:ai1ee1:x", "di01e1:ae",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        cr_assert(accepts(good[i], false), "%s", good[i]);
        cr_assert(accepts(good[i], true), "%s", good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_not(accepts(bad[i], false), "%s", bad[i]);
        cr_assert_not(accepts(bad[i], true), "%s", bad[i]);
    }
}

Test(bencode, key_order)
{
    static const char *const unsorted[] = {"d1:bi1e1:ai2ee",       "d2:aa0:1:a0:e",
                                           "d1:a0:0:0:e",          "d1:y1:r1:t2:aae",
                                           "d1:ad1:bi1e1:ai1eee",  "d1:ai1e1:ai2ee",
                                           "d1:bi1e1:ai2e1:bi3ee", "d01:ai1ee"};
    for (size_t i = 0; i < sizeof unsorted / sizeof *unsorted; i++) {
        cr_assert_not(accepts(unsorted[i], false), "%s", unsorted[i]);
        cr_assert(accepts(unsorted[i], true), "%s", unsorted[i]);
    }
    cr_assert(accepts("d1:ad1:ai1ee1:bd1:ai1eee", false), "the same key elsewhere");
}

static size_t nested(char *out, size_t depth)
{
    memset(out, 'l', depth);
    memset(out + depth, 'e', depth);
    out[2 * depth] = '\0';
    return 2 * depth;
}

Test(bencode, depth_is_capped)
{
    char s[64];
    nested(s, BENCODE_DEPTH_MAX);
    cr_assert(accepts(s, false));
    nested(s, BENCODE_DEPTH_MAX + 1);
    cr_assert_not(accepts(s, false));
    nested(s, BENCODE_LAX_DEPTH_MAX);
    cr_assert(accepts(s, true));
    nested(s, BENCODE_LAX_DEPTH_MAX + 1);
    cr_assert_not(accepts(s, true));
}

/* Nesting, many keys and many elements in a megabyte: done in linear time, or this takes
 * minutes. */
Test(bencode, large_hostile_values, .timeout = 60)
{
    enum { SIZE = 1 << 20 };
    char *s = malloc(SIZE);
    struct ben v;
    cr_assert_not_null(s);
    memset(s, 'l', SIZE);
    cr_assert_not(bencode_check((uint8_t *)s, SIZE, &v));
    s[0] = 'd';
    size_t n = 1;
    for (unsigned i = 0; n + 16 < SIZE; i++) {
        n += (size_t)snprintf(s + n, SIZE - n, "8:%08xi1e", i);
    }
    s[n++] = 'e';
    cr_assert(bencode_check((uint8_t *)s, n, &v));
    cr_assert(ben_get(v, "00000001").p != NULL);
    cr_assert(ben_get(v, "zzzzzzzz").p == NULL);
    cr_assert(bencode_check_lax((uint8_t *)s, n, &v));
    free(s);
}

Test(bencode, lookup_and_chaining)
{
    struct ben v = check("d1:ad2:idi5e4:name3:bobe1:q4:ping1:zli1e2:xxdeee");
    uint64_t id;
    const uint8_t *p;
    size_t n;
    int64_t i;
    cr_assert(ben_is_dict(v));
    cr_assert_not(ben_is_list(v));
    cr_assert(ben_uint(ben_get(ben_get(v, "a"), "id"), &id));
    cr_assert_eq(id, 5);
    cr_assert(ben_str(ben_get(ben_get(v, "a"), "name"), &p, &n));
    cr_assert_eq(n, 3);
    cr_assert_null(ben_get(v, "").p);
    cr_assert_null(ben_get(v, "name").p, "only the dictionary's own keys");
    cr_assert_null(ben_get(v, "ping").p, "values are no keys");
    cr_assert_null(ben_get(ben_get(ben_get(v, "no"), "such"), "key").p);
    cr_assert_null(ben_get(ben_get(v, "q"), "x").p, "a string has no keys");
    p = NULL;
    n = 77;
    i = 77;
    cr_assert_not(ben_str(ben_get(v, "a"), &p, &n));
    cr_assert_not(ben_str(ben_get(v, "missing"), &p, &n));
    cr_assert_not(ben_int(ben_get(v, "q"), &i));
    cr_assert(n == 77 && i == 77 && p == NULL, "outputs stay untouched");
}

Test(bencode, keys_in_ascending_order)
{
    struct ben v = check("d1:ai1e1:bd1:ci2ee1:ci3e1:e0:e");
    struct ben_iter it = {0};
    uint64_t n = 0;
    cr_assert_null(ben_get_next(v, &it, "").p, "before the first");
    cr_assert(ben_uint(ben_get_next(v, &it, "a"), &n) && n == 1);
    cr_assert_null(ben_get_next(v, &it, "aa").p, "missing between two");
    cr_assert(ben_uint(ben_get_next(v, &it, "c"), &n) && n == 3, "one is passed over");
    cr_assert_null(ben_get_next(v, &it, "b").p, "what was passed is not found again");
    cr_assert_null(ben_get_next(v, &it, "d").p);
    cr_assert(ben_get_next(v, &it, "e").n == 2, "after a missing one");
    cr_assert_null(ben_get_next(v, &it, "f").p, "behind the last");
    it = (struct ben_iter){0};
    cr_assert_null(ben_get_next(check("li1ee"), &it, "a").p, "a list has no keys");
    cr_assert_null(ben_get_next((struct ben){NULL, 0}, &it, "a").p);
}

Test(bencode, unsigned_refuses_negative)
{
    uint64_t u = 77;
    cr_assert_not(ben_uint(check("i-1e"), &u));
    cr_assert_eq(u, 77);
    cr_assert(ben_uint(check("i9223372036854775807e"), &u));
    cr_assert_eq(u, INT64_MAX);
}

Test(bencode, iteration)
{
    struct ben list = check("li1e2:xxle4:lastd1:a0:ee"), value, key;
    struct ben_iter it = {0};
    static const char *const parts[] = {"i1e", "2:xx", "le", "4:last", "d1:a0:e"};
    for (size_t i = 0; i < 5; i++) {
        cr_assert(ben_list_next(list, &it, &value));
        cr_assert_eq(value.n, strlen(parts[i]));
        cr_assert_arr_eq(value.p, parts[i], value.n);
    }
    cr_assert_not(ben_list_next(list, &it, &value));
    cr_assert_not(ben_list_next(list, &it, &value));

    struct ben dict = check("d1:ali1ee1:b2:xye");
    it = (struct ben_iter){0};
    cr_assert_not(ben_list_next(dict, &it, &value), "a dictionary is no list");
    cr_assert(ben_dict_next(dict, &it, &key, &value));
    cr_assert_arr_eq(key.p, "1:a", 3);
    cr_assert(ben_is_list(value));
    cr_assert(ben_dict_next(dict, &it, &key, &value));
    cr_assert_arr_eq(value.p, "2:xy", 4);
    cr_assert_not(ben_dict_next(dict, &it, &key, &value));
    it = (struct ben_iter){0};
    cr_assert_not(ben_dict_next(check("de"), &it, &key, &value));
    cr_assert_not(ben_list_next((struct ben){0}, &it, &value));
}

static size_t encode(uint8_t *out, size_t cap)
{
    struct wr w = wr_init(out, cap);
    wr_ben_dict(&w);
    wr_ben_key(&w, "a");
    wr_ben_int(&w, INT64_MIN);
    wr_ben_key(&w, "b");
    wr_ben_list(&w);
    wr_ben_str(&w, "\0\xff", 2);
    wr_ben_str(&w, NULL, 0);
    wr_ben_end(&w);
    wr_ben_key(&w, "c");
    wr_ben_uint(&w, INT64_MAX);
    wr_ben_end(&w);
    return wr_ok(&w) ? w.len : 0;
}

Test(bencode, encoding_is_byte_exact_and_round_trips)
{
    static const char expected[] = "d1:ai-9223372036854775808e1:bl2:\0\xff"
                                   "0:e1:ci9223372036854775807ee";
    uint8_t out[128];
    size_t n = encode(out, sizeof out);
    struct ben v;
    cr_assert_eq(n, sizeof expected - 1);
    cr_assert_arr_eq(out, expected, n);
    cr_assert(bencode_check(out, n, &v));
    for (size_t cap = 0; cap < n; cap++) {
        cr_assert_eq(encode(out, cap), 0, "%zu bytes are too few", cap);
    }
}

Test(bencode, encoding_latches_what_does_not_fit)
{
    uint8_t out[64];
    struct wr w = wr_init(out, sizeof out);
    wr_ben_uint(&w, (uint64_t)INT64_MAX + 1);
    cr_assert_not(wr_ok(&w));
}

Test(bencode, every_truncated_length_is_refused)
{
    uint8_t out[128];
    size_t n = encode(out, sizeof out);
    for (size_t i = 0; i < n; i++) {
        struct ben v;
        uint8_t *cut =
            malloc(i > 0 ? i : 1); /* exact, so that ASan sees a byte too many */
        cr_assert_not_null(cut);
        memcpy(cut, out, i);
        cr_assert_not(bencode_check(cut, i, &v), "%zu bytes", i);
        cr_assert_not(bencode_check_lax(cut, i, &v), "%zu bytes", i);
        free(cut);
    }
}
