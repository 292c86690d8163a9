/* The store's rows: what goes in by a commit comes out by a query. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "store.h"
#include "store_make.h"
#include "store_priv.h"

enum { SEEN_MAX = 1024, BASE = 1000 };

static struct store *open_memory(void)
{
    struct store *s = NULL;
    cr_assert_eq(store_open(":memory:", &s, NULL, 0), 0);
    return s;
}

static int try_commit(struct store *s, struct txn *t, struct store_events *ev)
{
    const struct txn *list[] = {t};
    int err = store_commit(s, list, 1, ev);
    txn_release(t);
    return err;
}

/* Commits and releases t; the events, to be released. */
static struct store_events commit(struct store *s, struct txn *t)
{
    struct store_events ev = {0};
    cr_assert_eq(try_commit(s, t, &ev), 0);
    return ev;
}

static size_t commit_count(struct store *s, struct txn *t)
{
    struct store_events ev = commit(s, t);
    size_t n = ev.n;
    store_events_release(&ev);
    return n;
}

/* What a query told: message numbers (the texts begin with them) and copies. */
struct seen {
    size_t n;
    unsigned long i[SEEN_MAX];
    struct store_msg m[SEEN_MAX];
};

static int see(void *ctx, const struct store_msg *m)
{
    struct seen *seen = ctx;
    char text[16] = {0};
    cr_assert_lt(seen->n, SEEN_MAX);
    memcpy(text, m->text.p, m->text.n < 15 ? m->text.n : 15);
    seen->m[seen->n] = *m;
    seen->m[seen->n].text = (struct blob){0};
    seen->i[seen->n++] = strtoul(text, NULL, 10);
    return 0;
}

static uint8_t state_of(struct store *s, uint64_t i)
{
    static struct seen seen;
    char hex[33];
    uint8_t mid[WIRE_MID];
    make_mid(i, mid);
    for (size_t j = 0; j < sizeof mid; j++) {
        (void)snprintf(hex + 2 * j, 3, "%02x", mid[j]);
    }
    memset(&seen, 0, sizeof seen);
    cr_assert_eq(store_find(s, hex, see, &seen), 0);
    cr_assert_eq(seen.n, 1);
    return seen.m[0].state;
}

/* State tables */

struct loaded {
    size_t n;
    enum rec_kind kind[32];
    struct rec r[32]; /* blobs copied */
};

static int keep(void *ctx, const struct rec *r)
{
    struct loaded *l = ctx;
    struct rec *c = &l->r[l->n];
    *c = *r;
    bool ok = true;
    if (r->kind == REC_META) {
        ok = blob_set(&c->u.meta.value, r->u.meta.value.p, r->u.meta.value.n);
    } else if (r->kind == REC_DEVICE) {
        ok = blob_set(&c->u.device.cert, r->u.device.cert.p, r->u.device.cert.n) &&
             blob_set(&c->u.device.addrs, r->u.device.addrs.p, r->u.device.addrs.n);
    } else if (r->kind == REC_ADDING) {
        ok = blob_set(&c->u.adding.code, r->u.adding.code.p, r->u.adding.code.n);
    } else if (r->kind == REC_CONV) {
        ok = blob_set(&c->u.conv.members, r->u.conv.members.p, r->u.conv.members.n);
    }
    cr_assert(ok);
    l->kind[l->n++] = r->kind;
    return 0;
}

static void unload(struct loaded *l)
{
    for (size_t i = 0; i < l->n; i++) {
        rec_release(&l->r[i]);
    }
    memset(l, 0, sizeof *l);
}

static void fill_feed(struct rec_feed *f)
{
    *f = (struct rec_feed){.id = 30,
                           .conv = 27,
                           .device = 9,
                           .flags = 31,
                           .head = 32,
                           .head_order = 33,
                           .opened = 34,
                           .opened_order = 35,
                           .closed_from = 36,
                           .chain_start = 37,
                           .chain_n = 38,
                           .chain_created_s = 39,
                           .read = 40};
    memset(f->gen, 41, sizeof f->gen);
    memset(f->head_id, 42, sizeof f->head_id);
    memset(f->opened_id, 43, sizeof f->opened_id);
    memset(f->chain_secret, 44, sizeof f->chain_secret);
    memset(f->sign_pub, 45, sizeof f->sign_pub);
    memset(f->sign_sec, 46, sizeof f->sign_sec);
}

