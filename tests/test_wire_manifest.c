/* Names of files, and manifests of folders. */
#include "wire_check.h"

#include "seeded.h"

/* ---- names ---- */

static bool name_ok(const char *s)
{
    size_t n = strlen(s);
    uint8_t *copy = malloc(n > 0 ? n : 1);
    cr_assert_not_null(copy);
    memcpy(copy, s, n);
    bool ok = wire_file_name_ok(copy, n);
    free(copy);
    return ok;
}

static const char *const good_names[] = {
    "a",
    "plan.odt",
    "plan (1).odt",
    ".bashrc",
    "..a",
    "a..b",
    "a b",
    "~",
    "-rf",
    "README",
    "Zo\xc3\xab.txt",
    "\xe8\xae\xa1\xe5\x88\x92.txt",  /* Chinese */
    "\xd8\xae\xd8\xb7\xd8\xa9.pdf",  /* Arabic */
    "\xf0\x9f\x93\xb7",              /* a camera */
    "Love \xe2\x9d\xa4\xef\xb8\x8f", /* ends in a variation selector */
    "console",
    "CONT.txt",
    "com",
    "com10",
    "comx.c", /* like devices, but none */
    "lpt",
    "auxiliary",
    "nulls.txt",
    "acon",
};

static const char *const bad_names[] = {
    "",
    ".",
    "..",
    "/",
    "a/b",
    "\\",
    "a\\b",
    " ",
    " a",
    "a ",
    "a.",
    "a. .",
    "a\xc2\xa0", /* no-break space */
    "\xe3\x80\x80"
    "a",            /* ideographic space */
    "\xe2\x80\x8b", /* zero width space */
    "\xe2\xa0\x80", /* Braille, no dots */
    "a\n",
    "a\tb",
    "\x1b[2J",
    "a\x7f",
    "a\xc2\x9b"
    "2J",
    "a\xe2\x80\xa8"
    "b", /* line separator */
    "a\xe2\x80\xae"
    "fdp.exe",
    "a\xe2\x80\x8f"
    "b",
    "a\xe2\x81\xa6"
    "b",
    "a\xd8\x9c"
    "b",
    "a\xf3\xa0\x81\xa1"
    "b", /* a tag character */
    "\xff",
    "a\xc3",
    "\xc0\xaf",     /* "/" in two bytes */
    "\xe0\x80\xaf", /* and in three */
    "\xed\xa0\x80",
    "CON",
    "con",
    "Con.txt",
    "con.tar.gz",
    "CON .txt",
    "NUL",
    "nul.",
    "aux.h",
    "PRN.x",
    "com0",
    "COM1",
    "com9.c",
    "lpt1",
    "LPT9.txt",
    "com\xc2\xb9",
    "lpt\xc2\xb3.c",
    "CONIN$",
    "conout$.txt",
};

Test(wire_manifest, names)
{
    for (size_t i = 0; i < sizeof good_names / sizeof good_names[0]; i++) {
        cr_assert(name_ok(good_names[i]), "refused: %s", good_names[i]);
    }
    for (size_t i = 0; i < sizeof bad_names / sizeof bad_names[0]; i++) {
        cr_assert(!name_ok(bad_names[i]), "taken: %s", bad_names[i]);
    }
    cr_assert(!wire_file_name_ok((const uint8_t *)"a\0b", 3), "NUL");
    char name[WIRE_FILE_NAME_MAX + 2];
    memset(name, 'a', sizeof name);
    cr_assert(wire_file_name_ok((uint8_t *)name, WIRE_FILE_NAME_MAX));
    cr_assert(!wire_file_name_ok((uint8_t *)name, WIRE_FILE_NAME_MAX + 1));
}

static const char *fixed(const char *name)
{
    static char out[WIRE_FILE_NAME_MAX + 1];
    memset(out, 'z', sizeof out);
    wire_file_name_fix(name, out);
    cr_assert_not_null(memchr(out, '\0', sizeof out));
    cr_assert(name_ok(out), "\"%s\" became \"%s\"", name, out);
    return out;
}

