/* The secret network: whole nodes that pair by themselves, and the list of members. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "link_world.h"
#include "network.h"
#include "node_world.h"

static struct nw_world *office(int count)
{
    struct nw_world *w = malloc(sizeof *w);
    cr_assert(w != NULL && sodium_init() >= 0);
    nw_init_of(w, count);
    for (int i = 0; i < count; i++) {
        w->n[i].network = "the office";
        w->n[i].secret = 9;
    }
    return w;
}

static void start_all(struct nw_world *w)
{
    for (int i = 0; i < w->count; i++) {
        nw_start(w, i);
    }
    for (int i = 0; i < w->count; i++) {
        nw_drain(w, i);
    }
}

static void end(struct nw_world *w)
{
    nw_release(w);
    free(w);
}

/* What a knows of b, NULL: nothing. */
static const struct rec_contact *knows(const struct nw_world *w, int a, int b)
{
    return contacts_by_root(node_contacts(w->n[a].node), node_root(w->n[b].node));
}

static size_t pairs(const struct nw_world *w)
{
    size_t n = 0;
    for (int a = 0; a < w->count; a++) {
        for (int b = 0; b < w->count; b++) {
            n += a != b && knows(w, a, b) != NULL;
        }
    }
    return n;
}

Test(network, twenty_pair_by_themselves)
{
    enum { N = 20 };
    struct nw_world *w = office(N);
    start_all(w);
    nw_run(w, 20000);
    cr_assert_eq(pairs(w), N * (N - 1));
    for (int a = 0; a < N; a++) {
        for (int b = 0; b < N; b++) {
            const struct rec_contact *c = a != b ? knows(w, a, b) : NULL;
            if (c != NULL) {
                cr_assert_eq(c->flags, CONTACT_NETWORK, "unverified, no conflict");
                cr_assert_str_eq(c->network, "the office");
                cr_assert_arr_eq(c->pair, knows(w, b, a)->pair, 32);
            }
        }
    }
    /* one link to pair, one to talk, and hardly any more */
    cr_assert_leq(w->n_carriers, N * (N - 1) + N, "%zu links", w->n_carriers);
    nw_say(w, 0, 1, knows(w, 0, N - 1)->id, "good morning");
    nw_run(w, 1000);
    cr_assert_str_eq(w->n[N - 1].text, "good morning");
    end(w);
}

Test(network, who_comes_later_is_found)
{
    struct nw_world *w = office(4);
    for (int i = 0; i < 4; i++) {
        nw_start(w, i);
        nw_drain(w, i);
        nw_run(w, 90000);
        for (int a = 0; a <= i; a++) {
            for (int b = 0; b <= i; b++) {
                cr_assert(a == b || knows(w, a, b) != NULL, "%d %d", a, b);
            }
        }
    }
    end(w);
}

Test(network, another_secret_or_name_is_another_network)
{
    struct nw_world *w = office(4);
    w->n[2].secret = 10;
    w->n[3].network = "The office";
    w->n[3].secret = 11; /* the name is in the key */
    start_all(w);
    nw_run(w, 120000);
    cr_assert_eq(pairs(w), 2);
    cr_assert(knows(w, 0, 1) != NULL);
    /* whoever has no network at all is not even asked */
    cr_assert_leq(w->n_carriers, 3);
    end(w);
}

Test(network, the_key_alone_is_not_enough_for_nodes_without_a_network)
{
    struct nw_world *w = office(2);
    w->n[1].network = NULL;
    start_all(w);
    nw_run(w, 120000);
    cr_assert_eq(pairs(w), 0);
    cr_assert_eq(w->n_carriers, 0);
    end(w);
}

static void remove_contact(struct nw_world *w, int a, int b, bool block)
{
    enum { TAG = 5 };
    uint32_t id = knows(w, a, b)->id;
    int err = block ? node_contact_block(w->n[a].node, TAG, id, true, w->now_ms)
                    : node_contact_remove(w->n[a].node, TAG, id, w->now_ms);
    cr_assert_eq(err, 0);
    nw_drain(w, a);
}

