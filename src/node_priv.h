/* The node's inside, shared by its files:
 *
 *   node.c       life, time, routing between modules, the gate that holds outputs back
 *   node_follow.c  who we are to others, who follows a change of contacts
 *   node_conn.c  carriers and their links
 *   node_add.c   codes being tried
 *   node_dht.c   the DHT
 *   node_meet.c  meeting through the DHT
 *   node_file.c  files
 *   node_req.c   requests of front ends
 *   node_nearby.c  people nearby
 *   node_network.c the secret network
 *   node_presence.c  how we and contacts are, typing
 */
#ifndef LINNET_NODE_PRIV_H
#define LINNET_NODE_PRIV_H

#include "base/bucket.h"
#include "base/deadline.h"
#include "base/err.h"
#include "base/map.h"
#include "dht/dht.h"
#include "feed.h"
#include "link.h"
#include "network.h"
#include "node.h"
#include "verify.h"

enum {
    NODE_RESULTS_MAX = 65536,
    NODE_GATED_MAX = 64 * 1024 * 1024, /* bytes of frames held back; then links end */
    NODE_BOX_CHECK_MS = 3600000,
    NODE_ADD_RETRY_MS = 5000,
    NODE_ADD_ADDR_MS =
        3000, /* for an address that does not answer, while there are more */
    NODE_ASK_MS = 30 * 60 * 1000, /* somebody who does not answer is asked so long */
    NODE_OUT_BUF = 72 * 1024,
    NODE_METAS_MAX = 64,
    NODE_WAITERS_MAX = 256,
    NODE_ROUTES_MAX = 64, /* events that raise one another, in one turn */
    NODE_TURNS_MAX = 16,
};

/* What the devices at the ends of a link tell each other of the network. */
struct tell {
    bool same;            /* the other one has proved to be in ours */
    uint32_t told;        /* the state of net_rev that it has been told of */
    uint32_t from;        /* contacts up to this id have been told */
    uint64_t next_ms;     /* not before */
    struct bucket frames; /* of its MEMBERS */
};

/* A carrier and its link. Lives until the outer layer says that the carrier has ended. */
struct conn {
    struct conn *next, *prev; /* all, oldest first */
    struct conn *ready_next;  /* with output to look for */
    struct deadline deadline;
    uint32_t id;
    struct addr addr;
    uint8_t source[ADDR_SOURCE_LEN];
    struct link *link;   /* NULL before connected and after its end */
    enum link_kind kind; /* when dialling; of the link once it is known */
    uint32_t ref; /* device row, invite id, slot when dialling for a code; 0: network */
    bool dialled, connected, ready, closing, current, up;
    bool peer_closed;  /* by the other side's CLOSE */
    bool shook;        /* counted as a stranger's handshake */
    bool close_wanted; /* by contacts, behind what is held back */
    enum close_code close_code;
    size_t gated;         /* bytes held back for it */
    struct verify verify; /* the live code over this link */
    struct tell tell;
};

/* A frame, or the end of a link, that waits for a transaction. */
struct gated {
    struct gated *next;
    uint64_t txn;
    uint32_t conn;
    enum link_class cls;
    enum frame_type type;
    bool close;
    enum close_code close_code;
    uint32_t feed;
    uint64_t seq;
    size_t len;
    uint8_t payload[];
};

struct out_item {
    struct out_item *next;
    struct node_out out;
};

struct event_item {
    struct event_item *next;
    uint64_t txn; /* RESULT: held back until durable */
    struct node_event ev;
};

struct fifo_size { /* sizes of transactions that are not durable yet */
    uint64_t no;
    size_t bytes;
};

struct meta {
    char key[REC_META_KEY_MAX + 1];
    struct blob value;
};

/* A code being tried. */
struct attempt {
    struct attempt *next;
    uint32_t slot;
    struct wire_code code;
    uint32_t conn; /* 0: none under way */
    size_t next_addr;
    uint64_t next_ms;
    bool has_found;
    struct addr found;                       /* where the inviter answered */
    struct addr where[WIRE_WHERE_ADDRS_MAX]; /* … and has left word to be */
    size_t n_where;
    uint64_t late_ms; /* the address that is dialled has had its time */
    bool gone;        /* mark while the list is compared */
};

