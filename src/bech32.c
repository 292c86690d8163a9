#include "bech32.h"

#include <string.h>

#include "base/err.h"

#define BECH32M_CONST UINT32_C(0x2bc830a3)

enum { BITS = 5, CHAR_LOW = 33, CHAR_HIGH = 126 };

static const char charset[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/* One step of the BCH code over GF(32), BIP 173. */
static uint32_t polymod(uint32_t c, uint8_t value)
{
    static const uint32_t gen[] = {0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd,
                                   0x2a1462b3};
    uint32_t top = c >> 25;
    c = (c & 0x1ffffff) << BITS ^ value;
    for (unsigned i = 0; i < BITS; i++) {
        if ((top >> i & 1) != 0) {
            c ^= gen[i];
        }
    }
    return c;
}

/* The state after a prefix, which counts in lower case. */
static uint32_t polymod_prefix(const char *prefix, size_t len)
{
    uint32_t c = 1;
    for (unsigned half = 0; half < 2; half++) {
        for (size_t i = 0; i < len; i++) {
            uint8_t ch = (uint8_t)prefix[i];
            if (ch >= 'A' && ch <= 'Z') {
                ch = (uint8_t)(ch - 'A' + 'a');
            }
            c = polymod(c, half == 0 ? ch >> BITS : ch & 31);
        }
        if (half == 0) {
            c = polymod(c, 0);
        }
    }
    return c;
}

/* The value of a data character, -1 when it is none. */
static int char_value(char c)
{
    if (c >= 'A' && c <= 'Z') {
        c = (char)(c - 'A' + 'a');
    }
    const char *at = c == '\0' ? NULL : memchr(charset, c, sizeof charset - 1);
    return at == NULL ? -1 : (int)(at - charset);
}

size_t bech32_len(size_t prefix_len, size_t n)
{
    return prefix_len + 1 + (n * 8 + BITS - 1) / BITS + BECH32_CHECKSUM;
}

int bech32_encode(const char *prefix, const uint8_t *p, size_t n, char *out, size_t cap)
{
    size_t prefix_len = strlen(prefix);
    if (cap <= bech32_len(prefix_len, n)) {
        return ERR_LIMIT;
    }
    uint32_t check = polymod_prefix(prefix, prefix_len);
    memcpy(out, prefix, prefix_len);
    char *to = out + prefix_len;
    *to++ = '1';
    unsigned held = 0, bits = 0;
    for (size_t i = 0; i < n || bits > 0;) {
        if (bits < BITS && i < n) {
            held = (held & 31) << 8 | p[i++];
            bits += 8;
        } else if (bits < BITS) {
            held <<= BITS - bits;
            bits = BITS;
        }
        bits -= BITS;
        uint8_t v = held >> bits & 31;
        check = polymod(check, v);
        *to++ = charset[v];
    }
    for (unsigned i = 0; i < BECH32_CHECKSUM; i++) {
        check = polymod(check, 0);
    }
    check ^= BECH32M_CONST;
    for (unsigned i = 0; i < BECH32_CHECKSUM; i++) {
        *to++ = charset[check >> BITS * (BECH32_CHECKSUM - 1 - i) & 31];
    }
    *to = '\0';
    return 0;
}

bool bech32_check(const char *s, size_t len, size_t *prefix_len)
{
    bool lower = false, upper = false;
    size_t sep = 0;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < CHAR_LOW || s[i] > CHAR_HIGH) {
            return false;
        }
        lower = lower || (s[i] >= 'a' && s[i] <= 'z');
        upper = upper || (s[i] >= 'A' && s[i] <= 'Z');
        sep = s[i] == '1' ? i : sep;
    }
    if ((lower && upper) || sep == 0 || sep > BECH32_PREFIX_MAX ||
        len - sep - 1 < BECH32_CHECKSUM) {
        return false;
    }
    uint32_t check = polymod_prefix(s, sep);
    for (size_t i = sep + 1; i < len; i++) {
        int v = char_value(s[i]);
        if (v < 0) {
            return false;
        }
        check = polymod(check, (uint8_t)v);
    }
    *prefix_len = sep;
    return check == BECH32M_CONST;
}

/* Whether s starts with the prefix, in either case. */
static bool same_prefix(const char *prefix, const char *s, size_t len)
{
    if (strlen(prefix) != len) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        char c = s[i] >= 'A' && s[i] <= 'Z' ? (char)(s[i] - 'A' + 'a') : s[i];
        if (c != prefix[i]) {
            return false;
        }
    }
    return true;
}

int bech32_decode(const char *prefix, const char *s, size_t len, uint8_t *out, size_t cap,
                  size_t *n)
{
    size_t sep;
    if (!bech32_check(s, len, &sep) || !same_prefix(prefix, s, sep)) {
        return ERR_FORMAT;
    }
    unsigned held = 0, bits = 0;
    size_t got = 0;
    for (size_t i = sep + 1; i < len - BECH32_CHECKSUM; i++) {
        held = (held << BITS | (unsigned)char_value(s[i])) & 0xfff;
        bits += BITS;
        if (bits >= 8) {
            bits -= 8;
            if (got == cap) {
                return ERR_LIMIT;
            }
            out[got++] = (uint8_t)(held >> bits);
        }
    }
    if (bits >= BITS || (held & ((1u << bits) - 1)) != 0) {
        return ERR_FORMAT;
    }
    *n = got;
    return 0;
}
