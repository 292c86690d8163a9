/* A whole DHT node: datagrams of anybody at any time, answers to its own queries, and
 * operations. What it sends and says is compared with what it was asked and told.
 *
 * An input is two bytes, what kind of node it is and from when on it lives, and a row of
 * steps, five bytes each: what happens (enum step), and four that say how. A datagram as
 * it stands follows its step; "TTTT" in it becomes the transaction id of the query that
 * it answers. Other datagrams are made (dht_forge.h). */
#include <assert.h>
#include <string.h>

#include "base/bencode.h"
#include "base/buf.h"
#include "base/err.h"
#include "dht/dht.h"
#include "dht/rpc.h"
#include "dht_forge.h"
#include "seeded.h"

enum step {
    STEP_TIME,    /* a: how much, squared; b: it is as if nothing ran meanwhile, or
                     nothing is taken from it */
    STEP_RAW,     /* of node a, b and c bytes long; d: it answers the last query */
    STEP_ANSWER,  /* a: to which of the last queries; b, c: what it is; d: more */
    STEP_ANSWERS, /* … to all */
    STEP_QUERY,   /* of node a; b: what it is; c: about what; d: more */
    STEP_BEGIN,   /* operation a; about target or item b; c: how, and whether what comes
                     of it is taken at once; d: more */
    STEP_CANCEL,  /* operation a of those that were begun */
    STEP_KNOW,    /* a: a router, an address, or another network; b: which node */
    STEPS
};

