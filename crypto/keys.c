/* Exact constructions. ‖ is concatenation; H(n; key; label; a, b, …) is kdf_hash():
 * BLAKE2b of n bytes of output, keyed when a key is named, over label ‖ 0x00 ‖ a ‖ b ‖ …
 * HKDF is that of Noise (kdf_hkdf), with BLAKE2b and 64 bytes an output.
 *
 * From the account's seed, with libsodium's crypto_kdf (BLAKE2b-256 keyed with the seed,
 * personal = context padded to 16 bytes, salt = subkey number little-endian), context
 * "linnetv1":
 *
 *   subkey 1, 32 bytes     seed of the Ed25519 root
 *   subkey 2, 32 bytes     key of `self` MACs
 *
 *   device id  = H(32; -; "linnet device v1"; root, static)
 *   self MAC   = H(16; self key; "linnet self v1"; entry id)
 *
 * Certificate: body ‖ signature. Body: a bencoded dictionary with the keys
 *
 *   "b" first box key, 32 bytes     "c" capabilities, integer
 *   "n" not-before, integer         "r" root, 32 bytes
 *   "s" device static, 32 bytes     "v" version, 1
 *
 * Signature: Ed25519 (64 bytes) of the root over "linnet device cert v1" ‖ 0x00 ‖ body.
 *
 * Pair secret, after pairing in a link with handshake hash h:
 *
 *   t     = first 32 bytes of the first output of HKDF(h, X25519 ‖ nA ‖ nB)
 *   pair  = H(32; t; "linnet pair root v1")
 *
 * Link keys of two contacts (D: dialler's static, L: listener's, key = pair):
 *
 *   psk      = H(32; pair; "linnet pair psk v1"; D, L)
 *   k_tag    = H(32; pair; "linnet pair tag v1"; D, L)
 *   k_mask_d = H(32; pair; "linnet pair mask v1"; D, L, byte d)     d = 0, 1: direction
 *
 * Link keys of an invite (R: the inviter's root, key = the invite's secret):
 *
 *   psk      = H(32; secret; "linnet invite psk v1"; R)
 *   k_tag    = H(32; secret; "linnet invite tag v1"; R)
 *   k_mask_d = H(32; secret; "linnet invite mask v1"; R, byte d)
 *
 * Link keys of a secret network (key = the network's):
 *
 *   psk      = H(32; key; "linnet network psk v1")
 *   k_tag    = H(32; key; "linnet network tag v1")
 *   k_mask_d = H(32; key; "linnet network mask v1"; byte d)
 *
 * Link keys of strangers (N: nonce of the open beacon, C: the certificate's hash in it):
 *
 *   k_tag    = H(32; -; "linnet stranger tag v1"; N, C)
 *   k_mask_d = H(32; -; "linnet stranger mask v1"; N, C, byte d)
 *
 *   tag      = BLAKE2b-128(key = k_tag, byte 0 ‖ message 1)         no label
 *   mask     = XChaCha20(k_mask_d, nonce = tag ‖ 0⁸), XORed
 *
 * Safety number: for each root H(32; -; "linnet safety number v1"; root); its first 30
 * bytes as six big-endian numbers of 5 bytes, each mod 100000 and written with 5 digits.
 * The smaller half comes first. */
#include "crypto/keys.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "base/bencode.h"
#include "base/err.h"
#include "crypto/kdf.h"
#include "crypto/noise.h"

#define KDF_CONTEXT "linnetv1" /* crypto_kdf_CONTEXTBYTES, without the ending zero */

#define LABEL_DEVICE "linnet device v1"
#define LABEL_SELF "linnet self v1"
#define LABEL_CERT "linnet device cert v1"
#define LABEL_CERT_HASH "linnet device cert hash v1"
#define LABEL_PAIR_ROOT "linnet pair root v1"
#define LABEL_PAIR_PSK "linnet pair psk v1"
#define LABEL_PAIR_TAG "linnet pair tag v1"
#define LABEL_PAIR_MASK "linnet pair mask v1"
#define LABEL_INVITE_PSK "linnet invite psk v1"
#define LABEL_INVITE_TAG "linnet invite tag v1"
#define LABEL_INVITE_MASK "linnet invite mask v1"
#define LABEL_NETWORK_PSK "linnet network psk v1"
#define LABEL_NETWORK_TAG "linnet network tag v1"
#define LABEL_NETWORK_MASK "linnet network mask v1"
#define LABEL_STRANGER_TAG "linnet stranger tag v1"
#define LABEL_STRANGER_MASK "linnet stranger mask v1"
#define LABEL_SAFETY "linnet safety number v1"

