/* Open beacons, and names that look alike. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "wire.h"

static struct wire_open sample(void)
{
    struct wire_open v = {.port = 7679, .presence = 2, .flags = OPEN_FLAG_ASK};
    for (uint8_t i = 0; i < 16; i++) {
        v.nonce[i] = (uint8_t)(0xa0 + i);
    }
    memset(v.cert, 0xcc, sizeof v.cert);
    memcpy(v.name, "zo\xc3\xab", 5);
    return v;
}

Test(wire_open, exact)
{
    static const char hex[] = "6c696e6e6574" /* magic */
                              "01"
                              "01"                               /* version, flags */
                              "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf" /* nonce */
                              "1dff"
                              "02"
                              "04" /* port, presence, length of the name */
                              "cccccccccccccccccccccccccccccccc"
                              "cccccccccccccccccccccccccccccccc"
                              "7a6fc3ab";
    uint8_t want[WIRE_OPEN] = {0}, out[WIRE_OPEN];
    size_t n;
    struct wire_open v = sample(), got;
    cr_assert_eq(sodium_hex2bin(want, sizeof want, hex, strlen(hex), NULL, &n, NULL), 0);
    cr_assert_eq(n, 64);
    wire_open_put(out, &v);
    cr_assert_arr_eq(out, want, WIRE_OPEN);
    cr_assert(wire_open_get(out, WIRE_OPEN, &got));
    cr_assert_arr_eq(got.nonce, v.nonce, 16);
    cr_assert_arr_eq(got.cert, v.cert, 32);
    cr_assert(got.port == v.port && got.presence == 2 && got.flags == OPEN_FLAG_ASK);
    cr_assert_str_eq(got.name, v.name);
}

Test(wire_open, a_name_of_full_length)
{
    struct wire_open v = sample(), got;
    uint8_t out[WIRE_OPEN];
    memset(v.name, 'n', WIRE_NAME_MAX);
    v.name[WIRE_NAME_MAX] = '\0';
    wire_open_put(out, &v);
    cr_assert(wire_open_get(out, WIRE_OPEN, &got));
    cr_assert_str_eq(got.name, v.name);
}

static void refused(const struct wire_open *v, const char *why)
{
    uint8_t out[WIRE_OPEN];
    struct wire_open got;
    wire_open_put(out, v);
    cr_assert_not(wire_open_get(out, WIRE_OPEN, &got), "%s", why);
}

static void refused_name(const char *name)
{
    struct wire_open v = sample();
    memset(v.name, 0, sizeof v.name);
    memcpy(v.name, name, strlen(name));
    refused(&v, name);
}

Test(wire_open, refusals)
{
    struct wire_open v = sample(), got;
    uint8_t out[WIRE_OPEN], longer[WIRE_OPEN + 1] = {0};
    wire_open_put(out, &v);
    for (size_t i = 0; i < WIRE_OPEN; i++) {
        uint8_t *cut = malloc(i > 0 ? i : 1);
        cr_assert_not_null(cut);
        memcpy(cut, out, i);
        cr_assert_not(wire_open_get(cut, i, &got), "taken at %zu", i);
        free(cut);
    }
    memcpy(longer, out, WIRE_OPEN);
    cr_assert_not(wire_open_get(longer, sizeof longer, &got));
    for (size_t i = 0; i < 7; i++) { /* magic and version */
        out[i] ^= 1;
        cr_assert_not(wire_open_get(out, WIRE_OPEN, &got), "byte %zu", i);
        out[i] ^= 1;
    }
    for (size_t i = 64; i < WIRE_OPEN; i++) { /* behind the name */
        out[i] = 1;
        cr_assert_not(wire_open_get(out, WIRE_OPEN, &got), "byte %zu", i);
        out[i] = 0;
    }
    out[27] = 65; /* a length beyond the field */
    cr_assert_not(wire_open_get(out, WIRE_OPEN, &got));
    v.port = 0;
    refused(&v, "no port");
}

Test(wire_open, names_that_deceive_are_refused)
{
    refused_name("");
    refused_name(" ");
    refused_name("bob ");
    refused_name("bob\nann");
    refused_name("\x1b[2Jbob");
    refused_name("bob\xe2\x80\xae"
                 "txt");              /* right-to-left override */
    refused_name("b\xc3");            /* not UTF-8 */
    refused_name("\xf3\xa0\x80\xa1"); /* a tag character */
    refused_name("bob\xe2\x80\xa8"
                 "evil"); /* line separator */
}

