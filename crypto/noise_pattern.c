#include "crypto/noise_pattern.h"

#include <string.h>

enum {
    E = NOISE_TOKEN_E,
    S = NOISE_TOKEN_S,
    EE = NOISE_TOKEN_EE,
    ES = NOISE_TOKEN_ES,
    SE = NOISE_TOKEN_SE,
    SS = NOISE_TOKEN_SS,
    ___ = 0, /* no pre-message */
    PRE = 1,
    BASES = 38,
    PSK_SETS = 1 << NOISE_PSK_PLACES,
    PSK_NAME_LEN = 4, /* "psk0" */
};

/* Name; whether the initiator's and the responder's static are known beforehand; the
 * messages' tokens, the initiator's first and then in turn. Section 7.4 (one-way), 7.5
 * (fundamental), 18.1 (deferred). */
// clang-format off
static const struct noise_base bases[BASES] = {
    {"N", ___, PRE, 1, {{E, ES}}},
    {"K", PRE, PRE, 1, {{E, ES, SS}}},
    {"X", ___, PRE, 1, {{E, ES, S, SS}}},
    {"NN", ___, ___, 2, {{E}, {E, EE}}},
    {"NK", ___, PRE, 2, {{E, ES}, {E, EE}}},
    {"NX", ___, ___, 2, {{E}, {E, EE, S, ES}}},
    {"KN", PRE, ___, 2, {{E}, {E, EE, SE}}},
    {"KK", PRE, PRE, 2, {{E, ES, SS}, {E, EE, SE}}},
    {"KX", PRE, ___, 2, {{E}, {E, EE, SE, S, ES}}},
    {"XN", ___, ___, 3, {{E}, {E, EE}, {S, SE}}},
    {"XK", ___, PRE, 3, {{E, ES}, {E, EE}, {S, SE}}},
    {"XX", ___, ___, 3, {{E}, {E, EE, S, ES}, {S, SE}}},
    {"IN", ___, ___, 2, {{E, S}, {E, EE, SE}}},
    {"IK", ___, PRE, 2, {{E, ES, S, SS}, {E, EE, SE}}},
    {"IX", ___, ___, 2, {{E, S}, {E, EE, SE, S, ES}}},
    {"NK1", ___, PRE, 2, {{E}, {E, EE, ES}}},
    {"NX1", ___, ___, 3, {{E}, {E, EE, S}, {ES}}},
    {"X1N", ___, ___, 4, {{E}, {E, EE}, {S}, {SE}}},
    {"X1K", ___, PRE, 4, {{E, ES}, {E, EE}, {S}, {SE}}},
    {"XK1", ___, PRE, 3, {{E}, {E, EE, ES}, {S, SE}}},
    {"X1K1", ___, PRE, 4, {{E}, {E, EE, ES}, {S}, {SE}}},
    {"X1X", ___, ___, 4, {{E}, {E, EE, S, ES}, {S}, {SE}}},
    {"XX1", ___, ___, 3, {{E}, {E, EE, S}, {ES, S, SE}}},
    {"X1X1", ___, ___, 4, {{E}, {E, EE, S}, {ES, S}, {SE}}},
    {"K1N", PRE, ___, 3, {{E}, {E, EE}, {SE}}},
    {"K1K", PRE, PRE, 3, {{E, ES}, {E, EE}, {SE}}},
    {"KK1", PRE, PRE, 2, {{E}, {E, EE, SE, ES}}},
    {"K1K1", PRE, PRE, 3, {{E}, {E, EE, ES}, {SE}}},
    {"K1X", PRE, ___, 3, {{E}, {E, EE, S, ES}, {SE}}},
    {"KX1", PRE, ___, 3, {{E}, {E, EE, SE, S}, {ES}}},
    {"K1X1", PRE, ___, 3, {{E}, {E, EE, S}, {SE, ES}}},
    {"I1N", ___, ___, 3, {{E, S}, {E, EE}, {SE}}},
    {"I1K", ___, PRE, 3, {{E, ES, S}, {E, EE}, {SE}}},
    {"IK1", ___, PRE, 2, {{E, S}, {E, EE, SE, ES}}},
    {"I1K1", ___, PRE, 3, {{E, S}, {E, EE, ES}, {SE}}},
    {"I1X", ___, ___, 3, {{E, S}, {E, EE, S, ES}, {SE}}},
    {"IX1", ___, ___, 3, {{E, S}, {E, EE, SE, S}, {ES}}},
    {"I1X1", ___, ___, 3, {{E, S}, {E, EE, S}, {SE, ES}}},
};

/* Each base with every set of psk places, so that a lookup is a pointer to a constant.
 * Which of them exist (a place behind the last message does not) noise_pattern_find()
 * decides. */
#define V1(b, m)   {&bases[b], (m)}
#define V2(b, m)   V1(b, m), V1(b, (m) + 1)
#define V4(b, m)   V2(b, m), V2(b, (m) + 2)
#define V8(b, m)   V4(b, m), V4(b, (m) + 4)
#define V16(b, m)  V8(b, m), V8(b, (m) + 8)
#define VARIANTS(b) {V16(b, 0), V16(b, 16)}

