/* The DHT node against a network of nodes that are made of a few lines and lie on demand.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "base/err.h"
#include "dht_fakes.h"
#include "seeded.h"

/* ---- first contact ---- */

Test(dht, from_one_address_to_a_full_table)
{
    struct net *n = net_joined(40);
    cr_assert_geq(net_nodes(n), 24, "%zu", net_nodes(n));
    net_run(n, 60 * MIN);
    cr_assert_eq(net_nodes(n), 40, "%zu", net_nodes(n));
    cr_assert_eq(n->strays, 0);
    struct krpc_node node;
    size_t known = 0;
    for (size_t pos = 0; dht_next_node(n->d, &pos, &node); known++) {
        cr_assert_not_null(net_fake_at(n, &node.addr));
    }
    cr_assert_eq(known, 40);
    net_free(n);
}

Test(dht, an_idle_node_is_quiet)
{
    struct net *n = net_joined(40);
    net_run(n, 20 * MIN);
    int before = 0, after = 0;
    for (unsigned i = 0; i < n->n; i++) {
        before += n->f[i].asked;
    }
    net_run(n, 60 * MIN);
    for (unsigned i = 0; i < n->n; i++) {
        after += n->f[i].asked;
    }
    cr_assert_leq(after - before, 40 * 4 + 4 * 40 + 40, "%d queries an hour",
                  after - before);
    net_free(n);
}

Test(dht, nobody_there_is_tried_less_and_less)
{
    struct net *n = net_new(3, &net_open);
    n->f[0].silent = true;
    net_run(n, 60 * MIN);
    cr_assert_eq(n->n_ready, 0);
    cr_assert(n->f[0].asked > 10 && n->f[0].asked < 70, "%d", n->f[0].asked);
    uint32_t op;
    cr_assert_eq(dht_find(n->d, &n->f[1].n.id, n->now_ms, &op), 0);
    net_until_done(n);
    cr_assert_eq(n->done.u.done.outcome, DHT_NOT_ASKED);
    n->f[0].silent = false;
    net_run(n, 2 * MIN);
    cr_assert_eq(n->n_ready, 1);
    cr_assert_eq(net_nodes(n), 3);
    net_free(n);
}

Test(dht, an_operation_waits_for_the_first_node)
{
    struct net *n = net_new(10, &net_open);
    uint32_t op;
    struct dht_id target = {{1}};
    cr_assert_eq(dht_get(n->d, &target, false, n->now_ms, &op), 0);
    net_until_done(n);
    cr_assert_eq(n->done.op, op);
    cr_assert_eq(n->done.u.done.outcome, DHT_NOT_FOUND);
    net_free(n);
}

Test(dht, while_we_are_cut_off_nobody_is_forgotten)
{
    struct net *n = net_joined(30);
    net_run(n, 60 * MIN);
    cr_assert_eq(net_nodes(n), 30);
    for (unsigned i = 0; i < n->n; i++) {
        n->f[i].silent = true;
    }
    net_run(n, 120 * MIN);
    cr_assert_eq(net_nodes(n), 30);
    for (unsigned i = 0; i < n->n; i++) {
        n->f[i].silent = i % 2 == 0;
    }
    dht_network_changed(n->d, n->now_ms);
    net_run(n, 60 * MIN);
    cr_assert_eq(net_nodes(n), 15, "now the silent ones are gone: %zu", net_nodes(n));
    net_free(n);
}

Test(dht, who_was_cut_off_says_when_it_is_over)
{
    struct net *n = net_joined(30);
    cr_assert_eq(n->n_ready, 1);
    for (unsigned i = 0; i < n->n; i++) {
        n->f[i].silent = true;
    }
    net_run(n, 30 * MIN);
    cr_assert_eq(n->n_ready, 1);
    for (unsigned i = 0; i < n->n; i++) {
        n->f[i].silent = false;
    }
    net_run(n, 5 * MIN);
    cr_assert_eq(n->n_ready, 2);
    net_run(n, 60 * MIN);
    cr_assert_eq(n->n_ready, 2);
    net_free(n);
}

/* ---- lookups ---- */

Test(dht, ping_and_find)
{
    struct net *n = net_joined(40);
    uint32_t op;
    cr_assert_eq(dht_ping(n->d, &n->f[7].n.addr, n->now_ms, &op), 0);
    net_until_done(n);
    cr_assert_eq(n->done.op, op);
    cr_assert(n->done.u.done.outcome == DHT_OK && n->done.u.done.ms == RTT_MS);
    n->f[7].silent = true;
    cr_assert_eq(dht_ping(n->d, &n->f[7].n.addr, n->now_ms, &op), 0);
    net_until_done(n);
    cr_assert_eq(n->done.u.done.outcome, DHT_NOT_ASKED);
    struct dht_id target = {{0x77}};
    n->f[7].silent = false;
    cr_assert_eq(dht_find(n->d, &target, n->now_ms, &op), 0);
    net_until_done(n);
    cr_assert_eq(n->done.u.done.n_closest, 8);
    for (unsigned i = 0; i < 8; i++) {
        cr_assert(
            dht_id_eq(&n->done.u.done.closest[i].id, &net_closest(n, &target, i)->n.id));
    }
    net_free(n);
}

