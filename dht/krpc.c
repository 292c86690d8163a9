#include "dht/krpc.h"

#include <string.h>

#include "base/bencode.h"
#include "base/err.h"

/* Top-level keys, as bits of what has been seen. */
enum {
    TOP_A = 1 << 0,
    TOP_E = 1 << 1,
    TOP_IP = 1 << 2,
    TOP_Q = 1 << 3,
    TOP_R = 1 << 4,
    TOP_RO = 1 << 5,
    TOP_T = 1 << 6,
    TOP_V = 1 << 7,
    TOP_Y = 1 << 8,
};

enum type {
    TYPE_ID,    /* struct dht_id: a string of 20 bytes */
    TYPE_FIXED, /* const uint8_t *: a string of size bytes */
    TYPE_STR,   /* struct krpc_view: a string of 1 .. size bytes, or of any */
    TYPE_WHOLE, /* struct krpc_view: a string of a multiple of size bytes */
    TYPE_FLAG,  /* int64_t: any number */
    TYPE_NUM,   /* int64_t: 0 or more */
    TYPE_PORT,  /* uint16_t */
    TYPE_RAW,   /* struct krpc_view: a value as it stands */
    TYPE_LIST,  /* struct krpc_view: a list as it stands */
    TYPE_WANT,  /* uint8_t: a list of "n4" and "n6" */
};

struct field {
    const char *key;
    size_t key_len;
    enum type type;
    size_t size; /* 0: any */
    size_t at;   /* of the member in struct krpc_msg */
};

#define FIELD(key, type, size, member)                                                   \
    {                                                                                    \
        key, sizeof(key) - 1, type, size, offsetof(struct krpc_msg, member)              \
    }

/* Sorted by key, as canonical bencode wants; a field's bit in `has` is its place here. */
static const struct field fields[] = {
    FIELD("BFpe", TYPE_FIXED, KRPC_BLOOM_LEN, bfpe),
    FIELD("BFsd", TYPE_FIXED, KRPC_BLOOM_LEN, bfsd),
    FIELD("cas", TYPE_FLAG, 0, cas),
    FIELD("id", TYPE_ID, 0, id),
    FIELD("implied_port", TYPE_FLAG, 0, implied_port),
    FIELD("info_hash", TYPE_ID, 0, info_hash),
    FIELD("interval", TYPE_NUM, 0, interval),
    FIELD("k", TYPE_FIXED, KRPC_KEY_LEN, k),
    FIELD("nodes", TYPE_WHOLE, KRPC_NODE4_LEN, nodes),
    FIELD("nodes6", TYPE_WHOLE, KRPC_NODE6_LEN, nodes6),
    FIELD("noseed", TYPE_FLAG, 0, noseed),
    FIELD("num", TYPE_NUM, 0, num),
    FIELD("p", TYPE_PORT, 0, p),
    FIELD("port", TYPE_PORT, 0, port),
    FIELD("salt", TYPE_STR, 0, salt),
    FIELD("samples", TYPE_WHOLE, DHT_ID_LEN, samples),
    FIELD("scrape", TYPE_FLAG, 0, scrape),
    FIELD("seed", TYPE_FLAG, 0, seed),
    FIELD("seq", TYPE_NUM, 0, seq),
    FIELD("sig", TYPE_FIXED, KRPC_SIG_LEN, sig),
    FIELD("target", TYPE_ID, 0, target),
    FIELD("token", TYPE_STR, KRPC_TOKEN_MAX, token),
    FIELD("v", TYPE_RAW, 0, v),
    FIELD("values", TYPE_LIST, 0, values),
    FIELD("want", TYPE_WANT, 0, want),
};

enum { FIELDS = sizeof fields / sizeof *fields };

_Static_assert(KRPC_BFPE == 1 << 0 && KRPC_INFO_HASH == 1 << 5 && KRPC_NODES == 1 << 8 &&
                   KRPC_PORT == 1 << 13 && KRPC_SEQ == 1 << 18 &&
                   KRPC_WANT == 1 << (FIELDS - 1),
               "a bit of has is a place in fields");

static const char *const methods[] = {
    [KRPC_OTHER] = NULL,
    [KRPC_PING] = "ping",
    [KRPC_FIND_NODE] = "find_node",
    [KRPC_GET_PEERS] = "get_peers",
    [KRPC_ANNOUNCE_PEER] = "announce_peer",
    [KRPC_GET] = "get",
    [KRPC_PUT] = "put",
    [KRPC_SAMPLE_INFOHASHES] = "sample_infohashes",
};

