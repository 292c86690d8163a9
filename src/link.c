/* The link (docs/PROTOCOL.md, "Link"): states, transport frames, classes, timers.
 *
 * A transport body is a sequence of frames and zero padding. Bodies of CONTROL and CHAT
 * frames are padded; a body of file data, or of one KEEPALIVE, is not. A class goes out
 * before the next one; file data has bodies of its own, made when nothing else waits, so
 * what comes next waits for one body at most.
 *
 * Timers: handshake (open to UP), silence (full record 1 to the end), keepalive, dead,
 * rehandshake and its answer, closing. All end in link_tick().
 *
 * A listener that fails before UP is silent, whatever the reason was: nothing is sent,
 * and the carrier ends after the same random delay as for a stranger. */
#include "link_priv.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/err.h"

enum {
    RX_HEAD = 4, /* length before the frames of one body in s->rx */
    CLOSE_MAX = 32,
};

/* Life and end */

static struct link *link_new(const struct link_self *self, enum carrier carrier,
                             uint64_t now_ms)
{
    struct link *l = calloc(1, sizeof *l);
    if (l == NULL) {
        return NULL;
    }
    l->self = self;
    l->carrier = carrier;
    l->deadline_ms = now_ms + LINK_HANDSHAKE_MS;
    return l;
}

struct link *link_dial(const struct link_self *self, const struct link_candidate *as,
                       enum carrier carrier, uint64_t counter, uint64_t now_ms)
{
    struct link *l = link_new(self, carrier, now_ms);
    if (l == NULL) {
        return NULL;
    }
    l->dialler = true;
    l->state = LINK_HS2;
    if (link_hs_dial(l, as, counter) != 0) {
        link_free(l);
        return NULL;
    }
    return l;
}

struct link *link_listen(const struct link_self *self, struct keyring *ring,
                         enum carrier carrier, uint64_t now_ms)
{
    struct link *l = link_new(self, carrier, now_ms);
    if (l != NULL) {
        l->ring = ring;
        l->state = LINK_WAIT1;
    }
    return l;
}

struct link *link_call(const struct link_self *self, struct keyring *ring, uint32_t ref,
                       enum carrier carrier, uint64_t now_ms)
{
    struct link *l = link_listen(self, ring, carrier, now_ms);
    if (l == NULL) {
        return NULL;
    }
    l->only_ref = ref;
    if (link_hs_call(l) != 0) {
        link_free(l);
        return NULL;
    }
    return l;
}

void link_set_source(struct link *l, const struct addr *from)
{
    l->from = *from;
}

void link_free(struct link *l)
{
    if (l == NULL) {
        return;
    }
    link_session_free(l->s);
    sodium_memzero(l, sizeof *l);
    free(l);
}

static bool is_over(const struct link *l)
{
    return l->state == LINK_ENDED || l->state == LINK_OVER;
}

/* What was received before the end is still given, then the CLOSED event. */
static void end(struct link *l, bool cut, unsigned code, bool by_peer)
{
    l->state = LINK_ENDED;
    l->cut = cut;
    l->code = cut ? CLOSE_NORMAL : code;
    l->by_peer = by_peer;
    link_session_wipe(l->s);
}

static void end_cut(struct link *l)
{
    end(l, true, CLOSE_NORMAL, false);
}

/* The listener's answer to everything it does not like before UP. */
static void fall_silent(struct link *l, uint64_t now_ms)
{
    uint32_t spread = LINK_SILENCE_MAX_MS - LINK_SILENCE_MIN_MS + 1;
    l->state = LINK_SILENT;
    l->call_len = 0; /* who spoke before it was called is nobody */
    l->deadline_ms = now_ms + LINK_SILENCE_MIN_MS + env_uniform(l->self->env, spread);
    link_session_wipe(l->s);
}

static void closing(struct link *l, unsigned code, uint64_t now_ms)
{
    l->state = LINK_CLOSING;
    l->code = code;
    l->deadline_ms = now_ms + LINK_CLOSE_MS;
}

/* The peer, who is authenticated, broke the rules. */
static int violated(struct link *l, int rc, uint64_t now_ms)
{
    for (size_t i = 0; i < LINK_CLASSES; i++) {
        buf_release(&l->s->tx[i]);
    }
    closing(l, CLOSE_PROTOCOL, now_ms);
    return rc;
}

