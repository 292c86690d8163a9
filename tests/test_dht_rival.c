/* The DHT node puts a mutable item where another value may stand with its seq. */
#include <criterion/criterion.h>
#include <string.h>

#include "dht_fakes.h"

static struct item_key key;
static uint8_t k[ITEM_KEY_LEN], sig[ITEM_SIG_LEN];

/* What is put: "2:hi" with the seq 9. */
static struct item ours(void)
{
    struct item it = {.v = {(const uint8_t *)"2:hi", 4}, .seq = 9};
    fake_sign(&it, &key, k, sig);
    return it;
}

/* A network in which the third closest has this value. */
static struct net *net_with(const char *v, int64_t seq, struct fake **has)
{
    struct net *n = net_joined(40);
    struct dht_id target;
    key = fake_key(1);
    struct item it = ours();
    item_target(&it, &target);
    struct fake *f = net_closest(n, &target, 2);
    fake_give(f, &key, v, seq);
    *has = f;
    return n;
}

static void put(struct net *n, const int64_t *cas)
{
    struct item it = ours();
    uint32_t op;
    cr_assert_eq(dht_put(n->d, &it, cas, false, n->now_ms, &op), 0);
    net_until_done(n);
}

static int stored(const struct net *n)
{
    int sum = 0;
    for (unsigned i = 0; i < n->n; i++) {
        sum += n->f[i].stored;
    }
    return sum;
}

static void expect_rival(const char *v, int64_t seq, const int64_t *cas, int64_t code)
{
    struct fake *f;
    struct net *n = net_with(v, seq, &f);
    put(n, cas);
    const struct dht_result *r = &n->done.u.done;
    cr_assert_eq(r->outcome, DHT_REFUSED, "%s %d", v, (int)seq);
    cr_assert_eq(r->code, code);
    cr_assert(r->rival && r->rival_seq == seq);
    cr_assert_eq(stored(n), 0, "where nothing stands it would be a second one");
    net_free(n);
}

static void expect_stored(const char *v, int64_t seq, bool spoilt)
{
    struct fake *f;
    struct net *n = net_with(v, seq, &f);
    f->sig[5] ^= spoilt ? 1 : 0;
    put(n, NULL);
    cr_assert_eq(n->done.u.done.outcome, DHT_OK);
    cr_assert_not(n->done.u.done.rival);
    cr_assert_eq(n->done.u.done.copies, 8);
    cr_assert_eq(f->stored, 1, "its time begins anew");
    net_free(n);
}

Test(dht_rival, another_value_with_the_same_seq_or_a_higher_one)
{
    const int64_t eight = 8, nine = 9;
    expect_rival("5:other", 9, NULL, KRPC_E_SEQ);
    expect_rival("5:other", 9, &eight, KRPC_E_CAS);
    expect_rival("5:other", 9, &nine, KRPC_E_SEQ);
    expect_rival("5:other", 12, NULL, KRPC_E_SEQ);
    expect_rival("2:hi", 12, NULL, KRPC_E_SEQ);
}

Test(dht_rival, what_is_no_rival)
{
    expect_stored("2:hi", 9, false);
    expect_stored("5:other", 8, false);
    expect_stored("5:other", 9, true);
    expect_stored("5:other", 12, true);
}

/* BEP 44: whoever has given nothing is not told what is to be replaced. */
Test(dht_rival, cas_goes_to_who_has_something)
{
    struct fake *f;
    struct net *n = net_with("5:other", 8, &f);
    const int64_t eight = 8;
    n->watch = KRPC_PUT;
    put(n, &eight);
    cr_assert_eq(n->done.u.done.copies, 8);
    for (unsigned i = 0; i < n->n; i++) {
        cr_assert_eq(n->f[i].had_cas, &n->f[i] == f);
    }
    net_free(n);
}