/* One record of each state table, every field filled, in the order of store_load. */
static void one_of_each(struct rec r[9])
{
    static const enum rec_kind kinds[9] = {REC_META,   REC_BOXKEY, REC_CONTACT,
                                           REC_DEVICE, REC_INVITE, REC_ADDING,
                                           REC_CONV,   REC_FEED,   REC_HAVE};
    memset(r, 0, 9 * sizeof *r);
    for (int i = 0; i < 9; i++) {
        r[i].kind = kinds[i];
    }
    (void)snprintf(r[0].u.meta.key, sizeof r[0].u.meta.key, "%s",
                   "a key that is as long as it can");
    cr_assert_eq(strlen(r[0].u.meta.key), REC_META_KEY_MAX);
    cr_assert(blob_set(&r[0].u.meta.value, "value\0more", 10));
    memset(r[1].u.boxkey.pub, 1, 32);
    memset(r[1].u.boxkey.sec, 2, 32);
    r[1].u.boxkey.created_s = 3;
    r[2].u.contact = (struct rec_contact){.id = 4, .flags = 5, .created_ms = 6};
    memset(r[2].u.contact.root, 7, WIRE_ID);
    memset(r[2].u.contact.pair, 8, 32);
    memset(r[2].u.contact.name, 'n', WIRE_NAME_MAX);
    (void)snprintf(r[2].u.contact.announced, WIRE_NAME_MAX, "Bjørn");
    r[3].u.device = (struct rec_device){.id = 9,
                                        .contact = 4,
                                        .box_time = 10,
                                        .has_presence = true,
                                        .counter_tx = INT64_MAX,
                                        .counter_rx = 12};
    memset(r[3].u.device.device, 13, WIRE_ID);
    memset(r[3].u.device.stat, 14, 32);
    memset(r[3].u.device.box, 15, 32);
    memset(r[3].u.device.presence_p, 16, 32);
    memset(r[3].u.device.presence_a, 17, 32);
    cr_assert(blob_set(&r[3].u.device.cert, "certificate", 11));
    cr_assert(blob_set(&r[3].u.device.addrs, "addresses", 9));
    r[4].u.invite = (struct rec_invite){.id = 18,
                                        .created_s = 19,
                                        .expiry_s = 20,
                                        .ended_s = 21,
                                        .used = true,
                                        .revoked = true};
    memset(r[4].u.invite.secret, 22, 32);
    memset(r[4].u.invite.used_by, 23, WIRE_ID);
    r[5].u.adding.started_ms = 24;
    memset(r[5].u.adding.secret, 25, 32);
    memset(r[5].u.adding.root, 26, 32);
    (void)snprintf(r[5].u.adding.as, WIRE_NAME_MAX, "carol");
    cr_assert(blob_set(&r[5].u.adding.code, "linnet1code", 11));
    r[6].u.conv =
        (struct rec_conv){.id = 27, .kind = CONV_GROUP, .contact = 4, .created_ms = 28};
    memset(r[6].u.conv.cid, 29, WIRE_ID);
    cr_assert(blob_set(&r[6].u.conv.members, "members", 7));
    fill_feed(&r[7].u.feed);
    r[8].u.have =
        (struct rec_have){.device = 9, .feed = 30, .n = 47, .opened = 48, .read = 49};
}

static void add_copies(struct txn *t, bool del)
{
    struct rec r[9];
    one_of_each(r);
    for (int i = 0; i < 9; i++) {
        r[i].del = del;
        cr_assert_eq(txn_add(t, &r[i]), 0);
    }
}

#define SAME(a, b) cr_assert_eq(memcmp(&(a), &(b), sizeof(a)), 0)

Test(store, state_tables_round_trip)
{
    struct store *s = open_memory();
    struct txn t = {0};
    struct loaded l = {0};
    struct rec want[9];
    add_copies(&t, false);
    cr_assert_eq(commit_count(s, &t), 0);
    cr_assert_eq(store_load(s, keep, &l), 0);
    cr_assert_eq(l.n, 9);
    one_of_each(want);
    for (int i = 0; i < 9; i++) {
        cr_assert_eq(l.kind[i], want[i].kind);
    }
    cr_assert_str_eq(l.r[0].u.meta.key, want[0].u.meta.key);
    cr_assert_eq(l.r[0].u.meta.value.n, 10);
    cr_assert_eq(memcmp(l.r[0].u.meta.value.p, "value\0more", 10), 0);
    SAME(l.r[1].u.boxkey, want[1].u.boxkey);
    SAME(l.r[2].u.contact, want[2].u.contact);
    cr_assert_eq(l.r[3].u.device.cert.n, 11);
    cr_assert_eq(l.r[3].u.device.addrs.n, 9);
    cr_assert_eq(l.r[3].u.device.counter_tx, INT64_MAX);
    cr_assert(l.r[3].u.device.has_presence);
    SAME(l.r[3].u.device.presence_p, want[3].u.device.presence_p);
    SAME(l.r[3].u.device.presence_a, want[3].u.device.presence_a);
    SAME(l.r[3].u.device.device, want[3].u.device.device);
    SAME(l.r[3].u.device.stat, want[3].u.device.stat);
    SAME(l.r[3].u.device.box, want[3].u.device.box);
    SAME(l.r[4].u.invite, want[4].u.invite);
    cr_assert_str_eq(l.r[5].u.adding.as, "carol");
    cr_assert_eq(l.r[5].u.adding.code.n, 11);
    SAME(l.r[5].u.adding.root, want[5].u.adding.root);
    SAME(l.r[6].u.conv.cid, want[6].u.conv.cid);
    cr_assert_eq(l.r[6].u.conv.kind, CONV_GROUP);
    cr_assert_eq(l.r[6].u.conv.contact, 4);
    cr_assert_eq(l.r[6].u.conv.members.n, 7);
    SAME(l.r[7].u.feed, want[7].u.feed);
    SAME(l.r[8].u.have, want[8].u.have);
    for (int i = 0; i < 9; i++) {
        rec_release(&want[i]);
    }
    unload(&l);
    add_copies(&t, true);
    (void)commit_count(s, &t);
    cr_assert_eq(store_load(s, keep, &l), 0);
    cr_assert_eq(l.n, 0);
    store_close(s);
}