/* It has lost everything but its key, and asks again. */
static void lose(struct nw_world *w, int i, uint64_t ms)
{
    nw_lose(w, i);
    nw_run(w, 1000);
    nw_start(w, i);
    nw_drain(w, i);
    nw_run(w, ms);
}

Test(network, who_was_removed_or_blocked_does_not_come_back)
{
    for (int block = 0; block < 2; block++) {
        struct nw_world *w = office(2);
        start_all(w);
        nw_run(w, 20000);
        cr_assert_eq(pairs(w), 2);
        remove_contact(w, 0, 1, block != 0);
        uint32_t flags = block != 0 ? CONTACT_NETWORK | CONTACT_BLOCKED : CONTACT_REMOVED;
        nw_run(w, 3600000);
        cr_assert_eq(knows(w, 0, 1)->flags, flags);
        lose(w, 1, 7200000);
        cr_assert_eq(knows(w, 0, 1)->flags, flags);
        cr_assert_null(knows(w, 1, 0));
        end(w);
    }
}

Test(network, who_lost_everything_is_paired_with_again)
{
    struct nw_world *w = office(2);
    start_all(w);
    nw_run(w, 20000);
    uint8_t pair[32];
    memcpy(pair, knows(w, 0, 1)->pair, sizeof pair);
    lose(w, 1, 400000); /* until 0 says again that it is there */
    cr_assert_eq(pairs(w), 2);
    cr_assert_arr_eq(knows(w, 0, 1)->pair, knows(w, 1, 0)->pair, 32);
    cr_assert_neq(memcmp(pair, knows(w, 0, 1)->pair, 32), 0);
    end(w);
}

Test(network, a_contact_made_by_invite_stays_as_it_is)
{
    struct nw_world *w = office(2);
    w->n[1].network = NULL;
    start_all(w);
    uint32_t at_0, at_1;
    nw_pair(w, 0, 1, &at_0, &at_1);
    cr_assert_eq(node_contact_verify(w->n[0].node, 6, at_0, true, w->now_ms), 0);
    nw_drain(w, 0);
    uint8_t pair[32];
    memcpy(pair, knows(w, 0, 1)->pair, sizeof pair);
    w->n[1].network = w->n[0].network;
    lose(w, 1, 300000);
    cr_assert_eq(knows(w, 0, 1)->flags, CONTACT_VERIFIED);
    cr_assert_arr_eq(knows(w, 0, 1)->pair, pair, 32);
    cr_assert_null(knows(w, 1, 0));
    end(w);
}

/* Bytes that the node sent to a stranger, and the stranger's link. */
struct liar {
    struct nw_world *w;
    struct link *l;
    size_t carrier;
};

static void hear(void *ctx, size_t carrier, const uint8_t *p, size_t len)
{
    struct liar *x = ctx;
    if (carrier == x->carrier) {
        (void)link_recv(x->l, p, len, x->w->now_ms);
    }
}

enum liar_end { LIAR_NOTHING, LIAR_PAIRS, LIAR_BUSY };

/* A fresh identity comes up under the network's key; what it is told. */
static enum liar_end pair_once(struct nw_world *w, struct world_env *env,
                               struct link_self *self, const struct link_candidate *as,
                               uint8_t name)
{
    struct addr from = nw_addr(40);
    struct liar x = {.w = w};
    struct link_event ev;
    uint8_t out[WORLD_OUT];
    enum liar_end how = LIAR_NOTHING;
    world_self(self, &env->env, name);
    self->network_len = strlen("the office");
    memcpy(self->network, "the office", self->network_len);
    x.carrier = nw_connect(w, 0, &from);
    cr_assert_neq(x.carrier, SIZE_MAX);
    x.l = link_dial(self, as, CARRIER_TCP, 1, w->now_ms);
    w->heard = hear;
    w->heard_ctx = &x;
    for (unsigned i = 0; i < 4; i++) {
        size_t n = link_next_out(x.l, out, sizeof out, w->now_ms);
        if (n > 0) {
            link_sent(x.l, n);
            nw_give(w, x.carrier, out, n);
        }
        while (link_next_event(x.l, &ev)) {
            if (ev.kind == LINK_EV_FRAME && ev.type == FRAME_PAIR) {
                how = LIAR_PAIRS;
            } else if (ev.kind == LINK_EV_CLOSED && ev.by_peer && ev.code == CLOSE_BUSY) {
                how = LIAR_BUSY;
            }
        }
    }
    w->heard = NULL;
    link_free(x.l);
    nw_run(w, 1);
    return how;
}

