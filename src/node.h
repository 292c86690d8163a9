/* The node: routes between carriers, links, peers, contacts, feeds and LAN beacons, and
 * owns them. It neither parses nor decides timing; those it owns do.
 *
 * Every entry call below may build one transaction and outputs that depend on it. The
 * transaction comes out as NODE_EV_COMMIT; frames and results made by the same call are
 * held back until node_committed() says that it is durable. Handshake bytes and beacons
 * are not held back. When a commit fails the caller frees the node and makes a new one
 * from the store: that is the same as a crash, and what a crash cannot lose this cannot
 * lose.
 *
 * The caller drains node_next_out and node_next_event after each call until both are
 * empty, calls node_tick at node_deadline, and gives one monotonic now_ms to each call.
 */
#ifndef LINNET_NODE_H
#define LINNET_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/env.h"
#include "contact.h"
#include "crypto/keyfile.h"
#include "dht/dht.h"
#include "feed.h"
#include "lan.h"
#include "meet.h"
#include "nearby.h"
#include "peer.h"
#include "presence.h"
#include "rec.h"
#include "xfer.h"

enum {
    NODE_CONNS_MAX = 1024,
    NODE_HALF_OPEN_MAX = 256,       /* listeners' links that recognised nobody yet */
    NODE_HALF_OPEN_SOURCE_MAX = 64, /* of one /32 or /64 */
    /* The same limits hold for links that recognised somebody and are not up yet, and
     * those of invites. */
    NODE_UNSTORED_MAX =
        8 * 1024 * 1024, /* bytes of uncommitted records: then reading pauses */
    NODE_ADD_WAIT_MS = 15000,
    NODE_WHY_MAX = 512,
};

struct node;

/* Its being a node of the DHT. */
struct node_dht_config {
    bool on;
    bool family[2];   /* IPv4, IPv6: which can be sent */
    bool own_network; /* nodes may be many at one private address, or in its subnet */
    /* Where datagrams may go at all; NULL: everywhere. */
    bool (*may_send)(void *ctx, const struct addr *a);
    void *ctx;
};

struct node_config {
    const struct env *env;
    const struct keyfile *key;    /* copied */
    char name[WIRE_NAME_MAX + 1]; /* announced; empty: what the store says, or "user" */
    uint16_t link_port, udp_port; /* bound already */
    uint64_t active_ms; /* when a person last did something; 0: the start counts */
    struct node_dht_config dht;
};

struct node *node_new(const struct node_config *cfg);
void node_free(struct node *n); /* wipes; tolerates NULL */
/* The secret network that it is in, before node_start: its name (1 to NETKEY_NAME_MAX
 * bytes), its key, and what names the secret that the key was made of (netkey_cache),
 * kept with the key in meta NODE_META_NETWORK as cache ‖ key. */
#define NODE_META_NETWORK "network_key"
void node_set_network(struct node *n, const char *name, const uint8_t key[NETKEY],
                      const uint8_t cache[NETKEY_CACHE]);
/* Empty: in none. */
const char *node_network(const struct node *n);
/* The one that it was in until this start, or empty. */
const char *node_network_left(const struct node *n);
/* Whether a member of it that we do not know yet is at that address (port ignored):
 * private ones of them are dialled whatever the scope. */
bool node_network_at(const struct node *n, const struct addr *a);
/* Each record of store_load, then node_start. 0, ERR_CORRUPT, ERR_NOMEM, ERR_LIMIT. */
int node_load(struct node *n, const struct rec *r);
int node_start(struct node *n, uint64_t now_ms);

/* ---- the world ---- */
void node_interfaces(struct node *n, const struct lan_interface *v, size_t count,
                     uint64_t now_ms);
/* --peer and the like: they get beacons as unicast and are dialled with a code. The whole
 * list. 0, ERR_LIMIT. */
int node_set_targets(struct node *n, const struct addr *v, size_t count, uint64_t now_ms);
/* Hosts of these IPv4 subnets get beacons as unicast to that port. */
int node_set_subnets(struct node *n, const struct prefix *v, size_t count, uint16_t port,
                     uint64_t now_ms);
