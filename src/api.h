/* The local API's transport (libzmq): the ROUTER that requests come in by, the XPUB that
 * events go out by, and the requests that wait for an answer. Methods are in
 * api_node.c, api_contact.c and api_talk.c (docs/API.md).
 *
 * A socket's descriptor tells a change once: after each wake, and after each send, the
 * sockets are asked for what they have until they have nothing. So api_turn() and
 * api_more() are called in every turn of the loop. */
#ifndef LINNET_API_H
#define LINNET_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api_json.h"
#include "node.h"

enum {
    API_WAITING_MAX = 4096, /* requests that wait for an answer; then reading pauses */
    API_BATCH = 256,        /* requests taken in one turn: they form one commit */
    /* queued for a client that does not read; api_unread.h has the bytes */
    API_ANSWERS_MAX = 10000,
    API_EVENTS_MAX = 32768,
    API_ROUTE_MAX = 255,
    API_LINGER_MS = 300, /* at the end, for answers that are on their way */
    API_TAG_NOBODY = 1,  /* of what the API asks of the node by itself */
};

struct api;
struct app;
struct api_req;

/* What a method does with the node's result. err is 0 or negative. */
typedef void api_result_fn(struct app *a, struct api_req *r, const struct node_event *ev);

/* A request that waits. Ended by api_end() or api_fail(), which free it. */
struct api_req {
    struct api *api;
    uint64_t tag; /* for node and store; stale ones find nothing */
    api_result_fn *result;
    uint32_t contact;              /* the method's */
    bool nearby;                   /* `add`: of somebody nearby, not of a code */
    void *work;                    /* the method's own */
    void (*work_free)(void *work); /* called when the request ends, NULL: there is none */
    uint8_t route_len;
    bool delim; /* a REQ's empty frame */
    uint16_t id_len;
    char bytes[]; /* route, id */
};

/* Binds both endpoints. 0, ERR_IO, ERR_NOMEM. */
int api_new(struct app *app, const char *api, const char *events, struct api **out,
            char *why, size_t why_len);
/* Answers on their way get API_LINGER_MS. Tolerates NULL. */
void api_free(struct api *api);
/* Descriptors whose becoming readable calls for a turn. */
void api_fds(const struct api *api, int fds[2]);

/* Takes in requests (as long as app_takes says so, so that whoever asks for much is not
 * ahead of all others by more than its queries under way) and subscriptions. */
void api_turn(struct api *api);
/* Whether there is more to take in. Also clears the descriptors, so it is asked in every
 * turn, whether or not requests are read. */
bool api_more(struct api *api);

/* The waiting request with this tag, or NULL. */
struct api_req *api_find(const struct api *api, uint64_t tag);
/* Answers: api_begin writes the envelope, the caller one value, api_end sends and frees.
 */
struct jout *api_begin(struct api_req *r);
void api_end(struct api_req *r);
/* An error with the exit code that the command line would end with. */
__attribute__((format(printf, 3, 4))) void api_fail(struct api_req *r, int code,
                                                    const char *fmt, ...);
/* Answers every request that waits. */
void api_fail_all(struct api *api, int code, const char *message);

/* Whether anybody has subscribed to the topic. */
bool api_wanted(const struct api *api, const char *topic);
/* Whether somebody's unread events take so much memory that long texts stay out. */
bool api_behind(const struct api *api);
/* Publishes: api_event gives the buffer for one JSON value, api_publish sends it. */
struct jout *api_event(struct api *api);
void api_publish(struct api *api, const char *topic);
/* Notes a subscription frame (for the tests): 1 or 0, then the prefix. True when it is a
 * new subscription. */
struct api_topics {
    uint16_t prefixes[8]; /* bit n: the first n letters of the topic */
};
bool api_topics_note(struct api_topics *t, const uint8_t *p, size_t len);
bool api_topics_wanted(const struct api_topics *t, const char *topic);

#endif
