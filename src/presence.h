/* Presence: how we are and how our contacts are, who is typing, and live typing
 * (docs/PROTOCOL.md, "Presence, typing and live typing").
 *
 * Owns: our state and status text, when we become away by ourselves; of every device of a
 * contact that was met in this run what it told last (over its link, or by its beacons);
 * our draft and theirs. Knows no links: devices are named by their row id, frames go to
 * those that are up. Nothing here is stored but what presence_save() gives.
 *
 * A device is shown as online when it is reachable (linked, or its beacons are heard) and
 * not invisible; between the start of a link and its first PRESENCE it is shown as it was
 * before. A contact is shown as the most reachable of its devices.
 *
 * What a peer can cause is bounded: one status text and one draft a device (the latter
 * only when we asked for live typing), frames of typing by a bucket a device, events by
 * one a contact (what comes sooner is told as one, later). */
#ifndef LINNET_PRESENCE_H
#define LINNET_PRESENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "wire.h"

enum {
    PRESENCE_AWAY_AFTER_MS = 600000, /* without activity: away; by default */
    PRESENCE_TOLD_MS = 2000,         /* a link that tells nothing for so long is online */
    PRESENCE_FETCH_MS = 5000,      /* at most so long until a new text is asked for … */
    PRESENCE_FETCH_GAP_MS = 60000, /* … and not more often, of one device */
    PRESENCE_CONTACTS_MAX = 65536,
    PRESENCE_DEVICES_MAX = 65536,

    PRESENCE_TYPING_REPEAT_MS = 4000,  /* TYPING is told again while keys follow */
    PRESENCE_TYPING_IDLE_MS = 5000,    /* no key for so long: not typing */
    PRESENCE_TYPING_EXPIRE_MS = 10000, /* at the receiver */
    PRESENCE_LIVE_GAP_MS = 200,        /* between two LIVE frames: at most 5 a second */
    PRESENCE_LIVE_IDLE_MS = 300000,    /* a draft left alone for so long is taken back */

    PRESENCE_FRAMES_BURST = 20, /* TYPING and LIVE of one device; more are ignored */
    PRESENCE_FRAMES_PER_S = 10,
    PRESENCE_EVENTS_BURST = 10, /* of one contact; more are told as one, later */
    PRESENCE_EVENTS_PER_S = 10,

    PRESENCE_SAVED_MAX = WIRE_STATUS_MAX + 64,
};

struct presence;

/* env outlives it. NULL: out of memory. */
struct presence *presence_new(const struct env *env);
void presence_free(struct presence *p); /* wipes; tolerates NULL */

/* ---- ourselves ---- */

/* What presence_save() gave; before anything else. 0, ERR_CORRUPT (nothing changed). */
int presence_load(struct presence *p, const uint8_t *bytes, size_t len);
/* Our state and status text as they are to be stored; returns the length. */
size_t presence_save(const struct presence *p, uint8_t out[PRESENCE_SAVED_MAX]);
/* What the user says: the state, and the status text (len 0: none). Counts as activity.
 * 0, ERR_ARG (state, or a text that is not wire_status_ok()). */
int presence_set(struct presence *p, enum presence_state state, const char *status,
                 size_t len, uint64_t now_ms);
/* A person did something at a front end, now or then. */
void presence_active(struct presence *p, uint64_t at_ms, uint64_t now_ms);
/* After how long without activity we are away; 0: never. */
void presence_away_after(struct presence *p, uint64_t ms, uint64_t now_ms);

struct presence_own {
    enum presence_state state; /* as contacts see it */
    bool automatic;            /* away by itself */
    const char *status;        /* NULL: none; until the next call that changes it */
};
void presence_own(const struct presence *p, struct presence_own *out);
/* For beacons; without meaning while invisible. */
uint8_t presence_byte(const struct presence *p);

/* ---- contacts' devices ---- */

