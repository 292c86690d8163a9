/* Methods of the DHT: dht.ping, dht.find, dht.get, dht.put, dht.announce, dht.peers,
 * dht.stats. Each is answered when its operation has ended, which takes half a minute at
 * most; a put without a seq reads first, and so takes two of them.
 *
 * "Nothing is there" (1) and "nobody could be asked" (6) are different errors. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "api_priv.h"
#include "base/bencode.h"
#include "base/err.h"
#include "dht/item.h"

enum { PEERS_MAX = 1024 };

/* What a request of the DHT holds while it waits. */
struct work {
    struct node_dht_ask q; /* its views point into this struct */
    bool reads_first;      /* a put whose seq is one more than what is stored */
    int64_t seq;           /* of what was found, or is put */
    uint8_t key[ITEM_KEY_LEN], seed[ITEM_SEED_LEN], sig[ITEM_SIG_LEN];
    uint8_t salt[ITEM_SALT_MAX];
    size_t salt_len, value_len, n_peers;
    struct addr *peers;
    uint8_t value[ITEM_VALUE_MAX]; /* bencoded */
};

static void work_free(void *ctx)
{
    struct work *w = ctx;
    free(w->peers);
    sodium_memzero(w, sizeof *w);
    free(w);
}

/* NULL: r has been answered. */
static struct work *work_new(struct app *a, struct api_req *r, enum node_dht_verb verb)
{
    struct work *w = calloc(1, sizeof *w);
    if (w == NULL) {
        api_fail_err(a, r, ERR_NOMEM, NULL);
        return NULL;
    }
    w->q.verb = verb;
    r->work = w;
    r->work_free = work_free;
    return w;
}

/* ---- what could not be done ---- */

static void ask(struct app *a, struct api_req *r)
{
    const struct work *w = r->work;
    int rc = node_dht_ask(a->node, r->tag, &w->q, env_mono_ms());
    if (rc == ERR_STATE) {
        api_fail(r, CODE_NOBODY,
                 "This node is not in the DHT: in scope lan it needs a node to begin "
                 "from. Start it with --bootstrap HOST:PORT, or set bootstrap.");
    } else if (rc == ERR_ARG && w->q.verb == NODE_DHT_PING) {
        api_fail(r, CODE_NOBODY,
                 "That address cannot be asked: it is none of a node, or out of scope.");
    } else if (rc != 0) {
        api_fail_err(a, r, rc, NULL);
    }
}

/* The seq of what stands where a put was refused; without a value that proves it, what
 * nodes name is only told as such: one of them may name any. */
static void fail_seq(struct api_req *r, const struct dht_result *d)
{
    const struct work *w = r->work;
    if (d->rival && d->rival_seq == w->seq) {
        api_fail(r, CODE_REFUSED,
                 "It was not stored: another value has seq %lld already. Read it: linnet "
                 "dht get --key. A put with a higher --seq, or with none, replaces it.",
                 (long long)d->rival_seq);
    } else if (d->rival) {
        api_fail(r, CODE_REFUSED,
                 "It was not stored: what is there has the higher seq %lld. Read it: "
                 "linnet dht get --key. A put with a higher --seq, or with none, "
                 "replaces it.",
                 (long long)d->rival_seq);
    } else if (d->seq >= w->seq) {
        api_fail(r, CODE_REFUSED,
                 "Nobody took it: nodes say that what is stored has a higher seq, or "
                 "another value with the same, but show none. Some name seq %lld, which "
                 "need not be true. Read it again: linnet dht get --key.",
                 (long long)d->seq);
    } else {
        api_fail(r, CODE_REFUSED,
                 "Nobody took it: what is stored has a higher seq, or another value "
                 "with the same. Read it again: linnet dht get --key.");
    }
}

static void fail_refused(struct api_req *r, const struct dht_result *d)
{
    const struct work *w = r->work;
    switch (w->q.item.k != NULL ? d->code : 0) {
    case KRPC_E_CAS:
        api_fail(r, CODE_REFUSED,
                 "Nobody took it: what is stored is not the cas that you named. Read it "
                 "again: linnet dht get --key.");
        break;
    case KRPC_E_SEQ:
        fail_seq(r, d);
        break;
    default:
        api_fail(r, CODE_REFUSED, "Nobody took it: the last answer was error %lld.",
                 (long long)d->code);
        break;
    }
}