/* Somebody with the secret makes identities. */
Test(network, a_member_cannot_flood_us_with_contacts)
{
    struct nw_world *w = office(1);
    struct world_env env;
    struct link_self self;
    struct link_candidate as = {.kind = LINK_NETWORK};
    uint8_t network_key[NETKEY];
    start_all(w);
    world_env(&env, 3);
    memset(network_key, 9, sizeof network_key);
    keys_link_network(network_key, &as.keys);
    size_t paired = 0, busy = 0;
    for (unsigned i = 0; i < 2 * NETWORK_NEW_SOURCE; i++) {
        enum liar_end how = pair_once(w, &env, &self, &as, (uint8_t)i);
        paired += how == LIAR_PAIRS;
        busy += how == LIAR_BUSY;
    }
    cr_assert_eq(paired, NETWORK_NEW_SOURCE);
    cr_assert_eq(busy, NETWORK_NEW_SOURCE);
    cr_assert_eq(w->n[0].told_limit, 1, "it is said once");
    end(w);
}

static void set_presence(struct nw_world *w, int i, enum presence_state state)
{
    cr_assert_eq(node_presence_set(w->n[i].node, 7, state, NULL, 0, w->now_ms), 0);
    nw_drain(w, i);
}

Test(network, the_invisible_neither_ask_nor_answer)
{
    struct nw_world *w = office(3);
    for (int i = 0; i < 3; i++) {
        nw_start(w, i);
    }
    set_presence(w, 2, PRESENCE_INVISIBLE);
    nw_drain(w, 0);
    nw_drain(w, 1);
    nw_run(w, 600000);
    cr_assert_eq(pairs(w), 2);
    for (size_t i = 0; i < w->n_carriers; i++) {
        cr_assert(w->carriers[i].node[0] != 2 && w->carriers[i].node[1] != 2);
    }
    set_presence(w, 2, PRESENCE_ONLINE);
    nw_run(w, 30000);
    cr_assert_eq(pairs(w), 6);
    end(w);
}

Test(network, a_name_that_comes_twice_is_marked)
{
    struct nw_world *w = office(3);
    w->n[1].name = w->n[2].name = "ann";
    start_all(w);
    nw_run(w, 20000);
    cr_assert_eq(pairs(w), 6);
    cr_assert((knows(w, 0, 1)->flags & CONTACT_CONFLICT) != 0);
    cr_assert((knows(w, 0, 2)->flags & CONTACT_CONFLICT) != 0);
    cr_assert_eq(knows(w, 1, 0)->flags, CONTACT_NETWORK);
    end(w);
}

/* Two VLANs; one of the first knows one address in the second. */
Test(network, members_tell_of_members_beyond_multicast)
{
    enum { N = 8 };
    struct nw_world *w = office(N);
    for (int i = N / 2; i < N; i++) {
        w->n[i].vlan = 1;
    }
    start_all(w);
    nw_run(w, 60000);
    cr_assert_eq(pairs(w), 2 * (N / 2) * (N / 2 - 1), "nobody there names the others");
    struct addr to = nw_addr_of(w, N / 2);
    cr_assert_eq(node_set_targets(w->n[1].node, &to, 1, w->now_ms), 0);
    nw_drain(w, 1);
    nw_run(w, 60000);
    cr_assert_eq(pairs(w), N * (N - 1));
    end(w);
}

/* Everything is cut again and again while they pair: in the end all know each other, with
 * one secret. */
