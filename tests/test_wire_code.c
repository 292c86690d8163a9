/* Invite codes. The literals were made by an independent implementation of BIP 350. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "wire.h"

static const char code_plain[] =
    "linnet1qyqqqqgzqvzq2ps8pqys5zcvp58q7yq3zgf3g9gkzuvpjxsmrsw3u8uqsxpg8py9s6rc3"
    "zv23wxgmr50jzge9yu5jktf0xyen2dee8v7najeyqyqpxp9ts";
static const char code_a4[] =
    "linnet1qyqqqqgzqvzq2ps8pqys5zcvp58q7yq3zgf3g9gkzuvpjxsmrsw3u8uqsxpg8py9s6rc3"
    "zv23wxgmr50jzge9yu5jktf0xyen2dee8v7najeyqyqqnqqqqsprhls6cps7k";
static const char code_a46[] =
    "linnet1qyqqqqgzqvzq2ps8pqys5zcvp58q7yq3zgf3g9gkzuvpjxsmrsw3u8uqsxpg8py9s6rc3"
    "zv23wxgmr50jzge9yu5jktf0xyen2dee8v7najeyqyqqnqqqqsprhlsvgqppkuqqqqqqqqqqqqqq"
    "qqqqqgalu6r04r4";
static const char code_a66[] =
    "linnet1qyqqqqgzqvzq2ps8pqys5zcvp58q7yq3zgf3g9gkzuvpjxsmrsw3u8uqsxpg8py9s6rc3"
    "zv23wxgmr50jzge9yu5jktf0xyen2dee8v7najeyqyqqcsqzrdcqqqqqqqqqqqqqqqqqqq3mlcxy"
    "qqsmwqqqqqqqqqqqqqqqqqqqywl7en3jtq";
static const char code_three[] =
    "linnet1qyqqqqgzqvzq2ps8pqys5zcvp58q7yq3zgf3g9gkzuvpjxsmrsw3u8uqsxpg8py9s6rc3"
    "zv23wxgmr50jzge9yu5jktf0xyen2dee8v7najeyqyqqnqqqqsprhlsfsqqqgq3mlcycqqqyqgal"
    "u8875h4";
static const char code_v2[] =
    "linnet1qgqqqqgzqvzq2ps8pqys5zcvp58q7yq3zgf3g9gkzuvpjxsmrsw3u8uqsxpg8py9s6rc3"
    "zv23wxgmr50jzge9yu5jktf0xyen2dee8v7najeyqyq7ka55x";
static const char code_v0[] =
    "linnet1qqqqqqgzqvzq2ps8pqys5zcvp58q7yq3zgf3g9gkzuvpjxsmrsw3u8uqsxpg8py9s6rc3"
    "zv23wxgmr50jzge9yu5jktf0xyen2dee8v7najeyqyqn3j2e9";
static const char code_flags[] =
    "linnet1qyqsqqgzqvzq2ps8pqys5zcvp58q7yq3zgf3g9gkzuvpjxsmrsw3u8uqsxpg8py9s6rc3"
    "zv23wxgmr50jzge9yu5jktf0xyen2dee8v7najeyqyqmrj0c6";
static const char code_short[] =
    "linnet1qyqqqqgzqvzq2ps8pqys5zcvp58q7yq3zgf3g9gkzuvpjxsmrsw3u8uqsxpg8py9s6rc3"
    "zv23wxgmr50jzge9yu5jktf0xyen2dee8v7najeyqq2hfnmz";
static const char code_trail[] =
    "linnet1qyqqqqgzqvzq2ps8pqys5zcvp58q7yq3zgf3g9gkzuvpjxsmrsw3u8uqsxpg8py9s6rc3"
    "zv23wxgmr50jzge9yu5jktf0xyen2dee8v7najeyqyqqs67gaes";
static const char code_family[] =
    "linnet1qyqqqqgzqvzq2ps8pqys5zcvp58q7yq3zgf3g9gkzuvpjxsmrsw3u8uqsxpg8py9s6rc3"
    "zv23wxgmr50jzge9yu5jktf0xyen2dee8v7najeyqyqqhqqqqsprhlskwgxvp";
static const char code_prefix[] =
    "linnex1qyqqqqgzqvzq2ps8pqys5zcvp58q7yq3zgf3g9gkzuvpjxsmrsw3u8uqsxpg8py9s6rc3"
    "zv23wxgmr50jzge9yu5jktf0xyen2dee8v7najeyqyqfuhwcn";
static const char code_pad[] =
    "linnet1qyqqqqgzqvzq2ps8pqys5zcvp58q7yq3zgf3g9gkzuvpjxsmrsw3u8uqsxpg8py9s6rc3"
    "zv23wxgmr50jzge9yu5jktf0xyen2dee8v7najeyqyqqnqqqqsprhl38w49ry";
static const char code_pad5[] =
    "linnet1qyqqqqgzqvzq2ps8pqys5zcvp58q7yq3zgf3g9gkzuvpjxsmrsw3u8uqsxpg8py9s6rc3"
    "zv23wxgmr50jzge9yu5jktf0xyen2dee8v7najeyqyqq4xnuv2";
static const char code_port0[] =
    "linnet1qyqqqqgzqvzq2ps8pqys5zcvp58q7yq3zgf3g9gkzuvpjxsmrsw3u8uqsxpg8py9s6rc3"
    "zv23wxgmr50jzge9yu5jktf0xyen2dee8v7najeyqyqqnqqqqspqqqqnqs920";
static const char code_empty[] = "linnet1rmxwuu";
static const char code_version_only[] = "linnet1qyqy34vn";
static const char code_bech32[] =
    "linnet1qyqqqqgzqvzq2ps8pqys5zcvp58q7yq3zgf3g9gkzuvpjxsmrsw3u8uqsxpg8py9s6rc3"
    "zv23wxgmr50jzge9yu5jktf0xyen2dee8v7najeyqyq563fwj";

static struct wire_code sample(void)
{
    struct wire_code v = {.expiry_s = 0x65920080};
    for (uint8_t i = 0; i < 32; i++) {
        v.root[i] = i;
        v.secret[i] = (uint8_t)(0x80 + i);
    }
    return v;
}

static int parse(const char *s, struct addr *a)
{
    return addr_parse(s, 0, a);
}

/* Decodes from an allocation of exactly this size. */
static int get_n(const char *s, size_t n, struct wire_code *v)
{
    char *copy = malloc(n > 0 ? n : 1);
    cr_assert_not_null(copy);
    memcpy(copy, s, n);
    int rc = wire_code_get(copy, n, v);
    free(copy);
    return rc;
}

