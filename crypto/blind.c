/* H is kdf_hash(); e is an epoch as 8 bytes, big-endian; L is the order of Ed25519's
 * group, B its base point.
 *
 *   offset = LE64(first 8 bytes of H(16; p; "linnet blind offset v1")) mod 43200
 *   epoch  = (seconds since 1970 + offset) div 43200
 *   h      = H(64; p; "linnet blind factor v1"; A, e) mod L, not 0
 *   A'     = hA; a' = ha mod L, where a is the clamped scalar of A's seed (RFC 8032)
 *   prefix = H(32; seed; "linnet blind prefix v1"; A')
 *   sign:    r = H(64; prefix; "linnet blind nonce v1"; message, 32 random bytes) mod L,
 *            R = rB, S = r + SHA-512(R ‖ A' ‖ message) a' mod L
 *   value  = nonce 24 ‖ XChaCha20-Poly1305(length 2 ‖ content ‖ zeros up to 680;
 *            associated data A' ‖ seq 8)
 *
 * Places of two have an ordinary Ed25519 key, whose seed is H of the secret: h is 1. */
#include "crypto/blind.h"

#include <assert.h>
#include <string.h>

#include <sodium.h>

#include "base/buf.h"
#include "base/err.h"
#include "crypto/kdf.h"

enum { EPOCH = 8, SEQ = 8, OFFSET_HASH = 16, SCALAR = 32, WIDE = 64 };
static_assert(BLIND_VALUE ==
                  BLIND_NONCE + BLIND_PLAIN + crypto_aead_xchacha20poly1305_ietf_ABYTES,
              "the parts of a value");

void blind_key_wipe(struct blind_key *k)
{
    sodium_memzero(k, sizeof *k);
}

void blind_slot_wipe(struct blind_slot *s)
{
    sodium_memzero(s, sizeof *s);
}

static void epoch_bytes(uint64_t epoch, uint8_t out[EPOCH])
{
    struct wr w = wr_init(out, EPOCH);
    wr_u64(&w, epoch);
}

/* ---- epochs ---- */

uint64_t blind_offset(const uint8_t secret[BLIND_SECRET])
{
    uint8_t hash[OFFSET_HASH];
    uint64_t v = 0;
    kdf_hash(hash, sizeof hash, secret, "linnet blind offset v1", NULL);
    for (size_t i = 8; i-- > 0;) {
        v = v << 8 | hash[i];
    }
    sodium_memzero(hash, sizeof hash);
    return v % BLIND_EPOCH_S;
}

uint64_t blind_epoch(uint64_t offset, uint64_t wall_s)
{
    return (wall_s + offset) / BLIND_EPOCH_S;
}

uint64_t blind_epoch_age(uint64_t offset, uint64_t wall_s)
{
    return (wall_s + offset) % BLIND_EPOCH_S;
}

/* ---- keys ---- */

/* False when it is 0, for which there is no key. */
static bool factor(const uint8_t p[BLIND_SECRET], const uint8_t point[BLIND_PUB],
                   uint64_t epoch, uint8_t h[SCALAR])
{
    uint8_t wide[WIDE], e[EPOCH];
    epoch_bytes(epoch, e);
    kdf_hash(wide, sizeof wide, p, "linnet blind factor v1", point, (size_t)BLIND_PUB, e,
             sizeof e, NULL);
    crypto_core_ed25519_scalar_reduce(h, wide);
    sodium_memzero(wide, sizeof wide);
    return !sodium_is_zero(h, SCALAR);
}

/* A, and the clamped scalar a behind it. */
static void expand(const uint8_t seed[BLIND_SEED], uint8_t point[BLIND_PUB],
                   uint8_t a[SCALAR])
{
    uint8_t sk[crypto_sign_SECRETKEYBYTES];
    int err = crypto_sign_seed_keypair(point, sk, seed);
    err |= crypto_sign_ed25519_sk_to_curve25519(a, sk);
    assert(err == 0);
    sodium_memzero(sk, sizeof sk);
}

static void prefix(const uint8_t seed[BLIND_SEED], struct blind_key *k)
{
    kdf_hash(k->prefix, sizeof k->prefix, seed, "linnet blind prefix v1", k->pub,
             sizeof k->pub, NULL);
}

void blind_point(const uint8_t seed[BLIND_SEED], uint8_t point[BLIND_PUB])
{
    uint8_t a[SCALAR];
    expand(seed, point, a);
    sodium_memzero(a, sizeof a);
}

