/* Bodies: from entries into messages and back, and read marks. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "feed_priv.h"

/* ---- messages ---- */

/* Whether the body is a message, so that its entry carries it: its id goes with it. */
static bool is_msg(const struct wire_body *b)
{
    return b->kind == BODY_TEXT || b->kind == BODY_OFFER;
}

/* The record of a message at a place in a feed. */
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
                              .kind = b->kind == BODY_OFFER ? MSG_FILE : MSG_TEXT,
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

static bool is_change(const struct wire_body *b)
{
    return b->kind == BODY_EDIT || b->kind == BODY_REACTION || b->kind == BODY_REDACTION;
}

static enum change_kind change_of(const struct wire_body *b)
{
    return b->kind == BODY_EDIT       ? CHANGE_EDIT
           : b->kind == BODY_REACTION ? CHANGE_REACTION
                                      : CHANGE_REDACTION;
}

/* The member of a conversation with that root; NULL: it is none, or nobody knows it. */
static const struct account *member(const struct feeds *f, const struct conv *c,
                                    const uint8_t root[WIRE_ID])
{
    return conv_has(c, root) ? account_by_root(f, root) : NULL;
}

/* The same by its contact, 0 for us. */
static const struct account *member_contact(const struct feeds *f, const struct conv *c,
                                            uint32_t contact)
{
    const struct account *a = contact == 0 ? f->own->acc : account_by_contact(f, contact);
    return a != NULL && conv_has(c, a->root) ? a : NULL;
}

/* The record of an edit, a reaction or a redaction at a place in a feed. Edits and
 * redactions can only be of the author's own messages. */