Test(wire_manifest, names_that_are_fixed)
{
    static const char *const cases[][2] = {
        {"", "_"},
        {".", "_"},
        {"..", "._"},
        {" ", "_"},
        {"/", "_"},
        {"../../etc/passwd", ".._.._etc_passwd"},
        {"C:\\x.txt", "C:_x.txt"},
        {" a", "_a"},
        {"a ", "a_"},
        {"a.", "a_"},
        {"a...", "a.._"},
        {"a\nb", "a_b"},
        {"a\xe2\x80\xae"
         "fdp.exe",
         "a_fdp.exe"},
        {"\xe2\x80\x8b", "_"},
        {"\xe3\x80\x80"
         "a",
         "_a"},
        {"a\xc2\xa0", "a_"},
        {"\xff.txt", "_.txt"},
        {"a\xe2\x82", "a__"},
        {"Zo\xeb.txt", "Zo_.txt"}, /* Latin 1 */
        {"CON", "_CON"},
        {"nul.txt", "_nul.txt"},
        {"com1 .c", "_com1 .c"},
        {"lpt\xc2\xb2", "_lpt\xc2\xb2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_assert_str_eq(fixed(cases[i][0]), cases[i][1]);
    }
    for (size_t i = 0; i < sizeof good_names / sizeof good_names[0]; i++) {
        cr_assert_str_eq(fixed(good_names[i]), good_names[i], "what is good stays");
    }
    for (size_t i = 0; i < sizeof bad_names / sizeof bad_names[0]; i++) {
        (void)fixed(bad_names[i]);
    }
}

Test(wire_manifest, names_that_are_too_long)
{
    char name[700] = "", want[WIRE_FILE_NAME_MAX + 1];
    memset(name, 'a', 300);
    memset(want, 'a', sizeof want);
    want[WIRE_FILE_NAME_MAX] = '\0';
    cr_assert_str_eq(fixed(name), want);
    memcpy(name + 300, ".odt", 5);
    memcpy(want + WIRE_FILE_NAME_MAX - 4, ".odt", 5);
    cr_assert_str_eq(fixed(name), want, "the ending stays");
    /* Three bytes a character: 251 bytes hold 83 of them, and 2 bytes are left over. */
    name[0] = '\0';
    for (size_t i = 0; i < 100; i++) {
        memcpy(name + 3 * i, "\xe8\xae\xa1", 4);
    }
    memcpy(name + 300, ".odt", 5);
    const char *got = fixed(name);
    cr_assert_eq(strlen(got), 83u * 3 + 4);
    cr_assert_str_eq(got + 83 * 3, ".odt");
    /* What looks like an ending and is very long is none. */
    memset(name, 'b', 300);
    name[100] = '.';
    name[300] = '\0';
    got = fixed(name);
    cr_assert(strlen(got) == WIRE_FILE_NAME_MAX && got[100] == '.');
    /* A device that only the cut makes. */
    memset(name, ' ', 300);
    memcpy(name, "con", 3);
    memcpy(name + 300, "x.txt", 6);
    got = fixed(name);
    cr_assert(strlen(got) == WIRE_FILE_NAME_MAX && strncmp(got, "_con ", 5) == 0);
    cr_assert_str_eq(got + WIRE_FILE_NAME_MAX - 4, ".txt");
    /* A device whose ending is the longest that there may be, and cut. */
    memset(name, 'c', 300);
    memcpy(name, "nul.", 4);
    got = fixed(name);
    cr_assert(strlen(got) == WIRE_FILE_NAME_MAX && strncmp(got, "_nul.c", 6) == 0);
}

/* Whatever bytes there are, the name is good, and stays when it is fixed again. */
Test(wire_manifest, every_name_can_be_fixed)
{
    static const char *const pieces[] = {".",
                                         " ",
                                         "/",
                                         "\\",
                                         "a",
                                         "con",
                                         "nul",
                                         "com1",
                                         "_",
                                         "\xc2\xb9",
                                         "\xc3",
                                         "\xe2\x80\xae",
                                         "\xff",
                                         "\n",
                                         "\xc2\xa0",
                                         ".txt",
                                         "\xe2\x80\x8b",
                                         "\xe8\xae\xa1"};
    uint64_t state = 1;
    for (int run = 0; run < 40000; run++) {
        char name[800] = "", first[WIRE_FILE_NAME_MAX + 1];
        uint8_t random[400];
        size_t len = 0, n;
        seeded(&state, random, sizeof random);
        n = run % 4 == 0 ? 200 + random[0] : random[0] % 12;
        for (size_t i = 0; i < n && i + 1 < sizeof random && len < 700; i++) {
            if (run % 2 == 0) {
                const char *piece = pieces[random[i + 1] % 18];
                len += (size_t)snprintf(name + len, sizeof name - len, "%s", piece);
            } else {
                name[len++] = (char)(random[i + 1] != 0 ? random[i + 1] : 1);
                name[len] = '\0';
            }
        }
        snprintf(first, sizeof first, "%s", fixed(name));
        cr_assert_str_eq(fixed(first), first);
        if (name_ok(name)) {
            cr_assert_str_eq(first, name);
        }
    }
}

/* ---- manifests ---- */

struct item {
    uint8_t flags;
    uint64_t size;
    const char *path;
};

/* Writes what is given, whether it is good or not; returns its length. */
static size_t put_raw(uint8_t *p, size_t cap, const struct item *v, size_t n)
{
    struct wr w = wr_init(p, cap);
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(v[i].path);
        wr_u8(&w, v[i].flags);
        wr_u64(&w, v[i].size);
        wr_u16(&w, (uint16_t)len);
        wr_bytes(&w, v[i].path, len);
    }
    cr_assert(wr_ok(&w));
    return w.len;
}

