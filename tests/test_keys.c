#include <criterion/criterion.h>
#include <sodium.h>
#include <string.h>

#include "base/bencode.h"
#include "base/err.h"
#include "crypto/keys.h"
#include "crypto/noise.h"
#include "vectors.h"

static void start(void)
{
    cr_assert(sodium_init() >= 0);
}

TestSuite(keys, .init = start);

#define EXPECT_KAT(name, got, n)                                                         \
    do {                                                                                 \
        uint8_t want_[(n)];                                                              \
        vectors_kat(name, want_, (n));                                                   \
        cr_expect_arr_eq((got), want_, (n), "%s", (name));                               \
    } while (0)

/* The account whose seed is 0, 1, … 31. */
static void account(uint8_t root[32], uint8_t sk[64])
{
    uint8_t seed[32];

    vectors_seq(0, seed, sizeof(seed));
    keys_root(seed, root, sk);
}

static void public_of(uint8_t first, uint8_t pub[32])
{
    uint8_t sec[32];

    vectors_seq(first, sec, sizeof(sec));
    keys_public(sec, pub);
}

Test(keys, account_and_device)
{
    uint8_t seed[32], root[32], sk[64], self[32], pub[32], id[32], entry[32], mac[16];

    vectors_seq(0, seed, sizeof(seed));
    account(root, sk);
    EXPECT_KAT("root", root, 32);
    keys_self(seed, self);
    EXPECT_KAT("self", self, 32);
    public_of(1, pub);
    EXPECT_KAT("public", pub, 32);
    keys_device_id(root, pub, id);
    EXPECT_KAT("device", id, 32);
    vectors_seq(9, entry, sizeof(entry));
    keys_self_mac(self, entry, mac);
    EXPECT_KAT("self mac", mac, 16);
}

Test(keys, pair_and_link)
{
    uint8_t h[64], sec[32], peer[32], n_a[32], n_b[32], pair[32], back[32], own[32];
    struct link_keys k;

    vectors_seq(0, h, sizeof(h));
    vectors_seq(1, sec, sizeof(sec));
    public_of(2, peer);
    vectors_seq(4, n_a, 32);
    vectors_seq(5, n_b, 32);
    cr_assert_eq(keys_pair_root(h, sec, peer, n_a, n_b, pair), 0);
    EXPECT_KAT("pair", pair, 32);
    public_of(1, own);
    vectors_seq(2, sec, sizeof(sec));
    cr_assert_eq(keys_pair_root(h, sec, own, n_a, n_b, back), 0);
    cr_expect_arr_eq(pair, back, 32, "both sides compute one secret");
    keys_link_pair(pair, own, peer, &k);
    EXPECT_KAT("pair psk", k.psk, 32);
    EXPECT_KAT("pair tag", k.k_tag, 32);
    EXPECT_KAT("pair mask0", k.k_mask[0], 32);
    EXPECT_KAT("pair mask1", k.k_mask[1], 32);
}

Test(keys, invite)
{
    uint8_t secret[32], root[32], sk[64];
    struct link_keys k;

    vectors_seq(7, secret, sizeof(secret));
    account(root, sk);
    keys_link_invite(secret, root, &k);
    EXPECT_KAT("invite psk", k.psk, 32);
    EXPECT_KAT("invite tag", k.k_tag, 32);
    EXPECT_KAT("invite mask0", k.k_mask[0], 32);
    EXPECT_KAT("invite mask1", k.k_mask[1], 32);
}

Test(keys, network_and_stranger)
{
    uint8_t key[KEYS_NETWORK], nonce[KEYS_OPEN_NONCE], hash[KEYS_CERT_HASH];
    struct link_keys k;

    vectors_seq(9, key, sizeof(key));
    keys_link_network(key, &k);
    EXPECT_KAT("network psk", k.psk, 32);
    EXPECT_KAT("network tag", k.k_tag, 32);
    EXPECT_KAT("network mask0", k.k_mask[0], 32);
    EXPECT_KAT("network mask1", k.k_mask[1], 32);
    vectors_seq(10, nonce, sizeof(nonce));
    vectors_seq(11, hash, sizeof(hash));
    keys_link_stranger(nonce, hash, &k);
    cr_expect(sodium_is_zero(k.psk, 32));
    EXPECT_KAT("stranger tag", k.k_tag, 32);
    EXPECT_KAT("stranger mask0", k.k_mask[0], 32);
    EXPECT_KAT("stranger mask1", k.k_mask[1], 32);
}

