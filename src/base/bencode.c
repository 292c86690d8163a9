#include "base/bencode.h"

#include <string.h>

enum { INT_CHARS_MAX = 24 };

/* Reads decimal digits without a leading zero up to the character `end`, which is taken
 * too. At most `limit`, which is at most 2^63. This is where most of a decoder's time
 * goes, so it walks the reader's bytes itself. */
static bool scan_number(struct rd *r, char end, uint64_t limit, uint64_t *out)
{
    const uint8_t *p = r->p;
    uint64_t v = 0;
    size_t i = 0;
    for (; i < r->n && p[i] >= '0' && p[i] <= '9'; i++) {
        if (v > INT64_MAX / 10 || (i == 1 && v == 0)) {
            return false;
        }
        v = v * 10 + (uint64_t)(p[i] - '0'); /* 2^63 + 1 at most */
    }
    if (i == 0 || i == r->n || p[i] != (uint8_t)end || v > limit) {
        return false;
    }
    r->p = p + i + 1;
    r->n -= i + 1;
    *out = v;
    return true;
}

/* A whole string, "4:spam". */
static bool scan_str(struct rd *r, const uint8_t **p, size_t *n)
{
    uint64_t len;
    if (!scan_number(r, ':', r->n, &len)) {
        return false;
    }
    *n = (size_t)len;
    *p = rd_bytes(r, *n);
    return *p != NULL;
}

/* The same with leading zeros before the length. */
static bool scan_str_lax(struct rd *r, const uint8_t **p, size_t *n)
{
    while (r->n > 1 && r->p[0] == '0' && r->p[1] >= '0' && r->p[1] <= '9') {
        (void)rd_u8(r);
    }
    return scan_str(r, p, n);
}

/* Steps over "i", perhaps a minus, one digit or more, and "e". */
static bool skip_int(struct rd *r)
{
    const uint8_t *p = r->p;
    size_t i = r->n > 1 && p[1] == '-' ? 2 : 1, first = i;
    while (i < r->n && p[i] >= '0' && p[i] <= '9') {
        i++;
    }
    if (r->n == 0 || p[0] != 'i' || i == first || i >= r->n || p[i] != 'e') {
        return false;
    }
    r->p = p + i + 1;
    r->n -= i + 1;
    return true;
}

/* A whole integer, "i-3e". */
static bool scan_int(struct rd *r, int64_t *out)
{
    if (rd_u8(r) != 'i' || r->n == 0) {
        return false;
    }
    uint64_t v;
    if (*r->p != '-') {
        if (!scan_number(r, 'e', INT64_MAX, &v)) {
            return false;
        }
        *out = (int64_t)v;
        return true;
    }
    (void)rd_u8(r);
    if (!scan_number(r, 'e', (uint64_t)INT64_MAX + 1, &v) || v == 0) {
        return false;
    }
    *out = -(int64_t)(v - 1) - 1;
    return true;
}

struct view {
    const uint8_t *p;
    size_t n;
};

/* One open container of the value under check. */
struct level {
    bool dict, want_value;
    size_t keys;
    struct view last;
};

struct check {
    struct level levels[BENCODE_LAX_DEPTH_MAX];
    size_t depth, depth_max;
    bool lax;
};

static int compare(struct view a, struct view b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n == 0 ? 0 : memcmp(a.p, b.p, n);
    return c != 0 ? c : (a.n > b.n) - (a.n < b.n);
}

static bool check_str(const struct check *c, struct rd *r, struct view *out)
{
    return c->lax ? scan_str_lax(r, &out->p, &out->n) : scan_str(r, &out->p, &out->n);
}

static bool check_key(struct check *c, struct rd *r)
{
    struct level *l = &c->levels[c->depth - 1];
    struct view key;
    if (!check_str(c, r, &key)) {
        return false;
    }
    if (!c->lax && l->keys > 0 && compare(l->last, key) >= 0) {
        return false;
    }
    l->last = key;
    l->keys++;
    l->want_value = true;
    return true;
}

