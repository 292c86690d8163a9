/* What others see of us, and hear from us: our address and id, what we answer, whether we
 * are read-only. */
#include <criterion/criterion.h>
#include <string.h>

#include "dht_fakes.h"

static struct net *net_strict(void)
{
    struct net *n = net_new(40, &net_open);
    for (unsigned i = 0; i < n->n; i++) {
        n->f[i].strict = true;
    }
    return n;
}

Test(dht_self, who_begins_where_ids_have_to_fit_gets_in)
{
    struct net *n = net_strict();
    struct dht_stats s;
    net_run(n, 10 * RTT_MS);
    cr_assert_geq(net_nodes(n), 8, "%zu", net_nodes(n));
    cr_assert_eq(n->n_ready, 1);
    dht_stats(n->d, &s);
    cr_assert_eq(s.seen[0].family, 4, "the others have voted");
    cr_assert_eq(s.seen[0].ip[0], 99);
    net_free(n);
}

Test(dht_self, two_who_see_different_addresses_are_not_asked_in_a_loop)
{
    struct net *n = net_strict();
    cr_assert_eq(dht_add_router(n->d, &n->f[1].n.addr, n->now_ms), 0);
    for (unsigned i = 0; i < 2; i++) {
        n->f[i].sees =
            (struct addr){.family = 4, .ip = {98, 8, 8, (uint8_t)i}, .port = 999};
    }
    net_run(n, MIN);
    cr_assert_eq(net_nodes(n), 0);
    cr_assert_leq(n->f[0].asked, 8, "%d", n->f[0].asked);
    net_free(n);
}

Test(dht_self, five_networks_settle_our_address)
{
    struct net *n = net_new(40, &net_open);
    struct dht_stats s;
    static const struct addr lie = {.family = 4, .ip = {66, 6, 6, 6}, .port = 6};
    for (unsigned i = 0; i < n->n; i++) {
        n->f[i].sees = i % 10 == 0 ? lie : (struct addr){.family = 0};
    }
    net_run(n, 60 * MIN);
    dht_stats(n->d, &s);
    cr_assert_eq(n->n_self, 1);
    static const uint8_t ip[4] = {99, 9, 9, 9};
    cr_assert(memcmp(s.seen[0].ip, ip, 4) == 0 && s.seen[0].port == 999);
    cr_assert(dht_id_fits(&s.id[0], &s.seen[0]));
    cr_assert_geq(net_nodes(n), 32, "they were kept: %zu", net_nodes(n));
    net_free(n);
}

Test(dht_self, one_network_settles_nothing)
{
    struct net *n = net_new(30, &net_open);
    struct dht_stats s;
    for (uint8_t i = 0; i < n->n; i++) {
        n->f[i].n.addr.ip[1] = 100; /* all of one /16 */
    }
    cr_assert_eq(dht_add_router(n->d, &n->f[0].n.addr, n->now_ms), 0);
    net_run(n, 60 * MIN);
    dht_stats(n->d, &s);
    cr_assert_geq(s.nodes[0], 29);
    cr_assert_eq(s.seen[0].family, 0);
    cr_assert_eq(n->n_self, 0);
    net_free(n);
}

Test(dht_self, who_knows_nobody_learns_from_who_asks)
{
    struct net *n = net_new(10, &net_open);
    uint8_t bytes[KRPC_SEND_MAX];
    struct krpc_msg q;
    n->f[0].silent = true; /* it is the only one we were told */
    for (uint8_t i = 0; i < n->n; i++) {
        n->f[i].sees = (struct addr){.family = 4, .ip = {50, i, 1, 1}, .port = 1};
    }
    net_run(n, 10 * MIN);
    cr_assert_eq(net_nodes(n), 0);
    krpc_query_init(&q, KRPC_PING, "ab", 2, &n->f[4].n.id);
    q.ro = true;
    size_t len = krpc_encode(&q, bytes, sizeof bytes);
    cr_assert_eq(dht_recv(n->d, &n->f[4].n.addr, bytes, len, n->now_ms), 0);
    net_run(n, 10 * MIN);
    cr_assert_eq(net_nodes(n), 0, "who is read-only is nobody's node");
    q.ro = false;
    len = krpc_encode(&q, bytes, sizeof bytes);
    cr_assert_eq(dht_recv(n->d, &n->f[4].n.addr, bytes, len, n->now_ms), 0);
    net_run(n, 10 * MIN);
    cr_assert_eq(net_nodes(n), 9);
    cr_assert_eq(n->n_ready, 1);
    net_free(n);
}

Test(dht_self, eight_are_named_beside_the_asker)
{
    struct net *n = net_joined(40);
    struct krpc_msg m;
    struct dht_out out;
    uint8_t bytes[KRPC_SEND_MAX];
    net_run(n, 60 * MIN);
    const struct fake *f = net_closest(n, &(struct dht_id){{0x77}}, 2);
    krpc_query_init(&m, KRPC_FIND_NODE, "ab", 2, &f->n.id);
    m.target = f->n.id;
    m.has |= KRPC_TARGET;
    size_t len = krpc_encode(&m, bytes, sizeof bytes);
    cr_assert_eq(dht_recv(n->d, &f->n.addr, bytes, len, n->now_ms), 0);
    cr_assert(dht_next_out(n->d, &out));
    cr_assert_eq(krpc_decode(out.bytes, out.len, &m), 0);
    cr_assert_eq(m.nodes.n, 8 * KRPC_NODE4_LEN);
    net_free(n);
}

