/* The keyring: whose first record a listener answers. Sorted by (kind, ref), so that
 * contacts stand before invites, these before a network, and one is found in logarithmic
 * time. Which of them a record is from only trying tells; where they were met last says
 * whom to try first. */
#include "link.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "link_priv.h"

enum { KEYRING_CAP_MIN = 8, TAGS_CAP_MIN = 4 };

/* ---- hints ---- */

/* Mixes what tells addresses apart (SplitMix64). Only candidates themselves put hints
 * in, so nobody else can make them collide. */
static uint64_t mix(const uint8_t *p, size_t n)
{
    uint64_t h = n;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ p[i]) + UINT64_C(0x9e3779b97f4a7c15);
        h = (h ^ h >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        h = (h ^ h >> 27) * UINT64_C(0x94d049bb133111eb);
        h ^= h >> 31;
    }
    return h;
}

static uint64_t address_hash(const struct addr *a)
{
    return mix(a->ip, a->family == 4 ? 4 : sizeof a->ip);
}

/* Puts the hint first in its set; the last one goes. */
static void hint_put(struct keyring *k, const struct link_hint *hint)
{
    struct link_hint put = *hint;
    struct link_hint *set = k->hints[put.address & (k->cap - 1)];
    size_t i = 0;
    while (i < LINK_HINTS - 1 && set[i].ref != 0 &&
           !(set[i].kind == put.kind && set[i].ref == put.ref)) {
        i++;
    }
    memmove(&set[1], &set[0], i * sizeof *set);
    set[0] = put;
}

void keyring_met(struct keyring *k, enum link_kind kind, uint32_t ref,
                 const struct addr *at)
{
    if (k->hints != NULL && ref != 0 && at->family != 0) {
        hint_put(k, &(struct link_hint){address_hash(at), kind, ref});
    }
}

/* ---- candidates ---- */

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
    struct link_hint(*hints)[LINK_HINTS] = calloc(cap, sizeof *hints);
    if (v == NULL || hints == NULL) {
        free(v);
        free(hints);
        return ERR_NOMEM;
    }
    struct link_hint(*old)[LINK_HINTS] = k->hints;
    size_t sets = k->cap;
    if (k->v != NULL) {
        memcpy(v, k->v, k->n * sizeof *v);
        sodium_memzero(k->v, k->cap * sizeof *v);
        free(k->v);
    }
    k->v = v;
    k->cap = cap;
    k->hints = hints;
    for (size_t i = 0; i < sets * LINK_HINTS; i++) {
        const struct link_hint *h = &old[i / LINK_HINTS][LINK_HINTS - 1 - i % LINK_HINTS];
        if (h->ref != 0) {
            hint_put(k, h);
        }
    }
    free(old);
    return 0;
}

static struct link_candidate without_tags(const struct link_candidate *c)
{
    struct link_candidate copy = *c;
    copy.tags = NULL;
    copy.n_tags = copy.cap_tags = copy.next_tag = 0;
    return copy;
}

