#include <criterion/criterion.h>
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bencode.h"
#include "base/err.h"
#include "dht/shelf.h"
#include "seeded.h"

static uint64_t state;
static const struct env env = {.ctx = &state, .random = seeded};
static const struct dht_id zero;

static void start(void)
{
    cr_assert(sodium_init() >= 0);
    state = 1;
}

TestSuite(shelf, .init = start);

static struct shelf *with(size_t items, size_t bytes, size_t hashes, size_t peers)
{
    struct shelf_config c;
    shelf_config_init(&c);
    c.items_max = items;
    c.item_bytes_max = bytes;
    c.hashes_max = hashes;
    c.peers_max = peers;
    c.source_percent = 100;
    struct shelf *s = shelf_new(&env, &zero, &c);
    cr_assert_not_null(s);
    return s;
}

static struct shelf *ordinary(void)
{
    struct shelf_config c;
    shelf_config_init(&c);
    struct shelf *s = shelf_new(&env, &zero, &c);
    cr_assert_not_null(s);
    return s;
}

static struct shelf_stats stats(const struct shelf *s)
{
    struct shelf_stats st;
    shelf_stats(s, &st);
    return st;
}

static struct addr ip(const char *s)
{
    struct addr a;
    cr_assert_eq(addr_parse(s, 6881, &a), 0, "%s", s);
    return a;
}

/* The nth address of all, in another /24 each. */
static struct addr nth(uint32_t n)
{
    return (struct addr){
        .family = 4,
        .ip = {(uint8_t)(20 + (n >> 16)), (uint8_t)(n >> 8), (uint8_t)n, 1},
        .port = 6881};
}

/* A key at distance n << 96 from our id, which is zero. */
static struct dht_id key(uint64_t n)
{
    struct dht_id id = {{0}};
    for (size_t i = 0; i < 8; i++) {
        id.b[i] = (uint8_t)(n >> (56 - 8 * i));
    }
    return id;
}

static struct item plain(const char *v)
{
    return (struct item){.v = {(const uint8_t *)v, strlen(v)}};
}

/* The shelf judges no signature. */
static struct item signed_item(const char *v, int64_t seq)
{
    static const uint8_t k[ITEM_KEY_LEN] = {1}, sig[ITEM_SIG_LEN] = {2};
    struct item it = plain(v);
    it.k = k;
    it.sig = sig;
    it.seq = seq;
    return it;
}

static int put(struct shelf *s, uint64_t n, const char *v, const struct addr *from)
{
    struct dht_id id = key(n);
    struct item it = plain(v);
    return shelf_put(s, &id, &it, NULL, from, 0);
}

static bool has(const struct shelf *s, uint64_t n)
{
    struct dht_id id = key(n);
    struct item it;
    return shelf_get(s, &id, 0, &it);
}

static bool holds(const struct shelf *s, uint64_t n, const char *v)
{
    struct dht_id id = key(n);
    struct item it;
    return shelf_get(s, &id, 0, &it) && it.v.n == strlen(v) &&
           memcmp(it.v.p, v, it.v.n) == 0;
}

Test(shelf, items_come_back_as_they_were)
{
    struct shelf *s = ordinary();
    struct addr from = nth(1);
    struct item it, got;
    struct dht_id a = key(1), b = key(2), c = key(3);
    cr_assert_not(shelf_get(s, &a, 0, &got));
    it = plain("d1:ai1ee");
    cr_assert_eq(shelf_put(s, &a, &it, NULL, &from, 0), 0);
    it = signed_item("5:hello", 7);
    cr_assert_eq(shelf_put(s, &b, &it, NULL, &from, 0), 0);
    cr_assert(shelf_get(s, &a, 0, &got));
    cr_assert(got.k == NULL && got.sig == NULL && holds(s, 1, "d1:ai1ee"));
    cr_assert(shelf_get(s, &b, 0, &got));
    cr_assert(got.seq == 7 && holds(s, 2, "5:hello"));
    cr_assert_arr_eq(got.k, it.k, ITEM_KEY_LEN);
    cr_assert_arr_eq(got.sig, it.sig, ITEM_SIG_LEN);
    cr_assert_not(shelf_get(s, &c, 0, &got));
    cr_assert_eq(stats(s).items, 2);
    shelf_free(s);
    shelf_free(NULL);
}