static bool check_scalar(const struct check *c, struct rd *r)
{
    struct view s;
    int64_t v;
    if (*r->p != 'i') {
        return check_str(c, r, &s);
    }
    return c->lax ? skip_int(r) : scan_int(r, &v);
}

/* Takes one token: a scalar, the start or end of a container, or a key. */
static bool check_token(struct check *c, struct rd *r)
{
    struct level *top = c->depth > 0 ? &c->levels[c->depth - 1] : NULL;
    if (r->n == 0) {
        return false;
    }
    uint8_t t = *r->p;
    if (top != NULL && t == 'e') {
        if (top->want_value) {
            return false;
        }
        (void)rd_u8(r);
        c->depth--;
        return true;
    }
    if (top != NULL && top->dict && !top->want_value) {
        return check_key(c, r);
    }
    if (top != NULL) {
        top->want_value = false;
    }
    if (t == 'd' || t == 'l') {
        if (c->depth == c->depth_max) {
            return false;
        }
        (void)rd_u8(r);
        c->levels[c->depth++] = (struct level){.dict = t == 'd'};
        return true;
    }
    return check_scalar(c, r);
}

static bool check(const uint8_t *buf, size_t len, bool lax, struct ben *out)
{
    struct check c;
    c.depth = 0;
    c.depth_max = lax ? BENCODE_LAX_DEPTH_MAX : BENCODE_DEPTH_MAX;
    c.lax = lax;
    struct rd r = rd_init(buf, len);
    do {
        if (!check_token(&c, &r)) {
            return false;
        }
    } while (c.depth > 0);
    if (!rd_end(&r)) {
        return false;
    }
    *out = (struct ben){buf, len};
    return true;
}

bool bencode_check(const uint8_t *buf, size_t len, struct ben *out)
{
    return check(buf, len, false, out);
}

bool bencode_check_lax(const uint8_t *buf, size_t len, struct ben *out)
{
    return check(buf, len, true, out);
}

/* Steps over one value of checked bytes; false at the end of a container. */
static bool skip(struct rd *r, struct ben *value)
{
    const uint8_t *start = r->p;
    size_t before = r->n, depth = 0;
    if (r->n == 0 || *r->p == 'e') {
        return false;
    }
    do {
        const uint8_t *p;
        size_t n;
        uint8_t t = r->n > 0 ? *r->p : 0;
        if (t == 'd' || t == 'l') {
            (void)rd_u8(r);
            depth++;
        } else if (t == 'e' && depth > 0) {
            (void)rd_u8(r);
            depth--;
        } else if (!(t == 'i' ? skip_int(r) : scan_str_lax(r, &p, &n))) {
            return false;
        }
    } while (depth > 0);
    *value = (struct ben){start, before - r->n};
    return true;
}

static bool has_type(struct ben v, char type)
{
    return v.p != NULL && v.n > 0 && v.p[0] == (uint8_t)type;
}

bool ben_is_dict(struct ben v)
{
    return has_type(v, 'd');
}

bool ben_is_list(struct ben v)
{
    return has_type(v, 'l');
}

bool ben_str(struct ben v, const uint8_t **p, size_t *n)
{
    if (v.p == NULL || v.n == 0 || v.p[0] < '0' || v.p[0] > '9') {
        return false;
    }
    const uint8_t *s;
    size_t len;
    struct rd r = rd_init(v.p, v.n);
    if (!scan_str(&r, &s, &len) || !rd_end(&r)) {
        return false;
    }
    *p = s;
    *n = len;
    return true;
}

bool ben_fixed(struct ben v, void *out, size_t n)
{
    const uint8_t *p;
    size_t len;
    if (!ben_str(v, &p, &len) || len != n) {
        return false;
    }
    if (n > 0) {
        memcpy(out, p, n);
    }
    return true;
}

bool ben_int(struct ben v, int64_t *out)
{
    if (!has_type(v, 'i')) {
        return false;
    }
    int64_t value;
    struct rd r = rd_init(v.p, v.n);
    if (!scan_int(&r, &value) || !rd_end(&r)) {
        return false;
    }
    *out = value;
    return true;
}

