#include "leaf_meter.h"

#include <assert.h>
#include <string.h>

#include "dht/item.h"

enum {
    TARGETS_MAX = 1 << 16,
    EPOCHS = 3,
    RENEW_S = BLIND_EPOCH_S / 2,
    US_PER_S = 1000000
};

/* Whose a target is. */
struct matter {
    enum meter_cause cause;
    unsigned slot;
};

const char *meter_name(enum meter_cause cause)
{
    static const char *const names[METER_CAUSES] = {
        [METER_TABLE] = "table",     [METER_PUBLISH] = "own whereabouts",
        [METER_FIND] = "looking up", [METER_POLL] = "own knock slots",
        [METER_KNOCK] = "knocking",  [METER_ANSWER] = "queries of others",
        [METER_OTHER] = "what else",
    };
    return names[cause];
}

/* ---- the targets ---- */

static void add(struct meter *m, const uint8_t pub[BLIND_PUB], const struct matter *what)
{
    struct item it = {.k = pub};
    struct dht_id target;
    item_target(&it, &target);
    (void)map_put(&m->targets, target.b, (void *)(uintptr_t)what); /* or it is there */
}

static void add_person(struct meter *m, const struct seed_person *who, uint64_t wall_s)
{
    static const struct matter publish = {METER_PUBLISH, 0}, find = {METER_FIND, 0},
                               knock = {METER_KNOCK, 0};
    static const struct matter poll[BLIND_KNOCK_SLOTS] = {
        {METER_POLL, 0}, {METER_POLL, 1}, {METER_POLL, 2}, {METER_POLL, 3}};
    const uint8_t *p = who->key.presence_p;
    uint64_t e = blind_epoch(blind_offset(p), wall_s) - 1;
    bool own = who == m->me;
    uint8_t pub[BLIND_PUB];
    struct blind_key key;
    for (uint64_t end = e + EPOCHS; e < end; e++) {
        int err = blind_pub(p, who->presence_a, e, pub);
        assert(err == 0);
        add(m, pub, own ? &publish : &find);
        for (unsigned slot = 0; slot < BLIND_KNOCK_SLOTS; slot++) {
            blind_knock_slot(p, e, slot, &key);
            add(m, key.pub, own ? &poll[slot] : &knock);
        }
    }
}

/* Places of the pair: where one leaves word for the other alone. */
static void add_pair(struct meter *m, const struct seed_person *other, uint64_t wall_s)
{
    static const struct matter publish = {METER_PUBLISH, 0}, find = {METER_FIND, 0};
    uint8_t pair[32];
    struct blind_slot slot;
    seed_pair(m->me, other, pair);
    uint64_t e = blind_epoch(blind_offset(pair), wall_s) - 1;
    for (uint64_t end = e + EPOCHS; e < end; e++) {
        blind_pair_slot(pair, m->me->device, e, &slot);
        add(m, slot.key.pub, &publish);
        blind_pair_slot(pair, other->device, e, &slot);
        add(m, slot.key.pub, &find);
    }
}

static const struct matter *matter_of(struct meter *m, const struct dht_id *target)
{
    uint64_t wall_s = env_wall_us(m->env) / US_PER_S;
    if (wall_s >= m->until_s) {
        m->until_s = wall_s + RENEW_S;
        add_person(m, m->me, wall_s);
        for (size_t i = 0; i < m->n; i++) {
            add_person(m, &m->contacts[i], wall_s);
            add_pair(m, &m->contacts[i], wall_s);
        }
    }
    return map_get(&m->targets, target->b);
}

/* ---- datagrams ---- */

static void note_poll(struct meter *m, unsigned slot, uint64_t now_ms)
{
    uint64_t *last = &m->polled_ms[slot], gap = now_ms - *last;
    m->longest_ms = *last != 0 && gap > m->longest_ms ? gap : m->longest_ms;
    *last = now_ms;
}

static enum meter_cause query_cause(struct meter *m, const struct krpc_msg *q,
                                    uint64_t now_ms)
{
    struct dht_id target = q->target;
    if (q->method == KRPC_PING || q->method == KRPC_FIND_NODE) {
        return METER_TABLE;
    }
    if (q->method == KRPC_PUT) {
        struct item it;
        item_of(q, &it);
        item_target(&it, &target);
    }
    const struct matter *what = matter_of(m, &target);
    if (what == NULL) {
        return METER_OTHER;
    }
    if (what->cause == METER_POLL) {
        note_poll(m, what->slot, now_ms);
    }
    return what->cause;
}

static enum meter_cause out_cause(struct meter *m, const struct krpc_msg *msg,
                                  uint64_t now_ms)
{
    if (msg->kind != KRPC_QUERY) {
        return METER_ANSWER;
    }
    enum meter_cause cause = query_cause(m, msg, now_ms);
    assert(msg->t.n == sizeof m->waiting[0].tid);
    memcpy(m->waiting[m->next].tid, msg->t.p, msg->t.n);
    m->waiting[m->next].cause = (uint8_t)cause;
    m->next = (m->next + 1) % METER_WAITING;
    return cause;
}

static enum meter_cause in_cause(const struct meter *m, const struct krpc_msg *msg)
{
    if (msg->kind == KRPC_QUERY) {
        return METER_ANSWER;
    }
    for (size_t i = 0; i < METER_WAITING; i++) {
        if (msg->t.n == sizeof m->waiting[i].tid &&
            memcmp(msg->t.p, m->waiting[i].tid, msg->t.n) == 0) {
            return (enum meter_cause)m->waiting[i].cause;
        }
    }
    return METER_OTHER;
}

void meter_datagram(void *ctx, bool out, const struct addr *a, const uint8_t *p,
                    size_t len, uint64_t now_ms)
{
    struct meter *m = ctx;
    struct krpc_msg msg;
    (void)a;
    enum meter_cause cause = krpc_decode(p, len, &msg) != 0 ? METER_OTHER
                             : out                          ? out_cause(m, &msg, now_ms)
                                                            : in_cause(m, &msg);
    struct meter_sum *sum = &m->sum[cause];
    *(out ? &sum->out : &sum->in) += 1;
    *(out ? &sum->out_bytes : &sum->in_bytes) += len;
}

/* ---- life ---- */

void meter_init(struct meter *m, const struct env *env, const struct seed_person *me,
                const struct seed_person *contacts, size_t n)
{
    *m = (struct meter){.me = me, .contacts = contacts, .n = n, .env = env};
    map_init(&m->targets, env, DHT_ID_LEN, TARGETS_MAX);
}

void meter_release(struct meter *m)
{
    map_release(&m->targets);
}
