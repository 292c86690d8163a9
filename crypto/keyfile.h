/* The key file: what a home may not lose, encrypted (docs/PROTOCOL.md, "Key file").
 *
 *   "linnet key\n" ‖ version ‖ kdf ‖ mem KiB ‖ passes ‖ salt 16 ‖ nonce 24 ‖ ciphertext ‖
 *   BLAKE2b-256 of all before
 *
 * The header is associated data of the XChaCha20-Poly1305 ciphertext. The trailing
 * digest is no secret: it tells a damaged file from a wrong passphrase. This module only
 * encodes; daemon reads and writes the file. */
#ifndef LINNET_CRYPTO_KEYFILE_H
#define LINNET_CRYPTO_KEYFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"

enum {
    KEYFILE_VERSION = 1,
    KEYFILE_MAX = 1024,
    KEYFILE_MEM_KIB = 256 * 1024, /* Argon2id for new files */
    KEYFILE_PASSES = 3,
    KEYFILE_MEM_KIB_MIN = 64 * 1024,       /* floor on load */
    KEYFILE_MEM_KIB_MAX = 4 * 1024 * 1024, /* cap on load */
    KEYFILE_PASSES_MIN = 3,                /* floor on load */
    KEYFILE_PASSES_MAX = 16,               /* cap on load */
    KEYFILE_PASSPHRASE_MAX = 1024,
};

struct keyfile {
    uint8_t seed[32];       /* of the account; all zero on a device that does not sign */
    uint8_t device_sec[32]; /* Noise static */
    uint8_t self[32];       /* key of `self` MACs */
    uint8_t db_key[32];     /* reserved for the encrypting VFS */
    uint8_t presence_p[32]; /* presence secret: p, and the seed of scalar a */
    uint8_t presence_a[32];
};

/* Encodes. pass NULL: unprotected. 0, ERR_NOMEM (Argon2id), ERR_LIMIT (a passphrase that
 * is empty or longer than KEYFILE_PASSPHRASE_MAX). */
int keyfile_encode(const struct keyfile *k, const struct env *env, const char *pass,
                   size_t pass_len, uint8_t out[KEYFILE_MAX], size_t *out_len);
/* Whether the file wants a passphrase; 0, ERR_CORRUPT, ERR_NEWER. */
int keyfile_protected(const uint8_t *p, size_t len, bool *protected_);
/* Decodes; an unprotected file ignores pass. 0, ERR_CORRUPT (damaged), ERR_NEWER (written
 * by a newer program), ERR_AUTH (wrong passphrase, or none given), ERR_NOMEM, ERR_LIMIT
 * (parameters beyond floor or cap). */
int keyfile_decode(const uint8_t *p, size_t len, const char *pass, size_t pass_len,
                   struct keyfile *out);
void keyfile_release(struct keyfile *k);

#endif
