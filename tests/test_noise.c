#include <criterion/criterion.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "crypto/noise.h"
#include "noise_runner.h"
#include "vectors.h"

static void start(void)
{
    cr_assert(sodium_init() >= 0);
}

TestSuite(noise, .init = start);

/* ---- Vectors ---- */

static void run_file(const char *name, size_t passed, size_t skipped)
{
    const char *tests = getenv("LINNET_TESTS");
    struct noise_runner r = {0};
    char path[4096];

    (void)snprintf(path, sizeof(path), "%s/vectors/%s", tests != NULL ? tests : "tests",
                   name);
    cr_assert_eq(noise_runner_file(&r, path, stderr, stderr), 0);
    cr_expect_eq(r.passed, passed);
    cr_expect_eq(r.failed, 0);
    cr_expect_eq(r.skipped, skipped);
    cr_expect(r.damaged > 100 * passed || passed == 0);
}

Test(noise, cacophony)
{
    run_file("noise_cacophony_25519_chachapoly_blake2b.json", 59, 0);
}

Test(noise, noise_c)
{
    run_file("noise_noisec_25519_chachapoly_blake2b.json", 15, 0);
}

Test(noise, every_psk_place)
{
    run_file("noise_extra_25519_chachapoly_blake2b.json", 29, 0);
}

Test(noise, other_suites_are_skipped)
{
    run_file("noise_cacophony_other_suites.json", 0, 35);
}

/* The AEAD's vectors, through noise_encrypt where the nonce has Noise's form (ten have
 * it) and through the function below it otherwise. */
static void check_aead(const json_t *t, const uint8_t iv[12])
{
    uint8_t key[32], ad[1024], msg[1024], ct[1024 + 16], out[1024 + 16];
    struct noise_cipher c = {.has_key = true};
    bool valid = strcmp(json_string_value(json_object_get(t, "result")), "valid") == 0;
    int id = (int)json_integer_value(json_object_get(t, "tcId"));
    size_t ad_len = vectors_hex(t, "aad", ad, sizeof(ad));
    size_t len = vectors_hex(t, "msg", msg, sizeof(msg));
    size_t ct_len = vectors_hex(t, "ct", ct, sizeof(ct) - NOISE_TAG);

    cr_assert_eq(vectors_hex(t, "key", key, sizeof(key)), 32);
    ct_len += vectors_hex(t, "tag", ct + ct_len, NOISE_TAG);
    int rc = crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, ct, ct_len, ad,
                                                       ad_len, iv, key);

    cr_expect_eq(rc == 0, valid, "tcId %d", id);
    if (sodium_is_zero(iv, 4)) {
        memcpy(c.k, key, sizeof(key));
        for (int i = 0; i < 8; i++) {
            c.n |= (uint64_t)iv[4 + i] << (8 * i);
        }
        struct noise_cipher d = c;

        if (c.n == UINT64_MAX) {
            cr_expect_eq(noise_decrypt(&d, ad, ad_len, ct, ct_len, out), ERR_LIMIT);
            return;
        }
        cr_expect_eq(noise_decrypt(&d, ad, ad_len, ct, ct_len, out),
                     valid ? 0 : ERR_AUTH);
        cr_expect_eq(d.n, valid ? c.n + 1 : c.n);
        cr_expect(!valid || memcmp(out, msg, len) == 0);
        cr_expect_eq(noise_encrypt(&c, ad, ad_len, msg, len, out), 0);
        cr_expect_eq(memcmp(out, ct, ct_len) == 0, valid, "tcId %d", id);
    }
}

Test(noise, wycheproof_chacha20_poly1305)
{
    json_t *root = vectors_load("wycheproof_chacha20_poly1305.json");
    json_t *group, *t;
    size_t i, j, n = 0;

    json_array_foreach(json_object_get(root, "testGroups"), i, group)
    {
        json_array_foreach(json_object_get(group, "tests"), j, t)
        {
            uint8_t iv[32] = {0};

            if (vectors_hex(t, "iv", iv, sizeof(iv)) == 12) {
                check_aead(t, iv);
            } else {
                /* Not expressible: the interface has nonces of one size. */
                cr_expect_str_eq(json_string_value(json_object_get(t, "result")),
                                 "invalid");
            }
            n++;
        }
    }
    cr_expect_eq(n, 325);
    json_decref(root);
}

