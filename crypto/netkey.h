/* A secret network (an office): the key that its name and secret give, and what is
 * derived from that key beside the keys of links (crypto/keys.h).
 *
 * Sizes are bytes. Labels: docs/PROTOCOL.md, "Labels". */
#ifndef LINNET_CRYPTO_NETKEY_H
#define LINNET_CRYPTO_NETKEY_H

#include <stddef.h>
#include <stdint.h>

enum {
    NETKEY = 32,
    NETKEY_NAME_MAX = 64, /* of a network's name */
    NETKEY_SECRET_MIN = 12,
    NETKEY_SECRET_MAX = 1024,
    NETKEY_CACHE = 32,  /* names the name and secret that a kept key was made of */
    NETKEY_MEMBER = 4,  /* a device, to who knows the key */
    NETKEY_PROOF = 16,  /* on a link: its sender knows the key */
    NETKEY_KIB = 65536, /* of Argon2id, with … */
    NETKEY_PASSES = 3,
};

/* The network's key: Argon2id of the secret, salted with the name (1 to NETKEY_NAME_MAX
 * bytes). Takes a while and NETKEY_KIB of memory. 0, ERR_LIMIT (length of the secret or
 * name), ERR_NOMEM. */
int netkey_make(const char *name, const uint8_t *secret, size_t len, uint8_t key[NETKEY]);
/* Under a secret of the home's own, so that a kept key can be told to be that of this
 * name and secret without helping anybody to guess the secret. */
void netkey_cache(const uint8_t home[32], const char *name, const uint8_t *secret,
                  size_t len, uint8_t out[NETKEY_CACHE]);
/* A device's short name among members. */
void netkey_member(const uint8_t key[NETKEY], const uint8_t device[32],
                   uint8_t out[NETKEY_MEMBER]);
/* Of the device on the link with that handshake hash. */
void netkey_proof(const uint8_t key[NETKEY], const uint8_t link_hash[64],
                  const uint8_t device[32], uint8_t out[NETKEY_PROOF]);

#endif
