/* Knocks: at whom and when, and who knocks at us. */
#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "meet_priv.h"

enum {
    MINUTE_MS = 60000,
    RATE_WAIT_MS = 30000,
    RETRIES = BLIND_KNOCK_SLOTS - 1,
    SEQ_AHEAD_S = 2 * 86400, /* a seq that is believed */
};

static const struct bucket_rate knock_rate = {MEET_KNOCKS_BURST, MEET_KNOCKS_MIN,
                                              MINUTE_MS};

/* ---- knocking ---- */

void meet_knock_arm(struct meet *m, struct party *p, const uint8_t *secret, bool at_once,
                    uint64_t now_ms)
{
    struct knocking *k = &p->knock;
    if (secret == NULL || p->reached) {
        meet_knock_stop(m, p);
        return;
    }
    memcpy(k->p, secret, sizeof k->p);
    if (k->on) {
        return; /* under way since another word of the same look-up */
    }
    k->on = true;
    k->done = k->retries = 0;
    k->floor = 0;
    k->slot = env_uniform(m->env, BLIND_KNOCK_SLOTS);
    meet_timer(&m->knocks, &k->timer, at_once ? now_ms : now_ms + MEET_DIAL_MS);
}

void meet_knock_stop(struct meet *m, struct party *p)
{
    p->knock.on = false;
    sodium_memzero(p->knock.p, sizeof p->knock.p);
    meet_timer(&m->knocks, &p->knock.timer, MEET_NEVER);
}

static void put(struct meet *m, struct party *p, uint64_t epoch, uint64_t now_ms)
{
    const struct knocking *k = &p->knock;
    struct wire_where where = m->where;
    struct blind_slot s;
    struct req *r = meet_req(m, REQ_KNOCK, MEET_PUT, p, now_ms);
    uint64_t wall_s = meet_wall_s(m);
    r->epoch = epoch;
    r->slot = k->slot;
    m->n_knocks++;
    if (p->kind == MEET_ADDING) {
        blind_invite_knock(p->secret, epoch, &s);
    } else {
        blind_knock_slot(k->p, epoch, k->slot, &s.key);
        blind_knock_seal(p->secret, m->device, p->device, s.seal);
    }
    memcpy(r->seal, s.seal, sizeof r->seal);
    where.time_ms = env_wall_ms(m->env);
    where.time_ms += where.time_ms == 0;
    if (meet_req_put(m, r, &s.key, wall_s > k->floor ? wall_s : k->floor, &where) != 0) {
        meet_req_drop(m, r);
    } else {
        m->stats.knocks++;
    }
    blind_slot_wipe(&s);
}

static bool may_knock(const struct meet *m, const struct party *p)
{
    bool wanted = p->want || p->kind == MEET_ADDING;
    return p->knock.on && m->online && m->has_self && m->has_where && !p->reached &&
           (wanted || !m->hidden);
}

static void knock_due(struct meet *m, struct party *p, uint64_t now_ms)
{
    struct knocking *k = &p->knock;
    uint64_t epoch[MEET_EPOCHS];
    bool also[MEET_EPOCHS];
    meet_timer(&m->knocks, &k->timer, MEET_NEVER);
    if (!may_knock(m, p)) {
        k->on = false;
        return;
    }
    if (!bucket_take(&m->knock_rate, &knock_rate, 1, now_ms)) {
        meet_timer(&m->knocks, &k->timer, now_ms + RATE_WAIT_MS);
        return;
    }
    uint64_t offset = p->kind == MEET_ADDING ? p->offset : blind_offset(k->p);
    size_t n = meet_epochs(offset, meet_wall_s(m), false, epoch, also);
    for (size_t i = 0; i < n; i++) {
        put(m, p, epoch[i], now_ms);
    }
    k->slot = (k->slot + 1) % BLIND_KNOCK_SLOTS;
    if (++k->done < MEET_KNOCKS) {
        meet_timer(&m->knocks, &k->timer,
                   now_ms + ((uint64_t)MEET_KNOCK_AGAIN_MS << (k->done - 1)));
    } else {
        k->on = false;
    }
}

void meet_knocks_tick(struct meet *m, uint64_t now_ms)
{
    struct deadline *d;
    while (m->n_knocks + 2 <= 2 * MEET_KNOCKS_MAX &&
           (d = deadlines_pop(&m->knocks, now_ms)) != NULL) {
        knock_due(m, d->owner, now_ms);
    }
}

/* A slot may hold a knock of somebody else: the next one is tried. */
void meet_knock_done(struct meet *m, struct req *r, enum meet_end end, uint64_t newest,
                     uint64_t now_ms)
{
    struct party *p = r->party;
    struct knocking *k = &p->knock;
    uint64_t seq = r->out.seq, epoch = r->epoch;
    meet_req_drop(m, r);
    bool taken = end == MEET_ANSWERED && newest > seq;
    if (p->reached || (!taken && end == MEET_ANSWERED) || k->retries >= RETRIES) {
        return;
    }
    k->retries++;
    if (!taken) {
        k->on = true;
        k->done -= k->done > 0;
        meet_timer(&m->knocks, &k->timer, now_ms + MEET_RETRY_MIN_MS);
        return;
    }
    if (newest < meet_wall_s(m) + SEQ_AHEAD_S) {
        k->floor = newest + 1;
    }
    bool was_on = k->on;
    k->on = true;
    if (may_knock(m, p)) {
        put(m, p, epoch, now_ms);
        k->slot = (k->slot + 1) % BLIND_KNOCK_SLOTS;
    }
    k->on = was_on;
}

/* ---- own slots ---- */