static int stop_at_once(void *ctx, const struct rec *r)
{
    (void)r;
    ++*(int *)ctx;
    return 7;
}

Test(store, load_stops_when_told)
{
    struct store *s = open_memory();
    struct txn t = {0};
    int calls = 0;
    add_copies(&t, false);
    (void)commit_count(s, &t);
    cr_assert_eq(store_load(s, stop_at_once, &calls), 7);
    cr_assert_eq(calls, 1);
    store_close(s);
}

/* Entries */

Test(store, entries_come_back_in_order_and_bounded)
{
    struct store *s = open_memory();
    struct txn t = {0};
    struct store_entries e = {0};
    uint8_t mid[WIRE_MID], none[WIRE_MID] = {0};
    for (uint64_t i = 1; i <= 40; i++) {
        make_entry(&t, 1, i, 100, i, true);
        make_entry(&t, 2, i, 100, i, false);
    }
    (void)commit_count(s, &t);
    cr_assert_eq(store_entries(s, 1, 5, 30, 10, SIZE_MAX, &e), 0);
    cr_assert_eq(e.n, 10);
    for (size_t i = 0; i < e.n; i++) {
        cr_assert_eq(e.v[i].feed, 1);
        cr_assert_eq(e.v[i].seq, 5 + i);
        cr_assert_eq(e.v[i].id[0], 5 + i);
        cr_assert_eq(e.v[i].header.n, 210);
        cr_assert_eq(e.v[i].box.n, 100);
        cr_assert(e.v[i].has_self);
        cr_assert_not(e.v[i].has_sig);
        make_mid(5 + i, mid);
        SAME(e.v[i].mid, mid);
    }
    store_entries_release(&e);
    cr_assert_eq(store_entries(s, 2, 1, UINT64_MAX, 100, SIZE_MAX, &e), 0);
    cr_assert_eq(e.n, 40);
    SAME(e.v[0].mid, none);
    store_entries_release(&e);
    cr_assert_eq(store_entries(s, 2, 1, 40, 100, 3 * 310 + 309, &e), 0);
    cr_assert_eq(e.n, 3, "as many as fit");
    store_entries_release(&e);
    cr_assert_eq(store_entries(s, 2, 1, 40, 100, 1, &e), 0);
    cr_assert_eq(e.n, 1, "at least one");
    store_entries_release(&e);
    cr_assert_eq(store_entries(s, 3, 1, 40, 100, 1, &e), 0);
    cr_assert_eq(e.n, 0);
    cr_assert_eq(store_entries(s, 1, 9, 8, 100, 1, &e), 0);
    cr_assert_eq(e.n, 0);
    store_close(s);
}

Test(store, deleting_an_entry_deletes_what_follows_in_its_feed)
{
    struct store *s = open_memory();
    struct txn t = {0};
    struct store_entries e = {0};
    for (uint64_t i = 1; i <= 9; i++) {
        make_entry(&t, 1, i, 10, i, true);
        make_msg(&t, 1, 1, i, 0, i, BASE + i);
        make_entry(&t, 2, i, 10, i, true);
    }
    (void)commit_count(s, &t);
    struct rec r = {.kind = REC_ENTRY, .del = true};
    r.u.entry.feed = 1;
    r.u.entry.seq = 4;
    cr_assert_eq(txn_add(&t, &r), 0);
    (void)commit_count(s, &t);
    cr_assert_eq(store_entries(s, 1, 1, 99, 99, SIZE_MAX, &e), 0);
    cr_assert_eq(e.n, 3);
    store_entries_release(&e);
    cr_assert_eq(store_entries(s, 2, 1, 99, 99, SIZE_MAX, &e), 0);
    cr_assert_eq(e.n, 9);
    store_entries_release(&e);
    make_state(&t, 1, 1, 9, STATE_SENT);
    cr_assert_eq(commit_count(s, &t), 3, "messages of deleted entries are no longer met");
    cr_assert_eq(state_of(s, 9), STATE_QUEUED, "but stay");
    store_close(s);
}

