/* Knocks: at whom and when, and who knocks at us. */
#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "meet_priv.h"

enum {
    MINUTE_MS = 60000,
    HOUR_MS = 3600000,
    RATE_WAIT_MS = 30000,
    KEEP_WAIT_MS = 1000, /* for the disk */
    RETRIES = BLIND_KNOCK_SLOTS - 1,
    SEQ_AHEAD_MS = 2 * MEET_SKEW_S * 1000, /* a seq that is believed */
};

static const struct bucket_rate knock_rate = {MEET_KNOCKS_BURST, MEET_KNOCKS_MIN,
                                              MINUTE_MS};
static const struct bucket_rate more_rate = {MEET_POLL_MORE_BURST, MEET_POLL_MORE_HOUR,
                                             HOUR_MS};

/* ---- knocking ---- */

static bool wanted(const struct party *p)
{
    return p->want || p->kind == MEET_ADDING;
}

void meet_knock_arm(struct meet *m, struct party *p, const uint8_t *secret, bool at_once,
                    uint64_t now_ms)
{
    struct knocking *k = &p->knock;
    if (secret == NULL || p->reached) {
        meet_knock_stop(m, p);
        return;
    }
    memcpy(k->p, secret, sizeof k->p);
    uint64_t dial_ms = at_once ? 0 : wanted(p) ? MEET_DIAL_WANTED_MS : MEET_DIAL_MS;
    if (k->on) { /* since another word of it; who is wanted by now waits no longer */
        if (wanted(p) && k->done == 0 && k->timer.at_ms > now_ms + dial_ms) {
            meet_timer(&m->knocks, &k->timer, now_ms + dial_ms);
        }
        return;
    }
    k->on = true;
    k->done = k->retries = 0;
    k->wide = false;
    k->floor = 0;
    k->slot = env_uniform(m->env, BLIND_KNOCK_SLOTS);
    /* Where many have come at one moment, one knock would cover the other. */
    uint64_t spread = wanted(p) ? 0 : env_uniform(m->env, MEET_KNOCK_SPREAD_MS);
    meet_timer(&m->knocks, &k->timer, now_ms + dial_ms + spread);
}

void meet_knock_wide(struct party *p)
{
    p->knock.wide = true;
}

void meet_knock_stop(struct meet *m, struct party *p)
{
    p->knock.on = false;
    sodium_memzero(p->knock.p, sizeof p->knock.p);
    meet_timer(&m->knocks, &p->knock.timer, MEET_NEVER);
}

static void put(struct meet *m, struct party *p, uint64_t epoch, uint64_t time_ms,
                uint64_t now_ms)
{
    const struct knocking *k = &p->knock;
    struct wire_where where = m->where;
    struct blind_slot s;
    struct req *r = meet_req(m, REQ_KNOCK, MEET_PUT, p, now_ms);
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
    where.time_ms = time_ms;
    uint64_t seq = env_wall_ms(m->env); /* others write there, too: not far ahead */
    seq = seq > k->floor ? seq : k->floor;
    seq = seq > 0 ? seq : 1;
    if (meet_req_put(m, r, &s.key, seq, &where) != 0) {
        meet_req_drop(m, r);
    } else {
        m->stats.knocks++;
    }
    blind_slot_wipe(&s);
}

static bool may_knock(const struct meet *m, const struct party *p)
{
    return p->knock.on && m->online && m->has_self && m->has_where && !p->reached &&
           (wanted(p) || !m->hidden);
}

static void knock_due(struct meet *m, struct party *p, uint64_t now_ms)
{
    struct knocking *k = &p->knock;
    uint64_t epoch[MEET_EPOCHS], time_ms;
    bool also[MEET_EPOCHS];
    meet_timer(&m->knocks, &k->timer, MEET_NEVER);
    if (!may_knock(m, p)) {
        k->on = false;
        return;
    }
    if (!meet_time_next(m, &time_ms)) {
        meet_timer(&m->knocks, &k->timer, now_ms + KEEP_WAIT_MS);
        return;
    }
    if (!bucket_take(&m->knock_rate, &knock_rate, 1, now_ms)) {
        meet_timer(&m->knocks, &k->timer, now_ms + RATE_WAIT_MS);
        return;
    }
    uint64_t offset = p->kind == MEET_ADDING ? p->offset : blind_offset(k->p);
    size_t n = meet_epochs(offset, meet_wall_s(m), k->wide ? MEET_BOTH : 0, epoch, also);
    for (size_t i = 0; i < n; i++) {
        put(m, p, epoch[i], time_ms, now_ms);
    }
    k->slot = env_uniform(m->env, BLIND_KNOCK_SLOTS);
    if (++k->done < MEET_KNOCKS) {
        meet_timer(&m->knocks, &k->timer,
                   now_ms + meet_backoff(m, MEET_KNOCK_AGAIN_MS, k->done - 1,
                                         MEET_AGAIN_MAX_MS));
    } else {
        k->on = false;
    }
}

