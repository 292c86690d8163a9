#include <criterion/criterion.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "crypto/transport.h"

static void start(void)
{
    cr_assert(sodium_init() >= 0);
}

TestSuite(transport, .init = start);

/* Two ends of an NN handshake. */
static void connect_ends(const char *pattern, int err, struct transport *a,
                         struct transport *b)
{
    struct transport *ends[2] = {a, b};
    struct noise_handshake hs[2];
    uint8_t msg[128], sec[2][32] = {{1}, {2}}, e[2][32] = {{3}, {4}}, pub[32];
    size_t len, n;

    (void)crypto_scalarmult_base(pub, sec[1]);
    for (int i = 0; i < 2; i++) {
        struct noise_setup setup = {.pattern = noise_pattern_find(pattern),
                                    .initiator = i == 0,
                                    .s = sec[i],
                                    .rs = pub,
                                    .e = e[i]};
        cr_assert_eq(noise_init(&hs[i], &setup), 0);
        cr_assert_eq(transport_init(ends[i], &hs[i]), ERR_STATE); /* not yet */
        cr_assert_eq(transport_want(ends[i]), 0);
    }
    for (unsigned i = 0; i < noise_pattern_messages(hs[0].pattern); i++) {
        cr_assert_eq(noise_write(&hs[i % 2], NULL, 0, msg, sizeof(msg), &len), 0);
        cr_assert_eq(noise_read(&hs[(i + 1) % 2], msg, len, NULL, 0, &n), 0);
    }
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(transport_init(ends[i], &hs[i]), err);
        cr_assert_eq(transport_init(&(struct transport){0}, &hs[i]), ERR_STATE);
    }
}

/* Opens a whole frame; the body's length or the error. */
static long open_frame(struct transport *t, const uint8_t *frame, uint8_t *body)
{
    size_t len = 0;
    size_t want = transport_want(t);
    int err = transport_open(t, frame, body, &len);

    if (err != 0) {
        return err;
    }
    cr_assert_eq(want, TRANSPORT_HEAD);
    cr_assert_eq(len, SIZE_MAX);
    want = transport_want(t);
    err = transport_open(t, frame + TRANSPORT_HEAD, body, &len);
    if (err != 0) {
        return err;
    }
    cr_assert_eq(len, want - NOISE_TAG);
    return (long)len;
}

Test(transport, frames_both_ways)
{
    static const size_t lens[] = {0, 1, 2, 256, 16384, TRANSPORT_BODY_MAX};
    uint8_t *body = malloc(TRANSPORT_BODY_MAX), *got = malloc(TRANSPORT_BODY_MAX);
    uint8_t *frame = malloc(TRANSPORT_BODY_MAX + TRANSPORT_OVERHEAD);
    struct transport a, b;

    connect_ends("NN", 0, &a, &b);
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        randombytes_buf(body, lens[i]);
        cr_assert_eq(transport_seal(&a, body, lens[i], frame), 0);
        cr_assert_eq(open_frame(&b, frame, got), (long)lens[i]);
        cr_assert_arr_eq(got, body, lens[i]);
        /* Back, in place on both sides. */
        memcpy(frame + TRANSPORT_HEAD, body, lens[i]);
        cr_assert_eq(transport_seal(&b, frame + TRANSPORT_HEAD, lens[i], frame), 0);
        cr_assert_eq(transport_open(&a, frame, got, &(size_t){0}), 0);
        size_t n;
        cr_assert_eq(
            transport_open(&a, frame + TRANSPORT_HEAD, frame + TRANSPORT_HEAD, &n), 0);
        cr_assert_eq(n, lens[i]);
        cr_assert_arr_eq(frame + TRANSPORT_HEAD, body, n);
    }
    transport_release(&a);
    transport_release(&b);
    free(body);
    free(got);
    free(frame);
}