static int put_change(struct feeds *f, struct txn *t, const struct feed *fd, uint64_t seq,
                      const struct wire_body *b, uint64_t order)
{
    struct rec r = {.kind = REC_CHANGE,
                    .u.change = {.kind = (uint8_t)change_of(b),
                                 .conv = fd->conv->r.id,
                                 .feed = fd->r.id,
                                 .author = fd->dev->acc->contact,
                                 .target_author = fd->dev->acc->contact,
                                 .device = fd->dev->ref,
                                 .seq = seq,
                                 .order = order,
                                 .time_ms = b->time_ms}};
    if (b->kind == BODY_REACTION) {
        const struct account *a = member(f, fd->conv, b->author);
        if (a == NULL) {
            return 0; /* to nobody's message */
        }
        r.u.change.target_author = a->contact;
    }
    memcpy(r.u.change.mid, b->mid, sizeof r.u.change.mid);
    memcpy(r.u.change.target, b->target, sizeof r.u.change.target);
    if (!blob_set(&r.u.change.text, b->text, b->text_len)) {
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

/* Tells what matters to files: what is said of them, and redactions, which end what they
 * offered. */
static int tell_file(struct feeds *f, const struct feed *fd, const struct wire_body *b,
                     bool taken_back)
{
    if (b->kind == BODY_FILE_END && member(f, fd->conv, b->author) == NULL) {
        return 0; /* of nobody's offer */
    }
    struct ev_item *ev = ev_add(f, FEEDS_EV_FILE);
    if (ev == NULL) {
        return ERR_NOMEM;
    }
    ev->e.device = fd->dev->ref;
    ev->e.conv = fd->conv->r.id;
    ev->e.taken_back = taken_back;
    ev->body = *b;
    ev->body.text = NULL;
    if (b->kind == BODY_OFFER) { /* a decoded one: its name fits */
        memcpy(ev->name, b->text, b->text_len);
        ev->body.text = ev->name;
    }
    ev->e.body = &ev->body;
    return 0;
}

/* Whether tell_file() has something to tell. */
static bool is_of_files(const struct wire_body *b)
{
    return b->kind == BODY_OFFER || b->kind == BODY_SEALED || b->kind == BODY_FILE_END ||
           b->kind == BODY_REDACTION;
}

/* The record of what was opened, where it has one. */
static int put_opened(struct feeds *f, struct txn *t, const struct feed *fd,
                      const struct entry *e, const struct wire_body *b, bool *gap)
{
    if (is_msg(b)) {
        bool own = fd->dev->acc == f->own->acc; /* written on another device of ours */
        uint32_t flags = *gap ? MSG_GAP : 0;
        *gap = false;
        return put_msg(t, fd, e->h.seq, b, shown_order(e, b), flags,
                       own ? STATE_STORED : STATE_RECEIVED);
    }
    return is_change(b) ? put_change(f, t, fd, e->h.seq, b, shown_order(e, b)) : 0;
}

int talk_opened(struct feeds *f, struct txn *t, struct feed *fd, const struct entry *e,
                size_t body_len, bool *gap)
{
    struct wire_body b;
    if (!wire_body_get(f->body, body_len, &b)) {
        return 0; /* counted as opened; there is nothing to show */
    }
    if (b.kind == BODY_DEVICE) {
        return opened_device(f, fd, &b);
    }
    int err = put_opened(f, t, fd, e, &b, gap);
    return err == 0 && is_of_files(&b) ? tell_file(f, fd, &b, false) : err;
}

void talk_mid(const struct feeds *f, size_t body_len, uint8_t mid[WIRE_MID])
{
    struct wire_body b;
    memset(mid, 0, WIRE_MID);
    if (body_len > 0 && wire_body_get(f->body, body_len, &b) && is_msg(&b)) {
        memcpy(mid, b.mid, WIRE_MID);
    }
}

/* What is repeated: messages, what changes one, and what is said of files. */
static bool is_talk(const struct wire_body *b)
{
    return is_msg(b) || is_change(b) || is_of_files(b);
}

/* The record of a body of ours, where it has one. */
static int put_own(struct feeds *f, struct txn *t, const struct feed *fd, uint64_t seq,
                   const struct wire_body *b, uint64_t order, uint8_t state)
{
    if (is_msg(b)) {
        return put_msg(t, fd, seq, b, order, 0, state);
    }
    return is_change(b) ? put_change(f, t, fd, seq, b, order) : 0;
}

int talk_lost(struct feeds *f, const struct feed *fd, size_t body_len)
{
    struct wire_body b;
    bool told = wire_body_get(f->body, body_len, &b) && is_of_files(&b);
    return told ? tell_file(f, fd, &b, true) : 0;
}

int talk_taken(struct feeds *f, struct txn *t, struct feed *fd, const struct entry *e,
               size_t body_len)
{
    struct wire_body b;
    if (!wire_body_get(f->body, body_len, &b)) {
        return 0;
    }
    if (b.kind == BODY_DEVICE && !box_known(f, b.device.box)) {
        box_gone(f, b.device.box_time);
    }
    int err = put_own(f, t, fd, e->h.seq, &b, shown_order(e, &b), STATE_STORED);
    return err == 0 && is_of_files(&b) ? tell_file(f, fd, &b, true) : err;
}

/* Appends what is_talk(); its record stands at the new place. */
static int append_talk(struct feeds *f, struct txn *t, struct conv *c,
                       const struct wire_body *b)
{
    struct wr w = wr_init(f->plain, sizeof f->plain);
    wire_body_put(&w, b);
    if (!wr_ok(&w)) {
        return ERR_ARG;
    }
    uint64_t order = 0;
    const uint8_t *mid = is_msg(b) ? b->mid : NULL;
    int err = conv_append(f, t, c, f->plain, w.len, mid, &order);
    if (err == 0) {
        order = b->has_order ? b->order : order;
        err = put_own(f, t, c->own, c->own->r.head, b, order, STATE_QUEUED);
    }
    return err;
}

int talk_repeat(struct feeds *f, struct txn *t, struct conv *c, const struct entry *e,
                size_t body_len, struct map *mids)
{
    struct wire_body b;
    static char seen;
    if (!wire_body_get(f->body, body_len, &b) || !is_talk(&b)) {
        return 0;
    }
    int err = mids == NULL ? 0 : map_put(mids, b.mid, &seen);
    if (err != 0) {
        return err == ERR_NOMEM ? err : 0; /* repeated already */
    }
    b.order = shown_order(e, &b);
    b.has_order = true;
    return append_talk(f, t, c, &b);
}

/* Appends what is new: its time is given here, and its id but for offers, which files
 * know before they are said. */
static int say(struct feeds *f, struct txn *t, struct conv *c, struct wire_body *b)
{
    b->time_ms = env_wall_ms(f->self.env);
    if (b->kind != BODY_OFFER) {
        env_random(f->self.env, b->mid, sizeof b->mid);
    }
    int err = append_talk(f, t, c, b);
    return err == 0 ? feeds_end(f, t) : err;
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
    if (reply_mid != NULL) {
        b.has_reply = true;
        memcpy(b.reply, reply_mid, sizeof b.reply);
    }
    int err = say(f, t, c, &b);
    if (err == 0) {
        memcpy(mid, b.mid, sizeof b.mid);
    }
    return err;
}

/* Whether the text of a change can go out. */
static bool change_ok(const struct feeds_change *v)
{
    switch (v->kind) {
    case CHANGE_EDIT:
        return v->len > 0 && v->len <= WIRE_TEXT_MAX && wire_text_ok(v->text, v->len);
    case CHANGE_REACTION:
        return v->len == 0 || wire_emoji_ok(v->text, v->len);
    case CHANGE_REDACTION:
        return v->len == 0;
    }
    return false;
}

int feeds_change(struct feeds *f, struct txn *t, uint32_t conv,
                 const struct feeds_change *v, uint64_t now_ms)
{
    static const enum body_kind kinds[] = {[CHANGE_EDIT] = BODY_EDIT,
                                           [CHANGE_REACTION] = BODY_REACTION,
                                           [CHANGE_REDACTION] = BODY_REDACTION};
    struct conv *c = conv_by_id(f, conv);
    f->now_ms = now_ms;
    if (c == NULL) {
        return ERR_NOTFOUND;
    }
    if (!change_ok(v)) {
        return ERR_ARG;
    }
    struct wire_body b = {.kind = kinds[v->kind], .text = v->text, .text_len = v->len};
    memcpy(b.target, v->target, sizeof b.target);
    if (v->kind == CHANGE_REACTION) {
        const struct account *a = member_contact(f, c, v->author);
        if (a == NULL) {
            return ERR_NOTFOUND;
        }
        memcpy(b.author, a->root, sizeof b.author);
    }
    return say(f, t, c, &b);
}

int feeds_send_file(struct feeds *f, struct txn *t, uint32_t conv, uint32_t author,
                    const struct wire_body *body, uint64_t now_ms)
{
    struct conv *c = conv_by_id(f, conv);
    struct wire_body b = *body;
    f->now_ms = now_ms;
    if (c == NULL) {
        return ERR_NOTFOUND;
    }
    if (b.kind != BODY_OFFER && b.kind != BODY_SEALED && b.kind != BODY_FILE_END) {
        return ERR_ARG;
    }
    if (b.kind == BODY_FILE_END) {
        const struct account *a = member_contact(f, c, author);
        if (a == NULL) {
            return ERR_NOTFOUND;
        }
        memcpy(b.author, a->root, sizeof b.author);
    }
    b.has_order = false;
    return say(f, t, c, &b);
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
