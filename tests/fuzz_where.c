/* Whereabouts, knocks and items. The first byte chooses: the content itself; content that
 * was sealed by who has the key; a sealed item. What is taken is written, taken and
 * written again, with the same bytes. */
#include <assert.h>
#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void content(const uint8_t *p, size_t n)
{
    struct wire_where v, again;
    uint8_t one[WIRE_WHERE_MAX], two[WIRE_WHERE_MAX];
    if (!wire_where_get(p, n, &v)) {
        return;
    }
    struct wr w = wr_init(one, sizeof one);
    wire_where_put(&w, &v);
    assert(wr_ok(&w));
    bool ok = wire_where_get(one, w.len, &again);
    assert(ok);
    struct wr x = wr_init(two, sizeof two);
    wire_where_put(&x, &again);
    assert(wr_ok(&x) && x.len == w.len && memcmp(one, two, w.len) == 0);
    for (size_t i = 0; i < v.n_links; i++) {
        assert(addr_is_dialable(&v.links[i]));
    }
}

static void sealed(const uint8_t *p, size_t n)
{
    static const uint8_t key[BLIND_SEAL_KEY] = {1}, pub[BLIND_PUB] = {2};
    static const uint8_t nonce[BLIND_NONCE] = {3};
    uint8_t value[BLIND_VALUE], out[BLIND_CONTENT_MAX];
    size_t len = 0;
    if (blind_seal(key, pub, 7, nonce, p, n, value) != 0) {
        assert(n > BLIND_CONTENT_MAX);
        return;
    }
    int rc = blind_open(key, pub, 7, value, sizeof value, out, &len);
    assert(rc == 0 && len == n && memcmp(out, p, n) == 0);
    content(out, len);
}

static void item(const uint8_t *p, size_t n)
{
    static const uint8_t key[BLIND_SEAL_KEY] = {1}, pub[BLIND_PUB] = {2};
    uint8_t out[BLIND_CONTENT_MAX];
    size_t len = 0;
    const uint8_t *value = wire_item_get(p, n);
    if (value != NULL && blind_open(key, pub, 7, value, BLIND_VALUE, out, &len) == 0) {
        content(out, len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    switch (data[0]) {
    case 's':
        sealed(data + 1, size - 1);
        break;
    case 'i':
        item(data + 1, size - 1);
        break;
    default:
        content(data + 1, size - 1);
        break;
    }
    return 0;
}
