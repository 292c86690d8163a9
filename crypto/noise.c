/* The three objects of the Noise specification in their order: CipherState,
 * SymmetricState and HandshakeState. Section numbers are those of revision 34. */
#include "crypto/noise.h"

#include <sodium.h>
#include <string.h>

#include "base/err.h"
#include "crypto/kdf.h"

enum {
    NONCE_LEN = 12,
    /* The keys that the tokens of one message can add: e, and s with its tag. */
    HEAD_MAX = NOISE_KEY + NOISE_KEY + NOISE_TAG,
};

/* ---- CipherState (5.1) ---- */

/* Four zero bytes and n little-endian (12.3). */
static void cipher_nonce(uint64_t n, uint8_t out[NONCE_LEN])
{
    memset(out, 0, 4);
    for (unsigned i = 0; i < 8; i++) {
        out[4 + i] = (uint8_t)(n >> (8 * i));
    }
}

int noise_encrypt(struct noise_cipher *c, const uint8_t *ad, size_t ad_len,
                  const uint8_t *in, size_t len, uint8_t *out)
{
    uint8_t nonce[NONCE_LEN];

    if (!c->has_key) {
        if (len > 0) {
            memmove(out, in, len);
        }
        return 0;
    }
    if (c->n == UINT64_MAX) {
        return ERR_LIMIT;
    }
    cipher_nonce(c->n++, nonce);
    (void)crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, in, len, ad, ad_len, NULL,
                                                    nonce, c->k);
    return 0;
}

int noise_decrypt(struct noise_cipher *c, const uint8_t *ad, size_t ad_len,
                  const uint8_t *in, size_t len, uint8_t *out)
{
    uint8_t nonce[NONCE_LEN];

    if (!c->has_key) {
        if (len > 0) {
            memmove(out, in, len);
        }
        return 0;
    }
    if (len < NOISE_TAG) {
        return ERR_FORMAT;
    }
    if (c->n == UINT64_MAX) {
        return ERR_LIMIT;
    }
    cipher_nonce(c->n, nonce);
    if (crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, in, len, ad, ad_len,
                                                  nonce, c->k) != 0) {
        return ERR_AUTH;
    }
    c->n++;
    return 0;
}

void noise_rekey(struct noise_cipher *c)
{
    static const uint8_t zeros[NOISE_KEY] = {0};
    uint8_t nonce[NONCE_LEN];
    uint8_t out[NOISE_KEY + NOISE_TAG];

    if (!c->has_key) {
        return;
    }
    cipher_nonce(UINT64_MAX, nonce);
    (void)crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, zeros, sizeof(zeros), NULL,
                                                    0, NULL, nonce, c->k);
    memcpy(c->k, out, NOISE_KEY);
    sodium_memzero(out, sizeof(out));
}

static void cipher_init(struct noise_cipher *c, const uint8_t k[NOISE_KEY])
{
    memcpy(c->k, k, NOISE_KEY);
    c->n = 0;
    c->has_key = true;
}

/* ---- SymmetricState (5.2) ---- */

static void mix_hash(struct noise_handshake *hs, const uint8_t *data, size_t len)
{
    crypto_generichash_state st;

    (void)crypto_generichash_init(&st, NULL, 0, NOISE_HASH);
    (void)crypto_generichash_update(&st, hs->h, NOISE_HASH);
    if (len > 0) {
        (void)crypto_generichash_update(&st, data, len);
    }
    (void)crypto_generichash_final(&st, hs->h, NOISE_HASH);
}

static void mix_key(struct noise_handshake *hs, const uint8_t ikm[NOISE_KEY])
{
    uint8_t k[NOISE_HASH];

    kdf_hkdf(hs->ck, ikm, NOISE_KEY, hs->ck, k, NULL);
    cipher_init(&hs->cipher, k);
    sodium_memzero(k, sizeof(k));
}

static void mix_key_and_hash(struct noise_handshake *hs, const uint8_t psk[NOISE_KEY])
{
    uint8_t k[NOISE_HASH], temp_h[NOISE_HASH];

    kdf_hkdf(hs->ck, psk, NOISE_KEY, hs->ck, temp_h, k);
    mix_hash(hs, temp_h, sizeof(temp_h));
    cipher_init(&hs->cipher, k);
    sodium_memzero(k, sizeof(k));
    sodium_memzero(temp_h, sizeof(temp_h));
}

/* EncryptAndHash: out has len bytes, and NOISE_TAG more once there is a key. Writes the
 * length. */