Test(transport, too_long_costs_nothing)
{
    static const uint8_t body[TRANSPORT_BODY_MAX + 1];
    uint8_t frame[64], got[64];
    struct transport a, b;

    connect_ends("NN", 0, &a, &b);
    cr_expect_eq(transport_seal(&a, body, sizeof(body), frame), ERR_LIMIT);
    cr_assert_eq(transport_seal(&a, body, 3, frame), 0);
    cr_expect_eq(open_frame(&b, frame, got), 3);
}

Test(transport, every_flipped_byte_is_terminal)
{
    uint8_t frame[5 + TRANSPORT_OVERHEAD], got[64], out[64];
    struct transport a, b;

    connect_ends("NN", 0, &a, &b);
    cr_assert_eq(transport_seal(&a, (const uint8_t *)"hello", 5, frame), 0);
    for (size_t i = 0; i < sizeof(frame); i++) {
        struct transport t = b;

        frame[i] ^= (uint8_t)(1U << (i % 8));
        cr_expect_eq(open_frame(&t, frame, got), ERR_AUTH);
        frame[i] ^= (uint8_t)(1U << (i % 8));
        cr_expect_eq(open_frame(&t, frame, got), ERR_STATE);
        cr_expect_eq(transport_seal(&t, got, 1, out), ERR_STATE);
        cr_expect_eq(transport_want(&t), 0);
        cr_expect(sodium_is_zero(t.rx.k, sizeof(t.rx.k)));
        cr_expect(sodium_is_zero(t.tx.k, sizeof(t.tx.k)));
    }
    cr_expect_eq(open_frame(&b, frame, got), 5);
    cr_expect_eq(open_frame(&b, frame, got), ERR_AUTH, "a replay");
}

Test(transport, length_beyond_the_limit)
{
    uint8_t head[2] = {0xff, 0xff}, piece[TRANSPORT_HEAD];
    struct transport a, b;
    size_t len = 7;

    connect_ends("NN", 0, &a, &b);
    cr_assert_eq(noise_encrypt(&a.tx, NULL, 0, head, 2, piece), 0);
    cr_expect_eq(transport_open(&b, piece, NULL, &len), ERR_FORMAT);
    cr_expect_eq(len, 7);
    cr_expect(b.failed);
}

Test(transport, rekey_every_1024_frames)
{
    uint8_t frame[1 + TRANSPORT_OVERHEAD], got[64], first[32], byte = 9;
    struct transport a, b;

    connect_ends("NN", 0, &a, &b);
    memcpy(first, a.tx.k, sizeof(first));
    for (unsigned i = 1; i <= 3 * TRANSPORT_REKEY_FRAMES + 5; i++) {
        cr_assert_eq(transport_seal(&a, &byte, 1, frame), 0);
        cr_assert_eq(open_frame(&b, frame, got), 1);
        cr_assert_arr_eq(a.tx.k, b.rx.k, 32);
        cr_assert_eq(memcmp(a.tx.k, first, 32) == 0, i < TRANSPORT_REKEY_FRAMES);
        cr_assert_eq(a.tx.n, 2 * (uint64_t)i, "Rekey() keeps n");
    }
    /* The other direction has its own count and key. */
    cr_assert_arr_eq(a.rx.k, b.tx.k, 32);
    cr_assert_eq(a.rx.n, 0);
}

Test(transport, nonces_end)
{
    uint8_t frame[1 + TRANSPORT_OVERHEAD], byte = 9;
    struct transport a, b;

    connect_ends("NN", 0, &a, &b);
    a.tx.n = UINT64_MAX - 1; /* enough for a head, not for its body */
    cr_expect_eq(transport_seal(&a, &byte, 1, frame), ERR_LIMIT);
    cr_expect(a.failed);
}

Test(transport, a_one_way_pattern_makes_no_link)
{
    struct transport a, b;

    connect_ends("N", ERR_STATE, &a, &b);
    cr_expect(a.failed && b.failed);
    transport_release(NULL);
}