/* Reads a copy of exactly this size to its end: true when all of it is good. */
static bool reads(const uint8_t *p, size_t len, size_t *n)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    cr_assert_not_null(copy);
    if (len > 0) {
        memcpy(copy, p, len);
    }
    struct rd r = rd_init(copy, len);
    struct wire_manifest_at at = {0};
    struct wire_manifest_entry v;
    *n = 0;
    while (wire_manifest_next(&r, &at, &v)) {
        ++*n;
    }
    bool ok = rd_end(&r);
    cr_assert(!wire_manifest_next(&r, &at, &v), "it goes no further");
    cr_assert_eq(rd_end(&r), ok);
    free(copy);
    return ok;
}

static bool good(const struct item *v, size_t n)
{
    static uint8_t bytes[1 << 16];
    size_t got, len = put_raw(bytes, sizeof bytes, v, n);
    bool ok = reads(bytes, len, &got);
    cr_assert(!ok || got == n);
    return ok;
}

#define GOOD(...)                                                                        \
    good((const struct item[]){__VA_ARGS__},                                             \
         sizeof((const struct item[]){__VA_ARGS__}) / sizeof(struct item))
#define D MANIFEST_FOLDER

Test(wire_manifest, bytes)
{
    static const char want[] = "\1\0\0\0\0\0\0\0\0\0\1a"
                               "\2\0\0\0\0\0\1\2\3\0\3a/b"
                               "\0\0\0\x10\0\0\0\0\0\0\5a.txt";
    static const struct item items[] = {{MANIFEST_FOLDER, 0, "a"},
                                        {MANIFEST_EXEC, 0x010203, "a/b"},
                                        {0, UINT64_C(0x100000000000), "a.txt"}};
    uint8_t out[256];
    struct wr w = wr_init(out, sizeof out);
    for (size_t i = 0; i < 3; i++) {
        struct wire_manifest_entry v = {items[i].flags, items[i].size,
                                        (const uint8_t *)items[i].path,
                                        strlen(items[i].path)};
        wire_manifest_put(&w, &v);
    }
    cr_assert(wr_ok(&w) && w.len == sizeof want - 1);
    cr_assert_arr_eq(out, want, w.len);
    out[29] = 0x0f; /* less, so that all of it is no more than a folder may have */
    struct rd r = rd_init(out, w.len);
    struct wire_manifest_at at = {0};
    struct wire_manifest_entry v;
    uint64_t total = 0;
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert(wire_manifest_next(&r, &at, &v), "%u", i);
        cr_assert_eq(v.flags, items[i].flags);
        cr_assert(i == 2 || v.size == items[i].size);
        cr_assert(v.path_len == strlen(items[i].path) &&
                  memcmp(v.path, items[i].path, v.path_len) == 0);
        total += v.size;
        cr_assert(at.n == i + 1 && at.total == total);
    }
    cr_assert(!wire_manifest_next(&r, &at, &v) && rd_end(&r));
}

