/* Blinded keys. Wanted values are from vectors/blind_kat.py, which has its own Ed25519
 * and XChaCha20-Poly1305. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "crypto/blind.h"
#include "vectors.h"

enum { EPOCHS = 3 };
static const uint64_t epochs[EPOCHS] = {0, 41667, 41668};
static const uint8_t message[] = {'a', ' ', 'm', 'e', 's', 's', 'a', 'g', 'e'};

static void from_hex(const char *hex, uint8_t *out, size_t n)
{
    size_t got = 0;
    cr_assert_eq(sodium_hex2bin(out, n, hex, strlen(hex), NULL, &got, NULL), 0);
    cr_assert_eq(got, n);
}

static void wanted(const char *key, uint8_t *out, size_t n)
{
    json_t *root = vectors_load("blind_kat.json");
    cr_assert_eq(vectors_hex(root, key, out, n), n, "%s", key);
    json_decref(root);
}

static void wanted_of(const char *what, uint64_t epoch, uint8_t *out, size_t n)
{
    char key[40];
    snprintf(key, sizeof key, "%s %llu", what, (unsigned long long)epoch);
    wanted(key, out, n);
}

/* The presence secret of the vectors. */
static void owner(uint8_t p[32], uint8_t seed[32], uint8_t point[32])
{
    cr_assert_geq(sodium_init(), 0);
    vectors_seq(1, p, 32);
    vectors_seq(40, seed, 32);
    blind_point(seed, point);
}

static void fresh_bytes(uint8_t out[BLIND_RANDOM])
{
    vectors_seq(90, out, BLIND_RANDOM);
}

Test(blind, readers_and_owner_come_to_the_same_key)
{
    uint8_t p[32], seed[32], point[32], want[32], pub[32];
    struct blind_key k;
    owner(p, seed, point);
    wanted("A", want, 32);
    cr_assert_arr_eq(point, want, 32);
    for (size_t i = 0; i < EPOCHS; i++) {
        wanted_of("pub", epochs[i], want, 32);
        cr_assert_eq(blind_pub(p, point, epochs[i], pub), 0);
        cr_assert_arr_eq(pub, want, 32);
        cr_assert_eq(blind_key(p, seed, epochs[i], &k), 0);
        cr_assert_arr_eq(k.pub, want, 32);
    }
}

Test(blind, readers_and_owner_agree_for_any_secret)
{
    uint8_t p[32], seed[32], point[32], pub[32], sig[64], fresh[32];
    struct blind_key k;
    cr_assert_geq(sodium_init(), 0);
    for (unsigned i = 0; i < 200; i++) {
        uint8_t n[32] = {(uint8_t)i};
        randombytes_buf_deterministic(p, 32, n);
        n[1] = 1;
        randombytes_buf_deterministic(seed, 32, n);
        n[1] = 2;
        randombytes_buf_deterministic(fresh, 32, n);
        blind_point(seed, point);
        cr_assert_eq(blind_pub(p, point, i, pub), 0);
        cr_assert_eq(blind_key(p, seed, i, &k), 0);
        cr_assert_arr_eq(k.pub, pub, 32);
        cr_assert_eq(crypto_core_ed25519_is_valid_point(pub), 1);
        cr_assert_eq(blind_sign(&k, p, i % 33, fresh, sig), 0);
        cr_assert_eq(crypto_sign_verify_detached(sig, p, i % 33, pub), 0);
    }
}