/* Somebody nearby who is to be asked. */
struct asking {
    struct asking *next;
    uint32_t slot;
    uint8_t cert[32];
    uint32_t conn;    /* 0: none under way */
    uint32_t tried;   /* number of the entry that was dialled last */
    uint64_t next_ms; /* DEADLINE_NONE: when they are heard again */
    uint64_t until_ms;
    bool gone; /* mark while the list is compared */
};

/* A request `verify` that waits for the live code. */
struct comparing {
    struct comparing *next;
    uint64_t tag, until_ms; /* until: for a link */
    uint32_t contact;
    bool linked; /* it runs over a link */
};

/* A request `add` that waits for its end. */
struct waiter {
    struct waiter *next;
    uint64_t tag;
    uint32_t slot;    /* 0: asked; it is the answer that is waited for */
    uint32_t contact; /* whom we asked */
    uint64_t until_ms;
};

/* An operation of the DHT that somebody waits for. */
struct asked {
    uint64_t tag;
    uint32_t op;
};

struct node {
    const struct env *env;
    struct keyfile key;
    uint8_t root_sec[64];
    struct link_self self;
    uint8_t device[KEYS_DEVICE_ID];
    char name[WIRE_NAME_MAX + 1];
    uint16_t link_port, udp_port;
    bool started, stopping;
    uint8_t presence_p[32], presence_seed[32], presence_a[32];
    struct wire_device own;

    struct contacts *contacts;
    struct feeds *feeds;
    struct peers *peers;
    struct lan *lan;
    struct nearby *nearby;
    struct xfer *xfer;

    struct dht *dht; /* NULL: not in it */
    struct node_dht_config dht_config;
    struct asked *asked;
    size_t n_asked, cap_asked;
    uint64_t dht_save_ms;
    struct addr dht_routers[DHT_ROUTERS_MAX]; /* that our user named; the newest stay */
    size_t n_dht_routers;
    struct meeting *meeting;               /* NULL: not in the DHT */
    struct addr dht_addrs[WIRE_ADDRS_MAX]; /* our own, when it was last told of them */
    size_t n_dht_addrs;
    bool dht_told, dht_had_addrs; /* it was told; there were some once */

    struct network *network; /* NULL: in none */
    uint8_t network_key[NETKEY], network_cache[NETKEY_CACHE];
    char network_name[NETKEY_NAME_MAX + 1];
    char network_left[NETKEY_NAME_MAX + 1]; /* at this start; else empty */
    uint32_t net_rev;      /* counts changes of the members that we know */
    uint64_t net_tell_ms;  /* when to look who is to be told */
    uint64_t net_limit_ms; /* that members are refused was said then; 0: never */
    struct presence *presence;
    uint64_t active_ms; /* of the configuration */
    bool hidden;        /* as beacons follow */
    struct keyring ring;

    struct map conns; /* id → struct conn */
    struct conn *first, *last, *ready_first, *ready_last;
    struct deadlines deadlines;
    uint32_t next_conn;
    unsigned n_conns;

    struct addr addrs[WIRE_ADDRS_MAX]; /* our own, told in HELLO */
    size_t n_addrs;
    struct addr *targets;
    size_t n_targets;

    struct txn txn; /* of the present entry call */
    uint64_t last_txn, durable;
    struct fifo_size *sizes;
    size_t sizes_len, sizes_cap;
    size_t unstored, gated_bytes;
    bool closes_wanted;
    struct gated *gate_first, *gate_last;
    struct out_item *out_first, *out_last;
    struct event_item *ev_first, *ev_last, *res_first, *res_last;
    struct node_event ev_now;
    struct out_item *out_now;
    uint8_t *out_buf;

    struct attempt *attempts;
    struct asking *askings;
    struct comparing *comparings;
    struct waiter *waiters;
    unsigned n_waiters;

