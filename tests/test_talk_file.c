/* What is said of files: offers are messages; `sealed` and the ends of files are told,
 * and shown nowhere. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "feed_harness.h"
#include "feed_priv.h"

static struct hnet *meshed(size_t n, uint64_t seed)
{
    struct hnet *h = harness_new(n, seed);
    harness_mesh(h);
    (void)harness_run(h, 1000);
    return h;
}

/* How often a node was told that of an offer; *x gets the last one. */
static size_t told(const struct hnode *n, enum body_kind kind, unsigned number,
                   struct hfile *x)
{
    uint8_t mid[WIRE_MID];
    size_t count = 0;
    harness_mid(number, mid);
    cr_assert_leq(n->n_files, (size_t)HARNESS_FILES);
    for (size_t i = 0; i < n->n_files; i++) {
        const struct wire_body *b = &n->files[i].body;
        const uint8_t *of = kind == BODY_OFFER ? b->mid : b->target;
        if (b->kind == kind && memcmp(of, mid, WIRE_MID) == 0) {
            count++;
            if (x != NULL) {
                *x = n->files[i];
            }
        }
    }
    return count;
}

/* The only message with that number, or none of kind 0. */
static struct hmsg message(struct hnode *n, unsigned number)
{
    struct hmsg m = {0};
    struct hlist *l = harness_history(n);
    for (size_t i = 0; i < l->n; i++) {
        if (l->v[i].number == number) {
            cr_assert_eq(m.kind, 0, "it is shown twice");
            m = l->v[i];
        }
    }
    free(l);
    return m;
}

static void check_told_by(const struct hnode *n, enum body_kind kind, unsigned number,
                          size_t who, bool taken_back)
{
    struct hfile x = {0};
    cr_assert_geq(told(n, kind, number, &x), 1, "node %zu: %d of %u", n->i, (int)kind,
                  number);
    cr_assert(x.who == who && x.taken_back == taken_back && x.conv == n->conv);
}

struct entries {
    size_t without_box; /* any more */
    size_t carry;       /* the offer, as their records say */
};

/* Looks at the entries in all of node 0's feeds. */
static struct entries entries_of(struct hnode *n, unsigned offer)
{
    struct entries count = {0};
    uint8_t mid[WIRE_MID];
    harness_mid(offer, mid);
    for (uint32_t id = 1; id < 16; id++) {
        const struct rec_feed *fd = feeds_feed(n->f, id);
        struct store_entries e = {0};
        if (fd == NULL || fd->device != harness_ref(n, 0)) {
            continue;
        }
        cr_assert_eq(store_entries(n->store, id, 1, fd->head, 100, 1 << 20, &e), 0);
        cr_assert_eq(e.n, fd->head);
        for (size_t i = 0; i < e.n; i++) {
            count.without_box += e.v[i].box.n == 0;
            count.carry += memcmp(e.v[i].mid, mid, WIRE_MID) == 0;
        }
        store_entries_release(&e);
    }
    return count;
}

