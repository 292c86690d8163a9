/* Items of BEP 44: values that the DHT keeps for whoever knows their target.
 *
 * An immutable item is a value; its target is SHA-1 of the value. A mutable item is a
 * value signed with an Ed25519 key, a number that grows, and perhaps a salt; its target
 * is SHA-1 of key and salt. A value is any bencoded value of at most ITEM_VALUE_MAX
 * bytes; its own bytes are hashed and signed, so only canonical ones are taken.
 *
 * Verification is strict, for storing and for reading: keys and signatures of small order
 * and signatures whose S isn't reduced are refused. Nothing is unique about a signature's
 * bytes all the same.
 *
 * Blinded keys have no seed, so a key to sign with is a scalar and a prefix. */
#ifndef LINNET_DHT_ITEM_H
#define LINNET_DHT_ITEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dht/id.h"
#include "dht/krpc.h"

enum {
    ITEM_VALUE_MAX = 1000, /* bytes of the bencoded value */
    ITEM_SALT_MAX = 64,
    ITEM_KEY_LEN = KRPC_KEY_LEN,
    ITEM_SIG_LEN = KRPC_SIG_LEN,
    ITEM_SEED_LEN = 32,
    ITEM_EXPANDED_LEN = 64, /* scalar and prefix, as in BEP 44's vectors */
    /* "4:salt64:" salt "3:seqi" 19 digits "e1:v" value */
    ITEM_SIGNED_MAX = 9 + ITEM_SALT_MAX + 6 + 19 + 4 + ITEM_VALUE_MAX,
};

/* A borrowed view. Immutable: k and sig are NULL, salt is empty, seq is 0. */
struct item {
    struct krpc_view v; /* bencoded */
    const uint8_t *k;   /* ITEM_KEY_LEN */
    const uint8_t *sig; /* ITEM_SIG_LEN */
    struct krpc_view salt;
    int64_t seq;
};

/* What signs: secret but for public. Wipe it when it is done with. */
struct item_key {
    uint8_t public_key[ITEM_KEY_LEN];
    uint8_t scalar[32]; /* little-endian, below the order of the group */
    uint8_t prefix[32];
};

/* The item of a put, or of the reply to a get; its views are m's. A missing field stays
 * NULL or 0: item_check() judges. */
void item_of(const struct krpc_msg *m, struct item *out);

/* True when a put has some of what a mutable item needs, but not all of it, or not in its
 * right form. Stored as an immutable item, it would hide the signed one from readers.
 * `cas` alone says nothing of an immutable item, and an empty salt is none (BEP 44). */
bool item_is_half(const struct krpc_msg *m);

/* The target it belongs under. */
void item_target(const struct item *it, struct dht_id *out);
/* The bytes that the signature of a mutable item is over; their length, 0 when salt or
 * value is too long. */
size_t item_signed(const struct item *it, uint8_t out[ITEM_SIGNED_MAX]);

/* 0 when it may be stored and believed, else the error of BEP 44: KRPC_E_PROTOCOL (no
 * value, not canonical, half of a mutable item, a negative seq), _TOO_BIG, _SALT,
 * _SIGNATURE. */
int item_check(const struct item *it);
/* True when it passes item_check() and belongs under target: for what a get brought. */
bool item_is(const struct item *it, const struct dht_id *target);
/* Whether the value fits: canonical, at most ITEM_VALUE_MAX bytes. */
bool item_value_ok(const struct krpc_view *v);

/* 0 when `put`, which passed item_check(), may take the place of `stored` (the same
 * target), else KRPC_E_CAS or _SEQ. cas: the sequence number that the putter believes is
 * stored, NULL when it didn't say. The same number with the same value is a refresh: 0.
 */
int item_replaces(const struct item *put, const struct item *stored, const int64_t *cas);

/* From a seed (RFC 8032). */
void item_key_from_seed(const uint8_t seed[ITEM_SEED_LEN], struct item_key *out);
/* From scalar and prefix; the public key is computed. 0, or ERR_ARG for the scalar 0. */
int item_key_from_expanded(const uint8_t expanded[ITEM_EXPANDED_LEN],
                           struct item_key *out);
/* Signs salt, seq and value of it, which must be of the allowed lengths. 0, or ERR_ARG.
 */
int item_sign(const struct item *it, const struct item_key *key,
              uint8_t sig[ITEM_SIG_LEN]);

#endif