/* True when it went well; otherwise r has been answered. */
static bool went_well(struct api_req *r, const struct dht_result *d)
{
    const struct work *w = r->work;
    switch (d->outcome) {
    case DHT_OK:
        return true;
    case DHT_NOT_FOUND:
        api_fail(r, CODE_ERROR,
                 "Nothing is stored there: the %u closest nodes have none.",
                 (unsigned)d->n.closest);
        return false;
    case DHT_NOT_ASKED:
        if (w->q.verb == NODE_DHT_PING && d->n.silent > 0) {
            api_fail(r, CODE_TIMEOUT, "No answer.");
        } else if (d->n.answered == 0) {
            api_fail(r, CODE_NOBODY,
                     "Nobody could be asked: no node of the DHT answers. `linnet dht "
                     "stats` shows which are known.");
        } else {
            api_fail(r, CODE_NOBODY,
                     "Too few nodes answered (%u of %u) to know. Try again.",
                     (unsigned)d->n.answered, (unsigned)d->n.asked);
        }
        return false;
    case DHT_REFUSED:
        fail_refused(r, d);
        return false;
    }
    return false;
}

/* ---- params ---- */

static bool bad_hex(struct api_req *r, const char *key, size_t n)
{
    api_fail(r, CODE_USAGE, "\"%s\" has to be %zu hex digits.", key, 2 * n);
    return false;
}

/* Exactly n bytes of hex that have to be there. */
static bool want_hex(struct api_req *r, const json_t *params, const char *key,
                     uint8_t *out, size_t n)
{
    const char *s;
    size_t len, got = 0;
    if (!api_want_str(r, params, key, &s, &len)) {
        return false;
    }
    if (len != 2 * n || sodium_hex2bin(out, n, s, len, NULL, &got, NULL) != 0 ||
        got != n) {
        return bad_hex(r, key, n);
    }
    return true;
}

/* At most max bytes of hex, of any even number of digits; a missing one leaves *n. */
static bool may_hex(struct api_req *r, const json_t *params, const char *key,
                    uint8_t *out, size_t max, size_t *n)
{
    const char *s, *end = NULL;
    size_t len, got = 0;
    if (!api_may_str(r, params, key, &s, &len)) {
        return false;
    }
    if (s == NULL) {
        return true;
    }
    if (sodium_hex2bin(out, max, s, len, NULL, &got, &end) != 0 || end != s + len ||
        2 * got != len) {
        api_fail(r, CODE_USAGE, "\"%s\" has to be hex digits of at most %zu bytes.", key,
                 max);
        return false;
    }
    *n = got;
    return true;
}

static bool want_target(struct api_req *r, const json_t *params, struct work *w)
{
    return want_hex(r, params, "target", w->q.target.b, DHT_ID_LEN);
}

static bool take_salt(struct api_req *r, const json_t *params, struct work *w)
{
    const char *s;
    size_t len;
    if (!api_may_str(r, params, "salt", &s, &len) ||
        !may_hex(r, params, "salt_hex", w->salt, sizeof w->salt, &w->salt_len)) {
        return false;
    }
    if (len > ITEM_SALT_MAX) {
        api_fail(r, CODE_USAGE, "A salt has at most %d bytes.", ITEM_SALT_MAX);
        return false;
    }
    if (s != NULL) {
        memcpy(w->salt, s, len);
        w->salt_len = len;
    }
    w->q.item.salt = (struct krpc_view){w->salt, w->salt_len};
    return true;
}

static bool value_is_string(struct work *w, const void *p, size_t len)
{
    struct wr out = wr_init(w->value, sizeof w->value);
    wr_ben_str(&out, p, len);
    w->value_len = out.len;
    return wr_ok(&out);
}

/* The value: a string as text ("value") or in hex ("hex"), or any value, bencoded, in hex
 * ("bencoded"). */
