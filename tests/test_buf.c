#include <criterion/criterion.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"

static const uint8_t WIRE[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,
                               0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0xff};

Test(rd, numbers_are_big_endian)
{
    struct rd r = rd_init(WIRE, sizeof WIRE);
    cr_assert_eq(rd_u8(&r), 0x01);
    cr_assert_eq(rd_u16(&r), 0x0203);
    cr_assert_eq(rd_u32(&r), 0x04050607u);
    cr_assert_eq(rd_u64(&r), UINT64_C(0x08090a0b0c0d0e0f));
    cr_assert(rd_ok(&r));
    cr_assert_not(rd_end(&r));
    cr_assert_eq(rd_u8(&r), 0xff);
    cr_assert(rd_end(&r));
}

static bool decode(const uint8_t *p, size_t n)
{
    struct rd r = rd_init(p, n);
    uint8_t copy[1];
    (void)rd_u8(&r);
    (void)rd_u16(&r);
    (void)rd_u32(&r);
    (void)rd_u64(&r);
    (void)rd_copy(&r, copy, sizeof copy);
    return rd_end(&r);
}

Test(rd, every_truncated_length_is_refused)
{
    cr_assert(decode(WIRE, sizeof WIRE));
    for (size_t n = 0; n < sizeof WIRE; n++) {
        cr_assert_not(decode(WIRE, n), "%zu bytes", n);
    }
}

Test(rd, failure_is_latched_and_gives_zeros)
{
    struct rd r = rd_init(WIRE, 3);
    uint8_t out[4] = {9, 9, 9, 9};
    cr_assert_not(rd_copy(&r, out, sizeof out));
    cr_assert_arr_eq(out, ((uint8_t[]){0, 0, 0, 0}), 4);
    cr_assert_eq(rd_u8(&r), 0, "three bytes were there, but the reader has failed");
    cr_assert_null(rd_bytes(&r, 0));
    cr_assert_not(rd_ok(&r));
    cr_assert_not(rd_end(&r));
}

Test(rd, borrowed_bytes_and_huge_lengths)
{
    struct rd r = rd_init(WIRE, sizeof WIRE);
    cr_assert_eq(rd_bytes(&r, 2), WIRE);
    cr_assert_eq(rd_bytes(&r, 3), WIRE + 2);
    cr_assert_null(rd_bytes(&r, SIZE_MAX));
    cr_assert_not(rd_ok(&r));
}

Test(rd, nothing_can_be_read_from_nothing)
{
    struct rd r = rd_init(NULL, 0);
    cr_assert(rd_end(&r));
    cr_assert_not_null(rd_bytes(&r, 0));
    cr_assert(rd_copy(&r, NULL, 0));
    cr_assert(rd_end(&r));
    cr_assert_eq(rd_u8(&r), 0);
    cr_assert_not(rd_ok(&r));
}

Test(wr, round_trip)
{
    uint8_t out[sizeof WIRE];
    struct wr w = wr_init(out, sizeof out);
    wr_u8(&w, 0x01);
    wr_u16(&w, 0x0203);
    wr_u32(&w, 0x04050607u);
    wr_u64(&w, UINT64_C(0x08090a0b0c0d0e0f));
    wr_bytes(&w, WIRE + 15, 1);
    cr_assert(wr_ok(&w));
    cr_assert_eq(w.len, sizeof out);
    cr_assert_arr_eq(out, WIRE, sizeof out);
}

Test(wr, overflow_is_latched_and_writes_nothing)
{
    uint8_t out[8];
    memset(out, 0xee, sizeof out);
    struct wr w = wr_init(out, 3);
    wr_u16(&w, 0x0102);
    wr_u16(&w, 0x0304);
    cr_assert_not(wr_ok(&w));
    wr_u8(&w, 5);
    wr_zero(&w, 1);
    cr_assert_null(wr_space(&w, 0));
    cr_assert_not(wr_ok(&w));
    cr_assert_eq(w.len, 2);
    cr_assert_arr_eq(out, ((uint8_t[]){1, 2, 0xee, 0xee}), 4);
}

