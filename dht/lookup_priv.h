/* What the files of a lookup share:
 *
 *   lookup.c        candidates, whom to ask, what the answers come to
 *   lookup_store.c  storing at those that were found */
#ifndef LINNET_DHT_LOOKUP_PRIV_H
#define LINNET_DHT_LOOKUP_PRIV_H

#include "dht/lookup.h"

enum {
    STORE_MAX = LOOKUP_K + LOOKUP_SPARES,
    SET_MAX = STORE_MAX + LOOKUP_PICKS,
};

enum node_state {
    NODE_NEW,
    NODE_ASKED,
    NODE_SLOW,
    NODE_ANSWERED,
    NODE_FAILED,
    NODE_MOOT, /* another one has answered with this id, or at this address */
};

enum store_state {
    STORE_NONE, /* not one of those to store at */
    STORE_WAITS,
    STORE_ASKED,
    STORE_DONE,
    STORE_FAILED,
    STORE_TAKEN,
};

struct node {
    struct table_node n;
    uint8_t state, store; /* enum node_state, store_state */
    uint8_t depth, tries, token_len;
    bool has_copy, spare, confirm, named_seq;
    bool fits; /* the id fits the address (BEP 42) */
    bool shut; /* nobody answers at this address */
    bool beside;
    uint16_t gen, teller;
    uint8_t *token; /* ours; NULL: none */
    uint64_t not_before_ms;
};

struct lookup {
    struct lookup_config c;
    uint64_t end_ms, store_end_ms;
    struct node node[LOOKUP_NODES_MAX];
    uint8_t order[LOOKUP_NODES_MAX]; /* indices, the closest first */
    uint8_t n;
    uint8_t stores; /* how many are to store */
    uint8_t k;      /* of the closest, how many are to answer */
    uint8_t asked_now, slow_now;
    uint16_t asked;
};

/* The candidates that may count among the closest, the closest first. */
struct set {
    const struct node *met[SET_MAX];
    size_t n;
};

uint16_t lookup_slot(const struct lookup *l, const struct node *node);
/* The candidate of a slot; NULL: it has made room for another. */
const struct node *lookup_node_const(const struct lookup *l, uint16_t slot);
struct node *lookup_node_at(struct lookup *l, uint16_t slot);
/* Whether it has answered, with a token where one is needed. */
bool lookup_has_answered(const struct lookup *l, const struct node *node);
/* The closest of those that `which` lets through, one of each subnet. */
void lookup_choose(const struct lookup *l,
                   bool (*which)(const struct lookup *, const struct node *), size_t max,
                   struct set *out);
/* When some of s are a crowd, those behind them who stand as honest ids do are taken. */
void lookup_pass_crowd(const struct lookup *l,
                       bool (*which)(const struct lookup *, const struct node *),
                       struct set *s);

#endif
