/* What devices have, and telling it: digests when a link starts, HAVE where they differ
 * and for every change after that; the words of our messages that follow from it, and
 * for whom something waits.
 *
 * At the start of a link both sides send a digest of each conversation they share. Equal:
 * both have the same. Else HAVE of all feeds goes out, the last part marked; who gets one
 * and has sent none over this link answers with its own (the digests may have crossed
 * with entries). A digest of zeros asks for one. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "crypto/kdf.h"
#include "feed_priv.h"

#define LABEL_DIGEST "linnet feeds digest v1"

/* ---- waits ---- */

void dev_waits(struct feeds *f, struct dev *d)
{
    if (!d->waits_queued) {
        d->waits_queued = true;
        d->waits_next = f->waits;
        f->waits = d;
    }
}

void have_lacks(struct feeds *f, struct have *h)
{
    const struct feed *fd = h->feed;
    struct dev *d = h->seat->dev;
    /* A forked generation cannot be completed: its messages come again in another. */
    bool lacks = fd->dev != d && fd->r.id != 0 && fd->r.head > h->n &&
                 (fd->r.flags & FEED_FROZEN) == 0 && !h->frozen;
    if (lacks != h->lacks) {
        h->lacks = lacks;
        d->lacking = lacks ? d->lacking + 1 : d->lacking - 1;
        dev_waits(f, d);
    }
}

/* ---- words ---- */

static int word(struct txn *t, const struct feed *fd, uint64_t *mark, uint64_t above,
                uint64_t to, uint8_t state)
{
    uint64_t from = (*mark > above ? *mark : above) + 1;
    if (to <= *mark) {
        return 0;
    }
    *mark = to;
    if (t == NULL || from > to) {
        return 0;
    }
    struct rec r = {
        .kind = REC_STATE,
        .u.state = {.feed = fd->r.id, .from = from, .to = to, .state = state}};
    return txn_add(t, &r);
}

/* How far the devices of other accounts are, each account by its best device. */
struct reach {
    uint64_t stored, delivered, read;
};

/* How much of what a device has counts: after a fork only who is known to have our
 * version has more than what stands before it. */
static uint64_t counts(const struct have *h, uint64_t n)
{
    uint64_t from = h->feed->r.closed_from;
    return from != 0 && !h->on_branch && n >= from ? from - 1 : n;
}

static void account_reach(const struct feed *fd, const struct account *a, struct reach *r)
{
    uint64_t opened = 0, read = 0;
    for (size_t i = 0; i < a->n_devs; i++) {
        const struct seat *s = seat_of(fd->conv, a->devs[i]);
        const struct have *h = s == NULL ? NULL : have_peek(s, fd);
        if (h != NULL) {
            uint64_t here = counts(h, h->opened);
            uint64_t both = h->read < here ? h->read : here;
            opened = here > opened ? here : opened;
            read = both > read ? both : read;
        }
    }
    r->delivered = opened < r->delivered ? opened : r->delivered;
    r->read = read < r->read ? read : r->read;
}

int feed_words(struct feeds *f, struct txn *t, struct feed *fd)
{
    const struct conv *c = fd->conv;
    struct reach r = {0, fd->r.head, fd->r.head};
    size_t accounts = 0;
    for (size_t i = 0; i < c->n_seats; i++) {
        const struct seat *s = c->seats[i];
        const struct have *h = have_peek(s, fd);
        uint64_t stored = h == NULL ? 0 : counts(h, h->n);
        r.stored = stored > r.stored ? stored : r.stored;
        if (s->dev->acc != f->own->acc && s->dev == s->dev->acc->devs[0]) {
            account_reach(fd, s->dev->acc, &r);
            accounts++;
        }
    }
    r.stored = r.stored < fd->r.head ? r.stored : fd->r.head;
    if ((accounts + 1) * WIRE_ID < c->r.members.n) {
        r.delivered = r.read = 0; /* members of whom no device is known */
    }
    int err = word(t, fd, &fd->read_all, 0, r.read, STATE_READ);
    if (err == 0) {
        err = word(t, fd, &fd->delivered, fd->read_all, r.delivered, STATE_DELIVERED);
    }
    if (err == 0) {
        err = word(t, fd, &fd->stored, fd->delivered, r.stored, STATE_STORED);
    }
    return err;
}

