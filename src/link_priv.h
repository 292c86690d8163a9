/* Inside of the link, shared by link.c (frames, classes, timers, events) and
 * link_handshake.c (records, the new handshake in place). Nobody else includes it but
 * tests that look at keys and nonces. */
#ifndef LINNET_LINK_PRIV_H
#define LINNET_LINK_PRIV_H

#include "link.h"

#include "base/buf.h"
#include "crypto/noise.h"
#include "crypto/transport.h"

enum {
    LINK_MSG1 = WIRE_RECORD1 - KEYS_TAG,
    LINK_RECORD_MAX = WIRE_RECORD2 > WIRE_RECORD3 ? WIRE_RECORD2 : WIRE_RECORD3,
    LINK_REHS_MSG = NOISE_KEY + NOISE_TAG, /* both KKpsk0 messages, empty payloads */
};

enum link_state {
    LINK_WAIT1,   /* listener: record 1 is not complete */
    LINK_SILENT,  /* listener: nobody we know; swallows until its deadline */
    LINK_HS2,     /* dialler: record 1 is out */
    LINK_HS3,     /* listener, with a certificate to come: record 2 is out */
    LINK_CONFIRM, /* listener: keys are there, no transport frame yet */
    LINK_UP,
    LINK_CLOSING, /* the CLOSE frame is to go out */
    LINK_ENDED,   /* LINK_EV_CLOSED is to be taken */
    LINK_OVER,    /* it has been */
};

/* What exists only for a recognised other side. */
struct link_session {
    enum link_kind kind;
    uint32_t ref;
    uint8_t psk[32], k_mask2[32]; /* k_mask2: of record 2's ephemeral */
    uint8_t tag[KEYS_TAG];
    uint8_t remote_static[32], remote_root[KEYS_ROOT];
    uint8_t remote_cert_hash[KEYS_CERT_HASH]; /* LINK_STRANGER, dialler */
    struct noise_handshake hs;
    struct transport t;
    uint8_t hash[NOISE_HASH]; /* of the link's first handshake */

    /* The new handshake in place. */
    bool rehs_begun; /* dialler: message 1 is queued or out */
    bool next_ready; /* the keys in next are there */
    bool tx_switched, rx_switched;
    bool switch_due; /* our SWITCH is to be sent */
    uint8_t rehs_msg[LINK_REHS_MSG];
    size_t rehs_len; /* > 0: to be sent in a REHS frame */
    struct transport next;
    uint8_t key_hash[NOISE_HASH]; /* of the handshake the keys in t come from */
    uint8_t next_hash[NOISE_HASH];

    struct cert cert; /* all kinds but LINK_CONTACT */
    uint8_t cert_bytes[KEYS_CERT_MAX];
    size_t cert_len;

    uint8_t rec[LINK_RECORD_MAX]; /* record 2 or 3 as it comes in */
    size_t rec_len;
    uint8_t out[LINK_RECORD_MAX]; /* a record on its way out */
    size_t out_len;

    struct buf in;               /* a transport piece as it comes in */
    struct buf rx;               /* opened frames: (length 4 ‖ frames) … */
    size_t rx_off;               /* taken of the first */
    struct buf tx[LINK_CLASSES]; /* encoded frames */
    bool keepalive_due;
    uint64_t counter; /* of the COUNTER event */
    uint64_t rx_ms, tx_ms, rehs_ms, rehs_wait_ms;
};

struct link {
    const struct link_self *self;
    struct keyring *ring; /* listener */
    struct link_session *s;
    enum link_state state;
    enum carrier carrier;
    bool dialler;
    bool ev_counter, ev_up; /* events to be taken */
    bool close_sent;
    bool skip_strangers;
    bool cut, by_peer;
    unsigned code;
    uint64_t deadline_ms; /* of the handshake, the silence or the closing */
    size_t in_flight;
    size_t rec1_len;
    uint8_t rec1[WIRE_RECORD1];
    uint32_t only_ref; /* after a call: the invite that is answered; 0: everybody */
    bool called;       /* it begins with a call, which either side keeps */
    size_t call_len;   /* > 0: the call is to be sent */
    uint8_t call[WIRE_RECORD1];
    struct addr from; /* listener; family 0: not told */
};

/* ---- keyring.c ---- */
/* The candidate whose key made the tag of record 1; msg is then its clear message 1.
 * NULL: nobody, or this source has tried too much. */
struct link_candidate *keyring_match(struct keyring *k, const struct addr *from,
                                     const uint8_t rec1[WIRE_RECORD1],
                                     uint8_t msg[LINK_MSG1], uint64_t now_ms);
/* The same when only the holder of that invite counts, whom we have called; this is not
 * counted. */
struct link_candidate *keyring_match_invite(const struct keyring *k, uint32_t ref,
                                            const uint8_t rec1[WIRE_RECORD1],
                                            uint8_t msg[LINK_MSG1]);
/* Remembers a tag. 0 or ERR_NOMEM. */
int keyring_tag(struct link_candidate *c, const uint8_t tag[KEYS_TAG]);

/* Starts the dialler's side and puts record 1 into s->out. */
int link_hs_dial(struct link *l, const struct link_candidate *as, uint64_t counter);
/* The listener's record 1 is complete: finds the candidate, makes the session, checks,
 * puts record 2 into s->out. ERR_NOTFOUND (no match), ERR_STALE, ERR_AUTH, ERR_FORMAT,
 * ERR_NOMEM; on failure there is no session. */
int link_hs_record1(struct link *l, uint64_t now_ms);
/* Makes the call. 0, ERR_NOTFOUND. */
int link_hs_call(struct link *l);
/* s->rec is complete. Record 3, when one follows, is in s->out. On 0 the transport keys
 * are there. */
int link_hs_record2(struct link *l);
int link_hs_record3(struct link *l);
void link_session_free(struct link_session *s);
/* Wipes every key; what was received stays. */
void link_session_wipe(struct link_session *s);

/* The dialler begins a new handshake inside the link. */
int link_rehs_begin(struct link *l);
/* A REHS frame has come. */
int link_rehs_recv(struct link *l, const uint8_t *msg, size_t len);
/* The other side's SWITCH has come, or ours has been sealed: the direction's new key
 * takes over. True when both have, and the new handshake is complete. */
bool link_rehs_switch_rx(struct link_session *s);
bool link_rehs_switch_tx(struct link_session *s);

#endif