Test(shelf, newer_items_replace_older_ones)
{
    struct shelf *s = ordinary();
    struct addr from = nth(1);
    struct dht_id t = key(1);
    const int64_t three = 3, nine = 9;
    struct item it = signed_item("1:a", 4), got;
    cr_assert_eq(shelf_put(s, &t, &it, &nine, &from, 0), 0, "cas: nothing is stored");
    it = signed_item("1:b", 4);
    cr_assert_eq(shelf_put(s, &t, &it, NULL, &from, 0), KRPC_E_SEQ);
    it = signed_item("1:b", 3);
    cr_assert_eq(shelf_put(s, &t, &it, NULL, &from, 0), KRPC_E_SEQ);
    it = signed_item("1:b", 5);
    cr_assert_eq(shelf_put(s, &t, &it, &three, &from, 0), KRPC_E_CAS);
    cr_assert(holds(s, 1, "1:a"));
    size_t before = stats(s).item_bytes;
    it = signed_item("10:bbbbbbbbbb", 5);
    cr_assert_eq(shelf_put(s, &t, &it, NULL, &from, 0), 0);
    cr_assert(shelf_get(s, &t, 0, &got) && got.seq == 5 && holds(s, 1, "10:bbbbbbbbbb"));
    cr_assert_eq(stats(s).item_bytes, before + 10);
    cr_assert_eq(stats(s).items, 1);
    shelf_free(s);
}

/* Somebody who makes a value and a key with the same bytes hides nothing. */
Test(shelf, a_signed_item_wins)
{
    struct shelf *s = ordinary();
    struct addr from = nth(1);
    struct dht_id t = key(1);
    struct item junk = plain("4:junk"), it = signed_item("1:a", 0), got;
    cr_assert_eq(shelf_put(s, &t, &junk, NULL, &from, 0), 0);
    cr_assert_eq(shelf_put(s, &t, &it, NULL, &from, 0), 0);
    cr_assert(shelf_get(s, &t, 0, &got) && got.k != NULL && holds(s, 1, "1:a"));
    cr_assert_eq(shelf_put(s, &t, &junk, NULL, &from, 0), KRPC_E_SEQ);
    cr_assert(shelf_get(s, &t, 0, &got) && got.k != NULL);
    shelf_free(s);
}

Test(shelf, items_expire_two_hours_after_they_were_last_put)
{
    enum { HOUR = 3600 * 1000 };
    struct shelf *s = ordinary();
    struct addr from = nth(1);
    struct dht_id a = key(1), b = key(2);
    struct item it = plain("1:a"), got;
    cr_assert_eq(shelf_deadline(s), UINT64_MAX);
    cr_assert_eq(shelf_put(s, &a, &it, NULL, &from, 0), 0);
    cr_assert_eq(shelf_put(s, &b, &it, NULL, &from, HOUR), 0);
    cr_assert_eq(shelf_deadline(s), 2 * HOUR);
    cr_assert(shelf_get(s, &a, 2 * HOUR - 1, &got));
    cr_assert_not(shelf_get(s, &a, 2 * HOUR, &got), "even before the tick");
    cr_assert_eq(shelf_put(s, &a, &it, NULL, &from, 2 * HOUR - 1), 0, "again");
    cr_assert_eq(shelf_deadline(s), 3 * HOUR);
    shelf_tick(s, 3 * HOUR - 1);
    cr_assert_eq(stats(s).items, 2);
    shelf_tick(s, 3 * HOUR);
    cr_assert_eq(stats(s).items, 1);
    cr_assert(shelf_get(s, &a, 3 * HOUR, &got));
    shelf_tick(s, 4 * HOUR);
    cr_assert_eq(stats(s).items, 0);
    cr_assert_eq(stats(s).item_bytes, 0);
    cr_assert_eq(shelf_deadline(s), UINT64_MAX);
    shelf_free(s);
}

/* What has expired makes no trouble for what comes: seq begins anew. */
Test(shelf, an_expired_item_is_forgotten_before_a_put)
{
    struct shelf *s = ordinary();
    struct addr from = nth(1);
    struct dht_id t = key(1);
    struct item it = signed_item("1:a", 9);
    cr_assert_eq(shelf_put(s, &t, &it, NULL, &from, 0), 0);
    it = signed_item("1:b", 1);
    cr_assert_eq(shelf_put(s, &t, &it, NULL, &from, SHELF_ITEM_TTL_MS), 0);
    shelf_free(s);
}