static void alike(const char *a, const char *b)
{
    char x[WIRE_SKELETON_MAX + 1], y[WIRE_SKELETON_MAX + 1];
    cr_assert(wire_name_skeleton(a, x) && wire_name_skeleton(b, y), "%s %s", a, b);
    cr_assert_str_eq(x, y, "%s and %s", a, b);
}

static void unlike(const char *a, const char *b)
{
    char x[WIRE_SKELETON_MAX + 1], y[WIRE_SKELETON_MAX + 1];
    cr_assert(wire_name_skeleton(a, x) && wire_name_skeleton(b, y), "%s %s", a, b);
    cr_assert_str_neq(x, y, "%s and %s", a, b);
}

Test(wire_name, look_alikes)
{
    alike("bob", "bob");
    alike("bob", "BOB");
    alike("bob", "b\xd0\xbe"
                 "b");                        /* Cyrillic o */
    alike("bob", "\xce\x92\xce\xbf\xce\x92"); /* Greek capital B, o, B */
    alike("bob", "b0b");
    alike("bob", "8ob");
    alike("alice", "a1ice");
    alike("alice", "aIice");
    alike("alice", "\xd0\xb0lice"); /* Cyrillic a */
    alike("alice", "al\xc4\xb1"
                   "ce");                                 /* dotless i */
    alike("bob", "\xef\xbd\x82\xef\xbd\x8f\xef\xbd\x82"); /* full width */
    alike("bob", "b\xc3\xb3"
                 "b"); /* an accent */
    alike("bob", "bo\xcc\xa3"
                 "b"); /* a dot below */
    alike("bob", "bo\xe2\x80\x8b"
                 "b"); /* zero width space */
    alike("bob", "bob.");
    alike("ann-marie", "ann marie");
    alike("marta", "rnarta");
    alike("\xd0\xb0\xd0\xbd\xd0\xbd\xd0\xb0", "\xd0\x90\xd0\x9d\xd0\x9d\xd0\x90");
}

Test(wire_name, different_names)
{
    unlike("bob", "rob");
    unlike("bob", "bobby");
    unlike("bob", "bob-2");
    unlike("ann", "anna");
    unlike("\xe6\x9d\x8e\xe5\xa8\x9c", "\xe6\x9d\x8e\xe6\x98\x8e"); /* two in Chinese */
    unlike("\xd0\xb8\xd0\xb2\xd0\xb0\xd0\xbd", "\xd0\xbe\xd0\xbb\xd1\x8f");
}

Test(wire_name, nothing_left_is_like_nobody)
{
    char out[WIRE_SKELETON_MAX + 1];
    cr_assert_not(wire_name_skeleton("...", out));
    cr_assert_not(wire_name_skeleton("\xf0\x9f\x98\x80", out)); /* a face */
}

Test(wire_name, a_name_that_grows_is_cut)
{
    char name[WIRE_NAME_MAX + 1] = {0}, out[WIRE_SKELETON_MAX + 1];
    for (size_t i = 0; i + 3 <= WIRE_NAME_MAX; i += 3) {
        memcpy(name + i, "\xef\xb7\xba", 3); /* one character that becomes 18 */
    }
    cr_assert(wire_name_skeleton(name, out));
    cr_assert_leq(strlen(out), WIRE_SKELETON_MAX);
}

Test(wire_name, lines)
{
    char line[WIRE_LINE_MAX + 2];
    memset(line, 'x', sizeof line);
    cr_assert(wire_line_ok((const uint8_t *)"", 0));
    cr_assert(wire_line_ok((const uint8_t *)" hello, it's me ", 16));
    cr_assert(wire_line_ok((const uint8_t *)line, WIRE_LINE_MAX));
    cr_assert_not(wire_line_ok((const uint8_t *)line, WIRE_LINE_MAX + 1));
    cr_assert_not(wire_line_ok((const uint8_t *)"a\nb", 3));
    cr_assert_not(wire_line_ok((const uint8_t *)"a\0b", 3));
    cr_assert_not(wire_line_ok((const uint8_t *)"a\xe2\x80\xae", 4));
    cr_assert_not(wire_line_ok((const uint8_t *)"\xff", 1));
}
