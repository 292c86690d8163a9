/* Frames, and the bodies of the link and of pairing. */
#include "wire_check.h"

static uint8_t out[WIRE_FRAME_MAX + WIRE_FRAME_HEAD + 16];

Test(wire, frame_bytes)
{
    static const uint8_t want[] = {2, 0, 3, 'a', 'b', 'c', 1, 0, 0, 35, 1, 0};
    static const uint8_t payload[256];
    struct wr w = wr_init(out, sizeof out);
    wire_frame(&w, FRAME_CLOSE, (const uint8_t *)"abc", 3);
    wire_frame(&w, FRAME_KEEPALIVE, NULL, 0);
    wire_frame(&w, FRAME_ENTRY, payload, sizeof payload);
    cr_assert(wr_ok(&w));
    cr_assert_eq(w.len, sizeof want + sizeof payload);
    cr_assert_arr_eq(out, want, sizeof want);
}

Test(wire, frame_in_place)
{
    struct wr w = wr_init(out, sizeof out);
    size_t begin = wire_frame_begin(&w, FRAME_CLOSE);
    wire_close_put(&w, CLOSE_USED);
    wire_frame_end(&w, begin);
    cr_assert(wr_ok(&w));
    cr_assert_eq(w.len, 3u + 8);
    cr_assert_arr_eq(out,
                     "\x02\x00\x08"
                     "d1:ci3ee",
                     11);
}

Test(wire, frame_limits)
{
    static const uint8_t payload[WIRE_FRAME_MAX + 1];
    struct wr w = wr_init(out, sizeof out);
    wire_frame(&w, FRAME_ENTRY, payload, WIRE_FRAME_MAX);
    cr_assert(wr_ok(&w));
    w = wr_init(out, sizeof out);
    wire_frame(&w, FRAME_ENTRY, payload, WIRE_FRAME_MAX + 1);
    cr_assert(!wr_ok(&w));
    w = wr_init(out, sizeof out);
    wire_frame(&w, FRAME_PAD, payload, 1);
    cr_assert(!wr_ok(&w), "padding is no frame");
    for (size_t cap = 0; cap < 6; cap++) {
        w = wr_init(out, cap);
        wire_frame(&w, FRAME_CLOSE, payload, 3);
        cr_assert(!wr_ok(&w), "fits into %zu", cap);
    }
}

Test(wire, frames_of_a_body)
{
    uint8_t type;
    const uint8_t *p;
    size_t len;
    struct wr w = wr_init(out, 256);
    wire_frame(&w, FRAME_HELLO, (const uint8_t *)"abc", 3);
    wire_frame(&w, FRAME_KEEPALIVE, NULL, 0);
    wire_frame(&w, (enum frame_type)200, (const uint8_t *)"x", 1);
    wr_zero(&w, 256 - w.len);
    struct rd r = rd_init(out, w.len);
    cr_assert(wire_frame_next(&r, &type, &p, &len));
    cr_assert(type == FRAME_HELLO && len == 3 && memcmp(p, "abc", 3) == 0);
    cr_assert(wire_frame_next(&r, &type, &p, &len));
    cr_assert(type == FRAME_KEEPALIVE && len == 0);
    cr_assert(wire_frame_next(&r, &type, &p, &len));
    cr_assert(type == 200 && len == 1 && p[0] == 'x');
    cr_assert(!wire_frame_next(&r, &type, &p, &len));
    cr_assert(rd_end(&r));
    cr_assert(!wire_frame_next(&r, &type, &p, &len));
    cr_assert(rd_ok(&r));
}

/* Counts the frames of a body; SIZE_MAX when it is malformed. */
static size_t frames(const void *p, size_t n)
{
    uint8_t type;
    const uint8_t *payload;
    size_t len, count = 0;
    uint8_t *copy = malloc(n > 0 ? n : 1);
    cr_assert_not_null(copy);
    if (n > 0) {
        memcpy(copy, p, n);
    }
    struct rd r = rd_init(copy, n);
    while (wire_frame_next(&r, &type, &payload, &len)) {
        count++;
    }
    bool ok = rd_ok(&r);
    free(copy);
    return ok ? count : SIZE_MAX;
}

