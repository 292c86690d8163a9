/* Meeting through the DHT: who is known, requests and their ends, time. */
#include "meet.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "meet_priv.h"

enum {
    REF_KEY = 8,
    JITTER = 4 /* a quarter of a wait */,
    US_PER_S = 1000000,
    S_MS = 1000
};

struct meet *meet_new(const struct env *env)
{
    struct meet *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return NULL;
    }
    m->env = env;
    m->seq_kept = UINT64_MAX / S_MS;
    m->round_ms = m->arrive_ms = MEET_NEVER;
    map_init(&m->by_ref, env, REF_KEY, MEET_MAX);
    deadlines_init(&m->pubs, MEET_MAX + 1);
    deadlines_init(&m->finds, MEET_MAX);
    deadlines_init(&m->knocks, MEET_MAX);
    deadlines_init(&m->asked, MEET_REQS_MAX);
    m->pub.timer.owner = &m->pub;
    for (size_t i = 0; i < MEET_REQS_MAX; i++) {
        m->reqs[i].timer.owner = &m->reqs[i];
    }
    bool room = deadlines_set(&m->pubs, &m->pub.timer, MEET_NEVER) == 0;
    for (size_t i = 0; i < MEET_REQS_MAX; i++) {
        room = room && deadlines_set(&m->asked, &m->reqs[i].timer, MEET_NEVER) == 0;
    }
    if (!room) {
        meet_free(m);
        return NULL;
    }
    return m;
}

static void party_free(struct party *p)
{
    sodium_memzero(p, sizeof *p);
    free(p);
}

void meet_free(struct meet *m)
{
    if (m == NULL) {
        return;
    }
    deadlines_release(&m->pubs); /* before the timers in them go */
    deadlines_release(&m->finds);
    deadlines_release(&m->knocks);
    deadlines_release(&m->asked);
    for (size_t i = 0; i < m->n; i++) {
        party_free(m->v[i]);
    }
    free(m->v);
    map_release(&m->by_ref);
    sodium_memzero(m, sizeof *m);
    free(m);
}

/* ---- for the other files ---- */

uint64_t meet_wall_s(const struct meet *m)
{
    return env_wall_us(m->env) / US_PER_S;
}

/* A timer that was set once has its place in the heap, or had it a moment ago. */
void meet_timer(struct deadlines *h, struct deadline *d, uint64_t at_ms)
{
    int err = deadlines_set(h, d, at_ms);
    assert(err == 0);
    (void)err;
}

uint64_t meet_backoff(const struct meet *m, uint64_t min_ms, unsigned n, uint64_t max_ms)
{
    uint64_t ms = min_ms;
    for (unsigned i = 0; i < n && ms < max_ms; i++) {
        ms *= 2;
    }
    ms = ms < max_ms ? ms : max_ms;
    return ms + env_uniform(m->env, (uint32_t)(ms / JITTER) + 1);
}

void meet_emit(struct meet *m, enum meet_event_type type, struct party *p,
               const struct wire_where *where)
{
    p->told = true;
    p->last = type;
    if (m->events_len == MEET_EVENTS_MAX) {
        return; /* nobody takes them */
    }
    struct meet_event *e =
        &m->events[(m->events_head + m->events_len++) % MEET_EVENTS_MAX];
    *e = (struct meet_event){
        .type = type, .kind = p->kind, .ref = p->ref, .reached = p->reached};
    if (where != NULL) {
        e->where = *where;
        e->where.has_presence = false;
        sodium_memzero(e->where.presence_p, sizeof e->where.presence_p);
        sodium_memzero(e->where.presence_a, sizeof e->where.presence_a);
    }
}

bool meet_next_event(struct meet *m, struct meet_event *e)
{
    if (m->events_len == 0) {
        return false;
    }
    *e = m->events[m->events_head];
    m->events_head = (m->events_head + 1) % MEET_EVENTS_MAX;
    m->events_len--;
    return true;
}

