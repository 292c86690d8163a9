#include "dht/item.h"

#include <string.h>

#include <sodium.h>

#include "base/bencode.h"
#include "base/err.h"
#include "dht/sha1.h"

enum { SCALAR_LEN = 32 };

void item_of(const struct krpc_msg *m, struct item *out)
{
    *out = (struct item){
        .v = m->v,
        .k = m->k,
        .sig = m->sig,
        .salt = m->salt,
        .seq = m->k != NULL && (m->has & KRPC_SEQ) == 0 ? -1 : m->seq,
    };
}

bool item_is_half(const struct krpc_msg *m)
{
    const uint32_t whole = KRPC_K | KRPC_SIG | KRPC_SEQ;
    uint32_t any = m->salt.n > 0 ? whole | KRPC_SALT : whole;
    if ((m->has & whole) == whole) {
        return (m->bad & (KRPC_SALT | KRPC_CAS)) != 0;
    }
    return (m->bad & (whole | KRPC_SALT)) != 0 || (m->has & any) != 0;
}

static bool is_mutable(const struct item *it)
{
    return it->k != NULL;
}

void item_target(const struct item *it, struct dht_id *out)
{
    struct sha1 s;
    sha1_init(&s);
    if (is_mutable(it)) {
        sha1_update(&s, it->k, ITEM_KEY_LEN);
        sha1_update(&s, it->salt.p, it->salt.n);
    } else {
        sha1_update(&s, it->v.p, it->v.n);
    }
    sha1_final(&s, out->b);
}

size_t item_signed(const struct item *it, uint8_t out[ITEM_SIGNED_MAX])
{
    struct wr w = wr_init(out, ITEM_SIGNED_MAX);
    if (it->salt.n > ITEM_SALT_MAX || it->v.n > ITEM_VALUE_MAX) {
        return 0;
    }
    if (it->salt.n > 0) {
        wr_ben_key(&w, "salt");
        wr_ben_str(&w, it->salt.p, it->salt.n);
    }
    wr_ben_key(&w, "seq");
    wr_ben_int(&w, it->seq);
    wr_ben_key(&w, "v");
    wr_bytes(&w, it->v.p, it->v.n);
    return wr_ok(&w) ? w.len : 0;
}

bool item_value_ok(const struct krpc_view *v)
{
    struct ben value;
    return v->p != NULL && v->n <= ITEM_VALUE_MAX && bencode_check(v->p, v->n, &value);
}

/* libsodium refuses keys and R of small order, keys that aren't canonical and S ≥ L. */
static bool verify(const struct item *it)
{
    uint8_t text[ITEM_SIGNED_MAX];
    size_t n = item_signed(it, text);
    return n > 0 && crypto_sign_verify_detached(it->sig, text, n, it->k) == 0;
}

int item_check(const struct item *it)
{
    if (it->v.p == NULL) {
        return KRPC_E_PROTOCOL;
    }
    if (it->v.n > ITEM_VALUE_MAX) {
        return KRPC_E_TOO_BIG;
    }
    if (it->salt.n > ITEM_SALT_MAX) {
        return KRPC_E_SALT;
    }
    if (!item_value_ok(&it->v)) {
        return KRPC_E_PROTOCOL;
    }
    if (!is_mutable(it)) {
        return it->sig == NULL ? 0 : KRPC_E_PROTOCOL;
    }
    if (it->sig == NULL || it->seq < 0) {
        return KRPC_E_PROTOCOL;
    }
    return verify(it) ? 0 : KRPC_E_SIGNATURE;
}

bool item_is(const struct item *it, const struct dht_id *target)
{
    struct dht_id own;
    item_target(it, &own);
    return dht_id_eq(&own, target) && item_check(it) == 0;
}

int item_replaces(const struct item *put, const struct item *stored, const int64_t *cas)
{
    if (!is_mutable(stored)) {
        return 0;
    }
    if (cas != NULL && *cas != stored->seq) {
        return KRPC_E_CAS;
    }
    if (!is_mutable(put) || put->seq < stored->seq) {
        return KRPC_E_SEQ;
    }
    bool same = put->v.n == stored->v.n && memcmp(put->v.p, stored->v.p, put->v.n) == 0;
    return put->seq == stored->seq && !same ? KRPC_E_SEQ : 0;
}

void item_key_from_seed(const uint8_t seed[ITEM_SEED_LEN], struct item_key *out)
{
    uint8_t h[crypto_hash_sha512_BYTES];
    (void)crypto_hash_sha512(h, seed, ITEM_SEED_LEN);
    h[0] &= 248;
    h[31] = (uint8_t)((h[31] & 127) | 64);
    (void)item_key_from_expanded(h, out); /* a clamped scalar is not 0 */
    sodium_memzero(h, sizeof h);
}

/* a mod L, for the group operations. */
static void reduce(const uint8_t a[SCALAR_LEN], uint8_t out[SCALAR_LEN])
{
    uint8_t wide[2 * SCALAR_LEN] = {0};
    memcpy(wide, a, SCALAR_LEN);
    crypto_core_ed25519_scalar_reduce(out, wide);
    sodium_memzero(wide, sizeof wide);
}

int item_key_from_expanded(const uint8_t expanded[ITEM_EXPANDED_LEN],
                           struct item_key *out)
{
    struct item_key key;
    reduce(expanded, key.scalar);
    memcpy(key.prefix, expanded + SCALAR_LEN, sizeof key.prefix);
    int bad = crypto_scalarmult_ed25519_base_noclamp(key.public_key, key.scalar);
    if (bad == 0) {
        *out = key;
    }
    sodium_memzero(&key, sizeof key);
    return bad == 0 ? 0 : ERR_ARG;
}

/* SHA-512(a ‖ b ‖ text) mod L; b may be NULL. */
static void challenge(const uint8_t a[32], const uint8_t *b, const uint8_t *text,
                      size_t n, uint8_t out[SCALAR_LEN])
{
    crypto_hash_sha512_state st;
    uint8_t h[crypto_hash_sha512_BYTES];
    (void)crypto_hash_sha512_init(&st);
    (void)crypto_hash_sha512_update(&st, a, 32);
    if (b != NULL) {
        (void)crypto_hash_sha512_update(&st, b, 32);
    }
    (void)crypto_hash_sha512_update(&st, text, n);
    (void)crypto_hash_sha512_final(&st, h);
    crypto_core_ed25519_scalar_reduce(out, h);
    sodium_memzero(h, sizeof h);
    sodium_memzero(&st, sizeof st);
}

/* RFC 8032, section 5.1.6, from step 2. */
int item_sign(const struct item *it, const struct item_key *key,
              uint8_t sig[ITEM_SIG_LEN])
{
    uint8_t text[ITEM_SIGNED_MAX], r[SCALAR_LEN], h[SCALAR_LEN], a[SCALAR_LEN];
    uint8_t out[ITEM_SIG_LEN];
    size_t n = it->seq < 0 ? 0 : item_signed(it, text);
    if (n == 0) {
        return ERR_ARG;
    }
    challenge(key->prefix, NULL, text, n, r);
    int bad = crypto_scalarmult_ed25519_base_noclamp(out, r);
    if (bad == 0) {
        challenge(out, key->public_key, text, n, h);
        crypto_core_ed25519_scalar_mul(a, h, key->scalar);
        crypto_core_ed25519_scalar_add(out + SCALAR_LEN, r, a);
        memcpy(sig, out, sizeof out);
    }
    sodium_memzero(r, sizeof r);
    sodium_memzero(a, sizeof a);
    return bad == 0 ? 0 : ERR_ARG;
}
