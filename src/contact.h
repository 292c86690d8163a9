/* Contacts: accounts and their devices, names, invites, pairing, verification
 * (docs/PROTOCOL.md, "Pairing").
 *
 * Owns the rows CONTACT, DEVICE, INVITE, ADDING. Changes are made in memory at once and
 * appended to the caller's transaction, which is durable before any output is sent. Knows
 * links by their conn number and frames PAIR and PAIRED. After ERR_NOMEM of a function
 * that takes a transaction, memory and transaction may differ: the transaction must not
 * be committed, and the node has to start again from what is stored.
 *
 * Names: `announced` is theirs, empty when it was unusable; `name` is ours and unique
 * among contacts that are not removed. A new root under a name already in use marks both
 * (CONTACT_CONFLICT), unless our user said by `as` which one it means.
 *
 * Pairing over an invite's link, A the one who adds (dialler), B the inviter:
 *
 *   up      both → PAIR {device dictionary, X25519, nonce}
 *   B has A's PAIR: contact stored and invite burnt, one transaction  → PAIRED
 *   A has B's PAIR: contact stored, `adding` row kept                 → PAIRED
 *   A has B's PAIRED: `adding` row deleted; after that commit → CLOSE(PAIRED), meet as
 *           contacts
 *
 * A crash in between is mended by A trying again: until the invite's expiry the same root
 * may repeat, and the pair's secrets are then replaced. Two who know each other already
 * and pair again get new secrets, keep name and conversation (EVENT_CONTACT_REPAIRED).
 *
 * Two accounts pair over one link at a time, so that both store the secrets of several
 * pairings in the same order: of two in one direction the newer stays, of two in opposite
 * ones (both add the other's code) that of the dialler with the smaller root. */
#ifndef LINNET_CONTACT_H
#define LINNET_CONTACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "rec.h"
#include "wire.h"

enum {
    CONTACTS_MAX = 16384,
    CONTACT_ROWS_MAX = 4 * CONTACTS_MAX, /* with removed ones */
    CONTACT_DEVICES_MAX = 16,            /* of one account */
    CONTACT_DEVICE_ROWS_MAX = 64,        /* with those forgotten on removal */
    CONTACT_ADDRS_MAX = 8,               /* remembered of one device */
    CONTACT_HEX_MIN = 8,                 /* digits of a root that name a contact */
    INVITES_OPEN_MAX = 256,
    INVITES_KEPT_MAX = 1024,    /* with ended ones; the oldest ended give way */
    INVITE_KEEP_S = 30 * 86400, /* an ended invite's secret is kept so long */
    INVITE_EXPIRES_S = 24 * 3600,
    INVITE_EXPIRES_MAX_S = 365 * 86400,
    ADDINGS_MAX = 64,
    ADDING_GIVE_UP_MS = 30 * 86400 * 1000LL,
    /* strangers who ask, and those we ask */
    REQUESTS_OPEN_MAX = 64,       /* undecided ones … */
    REQUESTS_SOURCE_OPEN_MAX = 8, /* … and of one address */
    REQUESTS_BURST = 32,          /* that come at once; then one in … */
    REQUESTS_MS = 5000,
    REQUESTS_SOURCE_BURST = 4, /* of one address; then one in … */
    REQUESTS_SOURCE_MS = 60000,
    REQUESTS_SOURCES = 256, /* buckets that addresses are hashed into */
    REQUESTS_BLOCKED_MAX = 1024,
    REQUESTS_DENIED_MAX = 256,      /* remembered, so that … */
    REQUEST_AGAIN_MS = 3600 * 1000, /* … they ask again only after so long */
    ASKS_MAX = 16,
    PAIRINGS_MAX = 64,           /* pairing links at one time */
    PAIRING_MS = 30000,          /* from up to stored at both ends, else it is closed */
    SWEEP_MS = 3600 * 1000,      /* how often what is over is looked for */
    CLOCK_JUMP_MS = 3600 * 1000, /* the wall clock against ours: more is a jump */
};

struct contacts;

struct contacts_self {
    const struct env *env;
    uint8_t root[KEYS_ROOT];
    uint32_t device_ref; /* own device's row id is 1 */
    const uint8_t *cert; /* borrowed */
    size_t cert_len;
};

struct contacts *contacts_new(const struct contacts_self *self);
void contacts_free(struct contacts *c);
int contacts_load(struct contacts *c, const struct rec *r);

