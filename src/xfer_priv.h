/* What the files of the transfer module share (xfer.h is its face).
 *
 * A `file` is a row and, while it has not ended, what is under way for it: a `get` of an
 * incoming one, with a `source` for each linked device that may have it, and for each
 * device that asked for one of ours a `serve`. Leaves lie in buffers of a pool; an `xjob`
 * is a job that was given out.
 *
 * Functions return 0 or a negative error; after ERR_NOMEM the whole object is to be
 * thrown away, so nobody mends half-made changes. */
#ifndef LINNET_XFER_PRIV_H
#define LINNET_XFER_PRIV_H

#include "base/deadline.h"
#include "base/err.h"
#include "base/map.h"
#include "xfer.h"

enum {
    XFER_KEY = 4 + WIRE_MID, /* author and id of an offer, in maps */
    XFER_STRIKES = 3,        /* so often a device's word may not fit its own data */
    XFER_LISTS = 4,          /* lists of leaf hashes kept for one file */
    XFER_POOL_MS = 5000,     /* unused buffers are given back after */
    XFER_WHY_MAX = 512,
    XFER_FRAME_MAX = 2048, /* bytes of a control frame of ours */
    XFER_DAY_MS = 86400000,
    XFER_COUNT_MS = 3600000, /* what comes of streams within this is counted as one */
    XFER_ENTRY_COST = 4096,  /* bytes that a file or folder in a folder counts besides */
    XFER_RATE_MS = 1000,     /* rates are measured so often */
    XFER_BURST_MS = 100,     /* of the rate limit */
    /* A carrier that asks for data less often gets less at once, down to the least, so
     * that a message never waits long behind a piece of a file. */
    XFER_CHUNK_SLOW_MS = 20,
    XFER_CHUNK_FAST_MS = 5,
    XFER_CHUNK_MIN = 4096,
};
#define XFER_NEVER UINT64_MAX

struct file;

struct xconv {
    struct xconv *next;
    uint32_t id;
    struct xfer_member *v;
    size_t n;
};

/* Who somebody is whose root frames name. */
struct xroot {
    struct xroot *next;
    uint32_t contact;
};

/* A leaf or a list on its way to a device. */
struct slot {
    struct slot *next;
    struct serve *serve; /* NULL: not wanted any more */
    bool ready, list, head_sent;
    bool rest;       /* read for its hash alone: nobody's */
    uint32_t number; /* leaf, or list */
    uint8_t *buf;
    size_t len, off;
    uint8_t hash[HASHTREE_HASH];
};

/* What a device wants of a file of ours. */
struct serve {
    struct serve *next; /* of the peer, in turn */
    struct xpeer *peer;
    struct file *file;
    uint32_t handle;
    struct wire_file_range q[WIRE_FILE_RANGES_MAX];
    uint32_t lists[WIRE_FILE_RANGES_MAX];
    size_t n_q, n_lists;
};

enum buf_kind {
    BUF_IN,
    BUF_STREAM, /* that come in of streams whose end is not known */
    BUF_OUT,
    BUF_KINDS,
};

/* A linked device. */
struct xpeer {
    struct xpeer *next;
    uint32_t device, contact;
    struct source *sources;
    uint64_t heard_ms; /* of any file */
    uint64_t
        leaf_ms; /* the last leaf that was complete, or since when one is waited for */
    size_t asks; /* leaves under way, see get_count() */
    size_t busy; /* sources of which more can be asked */
    bool tardy;  /* its last leaf took longer than XFER_TURN_MS */
    struct serve *serves;
    size_t wanted; /* leaves in their queues */
    struct slot *slots, **slots_end;
    unsigned n_slots;
    uint64_t filled_ms; /* when it got data last */
    uint64_t ready_ms;  /* since when its first slot could go */
    size_t chunk;       /* how much of it at once */
};

/* A leaf on its way from a device. */
struct intake {
    bool on, skip; /* skip: what comes of it is not wanted */
    uint32_t leaf;
    size_t len, filled;
    uint64_t begun_ms;
    enum buf_kind kind;
    uint8_t *buf;
    uint8_t hash[HASHTREE_HASH];
};

