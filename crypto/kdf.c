#include "crypto/kdf.h"

#include <assert.h>
#include <sodium.h>
#include <stdarg.h>
#include <string.h>

/* One part of the two hashes of an HMAC: BLAKE2b-512 over (key XOR pad) ‖ a ‖ b. */
static void hmac_pass(uint8_t out[KDF_HASHLEN], const uint8_t key[KDF_BLOCKLEN],
                      uint8_t pad, const uint8_t *a, size_t a_len)
{
    crypto_generichash_state st;
    uint8_t block[KDF_BLOCKLEN];

    for (size_t i = 0; i < sizeof(block); i++) {
        block[i] = key[i] ^ pad;
    }
    (void)crypto_generichash_init(&st, NULL, 0, KDF_HASHLEN);
    (void)crypto_generichash_update(&st, block, sizeof(block));
    if (a_len > 0) {
        (void)crypto_generichash_update(&st, a, a_len);
    }
    (void)crypto_generichash_final(&st, out, KDF_HASHLEN);
    sodium_memzero(block, sizeof(block));
    sodium_memzero(&st, sizeof(st));
}

void kdf_hmac(uint8_t out[KDF_HASHLEN], const uint8_t *key, size_t key_len,
              const uint8_t *data, size_t len)
{
    uint8_t block[KDF_BLOCKLEN] = {0};
    uint8_t inner[KDF_HASHLEN];

    if (key_len > KDF_BLOCKLEN) {
        (void)crypto_generichash(block, KDF_HASHLEN, key, key_len, NULL, 0);
    } else if (key_len > 0) {
        memcpy(block, key, key_len);
    }
    hmac_pass(inner, block, 0x36, data, len);
    hmac_pass(out, block, 0x5c, inner, sizeof(inner));
    sodium_memzero(block, sizeof(block));
    sodium_memzero(inner, sizeof(inner));
}

void kdf_hkdf(const uint8_t ck[KDF_HASHLEN], const uint8_t *ikm, size_t ikm_len,
              uint8_t out1[KDF_HASHLEN], uint8_t out2[KDF_HASHLEN],
              uint8_t out3[KDF_HASHLEN])
{
    uint8_t temp[KDF_HASHLEN];
    uint8_t t[KDF_HASHLEN + 1]; /* the output before, and the number of this one */

    kdf_hmac(temp, ck, KDF_HASHLEN, ikm, ikm_len);
    t[0] = 1;
    kdf_hmac(t, temp, sizeof(temp), t, 1);
    memcpy(out1, t, KDF_HASHLEN);
    t[KDF_HASHLEN] = 2;
    kdf_hmac(t, temp, sizeof(temp), t, sizeof(t));
    memcpy(out2, t, KDF_HASHLEN);
    if (out3 != NULL) {
        t[KDF_HASHLEN] = 3;
        kdf_hmac(out3, temp, sizeof(temp), t, sizeof(t));
    }
    sodium_memzero(temp, sizeof(temp));
    sodium_memzero(t, sizeof(t));
}

void kdf_hash(uint8_t *out, size_t out_len, const uint8_t key[KDF_KEY], const char *label,
              ...)
{
    crypto_generichash_state st;
    va_list ap;

    assert(out_len >= crypto_generichash_BYTES_MIN &&
           out_len <= crypto_generichash_BYTES_MAX);
    (void)crypto_generichash_init(&st, key, key != NULL ? KDF_KEY : 0, out_len);
    (void)crypto_generichash_update(&st, (const uint8_t *)label, strlen(label) + 1);
    va_start(ap, label);
    for (;;) {
        const uint8_t *p = va_arg(ap, const uint8_t *);

        if (p == NULL) {
            break;
        }
        size_t n = va_arg(ap, size_t);
        (void)crypto_generichash_update(&st, p, n);
    }
    va_end(ap);
    (void)crypto_generichash_final(&st, out, out_len);
    sodium_memzero(&st, sizeof(st));
}
