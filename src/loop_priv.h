/* The loop's inside: loop.c (life, turns, interfaces), loop_tcp.c (carriers), loop_udp.c
 * (datagrams), loop_name.c (names). */
#ifndef LINNET_LOOP_PRIV_H
#define LINNET_LOOP_PRIV_H

#include "base/buf.h"
#include "base/deadline.h"
#include "base/map.h"
#include "loop.h"
#include "scope.h"
#include "sock.h"

#include "sock.h"

enum {
    LOOP_JOINS_MAX = 2 * LAN_IFACES_MAX,
    LOOP_SIGNALS = 3,
    LOOP_FAMILIES = 2,
    LOOP_ASKERS = 256, /* whose datagrams' destination is remembered */
};

/* Who has sent a datagram, and to which address of ours. */
struct asker {
    struct addr from, at;
};

/* Datagrams of one family that wait for the end of the turn. */
struct batch {
    size_t n;
    struct sock_out v[SOCK_BATCH];
    uint8_t bytes[SOCK_BATCH][LOOP_DATAGRAM_MAX];
};

/* A TCP connection. */
struct carrier {
    uv_poll_t poll;
    struct loop *loop;
    struct carrier *next, *prev;
    uint32_t conn;
    int fd;
    struct buf out;           /* waits for the socket */
    struct deadline deadline; /* of dialling, of lingering */
    bool connecting;
    bool closing; /* the node wants it ended */
    bool shut;    /* everything is out and our direction ended: lingering */
    bool failed;  /* a send has failed: end it in this turn */
    struct sock_flow in, sent;
    bool wrote;
    uint64_t turn;    /* the last one that it wrote in, */
    size_t turn_sent; /* and how much */
    bool watched;
    int events; /* watched for */
};

/* A descriptor that is only read: listeners, datagrams, netlink. */
struct watch {
    uv_poll_t poll;
    struct loop *loop;
    int fd; /* -1: not there */
    uint8_t family;
    bool open; /* poll is initialised */
};

struct join {
    uint32_t ifindex;
    uint8_t family;
    bool seen;
};

struct loop {
    uv_loop_t uv;
    const struct env *env;
    const struct config_view *config;
    const struct loop_handler *h; /* while running */
    struct scope scope;
    uint16_t port;
    struct watch listener[LOOP_FAMILIES], udp[LOOP_FAMILIES], multicast[LOOP_FAMILIES];
    struct watch netlink, wake[LOOP_WAKES];
    size_t n_wakes;
    int reserve_fd; /* given up for a moment when descriptors run out */
    struct join joins[LOOP_JOINS_MAX];
    size_t n_joins;
    struct lan_interface ifaces[LAN_IFACES_MAX];
    size_t n_ifaces;
    bool ifaces_told, reading;

    uv_prepare_t prepare;
    uv_idle_t idle;
    uv_timer_t timer;
    uv_signal_t signals[LOOP_SIGNALS];
    uint64_t timer_at, caller_at; /* armed for; asked for by the handler */

    struct map carriers; /* conn → struct carrier */
    struct carrier *first;
    size_t n_carriers, n_closing;
    struct deadlines deadlines;
    uint64_t turn; /* counts them */
    bool any_failed, stopping;
    uint8_t *read_buf;

    bool udp_only;
    struct addr udp_at[LOOP_FAMILIES]; /* udp_only: where they are bound */
    struct asker askers[LOOP_ASKERS];
    struct batch *batch[LOOP_FAMILIES]; /* NULL: nothing was sent yet */

    struct names *names; /* NULL: none was looked up yet */
};

/* loop_tcp.c */
void loop_tcp_listen(struct loop *l, bool on);
void loop_tcp_turn(struct loop *l, uint64_t now_ms); /* ends carriers that failed */
void loop_tcp_timer(struct loop *l,
                    uint64_t now_ms); /* dials and lingering that are over */
void loop_tcp_reading(struct loop *l);
/* Ends carriers whose address at our side is gone: nothing gets through them any more. */
void loop_tcp_stranded(struct loop *l, uint64_t now_ms);
/* loop_udp.c */
void loop_udp_readable(uv_poll_t *p, int status, int events);
void loop_udp_flush(struct loop *l);
void loop_udp_free(struct loop *l);
/* loop_name.c */
void loop_name_free(struct loop *l);
/* loop.c */
void loop_watch_close(struct watch *w);
/* Watches fd for reading; on false fd stays the caller's. */
bool loop_watch(struct loop *l, struct watch *w, uv_poll_cb cb);

#endif
