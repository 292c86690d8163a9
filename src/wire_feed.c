/* Entries and the frames that replicate them. */
#include "wire.h"

#include <string.h>

#include <sodium.h>

#include "crypto/kdf.h"

static bool get_dict(const uint8_t *p, size_t len, struct ben *dict)
{
    return bencode_check(p, len, dict) && ben_is_dict(*dict);
}

/* An integer that is written only when it is not 0. */
static void put_uint_opt(struct wr *w, const char *key, uint64_t v)
{
    if (v != 0) {
        wr_ben_key(w, key);
        wr_ben_uint(w, v);
    }
}

static bool get_uint_opt(struct ben v, uint64_t *out)
{
    *out = 0;
    return v.p == NULL || (ben_uint(v, out) && *out != 0);
}

/* A flag: 1 or absent. */
static bool get_flag(struct ben v, bool *out)
{
    uint64_t n;
    if (!get_uint_opt(v, &n) || n > 1) {
        return false;
    }
    *out = n == 1;
    return true;
}

static int cmp_gen(const struct wire_parent *a, const struct wire_parent *b)
{
    return memcmp(a->gen, b->gen, WIRE_GEN);
}

static bool header_ok(const struct wire_header *v)
{
    if (v->seq == 0 || v->chain == 0 || v->chain > v->seq ||
        v->seq - v->chain > WIRE_CHAIN_ENTRIES_MAX || v->n_parents > WIRE_PARENTS_MAX ||
        (v->seq == 1 && !sodium_is_zero(v->prev, sizeof v->prev))) {
        return false;
    }
    for (size_t i = 0; i < v->n_parents; i++) {
        if (v->parents[i].seq == 0 ||
            (i > 0 && cmp_gen(&v->parents[i - 1], &v->parents[i]) >= 0)) {
            return false;
        }
    }
    return true;
}

void wire_header_put(struct wr *w, const struct wire_header *v, bool with_box)
{
    if (!header_ok(v)) {
        w->bad = true;
        return;
    }
    wr_ben_dict(w);
    if (with_box) {
        wr_ben_key(w, "b");
        wr_ben_str(w, v->box_hash, sizeof v->box_hash);
    }
    wr_ben_key(w, "c");
    wr_ben_str(w, v->conv, sizeof v->conv);
    wr_ben_key(w, "d");
    wr_ben_str(w, v->device, sizeof v->device);
    wr_ben_key(w, "g");
    wr_ben_str(w, v->gen, sizeof v->gen);
    wr_ben_key(w, "k");
    wr_ben_uint(w, v->chain);
    wr_ben_key(w, "o");
    wr_ben_uint(w, v->order);
    wr_ben_key(w, "p");
    wr_ben_str(w, v->prev, sizeof v->prev);
    wr_ben_key(w, "q");
    wr_ben_uint(w, v->seq);
    wr_ben_key(w, "r");
    wr_ben_list(w);
    for (size_t i = 0; i < v->n_parents; i++) {
        const struct wire_parent *p = &v->parents[i];
        wr_ben_list(w);
        wr_ben_str(w, p->gen, sizeof p->gen);
        wr_ben_uint(w, p->seq);
        wr_ben_str(w, p->id, sizeof p->id);
        wr_ben_end(w);
    }
    wr_ben_end(w);
    wr_ben_end(w);
}

static bool get_parent(struct ben item, struct wire_parent *p)
{
    struct ben_iter it = {0};
    struct ben v;
    return ben_list_next(item, &it, &v) && ben_fixed(v, p->gen, sizeof p->gen) &&
           ben_list_next(item, &it, &v) && ben_uint(v, &p->seq) &&
           ben_list_next(item, &it, &v) && ben_fixed(v, p->id, sizeof p->id) &&
           !ben_list_next(item, &it, &v);
}