Test(shelf, the_farthest_item_gives_way)
{
    struct shelf *s = with(3, 1 << 20, 1, 1);
    struct addr from = nth(1);
    for (uint64_t n = 10; n < 40; n += 10) {
        cr_assert_eq(put(s, n, "1:a", &from), 0);
    }
    cr_assert_eq(put(s, 31, "1:a", &from), ERR_FULL, "it is the farthest itself");
    cr_assert_eq(put(s, 20, "1:a", &from), 0, "what is there is refreshed");
    cr_assert_eq(put(s, 5, "1:a", &from), 0);
    cr_assert(has(s, 5) && has(s, 10) && has(s, 20) && !has(s, 30));
    /* With another id of ours, others are far. */
    struct dht_id self = key(30);
    shelf_set_self(s, &self);
    cr_assert_eq(put(s, 29, "1:a", &from), 0);
    cr_assert(!has(s, 5) || !has(s, 10));
    cr_assert(has(s, 20) && has(s, 29));
    cr_assert_eq(stats(s).items, 3);
    shelf_free(s);
}

Test(shelf, memory_of_items_is_limited)
{
    static char big[ITEM_VALUE_MAX + 1];
    (void)snprintf(big, sizeof big, "996:%0996d", 7);
    struct shelf *s = with(1000, 10 * 1400, 1, 1);
    struct addr from = nth(1);
    uint64_t n = 1000;
    while (put(s, --n, big, &from) == 0 && has(s, 999)) {
    }
    size_t fit = stats(s).items;
    cr_assert(fit >= 9 && fit <= 13, "%zu", fit);
    for (n = 900; n > 0; n--) {
        cr_assert_eq(put(s, n, n % 2 ? big : "1:a", &from), 0);
        cr_assert_leq(stats(s).item_bytes, 10 * 1400);
    }
    cr_assert(has(s, 1) && has(s, 2) && !has(s, 900));
    cr_assert_eq(put(s, 950, big, &from), ERR_FULL);
    /* An item may not grow beyond it either. */
    struct dht_id t = key(0);
    struct item it = signed_item("1:a", 1);
    struct shelf *tight = with(10, 700, 1, 1);
    cr_assert_eq(shelf_put(tight, &t, &it, NULL, &from, 0), 0);
    it = signed_item(big, 2);
    cr_assert_eq(shelf_put(tight, &t, &it, NULL, &from, 0), ERR_FULL);
    cr_assert(holds(tight, 0, "1:a"));
    shelf_free(tight);
    shelf_free(s);
}

/* One network can't fill the shelf, however close to us its items lie. */
Test(shelf, one_network_has_a_share)
{
    struct shelf *s = ordinary();
    const size_t share = SHELF_ITEMS_MAX * SHELF_SOURCE_PERCENT / 100;
    struct addr a = ip("20.1.2.3"), neighbour = ip("20.1.2.200"), other = ip("20.1.3.3");
    uint64_t n = 1;
    for (; n <= share; n++) {
        cr_assert_eq(put(s, n << 40, "1:a", n % 2 ? &a : &neighbour), 0);
    }
    cr_assert_eq(put(s, n, "1:a", &a), ERR_FULL);
    cr_assert_eq(put(s, n, "1:a", &neighbour), ERR_FULL);
    cr_assert_eq(put(s, n, "1:a", &other), 0);
    cr_assert_eq(put(s, (uint64_t)1 << 40, "1:a", &a), 0, "a refresh costs nothing");
    struct addr six = ip("[2001:db8:1:2::3]"), six_near = ip("[2001:db8:1:ff::9]"),
                six_far = ip("[2001:db8:2::3]");
    for (n = 0; n < share; n++) {
        cr_assert_eq(put(s, (n << 40) + 7, "1:a", &six), 0);
    }
    cr_assert_eq(put(s, 9, "1:a", &six_near), ERR_FULL);
    cr_assert_eq(put(s, 9, "1:a", &six_far), 0);
    /* When they are gone, there is room again. */
    shelf_tick(s, SHELF_ITEM_TTL_MS);
    cr_assert_eq(put(s, 1, "1:a", &a), 0);
    shelf_free(s);
}

