#include "dht_world.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    WHEEL_MS = 16384, /* nothing is queued for later than this */
    FIRST_NET = 16,   /* addresses are 16.0.0.0 to 31.255.255.255 */
    ADDR_BITS = 28,
    LATENCIES = 4096,
    GUESTS_NET = 32, /* their addresses: 32.i.0.1 */
};

/* Addresses are scattered by a multiplication modulo 2^28, which has an inverse. */
static const uint32_t scatter = 0x9e3779b1, gather = 0x0e8b2f51;

struct parcel {
    struct parcel *next;
    uint64_t at_ms;
    uint32_t to, life; /* host; behind the last of them guests, then strangers */
    struct addr from;  /* of a datagram, as it says */
    uint8_t part;
    bool forged;
    size_t len; /* 0: it is time to wake */
    uint8_t bytes[];
};

struct slot {
    struct parcel *first, *last;
};

struct shard {
    struct dw *w;
    struct slot *wheel;
    uint64_t now_ms;
    struct slot outbox[DW_SHARDS]; /* for the others, until the step ends */
    struct slot guests;            /* what has reached them */
    struct dw_sums sums;
    uint64_t mark;
    pthread_t thread;
};

/* Numbered behind the hosts, and found by their address in places, which are twice as
 * many at least; 0: free. */
struct strangers {
    struct addr *a;
    uint64_t *random;
    uint32_t *place;
    uint32_t n, places;
};

struct dw {
    struct dw_config c;
    struct dw_host *host;
    struct strangers strangers;
    struct shard shard[DW_SHARDS];
    uint64_t now_ms, random;
    uint16_t latency_ms[LATENCIES]; /* one way */
    pthread_barrier_t begin, end;
    bool stop;
    uint64_t births;
};

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static double unit(uint64_t *state)
{
    return (double)(next_random(state) >> 11) / 9007199254740992.0;
}

static void fill_random(void *ctx, void *buf, size_t len)
{
    uint8_t *p = buf;
    while (len > 0) {
        uint64_t v = next_random(ctx);
        size_t n = len < sizeof v ? len : sizeof v;
        memcpy(p, &v, n);
        p += n;
        len -= n;
    }
}

static uint64_t no_wall(void *ctx)
{
    (void)ctx;
    return 0;
}

/* ---- addresses and distances ---- */

static void host_addr(const struct dw *w, uint32_t i, uint32_t life, struct addr *out)
{
    uint32_t x = i + life * w->c.hosts;
    uint32_t ip = (x * scatter & ((1u << ADDR_BITS) - 1)) + ((uint32_t)FIRST_NET << 24);
    *out = (struct addr){.family = 4, .port = 6881};
    out->ip[0] = (uint8_t)(ip >> 24);
    out->ip[1] = (uint8_t)(ip >> 16);
    out->ip[2] = (uint8_t)(ip >> 8);
    out->ip[3] = (uint8_t)ip;
}

/* Whose address it is or was. */
static bool addr_host(const struct dw *w, const struct addr *a, uint32_t *host,
                      uint32_t *life)
{
    uint32_t ip = (uint32_t)a->ip[0] << 24 | (uint32_t)a->ip[1] << 16 |
                  (uint32_t)a->ip[2] << 8 | a->ip[3];
    uint32_t x = (ip - ((uint32_t)FIRST_NET << 24)) * gather & ((1u << ADDR_BITS) - 1);
    *host = x % w->c.hosts;
    *life = x / w->c.hosts;
    struct addr check;
    host_addr(w, *host, *life, &check);
    return addr_eq(&check, a);
}

/* Whose address it is, host or guest. */
static bool addr_owner(const struct dw *w, const struct addr *a, uint32_t *to,
                       uint32_t *life)
{
    struct addr check;
    dw_guest_addr(a->ip[1], &check);
    if (!addr_eq(a, &check)) {
        return addr_host(w, a, to, life);
    }
    *to = w->c.hosts + a->ip[1];
    *life = 0;
    return true;
}

