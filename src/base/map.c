/* A slot is a pointer and, behind it, the key. A NULL pointer marks a slot that was
 * never used, &grave one whose entry was deleted; both end up unused when the table is
 * built anew. */
#include "base/map.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/err.h"

enum { MAP_CAP_MIN = 8 };

static const uint8_t grave;

void map_init(struct map *m, const struct env *env, size_t key_len, size_t max)
{
    assert(key_len >= 1 && key_len <= MAP_KEY_MAX);
    *m = (struct map){.key_len = key_len, .max = max};
    env_random(env, m->seed, sizeof m->seed);
}

void map_release(struct map *m)
{
    if (m == NULL) {
        return;
    }
    free(m->slots);
    m->slots = NULL;
    m->count = m->used = m->cap = 0;
}

static size_t slot_size(const struct map *m)
{
    return sizeof(void *) + m->key_len;
}

static uint8_t *slot_at(const struct map *m, size_t i)
{
    return m->slots + i * slot_size(m);
}

static void *slot_value(const uint8_t *slot)
{
    void *value;
    memcpy(&value, slot, sizeof value);
    return value;
}

static void slot_set(const struct map *m, uint8_t *slot, const void *value,
                     const void *key)
{
    memcpy(slot, &value, sizeof value);
    if (key != NULL) {
        memcpy(slot + sizeof value, key, m->key_len);
    }
}

static size_t hash(const struct map *m, const void *key)
{
    uint8_t out[crypto_shorthash_BYTES];
    uint64_t h;
    (void)crypto_shorthash(out, key, m->key_len, m->seed);
    memcpy(&h, out, sizeof h);
    return (size_t)h & (m->cap - 1);
}

/* The slot that holds key, or NULL; *first is then the slot where it would be put. The
 * table is never full, so the search ends. */
static uint8_t *find(const struct map *m, const void *key, uint8_t **first)
{
    uint8_t *unused = NULL;
    for (size_t i = hash(m, key);; i = (i + 1) & (m->cap - 1)) {
        uint8_t *slot = slot_at(m, i);
        const void *value = slot_value(slot);
        if (value == NULL) {
            if (first != NULL) {
                *first = unused != NULL ? unused : slot;
            }
            return NULL;
        }
        if (value == &grave) {
            unused = unused != NULL ? unused : slot;
        } else if (memcmp(slot + sizeof(void *), key, m->key_len) == 0) {
            return slot;
        }
    }
}

/* Builds the table anew, for one entry more than there are, at most half full. */
static int rebuild(struct map *m)
{
    size_t cap = MAP_CAP_MIN;
    while (cap / 2 < m->count + 1) {
        if (cap > SIZE_MAX / 4) {
            return ERR_NOMEM;
        }
        cap *= 2;
    }
    struct map fresh = *m;
    fresh.slots = calloc(cap, slot_size(m));
    if (fresh.slots == NULL) {
        return ERR_NOMEM;
    }
    fresh.cap = cap;
    fresh.used = m->count;
    const void *key;
    void *value;
    for (size_t pos = 0; map_next(m, &pos, &key, &value);) {
        uint8_t *slot = NULL;
        (void)find(&fresh, key, &slot);
        slot_set(&fresh, slot, value, key);
    }
    free(m->slots);
    *m = fresh;
    return 0;
}

int map_put(struct map *m, const void *key, void *value)
{
    assert(value != NULL);
    if (map_get(m, key) != NULL) {
        return ERR_EXISTS;
    }
    if (m->count >= m->max) {
        return ERR_LIMIT;
    }
    if (m->cap == 0 || m->used + 1 > m->cap / 4 * 3) {
        int rc = rebuild(m);
        if (rc != 0) {
            return rc;
        }
    }
    uint8_t *slot = NULL;
    (void)find(m, key, &slot);
    if (slot_value(slot) == NULL) {
        m->used++;
    }
    slot_set(m, slot, value, key);
    m->count++;
    return 0;
}

void *map_get(const struct map *m, const void *key)
{
    const uint8_t *slot = m->count == 0 ? NULL : find(m, key, NULL);
    return slot == NULL ? NULL : slot_value(slot);
}

void *map_del(struct map *m, const void *key)
{
    uint8_t *slot = m->count == 0 ? NULL : find(m, key, NULL);
    if (slot == NULL) {
        return NULL;
    }
    void *value = slot_value(slot);
    slot_set(m, slot, &grave, NULL);
    m->count--;
    return value;
}

bool map_next(const struct map *m, size_t *pos, const void **key, void **value)
{
    while (*pos < m->cap) {
        uint8_t *slot = slot_at(m, (*pos)++);
        void *v = slot_value(slot);
        if (v != NULL && v != &grave) {
            if (key != NULL) {
                *key = slot + sizeof v;
            }
            *value = v;
            return true;
        }
    }
    return false;
}
