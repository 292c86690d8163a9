#include "dht/server.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bucket.h"
#include "base/err.h"
#include "dht/limit.h"
#include "dht/proved.h"
#include "dht/token.h"

enum { NET_GAP_PART = 10, NET_BURST_TIMES = 10, PEERS_BYTES = 700, KEPT_PART = 4 };

static const struct bucket_rate verify_rate = {SERVER_VERIFIES_BURST,
                                               SERVER_VERIFIES_PER_S, 1000};

struct server {
    const struct env *env;
    struct dht_id self;
    struct server_config config;
    struct token_secrets tokens;
    struct shelf *shelf;
    struct limit each, nets, large;
    struct proved proved;
    struct bucket bytes, open_bytes, verifies;
    struct server_stats stats;
};

/* One query while it is answered, and the bytes that its answer points to. */
struct job {
    struct server *s;
    const struct krpc_msg *q;
    const struct addr *from;
    const struct server_nodes *nodes;
    uint64_t now_ms;
    struct krpc_msg r;
    size_t len_max;
    uint8_t nodes4[SERVER_NODES * KRPC_NODE4_LEN], nodes6[SERVER_NODES * KRPC_NODE6_LEN];
    uint8_t token[TOKEN_LEN];
    uint8_t peers[PEERS_BYTES];
    uint8_t seeds[BLOOM_LEN], others[BLOOM_LEN];
    struct dht_id samples[SHELF_SAMPLES_MAX];
};

void server_config_init(struct server_config *c)
{
    *c = (struct server_config){
        .gap_ms = SERVER_GAP_MS,
        .burst = SERVER_BURST,
        .bytes_per_s = SERVER_BYTES_PER_S,
        .bytes_burst = SERVER_BYTES_BURST,
    };
    shelf_config_init(&c->shelf);
}

struct server *server_new(const struct env *env, const struct dht_id *self,
                          const struct server_config *c, uint64_t now_ms)
{
    struct server *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    s->env = env;
    s->self = *self;
    s->config = *c;
    s->shelf = shelf_new(env, self, &c->shelf);
    if (s->shelf == NULL) {
        free(s);
        return NULL;
    }
    uint32_t net_gap_ms = c->gap_ms == 0 ? 0 : (c->gap_ms - 1) / NET_GAP_PART + 1;
    token_init(&s->tokens, env, now_ms);
    limit_init(&s->each, env, c->gap_ms, c->burst);
    limit_init(&s->nets, env, net_gap_ms, c->burst * NET_BURST_TIMES);
    limit_init(&s->large, env, SERVER_LARGE_GAP_MS, SERVER_LARGE_BURST);
    proved_init(&s->proved, env);
    return s;
}

void server_free(struct server *s)
{
    if (s == NULL) {
        return;
    }
    token_release(&s->tokens);
    shelf_free(s->shelf);
    limit_release(&s->each);
    limit_release(&s->nets);
    limit_release(&s->large);
    proved_release(&s->proved);
    free(s);
}

void server_set_self(struct server *s, const struct dht_id *self)
{
    s->self = *self;
    shelf_set_self(s->shelf, self);
}

void server_proved(struct server *s, const struct addr *a, uint64_t now_ms)
{
    proved_add(&s->proved, a, now_ms);
}

struct shelf *server_shelf(struct server *s)
{
    return s->shelf;
}

void server_tick(struct server *s, uint64_t now_ms)
{
    token_tick(&s->tokens, s->env, now_ms);
    shelf_tick(s->shelf, now_ms);
}

uint64_t server_deadline(const struct server *s)
{
    return shelf_deadline(s->shelf); /* tokens change when they are asked for */
}

void server_stats(const struct server *s, struct server_stats *out)
{
    *out = s->stats;
}

size_t server_memory(const struct server *s)
{
    return sizeof *s + shelf_memory(s->shelf) + limit_memory(&s->each) +
           limit_memory(&s->nets) + limit_memory(&s->large) + proved_memory(&s->proved);
}

static void fail(struct job *j, int code, const char *text)
{
    krpc_error_init(&j->r, j->q, j->from, code, text);
}

/* The source that a limit counts: an IPv4 address or the /64 of an IPv6 one, or for its
 * network a /24 or /48; a local address is both. */
struct key {
    uint8_t b[16];
};

static struct key key_of(const struct addr *a, bool network)
{
    struct key key = {{0}};
    size_t n = dht_id_exempt(a) ? sizeof key.b
               : a->family == 4 ? (network ? 3 : 4)
                                : (network ? 6 : 8);
    memcpy(key.b, a->ip, n);
    return key;
}

