/* What the files of dht_*.c share: the node's parts, one file each.
 *
 *   dht.c        life, the five verbs, sending, what comes in
 *   dht_op.c     operations: their lookups, what is stored, how they end
 *   dht_found.c  what operations find in answers
 *   dht_doubt.c  what a lookup's end is worth; how large the network is
 *   dht_begin.c  how operations are begun and cancelled
 *   dht_rival.c  whether a put would meet another value with its seq
 *   dht_keep.c   upkeep: first contact, checks, refreshing, our own id's neighbours
 *   dht_self.c   our address by vote (BEP 42), reachable or not (BEP 43)
 *   dht_answer.c queries of others */
#ifndef LINNET_DHT_DHT_PRIV_H
#define LINNET_DHT_DHT_PRIV_H

#include "dht/dht.h"
#include "dht/rpc.h"
#include "dht/table.h"

enum {
    SIDES = 2,      /* IPv4 and IPv6 */
    SEEDS = 32,     /* nodes of the table that a lookup begins with */
    HEARD_MAX = 32, /* nodes of one answer that are looked at */
    FARS = 7,       /* targets of the user's that tell how large the network is */
    VOTE_CANDIDATES = 4,
    CONTACTS_BITS = 2048,
    LOST_ROW = 8,    /* queries lost in a row that mean that we are cut off */
    AWAY_MS = 60000, /* without any answer, then: so long that an end of it is told */
};

/* What the votes say of our address. Voters are told apart by their /16 or /32. */
struct vote {
    uint8_t ip[16];
    uint16_t port;
    uint8_t n;
    uint32_t voter[DHT_VOTERS];
};

struct side {
    struct dht_id id;
    struct table *table; /* NULL: this family is not in use */
    struct server *server;
    struct vote votes[VOTE_CANDIDATES];
    struct addr seen;
    uint64_t heard_ms; /* when a query of ours was last answered */
    bool refused; /* who was asked first refused our id, and was asked again at once */
    uint64_t next_self_ms, self_gap_ms; /* the next gap, while there are few nodes */
    uint32_t self_op;                   /* the lookup of our own id that runs; 0: none */
    uint32_t refresh_op;                /* … and the last one that refreshed a bucket */
    /* How far the k-th closest node is, as parts of the space; 0: not known. Smoothed
     * over all lookups; of the last one of our own id; at the user's last targets, which
     * are told apart by their first bits. */
    double distance;
    float own_far, far[FARS];
    uint32_t far_of[FARS];
    uint8_t next_far;
};

/* Addresses to begin from. */
struct hints {
    struct addr *a;
    uint16_t n, cap, next; /* next: to be asked */
};

/* Whom we have written to lately: two filters, the older of which is emptied in turn. */
struct contacts {
    uint64_t bits[2][CONTACTS_BITS / 64];
    uint64_t turn_ms;
    uint8_t young;
};

struct packet {
    struct packet *next;
    struct addr dest;
    size_t len;
    uint8_t bytes[];
};

struct event_node {
    struct event_node *next;
    struct dht_event e;
};

/* An item of ours; v and salt are allocated. */
struct op_item {
    bool is_mutable, has_cas;
    uint8_t k[ITEM_KEY_LEN], sig[ITEM_SIG_LEN];
    int64_t seq, cas;
    uint8_t *v, *salt;
    size_t v_len, salt_len;
};

enum op_kind { OP_PING, OP_FIND, OP_GET, OP_PUT, OP_PEERS, OP_ANNOUNCE };

enum op_phase {
    OP_WAITS,  /* for its turn, or for a first node */
    OP_LOOKS,  /* lookups run */
    OP_STORES, /* at the nodes that were found */
    OP_KEPT,   /* until the next round */
};