Test(wire_manifest, empty)
{
    size_t n;
    cr_assert(reads((const uint8_t *)"", 0, &n) && n == 0);
}

Test(wire_manifest, every_truncation)
{
    static const struct item items[] = {{D, 0, "a"}, {0, 5, "a/b"}, {2, 6, "a/c"}};
    uint8_t bytes[256];
    size_t n, ends[4] = {0};
    for (size_t i = 0; i < 3; i++) {
        ends[i + 1] = put_raw(bytes, sizeof bytes, items, i + 1);
    }
    for (size_t len = 0; len <= ends[3]; len++) {
        bool whole = len == ends[0] || len == ends[1] || len == ends[2] || len == ends[3];
        cr_assert_eq(reads(bytes, len, &n), whole, "at %zu", len);
    }
}

Test(wire_manifest, names_in_it)
{
    for (size_t i = 0; i < sizeof bad_names / sizeof bad_names[0]; i++) {
        char path[300];
        bool slash = strcmp(bad_names[i], "a/b") == 0; /* two good ones */
        cr_assert(slash || !GOOD({0, 1, bad_names[i]}), "%s", bad_names[i]);
        snprintf(path, sizeof path, "d/%s", bad_names[i]);
        cr_assert(slash || !GOOD({D, 0, "d"}, {0, 1, path}), "%s", path);
        snprintf(path, sizeof path, "%s/d", bad_names[i]);
        cr_assert(slash || !GOOD({D, 0, bad_names[i]}, {0, 1, path}), "%s", path);
    }
    for (size_t i = 0; i < sizeof good_names / sizeof good_names[0]; i++) {
        cr_assert(GOOD({0, 1, good_names[i]}), "%s", good_names[i]);
    }
    cr_assert(!GOOD({0, 1, "/etc/passwd"}), "absolute");
    cr_assert(!GOOD({D, 0, "a"}, {0, 1, "a/../b"}));
    cr_assert(!GOOD({D, 0, "a"}, {0, 1, "a/./b"}));
    cr_assert(!GOOD({D, 0, "a"}, {0, 1, "a//b"}), "an empty component");
    cr_assert(!GOOD({D, 0, "a/"}), "nothing behind the last one");
    cr_assert(!GOOD({D, 0, "a"}, {0, 1, "a/b/"}));
}

Test(wire_manifest, order)
{
    cr_assert(GOOD({0, 1, "a"}, {0, 1, "b"}, {0, 1, "c"}));
    cr_assert(!GOOD({0, 1, "b"}, {0, 1, "a"}), "unsorted");
    cr_assert(!GOOD({0, 1, "a"}, {0, 1, "a"}), "doubled");
    cr_assert(!GOOD({D, 0, "a"}, {0, 1, "a"}), "a folder and a file");
    cr_assert(!GOOD({D, 0, "a"}, {0, 1, "a/b"}, {0, 1, "a/b"}));
    cr_assert(!GOOD({D, 0, "a"}, {0, 1, "a/b"}, {D, 0, "a"}), "a folder again");
    cr_assert(GOOD({D, 0, "a"}, {0, 1, "a/b"}, {0, 1, "a.txt"}),
              "by components: a/b is before a.txt");
    cr_assert(!GOOD({D, 0, "a"}, {0, 1, "a.txt"}, {0, 1, "a/b"}), "as text it is not");
    cr_assert(GOOD({D, 0, "a"}, {D, 0, "a/b"}, {0, 1, "a/b/c"}, {0, 1, "a/b c"},
                   {0, 1, "a c"}));
    cr_assert(GOOD({0, 1, "A"}, {0, 1, "a"}, {0, 1, "\xc3\xa4"}),
              "as bytes; case makes a difference");
    cr_assert(GOOD({D, 0, "Dir"}, {0, 1, "Dir/x"}, {D, 0, "dir"}, {0, 1, "dir/x"}));
    cr_assert(!GOOD({0, 1, "\xc3\xa4"}, {0, 1, "z"}), "bytes have no sign");
}