/* By our own UDP port: a message of the DHT, or a beacon. */
void node_udp_recv(struct node *n, const struct addr *from, const uint8_t *p, size_t len,
                   uint64_t now_ms);
/* By the port of the multicast group: beacons alone. */
void node_beacon_recv(struct node *n, const struct addr *from, const uint8_t *p,
                      size_t len, uint64_t now_ms);
/* An accepted carrier; returns its conn, 0 when refused. May give NODE_OUT_CLOSE for
 * another, half-open one that has to make room. */
uint32_t node_accepted(struct node *n, const struct addr *from, uint64_t now_ms);
/* A NODE_OUT_DIAL has connected, or failed. */
void node_connected(struct node *n, uint32_t conn, uint64_t now_ms);
void node_recv(struct node *n, uint32_t conn, const uint8_t *p, size_t len,
               uint64_t now_ms);
/* len bytes of NODE_OUT_SEND are gone. */
void node_sent(struct node *n, uint32_t conn, size_t len, uint64_t now_ms);
/* The carrier has ended or failed to connect, whoever closed it, also after
 * NODE_OUT_CLOSE. */
void node_closed(struct node *n, uint32_t conn, uint64_t now_ms);
void node_tick(struct node *n, uint64_t now_ms);
uint64_t node_deadline(const struct node *n);
/* False while the store is too far behind: the caller stops reading from carriers and
 * the API. */
bool node_reading(const struct node *n);

enum node_out_kind {
    NODE_OUT_UDP,   /* send data from source on interface to dst */
    NODE_OUT_DIAL,  /* connect conn to dst */
    NODE_OUT_SEND,  /* data on conn */
    NODE_OUT_CLOSE, /* end conn, after what was sent is out */
};
struct node_out {
    enum node_out_kind kind;
    uint32_t conn, ifindex;
    struct addr source, dst;
    const uint8_t *data; /* dies with the next call */
    size_t len;
};
bool node_next_out(struct node *n, struct node_out *out, uint64_t now_ms);

/* ---- storage ---- */
/* All transactions up to no are durable. */
void node_committed(struct node *n, uint64_t no, uint64_t now_ms);
void node_loaded(struct node *n, uint64_t request, const struct rec_entry *v,
                 size_t count, uint64_t now_ms);

enum node_event_kind {
    NODE_EV_COMMIT,   /* txn is the caller's now (txn_release) */
    NODE_EV_LOAD,     /* entries are wanted: answer with node_loaded */
    NODE_EV_RESULT,   /* a request with this tag is done (and durable): err, or 0 */
    NODE_EV_NEARBY,   /* person came (online) or left; number 0: look at the list */
    NODE_EV_VISIBLE,  /* the time of being visible is over */
    NODE_EV_VERIFY,   /* a contact's user waits for us to compare a code */
    NODE_EV_PRESENCE, /* of a contact, or of us (contact 0): what; not durable */
    NODE_EV_JOB,      /* work on disk: answer with node_job_done */
    NODE_EV_TRANSFER, /* of a file (id): its progress, or a word; not durable */
    NODE_EV_DHT,      /* of what was asked with this tag: dht; not durable */
    NODE_EV_BROKEN, /* memory is exhausted (err): the last event. Nothing leaves the node
                     * any more; as after a failed commit it is to be made anew. */
};
/* What became of looking for somebody in the DHT, an inviter or a contact. */
enum node_looked {
    NODE_LOOKED_NOT,     /* we are not in it, or have not got so far */
    NODE_LOOKED_UNASKED, /* it could not be asked */
    NODE_LOOKED_ABSENT,  /* they have left no word there */
    NODE_LOOKED_FOUND,   /* it is known where they are, or were within the hour */
};
enum node_presence_what { NODE_PRESENCE_STATE, NODE_PRESENCE_TYPING, NODE_PRESENCE_LIVE };
struct node_event {
    enum node_event_kind kind;
    struct txn *txn;  /* COMMIT: heap, free with txn_release and free */
    uint64_t request; /* LOAD */
    uint32_t feed;
    uint64_t from, to;
    size_t max, max_bytes;
    uint64_t tag;                 /* RESULT */
    int err;                      /* RESULT, BROKEN */
    unsigned close_code;          /* RESULT of add: enum close_code when ERR_REFUSED */
    uint32_t contact;             /* RESULT of add, PRESENCE */
    enum node_looked looked;      /* RESULT of add when ERR_TIMEOUT */
    uint32_t id;                  /* RESULT of invite, send_file; TRANSFER */
    uint8_t mid[WIRE_MID];        /* RESULT of send, change, send_file */
    const struct xfer_job *job;   /* JOB; dies with the next call */
    char code[WIRE_CODE_MAX + 1]; /* RESULT of invite */
    bool online;
    struct nearby_person person; /* NEARBY */
    char why[NODE_WHY_MAX];      /* RESULT of send_file with err: a sentence, or empty */
    uint8_t what;                /* PRESENCE: enum node_presence_what */
    struct dht_event *dht;       /* DHT: heap, the caller frees it */
};
bool node_next_event(struct node *n, struct node_event *ev);
/* A NODE_EV_JOB is done. */
void node_job_done(struct node *n, const struct xfer_result *r, uint64_t now_ms);

