/* Frames, and the bodies that belong to the link and to pairing. */
#include "wire.h"

#include <assert.h>
#include <string.h>

#include "crypto/noise.h"

/* Padded lengths of transport bodies. */
enum { PAD_1 = 256, PAD_2 = 1024, PAD_3 = 4096, PAD_4 = 16384 };

size_t wire_frame_begin(struct wr *w, enum frame_type type)
{
    if (type == FRAME_PAD) {
        w->bad = true;
    }
    wr_u8(w, (uint8_t)type);
    wr_u16(w, 0);
    return w->len;
}

void wire_frame_end(struct wr *w, size_t begin)
{
    if (!wr_ok(w)) {
        return;
    }
    assert(begin >= WIRE_FRAME_HEAD && begin <= w->len);
    size_t len = w->len - begin;
    if (len > WIRE_FRAME_MAX) {
        w->bad = true;
        return;
    }
    struct wr head = wr_init(w->p + begin - 2, 2);
    wr_u16(&head, (uint16_t)len);
}

void wire_frame(struct wr *w, enum frame_type type, const uint8_t *payload, size_t len)
{
    size_t begin = wire_frame_begin(w, type);
    wr_bytes(w, payload, len);
    wire_frame_end(w, begin);
}

bool wire_frame_next(struct rd *r, uint8_t *type, const uint8_t **payload, size_t *len)
{
    if (!rd_ok(r) || r->n == 0) {
        return false;
    }
    uint8_t t = rd_u8(r);
    if (t == FRAME_PAD) {
        size_t n = r->n;
        const uint8_t *zeros = rd_bytes(r, n);
        uint8_t sum = 0;
        for (size_t i = 0; i < n; i++) {
            sum |= zeros[i];
        }
        r->bad = sum != 0;
        return false;
    }
    size_t n = rd_u16(r);
    if (rd_ok(r) && n > WIRE_FRAME_MAX) {
        r->bad = true;
    }
    const uint8_t *p = rd_bytes(r, n);
    if (p == NULL) {
        return false;
    }
    *type = t;
    *payload = p;
    *len = n;
    return true;
}

size_t wire_padded(size_t len)
{
    static const size_t steps[] = {PAD_1, PAD_2, PAD_3, PAD_4};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if (len <= steps[i]) {
            return steps[i];
        }
    }
    return WIRE_FRAME_MAX + WIRE_FRAME_HEAD;
}

static bool get_dict(const uint8_t *p, size_t len, struct ben *dict)
{
    return bencode_check(p, len, dict) && ben_is_dict(*dict);
}

void wire_close_put(struct wr *w, unsigned code)
{
    wr_ben_dict(w);
    wr_ben_key(w, "c");
    wr_ben_uint(w, code);
    wr_ben_end(w);
}

bool wire_close_get(const uint8_t *p, size_t len, unsigned *code)
{
    struct ben d;
    uint64_t c;
    if (!get_dict(p, len, &d) || !ben_uint(ben_get(d, "c"), &c) || c > UINT16_MAX) {
        return false;
    }
    *code = (unsigned)c;
    return true;
}

void wire_hello_put(struct wr *w, const struct wire_hello *v)
{
    if (v->n_addrs > WIRE_ADDRS_MAX) {
        w->bad = true;
        return;
    }
    wr_ben_dict(w);
    wr_ben_key(w, "a");
    wr_ben_list(w);
    for (size_t i = 0; i < v->n_addrs; i++) {
        uint8_t a[ADDR_WIRE6];
        size_t n = addr_to_wire(&v->addrs[i], a, sizeof a);
        if (n == 0) {
            w->bad = true;
            return;
        }
        wr_ben_str(w, a, n);
    }
    wr_ben_end(w);
    wr_ben_key(w, "k");
    wr_ben_uint(w, v->counter);
    wr_ben_key(w, "p");
    wr_ben_uint(w, v->presence);
    wr_ben_end(w);
}

/* Addresses of families that are not known here (a newer program's) are skipped. */
static bool hello_addrs(struct ben list, struct wire_hello *v)
{
    struct ben_iter it = {0};
    struct ben item;
    size_t seen = 0;
    if (!ben_is_list(list)) {
        return false;
    }
    v->n_addrs = 0;
    while (ben_list_next(list, &it, &item)) {
        const uint8_t *p;
        size_t n;
        if (seen++ == WIRE_ADDRS_MAX || !ben_str(item, &p, &n) || n == 0) {
            return false;
        }
        if (p[0] != 4 && p[0] != 6) {
            continue;
        }
        if (addr_from_wire(p, n, &v->addrs[v->n_addrs]) != 0) {
            return false;
        }
        v->n_addrs++;
    }
    return true;
}

bool wire_hello_get(const uint8_t *p, size_t len, struct wire_hello *v)
{
    struct ben d;
    return get_dict(p, len, &d) && hello_addrs(ben_get(d, "a"), v) &&
           ben_uint(ben_get(d, "k"), &v->counter) &&
           ben_uint(ben_get(d, "p"), &v->presence);
}

