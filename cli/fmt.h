/* Text for people: what is shown on a terminal or printed a line a message.
 *
 * Text comes from others, so it is never written raw: control and bidi characters, tags
 * and bytes that are not UTF-8 are shown (\x1b, \u202e, \U000e0041, \xff), not obeyed.
 * Widths are columns of a terminal that advances by code point, as tmux and xterm do. */
#ifndef LINNET_CLI_FMT_H
#define LINNET_CLI_FMT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { FMT_TIME_MAX = 48 };

enum fmt_mode {
    FMT_TEXT, /* for a terminal: line feeds stay, tabs become blanks */
    FMT_NAME, /* on one line: line feeds and tabs are shown too */
    FMT_LINE, /* the same, and a backslash is doubled, so that it can be undone */
};

/* What may be written for len bytes of s; malloc'ed, NULL without memory. */
char *fmt_escape(const char *s, size_t len, enum fmt_mode mode);
/* Writes the same to f. */
void fmt_put(FILE *f, const char *s, enum fmt_mode mode);

/* Columns that escaped text takes on one line. */
size_t fmt_width(const char *s);
/* Writes escaped text and blanks up to width columns; longer text is cut and ends in "…".
 */
void fmt_pad(FILE *f, const char *s, size_t width);
/* Writes escaped text in lines of at most width columns, broken at blanks where there are
 * some, never inside a cluster. The first line starts at column indent (the caller stands
 * there), further ones after indent blanks. Ends without a line feed. Returns the column
 * after the last character. */
size_t fmt_wrap(FILE *f, const char *s, size_t indent, size_t width);

bool fmt_utf8_ok(const char *s, size_t len);

/* Those of base/when.h. */
bool fmt_duration(const char *s, uint64_t *ms);
bool fmt_since(const char *s, uint64_t now_ms, uint64_t *ms);
/* A decimal number of at most max. */
bool fmt_number(const char *s, uint64_t max, uint64_t *out);

/* 2026-11-22T14:00:05+01:00, in local time. */
void fmt_iso(uint64_t ms, char out[FMT_TIME_MAX]);
/* 14:00. */
void fmt_clock(uint64_t ms, char out[FMT_TIME_MAX]);
/* Sun 22 Nov 2026. */
void fmt_day(uint64_t ms, char out[FMT_TIME_MAX]);
/* 45 s, 12 min, 23 h, 7 days: how long, roughly. */
void fmt_span(uint64_t ms, char out[FMT_TIME_MAX]);

/* Those of base/size.h: "1.5G", and SIZE_NONE for "none". */
bool fmt_bytes(const char *s, uint64_t *bytes);
bool fmt_bytes_or_none(const char *s, uint64_t *bytes);
/* 999 B, 1.5 kB, 419.4 MB: powers of 1000. */
void fmt_size(uint64_t bytes, char out[FMT_TIME_MAX]);
/* 999, 1.5k, 419M: at most four columns, for tables. */
void fmt_short(uint64_t bytes, char out[FMT_TIME_MAX]);
/* What is there of a whole, in the unit of the whole: 243.1/419.4 MB. */
void fmt_part(uint64_t done, uint64_t size, char out[FMT_TIME_MAX]);
/* 0:04, 12:30, 1:02:03, 3 days: until something is done. */
void fmt_left(uint64_t s, char out[FMT_TIME_MAX]);
/* 0.4 s, 12.0 s, 2 min 5 s, 1 h 2 min: how long something took. */
void fmt_took(uint64_t ms, char out[FMT_TIME_MAX]);

#endif
