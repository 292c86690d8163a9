/* Peers: see peer.h for the rules.
 *
 * A peer's dial is IDLE → QUEUED (for next_out) → DIALLING → IDLE. One pass over its
 * addresses is a round: each address is tried once, newest first; the next one when the
 * last has failed or PEER_ADDR_MS have passed. A round without success is one failure.
 *
 * Everything that may change what is to be done with a peer ends in settle(), which
 * queues its dial and its event and sets its one deadline. */
#include "peer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/deadline.h"
#include "base/err.h"

enum {
    STATIC = 32,
    CAP_MIN = 16,
    BACKOFF_MAX = 16, /* doublings; more than reach PEER_RETRY_MAX_MS */
};

/* Every peer is always in the heap, so that only adding one can fail. */
#define NEVER (DEADLINE_NONE - 1)

enum dial { DIAL_IDLE, DIAL_QUEUED, DIAL_DIALLING };

struct peer_addr {
    struct addr addr;
    bool seen;  /* from a beacon of this presence: stands before those that are not */
    bool tried; /* in this round */
};

struct peer {
    uint32_t ref;
    uint8_t stat[STATIC];
    struct peer_addr addrs[PEER_ADDRS];
    size_t n_addrs;
    bool want;
    unsigned hold; /* enum peer_hold */
    bool seen;
    uint64_t seen_ms;
    bool called;  /* one round is wanted, seen or not */
    bool unasked; /* its digest is not known since it was seen or cut */

    enum dial dial;
    uint32_t dial_conn; /* 0: none, or not yet told */
    uint32_t dropped;   /* the one before, given up */
    uint64_t dial_ms;
    unsigned failures;
    uint64_t retry_ms;
    uint64_t hold_ms; /* not before then, unless something waits for it */

    uint32_t link;
    uint64_t link_ms, used_ms;
    bool link_ours; /* we dialled it */
    bool idle_due;  /* the link is queued to be closed, or was given out to be */
    bool sent_away; /* it closed for want of use: not dialled just to have a link */
    bool let_go;    /* we did */

    bool told_online, in_out, in_events, in_idles;
    struct peer *next_out, *next_event, *next_idle;
    struct deadline at;
};

struct queue {
    struct peer *head, *tail;
};

struct peers {
    const struct env *env;
    uint8_t own[STATIC];
    struct peer **v; /* sorted by ref */
    size_t n, cap;
    size_t links, dials, n_seen;
    struct queue outs, events, idles;
    struct deadlines deadlines;
    uint64_t now_ms;
};

/* Finding */