/* X25519's vectors through `es` of pattern N: the initiator's ephemeral is the private
 * key, the responder's static the public one. */
Test(noise, wycheproof_x25519)
{
    json_t *root = vectors_load("wycheproof_x25519.json");
    json_t *group, *t;
    size_t i, j, n = 0, zero = 0, odd = 0;

    json_array_foreach(json_object_get(root, "testGroups"), i, group)
    {
        json_array_foreach(json_object_get(group, "tests"), j, t)
        {
            uint8_t pub[32], sec[32], shared[32], msg[64];
            struct noise_handshake hs;
            size_t len = 99;

            cr_assert_eq(vectors_hex(t, "public", pub, 32), 32);
            cr_assert_eq(vectors_hex(t, "private", sec, 32), 32);
            cr_assert_eq(vectors_hex(t, "shared", shared, 32), 32);
            struct noise_setup setup = {.pattern = noise_pattern_find("N"),
                                        .initiator = true,
                                        .rs = pub,
                                        .e = sec};

            n++;
            if (!noise_key_canonical(pub)) {
                cr_expect_eq(noise_init(&hs, &setup), ERR_AUTH);
                odd++;
                continue;
            }
            cr_assert_eq(noise_init(&hs, &setup), 0);
            int err = noise_write(&hs, NULL, 0, msg, sizeof(msg), &len);

            zero += err != 0;
            cr_expect_eq(err, sodium_is_zero(shared, 32) ? ERR_AUTH : 0);
            cr_expect_eq(len, err == 0 ? 48 : 99);
        }
    }
    cr_expect_eq(n, 518);
    cr_expect(zero > 0 && odd > zero / 2, "%zu %zu", zero, odd);
    json_decref(root);
}

/* ---- Patterns ---- */

Test(noise, pattern_names)
{
    static const char *const good[] = {"N",
                                       "K",
                                       "X",
                                       "XX",
                                       "X1X1psk4",
                                       "Npsk0",
                                       "Npsk1",
                                       "XXpsk3",
                                       "NNpsk0+psk2",
                                       "XXpsk0+psk3",
                                       "I1K1psk2",
                                       "X1X1psk0+psk1+psk2+psk3",
                                       "XXpsk0+psk1+psk2+psk3"};
    static const char *const bad[] = {"",
                                      "Y",
                                      "XXX",
                                      "NN1",
                                      "N1N",
                                      "xx",
                                      "Npsk2",
                                      "NNpsk3",
                                      "XXpsk4",
                                      "XXpsk",
                                      "XXpsk00",
                                      "XXpsk-1",
                                      "XXpsk0psk3",
                                      "XXpsk0+",
                                      "XX+psk0",
                                      "XXpsk3+psk0",
                                      "XXpsk0+psk0",
                                      "XXfallback",
                                      "XXpsk0+3",
                                      "NNhfs",
                                      "XX psk0",
                                      "XXpsk9",
                                      "X1X1psk0+psk1+psk2+psk3+psk4"};

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        cr_expect(noise_pattern_find(good[i]) != NULL, "%s", good[i]);
        cr_expect(noise_pattern_find(good[i]) == noise_pattern_find(good[i]));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_expect(noise_pattern_find(bad[i]) == NULL, "%s", bad[i]);
    }
}

Test(noise, what_patterns_want)
{
    const struct noise_pattern *p = noise_pattern_find("KKpsk0");

    cr_expect_eq(noise_pattern_messages(p), 2);
    cr_expect_eq(noise_pattern_psks(p), 1);
    cr_expect(!noise_pattern_oneway(p));
    cr_expect(noise_pattern_needs_local_static(p, true));
    cr_expect(noise_pattern_needs_local_static(p, false));
    cr_expect(noise_pattern_needs_remote_static(p, true));
    cr_expect(noise_pattern_needs_remote_static(p, false));
    p = noise_pattern_find("NK");
    cr_expect(!noise_pattern_needs_local_static(p, true));
    cr_expect(noise_pattern_needs_local_static(p, false));
    cr_expect(noise_pattern_needs_remote_static(p, true));
    cr_expect(!noise_pattern_needs_remote_static(p, false));
    cr_expect(noise_pattern_oneway(noise_pattern_find("X")));
    cr_expect_eq(noise_pattern_psks(noise_pattern_find("XXpsk0+psk3")), 2);
}

