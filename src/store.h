/* The store: SQLite in WAL with synchronous=FULL, one connection (docs/ARCHITECTURE.md,
 * "Store").
 *
 * This half is synchronous and used from one thread: the store thread of the program
 * (store_thread.h), or the simulator directly. Committing several transactions at once is
 * the group commit. The store knows rows, not protocol. */
#ifndef LINNET_STORE_H
#define LINNET_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rec.h"

enum {
    STORE_SCHEMA = 3,              /* PRAGMA user_version */
    STORE_PAGE_ROWS = 256,         /* rows of one page of a query */
    STORE_FILES_ENDED_MAX = 65536, /* ended files that a node starts with */
};

struct store;

/* Opens or creates the database at path (":memory:" for tests), brings an older schema up
 * to date in one transaction, checks it. 0, ERR_NEWER (untouched), ERR_CORRUPT, ERR_BUSY
 * (locked by another program), ERR_FULL, ERR_IO. why, when not NULL, gets a sentence. */
int store_open(const char *path, struct store **out, char *why, size_t why_len);
void store_close(struct store *s);

/* The rows a node starts from, in the order META, BOXKEY, CONTACT, DEVICE, INVITE,
 * ADDING, REQUEST, CONV, FEED, HAVE, FILE, FILE_BITS, FILE_PEER, FILE_RULE; cb gets each
 * and must not keep pointers. Stops when cb returns non-zero and returns that. Of files
 * that have ended come the STORE_FILES_ENDED_MAX with the largest ids, each without bits
 * and peers and without root, head and what it is called and where it is:
 * committing such a record would lose the rest of the row. Those that are kept to be
 * piped out come whole. */
int store_load(struct store *s, int (*cb)(void *ctx, const struct rec *r), void *ctx);

/* The file that a message of kind MSG_FILE offers. */
struct store_msg_file {
    uint32_t id;
    uint8_t kind, state; /* enum file_kind, file_state */
    uint32_t flags, count;
    uint64_t size, head;
};

/* What a commit made known, for publishing: rows of the event table. */
struct store_event {
    uint64_t n; /* its number */
    uint8_t topic;
    struct rec_event event; /* topics other than message and state */
    /* message and state: */
    uint8_t mid[WIRE_MID];
    uint32_t conv, author, device;
    uint8_t kind, state;
    uint32_t flags;
    /* state: 0 a word, else an enum change_kind, by whom, and when they say it was (of a
     * reaction: 0 in what store_events_since gives) */
    uint8_t change;
    uint32_t by;
    uint64_t changed_ms;
    struct blob text; /* message; the new text of an edit, the emoji of a reaction */
    bool has_reply;
    uint8_t reply[WIRE_MID];
    uint64_t time_ms, order, row;
    bool has_file; /* message: of kind MSG_FILE, and its file is stored */
    struct store_msg_file file;
};
struct store_events {
    struct store_event *v;
    size_t n, cap;
};
void store_events_release(struct store_events *e);

/* Applies the transactions, all or none, and commits; only then fills events (appended).
 * 0, ERR_FULL (disk or quota), ERR_BUSY, ERR_IO, ERR_CORRUPT: nothing was stored, except
 * after ERR_IO, when only a reload tells. */
int store_commit(struct store *s, const struct txn *const *txns, size_t n,
                 struct store_events *events);
/* A commit that changes one row, to see whether the disk takes writes again. */
int store_probe(struct store *s);
/* Moves the WAL into the database. Due some time after a commit said so, when there is
 * nothing better to do; a commit does it itself when the WAL has grown very long. Failure
 * loses nothing and may be ignored. */
bool store_checkpoint_due(const struct store *s);
int store_checkpoint(struct store *s);

/* Entries from..to of a feed, at most max and max_bytes (at least one), in order. out's
 * entries own their blobs (rec_release-like: store_entries_release). */
struct store_entries {
    struct rec_entry *v;
    size_t n;
};
int store_entries(struct store *s, uint32_t feed, uint64_t from, uint64_t to, size_t max,
                  size_t max_bytes, struct store_entries *out);
