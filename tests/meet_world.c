#include "meet_world.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/deadline.h"
#include "base/err.h"

enum { WALL0_S = 1800000000, LATENCY_MS = 400, START_MS = 10000 };

/* SplitMix64. */
static uint64_t draw(struct mw_world *w)
{
    uint64_t z = (w->rng += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

uint32_t mw_random(struct mw_world *w, uint32_t bound)
{
    return (uint32_t)(draw(w) % bound);
}

static void env_bytes(void *ctx, void *buf, size_t len)
{
    struct mw_person *p = ctx;
    uint8_t *out = buf;
    for (size_t i = 0; i < len; i++) {
        out[i] = (uint8_t)draw(p->world);
    }
}

static uint64_t env_wall(void *ctx)
{
    const struct mw_person *p = ctx;
    return UINT64_C(1000000) * WALL0_S +
           (uint64_t)((int64_t)p->world->now_ms + p->skew_ms) * 1000;
}

static void need(const struct mw_world *w, bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "seed %llu, %llu ms: %s\n", (unsigned long long)w->seed,
                (unsigned long long)w->now_ms, what);
        abort();
    }
}

/* ---- people ---- */

static void tell_where(struct mw_person *p)
{
    struct wire_where where = {.nat = p->nat ? WIRE_NAT_EASY : WIRE_NAT_NONE};
    where.udp[0] = (struct addr){.family = 4, .port = 7679};
    where.udp[0].ip[0] = 198;
    where.udp[0].ip[1] = (uint8_t)p->me;
    where.udp[0].ip[2] = (uint8_t)(p->place >> 8);
    where.udp[0].ip[3] = (uint8_t)p->place;
    where.n_udp = 1;
    meet_set_where(p->meet, &where, p->world->now_ms);
}

struct mw_world *mw_new(int count, uint64_t seed)
{
    struct mw_world *w = calloc(1, sizeof *w);
    assert(w != NULL && count <= MW_PEOPLE_MAX && sodium_init() >= 0);
    w->seed = w->rng = seed;
    w->count = count;
    w->latency_ms = LATENCY_MS;
    w->now_ms = START_MS;
    for (int i = 0; i < count; i++) {
        struct mw_person *p = &w->v[i];
        p->world = w;
        p->me = i;
        p->code_of = -1;
        p->env = (struct env){.ctx = p, .random = env_bytes, .wall_us = env_wall};
        env_bytes(p, p->device, 32);
        env_bytes(p, p->p, 32);
        env_bytes(p, p->seed, 32);
        p->meet = meet_new(&p->env);
        assert(p->meet != NULL);
        meet_set_self(p->meet, p->device, p->p, p->seed, w->now_ms);
    }
    map_init(&w->items, &w->v[0].env, BLIND_PUB, MW_ITEMS_MAX);
    return w;
}

void mw_free(struct mw_world *w)
{
    size_t pos = 0;
    void *it;
    for (int i = 0; w != NULL && i < w->count; i++) {
        meet_free(w->v[i].meet);
    }
    while (w != NULL && map_next(&w->items, &pos, NULL, &it)) {
        free(it);
    }
    if (w != NULL) {
        map_release(&w->items);
    }
    free(w);
}

static void tell(struct mw_world *w, int a, int b)
{
    int err = meet_contact(w->v[a].meet, &w->v[a].known[b], w->now_ms);
    need(w, err == 0, "a contact is not taken");
}

/* a learns b's presence secret. */
static void learn(struct mw_world *w, int a, int b)
{
    struct meet_contact *c = &w->v[a].known[b];
    c->has_presence = true;
    memcpy(c->p, w->v[b].p, 32);
    blind_point(w->v[b].seed, c->a);
}

void mw_pair(struct mw_world *w, int a, int b)
{
    uint8_t pair[32];
    env_bytes(&w->v[0], pair, 32);
    for (int i = 0; i < 2; i++) {
        int me = i == 0 ? a : b, other = i == 0 ? b : a;
        struct meet_contact *c = &w->v[me].known[other];
        c->ref = (uint32_t)other + 1;
        c->acked = true;
        memcpy(c->device, w->v[other].device, 32);
        memcpy(c->pair, pair, 32);
        learn(w, me, other);
        tell(w, me, other);
    }
}

