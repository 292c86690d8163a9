#include "dht/bloom.h"

#include "dht/sha1.h"

enum { BITS = BLOOM_LEN * 8 };

void bloom_add(uint8_t filter[BLOOM_LEN], const struct addr *a)
{
    uint8_t h[SHA1_LEN];
    sha1(a->ip, a->family == 4 ? 4 : 16, h);
    for (unsigned i = 0; i < 4; i += 2) {
        unsigned bit = (h[i] | (unsigned)h[i + 1] << 8) % BITS;
        filter[bit / 8] |= (uint8_t)(1u << bit % 8);
    }
}
