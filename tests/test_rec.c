#include <criterion/criterion.h>
#include <string.h>

#include "base/err.h"
#include "rec.h"

static struct rec meta(const char *key, const char *value)
{
    struct rec r = {.kind = REC_META};
    memcpy(r.u.meta.key, key, strlen(key));
    cr_assert(blob_set(&r.u.meta.value, value, strlen(value)));
    return r;
}

Test(rec, blob_copies_and_wipes)
{
    uint8_t bytes[3] = {1, 2, 3};
    struct blob b = {0};
    cr_assert(blob_set(&b, bytes, sizeof bytes));
    bytes[0] = 9;
    cr_assert_eq(b.n, 3);
    cr_assert_eq(b.p[0], 1);
    blob_release(&b);
    cr_assert_null(b.p);
    cr_assert_eq(b.n, 0);
    cr_assert(blob_set(&b, NULL, 0));
    cr_assert_eq(b.n, 0);
    blob_release(&b);
    blob_release(&b);
}

Test(rec, state_records_replace_their_earlier_self)
{
    struct txn t = {0};
    struct rec a = meta("a", "one"), b = meta("b", "two"), c = meta("a", "three");
    cr_assert_eq(txn_add(&t, &a), 0);
    cr_assert_null(a.u.meta.value.p, "the record was taken over");
    cr_assert_eq(txn_add(&t, &b), 0);
    cr_assert_eq(txn_add(&t, &c), 0);
    cr_assert_eq(t.n, 2);
    cr_assert_str_eq(t.recs[0].u.meta.key, "a");
    cr_assert_eq(t.recs[0].u.meta.value.n, 5);
    struct rec del = meta("b", "");
    del.del = true;
    cr_assert_eq(txn_add(&t, &del), 0);
    cr_assert_eq(t.n, 2);
    cr_assert(t.recs[1].del);
    txn_release(&t);
    cr_assert_null(t.recs);
    txn_release(&t);
}

Test(rec, each_kind_has_its_own_key)
{
    struct txn t = {0};
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 1; i <= 40; i++) {
            struct rec feed = {.kind = REC_FEED}, contact = {.kind = REC_CONTACT};
            struct rec device = {.kind = REC_DEVICE}, invite = {.kind = REC_INVITE};
            struct rec conv = {.kind = REC_CONV}, have = {.kind = REC_HAVE};
            struct rec box = {.kind = REC_BOXKEY}, adding = {.kind = REC_ADDING};
            feed.u.feed.id = contact.u.contact.id = device.u.device.id = i;
            invite.u.invite.id = conv.u.conv.id = i;
            have.u.have.device = i % 4;
            have.u.have.feed = i / 4;
            feed.u.feed.head = 100 * round + i;
            box.u.boxkey.pub[0] = adding.u.adding.secret[0] = (uint8_t)i;
            struct rec file = {.kind = REC_FILE}, bits = {.kind = REC_FILE_BITS};
            struct rec peer = {.kind = REC_FILE_PEER}, rule = {.kind = REC_FILE_RULE};
            file.u.file.id = rule.u.file_rule.contact = i;
            bits.u.file_bits.file = peer.u.file_peer.file = i % 4;
            bits.u.file_bits.block = peer.u.file_peer.contact = i / 4;
            struct rec *all[] = {&feed, &contact, &device, &invite, &conv, &have,
                                 &box,  &adding,  &file,   &bits,   &peer, &rule};
            for (size_t j = 0; j < sizeof all / sizeof *all; j++) {
                cr_assert_eq(txn_add(&t, all[j]), 0);
            }
        }
        cr_assert_eq(t.n, 12 * 40);
    }
    for (size_t i = 0; i < t.n; i++) {
        if (t.recs[i].kind == REC_FEED) {
            cr_assert_eq(t.recs[i].u.feed.head, 100 + t.recs[i].u.feed.id);
        }
    }
    txn_release(&t);
}

