/* A network of made-up nodes around one real DHT node: they answer as they are told to.
 */
#ifndef LINNET_TESTS_DHT_FAKES_H
#define LINNET_TESTS_DHT_FAKES_H

#include "dht/dht.h"

enum {
    FAKES_MAX = 64,
    WAITING_MAX = 256,
    WAITING_LEN = 4096,
    RTT_MS = 50,
    S = 1000,
    MIN = 60 * S
};

/* Seeded randomness. */
extern const struct env net_env;

/* A node of the network. */
struct fake {
    struct krpc_node n;
    bool silent, no_token, refuses, other_id;
    bool errs; /* whatever it is asked */
    bool half; /* answers a get with the value but without its signature */
    struct item it;
    uint8_t v[64], k[ITEM_KEY_LEN], sig[ITEM_SIG_LEN];
    int stored, asked;      /* puts and announcements; all queries */
    struct krpc_view lies;  /* that it tells as nodes */
    struct krpc_view peers; /* … as values */
    int error;              /* its answer to a get or get_peers; 0: none */
    bool cas;      /* puts as BEP 44 has them: seq is what it has; the first answer … */
    bool swallows; /* … is lost */
    bool had_cas;  /* the last put */
    struct addr sees; /* as ip */
    bool strict;      /* answers only ids that fit their address (BEP 42) */
};

struct waiting {
    uint64_t at_ms;
    struct addr from;
    size_t len;
    uint8_t bytes[WAITING_LEN];
};

struct net {
    struct dht *d;
    uint64_t now_ms;
    struct fake f[FAKES_MAX];
    unsigned n;
    struct waiting w[WAITING_MAX];
    unsigned w_first, w_n;
    unsigned strays; /* datagrams to where nobody is */
    struct addr stray;
    struct krpc_msg last;   /* the last query of interest … */
    enum krpc_method watch; /* … of this method */
    bool ro;                /* of the last query */
    struct dht_event done, value;
    unsigned n_done, n_values, n_self, n_open, n_ready, n_peers, n_local,
        n_public; /* the last two: peers */
};

/* A node that is never read-only, with IPv4 alone. */
extern const struct dht_config net_open;

/* A real node that was told the first of so many others. */
struct net *net_new(unsigned fakes, const struct dht_config *c);
void net_free(struct net *n);
/* The same, and two minutes have passed. */
struct net *net_joined(unsigned fakes);
/* Takes what it sends and its events. */
void net_drain(struct net *n);
/* Lets time pass. */
void net_run(struct net *n, uint64_t ms);
/* Until the next DHT_DONE. */
void net_until_done(struct net *n);
/* In its table of IPv4. */
size_t net_nodes(const struct net *n);
/* Who is there, or NULL. */
struct fake *net_fake_at(struct net *n, const struct addr *a);
/* The one of IPv4 that is so many places behind the closest. */
struct fake *net_closest(struct net *n, const struct dht_id *target, unsigned place);

struct item_key fake_key(uint8_t seed);
/* Signs it; k and sig keep the public key and the signature. */
void fake_sign(struct item *it, const struct item_key *key, uint8_t *k, uint8_t *sig);
/* Gives a node a mutable value. */
void fake_give(struct fake *f, const struct item_key *key, const char *v, int64_t seq);
/* … an immutable one. */
void fake_give_immutable(struct fake *f, const char *v);

#endif