Test(talk_file, an_offer_is_a_message)
{
    struct hnet *h = meshed(2, 1);
    struct hnode *a = &h->node[0], *b = &h->node[1];
    static const char name[] = "7 caf\xc3\xa9.txt";
    struct wire_body offer = {.kind = BODY_OFFER,
                              .has_order = true, /* only repeats may have one */
                              .order = 1,
                              .text = (const uint8_t *)name,
                              .text_len = sizeof name - 1,
                              .has_size = true,
                              .size = 5000,
                              .folder = true,
                              .manifest = 300,
                              .count = 4,
                              .exec = false};
    harness_mid(7, offer.mid);
    harness_cut(h, 0, 1);
    cr_assert_eq(feeds_send_file(a->f, &a->txn, a->conv, 0, &offer, h->now_ms), 0);
    (void)harness_settle(a);
    struct hmsg mine = message(a, 7);
    cr_assert(mine.kind == MSG_FILE && mine.author == 0 && mine.state == STATE_QUEUED);
    cr_assert_eq(memcmp(mine.mid, offer.mid, WIRE_MID), 0);
    cr_assert_gt(mine.order, 1);
    cr_assert_eq(entries_of(a, 7).carry, 1);
    harness_link(h, 0, 1);
    (void)harness_run(h, 1000);
    harness_pass(h, 2000);
    struct hmsg theirs = message(b, 7);
    cr_assert(theirs.kind == MSG_FILE && theirs.state == STATE_RECEIVED);
    cr_assert_eq(theirs.len, sizeof name - 1);
    cr_assert(theirs.order == mine.order && memcmp(theirs.mid, offer.mid, WIRE_MID) == 0);
    cr_assert_eq(message(a, 7).state, STATE_DELIVERED);
    uint64_t unread = 0;
    cr_assert(store_unread(b->store, b->conv, &unread) == 0 && unread == 1);
    struct hfile x = {0};
    cr_assert_eq(told(b, BODY_OFFER, 7, &x), 1);
    cr_assert(x.who == 0 && x.conv == b->conv && !x.taken_back);
    cr_assert(x.body.text_len == sizeof name - 1 &&
              memcmp(x.name, name, sizeof name - 1) == 0);
    cr_assert(x.body.has_size && x.body.size == 5000 && x.body.folder && !x.body.exec);
    cr_assert(x.body.manifest == 300 && x.body.count == 4);
    cr_assert_eq(x.body.time_ms, h->wall_us / 1000 - 2000);
    cr_assert_eq(a->n_files, 0, "nobody is told of what they say");
    cr_assert_eq(feeds_read(b->f, &b->txn, b->conv, h->now_ms), 0);
    (void)harness_settle(b);
    (void)harness_run(h, 1000);
    cr_assert_eq(message(a, 7).state, STATE_READ);
    harness_free(h);
}

Test(talk_file, what_else_is_said_is_told)
{
    struct hnet *h = meshed(2, 2);
    struct hnode *a = &h->node[0], *b = &h->node[1];
    struct wire_body sealed = {.kind = BODY_SEALED, .size = 123456789};
    struct hfile x = {0};
    harness_mid(3, sealed.target);
    memset(sealed.hash, 0x6b, sizeof sealed.hash);
    harness_file(a, BODY_OFFER, 0, 3);
    cr_assert_eq(feeds_send_file(a->f, &a->txn, a->conv, 0, &sealed, h->now_ms), 0);
    (void)harness_settle(a);
    harness_file(a, BODY_FILE_END, 0, 3);
    (void)harness_run(h, 1000);
    cr_assert_eq(told(b, BODY_SEALED, 3, &x), 1);
    cr_assert(x.who == 0 && !x.taken_back && x.body.size == 123456789);
    cr_assert_eq(memcmp(x.body.hash, sealed.hash, sizeof sealed.hash), 0);
    cr_assert_eq(told(b, BODY_FILE_END, 3, &x), 1);
    cr_assert(x.who == 0 && x.body.end == FILE_END_RECEIVED);
    cr_assert_eq(memcmp(x.body.author, a->root, WIRE_ID), 0);
    harness_file(b, BODY_FILE_END, 0, 3);
    (void)harness_run(h, 1000);
    cr_assert_eq(told(a, BODY_FILE_END, 3, &x), 1);
    cr_assert(x.who == 1);
    cr_assert_eq(memcmp(x.body.author, a->root, WIRE_ID), 0);
    harness_same(h, 1); /* the offer alone is shown */
    harness_free(h);
}

Test(talk_file, in_a_group_it_comes_over_others)
{
    struct hnet *h = harness_new(3, 3);
    harness_link(h, 0, 1);
    harness_link(h, 1, 2);
    (void)harness_run(h, 1000);
    harness_file(&h->node[0], BODY_OFFER, 0, 1);
    harness_file(&h->node[0], BODY_SEALED, 0, 1);
    (void)harness_run(h, 1000);
    harness_file(&h->node[1], BODY_FILE_END, 0, 1);
    (void)harness_run(h, 1000);
    harness_pass(h, 20000);
    harness_same(h, 1);
    struct hnode *last = &h->node[2];
    cr_assert_eq(last->n_files, 3);
    check_told_by(last, BODY_OFFER, 1, 0, false);
    check_told_by(last, BODY_SEALED, 1, 0, false);
    check_told_by(last, BODY_FILE_END, 1, 1, false);
    cr_assert_eq(memcmp(last->files[2].body.author, h->node[0].root, WIRE_ID), 0);
    cr_assert_eq(message(&h->node[0], 1).state, STATE_STORED, "not all have opened it");
    harness_free(h);
}

