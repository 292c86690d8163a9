/* Committing: records to rows, all or none, and the events that this makes known. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "store_priv.h"

enum { RISE_ROWS = 128, EVENTS_CAP_MIN = 16 };

void store_events_release(struct store_events *e)
{
    for (size_t i = 0; i < e->n; i++) {
        blob_release(&e->v[i].text);
    }
    free(e->v);
    memset(e, 0, sizeof *e);
}

/* Makes room for n more events. */
static int events_room(struct store_events *e, size_t n)
{
    if (n <= e->cap - e->n) {
        return 0;
    }
    size_t cap = e->cap < EVENTS_CAP_MIN ? EVENTS_CAP_MIN : 2 * e->cap;
    if (cap < e->n + n) {
        cap = e->n + n;
    }
    struct store_event *v = realloc(e->v, cap * sizeof *v);
    if (v == NULL) {
        return ERR_NOMEM;
    }
    e->v = v;
    e->cap = cap;
    return 0;
}

struct store_event *store_events_add(struct store_events *e)
{
    if (events_room(e, 1) != 0) {
        return NULL;
    }
    struct store_event *v = &e->v[e->n++];
    memset(v, 0, sizeof *v);
    return v;
}

/* State tables */

static int put_meta(struct store *s, const struct rec_meta *v, bool del)
{
    struct bind b = bind_start(s, del ? ST_META_DEL : ST_META_PUT);
    bind_name(&b, v->key, sizeof v->key);
    if (!del) {
        bind_bytes(&b, v->value.p, v->value.n);
    }
    return bind_run(&b);
}

static int put_boxkey(struct store *s, const struct rec_boxkey *v, bool del)
{
    struct bind b = bind_start(s, del ? ST_BOXKEY_DEL : ST_BOXKEY_PUT);
    bind_bytes(&b, v->pub, sizeof v->pub);
    if (!del) {
        bind_bytes(&b, v->sec, sizeof v->sec);
        bind_int(&b, v->created_s);
    }
    return bind_run(&b);
}

static int put_contact(struct store *s, const struct rec_contact *v, bool del)
{
    struct bind b = bind_start(s, del ? ST_CONTACT_DEL : ST_CONTACT_PUT);
    bind_int(&b, v->id);
    if (!del) {
        bind_bytes(&b, v->root, sizeof v->root);
        bind_name(&b, v->name, sizeof v->name);
        bind_name(&b, v->announced, sizeof v->announced);
        bind_bytes(&b, v->pair, sizeof v->pair);
        bind_int(&b, v->flags);
        bind_int(&b, v->created_ms);
        bind_name(&b, v->network, sizeof v->network);
    }
    return bind_run(&b);
}

static int put_device(struct store *s, const struct rec_device *v, bool del)
{
    struct bind b = bind_start(s, del ? ST_DEVICE_DEL : ST_DEVICE_PUT);
    s->device[v->id & (STORE_DEVICES_CACHED - 1)].id = 0;
    bind_int(&b, v->id);
    if (!del) {
        bind_int(&b, v->contact);
        bind_bytes(&b, v->device, sizeof v->device);
        bind_bytes(&b, v->stat, sizeof v->stat);
        bind_bytes(&b, v->cert.p, v->cert.n);
        bind_bytes(&b, v->box, sizeof v->box);
        bind_int(&b, v->box_time);
        bind_bytes_if(&b, v->has_presence, v->presence_p, sizeof v->presence_p);
        bind_bytes_if(&b, v->has_presence, v->presence_a, sizeof v->presence_a);
        bind_int(&b, v->counter_tx);
        bind_int(&b, v->counter_rx);
        bind_bytes(&b, v->addrs.p, v->addrs.n);
    }
    return bind_run(&b);
}

static int put_invite(struct store *s, const struct rec_invite *v, bool del)
{
    struct bind b = bind_start(s, del ? ST_INVITE_DEL : ST_INVITE_PUT);
    bind_int(&b, v->id);
    if (!del) {
        bind_bytes(&b, v->secret, sizeof v->secret);
        bind_int(&b, v->created_s);
        bind_int(&b, v->expiry_s);
        bind_int(&b, v->ended_s);
        bind_int(&b, v->used);
        bind_int(&b, v->revoked);
        bind_bytes(&b, v->used_by, sizeof v->used_by);
    }
    return bind_run(&b);
}

