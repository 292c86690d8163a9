/* Entries and the frames that replicate them. */
#include "wire_check.h"

static uint8_t out[65536];

#define HEX_BYTES(s) ((const uint8_t *)(s))

/* ---- headers ---- */

static bool dec_header(const uint8_t *p, size_t len)
{
    struct wire_header v;
    return wire_header_get(p, len, &v);
}

#define PARENT_1 "l8:" X8("1") "i3e32:" X32("x") "e"
#define PARENT_2 "l8:" X8("2") "i9e32:" X32("y") "e"
#define HEADER_REST                                                                      \
    "1:c32:" X32("c") "1:d32:" X32("d") "1:g8:" X8(                                      \
        "g") "1:ki5e1:oi1700000000001e1:p32:" X32("p") "1:qi7e1:rl" PARENT_1 PARENT_2    \
                                                       "ee"
#define HEADER "d1:b32:" X32("b") HEADER_REST

static struct wire_header header(void)
{
    struct wire_header v = {
        .seq = 7,
        .order = 1700000000001,
        .chain = 5,
        .n_parents = 2,
        .parents = {{.seq = 3}, {.seq = 9}},
    };
    memset(v.conv, 'c', sizeof v.conv);
    memset(v.device, 'd', sizeof v.device);
    memset(v.gen, 'g', sizeof v.gen);
    memset(v.prev, 'p', sizeof v.prev);
    memset(v.box_hash, 'b', sizeof v.box_hash);
    memset(v.parents[0].gen, '1', WIRE_GEN);
    memset(v.parents[0].id, 'x', WIRE_ID);
    memset(v.parents[1].gen, '2', WIRE_GEN);
    memset(v.parents[1].id, 'y', WIRE_ID);
    return v;
}

static bool puts_header(const struct wire_header *v)
{
    struct wr w = wr_init(out, sizeof out);
    wire_header_put(&w, v, true);
    return wr_ok(&w);
}

Test(wire_feed, header)
{
    struct wire_header v = header(), got;
    struct wr w = wr_init(out, sizeof out);
    wire_header_put(&w, &v, true);
    check_text(&w, HEADER);
    cr_assert(wire_header_get(out, w.len, &got));
    cr_assert_arr_eq(got.conv, v.conv, WIRE_ID);
    cr_assert_arr_eq(got.device, v.device, WIRE_ID);
    cr_assert_arr_eq(got.gen, v.gen, WIRE_GEN);
    cr_assert_arr_eq(got.prev, v.prev, WIRE_ID);
    cr_assert_arr_eq(got.box_hash, v.box_hash, WIRE_ID);
    cr_assert(got.seq == 7 && got.chain == 5 && got.order == v.order);
    cr_assert_eq(got.n_parents, 2u);
    cr_assert_arr_eq(got.parents[1].gen, v.parents[1].gen, WIRE_GEN);
    cr_assert_arr_eq(got.parents[1].id, v.parents[1].id, WIRE_ID);
    cr_assert_eq(got.parents[1].seq, 9u);
    check_dict(dec_header, HEADER);
    w = wr_init(out, sizeof out);
    wire_header_put(&w, &v, false);
    check_text(&w, "d" HEADER_REST);
    cr_assert(!decodes(dec_header, out, w.len), "without b it is no header");
}

Test(wire_feed, header_first)
{
    static const char first[] = "d1:b32:" X32("b") "1:c32:" X32("c") "1:d32:" X32(
        "d") "1:g8:" X8("g") "1:ki1e1:oi1e1:p32:" X32("0") "1:qi1e1:rlee";
    uint8_t bytes[sizeof first];
    memcpy(bytes, first, sizeof first);
    cr_assert(!decodes(dec_header, bytes, sizeof first - 1), "prev of seq 1 is zeros");
    for (size_t i = 0; i < sizeof first; i++) {
        bytes[i] = bytes[i] == '0' && bytes[i + 1] == '0' ? 0 : bytes[i];
    }
    bytes[strlen(first) - strlen("01:qi1e1:rlee")] = 0;
    cr_assert(decodes(dec_header, bytes, sizeof first - 1));
}