Test(wire_manifest, parents)
{
    cr_assert(!GOOD({0, 1, "a/b"}), "missing");
    cr_assert(!GOOD({D, 0, "a"}, {0, 1, "a/b/c"}), "the middle one is missing");
    cr_assert(!GOOD({0, 1, "a"}, {0, 1, "a/b"}), "a file");
    cr_assert(!GOOD({D, 0, "a"}, {0, 1, "a/b"}, {0, 1, "a/b/c"}), "a file, deeper");
    cr_assert(!GOOD({D, 0, "a"}, {0, 1, "ab/c"}), "only begins alike");
    cr_assert(!GOOD({D, 0, "ab"}, {0, 1, "ac/d"}));
    cr_assert(!GOOD({D, 0, "abc"}, {0, 1, "ad/x"}));
    cr_assert(!GOOD({D, 0, "a"}, {0, 1, "a/bc"}, {0, 1, "a/bd/x"}));
    cr_assert(!GOOD({D, 0, "a"}, {D, 0, "a/b"}, {0, 1, "a/b/x"}, {0, 1, "a/b/x/y"}));
    cr_assert(GOOD({D, 0, "a"}, {D, 0, "a/b"}, {D, 0, "a/b/c"}, {0, 1, "a/b/c/d"},
                   {0, 1, "a/b/e"}, {0, 1, "a/f"}, {0, 1, "g"}));
    cr_assert(
        GOOD({D, 0, "a"}, {D, 0, "a/b"}, {D, 0, "a/b/c"}, {D, 0, "a/d"}, {0, 1, "a/d/e"}),
        "empty folders");
    cr_assert(!GOOD({D, 0, "a"}, {0, 1, "b"}, {0, 1, "c/x"}));
}

Test(wire_manifest, flags_and_sizes)
{
    cr_assert(!GOOD({D, 1, "a"}), "a folder has no bytes");
    cr_assert(!GOOD({MANIFEST_FOLDER | MANIFEST_EXEC, 0, "a"}));
    cr_assert(!GOOD({4, 0, "a"}));
    cr_assert(!GOOD({0x80, 0, "a"}));
    cr_assert(GOOD({MANIFEST_EXEC, 0, "a"}, {0, 0, "b"}));
    cr_assert(GOOD({0, WIRE_FILE_SIZE_MAX, "a"}, {0, 0, "b"}));
    cr_assert(!GOOD({0, WIRE_FILE_SIZE_MAX + 1, "a"}));
    cr_assert(!GOOD({0, UINT64_MAX, "a"}));
    cr_assert(!GOOD({0, WIRE_FILE_SIZE_MAX, "a"}, {0, 1, "b"}), "in all");
    cr_assert(!GOOD({0, 1, "a"}, {0, UINT64_MAX, "b"}), "wraps around");
}