/* A linked device that has an incoming file, or may have it. */
struct source {
    struct source *next;                 /* of the file */
    struct source *peer_next, **peer_at; /* of the peer */
    struct file *file;
    struct xpeer *peer;
    uint32_t handle;
    bool usable; /* it has told that it can be asked; the offering device at once */
    bool whole, liar, gone, slow, paused;
    uint64_t word; /* enum file_word, as told last */
    unsigned under_way;
    size_t counted; /* of them in the peer's asks, see get_count() */
    bool busy;      /* and it is in the peer's busy */
    uint64_t heard_ms;
    struct intake in;
    uint32_t told_word; /* our FILE_STATE to it: 1 + word; 0: none */
    uint64_t told_leaves, told_ms;
};

struct ask {
    uint32_t leaf;
    struct source *source; /* NULL: it is being written */
};

/* Verified hashes of the leaves of a block. */
struct hashes {
    uint32_t block;
    bool ok;
    uint32_t n; /* came so far */
    uint8_t v[HASHTREE_FANOUT * HASHTREE_HASH];
};

struct block_bits {
    uint32_t block;
    uint8_t bits[FILE_BITS];
};

enum get_step {
    GET_CLOSED,  /* the part is not open */
    GET_OPENING, /* OPEN */
    GET_OPEN,    /* leaves are asked for and written */
    GET_TREE,    /* TREE */
    GET_ROOT,    /* ROOT */
    GET_KEEP,    /* KEEP of one block after the other: the root did not fit */
    GET_FINISH,  /* FINISH */
};

struct get {
    enum get_step step;
    bool tree, root_ok, strict; /* strict: only hashes from lists count */
    bool keep_job;
    struct ask asks[XFER_WINDOW];
    size_t n_asks;
    size_t counted; /* of them in the shares, see get_count() */
    bool wanting;   /* and it is one of the files there */
    struct source *sources;
    uint64_t first_missing; /* nothing before it is missing */
    uint64_t pause_ms; /* nothing is asked before: no buffer, or a no; 0: it is over */
    bool syncing, distrust;              /* distrust: a sync failed, see sync_failed() */
    uint64_t unsynced, in_sync, sync_ms; /* leaves, of them those of the sync under way */
    uint8_t *dirty; /* blocks whose bits are not stored as they are; one bit each */
    size_t n_dirty_bytes;
    struct block_bits *copies; /* what the sync under way will make durable */
    size_t n_copies;
    uint8_t *top; /* hashes of all blocks */
    uint32_t top_n;
    bool top_ok;
    struct hashes *lists[XFER_LISTS];
    size_t next_list; /* the place that goes next */
    uint32_t keep_block;
    uint32_t list_asked; /* 1 + list; 0: none */
    struct source *list_from;
    unsigned strikes;
    /* of a stream whose size is not known: the one leaf that was not whole (0: none yet),
     * and where the whole ones end */
    uint32_t short_leaf;
    size_t short_len;
    uint64_t whole_end;
};

struct file {
    struct file *next;
    struct deadline due; /* when it is looked at next (file_due) … */
    bool touched;        /* … once that was found out again */
    struct file *touched_next, *touched_prev;
    struct file *gets_next, *gets_prev; /* of those with a get, as they began */
    struct rec_file r;                  /* name, path, dest are NUL-terminated, or NULL */
    struct xconv *conv;
    uint8_t *bits; /* incoming: leaves that are there; ours: leaves that were hashed */
    uint64_t n_bits, n_have; /* leaves that bits has room for; set ones */
    struct get *get;         /* incoming and accepted */
    unsigned jobs;
    bool over;              /* freed when no job is left */
    char why[XFER_WHY_MAX]; /* of what is stuck; else empty */
    uint64_t retry_ms;
    uint64_t counted; /* bytes of a stream that are noted as taken */
    /* ours */
    bool checked, checking, sealing, held_back; /* the last: a spool that has not ended */
    bool rest, hashing; /* all that is not hashed is wanted; a leaf of it is being read */
    uint64_t spooled;
    struct taker *takers;
    size_t n_takers;
    /* what is shown */
    uint64_t bytes, bytes_before, rate, rate_at_ms, tell_ms;
    uint64_t received, resent;
    bool tell;
};

/* A contact that has begun to take a file of ours. */
struct taker {
    struct rec_file_peer r;
    bool held; /* it said that it does not take any for now */
};

struct scan {
    struct scan *next;
    uint64_t tag;
    uint32_t conv;
    uint8_t mid[WIRE_MID];
    struct rec_file r; /* what is known of it; strings NUL-terminated */
    char why[XFER_WHY_MAX];
    int err;
    bool done;
};

