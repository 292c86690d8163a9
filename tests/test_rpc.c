/* Queries that wait for their answer. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/err.h"
#include "dht/rpc.h"
#include "seeded.h"

static uint64_t state = 3;
static const struct env env = {&state, seeded, NULL};

static struct addr address(unsigned i)
{
    return (struct addr){
        .family = 4, .ip = {20, (uint8_t)(i >> 8), (uint8_t)i, 1}, .port = 6881};
}

static struct rpc_call to(unsigned i, uint16_t rtt_ms)
{
    return (struct rpc_call){.addr = address(i), .owner = i, .rtt_ms = rtt_ms};
}

/* Begins one that must not be refused; its transaction id goes to tid. */
static void begin(struct rpc *r, unsigned i, uint64_t now_ms, uint8_t tid[RPC_TID_LEN])
{
    struct rpc_call want = to(i, 0);
    cr_assert_eq(rpc_begin(r, &want, now_ms, tid), 0);
}

Test(rpc, an_answer_counts_once_and_from_where_it_was_asked)
{
    struct rpc r;
    struct rpc_call got;
    uint8_t tid[RPC_TID_LEN], wrong[RPC_TID_LEN];
    struct addr a = address(1), other_port = a, other = address(2);
    other_port.port++;
    rpc_init(&r, &env, false);
    cr_assert_eq(rpc_deadline(&r), UINT64_MAX);
    begin(&r, 1, 1000, tid);
    memcpy(wrong, tid, sizeof wrong);
    wrong[0] ^= 1;
    cr_assert_not(rpc_answer(&r, tid, sizeof tid, &other, 1010, &got));
    cr_assert_not(rpc_answer(&r, tid, sizeof tid, &other_port, 1010, &got));
    cr_assert_not(rpc_answer(&r, wrong, sizeof wrong, &a, 1010, &got));
    cr_assert_not(rpc_answer(&r, tid, sizeof tid - 1, &a, 1010, &got));
    cr_assert_not(rpc_answer(&r, NULL, 0, &a, 1010, &got));
    cr_assert(rpc_answer(&r, tid, sizeof tid, &a, 1070, &got));
    cr_assert_eq(got.owner, 1);
    cr_assert_eq(got.rtt_ms, 70);
    cr_assert_not(rpc_answer(&r, tid, sizeof tid, &a, 1071, &got));
    cr_assert_eq(rpc_deadline(&r), UINT64_MAX);
    rpc_release(&r);
}

Test(rpc, slow_first_lost_later_and_an_answer_in_between_counts)
{
    struct rpc r;
    struct rpc_call got;
    bool lost;
    uint8_t tid[2][RPC_TID_LEN];
    struct addr a = address(1);
    rpc_init(&r, &env, false);
    begin(&r, 1, 0, tid[0]);
    begin(&r, 2, 0, tid[1]);
    uint64_t slow = RPC_SLOW_RTTS * RPC_RTT_START_MS;
    cr_assert_eq(rpc_deadline(&r), slow);
    cr_assert_not(rpc_next_late(&r, slow - 1, &got, &lost));
    for (int i = 0; i < 2; i++) {
        cr_assert(rpc_next_late(&r, slow, &got, &lost));
        cr_assert_not(lost);
        cr_assert(got.slow);
    }
    cr_assert_not(rpc_next_late(&r, slow, &got, &lost), "each is slow once");
    cr_assert_eq(rpc_deadline(&r), RPC_LOST_MS);
    cr_assert(rpc_answer(&r, tid[0], RPC_TID_LEN, &a, RPC_LOST_MS - 1, &got));
    cr_assert(got.slow);
    cr_assert(rpc_next_late(&r, RPC_LOST_MS, &got, &lost));
    cr_assert(lost);
    cr_assert_eq(got.owner, 2);
    cr_assert_not(rpc_next_late(&r, RPC_LOST_MS, &got, &lost));
    a = address(2);
    cr_assert_not(rpc_answer(&r, tid[1], RPC_TID_LEN, &a, RPC_LOST_MS + 1, &got));
    rpc_release(&r);
}

Test(rpc, the_first_deadline_follows_the_round_trip)
{
    struct rpc r;
    rpc_init(&r, &env, false);
    cr_assert_eq(rpc_slow_ms(&r, 1), RPC_SLOW_MIN_MS);
    cr_assert_eq(rpc_slow_ms(&r, 200), 600);
    cr_assert_eq(rpc_slow_ms(&r, 3000), RPC_SLOW_MAX_MS);
    for (unsigned i = 0; i < 100; i++) {
        struct rpc_call got;
        struct addr a = address(i);
        uint8_t tid[RPC_TID_LEN];
        begin(&r, i, i * 1000ull, tid);
        cr_assert(rpc_answer(&r, tid, sizeof tid, &a, i * 1000ull + 20, &got));
    }
    cr_assert_eq(rpc_slow_ms(&r, 0), RPC_SLOW_MIN_MS, "all are near");
    rpc_release(&r);
}

