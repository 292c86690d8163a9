/* What the files of contacts share: their state, and the helpers that keep it.
 *
 *   contact.c         contacts and devices: rows, names, flags
 *   contact_invite.c  invites we gave out, codes we hold
 *   contact_pair.c    pairing links
 *   contact_request.c strangers: whom we ask, who asks us
 *   contact_name.c    who claims which name
 *   contact_like.c    who somebody nearby is, or looks like */
#ifndef LINNET_CONTACT_PRIV_H
#define LINNET_CONTACT_PRIV_H

#include "base/bucket.h"
#include "base/map.h"
#include "contact.h"

struct device {
    struct rec_device r;
    struct device *next; /* of the same contact, by id */
    bool hashed;         /* cert_hash is that of the certificate */
    uint8_t cert_hash[32];
};

/* A name's skeleton, hashed. */
struct like {
    uint64_t hash;
    uint32_t contact;
};

struct contact {
    struct rec_contact r;
    struct device *devices;
};

struct adding {
    struct contacts_adding pub;
    char text[WIRE_CODE_MAX + 1]; /* the code as wire_code_put writes it */
    uint64_t started_ms;
    bool stored; /* with it whom we did not know, under the present pair secret */
};

/* What a pairing link stands on. */
enum pair_via {
    VIA_INVITE = 1,
    VIA_NETWORK,  /* both know the key of the network */
    VIA_STRANGER, /* nothing was given out before; PAIR tells no presence */
};

/* One pairing link. Ends at our PAIRED (dialler), or at the link's end. */
struct pairing {
    uint32_t conn;
    bool dialler;
    enum pair_via via;
    uint32_t ref;      /* VIA_INVITE: slot, or invite; VIA_STRANGER: an ask's slot */
    uint64_t until_ms; /* 0: not yet seen by a tick */
    uint8_t root[WIRE_ID], device[WIRE_ID], stat[32];
    uint8_t cert[KEYS_CERT_MAX];
    size_t cert_len;
    uint8_t hash[64];
    uint8_t dh_sec[32], nonce[32];
    bool got_pair, got_paired;
    uint32_t contact; /* once stored */
    bool got_request; /* stranger, listener: their line and port are there */
    char line[WIRE_LINE_MAX + 1];
    struct addr addr; /* stranger, listener: where they listen */
    struct pairing *next;
};

struct out_frame {
    struct contacts_out pub;
    uint8_t *bytes;
};

/* Somebody to be stored as a contact. */
struct newcomer {
    const uint8_t *root, *device, *stat, *secret; /* 32 bytes each */
    const char *as;                               /* "": what they call themselves */
    const struct wire_device *dict;
    bool network;  /* they came through the network that we are in */
    bool asked;    /* they have not answered yet */
    bool stranger; /* names that look alike are in conflict, too */
};

struct denied {
    uint8_t root[WIRE_ID];
    uint64_t at_ms; /* 0: nobody */
};

struct contacts {
    struct contacts_self self;
    const struct wire_device *own;
    char network[NETKEY_NAME_MAX + 1]; /* empty: in none */

    struct contact **v; /* by id */
    size_t n, cap;
    struct map by_root;
    struct device **devices; /* by id */
    size_t n_devices, cap_devices;
    uint32_t last_contact, last_device, last_invite, last_slot;

    struct rec_invite *invites; /* by id */
    size_t n_invites, cap_invites;
    struct adding *addings[ADDINGS_MAX];
    size_t n_addings;
    struct pairing *pairings;
    size_t n_pairings;

    struct rec_request **requests; /* by id */
    size_t n_requests, cap_requests;
    uint32_t last_request;
    struct contacts_ask *asks[ASKS_MAX];
    size_t n_asks;
    uint8_t requests_seed[16];
    struct bucket request_sources[REQUESTS_SOURCES], requests_all;
    struct denied denied[REQUESTS_DENIED_MAX]; /* a ring */
    size_t next_denied;

    uint64_t changes;   /* of contacts' rows, counted */
    struct like *likes; /* by hash, of when so many changes had been */
    size_t n_likes;
    uint64_t likes_of;
    uint8_t likes_seed[16];

    uint64_t sweep_ms;           /* when to look next */
    uint64_t last_wall, last_ms; /* of the newest tick; last_wall 0: none yet */

    struct contacts_event *events;
    size_t n_events, off_events, cap_events;
    struct out_frame *outs;
    size_t n_outs, off_outs, cap_outs;
    uint8_t *lent; /* bytes of the frame given out last */
};

/* ---- contact.c ---- */
struct contact *contacts_row(const struct contacts *c, uint32_t id);
struct contact *contacts_row_by_root(const struct contacts *c,
                                     const uint8_t root[WIRE_ID]);
/* The one of that local name that is not removed and not `except`, or NULL. */
struct contact *contacts_named(const struct contacts *c, const char *name,
                               const struct contact *except);
/* The first of base (when from is 1), base-2, base-3 … that nobody but `self` has. */
void contacts_unique(const struct contacts *c, const struct contact *self,
                     const char *base, unsigned from, char out[WIRE_NAME_MAX + 1]);