/* Longest name: it must fit the 64 bytes that are not hashed; both sides agree. */
Test(noise, several_psks)
{
    static const char *const names[] = {"XXpsk0+psk3", "X1X1psk0+psk1+psk2+psk3",
                                        "NNpsk0+psk1+psk2", "IKpsk1+psk2"};
    uint8_t psks[NOISE_PSKS_MAX][32], s[2][32], e[2][32], pub[2][32], msg[256];

    randombytes_buf(psks, sizeof(psks));
    randombytes_buf(s, sizeof(s));
    randombytes_buf(e, sizeof(e));
    for (int i = 0; i < 2; i++) {
        (void)crypto_scalarmult_base(pub[i], s[i]);
    }
    for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
        /* Round 0: the same psks; then the initiator has one that differs. */
        const struct noise_pattern *p = noise_pattern_find(names[k]);

        for (unsigned round = 0; round <= noise_pattern_psks(p); round++) {
            struct noise_handshake hs[2];
            int err = 0;

            for (int i = 0; i < 2; i++) {
                struct noise_setup setup = {.pattern = p,
                                            .initiator = i == 0,
                                            .s = s[i],
                                            .rs = pub[1 - i],
                                            .e = e[i],
                                            .n_psks = noise_pattern_psks(p)};
                for (unsigned j = 0; j < setup.n_psks; j++) {
                    setup.psks[j] = psks[j];
                }
                if (i == 0 && round > 0) {
                    setup.psks[round - 1] = s[0];
                }
                cr_assert_eq(noise_init(&hs[i], &setup), 0);
            }
            for (unsigned m = 0; m < noise_pattern_messages(p) && err == 0; m++) {
                size_t len, n, overhead = noise_overhead(&hs[m % 2]);

                cr_assert(noise_my_turn(&hs[m % 2]) && !noise_my_turn(&hs[1 - m % 2]));
                cr_assert_eq(noise_overhead(&hs[1 - m % 2]), overhead);
                cr_assert_eq(noise_write(&hs[m % 2], NULL, 0, msg, sizeof(msg), &len), 0);
                cr_assert_eq(len, overhead);
                err = noise_read(&hs[1 - m % 2], msg, len, NULL, 0, &n);
            }
            cr_expect_eq(err, round == 0 ? 0 : ERR_AUTH, "%s %u", names[k], round);
            cr_expect(round > 0 || memcmp(hs[0].h, hs[1].h, NOISE_HASH) == 0);
        }
    }
}

/* ---- Refusals ---- */

Test(noise, setup_is_checked)
{
    uint8_t key[32] = {9}, odd[32];
    struct noise_handshake hs;
    struct noise_setup good = {.pattern = noise_pattern_find("KKpsk0"),
                               .s = key,
                               .rs = key,
                               .psks = {key},
                               .n_psks = 1};
    struct noise_setup bad[7];

    for (int i = 0; i < 7; i++) {
        bad[i] = good;
    }
    memset(odd, 0xff, sizeof(odd));
    bad[0].pattern = NULL;
    bad[1].s = NULL;
    bad[2].rs = NULL;
    bad[3].n_psks = 0;
    bad[4].psks[0] = NULL;
    bad[5].re = key;
    bad[6].rs = odd;
    cr_assert_eq(noise_init(&hs, &good), 0);
    for (int i = 0; i < 7; i++) {
        cr_expect_eq(noise_init(&hs, &bad[i]), i == 6 ? ERR_AUTH : ERR_ARG, "%d", i);
        cr_expect_eq(hs.state, NOISE_FAILED);
        cr_expect(sodium_is_zero(hs.s, 32) && sodium_is_zero(hs.psks[0], 32));
    }
}

