/* Text, names and the bodies of boxes. */
#include "wire_check.h"

static uint8_t out[WIRE_BODY_MAX + 16];

static bool dec_body(const uint8_t *p, size_t len)
{
    struct wire_body v;
    return wire_body_get(p, len, &v);
}

#define TEXT                                                                             \
    "d1:i16:" X16("i") "1:ki1e1:oi77e1:r16:" X16("r") "1:s5:hello1:ti1700000000001ee"
#define TEXT_BARE "d1:i16:" X16("i") "1:ki1e1:s5:hello1:ti1700000000001ee"
#define DEVICE_DICT "d1:b32:" X32("b") "1:c4:CERT1:n5:alice1:ti1700000000ee"
#define DEVICE "d1:ki2e1:v" DEVICE_DICT "e"

#define EDIT                                                                             \
    "d1:i16:" X16("i") "1:ki3e1:m16:" X16("m") "1:oi77e1:s5:hello1:ti1700000000001ee"
#define REACTION                                                                         \
    "d1:a32:" X32("a") "1:i16:" X16("i") "1:ki4e1:m16:" X16(                             \
        "m") "1:oi77e1:s4:\xf0\x9f\x91\x8d"                                              \
             "1:ti1700000000001ee"
#define REACTION_BACK                                                                    \
    "d1:a32:" X32("a") "1:i16:" X16("i") "1:ki4e1:m16:" X16("m") "1:ti1700000000001ee"
#define REDACTION "d1:i16:" X16("i") "1:ki5e1:m16:" X16("m") "1:oi77e1:ti1700000000001ee"

#define OFFER                                                                            \
    "d1:i16:" X16("i") "1:ki6e1:n8:plan.odt1:oi77e1:si1000e1:ti1700000000001e1:xi1ee"
#define OFFER_STREAM "d1:i16:" X16("i") "1:ki6e1:n8:plan.odt1:ti1700000000001ee"
#define OFFER_FOLDER                                                                     \
    "d1:ci3e1:i16:" X16("i") "1:ki6e1:mi40e1:n8:plan.odt1:oi77e1:si1000e"                \
                             "1:ti1700000000001ee"
#define SEALED                                                                           \
    "d1:h32:" X32("h") "1:i16:" X16("i") "1:ki7e1:m16:" X16(                             \
        "m") "1:oi77e1:si1000e1:ti1700000000001ee"
#define FILE_END                                                                         \
    "d1:a32:" X32("a") "1:ei4e1:i16:" X16("i") "1:ki8e1:m16:" X16(                       \
        "m") "1:oi77e1:ti1700000000001ee"

static struct wire_body text(void)
{
    struct wire_body v = {
        .kind = BODY_TEXT,
        .has_order = true,
        .has_reply = true,
        .order = 77,
        .text = (const uint8_t *)"hello",
        .text_len = 5,
        .time_ms = 1700000000001,
    };
    memset(v.mid, 'i', sizeof v.mid);
    memset(v.reply, 'r', sizeof v.reply);
    return v;
}

static struct wr put(const struct wire_body *v)
{
    struct wr w = wr_init(out, sizeof out);
    wire_body_put(&w, v);
    return w;
}

/* The written body is this dictionary and zeros up to a padded length. */
static void check_padded(const struct wr *w, const char *dict)
{
    size_t len = strlen(dict);
    cr_assert(wr_ok(w));
    cr_assert_eq(w->len, wire_body_padded(len));
    cr_assert(memcmp(w->p, dict, len) == 0, "written: %s", (const char *)w->p);
    for (size_t i = len; i < w->len; i++) {
        cr_assert_eq(w->p[i], 0);
    }
}