bool feeds_device_acked(const struct feeds *f, uint32_t contact)
{
    const struct conv *c = conv_by_id(f, feeds_conv_of(f, contact));
    if (c == NULL || c->device_feed == NULL) {
        return true;
    }
    for (size_t i = 0; i < c->n_seats; i++) {
        const struct have *h = have_peek(c->seats[i], c->device_feed);
        if (c->seats[i]->dev->acc->contact == contact && c->seats[i]->dev->known &&
            (h == NULL || h->opened < c->device_seq)) {
            return false;
        }
    }
    return true;
}

/* ---- digest ---- */

static int cmp_feed(const void *a, const void *b)
{
    const struct feed *x = *(const struct feed *const *)a;
    const struct feed *y = *(const struct feed *const *)b;
    int d = memcmp(x->dev->id, y->dev->id, WIRE_ID);
    return d != 0 ? d : memcmp(x->r.gen, y->r.gen, WIRE_GEN);
}

/* Whether others are told of the feed. */
static bool tellable(const struct feed *fd)
{
    return fd->r.id != 0 && fd->r.head > 0 && fd->dev->acc != NULL;
}

static bool conv_digest(const struct conv *c, uint8_t out[32])
{
    enum { ITEM = WIRE_ID + WIRE_GEN + 8 + WIRE_ID + 8 + 8 + 1 };
    struct feed **v = calloc(c->n_feeds + 1, sizeof(struct feed *));
    uint8_t *bytes = malloc(c->n_feeds * ITEM + 1);
    size_t n = 0;
    if (v == NULL || bytes == NULL) {
        free(v);
        free(bytes);
        return false;
    }
    for (size_t i = 0; i < c->n_feeds; i++) {
        if (tellable(c->feeds[i])) {
            v[n++] = c->feeds[i];
        }
    }
    qsort(v, n, sizeof v[0], cmp_feed);
    struct wr w = wr_init(bytes, n * ITEM);
    for (size_t i = 0; i < n; i++) {
        const struct rec_feed *r = &v[i]->r;
        wr_bytes(&w, v[i]->dev->id, WIRE_ID);
        wr_bytes(&w, r->gen, WIRE_GEN);
        wr_u64(&w, r->head);
        wr_bytes(&w, r->head_id, WIRE_ID);
        wr_u64(&w, r->opened);
        wr_u64(&w, feed_is_mine(v[i]) ? 0 : r->closed_from);
        wr_u8(&w, (r->flags & FEED_FROZEN) != 0);
    }
    kdf_hash(out, 32, NULL, LABEL_DIGEST, c->r.cid, (size_t)WIRE_ID, bytes, w.len, NULL);
    free(v);
    free(bytes);
    return true;
}

static int digest_flush(struct feeds *f, struct dev *d, size_t n)
{
    struct wr w = wr_init(f->frame, sizeof f->frame);
    wire_digest_put(&w, f->digest_buf, n);
    return out_add(f, d, LINK_CONTROL, FRAME_DIGEST, &w, NULL, 0);
}

/* Asks everybody linked for what they have of a conversation that is new here. */
void conv_hello(struct feeds *f, struct conv *c)
{
    for (size_t i = 0; i < c->n_seats; i++) {
        if (c->seats[i]->dev->up) {
            memset(&f->digest_buf[0], 0, sizeof f->digest_buf[0]);
            memcpy(f->digest_buf[0].conv, c->r.cid, WIRE_ID);
            (void)digest_flush(f, c->seats[i]->dev, 1);
        }
    }
}

