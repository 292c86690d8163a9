/* Datagrams at the discovery sockets: a source in wire form (family 4 or 6), then the
 * datagram. One contact, one invite and a network are watched, under the keys that the
 * corpus uses.
 */
#include <assert.h>
#include <string.h>

#include "lan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void zeros(void *ctx, void *buf, size_t len)
{
    (void)ctx;
    memset(buf, 0, len);
}

static uint64_t wall(void *ctx)
{
    (void)ctx;
    return 0;
}

/* What a key recognises is what it would write. */
static void decode(const uint8_t *p, size_t n, const uint8_t key[32],
                   const struct addr *source)
{
    struct wire_beacon v, again;
    uint8_t out[WIRE_BEACON];
    if (wire_beacon_get(p, n, key, source, &v)) {
        wire_beacon_put(out, key, source, &v);
        bool ok = wire_beacon_get(out, sizeof out, key, source, &again);
        assert(ok && memcmp(v.nonce, again.nonce, sizeof v.nonce) == 0);
        assert(v.port == again.port && v.presence == again.presence &&
               v.flags == again.flags);
        assert(memcmp(out, p, 24) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct env env = {NULL, zeros, wall};
    static const uint8_t own[NETKEY_MEMBER] = {1};
    uint8_t keys[3][32];
    struct addr source;
    size_t n = size > 0 && data[0] == 6 ? ADDR_WIRE6 : ADDR_WIRE4;
    if (size < n || addr_from_wire(data, n, &source) != 0) {
        return 0;
    }
    for (uint8_t i = 0; i < 32; i++) {
        keys[0][i] = i;
        keys[1][i] = (uint8_t)(0x40 + i);
        keys[2][i] = (uint8_t)(0x80 + i);
    }
    decode(data + n, size - n, keys[0], &source);
    decode(data + n, size - n, keys[1], &source);
    decode(data + n, size - n, keys[2], &source);

    struct lan *l = lan_new(&env);
    assert(l != NULL);
    struct lan_interface face = {.ifindex = 2, .bits = 24, .up = true};
    int rc = addr_parse("192.0.2.7", 0, &face.addr);
    assert(rc == 0);
    rc = lan_set_interfaces(l, &face, 1, 1000);
    assert(rc == 0);
    lan_set_ports(l, 7679, 7679, 1000);
    rc = lan_watch(l, LAN_CONTACT, 1, &keys[0], 1, 1000);
    assert(rc == 0);
    rc = lan_watch(l, LAN_INVITE, 1, &keys[1], 1, 1000);
    assert(rc == 0);
    rc = lan_set_network(l, keys[2], own, 1000);
    assert(rc == 0);
    rc = lan_recv(l, &source, data + n, size - n, 2000);
    struct lan_event e;
    struct lan_out out;
    if (rc == 0) {
        bool got = lan_next_event(l, &e);
        assert(got && e.type == LAN_SEEN && addr_eq_ip(&e.addr, &source));
        assert(lan_next_out(l, &out) == (e.kind == LAN_INVITE && source.family == 4));
        rc = lan_recv(l, &source, data + n, size - n, 2001);
        assert(rc != 0);
    }
    assert(!lan_next_event(l, &e) && !lan_next_out(l, &out));
    lan_free(l);
    return 0;
}