struct op {
    uint32_t handle;
    enum op_kind kind;
    enum op_phase phase;
    bool internal; /* no events */
    bool keep, repair, found;
    bool doubted;      /* some were asked beside, in this round */
    bool alone;        /* only the node at is asked */
    uint8_t only_side; /* + 1; 0: all */
    uint16_t port;     /* of an announcement */
    uint16_t retries;
    struct dht_id target;
    struct addr addr; /* to be pinged; of at */
    struct dht_id at;
    struct lookup *l[SIDES];
    uint8_t held[SIDES]; /* answers that had the immutable value */
    bool lacked[SIDES];  /* one of the closest, after the first of them, had it not */
    uint64_t begun_ms;   /* this round; or created, while it waits */
    uint64_t next_ms;
    struct op_item item; /* to put, or the newest found */
    struct addr *peers;  /* that were told */
    uint16_t n_peers;
    struct dht_result result;
    struct event_node *done; /* its DHT_DONE, so that it is never lost */
};

/* What a query of ours was for; in rpc_call's kind. */
enum call_kind {
    CALL_CHECK, /* upkeep */
    CALL_HINT,  /* first contact */
    CALL_PING,  /* of operation owner */
    CALL_LOOK,  /* of operation owner: its lookup's slot */
    CALL_STORE,
};

struct dht {
    struct dht_config c;
    const struct env *env;
    struct side side[SIDES];
    struct rpc rpc;

    struct op **ops; /* by the low bits of their handle; NULL: free */
    uint16_t ops_cap, ops_n, ops_active, ops_gen;
    uint64_t ops_next_ms; /* not later than the first of them */

    struct packet *out_first, *out_last;
    size_t out_n;
    struct event_node *event_first, *event_last;
    size_t event_n;

    struct hints routers, hints;
    uint64_t next_hint_ms, hint_gap_ms;
    uint64_t next_check_ms;
    unsigned lost_row; /* queries lost since the last answer came */
    bool ready;

    bool read_only;
    bool leaf;              /* the tables are small, since nobody else uses them */
    uint64_t trial_end_ms;  /* 0: no trial runs */
    uint64_t next_trial_ms; /* UINT64_MAX: never */
    uint64_t open_ms;       /* when the last unsolicited query came; 0: none */
    struct contacts *contacts;

    struct dht_stats count; /* the datagrams */
};

/* ---- dht.c ---- */

static inline unsigned side_of(const struct addr *a)
{
    return a->family == 6 ? 1 : 0;
}

/* Whether we may send there at all. */
bool dht_may_send(const struct dht *d, const struct addr *a);
/* Sends m as a query; want says to whom and for whom. The errors of rpc_begin(),
 * ERR_LIMIT: too much waits to be sent. */
int dht_query(struct dht *d, const struct rpc_call *want, struct krpc_msg *m,
              uint64_t now_ms);
/* A query's message, with our id; the transaction id is set by dht_query(). */
void dht_query_init(const struct dht *d, struct krpc_msg *m, enum krpc_method method,
                    unsigned side);
void dht_send(struct dht *d, const struct addr *dest, const uint8_t *p, size_t len);
/* A new event at the end of the queue, zeroed but for type and op; NULL: no memory, or
 * too many. */
struct dht_event *dht_event_add(struct dht *d, enum dht_event_type type, uint32_t op);
/* One that was allocated before, in any case. It is the queue's now. */
void dht_event_append(struct dht *d, struct event_node *n);
/* Forgets the events of an operation. */
void dht_events_drop(struct dht *d, uint32_t op);

/* ---- dht_op.c ---- */

struct op *op_new(struct dht *d, enum op_kind kind, uint64_t now_ms);
struct op *op_by_handle(const struct dht *d, uint32_t handle);
/* Frees it, without an event. */
void op_free(struct dht *d, struct op *op);
/* The same; an unknown one is ignored. */
void op_free_handle(struct dht *d, uint32_t handle);
/* Begins what waits, as far as there is place. */
void ops_begin(struct dht *d, uint64_t now_ms);
void ops_tick(struct dht *d, uint64_t now_ms);
/* A node has answered; m may be an error. other: it is not the one that was asked. */
void op_answered(struct dht *d, const struct rpc_call *call, const struct krpc_msg *m,
                 bool other, uint64_t now_ms);
void op_late(struct dht *d, const struct rpc_call *call, bool lost, uint64_t now_ms);

/* Makes candidates of the nodes near its target that the table has. */
void op_seed(const struct dht *d, struct op *op, unsigned side);

/* ---- dht_found.c ---- */