static bool take_value(struct api_req *r, const json_t *params, struct work *w)
{
    const char *s;
    size_t len, n = SIZE_MAX, raw = SIZE_MAX;
    uint8_t bytes[ITEM_VALUE_MAX];
    if (!api_may_str(r, params, "value", &s, &len) ||
        !may_hex(r, params, "hex", bytes, sizeof bytes, &n) ||
        !may_hex(r, params, "bencoded", w->value, sizeof w->value, &raw)) {
        return false;
    }
    if ((s != NULL) + (n != SIZE_MAX) + (raw != SIZE_MAX) != 1) {
        api_fail(r, CODE_USAGE, "One of \"value\", \"hex\" and \"bencoded\" is wanted.");
        return false;
    }
    bool fits = s != NULL ? value_is_string(w, s, len)
                          : n == SIZE_MAX || value_is_string(w, bytes, n);
    if (raw != SIZE_MAX) {
        w->value_len = raw;
    }
    w->q.item.v = (struct krpc_view){w->value, w->value_len};
    if (!fits || !item_value_ok(&w->q.item.v)) {
        api_fail(r, CODE_USAGE,
                 fits && w->value_len <= ITEM_VALUE_MAX
                     ? "That is not canonical bencode."
                     : "A value has at most %d bytes, its bencoding counted.",
                 ITEM_VALUE_MAX);
        return false;
    }
    return true;
}

/* A number of at most 63 bits. False: r has been answered. */
static bool may_i64(struct api_req *r, const json_t *params, const char *key,
                    int64_t *out, bool *given)
{
    uint64_t v = UINT64_MAX;
    if (!api_may_u64(r, params, key, INT64_MAX, &v)) {
        return false;
    }
    *given = v != UINT64_MAX;
    if (*given) {
        *out = (int64_t)v;
    }
    return true;
}

/* ---- how things look ---- */

static void show_addr(struct jout *o, const char *key, const struct addr *addr)
{
    char s[ADDR_STR_MAX];
    jout_kstr(o, key, addr_str(addr, s));
}

static void show_counts(struct jout *o, const struct dht_result *d)
{
    jout_ku64(o, "asked", d->n.asked);
    jout_ku64(o, "answered", d->n.answered);
    jout_ku64(o, "ms", d->ms);
}

/* The text of a value that is a string of UTF-8, or null. */
static void show_text(struct jout *o, const uint8_t *p, size_t len)
{
    struct ben v;
    const uint8_t *s;
    size_t n;
    jout_key(o, "value");
    if (bencode_check(p, len, &v) && ben_str(v, &s, &n) && wire_text_ok(s, n)) {
        jout_strn(o, s, n);
    } else {
        jout_null(o);
    }
}

static struct jout *begin(struct api_req *r)
{
    struct jout *o = api_begin(r);
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    return o;
}

static void end(struct api_req *r, struct jout *o)
{
    jout_close(o, '}');
    api_end(r);
}

static void show_item(struct jout *o, const struct work *w)
{
    const struct item *it = &w->q.item;
    struct dht_id target = w->q.target;
    if (it->k != NULL) {
        item_target(it, &target);
    }
    jout_khex(o, "target", target.b, DHT_ID_LEN);
    jout_kbool(o, "mutable", it->k != NULL);
    if (it->k != NULL) {
        jout_khex(o, "key", it->k, ITEM_KEY_LEN);
        jout_khex(o, "salt_hex", w->salt, w->salt_len);
        jout_ku64(o, "seq", (uint64_t)w->seq);
        jout_khex(o, "sig", w->sig, ITEM_SIG_LEN);
    }
}

static void answer_get(struct api_req *r, const struct dht_result *d)
{
    const struct work *w = r->work;
    struct jout *o = begin(r);
    show_item(o, w);
    jout_khex(o, "bencoded", w->value, w->value_len);
    show_text(o, w->value, w->value_len);
    if (d != NULL) {
        jout_ku64(o, "copies", d->copies);
        show_counts(o, d);
    }
    end(r, o);
}

