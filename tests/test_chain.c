#include <criterion/criterion.h>
#include <sodium.h>
#include <string.h>

#include "base/err.h"
#include "crypto/chain.h"
#include "crypto/keys.h"
#include "vectors.h"

static void start(void)
{
    cr_assert(sodium_init() >= 0);
}

TestSuite(chain, .init = start);

static const uint8_t ad[] = {'a', 'd'};

Test(chain, box_is_what_others_compute)
{
    uint8_t next = 0, box[4 + CHAIN_BOX_OVERHEAD], want[sizeof(box)], after[32];
    struct env env = vectors_env(&next);
    struct chain c;

    chain_start(&c, &env);
    next = 100;
    cr_assert_eq(chain_seal(&c, &env, ad, 2, (const uint8_t *)"body", 4, box), 0);
    vectors_kat("box", want, sizeof(want));
    cr_expect_arr_eq(box, want, sizeof(want));
    vectors_kat("chain1", after, sizeof(after));
    cr_expect_arr_eq(c.secret, after, sizeof(after));
    cr_expect_eq(c.n, 1);
}

Test(chain, many_entries)
{
    struct chain a, b;
    uint8_t body[300], got[300], box[300 + CHAIN_BOX_OVERHEAD];

    chain_start(&a, env_system());
    b = a;
    for (uint32_t i = 0; i < 500; i++) {
        size_t len = i % sizeof(body);

        randombytes_buf(body, len);
        cr_assert_eq(chain_seal(&a, env_system(), ad, 2, body, len, box), 0);
        cr_assert_eq(chain_open(&b, ad, 2, box, len + CHAIN_BOX_OVERHEAD, got), 0);
        cr_assert_arr_eq(got, body, len);
        cr_assert_arr_eq(a.secret, b.secret, 32);
        cr_assert_eq(b.n, i + 1);
    }
    cr_expect_eq(chain_open(&b, ad, 2, box, 30 + CHAIN_BOX_OVERHEAD, got), ERR_AUTH,
                 "an entry opens once");
    a.n = UINT32_MAX;
    cr_expect_eq(chain_seal(&a, env_system(), ad, 2, body, 1, box), ERR_LIMIT);
    cr_expect_eq(chain_open(&a, ad, 2, box, sizeof(box), got), ERR_LIMIT);
    chain_release(&a);
    cr_expect(sodium_is_zero(a.secret, 32));
    chain_release(NULL);
}

Test(chain, damage_changes_nothing)
{
    struct chain a, b, before;
    uint8_t got[20], box[20 + CHAIN_BOX_OVERHEAD];

    chain_start(&a, env_system());
    before = b = a;
    cr_assert_eq(chain_seal(&a, env_system(), ad, 2,
                            (const uint8_t *)"twenty bytes of text", 20, box),
                 0);
    for (size_t i = 0; i < sizeof(box); i++) {
        box[i] ^= (uint8_t)(1U << (i % 8));
        cr_expect_eq(chain_open(&b, ad, 2, box, sizeof(box), got), ERR_AUTH);
        box[i] ^= (uint8_t)(1U << (i % 8));
        cr_expect_eq(chain_open(&b, ad, 2, box, i, got),
                     i < CHAIN_BOX_OVERHEAD ? ERR_FORMAT : ERR_AUTH);
    }
    cr_expect_eq(chain_open(&b, ad, 1, box, sizeof(box), got), ERR_AUTH);
    cr_expect_arr_eq(b.secret, before.secret, 32);
    cr_expect_eq(b.n, 0);
    cr_expect_eq(chain_open(&b, ad, 2, box, sizeof(box), got), 0);
}

/* The parties of linnet_kat.py. */
struct parties {
    uint8_t eph[32], author[32], box[32], device[32], pair[32], secret[32];
    uint8_t eph_pub[32], author_pub[32], box_pub[32];
};

static struct parties parties(void)
{
    struct parties p;

    vectors_seq(11, p.eph, 32);
    vectors_seq(12, p.author, 32);
    vectors_seq(13, p.box, 32);
    vectors_seq(14, p.device, 32);
    vectors_seq(15, p.pair, 32);
    vectors_seq(16, p.secret, 32);
    keys_public(p.eph, p.eph_pub);
    keys_public(p.author, p.author_pub);
    keys_public(p.box, p.box_pub);
    return p;
}

static int open_it(const struct parties *p, const uint8_t *sealed, const uint8_t *pair,
                   uint8_t out[32])
{
    return chain_open_secret(sealed, p->eph_pub, p->author_pub, p->box, p->device, pair,
                             ad, 2, out);
}