/* The dictionary we show others; box key and presence by the node. Borrowed until the
 * next call of this. */
void contacts_set_device(struct contacts *c, const struct wire_device *own);

/* The name of the secret network that we are in (1 to NETKEY_NAME_MAX bytes). */
void contacts_set_network(struct contacts *c, const char *name);
/* Contacts that came through it, not removed. */
size_t contacts_of_network(const struct contacts *c, const char *name);

/* ---- invites ---- */
/* A new invite; code (text) into out. expires_s from now. 0, ERR_ARG, ERR_LIMIT. */
int contacts_invite(struct contacts *c, struct txn *t, uint64_t expires_s,
                    const struct addr *addrs, size_t n_addrs, char out[WIRE_CODE_MAX + 1],
                    uint32_t *id);
int contacts_revoke(struct contacts *c, struct txn *t, uint32_t id);
const struct rec_invite *contacts_invite_get(const struct contacts *c, uint32_t id);
const struct rec_invite *contacts_invite_next(const struct contacts *c, size_t *pos);
/* Whether root may use the invite now: 0 or an enum close_code. A blocked contact is told
 * CLOSE_REVOKED, and so is a removed one who repeats the invite it once used. */
unsigned contacts_invite_judge(const struct contacts *c, uint32_t id,
                               const uint8_t root[WIRE_ID], uint64_t wall_s);

/* ---- adding ---- */
/* Starts (or goes on) with a code. 0; ERR_FORMAT (mistyped), ERR_NEWER, ERR_ARG (name),
 * ERR_STATE (our own code), ERR_REFUSED (of a contact we block), ERR_LIMIT. *slot names
 * it while this process lives. as is NULL or empty for the announced name. */
int contacts_add(struct contacts *c, struct txn *t, const char *code, size_t len,
                 const char *as, uint32_t *slot);
struct contacts_adding {
    uint32_t slot;
    struct wire_code code;
    char as[WIRE_NAME_MAX + 1];
};
const struct contacts_adding *contacts_adding_next(const struct contacts *c, size_t *pos);
/* The inviter's authenticated CLOSE. CLOSE_USED, CLOSE_REVOKED and CLOSE_EXPIRED give the
 * code up, EVENT_ADD_FAILED; after any other it is tried again. */
void contacts_add_failed(struct contacts *c, struct txn *t, uint32_t slot, unsigned code);

/* Whether the code is still held, and no link of ours pairs with it. */
bool contacts_code_free(const struct contacts *c, uint32_t slot);

/* A link of that contact is up, under the pair's secret: they have stored us too. Gives
 * up a code that waits for their word of it, CONTACTS_EV_PAIRED. 0, ERR_NOMEM. */
int contacts_linked(struct contacts *c, struct txn *t, uint32_t id);

/* ---- pairing on a link of kind invite ---- */
/* The link is up: emits PAIR, or asks for the link's end (CONTACTS_EV_CLOSE) when the
 * invite is over, the code given up, or another pairing goes first. slot when we dialled,
 * else invite. cert is the peer's, verified; its bytes are copied. 0, ERR_AUTH (not the
 * root of the code, or our own), ERR_FORMAT, ERR_STATE, ERR_NOMEM: close the link. */
int contacts_pair_up(struct contacts *c, uint32_t conn, bool dialler,
                     uint32_t slot_or_invite, const struct cert *cert,
                     const uint8_t *cert_bytes, size_t cert_len,
                     const uint8_t handshake_hash[64]);
/* The same on a link under the key of the network that we are in. Nobody is asked: who is
 * new becomes a contact marked CONTACT_NETWORK. Who was removed or blocked is told
 * CLOSE_REVOKED; a contact made otherwise stays as it is (CLOSE_NORMAL). */
int contacts_pair_up_network(struct contacts *c, uint32_t conn, bool dialler,
                             const struct cert *cert, const uint8_t *cert_bytes,
                             size_t cert_len, const uint8_t handshake_hash[64]);
/* PAIR or PAIRED from it. 0, ERR_FORMAT, ERR_AUTH, ERR_STATE: close the link, nothing
 * was stored. ERR_NOMEM. */
int contacts_pair_recv(struct contacts *c, struct txn *t, uint32_t conn, uint8_t type,
                       const uint8_t *payload, size_t len);
