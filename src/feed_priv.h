/* What the files of the feed module share (feed.h is its face).
 *
 * Objects: an `account` has `dev`ices; a `conv`ersation has `feed`s and, for each device
 * of a member but our own, a `seat`; a `have` is what the device of a seat told us about
 * a feed, and what we are sending it of that feed. None is freed before feeds_free(),
 * but for stubs: feeds that a peer spoke of and of which nothing has come yet.
 *
 * Internal functions return 0 or a negative error; after ERR_NOMEM the whole object is
 * to be thrown away, so nobody mends half-made changes. */
#ifndef LINNET_FEED_PRIV_H
#define LINNET_FEED_PRIV_H

#include "base/deadline.h"
#include "base/map.h"
#include "crypto/chain.h"
#include "feed.h"

enum {
    FEED_PRIV_BOXKEYS = 32,        /* own box keys kept */
    FEED_PRIV_COPIES = 4,          /* copies with our prefix that are tried */
    FEED_PRIV_LOADS = 64,          /* loads under way, in all */
    FEED_PRIV_LOADS_DEV = 2,       /* for sending to one device */
    FEED_PRIV_STUBS = 64,          /* unproved generations of a device */
    FEED_PRIV_BLOCK = 256,         /* entries compared at once */
    FEED_PRIV_SENT_MS = 1000,      /* STATE_SENT is written at the latest after */
    FEED_PRIV_RETRY_MS = 1000,     /* a load that gave nothing is tried again after */
    FEED_PRIV_RETRIES = 8,         /* so often */
    FEED_PRIV_MIDS = 65536,        /* messages repeated by one job */
    FEED_PRIV_KEYS_HEAD = 32 + 32, /* ephemeral and signing key of a `keys` box */
};
/* Largest `order` there can be: far beyond any clock, and 1 + order never overflows. */
#define FEED_PRIV_ORDER_MAX (UINT64_C(1) << 53)

struct conv;
struct feed;
struct seat;
struct diff;

struct account {
    uint8_t root[WIRE_ID];
    uint32_t contact; /* 0: our own */
    bool has_pair;
    uint8_t pair[KEYS_PAIR_SECRET];
    struct dev **devs;
    size_t n_devs;
    struct conv **convs; /* that it is a member of */
    size_t n_convs;
};

struct dev {
    uint32_t ref;
    bool known;          /* told, and not removed since */
    struct account *acc; /* NULL: only a feed's record names it */
    uint8_t id[WIRE_ID], stat[32], box[32];
    uint64_t box_time;
    struct seat **seats;
    size_t n_seats;
    /* link */
    bool up;
    size_t room;    /* bytes its link takes */
    unsigned loads; /* under way for it */
    struct have *work, *work_end;
    /* waits */
    unsigned lacking; /* haves that lack entries, seats with an untold read mark */
    bool waits_told, waits_queued;
    struct dev *waits_next;
};

/* The place of a device in a conversation. */
struct seat {
    struct conv *conv;
    struct dev *dev;
    uint32_t idx;       /* in conv->seats */
    bool full_sent;     /* HAVE of all feeds, over this link */
    bool synced;        /* this link: we know what it has */
    bool read_untold;   /* our read mark moved while it was away */
    unsigned full_no;   /* counts its full HAVEs, to find what they left out */
    bool liar;          /* this link: claimed entries of ours that it could not show */
    unsigned answering; /* haves whose `closed` was answered and not yet taken back */
};

struct have {
    struct seat *seat;
    struct feed *feed;
    uint64_t n, opened, read; /* as in REC_HAVE; opened ends before what is closed */
    uint64_t told_opened;     /* its watermark, beyond what is closed */
    uint64_t closed;
    bool frozen;
    uint8_t id[WIRE_ID]; /* of its head, as told */
    uint64_t id_n;       /* and which entry that is */
    unsigned full_no;    /* of the full HAVE that named it last */
    bool lacks;
    /* sending: next..to, as far as there are entries; to UINT64_MAX: follows the head */
    uint64_t next, to;
    bool verify; /* compare our entry next-1 with id before sending on */
    bool loading, in_work;
    struct have *work_next;
    unsigned diffs; /* comparisons over this link */
    bool pending;   /* it told of pending_n while another comparison was under way */
    uint64_t pending_n;
    bool on_branch; /* ours that forked: its entries were compared with ours */
    /* the answer to `closed`: all up to answer_upto was repeated, the last repeat's
     * place, and the start of the box key that it was for */
    bool answering;
    uint64_t answer_upto, answer_seq, answered;
    struct feed *answer_feed;
};