Test(noise, canonical_keys)
{
    uint8_t k[32];

    memset(k, 0xff, sizeof(k));
    k[31] = 0x7f;
    k[0] = 0xec; /* p - 1 */
    cr_expect(noise_key_canonical(k));
    for (unsigned v = 0xed; v <= 0xff; v++) {
        k[0] = (uint8_t)v; /* p … 2^255 - 1 */
        cr_expect(!noise_key_canonical(k));
    }
    for (size_t i = 1; i < 31; i++) {
        k[i] = 0xfe;
        cr_expect(noise_key_canonical(k));
        k[i] = 0xff;
    }
    memset(k, 0, sizeof(k));
    cr_expect(noise_key_canonical(k));
    k[31] = 0x80;
    cr_expect(!noise_key_canonical(k));
}

static void start_pair(const char *name, struct noise_handshake hs[2])
{
    static const uint8_t s[2][32] = {{1}, {2}}, e[2][32] = {{3}, {4}};

    for (int i = 0; i < 2; i++) {
        struct noise_setup setup = {.pattern = noise_pattern_find(name),
                                    .initiator = i == 0,
                                    .s = s[i],
                                    .e = e[i]};
        cr_assert_eq(noise_init(&hs[i], &setup), 0);
    }
}

/* An `s` token with another encoding of a key is refused, though everything else of the
 * message authenticates. In X1X the static stands in clear of DHs of its own. */
Test(noise, received_statics_are_canonical)
{
    struct noise_handshake hs[2];
    uint8_t msg[256];
    size_t len, n;

    start_pair("XX", hs);
    cr_assert_eq(noise_write(&hs[0], NULL, 0, msg, sizeof(msg), &len), 0);
    cr_assert_eq(noise_read(&hs[1], msg, len, NULL, 0, &n), 0);
    memset(hs[1].s_pub, 0, 32);
    hs[1].s_pub[0] = 9;
    hs[1].s_pub[31] = 0x80; /* the base point with bit 255 set */
    cr_assert_eq(noise_write(&hs[1], NULL, 0, msg, sizeof(msg), &len), 0);
    cr_expect_eq(noise_read(&hs[0], msg, len, NULL, 0, &n), ERR_AUTH);
    cr_expect_null(noise_remote_static(&hs[0]));
    cr_expect_eq(hs[0].state, NOISE_FAILED);
}

Test(noise, ephemerals_of_small_order)
{
    static const uint8_t zero[32];
    struct noise_handshake hs[2];
    uint8_t msg[256];
    size_t len, n;

    start_pair("NN", hs);
    cr_assert_eq(noise_read(&hs[1], zero, 32, NULL, 0, &n), 0);
    cr_expect_eq(noise_write(&hs[1], NULL, 0, msg, sizeof(msg), &len), ERR_AUTH);
    cr_expect_eq(hs[1].state, NOISE_FAILED);
    cr_expect(sodium_is_zero(hs[1].e, 32));
}

Test(noise, turns_and_limits)
{
    static const uint8_t big[NOISE_MSG_MAX];
    uint8_t *msg = malloc(NOISE_MSG_MAX + 1);
    struct noise_handshake hs[2];
    struct noise_cipher tx, rx;
    size_t len, n;

    start_pair("NN", hs);
    cr_expect_eq(noise_split(&hs[0], &tx, &rx), ERR_STATE);
    cr_expect_eq(noise_write(&hs[1], NULL, 0, msg, 100, &len), ERR_STATE);
    cr_expect_eq(hs[1].state, NOISE_FAILED);
    start_pair("NN", hs);
    cr_expect_eq(noise_read(&hs[0], big, 32, msg, 100, &len), ERR_STATE);
    start_pair("NN", hs);
    cr_expect_eq(
        noise_write(&hs[0], big, NOISE_MSG_MAX - 31, msg, NOISE_MSG_MAX + 1, &len),
        ERR_LIMIT);
    start_pair("NN", hs);
    cr_expect_eq(noise_write(&hs[0], big, 10, msg, 41, &len), ERR_LIMIT);
    start_pair("NN", hs);
    cr_expect_eq(noise_write(&hs[0], NULL, 0, msg, 31, &len), ERR_LIMIT);
    start_pair("NN", hs);
    cr_assert_eq(noise_write(&hs[0], big, NOISE_MSG_MAX - 32, msg, NOISE_MSG_MAX, &len),
                 0);
    cr_expect_eq(len, NOISE_MSG_MAX);
    cr_expect_eq(noise_read(&hs[1], msg, len, msg, 5, &n), ERR_LIMIT);
    start_pair("NN", hs);
    msg[NOISE_MSG_MAX] = 0;
    cr_expect_eq(noise_read(&hs[1], msg, NOISE_MSG_MAX + 1, msg, SIZE_MAX, &n),
                 ERR_FORMAT);
    cr_expect_eq(noise_read(&hs[1], msg, 32, msg, SIZE_MAX, &n), ERR_STATE);
    free(msg);
}

