/* CODE frames of a contact: the first byte says who dialled (bit 0) and whether our user
 * asks (bit 1 not set), then frames of length(1) ‖ payload. No code comes without the
 * steps that lead to it, and none twice. */
#include <assert.h>
#include <string.h>

#include "verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void zeros(void *ctx, void *buf, size_t len)
{
    (void)ctx;
    memset(buf, 0xaa, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct env env = {NULL, zeros, NULL};
    static const uint8_t hash[64], a[32], b[32];
    const struct verify_link link = {hash, a, b};
    struct verify v = {0};
    struct rd r = rd_init(data, size);
    uint8_t how = rd_u8(&r);
    struct verify_out out = {0};
    unsigned done = 0;
    if ((how & 2) == 0) {
        int err = verify_begin(&v, &env, (how & 1) != 0, 0, &out);
        assert(err == 0);
    }
    for (uint64_t now = 1; r.n > 0 && rd_ok(&r); now += 1000) {
        size_t len = rd_u8(&r);
        const uint8_t *p = rd_bytes(&r, len);
        if (p == NULL) {
            break;
        }
        out = (struct verify_out){0};
        (void)verify_recv(&v, &link, p, len, now, &out);
        assert(out.n <= 2 && !(out.done && out.failed));
        done += out.done;
        if (out.done || out.failed) {
            assert(v.state == VERIFY_IDLE);
        }
    }
    assert(done <= 1 && (done == 0 || (how & 2) == 0));
    return 0;
}
