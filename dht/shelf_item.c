#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "dht/shelf_parts.h"

struct body {
    bool is_mutable;
    uint8_t k[ITEM_KEY_LEN], sig[ITEM_SIG_LEN];
    int64_t seq;
    size_t v_len;
    uint8_t v[];
};

struct kept_item {
    struct kept kept;
    struct source source; /* of who put it here first */
    struct body *body;
};

/* Bytes of memory for an item whose value has this length. */
static size_t size_of(size_t v_len)
{
    return sizeof(struct kept_item) + sizeof(struct body) + v_len;
}

static struct item view_of(const struct body *b)
{
    return (struct item){
        .v = {b->v, b->v_len},
        .k = b->is_mutable ? b->k : NULL,
        .sig = b->is_mutable ? b->sig : NULL,
        .seq = b->seq,
    };
}

static struct body *body_new(const struct item *it)
{
    struct body *b = calloc(1, sizeof *b + it->v.n);
    if (b == NULL) {
        return NULL;
    }
    b->is_mutable = it->k != NULL;
    if (b->is_mutable) {
        memcpy(b->k, it->k, sizeof b->k);
        memcpy(b->sig, it->sig, sizeof b->sig);
        b->seq = it->seq;
    }
    b->v_len = it->v.n;
    memcpy(b->v, it->v.p, it->v.n);
    return b;
}

/* kept is the first member of what owns it. */
static struct kept_item *item_at(const struct kept *k)
{
    return (struct kept_item *)k;
}

static void item_free(struct kept_item *it)
{
    if (it != NULL) {
        free(it->body);
        free(it);
    }
}

static struct kept_item *item_new(const struct dht_id *target, const struct item *it,
                                  const struct addr *from)
{
    struct kept_item *k = calloc(1, sizeof *k);
    if (k == NULL) {
        return NULL;
    }
    k->kept.key = *target;
    source_of(from, &k->source);
    k->body = body_new(it);
    if (k->body == NULL) {
        item_free(k);
        return NULL;
    }
    return k;
}

static void drop(struct shelf *s, struct kept_item *it)
{
    quota_drop(&s->item_sources, &it->source);
    s->item_bytes -= size_of(it->body->v_len);
    row_remove(&s->items, &it->kept);
    item_free(it);
}

/* Lets farther items go until there is room for one of this size, or none is farther. */
static int make_room(struct shelf *s, const struct dht_id *target, size_t size)
{
    while (s->items.len >= s->items.max ||
           s->item_bytes + size > s->config.item_bytes_max) {
        struct kept *far = row_farther(&s->items, target);
        if (far == NULL) {
            return ERR_FULL;
        }
        drop(s, item_at(far));
    }
    return 0;
}

static int add(struct shelf *s, const struct dht_id *target, const struct item *it,
               const struct addr *from, uint64_t now_ms)
{
    struct kept_item *fresh = item_new(target, it, from);
    if (fresh == NULL) {
        return ERR_NOMEM;
    }
    int rc = quota_has(&s->item_sources, &fresh->source) ? 0 : ERR_FULL;
    rc = rc == 0 ? make_room(s, target, size_of(it->v.n)) : rc;
    rc = rc == 0 ? quota_add(&s->item_sources, &fresh->source) : rc;
    if (rc != 0) {
        item_free(fresh);
        return rc;
    }
    rc = row_add(&s->items, &fresh->kept, now_ms + SHELF_ITEM_TTL_MS);
    if (rc != 0) {
        quota_drop(&s->item_sources, &fresh->source);
        item_free(fresh);
        return rc;
    }
    s->item_bytes += size_of(it->v.n);
    return 0;
}

/* A newer value takes the place of an older one; who put it here first answers for it. */
static int replace(struct shelf *s, struct kept_item *old, const struct item *it)
{
    size_t bytes = s->item_bytes - size_of(old->body->v_len) + size_of(it->v.n);
    if (bytes > s->config.item_bytes_max) {
        return ERR_FULL;
    }
    struct body *fresh = body_new(it);
    if (fresh == NULL) {
        return ERR_NOMEM;
    }
    free(old->body);
    old->body = fresh;
    s->item_bytes = bytes;
    return 0;
}

int shelf_put(struct shelf *s, const struct dht_id *target, const struct item *it,
              const int64_t *cas, const struct addr *from, uint64_t now_ms)
{
    shelf_items_expire(s, now_ms);
    struct kept *k = row_find(&s->items, target);
    if (k == NULL) {
        return add(s, target, it, from, now_ms);
    }
    struct kept_item *old = item_at(k);
    struct item stored = view_of(old->body);
    int rc = item_replaces(it, &stored, cas);
    bool same = old->body->is_mutable == (it->k != NULL) && stored.seq == it->seq;
    if (rc == 0 && !same) {
        rc = replace(s, old, it);
    }
    if (rc == 0) {
        row_expire_at(&s->items, k, now_ms + SHELF_ITEM_TTL_MS);
    }
    return rc;
}

bool shelf_get(const struct shelf *s, const struct dht_id *target, uint64_t now_ms,
               struct item *out)
{
    const struct kept *k = row_find(&s->items, target);
    if (k == NULL || k->expiry.at_ms <= now_ms) {
        return false;
    }
    *out = view_of(item_at(k)->body);
    return true;
}

void shelf_items_expire(struct shelf *s, uint64_t now_ms)
{
    struct kept *k;
    while ((k = row_expired(&s->items, now_ms)) != NULL) {
        drop(s, item_at(k));
    }
}

void shelf_items_clear(struct shelf *s)
{
    while (s->items.len > 0) {
        drop(s, item_at(s->items.places[s->items.len - 1].kept));
    }
}
