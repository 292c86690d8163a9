#include <criterion/criterion.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "dht/item.h"
#include "dht/token.h"
#include "seeded.h"

static uint64_t state;
static const struct env env = {.ctx = &state, .random = seeded};

static void start(void)
{
    cr_assert(sodium_init() >= 0);
    state = 1;
}

TestSuite(item, .init = start);
TestSuite(token, .init = start);

static void hex(const char *s, uint8_t *out, size_t n)
{
    size_t len;
    cr_assert_eq(sodium_hex2bin(out, n, s, strlen(s), NULL, &len, NULL), 0);
    cr_assert_eq(len, n);
}

static struct krpc_view view(const char *s)
{
    return (struct krpc_view){(const uint8_t *)s, strlen(s)};
}

/* One test of bep44.txt: what its lines say. */
struct vector {
    char kind[16], value[64], salt[16], signed_text[128];
    uint8_t k[ITEM_KEY_LEN], expanded[ITEM_EXPANDED_LEN], sig[ITEM_SIG_LEN];
    struct dht_id target;
};

static void set_line(struct vector *v, const char *line)
{
    const char *value = strchr(line, ':');
    value += value[1] == ' ' ? 2 : 1;
    if (strncmp(line, "kind:", 5) == 0) {
        (void)snprintf(v->kind, sizeof v->kind, "%s", value);
    } else if (strncmp(line, "value:", 6) == 0) {
        (void)snprintf(v->value, sizeof v->value, "%s", value);
    } else if (strncmp(line, "salt:", 5) == 0) {
        (void)snprintf(v->salt, sizeof v->salt, "%s", value);
    } else if (strncmp(line, "signed:", 7) == 0) {
        (void)snprintf(v->signed_text, sizeof v->signed_text, "%s", value);
    } else if (strncmp(line, "public-hex:", 11) == 0) {
        hex(value, v->k, sizeof v->k);
    } else if (strncmp(line, "private-expanded-hex:", 21) == 0) {
        hex(value, v->expanded, sizeof v->expanded);
    } else if (strncmp(line, "target-hex:", 11) == 0) {
        hex(value, v->target.b, sizeof v->target.b);
    } else if (strncmp(line, "signature-hex:", 14) == 0) {
        hex(value, v->sig, sizeof v->sig);
    }
}

static void check_mutable(const struct vector *v, struct item *it)
{
    uint8_t text[ITEM_SIGNED_MAX], sig[ITEM_SIG_LEN];
    struct item_key key;
    it->k = v->k;
    it->sig = v->sig;
    it->seq = 1;
    it->salt = view(v->salt);
    size_t n = item_signed(it, text);
    cr_assert_eq(n, strlen(v->signed_text));
    cr_assert_arr_eq(text, v->signed_text, n);
    cr_assert_eq(item_key_from_expanded(v->expanded, &key), 0);
    cr_assert_arr_eq(key.public_key, v->k, sizeof key.public_key);
    cr_assert_eq(item_sign(it, &key, sig), 0);
    cr_assert_arr_eq(sig, v->sig, sizeof sig);
}

static void check_vector(const struct vector *v)
{
    struct item it = {.v = view(v->value)};
    if (strcmp(v->kind, "mutable") == 0) {
        check_mutable(v, &it);
    }
    cr_assert(item_is(&it, &v->target), "%s", v->kind);
    struct dht_id other = v->target;
    other.b[19] ^= 1;
    cr_assert_not(item_is(&it, &other));
}

Test(item, bep44_vectors)
{
    char path[512], line[512];
    unsigned seen = 0;
    struct vector v = {0};
    (void)snprintf(path, sizeof path, "%s/vectors/bep44.txt", getenv("LINNET_TESTS"));
    FILE *f = fopen(path, "r");
    cr_assert_not_null(f);
    for (bool more = true; more;) {
        more = fgets(line, sizeof line, f) != NULL;
        line[more ? strcspn(line, "\n") : 0] = '\0';
        if (line[0] != '\0' && line[0] != '#') {
            set_line(&v, line);
        } else if (v.kind[0] != '\0') {
            check_vector(&v);
            v = (struct vector){0};
            seen++;
        }
    }
    cr_assert_eq(fclose(f), 0);
    cr_assert_eq(seen, 3);
}