static int put_adding(struct store *s, const struct rec_adding *v, bool del)
{
    struct bind b = bind_start(s, del ? ST_ADDING_DEL : ST_ADDING_PUT);
    bind_bytes(&b, v->secret, sizeof v->secret);
    if (!del) {
        bind_bytes(&b, v->root, sizeof v->root);
        bind_bytes(&b, v->code.p, v->code.n);
        bind_name(&b, v->as, sizeof v->as);
        bind_int(&b, v->started_ms);
    }
    return bind_run(&b);
}

static int put_request(struct store *s, const struct rec_request *v, bool del)
{
    struct bind b = bind_start(s, del ? ST_REQUEST_DEL : ST_REQUEST_PUT);
    bind_int(&b, v->id);
    if (!del) {
        bind_int(&b, v->state);
        bind_bytes(&b, v->root, sizeof v->root);
        bind_bytes(&b, v->device, sizeof v->device);
        bind_bytes(&b, v->stat, sizeof v->stat);
        bind_bytes(&b, v->cert.p, v->cert.n);
        bind_bytes(&b, v->box, sizeof v->box);
        bind_int(&b, v->box_time);
        bind_bytes(&b, v->pair, sizeof v->pair);
        bind_name(&b, v->name, sizeof v->name);
        bind_bytes(&b, v->text.p, v->text.n);
        bind_bytes(&b, v->addr, v->addr_len);
        bind_int(&b, v->time_ms);
    }
    return bind_run(&b);
}

static int put_conv(struct store *s, const struct rec_conv *v, bool del)
{
    struct bind b = bind_start(s, del ? ST_CONV_DEL : ST_CONV_PUT);
    bind_int(&b, v->id);
    if (!del) {
        bind_bytes(&b, v->cid, sizeof v->cid);
        bind_int(&b, v->kind);
        bind_int(&b, v->contact);
        bind_bytes(&b, v->members.p, v->members.n);
        bind_int(&b, v->created_ms);
    }
    return bind_run(&b);
}

static int put_feed(struct store *s, const struct rec_feed *v, bool del)
{
    struct bind b = bind_start(s, del ? ST_FEED_DEL : ST_FEED_PUT);
    bind_int(&b, v->id);
    if (!del) {
        bind_int(&b, v->conv);
        bind_int(&b, v->device);
        bind_bytes(&b, v->gen, sizeof v->gen);
        bind_int(&b, v->flags);
        bind_int(&b, v->head);
        bind_int(&b, v->head_order);
        bind_bytes(&b, v->head_id, sizeof v->head_id);
        bind_int(&b, v->opened);
        bind_int(&b, v->opened_order);
        bind_bytes(&b, v->opened_id, sizeof v->opened_id);
        bind_int(&b, v->closed_from);
        bind_int(&b, v->chain_start);
        bind_int(&b, v->chain_n);
        bind_bytes(&b, v->chain_secret, sizeof v->chain_secret);
        bind_int(&b, v->chain_created_s);
        bind_bytes(&b, v->sign_pub, sizeof v->sign_pub);
        bind_bytes(&b, v->sign_sec, sizeof v->sign_sec);
        bind_int(&b, v->read);
    }
    return bind_run(&b);
}

static int put_have(struct store *s, const struct rec_have *v, bool del)
{
    struct bind b = bind_start(s, del ? ST_HAVE_DEL : ST_HAVE_PUT);
    bind_int(&b, v->device);
    bind_int(&b, v->feed);
    if (!del) {
        bind_int(&b, v->n);
        bind_int(&b, v->opened);
        bind_int(&b, v->read);
    }
    return bind_run(&b);
}

/* Entries */

bool store_key(uint32_t feed, uint64_t seq, uint64_t *k)
{
    if (feed >> STORE_FEED_BITS != 0 || seq >> STORE_SEQ_BITS != 0) {
        return false;
    }
    *k = (uint64_t)feed << STORE_SEQ_BITS | seq;
    return true;
}

