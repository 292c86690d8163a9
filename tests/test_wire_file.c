/* Frames of files. */
#include "wire_check.h"

static uint8_t out[70000];

/* ---- FILE_WANT ---- */

static bool dec_want(const uint8_t *p, size_t len)
{
    struct wire_file_want v;
    return wire_file_want_get(p, len, &v);
}

#define WANT_A "1:a32:" X32("a")
#define WANT_B "1:bli0ei1ei16384ee"
#define WANT_H "1:hi4294967295e"
#define WANT_I "1:i16:" X16("i")
#define WANT_L "1:llli0ei8eeli16777215ei1eee"
#define WANT "d" WANT_A WANT_B WANT_H WANT_I WANT_L "e"
#define WANT_NONE "d" WANT_A WANT_H WANT_I "1:llee"

static struct wire_file_want want(void)
{
    struct wire_file_want v = {
        .handle = UINT32_MAX,
        .ranges = {{0, 8}, {HASHTREE_LEAVES_MAX - 1, 1}},
        .lists = {0, 1, HASHTREE_BLOCKS_MAX},
        .n_ranges = 2,
        .n_lists = 3,
    };
    memset(v.author, 'a', sizeof v.author);
    memset(v.mid, 'i', sizeof v.mid);
    return v;
}

static struct wr put_want(const struct wire_file_want *v)
{
    struct wr w = wr_init(out, sizeof out);
    wire_file_want_put(&w, v);
    return w;
}

Test(wire_file, want)
{
    struct wire_file_want v = want(), got;
    struct wr w = put_want(&v);
    check_text(&w, WANT);
    cr_assert(wire_file_want_get(out, w.len, &got));
    cr_assert_arr_eq(got.author, v.author, WIRE_ID);
    cr_assert_arr_eq(got.mid, v.mid, WIRE_MID);
    cr_assert(got.handle == v.handle && got.n_ranges == 2 && got.n_lists == 3);
    cr_assert_arr_eq(got.ranges, v.ranges, 2 * sizeof v.ranges[0]);
    cr_assert_arr_eq(got.lists, v.lists, 3 * sizeof v.lists[0]);
    v.n_ranges = v.n_lists = 0;
    w = put_want(&v);
    check_text(&w, WANT_NONE);
    cr_assert(wire_file_want_get(out, w.len, &got));
    cr_assert(got.n_ranges == 0 && got.n_lists == 0);
    check_dict(dec_want, WANT);
    check_dict(dec_want, WANT_NONE);
}

Test(wire_file, want_refusals)
{
    static const char *const needed[] = {WANT_A, WANT_H, WANT_I, WANT_L};
    static const char *const bad_lists[] = {
        "1:ble",                     /* none is absent */
        "1:bi1e",                    /* no list */
        "1:bli-1ee", "1:bli16385ee", /* no such block */
        "1:bl1:0e",
    };
    static const char *const bad_ranges[] = {
        "1:llli0ei0eee",        /* nothing */
        "1:llli16777216ei1eee", /* begins behind the last leaf */
        "1:llli16777215ei2eee", /* goes on behind it */
        "1:llli1ei16777216eee",
        "1:llli4294967295ei1eee",
        "1:llli1ei4294967295eee", /* wraps around in 32 bits */
        "1:llli9223372036854775807ei1eee",
        "1:llli0ei1ei1eee",
        "1:llli0eee",
        "1:llli-1ei1eee",
        "1:lli0ei1ee",
        "1:lde",
    };
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        cr_assert(!decodes_with(dec_want, WANT, needed[i], ""), "without %s", needed[i]);
    }
    for (size_t i = 0; i < sizeof bad_lists / sizeof bad_lists[0]; i++) {
        cr_assert(!decodes_with(dec_want, WANT, WANT_B, bad_lists[i]), "%s",
                  bad_lists[i]);
    }
    for (size_t i = 0; i < sizeof bad_ranges / sizeof bad_ranges[0]; i++) {
        cr_assert(!decodes_with(dec_want, WANT, WANT_L, bad_ranges[i]), "%s",
                  bad_ranges[i]);
    }
    cr_assert(decodes_with(dec_want, WANT, WANT_L, "1:llli0ei16777216eee"), "all of it");
    cr_assert(!decodes_with(dec_want, WANT, WANT_H, "1:hi4294967296e"));
    cr_assert(!decodes_with(dec_want, WANT, WANT_H, "1:hi-1e"));
    cr_assert(!decodes_with(dec_want, WANT, "a32:" X32("a"), "a16:" X16("a")));
    cr_assert(!decodes_with(dec_want, WANT, "i16:" X16("i"), "i8:" X8("i")));
}

