/* Frames of files. */
#include "wire.h"

static bool get_dict(const uint8_t *p, size_t len, struct ben *dict)
{
    return bencode_check(p, len, dict) && ben_is_dict(*dict);
}

/* An integer of at most max. */
static bool get_u32(struct ben v, uint32_t max, uint32_t *out)
{
    uint64_t n;
    if (!ben_uint(v, &n) || n > max) {
        return false;
    }
    *out = (uint32_t)n;
    return true;
}

static bool range_ok(const struct wire_file_range *r)
{
    return r->count > 0 && r->count <= HASHTREE_LEAVES_MAX &&
           r->first <= HASHTREE_LEAVES_MAX - r->count;
}

static bool want_ok(const struct wire_file_want *v)
{
    if (v->n_ranges > WIRE_FILE_RANGES_MAX || v->n_lists > WIRE_FILE_RANGES_MAX) {
        return false;
    }
    for (size_t i = 0; i < v->n_ranges; i++) {
        if (!range_ok(&v->ranges[i])) {
            return false;
        }
    }
    for (size_t i = 0; i < v->n_lists; i++) {
        if (v->lists[i] > HASHTREE_BLOCKS_MAX) {
            return false;
        }
    }
    return true;
}

void wire_file_want_put(struct wr *w, const struct wire_file_want *v)
{
    if (!want_ok(v)) {
        w->bad = true;
        return;
    }
    wr_ben_dict(w);
    wr_ben_key(w, "a");
    wr_ben_str(w, v->author, sizeof v->author);
    if (v->n_lists > 0) {
        wr_ben_key(w, "b");
        wr_ben_list(w);
        for (size_t i = 0; i < v->n_lists; i++) {
            wr_ben_uint(w, v->lists[i]);
        }
        wr_ben_end(w);
    }
    wr_ben_key(w, "h");
    wr_ben_uint(w, v->handle);
    wr_ben_key(w, "i");
    wr_ben_str(w, v->mid, sizeof v->mid);
    wr_ben_key(w, "l");
    wr_ben_list(w);
    for (size_t i = 0; i < v->n_ranges; i++) {
        wr_ben_list(w);
        wr_ben_uint(w, v->ranges[i].first);
        wr_ben_uint(w, v->ranges[i].count);
        wr_ben_end(w);
    }
    wr_ben_end(w);
    wr_ben_end(w);
}

static bool get_lists(struct ben list, struct wire_file_want *v)
{
    struct ben_iter it = {0};
    struct ben item;
    v->n_lists = 0;
    if (list.p == NULL) {
        return true;
    }
    if (!ben_is_list(list)) {
        return false;
    }
    while (ben_list_next(list, &it, &item)) {
        if (v->n_lists == WIRE_FILE_RANGES_MAX ||
            !get_u32(item, HASHTREE_BLOCKS_MAX, &v->lists[v->n_lists])) {
            return false;
        }
        v->n_lists++;
    }
    return v->n_lists > 0;
}

static bool get_range(struct ben item, struct wire_file_range *r)
{
    struct ben_iter it = {0};
    struct ben v;
    return ben_list_next(item, &it, &v) && get_u32(v, HASHTREE_LEAVES_MAX, &r->first) &&
           ben_list_next(item, &it, &v) && get_u32(v, HASHTREE_LEAVES_MAX, &r->count) &&
           !ben_list_next(item, &it, &v) && range_ok(r);
}

static bool get_ranges(struct ben list, struct wire_file_want *v)
{
    struct ben_iter it = {0};
    struct ben item;
    v->n_ranges = 0;
    if (!ben_is_list(list)) {
        return false;
    }
    while (ben_list_next(list, &it, &item)) {
        if (v->n_ranges == WIRE_FILE_RANGES_MAX ||
            !get_range(item, &v->ranges[v->n_ranges])) {
            return false;
        }
        v->n_ranges++;
    }
    return true;
}

bool wire_file_want_get(const uint8_t *p, size_t len, struct wire_file_want *v)
{
    struct ben d;
    return get_dict(p, len, &d) &&
           ben_fixed(ben_get(d, "a"), v->author, sizeof v->author) &&
           get_lists(ben_get(d, "b"), v) &&
           get_u32(ben_get(d, "h"), UINT32_MAX, &v->handle) &&
           ben_fixed(ben_get(d, "i"), v->mid, sizeof v->mid) &&
           get_ranges(ben_get(d, "l"), v);
}

static bool state_ok(const struct wire_file_state *v)
{
    return v->leaves <= HASHTREE_LEAVES_MAX && v->state <= FILE_WORD_MAX;
}

