/* The Noise Protocol Framework, revision 34, suite 25519_ChaChaPoly_BLAKE2b.
 *
 * Driven by the pattern's tokens, so that every published vector of the suite runs
 * through the code that ships. Does no I/O and draws no randomness: ephemerals are given.
 *
 * A handshake state goes START → (messages in the pattern's order) → DONE or FAILED.
 * Any failure is terminal: secrets are wiped and every later call returns ERR_STATE.
 * Outputs are written only after the last check of a message; a payload that does not
 * authenticate leaves zeros in the caller's buffer. Calls out of turn fail too; calls
 * after the end return ERR_STATE and change nothing. */
#ifndef LINNET_CRYPTO_NOISE_H
#define LINNET_CRYPTO_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypto/noise_pattern.h"

enum {
    NOISE_KEY = 32,
    NOISE_HASH = 64,
    NOISE_TAG = 16,
    NOISE_MSG_MAX = 65535,
};

/* A CipherState: key and nonce. */
struct noise_cipher {
    uint8_t k[NOISE_KEY];
    uint64_t n;
    bool has_key;
};

/* EncryptWithAd and DecryptWithAd. out needs len + NOISE_TAG resp. len - NOISE_TAG bytes
 * and may be in. Without a key they copy. 0, ERR_LIMIT (nonces are used up), ERR_AUTH
 * (out is zeroed then), ERR_FORMAT (too short). The nonce is spent before it is used; a
 * failed decryption spends none. */
int noise_encrypt(struct noise_cipher *c, const uint8_t *ad, size_t ad_len,
                  const uint8_t *in, size_t len, uint8_t *out);
int noise_decrypt(struct noise_cipher *c, const uint8_t *ad, size_t ad_len,
                  const uint8_t *in, size_t len, uint8_t *out);
/* Section 11.3; n goes on. */
void noise_rekey(struct noise_cipher *c);

enum noise_state { NOISE_START, NOISE_RUNNING, NOISE_DONE, NOISE_FAILED };

struct noise_setup {
    const struct noise_pattern *pattern;
    bool initiator;
    const uint8_t *prologue;
    size_t prologue_len;
    const uint8_t *s;  /* private static, 32 bytes, or NULL */
    const uint8_t *rs; /* peer's public static, or NULL */
    const uint8_t *e;  /* private ephemeral, or NULL: given later */
    const uint8_t *re; /* peer's public ephemeral known beforehand, or NULL */
    const uint8_t *psks[NOISE_PSKS_MAX]; /* in the order of the psk tokens */
    unsigned n_psks;
};

struct noise_handshake {
    const struct noise_pattern *pattern;
    enum noise_state state;
    bool initiator;
    bool has_s, has_e, has_rs, has_re, has_psk;
    bool split; /* noise_split() took the keys */
    unsigned msg, next_psk, n_psks;
    struct noise_cipher cipher;
    uint8_t ck[NOISE_HASH], h[NOISE_HASH];
    uint8_t s[NOISE_KEY], s_pub[NOISE_KEY], e[NOISE_KEY], e_pub[NOISE_KEY];
    uint8_t rs[NOISE_KEY], re[NOISE_KEY];
    uint8_t psks[NOISE_PSKS_MAX][NOISE_KEY];
};

/* Initialize(). Copies the keys that the pattern wants and ignores other statics. 0,
 * ERR_ARG (a key that the pattern wants is missing, a psk count that is not the
 * pattern's, or an `re`: no pattern here begins with one), ERR_AUTH (a remote static that
 * is not canonical: bit 255 set or ≥ 2^255-19). */
int noise_init(struct noise_handshake *hs, const struct noise_setup *setup);
/* The private ephemeral for the next written message that has an `e`. */
void noise_set_ephemeral(struct noise_handshake *hs, const uint8_t e[NOISE_KEY]);
/* True when the next message is ours to write. */
bool noise_my_turn(const struct noise_handshake *hs);
/* Bytes that message adds to a payload (keys and tags), for the message that comes next.
 */
size_t noise_overhead(const struct noise_handshake *hs);
/* WriteMessage: out needs len + noise_overhead() bytes. 0, ERR_STATE, ERR_LIMIT (longer
 * than NOISE_MSG_MAX or out_cap), ERR_AUTH (a DH gave zero). */
int noise_write(struct noise_handshake *hs, const uint8_t *payload, size_t len,
                uint8_t *out, size_t out_cap, size_t *out_len);
/* ReadMessage: payload needs len - noise_overhead() bytes. 0, ERR_STATE, ERR_FORMAT (too
 * short, too long), ERR_LIMIT (payload_cap), ERR_AUTH. */
int noise_read(struct noise_handshake *hs, const uint8_t *msg, size_t len,
               uint8_t *payload, size_t payload_cap, size_t *payload_len);
/* Split(), in DONE only: tx for what we write, rx for what we read. In one-way patterns
 * the unused one has no key. Wipes the handshake's secrets; h and rs stay readable. */
int noise_split(struct noise_handshake *hs, struct noise_cipher *tx,
                struct noise_cipher *rx);
const uint8_t *noise_hash(const struct noise_handshake *hs);          /* 64 bytes */
const uint8_t *noise_remote_static(const struct noise_handshake *hs); /* or NULL */
/* Wipes everything; tolerates a zeroed struct. */
void noise_release(struct noise_handshake *hs);

/* True when a public X25519 key has its one canonical encoding. */
bool noise_key_canonical(const uint8_t pk[NOISE_KEY]);

#endif
