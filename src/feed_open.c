/* Opening others' entries: strictly in a feed's order, and only after their parents, so
 * that what is shown is causal.
 *
 * Accepting runs ahead of opening: an entry is judged (authentic?) and stored as soon as
 * it fits at the head; `struct lag` exists while the head is not opened. Its cursor `acc`
 * stands where judging stands, the feed's row where opening stands. What could not be
 * opened at once is read back through a load when it can be. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "feed_priv.h"

/* ---- judging ---- */

void cursor_from_row(const struct rec_feed *r, struct cursor *c)
{
    memset(c, 0, sizeof *c);
    c->seq = r->opened;
    c->chain_start = r->chain_start;
    c->has_chain =
        r->chain_start != 0 && !sodium_is_zero(r->chain_secret, sizeof r->chain_secret);
    c->chain.n = r->chain_n;
    memcpy(c->chain.secret, r->chain_secret, sizeof r->chain_secret);
    memcpy(c->sign_pub, r->sign_pub, sizeof c->sign_pub);
}

void cursor_to_row(const struct cursor *c, struct rec_feed *r)
{
    r->chain_start = c->chain_start;
    r->chain_n = c->chain.n;
    memcpy(r->chain_secret, c->chain.secret, sizeof r->chain_secret);
    memcpy(r->sign_pub, c->sign_pub, sizeof r->sign_pub);
}

static enum judged judge_keys(struct feeds *f, const struct feed *fd, struct cursor *c,
                              const struct entry *e)
{
    struct cursor next = {.seq = e->h.seq, .chain_start = e->h.seq};
    enum judged how = JUDGED_FORGED;
    int err = keys_box_get(f, fd, e, next.chain.secret, next.sign_pub);
    bool group = fd->conv->r.kind == CONV_GROUP;
    if (err == 0 &&
        (!group || (e->w.has_sig && sign_ok(next.sign_pub, e->id, e->w.sig)))) {
        next.has_chain = true;
        how = JUDGED_OK;
    } else if (err == ERR_AUTH || err == ERR_NOTFOUND) {
        how = JUDGED_CLOSED;
    }
    if (how != JUDGED_FORGED) {
        *c = next;
    }
    sodium_memzero(&next, sizeof next);
    return how;
}

enum judged entry_judge(struct feeds *f, const struct feed *fd, struct cursor *c,
                        const struct entry *e, size_t *body_len)
{
    bool group = fd->conv->r.kind == CONV_GROUP;
    *body_len = 0;
    if (e->h.chain == e->h.seq) {
        return e->w.box == NULL ? JUDGED_FORGED : judge_keys(f, fd, c, e);
    }
    if (e->h.chain != c->chain_start) {
        return JUDGED_FORGED;
    }
    if (!c->has_chain) {
        c->seq = e->h.seq;
        return JUDGED_CLOSED;
    }
    if (group && !(e->w.has_sig && sign_ok(c->sign_pub, e->id, e->w.sig))) {
        return JUDGED_FORGED;
    }
    if (e->w.box == NULL) {
        if (chain_skip(&c->chain) != 0) {
            return JUDGED_FORGED;
        }
        c->seq = e->h.seq;
        return JUDGED_EMPTY;
    }
    struct wr ad = wr_init(f->ad, sizeof f->ad);
    wire_header_put(&ad, &e->h, false);
    int err = !wr_ok(&ad)
                  ? ERR_FORMAT
                  : chain_open(&c->chain, f->ad, ad.len, e->w.box, e->w.box_len, f->body);
    if (err == 0) {
        c->seq = e->h.seq;
        *body_len = e->w.box_len - CHAIN_BOX_OVERHEAD;
        return JUDGED_OK;
    }
    if (!group) {
        return JUDGED_FORGED; /* between two, this is what vouches for an entry */
    }
    /* Signed, and yet not under its own chain: from here on nobody can follow it. */
    c->seq = e->h.seq;
    c->has_chain = false;
    sodium_memzero(&c->chain, sizeof c->chain);
    return JUDGED_CLOSED;
}

/* ---- parents ---- */

enum parents { PARENTS_THERE, PARENTS_GAP, PARENTS_WAIT };