size_t meet_epochs(uint64_t offset, uint64_t wall_s, unsigned wide,
                   uint64_t epoch[MEET_EPOCHS], bool also[MEET_EPOCHS])
{
    uint64_t e = blind_epoch(offset, wall_s), age = blind_epoch_age(offset, wall_s);
    bool end = BLIND_EPOCH_S - age <= MEET_SKEW_S, begin = age < MEET_SKEW_S;
    size_t n = 0;
    epoch[n] = e;
    also[n++] = false;
    if (end || (wide & MEET_NEXT) != 0) {
        epoch[n] = e + 1;
        also[n++] = end;
    }
    if ((begin || (wide & MEET_BEFORE) != 0) && e > 0) {
        epoch[n] = e - 1;
        also[n++] = false;
    }
    return n;
}

/* ---- what grows ---- */

void meet_set_seq(struct meet *m, uint64_t last)
{
    uint64_t most = UINT64_MAX / S_MS / 2;
    m->seq_kept = last < most ? last : most;
    m->seq_last = m->seq_kept;
    m->time_last_ms = m->seq_kept * S_MS;
}

uint64_t meet_seq_wanted(const struct meet *m)
{
    return m->seq_wanted;
}

static bool may_use(struct meet *m, uint64_t seq)
{
    if (seq <= m->seq_kept) {
        return true;
    }
    m->seq_wanted = seq + MEET_SEQ_SPARE_S;
    return false;
}

static uint64_t next_seq(const struct meet *m, uint64_t above)
{
    uint64_t next = meet_wall_s(m);
    next = next > m->seq_last ? next : m->seq_last + 1;
    return next > above ? next : above + 1;
}

bool meet_seq_ready(struct meet *m, uint64_t above)
{
    return may_use(m, next_seq(m, above));
}

uint64_t meet_seq_next(struct meet *m, uint64_t above)
{
    m->seq_last = next_seq(m, above);
    return m->seq_last;
}

bool meet_time_next(struct meet *m, uint64_t *time_ms)
{
    uint64_t next = env_wall_ms(m->env);
    next = next > m->time_last_ms ? next : m->time_last_ms + 1;
    if (!may_use(m, next / S_MS + 1)) {
        return false;
    }
    m->time_last_ms = next;
    *time_ms = next;
    return true;
}

/* ---- ourselves ---- */

static void pubs_plan(struct meet *m, uint64_t now_ms)
{
    meet_pub_plan(m, &m->pub, now_ms);
    for (size_t i = 0; i < m->n; i++) {
        meet_pub_plan(m, &m->v[i]->pub, now_ms);
    }
}

/* Places of single contacts have what is ours in them, too. */
static void pubs_changed(struct meet *m, uint64_t now_ms)
{
    meet_pub_changed(m, &m->pub, now_ms);
    for (size_t i = 0; i < m->n; i++) {
        meet_pub_changed(m, &m->v[i]->pub, now_ms);
    }
}

void meet_seq_kept(struct meet *m, uint64_t last, uint64_t now_ms)
{
    if (last > m->seq_kept) {
        m->seq_kept = last;
    }
    if (m->seq_kept >= m->seq_wanted) {
        m->seq_wanted = 0;
        pubs_plan(m, now_ms);
    }
}

void meet_set_self(struct meet *m, const uint8_t device[WIRE_ID], const uint8_t p[32],
                   const uint8_t seed[32], uint64_t now_ms)
{
    if (m->has_self && memcmp(m->device, device, WIRE_ID) == 0 &&
        sodium_memcmp(m->p, p, 32) == 0 && sodium_memcmp(m->seed, seed, 32) == 0) {
        return;
    }
    m->has_self = true;
    memcpy(m->device, device, WIRE_ID);
    memcpy(m->p, p, sizeof m->p);
    memcpy(m->seed, seed, sizeof m->seed);
    m->offset = blind_offset(p);
    meet_slots_reset(m);
    meet_pub_start(m, &m->pub, m->offset, true, now_ms);
    pubs_changed(m, now_ms);
}