Test(noise, no_ephemeral_no_message)
{
    struct noise_setup setup = {.pattern = noise_pattern_find("NN"), .initiator = true};
    struct noise_handshake hs;
    uint8_t msg[64], e[32] = {7}, pub[32];
    size_t len;

    cr_assert_eq(noise_init(&hs, &setup), 0);
    cr_expect_eq(noise_write(&hs, NULL, 0, msg, sizeof(msg), &len), ERR_STATE);
    noise_set_ephemeral(&hs, e);
    cr_expect_eq(noise_write(&hs, NULL, 0, msg, sizeof(msg), &len), ERR_STATE,
                 "terminal");
    cr_assert_eq(noise_init(&hs, &setup), 0);
    noise_set_ephemeral(&hs, e);
    cr_expect_eq(noise_write(&hs, NULL, 0, msg, sizeof(msg), &len), 0);
    (void)crypto_scalarmult_base(pub, e);
    cr_expect_arr_eq(msg, pub, 32);
}

Test(noise, split_wipes_and_happens_once)
{
    struct noise_handshake hs[2];
    struct noise_cipher tx[2], rx[2];
    uint8_t msg[256], h[NOISE_HASH];
    size_t len, n;

    start_pair("XX", hs);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(noise_write(&hs[i % 2], NULL, 0, msg, sizeof(msg), &len), 0);
        cr_assert_eq(noise_read(&hs[1 - i % 2], msg, len, NULL, 0, &n), 0);
    }
    memcpy(h, hs[0].h, sizeof(h));
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(noise_split(&hs[i], &tx[i], &rx[i]), 0);
        cr_expect_eq(noise_split(&hs[i], &tx[i], &rx[i]), ERR_STATE);
        cr_expect(sodium_is_zero(hs[i].ck, NOISE_HASH) && sodium_is_zero(hs[i].s, 32) &&
                  sodium_is_zero(hs[i].e, 32) && sodium_is_zero(hs[i].cipher.k, 32));
        cr_expect_arr_eq(noise_hash(&hs[i]), h, NOISE_HASH);
        cr_expect_not_null(noise_remote_static(&hs[i]));
        cr_expect_eq(noise_write(&hs[i], NULL, 0, msg, sizeof(msg), &len), ERR_STATE);
        cr_expect_eq(noise_read(&hs[i], msg, 10, msg, 0, &len), ERR_STATE);
        cr_expect_eq(hs[i].state, NOISE_DONE);
    }
    cr_expect_arr_eq(tx[0].k, rx[1].k, 32);
    cr_expect_arr_eq(tx[1].k, rx[0].k, 32);
    cr_expect_arr_neq(tx[0].k, tx[1].k, 32);
    noise_release(&hs[0]);
    noise_release(&hs[0]);
    noise_release(NULL);
    cr_expect_null(noise_remote_static(&hs[0]));
}

Test(noise, cipher_without_key_and_at_its_end)
{
    struct noise_cipher c = {0};
    uint8_t out[40] = {0};

    cr_assert_eq(noise_encrypt(&c, NULL, 0, (const uint8_t *)"abc", 3, out), 0);
    cr_expect_arr_eq(out, "abc", 3);
    cr_expect_eq(c.n, 0);
    noise_rekey(&c);
    cr_expect(!c.has_key);
    c.has_key = true;
    c.n = UINT64_MAX;
    cr_expect_eq(noise_encrypt(&c, NULL, 0, out, 3, out), ERR_LIMIT);
    cr_expect_eq(noise_decrypt(&c, NULL, 0, out, 20, out), ERR_LIMIT);
    cr_expect_eq(noise_decrypt(&c, NULL, 0, out, 15, out), ERR_FORMAT);
}