/* Whether a parent in this feed was opened, may be one day, or never will be. */
static enum parents parent_in(const struct feed *q, uint64_t seq)
{
    if (feed_is_mine(q)) {
        return q->r.head >= seq || (q->r.flags & FEED_FROZEN) != 0 ? PARENTS_THERE
                                                                   : PARENTS_WAIT;
    }
    if (q->r.opened >= seq) {
        return PARENTS_THERE;
    }
    bool closed = q->lag != NULL && q->lag->closed != 0 && seq >= q->lag->closed &&
                  (q->lag->jump == 0 || seq < q->lag->jump);
    bool frozen = (q->r.flags & FEED_FROZEN) != 0 && seq > q->r.head;
    return closed || frozen || !q->dev->known ? PARENTS_GAP : PARENTS_WAIT;
}

static enum parents parent_state(const struct feeds *f, const struct conv *c,
                                 const struct wire_parent *p)
{
    const struct feed *q = feed_gen(f, c, p->gen);
    enum parents best = PARENTS_WAIT;
    for (; q != NULL; q = q->same_gen) {
        enum parents here = parent_in(q, p->seq);
        best = here < best ? here : best;
    }
    return best;
}

static enum parents parents_state(const struct feeds *f, const struct conv *c,
                                  const struct wire_header *h,
                                  struct wire_parent *missing)
{
    enum parents all = PARENTS_THERE;
    for (size_t i = 0; i < h->n_parents; i++) {
        enum parents one = parent_state(f, c, &h->parents[i]);
        if (one > all) {
            all = one;
            *missing = h->parents[i];
        }
    }
    return all;
}

/* ---- lags ---- */

static void lag_unblock(struct feeds *f, struct feed *fd)
{
    struct feed **p = &fd->conv->blocked;
    if (!fd->lag->blocked) {
        return;
    }
    while (*p != fd) {
        p = &(*p)->lag->blocked_next;
    }
    *p = fd->lag->blocked_next;
    fd->lag->blocked = false;
    deadlines_remove(&f->timers, &fd->lag->timer.d);
}

static void lag_block(struct feeds *f, struct feed *fd, const struct wire_parent *missing)
{
    fd->lag->blocked = true;
    fd->lag->missing = *missing;
    fd->lag->blocked_next = fd->conv->blocked;
    fd->conv->blocked = fd;
    timer_set(f, &fd->lag->timer, TIMER_LAG, fd, f->now_ms + FEEDS_PARENT_WAIT_MS);
}

static int lag_new(struct feed *fd, const struct cursor *acc)
{
    fd->lag = calloc(1, sizeof *fd->lag);
    if (fd->lag == NULL) {
        return ERR_NOMEM;
    }
    fd->lag->acc = *acc;
    return 0;
}

static void lag_end(struct feeds *f, struct feed *fd)
{
    struct lag *l = fd->lag;
    lag_unblock(f, fd);
    loads_kill(f, NULL, fd, LOAD_LAG);
    deadlines_remove(&f->timers, &l->timer.d);
    fd->lag = NULL;
    sodium_memzero(l, sizeof *l);
    free(l);
}

/* Ends the lag when nothing lags any more. */
static void lag_settle(struct feeds *f, struct feed *fd)
{
    const struct lag *l = fd->lag;
    if (l != NULL && fd->r.opened == fd->r.head && l->acc.seq == fd->r.head &&
        !l->loading) {
        lag_end(f, fd);
    }
}

/* What is to be opened next: 0 when that chain is closed and none that opens follows. */
static uint64_t lag_target(const struct feed *fd)
{
    uint64_t next = fd->r.opened + 1;
    return fd->lag->closed != 0 && next >= fd->lag->closed ? fd->lag->jump : next;
}

static void lag_closed(struct feeds *f, struct feed *fd, const struct entry *e)
{
    if (fd->lag->closed != 0) {
        return;
    }
    fd->lag->closed = e->h.seq;
    fd->lag->jump = 0;
    if (fd->r.closed_from == 0) {
        fd->r.closed_from = e->h.seq;
        if (e->h.chain == e->h.seq && keys_box_has(e, f->self.device)) {
            f->box_lost = true; /* sealed to a key that we do not have any more */
        }
    }
    feed_dirty(f, fd);
}

/* acc has moved behind e. */
static void lag_judged(struct feeds *f, struct feed *fd, const struct entry *e,
                       enum judged how)
{
    if (how != JUDGED_OK && how != JUDGED_EMPTY) {
        lag_closed(f, fd, e);
    } else if (fd->lag->closed != 0 && fd->lag->jump == 0) {
        fd->lag->jump = e->h.seq; /* a `keys` entry: nothing else opens there */
    }
}