static int get(const char *s)
{
    struct wire_code v;
    return get_n(s, strlen(s), &v);
}

static void check(const struct wire_code *v, const char *want)
{
    char out[WIRE_CODE_MAX + 1];
    struct wire_code got;
    cr_assert_eq(wire_code_put(v, out), 0);
    cr_assert_str_eq(out, want);
    cr_assert_eq(get_n(out, strlen(out), &got), 0);
    cr_assert_arr_eq(got.root, v->root, 32);
    cr_assert_arr_eq(got.secret, v->secret, 32);
    cr_assert_eq(got.expiry_s, v->expiry_s);
    cr_assert_eq(got.n_addrs, v->n_addrs);
    for (size_t i = 0; i < v->n_addrs; i++) {
        cr_assert(addr_eq(&got.addrs[i], &v->addrs[i]));
    }
}

Test(wire_code, exact)
{
    struct wire_code v = sample();
    check(&v, code_plain);
    v.n_addrs = 1;
    cr_assert_eq(parse("192.0.2.1:7679", &v.addrs[0]), 0);
    check(&v, code_a4);
    v.n_addrs = 2;
    cr_assert_eq(parse("[2001:db8::1]:7679", &v.addrs[1]), 0);
    check(&v, code_a46);
    v.addrs[0] = v.addrs[1];
    check(&v, code_a66);
    cr_assert_eq(strlen(code_plain), 125u);
    cr_assert(strlen(code_a66) <= WIRE_CODE_MAX);
}

Test(wire_code, encoder_limits)
{
    char out[WIRE_CODE_MAX + 1];
    struct wire_code v = sample();
    v.n_addrs = WIRE_CODE_ADDRS_MAX + 1;
    cr_assert_eq(wire_code_put(&v, out), ERR_LIMIT);
    v.n_addrs = 1;
    cr_assert_eq(wire_code_put(&v, out), ERR_ARG, "no address");
    cr_assert_eq(parse("224.0.0.1:7679", &v.addrs[0]), 0);
    cr_assert_eq(wire_code_put(&v, out), ERR_ARG);
}