Test(shelf, local_addresses_have_a_share_each)
{
    struct shelf *s = ordinary();
    const size_t share = SHELF_ITEMS_MAX * SHELF_SOURCE_PERCENT / 100;
    struct addr a = ip("192.168.1.2"), b = ip("192.168.1.3");
    for (uint64_t n = 0; n < share; n++) {
        cr_assert_eq(put(s, n, "1:a", &a), 0);
    }
    cr_assert_eq(put(s, share, "1:a", &a), ERR_FULL);
    cr_assert_eq(put(s, share, "1:a", &b), 0);
    shelf_free(s);
}

/* A flood from everywhere: nothing but the closest stays, and no count is lost. */
Test(shelf, a_flood_of_items)
{
    struct shelf *s = with(200, 1 << 20, 1, 1);
    for (uint32_t i = 0; i < 5000; i++) {
        struct dht_id id;
        struct item it = plain("3:abc");
        struct addr from = nth(i % 700);
        dht_id_random(&env, &id);
        int rc = shelf_put(s, &id, &it, NULL, &from, i);
        cr_assert(rc == 0 || rc == ERR_FULL);
        cr_assert_leq(stats(s).items, 200);
    }
    cr_assert_eq(stats(s).items, 200);
    /* The 200th of 5000 lies at a twenty-fifth of the space or so. */
    struct dht_id id = key(UINT64_MAX / 10);
    struct item it = plain("1:a");
    struct addr from = nth(1);
    cr_assert_eq(shelf_put(s, &id, &it, NULL, &from, 5000), ERR_FULL);
    shelf_tick(s, UINT64_MAX - 1);
    cr_assert_eq(stats(s).items, 0);
    shelf_free(s);
}

/* The peers of a hash, as a reply would carry them; asserts that they are well-formed. */
static size_t peers(const struct shelf *s, const struct dht_id *hash, unsigned family,
                    bool noseed, size_t max, uint64_t now_ms, struct addr *first)
{
    static uint8_t out[64 * 1024];
    struct wr w = wr_init(out, sizeof out);
    struct addr a;
    struct ben list;
    size_t n = shelf_peers(s, hash, family, noseed, max, now_ms, &w), pos = 0, got = 0;
    cr_assert(wr_ok(&w));
    cr_assert_eq(n == 0, w.len == 0);
    if (n > 0) {
        struct krpc_view values = {out, w.len};
        cr_assert(bencode_check(out, w.len, &list));
        while (krpc_peer_next(&values, &pos, &a)) {
            cr_assert_eq(a.family, family);
            if (got++ == 0 && first != NULL) {
                *first = a;
            }
        }
    }
    cr_assert_eq(n, got);
    cr_assert_leq(n, max);
    return n;
}

Test(shelf, peers_are_remembered_one_an_address)
{
    struct shelf *s = ordinary();
    struct dht_id h = key(1), other = key(2);
    struct addr a = ip("20.0.0.1:4000"), b = ip("20.0.0.2:4000"), got;
    struct addr six = ip("[2001:db8::1]:4000");
    cr_assert_eq(peers(s, &h, 4, false, 60, 0, NULL), 0);
    cr_assert_eq(shelf_announce(s, &h, &a, false, 0), 0);
    cr_assert_eq(peers(s, &h, 4, false, 60, 0, &got), 1);
    cr_assert(addr_eq(&a, &got));
    a.port = 5000;
    cr_assert_eq(shelf_announce(s, &h, &a, false, 0), 0);
    cr_assert_eq(peers(s, &h, 4, false, 60, 0, &got), 1, "its new port only");
    cr_assert(addr_eq(&a, &got));
    cr_assert_eq(shelf_announce(s, &h, &b, true, 0), 0);
    cr_assert_eq(shelf_announce(s, &h, &six, false, 0), 0);
    cr_assert_eq(peers(s, &h, 4, false, 60, 0, NULL), 2);
    cr_assert_eq(peers(s, &h, 4, true, 60, 0, &got), 1, "without the seed");
    cr_assert(addr_eq(&a, &got));
    cr_assert_eq(peers(s, &h, 6, false, 60, 0, &got), 1);
    cr_assert(addr_eq(&six, &got));
    cr_assert_eq(peers(s, &other, 4, false, 60, 0, NULL), 0);
    cr_assert_eq(stats(s).hashes, 1);
    cr_assert_eq(stats(s).peers, 3);
    shelf_free(s);
}