bool wire_header_get(const uint8_t *p, size_t len, struct wire_header *v)
{
    struct ben d;
    struct ben_iter at = {0};
    if (len > WIRE_HEADER_MAX || !get_dict(p, len, &d) ||
        !ben_fixed(ben_get_next(d, &at, "b"), v->box_hash, sizeof v->box_hash) ||
        !ben_fixed(ben_get_next(d, &at, "c"), v->conv, sizeof v->conv) ||
        !ben_fixed(ben_get_next(d, &at, "d"), v->device, sizeof v->device) ||
        !ben_fixed(ben_get_next(d, &at, "g"), v->gen, sizeof v->gen) ||
        !ben_uint(ben_get_next(d, &at, "k"), &v->chain) ||
        !ben_uint(ben_get_next(d, &at, "o"), &v->order) ||
        !ben_fixed(ben_get_next(d, &at, "p"), v->prev, sizeof v->prev) ||
        !ben_uint(ben_get_next(d, &at, "q"), &v->seq)) {
        return false;
    }
    struct ben list = ben_get_next(d, &at, "r"), item;
    struct ben_iter it = {0};
    v->n_parents = 0;
    if (!ben_is_list(list)) {
        return false;
    }
    while (ben_list_next(list, &it, &item)) {
        if (v->n_parents == WIRE_PARENTS_MAX ||
            !get_parent(item, &v->parents[v->n_parents])) {
            return false;
        }
        v->n_parents++;
    }
    return header_ok(v);
}

void wire_entry_id(const uint8_t *header, size_t len, uint8_t id[WIRE_ID])
{
    kdf_hash(id, WIRE_ID, NULL, "linnet entry", header, len, NULL);
}

void wire_box_hash(const uint8_t *box, size_t len, uint8_t hash[WIRE_ID])
{
    kdf_hash(hash, WIRE_ID, NULL, "linnet box", box, len, NULL);
}

static bool entry_ok(const struct wire_entry *v)
{
    return v->header_len > 0 && v->header_len <= WIRE_HEADER_MAX &&
           (v->box == NULL || (v->box_len > 0 && v->box_len <= WIRE_BOX_MAX));
}

void wire_entry_put(struct wr *w, const struct wire_entry *v)
{
    if (!entry_ok(v)) {
        w->bad = true;
        return;
    }
    wr_ben_dict(w);
    if (v->box != NULL) {
        wr_ben_key(w, "b");
        wr_ben_str(w, v->box, v->box_len);
    }
    wr_ben_key(w, "h");
    wr_ben_str(w, v->header, v->header_len);
    if (v->has_self) {
        wr_ben_key(w, "m");
        wr_ben_str(w, v->self, sizeof v->self);
    }
    if (v->has_sig) {
        wr_ben_key(w, "s");
        wr_ben_str(w, v->sig, sizeof v->sig);
    }
    wr_ben_end(w);
}

bool wire_entry_get(const uint8_t *p, size_t len, struct wire_entry *v)
{
    struct ben d;
    struct ben_iter at = {0};
    if (len > WIRE_ENTRY_MAX || !get_dict(p, len, &d)) {
        return false;
    }
    struct ben box = ben_get_next(d, &at, "b");
    if (!ben_str(ben_get_next(d, &at, "h"), &v->header, &v->header_len)) {
        return false;
    }
    struct ben self = ben_get_next(d, &at, "m"), sig = ben_get_next(d, &at, "s");
    v->box = NULL;
    v->box_len = 0;
    v->has_self = self.p != NULL;
    v->has_sig = sig.p != NULL;
    memset(v->self, 0, sizeof v->self);
    memset(v->sig, 0, sizeof v->sig);
    return (box.p == NULL || ben_str(box, &v->box, &v->box_len)) && entry_ok(v) &&
           (!v->has_self || ben_fixed(self, v->self, sizeof v->self)) &&
           (!v->has_sig || ben_fixed(sig, v->sig, sizeof v->sig));
}

