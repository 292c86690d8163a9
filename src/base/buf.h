/* Bounded readers and writers, and a growable byte buffer with a cap.
 *
 * Wire bytes are read only through rd_* and written only through wr_*. A reader latches
 * failure: after the first short read all results are zero or NULL and rd_ok() is false.
 * A writer latches overflow likewise. A decoder ends with rd_end(). Big-endian. */
#ifndef LINNET_BASE_BUF_H
#define LINNET_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rd {
    const uint8_t *p;
    size_t n; /* bytes that remain */
    bool bad;
};

static inline struct rd rd_init(const void *p, size_t n)
{
    return (struct rd){.p = (const uint8_t *)p, .n = n, .bad = false};
}

static inline uint8_t rd_u8(struct rd *r)
{
    if (r->bad || r->n == 0) {
        r->bad = true;
        r->n = 0;
        return 0;
    }
    r->n--;
    return *r->p++;
}

uint16_t rd_u16(struct rd *r);
uint32_t rd_u32(struct rd *r);
uint64_t rd_u64(struct rd *r);
/* A borrowed pointer to the next n bytes, or NULL (and bad) when fewer remain. */
const uint8_t *rd_bytes(struct rd *r, size_t n);
/* Copies the next n bytes; on failure out is zeroed. */
bool rd_copy(struct rd *r, void *out, size_t n);
bool rd_ok(const struct rd *r);
/* True when nothing failed and nothing remains. */
bool rd_end(const struct rd *r);

struct wr {
    uint8_t *p;
    size_t len, cap;
    bool bad;
};

struct wr wr_init(void *p, size_t cap);
void wr_u8(struct wr *w, uint8_t v);
void wr_u16(struct wr *w, uint16_t v);
void wr_u32(struct wr *w, uint32_t v);
void wr_u64(struct wr *w, uint64_t v);
void wr_bytes(struct wr *w, const void *p, size_t n);
void wr_zero(struct wr *w, size_t n);
/* Reserves n bytes and returns them (for in-place encryption), or NULL on overflow. */
uint8_t *wr_space(struct wr *w, size_t n);
bool wr_ok(const struct wr *w);

/* A FIFO byte buffer: append at the end, consume at the start. */
struct buf {
    uint8_t *p;
    size_t off, len, cap; /* the content is p[off .. off + len) */
    size_t max;           /* len never exceeds this; 0 means nothing fits */
};

void buf_init(struct buf *b, size_t max);
/* Wipes and frees; tolerates a zeroed struct. */
void buf_release(struct buf *b);
/* 0, ERR_LIMIT or ERR_NOMEM; nothing is appended on failure. */
int buf_append(struct buf *b, const void *p, size_t n);
/* Makes room for n bytes behind the content and returns it, or NULL; buf_commit(b, m)
 * then adds the first m ≤ n of them. The pointer dies with the next call on b. */
uint8_t *buf_reserve(struct buf *b, size_t n);
void buf_commit(struct buf *b, size_t n);
void buf_consume(struct buf *b, size_t n);
const uint8_t *buf_data(const struct buf *b);

#endif
