/* Bech32m. The vectors are those of BIP 350 by Pieter Wuille, "Test vectors for Bech32m"
 * (https://github.com/bitcoin/bips/blob/master/bip-0350.mediawiki, BSD-2-Clause). */
#include <criterion/criterion.h>

#include <string.h>

#include "base/err.h"
#include "bech32.h"

static const char *const valid[] = {
    "A1LQFN3A",
    "a1lqfn3a",
    "an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11"
    "sg7hg6",
    "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx",
    "11llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllll"
    "ludsr8",
    "split1checkupstagehandshakeupstreamerranterredcaperredlc445v",
    "?1v759aa",
};

static const char *const invalid[] = {
    " 1xj0phk", /* prefix: character out of range */
    "\x7f"
    "1g6xzxy",
    "\x80"
    "1vctc34",
    "an84characterslonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber1"
    "1d6pts4",       /* too long a prefix */
    "qyrz8wqd2c9m",  /* no separator */
    "1qyrz8wqd2c9m", /* empty prefix */
    "y1b0jsk6g",     /* invalid data character */
    "lt1igcx5c0",
    "in1muywd",  /* too short a checksum */
    "mm1crxm3i", /* invalid character in the checksum */
    "au1s5cgom",
    "M1VUXWEZ", /* checksum of the prefix in upper case */
    "16plkw9",  /* empty prefix */
    "1p2gdwpf",
};

Test(bech32, valid)
{
    for (size_t i = 0; i < sizeof valid / sizeof valid[0]; i++) {
        size_t prefix_len;
        cr_assert(bech32_check(valid[i], strlen(valid[i]), &prefix_len), "%s", valid[i]);
        cr_assert_eq(valid[i][prefix_len], '1');
        cr_assert_null(strchr(valid[i] + prefix_len + 1, '1'));
    }
}

Test(bech32, invalid)
{
    for (size_t i = 0; i < sizeof invalid / sizeof invalid[0]; i++) {
        size_t prefix_len;
        cr_assert(!bech32_check(invalid[i], strlen(invalid[i]), &prefix_len), "%s",
                  invalid[i]);
    }
}

/* Every character of the valid ones exchanged for another of the alphabet. */
Test(bech32, one_character_off)
{
    static const char charset[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    for (size_t i = 1; i < sizeof valid / sizeof valid[0]; i++) {
        char s[128];
        size_t n = strlen(valid[i]), prefix_len, other;
        cr_assert(bech32_check(valid[i], n, &prefix_len));
        for (size_t j = prefix_len + 1; j < n; j++) {
            for (size_t c = 0; c < sizeof charset - 1; c++) {
                memcpy(s, valid[i], n);
                s[j] = charset[c];
                cr_assert(s[j] == valid[i][j] || !bech32_check(s, n, &other));
            }
        }
    }
}

Test(bech32, decode_prefix_and_padding)
{
    /* The values 31, 30 … 0 of five bits each. */
    static const char bytes[] = "\xff\xbb\xcd\xeb\x38\xbd\xab\x49\xca\x30"
                                "\x7b\x9a\xc5\xa9\x28\x39\x8a\x41\x88\x20";
    uint8_t out[64];
    size_t n = 99;
    const char *s = valid[3];
    cr_assert_eq(bech32_decode("abcdef", s, strlen(s), out, sizeof out, &n), 0);
    cr_assert_eq(n, 20u);
    cr_assert_arr_eq(out, bytes, 20);
    s = valid[4];
    cr_assert_eq(bech32_decode("1", s, strlen(s), out, sizeof out, &n), ERR_FORMAT,
                 "its padding is not zero");
    cr_assert_eq(bech32_decode("a", "a1lqfn3a", 8, out, sizeof out, &n), 0);
    cr_assert_eq(n, 0u);
    cr_assert_eq(bech32_decode("a", "A1LQFN3A", 8, out, sizeof out, &n), 0);
    cr_assert_eq(bech32_decode("b", "a1lqfn3a", 8, out, sizeof out, &n), ERR_FORMAT);
    cr_assert_eq(bech32_decode("ab", "a1lqfn3a", 8, out, sizeof out, &n), ERR_FORMAT);
}

/* Bytes of every length, there and back; no room, one character or byte too little. */
Test(bech32, round_trip)
{
    uint8_t bytes[40], back[40];
    char s[128];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 37 + 11);
    }
    for (size_t len = 0; len <= sizeof bytes; len++) {
        size_t chars = bech32_len(2, len), n = 99;
        cr_assert_eq(bech32_encode("ab", bytes, len, s, chars), ERR_LIMIT);
        cr_assert_eq(bech32_encode("ab", bytes, len, s, chars + 1), 0);
        cr_assert_eq(strlen(s), chars);
        cr_assert_eq(bech32_decode("ab", s, chars, back, len, &n), 0);
        cr_assert_eq(n, len);
        cr_assert(len == 0 || memcmp(bytes, back, len) == 0);
        cr_assert(len == 0 ||
                  bech32_decode("ab", s, chars, back, len - 1, &n) == ERR_LIMIT);
    }
}