Test(dht, many_pings_of_one_node_take_their_time)
{
    enum { PINGS = 12 };
    struct net *n = net_joined(40);
    uint32_t op;
    for (unsigned i = 0; i < PINGS; i++) {
        cr_assert_eq(dht_ping(n->d, &n->f[7].n.addr, n->now_ms, &op), 0);
    }
    net_run(n, 10000);
    cr_assert_eq(n->n_done, PINGS);
    cr_assert_eq(n->done.u.done.outcome, DHT_OK);
    net_free(n);
}

Test(dht, not_found_is_not_could_not_ask)
{
    struct net *n = net_joined(30);
    struct dht_id target = {{0x77}};
    uint32_t op;
    cr_assert_eq(dht_get(n->d, &target, false, n->now_ms, &op), 0);
    net_until_done(n);
    cr_assert_eq(n->done.u.done.outcome, DHT_NOT_FOUND);
    for (unsigned i = 0; i < n->n; i++) {
        n->f[i].silent = i % 6 != 0; /* 5 are left */
    }
    cr_assert_eq(dht_get(n->d, &target, false, n->now_ms, &op), 0);
    net_until_done(n);
    cr_assert_eq(n->done.u.done.outcome, DHT_NOT_ASKED);
    cr_assert_eq(n->done.u.done.n.closest, 5);
    net_free(n);
}

Test(dht, one_silent_node_costs_little)
{
    struct net *n = net_joined(40);
    struct item it = {.v = {(const uint8_t *)"2:hi", 4}};
    struct dht_id target;
    uint32_t op;
    item_target(&it, &target);
    net_closest(n, &target, 0)->silent = true;
    cr_assert_eq(dht_put(n->d, &it, NULL, false, n->now_ms, &op), 0);
    net_until_done(n);
    cr_assert_eq(n->done.u.done.copies, 8);
    cr_assert_lt(n->done.u.done.ms, 1000);
    net_free(n);
}

Test(dht, an_immutable_value_is_told_once_and_at_once)
{
    struct net *n = net_joined(40);
    struct item it = {.v = {(const uint8_t *)"2:hi", 4}};
    struct dht_id target;
    uint32_t op;
    item_target(&it, &target);
    for (unsigned i = 0; i < n->n; i++) {
        n->f[i].it = it;
    }
    struct fake *liar = net_closest(n, &target, 0);
    liar->it.v.p = (const uint8_t *)"2:ho";
    cr_assert_eq(dht_get(n->d, &target, false, n->now_ms, &op), 0);
    net_until_done(n);
    cr_assert_eq(n->n_values, 1);
    cr_assert_eq(n->value.op, op);
    cr_assert(n->value.u.value.len == 4 && memcmp(n->value.u.value.v, "2:hi", 4) == 0);
    cr_assert_eq(n->done.u.done.outcome, DHT_OK);
    cr_assert_eq(n->done.u.done.ms, RTT_MS, "in the first answer");
    net_free(n);
}

Test(dht, the_newest_mutable_value_wins)
{
    struct net *n = net_joined(40);
    struct item_key key = fake_key(1), thief = fake_key(2);
    struct item any = {.k = key.public_key};
    struct dht_id target;
    uint32_t op;
    item_target(&any, &target);
    fake_give(net_closest(n, &target, 0), &key, "3:old", 1);
    fake_give(net_closest(n, &target, 1), &key, "3:new", 9);
    fake_give(net_closest(n, &target, 2), &thief, "3:bad", 99);
    fake_give(net_closest(n, &target, 3), &key, "3:bad", 50);
    net_closest(n, &target, 3)->sig[5] ^= 1;
    fake_give(net_closest(n, &target, 4), &key, "3:bad", 60);
    net_closest(n, &target, 4)->half = true;
    n->watch = KRPC_GET;
    cr_assert_eq(dht_get_mutable(n->d, key.public_key, NULL, 0, false, n->now_ms, &op),
                 0);
    net_drain(n);
    cr_assert(n->last.has & KRPC_SEQ, "or some answer with an unsigned one");
    cr_assert_eq(n->last.seq, 0);
    net_until_done(n);
    cr_assert(n->n_values >= 1 && n->n_values <= 2);
    cr_assert_eq(n->value.u.value.seq, 9);
    cr_assert(memcmp(n->value.u.value.v, "3:new", 5) == 0);
    cr_assert_eq(n->done.u.done.copies, 1);
    cr_assert_eq(n->done.u.done.seq, 99, "somebody has claimed so");
    cr_assert_eq(n->done.u.done.n.closest, 8, "it has gone to the end");
    net_free(n);
}

