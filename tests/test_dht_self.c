/* Our own address and id, where they decide whether anybody answers. */
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