void store_entries_release(struct store_entries *e);

/* Messages, as the API shows them. */
struct store_reaction {
    uint32_t author; /* contact, 0 ours */
    char emoji[WIRE_EMOJI_MAX + 1];
};
struct store_msg {
    uint64_t row; /* arrival: grows with each message stored here */
    uint8_t mid[WIRE_MID];
    uint32_t conv, author, device, feed;
    uint64_t seq;
    uint8_t kind, state;
    uint32_t flags;
    struct blob text;
    bool has_reply;
    uint8_t reply[WIRE_MID];
    uint64_t time_ms, order;
    uint64_t edited_ms; /* MSG_EDITED: when, as the author says */
    const struct store_reaction *reactions;
    size_t n_reactions;
    bool has_file; /* of kind MSG_FILE, and its file is stored */
    struct store_msg_file file;
};
/* Called for each row; non-zero stops the query. The struct dies with the call. */
typedef int store_msg_cb(void *ctx, const struct store_msg *m);

struct store_query {
    uint32_t conv;     /* 0: all */
    uint64_t since_ms; /* author's time at or after, 0: all */
    bool backwards;    /* newest first */
    /* paging: resume behind this position of (order, device, row); zeros: from the end or
     * start */
    uint64_t after_order, after_row;
    uint32_t after_device;
    size_t limit; /* ≤ STORE_PAGE_ROWS */
};
/* In the order (order, first 8 bytes of the device's id, row). since_ms counts an
 * author's time that lies beyond the message's order as that order. after_row 0: from the
 * end or start. Conversation 0 merges all of them in that order; the page that follows on
 * one, with nothing stored between them, is cheap. */
int store_history(struct store *s, const struct store_query *q, store_msg_cb *cb,
                  void *ctx);
/* Others' messages by arrival, row > after_row, at most limit; conv 0: all. */
int store_arrivals(struct store *s, uint32_t conv, uint64_t after_row, size_t limit,
                   store_msg_cb *cb, void *ctx);
/* Messages whose id starts with prefix (hex, 8..32 digits), at most 2 are told. */
int store_find(struct store *s, const char *prefix, store_msg_cb *cb, void *ctx);
/* Unread messages of others in a conversation. */
int store_unread(struct store *s, uint32_t conv, uint64_t *out);
/* All conversations that have some, by number; non-zero stops and is returned. */
int store_unread_each(struct store *s, int (*cb)(void *ctx, uint32_t conv, uint64_t n),
                      void *ctx);

/* Files, ended ones as well, with all their fields. The struct and its bytes die with the
 * call; non-zero stops the query and is returned. */
typedef int store_file_cb(void *ctx, const struct rec_file *f);
/* Those with id > after, by id, at most limit (≤ STORE_PAGE_ROWS). */
int store_files(struct store *s, uint32_t after, size_t limit, store_file_cb *cb,
                void *ctx);
/* One; ERR_NOTFOUND. */
int store_file(struct store *s, uint32_t id, store_file_cb *cb, void *ctx);
/* How a file fares with each contact that has been heard of, by contact. */
typedef int store_file_peer_cb(void *ctx, const struct rec_file_peer *p);
int store_file_peers(struct store *s, uint32_t file, store_file_peer_cb *cb, void *ctx);
/* Bytes of the files accepted by themselves (FILE_AUTO) that a contact (0: anybody) has
 * offered since then, whatever became of them; INT64_MAX when they are more. */
int store_files_auto(struct store *s, uint64_t since_ms, uint32_t contact,
                     uint64_t *bytes);

/* Durable events with number > since, at most limit, appended. newest gets the largest
 * number there is. */
int store_events_since(struct store *s, uint64_t since, size_t limit,
                       struct store_events *out, uint64_t *newest);

/* The newest message's row, 0: none. Before the store has its thread. */
uint64_t store_newest_row(const struct store *s);

/* A copy of the whole database as bytes, and a store made from one: for the simulator's
 * rolled-back homes. */
int store_snapshot(struct store *s, struct blob *out);
int store_from_snapshot(const struct blob *b, struct store **out);

#endif
