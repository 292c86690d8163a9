/* The insides of a shelf, for dht/shelf*.c only. */
#ifndef LINNET_DHT_SHELF_PARTS_H
#define LINNET_DHT_SHELF_PARTS_H

#include "dht/shelf.h"
#include "dht/shelf_row.h"

/* What is answered to who asks for samples, for a while. */
struct sample {
    uint64_t until_ms;
    struct dht_id ids[SHELF_SAMPLES_MAX];
};

struct shelf {
    const struct env *env;
    struct shelf_config config;
    struct row items, swarms;
    struct quota item_sources, peer_sources;
    size_t item_bytes, peers;
    struct sample *sample; /* NULL: all hashes fit into one */
};

/* shelf_item.c and shelf_peer.c: what has expired goes, or everything. */
void shelf_items_expire(struct shelf *s, uint64_t now_ms);
void shelf_items_clear(struct shelf *s);
void shelf_swarms_expire(struct shelf *s, uint64_t now_ms);
void shelf_swarms_clear(struct shelf *s);
size_t shelf_swarms_memory(const struct shelf *s);

#endif
