/* Exact layout, numbers big-endian:
 *
 *   0    "linnet key\n"     11 bytes
 *   11   version            1 byte: 1
 *   12   kdf                1 byte: 0 none, 1 Argon2id 1.3 with one lane
 *   13   memory in KiB      4 bytes; 0 without a kdf
 *   17   passes             1 byte; 0 without a kdf
 *   18   salt               16 bytes
 *   34   nonce              24 bytes
 *   58   ciphertext         192 + 16 bytes
 *   266  digest             32 bytes: BLAKE2b-256 of all before
 *
 * Plaintext: seed, device static, self key, database key, presence p, presence a, 32
 * bytes each. Ciphertext: XChaCha20-Poly1305, associated data = bytes 0 to 57. Key:
 * Argon2id of the passphrase and the salt; without a passphrase H(32; -; "linnet key
 * unprotected v1"; salt) with H as in keys.c, which protects nothing and lets one path
 * serve both.
 *
 * Every later version keeps the magic, the version's place and the digest at the end, so
 * that a damaged file is told from a newer one. */
#include "crypto/keyfile.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "crypto/kdf.h"

#define LABEL_UNPROTECTED "linnet key unprotected v1"

static const uint8_t magic[11] = "linnet key\n";

enum {
    KDF_NONE = 0,
    KDF_ARGON2ID = 1,
    SALT = crypto_pwhash_SALTBYTES,
    NONCE = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
    HEAD = 11 + 1 + 1 + 4 + 1 + SALT + NONCE,
    PLAIN = 6 * 32,
    CIPHER = PLAIN + crypto_aead_xchacha20poly1305_ietf_ABYTES,
    DIGEST = 32,
    SIZE = HEAD + CIPHER + DIGEST,
};

struct header {
    uint8_t kdf, passes;
    uint32_t mem_kib;
    uint8_t salt[SALT], nonce[NONCE];
};

static void write_plain(const struct keyfile *k, uint8_t out[PLAIN])
{
    struct wr w = wr_init(out, PLAIN);

    wr_bytes(&w, k->seed, sizeof(k->seed));
    wr_bytes(&w, k->device_sec, sizeof(k->device_sec));
    wr_bytes(&w, k->self, sizeof(k->self));
    wr_bytes(&w, k->db_key, sizeof(k->db_key));
    wr_bytes(&w, k->presence_p, sizeof(k->presence_p));
    wr_bytes(&w, k->presence_a, sizeof(k->presence_a));
    assert(wr_ok(&w) && w.len == PLAIN);
}

static void read_plain(const uint8_t in[PLAIN], struct keyfile *k)
{
    struct rd r = rd_init(in, PLAIN);

    (void)rd_copy(&r, k->seed, sizeof(k->seed));
    (void)rd_copy(&r, k->device_sec, sizeof(k->device_sec));
    (void)rd_copy(&r, k->self, sizeof(k->self));
    (void)rd_copy(&r, k->db_key, sizeof(k->db_key));
    (void)rd_copy(&r, k->presence_p, sizeof(k->presence_p));
    (void)rd_copy(&r, k->presence_a, sizeof(k->presence_a));
    assert(rd_end(&r));
}

static int derive(const struct header *h, const char *pass, size_t pass_len,
                  uint8_t key[KDF_KEY])
{
    if (h->kdf == KDF_NONE) {
        kdf_hash(key, KDF_KEY, NULL, LABEL_UNPROTECTED, h->salt, sizeof(h->salt), NULL);
        return 0;
    }
    /* It fails for want of memory alone: the parameters were checked. */
    return crypto_pwhash(key, KDF_KEY, pass, pass_len, h->salt, h->passes,
                         (size_t)h->mem_kib * 1024, crypto_pwhash_ALG_ARGON2ID13) == 0
               ? 0
               : ERR_NOMEM;
}

