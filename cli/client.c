#include "client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#include "base/env.h"
#include "base/err.h"
#include "cli.h"
#include "client_priv.h"
#include "home.h"

enum {
    RECONNECT_MS = 20,
    AGAIN_MS = 20,       /* between two looks whether a node runs, at first … */
    AGAIN_MAX_MS = 500,  /* … and at most */
    EVENTS_QUEUE = 1000, /* then the node's queue grows: docs/API.md */
    GONE_MS = 5000,      /* for a node that is ending */
    MONITOR_NAME_MAX = 40,
    WELCOME_MS = 3000,
    CALL_FRAME_MAX = 256 * 1024, /* docs/API.md */
    LAST_MS = 500,               /* after ^C, for an answer that is on its way */
};

enum { SCHEME = sizeof "ipc://" - 1 };

struct client {
    struct home home;
    void *ctx, *api, *api_mon, *events, *events_mon;
    uint64_t next_id;
    unsigned sockets; /* made so far: their monitors have different names */
    int watched;      /* a descriptor that ends calls; -1: none */
};

static int failed(struct client_fail *f, int code, const char *message)
{
    f->code = code;
    (void)snprintf(f->message, sizeof f->message, "%s", message);
    return code;
}

bool client_running(const struct home *h)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    const char *path = h->api + SCHEME;
    if (strlen(path) >= sizeof a.sun_path) {
        return false;
    }
    memcpy(a.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    return ok;
}

/* A connected socket, and one that says when the other end is gone. */
static bool open_socket(struct client *c, int type, const char *endpoint, void **out,
                        void **mon)
{
    int linger = 0, reconnect = RECONNECT_MS;
    int queue = type == ZMQ_SUB ? EVENTS_QUEUE : 0;
    char monitor[MONITOR_NAME_MAX];
    (void)snprintf(monitor, sizeof monitor, "inproc://monitor-%u", c->sockets++);
    *out = zmq_socket(c->ctx, type);
    *mon = zmq_socket(c->ctx, ZMQ_PAIR);
    return *out != NULL && *mon != NULL &&
           zmq_setsockopt(*out, ZMQ_LINGER, &linger, sizeof linger) == 0 &&
           zmq_setsockopt(*mon, ZMQ_LINGER, &linger, sizeof linger) == 0 &&
           zmq_setsockopt(*out, ZMQ_RECONNECT_IVL, &reconnect, sizeof reconnect) == 0 &&
           zmq_setsockopt(*out, ZMQ_RCVHWM, &queue, sizeof queue) == 0 &&
           zmq_socket_monitor(*out, monitor, ZMQ_EVENT_DISCONNECTED) == 0 &&
           zmq_connect(*mon, monitor) == 0 && zmq_connect(*out, endpoint) == 0;
}

/* Ends the monitor first: libzmq's thread would wait for ever to tell something to one
 * that nobody reads any more. */
static void close_socket(void **s, void **mon)
{
    if (*s != NULL) {
        (void)zmq_socket_monitor(*s, NULL, 0);
        (void)zmq_close(*s);
    }
    if (*mon != NULL) {
        (void)zmq_close(*mon);
    }
    *s = *mon = NULL;
}

static void close_all(struct client *c)
{
    close_socket(&c->api, &c->api_mon);
    close_socket(&c->events, &c->events_mon);
}

void client_close(struct client *c)
{
    if (c == NULL) {
        return;
    }
    close_all(c);
    if (c->ctx != NULL) {
        (void)zmq_ctx_term(c->ctx);
    }
    home_release(&c->home);
    free(c);
}

static int find_node(struct client *c, const struct client_options *o,
                     struct client_fail *fail)
{
    char why[HOME_WHY_MAX];
    int rc = home_init(&c->home, o->home, o->start, why);
    if (rc != 0 && (rc != ERR_NOTFOUND || o->start)) {
        return failed(fail, CLI_ERROR, why);
    }
    if (rc == 0 && client_running(&c->home)) {
        return 0;
    }
    if (!o->start) {
        (void)snprintf(why, sizeof why,
                       "No node runs in %.300s. Start it with `linnet daemon`, or leave "
                       "out --no-start.",
                       c->home.dir);
        return failed(fail, CLI_NO_NODE, why);
    }
    return client_start(&c->home, o, fail);
}

