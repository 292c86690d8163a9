/* Comparing our version of a feed with a peer's, entry by entry, and what follows.
 *
 *   OURS    our entries of a block are read back
 *   THEIRS  the peer's are asked for; the first one that differs is the fork
 *
 * A feed of others: the peer's entry is then checked under the chain that both versions
 * share (CHAIN); when it is authentic the generation is frozen and the proof kept.
 *
 * A feed of ours of which the peer holds more, or another version: we were set back to an
 * old copy. The generation is closed. What we have appended since the fork is repeated in
 * a new one (REPEAT); then our entries from the fork on give way to the peer's, which are
 * taken back (TAKE), so that those who have them see no fork. Only when a fork is known
 * already, or the peer has frozen the generation, both versions stay as they are and the
 * peer's is only repeated. */
#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "feed_priv.h"

enum {
    DIFFS_MAX = 4, /* of one feed with one device over one link */
    GENS_UNPROVED_MAX = WIRE_GENERATIONS_MAX * 3 / 4, /* closed on a claim, in groups */
};

enum diff_state { DIFF_OURS, DIFF_THEIRS, DIFF_REPEAT, DIFF_CHAIN, DIFF_TAKE };

struct diff {
    struct feed *feed;
    struct have *have; /* of the peer */
    enum diff_state state;
    bool busy;               /* a load is under way */
    bool stepped;            /* back: what follows this block differs */
    uint64_t n;              /* the peer's head */
    uint64_t opened;         /* and what it has opened of it */
    uint64_t lo, hi;         /* the block; hi ends where both have entries */
    uint64_t next;           /* the entry that the peer sends next */
    uint8_t before[WIRE_ID]; /* id of our entry lo-1 */
    uint8_t ids[FEED_PRIV_BLOCK][WIRE_ID];
    size_t n_ids;
    /* the fork */
    uint64_t at;
    bool replace;            /* ours: take the peer's entries into the feed */
    uint64_t chain_last;     /* where the way along the chain ends; the next is taken */
    uint64_t derived;        /* the chain was followed from this `keys` entry on */
    struct blob header, box; /* the peer's entry there */
    struct wire_entry theirs;
    struct cursor cur; /* the chain, on the way to the fork and then behind it */
    unsigned retries;
    struct timer timer;
};

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void diff_wait(struct feeds *f, struct diff *d)
{
    timer_set(f, &d->timer, TIMER_DIFF, d->feed, f->now_ms + FEEDS_WANT_WAIT_MS);
}

void diff_stop(struct feeds *f, struct feed *fd)
{
    struct diff *d = fd->diff;
    if (d == NULL) {
        return;
    }
    fd->diff = NULL;
    f->pending = true;
    loads_kill(f, NULL, fd, LOAD_DIFF);
    loads_kill(f, NULL, fd, LOAD_DIFF_CHAIN);
    for (struct repeat *r = fd->conv->repeats; r != NULL; r = r->next) {
        r->then = r->then == d ? NULL : r->then; /* it goes on, nothing follows */
    }
    deadlines_remove(&f->timers, &d->timer.d);
    blob_release(&d->header);
    blob_release(&d->box);
    sodium_memzero(d, sizeof *d);
    free(d);
}

void diff_down(struct feeds *f, struct feed *fd, const struct seat *s)
{
    if (fd->diff->have->seat == s) {
        diff_stop(f, fd);
    }
}

/* ---- comparing ---- */

static void load_ours(struct feeds *f, struct diff *d)
{
    d->state = DIFF_OURS;
    d->busy = load_add(f, LOAD_DIFF, d->feed, NULL, d->lo,
                       min_u64(d->hi, d->lo + FEED_PRIV_BLOCK - 1), FEEDS_LOAD_BYTES);
    diff_wait(f, d);
}

static int take_from(struct feeds *f, struct diff *d, uint64_t from)
{
    d->state = DIFF_TAKE;
    d->next = from;
    diff_wait(f, d);
    return want_send(f, d->have->seat, d->feed, from, d->n);
}

