#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bencode.h"
#include "dht/krpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(struct krpc_view v, const uint8_t *data, size_t size)
{
    assert(v.p == NULL
               ? v.n == 0
               : v.p >= data && v.p <= data + size && v.n <= (size_t)(data + size - v.p));
}

static void check_views(const struct krpc_msg *m, const uint8_t *data, size_t size)
{
    const struct krpc_view all[] = {m->t,     m->version, m->q,       m->text,
                                    m->nodes, m->nodes6,  m->samples, m->salt,
                                    m->token, m->v,       m->values};
    const struct krpc_view fixed[] = {{m->bfpe, m->bfpe == NULL ? 0 : KRPC_BLOOM_LEN},
                                      {m->bfsd, m->bfsd == NULL ? 0 : KRPC_BLOOM_LEN},
                                      {m->k, m->k == NULL ? 0 : KRPC_KEY_LEN},
                                      {m->sig, m->sig == NULL ? 0 : KRPC_SIG_LEN}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        inside(all[i], data, size);
    }
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        inside(fixed[i], data, size);
    }
    assert((m->has & m->bad) == 0);
}

static void walk(const struct krpc_msg *m)
{
    struct krpc_view nodes = m->nodes, nodes6 = m->nodes6;
    struct krpc_node node;
    struct addr a;
    size_t pos = 0, n = 0;
    while (krpc_node_next(&nodes, 4, &node) || krpc_node_next(&nodes6, 6, &node)) {
        assert(node.addr.family == 4 || node.addr.family == 6);
        n++;
    }
    assert(n <= m->nodes.n / KRPC_NODE4_LEN + m->nodes6.n / KRPC_NODE6_LEN);
    while (krpc_peer_next(&m->values, &pos, &a)) {
        assert(a.family == 4 || a.family == 6);
    }
}

static bool same_view(struct krpc_view a, struct krpc_view b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static bool same_fixed(const uint8_t *a, const uint8_t *b, size_t n)
{
    return a == NULL || b == NULL ? a == b : memcmp(a, b, n) == 0;
}

/* What is read from what was written is what was written. */
static void compare(const struct krpc_msg *a, const struct krpc_msg *b)
{
    assert(a->kind == b->kind && a->method == b->method && a->ro == b->ro);
    assert(a->has == b->has && b->bad == 0 && a->code == b->code);
    assert(dht_id_eq(&a->id, &b->id) && dht_id_eq(&a->target, &b->target) &&
           dht_id_eq(&a->info_hash, &b->info_hash) && addr_eq(&a->ip, &b->ip));
    assert(a->cas == b->cas && a->implied_port == b->implied_port && a->num == b->num &&
           a->noseed == b->noseed && a->scrape == b->scrape && a->seed == b->seed &&
           a->interval == b->interval && a->seq == b->seq && a->p == b->p &&
           a->port == b->port && a->want == b->want);
    assert(same_view(a->t, b->t) && same_view(a->version, b->version) &&
           same_view(a->q, b->q) && same_view(a->text, b->text) &&
           same_view(a->nodes, b->nodes) && same_view(a->nodes6, b->nodes6) &&
           same_view(a->samples, b->samples) && same_view(a->salt, b->salt) &&
           same_view(a->token, b->token) && same_view(a->v, b->v) &&
           same_view(a->values, b->values));
    assert(same_fixed(a->bfpe, b->bfpe, KRPC_BLOOM_LEN) &&
           same_fixed(a->bfsd, b->bfsd, KRPC_BLOOM_LEN) &&
           same_fixed(a->k, b->k, KRPC_KEY_LEN) &&
           same_fixed(a->sig, b->sig, KRPC_SIG_LEN));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t out[KRPC_RECV_MAX];
    struct krpc_msg m, again;
    struct ben whole;
    if (krpc_decode(data, size, &m) != 0) {
        return 0;
    }
    check_views(&m, data, size);
    walk(&m);
    if (m.kind == KRPC_QUERY && m.method == KRPC_OTHER && m.q.p == NULL) {
        return 0; /* a query without a method is not written */
    }
    if (size > KRPC_RECV_MAX - 64) {
        return 0; /* an error without e grows when it is written */
    }
    if (m.kind != KRPC_QUERY) {
        m.q = (struct krpc_view){NULL, 0};
    }
    size_t n = krpc_encode(&m, out, sizeof out);
    assert(n > 0 && krpc_decode(out, n, &again) == 0);
    compare(&m, &again);
    /* Canonical but for what stands in v and values as it came. */
    if ((m.has & (KRPC_V | KRPC_VALUES)) == 0) {
        assert(bencode_check(out, n, &whole));
    }
    /* A smaller datagram holds less, or nothing. */
    uint8_t *small = malloc(KRPC_SEND_MAX / 2);
    assert(small != NULL);
    size_t less = krpc_encode(&m, small, KRPC_SEND_MAX / 2);
    assert(less <= n && (less == 0 || krpc_decode(small, less, &again) == 0));
    free(small);
    return 0;
}