/* The number of a stranger, and back. */
static uint32_t stranger(const struct dw *w, uint32_t i)
{
    return w->c.hosts + DW_GUESTS_MAX + i;
}

static uint32_t stranger_index(const struct dw *w, uint32_t who)
{
    return who - w->c.hosts - DW_GUESTS_MAX;
}

static uint32_t *stranger_place(const struct strangers *s, const struct addr *a)
{
    uint64_t state = (uint64_t)a->ip[0] << 40 | (uint64_t)a->ip[1] << 32 |
                     (uint64_t)a->ip[2] << 24 | (uint64_t)a->ip[3] << 16 | a->port;
    uint32_t i = (uint32_t)next_random(&state) & (s->places - 1);
    while (s->place[i] != 0 && !addr_eq(&s->a[s->place[i] - 1], a)) {
        i = (i + 1) & (s->places - 1);
    }
    return &s->place[i];
}

static void grow(struct strangers *s)
{
    uint32_t places = s->places == 0 ? 64 : 2 * s->places;
    s->a = realloc(s->a, places / 2 * sizeof *s->a);
    s->random = realloc(s->random, places / 2 * sizeof *s->random);
    free(s->place);
    s->place = calloc(places, sizeof *s->place);
    assert(s->a != NULL && s->random != NULL && s->place != NULL);
    s->places = places;
    for (uint32_t i = 0; i < s->n; i++) {
        *stranger_place(s, &s->a[i]) = i + 1;
    }
}

uint32_t dw_stranger(struct dw *w, const struct addr *a)
{
    struct strangers *s = &w->strangers;
    uint32_t host, life;
    assert(!addr_host(w, a, &host, &life));
    if (s->n == s->places / 2) {
        grow(s);
    }
    uint32_t *place = stranger_place(s, a);
    if (*place == 0) {
        s->a[s->n] = *a;
        s->random[s->n] = next_random(&w->random);
        *place = ++s->n;
    }
    return stranger(w, *place - 1);
}

/* life: of a host. */
static bool find(const struct dw *w, const struct addr *a, uint32_t *who, uint32_t *life)
{
    if (addr_owner(w, a, who, life)) {
        return true;
    }
    if (w->strangers.n == 0 || *stranger_place(&w->strangers, a) == 0) {
        return false;
    }
    *who = stranger(w, *stranger_place(&w->strangers, a) - 1);
    *life = 0;
    return true;
}

bool dw_find(const struct dw *w, const struct addr *a, uint32_t *who)
{
    uint32_t life;
    return find(w, a, who, &life) && (*who >= w->c.hosts || (w->host[*who].d != NULL &&
                                                             w->host[*who].life == life));
}

/* Quantiles of a log-normal distribution, halved: its median is the round trip's. */
static void make_latencies(struct dw *w)
{
    static const double sigma = 0.6;
    for (int i = 0; i < LATENCIES; i++) {
        /* The normal quantile, by the logistic approximation of it. */
        double p = (i + 0.5) / LATENCIES;
        double z = log(p / (1 - p)) / 1.702;
        double ms = DW_RTT_MEDIAN_MS * exp(sigma * z) / 2;
        w->latency_ms[i] = (uint16_t)(ms < DW_STEP_MS ? DW_STEP_MS : ms);
    }
}

static uint64_t latency(struct dw *w, uint32_t a, uint32_t b, uint64_t *random)
{
    uint64_t pair = a < b ? (uint64_t)a << 32 | b : (uint64_t)b << 32 | a;
    uint64_t state = pair ^ w->c.seed;
    uint64_t ms = w->latency_ms[next_random(&state) % LATENCIES];
    return ms + next_random(random) % (ms / 8 + 1);
}

/* ---- queues ---- */

static void push(struct slot *s, struct parcel *it)
{
    it->next = NULL;
    if (s->last == NULL) {
        s->first = it;
    } else {
        s->last->next = it;
    }
    s->last = it;
}