Test(wire_file, want_limits)
{
    struct wire_file_want v = want(), got;
    v.n_ranges = v.n_lists = WIRE_FILE_RANGES_MAX;
    for (uint32_t i = 0; i < WIRE_FILE_RANGES_MAX; i++) {
        v.ranges[i] = (struct wire_file_range){HASHTREE_LEAVES_MAX - 1 - i, i + 1};
        v.lists[i] = i;
    }
    struct wr w = put_want(&v);
    cr_assert(wr_ok(&w) && wire_file_want_get(out, w.len, &got));
    cr_assert_arr_eq(got.ranges, v.ranges, sizeof v.ranges);
    cr_assert_arr_eq(got.lists, v.lists, sizeof v.lists);
    out[w.len] = '\0';
    cr_assert(decodes_text(dec_want, (char *)out));
    cr_assert(!decodes_with(dec_want, (char *)out, "1:lll", "1:llli0ei1eel"), "65");
    cr_assert(!decodes_with(dec_want, (char *)out, "1:bl", "1:bli0e"), "65 lists");
    v.n_ranges++;
    w = put_want(&v);
    cr_assert(!wr_ok(&w));
    v.n_ranges = 1;
    v.n_lists++;
    w = put_want(&v);
    cr_assert(!wr_ok(&w));
    v = want();
    v.ranges[1].count = 2;
    w = put_want(&v);
    cr_assert(!wr_ok(&w), "behind the last leaf");
    v.ranges[1].count = 0;
    w = put_want(&v);
    cr_assert(!wr_ok(&w));
    v.ranges[1].count = UINT32_MAX;
    w = put_want(&v);
    cr_assert(!wr_ok(&w));
    v = want();
    v.lists[2]++;
    w = put_want(&v);
    cr_assert(!wr_ok(&w));
}

/* ---- FILE_STATE, FILE_NO ---- */

static bool dec_state(const uint8_t *p, size_t len)
{
    struct wire_file_state v;
    return wire_file_state_get(p, len, &v);
}

#define STATE "d" WANT_A WANT_I "1:ni16777216e1:si15ee"

Test(wire_file, state)
{
    struct wire_file_state v = {.leaves = HASHTREE_LEAVES_MAX, .state = FILE_WORD_MAX};
    struct wire_file_state got;
    memset(v.author, 'a', sizeof v.author);
    memset(v.mid, 'i', sizeof v.mid);
    struct wr w = wr_init(out, sizeof out);
    wire_file_state_put(&w, &v);
    check_text(&w, STATE);
    cr_assert(wire_file_state_get(out, w.len, &got));
    cr_assert_arr_eq(got.author, v.author, WIRE_ID);
    cr_assert_arr_eq(got.mid, v.mid, WIRE_MID);
    cr_assert(got.leaves == v.leaves && got.state == v.state);
    check_dict(dec_state, STATE);
    static const char *const needed[] = {WANT_A, WANT_I, "1:ni16777216e", "1:si15e"};
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        cr_assert(!decodes_with(dec_state, STATE, needed[i], ""));
    }
    cr_assert(!decodes_with(dec_state, STATE, "16777216", "16777217"));
    cr_assert(!decodes_with(dec_state, STATE, "si15e", "si16e"));
    cr_assert(decodes_with(dec_state, STATE, "si15e", "si0e"));
    v.state++;
    wire_file_state_put(&w, &v);
    cr_assert(!wr_ok(&w));
    w = wr_init(out, sizeof out);
    v.state = FILE_WORD_WHOLE;
    v.leaves++;
    wire_file_state_put(&w, &v);
    cr_assert(!wr_ok(&w));
}

static bool dec_no(const uint8_t *p, size_t len)
{
    struct wire_file_no v;
    return wire_file_no_get(p, len, &v);
}

#define NO "d1:hi4294967295e1:ri2ee"