Test(wire_body, text)
{
    struct wire_body v = text(), got;
    struct wr w = put(&v);
    check_padded(&w, TEXT);
    cr_assert(wire_body_get(out, w.len, &got));
    cr_assert(got.kind == BODY_TEXT && got.has_order && got.has_reply);
    cr_assert(got.order == 77 && got.time_ms == v.time_ms);
    cr_assert_arr_eq(got.mid, v.mid, WIRE_MID);
    cr_assert_arr_eq(got.reply, v.reply, WIRE_MID);
    cr_assert(got.text_len == 5 && memcmp(got.text, "hello", 5) == 0);
    v.has_order = v.has_reply = false;
    w = put(&v);
    check_padded(&w, TEXT_BARE);
    cr_assert(wire_body_get(out, w.len, &got));
    cr_assert(!got.has_order && !got.has_reply);
}

Test(wire_body, device)
{
    struct wire_body v = {.kind = BODY_DEVICE}, got;
    v.device.cert = (const uint8_t *)"CERT";
    v.device.cert_len = 4;
    v.device.box_time = 1700000000;
    memset(v.device.box, 'b', 32);
    memcpy(v.device.name, "alice", 6);
    struct wr w = put(&v);
    check_padded(&w, DEVICE);
    cr_assert(wire_body_get(out, w.len, &got));
    cr_assert_eq(got.kind, (uint64_t)BODY_DEVICE);
    cr_assert_str_eq(got.device.name, "alice");
    cr_assert(!decodes_text(dec_body, "d1:ki2ee"));
    cr_assert(!decodes_with(dec_body, DEVICE, "1:n5:alice", "1:n5:     "));
}

static struct wire_body change(enum body_kind kind)
{
    struct wire_body v = {
        .kind = kind, .has_order = true, .order = 77, .time_ms = 1700000000001};
    memset(v.mid, 'i', sizeof v.mid);
    memset(v.target, 'm', sizeof v.target);
    if (kind == BODY_REACTION) {
        memset(v.author, 'a', sizeof v.author);
        v.text = (const uint8_t *)"\xf0\x9f\x91\x8d";
        v.text_len = 4;
    } else if (kind == BODY_EDIT) {
        v.text = (const uint8_t *)"hello";
        v.text_len = 5;
    }
    return v;
}

Test(wire_body, changes)
{
    static const struct {
        enum body_kind kind;
        const char *dict;
    } cases[] = {
        {BODY_EDIT, EDIT}, {BODY_REACTION, REACTION}, {BODY_REDACTION, REDACTION}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct wire_body v = change(cases[i].kind), got;
        struct wr w = put(&v);
        check_padded(&w, cases[i].dict);
        cr_assert(wire_body_get(out, w.len, &got));
        cr_assert(got.kind == v.kind && got.has_order && got.order == 77);
        cr_assert_eq(got.time_ms, v.time_ms);
        cr_assert_arr_eq(got.mid, v.mid, WIRE_MID);
        cr_assert_arr_eq(got.target, v.target, WIRE_MID);
        cr_assert_arr_eq(got.author, v.author, WIRE_ID);
        cr_assert(got.text_len == v.text_len &&
                  (v.text_len == 0 || memcmp(got.text, v.text, v.text_len) == 0));
        cr_assert(decodes_with(dec_body, cases[i].dict, "1:oi77e", ""), "no order");
        cr_assert(decodes_with(dec_body, cases[i].dict, "1:oi77e", "1:oi77e1:pi1e"));
        cr_assert(!decodes_with(dec_body, cases[i].dict, "1:i16:" X16("i"), ""));
        cr_assert(!decodes_with(dec_body, cases[i].dict, "1:m16:" X16("m"), ""));
        cr_assert(!decodes_with(dec_body, cases[i].dict, "1:ti1700000000001e", ""));
        cr_assert(!decodes_with(dec_body, cases[i].dict, "m16:" X16("m"), "m8:" X8("m")));
    }
    struct wire_body v = change(BODY_REACTION), got;
    v.has_order = false;
    v.text_len = 0;
    struct wr w = put(&v);
    check_padded(&w, REACTION_BACK);
    cr_assert(wire_body_get(out, w.len, &got));
    cr_assert(got.text_len == 0 && !got.has_order);
}

