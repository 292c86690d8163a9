/* The client of the local API (docs/API.md): one DEALER for requests, one SUB for events.
 *
 * client_open finds the node of a home and starts one in the background when none runs.
 * Two that start one at once do so one after the other (HOME/start.lock): the second
 * finds the node of the first. What the node says goes to HOME/node.log, from which its
 * last sentence is taken when it does not come up. A node that was started stays. */
#ifndef LINNET_CLI_CLIENT_H
#define LINNET_CLI_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct client;
struct home;

enum {
    CLIENT_WHY_MAX = 1024,
    CLIENT_START_MS = 30000,  /* for a node to come up */
    CLIENT_ANSWER_MS = 15000, /* for an answer */
    CLIENT_LOG_MAX = 1 << 20, /* bytes of node.log, then it starts anew */
    CLIENT_TOPIC_MAX = 32,
    CLIENT_PASSPHRASE_MAX = 1024,
};

struct client_fail {
    int code; /* an exit code */
    char message[CLIENT_WHY_MAX];
};

struct client_options {
    const char *home; /* NULL: the default */
    bool start;       /* when no node runs */
    /* Writes the passphrase of a protected key (at most CLIENT_PASSPHRASE_MAX bytes and a
     * NUL) to out; false: there is none, and why it is missing is told. NULL: none. */
    bool (*passphrase)(void *ctx, char *out, size_t size);
    void *ctx;
};

/* 0 or an exit code, with *fail. *out is freed by client_close. */
int client_open(const struct client_options *o, struct client **out,
                struct client_fail *fail);
void client_close(struct client *c);
/* Whether a node answers in that home (paths from home_init). */
bool client_running(const struct home *h);

/* One request. params is taken, NULL: none. 0 and *result (the caller's), or an exit code
 * with *fail: the error of the API, or CLI_NO_NODE when the node ended or is silent. */
int client_call(struct client *c, const char *method, json_t *params, uint64_t timeout_ms,
                json_t **result, struct client_fail *fail);
/* From now on a call ends with CLI_INTERRUPTED (fail: no message) when the descriptor, of
 * ^C, can be read and no answer comes shortly after. -1: none. */
void client_watch(struct client *c, int fd);

/* What the node says to a new subscriber. */
struct client_welcome {
    uint64_t newest; /* number of the newest durable event */
    uint64_t row;    /* of the newest message */
};
/* Subscribes to the topics (prefixes; NULL ends the list) and waits until the node has
 * taken note, so that what happens from now on is not missed. 0 or an exit code, with
 * *fail. */
int client_follow(struct client *c, const char *const *topics, struct client_welcome *out,
                  struct client_fail *fail);
/* The same after the node has ended: waits without end until one runs again. */
int client_again(struct client *c, const char *const *topics, struct client_welcome *out,
                 struct client_fail *fail);
/* The next event, after at most timeout_ms (UINT64_MAX: for ever). 1 and topic, *event
 * (the caller's); 0: none came in time; -1: the node has ended. */
int client_event(struct client *c, uint64_t timeout_ms, char topic[CLIENT_TOPIC_MAX],
                 json_t **event);

#endif