Test(keys, tag_and_mask)
{
    uint8_t key[32], tag[16], nonce[24] = {0}, p[150] = {0}, stream[150 - 64 + 16];

    vectors_seq(8, key, sizeof(key));
    keys_tag(key, (const uint8_t *)"message 1", 9, tag);
    EXPECT_KAT("tag", tag, 16);
    /* The AEAD of the same cipher uses the stream from its second block on. */
    keys_mask(key, tag, p, sizeof(p));
    memcpy(nonce, tag, sizeof(tag));
    memset(stream, 0, sizeof(stream));
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt(stream, NULL, stream, 150 - 64, NULL,
                                                     0, NULL, nonce, key);
    cr_expect_arr_eq(p + 64, stream, 150 - 64);
    cr_expect(!sodium_is_zero(p, 64));
    keys_mask(key, tag, p, sizeof(p));
    cr_expect(sodium_is_zero(p, sizeof(p)), "twice is nothing");
}

Test(keys, safety_number)
{
    uint8_t root[32], other[32], sk[64];
    char a[KEYS_SAFETY_STR], b[KEYS_SAFETY_STR];
    json_t *kat = vectors_load("linnet_kat.json");

    account(root, sk);
    vectors_seq(0, other, sizeof(other));
    keys_safety_number(root, other, a);
    keys_safety_number(other, root, b);
    cr_expect_str_eq(a, json_string_value(json_object_get(kat, "safety")));
    cr_expect_str_eq(a, b);
    cr_expect_eq(strlen(a), KEYS_SAFETY_STR - 1);
    json_decref(kat);
}

/* ---- Certificates ---- */

static size_t make_cert(struct cert *c, uint8_t out[KEYS_CERT_MAX], uint8_t sk[64])
{
    uint8_t root[32];
    size_t len;

    account(root, sk);
    *c = (struct cert){.not_before = 1700000000, .caps = 5};
    public_of(1, c->stat);
    public_of(3, c->box);
    cr_assert_eq(cert_sign(c, sk, out, &len), 0);
    cr_expect_arr_eq(c->root, root, 32);
    return len;
}

Test(keys, cert_round_trip)
{
    uint8_t out[KEYS_CERT_MAX], want[KEYS_CERT_MAX], sk[64];
    json_t *kat = vectors_load("linnet_kat.json");
    struct cert c, got;
    size_t len = make_cert(&c, out, sk);

    cr_expect_eq(vectors_hex(kat, "cert", want, sizeof(want)), len);
    cr_expect_arr_eq(out, want, len);
    cr_assert_eq(cert_open(out, len, &got), 0);
    cr_expect_arr_eq(got.root, c.root, 32);
    cr_expect_arr_eq(got.device, c.device, 32);
    cr_expect_arr_eq(got.stat, c.stat, 32);
    cr_expect_arr_eq(got.box, c.box, 32);
    cr_expect_eq(got.not_before, 1700000000);
    cr_expect_eq(got.caps, 5);
    c.caps = c.not_before = INT64_MAX;
    cr_assert_eq(cert_sign(&c, sk, out, &len), 0);
    cr_assert_eq(cert_open(out, len, &got), 0);
    cr_expect(got.caps == INT64_MAX && got.not_before == INT64_MAX);
    json_decref(kat);
}