int keyfile_encode(const struct keyfile *k, const struct env *env, const char *pass,
                   size_t pass_len, uint8_t out[KEYFILE_MAX], size_t *out_len)
{
    struct header h = {.kdf = KDF_NONE};
    struct wr w = wr_init(out, KEYFILE_MAX);
    uint8_t key[KDF_KEY], plain[PLAIN];
    int err;

    if (pass != NULL) {
        if (pass_len == 0 || pass_len > KEYFILE_PASSPHRASE_MAX) {
            return ERR_LIMIT;
        }
        h.kdf = KDF_ARGON2ID;
        h.mem_kib = KEYFILE_MEM_KIB;
        h.passes = KEYFILE_PASSES;
    }
    env_random(env, h.salt, sizeof(h.salt));
    env_random(env, h.nonce, sizeof(h.nonce));
    err = derive(&h, pass, pass_len, key);
    if (err != 0) {
        return err;
    }
    wr_bytes(&w, magic, sizeof(magic));
    wr_u8(&w, KEYFILE_VERSION);
    wr_u8(&w, h.kdf);
    wr_u32(&w, h.mem_kib);
    wr_u8(&w, h.passes);
    wr_bytes(&w, h.salt, sizeof(h.salt));
    wr_bytes(&w, h.nonce, sizeof(h.nonce));
    assert(w.len == HEAD);
    write_plain(k, plain);
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt(
        wr_space(&w, CIPHER), NULL, plain, sizeof(plain), out, HEAD, NULL, h.nonce, key);
    (void)crypto_generichash(wr_space(&w, DIGEST), DIGEST, out, HEAD + CIPHER, NULL, 0);
    assert(wr_ok(&w) && w.len == SIZE);
    *out_len = w.len;
    sodium_memzero(key, sizeof(key));
    sodium_memzero(plain, sizeof(plain));
    return 0;
}

/* Magic, version, digest and header; not yet whether its numbers are within bounds. */
static int read_header(const uint8_t *p, size_t len, struct header *h)
{
    struct rd r = rd_init(p, len);
    const uint8_t *m = rd_bytes(&r, sizeof(magic));
    uint8_t digest[DIGEST];
    uint8_t version = rd_u8(&r);

    if (!rd_ok(&r) || memcmp(m, magic, sizeof(magic)) != 0) {
        return ERR_CORRUPT;
    }
    if (version > KEYFILE_VERSION) { /* whatever stands behind it, a digest or not */
        return ERR_NEWER;
    }
    if (len > KEYFILE_MAX || r.n < DIGEST) {
        return ERR_CORRUPT;
    }
    (void)crypto_generichash(digest, sizeof(digest), p, len - DIGEST, NULL, 0);
    if (memcmp(digest, p + len - DIGEST, DIGEST) != 0) {
        return ERR_CORRUPT;
    }
    if (version < KEYFILE_VERSION || len != SIZE) {
        return ERR_CORRUPT;
    }
    h->kdf = rd_u8(&r);
    h->mem_kib = rd_u32(&r);
    h->passes = rd_u8(&r);
    (void)rd_copy(&r, h->salt, sizeof(h->salt));
    (void)rd_copy(&r, h->nonce, sizeof(h->nonce));
    if (!rd_ok(&r) || h->kdf > KDF_ARGON2ID) {
        return ERR_CORRUPT;
    }
    return 0;
}

int keyfile_protected(const uint8_t *p, size_t len, bool *protected_)
{
    struct header h;
    int err = read_header(p, len, &h);

    if (err == 0) {
        *protected_ = h.kdf != KDF_NONE;
    }
    return err;
}

int keyfile_decode(const uint8_t *p, size_t len, const char *pass, size_t pass_len,
                   struct keyfile *out)
{
    struct header h;
    uint8_t key[KDF_KEY], plain[PLAIN];
    int err = read_header(p, len, &h);

    if (err != 0) {
        return err;
    }
    if (h.kdf != KDF_NONE) {
        if (h.mem_kib < KEYFILE_MEM_KIB_MIN || h.mem_kib > KEYFILE_MEM_KIB_MAX ||
            h.passes < KEYFILE_PASSES_MIN || h.passes > KEYFILE_PASSES_MAX) {
            return ERR_LIMIT;
        }
        if (pass == NULL || pass_len > KEYFILE_PASSPHRASE_MAX) {
            return ERR_AUTH;
        }
    }
    err = derive(&h, pass, pass_len, key);
    if (err == 0) {
        if (crypto_aead_xchacha20poly1305_ietf_decrypt(
                plain, NULL, NULL, p + HEAD, CIPHER, p, HEAD, h.nonce, key) == 0) {
            read_plain(plain, out);
        } else {
            err = h.kdf != KDF_NONE ? ERR_AUTH : ERR_CORRUPT;
        }
    }
    sodium_memzero(key, sizeof(key));
    sodium_memzero(plain, sizeof(plain));
    return err;
}

void keyfile_release(struct keyfile *k)
{
    if (k != NULL) {
        sodium_memzero(k, sizeof(*k));
    }
}