int client_open(const struct client_options *o, struct client **out,
                struct client_fail *fail)
{
    struct client *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return failed(fail, CLI_ERROR, "Memory is exhausted.");
    }
    c->home.lock_fd = c->watched = -1;
    int rc = find_node(c, o, fail);
    if (rc == 0) {
        c->ctx = zmq_ctx_new();
        if (c->ctx == NULL ||
            !open_socket(c, ZMQ_DEALER, c->home.api, &c->api, &c->api_mon)) {
            rc = failed(fail, CLI_ERROR, "The socket of the local API cannot be opened.");
        }
    }
    if (rc != 0) {
        client_close(c);
        return rc;
    }
    *out = c;
    return 0;
}

/* What is left until a deadline, as zmq_poll wants it. */
static long remaining(uint64_t deadline)
{
    uint64_t now = env_mono_ms();
    if (deadline == UINT64_MAX) {
        return -1;
    }
    return deadline > now ? (long)(deadline - now) : 0;
}

/* 1: there is something to read; 0: time is up; -1: the other end is gone, and nothing
 * that it said before remains. */
static int wait_for(void *s, void *mon, uint64_t deadline)
{
    zmq_pollitem_t items[2] = {{.socket = s, .events = ZMQ_POLLIN},
                               {.socket = mon, .events = ZMQ_POLLIN}};
    for (;;) {
        int n = zmq_poll(items, 2, remaining(deadline));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n;
        }
        return (items[0].revents & ZMQ_POLLIN) != 0 ? 1 : -1;
    }
}

/* The same for an answer. Who watches ^C waits for it a little longer when it comes. */
static int wait_answer(struct client *c, uint64_t deadline, bool *interrupted)
{
    zmq_pollitem_t items[3] = {{.socket = c->api, .events = ZMQ_POLLIN},
                               {.socket = c->api_mon, .events = ZMQ_POLLIN},
                               {.fd = c->watched, .events = ZMQ_POLLIN}};
    int n = 0;
    *interrupted = false;
    if (c->watched >= 0) {
        while ((n = zmq_poll(items, 3, remaining(deadline))) < 0 && errno == EINTR) {
        }
        *interrupted = n > 0 && items[0].revents == 0 && items[2].revents != 0;
    }
    uint64_t last = env_mono_ms() + LAST_MS;
    return wait_for(c->api, c->api_mon,
                    *interrupted && last < deadline ? last : deadline);
}

/* The next frame as JSON; NULL when it is none. *more tells whether frames follow. */
static json_t *read_json(void *s, bool *more)
{
    zmq_msg_t m;
    json_t *j = NULL;
    (void)zmq_msg_init(&m);
    if (zmq_msg_recv(&m, s, ZMQ_DONTWAIT) >= 0) {
        j = json_loadb(zmq_msg_data(&m), zmq_msg_size(&m), JSON_ALLOW_NUL, NULL);
        *more = zmq_msg_more(&m) != 0;
    } else {
        *more = false;
    }
    (void)zmq_msg_close(&m);
    return j;
}

static int take_error(const json_t *error, struct client_fail *fail)
{
    uint64_t code = cli_int(error, "code");
    char *message = cli_shown(cli_str(error, "message"));
    (void)failed(fail, code > 0 && code < CLI_INTERRUPTED ? (int)code : CLI_ERROR,
                 message[0] != '\0' ? message : "The node gave no reason.");
    free(message);
    return fail->code;
}

static int send_request(struct client *c, const char *method, json_t *params, uint64_t id,
                        struct client_fail *fail)
{
    json_t *request = json_pack("{s:I,s:s,s:o}", "id", (json_int_t)id, "method", method,
                                "params", params != NULL ? params : json_object());
    char *text = request != NULL ? json_dumps(request, JSON_COMPACT) : NULL;
    size_t len = text != NULL ? strlen(text) : 0;
    int rc = 0;
    if (text == NULL) {
        rc = failed(fail, CLI_ERROR, "Memory is exhausted.");
    } else if (len > CALL_FRAME_MAX) {
        rc = failed(fail, CLI_USAGE, "That is more than one request can carry.");
    } else if (zmq_send(c->api, text, len, ZMQ_DONTWAIT) < 0) {
        rc = failed(fail, CLI_NO_NODE, "The node does not take requests.");
    }
    if (text != NULL) {
        memset(text, 0, len); /* it may hold a passphrase */
    }
    free(text);
    json_decref(request);
    return rc;
}

