/* Bodies: from entries into messages and back, and read marks. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "feed_priv.h"

/* ---- messages ---- */

/* The record of a text at a place in a feed. */
static int put_msg(struct txn *t, const struct feed *fd, uint64_t seq,
                   const struct wire_body *b, uint64_t order, uint32_t flags,
                   uint8_t state)
{
    struct rec r = {.kind = REC_MSG,
                    .u.msg = {.conv = fd->conv->r.id,
                              .feed = fd->r.id,
                              .author = fd->dev->acc->contact,
                              .device = fd->dev->ref,
                              .seq = seq,
                              .kind = MSG_TEXT,
                              .flags = flags,
                              .state = state,
                              .has_reply = b->has_reply,
                              .time_ms = b->time_ms,
                              .order = order}};
    memcpy(r.u.msg.mid, b->mid, sizeof r.u.msg.mid);
    memcpy(r.u.msg.reply, b->reply, sizeof r.u.msg.reply);
    if (!blob_set(&r.u.msg.text, b->text, b->text_len)) {
        return ERR_NOMEM;
    }
    return txn_add(t, &r);
}

/* Where a message is shown: a repeat keeps the place of its original. */
static uint64_t shown_order(const struct entry *e, const struct wire_body *b)
{
    return b->has_order && b->order < e->h.order ? b->order : e->h.order;
}

static int opened_device(struct feeds *f, const struct feed *fd,
                         const struct wire_body *b)
{
    if (fd->conv->r.kind != CONV_PAIR || b->device.cert_len > KEYS_CERT_MAX) {
        return 0;
    }
    struct ev_item *ev = ev_add(f, FEEDS_EV_DEVICE);
    if (ev == NULL) {
        return ERR_NOMEM;
    }
    ev->e.device = fd->dev->ref;
    ev->dict = b->device;
    memcpy(ev->cert, b->device.cert, b->device.cert_len);
    ev->dict.cert = ev->cert;
    ev->e.dict = &ev->dict;
    return 0;
}

int talk_opened(struct feeds *f, struct txn *t, struct feed *fd, const struct entry *e,
                size_t body_len, bool gap)
{
    struct wire_body b;
    if (!wire_body_get(f->body, body_len, &b)) {
        return 0; /* counted as opened; there is nothing to show */
    }
    switch (b.kind) {
    case BODY_TEXT: {
        bool own = fd->dev->acc == f->own->acc; /* written on another device of ours */
        return put_msg(t, fd, e->h.seq, &b, shown_order(e, &b), gap ? MSG_GAP : 0,
                       own ? STATE_STORED : STATE_RECEIVED);
    }
    case BODY_DEVICE:
        return opened_device(f, fd, &b);
    default:
        return 0;
    }
}

int talk_taken(struct feeds *f, struct txn *t, struct feed *fd, const struct entry *e,
               size_t body_len, uint8_t mid[WIRE_MID])
{
    struct wire_body b;
    memset(mid, 0, WIRE_MID);
    if (!wire_body_get(f->body, body_len, &b)) {
        return 0;
    }
    if (b.kind == BODY_DEVICE && !box_known(f, b.device.box)) {
        box_gone(f, b.device.box_time);
    }
    if (b.kind != BODY_TEXT) {
        return 0;
    }
    memcpy(mid, b.mid, WIRE_MID);
    return put_msg(t, fd, e->h.seq, &b, shown_order(e, &b), 0, STATE_STORED);
}

/* Appends a text; its record stands at the new place. */
static int append_text(struct feeds *f, struct txn *t, struct conv *c,
                       const struct wire_body *b, uint8_t state)
{
    struct wr w = wr_init(f->plain, sizeof f->plain);
    wire_body_put(&w, b);
    if (!wr_ok(&w)) {
        return ERR_ARG;
    }
    uint64_t order = 0;
    int err = conv_append(f, t, c, f->plain, w.len, b->mid, &order);
    if (err == 0) {
        order = b->has_order ? b->order : order;
        err = put_msg(t, c->own, c->own->r.head, b, order, 0, state);
    }
    return err;
}

int talk_repeat(struct feeds *f, struct txn *t, struct conv *c, const struct entry *e,
                size_t body_len, struct map *mids)
{
    struct wire_body b;
    static char seen;
    if (!wire_body_get(f->body, body_len, &b) || b.kind != BODY_TEXT) {
        return 0;
    }
    int err = mids == NULL ? 0 : map_put(mids, b.mid, &seen);
    if (err != 0) {
        return err == ERR_NOMEM ? err : 0; /* repeated already */
    }
    b.order = shown_order(e, &b);
    b.has_order = true;
    return append_text(f, t, c, &b, STATE_QUEUED);
}

int feeds_send_text(struct feeds *f, struct txn *t, uint32_t conv, const uint8_t *text,
                    size_t len, const uint8_t *reply_mid, uint8_t mid[WIRE_MID],
                    uint64_t now_ms)
{
    struct conv *c = conv_by_id(f, conv);
    struct wire_body b = {.kind = BODY_TEXT, .text = text, .text_len = len};
    f->now_ms = now_ms;
    if (c == NULL) {
        return ERR_NOTFOUND;
    }
    if (len == 0 || len > WIRE_TEXT_MAX || !wire_text_ok(text, len)) {
        return ERR_ARG;
    }
    b.time_ms = env_wall_ms(f->self.env);
    env_random(f->self.env, b.mid, sizeof b.mid);
    if (reply_mid != NULL) {
        b.has_reply = true;
        memcpy(b.reply, reply_mid, sizeof b.reply);
    }
    int err = append_text(f, t, c, &b, STATE_QUEUED);
    if (err == 0) {
        memcpy(mid, b.mid, sizeof b.mid);
        err = feeds_end(f, t);
    }
    return err;
}