Test(wire_file, no)
{
    struct wire_file_no v = {.handle = UINT32_MAX, .reason = FILE_NO_PAUSED}, got;
    struct wr w = wr_init(out, sizeof out);
    wire_file_no_put(&w, &v);
    check_text(&w, NO);
    cr_assert(wire_file_no_get(out, w.len, &got));
    cr_assert(got.handle == v.handle && got.reason == v.reason);
    check_dict(dec_no, NO);
    cr_assert(!decodes_with(dec_no, NO, "1:hi4294967295e", ""));
    cr_assert(!decodes_with(dec_no, NO, "1:ri2e", ""));
    cr_assert(!decodes_with(dec_no, NO, "4294967295", "4294967296"));
    cr_assert(decodes_with(dec_no, NO, "ri2e", "ri77e"), "a reason of a later version");
    v.reason = UINT64_MAX;
    wire_file_no_put(&w, &v);
    cr_assert(!wr_ok(&w));
}

/* ---- binary frames ---- */

static bool dec_leaf(const uint8_t *p, size_t len)
{
    struct wire_file_leaf v;
    return wire_file_leaf_get(p, len, &v);
}

/* Whether the frame decodes with a number at `at` in place of what is there. */
static bool with_number(decoder *dec, const char *frame, size_t len, size_t at,
                        uint32_t v)
{
    uint8_t bytes[256];
    memcpy(bytes, frame, len);
    struct wr w = wr_init(bytes + at, 4);
    wr_u32(&w, v);
    return decodes(dec, bytes, len);
}

#define LEAF_FRAME "\1\2\3\4\0\xff\xff\xff\0\x10\0\0" X32("h")

Test(wire_file, leaf)
{
    struct wire_file_leaf got,
        v = {.handle = 0x01020304, .leaf = HASHTREE_LEAVES_MAX - 1, .len = HASHTREE_LEAF};
    struct wr w = wr_init(out, sizeof out);
    memset(v.hash, 'h', sizeof v.hash);
    wire_file_leaf_put(&w, &v);
    cr_assert(wr_ok(&w) && w.len == WIRE_FILE_LEAF);
    cr_assert_arr_eq(out, LEAF_FRAME, WIRE_FILE_LEAF);
    cr_assert(wire_file_leaf_get(out, w.len, &got));
    cr_assert(got.handle == v.handle && got.leaf == v.leaf && got.len == v.len);
    cr_assert_arr_eq(got.hash, v.hash, sizeof v.hash);
    for (size_t i = 0; i < WIRE_FILE_LEAF; i++) {
        cr_assert(!decodes(dec_leaf, LEAF_FRAME, i), "taken at %zu", i);
    }
    cr_assert(!decodes(dec_leaf, LEAF_FRAME, WIRE_FILE_LEAF + 1), "a byte too many");
    cr_assert(with_number(dec_leaf, LEAF_FRAME, WIRE_FILE_LEAF, 0, UINT32_MAX));
    cr_assert(!with_number(dec_leaf, LEAF_FRAME, WIRE_FILE_LEAF, 4, HASHTREE_LEAVES_MAX));
    cr_assert(!with_number(dec_leaf, LEAF_FRAME, WIRE_FILE_LEAF, 8, HASHTREE_LEAF + 1));
    cr_assert(!with_number(dec_leaf, LEAF_FRAME, WIRE_FILE_LEAF, 8, 0));
    cr_assert(with_number(dec_leaf, LEAF_FRAME, WIRE_FILE_LEAF, 8, 1));
    static const struct wire_file_leaf bad[] = {
        {0, HASHTREE_LEAVES_MAX, 1, {0}}, {0, 0, 0, {0}}, {0, 0, HASHTREE_LEAF + 1, {0}}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        w = wr_init(out, sizeof out);
        wire_file_leaf_put(&w, &bad[i]);
        cr_assert(!wr_ok(&w), "written: %zu", i);
    }
}

static bool dec_data(const uint8_t *p, size_t len)
{
    struct wire_file_data v;
    return wire_file_data_get(p, len, &v);
}

#define DATA_FRAME                                                                       \
    "\1\2\3\4\0\xff\xff\xff\0\x0f\xff\xfb"                                               \
    "hello"
enum { DATA_LEN = WIRE_FILE_DATA_HEAD + 5 };

