#include <criterion/criterion.h>

#include "base/err.h"
#include "scope.h"

static struct scope s;

static struct addr ip(const char *text)
{
    struct addr a;
    cr_assert_eq(addr_parse(text, 7679, &a), 0, "%s", text);
    return a;
}

static bool dial(const char *text)
{
    struct addr a = ip(text);
    return scope_may_dial(&s, &a);
}

static bool answer(const char *text)
{
    struct addr a = ip(text);
    return scope_may_answer(&s, &a);
}

static bool send_to(const char *text)
{
    struct addr a = ip(text);
    return scope_may_send(&s, &a);
}

static void office(enum scope_mode mode)
{
    struct lan_interface v[] = {
        {.ifindex = 1, .addr = ip("127.0.0.1"), .bits = 8, .up = true},
        {.ifindex = 2, .addr = ip("192.168.1.5"), .bits = 24, .up = true},
        {.ifindex = 2, .addr = ip("203.0.113.5"), .bits = 28, .up = true},
        {.ifindex = 2, .addr = ip("[fe80::5%2]"), .bits = 64, .up = true},
    };
    struct prefix subnets[2];
    cr_assert_eq(prefix_parse("10.1.0.0/16", &subnets[0]), 0);
    cr_assert_eq(prefix_parse("198.51.100.0/24", &subnets[1]), 0);
    scope_init(&s, mode);
    scope_set_interfaces(&s, v, sizeof v / sizeof v[0]);
    scope_set_subnets(&s, subnets, 2);
}

Test(scope, lan_dials_what_is_near)
{
    office(SCOPE_LAN);
    cr_expect(dial("127.0.0.1"));
    cr_expect(dial("192.168.1.77"));
    cr_expect(dial("203.0.113.2"), "on-link, though public");
    cr_expect(dial("[fe80::9%2]"));
    cr_expect(dial("10.1.200.3"), "in a configured subnet");
    cr_expect_not(dial("192.168.2.77"));
    cr_expect_not(dial("10.2.0.1"));
    cr_expect_not(dial("198.51.100.7"), "configured, but not private");
    cr_expect_not(dial("8.8.8.8"));
    cr_expect_not(dial("[2001:db8::1]"));
    cr_expect_not(dial("0.0.0.0"));
    cr_expect_not(dial("192.168.1.77:0"));
}

Test(scope, lan_peers_are_private)
{
    office(SCOPE_LAN);
    struct addr near = ip("10.9.9.9"), far = ip("8.8.8.8");
    cr_expect_eq(scope_add_peer(&s, &near), 0);
    cr_expect_eq(scope_add_peer(&s, &near), 0);
    cr_expect_eq(s.n_peers, 1);
    cr_expect_eq(scope_add_peer(&s, &far), ERR_REFUSED);
    cr_expect(dial("10.9.9.9:1234"));
    cr_expect_not(dial("10.9.9.8"));
    cr_expect_not(dial("8.8.8.8"));
}

Test(scope, lan_answers_private_sources)
{
    office(SCOPE_LAN);
    cr_expect(answer("172.16.4.4"));
    cr_expect(answer("[fd12::1]"));
    cr_expect(answer("169.254.3.4"));
    cr_expect(answer("203.0.113.2"), "on-link");
    cr_expect_not(answer("203.0.113.77"));
    cr_expect_not(answer("[2001:db8::1]"));
}

Test(scope, lan_datagrams_go_back_to_who_was_heard)
{
    office(SCOPE_LAN);
    struct addr a = ip("10.7.7.7:5000");
    cr_expect(send_to("239.255.76.78:7678"));
    cr_expect(send_to("192.168.1.9"));
    cr_expect_not(send_to("10.7.7.7:5000"));
    scope_heard(&s, &a);
    cr_expect(send_to("10.7.7.7:5000"));
    cr_expect_not(send_to("10.7.7.7:5001"));
    for (unsigned i = 0; i < SCOPE_HEARD; i++) {
        struct addr other = ip("10.8.0.0:9");
        other.ip[3] = (uint8_t)i;
        scope_heard(&s, &other);
    }
    cr_expect_not(send_to("10.7.7.7:5000"), "the memory is short");
}

Test(scope, internet_goes_everywhere)
{
    office(SCOPE_INTERNET);
    struct addr far = ip("8.8.8.8");
    cr_expect_eq(scope_add_peer(&s, &far), 0);
    cr_expect(dial("8.8.4.4"));
    cr_expect(answer("[2001:db8::1]"));
    cr_expect(send_to("8.8.4.4"));
    cr_expect_not(dial("239.1.1.1"), "no carrier goes to a group");
}