/* A signed item to change. */
struct made {
    struct item_key key;
    uint8_t sig[ITEM_SIG_LEN];
    struct item it;
};

static void make(struct made *m, const char *v, const char *salt, int64_t seq)
{
    uint8_t seed[ITEM_SEED_LEN];
    env_random(&env, seed, sizeof seed);
    item_key_from_seed(seed, &m->key);
    m->it = (struct item){.v = view(v),
                          .k = m->key.public_key,
                          .sig = m->sig,
                          .salt = view(salt),
                          .seq = seq};
    cr_assert_eq(item_sign(&m->it, &m->key, m->sig), 0);
}

/* The same key and signature as libsodium makes from the seed. */
Test(item, signs_as_libsodium_does)
{
    for (int i = 0; i < 50; i++) {
        uint8_t seed[ITEM_SEED_LEN], pk[32], sk[64], sig[64], ours[64];
        uint8_t text[ITEM_SIGNED_MAX];
        struct item_key key;
        struct item it = {.v = view("5:hello"), .seq = i};
        env_random(&env, seed, sizeof seed);
        cr_assert_eq(crypto_sign_seed_keypair(pk, sk, seed), 0);
        item_key_from_seed(seed, &key);
        cr_assert_arr_eq(key.public_key, pk, sizeof pk);
        size_t n = item_signed(&it, text);
        cr_assert_eq(crypto_sign_detached(sig, NULL, text, n, sk), 0);
        cr_assert_eq(item_sign(&it, &key, ours), 0);
        cr_assert_arr_eq(ours, sig, sizeof sig);
    }
}

/* A blinded key is a scalar times another, with a prefix of its own. */
Test(item, signs_with_a_blinded_key)
{
    struct made m;
    uint8_t factor[32], expanded[ITEM_EXPANDED_LEN], blinded[32];
    struct item_key key;
    make(&m, "5:hello", "", 1);
    crypto_core_ed25519_scalar_random(factor);
    crypto_core_ed25519_scalar_mul(expanded, m.key.scalar, factor);
    env_random(&env, expanded + 32, 32);
    cr_assert_eq(item_key_from_expanded(expanded, &key), 0);
    cr_assert_eq(crypto_scalarmult_ed25519_noclamp(blinded, factor, m.key.public_key), 0);
    cr_assert_arr_eq(key.public_key, blinded, 32, "who knows the factor knows the key");
    m.it.k = key.public_key;
    cr_assert_eq(item_check(&m.it), KRPC_E_SIGNATURE);
    cr_assert_eq(item_sign(&m.it, &key, m.sig), 0);
    cr_assert_eq(item_check(&m.it), 0);
}

Test(item, a_scalar_of_zero_is_no_key)
{
    uint8_t expanded[ITEM_EXPANDED_LEN] = {0};
    struct item_key key = {.scalar = {7}};
    cr_assert_eq(item_key_from_expanded(expanded, &key), ERR_ARG);
    cr_assert_eq(key.scalar[0], 7, "outputs stay untouched");
    /* L itself is zero, too. */
    hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010", expanded, 32);
    cr_assert_eq(item_key_from_expanded(expanded, &key), ERR_ARG);
}