Test(rpc, one_address_is_not_flooded)
{
    struct rpc r;
    struct rpc_call one = to(1, 0), other = to(2, 0);
    uint8_t tid[RPC_TID_LEN];
    rpc_init(&r, &env, false);
    unsigned sent = 0, first = 0;
    for (uint64_t now = 0; now < 10000; now += 10) {
        if (rpc_wait_ms(&r, &one.addr, now) == 0) {
            cr_assert_eq(rpc_begin(&r, &one, now, tid), 0);
            sent++;
        } else {
            cr_assert_eq(rpc_begin(&r, &one, now, tid), ERR_BUSY);
        }
        first = now == 0 ? sent : first;
        for (; now == 0 && rpc_begin(&r, &one, now, tid) == 0; sent++) {
            first++;
        }
    }
    cr_assert_eq(first, RPC_RATE_BURST);
    cr_assert_leq(sent, 49, "who sends 50 packets in 10 s is banned");
    cr_assert_geq(sent, 40);
    cr_assert_eq(rpc_wait_ms(&r, &other.addr, 0), 0);
    cr_assert_leq(rpc_wait_ms(&r, &one.addr, 10000), 1000 / RPC_RATE_PER_S);
    rpc_release(&r);
}

Test(rpc, addresses_do_not_share_a_rate)
{
    unsigned sent = 0;
    for (int round = 0; round < 10; round++) {
        struct rpc r;
        uint8_t tid[RPC_TID_LEN];
        rpc_init(&r, &env, false);
        for (uint8_t i = 0; i < 30; i++) {
            struct rpc_call one = to(i, 0);
            while (rpc_begin(&r, &one, 0, tid) == 0) {
                sent++;
            }
        }
        rpc_release(&r);
    }
    cr_assert_geq(sent, 10 * 30 * RPC_RATE_BURST * 99 / 100, "%u", sent);
}

Test(rpc, a_test_network_may_live_at_one_private_address)
{
    for (int round = 0; round < 2; round++) {
        struct rpc r;
        uint8_t tid[RPC_TID_LEN];
        unsigned sent = 0;
        rpc_init(&r, &env, round == 1);
        for (uint16_t i = 1; i <= 20; i++) {
            struct rpc_call want = {
                .addr = {.family = 4, .ip = {127, 0, 0, 1}, .port = i}};
            sent += rpc_begin(&r, &want, 0, tid) == 0;
        }
        cr_assert_eq(sent, round == 0 ? RPC_RATE_BURST : 20);
        rpc_release(&r);
    }
}

Test(rpc, the_rate_outlasts_its_numbers)
{
    struct rpc r;
    struct rpc_call one = to(1, 0), got;
    bool lost;
    uint8_t tid[RPC_TID_LEN];
    rpc_init(&r, &env, false);
    for (uint64_t day = 0; day < 200; day++) {
        uint64_t now = day * 86400000;
        unsigned sent = 0;
        while (rpc_begin(&r, &one, now, tid) == 0) {
            sent++;
        }
        cr_assert_eq(sent, RPC_RATE_BURST, "day %u", (unsigned)day);
        while (rpc_next_late(&r, now + RPC_LOST_MS, &got, &lost)) {
        }
    }
    rpc_release(&r);
}

Test(rpc, there_is_a_most)
{
    struct rpc r;
    uint8_t tid[RPC_TID_LEN];
    rpc_init(&r, &env, false);
    int rc = 0;
    size_t n = 0;
    for (unsigned i = 0; rc != ERR_LIMIT; i++) {
        struct rpc_call want = to(i, 0);
        rc = rpc_begin(&r, &want, i * 100ull, tid);
        n += rc == 0;
        cr_assert(i < 10000);
    }
    cr_assert_eq(n, RPC_CALLS_MAX);
    rpc_release(&r);
    cr_assert_eq(rpc_memory(&r), 0);
}

Test(rpc, slow_ones_make_room)
{
    struct rpc r;
    struct rpc_call call;
    uint8_t tid[RPC_TID_LEN];
    bool lost;
    rpc_init(&r, &env, false);
    uint64_t now_ms = 0;
    for (; r.n < RPC_CALLS_MAX; now_ms++) {
        struct rpc_call want = to((unsigned)now_ms, 0);
        (void)rpc_begin(&r, &want, now_ms, tid); /* some share a rate */
        cr_assert_lt(now_ms, 5000);
    }
    now_ms += 2000;
    struct rpc_call more = to(0, 0);
    cr_assert_eq(rpc_begin(&r, &more, now_ms, tid), ERR_LIMIT, "none is slow yet");
    while (rpc_next_late(&r, now_ms, &call, &lost)) {
        cr_assert_not(lost);
    }
    begin(&r, 9000, now_ms, tid);
    begin(&r, 9001, now_ms, tid);
    cr_assert_leq(rpc_deadline(&r), now_ms);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert(rpc_next_late(&r, now_ms, &call, &lost));
        cr_assert(lost && call.owner < 2, "the oldest: %u", call.owner);
    }
    cr_assert_not(rpc_next_late(&r, now_ms, &call, &lost));
    for (unsigned i = 0; i < 1000; i++) {
        more = to(9002 + i, 0);
        (void)rpc_begin(&r, &more, now_ms, tid);
    }
    cr_assert_eq(r.n, RPC_CALLS_MAX + RPC_DROPPED_MAX, "until they are reported");
    rpc_release(&r);
}