struct xjob {
    struct xjob *next;
    struct xfer_job j;
    struct file *file; /* NULL: of a scan */
    struct scan *scan;
    struct slot *slot;      /* READ, LIST */
    struct source *source;  /* WRITE: NULL when its link has ended */
    char *path, *name;      /* copies */
    uint8_t *bits;          /* OPEN: a copy */
    enum buf_kind buf_kind; /* WRITE */
};

struct xev {
    struct xev *next;
    struct xfer_event e;
    struct scan *scan; /* OFFER that failed: freed behind it */
};

struct xout {
    struct xout *next;
    struct xfer_out o;
    uint8_t bytes[];
};

struct want_link {
    uint32_t device, contact;
    bool on, now;
};

struct rate {
    uint64_t per_s; /* 0: any */
    uint64_t at_ms;
    double tokens;
};

/* What was accepted by itself, for the quota. */
struct taken {
    uint32_t contact;
    uint64_t at_ms, bytes; /* wall */
};

/* What there is to share of leaves that are asked for. */
struct shares {
    size_t files;  /* that something can be asked of, see get_count() */
    size_t asks;   /* under way */
    uint64_t at;   /* the call from outside as of which this is: */
    size_t tardy;  /* … of tardy devices */
    size_t device; /* that each device may have under way */
};

struct xfer {
    const struct env *env;
    uint64_t now_ms;
    bool started;
    struct xconv *convs;
    struct map conv_by_id, file_by_id, file_by_key, ended;
    struct file *files, *last; /* by id */
    struct deadlines due;
    struct file *touched, *gets, *gets_last;
    size_t n_open, n_ended_shown;
    uint32_t next_id, next_handle;
    struct xpeer *peers;
    struct map peer_by_device, source_by_handle, contact_by_root;
    struct xroot *roots;
    struct scan *scans;
    struct xjob *jobs;
    uint64_t next_job;
    struct xev *ev_first, *ev_last, *ev_now;
    struct xout *out_first, *out_last, *out_now;
    struct xfer_policy policy;
    struct rec_file_rule *rules;
    size_t n_rules;
    struct taken *taken;
    size_t n_taken, cap_taken;
    struct rate tx, rx;
    uint8_t *pool[2 * XFER_BUFFERS + XFER_STREAM_WINDOW];
    size_t n_pool;
    unsigned bufs[BUF_KINDS]; /* in use */
    uint64_t pool_ms;
    bool waits_dirty;
    struct want_link *waits;
    size_t n_waits;
    uint64_t calls;
    struct shares shares;
    bool starving, starving_stream; /* a file or stream waits for its first buffer */
    bool rests;                     /* some file has `rest` */
    bool room;                      /* asks have ended: others may have their places */
    struct xpeer *turn;             /* who is looked at first for the next read */
};

/* Each call from outside begins so. */
static inline void xfer_enter(struct xfer *x, uint64_t now_ms)
{
    x->now_ms = now_ms;
    x->calls++;
}

/* ---- xfer.c: life ---- */
void file_key(uint32_t author, const uint8_t mid[WIRE_MID], uint8_t key[XFER_KEY]);
const char *text_of(const struct blob *b);
/* A file with the row's numbers, linked by its id; strings are the caller's to set. */
int file_new(struct xfer *x, const struct rec_file *r, struct file **out);
int file_bits_gone(struct txn *t, const struct file *f);
/* Ended files are shown for a while; the oldest go. */
void ended_shown(struct xfer *x);
/* What a file takes of the quota of a day. */
uint64_t taken_cost(const struct rec_file *r);
/* Whether something of then still counts. What is of the future, because the clock was
 * set back since, counts as of now. */
bool taken_counts(uint64_t *at_ms, uint64_t wall_ms);
int taken_note(struct xfer *x, uint32_t contact, uint64_t at_ms, uint64_t bytes);
int rule_put(struct xfer *x, const struct rec_file_rule *r);
void rec_file_free(struct rec_file *r);
void scan_free(struct scan *s);
void job_free(struct xjob *j);
bool file_ended(const struct file *f);
bool file_incoming(const struct file *f);
/* It came in to be piped out, and is kept in the home until it was read to its end. */
bool file_piped(const struct rec_file *r);
struct file *file_by_id(const struct xfer *x, uint32_t id);
struct file *file_by_key(const struct xfer *x, uint32_t author,
                         const uint8_t mid[WIRE_MID]);