int blind_pub(const uint8_t p[BLIND_SECRET], const uint8_t point[BLIND_PUB],
              uint64_t epoch, uint8_t pub[BLIND_PUB])
{
    uint8_t h[SCALAR], out[BLIND_PUB];
    /* Multiplying would refuse such points too; A is judged before it is used. */
    int err = crypto_core_ed25519_is_valid_point(point) == 1 &&
                      factor(p, point, epoch, h) &&
                      crypto_scalarmult_ed25519_noclamp(out, h, point) == 0
                  ? 0
                  : ERR_AUTH;
    sodium_memzero(h, sizeof h);
    if (err == 0) {
        memcpy(pub, out, sizeof out);
    }
    return err;
}

int blind_key(const uint8_t p[BLIND_SECRET], const uint8_t seed[BLIND_SEED],
              uint64_t epoch, struct blind_key *out)
{
    struct blind_key k;
    uint8_t point[BLIND_PUB], a[SCALAR], h[SCALAR];
    int err = ERR_AUTH;
    expand(seed, point, a);
    if (factor(p, point, epoch, h)) {
        crypto_core_ed25519_scalar_mul(k.sec, h, a);
        if (crypto_scalarmult_ed25519_base_noclamp(k.pub, k.sec) == 0) {
            prefix(seed, &k);
            *out = k;
            err = 0;
        }
    }
    sodium_memzero(a, sizeof a);
    sodium_memzero(h, sizeof h);
    blind_key_wipe(&k);
    return err;
}

static void key_of_seed(uint8_t seed[BLIND_SEED], struct blind_key *out)
{
    expand(seed, out->pub, out->sec);
    prefix(seed, out);
    sodium_memzero(seed, BLIND_SEED);
}

void blind_where_seal(const uint8_t p[BLIND_SECRET], uint64_t epoch,
                      uint8_t seal[BLIND_SEAL_KEY])
{
    uint8_t e[EPOCH];
    epoch_bytes(epoch, e);
    kdf_hash(seal, BLIND_SEAL_KEY, p, "linnet whereabouts key v1", e, sizeof e, NULL);
}

void blind_relay_tag(const uint8_t p[BLIND_SECRET], const uint8_t device[32],
                     uint8_t tag[BLIND_RELAY_TAG])
{
    kdf_hash(tag, BLIND_RELAY_TAG, p, "linnet relay tag v1", device, (size_t)32, NULL);
}

void blind_pair_slot(const uint8_t pair[BLIND_SECRET], const uint8_t device[32],
                     uint64_t epoch, struct blind_slot *out)
{
    uint8_t e[EPOCH], seed[BLIND_SEED];
    epoch_bytes(epoch, e);
    kdf_hash(seed, sizeof seed, pair, "linnet pair slot v1", device, (size_t)32, e,
             sizeof e, NULL);
    key_of_seed(seed, &out->key);
    kdf_hash(out->seal, sizeof out->seal, pair, "linnet pair slot key v1", device,
             (size_t)32, e, sizeof e, NULL);
}

void blind_invite_slot(const uint8_t secret[BLIND_SECRET], uint64_t epoch,
                       struct blind_slot *out)
{
    uint8_t e[EPOCH], seed[BLIND_SEED];
    epoch_bytes(epoch, e);
    kdf_hash(seed, sizeof seed, secret, "linnet invite slot v1", e, sizeof e, NULL);
    key_of_seed(seed, &out->key);
    kdf_hash(out->seal, sizeof out->seal, secret, "linnet invite slot key v1", e,
             sizeof e, NULL);
}

void blind_invite_knock(const uint8_t secret[BLIND_SECRET], uint64_t epoch,
                        struct blind_slot *out)
{
    uint8_t e[EPOCH], seed[BLIND_SEED];
    epoch_bytes(epoch, e);
    kdf_hash(seed, sizeof seed, secret, "linnet invite knock v1", e, sizeof e, NULL);
    key_of_seed(seed, &out->key);
    kdf_hash(out->seal, sizeof out->seal, secret, "linnet invite knock key v1", e,
             sizeof e, NULL);
}

void blind_knock_slot(const uint8_t p[BLIND_SECRET], uint64_t epoch, unsigned slot,
                      struct blind_key *out)
{
    uint8_t e[EPOCH], n[1] = {(uint8_t)slot}, seed[BLIND_SEED];
    assert(slot < BLIND_KNOCK_SLOTS);
    epoch_bytes(epoch, e);
    kdf_hash(seed, sizeof seed, p, "linnet knock slot v1", e, sizeof e, n, sizeof n,
             NULL);
    key_of_seed(seed, out);
}

void blind_knock_seal(const uint8_t pair[BLIND_SECRET], const uint8_t from[32],
                      const uint8_t to[32], uint8_t seal[BLIND_SEAL_KEY])
{
    kdf_hash(seal, BLIND_SEAL_KEY, pair, "linnet knock key v1", from, (size_t)32, to,
             (size_t)32, NULL);
}