static size_t place(const struct peers *p, uint32_t ref)
{
    size_t lo = 0, hi = p->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (p->v[mid]->ref < ref) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

static struct peer *find(const struct peers *p, uint32_t ref)
{
    size_t i = place(p, ref);
    return i < p->n && p->v[i]->ref == ref ? p->v[i] : NULL;
}

/* Queues */

static void push_out(struct peers *p, struct peer *q)
{
    if (q->in_out) {
        return;
    }
    q->in_out = true;
    q->next_out = NULL;
    if (p->outs.tail != NULL) {
        p->outs.tail->next_out = q;
    } else {
        p->outs.head = q;
    }
    p->outs.tail = q;
}

static struct peer *pop_out(struct peers *p)
{
    struct peer *q = p->outs.head;
    if (q != NULL) {
        p->outs.head = q->next_out;
        p->outs.tail = p->outs.head == NULL ? NULL : p->outs.tail;
        q->in_out = false;
    }
    return q;
}

static void push_event(struct peers *p, struct peer *q)
{
    if (q->in_events) {
        return;
    }
    q->in_events = true;
    q->next_event = NULL;
    if (p->events.tail != NULL) {
        p->events.tail->next_event = q;
    } else {
        p->events.head = q;
    }
    p->events.tail = q;
}

static struct peer *pop_event(struct peers *p)
{
    struct peer *q = p->events.head;
    if (q != NULL) {
        p->events.head = q->next_event;
        p->events.tail = p->events.head == NULL ? NULL : p->events.tail;
        q->in_events = false;
    }
    return q;
}

static void push_idle(struct peers *p, struct peer *q)
{
    q->idle_due = true;
    if (q->in_idles) {
        return;
    }
    q->in_idles = true;
    q->next_idle = NULL;
    if (p->idles.tail != NULL) {
        p->idles.tail->next_idle = q;
    } else {
        p->idles.head = q;
    }
    p->idles.tail = q;
}

static struct peer *pop_idle(struct peers *p)
{
    struct peer *q = p->idles.head;
    if (q != NULL) {
        p->idles.head = q->next_idle;
        p->idles.tail = p->idles.head == NULL ? NULL : p->idles.tail;
        q->in_idles = false;
    }
    return q;
}

/* Takes a peer that goes away out of the queues. */
static void unqueue(struct peers *p, const struct peer *gone)
{
    struct queue outs = p->outs, events = p->events, idles = p->idles;
    struct peer *q, *next;
    p->outs = p->events = p->idles = (struct queue){0};
    for (q = idles.head; q != NULL; q = next) {
        next = q->next_idle;
        q->in_idles = false;
        if (q != gone) {
            push_idle(p, q);
        }
    }
    for (q = outs.head; q != NULL; q = next) {
        next = q->next_out;
        q->in_out = false;
        if (q != gone) {
            push_out(p, q);
        }
    }
    for (q = events.head; q != NULL; q = next) {
        next = q->next_event;
        q->in_events = false;
        if (q != gone) {
            push_event(p, q);
        }
    }
}

/* Rules */

static bool is_online(const struct peer *q)
{
    return q->link != 0 || q->seen;
}

static struct peer_addr *untried(struct peer *q)
{
    for (size_t i = 0; i < q->n_addrs; i++) {
        if (!q->addrs[i].tried) {
            return &q->addrs[i];
        }
    }
    return NULL;
}

static void new_round(struct peer *q)
{
    for (size_t i = 0; i < q->n_addrs; i++) {
        q->addrs[i].tried = false;
    }
}

static void set_dial(struct peers *p, struct peer *q, enum dial dial)
{
    p->dials += (dial != DIAL_IDLE) - (size_t)(q->dial != DIAL_IDLE);
    q->dial = dial;
}

static void dial_idle(struct peers *p, struct peer *q)
{
    set_dial(p, q, DIAL_IDLE);
    q->dial_conn = q->dropped = 0;
    new_round(q);
}

/* What is queued is not given out after all; a dial that is out goes on. */
static void dial_withdraw(struct peers *p, struct peer *q)
{
    if (q->dial_conn != 0) {
        set_dial(p, q, DIAL_DIALLING);
    } else {
        dial_idle(p, q);
    }
}

static void unsee(struct peers *p, struct peer *q)
{
    p->n_seen -= q->seen;
    q->seen = q->unasked = q->sent_away = false;
    for (size_t i = 0; i < q->n_addrs; i++) {
        q->addrs[i].seen = false;
    }
}

/* Somebody has a reason to dial it, leaving time and addresses aside. */
static bool wanted(const struct peers *p, const struct peer *q)
{
    if (q->link != 0) {
        return false;
    }
    if (q->want || q->hold != 0 || q->called || (q->seen && q->unasked)) {
        return true;
    }
    /* Its own dial does not stand in its way. */
    size_t others = p->links + p->dials - (q->dial != DIAL_IDLE);
    return q->seen && !q->sent_away &&
           others < (q->let_go ? PEER_LINKS_FEW : PEER_LINKS_FREE);
}

static uint64_t idle_ms(const struct peers *p)
{
    return p->links > PEER_LINKS_MANY ? PEER_IDLE_MANY_MS : PEER_IDLE_MS;
}

/* The link of q was of no use for long, and others are more than enough. */
static bool is_idle(const struct peers *p, const struct peer *q, uint64_t now_ms)
{
    return p->links > PEER_LINKS_FREE && q->seen && !q->want && q->hold == 0 &&
           now_ms >= q->used_ms + idle_ms(p);
}

/* Whether the link of q is to be closed now; returns when that is to be looked at
 * again. */
static uint64_t settle_idle(struct peers *p, struct peer *q, uint64_t now_ms)
{
    if (q->link == 0 || q->idle_due || p->links <= PEER_LINKS_FREE) {
        return NEVER;
    }
    if (is_idle(p, q, now_ms)) {
        push_idle(p, q);
        return NEVER;
    }
    uint64_t at = q->used_ms + idle_ms(p);
    return at > now_ms ? at : now_ms + PEER_IDLE_MS;
}

static uint64_t backoff_ms(const struct peers *p, const struct peer *q)
{
    uint64_t ms = PEER_RETRY_MIN_MS;
    for (unsigned i = 1; i < q->failures && ms < PEER_RETRY_MAX_MS; i++) {
        ms *= 2;
    }
    ms = ms < PEER_RETRY_MAX_MS ? ms : PEER_RETRY_MAX_MS;
    return ms - env_uniform(p->env, (uint32_t)(ms / 4));
}

static void failed(struct peers *p, struct peer *q, uint64_t now_ms)
{
    if (q->failures < BACKOFF_MAX) {
        q->failures++;
    }
    q->retry_ms = now_ms + backoff_ms(p, q);
}

/* What is due for the dial of q now; returns when it is to be looked at again. */
static uint64_t settle_dial(struct peers *p, struct peer *q, uint64_t now_ms)
{
    uint64_t next_ms = NEVER;
    switch (q->dial) {
    case DIAL_IDLE:
        if (q->n_addrs == 0 || !wanted(p, q)) {
            break;
        }
        next_ms = !q->want && q->hold_ms > q->retry_ms ? q->hold_ms : q->retry_ms;
        if (now_ms < next_ms) {
            break;
        }
        next_ms = NEVER;
        set_dial(p, q, DIAL_QUEUED);
        push_out(p, q);
        break;
    case DIAL_QUEUED:
        break;
    case DIAL_DIALLING:
        if (untried(q) == NULL || !wanted(p, q)) {
            break;
        }
        next_ms = q->dial_ms + PEER_ADDR_MS;
        if (now_ms >= next_ms) {
            next_ms = NEVER;
            set_dial(p, q, DIAL_QUEUED);
            push_out(p, q);
        }
        break;
    }
    return next_ms;
}

static void settle(struct peers *p, struct peer *q, uint64_t now_ms)
{
    p->now_ms = now_ms;
    uint64_t at = NEVER;
    if (q->seen && now_ms >= q->seen_ms + PEER_GONE_MS) {
        unsee(p, q);
    }
    if (q->seen) {
        at = q->seen_ms + PEER_GONE_MS;
    }
    uint64_t dial_at = settle_dial(p, q, now_ms);
    at = dial_at < at ? dial_at : at;
    uint64_t idle_at = settle_idle(p, q, now_ms);
    at = idle_at < at ? idle_at : at;
    if (is_online(q) != q->told_online) {
        push_event(p, q);
    }
    int rc = deadlines_set(&p->deadlines, &q->at, at);
    assert(rc == 0); /* it is in the heap, or was just taken off it */
    (void)rc;
}

static void settle_all(struct peers *p, uint64_t now_ms)
{
    for (size_t i = 0; i < p->n; i++) {
        settle(p, p->v[i], now_ms);
    }
}

/* A link or a dial fewer: those that stood back may come forward. */
static void settle_freed(struct peers *p, struct peer *q, size_t before, uint64_t now_ms)
{
    size_t after = p->links + p->dials;
    if ((before >= PEER_LINKS_FREE && after < PEER_LINKS_FREE) ||
        (before >= PEER_LINKS_FEW && after < PEER_LINKS_FEW)) {
        settle_all(p, now_ms);
    } else {
        settle(p, q, now_ms);
    }
}

/* Devices */

struct peers *peers_new(const struct env *env, const uint8_t own_static[32])
{
    struct peers *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return NULL;
    }
    p->env = env;
    memcpy(p->own, own_static, sizeof p->own);
    deadlines_init(&p->deadlines, PEER_MAX);
    return p;
}