void mw_pair_all(struct mw_world *w)
{
    for (int a = 0; a < w->count; a++) {
        for (int b = 0; b < a; b++) {
            mw_pair(w, a, b);
        }
    }
}

static void unlink_two(struct mw_world *w, int a, int b)
{
    if (!w->v[a].linked[b]) {
        return;
    }
    w->v[a].linked[b] = w->v[b].linked[a] = false;
    meet_reached(w->v[a].meet, MEET_CONTACT, (uint32_t)b + 1, false, w->now_ms);
    meet_reached(w->v[b].meet, MEET_CONTACT, (uint32_t)a + 1, false, w->now_ms);
}

static void link_two(struct mw_world *w, int a, int b)
{
    if (w->v[a].linked[b] || w->v[a].known[b].ref == 0 || w->v[b].known[a].ref == 0 ||
        !w->v[a].on || !w->v[b].on) {
        return;
    }
    w->v[a].linked[b] = w->v[b].linked[a] = true;
    learn(w, a, b);
    learn(w, b, a);
    w->v[a].known[b].acked = w->v[b].known[a].acked = true;
    tell(w, a, b);
    tell(w, b, a);
    meet_reached(w->v[a].meet, MEET_CONTACT, (uint32_t)b + 1, true, w->now_ms);
    meet_reached(w->v[b].meet, MEET_CONTACT, (uint32_t)a + 1, true, w->now_ms);
}

void mw_rotate(struct mw_world *w, int a)
{
    struct mw_person *p = &w->v[a];
    env_bytes(p, p->p, 32);
    env_bytes(p, p->seed, 32);
    meet_set_self(p->meet, p->device, p->p, p->seed, w->now_ms);
    for (int b = 0; b < w->count; b++) {
        if (p->known[b].ref == 0) {
            continue;
        }
        if (p->linked[b]) { /* told over the link */
            learn(w, b, a);
            tell(w, b, a);
        } else {
            p->known[b].acked = false;
            tell(w, a, b);
        }
    }
}

void mw_remove(struct mw_world *w, int a, int b)
{
    unlink_two(w, a, b);
    meet_forget(w->v[a].meet, MEET_CONTACT, (uint32_t)b + 1);
    w->v[a].known[b].ref = 0;
    mw_rotate(w, a);
}

void mw_on(struct mw_world *w, int who, bool on)
{
    struct mw_person *p = &w->v[who];
    p->on = on;
    for (int b = 0; !on && b < w->count; b++) {
        unlink_two(w, who, b);
    }
    if (on) {
        tell_where(p);
    }
    meet_set_online(p->meet, on, w->now_ms);
}

void mw_move(struct mw_world *w, int who)
{
    struct mw_person *p = &w->v[who];
    p->place++;
    for (int b = 0; b < w->count; b++) {
        unlink_two(w, who, b);
    }
    if (p->on) {
        tell_where(p);
        meet_network_changed(p->meet, w->now_ms);
    }
}

void mw_want(struct mw_world *w, int who, int whom, bool want)
{
    meet_want(w->v[who].meet, (uint32_t)whom + 1, want, w->now_ms);
}

void mw_invite(struct mw_world *w, int who, int whom)
{
    uint8_t secret[32];
    env_bytes(&w->v[0], secret, 32);
    w->v[whom].code_of = who;
    int err = meet_invite(w->v[who].meet, MW_CODE, secret, w->now_ms);
    need(w, err == 0, "an invite is not taken");
    err = meet_adding(w->v[whom].meet, MW_CODE, secret, w->now_ms);
    need(w, err == 0, "a code is not taken");
}

/* ---- the store ---- */

/* What is there and has not expired, or NULL. */
static struct mw_item *find(struct mw_world *w, const uint8_t pub[32])
{
    struct mw_item *it = map_get(&w->items, pub);
    return it != NULL && it->expires_ms > w->now_ms ? it : NULL;
}

static void check_put(struct mw_world *w, const struct meet_out *out)
{
    uint8_t text[WIRE_ITEM_SIGNED_MAX];
    struct wr s = wr_init(text, sizeof text);
    wire_item_signed(&s, out->seq, out->v, sizeof out->v);
    need(w, out->seq > 0, "a put without seq");
    need(w, blind_verify(out->pub, text, s.len, out->sig) == 0, "a signature is wrong");
    need(w, memcmp(out->v, "720:", 4) == 0, "a value of another size");
}

