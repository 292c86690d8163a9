/* SHA-1 (FIPS 180-4), which BEP 44 and BEP 33 name things with and libsodium doesn't
 * have.
 *
 * Its collisions are known: whoever writes a value can make two for one target. It serves
 * as a name here; nothing is believed because of it alone. */
#ifndef LINNET_DHT_SHA1_H
#define LINNET_DHT_SHA1_H

#include <stddef.h>
#include <stdint.h>

enum { SHA1_LEN = 20, SHA1_BLOCK = 64 };

struct sha1 {
    uint32_t h[5];
    uint64_t len; /* bytes so far */
    uint8_t block[SHA1_BLOCK];
};

void sha1_init(struct sha1 *s);
/* p may be NULL when n is 0. */
void sha1_update(struct sha1 *s, const void *p, size_t n);
/* s must be initialized again before its next use. */
void sha1_final(struct sha1 *s, uint8_t out[SHA1_LEN]);
/* All in one. */
void sha1(const void *p, size_t n, uint8_t out[SHA1_LEN]);

#endif
