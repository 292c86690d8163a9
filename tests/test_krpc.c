#include <criterion/criterion.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bencode.h"
#include "base/err.h"
#include "dht/krpc.h"

static void start(void)
{
    cr_assert(sodium_init() >= 0);
}

TestSuite(krpc, .init = start);

/* Decodes from an allocation of exactly the length, so that ASan sees a byte too many;
 * the caller frees *copy. */
static int decode(const void *p, size_t n, uint8_t **copy, struct krpc_msg *m)
{
    *copy = malloc(n > 0 ? n : 1);
    cr_assert_not_null(*copy);
    if (n > 0) {
        memcpy(*copy, p, n);
    }
    memset(m, 0xee, sizeof *m);
    return krpc_decode(*copy, n, m);
}

static struct krpc_msg good(const char *s)
{
    struct krpc_msg m;
    cr_assert_eq(krpc_decode((const uint8_t *)s, strlen(s), &m), 0, "%s", s);
    return m;
}

static void refused(const char *what, const void *p, size_t n)
{
    struct krpc_msg m, before;
    uint8_t *copy;
    memset(&before, 0xee, sizeof before);
    cr_assert_eq(decode(p, n, &copy, &m), ERR_FORMAT, "%s", what);
    cr_assert_eq(memcmp(&m, &before, sizeof m), 0, "%s: outputs stay untouched", what);
    free(copy);
}

static bool is(struct krpc_view v, const char *s)
{
    return v.n == strlen(s) && (v.n == 0 || memcmp(v.p, s, v.n) == 0);
}

static struct dht_id id_of(const char s[DHT_ID_LEN + 1])
{
    struct dht_id id;
    memcpy(id.b, s, DHT_ID_LEN);
    return id;
}

static bool id_is(const struct dht_id *id, const char s[DHT_ID_LEN + 1])
{
    return memcmp(id->b, s, DHT_ID_LEN) == 0;
}

static struct addr ip(const char *s)
{
    struct addr a;
    cr_assert_eq(addr_parse(s, 0, &a), 0, "%s", s);
    return a;
}

#define ID "abcdefghij0123456789"
#define OTHER "mnopqrstuvwxyz123456"

Test(krpc, fields_of_an_announce)
{
    struct krpc_msg m = good("d1:ad2:id20:" ID "12:implied_porti1e9:info_hash20:" OTHER
                             "4:porti6881e4:seedi1e5:token8:aoeusnthe1:q13:announce_peer"
                             "2:roi1e1:t2:aa1:v4:LT121:y1:qe");
    cr_assert_eq(m.kind, KRPC_QUERY);
    cr_assert_eq(m.method, KRPC_ANNOUNCE_PEER);
    cr_assert(is(m.q, "announce_peer"));
    cr_assert_eq(m.has, KRPC_ID | KRPC_IMPLIED_PORT | KRPC_INFO_HASH | KRPC_PORT |
                            KRPC_SEED | KRPC_TOKEN);
    cr_assert_eq(m.bad, 0);
    cr_assert(id_is(&m.id, ID));
    cr_assert(id_is(&m.info_hash, OTHER));
    cr_assert_eq(m.implied_port, 1);
    cr_assert_eq(m.seed, 1);
    cr_assert_eq(m.port, 6881);
    cr_assert(is(m.token, "aoeusnth"));
    cr_assert(m.ro);
    cr_assert(is(m.version, "LT12"));
    cr_assert_eq(m.ip.family, 0);
}

/* A message in pieces, since it holds NUL bytes. */
struct msg {
    uint8_t p[2048];
    struct wr w;
};

static void add(struct msg *m, const void *p, size_t n)
{
    if (m->w.p == NULL) {
        m->w = wr_init(m->p, sizeof m->p);
    }
    wr_bytes(&m->w, p, n);
    cr_assert(wr_ok(&m->w));
}

static void add_text(struct msg *m, const char *s)
{
    add(m, s, strlen(s));
}

static const uint8_t six[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 7};
static const uint8_t mapped[16] = {[10] = 0xff, [11] = 0xff, 8, 8, 8, 8};