static int encrypt_and_hash(struct noise_handshake *hs, const uint8_t *in, size_t len,
                            uint8_t *out, size_t *out_len)
{
    int err = noise_encrypt(&hs->cipher, hs->h, NOISE_HASH, in, len, out);

    if (err != 0) {
        return err;
    }
    *out_len = len + (hs->cipher.has_key ? NOISE_TAG : 0);
    mix_hash(hs, out, *out_len);
    return 0;
}

/* DecryptAndHash. in and out do not overlap. */
static int decrypt_and_hash(struct noise_handshake *hs, const uint8_t *in, size_t len,
                            uint8_t *out)
{
    int err = noise_decrypt(&hs->cipher, hs->h, NOISE_HASH, in, len, out);

    if (err == 0) {
        mix_hash(hs, in, len);
    }
    return err;
}

/* ---- HandshakeState (5.3) ---- */

bool noise_key_canonical(const uint8_t pk[NOISE_KEY])
{
    /* p = 2^255 - 19, little-endian ed ff .. ff 7f. Public keys are public: no care for
     * constant time is needed. */
    if ((pk[31] & 0x80) != 0) {
        return false;
    }
    if (pk[31] != 0x7f || pk[0] < 0xed) {
        return true;
    }
    for (unsigned i = 1; i < 31; i++) {
        if (pk[i] != 0xff) {
            return true;
        }
    }
    return false;
}

/* Terminal: nothing of the handshake remains. Returns err. */
static int handshake_fail(struct noise_handshake *hs, int err)
{
    sodium_memzero(hs, sizeof(*hs));
    hs->state = NOISE_FAILED;
    return err;
}

static int check_setup(const struct noise_setup *setup)
{
    const struct noise_pattern *p = setup->pattern;

    if (p == NULL || setup->re != NULL || setup->n_psks != noise_pattern_psks(p)) {
        return ERR_ARG;
    }
    if (noise_pattern_needs_local_static(p, setup->initiator) && setup->s == NULL) {
        return ERR_ARG;
    }
    for (unsigned i = 0; i < setup->n_psks; i++) {
        if (setup->psks[i] == NULL) {
            return ERR_ARG;
        }
    }
    if (noise_pattern_needs_remote_static(p, setup->initiator)) {
        if (setup->rs == NULL) {
            return ERR_ARG;
        }
        if (!noise_key_canonical(setup->rs)) {
            return ERR_AUTH;
        }
    }
    return 0;
}

/* The pre-messages: the initiator's static first, then the responder's. */
static void mix_pre_messages(struct noise_handshake *hs)
{
    const struct noise_base *base = hs->pattern->base;

    if (base->pre_i) {
        mix_hash(hs, hs->initiator ? hs->s_pub : hs->rs, NOISE_KEY);
    }
    if (base->pre_r) {
        mix_hash(hs, hs->initiator ? hs->rs : hs->s_pub, NOISE_KEY);
    }
}

int noise_init(struct noise_handshake *hs, const struct noise_setup *setup)
{
    int err;

    memset(hs, 0, sizeof(*hs));
    err = check_setup(setup);
    if (err != 0) {
        return handshake_fail(hs, err);
    }
    hs->pattern = setup->pattern;
    hs->initiator = setup->initiator;
    hs->has_psk = setup->n_psks > 0;
    hs->n_psks = setup->n_psks;
    for (unsigned i = 0; i < setup->n_psks; i++) {
        memcpy(hs->psks[i], setup->psks[i], NOISE_KEY);
    }
    if (noise_pattern_needs_local_static(hs->pattern, hs->initiator)) {
        memcpy(hs->s, setup->s, NOISE_KEY);
        (void)crypto_scalarmult_base(hs->s_pub, hs->s);
        hs->has_s = true;
    }
    if (noise_pattern_needs_remote_static(hs->pattern, hs->initiator)) {
        memcpy(hs->rs, setup->rs, NOISE_KEY);
        hs->has_rs = true;
    }
    /* A protocol name of at most HASHLEN bytes is padded with zeros, and no name of this
     * suite is longer. */
    (void)noise_pattern_protocol_name(hs->pattern, hs->h);
    memcpy(hs->ck, hs->h, NOISE_HASH);
    mix_hash(hs, setup->prologue, setup->prologue_len);
    mix_pre_messages(hs);
    if (setup->e != NULL) {
        noise_set_ephemeral(hs, setup->e);
    }
    return 0;
}

static bool handshake_open(const struct noise_handshake *hs)
{
    return hs->state == NOISE_START || hs->state == NOISE_RUNNING;
}

void noise_set_ephemeral(struct noise_handshake *hs, const uint8_t e[NOISE_KEY])
{
    if (handshake_open(hs)) {
        memcpy(hs->e, e, NOISE_KEY);
        (void)crypto_scalarmult_base(hs->e_pub, hs->e);
        hs->has_e = true;
    }
}

