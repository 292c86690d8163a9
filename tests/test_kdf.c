#include <criterion/criterion.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "crypto/kdf.h"
#include "vectors.h"

static void start(void)
{
    cr_assert(sodium_init() >= 0);
}

TestSuite(kdf, .init = start);

Test(kdf, hmac_is_what_others_compute)
{
    static const size_t lens[] = {0, 20, 128, 129, 200};
    const char *data = "what is signed";
    uint8_t key[200], want[KDF_HASHLEN], got[KDF_HASHLEN];
    char name[16];

    vectors_seq(0, key, sizeof(key));
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        (void)snprintf(name, sizeof(name), "hmac%zu", lens[i]);
        vectors_kat(name, want, sizeof(want));
        kdf_hmac(got, key, lens[i], (const uint8_t *)data, strlen(data));
        cr_expect_arr_eq(got, want, sizeof(want), "%s", name);
    }
}

Test(kdf, hkdf_is_what_others_compute)
{
    uint8_t ck[KDF_HASHLEN], ikm[32], out[3][KDF_HASHLEN], want[3][KDF_HASHLEN];

    vectors_seq(0, ck, sizeof(ck));
    vectors_seq(64, ikm, sizeof(ikm));
    vectors_kat("hkdf1", want[0], KDF_HASHLEN);
    vectors_kat("hkdf2", want[1], KDF_HASHLEN);
    vectors_kat("hkdf3", want[2], KDF_HASHLEN);
    kdf_hkdf(ck, ikm, sizeof(ikm), out[0], out[1], out[2]);
    cr_expect_arr_eq(out, want, sizeof(want));
    /* Two outputs, the first over the chaining key. */
    memset(out, 0, sizeof(out));
    kdf_hkdf(ck, ikm, sizeof(ikm), ck, out[1], NULL);
    cr_expect_arr_eq(ck, want[0], KDF_HASHLEN);
    cr_expect_arr_eq(out[1], want[1], KDF_HASHLEN);
}

Test(kdf, hash_is_what_others_compute)
{
    uint8_t key[KDF_KEY], got[32], want[32];

    vectors_kat("hash", want, 32);
    kdf_hash(got, 32, NULL, "linnet test v1", "abc", (size_t)3, "", (size_t)0, "def",
             (size_t)3, NULL);
    cr_expect_arr_eq(got, want, 32);
    vectors_kat("hash16", want, 16);
    vectors_seq(1, key, sizeof(key));
    kdf_hash(got, 16, key, "linnet test v1", NULL);
    cr_expect_arr_eq(got, want, 16);
}

Test(kdf, hash_separates_labels_and_keys)
{
    uint8_t key[KDF_KEY] = {0}, a[32], b[32], c[32];

    kdf_hash(a, 32, NULL, "x", "y", (size_t)1, NULL);
    kdf_hash(b, 32, NULL, "xy", NULL);
    kdf_hash(c, 32, key, "x", "y", (size_t)1, NULL);
    cr_expect_arr_neq(a, b, 32);
    cr_expect_arr_neq(a, c, 32);
}
