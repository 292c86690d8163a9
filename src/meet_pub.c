/* Own whereabouts: when they are put, and where. */
#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "meet_priv.h"

enum { HOUR_MS = 3600000, OTHER_WAIT_MS = 60000, PASSED_MAX = 3, SEQ_AHEAD_S = 86400 };

static const struct bucket_rate other_rate = {MEET_OTHER_BURST, MEET_OTHER_HOUR, HOUR_MS};

static bool can_publish(const struct meet *m, const struct pub *u)
{
    return u->on && u->req == 0 && m->online && !m->hidden && m->has_self && m->has_where;
}

static struct print *print_of(struct pub *u, uint64_t epoch, uint64_t now_ms)
{
    struct print *v = &u->v[epoch & 1];
    if (!v->set || v->epoch != epoch) {
        *v = (struct print){.set = true, .epoch = epoch, .at_ms = now_ms};
    }
    return v;
}

/* The print that is to be put first: that of the present epoch, or of the next when that
 * begins soon. wait_ms: until there is another one to look at. */
static struct print *next_print(const struct meet *m, struct pub *u, uint64_t now_ms,
                                uint64_t *wait_ms)
{
    uint64_t wall_s = meet_wall_s(m), epoch = blind_epoch(u->offset, wall_s);
    uint64_t left_s = BLIND_EPOCH_S - blind_epoch_age(u->offset, wall_s);
    struct print *v = print_of(u, epoch, now_ms);
    if (left_s > MEET_EARLY_S) {
        *wait_ms = (left_s - MEET_EARLY_S) * 1000;
        return v;
    }
    *wait_ms = left_s * 1000;
    struct print *next = print_of(u, epoch + 1, now_ms);
    return next->at_ms < v->at_ms ? next : v;
}

void meet_pub_plan(struct meet *m, struct pub *u, uint64_t now_ms)
{
    uint64_t at_ms = MEET_NEVER;
    if (can_publish(m, u)) {
        /* The wall clock may jump: the epoch is looked at again every hour. */
        uint64_t wait_ms, most_ms = now_ms + MEET_REFRESH_MS;
        at_ms = next_print(m, u, now_ms, &wait_ms)->at_ms;
        at_ms = at_ms < now_ms + wait_ms ? at_ms : now_ms + wait_ms;
        at_ms = at_ms < most_ms ? at_ms : most_ms;
    }
    meet_timer(&m->pubs, &u->timer, at_ms);
}

/* What was put stays known while the secret is the same: seq only grows. */
void meet_pub_start(struct meet *m, struct pub *u, uint64_t offset, bool other,
                    uint64_t now_ms)
{
    meet_pub_stop(m, u);
    if (other) {
        memset(u->v, 0, sizeof u->v);
        u->put_ms = 0;
    }
    u->on = true;
    u->offset = offset;
    for (size_t i = 0; i < 2; i++) {
        u->v[i].at_ms = now_ms;
        u->v[i].looks = u->v[i].mends = u->v[i].confirmed = false;
    }
    meet_pub_plan(m, u, now_ms);
}

void meet_pub_stop(struct meet *m, struct pub *u)
{
    struct req *r = meet_req_get(m, u->req);
    if (r != NULL) {
        meet_req_drop(m, r);
    }
    u->on = false;
    meet_timer(&m->pubs, &u->timer, MEET_NEVER);
}

/* What is to be said there is not what was. */
void meet_pub_changed(struct meet *m, struct pub *u, uint64_t now_ms)
{
    uint64_t at_ms = now_ms + MEET_SETTLE_MS;
    if (u->put_ms != 0 && at_ms < u->put_ms + MEET_CHANGE_GAP_MS) {
        at_ms = u->put_ms + MEET_CHANGE_GAP_MS;
    }
    for (size_t i = 0; i < 2; i++) {
        struct print *v = &u->v[i];
        v->at_ms = v->looks || v->mends || at_ms < v->at_ms ? at_ms : v->at_ms;
        v->looks = v->mends = v->confirmed = v->stored = false;
        v->missed = 0;
    }
    meet_pub_plan(m, u, now_ms);
}

void meet_pub_retry(struct meet *m, struct pub *u, uint64_t now_ms)
{
    for (size_t i = 0; i < 2; i++) {
        struct print *v = &u->v[i];
        if (v->fails > 0 && v->at_ms > now_ms) {
            v->at_ms = now_ms;
        }
        v->fails = 0;
    }
    meet_pub_plan(m, u, now_ms);
}

/* ---- puts ---- */