const uint8_t *file_author_root(const struct file *f);
void file_kept_key(const struct file *f, uint8_t key[WIRE_MID]);
/* The contact whose root that is among the members, UINT32_MAX: nobody. */
uint32_t conv_contact(const struct xconv *c, const uint8_t root[WIRE_ID]);
bool conv_has_contact(const struct xconv *c, uint32_t contact);
/* Makes room for bits of n leaves. */
int file_bits_room(struct file *f, uint64_t n);
bool bit_get(const uint8_t *bits, uint64_t i);
void bit_set(uint8_t *bits, uint64_t i, bool on);
/* Leaves of the whole, UINT64_MAX while the size is not known. */
uint64_t file_leaves(const struct file *f);
int file_row(struct txn *t, const struct file *f);
/* The file's row without what is known of a string: sets one, NUL-terminated. */
bool text_set(struct blob *b, const char *s, size_t n);
int file_event(struct txn *t, const struct file *f, uint8_t what, uint32_t contact);
/* ---- xfer_ask.c: what the user asks for, and what feeds tell ---- */
int scan_done(struct xfer *x, struct xjob *j, const struct xfer_result *r);
/* So much has come of a stream that was accepted by itself: what is new of it counts from
 * now on. *over: that is more than may be. 0, ERR_NOMEM. */
int file_auto_grown(struct xfer *x, struct file *f, uint64_t bytes, bool *over);
int file_say_end(struct xfer *x, struct file *f, enum file_end end);
/* ---- xfer_link.c: links, jobs, buffers, time ---- */
/* The end: what is under way for it stops. drop: the part goes too. */
int file_end(struct xfer *x, struct txn *t, struct file *f, enum file_state state,
             uint8_t event, bool drop);
/* What there is of it on disk goes. */
int file_drop(struct xfer *x, struct file *f);
void file_free_if_over(struct xfer *x, struct file *f);
struct xjob *job_new(struct xfer *x, enum xfer_job_kind kind, struct file *f);
void job_give(struct xfer *x, struct xjob *j);
struct xev *ev_new(struct xfer *x, enum xfer_event_kind kind);
int xout_add(struct xfer *x, uint32_t device, enum frame_type type, const struct wr *w);
int state_send(struct xfer *x, const struct file *f, struct xpeer *p, enum file_word word,
               uint64_t leaves);
/* A buffer of HASHTREE_LEAF bytes; NULL: as many as there may be are in use, or no
 * memory. */
uint8_t *buf_take(struct xfer *x, enum buf_kind kind);
void buf_give(struct xfer *x, uint8_t *buf, enum buf_kind kind);
/* The file that a frame names, when its sender is in the conversation; NULL: none. */
struct file *file_named(const struct xfer *x, const struct xpeer *p,
                        const uint8_t author[WIRE_ID], const uint8_t mid[WIRE_MID]);
struct xpeer *xpeer_get(const struct xfer *x, uint32_t device);
/* Gives a source a new handle; nothing comes under the old one any more. */
void source_name(struct xfer *x, struct source *s);
void source_unname(struct xfer *x, const struct source *s);
struct source *source_named(const struct xfer *x, const struct xpeer *p, uint32_t handle);
struct taker *file_taker(struct file *f, uint32_t contact, bool make);
int file_peer_row(struct txn *t, const struct rec_file_peer *p);
void file_stuck(struct xfer *x, struct file *f, const char *why, int err);
void waits_changed(struct xfer *x);
void file_told(struct xfer *x, struct file *f);
/* When it has to be looked at next may be earlier from now on. Everything that moves a
 * file's time is followed by this; a time that comes too early costs one look. */
void file_touch(struct xfer *x, struct file *f);
/* Its time is nobody's any more. */
void file_untouch(struct xfer *x, struct file *f);
/* The rate limit: whether n bytes may go now, and when some may. */
bool rate_may(struct rate *r, uint64_t now_ms);
void rate_spend(struct rate *r, uint64_t n, uint64_t now_ms);
/* What was spent on something that does not come. */
void rate_return(struct rate *r, uint64_t n);
uint64_t rate_next(const struct rate *r, uint64_t now_ms);
/* Whether nothing could go when that was asked last. */
bool rate_short(const struct rate *r);

/* It has got a get; the get goes. */
void gets_add(struct xfer *x, struct file *f);
void gets_del(struct xfer *x, struct file *f);

