/* The keys of an established link: length and body of each frame, each an AEAD, and a
 * Rekey() for each direction every TRANSPORT_REKEY_FRAMES frames (docs/PROTOCOL.md,
 * "Transport frames").
 *
 *   frame = AEAD(length of the body, 2 bytes big-endian) ‖ AEAD(body)
 *
 * with the direction's CipherState of the handshake, empty associated data and one nonce
 * each. Any failure is terminal. */
#ifndef LINNET_CRYPTO_TRANSPORT_H
#define LINNET_CRYPTO_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypto/noise.h"

enum {
    TRANSPORT_BODY_MAX = 65519,
    TRANSPORT_HEAD = 2 + NOISE_TAG,
    TRANSPORT_OVERHEAD = TRANSPORT_HEAD + NOISE_TAG,
    TRANSPORT_REKEY_FRAMES = 1024,
};

struct transport {
    struct noise_cipher tx, rx;
    uint64_t tx_frames, rx_frames;
    size_t rx_body; /* ciphertext length of the body that comes next; 0: a head is next */
    bool failed;
};

/* Takes the keys of a finished handshake (noise_split). */
int transport_init(struct transport *t, struct noise_handshake *hs);
void transport_release(struct transport *t);
/* Seals one frame: out needs len + TRANSPORT_OVERHEAD bytes; body may be
 * out + TRANSPORT_HEAD. 0, ERR_LIMIT (a body too long, which costs nothing, or nonces
 * used up, which is terminal), ERR_STATE. */
int transport_seal(struct transport *t, const uint8_t *body, size_t len, uint8_t *out);
/* Bytes of the piece that comes next on the wire (a head or a body); 0 after a failure.
 */
size_t transport_want(const struct transport *t);
/* Opens the next piece, of exactly transport_want() bytes. When it was a head, *len is
 * SIZE_MAX; when it was a body, out (TRANSPORT_BODY_MAX bytes, may be piece) holds *len
 * bytes. 0, ERR_AUTH, ERR_FORMAT, ERR_STATE. */
int transport_open(struct transport *t, const uint8_t *piece, uint8_t *out, size_t *len);

#endif
