/* Text that people see, and the bodies of boxes. */
#include "wire.h"

#include <string.h>

#include <utf8proc.h>

enum { BODY_PAD_MIN = 128 };

/* Takes one code point off p[*i..len); false when it is not well-formed UTF-8. */
static bool next_char(const uint8_t *p, size_t len, size_t *i, utf8proc_int32_t *c)
{
    utf8proc_ssize_t n = utf8proc_iterate(p + *i, (utf8proc_ssize_t)(len - *i), c);
    if (n <= 0) {
        return false;
    }
    *i += (size_t)n;
    return true;
}

bool wire_text_ok(const uint8_t *p, size_t len)
{
    utf8proc_int32_t c;
    for (size_t i = 0; i < len;) {
        if (!next_char(p, len, &i, &c) || c == 0) {
            return false;
        }
    }
    return true;
}

/* Characters that change how the text around them is shown, or break the line. */
static bool deceives(utf8proc_int32_t c)
{
    utf8proc_category_t category = utf8proc_category(c);
    return category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_ZL ||
           category == UTF8PROC_CATEGORY_ZP || c == 0x061c || c == 0x200e ||
           c == 0x200f || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) ||
           (c >= 0xe0000 && c <= 0xe007f);
}

static bool is_blank(utf8proc_int32_t c)
{
    return utf8proc_category(c) == UTF8PROC_CATEGORY_ZS ||
           utf8proc_get_property(c)->ignorable || c == 0x2800 /* Braille, no dots */;
}

/* One line that shows something and deceives nobody about what is around it. */
static bool line_ok(const uint8_t *p, size_t len, size_t max)
{
    bool visible = false, space = true;
    if (len == 0 || len > max) {
        return false;
    }
    for (size_t i = 0; i < len;) {
        utf8proc_int32_t c;
        bool first = i == 0;
        if (!next_char(p, len, &i, &c) || deceives(c)) {
            return false;
        }
        space = utf8proc_category(c) == UTF8PROC_CATEGORY_ZS;
        if (first && space) {
            return false;
        }
        visible = visible || !is_blank(c);
    }
    return visible && !space;
}

bool wire_line_ok(const uint8_t *p, size_t len)
{
    if (len > WIRE_LINE_MAX) {
        return false;
    }
    for (size_t i = 0; i < len;) {
        utf8proc_int32_t c;
        if (!next_char(p, len, &i, &c) || deceives(c)) {
            return false;
        }
    }
    return true;
}

bool wire_emoji_ok(const uint8_t *p, size_t len)
{
    utf8proc_int32_t c, before = 0, state = 0;
    bool visible = false;
    if (len == 0 || len > WIRE_EMOJI_MAX) {
        return false;
    }
    for (size_t i = 0; i < len;) {
        bool first = i == 0;
        if (!next_char(p, len, &i, &c) || deceives(c) ||
            (!first && utf8proc_grapheme_break_stateful(before, c, &state))) {
            return false;
        }
        visible = visible || !is_blank(c);
        before = c;
    }
    return visible;
}

bool wire_name_ok(const uint8_t *p, size_t len)
{
    return line_ok(p, len, WIRE_NAME_MAX);
}

bool wire_status_ok(const uint8_t *p, size_t len)
{
    return line_ok(p, len, WIRE_STATUS_MAX);
}

size_t wire_body_padded(size_t len)
{
    if (len > WIRE_BODY_MAX) {
        return 0;
    }
    size_t n = BODY_PAD_MIN;
    while (n < len) {
        n *= 2;
    }
    return n < WIRE_BODY_MAX ? n : WIRE_BODY_MAX;
}

static void put_text(struct wr *w, const struct wire_body *v)
{
    if (v->text_len == 0 || v->text_len > WIRE_TEXT_MAX ||
        !wire_text_ok(v->text, v->text_len)) {
        w->bad = true;
        return;
    }
    wr_ben_dict(w);
    wr_ben_key(w, "i");
    wr_ben_str(w, v->mid, sizeof v->mid);
    wr_ben_key(w, "k");
    wr_ben_uint(w, BODY_TEXT);
    if (v->has_order) {
        wr_ben_key(w, "o");
        wr_ben_uint(w, v->order);
    }
    if (v->has_reply) {
        wr_ben_key(w, "r");
        wr_ben_str(w, v->reply, sizeof v->reply);
    }
    wr_ben_key(w, "s");
    wr_ben_str(w, v->text, v->text_len);
    wr_ben_key(w, "t");
    wr_ben_uint(w, v->time_ms);
    wr_ben_end(w);
}

static void put_device(struct wr *w, const struct wire_body *v)
{
    wr_ben_dict(w);
    wr_ben_key(w, "k");
    wr_ben_uint(w, BODY_DEVICE);
    wr_ben_key(w, "v");
    wire_device_put(w, &v->device);
    wr_ben_end(w);
}

