#include "fmt.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <utf8proc.h>

#include "base/size.h"
#include "base/when.h"

enum {
    MS_PER_S = 1000,
    S_PER_MIN = 60,
    S_PER_H = 3600,
    S_PER_DAY = 86400,
    TAB_BLANKS = 4,
    DIGITS_MAX = 19,
};

/* Characters that act on the terminal or on the order of others. */
static bool acts(utf8proc_int32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x61c ||
           c == 0x180e || c == 0x200b || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
           (c >= 0xfff9 && c <= 0xfffb) || (c >= 0xe0000 && c <= 0xe0fff);
}

static void put_acting(FILE *f, utf8proc_int32_t c, enum fmt_mode mode)
{
    unsigned u = (unsigned)c;
    if (c == '\n' && mode == FMT_TEXT) {
        (void)fputc('\n', f);
    } else if (c == '\t' && mode == FMT_TEXT) {
        (void)fprintf(f, "%*s", TAB_BLANKS, "");
    } else if (c == '\n' || c == '\t' || c == '\r') {
        (void)fputs(c == '\n' ? "\\n" : c == '\t' ? "\\t" : "\\r", f);
    } else if (c < 0x100) {
        (void)fprintf(f, "\\x%02x", u);
    } else {
        (void)fprintf(f, c < 0x10000 ? "\\u%04x" : "\\U%08x", u);
    }
}

static void put_escaped(FILE *f, const char *s, size_t len, enum fmt_mode mode)
{
    const utf8proc_uint8_t *p = (const utf8proc_uint8_t *)s;
    for (size_t i = 0; i < len;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t n = utf8proc_iterate(p + i, (utf8proc_ssize_t)(len - i), &c);
        if (n <= 0) {
            (void)fprintf(f, "\\x%02x", p[i]);
            i++;
            continue;
        }
        if (acts(c)) {
            put_acting(f, c, mode);
        } else if (c == '\\' && mode == FMT_LINE) {
            (void)fputs("\\\\", f);
        } else {
            (void)fwrite(p + i, 1, (size_t)n, f);
        }
        i += (size_t)n;
    }
}

char *fmt_escape(const char *s, size_t len, enum fmt_mode mode)
{
    char *out = NULL;
    size_t size;
    FILE *f = open_memstream(&out, &size);
    if (f == NULL) {
        return NULL;
    }
    put_escaped(f, s, len, mode);
    if (fclose(f) != 0) {
        free(out);
        return NULL;
    }
    return out;
}

void fmt_put(FILE *f, const char *s, enum fmt_mode mode)
{
    put_escaped(f, s, strlen(s), mode);
}

/* One cluster (what must not be torn apart): its bytes and columns. s is not empty. */
static size_t cluster(const char *s, size_t *columns)
{
    const utf8proc_uint8_t *p = (const utf8proc_uint8_t *)s;
    utf8proc_int32_t c, before = 0, state = 0;
    size_t i = 0, w = 0;
    while (p[i] != '\0') {
        utf8proc_ssize_t n = utf8proc_iterate(p + i, -1, &c);
        if (n <= 0) { /* not reached with escaped text */
            i += i == 0 ? 1 : 0;
            break;
        }
        if (i > 0 && utf8proc_grapheme_break_stateful(before, c, &state)) {
            break;
        }
        w += (size_t)utf8proc_charwidth(c);
        before = c;
        i += (size_t)n;
    }
    *columns = w;
    return i;
}

size_t fmt_width(const char *s)
{
    size_t w = 0, one;
    while (*s != '\0') {
        s += cluster(s, &one);
        w += one;
    }
    return w;
}

void fmt_pad(FILE *f, const char *s, size_t width)
{
    size_t w = 0, one;
    bool cut = fmt_width(s) > width;
    size_t room = cut && width > 0 ? width - 1 : width;
    while (*s != '\0') {
        size_t n = cluster(s, &one);
        if (w + one > room) {
            break;
        }
        (void)fwrite(s, 1, n, f);
        w += one;
        s += n;
    }
    if (cut && width > 0) {
        (void)fputs("…", f);
        w++;
    }
    (void)fprintf(f, "%*s", (int)(width - w), "");
}

/* How many bytes of s (up to its line feed) fit into room columns: up to the last blank
 * when a word would be torn, at least one cluster. */
