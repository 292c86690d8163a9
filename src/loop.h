/* The loop: libuv, and every socket towards the network. Carriers (TCP), the node's own
 * UDP sockets, the multicast sockets, the list of interfaces, name resolution, the one
 * timer. Asks the scope before anything leaves or is let in.
 *
 * A turn: libuv calls the handler for each socket that is ready, then turn() once before
 * it sleeps again. What the node wants sent is drained there, so that whatever came in
 * together is handled, committed and answered together. No function here calls the
 * handler directly but loop_run(). A carrier reads and writes a bounded part in each:
 * file data would go on for as long as the socket takes it, and what has come meanwhile,
 * a request, a commit or a message, would wait until it ends. */
#ifndef LINNET_LOOP_H
#define LINNET_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/addr.h"
#include "base/env.h"
#include "config.h"
#include "lan.h"

enum {
    LOOP_CARRIERS_MAX = 4096,
    LOOP_READ_SIZE = 256 * 1024,    /* bytes that a carrier reads in a turn */
    LOOP_SEND_TURN = 192 * 1024,    /* and when it has written so many, it waits */
    LOOP_ACCEPTS = 32,              /* accepts of one listener in a turn */
    LOOP_DATAGRAMS = 64,            /* datagrams of one socket in a turn */
    LOOP_DATAGRAM_MAX = 1500,       /* bytes of one that is sent */
    LOOP_OUT_KEEP = 64 * 1024,      /* of its buffer when all is out */
    LOOP_OUT_MAX = 4 * 1024 * 1024, /* bytes that wait for one carrier's socket */
    LOOP_DIAL_MS = 10000,
    LOOP_LINGER_MS = 2000,  /* after the last byte, for the other side to read it */
    LOOP_CLOSING_MAX = 256, /* carriers given so; further ones end at once */
    LOOP_RESOLVE_MAX = 16,  /* addresses of one name */
    LOOP_WAKES = 2,
    LOOP_WHY_MAX = 256,
};

/* Called with the time of the input. conn numbers are the node's. */
struct loop_handler {
    void *ctx;
    /* Returns the carrier's number, 0 to close it. */
    uint32_t (*accepted)(void *ctx, const struct addr *from, uint64_t now_ms);
    void (*connected)(void *ctx, uint32_t conn, uint64_t now_ms);
    void (*received)(void *ctx, uint32_t conn, const uint8_t *p, size_t len,
                     uint64_t now_ms);
    void (*sent)(void *ctx, uint32_t conn, size_t len, uint64_t now_ms);
    void (*closed)(void *ctx, uint32_t conn, uint64_t now_ms);
    /* group: it came by the port of the multicast group. */
    void (*datagram)(void *ctx, bool group, const struct addr *from, const uint8_t *p,
                     size_t len, uint64_t now_ms);
    void (*interfaces)(void *ctx, const struct lan_interface *v, size_t n,
                       uint64_t now_ms);
    void (*resolved)(void *ctx, uint64_t what, const struct addr *v, size_t n,
                     uint64_t now_ms); /* n 0: not found */
    void (*timer)(void *ctx, uint64_t now_ms);
    void (*signalled)(void *ctx, int signum);
    /* Everything that was ready has been handled: drain. true: call again soon. */
    bool (*turn)(void *ctx, uint64_t now_ms);
};

struct loop;

/* Binds: a port that was asked for (port_asked) and is taken is an error, another is
 * replaced by any free one. config and env are borrowed for the loop's life. 0, ERR_BUSY
 * (port), ERR_IO, ERR_NOMEM; why gets a sentence. */
int loop_new(const struct env *env, const struct config_view *config, uint16_t port,
             bool port_asked, struct loop **out, char why[LOOP_WHY_MAX]);
/* A loop with UDP sockets alone, at these addresses, in scope internet: no carriers, no
 * multicast, no interfaces. A family that this host does not have is left out when
 * another is there; port 0: any. */
int loop_new_udp(const struct env *env, const struct addr *at, size_t n,
                 struct loop **out, char why[LOOP_WHY_MAX]);
/* The address of such a socket, with the port that it got; false at the end. */
bool loop_udp_at(const struct loop *l, size_t i, struct addr *out);
/* Closes everything at once. What the name service is still asked is not waited for.
 * Tolerates NULL. */
void loop_free(struct loop *l);
/* Of TCP and UDP alike. */
uint16_t loop_port(const struct loop *l);
/* Whether datagrams of that family (4 or 6) can be sent. */
bool loop_has_family(const struct loop *l, uint8_t family);
uv_loop_t *loop_uv(struct loop *l);

/* Runs until loop_stop. The first turn tells the interfaces. */
void loop_run(struct loop *l, const struct loop_handler *h);
void loop_stop(struct loop *l);

/* When timer() is due; DEADLINE_NONE: never. */
void loop_set_timer(struct loop *l, uint64_t at_ms);
/* Carriers are read, and new ones taken in, or neither. */
void loop_set_reading(struct loop *l, bool on);
/* An address that the user named. ERR_REFUSED (scope), ERR_LIMIT. */
int loop_allow_peer(struct loop *l, const struct addr *a);
/* An address that what is to be sent next may go to. ERR_REFUSED (scope). */
int loop_allow_now(struct loop *l, const struct addr *a);
/* Whether the scope lets us dial it as things are. */
bool loop_may_dial(const struct loop *l, const struct addr *a);
/* The same for datagrams, which may also go back to who has sent one lately. */
bool loop_may_send(const struct loop *l, const struct addr *a);
/* Looks a name up, off the loop; resolved() gets what. ERR_REFUSED (scope lan). */
int loop_resolve(struct loop *l, uint64_t what, const char *host, uint16_t port);

/* Begins to connect carrier conn. Negative: connected() will not come; the caller treats
 * it as closed. */
int loop_dial(struct loop *l, uint32_t conn, const struct addr *dst, uint64_t now_ms);
/* Sends or keeps p; returns how many bytes have left already, sent() tells the rest. */
size_t loop_send(struct loop *l, uint32_t conn, const uint8_t *p, size_t len);
/* Ends a carrier, after what was sent is out (at once when LOOP_CLOSING_MAX others are
 * ending). True: it has ended; else closed() comes. */
bool loop_close(struct loop *l, uint32_t conn, uint64_t now_ms);
/* Ends all carriers at once, without closed(). */
void loop_drop_all(struct loop *l);
size_t loop_carriers(const struct loop *l);
/* Copied, and sent at the end of the turn. len ≤ LOOP_DATAGRAM_MAX. Without a source
 * (family 0), who has sent us one lately is answered from the address he sent it to. */
void loop_send_datagram(struct loop *l, const struct addr *source, uint32_t ifindex,
                        const struct addr *dst, const uint8_t *p, size_t len);
/* A descriptor (not ours) whose becoming readable calls for a turn. At most
 * LOOP_WAKES. */
bool loop_watch_wake(struct loop *l, int fd);
void loop_unwatch_wakes(struct loop *l);
/* Runs run on a worker thread, then done on the loop. 0, ERR_NOMEM. */
int loop_work(struct loop *l, void (*run)(void *ctx), void (*done)(void *ctx), void *ctx);
/* Waits for something to happen and handles it (at the end, when no turn is wanted). */
void loop_once(struct loop *l, bool wait);
/* Tells interfaces() again in the next turn (for a new node). */
void loop_tell_interfaces(struct loop *l);

#endif