int diff_start(struct feeds *f, struct have *h, uint64_t n)
{
    struct feed *fd = h->feed;
    bool mine = fd->dev == f->own;
    uint64_t hi = min_u64(n, fd->r.head);
    if (fd->diff != NULL) {
        h->pending = true;
        h->pending_n = n;
        return 0;
    }
    if (h->seat->liar || h->diffs >= DIFFS_MAX || n == 0 || !h->seat->dev->up ||
        (!mine && (hi == 0 || h->seat->dev == fd->dev))) {
        return 0;
    }
    struct diff *d = calloc(1, sizeof *d);
    if (d == NULL) {
        return ERR_NOMEM;
    }
    send_stop(h);
    h->diffs++;
    fd->diff = d;
    d->feed = fd;
    d->have = h;
    d->n = n;
    d->opened = have_opened(h);
    d->hi = hi;
    if (hi == 0) {
        return take_from(f, d, 1);
    }
    d->lo = hi > FEED_PRIV_BLOCK ? hi - FEED_PRIV_BLOCK + 1 : 1;
    if (mine && h->n > 0 && h->n < hi) {
        d->lo = h->n; /* so far it was known to have ours */
    }
    load_ours(f, d);
    return 0;
}

/* Back to a block before, in which nothing was compared yet. */
static int step_back(struct feeds *f, struct diff *d)
{
    if (d->lo == 1) {
        d->have->seat->liar = true; /* nothing fits together */
        diff_stop(f, d->feed);
        return 0;
    }
    d->stepped = true;
    d->hi = d->lo - 1;
    d->lo = d->hi > FEED_PRIV_BLOCK ? d->hi - FEED_PRIV_BLOCK + 1 : 1;
    load_ours(f, d);
    return 0;
}

/* The comparison is over; with a feed of ours the peer is sent what it lacks. */
static int conclude(struct feeds *f, struct txn *t, struct diff *d)
{
    struct feed *fd = d->feed;
    struct have *h = d->have;
    uint64_t n = d->n, opened = min_u64(d->opened, d->n);
    bool ours = d->at == 0 || d->replace;
    diff_stop(f, fd);
    if (fd->dev != f->own) {
        feed_want(f, fd);
        return 0;
    }
    int err = have_told(f, t, h, n, opened, ours);
    /* Others, too, get what was taken back. */
    for (size_t i = 0; i < fd->conv->n_seats && err == 0; i++) {
        struct seat *s = fd->conv->seats[i];
        struct have *to = s->dev->up && s->synced ? have_get(s, fd) : NULL;
        if (to == NULL || to->frozen || (to == h && !ours)) {
            continue; /* it is away, or on another branch */
        }
        if (to == h || to->to != UINT64_MAX) {
            send_from(f, to, to->n + 1, UINT64_MAX);
        } else {
            send_wake(f, to);
        }
    }
    return err;
}

/* ---- a feed of others ---- */

int feed_freeze(struct feeds *f, struct txn *t, struct feed *fd)
{
    diff_stop(f, fd);
    if ((fd->r.flags & FEED_FROZEN) != 0) {
        return 0;
    }
    fd->r.flags |= FEED_FROZEN;
    fd->want_from = NULL;
    feed_dirty(f, fd);
    lag_wake(f, fd);
    return event_add(t, TOPIC_CONTACT, EVENT_FORK, fd);
}

/* The author itself says that there is a fork. */
static bool author_froze(const struct feed *fd)
{
    const struct seat *s = seat_of(fd->conv, fd->dev);
    const struct have *h = s == NULL ? NULL : have_peek(s, fd);
    return h != NULL && h->frozen && s->dev->up;
}

static int frozen(struct feeds *f, struct txn *t, struct diff *d,
                  const struct entry *ours)
{
    struct feed *fd = d->feed;
    struct rec r = {.kind = REC_FORK, .u.fork = {.feed = fd->r.id, .seq = d->at}};
    if (!blob_set(&r.u.fork.header_a, ours->w.header, ours->w.header_len) ||
        !blob_set(&r.u.fork.header_b, d->header.p, d->header.n)) {
        rec_release(&r);
        return ERR_NOMEM;
    }
    int err = txn_add(t, &r);
    return err == 0 ? feed_freeze(f, t, fd) : err;
}

