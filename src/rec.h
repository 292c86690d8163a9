/* Records: what a node asks to be stored, and what it is given back when it starts.
 *
 * The vocabulary between the protocol modules (which build transactions) and the store
 * (which maps records to rows). A transaction is one atomic list of records; they are
 * numbered 1, 2, 3… by the node and committed in order. A record's variable bytes belong
 * to it. Small integers (contact, device, conv, feed) are row ids given out by the node:
 * one more than the largest it ever saw; 0 is nobody. */
#ifndef LINNET_REC_H
#define LINNET_REC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire.h"

struct blob {
    uint8_t *p;
    size_t n;
};

enum rec_kind {
    REC_META = 1, /* a named value of the node */
    REC_BOXKEY,   /* one of our own box keys */
    REC_CONTACT,
    REC_DEVICE,
    REC_INVITE,
    REC_ADDING,  /* a code we hold and have not finished with */
    REC_REQUEST, /* somebody who is no contact asked us, or must not any more */
    REC_CONV,
    REC_FEED,
    REC_HAVE,      /* how far a device told us it has a feed */
    REC_FILE,      /* a file or folder that is offered to us, or by us */
    REC_FILE_BITS, /* which leaves of a block of an incoming one are verified and durable
                    */
    REC_FILE_PEER, /* how one of ours fares with a contact */
    REC_FILE_RULE, /* what of a contact is accepted by itself */
    REC_ENTRY,     /* not given back at start; read by store_entries() */
    REC_FORK,      /* proof of a fork; not given back */
    /* what people see; not given back */
    REC_MSG, /* a message: inserted unless (conv, author, mid) is there; makes an event */
    REC_CHANGE, /* an edit, a reaction or a redaction: applied to its message when it is
                 * newer than what was applied before, kept when the message is not there
                 * yet; makes an event when something that people see changes */
    REC_STATE,  /* our entries from..to reached a state; makes events where it is news */
    REC_EVENT,  /* any other durable event */
};

enum { REC_META_KEY_MAX = 31 };

struct rec_meta {
    char key[REC_META_KEY_MAX + 1];
    struct blob value;
};

struct rec_boxkey { /* key: pub */
    uint8_t pub[32], sec[32];
    uint64_t created_s;
};

enum contact_flag {
    CONTACT_VERIFIED = 1,
    CONTACT_BLOCKED = 2,
    CONTACT_REMOVED = 4,
    CONTACT_CONFLICT = 8, /* another root came under this name */
    CONTACT_ASKED = 32,   /* we asked them nearby, and they have not answered yet */
    CONTACT_NETWORK = 64, /* paired by itself, through a secret network */
    CONTACT_LIVE = 128,   /* we want live typing with them */
};
struct rec_contact { /* key: id */
    uint32_t id;
    uint8_t root[WIRE_ID];
    char name[WIRE_NAME_MAX + 1];      /* ours for them, unique */
    char announced[WIRE_NAME_MAX + 1]; /* theirs */
    uint8_t pair[32];                  /* root secret of the pair */
    uint32_t flags;
    uint64_t created_ms;
    char network[NETKEY_NAME_MAX + 1]; /* CONTACT_NETWORK: its name; else empty */
};

struct rec_device { /* key: id; contact 0: our own account */
    uint32_t id, contact;
    uint8_t device[WIRE_ID], stat[32];
    struct blob cert;
    uint8_t box[32]; /* newest box key known */
    uint64_t box_time;
    bool has_presence;
    uint8_t presence_p[32], presence_a[32];
    uint64_t counter_tx, counter_rx; /* of first records */
    struct blob addrs;               /* wire addresses where it was met, newest first */
};

struct rec_invite { /* key: id */
    uint32_t id;
    uint8_t secret[32];
    uint64_t created_s, expiry_s, ended_s; /* ended: used or revoked, 0 while open */
    bool used, revoked;
    uint8_t used_by[WIRE_ID]; /* root */
};

struct rec_adding { /* key: secret */
    uint8_t secret[32], root[WIRE_ID];
    struct blob code;           /* the whole code, text */
    char as[WIRE_NAME_MAX + 1]; /* empty: the announced name */
    uint64_t started_ms;        /* wall */
};