static unsigned asked(const struct net *n)
{
    unsigned sum = 0;
    for (unsigned i = 0; i < n->n; i++) {
        sum += (unsigned)n->f[i].asked;
    }
    return sum;
}

/* What comes of asking one node for what is newer than seq. */
static enum dht_outcome ask_at(struct net *n, const struct krpc_node *at, int64_t seq)
{
    struct item_key key = fake_key(1);
    uint32_t op;
    cr_assert_eq(dht_get_mutable_at(n->d, at, key.public_key, seq, n->now_ms, &op), 0);
    net_until_done(n);
    return n->done.u.done.outcome;
}

Test(dht, one_node_alone_can_be_asked_for_a_mutable_value)
{
    struct net *n = net_joined(40);
    struct item_key key = fake_key(1);
    struct item any = {.k = key.public_key};
    struct dht_id target;
    uint32_t op;
    item_target(&any, &target);
    fake_give(net_closest(n, &target, 1), &key, "3:new", 9);
    cr_assert_eq(dht_get_mutable(n->d, key.public_key, NULL, 0, false, n->now_ms, &op),
                 0);
    net_until_done(n);
    cr_assert_eq(n->done.u.done.n_closest, 8, "it says who is near");
    struct krpc_node near[2] = {n->done.u.done.closest[0], n->done.u.done.closest[1]};
    unsigned before = asked(n);
    n->n_values = 0;
    cr_assert_eq(ask_at(n, &near[1], 0), DHT_OK);
    cr_assert_eq(n->n_values, 1);
    cr_assert_eq(n->value.u.value.seq, 9);
    cr_assert_eq(n->done.u.done.n.asked, 1);
    cr_assert_leq(asked(n), before + 1, "the nodes that it names are not asked");
    cr_assert_eq(n->done.u.done.n_closest, 8, "they are told");
    cr_assert_eq(ask_at(n, &near[1], 8), DHT_OK);
    cr_assert_eq(n->n_values, 2);
    cr_assert_eq(ask_at(n, &near[1], 9), DHT_NOT_FOUND, "it has nothing newer");
    cr_assert_eq(n->n_values, 2);
    cr_assert_eq(ask_at(n, &near[0], 0), DHT_NOT_FOUND);
    net_closest(n, &target, 0)->no_token = true;
    cr_assert_eq(ask_at(n, &near[0], 0), DHT_NOT_ASKED, "it keeps no items");
    net_closest(n, &target, 1)->silent = true;
    cr_assert_eq(ask_at(n, &near[1], 0), DHT_NOT_ASKED);
    cr_assert_eq(dht_get_mutable_at(n->d, &near[1], key.public_key, -1, n->now_ms, &op),
                 ERR_ARG);
    near[0].addr.port = 0;
    cr_assert_eq(dht_get_mutable_at(n->d, &near[0], key.public_key, 0, n->now_ms, &op),
                 ERR_ARG);
    net_free(n);
}

Test(dht, reading_repairs)
{
    struct net *n = net_joined(40);
    struct item_key key = fake_key(1);
    struct item any = {.k = key.public_key};
    struct dht_id target;
    uint32_t op;
    item_target(&any, &target);
    for (unsigned i = 0; i < 5; i++) {
        fake_give(net_closest(n, &target, i), &key, "3:new", i == 0 ? 1 : 9);
    }
    cr_assert_eq(dht_get_mutable(n->d, key.public_key, NULL, 0, true, n->now_ms, &op), 0);
    net_until_done(n);
    cr_assert_eq(n->done.u.done.copies, 4);
    for (unsigned i = 0; i < 8; i++) {
        cr_assert_eq(net_closest(n, &target, i)->stored, i == 0 || i > 4 ? 1 : 0, "%u",
                     i);
    }
    net_free(n);
}

