/* Edits, reactions and redactions in the store: they come to the same in whatever order
 * they arrive, and a redaction takes the texts out of the file. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "store.h"
#include "store_make.h"
#include "store_priv.h"

enum { CONV = 1, THEIRS = 7, FEED = 3, OWN_FEED = 4, BASE = 1000 };

static struct store *open_memory(void)
{
    struct store *s = NULL;
    cr_assert_eq(store_open(":memory:", &s, NULL, 0), 0);
    struct txn t = {0};
    make_device(&t, FEED, THEIRS, 0x11); /* make_msg: the device is the feed's number */
    make_device(&t, OWN_FEED, 0, 0x22);
    const struct txn *list[] = {&t};
    cr_assert_eq(store_commit(s, list, 1, NULL), 0);
    txn_release(&t);
    return s;
}

static int commit(struct store *s, struct txn *t, struct store_events *ev)
{
    const struct txn *list[] = {t};
    int err = store_commit(s, list, 1, ev);
    txn_release(t);
    return err;
}

/* A change of message i of THEIRS; its entry is `seq` of their feed, its id that number.
 */
static void add_change(struct txn *t, enum change_kind kind, uint32_t author, uint64_t i,
                       uint64_t seq, uint64_t order, const char *text)
{
    struct rec r = {.kind = REC_CHANGE};
    struct rec_change *c = &r.u.change;
    c->kind = (uint8_t)kind;
    make_mid(1000 + seq, c->mid);
    make_mid(i, c->target);
    c->conv = CONV;
    c->author = author;
    c->target_author = THEIRS;
    c->device = c->feed = author == 0 ? OWN_FEED : FEED;
    c->seq = seq;
    c->order = c->time_ms = order;
    cr_assert(blob_set(&c->text, text, strlen(text)));
    cr_assert_eq(txn_add(t, &r), 0);
}

static void put_entry(struct txn *t, uint32_t feed, uint64_t seq)
{
    make_entry(t, feed, seq, 64, 0, false);
}

static void put_text(struct txn *t, uint64_t i, uint64_t seq)
{
    put_entry(t, FEED, seq);
    make_msg(t, CONV, FEED, seq, THEIRS, i, BASE + seq);
}

static void change(struct store *s, enum change_kind kind, uint32_t author, uint64_t i,
                   uint64_t seq, uint64_t order, const char *text)
{
    struct txn t = {0};
    put_entry(&t, author == 0 ? OWN_FEED : FEED, seq);
    add_change(&t, kind, author, i, seq, order, text);
    cr_assert_eq(commit(s, &t, NULL), 0);
}

static int64_t number(struct store *s, const char *sql)
{
    sqlite3_stmt *st = NULL;
    cr_assert_eq(sqlite3_prepare_v2(s->db, sql, -1, &st, NULL), SQLITE_OK, "%s", sql);
    cr_assert_eq(sqlite3_step(st), SQLITE_ROW);
    int64_t v = sqlite3_column_int64(st, 0);
    (void)sqlite3_finalize(st);
    return v;
}

/* A message as people see it. */
struct shown {
    size_t n;
    char line[256];
};

static int show(void *ctx, const struct store_msg *m)
{
    struct shown *v = ctx;
    int at = snprintf(v->line, sizeof v->line, "%.*s|%llu|%s", (int)m->text.n,
                      m->text.n > 0 ? (const char *)m->text.p : "",
                      (unsigned long long)m->edited_ms,
                      (m->flags & MSG_REDACTED) != 0 ? "gone" : "");
    for (size_t i = 0; i < m->n_reactions; i++) {
        at += snprintf(v->line + at, sizeof v->line - (size_t)at, "|%u%s",
                       m->reactions[i].author, m->reactions[i].emoji);
    }
    v->n++;
    return 0;
}

static struct shown shown(struct store *s)
{
    struct shown v = {0};
    struct store_query q = {.conv = CONV, .limit = 10};
    cr_assert_eq(store_history(s, &q, show, &v), 0);
    return v;
}

/* ---- every order of arrival ---- */

enum { STEPS = 6 };

