#include <criterion/criterion.h>
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dht/id.h"
#include "dht/sha1.h"
#include "seeded.h"

static uint64_t state;
static const struct env env = {.ctx = &state, .random = seeded};

static void start(void)
{
    cr_assert(sodium_init() >= 0);
    state = 1;
}

TestSuite(dht_id, .init = start);
TestSuite(sha1, .init = start);

static struct dht_id of(const char *hex)
{
    struct dht_id id = {{0}};
    cr_assert_eq(sodium_hex2bin(id.b, sizeof id.b, hex, strlen(hex), NULL, NULL, NULL),
                 0);
    return id;
}

static struct addr ip(const char *s)
{
    struct addr a;
    cr_assert_eq(addr_parse(s, 6881, &a), 0, "%s", s);
    return a;
}

Test(dht_id, distance_is_xor)
{
    struct dht_id t = of("80"), a = of("00"), b = of("ff"), c = of("81");
    cr_assert_lt(dht_id_cmp(&t, &c, &b), 0, "01 is less than 7f");
    cr_assert_gt(dht_id_cmp(&t, &a, &b), 0, "80 is more than 7f");
    cr_assert_eq(dht_id_cmp(&t, &b, &b), 0);
    cr_assert_lt(dht_id_cmp(&t, &t, &c), 0);
    a = of("0000000000000000000000000000000000000001");
    b = of("0000000000000000000000000000000000000002");
    t = of("0000000000000000000000000000000000000003");
    cr_assert_gt(dht_id_cmp(&t, &a, &b), 0, "the last byte counts");
    cr_assert(dht_id_eq(&a, &a));
    cr_assert_not(dht_id_eq(&a, &b));
    cr_assert(dht_id_is_zero(&(struct dht_id){{0}}));
    cr_assert_not(dht_id_is_zero(&a));
}

Test(dht_id, distance_is_a_part_of_the_space)
{
    struct dht_id zero = of("00"), half = of("80"),
                  last = of("ffffffffffffffffffffffffffffffffffffffff");
    cr_assert_eq(dht_id_distance(&zero, &zero), 0);
    cr_assert_eq(dht_id_distance(&zero, &half), 0.5);
    cr_assert_eq(dht_id_distance(&half, &zero), 0.5);
    cr_assert_gt(dht_id_distance(&zero, &last), 0.999999);
    struct dht_id one = of("0000000000000000000000000000000000000001");
    cr_assert_float_eq(dht_id_distance(&zero, &one) * ldexp(1, 160), 1, 1e-9);
}

Test(dht_id, bits_count_from_the_most_significant)
{
    struct dht_id zero = of("00");
    for (unsigned i = 0; i < DHT_ID_BITS; i++) {
        struct dht_id id = zero;
        id.b[i / 8] = (uint8_t)(1u << (7 - i % 8));
        for (unsigned j = 0; j < DHT_ID_BITS; j++) {
            cr_assert_eq(dht_id_bit(&id, j), i == j);
        }
        cr_assert_eq(dht_id_shared(&zero, &id), i);
        id.b[DHT_ID_LEN - 1] |= 1;
        cr_assert_eq(dht_id_shared(&zero, &id), i);
    }
    cr_assert_eq(dht_id_shared(&zero, &zero), DHT_ID_BITS);
}

Test(dht_id, random_ones_of_a_bucket)
{
    struct dht_id base, id, before = {{0}};
    dht_id_random(&env, &base);
    for (unsigned bits = 0; bits < DHT_ID_BITS; bits++) {
        for (int i = 0; i < 4; i++) {
            dht_id_random_near(&env, &base, bits, &id);
            cr_assert_eq(dht_id_shared(&base, &id), bits);
            cr_assert(bits > DHT_ID_BITS - 16 || !dht_id_eq(&id, &before), "random");
            before = id;
        }
    }
    dht_id_random_near(&env, &base, 9, &base);
}

/* The BEP's own ids, and prefixes of other addresses (tests/vectors/README.md). */
Test(dht_id, bep42_vectors)
{
    char path[512], line[256];
    (void)snprintf(path, sizeof path, "%s/vectors/bep42.txt", getenv("LINNET_TESTS"));
    FILE *f = fopen(path, "r");
    cr_assert_not_null(f);
    unsigned ids = 0, calcs = 0;
    while (fgets(line, sizeof line, f) != NULL) {
        char kind[8], where[64], prefix[8], example[64];
        unsigned rand;
        if (sscanf(line, "%7s %63s %u %7s %63s", kind, where, &rand, prefix, example) !=
                5 ||
            line[0] == '#') {
            continue;
        }
        struct addr a = ip(where);
        struct dht_id id = strcmp(kind, "id") == 0 ? of(example) : of(prefix);
        id.b[DHT_ID_LEN - 1] = (uint8_t)rand;
        *(strcmp(kind, "id") == 0 ? &ids : &calcs) += 1;
        cr_assert(dht_id_fits(&id, &a), "%s", where);
        bool exempt = dht_id_exempt(&a);
        cr_assert_eq(exempt, strcmp(where, "127.0.0.1") == 0);
        for (unsigned bit = 0; bit < 24 && !exempt; bit++) {
            struct dht_id other = id;
            other.b[bit / 8] ^= (uint8_t)(0x80u >> bit % 8);
            cr_assert_eq(dht_id_fits(&other, &a), bit >= 21, "%s, bit %u", where, bit);
        }
        id.b[DHT_ID_LEN - 1] ^= 1;
        cr_assert_eq(dht_id_fits(&id, &a), exempt, "%s: the seed counts", where);
        id.b[DHT_ID_LEN - 1] ^= 9;
        cr_assert(dht_id_fits(&id, &a), "%s: but three bits of it only", where);
    }
    cr_assert_eq(fclose(f), 0);
    cr_assert_eq(ids, 5);
    cr_assert_eq(calcs, 6);
}