static void come_up(struct link *l, uint64_t now_ms)
{
    l->state = LINK_UP;
    l->ev_up = true;
    l->s->rx_ms = l->s->tx_ms = now_ms;
    l->s->rehs_ms = now_ms + LINK_REHANDSHAKE_MS;
    l->s->rehs_wait_ms = UINT64_MAX;
    /* The listener waits for a first transport frame, whether there is one to send or
     * not. */
    l->s->keepalive_due = l->dialler;
}

void link_close(struct link *l, enum close_code code, uint64_t now_ms)
{
    if (l->state == LINK_UP) {
        buf_release(&l->s->rx);
        closing(l, code, now_ms);
    } else if (l->state != LINK_CLOSING && !is_over(l)) {
        end_cut(l);
    }
}

void link_carrier_closed(struct link *l, uint64_t now_ms)
{
    (void)now_ms;
    if (is_over(l)) {
        return;
    }
    if (l->close_sent) {
        end(l, false, l->code, false);
    } else {
        end_cut(l);
    }
}

/* Receiving: handshake */

/* Moves bytes into a record until it is complete. */
static void fill(uint8_t *rec, size_t *have, size_t want, const uint8_t **p, size_t *n)
{
    size_t take = want - *have < *n ? want - *have : *n;
    if (take > 0) {
        memcpy(rec + *have, *p, take);
    }
    *have += take;
    *p += take;
    *n -= take;
}

static void recv_record1(struct link *l, const uint8_t **p, size_t *n, uint64_t now_ms)
{
    fill(l->rec1, &l->rec1_len, WIRE_RECORD1, p, n);
    if (l->rec1_len < WIRE_RECORD1) {
        return;
    }
    if (link_hs_record1(l, now_ms) != 0) {
        fall_silent(l, now_ms);
        return;
    }
    l->state = l->dialler                   ? LINK_HS2 /* it was a call */
               : l->s->kind == LINK_CONTACT ? LINK_CONFIRM
                                            : LINK_HS3;
}

static int recv_record2(struct link *l, const uint8_t **p, size_t *n, uint64_t now_ms)
{
    fill(l->s->rec, &l->s->rec_len, WIRE_RECORD2, p, n);
    if (l->s->rec_len < WIRE_RECORD2) {
        return 0;
    }
    /* An answer to a question that was not yet asked is none. */
    int rc = l->s->out_len > 0 ? ERR_STATE : link_hs_record2(l);
    if (rc != 0) {
        end_cut(l);
        return rc;
    }
    come_up(l, now_ms);
    return 0;
}

static void recv_record3(struct link *l, const uint8_t **p, size_t *n, uint64_t now_ms)
{
    fill(l->s->rec, &l->s->rec_len, WIRE_RECORD3, p, n);
    if (l->s->rec_len < WIRE_RECORD3) {
        return;
    }
    if (link_hs_record3(l) != 0) {
        fall_silent(l, now_ms);
        return;
    }
    l->state = LINK_CONFIRM;
}

/* Receiving: transport */

static int recv_rehs(struct link *l, const uint8_t *p, size_t len, uint64_t now_ms)
{
    int rc = link_rehs_recv(l, p, len);
    if (rc == ERR_FORMAT) {
        return violated(l, rc, now_ms);
    }
    if (rc != 0) {
        end_cut(l);
        return rc;
    }
    l->s->rehs_wait_ms = now_ms + LINK_REHANDSHAKE_WAIT_MS;
    return 0;
}

static void rehs_done(struct link *l, uint64_t now_ms)
{
    l->s->rehs_ms = now_ms + LINK_REHANDSHAKE_MS;
    l->s->rehs_wait_ms = UINT64_MAX;
}

/* SWITCH must end its body: what follows comes under the new key. */
static int recv_switch(struct link *l, struct rd rest, uint64_t now_ms)
{
    uint8_t type;
    const uint8_t *p;
    size_t len;
    if (!l->s->next_ready || l->s->rx_switched ||
        wire_frame_next(&rest, &type, &p, &len) || rest.bad) {
        return violated(l, ERR_FORMAT, now_ms);
    }
    if (link_rehs_switch_rx(l->s)) {
        rehs_done(l, now_ms);
    }
    return 0;
}

/* A frame of the link's own; rest is what follows it in its body. Unknown types are
 * ignored. */