static void queue(struct shard *s, struct parcel *it)
{
    assert(it->at_ms >= s->now_ms && it->at_ms - s->now_ms < WHEEL_MS);
    push(&s->wheel[it->at_ms % WHEEL_MS], it);
}

/* All guests are of one shard: what reaches them is in the order of time. */
static uint32_t shard_index(const struct dw *w, uint32_t host)
{
    bool guest = host >= w->c.hosts && host < w->c.hosts + DW_GUESTS_MAX;
    return guest ? 0 : host % DW_SHARDS;
}

static struct shard *shard_of(struct dw *w, uint32_t host)
{
    return &w->shard[shard_index(w, host)];
}

static struct parcel *parcel_new(uint32_t to, uint64_t at_ms, size_t len)
{
    struct parcel *it = malloc(sizeof *it + len);
    assert(it != NULL);
    it->at_ms = at_ms;
    it->to = to;
    it->len = len;
    return it;
}

/* ---- hosts ---- */

/* Sees to it that the host wakes in time: at its deadline, or before the wheel has
 * turned. */
static void plan(struct shard *s, uint32_t i)
{
    struct dw_host *h = &s->w->host[i];
    uint64_t at = dht_deadline(h->d);
    uint64_t last = s->now_ms + WHEEL_MS - 1;
    at = at > s->now_ms ? at : s->now_ms + 1;
    at = at < last ? at : last;
    if (h->wake_ms > s->now_ms && h->wake_ms <= at) {
        return;
    }
    struct parcel *it = parcel_new(i, at, 0);
    it->life = h->life;
    h->wake_ms = at;
    queue(s, it);
}

/* Where no host may send to, whoever told it to. */
static bool is_forbidden(const struct addr *own, const struct addr *a)
{
    return !addr_is_dialable(a) || addr_is_private(a) || addr_eq(own, a);
}

static void transmit(struct shard *s, uint32_t who, const struct addr *from,
                     const struct addr *dest, const uint8_t *p, size_t len)
{
    struct dw *w = s->w;
    bool host = who < w->c.hosts;
    uint64_t *random =
        host ? &w->host[who].random : &w->strangers.random[stranger_index(w, who)];
    uint32_t to, life;
    bool exists = find(w, dest, &to, &life);
    s->sums.datagrams++;
    s->sums.bytes += len + DW_IP_HEADERS;
    s->sums.stray += host && !exists;
    s->sums.forbidden += host && is_forbidden(&w->host[who].addr, dest);
    if ((host && w->host[who].silent) || !exists || unit(random) < w->c.loss) {
        s->sums.lost++;
        return;
    }
    struct parcel *it = parcel_new(to, s->now_ms + latency(w, who, to, random), len);
    it->life = life;
    it->from = *from;
    it->part = host ? w->host[who].part : 0;
    it->forged = !addr_eq(from, host ? &w->host[who].addr
                                     : &w->strangers.a[stranger_index(w, who)]);
    memcpy(it->bytes, p, len);
    if (shard_of(w, to) == s) {
        queue(s, it);
    } else {
        push(&s->outbox[shard_index(w, to)], it);
    }
}

void dw_send(struct dw *w, uint32_t who, const struct addr *from, const struct addr *to,
             const uint8_t *p, size_t len)
{
    transmit(shard_of(w, who), who, from, to, p, len);
}

static void drain(struct shard *s, uint32_t i)
{
    struct dw_host *h = &s->w->host[i];
    struct dht_out out;
    struct dht_event e;
    while (dht_next_out(h->d, &out)) {
        transmit(s, i, &h->addr, &out.dest, out.bytes, out.len);
    }
    while (dht_next_event(h->d, &e)) {
        s->sums.events++;
        if (s->w->c.on_event != NULL) {
            s->w->c.on_event(s->w->c.ctx, i, &e, s->now_ms);
        }
    }
    plan(s, i);
}

