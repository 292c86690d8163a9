/* Beacons: unlinkable but for who holds the key (docs/PROTOCOL.md, "Beacons"). */
#include "wire.h"

#include <assert.h>
#include <string.h>

#include <sodium.h>

#include "crypto/kdf.h"

enum { NONCE = 16, CLEAR = 8, TAG = 16 };
static_assert(NONCE + CLEAR + TAG == WIRE_BEACON, "the parts of a beacon");

static void mask(uint8_t clear[CLEAR], const uint8_t key[32], const uint8_t *nonce)
{
    uint8_t stream[crypto_generichash_BYTES_MIN];
    kdf_hash(stream, sizeof stream, key, "linnet beacon mask", nonce, (size_t)NONCE,
             NULL);
    for (size_t i = 0; i < CLEAR; i++) {
        clear[i] ^= stream[i];
    }
    sodium_memzero(stream, sizeof stream);
}

/* False when source is no address. */
static bool make_tag(uint8_t tag[TAG], const uint8_t key[32], const uint8_t *nonce,
                     const struct addr *source, const uint8_t clear[CLEAR])
{
    uint8_t from[ADDR_WIRE6];
    size_t n = addr_to_wire(source, from, sizeof from);
    if (n == 0) {
        return false;
    }
    kdf_hash(tag, TAG, key, "linnet beacon tag", nonce, (size_t)NONCE, from, n, clear,
             (size_t)CLEAR, NULL);
    return true;
}

void wire_beacon_put(uint8_t out[WIRE_BEACON], const uint8_t key[32],
                     const struct addr *source, const struct wire_beacon *v)
{
    uint8_t clear[CLEAR] = {0}, tag[TAG] = {0};
    struct wr w = wr_init(clear, sizeof clear);
    wr_u16(&w, v->port);
    wr_u8(&w, v->presence);
    wr_u8(&w, v->flags);
    wr_bytes(&w, v->member, sizeof v->member);
    bool ok = make_tag(tag, key, v->nonce, source, clear);
    assert(ok);
    mask(clear, key, v->nonce);
    w = wr_init(out, WIRE_BEACON);
    wr_bytes(&w, v->nonce, NONCE);
    wr_bytes(&w, clear, CLEAR);
    wr_bytes(&w, tag, TAG);
}

bool wire_beacon_get(const uint8_t *p, size_t len, const uint8_t key[32],
                     const struct addr *source, struct wire_beacon *v)
{
    uint8_t clear[CLEAR], tag[TAG];
    struct rd r = rd_init(p, len);
    const uint8_t *nonce = rd_bytes(&r, NONCE);
    (void)rd_copy(&r, clear, CLEAR);
    const uint8_t *theirs = rd_bytes(&r, TAG);
    if (!rd_end(&r)) {
        return false;
    }
    mask(clear, key, nonce);
    bool ok =
        make_tag(tag, key, nonce, source, clear) && sodium_memcmp(tag, theirs, TAG) == 0;
    sodium_memzero(tag, sizeof tag);
    if (!ok) {
        return false;
    }
    memcpy(v->nonce, nonce, NONCE);
    r = rd_init(clear, CLEAR);
    v->port = rd_u16(&r);
    v->presence = rd_u8(&r);
    v->flags = rd_u8(&r);
    (void)rd_copy(&r, v->member, sizeof v->member);
    return true;
}

void wire_beacon_key_presence(const uint8_t p[32], uint8_t key[32])
{
    kdf_hash(key, 32, p, "linnet beacon presence", NULL);
}

void wire_beacon_key_pair(const uint8_t pair[32], const uint8_t sender[WIRE_ID],
                          uint8_t key[32])
{
    kdf_hash(key, 32, pair, "linnet beacon pair", sender, (size_t)WIRE_ID, NULL);
}

void wire_beacon_key_invite(const uint8_t secret[32], uint8_t key[32])
{
    kdf_hash(key, 32, secret, "linnet beacon invite", NULL);
}

void wire_beacon_key_network(const uint8_t network[NETKEY], uint8_t key[32])
{
    kdf_hash(key, 32, network, "linnet beacon network", NULL);
}