Test(rec, what_happened_is_never_replaced)
{
    static const enum rec_kind kinds[] = {REC_ENTRY,  REC_FORK,  REC_MSG,
                                          REC_CHANGE, REC_STATE, REC_EVENT};
    struct txn t = {0};
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
            struct rec r = {.kind = kinds[i]};
            cr_assert_eq(txn_add(&t, &r), 0);
        }
    }
    cr_assert_eq(t.n, 3 * sizeof kinds / sizeof *kinds);
    txn_release(&t);
}

static struct rec file(const char *name)
{
    struct rec r = {.kind = REC_FILE};
    r.u.file.id = 5;
    cr_assert(blob_set(&r.u.file.name, name, strlen(name)));
    cr_assert(blob_set(&r.u.file.path, "/home/ann/a.odt", 15));
    cr_assert(blob_set(&r.u.file.dest, "/srv", 4));
    return r;
}

/* The blobs of the one that gives way are freed: what leaks fails the run. */
Test(rec, a_file_gives_way_with_its_blobs)
{
    struct txn t = {0};
    size_t empty = txn_bytes(&t);
    struct rec a = file("a.odt"), b = file("b.odt");
    cr_assert_eq(txn_add(&t, &a), 0);
    cr_assert_null(a.u.file.path.p, "the record was taken over");
    cr_assert_eq(txn_add(&t, &b), 0);
    cr_assert_eq(t.n, 1);
    cr_assert_eq(memcmp(t.recs[0].u.file.name.p, "b.odt", 5), 0);
    cr_assert_eq(txn_bytes(&t), empty + sizeof(struct rec) + 5 + 15 + 4);
    txn_release(&t);
    b = file("c.odt");
    rec_release(&b);
    cr_assert_null(b.u.file.dest.p);
}

static void add_bits(struct txn *t, uint32_t file, uint32_t block, bool del, uint8_t bits)
{
    struct rec r = {.kind = REC_FILE_BITS, .del = del};
    r.u.file_bits.file = file;
    r.u.file_bits.block = block;
    r.u.file_bits.bits[0] = bits;
    cr_assert_eq(txn_add(t, &r), 0);
}

/* What is put after all bits of a file were taken away stands behind that. */
Test(rec, bits_are_put_again_behind_their_removal)
{
    struct txn t = {0};
    for (uint8_t round = 1; round <= 2; round++) {
        add_bits(&t, 1, 3, false, round);
        add_bits(&t, 2, 3, false, round);
        add_bits(&t, 1, UINT32_MAX, true, 0);
    }
    add_bits(&t, 1, 3, false, 3);
    add_bits(&t, 1, 3, false, 4);
    cr_assert_eq(t.n, 6);
    cr_assert(!t.recs[0].del && t.recs[0].u.file_bits.bits[0] == 1);
    cr_assert_eq(t.recs[1].u.file_bits.file, 2);
    cr_assert_eq(t.recs[1].u.file_bits.bits[0], 2, "another file's are replaced");
    cr_assert(t.recs[2].del);
    cr_assert(!t.recs[3].del && t.recs[3].u.file_bits.bits[0] == 2);
    cr_assert(t.recs[4].del);
    cr_assert(!t.recs[5].del && t.recs[5].u.file_bits.bits[0] == 4);
    txn_release(&t);
}

Test(rec, bytes_count_the_blobs)
{
    struct txn t = {0};
    size_t empty = txn_bytes(&t);
    struct rec r = {.kind = REC_ENTRY};
    uint8_t box[500] = {0};
    cr_assert(blob_set(&r.u.entry.header, box, 200));
    cr_assert(blob_set(&r.u.entry.box, box, 500));
    cr_assert_eq(txn_add(&t, &r), 0);
    cr_assert_eq(txn_bytes(&t), empty + sizeof(struct rec) + 700);
    txn_release(&t);
}
