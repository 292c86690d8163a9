/* Sender chains: one symmetric key an entry, and the sealing of a chain's secret to the
 * devices that may read it (docs/PROTOCOL.md, "Chains").
 *
 *   k_n = BLAKE2b(key = chain_n, "k"),  chain_{n+1} = BLAKE2b(key = chain_n, "c")
 *
 * A chain_n is wiped once chain_{n+1} exists. Boxes are XChaCha20-Poly1305 with a random
 * nonce, so that a restored backup repeats a key but never a nonce. */
#ifndef LINNET_CRYPTO_CHAIN_H
#define LINNET_CRYPTO_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"

enum {
    CHAIN_SECRET = 32,
    CHAIN_BOX_OVERHEAD = 24 + 16, /* nonce and tag */
    CHAIN_SEAL = 8 + 48,          /* first bytes of the device id, sealed secret */
};

struct chain {
    uint8_t secret[CHAIN_SECRET]; /* chain_n */
    uint32_t n;
};

void chain_start(struct chain *c, const struct env *env);
void chain_release(struct chain *c);
/* Seals body under k_n into box (len + CHAIN_BOX_OVERHEAD bytes) and steps. body and box
 * do not overlap. 0 or ERR_LIMIT (n is used up). */
int chain_seal(struct chain *c, const struct env *env, const uint8_t *ad, size_t ad_len,
               const uint8_t *body, size_t len, uint8_t *box);
/* Opens on a copy and steps only on success. body needs len - CHAIN_BOX_OVERHEAD bytes
 * and holds zeros after ERR_AUTH. 0, ERR_FORMAT (too short), ERR_AUTH, ERR_LIMIT. */
int chain_open(struct chain *c, const uint8_t *ad, size_t ad_len, const uint8_t *box,
               size_t len, uint8_t *body);

/* Steps over an entry whose box is gone. 0 or ERR_LIMIT. */
int chain_skip(struct chain *c);

/* Sealing a chain's first secret to one device's box key:
 * key = HKDF(X25519(eph, box) ‖ X25519(author static, box) ‖ pair secret or nothing),
 * AEAD with AD = ad (in groups: the signing key; always the conversation and author).
 * out is CHAIN_SEAL bytes. pair may be NULL (groups, own devices). The nonce is fixed: an
 * ephemeral serves one `keys` entry, and in it each device once. 0 or ERR_AUTH (a box key
 * that is not canonical or of small order). */
int chain_seal_secret(const uint8_t secret[CHAIN_SECRET], const uint8_t eph_sec[32],
                      const uint8_t author_sec[32], const uint8_t box_pub[32],
                      const uint8_t device[32], const uint8_t *pair, const uint8_t *ad,
                      size_t ad_len, uint8_t out[CHAIN_SEAL]);
/* The other side: with the box key's private half. 0 or ERR_AUTH. */
int chain_open_secret(const uint8_t sealed[CHAIN_SEAL], const uint8_t eph_pub[32],
                      const uint8_t author_pub[32], const uint8_t box_sec[32],
                      const uint8_t device[32], const uint8_t *pair, const uint8_t *ad,
                      size_t ad_len, uint8_t secret[CHAIN_SECRET]);

#endif
