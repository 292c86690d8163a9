/* LAN discovery on a virtual clock. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/deadline.h"
#include "base/err.h"
#include "lan.h"
#include "seeded.h"

enum { START = 1000000 };

static uint64_t no_wall(void *ctx)
{
    (void)ctx;
    return 0;
}

static uint64_t state = 1;
static const struct env env = {&state, seeded, no_wall};
static uint8_t KEY_A[32] = {1}, KEY_B[32] = {2}, KEY_C[32] = {3}, KEY_D[32] = {4};

static struct addr at(const char *s)
{
    struct addr a;
    cr_assert_eq(addr_parse(s, 0, &a), 0, "%s", s);
    return a;
}

static struct lan_interface face(uint32_t ifindex, const char *s, uint8_t bits)
{
    return (struct lan_interface){
        .ifindex = ifindex, .addr = at(s), .bits = bits, .up = true};
}

/* A node with one IPv4 interface; silent until it has a main key. */
static struct lan *host(const char *ip, uint16_t port)
{
    struct lan *l = lan_new(&env);
    cr_assert_not_null(l);
    struct lan_interface f = face(2, ip, 24);
    cr_assert_eq(lan_set_interfaces(l, &f, 1, START), 0);
    lan_set_ports(l, port, port, START);
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

static size_t drop_outs(struct lan *l)
{
    struct lan_out o;
    size_t n = 0;
    while (lan_next_out(l, &o)) {
        n++;
    }
    return n;
}

/* A beacon as a node with this key at that source would send it. */
static void forge(uint8_t out[WIRE_BEACON], const uint8_t key[32],
                  const struct addr *source, uint8_t presence, uint8_t flags)
{
    struct wire_beacon b = {.port = 4444, .presence = presence, .flags = flags};
    env_random(&env, b.nonce, sizeof b.nonce);
    wire_beacon_put(out, key, source, &b);
}

static int hear(struct lan *l, const uint8_t key[32], const char *source,
                uint8_t presence, uint8_t flags, uint64_t now)
{
    uint8_t bytes[WIRE_BEACON];
    struct addr a = at(source);
    forge(bytes, key, &a, presence, flags);
    return lan_recv(l, &a, bytes, sizeof bytes, now);
}

static struct lan_event event(struct lan *l)
{
    struct lan_event e;
    cr_assert(lan_next_event(l, &e), "an event");
    return e;
}

static void no_event(struct lan *l)
{
    struct lan_event e;
    cr_assert(!lan_next_event(l, &e), "no event");
}

/* Runs to a time, counting what goes out; times of outs into when. */
static size_t run(struct lan *l, uint64_t until, uint64_t *when, size_t max)
{
    size_t n = 0;
    uint64_t t;
    while ((t = lan_deadline(l)) <= until) {
        lan_tick(l, t);
        cr_assert(lan_deadline(l) > t, "a tick makes progress");
        for (struct lan_out o; lan_next_out(l, &o); n++) {
            cr_assert(when == NULL || n < max);
            if (when != NULL) {
                when[n] = t;
            }
        }
    }
    return n;
}

/* ---- sending ---- */

Test(lan, silent_until_told)
{
    struct lan *l = lan_new(&env);
    cr_assert_eq(lan_deadline(l), DEADLINE_NONE);
    lan_tick(l, START);
    cr_assert_eq(drop_outs(l), 0u);
    begin(l, KEY_A);
    cr_assert_eq(lan_deadline(l), (uint64_t)START);
    lan_tick(l, START);
    cr_assert_eq(drop_outs(l), 0u, "no interfaces, no ports");
    lan_free(l);
    lan_free(NULL);
}

Test(lan, schedule)
{
    static uint64_t when[256];
    struct lan *l = host("192.0.2.1", 7679);
    begin(l, KEY_A);
    size_t n = run(l, START + 100 * 60000, when, 256);
    cr_assert(n > 90 && n < 110, "about one a minute: %zu", n);
    cr_assert_eq(when[0], (uint64_t)START);
    cr_assert_eq(when[1], (uint64_t)START + 150);
    cr_assert_eq(when[2], (uint64_t)START + 500);
    uint64_t shortest = UINT64_MAX, longest = 0;
    for (size_t i = 3; i < n; i++) {
        uint64_t gap = when[i] - when[i - 1];
        cr_assert(gap >= 48000 && gap <= 72000, "gap %zu", (size_t)gap);
        shortest = gap < shortest ? gap : shortest;
        longest = gap > longest ? gap : longest;
    }
    cr_assert(longest - shortest > 15000, "spread out");
    lan_free(l);
}

Test(lan, late_tick_sends_once)
{
    struct lan *l = host("192.0.2.1", 7679);
    begin(l, KEY_A);
    lan_tick(l, START + 5000);
    cr_assert_eq(drop_outs(l), 1u);
    cr_assert_eq(lan_deadline(l), (uint64_t)START + 5150);
    lan_free(l);
}

Test(lan, interfaces)
{
    struct lan_out o[16];
    struct lan *l = lan_new(&env);
    struct lan_interface v[] = {
        face(1, "127.0.0.1", 8),    face(1, "::1", 128),         face(2, "192.0.2.1", 24),
        face(2, "2001:db8::1", 64), face(2, "fe80::1", 64),      face(3, "fd00::3", 64),
        face(3, "fd00::33", 64),    face(4, "198.51.100.4", 24),
    };
    v[7].up = false;
    lan_set_ports(l, 7000, 7001, START);
    cr_assert_eq(lan_set_interfaces(l, v, 8, START), 0);
    begin(l, KEY_A);
    lan_tick(l, START);
    cr_assert_eq(drain(l, o, 16), 4u);
    static const struct {
        uint32_t ifindex;
        const char *source, *dest;
    } want[] = {{1, "127.0.0.1:7001", "239.255.76.78:7678"},
                {2, "192.0.2.1:7001", "239.255.76.78:7678"},
                {2, "[fe80::1]:7001", "[ff12::4c4e]:7678"},
                {3, "[fd00::3]:7001", "[ff12::4c4e]:7678"}};
    for (size_t i = 0; i < 4; i++) {
        struct addr source = at(want[i].source), dest = at(want[i].dest);
        struct wire_beacon b;
        cr_assert(o[i].multicast);
        cr_assert_eq(o[i].ifindex, want[i].ifindex);
        cr_assert(addr_eq_ip(&o[i].source, &source) && o[i].source.port == 7001);
        cr_assert(addr_eq_ip(&o[i].dest, &dest) && o[i].dest.port == 7678);
        cr_assert_eq(o[i].source.scope, i == 2 ? 2u : 0u);
        cr_assert(wire_beacon_get(o[i].bytes, WIRE_BEACON, KEY_A, &source, &b));
        cr_assert_eq(b.port, 7000);
    }
    lan_free(l);
}

Test(lan, interface_changes_start_again)
{
    struct lan *l = host("192.0.2.1", 7679);
    struct lan_interface v[2] = {face(2, "192.0.2.1", 24), face(3, "198.51.100.1", 24)};
    begin(l, KEY_A);
    (void)run(l, START + 10000, NULL, 0);
    uint64_t later = lan_deadline(l);
    cr_assert_eq(lan_set_interfaces(l, v, 1, START + 10000), 0);
    cr_assert_eq(lan_deadline(l), later, "the same list");
    cr_assert_eq(lan_set_interfaces(l, v, 2, START + 10000), 0);
    uint64_t when[16];
    cr_assert_eq(run(l, START + 20000, when, 16), 6u);
    cr_assert_eq(when[0], (uint64_t)START + 10000);
    cr_assert_eq(when[2], (uint64_t)START + 10150);
    cr_assert_eq(when[4], (uint64_t)START + 10500);
    v[1].up = false;
    cr_assert_eq(lan_set_interfaces(l, v, 2, START + 20000), 0);
    cr_assert_eq(run(l, START + 20000, NULL, 0), 1u);
    v[1].up = true;
    v[1].bits = 25;
    cr_assert_eq(lan_set_interfaces(l, v, 2, START + 30000), 0);
    cr_assert_eq(lan_deadline(l), (uint64_t)START + 30000);
    static struct lan_interface many[LAN_IFACES_MAX + 1];
    for (uint32_t i = 0; i <= LAN_IFACES_MAX; i++) {
        many[i] = face(i + 1, "192.0.2.1", 24);
    }
    (void)drop_outs(l);
    cr_assert_eq(lan_set_interfaces(l, many, LAN_IFACES_MAX + 1, START + 40000),
                 ERR_LIMIT);
    lan_tick(l, START + 40000);
    cr_assert_eq(drop_outs(l), (size_t)LAN_IFACES_MAX, "the first are used");
    lan_free(l);
}

Test(lan, alternates_take_turns)
{
    static uint8_t alternates[6][32];
    unsigned times[6] = {0}, mains = 0;
    for (size_t i = 0; i < 6; i++) {
        alternates[i][0] = (uint8_t)(100 + i);
    }
    struct lan *l = host("192.0.2.1", 7679);
    cr_assert_eq(lan_set_keys(l, KEY_A, (const uint8_t(*)[32])alternates, 6, START), 0);
    struct addr source = at("192.0.2.1:7679");
    for (unsigned round = 0; round < 3; round++) {
        struct lan_out o[16];
        lan_tick(l, lan_deadline(l));
        size_t n = drain(l, o, 16);
        cr_assert_eq(n, 1u + LAN_ALTERNATES_ROUND);
        for (size_t i = 0; i < n; i++) {
            struct wire_beacon b;
            mains += wire_beacon_get(o[i].bytes, WIRE_BEACON, KEY_A, &source, &b);
            for (size_t k = 0; k < 6; k++) {
                times[k] +=
                    wire_beacon_get(o[i].bytes, WIRE_BEACON, alternates[k], &source, &b);
            }
        }
    }
    cr_assert_eq(mains, 3u);
    for (size_t k = 0; k < 6; k++) {
        cr_assert_eq(times[k], 2u, "alternate %zu", k);
    }
    /* Invisible: nothing at all. */
    cr_assert_eq(lan_set_keys(l, NULL, (const uint8_t(*)[32])alternates, 6, START), 0);
    cr_assert_eq(lan_deadline(l), DEADLINE_NONE);
    cr_assert_eq(lan_set_keys(l, KEY_A, (const uint8_t(*)[32])alternates,
                              LAN_ALTERNATES_MAX + 1, START),
                 ERR_LIMIT);
    lan_free(l);
}

Test(lan, presence_is_told_soon)
{
    struct lan *l = host("192.0.2.1", 7679);
    struct lan_out o[4];
    struct wire_beacon b;
    struct addr source = at("192.0.2.1:7679");
    begin(l, KEY_A);
    (void)run(l, START + 10000, NULL, 0);
    lan_set_presence(l, 3, START + 10000);
    lan_set_presence(l, 3, START + 10001);
    cr_assert_eq(lan_deadline(l), (uint64_t)START + 10000);
    lan_tick(l, START + 10000);
    cr_assert_eq(drain(l, o, 4), 1u);
    cr_assert(wire_beacon_get(o[0].bytes, WIRE_BEACON, KEY_A, &source, &b));
    cr_assert_eq(b.presence, 3);
    lan_set_presence(l, 4, START + 10100);
    cr_assert_eq(lan_deadline(l), (uint64_t)START + 11000, "not faster than the gap");
    lan_free(l);
}

Test(lan, targets)
{
    struct lan *l = lan_new(&env);
    struct lan_out o[32];
    struct lan_interface v[] = {face(1, "127.0.0.1", 8),    face(2, "192.0.2.1", 24),
                                face(3, "192.0.2.130", 28), face(2, "fe80::1", 64),
                                face(3, "fe80::3", 64),     face(2, "2001:db8::1", 64)};
    static const struct {
        const char *target, *source;
        uint32_t ifindex;
    } want[] = {
        {"192.0.2.9:1", "192.0.2.1", 2},      {"192.0.2.131:1", "192.0.2.130", 3},
        {"203.0.113.5:1", "192.0.2.1", 2},    {"127.0.0.1:9", "127.0.0.1", 1},
        {"[fe80::99%3]:1", "fe80::3", 3},     {"[2001:db8:7::1]:1", "2001:db8::1", 2},
        {"[2001:db8::7]:1", "2001:db8::1", 2}};
    struct addr targets[7];
    for (size_t i = 0; i < 7; i++) {
        targets[i] = at(want[i].target);
    }
    lan_set_ports(l, 7679, 7679, START);
    cr_assert_eq(lan_set_interfaces(l, v, 6, START), 0);
    begin(l, KEY_A);
    (void)run(l, START + 1000, NULL, 0);
    cr_assert_eq(lan_set_targets(l, targets, 7, START + 1000), 0);
    cr_assert_eq(drain(l, o, 32), 7u, "at once");
    for (size_t i = 0; i < 7; i++) {
        struct addr source = at(want[i].source);
        struct wire_beacon b;
        cr_assert(!o[i].multicast);
        cr_assert(addr_eq(&o[i].dest, &targets[i]));
        cr_assert(addr_eq_ip(&o[i].source, &source), "%s", want[i].target);
        cr_assert_eq(o[i].ifindex, want[i].ifindex);
        cr_assert(wire_beacon_get(o[i].bytes, WIRE_BEACON, KEY_A, &o[i].source, &b));
    }
    cr_assert_eq(lan_set_targets(l, targets, 7, START + 1000), 0);
    cr_assert_eq(drop_outs(l), 0u, "known ones wait for their turn");
    lan_tick(l, lan_deadline(l));
    cr_assert_eq(drop_outs(l), 5u + 7);
    targets[1] = targets[0];
    cr_assert_eq(lan_set_targets(l, targets, 2, START + 1000), 0);
    lan_tick(l, lan_deadline(l));
    cr_assert_eq(drop_outs(l), 5u + 1, "each once");
    targets[0].port = 0;
    cr_assert_eq(lan_set_targets(l, targets, 1, START + 1000), ERR_ARG);
    static struct addr many[LAN_TARGETS_MAX + 1];
    cr_assert_eq(lan_set_targets(l, many, LAN_TARGETS_MAX + 1, START), ERR_LIMIT);
    lan_free(l);
}

Test(lan, subnets_are_swept)
{
    struct lan *l = host("198.51.100.7", 7679);
    struct prefix v[3];
    static unsigned hits[256];
    cr_assert_eq(prefix_parse("198.51.100.0/25", &v[0]), 0);
    cr_assert_eq(prefix_parse("198.51.100.200/32", &v[1]), 0);
    cr_assert_eq(prefix_parse("198.51.100.210/31", &v[2]), 0);
    begin(l, KEY_A);
    (void)run(l, START + 1000, NULL, 0);
    cr_assert_eq(lan_set_subnets(l, v, 3, 7679, START + 1000), 0);
    uint64_t t, last = 0;
    while ((t = lan_deadline(l)) < START + 10000) {
        struct lan_out o[LAN_SWEEP_BATCH];
        lan_tick(l, t);
        size_t n = drain(l, o, LAN_SWEEP_BATCH);
        for (size_t i = 0; i < n; i++) {
            cr_assert(!o[i].multicast && o[i].dest.port == 7679);
            hits[o[i].dest.ip[3]]++;
        }
        cr_assert(last == 0 || t - last >= LAN_SWEEP_GAP_MS);
        last = t;
    }
    for (unsigned i = 0; i < 256; i++) {
        bool wanted = (i > 0 && i < 127 && i != 7) || i == 200 || i == 210 || i == 211;
        cr_assert_eq(hits[i], wanted ? 1u : 0u, "host %u", i);
    }
    /* Again after a while, beside four or five multicasts. */
    size_t n = run(l, START + 1000 + LAN_SWEEP_MS + 5000, NULL, 0);
    cr_assert(n >= 128 + 3 && n <= 128 + 7, "%zu", n);
    cr_assert_eq(prefix_parse("10.0.0.0/8", &v[0]), 0);
    cr_assert_eq(lan_set_subnets(l, v, 1, 7679, START), ERR_LIMIT);
    cr_assert_eq(prefix_parse("10.0.0.0/20", &v[0]), 0);
    cr_assert_eq(lan_set_subnets(l, v, 1, 7679, START), 0);
    cr_assert_eq(lan_set_subnets(l, v, 2, 7679, START), ERR_LIMIT, "together too many");
    lan_free(l);
}

/* ---- receiving ---- */

Test(lan, two_nodes_see_each_other)
{
    struct lan *a = host("192.0.2.1", 7679), *b = host("192.0.2.2", 8000);
    struct lan_out o[2];
    begin(a, KEY_A);
    begin(b, KEY_B);
    lan_set_presence(b, 2, START);
    cr_assert_eq(watch1(a, LAN_CONTACT, 9, KEY_B, START), 0);
    cr_assert_eq(watch1(b, LAN_CONTACT, 5, KEY_A, START), 0);
    lan_tick(b, START);
    cr_assert_eq(drain(b, o, 2), 1u);
    cr_assert_eq(lan_recv(a, &o[0].source, o[0].bytes, WIRE_BEACON, START + 1), 0);
    struct lan_event e = event(a);
    struct addr dial = at("192.0.2.2:8000");
    cr_assert(e.type == LAN_SEEN && e.kind == LAN_CONTACT && e.ref == 9);
    cr_assert(e.first && e.changed && e.presence == 2 && e.flags == 0 && e.key == 0);
    cr_assert(addr_eq(&e.addr, &dial));
    no_event(a);
    cr_assert(lan_is_seen(a, 9) && !lan_is_seen(a, 5));
    lan_tick(b, START + 150);
    cr_assert_eq(drain(b, o, 2), 1u);
    cr_assert_eq(lan_recv(a, &o[0].source, o[0].bytes, WIRE_BEACON, START + 151), 0);
    e = event(a);
    cr_assert(!e.first && !e.changed);
    cr_assert_eq(lan_recv(b, &o[0].source, o[0].bytes, WIRE_BEACON, START + 151),
                 ERR_FORMAT, "its own");
    lan_free(a);
    lan_free(b);
}

Test(lan, what_changes_is_told)
{
    struct lan *l = host("192.0.2.1", 7679);
    cr_assert_eq(watch1(l, LAN_CONTACT, 1, KEY_B, START), 0);
    cr_assert_eq(hear(l, KEY_B, "192.0.2.2:7679", 1, 0, START), 0);
    cr_assert(event(l).first);
    cr_assert_eq(hear(l, KEY_B, "[fe80::2%4]:7679", 1, 0, START), 0);
    struct lan_event e = event(l);
    cr_assert(!e.first && e.changed && e.addr.scope == 4 && e.addr.port == 4444);
    cr_assert_eq(hear(l, KEY_B, "192.0.2.2:7679", 1, 0, START), 0);
    cr_assert(!event(l).changed);
    cr_assert_eq(hear(l, KEY_B, "192.0.2.2:7679", 2, 0, START), 0);
    cr_assert(event(l).changed, "presence");
    cr_assert_eq(hear(l, KEY_B, "192.0.2.3:7679", 2, 0, START), 0);
    cr_assert(event(l).changed, "address");
    lan_free(l);
}

Test(lan, gone_after_silence)
{
    struct lan *l = host("192.0.2.1", 7679);
    cr_assert_eq(watch1(l, LAN_CONTACT, 1, KEY_B, START), 0);
    cr_assert_eq(hear(l, KEY_B, "192.0.2.2:7679", 1, 0, START), 0);
    cr_assert_eq(hear(l, KEY_B, "192.0.2.2:7679", 1, 0, START + 60000), 0);
    (void)event(l);
    (void)event(l);
    cr_assert_eq(lan_deadline(l), (uint64_t)START + 60000 + LAN_GONE_MS);
    lan_tick(l, START + 60000 + LAN_GONE_MS - 1);
    no_event(l);
    lan_tick(l, START + 60000 + LAN_GONE_MS);
    struct lan_event e = event(l);
    cr_assert(e.type == LAN_GONE && e.kind == LAN_CONTACT && e.ref == 1);
    cr_assert(!lan_is_seen(l, 1));
    cr_assert_eq(lan_deadline(l), DEADLINE_NONE);
    cr_assert_eq(hear(l, KEY_B, "192.0.2.2:7679", 1, 0, START + 300000), 0);
    cr_assert(event(l).first, "and back");
    lan_free(l);
}

Test(lan, good_bye)
{
    struct lan *a = host("10.0.0.1", 7679), *b = host("10.0.0.2", 7679);
    struct lan_out outs[8];
    struct addr target = at("10.9.0.9:7679");
    begin(a, KEY_A);
    cr_assert_eq(watch1(b, LAN_CONTACT, 7, KEY_A, START), 0);
    lan_tick(a, START);
    cr_assert_eq(drain(a, outs, 8), 1);
    cr_assert_eq(lan_recv(b, &outs[0].source, outs[0].bytes, WIRE_BEACON, START), 0);
    cr_assert(event(b).first);

    lan_tick(a, START + LAN_BURST_2_MS); /* waits to be sent: the good-bye goes instead */
    lan_leave(a);
    lan_tick(a, START + LAN_BURST_3_MS);
    cr_assert_eq(lan_set_targets(a, &target, 1, START), 0);
    cr_assert_eq(drain(a, outs, 8), 1, "nothing behind the good-bye");
    cr_assert_eq(lan_recv(b, &outs[0].source, outs[0].bytes, WIRE_BEACON, START), 0);
    struct lan_event e = event(b);
    cr_assert_eq(e.type, LAN_GONE);
    cr_assert_eq(e.ref, 7);
    cr_assert(!lan_is_seen(b, 7));
    no_event(b);
    lan_tick(b, START + LAN_GONE_MS);
    no_event(b);     /* not once more */
    begin(a, KEY_A); /* it goes on all the same */
    lan_tick(a, START + LAN_INTERVAL_MS + LAN_JITTER_MS);
    cr_assert_gt(drain(a, outs, 8), 0);
    cr_assert_eq(lan_recv(b, &outs[0].source, outs[0].bytes, WIRE_BEACON, START), 0);
    e = event(b);
    cr_assert_eq(e.type, LAN_SEEN);
    cr_assert(e.first);
    lan_free(a);
    lan_free(b);
}

Test(lan, good_bye_of_somebody_else)
{
    struct lan *l = host("10.0.0.2", 7679);
    cr_assert_eq(watch1(l, LAN_CONTACT, 7, KEY_A, START), 0);
    cr_assert_eq(watch1(l, LAN_CONTACT, 8, KEY_B, START), 0);
    cr_assert_eq(watch1(l, LAN_INVITE, 9, KEY_C, START), 0);
    cr_assert_eq(hear(l, KEY_A, "10.0.0.1:7679", 0, 0, START), 0);
    (void)event(l);
    cr_assert_eq(hear(l, KEY_B, "10.0.0.1:7679", 0, BEACON_FLAG_LEAVE, START), 0);
    cr_assert_eq(hear(l, KEY_C, "10.0.0.1:7679", 0, BEACON_FLAG_LEAVE, START), ERR_AUTH);
    no_event(l); /* 8 was not there */
    cr_assert(lan_is_seen(l, 7));
    lan_free(l);
}

Test(lan, replays)
{
    struct lan *l = host("192.0.2.1", 7679);
    uint8_t bytes[WIRE_BEACON];
    struct addr source = at("192.0.2.2:7679"), other = at("192.0.2.3:7679");
    struct addr port = at("192.0.2.2:7680");
    cr_assert_eq(watch1(l, LAN_CONTACT, 1, KEY_B, START), 0);
    forge(bytes, KEY_B, &source, 1, 0);
    cr_assert_eq(lan_recv(l, &other, bytes, WIRE_BEACON, START), ERR_AUTH);
    cr_assert_eq(lan_recv(l, &port, bytes, WIRE_BEACON, START), ERR_AUTH);
    cr_assert_eq(lan_recv(l, &source, bytes, WIRE_BEACON, START), 0);
    cr_assert_eq(lan_recv(l, &source, bytes, WIRE_BEACON, START), ERR_STALE);
    (void)event(l);
    lan_tick(l, START + LAN_GONE_MS);
    (void)event(l);
    cr_assert_eq(lan_recv(l, &source, bytes, WIRE_BEACON, START + LAN_NONCE_MS - 1),
                 ERR_STALE, "also when gone");
    no_event(l);
    cr_assert(!lan_is_seen(l, 1));
    /* Keys that come again keep the memory. */
    uint8_t two[2][32] = {{9}, {2}};
    cr_assert_eq(lan_watch(l, LAN_CONTACT, 1, (const uint8_t(*)[32])two, 2, START), 0);
    cr_assert_eq(lan_recv(l, &source, bytes, WIRE_BEACON, START + LAN_NONCE_MS - 1),
                 ERR_STALE);
    cr_assert_eq(lan_recv(l, &source, bytes, WIRE_BEACON, START + LAN_NONCE_MS), 0);
    cr_assert_eq(event(l).key, 1);
    lan_free(l);
}

Test(lan, nonces_of_each_are_its_own)
{
    static uint8_t kept[LAN_NONCES_MAX + 100][WIRE_BEACON];
    struct lan *l = host("192.0.2.1", 7679);
    struct addr source = at("192.0.2.2:7679"), quiet = at("192.0.2.3:7679");
    uint8_t one[WIRE_BEACON];
    cr_assert_eq(watch1(l, LAN_CONTACT, 1, KEY_B, START), 0);
    cr_assert_eq(watch1(l, LAN_CONTACT, 2, KEY_C, START), 0);
    forge(one, KEY_C, &quiet, 1, 0);
    cr_assert_eq(lan_recv(l, &quiet, one, WIRE_BEACON, START), 0);
    (void)event(l);
    size_t n = sizeof kept / sizeof kept[0];
    for (size_t i = 0; i < n; i++) {
        forge(kept[i], KEY_B, &source, 1, 0);
        cr_assert_eq(lan_recv(l, &source, kept[i], WIRE_BEACON, START + i * 200), 0);
        (void)event(l);
    }
    uint64_t now = START + n * 200;
    for (size_t i = n - LAN_NONCES_MAX; i < n; i++) {
        cr_assert_eq(lan_recv(l, &source, kept[i], WIRE_BEACON, now), ERR_STALE, "%zu",
                     i);
    }
    cr_assert_eq(lan_recv(l, &source, kept[0], WIRE_BEACON, now), 0, "its own oldest");
    cr_assert_eq(lan_recv(l, &quiet, one, WIRE_BEACON, now), ERR_STALE, "not another's");
    lan_free(l);
}

Test(lan, malformed)
{
    struct lan *l = host("192.0.2.1", 7679);
    uint8_t bytes[WIRE_BEACON + 1];
    struct addr source = at("192.0.2.2:7679"), group = at("239.255.76.78:7679");
    struct addr zero = at("192.0.2.2:0"), nobody = {0};
    cr_assert_eq(watch1(l, LAN_CONTACT, 1, KEY_B, START), 0);
    forge(bytes, KEY_B, &source, 1, 0);
    cr_assert_eq(lan_recv(l, &source, bytes, WIRE_BEACON - 1, START), ERR_FORMAT);
    cr_assert_eq(lan_recv(l, &source, bytes, WIRE_BEACON + 1, START), ERR_FORMAT);
    cr_assert_eq(lan_recv(l, &source, bytes, 0, START), ERR_FORMAT);
    cr_assert_eq(lan_recv(l, &group, bytes, WIRE_BEACON, START), ERR_FORMAT);
    cr_assert_eq(lan_recv(l, &zero, bytes, WIRE_BEACON, START), ERR_FORMAT);
    cr_assert_eq(lan_recv(l, &nobody, bytes, WIRE_BEACON, START), ERR_FORMAT);
    struct wire_beacon b = {.port = 0};
    wire_beacon_put(bytes, KEY_B, &source, &b);
    cr_assert_eq(lan_recv(l, &source, bytes, WIRE_BEACON, START), ERR_FORMAT, "no port");
    for (size_t bit = 0; bit < 8 * WIRE_BEACON; bit++) {
        forge(bytes, KEY_B, &source, 1, 0);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_eq(lan_recv(l, &source, bytes, WIRE_BEACON, START + bit * 1000),
                     ERR_AUTH);
    }
    no_event(l);
    cr_assert_eq(drop_outs(l), 0u);
    lan_free(l);
}

Test(lan, limit_of_a_source)
{
    struct lan *l = host("192.0.2.1", 7679);
    cr_assert_eq(watch1(l, LAN_CONTACT, 1, KEY_B, START), 0);
    for (unsigned i = 0; i < LAN_SOURCE_BURST; i++) {
        cr_assert_eq(hear(l, KEY_D, "192.0.2.66:5000", 0, 0, START), ERR_AUTH);
    }
    cr_assert_eq(hear(l, KEY_D, "192.0.2.66:5000", 0, 0, START), ERR_LIMIT);
    cr_assert_eq(hear(l, KEY_D, "192.0.2.66:5001", 0, 0, START), ERR_LIMIT, "any port");
    cr_assert_eq(hear(l, KEY_D, "192.0.2.67:5000", 0, 0, START), ERR_AUTH, "a neighbour");
    for (unsigned i = 0; i < LAN_SOURCE_PER_S; i++) {
        cr_assert_eq(hear(l, KEY_D, "192.0.2.66:5000", 0, 0, START + 1000), ERR_AUTH);
    }
    cr_assert_eq(hear(l, KEY_D, "192.0.2.66:5000", 0, 0, START + 1000), ERR_LIMIT);
    /* Who was recognised there is recognised still. */
    cr_assert_eq(hear(l, KEY_B, "192.0.2.66:7679", 0, 0, START + 2000), 0);
    for (unsigned i = 0; i < LAN_SOURCE_PER_S; i++) {
        (void)hear(l, KEY_D, "192.0.2.66:7679", 0, 0, START + 2000);
    }
    cr_assert_eq(hear(l, KEY_D, "192.0.2.66:7679", 0, 0, START + 2000), ERR_LIMIT);
    cr_assert_eq(hear(l, KEY_B, "192.0.2.66:7679", 0, 0, START + 2000), 0);
    /* One /64 far away is one source, neighbours are not. */
    unsigned refused = 0;
    for (unsigned i = 0; i <= LAN_SOURCE_BURST; i++) {
        char far[64];
        snprintf(far, sizeof far, "[2001:db8::%x]:5000", i + 1);
        refused += hear(l, KEY_D, far, 0, 0, START + 2000) == ERR_LIMIT;
    }
    cr_assert_eq(refused, 1u);
    lan_free(l);
}

Test(lan, limit_of_all_sources)
{
    static const unsigned watched = 5000;
    struct lan *l = host("192.0.2.1", 7679);
    for (uint32_t i = 0; i < watched; i++) {
        uint8_t key[32] = {9, (uint8_t)i, (uint8_t)(i >> 8)};
        cr_assert_eq(watch1(l, LAN_CONTACT, i + 1, key, START), 0);
    }
    uint8_t first[32] = {9};
    cr_assert_eq(hear(l, first, "192.0.2.2:7679", 0, 0, START), 0);
    unsigned checked = 0, refused = 0;
    for (unsigned i = 0; i < 200; i++) {
        char from[64];
        snprintf(from, sizeof from, "10.%u.0.1:5000", i);
        int rc = hear(l, KEY_D, from, 0, 0, START);
        checked += rc == ERR_AUTH;
        refused += rc == ERR_LIMIT;
    }
    cr_assert_eq(checked + 1, LAN_CHECKS_BURST / watched);
    cr_assert_eq(checked + refused, 200u);
    cr_assert_eq(hear(l, first, "192.0.2.2:7679", 0, 0, START), 0, "known contacts pass");
    cr_assert_eq(hear(l, KEY_D, "10.250.0.1:5000", 0, 0, START), ERR_LIMIT);
    cr_assert_eq(hear(l, KEY_D, "10.250.0.1:5000", 0, 0, START + 1000), ERR_AUTH);
    lan_free(l);
}

Test(lan, limit_of_a_contact)
{
    struct lan *l = host("192.0.2.1", 7679);
    cr_assert_eq(watch1(l, LAN_CONTACT, 1, KEY_B, START), 0);
    for (unsigned i = 0; i < LAN_WATCH_BURST; i++) {
        cr_assert_eq(hear(l, KEY_B, "192.0.2.2:7679", 0, 0, START), 0);
    }
    cr_assert_eq(hear(l, KEY_B, "192.0.2.2:7679", 0, 0, START), ERR_LIMIT);
    cr_assert_eq(hear(l, KEY_B, "192.0.2.2:7679", 0, 0, START + 1000), 0);
    lan_free(l);
}

Test(lan, full_queue_of_events)
{
    static const unsigned watched = LAN_EVENTS_MAX + 10;
    struct lan *l = host("192.0.2.1", 7679);
    unsigned seen = 0, gone = 0;
    for (uint32_t i = 0; i < watched; i++) {
        uint8_t key[32] = {9, (uint8_t)i, (uint8_t)(i >> 8)};
        char from[64];
        cr_assert_eq(watch1(l, LAN_CONTACT, i + 1, key, START), 0);
        snprintf(from, sizeof from, "192.0.%u.%u:7679", 3 + i / 200, 1 + i % 200);
        int rc = hear(l, key, from, 0, 0, START);
        cr_assert_eq(rc, i < LAN_EVENTS_MAX ? 0 : ERR_LIMIT);
    }
    for (struct lan_event e; lan_next_event(l, &e); seen++) {
        cr_assert_eq(e.type, LAN_SEEN);
    }
    cr_assert_eq(seen, (unsigned)LAN_EVENTS_MAX);
    for (uint32_t i = LAN_EVENTS_MAX; i < watched; i++) {
        uint8_t key[32] = {9, (uint8_t)i, (uint8_t)(i >> 8)};
        cr_assert_eq(hear(l, key, "192.0.9.9:7679", 0, 0, START), 0, "not lost for good");
    }
    for (struct lan_event e; lan_next_event(l, &e); seen++) {
        cr_assert_eq(e.type, LAN_SEEN);
    }
    lan_tick(l, START + LAN_GONE_MS);
    for (struct lan_event e; lan_next_event(l, &e); gone++) {
        cr_assert_eq(e.type, LAN_GONE);
    }
    cr_assert_eq(gone, (unsigned)LAN_EVENTS_MAX);
    lan_tick(l, lan_deadline(l));
    for (struct lan_event e; lan_next_event(l, &e); gone++) {
        cr_assert_eq(e.type, LAN_GONE);
    }
    cr_assert_eq(gone, watched, "nobody's going is lost");
    lan_free(l);
}

/* ---- invites ---- */

Test(lan, invite)
{
    struct lan *adder = host("192.0.2.1", 7000), *inviter = host("192.0.2.2", 8000);
    struct lan_out o[4], answer[4];
    cr_assert_eq(watch1(inviter, LAN_INVITE, 3, KEY_C, START), 0);
    cr_assert_eq(watch1(adder, LAN_ADDING, 7, KEY_C, START), 0);
    cr_assert_eq(lan_deadline(adder), (uint64_t)START);
    lan_tick(adder, START);
    cr_assert_eq(drain(adder, o, 4), 1u);
    cr_assert(o[0].multicast);
    cr_assert_eq(lan_recv(inviter, &o[0].source, o[0].bytes, WIRE_BEACON, START), 0);
    struct lan_event e = event(inviter);
    cr_assert(e.type == LAN_SEEN && e.kind == LAN_INVITE && e.ref == 3);
    cr_assert_eq(e.flags, BEACON_FLAG_ADD);
    cr_assert_eq(drain(inviter, answer, 4), 1u);
    cr_assert(!answer[0].multicast && addr_eq(&answer[0].dest, &o[0].source));
    cr_assert_eq(lan_recv(inviter, &o[0].source, o[0].bytes, WIRE_BEACON, START),
                 ERR_STALE);
    cr_assert_eq(drop_outs(inviter), 0u, "a replay gets no answer");
    cr_assert_eq(lan_recv(adder, &answer[0].source, answer[0].bytes, WIRE_BEACON, START),
                 0);
    e = event(adder);
    struct addr dial = at("192.0.2.2:8000");
    cr_assert(e.type == LAN_SEEN && e.kind == LAN_ADDING && e.ref == 7);
    cr_assert(e.flags == BEACON_FLAG_REPLY && addr_eq(&e.addr, &dial));
    cr_assert_eq(drop_outs(adder), 0u, "an answer gets no answer");
    /* Another who adds the same code, and an answer that comes to an inviter. */
    cr_assert_eq(hear(adder, KEY_C, "192.0.2.9:1", 0, BEACON_FLAG_ADD, START), ERR_AUTH);
    cr_assert_eq(hear(inviter, KEY_C, "192.0.2.9:1", 0, BEACON_FLAG_REPLY, START),
                 ERR_AUTH);
    cr_assert_eq(hear(inviter, KEY_C, "192.0.2.9:1", 0, 0, START), ERR_AUTH);
    no_event(adder);
    no_event(inviter);
    cr_assert_eq(drop_outs(inviter), 0u);
    lan_unwatch(inviter, LAN_INVITE, 3);
    cr_assert_eq(hear(inviter, KEY_C, "192.0.2.9:1", 0, BEACON_FLAG_ADD, START),
                 ERR_AUTH);
    lan_free(adder);
    lan_free(inviter);
}

Test(lan, adding_schedule)
{
    struct lan *l = host("192.0.2.1", 7000);
    uint64_t when[64];
    cr_assert_eq(watch1(l, LAN_ADDING, 7, KEY_C, START), 0);
    size_t n = run(l, START + 20500, when, 64);
    static const unsigned want[] = {0, 150, 500, 5500, 10500, 15500, 20500};
    cr_assert_eq(n, 7u);
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(when[i], (uint64_t)START + want[i], "%zu", i);
    }
    struct lan_interface f = face(2, "192.0.2.5", 24);
    cr_assert_eq(lan_set_interfaces(l, &f, 1, START + 21000), 0);
    cr_assert_eq(run(l, START + 21500, when, 64), 3u, "another network, at once");
    cr_assert_eq(when[0], (uint64_t)START + 21000);
    struct addr peer = at("203.0.113.1:7679");
    cr_assert_eq(lan_set_targets(l, &peer, 1, START + 22000), 0);
    cr_assert_eq(drop_outs(l), 1u, "also to targets");
    lan_unwatch(l, LAN_ADDING, 7);
    cr_assert_eq(lan_deadline(l), DEADLINE_NONE);
    lan_free(l);
}

