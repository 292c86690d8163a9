/* Text that people see. */
#include "wire_text.h"

#include <utf8proc.h>

#include "wire.h"

bool wire_char_next(const uint8_t *p, size_t len, size_t *i, int32_t *c)
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
    int32_t c;
    for (size_t i = 0; i < len;) {
        if (!wire_char_next(p, len, &i, &c) || c == 0) {
            return false;
        }
    }
    return true;
}

bool wire_char_deceives(int32_t c)
{
    utf8proc_category_t category = utf8proc_category(c);
    return category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_ZL ||
           category == UTF8PROC_CATEGORY_ZP || c == 0x061c || c == 0x200e ||
           c == 0x200f || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) ||
           (c >= 0xe0000 && c <= 0xe007f);
}

bool wire_char_space(int32_t c)
{
    return utf8proc_category(c) == UTF8PROC_CATEGORY_ZS;
}

bool wire_char_blank(int32_t c)
{
    return wire_char_space(c) || utf8proc_get_property(c)->ignorable ||
           c == 0x2800 /* Braille, no dots */;
}

/* One line that shows something and deceives nobody about what is around it. */
static bool line_ok(const uint8_t *p, size_t len, size_t max)
{
    bool visible = false, space = true;
    if (len == 0 || len > max) {
        return false;
    }
    for (size_t i = 0; i < len;) {
        int32_t c;
        bool first = i == 0;
        if (!wire_char_next(p, len, &i, &c) || wire_char_deceives(c)) {
            return false;
        }
        space = wire_char_space(c);
        if (first && space) {
            return false;
        }
        visible = visible || !wire_char_blank(c);
    }
    return visible && !space;
}

bool wire_line_ok(const uint8_t *p, size_t len)
{
    if (len > WIRE_LINE_MAX) {
        return false;
    }
    for (size_t i = 0; i < len;) {
        int32_t c;
        if (!wire_char_next(p, len, &i, &c) || wire_char_deceives(c)) {
            return false;
        }
    }
    return true;
}

bool wire_emoji_ok(const uint8_t *p, size_t len)
{
    int32_t c, before = 0, state = 0;
    bool visible = false;
    if (len == 0 || len > WIRE_EMOJI_MAX) {
        return false;
    }
    for (size_t i = 0; i < len;) {
        bool first = i == 0;
        if (!wire_char_next(p, len, &i, &c) || wire_char_deceives(c) ||
            (!first && utf8proc_grapheme_break_stateful(before, c, &state))) {
            return false;
        }
        visible = visible || !wire_char_blank(c);
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