int feeds_send_device(struct feeds *f, struct txn *t, uint32_t conv,
                      const struct wire_device *d, uint64_t now_ms)
{
    struct conv *c = conv_by_id(f, conv);
    struct wire_body b = {.kind = BODY_DEVICE, .device = *d};
    f->now_ms = now_ms;
    if (c == NULL || c->r.kind != CONV_PAIR) {
        return ERR_NOTFOUND;
    }
    struct wr w = wr_init(f->plain, sizeof f->plain);
    wire_body_put(&w, &b);
    if (!wr_ok(&w)) {
        return ERR_ARG;
    }
    int err = conv_append(f, t, c, f->plain, w.len, NULL, NULL);
    if (err == 0) {
        c->device_feed = c->own;
        c->device_seq = c->own->r.head;
        err = feeds_end(f, t);
    }
    return err;
}

/* ---- read marks ---- */

static int read_flush(struct feeds *f, struct seat *s, size_t n)
{
    struct wire_read v = {.feeds = f->read_buf, .n_feeds = n};
    memcpy(v.conv, s->conv->r.cid, sizeof v.conv);
    struct wr w = wr_init(f->frame, sizeof f->frame);
    wire_read_put(&w, &v);
    return out_add(f, s->dev, LINK_CONTROL, FRAME_READ, &w, NULL, 0);
}

static void read_untold(struct feeds *f, struct seat *s, bool untold)
{
    if (s->read_untold != untold) {
        s->read_untold = untold;
        s->dev->lacking = untold ? s->dev->lacking + 1 : s->dev->lacking - 1;
        dev_waits(f, s->dev);
    }
}

int read_send(struct feeds *f, struct seat *s)
{
    const struct conv *c = s->conv;
    size_t n = 0;
    int err = 0;
    for (size_t i = 0; err == 0 && i < c->n_feeds; i++) {
        const struct feed *fd = c->feeds[i];
        if (fd->r.read == 0 || feed_is_mine(fd) || fd->dev->acc == NULL) {
            continue;
        }
        if (n == WIRE_HAVE_FEEDS_MAX) {
            err = read_flush(f, s, n);
            n = 0;
        }
        struct wire_read_feed *v = &f->read_buf[n++];
        memcpy(v->device, fd->dev->id, sizeof v->device);
        memcpy(v->gen, fd->r.gen, sizeof v->gen);
        v->seq = fd->r.read;
    }
    if (err == 0 && n > 0) {
        err = read_flush(f, s, n);
    }
    read_untold(f, s, false);
    return err;
}

int feeds_read(struct feeds *f, struct txn *t, uint32_t conv, uint64_t now_ms)
{
    struct conv *c = conv_by_id(f, conv);
    bool moved = false;
    int err = 0;
    f->now_ms = now_ms;
    if (c == NULL) {
        return ERR_NOTFOUND;
    }
    for (size_t i = 0; err == 0 && i < c->n_feeds; i++) {
        struct feed *fd = c->feeds[i];
        if (feed_is_mine(fd) || fd->r.opened <= fd->r.read) {
            continue;
        }
        struct rec r = {.kind = REC_STATE,
                        .u.state = {.feed = fd->r.id,
                                    .from = fd->r.read + 1,
                                    .to = fd->r.opened,
                                    .state = STATE_READ}};
        err = txn_add(t, &r);
        fd->r.read = fd->r.opened;
        feed_row(f, fd);
        moved = true;
    }
    if (err == 0 && moved) {
        struct rec r = {.kind = REC_EVENT,
                        .u.event = {.topic = TOPIC_CONTACT,
                                    .what = EVENT_UNREAD,
                                    .contact = c->r.contact,
                                    .conv = conv}};
        err = txn_add(t, &r);
    }
    for (size_t i = 0; err == 0 && moved && i < c->n_seats; i++) {
        struct seat *s = c->seats[i];
        if (s->dev->up) {
            repl_flush(f); /* what was opened is told before it is told read */
            err = read_send(f, s);
        } else if (s->dev->known) {
            read_untold(f, s, true);
        }
    }
    return err == 0 ? feeds_end(f, t) : err;
}

int read_recv(struct feeds *f, struct txn *t, struct dev *d, const uint8_t *p, size_t len)
{
    struct wire_read v = {.feeds = f->read_buf};
    if (!wire_read_get(p, len, &v)) {
        return ERR_FORMAT;
    }
    struct conv *c = conv_by_cid(f, v.conv);
    struct seat *s = c == NULL ? NULL : seat_of(c, d);
    int err = 0;
    for (size_t i = 0; s != NULL && err == 0 && i < v.n_feeds; i++) {
        struct dev *author = dev_by_id(f, v.feeds[i].device);
        struct feed *fd =
            author != f->own ? NULL : feed_find(f, c, author, v.feeds[i].gen);
        if (fd == NULL || fd->r.id == 0) {
            continue;
        }
        struct have *h = have_get(s, fd);
        if (h == NULL) {
            return ERR_NOMEM;
        }
        uint64_t seq = v.feeds[i].seq < fd->r.head ? v.feeds[i].seq : fd->r.head;
        if (seq > h->read) {
            h->read = seq;
            err = have_row(t, h);
            err = err == 0 ? feed_words(f, t, fd) : err;
        }
    }
    return err;
}
