/* The bodies of boxes. */
#include "wire.h"

#include <string.h>

enum { BODY_PAD_MIN = 128 };

size_t wire_body_padded(size_t len)
{
    if (len > WIRE_BODY_MAX) {
        return 0;
    }
    size_t n = BODY_PAD_MIN;
    while (n < len) {
        n *= 2;
    }
    return n < WIRE_BODY_MAX ? n : WIRE_BODY_MAX;
}

static void put_order(struct wr *w, const struct wire_body *v)
{
    if (v->has_order) {
        wr_ben_key(w, "o");
        wr_ben_uint(w, v->order);
    }
}

static void put_text(struct wr *w, const struct wire_body *v)
{
    if (v->text_len == 0 || v->text_len > WIRE_TEXT_MAX ||
        !wire_text_ok(v->text, v->text_len)) {
        w->bad = true;
        return;
    }
    wr_ben_dict(w);
    wr_ben_key(w, "i");
    wr_ben_str(w, v->mid, sizeof v->mid);
    wr_ben_key(w, "k");
    wr_ben_uint(w, BODY_TEXT);
    put_order(w, v);
    if (v->has_reply) {
        wr_ben_key(w, "r");
        wr_ben_str(w, v->reply, sizeof v->reply);
    }
    wr_ben_key(w, "s");
    wr_ben_str(w, v->text, v->text_len);
    wr_ben_key(w, "t");
    wr_ben_uint(w, v->time_ms);
    wr_ben_end(w);
}

static void put_device(struct wr *w, const struct wire_body *v)
{
    wr_ben_dict(w);
    wr_ben_key(w, "k");
    wr_ben_uint(w, BODY_DEVICE);
    wr_ben_key(w, "v");
    wire_device_put(w, &v->device);
    wr_ben_end(w);
}

/* What a change says beside its target. */
static bool change_ok(const struct wire_body *v)
{
    switch (v->kind) {
    case BODY_EDIT:
        return v->text_len > 0 && v->text_len <= WIRE_TEXT_MAX &&
               wire_text_ok(v->text, v->text_len);
    case BODY_REACTION:
        return v->text_len == 0 || wire_emoji_ok(v->text, v->text_len);
    default:
        return true;
    }
}

/* An edit, a reaction or a redaction. */
static void put_change(struct wr *w, const struct wire_body *v)
{
    if (!change_ok(v)) {
        w->bad = true;
        return;
    }
    wr_ben_dict(w);
    if (v->kind == BODY_REACTION) {
        wr_ben_key(w, "a");
        wr_ben_str(w, v->author, sizeof v->author);
    }
    wr_ben_key(w, "i");
    wr_ben_str(w, v->mid, sizeof v->mid);
    wr_ben_key(w, "k");
    wr_ben_uint(w, v->kind);
    wr_ben_key(w, "m");
    wr_ben_str(w, v->target, sizeof v->target);
    put_order(w, v);
    if (v->kind != BODY_REDACTION && v->text_len > 0) {
        wr_ben_key(w, "s");
        wr_ben_str(w, v->text, v->text_len);
    }
    wr_ben_key(w, "t");
    wr_ben_uint(w, v->time_ms);
    wr_ben_end(w);
}

/* A folder's size is known from the start: its manifest stands before its contents. */
static bool offer_ok(const struct wire_body *v)
{
    return wire_file_name_ok(v->text, v->text_len) && v->size <= WIRE_FILE_SIZE_MAX &&
           (v->has_size || v->size == 0) &&
           (v->folder ? v->has_size && v->manifest <= v->size &&
                            v->manifest <= WIRE_MANIFEST_MAX &&
                            v->count <= WIRE_FILE_ENTRIES_MAX
                      : v->manifest == 0 && v->count == 0);
}

static void put_offer(struct wr *w, const struct wire_body *v)
{
    if (!offer_ok(v)) {
        w->bad = true;
        return;
    }
    wr_ben_dict(w);
    if (v->folder) {
        wr_ben_key(w, "c");
        wr_ben_uint(w, v->count);
    }
    wr_ben_key(w, "i");
    wr_ben_str(w, v->mid, sizeof v->mid);
    wr_ben_key(w, "k");
    wr_ben_uint(w, BODY_OFFER);
    if (v->folder) {
        wr_ben_key(w, "m");
        wr_ben_uint(w, v->manifest);
    }
    wr_ben_key(w, "n");
    wr_ben_str(w, v->text, v->text_len);
    put_order(w, v);
    if (v->has_size) {
        wr_ben_key(w, "s");
        wr_ben_uint(w, v->size);
    }
    wr_ben_key(w, "t");
    wr_ben_uint(w, v->time_ms);
    if (v->exec) {
        wr_ben_key(w, "x");
        wr_ben_uint(w, 1);
    }
    wr_ben_end(w);
}