void wire_digest_put(struct wr *w, const struct wire_digest *v, size_t n)
{
    if (n > WIRE_DIGESTS_MAX) {
        w->bad = true;
        return;
    }
    wr_ben_dict(w);
    wr_ben_key(w, "l");
    wr_ben_list(w);
    for (size_t i = 0; i < n; i++) {
        wr_ben_list(w);
        wr_ben_str(w, v[i].conv, sizeof v[i].conv);
        wr_ben_str(w, v[i].hash, sizeof v[i].hash);
        wr_ben_end(w);
    }
    wr_ben_end(w);
    wr_ben_end(w);
}

static bool get_digest(struct ben item, struct wire_digest *d)
{
    struct ben_iter it = {0};
    struct ben v;
    return ben_list_next(item, &it, &v) && ben_fixed(v, d->conv, sizeof d->conv) &&
           ben_list_next(item, &it, &v) && ben_fixed(v, d->hash, sizeof d->hash) &&
           !ben_list_next(item, &it, &v);
}

bool wire_digest_get(const uint8_t *p, size_t len, struct wire_digest *v, size_t max,
                     size_t *n)
{
    struct ben d, list, item;
    struct ben_iter it = {0};
    size_t got = 0;
    if (!get_dict(p, len, &d) || !ben_is_list(list = ben_get(d, "l"))) {
        return false;
    }
    while (ben_list_next(list, &it, &item)) {
        if (got == max || got == WIRE_DIGESTS_MAX || !get_digest(item, &v[got])) {
            return false;
        }
        got++;
    }
    *n = got;
    return true;
}

static bool have_feed_ok(const struct wire_have_feed *f)
{
    return f->opened <= f->n && f->closed <= f->n;
}

void wire_have_put(struct wr *w, const struct wire_have *v)
{
    if (v->n_feeds > WIRE_HAVE_FEEDS_MAX) {
        w->bad = true;
        return;
    }
    wr_ben_dict(w);
    wr_ben_key(w, "c");
    wr_ben_str(w, v->conv, sizeof v->conv);
    put_uint_opt(w, "e", v->full_end ? 1 : 0);
    wr_ben_key(w, "f");
    wr_ben_list(w);
    for (size_t i = 0; i < v->n_feeds; i++) {
        const struct wire_have_feed *f = &v->feeds[i];
        if (!have_feed_ok(f)) {
            w->bad = true;
            return;
        }
        wr_ben_dict(w);
        wr_ben_key(w, "d");
        wr_ben_str(w, f->device, sizeof f->device);
        wr_ben_key(w, "g");
        wr_ben_str(w, f->gen, sizeof f->gen);
        if (f->n > 0) {
            wr_ben_key(w, "i");
            wr_ben_str(w, f->id, sizeof f->id);
        }
        wr_ben_key(w, "n");
        wr_ben_uint(w, f->n);
        wr_ben_key(w, "o");
        wr_ben_uint(w, f->opened);
        put_uint_opt(w, "x", f->closed);
        put_uint_opt(w, "z", f->frozen ? 1 : 0);
        wr_ben_end(w);
    }
    wr_ben_end(w);
    wr_ben_end(w);
}

static bool get_have_feed(struct ben d, struct wire_have_feed *f)
{
    if (!ben_is_dict(d) || !ben_fixed(ben_get(d, "d"), f->device, sizeof f->device) ||
        !ben_fixed(ben_get(d, "g"), f->gen, sizeof f->gen) ||
        !ben_uint(ben_get(d, "n"), &f->n) || !ben_uint(ben_get(d, "o"), &f->opened) ||
        !get_uint_opt(ben_get(d, "x"), &f->closed) ||
        !get_flag(ben_get(d, "z"), &f->frozen)) {
        return false;
    }
    struct ben id = ben_get(d, "i");
    memset(f->id, 0, sizeof f->id);
    return (f->n > 0 ? ben_fixed(id, f->id, sizeof f->id) : id.p == NULL) &&
           have_feed_ok(f);
}

