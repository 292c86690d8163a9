/* One iterative lookup in one address family (Kademlia, BEP 5), and afterwards the
 * storing at the nodes that it has found. It sends nothing: it says whom to ask next, and
 * is told what became of it.
 *
 * Candidates are kept sorted by their distance. LOOKUP_ALPHA of them are asked at a time.
 * One that does not answer within the first deadline (rpc.h) is slow: it blocks nothing,
 * its answer still counts, and while any are slow, up to as many more are asked, at most
 * LOOKUP_ALPHA_MAX. The lookup is complete when the closest LOOKUP_K that answer have
 * answered (with a token where one is wanted: not every implementation knows every
 * query), and over when nobody is left to ask, LOOKUP_ASKED_MAX were, or LOOKUP_MS have
 * passed.
 *
 * Of one /24 (IPv6: /48) one node counts among the closest, so that an owner of few
 * addresses cannot surround a target; and at most k / 2 whose id does not fit their
 * address (BEP 42), as long as there are others.
 *
 * Where the network's size is known, ids that stand closer to the target than chance
 * allows are not trusted alone: whoever can choose his ids stands in the middle, where
 * the closest k are his. Then the lookup goes on, after those k, to the closest that
 * stand as far apart as honest ids do, until there are LOOKUP_PICKS of that kind, and
 * what is stored is stored there as well.
 *
 * What a node says of others is hearsay: it never keeps away anybody else, and at most k
 * of what one node says is looked at. A slot names a candidate for as long as it is
 * remembered; once it has made room for a closer one, what is said of it is ignored. */
#ifndef LINNET_DHT_LOOKUP_H
#define LINNET_DHT_LOOKUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "dht/id.h"
#include "dht/krpc.h"
#include "dht/table.h"

enum {
    LOOKUP_K = 8,
    LOOKUP_ALPHA = 4,
    LOOKUP_ALPHA_MAX = 8,
    LOOKUP_SPARES = 4, /* more than k that a value may be stored at */
    LOOKUP_PICKS = 16, /* that stand as honest ids do, where others crowd the target */
    LOOKUP_NODES_MAX = 64,  /* candidates that are remembered */
    LOOKUP_SUBNET_MAX = 2,  /* … of one subnet, that one teller has named */
    LOOKUP_ASKED_MAX = 160, /* queries of one lookup */
    LOOKUP_STORE_TRIES = 2, /* queries to one node to store there */
    LOOKUP_MS = 8000,
    LOOKUP_STORE_MS = 6000,
};

struct lookup_config {
    struct dht_id target;
    uint64_t nodes; /* of the network, about; 0: not known */
    bool wary;      /* rather too careful of ids that crowd the target: before storing */
    bool tokens;    /* only nodes that give a token count */
    bool private_too; /* for tests: no limit for the subnets of private addresses */
};

enum lookup_state {
    LOOKUP_RUNNING,
    LOOKUP_COMPLETE,  /* the closest k have answered */
    LOOKUP_EXHAUSTED, /* nobody is left to ask; less than k have answered */
    LOOKUP_LATE,      /* LOOKUP_MS have passed */
};

struct lookup_counts {
    uint16_t asked;       /* queries sent */
    uint16_t answered;    /* nodes */
    uint16_t beside;      /* … of them, those that were asked beside */
    uint16_t closest;     /* nodes that count among the closest k */
    uint16_t silent;      /* nodes that have not answered */
    uint16_t silent_near; /* … and are closer than the last of the closest */
    uint8_t depth;        /* of the deepest node that answered; those we knew have 0 */
};

struct lookup;

/* NULL: out of memory. */
struct lookup *lookup_new(const struct lookup_config *c, uint64_t now_ms);
void lookup_free(struct lookup *l);
/* Bytes that one holds. */
size_t lookup_memory(void);

/* A candidate. teller: the slot of who named it, with LOOKUP_OTHER when that is one of
 * the other family's lookup, or LOOKUP_TABLE. Of one teller the closest LOOKUP_K are
 * taken. False: it is known, or too far away, or the teller has named too many of its
 * subnet. The caller has judged the address. */
enum { LOOKUP_TABLE = 0xffff, LOOKUP_OTHER = 0x8000 };
bool lookup_add(struct lookup *l, const struct table_node *n, uint16_t teller);

/* Somebody we know, wherever he stands, who is to be asked as well: those nearer to the
 * target may all be of one kind, and keep quiet about others. */
