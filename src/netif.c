#include "netif.h"

#include <ifaddrs.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { IF6_LINE = 128, IF6_MAX = 256, DISCARD_PORT = 9 };

int netif_watch(void)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
    struct sockaddr_nl sa = {
        .nl_family = AF_NETLINK,
        .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR,
    };
    if (fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof sa) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

void netif_drain(int fd)
{
    char buf[4096];
    /* What changed does not matter: the list is read anew. An overrun (ENOBUFS) means
     * the same. */
    for (int i = 0; i < IF6_MAX && recv(fd, buf, sizeof buf, MSG_DONTWAIT) > 0; i++) {
    }
}

static bool counts(const struct config_view *c, const char *name)
{
    for (size_t i = 0; i < c->n_ifaces; i++) {
        if (strcmp(c->ifaces[i], name) == 0) {
            return true;
        }
    }
    return c->n_ifaces == 0;
}

bool netif_counts(const struct config_view *c, unsigned ifindex)
{
    char name[IF_NAMESIZE];
    return c->n_ifaces == 0 || (if_indextoname(ifindex, name) != NULL && counts(c, name));
}

/* IPv6 addresses that the kernel lists as not usable (duplicate detection runs or
 * failed): sending from them fails, and a second list follows when that ends. */
static bool is_tentative(const struct addr *a, unsigned ifindex)
{
    char line[IF6_LINE], hex[33];
    bool found = false;
    FILE *f = fopen("/proc/net/if_inet6", "re");
    for (size_t i = 0; i < 16; i++) {
        (void)snprintf(hex + 2 * i, 3, "%02x", a->ip[i]);
    }
    for (int i = 0; f != NULL && !found && i < IF6_MAX && fgets(line, sizeof line, f);
         i++) {
        char ip[33];
        unsigned index, bits, scope, flags;
        found =
            sscanf(line, "%32s %x %x %x %x", ip, &index, &bits, &scope, &flags) == 5 &&
            index == ifindex && strcmp(ip, hex) == 0 &&
            (flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)) != 0;
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return found;
}

static uint8_t mask_bits(const struct sockaddr *mask, uint8_t family)
{
    struct addr m = {0};
    if (mask == NULL || addr_from_sockaddr(mask, &m) != 0) {
        return family == 4 ? 32 : 128;
    }
    uint8_t bits = 0;
    for (size_t i = 0; i < (family == 4 ? 4 : 16); i++) {
        bits = (uint8_t)(bits + __builtin_popcount(m.ip[i]));
    }
    return bits;
}

static bool one(const struct config_view *c, const struct ifaddrs *i,
                struct lan_interface *out)
{
    unsigned index = if_nametoindex(i->ifa_name);
    if (i->ifa_addr == NULL || index == 0 || !counts(c, i->ifa_name) ||
        addr_from_sockaddr(i->ifa_addr, &out->addr) != 0) {
        return false;
    }
    if (out->addr.family == 6 && is_tentative(&out->addr, index)) {
        return false;
    }
    /* Loopback carries multicast although it does not say so. */
    unsigned flags = i->ifa_flags;
    out->addr.port = 0;
    out->ifindex = index;
    out->bits = mask_bits(i->ifa_netmask, out->addr.family);
    out->up = (flags & IFF_UP) != 0 && (flags & IFF_RUNNING) != 0 &&
              (flags & (IFF_MULTICAST | IFF_LOOPBACK)) != 0;
    return true;
}

/* The source address of the default route. Connecting a datagram socket sends nothing. */
static bool default_source(uint8_t family, struct addr *out)
{
    struct addr far = {.family = family, .port = DISCARD_PORT};
    static const uint8_t doc4[4] = {192, 0, 2, 1};
    static const uint8_t doc6[8] = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1};
    memcpy(far.ip, family == 4 ? doc4 : doc6, family == 4 ? sizeof doc4 : sizeof doc6);
    struct sockaddr_storage sa;
    socklen_t len = addr_to_sockaddr(&far, &sa);
    int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && connect(fd, (struct sockaddr *)&sa, len) == 0;
    len = sizeof sa;
    ok = ok && getsockname(fd, (struct sockaddr *)&sa, &len) == 0 &&
         addr_from_sockaddr((struct sockaddr *)&sa, out) == 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    return ok;
}

static void default_first(struct lan_interface *v, size_t n, uint8_t family)
{
    struct addr a;
    if (!default_source(family, &a)) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (addr_eq_ip(&v[i].addr, &a)) {
            struct lan_interface first = v[i];
            memmove(v + 1, v, i * sizeof *v);
            v[0] = first;
            return;
        }
    }
}

size_t netif_list(const struct config_view *c, struct lan_interface *out, size_t max)
{
    struct ifaddrs *all = NULL;
    size_t n = 0;
    if (getifaddrs(&all) != 0) {
        return 0;
    }
    for (const struct ifaddrs *i = all; i != NULL && n < max; i = i->ifa_next) {
        struct lan_interface v = {0};
        if (one(c, i, &v)) {
            out[n++] = v;
        }
    }
    freeifaddrs(all);
    default_first(out, n, 6);
    default_first(out, n, 4);
    return n;
}

int netif_addresses(struct addr *out, size_t max)
{
    struct ifaddrs *all = NULL;
    size_t n = 0;
    bool fits = true;
    if (getifaddrs(&all) != 0) {
        return -1;
    }
    for (const struct ifaddrs *i = all; i != NULL && fits; i = i->ifa_next) {
        struct addr a = {0};
        if (i->ifa_addr != NULL && addr_from_sockaddr(i->ifa_addr, &a) == 0) {
            fits = n < max;
            if (fits) {
                out[n++] = a;
            }
        }
    }
    freeifaddrs(all);
    return fits ? (int)n : -1;
}