enum {
    SUBKEY_ROOT = 1,
    SUBKEY_SELF = 2,
    SAFETY_GROUPS = 6,                   /* of an identity */
    SAFETY_HALF = SAFETY_GROUPS * 6 - 1, /* digits and the spaces between */
};

void keys_root(const uint8_t seed[KEYS_SEED], uint8_t pk[KEYS_ROOT], uint8_t sk[64])
{
    uint8_t sub[crypto_sign_SEEDBYTES];

    (void)crypto_kdf_derive_from_key(sub, sizeof(sub), SUBKEY_ROOT, KDF_CONTEXT, seed);
    (void)crypto_sign_seed_keypair(pk, sk, sub);
    sodium_memzero(sub, sizeof(sub));
}

void keys_self(const uint8_t seed[KEYS_SEED], uint8_t out[KEYS_SELF])
{
    (void)crypto_kdf_derive_from_key(out, KEYS_SELF, SUBKEY_SELF, KDF_CONTEXT, seed);
}

void keys_public(const uint8_t sec[KEYS_SEC], uint8_t pub[KEYS_PUB])
{
    (void)crypto_scalarmult_base(pub, sec);
}

void keys_device_id(const uint8_t root[KEYS_ROOT], const uint8_t stat[KEYS_PUB],
                    uint8_t id[KEYS_DEVICE_ID])
{
    kdf_hash(id, KEYS_DEVICE_ID, NULL, LABEL_DEVICE, root, (size_t)KEYS_ROOT, stat,
             (size_t)KEYS_PUB, NULL);
}

int keys_dh(const uint8_t sec[KEYS_SEC], const uint8_t pub[KEYS_PUB], uint8_t out[32])
{
    uint8_t dh[32];
    int err = 0;

    if (!noise_key_canonical(pub) || crypto_scalarmult(dh, sec, pub) != 0) {
        err = ERR_AUTH;
    } else {
        memcpy(out, dh, sizeof(dh));
    }
    sodium_memzero(dh, sizeof(dh));
    return err;
}

/* What the root signs: the label with its ending zero, then the body. Returns the
 * length. */
static size_t cert_signed(const uint8_t *body, size_t len,
                          uint8_t out[sizeof(LABEL_CERT) + KEYS_CERT_MAX])
{
    memcpy(out, LABEL_CERT, sizeof(LABEL_CERT));
    memcpy(out + sizeof(LABEL_CERT), body, len);
    return sizeof(LABEL_CERT) + len;
}

int cert_sign(struct cert *cert, const uint8_t sk[64], uint8_t *out, size_t *out_len)
{
    uint8_t msg[sizeof(LABEL_CERT) + KEYS_CERT_MAX];
    struct wr w = wr_init(out, KEYS_CERT_MAX - KEYS_CERT_SIG);

    if (!noise_key_canonical(cert->stat) || !noise_key_canonical(cert->box)) {
        return ERR_AUTH;
    }
    if (cert->not_before > INT64_MAX || cert->caps > INT64_MAX) {
        return ERR_LIMIT;
    }
    (void)crypto_sign_ed25519_sk_to_pk(cert->root, sk);
    keys_device_id(cert->root, cert->stat, cert->device);
    wr_ben_dict(&w);
    wr_ben_key(&w, "b");
    wr_ben_str(&w, cert->box, sizeof(cert->box));
    wr_ben_key(&w, "c");
    wr_ben_uint(&w, cert->caps);
    wr_ben_key(&w, "n");
    wr_ben_uint(&w, cert->not_before);
    wr_ben_key(&w, "r");
    wr_ben_str(&w, cert->root, sizeof(cert->root));
    wr_ben_key(&w, "s");
    wr_ben_str(&w, cert->stat, sizeof(cert->stat));
    wr_ben_key(&w, "v");
    wr_ben_uint(&w, KEYS_CERT_VERSION);
    wr_ben_end(&w);
    assert(wr_ok(&w)); /* 170 bytes at most */
    (void)crypto_sign_detached(out + w.len, NULL, msg, cert_signed(out, w.len, msg), sk);
    *out_len = w.len + KEYS_CERT_SIG;
    return 0;
}