static int make_key(const struct meet *m, const struct pub *u, struct req *r,
                    struct blind_key *key)
{
    struct blind_slot s;
    if (u->party == NULL) {
        blind_where_seal(m->p, r->epoch, r->seal);
        return blind_key(m->p, m->seed, r->epoch, key);
    }
    if (u->party->kind == MEET_CONTACT) {
        blind_pair_slot(u->party->secret, m->device, r->epoch, &s);
    } else {
        blind_invite_slot(u->party->secret, r->epoch, &s);
    }
    *key = s.key;
    memcpy(r->seal, s.seal, sizeof r->seal);
    blind_slot_wipe(&s);
    return 0;
}

/* Whether the last put is there; at one node, or at all that are near. */
static void look(struct meet *m, struct pub *u, struct print *v, uint64_t now_ms)
{
    struct blind_key key = {{0}, {0}, {0}};
    enum meet_out_kind kind = v->mends ? MEET_MEND : MEET_POLL;
    struct req *r = meet_req(m, REQ_LOOK, kind, u->party, now_ms);
    r->epoch = v->epoch;
    r->there = false;
    r->out.seq = v->seq - 1;
    m->n_pubs++;
    u->req = r->out.id;
    int err = make_key(m, u, r, &key);
    memcpy(r->out.pub, key.pub, sizeof r->out.pub);
    blind_key_wipe(&key);
    if (err != 0) {
        meet_look_done(m, r, MEET_UNASKED, now_ms);
    }
}

static void put(struct meet *m, struct pub *u, struct print *v, uint64_t now_ms)
{
    struct blind_key key = {{0}, {0}, {0}};
    struct wire_where where = m->where;
    struct req *r = meet_req(m, REQ_PUB, MEET_PUT, u->party, now_ms);
    uint64_t seq = meet_seq_next(m, v->seq);
    r->epoch = v->epoch;
    if (u->party != NULL && u->party->kind == MEET_CONTACT) {
        where.has_presence = true;
        memcpy(where.presence_p, m->p, 32);
        blind_point(m->seed, where.presence_a);
    }
    int err = make_key(m, u, r, &key);
    if (err == 0) {
        err = meet_req_put(m, r, &key, seq, &where);
    }
    blind_key_wipe(&key);
    sodium_memzero(&where, sizeof where);
    m->n_pubs++;
    u->req = r->out.id;
    u->put_ms = now_ms > 0 ? now_ms : 1;
    v->seq = seq;
    v->at_ms = MEET_NEVER; /* until it has ended, or there is something else to say */
    if (err != 0) {        /* never with secrets that are random */
        v->at_ms = now_ms + MEET_REFRESH_MS;
        meet_req_drop(m, r);
        meet_pub_plan(m, u, now_ms);
    }
}

/* Our own come first; those for others share what is left. */
static bool take_rate(struct meet *m, const struct pub *u, uint64_t now_ms)
{
    struct bucket *b;
    if (u->party == NULL) {
        return true;
    }
    b = u->party->kind == MEET_CONTACT ? &m->pair_rate : &m->invite_rate;
    return bucket_take(b, &other_rate, 1, now_ms);
}

/* Whether what was put may be about to expire, as after a time without the DHT: then it
 * does not do to see it there. */
static bool is_old(const struct pub *u, uint64_t now_ms)
{
    return u->put_ms == 0 || now_ms - u->put_ms >= MEET_REFRESH_MS;
}

static void pub_due(struct meet *m, struct pub *u, uint64_t now_ms)
{
    uint64_t wait_ms;
    meet_timer(&m->pubs, &u->timer, MEET_NEVER);
    if (!can_publish(m, u)) {
        return;
    }
    struct print *v = next_print(m, u, now_ms, &wait_ms);
    v->mends = v->mends && !is_old(u, now_ms);
    if (v->at_ms > now_ms) {
        meet_pub_plan(m, u, now_ms);
    } else if (v->looks || v->mends) {
        look(m, u, v, now_ms);
    } else if (!meet_seq_ready(m, v->seq)) {
        return; /* as soon as it is kept */
    } else if (!take_rate(m, u, now_ms)) {
        meet_timer(&m->pubs, &u->timer, now_ms + OTHER_WAIT_MS);
    } else {
        put(m, u, v, now_ms);
    }
}

void meet_pubs_tick(struct meet *m, uint64_t now_ms)
{
    struct deadline *d;
    while (m->n_pubs < MEET_PUBS_MAX && (d = deadlines_pop(&m->pubs, now_ms)) != NULL) {
        pub_due(m, d->owner, now_ms);
    }
}

static uint64_t refresh(const struct meet *m, uint64_t now_ms)
{
    return now_ms + MEET_REFRESH_MS - MEET_REFRESH_JITTER_MS +
           env_uniform(m->env, 2 * MEET_REFRESH_JITTER_MS + 1);
}

