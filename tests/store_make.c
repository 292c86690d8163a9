#include "store_make.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"

enum { TEXT_LEN = 100, HEADER_LEN = 210 };

static void add(struct txn *t, struct rec *r)
{
    int err = txn_add(t, r);
    assert(err == 0);
    (void)err;
}

/* Scatters numbers like random ids, the same in each run (SplitMix64). */
static uint64_t scatter(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

void make_mid(uint64_t i, uint8_t mid[WIRE_MID])
{
    struct wr w = wr_init(mid, WIRE_MID);
    wr_u64(&w, scatter(i));
    wr_u64(&w, i);
}

void make_device(struct txn *t, uint32_t id, uint32_t contact, uint8_t first)
{
    struct rec r = {.kind = REC_DEVICE};
    r.u.device.id = id;
    r.u.device.contact = contact;
    memset(r.u.device.device, first, sizeof r.u.device.device);
    add(t, &r);
}

void make_entry(struct txn *t, uint32_t feed, uint64_t seq, size_t len, uint64_t i,
                bool mine)
{
    static const uint8_t zeros[WIRE_BOX_MAX];
    struct rec r = {.kind = REC_ENTRY};
    r.u.entry.feed = feed;
    r.u.entry.seq = seq;
    memset(r.u.entry.id, (int)(seq & 0xff), sizeof r.u.entry.id);
    bool ok = blob_set(&r.u.entry.header, zeros, HEADER_LEN) &&
              blob_set(&r.u.entry.box, zeros, len);
    assert(ok);
    (void)ok;
    r.u.entry.has_self = true;
    if (mine) {
        make_mid(i, r.u.entry.mid);
    }
    add(t, &r);
}

void make_msg(struct txn *t, uint32_t conv, uint32_t feed, uint64_t seq, uint32_t author,
              uint64_t i, uint64_t order)
{
    char text[TEXT_LEN + 1];
    struct rec r = {.kind = REC_MSG};
    make_mid(i, r.u.msg.mid);
    r.u.msg.conv = conv;
    r.u.msg.feed = feed;
    r.u.msg.seq = seq;
    r.u.msg.author = author;
    r.u.msg.device = feed;
    r.u.msg.kind = MSG_TEXT;
    r.u.msg.state = author == 0 ? STATE_QUEUED : STATE_RECEIVED;
    r.u.msg.time_ms = r.u.msg.order = order;
    (void)snprintf(text, sizeof text, "%-*llu", TEXT_LEN, (unsigned long long)i);
    bool ok = blob_set(&r.u.msg.text, text, TEXT_LEN);
    assert(ok);
    (void)ok;
    add(t, &r);
}

void make_state(struct txn *t, uint32_t feed, uint64_t from, uint64_t to, uint8_t state)
{
    struct rec r = {.kind = REC_STATE};
    r.u.state = (struct rec_state){feed, from, to, state};
    add(t, &r);
}

void make_meta(struct txn *t, const char *key, const void *p, size_t n)
{
    struct rec r = {.kind = REC_META};
    (void)snprintf(r.u.meta.key, sizeof r.u.meta.key, "%s", key);
    bool ok = blob_set(&r.u.meta.value, p, n);
    assert(ok);
    (void)ok;
    add(t, &r);
}