Test(wire_body, changes_refused)
{
    cr_assert(!decodes_with(dec_body, EDIT, "1:s5:hello", ""), "an edit without text");
    cr_assert(!decodes_with(dec_body, EDIT, "1:s5:hello", "1:s0:"));
    cr_assert(!decodes_with(dec_body, EDIT, "hello", "he\xffll"));
    cr_assert(!decodes_with(dec_body, REACTION, "1:a32:" X32("a"), ""));
    cr_assert(!decodes_with(dec_body, REACTION, "4:\xf0\x9f\x91\x8d", "0:"));
    cr_assert(!decodes_with(dec_body, REACTION, "4:\xf0\x9f\x91\x8d", "2:ok"));
    cr_assert(!decodes_with(dec_body, REACTION, "4:\xf0\x9f\x91\x8d", "1:\x1b"));
    cr_assert(decodes_with(dec_body, REDACTION, "1:oi77e", "1:oi77e1:s3:xyz"),
              "a key that it does not have");
    struct wire_body v = change(BODY_EDIT);
    v.text_len = 0;
    struct wr w = put(&v);
    cr_assert(!wr_ok(&w));
    v = change(BODY_REACTION);
    v.text = (const uint8_t *)"\n";
    v.text_len = 1;
    w = put(&v);
    cr_assert(!wr_ok(&w));
}

/* A body of a file, with what all three have. */
static struct wire_body file(enum body_kind kind)
{
    struct wire_body v = {
        .kind = kind, .has_order = true, .order = 77, .time_ms = 1700000000001};
    memset(v.mid, 'i', sizeof v.mid);
    if (kind == BODY_OFFER) {
        v.text = (const uint8_t *)"plan.odt";
        v.text_len = 8;
    } else {
        memset(v.target, 'm', sizeof v.target);
    }
    return v;
}

/* Whether both say the same: all that a kind does not have is zero in both. */
static bool same(const struct wire_body *a, const struct wire_body *b)
{
    return a->kind == b->kind && a->has_order == b->has_order && a->order == b->order &&
           !a->has_reply && !b->has_reply && a->text_len == b->text_len &&
           (a->text_len == 0 || memcmp(a->text, b->text, a->text_len) == 0) &&
           a->time_ms == b->time_ms && a->has_size == b->has_size &&
           a->folder == b->folder && a->exec == b->exec && a->size == b->size &&
           a->manifest == b->manifest && a->count == b->count && a->end == b->end &&
           memcmp(a->mid, b->mid, WIRE_MID) == 0 &&
           memcmp(a->target, b->target, WIRE_MID) == 0 &&
           memcmp(a->author, b->author, WIRE_ID) == 0 &&
           memcmp(a->hash, b->hash, HASHTREE_HASH) == 0 && a->device.cert == NULL;
}

static void check_body(const struct wire_body *v, const char *dict)
{
    struct wire_body got;
    struct wr w = put(v);
    check_padded(&w, dict);
    cr_assert(wire_body_get(out, w.len, &got));
    cr_assert(same(v, &got), "%s", dict);
}

Test(wire_body, files)
{
    struct wire_body v = file(BODY_OFFER);
    v.has_size = v.exec = true;
    v.size = 1000;
    check_body(&v, OFFER);
    v.exec = false;
    v.folder = true;
    v.manifest = 40;
    v.count = 3;
    check_body(&v, OFFER_FOLDER);
    v = file(BODY_OFFER);
    v.has_order = false;
    v.order = 0;
    check_body(&v, OFFER_STREAM);
    v = file(BODY_SEALED);
    memset(v.hash, 'h', sizeof v.hash);
    v.size = 1000;
    check_body(&v, SEALED);
    v = file(BODY_FILE_END);
    memset(v.author, 'a', sizeof v.author);
    v.end = FILE_END_RECEIVED;
    check_body(&v, FILE_END);
    /* What is empty. */
    v = file(BODY_OFFER);
    v.has_size = v.folder = true;
    check_body(&v, "d1:ci0e1:i16:" X16("i") "1:ki6e1:mi0e1:n8:plan.odt1:oi77e1:si0e"
                                            "1:ti1700000000001ee");
}