static bool same_where(const struct wire_where *a, const struct wire_where *b)
{
    uint8_t one[WIRE_WHERE_MAX], two[WIRE_WHERE_MAX];
    struct wr x = wr_init(one, sizeof one), y = wr_init(two, sizeof two);
    wire_where_put(&x, a);
    wire_where_put(&y, b);
    return wr_ok(&x) && wr_ok(&y) && x.len == y.len && memcmp(one, two, x.len) == 0;
}

void meet_set_where(struct meet *m, const struct wire_where *where, uint64_t now_ms)
{
    struct wire_where v = *where;
    v.has_presence = false;
    memset(v.presence_p, 0, sizeof v.presence_p);
    memset(v.presence_a, 0, sizeof v.presence_a);
    v.time_ms = 0;
    if (same_where(&m->where, &v)) {
        return;
    }
    m->where = v;
    m->has_where = v.n_links + v.n_udp + v.n_relays > 0;
    pubs_changed(m, now_ms);
}

/* Who is wanted is looked up at once; everybody who was not found by then, once our own
 * whereabouts are stored. */
static void arrive(struct meet *m, uint64_t now_ms)
{
    m->arrive_ms = MEET_NEVER;
    m->arrived_ms = now_ms;
    m->round_ms = m->hidden ? now_ms : now_ms + MEET_ROUND_LATE_MS;
    for (size_t i = 0; i < m->n; i++) {
        struct party *p = m->v[i];
        p->find.found = false;
        if (p->want || p->kind == MEET_ADDING) {
            meet_find_fresh(m, p, now_ms);
        }
    }
    meet_poll_fast(m, now_ms);
    pubs_plan(m, now_ms);
}

/* What was put off because nobody answered. */
static void retry(struct meet *m, uint64_t now_ms)
{
    meet_pub_retry(m, &m->pub, now_ms);
    for (size_t i = 0; i < m->n; i++) {
        struct party *p = m->v[i];
        meet_pub_retry(m, &p->pub, now_ms);
        if (p->find.fails > 0) {
            meet_find_fresh(m, p, now_ms);
        }
    }
}

void meet_set_online(struct meet *m, bool online, uint64_t now_ms)
{
    if (online) {
        bool was = m->online;
        m->online = true;
        retry(m, now_ms);
        if (!was) {
            arrive(m, now_ms);
        }
        return;
    }
    if (!m->online) {
        return;
    }
    m->online = false;
    for (size_t i = 0; i < MEET_REQS_MAX; i++) {
        struct req *r = &m->reqs[i];
        if (r->out.id != 0) {
            meet_req_end(m, r, MEET_UNASKED, 0, now_ms);
        }
    }
    for (size_t i = 0; i < m->n; i++) {
        meet_find_stop(m, m->v[i]);
        m->v[i]->pub.put_ms = 0; /* what is new then waits for nothing */
    }
    m->pub.put_ms = 0;
    m->round_ms = m->arrive_ms = MEET_NEVER;
    pubs_plan(m, now_ms);
}

void meet_set_hidden(struct meet *m, bool hidden, uint64_t now_ms)
{
    if (m->hidden == hidden) {
        return;
    }
    m->hidden = hidden;
    pubs_plan(m, now_ms);
    if (!hidden && m->online) {
        meet_poll_fast(m, now_ms);
    }
}

void meet_network_changed(struct meet *m, uint64_t now_ms)
{
    if (m->online && now_ms - m->arrived_ms >= MEET_ARRIVE_GAP_MS) {
        arrive(m, now_ms);
    } else if (m->online) {
        m->arrive_ms = m->arrived_ms + MEET_ARRIVE_GAP_MS;
    }
}