int cert_open(const uint8_t *p, size_t len, struct cert *out)
{
    uint8_t msg[sizeof(LABEL_CERT) + KEYS_CERT_MAX];
    struct cert c = {0};
    struct ben body;
    uint64_t version;
    size_t body_len;

    if (len < KEYS_CERT_SIG || len > KEYS_CERT_MAX) {
        return ERR_FORMAT;
    }
    body_len = len - KEYS_CERT_SIG;
    if (!bencode_check(p, body_len, &body) || !ben_uint(ben_get(body, "v"), &version) ||
        version == 0) {
        return ERR_FORMAT;
    }
    if (version > KEYS_CERT_VERSION) {
        return ERR_NEWER;
    }
    if (!ben_fixed(ben_get(body, "b"), c.box, sizeof(c.box)) ||
        !ben_uint(ben_get(body, "c"), &c.caps) ||
        !ben_uint(ben_get(body, "n"), &c.not_before) ||
        !ben_fixed(ben_get(body, "r"), c.root, sizeof(c.root)) ||
        !ben_fixed(ben_get(body, "s"), c.stat, sizeof(c.stat))) {
        return ERR_FORMAT;
    }
    if (!noise_key_canonical(c.stat) || !noise_key_canonical(c.box)) {
        return ERR_AUTH;
    }
    if (crypto_sign_verify_detached(p + body_len, msg, cert_signed(p, body_len, msg),
                                    c.root) != 0) {
        return ERR_AUTH;
    }
    keys_device_id(c.root, c.stat, c.device);
    *out = c;
    return 0;
}

void cert_hash(const uint8_t *p, size_t len, uint8_t hash[KEYS_CERT_HASH])
{
    size_t body_len = len > KEYS_CERT_SIG ? len - KEYS_CERT_SIG : 0;

    kdf_hash(hash, KEYS_CERT_HASH, NULL, LABEL_CERT_HASH, p, body_len, NULL);
}

int keys_pair_root(const uint8_t h[64], const uint8_t dh_sec[KEYS_SEC],
                   const uint8_t dh_pub[KEYS_PUB], const uint8_t n_a[32],
                   const uint8_t n_b[32], uint8_t out[KEYS_PAIR_SECRET])
{
    uint8_t ikm[3 * 32];
    uint8_t t[KDF_HASHLEN], unused[KDF_HASHLEN];
    int err = keys_dh(dh_sec, dh_pub, ikm);

    if (err != 0) {
        return err;
    }
    memcpy(ikm + 32, n_a, 32);
    memcpy(ikm + 64, n_b, 32);
    kdf_hkdf(h, ikm, sizeof(ikm), t, unused, NULL);
    kdf_hash(out, KEYS_PAIR_SECRET, t, LABEL_PAIR_ROOT, NULL);
    sodium_memzero(ikm, sizeof(ikm));
    sodium_memzero(t, sizeof(t));
    sodium_memzero(unused, sizeof(unused));
    return 0;
}

void keys_link_pair(const uint8_t pair[KEYS_PAIR_SECRET], const uint8_t dialler[KEYS_PUB],
                    const uint8_t listener[KEYS_PUB], struct link_keys *out)
{
    const size_t n = KEYS_PUB;

    kdf_hash(out->psk, 32, pair, LABEL_PAIR_PSK, dialler, n, listener, n, NULL);
    kdf_hash(out->k_tag, 32, pair, LABEL_PAIR_TAG, dialler, n, listener, n, NULL);
    for (uint8_t d = 0; d < 2; d++) {
        kdf_hash(out->k_mask[d], 32, pair, LABEL_PAIR_MASK, dialler, n, listener, n, &d,
                 sizeof(d), NULL);
    }
}

void keys_link_invite(const uint8_t secret[32], const uint8_t root[KEYS_ROOT],
                      struct link_keys *out)
{
    const size_t n = KEYS_ROOT;

    kdf_hash(out->psk, 32, secret, LABEL_INVITE_PSK, root, n, NULL);
    kdf_hash(out->k_tag, 32, secret, LABEL_INVITE_TAG, root, n, NULL);
    for (uint8_t d = 0; d < 2; d++) {
        kdf_hash(out->k_mask[d], 32, secret, LABEL_INVITE_MASK, root, n, &d, sizeof(d),
                 NULL);
    }
}

