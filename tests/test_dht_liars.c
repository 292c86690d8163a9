/* The DHT node among nodes that lie to keep others from being found. */
#include <criterion/criterion.h>
#include <string.h>

#include "dht_fakes.h"

enum { NEAR = 8, LIES_MAX = 32 };

static const struct item immutable = {.v = {(const uint8_t *)"2:hi", 4}};

/* Nodes nearer to target than all before; the first of them. */
static unsigned add_near(struct net *n, const struct dht_id *target)
{
    unsigned first = n->n;
    for (unsigned i = 0; i < NEAR; i++) {
        struct fake *f = &n->f[n->n++];
        dht_id_random_near(&net_env, target, 12 + i % 4, &f->n.id);
        f->n.addr =
            (struct addr){.family = 4, .ip = {21, (uint8_t)(10 + i), 7, 1}, .port = 6881};
    }
    return first;
}

static void near_target(const struct dht_id *target, struct dht_id *id)
{
    dht_id_random(&net_env, id);
    memcpy(id->b, target->b, 6);
}

enum lie { WRONG_ADDR, WRONG_ID, DEAD_NEIGHBOURS };

/* What the liar says instead of a true node. */
static size_t distort(const struct krpc_node *true_node, const struct dht_id *target,
                      enum lie lie, uint8_t *out)
{
    struct krpc_node l = *true_node;
    size_t len = 0;
    switch (lie) {
    case WRONG_ADDR:
        l.addr.ip[0] = 33;
        break;
    case WRONG_ID:
        l.id.b[DHT_ID_LEN - 1] ^= 1;
        break;
    case DEAD_NEIGHBOURS:
        l.addr.ip[3] = 50;
        near_target(target, &l.id);
        len = krpc_pack_node(&l, out);
        l.addr.ip[3] = 51;
        near_target(target, &l.id);
        break;
    }
    return len + krpc_pack_node(&l, out + len);
}

static void expect_found(enum lie lie)
{
    struct net *n = net_joined(40);
    struct item_key key = fake_key(1);
    struct item any = {.k = key.public_key};
    struct dht_id target;
    uint8_t lies[2 * NEAR * KRPC_NODE4_LEN];
    uint32_t op;
    item_target(&any, &target);
    net_run(n, 60 * MIN); /* so that the liar is asked first */
    struct fake *liar = net_closest(n, &target, 0);
    unsigned first = add_near(n, &target);
    size_t len = 0;
    for (unsigned i = 0; i < NEAR; i++) {
        fake_give(&n->f[first + i], &key, "3:new", 9);
        len += distort(&n->f[first + i].n, &target, lie, lies + len);
    }
    liar->lies = (struct krpc_view){lies, len};
    cr_assert_eq(dht_get_mutable(n->d, key.public_key, NULL, 0, false, n->now_ms, &op),
                 0);
    net_until_done(n);
    cr_assert_eq(n->done.u.done.outcome, DHT_OK, "lie %d", lie);
    cr_assert_eq(n->value.u.value.seq, 9);
    net_free(n);
}

Test(dht_liars, wrong_addresses_of_true_ids)
{
    expect_found(WRONG_ADDR);
}

Test(dht_liars, wrong_ids_at_true_addresses)
{
    expect_found(WRONG_ID);
}

Test(dht_liars, dead_nodes_in_true_subnets)
{
    expect_found(DEAD_NEIGHBOURS);
}

static size_t dead_nodes(const struct dht_id *target, uint8_t who, uint8_t *out)
{
    size_t len = 0;
    for (unsigned i = 0; i < LIES_MAX; i++) {
        struct krpc_node l = {
            .addr = {.family = 4, .ip = {40, who, (uint8_t)i, 1}, .port = 9}};
        near_target(target, &l.id);
        len += krpc_pack_node(&l, out + len);
    }
    return len;
}

Test(dht_liars, a_crowd_of_dead_nodes)
{
    struct net *n = net_joined(40);
    struct dht_id target;
    uint8_t lies[3][LIES_MAX * KRPC_NODE4_LEN];
    struct fake *liars[3];
    uint32_t op;
    item_target(&immutable, &target);
    for (uint8_t i = 0; i < 3; i++) {
        liars[i] = net_closest(n, &target, 2 * i);
        liars[i]->lies = (struct krpc_view){lies[i], dead_nodes(&target, i, lies[i])};
    }
    unsigned first = add_near(n, &target);
    for (unsigned i = 0; i < NEAR; i++) {
        n->f[first + i].it = immutable;
    }
    cr_assert_eq(dht_get(n->d, &target, false, n->now_ms, &op), 0);
    net_until_done(n);
    cr_assert_eq(n->done.u.done.outcome, DHT_OK);
    net_free(n);
}