Test(keys, cert_damage)
{
    uint8_t out[KEYS_CERT_MAX + 1], sk[64];
    struct cert c, got = {.caps = 77};
    size_t len = make_cert(&c, out, sk);

    for (size_t i = 0; i < len; i++) {
        cr_expect_neq(cert_open(out, i, &got), 0, "cut at %zu", i);
        for (unsigned bit = 0; bit < 8; bit++) {
            out[i] ^= (uint8_t)(1U << bit);
            cr_expect_neq(cert_open(out, len, &got), 0, "byte %zu bit %u", i, bit);
            out[i] ^= (uint8_t)(1U << bit);
        }
    }
    out[len] = 0;
    cr_expect_eq(cert_open(out, len + 1, &got), ERR_FORMAT);
    cr_expect_eq(cert_open(out, sizeof(out), &got), ERR_FORMAT);
    cr_expect_eq(got.caps, 77, "untouched");
}

/* Signs any body as the account does. */
static size_t sign_body(const uint8_t *body, size_t len, const uint8_t sk[64],
                        uint8_t *out)
{
    static const char label[] = "linnet device cert v1";
    uint8_t msg[512];

    memcpy(msg, label, sizeof(label));
    memcpy(msg + sizeof(label), body, len);
    memcpy(out, body, len);
    (void)crypto_sign_detached(out + len, NULL, msg, sizeof(label) + len, sk);
    return len + 64;
}

struct body {
    const char *zeroth; /* a key before all others, or NULL */
    uint64_t version;
    const char *drop; /* a key to leave out */
    uint8_t stat31, box31;
};

static size_t write_body(const struct body *b, const uint8_t root[32], uint8_t *out)
{
    struct wr w = wr_init(out, 256);
    uint8_t stat[32], box[32];

    public_of(1, stat);
    public_of(3, box);
    stat[31] |= b->stat31;
    box[31] |= b->box31;
    wr_ben_dict(&w);
    if (b->zeroth != NULL) {
        wr_ben_key(&w, b->zeroth);
        wr_ben_uint(&w, 1);
    }
    for (const char *k = "bcnrsv"; *k != '\0'; k++) {
        const char key[2] = {*k, '\0'};

        if (b->drop != NULL && *b->drop == *k) {
            continue;
        }
        wr_ben_key(&w, key);
        switch (*k) {
        case 'b':
            wr_ben_str(&w, box, 32);
            break;
        case 'r':
            wr_ben_str(&w, root, 32);
            break;
        case 's':
            wr_ben_str(&w, stat, 32);
            break;
        default:
            wr_ben_uint(&w, *k == 'v' ? b->version : 0);
        }
    }
    wr_ben_end(&w);
    cr_assert(wr_ok(&w));
    return w.len;
}

Test(keys, cert_with_a_good_signature_is_still_checked)
{
    static const struct {
        struct body body;
        int err;
    } cases[] = {
        {{.version = 1}, 0},
        {{.version = 1, .zeroth = "a"}, 0}, /* unknown keys are ignored */
        {{.version = 0}, ERR_FORMAT},
        {{.version = 2}, ERR_NEWER},
        {{.version = 2, .drop = "s"}, ERR_NEWER},
        {{.version = 1, .drop = "b"}, ERR_FORMAT},
        {{.version = 1, .drop = "c"}, ERR_FORMAT},
        {{.version = 1, .drop = "n"}, ERR_FORMAT},
        {{.version = 1, .drop = "r"}, ERR_FORMAT},
        {{.version = 1, .drop = "s"}, ERR_FORMAT},
        {{.version = 1, .drop = "v"}, ERR_FORMAT},
        {{.version = 1, .stat31 = 0x80}, ERR_AUTH},
        {{.version = 1, .box31 = 0x80}, ERR_AUTH},
    };
    uint8_t root[32], sk[64], body[256], out[KEYS_CERT_MAX];
    struct cert got;

    account(root, sk);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t len = write_body(&cases[i].body, root, body);

        len = sign_body(body, len, sk, out);
        cr_expect_eq(cert_open(out, len, &got), cases[i].err, "%zu", i);
    }
    /* Another root's name over the signature. */
    root[0] ^= 1;
    size_t len = write_body(&cases[0].body, root, body);

    len = sign_body(body, len, sk, out);
    cr_expect_eq(cert_open(out, len, &got), ERR_AUTH);
}

