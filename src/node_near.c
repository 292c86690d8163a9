#include "node_near.h"

#include <string.h>

#include "dht/item.h"

enum { SUBNET4_LEN = 3, SUBNET6_LEN = 6 };

static struct near_key *find(struct near *m, const uint8_t pub[BLIND_PUB])
{
    for (size_t i = 0; i < NEAR_KEYS; i++) {
        if (m->key[i].used_ms != 0 && memcmp(m->key[i].pub, pub, BLIND_PUB) == 0) {
            return &m->key[i];
        }
    }
    return NULL;
}

/* A free one, or the one that was of no use for longest. */
static struct near_key *oldest(struct near *m)
{
    struct near_key *at = &m->key[0];

    for (size_t i = 1; i < NEAR_KEYS; i++) {
        at = m->key[i].used_ms < at->used_ms ? &m->key[i] : at;
    }
    return at;
}

static void set_target(struct near_key *k)
{
    const struct item it = {.k = k->pub};

    item_target(&it, &k->target);
}

void near_found(struct near *m, const uint8_t pub[BLIND_PUB], const struct krpc_node *v,
                size_t n, uint64_t now_ms)
{
    struct near_key *k = find(m, pub);

    if (n == 0) {
        return;
    }
    k = k != NULL ? k : oldest(m);
    *k = (struct near_key){.until_ms = now_ms + NEAR_MS};
    memcpy(k->pub, pub, BLIND_PUB);
    set_target(k);
    k->used_ms = now_ms > 0 ? now_ms : 1;
    for (size_t i = 0; i < n && i < LOOKUP_K; i++) {
        k->v[k->n++] = (struct near_node){.node = v[i]};
    }
}

bool near_next(struct near *m, const uint8_t pub[BLIND_PUB], bool hearsay,
               uint64_t now_ms, struct krpc_node *out)
{
    struct near_key *k = find(m, pub);

    if (k == NULL || now_ms >= k->until_ms || k->n < NEAR_FEW) {
        return false;
    }
    k->used_ms = now_ms > 0 ? now_ms : 1;
    if (hearsay && k->n_named > 0) {
        *out = k->named[--k->n_named];
        return true;
    }
    k->next = (k->next + 1) % k->n;
    *out = k->v[k->next].node;
    return true;
}

/* ---- what is named ---- */

/* An office has all its nodes in one; nobody from outside can name those. */
static bool same_subnet(const struct addr *a, const struct addr *b)
{
    size_t len = a->family == 4 ? SUBNET4_LEN : SUBNET6_LEN;

    return a->family == b->family && memcmp(a->ip, b->ip, len) == 0 &&
           !addr_is_private(a);
}

static bool same_node(const struct krpc_node *a, const struct krpc_node *b)
{
    return dht_id_eq(&a->id, &b->id) || addr_eq(&a->addr, &b->addr);
}

static bool has_fallen_silent(const struct near_key *k, const struct addr *a)
{
    for (size_t i = 0; i < NEAR_SILENT; i++) {
        if (addr_eq(&k->silent[i], a)) {
            return true;
        }
    }
    return false;
}

static bool is_nearer(const struct near_key *k, const struct krpc_node *n)
{
    return k->n < LOOKUP_K || dht_id_cmp(&k->target, &n->id, &k->v[k->n - 1].node.id) < 0;
}

/* Whether a place is for n, if it answers. */
static bool is_welcome(const struct near_key *k, const struct krpc_node *n)
{
    if (!is_nearer(k, n) || !dht_id_fits(&n->id, &n->addr)) {
        return false;
    }
    for (size_t i = 0; i < k->n; i++) {
        const struct krpc_node *other = &k->v[i].node;

        if (same_node(other, n) || same_subnet(&other->addr, &n->addr)) {
            return false;
        }
    }
    return true;
}

static void add_named(struct near_key *k, const struct krpc_node *n)
{
    if (k->n_named == NEAR_NAMED || has_fallen_silent(k, &n->addr) || !is_welcome(k, n)) {
        return;
    }
    for (size_t i = 0; i < k->n_named; i++) {
        if (same_node(&k->named[i], n)) {
            return;
        }
    }
    k->named[k->n_named++] = *n;
}

static struct near_node *place_of(struct near_key *k, const struct krpc_node *who)
{
    for (size_t i = 0; i < k->n; i++) {
        if (dht_id_eq(&k->v[i].node.id, &who->id) &&
            addr_eq(&k->v[i].node.addr, &who->addr)) {
            return &k->v[i];
        }
    }
    return NULL;
}

/* In the order of distance; the farthest makes room. */
static void join(struct near_key *k, const struct krpc_node *who)
{
    size_t i = k->n < LOOKUP_K ? k->n++ : k->n - 1;

    for (; i > 0 && dht_id_cmp(&k->target, &who->id, &k->v[i - 1].node.id) < 0; i--) {
        k->v[i] = k->v[i - 1];
    }
    k->v[i] = (struct near_node){.node = *who};
}

void near_answered(struct near *m, const uint8_t pub[BLIND_PUB],
                   const struct krpc_node *who, const struct krpc_node *named, size_t n)
{
    struct near_key *k = find(m, pub);

    if (k == NULL) {
        return;
    }
    struct near_node *at = place_of(k, who);
    if (at != NULL) {
        at->fails = 0;
    } else if (is_welcome(k, who)) {
        join(k, who);
    }
    for (size_t i = 0; i < n; i++) {
        add_named(k, &named[i]);
    }
}

void near_silent(struct near *m, const uint8_t pub[BLIND_PUB],
                 const struct krpc_node *who)
{
    struct near_key *k = find(m, pub);
    struct near_node *at = k != NULL ? place_of(k, who) : NULL;

    if (k == NULL || (at != NULL && ++at->fails < NEAR_FAILS)) {
        return;
    }
    if (at != NULL) {
        size_t i = (size_t)(at - k->v);

        memmove(at, at + 1, (k->n - i - 1) * sizeof(*at));
        k->n--;
        k->next = k->n > 0 ? k->next % k->n : 0;
    }
    k->silent[k->next_silent] = who->addr;
    k->next_silent = (k->next_silent + 1) % NEAR_SILENT;
}