static int del_entries(struct store *s, uint64_t k)
{
    uint64_t last = k | ((UINT64_C(1) << STORE_SEQ_BITS) - 1);
    int err = 0;
    static const enum stmt_id all[] = {ST_ENTRY_DEL, ST_CARRIES_DEL, ST_ALSO_DEL,
                                       ST_EDITED_BY_CUT};
    for (size_t i = 0; err == 0 && i < sizeof all / sizeof all[0]; i++) {
        struct bind b = bind_start(s, all[i]);
        bind_int(&b, k);
        bind_int(&b, last);
        err = bind_run(&b);
    }
    return err;
}

static int put_entry(struct store *s, const struct rec_entry *v, bool del)
{
    static const uint8_t none[WIRE_MID];
    uint64_t k = 0;
    if (!store_key(v->feed, v->seq, &k)) {
        return ERR_LIMIT;
    }
    if (del) {
        return del_entries(s, k);
    }
    struct bind b = bind_start(s, ST_ENTRY_PUT);
    bind_int(&b, k);
    bind_bytes(&b, v->id, sizeof v->id);
    bind_bytes(&b, v->header.p, v->header.n);
    bind_bytes(&b, v->box.p, v->box.n);
    bind_bytes_if(&b, v->has_self, v->self, sizeof v->self);
    bind_bytes_if(&b, v->has_sig, v->sig, sizeof v->sig);
    bind_bytes_if(&b, memcmp(v->mid, none, sizeof none) != 0, v->mid, sizeof v->mid);
    return bind_run(&b);
}

static int put_fork(struct store *s, const struct rec_fork *v, bool del)
{
    uint64_t k = 0;
    if (!store_key(v->feed, v->seq, &k)) {
        return ERR_LIMIT;
    }
    struct bind b = bind_start(s, del ? ST_FORK_DEL : ST_FORK_PUT);
    bind_int(&b, k);
    if (!del) {
        bind_bytes(&b, v->header_a.p, v->header_a.n);
        bind_bytes(&b, v->header_b.p, v->header_b.n);
    }
    return bind_run(&b);
}

/* Messages, states, events */

/* Notes that a conversation has delta more unread messages. */
static int unread_add(struct store *s, uint32_t conv, int64_t delta)
{
    for (size_t i = s->n_unread; i > 0; i--) {
        if (s->unread[i - 1].conv == conv) {
            s->unread[i - 1].delta += delta;
            return 0;
        }
    }
    if (s->n_unread == s->cap_unread) {
        size_t cap = s->cap_unread == 0 ? 8 : 2 * s->cap_unread;
        struct unread *v = realloc(s->unread, cap * sizeof *v);
        if (v == NULL) {
            return ERR_NOMEM;
        }
        s->unread = v;
        s->cap_unread = cap;
    }
    s->unread[s->n_unread++] = (struct unread){conv, delta};
    return 0;
}

static int flush_unread(struct store *s)
{
    int err = 0;
    for (size_t i = 0; err == 0 && i < s->n_unread; i++) {
        struct bind b = bind_start(s, ST_UNREAD_ADD);
        bind_int(&b, s->unread[i].conv);
        bind_i64(&b, s->unread[i].delta);
        err = bind_run(&b);
    }
    s->n_unread = 0;
    return err;
}

/* The row of an event that refers to a message. */
static int put_event_row(struct store *s, uint64_t n, uint8_t topic, uint8_t state,
                         uint64_t row)
{
    struct bind b = bind_start(s, ST_EVENT_PUT);
    bind_int(&b, n);
    bind_int(&b, topic);
    bind_int(&b, state);
    bind_int(&b, row);
    bind_null(&b);
    bind_null(&b);
    bind_null(&b);
    bind_null(&b);
    return bind_run(&b);
}

static int put_event(struct store_work *w, const struct rec_event *v)
{
    struct store_event *e = store_events_add(&w->events);
    if (e == NULL) {
        return ERR_NOMEM;
    }
    e->n = ++w->s->event_last;
    e->topic = v->topic;
    e->event = *v;
    struct bind b = bind_start(w->s, ST_EVENT_PUT);
    bind_int(&b, e->n);
    bind_int(&b, v->topic);
    bind_int(&b, v->what);
    bind_null(&b);
    bind_int(&b, v->contact);
    bind_int(&b, v->conv);
    bind_int(&b, v->value);
    bind_name(&b, v->text, sizeof v->text);
    return bind_run(&b);
}

