/* What presence.c (who is how) and presence_live.c (typing) share. */
#ifndef LINNET_PRESENCE_PRIV_H
#define LINNET_PRESENCE_PRIV_H

#include "base/bucket.h"
#include "base/deadline.h"
#include "base/map.h"
#include "presence.h"

enum presence_out_bit { OUT_PRESENCE = 1, OUT_TYPING = 2, OUT_LIVE = 4 };
enum presence_dirty { DIRTY_STATE = 1, DIRTY_TYPING = 2, DIRTY_LIVE = 4 };

struct presence_text {
    uint8_t *p; /* NULL: none */
    size_t len;
};

struct presence_device {
    uint32_t ref;
    struct presence_contact *contact;
    struct presence_device *next; /* of the same contact */
    uint8_t conv[WIRE_ID];        /* while linked */

    bool link, reach;
    bool pending; /* linked, and nothing was known of it before: until told_by_ms */
    uint64_t told_by_ms;
    bool hidden;
    enum presence_state state;
    struct presence_text status;
    uint64_t revision;
    bool has_status, has_revision;       /* has_status: there is one, known or not */
    uint64_t seen_ms;                    /* wall clock */
    uint64_t fetch_at_ms, fetch_next_ms; /* fetch_at: DEADLINE_NONE when not wanted */
    bool fetch, hiding;                  /* events that wait */

    bool live;               /* it wants live typing */
    bool told_on, told_text; /* what our last LIVE said */
    uint64_t live_n;
    struct presence_text text;
    bool typing;
    uint64_t typing_until_ms;
    struct bucket frames;

    unsigned out; /* enum presence_out_bit */
    bool in_outs;
    struct presence_device *next_out;
};

struct presence_contact {
    uint32_t id;
    struct presence_device *devices;
    struct deadline at; /* always in the heap */

    bool live; /* we want live typing */
    struct presence_text draft;
    uint64_t draft_ms; /* last change */
    bool typing_told;  /* our last TYPING */
    uint64_t key_ms, typing_ms;
    bool live_due; /* a LIVE may have to go */
    uint64_t live_next_ms, live_n;

    bool told_online; /* as the last event was about */
    enum presence_state told_state;
    bool told_typing;
    unsigned dirty, ready; /* enum presence_dirty; ready: may be told now */
    struct bucket events;
    bool in_events;
    struct presence_contact *next_event;
};

struct presence {
    const struct env *env;
    struct map contacts, devices;
    struct deadlines deadlines;

    enum presence_state state; /* what the user said */
    char status[WIRE_STATUS_MAX + 1];
    size_t status_len;
    uint64_t revision;
    bool automatic;
    uint64_t active_ms, away_after_ms;
    bool own_dirty;

    struct presence_device *outs_head, *outs_tail;
    struct presence_contact *events_head, *events_tail;
    uint8_t *buf; /* of one frame */
};

/* 0 or ERR_NOMEM; len 0 drops it. */
int presence_text_set(struct presence_text *t, const void *p, size_t len);
bool presence_text_is(const struct presence_text *t, const void *p, size_t len);
void presence_push_out(struct presence *p, struct presence_device *d, unsigned bits);
/* After anything changed of a contact: what is due, and when it is next. */
void presence_settle(struct presence *p, struct presence_contact *k, uint64_t now_ms);

/* ---- presence_live.c ---- */
/* A link has started or ended: nothing is known of what either is typing. */
void presence_live_reset(struct presence_device *d);
/* What is due of our draft; returns when it is to be looked at again. */
uint64_t presence_draft_due(struct presence *p, struct presence_contact *k,
                            uint64_t now_ms);
/* Our draft is gone, and so is that we are typing. */
void presence_draft_end(struct presence *p, struct presence_contact *k);
int presence_recv_typing(struct presence *p, struct presence_device *d,
                         const uint8_t *payload, size_t len, uint64_t now_ms);
int presence_recv_live(struct presence *p, struct presence_device *d,
                       const uint8_t *payload, size_t len, uint64_t now_ms);
void presence_put_typing(const struct presence_device *d, struct wr *w);
void presence_put_live(struct presence_device *d, struct wr *w);

#endif