bool feed_ready(struct feeds *f, struct feed *fd, struct cursor *c)
{
    if (fd->lag == NULL && fd->r.opened < fd->r.head) {
        (void)lag_start(f, fd); /* its contact was away when we started */
    }
    if (fd->lag == NULL) {
        cursor_from_row(&fd->r, c);
        return fd->r.opened == fd->r.head;
    }
    *c = fd->lag->acc;
    return c->seq == fd->r.head;
}

int lag_start(struct feeds *f, struct feed *fd)
{
    struct cursor c;
    cursor_from_row(&fd->r, &c);
    int err = lag_new(fd, &c);
    sodium_memzero(&c, sizeof c);
    if (err == 0) {
        lag_pump(f, fd);
    }
    return err;
}

void lag_pump(struct feeds *f, struct feed *fd)
{
    struct lag *l = fd->lag;
    uint64_t from = l->acc.seq < fd->r.head ? l->acc.seq + 1 : 0;
    if (l->loading) {
        return;
    }
    if (!l->blocked) {
        uint64_t target = lag_target(fd);
        if (target != 0 && target <= fd->r.head && (from == 0 || target < from)) {
            from = target;
        }
    }
    if (from != 0) {
        l->loading = load_add(f, LOAD_LAG, fd, NULL, from, fd->r.head, FEEDS_LOAD_BYTES);
    }
}

void lag_wake(struct feeds *f, struct feed *fd)
{
    struct feed *b = fd->conv->blocked, *next;
    for (; b != NULL; b = next) {
        next = b->lag->blocked_next;
        if (memcmp(b->lag->missing.gen, fd->r.gen, WIRE_GEN) == 0 &&
            parent_state(f, fd->conv, &b->lag->missing) != PARENTS_WAIT) {
            lag_unblock(f, b);
            lag_pump(f, b);
        }
    }
}

/* ---- opening ---- */

static int open_entry(struct feeds *f, struct txn *t, struct feed *fd,
                      const struct entry *e, const struct cursor *after, size_t body_len,
                      bool gap)
{
    struct conv *c = fd->conv;
    struct rec_feed *r = &fd->r;
    r->opened = e->h.seq;
    r->opened_order = e->h.order;
    memcpy(r->opened_id, e->id, sizeof r->opened_id);
    cursor_to_row(after, r);
    feed_dirty(f, fd);
    c->order_max = e->h.order > c->order_max ? e->h.order : c->order_max;
    if (!fd->fresh && fd->dev != f->own) {
        fd->fresh = true;
        fd->fresh_next = c->fresh;
        c->fresh = fd;
    }
    fd->gap_next = fd->gap_next || gap;
    int err = 0;
    if (body_len > 0) {
        err = talk_opened(f, t, fd, e, body_len, &fd->gap_next);
    }
    if (fd->lag != NULL) {
        fd->lag->gap = false;
        fd->lag->retries = 0;
        if (fd->lag->closed != 0 && r->opened > fd->lag->closed) {
            fd->lag->closed = fd->lag->jump = 0;
        }
        lag_settle(f, fd);
    }
    lag_wake(f, fd);
    return err;
}

/* e is what is to be opened next and nothing keeps it: opens it, or finds what does. */
static int lag_open(struct feeds *f, struct txn *t, struct feed *fd,
                    const struct entry *e)
{
    struct wire_parent missing;
    struct cursor at;
    size_t body_len = 0;
    enum parents p = parents_state(f, fd->conv, &e->h, &missing);
    if (p == PARENTS_WAIT && !fd->lag->gap) {
        lag_block(f, fd, &missing);
        return 0;
    }
    cursor_from_row(&fd->r, &at);
    int err = 0;
    enum judged how = entry_judge(f, fd, &at, e, &body_len);
    if (how == JUDGED_OK || how == JUDGED_EMPTY) {
        err = open_entry(f, t, fd, e, &at, body_len, p != PARENTS_THERE);
    } else {
        /* Judging goes over the rest again, for the next `keys` entry that opens. */
        at.seq = e->h.seq;
        at.chain_start = e->h.chain;
        at.has_chain = false;
        fd->lag->acc = at;
        fd->lag->closed = 0;
        lag_closed(f, fd, e);
    }
    sodium_memzero(&at, sizeof at);
    sodium_memzero(f->body, body_len);
    return err;
}