void peers_free(struct peers *p)
{
    if (p == NULL) {
        return;
    }
    deadlines_release(&p->deadlines);
    for (size_t i = 0; i < p->n; i++) {
        free(p->v[i]);
    }
    free(p->v);
    free(p);
}

static int grow(struct peers *p)
{
    size_t cap = p->cap == 0 ? CAP_MIN : 2 * p->cap;
    struct peer **v = realloc(p->v, cap * sizeof(*v));
    if (v == NULL) {
        return ERR_NOMEM;
    }
    p->v = v;
    p->cap = cap;
    return 0;
}

int peers_add(struct peers *p, uint32_t ref, const uint8_t stat[32])
{
    if (find(p, ref) != NULL) {
        return ERR_EXISTS;
    }
    if (p->n >= PEER_MAX) {
        return ERR_LIMIT;
    }
    if (p->n == p->cap && grow(p) != 0) {
        return ERR_NOMEM;
    }
    struct peer *q = calloc(1, sizeof *q);
    if (q == NULL) {
        return ERR_NOMEM;
    }
    q->ref = ref;
    memcpy(q->stat, stat, sizeof q->stat);
    q->at.owner = q;
    if (deadlines_set(&p->deadlines, &q->at, NEVER) != 0) {
        free(q);
        return ERR_NOMEM;
    }
    size_t i = place(p, ref);
    memmove(&p->v[i + 1], &p->v[i], (p->n - i) * sizeof(struct peer *));
    p->v[i] = q;
    p->n++;
    return 0;
}