Test(wire, malformed_bodies)
{
    cr_assert_eq(frames("", 0), 0u);
    cr_assert_eq(frames("\0\0\0", 3), 0u);
    cr_assert_eq(frames("\0", 1), 0u);
    cr_assert_eq(frames("\1\0\0\0\0", 5), 1u);
    cr_assert_eq(frames("\1\0\0", 3), 1u, "padding may be absent");
    cr_assert_eq(frames("\0\0\1", 3), SIZE_MAX, "padding is zeros");
    cr_assert_eq(frames("\1", 1), SIZE_MAX);
    cr_assert_eq(frames("\1\0", 2), SIZE_MAX);
    cr_assert_eq(frames("\2\0\3ab", 5), SIZE_MAX);
    cr_assert_eq(frames("\2\377\377ab", 5), SIZE_MAX);
}

Test(wire, padded_lengths)
{
    static const size_t want[][2] = {{0, 256},       {1, 256},      {256, 256},
                                     {257, 1024},    {1024, 1024},  {1025, 4096},
                                     {4096, 4096},   {4097, 16384}, {16384, 16384},
                                     {16385, 65519}, {65519, 65519}};
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        cr_assert_eq(wire_padded(want[i][0]), want[i][1]);
    }
}

/* ---- CLOSE ---- */

static bool dec_close(const uint8_t *p, size_t len)
{
    unsigned code;
    return wire_close_get(p, len, &code);
}

Test(wire, close)
{
    unsigned code = 0;
    struct wr w = wr_init(out, sizeof out);
    wire_close_put(&w, CLOSE_EXPIRED);
    check_text(&w, "d1:ci5ee");
    cr_assert(wire_close_get(out, w.len, &code));
    cr_assert_eq(code, (unsigned)CLOSE_EXPIRED);
    check_dict(dec_close, "d1:ci5ee");
    cr_assert(decodes_text(dec_close, "d1:ci65535ee"), "a code of later versions");
    cr_assert(!decodes_text(dec_close, "d1:ci65536ee"));
    cr_assert(!decodes_text(dec_close, "d1:ci-1ee"));
    cr_assert(!decodes_text(dec_close, "d1:c1:5e"));
    cr_assert(!decodes_text(dec_close, "de"));
}

/* ---- HELLO ---- */

static bool dec_hello(const uint8_t *p, size_t len)
{
    struct wire_hello v;
    return wire_hello_get(p, len, &v);
}

#define HELLO_4 "7:\4ABCD\x1d\x80"
#define HELLO_6 "19:\6" X16("a") "\x1d\x80"
#define HELLO "d1:al" HELLO_4 HELLO_6 "e1:ki1700000000000000e1:pi2ee"

Test(wire, hello)
{
    struct wire_hello v = {.n_addrs = 2, .counter = 1700000000000000, .presence = 2}, got;
    v.addrs[0] = (struct addr){.family = 4, .ip = "ABCD", .port = 0x1d80};
    v.addrs[1] = (struct addr){.family = 6, .port = 0x1d80};
    memset(v.addrs[1].ip, 'a', 16);
    struct wr w = wr_init(out, sizeof out);
    wire_hello_put(&w, &v);
    check_text(&w, HELLO);
    cr_assert(wire_hello_get(out, w.len, &got));
    cr_assert_eq(got.n_addrs, 2u);
    cr_assert(addr_eq(&got.addrs[0], &v.addrs[0]) && addr_eq(&got.addrs[1], &v.addrs[1]));
    cr_assert(got.counter == v.counter && got.presence == v.presence);
    check_dict(dec_hello, HELLO);
    cr_assert(decodes_text(dec_hello, "d1:ale1:ki0e1:pi0ee"));
    cr_assert(!decodes_with(dec_hello, HELLO, "1:ki1700000000000000e", ""));
    cr_assert(!decodes_with(dec_hello, HELLO, "1:pi2e", ""));
    cr_assert(!decodes_with(dec_hello, HELLO, "1:pi2e", "1:pi-2e"));
    cr_assert(!decodes_text(dec_hello, "d1:ki0e1:pi0ee"));
    cr_assert(!decodes_with(dec_hello, HELLO, HELLO_4, "6:\4ABCD\x1d"),
              "a short address");
    cr_assert(!decodes_with(dec_hello, HELLO, HELLO_4, "0:"));
    cr_assert(!decodes_with(dec_hello, HELLO, HELLO_4, "i4e"));
}

