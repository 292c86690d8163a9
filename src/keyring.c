/* The keyring: whose first record a listener answers. Sorted by (kind, ref), so that
 * contacts stand before invites, these before a network, and one is found in logarithmic
 * time. */
#include "link.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/err.h"

enum { KEYRING_CAP_MIN = 8 };

/* The place of (kind, ref), or where it would stand. */
static size_t place(const struct keyring *k, enum link_kind kind, uint32_t ref)
{
    size_t lo = 0, hi = k->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const struct link_candidate *c = &k->v[mid];
        if (c->kind < kind || (c->kind == kind && c->ref < ref)) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

static bool stands_at(const struct keyring *k, size_t i, enum link_kind kind,
                      uint32_t ref)
{
    return i < k->n && k->v[i].kind == kind && k->v[i].ref == ref;
}

/* realloc() would leave keys behind. */
static int grow(struct keyring *k)
{
    size_t cap = k->cap == 0 ? KEYRING_CAP_MIN : 2 * k->cap;
    struct link_candidate *v = malloc(cap * sizeof *v);
    if (v == NULL) {
        return ERR_NOMEM;
    }
    if (k->v != NULL) {
        memcpy(v, k->v, k->n * sizeof *v);
        sodium_memzero(k->v, k->cap * sizeof *v);
        free(k->v);
    }
    k->v = v;
    k->cap = cap;
    return 0;
}

int keyring_put(struct keyring *k, const struct link_candidate *c)
{
    size_t i = place(k, c->kind, c->ref);
    if (stands_at(k, i, c->kind, c->ref)) {
        struct link_candidate *old = &k->v[i], put = *c;
        if (sodium_memcmp(&old->keys, &put.keys, sizeof put.keys) == 0) {
            memcpy(put.tags, old->tags, sizeof put.tags);
            put.n_tags = old->n_tags;
            put.next_tag = old->next_tag;
        }
        *old = put;
        sodium_memzero(&put, sizeof put);
        return 0;
    }
    if (k->n >= LINK_CANDIDATES_MAX) {
        return ERR_LIMIT;
    }
    if (k->n == k->cap) {
        int rc = grow(k);
        if (rc != 0) {
            return rc;
        }
    }
    memmove(&k->v[i + 1], &k->v[i], (k->n - i) * sizeof *k->v);
    k->v[i] = *c;
    k->n++;
    return 0;
}

void keyring_del(struct keyring *k, enum link_kind kind, uint32_t ref)
{
    size_t i = place(k, kind, ref);
    if (!stands_at(k, i, kind, ref)) {
        return;
    }
    k->n--;
    memmove(&k->v[i], &k->v[i + 1], (k->n - i) * sizeof *k->v);
    sodium_memzero(&k->v[k->n], sizeof *k->v);
}

struct link_candidate *keyring_get(const struct keyring *k, enum link_kind kind,
                                   uint32_t ref)
{
    size_t i = place(k, kind, ref);
    return stands_at(k, i, kind, ref) ? &k->v[i] : NULL;
}

void keyring_release(struct keyring *k)
{
    if (k == NULL) {
        return;
    }
    if (k->v != NULL) {
        sodium_memzero(k->v, k->cap * sizeof *k->v);
        free(k->v);
    }
    *k = (struct keyring){0};
}
