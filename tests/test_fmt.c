#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/fmt.h"

static void assert_escaped(const char *in, size_t len, enum fmt_mode mode,
                           const char *wanted)
{
    char *out = fmt_escape(in, len, mode);
    cr_assert_str_eq(out, wanted);
    free(out);
}

Test(fmt, control_characters_are_shown)
{
    assert_escaped("a\033[31mb\007", 8, FMT_TEXT, "a\\x1b[31mb\\x07");
    assert_escaped("\x7f", 1, FMT_TEXT, "\\x7f");
    assert_escaped("\xc2\x9b"
                   "31m",
                   5, FMT_TEXT, "\\x9b31m"); /* CSI of C1 */
    assert_escaped("a\0b", 3, FMT_LINE, "a\\x00b");
}

Test(fmt, bidi_characters_and_tags_are_shown)
{
    const char *rlo = "abc\xe2\x80\xae"
                      "def";
    assert_escaped(rlo, strlen(rlo), FMT_TEXT, "abc\\u202edef");
    assert_escaped("\xe2\x81\xa6", 3, FMT_NAME, "\\u2066");
    assert_escaped("\xd8\x9c", 2, FMT_NAME, "\\u061c");
    assert_escaped("\xf3\xa0\x81\x81", 4, FMT_NAME, "\\U000e0041");
}

Test(fmt, what_is_not_utf8_is_shown_as_bytes)
{
    assert_escaped("a\xff\xc3", 3, FMT_TEXT, "a\\xff\\xc3");
    assert_escaped("\xed\xa0\x80", 3, FMT_TEXT, "\\xed\\xa0\\x80"); /* a surrogate */
}

Test(fmt, line_feeds_by_mode)
{
    assert_escaped("a\n\tb\\", 5, FMT_TEXT, "a\n    b\\");
    assert_escaped("a\n\tb\\", 5, FMT_NAME, "a\\n\\tb\\");
    assert_escaped("a\n\tb\\", 5, FMT_LINE, "a\\n\\tb\\\\");
}

Test(fmt, other_scripts_stay)
{
    const char *s = "早上好 Grüße שלום 👍🏽 👨‍👩‍👧";
    assert_escaped(s, strlen(s), FMT_LINE, s);
}

Test(fmt, widths)
{
    cr_assert_eq(fmt_width(""), 0);
    cr_assert_eq(fmt_width("abc"), 3);
    cr_assert_eq(fmt_width("早上好"), 6);
    cr_assert_eq(fmt_width("e\xcc\x81"), 1); /* e and a combining accent */
    cr_assert_eq(fmt_width("👍"), 2);
    cr_assert_eq(fmt_width("👍🏽"), 4); /* by code point, as tmux does */
}

static void assert_padded(const char *s, size_t width, const char *wanted)
{
    char *out = NULL;
    size_t size;
    FILE *f = open_memstream(&out, &size);
    fmt_pad(f, s, width);
    cr_assert_eq(fclose(f), 0);
    cr_assert_str_eq(out, wanted);
    free(out);
}

Test(fmt, padding_cuts_by_columns)
{
    assert_padded("bob", 5, "bob  ");
    assert_padded("bob", 3, "bob");
    assert_padded("roberta", 5, "robe…");
    assert_padded("陈波", 5, "陈波 ");
    assert_padded("陈波陈波", 6, "陈波… "); /* half a character is not possible */
    assert_padded("陈波", 0, "");
}

static void assert_wrapped(const char *s, size_t indent, size_t width, const char *wanted,
                           size_t column)
{
    char *out = NULL;
    size_t size;
    FILE *f = open_memstream(&out, &size);
    size_t got = fmt_wrap(f, s, indent, width);
    cr_assert_eq(fclose(f), 0);
    cr_assert_str_eq(out, wanted);
    cr_assert_eq(got, column);
    free(out);
}

Test(fmt, wrapping)
{
    assert_wrapped("one two three", 0, 20, "one two three", 13);
    assert_wrapped("one two three", 2, 11, "one two\n  three", 7);
    assert_wrapped("one two three", 2, 12, "one two\n  three", 7);
    assert_wrapped("abcdefghijklmnop", 2, 12, "abcdefghij\n  klmnop", 8);
    assert_wrapped("早上好报告已经收到", 2, 12, "早上好报告\n  已经收到", 10);
    assert_wrapped("a\n\nb", 3, 20, "a\n\n   b", 4);
    assert_wrapped("", 3, 20, "", 3);
    /* A blank at the break is not carried over, and the narrowest room is 8 columns. */
    assert_wrapped("12345678 9", 4, 5, "12345678\n    9", 5);
    assert_wrapped("12345678 ", 4, 5, "12345678", 12);
}

Test(fmt, durations)
{
    uint64_t ms = 1;
    cr_assert(fmt_duration("30s", &ms) && ms == 30000);
    cr_assert(fmt_duration("10m", &ms) && ms == 600000);
    cr_assert(fmt_duration("24h", &ms) && ms == 86400000);
    cr_assert(fmt_duration("7d", &ms) && ms == 604800000);
    cr_assert(fmt_duration("250ms", &ms) && ms == 250);
    cr_assert(fmt_duration("0s", &ms) && ms == 0);
    cr_assert(fmt_duration("1w", &ms) && ms == 604800000);
    static const char *const bad[] = {
        "", "30", "s", "-1s", "1 h", "1h2m", "1y", "9999999999999999999d", "1.5h"};
    ms = 7;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_not(fmt_duration(bad[i], &ms), "%s", bad[i]);
    }
    cr_assert_eq(ms, 7);
}