/* Whether an answer may be large: always for who has proved himself. */
static bool may_be_large(struct job *j)
{
    struct key key = key_of(j->from, false);
    if (proved_has(&j->s->proved, j->from, j->now_ms) ||
        limit_take(&j->s->large, key.b, sizeof key.b, j->now_ms)) {
        return true;
    }
    j->s->stats.held_back++;
    return false;
}

/* The nodes of one family closest to target, but for the asker itself. */
static size_t closest(struct job *j, unsigned family, const struct dht_id *target,
                      uint8_t *out)
{
    struct krpc_node found[SERVER_NODES + 1];
    size_t len = 0, taken = 0;
    size_t n = j->nodes->closest(j->nodes->ctx, family, target, found, SERVER_NODES + 1);
    for (size_t i = 0; i < n && taken < SERVER_NODES; i++) {
        if (found[i].addr.family == family && !dht_id_eq(&found[i].id, &j->q->id) &&
            !addr_eq(&found[i].addr, j->from)) {
            uint8_t node[KRPC_NODE6_LEN];
            size_t size = krpc_pack_node(&found[i], node);
            memcpy(out + len, node, size);
            len += size;
            taken++;
        }
    }
    return len;
}

/* Nodes of the asker's own family, or of those it wants (BEP 32). */
static void add_nodes(struct job *j, const struct dht_id *target)
{
    uint8_t want = j->q->want;
    if (want == 0) {
        want = j->from->family == 4 ? KRPC_N4 : KRPC_N6;
    }
    if ((want & KRPC_N4) != 0) {
        j->r.nodes = (struct krpc_view){j->nodes4, closest(j, 4, target, j->nodes4)};
        j->r.has |= KRPC_NODES;
    }
    if ((want & KRPC_N6) != 0) {
        j->r.nodes6 = (struct krpc_view){j->nodes6, closest(j, 6, target, j->nodes6)};
        j->r.has |= KRPC_NODES6;
    }
}

static void add_token(struct job *j, const struct dht_id *target)
{
    token_make(&j->s->tokens, j->from, target, j->token);
    j->r.token = (struct krpc_view){j->token, sizeof j->token};
    j->r.has |= KRPC_TOKEN;
}

static bool has_all(struct job *j, uint32_t fields, const char *text)
{
    if ((j->q->has & fields) == fields) {
        return true;
    }
    fail(j, KRPC_E_PROTOCOL, text);
    return false;
}

static bool token_is_good(struct job *j, const struct dht_id *target)
{
    if (token_check(&j->s->tokens, j->from, target, j->q->token.p, j->q->token.n)) {
        proved_add(&j->s->proved, j->from, j->now_ms);
        return true;
    }
    fail(j, KRPC_E_PROTOCOL, "bad token");
    return false;
}

static void find_node(struct job *j)
{
    if (has_all(j, KRPC_TARGET, "missing or bad target")) {
        add_nodes(j, &j->q->target);
    }
}

static void add_peers(struct job *j, bool scrape)
{
    const struct krpc_msg *q = j->q;
    bool noseed = (q->has & KRPC_NOSEED) != 0 && q->noseed != 0;
    size_t max = j->from->family == 4 ? SERVER_PEERS4_MAX : SERVER_PEERS6_MAX;
    struct wr w = wr_init(j->peers, sizeof j->peers);
    size_t n = shelf_peers(j->s->shelf, &q->info_hash, j->from->family, noseed,
                           scrape ? SERVER_PEERS_SCRAPE : max, j->now_ms, &w);
    if (n > SERVER_PEERS_SCRAPE && !may_be_large(j)) {
        w = wr_init(j->peers, sizeof j->peers);
        n = shelf_peers(j->s->shelf, &q->info_hash, j->from->family, noseed,
                        SERVER_PEERS_SCRAPE, j->now_ms, &w);
    }
    if (n > 0 && wr_ok(&w)) {
        j->r.values = (struct krpc_view){j->peers, w.len};
        j->r.has |= KRPC_VALUES;
    }
}

static bool add_filters(struct job *j)
{
    const struct krpc_msg *q = j->q;
    if ((q->has & KRPC_SCRAPE) == 0 || q->scrape == 0 ||
        !shelf_scrape(j->s->shelf, &q->info_hash, j->now_ms, j->seeds, j->others) ||
        !may_be_large(j)) {
        return false;
    }
    j->r.bfsd = j->seeds;
    j->r.bfpe = j->others;
    j->r.has |= KRPC_BFSD | KRPC_BFPE;
    return true;
}

static void get_peers(struct job *j)
{
    if (has_all(j, KRPC_INFO_HASH, "missing or bad info_hash")) {
        add_nodes(j, &j->q->info_hash);
        add_token(j, &j->q->info_hash);
        add_peers(j, add_filters(j));
    }
}