/* Two users of one host, both with the same code and both inviting. */
Test(lan, one_host)
{
    struct lan *a = host("192.0.2.1", 7000), *b = host("192.0.2.1", 7001);
    struct lan_out o[4];
    begin(b, KEY_B);
    cr_assert_eq(watch1(a, LAN_CONTACT, 1, KEY_B, START), 0);
    lan_tick(b, START);
    cr_assert_eq(drain(b, o, 4), 1u);
    cr_assert_eq(lan_recv(a, &o[0].source, o[0].bytes, WIRE_BEACON, START), 0);
    cr_assert_eq(event(a).addr.port, 7001);
    cr_assert_eq(lan_recv(b, &o[0].source, o[0].bytes, WIRE_BEACON, START), ERR_FORMAT);
    lan_free(a);
    lan_free(b);
}

/* ---- watches ---- */

Test(lan, watches)
{
    struct lan *l = host("192.0.2.1", 7679);
    static uint8_t keys[LAN_WATCH_KEYS + 1][32];
    const uint8_t(*k)[32] = (const uint8_t(*)[32])keys;
    cr_assert_eq(lan_watch(l, LAN_CONTACT, 1, k, 0, START), ERR_LIMIT);
    cr_assert_eq(lan_watch(l, LAN_CONTACT, 1, k, LAN_WATCH_KEYS + 1, START), ERR_LIMIT);
    memcpy(keys[0], KEY_B, 32);
    memcpy(keys[1], KEY_C, 32);
    cr_assert_eq(lan_watch(l, LAN_CONTACT, 1, k, 2, START), 0);
    cr_assert_eq(watch1(l, LAN_INVITE, 1, KEY_D, START), 0, "another kind, the same ref");
    cr_assert_eq(hear(l, KEY_C, "192.0.2.2:7679", 0, 0, START), 0);
    cr_assert_eq(event(l).key, 1);
    /* Other keys: seen stays, the old key is forgotten. */
    cr_assert_eq(watch1(l, LAN_CONTACT, 1, KEY_A, START), 0);
    cr_assert(lan_is_seen(l, 1));
    cr_assert_eq(hear(l, KEY_C, "192.0.2.2:7679", 0, 0, START), ERR_AUTH);
    cr_assert_eq(hear(l, KEY_A, "192.0.2.2:7679", 0, 0, START), 0);
    cr_assert(!event(l).first);
    lan_unwatch(l, LAN_CONTACT, 1);
    lan_unwatch(l, LAN_CONTACT, 1);
    cr_assert(!lan_is_seen(l, 1));
    cr_assert_eq(hear(l, KEY_A, "192.0.2.2:7679", 0, 0, START), ERR_AUTH);
    lan_tick(l, START + LAN_GONE_MS);
    no_event(l);
    for (uint32_t i = 0; i < LAN_WATCH_MAX - 1; i++) {
        cr_assert_eq(watch1(l, LAN_CONTACT, 100 + i, KEY_A, START), 0);
    }
    cr_assert_eq(watch1(l, LAN_CONTACT, 1, KEY_A, START), ERR_LIMIT);
    cr_assert_eq(watch1(l, LAN_CONTACT, 100, KEY_B, START), 0, "one that is there");
    lan_unwatch(l, LAN_CONTACT, 101);
    cr_assert_eq(watch1(l, LAN_CONTACT, 1, KEY_A, START), 0);
    lan_free(l);
}