void peers_del(struct peers *p, uint32_t ref)
{
    size_t i = place(p, ref);
    if (i >= p->n || p->v[i]->ref != ref) {
        return;
    }
    struct peer *q = p->v[i];
    size_t before = p->links + p->dials;
    set_dial(p, q, DIAL_IDLE);
    p->links -= q->link != 0;
    p->n_seen -= q->seen;
    unqueue(p, q);
    deadlines_remove(&p->deadlines, &q->at);
    p->n--;
    memmove(&p->v[i], &p->v[i + 1], (p->n - i) * sizeof(struct peer *));
    free(q);
    if (before >= PEER_LINKS_FEW) {
        settle_all(p, p->now_ms);
    }
}

/* Addresses */

/* Puts the address where it belongs: seen ones first, each kind newest first. True when
 * it is new. */
static bool put_addr(struct peer *q, const struct addr *a, bool seen)
{
    struct peer_addr put = {.addr = *a, .seen = seen};
    size_t i = 0;
    while (i < q->n_addrs && !addr_eq(&q->addrs[i].addr, a)) {
        i++;
    }
    bool is_new = i == q->n_addrs;
    if (!is_new) {
        if (!seen) {
            return false;
        }
        put.tried = q->addrs[i].tried;
    } else if (q->n_addrs < PEER_ADDRS) {
        q->n_addrs++;
    } else {
        i--; /* the last one goes */
    }
    size_t to = 0;
    while (!seen && to < i && q->addrs[to].seen) {
        to++;
    }
    memmove(&q->addrs[to + 1], &q->addrs[to], (i - to) * sizeof q->addrs[0]);
    q->addrs[to] = put;
    return is_new;
}

/* Who comes is seen by all at once; they must not dial all at once. */
static uint64_t spread_ms(const struct peers *p)
{
    return p->n_seen < PEER_LINKS_FREE
               ? 0
               : env_uniform(p->env, (uint32_t)p->n_seen * PEER_SPREAD_MS);
}

void peers_addr(struct peers *p, uint32_t ref, const struct addr *a, bool seen,
                uint64_t now_ms)
{
    struct peer *q = find(p, ref);
    if (q == NULL || !addr_is_dialable(a)) {
        return;
    }
    bool is_new = put_addr(q, a, seen);
    if (seen) {
        if (!q->seen && q->link == 0) {
            q->unasked = true;
            q->hold_ms = now_ms + spread_ms(p);
        }
        p->n_seen += !q->seen;
        q->seen = true;
        q->seen_ms = now_ms;
    }
    if (seen || is_new) {
        q->failures = 0;
        q->retry_ms = now_ms;
    }
    settle(p, q, now_ms);
}

void peers_gone(struct peers *p, uint32_t ref, uint64_t now_ms)
{
    struct peer *q = find(p, ref);
    if (q == NULL) {
        return;
    }
    unsee(p, q);
    settle(p, q, now_ms);
}

void peers_want(struct peers *p, uint32_t ref, bool want, uint64_t now_ms)
{
    struct peer *q = find(p, ref);
    if (q == NULL) {
        return;
    }
    if (want && !q->want) {
        q->retry_ms = now_ms; /* somebody asks now; the failures still count */
    }
    q->want = want;
    settle(p, q, now_ms);
}