int entry_accepted(struct feeds *f, struct txn *t, struct feed *fd, const struct entry *e,
                   const struct cursor *after, enum judged how, size_t body_len)
{
    struct wire_parent missing;
    if (fd->lag == NULL && (how == JUDGED_OK || how == JUDGED_EMPTY)) {
        enum parents p = parents_state(f, fd->conv, &e->h, &missing);
        if (p != PARENTS_WAIT) {
            return open_entry(f, t, fd, e, after, body_len, p == PARENTS_GAP);
        }
        int err = lag_new(fd, after);
        if (err == 0) {
            lag_block(f, fd, &missing);
        }
        return err;
    }
    if (fd->lag == NULL) {
        int err = lag_new(fd, after);
        if (err != 0) {
            return err;
        }
    }
    fd->lag->acc = *after;
    lag_judged(f, fd, e, how);
    if (!fd->lag->blocked && !fd->lag->loading && lag_target(fd) == e->h.seq) {
        return lag_open(f, t, fd, e);
    }
    return 0;
}

/* One entry read back. */
static int lag_entry(struct feeds *f, struct txn *t, struct feed *fd,
                     const struct entry *e)
{
    struct lag *l = fd->lag;
    if (e->h.seq == l->acc.seq + 1) {
        size_t body_len = 0;
        enum judged how = entry_judge(f, fd, &l->acc, e, &body_len);
        sodium_memzero(f->body, body_len);
        if (how == JUDGED_FORGED) { /* it was not when it was stored */
            l->acc.seq = e->h.seq;
            l->acc.chain_start = e->h.chain;
            l->acc.has_chain = false;
            how = JUDGED_CLOSED;
        }
        lag_judged(f, fd, e, how);
    }
    return !l->blocked && lag_target(fd) == e->h.seq ? lag_open(f, t, fd, e) : 0;
}

int lag_loaded(struct feeds *f, struct txn *t, struct feed *fd, const struct rec_entry *v,
               size_t n)
{
    struct entry e;
    fd->lag->loading = false;
    if (n == 0) {
        uint64_t wait = fd->lag->retries++ < FEED_PRIV_RETRIES ? FEED_PRIV_RETRY_MS
                                                               : FEEDS_PARENT_WAIT_MS;
        timer_set(f, &fd->lag->timer, TIMER_LAG, fd, f->now_ms + wait);
        return 0;
    }
    bool ready = fd->lag->acc.seq == fd->r.head;
    int err = 0;
    for (size_t i = 0; err == 0 && i < n && fd->lag != NULL; i++) {
        if (!entry_from_rec(&v[i], &e)) {
            break;
        }
        err = lag_entry(f, t, fd, &e);
    }
    lag_settle(f, fd);
    if (fd->lag != NULL) {
        lag_pump(f, fd);
    }
    if (!ready && (fd->lag == NULL || fd->lag->acc.seq == fd->r.head)) {
        feed_want(f, fd);
    }
    return err;
}

/* True when somebody linked could have given the parent, and nothing is under way. */
static bool waited_enough(const struct feeds *f, const struct feed *fd)
{
    const struct conv *c = fd->conv;
    const struct feed *q = feed_gen(f, c, fd->lag->missing.gen);
    bool asked = false, linked = false;
    for (; q != NULL; q = q->same_gen) {
        asked = asked || q->want_from != NULL || q->diff != NULL;
    }
    for (size_t i = 0; i < c->n_seats; i++) {
        linked = linked || (c->seats[i]->dev->up && c->seats[i]->synced);
    }
    return linked && !asked;
}

void lag_timer(struct feeds *f, struct feed *fd)
{
    struct lag *l = fd->lag;
    if (l->blocked) {
        if (!waited_enough(f, fd)) {
            timer_set(f, &l->timer, TIMER_LAG, fd, f->now_ms + FEEDS_PARENT_WAIT_MS);
            return;
        }
        l->gap = true;
        lag_unblock(f, fd);
    }
    lag_pump(f, fd);
}

int closed_repaired(struct feeds *f, struct feed *fd, uint64_t upto)
{
    struct rec_feed *r = &fd->r;
    if (r->closed_from == 0 || r->closed_from > upto || feed_is_mine(fd)) {
        return 0;
    }
    if (r->opened < upto) {
        /* A generation that ended closed: given up once all of it was repeated. */
        if (upto != r->head || fd->lag == NULL || fd->lag->acc.seq != r->head ||
            fd->lag->closed == 0 || fd->lag->jump != 0 || fd->lag->blocked ||
            r->opened + 1 < fd->lag->closed) {
            return 0;
        }
        r->opened = r->head;
        r->opened_order = r->head_order;
        memcpy(r->opened_id, r->head_id, sizeof r->opened_id);
        cursor_to_row(&fd->lag->acc, r);
        lag_end(f, fd);
    }
    r->closed_from = 0;
    feed_dirty(f, fd);
    lag_wake(f, fd);
    return 0;
}
