/* Exact constructions (H and HKDF as in keys.c):
 *
 *   k_n         = BLAKE2b-256(key = chain_n, "k")      no label: the key is the domain
 *   chain_{n+1} = BLAKE2b-256(key = chain_n, "c")
 *   box         = nonce (24 random bytes) ‖ XChaCha20-Poly1305(k_n, nonce, ad, body)
 *
 * Sealing a chain's first secret to a device:
 *
 *   salt   = H(64; -; "linnet chain seal v1"; ephemeral's public, author's static,
 *            box key, device id)
 *   key    = first 32 bytes of the first output of
 *            HKDF(salt, X25519(ephemeral, box key) ‖ X25519(author's static, box key)
 *                       ‖ pair secret, or nothing)
 *   sealed = first 8 bytes of the device id ‖
 *            XChaCha20-Poly1305(key, nonce = 0²⁴, ad, secret)
 *
 * The salt binds every public key, so that no copy opens in another's place. */
#include "crypto/chain.h"

#include <sodium.h>
#include <string.h>

#include "base/err.h"
#include "crypto/kdf.h"
#include "crypto/keys.h"

#define LABEL_SEAL "linnet chain seal v1"

enum {
    NONCE = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
    HINT = 8, /* of the device id */
};

static const uint8_t zero_nonce[NONCE];

/* One output of the symmetric ratchet. */
static void ratchet(const uint8_t chain[CHAIN_SECRET], char what,
                    uint8_t out[CHAIN_SECRET])
{
    const uint8_t byte = (uint8_t)what;

    (void)crypto_generichash(out, CHAIN_SECRET, &byte, 1, chain, CHAIN_SECRET);
}

static void chain_step(struct chain *c)
{
    uint8_t next[CHAIN_SECRET];

    ratchet(c->secret, 'c', next);
    memcpy(c->secret, next, sizeof(next));
    sodium_memzero(next, sizeof(next));
    c->n++;
}

void chain_start(struct chain *c, const struct env *env)
{
    env_random(env, c->secret, sizeof(c->secret));
    c->n = 0;
}

void chain_release(struct chain *c)
{
    if (c != NULL) {
        sodium_memzero(c, sizeof(*c));
    }
}

int chain_seal(struct chain *c, const struct env *env, const uint8_t *ad, size_t ad_len,
               const uint8_t *body, size_t len, uint8_t *box)
{
    uint8_t k[CHAIN_SECRET];

    if (c->n == UINT32_MAX) {
        return ERR_LIMIT;
    }
    ratchet(c->secret, 'k', k);
    chain_step(c);
    env_random(env, box, NONCE);
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt(box + NONCE, NULL, body, len, ad,
                                                     ad_len, NULL, box, k);
    sodium_memzero(k, sizeof(k));
    return 0;
}

int chain_open(struct chain *c, const uint8_t *ad, size_t ad_len, const uint8_t *box,
               size_t len, uint8_t *body)
{
    uint8_t k[CHAIN_SECRET];
    int err = 0;

    if (len < CHAIN_BOX_OVERHEAD) {
        return ERR_FORMAT;
    }
    if (c->n == UINT32_MAX) {
        return ERR_LIMIT;
    }
    ratchet(c->secret, 'k', k);
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(
            body, NULL, NULL, box + NONCE, len - NONCE, ad, ad_len, box, k) != 0) {
        err = ERR_AUTH;
    } else {
        chain_step(c);
    }
    sodium_memzero(k, sizeof(k));
    return err;
}

int chain_skip(struct chain *c)
{
    if (c->n == UINT32_MAX) {
        return ERR_LIMIT;
    }
    chain_step(c);
    return 0;
}

/* The public keys that a sealed secret is bound to. */
struct seal_names {
    uint8_t eph[KEYS_PUB], author[KEYS_PUB], box[KEYS_PUB];
    const uint8_t *device;
};

