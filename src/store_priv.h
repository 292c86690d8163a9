/* The store's inside: shared by store.c (file, schema, start), store_commit.c and
 * store_query.c, and by their tests. */
#ifndef LINNET_STORE_PRIV_H
#define LINNET_STORE_PRIV_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store.h"
#include "store_search.h"

enum {
    STORE_APP_ID = 0x4c4e5431, /* PRAGMA application_id: "LNT1" */
    STORE_BUSY_MS = 200,       /* how long an open waits for another program's lock */
    STORE_CACHE_KIB = 1024,    /* SQLite's page cache */
    STORE_CHECK_PAGES = 256,   /* up to this size a start checks every page */
    STORE_WAL_SOFT = 4096,     /* pages of WAL from which a checkpoint is due */
    STORE_WAL_HARD = 8192,     /* pages of WAL at which a commit makes one itself */
    STORE_DEVICES_CACHED = 64, /* slots, a power of two */
    STORE_PENDING_MAX = 256,   /* changes of one author in one conversation that wait */
    STORE_CHANGED = 32, /* event.what of a change: this and enum change_kind; of a state:
                         * the state */

    /* An entry's key is feed << STORE_SEQ_BITS | seq, so that a feed's entries lie
     * together in one integer-keyed tree. */
    STORE_SEQ_BITS = 40,
    STORE_FEED_BITS = 63 - STORE_SEQ_BITS,

    /* msg.word is the state plus this: then each state takes one byte in the row, and
     * raising it overwrites that byte in place (SQLite stores 0 and 1 in no bytes). */
    STORE_WORD = 2,

    STORE_ZONE_BITS = 10, /* rows of msg in a zone, of which the index knows the times */
};

enum stmt_id {
    ST_BEGIN,
    ST_COMMIT,
    ST_ROLLBACK,
    ST_PROBE,
    ST_META_PUT,
    ST_META_DEL,
    ST_BOXKEY_PUT,
    ST_BOXKEY_DEL,
    ST_CONTACT_PUT,
    ST_CONTACT_DEL,
    ST_DEVICE_PUT,
    ST_DEVICE_DEL,
    ST_INVITE_PUT,
    ST_INVITE_DEL,
    ST_ADDING_PUT,
    ST_ADDING_DEL,
    ST_REQUEST_PUT,
    ST_REQUEST_DEL,
    ST_CONV_PUT,
    ST_CONV_DEL,
    ST_FEED_PUT,
    ST_FEED_DEL,
    ST_HAVE_PUT,
    ST_HAVE_DEL,
    ST_ENTRY_PUT,
    ST_ENTRY_DEL,
    ST_CARRIES_PUT,
    ST_CARRIES_DEL,
    ST_ALSO_PUT,
    ST_ALSO_DEL,
    ST_ENTRY_DROP,
    ST_ENTRY_DROP_MSG,
    ST_ENTRY_DROP_EDITS,
    ST_EDITED_BY_PUT,
    ST_EDITED_BY_DEL,
    ST_EDITED_BY_CUT,
    ST_EDIT_GET,
    ST_EDIT_PUT,
    ST_EDIT_DEL,
    ST_EDIT_TIME,
    ST_REACTION_GET,
    ST_REACTION_PUT,
    ST_REACTION_DEL,
    ST_REACTION_NOW,
    ST_REACTIONS,
    ST_PENDING_GET,
    ST_PENDING_PUT,
    ST_PENDING_DEL,
    ST_PENDING_DEL_EDIT,
    ST_PENDING_DEL_N,
    ST_PENDING_COUNT,
    ST_PENDING_OLDEST,
    ST_PENDING_NEXT,
    ST_MSG_TARGET,
    ST_MSG_FLAGS,
    ST_MSG_TEXT,
    ST_FILE_PUT,
    ST_FILE_DEL,
    ST_FILE_UNNAME,
    ST_FILE_OF,
    ST_FILE_GET,
    ST_FILES,
    ST_FILES_AUTO,
    ST_FILE_BITS_PUT,
    ST_FILE_BITS_DEL,
    ST_FILE_BITS_CLEAR,
    ST_FILE_PEER_PUT,
    ST_FILE_PEER_DEL,
    ST_FILE_PEERS_CLEAR,
    ST_FILE_PEERS,
    ST_FILE_RULE_PUT,
    ST_FILE_RULE_DEL,
    ST_FORK_PUT,
    ST_FORK_DEL,
    ST_MSG_PUT,
    ST_MSG_SAME,
    ST_MSG_MOVE,
    ST_MSG_RISE,
    ST_MSG_WORD,
    ST_MSG_READ,
    ST_UNREAD_ADD,
    ST_UNREAD_GET,
    ST_UNREAD_ALL,
    ST_EVENT_PUT,
    ST_EVENTS,
    ST_DEVICE_ID,
    ST_ENTRIES,
    ST_HISTORY_UP,
    ST_HISTORY_DOWN,
    ST_NEXT_UP,
    ST_NEXT_DOWN,
    ST_CONVS,
    ST_MSG_ROW,
    ST_ARRIVALS,
    ST_ARRIVALS_CONV,
    ST_AUTHOR_NEXT,
    ST_AUTHOR_FIRST,
    ST_FIND,
    ST_INDEXED_GET,
    ST_INDEXED_PUT,
    ST_INDEX_ROW,
    ST_INDEX_NEXT,
    ST_WORDS_PUT,
    ST_WORDS_DEL,
    ST_WORDS_CLEAR,
    ST_WORDS_MERGE,
    ST_ZONE_PUT,
    ST_ZONE_CLEAR,
    ST_ZONES,
    ST_SEARCH,
    ST_SEARCH_ALL,
    ST_COUNT
};