static int msg_event(struct store_work *w, const struct rec_msg *m, uint64_t row,
                     bool gone)
{
    struct store_event *e = store_events_add(&w->events);
    if (e == NULL || (!gone && !blob_set(&e->text, m->text.p, m->text.n))) {
        return ERR_NOMEM;
    }
    e->n = ++w->s->event_last;
    e->topic = TOPIC_MESSAGE;
    memcpy(e->mid, m->mid, sizeof e->mid);
    e->conv = m->conv;
    e->author = m->author;
    e->device = m->device;
    e->kind = m->kind;
    e->state = m->state;
    e->flags = m->flags | (gone ? MSG_REDACTED : 0);
    e->has_reply = m->has_reply;
    memcpy(e->reply, m->reply, sizeof e->reply);
    e->time_ms = m->time_ms;
    e->order = m->order;
    e->row = row;
    return put_event_row(w->s, e->n, e->topic, e->state, row);
}

/* Of a message that more than one entry carries, all of them are kept in `also`. */
static int carried_also(struct store *s, uint64_t row, uint32_t feed, uint64_t seq)
{
    uint64_t k = 0;
    if (!store_key(feed, seq, &k)) {
        return ERR_LIMIT;
    }
    struct bind b = bind_start(s, ST_ALSO_PUT);
    bind_int(&b, k);
    bind_int(&b, row);
    return bind_run(&b);
}

/* A message that is there already: another entry carries it. *gone when it was redacted.
 */
static int move_msg(struct store *s, const struct rec_msg *m, uint64_t *row, bool *gone)
{
    struct bind b = bind_start(s, ST_MSG_SAME);
    bind_bytes(&b, m->mid, sizeof m->mid);
    bind_int(&b, m->conv);
    bind_int(&b, m->author);
    int rc = bind_row(&b);
    if (rc != 1) {
        return rc < 0 ? rc : ERR_CORRUPT; /* the index has it, the table has not */
    }
    *row = col_int(b.st, 0);
    uint32_t feed = (uint32_t)col_int(b.st, 1);
    uint64_t seq = col_int(b.st, 2);
    *gone = (col_int(b.st, 3) & MSG_REDACTED) != 0;
    (void)sqlite3_reset(b.st);
    if (feed == m->feed && seq == m->seq) {
        return 0;
    }
    int err = carried_also(s, *row, feed, seq);
    if (err == 0) {
        err = carried_also(s, *row, m->feed, m->seq);
    }
    if (err != 0) {
        return err;
    }
    b = bind_start(s, ST_MSG_MOVE);
    bind_int(&b, m->feed);
    bind_int(&b, m->seq);
    bind_int(&b, *row);
    return bind_run(&b);
}

/* The row of a message, unless it is there. A redaction that came first has taken its
 * text. */
static int insert_msg(struct store *s, const struct rec_msg *m, uint64_t row, bool gone)
{
    int64_t rank = 0;
    int err = store_rank(s, m->device, &rank);
    if (err != 0) {
        return err;
    }
    struct bind b = bind_start(s, ST_MSG_PUT);
    bind_int(&b, row);
    bind_bytes(&b, m->mid, sizeof m->mid);
    bind_int(&b, m->conv);
    bind_int(&b, m->author);
    bind_int(&b, (uint64_t)m->state + STORE_WORD);
    bind_int(&b, m->device);
    bind_i64(&b, rank);
    bind_int(&b, m->feed);
    bind_int(&b, m->seq);
    bind_int(&b, m->kind);
    bind_int(&b, m->flags | (gone ? MSG_REDACTED : 0));
    bind_bytes_if(&b, m->has_reply, m->reply, sizeof m->reply);
    bind_int(&b, m->time_ms);
    bind_int(&b, m->order);
    bind_text(&b, m->text.p, gone ? 0 : m->text.n);
    return bind_run(&b);
}