static void seal_key(const struct seal_names *names, const uint8_t dh_eph[32],
                     const uint8_t dh_author[32], const uint8_t *pair,
                     uint8_t key[KDF_KEY])
{
    uint8_t salt[KDF_HASHLEN], k[KDF_HASHLEN], unused[KDF_HASHLEN];
    uint8_t ikm[32 + 32 + KEYS_PAIR_SECRET];
    size_t len = 64;

    kdf_hash(salt, sizeof(salt), NULL, LABEL_SEAL, names->eph, sizeof(names->eph),
             names->author, sizeof(names->author), names->box, sizeof(names->box),
             names->device, (size_t)KEYS_DEVICE_ID, NULL);
    memcpy(ikm, dh_eph, 32);
    memcpy(ikm + 32, dh_author, 32);
    if (pair != NULL) {
        memcpy(ikm + len, pair, KEYS_PAIR_SECRET);
        len += KEYS_PAIR_SECRET;
    }
    kdf_hkdf(salt, ikm, len, k, unused, NULL);
    memcpy(key, k, KDF_KEY);
    sodium_memzero(ikm, sizeof(ikm));
    sodium_memzero(k, sizeof(k));
    sodium_memzero(unused, sizeof(unused));
}

int chain_seal_secret(const uint8_t secret[CHAIN_SECRET], const uint8_t eph_sec[32],
                      const uint8_t author_sec[32], const uint8_t box_pub[32],
                      const uint8_t device[32], const uint8_t *pair, const uint8_t *ad,
                      size_t ad_len, uint8_t out[CHAIN_SEAL])
{
    struct seal_names names = {.device = device};
    uint8_t dh_eph[32], dh_author[32], key[KDF_KEY];
    int err;

    err = keys_dh(eph_sec, box_pub, dh_eph);
    if (err == 0) {
        err = keys_dh(author_sec, box_pub, dh_author);
    }
    if (err == 0) {
        keys_public(eph_sec, names.eph);
        keys_public(author_sec, names.author);
        memcpy(names.box, box_pub, sizeof(names.box));
        seal_key(&names, dh_eph, dh_author, pair, key);
        memcpy(out, device, HINT);
        (void)crypto_aead_xchacha20poly1305_ietf_encrypt(
            out + HINT, NULL, secret, CHAIN_SECRET, ad, ad_len, NULL, zero_nonce, key);
    }
    sodium_memzero(dh_eph, sizeof(dh_eph));
    sodium_memzero(dh_author, sizeof(dh_author));
    sodium_memzero(key, sizeof(key));
    return err;
}

int chain_open_secret(const uint8_t sealed[CHAIN_SEAL], const uint8_t eph_pub[32],
                      const uint8_t author_pub[32], const uint8_t box_sec[32],
                      const uint8_t device[32], const uint8_t *pair, const uint8_t *ad,
                      size_t ad_len, uint8_t secret[CHAIN_SECRET])
{
    struct seal_names names = {.device = device};
    uint8_t dh_eph[32], dh_author[32], key[KDF_KEY], opened[CHAIN_SECRET];
    int err;

    if (sodium_memcmp(sealed, device, HINT) != 0) {
        return ERR_AUTH;
    }
    err = keys_dh(box_sec, eph_pub, dh_eph);
    if (err == 0) {
        err = keys_dh(box_sec, author_pub, dh_author);
    }
    if (err == 0) {
        memcpy(names.eph, eph_pub, sizeof(names.eph));
        memcpy(names.author, author_pub, sizeof(names.author));
        keys_public(box_sec, names.box);
        seal_key(&names, dh_eph, dh_author, pair, key);
        if (crypto_aead_xchacha20poly1305_ietf_decrypt(opened, NULL, NULL, sealed + HINT,
                                                       CHAIN_SEAL - HINT, ad, ad_len,
                                                       zero_nonce, key) != 0) {
            err = ERR_AUTH;
        } else {
            memcpy(secret, opened, CHAIN_SECRET);
        }
    }
    sodium_memzero(dh_eph, sizeof(dh_eph));
    sodium_memzero(dh_author, sizeof(dh_author));
    sodium_memzero(key, sizeof(key));
    sodium_memzero(opened, sizeof(opened));
    return err;
}