static void add_addr6(struct msg *m, const uint8_t ip6[16])
{
    add(m, ip6, 16);
    add_text(m, "\x1a\xe1");
}

Test(krpc, addresses_of_a_reply)
{
    static struct msg raw;
    struct krpc_msg m;
    struct krpc_node node;
    struct addr a;
    size_t pos = 0;
    add_text(&raw, "d2:ip6:\x7f\x01\x02\x03\x1a\xe1"
                   "1:rd2:id20:" ID "5:nodes52:" ID "\x01\x02\x03\x04\x1a\xe1" OTHER
                   "\x05\x06\x07\x08\x1a\xe2"
                   "6:nodes676:" ID);
    add_addr6(&raw, mapped);
    add_text(&raw, OTHER);
    add_addr6(&raw, six);
    add_text(&raw, "6:valuesl6:\x01\x02\x03\x04\x1a\xe1"
                   "5:shorti4e18:");
    add_addr6(&raw, mapped);
    add_text(&raw, "le18:");
    add_addr6(&raw, six);
    add_text(&raw, "ee1:t0:1:y1:re");
    cr_assert_eq(krpc_decode(raw.p, raw.w.len, &m), 0);
    cr_assert_eq(m.has, KRPC_ID | KRPC_NODES | KRPC_NODES6 | KRPC_VALUES);
    cr_assert_eq(m.t.n, 0, "an empty transaction id is one");
    struct addr want = ip("127.1.2.3");
    want.port = 6881;
    cr_assert(addr_eq(&m.ip, &want));

    cr_assert(krpc_node_next(&m.nodes, 4, &node) && id_is(&node.id, ID));
    cr_assert(node.addr.port == 6881 && node.addr.ip[3] == 4);
    cr_assert(krpc_node_next(&m.nodes, 4, &node) && id_is(&node.id, OTHER));
    cr_assert(node.addr.port == 6882 && node.addr.ip[3] == 8);
    cr_assert_not(krpc_node_next(&m.nodes, 4, &node));

    cr_assert(krpc_node_next(&m.nodes6, 6, &node) && id_is(&node.id, OTHER),
              "the IPv4-mapped one is passed over");
    cr_assert(node.addr.family == 6 && node.addr.ip[15] == 7 && node.addr.port == 6881);
    cr_assert_not(krpc_node_next(&m.nodes6, 6, &node));

    cr_assert(krpc_peer_next(&m.values, &pos, &a) && a.family == 4 && a.port == 6881);
    cr_assert(krpc_peer_next(&m.values, &pos, &a) && a.family == 6 && a.port == 6881);
    cr_assert_not(krpc_peer_next(&m.values, &pos, &a));
}

/* The kind hangs on y alone, whatever else is there. */
Test(krpc, kind_is_what_y_says)
{
    static const char form[] =
        "d1:ad2:id20:" ID "e1:eli203e2:noe1:q4:ping1:rd2:id20:" OTHER "e1:t2:aa1:y1:?e";
    char text[sizeof form];
    memcpy(text, form, sizeof form);
    char *y = strchr(text, '?');
    *y = 'e';
    struct krpc_msg m = good(text);
    cr_assert_eq(m.kind, KRPC_ERROR);
    cr_assert_eq(m.code, 203);
    cr_assert(is(m.text, "no"));
    cr_assert_eq(m.has, 0, "an error has no fields");
    *y = 'q';
    m = good(text);
    cr_assert_eq(m.kind, KRPC_QUERY);
    cr_assert_eq(m.method, KRPC_PING);
    cr_assert(id_is(&m.id, ID));
    *y = 'r';
    m = good(text);
    cr_assert_eq(m.kind, KRPC_REPLY);
    cr_assert_eq(m.method, KRPC_OTHER);
    cr_assert(id_is(&m.id, OTHER));
    *y = 'z';
    refused("another y", text, strlen(text));
}