void keys_link_network(const uint8_t key[KEYS_NETWORK], struct link_keys *out)
{
    kdf_hash(out->psk, 32, key, LABEL_NETWORK_PSK, NULL);
    kdf_hash(out->k_tag, 32, key, LABEL_NETWORK_TAG, NULL);
    for (uint8_t d = 0; d < 2; d++) {
        kdf_hash(out->k_mask[d], 32, key, LABEL_NETWORK_MASK, &d, sizeof(d), NULL);
    }
}

void keys_link_stranger(const uint8_t nonce[KEYS_OPEN_NONCE],
                        const uint8_t cert_hash[KEYS_CERT_HASH], struct link_keys *out)
{
    const size_t n = KEYS_OPEN_NONCE, c = KEYS_CERT_HASH;

    memset(out->psk, 0, sizeof(out->psk));
    kdf_hash(out->k_tag, 32, NULL, LABEL_STRANGER_TAG, nonce, n, cert_hash, c, NULL);
    for (uint8_t d = 0; d < 2; d++) {
        kdf_hash(out->k_mask[d], 32, NULL, LABEL_STRANGER_MASK, nonce, n, cert_hash, c,
                 &d, sizeof(d), NULL);
    }
}

static void tag_of(const uint8_t k_tag[32], uint8_t direction, const uint8_t *msg,
                   size_t len, uint8_t tag[KEYS_TAG])
{
    crypto_generichash_state st;

    (void)crypto_generichash_init(&st, k_tag, 32, KEYS_TAG);
    (void)crypto_generichash_update(&st, &direction, sizeof(direction));
    (void)crypto_generichash_update(&st, msg, len);
    (void)crypto_generichash_final(&st, tag, KEYS_TAG);
    sodium_memzero(&st, sizeof(st));
}

void keys_tag(const uint8_t k_tag[32], const uint8_t *msg1, size_t len,
              uint8_t tag[KEYS_TAG])
{
    tag_of(k_tag, 0, msg1, len, tag);
}

void keys_tag_call(const uint8_t k_tag[32], const uint8_t *p, size_t len,
                   uint8_t tag[KEYS_TAG])
{
    tag_of(k_tag, 1, p, len, tag);
}

void keys_mask(const uint8_t k_mask[32], const uint8_t tag[KEYS_TAG], uint8_t *p,
               size_t len)
{
    uint8_t nonce[crypto_stream_xchacha20_NONCEBYTES] = {0};

    memcpy(nonce, tag, KEYS_TAG);
    (void)crypto_stream_xchacha20_xor(p, p, len, nonce, k_mask);
}

void keys_self_mac(const uint8_t self[KEYS_SELF], const uint8_t id[32],
                   uint8_t mac[KEYS_SELF_MAC])
{
    kdf_hash(mac, KEYS_SELF_MAC, self, LABEL_SELF, id, (size_t)32, NULL);
}

/* The 30 digits of one root in groups of five. */
static void safety_half(const uint8_t root[KEYS_ROOT], char out[SAFETY_HALF])
{
    uint8_t hash[32];

    kdf_hash(hash, sizeof(hash), NULL, LABEL_SAFETY, root, (size_t)KEYS_ROOT, NULL);
    memset(out, ' ', SAFETY_HALF);
    for (size_t g = 0; g < SAFETY_GROUPS; g++) {
        uint64_t v = 0;

        for (size_t i = 0; i < 5; i++) {
            v = v << 8 | hash[g * 5 + i];
        }
        for (size_t i = 5; i-- > 0; v /= 10) {
            out[g * 6 + i] = (char)('0' + v % 10);
        }
    }
}

void keys_safety_number(const uint8_t root_a[KEYS_ROOT], const uint8_t root_b[KEYS_ROOT],
                        char out[KEYS_SAFETY_STR])
{
    char a[SAFETY_HALF], b[SAFETY_HALF];
    bool swap;

    safety_half(root_a, a);
    safety_half(root_b, b);
    swap = memcmp(a, b, SAFETY_HALF) > 0;
    memcpy(out, swap ? b : a, SAFETY_HALF);
    out[SAFETY_HALF] = ' ';
    memcpy(out + SAFETY_HALF + 1, swap ? a : b, SAFETY_HALF);
    out[KEYS_SAFETY_STR - 1] = '\0';
}