Test(fmt, since)
{
    uint64_t ms = 0, other = 0;
    cr_assert(fmt_since("1h", 7200000, &ms) && ms == 3600000);
    cr_assert(fmt_since("7d", 1000, &ms) && ms == 0);
    cr_assert(fmt_since("1970-01-02T00:00:00Z", 0, &ms) && ms == 86400000);
    cr_assert(fmt_since("1970-01-02T01:30+01:30", 0, &ms) && ms == 86400000);
    cr_assert(fmt_since("2026-11-22T14:00:05Z", 0, &ms) && ms == 1795356005000);
    cr_assert(fmt_since("2026-11-22", 0, &ms));
    cr_assert(fmt_since("2026-11-22T00:00", 0, &other) && ms == other);
    static const char *const bad[] = {"tomorrow",          "2026-13-01",    "2026-11-31",
                                      "2026-11-22T25:00",  "2026-11-22T14", "2026-11-22Z",
                                      "2026-11-22x",       "26-11-22",      "2026-1-2",
                                      "2026-11-22T14:00+1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_not(fmt_since(bad[i], 0, &ms), "%s", bad[i]);
    }
}

/* Days begin at local midnight, also when the clocks were changed on one of them. */
Test(fmt, since_days)
{
    uint64_t ms = 0;
    cr_assert_eq(setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1), 0);
    tzset();
    cr_assert(fmt_since("today", 1795356005000, &ms)); /* 2026-11-22 15:00:05 */
    cr_assert_eq(ms, UINT64_C(1795302000000));
    cr_assert(fmt_since("yesterday", 1795356005000, &ms));
    cr_assert_eq(ms, UINT64_C(1795302000000) - 86400000);
    cr_assert(fmt_since("yesterday", 1774868400000, &ms)); /* 2026-03-30 13:00 */
    cr_assert_eq(ms, UINT64_C(1774738800000));             /* the day had 23 hours */
    cr_assert(fmt_since("today", 0, &ms));
}

Test(fmt, numbers)
{
    uint64_t n = 9;
    cr_assert(fmt_number("0", 5, &n) && n == 0);
    cr_assert(fmt_number("5", 5, &n) && n == 5);
    cr_assert_not(fmt_number("6", 5, &n));
    cr_assert_not(fmt_number("-1", 5, &n));
    cr_assert_not(fmt_number("1x", 5, &n));
    cr_assert_not(fmt_number("", 5, &n));
    cr_assert_eq(n, 5);
}

Test(fmt, times)
{
    char out[FMT_TIME_MAX];
    cr_assert_eq(setenv("TZ", "XXX-05:30", 1), 0);
    fmt_iso(1795356005000, out);
    cr_assert_str_eq(out, "2026-11-22T19:30:05+05:30");
    fmt_clock(1795356005000, out);
    cr_assert_str_eq(out, "19:30");
    fmt_day(1795356005000, out);
    cr_assert_str_eq(out, "Sun 22 Nov 2026");
    fmt_span(86400000, out);
    cr_assert_str_eq(out, "24 h");
    fmt_span(600000, out);
    cr_assert_str_eq(out, "10 min");
    fmt_span(7ull * 86400000, out);
    cr_assert_str_eq(out, "7 days");
}

typedef void number_fn(uint64_t v, char out[FMT_TIME_MAX]);

static void assert_number(number_fn *fn, uint64_t v, const char *wanted)
{
    char out[FMT_TIME_MAX];
    fn(v, out);
    cr_expect_str_eq(out, wanted);
}

Test(fmt, sizes)
{
    assert_number(fmt_size, 0, "0 B");
    assert_number(fmt_size, 999, "999 B");
    assert_number(fmt_size, 1000, "1.0 kB");
    assert_number(fmt_size, 1550, "1.6 kB");
    assert_number(fmt_size, 999949, "999.9 kB");
    assert_number(fmt_size, 999950, "1.0 MB"); /* not 1000.0 kB */
    assert_number(fmt_size, 419400000, "419.4 MB");
    assert_number(fmt_size, UINT64_C(4294967296), "4.3 GB");
    assert_number(fmt_size, UINT64_MAX, "18.4 EB");
    assert_number(fmt_short, 0, "0");
    assert_number(fmt_short, 999, "999");
    assert_number(fmt_short, 1500, "1.5k");
    assert_number(fmt_short, 9949, "9.9k");
    assert_number(fmt_short, 10000, "10k");
    assert_number(fmt_short, 419400000, "419M");
    assert_number(fmt_short, 999950, "1.0M");
    assert_number(fmt_short, UINT64_MAX, "18E");
}

Test(fmt, a_part_has_the_unit_of_the_whole)
{
    char out[FMT_TIME_MAX];
    fmt_part(243100000, 419400000, out);
    cr_expect_str_eq(out, "243.1/419.4 MB");
    fmt_part(1000, 419400000, out);
    cr_expect_str_eq(out, "0.0/419.4 MB");
    fmt_part(3, 900, out);
    cr_expect_str_eq(out, "3/900 B");
}

Test(fmt, what_is_left_and_what_it_took)
{
    assert_number(fmt_left, 0, "0:00");
    assert_number(fmt_left, 4, "0:04");
    assert_number(fmt_left, 750, "12:30");
    assert_number(fmt_left, 3723, "1:02:03");
    assert_number(fmt_left, 86400, "1 day");
    assert_number(fmt_left, 3 * 86400 - 1, "3 days");
    assert_number(fmt_took, 40, "0.0 s");
    assert_number(fmt_took, 3890, "3.9 s");
    assert_number(fmt_took, 59940, "59.9 s");
    assert_number(fmt_took, 59960, "1 min 0 s"); /* not 60.0 s */
    assert_number(fmt_took, 125400, "2 min 5 s");
    assert_number(fmt_took, 3720000, "1 h 2 min");
}