/* Reads an immutable value that the closest nodes, but for one, have; the queries. */
static unsigned read_immutable(unsigned lacks, int stored[8])
{
    static const char v[] = "6:things";
    struct net *n = net_joined(40);
    struct item it = {.v = {(const uint8_t *)v, strlen(v)}};
    struct dht_id target;
    uint32_t op;
    item_target(&it, &target);
    for (unsigned i = 0; i < 8; i++) {
        if (i != lacks) {
            fake_give_immutable(net_closest(n, &target, i), v);
        }
    }
    cr_assert_eq(dht_get(n->d, &target, true, n->now_ms, &op), 0);
    net_until_done(n);
    cr_assert_eq(n->done.u.done.outcome, DHT_OK);
    cr_assert_eq(n->n_values, 1);
    for (unsigned i = 0; i < 8; i++) {
        stored[i] = net_closest(n, &target, i)->stored;
    }
    unsigned queries = n->done.u.done.n.asked;
    net_free(n);
    return queries;
}

Test(dht, an_immutable_value_that_is_kept_well_costs_few_queries)
{
    int stored[8];
    cr_assert_eq(read_immutable(8, stored), LOOKUP_ALPHA);
    for (unsigned i = 0; i < 8; i++) {
        cr_assert_eq(stored[i], 0, "%u", i);
    }
    cr_assert_gt(read_immutable(2, stored), LOOKUP_K);
    for (unsigned i = 0; i < 8; i++) {
        cr_assert_eq(stored[i], i == 2, "%u", i);
    }
}

Test(dht, lookups_in_a_small_network_do_not_wait_for_each_other)
{
    struct net *n = net_joined(40);
    unsigned before = n->n_done;
    for (int i = 0; i < 20; i++) { /* each asks a fifth of the network */
        struct dht_id target;
        uint32_t op;
        dht_id_random(&net_env, &target);
        cr_assert_eq(dht_find(n->d, &target, n->now_ms, &op), 0);
    }
    net_run(n, 3 * RTT_MS);
    cr_assert_eq(n->n_done, before + 20);
    net_free(n);
}

Test(dht, poisoned_answers_send_us_nowhere)
{
    static const struct addr bad[] = {
        {.family = 4, .ip = {127, 0, 0, 1}, .port = 5},
        {.family = 4, .ip = {10, 0, 0, 1}, .port = 5},
        {.family = 4, .ip = {192, 168, 1, 1}, .port = 5},
        {.family = 4, .ip = {169, 254, 1, 1}, .port = 5},
        {.family = 4, .ip = {0, 1, 2, 3}, .port = 5},
        {.family = 4, .ip = {239, 1, 2, 3}, .port = 5},
        {.family = 4, .ip = {255, 255, 255, 255}, .port = 5},
        {.family = 4, .ip = {99, 9, 9, 9}, .port = 999}, /* ourselves */
        {.family = 4, .ip = {30, 1, 1, 1}, .port = 0},
    };
    enum { BAD = sizeof bad / sizeof bad[0] };
    uint8_t list[BAD * KRPC_NODE4_LEN];
    struct net *n = net_new(40, &net_open);
    size_t len = 0;
    for (size_t i = 0; i < BAD; i++) {
        struct krpc_node node = {.addr = bad[i]};
        dht_id_random(&net_env, &node.id);
        len += krpc_pack_node(&node, list + len);
    }
    net_run(n, 2 * MIN); /* our own address is known now */
    for (unsigned i = 0; i < n->n; i += 2) {
        n->f[i].lies = (struct krpc_view){list, len};
    }
    for (uint8_t i = 0; i < 20; i++) {
        struct dht_id target = {{(uint8_t)(i * 12)}};
        uint32_t op;
        cr_assert_eq(dht_find(n->d, &target, n->now_ms, &op), 0);
        net_until_done(n);
    }
    net_run(n, 30 * MIN);
    char text[ADDR_STR_MAX];
    cr_assert_eq(n->strays, 0, "%s", addr_str(&n->stray, text));
    net_free(n);
}

static bool only_20(void *ctx, const struct addr *a)
{
    (void)ctx;
    return a->ip[0] == 20 && a->ip[1] < 120;
}

Test(dht, nothing_is_sent_where_it_may_not)
{
    struct dht_config c = net_open;
    c.may_send = only_20;
    struct net *n = net_new(40, &c);
    net_run(n, 60 * MIN);
    cr_assert(net_nodes(n) > 10 && net_nodes(n) <= 20, "%zu", net_nodes(n));
    for (unsigned i = 20; i < n->n; i++) {
        cr_assert_eq(n->f[i].asked, 0, "%u", i);
    }
    uint32_t op;
    cr_assert_eq(dht_ping(n->d, &n->f[30].n.addr, n->now_ms, &op), ERR_ARG);
    uint8_t ping[] = "d1:ad2:id20:aaaaaaaaaaaaaaaaaaaae1:q4:ping1:t1:x1:y1:qe";
    cr_assert_eq(dht_recv(n->d, &n->f[30].n.addr, ping, sizeof ping - 1, n->now_ms),
                 ERR_REFUSED);
    net_drain(n);
    cr_assert_eq(n->f[30].asked, 0);
    net_free(n);
}

