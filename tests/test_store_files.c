/* Files in the store: their records, what a message tells of its file, pages and sums,
 * and homes of older schemas. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "store.h"
#include "store_make.h"
#include "store_priv.h"

enum { CONV = 1, THEIRS = 7, FEED = 3, OWN_FEED = 4, BASE = 1000, MAX = 16 };

static const char NAME[] = "Our plän.odt", PATH[] = "/home/ann/\xff/plan.odt";

/* ---- a home ---- */

struct home {
    char dir[64], path[96];
};

static void home_make(struct home *h)
{
    (void)snprintf(h->dir, sizeof h->dir, "/tmp/linnet-files-XXXXXX");
    cr_assert_not_null(mkdtemp(h->dir));
    (void)snprintf(h->path, sizeof h->path, "%s/linnet.db", h->dir);
}

static void home_remove(const struct home *h)
{
    cr_assert_eq(unlink(h->path), 0);
    cr_assert_eq(rmdir(h->dir), 0);
}

static struct store *open_at(const char *path)
{
    struct store *s = NULL;
    char why[256] = "";
    cr_assert_eq(store_open(path, &s, why, sizeof why), 0, "%s", why);
    return s;
}

static int commit(struct store *s, struct txn *t, struct store_events *ev)
{
    const struct txn *list[] = {t};
    int err = store_commit(s, list, 1, ev);
    txn_release(t);
    return err;
}