enum { METHODS = sizeof methods / sizeof *methods };

static bool view_is(struct krpc_view v, const char *s, size_t n)
{
    return v.n == n && memcmp(v.p, s, n) == 0;
}

static bool to_view(struct ben v, size_t max, struct krpc_view *out)
{
    const uint8_t *p;
    size_t n;
    if (!ben_str(v, &p, &n) || n > max) {
        return false;
    }
    *out = (struct krpc_view){p, n};
    return true;
}

/* The place of a key in fields, or FIELDS. Keys mostly come sorted, so that it is looked
 * for from where the one before was found. */
static size_t find_field(struct krpc_view key, size_t from)
{
    for (size_t i = 0; i < FIELDS; i++) {
        size_t at = from + i < FIELDS ? from + i : from + i - FIELDS;
        if (view_is(key, fields[at].key, fields[at].key_len)) {
            return at;
        }
    }
    return FIELDS;
}

static bool read_want(struct ben value, uint8_t *want)
{
    struct ben_iter it = {0};
    struct ben entry;
    struct krpc_view name;
    if (!ben_is_list(value)) {
        return false;
    }
    while (ben_list_next(value, &it, &entry)) {
        if (!to_view(entry, SIZE_MAX, &name)) {
            continue;
        }
        *want |= view_is(name, "n4", 2) ? KRPC_N4 : view_is(name, "n6", 2) ? KRPC_N6 : 0;
    }
    return true;
}

static bool read_string(struct ben value, const struct field *f, void *member)
{
    struct krpc_view s;
    if (!to_view(value, SIZE_MAX, &s)) {
        return false;
    }
    if (f->type == TYPE_FIXED) {
        if (s.n != f->size) {
            return false;
        }
        memcpy(member, &s.p, sizeof s.p);
        return true;
    }
    bool good = f->size == 0            ? true
                : f->type == TYPE_WHOLE ? s.n % f->size == 0
                                        : s.n > 0 && s.n <= f->size;
    if (good) {
        memcpy(member, &s, sizeof s);
    }
    return good;
}

static bool read_number(struct ben value, const struct field *f, void *member)
{
    int64_t i;
    if (!ben_int(value, &i) || (f->type != TYPE_FLAG && i < 0)) {
        return false;
    }
    if (f->type != TYPE_PORT) {
        memcpy(member, &i, sizeof i);
        return true;
    }
    uint16_t port = (uint16_t)i;
    if (i > UINT16_MAX) {
        return false;
    }
    memcpy(member, &port, sizeof port);
    return true;
}

static bool read_field(struct ben value, const struct field *f, struct krpc_msg *m)
{
    void *member = (uint8_t *)m + f->at;
    struct krpc_view raw = {value.p, value.n};
    switch (f->type) {
    case TYPE_ID:
        return ben_fixed(value, member, DHT_ID_LEN);
    case TYPE_FIXED:
    case TYPE_STR:
    case TYPE_WHOLE:
        return read_string(value, f, member);
    case TYPE_FLAG:
    case TYPE_NUM:
    case TYPE_PORT:
        return read_number(value, f, member);
    case TYPE_LIST:
        if (!ben_is_list(value)) {
            return false;
        }
        memcpy(member, &raw, sizeof raw);
        return true;
    case TYPE_RAW:
        memcpy(member, &raw, sizeof raw);
        return true;
    case TYPE_WANT:
        return read_want(value, member);
    }
    return false;
}

/* Reads `a` or `r`; false when a known key stands in it twice. */
static bool read_fields(struct ben dict, struct krpc_msg *m)
{
    struct ben_iter it = {0};
    struct ben key, value;
    struct krpc_view name;
    size_t from = 0;
    while (ben_dict_next(dict, &it, &key, &value)) {
        size_t at = to_view(key, SIZE_MAX, &name) ? find_field(name, from) : FIELDS;
        if (at == FIELDS) {
            continue;
        }
        uint32_t bit = (uint32_t)1 << at;
        if (((m->has | m->bad) & bit) != 0) {
            return false;
        }
        *(read_field(value, &fields[at], m) ? &m->has : &m->bad) |= bit;
        from = at;
    }
    return true;
}

