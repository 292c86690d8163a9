/* The network interfaces: their addresses, and when they change (rtnetlink). */
#ifndef LINNET_NETIF_H
#define LINNET_NETIF_H

#include <stdbool.h>
#include <stddef.h>

#include "config.h"
#include "lan.h"

/* A socket that becomes readable when links or addresses change; negative: not
 * possible here. */
int netif_watch(void);
/* Takes in what it has to say. */
void netif_drain(int fd);

/* Whether the interface counts (configuration `interfaces`; none named: all do). */
bool netif_counts(const struct config_view *c, unsigned ifindex);

/* The addresses of interfaces that count, at most max, that of the default route first
 * in its family; IPv6 addresses that are not yet, or no longer, usable are left out.
 * Returns how many. Sends nothing. */
size_t netif_list(const struct config_view *c, struct lan_interface *out, size_t max);

/* All addresses of this host, whether their interfaces count or are up, without ports.
 * Negative: they cannot be listed, or are more than max. */
int netif_addresses(struct addr *out, size_t max);

#endif
