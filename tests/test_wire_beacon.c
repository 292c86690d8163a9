/* Beacons. Expected bytes come from Python's hashlib.blake2b. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "wire.h"

static void unhex(uint8_t *out, size_t n, const char *hex)
{
    size_t got;
    cr_assert_eq(sodium_hex2bin(out, n, hex, strlen(hex), NULL, &got, NULL), 0);
    cr_assert_eq(got, n);
}

static void sample(uint8_t key[32], struct wire_beacon *v)
{
    for (uint8_t i = 0; i < 32; i++) {
        key[i] = i;
    }
    *v = (struct wire_beacon){.port = 7679, .presence = 2, .flags = BEACON_FLAG_ADD};
    for (uint8_t i = 0; i < 16; i++) {
        v->nonce[i] = (uint8_t)(0xa0 + i);
    }
}

static void check(const char *source, const char *hex)
{
    struct wire_beacon v, got;
    uint8_t key[32], out[WIRE_BEACON], want[WIRE_BEACON];
    struct addr a;
    sample(key, &v);
    cr_assert_eq(addr_parse(source, 0, &a), 0);
    wire_beacon_put(out, key, &a, &v);
    unhex(want, sizeof want, hex);
    cr_assert_arr_eq(out, want, WIRE_BEACON);
    cr_assert(wire_beacon_get(out, WIRE_BEACON, key, &a, &got));
    cr_assert_arr_eq(got.nonce, v.nonce, 16);
    cr_assert(got.port == v.port && got.presence == v.presence && got.flags == v.flags);
}

Test(wire_beacon, exact)
{
    check("192.0.2.1:7679", "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf74d2dfd4e17dd700"
                            "4bb31b36ad8cc180a4cd0190bae6af70");
    check("[fe80::a]:7680", "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf74d2dfd4e17dd700"
                            "fd31c7634a58d6d0f33696e3664bfa63");
}

Test(wire_beacon, a_member_is_told)
{
    struct wire_beacon v, got;
    uint8_t key[32], out[WIRE_BEACON], want[WIRE_BEACON];
    struct addr a;
    sample(key, &v);
    v.flags = 0;
    memcpy(v.member, "MEMB", sizeof v.member);
    cr_assert_eq(addr_parse("192.0.2.1:7679", 0, &a), 0);
    wire_beacon_put(out, key, &a, &v);
    unhex(want, sizeof want,
          "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf74d2dfd5ac389a42"
          "9e58f3be82fc76624f6043e8d6b3ef0e");
    cr_assert_arr_eq(out, want, WIRE_BEACON);
    cr_assert(wire_beacon_get(out, WIRE_BEACON, key, &a, &got));
    cr_assert_arr_eq(got.member, v.member, sizeof v.member);
}

Test(wire_beacon, scope_is_local)
{
    struct wire_beacon v, got;
    uint8_t key[32], out[WIRE_BEACON];
    struct addr a, b;
    sample(key, &v);
    cr_assert_eq(addr_parse("[fe80::a]:7680", 0, &a), 0);
    b = a;
    b.scope = 7;
    wire_beacon_put(out, key, &a, &v);
    cr_assert(wire_beacon_get(out, WIRE_BEACON, key, &b, &got));
}

Test(wire_beacon, refusals)
{
    struct wire_beacon v, got;
    uint8_t key[32], out[WIRE_BEACON], longer[WIRE_BEACON + 1] = {0};
    struct addr a, b;
    sample(key, &v);
    cr_assert_eq(addr_parse("192.0.2.1:7679", 0, &a), 0);
    wire_beacon_put(out, key, &a, &v);
    for (size_t i = 0; i < WIRE_BEACON; i++) {
        uint8_t *cut = malloc(i > 0 ? i : 1);
        cr_assert_not_null(cut);
        memcpy(cut, out, i);
        cr_assert(!wire_beacon_get(cut, i, key, &a, &got), "taken at %zu", i);
        free(cut);
    }
    memcpy(longer, out, WIRE_BEACON);
    cr_assert(!wire_beacon_get(longer, sizeof longer, key, &a, &got));
    for (size_t bit = 0; bit < 8 * WIRE_BEACON; bit++) {
        out[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert(!wire_beacon_get(out, WIRE_BEACON, key, &a, &got), "bit %zu", bit);
        out[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t bit = 0; bit < 256; bit++) {
        key[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert(!wire_beacon_get(out, WIRE_BEACON, key, &a, &got), "key bit %zu", bit);
        key[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    b = a;
    b.port++;
    cr_assert(!wire_beacon_get(out, WIRE_BEACON, key, &b, &got), "another port");
    b = a;
    b.ip[3]++;
    cr_assert(!wire_beacon_get(out, WIRE_BEACON, key, &b, &got), "another address");
    b = (struct addr){0};
    cr_assert(!wire_beacon_get(out, WIRE_BEACON, key, &b, &got), "no address");
    cr_assert(wire_beacon_get(out, WIRE_BEACON, key, &a, &got));
}

Test(wire_beacon, keys)
{
    uint8_t secret[32], sender[32], key[32], want[32];
    struct wire_beacon v;
    sample(secret, &v);
    memset(sender, 'd', sizeof sender);
    wire_beacon_key_presence(secret, key);
    unhex(want, 32, "94c35d90656a2df5e3866fddaae55165a773f998cdcea82b097b57970f1f2d7f");
    cr_assert_arr_eq(key, want, 32);
    wire_beacon_key_pair(secret, sender, key);
    unhex(want, 32, "8415a7a45b259691c12e13e6d14800acba932f728470874c70cae8d3e8c71122");
    cr_assert_arr_eq(key, want, 32);
    wire_beacon_key_network(secret, key);
    unhex(want, 32, "42fa8b7ff8800814ca11a42ab2fadc7af9866bf677fd0c3ef2c3f59747d3884f");
    cr_assert_arr_eq(key, want, 32);
    wire_beacon_key_invite(secret, key);
    unhex(want, 32, "f07ba07c402fd57e3cd584271bcce957732d41a34eb62e4e9544050eaa770021");
    cr_assert_arr_eq(key, want, 32);
}
