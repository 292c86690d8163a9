#include "sock.h"

#include <errno.h>
#include <linux/tcp.h> /* netinet's has no shortest round trip */
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CONTROL_MAX = 128, UDP_BUFFER = 256 * 1024 };

static int fail(int fd)
{
    int e = errno;
    if (fd >= 0) {
        (void)close(fd);
    }
    return -e;
}

static bool set(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) == 0;
}

static int open_at(const struct addr *at, int type, bool shared)
{
    struct sockaddr_storage sa;
    socklen_t len = addr_to_sockaddr(at, &sa);
    uint8_t family = at->family;
    int fd = socket(sa.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || (family == 6 && !set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1)) ||
        (shared && !set(fd, SOL_SOCKET, SO_REUSEADDR, 1)) ||
        bind(fd, (struct sockaddr *)&sa, len) != 0) {
        return fail(fd);
    }
    return fd;
}

static int open_bound(uint8_t family, int type, uint16_t port, bool shared)
{
    struct addr any = {.family = family, .port = port};
    return open_at(&any, type, shared);
}

int sock_listen(uint8_t family, uint16_t port)
{
    /* SO_REUSEADDR: a port whose last connections are in TIME_WAIT is not taken. */
    int fd = open_bound(family, SOCK_STREAM, port, true);
    if (fd >= 0 && listen(fd, SOCK_BACKLOG) != 0) {
        return fail(fd);
    }
    return fd;
}

/* Tell the interface of what comes in; stay on the link, and on this host too. */
static void datagram_options(int fd, uint8_t family)
{
    (void)set(fd, SOL_SOCKET, SO_RCVBUF, UDP_BUFFER);
    if (family == 4) {
        (void)set(fd, IPPROTO_IP, IP_PKTINFO, 1);
        (void)set(fd, IPPROTO_IP, IP_MULTICAST_TTL, 1);
        (void)set(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 1);
        (void)set(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0);
    } else {
        (void)set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
        (void)set(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 1);
        (void)set(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 1);
        (void)set(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0);
    }
}

int sock_udp(uint8_t family, uint16_t port)
{
    int fd = open_bound(family, SOCK_DGRAM, port, false);
    if (fd >= 0) {
        datagram_options(fd, family);
    }
    return fd;
}

int sock_udp_at(const struct addr *at)
{
    int fd = open_at(at, SOCK_DGRAM, false);
    if (fd >= 0) {
        datagram_options(fd, at->family);
    }
    return fd;
}

int sock_multicast(uint8_t family, uint16_t port)
{
    int fd = open_bound(family, SOCK_DGRAM, port, true);
    if (fd >= 0) {
        datagram_options(fd, family);
    }
    return fd;
}

int sock_join(int fd, const struct addr *group, uint32_t ifindex, bool join)
{
    int rc;
    if (group->family == 4) {
        struct ip_mreqn m = {.imr_ifindex = (int)ifindex};
        memcpy(&m.imr_multiaddr, group->ip, 4);
        rc = setsockopt(fd, IPPROTO_IP, join ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP, &m,
                        sizeof m);
    } else {
        struct ipv6_mreq m = {.ipv6mr_interface = ifindex};
        memcpy(&m.ipv6mr_multiaddr, group->ip, 16);
        rc = setsockopt(fd, IPPROTO_IPV6, join ? IPV6_JOIN_GROUP : IPV6_LEAVE_GROUP, &m,
                        sizeof m);
    }
    return rc == 0 || (join && errno == EADDRINUSE) ? 0 : -errno;
}

uint16_t sock_port(int fd)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof sa;
    struct addr a;
    if (getsockname(fd, (struct sockaddr *)&sa, &len) != 0 ||
        addr_from_sockaddr((struct sockaddr *)&sa, &a) != 0) {
        return 0;
    }
    return a.port;
}