struct unread {
    uint32_t conv;
    int64_t delta;
};

/* What SQLite opens the store's files with (store_vfs.c). */
struct store_vfs {
    sqlite3_vfs v; /* first: SQLite knows it by this */
    sqlite3_vfs *real;
    char name[32];
};
/* An SQLite result code. */
int store_vfs_init(struct store_vfs *sv);
/* After the last file is closed. Tolerates a zeroed struct. */
void store_vfs_release(struct store_vfs *sv);

struct store {
    struct store_vfs vfs;
    sqlite3 *db;
    sqlite3_stmt *st[ST_COUNT]; /* prepared at first use */
    uint64_t row_last;          /* largest msg.row */
    uint64_t event_last;        /* largest event.n */
    int wal_pages;
    struct { /* device row → its place among entries of one order; id 0: free */
        uint32_t id;
        int64_t rank;
    } device[STORE_DEVICES_CACHED];
    struct {
        uint64_t row;    /* the last message that is in the index */
        bool stale;      /* the index is of another Unicode, and has to be made anew */
        bool merge;      /* something may be left to merge */
        bool merge_next; /* indexing and merging take turns */
        unsigned parts;  /* slices indexed since there was nothing to merge */
    } index;
    struct merge *merge;   /* of all conversations, for the next page (store_query.c) */
    struct unread *unread; /* changes of the open transaction */
    size_t n_unread, cap_unread;
    uint64_t pending_n; /* rows of `pending`: mostly none, and then nobody asks */
    bool scrub;         /* a text was taken away: the WAL still has it */
    struct store_reaction *reactions; /* of the message being told */
    size_t cap_reactions;
};

/* One commit under way. */
struct store_work {
    struct store *s;
    struct store_events events;
};

/* The error for an SQLite result code (extended or not). */
int store_err(int rc);
/* The prepared statement, reset; NULL: *err tells. */
sqlite3_stmt *store_stmt(struct store *s, enum stmt_id id, int *err);

/* Binds a statement's parameters one after the other. Bytes are borrowed until it has
 * run. Failure latches in err; a statement that could not be prepared binds nothing. */
struct bind {
    sqlite3_stmt *st;
    int i, err;
};
struct bind bind_start(struct store *s, enum stmt_id id);
void bind_int(struct bind *b, uint64_t v);
void bind_i64(struct bind *b, int64_t v);
void bind_bytes(struct bind *b, const void *p, size_t n);
/* NULL unless present. */
void bind_bytes_if(struct bind *b, bool present, const void *p, size_t n);
void bind_text(struct bind *b, const void *p, size_t n);
/* A NUL-terminated string of at most max bytes. */
void bind_name(struct bind *b, const char *s, size_t max);
void bind_null(struct bind *b);
/* Runs to the end, ignoring rows. 0 or an error. */
int bind_run(struct bind *b);
/* One row: 1, the end: 0, or an error. The statement is reset unless there was a row; who
 * stops early resets it with sqlite3_reset. */