static size_t fit(const char *s, size_t room, size_t *columns)
{
    size_t i = 0, w = 0, one, blank = 0, blank_w = 0;
    while (s[i] != '\0' && s[i] != '\n') {
        size_t n = cluster(s + i, &one);
        if (w + one > room && i > 0) {
            bool torn = s[i] != ' ' && blank > 0;
            *columns = torn ? blank_w : w;
            return torn ? blank : i;
        }
        if (s[i] == ' ') {
            blank = i;
            blank_w = w;
        }
        i += n;
        w += one;
    }
    *columns = w;
    return i;
}

size_t fmt_wrap(FILE *f, const char *s, size_t indent, size_t width)
{
    size_t room = width > indent + 8 ? width - indent : 8, w;
    for (;;) {
        size_t n = fit(s, room, &w);
        (void)fwrite(s, 1, n, f);
        s += n;
        if (*s == '\0') {
            return indent + w;
        }
        if (*s == '\n') {
            s++;
        } else {
            s += strspn(s, " ");
            if (*s == '\0') {
                return indent + w;
            }
        }
        (void)fputc('\n', f);
        if (*s != '\n' && *s != '\0') {
            (void)fprintf(f, "%*s", (int)indent, "");
        }
    }
}

bool fmt_utf8_ok(const char *s, size_t len)
{
    utf8proc_int32_t c;
    for (size_t i = 0; i < len;) {
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)s + i,
                                              (utf8proc_ssize_t)(len - i), &c);
        if (n <= 0) {
            return false;
        }
        i += (size_t)n;
    }
    return true;
}

/* A decimal number at the start of *s, which moves behind it. */
static bool digits(const char **s, uint64_t *out)
{
    size_t n = strspn(*s, "0123456789");
    if (n == 0 || n > DIGITS_MAX) {
        return false;
    }
    *out = strtoull(*s, NULL, 10);
    *s += n;
    return true;
}

bool fmt_number(const char *s, uint64_t max, uint64_t *out)
{
    uint64_t v;
    if (!digits(&s, &v) || *s != '\0' || v > max) {
        return false;
    }
    *out = v;
    return true;
}

bool fmt_duration(const char *s, uint64_t *ms)
{
    return when_duration(s, ms);
}

bool fmt_since(const char *s, uint64_t now_ms, uint64_t *ms)
{
    return when_since(s, now_ms, ms);
}

static void format(uint64_t ms, const char *how, char out[FMT_TIME_MAX])
{
    time_t t = (time_t)(ms / MS_PER_S);
    struct tm tm;
    if (localtime_r(&t, &tm) == NULL || strftime(out, FMT_TIME_MAX, how, &tm) == 0) {
        (void)snprintf(out, FMT_TIME_MAX, "?");
    }
}

void fmt_iso(uint64_t ms, char out[FMT_TIME_MAX])
{
    format(ms, "%Y-%m-%dT%H:%M:%S%z", out);
    size_t n = strlen(out);
    if (n >= 5 && n + 1 < FMT_TIME_MAX) { /* +0100 becomes +01:00 */
        memmove(out + n - 1, out + n - 2, 3);
        out[n - 2] = ':';
    }
}

void fmt_clock(uint64_t ms, char out[FMT_TIME_MAX])
{
    format(ms, "%H:%M", out);
}

void fmt_day(uint64_t ms, char out[FMT_TIME_MAX])
{
    format(ms, "%a %d %b %Y", out);
}

void fmt_span(uint64_t ms, char out[FMT_TIME_MAX])
{
    unsigned long long s = (ms + MS_PER_S / 2) / MS_PER_S;
    if (s < 2 * S_PER_MIN) {
        (void)snprintf(out, FMT_TIME_MAX, "%llu s", s);
    } else if (s < 2 * S_PER_H) {
        (void)snprintf(out, FMT_TIME_MAX, "%llu min", (s + S_PER_MIN / 2) / S_PER_MIN);
    } else if (s <= 2 * S_PER_DAY) {
        (void)snprintf(out, FMT_TIME_MAX, "%llu h", (s + S_PER_H / 2) / S_PER_H);
    } else {
        (void)snprintf(out, FMT_TIME_MAX, "%llu days", (s + S_PER_DAY / 2) / S_PER_DAY);
    }
}

bool fmt_bytes(const char *s, uint64_t *bytes)
{
    return size_parse(s, bytes);
}

bool fmt_bytes_or_none(const char *s, uint64_t *bytes)
{
    return size_or_none(s, bytes);
}