static int put_msg(struct store_work *w, const struct rec_msg *m)
{
    struct store *s = w->s;
    uint64_t k = 0, row = s->row_last + 1;
    if (!store_key(m->feed, m->seq, &k)) {
        return ERR_LIMIT;
    }
    int waits = store_change_gone(s, m);
    bool gone = waits == 1, fresh = false;
    int err = waits < 0 ? waits : insert_msg(s, m, row, gone);
    if (err != 0) {
        return err;
    }
    fresh = sqlite3_changes(s->db) != 0;
    if (!fresh) {
        err = move_msg(s, m, &row, &gone);
    } else {
        s->row_last = row;
        err = msg_event(w, m, row, gone);
        if (err == 0 && m->author != 0 && m->state == STATE_RECEIVED) {
            err = unread_add(s, m->conv, 1);
        }
    }
    if (err != 0) {
        return err;
    }
    struct bind b = bind_start(s, ST_CARRIES_PUT);
    bind_int(&b, k);
    bind_int(&b, row);
    err = bind_run(&b);
    if (err == 0 && gone) {
        err = store_drop_entry(s, m->feed, m->seq);
    }
    if (err == 0 && gone && m->kind == MSG_FILE) {
        err = store_file_unname(s, m->conv, m->author, m->mid);
    }
    return err == 0 && fresh ? store_change_arrived(w, m) : err;
}

/* Reads the next messages of a key range whose state rises, as events without numbers.
 * *k is the key of the last one. The number of them, or an error. */
static int rising(struct store_work *w, uint64_t *k, uint64_t last, bool others,
                  uint8_t state)
{
    struct bind b = bind_start(w->s, others ? ST_MSG_READ : ST_MSG_RISE);
    int n = 0, rc = 0;
    bind_int(&b, *k);
    bind_int(&b, last);
    bind_int(&b, (uint64_t)(others ? STATE_RECEIVED : state) + STORE_WORD);
    bind_int(&b, RISE_ROWS);
    while ((rc = bind_row(&b)) == 1) {
        struct store_event *e = store_events_add(&w->events);
        if (e == NULL) {
            (void)sqlite3_reset(b.st);
            return ERR_NOMEM;
        }
        *k = col_int(b.st, 0);
        store_event_cols(b.st, 1, e);
        e->topic = TOPIC_STATE;
        e->state = state;
        n++;
    }
    return rc < 0 ? rc : n;
}

/* Stores the state of the last n events' messages and the events themselves. */
static int raise_states(struct store_work *w, size_t n)
{
    struct store *s = w->s;
    int err = 0;
    for (size_t i = w->events.n - n; err == 0 && i < w->events.n; i++) {
        struct store_event *e = &w->events.v[i];
        struct bind b = bind_start(s, ST_MSG_WORD);
        bind_int(&b, (uint64_t)e->state + STORE_WORD);
        bind_int(&b, e->row);
        err = bind_run(&b);
        if (err == 0) {
            e->n = ++s->event_last;
            err = put_event_row(s, e->n, e->topic, e->state, e->row);
        }
        if (err == 0 && e->author != 0) {
            err = unread_add(s, e->conv, -1);
        }
    }
    return err;
}

/* Raises the states of one direction's messages in a key range, a bounded number of rows
 * at a time. */
static int raise_range(struct store_work *w, uint64_t first, uint64_t last, bool others,
                       uint8_t state)
{
    int n = RISE_ROWS;
    for (uint64_t k = first; n == RISE_ROWS && k <= last; k++) {
        n = rising(w, &k, last, others, state);
        if (n < 0) {
            return n;
        }
        int err = raise_states(w, (size_t)n);
        if (err != 0) {
            return err;
        }
    }
    return 0;
}

static int put_state(struct store_work *w, const struct rec_state *v)
{
    uint64_t seq_last = (UINT64_C(1) << STORE_SEQ_BITS) - 1, first = 0, last = 0;
    if (v->state > STATE_READ || v->from > v->to || v->from > seq_last) {
        return v->state > STATE_READ ? ERR_STATE : 0;
    }
    if (!store_key(v->feed, v->from, &first) ||
        !store_key(v->feed, v->to < seq_last ? v->to : seq_last, &last)) {
        return ERR_LIMIT;
    }
    int err = raise_range(w, first, last, false, v->state);
    if (err == 0 && v->state == STATE_READ) {
        err = raise_range(w, first, last, true, v->state);
    }
    return err;
}

/* Transactions */