static void redact(struct hnode *n, unsigned number)
{
    struct feeds_change v = {.kind = CHANGE_REDACTION};
    harness_mid(number, v.target);
    cr_assert_eq(feeds_change(n->f, &n->txn, n->conv, &v, n->net->now_ms), 0);
    (void)harness_settle(n);
}

Test(talk_file, a_redaction_is_told)
{
    struct hnet *h = meshed(2, 4);
    struct hnode *a = &h->node[0], *b = &h->node[1];
    harness_file(a, BODY_OFFER, 0, 1);
    (void)harness_run(h, 1000);
    redact(a, 1);
    cr_assert_eq(a->n_files, 0);
    (void)harness_run(h, 1000);
    cr_assert_eq(b->n_files, 2);
    check_told_by(b, BODY_REDACTION, 1, 0, false);
    /* The name is gone with the message, and so is the entry that carried it. */
    harness_say(a, 2);
    (void)harness_run(h, 1000);
    struct hlist *l = harness_history(b);
    cr_assert_eq(l->n, 2);
    cr_assert((l->v[0].flags & MSG_REDACTED) != 0 && l->v[0].len == 0);
    free(l);
    cr_assert_eq(entries_of(a, 1).without_box, 1);
    cr_assert_eq(entries_of(b, 1).without_box, 1);
    harness_free(h);
}

/* Its home was set back, and it has written nothing since. */
Test(talk_file, what_was_said_is_taken_back)
{
    struct hnet *h = meshed(2, 5);
    struct hnode *a = &h->node[0], *b = &h->node[1];
    harness_say(a, 9);
    (void)harness_run(h, 1000);
    struct blob copy = harness_copy(a);
    harness_file(a, BODY_OFFER, 0, 1);
    harness_file(a, BODY_SEALED, 0, 1);
    harness_file(a, BODY_FILE_END, 1, 2);
    harness_file(a, BODY_OFFER, 0, 3);
    redact(a, 3);
    (void)harness_run(h, 1000);
    size_t before = b->n_files;
    harness_back(a, &copy);
    harness_link(h, 0, 1);
    (void)harness_run(h, 10000);
    harness_pass(h, 10000);
    check_told_by(a, BODY_OFFER, 1, 0, true);
    check_told_by(a, BODY_SEALED, 1, 0, true);
    check_told_by(a, BODY_FILE_END, 2, 0, true);
    check_told_by(a, BODY_REDACTION, 3, 0, true);
    cr_assert_eq(memcmp(a->files[2].body.author, b->root, WIRE_ID), 0);
    struct hmsg m = message(a, 1);
    cr_assert(m.kind == MSG_FILE && m.author == 0 && m.state == STATE_DELIVERED);
    cr_assert_eq(b->n_files, before, "b knows it all");
    redact(a, 1);
    (void)harness_run(h, 1000);
    cr_assert_eq(entries_of(a, 1).without_box, 2);
    blob_release(&copy);
    harness_free(h);
}

static const struct hfile *first(const struct hnode *n, enum body_kind kind,
                                 unsigned number)
{
    struct hfile x;
    for (size_t i = 0; i < n->n_files; i++) {
        const struct hnode one = {.files = n->files + i, .n_files = 1};
        if (told(&one, kind, number, &x) == 1) {
            return &n->files[i];
        }
    }
    return NULL;
}

/* Its home was set back, and it wrote on: what it says now is repeated in a new
 * generation, and what it had said is taken back. */
Test(talk_file, a_repeat_is_the_same)
{
    struct hnet *h = meshed(2, 6);
    struct hnode *a = &h->node[0], *b = &h->node[1];
    harness_say(a, 9);
    (void)harness_run(h, 1000);
    struct blob copy = harness_copy(a);
    harness_file(a, BODY_OFFER, 0, 1);
    (void)harness_run(h, 1000);
    h->wall_us += 5000000;
    harness_back(a, &copy);
    harness_file(a, BODY_OFFER, 0, 2);
    harness_file(a, BODY_SEALED, 0, 2);
    harness_file(a, BODY_FILE_END, 1, 4);
    struct hmsg before = message(a, 2);
    harness_link(h, 0, 1);
    (void)harness_run(h, 10000);
    harness_pass(h, 30000);
    harness_same(h, 3);
    check_told_by(a, BODY_OFFER, 1, 0, true);
    cr_assert_eq(told(a, BODY_OFFER, 2, NULL), 0, "it was never lost");
    check_told_by(b, BODY_OFFER, 2, 0, false);
    check_told_by(b, BODY_SEALED, 2, 0, false);
    check_told_by(b, BODY_FILE_END, 4, 0, false);
    struct hmsg after = message(b, 2);
    cr_assert(after.kind == MSG_FILE && after.order == before.order);
    cr_assert_eq(memcmp(after.mid, before.mid, WIRE_MID), 0);
    cr_assert_eq(message(a, 2).state, STATE_DELIVERED);
    cr_assert_eq(h->node[1].n_forks, 0);
    blob_release(&copy);
    harness_free(h);
}