Test(item, what_is_signed_counts)
{
    struct made m, other;
    make(&m, "5:hello", "salt", 4);
    make(&other, "5:hello", "salt", 4);
    cr_assert_eq(item_check(&m.it), 0);
    struct item it = m.it;
    it.v = view("5:hallo");
    cr_assert_eq(item_check(&it), KRPC_E_SIGNATURE);
    it = m.it;
    it.seq = 5;
    cr_assert_eq(item_check(&it), KRPC_E_SIGNATURE);
    it = m.it;
    it.salt = view("salz");
    cr_assert_eq(item_check(&it), KRPC_E_SIGNATURE);
    it.salt = view("");
    cr_assert_eq(item_check(&it), KRPC_E_SIGNATURE);
    it = m.it;
    it.k = other.key.public_key;
    cr_assert_eq(item_check(&it), KRPC_E_SIGNATURE);
    for (size_t bit = 0; bit < sizeof m.sig * 8; bit++) {
        m.sig[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_eq(item_check(&m.it), KRPC_E_SIGNATURE, "bit %zu", bit);
        m.sig[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    cr_assert_eq(item_check(&m.it), 0);
}

/* The same point with S + L would be a second signature, which others accept. */
Test(item, a_signature_is_reduced)
{
    static const uint8_t order[32] = {0xed, 0xd3, 0xf5, 0x5c, 0x1a,       0x63,
                                      0x12, 0x58, 0xd6, 0x9c, 0xf7,       0xa2,
                                      0xde, 0xf9, 0xde, 0x14, [31] = 0x10};
    struct made m;
    make(&m, "5:hello", "", 1);
    sodium_add(m.sig + 32, order, sizeof order);
    cr_assert_eq(item_check(&m.it), KRPC_E_SIGNATURE);
    sodium_sub(m.sig + 32, order, sizeof order);
    cr_assert_eq(item_check(&m.it), 0);
}

/* With a key of small order, one signature is good for every eighth message or for all.
 */
Test(item, keys_of_small_order_are_refused)
{
    static const char *const points[] = {
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    };
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        for (size_t j = 0; j < sizeof points / sizeof *points; j++) {
            uint8_t k[ITEM_KEY_LEN], sig[ITEM_SIG_LEN] = {0};
            hex(points[i], k, sizeof k);
            hex(points[j], sig, 32);
            struct item it = {.v = view("i1e"), .k = k, .sig = sig, .seq = 1};
            cr_assert_eq(item_check(&it), KRPC_E_SIGNATURE, "%zu, %zu", i, j);
        }
    }
}

/* A value that is a string of exactly n bytes in all. */
static struct krpc_view long_value(uint8_t *out, size_t n)
{
    (void)snprintf((char *)out, 8, "%zu:", n - 4);
    memset(out + 4, 'x', n - 4);
    return (struct krpc_view){out, n};
}

Test(item, limits)
{
    static uint8_t value[ITEM_VALUE_MAX + 1];
    static char salt[ITEM_SALT_MAX + 2];
    uint8_t text[ITEM_SIGNED_MAX];
    struct made m;
    memset(salt, 's', sizeof salt - 1);
    struct item it = {.v = long_value(value, ITEM_VALUE_MAX)};
    cr_assert_eq(item_check(&it), 0);
    it.v = long_value(value, ITEM_VALUE_MAX + 1);
    cr_assert_eq(item_check(&it), KRPC_E_TOO_BIG);
    it.v = (struct krpc_view){NULL, 0};
    cr_assert_eq(item_check(&it), KRPC_E_PROTOCOL);

    make(&m, "i1e", "", 0);
    it = m.it;
    it.k = NULL;
    cr_assert_eq(item_check(&it), KRPC_E_PROTOCOL, "a signature without its key");
    it = m.it;
    it.sig = NULL;
    cr_assert_eq(item_check(&it), KRPC_E_PROTOCOL);
    m.it.salt = (struct krpc_view){(const uint8_t *)salt, ITEM_SALT_MAX};
    m.it.v = long_value(value, ITEM_VALUE_MAX);
    m.it.seq = INT64_MAX;
    cr_assert_eq(item_sign(&m.it, &m.key, m.sig), 0);
    cr_assert_eq(item_check(&m.it), 0);
    cr_assert_eq(item_signed(&m.it, text), ITEM_SIGNED_MAX, "all at their limits");
    m.it.salt.n++;
    cr_assert_eq(item_check(&m.it), KRPC_E_SALT);
    cr_assert_eq(item_sign(&m.it, &m.key, m.sig), ERR_ARG);
    m.it.v.n++;
    cr_assert_eq(item_check(&m.it), KRPC_E_TOO_BIG);
    m.it.v = view("i1e");
    m.it.salt.n = 0;
    m.it.seq = -1;
    cr_assert_eq(item_check(&m.it), KRPC_E_PROTOCOL);
    cr_assert_eq(item_sign(&m.it, &m.key, m.sig), ERR_ARG);
}

Test(item, only_canonical_values)
{
    static const char *const bad[] = {"i-0e",           "i007e",
                                      "d1:bi1e1:ai2ee", "03:abc",
                                      "d1:ai1e1:ai1ee", "lllllllllleeeeeeeeee",
                                      "i1ei2e",         ""};
    static const char *const good[] = {
        "i0e", "0:", "le", "de", "i-9223372036854775808e", "d1:ai1e2:zzlleee"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct made m;
        struct item it = {.v = view(bad[i])};
        cr_assert_eq(item_check(&it), KRPC_E_PROTOCOL, "%s", bad[i]);
        make(&m, bad[i], "", 1);
        cr_assert_eq(item_check(&m.it), KRPC_E_PROTOCOL, "%s, signed", bad[i]);
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct item it = {.v = view(good[i])};
        cr_assert_eq(item_check(&it), 0, "%s", good[i]);
    }
}

#define ID "abcdefghij0123456789"
#define KEY "1:k32:" ID "abcdefghijkl"
#define SIG "3:sig64:" ID ID ID "abcd"

Test(item, halves)
{
    static const struct {
        const char *fields;
        bool half;
    } cases[] = {
        {"1:v0:", false},
        {KEY "3:seqi1e" SIG "1:v0:", false},
        {"3:casi1e" KEY "4:salt1:x3:seqi1e" SIG "1:v0:", false},
        {KEY "1:v0:", true},
        {KEY "3:seqi1e1:v0:", true},
        {KEY SIG "1:v0:", true},
        {"3:seqi1e" SIG "1:v0:", true},
        {"3:seqi1e1:v0:", true},
        {"4:salt1:x1:v0:", true},
        {"4:salt0:1:v0:", false},
        {"4:salti1e1:v0:", true},
        {"3:casi1e1:v0:", false},
        {"3:cas1:11:v0:", false},
        {"3:cas1:1" KEY "3:seqi1e" SIG "1:v0:", true},
        {"1:k31:" ID "abcdefghijk1:v0:", true},
        {KEY "3:seqi-1e" SIG "1:v0:", true},
        {KEY "3:seqi1e3:sig3:abc1:v0:", true},
        {KEY "4:salti1e3:seqi1e" SIG "1:v0:", true},
        {"3:casi-1e" KEY "3:seqi1e" SIG "1:v0:", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        struct krpc_msg m;
        struct item it;
        (void)snprintf(text, sizeof text, "d1:ad%se1:q3:put1:t1:a1:y1:qe",
                       cases[i].fields);
        cr_assert_eq(krpc_decode((const uint8_t *)text, strlen(text), &m), 0);
        cr_assert_eq(item_is_half(&m), cases[i].half, "%s", cases[i].fields);
        item_of(&m, &it);
        cr_assert(it.k == NULL || cases[i].half ? true : it.seq == 1);
        cr_assert(!cases[i].half || it.k == NULL || item_check(&it) != 0);
    }
}

Test(item, which_replaces_which)
{
    struct made m;
    make(&m, "5:hello", "", 4);
    struct item put = m.it, plain = {.v = view("5:plain")};
    const int64_t four = 4, three = 3, zero = 0;
    cr_assert_eq(item_replaces(&put, &m.it, NULL), 0, "the same again");
    cr_assert_eq(item_replaces(&put, &m.it, &four), 0);
    cr_assert_eq(item_replaces(&put, &m.it, &three), KRPC_E_CAS);
    put.v = view("5:other");
    cr_assert_eq(item_replaces(&put, &m.it, NULL), KRPC_E_SEQ, "same seq, other value");
    put.seq = 3;
    cr_assert_eq(item_replaces(&put, &m.it, NULL), KRPC_E_SEQ);
    cr_assert_eq(item_replaces(&put, &m.it, &four), KRPC_E_SEQ);
    cr_assert_eq(item_replaces(&put, &m.it, &zero), KRPC_E_CAS);
    put.seq = 5;
    cr_assert_eq(item_replaces(&put, &m.it, NULL), 0);
    cr_assert_eq(item_replaces(&put, &m.it, &four), 0);
    cr_assert_eq(item_replaces(&put, &m.it, &three), KRPC_E_CAS);
    cr_assert_eq(item_replaces(&plain, &plain, NULL), 0);
    cr_assert_eq(item_replaces(&m.it, &plain, &three), 0, "a signed one wins");
    m.it.seq = 0;
    plain.v = m.it.v;
    cr_assert_eq(item_replaces(&plain, &m.it, NULL), KRPC_E_SEQ, "and is not hidden");
}

Test(token, for_an_address_and_a_target)
{
    struct token_secrets s;
    struct addr a, b, six;
    struct dht_id t, u;
    uint8_t token[TOKEN_LEN], other[TOKEN_LEN];
    cr_assert_eq(addr_parse("192.0.2.1:6881", 0, &a), 0);
    cr_assert_eq(addr_parse("192.0.2.2:6881", 0, &b), 0);
    cr_assert_eq(addr_parse("[c000:201::]:6881", 0, &six), 0);
    dht_id_random(&env, &t);
    u = t;
    u.b[19] ^= 1;
    token_init(&s, &env, 0);
    token_make(&s, &a, &t, token);
    cr_assert(token_check(&s, &a, &t, token, sizeof token));
    a.port = 1;
    cr_assert(token_check(&s, &a, &t, token, sizeof token), "from another port");
    cr_assert_not(token_check(&s, &b, &t, token, sizeof token));
    cr_assert_not(token_check(&s, &six, &t, token, sizeof token));
    cr_assert_not(token_check(&s, &a, &u, token, sizeof token));
    cr_assert_not(token_check(&s, &a, &t, token, sizeof token - 1));
    uint8_t longer[TOKEN_LEN + 1] = {0};
    memcpy(longer, token, sizeof token);
    cr_assert_not(token_check(&s, &a, &t, longer, sizeof longer));
    cr_assert_not(token_check(&s, &a, &t, NULL, 0));
    for (size_t bit = 0; bit < 8 * sizeof token; bit++) {
        memcpy(other, token, sizeof token);
        other[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_not(token_check(&s, &a, &t, other, sizeof other));
    }
    token_release(&s);
    token_release(NULL);
}

Test(token, lasts_five_to_ten_minutes)
{
    static const struct {
        uint64_t made_ms, asked_ms;
        bool good;
    } cases[] = {
        {0, 0, true},
        {0, TOKEN_ROTATE_MS - 1, true},
        {0, TOKEN_ROTATE_MS, true},
        {0, 2 * TOKEN_ROTATE_MS - 1, true},
        {0, 2 * TOKEN_ROTATE_MS, false},
        {TOKEN_ROTATE_MS - 1, 2 * TOKEN_ROTATE_MS - 1, true},
        {TOKEN_ROTATE_MS - 1, 2 * TOKEN_ROTATE_MS, false},
        {0, 100 * (uint64_t)TOKEN_ROTATE_MS, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int often = 0; often < 2; often++) {
            struct token_secrets s;
            struct addr a = {.family = 4, .ip = {192, 0, 2, 1}};
            struct dht_id t = {{0}};
            uint8_t token[TOKEN_LEN];
            token_init(&s, &env, 0);
            token_tick(&s, &env, cases[i].made_ms);
            token_make(&s, &a, &t, token);
            for (uint64_t ms = cases[i].made_ms; often && ms < cases[i].asked_ms;
                 ms += 1000) {
                token_tick(&s, &env, ms);
            }
            token_tick(&s, &env, cases[i].asked_ms);
            cr_assert_eq(token_check(&s, &a, &t, token, sizeof token), cases[i].good,
                         "case %zu, %d", i, often);
        }
    }
}