static void answer_find(struct api_req *r, const struct dht_result *d)
{
    const struct work *w = r->work;
    struct jout *o = begin(r);
    jout_khex(o, "target", w->q.target.b, DHT_ID_LEN);
    jout_key(o, "nodes");
    jout_open(o, '[');
    for (size_t i = 0; i < d->n_closest; i++) {
        jout_open(o, '{');
        jout_khex(o, "id", d->closest[i].id.b, DHT_ID_LEN);
        show_addr(o, "address", &d->closest[i].addr);
        jout_close(o, '}');
    }
    jout_close(o, ']');
    show_counts(o, d);
    end(r, o);
}

static void answer_peers(struct api_req *r, const struct dht_result *d)
{
    const struct work *w = r->work;
    char s[ADDR_STR_MAX];
    struct jout *o = begin(r);
    jout_khex(o, "target", w->q.target.b, DHT_ID_LEN);
    jout_key(o, "peers");
    jout_open(o, '[');
    for (size_t i = 0; i < w->n_peers; i++) {
        jout_str(o, addr_str(&w->peers[i], s));
    }
    jout_close(o, ']');
    show_counts(o, d);
    end(r, o);
}

static void answer_stored(struct app *a, struct api_req *r, const struct dht_result *d)
{
    const struct work *w = r->work;
    struct jout *o = begin(r);
    if (w->q.verb == NODE_DHT_PUT) {
        show_item(o, w);
    } else {
        jout_khex(o, "target", w->q.target.b, DHT_ID_LEN);
        jout_ku64(o, "port", w->q.port != 0 ? w->q.port : loop_port(a->cfg.loop));
    }
    jout_ku64(o, "copies", d->copies);
    show_counts(o, d);
    end(r, o);
}

static void answer_ping(struct api_req *r, const struct dht_result *d)
{
    const struct work *w = r->work;
    struct jout *o = begin(r);
    show_addr(o, "address", &w->q.addr);
    jout_ku64(o, "ms", d->ms);
    end(r, o);
}

/* ---- what the node tells ---- */

/* A put: signed with the seed, which is wiped, and begun. */
static void put(struct app *a, struct api_req *r)
{
    struct work *w = r->work;
    struct item *it = &w->q.item;
    struct item_key key;
    it->seq = w->seq;
    item_key_from_seed(w->seed, &key);
    sodium_memzero(w->seed, sizeof w->seed);
    int rc = item_sign(it, &key, w->sig);
    sodium_memzero(&key, sizeof key);
    if (rc != 0) {
        api_fail_err(a, r, rc, NULL);
        return;
    }
    it->sig = w->sig;
    w->q.verb = NODE_DHT_PUT;
    ask(a, r);
}

/* What is stored is known: the next one has the seq behind it. What nodes claim without
 * a value that verifies does not count. */
static void put_next(struct app *a, struct api_req *r, const struct dht_result *d)
{
    struct work *w = r->work;
    if (d->outcome != DHT_NOT_FOUND && !went_well(r, d)) {
        return;
    }
    if (w->seq == INT64_MAX) {
        api_fail(r, CODE_REFUSED, "What is stored has the highest seq that there is.");
        return;
    }
    w->reads_first = false;
    w->seq++;
    put(a, r);
}

static void done(struct app *a, struct api_req *r, const struct dht_result *d)
{
    const struct work *w = r->work;
    if (w->reads_first) {
        put_next(a, r, d);
        return;
    }
    if (!went_well(r, d)) {
        return;
    }
    switch (w->q.verb) {
    case NODE_DHT_PING:
        answer_ping(r, d);
        break;
    case NODE_DHT_FIND:
        answer_find(r, d);
        break;
    case NODE_DHT_GET:
    case NODE_DHT_GET_MUTABLE:
        answer_get(r, d);
        break;
    case NODE_DHT_PUT:
    case NODE_DHT_ANNOUNCE:
        answer_stored(a, r, d);
        break;
    case NODE_DHT_PEERS:
        answer_peers(r, d);
        break;
    }
}

