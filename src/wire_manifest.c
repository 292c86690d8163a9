/* Names of files, and manifests of folders. */
#include <string.h>

#include "wire.h"
#include "wire_text.h"

enum {
    NAME_ENDING_MAX = 32, /* what is kept behind the cut of a name that is too long */
};

/* Whether p begins with this ASCII word, in whatever case. */
static bool has_word(const uint8_t *p, size_t len, const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i < n; i++) {
        if (i == len || (p[i] | (p[i] >= 'A' && p[i] <= 'Z' ? 0x20 : 0)) != word[i]) {
            return false;
        }
    }
    return true;
}

/* A digit, also one of the superscripts that some systems take for 1 to 3. */
static bool is_port(const uint8_t *p, size_t len)
{
    return (len == 1 && p[0] >= '0' && p[0] <= '9') ||
           (len == 2 && p[0] == 0xc2 && (p[1] == 0xb9 || p[1] == 0xb2 || p[1] == 0xb3));
}

/* A name that DOS and its heirs give to a device, in every folder. */
static bool is_device(const uint8_t *p, size_t len)
{
    static const char *const devices[] = {"con", "prn",    "aux",
                                          "nul", "conin$", "conout$"};
    const uint8_t *dot = memchr(p, '.', len);
    size_t n = dot != NULL ? (size_t)(dot - p) : len;
    while (n > 0 && p[n - 1] == ' ') {
        n--;
    }
    for (size_t i = 0; i < sizeof devices / sizeof devices[0]; i++) {
        if (n == strlen(devices[i]) && has_word(p, n, devices[i])) {
            return true;
        }
    }
    return (has_word(p, n, "com") || has_word(p, n, "lpt")) && is_port(p + 3, n - 3);
}

/* A character that stands in no name. */
static bool is_refused(int32_t c)
{
    return c == '/' || c == '\\' || wire_char_deceives(c);
}

/* What a name's characters are like: where its first one ends and its last one begins. */
struct shape {
    size_t first, last;
    bool good, visible, space_first, bad_last;
};

static struct shape shape_of(const uint8_t *p, size_t len)
{
    struct shape s = {.good = true};
    for (size_t i = 0; i < len;) {
        int32_t c;
        s.last = i;
        if (!wire_char_next(p, len, &i, &c) || is_refused(c)) {
            s.good = false;
            return s;
        }
        if (s.last == 0) {
            s.first = i;
            s.space_first = wire_char_space(c);
        }
        s.bad_last = c == '.' || wire_char_space(c);
        s.visible = s.visible || !wire_char_blank(c);
    }
    return s;
}

bool wire_file_name_ok(const uint8_t *p, size_t len)
{
    if (len == 0 || len > WIRE_FILE_NAME_MAX) {
        return false;
    }
    struct shape s = shape_of(p, len);
    return s.good && s.visible && !s.space_first && !s.bad_last && !is_device(p, len);
}

/* Copies characters to w as long as they fit whole, "_" for those that cannot stay. */
static void put_clean(struct wr *w, const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t at = i;
        int32_t c;
        bool good = wire_char_next(p, len, &i, &c);
        if (!good) {
            i++;
        }
        const uint8_t *from = p + at;
        size_t n = i - at;
        if (!good || is_refused(c)) {
            from = (const uint8_t *)"_";
            n = 1;
        }
        if (n > w->cap - w->len) {
            return;
        }
        wr_bytes(w, from, n);
    }
}

/* Writes a name into q, out of a front and what stands before and behind its cut. */
static size_t put_parts(uint8_t *q, const char *front, const uint8_t *p, size_t stem,
                        const struct wr *ending)
{
    struct wr w = wr_init(q, WIRE_FILE_NAME_MAX - ending->len);
    wr_bytes(&w, front, strlen(front));
    put_clean(&w, p, stem);
    w.cap = WIRE_FILE_NAME_MAX;
    wr_bytes(&w, ending->p, ending->len);
    return w.len;
}

/* Puts "_" for the n bytes at `at` of a name of len bytes; returns its new length. */
static size_t put_mark(uint8_t *p, size_t len, size_t at, size_t n)
{
    memmove(p + at + 1, p + at + n, len - at - n);
    p[at] = '_';
    return len - n + 1;
}

