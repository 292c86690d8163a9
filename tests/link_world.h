/* People and candidates for tests of the link, out of a seed. */
#ifndef LINNET_TESTS_LINK_WORLD_H
#define LINNET_TESTS_LINK_WORLD_H

#include "base/buf.h"
#include "link_priv.h"

enum {
    WORLD_OUT = 65600,
    WORLD_WIRE_MAX = 8 * 1024 * 1024,
    WORLD_FRAME = 40, /* a type above the link; its payload starts with a number */
    WORLD_SEEN_MAX = 64,
};
#define WORLD_WALL_US UINT64_C(1700000000000000)

/* A seeded environment; wall_us is set freely. */
struct world_env {
    struct env env;
    uint64_t state, wall_us;
};
void world_env(struct world_env *w, uint64_t seed);
uint64_t world_random(struct world_env *w);

/* A person with one device, all from name; of the network WORLD_NETWORK. */
#define WORLD_NETWORK "the office"
void world_self(struct link_self *self, const struct env *env, uint8_t name);
/* What the dialler and the listener know of each other after pairing (either may be
 * NULL). secret makes the pair's secret. */
void world_contact(const struct link_self *dialler, const struct link_self *listener,
                   uint8_t secret, struct link_candidate *dial,
                   struct link_candidate *listen);
/* The same for an invite of the listener. */
void world_invite(const struct link_self *listener, uint8_t secret, uint32_t ref,
                  struct link_candidate *dial, struct link_candidate *listen);

/* The same for members of a secret network (secret makes its key), and for a stranger who
 * saw the listener's open beacon (nonce makes its nonce). */
void world_network(uint8_t secret, struct link_candidate *dial,
                   struct link_candidate *listen);
void world_stranger(const struct link_self *listener, uint8_t nonce, uint32_t ref,
                    struct link_candidate *dial, struct link_candidate *listen);

/* One end, with what it has given. */
struct end {
    struct link *l;
    struct buf bulk; /* frames of file data that wait */
    struct buf wire; /* bytes on their way to the other end */
    unsigned ups, counters, closes, frames;
    uint64_t counter;
    struct link_event closed;
    size_t bytes; /* of payload */
    uint8_t types[WORLD_SEEN_MAX];
    uint32_t next_seq;
    bool in_order;
    size_t out_total;
};

struct world {
    struct world_env env;
    struct link_self a, b;
    struct link_candidate dial, listen;
    struct keyring ring;
    struct end d, s; /* dialler, listener (server) */
    uint64_t now;
    size_t chunk;
};

/* Takes and counts what an end gives. */
void world_events(struct end *e);
/* Everything an end has to send goes on its wire; returns the bytes. */
size_t world_drain(struct world *w, struct end *e);
/* At most w->chunk bytes of one wire reach the other end; returns how many. */
size_t world_deliver(struct world *w, struct end *from, struct end *to);
/* Both, until nothing moves. */
void world_pump(struct world *w);
/* Replaces an end's link (owned from here on) and empties its counts and wire. */
void world_end(struct end *e, struct link *l);
/* Fresh links for both, with this counter, or with one that is fresh. */
void world_open_counter(struct world *w, uint64_t counter);
void world_open(struct world *w);
/* Two people who know each other so; with fresh links, or with links that are up. */
void world_init(struct world *w, enum link_kind kind);
void world_init_up(struct world *w, enum link_kind kind);
void world_release(struct world *w);
/* Queues a WORLD_FRAME. */
int world_put(struct end *e, enum link_class cls, uint32_t seq, size_t len);
/* One that goes out as file data. */
void world_put_bulk(struct end *e, uint32_t seq, size_t len);

/* *to becomes a copy of *from, with tags of its own; those it had are freed. Aborts
 * without memory. */
void world_candidate_copy(struct link_candidate *to, const struct link_candidate *from);

#endif