/* Two lives of one device told two others different things: it has what the one of them
 * holds, and finds what it said in the life that it lost. */
Test(talk_file, what_a_lost_life_said_is_told)
{
    struct hnet *h = harness_new(3, 10);
    struct hnode *a = &h->node[0];
    harness_link(h, 0, 1);
    harness_link(h, 0, 2);
    (void)harness_run(h, 1000);
    harness_say(a, 9);
    (void)harness_run(h, 1000);
    struct blob copy = harness_copy(a);
    harness_cut(h, 0, 2);
    harness_file(a, BODY_OFFER, 0, 1);
    harness_file(a, BODY_FILE_END, 1, 5);
    (void)harness_run(h, 1000);
    h->wall_us += 1000000;
    harness_back(a, &copy);
    harness_link(h, 0, 2);
    harness_file(a, BODY_OFFER, 0, 2);
    harness_file(a, BODY_SEALED, 0, 2);
    (void)harness_run(h, 1000);
    harness_cut(h, 0, 2);
    harness_link(h, 1, 2); /* the two compare */
    (void)harness_run(h, 10000);
    cr_assert_eq(h->node[1].n_forks, 1);
    harness_link(h, 0, 1);
    harness_link(h, 0, 2);
    (void)harness_run(h, 10000);
    harness_pass(h, 60000);
    harness_same(h, 3);
    check_told_by(a, BODY_OFFER, 1, 0, true);
    check_told_by(a, BODY_FILE_END, 5, 0, true);
    cr_assert_eq(told(a, BODY_OFFER, 2, NULL) + told(a, BODY_SEALED, 2, NULL), 0);
    for (size_t i = 1; i < 3; i++) {
        check_told_by(&h->node[i], BODY_OFFER, 1, 0, false);
        check_told_by(&h->node[i], BODY_FILE_END, 5, 0, false);
        check_told_by(&h->node[i], BODY_OFFER, 2, 0, false);
        check_told_by(&h->node[i], BODY_SEALED, 2, 0, false);
        cr_assert_eq(message(&h->node[i], 1).kind, MSG_FILE);
        cr_assert_eq(message(&h->node[i], 2).kind, MSG_FILE);
    }
    /* What is told twice is the same in author and id. */
    const struct hfile *x = first(&h->node[1], BODY_SEALED, 2);
    struct hfile y = {0};
    (void)told(&h->node[1], BODY_SEALED, 2, &y);
    cr_assert(x->who == y.who && memcmp(x->body.mid, y.body.mid, WIRE_MID) == 0);
    blob_release(&copy);
    harness_free(h);
}

/* A receiver whose box key went with its newer home. */
Test(talk_file, what_cannot_be_opened_is_repeated)
{
    struct hnet *h = meshed(2, 11);
    struct hnode *a = &h->node[0], *b = &h->node[1];
    harness_say(a, 9);
    (void)harness_run(h, 1000);
    struct blob copy = harness_copy(b);
    h->wall_us += (FEEDS_BOXKEY_S + 10) * UINT64_C(1000000);
    cr_assert(feeds_box_rotate(b->f, &b->txn, h->wall_us / 1000000));
    harness_announce(b);
    (void)harness_settle(b);
    (void)harness_run(h, 1000);
    harness_file(a, BODY_OFFER, 0, 1);
    harness_file(a, BODY_SEALED, 0, 1);
    harness_file(a, BODY_FILE_END, 1, 2);
    redact(a, 3);
    (void)harness_run(h, 1000);
    cr_assert_eq(b->n_files, 4);
    struct hfile old[4], again = {0};
    memcpy(old, b->files, sizeof old);
    b->n_files = 0;
    harness_back(b, &copy);
    h->wall_us += 60 * UINT64_C(1000000);
    harness_link(h, 0, 1);
    (void)harness_run(h, 10000);
    harness_pass(h, 60000);
    harness_same(h, 2);
    cr_assert_eq(b->n_files, 4);
    for (size_t i = 0; i < 4; i++) {
        const struct wire_body *o = &old[i].body;
        again = b->files[i];
        cr_assert(again.body.kind == o->kind && again.body.has_order);
        cr_assert_eq(memcmp(again.body.mid, o->mid, WIRE_MID), 0);
        cr_assert_eq(memcmp(again.body.target, o->target, WIRE_MID), 0);
        cr_assert_eq(again.body.time_ms, o->time_ms);
    }
    cr_assert_eq(told(a, BODY_OFFER, 1, NULL), 0);
    cr_assert_eq(message(b, 1).kind, MSG_FILE);
    cr_assert_eq(message(a, 1).state, STATE_DELIVERED);
    redact(a, 1); /* the repeat carries the message, too */
    cr_assert_eq(entries_of(a, 1).without_box, 2);
    blob_release(&copy);
    harness_free(h);
}

