#include <criterion/criterion.h>
#include <net/if.h>
#include <string.h>

#include "base/addr.h"
#include "base/err.h"

static struct addr parse(const char *s)
{
    struct addr a;
    cr_assert_eq(addr_parse(s, 7679, &a), 0, "%s", s);
    return a;
}

Test(addr, parse_and_print)
{
    static const char *const table[][2] = {
        {"192.0.2.1:80", "192.0.2.1:80"},
        {"192.0.2.1", "192.0.2.1:7679"},
        {"0.0.0.0:0", "0.0.0.0:0"},
        {"[2001:db8::1]:65535", "[2001:db8::1]:65535"},
        {"[2001:db8::1]", "[2001:db8::1]:7679"},
        {"2001:DB8:0::1", "[2001:db8::1]:7679"},
        {"::", "[::]:7679"},
        {"fe80::1%3", "[fe80::1%3]:7679"},
        {"[fe80::1%3]:5", "[fe80::1%3]:5"},
        {"ff12::4c4e%2", "[ff12::4c4e%2]:7679"},
        {"::ffff:192.0.2.1", "192.0.2.1:7679"},
        {"[::ffff:c000:201]:9", "192.0.2.1:9"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char out[ADDR_STR_MAX];
        struct addr a = parse(table[i][0]);
        cr_assert_str_eq(addr_str(&a, out), table[i][1]);
        struct addr again = parse(out);
        cr_assert(addr_eq(&a, &again), "%s", out);
    }
}

Test(addr, parse_refuses_what_is_no_address)
{
    static const char *const bad[] = {
        "",
        ":",
        ":80",
        "192.0.2",
        "192.0.2.1:",
        "192.0.2.1:65536",
        "192.0.2.1:-1",
        "192.0.2.1: 80",
        "192.0.2.1:000080",
        "192.0.2.256",
        "192.0.2.1 ",
        "192.0.2.1%1",
        "[192.0.2.1]:80",
        "[2001:db8::1",
        "2001:db8::1]",
        "[2001:db8::1]80",
        "[2001:db8::1]:",
        "[]:80",
        "[2001:db8::1%1]:80",
        "fe80::1%",
        "fe80::1%0",
        "fe80::1%no-such-interface",
        "fe80::1%0123456789abcdef0123456789",
        "2001:db8::1::2",
        "example.org",
        "example.org:80",
        "1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17:18:19:20:21:22:23:24:25",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct addr a = {.family = 9, .port = 9};
        cr_assert_eq(addr_parse(bad[i], 1, &a), ERR_FORMAT, "%s", bad[i]);
        cr_assert_eq(a.family, 9, "outputs stay untouched");
    }
}

Test(addr, interface_names_are_scopes)
{
    struct addr a;
    cr_assert_eq(addr_parse("fe80::1%lo", 1, &a), 0);
    cr_assert_eq(a.scope, if_nametoindex("lo"));
}

Test(addr, sockaddr_round_trip)
{
    static const char *const table[] = {"192.0.2.1:80", "[2001:db8::1]:443", "fe80::2%7"};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct sockaddr_storage ss;
        struct addr a = parse(table[i]), b;
        socklen_t len = addr_to_sockaddr(&a, &ss);
        cr_assert_eq(len, a.family == 4 ? sizeof(struct sockaddr_in)
                                        : sizeof(struct sockaddr_in6));
        cr_assert_eq(addr_from_sockaddr((struct sockaddr *)&ss, &b), 0);
        cr_assert(addr_eq(&a, &b), "%s", table[i]);
    }
    struct sockaddr_storage unix_like = {.ss_family = AF_UNIX};
    struct addr a = {.family = 9}, none = {0};
    cr_assert_eq(addr_from_sockaddr((struct sockaddr *)&unix_like, &a), ERR_FORMAT);
    cr_assert_eq(a.family, 9);
    cr_assert_eq(addr_to_sockaddr(&none, &unix_like), 0);
}

Test(addr, mapped_addresses_from_a_socket_become_ipv4)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(80)};
    static const uint8_t mapped[16] = {[10] = 0xff, [11] = 0xff, 10, 1, 2, 3};
    struct addr a, b = parse("10.1.2.3:80");
    memcpy(&in6.sin6_addr, mapped, sizeof mapped);
    cr_assert_eq(addr_from_sockaddr((struct sockaddr *)&in6, &a), 0);
    cr_assert(addr_eq(&a, &b));
}

