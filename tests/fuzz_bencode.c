#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bencode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Writes v again from what the accessors say, a number that isn't canonical as it is;
 * depth is bounded by the check before. */
static void copy(struct ben v, struct wr *w, unsigned depth)
{
    const uint8_t *p;
    size_t n;
    int64_t i;
    struct ben_iter it = {0};
    struct ben key, value;
    assert(depth <= BENCODE_LAX_DEPTH_MAX);
    if (ben_str(v, &p, &n)) {
        wr_ben_str(w, p, n);
    } else if (ben_int(v, &i)) {
        wr_ben_int(w, i);
    } else if (ben_is_list(v)) {
        wr_ben_list(w);
        while (ben_list_next(v, &it, &value)) {
            copy(value, w, depth + 1);
        }
        wr_ben_end(w);
    } else if (!ben_is_dict(v)) {
        wr_bytes(w, v.p, v.n);
    } else {
        wr_ben_dict(w);
        while (ben_dict_next(v, &it, &key, &value)) {
            copy(key, w, depth + 1);
            copy(value, w, depth + 1);
        }
        wr_ben_end(w);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ben strict, lax;
    bool is_strict = bencode_check(data, size, &strict);
    bool is_lax = bencode_check_lax(data, size, &lax);
    assert(is_lax || !is_strict);
    if (!is_lax) {
        return 0;
    }
    uint8_t *out = malloc(size);
    assert(out != NULL);
    struct wr w = wr_init(out, size);
    copy(lax, &w, 0);
    assert(wr_ok(&w) && w.len == size && memcmp(out, data, size) == 0);
    free(out);
    return 0;
}