void wire_file_name_fix(const char *name, char out[WIRE_FILE_NAME_MAX + 1])
{
    const uint8_t *p = (const uint8_t *)name;
    uint8_t *q = (uint8_t *)out;
    uint8_t ending[NAME_ENDING_MAX];
    size_t len = strlen(name);
    const char *dot = strrchr(name, '.');
    size_t stem = dot != NULL ? (size_t)(dot - name) : len;
    if (len - stem > sizeof ending) {
        stem = len; /* no ending that anybody would miss */
    }
    struct wr e = wr_init(ending, sizeof ending);
    put_clean(&e, p + stem, len - stem);
    size_t n = put_parts(q, "", p, stem, &e);
    if (is_device(q, n)) {
        n = put_parts(q, "_", p, stem, &e);
    }
    struct shape s = shape_of(q, n);
    if (s.bad_last) {
        n = put_mark(q, n, s.last, n - s.last);
    }
    s = shape_of(q, n);
    if (s.space_first || !s.visible) {
        n = put_mark(q, n, 0, s.first);
    }
    q[n] = '\0';
}

/* Components with "/" between them, each a good name. */
static bool path_ok(const uint8_t *p, size_t len)
{
    if (len > WIRE_FILE_PATH_MAX) {
        return false;
    }
    for (size_t depth = 0; depth < WIRE_FILE_DEPTH_MAX; depth++) {
        const uint8_t *slash = memchr(p, '/', len);
        size_t n = slash != NULL ? (size_t)(slash - p) : len;
        if (!wire_file_name_ok(p, n)) {
            return false;
        }
        if (slash == NULL) {
            return true;
        }
        p += n + 1;
        len -= n + 1;
    }
    return false;
}

static bool entry_ok(const struct wire_manifest_entry *v)
{
    return (v->flags == 0 || v->flags == MANIFEST_FOLDER || v->flags == MANIFEST_EXEC) &&
           v->size <= (v->flags == MANIFEST_FOLDER ? 0 : WIRE_FILE_SIZE_MAX) &&
           path_ok(v->path, v->path_len);
}

void wire_manifest_put(struct wr *w, const struct wire_manifest_entry *v)
{
    if (!entry_ok(v)) {
        w->bad = true;
        return;
    }
    wr_u8(w, v->flags);
    wr_u64(w, v->size);
    wr_u16(w, (uint16_t)v->path_len);
    wr_bytes(w, v->path, v->path_len);
}

/* Whether a is before b, component by component. "/" comes before all that a component
 * can have, so that "a/b" is before "a.txt", and what is in a folder behind it. */
static bool is_before(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
    size_t n = a_len < b_len ? a_len : b_len, i = 0;
    while (i < n && a[i] == b[i]) {
        i++;
    }
    if (i == n) {
        return a_len < b_len;
    }
    return b[i] != '/' && (a[i] == '/' || a[i] < b[i]);
}

/* Whether the folder that a path lies in is there. In this order everything between a
 * folder and what is in it lies in that folder too; so it is the entry before, or one
 * that the entry before lies in, and of those it is known already. */
static bool has_parent(const struct wire_manifest_at *at,
                       const struct wire_manifest_entry *v)
{
    const uint8_t *slash = memrchr(v->path, '/', v->path_len);
    if (slash == NULL) {
        return true;
    }
    size_t n = (size_t)(slash - v->path);
    if (n > at->path_len || memcmp(at->path, v->path, n) != 0) {
        return false;
    }
    return n == at->path_len ? at->folder : at->path[n] == '/';
}

static bool fits(const struct wire_manifest_at *at, const struct wire_manifest_entry *v)
{
    return at->n < WIRE_FILE_ENTRIES_MAX && entry_ok(v) &&
           v->size <= WIRE_FILE_SIZE_MAX - at->total &&
           (at->n == 0 || is_before(at->path, at->path_len, v->path, v->path_len)) &&
           has_parent(at, v);
}

bool wire_manifest_next(struct rd *r, struct wire_manifest_at *at,
                        struct wire_manifest_entry *v)
{
    if (r->bad || r->n == 0) {
        return false;
    }
    bool small = r->n <= WIRE_MANIFEST_MAX;
    v->flags = rd_u8(r);
    v->size = rd_u64(r);
    v->path_len = rd_u16(r);
    v->path = rd_bytes(r, v->path_len);
    if (!small || !rd_ok(r) || !fits(at, v)) {
        r->bad = true;
        r->n = 0;
        return false;
    }
    at->path = v->path;
    at->path_len = v->path_len;
    at->folder = v->flags == MANIFEST_FOLDER;
    at->n++;
    at->total += v->size;
    return true;
}
