/* The keys of a secret network. Wanted values are from an independent computation
 * (Python's hashlib); Argon2id is libsodium's in both. */
#include <criterion/criterion.h>

#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "crypto/netkey.h"
#include "vectors.h"

static const char secret[] = "correct horse battery";

static void make(const char *name, const char *with, uint8_t key[NETKEY])
{
    cr_assert_geq(sodium_init(), 0);
    cr_assert_eq(netkey_make(name, (const uint8_t *)with, strlen(with), key), 0);
}

Test(netkey, name_and_secret_make_the_key)
{
    static const uint8_t salt[crypto_pwhash_SALTBYTES] = {
        0x2c, 0xf4, 0x8a, 0xac, 0x1e, 0xf3, 0x5c, 0xff,
        0x95, 0x99, 0x63, 0x91, 0xb3, 0xff, 0x21, 0x62};
    uint8_t key[NETKEY], other[NETKEY], want[NETKEY];
    make("office", secret, key);
    cr_assert_eq(crypto_pwhash(want, sizeof want, secret, sizeof secret - 1, salt, 3,
                               65536 * 1024, crypto_pwhash_ALG_ARGON2ID13),
                 0);
    cr_assert_arr_eq(key, want, NETKEY);
    make("Office", secret, other);
    cr_assert_neq(memcmp(key, other, NETKEY), 0);
    make("office", "correct horse battery.", other);
    cr_assert_neq(memcmp(key, other, NETKEY), 0);
}

Test(netkey, lengths)
{
    uint8_t key[NETKEY], long_secret[NETKEY_SECRET_MAX + 1] = {1};
    char name[NETKEY_NAME_MAX + 2] = "";
    const uint8_t *s = (const uint8_t *)secret;
    cr_assert_eq(netkey_make("office", s, NETKEY_SECRET_MIN - 1, key), ERR_LIMIT);
    cr_assert_eq(netkey_make("office", long_secret, sizeof long_secret, key), ERR_LIMIT);
    cr_assert_eq(netkey_make(name, s, sizeof secret, key), ERR_LIMIT);
    memset(name, 'n', sizeof name - 1);
    cr_assert_eq(netkey_make(name, s, sizeof secret, key), ERR_LIMIT);
}

Test(netkey, what_follows_from_it)
{
    static const uint8_t member[NETKEY_MEMBER] = {0x67, 0xfb, 0x53, 0x5d};
    static const uint8_t proof[NETKEY_PROOF] = {0xe2, 0x8c, 0x6a, 0xd6, 0xfe, 0x44,
                                                0xa1, 0x01, 0x1b, 0xde, 0x78, 0x38,
                                                0xc9, 0x37, 0x1f, 0x36};
    static const uint8_t cache[NETKEY_CACHE] = {
        0xba, 0x4b, 0xda, 0x17, 0x80, 0xfa, 0x0a, 0x9e, 0x44, 0x6b, 0xbc,
        0x42, 0x1b, 0x65, 0x7c, 0xe3, 0x4a, 0xc9, 0x47, 0xb4, 0x76, 0x1b,
        0xe9, 0x9f, 0xb1, 0x2c, 0x4d, 0xa0, 0x6e, 0x31, 0x77, 0xad};
    uint8_t key[NETKEY], device[32], hash[64], out[32];
    vectors_seq(1, key, sizeof key);
    vectors_seq(2, device, sizeof device);
    vectors_seq(3, hash, sizeof hash);
    netkey_member(key, device, out);
    cr_assert_arr_eq(out, member, NETKEY_MEMBER);
    netkey_proof(key, hash, device, out);
    cr_assert_arr_eq(out, proof, NETKEY_PROOF);
    netkey_cache(key, "office", (const uint8_t *)secret, sizeof secret - 1, out);
    cr_assert_arr_eq(out, cache, NETKEY_CACHE);
}
