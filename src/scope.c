#include "scope.h"

#include <string.h>

#include "base/err.h"

void scope_init(struct scope *s, enum scope_mode mode)
{
    memset(s, 0, sizeof *s);
    s->mode = mode;
}

void scope_set_interfaces(struct scope *s, const struct lan_interface *v, size_t n)
{
    s->n_links = 0;
    for (size_t i = 0; i < n && s->n_links < LAN_IFACES_MAX; i++) {
        s->links[s->n_links++] = (struct prefix){.addr = v[i].addr, .bits = v[i].bits};
    }
}

void scope_set_subnets(struct scope *s, const struct prefix *v, size_t n)
{
    s->n_subnets = n < CONFIG_SUBNETS_MAX ? n : CONFIG_SUBNETS_MAX;
    memcpy(s->subnets, v, s->n_subnets * sizeof *v);
}

int scope_add_peer(struct scope *s, const struct addr *a)
{
    if (s->mode == SCOPE_LAN && !addr_is_private(a)) {
        return ERR_REFUSED;
    }
    for (size_t i = 0; i < s->n_peers; i++) {
        if (addr_eq_ip(&s->peers[i], a)) {
            return 0;
        }
    }
    if (s->n_peers == SCOPE_PEERS_MAX) {
        return ERR_LIMIT;
    }
    s->peers[s->n_peers++] = *a;
    return 0;
}

int scope_allow_now(struct scope *s, const struct addr *a)
{
    if (s->mode == SCOPE_LAN && !addr_is_private(a)) {
        return ERR_REFUSED;
    }
    for (size_t i = 0; i < SCOPE_NOW; i++) {
        if (addr_eq_ip(&s->now[i], a)) {
            return 0;
        }
    }
    s->now[s->next_now] = *a;
    s->next_now = (s->next_now + 1) % SCOPE_NOW;
    return 0;
}

void scope_heard(struct scope *s, const struct addr *a)
{
    if (s->mode == SCOPE_INTERNET) {
        return; /* it may be sent to anyway */
    }
    for (size_t i = 0; i < SCOPE_HEARD; i++) {
        if (addr_eq(&s->heard[i], a)) {
            return;
        }
    }
    s->heard[s->next_heard] = *a;
    s->next_heard = (s->next_heard + 1) % SCOPE_HEARD;
}

static bool contains(const struct prefix *v, size_t n, const struct addr *a)
{
    for (size_t i = 0; i < n; i++) {
        if (prefix_contains(&v[i], a)) {
            return true;
        }
    }
    return false;
}

bool scope_on_link(const struct scope *s, const struct addr *a)
{
    return contains(s->links, s->n_links, a);
}

bool scope_may_dial(const struct scope *s, const struct addr *a)
{
    if (!addr_is_dialable(a)) {
        return false;
    }
    if (s->mode == SCOPE_INTERNET || scope_on_link(s, a)) {
        return true;
    }
    for (size_t i = 0; i < s->n_peers; i++) {
        if (addr_eq_ip(&s->peers[i], a)) {
            return true;
        }
    }
    for (size_t i = 0; i < SCOPE_NOW; i++) {
        if (addr_eq_ip(&s->now[i], a)) {
            return true;
        }
    }
    return addr_is_private(a) && contains(s->subnets, s->n_subnets, a);
}

bool scope_may_send(const struct scope *s, const struct addr *a)
{
    if (addr_is_multicast(a) || scope_may_dial(s, a)) {
        return true;
    }
    for (size_t i = 0; i < SCOPE_HEARD; i++) {
        if (addr_eq(&s->heard[i], a)) {
            return true;
        }
    }
    return false;
}

bool scope_may_answer(const struct scope *s, const struct addr *a)
{
    return s->mode == SCOPE_INTERNET || addr_is_private(a) || scope_on_link(s, a);
}