static void commit_ok(struct store *s, struct txn *t)
{
    cr_assert_eq(commit(s, t, NULL), 0);
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

/* ---- records ---- */

static void set(struct blob *b, const char *text)
{
    cr_assert(blob_set(b, text, strlen(text)));
}

/* File `id`, of message `id` of THEIRS, with all fields filled. */
static struct rec file_rec(uint32_t id, uint8_t state)
{
    struct rec r = {.kind = REC_FILE};
    r.u.file = (struct rec_file){.id = id,
                                 .conv = CONV,
                                 .author = THEIRS,
                                 .device = FEED,
                                 .kind = FILE_FOLDER,
                                 .state = state,
                                 .flags = FILE_SEALED | FILE_SIZED,
                                 .size = (UINT64_C(1) << 44) + id,
                                 .head = 4000,
                                 .count = 65536,
                                 .created_ms = BASE + id,
                                 .ended_ms = state > FILE_ACTIVE ? 2 * BASE + id : 0};
    make_mid(id, r.u.file.mid);
    memset(r.u.file.root, 0xab, sizeof r.u.file.root);
    set(&r.u.file.name, NAME);
    set(&r.u.file.path, PATH);
    set(&r.u.file.dest, "/srv/in");
    return r;
}

static void add(struct txn *t, struct rec r)
{
    cr_assert_eq(txn_add(t, &r), 0);
}

static void put_file(struct txn *t, uint32_t id, uint8_t state)
{
    add(t, file_rec(id, state));
}

static struct rec bits_rec(uint32_t file, uint32_t block, bool del)
{
    struct rec r = {.kind = REC_FILE_BITS, .del = del};
    r.u.file_bits.file = file;
    r.u.file_bits.block = block;
    for (size_t i = 0; i < sizeof r.u.file_bits.bits; i++) {
        r.u.file_bits.bits[i] = (uint8_t)(i + block);
    }
    return r;
}

static struct rec peer_rec(uint32_t file, uint32_t contact, bool del)
{
    return (struct rec){.kind = REC_FILE_PEER,
                        .del = del,
                        .u.file_peer = {.file = file,
                                        .contact = contact,
                                        .end = FILE_END_RECEIVED,
                                        .leaves = (UINT64_C(1) << 33) + contact}};
}

static struct rec rule_rec(uint32_t contact, bool has_max, bool has_quota, bool del)
{
    return (struct rec){.kind = REC_FILE_RULE,
                        .del = del,
                        .u.file_rule = {.contact = contact,
                                        .mode = FILE_MODE_ALWAYS,
                                        .has_max = has_max,
                                        .has_quota = has_quota,
                                        .max = has_max ? 12345 : 0,
                                        .quota = has_quota ? UINT64_MAX : 0}};
}

/* A message of THEIRS that offers file `id`, carried by entry `id`. */
static void put_offer(struct txn *t, uint32_t id)
{
    struct rec r = {.kind = REC_MSG};
    make_mid(id, r.u.msg.mid);
    r.u.msg.conv = CONV;
    r.u.msg.feed = r.u.msg.device = FEED;
    r.u.msg.seq = id;
    r.u.msg.author = THEIRS;
    r.u.msg.kind = MSG_FILE;
    r.u.msg.state = STATE_RECEIVED;
    r.u.msg.time_ms = r.u.msg.order = BASE + id;
    set(&r.u.msg.text, NAME);
    make_entry(t, FEED, id, 64, 0, false);
    add(t, r);
}

static void redact(struct store *s, uint32_t id)
{
    struct txn t = {0};
    struct rec r = {.kind = REC_CHANGE};
    struct rec_change *c = &r.u.change;
    c->kind = CHANGE_REDACTION;
    make_mid(1000 + id, c->mid);
    make_mid(id, c->target);
    c->conv = CONV;
    c->author = c->target_author = THEIRS;
    c->device = c->feed = FEED;
    c->seq = 1000 + id;
    c->order = c->time_ms = BASE + 1000 + id;
    make_entry(&t, FEED, c->seq, 64, 0, false);
    add(&t, r);
    commit_ok(s, &t);
}

/* ---- what comes back ---- */

struct kept {
    size_t n, n_files;
    enum rec_kind kind[MAX];
    struct rec r[MAX]; /* their blobs are copies */
};

static void copy(struct blob *b)
{
    struct blob was = *b;
    cr_assert(blob_set(b, was.p, was.n));
}

static int keep(void *ctx, const struct rec *r)
{
    struct kept *k = ctx;
    if (r->kind < REC_FILE || r->kind > REC_FILE_RULE) {
        return 0;
    }
    cr_assert_lt(k->n, MAX);
    k->kind[k->n] = r->kind;
    k->r[k->n] = *r;
    if (r->kind == REC_FILE) {
        copy(&k->r[k->n].u.file.name);
        copy(&k->r[k->n].u.file.path);
        copy(&k->r[k->n].u.file.dest);
        k->n_files++;
    }
    k->n++;
    return 0;
}

static int keep_file(void *ctx, const struct rec_file *f)
{
    struct rec r = {.kind = REC_FILE, .u.file = *f};
    return keep(ctx, &r);
}

static int keep_peer(void *ctx, const struct rec_file_peer *p)
{
    struct rec r = {.kind = REC_FILE_PEER, .u.file_peer = *p};
    return keep(ctx, &r);
}

static void drop(struct kept *k)
{
    for (size_t i = 0; i < k->n; i++) {
        rec_release(&k->r[i]);
    }
    memset(k, 0, sizeof *k);
}

static struct kept loaded(struct store *s)
{
    struct kept k = {0};
    cr_assert_eq(store_load(s, keep, &k), 0);
    return k;
}

static bool same_bytes(const struct blob *a, const struct blob *b)
{
    return a->n == b->n && (a->n == 0 || memcmp(a->p, b->p, a->n) == 0);
}

/* All fields are those of `want`, which is released. */
static void same_file(const struct rec_file *f, struct rec want)
{
    const struct rec_file *w = &want.u.file;
    cr_assert(f->id == w->id && f->conv == w->conv && f->author == w->author);
    cr_assert(f->device == w->device && f->kind == w->kind && f->state == w->state);
    cr_assert(f->flags == w->flags && f->size == w->size && f->head == w->head);
    cr_assert(f->count == w->count && f->created_ms == w->created_ms);
    cr_assert_eq(f->ended_ms, w->ended_ms);
    cr_assert_eq(memcmp(f->mid, w->mid, sizeof f->mid), 0);
    cr_assert_eq(memcmp(f->root, w->root, sizeof f->root), 0);
    cr_assert(same_bytes(&f->name, &w->name));
    cr_assert(same_bytes(&f->path, &w->path));
    cr_assert(same_bytes(&f->dest, &w->dest));
    rec_release(&want);
}

static void same_peer(const struct rec_file_peer *p, uint32_t file, uint32_t contact)
{
    struct rec want = peer_rec(file, contact, false);
    cr_assert(p->file == file && p->contact == contact);
    cr_assert_eq(p->end, want.u.file_peer.end);
    cr_assert_eq(p->leaves, want.u.file_peer.leaves);
}

static void same_rule(const struct rec_file_rule *v, struct rec want)
{
    const struct rec_file_rule *w = &want.u.file_rule;
    cr_assert(v->contact == w->contact && v->mode == w->mode);
    cr_assert(v->has_max == w->has_max && v->max == w->max);
    cr_assert(v->has_quota == w->has_quota && v->quota == w->quota);
}

Test(store_files, records_come_back_as_they_were)
{
    struct home h;
    struct txn t = {0};
    home_make(&h);
    struct store *s = open_at(h.path);
    add(&t, rule_rec(9, true, false, false));
    add(&t, rule_rec(2, false, true, false));
    add(&t, peer_rec(5, 12, false));
    add(&t, peer_rec(5, 11, false));
    add(&t, bits_rec(5, UINT32_MAX - 1, false));
    add(&t, bits_rec(5, 0, false));
    put_file(&t, 5, FILE_ACTIVE);
    put_file(&t, 2, FILE_OFFERED);
    commit_ok(s, &t);
    store_close(s);
    s = open_at(h.path);
    struct kept k = loaded(s);
    static const enum rec_kind kinds[] = {REC_FILE,      REC_FILE,      REC_FILE_BITS,
                                          REC_FILE_BITS, REC_FILE_PEER, REC_FILE_PEER,
                                          REC_FILE_RULE, REC_FILE_RULE};
    cr_assert_eq(k.n, sizeof kinds / sizeof *kinds);
    cr_assert_eq(memcmp(k.kind, kinds, sizeof kinds), 0);
    same_file(&k.r[0].u.file, file_rec(2, FILE_OFFERED));
    same_file(&k.r[1].u.file, file_rec(5, FILE_ACTIVE));
    for (size_t i = 0; i < 2; i++) {
        struct rec want = bits_rec(5, i == 0 ? 0 : UINT32_MAX - 1, false);
        cr_assert_eq(
            memcmp(&k.r[2 + i].u.file_bits, &want.u.file_bits, sizeof want.u.file_bits),
            0);
        same_peer(&k.r[4 + i].u.file_peer, 5, i == 0 ? 11 : 12);
    }
    same_rule(&k.r[6].u.file_rule, rule_rec(2, false, true, false));
    same_rule(&k.r[7].u.file_rule, rule_rec(9, true, false, false));
    drop(&k);
    store_close(s);
    home_remove(&h);
}

Test(store_files, a_later_record_takes_the_place_of_its_key)
{
    struct store *s = open_at(":memory:");
    struct txn t = {0};
    put_file(&t, 5, FILE_OFFERED);
    add(&t, bits_rec(5, 1, false));
    add(&t, peer_rec(5, 11, false));
    add(&t, rule_rec(2, true, true, false));
    commit_ok(s, &t);
    struct rec r = file_rec(5, FILE_ACTIVE), b = bits_rec(5, 1, false);
    struct rec p = peer_rec(5, 11, false);
    blob_release(&r.u.file.dest);
    b.u.file_bits.bits[0] = 0xee;
    p.u.file_peer.end = FILE_END_BROKEN;
    add(&t, r);
    add(&t, b);
    add(&t, p);
    add(&t, rule_rec(2, false, false, false));
    commit_ok(s, &t);
    struct kept k = loaded(s);
    cr_assert_eq(k.n, 4);
    cr_assert(k.r[0].u.file.state == FILE_ACTIVE && k.r[0].u.file.dest.n == 0);
    cr_assert_eq(k.r[1].u.file_bits.bits[0], 0xee);
    cr_assert_eq(k.r[2].u.file_peer.end, FILE_END_BROKEN);
    cr_assert(!k.r[3].u.file_rule.has_max && !k.r[3].u.file_rule.has_quota);
    drop(&k);
    store_close(s);
}

static void del_file(struct txn *t, uint32_t id)
{
    struct rec r = {.kind = REC_FILE, .del = true, .u.file.id = id};
    add(t, r);
}

Test(store_files, each_kind_is_taken_away_by_its_key)
{
    struct store *s = open_at(":memory:");
    struct txn t = {0};
    for (uint32_t id = 1; id <= 2; id++) {
        put_file(&t, id, FILE_ACTIVE);
        for (uint32_t i = 0; i < 3; i++) {
            add(&t, bits_rec(id, i, false));
            add(&t, peer_rec(id, i + 1, false));
        }
        add(&t, rule_rec(id, true, true, false));
    }
    commit_ok(s, &t);
    add(&t, bits_rec(1, 1, true));
    add(&t, peer_rec(1, 2, true));
    add(&t, rule_rec(1, false, false, true));
    commit_ok(s, &t);
    cr_assert_eq(number(s, "SELECT group_concat(block, '') = '02' FROM file_bits"
                           " WHERE file = 1"),
                 1);
    cr_assert_eq(number(s, "SELECT group_concat(contact, '') = '13' FROM file_peer"
                           " WHERE file = 1"),
                 1);
    cr_assert_eq(number(s, "SELECT count(*) FROM file_rule WHERE contact = 2"), 1);
    cr_assert_eq(number(s, "SELECT count(*) FROM file_rule"), 1);
    add(&t, bits_rec(1, UINT32_MAX, true));
    add(&t, bits_rec(1, 9, false));
    commit_ok(s, &t);
    cr_assert_eq(number(s, "SELECT sum(block) FROM file_bits WHERE file = 1"), 9);
    cr_assert_eq(number(s, "SELECT count(*) FROM file_bits WHERE file = 2"), 3);
    del_file(&t, 2);
    commit_ok(s, &t);
    cr_assert_eq(number(s, "SELECT sum(id) FROM file"), 1);
    cr_assert_eq(number(s, "SELECT count(*) FROM file_bits WHERE file = 2"), 0);
    cr_assert_eq(number(s, "SELECT count(*) FROM file_peer WHERE file = 2"), 0);
    cr_assert_eq(number(s, "SELECT count(*) FROM file_peer WHERE file = 1"), 2);
    store_close(s);
}

/* An id of its own for a message that has a file: our own mistake, or a damaged home. */
Test(store_files, a_message_has_one_file)
{
    struct store *s = open_at(":memory:");
    struct txn t = {0};
    put_file(&t, 5, FILE_ACTIVE);
    commit_ok(s, &t);
    struct rec r = file_rec(5, FILE_ACTIVE);
    r.u.file.id = 6;
    put_file(&t, 7, FILE_ACTIVE);
    add(&t, r);
    commit_ok(s, &t); /* a contact may repeat an offer that xfer has forgotten */
    cr_assert_eq(number(s, "SELECT sum(id) FROM file"), 5 + 7);
    for (int i = 0; i < 3; i++) { /* what is not all the same is another message */
        r = file_rec(5, FILE_ACTIVE);
        r.u.file.id = 10 + (uint32_t)i;
        r.u.file.conv += i == 0;
        r.u.file.author += i == 1;
        r.u.file.mid[15] ^= i == 2;
        add(&t, r);
    }
    commit_ok(s, &t);
    cr_assert_eq(number(s, "SELECT count(*) FROM file"), 5);
    store_close(s);
}

/* ---- files that have ended ---- */

Test(store_files, of_an_ended_file_a_start_gets_little)
{
    struct store *s = open_at(":memory:");
    struct txn t = {0};
    struct rec piped = file_rec(10, FILE_DONE), all = file_rec(10, FILE_DONE);
    piped.u.file.flags |= FILE_PIPE;
    all.u.file.flags |= FILE_PIPE;
    for (uint32_t id = 1; id <= 9; id++) {
        put_file(&t, id, (uint8_t)(id == 1 ? FILE_ACTIVE : id));
        if (id <= 3) {
            add(&t, bits_rec(id, 0, false));
            add(&t, peer_rec(id, 11, false));
        }
    }
    add(&t, piped);
    commit_ok(s, &t);
    struct kept k = loaded(s);
    cr_assert_eq(k.n_files, 10);
    cr_assert_eq(k.n, 10 + 2 + 2, "bits and peers of two files");
    same_file(&k.r[9].u.file, all); /* it waits for whoever reads it out */
    for (uint32_t i = 0; i < 9; i++) {
        const struct rec_file *f = &k.r[i].u.file;
        struct rec want = file_rec(i + 1, (uint8_t)(i == 0 ? FILE_ACTIVE : i + 1));
        if (i >= FILE_ACTIVE) {
            struct rec_file *w = &want.u.file;
            blob_release(&w->name);
            blob_release(&w->path);
            blob_release(&w->dest);
            w->head = 0;
            memset(w->root, 0, sizeof w->root);
            cr_assert_neq(f->ended_ms, 0);
        }
        same_file(f, want);
    }
    for (size_t i = 10; i < k.n; i++) {
        bool bits = k.kind[i] == REC_FILE_BITS;
        cr_assert_leq(bits ? k.r[i].u.file_bits.file : k.r[i].u.file_peer.file, 2);
    }
    drop(&k);
    cr_assert_eq(store_file(s, 3, keep_file, &k), 0);
    same_file(&k.r[0].u.file, file_rec(3, FILE_DONE));
    drop(&k);
    store_close(s);
}

struct count {
    size_t n;
    uint32_t first, last;
};

static int count_file(void *ctx, const struct rec *r)
{
    struct count *c = ctx;
    if (r->kind == REC_FILE) {
        cr_assert_gt(r->u.file.id, c->last);
        c->first = c->n == 0 ? r->u.file.id : c->first;
        c->last = r->u.file.id;
        c->n++;
    }
    return 0;
}

Test(store_files, the_newest_ended_files_are_enough)
{
    enum { MORE = 100 };
    struct store *s = open_at(":memory:");
    struct txn t = {0};
    struct count c = {0};
    char sql[512];
    put_file(&t, 1, FILE_ACTIVE);
    put_file(&t, 2, FILE_DONE);
    commit_ok(s, &t);
    (void)snprintf(sql, sizeof sql,
                   "WITH RECURSIVE n(i) AS (SELECT 3 UNION ALL SELECT i + 1 FROM n"
                   " WHERE i < %d) INSERT INTO file SELECT i, conv, author, device,"
                   " CAST(printf('%%016d', i) AS BLOB), kind, state, flags, size, head,"
                   " count, root, name, path, dest, created_ms, ended_ms"
                   " FROM n, file WHERE id = 2",
                   STORE_FILES_ENDED_MAX + MORE + 1);
    cr_assert_eq(sqlite3_exec(s->db, sql, NULL, NULL, NULL), SQLITE_OK, "%s",
                 sqlite3_errmsg(s->db));
    cr_assert_eq(store_load(s, count_file, &c), 0);
    cr_assert_eq(c.n, STORE_FILES_ENDED_MAX + 1);
    cr_assert_eq(c.first, 1, "one that has not ended is never left out");
    cr_assert_eq(c.last, STORE_FILES_ENDED_MAX + MORE + 1);
    store_close(s);
}

/* ---- messages ---- */

struct seen {
    size_t n;
    struct store_msg m[MAX]; /* without bytes */
    char text[MAX][64];
};

static int see(void *ctx, const struct store_msg *m)
{
    struct seen *v = ctx;
    cr_assert_lt(v->n, MAX);
    (void)snprintf(v->text[v->n], sizeof v->text[0], "%.*s", (int)m->text.n,
                   m->text.n > 0 ? (const char *)m->text.p : "");
    v->m[v->n++] = *m;
    return 0;
}

static int see_found(void *ctx, const struct store_msg *m, const struct search_match *v,
                     size_t n)
{
    (void)v, (void)n;
    return see(ctx, m);
}

static struct seen history(struct store *s, uint32_t conv)
{
    struct seen v = {0};
    struct store_query q = {.conv = conv, .limit = MAX};
    cr_assert_eq(store_history(s, &q, see, &v), 0);
    return v;
}

static struct seen look_for(struct store *s, const char *text)
{
    static struct search q;
    struct seen v = {0};
    struct search_at at = {.below = UINT64_MAX};
    cr_assert_eq(search_parse(text, strlen(text), &q), 0);
    while (!at.done) {
        cr_assert_eq(store_search(s, &q, &at, see_found, &v), 0);
    }
    return v;
}

static void index_all(struct store *s)
{
    for (bool more = true; more;) {
        cr_assert_eq(store_index(s, false, &more), 0);
    }
}

static void tells_file(const struct store_msg_file *f, uint32_t id, uint8_t state)
{
    cr_assert(f->id == id && f->state == state && f->kind == FILE_FOLDER);
    cr_assert_eq(f->flags, (uint32_t)(FILE_SEALED | FILE_SIZED));
    cr_assert_eq(f->size, (UINT64_C(1) << 44) + id);
    cr_assert(f->head == 4000 && f->count == 65536);
}

/* One line with file 1, one whose file is not stored, one of text. */
static struct store *with_messages(void)
{
    struct store *s = open_at(":memory:");
    struct txn t = {0};
    make_device(&t, FEED, THEIRS, 0x11);
    put_offer(&t, 1);
    put_file(&t, 1, FILE_OFFERED);
    put_offer(&t, 2);
    make_entry(&t, FEED, 3, 64, 0, false);
    make_msg(&t, CONV, FEED, 3, THEIRS, 3, BASE + 3);
    put_file(&t, 3, FILE_ACTIVE); /* no text has a file, whatever is stored */
    commit_ok(s, &t);
    return s;
}

static void tells_all(const struct seen *v, uint8_t state)
{
    cr_assert_eq(v->n, 3);
    cr_assert(v->m[0].kind == MSG_FILE && v->m[0].has_file);
    tells_file(&v->m[0].file, 1, state);
    cr_assert_str_eq(v->text[0], NAME);
    cr_assert(v->m[1].kind == MSG_FILE && !v->m[1].has_file && v->m[1].file.id == 0);
    cr_assert(v->m[2].kind == MSG_TEXT && !v->m[2].has_file);
}

Test(store_files, messages_tell_their_files)
{
    struct store *s = with_messages();
    struct txn t = {0};
    struct seen v = history(s, CONV);
    tells_all(&v, FILE_OFFERED);
    put_file(&t, 1, FILE_DONE);
    commit_ok(s, &t);
    v = history(s, 0);
    tells_all(&v, FILE_DONE);
    v = (struct seen){0};
    cr_assert_eq(store_arrivals(s, CONV, 0, MAX, see, &v), 0);
    tells_all(&v, FILE_DONE);
    v = (struct seen){0};
    uint8_t mid[WIRE_MID];
    char hex[2 * WIRE_MID + 1];
    make_mid(1, mid);
    for (size_t i = 0; i < sizeof mid; i++) {
        (void)snprintf(hex + 2 * i, 3, "%02x", mid[i]);
    }
    cr_assert_eq(store_find(s, hex, see, &v), 0);
    cr_assert(v.n == 1 && v.m[0].has_file);
    tells_file(&v.m[0].file, 1, FILE_DONE);
    for (int i = 0; i < 2; i++) { /* before and after it is in the index of words */
        v = look_for(s, "plan");
        cr_assert_eq(v.n, 2);
        cr_assert(!v.m[0].has_file && v.m[1].has_file);
        tells_file(&v.m[1].file, 1, FILE_DONE);
        index_all(s);
    }
    store_close(s);
}

Test(store_files, events_of_messages_tell_their_files)
{
    struct store *s = open_at(":memory:");
    struct txn t = {0};
    struct store_events ev = {0};
    uint64_t newest = 0;
    put_file(&t, 1, FILE_OFFERED); /* before its message, and after it */
    put_offer(&t, 1);
    put_offer(&t, 2);
    put_file(&t, 2, FILE_OFFERED);
    put_offer(&t, 3);
    make_state(&t, FEED, 1, 3, STATE_READ);
    for (int round = 0; round < 2; round++) {
        if (round == 0) {
            cr_assert_eq(commit(s, &t, &ev), 0);
        } else {
            cr_assert_eq(store_events_since(s, 0, MAX, &ev, &newest), 0);
        }
        cr_assert_eq(ev.n, 6);
        for (uint32_t i = 0; i < 3; i++) {
            const struct store_event *e = &ev.v[i];
            cr_assert(e->topic == TOPIC_MESSAGE && e->kind == MSG_FILE);
            cr_assert(e->text.n == strlen(NAME) &&
                      memcmp(e->text.p, NAME, e->text.n) == 0);
            cr_assert_eq(e->has_file, i < 2);
            if (i < 2) {
                tells_file(&e->file, i + 1, FILE_OFFERED);
            }
            cr_assert(ev.v[3 + i].topic == TOPIC_STATE && !ev.v[3 + i].has_file);
        }
        store_events_release(&ev);
    }
    store_close(s);
}

/* ---- redaction ---- */

static void is_nameless(struct store *s, uint32_t id)
{
    struct kept k = {0};
    cr_assert_eq(store_file(s, id, keep_file, &k), 0);
    cr_assert_eq(k.r[0].u.file.name.n, 0);
    cr_assert_eq(k.r[0].u.file.size, (UINT64_C(1) << 44) + id, "the rest stays");
    drop(&k);
}

Test(store_files, a_message_taken_back_keeps_its_kind_and_no_name)
{
    struct store *s = with_messages();
    struct txn t = {0};
    struct store_events ev = {0};
    uint64_t newest = 0;
    index_all(s);
    put_file(&t, 1, FILE_DONE);
    commit_ok(s, &t);
    redact(s, 1);
    is_nameless(s, 1);
    put_file(&t, 1, FILE_CANCELLED); /* by one who has not heard of it */
    commit_ok(s, &t);
    is_nameless(s, 1);
    struct seen v = history(s, CONV);
    cr_assert(v.m[0].kind == MSG_FILE && (v.m[0].flags & MSG_REDACTED) != 0);
    cr_assert_str_eq(v.text[0], "");
    cr_assert(v.m[0].has_file);
    tells_file(&v.m[0].file, 1, FILE_CANCELLED);
    cr_assert_eq(look_for(s, "plan").n, 1, "the other one");
    cr_assert_eq(store_events_since(s, 0, MAX, &ev, &newest), 0);
    cr_assert(ev.v[0].kind == MSG_FILE && (ev.v[0].flags & MSG_REDACTED) != 0);
    cr_assert(ev.v[0].text.n == 0 && ev.v[0].has_file);
    store_events_release(&ev);
    struct kept k = {0};
    cr_assert_eq(store_file(s, 3, keep_file, &k), 0);
    same_file(&k.r[0].u.file, file_rec(3, FILE_ACTIVE));
    drop(&k);
    store_close(s);
}

Test(store_files, a_redaction_that_comes_first_takes_the_name)
{
    struct store *s = open_at(":memory:");
    struct txn t = {0};
    make_device(&t, FEED, THEIRS, 0x11);
    commit_ok(s, &t);
    for (uint32_t id = 1; id <= 2; id++) {
        redact(s, id);
        if (id == 1) {
            put_file(&t, id, FILE_OFFERED);
        }
        put_offer(&t, id);
        if (id == 2) {
            put_file(&t, id, FILE_OFFERED);
        }
        commit_ok(s, &t);
        is_nameless(s, id);
    }
    struct seen v = history(s, CONV);
    cr_assert_eq(v.n, 2);
    for (size_t i = 0; i < 2; i++) {
        cr_assert(v.m[i].kind == MSG_FILE && v.m[i].has_file && v.text[i][0] == '\0');
    }
    store_close(s);
}

/* ---- what front ends ask for ---- */

static int count_row(void *ctx, const struct rec_file *f)
{
    struct rec r = {.kind = REC_FILE, .u.file = *f};
    return count_file(ctx, &r);
}

static int stop_at_once(void *ctx, const struct rec_file *f)
{
    ++*(int *)ctx;
    return (int)f->id;
}

static int stop_at_peer(void *ctx, const struct rec_file_peer *p)
{
    ++*(int *)ctx;
    return (int)p->contact;
}

Test(store_files, all_files_come_in_pages)
{
    enum { FILES = STORE_PAGE_ROWS + 44 };
    struct store *s = open_at(":memory:");
    struct txn t = {0};
    struct count c = {0};
    int calls = 0;
    for (uint32_t id = 1; id <= FILES; id++) {
        put_file(&t, 2 * id, (uint8_t)(id % 2 == 0 ? FILE_ACTIVE : FILE_DONE));
    }
    commit_ok(s, &t);
    cr_assert_eq(store_files(s, 0, SIZE_MAX, count_row, &c), 0);
    cr_assert(c.n == STORE_PAGE_ROWS && c.first == 2 && c.last == 2 * STORE_PAGE_ROWS);
    cr_assert_eq(store_files(s, c.last, SIZE_MAX, count_row, &c), 0);
    cr_assert(c.n == FILES && c.last == 2 * FILES);
    cr_assert_eq(store_files(s, c.last, SIZE_MAX, count_row, &c), 0);
    cr_assert_eq(c.n, FILES);
    c = (struct count){0};
    cr_assert_eq(store_files(s, 3, 2, count_row, &c), 0);
    cr_assert(c.n == 2 && c.first == 4 && c.last == 6);
    cr_assert_eq(store_files(s, 0, 10, stop_at_once, &calls), 2);
    cr_assert_eq(calls, 1);
    struct kept k = {0};
    cr_assert_eq(store_files(s, 0, 2, keep_file, &k), 0);
    same_file(&k.r[0].u.file, file_rec(2, FILE_DONE));
    same_file(&k.r[1].u.file, file_rec(4, FILE_ACTIVE));
    drop(&k);
    cr_assert_eq(store_file(s, 3, keep_file, &k), ERR_NOTFOUND);
    cr_assert_eq(store_file(s, 4, stop_at_once, &calls), 4);
    cr_assert_eq(k.n, 0);
    store_close(s);
}

Test(store_files, peers_come_by_contact)
{
    struct store *s = open_at(":memory:");
    struct txn t = {0};
    struct kept k = {0};
    int calls = 0;
    put_file(&t, 1, FILE_DONE);
    add(&t, peer_rec(1, 12, false));
    add(&t, peer_rec(1, 3, false));
    add(&t, peer_rec(2, 4, false));
    commit_ok(s, &t);
    cr_assert_eq(store_file_peers(s, 1, keep_peer, &k), 0);
    cr_assert_eq(k.n, 2);
    same_peer(&k.r[0].u.file_peer, 1, 3);
    same_peer(&k.r[1].u.file_peer, 1, 12);
    cr_assert_eq(store_file_peers(s, 1, stop_at_peer, &calls), 3);
    cr_assert_eq(calls, 1);
    cr_assert_eq(store_file_peers(s, 9, keep_peer, &k), 0);
    cr_assert_eq(k.n, 2);
    drop(&k);
    store_close(s);
}

static uint64_t sum_auto(struct store *s, uint64_t since_ms, uint32_t contact)
{
    uint64_t bytes = UINT64_MAX;
    cr_assert_eq(store_files_auto(s, since_ms, contact, &bytes), 0);
    return bytes;
}

Test(store_files, what_was_accepted_by_itself_is_summed)
{
    struct store *s = open_at(":memory:");
    struct txn t = {0};
    cr_assert_eq(sum_auto(s, 0, 0), 0);
    for (uint32_t id = 1; id <= 6; id++) { /* created at BASE + id; 1, 10, 100, … */
        struct rec r = file_rec(id, (uint8_t)(id % 2 == 0 ? FILE_STOPPED : FILE_ACTIVE));
        r.u.file.size = 1;
        for (uint32_t i = 1; i < id; i++) {
            r.u.file.size *= 10;
        }
        r.u.file.author = id <= 3 ? THEIRS : THEIRS + 1;
        r.u.file.flags = id == 2 ? FILE_SEALED : FILE_AUTO | FILE_SEALED;
        add(&t, r);
    }
    commit_ok(s, &t);
    cr_assert_eq(sum_auto(s, 0, 0), 111101);
    cr_assert_eq(sum_auto(s, 0, THEIRS), 101);
    cr_assert_eq(sum_auto(s, BASE + 3, 0), 111100);
    cr_assert_eq(sum_auto(s, BASE + 4, THEIRS), 0);
    cr_assert_eq(sum_auto(s, BASE + 5, THEIRS + 1), 110000);
    cr_assert_eq(sum_auto(s, UINT64_MAX, 0), 0);
    for (uint32_t id = 7; id <= 9; id++) {
        struct rec r = file_rec(id, FILE_ACTIVE);
        r.u.file.flags = FILE_AUTO;
        r.u.file.size = INT64_MAX - 1;
        add(&t, r);
    }
    commit_ok(s, &t);
    cr_assert_eq(sum_auto(s, 0, 0), INT64_MAX);
    store_close(s);
}

/* ---- homes of older schemas ---- */

static void make_old(const struct home *h, const char *name)
{
    static char sql[1 << 16];
    sqlite3 *db = NULL;
    (void)snprintf(sql, sizeof sql, "%s/%s", getenv("LINNET_TESTS"), name);
    FILE *f = fopen(sql, "rb");
    cr_assert_not_null(f, "%s", sql);
    size_t n = fread(sql, 1, sizeof sql - 1, f);
    cr_assert_lt(n, sizeof sql - 1);
    sql[n] = '\0';
    (void)fclose(f);
    cr_assert_eq(sqlite3_open(h->path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK, "%s",
                 sqlite3_errmsg(db));
    cr_assert_eq(sqlite3_close(db), SQLITE_OK);
}

/* Takes files, and goes on with them. */
static void takes_files(const struct home *h, struct store *s)
{
    struct txn t = {0};
    cr_assert_eq(number(s, "PRAGMA user_version"), STORE_SCHEMA);
    cr_assert_eq(number(s, "SELECT count(*) FROM file"), 0);
    put_file(&t, 1, FILE_ACTIVE);
    add(&t, bits_rec(1, 0, false));
    add(&t, peer_rec(1, 1, false));
    add(&t, rule_rec(1, true, true, false));
    commit_ok(s, &t);
    store_close(s);
    s = open_at(h->path);
    struct kept k = loaded(s);
    cr_assert_eq(k.n, 4);
    same_file(&k.r[0].u.file, file_rec(1, FILE_ACTIVE));
    drop(&k);
    store_close(s);
}

Test(store_files, homes_of_older_schemas_take_files)
{
    static const char *const old[] = {"schema1/linnet.sql", "schema2/linnet.sql"};
    for (size_t i = 0; i < 2; i++) {
        struct home h;
        home_make(&h);
        make_old(&h, old[i]);
        struct store *s = open_at(h.path);
        struct seen v = history(s, 1);
        cr_assert_eq(v.n, 3 + i);
        cr_assert_str_eq(v.text[0], "Shall we meet at the Café?");
        takes_files(&h, s);
        home_remove(&h);
    }
}