/* Of nodes near the target that may have it, more are silent than all who answer. */
static enum dht_outcome get_past_silence(unsigned more)
{
    struct net *n = net_joined(40);
    struct dht_id target;
    uint32_t op;
    net_run(n, 60 * MIN);
    item_target(&immutable, &target);
    struct fake *silent[8];
    for (unsigned i = 0; i < more; i++) {
        silent[i] = net_closest(n, &target, i);
    }
    unsigned first = add_near(n, &target);
    for (unsigned i = 0; i < NEAR; i++) {
        n->f[first + i].silent = true;
    }
    for (unsigned i = 0; i < more; i++) {
        silent[i]->silent = true;
    }
    cr_assert_eq(dht_get(n->d, &target, false, n->now_ms, &op), 0);
    net_until_done(n);
    enum dht_outcome outcome = n->done.u.done.outcome;
    cr_assert_eq(n->done.u.done.n.closest, 8);
    cr_assert_geq(n->done.u.done.n.answered, 12, "some more were asked");
    net_free(n);
    return outcome;
}

Test(dht_liars, silence_near_the_target_is_not_an_absence)
{
    cr_assert_eq(get_past_silence(0), DHT_NOT_FOUND);
    cr_assert_eq(get_past_silence(8), DHT_NOT_ASKED);
}

/* Two lookups of one operation: one that is over has no say in when to wake up. */
Test(dht_liars, storing_beside_an_empty_family_does_not_spin)
{
    struct dht_config c = {.family = {true, true}, .open = true};
    struct net *n = net_new(40, &c);
    uint32_t op;
    unsigned ticks = 0;
    net_run(n, 20 * MIN);
    for (unsigned i = 0; i < 36; i++) {
        n->f[i].silent = true; /* with less than 8, the lookup waits for them */
    }
    cr_assert_eq(dht_put(n->d, &immutable, NULL, false, n->now_ms, &op), 0);
    for (uint64_t end = n->now_ms + 20 * S; n->now_ms < end && n->n_done == 0;) {
        net_drain(n);
        while (n->w_n > 0 && n->w[n->w_first].at_ms <= n->now_ms) {
            struct waiting *w = &n->w[n->w_first];
            n->w_first = (n->w_first + 1) % WAITING_MAX;
            n->w_n--;
            if (n->f[39].stored == 0) { /* then nobody answers any more */
                (void)dht_recv(n->d, &w->from, w->bytes, w->len, n->now_ms);
            }
            net_drain(n);
        }
        while (dht_deadline(n->d) <= n->now_ms) {
            dht_tick(n->d, n->now_ms);
            net_drain(n);
            cr_assert_lt(ticks++, 1000, "it spins");
        }
        n->now_ms++;
    }
    cr_assert_eq(n->n_done, 1);
    cr_assert_gt(n->f[39].stored, 0);
    net_free(n);
}

/* ---- peers ---- */

static size_t peer_list(uint8_t first, unsigned count, uint8_t *out)
{
    size_t len = 0;
    out[len++] = 'l';
    for (unsigned i = 0; i < count; i++) {
        uint8_t p[] = {'6', ':', first, 1, (uint8_t)(i >> 8), (uint8_t)i, 0, 22};
        memcpy(out + len, p, sizeof p);
        len += sizeof p;
    }
    out[len++] = 'e';
    return len;
}

