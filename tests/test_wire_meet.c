/* Whereabouts, knocks, and the items that hold them. */
#include "wire_check.h"

#include <sodium.h>

static uint8_t out[4096];

#define A4                                                                               \
    "7:\x04"                                                                             \
    "abcd\x1d\xff"
#define A6 "19:\x06" X16("x") "\x1d\xff"
#define WHERE "d1:ll" A4 A6 "e1:ni2e1:rll16:" X16("g") A4 "ee1:ul" A4 "ee"
#define KNOCK "d1:ll" A4 "e1:ni0e1:rle1:ti1700000000000e1:ulee"
#define OWN "d1:lle1:ni1e1:p64:" X32("p") X32("a") "1:rle1:ulee"

static bool dec_where(const uint8_t *p, size_t len)
{
    struct wire_where v;
    return wire_where_get(p, len, &v);
}

static struct addr at(const char *s)
{
    struct addr a;
    cr_assert_eq(addr_parse(s, 0, &a), 0);
    return a;
}

static struct addr four(void)
{
    return at("97.98.99.100:7679"); /* "abcd" */
}

static struct addr six(void)
{
    return at("[7878:7878:7878:7878:7878:7878:7878:7878]:7679");
}

static struct wire_where sample(void)
{
    struct wire_where v = {.nat = WIRE_NAT_EASY};
    v.links[v.n_links++] = four();
    v.links[v.n_links++] = six();
    v.udp[v.n_udp++] = four();
    memset(v.relays[0].tag, 'g', sizeof v.relays[0].tag);
    v.relays[v.n_relays++].addr = four();
    return v;
}

Test(wire_meet, whereabouts)
{
    struct wire_where v = sample(), got;
    struct wr w = wr_init(out, sizeof out);
    wire_where_put(&w, &v);
    check_text(&w, WHERE);
    cr_assert(wire_where_get(out, w.len, &got));
    cr_assert(got.n_links == 2 && got.n_udp == 1 && got.n_relays == 1);
    cr_assert(addr_eq(&got.links[0], &v.links[0]) && addr_eq(&got.links[1], &v.links[1]));
    cr_assert(addr_eq(&got.udp[0], &v.udp[0]));
    cr_assert(addr_eq(&got.relays[0].addr, &v.relays[0].addr));
    cr_assert_arr_eq(got.relays[0].tag, v.relays[0].tag, BLIND_RELAY_TAG);
    cr_assert(got.nat == WIRE_NAT_EASY && got.time_ms == 0 && !got.has_presence);
    check_dict(dec_where, WHERE);
}

Test(wire_meet, knock)
{
    struct wire_where v = {.time_ms = 1700000000000}, got;
    struct wr w = wr_init(out, sizeof out);
    v.links[v.n_links++] = four();
    wire_where_put(&w, &v);
    check_text(&w, KNOCK);
    cr_assert(wire_where_get(out, w.len, &got));
    cr_assert_eq(got.time_ms, 1700000000000);
    check_dict(dec_where, KNOCK);
    cr_assert(!decodes_with(dec_where, KNOCK, "i1700000000000e", "i0e"));
    cr_assert(!decodes_with(dec_where, KNOCK, "i1700000000000e", "i-1e"));
    cr_assert(!decodes_with(dec_where, KNOCK, "i1700000000000e", "1:x"));
}

Test(wire_meet, presence_secret)
{
    struct wire_where v = {.nat = WIRE_NAT_NONE, .has_presence = true}, got;
    struct wr w = wr_init(out, sizeof out);
    memset(v.presence_p, 'p', 32);
    memset(v.presence_a, 'a', 32);
    wire_where_put(&w, &v);
    check_text(&w, OWN);
    cr_assert(wire_where_get(out, w.len, &got));
    cr_assert(got.has_presence);
    cr_assert_arr_eq(got.presence_p, v.presence_p, 32);
    cr_assert_arr_eq(got.presence_a, v.presence_a, 32);
    check_dict(dec_where, OWN);
    cr_assert(!decodes_with(dec_where, OWN, "64:p", "63:"));
}

Test(wire_meet, addresses_of_no_use_are_left_out)
{
    struct wire_where got;
    static const char text[] = "d1:ll1:ze1:ni0e1:rle1:ulee";
    uint8_t bad[] = "d1:ll7:\x04"
                    "abcd\x1d\xff"
                    "7:\x04\xe0\x01\x01\x01\x1d\xff" /* multicast */
                    "e1:ni0e1:rle1:ulee";
    cr_assert(wire_where_get((const uint8_t *)text, sizeof text - 1, &got));
    cr_assert_eq(got.n_links, 0);
    cr_assert(wire_where_get(bad, sizeof bad - 1, &got));
    cr_assert_eq(got.n_links, 1);
    cr_assert_eq(got.links[0].ip[0], 'a');
    bad[13] = 0; /* the port of the first */
    bad[12] = 0;
    cr_assert(wire_where_get(bad, sizeof bad - 1, &got));
    cr_assert_eq(got.n_links, 0);
}

