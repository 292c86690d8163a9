/* Whole nodes in the DHT: finding one another, asking, remembering, and telling its
 * datagrams from beacons. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "dht/item.h"
#include "node_world.h"

enum { NODES = 8, A = 0, B = 1, TAG = 5, FILL_MS = 60000, TOLD_MAX = 32 };

static struct nw_world *w;
static struct dht_event told[TOLD_MAX]; /* with TAG */
static size_t n_told;

static void hear(void *ctx, int i, uint64_t tag, const struct dht_event *e)
{
    (void)ctx, (void)i;
    if (tag == TAG && n_told < TOLD_MAX) {
        told[n_told++] = *e;
    }
}

static void up(void)
{
    w = malloc(sizeof *w);
    cr_assert_not_null(w);
    nw_init_of(w, NODES);
    w->dht = hear;
    n_told = 0;
    for (int i = 0; i < NODES; i++) {
        w->n[i].dht = true;
        w->n[i].no_multicast = true; /* no hints by beacons */
    }
}

static void down(void)
{
    nw_release(w);
    free(w);
}

TestSuite(node_dht, .init = up, .fini = down);

static struct node *node(int i)
{
    return w->n[i].node;
}

static void start(int i, bool router)
{
    struct addr a = nw_addr(A);
    nw_start(w, i);
    if (router) {
        cr_assert_eq(node_dht_router(node(i), &a, w->now_ms), 0);
    }
    nw_drain(w, i);
}

static size_t known(int i)
{
    struct dht_stats s;
    cr_assert(node_dht_stats(node(i), &s));
    return s.nodes[0];
}

/* Everybody begins from A, one after the other, and knows most of the others then. */
static void fill(void)
{
    for (int i = 0; i < NODES; i++) {
        start(i, i != A);
        nw_run(w, 5000);
    }
    nw_run(w, FILL_MS);
    for (int i = 0; i < NODES; i++) {
        cr_assert(w->n[i].dht_may_send != NULL || known(i) >= NODES / 2, "%d knows %zu",
                  i, known(i));
    }
}

/* The last event of what is asked. */
static const struct dht_event *ask(int i, const struct node_dht_ask *q)
{
    n_told = 0;
    cr_assert_eq(node_dht_ask(node(i), TAG, q, w->now_ms), 0);
    nw_drain(w, i);
    nw_run(w, 30000);
    cr_assert_gt(n_told, 0);
    cr_assert_eq(told[n_told - 1].type, DHT_DONE);
    return &told[n_told - 1];
}

static struct krpc_view view(const char *s)
{
    return (struct krpc_view){(const uint8_t *)s, strlen(s)};
}

Test(node_dht, those_who_begin_at_one_time_find_one_another)
{
    for (int i = 0; i < NODES; i++) {
        start(i, i != A);
    }
    nw_run(w, 2 * FILL_MS);
    for (int i = 0; i < NODES; i++) {
        cr_assert_geq(known(i), NODES - 2, "%d knows %zu", i, known(i));
    }
}

Test(node_dht, an_item_put_by_one_is_got_by_another)
{
    struct node_dht_ask q = {.verb = NODE_DHT_PUT, .item.v = view("5:hello")};
    fill();
    const struct dht_event *e = ask(2, &q);
    cr_assert_eq(e->u.done.outcome, DHT_OK);
    cr_assert_geq(e->u.done.copies, NODES / 2);
    item_target(&q.item, &q.target);
    q.verb = NODE_DHT_GET;
    e = ask(6, &q);
    cr_assert_eq(e->u.done.outcome, DHT_OK);
    cr_assert_eq(told[0].type, DHT_VALUE);
    cr_assert_eq(told[0].u.value.len, 7);
    cr_assert_arr_eq(told[0].u.value.v, "5:hello", 7);
    q.target.b[0] ^= 1;
    cr_assert_eq(ask(6, &q)->u.done.outcome, DHT_NOT_FOUND);
}

