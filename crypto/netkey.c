/* H is kdf_hash(), see keys.c.
 *
 *   key     = Argon2id version 1.3 of the secret, 32 bytes; 65,536 KiB, 3 passes, one
 * lane; salt = H(16; -; "linnet network salt v1"; name) cache   = H(32; home's secret;
 * "linnet network cache v1"; length of the name (2), name, secret) member  = first 4
 * bytes of H(16; key; "linnet network member v1"; device id) proof   = H(16; key; "linnet
 * network proof v1"; link's hash, device id) */
#include "crypto/netkey.h"

#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "crypto/kdf.h"

enum { HASH_MIN = 16 };

int netkey_make(const char *name, const uint8_t *secret, size_t len, uint8_t key[NETKEY])
{
    uint8_t salt[crypto_pwhash_SALTBYTES], out[NETKEY];
    size_t n = strlen(name);

    if (n == 0 || n > NETKEY_NAME_MAX || len < NETKEY_SECRET_MIN ||
        len > NETKEY_SECRET_MAX) {
        return ERR_LIMIT;
    }
    kdf_hash(salt, sizeof(salt), NULL, "linnet network salt v1", name, n, NULL);
    if (crypto_pwhash(out, sizeof(out), (const char *)secret, len, salt, NETKEY_PASSES,
                      (size_t)NETKEY_KIB * 1024, crypto_pwhash_ALG_ARGON2ID13) != 0) {
        return ERR_NOMEM;
    }
    memcpy(key, out, sizeof(out));
    sodium_memzero(out, sizeof(out));
    return 0;
}

void netkey_cache(const uint8_t home[32], const char *name, const uint8_t *secret,
                  size_t len, uint8_t out[NETKEY_CACHE])
{
    size_t n = strlen(name);
    const uint8_t head[2] = {(uint8_t)(n >> 8), (uint8_t)n};

    kdf_hash(out, NETKEY_CACHE, home, "linnet network cache v1", head, sizeof(head), name,
             n, secret, len, NULL);
}

void netkey_member(const uint8_t key[NETKEY], const uint8_t device[32],
                   uint8_t out[NETKEY_MEMBER])
{
    uint8_t hash[HASH_MIN];

    kdf_hash(hash, sizeof(hash), key, "linnet network member v1", device, (size_t)32,
             NULL);
    memcpy(out, hash, NETKEY_MEMBER);
}

void netkey_proof(const uint8_t key[NETKEY], const uint8_t link_hash[64],
                  const uint8_t device[32], uint8_t out[NETKEY_PROOF])
{
    kdf_hash(out, NETKEY_PROOF, key, "linnet network proof v1", link_hash, (size_t)64,
             device, (size_t)32, NULL);
}
