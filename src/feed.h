/* Feeds: conversations as sets of append-only logs, one a device and generation; their
 * chains, their replication, and the bodies in them (docs/PROTOCOL.md, "Feeds").
 *
 * What it owns: conversations and their members' devices, feeds, chains, box keys, what
 * each device told us it has. State changes are made in memory at once and appended as
 * records to the transaction the caller gives; the caller holds back every output until
 * that transaction is durable. When a commit fails the caller throws the object away and
 * loads again. Entries themselves are not kept in memory: they are asked for by
 * FEEDS_EV_LOAD.
 *
 * Files: feed.c (logs: append, accept, forks, generations), feed_seal.c (chains, box
 * keys), feed_repl.c (digest, have, want, pushing), talk.c (bodies into messages). */
#ifndef LINNET_FEED_H
#define LINNET_FEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "link.h"
#include "rec.h"
#include "wire.h"

enum {
    FEEDS_CONVS_MAX = 32768,
    FEEDS_MAX = 262144,
    FEEDS_DEVICES_MAX = 32768,
    FEEDS_LOAD_ENTRIES = 256, /* of one load */
    FEEDS_LOAD_BYTES = 256 * 1024,
    FEEDS_PARENT_WAIT_MS =
        30000, /* an entry whose parent is missing is then shown as gap */
    FEEDS_WANT_WAIT_MS = 10000, /* an unanswered want goes to another peer */
    FEEDS_BOXKEY_S = 7 * 86400, /* a box key's life as the newest */
    FEEDS_BOXKEY_KEEP_S = 90 * 86400,
    FEEDS_CHAIN_S = 7 * 86400,
};

struct feeds;

struct feeds_self {
    const struct env *env;
    uint8_t root[KEYS_ROOT], device[KEYS_DEVICE_ID];
    uint8_t stat_sec[32], self_key[KEYS_SELF];
    uint32_t device_ref; /* row id of our own device */
};

struct feeds *feeds_new(const struct feeds_self *self);
void feeds_free(struct feeds *f); /* wipes */
/* At start: BOXKEY, CONV, FEED, HAVE records (others are ignored), after the devices and
 * pairs are told. 0, ERR_CORRUPT, ERR_NOMEM, ERR_LIMIT. */
int feeds_load(struct feeds *f, const struct rec *r);
/* After the last record: makes the first box key when there is none, builds what is
 * derived. */
int feeds_start(struct feeds *f, struct txn *t, uint64_t now_ms);

/* Devices that conversations can have (own account: contact 0, own device included).
 * A changed box key is told the same way. Devices of an account that is a member of a
 * conversation are members' devices at once. */
struct feeds_device {
    uint32_t ref, contact;
    uint8_t root[KEYS_ROOT], device[KEYS_DEVICE_ID], stat[32], box[32];
    uint64_t box_time;
};
int feeds_device_put(struct feeds *f, const struct feeds_device *d);
/* The pair's root secret, for sealing between two. A changed one (paired anew) makes the
 * next entry start a new chain. */
int feeds_pair_put(struct feeds *f, uint32_t contact, const uint8_t root[KEYS_ROOT],
                   const uint8_t pair[KEYS_PAIR_SECRET]);
/* A removed contact: forgets pair and devices, keeps feeds on disk. A blocked one: the
 * same until it is put again. */
void feeds_contact_del(struct feeds *f, uint32_t contact);

/* Creates (or finds) the conversation with a contact; its cid is the hash of both roots,
 * sorted. Groups: cid and members' roots (own included) given by the caller. *conv gets
 * its row id. 0, ERR_LIMIT, ERR_NOMEM, ERR_NOTFOUND (a member is unknown). */
int feeds_conv_pair(struct feeds *f, struct txn *t, uint32_t contact, uint32_t *conv);
int feeds_conv_group(struct feeds *f, struct txn *t, const uint8_t cid[WIRE_ID],
                     const uint8_t (*roots)[WIRE_ID], size_t n, uint32_t *conv);
/* The id of the conversation of two accounts, by their roots in any order. */
void feeds_pair_id(const uint8_t a[WIRE_ID], const uint8_t b[WIRE_ID],
                   uint8_t cid[WIRE_ID]);
/* The pair conversation of a contact, 0 when there is none. */
uint32_t feeds_conv_of(const struct feeds *f, uint32_t contact);
/* The contact of a pair conversation, 0 for groups. */
uint32_t feeds_conv_contact(const struct feeds *f, uint32_t conv);

/* Our newest box key (public) and when it was made, for device dictionaries. */
void feeds_box(const struct feeds *f, uint8_t pub[32], uint64_t *created_s);
/* True when the newest box key has outlived FEEDS_BOXKEY_S: makes a new one; the caller
 * then appends `device` entries. */
bool feeds_box_rotate(struct feeds *f, struct txn *t, uint64_t wall_s);

/* Appends a text (1..WIRE_TEXT_MAX bytes, checked UTF-8) to our feed; a `keys` entry goes
 * before it when the chain is not fit. mid gets the message's id. 0, ERR_ARG (text),
 * ERR_NOTFOUND (conv), ERR_LIMIT (generations are used up), ERR_NOMEM. */
int feeds_send_text(struct feeds *f, struct txn *t, uint32_t conv, const uint8_t *text,
                    size_t len, const uint8_t *reply_mid, uint8_t mid[WIRE_MID],
                    uint64_t now_ms);