Test(network, cut_in_the_middle_of_everything)
{
    enum { N = 5 };
    struct nw_world *w = office(N);
    start_all(w);
    for (unsigned i = 0; i < 60; i++) {
        for (unsigned k = 0; k < i; k++) {
            (void)nw_step(w);
        }
        nw_cut(w);
        nw_run(w, 300);
    }
    nw_run(w, 900000);
    cr_assert_eq(pairs(w), N * (N - 1));
    for (int a = 0; a < N; a++) {
        for (int b = 0; b < a; b++) {
            cr_assert_arr_eq(knows(w, a, b)->pair, knows(w, b, a)->pair, 32);
        }
    }
    end(w);
}

/* ---- the list of members ---- */

static const struct bytes32 {
    uint8_t b[32];
} key = {{1}};

static struct network *list(struct world_env *env)
{
    static const uint8_t own[32] = {7};
    world_env(env, 5);
    struct network *n = network_new(&env->env, key.b, own);
    cr_assert_not_null(n);
    return n;
}

static void source_of(unsigned i, uint8_t out[NETWORK_SOURCE_KEY])
{
    memset(out, 0, NETWORK_SOURCE_KEY);
    out[1] = (uint8_t)i;
    out[2] = (uint8_t)(i >> 8);
}

static struct addr at(unsigned i)
{
    return (struct addr){
        .family = 4, .port = 7679, .ip = {10, 0, (uint8_t)(i >> 8), (uint8_t)i}};
}

static unsigned drain(struct network *n, uint64_t now_ms, uint32_t *conn)
{
    struct network_out out;
    unsigned dials = 0;
    network_tick(n, now_ms);
    while (network_next_out(n, &out)) {
        if (!out.give_up) {
            network_dialling(n, out.ref, ++*conn, now_ms);
            dials++;
        }
    }
    return dials;
}

static void device_of(unsigned i, uint8_t out[32])
{
    memset(out, 0, 32);
    out[30] = (uint8_t)(i >> 8);
    out[31] = (uint8_t)i;
}

Test(network_list, is_bounded)
{
    struct world_env env;
    struct network *n = list(&env);
    uint8_t source[NETWORK_SOURCE_KEY], device[32];
    source_of(1, source);
    for (unsigned i = 0; i < 2 * NETWORK_SOURCE_MAX; i++) {
        struct addr a = at(i);
        device_of(i, device);
        network_told(n, device, &a, source, 1000);
    }
    cr_assert_eq(network_count(n), NETWORK_SOURCE_MAX);
    for (unsigned i = 0; i < 3 * NETWORK_MEMBERS_MAX; i++) {
        struct addr a = at(i);
        device_of(i + 5000, device);
        source_of(i / 8, source);
        network_told(n, device, &a, source, 1000);
    }
    cr_assert_eq(network_count(n), NETWORK_MEMBERS_MAX);
    uint32_t conn = 0;
    cr_assert_eq(drain(n, 1000000, &conn), NETWORK_DIALS_MAX);
    cr_assert_eq(drain(n, 1000001, &conn), 0);
    for (uint32_t c = 1; c <= NETWORK_DIALS_MAX; c++) {
        network_over(n, c, NETWORK_FAILED, 1000001);
    }
    cr_assert_eq(drain(n, 1000001, &conn), NETWORK_DIALS_MAX);
    network_free(n);
}

Test(network_list, dials_of_what_was_told_are_limited)
{
    struct world_env env;
    struct network *n = list(&env);
    uint8_t source[NETWORK_SOURCE_KEY], device[32];
    uint32_t conn = 0, done = 0;
    for (unsigned i = 0; i < 512; i++) {
        struct addr a = at(i);
        device_of(i, device);
        source_of(i / 8, source);
        network_told(n, device, &a, source, 1000);
    }
    unsigned dials = 0;
    for (unsigned i = 0; i < 1000; i++) {
        dials += drain(n, 20000, &conn);
        while (done < conn) {
            network_over(n, ++done, NETWORK_REFUSED, 20000);
        }
    }
    cr_assert_eq(dials, NETWORK_TOLD_BURST);
    network_free(n);
}

