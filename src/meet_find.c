/* Look-ups: whom, where and when. */
#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "meet_priv.h"

enum { MINUTE_MS = 60000, RATE_WAIT_MS = 10000 };

static const struct bucket_rate get_rate = {MEET_GETS_BURST, MEET_GETS_MIN, MINUTE_MS};

bool meet_findable(const struct party *p)
{
    return p->kind != MEET_INVITE;
}

static bool wanted(const struct party *p)
{
    return p->want || p->kind == MEET_ADDING;
}

void meet_find_at(struct meet *m, struct party *p, uint64_t at_ms)
{
    struct find *f = &p->find;
    if (!meet_findable(p) || p->reached || f->req != 0) {
        return;
    }
    if (at_ms < f->timer.at_ms) {
        meet_timer(&m->finds, &f->timer, at_ms);
    }
}

void meet_find_fresh(struct meet *m, struct party *p, uint64_t at_ms)
{
    p->find.tries = p->find.fails = 0;
    meet_find_at(m, p, at_ms);
}

void meet_find_stop(struct meet *m, struct party *p)
{
    struct find *f = &p->find;
    struct req *r = meet_req_get(m, f->req);
    if (r != NULL) {
        meet_req_drop(m, r);
    }
    f->n = 0;
    f->tries = f->fails = 0;
    f->again = false;
    meet_timer(&m->finds, &f->timer, MEET_NEVER);
}

/* ---- one look-up ---- */

static void add_places(const struct meet *m, struct find *f, enum place_kind kind,
                       uint64_t offset, unsigned wide, bool also_all)
{
    uint64_t epoch[MEET_EPOCHS];
    bool also[MEET_EPOCHS];
    size_t n = meet_epochs(offset, meet_wall_s(m), wide, epoch, also);
    for (size_t i = 0; i < n; i++) {
        f->places[f->n++] = (struct place){kind, epoch[i], also[i] || also_all};
    }
}

/* The place of its presence secret first. Who finds nothing there looks where it would
 * have left word for us alone; who found something and did not reach it looks there, too:
 * what was found may be under a secret that has been replaced since. */
static void begin(const struct meet *m, struct party *p)
{
    struct find *f = &p->find;
    bool again = f->tries > 0;
    unsigned turn = !again ? 0 : f->tries % 2 == 0 ? MEET_NEXT : MEET_BEFORE;
    unsigned wide = again && f->tries <= MEET_WIDE_TRIES ? MEET_BOTH : turn;
    f->n = f->at = 0;
    f->best = 0;
    f->unasked = f->again = false;
    if (p->kind == MEET_ADDING) {
        add_places(m, f, PLACE_INVITE, p->offset, wide, false);
        return;
    }
    if (p->has_presence) {
        add_places(m, f, PLACE_MAIN, p->p_offset, wide, again);
    }
    add_places(m, f, PLACE_PAIR, p->offset, turn, again);
}

static int make_keys(struct req *r, const struct party *p, const struct place *at)
{
    struct blind_slot s;
    switch (at->kind) {
    case PLACE_MAIN:
        blind_where_seal(p->p, at->epoch, r->seal);
        return blind_pub(p->p, p->a, at->epoch, r->out.pub);
    case PLACE_PAIR:
        blind_pair_slot(p->secret, p->device, at->epoch, &s);
        break;
    case PLACE_INVITE:
        blind_invite_slot(p->secret, at->epoch, &s);
        break;
    case PLACE_KINDS:
        return ERR_STATE;
    }
    memcpy(r->out.pub, s.key.pub, sizeof r->out.pub);
    memcpy(r->seal, s.seal, sizeof r->seal);
    blind_slot_wipe(&s);
    return 0;
}

static void ask(struct meet *m, struct party *p, uint64_t now_ms)
{
    struct find *f = &p->find;
    const struct place *at = &f->places[f->at];
    struct req *r = meet_req(m, REQ_FIND, MEET_GET, p, now_ms);
    r->place = at->kind;
    r->epoch = at->epoch;
    m->n_finds++;
    f->req = r->out.id;
    if (make_keys(r, p, at) != 0) { /* A was judged when it was told */
        meet_find_done(m, r, MEET_ANSWERED, now_ms);
    }
}

/* Those who are wanted have something left when all others wait. */
static bool take_rate(struct meet *m, const struct party *p, uint64_t now_ms)
{
    return (wanted(p) ||
            bucket_has(&m->get_rate, &get_rate, MEET_GETS_KEPT + 1, now_ms)) &&
           bucket_take(&m->get_rate, &get_rate, 1, now_ms);
}