Test(wire_file, data)
{
    struct wire_file_data got, v = {.handle = 0x01020304,
                                    .leaf = HASHTREE_LEAVES_MAX - 1,
                                    .offset = HASHTREE_LEAF - 5,
                                    .data = (const uint8_t *)"hello",
                                    .len = 5};
    struct wr w = wr_init(out, sizeof out);
    wire_file_data_put(&w, &v);
    cr_assert(wr_ok(&w) && w.len == DATA_LEN);
    cr_assert_arr_eq(out, DATA_FRAME, DATA_LEN);
    cr_assert(wire_file_data_get(out, w.len, &got));
    cr_assert(got.handle == v.handle && got.leaf == v.leaf && got.offset == v.offset);
    cr_assert(got.len == 5 && got.data == out + WIRE_FILE_DATA_HEAD, "a view");
    for (size_t i = 0; i < DATA_LEN; i++) {
        cr_assert_eq(decodes(dec_data, DATA_FRAME, i), i > WIRE_FILE_DATA_HEAD);
    }
    cr_assert(!decodes(dec_data, DATA_FRAME, DATA_LEN + 1), "beyond the leaf");
    cr_assert(!with_number(dec_data, DATA_FRAME, DATA_LEN, 4, HASHTREE_LEAVES_MAX));
    cr_assert(!with_number(dec_data, DATA_FRAME, DATA_LEN, 8, HASHTREE_LEAF - 4));
    cr_assert(!with_number(dec_data, DATA_FRAME, DATA_LEN, 8, HASHTREE_LEAF));
    cr_assert(!with_number(dec_data, DATA_FRAME, DATA_LEN, 8, UINT32_MAX), "wraps");
    cr_assert(!with_number(dec_data, DATA_FRAME, DATA_LEN, 8, UINT32_MAX - 3), "wraps");
    cr_assert(with_number(dec_data, DATA_FRAME, DATA_LEN, 8, 0));
}

Test(wire_file, data_limits)
{
    static uint8_t chunk[WIRE_FILE_CHUNK + 1];
    struct wire_file_data v = {.data = chunk, .len = WIRE_FILE_CHUNK}, got;
    struct wr w = wr_init(out, WIRE_FRAME_MAX);
    wire_file_data_put(&w, &v);
    cr_assert(wr_ok(&w), "the largest one fits a frame");
    cr_assert(wire_file_data_get(out, w.len, &got) && got.len == WIRE_FILE_CHUNK);
    out[w.len] = 0;
    cr_assert(!decodes(dec_data, out, w.len + 1));
    cr_assert_eq((HASHTREE_LEAF + WIRE_FILE_CHUNK - 1) / WIRE_FILE_CHUNK, 17);
    const struct wire_file_data bad[] = {
        {.data = chunk, .len = WIRE_FILE_CHUNK + 1},
        {.data = chunk, .len = 0},
        {.data = chunk, .len = 1, .leaf = HASHTREE_LEAVES_MAX},
        {.data = chunk, .len = 2, .offset = HASHTREE_LEAF - 1},
        {.data = chunk, .len = 2, .offset = UINT32_MAX},
        {.data = chunk, .len = SIZE_MAX},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        w = wr_init(out, sizeof out);
        wire_file_data_put(&w, &bad[i]);
        cr_assert(!wr_ok(&w), "written: %zu", i);
    }
}

static bool dec_list(const uint8_t *p, size_t len)
{
    struct wire_file_list v;
    return wire_file_list_get(p, len, &v);
}

#define LIST_FRAME "\1\2\3\4\0\0\x40\0\0\0\3\xfe" X32("x") X32("y")
enum { LIST_LEN = WIRE_FILE_LIST_HEAD + 2 * HASHTREE_HASH };

