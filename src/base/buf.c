#include "base/buf.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/err.h"

enum { BUF_CAP_MIN = 256 };

const uint8_t *rd_bytes(struct rd *r, size_t n)
{
    /* An empty reader may have no memory at all, yet zero bytes can always be read. */
    static const uint8_t empty[1];
    if (r->bad || r->n < n) {
        r->bad = true;
        r->n = 0;
        return NULL;
    }
    if (n == 0) {
        return r->p != NULL ? r->p : empty;
    }
    const uint8_t *p = r->p;
    r->p += n;
    r->n -= n;
    return p;
}

static uint64_t rd_number(struct rd *r, size_t n)
{
    const uint8_t *p = rd_bytes(r, n);
    uint64_t v = 0;
    for (size_t i = 0; p != NULL && i < n; i++) {
        v = v << 8 | p[i];
    }
    return v;
}

uint16_t rd_u16(struct rd *r)
{
    return (uint16_t)rd_number(r, 2);
}

uint32_t rd_u32(struct rd *r)
{
    return (uint32_t)rd_number(r, 4);
}

uint64_t rd_u64(struct rd *r)
{
    return rd_number(r, 8);
}

bool rd_copy(struct rd *r, void *out, size_t n)
{
    const uint8_t *p = rd_bytes(r, n);
    if (n == 0) {
        return p != NULL;
    }
    if (p == NULL) {
        memset(out, 0, n);
        return false;
    }
    memcpy(out, p, n);
    return true;
}

bool rd_ok(const struct rd *r)
{
    return !r->bad;
}

bool rd_end(const struct rd *r)
{
    return !r->bad && r->n == 0;
}

struct wr wr_init(void *p, size_t cap)
{
    return (struct wr){.p = p, .len = 0, .cap = cap, .bad = false};
}

uint8_t *wr_space(struct wr *w, size_t n)
{
    if (w->bad || w->p == NULL || w->cap - w->len < n) {
        w->bad = true;
        return NULL;
    }
    uint8_t *p = w->p + w->len;
    w->len += n;
    return p;
}

static void wr_number(struct wr *w, uint64_t v, size_t n)
{
    uint8_t *p = wr_space(w, n);
    for (size_t i = n; p != NULL && i > 0; i--) {
        p[i - 1] = (uint8_t)v;
        v >>= 8;
    }
}

void wr_u8(struct wr *w, uint8_t v)
{
    wr_number(w, v, 1);
}

void wr_u16(struct wr *w, uint16_t v)
{
    wr_number(w, v, 2);
}

void wr_u32(struct wr *w, uint32_t v)
{
    wr_number(w, v, 4);
}

void wr_u64(struct wr *w, uint64_t v)
{
    wr_number(w, v, 8);
}

void wr_bytes(struct wr *w, const void *p, size_t n)
{
    if (n == 0) {
        return;
    }
    uint8_t *out = wr_space(w, n);
    if (out != NULL) {
        memcpy(out, p, n);
    }
}

void wr_zero(struct wr *w, size_t n)
{
    if (n == 0) {
        return;
    }
    uint8_t *out = wr_space(w, n);
    if (out != NULL) {
        memset(out, 0, n);
    }
}

bool wr_ok(const struct wr *w)
{
    return !w->bad;
}

void buf_init(struct buf *b, size_t max)
{
    assert(max <= SIZE_MAX / 4);
    *b = (struct buf){.max = max};
}

void buf_release(struct buf *b)
{
    if (b == NULL) {
        return;
    }
    if (b->p != NULL) {
        sodium_memzero(b->p, b->cap);
        free(b->p);
    }
    *b = (struct buf){.max = b->max};
}

/* Moves the content into a new allocation and wipes the old one, which realloc() would
 * leave behind. */
static int grow(struct buf *b, size_t cap)
{
    uint8_t *p = malloc(cap);
    if (p == NULL) {
        return ERR_NOMEM;
    }
    if (b->p != NULL) {
        memcpy(p, b->p + b->off, b->len);
        sodium_memzero(b->p, b->cap);
        free(b->p);
    }
    b->p = p;
    b->off = 0;
    b->cap = cap;
    return 0;
}

/* Makes n bytes free behind the content. The allocation may reach twice the cap of the
 * content, so that content moves to the front only when it is shorter than what was
 * consumed before it: a byte is moved a constant number of times on average. */
static int make_room(struct buf *b, size_t n)
{
    if (n > b->max || b->len > b->max - n) {
        return ERR_LIMIT;
    }
    if (b->p != NULL && b->cap - b->off - b->len >= n) {
        return 0;
    }
    if (b->p != NULL && b->off >= b->len && b->cap - b->len >= n) {
        memmove(b->p, b->p + b->off, b->len);
        b->off = 0;
        return 0;
    }
    size_t cap = 2 * (b->len + n);
    return grow(b, cap < BUF_CAP_MIN ? BUF_CAP_MIN : cap);
}

int buf_append(struct buf *b, const void *p, size_t n)
{
    if (n == 0) {
        return 0;
    }
    int rc = make_room(b, n);
    if (rc != 0) {
        return rc;
    }
    memcpy(b->p + b->off + b->len, p, n);
    b->len += n;
    return 0;
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
    if (make_room(b, n) != 0) {
        return NULL;
    }
    return b->p + b->off + b->len;
}

void buf_commit(struct buf *b, size_t n)
{
    assert(n <= b->cap - b->off - b->len && n <= b->max - b->len);
    b->len += n;
}

void buf_consume(struct buf *b, size_t n)
{
    assert(n <= b->len);
    b->off += n;
    b->len -= n;
    if (b->len == 0) {
        b->off = 0;
    }
}

const uint8_t *buf_data(const struct buf *b)
{
    return b->p == NULL ? NULL : b->p + b->off;
}
