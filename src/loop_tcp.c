/* Carriers: TCP connections, made and taken in. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "loop_priv.h"
#include "netif.h"
#include "sock.h"

enum {
    ADDRESSES_MAX = 512 /* of this host; with more, no carrier is ended for its own */
};

static void on_carrier(uv_poll_t *p, int status, int events);

static struct carrier *find(const struct loop *l, uint32_t conn)
{
    return map_get(&l->carriers, &conn);
}

/* What a carrier is watched for follows from its state. */
static void watch(struct carrier *c)
{
    int events = 0;
    if (c->connecting) {
        events = UV_WRITABLE;
    } else {
        if (c->shut || (c->loop->reading && !c->closing)) {
            events |= UV_READABLE;
        }
        if (c->out.len > 0) {
            events |= UV_WRITABLE;
        }
        /* With nothing to read or write, the end of a carrier is still noticed. */
        if (events == 0) {
            events = UV_DISCONNECT;
        }
    }
    if (!c->watched || events != c->events) {
        c->events = events;
        c->watched = uv_poll_start(&c->poll, events, on_carrier) == 0;
    }
}

static void on_freed(uv_handle_t *h)
{
    free(h->data);
}

/* Ends it now. The node is told by whoever calls. */
static void drop(struct carrier *c)
{
    struct loop *l = c->loop;
    (void)map_del(&l->carriers, &c->conn);
    deadlines_remove(&l->deadlines, &c->deadline);
    if (c->prev != NULL) {
        c->prev->next = c->next;
    } else {
        l->first = c->next;
    }
    if (c->next != NULL) {
        c->next->prev = c->prev;
    }
    l->n_carriers--;
    l->n_closing -= c->closing;
    buf_release(&c->out);
    uv_close((uv_handle_t *)&c->poll, on_freed);
    (void)close(c->fd);
}

static void end(struct carrier *c, uint64_t now_ms)
{
    const struct loop_handler *h = c->loop->h;
    uint32_t conn = c->conn;
    drop(c);
    h->closed(h->ctx, conn, now_ms);
}

/* A new carrier around fd, which it owns from then on; conn is set by the caller's
 * adopt(). NULL: fd is still the caller's. */
static struct carrier *create(struct loop *l, int fd)
{
    struct carrier *c = calloc(1, sizeof *c);
    if (c == NULL || uv_poll_init(&l->uv, &c->poll, fd) != 0) {
        free(c);
        return NULL;
    }
    c->loop = l;
    c->fd = fd;
    c->poll.data = c;
    c->deadline.owner = c;
    buf_init(&c->out, LOOP_OUT_MAX);
    return c;
}

static bool adopt(struct carrier *c, uint32_t conn)
{
    struct loop *l = c->loop;
    c->conn = conn;
    if (map_put(&l->carriers, &conn, c) != 0) {
        return false;
    }
    c->next = l->first;
    if (c->next != NULL) {
        c->next->prev = c;
    }
    l->first = c;
    l->n_carriers++;
    return true;
}

static void discard(struct carrier *c)
{
    uv_close((uv_handle_t *)&c->poll, on_freed);
    (void)close(c->fd);
}

/* ---- input ---- */

/* All is out: end our direction and wait a moment for the other side to read it. Closing
 * at once would throw away, with unread input, what has not arrived there yet. */
static void linger(struct carrier *c, uint64_t now_ms)
{
    c->shut = true;
    (void)shutdown(c->fd, SHUT_WR);
    (void)deadlines_set(&c->loop->deadlines, &c->deadline, now_ms + LOOP_LINGER_MS);
    watch(c);
}

/* Of a file that fills the path only so much is let on it, and into the socket, that a
 * message behind it is soon through. */
static void went_out(struct carrier *c, size_t n, uint64_t now_ms)
{
    if (sock_flow_add(&c->sent, n, now_ms)) {
        sock_bound_unsent(c->fd, &c->sent);
    }
}

static void came_in(struct carrier *c, size_t n, uint64_t now_ms)
{
    if (sock_flow_add(&c->in, n, now_ms)) {
        sock_bound_window(c->fd, &c->in);
    }
}

