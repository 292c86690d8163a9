#include "dht/id.h"

#include <string.h>

enum {
    PREFIX_MASK = 0xf8,
    LOW_MASK = 7,
    RAND_BITS = 7
}; /* BEP 42: 21 bits of CRC, 3 of the seed */

bool dht_id_eq(const struct dht_id *a, const struct dht_id *b)
{
    return memcmp(a->b, b->b, DHT_ID_LEN) == 0;
}

bool dht_id_is_zero(const struct dht_id *id)
{
    static const struct dht_id zero;
    return dht_id_eq(id, &zero);
}

int dht_id_cmp(const struct dht_id *target, const struct dht_id *a,
               const struct dht_id *b)
{
    for (size_t i = 0; i < DHT_ID_LEN; i++) {
        if (a->b[i] != b->b[i]) {
            return (a->b[i] ^ target->b[i]) - (b->b[i] ^ target->b[i]);
        }
    }
    return 0;
}

unsigned dht_id_shared(const struct dht_id *a, const struct dht_id *b)
{
    for (unsigned i = 0; i < DHT_ID_LEN; i++) {
        unsigned x = a->b[i] ^ b->b[i];
        if (x != 0) {
            return 8 * i + (unsigned)__builtin_clz(x) - 24;
        }
    }
    return DHT_ID_BITS;
}

bool dht_id_bit(const struct dht_id *id, unsigned i)
{
    return (id->b[i / 8] >> (7 - i % 8) & 1) != 0;
}

double dht_id_distance(const struct dht_id *a, const struct dht_id *b)
{
    double d = 0;
    for (size_t i = DHT_ID_LEN; i-- > 0;) {
        d = (d + (a->b[i] ^ b->b[i])) / 256;
    }
    return d;
}

void dht_id_random(const struct env *env, struct dht_id *out)
{
    env_random(env, out->b, DHT_ID_LEN);
}

void dht_id_random_near(const struct env *env, const struct dht_id *base, unsigned bits,
                        struct dht_id *out)
{
    struct dht_id id;
    dht_id_random(env, &id);
    size_t at = bits / 8;
    unsigned kept = 0xff00u >> bits % 8, flip = 0x80u >> bits % 8;
    memcpy(id.b, base->b, at);
    id.b[at] = (uint8_t)((base->b[at] & (kept | flip)) | (id.b[at] & ~(kept | flip)));
    id.b[at] ^= (uint8_t)flip;
    *out = id;
}

/* CRC32C (Castagnoli), bit by bit: 8 bytes at most, and few of them. */
static uint32_t crc32c(const uint8_t *p, size_t n)
{
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82f63b78u : 0);
        }
    }
    return ~crc;
}

/* The CRC whose first 21 bits an id at this address begins with (BEP 42). */
static uint32_t addr_crc(const struct addr *a, uint8_t rand)
{
    static const uint8_t mask4[4] = {0x03, 0x0f, 0x3f, 0xff};
    static const uint8_t mask6[8] = {0x01, 0x03, 0x07, 0x0f, 0x1f, 0x3f, 0x7f, 0xff};
    const uint8_t *mask = a->family == 4 ? mask4 : mask6;
    size_t n = a->family == 4 ? sizeof mask4 : sizeof mask6;
    uint8_t ip[8];
    for (size_t i = 0; i < n; i++) {
        ip[i] = a->ip[i] & mask[i];
    }
    ip[0] |= (uint8_t)((rand & RAND_BITS) << 5);
    return crc32c(ip, n);
}

void dht_id_for_addr(const struct env *env, const struct addr *a, struct dht_id *out)
{
    dht_id_random(env, out);
    uint32_t crc = addr_crc(a, out->b[DHT_ID_LEN - 1]);
    out->b[0] = (uint8_t)(crc >> 24);
    out->b[1] = (uint8_t)(crc >> 16);
    out->b[2] = (uint8_t)((crc >> 8 & PREFIX_MASK) | (out->b[2] & LOW_MASK));
}

bool dht_id_fits(const struct dht_id *id, const struct addr *a)
{
    if (dht_id_exempt(a)) {
        return true;
    }
    uint32_t crc = addr_crc(a, id->b[DHT_ID_LEN - 1]);
    return id->b[0] == (uint8_t)(crc >> 24) && id->b[1] == (uint8_t)(crc >> 16) &&
           ((id->b[2] ^ crc >> 8) & PREFIX_MASK) == 0;
}

bool dht_id_exempt(const struct addr *a)
{
    const uint8_t *ip = a->ip;
    if (a->family == 4) {
        return ip[0] == 10 || ip[0] == 127 || (ip[0] == 172 && (ip[1] & 0xf0) == 16) ||
               (ip[0] == 192 && ip[1] == 168) || (ip[0] == 169 && ip[1] == 254);
    }
    return addr_is_loopback(a) || addr_is_link_local(a) || (ip[0] & 0xfe) == 0xfc;
}