/* ---- requests ----
 * Each returns 0 and later gives NODE_EV_RESULT with the tag (once, after the commit), or
 * a negative error at once and no event. Tags are the caller's, > 0. */
int node_invite(struct node *n, uint64_t tag, uint64_t expires_s,
                const struct addr *addrs, size_t n_addrs, uint64_t now_ms);
int node_invite_revoke(struct node *n, uint64_t tag, uint32_t id, uint64_t now_ms);
/* The result comes when the contact is stored at both ends, when the inviter refused
 * (ERR_REFUSED), or after NODE_ADD_WAIT_MS (ERR_TIMEOUT; the node goes on trying). */
int node_add(struct node *n, uint64_t tag, const char *code, size_t len, const char *as,
             uint64_t now_ms);
/* ERR_REFUSED: blocked; ERR_AUTH: the name is in conflict (exit 5). */
int node_send_text(struct node *n, uint64_t tag, uint32_t contact, const uint8_t *text,
                   size_t len, const uint8_t *reply_mid, uint64_t now_ms);
/* The same by conversation (row id), and the making of a group from known accounts: what
 * group commands and the simulator build on. members are roots, our own included. */
int node_send_conv(struct node *n, uint64_t tag, uint32_t conv, const uint8_t *text,
                   size_t len, const uint8_t *reply_mid, uint64_t now_ms);
/* Edits, reacts to or redacts a message of a conversation (feeds_change); the result's
 * mid is the message's. ERR_REFUSED, ERR_AUTH as above. */
int node_change(struct node *n, uint64_t tag, uint32_t conv, const struct feeds_change *v,
                uint64_t now_ms);
int node_group(struct node *n, const uint8_t cid[WIRE_ID],
               const uint8_t (*members)[WIRE_ID], size_t count, uint32_t *conv,
               uint64_t now_ms);
int node_read(struct node *n, uint64_t tag, uint32_t contact, uint64_t now_ms);
int node_contact_rename(struct node *n, uint64_t tag, uint32_t contact, const char *name,
                        uint64_t now_ms);
int node_contact_block(struct node *n, uint64_t tag, uint32_t contact, bool block,
                       uint64_t now_ms);
int node_contact_remove(struct node *n, uint64_t tag, uint32_t contact, uint64_t now_ms);
/* Marks verified (or only settles a conflict of names with verified false). */
int node_contact_verify(struct node *n, uint64_t tag, uint32_t contact, bool verified,
                        uint64_t now_ms);
/* The live code with a contact (verify.h): dials where no link is up. The result has it
 * in code; or ERR_NOTFOUND (nobody there), ERR_TIMEOUT (their user did not ask for a code
 * in VERIFY_MS), ERR_REFUSED (their user gave up), ERR_IO (the link was lost), ERR_AUTH
 * (the rules were broken). At once: ERR_NOTFOUND, ERR_REFUSED (blocked), ERR_NOMEM. Who
 * asks while somebody waits already gets the same code. */
int node_verify_code(struct node *n, uint64_t tag, uint32_t contact, uint64_t now_ms);
int node_set_name(struct node *n, uint64_t tag, const char *name, uint64_t now_ms);
/* Our state and status text (len 0: none). ERR_ARG. */
int node_presence_set(struct node *n, uint64_t tag, enum presence_state state,
                      const char *status, size_t len, uint64_t now_ms);
