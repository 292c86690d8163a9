/* Nodes that are nothing but feeds over a store, and links in memory between them.
 *
 * Node i is the account with contact id i + 1 at all others, with one device, whose row
 * is i + 2 (1 at itself). Everything is deterministic from the seed. */
#ifndef LINNET_TESTS_FEED_HARNESS_H
#define LINNET_TESTS_FEED_HARNESS_H

#include "base/err.h"
#include "crypto/chain.h"
#include "feed.h"
#include "store.h"

enum { HARNESS_NODES = 10, HARNESS_MSGS = 4096, HARNESS_FILES = 64 };

struct frame {
    struct frame *next;
    uint8_t type;
    size_t len;
    uint8_t payload[];
};

struct wait_load { /* a load that was asked for */
    struct wait_load *next;
    struct feeds_event ev;
};

struct hfile {             /* FEEDS_EV_FILE */
    struct wire_body body; /* text: in name */
    uint8_t name[WIRE_FILE_NAME_MAX];
    size_t who; /* the node that says it */
    uint32_t conv;
    bool taken_back;
};

struct hnode {
    struct hnet *net;
    size_t i;
    bool alive;
    struct feeds *f;
    struct store *store;
    struct txn txn;
    uint8_t root[32], device[32], stat_sec[32], stat[32], self_key[32];
    uint8_t box[32]; /* in groups: as all others know it */
    uint64_t box_time;
    struct { /* of two: as this node knows the other's, from its store */
        uint8_t box[32];
        uint64_t box_time;
    } known;
    struct wait_load *loads, *loads_end;
    bool waits[HARNESS_NODES];
    uint32_t conv;
    int err; /* of the last feeds_recv that failed */
    size_t n_errors;
    size_t n_entries, n_haves, n_loads; /* frames that went out; loads */
    size_t n_announced, n_devices, n_restored, n_forks;
    struct hfile *files; /* as they came, the first HARNESS_FILES of them */
    size_t n_files;
    int64_t skew_us;
    long die_in; /* commits until it dies; < 0: never */
};

struct hnet {
    uint64_t seed, now_ms, wall_us;
    struct env env;
    size_t n;
    struct hnode node[HARNESS_NODES];
    bool up[HARNESS_NODES][HARNESS_NODES];
    struct frame *first[HARNESS_NODES][HARNESS_NODES],
        *last[HARNESS_NODES][HARNESS_NODES];
    size_t queued[HARNESS_NODES][HARNESS_NODES];
    bool shuffle; /* frames of different links in random order */
    /* Called for each ENTRY frame on its way; may change it, false drops it. */
    bool (*meddle)(struct hnet *h, size_t from, size_t to, uint8_t type, uint8_t *p,
                   size_t *len);
    void *meddle_ctx;
};

uint64_t harness_random(struct hnet *h);
/* n nodes who know each other, with one conversation: of two when n is 2, else a group.
 */
struct hnet *harness_new(size_t n, uint64_t seed);
void harness_free(struct hnet *h);
uint32_t harness_ref(const struct hnode *n, size_t other);

void harness_link(struct hnet *h, size_t a, size_t b);
void harness_cut(struct hnet *h, size_t a, size_t b);
/* Everybody with everybody. */
void harness_mesh(struct hnet *h);
void harness_unmesh(struct hnet *h);
/* Carries frames and loads until nothing is under way, or `steps` are over. */
size_t harness_run(struct hnet *h, size_t steps);
/* Lets time pass, ticking and running. */
void harness_pass(struct hnet *h, uint64_t ms);

/* What the node did since the last call: commits, then sends. False: it died there. */
bool harness_settle(struct hnode *n);
void harness_kill(struct hnode *n);
void harness_start(struct hnode *n);
void harness_restart(struct hnode *n);
struct blob harness_copy(struct hnode *n);
/* Sets the node back to a copy (not running before and after). */
void harness_back(struct hnode *n, const struct blob *copy);

/* Tells the node's newest box key, by `device` entries when there are two. */
void harness_announce(struct hnode *n);
/* Sends a numbered text; the number is the text. */
void harness_say(struct hnode *n, unsigned number);
void harness_text(struct hnode *n, const char *text, size_t len);

/* Says something numbered of a file, of node `author` (of ends): an offer has the number
 * as its name, and in its id; others are of the offer of that number. Every node keeps in
 * its store what it said or was told (but for redactions). */
void harness_file(struct hnode *n, enum body_kind kind, size_t author, unsigned number);
void harness_mid(unsigned number, uint8_t mid[WIRE_MID]);
/* Calls seen() for what the node's store says that `author` said of files. */
void harness_files(struct hnode *n,
                   void (*seen)(void *ctx, size_t author, enum body_kind kind,
                                unsigned number),
                   void *ctx);

/* The history of the node's conversation, in the order of display. */
struct hmsg {
    uint8_t mid[WIRE_MID];
    unsigned number;
    uint8_t kind;
    uint32_t author, feed;
    uint64_t seq;
    uint8_t state;
    uint32_t flags;
    uint64_t order;
    size_t len;
};
struct hlist {
    struct hmsg v[HARNESS_MSGS];
    size_t n;
};
struct hlist *harness_history(struct hnode *n); /* free() */
/* How often a numbered text is there, and its state (of the last one seen). */
size_t harness_count(struct hnode *n, unsigned number, uint8_t *state);
/* All nodes show the same messages in the same order, each once. */
void harness_same(struct hnet *h, size_t n_msgs);
/* Prints the node's feeds. */
void harness_dump(struct hnode *n);
/* The conversation's feed of that node, the newest generation; NULL: none. */
const struct rec_feed *harness_feed(struct hnode *n, size_t author, unsigned flags_not);

#endif