enum timer_kind { TIMER_WANT, TIMER_LAG, TIMER_SENT, TIMER_DIFF, TIMER_REPEAT };
struct timer {
    struct deadline d;
    enum timer_kind kind;
    void *obj;
};

/* A place in a feed and the chain of the entry after it. */
struct cursor {
    uint64_t seq;
    uint64_t chain_start; /* 0 before the first entry */
    bool has_chain;       /* we could open it */
    struct chain chain;
    uint8_t sign_pub[32];
};

/* A feed of others whose head is not opened yet. */
struct lag {
    struct cursor acc; /* behind it everything was judged; entries are accepted at head */
    uint64_t closed;   /* the chain from here on cannot be opened; 0: it can */
    uint64_t jump;     /* a later `keys` entry that can; 0: none yet */
    bool blocked;      /* the next one waits for this parent */
    struct wire_parent missing;
    bool gap; /* it was waited for long enough */
    bool loading;
    unsigned retries;
    struct timer timer;
    struct feed *blocked_next;
};

struct feed {
    struct rec_feed r; /* r.id 0: a stub */
    struct conv *conv;
    struct dev *dev;
    struct feed *same_gen; /* of other devices: a hostile one can copy a generation */
    struct have **haves;   /* by seat; NULL where nothing is known */
    size_t n_haves;
    bool row_dirty; /* REC_FEED is to be written */
    bool dirty;     /* to be told in HAVE */
    bool fresh;     /* opened more since our last entry */
    bool gap_next;  /* the next message shown has a gap before it */
    struct feed *row_next, *dirty_next, *fresh_next;
    struct lag *lag;
    struct diff *diff;
    /* ours: what is known of all its entries up to here, and said */
    uint64_t sent, sent_said, stored, delivered, read_all;
    bool sent_queued;
    struct feed *sent_next;
    /* others': where the missing ones come from */
    struct dev *want_from;
    uint64_t want_to, want_head; /* what was asked for; our head at that time */
    struct timer want_timer;
};

struct conv {
    struct rec_conv r;
    struct seat **seats;
    size_t n_seats;
    struct feed **feeds;
    size_t n_feeds;
    struct feed *own; /* the one we append to, or NULL */
    uint64_t order_max;
    uint64_t epoch;       /* changes with whom a chain has to be sealed to */
    uint64_t chain_epoch; /* of our chain; 0: before this run */
    struct feed *dirty, *fresh, *blocked;
    bool dirty_queued;
    struct conv *dirty_next;
    bool answer;              /* somebody told `closed`, or has a new box key */
    struct feed *device_feed; /* where our newest `device` entry is */
    uint64_t device_seq;
    struct repeat *repeats, *repeats_end; /* the first one runs */
};

/* One entry, decoded. */
struct entry {
    struct wire_entry w;
    struct wire_header h;
    uint8_t id[WIRE_ID];
};

/* Repeats messages of one of our feeds in the one we append to. */
struct repeat {
    struct feed *feed;
    uint64_t from, to;
    struct have *answer; /* for this device's `closed`, or NULL */
    struct diff *then;   /* goes on afterwards, or NULL */
    struct cursor at;    /* the chain of the next entry */
    bool started;        /* `at` is set: the start of the chain of `from` */
    bool addressed;      /* this chain was sealed to the device that is answered */
    bool loading;
    unsigned retries;
    struct map mids;
    struct repeat *next;
    struct timer timer;
};