Test(wire_body, files_refused)
{
    static const char *const offer[] = {"1:i16:" X16("i"), "1:n8:plan.odt",
                                        "1:ti1700000000001e"};
    static const char *const sealed[] = {"1:h32:" X32("h"), "1:i16:" X16("i"),
                                         "1:m16:" X16("m"), "1:si1000e",
                                         "1:ti1700000000001e"};
    static const char *const end[] = {"1:a32:" X32("a"), "1:ei4e", "1:i16:" X16("i"),
                                      "1:m16:" X16("m"), "1:ti1700000000001e"};
    for (size_t i = 0; i < sizeof offer / sizeof offer[0]; i++) {
        cr_assert(!decodes_with(dec_body, OFFER, offer[i], ""), "%s", offer[i]);
    }
    for (size_t i = 0; i < sizeof sealed / sizeof sealed[0]; i++) {
        cr_assert(!decodes_with(dec_body, SEALED, sealed[i], ""), "%s", sealed[i]);
    }
    for (size_t i = 0; i < sizeof end / sizeof end[0]; i++) {
        cr_assert(!decodes_with(dec_body, FILE_END, end[i], ""), "%s", end[i]);
    }
    cr_assert(!decodes_with(dec_body, OFFER, "8:plan.odt", "2:.."));
    cr_assert(!decodes_with(dec_body, OFFER, "8:plan.odt", "3:a/b"));
    cr_assert(!decodes_with(dec_body, OFFER, "8:plan.odt", "3:nul"));
    cr_assert(!decodes_with(dec_body, OFFER, "8:plan.odt", "0:"));
    cr_assert(!decodes_with(dec_body, OFFER, "xi1e", "xi0e"));
    cr_assert(!decodes_with(dec_body, OFFER, "xi1e", "xi2e"));
    cr_assert(!decodes_with(dec_body, OFFER, "xi1e", "x1:1"));
    cr_assert(!decodes_with(dec_body, OFFER, "si1000e", "si-1e"));
    cr_assert(decodes_with(dec_body, OFFER, "si1000e", "si17592186044416e"));
    cr_assert(!decodes_with(dec_body, OFFER, "si1000e", "si17592186044417e"));
    cr_assert(!decodes_with(dec_body, OFFER, "oi77e", "o2:77"));
    cr_assert(!decodes_with(dec_body, OFFER_FOLDER, "1:ci3e", ""), "m alone");
    cr_assert(!decodes_with(dec_body, OFFER_FOLDER, "1:mi40e", ""), "c alone");
    cr_assert(!decodes_with(dec_body, OFFER_FOLDER, "1:si1000e", ""));
    cr_assert(!decodes_with(dec_body, OFFER_FOLDER, "mi40e", "mi1001e"),
              "above the size");
    cr_assert(decodes_with(dec_body, OFFER_FOLDER, "ci3e", "ci65536e"));
    cr_assert(!decodes_with(dec_body, OFFER_FOLDER, "ci3e", "ci65537e"));
    static const char large[] = "mi4194304e1:n8:plan.odt1:oi77e1:si9999999e";
    char *most = replaced(OFFER_FOLDER, "mi40e1:n8:plan.odt1:oi77e1:si1000e", large);
    cr_assert(decodes_text(dec_body, most));
    cr_assert(!decodes_with(dec_body, most, "mi4194304e", "mi4194305e"));
    free(most);
    cr_assert(!decodes_with(dec_body, SEALED, "h32:" X32("h"), "h16:" X16("h")));
    cr_assert(!decodes_with(dec_body, SEALED, "si1000e", "si17592186044417e"));
    cr_assert(decodes_with(dec_body, FILE_END, "ei4e", "ei99e"), "of a later version");
    cr_assert(!decodes_with(dec_body, FILE_END, "ei4e", "ei-4e"));
}