void feeds_peer_up(struct feeds *f, uint32_t device, uint64_t now_ms)
{
    struct dev *d = dev_by_ref(f, device);
    f->now_ms = now_ms;
    if (d == NULL || !d->known || d == f->own) {
        return;
    }
    if (d->up) {
        feeds_peer_down(f, device, now_ms);
    }
    d->up = true;
    d->room = LINK_INFLIGHT_MAX;
    d->loads = 0;
    size_t n = 0;
    for (size_t i = 0; i < d->n_seats; i++) {
        struct seat *s = d->seats[i];
        s->full_sent = s->synced = s->liar = false;
        s->full_no++;
        memcpy(f->digest_buf[n].conv, s->conv->r.cid, WIRE_ID);
        if (conv_digest(s->conv, f->digest_buf[n].hash)) {
            n++;
        }
        if (n == WIRE_DIGESTS_MAX) {
            (void)digest_flush(f, d, n);
            n = 0;
        }
    }
    if (n > 0) {
        (void)digest_flush(f, d, n);
    }
    for (size_t i = 0; i < d->n_seats; i++) {
        (void)read_send(f, d->seats[i]);
    }
}

static void seat_down(struct feeds *f, struct seat *s)
{
    struct conv *c = s->conv;
    s->synced = false;
    for (size_t i = c->n_feeds; i > 0; i--) {
        struct feed *fd = c->feeds[i - 1];
        struct have *h = have_peek(s, fd);
        if (h == NULL) {
            continue;
        }
        send_stop(h);
        h->loading = false;
        h->diffs = 0;
        loads_kill(f, h, NULL, LOAD_SEND);
        if (fd->diff != NULL) {
            diff_down(f, fd, s);
        }
        if (fd->r.id == 0) {
            h->n = 0;
            h->pending = false;
            bool claimed = fd->diff != NULL; /* being taken back from another */
            for (size_t j = 0; j < fd->n_haves; j++) {
                const struct have *o = fd->haves[j];
                claimed = claimed || (o != NULL && (o->n > 0 || o->pending));
            }
            if (!claimed) {
                feed_stub_drop(f, fd);
                continue;
            }
        }
        if (fd->want_from == s->dev) {
            fd->want_from = NULL;
            feed_want(f, fd);
        }
    }
}

void feeds_peer_down(struct feeds *f, uint32_t device, uint64_t now_ms)
{
    struct dev *d = dev_by_ref(f, device);
    f->now_ms = now_ms;
    if (d == NULL || !d->up) {
        return;
    }
    d->up = false;
    for (size_t i = 0; i < d->n_seats; i++) {
        seat_down(f, d->seats[i]);
    }
    d->loads = 0;
}

/* ---- have, out ---- */

static void fill_have(const struct feed *fd, const struct have *h,
                      struct wire_have_feed *v)
{
    const struct rec_feed *r = &fd->r;
    memset(v, 0, sizeof *v);
    memcpy(v->device, fd->dev->id, sizeof v->device);
    memcpy(v->gen, r->gen, sizeof v->gen);
    memcpy(v->id, r->head_id, sizeof v->id);
    v->n = r->head;
    v->opened = r->opened;
    v->frozen = (r->flags & FEED_FROZEN) != 0;
    v->closed = r->closed_from;
    if (feed_is_mine(fd)) {
        /* To the device that could not open: up to where all was repeated. */
        v->closed = h == NULL ? 0 : answer_told(h);
    }
}

static int send_have(struct feeds *f, struct seat *s, size_t n, bool end)
{
    struct wire_have v = {.full_end = end, .feeds = f->have_buf, .n_feeds = n};
    memcpy(v.conv, s->conv->r.cid, sizeof v.conv);
    struct wr w = wr_init(f->frame, sizeof f->frame);
    wire_have_put(&w, &v);
    return out_add(f, s->dev, LINK_CONTROL, FRAME_HAVE, &w, NULL, 0);
}

static int send_full(struct feeds *f, struct seat *s)
{
    struct conv *c = s->conv;
    size_t n = 0;
    int err = 0;
    s->full_sent = true;
    for (size_t i = 0; err == 0 && i < c->n_feeds; i++) {
        if (!tellable(c->feeds[i])) {
            continue;
        }
        if (n == WIRE_HAVE_FEEDS_MAX) {
            err = send_have(f, s, n, false);
            n = 0;
        }
        fill_have(c->feeds[i], have_peek(s, c->feeds[i]), &f->have_buf[n++]);
    }
    return err == 0 ? send_have(f, s, n, true) : err;
}

