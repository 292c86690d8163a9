/* Contacts: accounts and their devices, names, invites, pairing, verification
 * (docs/PROTOCOL.md, "Pairing").
 *
 * Owns the rows CONTACT, DEVICE, INVITE, ADDING. Changes are made in memory at once and
 * appended to the caller's transaction, which is durable before any output is sent. Knows
 * links by their conn number and frames PAIR and PAIRED.
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
 * and pair again get new secrets, keep name and conversation (EVENT_CONTACT_REPAIRED). */
#ifndef LINNET_CONTACT_H
#define LINNET_CONTACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "rec.h"
#include "wire.h"

enum {
    CONTACTS_MAX = 1024,
    CONTACT_DEVICES_MAX = 16, /* of one account */
    INVITES_OPEN_MAX = 256,
    INVITE_KEEP_S = 30 * 86400, /* an ended invite's secret is kept so long */
    INVITE_EXPIRES_S = 24 * 3600,
    INVITE_EXPIRES_MAX_S = 365 * 86400,
    ADDINGS_MAX = 64,
    ADDING_GIVE_UP_MS = 30 * 86400 * 1000LL,
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

/* ---- invites ---- */
/* A new invite; code (text) into out. expires_s from now. 0, ERR_ARG, ERR_LIMIT. */
int contacts_invite(struct contacts *c, struct txn *t, uint64_t expires_s,
                    const struct addr *addrs, size_t n_addrs, char out[WIRE_CODE_MAX + 1],
                    uint32_t *id);
int contacts_revoke(struct contacts *c, struct txn *t, uint32_t id);
const struct rec_invite *contacts_invite_get(const struct contacts *c, uint32_t id);
const struct rec_invite *contacts_invite_next(const struct contacts *c, size_t *pos);
/* Whether root may use the invite now: 0 or an enum close_code. */
unsigned contacts_invite_judge(const struct contacts *c, uint32_t id,
                               const uint8_t root[WIRE_ID], uint64_t wall_s);

/* ---- adding ---- */
/* Starts (or goes on) with a code. 0; ERR_FORMAT (mistyped), ERR_NEWER, ERR_ARG (name),
 * ERR_STATE (our own code), ERR_LIMIT. *slot names it while this process lives. */
int contacts_add(struct contacts *c, struct txn *t, const char *code, size_t len,
                 const char *as, uint32_t *slot);
struct contacts_adding {
    uint32_t slot;
    struct wire_code code;
    char as[WIRE_NAME_MAX + 1];
};
const struct contacts_adding *contacts_adding_next(const struct contacts *c, size_t *pos);
/* The inviter's authenticated CLOSE: gives the code up, EVENT_ADD_FAILED. */
void contacts_add_failed(struct contacts *c, struct txn *t, uint32_t slot, unsigned code);

/* ---- pairing on a link of kind invite ---- */
/* The link is up: emits PAIR. slot when we dialled, else invite. cert is the peer's. */
int contacts_pair_up(struct contacts *c, uint32_t conn, bool dialler,
                     uint32_t slot_or_invite, const struct cert *cert,
                     const uint8_t *cert_bytes, size_t cert_len,
                     const uint8_t handshake_hash[64]);
/* PAIR or PAIRED from it. 0, ERR_FORMAT, ERR_AUTH, ERR_STATE: close the link. */
int contacts_pair_recv(struct contacts *c, struct txn *t, uint32_t conn, uint8_t type,
                       const uint8_t *payload, size_t len);
void contacts_pair_down(struct contacts *c, uint32_t conn);

/* ---- contacts ---- */
const struct rec_contact *contacts_get(const struct contacts *c, uint32_t id);
const struct rec_contact *contacts_by_root(const struct contacts *c,
                                           const uint8_t root[WIRE_ID]);
/* By our name for them, or 8 or more hex digits of the root. 0, ERR_NOTFOUND, ERR_EXISTS
 * (ambiguous). Removed ones are not found. */
int contacts_find(const struct contacts *c, const char *name,
                  const struct rec_contact **out);
const struct rec_contact *contacts_next(const struct contacts *c, size_t *pos);
int contacts_rename(struct contacts *c, struct txn *t, uint32_t id, const char *name);
int contacts_set_flags(struct contacts *c, struct txn *t, uint32_t id, uint32_t set,
                       uint32_t clear);
/* Forgets pair secret and devices; the row stays (removed) for the history's sake. */
int contacts_remove(struct contacts *c, struct txn *t, uint32_t id);

const struct rec_device *contacts_device(const struct contacts *c, uint32_t ref);
const struct rec_device *contacts_device_next(const struct contacts *c, uint32_t contact,
                                              size_t *pos);
/* A `device` body from a linked or relayed feed of that device: box key, presence, name.
 */
int contacts_device_update(struct contacts *c, struct txn *t, uint32_t ref,
                           const struct wire_device *d);
/* Counters of first records and addresses where the device was met (kept newest first,
 * PEER_ADDRS of them). */
int contacts_device_counters(struct contacts *c, struct txn *t, uint32_t ref, uint64_t tx,
                             uint64_t rx);
int contacts_device_met(struct contacts *c, struct txn *t, uint32_t ref,
                        const struct addr *a);

uint64_t contacts_deadline(const struct contacts *c);
/* Drops what is over: kept secrets of ended invites, codes tried for too long. */
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
    CONTACTS_EV_PAIRED,  /* stored at both ends, our side dialled: slot, contact */
    CONTACTS_EV_STORED,  /* stored here (both sides) */
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
