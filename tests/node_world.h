/* Whole nodes joined by plumbing in memory: bytes arrive in order and at once, time moves
 * only in nw_run(), a disk is a list that the test may hold back. For tests of the node's
 * rules one by one; sim_world.h has the hostile world. */
#ifndef LINNET_TESTS_NODE_WORLD_H
#define LINNET_TESTS_NODE_WORLD_H

#include "node.h"

enum {
    NW_NODES = 3,       /* of nw_init() */
    NW_NODES_MAX = 250, /* of nw_init_of() */
    NW_CARRIERS = 8192, /* and 16 for each two nodes */
    NW_UDP_HEAD = 28,   /* of IP and UDP, before a datagram */
    NW_TAGS = 64,
    NW_STRANGER = -1, /* the other end of a carrier: the test itself */
};

enum nw_kind { NW_CONNECT = 1, NW_DATA, NW_END, NW_DATAGRAM, NW_COMMIT };

struct nw_event {
    struct nw_event *next;
    enum nw_kind kind;
    size_t carrier;
    int side; /* of the carrier; or the node of a datagram */
    struct addr from;
    uint64_t due_ms;
    size_t len;
    uint8_t bytes[];
};

struct nw_carrier {
    int node[2];    /* dialler, listener */
    struct addr to; /* that was dialled */
    uint32_t id[2];
    bool open[2];
    size_t sent[2]; /* bytes by that side */
    unsigned pieces[2];
};

struct nw_node {
    struct nw_world *w;
    struct env env;
    struct keyfile key;
    struct node *node;
    bool hold;                  /* commits wait */
    bool hold_sent;             /* the carrier does not get rid of what it was given */
    bool refuse;                /* its dials fail */
    bool closed;                /* dials to it fail */
    uint8_t net;                /* first byte of its addresses; 0: 10, which is private */
    bool keep_ends;             /* the carriers that it gives up do not end yet */
    uint64_t skew_us;           /* its clock is ahead */
    uint8_t vlan;               /* multicast stays inside */
    const char *name, *network; /* NULL: user-made up; none */
    uint8_t secret;             /* makes the network's key */
    uint64_t told_limit;        /* events of that sort */
    size_t *by_conn, cap_conns; /* 1 + carrier of each of its numbers */
    size_t udp_out, udp_in;     /* bytes of datagrams, with NW_UDP_HEAD each */
    struct addr watch;          /* family 0: nobody's … */
    size_t watched;             /* … datagrams that it sent there */
    size_t tcp_in, repaired;    /* repaired: events of that sort */
    struct txn **txns;
    size_t n_txns, cap_txns;
    struct rec_entry *entries;
    size_t n_entries, cap_entries;
    unsigned results[NW_TAGS];
    struct node_event result[NW_TAGS]; /* the last of that tag */
    uint8_t state;                     /* highest told of messages of ours */
    uint64_t scan;        /* the last job that looks at a source; none is done */
    unsigned states_sent; /* records that said "sent" */
    unsigned received;
    bool no_multicast; /* its beacons go to single addresses only */
    unsigned unicasts; /* beacons that it sent to one address */
    unsigned beacons;  /* all that it sent */
    unsigned told[3];  /* NODE_EV_PRESENCE, by what, of contacts … */
    unsigned told_own; /* … and of itself */
    char text[256],
        announced[WIRE_NAME_MAX + 1]; /* last received; last name of a contact */
    size_t out_bytes;
    bool dht;                                              /* it is in the DHT */
    bool (*dht_may_send)(void *ctx, const struct addr *a); /* ctx: this struct */
    struct blob dht_nodes, meet_seq;                       /* what it remembers of it */
};

struct nw_world {
    uint64_t now_ms, rng;
    int count;
    struct nw_node n[NW_NODES_MAX];
    struct nw_carrier *carriers;
    size_t n_carriers, cap_carriers;
    uint64_t latency_ms; /* of bytes and commits; 0: at once */
    struct nw_event *first, *last;
    /* Told what strangers get; may do nothing with the world. */
    void (*heard)(void *ctx, size_t carrier, const uint8_t *p, size_t len);
    void *heard_ctx;
    /* Told what the DHT has for who asked with that tag. */
    void (*dht)(void *ctx, int i, uint64_t tag, const struct dht_event *e);
    void *dht_ctx;
};

void nw_init(struct nw_world *w);
/* The same in steps: an empty world, whose n[] may be told name, network and vlan; then a
 * start of each. */
void nw_init_of(struct nw_world *w, int count);
void nw_start(struct nw_world *w, int i);
/* It ends without a word, and nothing of it stays but its key and the nodes of the DHT
 * that it remembers: nw_start() begins anew. */
void nw_lose(struct nw_world *w, int i);
/* The address of a node, in its VLAN. */
struct addr nw_addr_of(const struct nw_world *w, int i);
/* It moves to another network, and so to another address; its links are lost. */
void nw_move(struct nw_world *w, int i, uint8_t vlan);
void nw_release(struct nw_world *w);
struct addr nw_addr(int i);
/* Everything a node has to give. */
void nw_drain(struct nw_world *w, int i);
/* One event; false when there is none. */
bool nw_step(struct nw_world *w);
/* Events and deadlines of so many ms. */
void nw_run(struct nw_world *w, uint64_t ms);
/* Lets the waiting commits through. */
void nw_commit(struct nw_world *w, int i);
/* A carrier of a stranger to a node; SIZE_MAX when it was refused. */
size_t nw_connect(struct nw_world *w, int to, const struct addr *from);
void nw_give(struct nw_world *w, size_t carrier, const uint8_t *p, size_t len);
/* Cuts every carrier between nodes, without a word. */
void nw_cut(struct nw_world *w);
/* inviter gives a code to adder, and both meet. Gives the contact's id at either. */
void nw_pair(struct nw_world *w, int inviter, int adder, uint32_t *at_inviter,
             uint32_t *at_adder);
void nw_invite(struct nw_world *w, int i, char code[WIRE_CODE_MAX + 1], uint32_t *id);
void nw_say(struct nw_world *w, int i, uint64_t tag, uint32_t contact, const char *text);

#endif