Test(store, an_entry_can_lose_its_box_and_have_a_signature)
{
    struct store *s = open_memory();
    struct txn t = {0};
    struct store_entries e = {0};
    make_entry(&t, 1, 1, 100, 1, false);
    (void)commit_count(s, &t);
    struct rec r = {.kind = REC_ENTRY};
    r.u.entry.feed = 1;
    r.u.entry.seq = 1;
    r.u.entry.has_sig = true;
    memset(r.u.entry.sig, 6, sizeof r.u.entry.sig);
    cr_assert(blob_set(&r.u.entry.header, "h", 1));
    cr_assert_eq(txn_add(&t, &r), 0);
    (void)commit_count(s, &t);
    cr_assert_eq(store_entries(s, 1, 1, 1, 9, SIZE_MAX, &e), 0);
    cr_assert_eq(e.n, 1);
    cr_assert_eq(e.v[0].header.n, 1);
    cr_assert_eq(e.v[0].box.n, 0);
    cr_assert_not(e.v[0].has_self);
    cr_assert(e.v[0].has_sig);
    cr_assert_eq(e.v[0].sig[63], 6);
    store_entries_release(&e);
    store_close(s);
}

Test(store, forks_keep_their_first_proof)
{
    struct store *s = open_memory();
    struct txn t = {0};
    for (int i = 0; i < 2; i++) {
        struct rec r = {.kind = REC_FORK};
        r.u.fork.feed = 1;
        r.u.fork.seq = 2;
        cr_assert(blob_set(&r.u.fork.header_a, i == 0 ? "a" : "c", 1));
        cr_assert(blob_set(&r.u.fork.header_b, "b", 1));
        cr_assert_eq(txn_add(&t, &r), 0);
    }
    (void)commit_count(s, &t);
    sqlite3_stmt *st = NULL;
    cr_assert_eq(sqlite3_prepare_v2(s->db, "SELECT header_a FROM fork", -1, &st, NULL),
                 0);
    cr_assert_eq(sqlite3_step(st), SQLITE_ROW);
    cr_assert_eq(*(const char *)sqlite3_column_blob(st, 0), 'a');
    cr_assert_eq(sqlite3_step(st), SQLITE_DONE);
    (void)sqlite3_finalize(st);
    store_close(s);
}

/* Messages and states */

Test(store, a_message_makes_an_event_once)
{
    struct store *s = open_memory();
    struct txn t = {0};
    make_entry(&t, 1, 1, 100, 7, true);
    make_msg(&t, 3, 1, 1, 0, 7, BASE);
    struct store_events ev = commit(s, &t);
    uint8_t mid[WIRE_MID];
    make_mid(7, mid);
    cr_assert_eq(ev.n, 1);
    cr_assert_eq(ev.v[0].n, 1);
    cr_assert_eq(ev.v[0].topic, TOPIC_MESSAGE);
    SAME(ev.v[0].mid, mid);
    cr_assert_eq(ev.v[0].conv, 3);
    cr_assert_eq(ev.v[0].state, STATE_QUEUED);
    cr_assert_eq(ev.v[0].text.n, 100);
    cr_assert_eq(ev.v[0].row, 1);
    cr_assert_eq(ev.v[0].order, BASE);
    store_events_release(&ev);
    /* the same message in another generation: moved, not told again */
    make_entry(&t, 2, 1, 100, 7, true);
    make_msg(&t, 3, 2, 1, 0, 7, BASE);
    cr_assert_eq(commit_count(s, &t), 0);
    static struct seen seen;
    cr_assert_eq(
        store_history(s, &(struct store_query){.conv = 3, .limit = 9}, see, &seen), 0);
    cr_assert_eq(seen.n, 1);
    cr_assert_eq(seen.m[0].feed, 2);
    /* and the later states of the repeat are its states */
    make_state(&t, 2, 1, 1, STATE_DELIVERED);
    cr_assert_eq(commit_count(s, &t), 1);
    cr_assert_eq(state_of(s, 7), STATE_DELIVERED);
    /* another author or conversation is another message */
    make_msg(&t, 3, 5, 1, 2, 7, BASE);
    make_msg(&t, 4, 6, 1, 0, 7, BASE);
    cr_assert_eq(commit_count(s, &t), 2);
    store_close(s);
}