/* Sends what waits. False: the carrier has ended. */
static bool flush(struct carrier *c, uint64_t now_ms)
{
    const struct loop_handler *h = c->loop->h;
    size_t gone = 0;
    while (c->out.len > 0) {
        ssize_t n =
            send(c->fd, buf_data(&c->out), c->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            break;
        }
        if (n < 0) {
            end(c, now_ms);
            return false;
        }
        buf_consume(&c->out, (size_t)n);
        gone += (size_t)n;
    }
    went_out(c, gone, now_ms);
    uint32_t conn = c->conn;
    if (gone > 0 && !c->closing) {
        h->sent(h->ctx, conn, gone, now_ms);
    }
    if (c->out.len == 0) {
        if (c->out.cap > LOOP_OUT_KEEP) {
            buf_release(&c->out);
            buf_init(&c->out, LOOP_OUT_MAX);
        }
        if (c->closing && !c->shut) {
            linger(c, now_ms);
        }
    }
    return true;
}

static void take(struct carrier *c, uint64_t now_ms)
{
    struct loop *l = c->loop;
    ssize_t n = recv(c->fd, l->read_buf, LOOP_READ_SIZE, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        end(c, now_ms);
        return;
    }
    came_in(c, (size_t)n, now_ms);
    if (!c->closing) {
        l->h->received(l->h->ctx, c->conn, l->read_buf, (size_t)n, now_ms);
    }
}

static void on_carrier(uv_poll_t *p, int status, int events)
{
    struct carrier *c = p->data;
    struct loop *l = c->loop;
    uint64_t now_ms = env_mono_ms();
    if (c->connecting) {
        if (status < 0 || sock_error(c->fd) != 0) {
            end(c, now_ms);
            return;
        }
        c->connecting = false;
        deadlines_remove(&l->deadlines, &c->deadline);
        watch(c);
        l->h->connected(l->h->ctx, c->conn, now_ms);
        return;
    }
    if (status < 0) {
        end(c, now_ms);
        return;
    }
    if ((events & UV_WRITABLE) != 0 && c->out.len > 0 && !flush(c, now_ms)) {
        return;
    }
    if ((events & UV_READABLE) != 0) {
        take(c, now_ms);
    } else if ((events & UV_DISCONNECT) != 0 && c->out.len == 0) {
        end(c, now_ms);
        return;
    }
    if (!uv_is_closing((uv_handle_t *)p)) {
        watch(c);
    }
}

/* ---- taking in ---- */

static void take_in(struct loop *l, int fd, const struct addr *from, uint64_t now_ms)
{
    struct carrier *c = NULL;
    uint32_t conn = 0;
    if (scope_may_answer(&l->scope, from) && l->n_carriers < LOOP_CARRIERS_MAX) {
        sock_tune(fd);
        c = create(l, fd);
    }
    if (c == NULL) {
        (void)close(fd);
        return;
    }
    conn = l->h->accepted(l->h->ctx, from, now_ms);
    if (conn == 0) {
        discard(c);
    } else if (!adopt(c, conn)) {
        discard(c);
        l->h->closed(l->h->ctx, conn, now_ms);
    } else {
        watch(c);
    }
}

/* Descriptors have run out: take the first in line with the reserve and close it, so that
 * the listener does not stay readable for ever. */
static void turn_away(struct loop *l, int listener, uint64_t now_ms)
{
    log_peer(now_ms, LOG_WARN, "out of file descriptors: connections are turned away");
    if (l->reserve_fd >= 0) {
        (void)close(l->reserve_fd);
        l->reserve_fd = -1;
    }
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        (void)close(fd);
    }
    l->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_listener(uv_poll_t *p, int status, int events)
{
    struct watch *w = p->data;
    uint64_t now_ms = env_mono_ms();
    (void)status;
    (void)events;
    for (int i = 0; i < LOOP_ACCEPTS; i++) {
        struct sockaddr_storage sa;
        struct addr from;
        socklen_t len = sizeof sa;
        int fd =
            accept4(w->fd, (struct sockaddr *)&sa, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE) {
                turn_away(w->loop, w->fd, now_ms);
            }
            if (errno == EAGAIN || errno == EMFILE || errno == ENFILE) {
                return;
            }
            continue; /* that connection has ended already */
        }
        if (addr_from_sockaddr((struct sockaddr *)&sa, &from) != 0) {
            (void)close(fd);
            continue;
        }
        take_in(w->loop, fd, &from, now_ms);
    }
}

void loop_tcp_listen(struct loop *l, bool on)
{
    for (size_t i = 0; i < LOOP_FAMILIES; i++) {
        if (on) {
            (void)loop_watch(l, &l->listener[i], on_listener);
        } else if (l->listener[i].open) {
            (void)uv_poll_stop(&l->listener[i].poll);
        }
    }
}

/* ---- what the node wants ---- */