static int recv_own(struct link *l, uint8_t type, const uint8_t *p, size_t len,
                    struct rd rest, uint64_t now_ms)
{
    if (type == FRAME_CLOSE) {
        unsigned code;
        if (!wire_close_get(p, len, &code)) {
            return violated(l, ERR_FORMAT, now_ms);
        }
        end(l, false, code, true);
        return ERR_CLOSED;
    }
    if (type == FRAME_REHS) {
        return recv_rehs(l, p, len, now_ms);
    }
    return type == FRAME_SWITCH ? recv_switch(l, rest, now_ms) : 0;
}

/* An opened body. Gives the length of its frames when one of them is for the node,
 * else 0: what has to be kept. */
static int recv_body(struct link *l, const uint8_t *body, size_t len, size_t *keep,
                     uint64_t now_ms)
{
    struct rd r = rd_init(body, len);
    uint8_t type;
    const uint8_t *p;
    size_t n;
    bool any = false;
    *keep = 0;
    if (l->state == LINK_CONFIRM) {
        come_up(l, now_ms);
    }
    l->s->rx_ms = now_ms;
    while (wire_frame_next(&r, &type, &p, &n)) {
        any = any || type >= FRAME_HELLO;
        *keep = any ? len - r.n : 0;
        int rc = type < FRAME_HELLO ? recv_own(l, type, p, n, r, now_ms) : 0;
        if (rc != 0) {
            return rc;
        }
    }
    return r.bad ? violated(l, ERR_FORMAT, now_ms) : 0;
}

/* One whole transport piece, a head or a body. A body is opened where it will wait. */
static int recv_piece(struct link *l, const uint8_t *piece, size_t piece_len,
                      uint64_t now_ms)
{
    struct link_session *s = l->s;
    size_t len, keep = 0;
    uint8_t *space = buf_reserve(&s->rx, RX_HEAD + piece_len);
    int rc =
        space == NULL ? ERR_LIMIT : transport_open(&s->t, piece, space + RX_HEAD, &len);
    if (rc != 0) {
        /* Not the peer's words, or our node does not take its events. */
        if (l->state == LINK_CONFIRM) {
            fall_silent(l, now_ms);
            return 0;
        }
        end_cut(l);
        return rc;
    }
    if (len == SIZE_MAX) {
        return 0;
    }
    rc = recv_body(l, space + RX_HEAD, len, &keep, now_ms);
    if (keep > 0 && l->state != LINK_CLOSING) {
        struct wr w = wr_init(space, RX_HEAD);
        wr_u32(&w, (uint32_t)keep);
        buf_commit(&s->rx, RX_HEAD + keep);
    }
    return rc;
}

static int recv_transport(struct link *l, const uint8_t **p, size_t *n, uint64_t now_ms)
{
    struct buf *in = &l->s->in;
    size_t want = transport_want(&l->s->t);
    const uint8_t *piece = *p;
    if (in->len == 0 && *n >= want) {
        *p += want;
        *n -= want;
        return recv_piece(l, piece, want, now_ms);
    }
    size_t take = want - in->len < *n ? want - in->len : *n;
    int rc = buf_append(in, *p, take);
    if (rc != 0) {
        end_cut(l);
        return rc;
    }
    *p += take;
    *n -= take;
    if (in->len < want) {
        return 0;
    }
    rc = recv_piece(l, buf_data(in), want, now_ms);
    if (in->len > 0) { /* the end of the link empties it too */
        buf_consume(in, want);
    }
    return rc;
}

void link_skip_strangers(struct link *l, bool skip)
{
    l->skip_strangers = skip;
}

int link_recv(struct link *l, const uint8_t *p, size_t n, uint64_t now_ms)
{
    int rc = 0;
    while (rc == 0 && n > 0) {
        switch (l->state) {
        case LINK_WAIT1:
            recv_record1(l, &p, &n, now_ms);
            break;
        case LINK_HS2:
            rc = recv_record2(l, &p, &n, now_ms);
            break;
        case LINK_HS3:
            recv_record3(l, &p, &n, now_ms);
            break;
        case LINK_CONFIRM:
        case LINK_UP:
            rc = recv_transport(l, &p, &n, now_ms);
            break;
        case LINK_SILENT:
        case LINK_CLOSING:
            return 0;
        case LINK_ENDED:
        case LINK_OVER:
            return ERR_CLOSED;
        }
    }
    return rc;
}

/* Time */

