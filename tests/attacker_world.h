/* The world of sim_attacker.c: who there is, which sessions they begin, and what must
 * hold of every link (the oracles; see there). */
#ifndef LINNET_TESTS_ATTACKER_WORLD_H
#define LINNET_TESTS_ATTACKER_WORLD_H

#include "link_world.h"

enum {
    A,
    B,
    C,
    M,
    PARTIES,
    ACTORS_MAX = 64,
    POOL_MAX = 512,
    OUTBOX_MAX = 48,
    NONCES_MAX = 4096,
    KEPT_MAX = 8,
    TRANSCRIPT_MAX = WIRE_RECORD1 + WIRE_RECORD3,
};

struct party {
    struct link_self self;
    struct keyring ring;
};

/* Which session is run. */
struct config {
    uint8_t dialler, listener;
    uint8_t intended; /* whom the dialler means; not always the listener */
    enum link_kind kind;
    enum carrier carrier;
    bool rehs;
    bool call; /* it begins with a call of the listener; intended: whose code it is for */
};

enum { CONFIGS = 22, CONFIGS_HONEST = 16 }; /* those come up */
extern const struct config configs[CONFIGS];

struct msg {
    uint8_t *p;
    size_t n;
};

/* One link and what is known of it from outside. Who takes a carrier becomes the dialler
 * when it is called. */
struct actor {
    struct link *l;
    uint32_t id;
    struct config cfg;
    uint8_t owner;
    uint8_t intended;    /* dialler: whom it means */
    enum link_kind kind; /* dialler: how */
    bool calls;          /* it has made a call, or will */
    bool called, has_call;
    uint8_t call[WIRE_RECORD1]; /* that it has made or taken; in no transcript */
    bool dialler, rehs_done, close_sent, up, taken;
    uint8_t in[TRANSCRIPT_MAX], out[TRANSCRIPT_MAX];
    size_t in_len, out_len;
    uint8_t hash[NOISE_HASH];
    struct actor *partner;
    uint32_t sent, got;
    struct msg outbox[OUTBOX_MAX];
    size_t n_outbox, next; /* next: of the outbox, honestly delivered */
};

struct nonce {
    uint8_t k[NOISE_KEY];
    uint64_t n;
};

struct sim {
    struct world_env env;
    uint64_t seed, now;
    struct party party[PARTIES];
    struct link_candidate kept[PARTIES][KEPT_MAX];     /* before the listeners restart */
    struct link_candidate recorded[PARTIES][KEPT_MAX]; /* when all has been recorded */
    uint64_t recorded_wall_us;
    uint32_t recorded_id;
    struct actor actors[ACTORS_MAX];
    size_t n_actors, n_past; /* the first n_past are of recorded sessions */
    struct msg pool[POOL_MAX];
    size_t n_pool;
    struct nonce nonces[NONCES_MAX];
    size_t n_nonces;
    uint32_t next_id;
    bool forgetful; /* listeners have restarted: no tags, no counters */
    const char *doing;
    size_t at_cfg, at_slot, at_what;
    size_t runs, ups, answers, calls, silences;
};

/* Says where, and ends the program, unless ok. */
void aw_check(const struct sim *s, bool ok, const char *what);

/* Makes them, with all that they know of each other. */
void aw_parties(struct sim *s);
/* Copies all candidates from the keyrings, or (back) into them. */
void aw_copy_rings(struct sim *s, struct link_candidate kept[PARTIES][KEPT_MAX],
                   bool back);
/* The listeners restart without tags and counters. */
void aw_forget(struct sim *s);
/* So much time has passed that everybody tries every record again. */
void aw_rested(struct sim *s);
/* What the two know of each other (either may be NULL). */
void aw_candidates(struct sim *s, const struct config *cfg, struct link_candidate *dial,
                   struct link_candidate *listen);

/* One end of a session. */
struct actor *aw_actor(struct sim *s, const struct config *cfg, bool dialler);
/* Both; who speaks first has spoken. Gives the dialler, behind which the listener
 * stands. */
struct actor *aw_begin(struct sim *s, const struct config *cfg);
void aw_release(struct actor *a);
/* Everything the link has to say goes into its outbox, a record or a frame each. */
void aw_speak(struct sim *s, struct actor *a);
void aw_hear(struct sim *s, struct actor *a, const uint8_t *p, size_t n);
void aw_events(struct sim *s, struct actor *a);

#endif