static void value(struct api_req *r, const struct dht_event *e)
{
    struct work *w = r->work;
    w->seq = e->u.value.seq;
    if (w->reads_first) {
        return;
    }
    w->value_len = e->u.value.len;
    memcpy(w->value, e->u.value.v, w->value_len);
    memcpy(w->sig, e->u.value.sig, sizeof w->sig);
    if (!e->u.value.is_mutable) {
        answer_get(r, NULL); /* there is one such value; copies are looked after later */
    }
}

static void peers(struct api_req *r, const struct dht_event *e)
{
    struct work *w = r->work;
    size_t n = e->u.peers.n;
    n = w->n_peers + n > PEERS_MAX ? PEERS_MAX - w->n_peers : n;
    struct addr *v = reallocarray(w->peers, w->n_peers + n + 1, sizeof *v);
    if (v != NULL) {
        w->peers = v;
        memcpy(v + w->n_peers, e->u.peers.a, n * sizeof *v);
        w->n_peers += n;
    }
}

void api_dht_told(struct app *a, uint64_t tag, const struct dht_event *e)
{
    struct api_req *r = api_find(a->api, tag);
    if (r == NULL) {
        return; /* a copy is being repaired, whose value was told */
    }
    switch (e->type) {
    case DHT_DONE:
        done(a, r, &e->u.done);
        break;
    case DHT_VALUE:
        value(r, e);
        break;
    case DHT_PEERS:
        peers(r, e);
        break;
    case DHT_READY:
    case DHT_SELF:
    case DHT_OPEN:
        break;
    }
}

/* ---- the methods ---- */

static void ask_target(struct app *a, struct api_req *r, const json_t *params,
                       enum node_dht_verb verb)
{
    struct work *w = work_new(a, r, verb);
    if (w != NULL && want_target(r, params, w)) {
        ask(a, r);
    }
}

void api_dht_find(struct app *a, struct api_req *r, const json_t *params)
{
    ask_target(a, r, params, NODE_DHT_FIND);
}

void api_dht_peers(struct app *a, struct api_req *r, const json_t *params)
{
    ask_target(a, r, params, NODE_DHT_PEERS);
}

void api_dht_announce(struct app *a, struct api_req *r, const json_t *params)
{
    uint64_t port = 0;
    struct work *w = work_new(a, r, NODE_DHT_ANNOUNCE);
    if (w != NULL && want_target(r, params, w) &&
        api_may_u64(r, params, "port", UINT16_MAX, &port)) {
        w->q.port = (uint16_t)port;
        ask(a, r);
    }
}

void api_dht_get(struct app *a, struct api_req *r, const json_t *params)
{
    if (json_object_get(params, "key") == NULL) {
        ask_target(a, r, params, NODE_DHT_GET);
        return;
    }
    struct work *w = work_new(a, r, NODE_DHT_GET_MUTABLE);
    if (w != NULL && want_hex(r, params, "key", w->key, sizeof w->key) &&
        take_salt(r, params, w)) {
        w->q.item.k = w->key;
        ask(a, r);
    }
}

static void put_immutable(struct app *a, struct api_req *r)
{
    struct work *w = r->work;
    item_target(&w->q.item, &w->q.target);
    ask(a, r);
}

static void put_mutable(struct app *a, struct api_req *r, const json_t *params)
{
    struct work *w = r->work;
    bool has_seq = false;
    struct item_key key;
    if (!want_hex(r, params, "seed", w->seed, sizeof w->seed) ||
        !take_salt(r, params, w) || !may_i64(r, params, "seq", &w->seq, &has_seq) ||
        !may_i64(r, params, "cas", &w->q.cas, &w->q.has_cas)) {
        return;
    }
    item_key_from_seed(w->seed, &key);
    memcpy(w->key, key.public_key, sizeof w->key);
    sodium_memzero(&key, sizeof key);
    w->q.item.k = w->key;
    if (has_seq) {
        put(a, r);
    } else {
        w->reads_first = true;
        w->q.verb = NODE_DHT_GET_MUTABLE;
        ask(a, r);
    }
}