/* Two members; the second has an address of either family. */
#define MEMBER_A "l32:" X32("A") "l7:\4\n\1\2\3\035\377ee"
#define MEMBER_B "l32:" X32("B") "l7:\4ABCDEF19:\6" X16("s") "PQee"
#define MEMBERS "d1:ll" MEMBER_A_B "e1:m16:" X16("p") "e"
#define MEMBER_A_B MEMBER_A MEMBER_B

static bool dec_members(const uint8_t *p, size_t len)
{
    struct wire_member v[WIRE_MEMBERS_FRAME_MAX];
    struct wire_members m = {.v = v};
    return wire_members_get(p, len, &m);
}

Test(wire, members)
{
    struct wire_member v[WIRE_MEMBERS_FRAME_MAX] = {{.n_addrs = 1}, {.n_addrs = 2}};
    struct wire_members m = {.v = v, .n = 2}, got = {.v = v};
    memset(m.proof, 'p', sizeof m.proof);
    memset(v[0].device, 'A', 32);
    memset(v[1].device, 'B', 32);
    cr_assert_eq(addr_parse("10.1.2.3:7679", 0, &v[0].addrs[0]), 0);
    cr_assert_eq(addr_from_wire((const uint8_t *)"\4ABCDEF", 7, &v[1].addrs[0]), 0);
    cr_assert_eq(addr_from_wire((const uint8_t *)"\6" X16("s") "PQ", 19, &v[1].addrs[1]),
                 0);
    struct wr w = wr_init(out, sizeof out);
    wire_members_put(&w, &m);
    check_text(&w, MEMBERS);
    memset(v, 0, sizeof v);
    cr_assert(wire_members_get(out, w.len, &got));
    cr_assert_eq(got.n, 2);
    cr_assert_arr_eq(got.proof, m.proof, sizeof m.proof);
    cr_assert(v[0].n_addrs == 1 && v[1].n_addrs == 2 && v[1].device[31] == 'B');
    check_dict(dec_members, MEMBERS);
    cr_assert(decodes_text(dec_members, "d1:lle1:m16:" X16("p") "e"));
    cr_assert(!decodes_text(dec_members, "d1:lle1:m15:" X8("p") "ppppppp"
                                                                "e"));
    cr_assert(!decodes_text(dec_members, "d1:lle"
                                         "e"));
    cr_assert(!decodes_with(dec_members, MEMBERS, X32("A") "l", X32("A") "d"));
    cr_assert(!decodes_with(dec_members, MEMBERS, "7:\4ABCDEF", "6:\4ABCDE"));
    cr_assert(!decodes_with(dec_members, MEMBERS, "7:\4ABCDEF", "0:"));
    cr_assert(!decodes_with(dec_members, MEMBERS, "PQee", "PQe1:xe"), "three things");
    cr_assert(!decodes_with(dec_members, MEMBERS, "l7:\4\n\1\2\3\035\377e", "le"),
              "no address");
}

Test(wire, members_limits)
{
    static struct wire_member v[WIRE_MEMBERS_FRAME_MAX + 1];
    struct wire_members m = {.v = v, .n = WIRE_MEMBERS_FRAME_MAX};
    for (size_t i = 0; i <= WIRE_MEMBERS_FRAME_MAX; i++) {
        v[i].n_addrs = WIRE_MEMBER_ADDRS_MAX;
        for (size_t k = 0; k < WIRE_MEMBER_ADDRS_MAX; k++) {
            cr_assert_eq(addr_parse("10.1.2.3:7679", 0, &v[i].addrs[k]), 0);
        }
    }
    struct wr w = wr_init(out, sizeof out);
    wire_members_put(&w, &m);
    cr_assert(wr_ok(&w) && w.len < WIRE_FRAME_MAX);
    cr_assert(decodes(dec_members, out, w.len));
    m.n++;
    w = wr_init(out, sizeof out);
    wire_members_put(&w, &m);
    cr_assert(!wr_ok(&w));
    v[0].n_addrs = 0;
    m.n = 1;
    w = wr_init(out, sizeof out);
    wire_members_put(&w, &m);
    cr_assert(!wr_ok(&w));
    /* a family of a newer program is skipped, and a member with nothing else too */
    const char *text = "d1:ll"
                       "l32:" X32("A") "l3:\7ABe"
                                       "e" MEMBER_B "e1:m16:" X16("p") "e";
    m.v = v;
    cr_assert(wire_members_get((const uint8_t *)text, strlen(text), &m));
    cr_assert(m.n == 1 && v[0].device[0] == 'B');
}