void meet_slots_reset(struct meet *m)
{
    for (size_t i = 0; i < BLIND_KNOCK_SLOTS; i++) {
        struct req *r = meet_req_get(m, m->slots[i].req);
        if (r != NULL) {
            meet_req_drop(m, r);
        }
        m->slots[i].newest = (struct newest){0, 0};
    }
}

void meet_poll_fast(struct meet *m, uint64_t now_ms)
{
    m->fast_until_ms = now_ms + MEET_POLL_FAST_FOR_MS;
    m->poll_ms = now_ms;
}

/* seq is what is known of that slot in that epoch. */
static uint64_t known_seq(struct newest *v, uint64_t epoch)
{
    if (v->epoch != epoch) {
        *v = (struct newest){epoch, 0};
    }
    return v->seq;
}

static void poll_slot(struct meet *m, unsigned slot, uint64_t epoch, uint64_t now_ms)
{
    struct blind_key key;
    if (m->slots[slot].req != 0) {
        return;
    }
    struct req *r = meet_req(m, REQ_POLL, MEET_POLL, NULL, now_ms);
    r->epoch = epoch;
    r->slot = slot;
    r->out.seq = known_seq(&m->slots[slot].newest, epoch);
    blind_knock_slot(m->p, epoch, slot, &key);
    memcpy(r->out.pub, key.pub, sizeof r->out.pub);
    blind_key_wipe(&key);
    m->slots[slot].req = r->out.id;
}

static void poll_invite(struct meet *m, struct party *p, uint64_t now_ms)
{
    struct blind_slot s;
    uint64_t epoch = blind_epoch(p->offset, meet_wall_s(m));
    if (p->slot_req != 0) {
        return;
    }
    struct req *r = meet_req(m, REQ_POLL, MEET_POLL, p, now_ms);
    r->epoch = epoch;
    r->out.seq = known_seq(&p->slot, epoch);
    blind_invite_knock(p->secret, epoch, &s);
    memcpy(r->out.pub, s.key.pub, sizeof r->out.pub);
    memcpy(r->seal, s.seal, sizeof r->seal);
    blind_slot_wipe(&s);
    p->slot_req = r->out.id;
    m->n_invite_polls++;
}

static void poll_invites(struct meet *m, uint64_t now_ms)
{
    for (size_t i = 0; i < m->n && m->n_invite_polls < MEET_POLL_INVITES; i++) {
        m->invite_turn = (m->invite_turn + 1) % m->n;
        if (m->v[m->invite_turn]->kind == MEET_INVITE) {
            poll_invite(m, m->v[m->invite_turn], now_ms);
        }
    }
}

void meet_poll_tick(struct meet *m, uint64_t now_ms)
{
    if (!m->online || m->hidden || !m->has_self || now_ms < m->poll_ms) {
        return;
    }
    if (m->n_reached < m->n_contacts) { /* nobody else has reason to knock */
        uint64_t epoch = blind_epoch(m->offset, meet_wall_s(m));
        for (unsigned i = 0; i < BLIND_KNOCK_SLOTS; i++) {
            poll_slot(m, i, epoch, now_ms);
        }
    }
    if (m->n_invites > 0) {
        poll_invites(m, now_ms);
    }
    m->poll_ms = now_ms < m->fast_until_ms
                     ? now_ms + MEET_POLL_FAST_MS
                     : now_ms + MEET_POLL_MS - MEET_POLL_JITTER_MS +
                           env_uniform(m->env, 2 * MEET_POLL_JITTER_MS + 1);
}

/* Opens a knock of that party. 0, or as blind_open() and wire_where_get(). */
static int open_knock(const uint8_t seal[BLIND_SEAL_KEY], const struct req *r,
                      uint64_t seq, const uint8_t *value, struct wire_where *where)
{
    uint8_t content[BLIND_CONTENT_MAX];
    size_t len;
    int err = blind_open(seal, r->out.pub, seq, value, BLIND_VALUE, content, &len);
    if (err == 0 && (!wire_where_get(content, len, where) || where->time_ms == 0)) {
        err = ERR_FORMAT;
    }
    sodium_memzero(content, sizeof content);
    return err;
}

/* The same knock may stand in two epochs. */
static int told(struct meet *m, struct party *p, const struct wire_where *where)
{
    if (where->time_ms == p->knocked_ms) {
        return ERR_STALE;
    }
    p->knocked_ms = where->time_ms;
    if (!p->reached) {
        meet_emit(m, MEET_KNOCK, p, where);
    }
    return 0;
}

/* Whose it is, only the seal tells. */
static int try_contacts(struct meet *m, const struct req *r, uint64_t seq,
                        const uint8_t *value)
{
    uint8_t seal[BLIND_SEAL_KEY];
    struct wire_where where;
    int err = ERR_AUTH;
    for (size_t i = 0; i < m->n && err == ERR_AUTH; i++) {
        struct party *p = m->v[i];
        if (p->kind != MEET_CONTACT) {
            continue;
        }
        blind_knock_seal(p->secret, p->device, m->device, seal);
        err = open_knock(seal, r, seq, value, &where);
        if (err == 0) {
            err = told(m, p, &where);
            break;
        }
    }
    sodium_memzero(seal, sizeof seal);
    return err;
}

int meet_poll_value(struct meet *m, struct req *r, uint64_t seq, const uint8_t *value)
{
    struct newest *v = r->party != NULL ? &r->party->slot : &m->slots[r->slot].newest;
    struct wire_where where;
    if (v->epoch == r->epoch && seq <= v->seq) {
        return ERR_STALE;
    }
    *v = (struct newest){r->epoch, seq};
    if (r->party == NULL) {
        return try_contacts(m, r, seq, value);
    }
    int err = open_knock(r->seal, r, seq, value, &where);
    return err != 0 ? err : told(m, r->party, &where);
}