Test(network_list, who_refused_is_left_alone_and_who_is_known_is_forgotten)
{
    struct world_env env;
    struct network *n = list(&env);
    uint8_t source[NETWORK_SOURCE_KEY], device[32];
    uint32_t conn = 0;
    struct addr a = at(1);
    source_of(1, source);
    device_of(1, device);
    network_told(n, device, &a, source, 1000);
    cr_assert(network_names(n, &a));
    cr_assert_eq(drain(n, 20000, &conn), 1);
    network_over(n, conn, NETWORK_REFUSED, 20000);
    cr_assert_eq(drain(n, 20000 + NETWORK_REFUSED_MS - 1, &conn), 0);
    cr_assert_eq(drain(n, 20000 + 2 * NETWORK_REFUSED_MS, &conn), 1);
    cr_assert_eq(network_know(n, device), 0);
    cr_assert_eq(network_count(n), 1, "its dial is under way");
    network_over(n, conn, NETWORK_FAILED, 20000 + 2 * NETWORK_REFUSED_MS);
    cr_assert_eq(network_count(n), 0);
    network_told(n, device, &a, source, 1000);
    cr_assert_eq(network_count(n), 0);
    cr_assert_not(network_names(n, &a));
    network_free(n);
}

Test(network_list, dials_that_fail_grow_rare_and_end)
{
    struct world_env env;
    struct network *n = list(&env);
    uint8_t source[NETWORK_SOURCE_KEY], device[32];
    uint32_t conn = 0;
    struct addr a = at(1);
    source_of(1, source);
    device_of(1, device);
    network_told(n, device, &a, source, 1000);
    uint64_t now = 1000, last = 0;
    for (unsigned i = 0; i < NETWORK_TRIES_MAX; i++) {
        now = network_deadline(n);
        cr_assert_neq(now, UINT64_MAX);
        cr_assert_eq(drain(n, now, &conn), 1, "try %u", i);
        cr_assert(i < 3 || now - last > 2000);
        last = now;
        network_over(n, conn, NETWORK_FAILED, now);
        cr_assert_eq(drain(n, now, &conn), 0);
    }
    cr_assert_eq(network_count(n), 0);
    network_free(n);
}

Test(network_list, a_dial_that_takes_too_long_is_given_up)
{
    struct world_env env;
    struct network *n = list(&env);
    uint8_t source[NETWORK_SOURCE_KEY], device[32];
    uint32_t conn = 0;
    struct addr a = at(1);
    struct network_out out;
    source_of(1, source);
    device_of(1, device);
    network_told(n, device, &a, source, 1000);
    cr_assert_eq(drain(n, 20000, &conn), 1);
    cr_assert_eq(network_deadline(n), 20000 + NETWORK_DIAL_MS);
    network_tick(n, 20000 + NETWORK_DIAL_MS);
    cr_assert(network_next_out(n, &out) && out.give_up && out.conn == conn);
    cr_assert_not(network_next_out(n, &out));
    network_free(n);
}

Test(network_list, new_contacts_are_limited)
{
    struct world_env env;
    struct network *n = list(&env);
    uint8_t source[NETWORK_SOURCE_KEY];
    unsigned taken = 0;
    source_of(1, source);
    for (unsigned i = 0; i < 2 * NETWORK_NEW_SOURCE; i++) {
        taken += network_admit(n, source, 1000);
    }
    cr_assert_eq(taken, NETWORK_NEW_SOURCE);
    for (unsigned i = 0; i < 2 * NETWORK_NEW_BURST; i++) {
        source_of(2 + i, source);
        taken += network_admit(n, source, 1000);
    }
    cr_assert_leq(taken, NETWORK_NEW_BURST);
    cr_assert_geq(taken, NETWORK_NEW_BURST - NETWORK_NEW_SOURCE);
    source_of(1, source);
    cr_assert(network_admit(n, source, 1000 + 3600000));
    network_free(n);
}