Test(wire_feed, header_refusals)
{
    static const char *const keys[] = {
        "1:b32:" X32("b"), "1:c32:" X32("c"),    "1:d32:" X32("d"), "1:g8:" X8("g"),
        "1:ki5e",          "1:oi1700000000001e", "1:p32:" X32("p"), "1:qi7e"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        cr_assert(!decodes_with(dec_header, HEADER, keys[i], ""), "without %s", keys[i]);
    }
    cr_assert(!decodes_with(dec_header, HEADER, "1:qi7e", "1:qi0e"));
    cr_assert(!decodes_with(dec_header, HEADER, "1:qi7e", "1:qi4e"), "chain after seq");
    cr_assert(decodes_with(dec_header, HEADER, "1:qi7e", "1:qi505e"));
    cr_assert(!decodes_with(dec_header, HEADER, "1:qi7e", "1:qi506e"),
              "too long a chain");
    cr_assert(decodes_with(dec_header, HEADER, "1:ki5e", "1:ki7e"), "a keys entry");
    cr_assert(!decodes_with(dec_header, HEADER, "1:ki5e", "1:ki0e"));
    cr_assert(!decodes_with(dec_header, HEADER, "1:oi17", "1:oi-17"));
    cr_assert(!decodes_with(dec_header, HEADER, "8:" X8("g"), "7:ggggggg"));
    cr_assert(decodes_with(dec_header, HEADER, PARENT_1 PARENT_2, ""));
    cr_assert(!decodes_with(dec_header, HEADER, PARENT_1 PARENT_2, PARENT_2 PARENT_1));
    cr_assert(!decodes_with(dec_header, HEADER, PARENT_2, PARENT_1), "a parent twice");
    cr_assert(!decodes_with(dec_header, HEADER, "i3e32:", "i0e32:"));
    cr_assert(!decodes_with(dec_header, HEADER, X32("x") "e", X32("x") "i1ee"));
    cr_assert(!decodes_with(dec_header, HEADER, "i3e32:" X32("x"), "i3e"));
    cr_assert(!decodes_with(dec_header, HEADER, PARENT_1, "1:x"));
}

Test(wire_feed, header_limits)
{
    struct wire_header v = header(), got;
    v.n_parents = WIRE_PARENTS_MAX;
    v.seq = v.order = INT64_MAX;
    v.chain = INT64_MAX - WIRE_CHAIN_ENTRIES_MAX;
    for (size_t i = 0; i < WIRE_PARENTS_MAX; i++) {
        memset(v.parents[i].gen, (int)('A' + i), WIRE_GEN);
        v.parents[i].seq = INT64_MAX;
    }
    struct wr w = wr_init(out, WIRE_HEADER_MAX);
    wire_header_put(&w, &v, true);
    cr_assert(wr_ok(&w), "the largest header fits");
    cr_assert(wire_header_get(out, w.len, &got));
    cr_assert_eq(got.n_parents, (size_t)WIRE_PARENTS_MAX);
    /* One parent more. */
    out[w.len - 2] = '\0';
    char *nine = malloc(w.len + 256);
    cr_assert_not_null(nine);
    snprintf(nine, w.len + 256, "%sl8:" X8("Z") "i1e32:" X32("z") "eee", (char *)out);
    cr_assert(strlen(nine) < WIRE_HEADER_MAX);
    cr_assert(!decodes_text(dec_header, nine));
    free(nine);
    /* Unknown keys may fill it up to its limit, no further. */
    char *big = malloc(2048);
    cr_assert_not_null(big);
    size_t pad = WIRE_HEADER_MAX - strlen(HEADER) - strlen("1:~800:");
    snprintf(big, 2048, "%.*s1:~%zu:%0*de", (int)strlen(HEADER) - 1, HEADER, pad,
             (int)pad, 0);
    cr_assert_eq(strlen(big), (size_t)WIRE_HEADER_MAX);
    cr_assert(decodes_text(dec_header, big));
    snprintf(big, 2048, "%.*s1:~%zu:%0*de", (int)strlen(HEADER) - 1, HEADER, pad + 1,
             (int)pad + 1, 0);
    cr_assert(!decodes_text(dec_header, big));
    free(big);
}

Test(wire_feed, header_put_refuses_what_get_does)
{
    struct wire_header v = header();
    cr_assert(puts_header(&v));
    v.seq = 0;
    cr_assert(!puts_header(&v));
    v = header();
    v.chain = 8;
    cr_assert(!puts_header(&v));
    v = header();
    v.n_parents = WIRE_PARENTS_MAX + 1;
    cr_assert(!puts_header(&v));
    v = header();
    v.parents[1] = v.parents[0];
    cr_assert(!puts_header(&v));
    v = header();
    v.order = UINT64_MAX;
    cr_assert(!puts_header(&v));
}

