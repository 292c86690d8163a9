/* Moving entries: asking others for what we lack, giving them what they ask for, and
 * pushing our own feeds to whoever is linked.
 *
 * A `have` holds what is being sent to its device of its feed: entries next..to. For our
 * own feeds `to` is without end while the device is linked, so that they follow the head:
 * a new entry goes out of append() itself when all before it has, without the disk. All
 * else is read back in pieces that fit what the link takes now. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "feed_priv.h"

/* ---- loads ---- */

bool load_add(struct feeds *f, enum load_kind kind, struct feed *fd, struct have *h,
              uint64_t from, uint64_t to, size_t max_bytes)
{
    struct load *l = NULL;
    for (size_t i = 0; l == NULL && i < FEED_PRIV_LOADS; i++) {
        l = f->loads[i].kind == LOAD_FREE ? &f->loads[i] : NULL;
    }
    struct ev_item *ev = l == NULL ? NULL : ev_add(f, FEEDS_EV_LOAD);
    if (ev == NULL) {
        f->starved = true;
        return false;
    }
    *l = (struct load){
        .kind = kind, .request = ++f->next_request, .feed = fd, .have = h, .from = from};
    ev->e.request = l->request;
    ev->e.feed = fd->r.id;
    ev->e.from = from;
    ev->e.to = to;
    ev->e.max = FEEDS_LOAD_ENTRIES;
    ev->e.max_bytes = max_bytes;
    return true;
}

void loads_kill(struct feeds *f, const struct have *h, const struct feed *fd,
                enum load_kind kind)
{
    for (size_t i = 0; i < FEED_PRIV_LOADS; i++) {
        struct load *l = &f->loads[i];
        if (l->kind != LOAD_FREE && (h == NULL || l->have == h) &&
            (fd == NULL || l->feed == fd) && (kind == LOAD_FREE || l->kind == kind)) {
            l->dead = true;
        }
    }
}

/* ---- giving ---- */

/* The last entry there is to send. */
static uint64_t send_end(const struct have *h)
{
    return h->to < h->feed->r.head ? h->to : h->feed->r.head;
}

static void work_add(struct dev *d, struct have *h)
{
    if (h->in_work) {
        return;
    }
    h->in_work = true;
    h->work_next = NULL;
    if (d->work_end != NULL) {
        d->work_end->work_next = h;
    } else {
        d->work = h;
    }
    d->work_end = h;
}

static struct have *work_take(struct dev *d)
{
    struct have *h = d->work;
    d->work = h->work_next;
    if (d->work == NULL) {
        d->work_end = NULL;
    }
    h->in_work = false;
    return h;
}

void send_stop(struct have *h)
{
    struct dev *d = h->seat->dev;
    h->next = h->to = 0;
    h->verify = false;
    if (!h->in_work) {
        return;
    }
    struct have *prev = NULL;
    for (struct have *w = d->work; w != h; w = w->work_next) {
        prev = w;
    }
    if (prev != NULL) {
        prev->work_next = h->work_next;
    } else {
        d->work = h->work_next;
    }
    if (d->work_end == h) {
        d->work_end = prev;
    }
    h->in_work = false;
}

void send_from(struct feeds *f, struct have *h, uint64_t next, uint64_t to)
{
    h->next = next;
    h->to = to;
    /* Of our own feed: what it says to be its head must be an entry of ours. */
    h->verify =
        to == UINT64_MAX && next > 1 && next <= h->feed->r.head && next == h->n + 1;
    if (h->next <= send_end(h)) {
        work_add(h->seat->dev, h);
        dev_pump(f, h->seat->dev);
    }
}

void send_wake(struct feeds *f, struct have *h)
{
    if (h->next != 0 && h->next <= send_end(h)) {
        work_add(h->seat->dev, h);
        dev_pump(f, h->seat->dev);
    }
}

/* The bytes that an entry may take of a link's room. */
enum { ENTRY_ROOM = WIRE_ENTRY_MAX + WIRE_FRAME_HEAD };

void dev_pump(struct feeds *f, struct dev *d)
{
    /* Each turn either starts a load or takes a finished one out of the list. */
    while (d->up && d->work != NULL && d->loads < FEED_PRIV_LOADS_DEV &&
           d->room >= ENTRY_ROOM) {
        struct have *h = work_take(d);
        uint64_t end = send_end(h);
        if (h->loading || h->next == 0 || h->next > end) {
            continue; /* a load that comes back puts it here again */
        }
        size_t bytes = d->room < FEEDS_LOAD_BYTES ? d->room : FEEDS_LOAD_BYTES;
        uint64_t from = h->verify ? h->next - 1 : h->next;
        h->loading = load_add(f, LOAD_SEND, h->feed, h, from, end, bytes);
        if (!h->loading) {
            work_add(d, h);
            return;
        }
        d->loads++;
    }
}

void feeds_room(struct feeds *f, uint32_t device, size_t bytes, uint64_t now_ms)
{
    struct dev *d = dev_by_ref(f, device);
    f->now_ms = now_ms;
    if (d != NULL && d->up) {
        d->room = bytes;
        dev_pump(f, d);
    }
}