Test(node_dht, a_signed_item_too)
{
    static const uint8_t seed[ITEM_SEED_LEN] = {7};
    struct item_key key;
    uint8_t sig[ITEM_SIG_LEN] = {0};
    item_key_from_seed(seed, &key);
    struct node_dht_ask q = {
        .verb = NODE_DHT_PUT,
        .item = {.v = view("2:v1"), .k = key.public_key, .salt = view("s"), .seq = 3}};
    fill();
    q.item.sig = sig;
    cr_assert_eq(node_dht_ask(node(2), TAG, &q, w->now_ms), ERR_AUTH);
    cr_assert_eq(item_sign(&q.item, &key, sig), 0);
    cr_assert_eq(ask(2, &q)->u.done.outcome, DHT_OK);
    q.verb = NODE_DHT_GET_MUTABLE;
    cr_assert_eq(ask(5, &q)->u.done.outcome, DHT_OK);
    cr_assert_eq(told[0].u.value.seq, 3);
    q.item.salt = view("t");
    cr_assert_eq(ask(5, &q)->u.done.outcome, DHT_NOT_FOUND);
}

Test(node_dht, who_has_nobody_to_ask_says_so)
{
    struct node_dht_ask q = {.verb = NODE_DHT_GET};
    start(A, false);
    cr_assert(node_dht_alone(node(A)));
    cr_assert_eq(ask(A, &q)->u.done.outcome, DHT_NOT_ASKED);
    q = (struct node_dht_ask){.verb = NODE_DHT_PING, .addr = nw_addr(B)};
    cr_assert_eq(ask(A, &q)->u.done.n.silent, 1);
}

Test(node_dht, what_was_dropped_is_not_told)
{
    struct node_dht_ask q = {.verb = NODE_DHT_FIND};
    fill();
    n_told = 0;
    cr_assert_eq(node_dht_ask(node(3), TAG, &q, w->now_ms), 0);
    node_dht_drop(node(3), TAG);
    nw_drain(w, 3);
    nw_run(w, 30000);
    cr_assert_eq(n_told, 0);
    node_dht_drop(node(3), TAG);
}

/* Queries of a stranger, "ping". */
static const char ping[] = "d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";

static size_t answers(int i, bool group)
{
    struct addr from = nw_addr(7);
    size_t before = w->n[i].unicasts;
    if (group) {
        node_beacon_recv(node(i), &from, (const uint8_t *)ping, sizeof ping - 1,
                         w->now_ms);
    } else {
        node_udp_recv(node(i), &from, (const uint8_t *)ping, sizeof ping - 1, w->now_ms);
    }
    nw_drain(w, i);
    return w->n[i].unicasts - before;
}

Test(node_dht, queries_are_answered_by_the_own_port_alone)
{
    start(A, false);
    cr_assert_eq(answers(A, false), 1);
    cr_assert_eq(answers(A, true), 0, "the multicast group's");
}

Test(node_dht, who_is_not_in_it_is_silent)
{
    struct node_dht_ask q = {.verb = NODE_DHT_FIND};
    struct addr a = nw_addr(B);
    struct dht_stats s;
    w->n[A].dht = false;
    start(A, false);
    cr_assert_eq(answers(A, false), 0);
    cr_assert_eq(node_dht_ask(node(A), TAG, &q, w->now_ms), ERR_STATE);
    cr_assert_eq(node_dht_router(node(A), &a, w->now_ms), ERR_STATE);
    cr_assert_not(node_dht_stats(node(A), &s));
    cr_assert_not(node_dht_alone(node(A)));
}

static bool even(void *ctx, const struct addr *a)
{
    (void)ctx;
    return a->ip[3] % 2 == 1; /* of A, 2, 4, 6 */
}

/* Whoever else asks, or is named by others, gets no packet. */
Test(node_dht, nothing_goes_where_nothing_may)
{
    struct addr b = nw_addr(B);
    w->n[4].dht_may_send = even;
    fill();
    cr_assert_leq(known(4), 3);
    cr_assert_eq(node_dht_router(node(4), &b, w->now_ms), ERR_ARG);
    struct node_dht_ask q = {.verb = NODE_DHT_PING, .addr = nw_addr(B)};
    cr_assert_eq(node_dht_ask(node(4), TAG, &q, w->now_ms), ERR_ARG);
    size_t before = w->n[B].udp_in;
    nw_lose(w, 2); /* nobody else writes to B */
    for (int i = 3; i < NODES; i++) {
        if (i != 4) {
            nw_lose(w, i);
        }
    }
    nw_lose(w, A);
    before = w->n[B].udp_in;
    nw_run(w, 30000);
    cr_assert_eq(w->n[B].udp_in, before);
}