static void step(struct store *s, int what, bool redacts)
{
    struct txn t = {0};
    switch (what) {
    case 0:
        put_text(&t, 1, 1);
        break;
    case 1:
        put_entry(&t, FEED, 2);
        add_change(&t, CHANGE_EDIT, THEIRS, 1, 2, BASE + 2, "first");
        break;
    case 2: /* two edits of one order: the greater id counts, which is the first's */
        put_entry(&t, FEED, 3);
        add_change(&t, CHANGE_EDIT, THEIRS, 1, 3, BASE + 2, "second");
        break;
    case 3:
        put_entry(&t, OWN_FEED, 1);
        add_change(&t, CHANGE_REACTION, 0, 1, 1, BASE + 3, "a");
        break;
    case 4:
        put_entry(&t, OWN_FEED, 2);
        add_change(&t, CHANGE_REACTION, 0, 1, 2, BASE + 4, "b");
        break;
    default:
        put_entry(&t, FEED, 4);
        add_change(&t, redacts ? CHANGE_REDACTION : CHANGE_REACTION, THEIRS, 1, 4,
                   BASE + 1, redacts ? "" : "c");
        break;
    }
    cr_assert_eq(commit(s, &t, NULL), 0);
}

/* The k-th order of 0 .. STEPS-1. */
static void permutation(unsigned k, int out[STEPS])
{
    int left[STEPS];
    for (int i = 0; i < STEPS; i++) {
        left[i] = i;
    }
    for (unsigned n = STEPS; n > 0; n--) {
        unsigned at = k % n;
        k /= n;
        out[STEPS - n] = left[at];
        memmove(left + at, left + at + 1, (n - at - 1) * sizeof left[0]);
    }
}

static void all_orders(bool redacts)
{
    char wanted[256] = "";
    for (unsigned k = 0; k < 720; k += redacts ? 7 : 5) {
        int order[STEPS];
        struct store *s = open_memory();
        permutation(k, order);
        for (int i = 0; i < STEPS; i++) {
            step(s, order[i], redacts);
            if (i % 2 == 0) { /* what was done is done again: nothing changes */
                step(s, order[i], redacts);
            }
        }
        struct shown v = shown(s);
        cr_assert_eq(v.n, 1);
        if (k == 0) {
            memcpy(wanted, v.line, sizeof wanted);
        }
        cr_assert_str_eq(v.line, wanted, "order %u", k);
        cr_assert_eq(number(s, "SELECT count(*) FROM pending"), 0);
        cr_assert_eq(s->pending_n, 0);
        store_close(s);
    }
    cr_assert_str_eq(wanted, redacts ? "|0|gone" : "first|1002||7c|0b");
}

Test(store_change, every_order_comes_to_the_same)
{
    all_orders(false);
}

Test(store_change, a_redaction_is_final_in_every_order)
{
    all_orders(true);
}

/* ---- redaction ---- */

/* The bytes of the database as it would lie on disk. */
static bool holds(struct store *s, const char *text)
{
    struct blob b = {0};
    cr_assert_eq(store_snapshot(s, &b), 0);
    bool found = memmem(b.p, b.n, text, strlen(text)) != NULL;
    blob_release(&b);
    return found;
}

static size_t box_len(struct store *s, uint32_t feed, uint64_t seq)
{
    struct store_entries e = {0};
    cr_assert_eq(store_entries(s, feed, seq, seq, 1, 1 << 20, &e), 0);
    cr_assert_eq(e.n, 1);
    size_t n = e.v[0].box.n;
    cr_assert_gt(e.v[0].header.n, 0);
    store_entries_release(&e);
    return n;
}

Test(store_change, a_redaction_takes_boxes_and_texts_away)
{
    struct store *s = open_memory();
    struct txn t = {0};
    put_text(&t, 1, 1);
    put_text(&t, 2, 2);
    cr_assert_eq(commit(s, &t, NULL), 0);
    put_text(&t, 1, 3); /* the same message once more */
    cr_assert_eq(commit(s, &t, NULL), 0);
    change(s, CHANGE_EDIT, THEIRS, 1, 4, BASE + 4, "a treasure that was edited in");
    change(s, CHANGE_EDIT, THEIRS, 2, 5, BASE + 5, "another message");
    change(s, CHANGE_EDIT, THEIRS, 1, 6, BASE + 6, "the second treasure");
    change(s, CHANGE_REACTION, 0, 1, 1, BASE + 6, "!");
    cr_assert(holds(s, "the second treasure"));
    cr_assert(!holds(s, "a treasure that was edited in"), "it was replaced");
    change(s, CHANGE_REDACTION, THEIRS, 1, 7, BASE + 7, "");
    cr_assert(!holds(s, "treasure"));
    static const size_t lens[] = {0, 64, 0, 0, 64, 0, 64};
    for (uint64_t seq = 1; seq <= 7; seq++) {
        cr_assert_eq(box_len(s, FEED, seq), lens[seq - 1], "entry %d", (int)seq);
    }
    cr_assert(s->scrub && store_checkpoint_due(s));
    /* What comes later loses its box at once. */
    put_text(&t, 1, 8);
    cr_assert_eq(commit(s, &t, NULL), 0);
    change(s, CHANGE_EDIT, THEIRS, 1, 9, BASE + 9, "a late treasure");
    cr_assert_eq(box_len(s, FEED, 8), 0);
    cr_assert_eq(box_len(s, FEED, 9), 0);
    cr_assert(!holds(s, "a late treasure"));
    cr_assert_eq(number(s, "SELECT count(*) FROM reaction"), 0);
    cr_assert_eq(number(s, "SELECT count(*) FROM edit"), 1);
    cr_assert_eq(number(s, "SELECT count(*) FROM msg"), 2);
    store_close(s);
}