static enum krpc_method read_method(struct krpc_view q)
{
    for (size_t i = KRPC_OTHER + 1; q.p != NULL && i < METHODS; i++) {
        if (view_is(q, methods[i], strlen(methods[i]))) {
            return (enum krpc_method)i;
        }
    }
    return KRPC_OTHER;
}

/* An error is [code, text]; what can't be read of it stays zero. */
static void read_error(struct ben e, struct krpc_msg *m)
{
    struct ben_iter it = {0};
    struct ben value;
    if (ben_list_next(e, &it, &value) && ben_int(value, &m->code) &&
        ben_list_next(e, &it, &value) && to_view(value, SIZE_MAX, &m->text) &&
        m->text.n > KRPC_TEXT_MAX) {
        m->text.n = KRPC_TEXT_MAX;
    }
}

/* What the top level holds. */
struct top {
    unsigned seen;
    struct ben a, e, r;
    struct krpc_view y;
};

static unsigned top_bit(struct krpc_view key)
{
    if (key.n == 1) {
        switch (key.p[0]) {
        case 'a':
            return TOP_A;
        case 'e':
            return TOP_E;
        case 'q':
            return TOP_Q;
        case 'r':
            return TOP_R;
        case 't':
            return TOP_T;
        case 'v':
            return TOP_V;
        case 'y':
            return TOP_Y;
        default:
            return 0;
        }
    }
    return view_is(key, "ip", 2) ? TOP_IP : view_is(key, "ro", 2) ? TOP_RO : 0;
}

/* False when the message can't be used because of it. */
static bool read_top_value(unsigned bit, struct ben value, struct top *top,
                           struct krpc_msg *m)
{
    int64_t ro;
    struct krpc_view s;
    switch (bit) {
    case TOP_A:
        top->a = value;
        break;
    case TOP_E:
        top->e = value;
        break;
    case TOP_R:
        top->r = value;
        break;
    case TOP_IP:
        if (to_view(value, KRPC_ADDR6_LEN, &s)) {
            (void)krpc_unpack_addr(s.p, s.n, &m->ip);
        }
        break;
    case TOP_Q:
        (void)to_view(value, SIZE_MAX, &m->q);
        break;
    case TOP_RO:
        m->ro = ben_int(value, &ro) && ro != 0;
        break;
    case TOP_T:
        return to_view(value, KRPC_TID_MAX, &m->t);
    case TOP_V:
        (void)to_view(value, KRPC_VERSION_MAX, &m->version);
        break;
    case TOP_Y:
        return to_view(value, 1, &top->y) && top->y.n == 1;
    default:
        break;
    }
    return true;
}

static bool read_top(struct ben dict, struct top *top, struct krpc_msg *m)
{
    struct ben_iter it = {0};
    struct ben key, value;
    struct krpc_view name;
    while (ben_dict_next(dict, &it, &key, &value)) {
        unsigned bit = to_view(key, SIZE_MAX, &name) ? top_bit(name) : 0;
        if ((top->seen & bit) != 0 || !read_top_value(bit, value, top, m)) {
            return false;
        }
        top->seen |= bit;
    }
    return (top->seen & TOP_T) != 0 && (top->seen & TOP_Y) != 0;
}

/* What kind it is hangs on y alone. */
static bool read_kind(const struct top *top, struct krpc_msg *m)
{
    switch (top->y.p[0]) {
    case 'q':
        m->kind = KRPC_QUERY;
        m->method = read_method(m->q);
        return read_fields(top->a, m);
    case 'r':
        m->kind = KRPC_REPLY;
        return ben_is_dict(top->r) && read_fields(top->r, m);
    case 'e':
        m->kind = KRPC_ERROR;
        read_error(top->e, m);
        return true;
    default:
        return false;
    }
}

int krpc_decode(const uint8_t *buf, size_t len, struct krpc_msg *out)
{
    struct ben dict;
    struct krpc_msg m = {0};
    struct top top = {0};
    if (len > KRPC_RECV_MAX || !bencode_check_lax(buf, len, &dict) ||
        !ben_is_dict(dict) || !read_top(dict, &top, &m) || !read_kind(&top, &m)) {
        return ERR_FORMAT;
    }
    *out = m;
    return 0;
}

static void write_want(struct wr *w, uint8_t want)
{
    wr_ben_list(w);
    if ((want & KRPC_N4) != 0) {
        wr_ben_str(w, "n4", 2);
    }
    if ((want & KRPC_N6) != 0) {
        wr_ben_str(w, "n6", 2);
    }
    wr_ben_end(w);
}