static void announce_peer(struct job *j)
{
    const struct krpc_msg *q = j->q;
    struct addr peer = *j->from;
    bool implied = (q->has & KRPC_IMPLIED_PORT) != 0 && q->implied_port != 0;
    if (!has_all(j, KRPC_INFO_HASH, "missing or bad info_hash") ||
        !has_all(j, KRPC_TOKEN, "missing or bad token") ||
        (!implied && !has_all(j, KRPC_PORT, "missing or bad port")) ||
        !token_is_good(j, &q->info_hash)) {
        return;
    }
    peer.port = implied ? peer.port : q->port;
    bool seed = (q->has & KRPC_SEED) != 0 && q->seed == 1; /* BEP 33: else a peer */
    int rc = shelf_announce(j->s->shelf, &q->info_hash, &peer, seed, j->now_ms);
    if (rc == ERR_ARG) {
        fail(j, KRPC_E_PROTOCOL, "nobody can reach that port");
    } else if (rc != 0) {
        fail(j, KRPC_E_SERVER, "no room");
    }
}

static void add_item(struct job *j, const struct item *it)
{
    const struct krpc_msg *q = j->q;
    struct krpc_msg *r = &j->r;
    if (it->k != NULL) {
        r->seq = it->seq;
        r->has |= KRPC_SEQ;
        if ((q->has & KRPC_SEQ) != 0 && q->seq >= it->seq) {
            return; /* the asker has it */
        }
    }
    if (!may_be_large(j)) {
        return;
    }
    r->v = it->v;
    r->has |= KRPC_V;
    if (it->k != NULL) {
        r->k = it->k;
        r->sig = it->sig;
        r->has |= KRPC_K | KRPC_SIG;
    }
    j->len_max = KRPC_SEND_MAX;
}

static void get(struct job *j)
{
    struct item it;
    if (has_all(j, KRPC_TARGET, "missing or bad target")) {
        add_nodes(j, &j->q->target);
        add_token(j, &j->q->target);
        if (shelf_get(j->s->shelf, &j->q->target, j->now_ms, &it)) {
            add_item(j, &it);
        }
    }
}

static bool same_bytes(const uint8_t *a, const uint8_t *b, size_t n)
{
    return memcmp(a, b, n) == 0;
}

/* True for the very item that is stored: its signature was verified when it came. */
static bool is_known(const struct job *j, const struct dht_id *target,
                     const struct item *it)
{
    struct item old;
    return it->k != NULL && shelf_get(j->s->shelf, target, j->now_ms, &old) &&
           old.k != NULL && old.seq == it->seq && old.v.n == it->v.n &&
           same_bytes(old.k, it->k, ITEM_KEY_LEN) &&
           same_bytes(old.sig, it->sig, ITEM_SIG_LEN) &&
           same_bytes(old.v.p, it->v.p, it->v.n);
}

/* What can be judged without computing anything; 0 or an error's code. */
static int judge_put(const struct krpc_msg *q, const struct item *it)
{
    if ((q->has & KRPC_V) == 0 || (q->has & KRPC_TOKEN) == 0) {
        return KRPC_E_PROTOCOL;
    }
    if (it->v.n > ITEM_VALUE_MAX) {
        return KRPC_E_TOO_BIG;
    }
    if (it->salt.n > ITEM_SALT_MAX) {
        return KRPC_E_SALT;
    }
    return item_is_half(q) ? KRPC_E_PROTOCOL : 0;
}

static void fail_put(struct job *j, int rc)
{
    const char *text = "missing or bad argument";
    if (rc < 0) {
        rc = KRPC_E_SERVER;
        text = "no room";
    } else if (rc == KRPC_E_TOO_BIG) {
        text = "v is too big";
    } else if (rc == KRPC_E_SIGNATURE) {
        text = "invalid signature";
    } else if (rc == KRPC_E_SALT) {
        text = "salt is too big";
    } else if (rc == KRPC_E_CAS) {
        text = "cas is not what is stored";
    } else if (rc == KRPC_E_SEQ) {
        text = "seq is less than what is stored";
    }
    fail(j, rc, text);
}

