/* Blinded keys: where devices leave word for each other in the DHT, so that nobody who
 * stores it learns for whom (docs/PROTOCOL.md, "Whereabouts").
 *
 * The presence secret of a device is (p, A): 32 random bytes and an Ed25519 key A = aB
 * made for this alone. In each epoch, 12 hours that begin at a moment which depends on p,
 * its whereabouts stand under A' = hA with h from p, A and the epoch. Who has (p, A) can
 * compute A' and read; only who has a can sign. Without p nobody can tell A' from any
 * other key, or that of one epoch from that of another.
 *
 * Beside it there are places under keys that follow from a secret of two: who has the
 * secret can read and write. Sizes are bytes. */
#ifndef LINNET_CRYPTO_BLIND_H
#define LINNET_CRYPTO_BLIND_H

#include <stddef.h>
#include <stdint.h>

enum {
    BLIND_SECRET = 32, /* p, a pair's or an invite's secret */
    BLIND_PUB = 32,
    BLIND_SEED = 32,
    BLIND_SIG = 64,
    BLIND_RANDOM = 32, /* that go into a signature's nonce */
    BLIND_SEAL_KEY = 32,
    BLIND_NONCE = 24,
    BLIND_PLAIN = 680,           /* what is sealed: length, content, zeros */
    BLIND_CONTENT_MAX = 680 - 2, /* of it */
    BLIND_VALUE = 24 + 680 + 16, /* every sealed value */
    BLIND_EPOCH_S = 12 * 3600,   /* how long an epoch lasts */
    BLIND_KNOCK_SLOTS = 4,       /* of one device in one epoch */
    BLIND_RELAY_TAG = 16,
};

/* What signs for one place in one epoch. */
struct blind_key {
    uint8_t pub[BLIND_PUB];
    uint8_t sec[32];    /* scalar */
    uint8_t prefix[32]; /* key of nonces */
};
void blind_key_wipe(struct blind_key *k);

/* A place that all who have a secret can write and read: its key, and that of values. */
struct blind_slot {
    struct blind_key key;
    uint8_t seal[BLIND_SEAL_KEY];
};
void blind_slot_wipe(struct blind_slot *s);

/* ---- epochs ---- */

/* When the epochs of a secret begin: 0 .. BLIND_EPOCH_S - 1. */
uint64_t blind_offset(const uint8_t secret[BLIND_SECRET]);
/* The epoch at a moment (seconds since 1970), and how much of it is over. */
uint64_t blind_epoch(uint64_t offset, uint64_t wall_s);
uint64_t blind_epoch_age(uint64_t offset, uint64_t wall_s);

/* ---- whereabouts of a device ---- */

/* A from its seed. */
void blind_point(const uint8_t seed[BLIND_SEED], uint8_t point[BLIND_PUB]);
/* A' for readers. 0, ERR_AUTH (A is not canonical, of small or mixed order). */
int blind_pub(const uint8_t p[BLIND_SECRET], const uint8_t point[BLIND_PUB],
              uint64_t epoch, uint8_t pub[BLIND_PUB]);
/* The owner's key for the same. 0 or ERR_AUTH (never with a seed that is random). */
int blind_key(const uint8_t p[BLIND_SECRET], const uint8_t seed[BLIND_SEED],
              uint64_t epoch, struct blind_key *out);
/* Key of the value. */
void blind_where_seal(const uint8_t p[BLIND_SECRET], uint64_t epoch,
                      uint8_t seal[BLIND_SEAL_KEY]);
/* What names a relay to those who have p and know that device. */
void blind_relay_tag(const uint8_t p[BLIND_SECRET], const uint8_t device[32],
                     uint8_t tag[BLIND_RELAY_TAG]);

/* ---- places of two ---- */

/* Whereabouts of the device for the other of a pair. */
void blind_pair_slot(const uint8_t pair[BLIND_SECRET], const uint8_t device[32],
                     uint64_t epoch, struct blind_slot *out);
/* Whereabouts of an inviter for who has the code, and knocks of that one. */
void blind_invite_slot(const uint8_t secret[BLIND_SECRET], uint64_t epoch,
                       struct blind_slot *out);
void blind_invite_knock(const uint8_t secret[BLIND_SECRET], uint64_t epoch,
                        struct blind_slot *out);
/* Knock slot 0 .. BLIND_KNOCK_SLOTS - 1 of the device with that p. What is written there
 * is under a key of the pair, so that the other contacts cannot read it. */
void blind_knock_slot(const uint8_t p[BLIND_SECRET], uint64_t epoch, unsigned slot,
                      struct blind_key *out);
void blind_knock_seal(const uint8_t pair[BLIND_SECRET], const uint8_t from[32],
                      const uint8_t to[32], uint8_t seal[BLIND_SEAL_KEY]);

/* ---- signatures and values ---- */

/* An ordinary Ed25519 signature of msg; the bytes fresh are random. 0 or ERR_AUTH (a key
 * that blind_* did not make). */
int blind_sign(const struct blind_key *k, const uint8_t *msg, size_t len,
               const uint8_t fresh[BLIND_RANDOM], uint8_t sig[BLIND_SIG]);
/* 0 or ERR_AUTH; strict: also S ≥ L, and keys that are not canonical or of small order,
 * are refused. */
int blind_verify(const uint8_t pub[BLIND_PUB], const uint8_t *msg, size_t len,
                 const uint8_t sig[BLIND_SIG]);
/* Seals content for (pub, seq) under a fresh random nonce. 0 or ERR_LIMIT. */
int blind_seal(const uint8_t seal[BLIND_SEAL_KEY], const uint8_t pub[BLIND_PUB],
               uint64_t seq, const uint8_t nonce[BLIND_NONCE], const uint8_t *content,
               size_t len, uint8_t out[BLIND_VALUE]);
/* Opens it. 0, ERR_FORMAT (length, padding), ERR_AUTH. */
int blind_open(const uint8_t seal[BLIND_SEAL_KEY], const uint8_t pub[BLIND_PUB],
               uint64_t seq, const uint8_t *value, size_t value_len,
               uint8_t out[BLIND_CONTENT_MAX], size_t *len);

#endif