void peers_ask(struct peers *p, uint32_t ref, uint64_t now_ms)
{
    struct peer *q = find(p, ref);
    if (q != NULL && q->link == 0 && q->seen) {
        q->unasked = true;
        settle(p, q, now_ms);
    }
}

void peers_call(struct peers *p, uint32_t ref, uint64_t now_ms)
{
    struct peer *q = find(p, ref);
    if (q == NULL || q->link != 0 || q->n_addrs == 0) {
        return;
    }
    q->called = true;
    q->failures = 0;
    q->retry_ms = q->hold_ms = now_ms;
    settle(p, q, now_ms);
}

bool peers_wanted(const struct peers *p, uint32_t ref)
{
    const struct peer *q = find(p, ref);
    return q != NULL && (q->want || q->hold != 0);
}

void peers_hold(struct peers *p, uint32_t ref, enum peer_hold why, bool hold,
                uint64_t now_ms)
{
    struct peer *q = find(p, ref);
    if (q == NULL || ((q->hold & why) != 0) == hold) {
        return;
    }
    if (hold) {
        q->retry_ms = now_ms;
    }
    q->hold = hold ? q->hold | why : q->hold & ~(unsigned)why;
    settle(p, q, now_ms);
}

void peers_network_changed(struct peers *p, uint64_t now_ms)
{
    for (size_t i = 0; i < p->n; i++) {
        struct peer *q = p->v[i];
        q->failures = 0;
        q->retry_ms = now_ms;
        new_round(q);
        if (q->dial == DIAL_DIALLING) {
            q->dial_ms = now_ms > PEER_ADDR_MS ? now_ms - PEER_ADDR_MS : 0;
        }
    }
    settle_all(p, now_ms);
}

/* Dials and links */

void peers_dialling(struct peers *p, uint32_t ref, uint32_t conn)
{
    struct peer *q = find(p, ref);
    if (q != NULL && q->dial == DIAL_DIALLING) {
        q->dial_conn = conn;
    }
}

void peers_dial_failed(struct peers *p, uint32_t ref, uint32_t conn, uint64_t now_ms)
{
    struct peer *q = find(p, ref);
    if (q == NULL || q->dial == DIAL_IDLE ||
        (q->dial_conn != 0 && q->dial_conn != conn) ||
        (q->dropped != 0 && q->dropped == conn)) {
        return;
    }
    size_t before = p->links + p->dials;
    q->dial_conn = 0;
    if (q->dial == DIAL_DIALLING && q->link == 0 && untried(q) != NULL) {
        set_dial(p, q, DIAL_QUEUED);
        push_out(p, q);
    } else if (q->dial == DIAL_DIALLING) {
        dial_idle(p, q);
        q->called = false;
        if (q->link == 0) {
            failed(p, q, now_ms);
        }
    }
    settle_freed(p, q, before, now_ms);
}

/* Whether the newer of two links is the one that stays. */
static bool newer_stays(const struct peers *p, const struct peer *q, bool we_dialled,
                        uint64_t now_ms)
{
    if (q->link_ours == we_dialled || now_ms - q->link_ms > PEER_RACE_MS) {
        return true;
    }
    bool ours_stays = memcmp(p->own, q->stat, STATIC) < 0;
    return ours_stays == we_dialled;
}

uint32_t peers_link_up(struct peers *p, uint32_t ref, uint32_t conn, bool we_dialled,
                       uint64_t now_ms)
{
    struct peer *q = find(p, ref);
    if (q == NULL || q->link == conn) {
        return 0;
    }
    uint32_t close = 0;
    size_t before = p->links + p->dials;
    if (q->link != 0) {
        close = newer_stays(p, q, we_dialled, now_ms) ? q->link : conn;
    }
    if (we_dialled && q->dial != DIAL_IDLE && q->dial_conn == conn) {
        dial_idle(p, q);
    } else if (q->dial == DIAL_QUEUED) {
        dial_withdraw(p, q);
    }
    if (close != conn) {
        p->links += q->link == 0;
        q->link = conn;
        q->link_ms = q->used_ms = now_ms;
        q->link_ours = we_dialled;
        q->unasked = q->called = q->idle_due = q->let_go = false;
    }
    if (before <= PEER_LINKS_FREE && p->links > PEER_LINKS_FREE) {
        settle_all(p, now_ms); /* from now on the idle ones are looked for */
    } else {
        settle_freed(p, q, before, now_ms);
    }
    return close;
}

