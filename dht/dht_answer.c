/* Queries of others: one server for each address family. */
#include "base/err.h"
#include "dht/dht_priv.h"

struct asker {
    const struct dht *d;
    const struct addr *from;
};

/* Local nodes are named to those only who are local themselves: to others they are of no
 * use, and not their business. */
static size_t closest_of(const struct asker *asker, const struct table *t, size_t look_at,
                         const struct dht_id *target, struct krpc_node *out, size_t max)
{
    struct table_node nodes[SEEDS];
    size_t found = table_closest(t, target, nodes, look_at), n = 0;
    for (size_t i = 0; i < found && n < max; i++) {
        if (keep_may_name(asker->d, asker->from, &nodes[i].addr)) {
            out[n++] = (struct krpc_node){nodes[i].id, nodes[i].addr};
        }
    }
    return n;
}

/* Most tables have no node that may not be named: then the first few will do. */
static size_t closest(void *ctx, unsigned family, const struct dht_id *target,
                      struct krpc_node *out, size_t max)
{
    const struct asker *asker = ctx;
    const struct table *t = asker->d->side[family == 6 ? 1 : 0].table;
    if (t == NULL) {
        return 0;
    }
    max = max < SEEDS ? max : SEEDS;
    size_t n = closest_of(asker, t, max, target, out, max);
    return n == max ? n : closest_of(asker, t, SEEDS, target, out, max);
}

int answer_init(struct dht *d, uint64_t now_ms)
{
    struct server_config c;
    server_config_init(&c);
    for (unsigned i = 0; i < SIDES; i++) {
        struct side *s = &d->side[i];
        if (s->table == NULL) {
            continue;
        }
        s->server =
            server_new(d->env, &s->id, d->c.server != NULL ? d->c.server : &c, now_ms);
        if (s->server == NULL) {
            return ERR_NOMEM;
        }
    }
    d->c.server = NULL; /* it was the caller's */
    return 0;
}

void answer_release(struct dht *d)
{
    for (unsigned i = 0; i < SIDES; i++) {
        server_free(d->side[i].server);
    }
}

void answer_query(struct dht *d, const struct addr *from, const struct krpc_msg *m,
                  uint64_t now_ms)
{
    struct asker asker = {d, from};
    struct server_nodes nodes = {&asker, closest};
    uint8_t bytes[KRPC_SEND_MAX];
    /* Whoever took something of ours to store may want to know that we are there; all
     * else a node that is read-only for good leaves to others. */
    if (d->c.read_only && m->method != KRPC_PING) {
        return;
    }
    const struct side *s = &d->side[side_of(from)];
    bool large = m->method == KRPC_GET || m->method == KRPC_GET_PEERS;
    if (large && (m->has & KRPC_ID) != 0 && table_has(s->table, &m->id, from)) {
        server_proved(s->server, from, now_ms);
    }
    size_t len = server_answer(s->server, m, from, &nodes, now_ms, bytes);
    if (len > 0) {
        dht_send(d, from, bytes, len);
    }
}

void answer_tick(struct dht *d, uint64_t now_ms)
{
    for (unsigned i = 0; i < SIDES; i++) {
        struct server *s = d->side[i].server;
        if (s != NULL && server_deadline(s) <= now_ms) {
            server_tick(s, now_ms);
        }
    }
}

uint64_t answer_deadline(const struct dht *d)
{
    uint64_t at = UINT64_MAX;
    for (unsigned i = 0; i < SIDES; i++) {
        uint64_t t =
            d->side[i].server == NULL ? UINT64_MAX : server_deadline(d->side[i].server);
        at = t < at ? t : at;
    }
    return at;
}

size_t answer_memory(const struct dht *d)
{
    size_t n = 0;
    for (unsigned i = 0; i < SIDES; i++) {
        n += d->side[i].server == NULL ? 0 : server_memory(d->side[i].server);
    }
    return n;
}

void answer_stats(const struct dht *d, struct dht_stats *out)
{
    for (unsigned i = 0; i < SIDES; i++) {
        struct shelf_stats s;
        if (d->side[i].server != NULL) {
            shelf_stats(server_shelf(d->side[i].server), &s);
            out->items += s.items;
            out->peers += s.peers;
        }
    }
}