bool ben_uint(struct ben v, uint64_t *out)
{
    int64_t value;
    if (!ben_int(v, &value) || value < 0) {
        return false;
    }
    *out = (uint64_t)value;
    return true;
}

/* A reader of the container v at the iterator's place, behind its first character. */
static struct rd resume(struct ben v, const struct ben_iter *it)
{
    size_t off = it->off == 0 ? 1 : it->off;
    return off > v.n ? rd_init(v.p, 0) : rd_init(v.p + off, v.n - off);
}

bool ben_list_next(struct ben list, struct ben_iter *it, struct ben *value)
{
    if (!ben_is_list(list)) {
        return false;
    }
    struct rd r = resume(list, it);
    struct ben v;
    if (!skip(&r, &v)) {
        return false;
    }
    it->off = list.n - r.n;
    *value = v;
    return true;
}

bool ben_dict_next(struct ben dict, struct ben_iter *it, struct ben *key,
                   struct ben *value)
{
    if (!ben_is_dict(dict)) {
        return false;
    }
    struct rd r = resume(dict, it);
    struct ben k, v;
    if (!skip(&r, &k) || !skip(&r, &v)) {
        return false;
    }
    it->off = dict.n - r.n;
    *key = k;
    *value = v;
    return true;
}

struct ben ben_get(struct ben dict, const char *key)
{
    struct view want = {(const uint8_t *)key, strlen(key)}, k;
    struct ben v;
    if (!ben_is_dict(dict)) {
        return (struct ben){NULL, 0};
    }
    struct rd r = rd_init(dict.p + 1, dict.n - 1);
    while (r.n > 0 && *r.p != 'e' && scan_str_lax(&r, &k.p, &k.n) && skip(&r, &v)) {
        if (compare(k, want) == 0) {
            return v;
        }
    }
    return (struct ben){NULL, 0};
}

struct ben ben_get_next(struct ben dict, struct ben_iter *it, const char *key)
{
    struct view want = {(const uint8_t *)key, strlen(key)}, k;
    struct ben v;
    if (!ben_is_dict(dict)) {
        return (struct ben){NULL, 0};
    }
    struct rd r = resume(dict, it);
    while (r.n > 0 && *r.p != 'e' && scan_str(&r, &k.p, &k.n)) {
        int c = compare(k, want);
        if (c > 0 || !skip(&r, &v)) {
            break; /* it stays before the larger key, which may be asked for next */
        }
        it->off = dict.n - r.n;
        if (c == 0) {
            return v;
        }
    }
    return (struct ben){NULL, 0};
}

void wr_ben_dict(struct wr *w)
{
    wr_u8(w, 'd');
}

void wr_ben_list(struct wr *w)
{
    wr_u8(w, 'l');
}

void wr_ben_end(struct wr *w)
{
    wr_u8(w, 'e');
}

/* The digits of v and a character, at the end of text; their number. */
static size_t digits(uint8_t text[INT_CHARS_MAX], uint64_t v, char last)
{
    size_t at = INT_CHARS_MAX;
    text[--at] = (uint8_t)last;
    do {
        text[--at] = (uint8_t)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    return INT_CHARS_MAX - at;
}

void wr_ben_str(struct wr *w, const void *p, size_t n)
{
    uint8_t text[INT_CHARS_MAX];
    size_t len = digits(text, n, ':');
    wr_bytes(w, text + INT_CHARS_MAX - len, len);
    wr_bytes(w, p, n);
}

void wr_ben_key(struct wr *w, const char *key)
{
    wr_ben_str(w, key, strlen(key));
}

void wr_ben_int(struct wr *w, int64_t v)
{
    uint8_t text[INT_CHARS_MAX];
    size_t len = digits(text, v < 0 ? -(uint64_t)v : (uint64_t)v, 'e');
    wr_u8(w, 'i');
    if (v < 0) {
        wr_u8(w, '-');
    }
    wr_bytes(w, text + INT_CHARS_MAX - len, len);
}

void wr_ben_uint(struct wr *w, uint64_t v)
{
    if (v > INT64_MAX) {
        w->bad = true;
        return;
    }
    wr_ben_int(w, (int64_t)v);
}