/* What is there rests until the next put. In between ours are put back where they are
 * gone: an hour is long where nodes come and go. */
static void rest(const struct meet *m, const struct pub *u, struct print *v,
                 uint64_t now_ms)
{
    uint64_t least_ms = MEET_MEND_MS - MEET_MEND_MS / 10;
    v->mends = u->party == NULL && !v->mends;
    v->at_ms = u->party != NULL
                   ? refresh(m, now_ms)
                   : now_ms + least_ms + env_uniform(m->env, MEET_MEND_MS / 5 + 1);
}

static void stored(struct meet *m, struct pub *u, struct print *v, uint64_t now_ms)
{
    v->stored = true;
    v->fails = 0;
    if (v->at_ms == MEET_NEVER) { /* else there is something else to say */
        v->looks = !v->confirmed;
        v->at_ms = now_ms + MEET_LOOK_MS;
        if (!v->looks) {
            rest(m, u, v, now_ms);
        }
    }
    if (u->party == NULL && m->round_ms != MEET_NEVER) {
        m->round_ms = now_ms;
    }
}

/* The print that a request was for, or NULL: its epoch is over. */
static struct print *print_for(struct pub *u, const struct req *r)
{
    struct print *v = &u->v[r->epoch & 1];
    return v->set && v->epoch == r->epoch ? v : NULL;
}

/* No seq of ours in that epoch can be so high; who reads a place for single contacts can
 * write there, too. */
static uint64_t seq_limit(const struct pub *u, const struct print *v)
{
    return (v->epoch + 1) * BLIND_EPOCH_S - u->offset + SEQ_AHEAD_S;
}

/* What stands there was put before our clock was set back, or elsewhere at the same
 * moment, and is passed. Where that does not help it is put ever more rarely. */
static void rival(struct meet *m, const struct pub *u, struct print *v, uint64_t seq,
                  uint64_t now_ms)
{
    v->stored = false;
    if (seq < seq_limit(u, v) && v->passed < PASSED_MAX) {
        v->seq = seq;
        v->passed++;
        v->at_ms = now_ms;
    } else {
        v->at_ms =
            now_ms + meet_backoff(m, MEET_RETRY_MAX_MS, v->fails++, MEET_REFRESH_MS);
    }
}

void meet_pub_done(struct meet *m, struct req *r, enum meet_end end, uint64_t newest,
                   uint64_t now_ms)
{
    struct pub *u = r->party != NULL ? &r->party->pub : &m->pub;
    struct print *v = print_for(u, r);
    uint64_t seq = r->out.seq;
    meet_req_drop(m, r);
    if (v != NULL && end == MEET_UNASKED) {
        v->at_ms =
            now_ms + meet_backoff(m, MEET_RETRY_MIN_MS, v->fails++, MEET_RETRY_MAX_MS);
    } else if (v != NULL && newest >= seq) {
        rival(m, u, v, newest, now_ms);
    } else if (v != NULL) {
        stored(m, u, v, now_ms);
    }
    meet_pub_plan(m, u, now_ms);
}

int meet_look_value(struct req *r, uint64_t seq)
{
    r->there = r->there || seq > r->out.seq;
    return r->there ? 0 : ERR_STALE;
}

void meet_look_done(struct meet *m, struct req *r, enum meet_end end, uint64_t now_ms)
{
    struct pub *u = r->party != NULL ? &r->party->pub : &m->pub;
    struct print *v = print_for(u, r);
    bool there = r->there;
    meet_req_drop(m, r);
    if (v != NULL && v->mends) {
        rest(m, u, v, now_ms);
        v->at_ms = there || end == MEET_UNASKED ? v->at_ms : now_ms;
    } else if (v != NULL && v->looks) {
        v->missed += !there;
        bool often = v->missed >= MEET_LOOKS_MAX;
        /* Silence says nothing: it is looked again, and in the end believed. What is not
         * there is put again, ever more rarely. */
        v->confirmed = there || (often && end == MEET_UNASKED);
        v->looks = !v->confirmed && end == MEET_UNASKED;
        if (v->confirmed) {
            rest(m, u, v, now_ms);
        } else if (often) {
            v->at_ms = now_ms + meet_backoff(m, MEET_RETRY_MAX_MS,
                                             v->missed - MEET_LOOKS_MAX, MEET_REFRESH_MS);
        } else {
            v->at_ms = now_ms + (v->looks ? MEET_LOOK_MS : 0);
        }
    }
    meet_pub_plan(m, u, now_ms);
}