Test(wire_body, files_not_written)
{
    struct wire_body offer = file(BODY_OFFER), sealed = file(BODY_SEALED);
    struct wire_body bad[9];
    for (size_t i = 0; i < 9; i++) {
        bad[i] = offer;
    }
    bad[0].text_len = 0;
    bad[1].text = (const uint8_t *)"a/b.odt ";
    bad[2].has_size = true;
    bad[2].size = WIRE_FILE_SIZE_MAX + 1;
    bad[3].size = 1; /* not known, but told */
    bad[4].count = 1;
    bad[5].folder = true; /* without a size */
    bad[6].folder = bad[6].has_size = true;
    bad[6].manifest = 2;
    bad[6].size = 1;
    bad[7].folder = bad[7].has_size = true;
    bad[7].count = WIRE_FILE_ENTRIES_MAX + 1;
    bad[8] = sealed;
    bad[8].size = WIRE_FILE_SIZE_MAX + 1;
    for (size_t i = 0; i < 9; i++) {
        struct wr w = put(&bad[i]);
        cr_assert(!wr_ok(&w), "written: %zu", i);
    }
}

static bool emoji_ok(const char *s)
{
    return wire_emoji_ok((const uint8_t *)s, strlen(s));
}

Test(wire_text, emoji)
{
    static const char *const good[] = {
        "\xf0\x9f\x91\x8d",                 /* a thumb */
        "\xf0\x9f\x91\x8d\xf0\x9f\x8f\xbd", /* with a colour of skin */
        "\xe2\x9d\xa4\xef\xb8\x8f",         /* a heart, as a picture */
        "\xf0\x9f\x87\xa9\xf0\x9f\x87\xaa", /* a flag */
        "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7",
        "1\xef\xb8\x8f\xe2\x83\xa3", /* a keycap */
        "x",
        "\xe5\xa5\xbd", /* a Chinese character */
    };
    static const char *const bad[] = {
        "",
        " ",
        "\n",
        "ok",
        "\xf0\x9f\x91\x8d\xf0\x9f\x91\x8d",                 /* two thumbs */
        "\xe2\x80\xae",                                     /* turns the text around */
        "\xe2\x80\x8b",                                     /* nothing to see */
        "\xef\xb8\x8f",                                     /* a variation of nothing */
        "\x1b[2J",                                          /* what a terminal obeys */
        "\xff",                                             /* no UTF-8 */
        "\xf0\x9f\x87\xa9\xf0\x9f\x87\xaa\xf0\x9f\x87\xa9", /* a flag and a half */
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        cr_assert(emoji_ok(good[i]), "good %zu", i);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert(!emoji_ok(bad[i]), "bad %zu", i);
    }
    char many[WIRE_EMOJI_MAX + 8] = "e"; /* and marks above it */
    for (size_t i = 1; i < WIRE_EMOJI_MAX - 1; i += 2) {
        memcpy(many + i, "\xcc\x81", 2);
    }
    cr_assert(strlen(many) == WIRE_EMOJI_MAX - 1 && emoji_ok(many));
    memcpy(many + WIRE_EMOJI_MAX - 1, "\xcc\x81", 2);
    cr_assert(!emoji_ok(many));
}

Test(wire_body, every_truncation)
{
    static const char *const dicts[] = {TEXT,         TEXT_BARE,     DEVICE,    EDIT,
                                        REACTION,     REACTION_BACK, REDACTION, OFFER,
                                        OFFER_STREAM, OFFER_FOLDER,  SEALED,    FILE_END};
    for (size_t d = 0; d < sizeof dicts / sizeof dicts[0]; d++) {
        size_t len = strlen(dicts[d]);
        uint8_t padded[1024] = {0};
        memcpy(padded, dicts[d], len);
        cr_assert(decodes(dec_body, padded, len));
        cr_assert(decodes(dec_body, padded, sizeof padded));
        for (size_t i = 0; i < len; i++) {
            cr_assert(!decodes(dec_body, padded, i), "taken at %zu", i);
            uint8_t cut[1024] = {0};
            memcpy(cut, dicts[d], i);
            cr_assert(!decodes(dec_body, cut, sizeof cut), "taken cut at %zu", i);
        }
        padded[sizeof padded - 1] = 1;
        cr_assert(!decodes(dec_body, padded, sizeof padded), "padding is zeros");
    }
}

