/* What front ends see of files: phases, rates, what is left; who is told of progress. */
#include <string.h>

#include "xfer_priv.h"

enum {
    RATE_OLD = 3,
    RATE_NEW = 1
}; /* weights of the rate before and of the last second */

/* ---- rates ---- */

void rate_tick(struct xfer *x, struct file *f)
{
    if (f->rate_at_ms + XFER_RATE_MS <= x->now_ms) {
        uint64_t ms = x->now_ms - f->rate_at_ms;
        uint64_t last = (f->bytes - f->bytes_before) * 1000 / ms;
        bool idle = f->bytes == f->bytes_before;
        last = ms > 2 * XFER_RATE_MS ? 0 : last; /* it has only begun to move */
        f->rate = f->rate == 0 || idle
                      ? last
                      : (RATE_OLD * f->rate + RATE_NEW * last) / (RATE_OLD + RATE_NEW);
        f->tell = f->tell || !idle;
        f->bytes_before = f->bytes;
        f->rate_at_ms = x->now_ms;
    }
    if (f->tell && f->tell_ms <= x->now_ms) {
        struct xev *e = ev_new(x, XFER_EV_TELL);
        if (e != NULL) {
            e->e.file = f->r.id;
        }
        f->tell = false;
        f->tell_ms = x->now_ms + XFER_TELL_MS;
    }
}

uint64_t rate_deadline(const struct file *f)
{
    bool moves = f->bytes != f->bytes_before || f->rate > 0;
    uint64_t next = moves ? f->rate_at_ms + XFER_RATE_MS : XFER_NEVER;
    return f->tell && f->tell_ms < next ? f->tell_ms : next;
}

/* ---- one file ---- */

static bool linked(const struct xfer *x, const struct file *f)
{
    for (const struct xpeer *p = x->peers; p != NULL; p = p->next) {
        if (conv_has_contact(f->conv, p->contact)) {
            return true;
        }
    }
    return false;
}

/* Why nothing comes although somebody is there; NULL: something may come. */
static const char *held_by(const struct file *f)
{
    const struct source *s = f->get == NULL ? NULL : f->get->sources;
    const char *why = NULL;
    for (; s != NULL; s = s->next) {
        bool origin = s->peer->device == f->r.device;
        if (s->usable && !s->paused && !s->liar && !s->gone) {
            return NULL;
        }
        why = !origin                      ? why
              : s->word == FILE_WORD_STUCK ? "their disk does not give it"
              : s->paused                  ? "paused by the other side"
              : s->gone                    ? "the other side does not have it any more"
                                           : "what they sent did not fit";
    }
    return why;
}

static bool taken_by_linked(const struct xfer *x, const struct file *f, const char **why)
{
    bool any = false;
    *why = NULL;
    for (const struct xpeer *p = x->peers; p != NULL; p = p->next) {
        for (size_t i = 0; i < f->n_takers; i++) {
            const struct taker *k = &f->takers[i];
            if (k->r.contact == p->contact && k->r.end == 0) {
                any = true;
                *why = k->held ? "paused by the other side, or its disk is full" : *why;
            }
        }
    }
    return any;
}

static enum xfer_phase phase_of(const struct xfer *x, const struct file *f,
                                const char **why)
{
    *why = NULL;
    if (file_ended(f)) {
        return XFER_PHASE_ENDED;
    }
    if (f->r.state == FILE_OFFERED) {
        return XFER_PHASE_OFFERED;
    }
    if ((f->r.flags & FILE_PAUSED) != 0) {
        *why = f->why[0] != '\0' ? f->why : NULL;
        return XFER_PHASE_PAUSED;
    }
    if (f->retry_ms != 0) {
        *why = f->why;
        return XFER_PHASE_STUCK;
    }
    if (!file_incoming(f) && f->n_takers == 0) {
        return XFER_PHASE_OFFERED;
    }
    if (!linked(x, f)) {
        return XFER_PHASE_WAITING;
    }
    if (file_incoming(f)) {
        *why = held_by(f);
    } else if (!taken_by_linked(x, f, why)) {
        return XFER_PHASE_WAITING;
    }
    return *why != NULL ? XFER_PHASE_HELD : XFER_PHASE_ACTIVE;
}

static uint64_t bytes_of(const struct file *f, uint64_t leaves)
{
    uint64_t n = leaves * HASHTREE_LEAF;
    return (f->r.flags & FILE_SIZED) != 0 && n > f->r.size ? f->r.size : n;
}

static uint64_t done_of(const struct file *f)
{
    uint64_t least = UINT64_MAX;
    if (f->r.state == FILE_DONE) {
        return f->r.size;
    }
    if (file_incoming(f)) {
        return bytes_of(f, f->n_have);
    }
    for (size_t i = 0; i < f->n_takers; i++) {
        least = f->takers[i].r.leaves < least ? f->takers[i].r.leaves : least;
    }
    return least == UINT64_MAX ? 0 : bytes_of(f, least);
}

static uint64_t prefix_of(const struct file *f)
{
    uint64_t i = 0;
    if (f->r.state == FILE_DONE) {
        return f->r.size;
    }
    while (i < f->n_bits && bit_get(f->bits, i)) {
        i++;
    }
    return bytes_of(f, i);
}

static void view(const struct xfer *x, const struct file *f, struct xfer_view *v)
{
    memset(v, 0, sizeof *v);
    v->r = &f->r;
    v->phase = phase_of(x, f, &v->why);
    v->done = done_of(f);
    v->prefix = file_incoming(f) ? prefix_of(f) : 0;
    uint64_t rate = v->phase == XFER_PHASE_ACTIVE ? f->rate : 0;
    *(file_incoming(f) ? &v->rate_down : &v->rate_up) = rate;
    v->eta_s = UINT64_MAX;
    if (rate > 0 && (f->r.flags & FILE_SIZED) != 0 && f->r.size >= v->done) {
        v->eta_s = (f->r.size - v->done) / rate;
    }
    for (size_t i = 0; f->conv->n == 2 && i < 2; i++) {
        v->contact = f->conv->v[i].contact != 0 ? f->conv->v[i].contact : v->contact;
    }
    v->resent = f->resent;
    v->received = f->received;
}

bool xfer_next(const struct xfer *x, uint32_t after, struct xfer_view *v)
{
    const struct file *f = x->files;
    while (f != NULL && f->r.id <= after) {
        f = f->next;
    }
    if (f == NULL) {
        return false;
    }
    view(x, f, v);
    return true;
}

bool xfer_get(const struct xfer *x, uint32_t id, struct xfer_view *v)
{
    const struct file *f = file_by_id(x, id);
    if (f != NULL) {
        view(x, f, v);
    }
    return f != NULL;
}

bool xfer_peer(const struct xfer *x, uint32_t id, size_t k, struct rec_file_peer *out)
{
    const struct file *f = file_by_id(x, id);
    if (f == NULL || k >= f->n_takers) {
        return false;
    }
    *out = f->takers[k].r;
    return true;
}