Test(dht, forged_answers_are_nobody_s)
{
    struct net *n = net_joined(10);
    struct dht_out out;
    uint32_t op;
    cr_assert_eq(dht_ping(n->d, &n->f[1].n.addr, n->now_ms, &op), 0);
    cr_assert(dht_next_out(n->d, &out));
    struct krpc_msg q, r;
    cr_assert_eq(krpc_decode(out.bytes, out.len, &q), 0);
    uint8_t bytes[KRPC_SEND_MAX], tid[4];
    memcpy(tid, q.t.p, sizeof tid);
    tid[3] ^= 1;
    krpc_reply_init(&r, &q, &out.dest, &n->f[1].n.id);
    size_t len = krpc_encode(&r, bytes, sizeof bytes);
    cr_assert_eq(dht_recv(n->d, &n->f[2].n.addr, bytes, len, n->now_ms), ERR_STATE);
    r.t = (struct krpc_view){tid, sizeof tid};
    len = krpc_encode(&r, bytes, sizeof bytes);
    cr_assert_eq(dht_recv(n->d, &n->f[1].n.addr, bytes, len, n->now_ms), ERR_STATE);
    net_drain(n);
    cr_assert_eq(n->n_done, 0);
    r.t = q.t;
    len = krpc_encode(&r, bytes, sizeof bytes);
    cr_assert_eq(dht_recv(n->d, &n->f[1].n.addr, bytes, len, n->now_ms), 0);
    net_drain(n);
    cr_assert_eq(n->n_done, 1);
    net_free(n);
}

Test(dht, who_answers_under_another_id_is_not_the_one)
{
    struct net *n = net_joined(20);
    struct dht_id target = n->f[3].n.id;
    uint32_t op;
    n->f[3].other_id = true;
    cr_assert_eq(dht_find(n->d, &target, n->now_ms, &op), 0);
    net_until_done(n);
    for (unsigned i = 0; i < n->done.u.done.n_closest; i++) {
        cr_assert_not(dht_id_eq(&n->done.u.done.closest[i].id, &target));
    }
    net_free(n);
}

/* ---- storing ---- */

Test(dht, stored_at_the_closest_eight_that_give_tokens)
{
    struct net *n = net_joined(40);
    struct item it = {.v = {(const uint8_t *)"2:hi", 4}};
    struct dht_id target;
    uint32_t op;
    item_target(&it, &target);
    net_closest(n, &target, 1)->no_token = true;
    net_closest(n, &target, 3)->silent = true;
    n->watch = KRPC_PUT;
    cr_assert_eq(dht_put(n->d, &it, NULL, false, n->now_ms, &op), 0);
    net_until_done(n);
    cr_assert_eq(n->done.u.done.outcome, DHT_OK);
    cr_assert_eq(n->done.u.done.copies, 8);
    cr_assert(n->last.v.n == 4 && (n->last.has & KRPC_K) == 0);
    for (unsigned i = 0; i < 8; i++) {
        cr_assert_eq(net_closest(n, &target, i)->stored, i == 1 || i == 3 ? 0 : 1, "%u",
                     i);
    }
    net_run(n, 3 * 60 * MIN);
    cr_assert_eq(n->n_done, 1, "it was not to be kept");
    net_free(n);
}

Test(dht, why_nobody_takes_it_is_told)
{
    struct net *n = net_joined(20);
    struct item_key key = fake_key(1);
    uint8_t k[ITEM_KEY_LEN], sig[ITEM_SIG_LEN];
    struct item it = {.v = {(const uint8_t *)"2:hi", 4},
                      .seq = 3,
                      .salt = {(const uint8_t *)"salt", 4}};
    int64_t cas = 2;
    uint32_t op;
    fake_sign(&it, &key, k, sig);
    for (unsigned i = 0; i < n->n; i++) {
        n->f[i].refuses = n->f[i].cas = true;
        n->f[i].it.seq = 2;
    }
    n->watch = KRPC_PUT;
    cr_assert_eq(dht_put(n->d, &it, &cas, false, n->now_ms, &op), 0);
    net_until_done(n);
    cr_assert_eq(n->done.u.done.outcome, DHT_REFUSED);
    cr_assert_eq(n->done.u.done.code, KRPC_E_SEQ);
    cr_assert_eq(n->last.cas, 2);
    cr_assert(n->last.salt.n == 4 && n->last.seq == 3);
    sig[0] ^= 1;
    cr_assert_eq(dht_put(n->d, &it, NULL, false, n->now_ms, &op), ERR_AUTH);
    it.v.n = 3;
    cr_assert_eq(dht_put(n->d, &it, NULL, false, n->now_ms, &op), ERR_ARG);
    net_free(n);
}