Test(dht_liars, peers_of_one_answer_and_local_ones)
{
    struct net *n = net_joined(40);
    struct dht_id hash = {{0x33}};
    uint8_t local[8 * 300], many[8 * 200],
        own[] = "l6:\x63\x09\x09\x09\x03\xe7"
                "e";
    uint32_t op;
    struct fake *f = net_closest(n, &hash, 0);
    f->peers = (struct krpc_view){local, peer_list(10, 20, local)};
    f = net_closest(n, &hash, 1);
    f->peers = (struct krpc_view){local, peer_list(127, 20, local)};
    net_closest(n, &hash, 2)->peers = f->peers;
    net_closest(n, &hash, 0)->peers = f->peers;
    f = net_closest(n, &hash, 3);
    f->peers = (struct krpc_view){many, peer_list(77, 150, many)};
    f = net_closest(n, &hash, 4);
    f->peers = (struct krpc_view){own, sizeof own - 1};
    cr_assert_eq(dht_peers(n->d, &hash, n->now_ms, &op), 0);
    net_until_done(n);
    cr_assert_eq(n->n_local, 0);
    cr_assert_eq(n->n_public, 64, "%u: of one answer, and not ourselves", n->n_public);
    net_free(n);
}

/* ---- errors and cas ---- */

Test(dht_liars, an_error_for_a_question_is_no_refusal)
{
    struct net *n = net_joined(20);
    uint32_t op;
    for (unsigned i = 0; i < n->n; i++) {
        n->f[i].error = 204;
    }
    cr_assert_eq(dht_put(n->d, &immutable, NULL, false, n->now_ms, &op), 0);
    net_until_done(n);
    cr_assert_eq(n->done.u.done.outcome, DHT_NOT_ASKED);
    net_free(n);
}

static struct net *cas_net(void)
{
    struct net *n = net_joined(20);
    for (unsigned i = 0; i < n->n; i++) {
        n->f[i].cas = true;
        n->f[i].it.seq = 2;
    }
    n->watch = KRPC_PUT;
    return n;
}

static void put_cas(struct net *n, bool keep)
{
    struct item_key key = fake_key(1);
    uint8_t k[ITEM_KEY_LEN], sig[ITEM_SIG_LEN];
    struct item it = {.v = {(const uint8_t *)"2:hi", 4}, .seq = 3};
    int64_t cas = 2;
    uint32_t op;
    fake_sign(&it, &key, k, sig);
    cr_assert_eq(dht_put(n->d, &it, &cas, keep, n->now_ms, &op), 0);
    net_until_done(n);
}

Test(dht_liars, what_is_kept_replaces_once)
{
    struct net *n = cas_net();
    put_cas(n, true);
    cr_assert_eq(n->done.u.done.copies, 8);
    cr_assert_eq(n->last.cas, 2);
    net_run(n, 70 * MIN);
    cr_assert_eq(n->n_done, 2);
    cr_assert_eq(n->done.u.done.copies, 8);
    cr_assert_eq(n->last.has & KRPC_CAS, 0);
    net_free(n);
}

Test(dht_liars, a_lost_answer_is_no_conflict)
{
    struct net *n = cas_net();
    for (unsigned i = 0; i < n->n; i++) {
        n->f[i].swallows = true;
    }
    put_cas(n, false);
    cr_assert_eq(n->done.u.done.outcome, DHT_OK);
    cr_assert_eq(n->done.u.done.copies, 8);
    net_free(n);
    n = cas_net();
    for (unsigned i = 0; i < n->n; i++) {
        n->f[i].swallows = true;
        n->f[i].it.seq = 7; /* another has been quicker */
    }
    put_cas(n, false);
    cr_assert_eq(n->done.u.done.outcome, DHT_REFUSED);
    cr_assert_eq(n->done.u.done.code, KRPC_E_CAS);
    net_free(n);
}

/* ---- upkeep ---- */

static int all_asked(const struct net *n)
{
    int asked = 0;
    for (unsigned i = 0; i < n->n; i++) {
        asked += n->f[i].asked;
    }
    return asked;
}

static void query(struct net *n, const struct addr *from, const struct dht_id *id,
                  enum krpc_method method)
{
    uint8_t bytes[KRPC_SEND_MAX];
    struct krpc_msg q;
    krpc_query_init(&q, method, "ab", 2, id);
    if (method == KRPC_FIND_NODE) {
        q.has |= KRPC_TARGET;
    }
    size_t len = krpc_encode(&q, bytes, sizeof bytes);
    cr_assert_gt(len, 0);
    cr_assert_eq(dht_recv(n->d, from, bytes, len, n->now_ms), 0);
}