enum request_state {
    REQUEST_OPEN = 1, /* undecided */
    REQUEST_BLOCKED,  /* denied for good: only id, root and name are left */
};
struct rec_request { /* key: id; one for each root */
    uint32_t id;
    uint8_t state;
    uint8_t root[WIRE_ID], device[WIRE_ID], stat[32];
    struct blob cert;
    uint8_t box[32];
    uint64_t box_time;
    uint8_t pair[32];             /* the pair's secret, once it is accepted */
    char name[WIRE_NAME_MAX + 1]; /* what they call themselves */
    struct blob text;             /* their line, perhaps empty */
    uint8_t addr[ADDR_WIRE6];     /* where they listen, a wire address */
    uint8_t addr_len;
    uint64_t time_ms;
};

enum conv_kind { CONV_PAIR = 1, CONV_GROUP = 2 };
struct rec_conv { /* key: id */
    uint32_t id;
    uint8_t cid[WIRE_ID];
    uint8_t kind;
    uint32_t contact;    /* CONV_PAIR: the other one */
    struct blob members; /* roots of all members, own included, n × 32, sorted */
    uint64_t created_ms;
};

enum feed_flag {
    FEED_MINE = 1,
    FEED_CLOSED = 2, /* ours: nothing more is appended */
    FEED_FROZEN = 4, /* a fork was seen: nothing more is accepted */
};
struct rec_feed { /* key: id */
    uint32_t id, conv, device;
    uint8_t gen[WIRE_GEN];
    uint32_t flags;
    uint64_t head, head_order;
    uint8_t head_id[WIRE_ID];
    uint64_t opened,
        opened_order; /* entries 1..opened are opened or given up as closed */
    uint8_t opened_id[WIRE_ID];
    uint64_t closed_from; /* first seq whose chain we cannot open, 0: none */
    /* chain: ours, of the next entry to seal; others', of the next entry to open */
    uint64_t chain_start; /* seq of its `keys` entry, 0: none */
    uint32_t chain_n;
    uint8_t chain_secret[32];
    uint64_t chain_created_s;
    uint8_t sign_pub[32], sign_sec[64]; /* groups; sec only in ours */
    uint64_t read;                      /* our own read mark in this feed */
};

struct rec_have { /* key: (device, feed) */
    uint32_t device, feed;
    uint64_t n, opened, read;
};

enum file_kind { FILE_PLAIN = 1, FILE_FOLDER, FILE_STREAM };
enum file_state {
    FILE_OFFERED = 1, /* incoming: the user has not decided */
    FILE_ACTIVE,      /* incoming: accepted; outgoing: the offer stands */
    /* the end: */
    FILE_DONE,      /* incoming: verified and in its place; outgoing: all have ended it */
    FILE_DECLINED,  /* incoming: by us */
    FILE_STOPPED,   /* incoming: given up by us after it was accepted */
    FILE_CANCELLED, /* by the author */
    FILE_CHANGED,   /* the source changed, or is gone */
    FILE_BROKEN,    /* incoming: what came does not fit the root */
    FILE_LOST, /* the author does not have it any more, or (ours) our notes are gone */
};
enum file_flag {
    FILE_EXEC = 1,
    FILE_SIZED = 2,      /* size is known */
    FILE_SEALED = 4,     /* size and root are final */
    FILE_PAUSED = 8,     /* by our user */
    FILE_AUTO = 16,      /* incoming: accepted by itself */
    FILE_PIPE = 32,      /* incoming: to be read while it comes, kept in the home */
    FILE_UNDER_WAY = 64, /* data came, or went */
};
struct rec_file { /* key: id; (conv, author, mid) is unique; del: with bits and peers */
    uint32_t id;  /* the number that people see */
    uint32_t conv, author,
        device;            /* author: contact, 0 ours; device: row id of the offer's */
    uint8_t mid[WIRE_MID]; /* of the message that offers it */
    uint8_t kind, state;
    uint32_t flags;
    uint64_t size, head; /* bytes of all, its manifest's among them; of the manifest */
    uint32_t count;      /* entries of the manifest */
    uint8_t root[HASHTREE_HASH];
    struct blob name; /* as offered (of ours: as told), no NUL in it */
    struct blob path; /* ours: the source, absolute; incoming: where it is, absolute (the
                       * part while it is incomplete); empty: not yet */
    struct blob dest; /* incoming: the folder, or the whole path (ends without "/") that
                       * the user asked for; empty: the download folder */
    uint64_t created_ms, ended_ms; /* wall */
};