static bool entry_of_fork(const struct diff *d, struct entry *e)
{
    e->w = d->theirs;
    e->w.header = d->header.p;
    e->w.header_len = d->header.n;
    e->w.box = d->box.p;
    e->w.box_len = d->box.n;
    wire_entry_id(e->w.header, e->w.header_len, e->id);
    return wire_header_get(e->w.header, e->w.header_len, &e->h);
}

/* Both versions' entries at the fork are there, and the chain that stands before them. */
static int judge_fork(struct feeds *f, struct txn *t, struct diff *d,
                      const struct entry *ours)
{
    struct entry theirs;
    size_t body_len = 0;
    struct feed *fd = d->feed;
    bool group = fd->conv->r.kind == CONV_GROUP;
    enum judged how = entry_of_fork(d, &theirs)
                          ? entry_judge(f, fd, &d->cur, &theirs, &body_len)
                          : JUDGED_FORGED;
    /* Between two nothing but its box vouches for an entry. */
    bool proven = how == JUDGED_OK || (how == JUDGED_EMPTY && group);
    sodium_memzero(f->body, body_len);
    if (proven) {
        return frozen(f, t, d, ours);
    }
    if (author_froze(fd)) {
        return feed_freeze(f, t, fd);
    }
    d->have->seat->liar = true; /* or we can't tell, and need not ask it again */
    diff_stop(f, fd);
    feed_want(f, fd);
    return 0;
}

/* ---- a feed of ours ---- */

static int close_own(struct feeds *f, struct txn *t, struct feed *fd)
{
    struct conv *c = fd->conv;
    c->own = c->own == fd ? NULL : c->own;
    if ((fd->r.flags & FEED_CLOSED) != 0) {
        return 0;
    }
    fd->r.flags |= FEED_CLOSED;
    feed_row(f, fd);
    if (c->r.kind == CONV_PAIR) {
        /* What told the others of our device may be among what gives way. */
        struct ev_item *ev = ev_add(f, FEEDS_EV_ANNOUNCE);
        if (ev == NULL) {
            return ERR_NOMEM;
        }
        ev->e.conv = c->r.id;
    }
    return event_add(t, TOPIC_CONTACT, EVENT_RESTORED, fd);
}

/* Repeats ours from `from` on, as far as that was not done before. */
static int repeat_ours(struct feeds *f, struct feed *fd, uint64_t from, struct diff *then,
                       bool *started)
{
    uint64_t done = fd->r.closed_from;
    uint64_t to = done == 0 ? fd->r.head : min_u64(done - 1, fd->r.head);
    *started = from <= to;
    if (!*started) {
        return 0;
    }
    return repeat_add(f, fd, from, to, NULL, then);
}

static void repeated_from(struct feeds *f, struct feed *fd, uint64_t from)
{
    if (fd->r.closed_from == 0 || from < fd->r.closed_from) {
        fd->r.closed_from = from;
        feed_row(f, fd);
    }
}

/* Reads back our entries from the start of a chain to before `at` (of others' feeds: `at`
 * too). */
static int follow_chain(struct feeds *f, struct diff *d, uint64_t start, uint64_t at)
{
    memset(&d->cur, 0, sizeof d->cur);
    d->cur.seq = start - 1;
    d->derived = start;
    d->chain_last = d->feed->dev == f->own ? at - 1 : at;
    d->state = DIFF_CHAIN;
    d->busy = load_add(f, LOAD_DIFF_CHAIN, d->feed, NULL, start, d->chain_last,
                       FEEDS_LOAD_BYTES);
    diff_wait(f, d);
    return 0;
}

/* Reads back our entries from the start of the chain to before the fork, if there are
 * any; then the peer's are taken. */
static int chain_or_take(struct feeds *f, struct diff *d)
{
    struct entry theirs;
    if (!entry_of_fork(d, &theirs)) {
        diff_stop(f, d->feed);
        return 0;
    }
    bool mine = d->feed->dev == f->own;
    if (theirs.h.chain > (mine ? d->at - 1 : d->at)) {
        memset(&d->cur, 0, sizeof d->cur);
        d->cur.seq = theirs.h.chain - 1;
        return take_from(f, d, d->at);
    }
    return follow_chain(f, d, theirs.h.chain, d->at);
}