bool wire_have_get(const uint8_t *p, size_t len, struct wire_have *v)
{
    struct ben d, list, item;
    struct ben_iter it = {0};
    if (!get_dict(p, len, &d) || !ben_fixed(ben_get(d, "c"), v->conv, sizeof v->conv) ||
        !get_flag(ben_get(d, "e"), &v->full_end) ||
        !ben_is_list(list = ben_get(d, "f"))) {
        return false;
    }
    v->n_feeds = 0;
    while (ben_list_next(list, &it, &item)) {
        if (v->n_feeds == WIRE_HAVE_FEEDS_MAX ||
            !get_have_feed(item, &v->feeds[v->n_feeds])) {
            return false;
        }
        v->n_feeds++;
    }
    return true;
}

void wire_want_put(struct wr *w, const struct wire_want *v)
{
    if (v->from == 0 || v->from > v->to) {
        w->bad = true;
        return;
    }
    wr_ben_dict(w);
    wr_ben_key(w, "c");
    wr_ben_str(w, v->conv, sizeof v->conv);
    wr_ben_key(w, "d");
    wr_ben_str(w, v->device, sizeof v->device);
    wr_ben_key(w, "f");
    wr_ben_uint(w, v->from);
    wr_ben_key(w, "g");
    wr_ben_str(w, v->gen, sizeof v->gen);
    wr_ben_key(w, "t");
    wr_ben_uint(w, v->to);
    wr_ben_end(w);
}

bool wire_want_get(const uint8_t *p, size_t len, struct wire_want *v)
{
    struct ben d;
    return get_dict(p, len, &d) && ben_fixed(ben_get(d, "c"), v->conv, sizeof v->conv) &&
           ben_fixed(ben_get(d, "d"), v->device, sizeof v->device) &&
           ben_uint(ben_get(d, "f"), &v->from) &&
           ben_fixed(ben_get(d, "g"), v->gen, sizeof v->gen) &&
           ben_uint(ben_get(d, "t"), &v->to) && v->from > 0 && v->from <= v->to;
}

void wire_read_put(struct wr *w, const struct wire_read *v)
{
    if (v->n_feeds > WIRE_HAVE_FEEDS_MAX) {
        w->bad = true;
        return;
    }
    wr_ben_dict(w);
    wr_ben_key(w, "c");
    wr_ben_str(w, v->conv, sizeof v->conv);
    wr_ben_key(w, "f");
    wr_ben_list(w);
    for (size_t i = 0; i < v->n_feeds; i++) {
        const struct wire_read_feed *f = &v->feeds[i];
        wr_ben_list(w);
        wr_ben_str(w, f->device, sizeof f->device);
        wr_ben_str(w, f->gen, sizeof f->gen);
        wr_ben_uint(w, f->seq);
        wr_ben_end(w);
    }
    wr_ben_end(w);
    wr_ben_end(w);
}

static bool get_read_feed(struct ben item, struct wire_read_feed *f)
{
    struct ben_iter it = {0};
    struct ben v;
    return ben_list_next(item, &it, &v) && ben_fixed(v, f->device, sizeof f->device) &&
           ben_list_next(item, &it, &v) && ben_fixed(v, f->gen, sizeof f->gen) &&
           ben_list_next(item, &it, &v) && ben_uint(v, &f->seq) &&
           !ben_list_next(item, &it, &v);
}

bool wire_read_get(const uint8_t *p, size_t len, struct wire_read *v)
{
    struct ben d, list, item;
    struct ben_iter it = {0};
    if (!get_dict(p, len, &d) || !ben_fixed(ben_get(d, "c"), v->conv, sizeof v->conv) ||
        !ben_is_list(list = ben_get(d, "f"))) {
        return false;
    }
    v->n_feeds = 0;
    while (ben_list_next(list, &it, &item)) {
        if (v->n_feeds == WIRE_HAVE_FEEDS_MAX ||
            !get_read_feed(item, &v->feeds[v->n_feeds])) {
            return false;
        }
        v->n_feeds++;
    }
    return true;
}
