/* Datagrams of made-up nodes for one DHT node under test, each told by a few bytes: what
 * a fuzzer could hardly write, such as whole answers, signed items and neighbours of the
 * node's own id. Everything is the same in each run. */
#ifndef LINNET_TESTS_DHT_FORGE_H
#define LINNET_TESTS_DHT_FORGE_H

#include "dht/item.h"
#include "dht/krpc.h"

enum { FORGE_MAX = KRPC_RECV_MAX };

/* Where node i is: IPv4 below 192, IPv6 from there on; most in networks of their own,
 * some crowded into one, private, on loopback, or nowhere one can send to. */
struct addr forge_addr(uint8_t i);
/* Who is there; of another address, anybody. */
uint8_t forge_number(const struct addr *a);
/* Its id: some fit their address (BEP 42), some are near the node's own id, some near
 * mutable items, some near nothing. */
const struct dht_id *forge_id(uint8_t i);
/* The id of the node under test in a family: side 0 is IPv4. */
const struct dht_id *forge_self(unsigned side);

/* Bits of an item's number: its kind, its sequence number, and which value it has. */
enum { FORGE_SMALL, FORGE_BIG, FORGE_SIGNED, FORGE_SALTED };
enum {
    FORGE_KIND_MASK = 3,
    FORGE_SEQ_SHIFT = 2,
    FORGE_VALUE_SHIFT = 4,
    FORGE_ITEMS = 32
};
/* Views of static bytes. */
const struct item *forge_item(uint8_t i);
/* By i % 8: the targets of items of the four kinds, our ids, a node's id, others. */
const struct dht_id *forge_target(uint8_t i);

/* What an answer is. */
enum {
    FORGE_ERROR = 1 << 0, /* the code comes from more */
    FORGE_TOKEN = 1 << 1,
    FORGE_NODES = 1 << 2, /* 8 that begin with number more */
    FORGE_NODES6 = 1 << 3,
    FORGE_PEERS = 1 << 4, /* more of them, modulo 128 */
    FORGE_VALUE = 1 << 5, /* item more, under the target that was asked for */
    FORGE_OTHER = 1 << 6, /* … or item more as it is */
    FORGE_IP = 1 << 7,    /* the asker's address is that of node more */
    FORGE_ID = 1 << 8,    /* the id is that of node more */
    FORGE_NO_ID = 1 << 9,
    FORGE_OUR_ID = 1 << 10,
    FORGE_SEQ = 1 << 11, /* of an item, without it */
    FORGE_UNSIGNED = 1 << 12,
    FORGE_LONG = 1 << 13, /* a token of KRPC_TOKEN_MAX */
    FORGE_LIE = 1 << 14,  /* the signature is wrong */
    FORGE_AWAY = 1 << 15, /* it comes from elsewhere; for the caller */
};

/* A query that waits for an answer. */
struct forge_asked {
    struct addr addr;
    uint8_t tid[4];
    enum krpc_method method;
    struct dht_id target; /* or info_hash */
};

/* The answer of node i, of whatever kind. Returns its length. */
size_t forge_answer(const struct forge_asked *q, uint8_t i, unsigned flags, uint8_t more,
                    uint8_t out[FORGE_MAX]);

/* What a query is, above the 3 bits of its method. */
enum {
    FORGE_RO = 1 << 3,
    FORGE_GIVEN = 1 << 4, /* the token of an answer; for the caller */
    FORGE_WANT4 = 1 << 5,
    FORGE_WANT6 = 1 << 6,
    FORGE_SCRAPE = 1 << 7, /* or a cas, or a seed's */
};

/* A query of node i about target which, or with item more. token may be empty. Returns
 * its length. */
size_t forge_query(uint8_t i, uint8_t flags, uint8_t which, uint8_t more,
                   const struct krpc_view *token, uint8_t out[FORGE_MAX]);

#endif
