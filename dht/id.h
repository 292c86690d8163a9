/* 160-bit identifiers of the DHT: node ids, info hashes and targets of items share one
 * space, and distance in it is XOR (BEP 5).
 *
 * BEP 42 binds a node's id to its address, so that nobody can choose where in the space
 * to stand: the first 21 bits are those of a CRC of the masked address and of 3 random
 * bits, which stand in the last byte. Local addresses are exempt. */
#ifndef LINNET_DHT_ID_H
#define LINNET_DHT_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/env.h"

enum { DHT_ID_LEN = 20, DHT_ID_BITS = 160 };

struct dht_id {
    uint8_t b[DHT_ID_LEN];
};

bool dht_id_eq(const struct dht_id *a, const struct dht_id *b);
bool dht_id_is_zero(const struct dht_id *id);
/* < 0 when a is closer to target than b, > 0 when b is, 0 when they are equal. */
int dht_id_cmp(const struct dht_id *target, const struct dht_id *a,
               const struct dht_id *b);
/* How many leading bits a and b share: 0 .. DHT_ID_BITS. */
unsigned dht_id_shared(const struct dht_id *a, const struct dht_id *b);
/* Bit i of id; bit 0 is the most significant. i < DHT_ID_BITS. */
bool dht_id_bit(const struct dht_id *id, unsigned i);
/* The distance as a part of the whole space, 0 .. 1, for estimates of its density. */
double dht_id_distance(const struct dht_id *a, const struct dht_id *b);

void dht_id_random(const struct env *env, struct dht_id *out);
/* A random id that shares exactly the first bits bits with base (bits < DHT_ID_BITS): one
 * that belongs into the bucket of that number. */
void dht_id_random_near(const struct env *env, const struct dht_id *base, unsigned bits,
                        struct dht_id *out);

/* A random id that fits the address (BEP 42); its port does not matter. */
void dht_id_for_addr(const struct env *env, const struct addr *a, struct dht_id *out);
/* True when id may be used at this address: it fits, or the address is exempt. */
bool dht_id_fits(const struct dht_id *id, const struct addr *a);
/* True for the local addresses which BEP 42 exempts: 10/8, 172.16/12, 192.168/16,
 * 169.254/16, 127/8 and, for IPv6, loopback, link-local and fc00::/7. */
bool dht_id_exempt(const struct addr *a);

#endif