/* ---- signatures ---- */

static void challenge(uint8_t out[SCALAR], const uint8_t r[32],
                      const uint8_t pub[BLIND_PUB], const uint8_t *msg, size_t len)
{
    crypto_hash_sha512_state st;
    uint8_t wide[WIDE];
    (void)crypto_hash_sha512_init(&st);
    (void)crypto_hash_sha512_update(&st, r, 32);
    (void)crypto_hash_sha512_update(&st, pub, BLIND_PUB);
    (void)crypto_hash_sha512_update(&st, msg, len);
    (void)crypto_hash_sha512_final(&st, wide);
    crypto_core_ed25519_scalar_reduce(out, wide);
}

int blind_sign(const struct blind_key *k, const uint8_t *msg, size_t len,
               const uint8_t fresh[BLIND_RANDOM], uint8_t sig[BLIND_SIG])
{
    uint8_t wide[WIDE], r[SCALAR], c[SCALAR], out[BLIND_SIG];
    int err = ERR_AUTH;
    kdf_hash(wide, sizeof wide, k->prefix, "linnet blind nonce v1", msg, len, fresh,
             (size_t)BLIND_RANDOM, NULL);
    crypto_core_ed25519_scalar_reduce(r, wide);
    if (!sodium_is_zero(k->sec, sizeof k->sec) &&
        crypto_scalarmult_ed25519_base_noclamp(out, r) == 0) {
        challenge(c, out, k->pub, msg, len);
        crypto_core_ed25519_scalar_mul(c, c, k->sec);
        crypto_core_ed25519_scalar_add(out + 32, r, c);
        memcpy(sig, out, sizeof out);
        err = 0;
    }
    sodium_memzero(wide, sizeof wide);
    sodium_memzero(r, sizeof r);
    sodium_memzero(c, sizeof c);
    return err;
}

int blind_verify(const uint8_t pub[BLIND_PUB], const uint8_t *msg, size_t len,
                 const uint8_t sig[BLIND_SIG])
{
    return crypto_sign_verify_detached(sig, msg, len, pub) == 0 ? 0 : ERR_AUTH;
}

/* ---- values ---- */

static void associated(uint8_t out[BLIND_PUB + SEQ], const uint8_t pub[BLIND_PUB],
                       uint64_t seq)
{
    struct wr w = wr_init(out, BLIND_PUB + SEQ);
    wr_bytes(&w, pub, BLIND_PUB);
    wr_u64(&w, seq);
}

int blind_seal(const uint8_t seal[BLIND_SEAL_KEY], const uint8_t pub[BLIND_PUB],
               uint64_t seq, const uint8_t nonce[BLIND_NONCE], const uint8_t *content,
               size_t len, uint8_t out[BLIND_VALUE])
{
    uint8_t plain[BLIND_PLAIN], ad[BLIND_PUB + SEQ];
    if (len > BLIND_CONTENT_MAX) {
        return ERR_LIMIT;
    }
    struct wr w = wr_init(plain, sizeof plain);
    wr_u16(&w, (uint16_t)len);
    wr_bytes(&w, content, len);
    wr_zero(&w, BLIND_CONTENT_MAX - len);
    associated(ad, pub, seq);
    memcpy(out, nonce, BLIND_NONCE);
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt(
        out + BLIND_NONCE, NULL, plain, sizeof plain, ad, sizeof ad, NULL, nonce, seal);
    sodium_memzero(plain, sizeof plain);
    return 0;
}

int blind_open(const uint8_t seal[BLIND_SEAL_KEY], const uint8_t pub[BLIND_PUB],
               uint64_t seq, const uint8_t *value, size_t value_len,
               uint8_t out[BLIND_CONTENT_MAX], size_t *len)
{
    uint8_t plain[BLIND_PLAIN], ad[BLIND_PUB + SEQ];
    int err = ERR_FORMAT;
    if (value_len != BLIND_VALUE) {
        return ERR_FORMAT;
    }
    associated(ad, pub, seq);
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(plain, NULL, NULL, value + BLIND_NONCE,
                                                   BLIND_VALUE - BLIND_NONCE, ad,
                                                   sizeof ad, value, seal) != 0) {
        return ERR_AUTH;
    }
    struct rd r = rd_init(plain, sizeof plain);
    size_t n = rd_u16(&r);
    const uint8_t *content = rd_bytes(&r, n);
    if (rd_ok(&r) && sodium_is_zero(r.p, r.n)) {
        memcpy(out, content, n);
        *len = n;
        err = 0;
    }
    sodium_memzero(plain, sizeof plain);
    return err;
}
