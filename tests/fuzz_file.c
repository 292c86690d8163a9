/* Frames and bodies of files, manifests, names. The first byte chooses a decoder; what it
 * takes is encoded, decoded and encoded again, with the same bytes. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Beside the types of frames. */
enum { FUZZ_BODY = 'b', FUZZ_MANIFEST = 'm', FUZZ_NAME = 'n' };

static bool is_of_file(const struct wire_body *v)
{
    return v->kind >= BODY_OFFER && v->kind <= BODY_FILE_END;
}

/* What a receiver makes files of: each path stays below the folder, and lies in one that
 * came before it. */
static bool manifest(const uint8_t *p, size_t n, struct wr *w)
{
    struct rd r = rd_init(p, n);
    struct wire_manifest_at at = {0};
    struct wire_manifest_entry v, before = {0};
    while (wire_manifest_next(&r, &at, &v)) {
        assert(v.path_len > 0 && v.path_len <= WIRE_FILE_PATH_MAX && v.path[0] != '/');
        assert(memchr(v.path, '\0', v.path_len) == NULL);
        assert(memmem(v.path, v.path_len, "/../", 4) == NULL);
        assert(before.path == NULL || before.path_len != v.path_len ||
               memcmp(before.path, v.path, v.path_len) != 0);
        assert(at.n <= WIRE_FILE_ENTRIES_MAX && at.total <= WIRE_FILE_SIZE_MAX);
        wire_manifest_put(w, &v);
        before = v;
    }
    return rd_end(&r);
}

/* Decodes; when that succeeds writes it to w again. */
static bool pass(uint8_t which, const uint8_t *p, size_t n, struct wr *w)
{
    union {
        struct wire_file_want want;
        struct wire_file_state state;
        struct wire_file_no no;
        struct wire_file_leaf leaf;
        struct wire_file_data data;
        struct wire_file_list list;
        struct wire_body body;
    } v;
    switch (which) {
    case FRAME_FILE_WANT:
        return wire_file_want_get(p, n, &v.want) &&
               (wire_file_want_put(w, &v.want), true);
    case FRAME_FILE_STATE:
        return wire_file_state_get(p, n, &v.state) &&
               (wire_file_state_put(w, &v.state), true);
    case FRAME_FILE_NO:
        return wire_file_no_get(p, n, &v.no) && (wire_file_no_put(w, &v.no), true);
    case FRAME_FILE_LEAF:
        return wire_file_leaf_get(p, n, &v.leaf) &&
               (wire_file_leaf_put(w, &v.leaf), true);
    case FRAME_FILE_DATA:
        return wire_file_data_get(p, n, &v.data) &&
               (wire_file_data_put(w, &v.data), true);
    case FRAME_FILE_LIST:
        return wire_file_list_get(p, n, &v.list) &&
               (wire_file_list_put(w, &v.list), true);
    case FUZZ_BODY:
        return wire_body_get(p, n, &v.body) && is_of_file(&v.body) &&
               (wire_body_put(w, &v.body), true);
    case FUZZ_MANIFEST:
        return manifest(p, n, w);
    default:
        return false;
    }
}

/* Any bytes become a good name, and a good name stays. */
static void name(const uint8_t *p, size_t n)
{
    char *in = malloc(n + 1), out[WIRE_FILE_NAME_MAX + 1], again[WIRE_FILE_NAME_MAX + 1];
    assert(in != NULL);
    memcpy(in, p, n);
    in[n] = '\0';
    wire_file_name_fix(in, out);
    assert(wire_file_name_ok((uint8_t *)out, strlen(out)));
    wire_file_name_fix(out, again);
    assert(strcmp(out, again) == 0);
    if (wire_file_name_ok(p, n)) {
        assert(strlen(in) == n && strcmp(in, out) == 0);
        assert(strchr(in, '/') == NULL && strcmp(in, "..") != 0 && strcmp(in, ".") != 0);
    }
    free(in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t first[1 << 20], second[1 << 20];
    if (size == 0 || size > sizeof first) {
        return 0;
    }
    if (data[0] == FUZZ_NAME) {
        name(data + 1, size - 1);
    }
    struct wr a = wr_init(first, sizeof first), b = wr_init(second, sizeof second);
    if (pass(data[0], data + 1, size - 1, &a)) {
        assert(wr_ok(&a));
        bool again = pass(data[0], first, a.len, &b);
        assert(again && wr_ok(&b) && a.len == b.len && memcmp(first, second, a.len) == 0);
        if (data[0] >= FRAME_FILE_LEAF && data[0] <= FRAME_FILE_LIST) {
            assert(a.len == size - 1 && memcmp(first, data + 1, a.len) == 0);
        }
    }
    return 0;
}