/* Tells one seat about the feeds of others that have changed. */
static void tell_changes(struct feeds *f, struct seat *s)
{
    size_t n = 0;
    for (struct feed *fd = s->conv->dirty; fd != NULL; fd = fd->dirty_next) {
        const struct have *h = have_peek(s, fd);
        bool tell = !feed_is_mine(fd) || (fd->r.flags & FEED_FROZEN) != 0 ||
                    (h != NULL && answer_told(h) != 0);
        if (!tell || !tellable(fd)) {
            continue;
        }
        if (n == WIRE_HAVE_FEEDS_MAX) {
            (void)send_have(f, s, n, false);
            n = 0;
        }
        fill_have(fd, h, &f->have_buf[n++]);
    }
    if (n > 0) {
        (void)send_have(f, s, n, false);
    }
}

void repl_flush(struct feeds *f)
{
    while (f->dirty != NULL) {
        struct conv *c = f->dirty;
        f->dirty = c->dirty_next;
        c->dirty_queued = false;
        for (size_t i = 0; i < c->n_seats; i++) {
            struct seat *s = c->seats[i];
            for (struct feed *fd = c->dirty; fd != NULL; fd = fd->dirty_next) {
                struct have *h = have_get(s, fd);
                if (h != NULL) {
                    have_lacks(f, h);
                }
            }
            if (s->dev->up && (s->synced || s->full_sent)) {
                tell_changes(f, s);
            }
        }
        while (c->dirty != NULL) {
            c->dirty->dirty = false;
            c->dirty = c->dirty->dirty_next;
        }
    }
}

/* ---- have, in ---- */

/* Stores what a device said it has. For one of our feeds the words follow. */
static int have_set(struct feeds *f, struct txn *t, struct have *h, uint64_t n,
                    uint64_t opened)
{
    if (h->n == n && h->opened == opened) {
        return 0;
    }
    h->n = n;
    h->opened = opened;
    have_lacks(f, h);
    int err = have_row(t, h);
    if (err == 0 && feed_is_mine(h->feed) && h->feed->r.id != 0) {
        err = feed_words(f, t, h->feed);
    }
    return err;
}

/* We and the device have the same: of our own feeds, what comes next follows at once. */
static int seat_synced(struct feeds *f, struct txn *t, struct seat *s, bool same)
{
    struct conv *c = s->conv;
    int err = 0;
    s->synced = true;
    for (size_t i = 0; err == 0 && i < c->n_feeds; i++) {
        struct feed *fd = c->feeds[i];
        if (fd->r.id == 0 || fd->dev == s->dev) {
            continue;
        }
        struct have *h = have_get(s, fd);
        bool branch = false;
        if (h == NULL) {
            return ERR_NOMEM;
        }
        if (same) {
            branch = feed_is_mine(fd) && !h->on_branch;
            h->on_branch = feed_is_mine(fd);
            h->told_opened = fd->r.opened;
            h->closed = feed_is_mine(fd) ? 0 : fd->r.closed_from;
            memcpy(h->id, fd->r.head_id, sizeof h->id);
            h->id_n = fd->r.head;
            err = have_set(f, t, h, fd->r.head, fd->r.opened);
            err = err == 0 && branch ? feed_words(f, t, fd) : err;
        } else if (h->full_no != s->full_no) {
            h->told_opened = h->closed = 0;
            h->frozen = false;
            err = have_set(f, t, h, 0, 0); /* it has nothing of that */
        }
        if (err == 0 && feed_is_mine(fd) && fd->diff == NULL && !h->frozen) {
            send_from(f, h, h->n + 1, UINT64_MAX);
        }
    }
    return err;
}

