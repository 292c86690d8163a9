/* The verbs of the module: frames in, ticks, outputs and events out. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "feed_priv.h"

/* ---- queues ---- */

int out_add(struct feeds *f, struct dev *d, enum link_class cls, enum frame_type type,
            const struct wr *w, const struct feed *fd, uint64_t seq)
{
    if (w->bad) {
        return ERR_LIMIT;
    }
    if (f->out_at + f->out_n == f->out_cap) {
        if (f->out_at > f->out_n) {
            memmove(f->outs, f->outs + f->out_at, f->out_n * sizeof *f->outs);
        } else {
            size_t cap = f->out_cap == 0 ? 64 : f->out_cap * 2;
            struct out_item *v = realloc(f->outs, cap * sizeof *v);
            if (v == NULL) {
                return ERR_NOMEM;
            }
            f->outs = v;
            f->out_cap = cap;
            memmove(f->outs, f->outs + f->out_at, f->out_n * sizeof *f->outs);
        }
        f->out_at = 0;
    }
    uint8_t *bytes = malloc(w->len + 1);
    if (bytes == NULL) {
        return ERR_NOMEM;
    }
    memcpy(bytes, w->p, w->len);
    f->outs[f->out_at + f->out_n++] =
        (struct out_item){.o = {.device = d->ref,
                                .cls = cls,
                                .type = type,
                                .payload = bytes,
                                .len = w->len,
                                .feed = fd == NULL ? 0 : fd->r.id,
                                .seq = seq},
                          .bytes = bytes};
    return 0;
}

bool feeds_next_out(struct feeds *f, struct feeds_out *out)
{
    free(f->out_last);
    f->out_last = NULL;
    repl_flush(f);
    while (f->out_n > 0) {
        struct out_item *i = &f->outs[f->out_at];
        f->out_last = i->bytes;
        *out = i->o;
        f->out_at = --f->out_n == 0 ? 0 : f->out_at + 1;
        const struct dev *d = dev_by_ref(f, out->device);
        if (d->up) {
            return true;
        }
        free(f->out_last); /* made for a link that has ended since */
        f->out_last = NULL;
    }
    return false;
}

struct ev_item *ev_add(struct feeds *f, enum feeds_event_kind kind)
{
    if (f->ev_at + f->ev_n == f->ev_cap) {
        size_t cap = f->ev_cap == 0 ? 16 : f->ev_cap * 2;
        struct ev_item **v = calloc(cap, sizeof(struct ev_item *));
        if (v == NULL) {
            return NULL;
        }
        if (f->ev_n > 0) {
            memcpy(v, f->evs + f->ev_at, f->ev_n * sizeof *v);
        }
        free(f->evs);
        f->evs = v;
        f->ev_at = 0;
        f->ev_cap = cap;
    }
    struct ev_item *ev = calloc(1, sizeof *ev);
    if (ev != NULL) {
        ev->e.kind = kind;
        f->evs[f->ev_at + f->ev_n++] = ev;
    }
    return ev;
}

bool feeds_next_event(struct feeds *f, struct feeds_event *ev)
{
    free(f->ev_last);
    f->ev_last = NULL;
    repl_flush(f);
    if (f->ev_n > 0) {
        f->ev_last = f->evs[f->ev_at];
        f->ev_at = --f->ev_n == 0 ? 0 : f->ev_at + 1;
        *ev = f->ev_last->e;
        return true;
    }
    /* Waits come last, as they stand now. */
    while (f->waits != NULL) {
        struct dev *d = f->waits;
        f->waits = d->waits_next;
        d->waits_queued = false;
        bool waits = d->known && d->lacking > 0;
        if (waits != d->waits_told) {
            d->waits_told = waits;
            *ev = (struct feeds_event){
                .kind = FEEDS_EV_WAITS, .device = d->ref, .waits = waits};
            return true;
        }
    }
    return false;
}

/* ---- time ---- */

void timer_set(struct feeds *f, struct timer *tm, enum timer_kind kind, void *obj,
               uint64_t at_ms)
{
    tm->kind = kind;
    tm->obj = obj;
    tm->d.owner = tm;
    /* The heap holds the timers of all feeds there can be; without memory for it the
     * timer is lost, and the next link does what it was for. */
    (void)deadlines_set(&f->timers, &tm->d, at_ms);
}