Test(store_change, a_redaction_that_comes_first_lets_nothing_be_seen)
{
    struct store *s = open_memory();
    struct store_events ev = {0};
    struct txn t = {0};
    change(s, CHANGE_EDIT, THEIRS, 1, 2, BASE + 2, "a treasure");
    cr_assert(holds(s, "a treasure"));
    change(s, CHANGE_REDACTION, THEIRS, 1, 3, BASE + 3, "");
    cr_assert(!holds(s, "a treasure"));
    cr_assert_eq(box_len(s, FEED, 2), 0);
    put_text(&t, 1, 1);
    cr_assert_eq(commit(s, &t, &ev), 0);
    cr_assert_eq(ev.n, 1);
    cr_assert(ev.v[0].topic == TOPIC_MESSAGE && ev.v[0].text.n == 0);
    cr_assert(ev.v[0].flags & MSG_REDACTED);
    cr_assert_eq(box_len(s, FEED, 1), 0);
    struct shown v = shown(s);
    cr_assert_str_eq(v.line, "|0|gone");
    store_events_release(&ev);
    store_close(s);
}

/* An entry that gave way to another version is not touched when its message goes. */
Test(store_change, only_entries_that_carry_the_message_lose_their_boxes)
{
    struct store *s = open_memory();
    struct txn t = {0};
    put_text(&t, 1, 1);
    put_text(&t, 1, 2);
    cr_assert_eq(commit(s, &t, NULL), 0);
    change(s, CHANGE_EDIT, THEIRS, 1, 3, BASE + 3, "edited");
    struct rec cut = {.kind = REC_ENTRY, .del = true};
    cut.u.entry.feed = FEED;
    cut.u.entry.seq = 2;
    cr_assert_eq(txn_add(&t, &cut), 0);
    put_text(&t, 2, 2);
    put_text(&t, 3, 3);
    cr_assert_eq(commit(s, &t, NULL), 0);
    change(s, CHANGE_REDACTION, THEIRS, 1, 4, BASE + 4, "");
    cr_assert_eq(box_len(s, FEED, 1), 0);
    cr_assert_eq(box_len(s, FEED, 2), 64);
    cr_assert_eq(box_len(s, FEED, 3), 64);
    store_close(s);
}

/* ---- what does not fit ---- */

Test(store_change, others_messages_are_not_touched)
{
    struct store *s = open_memory();
    struct txn t = {0};
    put_entry(&t, OWN_FEED, 1);
    make_msg(&t, CONV, OWN_FEED, 1, 0, 1, BASE);
    cr_assert_eq(commit(s, &t, NULL), 0);
    struct shown before = shown(s);
    /* They name our message: of theirs there is none with that id. */
    change(s, CHANGE_EDIT, THEIRS, 1, 1, BASE + 1, "forged");
    change(s, CHANGE_REDACTION, THEIRS, 1, 2, BASE + 2, "");
    struct shown after = shown(s);
    cr_assert_str_eq(after.line, before.line);
    cr_assert_eq(box_len(s, OWN_FEED, 1), 64);
    /* A record that says so is nobody's but our own mistake. */
    add_change(&t, CHANGE_EDIT, 0, 1, 3, BASE, "x");
    cr_assert_eq(commit(s, &t, NULL), ERR_STATE);
    cr_assert_eq(number(s, "SELECT count(*) FROM edited_by"), 0, "nothing of it stays");
    store_close(s);
}