bool noise_my_turn(const struct noise_handshake *hs)
{
    return handshake_open(hs) && (hs->msg % 2 == 0) == hs->initiator;
}

size_t noise_overhead(const struct noise_handshake *hs)
{
    uint8_t tokens[NOISE_TOKENS_BUF];
    bool key = hs->cipher.has_key;
    size_t n = 0;

    if (!handshake_open(hs)) {
        return 0;
    }
    noise_pattern_tokens(hs->pattern, hs->msg, tokens);
    for (const uint8_t *t = tokens; *t != NOISE_TOKEN_END; t++) {
        if (*t == NOISE_TOKEN_E) {
            n += NOISE_KEY;
            key = key || hs->has_psk;
        } else if (*t == NOISE_TOKEN_S) {
            n += key ? (size_t)(NOISE_KEY + NOISE_TAG) : (size_t)NOISE_KEY;
        } else {
            key = true;
        }
    }
    return key ? n + NOISE_TAG : n;
}

/* MixKey(DH(sec, pub)). 0 or ERR_AUTH. */
static int mix_dh(struct noise_handshake *hs, const uint8_t sec[NOISE_KEY],
                  const uint8_t pub[NOISE_KEY])
{
    uint8_t dh[NOISE_KEY];
    int err = 0;

    if (crypto_scalarmult(dh, sec, pub) != 0) {
        err = ERR_AUTH; /* all zero: a key of small order */
    } else {
        mix_key(hs, dh);
    }
    sodium_memzero(dh, sizeof(dh));
    return err;
}

/* The tokens that both sides process in the same way: psk and the DHs. */
static int mix_token(struct noise_handshake *hs, uint8_t token)
{
    bool i = hs->initiator;

    switch ((enum noise_token)token) {
    case NOISE_TOKEN_PSK:
        mix_key_and_hash(hs, hs->psks[hs->next_psk++]);
        return 0;
    case NOISE_TOKEN_EE:
        return mix_dh(hs, hs->e, hs->re);
    case NOISE_TOKEN_ES:
        return i ? mix_dh(hs, hs->e, hs->rs) : mix_dh(hs, hs->s, hs->re);
    case NOISE_TOKEN_SE:
        return i ? mix_dh(hs, hs->s, hs->re) : mix_dh(hs, hs->e, hs->rs);
    case NOISE_TOKEN_SS:
        return mix_dh(hs, hs->s, hs->rs);
    case NOISE_TOKEN_E:
    case NOISE_TOKEN_S:
    case NOISE_TOKEN_END:
        break;
    }
    return ERR_STATE;
}

/* In a pattern with psk tokens every ephemeral is mixed into the key too (9.2). */
static void mix_ephemeral(struct noise_handshake *hs, const uint8_t pub[NOISE_KEY])
{
    mix_hash(hs, pub, NOISE_KEY);
    if (hs->has_psk) {
        mix_key(hs, pub);
    }
}

static int write_token(struct noise_handshake *hs, uint8_t token, uint8_t head[HEAD_MAX],
                       size_t *head_len)
{
    size_t n;
    int err;

    if (token == NOISE_TOKEN_E) {
        if (!hs->has_e) {
            return ERR_STATE;
        }
        memcpy(head + *head_len, hs->e_pub, NOISE_KEY);
        *head_len += NOISE_KEY;
        mix_ephemeral(hs, hs->e_pub);
        return 0;
    }
    if (token == NOISE_TOKEN_S) {
        err = encrypt_and_hash(hs, hs->s_pub, NOISE_KEY, head + *head_len, &n);
        if (err == 0) {
            *head_len += n;
        }
        return err;
    }
    return mix_token(hs, token);
}

static void next_message(struct noise_handshake *hs)
{
    hs->msg++;
    hs->state = hs->msg == hs->pattern->base->n_messages ? NOISE_DONE : NOISE_RUNNING;
}

