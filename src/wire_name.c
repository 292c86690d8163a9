/* Names that look alike (docs/THREATS.md, "Names"). */
#include "wire.h"

#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

/* Letters, after folding of case, that are drawn like a Latin one, and what they are
 * taken for. Sorted by code point. Of the Unicode tables of confusables only what people
 * can type: Latin, Greek, Cyrillic, Armenian, and digits. */
static const struct look {
    uint16_t c;
    char as;
} looks[] = {
    {'0', 'o'},    {'1', 'l'},    {'3', 'e'},    {'5', 's'},    {'8', 'b'},
    {'i', 'l'},    {0x0131, 'l'}, {0x0138, 'k'}, {0x017f, 's'}, {0x0185, 'b'},
    {0x01c0, 'l'}, {0x0251, 'a'}, {0x0261, 'g'}, {0x0269, 'l'}, {0x028b, 'u'},
    {0x03b1, 'a'}, {0x03b2, 'b'}, {0x03b3, 'y'}, {0x03b5, 'e'}, {0x03b6, 'z'},
    {0x03b7, 'n'}, {0x03b9, 'l'}, {0x03ba, 'k'}, {0x03bc, 'm'}, {0x03bd, 'v'},
    {0x03bf, 'o'}, {0x03c1, 'p'}, {0x03c3, 'o'}, {0x03c4, 't'}, {0x03c5, 'u'},
    {0x03c7, 'x'}, {0x03c9, 'w'}, {0x03f2, 'c'}, {0x03f3, 'j'}, {0x0430, 'a'},
    {0x0432, 'b'}, {0x0433, 'r'}, {0x0435, 'e'}, {0x0437, 'e'}, {0x043a, 'k'},
    {0x043c, 'm'}, {0x043d, 'h'}, {0x043e, 'o'}, {0x043f, 'n'}, {0x0440, 'p'},
    {0x0441, 'c'}, {0x0442, 't'}, {0x0443, 'y'}, {0x0445, 'x'}, {0x044c, 'b'},
    {0x0455, 's'}, {0x0456, 'l'}, {0x0458, 'j'}, {0x0461, 'w'}, {0x0475, 'v'},
    {0x04af, 'y'}, {0x04bb, 'h'}, {0x04cf, 'l'}, {0x0501, 'd'}, {0x051b, 'q'},
    {0x051d, 'w'}, {0x0561, 'w'}, {0x0563, 'q'}, {0x0566, 'q'}, {0x0570, 'h'},
    {0x0578, 'n'}, {0x057c, 'n'}, {0x057d, 'u'}, {0x0581, 'g'}, {0x0585, 'o'},
};

static utf8proc_int32_t look(utf8proc_int32_t c)
{
    size_t low = 0, high = sizeof looks / sizeof looks[0];
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (looks[mid].c == c) {
            return looks[mid].as;
        }
        if (looks[mid].c < c) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return c;
}

/* Spaces, marks, punctuation, symbols and what is not drawn at all. */
static bool stays(utf8proc_int32_t c)
{
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return !utf8proc_get_property(c)->ignorable;
    default:
        return false;
    }
}

/* Pairs of letters that run together into another one. */
static size_t join(char *s, size_t n)
{
    static const char pairs[][3] = {{'r', 'n', 'm'}, {'v', 'v', 'w'}};
    size_t out = 0;
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        for (size_t k = 0; i + 1 < n && k < sizeof pairs / sizeof pairs[0]; k++) {
            if (s[i] == pairs[k][0] && s[i + 1] == pairs[k][1]) {
                c = pairs[k][2];
                i++;
                break;
            }
        }
        s[out++] = c;
    }
    return out;
}

bool wire_name_skeleton(const char *name, char out[WIRE_SKELETON_MAX + 1])
{
    utf8proc_uint8_t *folded = NULL;
    const utf8proc_option_t options = UTF8PROC_NULLTERM | UTF8PROC_STABLE |
                                      UTF8PROC_COMPAT | UTF8PROC_DECOMPOSE |
                                      UTF8PROC_CASEFOLD | UTF8PROC_STRIPMARK;
    utf8proc_ssize_t len =
        utf8proc_map((const utf8proc_uint8_t *)name, 0, &folded, options);
    size_t n = 0;
    for (utf8proc_ssize_t i = 0; i < len;) {
        utf8proc_int32_t c;
        utf8proc_uint8_t bytes[4];
        utf8proc_ssize_t took = utf8proc_iterate(folded + i, len - i, &c);
        if (took <= 0) {
            break;
        }
        i += took;
        if (!stays(c)) {
            continue;
        }
        size_t size = (size_t)utf8proc_encode_char(look(c), bytes);
        if (n + size > WIRE_SKELETON_MAX) {
            break;
        }
        memcpy(out + n, bytes, size);
        n += size;
    }
    free(folded);
    n = join(out, n);
    out[n] = '\0';
    return n > 0;
}
