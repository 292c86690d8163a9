/* Checks that all decoders of frames share. Frames are written with printable values
 * (identifiers of one repeated letter), so that tests show them as text. */
#ifndef LINNET_TESTS_WIRE_CHECK_H
#define LINNET_TESTS_WIRE_CHECK_H

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

#define X8(c) c c c c c c c c
#define X16(c) X8(c) X8(c)
#define X32(c) X16(c) X16(c)
#define X64(c) X32(c) X32(c)

/* A decoder, its result thrown away. */
typedef bool decoder(const uint8_t *p, size_t len);

/* Decodes a copy of exactly this size, so that a sanitizer sees reads beyond it. */
static inline bool decodes(decoder *dec, const void *p, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    cr_assert_not_null(copy);
    if (len > 0) {
        memcpy(copy, p, len);
    }
    bool ok = dec(copy, len);
    free(copy);
    return ok;
}

static inline bool decodes_text(decoder *dec, const char *text)
{
    return decodes(dec, text, strlen(text));
}

/* Text with the first `from` replaced by `to`; the caller frees it. */
static inline char *replaced(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    cr_assert_not_null(at, "\"%s\" is not in \"%s\"", from, text);
    size_t head = (size_t)(at - text), n = strlen(text) + strlen(to) + 1;
    char *out = malloc(n);
    cr_assert_not_null(out);
    snprintf(out, n, "%.*s%s%s", (int)head, text, to, at + strlen(from));
    return out;
}

/* Whether the frame decodes with `from` replaced by `to`. */
static inline bool decodes_with(decoder *dec, const char *text, const char *from,
                                const char *to)
{
    char *changed = replaced(text, from, to);
    bool ok = decodes_text(dec, changed);
    free(changed);
    return ok;
}

/* What every dictionary has in common: the whole is taken, every shorter piece and a
 * trailing byte are not; unknown keys before and behind the known ones are ignored, the
 * same key twice or out of order is refused, and so is anything but a dictionary. */
static inline void check_dict(decoder *dec, const char *text)
{
    size_t len = strlen(text);
    cr_assert(decodes(dec, text, len), "refused: %s", text);
    for (size_t i = 0; i < len; i++) {
        cr_assert(!decodes(dec, text, i), "taken at %zu bytes: %s", i, text);
    }
    cr_assert(!decodes(dec, text, len + 1), "taken with a NUL: %s", text);
    char *tail = malloc(len + 32);
    cr_assert_not_null(tail);
    snprintf(tail, len + 32, "%.*s1:~i1ee", (int)(len - 1), text);
    cr_assert(decodes_text(dec, tail), "unknown last key: %s", tail);
    snprintf(tail, len + 32, "%.*s1:~i1e1:~i1ee", (int)(len - 1), text);
    cr_assert(!decodes_text(dec, tail), "a key twice: %s", tail);
    snprintf(tail, len + 32, "%.*s1:!i1ee", (int)(len - 1), text);
    cr_assert(len == 2 || !decodes_text(dec, tail), "keys out of order: %s", tail);
    snprintf(tail, len + 32, "d1:!l1:xe%s", text + 1);
    cr_assert(decodes_text(dec, tail), "unknown first key: %s", tail);
    snprintf(tail, len + 32, "l%s", text + 1);
    cr_assert(!decodes_text(dec, tail), "a list: %s", tail);
    snprintf(tail, len + 32, "%se", text);
    cr_assert(!decodes_text(dec, tail), "trailing data: %s", tail);
    free(tail);
}

/* What was written is exactly this text. */
static inline void check_text(const struct wr *w, const char *text)
{
    cr_assert(wr_ok(w));
    cr_assert(w->len == strlen(text) && memcmp(w->p, text, w->len) == 0,
              "written: %.*s\nwanted:  %s", (int)w->len, (const char *)w->p, text);
}

#endif