static void find_due(struct meet *m, struct party *p, uint64_t now_ms)
{
    struct find *f = &p->find;
    meet_timer(&m->finds, &f->timer, MEET_NEVER);
    if (!m->online || p->reached) {
        return;
    }
    if (!take_rate(m, p, now_ms)) {
        meet_timer(&m->finds, &f->timer, now_ms + RATE_WAIT_MS);
        return;
    }
    if (f->n == 0) {
        begin(m, p);
    }
    ask(m, p, now_ms);
}

void meet_finds_tick(struct meet *m, uint64_t now_ms)
{
    struct deadline *d;
    while (m->n_finds < MEET_FINDS_MAX &&
           (d = deadlines_pop(&m->finds, now_ms)) != NULL) {
        find_due(m, d->owner, now_ms);
    }
}

/* ---- what comes of it ---- */

/* Whether its clock may be hours from ours: it was found in another epoch, or was looked
 * for before and not reached. Of a place of the pair the epochs of its knock slots do not
 * follow. */
static bool is_apart(const struct meet *m, const struct party *p, const struct req *r)
{
    uint64_t offset = r->place == PLACE_MAIN ? p->p_offset : p->offset;
    return r->place == PLACE_PAIR || p->find.tries > 0 ||
           r->epoch != blind_epoch(offset, meet_wall_s(m));
}

/* 0, or ERR_STALE: at that place we have seen something newer. */
static int fresh(struct party *p, const struct req *r, uint64_t seq)
{
    struct newest *seen = &p->seen[r->place][r->epoch & 1];
    if (seen->epoch == r->epoch && seq < seen->seq) {
        return ERR_STALE;
    }
    *seen = (struct newest){r->epoch, seq};
    return 0;
}

int meet_find_value(struct meet *m, struct req *r, uint64_t seq,
                    const struct wire_where *where, uint64_t now_ms)
{
    struct party *p = r->party;
    const uint8_t *secret = p->secret; /* ADDING */
    uint8_t pub[BLIND_PUB];
    int err = fresh(p, r, seq);
    if (err != 0 || seq <= p->find.best) {
        return ERR_STALE;
    }
    p->find.best = seq;
    p->find.found = true;
    if (r->place == PLACE_MAIN) {
        secret = p->p;
    } else if (r->place == PLACE_PAIR) {
        bool usable = where->has_presence &&
                      blind_pub(where->presence_p, where->presence_a, r->epoch, pub) == 0;
        secret = usable ? where->presence_p : NULL;
    }
    meet_emit(m, MEET_WHERE, p, where);
    meet_knock_arm(m, p, secret,
                   where->nat == WIRE_NAT_EASY || where->nat == WIRE_NAT_HARD, now_ms);
    if (is_apart(m, p, r)) {
        meet_knock_wide(p);
    }
    return 0;
}

/* When to look again. */
static void rest(struct meet *m, struct party *p, uint64_t now_ms)
{
    struct find *f = &p->find;
    bool contact = p->kind == MEET_CONTACT;
    uint64_t at_ms = MEET_NEVER;
    if (f->again) {
        f->again = false;
        at_ms = now_ms;
    } else if (f->best == 0 && f->unasked) {
        at_ms =
            now_ms + meet_backoff(m, MEET_RETRY_MIN_MS, f->fails++, MEET_RETRY_MAX_MS);
    } else if (wanted(p)) {
        at_ms = now_ms + meet_backoff(m, contact ? MEET_AGAIN_MIN_MS : MEET_ADD_MIN_MS,
                                      f->tries,
                                      contact ? MEET_AGAIN_MAX_MS : MEET_ADD_MAX_MS);
    }
    if (f->best != 0 || !f->unasked) {
        f->fails = 0;
        f->tries++;
    }
    meet_timer(&m->finds, &f->timer, at_ms);
}

void meet_find_done(struct meet *m, struct req *r, enum meet_end end, uint64_t now_ms)
{
    struct party *p = r->party;
    struct find *f = &p->find;
    meet_req_drop(m, r);
    f->unasked = f->unasked || end == MEET_UNASKED;
    f->at++;
    while (f->best != 0 && f->at < f->n && !f->places[f->at].also) {
        f->at++;
    }
    if (f->at < f->n) {
        meet_timer(&m->finds, &f->timer, 0);
        return;
    }
    f->n = 0;
    if (f->best == 0) {
        meet_emit(m, f->unasked ? MEET_UNKNOWN : MEET_ABSENT, p, NULL);
    }
    rest(m, p, now_ms);
}