/* A put where all of the closest but so many refuse it, since something stands there. */
static void put_refused(const struct item *it, unsigned lack, enum dht_outcome outcome,
                        unsigned copies)
{
    struct net *n = net_joined(40);
    struct dht_id target;
    uint32_t op;
    item_target(it, &target);
    for (unsigned i = lack; i < 8; i++) {
        net_closest(n, &target, i)->refuses = true;
    }
    cr_assert_eq(dht_put(n->d, it, NULL, false, n->now_ms, &op), 0);
    net_until_done(n);
    cr_assert_eq(n->done.u.done.outcome, outcome, "%u lack it", lack);
    cr_assert_eq(n->done.u.done.copies, copies, "%u", n->done.u.done.copies);
    cr_assert_eq(n->done.u.done.code, KRPC_E_SEQ);
    net_free(n);
}

Test(dht, who_lacks_what_stands_elsewhere_does_not_decide)
{
    uint8_t k[32], sig[64];
    struct item_key key = fake_key(1);
    struct item it = {.v = {(const uint8_t *)"2:hi", 4}, .seq = 7};
    fake_sign(&it, &key, k, sig);
    put_refused(&it, 3, DHT_REFUSED, 3);
    put_refused(&it, 5, DHT_OK, 5);
}

/* Nothing else than an immutable item can stand there: who says so lies. */
Test(dht, an_immutable_item_meets_no_other)
{
    struct item it = {.v = {(const uint8_t *)"2:hi", 4}};
    put_refused(&it, 3, DHT_OK, 3);
}

Test(dht, what_is_kept_is_stored_every_hour)
{
    struct net *n = net_joined(40);
    struct item it = {.v = {(const uint8_t *)"2:hi", 4}};
    struct dht_id target;
    uint32_t op;
    item_target(&it, &target);
    cr_assert_eq(dht_put(n->d, &it, NULL, true, n->now_ms, &op), 0);
    net_until_done(n);
    struct fake *f = net_closest(n, &target, 0);
    net_run(n, 53 * MIN);
    cr_assert_eq(f->stored, 1);
    net_run(n, 14 * MIN);
    cr_assert_eq(f->stored, 2);
    cr_assert_eq(n->done.op, op);
    net_run(n, 24 * 60 * MIN);
    cr_assert(f->stored >= 23 && f->stored <= 29, "%d", f->stored);
    dht_cancel(n->d, op);
    int before = f->stored;
    net_run(n, 3 * 60 * MIN);
    cr_assert_eq(f->stored, before);
    net_free(n);
}

Test(dht, what_reached_nobody_is_tried_again_soon)
{
    struct net *n = net_joined(40);
    struct item it = {.v = {(const uint8_t *)"2:hi", 4}};
    uint32_t op;
    for (unsigned i = 0; i < n->n; i++) {
        n->f[i].silent = true;
    }
    cr_assert_eq(dht_put(n->d, &it, NULL, true, n->now_ms, &op), 0);
    net_until_done(n);
    cr_assert_eq(n->done.u.done.outcome, DHT_NOT_ASKED);
    for (unsigned i = 0; i < n->n; i++) {
        n->f[i].silent = false;
    }
    net_run(n, 2 * MIN);
    cr_assert_eq(n->done.u.done.outcome, DHT_OK);
    net_free(n);
}

Test(dht, announce_says_which_port)
{
    struct net *n = net_joined(40);
    struct dht_id hash = {{0x33}};
    uint32_t op;
    n->watch = KRPC_ANNOUNCE_PEER;
    cr_assert_eq(dht_announce(n->d, &hash, 7679, false, n->now_ms, &op), 0);
    net_until_done(n);
    cr_assert_eq(n->done.u.done.copies, 8);
    cr_assert(n->last.port == 7679 && n->last.implied_port == 0);
    cr_assert(dht_id_eq(&n->last.info_hash, &hash));
    cr_assert_eq(dht_announce(n->d, &hash, 0, false, n->now_ms, &op), 0);
    net_until_done(n);
    cr_assert(n->last.port != 0 && n->last.implied_port == 1);
    net_free(n);
}

Test(dht, cancelled_operations_say_nothing)
{
    struct net *n = net_joined(40);
    struct dht_id target = {{0x77}};
    uint32_t op;
    cr_assert_eq(dht_get(n->d, &target, false, n->now_ms, &op), 0);
    dht_cancel(n->d, op);
    dht_cancel(n->d, op);
    dht_cancel(n->d, 0);
    net_run(n, MIN);
    cr_assert_eq(n->n_done, 0);
    net_free(n);
}