static const struct noise_pattern variants[BASES][PSK_SETS] = {
    VARIANTS(0), VARIANTS(1), VARIANTS(2), VARIANTS(3), VARIANTS(4),
    VARIANTS(5), VARIANTS(6), VARIANTS(7), VARIANTS(8), VARIANTS(9),
    VARIANTS(10), VARIANTS(11), VARIANTS(12), VARIANTS(13), VARIANTS(14),
    VARIANTS(15), VARIANTS(16), VARIANTS(17), VARIANTS(18), VARIANTS(19),
    VARIANTS(20), VARIANTS(21), VARIANTS(22), VARIANTS(23), VARIANTS(24),
    VARIANTS(25), VARIANTS(26), VARIANTS(27), VARIANTS(28), VARIANTS(29),
    VARIANTS(30), VARIANTS(31), VARIANTS(32), VARIANTS(33), VARIANTS(34),
    VARIANTS(35), VARIANTS(36), VARIANTS(37),
};
// clang-format on

/* "", "psk0" or "psk0+psk3": ascending, each once, as section 8 orders names. Writes the
 * set; false for anything else. */
static bool parse_psks(const char *s, unsigned n_messages, unsigned *places)
{
    unsigned set = 0;
    unsigned count = 0;

    while (*s != '\0') {
        if (count > 0 && *s++ != '+') {
            return false;
        }
        if (strncmp(s, "psk", 3) != 0 || s[3] < '0' || s[3] > '9') {
            return false;
        }
        unsigned place = (unsigned)(s[3] - '0');

        if (place > n_messages || set >> place != 0 || ++count > NOISE_PSKS_MAX) {
            return false;
        }
        set |= 1U << place;
        s += PSK_NAME_LEN;
    }
    *places = set;
    return true;
}

const struct noise_pattern *noise_pattern_find(const char *name)
{
    size_t base_len = strspn(name, "NKXI1");

    for (size_t i = 0; i < BASES; i++) {
        unsigned places;

        if (strlen(bases[i].name) == base_len &&
            memcmp(bases[i].name, name, base_len) == 0) {
            return parse_psks(name + base_len, bases[i].n_messages, &places)
                       ? &variants[i][places]
                       : NULL;
        }
    }
    return NULL;
}

unsigned noise_pattern_messages(const struct noise_pattern *p)
{
    return p->base->n_messages;
}

bool noise_pattern_oneway(const struct noise_pattern *p)
{
    return p->base->n_messages == 1;
}

bool noise_pattern_needs_local_static(const struct noise_pattern *p, bool initiator)
{
    if (initiator ? p->base->pre_i : p->base->pre_r) {
        return true;
    }
    for (unsigned m = initiator ? 0 : 1; m < p->base->n_messages; m += 2) {
        if (memchr(p->base->tokens[m], NOISE_TOKEN_S, NOISE_TOKENS_MAX) != NULL) {
            return true;
        }
    }
    return false;
}

bool noise_pattern_needs_remote_static(const struct noise_pattern *p, bool initiator)
{
    return initiator ? p->base->pre_r : p->base->pre_i;
}

unsigned noise_pattern_psks(const struct noise_pattern *p)
{
    unsigned n = 0;

    for (unsigned i = 0; i < NOISE_PSK_PLACES; i++) {
        n += (p->psk_places >> i) & 1U;
    }
    return n;
}

void noise_pattern_tokens(const struct noise_pattern *p, unsigned msg,
                          uint8_t out[NOISE_TOKENS_BUF])
{
    const uint8_t *tokens = p->base->tokens[msg];
    size_t n = 0;

    if (msg == 0 && (p->psk_places & 1U) != 0) {
        out[n++] = NOISE_TOKEN_PSK;
    }
    while (*tokens != NOISE_TOKEN_END) {
        out[n++] = *tokens++;
    }
    if (((p->psk_places >> (msg + 1)) & 1U) != 0) {
        out[n++] = NOISE_TOKEN_PSK;
    }
    out[n] = NOISE_TOKEN_END;
}

/* Appends a string to the name. It always fits: the longest base, four psks and the suite
 * make 56 bytes. */
static size_t put(uint8_t out[NOISE_NAME_MAX], size_t at, const char *s)
{
    size_t n = strlen(s);

    memcpy(out + at, s, n);
    return at + n;
}

size_t noise_pattern_protocol_name(const struct noise_pattern *p,
                                   uint8_t out[NOISE_NAME_MAX])
{
    size_t n = put(out, 0, "Noise_");
    const char *sep = "psk";

    n = put(out, n, p->base->name);
    for (unsigned i = 0; i < NOISE_PSK_PLACES; i++) {
        if (((p->psk_places >> i) & 1U) != 0) {
            n = put(out, n, sep);
            out[n++] = (uint8_t)('0' + i);
            sep = "+psk";
        }
    }
    return put(out, n, "_25519_ChaChaPoly_BLAKE2b");
}