/* Whether we want live typing with the contact. */
int node_live(struct node *n, uint64_t tag, uint32_t contact, bool on, uint64_t now_ms);
/* A small durable value of the caller's, such as how far `recv` has printed. */
int node_set_meta(struct node *n, uint64_t tag, const char *key, const void *value,
                  size_t len, uint64_t now_ms);

/* ---- files (xfer.h) ---- */
/* Offers a file or folder to a contact; the result has id and mid, or err and why. At
 * once: as node_send_text(). path NULL: a spool, which node_file_spooled() fills. */
int node_send_file(struct node *n, uint64_t tag, uint32_t contact, const char *path,
                   const char *name, uint64_t now_ms);
/* Without result: how far a spool is written. ERR_NOTFOUND, ERR_STATE. */
int node_file_spooled(struct node *n, uint32_t id, uint64_t size, bool end,
                      uint64_t now_ms);
enum node_file_verb {
    NODE_FILE_ACCEPT,
    NODE_FILE_DECLINE,
    NODE_FILE_PAUSE,
    NODE_FILE_RESUME,
    NODE_FILE_CANCEL,
    NODE_FILE_PIPED,
};
/* dest, pipe: of ACCEPT, as xfer_accept(). ERR_NOTFOUND, ERR_STATE. */
int node_file(struct node *n, uint64_t tag, enum node_file_verb verb, uint32_t id,
              const char *dest, bool pipe, uint64_t now_ms);
int node_file_rule(struct node *n, uint64_t tag, const struct rec_file_rule *r,
                   uint64_t now_ms);
/* Without result. */
void node_file_policy(struct node *n, const struct xfer_policy *p, uint64_t now_ms);
void node_file_limit(struct node *n, uint64_t rate, uint64_t now_ms);
/* For xfer_next(), xfer_get(), xfer_rule(). */
const struct xfer *node_xfer(const struct node *n);
/* How the contact is reached: "LAN", "direct", or NULL when no link is up; addr gets
 * where. */
const char *node_route(const struct node *n, uint32_t contact, struct addr *addr);

/* Visible for NEARBY_VISIBLE_MS, or (stay) until it is turned off, also by later starts.
 */
int node_visible(struct node *n, uint64_t tag, bool on, bool stay, uint64_t now_ms);

/* Without result and transaction: a person did something; after how long without it we
 * are away (0: never); keys of a draft, as presence_typing(): 0, ERR_NOTFOUND,
 * ERR_REFUSED (blocked), ERR_AUTH (conflict), ERR_ARG, ERR_NOMEM. */
void node_activity(struct node *n, uint64_t now_ms);
void node_away_after(struct node *n, uint64_t ms, uint64_t now_ms);
int node_typing(struct node *n, uint32_t contact, const uint8_t *text, size_t len,
                bool typing, uint64_t now_ms);

/* Asks who has the certificate of that hash and is heard nearby to become a contact; line
 * goes with it (wire_line_ok), or NULL. Who is one already, or has asked us, is accepted
 * at once. The result comes when both have accepted, or after NODE_ADD_WAIT_MS with
 * ERR_TIMEOUT: contact is then set when they have been asked and only the answer is
 * missing. At once: ERR_ARG, ERR_LIMIT, ERR_REFUSED (blocked here). */
int node_ask(struct node *n, uint64_t tag, const uint8_t cert[32], const char *as,
             const char *line, uint64_t now_ms);
/* Requests of others: contacts_request_next(). The result of the first has contact. */
int node_request_accept(struct node *n, uint64_t tag, uint32_t id, const char *as,
                        uint64_t now_ms);
int node_request_deny(struct node *n, uint64_t tag, uint32_t id, bool block,
                      uint64_t now_ms);
int node_request_unblock(struct node *n, uint64_t tag, uint32_t id, uint64_t now_ms);

