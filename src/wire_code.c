/* Invite codes. */
#include "wire.h"

#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "bech32.h"

enum {
    CODE_VERSION = 1,
    CODE_BYTES_MAX = 1 + 1 + KEYS_ROOT + 32 + 4 + WIRE_CODE_ADDRS_MAX * ADDR_WIRE6,
};

static const char code_prefix[] = "linnet";

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

int wire_code_put(const struct wire_code *v, char out[WIRE_CODE_MAX + 1])
{
    uint8_t raw[CODE_BYTES_MAX];
    struct wr w = wr_init(raw, sizeof raw);
    if (v->n_addrs > WIRE_CODE_ADDRS_MAX) {
        return ERR_LIMIT;
    }
    for (size_t i = 0; i < v->n_addrs; i++) {
        if (!addr_is_dialable(&v->addrs[i])) {
            return ERR_ARG;
        }
    }
    wr_u8(&w, CODE_VERSION);
    wr_u8(&w, 0);
    wr_bytes(&w, v->root, sizeof v->root);
    wr_bytes(&w, v->secret, sizeof v->secret);
    wr_u32(&w, v->expiry_s);
    for (size_t i = 0; i < v->n_addrs; i++) {
        uint8_t a[ADDR_WIRE6];
        size_t n = addr_to_wire(&v->addrs[i], a, sizeof a);
        wr_bytes(&w, a, n);
    }
    int rc = ERR_LIMIT;
    if (wr_ok(&w)) {
        rc = bech32_encode(code_prefix, raw, w.len, out, WIRE_CODE_MAX + 1);
    }
    sodium_memzero(raw, sizeof raw);
    return rc;
}

static bool get_addrs(struct rd *r, struct wire_code *v)
{
    v->n_addrs = 0;
    while (r->n > 0) {
        size_t n = *r->p == 4 ? ADDR_WIRE4 : ADDR_WIRE6;
        const uint8_t *p = rd_bytes(r, n);
        if (v->n_addrs == WIRE_CODE_ADDRS_MAX || p == NULL ||
            addr_from_wire(p, n, &v->addrs[v->n_addrs]) != 0 ||
            !addr_is_dialable(&v->addrs[v->n_addrs])) {
            return false;
        }
        v->n_addrs++;
    }
    return true;
}

static int decode(const uint8_t *raw, size_t n, struct wire_code *v)
{
    struct rd r = rd_init(raw, n);
    uint8_t version = rd_u8(&r), flags = rd_u8(&r);
    if (!rd_ok(&r) || version == 0) {
        return ERR_FORMAT;
    }
    if (version > CODE_VERSION || flags != 0) {
        return ERR_NEWER;
    }
    (void)rd_copy(&r, v->root, sizeof v->root);
    (void)rd_copy(&r, v->secret, sizeof v->secret);
    v->expiry_s = rd_u32(&r);
    return rd_ok(&r) && get_addrs(&r, v) && rd_end(&r) ? 0 : ERR_FORMAT;
}

int wire_code_get(const char *s, size_t len, struct wire_code *v)
{
    uint8_t raw[CODE_BYTES_MAX];
    struct wire_code code = {0};
    size_t n;
    while (len > 0 && is_space(s[0])) {
        s++;
        len--;
    }
    while (len > 0 && is_space(s[len - 1])) {
        len--;
    }
    if (len > WIRE_CODE_MAX ||
        bech32_decode(code_prefix, s, len, raw, sizeof raw, &n) != 0) {
        sodium_memzero(raw, sizeof raw);
        return ERR_FORMAT;
    }
    int rc = decode(raw, n, &code);
    if (rc == 0) {
        *v = code;
    }
    sodium_memzero(&code, sizeof code);
    sodium_memzero(raw, sizeof raw);
    return rc;
}