Test(blind, signatures)
{
    uint8_t p[32], seed[32], point[32], fresh[32], sig[64], want[64];
    struct blind_key k;
    owner(p, seed, point);
    fresh_bytes(fresh);
    for (size_t i = 0; i < EPOCHS; i++) {
        cr_assert_eq(blind_key(p, seed, epochs[i], &k), 0);
        cr_assert_eq(blind_sign(&k, message, sizeof message, fresh, sig), 0);
        wanted_of("sig", epochs[i], want, 64);
        cr_assert_arr_eq(sig, want, 64);
        cr_assert_eq(crypto_sign_verify_detached(sig, message, sizeof message, k.pub), 0);
        cr_assert_eq(blind_verify(k.pub, message, sizeof message, sig), 0);
        cr_assert_eq(blind_verify(k.pub, message, sizeof message - 1, sig), ERR_AUTH);
        for (size_t bit = 0; bit < 512; bit += 7) {
            sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
            cr_assert_eq(blind_verify(k.pub, message, sizeof message, sig), ERR_AUTH);
            sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
}

/* Two messages under one R would give the key away, also where random bytes repeat. */
Test(blind, a_nonce_is_not_used_for_two_messages)
{
    uint8_t p[32], seed[32], point[32], fresh[32], one[64], two[64];
    struct blind_key k, other;
    owner(p, seed, point);
    fresh_bytes(fresh);
    cr_assert_eq(blind_key(p, seed, 5, &k), 0);
    cr_assert_eq(blind_key(p, seed, 6, &other), 0);
    cr_assert_eq(blind_sign(&k, message, sizeof message, fresh, one), 0);
    cr_assert_eq(blind_sign(&k, message, sizeof message - 1, fresh, two), 0);
    cr_assert_neq(memcmp(one, two, 32), 0);
    cr_assert_eq(blind_sign(&other, message, sizeof message, fresh, two), 0);
    cr_assert_neq(memcmp(one, two, 32), 0);
    cr_assert_neq(memcmp(k.prefix, other.prefix, 32), 0);
    fresh[0] ^= 1;
    cr_assert_eq(blind_sign(&k, message, sizeof message, fresh, two), 0);
    cr_assert_neq(memcmp(one, two, 32), 0);
}

Test(blind, epochs_and_secrets_give_other_keys)
{
    uint8_t p[32], seed[32], point[32], one[32], two[32], key[2][32];
    owner(p, seed, point);
    cr_assert_eq(blind_pub(p, point, 41667, one), 0);
    cr_assert_eq(blind_pub(p, point, 41668, two), 0);
    cr_assert_neq(memcmp(one, two, 32), 0);
    blind_where_seal(p, 41667, key[0]);
    blind_where_seal(p, 41668, key[1]);
    cr_assert_neq(memcmp(key[0], key[1], 32), 0);
    p[31] ^= 1;
    cr_assert_eq(blind_pub(p, point, 41667, two), 0);
    cr_assert_neq(memcmp(one, two, 32), 0);
}

Test(blind, epochs)
{
    uint8_t p[32];
    json_t *root = vectors_load("blind_kat.json");
    uint64_t off = (uint64_t)json_integer_value(json_object_get(root, "offset"));
    json_decref(root);
    vectors_seq(1, p, 32);
    cr_assert_eq(blind_offset(p), off);
    cr_assert_eq(off, 10413);
    cr_assert_eq(blind_epoch(off, 0), 0);
    cr_assert_eq(blind_epoch(off, 43200 - off - 1), 0);
    cr_assert_eq(blind_epoch(off, 43200 - off), 1);
    cr_assert_eq(blind_epoch_age(off, 43200 - off - 1), 43199);
    cr_assert_eq(blind_epoch_age(off, 43200 - off), 0);
    cr_assert_eq(blind_epoch(off, 1800000000), (1800000000 + off) / 43200);
}

/* An hour of skew is at most one epoch of difference. */
Test(blind, clocks_an_hour_apart_are_in_neighbouring_epochs)
{
    uint8_t p[32];
    vectors_seq(1, p, 32);
    uint64_t off = blind_offset(p), seen[2] = {0};
    for (uint64_t t = 1800000000; t < 1800000000 + 86400; t += 60) {
        uint64_t d = blind_epoch(off, t + 3600) - blind_epoch(off, t);
        cr_assert_leq(d, 1);
        seen[d]++;
    }
    cr_assert(seen[0] > 0 && seen[1] > 0);
}

static void refused(const uint8_t point[32], const char *why)
{
    uint8_t p[32], out[32], untouched[32];
    vectors_seq(1, p, 32);
    memset(out, 0x55, 32);
    memset(untouched, 0x55, 32);
    cr_assert_eq(blind_pub(p, point, 41667, out), ERR_AUTH, "%s", why);
    cr_assert_arr_eq(out, untouched, 32, "%s", why);
}

static void refused_hex(const char *hex, const char *why)
{
    uint8_t point[32];
    from_hex(hex, point, 32);
    refused(point, why);
}

static const char order8[] =
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a";

Test(blind, points_that_are_no_keys_are_refused)
{
    uint8_t p[32], seed[32], point[32], torsion[32], mixed[32];
    owner(p, seed, point);
    refused_hex("0000000000000000000000000000000000000000000000000000000000000000",
                "order 4");
    refused_hex("0000000000000000000000000000000000000000000000000000000000000080",
                "order 4, the other sign");
    refused_hex("0100000000000000000000000000000000000000000000000000000000000000",
                "the neutral element");
    refused_hex("0100000000000000000000000000000000000000000000000000000000000080",
                "the neutral element with a sign");
    refused_hex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                "order 2");
    refused_hex(order8, "order 8");
    refused_hex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                "y = p");
    refused_hex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                "y = p + 1");
    refused_hex("f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                "y = p + 3, not canonical and on the curve");
    refused_hex("ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
                "all ones");
    refused_hex("0200000000000000000000000000000000000000000000000000000000000000",
                "not on the curve");
    from_hex(order8, torsion, 32);
    cr_assert_eq(crypto_core_ed25519_add(mixed, point, torsion), 0);
    refused(mixed, "mixed order");
}