/* Appends an edit, a reaction or a redaction of a message. That it is there and whose it
 * is is the caller's to know: what does not fit has no effect anywhere. 0, ERR_ARG (an
 * edit's text, an emoji), ERR_NOTFOUND (conv, or the author is no member), ERR_LIMIT,
 * ERR_NOMEM. */
struct feeds_change {
    enum change_kind kind;
    uint8_t target[WIRE_MID];
    uint32_t author;     /* reaction: the message's, a contact or 0 for us */
    const uint8_t *text; /* edit: new text; reaction: emoji, or none to take it back */
    size_t len;
};
int feeds_change(struct feeds *f, struct txn *t, uint32_t conv,
                 const struct feeds_change *v, uint64_t now_ms);
/* What is said of files: an offer (body->mid is given by the caller; its time is set
 * here), sealed, or the end of one (author: the offer's, a contact or 0 for us). Checked
 * by wire_body_put(). 0, ERR_ARG, ERR_NOTFOUND (conv, or the author is no member),
 * ERR_LIMIT, ERR_NOMEM. */
int feeds_send_file(struct feeds *f, struct txn *t, uint32_t conv, uint32_t author,
                    const struct wire_body *body, uint64_t now_ms);
/* The k-th member of a conversation: its root and (0: ours, UINT32_MAX: nobody known) its
 * contact. False: there are not so many. */
bool feeds_member(const struct feeds *f, uint32_t conv, size_t k, uint8_t root[WIRE_ID],
                  uint32_t *contact);
/* Appends a `device` body to a conversation of two. */
int feeds_send_device(struct feeds *f, struct txn *t, uint32_t conv,
                      const struct wire_device *d, uint64_t now_ms);
/* True when every device of the contact has opened all `device` entries of ours there. */
bool feeds_device_acked(const struct feeds *f, uint32_t contact);
/* Moves our read mark of a conversation to all that is opened now; tells linked devices.
 */
int feeds_read(struct feeds *f, struct txn *t, uint32_t conv, uint64_t now_ms);

/* A device's link is up or down. */
void feeds_peer_up(struct feeds *f, uint32_t device, uint64_t now_ms);
void feeds_peer_down(struct feeds *f, uint32_t device, uint64_t now_ms);
/* A frame of type 32..63 from a linked device. 0; ERR_FORMAT or ERR_AUTH: the peer broke
 * the rules and its link is to be closed. Other refusals are recorded and return 0. */
int feeds_recv(struct feeds *f, struct txn *t, uint32_t device, uint8_t type,
               const uint8_t *payload, size_t len, uint64_t now_ms);
/* The device's link would take that many bytes of class CHAT now (link_room). To be
 * called when it has grown; outputs follow. */
void feeds_room(struct feeds *f, uint32_t device, size_t bytes, uint64_t now_ms);
/* An ENTRY of ours was handed to a link (STATE_SENT, written with the next transaction).
 */
void feeds_handed(struct feeds *f, uint32_t feed, uint64_t seq);
/* Entries asked for by FEEDS_EV_LOAD, read after the transactions made before that event
 * were applied; n 0 when there are none or the load failed (it is asked for again). */
int feeds_loaded(struct feeds *f, struct txn *t, uint64_t request,
                 const struct rec_entry *v, size_t n, uint64_t now_ms);

void feeds_tick(struct feeds *f, struct txn *t, uint64_t now_ms);
uint64_t feeds_deadline(const struct feeds *f);

/* A frame for a device's link, in order. To be sent only when the transaction of the call
 * that made it is durable. */
struct feeds_out {
    uint32_t device;
    enum link_class cls;
    enum frame_type type;
    const uint8_t *payload; /* dies with the next call */
    size_t len;
    uint32_t feed; /* ENTRY of ours: for feeds_handed; else 0 */
    uint64_t seq;
};
bool feeds_next_out(struct feeds *f, struct feeds_out *out);

enum feeds_event_kind {
    FEEDS_EV_LOAD,   /* entries are wanted */
    FEEDS_EV_WAITS,  /* something waits for the device, or nothing any more */
    FEEDS_EV_DEVICE, /* a contact's `device` body was opened */
    /* our `device` body is to be appended again: in the conversation (our generation
     * there was closed), or everywhere when that is 0 (there is a new box key) */
    FEEDS_EV_ANNOUNCE,
    /* an offer, `sealed`, a file's end, or the redaction of a message was opened, or
     * (taken_back) found in a feed of ours that was lost; not told of what we append.
     * Repeats are told like what they repeat: who takes these events has to take each
     * (author, mid) once. An end names a member as the offer's author. */
    FEEDS_EV_FILE,
};
struct feeds_event {
    enum feeds_event_kind kind;
    uint32_t device;              /* WAITS, DEVICE, FILE: who says it */
    uint32_t conv;                /* ANNOUNCE, FILE */
    const struct wire_body *body; /* FILE; dies with the next call */
    bool taken_back;
    bool waits;
    uint64_t request; /* LOAD */
    uint32_t feed;
    uint64_t from, to;
    size_t max, max_bytes;
    const struct wire_device *dict; /* DEVICE; dies with the next call */
};
bool feeds_next_event(struct feeds *f, struct feeds_event *ev);

/* For status and tests: a feed's state by row id; NULL when unknown. */
const struct rec_feed *feeds_feed(const struct feeds *f, uint32_t feed);

#endif