/* Hands out one entry; false when the link does not take it now. */
static bool send_entry(struct feeds *f, struct have *h, const struct wire_entry *w,
                       uint64_t seq, int *err)
{
    struct dev *d = h->seat->dev;
    struct wr frame = wr_init(f->frame, sizeof f->frame);
    wire_entry_put(&frame, w);
    if (!wr_ok(&frame) || frame.len + WIRE_FRAME_HEAD > d->room) {
        return false;
    }
    const struct feed *own = feed_is_mine(h->feed) ? h->feed : NULL;
    *err = out_add(f, d, LINK_CHAT, FRAME_ENTRY, &frame, own, seq);
    if (*err != 0) {
        return false;
    }
    d->room -= frame.len + WIRE_FRAME_HEAD;
    h->next = seq + 1;
    return true;
}

int push_live(struct feeds *f, struct feed *fd, uint64_t seq, const struct wire_entry *w)
{
    int err = 0;
    for (size_t i = 0; err == 0 && i < fd->conv->n_seats; i++) {
        struct seat *s = fd->conv->seats[i];
        struct have *h = have_peek(s, fd);
        if (!s->dev->up || h == NULL || h->next == 0 || h->next > seq) {
            continue;
        }
        if (h->next == seq && !h->loading && !h->verify &&
            send_entry(f, h, w, seq, &err)) {
            continue;
        }
        work_add(s->dev, h);
        dev_pump(f, s->dev);
    }
    return err;
}

/* Before the first one is sent: what the peer says is its head must be an entry of ours,
 * or our feed was another one once (we were set back). */
static bool sends_on(struct have *h, const struct entry *e)
{
    if (!h->verify || e->h.seq + 1 != h->next) {
        return true;
    }
    h->verify = false;
    /* What was told since is judged where it is told (own_told). */
    return h->id_n != e->h.seq || memcmp(e->id, h->id, sizeof h->id) == 0;
}

static int send_loaded(struct feeds *f, struct have *h, const struct rec_entry *v,
                       size_t n)
{
    struct dev *d = h->seat->dev;
    struct entry e;
    int err = 0;
    d->loads--;
    h->loading = false;
    if (n == 0) {
        /* Not there yet, or the disk failed: with the next room, or the next link. */
        timer_set(f, &h->feed->want_timer, TIMER_WANT, h->feed,
                  f->now_ms + FEED_PRIV_RETRY_MS);
    }
    for (size_t i = 0; i < n && h->next != 0; i++) {
        if (!entry_from_rec(&v[i], &e)) {
            send_stop(h);
            break;
        }
        if (!sends_on(h, &e)) {
            uint64_t head = h->next - 1;
            send_stop(h);
            /* After a fork that is known it has another version, and was compared. */
            bool known = (h->feed->r.flags & FEED_FROZEN) != 0;
            return known ? 0 : diff_start(f, h, head);
        }
        if (e.h.seq != h->next || e.h.seq > h->to) {
            continue;
        }
        if (!send_entry(f, h, &e.w, e.h.seq, &err)) {
            break;
        }
    }
    if (err == 0 && n > 0 && h->next != 0 && h->next <= send_end(h)) {
        work_add(d, h);
    }
    dev_pump(f, d);
    return err;
}

/* Work that found no free load. */
static void unstarve(struct feeds *f)
{
    if (!f->starved) {
        return;
    }
    f->starved = false;
    for (size_t i = 0; i < f->n_convs; i++) {
        struct conv *c = f->convs[i];
        repeat_run(f, c);
        for (size_t j = 0; j < c->n_feeds; j++) {
            if (c->feeds[j]->lag != NULL) {
                lag_pump(f, c->feeds[j]);
            }
        }
    }
    for (size_t i = 0; i < f->n_devs; i++) {
        dev_pump(f, f->devs[i]);
    }
}

static int load_done(struct feeds *f, struct txn *t, const struct load *l,
                     const struct rec_entry *v, size_t n)
{
    switch (l->kind) {
    case LOAD_SEND:
        return send_loaded(f, l->have, v, n);
    case LOAD_LAG:
        return lag_loaded(f, t, l->feed, v, n);
    case LOAD_DIFF:
    case LOAD_DIFF_CHAIN:
        return diff_loaded(f, t, l->feed, l->kind, v, n);
    case LOAD_REPEAT:
        return repeat_loaded(f, t, l->feed->conv, v, n);
    case LOAD_FREE:
        break;
    }
    return 0;
}

int feeds_loaded(struct feeds *f, struct txn *t, uint64_t request,
                 const struct rec_entry *v, size_t n, uint64_t now_ms)
{
    f->now_ms = now_ms;
    for (size_t i = 0; i < FEED_PRIV_LOADS; i++) {
        struct load l = f->loads[i];
        if (l.kind == LOAD_FREE || l.request != request) {
            continue;
        }
        f->loads[i].kind = LOAD_FREE;
        int err = 0;
        if (!l.dead) {
            err = load_done(f, t, &l, v, n);
        }
        unstarve(f);
        return err == 0 ? feeds_end(f, t) : err;
    }
    return 0;
}