Test(lan, queue_of_outs_is_bounded)
{
    struct lan *l = host("192.0.2.1", 7679);
    static uint8_t alternates[LAN_ALTERNATES_ROUND][32];
    static struct addr targets[LAN_TARGETS_MAX];
    for (size_t i = 0; i < LAN_TARGETS_MAX; i++) {
        targets[i] = at("198.51.100.1:7679");
        targets[i].ip[3] = (uint8_t)i;
    }
    cr_assert_eq(lan_set_targets(l, targets, LAN_TARGETS_MAX, START), 0);
    cr_assert_eq(lan_set_keys(l, KEY_A, (const uint8_t(*)[32])alternates,
                              LAN_ALTERNATES_ROUND, START),
                 0);
    for (unsigned i = 0; i < 20; i++) {
        lan_tick(l, lan_deadline(l));
    }
    cr_assert_eq(drop_outs(l), (size_t)LAN_OUTS_MAX);
    lan_tick(l, lan_deadline(l));
    cr_assert_eq(drop_outs(l), (LAN_TARGETS_MAX + 1u) * (LAN_ALTERNATES_ROUND + 1));
    lan_free(l);
}

/* ---- unlinkability ---- */

/* Beacons of one node, at one place, with one presence, look like random bytes: no byte
 * takes a value more often than chance lets it, no two have more in common. */