void sock_tune(int fd)
{
    (void)set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    (void)set(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, SOCK_UNSENT_MAX);
    (void)set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, SOCK_USER_TIMEOUT_MS);
    /* Not there: the system's choice stays. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "bbr", sizeof "bbr" - 1);
}

bool sock_flow_add(struct sock_flow *f, size_t n, uint64_t now_ms)
{
    if (now_ms - f->since_ms > SOCK_FLOW_SPAN_MS) { /* it stood still */
        *f = (struct sock_flow){.since_ms = now_ms, .span_ms = now_ms};
    }
    f->bytes += n;
    uint64_t ms = now_ms - f->since_ms;
    if (ms < SOCK_FLOW_MS) {
        return false;
    }
    uint64_t rate = f->bytes * 1000 / ms;
    f->best = rate > f->best ? rate : f->best;
    f->bytes = 0;
    f->since_ms = now_ms;
    if (now_ms - f->span_ms >= SOCK_FLOW_SPAN_MS) {
        f->grows = f->best > f->last + f->last / SOCK_FLOW_GROWS;
        f->last = f->best;
        f->best = 0;
        f->span_ms = now_ms;
    }
    return f->last > 0;
}

uint64_t sock_flow_rate(const struct sock_flow *f)
{
    return f->best > f->last ? f->best : f->last;
}

static uint64_t clamp(uint64_t v, uint64_t least, uint64_t most)
{
    return v < least ? least : v > most ? most : v;
}

uint32_t sock_window(const struct sock_flow *f, uint32_t min_rtt_us)
{
    uint64_t quarter = min_rtt_us / 4, rate = sock_flow_rate(f);
    uint64_t us = min_rtt_us + clamp(quarter, SOCK_WINDOW_SPARE_US, UINT32_MAX);
    us *= f->grows ? SOCK_WINDOW_GROWS : 1;
    if (rate > UINT64_MAX / us) {
        return SOCK_WINDOW_MAX;
    }
    return (uint32_t)clamp(rate * us / 1000000, SOCK_WINDOW_MIN, SOCK_WINDOW_MAX);
}

uint32_t sock_unsent(const struct sock_flow *f)
{
    uint64_t rate = sock_flow_rate(f);
    if (f->grows || rate > UINT64_MAX / SOCK_UNSENT_MS) {
        return SOCK_UNSENT_MAX;
    }
    return (uint32_t)clamp(rate * SOCK_UNSENT_MS / 1000, SOCK_UNSENT_MIN,
                           SOCK_UNSENT_MAX);
}

/* UINT32_MAX: there was none yet. */
static uint32_t min_rtt_us(int fd)
{
    struct tcp_info info = {.tcpi_min_rtt = UINT32_MAX};
    socklen_t len = sizeof info;
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 ? info.tcpi_min_rtt
                                                                   : UINT32_MAX;
}

void sock_bound_window(int fd, const struct sock_flow *f)
{
    (void)set(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, (int)sock_window(f, min_rtt_us(fd)));
}

void sock_bound_unsent(int fd, const struct sock_flow *f)
{
    (void)set(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, (int)sock_unsent(f));
}

int sock_dial(const struct addr *dst)
{
    struct sockaddr_storage sa;
    socklen_t len = addr_to_sockaddr(dst, &sa);
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return fail(fd);
    }
    sock_tune(fd);
    if (connect(fd, (struct sockaddr *)&sa, len) != 0 && errno != EINPROGRESS) {
        return fail(fd);
    }
    return fd;
}

int sock_error(int fd)
{
    int e = 0;
    socklen_t len = sizeof e;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len) == 0 ? -e : -errno;
}

/* The interface that a datagram came in by, and the address that it was sent to. */
static void where(struct msghdr *m, struct sock_in *out)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo i;
            memcpy(&i, CMSG_DATA(c), sizeof i);
            out->ifindex = (uint32_t)i.ipi_ifindex;
            out->at.family = 4;
            memcpy(out->at.ip, &i.ipi_spec_dst, sizeof i.ipi_spec_dst);
        }
        if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo i;
            memcpy(&i, CMSG_DATA(c), sizeof i);
            out->ifindex = i.ipi6_ifindex;
            out->at.family = 6;
            memcpy(out->at.ip, &i.ipi6_addr, sizeof i.ipi6_addr);
        }
    }
}