/* ---- others ---- */

static void ref_key(uint8_t out[REF_KEY], enum meet_kind kind, uint32_t ref)
{
    struct wr w = wr_init(out, REF_KEY);
    wr_u32(&w, (uint32_t)kind);
    wr_u32(&w, ref);
}

static struct party *party_get(const struct meet *m, enum meet_kind kind, uint32_t ref)
{
    uint8_t key[REF_KEY];
    ref_key(key, kind, ref);
    return map_get(&m->by_ref, key);
}

bool meet_last(const struct meet *m, enum meet_kind kind, uint32_t ref,
               enum meet_event_type *out)
{
    const struct party *p = party_get(m, kind, ref);
    if (p == NULL || !p->told) {
        return false;
    }
    *out = p->last;
    return true;
}

static bool make_room(struct meet *m)
{
    size_t cap = m->cap == 0 ? 16 : 2 * m->cap;
    if (m->n < m->cap) {
        return true;
    }
    struct party **v = realloc(m->v, cap * sizeof(*v));
    if (v == NULL) {
        return false;
    }
    m->v = v;
    m->cap = cap;
    return true;
}

static void count(struct meet *m, const struct party *p, bool there)
{
    size_t one = there ? 1 : (size_t)-1;
    m->n_contacts += p->kind == MEET_CONTACT ? one : 0;
    m->n_reached += p->kind == MEET_CONTACT && p->reached ? one : 0;
    m->n_invites += p->kind == MEET_INVITE ? one : 0;
}

static void party_unlink(struct meet *m, struct party *p)
{
    deadlines_remove(&m->pubs, &p->pub.timer);
    deadlines_remove(&m->finds, &p->find.timer);
    deadlines_remove(&m->knocks, &p->knock.timer);
}

/* Places in the heaps, taken for good. */
static int party_timers(struct meet *m, struct party *p)
{
    p->pub.timer.owner = &p->pub;
    p->pub.party = p;
    p->find.timer.owner = p->knock.timer.owner = p;
    int err = deadlines_set(&m->pubs, &p->pub.timer, MEET_NEVER);
    if (err == 0) {
        err = deadlines_set(&m->finds, &p->find.timer, MEET_NEVER);
    }
    if (err == 0) {
        err = deadlines_set(&m->knocks, &p->knock.timer, MEET_NEVER);
    }
    if (err != 0) {
        party_unlink(m, p);
    }
    return err;
}

static int party_new(struct meet *m, enum meet_kind kind, uint32_t ref,
                     struct party **out)
{
    uint8_t key[REF_KEY];
    struct party *p = m->n < MEET_MAX ? calloc(1, sizeof *p) : NULL;
    if (p == NULL || !make_room(m)) {
        free(p);
        return m->n < MEET_MAX ? ERR_NOMEM : ERR_LIMIT;
    }
    p->kind = kind;
    p->ref = ref;
    p->index = m->n;
    int err = party_timers(m, p);
    if (err == 0) {
        ref_key(key, kind, ref);
        err = map_put(&m->by_ref, key, p);
        if (err != 0) {
            party_unlink(m, p);
        }
    }
    if (err != 0) {
        free(p);
        return err;
    }
    m->v[m->n++] = p;
    count(m, p, true);
    *out = p;
    return 0;
}

static void set_secret(struct party *p, const uint8_t secret[32])
{
    memcpy(p->secret, secret, sizeof p->secret);
    p->offset = blind_offset(secret);
}

/* True when the presence secret is another one than before. */
static bool set_presence(struct party *p, const struct meet_contact *c)
{
    uint8_t pub[BLIND_PUB];
    if (c->has_presence && p->has_presence && sodium_memcmp(p->p, c->p, 32) == 0 &&
        memcmp(p->a, c->a, 32) == 0) {
        return false; /* judged before */
    }
    if (!c->has_presence || blind_pub(c->p, c->a, 0, pub) != 0) {
        p->has_presence = false;
        return false;
    }
    p->has_presence = true;
    memcpy(p->p, c->p, sizeof p->p);
    memcpy(p->a, c->a, sizeof p->a);
    p->p_offset = blind_offset(c->p);
    memset(p->seen[PLACE_MAIN], 0, sizeof p->seen[PLACE_MAIN]);
    return true;
}