static int timer_fire(struct feeds *f, struct txn *t, const struct timer *tm)
{
    switch (tm->kind) {
    case TIMER_WANT:
        want_timer(f, tm->obj);
        break;
    case TIMER_LAG:
        lag_timer(f, tm->obj);
        break;
    case TIMER_SENT:
        return feeds_end(f, t);
    case TIMER_DIFF:
        diff_timer(f, tm->obj);
        break;
    case TIMER_REPEAT:
        repeat_run(f, tm->obj);
        break;
    }
    return 0;
}

void feeds_tick(struct feeds *f, struct txn *t, uint64_t now_ms)
{
    struct deadline *d;
    f->now_ms = now_ms;
    while ((d = deadlines_pop(&f->timers, now_ms)) != NULL) {
        (void)timer_fire(f, t, d->owner);
    }
    (void)feeds_end(f, t);
}

uint64_t feeds_deadline(const struct feeds *f)
{
    return f->answers || f->pending ? f->now_ms : deadlines_next(&f->timers);
}

/* ---- sent ---- */

void feeds_handed(struct feeds *f, uint32_t feed, uint64_t seq)
{
    struct feed *fd = feed < f->n_feeds ? f->feeds[feed] : NULL;
    if (fd == NULL || seq <= fd->sent) {
        return;
    }
    fd->sent = seq;
    if (!fd->sent_queued) {
        fd->sent_queued = true;
        fd->sent_next = f->sent;
        f->sent = fd;
        if (fd->sent_next == NULL) {
            timer_set(f, &f->sent_timer, TIMER_SENT, f, f->now_ms + FEED_PRIV_SENT_MS);
        }
    }
}

static int sent_flush(struct feeds *f, struct txn *t)
{
    int err = 0;
    while (f->sent != NULL && err == 0) {
        struct feed *fd = f->sent;
        uint64_t said = fd->sent_said > fd->stored ? fd->sent_said : fd->stored;
        f->sent = fd->sent_next;
        fd->sent_queued = false;
        fd->sent_said = fd->sent;
        if (fd->sent > said) {
            struct rec r = {.kind = REC_STATE,
                            .u.state = {.feed = fd->r.id,
                                        .from = said + 1,
                                        .to = fd->sent,
                                        .state = STATE_SENT}};
            err = txn_add(t, &r);
        }
    }
    deadlines_remove(&f->timers, &f->sent_timer.d);
    return err;
}

/* ---- frames ---- */

/* A chain was sealed to a key that we do not have any more: we were set back to before
 * it was made. A new one, once in this run, lets others reach us again. */
static int box_renew(struct feeds *f, struct txn *t)
{
    f->box_lost = false;
    if (f->box_renewed) {
        return 0;
    }
    f->box_renewed = true;
    int err = box_new(f, t, env_wall_ms(f->self.env) / 1000);
    return err != 0 || ev_add(f, FEEDS_EV_ANNOUNCE) != NULL ? err : ERR_NOMEM;
}

int feeds_end(struct feeds *f, struct txn *t)
{
    int err = f->box_lost ? box_renew(f, t) : 0;
    if (err == 0 && f->pending) {
        err = pending_run(f, t);
    }
    if (err == 0 && f->answers) {
        err = answers_run(f, t);
    }
    if (err == 0 && f->sent != NULL) {
        err = sent_flush(f, t);
    }
    return err == 0 ? rows_flush(f, t) : err;
}

int feeds_recv(struct feeds *f, struct txn *t, uint32_t device, uint8_t type,
               const uint8_t *payload, size_t len, uint64_t now_ms)
{
    struct dev *d = dev_by_ref(f, device);
    int err = 0;
    f->now_ms = now_ms;
    if (d == NULL || !d->up) {
        return 0;
    }
    switch (type) {
    case FRAME_DIGEST:
        err = digest_recv(f, t, d, payload, len);
        break;
    case FRAME_HAVE:
        err = have_recv(f, t, d, payload, len);
        break;
    case FRAME_WANT:
        err = want_recv(f, d, payload, len);
        break;
    case FRAME_ENTRY:
        err = entry_recv(f, t, d, payload, len);
        break;
    case FRAME_READ:
        err = read_recv(f, t, d, payload, len);
        break;
    default:
        break; /* of a later version */
    }
    int end = feeds_end(f, t);
    return err != 0 ? err : end;
}