Test(shelf, peers_nobody_can_dial_are_refused)
{
    static const char *const bad[] = {"20.0.0.1:0",        "0.0.0.0:1", "224.0.0.1:1",
                                      "255.255.255.255:1", "[::]:1",    "[ff02::1]:1"};
    struct shelf *s = ordinary();
    struct dht_id h = key(1);
    struct addr none = {.port = 7};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct addr a;
        cr_assert_eq(addr_parse(bad[i], 0, &a), 0, "%s", bad[i]);
        cr_assert_eq(shelf_announce(s, &h, &a, false, 0), ERR_ARG, "%s", bad[i]);
    }
    cr_assert_eq(shelf_announce(s, &h, &none, false, 0), ERR_ARG);
    cr_assert_eq(stats(s).hashes, 0);
    shelf_free(s);
}

Test(shelf, peers_expire_each_in_its_time)
{
    enum { MINUTE = 60 * 1000, TTL = SHELF_PEER_TTL_MS };
    struct shelf *s = ordinary();
    struct dht_id h = key(1);
    for (uint32_t i = 0; i < 10; i++) {
        struct addr a = nth(i);
        cr_assert_eq(shelf_announce(s, &h, &a, false, i * MINUTE), 0);
    }
    struct addr again = nth(0);
    cr_assert_eq(shelf_announce(s, &h, &again, false, 20 * MINUTE), 0);
    cr_assert_eq(shelf_deadline(s), TTL + MINUTE);
    for (uint32_t i = 1; i < 10; i++) {
        cr_assert_eq(peers(s, &h, 4, false, 60, TTL + i * MINUTE - 1, NULL), 11 - i);
        cr_assert_eq(peers(s, &h, 4, false, 60, TTL + i * MINUTE, NULL), 10 - i,
                     "even before the tick");
        shelf_tick(s, TTL + i * MINUTE);
        cr_assert_eq(stats(s).peers, 10 - i);
    }
    cr_assert_eq(shelf_deadline(s), TTL + 20 * MINUTE);
    shelf_tick(s, TTL + 20 * MINUTE);
    cr_assert_eq(stats(s).hashes, 0);
    cr_assert_eq(stats(s).peers, 0);
    cr_assert_eq(shelf_deadline(s), UINT64_MAX);
    shelf_free(s);
}

Test(shelf, a_hash_has_so_many_peers)
{
    struct shelf *s = ordinary();
    struct dht_id h = key(1);
    struct addr a, first, got;
    unsigned changes = 0;
    for (uint32_t i = 0; i < SHELF_HASH_PEERS_MAX + 100; i++) {
        a = nth(i);
        cr_assert_eq(shelf_announce(s, &h, &a, false, i), 0);
    }
    cr_assert_eq(stats(s).peers, SHELF_HASH_PEERS_MAX);
    cr_assert_eq(peers(s, &h, 4, false, 1000, 600, &first), SHELF_HASH_PEERS_MAX);
    a = nth(100);
    cr_assert(addr_eq(&first, &a), "the oldest have gone");
    /* A reply holds some, others each time. */
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(peers(s, &h, 4, false, 60, 600, &got), 60);
        changes += !addr_eq(&got, &first);
        first = got;
    }
    cr_assert_gt(changes, 5);
    shelf_free(s);
}

/* Each peer is named as often as the others. */
Test(shelf, peers_are_drawn_evenly)
{
    enum { PEERS = 40, TAKE = 10, TIMES = 4000 };
    struct shelf *s = ordinary();
    struct dht_id h = key(1);
    unsigned seen[PEERS] = {0};
    for (uint32_t i = 0; i < PEERS; i++) {
        struct addr a = nth(i);
        cr_assert_eq(shelf_announce(s, &h, &a, false, 0), 0);
    }
    for (int i = 0; i < TIMES; i++) {
        uint8_t out[1024];
        struct wr w = wr_init(out, sizeof out);
        struct addr a;
        size_t pos = 0;
        cr_assert_eq(shelf_peers(s, &h, 4, false, TAKE, 0, &w), TAKE);
        struct krpc_view values = {out, w.len};
        while (krpc_peer_next(&values, &pos, &a)) {
            seen[a.ip[2]]++;
        }
    }
    for (int i = 0; i < PEERS; i++) {
        cr_assert(seen[i] > 850 && seen[i] < 1150, "%u, not about 1000", seen[i]);
    }
    shelf_free(s);
}