/* What libsodium's verify refuses, and what it must be asked for: keys of small order are
 * good for any message elsewhere. */
Test(blind, verification_is_strict)
{
    uint8_t p[32], seed[32], point[32], fresh[32], sig[64], none[64] = {1};
    struct blind_key k;
    static const uint8_t neutral[32] = {1};
    owner(p, seed, point);
    fresh_bytes(fresh);
    cr_assert_eq(blind_key(p, seed, 1, &k), 0);
    cr_assert_eq(blind_sign(&k, message, sizeof message, fresh, sig), 0);
    cr_assert_eq(blind_verify(neutral, message, sizeof message, none), ERR_AUTH);
    uint8_t l[32];
    from_hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010", l, 32);
    sodium_add(sig + 32, l, 32); /* S + L */
    cr_assert_eq(blind_verify(k.pub, message, sizeof message, sig), ERR_AUTH);
}

/* BEP 44, test 1: its private key is an expanded one, that is a scalar. */
Test(blind, bep44_signature_and_its_raw_scalar)
{
    static const uint8_t buf[] = "3:seqi1e1:v12:Hello World!";
    uint8_t sig[64], fresh[32];
    struct blind_key k;
    cr_assert_geq(sodium_init(), 0);
    fresh_bytes(fresh);
    from_hex("77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548", k.pub,
             32);
    from_hex("e06d3183d14159228433ed599221b80bd0a5ce8352e4bdf0262f76786ef1c74d", k.sec,
             32);
    from_hex("b7e7a9fea2c0eb269d61e3b38e450a22e754941ac78479d6c54e1faf6037881d", k.prefix,
             32);
    from_hex("305ac8aeb6c9c151fa120f120ea2cfb923564e11552d06a5d856091e5e853cff"
             "1260d3f39e4999684aa92eb73ffd136e6f4f3ecbfda0ce53a1608ecd7ae21f01",
             sig, 64);
    cr_assert_eq(blind_verify(k.pub, buf, sizeof buf - 1, sig), 0);
    cr_assert_eq(blind_sign(&k, buf, sizeof buf - 1, fresh, sig), 0);
    cr_assert_eq(crypto_sign_verify_detached(sig, buf, sizeof buf - 1, k.pub), 0);
}

Test(blind, a_key_of_zero_does_not_sign)
{
    struct blind_key k = {{0}, {0}, {0}};
    uint8_t fresh[32], sig[64], untouched[64];
    memset(sig, 0x55, 64);
    memset(untouched, 0x55, 64);
    fresh_bytes(fresh);
    cr_assert_eq(blind_sign(&k, message, sizeof message, fresh, sig), ERR_AUTH);
    cr_assert_arr_eq(sig, untouched, 64);
}