int digest_recv(struct feeds *f, struct txn *t, struct dev *d, const uint8_t *p,
                size_t len)
{
    size_t n = 0;
    int err = 0;
    if (!wire_digest_get(p, len, f->digest_buf, WIRE_DIGESTS_MAX, &n)) {
        return ERR_FORMAT;
    }
    for (size_t i = 0; err == 0 && i < n; i++) {
        struct conv *c = conv_by_cid(f, f->digest_buf[i].conv);
        struct seat *s = c == NULL ? NULL : seat_of(c, d);
        uint8_t mine[32];
        if (s == NULL || !conv_digest(c, mine)) {
            continue;
        }
        bool same = memcmp(mine, f->digest_buf[i].hash, sizeof mine) == 0;
        err = same ? seat_synced(f, t, s, true) : send_full(f, s);
    }
    return err;
}

uint64_t have_opened(const struct have *h)
{
    return h->closed != 0 && h->closed <= h->told_opened ? h->closed - 1 : h->told_opened;
}

/* One feed of a HAVE. */
static int have_feed(struct feeds *f, struct txn *t, struct seat *s,
                     const struct wire_have_feed *v)
{
    struct conv *c = s->conv;
    struct dev *author = dev_by_id(f, v->device);
    if (author == NULL || !author->known || !conv_has(c, author->acc->root)) {
        return 0;
    }
    struct feed *fd = feed_find(f, c, author, v->gen);
    if (fd == NULL) {
        int err = v->n == 0 ? ERR_LIMIT : feed_stub(f, c, author, v->gen, &fd);
        if (err != 0) {
            return err == ERR_NOMEM ? err : 0;
        }
    }
    struct have *h = have_get(s, fd);
    if (h == NULL) {
        return ERR_NOMEM;
    }
    h->full_no = s->full_no;
    h->frozen = v->frozen;
    memcpy(h->id, v->id, sizeof h->id);
    h->id_n = v->n;
    if (author == s->dev) {
        /* Its own feed: what we lack of it, and what it has repeated for us. */
        h->n = v->n;
        if (v->frozen && fd->r.id != 0 && v->n <= fd->r.head) {
            int err = feed_freeze(f, t, fd); /* it has all that it will have */
            if (err != 0) {
                return err;
            }
        }
        feed_want(f, fd);
        return v->closed != 0 ? closed_repaired(f, fd, v->closed) : 0;
    }
    h->told_opened = v->opened;
    h->closed = v->closed;
    if (author == f->own) {
        return own_told(f, t, h, v->n, have_opened(h));
    }
    int err = have_set(f, t, h, v->n, have_opened(h));
    bool other = v->n == fd->r.head && memcmp(v->id, fd->r.head_id, sizeof v->id) != 0;
    /* Who knows of a fork shows it to us: so the author hears of it through others. */
    bool fork = v->frozen && (fd->r.flags & FEED_FROZEN) == 0 && v->n <= fd->r.head;
    have_lacks(f, h);
    if (err == 0 && v->n > 0 && (other || fork)) {
        return diff_start(f, h, v->n);
    }
    feed_want(f, fd);
    return err;
}

int have_told(struct feeds *f, struct txn *t, struct have *h, uint64_t n, uint64_t opened,
              bool ours)
{
    bool changed = h->on_branch != ours;
    h->on_branch = ours;
    int err = have_set(f, t, h, n, opened);
    return err == 0 && changed && h->feed->r.id != 0 ? feed_words(f, t, h->feed) : err;
}

int have_recv(struct feeds *f, struct txn *t, struct dev *d, const uint8_t *p, size_t len)
{
    struct wire_have v = {.feeds = f->have_buf};
    if (!wire_have_get(p, len, &v)) {
        return ERR_FORMAT;
    }
    struct conv *c = conv_by_cid(f, v.conv);
    struct seat *s = c == NULL ? NULL : seat_of(c, d);
    int err = 0;
    for (size_t i = 0; s != NULL && err == 0 && i < v.n_feeds; i++) {
        /* Whatever it leads to may use the buffer for a HAVE of ours. */
        struct wire_have_feed one = v.feeds[i];
        err = have_feed(f, t, s, &one);
    }
    if (s == NULL || err != 0 || !v.full_end) {
        return err;
    }
    if (!s->full_sent) {
        err = send_full(f, s);
    }
    if (err == 0) {
        err = seat_synced(f, t, s, false);
    }
    s->full_no++;
    return err;
}