static int apply_rec(struct store_work *w, const struct rec *r)
{
    switch (r->kind) {
    case REC_META:
        return put_meta(w->s, &r->u.meta, r->del);
    case REC_BOXKEY:
        return put_boxkey(w->s, &r->u.boxkey, r->del);
    case REC_CONTACT:
        return put_contact(w->s, &r->u.contact, r->del);
    case REC_DEVICE:
        return put_device(w->s, &r->u.device, r->del);
    case REC_INVITE:
        return put_invite(w->s, &r->u.invite, r->del);
    case REC_ADDING:
        return put_adding(w->s, &r->u.adding, r->del);
    case REC_REQUEST:
        return put_request(w->s, &r->u.request, r->del);
    case REC_CONV:
        return put_conv(w->s, &r->u.conv, r->del);
    case REC_FEED:
        return put_feed(w->s, &r->u.feed, r->del);
    case REC_HAVE:
        return put_have(w->s, &r->u.have, r->del);
    case REC_FILE:
        return store_file_put(w->s, &r->u.file, r->del);
    case REC_FILE_BITS:
        return store_file_bits_put(w->s, &r->u.file_bits, r->del);
    case REC_FILE_PEER:
        return store_file_peer_put(w->s, &r->u.file_peer, r->del);
    case REC_FILE_RULE:
        return store_file_rule_put(w->s, &r->u.file_rule, r->del);
    case REC_ENTRY:
        return put_entry(w->s, &r->u.entry, r->del);
    case REC_FORK:
        return put_fork(w->s, &r->u.fork, r->del);
    case REC_MSG:
        return r->del ? ERR_STATE : put_msg(w, &r->u.msg);
    case REC_CHANGE:
        return r->del ? ERR_STATE : store_change_put(w, &r->u.change);
    case REC_STATE:
        return r->del ? ERR_STATE : put_state(w, &r->u.state);
    case REC_EVENT:
        return r->del ? ERR_STATE : put_event(w, &r->u.event);
    }
    return ERR_STATE;
}

static int run_one(struct store *s, enum stmt_id id)
{
    struct bind b = bind_start(s, id);
    return bind_run(&b);
}

static int apply_all(struct store_work *w, const struct txn *const *txns, size_t n,
                     struct store_events *events)
{
    int err = run_one(w->s, ST_BEGIN);
    for (size_t i = 0; err == 0 && i < n; i++) {
        for (size_t j = 0; err == 0 && j < txns[i]->n; j++) {
            err = apply_rec(w, &txns[i]->recs[j]);
        }
    }
    if (err == 0) {
        err = flush_unread(w->s);
    }
    for (size_t i = 0; err == 0 && i < w->events.n; i++) {
        err = store_event_file(w->s, &w->events.v[i]); /* may come after its message */
    }
    if (err == 0 && events != NULL && events->n > 0) {
        err = events_room(events, w->events.n); /* nothing may fail after the commit */
    }
    return err == 0 ? run_one(w->s, ST_COMMIT) : err;
}

/* Undoes what a failed commit did to the database and to our counters. */
static void undo(struct store *s, uint64_t row_last, uint64_t event_last,
                 uint64_t pending_n)
{
    if (sqlite3_get_autocommit(s->db) == 0) {
        (void)run_one(s, ST_ROLLBACK);
    }
    s->row_last = row_last;
    s->event_last = event_last;
    s->n_unread = 0;
    s->pending_n = pending_n;
    memset(s->device, 0, sizeof s->device);
}

int store_commit(struct store *s, const struct txn *const *txns, size_t n,
                 struct store_events *events)
{
    struct store_work w = {.s = s};
    uint64_t row_last = s->row_last, event_last = s->event_last;
    uint64_t pending_n = s->pending_n;
    s->n_unread = 0;
    int err = apply_all(&w, txns, n, events);
    if (err == 0 && s->wal_pages >= STORE_WAL_HARD) {
        (void)store_checkpoint(s);
    }
    if (err != 0) {
        undo(s, row_last, event_last, pending_n);
    } else if (events != NULL && events->n == 0) {
        struct store_events empty = *events;
        *events = w.events;
        w.events = empty;
    } else if (events != NULL && w.events.n > 0) {
        memcpy(&events->v[events->n], w.events.v, w.events.n * sizeof *w.events.v);
        events->n += w.events.n;
        w.events.n = 0;
    }
    store_events_release(&w.events);
    return err;
}

int store_probe(struct store *s)
{
    return run_one(s, ST_PROBE);
}