    struct meta metas[NODE_METAS_MAX];
    size_t n_metas;
    bool have_own_device;
    uint32_t last_contact; /* largest row id loaded */
    bool beacons_due;      /* the keys of own beacons are to be looked at again */
    /* contacts that have not acknowledged our device dictionary, by id */
    uint32_t *unacked;
    size_t n_unacked, cap_unacked;
    uint64_t next_box_check_ms;
    /* An internal failure (ERR_NOMEM, ERR_LIMIT): memory and transaction may differ, and
     * nothing leaves the node any more but NODE_EV_BROKEN. */
    int broken;
    bool broken_told;
};

/* ---- node.c ---- */
/* Ends an entry call: routes what the modules have for each other, closes the
 * transaction, and lets outputs into the gate. */
void node_settle(struct node *n, uint64_t now_ms);
void node_targets_changed(struct node *n, uint64_t now_ms);
void node_emit(struct node *n, const struct node_event *ev);
/* A result, to be told when the present transaction is durable. */
void node_result(struct node *n, const struct node_event *ev);
void node_out_push(struct node *n, const struct node_out *out);
int node_meta_put(struct node *n, const char *key, const void *value, size_t len);

/* ---- node_follow.c ---- */
/* Our device dictionary has changed: contacts, beacons and (tell) conversations follow.
 */
void node_device_changed(struct node *n, bool tell, uint64_t now_ms);
void node_rotate_presence(struct node *n, uint64_t now_ms);
/* The keys that own beacons need may have changed: node_settle() looks once. */
void node_beacons_changed(struct node *n);
void node_beacons_follow(struct node *n, uint64_t now_ms);
/* True when the contact has acknowledged our device dictionary and had not before. */
bool node_newly_acked(const struct node *n, uint32_t contact);
void contact_follow(struct node *n, uint32_t id, uint64_t now_ms);
void contact_unfollow(struct node *n, uint32_t id, uint64_t now_ms);
void invites_follow(struct node *n, uint64_t now_ms);

/* ---- node_conn.c ---- */
/* The contact behind a link of contacts, 0: nobody any more. */
uint32_t conn_contact(struct node *n, const struct conn *c);
struct conn *conn_get(const struct node *n, uint32_t id);
/* 0 when there is no room. */
uint32_t conn_dial_contact(struct node *n, uint32_t device, const struct addr *to,
                           uint64_t now_ms);
uint32_t conn_dial_code(struct node *n, uint32_t slot, const struct addr *to,
                        uint64_t now_ms);
uint32_t conn_dial_network(struct node *n, const struct addr *to, uint64_t now_ms);
uint32_t conn_dial_stranger(struct node *n, uint32_t slot, const struct addr *to,
                            uint64_t now_ms);
/* Calls whoever holds the code of that invite. */
uint32_t conn_call(struct node *n, uint32_t invite, const struct addr *to);
/* The device that we have just paired with is there now, at that address. */
void conn_met(struct node *n, uint32_t contact, const struct conn *c, uint64_t now_ms);
void conn_close(struct node *n, struct conn *c, enum close_code code, uint64_t now_ms);
/* False when the link did not take it. */
bool conn_send(struct node *n, struct conn *c, enum link_class cls, enum frame_type type,
               const uint8_t *payload, size_t len, uint64_t now_ms);
/* Link events of a conn after anything was done with its link. */
void conn_pump(struct node *n, struct conn *c, uint64_t now_ms);
/* The same without looking for output again: called when there is none left. */
void conn_pump_quiet(struct node *n, struct conn *c, uint64_t now_ms);
void conn_make_ready(struct node *n, struct conn *c);
/* Tells feeds how much the link of a current conn would take. */
void conn_room(struct node *n, struct conn *c, uint64_t now_ms);
void conns_tick(struct node *n, uint64_t now_ms);
void conns_free(struct node *n);
/* Ends every link of a contact's devices. */
void conns_drop_contact(struct node *n, uint32_t contact, enum close_code code,
                        uint64_t now_ms);

/* ---- node_req.c ---- */
/* The end of every request that changes something: its result, when it is durable. */
int node_done(struct node *n, int err, struct node_event *ev, uint64_t tag,
              uint64_t now_ms);

