#include "dht/shelf.h"

#include <stdlib.h>

#include "dht/shelf_parts.h"

void shelf_config_init(struct shelf_config *c)
{
    *c = (struct shelf_config){
        .items_max = SHELF_ITEMS_MAX,
        .item_bytes_max = SHELF_ITEM_BYTES_MAX,
        .hashes_max = SHELF_HASHES_MAX,
        .peers_max = SHELF_PEERS_MAX,
        .source_percent = SHELF_SOURCE_PERCENT,
    };
}

struct shelf *shelf_new(const struct env *env, const struct dht_id *self,
                        const struct shelf_config *c)
{
    struct shelf *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    s->env = env;
    s->config = *c;
    row_init(&s->items, env, self, c->items_max);
    row_init(&s->swarms, env, self, c->hashes_max);
    quota_init(&s->item_sources, env, c->items_max, c->source_percent);
    quota_init(&s->peer_sources, env, c->peers_max, c->source_percent);
    return s;
}

void shelf_free(struct shelf *s)
{
    if (s == NULL) {
        return;
    }
    shelf_items_clear(s);
    shelf_swarms_clear(s);
    free(s->sample);
    row_release(&s->items);
    row_release(&s->swarms);
    quota_release(&s->item_sources);
    quota_release(&s->peer_sources);
    free(s);
}

void shelf_set_self(struct shelf *s, const struct dht_id *self)
{
    row_set_self(&s->items, self);
    row_set_self(&s->swarms, self);
}

void shelf_tick(struct shelf *s, uint64_t now_ms)
{
    shelf_items_expire(s, now_ms);
    shelf_swarms_expire(s, now_ms);
}

uint64_t shelf_deadline(const struct shelf *s)
{
    uint64_t items = deadlines_next(&s->items.expiry);
    uint64_t swarms = deadlines_next(&s->swarms.expiry);
    return items < swarms ? items : swarms;
}

void shelf_stats(const struct shelf *s, struct shelf_stats *out)
{
    *out = (struct shelf_stats){
        .items = s->items.len,
        .item_bytes = s->item_bytes,
        .hashes = s->swarms.len,
        .peers = s->peers,
    };
}

size_t shelf_memory(const struct shelf *s)
{
    return sizeof *s + row_memory(&s->items) + row_memory(&s->swarms) +
           quota_memory(&s->item_sources) + quota_memory(&s->peer_sources) +
           s->item_bytes + shelf_swarms_memory(s) +
           (s->sample == NULL ? 0 : sizeof *s->sample);
}