/* ---- asking ---- */

int want_send(struct feeds *f, struct seat *s, const struct feed *fd, uint64_t from,
              uint64_t to)
{
    struct wire_want v = {.from = from, .to = to};
    memcpy(v.conv, fd->conv->r.cid, sizeof v.conv);
    memcpy(v.device, fd->dev->id, sizeof v.device);
    memcpy(v.gen, fd->r.gen, sizeof v.gen);
    struct wr w = wr_init(f->frame, sizeof f->frame);
    wire_want_put(&w, &v);
    return out_add(f, s->dev, LINK_CONTROL, FRAME_WANT, &w, NULL, 0);
}

/* The next linked device that has more of the feed than we, after the one in place
 * `after`; the author first when there is no such. */
static struct have *want_whom(const struct feed *fd, const struct dev *after)
{
    const struct conv *c = fd->conv;
    size_t start = 0;
    for (size_t i = 0; i < c->n_seats; i++) {
        struct have *h = have_peek(c->seats[i], fd);
        bool more = c->seats[i]->dev->up && h != NULL && h->n > fd->r.head;
        if (more && after == NULL && c->seats[i]->dev == fd->dev) {
            return h;
        }
        start = c->seats[i]->dev == after ? i + 1 : start;
    }
    for (size_t i = 0; i < c->n_seats; i++) {
        const struct seat *s = c->seats[(start + i) % c->n_seats];
        struct have *h = have_peek(s, fd);
        if (s->dev->up && h != NULL && h->n > fd->r.head) {
            return h;
        }
    }
    return NULL;
}

/* Asks one device, or waits for the author, who sends unasked. */
static void want_ask(struct feeds *f, struct feed *fd, struct have *h, bool author_too)
{
    fd->want_from = h->seat->dev;
    fd->want_to = h->n;
    fd->want_head = fd->r.head;
    timer_set(f, &fd->want_timer, TIMER_WANT, fd, f->now_ms + FEEDS_WANT_WAIT_MS);
    if (h->seat->dev != fd->dev || author_too) {
        (void)want_send(f, h->seat, fd, fd->r.head + 1, h->n);
    }
}

void feed_want(struct feeds *f, struct feed *fd)
{
    bool judging = fd->lag != NULL && fd->lag->acc.seq < fd->r.head;
    if (feed_is_mine(fd) || (fd->r.flags & FEED_FROZEN) != 0 || judging ||
        fd->diff != NULL || !fd->dev->known) {
        return;
    }
    if (fd->want_from != NULL && fd->want_from->up && fd->r.head < fd->want_to) {
        return;
    }
    fd->want_from = NULL;
    struct have *h = want_whom(fd, NULL);
    if (h != NULL) {
        want_ask(f, fd, h, false);
    }
}

void want_timer(struct feeds *f, struct feed *fd)
{
    for (size_t i = 0; i < fd->n_haves; i++) {
        struct have *h = fd->haves[i];
        if (h != NULL && h->next != 0 && h->next <= send_end(h) && h->seat->dev->up) {
            work_add(h->seat->dev, h);
            dev_pump(f, h->seat->dev);
        }
    }
    if (fd->want_from == NULL) {
        return;
    }
    if (fd->r.head > fd->want_head && fd->want_from->up) {
        fd->want_head = fd->r.head; /* it is coming */
        timer_set(f, &fd->want_timer, TIMER_WANT, fd, f->now_ms + FEEDS_WANT_WAIT_MS);
        return;
    }
    struct dev *last = fd->want_from;
    fd->want_from = NULL;
    struct have *h = want_whom(fd, last);
    if (h != NULL && !(fd->lag != NULL && fd->lag->acc.seq < fd->r.head)) {
        want_ask(f, fd, h, true);
    } else if (h != NULL) {
        feed_want(f, fd);
    }
}

int want_recv(struct feeds *f, struct dev *d, const uint8_t *p, size_t len)
{
    struct wire_want v;
    if (!wire_want_get(p, len, &v)) {
        return ERR_FORMAT;
    }
    struct conv *c = conv_by_cid(f, v.conv);
    struct seat *s = c == NULL ? NULL : seat_of(c, d);
    struct dev *author = dev_by_id(f, v.device);
    struct feed *fd = s == NULL || author == NULL ? NULL : feed_find(f, c, author, v.gen);
    if (fd == NULL || fd->r.id == 0 || v.from > fd->r.head) {
        return 0;
    }
    struct have *h = have_get(s, fd);
    if (h == NULL) {
        return ERR_NOMEM;
    }
    /* Our own feeds go on after that, which was verified when it told what it has; a peer
     * asks for one place in a feed at a time. */
    send_from(f, h, v.from, feed_is_mine(fd) && s->synced ? UINT64_MAX : v.to);
    return 0;
}