/* Messages of ours end so. */
static bool is_query(const struct parcel *it)
{
    static const char end[] = "1:y1:qe";
    size_t n = sizeof end - 1;
    return it->len >= n && memcmp(it->bytes + it->len - n, end, n) == 0;
}

/* Shows a datagram to the caller; true: he keeps it. */
static bool show(struct shard *s, const struct parcel *it, const struct addr *to)
{
    struct dw *w = s->w;
    struct dw_arrival l = {
        .from = it->from,
        .to = *to,
        .at = it->to,
        .p = it->bytes,
        .len = it->len,
        .now_ms = s->now_ms,
    };
    return w->c.on_letter != NULL && w->c.on_letter(w->c.ctx, &l);
}

static void deliver(struct shard *s, const struct parcel *it)
{
    struct dw *w = s->w;
    if (it->to >= w->c.hosts) {
        (void)show(s, it, &w->strangers.a[stranger_index(w, it->to)]);
        return;
    }
    struct dw_host *h = &w->host[it->to];
    if (h->d == NULL || h->life != it->life || h->silent || h->part != it->part ||
        (h->read_only && is_query(it))) {
        s->sums.lost++;
        return;
    }
    s->mark = (s->mark ^ it->at_ms ^ it->to) * 0x100000001b3u + it->len;
    if (show(s, it, &h->addr)) {
        return;
    }
    int rc = dht_recv(h->d, &it->from, it->bytes, it->len, s->now_ms);
    bool answer = it->forged && !is_query(it);
    s->sums.forged += answer;
    s->sums.forged_taken += answer && rc == 0;
    if (dht_deadline(h->d) <= s->now_ms) {
        dht_tick(h->d, s->now_ms);
    }
    drain(s, it->to);
}

static void wake(struct shard *s, const struct parcel *it)
{
    struct dw_host *h = &s->w->host[it->to];
    if (h->d == NULL || h->life != it->life || h->wake_ms != it->at_ms) {
        return;
    }
    dht_tick(h->d, s->now_ms);
    drain(s, it->to);
}

static void run_step(struct shard *s, uint64_t until_ms)
{
    for (; s->now_ms < until_ms; s->now_ms++) {
        struct slot *slot = &s->wheel[s->now_ms % WHEEL_MS];
        while (slot->first != NULL) {
            struct parcel *it = slot->first;
            slot->first = it->next;
            slot->last = it->next == NULL ? NULL : slot->last;
            if (it->to >= s->w->c.hosts && it->to < s->w->c.hosts + DW_GUESTS_MAX) {
                push(&s->guests, it);
                continue;
            }
            if (it->len > 0) {
                deliver(s, it);
            } else {
                wake(s, it);
            }
            free(it);
        }
    }
}

static void *shard_main(void *ctx)
{
    struct shard *s = ctx;
    struct dw *w = s->w;
    for (;;) {
        (void)pthread_barrier_wait(&w->begin);
        if (w->stop) {
            return NULL;
        }
        run_step(s, w->now_ms + DW_STEP_MS);
        (void)pthread_barrier_wait(&w->end);
    }
}

/* ---- the world ---- */

struct dw *dw_new(const struct dw_config *c)
{
    struct dw *w = calloc(1, sizeof *w);
    assert(w != NULL && c->hosts > 0);
    w->c = *c;
    w->random = c->seed * 0x9e3779b97f4a7c15 + 1;
    w->now_ms = 1000;
    w->host = calloc(c->hosts, sizeof *w->host);
    assert(w->host != NULL);
    make_latencies(w);
    (void)pthread_barrier_init(&w->begin, NULL, DW_SHARDS);
    (void)pthread_barrier_init(&w->end, NULL, DW_SHARDS);
    for (int i = 0; i < DW_SHARDS; i++) {
        struct shard *s = &w->shard[i];
        s->w = w;
        s->now_ms = w->now_ms;
        s->wheel = calloc(WHEEL_MS, sizeof *s->wheel);
        assert(s->wheel != NULL);
        if (i > 0 && w->c.threads) {
            int rc = pthread_create(&s->thread, NULL, shard_main, s);
            assert(rc == 0);
        }
    }
    return w;
}