/* ---- node_network.c ---- */
/* With node_start(): keys, beacons, and what is kept of it. 0 or an error. */
int network_begin(struct node *n, uint64_t now_ms);
void network_stop(struct node *n);
/* We are visible to contacts, or not any more: then no member is answered or dialled. */
void network_show(struct node *n);
/* A contact's devices, removed or not, are known. */
void network_follow(struct node *n, uint32_t contact, uint64_t now_ms);
/* Its devices may have other addresses than before. */
void network_moved(struct node *n, uint32_t contact, uint64_t now_ms);
void network_beacon(struct node *n, const struct lan_event *ev, uint64_t now_ms);
/* Dials what the network wants dialled; false when there was nothing. */
bool network_route(struct node *n, uint64_t now_ms);
void network_due(struct node *n, uint64_t now_ms);
uint64_t network_next(const struct node *n);
/* A link under the network's key is up, is over. */
void network_up(struct node *n, struct conn *c, uint64_t now_ms);
void network_down(struct node *n, struct conn *c, unsigned code, uint64_t now_ms);
/* A contact's link is up: says that we are of the network. */
void network_greet(struct node *n, struct conn *c, uint64_t now_ms);
int network_members(struct node *n, struct conn *c, const uint8_t *p, size_t len,
                    uint64_t now_ms);

/* ---- node_nearby.c ---- */
/* Our name or certificate has changed. */
void nearby_follow(struct node *n);
/* Visible again, when that was to stay. */
void nearby_start(struct node *n, uint64_t now_ms);
/* An open beacon. */
void nearby_datagram(struct node *n, const struct addr *from, const uint8_t *p,
                     size_t len, uint64_t now_ms);
/* Carries on what nearby has; false when there was no event. */
bool nearby_route(struct node *n, uint64_t now_ms);
struct asking *asking_get(const struct node *n, uint32_t slot);
/* The newest nonce heard from who has that certificate, at that address. */
bool asking_nonce(const struct node *n, const struct asking *a, const struct addr *at,
                  uint8_t nonce[16]);
void asking_conn_over(struct node *n, uint32_t conn, uint64_t now_ms);
void askings_tick(struct node *n, uint64_t now_ms);
uint64_t askings_deadline(const struct node *n);
void askings_free(struct node *n);
/* The other side has stored what we ask: who waits for that waits for the answer now. */
void asking_stored(struct node *n, uint32_t slot, uint32_t contact);
/* Before bytes of a listener's link are taken in, and after. */
void strangers_before(struct node *n, struct conn *c, uint64_t now_ms);
void strangers_after(struct node *n, struct conn *c, uint64_t now_ms);

/* ---- node_presence.c ---- */
void node_presence_start(struct node *n, uint64_t now_ms);
void node_presence_up(struct node *n, uint32_t device, uint64_t now_ms);
void node_presence_reach(struct node *n, uint32_t device, bool reachable,
                         uint64_t now_ms);
/* A recognised beacon; true when it says that the device is there. */
bool node_presence_beacon(struct node *n, uint32_t device, uint8_t byte, uint64_t now_ms);
/* Messages in the present transaction: what was being typed is in them. */
void node_presence_heard(struct node *n, uint64_t now_ms);
bool node_presence_route(struct node *n, uint64_t now_ms);
void node_presence_drain(struct node *n, uint64_t now_ms);

/* ---- node_file.c ---- */
/* A record of a file at start. 0, ERR_CORRUPT, ERR_NOMEM. */
int node_file_load(struct node *n, const struct rec *r);
/* A contact's link has become the current one. */
void node_file_up(struct node *n, struct conn *c, uint32_t contact, uint64_t now_ms);
/* File data for the link into out_buf; its length, or 0. */
size_t node_file_out(struct node *n, struct conn *c, uint64_t now_ms);
/* FEEDS_EV_FILE. */
void node_file_said(struct node *n, const struct feeds_event *ev, uint64_t now_ms);
bool node_file_route(struct node *n, uint64_t now_ms);
void node_file_tick(struct node *n, uint64_t now_ms);

/* ---- node_verify.c ---- */
/* A CODE frame of a contact's link. 0, or negative: the peer broke the rules. */
int verify_frame(struct node *n, struct conn *c, uint32_t contact, const uint8_t *p,
                 size_t len, uint64_t now_ms);