Test(wire_body, refusals)
{
    static const char *const needed[] = {"1:i16:" X16("i"), "1:ki1e", "1:s5:hello",
                                         "1:ti1700000000001e"};
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        cr_assert(!decodes_with(dec_body, TEXT, needed[i], ""), "without %s", needed[i]);
    }
    cr_assert(!decodes_with(dec_body, TEXT, "1:s5:hello", "1:s0:"), "an empty text");
    cr_assert(!decodes_with(dec_body, TEXT, "hello", "he\xffll"));
    cr_assert(!decodes_with(dec_body, TEXT, "1:r16:" X16("r"), "1:r8:" X8("r")));
    cr_assert(!decodes_with(dec_body, TEXT, "1:oi77e", "1:o2:77"));
    cr_assert(decodes_with(dec_body, TEXT, "1:oi77e", ""));
    cr_assert(decodes_with(dec_body, TEXT, "1:oi77e", "1:oi77e1:pi1e"), "unknown key");
    static const char nul[] = "d1:i16:" X16("i") "1:ki1e1:s5:he\0lo1:ti1ee";
    cr_assert(!decodes(dec_body, nul, sizeof nul - 1), "NUL in a text");
    cr_assert(!decodes(dec_body, "", 0));
    cr_assert(!decodes(dec_body, "\0\0\0", 3));
    cr_assert(!decodes_text(dec_body, "le"));
    cr_assert(!decodes_text(dec_body, "de"));
}

Test(wire_body, unknown_kinds)
{
    struct wire_body v;
    cr_assert(wire_body_get((const uint8_t *)"d1:ki99e1:z3:xyze", 17, &v));
    cr_assert_eq(v.kind, 99u);
    cr_assert_eq(v.text_len, 0u);
    v.kind = 99;
    struct wr w = put(&v);
    cr_assert(!wr_ok(&w), "not ours to write");
}

Test(wire_body, limits)
{
    static uint8_t big[WIRE_TEXT_MAX + 1];
    struct wire_body v = text(), got;
    memset(big, 'x', sizeof big);
    v.text = big;
    v.text_len = WIRE_TEXT_MAX;
    struct wr w = put(&v);
    cr_assert(wr_ok(&w));
    cr_assert_eq(w.len, (size_t)WIRE_BODY_MAX);
    cr_assert(wire_body_get(out, w.len, &got));
    cr_assert_eq(got.text_len, (size_t)WIRE_TEXT_MAX);
    out[w.len] = 0;
    cr_assert(!decodes(dec_body, out, w.len + 1), "a body too long");
    v.text_len++;
    w = put(&v);
    cr_assert(!wr_ok(&w));
    v.text_len = 0;
    w = put(&v);
    cr_assert(!wr_ok(&w));
    w = wr_init(out, sizeof out);
    wr_bytes(&w, "d1:i16:" X16("i") "1:ki1e1:s", strlen("d1:i16:" X16("i") "1:ki1e1:s"));
    /* By hand, what the encoder refuses. */
    wr_bytes(&w, "32769:", 6);
    wr_bytes(&w, big, sizeof big);
    wr_bytes(&w, "1:ti1ee", 7);
    cr_assert(wr_ok(&w) && !decodes(dec_body, out, w.len));
}

Test(wire_body, padded)
{
    static const size_t want[][2] = {
        {0, 128},       {128, 128},     {129, 256},     {256, 256},     {257, 512},
        {16384, 16384}, {16385, 32768}, {32769, 34816}, {34816, 34816}, {34817, 0}};
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        cr_assert_eq(wire_body_padded(want[i][0]), want[i][1]);
    }
}