/* What a change says beside its target. */
static bool change_ok(const struct wire_body *v)
{
    switch (v->kind) {
    case BODY_EDIT:
        return v->text_len > 0 && v->text_len <= WIRE_TEXT_MAX &&
               wire_text_ok(v->text, v->text_len);
    case BODY_REACTION:
        return v->text_len == 0 || wire_emoji_ok(v->text, v->text_len);
    default:
        return true;
    }
}

/* An edit, a reaction or a redaction. */
static void put_change(struct wr *w, const struct wire_body *v)
{
    if (!change_ok(v)) {
        w->bad = true;
        return;
    }
    wr_ben_dict(w);
    if (v->kind == BODY_REACTION) {
        wr_ben_key(w, "a");
        wr_ben_str(w, v->author, sizeof v->author);
    }
    wr_ben_key(w, "i");
    wr_ben_str(w, v->mid, sizeof v->mid);
    wr_ben_key(w, "k");
    wr_ben_uint(w, v->kind);
    wr_ben_key(w, "m");
    wr_ben_str(w, v->target, sizeof v->target);
    if (v->has_order) {
        wr_ben_key(w, "o");
        wr_ben_uint(w, v->order);
    }
    if (v->kind != BODY_REDACTION && v->text_len > 0) {
        wr_ben_key(w, "s");
        wr_ben_str(w, v->text, v->text_len);
    }
    wr_ben_key(w, "t");
    wr_ben_uint(w, v->time_ms);
    wr_ben_end(w);
}

void wire_body_put(struct wr *w, const struct wire_body *v)
{
    size_t begin = w->len;
    switch (v->kind) {
    case BODY_TEXT:
        put_text(w, v);
        break;
    case BODY_DEVICE:
        put_device(w, v);
        break;
    case BODY_EDIT:
    case BODY_REACTION:
    case BODY_REDACTION:
        put_change(w, v);
        break;
    default:
        w->bad = true;
    }
    if (!wr_ok(w)) {
        return;
    }
    size_t len = w->len - begin;
    size_t padded = wire_body_padded(len);
    if (padded == 0) {
        w->bad = true;
        return;
    }
    wr_zero(w, padded - len);
}

static bool get_text(struct ben d, struct wire_body *v)
{
    struct ben_iter at = {0};
    struct ben mid = ben_get_next(d, &at, "i"), order = ben_get_next(d, &at, "o");
    struct ben reply = ben_get_next(d, &at, "r"), text = ben_get_next(d, &at, "s");
    v->has_order = order.p != NULL;
    v->has_reply = reply.p != NULL;
    return ben_fixed(mid, v->mid, sizeof v->mid) &&
           (!v->has_order || ben_uint(order, &v->order)) &&
           (!v->has_reply || ben_fixed(reply, v->reply, sizeof v->reply)) &&
           ben_str(text, &v->text, &v->text_len) && v->text_len > 0 &&
           v->text_len <= WIRE_TEXT_MAX && wire_text_ok(v->text, v->text_len) &&
           ben_uint(ben_get_next(d, &at, "t"), &v->time_ms);
}

static bool get_change(struct ben d, struct wire_body *v)
{
    struct ben_iter at = {0};
    bool reaction = v->kind == BODY_REACTION;
    if (reaction && !ben_fixed(ben_get_next(d, &at, "a"), v->author, sizeof v->author)) {
        return false;
    }
    struct ben mid = ben_get_next(d, &at, "i"), target = ben_get_next(d, &at, "m");
    struct ben order = ben_get_next(d, &at, "o");
    v->has_order = order.p != NULL;
    if (!ben_fixed(mid, v->mid, sizeof v->mid) ||
        !ben_fixed(target, v->target, sizeof v->target) ||
        (v->has_order && !ben_uint(order, &v->order))) {
        return false;
    }
    if (v->kind != BODY_REDACTION) {
        struct ben text = ben_get_next(d, &at, "s");
        bool there = text.p != NULL;
        if (there ? !ben_str(text, &v->text, &v->text_len) || v->text_len == 0
                  : !reaction) {
            return false;
        }
    }
    return change_ok(v) && ben_uint(ben_get_next(d, &at, "t"), &v->time_ms);
}

bool wire_body_get(const uint8_t *p, size_t len, struct wire_body *v)
{
    struct ben d;
    if (len > WIRE_BODY_MAX) {
        return false;
    }
    /* A dictionary ends with 'e', so that zeros at the end are padding. */
    while (len > 0 && p[len - 1] == 0) {
        len--;
    }
    memset(v, 0, sizeof *v);
    if (!bencode_check(p, len, &d) || !ben_is_dict(d) ||
        !ben_uint(ben_get(d, "k"), &v->kind)) {
        return false;
    }
    switch (v->kind) {
    case BODY_TEXT:
        return get_text(d, v);
    case BODY_DEVICE:
        return wire_device_get(ben_get(d, "v"), &v->device);
    case BODY_EDIT:
    case BODY_REACTION:
    case BODY_REDACTION:
        return get_change(d, v);
    default:
        return true;
    }
}
