/* What the files of meet share:
 *
 *   meet.c        life, ourselves, who is known, time
 *   meet_req.c    requests and their ends
 *   meet_pub.c    own whereabouts
 *   meet_find.c   look-ups
 *   meet_knock.c  knocks, and own knock slots */
#ifndef LINNET_MEET_PRIV_H
#define LINNET_MEET_PRIV_H

#include "base/bucket.h"
#include "base/deadline.h"
#include "base/map.h"
#include "meet.h"

/* Timers stay in their heap, so that moving one needs no memory. */
#define MEET_NEVER (DEADLINE_NONE - 1)

enum {
    MEET_EPOCHS = 3, /* the present one and its neighbours */
    MEET_PLACES_MAX = 2 * MEET_EPOCHS,
    MEET_REQS_MAX = MEET_PUBS_MAX + MEET_FINDS_MAX + MEET_EPOCHS * MEET_KNOCKS_MAX +
                    BLIND_KNOCK_SLOTS + MEET_POLL_INVITES,
};

/* Where whereabouts stand. */
enum place_kind {
    PLACE_MAIN,   /* under the presence secret */
    PLACE_PAIR,   /* for one contact */
    PLACE_INVITE, /* under an invite's secret */
    PLACE_KINDS,
};
struct place {
    enum place_kind kind;
    uint64_t epoch;
    bool also; /* looked at even when another was found: this one may be newer */
};

/* Own whereabouts of one epoch at one place. What is new there is looked at once: real
 * nodes say that they have stored what they have not. */
struct print {
    bool set, stored;
    bool looks;          /* what is due is that look … */
    bool mends;          /* … or one half an hour later, which puts back what is gone */
    bool confirmed;      /* it was seen there, or looked for in vain too often */
    uint64_t epoch, seq; /* seq: of the last put */
    uint64_t at_ms;      /* when it is to be put, or looked at */
    unsigned fails, missed;
    unsigned passed; /* how often another value stood there, whose seq was passed */
};
struct pub {
    struct deadline timer;
    struct party *party; /* NULL: under our own presence secret */
    uint64_t offset;     /* of the secret */
    struct print v[2];   /* by the epoch's last bit */
    uint64_t put_ms;     /* when the last put was handed out; 0: never */
    uint32_t req;        /* 0: none under way */
    bool on;
};

struct find {
    struct deadline timer;
    struct place places[MEET_PLACES_MAX];
    size_t n, at;   /* n 0: not under way */
    unsigned tries; /* ended without a link */
    unsigned fails; /* could not be asked */
    uint64_t best;  /* highest seq found in this one */
    uint32_t req;   /* 0: none under way */
    bool unasked;   /* some place could not be asked */
    bool found;     /* since we have arrived here */
    bool again;     /* its secret has changed meanwhile: once more */
};

struct knocking {
    struct deadline timer;
    bool on;
    uint8_t p[32]; /* whose slots: the contact's newest p that we know */
    unsigned done, slot, retries;
    bool wide;      /* its clock is not ours: in all epochs */
    uint64_t floor; /* of seq, which is in milliseconds: many may write one slot */
};

struct newest {
    uint64_t epoch, seq;
};

struct party {
    enum meet_kind kind;
    uint32_t ref;
    size_t index; /* in meet.v */
    uint8_t device[WIRE_ID];
    uint8_t secret[32]; /* of the pair, the invite or the code */
    uint64_t offset;    /* of secret */
    bool has_presence, acked;
    uint8_t p[32], a[32];
    uint64_t p_offset;
    bool want, reached;
    bool told;                          /* something of it … */
    enum meet_event_type last;          /* … this the last time */
    struct newest seen[PLACE_KINDS][2]; /* by the epoch's last bit */
    uint64_t heard_ms;                  /* its newest knock, by its clock */
    uint64_t knocked_ms;                /* CONTACT: only what is newer counts */
    struct newest slot;                 /* INVITE: its knock slot */
    uint32_t slot_req;
    struct pub pub;        /* CONTACT (while it has not acknowledged), INVITE */
    struct find find;      /* CONTACT, ADDING */
    struct knocking knock; /* the same */
};

enum req_kind { REQ_PUB = 1, REQ_LOOK, REQ_FIND, REQ_KNOCK, REQ_POLL };
struct req {
    struct meet_out out; /* id 0: free */
    enum req_kind kind;
    bool sent;
    bool there;          /* LOOK: it is */
    struct party *party; /* NULL: our own PUB and LOOK, POLL of an own slot */
    enum place_kind place;
    uint64_t epoch;
    unsigned slot;
    uint8_t seal[BLIND_SEAL_KEY];
    struct deadline timer; /* given up */
};

struct meet {
    const struct env *env;
    bool online, hidden, has_self, has_where;
    uint8_t device[WIRE_ID], p[32], seed[32];
    uint64_t offset;   /* of p */
    uint64_t clock_ms; /* our clock less the caller's, at first 0 */
    /* The last seq that was used, and the last time of a knock; in seconds what of both
     * may be used, and what is to be kept before more may (0: nothing). */
    uint64_t seq_last, time_last_ms, seq_kept, seq_wanted;
    struct wire_where where;

    struct party **v;
    size_t n, cap, n_contacts, n_reached, n_invites;
    struct map by_ref;

    struct pub pub; /* own */
    struct deadlines pubs, finds, knocks, asked;
    size_t n_pubs, n_finds, n_knocks, n_invite_polls; /* requests under way */
    struct bucket pair_rate, invite_rate, get_rate, knock_rate, more_rate;
    uint64_t arrived_ms, arrive_ms; /* last, and to be done again */
    uint64_t round_ms; /* when everybody is looked up; MEET_NEVER: it was done */