void contacts_pair_down(struct contacts *c, uint32_t conn);

/* ---- strangers: asking and being asked, over a link of kind stranger ---- */
/* Begins to ask whoever has the certificate of that hash; line is at most WIRE_LINE_MAX
 * bytes of wire_line_ok(), or NULL. Lasts until it is answered or dropped, not beyond
 * this process. 0, ERR_ARG (name or line), ERR_LIMIT, ERR_NOMEM. */
int contacts_ask(struct contacts *c, const uint8_t cert[32], const char *as,
                 const char *line, uint32_t *slot);
struct contacts_ask {
    uint32_t slot; /* never that of a code, too */
    uint8_t cert[32];
    char as[WIRE_NAME_MAX + 1], line[WIRE_LINE_MAX + 1];
};
const struct contacts_ask *contacts_ask_next(const struct contacts *c, size_t *pos);
void contacts_ask_drop(struct contacts *c, uint32_t slot);

/* The link is up: emits REQUEST and PAIR. The dialler names its ask's slot; addr is where
 * the other end of the carrier is. PAIR, PAIRED and REQUEST then go to
 * contacts_pair_recv(). 0; ERR_REFUSED: close with CLOSE_BUSY, the same for who is
 * blocked, was denied lately or asks too often, and when there is no room; other errors
 * as of contacts_pair_up(). */
struct contacts_stranger {
    uint32_t conn;
    bool dialler;
    uint32_t slot;
    uint16_t port; /* where we listen */
    const struct addr *addr;
    const struct cert *cert;
    const uint8_t *cert_bytes;
    size_t cert_len;
    const uint8_t *hash; /* of the handshake, 64 bytes */
};
int contacts_stranger_up(struct contacts *c, const struct contacts_stranger *s,
                         uint64_t now_ms);

/* Undecided and blocked ones, by id; borrowed until the next change. */
const struct rec_request *contacts_request_next(const struct contacts *c, size_t *pos);
const struct rec_request *contacts_request_get(const struct contacts *c, uint32_t id);
/* The asker becomes a contact. 0, ERR_NOTFOUND, ERR_ARG (name), ERR_LIMIT, ERR_NOMEM. */
int contacts_request_accept(struct contacts *c, struct txn *t, uint32_t id,
                            const char *as, uint32_t *contact);
/* Forgets it; for_good: nothing is taken from that root any more, until it is unblocked.
 * The asker learns nothing. 0, ERR_NOTFOUND, ERR_LIMIT, ERR_NOMEM. */
int contacts_request_deny(struct contacts *c, struct txn *t, uint32_t id, bool for_good,
                          uint64_t now_ms);
int contacts_request_unblock(struct contacts *c, struct txn *t, uint32_t id);
/* Whether the root is blocked, as a contact or as somebody who asked. */
bool contacts_root_blocked(const struct contacts *c, const uint8_t root[WIRE_ID]);
/* A link of contacts came up with somebody we had asked: so they have accepted. 0,
 * ERR_NOTFOUND (was not asked), ERR_NOMEM. */
int contacts_answered(struct contacts *c, struct txn *t, uint32_t id);
/* Whether any device of the contact has told us its presence secret. */
bool contacts_met(const struct contacts *c, uint32_t id);

/* ---- contacts ---- */
/* Removed ones too. Pointers to contacts and devices stay until contacts_free; what they
 * point to follows changes. */
const struct rec_contact *contacts_get(const struct contacts *c, uint32_t id);
const struct rec_contact *contacts_by_root(const struct contacts *c,
                                           const uint8_t root[WIRE_ID]);
/* By our name for them, or 8 or more hex digits of the root. 0, ERR_NOTFOUND, ERR_EXISTS
 * (ambiguous: several roots, or one's name is the beginning of another's root). Removed
 * ones are not found. */
int contacts_find(const struct contacts *c, const char *name,
                  const struct rec_contact **out);
/* All but removed ones, by id. Start with *pos = 0; NULL at the end. */
const struct rec_contact *contacts_next(const struct contacts *c, size_t *pos);
/* A contact (not removed, not `except`) whose name or announced name looks like this one
 * to a reader (wire_name_skeleton), or NULL. */
const struct rec_contact *contacts_like(struct contacts *c, const char *name,
                                        uint32_t except);