enum load_kind {
    LOAD_FREE,
    LOAD_SEND,
    LOAD_LAG,
    LOAD_DIFF,
    LOAD_DIFF_CHAIN,
    LOAD_REPEAT
};
struct load {
    enum load_kind kind;
    bool dead; /* nobody waits for it any more */
    uint64_t request;
    struct feed *feed;
    struct have *have;
    uint64_t from;
};

struct out_item {
    struct feeds_out o;
    uint8_t *bytes;
};
struct ev_item {
    struct feeds_event e;
    struct wire_device dict;
    uint8_t cert[KEYS_CERT_MAX];
    struct wire_body body;
    uint8_t name[WIRE_FILE_NAME_MAX]; /* what the body's text borrows */
};

struct boxkey {
    uint8_t pub[32], sec[32];
    uint64_t created_s;
};

struct feeds {
    struct feeds_self self;
    struct dev *own;
    uint64_t now_ms;
    bool started;
    struct boxkey box[FEED_PRIV_BOXKEYS]; /* newest last */
    size_t n_box;
    bool box_lost, box_renewed;
    uint64_t box_after; /* the next one has to look newer than this */

    struct account **accounts;
    size_t n_accounts;
    struct dev **devs;
    size_t n_devs;
    struct conv **convs;
    size_t n_convs;
    struct feed **feeds; /* by row id - 1 where known; sparse */
    size_t n_feeds, cap_feeds;
    struct map dev_by_id, dev_by_ref, conv_by_cid, feed_by_gen;
    struct map account_by_root, account_by_contact; /* ours is not in the second */
    size_t feeds_count;
    uint32_t next_conv, next_feed;

    struct deadlines timers;
    struct timer sent_timer;
    struct feed *rows, *sent;
    struct conv *dirty;
    struct dev *waits;
    bool answers; /* a conv has `answer` set */
    bool pending; /* a comparison ended: others may have waited for it */

    struct load loads[FEED_PRIV_LOADS];
    uint64_t next_request;
    bool starved; /* somebody found no free load */

    struct out_item *outs;
    size_t out_at, out_n, out_cap;
    uint8_t *out_last;
    struct ev_item **evs;
    size_t ev_at, ev_n, ev_cap;
    struct ev_item *ev_last;

    uint8_t header[WIRE_HEADER_MAX], ad[WIRE_HEADER_MAX + 32];
    uint8_t box_buf[WIRE_BOX_MAX], frame[WIRE_FRAME_MAX];
    uint8_t body[WIRE_BOX_MAX];   /* just opened */
    uint8_t plain[WIRE_BODY_MAX]; /* about to be sealed */
    struct wire_have_feed have_buf[WIRE_HAVE_FEEDS_MAX];
    struct wire_read_feed read_buf[WIRE_HAVE_FEEDS_MAX];
    struct wire_digest digest_buf[WIRE_DIGESTS_MAX];
};

/* ---- feed_conv.c: accounts, devices, conversations, seats ---- */
struct account *account_get(struct feeds *f, uint32_t contact,
                            const uint8_t root[WIRE_ID]);
/* NULL: nobody whose devices were told. */
struct account *account_by_root(const struct feeds *f, const uint8_t root[WIRE_ID]);
struct account *account_by_contact(const struct feeds *f, uint32_t contact);
struct dev *dev_new(struct feeds *f, uint32_t ref);
/* t NULL: it is in the store already. */
int conv_make(struct feeds *f, struct txn *t, const struct rec_conv *r,
              struct conv **out);
/* Finds out what waits for a device that is there again. */
int seats_wait(struct feeds *f, struct dev *d);