Test(chain, sealed_secret)
{
    struct parties p = parties();
    uint8_t sealed[2][CHAIN_SEAL], want[CHAIN_SEAL], got[32];

    for (int i = 0; i < 2; i++) {
        const uint8_t *pair = i == 0 ? NULL : p.pair;

        cr_assert_eq(chain_seal_secret(p.secret, p.eph, p.author, p.box_pub, p.device,
                                       pair, ad, 2, sealed[i]),
                     0);
        vectors_kat(i == 0 ? "seal" : "seal pair", want, sizeof(want));
        cr_expect_arr_eq(sealed[i], want, sizeof(want));
        memset(got, 0, sizeof(got));
        cr_assert_eq(open_it(&p, sealed[i], pair, got), 0);
        cr_expect_arr_eq(got, p.secret, 32);
    }
    memset(got, 0x5a, sizeof(got));
    cr_expect_eq(open_it(&p, sealed[0], p.pair, got), ERR_AUTH);
    cr_expect_eq(open_it(&p, sealed[1], NULL, got), ERR_AUTH);
    for (size_t i = 0; i < CHAIN_SEAL; i++) {
        sealed[1][i] ^= (uint8_t)(1U << (i % 8));
        cr_expect_eq(open_it(&p, sealed[1], p.pair, got), ERR_AUTH);
        sealed[1][i] ^= (uint8_t)(1U << (i % 8));
    }
    cr_expect_eq(got[0], 0x5a, "untouched");
}

/* Every name that the key is bound to, replaced in turn. */
Test(chain, sealed_secret_in_anothers_place)
{
    struct parties p = parties();
    uint8_t sealed[CHAIN_SEAL], got[32];

    cr_assert_eq(chain_seal_secret(p.secret, p.eph, p.author, p.box_pub, p.device, p.pair,
                                   ad, 2, sealed),
                 0);
    for (int i = 0; i < 5; i++) {
        struct parties q = p;
        uint8_t *parts[] = {q.eph_pub, q.author_pub, q.box, q.pair};

        if (i < 4) {
            parts[i][5] ^= 1;
        } else {
            q.device[31] ^= 1; /* beyond the 8 bytes that are shown */
        }
        cr_expect_eq(open_it(&q, sealed, q.pair, got), ERR_AUTH, "%d", i);
    }
    cr_expect_eq(chain_open_secret(sealed, p.eph_pub, p.author_pub, p.box, p.device,
                                   p.pair, ad, 1, got),
                 ERR_AUTH);
}

Test(chain, bad_public_keys)
{
    struct parties p = parties();
    uint8_t sealed[CHAIN_SEAL] = {0x5a}, zero[32] = {0}, odd[32], got[32];

    memcpy(odd, p.box_pub, 32);
    odd[31] |= 0x80;
    cr_expect_eq(
        chain_seal_secret(p.secret, p.eph, p.author, zero, p.device, NULL, ad, 2, sealed),
        ERR_AUTH);
    cr_expect_eq(
        chain_seal_secret(p.secret, p.eph, p.author, odd, p.device, NULL, ad, 2, sealed),
        ERR_AUTH);
    cr_expect_eq(sealed[0], 0x5a);
    cr_assert_eq(chain_seal_secret(p.secret, p.eph, p.author, p.box_pub, p.device, NULL,
                                   ad, 2, sealed),
                 0);
    cr_expect_eq(
        chain_open_secret(sealed, zero, p.author_pub, p.box, p.device, NULL, ad, 2, got),
        ERR_AUTH);
    cr_expect_eq(
        chain_open_secret(sealed, p.eph_pub, zero, p.box, p.device, NULL, ad, 2, got),
        ERR_AUTH);
}

/* The AEAD of boxes, key files and sealed secrets. */
Test(chain, wycheproof_xchacha20_poly1305)
{
    json_t *root = vectors_load("wycheproof_xchacha20_poly1305.json");
    json_t *group, *t;
    size_t i, j, n = 0;

    json_array_foreach(json_object_get(root, "testGroups"), i, group)
    {
        json_array_foreach(json_object_get(group, "tests"), j, t)
        {
            uint8_t key[32], iv[32], aad[1024], msg[1024], ct[1040], out[1040];
            bool valid =
                strcmp(json_string_value(json_object_get(t, "result")), "valid") == 0;

            n++;
            if (vectors_hex(t, "iv", iv, sizeof(iv)) != 24) {
                cr_expect(!valid); /* not expressible: nonces have one size */
                continue;
            }
            size_t aad_len = vectors_hex(t, "aad", aad, sizeof(aad));
            size_t len = vectors_hex(t, "msg", msg, sizeof(msg));
            size_t ct_len = vectors_hex(t, "ct", ct, 1024);

            cr_assert_eq(vectors_hex(t, "key", key, 32), 32);
            ct_len += vectors_hex(t, "tag", ct + ct_len, 16);
            int rc = crypto_aead_xchacha20poly1305_ietf_decrypt(
                out, NULL, NULL, ct, ct_len, aad, aad_len, iv, key);

            cr_expect_eq(rc == 0, valid);
            cr_expect(!valid || memcmp(out, msg, len) == 0);
        }
    }
    cr_expect_eq(n, 315);
    json_decref(root);
}
