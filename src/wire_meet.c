/* Whereabouts and knocks, and the DHT items that hold them (docs/PROTOCOL.md,
 * "Whereabouts"). */
#include "wire.h"

#include <assert.h>
#include <string.h>

#include <sodium.h>

static_assert(WIRE_ITEM_VALUE <= 800, "a value is small enough for one datagram");

static void put_addr(struct wr *w, const struct addr *a)
{
    uint8_t bytes[ADDR_WIRE6];
    size_t n = addr_to_wire(a, bytes, sizeof bytes);
    if (n == 0) {
        w->bad = true;
        return;
    }
    wr_ben_str(w, bytes, n);
}

static void put_addrs(struct wr *w, const char *key, const struct addr *v, size_t n)
{
    wr_ben_key(w, key);
    wr_ben_list(w);
    for (size_t i = 0; i < n; i++) {
        put_addr(w, &v[i]);
    }
    wr_ben_end(w);
}

static void put_presence(struct wr *w, const struct wire_where *v)
{
    uint8_t both[64];
    struct wr all = wr_init(both, sizeof both);
    wr_bytes(&all, v->presence_p, sizeof v->presence_p);
    wr_bytes(&all, v->presence_a, sizeof v->presence_a);
    wr_ben_key(w, "p");
    wr_ben_str(w, both, sizeof both);
    sodium_memzero(both, sizeof both);
}

void wire_where_put(struct wr *w, const struct wire_where *v)
{
    if (v->n_links > WIRE_WHERE_ADDRS_MAX || v->n_udp > WIRE_WHERE_ADDRS_MAX ||
        v->n_relays > WIRE_WHERE_RELAYS_MAX || v->nat > WIRE_NAT_MAX) {
        w->bad = true;
        return;
    }
    wr_ben_dict(w);
    put_addrs(w, "l", v->links, v->n_links);
    wr_ben_key(w, "n");
    wr_ben_uint(w, v->nat);
    if (v->has_presence) {
        put_presence(w, v);
    }
    wr_ben_key(w, "r");
    wr_ben_list(w);
    for (size_t i = 0; i < v->n_relays; i++) {
        wr_ben_list(w);
        wr_ben_str(w, v->relays[i].tag, sizeof v->relays[i].tag);
        put_addr(w, &v->relays[i].addr);
        wr_ben_end(w);
    }
    wr_ben_end(w);
    if (v->time_ms != 0) {
        wr_ben_key(w, "t");
        wr_ben_uint(w, v->time_ms);
    }
    put_addrs(w, "u", v->udp, v->n_udp);
    wr_ben_end(w);
}

/* False: malformed. An address that is of no use has family 0. */
static bool get_addr(struct ben item, struct addr *a)
{
    const uint8_t *p;
    size_t n;
    *a = (struct addr){0};
    if (!ben_str(item, &p, &n) || n == 0) {
        return false;
    }
    if (p[0] != 4 && p[0] != 6) {
        return true;
    }
    if (addr_from_wire(p, n, a) != 0) {
        return false;
    }
    if (!addr_is_dialable(a)) {
        a->family = 0;
    }
    return true;
}

static bool get_addrs(struct ben list, struct addr v[WIRE_WHERE_ADDRS_MAX], size_t *n)
{
    struct ben_iter it = {0};
    struct ben item;
    size_t seen = 0;
    *n = 0;
    if (!ben_is_list(list)) {
        return false;
    }
    while (ben_list_next(list, &it, &item)) {
        if (seen++ == WIRE_WHERE_ADDRS_MAX || !get_addr(item, &v[*n])) {
            return false;
        }
        *n += v[*n].family != 0;
    }
    return true;
}

static bool get_relay(struct ben item, struct wire_relay *r)
{
    struct ben_iter it = {0};
    struct ben tag, at, more;
    return ben_is_list(item) && ben_list_next(item, &it, &tag) &&
           ben_fixed(tag, r->tag, sizeof r->tag) && ben_list_next(item, &it, &at) &&
           get_addr(at, &r->addr) && !ben_list_next(item, &it, &more);
}

static bool get_relays(struct ben list, struct wire_where *v)
{
    struct ben_iter it = {0};
    struct ben item;
    size_t seen = 0;
    if (!ben_is_list(list)) {
        return false;
    }
    while (ben_list_next(list, &it, &item)) {
        if (seen++ == WIRE_WHERE_RELAYS_MAX ||
            !get_relay(item, &v->relays[v->n_relays])) {
            return false;
        }
        v->n_relays += v->relays[v->n_relays].addr.family != 0;
    }
    return true;
}

static bool get_optional(struct ben d, struct wire_where *v)
{
    struct ben secret = ben_get(d, "p"), time = ben_get(d, "t");
    uint8_t both[64];
    v->has_presence = secret.p != NULL;
    if (v->has_presence) {
        if (!ben_fixed(secret, both, sizeof both)) {
            return false;
        }
        memcpy(v->presence_p, both, 32);
        memcpy(v->presence_a, both + 32, 32);
        sodium_memzero(both, sizeof both);
    }
    return time.p == NULL || (ben_uint(time, &v->time_ms) && v->time_ms != 0);
}

bool wire_where_get(const uint8_t *p, size_t len, struct wire_where *v)
{
    struct ben d;
    memset(v, 0, sizeof *v);
    return bencode_check(p, len, &d) && ben_is_dict(d) &&
           get_addrs(ben_get(d, "l"), v->links, &v->n_links) &&
           ben_uint(ben_get(d, "n"), &v->nat) && v->nat <= WIRE_NAT_MAX &&
           get_relays(ben_get(d, "r"), v) && get_optional(d, v) &&
           get_addrs(ben_get(d, "u"), v->udp, &v->n_udp);
}

void wire_item_put(struct wr *w, const uint8_t value[BLIND_VALUE])
{
    wr_ben_str(w, value, BLIND_VALUE);
}

const uint8_t *wire_item_get(const uint8_t *p, size_t len)
{
    struct ben v;
    const uint8_t *value;
    size_t n;
    if (len != WIRE_ITEM_VALUE || !bencode_check(p, len, &v) || !ben_str(v, &value, &n)) {
        return NULL;
    }
    return value;
}

void wire_item_signed(struct wr *w, uint64_t seq, const uint8_t *v, size_t len)
{
    wr_ben_str(w, "seq", 3);
    wr_ben_uint(w, seq);
    wr_ben_str(w, "v", 1);
    wr_bytes(w, v, len);
}
