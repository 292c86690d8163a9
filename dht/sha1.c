#include "dht/sha1.h"

#include <string.h>

enum { ROUNDS = 80, LENGTH_AT = SHA1_BLOCK - 8 };

static uint32_t rotate(uint32_t x, unsigned n)
{
    return x << n | x >> (32 - n);
}

static uint32_t load(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void save(uint32_t v, uint8_t *p)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

/* f(b, c, d) + K of round t, section 4.1.1 and 4.2.1. */
static uint32_t mix(unsigned t, uint32_t b, uint32_t c, uint32_t d)
{
    if (t < 20) {
        return (d ^ (b & (c ^ d))) + 0x5a827999u;
    }
    if (t < 40) {
        return (b ^ c ^ d) + 0x6ed9eba1u;
    }
    if (t < 60) {
        return ((b & c) | (d & (b | c))) + 0x8f1bbcdcu;
    }
    return (b ^ c ^ d) + 0xca62c1d6u;
}

/* Section 6.1.3: the message schedule is kept in 16 words. */
static void compress(uint32_t h[5], const uint8_t *block)
{
    uint32_t w[16];
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (size_t i = 0; i < 16; i++) {
        w[i] = load(block + 4 * i);
    }
    for (unsigned t = 0; t < ROUNDS; t++) {
        unsigned s = t & 15;
        if (t >= 16) {
            w[s] = rotate(w[(s + 13) & 15] ^ w[(s + 8) & 15] ^ w[(s + 2) & 15] ^ w[s], 1);
        }
        uint32_t next = rotate(a, 5) + mix(t, b, c, d) + e + w[s];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

void sha1_init(struct sha1 *s)
{
    *s = (struct sha1){
        .h = {0x67452301u, 0xefcdab89u, 0x98badcfeu, 0x10325476u, 0xc3d2e1f0u}};
}

void sha1_update(struct sha1 *s, const void *p, size_t n)
{
    const uint8_t *in = p;
    size_t have = (size_t)(s->len % SHA1_BLOCK);
    s->len += n;
    while (n > 0) {
        if (have == 0 && n >= SHA1_BLOCK) {
            compress(s->h, in);
            in += SHA1_BLOCK;
            n -= SHA1_BLOCK;
            continue;
        }
        size_t take = SHA1_BLOCK - have < n ? SHA1_BLOCK - have : n;
        memcpy(s->block + have, in, take);
        in += take;
        n -= take;
        have += take;
        if (have == SHA1_BLOCK) {
            compress(s->h, s->block);
            have = 0;
        }
    }
}

void sha1_final(struct sha1 *s, uint8_t out[SHA1_LEN])
{
    size_t have = (size_t)(s->len % SHA1_BLOCK);
    uint64_t bits = s->len * 8;
    s->block[have++] = 0x80;
    if (have > LENGTH_AT) {
        memset(s->block + have, 0, SHA1_BLOCK - have);
        compress(s->h, s->block);
        have = 0;
    }
    memset(s->block + have, 0, LENGTH_AT - have);
    save((uint32_t)(bits >> 32), s->block + LENGTH_AT);
    save((uint32_t)bits, s->block + LENGTH_AT + 4);
    compress(s->h, s->block);
    for (size_t i = 0; i < 5; i++) {
        save(s->h[i], out + 4 * i);
    }
}

void sha1(const void *p, size_t n, uint8_t out[SHA1_LEN])
{
    struct sha1 s;
    sha1_init(&s);
    sha1_update(&s, p, n);
    sha1_final(&s, out);
}