Test(wire_feed, ids)
{
    /* From Python's hashlib.blake2b(label + b"\0" + bytes, digest_size=32). */
    static const char entry[] = "\xbf\xd7\xd9\x54\xb2\x9e\xa2\xb6\x14\x82\x4e\x8a\xa0\x71"
                                "\x3a\xee\xc6\x38\x0f\xce\x6c\x50\xb3\x1a\xe5\xd6\x69\x92"
                                "\x32\x61\x26\xa4";
    static const char box[] = "\x26\xcd\xdc\x4a\x06\xb1\x18\xc7\x23\xba\x4b\xf5\x37\x73"
                              "\x6c\xe3\xb0\x7c\x02\xf1\xfd\x15\x03\x35\xdc\xbb\x97\xbb"
                              "\x61\xc2\xd5\xd7";
    uint8_t got[32];
    wire_entry_id(HEX_BYTES("header"), 6, got);
    cr_assert_arr_eq(got, entry, 32);
    wire_box_hash(HEX_BYTES("box"), 3, got);
    cr_assert_arr_eq(got, box, 32);
}

/* ---- ENTRY ---- */

static bool dec_entry(const uint8_t *p, size_t len)
{
    struct wire_entry v;
    return wire_entry_get(p, len, &v);
}

#define ENTRY "d1:b3:BOX1:h6:HEADER1:m16:" X16("m") "1:s64:" X64("s") "e"

Test(wire_feed, entry)
{
    struct wire_entry v = {
        .header = HEX_BYTES("HEADER"),
        .header_len = 6,
        .box = HEX_BYTES("BOX"),
        .box_len = 3,
        .has_self = true,
        .has_sig = true,
    };
    struct wire_entry got;
    memset(v.self, 'm', sizeof v.self);
    memset(v.sig, 's', sizeof v.sig);
    struct wr w = wr_init(out, sizeof out);
    wire_entry_put(&w, &v);
    check_text(&w, ENTRY);
    cr_assert(wire_entry_get(out, w.len, &got));
    cr_assert(got.header_len == 6 && memcmp(got.header, "HEADER", 6) == 0);
    cr_assert(got.box_len == 3 && memcmp(got.box, "BOX", 3) == 0);
    cr_assert(got.has_self && got.has_sig);
    cr_assert_arr_eq(got.self, v.self, KEYS_SELF_MAC);
    cr_assert_arr_eq(got.sig, v.sig, WIRE_SIGN);
    check_dict(dec_entry, ENTRY);
    v = (struct wire_entry){.header = v.header, .header_len = 6};
    w = wr_init(out, sizeof out);
    wire_entry_put(&w, &v);
    check_text(&w, "d1:h6:HEADERe");
    cr_assert(wire_entry_get(out, w.len, &got));
    cr_assert(got.box == NULL && got.box_len == 0 && !got.has_self && !got.has_sig);
}

Test(wire_feed, entry_refusals)
{
    cr_assert(!decodes_with(dec_entry, ENTRY, "1:h6:HEADER", ""));
    cr_assert(!decodes_with(dec_entry, ENTRY, "1:h6:HEADER", "1:h0:"));
    cr_assert(!decodes_with(dec_entry, ENTRY, "1:b3:BOX", "1:b0:"), "absent, not empty");
    cr_assert(!decodes_with(dec_entry, ENTRY, "1:b3:BOX", "1:bi3e"));
    cr_assert(!decodes_with(dec_entry, ENTRY, "1:m16:" X16("m"), "1:m8:" X8("m")));
    cr_assert(!decodes_with(dec_entry, ENTRY, "1:s64:" X64("s"), "1:s32:" X32("s")));
}