static void free_parcels(struct slot *s)
{
    while (s->first != NULL) {
        struct parcel *it = s->first;
        s->first = it->next;
        free(it);
    }
}

void dw_free(struct dw *w)
{
    w->stop = true;
    if (w->c.threads) {
        (void)pthread_barrier_wait(&w->begin);
    }
    for (int i = 0; i < DW_SHARDS; i++) {
        struct shard *s = &w->shard[i];
        if (i > 0 && w->c.threads) {
            (void)pthread_join(s->thread, NULL);
        }
        for (int j = 0; j < WHEEL_MS; j++) {
            free_parcels(&s->wheel[j]);
        }
        free(s->wheel);
        free_parcels(&s->guests);
    }
    for (uint32_t i = 0; i < w->c.hosts; i++) {
        dht_free(w->host[i].d);
    }
    (void)pthread_barrier_destroy(&w->begin);
    (void)pthread_barrier_destroy(&w->end);
    free(w->strangers.a);
    free(w->strangers.random);
    free(w->strangers.place);
    free(w->host);
    free(w);
}

uint64_t dw_now(const struct dw *w)
{
    return w->now_ms;
}

struct dw_host *dw_host(struct dw *w, uint32_t i)
{
    return &w->host[i];
}

uint32_t dw_count(const struct dw *w)
{
    return w->c.hosts;
}

uint64_t dw_random(struct dw *w)
{
    return next_random(&w->random);
}

uint32_t dw_below(struct dw *w, uint32_t bound)
{
    return (uint32_t)(dw_random(w) % bound);
}

bool dw_pick(struct dw *w, uint64_t age_ms, bool open, uint32_t *out)
{
    for (int tries = 0; tries < 1000; tries++) {
        uint32_t i = dw_below(w, w->c.hosts);
        const struct dw_host *h = &w->host[i];
        if (h->d != NULL && !h->silent && h->born_ms + age_ms <= w->now_ms &&
            !(open && h->read_only)) {
            *out = i;
            return true;
        }
    }
    return false;
}

void dw_touch(struct dw *w, uint32_t i)
{
    drain(shard_of(w, i), i);
}

void dw_start(struct dw *w, uint32_t i)
{
    struct dw_host *h = &w->host[i];
    if (h->d != NULL) {
        dht_free(h->d);
        h->d = NULL;
        h->life++;
    }
    h->random = dw_random(w);
    h->env = (struct env){&h->random, fill_random, no_wall};
    h->born_ms = w->now_ms;
    h->dies_ms = UINT64_MAX;
    h->wake_ms = 0;
    h->silent = false;
    host_addr(w, i, h->life, &h->addr);
    h->read_only = i > 0 && unit(&w->random) < w->c.read_only;
    if (w->c.median_ms > 0 && i > 0) {
        h->dies_ms = w->now_ms + 1 +
                     (uint64_t)(-log(1 - unit(&w->random)) * w->c.median_ms / log(2));
    }
    struct dht_config c = {
        .family = {true, false},
        .read_only = h->read_only,
        .open = !h->read_only,
        .leaf = h->read_only && unit(&w->random) < w->c.leaf,
    };
    dht_id_for_addr(&h->env, &h->addr, &c.id[0]);
    h->d = dht_new(&c, &h->env, w->now_ms);
    assert(h->d != NULL);
    for (int n = 0; n < DW_HINTS; n++) {
        uint32_t other;
        if (dw_pick(w, 1, true, &other) && other != i) {
            (void)dht_add_hint(h->d, &w->host[other].addr, w->now_ms);
        }
    }
    w->births++;
    dw_touch(w, i);
}

