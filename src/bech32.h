/* Bech32m (BIP 350): bytes as text with a checksum that finds mistyped characters.
 *
 * Without BIP 173's limit of 90 characters, which belongs to Bitcoin's addresses: beyond
 * it the checksum still finds all but one in 2^30 of random errors. */
#ifndef LINNET_BECH32_H
#define LINNET_BECH32_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BECH32_CHECKSUM = 6,
    BECH32_PREFIX_MAX = 83,
};

/* Characters of the encoding of n bytes under a prefix of that length, without NUL. */
size_t bech32_len(size_t prefix_len, size_t n);
/* Lower case and NUL-terminated into out. prefix: lower case, ours. 0 or ERR_LIMIT (cap
 * characters and the NUL do not suffice). */
int bech32_encode(const char *prefix, const uint8_t *p, size_t n, char *out, size_t cap);
/* Whether s is well-formed under some prefix: characters, one case, checksum. *prefix_len
 * gets the length of the prefix. */
bool bech32_check(const char *s, size_t len, size_t *prefix_len);
/* Decodes s under exactly this prefix; refuses mixed case, another prefix, padding that
 * is not zero or longer than 4 bits. 0, ERR_FORMAT or ERR_LIMIT (more than cap bytes). */
int bech32_decode(const char *prefix, const char *s, size_t len, uint8_t *out, size_t cap,
                  size_t *n);

#endif