static void put(struct job *j)
{
    struct item it;
    struct dht_id target;
    const struct krpc_msg *q = j->q;
    item_of(q, &it);
    int rc = judge_put(q, &it);
    if (rc != 0) {
        fail_put(j, rc);
        return;
    }
    item_target(&it, &target);
    if (!token_is_good(j, &target)) {
        return;
    }
    if (!is_known(j, &target, &it)) {
        bool may =
            it.k == NULL || bucket_take(&j->s->verifies, &verify_rate, 1, j->now_ms);
        rc = may ? item_check(&it) : ERR_LIMIT;
    }
    if (rc == 0) {
        const int64_t *cas = (q->has & KRPC_CAS) != 0 ? &q->cas : NULL;
        rc = shelf_put(j->s->shelf, &target, &it, cas, j->from, j->now_ms);
    }
    if (rc != 0) {
        fail_put(j, rc);
    }
}

static void sample_infohashes(struct job *j)
{
    struct shelf_stats stats;
    if (!has_all(j, KRPC_TARGET, "missing or bad target")) {
        return;
    }
    add_nodes(j, &j->q->target);
    size_t n = shelf_sample(j->s->shelf, j->now_ms, j->samples);
    shelf_stats(j->s->shelf, &stats);
    j->r.samples = (struct krpc_view){j->samples[0].b, n * DHT_ID_LEN};
    j->r.num = (int64_t)stats.hashes;
    j->r.interval = SHELF_SAMPLE_S;
    j->r.has |= KRPC_SAMPLES | KRPC_NUM | KRPC_INTERVAL;
}

/* A method of the future that names a target is answered as find_node is. */
static void other(struct job *j)
{
    if (j->q->q.p == NULL) {
        fail(j, KRPC_E_PROTOCOL, "missing or bad q");
    } else if ((j->q->has & KRPC_TARGET) != 0) {
        add_nodes(j, &j->q->target);
    } else if ((j->q->has & KRPC_INFO_HASH) != 0) {
        add_nodes(j, &j->q->info_hash);
    } else {
        fail(j, KRPC_E_METHOD, "unknown method");
    }
}

static void dispatch(struct job *j)
{
    krpc_reply_init(&j->r, j->q, j->from, &j->s->self);
    if (!has_all(j, KRPC_ID, "missing or bad id")) {
        return;
    }
    switch (j->q->method) {
    case KRPC_PING:
        break;
    case KRPC_FIND_NODE:
        find_node(j);
        break;
    case KRPC_GET_PEERS:
        get_peers(j);
        break;
    case KRPC_ANNOUNCE_PEER:
        announce_peer(j);
        break;
    case KRPC_GET:
        get(j);
        break;
    case KRPC_PUT:
        put(j);
        break;
    case KRPC_SAMPLE_INFOHASHES:
        sample_infohashes(j);
        break;
    case KRPC_OTHER:
        other(j);
        break;
    }
}

/* Whether this address, and its network, get an answer now. */
static bool may_ask(struct server *s, const struct addr *from, uint64_t now_ms)
{
    struct key each = key_of(from, false), net = key_of(from, true);
    return limit_take(&s->each, each.b, sizeof each.b, now_ms) &&
           limit_take(&s->nets, net.b, sizeof net.b, now_ms);
}

/* A part of what is sent is kept for those who have proved themselves: whoever forges
 * addresses can use up the rest. */
static bool may_send(struct server *s, const struct addr *to, size_t len, uint64_t now_ms)
{
    const uint64_t burst = s->config.bytes_burst, per_s = s->config.bytes_per_s;
    const struct bucket_rate rate = {burst, per_s, 1000};
    const struct bucket_rate open = {burst - burst / KEPT_PART, per_s - per_s / KEPT_PART,
                                     1000};
    if (per_s == 0) {
        return true;
    }
    return (proved_has(&s->proved, to, now_ms) ||
            bucket_take(&s->open_bytes, &open, len, now_ms)) &&
           bucket_take(&s->bytes, &rate, len, now_ms);
}

size_t server_answer(struct server *s, const struct krpc_msg *query,
                     const struct addr *from, const struct server_nodes *nodes,
                     uint64_t now_ms, uint8_t out[KRPC_SEND_MAX])
{
    struct job j;
    assert(query->kind == KRPC_QUERY);
    if (!addr_is_dialable(from) || !may_ask(s, from, now_ms)) {
        s->stats.silent++;
        return 0;
    }
    token_tick(&s->tokens, s->env, now_ms);
    j.s = s;
    j.q = query;
    j.from = from;
    j.nodes = nodes;
    j.now_ms = now_ms;
    j.len_max = SERVER_SMALL_MAX;
    dispatch(&j);
    size_t len = krpc_encode(&j.r, out, j.len_max);
    if (len == 0 || !may_send(s, from, len, now_ms)) {
        s->stats.silent++;
        return 0;
    }
    s->stats.bytes += len;
    *(j.r.kind == KRPC_ERROR ? &s->stats.errors : &s->stats.answers) += 1;
    return len;
}
