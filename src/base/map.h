/* A capped hash map from byte keys to pointers (open addressing, SipHash-2-4 under a
 * random key, so that hostile keys cannot pile up in one place).
 *
 * Keys of one map have one length, up to MAP_KEY_MAX, and are copied. Values are the
 * caller's. Iteration order is unspecified: code whose outputs depend on order must sort
 * or keep a list of its own. */
#ifndef LINNET_BASE_MAP_H
#define LINNET_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"

enum { MAP_KEY_MAX = 80 };

struct map {
    uint8_t *slots;
    size_t key_len, count, cap, max;
    size_t used; /* slots taken by entries or left by deleted ones */
    uint8_t seed[16];
};

/* key_len 1..MAP_KEY_MAX; at most max entries. */
void map_init(struct map *m, const struct env *env, size_t key_len, size_t max);
void map_release(struct map *m);
/* value must not be NULL. 0, ERR_EXISTS, ERR_LIMIT or ERR_NOMEM. */
int map_put(struct map *m, const void *key, void *value);
/* The value, or NULL. */
void *map_get(const struct map *m, const void *key);
/* The removed value, or NULL. */
void *map_del(struct map *m, const void *key);
/* Iteration: start with *pos = 0; false at the end. Deleting the entry just returned is
 * allowed, any other change is not. key may be NULL. */
bool map_next(const struct map *m, size_t *pos, const void **key, void **value);

#endif
