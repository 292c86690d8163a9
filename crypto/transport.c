#include "crypto/transport.h"

#include <sodium.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"

enum { LENGTH = 2 };

static int transport_fail(struct transport *t, int err)
{
    transport_release(t);
    return err;
}

int transport_init(struct transport *t, struct noise_handshake *hs)
{
    int err;

    memset(t, 0, sizeof(*t));
    err = noise_split(hs, &t->tx, &t->rx);
    if (err == 0 && (!t->tx.has_key || !t->rx.has_key)) {
        err = ERR_STATE; /* a one-way pattern makes no link */
    }
    return err == 0 ? 0 : transport_fail(t, err);
}

void transport_release(struct transport *t)
{
    if (t != NULL) {
        sodium_memzero(t, sizeof(*t));
        t->failed = true;
    }
}

/* Counts a frame of one direction and changes its key when its turn has come. */
static void count_frame(struct noise_cipher *c, uint64_t *frames)
{
    if (++*frames % TRANSPORT_REKEY_FRAMES == 0) {
        noise_rekey(c);
    }
}

int transport_seal(struct transport *t, const uint8_t *body, size_t len, uint8_t *out)
{
    uint8_t head[LENGTH];
    struct wr w = wr_init(head, sizeof(head));
    int err;

    if (t->failed) {
        return ERR_STATE;
    }
    if (len > TRANSPORT_BODY_MAX) {
        return ERR_LIMIT;
    }
    wr_u16(&w, (uint16_t)len);
    err = noise_encrypt(&t->tx, NULL, 0, head, sizeof(head), out);
    if (err == 0) {
        err = noise_encrypt(&t->tx, NULL, 0, body, len, out + TRANSPORT_HEAD);
    }
    if (err != 0) {
        return transport_fail(t, err);
    }
    count_frame(&t->tx, &t->tx_frames);
    return 0;
}

size_t transport_want(const struct transport *t)
{
    if (t->failed) {
        return 0;
    }
    return t->rx_body != 0 ? t->rx_body : (size_t)TRANSPORT_HEAD;
}

static int open_head(struct transport *t, const uint8_t *piece, size_t *len)
{
    uint8_t head[LENGTH];
    struct rd r;
    size_t body;
    int err = noise_decrypt(&t->rx, NULL, 0, piece, TRANSPORT_HEAD, head);

    if (err != 0) {
        return transport_fail(t, err);
    }
    r = rd_init(head, sizeof(head));
    body = rd_u16(&r);
    if (body > TRANSPORT_BODY_MAX) {
        return transport_fail(t, ERR_FORMAT);
    }
    t->rx_body = body + NOISE_TAG;
    *len = SIZE_MAX;
    return 0;
}

int transport_open(struct transport *t, const uint8_t *piece, uint8_t *out, size_t *len)
{
    int err;

    if (t->failed) {
        return ERR_STATE;
    }
    if (t->rx_body == 0) {
        return open_head(t, piece, len);
    }
    err = noise_decrypt(&t->rx, NULL, 0, piece, t->rx_body, out);
    if (err != 0) {
        return transport_fail(t, err);
    }
    *len = t->rx_body - NOISE_TAG;
    t->rx_body = 0;
    count_frame(&t->rx, &t->rx_frames);
    return 0;
}