Test(wire_feed, entry_limits)
{
    static uint8_t bytes[WIRE_ENTRY_MAX];
    struct wire_entry v = {
        .header = bytes,
        .header_len = WIRE_HEADER_MAX,
        .box = bytes,
        .box_len = WIRE_BOX_MAX,
        .has_self = true,
        .has_sig = true,
    };
    struct wr w = wr_init(out, WIRE_ENTRY_MAX);
    wire_entry_put(&w, &v);
    cr_assert(wr_ok(&w), "the largest entry fits");
    cr_assert(decodes(dec_entry, out, w.len));
    v.box_len++;
    w = wr_init(out, sizeof out);
    wire_entry_put(&w, &v);
    cr_assert(!wr_ok(&w));
    v.box_len--;
    v.header_len++;
    w = wr_init(out, sizeof out);
    wire_entry_put(&w, &v);
    cr_assert(!wr_ok(&w));
    /* By hand, what the encoder refuses. */
    w = wr_init(out, sizeof out);
    wr_ben_dict(&w);
    wr_ben_key(&w, "h");
    wr_ben_str(&w, bytes, WIRE_HEADER_MAX + 1);
    wr_ben_end(&w);
    cr_assert(wr_ok(&w) && !decodes(dec_entry, out, w.len));
    w = wr_init(out, sizeof out);
    wr_ben_dict(&w);
    wr_ben_key(&w, "b");
    wr_ben_str(&w, bytes, WIRE_BOX_MAX + 1);
    wr_ben_key(&w, "h");
    wr_ben_str(&w, bytes, WIRE_HEADER_MAX);
    wr_ben_end(&w);
    cr_assert(wr_ok(&w) && !decodes(dec_entry, out, w.len));
}

/* ---- DIGEST ---- */

static bool dec_digest(const uint8_t *p, size_t len)
{
    struct wire_digest v[2];
    size_t n;
    return wire_digest_get(p, len, v, 2, &n);
}

#define DIGEST_1 "l32:" X32("a") "32:" X32("1") "e"
#define DIGEST_2 "l32:" X32("b") "32:" X32("2") "e"
#define DIGEST "d1:ll" DIGEST_1 DIGEST_2 "ee"

Test(wire_feed, digest)
{
    struct wire_digest v[2], got[2];
    size_t n;
    memset(v[0].conv, 'a', 32);
    memset(v[0].hash, '1', 32);
    memset(v[1].conv, 'b', 32);
    memset(v[1].hash, '2', 32);
    struct wr w = wr_init(out, sizeof out);
    wire_digest_put(&w, v, 2);
    check_text(&w, DIGEST);
    cr_assert(wire_digest_get(out, w.len, got, 2, &n));
    cr_assert_eq(n, 2u);
    cr_assert_arr_eq(got, v, sizeof v);
    cr_assert(!wire_digest_get(out, w.len, got, 1, &n), "more than the caller takes");
    check_dict(dec_digest, DIGEST);
    cr_assert(decodes_text(dec_digest, "d1:llee"));
    cr_assert(!decodes_text(dec_digest, "de"));
    cr_assert(!decodes_with(dec_digest, DIGEST, DIGEST_1, DIGEST_1 DIGEST_1));
    cr_assert(!decodes_with(dec_digest, DIGEST, "32:" X32("1"), ""));
    cr_assert(!decodes_with(dec_digest, DIGEST, "32:" X32("1"), "16:" X16("1")));
    cr_assert(!decodes_with(dec_digest, DIGEST, "32:" X32("1"), "32:" X32("1") "0:"));
}

Test(wire_feed, digest_limits)
{
    static struct wire_digest v[WIRE_DIGESTS_MAX + 1], got[WIRE_DIGESTS_MAX + 1];
    size_t n;
    struct wr w = wr_init(out, WIRE_FRAME_MAX);
    wire_digest_put(&w, v, WIRE_DIGESTS_MAX);
    cr_assert(wr_ok(&w), "the largest fits into a frame");
    cr_assert(wire_digest_get(out, w.len, got, WIRE_DIGESTS_MAX + 1, &n));
    cr_assert_eq(n, (size_t)WIRE_DIGESTS_MAX);
    w = wr_init(out, sizeof out);
    wire_digest_put(&w, v, WIRE_DIGESTS_MAX + 1);
    cr_assert(!wr_ok(&w));
}

/* ---- HAVE ---- */

static bool dec_have(const uint8_t *p, size_t len)
{
    static struct wire_have_feed feeds[WIRE_HAVE_FEEDS_MAX];
    struct wire_have v = {.feeds = feeds};
    return wire_have_get(p, len, &v);
}

#define HAVE_1                                                                           \
    "d1:d32:" X32("d") "1:g8:" X8("g") "1:i32:" X32("i") "1:ni9e1:oi7e1:xi8e1:zi1ee"
#define HAVE_2 "d1:d32:" X32("e") "1:g8:" X8("h") "1:ni0e1:oi0ee"
#define HAVE "d1:c32:" X32("c") "1:ei1e1:fl" HAVE_1 HAVE_2 "ee"

