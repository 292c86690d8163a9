#include "api.h"

#include <errno.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "api_priv.h"
#include "api_unread.h"
#include "base/err.h"
#include "base/log.h"

enum { SLOT_BITS = 12, SLOTS_MIN = 16, SUBSCRIPTIONS_TURN = 256, MESSAGE_MAX = 1024 };

struct api {
    struct app *app;
    void *ctx, *router, *pub;
    struct api_req **slots;
    uint16_t *free_slots;
    size_t n_free, n_slots, waiting;
    uint64_t next_tag;
    struct jout out, event;
    struct api_topics topics;
    struct api_unread unread;
};

/* ---- sockets ---- */

static bool option(void *s, int name, int value)
{
    return zmq_setsockopt(s, name, &value, sizeof value) == 0;
}

static void *open_socket(struct api *api, int type, const char *endpoint, int queue)
{
    void *s = zmq_socket(api->ctx, type);
    int64_t max = API_REQUEST_MAX;
    if (s == NULL || !option(s, ZMQ_SNDHWM, queue) || !option(s, ZMQ_RCVHWM, API_BATCH) ||
        !option(s, ZMQ_LINGER, API_LINGER_MS) || !option(s, ZMQ_IPV6, 0) ||
        (type == ZMQ_XPUB && !option(s, ZMQ_XPUB_VERBOSE, 1)) ||
        zmq_setsockopt(s, ZMQ_MAXMSGSIZE, &max, sizeof max) != 0 ||
        zmq_bind(s, endpoint) != 0) {
        int e = errno;
        if (s != NULL) {
            (void)option(s, ZMQ_LINGER, 0);
            (void)zmq_close(s);
        }
        errno = e;
        return NULL;
    }
    return s;
}

static int events_of(void *s)
{
    int v = 0;
    size_t n = sizeof v;
    return zmq_getsockopt(s, ZMQ_EVENTS, &v, &n) == 0 ? v : 0;
}

static int fd_of(void *s)
{
    int fd = -1;
    size_t n = sizeof fd;
    return zmq_getsockopt(s, ZMQ_FD, &fd, &n) == 0 ? fd : -1;
}

void api_fds(const struct api *api, int fds[2])
{
    fds[0] = fd_of(api->router);
    fds[1] = fd_of(api->pub);
}

int api_new(struct app *app, const char *api_at, const char *events_at, struct api **out,
            char *why, size_t why_len)
{
    struct api *api = calloc(1, sizeof *api);
    if (api == NULL) {
        return ERR_NOMEM;
    }
    api->app = app;
    api->next_tag = 1;
    api->ctx = zmq_ctx_new();
    if (api->ctx != NULL) {
        (void)zmq_ctx_set(api->ctx, ZMQ_IO_THREADS, 1);
        (void)zmq_ctx_set(api->ctx, ZMQ_MAX_SOCKETS, 8);
        api->router = open_socket(api, ZMQ_ROUTER, api_at, API_ANSWERS_MAX);
    }
    if (api->router != NULL) {
        api->pub = open_socket(api, ZMQ_XPUB, events_at, API_EVENTS_MAX);
    }
    if (api->pub == NULL) {
        (void)snprintf(why, why_len, "The local API cannot be opened at %s: %s.", api_at,
                       zmq_strerror(errno));
        api_free(api);
        return ERR_IO;
    }
    *out = api;
    return 0;
}

static size_t slot_of(uint64_t tag)
{
    return (size_t)(tag & (((uint64_t)1 << SLOT_BITS) - 1));
}

static void req_free(struct api_req *r)
{
    struct api *api = r->api;
    uint16_t slot = (uint16_t)slot_of(r->tag);
    api->slots[slot] = NULL;
    api->free_slots[api->n_free++] = slot;
    api->waiting--;
    if (r->work_free != NULL) {
        r->work_free(r->work);
    }
    free(r);
}

void api_free(struct api *api)
{
    if (api == NULL) {
        return;
    }
    for (size_t i = 0; i < api->n_slots; i++) {
        if (api->slots[i] != NULL) {
            req_free(api->slots[i]);
        }
    }
    if (api->router != NULL) {
        (void)zmq_close(api->router);
    }
    if (api->pub != NULL) {
        (void)zmq_close(api->pub);
    }
    if (api->ctx != NULL) {
        (void)zmq_ctx_term(api->ctx);
    }
    api_unread_release(&api->unread);
    free(api->slots);
    free(api->free_slots);
    jout_release(&api->out);
    jout_release(&api->event);
    free(api);
}