void meet_knocks_tick(struct meet *m, uint64_t now_ms)
{
    struct deadline *d;
    while (m->n_knocks + MEET_EPOCHS <= MEET_EPOCHS * MEET_KNOCKS_MAX &&
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
    uint64_t seq = r->out.seq, epoch = r->epoch, time_ms;
    meet_req_drop(m, r);
    bool taken = end == MEET_ANSWERED && newest >= seq;
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
    if (newest < env_wall_ms(m->env) + SEQ_AHEAD_MS) {
        k->floor = newest + 1;
    }
    bool was_on = k->on;
    k->on = true;
    if (may_knock(m, p) && meet_time_next(m, &time_ms)) {
        put(m, p, epoch, time_ms, now_ms);
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

/* Who comes is seldom alone, and of many who knock between two polls some are not seen:
 * they knock again in a moment. */
static void poll_more(struct meet *m, uint64_t now_ms)
{
    if (now_ms + MEET_POLL_FAST_MS < m->poll_ms &&
        bucket_take(&m->more_rate, &more_rate, 1, now_ms)) {
        m->fast_until_ms = now_ms + MEET_POLL_FAST_FOR_MS;
        m->poll_ms = now_ms + MEET_POLL_FAST_MS;
    }
}

static void poll_slot(struct meet *m, unsigned slot, uint64_t epoch, uint64_t now_ms)
{
    struct newest *v = &m->slots[slot].newest;
    if (m->slots[slot].req != 0) {
        return;
    }
    if (v->epoch != epoch) { /* its key serves for the whole of it */
        struct blind_key key;
        blind_knock_slot(m->p, epoch, slot, &key);
        memcpy(m->slots[slot].pub, key.pub, sizeof key.pub);
        blind_key_wipe(&key);
        *v = (struct newest){epoch, 0};
    }
    struct req *r = meet_req(m, REQ_POLL, MEET_POLL, NULL, now_ms);
    r->epoch = epoch;
    r->slot = slot;
    r->out.seq = v->seq;
    memcpy(r->out.pub, m->slots[slot].pub, sizeof r->out.pub);
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
    p->slot = p->slot.epoch == epoch ? p->slot : (struct newest){epoch, 0};
    r->out.seq = p->slot.seq;
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

/* Who is reached has no reason to knock. */
static bool slots_count(const struct meet *m)
{
    return m->n_reached < m->n_contacts;
}

bool meet_polls(const struct meet *m)
{
    return m->online && !m->hidden && m->has_self && (slots_count(m) || m->n_invites > 0);
}

void meet_poll_tick(struct meet *m, uint64_t now_ms)
{
    if (!meet_polls(m) || now_ms < m->poll_ms) {
        return;
    }
    if (slots_count(m)) {
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

/* The same knock may stand in two epochs, and who stores knocks may show an old one
 * again. What counts as newest never stands above our clock plus a day, or a contact
 * whose clock once stood in 2099 would knock in vain for as long. With one code, which
 * anybody may have read, there is no order. */
static int told(struct meet *m, struct party *p, const struct wire_where *where,
                uint64_t now_ms)
{
    uint64_t most_ms = env_wall_ms(m->env) + MEET_KNOCK_AHEAD_MS;
    if (where->time_ms == p->heard_ms || where->time_ms <= p->knocked_ms) {
        return ERR_STALE;
    }
    p->heard_ms = where->time_ms;
    if (p->kind == MEET_CONTACT) {
        p->knocked_ms = where->time_ms < most_ms ? where->time_ms : most_ms;
    }
    meet_emit(m, MEET_KNOCK, p, where);
    if (!p->reached) {
        poll_more(m, now_ms);
    }
    return 0;
}

/* Whose it is, only the seal tells. */
static int try_contacts(struct meet *m, const struct req *r, uint64_t seq,
                        const uint8_t *value, uint64_t now_ms)
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
            err = told(m, p, &where, now_ms);
            break;
        }
    }
    sodium_memzero(seal, sizeof seal);
    return err;
}

int meet_poll_value(struct meet *m, struct req *r, uint64_t seq, const uint8_t *value,
                    uint64_t now_ms)
{
    struct newest *v = r->party != NULL ? &r->party->slot : &m->slots[r->slot].newest;
    struct wire_where where;
    if (v->epoch == r->epoch && seq <= v->seq) {
        return ERR_STALE;
    }
    *v = (struct newest){r->epoch, seq};
    if (r->party == NULL) {
        return try_contacts(m, r, seq, value, now_ms);
    }
    int err = open_knock(r->seal, r, seq, value, &where);
    return err != 0 ? err : told(m, r->party, &where, now_ms);
}
