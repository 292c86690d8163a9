/* Presence, typing and live typing. */
#include "wire_check.h"

static uint8_t out[65536];

#define CONV "1:c32:" X32("c")

/* ---- presence ---- */

static bool dec_presence(const uint8_t *p, size_t len)
{
    struct wire_presence v;
    return wire_presence_get(p, len, &v);
}

static bool puts_presence(const struct wire_presence *v)
{
    struct wr w = wr_init(out, sizeof out);
    wire_presence_put(&w, v);
    return wr_ok(&w);
}

#define PRESENCE "d1:pi1e1:ri7e1:s13:out for lunche"

Test(wire_presence, presence)
{
    struct wire_presence got,
        v = {PRESENCE_AWAY, 7, (const uint8_t *)"out for lunch", 13};
    struct wr w = wr_init(out, sizeof out);
    wire_presence_put(&w, &v);
    check_text(&w, PRESENCE);
    cr_assert(wire_presence_get(out, w.len, &got));
    cr_assert_eq(got.state, PRESENCE_AWAY);
    cr_assert_eq(got.revision, 7);
    cr_assert_eq(got.status_len, 13);
    cr_assert_arr_eq(got.status, "out for lunch", 13);
    check_dict(dec_presence, PRESENCE);
}

Test(wire_presence, presence_without_a_text)
{
    struct wire_presence got, v = {.state = PRESENCE_INVISIBLE};
    struct wr w = wr_init(out, sizeof out);
    wire_presence_put(&w, &v);
    check_text(&w, "d1:pi3e1:ri0ee");
    cr_assert(wire_presence_get(out, w.len, &got));
    cr_assert_null(got.status);
    cr_assert(!decodes_text(dec_presence, "d1:pi8e1:ri0ee"));
    cr_assert(decodes_text(dec_presence, "d1:pi7e1:ri0ee"));
    cr_assert(!decodes_text(dec_presence, "d1:pi0ee"));
    cr_assert(!decodes_text(dec_presence, "d1:ri0ee"));
    cr_assert(!decodes_text(dec_presence, "d1:pi0e1:ri0e1:s0:e"));
    v.state = PRESENCE_STATE_MAX + 1;
    cr_assert(!puts_presence(&v));
}

Test(wire_presence, status_text)
{
    char longest[WIRE_STATUS_MAX + 2];
    memset(longest, 'x', sizeof longest);
    cr_assert(wire_status_ok((const uint8_t *)longest, WIRE_STATUS_MAX));
    cr_assert(!wire_status_ok((const uint8_t *)longest, WIRE_STATUS_MAX + 1));
    cr_assert(!wire_status_ok((const uint8_t *)"", 0));
    cr_assert(!wire_status_ok((const uint8_t *)" ", 1));
    cr_assert(!decodes_with(dec_presence, PRESENCE, "13:out for", "13:out\nfor"));
    cr_assert(!decodes_with(dec_presence, PRESENCE, "13:out for", "13:out\033for"));
    cr_assert(!decodes_with(dec_presence, PRESENCE, "13:out for lunch",
                            "16:out\xe2\x80\xae"
                            "for lunch"));
    struct wire_presence v = {.status = (const uint8_t *)longest,
                              .status_len = WIRE_STATUS_MAX + 1};
    cr_assert(!puts_presence(&v));
}

Test(wire_presence, beacon_byte)
{
    struct wire_presence v = {.state = PRESENCE_ONLINE};
    cr_assert_eq(wire_presence_byte(&v), 0);
    v = (struct wire_presence){PRESENCE_BUSY, 0x23, (const uint8_t *)"x", 1};
    cr_assert_eq(wire_presence_byte(&v), 0x3a);
    v = (struct wire_presence){PRESENCE_AWAY, 15, NULL, 0};
    cr_assert_eq(wire_presence_byte(&v), 0xf1);
}

/* ---- typing ---- */

static bool dec_typing(const uint8_t *p, size_t len)
{
    struct wire_typing v;
    return wire_typing_get(p, len, &v);
}

#define TYPING "d" CONV "1:si1ee"

Test(wire_presence, typing)
{
    struct wire_typing got, v = {.typing = true};
    struct wr w = wr_init(out, sizeof out);
    memset(v.conv, 'c', sizeof v.conv);
    wire_typing_put(&w, &v);
    check_text(&w, TYPING);
    cr_assert(wire_typing_get(out, w.len, &got));
    cr_assert_arr_eq(got.conv, v.conv, WIRE_ID);
    cr_assert(got.typing);
    check_dict(dec_typing, TYPING);
    cr_assert(decodes_with(dec_typing, TYPING, "si1e", "si0e"));
    cr_assert(!decodes_with(dec_typing, TYPING, "si1e", "si2e"));
    cr_assert(!decodes_text(dec_typing, "d1:si1ee"));
    cr_assert(!decodes_text(dec_typing, "d" CONV "e"));
}

/* ---- live ---- */

static bool dec_live(const uint8_t *p, size_t len)
{
    struct wire_live v;
    return wire_live_get(p, len, &v);
}

static bool puts_live(const struct wire_live *v)
{
    struct wr w = wr_init(out, sizeof out);
    wire_live_put(&w, v);
    return wr_ok(&w);
}

#define LIVE "d" CONV "1:ni9e1:oi1e1:s5:hell\ne"

Test(wire_presence, live)
{
    struct wire_live got, v = {
                              .n = 9,
                              .on = true,
                              .text = (const uint8_t *)"hell\n",
                              .text_len = 5,
                          };
    struct wr w = wr_init(out, sizeof out);
    memset(v.conv, 'c', sizeof v.conv);
    wire_live_put(&w, &v);
    check_text(&w, LIVE);
    cr_assert(wire_live_get(out, w.len, &got));
    cr_assert_arr_eq(got.conv, v.conv, WIRE_ID);
    cr_assert_eq(got.n, 9);
    cr_assert(got.on);
    cr_assert_eq(got.text_len, 5);
    cr_assert_arr_eq(got.text, "hell\n", 5);
    check_dict(dec_live, LIVE);
}

Test(wire_presence, live_without_a_text_and_what_is_refused)
{
    struct wire_live got, v = {.n = 10};
    struct wr w = wr_init(out, sizeof out);
    memset(v.conv, 'c', sizeof v.conv);
    wire_live_put(&w, &v);
    check_text(&w, "d" CONV "1:ni10e1:oi0ee");
    cr_assert(wire_live_get(out, w.len, &got));
    cr_assert(!got.on);
    cr_assert_null(got.text);
    cr_assert(!decodes_with(dec_live, LIVE, "oi1e", "oi2e"));
    cr_assert(!decodes_with(dec_live, LIVE, "1:ni9e", ""));
    cr_assert(!decodes_with(dec_live, LIVE, "1:s5:hell\n", "1:s0:"));
    cr_assert(!decodes_with(dec_live, LIVE, "hell\n", "hel\xc3\n"));
    static uint8_t text[WIRE_TEXT_MAX + 1];
    memset(text, 'x', sizeof text);
    v.text = text;
    v.text_len = WIRE_TEXT_MAX;
    cr_assert(puts_live(&v));
    v.text_len = WIRE_TEXT_MAX + 1;
    cr_assert(!puts_live(&v));
    v.text_len = 0;
    cr_assert(!puts_live(&v));
}
