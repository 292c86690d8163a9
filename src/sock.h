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
    SOCK_NOTSENT_LOWAT = 32 * 1024, /* little unsent, so that chat overtakes files */
    SOCK_USER_TIMEOUT_MS = 20000,   /* unacknowledged for so long: the path is dead */
    SOCK_UDP_MAX = 2048,            /* bytes of a datagram that are read */
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
uint16_t sock_port(int fd);

/* Begins to connect. A carrier's options are set. */
int sock_dial(const struct addr *dst);
/* Options of a carrier: no delay, little unsent, dead paths noticed, bbr where there. */
void sock_tune(int fd);
/* How a connect that has become writable went: 0 or -errno. */
int sock_error(int fd);

/* One datagram: its length, source (with scope) and interface. */
ssize_t sock_recv_from(int fd, void *p, size_t cap, struct addr *from, uint32_t *ifindex);
/* Sends one from a source address (family 0: any) over an interface (0: any). */
int sock_send_to(int fd, const void *p, size_t len, const struct addr *source,
                 uint32_t ifindex, const struct addr *dst);

#endif