Test(store, states_rise_and_never_fall)
{
    struct store *s = open_memory();
    struct txn t = {0};
    for (uint64_t i = 1; i <= 400; i++) {
        make_entry(&t, 1, i, 10, i, true);
        if (i % 2 == 0) { /* others carry no message */
            make_msg(&t, 1, 1, i, 0, i, BASE + i);
        }
    }
    cr_assert_eq(commit_count(s, &t), 200);
    make_state(&t, 1, 10, 20, STATE_STORED);
    struct store_events ev = commit(s, &t);
    cr_assert_eq(ev.n, 6);
    for (size_t i = 0; i < ev.n; i++) {
        cr_assert_eq(ev.v[i].n, 201 + i);
        cr_assert_eq(ev.v[i].topic, TOPIC_STATE);
        cr_assert_eq(ev.v[i].state, STATE_STORED);
        cr_assert_eq(ev.v[i].order, BASE + 10 + 2 * i);
        cr_assert_eq(ev.v[i].text.n, 0);
    }
    store_events_release(&ev);
    make_state(&t, 1, 10, 20, STATE_SENT);
    make_state(&t, 1, 10, 20, STATE_STORED);
    cr_assert_eq(commit_count(s, &t), 0, "no news");
    cr_assert_eq(state_of(s, 10), STATE_STORED);
    make_state(&t, 1, 1, UINT64_MAX, STATE_DELIVERED);
    cr_assert_eq(commit_count(s, &t), 200, "more than one helping of rows");
    make_state(&t, 1, 1, 2, STATE_READ);
    cr_assert_eq(commit_count(s, &t), 1);
    cr_assert_eq(state_of(s, 2), STATE_READ);
    cr_assert_eq(state_of(s, 400), STATE_DELIVERED);
    make_state(&t, 1, 5, 4, STATE_READ);
    make_state(&t, 9, 1, 400, STATE_READ);
    cr_assert_eq(commit_count(s, &t), 0);
    store_close(s);
}

Test(store, reading_others_messages)
{
    struct store *s = open_memory();
    struct txn t = {0};
    uint64_t unread = 99;
    for (uint64_t i = 1; i <= 300; i++) {
        make_entry(&t, 2, i, 10, i, false);
        make_msg(&t, 1, 2, i, 5, i, BASE + i);
    }
    make_msg(&t, 2, 3, 1, 6, 1000, BASE);
    make_msg(&t, 1, 4, 1, 0, 1001, BASE);
    (void)commit_count(s, &t);
    cr_assert_eq(store_unread(s, 1, &unread), 0);
    cr_assert_eq(unread, 300);
    cr_assert_eq(store_unread(s, 2, &unread), 0);
    cr_assert_eq(unread, 1);
    cr_assert_eq(store_unread(s, 3, &unread), 0);
    cr_assert_eq(unread, 0);
    make_state(&t, 2, 1, 290, STATE_DELIVERED);
    cr_assert_eq(commit_count(s, &t), 0, "words for our own messages only");
    make_state(&t, 2, 1, 290, STATE_READ);
    struct store_events ev = commit(s, &t);
    cr_assert_eq(ev.n, 290);
    cr_assert_eq(ev.v[0].author, 5);
    cr_assert_eq(ev.v[0].state, STATE_READ);
    store_events_release(&ev);
    cr_assert_eq(store_unread(s, 1, &unread), 0);
    cr_assert_eq(unread, 10);
    make_state(&t, 2, 1, 300, STATE_READ);
    cr_assert_eq(commit_count(s, &t), 10);
    cr_assert_eq(store_unread(s, 1, &unread), 0);
    cr_assert_eq(unread, 0);
    cr_assert_eq(state_of(s, 300), STATE_READ);
    store_close(s);
}

/* History */

Test(store, history_is_ordered_by_order_then_device)
{
    static struct seen seen;
    struct store *s = open_memory();
    struct txn t = {0};
    make_device(&t, 1, 0, 0xf0); /* a device's row and its id need not be ordered alike */
    make_device(&t, 2, 1, 0x10);
    make_device(&t, 3, 1, 0x90);
    make_msg(&t, 1, 1, 1, 0, 30, 5);
    make_msg(&t, 1, 2, 1, 1, 10, 5);
    make_msg(&t, 1, 3, 1, 1, 20, 5);
    make_msg(&t, 1, 1, 2, 0, 40, 9);
    make_msg(&t, 1, 2, 2, 1, 5, 2);
    make_msg(&t, 2, 2, 3, 1, 99, 3);
    (void)commit_count(s, &t);
    struct store_query q = {.conv = 1, .limit = 99};
    cr_assert_eq(store_history(s, &q, see, &seen), 0);
    static const unsigned long want[] = {5, 10, 20, 30, 40};
    cr_assert_eq(seen.n, 5);
    cr_assert_eq(memcmp(seen.i, want, sizeof want), 0);
    q.backwards = true;
    seen.n = 0;
    cr_assert_eq(store_history(s, &q, see, &seen), 0);
    cr_assert_eq(seen.n, 5);
    for (size_t i = 0; i < 5; i++) {
        cr_assert_eq(seen.i[i], want[4 - i]);
    }
    /* each place resumes behind itself, both ways */
    for (size_t i = 0; i < 5; i++) {
        struct store_msg at = seen.m[i];
        static struct seen rest;
        for (int back = 0; back < 2; back++) {
            q = (struct store_query){.conv = 1,
                                     .backwards = back == 1,
                                     .after_order = at.order,
                                     .after_device = at.device,
                                     .after_row = at.row,
                                     .limit = 99};
            rest.n = 0;
            cr_assert_eq(store_history(s, &q, see, &rest), 0);
            cr_assert_eq(rest.n, back == 1 ? 4 - i : i);
            cr_assert(rest.n == 0 ||
                      rest.i[0] == (back == 1 ? want[3 - i] : want[5 - i]));
        }
    }
    store_close(s);
}