/* ---- requests that wait ---- */

static bool grow(struct api *api)
{
    size_t n = api->n_slots == 0 ? SLOTS_MIN : 2 * api->n_slots;
    if (api->n_slots == API_WAITING_MAX) {
        return false;
    }
    struct api_req **slots = realloc(api->slots, n * sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    api->slots = slots;
    uint16_t *free_slots = realloc(api->free_slots, n * sizeof *free_slots);
    if (free_slots == NULL) {
        return false;
    }
    api->free_slots = free_slots;
    for (size_t i = n; i > api->n_slots; i--) {
        slots[i - 1] = NULL;
        free_slots[api->n_free++] = (uint16_t)(i - 1);
    }
    api->n_slots = n;
    return true;
}

static struct api_req *req_new(struct api *api, const void *route, size_t route_len,
                               bool delim, const char *id, size_t id_len)
{
    if (api->n_free == 0 && !grow(api)) {
        return NULL;
    }
    struct api_req *r = calloc(1, sizeof *r + route_len + id_len);
    if (r == NULL) {
        return NULL;
    }
    uint16_t slot = api->free_slots[--api->n_free];
    r->api = api;
    r->tag = api->next_tag++ << SLOT_BITS | slot;
    r->route_len = (uint8_t)route_len;
    r->delim = delim;
    r->id_len = (uint16_t)id_len;
    memcpy(r->bytes, route, route_len);
    memcpy(r->bytes + route_len, id, id_len);
    api->slots[slot] = r;
    api->waiting++;
    return r;
}

struct api_req *api_find(const struct api *api, uint64_t tag)
{
    size_t slot = slot_of(tag);
    struct api_req *r = slot < api->n_slots ? api->slots[slot] : NULL;
    return r != NULL && r->tag == tag ? r : NULL;
}

/* ---- answers ---- */

struct jout *api_begin(struct api_req *r)
{
    struct jout *o = &r->api->out;
    jout_reset(o);
    jout_open(o, '{');
    jout_key(o, "id");
    jout_raw(o, r->bytes + r->route_len, r->id_len);
    jout_key(o, "result");
    return o;
}

/* Whoever does not read loses answers beyond the queue: sending never waits. */
static void send_out(struct api_req *r)
{
    struct api *api = r->api;
    jout_close(&api->out, '}');
    api_unread_count *count =
        api->out.bad
            ? NULL
            : api_unread_client(&api->unread, r->bytes, r->route_len, api->out.len);
    if (count != NULL &&
        zmq_send(api->router, r->bytes, r->route_len, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0) {
        if (r->delim) {
            (void)zmq_send(api->router, "", 0, ZMQ_SNDMORE | ZMQ_DONTWAIT);
        }
        /* A message that was begun has to end. */
        if (!api_unread_send(api->router, api->out.p, api->out.len, count)) {
            (void)zmq_send(api->router, "", 0, ZMQ_DONTWAIT);
        }
    }
    req_free(r);
}

void api_end(struct api_req *r)
{
    if (r->api->out.bad) {
        api_fail(r, 1, "The answer is too long.");
        return;
    }
    send_out(r);
}

static void fail_with(struct api_req *r, int code, const char *message)
{
    struct jout *o = &r->api->out;
    jout_reset(o);
    jout_open(o, '{');
    jout_key(o, "id");
    jout_raw(o, r->bytes + r->route_len, r->id_len);
    jout_key(o, "error");
    jout_open(o, '{');
    jout_ku64(o, "code", (uint64_t)code);
    jout_kstr(o, "message", message);
    jout_close(o, '}');
    send_out(r);
}

void api_fail(struct api_req *r, int code, const char *fmt, ...)
{
    char message[MESSAGE_MAX];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    fail_with(r, code, message);
}

void api_fail_all(struct api *api, int code, const char *message)
{
    for (size_t i = 0; i < api->n_slots; i++) {
        if (api->slots[i] != NULL) {
            fail_with(api->slots[i], code, message);
        }
    }
}

/* ---- requests ---- */

static void dispatch(struct api *api, struct api_req *r, const struct api_request *q)
{
    const struct api_method *m = api_method_find(q->method);
    if (m == NULL) {
        api_fail(r, 2, "There is no method \"%s\".", q->method);
    } else {
        api_method_call(api->app, r, m, q->params);
    }
}

static void request(struct api *api, const void *route, size_t route_len, bool delim,
                    const char *p, size_t len)
{
    struct api_request q;
    const char *why = "";
    int rc = api_request_parse(p, len, &q, &why);
    struct api_req *r = req_new(api, route, route_len, delim, q.id, q.id_len);
    if (r != NULL && rc != 0) {
        api_fail(r, 2, "%s", why);
    } else if (r != NULL) {
        dispatch(api, r, &q);
    }
    api_request_release(&q);
}

/* Reads one message: route, perhaps a REQ's empty frame, the request. Others are thrown
 * away with what follows them. False: there was none. */
static bool take_one(struct api *api)
{
    zmq_msg_t route, frame;
    bool delim = false, handled = false;
    (void)zmq_msg_init(&route);
    if (zmq_msg_recv(&route, api->router, ZMQ_DONTWAIT) < 0) {
        (void)zmq_msg_close(&route);
        return false;
    }
    bool more = zmq_msg_more(&route) != 0;
    while (more) {
        (void)zmq_msg_init(&frame);
        if (zmq_msg_recv(&frame, api->router, ZMQ_DONTWAIT) < 0) {
            (void)zmq_msg_close(&frame);
            break;
        }
        more = zmq_msg_more(&frame) != 0;
        size_t n = zmq_msg_size(&frame);
        if (n == 0 && more && !delim) {
            delim = true;
        } else if (!more && !handled) {
            request(api, zmq_msg_data(&route), zmq_msg_size(&route), delim,
                    zmq_msg_data(&frame), n);
            sodium_memzero(zmq_msg_data(&frame), n);
        } else {
            handled = true; /* too many frames */
        }
        (void)zmq_msg_close(&frame);
    }
    (void)zmq_msg_close(&route);
    return true;
}

/* ---- events ---- */

bool api_wanted(const struct api *api, const char *topic)
{
    return api_topics_wanted(&api->topics, topic);
}

bool api_behind(const struct api *api)
{
    return atomic_load(&api->unread.events) > API_UNREAD_EVENTS;
}

struct jout *api_event(struct api *api)
{
    jout_reset(&api->event);
    return &api->event;
}

void api_publish(struct api *api, const char *topic)
{
    if (api->event.bad || !api_wanted(api, topic)) {
        return;
    }
    (void)zmq_send(api->pub, topic, strlen(topic), ZMQ_SNDMORE | ZMQ_DONTWAIT);
    if (!api_unread_send(api->pub, api->event.p, api->event.len, &api->unread.events)) {
        (void)zmq_send(api->pub, "", 0, ZMQ_DONTWAIT);
    }
}

static void take_subscriptions(struct api *api)
{
    bool fresh = false;
    for (int i = 0; i < SUBSCRIPTIONS_TURN; i++) {
        zmq_msg_t m;
        (void)zmq_msg_init(&m);
        bool got = zmq_msg_recv(&m, api->pub, ZMQ_DONTWAIT) >= 0;
        if (got && api_topics_note(&api->topics, zmq_msg_data(&m), zmq_msg_size(&m))) {
            fresh = true;
        }
        (void)zmq_msg_close(&m);
        if (!got) {
            break;
        }
    }
    if (fresh) {
        api_welcome(api->app);
    }
}

static bool takes(const struct api *api)
{
    return api->waiting < API_WAITING_MAX && app_takes(api->app);
}

void api_turn(struct api *api)
{
    for (int i = 0; i < API_BATCH && takes(api); i++) {
        if (!take_one(api)) {
            break;
        }
    }
    if ((events_of(api->pub) & ZMQ_POLLIN) != 0) {
        take_subscriptions(api);
    }
}

bool api_more(struct api *api)
{
    bool requests = (events_of(api->router) & ZMQ_POLLIN) != 0;
    bool subscriptions = (events_of(api->pub) & ZMQ_POLLIN) != 0;
    return subscriptions || (requests && takes(api));
}
