#include "base/size.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { DIGITS_MAX = 18, FRACTION_MAX = 6 };

/* The unit that s is, in bytes; 0: it is none. */
static uint64_t unit_of(const char *s)
{
    static const char letters[] = "kmgt";
    uint64_t v = 1;
    if (s[0] == '\0' || strcasecmp(s, "b") == 0) {
        return 1;
    }
    const char lower = (char)(s[0] >= 'A' && s[0] <= 'Z' ? s[0] - 'A' + 'a' : s[0]);
    const char *at = strchr(letters, lower);
    bool binary = strcasecmp(s + 1, "ib") == 0;
    if (at == NULL || (!binary && s[1] != '\0' && strcasecmp(s + 1, "b") != 0)) {
        return 0;
    }
    for (const char *p = letters; p <= at; p++) {
        v *= binary ? 1024 : 1000;
    }
    return v;
}

bool size_parse(const char *s, uint64_t *bytes)
{
    size_t n = strspn(s, "0123456789"), fraction = 0;
    uint64_t parts = 0, scale = 1;
    if (n == 0 || n > DIGITS_MAX) {
        return false;
    }
    uint64_t whole = strtoull(s, NULL, 10);
    s += n;
    if (*s == '.') {
        fraction = strspn(++s, "0123456789");
        if (fraction == 0 || fraction > FRACTION_MAX) {
            return false;
        }
        for (size_t i = 0; i < fraction; i++) {
            parts = parts * 10 + (uint64_t)(s[i] - '0');
            scale *= 10;
        }
        s += fraction;
    }
    uint64_t unit = unit_of(s);
    if (unit == 0 || (unit == 1 && fraction > 0) || whole >= SIZE_NONE / unit) {
        return false;
    }
    *bytes = whole * unit + parts * unit / scale;
    return true;
}

bool size_or_none(const char *s, uint64_t *bytes)
{
    if (strcmp(s, "none") == 0) {
        *bytes = SIZE_NONE;
        return true;
    }
    return size_parse(s, bytes);
}