Test(dht, what_was_cancelled_leaves_no_event)
{
    struct net *n = net_new(0, &net_open);
    struct dht_event e;
    uint32_t op, other;
    struct dht_id target = {{0x77}};
    cr_assert_eq(dht_get(n->d, &target, false, n->now_ms, &op), 0);
    cr_assert_eq(dht_get(n->d, &target, false, n->now_ms, &other), 0);
    dht_tick(n->d, n->now_ms);
    n->now_ms += DHT_WAIT_MS;
    dht_tick(n->d, n->now_ms); /* both have ended */
    dht_cancel(n->d, other);
    cr_assert(dht_next_event(n->d, &e));
    cr_assert(e.type == DHT_DONE && e.op == op);
    cr_assert_not(dht_next_event(n->d, &e));
    cr_assert_eq(dht_get(n->d, &target, false, n->now_ms, &op), 0);
    net_run(n, DHT_WAIT_MS);
    cr_assert_eq(n->n_done, 1, "the queue goes on");
    net_free(n);
}

Test(dht, every_end_is_told)
{
    struct net *n = net_new(0, &net_open);
    struct dht_event e;
    struct dht_id target = {{0x77}};
    uint32_t op;
    unsigned begun = 0, told = 0;
    for (int i = 0; i < 2 * DHT_EVENTS_MAX / DHT_OPS_MAX; i++) {
        while (dht_get(n->d, &target, false, n->now_ms, &op) == 0) {
            begun++;
        }
        dht_tick(n->d, n->now_ms);
        n->now_ms += DHT_WAIT_MS;
        dht_tick(n->d, n->now_ms);
    }
    cr_assert_geq(begun, DHT_EVENTS_MAX);
    while (dht_next_event(n->d, &e)) {
        told += e.type == DHT_DONE;
    }
    cr_assert_eq(told, begun);
    cr_assert_eq(dht_get(n->d, &target, false, n->now_ms, &op), 0);
    net_free(n);
}

Test(dht, who_waits_for_its_turn_ends_when_the_last_node_goes)
{
    struct net *n = net_joined(1);
    struct dht_id target = {{0x77}};
    uint32_t op;
    for (unsigned i = 0; i < 200; i++) {
        cr_assert_eq(dht_find(n->d, &target, n->now_ms, &op), 0);
    }
    n->f[0].silent = true;
    net_run(n, 10 * MIN);
    cr_assert_eq(net_nodes(n), 0);
    cr_assert_eq(n->n_done, 200);
    net_free(n);
}

Test(dht, many_operations_take_turns)
{
    struct net *n = net_joined(40);
    uint32_t op;
    unsigned begun = 0;
    for (;;) {
        struct dht_id target;
        dht_id_random(&net_env, &target);
        if (dht_find(n->d, &target, n->now_ms, &op) != 0) {
            break;
        }
        begun++;
        cr_assert_leq(begun, DHT_OPS_MAX);
    }
    cr_assert_geq(begun, DHT_OPS_MAX - 2);
    net_run(n, 60 * MIN);
    cr_assert_eq(n->n_done, begun);
    net_free(n);
}

/* ---- two families ---- */

static struct net *both_families(unsigned fakes)
{
    struct dht_config c = {.family = {true, true}, .open = true};
    struct net *n = net_new(fakes, &c);
    for (unsigned i = fakes / 2; i < fakes; i++) {
        n->f[i].n.addr =
            (struct addr){.family = 6, .ip = {0x20, 1, 13, (uint8_t)i}, .port = 6881};
    }
    return n;
}

Test(dht, the_other_family_is_found_through_the_first)
{
    struct net *n = both_families(40);
    struct dht_stats s;
    net_run(n, 60 * MIN);
    dht_stats(n->d, &s);
    cr_assert_eq(s.nodes[0], 20);
    cr_assert_eq(s.nodes[1], 20);
    cr_assert_not(dht_id_eq(&s.id[0], &s.id[1]));
    struct krpc_node node;
    unsigned known[7] = {0};
    for (size_t pos = 0; dht_next_node(n->d, &pos, &node);) {
        known[node.addr.family]++;
    }
    cr_assert(known[4] == 20 && known[6] == 20);
    net_free(n);
}

Test(dht, an_operation_runs_in_both_families)
{
    struct net *n = both_families(40);
    struct item it = {.v = {(const uint8_t *)"2:hi", 4}};
    uint32_t op;
    net_run(n, 60 * MIN);
    cr_assert_eq(dht_put(n->d, &it, NULL, false, n->now_ms, &op), 0);
    net_until_done(n);
    cr_assert_eq(n->done.u.done.copies, 16);
    for (unsigned i = 20; i < 40; i++) {
        n->f[i].silent = true;
    }
    cr_assert_eq(dht_put(n->d, &it, NULL, false, n->now_ms, &op), 0);
    net_until_done(n);
    cr_assert_eq(n->done.u.done.copies, 8, "one of them is not reached");
    net_free(n);
}