int client_call(struct client *c, const char *method, json_t *params, uint64_t timeout_ms,
                json_t **result, struct client_fail *fail)
{
    uint64_t id = ++c->next_id, deadline = env_mono_ms() + timeout_ms;
    int rc = send_request(c, method, params, id, fail), ready;
    bool interrupted = false;
    if (rc != 0) {
        return rc;
    }
    while ((ready = wait_answer(c, deadline, &interrupted)) > 0) {
        bool more = true;
        json_t *answer = NULL;
        while (more) { /* an empty delimiter may come first */
            json_decref(answer);
            answer = read_json(c->api, &more);
        }
        const json_t *error = json_object_get(answer, "error");
        json_t *ok = json_object_get(answer, "result");
        bool ours = cli_int(answer, "id") == id;
        if (ours && json_is_object(error)) {
            rc = take_error(error, fail);
        } else if (ours && ok != NULL) {
            *result = json_incref(ok);
        }
        json_decref(answer);
        if (ours && (error != NULL || ok != NULL)) {
            return rc;
        }
    }
    if (interrupted && ready == 0) {
        return failed(fail, CLI_INTERRUPTED, "");
    }
    return failed(fail, CLI_NO_NODE,
                  ready < 0 ? "The node ended before it answered. `linnet status` starts "
                              "it again."
                            : "The node does not answer. Look into node.log in its home; "
                              "`linnet stop` ends it.");
}

void client_watch(struct client *c, int fd)
{
    c->watched = fd;
}

static int await_welcome(struct client *c, struct client_welcome *out,
                         struct client_fail *fail)
{
    uint64_t deadline = env_mono_ms() + WELCOME_MS;
    for (;;) {
        char topic[CLIENT_TOPIC_MAX];
        json_t *event;
        uint64_t now = env_mono_ms();
        if (client_event(c, deadline > now ? deadline - now : 0, topic, &event) <= 0) {
            return failed(fail, CLI_NO_NODE,
                          "The node does not say what happens. Start it "
                          "again: `linnet stop`, then this command.");
        }
        bool welcome = strcmp(topic, "welcome") == 0;
        out->newest = cli_int(event, "newest");
        out->row = cli_int(event, "row");
        json_decref(event);
        if (welcome) {
            return 0;
        }
        /* What comes before the welcome is in the history that the caller reads next. */
    }
}

int client_follow(struct client *c, const char *const *topics, struct client_welcome *out,
                  struct client_fail *fail)
{
    if (!open_socket(c, ZMQ_SUB, c->home.events, &c->events, &c->events_mon)) {
        return failed(fail, CLI_ERROR, "The socket of the events cannot be opened.");
    }
    for (size_t i = 0; topics[i] != NULL; i++) {
        (void)zmq_setsockopt(c->events, ZMQ_SUBSCRIBE, topics[i], strlen(topics[i]));
    }
    /* Last, so that it is answered when the others are known. */
    (void)zmq_setsockopt(c->events, ZMQ_SUBSCRIBE, "welcome", strlen("welcome"));
    return await_welcome(c, out, fail);
}

int client_again(struct client *c, const char *const *topics, struct client_welcome *out,
                 struct client_fail *fail)
{
    zmq_pollitem_t gone = {.socket = c->events_mon, .events = ZMQ_POLLIN};
    (void)zmq_poll(&gone, 1, GONE_MS); /* one that is ending must not be met again */
    /* One that does not say its welcome may have been ending, too: looked for again. */
    for (int wait = AGAIN_MS;; wait = wait < AGAIN_MAX_MS ? 2 * wait : AGAIN_MAX_MS) {
        close_all(c);
        if (client_running(&c->home)) {
            if (!open_socket(c, ZMQ_DEALER, c->home.api, &c->api, &c->api_mon)) {
                return failed(fail, CLI_ERROR,
                              "The socket of the local API cannot be opened.");
            }
            int rc = client_follow(c, topics, out, fail);
            if (rc != CLI_NO_NODE) {
                return rc;
            }
        }
        (void)poll(NULL, 0, wait);
    }
}

int client_event(struct client *c, uint64_t timeout_ms, char topic[CLIENT_TOPIC_MAX],
                 json_t **event)
{
    uint64_t deadline =
        timeout_ms == UINT64_MAX ? UINT64_MAX : env_mono_ms() + timeout_ms;
    for (;;) {
        int n = wait_for(c->events, c->events_mon, deadline);
        if (n <= 0) {
            return n;
        }
        char name[CLIENT_TOPIC_MAX];
        int len = zmq_recv(c->events, name, sizeof name - 1, ZMQ_DONTWAIT),
            more_frames = 0;
        size_t size = sizeof more_frames;
        (void)zmq_getsockopt(c->events, ZMQ_RCVMORE, &more_frames, &size);
        json_t *j = NULL;
        bool more = more_frames != 0;
        while (more) {
            json_decref(j);
            j = read_json(c->events, &more);
        }
        if (len > 0 && (size_t)len < sizeof name && json_is_object(j)) {
            name[len] = '\0';
            memcpy(topic, name, sizeof name);
            *event = j;
            return 1;
        }
        json_decref(j);
    }
}