static void put_sealed(struct wr *w, const struct wire_body *v)
{
    if (v->size > WIRE_FILE_SIZE_MAX) {
        w->bad = true;
        return;
    }
    wr_ben_dict(w);
    wr_ben_key(w, "h");
    wr_ben_str(w, v->hash, sizeof v->hash);
    wr_ben_key(w, "i");
    wr_ben_str(w, v->mid, sizeof v->mid);
    wr_ben_key(w, "k");
    wr_ben_uint(w, BODY_SEALED);
    wr_ben_key(w, "m");
    wr_ben_str(w, v->target, sizeof v->target);
    put_order(w, v);
    wr_ben_key(w, "s");
    wr_ben_uint(w, v->size);
    wr_ben_key(w, "t");
    wr_ben_uint(w, v->time_ms);
    wr_ben_end(w);
}

static void put_file_end(struct wr *w, const struct wire_body *v)
{
    wr_ben_dict(w);
    wr_ben_key(w, "a");
    wr_ben_str(w, v->author, sizeof v->author);
    wr_ben_key(w, "e");
    wr_ben_uint(w, v->end);
    wr_ben_key(w, "i");
    wr_ben_str(w, v->mid, sizeof v->mid);
    wr_ben_key(w, "k");
    wr_ben_uint(w, BODY_FILE_END);
    wr_ben_key(w, "m");
    wr_ben_str(w, v->target, sizeof v->target);
    put_order(w, v);
    wr_ben_key(w, "t");
    wr_ben_uint(w, v->time_ms);
    wr_ben_end(w);
}

void wire_body_put(struct wr *w, const struct wire_body *v)
{
    size_t begin = w->len;
    switch (v->kind) {
    case BODY_TEXT:
        put_text(w, v);
        break;
    case BODY_DEVICE:
        put_device(w, v);
        break;
    case BODY_EDIT:
    case BODY_REACTION:
    case BODY_REDACTION:
        put_change(w, v);
        break;
    case BODY_OFFER:
        put_offer(w, v);
        break;
    case BODY_SEALED:
        put_sealed(w, v);
        break;
    case BODY_FILE_END:
        put_file_end(w, v);
        break;
    default:
        w->bad = true;
    }
    if (!wr_ok(w)) {
        return;
    }
    size_t len = w->len - begin;
    size_t padded = wire_body_padded(len);
    if (padded == 0) {
        w->bad = true;
        return;
    }
    wr_zero(w, padded - len);
}

/* The order of the original is there only in repeats. */
static bool get_order(struct ben order, struct wire_body *v)
{
    v->has_order = order.p != NULL;
    return !v->has_order || ben_uint(order, &v->order);
}

static bool get_text(struct ben d, struct wire_body *v)
{
    struct ben_iter at = {0};
    struct ben mid = ben_get_next(d, &at, "i"), order = ben_get_next(d, &at, "o");
    struct ben reply = ben_get_next(d, &at, "r"), text = ben_get_next(d, &at, "s");
    v->has_reply = reply.p != NULL;
    return ben_fixed(mid, v->mid, sizeof v->mid) && get_order(order, v) &&
           (!v->has_reply || ben_fixed(reply, v->reply, sizeof v->reply)) &&
           ben_str(text, &v->text, &v->text_len) && v->text_len > 0 &&
           v->text_len <= WIRE_TEXT_MAX && wire_text_ok(v->text, v->text_len) &&
           ben_uint(ben_get_next(d, &at, "t"), &v->time_ms);
}