int keyring_put(struct keyring *k, const struct link_candidate *c)
{
    size_t i = place(k, c->kind, c->ref);
    if (stands_at(k, i, c->kind, c->ref)) {
        struct link_candidate *old = &k->v[i], put = without_tags(c);
        if (sodium_memcmp(&old->keys, &put.keys, sizeof put.keys) == 0) {
            put.tags = old->tags;
            put.n_tags = old->n_tags;
            put.cap_tags = old->cap_tags;
            put.next_tag = old->next_tag;
        } else {
            free(old->tags);
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
    k->v[i] = without_tags(c);
    k->n++;
    return 0;
}

void keyring_del(struct keyring *k, enum link_kind kind, uint32_t ref)
{
    size_t i = place(k, kind, ref);
    if (!stands_at(k, i, kind, ref)) {
        return;
    }
    free(k->v[i].tags);
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
    for (size_t i = 0; i < k->n; i++) {
        free(k->v[i].tags);
    }
    if (k->v != NULL) {
        sodium_memzero(k->v, k->cap * sizeof *k->v);
        free(k->v);
    }
    free(k->hints);
    *k = (struct keyring){0};
}

int keyring_tag(struct link_candidate *c, const uint8_t tag[KEYS_TAG])
{
    if (c->n_tags == c->cap_tags && c->cap_tags < LINK_TAGS) {
        unsigned cap = c->cap_tags == 0 ? TAGS_CAP_MIN : 2 * c->cap_tags;
        uint8_t(*v)[KEYS_TAG] = realloc(c->tags, cap * sizeof *v);
        if (v == NULL) {
            return ERR_NOMEM;
        }
        c->tags = v;
        c->cap_tags = cap;
        c->next_tag = c->n_tags;
    }
    memcpy(c->tags[c->next_tag], tag, KEYS_TAG);
    c->next_tag = (c->next_tag + 1) % LINK_TAGS;
    if (c->n_tags < LINK_TAGS) {
        c->n_tags++;
    }
    return 0;
}

/* ---- whose record ---- */

static const struct bucket_rate all_rate = {LINK_TRIALS_BURST, LINK_TRIALS_PER_S, 1000};
static const struct bucket_rate source_rate = {LINK_TRIALS_SOURCE_BURST,
                                               LINK_TRIALS_SOURCE_PER_S, 1000};

/* Whether so many trials for that source are within the limits; then they are counted. */
static bool may_try(struct keyring *k, const struct addr *from, size_t n, uint64_t now_ms)
{
    uint8_t source[ADDR_SOURCE_LEN];
    addr_source_key(from, source);
    struct bucket *b = &k->sources[mix(source, sizeof source) % LINK_TRIAL_SOURCES];
    return bucket_has(b, &source_rate, n, now_ms) &&
           bucket_take(&k->trials, &all_rate, n, now_ms) &&
           bucket_take(b, &source_rate, n, now_ms);
}

static bool is_from(const struct link_candidate *c, const uint8_t rec1[WIRE_RECORD1],
                    uint8_t msg[LINK_MSG1])
{
    uint8_t tag[KEYS_TAG];
    memcpy(msg, rec1 + KEYS_TAG, LINK_MSG1);
    if (c->kind == LINK_CALL) {
        keys_tag_call(c->keys.k_tag, msg, LINK_MSG1, tag);
        return sodium_memcmp(tag, rec1, KEYS_TAG) == 0;
    }
    keys_mask(c->keys.k_mask[0], rec1, msg, LINK_MSG1);
    keys_tag(c->keys.k_tag, msg, LINK_MSG1, tag);
    return sodium_memcmp(tag, rec1, KEYS_TAG) == 0;
}

struct link_candidate *keyring_match_invite(const struct keyring *k, uint32_t ref,
                                            const uint8_t rec1[WIRE_RECORD1],
                                            uint8_t msg[LINK_MSG1])
{
    struct link_candidate *c = keyring_get(k, LINK_INVITE, ref);
    return c != NULL && is_from(c, rec1, msg) ? c : NULL;
}

struct link_candidate *keyring_match(struct keyring *k, const struct addr *from,
                                     const uint8_t rec1[WIRE_RECORD1],
                                     uint8_t msg[LINK_MSG1], uint64_t now_ms)
{
    uint64_t at = address_hash(from);
    for (size_t i = 0; k->hints != NULL && from->family != 0 && i < LINK_HINTS; i++) {
        const struct link_hint *h = &k->hints[at & (k->cap - 1)][i];
        struct link_candidate *c =
            h->ref != 0 && h->address == at ? keyring_get(k, h->kind, h->ref) : NULL;
        if (c != NULL && is_from(c, rec1, msg)) {
            return c;
        }
    }
    if (!may_try(k, from, k->n, now_ms)) {
        return NULL;
    }
    for (size_t i = 0; i < k->n; i++) {
        if (is_from(&k->v[i], rec1, msg)) {
            return &k->v[i];
        }
    }
    return NULL;
}
