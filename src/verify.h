/* The live short code: two people who are linked make sure that nobody is between them
 * (docs/PROTOCOL.md, "Live code").
 *
 *   IDLE --- verify_begin() ---> WAITING (our user asked; the other was told: READY)
 *   WAITING, and the other is ready, too:
 *     dialler   COMMIT hash of nA  → COMMITTED --- NONCE nB comes: OPEN nA → DONE
 *     listener  COMMIT comes: NONCE nB → REVEALED --- OPEN nA comes, fits  → DONE
 *   the link ends, STOP comes, VERIFY_MS pass, a frame out of place --> IDLE, failed
 *
 * Who is committed cannot choose its nonce by the other's, so who sits between the two
 * has one try in ten million for each time that both users ask for a code. There is one
 * exchange for a link at a time, and each needs both users anew. */
#ifndef LINNET_VERIFY_H
#define LINNET_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "wire.h"

enum {
    VERIFY_MS = 120000,     /* for both users and the exchange */
    VERIFY_TELL_MS = 30000, /* between two times that our user is told of the other's */
    VERIFY_CODE_STR = 9,    /* "123 4567" */
};

enum verify_state {
    VERIFY_IDLE,
    VERIFY_WAITING,
    VERIFY_COMMITTED,
    VERIFY_REVEALED,
};

/* Of one link; zeroed at its start, wiped at its end. */
struct verify {
    enum verify_state state;
    bool dialler;
    bool ready; /* the other's user has asked for a code */
    bool told;  /* our user was told of that at told_ms */
    uint64_t told_ms, until_ms;
    uint8_t own[32], commit[32];
};

/* Both ends of the link: who dialled stands first. */
struct verify_link {
    const uint8_t *hash; /* of its handshake, 64 bytes */
    const uint8_t *root_dialler, *root_listener;
};

/* What a call wants: at most two frames to send, in order, and what came of it. */
struct verify_out {
    struct wire_code_frame frames[2];
    size_t n;
    bool done;   /* code is there */
    bool failed; /* the exchange is over, without a code */
    bool asks;   /* our user is to be told that the other's wants to compare */
    char code[VERIFY_CODE_STR];
};

/* Our user asks. 0, ERR_STATE (is asking already). */
int verify_begin(struct verify *v, const struct env *env, bool dialler, uint64_t now_ms,
                 struct verify_out *out);
/* A CODE frame. 0, ERR_FORMAT, ERR_AUTH: the other side broke the rules; the exchange is
 * over then, too. */
int verify_recv(struct verify *v, const struct verify_link *link, const uint8_t *payload,
                size_t len, uint64_t now_ms, struct verify_out *out);
/* Our user does not wait any more. */
void verify_cancel(struct verify *v, struct verify_out *out);
void verify_tick(struct verify *v, uint64_t now_ms, struct verify_out *out);
uint64_t verify_deadline(const struct verify *v);
void verify_wipe(struct verify *v);

#endif