Test(wr, space_and_zeros)
{
    uint8_t out[6];
    memset(out, 0xee, sizeof out);
    struct wr w = wr_init(out, sizeof out);
    uint8_t *p = wr_space(&w, 2);
    cr_assert_eq(p, out);
    wr_zero(&w, 3);
    cr_assert_null(wr_space(&w, SIZE_MAX));
    cr_assert_arr_eq(out, ((uint8_t[]){0xee, 0xee, 0, 0, 0, 0xee}), 6);
    struct wr none = wr_init(NULL, 0);
    wr_bytes(&none, NULL, 0);
    cr_assert(wr_ok(&none));
    wr_u8(&none, 1);
    cr_assert_not(wr_ok(&none));
}

Test(buf, append_and_consume)
{
    struct buf b;
    buf_init(&b, 10);
    cr_assert_null(buf_data(&b));
    cr_assert_eq(buf_append(&b, "abcdef", 6), 0);
    buf_consume(&b, 2);
    cr_assert_eq(b.len, 4);
    cr_assert_arr_eq(buf_data(&b), "cdef", 4);
    cr_assert_eq(buf_append(&b, "ghijkl", 6), 0);
    cr_assert_arr_eq(buf_data(&b), "cdefghijkl", 10);
    buf_release(&b);
    cr_assert_eq(b.len, 0);
}

Test(buf, the_cap_is_an_ordinary_error)
{
    struct buf b;
    buf_init(&b, 4);
    cr_assert_eq(buf_append(&b, "abcde", 5), ERR_LIMIT);
    cr_assert_eq(b.len, 0);
    cr_assert_eq(buf_append(&b, "abc", 3), 0);
    cr_assert_eq(buf_append(&b, "de", 2), ERR_LIMIT);
    cr_assert_eq(b.len, 3);
    cr_assert_null(buf_reserve(&b, 2));
    cr_assert_null(buf_reserve(&b, SIZE_MAX));
    cr_assert_eq(buf_append(&b, "d", 1), 0);
    cr_assert_arr_eq(buf_data(&b), "abcd", 4);
    buf_release(&b);
    struct buf nothing;
    buf_init(&nothing, 0);
    cr_assert_eq(buf_append(&nothing, "a", 1), ERR_LIMIT);
    cr_assert_eq(buf_append(&nothing, NULL, 0), 0);
    buf_release(&nothing);
}

Test(buf, reserve_and_commit)
{
    struct buf b;
    buf_init(&b, 1000);
    uint8_t *p = buf_reserve(&b, 1000);
    cr_assert_not_null(p);
    memset(p, 7, 1000);
    buf_commit(&b, 3);
    cr_assert_eq(b.len, 3);
    p = buf_reserve(&b, 997);
    cr_assert_not_null(p);
    memset(p, 8, 997);
    buf_commit(&b, 997);
    cr_assert_eq(buf_data(&b)[2], 7);
    cr_assert_eq(buf_data(&b)[3], 8);
    buf_release(&b);
}

/* A queue that is never empty: contents stay right and memory stays bounded. */
Test(buf, a_long_lived_queue_does_not_grow)
{
    struct buf b;
    uint8_t next_in = 0, next_out = 0;
    buf_init(&b, 1024);
    for (size_t round = 0; round < 20000; round++) {
        size_t n = round * 7 % 61;
        for (size_t i = 0; i < n; i++) {
            if (buf_append(&b, &next_in, 1) == 0) {
                next_in++;
            }
        }
        cr_assert_leq(b.len, 1024);
        cr_assert_leq(b.cap, 2048);
        size_t m = round * 5 % 59 < b.len ? round * 5 % 59 : b.len;
        for (size_t i = 0; i < m; i++) {
            cr_assert_eq(buf_data(&b)[i], next_out++);
        }
        buf_consume(&b, m);
    }
    buf_release(&b);
}

Test(buf, release_tolerates_what_was_never_used)
{
    struct buf b = {0};
    buf_release(&b);
    buf_release(&b);
    buf_release(NULL);
}