/* Taken back, and repeated because not all have it: both entries carry the message. */
Test(talk_file, a_redaction_finds_all_entries)
{
    struct hnet *h = harness_new(3, 16);
    struct hnode *a = &h->node[0];
    harness_link(h, 0, 1);
    harness_say(a, 9);
    (void)harness_run(h, 1000);
    struct blob copy = harness_copy(a);
    harness_file(a, BODY_OFFER, 0, 1);
    (void)harness_run(h, 1000);
    h->wall_us += 1000000;
    harness_back(a, &copy);
    harness_say(a, 2);
    harness_link(h, 0, 1);
    (void)harness_run(h, 10000);
    harness_pass(h, 30000);
    check_told_by(a, BODY_OFFER, 1, 0, true);
    cr_assert_eq(entries_of(a, 1).carry, 2);
    redact(a, 1);
    cr_assert_eq(entries_of(a, 1).without_box, 2);
    harness_link(h, 0, 2);
    (void)harness_run(h, 1000);
    cr_assert_eq(told(&h->node[2], BODY_OFFER, 1, NULL), 0, "nothing of it is left");
    cr_assert_eq(harness_count(&h->node[2], 2, NULL), 1);
    blob_release(&copy);
    harness_free(h);
}

/* Appends a body of which some bytes were exchanged for others. */
static void say_wrong(struct hnode *n, const struct wire_body *b, const void *is,
                      const void *want, size_t len)
{
    static uint8_t plain[WIRE_BODY_MAX];
    struct wr w = wr_init(plain, sizeof plain);
    wire_body_put(&w, b);
    cr_assert(wr_ok(&w));
    size_t at = 0;
    while (at + len <= w.len && memcmp(plain + at, is, len) != 0) {
        at++;
    }
    cr_assert_leq(at + len, w.len);
    memcpy(plain + at, want, len);
    struct conv *c = conv_by_id(n->f, n->conv);
    cr_assert_eq(conv_append(n->f, &n->txn, c, plain, w.len, NULL, NULL), 0);
    cr_assert_eq(feeds_end(n->f, &n->txn), 0);
    (void)harness_settle(n);
}

Test(talk_file, a_hostile_members_words_have_no_effect)
{
    struct hnet *h = meshed(3, 12);
    struct hnode *a = &h->node[0], *b = &h->node[1];
    uint8_t nobody[WIRE_ID], ours[WIRE_ID];
    memset(nobody, 0x77, sizeof nobody);
    memcpy(ours, b->root, sizeof ours);
    struct wire_body end = {.kind = BODY_FILE_END, .end = FILE_END_BROKEN};
    memcpy(end.author, ours, sizeof ours);
    say_wrong(a, &end, ours, nobody, sizeof ours);
    struct wire_body offer = {.kind = BODY_OFFER,
                              .text = (const uint8_t *)"dir_name",
                              .text_len = 8,
                              .has_size = true,
                              .size = 1};
    say_wrong(a, &offer, "dir_name", "../.name", 8);
    (void)harness_run(h, 1000);
    cr_assert_eq(b->n_files, 0);
    cr_assert_eq(b->n_errors, 0);
    harness_same(h, 0);
    const struct rec_feed *fd = harness_feed(b, 0, 0);
    cr_assert(fd->head == 3 && fd->opened == 3, "it counts as opened");
    harness_file(a, BODY_OFFER, 0, 1); /* and what is behind it is shown */
    (void)harness_run(h, 1000);
    harness_same(h, 1);
    cr_assert_eq(b->n_files, 1);
    harness_free(h);
}

