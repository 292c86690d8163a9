/* Hashing and key derivation: BLAKE2b, HMAC-BLAKE2b, HKDF as Noise defines it.
 *
 * Every label string of ours is listed in docs/PROTOCOL.md, "Labels", and defined where
 * it is used. */
#ifndef LINNET_CRYPTO_KDF_H
#define LINNET_CRYPTO_KDF_H

#include <stddef.h>
#include <stdint.h>

enum { KDF_HASHLEN = 64, KDF_BLOCKLEN = 128, KDF_KEY = 32 };

/* HMAC-BLAKE2b-512 (RFC 2104, block size 128). Not keyed BLAKE2b. */
void kdf_hmac(uint8_t out[KDF_HASHLEN], const uint8_t *key, size_t key_len,
              const uint8_t *data, size_t len);
/* Noise revision 34, section 4.3, HKDF with two or three outputs (out3 may be NULL).
 * ck is 64 bytes. Outputs may alias ck. */
void kdf_hkdf(const uint8_t ck[KDF_HASHLEN], const uint8_t *ikm, size_t ikm_len,
              uint8_t out1[KDF_HASHLEN], uint8_t out2[KDF_HASHLEN],
              uint8_t out3[KDF_HASHLEN]);

/* BLAKE2b-256 (or any out_len 16..64) over label ‖ 0x00 ‖ the parts, keyed when key is
 * not NULL (32 bytes). Parts are pairs of (pointer, size_t); the list ends with a NULL
 * pointer, so an empty part needs a pointer too. Lengths are not hashed: of the parts at
 * most one may vary in length. */
__attribute__((sentinel)) void kdf_hash(uint8_t *out, size_t out_len,
                                        const uint8_t key[KDF_KEY], const char *label,
                                        ...);

#endif