struct presence_link {
    uint32_t device, contact;
    uint8_t conv[WIRE_ID]; /* the conversation of the two */
    bool live;             /* we want live typing with this contact */
};
/* The device's link is up (again, when another took over): PRESENCE goes out. 0,
 * ERR_LIMIT, ERR_NOMEM. */
int presence_up(struct presence *p, const struct presence_link *l, uint64_t now_ms);
void presence_down(struct presence *p, uint32_t device, uint64_t now_ms);
/* Reachable by link or beacons, or not any more. 0, ERR_LIMIT, ERR_NOMEM. */
int presence_reach(struct presence *p, uint32_t device, uint32_t contact, bool reachable,
                   uint64_t now_ms);
/* The presence byte of a recognised beacon. 0, ERR_LIMIT, ERR_NOMEM. */
int presence_beacon(struct presence *p, uint32_t device, uint32_t contact, uint8_t byte,
                    uint64_t now_ms);
/* PRESENCE, TYPING or LIVE of a device whose link is up. 0, ERR_FORMAT, ERR_NOMEM. */
int presence_recv(struct presence *p, uint32_t device, unsigned type,
                  const uint8_t *payload, size_t len, uint64_t now_ms);
/* Whether its link has told that it is invisible: its beacons of before do not count. */
bool presence_is_hiding(const struct presence *p, uint32_t device);
void presence_forget(struct presence *p, uint32_t contact);

/* ---- typing ---- */

/* Whether we want live typing with the contact. */
void presence_live(struct presence *p, uint32_t contact, bool on, uint64_t now_ms);
/* A key was pressed: text is the draft as it stands (len 0: emptied), or NULL when the
 * front end does not tell it and only says whether it is being written. 0, ERR_ARG (more
 * than WIRE_TEXT_MAX, or not wire_text_ok()), ERR_NOMEM. */
int presence_typing(struct presence *p, uint32_t contact, const uint8_t *text, size_t len,
                    bool typing, uint64_t now_ms);
/* A message of theirs has come: what they were typing is in it. */
void presence_heard(struct presence *p, uint32_t contact, uint64_t now_ms);

struct presence_view {
    bool online;
    enum presence_state state; /* ONLINE, AWAY or BUSY */
    const char *status;        /* NULL: none, or not known */
    bool live_ours, live_theirs, typing;
    const uint8_t *text; /* their draft; NULL: none */
    size_t text_len;
    uint64_t seen_ms; /* wall clock; 0: not seen in this run */
};
/* How a contact is; pointers live until the next call that changes it. */
void presence_view(const struct presence *p, uint32_t contact, struct presence_view *out);
/* The first member of the above. */
bool presence_online(const struct presence *p, uint32_t contact);

/* ---- verbs ---- */

void presence_tick(struct presence *p, uint64_t now_ms);
uint64_t presence_deadline(const struct presence *p);
struct presence_out { /* a frame, class CONTROL */
    uint32_t device;
    enum frame_type type;
    const uint8_t *payload; /* until the next call */
    size_t len;
};
bool presence_next_out(struct presence *p, struct presence_out *out);

/* A TYPING or LIVE that next_out gave found no room: LIVE is told again later. */
void presence_unsent(struct presence *p, const struct presence_out *out, uint64_t now_ms);

enum presence_event_kind {
    PRESENCE_EV_OWN = 1, /* our own state or text: beacons follow */
    PRESENCE_EV_STATE,   /* a contact's */
    PRESENCE_EV_TYPING,
    PRESENCE_EV_LIVE,   /* their draft, or either's wish */
    PRESENCE_EV_FETCH,  /* device: a link is wanted for its status text */
    PRESENCE_EV_HIDING, /* device: has just told that it is invisible */
};
struct presence_event {
    enum presence_event_kind kind;
    uint32_t contact, device;
};
bool presence_next_event(struct presence *p, struct presence_event *ev);

#endif
