/* Repeating messages of ours in the feed we append to, under their own ids: those of a
 * generation that forked, and those that a device could not open.
 *
 * Our entries are read back from the disk and opened like anybody's, through the copies
 * in `keys` entries that are sealed to our own device. One job of a conversation runs at
 * a time. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "feed_priv.h"

int repeat_add(struct feeds *f, struct feed *fd, uint64_t from, uint64_t to,
               struct have *answer, struct diff *then)
{
    struct conv *c = fd->conv;
    struct repeat *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return ERR_NOMEM;
    }
    r->feed = fd;
    r->from = from;
    r->to = to;
    r->answer = answer;
    r->then = then;
    map_init(&r->mids, f->self.env, WIRE_MID, FEED_PRIV_MIDS);
    if (c->repeats_end != NULL) {
        c->repeats_end->next = r;
    } else {
        c->repeats = r;
    }
    c->repeats_end = r;
    repeat_run(f, c);
    return 0;
}

void repeat_free(struct feeds *f, struct repeat *r)
{
    deadlines_remove(&f->timers, &r->timer.d);
    map_release(&r->mids);
    sodium_memzero(r, sizeof *r);
    free(r);
}

void repeat_run(struct feeds *f, struct conv *c)
{
    struct repeat *r = c->repeats;
    if (r == NULL || r->loading) {
        return;
    }
    /* First the entry `from` itself, which names the start of its chain. */
    uint64_t from = r->started ? r->at.seq + 1 : r->from;
    r->loading = load_add(f, LOAD_REPEAT, r->feed, NULL, from, r->started ? r->to : from,
                          FEEDS_LOAD_BYTES);
}

/* The first job is over; the next one starts. */
static int repeat_end(struct feeds *f, struct txn *t, struct conv *c, bool done)
{
    struct repeat *r = c->repeats;
    struct feed *fd = NULL;
    int err = 0;
    c->repeats = r->next;
    c->repeats_end = c->repeats == NULL ? NULL : c->repeats_end;
    if (r->answer != NULL) {
        r->answer->answering = false;
        if (done) {
            err = conv_own_feed(f, t, c, &fd);
            if (err == 0 && !chain_fit(f, c, fd)) {
                err = conv_append_keys(f, t, c, fd);
            }
        }
        if (done && err == 0) {
            r->answer->answer_upto = r->to;
            r->answer->answer_feed = fd;
            r->answer->answer_seq = fd->r.head;
            r->answer->seat->answering++;
        }
        err = err == ERR_LIMIT ? 0 : err;
    }
    if (r->then != NULL && err == 0) {
        err = diff_repeated(f, t, r->then, done);
    }
    repeat_free(f, r);
    repeat_run(f, c);
    return err;
}

static int repeat_entry(struct feeds *f, struct txn *t, struct repeat *r,
                        const struct entry *e)
{
    size_t body_len = 0;
    int err = 0;
    bool keys = e->h.chain == e->h.seq;
    if (keys) {
        r->addressed = r->answer == NULL || keys_box_has(e, r->answer->seat->dev->id);
    }
    enum judged how = entry_judge(f, r->feed, &r->at, e, &body_len);
    if (how == JUDGED_EMPTY) {
        return 0; /* taken back by a redaction, which is repeated itself */
    }
    if (how != JUDGED_OK) { /* the box key is gone: not ours to repeat any more */
        r->at.has_chain = false;
        r->at.chain_start = e->h.chain;
        r->at.seq = e->h.seq;
    } else if (e->h.seq >= r->from && r->addressed && body_len > 0) {
        err = talk_repeat(f, t, r->feed->conv, e, body_len, &r->mids);
    }
    sodium_memzero(f->body, body_len);
    return err;
}

int repeat_loaded(struct feeds *f, struct txn *t, struct conv *c,
                  const struct rec_entry *v, size_t n)
{
    struct repeat *r = c->repeats;
    struct entry e;
    int err = 0;
    r->loading = false;
    if (n == 0) {
        if (r->retries++ >= FEED_PRIV_RETRIES) {
            return repeat_end(f, t, c, false);
        }
        timer_set(f, &r->timer, TIMER_REPEAT, c, f->now_ms + FEED_PRIV_RETRY_MS);
        return 0;
    }
    r->retries = 0;
    if (!r->started) {
        if (!entry_from_rec(&v[0], &e)) {
            return repeat_end(f, t, c, false);
        }
        r->started = true;
        r->at.seq = e.h.chain - 1;
        repeat_run(f, c);
        return 0;
    }
    for (size_t i = 0; err == 0 && i < n && r->at.seq < r->to; i++) {
        if (!entry_from_rec(&v[i], &e) || e.h.seq != r->at.seq + 1) {
            return repeat_end(f, t, c, false);
        }
        err = repeat_entry(f, t, r, &e);
    }
    if (err == ERR_LIMIT) { /* our generations are used up */
        return repeat_end(f, t, c, false);
    }
    if (err == 0 && r->at.seq >= r->to) {
        return repeat_end(f, t, c, true);
    }
    repeat_run(f, c);
    return err;
}

/* ---- answers to `closed` ---- */

uint64_t answer_told(const struct have *h)
{
    if (h->closed == 0 || h->answer_upto == 0) {
        return 0;
    }
    const struct have *there = have_peek(h->seat, h->answer_feed);
    return there != NULL && there->told_opened >= h->answer_seq ? h->answer_upto : 0;
}

static uint64_t box_mark(const struct dev *d)
{
    uint64_t v;
    memcpy(&v, d->box, sizeof v);
    return v;
}

/* True when what the device cannot open was sealed to the very box key that we would
 * seal to now: it has to tell another one first. */
static bool answer_hopeless(const struct feeds *f, const struct have *h)
{
    const struct conv *c = h->seat->conv;
    const struct have *there = c->own == NULL ? NULL : have_peek(h->seat, c->own);
    return there != NULL && chain_fit(f, c, c->own) &&
           there->n >= c->own->r.chain_start &&
           there->told_opened < c->own->r.chain_start;
}

static int answer_one(struct feeds *f, struct have *h)
{
    struct dev *d = h->seat->dev;
    if (h->closed == 0) {
        if (h->answer_upto != 0) {
            h->answer_upto = 0;
            h->seat->answering--;
        }
        return 0;
    }
    if (answer_told(h) != 0) {
        feed_dirty(f, h->feed);
        return 0;
    }
    if (h->answering || !d->known || h->answered == box_mark(d) ||
        h->feed->diff != NULL || h->feed->r.id == 0 || answer_hopeless(f, h)) {
        return 0;
    }
    if (h->answer_upto != 0) {
        h->answer_upto = 0;
        h->seat->answering--;
    }
    h->answered = box_mark(d);
    h->answering = true;
    return repeat_add(f, h->feed, h->closed, h->feed->r.head, h, NULL);
}

int answers_run(struct feeds *f, struct txn *t)
{
    int err = 0;
    (void)t;
    f->answers = false;
    for (size_t i = 0; err == 0 && i < f->n_convs; i++) {
        struct conv *c = f->convs[i];
        for (size_t j = 0; c->answer && err == 0 && j < c->n_feeds; j++) {
            struct feed *fd = c->feeds[j];
            for (size_t k = 0; feed_is_mine(fd) && err == 0 && k < fd->n_haves; k++) {
                err = fd->haves[k] == NULL ? 0 : answer_one(f, fd->haves[k]);
            }
        }
        c->answer = false;
    }
    return err;
}