Test(shelf, far_hashes_and_peers_give_way)
{
    struct shelf *s = with(1, 1000, 3, 5);
    struct dht_id h[5];
    for (uint64_t i = 0; i < 5; i++) {
        h[i] = key(10 * (i + 1));
    }
    struct addr a = nth(0), b = nth(1), c = nth(2), d = nth(3);
    for (size_t i = 1; i < 4; i++) {
        cr_assert_eq(shelf_announce(s, &h[i], &a, false, 0), 0);
    }
    cr_assert_eq(shelf_announce(s, &h[4], &a, false, 0), ERR_FULL);
    cr_assert_eq(shelf_announce(s, &h[0], &a, false, 0), 0);
    cr_assert_eq(peers(s, &h[3], 4, false, 9, 0, NULL), 0, "the farthest hash went");
    cr_assert_eq(shelf_announce(s, &h[0], &b, false, 1), 0);
    cr_assert_eq(shelf_announce(s, &h[0], &c, false, 2), 0);
    cr_assert_eq(stats(s).peers, 5);
    cr_assert_eq(shelf_announce(s, &h[0], &d, false, 3), 0);
    cr_assert_eq(stats(s).hashes, 2, "for one more, the next far hash goes");
    cr_assert_eq(stats(s).peers, 5);
    cr_assert_eq(shelf_announce(s, &h[1], &b, false, 4), 0);
    cr_assert_eq(stats(s).peers, 5, "the farthest of all changes its own");
    cr_assert_eq(peers(s, &h[1], 4, false, 9, 4, &a), 1);
    cr_assert(addr_eq(&a, &b));
    shelf_free(s);
}

Test(shelf, one_network_has_a_share_of_peers)
{
    struct shelf *s = ordinary();
    const unsigned share = SHELF_PEERS_MAX * SHELF_SOURCE_PERCENT / 100;
    struct addr a = ip("20.1.2.3"), other = ip("20.1.3.3");
    for (unsigned n = 0; n < share; n++) {
        struct dht_id h = key(n);
        cr_assert_eq(shelf_announce(s, &h, &a, false, 0), 0);
    }
    struct dht_id h = key(share);
    cr_assert_eq(shelf_announce(s, &h, &a, false, 0), ERR_FULL);
    cr_assert_eq(stats(s).hashes, share, "no empty one stays");
    cr_assert_eq(shelf_announce(s, &h, &other, false, 0), 0);
    h = key(5);
    cr_assert_eq(shelf_announce(s, &h, &a, false, 1), 0, "what is there is refreshed");
    shelf_free(s);
}

Test(shelf, a_flood_of_peers)
{
    struct shelf *s = with(1, 1000, 20, 300);
    for (uint32_t i = 0; i < 20000; i++) {
        struct dht_id h = key((uint64_t)(i * 7 % 31) << 50);
        struct addr a = nth(i % 1009);
        int rc = shelf_announce(s, &h, &a, i % 3 == 0, i * 200);
        cr_assert(rc == 0 || rc == ERR_FULL);
        cr_assert_leq(stats(s).hashes, 20);
        cr_assert_leq(stats(s).peers, 300);
    }
    shelf_tick(s, UINT64_MAX - 1);
    cr_assert_eq(stats(s).peers, 0);
    cr_assert_eq(stats(s).hashes, 0);
    shelf_free(s);
}