int loop_dial(struct loop *l, uint32_t conn, const struct addr *dst, uint64_t now_ms)
{
    if (!scope_may_dial(&l->scope, dst)) {
        return ERR_REFUSED;
    }
    if (l->n_carriers >= LOOP_CARRIERS_MAX) {
        return ERR_LIMIT;
    }
    int fd = sock_dial(dst);
    if (fd < 0) {
        return ERR_IO;
    }
    struct carrier *c = create(l, fd);
    if (c == NULL) {
        (void)close(fd);
        return ERR_NOMEM;
    }
    c->connecting = true;
    if (!adopt(c, conn)) {
        discard(c);
        return ERR_LIMIT;
    }
    (void)deadlines_set(&l->deadlines, &c->deadline, now_ms + LOOP_DIAL_MS);
    watch(c);
    return 0;
}

/* Whether it may still write in this turn. */
static bool may_write(struct carrier *c)
{
    if (c->turn != c->loop->turn) {
        c->turn = c->loop->turn;
        c->turn_sent = 0;
    }
    return c->out.len == 0 && !c->connecting && c->turn_sent < LOOP_SEND_TURN;
}

size_t loop_send(struct loop *l, uint32_t conn, const uint8_t *p, size_t len)
{
    struct carrier *c = find(l, conn);
    if (c == NULL || c->closing || c->failed) {
        return len; /* it has ended: closed() comes, or has come */
    }
    size_t gone = 0;
    if (may_write(c)) {
        ssize_t n = send(c->fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            c->failed = l->any_failed = true;
            return 0;
        }
        gone = n > 0 ? (size_t)n : 0;
        c->turn_sent += gone;
        went_out(c, gone, env_mono_ms());
        c->wrote = c->wrote || gone > 0;
    }
    if (gone < len) {
        if (buf_append(&c->out, p + gone, len - gone) != 0) {
            c->failed = l->any_failed = true;
            return gone;
        }
        c->wrote = true;
        watch(c);
    }
    return gone;
}

bool loop_close(struct loop *l, uint32_t conn, uint64_t now_ms)
{
    struct carrier *c = find(l, conn);
    if (c == NULL) {
        return true;
    }
    /* Who never got a byte has nothing to wait for. Those who do not end must not use up
     * the places of others. */
    if (c->connecting || c->failed || !c->wrote || l->n_closing >= LOOP_CLOSING_MAX) {
        drop(c);
        return true;
    }
    l->n_closing += !c->closing;
    c->closing = true;
    if (c->out.len == 0) {
        linger(c, now_ms);
    } else {
        (void)deadlines_set(&l->deadlines, &c->deadline, now_ms + LOOP_LINGER_MS);
        watch(c);
    }
    return false;
}

void loop_drop_all(struct loop *l)
{
    while (l->first != NULL) {
        drop(l->first);
    }
}

size_t loop_carriers(const struct loop *l)
{
    return l->n_carriers;
}

void loop_tcp_reading(struct loop *l)
{
    for (struct carrier *c = l->first; c != NULL; c = c->next) {
        watch(c);
    }
}

void loop_tcp_turn(struct loop *l, uint64_t now_ms)
{
    if (!l->any_failed) {
        return;
    }
    l->any_failed = false;
    for (struct carrier *c = l->first, *next; c != NULL; c = next) {
        next = c->next;
        if (c->failed) {
            end(c, now_ms);
        }
    }
}

/* Whether the address that the carrier has at our side is none of these. */
static bool stranded(const struct carrier *c, const struct addr *v, size_t n)
{
    struct sockaddr_storage sa = {0};
    socklen_t len = sizeof sa;
    struct addr a;
    if (getsockname(c->fd, (struct sockaddr *)&sa, &len) != 0 ||
        addr_from_sockaddr((struct sockaddr *)&sa, &a) != 0 || addr_is_loopback(&a)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (addr_eq_ip(&a, &v[i])) {
            return false;
        }
    }
    return true;
}

void loop_tcp_stranded(struct loop *l, uint64_t now_ms)
{
    struct addr v[ADDRESSES_MAX];
    int n = l->first == NULL ? -1 : netif_addresses(v, ADDRESSES_MAX);
    for (struct carrier *c = n < 0 ? NULL : l->first, *next; c != NULL; c = next) {
        next = c->next;
        if (stranded(c, v, (size_t)n)) {
            end(c, now_ms);
        }
    }
}

void loop_tcp_timer(struct loop *l, uint64_t now_ms)
{
    for (;;) {
        struct deadline *d = deadlines_pop(&l->deadlines, now_ms);
        if (d == NULL) {
            return;
        }
        end(d->owner, now_ms);
    }
}