/* Walks the history in pages and counts; fails unless it is strictly ordered. */
static size_t walk(struct store *s, struct store_query q)
{
    static struct seen seen;
    size_t total = 0;
    for (;;) {
        seen.n = 0;
        cr_assert_eq(store_history(s, &q, see, &seen), 0);
        cr_assert_leq(seen.n, q.limit);
        for (size_t i = 0; i < seen.n; i++) {
            if (q.after_row != 0) {
                int64_t d = (int64_t)(seen.m[i].order - q.after_order);
                cr_assert(d != 0 ? (q.backwards ? d < 0 : d > 0)
                                 : seen.m[i].row != q.after_row);
            }
            q.after_order = seen.m[i].order;
            q.after_device = seen.m[i].device;
            q.after_row = seen.m[i].row;
        }
        total += seen.n;
        if (seen.n < q.limit) {
            return total;
        }
    }
}

Test(store, history_pages_meet_every_message)
{
    struct store *s = open_memory();
    struct txn t = {0};
    for (uint32_t i = 1; i <= 1500; i++) {
        /* several of one order, and several conversations */
        make_msg(&t, 1 + i % 3, 1 + i % 5, i, 0, i, BASE + i / 4);
    }
    (void)commit_count(s, &t);
    for (int back = 0; back < 2; back++) {
        struct store_query q = {.conv = 2, .backwards = back == 1, .limit = 7};
        cr_assert_eq(walk(s, q), 500);
        q.limit = STORE_PAGE_ROWS;
        cr_assert_eq(walk(s, q), 500);
        q.conv = 0;
        cr_assert_eq(walk(s, q), 1500);
        q.limit = 11;
        q.since_ms = BASE + 100;
        cr_assert_eq(walk(s, q), 1500 - 399);
        q.conv = 3;
        cr_assert_eq(walk(s, q), 367);
    }
    static struct seen seen;
    cr_assert_eq(
        store_history(s, &(struct store_query){.conv = 2, .limit = SIZE_MAX}, see, &seen),
        0);
    cr_assert_eq(seen.n, STORE_PAGE_ROWS);
    store_close(s);
}

static int refuse_second(void *ctx, const struct store_msg *m)
{
    (void)m;
    return ++*(int *)ctx == 2 ? 5 : 0;
}

Test(store, a_query_stops_when_told)
{
    struct store *s = open_memory();
    struct txn t = {0};
    for (uint64_t i = 1; i <= 9; i++) {
        make_msg(&t, 1, 1, i, 3, i, BASE + i);
    }
    (void)commit_count(s, &t);
    for (uint32_t conv = 0; conv < 2; conv++) {
        int calls = 0;
        struct store_query q = {.conv = conv, .limit = 99};
        cr_assert_eq(store_history(s, &q, refuse_second, &calls), 5);
        cr_assert_eq(calls, 2);
    }
    int calls = 0;
    cr_assert_eq(store_arrivals(s, 0, 0, 99, refuse_second, &calls), 5);
    cr_assert_eq(calls, 2);
    make_msg(&t, 1, 1, 10, 3, 10, BASE);
    cr_assert_eq(commit_count(s, &t), 1, "a stopped query holds nothing up");
    store_close(s);
}