static void tick_up(struct link *l, uint64_t now_ms)
{
    struct link_session *s = l->s;
    if (now_ms >= s->rx_ms + LINK_DEAD_MS || now_ms >= s->rehs_wait_ms) {
        end_cut(l);
        return;
    }
    if (l->dialler && s->kind == LINK_CONTACT && !s->rehs_begun && now_ms >= s->rehs_ms) {
        if (link_rehs_begin(l) != 0) {
            end_cut(l);
            return;
        }
        s->rehs_wait_ms = now_ms + LINK_REHANDSHAKE_WAIT_MS;
    }
    if (!s->keepalive_due && now_ms >= s->tx_ms + LINK_KEEPALIVE_MS) {
        s->keepalive_due = true;
        /* An idle link keeps no buffers. */
        struct buf *bufs[] = {&s->in, &s->rx, &s->tx[0], &s->tx[1]};
        for (size_t i = 0; i < sizeof bufs / sizeof bufs[0]; i++) {
            if (bufs[i]->len == 0) {
                buf_release(bufs[i]);
            }
        }
    }
}

void link_tick(struct link *l, uint64_t now_ms)
{
    switch (l->state) {
    case LINK_WAIT1:
    case LINK_SILENT:
    case LINK_HS2:
    case LINK_HS3:
    case LINK_CONFIRM:
    case LINK_CLOSING:
        if (now_ms >= l->deadline_ms) {
            end_cut(l);
        }
        break;
    case LINK_UP:
        tick_up(l, now_ms);
        break;
    case LINK_ENDED:
    case LINK_OVER:
        break;
    }
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t link_deadline(const struct link *l)
{
    if (is_over(l)) {
        return UINT64_MAX;
    }
    if (l->state != LINK_UP) {
        return l->deadline_ms;
    }
    const struct link_session *s = l->s;
    uint64_t at = min_u64(s->rx_ms + LINK_DEAD_MS, s->rehs_wait_ms);
    if (l->dialler && s->kind == LINK_CONTACT && !s->rehs_begun) {
        at = min_u64(at, s->rehs_ms);
    }
    return s->keepalive_due ? at : min_u64(at, s->tx_ms + LINK_KEEPALIVE_MS);
}

/* Sending */

int link_send(struct link *l, enum link_class cls, enum frame_type type,
              const uint8_t *payload, size_t len)
{
    if (l->state != LINK_UP) {
        return ERR_STATE;
    }
    if (len > WIRE_FRAME_MAX || (size_t)cls >= LINK_CLASSES) {
        return ERR_LIMIT;
    }
    assert(type >= FRAME_HELLO);
    struct buf *tx = &l->s->tx[cls];
    if (WIRE_FRAME_HEAD + len > tx->max - tx->len) {
        return ERR_LIMIT;
    }
    uint8_t *space = buf_reserve(tx, WIRE_FRAME_HEAD + len);
    if (space == NULL) {
        return ERR_NOMEM;
    }
    struct wr w = wr_init(space, WIRE_FRAME_HEAD + len);
    wire_frame(&w, type, payload, len);
    assert(wr_ok(&w));
    buf_commit(tx, w.len);
    return 0;
}

size_t link_room(const struct link *l, enum link_class cls)
{
    if (l->state != LINK_UP || (size_t)cls >= LINK_CLASSES) {
        return 0;
    }
    size_t len = l->s->tx[cls].len;
    return len < LINK_INFLIGHT_MAX ? LINK_INFLIGHT_MAX - len : 0;
}

/* Bytes of the first frame of a queue that is not empty. */
static size_t first_frame(const struct buf *q)
{
    struct rd r = rd_init(buf_data(q), q->len);
    (void)rd_u8(&r);
    return WIRE_FRAME_HEAD + (size_t)rd_u16(&r);
}

/* Moves whole frames into the body, up to limit bytes of it. True when the queue is
 * empty. */
static bool take_frames(struct buf *q, struct wr *w, size_t limit)
{
    struct rd r = rd_init(buf_data(q), q->len);
    size_t total = 0, room = limit > w->len ? limit - w->len : 0;
    while (r.n > 0) {
        (void)rd_u8(&r);
        size_t len = rd_u16(&r);
        if (WIRE_FRAME_HEAD + len > room - total || rd_bytes(&r, len) == NULL) {
            break;
        }
        total += WIRE_FRAME_HEAD + len;
    }
    if (total > 0) {
        wr_bytes(w, buf_data(q), total);
        buf_consume(q, total);
    }
    return q->len == 0;
}

/* The padded length of the next body when so much waits: the next smaller one than what
 * would hold all when that would be more than half padding, for the rest then goes into
 * a small body of its own. */
static size_t padded_target(size_t waiting, size_t first)
{
    size_t target =
        wire_padded(waiting < TRANSPORT_BODY_MAX ? waiting : TRANSPORT_BODY_MAX);
    size_t lower = wire_padded(target / 4);
    return waiting <= target / 2 && first <= lower && lower < target ? lower : target;
}

static void fill_padded(struct link_session *s, struct wr *w)
{
    struct buf *control = &s->tx[LINK_CONTROL], *chat = &s->tx[LINK_CHAT];
    const struct buf *head = control->len > 0 ? control : chat;
    size_t target = padded_target(control->len + chat->len, first_frame(head));
    if (take_frames(control, w, target) && chat->len > 0) {
        (void)take_frames(chat, w, target);
    }
    wr_zero(w, wire_padded(w->len) - w->len);
}

/* The new handshake's frames have a body of their own. */
static void fill_rehs(struct link_session *s, struct wr *w)
{
    if (s->rehs_len > 0) {
        wire_frame(w, FRAME_REHS, s->rehs_msg, s->rehs_len);
        s->rehs_len = 0;
    }
    if (s->switch_due) {
        wire_frame(w, FRAME_SWITCH, NULL, 0);
    }
    wr_zero(w, wire_padded(w->len) - w->len);
}

static void fill_close(struct link *l, struct wr *w)
{
    uint8_t payload[CLOSE_MAX];
    struct wr c = wr_init(payload, sizeof payload);
    wire_close_put(&c, l->code);
    assert(wr_ok(&c));
    wire_frame(w, FRAME_CLOSE, payload, c.len);
    wr_zero(w, wire_padded(w->len) - w->len);
    l->close_sent = true;
}

/* The next body, empty when there is none. */
static void next_body(struct link *l, struct wr *w)
{
    struct link_session *s = l->s;
    if (l->state == LINK_UP && (s->rehs_len > 0 || s->switch_due)) {
        fill_rehs(s, w);
    } else if (s->tx[LINK_CONTROL].len > 0 || s->tx[LINK_CHAT].len > 0) {
        fill_padded(s, w);
    } else if (l->state == LINK_CLOSING) {
        fill_close(l, w);
    } else if (s->keepalive_due) {
        wire_frame(w, FRAME_KEEPALIVE, NULL, 0);
    }
}

/* One sealed frame into out, or 0. The body is built where it will be sealed. */
static size_t next_frame(struct link *l, uint8_t *out, size_t cap, uint64_t now_ms)
{
    struct link_session *s = l->s;
    if ((l->state != LINK_UP && l->state != LINK_CLOSING) || l->close_sent ||
        cap < TRANSPORT_BODY_MAX + TRANSPORT_OVERHEAD) {
        return 0;
    }
    bool switching = l->state == LINK_UP && s->switch_due;
    struct wr w = wr_init(out + TRANSPORT_HEAD, TRANSPORT_BODY_MAX);
    next_body(l, &w);
    assert(wr_ok(&w));
    if (w.len == 0) {
        return 0;
    }
    if (transport_seal(&s->t, w.p, w.len, out) != 0) {
        end_cut(l);
        return 0;
    }
    if (switching && link_rehs_switch_tx(s)) {
        rehs_done(l, now_ms);
    }
    s->keepalive_due = false;
    s->tx_ms = now_ms;
    return w.len + TRANSPORT_OVERHEAD;
}

size_t link_next_out(struct link *l, uint8_t *out, size_t cap, uint64_t now_ms)
{
    struct link_session *s = l->s;
    size_t len = 0;
    if (is_over(l) || l->in_flight >= LINK_INFLIGHT_MAX) {
        return 0;
    }
    if (l->call_len > 0 && cap >= l->call_len) {
        memcpy(out, l->call, l->call_len);
        len = l->call_len;
        l->call_len = 0;
        l->in_flight += len;
        return len;
    }
    if (s == NULL) {
        return 0;
    }
    if (s->out_len > 0) {
        if (cap < s->out_len) {
            return 0;
        }
        memcpy(out, s->out, s->out_len);
        len = s->out_len;
        s->out_len = 0;
    }
    size_t more;
    do {
        more = next_frame(l, out + len, cap - len, now_ms);
        len += more;
    } while (more > 0 && l->in_flight + len < LINK_INFLIGHT_MAX);
    l->in_flight += len;
    return len;
}

bool link_bulk_begin(const struct link *l, uint8_t *out, size_t cap, struct wr *w)
{
    const struct link_session *s = l->s;
    if (l->state != LINK_UP || s->out_len > 0 || s->rehs_len > 0 || s->switch_due ||
        s->tx[LINK_CONTROL].len > 0 || s->tx[LINK_CHAT].len > 0 || l->in_flight > 0 ||
        cap < TRANSPORT_BODY_MAX + TRANSPORT_OVERHEAD) {
        return false;
    }
    *w = wr_init(out + TRANSPORT_HEAD, TRANSPORT_BODY_MAX);
    return true;
}

size_t link_bulk_end(struct link *l, uint8_t *out, const struct wr *w, uint64_t now_ms)
{
    assert(wr_ok(w));
    if (w->len == 0) {
        return 0;
    }
    if (transport_seal(&l->s->t, w->p, w->len, out) != 0) {
        end_cut(l);
        return 0;
    }
    l->s->keepalive_due = false;
    l->s->tx_ms = now_ms;
    l->in_flight += w->len + TRANSPORT_OVERHEAD;
    return w->len + TRANSPORT_OVERHEAD;
}

void link_sent(struct link *l, size_t n)
{
    assert(n <= l->in_flight);
    l->in_flight -= n;
    if (l->state == LINK_CLOSING && l->close_sent && l->in_flight == 0) {
        end(l, false, l->code, false);
    }
}

/* Events */

/* The next frame for the node among those received. */
static bool next_received(struct link_session *s, struct link_event *ev)
{
    while (s->rx.len > 0) {
        struct rd r = rd_init(buf_data(&s->rx), s->rx.len);
        size_t len = rd_u32(&r);
        struct rd body = rd_init(rd_bytes(&r, len), len);
        (void)rd_bytes(&body, s->rx_off);
        struct link_event found = {.kind = LINK_EV_FRAME};
        if (wire_frame_next(&body, &found.type, &found.payload, &found.len)) {
            s->rx_off = len - body.n;
            if (found.type >= FRAME_HELLO) {
                *ev = found;
                return true;
            }
        } else {
            buf_consume(&s->rx, RX_HEAD + len);
            s->rx_off = 0;
        }
    }
    return false;
}

bool link_next_event(struct link *l, struct link_event *ev)
{
    if (l->ev_counter) {
        l->ev_counter = false;
        *ev = (struct link_event){.kind = LINK_EV_COUNTER, .counter = l->s->counter};
        return true;
    }
    if (l->ev_up) {
        l->ev_up = false;
        *ev = (struct link_event){.kind = LINK_EV_UP};
        return true;
    }
    if (l->s != NULL && next_received(l->s, ev)) {
        return true;
    }
    if (l->state == LINK_ENDED) {
        l->state = LINK_OVER;
        *ev = (struct link_event){.kind = LINK_EV_CLOSED,
                                  .code = l->code,
                                  .cut = l->cut,
                                  .by_peer = l->by_peer};
        return true;
    }
    return false;
}

/* What is known */

enum link_kind link_kind(const struct link *l)
{
    return l->s != NULL ? l->s->kind : (enum link_kind)0;
}

uint32_t link_ref(const struct link *l)
{
    return l->s != NULL ? l->s->ref : 0;
}

bool link_is_up(const struct link *l)
{
    return l->state == LINK_UP;
}

bool link_is_dialler(const struct link *l)
{
    return l->dialler;
}

bool link_is_half_open(const struct link *l)
{
    return !l->dialler && l->s == NULL && !is_over(l);
}

const uint8_t *link_hash(const struct link *l)
{
    return l->s != NULL ? l->s->hash : NULL;
}

const uint8_t *link_remote_static(const struct link *l)
{
    return l->s != NULL ? l->s->remote_static : NULL;
}

const struct cert *link_remote_cert(const struct link *l, const uint8_t **bytes,
                                    size_t *len)
{
    if (l->s == NULL || l->s->cert_len == 0) {
        return NULL;
    }
    *bytes = l->s->cert_bytes;
    *len = l->s->cert_len;
    return &l->s->cert;
}