Test(wire_meet, refusals)
{
    cr_assert(!decodes_with(dec_where, WHERE, "1:ni2e", "1:ni8e"));
    cr_assert(decodes_with(dec_where, WHERE, "1:ni2e", "1:ni7e"));
    cr_assert(!decodes_with(dec_where, WHERE, "1:ni2e", ""));
    cr_assert(!decodes_with(dec_where, WHERE, A6, "3:\x06xx"));
    cr_assert(!decodes_with(dec_where, WHERE, A6, "0:"));
    cr_assert(!decodes_with(dec_where, WHERE, A6, "i1e"));
    cr_assert(!decodes_with(dec_where, WHERE, "16:" X16("g"), "15:ggggggggggggggg"));
    cr_assert(!decodes_with(dec_where, WHERE, A4 "ee1:u", A4 "1:xee1:u"));
    cr_assert(!decodes_text(dec_where, "d1:ni2e1:rle1:ulee"));
    cr_assert(!decodes_text(dec_where, "d1:lle1:ni2e1:ulee"));
    cr_assert(!decodes_text(dec_where, "d1:lle1:ni2e1:rlee"));
}

static struct wire_where full(void)
{
    struct wire_where v = {.nat = WIRE_NAT_MAX, .time_ms = 9999999999999};
    for (; v.n_links < WIRE_WHERE_ADDRS_MAX; v.n_links++, v.n_udp++) {
        v.links[v.n_links] = six();
        v.udp[v.n_udp] = six();
    }
    for (; v.n_relays < WIRE_WHERE_RELAYS_MAX; v.n_relays++) {
        v.relays[v.n_relays].addr = six();
    }
    v.has_presence = true;
    return v;
}

Test(wire_meet, the_largest_fits_a_value)
{
    struct wire_where v = full(), got;
    struct wr w = wr_init(out, WIRE_WHERE_MAX);
    wire_where_put(&w, &v);
    cr_assert(wr_ok(&w));
    cr_assert(wire_where_get(out, w.len, &got));
    cr_assert(got.n_links == v.n_links && got.n_udp == v.n_udp);
    cr_assert_eq(got.n_relays, v.n_relays);
}

static void not_written(const struct wire_where *v, const char *why)
{
    struct wr w = wr_init(out, sizeof out);
    wire_where_put(&w, v);
    cr_assert(!wr_ok(&w), "%s", why);
}

Test(wire_meet, what_no_decoder_would_take_is_not_written)
{
    struct wire_where v = full();
    v.n_links = WIRE_WHERE_ADDRS_MAX + 1;
    not_written(&v, "links");
    v = full();
    v.n_udp = WIRE_WHERE_ADDRS_MAX + 1;
    not_written(&v, "udp");
    v = full();
    v.n_relays = WIRE_WHERE_RELAYS_MAX + 1;
    not_written(&v, "relays");
    v = full();
    v.nat = WIRE_NAT_MAX + 1;
    not_written(&v, "nat");
    v = full();
    v.links[3].family = 0;
    not_written(&v, "no address");
}

Test(wire_meet, one_address_more_than_there_may_be)
{
    char text[1024] = "d1:ll";
    size_t head = strlen(text);
    for (size_t i = 0; i < WIRE_WHERE_ADDRS_MAX; i++) {
        strcat(text, A4);
    }
    strcat(text, "e1:ni0e1:rle1:ulee");
    cr_assert(decodes_text(dec_where, text));
    memmove(text + head + 3, text + head, strlen(text) - head + 1);
    memcpy(text + head, "1:z", 3); /* also one that would be left out */
    cr_assert(!decodes_text(dec_where, text));
}

Test(wire_meet, items)
{
    uint8_t value[BLIND_VALUE], item[WIRE_ITEM_VALUE];
    struct wr w = wr_init(item, sizeof item);
    memset(value, 0xab, sizeof value);
    wire_item_put(&w, value);
    cr_assert(wr_ok(&w));
    cr_assert_eq(w.len, WIRE_ITEM_VALUE);
    cr_assert_arr_eq(item, "720:", 4);
    cr_assert_arr_eq(wire_item_get(item, sizeof item), value, BLIND_VALUE);
    for (size_t i = 0; i < sizeof item; i++) {
        cr_assert_null(wire_item_get(item, i));
    }
    item[0] = '6';
    cr_assert_null(wire_item_get(item, sizeof item));
    memcpy(item, "l716", 4);
    cr_assert_null(wire_item_get(item, sizeof item));
}

/* BEP 44, test 1. */
Test(wire_meet, what_is_signed_of_an_item)
{
    struct wr w = wr_init(out, sizeof out);
    wire_item_signed(&w, 1, (const uint8_t *)"12:Hello World!", 15);
    check_text(&w, "3:seqi1e1:v12:Hello World!");
    uint8_t item[WIRE_ITEM_VALUE] = {0};
    w = wr_init(out, WIRE_ITEM_SIGNED_MAX);
    wire_item_signed(&w, INT64_MAX, item, sizeof item);
    cr_assert(wr_ok(&w));
    w = wr_init(out, sizeof out);
    wire_item_signed(&w, (uint64_t)INT64_MAX + 1, item, sizeof item);
    cr_assert(!wr_ok(&w));
}