static const char *const size_units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
enum { SIZE_UNITS = sizeof size_units / sizeof size_units[0] };

/* v / unit in tenths, rounded. */
static uint64_t tenths_of(uint64_t v, uint64_t unit)
{
    uint64_t tenth = unit / 10;
    return v / tenth + (v % tenth >= tenth / 2 ? 1 : 0);
}

/* The unit in which a size has one to three digits before the point: its index, and how
 * many bytes it is (0: a byte, which has no tenths). */
static size_t unit_of(uint64_t bytes, uint64_t *unit)
{
    size_t i = 0;
    *unit = 0;
    while (i + 1 < SIZE_UNITS &&
           (*unit == 0 ? bytes >= 1000 : tenths_of(bytes, *unit) >= 10000)) {
        *unit = *unit == 0 ? 1000 : *unit * 1000;
        i++;
    }
    return i;
}

void fmt_size(uint64_t bytes, char out[FMT_TIME_MAX])
{
    uint64_t unit;
    size_t i = unit_of(bytes, &unit);
    unsigned long long t = unit == 0 ? bytes : tenths_of(bytes, unit);
    if (unit == 0) {
        (void)snprintf(out, FMT_TIME_MAX, "%llu B", t);
    } else {
        (void)snprintf(out, FMT_TIME_MAX, "%llu.%llu %s", t / 10, t % 10, size_units[i]);
    }
}

void fmt_short(uint64_t bytes, char out[FMT_TIME_MAX])
{
    uint64_t unit;
    size_t i = unit_of(bytes, &unit);
    unsigned long long t = unit == 0 ? 0 : tenths_of(bytes, unit);
    if (unit == 0) {
        (void)snprintf(out, FMT_TIME_MAX, "%llu", (unsigned long long)bytes);
    } else if (t < 100) {
        (void)snprintf(out, FMT_TIME_MAX, "%llu.%llu%c", t / 10, t % 10,
                       size_units[i][0]);
    } else {
        (void)snprintf(out, FMT_TIME_MAX, "%llu%c", t / 10, size_units[i][0]);
    }
}

void fmt_part(uint64_t done, uint64_t size, char out[FMT_TIME_MAX])
{
    uint64_t unit;
    size_t i = unit_of(size, &unit);
    if (unit == 0) {
        (void)snprintf(out, FMT_TIME_MAX, "%llu/%llu B", (unsigned long long)done,
                       (unsigned long long)size);
        return;
    }
    unsigned long long a = tenths_of(done, unit), b = tenths_of(size, unit);
    (void)snprintf(out, FMT_TIME_MAX, "%llu.%llu/%llu.%llu %s", a / 10, a % 10, b / 10,
                   b % 10, size_units[i]);
}

void fmt_left(uint64_t s, char out[FMT_TIME_MAX])
{
    unsigned long long v = s;
    if (v < S_PER_H) {
        (void)snprintf(out, FMT_TIME_MAX, "%llu:%02llu", v / S_PER_MIN, v % S_PER_MIN);
    } else if (v < S_PER_DAY) {
        (void)snprintf(out, FMT_TIME_MAX, "%llu:%02llu:%02llu", v / S_PER_H,
                       v % S_PER_H / S_PER_MIN, v % S_PER_MIN);
    } else {
        v = v / S_PER_DAY + (v % S_PER_DAY >= S_PER_DAY / 2 ? 1 : 0);
        (void)snprintf(out, FMT_TIME_MAX, v == 1 ? "%llu day" : "%llu days", v);
    }
}

void fmt_took(uint64_t ms, char out[FMT_TIME_MAX])
{
    unsigned long long s = ms / MS_PER_S + (ms % MS_PER_S >= MS_PER_S / 2 ? 1 : 0);
    if (ms < S_PER_MIN * MS_PER_S - MS_PER_S / 20) {
        unsigned long long t = tenths_of(ms, MS_PER_S);
        (void)snprintf(out, FMT_TIME_MAX, "%llu.%llu s", t / 10, t % 10);
    } else if (s < S_PER_H) {
        (void)snprintf(out, FMT_TIME_MAX, "%llu min %llu s", s / S_PER_MIN,
                       s % S_PER_MIN);
    } else {
        (void)snprintf(out, FMT_TIME_MAX, "%llu h %llu min", s / S_PER_H,
                       s % S_PER_H / S_PER_MIN);
    }
}