/* Our entries from the fork on give way. */
static int remove_tail(struct feeds *f, struct txn *t, struct diff *d)
{
    struct feed *fd = d->feed;
    struct entry theirs;
    struct rec r = {.kind = REC_ENTRY, .del = true};
    r.u.entry.feed = fd->r.id;
    r.u.entry.seq = d->at;
    if (!entry_of_fork(d, &theirs)) {
        return ERR_FORMAT;
    }
    fd->r.head = fd->r.opened = d->at - 1;
    memcpy(fd->r.head_id, theirs.h.prev, WIRE_ID);
    memcpy(fd->r.opened_id, theirs.h.prev, WIRE_ID);
    fd->sent = fd->sent_said = min_u64(fd->sent, fd->r.head);
    fd->stored = min_u64(fd->stored, fd->r.head);
    fd->delivered = min_u64(fd->delivered, fd->r.head);
    fd->read_all = min_u64(fd->read_all, fd->r.head);
    for (size_t i = 0; i < fd->n_haves; i++) {
        struct have *h = fd->haves[i];
        if (h != NULL) {
            h->on_branch = false;
            send_stop(h);
        }
    }
    feed_dirty(f, fd);
    return txn_add(t, &r);
}

int diff_repeated(struct feeds *f, struct txn *t, struct diff *d, bool done)
{
    struct feed *fd = d->feed;
    if (!done) {
        diff_stop(f, fd);
        return 0;
    }
    repeated_from(f, fd, d->at);
    int err = d->replace ? remove_tail(f, t, d) : 0;
    return err == 0 ? chain_or_take(f, d) : err;
}

static int own_forked(struct feeds *f, struct txn *t, struct diff *d)
{
    struct feed *fd = d->feed;
    bool repeats = false;
    /* A second fork: others hold different versions, and will find out. */
    d->replace =
        !d->have->frozen && (fd->r.flags & FEED_FROZEN) == 0 && fd->r.closed_from == 0;
    int err = close_own(f, t, fd);
    if (err != 0) {
        return err;
    }
    if (!d->replace) {
        fd->r.flags |= FEED_FROZEN;
        feed_dirty(f, fd);
    }
    d->state = DIFF_REPEAT;
    deadlines_remove(&f->timers, &d->timer.d);
    err = repeat_ours(f, fd, d->at, d, &repeats);
    return err != 0 || repeats ? err : diff_repeated(f, t, d, true);
}

/* Whether a member's device may not have opened an entry of the version that the peer
 * has. */
static bool somebody_lacks(const struct diff *d, uint64_t seq)
{
    const struct conv *c = d->feed->conv;
    for (size_t i = 0; i < c->n_seats; i++) {
        const struct have *h = have_peek(c->seats[i], d->feed);
        bool peer = c->seats[i] == d->have->seat;
        if (c->seats[i]->dev->known && (!peer || d->opened < seq) &&
            (h == NULL || peer || !h->on_branch || h->opened < seq)) {
            return true;
        }
    }
    return false;
}

/* Takes one entry of ours back into the feed. */
static int take_back(struct feeds *f, struct txn *t, struct diff *d,
                     const struct entry *e, size_t body_len)
{
    struct feed *fd = d->feed;
    struct conv *c = fd->conv;
    uint8_t mid[WIRE_MID] = {0};
    int err = 0;
    if (fd->r.id == 0) {
        fd->r.flags |= FEED_MINE | FEED_CLOSED;
        err = feed_make_real(f, t, fd);
        err = err == 0 ? event_add(t, TOPIC_CONTACT, EVENT_RESTORED, fd) : err;
    } else {
        err = close_own(f, t, fd);
    }
    talk_mid(f, body_len, mid);
    if (err == 0) {
        err = entry_store(t, fd, e, mid);
    }
    if (err == 0 && body_len > 0) { /* behind the entry, whose box may have to go */
        err = talk_taken(f, t, fd, e, body_len);
    }
    fd->r.head = fd->r.opened = e->h.seq;
    fd->r.head_order = fd->r.opened_order = e->h.order;
    memcpy(fd->r.head_id, e->id, WIRE_ID);
    memcpy(fd->r.opened_id, e->id, WIRE_ID);
    cursor_to_row(&d->cur, &fd->r); /* to go on from after a restart */
    c->order_max = e->h.order > c->order_max ? e->h.order : c->order_max;
    feed_dirty(f, fd);
    lag_wake(f, fd);
    return err;
}

