/* Canonical bencode (BEP 3): decode without copying, encode straight into a writer.
 *
 * The decoder checks a whole value once (syntax, depth ≤ BENCODE_DEPTH_MAX, canonical
 * numbers, sorted unique keys, no trailing bytes) and then hands out borrowed views.
 * KRPC senders in the wild are sloppier: bencode_check_lax() looks at the syntax only.
 * Our own frames, and every value that is hashed or signed, pass bencode_check(). */
#ifndef LINNET_BASE_BENCODE_H
#define LINNET_BASE_BENCODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum {
    BENCODE_DEPTH_MAX = 8, /* containers in containers */
    BENCODE_LAX_DEPTH_MAX =
        10, /* for bencode_check_lax(): a value in KRPC's `a` or `r` */
};

/* A value: a view of its bytes, which stay the caller's. A zeroed struct (p NULL) is
 * "absent": every accessor refuses it, so lookups can be chained. */
struct ben {
    const uint8_t *p;
    size_t n;
};

/* True when buf holds exactly one canonical value; out is a view of it. */
bool bencode_check(const uint8_t *buf, size_t len, struct ben *out);
/* The same, but keys may be unsorted and repeated, numbers may have leading zeros and be
 * of any size, and the depth may be BENCODE_LAX_DEPTH_MAX. Accessors refuse a string or
 * an integer whose own number isn't canonical; ben_get() finds the first of repeated
 * keys. */
bool bencode_check_lax(const uint8_t *buf, size_t len, struct ben *out);

bool ben_is_dict(struct ben v);
bool ben_is_list(struct ben v);
/* Accessors: false, outputs untouched, when v is absent or of another type or range. */
bool ben_str(struct ben v, const uint8_t **p, size_t *n);
bool ben_fixed(struct ben v, void *out, size_t n); /* a string of exactly n bytes */
bool ben_int(struct ben v, int64_t *out);
bool ben_uint(struct ben v, uint64_t *out); /* 0 .. INT64_MAX */
/* The value of a key of a dictionary; absent when missing. */
struct ben ben_get(struct ben dict, const char *key);
/* Iterates a list or dictionary: start with a zeroed it. */
struct ben_iter {
    size_t off;
};
bool ben_list_next(struct ben list, struct ben_iter *it, struct ben *value);
bool ben_dict_next(struct ben dict, struct ben_iter *it, struct ben *key,
                   struct ben *value);
/* Like ben_get for a canonical dictionary whose keys are asked for in ascending order:
 * each is looked for from where the one before was found. */
struct ben ben_get_next(struct ben dict, struct ben_iter *it, const char *key);

/* Encoding. Keys must be written in sorted order: asserted in wr_ben_key's callers'
 * tests through bencode_check. */
void wr_ben_dict(struct wr *w); /* 'd' */
void wr_ben_list(struct wr *w); /* 'l' */
void wr_ben_end(struct wr *w);  /* 'e' */
void wr_ben_str(struct wr *w, const void *p, size_t n);
void wr_ben_key(struct wr *w, const char *key);
void wr_ben_int(struct wr *w, int64_t v);
void wr_ben_uint(struct wr *w, uint64_t v); /* latches overflow above INT64_MAX */

#endif