int meet_contact(struct meet *m, const struct meet_contact *c, uint64_t now_ms)
{
    struct party *p = party_get(m, MEET_CONTACT, c->ref);
    bool known = p != NULL, paired;
    int err = known ? 0 : party_new(m, MEET_CONTACT, c->ref, &p);
    if (err != 0) {
        return err;
    }
    paired = known && sodium_memcmp(p->secret, c->pair, sizeof p->secret) != 0;
    if (paired) { /* anew: its places are others */
        memset(p->seen[PLACE_PAIR], 0, sizeof p->seen[PLACE_PAIR]);
        p->heard_ms = p->knocked_ms = 0;
    }
    memcpy(p->device, c->device, sizeof p->device);
    set_secret(p, c->pair);
    bool moved = set_presence(p, c) && known;
    if (c->acked) {
        meet_pub_stop(m, &p->pub);
    } else if (!p->pub.on || paired) {
        meet_pub_start(m, &p->pub, p->offset, paired, now_ms);
    }
    p->acked = c->acked;
    if (moved || paired) {
        p->find.again = p->find.n > 0;
        meet_find_fresh(m, p, now_ms);
    } else if (!known && m->online && m->round_ms == MEET_NEVER) {
        meet_find_fresh(m, p, now_ms);
    }
    return 0;
}

int meet_invite(struct meet *m, uint32_t id, const uint8_t secret[32], uint64_t now_ms)
{
    struct party *p;
    if (party_get(m, MEET_INVITE, id) != NULL) {
        return 0;
    }
    int err = party_new(m, MEET_INVITE, id, &p);
    if (err != 0) {
        return err;
    }
    set_secret(p, secret);
    meet_pub_start(m, &p->pub, p->offset, true, now_ms);
    meet_poll_fast(m, now_ms);
    return 0;
}

int meet_adding(struct meet *m, uint32_t ref, const uint8_t secret[32], uint64_t now_ms)
{
    struct party *p;
    if (party_get(m, MEET_ADDING, ref) != NULL) {
        return 0;
    }
    int err = party_new(m, MEET_ADDING, ref, &p);
    if (err != 0) {
        return err;
    }
    set_secret(p, secret);
    meet_find_fresh(m, p, now_ms);
    return 0;
}

void meet_forget(struct meet *m, enum meet_kind kind, uint32_t ref)
{
    uint8_t key[REF_KEY];
    struct party *p = party_get(m, kind, ref);
    if (p == NULL) {
        return;
    }
    for (size_t i = 0; i < MEET_REQS_MAX; i++) {
        if (m->reqs[i].out.id != 0 && m->reqs[i].party == p) {
            meet_req_drop(m, &m->reqs[i]);
        }
    }
    count(m, p, false);
    party_unlink(m, p);
    ref_key(key, kind, ref);
    (void)map_del(&m->by_ref, key);
    m->v[p->index] = m->v[--m->n];
    m->v[p->index]->index = p->index;
    party_free(p);
}

void meet_knocked(struct meet *m, uint32_t ref, uint64_t time_ms)
{
    struct party *p = party_get(m, MEET_CONTACT, ref);
    if (p != NULL && time_ms > p->knocked_ms) {
        p->heard_ms = p->knocked_ms = time_ms;
    }
}

void meet_want(struct meet *m, uint32_t contact, bool want, uint64_t now_ms)
{
    struct party *p = party_get(m, MEET_CONTACT, contact);
    (void)now_ms;
    if (p == NULL || p->want == want) {
        return;
    }
    p->want = want;
    if (want) {
        meet_find_fresh(m, p, 0); /* before all who wait for their turn */
    }
}