Test(wire_file, list)
{
    struct wire_file_list got, v = {.handle = 0x01020304,
                                    .list = HASHTREE_BLOCKS_MAX,
                                    .first = HASHTREE_FANOUT - 2,
                                    .hashes = (const uint8_t *)(X32("x") X32("y")),
                                    .n = 2};
    struct wr w = wr_init(out, sizeof out);
    wire_file_list_put(&w, &v);
    cr_assert(wr_ok(&w) && w.len == LIST_LEN);
    cr_assert_arr_eq(out, LIST_FRAME, LIST_LEN);
    cr_assert(wire_file_list_get(out, w.len, &got));
    cr_assert(got.handle == v.handle && got.list == v.list && got.first == v.first);
    cr_assert(got.n == 2 && got.hashes == out + WIRE_FILE_LIST_HEAD, "a view");
    for (size_t i = 0; i < LIST_LEN; i++) {
        cr_assert_eq(decodes(dec_list, LIST_FRAME, i), i == LIST_LEN - HASHTREE_HASH);
    }
    cr_assert(!with_number(dec_list, LIST_FRAME, LIST_LEN, 4, HASHTREE_BLOCKS_MAX + 1));
    cr_assert(!with_number(dec_list, LIST_FRAME, LIST_LEN, 4, UINT32_MAX));
    cr_assert(!with_number(dec_list, LIST_FRAME, LIST_LEN, 8, HASHTREE_FANOUT - 1));
    cr_assert(!with_number(dec_list, LIST_FRAME, LIST_LEN, 8, UINT32_MAX), "wraps");
    cr_assert(with_number(dec_list, LIST_FRAME, LIST_LEN, 8, 0));
    /* The list of blocks is longer than those of leaves. */
    static const char blocks[] = "\1\2\3\4\0\0\0\0\0\0\x3f\xfe" X32("x") X32("y");
    cr_assert(decodes(dec_list, blocks, LIST_LEN));
    cr_assert(!with_number(dec_list, blocks, LIST_LEN, 8, HASHTREE_BLOCKS_MAX - 1));
}

Test(wire_file, list_limits)
{
    static uint8_t hashes[(WIRE_FILE_LIST_MAX + 1) * HASHTREE_HASH];
    struct wire_file_list v = {.hashes = hashes, .n = WIRE_FILE_LIST_MAX, .list = 1}, got;
    struct wr w = wr_init(out, WIRE_FRAME_MAX);
    wire_file_list_put(&w, &v);
    cr_assert(wr_ok(&w), "a whole block fits a frame");
    cr_assert(wire_file_list_get(out, w.len, &got) && got.n == WIRE_FILE_LIST_MAX);
    memset(out + w.len, 0, HASHTREE_HASH);
    memset(out + 4, 0, 4); /* of blocks, where there could be more */
    cr_assert(decodes(dec_list, out, w.len));
    cr_assert(!decodes(dec_list, out, w.len + HASHTREE_HASH));
    const struct wire_file_list bad[] = {
        {.hashes = hashes, .n = WIRE_FILE_LIST_MAX + 1},
        {.hashes = hashes, .n = 0},
        {.hashes = hashes, .n = WIRE_FILE_LIST_MAX, .list = 1, .first = 1},
        {.hashes = hashes, .n = 1, .first = HASHTREE_BLOCKS_MAX},
        {.hashes = hashes, .n = 1, .list = HASHTREE_BLOCKS_MAX + 1},
        {.hashes = hashes, .n = 1, .first = UINT32_MAX},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        w = wr_init(out, sizeof out);
        wire_file_list_put(&w, &bad[i]);
        cr_assert(!wr_ok(&w), "written: %zu", i);
    }
}

/* What any flipped bit of a binary frame decodes to encodes to the same bytes: nothing
 * of it is passed over. */
Test(wire_file, every_bit_counts)
{
    for (size_t bit = 0; bit < WIRE_FILE_LEAF * 8; bit++) {
        uint8_t p[WIRE_FILE_LEAF];
        struct wire_file_leaf v;
        memcpy(p, LEAF_FRAME, sizeof p);
        p[bit / 8] ^= (uint8_t)(1u << bit % 8);
        struct wr w = wr_init(out, sizeof out);
        if (wire_file_leaf_get(p, sizeof p, &v)) {
            wire_file_leaf_put(&w, &v);
            cr_assert(wr_ok(&w) && w.len == sizeof p);
            cr_assert_arr_eq(out, p, sizeof p);
        }
    }
    for (size_t bit = 0; bit < LIST_LEN * 8; bit++) {
        uint8_t p[LIST_LEN];
        struct wire_file_list v;
        memcpy(p, LIST_FRAME, sizeof p);
        p[bit / 8] ^= (uint8_t)(1u << bit % 8);
        struct wr w = wr_init(out, sizeof out);
        if (wire_file_list_get(p, sizeof p, &v)) {
            wire_file_list_put(&w, &v);
            cr_assert(wr_ok(&w) && w.len == sizeof p);
            cr_assert_arr_eq(out, p, sizeof p);
        }
    }
}