/* ---- xfer_get.c ---- */
/* Whether a stream of that size can be what has come so far. */
bool get_fits(const struct file *f, uint64_t size);
int get_begin(struct xfer *x, struct txn *t, struct file *f);
void get_free(struct xfer *x, struct file *f);
/* Nothing more is asked; what comes is not wanted. */
void get_stop(struct xfer *x, struct file *f);
/* The size is known now: leaves behind it are not waited for. */
void get_trim(struct xfer *x, struct file *f);
int get_peer_up(struct xfer *x, struct txn *t, struct file *f, struct xpeer *p);
void get_peer_down(struct xfer *x, struct file *f, struct xpeer *p);
int get_leaf(struct xfer *x, struct txn *t, struct xpeer *p, const uint8_t *b,
             size_t len);
int get_data(struct xfer *x, struct txn *t, struct xpeer *p, const uint8_t *b,
             size_t len);
int get_list(struct xfer *x, struct txn *t, struct xpeer *p, const uint8_t *b,
             size_t len);
/* Asks for leaves wherever there is room, f last. */
int get_ask_all(struct xfer *x, struct txn *t, struct file *f);
/* The same, whoever began first comes first. */
int get_ask_room(struct xfer *x, struct txn *t);
int get_no(struct xfer *x, struct txn *t, struct xpeer *p, const struct wire_file_no *v);
int get_state(struct xfer *x, struct txn *t, struct file *f, struct xpeer *p,
              const struct wire_file_state *v);
int get_tick(struct xfer *x, struct txn *t, struct file *f);
uint64_t get_deadline(const struct xfer *x, const struct file *f);
/* Verified hashes of a block, or NULL. */
struct hashes *get_hashes(const struct get *g, uint32_t block);
/* The leaf is not asked for any more; false: it was not. */
bool get_unask(struct xfer *x, struct file *f, uint64_t leaf);
/* Nothing of what was asked of this source is waited for any more. */
void source_release(struct xfer *x, struct source *s);
/* Whether it is the offering device. */
bool get_is_origin(const struct source *s);
/* The source to ask next; NULL: none can be asked. */
struct source *get_pick(const struct get *g);
/* True when the hashes of the block's leaves are known; else asks for what is missing. */
int get_lists(struct xfer *x, struct file *f, struct source *s, uint32_t block,
              bool *there);
/* Asks for leaves as far as there is room. */
int get_ask(struct xfer *x, struct file *f);
bool get_open_stream(const struct file *f);
/* Counts what the file has under way, and of whom more can be asked, as it is now. What
 * changes any of that is followed by file_touch(). */
void get_count(struct xfer *x, struct file *f);
/* When others wait: what takes too long is asked for later. */
void get_make_room(struct xfer *x);
uint64_t get_room_deadline(const struct xfer *x);
/* How it is here, told to who offered it. */
int get_tell(struct xfer *x, struct file *f, struct source *s);

/* ---- xfer_part.c ---- */
/* Leaves that are safely on disk. */
uint64_t get_durable(const struct file *f);
/* Goes on with an incoming file, whatever comes next. */
int get_run(struct xfer *x, struct txn *t, struct file *f);
int get_done(struct xfer *x, struct txn *t, struct xjob *j, const struct xfer_result *r);
/* It ends as broken. */
int get_broken(struct xfer *x, struct txn *t, struct file *f);

/* ---- xfer_take.c ---- */
/* What the source sent does not fit. */
int get_blame(struct xfer *x, struct txn *t, struct source *s);

/* ---- xfer_put.c ---- */
int put_want(struct xfer *x, struct txn *t, struct xpeer *p,
             const struct wire_file_want *v);
int put_state(struct xfer *x, struct txn *t, struct file *f, struct xpeer *p,
              const struct wire_file_state *v);
int put_run(struct xfer *x, struct file *f); /* seals when all is hashed */
/* Reads ahead for whoever wants something. */
int put_pump(struct xfer *x);
int put_tick(struct xfer *x);
uint64_t put_deadline(const struct xfer *x);
/* Nobody gets anything of the file any more; reason is told. */
int put_stop(struct xfer *x, struct file *f, enum file_no reason);
int put_stop_peer(struct xfer *x, struct file *f, struct xpeer *p, bool tell,
                  enum file_no reason);
void put_peer_down(struct xfer *x, struct xpeer *p);
int put_done(struct xfer *x, struct txn *t, struct xjob *j, const struct xfer_result *r);
/* Tells linked members that have not ended it how it is. */
int put_tell(struct xfer *x, struct file *f);
int put_end_told(struct xfer *x, struct txn *t, struct file *f, uint32_t contact,
                 uint64_t end);

/* ---- xfer_view.c ---- */
void rate_tick(struct xfer *x, struct file *f);
uint64_t rate_deadline(const struct file *f);

#endif