enum {
    FILE_BITS = 128
};                     /* bytes: HASHTREE_FANOUT bits, leaf 0 of the block in bit 0 of
                        * byte 0 */
struct rec_file_bits { /* key: (file, block); del with block UINT32_MAX: all of the file
                        */
    uint32_t file, block;
    uint8_t bits[FILE_BITS];
};

struct rec_file_peer { /* key: (file, contact) */
    uint32_t file, contact;
    uint8_t end;     /* enum file_end as they said, 0: none yet */
    uint64_t leaves; /* that they told to have */
};

enum file_mode {
    FILE_MODE_DEFAULT = 0,
    FILE_MODE_ASK,
    FILE_MODE_ALWAYS,
    FILE_MODE_NEVER
};
struct rec_file_rule { /* key: contact */
    uint32_t contact;
    uint8_t mode;
    bool has_max, has_quota; /* else the general ones hold */
    uint64_t max, quota;     /* bytes of one file; bytes a day */
};

struct rec_entry { /* key: (feed, seq); del removes seq and all after it */
    uint32_t feed;
    uint64_t seq;
    uint8_t id[WIRE_ID];
    struct blob header, box;
    bool has_self, has_sig;
    uint8_t self[KEYS_SELF_MAC], sig[WIRE_SIGN];
    uint8_t mid[WIRE_MID]; /* of the message that this entry of ours carries, or zeros */
};

struct rec_fork { /* key: (feed, seq) */
    uint32_t feed;
    uint64_t seq;
    struct blob header_a, header_b;
};

enum msg_kind { MSG_TEXT = 1, MSG_FILE = 2 /* its text is the name */ };
enum msg_flag {
    MSG_GAP = 1, /* a parent is missing */
    /* the store's own, set by changes: */
    MSG_REDACTED = 2, /* taken back: there is no text any more, and will not be */
    MSG_EDITED = 4,
    MSG_REACTED = 8, /* there are reactions, or were */
};
/* Words of a message of ours, in order; never go back. */
enum msg_state {
    STATE_QUEUED = 0,
    STATE_SENT = 1,
    STATE_STORED = 2,
    STATE_DELIVERED = 3,
    STATE_READ = 4,
    STATE_RECEIVED = 10, /* of others' messages: not read here yet */
};
struct rec_msg {
    uint8_t mid[WIRE_MID];
    uint32_t conv, feed, author, device; /* author: contact, 0 ours; device: row id */
    uint64_t seq;
    uint8_t kind;
    uint32_t flags;
    uint8_t state;
    struct blob text;
    bool has_reply;
    uint8_t reply[WIRE_MID];
    uint64_t time_ms, order;
};

enum change_kind { CHANGE_EDIT = 1, CHANGE_REACTION, CHANGE_REDACTION };
/* Of two edits of one message, and of two reactions of one account to it, the one with
 * the greater (order, first 8 bytes of the device's id, mid) counts; a redaction is
 * final. It takes the texts out of the message, its edits' entries and all entries that
 * carried it (they lose their boxes). */
struct rec_change {
    uint8_t kind;
    uint8_t mid[WIRE_MID];    /* its own id */
    uint8_t target[WIRE_MID]; /* the message's */
    uint32_t conv, feed, author, device;
    uint32_t target_author; /* as author: of edits and redactions the same one */
    uint64_t seq, order, time_ms;
    struct blob text; /* edit: the new text; reaction: emoji, none: taken back */
};

struct rec_state {
    uint32_t feed; /* ours; or with STATE_READ on others': our read mark moved to `to` */
    uint64_t from, to;
    uint8_t state;
};