int noise_write(struct noise_handshake *hs, const uint8_t *payload, size_t len,
                uint8_t *out, size_t out_cap, size_t *out_len)
{
    uint8_t tokens[NOISE_TOKENS_BUF];
    uint8_t head[HEAD_MAX];
    size_t head_len = 0;
    size_t body_len;
    size_t overhead;
    int err;

    if (!handshake_open(hs)) {
        return ERR_STATE;
    }
    if (!noise_my_turn(hs)) {
        return handshake_fail(hs, ERR_STATE);
    }
    overhead = noise_overhead(hs);
    if (len > NOISE_MSG_MAX - overhead || out_cap < overhead ||
        out_cap - overhead < len) {
        return handshake_fail(hs, ERR_LIMIT);
    }
    noise_pattern_tokens(hs->pattern, hs->msg, tokens);
    for (const uint8_t *t = tokens; *t != NOISE_TOKEN_END; t++) {
        err = write_token(hs, *t, head, &head_len);
        if (err != 0) {
            return handshake_fail(hs, err);
        }
    }
    err = encrypt_and_hash(hs, payload, len, out + head_len, &body_len);
    if (err != 0) {
        return handshake_fail(hs, err);
    }
    memcpy(out, head, head_len);
    *out_len = head_len + body_len;
    next_message(hs);
    return 0;
}

/* Reads what the token takes from the message. The length was checked against
 * noise_overhead() before. */
static int read_token(struct noise_handshake *hs, uint8_t token, const uint8_t **msg,
                      size_t *len)
{
    size_t n = NOISE_KEY;
    int err;

    if (token == NOISE_TOKEN_E) {
        if (*len < n) {
            return ERR_FORMAT;
        }
        memcpy(hs->re, *msg, NOISE_KEY);
        hs->has_re = true;
        mix_ephemeral(hs, hs->re);
    } else if (token == NOISE_TOKEN_S) {
        n += hs->cipher.has_key ? NOISE_TAG : 0;
        if (*len < n) {
            return ERR_FORMAT;
        }
        err = decrypt_and_hash(hs, *msg, n, hs->rs);
        if (err != 0) {
            return err;
        }
        if (!noise_key_canonical(hs->rs)) {
            return ERR_AUTH;
        }
        hs->has_rs = true;
    } else {
        return mix_token(hs, token);
    }
    *msg += n;
    *len -= n;
    return 0;
}

int noise_read(struct noise_handshake *hs, const uint8_t *msg, size_t len,
               uint8_t *payload, size_t payload_cap, size_t *payload_len)
{
    uint8_t tokens[NOISE_TOKENS_BUF];
    size_t overhead;
    int err;

    if (!handshake_open(hs)) {
        return ERR_STATE;
    }
    if (noise_my_turn(hs)) {
        return handshake_fail(hs, ERR_STATE);
    }
    overhead = noise_overhead(hs);
    if (len < overhead || len > NOISE_MSG_MAX) {
        return handshake_fail(hs, ERR_FORMAT);
    }
    if (len - overhead > payload_cap) {
        return handshake_fail(hs, ERR_LIMIT);
    }
    noise_pattern_tokens(hs->pattern, hs->msg, tokens);
    for (const uint8_t *t = tokens; *t != NOISE_TOKEN_END; t++) {
        err = read_token(hs, *t, &msg, &len);
        if (err != 0) {
            return handshake_fail(hs, err);
        }
    }
    err = decrypt_and_hash(hs, msg, len, payload);
    if (err != 0) {
        return handshake_fail(hs, err);
    }
    *payload_len = len - (hs->cipher.has_key ? NOISE_TAG : 0);
    next_message(hs);
    return 0;
}

int noise_split(struct noise_handshake *hs, struct noise_cipher *tx,
                struct noise_cipher *rx)
{
    uint8_t k1[NOISE_HASH], k2[NOISE_HASH];
    struct noise_cipher *first = hs->initiator ? tx : rx;
    struct noise_cipher *second = hs->initiator ? rx : tx;

    if (hs->state != NOISE_DONE || hs->split) {
        return ERR_STATE;
    }
    kdf_hkdf(hs->ck, NULL, 0, k1, k2, NULL);
    cipher_init(first, k1);
    if (noise_pattern_oneway(hs->pattern)) {
        memset(second, 0, sizeof(*second));
    } else {
        cipher_init(second, k2);
    }
    sodium_memzero(k1, sizeof(k1));
    sodium_memzero(k2, sizeof(k2));
    sodium_memzero(&hs->cipher, sizeof(hs->cipher));
    sodium_memzero(hs->ck, sizeof(hs->ck));
    sodium_memzero(hs->s, sizeof(hs->s));
    sodium_memzero(hs->e, sizeof(hs->e));
    sodium_memzero(hs->psks, sizeof(hs->psks));
    hs->split = true;
    return 0;
}

const uint8_t *noise_hash(const struct noise_handshake *hs)
{
    return hs->h;
}

const uint8_t *noise_remote_static(const struct noise_handshake *hs)
{
    return hs->has_rs ? hs->rs : NULL;
}

void noise_release(struct noise_handshake *hs)
{
    if (hs != NULL) {
        sodium_memzero(hs, sizeof(*hs));
        hs->state = NOISE_FAILED;
    }
}