/* Returns the seq that is there instead, or 0. Another value of the same seq is not
 * stored, and that is not said, as real nodes do. */
static uint64_t store(struct mw_world *w, const struct meet_out *out)
{
    struct mw_item *it = find(w, out->pub);
    bool same = it != NULL && memcmp(it->v, out->v, sizeof it->v) == 0;
    if (it != NULL && (it->seq > out->seq || (it->seq == out->seq && !same))) {
        return it->seq;
    }
    it = map_get(&w->items, out->pub); /* also an expired one */
    if (it == NULL) {
        it = calloc(1, sizeof *it);
        need(w, it != NULL && map_put(&w->items, out->pub, it) == 0, "the store is full");
    }
    if (it->seq != 0 && it->seq != out->seq) {
        it->old_seq = it->seq;
        memcpy(it->old_v, it->v, sizeof it->v);
        memcpy(it->old_sig, it->sig, sizeof it->sig);
    }
    it->seq = out->seq;
    it->expires_ms = w->now_ms + MW_EXPIRE_MS;
    memcpy(it->v, out->v, sizeof it->v);
    memcpy(it->sig, out->sig, sizeof it->sig);
    return 0;
}

/* Answers with lies. */
static void lie(struct mw_world *w, struct mw_person *p, const struct meet_out *out)
{
    const struct mw_item *it = map_get(&w->items, out->pub);
    uint8_t v[WIRE_ITEM_VALUE], sig[64];
    uint64_t newest = out->seq + 1 + mw_random(w, 1 << (1 + mw_random(w, 30)));
    if (out->kind == MEET_PUT) {
        meet_done(p->meet, out->id, MEET_ANSWERED, newest, w->now_ms);
        return;
    }
    env_bytes(p, v, sizeof v);
    env_bytes(p, sig, sizeof sig);
    memcpy(v, "720:", 4);
    int err = meet_value(p->meet, out->id, newest, v, sizeof v, sig, w->now_ms);
    need(w, err == ERR_AUTH || err == ERR_NOTFOUND, "a made-up value is taken");
    if (it != NULL && it->old_seq != 0) {
        (void)meet_value(p->meet, out->id, it->old_seq, it->old_v, sizeof it->old_v,
                         it->old_sig, w->now_ms);
        err = meet_value(p->meet, out->id, it->seq + 1, it->v, sizeof it->v, it->sig,
                         w->now_ms);
        need(w, err == ERR_AUTH || err == ERR_NOTFOUND,
             "an item is taken with another seq");
    }
    meet_done(p->meet, out->id, MEET_ANSWERED, 0, w->now_ms);
}

static void answer(struct mw_world *w, const struct mw_pending *q)
{
    struct mw_person *p = &w->v[q->who];
    const struct meet_out *out = &q->out;
    if (!p->on || mw_random(w, 100) < w->silent) {
        meet_done(p->meet, out->id, MEET_UNASKED, 0, w->now_ms);
        return;
    }
    if (mw_random(w, 100) < w->lying) {
        lie(w, p, out);
        return;
    }
    uint64_t newest = 0;
    if (out->kind == MEET_PUT) {
        if (mw_random(w, 100) >= w->lost) {
            newest = store(w, out);
        }
    } else {
        const struct mw_item *it = find(w, out->pub);
        if (it != NULL && it->seq > out->seq) {
            (void)meet_value(p->meet, out->id, it->seq, it->v, sizeof it->v, it->sig,
                             w->now_ms);
        }
    }
    meet_done(p->meet, out->id, MEET_ANSWERED, newest, w->now_ms);
}

/* ---- time ---- */

static void ask(struct mw_world *w, int who, const struct meet_out *out)
{
    struct mw_person *p = &w->v[who];
    size_t i = 0;
    while (i < MW_PENDING_MAX && w->pending[i].used) {
        i++;
    }
    need(w, i < MW_PENDING_MAX, "too many requests");
    uint64_t wait = w->latency_ms / 2 + mw_random(w, w->latency_ms + 1);
    w->pending[i] = (struct mw_pending){true, w->now_ms + wait, w->order++, who, *out};
    p->puts += out->kind == MEET_PUT;
    p->gets += out->kind == MEET_GET || out->kind == MEET_MEND;
    p->polls += out->kind == MEET_POLL;
    if (out->kind == MEET_PUT) {
        check_put(w, out);
    }
}