int bind_row(struct bind *b);

/* Columns. Outputs that own nothing: pointers die with the row. */
uint64_t col_int(sqlite3_stmt *st, int i);
struct blob col_blob(sqlite3_stmt *st, int i);
/* False, out zeroed, when the value has not exactly n bytes. */
bool col_fixed(sqlite3_stmt *st, int i, void *out, size_t n);
void col_name(sqlite3_stmt *st, int i, char *out, size_t size);

/* A zeroed event at the end of the list, counted; NULL: out of memory. */
struct store_event *store_events_add(struct store_events *e);
/* The columns of a message, from column i on, without its text. */
void store_event_cols(sqlite3_stmt *st, int i, struct store_event *e);
/* An entry's key; false: a number is out of range. */
bool store_key(uint32_t feed, uint64_t seq, uint64_t *k);

/* The columns of a message, MSG_COLS of store_sql.c, from the first on. */
void store_msg_cols(sqlite3_stmt *st, struct store_msg *m);

/* Makes our way to find words known to a connection: before anything of the index. */
int store_index_register(sqlite3 *db);
/* Reads how far the index is. */
int store_index_open(struct store *s);
/* The text of a message changes (edit, redaction): forget it with its old text before
 * the change, learn it with the new one after it, all in the transaction that is open. */
int store_index_forget(struct store *s, uint64_t row);
int store_index_learn(struct store *s, uint64_t row);
/* store_change.c. A change: applied, or kept for its message. */
int store_change_put(struct store_work *w, const struct rec_change *c);
/* Whether a redaction waits for the message that is about to be stored: 1, 0, error. */
int store_change_gone(struct store *s, const struct rec_msg *m);
/* The message was stored: applies what waited for it. */
int store_change_arrived(struct store_work *w, const struct rec_msg *m);
/* An entry loses its box. */
int store_drop_entry(struct store *s, uint32_t feed, uint64_t seq);
/* Fills in what stands in other tables about a message whose columns have been read: what
 * changes did to it, its file. The reactions die with the next call. */
int store_msg_more(struct store *s, struct store_msg *m);
/* What a change did to a message that an event is about. */
int store_event_changes(struct store *s, struct store_event *e);

/* store_files.c. Records of files. A file of a message that has one under another id is
 * ERR_CORRUPT; with a file its bits and peers go. */
int store_file_put(struct store *s, const struct rec_file *v, bool del);
int store_file_bits_put(struct store *s, const struct rec_file_bits *v, bool del);
int store_file_peer_put(struct store *s, const struct rec_file_peer *v, bool del);
int store_file_rule_put(struct store *s, const struct rec_file_rule *v, bool del);
/* A message was taken back: the file it offers, if there is one, loses its name. */
int store_file_unname(struct store *s, uint32_t conv, uint32_t author,
                      const uint8_t mid[WIRE_MID]);
/* The file that a message offers: 1, 0: none, or an error. */
int store_file_of(struct store *s, uint32_t conv, uint32_t author,
                  const uint8_t mid[WIRE_MID], struct store_msg_file *out);
/* Fills in the file of a message's event whose columns are set. */
int store_event_file(struct store *s, struct store_event *e);
/* Rows of `file` and `file_peer`; compact: of ended files only what REC_FILE gives at a
 * start. False: a column has not its size. */
bool store_file_cols(sqlite3_stmt *st, bool compact, struct rec_file *v);
void store_file_peer_cols(sqlite3_stmt *st, struct rec_file_peer *v);

/* Frees what is kept for the next page. */
void store_merge_release(struct store *s);

/* The place of a device among entries of one order: the first eight bytes of its id. */
int store_rank(struct store *s, uint32_t device, int64_t *rank);

/* Brings db from its user_version to n by running steps[version] … steps[n - 1], all in
 * one transaction. 0, ERR_NEWER, or an error; then nothing has changed. */
int store_migrate(sqlite3 *db, const char *const *steps, int n);
extern const char *const store_steps[STORE_SCHEMA];

/* Text of the statements, by enum stmt_id. */
extern const char *const store_sql[ST_COUNT];

#endif