Test(store, arrivals_are_others_messages_by_arrival)
{
    static struct seen seen;
    struct store *s = open_memory();
    struct txn t = {0};
    for (uint64_t i = 1; i <= 30; i++) { /* orders fall, arrival counts */
        make_msg(&t, 1 + (uint32_t)(i % 2), 1, i, (uint32_t)(i % 3), i, 2 * BASE - i);
    }
    (void)commit_count(s, &t);
    cr_assert_eq(store_arrivals(s, 0, 0, 99, see, &seen), 0);
    cr_assert_eq(seen.n, 20);
    cr_assert_eq(seen.i[0], 1);
    cr_assert_eq(seen.i[1], 2);
    cr_assert_eq(seen.i[2], 4);
    uint64_t row = seen.m[1].row;
    seen.n = 0;
    cr_assert_eq(store_arrivals(s, 0, row, 2, see, &seen), 0);
    cr_assert_eq(seen.n, 2);
    cr_assert_eq(seen.i[0], 4);
    cr_assert_eq(seen.i[1], 5);
    seen.n = 0;
    cr_assert_eq(store_arrivals(s, 2, 0, 99, see, &seen), 0);
    cr_assert_eq(seen.n, 10);
    for (size_t i = 0; i < seen.n; i++) {
        cr_assert_eq(seen.m[i].conv, 2);
    }
    store_close(s);
}

static void find(struct store *s, const char *prefix, size_t want)
{
    static struct seen seen;
    seen.n = 0;
    cr_assert_eq(store_find(s, prefix, see, &seen), 0);
    cr_assert_eq(seen.n, want, "%s", prefix);
}

Test(store, messages_are_found_by_prefix)
{
    static const uint8_t mids[4][3] = {
        {0xab, 0xcd, 0x10}, {0xab, 0xcd, 0x1f}, {0xab, 0xcd, 0x20}, {0xff, 0xff, 0xff}};
    struct store *s = open_memory();
    struct txn t = {0};
    for (uint64_t i = 0; i < 4; i++) {
        make_msg(&t, 1, 1, i + 1, 0, i, BASE);
        memset(t.recs[i].u.msg.mid, 0xff, WIRE_MID);
        memcpy(t.recs[i].u.msg.mid + 2, mids[i], 3);
    }
    (void)commit_count(s, &t);
    find(s, "ffffabcd10", 1);
    find(s, "FFFFabcd1", 2);
    find(s, "ffffabcd", 2);
    find(s, "ffffabcd2", 1);
    find(s, "ffffabcd3", 0);
    find(s, "ffffffffffffffffffffffffffffffff", 1);
    cr_assert_eq(store_find(s, "ffffabc", see, NULL), ERR_ARG);
    cr_assert_eq(store_find(s, "ffffabcg", see, NULL), ERR_ARG);
    cr_assert_eq(store_find(s, "ffffffffffffffffffffffffffffffff0", see, NULL), ERR_ARG);
    store_close(s);
}

Test(store, messages_are_found_in_every_conversation)
{
    struct store *s = open_memory();
    struct txn t = {0};
    char hex[2 * WIRE_MID + 1];
    for (uint32_t i = 1; i <= 200; i++) {
        make_msg(&t, 1 + i % 20, 1, i, i % 3, i, BASE);
    }
    make_msg(&t, 19, 1, 201, 2, 5, BASE); /* message 5's id again, by another author */
    (void)commit_count(s, &t);
    for (uint64_t i = 1; i <= 200; i++) {
        uint8_t mid[WIRE_MID];
        make_mid(i, mid);
        for (size_t j = 0; j < sizeof mid; j++) {
            (void)snprintf(hex + 2 * j, 3, "%02x", mid[j]);
        }
        find(s, hex, i == 5 ? 2 : 1);
    }
    store_close(s);
}

/* Events */

Test(store, events_since_tell_what_commits_told)
{
    struct store *s = open_memory();
    struct txn t = {0};
    struct store_events live = {0}, read = {0};
    uint64_t newest = 0;
    for (uint64_t i = 1; i <= 3; i++) {
        make_entry(&t, 1, i, 10, i, true);
        make_msg(&t, 1, 1, i, 0, i, BASE + i);
    }
    t.recs[1].u.msg.has_reply = true;
    memset(t.recs[1].u.msg.reply, 3, WIRE_MID);
    t.recs[1].u.msg.flags = MSG_GAP;
    cr_assert_eq(try_commit(s, &t, &live), 0);
    struct rec r = {.kind = REC_EVENT};
    r.u.event = (struct rec_event){TOPIC_CONTACT, EVENT_ADD_FAILED, 7, 8, 9, "dave"};
    cr_assert_eq(txn_add(&t, &r), 0);
    make_state(&t, 1, 2, 3, STATE_SENT);
    cr_assert_eq(try_commit(s, &t, &live), 0);
    cr_assert_eq(live.n, 6, "appended");
    cr_assert_eq(store_events_since(s, 0, 99, &read, &newest), 0);
    cr_assert_eq(newest, 6);
    cr_assert_eq(read.n, 6);
    for (size_t i = 0; i < 6; i++) {
        struct store_event *a = &live.v[i], *b = &read.v[i];
        cr_assert_eq(a->n, i + 1);
        cr_assert_eq(a->text.n, b->text.n);
        cr_assert(a->text.n == 0 || memcmp(a->text.p, b->text.p, a->text.n) == 0);
        blob_release(&a->text);
        blob_release(&b->text);
        cr_assert_eq(memcmp(a, b, sizeof *a), 0, "event %zu", i);
    }
    cr_assert_eq(live.v[3].event.value, 9);
    cr_assert_str_eq(live.v[3].event.text, "dave");
    cr_assert_eq(store_events_since(s, 2, 3, &read, &newest), 0);
    cr_assert_eq(read.n, 9, "appended");
    cr_assert_eq(read.v[6].n, 3);
    cr_assert_eq(store_events_since(s, 6, 3, &read, &newest), 0);
    cr_assert_eq(store_events_since(s, UINT64_MAX, 3, &read, &newest), 0);
    cr_assert_eq(read.n, 9);
    store_events_release(&live);
    store_events_release(&read);
    store_close(s);
}

