#include "dht/shelf_row.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

enum { PLACES_MIN = 4 };

void row_init(struct row *r, const struct env *env, const struct dht_id *self, size_t max)
{
    *r = (struct row){.max = max, .self = *self};
    map_init(&r->by_key, env, DHT_ID_LEN, max);
    deadlines_init(&r->expiry, max);
}

void row_release(struct row *r)
{
    map_release(&r->by_key);
    deadlines_release(&r->expiry);
    free(r->places);
    r->places = NULL;
    r->len = r->cap = 0;
}

static uint64_t distance(const struct row *r, const struct dht_id *key)
{
    uint64_t d = 0;
    for (size_t i = 0; i < sizeof d; i++) {
        d = d << 8 | (uint8_t)(key->b[i] ^ r->self.b[i]);
    }
    return d;
}

void row_set_self(struct row *r, const struct dht_id *self)
{
    r->self = *self;
    for (size_t i = 0; i < r->len; i++) {
        r->places[i].far = distance(r, &r->places[i].kept->key);
    }
}

struct kept *row_find(const struct row *r, const struct dht_id *key)
{
    return map_get(&r->by_key, key->b);
}

static int make_place(struct row *r)
{
    if (r->len >= r->max) {
        return ERR_FULL;
    }
    if (r->len < r->cap) {
        return 0;
    }
    size_t cap = r->cap == 0 ? PLACES_MIN : 2 * r->cap;
    struct row_place *places = realloc(r->places, cap * sizeof *places);
    if (places == NULL) {
        return ERR_NOMEM;
    }
    r->places = places;
    r->cap = cap;
    return 0;
}

int row_add(struct row *r, struct kept *k, uint64_t expires_ms)
{
    int rc = make_place(r);
    if (rc != 0) {
        return rc;
    }
    k->expiry = (struct deadline){.owner = k};
    if (deadlines_set(&r->expiry, &k->expiry, expires_ms) != 0) {
        return ERR_NOMEM;
    }
    if (map_put(&r->by_key, k->key.b, k) != 0) {
        deadlines_remove(&r->expiry, &k->expiry);
        return ERR_NOMEM;
    }
    k->place = r->len;
    r->places[r->len++] = (struct row_place){distance(r, &k->key), k};
    return 0;
}

void row_remove(struct row *r, struct kept *k)
{
    assert(k->place < r->len && r->places[k->place].kept == k);
    deadlines_remove(&r->expiry, &k->expiry);
    (void)map_del(&r->by_key, k->key.b);
    r->places[k->place] = r->places[--r->len];
    r->places[k->place].kept->place = k->place;
    if (r->len == 0) {
        row_release(r);
    }
}

void row_expire_at(struct row *r, struct kept *k, uint64_t expires_ms)
{
    int rc = deadlines_set(&r->expiry, &k->expiry, expires_ms);
    assert(rc == 0); /* it is there, so it needs no memory */
    (void)rc;
}

struct kept *row_expired(struct row *r, uint64_t now_ms)
{
    return deadlines_next(&r->expiry) <= now_ms ? r->expiry.heap[0]->owner : NULL;
}

struct kept *row_farther(const struct row *r, const struct dht_id *key)
{
    uint64_t far = distance(r, key);
    struct kept *found = NULL;
    for (size_t i = 0; i < r->len; i++) {
        if (r->places[i].far > far) {
            far = r->places[i].far;
            found = r->places[i].kept;
        }
    }
    return found;
}

static size_t map_memory(const struct map *m)
{
    return m->cap * (sizeof(void *) + m->key_len);
}

size_t row_memory(const struct row *r)
{
    return map_memory(&r->by_key) + r->expiry.cap * sizeof *r->expiry.heap +
           r->cap * sizeof *r->places;
}

void source_of(const struct addr *a, struct source *out)
{
    size_t n = dht_id_exempt(a) ? sizeof a->ip : a->family == 4 ? 3 : 6;
    *out = (struct source){{a->family}};
    memcpy(out->b + 1, a->ip, n);
}

void quota_init(struct quota *q, const struct env *env, size_t max, unsigned percent)
{
    size_t each = max * percent / 100;
    map_init(&q->counts, env, SOURCE_LEN, max);
    q->each_max = percent >= 100 ? SIZE_MAX : each > 0 ? each : 1;
}

void quota_release(struct quota *q)
{
    void *count;
    for (size_t pos = 0; map_next(&q->counts, &pos, NULL, &count);) {
        free(count);
    }
    map_release(&q->counts);
}

bool quota_has(const struct quota *q, const struct source *s)
{
    const size_t *count = map_get(&q->counts, s->b);
    return count == NULL || *count < q->each_max;
}

int quota_add(struct quota *q, const struct source *s)
{
    size_t *count = map_get(&q->counts, s->b);
    if (count == NULL) {
        count = calloc(1, sizeof *count);
        if (count == NULL) {
            return ERR_NOMEM;
        }
        if (map_put(&q->counts, s->b, count) != 0) {
            free(count);
            return ERR_NOMEM;
        }
    }
    ++*count;
    return 0;
}

void quota_drop(struct quota *q, const struct source *s)
{
    size_t *count = map_get(&q->counts, s->b);
    assert(count != NULL && *count > 0);
    if (--*count == 0) {
        free(map_del(&q->counts, s->b));
    }
    if (q->counts.count == 0) {
        map_release(&q->counts);
    }
}

size_t quota_memory(const struct quota *q)
{
    return map_memory(&q->counts) + q->counts.count * 2 * sizeof(size_t);
}