Test(wire_code, case_and_blanks)
{
    char s[WIRE_CODE_MAX + 16];
    snprintf(s, sizeof s, " \t%s\r\n ", code_plain);
    cr_assert_eq(get(s), 0);
    snprintf(s, sizeof s, "%s", code_plain);
    for (char *p = s; *p != '\0'; p++) {
        *p = (char)(*p >= 'a' && *p <= 'z' ? *p - 'a' + 'A' : *p);
    }
    cr_assert_eq(get(s), 0, "upper case, as in a QR code");
    s[20] = 'a';
    cr_assert_eq(get(s), ERR_FORMAT, "mixed case");
    snprintf(s, sizeof s, "%s", code_plain);
    s[0] = 'L';
    cr_assert_eq(get(s), ERR_FORMAT, "mixed case");
    snprintf(s, sizeof s, "%.60s %s", code_plain, code_plain + 60);
    cr_assert_eq(get(s), ERR_FORMAT, "a blank inside");
}

Test(wire_code, refusals)
{
    cr_assert_eq(get(code_v2), ERR_NEWER);
    cr_assert_eq(get(code_flags), ERR_NEWER);
    cr_assert_eq(get(code_v0), ERR_FORMAT);
    cr_assert_eq(get(code_short), ERR_FORMAT);
    cr_assert_eq(get(code_trail), ERR_FORMAT);
    cr_assert_eq(get(code_family), ERR_FORMAT);
    cr_assert_eq(get(code_three), ERR_FORMAT, "three addresses");
    cr_assert_eq(get(code_port0), ERR_FORMAT);
    cr_assert_eq(get(code_prefix), ERR_FORMAT);
    cr_assert_eq(get(code_pad), ERR_FORMAT, "padding that is not zero");
    cr_assert_eq(get(code_pad5), ERR_FORMAT, "padding of a whole character");
    cr_assert_eq(get(code_empty), ERR_FORMAT);
    cr_assert_eq(get(code_version_only), ERR_FORMAT);
    cr_assert_eq(get(code_bech32), ERR_FORMAT, "the checksum of BIP 173");
    cr_assert_eq(get(""), ERR_FORMAT);
    cr_assert_eq(get("   "), ERR_FORMAT);
    cr_assert_eq(get("linnet"), ERR_FORMAT);
    cr_assert_eq(get("linnet1"), ERR_FORMAT);
}

Test(wire_code, cut_anywhere)
{
    struct wire_code v;
    for (size_t i = 0; i < strlen(code_a46); i++) {
        cr_assert_eq(get_n(code_a46, i, &v), ERR_FORMAT, "taken at %zu", i);
        cr_assert_eq(get(code_a46 + i + 1), ERR_FORMAT, "taken from %zu", i + 1);
    }
    cr_assert_eq(get_n(code_a46, sizeof code_a46, &v), ERR_FORMAT, "with its NUL");
}

/* One character mistyped, every way, and two neighbours exchanged. */
Test(wire_code, mistyped)
{
    char s[sizeof code_a4];
    for (size_t i = 0; i < sizeof code_a4 - 1; i++) {
        for (int c = -128; c < 128; c++) {
            memcpy(s, code_a4, sizeof s);
            s[i] = (char)c;
            if (s[i] != code_a4[i]) {
                struct wire_code v;
                int rc = wire_code_get(s, sizeof s - 1, &v);
                cr_assert_eq(rc, ERR_FORMAT, "taken with %d at %zu", c, i);
            }
        }
    }
    for (size_t i = 0; i + 2 < sizeof code_a4; i++) {
        memcpy(s, code_a4, sizeof s);
        s[i] = code_a4[i + 1];
        s[i + 1] = code_a4[i];
        cr_assert(s[i] == s[i + 1] || get(s) == ERR_FORMAT, "exchanged at %zu", i);
    }
}

Test(wire_code, output_untouched_on_failure)
{
    struct wire_code v;
    memset(&v, 0x55, sizeof v);
    cr_assert_eq(get_n(code_three, strlen(code_three), &v), ERR_FORMAT);
    for (size_t i = 0; i < sizeof v.secret; i++) {
        cr_assert_eq(v.secret[i], 0x55);
    }
}