Test(keys, cert_sign_refuses)
{
    uint8_t out[KEYS_CERT_MAX], sk[64];
    struct cert c;
    size_t len = make_cert(&c, out, sk);
    struct cert bad = c;

    bad.stat[31] |= 0x80;
    cr_expect_eq(cert_sign(&bad, sk, out, &len), ERR_AUTH);
    bad = c;
    memset(bad.box, 0xff, 32);
    cr_expect_eq(cert_sign(&bad, sk, out, &len), ERR_AUTH);
    bad = c;
    bad.caps = (uint64_t)INT64_MAX + 1;
    cr_expect_eq(cert_sign(&bad, sk, out, &len), ERR_LIMIT);
}

/* ---- Foreign vectors ---- */

Test(keys, wycheproof_x25519)
{
    json_t *root = vectors_load("wycheproof_x25519.json");
    json_t *group, *t;
    size_t i, j, n = 0;

    json_array_foreach(json_object_get(root, "testGroups"), i, group)
    {
        json_array_foreach(json_object_get(group, "tests"), j, t)
        {
            uint8_t pub[32], sec[32], shared[32], out[32] = {0x5a};
            int id = (int)json_integer_value(json_object_get(t, "tcId"));

            cr_assert_eq(vectors_hex(t, "public", pub, 32), 32);
            cr_assert_eq(vectors_hex(t, "private", sec, 32), 32);
            cr_assert_eq(vectors_hex(t, "shared", shared, 32), 32);
            if (!noise_key_canonical(pub) || sodium_is_zero(shared, 32)) {
                cr_expect_eq(keys_dh(sec, pub, out), ERR_AUTH, "tcId %d", id);
                cr_expect_eq(out[0], 0x5a, "tcId %d", id);
            } else {
                cr_expect_eq(keys_dh(sec, pub, out), 0, "tcId %d", id);
                cr_expect_arr_eq(out, shared, 32, "tcId %d", id);
            }
            n++;
        }
    }
    cr_expect_eq(n, 518);
    json_decref(root);
}

/* The primitive under cert_open(). */
Test(keys, wycheproof_ed25519)
{
    json_t *root = vectors_load("wycheproof_ed25519.json");
    json_t *group, *t;
    size_t i, j, n = 0;

    json_array_foreach(json_object_get(root, "testGroups"), i, group)
    {
        uint8_t pk[32], msg[1024], sig[256];

        cr_assert_eq(vectors_hex(json_object_get(group, "publicKey"), "pk", pk, 32), 32);
        json_array_foreach(json_object_get(group, "tests"), j, t)
        {
            size_t len = vectors_hex(t, "msg", msg, sizeof(msg));
            bool valid =
                strcmp(json_string_value(json_object_get(t, "result")), "valid") == 0;
            bool ok = vectors_hex(t, "sig", sig, sizeof(sig)) == 64 &&
                      crypto_sign_verify_detached(sig, msg, len, pk) == 0;

            cr_expect_eq(ok, valid, "tcId %d",
                         (int)json_integer_value(json_object_get(t, "tcId")));
            n++;
        }
    }
    cr_expect_eq(n, 151);
    json_decref(root);
}

Test(keys, speccheck)
{
    json_t *root = vectors_load("ed25519_speccheck.json");
    json_t *t;
    size_t i;

    json_array_foreach(json_object_get(root, "cases"), i, t)
    {
        uint8_t pk[32], msg[64], sig[64];
        size_t len = vectors_hex(t, "message", msg, sizeof(msg));
        bool want = json_is_true(json_object_get(t, "libsodium_verify"));

        cr_assert_eq(vectors_hex(t, "pub_key", pk, 32), 32);
        cr_assert_eq(vectors_hex(t, "signature", sig, 64), 64);
        cr_expect_eq(crypto_sign_verify_detached(sig, msg, len, pk) == 0, want,
                     "case %zu", i);
    }
    cr_expect_eq(json_array_size(json_object_get(root, "cases")), 12);
    json_decref(root);
}