static int take_entry(struct feeds *f, struct txn *t, struct diff *d,
                      const struct entry *e)
{
    struct feed *fd = d->feed;
    bool in_feed = d->at == 0 || d->replace;
    size_t body_len = 0;
    int err = 0;
    if (in_feed && fd->r.head >= e->h.seq) {
        /* We wrote on meanwhile: now there is something to compare. */
        struct have *h = d->have;
        uint64_t n = d->n;
        diff_stop(f, fd);
        return diff_start(f, h, n);
    }
    if (in_feed && memcmp(e->h.prev, fd->r.head_id, WIRE_ID) != 0) {
        return step_back(f, d);
    }
    enum judged how = entry_judge(f, fd, &d->cur, e, &body_len);
    if (how != JUDGED_OK && how != JUDGED_EMPTY) {
        if (in_feed && e->h.chain <= fd->r.head && d->derived != e->h.chain) {
            /* Interrupted before: the chain is found again from its start. */
            return follow_chain(f, d, e->h.chain, e->h.seq);
        }
        /* Ours by its MAC, but the box key for it is gone. */
        d->cur.seq = e->h.seq;
        d->cur.chain_start = e->h.chain;
        d->cur.has_chain = false;
        body_len = 0;
    }
    if (in_feed) {
        err = take_back(f, t, d, e, body_len);
    } else if (body_len > 0) {
        err = talk_lost(f, fd, body_len);
    }
    /* Who is on another branch of it gets nothing more of this generation. */
    bool forked = d->at != 0 || fd->r.closed_from != 0;
    if (err == 0 && body_len > 0 && forked && (!in_feed || somebody_lacks(d, e->h.seq))) {
        err = talk_repeat(f, t, fd->conv, e, body_len, NULL);
        err = err == ERR_LIMIT ? 0 : err;
    }
    sodium_memzero(f->body, body_len);
    if (err != 0) {
        return err;
    }
    if (d->next++ < d->n) {
        diff_wait(f, d);
        return 0;
    }
    return conclude(f, t, d);
}

/* The first entry of ours that some member's device is not known to have opened: where
 * the fork is may be known only to somebody whom we do not meet. */
static uint64_t lacked_from(const struct feed *fd)
{
    const struct conv *c = fd->conv;
    uint64_t least = fd->r.head;
    for (size_t i = 0; i < c->n_seats; i++) {
        const struct have *h = have_peek(c->seats[i], fd);
        uint64_t opened = h == NULL ? 0 : h->opened;
        least = c->seats[i]->dev->known ? min_u64(least, opened) : least;
    }
    return least + 1;
}

/* The peer accepts nothing more in this generation: it knows of another version, whatever
 * that is. Between more than two a liar must not use our generations up. */
static int own_frozen(struct feeds *f, struct txn *t, struct feed *fd, uint64_t n)
{
    bool repeats = false;
    size_t stubs;
    if (fd->conv->r.kind != CONV_PAIR &&
        count_gens(fd->conv, fd->dev, &stubs) > GENS_UNPROVED_MAX) {
        return 0;
    }
    uint64_t from = min_u64(n + 1, lacked_from(fd));
    fd->r.flags |= FEED_FROZEN;
    int err = close_own(f, t, fd);
    if (err == 0) {
        err = repeat_ours(f, fd, from, NULL, &repeats);
        repeated_from(f, fd, from);
    }
    return err;
}

/* All that both have is equal, as far as both had it when this began. */
static int all_equal(struct feeds *f, struct txn *t, struct diff *d)
{
    struct feed *fd = d->feed;
    uint64_t both = min_u64(d->n, fd->r.head);
    if (d->hi < both && d->stepped) {
        d->have->seat->liar = true; /* the rest cannot differ, and it did */
        diff_stop(f, fd);
        return 0;
    }
    if (d->hi < both) { /* we wrote on meanwhile */
        d->lo = d->hi + 1;
        d->hi = both;
        load_ours(f, d);
        return 0;
    }
    if (fd->dev != f->own) {
        return conclude(f, t, d);
    }
    if (d->n > fd->r.head) {
        /* The chain stands behind our head. */
        memset(&d->cur, 0, sizeof d->cur);
        cursor_from_row(&fd->r, &d->cur);
        return take_from(f, d, fd->r.head + 1);
    }
    int err = d->have->frozen ? own_frozen(f, t, fd, d->n) : 0;
    return err == 0 ? conclude(f, t, d) : err;
}