/* ---- feed.c: objects and records ---- */
/* Makes room for one more pointer in an array of n that doubles when it is full. */
bool feed_grow(void *array, size_t n);
bool feed_is_mine(const struct feed *fd);
struct dev *dev_by_id(const struct feeds *f, const uint8_t id[WIRE_ID]);
struct dev *dev_by_ref(const struct feeds *f, uint32_t ref);
struct conv *conv_by_cid(const struct feeds *f, const uint8_t cid[WIRE_ID]);
struct conv *conv_by_id(const struct feeds *f, uint32_t id);
bool conv_has(const struct conv *c, const uint8_t root[WIRE_ID]);
struct seat *seat_of(const struct conv *c, const struct dev *d);
/* The feed, stubs included, or NULL. */
struct feed *feed_find(const struct feeds *f, const struct conv *c, const struct dev *d,
                       const uint8_t gen[WIRE_GEN]);
/* The first of the feeds with that generation, whoever's. */
struct feed *feed_gen(const struct feeds *f, const struct conv *c,
                      const uint8_t gen[WIRE_GEN]);
/* How many generations of the device there are, and how many stubs beside them. */
size_t count_gens(const struct conv *c, const struct dev *d, size_t *stubs);
int feed_stub(struct feeds *f, struct conv *c, struct dev *d, const uint8_t gen[WIRE_GEN],
              struct feed **out);
void feed_stub_drop(struct feeds *f, struct feed *fd);
/* Gives a stub its row. */
int feed_make_real(struct feeds *f, struct txn *t, struct feed *fd);
/* The have of a seat, made when there is none; NULL: out of memory. */
struct have *have_get(struct seat *s, struct feed *fd);
struct have *have_peek(const struct seat *s, const struct feed *fd);
void feed_row(struct feeds *f, struct feed *fd);
void feed_dirty(struct feeds *f, struct feed *fd);
int rows_flush(struct feeds *f, struct txn *t);
int have_row(struct txn *t, const struct have *h);
int event_add(struct txn *t, uint8_t topic, uint8_t what, const struct feed *fd);
int entry_store(struct txn *t, const struct feed *fd, const struct entry *e,
                const uint8_t *mid);
/* Reads an entry back out of a record. */
bool entry_from_rec(const struct rec_entry *r, struct entry *e);
/* ---- feed_log.c: append, accept ---- */
/* The feed to append to, a new generation when there is none. */
int conv_own_feed(struct feeds *f, struct txn *t, struct conv *c, struct feed **out);
/* Seals and appends a padded body; before it, when needed, a `keys` entry. order may be
 * NULL. */
int conv_append(struct feeds *f, struct txn *t, struct conv *c, const uint8_t *body,
                size_t len, const uint8_t mid[WIRE_MID], uint64_t *order);
int conv_append_keys(struct feeds *f, struct txn *t, struct conv *c, struct feed *fd);
int entry_recv(struct feeds *f, struct txn *t, struct dev *from, const uint8_t *p,
               size_t len);

/* ---- feed_open.c: judging, parents, opening in order ---- */
enum judged {
    JUDGED_OK,     /* authentic and open */
    JUDGED_EMPTY,  /* its box was dropped: the chain steps over it. In groups authentic by
                    * its signature; between two as far as who brought it is believed, or
                    * an entry behind it opens, which names its id */
    JUDGED_CLOSED, /* under a chain that we cannot open: nothing is known */
    JUDGED_FORGED, /* not by the author */
};
/* Judges the entry after c and moves c behind it unless forged. The body is in f->body,
 * *body_len 0 for a `keys` entry and for a body that does not open. */
enum judged entry_judge(struct feeds *f, const struct feed *fd, struct cursor *c,
                        const struct entry *e, size_t *body_len);
void cursor_from_row(const struct rec_feed *r, struct cursor *c);
void cursor_to_row(const struct cursor *c, struct rec_feed *r);
/* An entry of others was judged and stored: opens it now or when it can be. */
int entry_accepted(struct feeds *f, struct txn *t, struct feed *fd, const struct entry *e,
                   const struct cursor *after, enum judged how, size_t body_len);
/* True when new entries can be judged at the head; c is then the place of the next. */
bool feed_ready(struct feeds *f, struct feed *fd, struct cursor *c);
int lag_start(struct feeds *f, struct feed *fd);
int lag_loaded(struct feeds *f, struct txn *t, struct feed *fd, const struct rec_entry *v,
               size_t n);
