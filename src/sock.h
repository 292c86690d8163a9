/* Sockets as the loop wants them: non-blocking, close-on-exec, tuned. Descriptors are the
 * caller's; negative results are -errno. */
#ifndef LINNET_SOCK_H
#define LINNET_SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/addr.h"

enum {
    SOCK_BACKLOG = 1024,
    SOCK_UNSENT_MAX = 32 * 1024, /* little unsent, so that chat overtakes files: */
    SOCK_UNSENT_MIN = 4 * 1024,  /* between these, what leaves in so long */
    SOCK_UNSENT_MS = 3,
    SOCK_USER_TIMEOUT_MS = 20000, /* unacknowledged for so long: the path is dead */
    SOCK_UDP_MAX = 4096,          /* bytes of a datagram; a longer one is dropped */
    SOCK_BATCH = 64,              /* datagrams in one call */
    /* What may be on its way to us: what the path holds, and a quarter of that or what
     * comes in so long, whichever is more, to find out whether it can carry more. */
    SOCK_WINDOW_MIN = 128 * 1024,
    SOCK_WINDOW_MAX = 1024 * 1024 * 1024,
    SOCK_WINDOW_SPARE_US = 10000,
    SOCK_FLOW_MS = 100,       /* a rate is measured over so long */
    SOCK_FLOW_SPAN_MS = 1000, /* the best of so long counts, and of the same before */
    SOCK_FLOW_GROWS = 4,      /* a span better by this part: no end is in sight, */
    SOCK_WINDOW_GROWS = 2,    /* and so many times as much may be on its way */
};

/* A TCP socket that listens on every address of one family. port 0: any; the number is
 * told by sock_port. */
int sock_listen(uint8_t family, uint16_t port);
/* A UDP socket on every address of one family that tells and takes the interface and
 * own address of each datagram. */
int sock_udp(uint8_t family, uint16_t port);
/* The same, shared with other programs, for multicast groups that are joined. */
int sock_multicast(uint8_t family, uint16_t port);
/* Joins or leaves the group on an interface. 0 or -errno; already joined is 0. */
int sock_join(int fd, const struct addr *group, uint32_t ifindex, bool join);
/* A UDP socket like that of sock_udp, on one address (unspecified: every one). */
int sock_udp_at(const struct addr *at);
uint16_t sock_port(int fd);

/* Begins to connect. A carrier's options are set. */
int sock_dial(const struct addr *dst);
/* How fast bytes go through a carrier, in one direction. All zero at first. */
struct sock_flow {
    uint64_t since_ms, span_ms; /* begin of what is measured */
    uint64_t bytes;             /* since since_ms */
    uint64_t best, last;        /* bytes/s: of this span, of the one before */
    bool grows;                 /* the one before was faster than that before it */
};
/* n bytes went. True: there is a rate (of a whole span), measured anew. */
bool sock_flow_add(struct sock_flow *f, size_t n, uint64_t now_ms);
uint64_t sock_flow_rate(const struct sock_flow *f); /* bytes/s */
/* Bytes that may be on their way to us: the receive window. */
uint32_t sock_window(const struct sock_flow *f, uint32_t min_rtt_us);
/* Bytes that may lie in our socket unsent. */
uint32_t sock_unsent(const struct sock_flow *f);
/* Sets the window for what comes in so, from the shortest round trip that the system has
 * seen. The system moves it when it gives the socket more memory, so it is to be set
 * again at each measurement. */
void sock_bound_window(int fd, const struct sock_flow *f);
void sock_bound_unsent(int fd, const struct sock_flow *f);

/* Options of a carrier: no delay, little unsent, dead paths noticed, bbr where there. */
void sock_tune(int fd);
/* How a connect that has become writable went: 0 or -errno. */
int sock_error(int fd);

struct sock_in {
    struct addr from; /* with scope; family 0: not to be used */
    struct addr at;   /* the address of ours that it was sent to; family 0: not known */
    uint32_t ifindex;
    uint8_t *p;
    size_t len;
};
/* Datagrams that are there, at most SOCK_BATCH, each into SOCK_UDP_MAX bytes of buf.
 * Their number (0: none) or -errno. */
int sock_recv_many(int fd, uint8_t *buf, struct sock_in v[SOCK_BATCH]);

struct sock_out {
    struct addr source; /* family 0: any */
    struct addr dst;
    uint32_t ifindex; /* 0: any */
    const uint8_t *p;
    size_t len;
};
/* Sends n (at most SOCK_BATCH) datagrams; rc gets 0 or -errno of each. */
void sock_send_many(int fd, const struct sock_out *v, size_t n, int rc[SOCK_BATCH]);

#endif
