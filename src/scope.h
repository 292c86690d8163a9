/* The scope: whom this node may talk to. The loop asks here before anything leaves or is
 * let in, so that no layer above can get around it.
 *
 *   lan       dials prefixes that are on-link, private addresses in configured subnets
 *             and peers: configured ones, and private addresses that a code of the
 *             user's names, where a contact was met, or where members of the user's
 *             secret network say that one is; answers whoever is private, link-local
 *             or on-link
 *   internet  everything
 *
 * Datagrams go where one may dial, to multicast, and back to who sent one lately. */
#ifndef LINNET_SCOPE_H
#define LINNET_SCOPE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"
#include "config.h"
#include "lan.h"

enum { SCOPE_PEERS_MAX = 256, SCOPE_HEARD = 32, SCOPE_NOW = 64 };

struct scope {
    enum scope_mode mode;
    struct prefix links[LAN_IFACES_MAX];
    size_t n_links;
    struct prefix subnets[CONFIG_SUBNETS_MAX];
    size_t n_subnets;
    struct addr peers[SCOPE_PEERS_MAX];
    size_t n_peers;
    struct addr heard[SCOPE_HEARD]; /* a ring of sources */
    unsigned next_heard;
    struct addr now[SCOPE_NOW]; /* a ring of what was allowed lately */
    unsigned next_now;
};

void scope_init(struct scope *s, enum scope_mode mode);
void scope_set_interfaces(struct scope *s, const struct lan_interface *v, size_t n);
void scope_set_subnets(struct scope *s, const struct prefix *v, size_t n);
/* ERR_REFUSED: no private address, and the scope is lan. ERR_LIMIT. */
int scope_add_peer(struct scope *s, const struct addr *a);
/* What is sent next may go there, also when it is beyond what is on-link and configured:
 * the last SCOPE_NOW stay allowed. ERR_REFUSED: no private address, and the scope is lan.
 */
int scope_allow_now(struct scope *s, const struct addr *a);
/* A datagram came from there and was let in. */
void scope_heard(struct scope *s, const struct addr *a);

bool scope_on_link(const struct scope *s, const struct addr *a);
bool scope_may_dial(const struct scope *s, const struct addr *a);
bool scope_may_send(const struct scope *s, const struct addr *a);
bool scope_may_answer(const struct scope *s, const struct addr *a);

#endif