Test(krpc, errors_of_any_shape)
{
    static const struct {
        const char *text, *said;
        int code;
    } cases[] = {
        {"d1:eli204e7:unknowne1:t1:a1:y1:ee", "unknown", 204},
        {"d1:eli204ee1:t1:a1:y1:ee", "", 204},
        {"d1:ele1:t1:a1:y1:ee", "", 0},
        {"d1:el2:noi204ee1:t1:a1:y1:ee", "", 0},
        {"d1:e2:no1:t1:a1:y1:ee", "", 0},
        {"d1:t1:a1:y1:ee", "", 0},
        {"d1:eli-5e1:xi7ee1:t1:a1:y1:ee", "x", -5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct krpc_msg m = good(cases[i].text);
        cr_assert_eq(m.kind, KRPC_ERROR);
        cr_assert_eq(m.code, cases[i].code, "%s", cases[i].text);
        cr_assert(is(m.text, cases[i].said), "%s", cases[i].text);
    }
}

/* What a field holds decides between has and bad; the message is read either way. */
Test(krpc, fields_that_are_not_what_they_should_be)
{
    static const struct {
        const char *field;
        uint32_t has, bad;
    } cases[] = {
        {"2:id19:abcdefghij012345678", 0, KRPC_ID},
        {"2:id21:" ID "a", 0, KRPC_ID},
        {"2:idi5e", 0, KRPC_ID},
        {"2:id020:" ID, 0, KRPC_ID},
        {"2:idle", 0, KRPC_ID},
        {"9:info_hashi3e", 0, KRPC_INFO_HASH},
        {"6:target20:" ID, KRPC_TARGET, 0},
        {"4:porti0e", KRPC_PORT, 0},
        {"4:porti65535e", KRPC_PORT, 0},
        {"4:porti65536e", 0, KRPC_PORT},
        {"4:porti70000e", 0, KRPC_PORT},
        {"4:porti-1e", 0, KRPC_PORT},
        {"4:porti007e", 0, KRPC_PORT},
        {"4:port4:6881", 0, KRPC_PORT},
        {"1:pi70000e", 0, KRPC_P},
        {"3:seqi0e", KRPC_SEQ, 0},
        {"3:seqi9223372036854775807e", KRPC_SEQ, 0},
        {"3:seqi9223372036854775808e", 0, KRPC_SEQ},
        {"3:seqi-1e", 0, KRPC_SEQ},
        {"3:casi-1e", KRPC_CAS, 0},
        {"3:casi9223372036854775808e", 0, KRPC_CAS},
        {"5:token0:", 0, KRPC_TOKEN},
        {"5:token1:x", KRPC_TOKEN, 0},
        {"5:token64:" ID ID ID "abcd", KRPC_TOKEN, 0},
        {"5:token65:" ID ID ID "abcde", 0, KRPC_TOKEN},
        {"4:salt0:", KRPC_SALT, 0},
        {"4:salt65:" ID ID ID "abcde", KRPC_SALT, 0},
        {"1:k31:" ID "abcdefghijk", 0, KRPC_K},
        {"1:k32:" ID "abcdefghijkl", KRPC_K, 0},
        {"3:sig63:" ID ID ID "abc", 0, KRPC_SIG},
        {"3:sig64:" ID ID ID "abcd", KRPC_SIG, 0},
        {"5:nodes0:", KRPC_NODES, 0},
        {"5:nodes27:" ID "abcdefg", 0, KRPC_NODES},
        {"5:nodesle", 0, KRPC_NODES},
        {"6:nodes626:" ID "abcdef", 0, KRPC_NODES6},
        {"7:samples20:" ID, KRPC_SAMPLES, 0},
        {"7:samples21:" ID "a", 0, KRPC_SAMPLES},
        {"6:valuesle", KRPC_VALUES, 0},
        {"6:values6:abcdef", 0, KRPC_VALUES},
        {"4:wantle", KRPC_WANT, 0},
        {"4:want2:n4", 0, KRPC_WANT},
        {"1:v0:", KRPC_V, 0},
        {"1:vi-0e", KRPC_V, 0},
        {"4:seedi-7e", KRPC_SEED, 0},
        {"4:BFsd3:abc", 0, 0},
        {"4:BFpe3:abc", 0, KRPC_BFPE},
        {"3:xyzi1e", 0, 0},
        {"02:id20:" ID, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int reply = 0; reply < 2; reply++) {
            char text[512];
            (void)snprintf(text, sizeof text,
                           reply ? "d1:rd%se1:t2:aa1:y1:re" : "d1:ad%se1:t2:aa1:y1:qe",
                           cases[i].field);
            struct krpc_msg m = good(text), zero = {0};
            uint32_t bad = strstr(text, "BFsd") ? KRPC_BFSD : cases[i].bad;
            cr_assert_eq(m.has, cases[i].has, "%s", text);
            cr_assert_eq(m.bad, bad, "%s", text);
            cr_assert(m.has != 0 || (memcmp(&m.id, &zero.id, sizeof m.id) == 0 &&
                                     m.port == 0 && m.seq == 0 && m.token.p == NULL),
                      "%s: no trace of it", text);
        }
    }
}

Test(krpc, wanted_families)
{
    static const struct {
        const char *list;
        uint8_t want;
    } cases[] = {
        {"l2:n4e", KRPC_N4},
        {"l2:n6e", KRPC_N6},
        {"l2:n42:n6e", 3},
        {"l2:x92:n4i7e0:2:n4e", KRPC_N4},
        {"l2:n62:N43:n4 e", KRPC_N6},
        {"l2:xxe", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[128];
        (void)snprintf(text, sizeof text, "d1:ad4:want%se1:q4:ping1:t2:aa1:y1:qe",
                       cases[i].list);
        struct krpc_msg m = good(text);
        cr_assert_eq(m.has, KRPC_WANT);
        cr_assert_eq(m.want, cases[i].want, "%s", text);
    }
}

/* The bytes of v are hashed and signed, so they stay as they came. */
Test(krpc, v_is_kept_as_it_came)
{
    static const char *const values[] = {
        "0:",
        "3:abc",
        "i7e",
        "i-0e",
        "i007e",
        "le",
        "d1:bi1e1:ai2ee",
        "003:abc",
        "d1:ali1ei99999999999999999999eee",
        "lllllllleeeeeeee",
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char text[256];
        (void)snprintf(text, sizeof text, "d1:ad1:v%se1:q3:put1:t2:aa1:y1:qe", values[i]);
        struct krpc_msg m = good(text);
        cr_assert_eq(m.method, KRPC_PUT);
        cr_assert(is(m.v, values[i]), "%s", values[i]);
    }
}

Test(krpc, sloppy_senders_are_read)
{
    struct krpc_msg m = good("d1:y1:q1:t2:aa1:q4:ping1:ad1:zle2:id20:" ID "ee");
    cr_assert(m.method == KRPC_PING && id_is(&m.id, ID), "keys in any order");
    m = good("d1:ad2:id20:" ID "1:xi9999999999999999999999ee1:q4:ping1:t2:aa1:y1:qe");
    cr_assert(m.method == KRPC_PING && id_is(&m.id, ID), "huge numbers elsewhere");
    m = good("d1:ad2:id20:" ID "1:xi1e1:xi2ee1:q4:ping1:t2:aa1:y1:q1:z0:1:z0:e");
    cr_assert(m.method == KRPC_PING && id_is(&m.id, ID), "an unknown key twice");
    m = good("d1:ad2:id20:" ID "1:x"
             "llllllll"
             "eeeeeeee"
             "e1:q4:ping1:t2:aa1:y1:qe");
    cr_assert(m.method == KRPC_PING, "ten levels");
    m = good("d1:q4:ping1:t2:aa1:y1:qe");
    cr_assert(m.method == KRPC_PING && m.has == 0, "no arguments");
    m = good("d1:ale1:q4:ping1:t2:aa1:y1:qe");
    cr_assert(m.method == KRPC_PING && m.has == 0, "arguments that are a list");
    m = good("d1:ade1:t2:aa1:y1:qe");
    cr_assert(m.method == KRPC_OTHER && m.q.p == NULL, "no method");
    m = good("d1:ade1:qi4e1:t2:aa1:y1:qe");
    cr_assert(m.method == KRPC_OTHER && m.q.p == NULL, "a method that is a number");
    m = good("d1:ade1:q9:find_nodf1:t2:aa1:y1:qe");
    cr_assert(m.method == KRPC_OTHER && is(m.q, "find_nodf"));
    m = good("d2:ip5:abcde1:rde2:ro2:no1:t2:aa1:vi3e1:y1:re");
    cr_assert(m.kind == KRPC_REPLY && m.ip.family == 0 && !m.ro && m.version.p == NULL);
    m = good("d1:rde2:roi0e1:t2:aa1:y1:re");
    cr_assert_not(m.ro);
}

Test(krpc, what_is_no_message)
{
    static const char *const bad[] = {
        "",
        "d",
        "de",
        "l4:pinge",
        "i42e",
        "4:ping",
        "d1:ade1:q4:ping1:y1:qe",
        "d1:ade1:q4:ping1:ti5e1:y1:qe",
        "d1:ade1:q4:ping1:t2:aae",
        "d1:ade1:q4:ping1:t2:aa1:yi1ee",
        "d1:ade1:q4:ping1:t2:aa1:y0:e",
        "d1:ade1:q4:ping1:t2:aa1:y2:qqe",
        "d1:ade1:q4:ping1:t2:aa1:y1:ze",
        "d1:ade1:q4:ping1:t2:aa1:y1:qexyz",
        "d1:ade1:q4:ping1:t2:aa1:y1:qed1:y1:qe",
        "d1:t2:aa1:y1:re",
        "d1:rle1:t2:aa1:y1:re",
        "d1:r2:id1:t2:aa1:y1:re",
        "d1:ade1:q4:ping1:t2:aa1:t2:bb1:y1:qe",
        "d1:ade1:ade1:q4:ping1:t2:aa1:y1:qe",
        "d1:ad2:id20:" ID "2:id20:" ID "e1:q4:ping1:t2:aa1:y1:qe",
        "d1:ad2:id2:no2:id20:" ID "e1:q4:ping1:t2:aa1:y1:qe",
        "d1:adi1e2:id20:" ID "e1:q4:ping1:t2:aa1:y1:qe",
        "d1:ad2:ide1:q4:ping1:t2:aa1:y1:qe",
        "d1:ad2:id-20:" ID "e1:q4:ping1:t2:aa1:y1:qe",
        "d1:ad2:id18446744073709551636:" ID "e1:q4:ping1:t2:aa1:y1:qe",
        "d1:ad2:id20:" ID "1:xiee1:q4:ping1:t2:aa1:y1:qe",
        "d1:ad2:id20:" ID "1:x"
        "lllllllll"
        "eeeeeeeee"
        "e1:q4:ping1:t2:aa1:y1:qe",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        refused(bad[i], bad[i], strlen(bad[i]));
    }
    for (size_t n = KRPC_TID_MAX; n <= KRPC_TID_MAX + 1; n++) {
        struct msg m = {0};
        char text[64 + KRPC_TID_MAX];
        struct krpc_msg out;
        (void)snprintf(text, sizeof text, "d1:ade1:q4:ping1:t%zu:%0*d1:y1:qe", n, (int)n,
                       7);
        add_text(&m, text);
        cr_assert_eq(krpc_decode(m.p, m.w.len, &out), n > KRPC_TID_MAX ? ERR_FORMAT : 0);
        cr_assert(n > KRPC_TID_MAX || out.t.n == n);
    }
}

Test(krpc, a_datagram_has_a_limit)
{
    static uint8_t p[KRPC_RECV_MAX + 1];
    for (size_t len = KRPC_RECV_MAX; len <= KRPC_RECV_MAX + 1; len++) {
        struct krpc_msg m;
        struct wr w = wr_init(p, sizeof p);
        char head[32];
        (void)snprintf(head, sizeof head, "d1:rd1:x%zu:", len - 28);
        wr_bytes(&w, head, strlen(head));
        wr_zero(&w, len - 28);
        wr_bytes(&w, "e1:t2:aa1:y1:re", 15);
        cr_assert_eq(w.len, len);
        cr_assert_eq(krpc_decode(p, w.len, &m), len > KRPC_RECV_MAX ? ERR_FORMAT : 0);
    }
}

static void encodes(const struct krpc_msg *m, const char *want)
{
    uint8_t out[KRPC_SEND_MAX];
    struct ben v;
    size_t n = krpc_encode(m, out, sizeof out);
    cr_assert(n == strlen(want) && memcmp(out, want, n) == 0, "%.*s, not %s", (int)n, out,
              want);
    cr_assert(bencode_check(out, n, &v), "canonical");
    cr_assert_eq(krpc_encode(m, out, n), n);
    for (size_t cap = 0; cap < n && (m->has & (KRPC_NODES | KRPC_NODES6)) == 0; cap++) {
        cr_assert_eq(krpc_encode(m, out, cap), 0, "%zu bytes are too few", cap);
    }
}

static struct krpc_msg query(enum krpc_method method)
{
    struct krpc_msg m;
    struct dht_id id = id_of(ID);
    krpc_query_init(&m, method, "wxyz", 4, &id);
    m.version = (struct krpc_view){(const uint8_t *)"LN01", 4};
    return m;
}

#define SIG ID ID ID "abcd"
#define KEY ID "abcdefghijkl"

Test(krpc, queries_are_canonical)
{
    struct krpc_msg m = query(KRPC_PING);
    m.ro = true;
    encodes(&m, "d1:ad2:id20:" ID "e1:q4:ping2:roi1e1:t4:wxyz1:v4:LN011:y1:qe");

    m = query(KRPC_FIND_NODE);
    m.target = id_of(OTHER);
    m.want = KRPC_N4 | KRPC_N6;
    m.has |= KRPC_TARGET | KRPC_WANT;
    encodes(&m, "d1:ad2:id20:" ID "6:target20:" OTHER "4:wantl2:n42:n6ee1:q9:find_node"
                "1:t4:wxyz1:v4:LN011:y1:qe");

    m = query(KRPC_GET_PEERS);
    m.info_hash = id_of(OTHER);
    m.noseed = m.scrape = 1;
    m.has |= KRPC_INFO_HASH | KRPC_NOSEED | KRPC_SCRAPE;
    encodes(&m, "d1:ad2:id20:" ID "9:info_hash20:" OTHER "6:noseedi1e6:scrapei1ee"
                "1:q9:get_peers1:t4:wxyz1:v4:LN011:y1:qe");

    m = query(KRPC_ANNOUNCE_PEER);
    m.info_hash = id_of(OTHER);
    m.port = 65535;
    m.implied_port = m.seed = 1;
    m.token = (struct krpc_view){(const uint8_t *)"tokn", 4};
    m.has |= KRPC_INFO_HASH | KRPC_PORT | KRPC_IMPLIED_PORT | KRPC_SEED | KRPC_TOKEN;
    encodes(&m, "d1:ad2:id20:" ID "12:implied_porti1e9:info_hash20:" OTHER
                "4:porti65535e4:seedi1e5:token4:tokne1:q13:announce_peer"
                "1:t4:wxyz1:v4:LN011:y1:qe");

    m = query(KRPC_GET);
    m.target = id_of(OTHER);
    m.has |= KRPC_TARGET | KRPC_SEQ;
    encodes(&m, "d1:ad2:id20:" ID "3:seqi0e6:target20:" OTHER
                "e1:q3:get1:t4:wxyz1:v4:LN011:y1:qe");

    m = query(KRPC_PUT);
    m.cas = 3;
    m.seq = INT64_MAX;
    m.k = (const uint8_t *)KEY;
    m.sig = (const uint8_t *)SIG;
    m.salt = (struct krpc_view){(const uint8_t *)"s", 1};
    m.token = (struct krpc_view){(const uint8_t *)"tokn", 4};
    m.v = (struct krpc_view){(const uint8_t *)"d1:ai1ee", 8};
    m.has |= KRPC_CAS | KRPC_SEQ | KRPC_K | KRPC_SIG | KRPC_SALT | KRPC_TOKEN | KRPC_V;
    encodes(&m, "d1:ad3:casi3e2:id20:" ID "1:k32:" KEY
                "4:salt1:s3:seqi9223372036854775807e3:sig64:" SIG
                "5:token4:tokn1:vd1:ai1eee1:q3:put1:t4:wxyz1:v4:LN011:y1:qe");

    m = query(KRPC_SAMPLE_INFOHASHES);
    m.target = id_of(OTHER);
    m.has |= KRPC_TARGET;
    encodes(&m, "d1:ad2:id20:" ID "6:target20:" OTHER
                "e1:q17:sample_infohashes1:t4:wxyz1:v4:LN011:y1:qe");
}

Test(krpc, our_version_names_us)
{
    struct krpc_msg m, back;
    struct dht_id id = id_of(ID);
    uint8_t out[256];
    krpc_query_init(&m, KRPC_PING, "a", 1, &id);
    cr_assert_eq(krpc_decode(out, krpc_encode(&m, out, sizeof out), &back), 0);
    cr_assert_null(back.version.p); /* nobody is told what runs here */
}

Test(krpc, replies_and_errors)
{
    struct krpc_msg q = good("d1:ad2:id20:" OTHER "e1:q4:ping1:t2:aa1:y1:qe"), m;
    struct dht_id id = id_of(ID);
    struct addr from = ip("97.98.99.100:25958"), six_from = {.family = 6, .port = 25958};
    struct krpc_view version = {(const uint8_t *)"LN01", 4};
    krpc_reply_init(&m, &q, &from, &id);
    m.version = version;
    encodes(&m, "d2:ip6:abcdef1:rd2:id20:" ID "e1:t2:aa1:v4:LN011:y1:re");

    memcpy(six_from.ip, ID, 16);
    krpc_reply_init(&m, &q, &six_from, &id);
    m.version = version;
    m.token = (struct krpc_view){(const uint8_t *)"tokentok", 8};
    m.nodes = (struct krpc_view){NULL, 0};
    m.nodes6 = (struct krpc_view){(const uint8_t *)ID ID, 38};
    m.values = (struct krpc_view){(const uint8_t *)"l6:abcdefe", 10};
    m.samples = (struct krpc_view){(const uint8_t *)ID, 20};
    m.interval = 600;
    m.num = 1;
    m.p = 7;
    m.has |= KRPC_TOKEN | KRPC_NODES | KRPC_NODES6 | KRPC_VALUES | KRPC_SAMPLES |
             KRPC_INTERVAL | KRPC_NUM | KRPC_P;
    encodes(&m, "d2:ip18:abcdefghij012345ef1:rd2:id20:" ID
                "8:intervali600e5:nodes0:6:nodes638:" ID "abcdefghij01234567"
                "3:numi1e1:pi7e7:samples20:" ID "5:token8:tokentok6:valuesl6:abcdefee"
                "1:t2:aa1:v4:LN011:y1:re");

    krpc_error_init(&m, &q, &from, KRPC_E_METHOD, "Method Unknown");
    m.version = version;
    encodes(&m, "d1:eli204e14:Method Unknowne2:ip6:abcdef1:t2:aa1:v4:LN011:y1:ee");
}

/* Nodes are left out from the ends, the longer list first, when a message would not fit.
 */
Test(krpc, nodes_give_way)
{
    static const uint8_t nodes[8 * KRPC_NODE4_LEN], nodes6[8 * KRPC_NODE6_LEN];
    uint8_t out[KRPC_SEND_MAX];
    struct krpc_msg q = good("d1:ad2:id20:" OTHER "e1:q4:ping1:t2:aa1:y1:qe"), m, back;
    struct addr from = ip("1.2.3.4:5");
    struct dht_id id = id_of(ID);
    krpc_reply_init(&m, &q, &from, &id);
    m.nodes = (struct krpc_view){nodes, sizeof nodes};
    m.nodes6 = (struct krpc_view){nodes6, sizeof nodes6};
    m.has |= KRPC_NODES | KRPC_NODES6;
    size_t whole = krpc_encode(&m, out, sizeof out), least = 0;
    cr_assert_gt(whole, sizeof nodes + sizeof nodes6);
    for (size_t cap = whole; cap > 0; cap--) {
        size_t n = krpc_encode(&m, out, cap);
        cr_assert_leq(n, cap);
        if (n == 0) {
            least = cap;
            break;
        }
        cr_assert_eq(krpc_decode(out, n, &back), 0);
        cr_assert_eq(back.has, m.has);
        cr_assert(whole - n == 0 || back.nodes6.n < sizeof nodes6);
        cr_assert_leq(back.nodes6.n,
                      back.nodes.n + KRPC_NODE6_LEN + sizeof nodes6 - sizeof nodes);
        cr_assert_lt(cap - n, KRPC_NODE6_LEN + 2, "no more than needed");
    }
    cr_assert_eq(m.nodes.n, sizeof nodes, "the message itself stays");
    cr_assert_lt(least, whole - sizeof nodes - sizeof nodes6);
}

Test(krpc, what_cannot_be_written)
{
    uint8_t out[256];
    struct krpc_msg m = query(KRPC_PING);
    m.has |= (uint32_t)KRPC_WANT << 1;
    cr_assert_eq(krpc_encode(&m, out, sizeof out), 0, "a bit without a field");
    m = query(KRPC_PING);
    m.t.n = KRPC_TID_MAX + 1;
    cr_assert_eq(krpc_encode(&m, out, sizeof out), 0);
    m = query(KRPC_PUT);
    m.has |= KRPC_K;
    cr_assert_eq(krpc_encode(&m, out, sizeof out), 0, "a field without a value");
    m = query(KRPC_PUT);
    m.has |= KRPC_V;
    cr_assert_eq(krpc_encode(&m, out, sizeof out), 0);
    m = query(KRPC_PUT);
    m.seq = -1;
    m.has |= KRPC_SEQ;
    cr_assert_eq(krpc_encode(&m, out, sizeof out), 0);
    m = query(KRPC_OTHER);
    cr_assert_eq(krpc_encode(&m, out, sizeof out), 0, "a query without a method");
    m.q = (struct krpc_view){(const uint8_t *)"vote", 4};
    cr_assert_gt(krpc_encode(&m, out, sizeof out), 0);
    m.nodes = (struct krpc_view){(const uint8_t *)ID, 20};
    m.has |= KRPC_NODES;
    cr_assert_eq(krpc_encode(&m, out, sizeof out), 0, "half a node");
}

Test(krpc, compact_addresses)
{
    uint8_t out[KRPC_NODE6_LEN];
    struct addr a = ip("1.2.3.4:258"), back, none = {0};
    struct krpc_node node = {.id = id_of(ID), .addr = a};
    cr_assert_eq(krpc_pack_addr(&a, out), KRPC_ADDR4_LEN);
    cr_assert_arr_eq(out, "\1\2\3\4\1\2", 6);
    cr_assert(krpc_unpack_addr(out, 6, &back) && addr_eq(&a, &back));
    cr_assert_eq(krpc_pack_node(&node, out), KRPC_NODE4_LEN);
    cr_assert_arr_eq(out, ID "\1\2\3\4\1\2", 26);
    node.addr = (struct addr){.family = 6, .port = 258};
    memcpy(node.addr.ip, six, sizeof six);
    cr_assert_eq(krpc_pack_node(&node, out), KRPC_NODE6_LEN);
    cr_assert(krpc_unpack_addr(out + 20, 18, &back) && addr_eq(&node.addr, &back));
    cr_assert_eq(krpc_pack_addr(&none, out), 0);
    node.addr = none;
    cr_assert_eq(krpc_pack_node(&node, out), 0);
    for (size_t n = 0; n < sizeof out; n++) {
        cr_assert_eq(krpc_unpack_addr(out, n, &back), n == 6 || n == 18);
    }
}