void lag_timer(struct feeds *f, struct feed *fd);
/* The feed's opened part grew or can grow no more. */
void lag_wake(struct feeds *f, struct feed *fd);
void lag_pump(struct feeds *f, struct feed *fd);
/* The author says that what we could not open below `upto` was repeated. */
int closed_repaired(struct feeds *f, struct feed *fd, uint64_t upto);

/* ---- feed_seal.c: box keys and `keys` boxes ---- */
int box_new(struct feeds *f, struct txn *t, uint64_t wall_s);
/* True when we have the private half. */
bool box_known(const struct feeds *f, const uint8_t pub[32]);
/* Others were told a key, made at that time, that we do not have any more. */
void box_gone(struct feeds *f, uint64_t time_s);
int box_load(struct feeds *f, const struct rec_boxkey *r);
/* Starts a chain in fd->r and writes the box of its `keys` entry into f->box_buf, for the
 * header without box in ad. */
int keys_box_put(struct feeds *f, struct feed *fd, const uint8_t *ad, size_t ad_len,
                 size_t *box_len);
/* Opens our copy in a `keys` box. 0; ERR_NOTFOUND (none for this device), ERR_AUTH (no
 * box key of ours opens it), ERR_FORMAT. */
int keys_box_get(struct feeds *f, const struct feed *fd, const struct entry *e,
                 uint8_t secret[CHAIN_SECRET], uint8_t sign_pub[32]);
/* True when the box holds a copy for that device. */
bool keys_box_has(const struct entry *e, const uint8_t device[WIRE_ID]);
bool chain_fit(const struct feeds *f, const struct conv *c, const struct feed *fd);
void sign_entry(const struct feed *fd, const uint8_t id[WIRE_ID], uint8_t sig[WIRE_SIGN]);
bool sign_ok(const uint8_t pub[32], const uint8_t id[WIRE_ID],
             const uint8_t sig[WIRE_SIGN]);

/* ---- feed_repl.c: digest, have, what is waited for, words ---- */
int digest_recv(struct feeds *f, struct txn *t, struct dev *d, const uint8_t *p,
                size_t len);
int have_recv(struct feeds *f, struct txn *t, struct dev *d, const uint8_t *p,
              size_t len);
void conv_hello(struct feeds *f, struct conv *c);
/* Counts whether the device lacks entries of the feed. */
void have_lacks(struct feeds *f, struct have *h);
void dev_waits(struct feeds *f, struct dev *d);
/* Raises the states of our messages; with t NULL only finds out where they stand. */
int feed_words(struct feeds *f, struct txn *t, struct feed *fd);
/* Tells what has changed since the last call. */
void repl_flush(struct feeds *f);

/* ---- feed_io.c: the verbs, timers, queues ---- */
int out_add(struct feeds *f, struct dev *d, enum link_class cls, enum frame_type type,
            const struct wr *w, const struct feed *fd, uint64_t seq);
struct ev_item *ev_add(struct feeds *f, enum feeds_event_kind kind);
/* The end of each call that has a transaction: rows, box keys, answers. */
int feeds_end(struct feeds *f, struct txn *t);
void timer_set(struct feeds *f, struct timer *tm, enum timer_kind kind, void *obj,
               uint64_t at_ms);

/* ---- feed_want.c: wanting, serving, pushing ---- */
int want_recv(struct feeds *f, struct dev *d, const uint8_t *p, size_t len);
int want_send(struct feeds *f, struct seat *s, const struct feed *fd, uint64_t from,
              uint64_t to);
void feed_want(struct feeds *f, struct feed *fd);
void want_timer(struct feeds *f, struct feed *fd);
void send_from(struct feeds *f, struct have *h, uint64_t next, uint64_t to);
/* The feed has grown behind what was sent: goes on. */
void send_wake(struct feeds *f, struct have *h);
void send_stop(struct have *h);
void dev_pump(struct feeds *f, struct dev *d);
/* A new entry of ours: straight to the peers that have all before it. */
int push_live(struct feeds *f, struct feed *fd, uint64_t seq, const struct wire_entry *w);
bool load_add(struct feeds *f, enum load_kind kind, struct feed *fd, struct have *h,
              uint64_t from, uint64_t to, size_t max_bytes);