static void check_slot(const char *name, const struct blind_key *k)
{
    uint8_t want[64], fresh[32], sig[64];
    char key[40];
    fresh_bytes(fresh);
    wanted(name, want, 32);
    cr_assert_arr_eq(k->pub, want, 32, "%s", name);
    snprintf(key, sizeof key, "%s sig", name);
    wanted(key, want, 64);
    cr_assert_eq(blind_sign(k, message, sizeof message, fresh, sig), 0);
    cr_assert_arr_eq(sig, want, 64, "%s", name);
    cr_assert_eq(crypto_sign_verify_detached(sig, message, sizeof message, k->pub), 0);
}

static void check_key(const char *name, const uint8_t key[32])
{
    uint8_t want[32];
    wanted(name, want, 32);
    cr_assert_arr_eq(key, want, 32, "%s", name);
}

Test(blind, places_of_two)
{
    uint8_t secret[32], device[32], other[32], seal[32], tag[16], want[16], p[32];
    struct blind_slot s;
    struct blind_key k;
    cr_assert_geq(sodium_init(), 0);
    vectors_seq(2, secret, 32);
    vectors_seq(3, device, 32);
    vectors_seq(4, other, 32);
    blind_pair_slot(secret, device, 41667, &s);
    check_slot("pair slot", &s.key);
    check_key("pair slot key", s.seal);
    blind_invite_slot(secret, 41667, &s);
    check_slot("invite slot", &s.key);
    check_key("invite slot key", s.seal);
    blind_invite_knock(secret, 41667, &s);
    check_slot("invite knock", &s.key);
    check_key("invite knock key", s.seal);
    for (unsigned i = 0; i < BLIND_KNOCK_SLOTS; i++) {
        char name[16];
        snprintf(name, sizeof name, "knock %u", i);
        blind_knock_slot(secret, 41667, i, &k);
        check_slot(name, &k);
    }
    blind_knock_seal(secret, device, other, seal);
    check_key("knock key", seal);
    vectors_seq(1, p, 32);
    vectors_seq(5, device, 32);
    blind_relay_tag(p, device, tag);
    wanted("relay", want, 16);
    cr_assert_arr_eq(tag, want, 16);
    blind_slot_wipe(&s);
    cr_assert(sodium_is_zero((const uint8_t *)&s, sizeof s));
}

Test(blind, directions_and_devices_have_their_own)
{
    uint8_t pair[32], a[32], b[32], ab[32], ba[32];
    struct blind_slot one, two;
    cr_assert_geq(sodium_init(), 0);
    vectors_seq(2, pair, 32);
    vectors_seq(3, a, 32);
    vectors_seq(4, b, 32);
    blind_knock_seal(pair, a, b, ab);
    blind_knock_seal(pair, b, a, ba);
    cr_assert_neq(memcmp(ab, ba, 32), 0);
    blind_pair_slot(pair, a, 7, &one);
    blind_pair_slot(pair, b, 7, &two);
    cr_assert_neq(memcmp(one.key.pub, two.key.pub, 32), 0);
    cr_assert_neq(memcmp(one.seal, two.seal, 32), 0);
}

/* ---- values ---- */

struct sealed {
    uint8_t key[32], pub[32], nonce[BLIND_NONCE], value[BLIND_VALUE];
};

static const uint8_t content[] = {'c', 'o', 'n', 't', 'e', 'n', 't'};
enum { SEQ = 1700000000 };

static struct sealed sealed(uint64_t epoch)
{
    struct sealed s;
    uint8_t p[32], seed[32], point[32];
    owner(p, seed, point);
    blind_where_seal(p, epoch, s.key);
    cr_assert_eq(blind_pub(p, point, epoch, s.pub), 0);
    vectors_seq(70, s.nonce, sizeof s.nonce);
    cr_assert_eq(blind_seal(s.key, s.pub, SEQ, s.nonce, content, sizeof content, s.value),
                 0);
    return s;
}