/* ---- the DHT (dht/dht.h) ---- */
enum node_dht_verb {
    NODE_DHT_PING,        /* addr */
    NODE_DHT_FIND,        /* target */
    NODE_DHT_GET,         /* target, of an immutable item */
    NODE_DHT_GET_MUTABLE, /* k and salt of item */
    NODE_DHT_PUT,         /* item, perhaps cas */
    NODE_DHT_ANNOUNCE,    /* target; port, 0: ours */
    NODE_DHT_PEERS,       /* target */
};
struct node_dht_ask {
    enum node_dht_verb verb;
    uint16_t port;
    bool has_cas;
    int64_t cas;
    struct addr addr;
    struct dht_id target;
    struct item item;
};
/* NODE_EV_DHT with the tag follow, DHT_DONE as the last. ERR_STATE: the node is not in
 * the DHT; ERR_ARG, ERR_AUTH (the signature), ERR_LIMIT, ERR_NOMEM. */
int node_dht_ask(struct node *n, uint64_t tag, const struct node_dht_ask *q,
                 uint64_t now_ms);
/* No more events of it follow. */
void node_dht_drop(struct node *n, uint64_t tag);
/* An address to begin from that the user has configured, or a public router. ERR_STATE,
 * ERR_ARG (not allowed, or of no use), ERR_LIMIT (the oldest has made room). */
int node_dht_router(struct node *n, const struct addr *a, uint64_t now_ms);
/* True when it is in the DHT and knows no other node there. */
bool node_dht_alone(const struct node *n);
/* Whether it has nodes from an earlier start to begin with. */
bool node_dht_remembers(const struct node *n);
/* False: it is not in the DHT. */
bool node_dht_stats(const struct node *n, struct dht_stats *out);

/* What meeting through the DHT has come to. False: it is not in the DHT. */
bool node_meet_stats(const struct node *n, struct meet_stats *out);
/* The best of the contact's devices, when it was looked for last. */
enum node_looked node_looked(const struct node *n, uint32_t contact);

/* CLOSE on every link; outputs follow. */
void node_shutdown(struct node *n, uint64_t now_ms);

/* ---- what front ends ask ---- */
const struct contacts *node_contacts(const struct node *n);
/* Linked or its beacons heard, and not invisible. */
bool node_online(const struct node *n, uint32_t contact);
void node_presence(const struct node *n, struct presence_own *out);
void node_presence_of(const struct node *n, uint32_t contact, struct presence_view *out);
/* Whether we are invisible: then no beacon of any kind says that we are there. */
bool node_hidden(const struct node *n);
bool node_linked(const struct node *n, uint32_t contact);
uint32_t node_conv_of(const struct node *n, uint32_t contact);
uint32_t node_conv_contact(const struct node *n, uint32_t conv);
const char *node_name(const struct node *n);
const uint8_t *node_root(const struct node *n);   /* 32 bytes */
const uint8_t *node_device(const struct node *n); /* 32 bytes */
/* The stored value of a meta key, NULL when there is none. */
const struct blob *node_meta(const struct node *n, const char *key);
/* Milliseconds that the node is still visible; 0: it is not, UINT64_MAX: it stays so. */
uint64_t node_visible_left(const struct node *n, uint64_t now_ms);
/* What people nearby see of our certificate. */
void node_cert_hash(const struct node *n, uint8_t hash[32]);
/* The list of people nearby (nearby_next). */
const struct nearby *node_nearby(const struct node *n);
/* The contact whose certificate's hash this one shows, or NULL; nothing is proved. */
const struct rec_contact *node_nearby_contact(const struct node *n,
                                              const struct nearby_person *p);
/* A contact whose name this one's looks like without being that contact, or NULL. */
const struct rec_contact *node_nearby_like(const struct node *n,
                                           const struct nearby_person *p);
/* A contact (not `except`) whose name looks like this one, or NULL. */
const struct rec_contact *node_like(const struct node *n, const char *name,
                                    uint32_t except);
struct node_stats {
    unsigned links, half_open, contacts, online, conns, conflicts;
    uint64_t unstored_bytes, last_txn, durable_txn;
};
void node_stats(const struct node *n, struct node_stats *out);
/* Somebody known before this contact, whose name its name looks like to a reader (other
 * letters, the same shapes), unless the contact is verified; NULL: nobody. */
const struct rec_contact *node_contact_like(struct node *n, uint32_t contact);

#endif
