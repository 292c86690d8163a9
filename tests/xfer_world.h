/* A few nodes that have nothing but the transfer module, joined directly: frames of one
 * are handed to the other, what one says in a feed reaches whoever is linked, records go
 * into a small table that a node is started from again, jobs are done on a disk in memory
 * (file_disk.h). The clock is a number.
 *
 * Node k has the row 100 + k as a device everywhere, and k + 1 as a contact of others. A
 * transaction is durable at once. */
#ifndef LINNET_TESTS_XFER_WORLD_H
#define LINNET_TESTS_XFER_WORLD_H

#include "base/err.h"
#include "file_disk.h"

enum {
    XW_NODES = 5,
    XW_CONVS = 4,
    XW_PIPE = 4, /* frames of file data that are on their way at once */
    XW_EVENTS = 128,
    XW_TYPES = 80,
};

struct xw_frame {
    struct xw_frame *next;
    uint8_t type;
    size_t len;
    uint8_t bytes[];
};

struct xw_said {
    uint32_t conv;
    struct wire_body body;
    uint8_t text[WIRE_FILE_NAME_MAX + 1];
};

struct xw_node {
    struct xw *w;
    size_t i;
    struct env env;
    struct xfer *x; /* NULL: it does not run */
    struct disk disk;
    struct rec *recs;
    size_t n_recs, cap_recs;
    struct xw_said *said;
    size_t n_said, cap_said;
    size_t seen[XW_NODES]; /* of what others have said */
    struct xw_frame *first[XW_NODES], **end[XW_NODES];
    size_t n_frames[XW_NODES];
    bool held[XW_NODES];     /* frames to that node wait */
    bool jobs_held;          /* jobs wait */
    bool hostile;            /* it may be caught breaking rules: its link ends */
    unsigned caught;         /* so often it was */
    bool verified[XW_NODES]; /* how others are for it */
    struct xfer_policy policy;
    uint64_t rate;
    /* what came of it */
    unsigned events[XW_EVENTS];          /* by enum event_what */
    uint64_t frames[XW_NODES][XW_TYPES]; /* sent, by receiver and type */
    uint64_t resent;                     /* of lives that ended */
    uint64_t tag;
    int offer_err;
    char offer_why[128];
    uint8_t mid[WIRE_MID]; /* of its newest offer */
    unsigned waits_on;
};

struct xw {
    size_t n;
    uint64_t now_ms, rng;
    uint64_t clock_us; /* so much was the wall clock set forward */
    bool shuffled;     /* whatever can happen happens in any order */
    bool link[XW_NODES][XW_NODES];
    uint32_t convs[XW_CONVS]; /* members, a bit for each node; conversation k + 1 */
    struct xw_node node[XW_NODES];
};

/* n nodes in conversation 1, running, nobody linked. */
struct xw *xw_new(size_t n, uint64_t seed);
void xw_free(struct xw *w);
uint32_t xw_rand(struct xw *w, uint32_t n);
/* Another conversation; its number. */
uint32_t xw_conv(struct xw *w, uint32_t members);

void xw_link(struct xw *w, size_t a, size_t b);
void xw_mesh(struct xw *w);
void xw_cut(struct xw *w, size_t a, size_t b);
/* The program ends; with power, or not, what was not synced may go. */
void xw_kill(struct xw *w, size_t i, bool power);
void xw_start(struct xw *w, size_t i);

/* One thing of what can happen now happens; false: nothing can. */
bool xw_step(struct xw *w);
void xw_settle(struct xw *w);
/* Lets time pass, from deadline to deadline. */
void xw_pass(struct xw *w, uint64_t ms);
/* All nodes whose deadline is over have a tick. */
void xw_tick(struct xw *w);

/* After each call to a node's module: what it gave is stored, sent, started. */
void xw_after(struct xw_node *n, struct txn *t, int err);
/* The calls of tests, with all that follows; they return what the call does. */
int xw_scan(struct xw *w, size_t i, uint32_t conv, const char *path, const char *name);
int xw_accept(struct xw *w, size_t i, const uint8_t mid[WIRE_MID]);
int xw_do(struct xw *w, size_t i, const uint8_t mid[WIRE_MID],
          int (*call)(struct xfer *, struct txn *, uint32_t, uint64_t));
int xw_spool(struct xw *w, size_t i, const uint8_t mid[WIRE_MID], size_t more, bool end);
int xw_recv(struct xw *w, size_t to, size_t from, uint8_t type, const uint8_t *p,
            size_t len);
void xw_say(struct xw *w, size_t i, uint32_t conv, const struct wire_body *b);

/* Offers a file that is put on the disk for it; settles. Its id is in node[i].mid. */
void xw_offer(struct xw *w, size_t i, size_t len);
/* A file as it is stored at a node; NULL: it is not. */
const struct rec_file *xw_file(const struct xw *w, size_t i, const uint8_t mid[WIRE_MID]);
/* enum file_state; 0: it is not stored there. */
unsigned xw_state(const struct xw *w, size_t i, const uint8_t mid[WIRE_MID]);
/* Goes on until so many leaves have come to the node in its present life; false: it came
 * to rest before. */
bool xw_until(struct xw *w, size_t i, const uint8_t mid[WIRE_MID], uint64_t leaves);
bool xw_view(const struct xw *w, size_t i, const uint8_t mid[WIRE_MID],
             struct xfer_view *v);
/* What is kept there of an incoming file of node a; NULL: nothing. */
struct disk_note *xw_note(struct xw *w, size_t i, size_t a, const uint8_t mid[WIRE_MID]);
/* Whether it is finished there with the bytes of the source at node a. */
bool xw_equal(struct xw *w, size_t i, size_t a, const uint8_t mid[WIRE_MID]);
void xw_root(size_t i, uint8_t root[WIRE_ID]);
/* Leaves sent by a to b so far. */
uint64_t xw_leaves(const struct xw *w, size_t a, size_t b);

#endif