bool lookup_add_beside(struct lookup *l, const struct table_node *n);

/* Whom to ask now, if anybody. The slot names the node in the calls below. */
bool lookup_next(struct lookup *l, uint64_t now_ms, struct table_node *who,
                 uint16_t *slot);
/* It could not be sent (a query, or what is to be stored): the node is to be named again,
 * not before at_ms. */
void lookup_postpone(struct lookup *l, uint16_t slot, uint64_t at_ms);
/* It has answered. token (may be empty) is copied. False: it was not asked, or has
 * answered before. */
bool lookup_answered(struct lookup *l, uint16_t slot, const struct krpc_view *token);
/* Its first deadline has passed. Nobody else is asked at its address until it answers. */
void lookup_slow(struct lookup *l, uint16_t slot);
/* It has not answered at all. */
void lookup_lost(struct lookup *l, uint16_t slot);
/* It has answered with an error, or is somebody else. */
void lookup_failed(struct lookup *l, uint16_t slot);

/* Whether somebody was asked who has not answered and is not slow yet, and LOOKUP_MS have
 * not passed. */
bool lookup_waits(const struct lookup *l, uint64_t now_ms);
/* Whether it is one of the closest LOOKUP_K, as far as is known now. */
bool lookup_is_near(const struct lookup *l, uint16_t slot);
enum lookup_state lookup_state(const struct lookup *l, uint64_t now_ms);
/* Whether the closest k have answered, as far as is known now. */
bool lookup_is_complete(const struct lookup *l);
/* Whether some of the closest that have answered are closer than chance allows. */
bool lookup_is_crowded(const struct lookup *l);
/* It goes on until LOOKUP_SPARES more have answered. False: it has done so before. */
bool lookup_widen(struct lookup *l);
/* When lookup_next(), lookup_store_next() or the state may change with time alone. */
uint64_t lookup_deadline(const struct lookup *l, uint64_t now_ms);
void lookup_count(const struct lookup *l, struct lookup_counts *out);
/* How far from the bottom of the table a node was: 0 we knew it. */
uint8_t lookup_depth(const struct lookup *l, uint16_t slot);
/* The closest nodes that have answered (with a token where one is wanted), at most max,
 * the closest first. */
size_t lookup_closest(const struct lookup *l, struct table_node *out, size_t max);

/* ---- storing, after the lookup ---- */

/* Begins: the closest k with a token, those beyond a crowd, and spares for those who
 * fail. */
void lookup_store(struct lookup *l, uint64_t now_ms);
/* Where to store now, if anywhere. The token lives until the next call. */
bool lookup_store_next(struct lookup *l, uint64_t now_ms, struct table_node *who,
                       uint16_t *slot, struct krpc_view *token);
enum lookup_stored {
    LOOKUP_STORED,  /* it says so */
    LOOKUP_REFUSED, /* an error */
    LOOKUP_TAKEN,   /* something stands there that does not give way: no spare, which may
                     * not know of it, is asked in its place */
    LOOKUP_SLOW, /* no answer yet: another try, which may come too late for the first */
    LOOKUP_LOST,
};
void lookup_store_result(struct lookup *l, uint16_t slot, enum lookup_stored result);
/* A node says that what it has is not what was to be replaced. Where an earlier query got
 * no answer, that may be because it was obeyed: true, and one more is sent, which asks
 * for the replacing of what we store by itself. */
bool lookup_store_confirm(struct lookup *l, uint16_t slot);
/* Whether the query to be sent is such a one. */
bool lookup_store_confirms(const struct lookup *l, uint16_t slot);
/* A node has named the seq of what it has: it can be told which one is to be replaced
 * (BEP 44). */
void lookup_named_seq(struct lookup *l, uint16_t slot);
bool lookup_names_seq(const struct lookup *l, uint16_t slot);
bool lookup_store_done(const struct lookup *l, uint64_t now_ms);
size_t lookup_copies(const struct lookup *l); /* that were stored */
size_t lookup_taken(const struct lookup *l);  /* LOOKUP_TAKEN */
/* A node that gave back the value that is to be stored needs no other copy. */
void lookup_has_copy(struct lookup *l, uint16_t slot);
void lookup_no_copies(struct lookup *l); /* there is a newer value */
/* How many of the closest k (and beyond a crowd) have a copy, and how many have not. */
void lookup_count_copies(const struct lookup *l, size_t *have, size_t *lack);

#endif