static bool get_change(struct ben d, struct wire_body *v)
{
    struct ben_iter at = {0};
    bool reaction = v->kind == BODY_REACTION;
    if (reaction && !ben_fixed(ben_get_next(d, &at, "a"), v->author, sizeof v->author)) {
        return false;
    }
    struct ben mid = ben_get_next(d, &at, "i"), target = ben_get_next(d, &at, "m");
    struct ben order = ben_get_next(d, &at, "o");
    if (!ben_fixed(mid, v->mid, sizeof v->mid) ||
        !ben_fixed(target, v->target, sizeof v->target) || !get_order(order, v)) {
        return false;
    }
    if (v->kind != BODY_REDACTION) {
        struct ben text = ben_get_next(d, &at, "s");
        bool there = text.p != NULL;
        if (there ? !ben_str(text, &v->text, &v->text_len) || v->text_len == 0
                  : !reaction) {
            return false;
        }
    }
    return change_ok(v) && ben_uint(ben_get_next(d, &at, "t"), &v->time_ms);
}

static bool get_offer(struct ben d, struct wire_body *v)
{
    struct ben_iter at = {0};
    struct ben count = ben_get_next(d, &at, "c"), mid = ben_get_next(d, &at, "i");
    struct ben manifest = ben_get_next(d, &at, "m"), name = ben_get_next(d, &at, "n");
    struct ben order = ben_get_next(d, &at, "o"), size = ben_get_next(d, &at, "s");
    struct ben time = ben_get_next(d, &at, "t"), exec = ben_get_next(d, &at, "x");
    uint64_t one = 1;
    v->folder = count.p != NULL;
    v->has_size = size.p != NULL;
    v->exec = exec.p != NULL;
    return v->folder == (manifest.p != NULL) &&
           (!v->folder ||
            (ben_uint(count, &v->count) && ben_uint(manifest, &v->manifest))) &&
           ben_fixed(mid, v->mid, sizeof v->mid) &&
           ben_str(name, &v->text, &v->text_len) && get_order(order, v) &&
           (!v->has_size || ben_uint(size, &v->size)) && ben_uint(time, &v->time_ms) &&
           (!v->exec || (ben_uint(exec, &one) && one == 1)) && offer_ok(v);
}

static bool get_sealed(struct ben d, struct wire_body *v)
{
    struct ben_iter at = {0};
    return ben_fixed(ben_get_next(d, &at, "h"), v->hash, sizeof v->hash) &&
           ben_fixed(ben_get_next(d, &at, "i"), v->mid, sizeof v->mid) &&
           ben_fixed(ben_get_next(d, &at, "m"), v->target, sizeof v->target) &&
           get_order(ben_get_next(d, &at, "o"), v) &&
           ben_uint(ben_get_next(d, &at, "s"), &v->size) &&
           v->size <= WIRE_FILE_SIZE_MAX &&
           ben_uint(ben_get_next(d, &at, "t"), &v->time_ms);
}

static bool get_file_end(struct ben d, struct wire_body *v)
{
    struct ben_iter at = {0};
    return ben_fixed(ben_get_next(d, &at, "a"), v->author, sizeof v->author) &&
           ben_uint(ben_get_next(d, &at, "e"), &v->end) &&
           ben_fixed(ben_get_next(d, &at, "i"), v->mid, sizeof v->mid) &&
           ben_fixed(ben_get_next(d, &at, "m"), v->target, sizeof v->target) &&
           get_order(ben_get_next(d, &at, "o"), v) &&
           ben_uint(ben_get_next(d, &at, "t"), &v->time_ms);
}

bool wire_body_get(const uint8_t *p, size_t len, struct wire_body *v)
{
    struct ben d;
    if (len > WIRE_BODY_MAX) {
        return false;
    }
    /* A dictionary ends with 'e', so that zeros at the end are padding. */
    while (len > 0 && p[len - 1] == 0) {
        len--;
    }
    memset(v, 0, sizeof *v);
    if (!bencode_check(p, len, &d) || !ben_is_dict(d) ||
        !ben_uint(ben_get(d, "k"), &v->kind)) {
        return false;
    }
    switch (v->kind) {
    case BODY_TEXT:
        return get_text(d, v);
    case BODY_DEVICE:
        return wire_device_get(ben_get(d, "v"), &v->device);
    case BODY_EDIT:
    case BODY_REACTION:
    case BODY_REDACTION:
        return get_change(d, v);
    case BODY_OFFER:
        return get_offer(d, v);
    case BODY_SEALED:
        return get_sealed(d, v);
    case BODY_FILE_END:
        return get_file_end(d, v);
    default:
        return true;
    }
}