static void query_from(struct net *n, const struct addr *from)
{
    uint8_t ping[] = "d1:ad2:id20:abcdefghijabcdefghije1:q4:ping1:t1:x1:y1:qe";
    cr_assert_eq(dht_recv(n->d, from, ping, sizeof ping - 1, n->now_ms), 0);
    net_drain(n);
}

Test(dht_self, read_only_until_a_stranger_gets_in)
{
    struct dht_config c = {.family = {true, false}};
    struct net *n = net_new(40, &c);
    struct dht_stats s;
    struct addr stranger = {.family = 4, .ip = {77, 7, 7, 7}, .port = 7};
    net_drain(n);
    dht_tick(n->d, n->now_ms);
    net_drain(n);
    cr_assert(n->ro, "to begin with");
    net_run(n, 2 * MIN);
    cr_assert_not(n->ro, "it tries");
    const struct fake *known = n->f;
    while (known->asked == 0) {
        known++;
    }
    query_from(n, &known->n.addr);
    net_run(n, 50 * MIN);
    cr_assert(n->ro, "only somebody has asked to whom we had written");
    dht_stats(n->d, &s);
    cr_assert(s.read_only);
    cr_assert_eq(n->n_open, 0);
    net_run(n, 25 * MIN);
    query_from(n, &stranger);
    dht_stats(n->d, &s);
    cr_assert_not(s.read_only);
    cr_assert_eq(n->n_open, 1);
    net_run(n, 100 * MIN);
    cr_assert_not(n->ro);
    net_run(n, 100 * MIN);
    cr_assert_eq(n->n_open, 2, "nobody has come any more");
    net_free(n);
}

/* The table of a node whom nobody asks is for itself. */
Test(dht_self, the_table_is_small_while_nobody_gets_in)
{
    struct dht_config c = {.family = {true, false}};
    struct net *n = net_new(60, &c);
    struct addr stranger = {.family = 4, .ip = {77, 7, 7, 7}, .port = 7};
    net_run(n, 30 * MIN);
    cr_assert(net_nodes(n) >= 20 && net_nodes(n) <= 40, "8 that share no bit with it …");
    query_from(n, &stranger);
    net_run(n, 90 * MIN);
    cr_assert_geq(net_nodes(n), 55, "all of them");
    net_run(n, 60 * MIN);
    cr_assert(net_nodes(n) >= 20 && net_nodes(n) <= 40, "nobody has come for two hours");
    net_free(n);
}

/* An address changes often, and who was reached most likely is again. */
Test(dht_self, a_change_of_address_alone_does_not_empty_the_table)
{
    struct dht_config c = {.family = {true, false}};
    struct net *n = net_new(60, &c);
    struct addr stranger = {.family = 4, .ip = {77, 7, 7, 7}, .port = 7};
    struct addr another = {.family = 4, .ip = {78, 8, 8, 8}, .port = 8};
    net_run(n, 30 * MIN);
    query_from(n, &stranger);
    net_run(n, 90 * MIN);
    cr_assert_geq(net_nodes(n), 55, "all of them");
    dht_network_changed(n->d, n->now_ms);
    cr_assert_geq(net_nodes(n), 55);
    net_run(n, 4 * MIN);
    cr_assert_geq(net_nodes(n), 55, "while it tries");
    query_from(n, &another);
    net_run(n, 20 * MIN);
    cr_assert_geq(net_nodes(n), 55, "somebody has come");
    dht_network_changed(n->d, n->now_ms);
    net_run(n, DHT_TRIAL_MS + MIN);
    cr_assert(net_nodes(n) >= 20 && net_nodes(n) <= 40, "nobody has");
    net_free(n);
}

Test(dht_self, read_only_for_good)
{
    struct dht_config c = {.family = {true, false}, .read_only = true, .leaf = true};
    struct net *n = net_new(60, &c);
    struct addr stranger = {.family = 4, .ip = {77, 7, 7, 7}, .port = 7};
    net_run(n, 10 * MIN);
    query_from(n, &stranger);
    cr_assert_eq(n->strays, 1, "a ping is answered");
    uint8_t find[] = "d1:ad2:id20:abcdefghijabcdefghij6:target20:aaaaaaaaaaaaaaaaaaaae"
                     "1:q9:find_node1:t1:x1:y1:qe";
    cr_assert_eq(dht_recv(n->d, &stranger, find, sizeof find - 1, n->now_ms), 0);
    net_run(n, 10 * MIN);
    cr_assert_eq(n->strays, 1, "all else is left to others");
    cr_assert(n->ro);
    cr_assert_leq(net_nodes(n), DHT_LEAF_NODES);
    cr_assert_geq(net_nodes(n), 20);
    net_free(n);
}