Test(addr, equality)
{
    struct addr a = parse("192.0.2.1:1"), b = parse("192.0.2.1:2"),
                c = parse("192.0.2.2:1");
    struct addr d = parse("fe80::1%1"), e = parse("fe80::1%2");
    cr_assert(addr_eq(&a, &a));
    cr_assert_not(addr_eq(&a, &b));
    cr_assert(addr_eq_ip(&a, &b));
    cr_assert_not(addr_eq_ip(&a, &c));
    cr_assert_not(addr_eq(&d, &e));
    cr_assert(addr_eq_ip(&d, &e));
    cr_assert_not(addr_eq_ip(&a, &d));
}

enum { LOOP = 1, LINK = 2, PRIV = 4, MULTI = 8, DIAL = 16 };

Test(addr, classes)
{
    static const struct {
        const char *s;
        unsigned is;
    } table[] = {
        {"127.0.0.1", LOOP | PRIV | DIAL},
        {"127.255.255.254", LOOP | PRIV | DIAL},
        {"::1", LOOP | PRIV | DIAL},
        {"169.254.9.9", LINK | PRIV | DIAL},
        {"169.253.9.9", DIAL},
        {"fe80::1", LINK | PRIV | DIAL},
        {"febf::1", LINK | PRIV | DIAL},
        {"fec0::1", DIAL},
        {"10.255.0.1", PRIV | DIAL},
        {"11.0.0.1", DIAL},
        {"172.15.0.1", DIAL},
        {"172.16.0.1", PRIV | DIAL},
        {"172.31.255.255", PRIV | DIAL},
        {"172.32.0.1", DIAL},
        {"192.168.3.4", PRIV | DIAL},
        {"192.169.3.4", DIAL},
        {"100.63.0.1", DIAL},
        {"100.64.0.1", PRIV | DIAL},
        {"100.127.0.1", PRIV | DIAL},
        {"100.128.0.1", DIAL},
        {"fc00::1", PRIV | DIAL},
        {"fdff::1", PRIV | DIAL},
        {"fe00::1", DIAL},
        {"2001:db8::1", DIAL},
        {"8.8.8.8", DIAL},
        {"239.255.76.78", MULTI},
        {"224.0.0.1", MULTI},
        {"ff12::4c4e", MULTI},
        {"255.255.255.255", 0},
        {"0.0.0.0", 0},
        {"::", 0},
        {"8.8.8.8:0", 0},
        {"::ffff:10.0.0.1", PRIV | DIAL},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct addr a = parse(table[i].s);
        unsigned is =
            (addr_is_loopback(&a) ? LOOP : 0u) | (addr_is_link_local(&a) ? LINK : 0u) |
            (addr_is_private(&a) ? PRIV : 0u) | (addr_is_multicast(&a) ? MULTI : 0u) |
            (addr_is_dialable(&a) ? DIAL : 0u);
        cr_assert_eq(is, table[i].is, "%s: %u", table[i].s, is);
    }
    struct addr none = {.port = 1};
    cr_assert_not(addr_is_dialable(&none));
    cr_assert_not(addr_is_private(&none));
}

Test(addr, wire_form)
{
    uint8_t wire[ADDR_WIRE6],
        mapped[ADDR_WIRE6] = {6, [11] = 0xff, [12] = 0xff, 192, 0, 2, 1, 0x1d, 0xff};
    struct addr a = parse("192.0.2.1:7679"), b = parse("[2001:db8::1]:258"), out;
    cr_assert_eq(addr_to_wire(&a, wire, sizeof wire), ADDR_WIRE4);
    cr_assert_arr_eq(wire, ((uint8_t[]){4, 192, 0, 2, 1, 0x1d, 0xff}), ADDR_WIRE4);
    cr_assert_eq(addr_from_wire(wire, ADDR_WIRE4, &out), 0);
    cr_assert(addr_eq(&a, &out));
    cr_assert_eq(addr_from_wire(mapped, ADDR_WIRE6, &out), 0);
    cr_assert(addr_eq(&a, &out), "one host has one address");
    cr_assert_eq(addr_to_wire(&b, wire, sizeof wire), ADDR_WIRE6);
    cr_assert_eq(addr_from_wire(wire, ADDR_WIRE6, &out), 0);
    cr_assert(addr_eq(&b, &out));
}