void wire_file_state_put(struct wr *w, const struct wire_file_state *v)
{
    if (!state_ok(v)) {
        w->bad = true;
        return;
    }
    wr_ben_dict(w);
    wr_ben_key(w, "a");
    wr_ben_str(w, v->author, sizeof v->author);
    wr_ben_key(w, "i");
    wr_ben_str(w, v->mid, sizeof v->mid);
    wr_ben_key(w, "n");
    wr_ben_uint(w, v->leaves);
    wr_ben_key(w, "s");
    wr_ben_uint(w, v->state);
    wr_ben_end(w);
}

bool wire_file_state_get(const uint8_t *p, size_t len, struct wire_file_state *v)
{
    struct ben d;
    return get_dict(p, len, &d) &&
           ben_fixed(ben_get(d, "a"), v->author, sizeof v->author) &&
           ben_fixed(ben_get(d, "i"), v->mid, sizeof v->mid) &&
           ben_uint(ben_get(d, "n"), &v->leaves) &&
           ben_uint(ben_get(d, "s"), &v->state) && state_ok(v);
}

void wire_file_no_put(struct wr *w, const struct wire_file_no *v)
{
    wr_ben_dict(w);
    wr_ben_key(w, "h");
    wr_ben_uint(w, v->handle);
    wr_ben_key(w, "r");
    wr_ben_uint(w, v->reason);
    wr_ben_end(w);
}

bool wire_file_no_get(const uint8_t *p, size_t len, struct wire_file_no *v)
{
    struct ben d;
    return get_dict(p, len, &d) && get_u32(ben_get(d, "h"), UINT32_MAX, &v->handle) &&
           ben_uint(ben_get(d, "r"), &v->reason);
}

static bool leaf_ok(const struct wire_file_leaf *v)
{
    return v->leaf < HASHTREE_LEAVES_MAX && v->len > 0 && v->len <= HASHTREE_LEAF;
}

void wire_file_leaf_put(struct wr *w, const struct wire_file_leaf *v)
{
    if (!leaf_ok(v)) {
        w->bad = true;
        return;
    }
    wr_u32(w, v->handle);
    wr_u32(w, v->leaf);
    wr_u32(w, v->len);
    wr_bytes(w, v->hash, sizeof v->hash);
}

bool wire_file_leaf_get(const uint8_t *p, size_t len, struct wire_file_leaf *v)
{
    struct rd r = rd_init(p, len);
    v->handle = rd_u32(&r);
    v->leaf = rd_u32(&r);
    v->len = rd_u32(&r);
    return rd_copy(&r, v->hash, sizeof v->hash) && rd_end(&r) && leaf_ok(v);
}

static bool data_ok(const struct wire_file_data *v)
{
    return v->leaf < HASHTREE_LEAVES_MAX && v->len > 0 && v->len <= WIRE_FILE_CHUNK &&
           v->offset <= HASHTREE_LEAF - v->len;
}

void wire_file_data_put(struct wr *w, const struct wire_file_data *v)
{
    if (!data_ok(v)) {
        w->bad = true;
        return;
    }
    wr_u32(w, v->handle);
    wr_u32(w, v->leaf);
    wr_u32(w, v->offset);
    wr_bytes(w, v->data, v->len);
}

bool wire_file_data_get(const uint8_t *p, size_t len, struct wire_file_data *v)
{
    struct rd r = rd_init(p, len);
    v->handle = rd_u32(&r);
    v->leaf = rd_u32(&r);
    v->offset = rd_u32(&r);
    v->len = r.n;
    v->data = rd_bytes(&r, v->len);
    return rd_end(&r) && data_ok(v);
}

static bool list_ok(const struct wire_file_list *v)
{
    uint32_t max = v->list == 0 ? HASHTREE_BLOCKS_MAX : HASHTREE_FANOUT;
    return v->list <= HASHTREE_BLOCKS_MAX && v->n > 0 && v->n <= WIRE_FILE_LIST_MAX &&
           v->first <= max - v->n;
}

void wire_file_list_put(struct wr *w, const struct wire_file_list *v)
{
    if (!list_ok(v)) {
        w->bad = true;
        return;
    }
    wr_u32(w, v->handle);
    wr_u32(w, v->list);
    wr_u32(w, v->first);
    wr_bytes(w, v->hashes, v->n * HASHTREE_HASH);
}

bool wire_file_list_get(const uint8_t *p, size_t len, struct wire_file_list *v)
{
    struct rd r = rd_init(p, len);
    v->handle = rd_u32(&r);
    v->list = rd_u32(&r);
    v->first = rd_u32(&r);
    v->n = r.n / HASHTREE_HASH;
    v->hashes = rd_bytes(&r, v->n * HASHTREE_HASH);
    return rd_end(&r) && list_ok(v);
}
