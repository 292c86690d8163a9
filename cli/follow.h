/* Following a node's durable events: each once, in order, whatever happens meanwhile.
 *
 * A follower subscribes first and then asks for what it has not seen (events.since), so
 * nothing is missed between the two. Numbers of durable events grow by one: when one is
 * missing, since the follower was slow and the node dropped some, the rest is asked for.
 * When the node ends, the follower says so on standard error, waits until one runs again
 * (it starts none), and goes on where it was. */
#ifndef LINNET_CLI_FOLLOW_H
#define LINNET_CLI_FOLLOW_H

#include "cli.h"

enum { FOLLOW_RUN = 1000 /* events without a pause; then some may have been dropped */ };

struct follow {
    struct cli *cli;
    const char *const *topics; /* wanted; prefixes, NULL ends the list */
    uint64_t seen;             /* all durable events up to this number were given */
    uint64_t row;              /* the newest message when the node was met (last) */
    bool set_back;             /* then the home was an older one than before */
    bool behind;               /* events may be missing: ask */
    bool again;                /* the node was met again: told by follow_next */
    unsigned run;              /* events that came without a pause */
    json_t *page;              /* of events.since, not given yet from `at` on */
    size_t at;
};

/* Connects and subscribes. since NULL: from now on; else what happened after that number
 * comes first. topics is borrowed. 0 or an exit code, told. */
int follow_start(struct follow *f, struct cli *c, const char *const *topics,
                 const uint64_t *since);
/* The next event of the wanted topics, waited for without end. 0 and topic, *event (the
 * caller's), or an exit code, told. *event is NULL when the node was met again after it
 * had ended: what is not an event has to be asked for again. */
int follow_next(struct follow *f, char topic[CLIENT_TOPIC_MAX], json_t **event);
/* A request, repeated when the node ends before it has answered, or when its store (a
 * full disk) works again. params is taken. */
int follow_call(struct follow *f, const char *method, json_t *params, json_t **result);
void follow_end(struct follow *f);

#endif
