#include "base/when.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    MS_PER_S = 1000,
    S_PER_MIN = 60,
    S_PER_H = 3600,
    S_PER_DAY = 86400,
    S_PER_WEEK = 7 * S_PER_DAY,
    ZONE_H_MAX = 14, /* hours that a zone lies off UTC */
    DIGITS_MAX = 19,
};

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

bool when_duration(const char *s, uint64_t *ms)
{
    static const struct {
        const char *name;
        uint64_t ms;
    } units[] = {{"ms", 1},
                 {"s", MS_PER_S},
                 {"m", (uint64_t)S_PER_MIN * MS_PER_S},
                 {"h", (uint64_t)S_PER_H * MS_PER_S},
                 {"d", (uint64_t)S_PER_DAY * MS_PER_S},
                 {"w", (uint64_t)S_PER_WEEK * MS_PER_S}};
    uint64_t v;
    if (!digits(&s, &v)) {
        return false;
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(s, units[i].name) == 0 && v <= INT64_MAX / units[i].ms) {
            *ms = v * units[i].ms;
            return true;
        }
    }
    return false;
}

/* Exactly n digits within min and max, then the delimiter (0: none). */
static bool field(const char **s, size_t n, int min, int max, char delimiter, int *out)
{
    if (strspn(*s, "0123456789") < n) {
        return false;
    }
    int v = 0;
    for (size_t i = 0; i < n; i++) {
        v = v * 10 + ((*s)[i] - '0');
    }
    if (v < min || v > max || (delimiter != '\0' && (*s)[n] != delimiter)) {
        return false;
    }
    *s += n + (delimiter != '\0' ? 1 : 0);
    *out = v;
    return true;
}

/* Z or +01:00 at the end: seconds east of UTC. */
static bool zone(const char *s, long *east)
{
    int h, m, sign = *s == '-' ? -1 : 1;
    if (strcmp(s, "Z") == 0) {
        *east = 0;
        return true;
    }
    if (*s != '+' && *s != '-') {
        return false;
    }
    s++;
    if (!field(&s, 2, 0, ZONE_H_MAX, ':', &h) || !field(&s, 2, 0, 59, '\0', &m) ||
        *s != '\0') {
        return false;
    }
    *east = sign * ((long)h * S_PER_H + (long)m * S_PER_MIN);
    return true;
}

static bool parse_date(const char *s, uint64_t *ms)
{
    struct tm tm = {.tm_isdst = -1};
    int year, month;
    long east = 0;
    bool utc = false;
    if (!field(&s, 4, 1970, 9999, '-', &year) || !field(&s, 2, 1, 12, '-', &month) ||
        !field(&s, 2, 1, 31, '\0', &tm.tm_mday)) {
        return false;
    }
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    int day = tm.tm_mday;
    if (*s == 'T' || *s == ' ') {
        s++;
        if (!field(&s, 2, 0, 23, ':', &tm.tm_hour) ||
            !field(&s, 2, 0, 59, '\0', &tm.tm_min)) {
            return false;
        }
        if (*s == ':') {
            s++;
            if (!field(&s, 2, 0, 59, '\0', &tm.tm_sec)) {
                return false;
            }
        }
        utc = *s != '\0';
    }
    if ((utc && !zone(s, &east)) || (!utc && *s != '\0')) {
        return false;
    }
    time_t t = utc ? timegm(&tm) - east : mktime(&tm);
    if (t < 0 || tm.tm_mday != day) { /* the 31st of November */
        return false;
    }
    *ms = (uint64_t)t * MS_PER_S;
    return true;
}

/* The local midnight that began the day of now_ms, or some days before it. */
static bool midnight(uint64_t now_ms, int days_ago, uint64_t *ms)
{
    time_t now = (time_t)(now_ms / MS_PER_S);
    struct tm tm;
    if (localtime_r(&now, &tm) == NULL) {
        return false;
    }
    struct tm day = {.tm_year = tm.tm_year,
                     .tm_mon = tm.tm_mon,
                     .tm_mday = tm.tm_mday - days_ago,
                     .tm_isdst = -1};
    time_t t = mktime(&day);
    *ms = t > 0 ? (uint64_t)t * MS_PER_S : 0;
    return true;
}

bool when_since(const char *s, uint64_t now_ms, uint64_t *ms)
{
    uint64_t ago;
    if (when_duration(s, &ago)) {
        *ms = ago < now_ms ? now_ms - ago : 0;
        return true;
    }
    if (strcmp(s, "today") == 0 || strcmp(s, "yesterday") == 0) {
        return midnight(now_ms, *s == 'y', ms);
    }
    return parse_date(s, ms);
}
