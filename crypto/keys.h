/* Accounts, devices, certificates and what is derived from a pair's root secret.
 *
 * Sizes are bytes. The account's root signs device certificates and nothing else. Labels:
 * docs/PROTOCOL.md, "Labels". */
#ifndef LINNET_CRYPTO_KEYS_H
#define LINNET_CRYPTO_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    KEYS_SEED = 32,
    KEYS_ROOT = 32,      /* Ed25519 public key of an account */
    KEYS_DEVICE_ID = 32, /* BLAKE2b-256 over root and static */
    KEYS_PUB = 32,       /* X25519 public */
    KEYS_SEC = 32,       /* X25519 private */
    KEYS_SELF = 32,      /* the account's key of `self` MACs */
    KEYS_SELF_MAC = 16,
    KEYS_CERT_VERSION = 1,
    KEYS_CERT_MAX = 320,
    KEYS_PAIR_SECRET = 32,
    KEYS_TAG = 16,
    KEYS_CERT_SIG = 64,
    KEYS_CERT_HASH = 32,
    KEYS_NETWORK = 32,    /* a secret network's key */
    KEYS_OPEN_NONCE = 16, /* of an open beacon */
};

/* From the seed: the Ed25519 root (sk 64 bytes) and the `self` key. */
void keys_root(const uint8_t seed[KEYS_SEED], uint8_t pk[KEYS_ROOT], uint8_t sk[64]);
void keys_self(const uint8_t seed[KEYS_SEED], uint8_t out[KEYS_SELF]);
/* An X25519 public key from its private one (clamped inside X25519). */
void keys_public(const uint8_t sec[KEYS_SEC], uint8_t pub[KEYS_PUB]);
void keys_device_id(const uint8_t root[KEYS_ROOT], const uint8_t stat[KEYS_PUB],
                    uint8_t id[KEYS_DEVICE_ID]);

/* X25519 with both checks: pub is canonical and the result is not zero. 0 or ERR_AUTH. */
int keys_dh(const uint8_t sec[KEYS_SEC], const uint8_t pub[KEYS_PUB], uint8_t out[32]);

/* A device certificate: canonical bencode {version, root, device static, first box key,
 * not-before, capabilities} and, behind it, the root's Ed25519 signature over it under a
 * label (keys.c has the bytes). The device id follows from root and static. */
struct cert {
    uint8_t root[KEYS_ROOT];
    uint8_t device[KEYS_DEVICE_ID];
    uint8_t stat[KEYS_PUB];
    uint8_t box[KEYS_PUB];
    uint64_t not_before; /* seconds since 1970; told, not judged */
    uint64_t caps;       /* capability bits 0 to 62; unknown ones are ignored */
};
/* Encodes and signs. out has KEYS_CERT_MAX bytes. cert->root and ->device are derived
 * from sk and stat and filled in. 0, ERR_AUTH (a key that is not canonical) or ERR_LIMIT
 * (a number above INT64_MAX). */
int cert_sign(struct cert *cert, const uint8_t sk[64], uint8_t *out, size_t *out_len);
/* Decodes and verifies against the root it names; the caller compares that root. Keys of
 * the dictionary that this version does not know are ignored. 0, ERR_FORMAT, ERR_AUTH,
 * ERR_NEWER (version). */
int cert_open(const uint8_t *p, size_t len, struct cert *out);
/* What names a certificate to people nearby: BLAKE2b-256 of what the root signed, not of
 * the signature, of which there may be several. len is that of a certificate that
 * cert_open() took or cert_sign() made. */
void cert_hash(const uint8_t *p, size_t len, uint8_t hash[KEYS_CERT_HASH]);

/* The secret that two accounts share after pairing: HKDF(salt = handshake hash,
 * ikm = DH ‖ nA ‖ nB [‖ ML-KEM secret, reserved]). A is the initiator of that link. 0 or
 * ERR_AUTH (dh_pub, as in keys_dh). */
int keys_pair_root(const uint8_t h[64], const uint8_t dh_sec[KEYS_SEC],
                   const uint8_t dh_pub[KEYS_PUB], const uint8_t n_a[32],
                   const uint8_t n_b[32], uint8_t out[KEYS_PAIR_SECRET]);

/* Keys of a link between two devices (contacts), under an invite's or a network's secret,
 * or of one stranger to another. k_tag and k_mask are per direction: [0] initiator to
 * responder, [1] back, where initiator means whoever dials; for contacts they also depend
 * on who dials. */
struct link_keys {
    uint8_t psk[32];
    uint8_t k_tag[32];     /* of message 1 */
    uint8_t k_mask[2][32]; /* of message 1 and of message 2's ephemeral */
};
/* For contacts: from the pair's root secret; dialler and listener are device statics. */
void keys_link_pair(const uint8_t pair[KEYS_PAIR_SECRET], const uint8_t dialler[KEYS_PUB],
                    const uint8_t listener[KEYS_PUB], struct link_keys *out);
/* For an invite: from its secret and the inviter's root. */
void keys_link_invite(const uint8_t secret[32], const uint8_t root[KEYS_ROOT],
                      struct link_keys *out);
/* For members of a secret network: from its key. */
void keys_link_network(const uint8_t key[KEYS_NETWORK], struct link_keys *out);
/* For a stranger who saw the open beacon with this nonce and certificate's hash: anybody
 * on that network can make these, and psk is zeros (the pattern has none). */
void keys_link_stranger(const uint8_t nonce[KEYS_OPEN_NONCE],
                        const uint8_t cert_hash[KEYS_CERT_HASH], struct link_keys *out);

/* tag = BLAKE2b-128(k_tag, direction ‖ message 1); direction byte 0. */
void keys_tag(const uint8_t k_tag[32], const uint8_t *msg1, size_t len,
              uint8_t tag[KEYS_TAG]);
/* The same of a call, the other way: direction byte 1. */
void keys_tag_call(const uint8_t k_tag[32], const uint8_t *p, size_t len,
                   uint8_t tag[KEYS_TAG]);
/* XOR with XChaCha20(k_mask, nonce = tag ‖ 0⁸), in place. */
void keys_mask(const uint8_t k_mask[32], const uint8_t tag[KEYS_TAG], uint8_t *p,
               size_t len);

/* The `self` MAC of an entry id under the account's self key. */
void keys_self_mac(const uint8_t self[KEYS_SELF], const uint8_t id[32],
                   uint8_t mac[KEYS_SELF_MAC]);

/* Safety number: "12345 12345 … " of both roots, 2 × 30 digits in groups of five
 * separated by spaces, sorted, NUL-terminated (72 bytes). */
enum { KEYS_SAFETY_STR = 72 };
void keys_safety_number(const uint8_t root_a[KEYS_ROOT], const uint8_t root_b[KEYS_ROOT],
                        char out[KEYS_SAFETY_STR]);

#endif