/* The contact, not removed, one of whose devices has the certificate of that hash. */
const struct rec_contact *contacts_by_cert(struct contacts *c, const uint8_t hash[32]);
/* Somebody else who claims the name of this contact, one that is in conflict if there is
 * one; NULL: nobody. */
const struct rec_contact *contacts_rival(const struct contacts *c, uint32_t id);
/* Also tells the contact apart from others who claim the old name: its conflict ends, and
 * so does that of the last one which is left. 0, ERR_NOTFOUND, ERR_ARG (name), ERR_EXISTS
 * (taken), ERR_NOMEM. */
int contacts_rename(struct contacts *c, struct txn *t, uint32_t id, const char *name);
/* CONTACT_VERIFIED, _BLOCKED, _CONFLICT, _LIVE. Setting VERIFIED clears CONFLICT;
 * blocking gives up codes of theirs. 0, ERR_NOTFOUND, ERR_ARG, ERR_NOMEM. */
int contacts_set_flags(struct contacts *c, struct txn *t, uint32_t id, uint32_t set,
                       uint32_t clear);
/* Forgets pair secret, keys and addresses of the devices, flags and codes of theirs. The
 * rows of the contact (removed) and of its devices (without certificate) stay: history
 * and feeds name them. 0, ERR_NOTFOUND, ERR_NOMEM. */
int contacts_remove(struct contacts *c, struct txn *t, uint32_t id);

const struct rec_device *contacts_device(const struct contacts *c, uint32_t ref);
/* A contact's devices; of a removed contact those that were forgotten. */
const struct rec_device *contacts_device_next(const struct contacts *c, uint32_t contact,
                                              size_t *pos);
/* A `device` body from a linked or relayed feed of that device: box key (when newer),
 * presence, name; or another device of the same account, which is added. 0, ERR_NOTFOUND,
 * ERR_FORMAT, ERR_AUTH (certificate, another root, an unusable key), ERR_LIMIT,
 * ERR_NOMEM.
 */
int contacts_device_update(struct contacts *c, struct txn *t, uint32_t ref,
                           const struct wire_device *d);
/* Counters of first records and addresses where the device was met (kept newest first,
 * CONTACT_ADDRS_MAX of them). */
int contacts_device_counters(struct contacts *c, struct txn *t, uint32_t ref, uint64_t tx,
                             uint64_t rx);
int contacts_device_met(struct contacts *c, struct txn *t, uint32_t ref,
                        const struct addr *a);
/* Those addresses, newest first, at most max; returns how many. */
size_t contacts_device_addrs(const struct rec_device *d, struct addr *out, size_t max);

/* Whether the address (port ignored) stands in a code that is being tried, or is where a
 * device of a contact, not removed or blocked, was met: one that our user gave or proved.
 */
bool contacts_addr_known(const struct contacts *c, const struct addr *a);
/* Whether a device of a contact, blocked or not, was met at that address. */
bool contacts_addr_met(const struct contacts *c, const struct addr *a);

uint64_t contacts_deadline(const struct contacts *c);
/* Drops what is over: kept secrets of ended invites, codes tried for too long, pairings
 * that do not get on. */
void contacts_tick(struct contacts *c, struct txn *t, uint64_t now_ms);

struct contacts_out { /* a frame for a pairing link, class CONTROL */
    uint32_t conn;
    enum frame_type type;
    const uint8_t *payload;
    size_t len;
};
bool contacts_next_out(struct contacts *c, struct contacts_out *out);

enum contacts_event_kind {
    CONTACTS_EV_CHANGED, /* contact and its devices: keyring, feeds, lan, peers follow */
    CONTACTS_EV_GONE,    /* removed or blocked: the same, away */
    CONTACTS_EV_INVITES, /* invites or addings changed: keyring and lan follow */
    CONTACTS_EV_PAIRED,  /* stored at both ends, our side dialled: slot (0: through the
                          * network), contact */
    CONTACTS_EV_STORED,  /* stored here (both sides) */
    CONTACTS_EV_ASKED,   /* we asked, and that is stored at both ends: slot, contact */
    CONTACTS_EV_CLOSE,   /* close this conn with that code */
    CONTACTS_EV_FAILED,  /* adding given up: slot, code */
};
struct contacts_event {
    enum contacts_event_kind kind;
    uint32_t contact, slot, conn;
    unsigned code;
};
bool contacts_next_event(struct contacts *c, struct contacts_event *ev);

#endif
