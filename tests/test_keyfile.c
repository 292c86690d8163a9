#include <criterion/criterion.h>
#include <sodium.h>
#include <string.h>

#include "base/err.h"
#include "crypto/keyfile.h"
#include "vectors.h"

enum { SIZE = 298, AT_VERSION = 11, AT_KDF = 12, AT_MEM = 13, AT_PASSES = 17 };

static const char pass[] = "correct horse";

static void start(void)
{
    cr_assert(sodium_init() >= 0);
}

TestSuite(keyfile, .init = start);

static size_t unprotected(struct keyfile *k, uint8_t out[KEYFILE_MAX])
{
    uint8_t next = 200;
    struct env env = vectors_env(&next);
    size_t len = 0;

    vectors_seq(0, (uint8_t *)k, sizeof(*k));
    cr_assert_eq(keyfile_encode(k, &env, NULL, 0, out, &len), 0);
    return len;
}

/* Makes the digest right again after an edit. */
static void redigest(uint8_t *file, size_t len)
{
    (void)crypto_generichash(file + len - 32, 32, file, len - 32, NULL, 0);
}

Test(keyfile, unprotected_is_what_others_compute)
{
    uint8_t file[KEYFILE_MAX], want[SIZE];
    struct keyfile k, got;
    bool prot = true;

    cr_assert_eq(sizeof(k), 192);
    cr_assert_eq(unprotected(&k, file), SIZE);
    vectors_kat("keyfile", want, SIZE);
    cr_expect_arr_eq(file, want, SIZE);
    cr_assert_eq(keyfile_protected(file, SIZE, &prot), 0);
    cr_expect(!prot);
    cr_assert_eq(keyfile_decode(file, SIZE, NULL, 0, &got), 0);
    cr_expect_arr_eq(&got, &k, sizeof(k));
    cr_expect_eq(keyfile_decode(file, SIZE, pass, sizeof(pass) - 1, &got), 0);
    keyfile_release(&got);
    cr_expect(sodium_is_zero((uint8_t *)&got, sizeof(got)));
    keyfile_release(NULL);
}

Test(keyfile, damage_is_told)
{
    uint8_t file[KEYFILE_MAX] = {0}, copy[KEYFILE_MAX];
    struct keyfile k, got = {.seed = {0x5a}};
    bool prot;

    (void)unprotected(&k, file);
    for (size_t i = 0; i < SIZE; i++) {
        cr_expect_eq(keyfile_decode(file, i, NULL, 0, &got), ERR_CORRUPT, "cut %zu", i);
        cr_expect_eq(keyfile_protected(file, i, &prot), ERR_CORRUPT);
        memcpy(copy, file, SIZE);
        copy[i] ^= (uint8_t)(1U << (i % 8));
        int want = i == AT_VERSION ? ERR_NEWER : ERR_CORRUPT;

        cr_expect_eq(keyfile_decode(copy, SIZE, NULL, 0, &got), want, "flip %zu", i);
        cr_expect_eq(keyfile_protected(copy, SIZE, &prot), want);
    }
    cr_expect_eq(keyfile_decode(file, SIZE + 1, NULL, 0, &got), ERR_CORRUPT);
    cr_expect_eq(keyfile_decode(file, KEYFILE_MAX, NULL, 0, &got), ERR_CORRUPT);
    cr_expect_eq(got.seed[0], 0x5a, "untouched");
}

/* Edits that kept the digest right: the header and the ciphertext authenticate. */
Test(keyfile, edits_with_a_good_digest)
{
    uint8_t file[KEYFILE_MAX], copy[KEYFILE_MAX];
    struct keyfile k, got;

    (void)unprotected(&k, file);
    for (size_t i = AT_VERSION; i < SIZE - 32; i++) {
        memcpy(copy, file, SIZE);
        copy[i] ^= 2;
        redigest(copy, SIZE);
        cr_expect_eq(keyfile_decode(copy, SIZE, NULL, 0, &got),
                     i == AT_VERSION ? ERR_NEWER : ERR_CORRUPT, "byte %zu", i);
    }
    /* A newer version may have any length. */
    memcpy(copy, file, SIZE);
    copy[AT_VERSION] = 2;
    redigest(copy, 100);
    cr_expect_eq(keyfile_decode(copy, 100, NULL, 0, &got), ERR_NEWER);
    copy[AT_VERSION] = 0;
    redigest(copy, 100);
    cr_expect_eq(keyfile_decode(copy, 100, NULL, 0, &got), ERR_CORRUPT);
    copy[AT_VERSION] = 1;
    redigest(copy, 100);
    cr_expect_eq(keyfile_decode(copy, 100, NULL, 0, &got), ERR_CORRUPT);
}