void api_dht_put(struct app *a, struct api_req *r, const json_t *params)
{
    bool is_mutable = false;
    struct work *w = work_new(a, r, NODE_DHT_PUT);
    if (w == NULL || !api_may_bool(r, params, "mutable", &is_mutable) ||
        !take_value(r, params, w)) {
        return;
    }
    if (is_mutable) {
        put_mutable(a, r, params);
    } else {
        put_immutable(a, r);
    }
}

void api_dht_ping(struct app *a, struct api_req *r, const json_t *params)
{
    const char *to;
    size_t len;
    char host[CONFIG_HOST_MAX + 1];
    uint16_t port;
    struct work *w = work_new(a, r, NODE_DHT_PING);
    if (w == NULL || !api_want_str(r, params, "to", &to, &len)) {
        return;
    }
    if (addr_parse(to, 0, &w->q.addr) == 0 && w->q.addr.port != 0) {
        ask(a, r);
        return;
    }
    if (!config_split_bootstrap(to, host, &port)) {
        api_fail(r, CODE_USAGE, "\"to\" has to be of the form HOST:PORT.");
        return;
    }
    int rc = loop_resolve(a->cfg.loop, APP_WHAT_REQUEST | r->tag, host, port);
    if (rc == ERR_REFUSED) {
        api_fail(r, CODE_NOBODY,
                 "In scope lan no names are looked up. Give the address of %.200s.",
                 host);
    } else if (rc != 0) {
        api_fail_err(a, r, rc, NULL);
    }
}

void api_dht_resolved(struct app *a, uint64_t tag, const struct addr *v, size_t n)
{
    struct api_req *r = api_find(a->api, tag);
    size_t i = 0;
    if (r == NULL) {
        return;
    }
    while (i < n && !loop_has_family(a->cfg.loop, v[i].family)) {
        i++;
    }
    if (i == n) {
        api_fail(r, CODE_NOBODY, "That host is not known to the name service.");
    } else if (a->node == NULL) {
        api_fail(r, CODE_ERROR, "%s", a->store_error);
    } else {
        ((struct work *)r->work)->q.addr = v[i];
        ask(a, r);
    }
}

/* ---- how it is ---- */

static void show_family(struct jout *o, const char *key, const struct dht_stats *s,
                        size_t i)
{
    jout_key(o, key);
    jout_open(o, '{');
    jout_khex(o, "id", s->id[i].b, DHT_ID_LEN);
    jout_ku64(o, "nodes", s->nodes[i]);
    jout_ku64(o, "estimate", s->estimate[i]);
    jout_key(o, "seen");
    if (s->seen[i].family == 0) {
        jout_null(o);
    } else {
        char text[ADDR_STR_MAX];
        jout_str(o, addr_str(&s->seen[i], text));
    }
    jout_close(o, '}');
}

/* Members of an object. */
static void show_stats(struct jout *o, const struct dht_stats *s)
{
    jout_kbool(o, "ready", s->ready);
    jout_kbool(o, "read_only", s->read_only);
    show_family(o, "ip4", s, 0);
    show_family(o, "ip6", s, 1);
}

void api_show_dht(struct app *a, struct jout *o)
{
    struct dht_stats s;
    struct meet_stats m;
    jout_key(o, "dht");
    if (!node_dht_stats(a->node, &s)) {
        jout_null(o);
        return;
    }
    jout_open(o, '{');
    show_stats(o, &s);
    jout_kbool(o, "published", node_meet_stats(a->node, &m) && m.published);
    jout_close(o, '}');
}

void api_dht_stats(struct app *a, struct api_req *r, const json_t *params)
{
    struct dht_stats s = {0};
    bool on = node_dht_stats(a->node, &s);
    (void)params;
    struct jout *o = begin(r);
    jout_kbool(o, "on", on);
    show_stats(o, &s);
    jout_ku64(o, "operations", s.ops);
    jout_ku64(o, "queries", s.queries);
    jout_ku64(o, "items", s.items);
    jout_ku64(o, "peers", s.peers);
    jout_ku64(o, "sent", s.sent);
    jout_ku64(o, "sent_bytes", s.sent_bytes);
    jout_ku64(o, "received", s.received);
    jout_ku64(o, "received_bytes", s.received_bytes);
    end(r, o);
}