void loads_kill(struct feeds *f, const struct have *h, const struct feed *fd,
                enum load_kind kind);

/* How far it has opened a feed, as told, before anything closed. */
uint64_t have_opened(const struct have *h);
/* Stores what a device told of a feed of ours: how far it has and has opened it; `ours`
 * when it is known that these are our entries, and not those of another version. */
int have_told(struct feeds *f, struct txn *t, struct have *h, uint64_t n, uint64_t opened,
              bool ours);

/* ---- feed_diff.c: comparing our version of a feed with a peer's ---- */
/* The peer says that its head is n. */
int diff_start(struct feeds *f, struct have *h, uint64_t n);
/* An entry from the peer; *taken when it was for the comparison. */
int diff_entry(struct feeds *f, struct txn *t, struct seat *s, struct feed *fd,
               const struct entry *e, bool *taken);
int diff_loaded(struct feeds *f, struct txn *t, struct feed *fd, enum load_kind kind,
                const struct rec_entry *v, size_t n);
/* The repeats before which own entries could not be removed are done, or will not be. */
int diff_repeated(struct feeds *f, struct txn *t, struct diff *d, bool done);
void diff_timer(struct feeds *f, struct feed *fd);
void diff_down(struct feeds *f, struct feed *fd, const struct seat *s);
void diff_stop(struct feeds *f, struct feed *fd);
/* Nothing more is accepted in a feed of others: it forked. */
int feed_freeze(struct feeds *f, struct txn *t, struct feed *fd);
/* A device tells how far it has a feed of ours. */
/* Judges again what was told during comparisons that have ended. */
int pending_run(struct feeds *f, struct txn *t);
int own_told(struct feeds *f, struct txn *t, struct have *h, uint64_t n, uint64_t opened);

/* ---- feed_repeat.c: messages of ours once more, in the feed we append to ---- */
int repeat_add(struct feeds *f, struct feed *fd, uint64_t from, uint64_t to,
               struct have *answer, struct diff *then);
int repeat_loaded(struct feeds *f, struct txn *t, struct conv *c,
                  const struct rec_entry *v, size_t n);
void repeat_run(struct feeds *f, struct conv *c);
void repeat_free(struct feeds *f, struct repeat *r);
/* What the device is to be told in HAVE about our feed: all up to there was repeated for
 * it, and it has opened the repeats. 0: nothing. */
uint64_t answer_told(const struct have *h);
/* Answers those who told `closed`. */
int answers_run(struct feeds *f, struct txn *t);

/* ---- talk.c: bodies ---- */
/* Something of others was opened; the body is in f->body. *gap: something before it is
 * missing; cleared when a message shows that. */
int talk_opened(struct feeds *f, struct txn *t, struct feed *fd, const struct entry *e,
                size_t body_len, bool *gap);
/* The id of the message that the body in f->body is, or zeros. */
void talk_mid(const struct feeds *f, size_t body_len, uint8_t mid[WIRE_MID]);
/* An entry of ours was taken back and stored. */
int talk_taken(struct feeds *f, struct txn *t, struct feed *fd, const struct entry *e,
               size_t body_len);
/* An entry of ours was found in a version of the feed that does not count any more; what
 * it says is only repeated. */
int talk_lost(struct feeds *f, const struct feed *fd, size_t body_len);
/* Appends the body in f->body once more: a message, a change of one, or what is said of a
 * file; nothing when it is something else, or its id is in mids already (which may be
 * NULL). */
int talk_repeat(struct feeds *f, struct txn *t, struct conv *c, const struct entry *e,
                size_t body_len, struct map *mids);
int read_recv(struct feeds *f, struct txn *t, struct dev *d, const uint8_t *p,
              size_t len);
/* Tells our read marks of a conversation. */
int read_send(struct feeds *f, struct seat *s);

#endif
