/* Open beacons: what a visible node tells everybody (docs/PROTOCOL.md, "Open beacons").
 */
#include "wire.h"

#include <assert.h>
#include <string.h>

#include <sodium.h>

enum { MAGIC = 6, OPEN_VERSION = 1, NONCE = 16, HASH = 32, ZEROS = 4 };
static_assert(MAGIC + 2 + NONCE + 4 + HASH + WIRE_NAME_MAX + ZEROS == WIRE_OPEN,
              "the parts of an open beacon");

static const uint8_t magic[MAGIC] = {'l', 'i', 'n', 'n', 'e', 't'};

void wire_open_put(uint8_t out[WIRE_OPEN], const struct wire_open *v)
{
    struct wr w = wr_init(out, WIRE_OPEN);
    size_t len = strnlen(v->name, WIRE_NAME_MAX);
    wr_bytes(&w, magic, MAGIC);
    wr_u8(&w, OPEN_VERSION);
    wr_u8(&w, v->flags);
    wr_bytes(&w, v->nonce, NONCE);
    wr_u16(&w, v->port);
    wr_u8(&w, v->presence);
    wr_u8(&w, (uint8_t)len);
    wr_bytes(&w, v->cert, HASH);
    wr_bytes(&w, v->name, len);
    wr_zero(&w, WIRE_NAME_MAX - len + ZEROS);
    assert(wr_ok(&w) && w.len == WIRE_OPEN);
}

bool wire_open_get(const uint8_t *p, size_t len, struct wire_open *v)
{
    struct rd r = rd_init(p, len);
    const uint8_t *theirs = rd_bytes(&r, MAGIC);
    if (theirs == NULL || memcmp(theirs, magic, MAGIC) != 0 ||
        rd_u8(&r) != OPEN_VERSION) {
        return false;
    }
    *v = (struct wire_open){.flags = rd_u8(&r)};
    (void)rd_copy(&r, v->nonce, NONCE);
    v->port = rd_u16(&r);
    v->presence = rd_u8(&r);
    size_t name_len = rd_u8(&r);
    (void)rd_copy(&r, v->cert, HASH);
    const uint8_t *name = rd_bytes(&r, WIRE_NAME_MAX);
    const uint8_t *zeros = rd_bytes(&r, ZEROS);
    if (!rd_end(&r) || v->port == 0 || name_len > WIRE_NAME_MAX ||
        !wire_name_ok(name, name_len) || !sodium_is_zero(zeros, ZEROS) ||
        !sodium_is_zero(name + name_len, WIRE_NAME_MAX - name_len)) {
        return false;
    }
    memcpy(v->name, name, name_len);
    return true;
}