Test(talk_file, what_cannot_be_said_is_refused)
{
    struct hnet *h = meshed(2, 13);
    struct hnode *a = &h->node[0];
    struct wire_body b = {.kind = BODY_OFFER,
                          .text = (const uint8_t *)"a/b",
                          .text_len = 3,
                          .has_size = true};
    cr_assert_eq(feeds_send_file(a->f, &a->txn, a->conv, 0, &b, h->now_ms), ERR_ARG);
    b.text_len = 1;
    cr_assert_eq(feeds_send_file(a->f, &a->txn, 99, 0, &b, h->now_ms), ERR_NOTFOUND);
    b.size = WIRE_FILE_SIZE_MAX + 1;
    cr_assert_eq(feeds_send_file(a->f, &a->txn, a->conv, 0, &b, h->now_ms), ERR_ARG);
    b = (struct wire_body){.kind = BODY_FILE_END, .end = FILE_END_STOPPED};
    cr_assert_eq(feeds_send_file(a->f, &a->txn, a->conv, 77, &b, h->now_ms),
                 ERR_NOTFOUND);
    b.kind = BODY_TEXT;
    b.text_len = 1;
    cr_assert_eq(feeds_send_file(a->f, &a->txn, a->conv, 0, &b, h->now_ms), ERR_ARG);
    cr_assert_eq(a->txn.n, 0, "nothing of it is stored");
    harness_free(h);
}

Test(talk_file, members_are_told_by_root)
{
    struct hnet *h = harness_new(4, 14);
    const struct hnode *n = &h->node[2];
    uint8_t root[WIRE_ID];
    uint32_t contact;
    unsigned seen = 0;
    for (size_t k = 0; k < 4; k++) {
        cr_assert(feeds_member(n->f, n->conv, k, root, &contact));
        size_t who = contact == 0 ? 2 : contact - 1;
        cr_assert_lt(who, 4);
        cr_assert_eq(memcmp(root, h->node[who].root, WIRE_ID), 0);
        seen |= 1U << who;
    }
    cr_assert_eq(seen, 15);
    cr_assert_not(feeds_member(n->f, n->conv, 4, root, &contact));
    cr_assert_not(feeds_member(n->f, 99, 0, root, &contact));
    harness_free(h);
}

/* After a contact was removed and the node started anew. */
Test(talk_file, a_member_can_be_unknown)
{
    struct hnet *h = harness_new(2, 15);
    const struct hnode *n = &h->node[0];
    struct feeds_self self = {.env = &h->env, .device_ref = 1};
    uint8_t roots[2][WIRE_ID], root[WIRE_ID];
    uint32_t contact = 7;
    memcpy(self.root, n->root, WIRE_ID);
    memset(roots[0], 0, WIRE_ID);
    memcpy(roots[1], n->root, WIRE_ID);
    struct feeds *f = feeds_new(&self);
    cr_assert_not_null(f);
    struct rec r = {
        .kind = REC_CONV,
        .u.conv = {.id = 1, .kind = CONV_GROUP, .members = {roots[0], sizeof roots}}};
    cr_assert_eq(feeds_load(f, &r), 0);
    cr_assert(feeds_member(f, 1, 0, root, &contact));
    cr_assert(contact == UINT32_MAX && memcmp(root, roots[0], WIRE_ID) == 0);
    cr_assert(feeds_member(f, 1, 1, root, &contact));
    cr_assert(contact == 0 && memcmp(root, n->root, WIRE_ID) == 0);
    feeds_free(f);
    harness_free(h);
}

/* A device of an account that has two, by hand: the harness gives everybody one. */
struct own {
    struct feeds *f;
    struct txn txn;
    struct feeds_self self;
    uint32_t conv;
};