int sock_recv_many(int fd, uint8_t *buf, struct sock_in v[SOCK_BATCH])
{
    struct sockaddr_storage sa[SOCK_BATCH];
    char control[SOCK_BATCH][CONTROL_MAX] __attribute__((aligned(8)));
    struct iovec iov[SOCK_BATCH];
    struct mmsghdr m[SOCK_BATCH];
    for (size_t i = 0; i < SOCK_BATCH; i++) {
        iov[i] = (struct iovec){buf + i * SOCK_UDP_MAX, SOCK_UDP_MAX};
        m[i].msg_hdr = (struct msghdr){
            .msg_name = &sa[i],
            .msg_namelen = sizeof sa[i],
            .msg_iov = &iov[i],
            .msg_iovlen = 1,
            .msg_control = control[i],
            .msg_controllen = CONTROL_MAX,
        };
    }
    int n = recvmmsg(fd, m, SOCK_BATCH, MSG_DONTWAIT, NULL);
    if (n < 0) {
        return errno == EAGAIN ? 0 : -errno;
    }
    for (int i = 0; i < n; i++) {
        v[i] = (struct sock_in){.p = iov[i].iov_base, .len = m[i].msg_len};
        if ((m[i].msg_hdr.msg_flags & MSG_TRUNC) == 0) {
            (void)addr_from_sockaddr((struct sockaddr *)&sa[i], &v[i].from);
        }
        where(&m[i].msg_hdr, &v[i]);
    }
    return n;
}

/* The control message that chooses source and interface. */
static void choose(struct msghdr *m, const struct sock_out *o, char control[CONTROL_MAX])
{
    if (o->source.family != o->dst.family && o->ifindex == 0) {
        return;
    }
    memset(control, 0, CONTROL_MAX);
    m->msg_control = control;
    m->msg_controllen = CONTROL_MAX;
    struct cmsghdr *c = CMSG_FIRSTHDR(m);
    if (o->dst.family == 4) {
        struct in_pktinfo i = {.ipi_ifindex = (int)o->ifindex};
        if (o->source.family == 4) {
            memcpy(&i.ipi_spec_dst, o->source.ip, 4);
        }
        c->cmsg_level = IPPROTO_IP;
        c->cmsg_type = IP_PKTINFO;
        c->cmsg_len = CMSG_LEN(sizeof i);
        memcpy(CMSG_DATA(c), &i, sizeof i);
        m->msg_controllen = CMSG_SPACE(sizeof i);
    } else {
        struct in6_pktinfo i = {.ipi6_ifindex = o->ifindex};
        if (o->source.family == 6) {
            memcpy(&i.ipi6_addr, o->source.ip, 16);
        }
        c->cmsg_level = IPPROTO_IPV6;
        c->cmsg_type = IPV6_PKTINFO;
        c->cmsg_len = CMSG_LEN(sizeof i);
        memcpy(CMSG_DATA(c), &i, sizeof i);
        m->msg_controllen = CMSG_SPACE(sizeof i);
    }
}

void sock_send_many(int fd, const struct sock_out *v, size_t n, int rc[SOCK_BATCH])
{
    struct sockaddr_storage sa[SOCK_BATCH];
    char control[SOCK_BATCH][CONTROL_MAX] __attribute__((aligned(8)));
    struct iovec iov[SOCK_BATCH];
    struct mmsghdr m[SOCK_BATCH];
    for (size_t i = 0; i < n; i++) {
        iov[i] = (struct iovec){(void *)(uintptr_t)v[i].p, v[i].len};
        m[i].msg_hdr = (struct msghdr){
            .msg_name = &sa[i],
            .msg_namelen = addr_to_sockaddr(&v[i].dst, &sa[i]),
            .msg_iov = &iov[i],
            .msg_iovlen = 1,
        };
        choose(&m[i].msg_hdr, &v[i], control[i]);
    }
    for (size_t done = 0; done < n;) {
        int sent =
            sendmmsg(fd, m + done, (unsigned)(n - done), MSG_DONTWAIT | MSG_NOSIGNAL);
        for (int i = 0; i < sent; i++) {
            rc[done++] = 0;
        }
        if (sent <= 0) { /* the first one's error */
            rc[done++] = -errno;
        }
    }
}