Test(wire, hello_skips_unknown_families)
{
    static const char text[] = "d1:al3:\x09xy" HELLO_4 "e1:ki0e1:pi0ee";
    struct wire_hello v;
    cr_assert(wire_hello_get((const uint8_t *)text, strlen(text), &v));
    cr_assert_eq(v.n_addrs, 1u);
    cr_assert_eq(v.addrs[0].family, 4);
}

Test(wire, hello_limits)
{
    struct wire_hello v = {.n_addrs = WIRE_ADDRS_MAX};
    for (size_t i = 0; i < WIRE_ADDRS_MAX; i++) {
        v.addrs[i] = (struct addr){.family = 4, .ip = "ABCD", .port = 0x1d80};
    }
    struct wr w = wr_init(out, sizeof out);
    wire_hello_put(&w, &v);
    cr_assert(wr_ok(&w));
    out[w.len] = '\0';
    cr_assert(decodes(dec_hello, out, w.len));
    cr_assert(!decodes_with(dec_hello, (char *)out, HELLO_4, HELLO_4 HELLO_4));
    cr_assert(!decodes_with(dec_hello, (char *)out, HELLO_4, HELLO_4 "1:x"));
    v.n_addrs++;
    w = wr_init(out, sizeof out);
    wire_hello_put(&w, &v);
    cr_assert(!wr_ok(&w));
    v = (struct wire_hello){.n_addrs = 1};
    w = wr_init(out, sizeof out);
    wire_hello_put(&w, &v);
    cr_assert(!wr_ok(&w), "no address");
    v = (struct wire_hello){.counter = UINT64_MAX};
    w = wr_init(out, sizeof out);
    wire_hello_put(&w, &v);
    cr_assert(!wr_ok(&w), "an integer that bencode has not");
}

/* ---- devices and PAIR ---- */

static bool dec_device(const uint8_t *p, size_t len)
{
    struct wire_device v;
    struct ben d;
    return bencode_check(p, len, &d) && wire_device_get(d, &v);
}

static bool dec_pair(const uint8_t *p, size_t len)
{
    struct wire_pair v;
    return wire_pair_get(p, len, &v);
}

#define DEVICE_BARE "d1:b32:" X32("b") "1:c4:CERT1:n5:alice1:ti1700000000ee"
#define DEVICE                                                                           \
    "d1:a32:" X32("A") "1:b32:" X32("b") "1:c4:CERT1:n5:alice1:p32:" X32(                \
        "P") "1:ti1700000000ee"
#define PAIR "d1:d" DEVICE "1:k32:" X32("k") "1:n32:" X32("n") "e"

static struct wire_device device(void)
{
    struct wire_device v = {
        .cert = (const uint8_t *)"CERT",
        .cert_len = 4,
        .box_time = 1700000000,
        .has_presence = true,
        .name = "alice",
    };
    memset(v.box, 'b', sizeof v.box);
    memset(v.presence_p, 'P', sizeof v.presence_p);
    memset(v.presence_a, 'A', sizeof v.presence_a);
    return v;
}

static void put_device(struct wr *w, const struct wire_device *v)
{
    *w = wr_init(out, sizeof out);
    wire_device_put(w, v);
}