/* Whether that is where they are. */
static bool is_there(const struct mw_person *p, const struct wire_where *where)
{
    const uint8_t *ip = where->udp[0].ip;
    return where->n_udp == 1 && ip[1] == p->me && ip[2] == (uint8_t)(p->place >> 8) &&
           ip[3] == (uint8_t)p->place;
}

static void code_event(struct mw_world *w, int who, const struct meet_event *e)
{
    for (int i = 0; i < w->count; i++) {
        struct mw_person *p = &w->v[i];
        bool theirs = e->kind == MEET_ADDING ? w->v[who].code_of == i : p->code_of == who;
        if (theirs && p->on && is_there(p, &e->where) &&
            (!p->nat || e->type == MEET_KNOCK)) {
            p->met_code = w->v[who].met_code = true;
        }
    }
}

static void event(struct mw_world *w, int who, const struct meet_event *e)
{
    struct mw_person *p = &w->v[who];
    p->wheres += e->type == MEET_WHERE;
    p->knocks += e->type == MEET_KNOCK;
    p->absents += e->type == MEET_ABSENT;
    p->unknowns += e->type == MEET_UNKNOWN;
    if (e->type != MEET_WHERE && e->type != MEET_KNOCK) {
        return;
    }
    need(w, !e->where.has_presence, "a presence secret in an event");
    if (e->kind != MEET_CONTACT) {
        code_event(w, who, e);
        return;
    }
    int other = (int)e->ref - 1;
    struct mw_person *o = &w->v[other];
    if (is_there(o, &e->where) && (!o->nat || e->type == MEET_KNOCK)) {
        link_two(w, who, other);
    }
}

static void drain(struct mw_world *w)
{
    struct meet_event e;
    struct meet_out out;
    for (int i = 0; i < w->count; i++) {
        while (meet_next_event(w->v[i].meet, &e)) {
            event(w, i, &e);
        }
        while (meet_next_out(w->v[i].meet, &out)) {
            ask(w, i, &out);
        }
    }
}

static struct mw_pending *next_answer(struct mw_world *w)
{
    struct mw_pending *first = NULL;
    for (size_t i = 0; i < MW_PENDING_MAX; i++) {
        struct mw_pending *q = &w->pending[i];
        if (q->used && (first == NULL || q->at_ms < first->at_ms ||
                        (q->at_ms == first->at_ms && q->order < first->order))) {
            first = q;
        }
    }
    return first;
}

void mw_run(struct mw_world *w, uint64_t ms)
{
    uint64_t end_ms = w->now_ms + ms;
    for (;;) {
        drain(w);
        struct mw_pending *q = next_answer(w);
        uint64_t at_ms = q != NULL ? q->at_ms : DEADLINE_NONE;
        for (int i = 0; i < w->count; i++) {
            uint64_t d = meet_deadline(w->v[i].meet);
            at_ms = d < at_ms ? d : at_ms;
        }
        if (at_ms > end_ms) {
            break;
        }
        w->now_ms = at_ms > w->now_ms ? at_ms : w->now_ms;
        if (q != NULL && q->at_ms <= w->now_ms) {
            q->used = false;
            answer(w, q);
        }
        for (int i = 0; i < w->count; i++) {
            if (meet_deadline(w->v[i].meet) <= w->now_ms) {
                meet_tick(w->v[i].meet, w->now_ms);
            }
        }
    }
    w->now_ms = end_ms;
}

/* ---- what is asked ---- */

bool mw_linked(const struct mw_world *w, int a, int b)
{
    return w->v[a].linked[b];
}

size_t mw_apart(const struct mw_world *w)
{
    size_t n = 0;
    for (int a = 0; a < w->count; a++) {
        for (int b = 0; b < a; b++) {
            n += w->v[a].on && w->v[b].on && w->v[a].known[b].ref != 0 &&
                 w->v[b].known[a].ref != 0 && !w->v[a].linked[b];
        }
    }
    return n;
}

void mw_count(struct mw_world *w)
{
    for (int i = 0; i < w->count; i++) {
        struct mw_person *p = &w->v[i];
        p->puts = p->gets = p->polls = 0;
        p->wheres = p->knocks = p->absents = p->unknowns = 0;
    }
}

size_t mw_bytes(const struct mw_person *p)
{
    return p->puts * MW_PUT_BYTES + p->gets * MW_GET_BYTES + p->polls * MW_POLL_BYTES;
}