static void write_view(struct wr *w, const struct field *f, const void *member)
{
    struct krpc_view s;
    memcpy(&s, member, sizeof s);
    bool raw = f->type == TYPE_RAW || f->type == TYPE_LIST;
    if ((f->type == TYPE_WHOLE && s.n % f->size != 0) || (raw && s.n == 0) ||
        (s.p == NULL && s.n > 0)) {
        w->bad = true;
    } else if (raw) {
        wr_bytes(w, s.p, s.n);
    } else {
        wr_ben_str(w, s.p, s.n);
    }
}

static void write_field(struct wr *w, const struct field *f, const struct krpc_msg *m)
{
    const void *member = (const uint8_t *)m + f->at;
    const uint8_t *p;
    int64_t i;
    uint16_t port;
    wr_ben_str(w, f->key, f->key_len);
    switch (f->type) {
    case TYPE_ID:
        wr_ben_str(w, member, DHT_ID_LEN);
        break;
    case TYPE_FIXED:
        memcpy(&p, member, sizeof p);
        w->bad |= p == NULL;
        wr_ben_str(w, p, p == NULL ? 0 : f->size);
        break;
    case TYPE_STR:
    case TYPE_WHOLE:
    case TYPE_RAW:
    case TYPE_LIST:
        write_view(w, f, member);
        break;
    case TYPE_FLAG:
    case TYPE_NUM:
        memcpy(&i, member, sizeof i);
        w->bad |= f->type == TYPE_NUM && i < 0;
        wr_ben_int(w, i);
        break;
    case TYPE_PORT:
        memcpy(&port, member, sizeof port);
        wr_ben_uint(w, port);
        break;
    case TYPE_WANT:
        write_want(w, m->want);
        break;
    }
}

static void write_fields(struct wr *w, const struct krpc_msg *m)
{
    wr_ben_dict(w);
    for (uint32_t left = m->has; left != 0; left &= left - 1) {
        write_field(w, &fields[__builtin_ctz(left)], m);
    }
    wr_ben_end(w);
}

static void write_error(struct wr *w, const struct krpc_msg *m)
{
    wr_ben_list(w);
    wr_ben_int(w, m->code);
    wr_ben_str(w, m->text.p, m->text.n);
    wr_ben_end(w);
}

static void write_method(struct wr *w, const struct krpc_msg *m)
{
    const char *name = krpc_method_name(m->method);
    wr_ben_key(w, "q");
    if (name != NULL) {
        wr_ben_key(w, name);
    } else {
        w->bad |= m->q.p == NULL;
        wr_ben_str(w, m->q.p, m->q.n);
    }
}

static void write_msg(struct wr *w, const struct krpc_msg *m)
{
    uint8_t ip[KRPC_ADDR6_LEN];
    size_t ip_len = krpc_pack_addr(&m->ip, ip);
    wr_ben_dict(w);
    if (m->kind == KRPC_QUERY) {
        wr_ben_key(w, "a");
        write_fields(w, m);
    } else if (m->kind == KRPC_ERROR) {
        wr_ben_key(w, "e");
        write_error(w, m);
    }
    if (ip_len > 0) {
        wr_ben_key(w, "ip");
        wr_ben_str(w, ip, ip_len);
    }
    if (m->kind == KRPC_QUERY) {
        write_method(w, m);
    } else if (m->kind == KRPC_REPLY) {
        wr_ben_key(w, "r");
        write_fields(w, m);
    }
    if (m->ro) {
        wr_ben_key(w, "ro");
        wr_ben_int(w, 1);
    }
    wr_ben_key(w, "t");
    wr_ben_str(w, m->t.p, m->t.n);
    if (m->version.p != NULL) {
        wr_ben_key(w, "v");
        wr_ben_str(w, m->version.p, m->version.n);
    }
    wr_ben_key(w, "y");
    wr_ben_key(w, m->kind == KRPC_QUERY ? "q" : m->kind == KRPC_REPLY ? "r" : "e");
    wr_ben_end(w);
}

/* Takes an entry from the longer of nodes and nodes6; false when there is none. */
static bool drop_node(struct krpc_msg *m)
{
    size_t n4 = (m->has & KRPC_NODES) != 0 ? m->nodes.n : 0;
    size_t n6 = (m->has & KRPC_NODES6) != 0 ? m->nodes6.n : 0;
    if (n6 >= KRPC_NODE6_LEN && n6 >= n4) {
        m->nodes6.n -= KRPC_NODE6_LEN;
        return true;
    }
    if (n4 >= KRPC_NODE4_LEN) {
        m->nodes.n -= KRPC_NODE4_LEN;
        return true;
    }
    return false;
}