Test(addr, wire_form_refuses_other_lengths_and_families)
{
    uint8_t wire[ADDR_WIRE6 + 1] = {0};
    struct addr v4 = parse("192.0.2.1"), v6 = parse("::1"), none = {0},
                out = {.family = 9};
    cr_assert_eq(addr_to_wire(&v4, wire, ADDR_WIRE4 - 1), 0);
    cr_assert_eq(addr_to_wire(&v6, wire, ADDR_WIRE6 - 1), 0);
    cr_assert_eq(addr_to_wire(&none, wire, sizeof wire), 0);
    for (unsigned family = 0; family < 256; family++) {
        wire[0] = (uint8_t)family;
        for (size_t n = 0; n <= sizeof wire; n++) {
            bool good =
                (family == 4 && n == ADDR_WIRE4) || (family == 6 && n == ADDR_WIRE6);
            struct addr a;
            cr_assert_eq(addr_from_wire(wire, n, &a), good ? 0 : ERR_FORMAT);
        }
    }
    cr_assert_eq(addr_from_wire(NULL, 0, &out), ERR_FORMAT);
    cr_assert_eq(out.family, 9);
}

static bool same_source(const char *s, const char *t)
{
    uint8_t ka[ADDR_SOURCE_LEN], kb[ADDR_SOURCE_LEN];
    struct addr a = parse(s), b = parse(t);
    addr_source_key(&a, ka);
    addr_source_key(&b, kb);
    return memcmp(ka, kb, sizeof ka) == 0;
}

Test(addr, abuse_is_counted_per_host_or_64)
{
    cr_assert(same_source("192.0.2.1:1", "192.0.2.1:2"));
    cr_assert_not(same_source("192.0.2.1", "192.0.2.2"));
    cr_assert(same_source("2001:db8:1:2::1", "2001:db8:1:2:3:4:5:6"));
    cr_assert_not(same_source("2001:db8:1:2::1", "2001:db8:1:3::1"));
    cr_assert_not(same_source("1.2.3.4", "102:304::"));
}

Test(prefix, contains)
{
    static const struct {
        const char *prefix, *addr;
        bool in;
    } table[] = {
        {"192.168.0.0/16", "192.168.255.1", true},
        {"192.168.0.0/16", "192.169.0.1", false},
        {"192.168.7.9/16", "192.168.255.1", true},
        {"10.0.0.128/25", "10.0.0.127", false},
        {"10.0.0.128/25", "10.0.0.129", true},
        {"10.0.0.1", "10.0.0.1:5", true},
        {"10.0.0.1", "10.0.0.2", false},
        {"0.0.0.0/0", "203.0.113.9", true},
        {"0.0.0.0/0", "::1", false},
        {"fd00::/8", "fdab::1", true},
        {"fd00::/8", "fcab::1", false},
        {"2001:db8::/33", "2001:db8:7fff::1", true},
        {"2001:db8::/33", "2001:db8:8000::1", false},
        {"::/0", "2001:db8::1", true},
        {"::ffff:10.0.0.0/104", "10.9.9.9", true},
        {"::ffff:10.0.0.0/104", "11.9.9.9", false},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct prefix p;
        struct addr a = parse(table[i].addr);
        cr_assert_eq(prefix_parse(table[i].prefix, &p), 0, "%s", table[i].prefix);
        cr_assert_eq(prefix_contains(&p, &a), table[i].in, "%s %s", table[i].prefix,
                     table[i].addr);
    }
    struct prefix none = {0};
    struct addr a = parse("10.0.0.1"), no_addr = {0};
    cr_assert_not(prefix_contains(&none, &a));
    cr_assert_not(prefix_contains(&none, &no_addr));
}

Test(prefix, refuses)
{
    static const char *const bad[] = {
        "",           "/",          "/8",           "10.0.0.0/",          "10.0.0.0/33",
        "10.0.0/8",   "::/129",     "10.0.0.0/-1",  "10.0.0.0/8/8",       "10.0.0.0:80/8",
        "[fd00::]/8", "fe80::%1/8", "10.0.0.0/0x8", "::ffff:10.0.0.0/95", "10.0.0.0/0008",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct prefix p = {.bits = 9};
        cr_assert_eq(prefix_parse(bad[i], &p), ERR_FORMAT, "%s", bad[i]);
        cr_assert_eq(p.bits, 9);
    }
}