/* Those who ask us but answer with errors keep nobody from being asked. */
Test(dht_liars, who_answers_with_errors_makes_room)
{
    struct net *n = net_joined(10);
    size_t known = net_nodes(n);
    for (uint8_t i = 0; i < 8; i++) {
        struct fake *f = &n->f[n->n++];
        f->errs = i < 7;
        dht_id_random_near(&net_env, &(struct dht_id){{0x77}}, 8, &f->n.id);
        f->n.addr = (struct addr){.family = 4, .ip = {22, i, 1, 1}, .port = 6881};
        query(n, &f->n.addr, &f->n.id, KRPC_PING);
        net_run(n, 20 * S);
    }
    cr_assert_eq(net_nodes(n), known + 1);
    net_free(n);
}

/* Eight dead nodes in a row are not the end of the network, nor is who answers after them
 * its return. */
Test(dht_liars, a_row_of_dead_nodes_is_no_way_back)
{
    struct net *n = net_joined(40);
    struct addr dead = {.family = 4, .ip = {40, 1, 1, 0}, .port = 9};
    uint32_t op;
    cr_assert_eq(dht_ping(n->d, &n->f[3].n.addr, n->now_ms, &op), 0);
    net_until_done(n);
    for (uint8_t i = 0; i < 12; i++) {
        dead.ip[3] = i;
        cr_assert_eq(dht_ping(n->d, &dead, n->now_ms, &op), 0);
    }
    while (n->n_done < 1 + 12) {
        net_run(n, 100);
    }
    cr_assert_eq(dht_ping(n->d, &n->f[3].n.addr, n->now_ms, &op), 0);
    net_until_done(n);
    cr_assert_eq(n->done.u.done.outcome, DHT_OK);
    cr_assert_eq(n->n_ready, 1);
    net_free(n);
}

/* Few wait behind a bucket to be asked: where they wait long, others are not heard. */
Test(dht_liars, while_few_are_known_who_asks_is_asked_soon)
{
    struct net *n = net_joined(30);
    net_run(n, 60 * MIN);
    for (uint8_t i = 0; i < 5; i++) {
        struct fake *f = &n->f[n->n++];
        dht_id_random(&net_env, &f->n.id);
        f->n.addr = (struct addr){.family = 4, .ip = {22, i, 1, 1}, .port = 6881};
        net_run(n, 17 * S);
        query(n, &f->n.addr, &f->n.id, KRPC_PING);
        net_run(n, DHT_CHECK_FAST_MS + RTT_MS);
        cr_assert_eq(f->asked, 1);
    }
    net_free(n);
}

/* Eight nodes whose ids are all but ours. */
Test(dht_liars, nodes_next_to_our_id_cost_little)
{
    struct net *n = net_joined(40);
    struct dht_stats s;
    net_run(n, 30 * MIN);
    dht_stats(n->d, &s);
    for (unsigned i = 0; i < 8; i++) {
        struct fake *f = &n->f[n->n++];
        dht_id_random_near(&net_env, &s.id[0], 150 - i, &f->n.id);
        f->n.addr =
            (struct addr){.family = 4, .ip = {50, (uint8_t)i, 7, 1}, .port = 6881};
        query(n, &f->n.addr, &f->n.id, KRPC_PING);
    }
    net_run(n, 30 * MIN);
    for (unsigned i = 40; i < 48; i++) {
        cr_assert_gt(n->f[i].asked, 0, "all are known");
    }
    int before = all_asked(n);
    net_run(n, 60 * MIN);
    int asked = all_asked(n) - before;
    cr_assert_leq(asked, 48 * 4 + 4 * 16 * 12, "%d queries an hour", asked);
    net_free(n);
}

/* ---- what others see of us ---- */

static void see(struct net *n, unsigned who, struct addr ip)
{
    uint32_t op;
    n->f[who].sees = ip;
    cr_assert_eq(dht_ping(n->d, &n->f[who].n.addr, n->now_ms, &op), 0);
    net_until_done(n);
}

Test(dht_liars, who_agrees_with_what_is_known_outvotes_three_liars)
{
    struct net *n = net_joined(40);
    struct addr lie[3], same = {.family = 4, .ip = {66, 6, 6, 6}, .port = 6};
    struct dht_stats s;
    net_run(n, 10 * MIN);
    for (unsigned i = 0; i < 3; i++) {
        lie[i] = same;
        lie[i].ip[3] = (uint8_t)(10 + i);
    }
    see(n, 1, lie[0]);
    see(n, 2, lie[1]);
    see(n, 3, same); /* their third candidate … */
    see(n, 1, same);
    see(n, 2, same);
    for (unsigned i = 10; i < 30; i++) {
        see(n, i, (struct addr){.family = 0});
    }
    see(n, 4, same);
    see(n, 5, same);
    dht_stats(n->d, &s);
    cr_assert_eq(s.seen[0].ip[0], 99);
    net_free(n);
}