/* Whoever has run his time is gone, and somebody else comes. */
static void bury(struct dw *w)
{
    if (w->c.median_ms <= 0 || w->now_ms % 100 >= DW_STEP_MS) {
        return;
    }
    for (uint32_t i = 0; i < w->c.hosts; i++) {
        if (w->host[i].d != NULL && w->host[i].dies_ms <= w->now_ms) {
            dw_start(w, i);
        }
    }
}

static void exchange(struct dw *w)
{
    for (int from = 0; from < DW_SHARDS; from++) {
        for (int to = 0; to < DW_SHARDS; to++) {
            struct slot *box = &w->shard[from].outbox[to];
            while (box->first != NULL) {
                struct parcel *it = box->first;
                box->first = it->next;
                queue(&w->shard[to], it);
            }
            box->last = NULL;
        }
    }
}

void dw_step(struct dw *w)
{
    uint64_t until_ms = w->now_ms + DW_STEP_MS;
    if (w->c.threads) {
        (void)pthread_barrier_wait(&w->begin);
        run_step(&w->shard[0], until_ms);
        (void)pthread_barrier_wait(&w->end);
    } else {
        for (int i = 0; i < DW_SHARDS; i++) {
            run_step(&w->shard[i], until_ms);
        }
    }
    w->now_ms = until_ms;
    exchange(w);
    bury(w);
}

/* ---- guests ---- */

void dw_guest_addr(uint32_t i, struct addr *out)
{
    *out = (struct addr){.family = 4, .port = 7679};
    out->ip[0] = GUESTS_NET;
    out->ip[1] = (uint8_t)i;
    out->ip[3] = 1;
}

void dw_guest_send(struct dw *w, uint32_t i, uint64_t at_ms, const struct addr *dest,
                   const uint8_t *p, size_t len)
{
    uint32_t to, life, from = w->c.hosts + i;
    assert(i < DW_GUESTS_MAX && at_ms <= w->now_ms && at_ms + DW_STEP_MS >= w->now_ms);
    if (!find(w, dest, &to, &life) || unit(&w->random) < w->c.loss) {
        return;
    }
    uint64_t arrives = at_ms + latency(w, from, to, &w->random);
    struct parcel *it = parcel_new(to, arrives > w->now_ms ? arrives : w->now_ms, len);
    it->life = life;
    dw_guest_addr(i, &it->from);
    it->part = 0;
    it->forged = false;
    memcpy(it->bytes, p, len);
    queue(shard_of(w, to), it);
}

bool dw_guest_next(struct dw *w, struct dw_letter *out)
{
    struct slot *box = &w->shard[0].guests;
    struct parcel *it = box->first;
    if (it == NULL) {
        return false;
    }
    box->first = it->next;
    box->last = it->next == NULL ? NULL : box->last;
    out->guest = it->to - w->c.hosts;
    out->at_ms = it->at_ms;
    out->len = it->len < sizeof out->bytes ? it->len : sizeof out->bytes;
    out->from = it->from;
    memcpy(out->bytes, it->bytes, out->len);
    free(it);
    return true;
}

/* ---- what happened ---- */

void dw_sums(const struct dw *w, struct dw_sums *out)
{
    *out = (struct dw_sums){.births = w->births};
    for (int i = 0; i < DW_SHARDS; i++) {
        const struct dw_sums *s = &w->shard[i].sums;
        out->datagrams += s->datagrams;
        out->bytes += s->bytes;
        out->lost += s->lost;
        out->events += s->events;
        out->stray += s->stray;
        out->forbidden += s->forbidden;
        out->forged += s->forged;
        out->forged_taken += s->forged_taken;
    }
}

void dw_reset(struct dw *w)
{
    w->births = 0;
    for (int i = 0; i < DW_SHARDS; i++) {
        w->shard[i].sums = (struct dw_sums){.datagrams = 0};
    }
}

uint64_t dw_mark(const struct dw *w)
{
    uint64_t mark = 0;
    for (int i = 0; i < DW_SHARDS; i++) {
        mark = mark * 0x100000001b3u ^ w->shard[i].mark;
    }
    return mark;
}