/* All or none */

Test(store, a_failed_commit_leaves_nothing)
{
    static struct seen seen;
    struct store *s = open_memory();
    struct txn a = {0}, b = {0};
    struct store_events ev = {0};
    struct store_entries e = {0};
    uint64_t unread = 9;
    make_device(&a, 1, 0, 1);
    make_entry(&a, 1, 1, 10, 1, false);
    make_msg(&a, 1, 1, 1, 2, 1, BASE);
    make_meta(&a, "key", "v", 1);
    make_state(&b, 1, 1, 1, 200); /* no such state */
    const struct txn *list[] = {&a, &b};
    cr_assert_eq(store_commit(s, list, 2, &ev), ERR_STATE);
    cr_assert_eq(ev.n, 0);
    cr_assert_eq(store_entries(s, 1, 1, 9, 9, SIZE_MAX, &e), 0);
    cr_assert_eq(e.n, 0);
    cr_assert_eq(store_arrivals(s, 0, 0, 9, see, &seen), 0);
    cr_assert_eq(seen.n, 0);
    cr_assert_eq(store_unread(s, 1, &unread), 0);
    cr_assert_eq(unread, 0);
    /* numbers go on without a gap */
    cr_assert_eq(store_commit(s, list, 1, &ev), 0);
    cr_assert_eq(ev.n, 1);
    cr_assert_eq(ev.v[0].n, 1);
    cr_assert_eq(ev.v[0].row, 1);
    cr_assert_eq(store_unread(s, 1, &unread), 0);
    cr_assert_eq(unread, 1);
    store_events_release(&ev);
    txn_release(&a);
    txn_release(&b);
    store_close(s);
}

Test(store, numbers_out_of_range_are_refused)
{
    struct store *s = open_memory();
    struct txn t = {0};
    make_entry(&t, 1, UINT64_C(1) << STORE_SEQ_BITS, 10, 1, false);
    cr_assert_eq(try_commit(s, &t, NULL), ERR_LIMIT);
    make_entry(&t, UINT32_C(1) << STORE_FEED_BITS, 1, 10, 1, false);
    cr_assert_eq(try_commit(s, &t, NULL), ERR_LIMIT);
    make_entry(&t, (UINT32_C(1) << STORE_FEED_BITS) - 1,
               (UINT64_C(1) << STORE_SEQ_BITS) - 1, 10, 1, false);
    cr_assert_eq(try_commit(s, &t, NULL), 0);
    store_close(s);
}

/* Snapshots */

Test(store, a_snapshot_is_the_store_as_it_was)
{
    struct store *s = open_memory(), *old = NULL;
    struct txn t = {0};
    struct blob copy = {0};
    make_entry(&t, 1, 1, 10, 1, true);
    make_msg(&t, 1, 1, 1, 0, 1, BASE);
    (void)commit_count(s, &t);
    cr_assert_eq(store_snapshot(s, &copy), 0);
    make_state(&t, 1, 1, 1, STATE_READ);
    (void)commit_count(s, &t);
    cr_assert_eq(store_from_snapshot(&copy, &old), 0);
    cr_assert_eq(state_of(old, 1), STATE_QUEUED);
    cr_assert_eq(state_of(s, 1), STATE_READ);
    make_msg(&t, 1, 1, 2, 0, 2, BASE + 1);
    struct store_events ev = commit(old, &t);
    cr_assert_eq(ev.v[0].n, 2, "its numbers go on from there");
    cr_assert_eq(ev.v[0].row, 2);
    store_events_release(&ev);
    store_close(old);
    copy.n = 5000;
    old = NULL;
    cr_assert_eq(store_from_snapshot(&copy, &old), ERR_CORRUPT);
    cr_assert_null(old);
    blob_release(&copy);
    store_close(s);
}