Test(dht_liars, nobody_outside_sees_a_private_address)
{
    struct net *n = net_new(40, &net_open);
    struct dht_stats s;
    for (unsigned i = 0; i < n->n; i++) {
        n->f[i].sees = (struct addr){.family = 4, .ip = {10, 0, 0, 1}, .port = 6};
    }
    net_run(n, 60 * MIN);
    dht_stats(n->d, &s);
    cr_assert_eq(s.seen[0].family, 0);
    cr_assert_eq(n->n_self, 0);
    net_free(n);
}

static const struct addr lan = {.family = 4, .ip = {192, 168, 1, 77}, .port = 7};
static const struct addr stranger = {.family = 4, .ip = {77, 7, 7, 7}, .port = 7};

Test(dht_liars, the_own_network_does_not_make_us_open)
{
    struct dht_config c = {.family = {true, false}};
    struct net *n = net_new(40, &c);
    struct dht_id id = {{1}};
    struct dht_stats s;
    net_run(n, 20 * MIN);
    query(n, &lan, &id, KRPC_PING);
    net_drain(n);
    dht_stats(n->d, &s);
    cr_assert(s.read_only);
    cr_assert_eq(n->n_open, 0);
    query(n, &stranger, &id, KRPC_PING);
    net_drain(n);
    cr_assert_eq(n->n_open, 1);
    dht_network_changed(n->d, n->now_ms);
    net_drain(n);
    dht_stats(n->d, &s);
    cr_assert(s.read_only);
    cr_assert_eq(n->n_open, 2, "what holds no more is told");
    net_free(n);
}

Test(dht_liars, a_network_that_is_private_is_the_whole_one)
{
    struct dht_config c = {.family = {true, false}};
    struct net *n = net_new(0, &c);
    struct dht_id id = {{1}};
    for (uint8_t i = 0; i < 10; i++) {
        struct fake *f = &n->f[n->n++];
        dht_id_random(&net_env, &f->n.id);
        f->n.addr = (struct addr){.family = 4, .ip = {10, 1, i, 1}, .port = 6};
    }
    cr_assert_eq(dht_add_hint(n->d, &n->f[0].n.addr, n->now_ms), 0);
    net_run(n, 20 * MIN);
    query(n, &lan, &id, KRPC_PING);
    net_drain(n);
    cr_assert_eq(n->n_open, 1);
    net_free(n);
}

/* How many local nodes are named to an asker. */
static unsigned named(struct net *n, const struct addr *asker, unsigned *all)
{
    static const struct dht_id id = {{0x77}};
    struct dht_out out;
    struct krpc_msg m;
    struct krpc_node node;
    unsigned local = 0;
    net_drain(n);
    query(n, asker, &id, KRPC_FIND_NODE);
    cr_assert(dht_next_out(n->d, &out));
    cr_assert_eq(krpc_decode(out.bytes, out.len, &m), 0);
    for (*all = 0; krpc_node_next(&m.nodes, 4, &node); (*all)++) {
        local += addr_is_private(&node.addr);
    }
    return local;
}

Test(dht_liars, local_nodes_are_named_to_local_ones)
{
    struct net *n = net_joined(40);
    unsigned all;
    for (uint8_t i = 0; i < 4; i++) {
        struct fake *f = &n->f[n->n++];
        f->n.id = (struct dht_id){{0, i, 1}}; /* close to what is asked for */
        f->n.addr = (struct addr){.family = 4, .ip = {10, 1, i, 1}, .port = 6};
        query(n, &f->n.addr, &f->n.id, KRPC_PING);
    }
    net_run(n, 60 * MIN);
    cr_assert_eq(net_nodes(n), 44, "%zu", net_nodes(n));
    cr_assert_eq(named(n, &stranger, &all), 0);
    cr_assert_eq(all, 8, "others stand in for them");
    cr_assert_eq(named(n, &lan, &all), 4);
    net_free(n);
}