/* ---- UTF-8 ---- */

static bool text_ok(const char *s, size_t n)
{
    uint8_t *copy = malloc(n > 0 ? n : 1);
    cr_assert_not_null(copy);
    memcpy(copy, s, n);
    bool ok = wire_text_ok(copy, n);
    free(copy);
    return ok;
}

static bool name_ok(const char *s)
{
    return wire_name_ok((const uint8_t *)s, strlen(s));
}

Test(wire_text, well_formed)
{
    static const char *const good[] = {"",
                                       "plain",
                                       "a\nb\tc",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xef\xbf\xbd",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {
        "\x80",             /* a continuation alone */
        "a\xbf",            /* the same, later */
        "\xc0\x80",         /* overlong NUL */
        "\xc1\xbf",         /* overlong */
        "\xe0\x9f\xbf",     /* overlong */
        "\xf0\x8f\xbf\xbf", /* overlong */
        "\xed\xa0\x80",     /* surrogates */
        "\xed\xbf\xbf",
        "\xf4\x90\x80\x80", /* beyond U+10FFFF */
        "\xf5\x80\x80\x80",
        "\xff",
        "\xc2",     /* cut */
        "\xe2\x82", /* cut */
        "\xf0\x9f\x98",
        "\302a", /* no continuation */
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        cr_assert(text_ok(good[i], strlen(good[i])), "good %zu", i);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert(!text_ok(bad[i], strlen(bad[i])), "bad %zu", i);
        cr_assert(!name_ok(bad[i]), "bad name %zu", i);
    }
    cr_assert(!text_ok("a\0b", 3), "NUL");
}

Test(wire_text, names)
{
    static const char *const good[] = {
        "bob",
        "Zo\xc3\xab",                                   /* Zoë */
        "\xe7\x8e\x8b\xe8\x8a\xb3",                     /* 王芳 */
        "\xd8\xb9\xd9\x84\xd9\x8a",                     /* علي */
        "\xf0\x9f\x90\xa6",                             /* a bird */
        "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x9a\x80", /* with a zero width joiner */
        "a b",
        "\342\200\213a", /* a zero width space beside a letter */
    };
    static const char *const bad[] = {
        "",
        " ",
        "\xc2\xa0\xe2\x80\x83",     /* no-break and em space */
        "\xe2\x80\x8b",             /* zero width space */
        "\xe2\x80\x8d\xef\xb8\x8f", /* joiner and variation selector */
        "\xe3\x85\xa4",             /* Hangul filler */
        "\xe2\xa0\x80",             /* Braille, no dots */
        "\xc2\xad",                 /* soft hyphen */
        "a\nb",
        "a\tb",
        "\x1b[2J",
        "a\x7f",
        "a\xc2\x9b"
        "2J", /* C1 */
        "a\xe2\x80\xa8"
        "b", /* line separator */
        "a\xe2\x80\xa9"
        "b",                 /* paragraph separator */
        "a\xd8\x9c",         /* U+061C */
        "a\xe2\x80\x8e",     /* U+200E */
        "a\xe2\x80\x8f",     /* U+200F */
        "a\xe2\x80\xaa",     /* U+202A */
        "a\xe2\x80\xae",     /* U+202E */
        "a\xe2\x81\xa6",     /* U+2066 */
        "a\xe2\x81\xa9",     /* U+2069 */
        "a\xf3\xa0\x81\xa1", /* a tag character */
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        cr_assert(name_ok(good[i]), "good %zu", i);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert(!name_ok(bad[i]), "bad %zu", i);
    }
    cr_assert(!name_ok("bob ") && !name_ok(" bob") && !name_ok("bob\u3000"));
    cr_assert(name_ok("a b"));
    cr_assert(name_ok(X64("a")));
    cr_assert(!name_ok(X64("a") "a"));
}