    uint64_t poll_ms, fast_until_ms;
    struct {
        struct newest newest;
        uint8_t pub[BLIND_PUB]; /* of newest.epoch; none while that is 0 */
        uint32_t req;
    } slots[BLIND_KNOCK_SLOTS];
    size_t invite_turn;

    struct req reqs[MEET_REQS_MAX];
    uint32_t last_id;
    struct meet_stats stats;
    struct meet_event events[MEET_EVENTS_MAX];
    size_t events_head, events_len;
};

/* ---- meet.c ---- */
uint64_t meet_wall_s(const struct meet *m);
void meet_timer(struct deadlines *h, struct deadline *d, uint64_t at_ms);
/* min_ms doubled n times, at most max_ms, and up to a quarter more. */
uint64_t meet_backoff(const struct meet *m, uint64_t min_ms, unsigned n, uint64_t max_ms);
void meet_emit(struct meet *m, enum meet_event_type type, struct party *p,
               const struct wire_where *where);
/* The present epoch and those neighbours that somebody whose clock differs may be in, and
 * those of wide (MEET_NEXT, MEET_BEFORE). also[i]: the other may have gone on to it.
 * Returns how many. */
enum { MEET_NEXT = 1, MEET_BEFORE = 2, MEET_BOTH = 3 };
size_t meet_epochs(uint64_t offset, uint64_t wall_s, unsigned wide,
                   uint64_t epoch[MEET_EPOCHS], bool also[MEET_EPOCHS]);

/* ---- meet_req.c ---- */
/* A free request; limits of each kind see to it that there is one. */
struct req *meet_req(struct meet *m, enum req_kind kind, enum meet_out_kind out,
                     struct party *p, uint64_t now_ms);
struct req *meet_req_get(struct meet *m, uint32_t id);
/* Forgets it, with what counts it. */
void meet_req_drop(struct meet *m, struct req *r);
/* Seals where for the place of k under r->seal, and signs. 0, ERR_LIMIT, ERR_AUTH. */
int meet_req_put(struct meet *m, struct req *r, const struct blind_key *k, uint64_t seq,
                 const struct wire_where *where);

/* What has become of it. */
void meet_req_end(struct meet *m, struct req *r, enum meet_end end, uint64_t newest,
                  uint64_t now_ms);

/* The next seq of whereabouts, higher than above; the next time of a knock. False: it is
 * to be kept first, and own timers are set again when it is. */
bool meet_seq_ready(struct meet *m, uint64_t above);
uint64_t meet_seq_next(struct meet *m, uint64_t above);
bool meet_time_next(struct meet *m, uint64_t *time_ms);

/* ---- meet_pub.c ---- */
/* Sets when to look at it next. */
void meet_pub_plan(struct meet *m, struct pub *u, uint64_t now_ms);
/* Begins with a secret of that offset, another one than before or not; ends. */
void meet_pub_start(struct meet *m, struct pub *u, uint64_t offset, bool other,
                    uint64_t now_ms);
void meet_pub_stop(struct meet *m, struct pub *u);
void meet_pub_changed(struct meet *m, struct pub *u, uint64_t now_ms);
/* What could not be put is put now. */
void meet_pub_retry(struct meet *m, struct pub *u, uint64_t now_ms);
void meet_pubs_tick(struct meet *m, uint64_t now_ms);
void meet_pub_done(struct meet *m, struct req *r, enum meet_end end, uint64_t newest,
                   uint64_t now_ms);
/* A value at a place of ours. */
int meet_look_value(struct req *r, uint64_t seq);
void meet_look_done(struct meet *m, struct req *r, enum meet_end end, uint64_t now_ms);

/* ---- meet_find.c ---- */
/* Whether it can be looked up at all. */
bool meet_findable(const struct party *p);
/* Looks it up not later than at_ms. */
void meet_find_at(struct meet *m, struct party *p, uint64_t at_ms);
/* Starts from the beginning, with small waits. */
void meet_find_fresh(struct meet *m, struct party *p, uint64_t at_ms);
void meet_find_stop(struct meet *m, struct party *p);
void meet_finds_tick(struct meet *m, uint64_t now_ms);
int meet_find_value(struct meet *m, struct req *r, uint64_t seq,
                    const struct wire_where *where, uint64_t now_ms);
void meet_find_done(struct meet *m, struct req *r, enum meet_end end, uint64_t now_ms);

/* ---- meet_knock.c ---- */
/* It was found; p NULL: it cannot be knocked at. */
void meet_knock_arm(struct meet *m, struct party *p, const uint8_t *secret, bool at_once,
                    uint64_t now_ms);
/* It was found where by our clock it is not. */
void meet_knock_wide(struct party *p);
void meet_knock_stop(struct meet *m, struct party *p);
void meet_knocks_tick(struct meet *m, uint64_t now_ms);
void meet_knock_done(struct meet *m, struct req *r, enum meet_end end, uint64_t newest,
                     uint64_t now_ms);
/* Whether anything is to be polled. */
bool meet_polls(const struct meet *m);
/* Polls fast for a while, from now on. */
void meet_poll_fast(struct meet *m, uint64_t now_ms);
void meet_poll_tick(struct meet *m, uint64_t now_ms);
int meet_poll_value(struct meet *m, struct req *r, uint64_t seq, const uint8_t *value,
                    uint64_t now_ms);
/* Our presence secret is another one. */
void meet_slots_reset(struct meet *m);

#endif