Test(lan, unlinkable)
{
    enum { N = 4096 };
    static uint8_t seen[N][WIRE_BEACON];
    static unsigned counts[WIRE_BEACON][256];
    struct lan *l = host("192.0.2.1", 7679);
    begin(l, KEY_A);
    for (size_t i = 0; i < N; i++) {
        struct lan_out o;
        lan_tick(l, lan_deadline(l));
        cr_assert(lan_next_out(l, &o));
        memcpy(seen[i], o.bytes, WIRE_BEACON);
        for (size_t j = 0; j < WIRE_BEACON; j++) {
            counts[j][o.bytes[j]]++;
        }
    }
    /* 16 of each value are expected, 4 is the standard deviation. */
    for (size_t j = 0; j < WIRE_BEACON; j++) {
        for (size_t v = 0; v < 256; v++) {
            cr_assert(counts[j][v] < 16 + 7 * 4, "byte %zu is %zu %u times", j, v,
                      counts[j][v]);
        }
    }
    size_t most = 0;
    for (size_t i = 0; i < N; i++) {
        for (size_t k = i + 1; k < N; k++) {
            size_t same = 0;
            for (size_t j = 0; j < WIRE_BEACON; j++) {
                same += seen[i][j] == seen[k][j];
            }
            most = same > most ? same : most;
        }
    }
    cr_assert(most <= 6, "%zu bytes in common", most);
    lan_free(l);
}