enum event_topic {
    TOPIC_MESSAGE = 1,
    TOPIC_STATE,
    TOPIC_PRESENCE,
    TOPIC_REQUEST,
    TOPIC_TRANSFER,
    TOPIC_CONTACT,
    TOPIC_NODE,
};
/* Durable events other than messages and states. */
enum event_what {
    EVENT_CONTACT_ADDED = 1,
    EVENT_CONTACT_CHANGED, /* renamed, blocked, verified … */
    EVENT_CONTACT_REMOVED,
    EVENT_CONTACT_REPAIRED, /* an invite between two who knew each other */
    EVENT_CONTACT_CONFLICT, /* a new root under a known name */
    EVENT_INVITE_USED,
    EVENT_ADD_FAILED, /* value: enum close_code */
    EVENT_FORK,
    EVENT_RESTORED, /* our own feed was ahead of us */
    EVENT_ORDER_GAP,
    EVENT_UNREAD, /* our read mark moved: a conversation has no unread messages */
    EVENT_NETWORK_LEFT = 40, /* text: its name; value: contacts made through it */
    EVENT_NETWORK_LIMIT,     /* too many new members lately; text: its name */
    EVENT_REQUEST = 50,      /* somebody nearby asks; value: the request's id */
    EVENT_REQUEST_ACCEPTED,  /* somebody we asked has accepted */
    /* of a file: value is its id, contact the other side (of ours: whom it is about, 0
     * all)
     */
    EVENT_FILE_OFFERED = 60, /* by others, and not accepted by itself */
    EVENT_FILE_ACCEPTED,     /* incoming: here; outgoing: data began to go to contact */
    EVENT_FILE_DONE,         /* incoming: in its place; outgoing: contact has all of it */
    EVENT_FILE_DECLINED,
    EVENT_FILE_STOPPED, /* given up by the receiver */
    EVENT_FILE_CANCELLED,
    EVENT_FILE_CHANGED,
    EVENT_FILE_BROKEN,
    EVENT_FILE_LOST,
    EVENT_FILE_PAUSED, /* by us */
    EVENT_FILE_RESUMED,
};
struct rec_event {
    uint8_t topic, what;
    uint32_t contact, conv;
    uint64_t value;
    char text[WIRE_NAME_MAX + 1]; /* a name */
};

struct rec {
    enum rec_kind kind;
    bool del;
    uint32_t prev; /* txn_add's own: 1 + index of the one before of this kind, 0: none */
    union {
        struct rec_meta meta;
        struct rec_boxkey boxkey;
        struct rec_contact contact;
        struct rec_device device;
        struct rec_invite invite;
        struct rec_adding adding;
        struct rec_request request;
        struct rec_conv conv;
        struct rec_feed feed;
        struct rec_have have;
        struct rec_file file;
        struct rec_file_bits file_bits;
        struct rec_file_peer file_peer;
        struct rec_file_rule file_rule;
        struct rec_entry entry;
        struct rec_fork fork;
        struct rec_msg msg;
        struct rec_change change;
        struct rec_state state;
        struct rec_event event;
    } u;
};

/* A growing list of records: one transaction. Records of a kind with a key replace an
 * earlier one of the same key in the list when they are state (contact, device, feed,
 * have …), so that a burst writes each row once. */
struct txn {
    uint64_t no;
    struct rec *recs;
    size_t n, cap;
    uint32_t last[REC_EVENT + 1]; /* 1 + index of the last one of each kind, 0: none */
};

/* Copies b into a fresh blob. false: out of memory. */
bool blob_set(struct blob *out, const void *p, size_t n);
void blob_release(struct blob *b); /* wipes */

/* Appends r, or puts it in the place of the earlier record that it replaces. Takes over
 * its blobs and zeroes it (also on failure). 0, ERR_NOMEM. */
int txn_add(struct txn *t, struct rec *r);
/* The memory a transaction holds, about, in bytes. */
size_t txn_bytes(const struct txn *t);
void rec_release(struct rec *r); /* wipes secrets */
void txn_release(struct txn *t); /* tolerates a zeroed struct */

#endif
