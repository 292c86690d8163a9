/* The Bloom filter in which BEP 33 counts the peers of a hash. */
#ifndef LINNET_DHT_BLOOM_H
#define LINNET_DHT_BLOOM_H

#include <stdint.h>

#include "base/addr.h"

enum { BLOOM_LEN = 256 };

/* Sets the two bits of an address; its port does not matter. */
void bloom_add(uint8_t filter[BLOOM_LEN], const struct addr *a);

#endif
