/* Accounts that pair in memory, for the tests of contacts: each with a database, and a
 * wire between two of them that can be cut, and ends that can crash. */
#ifndef LINNET_TESTS_CONTACT_MAKE_H
#define LINNET_TESTS_CONTACT_MAKE_H

#include "contact.h"
#include "store.h"

struct side {
    struct env env;
    uint64_t wall_us, seed;
    uint8_t root[KEYS_ROOT], sign[64];
    uint8_t cert_bytes[KEYS_CERT_MAX];
    size_t cert_len;
    struct cert cert;
    struct wire_device dev;
    struct store *store;
    struct contacts *c;
    struct txn txn;
    struct store_events events; /* of all commits */
    uint64_t now_ms;
    /* what it asked for since side_forget() */
    unsigned changed, gone, invites, paired, stored, asked, failed, closed;
    unsigned close_code, fail_code;
    uint32_t close_conn;
};

/* Deterministic from seed (not 0). Aborts where memory or the store fails. */
void side_init(struct side *s, uint64_t seed, const char *name);
/* Without a database: fast, and it cannot crash. */
void side_init_bare(struct side *s, uint64_t seed, const char *name);
void side_release(struct side *s);
/* Commits what the last call did, and drains its events. */
void side_commit(struct side *s);
/* The process ends without committing what is open, and starts again. */
void side_crash(struct side *s);
void side_forget(struct side *s);
/* Durable events of that kind so far. */
unsigned side_told(const struct side *s, enum event_what what);
const struct rec_contact *side_contact(const struct side *s, const struct side *other);
size_t side_adding_count(const struct side *s);

/* One pairing link. Frames of each direction wait in order. */
enum { WIRE_FRAMES_MAX = 8 };
struct wire_sim {
    struct side *a, *b; /* a dials */
    uint32_t conn;      /* its number at both ends */
    struct {
        uint8_t type;
        uint8_t bytes[1024];
        size_t len;
    } q[2][WIRE_FRAMES_MAX]; /* [0]: to b */
    size_t head[2], tail[2];
    bool down, b_was_first;
    int err[2]; /* of contacts_pair_recv at a, b */
};
/* Both are up; frames wait. fresh: another handshake hash for each number. */
void sim_up(struct wire_sim *w, struct side *a, struct side *b, uint32_t conn,
            uint32_t slot, uint32_t invite);
/* The same between strangers: a asks with the slot of contacts_ask(). from: where b sees
 * it; NULL: 10.0.0.1. */
void sim_up_stranger(struct wire_sim *w, struct side *a, struct side *b, uint32_t conn,
                     uint32_t slot, const struct addr *from);
/* Delivers the next frame in one direction. False when there is none. */
bool sim_step(struct wire_sim *w, bool to_b);
/* Delivers until nothing is left, the link is closed, or `steps` are done. Returns the
 * number of frames delivered. Directions take turns. */
unsigned sim_run(struct wire_sim *w, unsigned steps);
void sim_down(struct wire_sim *w);

/* Commits. */
void side_invite(struct side *s, uint64_t expires_s, char code[WIRE_CODE_MAX + 1],
                 uint32_t *id);
/* Returns the slot. as NULL: the announced name. */
uint32_t side_add(struct side *s, const char *code, const char *as);
/* Asks who has the certificate of other; returns the slot. */
uint32_t side_ask(struct side *s, const struct side *other, const char *as,
                  const char *line);
/* The first request that waits, or NULL. */
const struct rec_request *side_request(const struct side *s);
/* What contacts_invite_judge says now. */
unsigned side_judge(const struct side *s, uint32_t id, const struct side *who);
/* Pairs x, who adds under that name, with y by a code of their own; x's contact. */
const struct rec_contact *side_meet(struct side *x, struct side *y, const char *as);
/* Both hold one secret, a holds b's one device, and no code is left at a. */
bool sides_paired(const struct side *a, const struct side *b);

/* alice, who adds what bob invites with. */
enum { SIM_ALL = 100 };
struct pair {
    struct side a, b;
    char code[WIRE_CODE_MAX + 1];
    uint32_t invite, slot;
    struct wire_sim w;
};
void pair_init(struct pair *p);
void pair_release(struct pair *p);
/* Pairs the two over link number conn, to the end. */
void pair_run(struct pair *p, uint32_t conn);

#endif