/* ---- what is remembered ---- */

Test(node_dht, after_a_start_the_remembered_nodes_are_enough)
{
    fill();
    nw_run(w, 2 * FILL_MS);
    nw_lose(w, 3); /* as by a cut of power */
    start(3, false);
    cr_assert(node_dht_remembers(node(3)));
    nw_run(w, 5000);
    cr_assert_geq(known(3), NODES / 2);
}

Test(node_dht, a_stop_remembers_and_ends_it)
{
    struct dht_stats s;
    fill();
    node_shutdown(node(3), w->now_ms);
    nw_drain(w, 3);
    cr_assert_not(node_dht_stats(node(3), &s));
    cr_assert_gt(w->n[3].dht_nodes.n, 0);
    nw_lose(w, 3);
    start(3, false);
    nw_run(w, 5000);
    cr_assert_geq(known(3), NODES / 2);
}

Test(node_dht, one_who_is_alone_does_not_forget)
{
    fill();
    node_shutdown(node(3), w->now_ms);
    nw_drain(w, 3);
    size_t kept = w->n[3].dht_nodes.n;
    for (int i = 0; i < NODES; i++) {
        nw_lose(w, i);
    }
    start(3, false);
    nw_run(w, 10 * FILL_MS + 1000);
    cr_assert(node_dht_alone(node(3)));
    node_shutdown(node(3), w->now_ms);
    nw_drain(w, 3);
    cr_assert_eq(w->n[3].dht_nodes.n, kept);
}

Test(node_dht, what_is_remembered_may_be_damaged)
{
    static const uint8_t bad[] = {7, 4, 10, 0, 0, 1, 0x1d, 0xff, 3, 1, 2, 3, 19, 6};
    bool ok = blob_set(&w->n[B].dht_nodes, bad, sizeof bad);
    cr_assert(ok);
    start(A, false);
    start(B, false);
    cr_assert(node_dht_remembers(node(B)));
    nw_run(w, 5000);
}

Test(node_dht, contacts_nearby_are_a_beginning)
{
    uint32_t a, b;
    w->n[A].no_multicast = w->n[B].no_multicast = false;
    start(A, false);
    start(B, false);
    nw_pair(w, A, B, &a, &b);
    nw_run(w, 3 * FILL_MS);
    cr_assert_eq(known(A), 1);
    cr_assert_eq(known(B), 1);
}

Test(node_dht, who_is_invisible_does_not_ask_contacts)
{
    uint32_t a, b;
    w->n[A].no_multicast = w->n[B].no_multicast = false;
    start(A, false);
    start(B, false);
    cr_assert_eq(node_presence_set(node(B), TAG, PRESENCE_INVISIBLE, NULL, 0, w->now_ms),
                 0);
    nw_drain(w, B);
    nw_pair(w, A, B, &a, &b);
    nw_run(w, 3 * FILL_MS);
    cr_assert_eq(known(A), 0);
    cr_assert_eq(known(B), 0);
}

/* ---- beacons beside it ---- */

/* A contact's beacon may begin and end as a message of the DHT does. */
Test(node_dht, a_beacon_that_looks_like_a_message_is_a_beacon)
{
    uint32_t a, b;
    uint8_t key[32], bytes[WIRE_BEACON];
    struct wire_beacon v = {.port = 7679};
    struct addr from = nw_addr(B);
    w->n[A].no_multicast = w->n[B].no_multicast = false;
    start(A, false);
    start(B, false);
    nw_pair(w, A, B, &a, &b);
    nw_run(w, 5000);
    nw_lose(w, B);
    nw_cut(w);
    nw_run(w, 300000);
    cr_assert_not(node_online(node(A), a));
    wire_beacon_key_presence(w->n[B].key.presence_p, key);
    do {
        v.nonce[0] = 'd';
        v.nonce[1]++;
        v.nonce[2] = v.nonce[1] == 0 ? (uint8_t)(v.nonce[2] + 1) : v.nonce[2];
        wire_beacon_put(bytes, key, &from, &v);
    } while (bytes[WIRE_BEACON - 1] != 'e');
    cr_assert_eq(bytes[0], 'd');
    node_udp_recv(node(A), &from, bytes, sizeof bytes, w->now_ms);
    nw_drain(w, A);
    cr_assert(node_online(node(A), a));
}