Test(wire_manifest, depth_and_length)
{
    struct item items[WIRE_FILE_DEPTH_MAX + 1];
    char paths[WIRE_FILE_DEPTH_MAX + 1][2 * WIRE_FILE_DEPTH_MAX + 2];
    for (size_t i = 0; i < WIRE_FILE_DEPTH_MAX + 1; i++) {
        for (size_t k = 0; k <= i; k++) {
            memcpy(paths[i] + 2 * k, "d/", 2);
        }
        paths[i][2 * i + 1] = '\0';
        items[i] = (struct item){D, 0, paths[i]};
    }
    cr_assert(good(items, WIRE_FILE_DEPTH_MAX));
    cr_assert(!good(items, WIRE_FILE_DEPTH_MAX + 1), "too deep");
    /* Four components of 255 bytes are a path of 1,023; one more byte fits. */
    static char path[WIRE_FILE_PATH_MAX + 8], all[6][WIRE_FILE_PATH_MAX + 8];
    struct item long_ones[6];
    memset(path, 'x', sizeof path);
    for (size_t i = 0; i < 4; i++) {
        path[256 * (i + 1) - 1] = i < 3 ? '/' : '\0';
    }
    for (size_t i = 0; i < 4; i++) {
        memcpy(all[i], path, 256 * (i + 1) - 1);
        long_ones[i] = (struct item){i < 3 ? D : 0, 0, all[i]};
    }
    cr_assert_eq(strlen(all[3]), 1023u);
    cr_assert(good(long_ones, 4));
    /* Paths of 1,023 and of 1,024 bytes are good. */
    for (size_t i = 0; i < 2; i++) {
        memset(all[0], 'y', 253 + i);
        memset(all[0] + 253 + i, '\0', 8);
        for (size_t k = 1; k < 5; k++) {
            size_t n = (size_t)snprintf(all[k], sizeof all[k], "%s/", all[k - 1]);
            memset(all[k] + n, 'y', k < 4 ? 255 : 1);
            all[k][n + (k < 4 ? 255 : 1)] = '\0';
            long_ones[k] = (struct item){D, 0, all[k]};
        }
        cr_assert_eq(strlen(all[4]), WIRE_FILE_PATH_MAX - 1 + i);
        cr_assert(good(long_ones, 5), "%zu bytes", strlen(all[4]));
    }
    strcat(all[4], "y");
    cr_assert_eq(strlen(all[4]), WIRE_FILE_PATH_MAX + 1u);
    cr_assert(!good(long_ones, 5), "too long");
}

Test(wire_manifest, too_many)
{
    size_t cap = (size_t)(WIRE_FILE_ENTRIES_MAX + 1) * 17, n;
    uint8_t *p = malloc(cap);
    cr_assert_not_null(p);
    struct wr w = wr_init(p, cap);
    size_t all = 0;
    for (unsigned i = 0; i <= WIRE_FILE_ENTRIES_MAX; i++) {
        char name[8];
        snprintf(name, sizeof name, "f%05x", i);
        struct wire_manifest_entry v = {0, 1, (uint8_t *)name, 6};
        all = w.len;
        wire_manifest_put(&w, &v);
    }
    cr_assert(wr_ok(&w));
    cr_assert(reads(p, all, &n) && n == WIRE_FILE_ENTRIES_MAX);
    cr_assert(!reads(p, w.len, &n));
    free(p);
    p = malloc(WIRE_MANIFEST_MAX + 1);
    cr_assert_not_null(p);
    (void)put_raw(p, 64, &(struct item){0, 1, "a"}, 1);
    struct rd r = rd_init(p, WIRE_MANIFEST_MAX + 1);
    struct wire_manifest_at at = {0};
    struct wire_manifest_entry v;
    cr_assert(!wire_manifest_next(&r, &at, &v) && !rd_ok(&r), "too many bytes");
    r = rd_init(p, WIRE_MANIFEST_MAX);
    cr_assert(wire_manifest_next(&r, &at, &v));
    free(p);
}

Test(wire_manifest, put_refuses)
{
    static const struct item bad[] = {
        {D, 1, "a"},  {3, 0, "a"},      {4, 0, "a"},    {0, WIRE_FILE_SIZE_MAX + 1, "a"},
        {0, 0, ".."}, {0, 0, "a/../b"}, {0, 0, "/a"},   {0, 0, ""},
        {0, 0, "a/"}, {0, 0, "a\\b"},   {0, 0, "a/nul"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint8_t out[64];
        struct wr w = wr_init(out, sizeof out);
        struct wire_manifest_entry v = {
            bad[i].flags, bad[i].size, (const uint8_t *)bad[i].path, strlen(bad[i].path)};
        wire_manifest_put(&w, &v);
        cr_assert(!wr_ok(&w), "written: %s", bad[i].path);
    }
}