/* What a contact is called by itself: its announced name, or user-XXXXXXXX. */
void contacts_base_name(const struct rec_contact *r, char out[WIRE_NAME_MAX + 1]);
/* Notes what a contact calls itself, when that is usable and new. The local name follows
 * only where it was made up for want of an announced one: people know it. */
bool contacts_announce(struct contacts *c, struct contact *k, const char *name);
/* A new empty contact with a fresh id, in the lists. 0, ERR_LIMIT, ERR_NOMEM. */
int contacts_row_add(struct contacts *c, const uint8_t root[WIRE_ID],
                     struct contact **out);
bool contacts_full(const struct contacts *c);
/* The contact's device, forgotten or not, or NULL. */
struct device *contacts_device_of(const struct contact *k, const uint8_t id[WIRE_ID]);
/* Whether the contact can take this device. */
bool contacts_device_fits(const struct contact *k, const uint8_t id[WIRE_ID]);
/* Adds the device, or brings it up to date; fresh: its box key counts whatever its time.
 * The certificate's bytes were verified. 0, ERR_LIMIT, ERR_NOMEM. */
int contacts_device_put(struct contacts *c, struct txn *t, struct contact *k,
                        const uint8_t id[WIRE_ID], const uint8_t stat[32],
                        const struct wire_device *d, bool fresh);
/* Rows and durable events into the transaction. 0, ERR_NOMEM. */
int contacts_put(struct contacts *c, struct txn *t, const struct contact *k);
int contacts_tell(struct txn *t, enum event_what what, uint32_t contact, uint64_t value,
                  const char *name);
/* Makes room for the events and frames of one call, so that adding them cannot fail. */
int contacts_room(struct contacts *c);
void contacts_event_add(struct contacts *c, struct contacts_event ev);
void contacts_out_add(struct contacts *c, uint32_t conn, enum frame_type type,
                      uint8_t *bytes, size_t len);

/* ---- contact_name.c ---- */
/* Our user has told k apart, which was known as `name` (renamed, blocked or removed it):
 * when only one other claims the name without being told apart, that one is meant from
 * now on. 0, ERR_NOMEM. */
int contacts_settle(struct contacts *c, struct txn *t, const struct contact *k,
                    const char *name);

/* ---- contact_invite.c ---- */
int contacts_load_invite(struct contacts *c, const struct rec_invite *r);
int contacts_load_adding(struct contacts *c, const struct rec_adding *r);
struct rec_invite *contacts_invite_row(const struct contacts *c, uint32_t id);
int contacts_invite_burn(struct contacts *c, struct txn *t, uint32_t id,
                         const uint8_t root[WIRE_ID], uint32_t contact, const char *name);
struct adding *contacts_adding_row(const struct contacts *c, uint32_t slot);
/* Deletes the row and the adding. 0, ERR_NOMEM: nothing is changed. */
int contacts_adding_drop(struct contacts *c, struct txn *t, uint32_t slot);
/* Gives up all codes of that root: contact removed or blocked. */
int contacts_addings_drop_root(struct contacts *c, struct txn *t,
                               const uint8_t root[WIRE_ID]);
void contacts_sweep(struct contacts *c, struct txn *t, uint64_t now_ms);
void contacts_invites_free(struct contacts *c);

/* ---- contact_request.c ---- */
int contacts_load_request(struct contacts *c, const struct rec_request *r);
void contacts_requests_free(struct contacts *c);
struct contacts_ask *contacts_ask_row(const struct contacts *c, uint32_t slot);
/* No device of the contact has told its presence secret: pairing over XX is all there
 * was. */
bool contacts_unmet(const struct contact *k);
/* Whether we ask, too, or have accepted: then no request is needed. */
bool contacts_wanted(const struct contacts *c, const struct pairing *p);
/* Whether a request of theirs may be stored; the second also counts it. */
bool contacts_request_room(const struct contacts *c, const struct pairing *p);
bool contacts_request_let(struct contacts *c, const struct pairing *p, uint64_t now_ms);
/* Stores a request, instead of what the root has asked before. 0, ERR_LIMIT, ERR_NOMEM.
 */
int contacts_request_put(struct contacts *c, struct txn *t, const struct pairing *p,
                         const struct wire_device *d, const uint8_t secret[32]);
/* They have become a contact: what they asked is settled. */
int contacts_request_drop_root(struct contacts *c, struct txn *t,
                               const uint8_t root[WIRE_ID]);

/* ---- contact_pair.c ---- */
/* The contact's row: new, back again, or known; with its device. 0, ERR_LIMIT, ERR_NOMEM.
 */
int contacts_store(struct contacts *c, struct txn *t, const struct newcomer *n,
                   struct contact **out);
/* Whether there is room for that device of that account. */
bool contacts_has_room(const struct contacts *c, const uint8_t root[WIRE_ID],
                       const uint8_t device[WIRE_ID]);
/* Ends pairings with that root (contact removed or blocked), with CLOSE_NORMAL. */
void contacts_pairings_drop_root(struct contacts *c, const uint8_t root[WIRE_ID]);
void contacts_pairings_tick(struct contacts *c, uint64_t now_ms);
uint64_t contacts_pairings_deadline(const struct contacts *c);
void contacts_pairings_free(struct contacts *c);

#endif