Test(shelf, bep33_vector)
{
    char path[512], line[1024], *at = NULL;
    uint8_t want[BLOOM_LEN], filter[BLOOM_LEN] = {0};
    (void)snprintf(path, sizeof path, "%s/vectors/bep33.txt", getenv("LINNET_TESTS"));
    FILE *f = fopen(path, "r");
    cr_assert_not_null(f);
    while (at == NULL && fgets(line, sizeof line, f) != NULL) {
        at = strncmp(line, "filter-hex: ", 12) == 0 ? line + 12 : NULL;
    }
    cr_assert_eq(fclose(f), 0);
    cr_assert_not_null(at);
    cr_assert_eq(sodium_hex2bin(want, sizeof want, at, 2 * sizeof want, NULL, NULL, NULL),
                 0);
    for (unsigned i = 0; i < 256; i++) {
        struct addr a = {.family = 4, .ip = {192, 0, 2, (uint8_t)i}};
        bloom_add(filter, &a);
    }
    for (unsigned i = 0; i < 1000; i++) {
        struct addr a = {
            .family = 6,
            .ip = {0x20, 0x01, 0x0d, 0xb8, [14] = (uint8_t)(i >> 8), [15] = (uint8_t)i}};
        bloom_add(filter, &a);
    }
    cr_assert_arr_eq(filter, want, sizeof want);
}

Test(shelf, scrape_counts_seeds_and_peers_apart)
{
    struct shelf *s = ordinary();
    struct dht_id h = key(1);
    uint8_t seeds[BLOOM_LEN] = {9}, others[BLOOM_LEN] = {9}, want[2][BLOOM_LEN] = {{0}};
    cr_assert_not(shelf_scrape(s, &h, 0, seeds, others));
    cr_assert_eq(seeds[0], 9, "outputs stay untouched");
    for (uint32_t i = 0; i < 30; i++) {
        struct addr a = nth(i);
        cr_assert_eq(shelf_announce(s, &h, &a, i % 3 == 0, i), 0);
        if (i >= 10) {
            bloom_add(want[i % 3 == 0], &a);
        }
    }
    cr_assert(shelf_scrape(s, &h, SHELF_PEER_TTL_MS + 9, seeds, others));
    cr_assert_arr_eq(seeds, want[1], BLOOM_LEN);
    cr_assert_arr_eq(others, want[0], BLOOM_LEN);
    cr_assert_not(shelf_scrape(s, &h, SHELF_PEER_TTL_MS + 30, seeds, others));
    shelf_free(s);
}

/* How many of these are the keys of 251 .. 500. */
static unsigned of_half(const struct dht_id ids[SHELF_SAMPLES_MAX])
{
    unsigned found = 0;
    for (uint64_t n = 251; n <= 500; n++) {
        struct dht_id h = key(n);
        for (size_t i = 0; i < SHELF_SAMPLES_MAX; i++) {
            found += dht_id_eq(&ids[i], &h);
        }
    }
    return found;
}

Test(shelf, samples)
{
    struct shelf *s = ordinary();
    struct dht_id out[SHELF_SAMPLES_MAX], next[SHELF_SAMPLES_MAX];
    unsigned changes = 0, late = 0;
    cr_assert_eq(shelf_sample(s, 0, out), 0);
    for (uint64_t n = 1; n <= 500; n++) {
        struct dht_id h = key(n);
        struct addr a = nth((uint32_t)n);
        cr_assert_eq(shelf_announce(s, &h, &a, false, 0), 0);
        cr_assert_eq(shelf_sample(s, 0, out),
                     n < SHELF_SAMPLES_MAX ? n : SHELF_SAMPLES_MAX);
        if (n == SHELF_SAMPLES_MAX + 1) {
            memcpy(next, out, sizeof next);
        }
    }
    cr_assert_eq(memcmp(out, next, sizeof out), 0, "also when others come");
    for (uint64_t i = 0; i < SHELF_SAMPLES_MAX; i++) {
        for (uint64_t j = 0; j < i; j++) {
            cr_assert_not(dht_id_eq(&out[i], &out[j]), "no hash twice");
        }
        cr_assert_eq(peers(s, &out[i], 4, false, 9, 0, NULL), 1);
    }
    (void)shelf_sample(s, SHELF_SAMPLE_S * 1000 - 1, next);
    cr_assert_eq(memcmp(out, next, sizeof out), 0, "the same for a while");
    for (uint64_t i = 1; i <= 10; i++) {
        (void)shelf_sample(s, i * SHELF_SAMPLE_S * 1000, next);
        changes += memcmp(out, next, sizeof out) != 0;
        late += of_half(next);
    }
    cr_assert_gt(changes, 7, "then others");
    cr_assert(late > 60 && late < 140, "from all of them: %u of 200 are of one half",
              late);
    shelf_free(s);
}