Test(wire, device)
{
    struct wire_device v = device(), got;
    struct wr w;
    struct ben d;
    put_device(&w, &v);
    check_text(&w, DEVICE);
    cr_assert(bencode_check(out, w.len, &d) && wire_device_get(d, &got));
    cr_assert(got.cert_len == 4 && memcmp(got.cert, "CERT", 4) == 0);
    cr_assert(got.box_time == v.box_time && got.has_presence);
    cr_assert_arr_eq(got.box, v.box, 32);
    cr_assert_arr_eq(got.presence_p, v.presence_p, 32);
    cr_assert_arr_eq(got.presence_a, v.presence_a, 32);
    cr_assert_str_eq(got.name, "alice");
    v.has_presence = false;
    put_device(&w, &v);
    check_text(&w, DEVICE_BARE);
    cr_assert(bencode_check(out, w.len, &d) && wire_device_get(d, &got));
    cr_assert(!got.has_presence);
    check_dict(dec_device, DEVICE);
    check_dict(dec_device, DEVICE_BARE);
}

Test(wire, device_refusals)
{
    cr_assert(!decodes_with(dec_device, DEVICE, "1:a32:" X32("A"), ""), "p alone");
    cr_assert(!decodes_with(dec_device, DEVICE, "1:p32:" X32("P"), ""), "a alone");
    cr_assert(!decodes_with(dec_device, DEVICE, "1:c4:CERT", ""));
    cr_assert(!decodes_with(dec_device, DEVICE, "1:c4:CERT", "1:c0:"));
    cr_assert(!decodes_with(dec_device, DEVICE, "1:c4:CERT",
                            "1:c321:" X64("c") X64("c") X64("c") X64("c") X64("c") "c"));
    cr_assert(decodes_with(dec_device, DEVICE, "1:c4:CERT",
                           "1:c320:" X64("c") X64("c") X64("c") X64("c") X64("c")));
    cr_assert(!decodes_with(dec_device, DEVICE, "1:n5:alice", ""));
    cr_assert(!decodes_with(dec_device, DEVICE, "1:n5:alice", "1:n0:"));
    cr_assert(!decodes_with(dec_device, DEVICE, "1:n5:alice", "1:n5:a\x1b[2J"));
    cr_assert(!decodes_with(dec_device, DEVICE, "1:n5:alice", "1:n65:" X64("a") "a"));
    cr_assert(decodes_with(dec_device, DEVICE, "1:n5:alice", "1:n64:" X64("a")));
    cr_assert(!decodes_with(dec_device, DEVICE, "1:ti1700000000e", ""));
    cr_assert(!decodes_with(dec_device, DEVICE, "1:b32:" X32("b"),
                            "1:b31:" X16("b") X8("b") "bbbbbbb"));
    cr_assert(!decodes_with(dec_device, DEVICE, "1:b32:" X32("b"), "1:b32:" X32("\xff")),
              "a key that is not canonical");
}

Test(wire, device_put_refuses_what_get_does)
{
    struct wire_device v = device();
    struct wr w;
    v.name[0] = '\0';
    put_device(&w, &v);
    cr_assert(!wr_ok(&w));
    memset(v.name, 'a', sizeof v.name);
    put_device(&w, &v);
    cr_assert(!wr_ok(&w), "a name without an end");
    v = device();
    v.cert_len = KEYS_CERT_MAX + 1;
    put_device(&w, &v);
    cr_assert(!wr_ok(&w));
    v = device();
    v.box[31] = 0xff;
    put_device(&w, &v);
    cr_assert(!wr_ok(&w));
}

Test(wire, pair)
{
    struct wire_pair v = {.device = device()}, got;
    memset(v.dh, 'k', sizeof v.dh);
    memset(v.nonce, 'n', sizeof v.nonce);
    struct wr w = wr_init(out, sizeof out);
    wire_pair_put(&w, &v);
    check_text(&w, PAIR);
    cr_assert(wire_pair_get(out, w.len, &got));
    cr_assert_arr_eq(got.dh, v.dh, 32);
    cr_assert_arr_eq(got.nonce, v.nonce, 32);
    cr_assert_str_eq(got.device.name, "alice");
    check_dict(dec_pair, PAIR);
    cr_assert(decodes_with(dec_pair, PAIR, "1:n32:", "1:m4:MLKM1:n32:"));
    cr_assert(!decodes_with(dec_pair, PAIR, "1:d" DEVICE, ""));
    cr_assert(!decodes_with(dec_pair, PAIR, "1:d" DEVICE, "1:dle"));
    cr_assert(!decodes_with(dec_pair, PAIR, "1:k32:" X32("k"), ""));
    cr_assert(!decodes_with(dec_pair, PAIR, "1:k32:" X32("k"), "1:k32:" X32("\xee")));
    cr_assert(!decodes_with(dec_pair, PAIR, "1:n32:" X32("n"), "1:n16:" X16("n")));
    v.dh[31] = 0x80;
    w = wr_init(out, sizeof out);
    wire_pair_put(&w, &v);
    cr_assert(!wr_ok(&w));
}

