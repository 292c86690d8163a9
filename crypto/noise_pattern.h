/* The message patterns of Noise (revision 34, sections 7 and 18): the one-way,
 * fundamental and deferred ones, each with psk modifiers (section 9).
 *
 * A pattern is a base (its tokens) and a set of places of psk tokens. Everything is
 * constant: a pointer to a struct noise_pattern is valid for ever. */
#ifndef LINNET_CRYPTO_NOISE_PATTERN_H
#define LINNET_CRYPTO_NOISE_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    NOISE_PSKS_MAX = 4,
    NOISE_NAME_MAX = 64, /* of a protocol name */
    NOISE_MESSAGES_MAX = 4,
    NOISE_TOKENS_MAX = 5,                      /* of one message, psk not counted */
    NOISE_TOKENS_BUF = NOISE_TOKENS_MAX + 3,   /* with two psks and the end */
    NOISE_PSK_PLACES = NOISE_MESSAGES_MAX + 1, /* psk0 .. psk4 */
};

/* A message pattern of a handshake; looked up by its name with modifiers, as "KKpsk0" or
 * "XXpsk0+psk3". NULL for what is unknown (or not possible). Static memory. */
struct noise_pattern;
const struct noise_pattern *noise_pattern_find(const char *name);
/* Messages of the handshake, 1 for one-way patterns. */
unsigned noise_pattern_messages(const struct noise_pattern *p);
bool noise_pattern_oneway(const struct noise_pattern *p);
/* What the pattern wants before it starts, from the side of initiator or responder. */
bool noise_pattern_needs_local_static(const struct noise_pattern *p, bool initiator);
bool noise_pattern_needs_remote_static(const struct noise_pattern *p, bool initiator);
unsigned noise_pattern_psks(const struct noise_pattern *p);

/* What follows is for noise.c. */

enum noise_token {
    NOISE_TOKEN_END,
    NOISE_TOKEN_E,
    NOISE_TOKEN_S,
    NOISE_TOKEN_EE,
    NOISE_TOKEN_ES,
    NOISE_TOKEN_SE,
    NOISE_TOKEN_SS,
    NOISE_TOKEN_PSK,
};

struct noise_base {
    char name[5];
    bool pre_i, pre_r; /* pre-messages: -> s, <- s */
    uint8_t n_messages;
    uint8_t tokens[NOISE_MESSAGES_MAX][NOISE_TOKENS_MAX + 1];
};

struct noise_pattern {
    const struct noise_base *base;
    uint8_t psk_places; /* bit n: pskn */
};

/* The tokens of message msg (from 0) with psk tokens in their places, ended by
 * NOISE_TOKEN_END. */
void noise_pattern_tokens(const struct noise_pattern *p, unsigned msg,
                          uint8_t out[NOISE_TOKENS_BUF]);
/* Writes the whole protocol name, "Noise_KKpsk0_25519_ChaChaPoly_BLAKE2b", without an
 * ending zero; returns its length, at most NOISE_NAME_MAX. */
size_t noise_pattern_protocol_name(const struct noise_pattern *p,
                                   uint8_t out[NOISE_NAME_MAX]);

#endif
