/* Any bytes as what the other side of a handshake says, at each step and beyond.
 *
 * Input: a byte that picks pattern and role, then messages, each with its length before
 * it (2 bytes). Our side has fixed keys, so that corpora can hold whole handshakes. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "crypto/transport.h"

enum { PATTERNS = 8, INITIATOR = 0x80 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const patterns[PATTERNS] = {"KKpsk0", "XXpsk0", "XX",   "NN",
                                               "IK",     "X",      "X1X1", "XXpsk0+psk3"};

static void check_failed(struct noise_handshake *hs)
{
    uint8_t out[256];
    size_t n;

    if (hs->state != NOISE_FAILED || !sodium_is_zero(hs->ck, sizeof(hs->ck)) ||
        !sodium_is_zero(hs->s, sizeof(hs->s)) || !sodium_is_zero(hs->e, sizeof(hs->e)) ||
        noise_write(hs, NULL, 0, out, sizeof(out), &n) != ERR_STATE ||
        noise_read(hs, out, 48, out, sizeof(out), &n) != ERR_STATE) {
        abort();
    }
}

/* After the handshake: what remains goes through the frames' reader. */
static void frames(struct noise_handshake *hs, struct rd *r)
{
    static uint8_t body[TRANSPORT_BODY_MAX]; /* what is in it does not matter */
    struct transport t;
    size_t len;

    if (transport_init(&t, hs) != 0) {
        return;
    }
    while (r->n >= transport_want(&t) && !t.failed) {
        (void)transport_open(&t, rd_bytes(r, transport_want(&t)), body, &len);
    }
    transport_release(&t);
}

static int step(struct noise_handshake *hs, struct rd *r, uint8_t *payload, size_t cap)
{
    uint8_t out[256];
    size_t n;

    if (noise_my_turn(hs)) {
        return noise_write(hs, NULL, 0, out, sizeof(out), &n);
    }
    size_t len = rd_u16(r);

    len = len > r->n ? r->n : len;
    return noise_read(hs, rd_bytes(r, len), len, payload, cap, &n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t s[2][32] = {{1}, {2}}, e[2][32] = {{3}, {4}}, psk[32] = {5};
    struct rd r = rd_init(data, size);
    uint8_t choice = rd_u8(&r);
    bool initiator = (choice & INITIATOR) != 0;
    uint8_t pub[32], *payload = malloc(size + 1);
    struct noise_setup setup = {.pattern =
                                    noise_pattern_find(patterns[choice % PATTERNS]),
                                .initiator = initiator,
                                .s = s[initiator ? 0 : 1],
                                .e = e[initiator ? 0 : 1],
                                .rs = pub,
                                .psks = {psk, psk}};
    struct noise_handshake hs;
    int err;

    (void)crypto_scalarmult_base(pub, s[initiator ? 1 : 0]);
    setup.n_psks = noise_pattern_psks(setup.pattern);
    if (payload == NULL || noise_init(&hs, &setup) != 0) {
        abort();
    }
    do {
        err = step(&hs, &r, payload, size);
    } while (err == 0 && hs.state != NOISE_DONE);
    if (err != 0) {
        check_failed(&hs);
    } else {
        frames(&hs, &r);
    }
    noise_release(&hs);
    free(payload);
    return 0;
}