/* One for the result's closest: nodes of all families, the closest first. */
void op_add_closest(struct op *op, const struct krpc_node *n);
/* A node to be asked, told by the one in slot (LOOKUP_TABLE: nobody). */
void op_add_node(struct op *op, unsigned side, const struct krpc_node *n, uint16_t slot);
/* What the answer to a look-up's query has: values and peers are told. */
void op_found(struct dht *d, struct op *op, const struct rpc_call *call,
              const struct krpc_msg *m);
/* Whether enough answers had the immutable value, and none that came later lacked it. */
bool op_is_held_well(const struct op *op, unsigned side);

/* ---- dht_rival.c ---- */

/* The seq that the look-up of a put names: what is stored with the put's own is answered
 * with its value. */
int64_t rival_seq_asked(const struct op *op);
/* An answer to it. */
void rival_look(struct op *op, const struct krpc_msg *m);
/* Whether there is a rival: then the result's code is set, and nothing is to be stored.
 */
bool rival_stands(struct op *op);

/* ---- dht_keep.c ---- */

void keep_tick(struct dht *d, uint64_t now_ms);
uint64_t keep_deadline(const struct dht *d);
void keep_answered(struct dht *d, const struct rpc_call *call, const struct krpc_msg *m,
                   uint64_t now_ms);
/* Somebody has queried us: while few are known, whether he is there is asked soon. */
void keep_queried(struct dht *d, unsigned side, uint64_t now_ms);
/* A lookup of our own id has ended. */
void keep_self_done(struct dht *d, const struct op *op, uint64_t now_ms);
/* Begins one, unless one runs. */
void keep_self_look(struct dht *d, unsigned side, uint64_t now_ms);
void keep_release(struct dht *d);
/* Whether from may name this address, of a node or a peer, or be told of it: not our own,
 * and a local one only when he is local himself. */
bool keep_may_name(const struct dht *d, const struct addr *from, const struct addr *a);
/* Passes the usable nodes that an answer names to the table, and to op if it isn't NULL.
 */
void keep_heard(struct dht *d, const struct addr *from, const struct krpc_msg *m,
                struct op *op, uint16_t slot);

/* ---- dht_doubt.c ---- */

/* How many nodes the network of a side has, about; 0: not known. The slow one is hardest
 * to move for who stands around our own id. */
uint64_t doubt_size(const struct side *s);
uint64_t doubt_size_slow(const struct side *s);
/* A lookup has ended: how dense were the ids? */
void doubt_note_size(struct dht *d, unsigned side, const struct op *op, uint64_t now_ms);
/* Whether nothing was found because there is nothing. */
bool doubt_is_absent(const struct dht *d, const struct op *op, uint64_t now_ms);
/* Whether some others are asked before the lookups of this round end; both only once. */
bool doubt_asks(const struct dht *d, struct op *op);
bool doubt_widens(struct op *op);

/* ---- dht_self.c ---- */

/* Somebody at from says that he sees us at ip. */
void self_vote(struct dht *d, const struct addr *from, const struct addr *ip,
               uint64_t now_ms);
/* Who was asked first has answered with an error, and sees us at ip. */
void self_refused(struct dht *d, const struct addr *from, const struct addr *ip,
                  uint64_t now_ms);
/* A query was sent to, or has come from, an address. */
void self_contacted(struct dht *d, const struct addr *a, uint64_t now_ms);
void self_queried(struct dht *d, const struct addr *from, uint64_t now_ms);
/* Nothing that others saw of us holds any more. */
void self_network_changed(struct dht *d, uint64_t now_ms);
void self_tick(struct dht *d, uint64_t now_ms);
uint64_t self_deadline(const struct dht *d);

/* ---- dht_answer.c ---- */

int answer_init(struct dht *d, uint64_t now_ms);
void answer_release(struct dht *d);
/* Answers a query, or not. */
void answer_query(struct dht *d, const struct addr *from, const struct krpc_msg *m,
                  uint64_t now_ms);
void answer_tick(struct dht *d, uint64_t now_ms);
uint64_t answer_deadline(const struct dht *d);
size_t answer_memory(const struct dht *d);
void answer_stats(const struct dht *d, struct dht_stats *out);

#endif
