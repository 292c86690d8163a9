/* Frames that are never logged: presence, typing, live typing. */
#include "wire.h"

static bool get_dict(const uint8_t *p, size_t len, struct ben *dict)
{
    return bencode_check(p, len, dict) && ben_is_dict(*dict);
}

static bool get_bool(struct ben v, bool *out)
{
    uint64_t n;
    if (!ben_uint(v, &n) || n > 1) {
        return false;
    }
    *out = n == 1;
    return true;
}

void wire_presence_put(struct wr *w, const struct wire_presence *v)
{
    if (v->state > PRESENCE_STATE_MAX ||
        (v->status != NULL && !wire_status_ok(v->status, v->status_len))) {
        w->bad = true;
        return;
    }
    wr_ben_dict(w);
    wr_ben_key(w, "p");
    wr_ben_uint(w, v->state);
    wr_ben_key(w, "r");
    wr_ben_uint(w, v->revision);
    if (v->status != NULL) {
        wr_ben_key(w, "s");
        wr_ben_str(w, v->status, v->status_len);
    }
    wr_ben_end(w);
}

bool wire_presence_get(const uint8_t *p, size_t len, struct wire_presence *v)
{
    struct ben d;
    if (!get_dict(p, len, &d) || !ben_uint(ben_get(d, "p"), &v->state) ||
        v->state > PRESENCE_STATE_MAX || !ben_uint(ben_get(d, "r"), &v->revision)) {
        return false;
    }
    struct ben status = ben_get(d, "s");
    v->status = NULL;
    v->status_len = 0;
    return status.p == NULL || (ben_str(status, &v->status, &v->status_len) &&
                                wire_status_ok(v->status, v->status_len));
}

uint8_t wire_presence_byte(const struct wire_presence *v)
{
    unsigned low = (unsigned)(v->revision % BEACON_REVISIONS);
    return (uint8_t)((v->state & BEACON_STATE) |
                     (v->status != NULL ? (unsigned)BEACON_STATUS : 0u) |
                     low << BEACON_REVISION_SHIFT);
}

void wire_typing_put(struct wr *w, const struct wire_typing *v)
{
    wr_ben_dict(w);
    wr_ben_key(w, "c");
    wr_ben_str(w, v->conv, sizeof v->conv);
    wr_ben_key(w, "s");
    wr_ben_uint(w, v->typing ? 1 : 0);
    wr_ben_end(w);
}

bool wire_typing_get(const uint8_t *p, size_t len, struct wire_typing *v)
{
    struct ben d;
    return get_dict(p, len, &d) && ben_fixed(ben_get(d, "c"), v->conv, sizeof v->conv) &&
           get_bool(ben_get(d, "s"), &v->typing);
}

void wire_live_put(struct wr *w, const struct wire_live *v)
{
    if (v->text != NULL && (v->text_len == 0 || v->text_len > WIRE_TEXT_MAX ||
                            !wire_text_ok(v->text, v->text_len))) {
        w->bad = true;
        return;
    }
    wr_ben_dict(w);
    wr_ben_key(w, "c");
    wr_ben_str(w, v->conv, sizeof v->conv);
    wr_ben_key(w, "n");
    wr_ben_uint(w, v->n);
    wr_ben_key(w, "o");
    wr_ben_uint(w, v->on ? 1 : 0);
    if (v->text != NULL) {
        wr_ben_key(w, "s");
        wr_ben_str(w, v->text, v->text_len);
    }
    wr_ben_end(w);
}

bool wire_live_get(const uint8_t *p, size_t len, struct wire_live *v)
{
    struct ben d;
    if (!get_dict(p, len, &d) || !ben_fixed(ben_get(d, "c"), v->conv, sizeof v->conv) ||
        !ben_uint(ben_get(d, "n"), &v->n) || !get_bool(ben_get(d, "o"), &v->on)) {
        return false;
    }
    struct ben text = ben_get(d, "s");
    v->text = NULL;
    v->text_len = 0;
    return text.p == NULL ||
           (ben_str(text, &v->text, &v->text_len) && v->text_len > 0 &&
            v->text_len <= WIRE_TEXT_MAX && wire_text_ok(v->text, v->text_len));
}