/* ---- what comes in ---- */

static int compare_entry(struct feeds *f, struct txn *t, struct diff *d,
                         const struct entry *e)
{
    static const uint8_t none[WIRE_ID];
    size_t i = (size_t)(e->h.seq - d->lo);
    const uint8_t *prev = e->h.seq == 1 ? none : i == 0 ? d->before : d->ids[i - 1];
    if (memcmp(d->ids[i], e->id, WIRE_ID) == 0) {
        if (d->next++ < d->lo + d->n_ids - 1) {
            return 0;
        }
        if (d->next <= d->hi) {
            d->lo = d->next;
            load_ours(f, d);
            return 0;
        }
        return all_equal(f, t, d);
    }
    if (memcmp(prev, e->h.prev, WIRE_ID) != 0) {
        return step_back(f, d);
    }
    d->at = e->h.seq;
    d->theirs = e->w;
    if (!blob_set(&d->header, e->w.header, e->w.header_len) ||
        !blob_set(&d->box, e->w.box, e->w.box_len)) {
        return ERR_NOMEM;
    }
    d->theirs.header = d->theirs.box = NULL;
    return d->feed->dev == f->own ? own_forked(f, t, d) : chain_or_take(f, d);
}

int diff_entry(struct feeds *f, struct txn *t, struct seat *s, struct feed *fd,
               const struct entry *e, bool *taken)
{
    struct diff *d = fd->diff;
    *taken = false;
    if (d->have->seat != s || e->h.seq != d->next) {
        return 0;
    }
    if (d->state == DIFF_THEIRS) {
        *taken = true;
        return compare_entry(f, t, d, e);
    }
    if (d->state == DIFF_TAKE) {
        *taken = true;
        return take_entry(f, t, d, e);
    }
    return 0;
}

static int ours_loaded(struct feeds *f, struct txn *t, struct diff *d,
                       const struct rec_entry *v, size_t n)
{
    struct entry e;
    for (size_t i = 0; i < n && i < FEED_PRIV_BLOCK; i++) {
        if (!entry_from_rec(&v[i], &e) || e.h.seq != d->lo + i) {
            break;
        }
        if (i == 0) {
            memcpy(d->before, e.h.prev, WIRE_ID);
        }
        memcpy(d->ids[i], e.id, WIRE_ID);
        d->n_ids = i + 1;
    }
    if (d->n_ids > 0 && d->lo + d->n_ids - 1 == d->n && d->have->id_n == d->n &&
        memcmp(d->ids[d->n_ids - 1], d->have->id, WIRE_ID) == 0) {
        return all_equal(f, t, d); /* its head is an entry of ours */
    }
    d->state = DIFF_THEIRS;
    d->next = d->lo;
    diff_wait(f, d);
    return want_send(f, d->have->seat, d->feed, d->lo, d->lo + d->n_ids - 1);
}

static int chain_loaded(struct feeds *f, struct txn *t, struct diff *d,
                        const struct rec_entry *v, size_t n)
{
    struct entry e;
    bool mine = d->feed->dev == f->own;
    for (size_t i = 0; i < n; i++) {
        size_t body_len = 0;
        if (!entry_from_rec(&v[i], &e) || e.h.seq != d->cur.seq + 1) {
            break;
        }
        if (!mine && e.h.seq == d->at) {
            return judge_fork(f, t, d, &e);
        }
        enum judged how = entry_judge(f, d->feed, &d->cur, &e, &body_len);
        if (how != JUDGED_OK && how != JUDGED_EMPTY) {
            d->cur.seq = e.h.seq;
            d->cur.chain_start = e.h.chain;
            d->cur.has_chain = false;
        }
        sodium_memzero(f->body, body_len);
    }
    if (d->cur.seq >= d->chain_last) {
        return take_from(f, d, mine ? d->chain_last + 1 : d->at);
    }
    d->busy = load_add(f, LOAD_DIFF_CHAIN, d->feed, NULL, d->cur.seq + 1, d->chain_last,
                       FEEDS_LOAD_BYTES);
    diff_wait(f, d);
    return 0;
}