/* A contact's link has become the current one, or is not any more. */
void verify_link_up(struct node *n, struct conn *c, uint32_t contact, uint64_t now_ms);
void verify_link_down(struct node *n, struct conn *c, uint32_t contact, uint64_t now_ms);
void verifies_tick(struct node *n, uint64_t now_ms);
uint64_t verifies_deadline(const struct node *n);
void verifies_free(struct node *n);

/* ---- node_dht.c ---- */
int node_dht_start(struct node *n, uint64_t now_ms);
/* Remembers nodes, and is in the DHT no more. */
void node_dht_stop(struct node *n);
void node_dht_free(struct node *n);
/* addrs may have changed. */
void node_dht_moved(struct node *n, uint64_t now_ms);
/* A contact is at that address. */
void node_dht_met(struct node *n, const struct addr *a, uint64_t now_ms);
/* False: it is no message of the DHT. */
bool node_dht_recv(struct node *n, const struct addr *from, const uint8_t *p, size_t len,
                   uint64_t now_ms);
bool node_dht_out(struct node *n, struct node_out *out);
bool node_dht_route(struct node *n, uint64_t now_ms);
void node_dht_tick(struct node *n, uint64_t now_ms);
uint64_t node_dht_deadline(const struct node *n);

/* ---- node_meet.c ---- */
int node_meet_start(struct node *n, uint64_t now_ms);
void node_meet_free(struct node *n);
/* Presence, contacts, or who has acknowledged our device dictionary may have changed. */
void node_meet_follow(struct node *n, uint64_t now_ms);
void node_meet_invites(struct node *n, uint64_t now_ms);
void node_meet_adding(struct node *n, const struct attempt *a, uint64_t now_ms);
void node_meet_added(struct node *n, uint32_t slot);
void node_meet_forget(struct node *n, uint32_t device);
/* What became of looking for the inviter of a code. */
enum node_looked node_meet_looked(const struct node *n, uint32_t slot);
/* What waits for the device, or its link, may have changed. */
void node_meet_want(struct node *n, uint32_t device, uint64_t now_ms);
void node_meet_reached(struct node *n, uint32_t device, uint64_t now_ms);
/* Our addresses, or what the DHT sees of them, may have changed. */
void node_meet_where(struct node *n, uint64_t now_ms);
/* Interfaces have changed; changed: with another address, so contacts are looked up
 * again. Without any address any more we are offline. */
void node_meet_moved(struct node *n, bool changed, uint64_t now_ms);
/* The DHT can be asked, or can be again. */
void node_meet_ready(struct node *n, uint64_t now_ms);
/* False: it is not for meet. */
bool node_meet_told(struct node *n, const struct dht_event *e, uint64_t now_ms);
bool node_meet_route(struct node *n, uint64_t now_ms);
void node_meet_tick(struct node *n, uint64_t now_ms);
uint64_t node_meet_deadline(const struct node *n);

/* ---- node_add.c ---- */
/* The inviter has left word of these; they are dialled at once. */
void attempt_where(struct node *n, uint32_t slot, const struct addr *v, size_t count,
                   uint64_t now_ms);
void attempts_sync(struct node *n, uint64_t now_ms);
void attempt_found(struct node *n, uint32_t slot, const struct addr *a, uint64_t now_ms);
struct attempt *attempt_get(struct node *n, uint32_t slot);
void attempt_conn_over(struct node *n, uint32_t conn, uint64_t now_ms);
void attempts_tick(struct node *n, uint64_t now_ms);
uint64_t attempts_deadline(const struct node *n);
/* The end of a code: answers who waits for it. */
void waiters_done(struct node *n, uint32_t slot, uint32_t contact, int err,
                  unsigned code);
void attempts_free(struct node *n);
/* The same for somebody we asked, who has accepted. */
void waiters_answered(struct node *n, uint32_t contact);
/* 0, ERR_LIMIT, ERR_NOMEM: waits for the end of the code or ask with this slot, or for
 * the answer of a contact (slot 0). */
int waiter_new(struct node *n, uint64_t tag, uint32_t slot, uint32_t contact,
               uint64_t now_ms);

#endif