Test(wire, paired)
{
    struct wr w = wr_init(out, sizeof out);
    wire_paired_put(&w);
    check_text(&w, "de");
}

Test(wire, request)
{
    struct wire_request v = {.port = 7679, .line = "hi, zo\xc3\xab here"}, got;
    uint8_t buf[512];
    struct wr w = wr_init(buf, sizeof buf);
    wire_request_put(&w, &v);
    cr_assert(wr_ok(&w));
    static const char want[] = "d1:li7679e1:s13:hi, zo\xc3\xab heree";
    cr_assert_eq(w.len, sizeof want - 1);
    cr_assert_arr_eq(buf, want, w.len);
    cr_assert(wire_request_get(buf, w.len, &got));
    cr_assert(got.port == 7679 && strcmp(got.line, v.line) == 0);
    for (size_t i = 0; i < w.len; i++) {
        cr_assert_not(wire_request_get(buf, i, &got), "taken at %zu", i);
    }
}

static bool takes_request(const char *s)
{
    struct wire_request got;
    return wire_request_get((const uint8_t *)s, strlen(s), &got);
}

Test(wire, request_refusals)
{
    char line[WIRE_LINE_MAX + 32];
    cr_assert(takes_request("d1:li1e1:s0:e"));
    cr_assert_not(takes_request("d1:li0e1:s0:e"), "no port");
    cr_assert_not(takes_request("d1:li65536e1:s0:e"));
    cr_assert_not(takes_request("d1:li1ee"));
    cr_assert_not(takes_request("d1:s0:e"));
    cr_assert_not(takes_request("d1:li1e1:s3:a\nbe"), "two lines");
    cr_assert_not(takes_request("d1:li1e1:s1:\xff"
                                "e"));
    (void)snprintf(line, sizeof line, "d1:li1e1:s%d:%0*de", WIRE_LINE_MAX, WIRE_LINE_MAX,
                   7);
    cr_assert(takes_request(line));
    (void)snprintf(line, sizeof line, "d1:li1e1:s%d:%0*de", WIRE_LINE_MAX + 1,
                   WIRE_LINE_MAX + 1, 7);
    cr_assert_not(takes_request(line), "too long");
}

Test(wire, code)
{
    struct wire_code_frame v = {.step = STEP_NONCE}, got;
    uint8_t buf[128];
    struct wr w = wr_init(buf, sizeof buf);
    memset(v.value, 'n', sizeof v.value);
    wire_code_frame_put(&w, &v);
    static const char want[] = "d1:si2e1:v32:nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnne";
    cr_assert_eq(w.len, sizeof want - 1);
    cr_assert_arr_eq(buf, want, w.len);
    cr_assert(wire_code_frame_get(buf, w.len, &got) && got.step == STEP_NONCE);
    cr_assert_arr_eq(got.value, v.value, 32);
    for (size_t i = 0; i < w.len; i++) {
        cr_assert_not(wire_code_frame_get(buf, i, &got), "taken at %zu", i);
    }
    w = wr_init(buf, sizeof buf);
    wire_code_frame_put(&w, &(struct wire_code_frame){.step = STEP_STOP});
    cr_assert(w.len == 8 && memcmp(buf, "d1:si4ee", 8) == 0);
    cr_assert(wire_code_frame_get(buf, w.len, &got) && got.step == STEP_STOP);
    cr_assert(wire_code_frame_get((const uint8_t *)"d1:si9ee", 8, &got));
    cr_assert_eq(got.step, STEP_UNKNOWN);
    cr_assert_not(wire_code_frame_get((const uint8_t *)"d1:si1ee", 8, &got), "no value");
    cr_assert_not(wire_code_frame_get((const uint8_t *)"d1:si1e1:v1:xe", 14, &got));
}