int diff_loaded(struct feeds *f, struct txn *t, struct feed *fd, enum load_kind kind,
                const struct rec_entry *v, size_t n)
{
    struct diff *d = fd->diff;
    if (d == NULL) {
        return 0;
    }
    d->busy = false;
    d->n_ids = 0;
    if (n == 0) {
        return 0; /* asked for again by the timer */
    }
    return kind == LOAD_DIFF ? ours_loaded(f, t, d, v, n) : chain_loaded(f, t, d, v, n);
}

/* Somebody else who is linked told of the feed meanwhile, and is asked next: they will
 * not say it again. */
static bool others_told(const struct feed *fd)
{
    for (size_t i = 0; i < fd->n_haves; i++) {
        const struct have *h = fd->haves[i];
        if (h != NULL && h->pending && h->seat->dev->up) {
            return true;
        }
    }
    return false;
}

void diff_timer(struct feeds *f, struct feed *fd)
{
    struct diff *d = fd->diff;
    struct have *h = d->have;
    bool loads = d->state == DIFF_OURS || d->state == DIFF_CHAIN;
    if (loads && d->busy) {
        diff_wait(f, d); /* the disk is slow */
        return;
    }
    /* Nothing came: once more from the start, as often as that is allowed. */
    uint64_t n = d->n;
    diff_stop(f, fd);
    if (fd->r.id == 0 && fd->dev == f->own) {
        if (!others_told(fd)) {
            feed_stub_drop(f, fd);
        }
        return;
    }
    (void)diff_start(f, h, n);
}

/* ---- what devices tell of our feeds ---- */

int own_told(struct feeds *f, struct txn *t, struct have *h, uint64_t n, uint64_t opened)
{
    struct feed *fd = h->feed;
    const struct rec_feed *r = &fd->r;
    bool known = h->n == n && r->id != 0;
    bool other = n == r->head && n > 0 && memcmp(h->id, r->head_id, WIRE_ID) != 0;
    if (h->closed != 0 || h->seat->answering > 0) {
        fd->conv->answer = f->answers = true;
    }
    if (fd->diff != NULL && fd->diff->have == h) {
        fd->diff->opened = opened;
        h->pending = n != fd->diff->n;
        h->pending_n = n;
        return 0;
    }
    /* After a fork, what a device has of the other version is settled once. */
    bool settled = known && (r->flags & FEED_FROZEN) != 0;
    /* More than it was known to have and was sent over this link: what it has may be of
     * before we were set back, and no word is true of ours until that is compared. */
    bool unproved = n < r->head && n > h->n && n >= h->next;
    bool compare = n > r->head || other || unproved || (h->frozen && n < r->head);
    if (compare && !settled && n > 0) {
        return diff_start(f, h, n);
    }
    if (r->id == 0) {
        return 0;
    }
    if (h->frozen && !settled) {
        int err = own_frozen(f, t, fd, n);
        if (err != 0) {
            return err;
        }
    }
    bool ours = h->on_branch || (n > 0 && n == r->head && !other);
    return have_told(f, t, h, n, opened, ours);
}

static int pending_one(struct feeds *f, struct txn *t, struct have *h)
{
    struct feed *fd = h->feed;
    uint64_t n = h->pending_n;
    h->pending = false;
    if (!h->seat->dev->up) {
        return 0; /* it tells again */
    }
    if (fd->dev == f->own) {
        return own_told(f, t, h, n, have_opened(h));
    }
    bool other = n == fd->r.head && memcmp(h->id, fd->r.head_id, WIRE_ID) != 0;
    return other ? diff_start(f, h, n) : 0;
}

int pending_run(struct feeds *f, struct txn *t)
{
    int err = 0;
    f->pending = false;
    for (size_t i = 0; i < f->n_convs; i++) {
        struct conv *c = f->convs[i];
        for (size_t j = 0; j < c->n_feeds; j++) {
            struct feed *fd = c->feeds[j];
            for (size_t k = 0; k < fd->n_haves && err == 0 && fd->diff == NULL; k++) {
                struct have *h = fd->haves[k];
                err = h != NULL && h->pending ? pending_one(f, t, h) : 0;
            }
        }
    }
    return err;
}