Test(dht_id, made_for_an_address)
{
    static const char *const addrs[] = {"8.8.8.8", "203.0.113.77", "255.1.2.3",
                                        "2001:db8::1", "2a02:2f0e:1234:5678::9"};
    for (size_t i = 0; i < sizeof addrs / sizeof *addrs; i++) {
        struct addr a = ip(addrs[i]), other = ip(i < 3 ? "9.9.9.9" : "2600::1");
        for (int n = 0; n < 50; n++) {
            struct dht_id id, next;
            dht_id_for_addr(&env, &a, &id);
            dht_id_for_addr(&env, &a, &next);
            cr_assert(dht_id_fits(&id, &a), "%s", addrs[i]);
            cr_assert_not(dht_id_eq(&id, &next));
            a.port++;
            cr_assert(dht_id_fits(&id, &a), "the port does not matter");
            cr_assert_not(dht_id_fits(&id, &other));
        }
    }
}

Test(dht_id, local_addresses_are_exempt)
{
    static const char *const exempt[] = {
        "10.0.0.1",    "10.255.255.255", "172.16.0.1",      "172.31.9.9",
        "192.168.0.1", "169.254.1.1",    "127.255.255.255", "::1",
        "fe80::1",     "febf::1",        "fc00::1",         "fdff::1",
    };
    static const char *const not_exempt[] = {
        "9.255.255.255", "11.0.0.1",    "172.15.0.1", "172.32.0.1", "192.167.1.1",
        "192.169.0.1",   "169.253.1.1", "128.0.0.1",  "100.64.0.1", "::2",
        "fec0::1",       "fbff::1",     "2001:db8::", "1.2.3.4",
    };
    struct dht_id id;
    for (size_t i = 0; i < sizeof exempt / sizeof *exempt; i++) {
        struct addr a = ip(exempt[i]);
        dht_id_random(&env, &id);
        cr_assert(dht_id_exempt(&a), "%s", exempt[i]);
        cr_assert(dht_id_fits(&id, &a), "%s", exempt[i]);
    }
    for (size_t i = 0; i < sizeof not_exempt / sizeof *not_exempt; i++) {
        struct addr a = ip(not_exempt[i]);
        cr_assert_not(dht_id_exempt(&a), "%s", not_exempt[i]);
    }
}

/* Examples of FIPS 180 (NIST's "SHA1.pdf") and of RFC 3174. */
Test(sha1, published_examples)
{
    static const struct {
        const char *text, *hex;
        size_t times;
    } cases[] = {
        {"abc", "a9993e364706816aba3e25717850c26c9cd0d89d", 1},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "84983e441c3bd26ebaae4aa1f95129e5e54670f1", 1},
        {"a", "34aa973cd4c4daa4f61eeb2bdbad27316534016f", 1000000},
        {"0123456701234567012345670123456701234567012345670123456701234567",
         "dea356a2cddd90c7a7ecedc5ebb563934f460452", 10},
        {"", "da39a3ee5e6b4b0d3255bfef95601890afd80709", 1},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnop"
         "qk"
         "lmnopqrlmnopqrsmnopqrstnopqrstu",
         "a49b2446a02c645bf419f995b67091253a04a259", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t out[SHA1_LEN];
        struct sha1 s;
        sha1_init(&s);
        for (size_t n = 0; n < cases[i].times; n++) {
            sha1_update(&s, cases[i].text, strlen(cases[i].text));
        }
        sha1_final(&s, out);
        struct dht_id want = of(cases[i].hex);
        cr_assert_arr_eq(out, want.b, SHA1_LEN, "case %zu", i);
    }
}

/* Every length around the block and every way to cut it gives the same. The last hash is
 * that of the hashes before it, as Python's hashlib computes it. */
Test(sha1, lengths_and_pieces)
{
    enum { LEN_MAX = 200 };
    uint8_t data[LEN_MAX], whole[SHA1_LEN], pieces[SHA1_LEN];
    struct sha1 all;
    for (size_t i = 0; i < LEN_MAX; i++) {
        data[i] = (uint8_t)i;
    }
    sha1_init(&all);
    for (size_t len = 0; len <= LEN_MAX; len++) {
        sha1(data, len, whole);
        sha1_update(&all, whole, sizeof whole);
        for (size_t cut = 0; cut <= len; cut += 1 + len / 9) {
            struct sha1 s;
            sha1_init(&s);
            sha1_update(&s, data, cut);
            sha1_update(&s, NULL, 0);
            sha1_update(&s, data + cut, len - cut);
            sha1_final(&s, pieces);
            cr_assert_arr_eq(pieces, whole, SHA1_LEN, "%zu of %zu", cut, len);
        }
    }
    sha1_final(&all, whole);
    struct dht_id want = of("30f906e3c78b841ee4b73d0cb2850660435758b3");
    cr_assert_arr_eq(whole, want.b, SHA1_LEN);
}