Test(blind, values)
{
    uint8_t want[BLIND_VALUE], out[BLIND_CONTENT_MAX];
    size_t n = 0;
    for (size_t i = 0; i < EPOCHS; i++) {
        struct sealed s = sealed(epochs[i]);
        wanted_of("value", epochs[i], want, sizeof want);
        cr_assert_arr_eq(s.value, want, sizeof want);
        cr_assert_eq(blind_open(s.key, s.pub, SEQ, s.value, BLIND_VALUE, out, &n), 0);
        cr_assert_eq(n, sizeof content);
        cr_assert_arr_eq(out, content, n);
    }
}

Test(blind, values_of_another_place_do_not_open)
{
    struct sealed s = sealed(41667), other = sealed(41668);
    uint8_t out[BLIND_CONTENT_MAX];
    size_t n = 99;
    cr_assert_eq(blind_open(other.key, s.pub, SEQ, s.value, BLIND_VALUE, out, &n),
                 ERR_AUTH);
    cr_assert_eq(blind_open(s.key, other.pub, SEQ, s.value, BLIND_VALUE, out, &n),
                 ERR_AUTH);
    cr_assert_eq(blind_open(s.key, s.pub, SEQ + 1, s.value, BLIND_VALUE, out, &n),
                 ERR_AUTH);
    for (size_t i = 0; i < BLIND_VALUE; i += 5) {
        s.value[i] ^= 0x10;
        cr_assert_eq(blind_open(s.key, s.pub, SEQ, s.value, BLIND_VALUE, out, &n),
                     ERR_AUTH);
        s.value[i] ^= 0x10;
    }
    cr_assert_eq(blind_open(s.key, s.pub, SEQ, s.value, BLIND_VALUE - 1, out, &n),
                 ERR_FORMAT);
    cr_assert_eq(blind_open(s.key, s.pub, SEQ, s.value, 0, out, &n), ERR_FORMAT);
    cr_assert_eq(n, 99);
}

Test(blind, sizes_of_content)
{
    struct sealed s = sealed(1);
    uint8_t big[BLIND_CONTENT_MAX + 1], out[BLIND_CONTENT_MAX];
    size_t n = 0;
    memset(big, 0xee, sizeof big);
    cr_assert_eq(blind_seal(s.key, s.pub, 1, s.nonce, big, sizeof big, s.value),
                 ERR_LIMIT);
    for (size_t len = 0; len <= BLIND_CONTENT_MAX; len += 113) {
        cr_assert_eq(blind_seal(s.key, s.pub, 1, s.nonce, big, len, s.value), 0);
        cr_assert_eq(blind_open(s.key, s.pub, 1, s.value, BLIND_VALUE, out, &n), 0);
        cr_assert_eq(n, len);
        cr_assert_arr_eq(out, big, len);
    }
}

/* Sealed by somebody who has the key and breaks the rules. */
static int open_plain(const uint8_t plain[BLIND_PLAIN])
{
    struct sealed s = sealed(1);
    uint8_t ad[40] = {0}, out[BLIND_CONTENT_MAX];
    size_t n;
    memcpy(ad, s.pub, 32);
    ad[39] = 1;
    memcpy(s.value, s.nonce, BLIND_NONCE);
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt(s.value + BLIND_NONCE, NULL, plain,
                                                     BLIND_PLAIN, ad, sizeof ad, NULL,
                                                     s.nonce, s.key);
    return blind_open(s.key, s.pub, 1, s.value, BLIND_VALUE, out, &n);
}

Test(blind, padding)
{
    uint8_t plain[BLIND_PLAIN] = {0, 3, 'a', 'b', 'c'};
    cr_assert_eq(open_plain(plain), 0);
    plain[5] = 1;
    cr_assert_eq(open_plain(plain), ERR_FORMAT);
    plain[5] = 0;
    plain[BLIND_PLAIN - 1] = 1;
    cr_assert_eq(open_plain(plain), ERR_FORMAT);
    plain[BLIND_PLAIN - 1] = 0;
    plain[0] = 0x02;
    plain[1] = 0xa7; /* 679: one more than there is */
    cr_assert_eq(open_plain(plain), ERR_FORMAT);
    plain[1] = 0xa6;
    cr_assert_eq(open_plain(plain), 0);
}