Test(wire_feed, have)
{
    struct wire_have_feed feeds[2] = {{.n = 9, .opened = 7, .closed = 8, .frozen = true}};
    static struct wire_have_feed room[WIRE_HAVE_FEEDS_MAX];
    struct wire_have v = {.full_end = true, .feeds = feeds, .n_feeds = 2};
    struct wire_have got = {.feeds = room};
    memset(v.conv, 'c', 32);
    memset(feeds[0].device, 'd', 32);
    memset(feeds[0].gen, 'g', 8);
    memset(feeds[0].id, 'i', 32);
    memset(feeds[1].device, 'e', 32);
    memset(feeds[1].gen, 'h', 8);
    struct wr w = wr_init(out, sizeof out);
    wire_have_put(&w, &v);
    check_text(&w, HAVE);
    cr_assert(wire_have_get(out, w.len, &got));
    cr_assert(got.full_end && got.n_feeds == 2);
    cr_assert_arr_eq(got.conv, v.conv, 32);
    cr_assert_arr_eq(room[0].device, feeds[0].device, 32);
    cr_assert_arr_eq(room[0].gen, feeds[0].gen, 8);
    cr_assert_arr_eq(room[0].id, feeds[0].id, 32);
    cr_assert(room[0].n == 9 && room[0].opened == 7 && room[0].closed == 8);
    cr_assert(room[0].frozen && !room[1].frozen);
    cr_assert(room[1].n == 0 && room[1].opened == 0 && room[1].closed == 0);
    check_dict(dec_have, HAVE);
    v.full_end = false;
    v.n_feeds = 0;
    w = wr_init(out, sizeof out);
    wire_have_put(&w, &v);
    check_text(&w, "d1:c32:" X32("c") "1:flee");
    cr_assert(wire_have_get(out, w.len, &got));
    cr_assert(!got.full_end && got.n_feeds == 0);
}

Test(wire_feed, have_refusals)
{
    cr_assert(!decodes_with(dec_have, HAVE, "1:ei1e", "1:ei0e"), "absent, not 0");
    cr_assert(!decodes_with(dec_have, HAVE, "1:ei1e", "1:ei2e"));
    cr_assert(!decodes_with(dec_have, HAVE, "1:zi1e", "1:zi0e"));
    cr_assert(!decodes_with(dec_have, HAVE, "1:xi8e", "1:xi0e"));
    cr_assert(!decodes_with(dec_have, HAVE, "1:xi8e", "1:xi10e"));
    cr_assert(!decodes_with(dec_have, HAVE, "1:oi7e", "1:oi10e"));
    cr_assert(decodes_with(dec_have, HAVE, "1:oi7e", "1:oi9e"));
    cr_assert(!decodes_with(dec_have, HAVE, "1:i32:" X32("i"), ""), "a head has an id");
    cr_assert(!decodes_with(dec_have, HAVE, "1:ni0e", "1:i32:" X32("i") "1:ni0e"));
    cr_assert(!decodes_with(dec_have, HAVE, HAVE_2, "le"));
    cr_assert(decodes_with(dec_have, HAVE, "1:ni0e", "1:ki1e1:ni0e"), "unknown key");
    cr_assert(!decodes_with(dec_have, HAVE, "1:c32:" X32("c"), ""));
}

Test(wire_feed, have_limits)
{
    static struct wire_have_feed feeds[WIRE_HAVE_FEEDS_MAX + 1];
    struct wire_have v = {.full_end = true, .feeds = feeds};
    for (size_t i = 0; i < WIRE_HAVE_FEEDS_MAX + 1; i++) {
        feeds[i].n = feeds[i].opened = feeds[i].closed = INT64_MAX;
        feeds[i].frozen = true;
    }
    v.n_feeds = WIRE_HAVE_FEEDS_MAX;
    struct wr w = wr_init(out, WIRE_FRAME_MAX);
    wire_have_put(&w, &v);
    cr_assert(wr_ok(&w), "the largest fits into a frame");
    cr_assert(decodes(dec_have, out, w.len));
    v.n_feeds++;
    w = wr_init(out, sizeof out);
    wire_have_put(&w, &v);
    cr_assert(!wr_ok(&w));
    w = wr_init(out, sizeof out);
    wr_bytes(&w, "d1:c32:" X32("c") "1:fl", strlen("d1:c32:" X32("c") "1:fl"));
    for (size_t i = 0; i < WIRE_HAVE_FEEDS_MAX + 1; i++) {
        wr_bytes(&w, HAVE_2, strlen(HAVE_2));
    }
    wr_bytes(&w, "ee", 2);
    cr_assert(wr_ok(&w) && !decodes(dec_have, out, w.len), "one feed too many");
}