void peers_used(struct peers *p, uint32_t ref, uint64_t now_ms)
{
    struct peer *q = find(p, ref);
    if (q != NULL && q->link != 0) {
        q->used_ms = now_ms; /* its deadline, now too early, is looked at when it comes */
    }
}

void peers_link_down(struct peers *p, uint32_t ref, uint32_t conn, enum peer_end why,
                     uint64_t now_ms)
{
    struct peer *q = find(p, ref);
    if (q == NULL || q->link == 0 || q->link != conn) {
        return;
    }
    size_t before = p->links + p->dials;
    bool lasted = now_ms - q->link_ms >= PEER_RACE_MS;
    q->link = 0;
    p->links--;
    if (lasted) {
        q->failures = 0;
    }
    switch (why) {
    case PEER_END_OURS:
        q->let_go = q->idle_due;
        q->retry_ms = q->idle_due ? now_ms : now_ms + PEER_RACE_MS;
        break;
    case PEER_END_IDLE:
        q->sent_away = q->seen;
        q->retry_ms = now_ms;
        break;
    case PEER_END_CUT:
        q->unasked = q->seen;
        if (lasted) {
            q->retry_ms = now_ms + env_uniform(p->env, PEER_RETRY_MIN_MS);
        } else {
            failed(p, q, now_ms); /* or one that always breaks is dialled for ever */
        }
        break;
    }
    q->idle_due = false;
    settle_freed(p, q, before, now_ms);
}

uint32_t peers_link(const struct peers *p, uint32_t ref)
{
    const struct peer *q = find(p, ref);
    return q != NULL ? q->link : 0;
}

bool peers_online(const struct peers *p, uint32_t ref)
{
    const struct peer *q = find(p, ref);
    return q != NULL && is_online(q);
}

size_t peers_addrs(const struct peers *p, uint32_t ref, struct addr *out, size_t max)
{
    const struct peer *q = find(p, ref);
    size_t n = 0;
    while (q != NULL && n < q->n_addrs && n < max) {
        out[n] = q->addrs[n].addr;
        n++;
    }
    return n;
}

/* Verbs */

void peers_tick(struct peers *p, uint64_t now_ms)
{
    struct deadline *d;
    p->now_ms = now_ms;
    while ((d = deadlines_pop(&p->deadlines, now_ms)) != NULL) {
        settle(p, d->owner, now_ms);
    }
}

uint64_t peers_deadline(const struct peers *p)
{
    uint64_t at = deadlines_next(&p->deadlines);
    return at < NEVER ? at : DEADLINE_NONE;
}

bool peers_next_out(struct peers *p, struct peer_out *out)
{
    struct peer *q;
    while ((q = pop_out(p)) != NULL) {
        struct peer_addr *a = untried(q);
        if (q->dial != DIAL_QUEUED) {
            continue;
        }
        if (a == NULL || !wanted(p, q)) {
            dial_withdraw(p, q);
            settle(p, q, p->now_ms);
            continue;
        }
        *out = (struct peer_out){.ref = q->ref, .addr = a->addr, .drop = q->dial_conn};
        a->tried = true;
        set_dial(p, q, DIAL_DIALLING);
        q->dropped = q->dial_conn;
        q->dial_conn = 0;
        q->dial_ms = p->now_ms;
        settle(p, q, p->now_ms);
        return true;
    }
    return false;
}

uint32_t peers_next_idle(struct peers *p)
{
    struct peer *q;
    while ((q = pop_idle(p)) != NULL) {
        if (q->link == 0 || !q->idle_due) {
            continue;
        }
        if (is_idle(p, q, p->now_ms)) {
            return q->link;
        }
        q->idle_due = false; /* used, wanted, or no more than enough, meanwhile */
        settle(p, q, p->now_ms);
    }
    return 0;
}

size_t peers_links(const struct peers *p)
{
    return p->links;
}

bool peers_next_event(struct peers *p, struct peer_event *ev)
{
    struct peer *q;
    while ((q = pop_event(p)) != NULL) {
        if (is_online(q) != q->told_online) {
            q->told_online = is_online(q);
            *ev = (struct peer_event){.ref = q->ref, .online = q->told_online};
            return true;
        }
    }
    return false;
}