void wire_device_put(struct wr *w, const struct wire_device *v)
{
    size_t name_len = strnlen(v->name, sizeof v->name);
    if (v->cert_len == 0 || v->cert_len > KEYS_CERT_MAX || !noise_key_canonical(v->box) ||
        !wire_name_ok((const uint8_t *)v->name, name_len)) {
        w->bad = true;
        return;
    }
    wr_ben_dict(w);
    if (v->has_presence) {
        wr_ben_key(w, "a");
        wr_ben_str(w, v->presence_a, sizeof v->presence_a);
    }
    wr_ben_key(w, "b");
    wr_ben_str(w, v->box, sizeof v->box);
    wr_ben_key(w, "c");
    wr_ben_str(w, v->cert, v->cert_len);
    wr_ben_key(w, "n");
    wr_ben_str(w, v->name, name_len);
    if (v->has_presence) {
        wr_ben_key(w, "p");
        wr_ben_str(w, v->presence_p, sizeof v->presence_p);
    }
    wr_ben_key(w, "t");
    wr_ben_uint(w, v->box_time);
    wr_ben_end(w);
}

bool wire_device_get(struct ben dict, struct wire_device *v)
{
    const uint8_t *name;
    size_t name_len;
    if (!ben_is_dict(dict) || !ben_fixed(ben_get(dict, "b"), v->box, sizeof v->box) ||
        !noise_key_canonical(v->box) ||
        !ben_str(ben_get(dict, "c"), &v->cert, &v->cert_len) || v->cert_len == 0 ||
        v->cert_len > KEYS_CERT_MAX || !ben_str(ben_get(dict, "n"), &name, &name_len) ||
        !wire_name_ok(name, name_len) || !ben_uint(ben_get(dict, "t"), &v->box_time)) {
        return false;
    }
    memset(v->name, 0, sizeof v->name);
    memcpy(v->name, name, name_len);
    struct ben a = ben_get(dict, "a"), secret = ben_get(dict, "p");
    v->has_presence = a.p != NULL || secret.p != NULL;
    if (!v->has_presence) {
        memset(v->presence_a, 0, sizeof v->presence_a);
        memset(v->presence_p, 0, sizeof v->presence_p);
        return true;
    }
    return ben_fixed(a, v->presence_a, sizeof v->presence_a) &&
           ben_fixed(secret, v->presence_p, sizeof v->presence_p);
}

void wire_pair_put(struct wr *w, const struct wire_pair *v)
{
    if (!noise_key_canonical(v->dh)) {
        w->bad = true;
        return;
    }
    wr_ben_dict(w);
    wr_ben_key(w, "d");
    wire_device_put(w, &v->device);
    wr_ben_key(w, "k");
    wr_ben_str(w, v->dh, sizeof v->dh);
    wr_ben_key(w, "n");
    wr_ben_str(w, v->nonce, sizeof v->nonce);
    wr_ben_end(w);
}

bool wire_pair_get(const uint8_t *p, size_t len, struct wire_pair *v)
{
    struct ben d;
    return get_dict(p, len, &d) && ben_fixed(ben_get(d, "k"), v->dh, sizeof v->dh) &&
           noise_key_canonical(v->dh) &&
           ben_fixed(ben_get(d, "n"), v->nonce, sizeof v->nonce) &&
           wire_device_get(ben_get(d, "d"), &v->device);
}

void wire_paired_put(struct wr *w)
{
    wr_ben_dict(w);
    wr_ben_end(w);
}

static bool code_has_value(uint64_t step)
{
    return step == STEP_COMMIT || step == STEP_NONCE || step == STEP_OPEN;
}

void wire_code_frame_put(struct wr *w, const struct wire_code_frame *v)
{
    wr_ben_dict(w);
    wr_ben_key(w, "s");
    wr_ben_int(w, (int64_t)v->step);
    if (code_has_value((uint64_t)v->step)) {
        wr_ben_key(w, "v");
        wr_ben_str(w, v->value, sizeof v->value);
    }
    wr_ben_end(w);
}

bool wire_code_frame_get(const uint8_t *p, size_t len, struct wire_code_frame *v)
{
    struct ben d;
    uint64_t step;
    if (!get_dict(p, len, &d) || !ben_uint(ben_get(d, "s"), &step)) {
        return false;
    }
    *v = (struct wire_code_frame){.step = step > STEP_STOP ? STEP_UNKNOWN
                                                           : (enum code_step)step};
    return !code_has_value(step) || ben_fixed(ben_get(d, "v"), v->value, sizeof v->value);
}

void wire_request_put(struct wr *w, const struct wire_request *v)
{
    size_t len = strnlen(v->line, WIRE_LINE_MAX + 1);
    if (v->port == 0 || !wire_line_ok((const uint8_t *)v->line, len)) {
        w->bad = true;
        return;
    }
    wr_ben_dict(w);
    wr_ben_key(w, "l");
    wr_ben_int(w, v->port);
    wr_ben_key(w, "s");
    wr_ben_str(w, v->line, len);
    wr_ben_end(w);
}

bool wire_request_get(const uint8_t *p, size_t len, struct wire_request *v)
{
    struct ben d;
    uint64_t port;
    const uint8_t *line;
    size_t n;
    if (!get_dict(p, len, &d) || !ben_uint(ben_get(d, "l"), &port) || port == 0 ||
        port > UINT16_MAX || !ben_str(ben_get(d, "s"), &line, &n) ||
        !wire_line_ok(line, n)) {
        return false;
    }
    *v = (struct wire_request){.port = (uint16_t)port};
    memcpy(v->line, line, n);
    return true;
}
