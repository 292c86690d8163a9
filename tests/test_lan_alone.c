/* LAN discovery beside multicast: beacons to where contacts were met. */
#include <criterion/criterion.h>

#include <string.h>

#include "base/err.h"
#include "lan.h"
#include "link_world.h"

enum { START = 1000000 };

static const uint8_t KEY_A[32] = {1}, KEY_B[32] = {2};
static struct world_env seeded;

static struct addr at(const char *s)
{
    struct addr a;
    cr_assert_eq(addr_parse(s, 0, &a), 0, "%s", s);
    return a;
}

static struct lan *host(const char *ip)
{
    if (seeded.env.random == NULL) {
        world_env(&seeded, 1);
    }
    struct lan *l = lan_new(&seeded.env);
    cr_assert_not_null(l);
    struct lan_interface f = {.ifindex = 2, .addr = at(ip), .bits = 24, .up = true};
    cr_assert_eq(lan_set_interfaces(l, &f, 1, START), 0);
    lan_set_ports(l, 7679, 7679, START);
    return l;
}

static int watch1(struct lan *l, enum lan_kind kind, uint32_t ref, const uint8_t key[32],
                  uint64_t now)
{
    uint8_t keys[1][32];
    memcpy(keys[0], key, 32);
    return lan_watch(l, kind, ref, (const uint8_t(*)[32])keys, 1, now);
}

static void begin(struct lan *l, const uint8_t key[32])
{
    cr_assert_eq(lan_set_keys(l, key, NULL, 0, START), 0);
}

static size_t drain(struct lan *l, struct lan_out *outs, size_t max)
{
    struct lan_out o;
    size_t n = 0;
    while (lan_next_out(l, &o)) {
        cr_assert(n < max);
        outs[n++] = o;
    }
    return n;
}

/* Whether a sends anything to b's address alone in its next round, and with which flags:
 * bits of what b reads; and gives what a sends to b, only that or only multicast. */
static unsigned round_to(struct lan *a, struct lan *b, bool multicast, bool alone,
                         uint64_t now)
{
    struct lan_out outs[8];
    unsigned n = 0;
    lan_tick(a, now);
    size_t count = drain(a, outs, 8);
    for (size_t i = 0; i < count; i++) {
        n += !outs[i].multicast;
        if (outs[i].multicast ? multicast : alone) {
            (void)lan_recv(b, &outs[i].source, outs[i].bytes, WIRE_BEACON, now);
        }
    }
    struct lan_event e;
    while (lan_next_event(b, &e)) {
    }
    return n;
}

Test(lan_alone, alone_only_where_multicast_does_not_pass)
{
    struct lan *a = host("10.0.0.1"), *b = host("10.0.0.2");
    struct lan_met to_b = {.ref = 2, .addr = at("10.0.0.2:7679")};
    struct lan_met to_a = {.ref = 1, .addr = at("10.0.0.1:7679")};
    uint64_t now = START, step = LAN_INTERVAL_MS + LAN_JITTER_MS;
    begin(a, KEY_A);
    begin(b, KEY_B);
    cr_assert_eq(watch1(a, LAN_CONTACT, 2, KEY_B, now), 0);
    cr_assert_eq(watch1(b, LAN_CONTACT, 1, KEY_A, now), 0);
    cr_assert_eq(lan_set_met(a, &to_b, 1, now), 0);
    cr_assert_eq(lan_set_met(b, &to_a, 1, now), 0);
    /* nobody has heard anybody: both send alone */
    cr_assert_eq(round_to(a, b, true, true, now), 2, "one at once, one with the round");
    /* b has heard a, which says that it does not hear b */
    cr_assert_eq(round_to(b, a, true, true, now), 2);
    /* both hear each other's multicast: after DEAF is forgotten nothing more is sent */
    for (unsigned i = 0; i < 8; i++) {
        now += step;
        unsigned ab = round_to(a, b, true, true, now),
                 ba = round_to(b, a, true, true, now);
        cr_assert(i < 3 || (ab == 0 && ba == 0), "%u: %u %u", i, ab, ba);
        cr_assert(lan_is_seen(a, 2) && lan_is_seen(b, 1));
    }
    /* a's multicast does not reach b any more: b says so, and a sends to it alone */
    unsigned missed = 0;
    for (unsigned i = 0; i < 20; i++) {
        now += step;
        (void)round_to(a, b, false, true, now);
        (void)round_to(b, a, true, true, now);
        lan_tick(a, now);
        lan_tick(b, now);
        missed += !lan_is_seen(b, 1);
        cr_assert(lan_is_seen(a, 2));
    }
    cr_assert_leq(missed, 2);
    cr_assert_gt(round_to(a, b, false, true, now + step), 0);
    /* and neither's passes */
    for (unsigned i = 0; i < 8; i++) {
        now += step;
        (void)round_to(a, b, false, true, now);
        (void)round_to(b, a, false, true, now);
        cr_assert(lan_is_seen(a, 2) && lan_is_seen(b, 1));
    }
    lan_free(a);
    lan_free(b);
}

Test(lan_alone, places_met_are_limited_and_no_targets_twice)
{
    struct lan *a = host("10.0.0.1");
    struct lan_met met[LAN_MET_MAX + 1];
    struct lan_out outs[8];
    struct addr target = at("10.0.0.9:7679");
    for (size_t i = 0; i <= LAN_MET_MAX; i++) {
        met[i] = (struct lan_met){.ref = (uint32_t)i + 1, .addr = target};
    }
    cr_assert_eq(lan_set_met(a, met, LAN_MET_MAX + 1, START), ERR_LIMIT);
    begin(a, KEY_A);
    cr_assert_eq(lan_set_targets(a, &target, 1, START), 0);
    (void)drain(a, outs, 8);
    cr_assert_eq(lan_set_met(a, met, 1, START), 0);
    cr_assert_eq(drain(a, outs, 8), 0, "it is a target already");
    lan_free(a);
}