static enum dht_outcome get_nothing(struct net *n)
{
    struct dht_id target = {{0x77}};
    uint32_t op;
    cr_assert_eq(dht_get(n->d, &target, false, n->now_ms, &op), 0);
    net_until_done(n);
    return n->done.u.done.outcome;
}

static void silence_six(struct net *n, unsigned but)
{
    for (unsigned i = 20; i < 40; i++) {
        n->f[i].silent = i >= 20 + but;
    }
}

/* What one family does not answer may be there; when it answers nothing at all, as where
 * its route is gone, it is as if there were no such family. */
Test(dht, absent_in_the_family_that_works)
{
    struct net *n = both_families(40);
    struct dht_stats s;
    net_run(n, 60 * MIN);
    cr_assert_eq(get_nothing(n), DHT_NOT_FOUND);
    silence_six(n, 2);
    cr_assert_eq(get_nothing(n), DHT_NOT_ASKED, "only the other one is sure");
    silence_six(n, 0);
    cr_assert_eq(get_nothing(n), DHT_NOT_FOUND, "asked, and nobody answered");
    net_run(n, 2 * MIN);
    dht_stats(n->d, &s);
    cr_assert_gt(s.nodes[1], 0);
    cr_assert_eq(get_nothing(n), DHT_NOT_FOUND, "hardly anybody is left to ask");
    for (unsigned i = 0; i < 20; i++) {
        n->f[i].silent = true;
    }
    cr_assert_eq(get_nothing(n), DHT_NOT_ASKED);
    net_free(n);
}

Test(dht, the_closest_of_both_families)
{
    struct net *n = both_families(40);
    struct dht_id target = {{0x77}};
    uint32_t op;
    unsigned known[7] = {0};
    net_run(n, 60 * MIN);
    cr_assert_eq(dht_find(n->d, &target, n->now_ms, &op), 0);
    net_until_done(n);
    const struct dht_result *r = &n->done.u.done;
    cr_assert_eq(r->n_closest, 8);
    for (unsigned i = 0; i < 8; i++) {
        cr_assert(i == 0 ||
                  dht_id_cmp(&target, &r->closest[i - 1].id, &r->closest[i].id) < 0);
        known[r->closest[i].addr.family]++;
    }
    for (unsigned i = 0; i < n->n; i++) {
        bool in = false;
        for (unsigned j = 0; j < 8; j++) {
            in = in || dht_id_eq(&n->f[i].n.id, &r->closest[j].id);
        }
        cr_assert(in || dht_id_cmp(&target, &n->f[i].n.id, &r->closest[7].id) > 0);
    }
    cr_assert(known[4] > 0 && known[6] > 0);
    net_free(n);
}

Test(dht, each_family_has_its_own_hints)
{
    struct dht_config c = {.family = {true, true}, .open = true};
    struct net *n = net_new(10, &c);
    net_run(n, 2 * MIN);
    for (uint8_t i = 0; i < n->n; i++) {
        n->f[i].silent = true;
    }
    struct fake *six = &n->f[n->n++];
    six->n.addr = (struct addr){.family = 6, .ip = {0x20, 1, 13}, .port = 6881};
    dht_id_random(&net_env, &six->n.id);
    for (uint8_t i = 0; i < 200; i++) {
        struct addr a = {.family = 4, .ip = {70, i, 1, 1}, .port = 6881};
        cr_assert_eq(dht_add_hint(n->d, &a, n->now_ms), 0);
    }
    cr_assert_eq(dht_add_hint(n->d, &six->n.addr, n->now_ms), 0);
    net_run(n, 5 * S);
    cr_assert_gt(six->asked, 0, "IPv4 has nodes and needs no hints");
    net_free(n);
}

Test(dht, bytes_of_all_kinds)
{
    struct net *n = net_joined(20);
    size_t before = net_nodes(n);
    uint8_t bytes[200];
    uint64_t state = 5;
    for (int i = 0; i < 3000; i++) {
        uint8_t len;
        seeded(&state, &len, 1);
        seeded(&state, bytes, sizeof bytes);
        len = len < sizeof bytes ? len : sizeof bytes;
        (void)dht_recv(n->d, &n->f[i % 20].n.addr, bytes, len, n->now_ms);
    }
    net_run(n, MIN);
    cr_assert_geq(net_nodes(n), before);
    cr_assert_leq(net_nodes(n), 20);
    net_free(n);
}