static void own_new(struct own *o, const struct hnet *h, uint8_t which)
{
    uint8_t stat[32];
    o->self = (struct feeds_self){.env = &h->env, .device_ref = 1};
    memcpy(o->self.root, h->node[0].root, KEYS_ROOT);
    memcpy(o->self.self_key, h->node[0].self_key, KEYS_SELF);
    memset(o->self.stat_sec, which, sizeof o->self.stat_sec);
    keys_public(o->self.stat_sec, stat);
    keys_device_id(o->self.root, stat, o->self.device);
    o->f = feeds_new(&o->self);
    cr_assert_not_null(o->f);
    cr_assert_eq(feeds_start(o->f, &o->txn, h->now_ms), 0);
}

/* The other device of the account, and a contact whose device is never there. */
static void own_meet(struct own *o, const struct own *other, const struct hnet *h)
{
    const struct hnode *c = &h->node[1];
    struct feeds_device d = {.ref = 2}, away = {.ref = 3, .contact = 1};
    static const uint8_t pair[KEYS_PAIR_SECRET] = {1};
    memcpy(d.root, other->self.root, KEYS_ROOT);
    memcpy(d.device, other->self.device, KEYS_DEVICE_ID);
    keys_public(other->self.stat_sec, d.stat);
    feeds_box(other->f, d.box, &d.box_time);
    memcpy(away.root, c->root, KEYS_ROOT);
    memcpy(away.device, c->device, KEYS_DEVICE_ID);
    memcpy(away.stat, c->stat, sizeof away.stat);
    memcpy(away.box, c->box, sizeof away.box);
    cr_assert_eq(feeds_device_put(o->f, &d), 0);
    cr_assert_eq(feeds_device_put(o->f, &away), 0);
    cr_assert_eq(feeds_pair_put(o->f, 1, c->root, pair), 0);
    cr_assert_eq(feeds_conv_pair(o->f, &o->txn, 1, &o->conv), 0);
    feeds_peer_up(o->f, 2, h->now_ms);
}

/* Carries frames between the two until there are none. */
static void own_run(struct own *v, const struct hnet *h)
{
    struct feeds_out o;
    for (bool any = true; any;) {
        any = false;
        for (size_t i = 0; i < 2; i++) {
            while (feeds_next_out(v[i].f, &o)) {
                any = true;
                if (o.device == 2) {
                    struct own *to = &v[1 - i];
                    cr_assert_eq(feeds_recv(to->f, &to->txn, 2, (uint8_t)o.type,
                                            o.payload, o.len, h->now_ms),
                                 0);
                }
            }
        }
    }
}

Test(talk_file, another_device_of_ours_tells_the_same)
{
    struct hnet *h = harness_new(2, 17);
    struct own v[2] = {{.f = NULL}, {.f = NULL}};
    own_new(&v[0], h, 1);
    own_new(&v[1], h, 2);
    own_meet(&v[0], &v[1], h);
    own_meet(&v[1], &v[0], h);
    own_run(v, h);
    struct wire_body b = {
        .kind = BODY_OFFER, .text = (const uint8_t *)"a", .text_len = 1};
    harness_mid(1, b.mid);
    cr_assert_eq(feeds_send_file(v[0].f, &v[0].txn, v[0].conv, 0, &b, h->now_ms), 0);
    b = (struct wire_body){.kind = BODY_FILE_END, .end = FILE_END_CANCELLED};
    harness_mid(1, b.target);
    cr_assert_eq(feeds_send_file(v[0].f, &v[0].txn, v[0].conv, 0, &b, h->now_ms), 0);
    own_run(v, h);
    struct feeds_event ev;
    uint64_t kinds[2] = {0};
    size_t n = 0, messages = 0;
    while (feeds_next_event(v[1].f, &ev)) {
        if (ev.kind == FEEDS_EV_FILE && n < 2) {
            cr_assert(ev.device == 2 && ev.conv == v[1].conv && !ev.taken_back);
            kinds[n++] = ev.body->kind;
        }
    }
    cr_assert(n == 2 && kinds[0] == BODY_OFFER && kinds[1] == BODY_FILE_END);
    for (size_t i = 0; i < v[1].txn.n; i++) {
        const struct rec *r = &v[1].txn.recs[i];
        if (r->kind == REC_MSG) {
            messages++;
            cr_assert(r->u.msg.kind == MSG_FILE && r->u.msg.author == 0 &&
                      r->u.msg.device == 2 && r->u.msg.state == STATE_STORED);
        }
    }
    cr_assert_eq(messages, 1);
    for (size_t i = 0; i < 2; i++) {
        txn_release(&v[i].txn);
        feeds_free(v[i].f);
    }
    harness_free(h);
}
