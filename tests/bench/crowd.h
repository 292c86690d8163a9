/* A network of DHT nodes played by one socket, to measure a server that answers them.
 *
 * CROWD_NODES nodes answer every query, so that servers find and keep them. CROWD_ASKERS
 * others, each with an address and an id of its own and two in a /24, ask for random
 * targets in turn; what they are asked they answer too. Asking is a closed loop: never
 * more than CROWD_WINDOW questions are unanswered, so that nothing is dropped for want of
 * a buffer. All addresses are of CROWD_NET, which the caller has routed to lo. */
#ifndef LINNET_TESTS_CROWD_H
#define LINNET_TESTS_CROWD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "dht/krpc.h"

enum {
    CROWD_NODES = 200,
    CROWD_ASKERS = 65536,
    CROWD_WINDOW = 128,
    CROWD_NAMED = 8, /* nodes in a full answer */
    CROWD_PORT = 6882,
    CROWD_NET = 45, /* the first byte of all addresses: public ones, as on the internet */
};

struct crowd_result {
    size_t
        answers;  /* kind, id and nodes are right, and the transaction id is asked for */
    size_t wrong; /* what else came to an asker from the server, but for queries */
    size_t lost;  /* never answered */
    size_t named; /* nodes in all answers together */
    double seconds;
};

struct crowd;

struct crowd *crowd_new(void);
void crowd_free(struct crowd *c);
/* Node i, below CROWD_NODES. */
const struct krpc_node *crowd_node(const struct crowd *c, size_t i);
/* Each node asks the server once, who may then take it into its table. */
void crowd_introduce(struct crowd *c, const struct addr *server);
/* Answers what comes for so long. */
void crowd_play(struct crowd *c, double seconds);
/* Asks the server for that long. */
void crowd_ask(struct crowd *c, const struct addr *server, double seconds,
               struct crowd_result *out);
/* How many of the nodes the server names when others of them ask for them. */
size_t crowd_known(struct crowd *c, const struct addr *server);

/* An answer such as a server gives, with CROWD_NAMED nodes; the transaction id, of
 * CROWD_TID bytes, is at *tid_at. Its length. */
enum { CROWD_TID = 4 };
size_t crowd_sample(const struct crowd *c, uint8_t out[KRPC_SEND_MAX], size_t *tid_at);
/* Where the transaction id stands in a question of len bytes. */
size_t crowd_question_tid_at(size_t len);

#endif