/* ---- WANT ---- */

static bool dec_want(const uint8_t *p, size_t len)
{
    struct wire_want v;
    return wire_want_get(p, len, &v);
}

#define WANT "d1:c32:" X32("c") "1:d32:" X32("d") "1:fi3e1:g8:" X8("g") "1:ti5ee"

Test(wire_feed, want)
{
    struct wire_want v = {.from = 3, .to = 5}, got;
    memset(v.conv, 'c', 32);
    memset(v.device, 'd', 32);
    memset(v.gen, 'g', 8);
    struct wr w = wr_init(out, sizeof out);
    wire_want_put(&w, &v);
    check_text(&w, WANT);
    cr_assert(wire_want_get(out, w.len, &got));
    cr_assert_arr_eq(got.conv, v.conv, 32);
    cr_assert_arr_eq(got.device, v.device, 32);
    cr_assert_arr_eq(got.gen, v.gen, 8);
    cr_assert(got.from == 3 && got.to == 5);
    check_dict(dec_want, WANT);
    cr_assert(decodes_with(dec_want, WANT, "1:fi3e", "1:fi5e"));
    cr_assert(!decodes_with(dec_want, WANT, "1:fi3e", "1:fi6e"));
    cr_assert(!decodes_with(dec_want, WANT, "1:fi3e", "1:fi0e"));
    cr_assert(!decodes_with(dec_want, WANT, "1:ti5e", ""));
    cr_assert(!decodes_with(dec_want, WANT, "1:g8:" X8("g"), "1:g0:"));
    v.from = 6;
    w = wr_init(out, sizeof out);
    wire_want_put(&w, &v);
    cr_assert(!wr_ok(&w));
}

/* ---- READ ---- */

static bool dec_read(const uint8_t *p, size_t len)
{
    static struct wire_read_feed feeds[WIRE_HAVE_FEEDS_MAX];
    struct wire_read v = {.feeds = feeds};
    return wire_read_get(p, len, &v);
}

#define READ_1 "l32:" X32("d") "8:" X8("g") "i4ee"
#define READ_2 "l32:" X32("e") "8:" X8("h") "i0ee"
#define READ "d1:c32:" X32("c") "1:fl" READ_1 READ_2 "ee"

Test(wire_feed, read)
{
    struct wire_read_feed feeds[2] = {{.seq = 4}, {.seq = 0}};
    static struct wire_read_feed room[WIRE_HAVE_FEEDS_MAX];
    struct wire_read v = {.feeds = feeds, .n_feeds = 2}, got = {.feeds = room};
    memset(v.conv, 'c', 32);
    memset(feeds[0].device, 'd', 32);
    memset(feeds[0].gen, 'g', 8);
    memset(feeds[1].device, 'e', 32);
    memset(feeds[1].gen, 'h', 8);
    struct wr w = wr_init(out, sizeof out);
    wire_read_put(&w, &v);
    check_text(&w, READ);
    cr_assert(wire_read_get(out, w.len, &got));
    cr_assert_eq(got.n_feeds, 2u);
    cr_assert_arr_eq(got.conv, v.conv, 32);
    cr_assert_arr_eq(room[1].device, feeds[1].device, 32);
    cr_assert_arr_eq(room[0].gen, feeds[0].gen, 8);
    cr_assert(room[0].seq == 4 && room[1].seq == 0);
    check_dict(dec_read, READ);
    cr_assert(!decodes_with(dec_read, READ, "i4e", ""));
    cr_assert(!decodes_with(dec_read, READ, "i4e", "i4ei4e"));
    cr_assert(!decodes_with(dec_read, READ, "i4e", "i-4e"));
    cr_assert(!decodes_with(dec_read, READ, "1:fl" READ_1 READ_2 "e", ""));
    w = wr_init(out, sizeof out);
    wr_bytes(&w, "d1:c32:" X32("c") "1:fl", strlen("d1:c32:" X32("c") "1:fl"));
    for (size_t i = 0; i < WIRE_HAVE_FEEDS_MAX + 1; i++) {
        wr_bytes(&w, READ_2, strlen(READ_2));
    }
    wr_bytes(&w, "ee", 2);
    cr_assert(wr_ok(&w) && !decodes(dec_read, out, w.len), "one feed too many");
    v.n_feeds = WIRE_HAVE_FEEDS_MAX + 1;
    w = wr_init(out, sizeof out);
    wire_read_put(&w, &v);
    cr_assert(!wr_ok(&w));
}