/* Floor and cap hold before any memory is taken. */
Test(keyfile, parameters_beyond_bounds)
{
    static const struct {
        uint32_t mem_kib;
        uint8_t passes;
    } bad[] = {
        {KEYFILE_MEM_KIB_MIN - 1, 3},
        {KEYFILE_MEM_KIB_MAX + 1, 3},
        {UINT32_MAX, 3},
        {0, 3},
        {KEYFILE_MEM_KIB_MIN, 2},
        {KEYFILE_MEM_KIB_MIN, 17},
        {KEYFILE_MEM_KIB_MIN, 0},
    };
    uint8_t file[KEYFILE_MAX];
    struct keyfile k, got;
    bool prot = false;

    (void)unprotected(&k, file);
    file[AT_KDF] = 1;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        for (int b = 0; b < 4; b++) {
            file[AT_MEM + b] = (uint8_t)(bad[i].mem_kib >> (24 - 8 * b));
        }
        file[AT_PASSES] = bad[i].passes;
        redigest(file, SIZE);
        cr_expect_eq(keyfile_decode(file, SIZE, pass, 5, &got), ERR_LIMIT, "%zu", i);
        cr_expect_eq(keyfile_protected(file, SIZE, &prot), 0);
        cr_expect(prot);
    }
}

Test(keyfile, passphrase)
{
    uint8_t file[KEYFILE_MAX], next = 0, key[32];
    struct env env = vectors_env(&next);
    struct keyfile k, got = {.seed = {0x5a}};
    bool prot = false;
    size_t len = 0;

    vectors_seq(0, (uint8_t *)&k, sizeof(k));
    cr_assert_eq(keyfile_encode(&k, &env, pass, sizeof(pass) - 1, file, &len), 0);
    cr_assert_eq(len, SIZE);
    cr_assert_eq(keyfile_protected(file, len, &prot), 0);
    cr_expect(prot);
    cr_expect_eq(keyfile_decode(file, len, NULL, 0, &got), ERR_AUTH);
    cr_expect_eq(keyfile_decode(file, len, "correct horsf", 13, &got), ERR_AUTH);
    cr_expect_eq(got.seed[0], 0x5a, "untouched");
    cr_assert_eq(keyfile_decode(file, len, pass, sizeof(pass) - 1, &got), 0);
    cr_expect_arr_eq(&got, &k, sizeof(k));
    /* The parameters in the file are those that were used. */
    cr_assert_eq(crypto_pwhash(key, 32, pass, sizeof(pass) - 1, file + 18, 3, 256 << 20,
                               crypto_pwhash_ALG_ARGON2ID13),
                 0);
    uint8_t plain[192];

    cr_expect_eq(crypto_aead_xchacha20poly1305_ietf_decrypt(
                     plain, NULL, NULL, file + 58, 208, file, 58, file + 34, key),
                 0);
    cr_expect_arr_eq(plain, &k, sizeof(plain));
    /* A salt that was changed is a wrong passphrase. */
    file[20] ^= 1;
    redigest(file, len);
    cr_expect_eq(keyfile_decode(file, len, pass, sizeof(pass) - 1, &got), ERR_AUTH);
}

Test(keyfile, passphrase_bounds)
{
    static const char longest[KEYFILE_PASSPHRASE_MAX + 1];
    uint8_t file[KEYFILE_MAX];
    struct keyfile k = {0};
    size_t len;

    cr_expect_eq(keyfile_encode(&k, env_system(), "", 0, file, &len), ERR_LIMIT);
    cr_expect_eq(keyfile_encode(&k, env_system(), longest, sizeof(longest), file, &len),
                 ERR_LIMIT);
}