void meet_reached(struct meet *m, enum meet_kind kind, uint32_t ref, bool reached,
                  uint64_t now_ms)
{
    struct party *p = party_get(m, kind, ref);
    if (p == NULL || p->reached == reached) {
        return;
    }
    count(m, p, false);
    p->reached = reached;
    count(m, p, true);
    if (reached) {
        meet_find_stop(m, p);
        meet_knock_stop(m, p);
    } else if (m->round_ms != MEET_NEVER) {
        p->find.found = false; /* with all others: what stands there may be as old */
    } else {
        meet_find_fresh(m, p,
                        now_ms + MEET_LOST_MIN_MS +
                            env_uniform(m->env, MEET_LOST_JITTER_MS + 1));
    }
}

/* ---- time ---- */

/* What was put for one epoch, and looked for there, is nowhere in another one. */
static void follow_clock(struct meet *m, uint64_t now_ms)
{
    uint64_t clock_ms = env_wall_ms(m->env) - now_ms, by = clock_ms - m->clock_ms;
    if (by < MEET_JUMP_MS || by > UINT64_MAX - MEET_JUMP_MS) {
        return;
    }
    if (m->clock_ms != 0) {
        meet_network_changed(m, now_ms);
    }
    m->clock_ms = clock_ms;
}

static void round_tick(struct meet *m, uint64_t now_ms)
{
    if (now_ms >= m->arrive_ms) {
        arrive(m, now_ms);
    }
    if (now_ms < m->round_ms) {
        return;
    }
    m->round_ms = MEET_NEVER;
    for (size_t i = 0; i < m->n; i++) {
        if (!m->v[i]->find.found) {
            meet_find_fresh(m, m->v[i], now_ms);
        }
    }
}

void meet_tick(struct meet *m, uint64_t now_ms)
{
    struct deadline *d;
    while ((d = deadlines_pop(&m->asked, now_ms)) != NULL) {
        meet_timer(&m->asked, d, MEET_NEVER);
        meet_req_end(m, d->owner, MEET_UNASKED, 0, now_ms);
    }
    if (!m->online) {
        return;
    }
    follow_clock(m, now_ms);
    round_tick(m, now_ms);
    meet_pubs_tick(m, now_ms);
    meet_finds_tick(m, now_ms);
    meet_knocks_tick(m, now_ms);
    meet_poll_tick(m, now_ms);
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t meet_deadline(const struct meet *m)
{
    uint64_t at_ms = deadlines_next(&m->asked);
    if (m->online) {
        at_ms = sooner(at_ms, sooner(m->round_ms, m->arrive_ms));
        if (m->n_pubs < MEET_PUBS_MAX) {
            at_ms = sooner(at_ms, deadlines_next(&m->pubs));
        }
        if (m->n_finds < MEET_FINDS_MAX) {
            at_ms = sooner(at_ms, deadlines_next(&m->finds));
        }
        if (m->n_knocks + MEET_EPOCHS <= MEET_EPOCHS * MEET_KNOCKS_MAX) {
            at_ms = sooner(at_ms, deadlines_next(&m->knocks));
        }
        if (meet_polls(m)) {
            at_ms = sooner(at_ms, m->poll_ms);
        }
    }
    return at_ms >= MEET_NEVER ? DEADLINE_NONE : at_ms;
}

void meet_stats(const struct meet *m, struct meet_stats *out)
{
    uint64_t epoch = blind_epoch(m->offset, meet_wall_s(m));
    const struct print *v = &m->pub.v[epoch & 1];
    *out = m->stats;
    out->known = m->n;
    out->seq = m->seq_last;
    out->published = m->online && !m->hidden && m->has_where && m->pub.on && v->set &&
                     v->epoch == epoch && v->stored;
}