size_t krpc_encode(const struct krpc_msg *m, uint8_t *out, size_t cap)
{
    if (m->has >> FIELDS != 0 || m->t.n > KRPC_TID_MAX) {
        return 0;
    }
    struct wr w = wr_init(out, cap);
    write_msg(&w, m);
    if (wr_ok(&w)) {
        return w.len;
    }
    struct krpc_msg less = *m;
    while (!wr_ok(&w) && drop_node(&less)) {
        w = wr_init(out, cap);
        write_msg(&w, &less);
    }
    return wr_ok(&w) ? w.len : 0;
}

void krpc_query_init(struct krpc_msg *m, enum krpc_method method, const void *tid,
                     size_t tid_len, const struct dht_id *id)
{
    *m = (struct krpc_msg){
        .kind = KRPC_QUERY,
        .t = {tid, tid_len},
        .method = method,
        .has = KRPC_ID,
        .id = *id,
    };
}

void krpc_reply_init(struct krpc_msg *m, const struct krpc_msg *query,
                     const struct addr *from, const struct dht_id *id)
{
    *m = (struct krpc_msg){
        .kind = KRPC_REPLY,
        .t = query->t,
        .ip = *from,
        .has = KRPC_ID,
        .id = *id,
    };
}

void krpc_error_init(struct krpc_msg *m, const struct krpc_msg *query,
                     const struct addr *from, int code, const char *text)
{
    *m = (struct krpc_msg){
        .kind = KRPC_ERROR,
        .t = query->t,
        .ip = *from,
        .code = code,
        .text = {(const uint8_t *)text, strlen(text)},
    };
}

const char *krpc_method_name(enum krpc_method method)
{
    return (size_t)method < METHODS ? methods[method] : NULL;
}

size_t krpc_pack_addr(const struct addr *a, uint8_t out[KRPC_ADDR6_LEN])
{
    size_t n = a->family == 4 ? 4 : a->family == 6 ? 16 : 0;
    if (n == 0) {
        return 0;
    }
    memcpy(out, a->ip, n);
    out[n] = (uint8_t)(a->port >> 8);
    out[n + 1] = (uint8_t)a->port;
    return n + 2;
}

bool krpc_unpack_addr(const uint8_t *p, size_t n, struct addr *out)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (n != KRPC_ADDR4_LEN && n != KRPC_ADDR6_LEN) {
        return false;
    }
    if (n == KRPC_ADDR6_LEN && memcmp(p, mapped, sizeof mapped) == 0) {
        return false;
    }
    struct addr a = {.family = n == KRPC_ADDR4_LEN ? 4 : 6};
    memcpy(a.ip, p, n - 2);
    a.port = (uint16_t)(p[n - 2] << 8 | p[n - 1]);
    *out = a;
    return true;
}

size_t krpc_pack_node(const struct krpc_node *node, uint8_t out[KRPC_NODE6_LEN])
{
    size_t n = krpc_pack_addr(&node->addr, out + DHT_ID_LEN);
    if (n == 0) {
        return 0;
    }
    memcpy(out, node->id.b, DHT_ID_LEN);
    return DHT_ID_LEN + n;
}

bool krpc_node_next(struct krpc_view *nodes, unsigned family, struct krpc_node *out)
{
    size_t size = family == 4 ? KRPC_NODE4_LEN : KRPC_NODE6_LEN;
    while (nodes->n >= size) {
        const uint8_t *p = nodes->p;
        nodes->p += size;
        nodes->n -= size;
        if (krpc_unpack_addr(p + DHT_ID_LEN, size - DHT_ID_LEN, &out->addr)) {
            memcpy(out->id.b, p, DHT_ID_LEN);
            return true;
        }
    }
    return false;
}

bool krpc_peer_next(const struct krpc_view *values, size_t *pos, struct addr *out)
{
    struct ben list = {values->p, values->n}, value;
    struct ben_iter it = {*pos};
    struct krpc_view s;
    while (ben_list_next(list, &it, &value)) {
        *pos = it.off;
        if (to_view(value, KRPC_ADDR6_LEN, &s) && krpc_unpack_addr(s.p, s.n, out)) {
            return true;
        }
    }
    return false;
}