/* Nobody would know any more what it was that they accepted. */
Test(store_change, the_name_of_a_file_is_not_edited)
{
    struct store *s = open_memory();
    struct txn t = {0};
    change(s, CHANGE_EDIT, THEIRS, 1, 2, BASE + 5, "before it came");
    put_text(&t, 1, 1);
    cr_assert_eq(t.recs[t.n - 1].kind, REC_MSG);
    t.recs[t.n - 1].u.msg.kind = MSG_FILE;
    cr_assert_eq(commit(s, &t, NULL), 0);
    struct shown as_it_came = shown(s);
    cr_assert_null(strstr(as_it_came.line, "before"));
    change(s, CHANGE_EDIT, THEIRS, 1, 3, BASE + 6, "after it came");
    cr_assert_str_eq(shown(s).line, as_it_came.line);
    change(s, CHANGE_REACTION, 0, 1, 1, BASE + 7, "+");
    cr_assert_not_null(strstr(shown(s).line, "|0+"));
    store_close(s);
}

Test(store_change, what_waits_is_bounded)
{
    struct store *s = open_memory();
    struct txn t = {0};
    change(s, CHANGE_REACTION, 0, 5000, 1, BASE, "k");
    for (uint64_t i = 0; i < STORE_PENDING_MAX + 50; i++) {
        put_entry(&t, FEED, i + 1);
        add_change(&t, i % 2 == 0 ? CHANGE_EDIT : CHANGE_REACTION, THEIRS, 100 + i, i + 1,
                   BASE + i, "x");
    }
    cr_assert_eq(commit(s, &t, NULL), 0);
    cr_assert_eq(number(s, "SELECT count(*) FROM pending"), STORE_PENDING_MAX + 1);
    cr_assert_eq(s->pending_n, STORE_PENDING_MAX + 1, "ours is not theirs to push out");
    cr_assert_eq(number(s, "SELECT count(*) FROM pending WHERE author = 0"), 1);
    cr_assert_eq(number(s, "SELECT min(ord) FROM pending WHERE author <> 0"), BASE + 50);
    store_close(s);
}

/* A commit that fails leaves the count of what waits as it was. */
Test(store_change, a_failed_commit_forgets_what_waits)
{
    struct store *s = open_memory();
    struct txn t = {0};
    put_entry(&t, FEED, 1);
    add_change(&t, CHANGE_REACTION, THEIRS, 1, 1, BASE, "x");
    struct rec bad = {.kind = REC_STATE};
    bad.u.state.state = 99;
    cr_assert_eq(txn_add(&t, &bad), 0);
    cr_assert_eq(commit(s, &t, NULL), ERR_STATE);
    cr_assert_eq(s->pending_n, 0);
    store_close(s);
}

/* ---- events ---- */

Test(store_change, each_change_is_an_event)
{
    struct store *s = open_memory();
    struct store_events ev = {0};
    struct txn t = {0};
    uint64_t newest = 0;
    put_text(&t, 1, 1);
    put_entry(&t, FEED, 2);
    add_change(&t, CHANGE_EDIT, THEIRS, 1, 2, BASE + 2, "new");
    put_entry(&t, FEED, 3);
    add_change(&t, CHANGE_EDIT, THEIRS, 1, 3, BASE + 1, "older");
    put_entry(&t, OWN_FEED, 1);
    add_change(&t, CHANGE_REACTION, 0, 1, 1, BASE + 3, "!");
    cr_assert_eq(commit(s, &t, &ev), 0);
    cr_assert_eq(ev.n, 3, "one that does not count makes none");
    cr_assert(ev.v[0].topic == TOPIC_MESSAGE && ev.v[0].change == 0);
    cr_assert(ev.v[1].topic == TOPIC_STATE && ev.v[1].change == CHANGE_EDIT);
    cr_assert(ev.v[1].by == THEIRS && ev.v[1].changed_ms == BASE + 2);
    cr_assert(ev.v[1].text.n == 3 && memcmp(ev.v[1].text.p, "new", 3) == 0);
    cr_assert(ev.v[2].change == CHANGE_REACTION && ev.v[2].by == 0);
    cr_assert(ev.v[2].text.n == 1 && ev.v[2].text.p[0] == '!');
    cr_assert_eq(ev.v[2].state, STATE_RECEIVED, "the message's word");
    store_events_release(&ev);
    cr_assert_eq(store_events_since(s, 0, 10, &ev, &newest), 0);
    cr_assert_eq(ev.n, 3);
    cr_assert(ev.v[1].change == CHANGE_EDIT && ev.v[1].changed_ms == BASE + 2);
    cr_assert(ev.v[1].text.n == 3 && memcmp(ev.v[1].text.p, "new", 3) == 0);
    cr_assert(ev.v[2].change == CHANGE_REACTION && ev.v[2].text.n == 1);
    store_events_release(&ev);
    change(s, CHANGE_REDACTION, THEIRS, 1, 4, BASE + 9, "");
    cr_assert_eq(store_events_since(s, 0, 10, &ev, &newest), 0);
    cr_assert_eq(ev.n, 4);
    for (size_t i = 0; i < ev.n; i++) {
        cr_assert_eq(ev.v[i].text.n, 0, "event %zu tells what is gone", i);
        cr_assert(ev.v[i].flags & MSG_REDACTED);
    }
    cr_assert_eq(ev.v[3].change, CHANGE_REDACTION);
    store_events_release(&ev);
    store_close(s);
}