enum {
    STEP_LEN = 5,
    STEPS_MAX = 24,
    STEP_TICKS_MAX = 8, /* of one step; then the clock jumps */
    TICKS_MAX = 48,     /* … of all steps */
    DATAGRAMS_MAX = 48, /* … that it gets */
    SETTLE_MAX = 40,    /* ticks at one time after which there is nothing to do */
    OPS_MAX = 8,
    ASKED_MAX = 16,
    ADDRS_MAX = 256, /* a power of two */
    ADDRS_FULL = 200,
    END_STEPS = 24,
    END_STEP_MS = 8000, /* no phase of an operation takes longer */
    MEMORY_MAX = 1 << 20,
    STRICT_GAP_MS = 1000,
    STRICT_BURST = 3,
    SMALL_SHELF = 3,
    SHARE_MAX = 16, /* node numbers, of which the last may not be sent to */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum kind { PING, FIND, GET, GET_MUTABLE, GET_AT, PUT, PEERS, ANNOUNCE, KINDS };

/* An operation as the user sees it. */
struct begun {
    uint32_t op;
    enum kind kind;
    struct dht_id target;
    bool alive, keeps, has_value;
    int64_t seq;
    size_t peers;
};

/* An address that was sent to, or has sent. */
struct met {
    struct addr addr;
    uint64_t spent_ms; /* when all queries to it are paid for, rpc.h */
    uint64_t got_ms;   /* … and all answers that it got, where few are given */
    uint64_t large_ms; /* … and the large ones */
    bool answered;
    bool proved; /* as the server has it: it has sent a token of ours, or answered */
    bool listed; /* among the nodes that are known */
};

static struct fuzz {
    struct dht *d;
    struct dht_config c;
    uint64_t now_ms;
    unsigned ticks, datagrams;
    struct begun op[OPS_MAX];
    unsigned ops;
    struct forge_asked asked[ASKED_MAX]; /* the last queries; family 0: answered */
    unsigned queries;
    struct met met[ADDRS_MAX];
    unsigned n_met;
    struct addr asker; /* of the query that may be answered now; family 0: none may */
    struct krpc_msg asked_us;
    bool may_store;                /* it has a token of ours */
    uint8_t token[KRPC_TOKEN_MAX]; /* of the last answer of ours */
    size_t token_len;
    uint64_t sent;
    bool open;
    bool strict;     /* few answers are given to one address */
    bool local;      /* a private address has to do with it */
    unsigned stored; /* answers to puts and announcements */
    bool late;       /* what it has sent may be older than now_ms */
    unsigned told;   /* events since the last drain() began */
} f;

/* ---- what is known ---- */

static bool may_send(void *ctx, const struct addr *a)
{
    (void)ctx;
    return a->ip[1] % SHARE_MAX != SHARE_MAX - 1;
}

static bool is_met(const struct met *m, const struct addr *a)
{
    return addr_eq_ip(&m->addr, a) &&
           (m->addr.port == a->port || !f.c.private_too || !addr_is_private(a));
}

/* NULL: there are too many to tell. */
static struct met *meet(const struct addr *a)
{
    unsigned i = a->ip[0] * 7u + a->ip[1] * 31u + a->ip[3] * 5u + a->ip[7] + a->ip[15];
    for (;; i++) {
        struct met *m = &f.met[i % ADDRS_MAX];
        if (m->addr.family == 0) {
            if (f.n_met >= ADDRS_FULL) {
                return NULL;
            }
            m->addr = *a;
            f.n_met++;
        }
        if (is_met(m, a)) {
            return m;
        }
    }
}

static struct begun *begun(uint32_t op)
{
    for (unsigned i = f.ops; i > 0; i--) {
        if (f.op[i - 1].op == op) {
            return &f.op[i - 1];
        }
    }
    return NULL;
}

/* ---- what it sends ---- */

/* One each gap_ms, and so many at once. */
static void spend(uint64_t *until_ms, uint64_t gap_ms, unsigned burst)
{
    *until_ms = (*until_ms > f.now_ms ? *until_ms : f.now_ms) + gap_ms;
    assert(*until_ms <= f.now_ms + gap_ms * burst);
}

static void check_query(const struct dht_out *out, const struct krpc_msg *m)
{
    unsigned side = out->dest.family == 6;
    struct dht_stats s;
    dht_stats(f.d, &s);
    assert(m->t.n == RPC_TID_LEN && m->bad == 0 && (m->has & KRPC_ID) != 0);
    assert(dht_id_eq(&m->id, &s.id[side]));
    assert(f.c.read_only ? m->ro : !m->ro || !f.c.open);
    assert(f.local || !addr_is_private(&out->dest));
    struct met *to = meet(&out->dest);
    if (to != NULL && !f.late) {
        spend(&to->spent_ms, 1000 / RPC_RATE_PER_S, RPC_RATE_BURST);
    }
    struct forge_asked *q = &f.asked[f.queries++ % ASKED_MAX];
    q->addr = out->dest;
    q->method = m->method;
    q->target = (m->has & KRPC_INFO_HASH) != 0 ? m->info_hash : m->target;
    memcpy(q->tid, m->t.p, sizeof q->tid);
}

static bool is_large(const struct krpc_msg *m)
{
    struct addr a;
    size_t pos = 0, peers = 0;
    while ((m->has & KRPC_VALUES) != 0 && krpc_peer_next(&m->values, &pos, &a)) {
        peers++;
    }
    return (m->has & (KRPC_V | KRPC_BFSD)) != 0 || peers > SERVER_PEERS_SCRAPE;
}

static void check_reply(const struct krpc_msg *m, const struct dht_id *id)
{
    const struct krpc_msg *q = &f.asked_us;
    bool stores = q->method == KRPC_PUT || q->method == KRPC_ANNOUNCE_PEER;
    assert(dht_id_eq(&m->id, id));
    assert(!stores || f.may_store);
    assert(!f.c.read_only || q->method == KRPC_PING);
}

/* One answer for one query, to who has asked, and none without. */
static void check_answer(const struct dht_out *out, const struct krpc_msg *m)
{
    struct ben whole;
    struct dht_stats s;
    struct met *to = meet(&out->dest);
    dht_stats(f.d, &s);
    assert(bencode_check(out->bytes, out->len, &whole));
    assert(f.asker.family != 0 && addr_eq(&out->dest, &f.asker));
    assert(m->t.n == f.asked_us.t.n &&
           (m->t.n == 0 || memcmp(m->t.p, f.asked_us.t.p, m->t.n) == 0));
    assert(addr_eq(&m->ip, &f.asker) && m->bad == 0);
    assert((m->has & KRPC_V) != 0 || out->len <= SERVER_SMALL_MAX);
    if (m->kind == KRPC_REPLY) {
        check_reply(m, &s.id[out->dest.family == 6]);
    }
    if (to != NULL && f.strict) {
        spend(&to->got_ms, STRICT_GAP_MS, STRICT_BURST);
    }
    if (to != NULL && is_large(m) && !to->proved && !to->answered) {
        spend(&to->large_ms, SERVER_LARGE_GAP_MS, SERVER_LARGE_BURST);
    }
    if (to != NULL && f.may_store) {
        to->proved = true;
    }
    f.asker.family = 0;
    f.token_len = m->token.n;
    if (m->token.n > 0) {
        memcpy(f.token, m->token.p, m->token.n);
    }
}

static void check_out(const struct dht_out *out)
{
    struct krpc_msg m;
    assert(out->len <= KRPC_SEND_MAX && krpc_decode(out->bytes, out->len, &m) == 0);
    assert(addr_is_dialable(&out->dest) && f.c.family[out->dest.family == 6]);
    assert(f.c.may_send == NULL || may_send(NULL, &out->dest));
    f.sent++;
    if (m.kind == KRPC_QUERY) {
        check_query(out, &m);
    } else {
        check_answer(out, &m);
    }
}

/* ---- what it says ---- */

static void check_done(struct begun *b, const struct dht_result *r)
{
    bool stores = b->kind == PUT || b->kind == ANNOUNCE;
    bool looks = b->kind == PING || b->kind == FIND;
    assert(r->outcome >= DHT_OK && r->outcome <= DHT_REFUSED);
    assert(r->outcome != DHT_REFUSED || (stores && r->code != 0 && r->copies == 0));
    assert(r->outcome != DHT_NOT_FOUND || !(stores || looks));
    assert(!stores || r->copies <= f.stored);
    if (r->outcome == DHT_OK) {
        assert(looks    ? r->n.answered > 0
               : stores ? r->copies > 0
                        : b->has_value || b->peers > 0);
    } else {
        assert(!b->has_value && (looks || r->copies == 0));
    }
    assert(r->copies <= 2 * LOOKUP_K && r->n_closest <= LOOKUP_K);
    assert(r->n.closest <= 2 * LOOKUP_K && r->n.asked <= 2 * LOOKUP_ASKED_MAX);
    assert(b->kind == PING || r->n.answered <= r->n.asked);
    for (unsigned i = 0; i < r->n_closest; i++) {
        const struct addr *a = &r->closest[i].addr;
        const struct met *m = b->kind == GET_AT ? NULL : meet(a); /* hearsay */
        assert(m == NULL || m->answered);
        assert(addr_is_dialable(a) && (f.c.may_send == NULL || may_send(NULL, a)));
        assert(i == 0 ||
               dht_id_cmp(&b->target, &r->closest[i - 1].id, &r->closest[i].id) <= 0);
    }
    b->alive = b->keeps;
    b->has_value = false;
}

/* A signed value is one that was made with its signature: there is nobody to forge one.
 */
static void check_value(struct begun *b, const struct dht_event *e)
{
    struct item it = {.v = {e->u.value.v, e->u.value.len}};
    struct dht_id target;
    bool known = false;
    assert(e->u.value.len > 0 && e->u.value.len <= ITEM_VALUE_MAX);
    if (b->kind == GET) {
        item_target(&it, &target);
        assert(!e->u.value.is_mutable && !b->has_value && dht_id_eq(&target, &b->target));
        b->has_value = true;
        return;
    }
    assert(b->kind == GET_MUTABLE || b->kind == GET_AT);
    assert(e->u.value.is_mutable);
    for (uint8_t i = 0; i < FORGE_ITEMS && !known; i++) {
        const struct item *made = forge_item(i);
        known = made->k != NULL && made->seq == e->u.value.seq && made->v.n == it.v.n &&
                memcmp(made->v.p, it.v.p, it.v.n) == 0 &&
                memcmp(made->sig, e->u.value.sig, sizeof e->u.value.sig) == 0 &&
                dht_id_eq(forge_target(i & FORGE_KIND_MASK), &b->target);
    }
    assert(known);
    assert(e->u.value.seq > b->seq || (b->seq == 0 && !b->has_value));
    b->has_value = true;
    b->seq = e->u.value.seq;
}

static void check_peers(struct begun *b, const struct dht_event *e)
{
    assert(b->kind == PEERS && e->u.peers.n > 0 && e->u.peers.n <= DHT_PEERS_MAX);
    for (size_t i = 0; i < e->u.peers.n; i++) {
        const struct addr *a = &e->u.peers.a[i];
        assert(addr_is_dialable(a) && (f.c.may_send == NULL || may_send(NULL, a)));
        assert(i == 0 || !addr_eq(a, &e->u.peers.a[i - 1]));
    }
    b->peers += e->u.peers.n;
}

static void check_event(const struct dht_event *e)
{
    struct dht_stats s;
    struct begun *b = begun(e->op);
    if (e->type <= DHT_PEERS) { /* of an operation, which has not ended */
        assert(b != NULL && b->alive);
    } else {
        assert(e->op == 0);
    }
    dht_stats(f.d, &s);
    switch (e->type) {
    case DHT_DONE:
        check_done(b, &e->u.done);
        break;
    case DHT_VALUE:
        check_value(b, e);
        break;
    case DHT_PEERS:
        check_peers(b, e);
        break;
    case DHT_READY:
        assert(s.ready);
        break;
    case DHT_SELF:
        assert(addr_is_dialable(&e->u.self.addr));
        assert(dht_id_fits(&e->u.self.id, &e->u.self.addr));
        assert(addr_eq(&e->u.self.addr, &s.seen[e->u.self.addr.family == 6]));
        break;
    case DHT_OPEN:
        assert(e->u.open.open != f.open && !f.c.read_only && !f.c.open);
        f.open = e->u.open.open;
        break;
    }
}

static void drain(void)
{
    struct dht_out out;
    struct dht_event e;
    f.told = 0;
    for (; dht_next_out(f.d, &out); f.told++) {
        check_out(&out);
    }
    for (; dht_next_event(f.d, &e); f.told++) {
        check_event(&e);
    }
    f.asker.family = 0;
    f.late = false;
}

/* ---- what happens to it ---- */

/* Soon there is nothing more to do at this time. */
static void tick(bool take)
{
    unsigned n = 0;
    do {
        assert(n++ < SETTLE_MAX);
        dht_tick(f.d, f.now_ms);
        f.late = f.late || !take;
        if (take) {
            drain();
        }
    } while (dht_deadline(f.d) <= f.now_ms);
    f.ticks++;
}

static void pass(uint64_t ms, bool sleeps, bool take)
{
    uint64_t until_ms = f.now_ms + ms;
    for (int i = 0; i < STEP_TICKS_MAX && f.ticks < TICKS_MAX && !sleeps; i++) {
        uint64_t at = dht_deadline(f.d);
        if (at > until_ms) {
            break;
        }
        f.now_ms = at > f.now_ms ? at : f.now_ms;
        tick(take);
    }
    f.now_ms = until_ms;
    if (!sleeps && dht_deadline(f.d) <= until_ms) {
        tick(take);
    }
}

/* The datagram lies at the end of a buffer, so that whoever reads too far leaves it.
 * may_store: it has a token of ours. */
static void receive(const struct addr *from, const uint8_t *p, size_t n,
                    enum krpc_kind kind, bool may_store)
{
    static uint8_t end[KRPC_RECV_MAX];
    struct met *who = meet(from);
    f.local = f.local || addr_is_private(from);
    if (f.datagrams++ >= DATAGRAMS_MAX) {
        return;
    }
    drain();
    f.asker = *from;
    f.asker.family = kind == KRPC_QUERY ? from->family : 0;
    f.may_store = may_store;
    f.token_len = 0;
    p = memcpy(end + sizeof end - n, p, n);
    int rc = dht_recv(f.d, from, p, n, f.now_ms);
    if (rc == 0 && kind == KRPC_REPLY && who != NULL) {
        who->answered = true;
    }
    if (kind == KRPC_QUERY) {
        int bad = krpc_decode(p, n, &f.asked_us);
        assert(bad == 0);
    }
    drain();
    assert(rc == 0 || f.told == 0);
}

static void raw(struct rd *r, const uint8_t a[STEP_LEN])
{
    static uint8_t copy[KRPC_RECV_MAX];
    struct krpc_msg m;
    size_t n = (size_t)(a[2] << 8 | a[3]);
    n = n < r->n ? n : r->n;
    n = n < sizeof copy ? n : sizeof copy;
    const uint8_t *p = rd_bytes(r, n);
    const struct forge_asked *q = &f.asked[(f.queries - 1) % ASKED_MAX];
    struct addr from = forge_addr(a[1]);
    if (p == NULL || n == 0) {
        return;
    }
    memcpy(copy, p, n);
    if ((a[4] & 1) != 0 && f.queries > 0 && q->addr.family != 0) {
        uint8_t *tid = memmem(copy, n, "TTTT", sizeof q->tid);
        if (tid != NULL) {
            memcpy(tid, q->tid, sizeof q->tid);
        }
        from = q->addr;
        f.stored++;
    }
    if (krpc_decode(copy, n, &m) == 0) {
        receive(&from, copy, n, m.kind, false);
        return;
    }
    drain();
    int rc = dht_recv(f.d, &from, copy, n, f.now_ms);
    drain();
    assert(rc != 0 && f.told == 0);
}

static void answer(struct forge_asked *q, unsigned flags, uint8_t more)
{
    static uint8_t bytes[FORGE_MAX];
    struct addr from = q->addr;
    if (q->addr.family == 0) {
        return;
    }
    bool stores = q->method == KRPC_PUT || q->method == KRPC_ANNOUNCE_PEER;
    f.stored += stores && (flags & (FORGE_AWAY | FORGE_ERROR)) == 0;
    size_t n = forge_answer(q, forge_number(&q->addr), flags, more, bytes);
    if ((flags & FORGE_AWAY) != 0) {
        from.port++;
    } else {
        q->addr.family = 0;
    }
    if (n > 0) {
        receive(&from, bytes, n, (flags & FORGE_ERROR) != 0 ? KRPC_ERROR : KRPC_REPLY,
                false);
    }
}

static void answers(unsigned flags, uint8_t more)
{
    unsigned last = f.queries, n = last < ASKED_MAX ? last : ASKED_MAX;
    for (unsigned i = last - n; i < last && f.queries < last + ASKED_MAX - n; i++) {
        answer(&f.asked[i % ASKED_MAX], flags, more);
        more = (uint8_t)(more + ((flags & FORGE_NODES) != 0 ? 8 : 0));
    }
}

static void query(const uint8_t a[STEP_LEN])
{
    static uint8_t bytes[FORGE_MAX];
    struct krpc_view token = {NULL, 0};
    struct addr from = forge_addr(a[1]);
    unsigned method = a[2] & 7;
    uint8_t which = a[3];
    if (method == KRPC_PUT) {
        which = a[4] & FORGE_KIND_MASK;
    }
    if ((a[2] & FORGE_GIVEN) != 0) {
        uint8_t ask = method == KRPC_PUT ? KRPC_GET : KRPC_GET_PEERS;
        size_t n = forge_query(a[1], ask, which, 0, &token, bytes);
        receive(&from, bytes, n, KRPC_QUERY, token.n > 0);
        token = (struct krpc_view){f.token, f.token_len};
    }
    size_t n = forge_query(a[1], a[2], which, a[4], &token, bytes);
    receive(&from, bytes, n, KRPC_QUERY, token.n > 0);
}

static int start_item(struct begun *b, const uint8_t a[STEP_LEN])
{
    const struct item *it = forge_item(a[2]);
    struct krpc_node at = {.id = *forge_id(a[4]), .addr = forge_addr(a[4])};
    f.local = f.local || addr_is_private(&at.addr);
    int64_t cas = it->seq - 1;
    item_target(it, &b->target);
    switch (b->kind) {
    case GET_MUTABLE:
        b->target = *forge_target(it->salt.n > 0 ? FORGE_SALTED : FORGE_SIGNED);
        return dht_get_mutable(f.d, forge_item(FORGE_SIGNED)->k, it->salt.p, it->salt.n,
                               (a[3] & 1) != 0, f.now_ms, &b->op);
    case GET_AT:
        b->target = *forge_target(FORGE_SIGNED);
        b->seq = a[3] >> 3 & 3;
        return dht_get_mutable_at(f.d, &at, forge_item(FORGE_SIGNED)->k, b->seq, f.now_ms,
                                  &b->op);
    default:
        b->keeps = (a[3] & 1) != 0;
        return dht_put(f.d, it, (a[3] & 2) != 0 ? &cas : NULL, b->keeps, f.now_ms,
                       &b->op);
    }
}

static int start(struct begun *b, const uint8_t a[STEP_LEN])
{
    struct addr at = forge_addr(a[4]);
    bool flag = (a[3] & 1) != 0;
    f.local = f.local || addr_is_private(&at);
    b->target = *forge_target(a[2]);
    switch (b->kind) {
    case PING:
        return dht_ping(f.d, &at, f.now_ms, &b->op);
    case FIND:
        return dht_find(f.d, &b->target, f.now_ms, &b->op);
    case GET:
        return dht_get(f.d, &b->target, flag, f.now_ms, &b->op);
    case PEERS:
        return dht_peers(f.d, &b->target, f.now_ms, &b->op);
    case ANNOUNCE:
        b->keeps = flag;
        return dht_announce(f.d, &b->target, a[4], flag, f.now_ms, &b->op);
    case GET_MUTABLE:
    case GET_AT:
    case PUT:
    case KINDS:
        break;
    }
    return start_item(b, a);
}

static void begin(const uint8_t a[STEP_LEN])
{
    struct begun *b = &f.op[f.ops];
    if (f.ops >= OPS_MAX) {
        return;
    }
    *b = (struct begun){.kind = a[1] % KINDS};
    int rc = start(b, a);
    assert(rc == 0 || rc == ERR_ARG);
    if (rc == 0) {
        assert(b->op != 0 && begun(b->op) == NULL);
        b->alive = true;
        f.ops++;
    }
    if ((a[3] & 4) == 0) {
        drain();
    } else {
        f.late = true;
    }
}

static void cancel(struct begun *b)
{
    b->alive = false;
    dht_cancel(f.d, b->op);
    drain();
}

static void know(const uint8_t a[STEP_LEN])
{
    struct addr node = forge_addr(a[2]);
    int rc = 0;
    f.local = f.local || addr_is_private(&node);
    if (a[1] % 3 == 0) {
        rc = dht_add_router(f.d, &node, f.now_ms);
    } else if (a[1] % 3 == 1) {
        rc = dht_add_hint(f.d, &node, f.now_ms);
    } else {
        dht_network_changed(f.d, f.now_ms);
    }
    assert(rc == 0 || rc == ERR_ARG || rc == ERR_LIMIT);
    drain();
}

static void step(struct rd *r, const uint8_t a[STEP_LEN])
{
    switch ((enum step)(a[0] % STEPS)) {
    case STEP_TIME:
        pass((uint64_t)a[1] * a[1] * 16, (a[2] & 1) != 0, (a[2] & 2) == 0);
        break;
    case STEP_RAW:
        raw(r, a);
        break;
    case STEP_ANSWER:
        if (f.queries > 0) {
            unsigned n = f.queries < ASKED_MAX ? f.queries : ASKED_MAX;
            answer(&f.asked[(f.queries - 1 - a[1] % n) % ASKED_MAX],
                   (unsigned)(a[2] | a[3] << 8), a[4]);
        }
        break;
    case STEP_ANSWERS:
        answers((unsigned)(a[2] | a[3] << 8), a[4]);
        break;
    case STEP_QUERY:
        query(a);
        break;
    case STEP_BEGIN:
        begin(a);
        break;
    case STEP_CANCEL:
        if (f.ops > 0) {
            cancel(&f.op[a[1] % f.ops]);
        }
        break;
    case STEP_KNOW:
        know(a);
        break;
    case STEPS:
        break;
    }
}

/* ---- the end ---- */

static bool is_over(void)
{
    for (unsigned i = 0; i < f.ops; i++) {
        if (f.op[i].alive && !f.op[i].keeps) {
            return false;
        }
    }
    return true;
}

/* Each operation ends, whatever became of it, without anybody's help. */
static void end_ops(void)
{
    for (int i = 0; i < END_STEPS && !is_over(); i++) {
        f.now_ms += END_STEP_MS;
        tick(true);
    }
    assert(is_over());
    for (unsigned i = 0; i < f.ops; i++) {
        if (f.op[i].alive) {
            cancel(&f.op[i]);
        }
    }
}

static void check_nodes(const struct dht_stats *s)
{
    struct krpc_node n;
    size_t count = 0;
    for (size_t pos = 0; dht_next_node(f.d, &pos, &n); count++) {
        struct met *m = meet(&n.addr);
        assert(addr_is_dialable(&n.addr));
        assert(m == NULL || (m->answered && !m->listed));
        if (m != NULL) {
            m->listed = true;
        }
        assert(!dht_id_eq(&n.id, &s->id[n.addr.family == 6]));
    }
    assert(count <= s->nodes[0] + s->nodes[1]);
    assert(!f.c.leaf || (s->nodes[0] <= DHT_LEAF_NODES && s->nodes[1] <= DHT_LEAF_NODES));
}

static void check_end(void)
{
    struct dht_stats s;
    dht_stats(f.d, &s);
    check_nodes(&s);
    assert(s.ops <= 4); /* of its own: in each family its own id, and one bucket */
    assert(s.queries <= RPC_CALLS_MAX + RPC_DROPPED_MAX);
    assert(s.sent == f.sent);
    assert(dht_memory(f.d) < MEMORY_MAX);
}

static void set_up(uint8_t what, uint8_t when, const struct env *env)
{
    struct server_config server;
    server_config_init(&server);
    if ((what & 0x80) != 0) {
        server.shelf.items_max = server.shelf.hashes_max = SMALL_SHELF;
        server.shelf.peers_max = SMALL_SHELF;
    }
    if ((when & 2) != 0) {
        server.gap_ms = STRICT_GAP_MS;
        server.burst = STRICT_BURST;
    }
    memset(&f, 0, sizeof f);
    f.c = (struct dht_config){
        .id = {*forge_self(0), *forge_self(1)},
        .family = {(what & 3) != 1, (what & 3) != 0},
        .read_only = (what & 4) != 0,
        .open = (what & 8) != 0,
        .leaf = (what & 16) != 0,
        .private_too = (what & 32) != 0,
        .may_send = (what & 64) != 0 ? may_send : NULL,
        .server = &server,
    };
    f.now_ms = 1000 + ((uint64_t)(when >> 2) << 24);
    f.strict = (when & 2) != 0;
    f.d = dht_new(&f.c, env, f.now_ms);
    assert(f.d != NULL);
    f.c.server = NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t state = 1;
    struct env env = {&state, seeded, NULL};
    struct rd r = rd_init(data, size);
    uint8_t what = rd_u8(&r), when = rd_u8(&r), a[STEP_LEN];
    set_up(what, when, &env);
    for (unsigned i = 0; i < STEPS_MAX && rd_copy(&r, a, sizeof a); i++) {
        step(&r, a);
    }
    end_ops();
    check_end();
    if ((when & 1) != 0) { /* with something that nobody took */
        dht_network_changed(f.d, f.now_ms);
        dht_tick(f.d, f.now_ms);
    }
    dht_free(f.d);
    return 0;
}
