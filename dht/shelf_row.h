/* What both parts of a shelf have in common: things under 160-bit keys that expire, of
 * which there is a limited number and the farthest gives way; and the count of what each
 * network has put there. For dht/shelf*.c only. */
#ifndef LINNET_DHT_SHELF_ROW_H
#define LINNET_DHT_SHELF_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/deadline.h"
#include "base/env.h"
#include "base/map.h"
#include "dht/id.h"

/* The first member of each thing in a row, which its owner allocates and frees. */
struct kept {
    struct dht_id key;
    struct deadline expiry;
    size_t place;
};

struct row_place {
    uint64_t far; /* the first 64 bits of its distance */
    struct kept *kept;
};

struct row {
    struct map by_key;
    struct deadlines expiry;
    struct row_place *places;
    size_t len, cap, max;
    struct dht_id self;
};

void row_init(struct row *r, const struct env *env, const struct dht_id *self,
              size_t max);
/* Frees the row; things in it are the owner's to free before. */
void row_release(struct row *r);
void row_set_self(struct row *r, const struct dht_id *self);
/* NULL: not there. */
struct kept *row_find(const struct row *r, const struct dht_id *key);
/* Its key is set. 0, ERR_FULL, ERR_NOMEM; nothing is changed on failure. */
int row_add(struct row *r, struct kept *k, uint64_t expires_ms);
void row_remove(struct row *r, struct kept *k);
/* A new time for a thing of the row; can't fail. */
void row_expire_at(struct row *r, struct kept *k, uint64_t expires_ms);
/* The thing whose time is over, NULL when there is none. It is still in the row, and
 * must be removed or given a new time. */
struct kept *row_expired(struct row *r, uint64_t now_ms);
/* The thing farthest from our id, when it is farther than key; else NULL. */
struct kept *row_farther(const struct row *r, const struct dht_id *key);

/* Bytes of memory that the row itself holds. */
size_t row_memory(const struct row *r);

/* A network: /24 or /48, or one local address. */
enum { SOURCE_LEN = 17 };
struct source {
    uint8_t b[SOURCE_LEN];
};
void source_of(const struct addr *a, struct source *out);

/* How many things each network has put in a row. */
struct quota {
    struct map counts;
    size_t each_max;
};

/* For max things, of which percent are for each network, but at least one. */
void quota_init(struct quota *q, const struct env *env, size_t max, unsigned percent);
void quota_release(struct quota *q);
/* Whether this network may have one more. */
bool quota_has(const struct quota *q, const struct source *s);
/* One more. 0 or ERR_NOMEM. */
int quota_add(struct quota *q, const struct source *s);
/* One less. */
void quota_drop(struct quota *q, const struct source *s);
/* Bytes of memory that it holds, about. */
size_t quota_memory(const struct quota *q);

#endif