/* ---- files ---- */

static bool file_holds(const char *path, const char *text)
{
    static uint8_t bytes[64 << 20];
    int fd = open(path, O_RDONLY);
    if (fd < 0) {
        return false;
    }
    ssize_t n = read(fd, bytes, sizeof bytes);
    (void)close(fd);
    cr_assert(n >= 0 && (size_t)n < sizeof bytes);
    return memmem(bytes, (size_t)n, text, strlen(text)) != NULL;
}

Test(store_change, neither_file_nor_log_keep_a_redacted_text)
{
    char dir[] = "/tmp/linnet-change-XXXXXX", path[64], wal[72];
    struct store *s = NULL;
    struct txn t = {0};
    cr_assert_not_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/linnet.db", dir);
    (void)snprintf(wal, sizeof wal, "%s-wal", path);
    cr_assert_eq(store_open(path, &s, NULL, 0), 0);
    make_device(&t, FEED, THEIRS, 0x11);
    for (uint64_t i = 1; i <= 300; i++) {
        put_text(&t, i, i);
    }
    cr_assert_eq(commit(s, &t, NULL), 0);
    for (uint64_t i = 1; i <= 300; i++) { /* all over the tree, so that pages split */
        char text[700];
        (void)snprintf(text, sizeof text, "%-600d", 0);
        (void)memcpy(text, "a treasure", 10);
        change(s, CHANGE_EDIT, THEIRS, i, 300 + i, BASE + 300 + i, text);
    }
    cr_assert(file_holds(path, "a treasure") || file_holds(wal, "a treasure"));
    for (uint64_t i = 1; i <= 300; i++) {
        change(s, CHANGE_REDACTION, THEIRS, i, 600 + i, BASE + 600 + i, "");
    }
    cr_assert(store_checkpoint_due(s));
    cr_assert_eq(store_checkpoint(s), 0);
    cr_assert(!store_checkpoint_due(s));
    cr_assert(!file_holds(path, "a treasure"));
    cr_assert(!file_holds(wal, "a treasure"));
    store_close(s);
    (void)unlink(wal);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(rmdir(dir), 0);
}

/* A home of schema 1 as that version left it, and one message that two entries carry. */
Test(store_change, a_home_of_schema_1_goes_on)
{
    static char sql[64 * 1024];
    char dir[] = "/tmp/linnet-change-XXXXXX", path[64];
    const char *tests = getenv("LINNET_TESTS");
    sqlite3 *db = NULL;
    struct store *s = NULL;
    cr_assert_not_null(tests);
    cr_assert_not_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/linnet.db", dir);
    (void)snprintf(sql, sizeof sql, "%s/schema1/linnet.sql", tests);
    FILE *f = fopen(sql, "rb");
    cr_assert_not_null(f);
    size_t n = fread(sql, 1, sizeof sql - 1, f);
    sql[n] = '\0';
    (void)fclose(f);
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK, "%s",
                 sqlite3_errmsg(db));
    cr_assert_eq(sqlite3_exec(db, "INSERT INTO carries VALUES(99, 1)", NULL, NULL, NULL),
                 SQLITE_OK);
    (void)sqlite3_close(db);
    cr_assert_eq(store_open(path, &s, NULL, 0), 0);
    cr_assert_eq(number(s, "PRAGMA user_version"), STORE_SCHEMA);
    cr_assert_eq(number(s, "SELECT count(*) FROM msg"), 3);
    cr_assert_eq(number(s, "SELECT count(*) FROM also WHERE msg = 1"), 2);
    cr_assert_eq(number(s, "SELECT count(*) FROM also WHERE msg <> 1"), 0);
    struct shown v = {0};
    struct store_query q = {.conv = 1, .limit = 10};
    cr_assert_eq(store_history(s, &q, show, &v), 0);
    cr_assert_eq(v.n, 3);
    cr_assert_neq(strncmp(v.line, "|", 1), 0);
    store_close(s);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(rmdir(dir), 0);
}
