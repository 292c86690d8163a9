#include "dht_siege.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dht_attack.h"

enum {
    JOIN_MS = 60000,
    SETTLE_MS = 600000,
    END_MS = 12000, /* for the last operations to end */
    MINUTE_MS = 60000,
    ITEMS = 40,
    TARGETS = 10, /* that are surrounded */
    READS = 400,
    WATCHES = 4096,
    VALUE_LEN = 200,
    LARGE_LEN = 990,
    HOLDERS = 8,
    PEERS = 60,
    FLOOD_PER_S = 10000,
    FLOOD_MS = 10000,
    FILL_PER_S = 45, /* … and what comes of it: a network has 100 a second */
    FILL_MS = 90000,
    PINGS = 200,
    HINTED = 8, /* attackers among those that a fresh node begins from */
    FRESH_READS = 100,
};

/* What one network may have there. */
#define SHELF_PART(all) ((size_t)(all)*SHELF_SOURCE_PERCENT / 100)

/* An operation of a host. */
struct watch {
    struct watch *next; /* of the same host */
    uint32_t op, item;
    int64_t seq; /* of the last value */
    struct dht_result result;
    bool ended;
};

struct siege {
    struct siege_options o;
    struct dw *w;
    struct attack a;
    struct attack_item *item;
    uint32_t n_items;
    struct watch *watch, **of_host;
    uint32_t n_watches, counted;
    uint32_t victim, next; /* next: item, host or group to be treated */
    uint64_t forged;       /* values handed out that nobody honest has made */
    bool failed;
};

/* ---- telling ---- */

__attribute__((format(printf, 3, 4))) static void
say(const struct siege *s, const char *what, const char *how, ...)
{
    va_list args;
    (void)s;
    printf("  %-44s ", what);
    va_start(args, how);
    (void)vprintf(how, args);
    va_end(args);
    printf("\n");
    (void)fflush(stdout);
}

static void bound(struct siege *s, bool ok, const char *what)
{
    if (s->o.bounds && !ok) {
        printf("  NOT KEPT: %s\n", what);
        s->failed = true;
    }
}

static double percent(uint64_t part, uint64_t all)
{
    return all == 0 ? 0 : 100.0 * (double)part / (double)all;
}

static double ratio(uint64_t part, uint64_t all)
{
    return all == 0 ? 0 : (double)part / (double)all;
}

/* ---- events ---- */

static bool is_genuine(const struct siege *s, uint32_t item, const struct dht_event *e)
{
    int64_t seq = e->u.value.seq;
    if (item >= s->n_items || seq < 1 || seq > 2) {
        return false;
    }
    const struct krpc_view *v = &s->item[item].it[seq - 1].v;
    return v->n == e->u.value.len && memcmp(v->p, e->u.value.v, v->n) == 0;
}

static void on_event(void *ctx, uint32_t host, const struct dht_event *e, uint64_t now_ms)
{
    struct siege *s = ctx;
    struct watch *w = s->of_host[host];
    (void)now_ms;
    while (w != NULL && (w->op != e->op || w->ended)) {
        w = w->next;
    }
    if (w == NULL) {
        return;
    }
    if (e->type == DHT_VALUE) {
        s->forged += is_genuine(s, w->item, e) ? 0 : 1;
        w->seq = e->u.value.seq;
    } else if (e->type == DHT_DONE) {
        w->ended = true;
        w->result = e->u.done;
    }
}

static bool on_letter(void *ctx, const struct dw_arrival *l)
{
    struct siege *s = ctx;
    return attack_letter(&s->a, l);
}

/* ---- what honest hosts do ---- */

static struct watch *watch_new(struct siege *s, uint32_t host, uint32_t item)
{
    assert(s->n_watches < WATCHES);
    struct watch *w = &s->watch[s->n_watches++];
    *w = (struct watch){.item = item, .next = s->of_host[host]};
    s->of_host[host] = w;
    return w;
}

static uint32_t pick_honest(struct siege *s)
{
    uint32_t host;
    do {
        bool ok = dw_pick(s->w, MINUTE_MS, false, &host);
        assert(ok);
    } while (!attack_is_honest(&s->a, host));
    return host;
}

static void put(struct siege *s, uint32_t item, int version)
{
    uint32_t host = pick_honest(s);
    struct watch *w = watch_new(s, host, item);
    int rc = dht_put(dw_host(s->w, host)->d, &s->item[item].it[version], NULL, false,
                     dw_now(s->w), &w->op);
    assert(rc == 0);
    dw_touch(s->w, host);
}

static void put_older(struct siege *s)
{
    put(s, s->next++ % s->n_items, 0);
}

static void put_newer(struct siege *s)
{
    put(s, s->next++ % s->n_items, 1);
}

static void read_at(struct siege *s, uint32_t host, uint32_t item)
{
    struct watch *w = watch_new(s, host, item);
    int rc = dht_get_mutable(dw_host(s->w, host)->d, s->item[item].key.public_key, NULL,
                             0, false, dw_now(s->w), &w->op);
    assert(rc == 0);
    dw_touch(s->w, host);
}

static void read_one(struct siege *s)
{
    read_at(s, pick_honest(s), s->next++ % s->n_items);
}

/* ---- a world ---- */

/* Runs for ms; meanwhile does something n times, evenly. */
static void run(struct siege *s, uint64_t ms, uint32_t n, void (*what)(struct siege *))
{
    uint64_t begin = dw_now(s->w);
    uint32_t done = 0;
    while (dw_now(s->w) < begin + ms) {
        uint64_t due = (uint64_t)n * (dw_now(s->w) - begin + DW_STEP_MS) / ms;
        for (; done < due && done < n; done++) {
            what(s);
        }
        attack_step(&s->a);
        dw_step(s->w);
    }
}

static void join(struct siege *s)
{
    dw_start(s->w, s->next++);
}

static void make_items(struct siege *s, uint32_t n, size_t len)
{
    s->item = calloc(n, sizeof *s->item);
    assert(s->item != NULL);
    s->n_items = n;
    for (uint32_t i = 0; i < n; i++) {
        attack_item_make(&s->a, len, &s->item[i]);
    }
    s->a.item = s->item;
    s->a.n_items = n;
}

/* Hosts that know one another, without the last `absent` of them; and items. */
static void begin(struct siege *s, uint32_t items, size_t len, uint32_t absent)
{
    struct dw_config c = {
        .hosts = s->o.nodes,
        .seed = s->o.seed,
        .loss = s->o.loss,
        .ctx = s,
        .on_event = on_event,
        .on_letter = on_letter,
    };
    struct addr at = attack_addr(0, 1);
    struct dht_id zero = {{0}};
    s->of_host = calloc(s->o.nodes, sizeof(struct watch *));
    s->watch = calloc(WATCHES, sizeof *s->watch);
    assert(s->of_host != NULL && s->watch != NULL);
    s->w = dw_new(&c);
    attack_init(&s->a, s->w, s->o.seed);
    s->victim = attack_add(&s->a, ATTACK_VICTIM, &at, &zero, 0);
    s->a.victim = at;
    make_items(s, items, len);
    run(s, JOIN_MS, s->o.nodes - absent, join);
    run(s, SETTLE_MS, 0, NULL);
}

static void end(struct siege *s)
{
    attack_release(&s->a);
    dw_free(s->w);
    free(s->item);
    free(s->watch);
    free(s->of_host);
}

/* ---- figures of operations ---- */

struct reads {
    uint32_t n, newest, older, absent, unsure;
    uint64_t queries;
};

/* Those that were begun since the last count; newest: the number to be found. */
static struct reads count(struct siege *s, int64_t newest, const char *what)
{
    struct reads r = {.n = 0};
    for (; s->counted < s->n_watches; s->counted++) {
        const struct watch *w = &s->watch[s->counted];
        r.n++;
        r.queries += w->result.n.asked;
        r.newest += w->seq == newest;
        r.older += w->seq > 0 && w->seq < newest;
        r.absent += w->seq == 0 && w->result.outcome == DHT_NOT_FOUND;
        r.unsure += w->seq == 0 && w->result.outcome != DHT_NOT_FOUND;
    }
    if (what != NULL) {
        say(s, what,
            "newest %5.1f %%  older %5.1f %%  \"absent\" %5.1f %%  unsure %5.1f %%  "
            "queries %.1f",
            percent(r.newest, r.n), percent(r.older, r.n), percent(r.absent, r.n),
            percent(r.unsure, r.n), ratio(r.queries, r.n));
    }
    return r;
}

static struct reads read_all(struct siege *s, uint32_t n, int64_t newest,
                             const char *what)
{
    (void)count(s, 0, NULL);
    run(s, 2 * MINUTE_MS, n, read_one);
    run(s, END_MS, 0, NULL);
    return count(s, newest, what);
}

/* Stores a version of all items; the mean of copies. */
static double store_all(struct siege *s, void (*how)(struct siege *))
{
    uint64_t copies = 0, queries = 0;
    (void)count(s, 0, NULL);
    s->next = 0;
    run(s, MINUTE_MS, s->n_items, how);
    run(s, END_MS, 0, NULL);
    for (uint32_t i = s->counted; i < s->n_watches; i++) {
        copies += s->watch[i].result.copies;
        queries += s->watch[i].result.n.asked;
    }
    say(s, "  a put", "says %.1f copies, takes %.1f queries", ratio(copies, s->n_items),
        ratio(queries, s->n_items));
    return ratio(copies, s->n_items);
}

static void say_cost(struct siege *s, enum attack_role role)
{
    struct attack_actor sum = attack_sum(&s->a, role);
    say(s, "attackers sent", "%llu datagrams, %llu bytes", (unsigned long long)sum.sent,
        (unsigned long long)sum.sent_bytes);
}

/* ---- poisoned answers ---- */

static void poison(struct siege *s)
{
    struct dw_sums sums;
    begin(s, ITEMS, VALUE_LEN, 0);
    (void)store_all(s, put_older);
    (void)read_all(s, READS, 1, "reads without attackers");
    attack_corrupt(&s->a, s->o.n, ATTACK_POISONER);
    run(s, 10 * MINUTE_MS, 0, NULL);
    dw_reset(s->w);
    struct reads r = read_all(s, READS, 1, "reads, stored before");
    (void)store_all(s, put_newer);
    struct reads again = read_all(s, READS, 2, "reads, stored meanwhile");
    dw_sums(s->w, &sums);
    const struct attack_actor *v = &s->a.actor[s->victim];
    struct attack_actor liars = attack_sum(&s->a, ATTACK_POISONER);
    double each = ratio(v->received, r.n + again.n + s->n_items);
    double amplified = ratio(v->received_bytes, liars.sent_bytes);
    say_cost(s, ATTACK_POISONER);
    say(s, "to unroutable, local and own addresses", "%llu datagrams",
        (unsigned long long)sums.forbidden);
    say(s, "to the victim they name",
        "%llu datagrams, %.2f a lookup; %.3f of their bytes",
        (unsigned long long)v->received, each, amplified);
    bound(s, liars.sent > 100, "the attackers are hardly asked");
    bound(s, sums.forbidden == 0, "no datagram to a forbidden address");
    bound(s, r.newest >= 0.99 * r.n, "99 % found");
    bound(s, again.newest >= 0.99 * again.n, "99 % of what was stored meanwhile");
    bound(s, each <= 3 && amplified < 0.5, "a victim gets little");
}

/* ---- reflection ---- */

struct reflection {
    enum krpc_method method;
    struct dht_id target;
    uint32_t to[HOLDERS];
    uint32_t victim, per_s;
};

/* Sends queries in the victim's name to all holders; by how much it is amplified. */
static double reflect(struct siege *s, struct reflection *r, uint64_t ms,
                      const char *what)
{
    struct addr from = attack_addr(attack_net(&s->a), 7),
                own = attack_addr(attack_net(&s->a), 9);
    struct dht_id id;
    dht_id_for_addr(&s->a.env, &from, &id);
    r->victim = attack_add(&s->a, ATTACK_VICTIM, &from, &id, 0);
    uint32_t liar = attack_add(&s->a, ATTACK_VICTIM, &own, &id, 0);
    uint64_t begin_ms = dw_now(s->w), sent = 0;
    while (dw_now(s->w) < begin_ms + ms) {
        uint64_t due = r->per_s * (dw_now(s->w) - begin_ms + DW_STEP_MS) / 1000;
        for (; sent < due; sent++) {
            for (uint32_t i = 0; i < HOLDERS; i++) {
                attack_query(&s->a, liar, &from, &id, r->method, &r->target,
                             &dw_host(s->w, r->to[i])->addr);
            }
        }
        dw_step(s->w);
    }
    run(s, END_MS, 0, NULL);
    const struct attack_actor *v = &s->a.actor[r->victim], *l = &s->a.actor[liar];
    double factor = ratio(v->received_bytes, l->sent_bytes);
    say(s, what, "%u a second and node: %llu bytes sent, %llu come: %.2f times", r->per_s,
        (unsigned long long)l->sent_bytes, (unsigned long long)v->received_bytes, factor);
    return factor;
}

static void announce(struct siege *s)
{
    uint32_t host = pick_honest(s), op;
    int rc = dht_announce(dw_host(s->w, host)->d, &s->item[0].target, 0, false,
                          dw_now(s->w), &op);
    assert(rc == 0);
    dw_touch(s->w, host);
}

static void reflection(struct siege *s)
{
    static const struct {
        enum krpc_method method;
        const char *what;
        double fast, slow; /* at most */
    } kinds[] = {
        {KRPC_GET, "get of 1,000 bytes", 1.5, 16},
        {KRPC_GET_PEERS, "get_peers of 60", 1.5, 12},
        {KRPC_FIND_NODE, "find_node", 1, 4},
    };
    begin(s, 1, LARGE_LEN, 0);
    (void)store_all(s, put_older);
    run(s, MINUTE_MS, PEERS, announce);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct reflection r = {.method = kinds[i].method, .target = s->item[0].target};
        (void)attack_closest(&s->a, &r.target, r.to, HOLDERS);
        r.per_s = s->o.n;
        double fast = reflect(s, &r, MINUTE_MS, kinds[i].what);
        r.per_s = 1;
        double slow = reflect(s, &r, MINUTE_MS, kinds[i].what);
        bound(s, fast <= kinds[i].fast, "a quick reflection is not worth it");
        bound(s, slow > 0.5 && slow <= kinds[i].slow, "a slow one has its limit");
    }
}

/* ---- floods ---- */

/* What the one who is flooded has, and how much of it is the flooders'. */
struct state {
    size_t nodes, theirs, items, peers, memory;
};

static bool is_attacker(const struct addr *a)
{
    struct addr first = attack_addr(0, 0), last = attack_addr(attack_nets() - 1, 255);
    return a->ip[0] >= first.ip[0] && a->ip[0] <= last.ip[0];
}

static struct state state_of(struct siege *s, uint32_t host)
{
    const struct dht *d = dw_host(s->w, host)->d;
    struct state st = {.memory = dht_memory(d)};
    struct dht_stats stats;
    struct krpc_node n;
    dht_stats(d, &stats);
    st.items = stats.items;
    st.peers = stats.peers;
    for (size_t pos = 0; dht_next_node(d, &pos, &n);) {
        st.nodes++;
        st.theirs += is_attacker(&n.addr);
    }
    return st;
}

/* One of the hosts near the item asks the one that is flooded for it. */
static void ask_flooded(struct siege *s)
{
    uint32_t host, to = s->next;
    do {
        host = pick_honest(s);
    } while (host == to);
    struct watch *w = watch_new(s, host, 0);
    struct dw_host *h = dw_host(s->w, to);
    struct dht_stats stats;
    dht_stats(h->d, &stats);
    struct krpc_node at = {stats.id[0], h->addr};
    int rc = dht_get_mutable_at(dw_host(s->w, host)->d, &at, s->item[0].key.public_key, 0,
                                dw_now(s->w), &w->op);
    assert(rc == 0);
    dw_touch(s->w, host);
}

/* From so many addresses of one /24; 0: from anywhere, forged. */
static void flood_from(struct siege *s, uint32_t n, uint32_t per_s, uint64_t ms,
                       const char *what)
{
    uint32_t who[254], to = s->next, net = attack_net(&s->a), asked = 0;
    uint64_t begin_ms = dw_now(s->w), sent = 0;
    struct dht_id id;
    (void)count(s, 0, NULL);
    for (uint32_t i = 0; i < (n == 0 ? 1 : n); i++) {
        struct addr a = attack_addr(net, (uint8_t)(1 + i));
        dht_id_random(&s->a.env, &id);
        who[i] = attack_add(&s->a, ATTACK_FLOODER, &a, &id, 0);
    }
    struct state before = state_of(s, to);
    struct attack_actor had = attack_sum(&s->a, ATTACK_FLOODER);
    clock_t cpu = clock();
    while (dw_now(s->w) < begin_ms + ms) {
        uint64_t past = dw_now(s->w) - begin_ms + DW_STEP_MS;
        for (; sent < per_s * past / 1000; sent++) {
            uint32_t one = who[n == 0 ? 0 : sent % n];
            struct addr from = s->a.actor[one].addr;
            if (n == 0) {
                from = attack_addr(attack_net(&s->a), (uint8_t)sent);
            }
            attack_flood(&s->a, one, &from, &dw_host(s->w, to)->addr);
        }
        for (; asked < PINGS * past / ms; asked++) {
            ask_flooded(s);
        }
        dw_step(s->w);
    }
    double cpu_us = (double)(clock() - cpu) / CLOCKS_PER_SEC * 1e6 / (double)sent;
    run(s, END_MS, 0, NULL);
    struct state after = state_of(s, to);
    struct attack_actor has = attack_sum(&s->a, ATTACK_FLOODER);
    struct reads r = count(s, 1, what);
    uint64_t got = has.received_bytes - had.received_bytes;
    say(s, "  the flooder", "%llu queries, %.1f us each; %llu answers of %llu bytes",
        (unsigned long long)sent, cpu_us,
        (unsigned long long)(has.received - had.received), (unsigned long long)got);
    say(s, "  the flooded",
        "%zu of %zu nodes theirs; items %zu to %zu, peers %zu to %zu, "
        "%zu to %zu KiB",
        after.theirs, after.nodes, before.items, after.items, before.peers, after.peers,
        before.memory / 1024, after.memory / 1024);
    bound(s, r.newest >= 0.95 * r.n, "others are answered");
    bound(s, after.theirs <= before.theirs + 16, "the table is not theirs");
    bound(s, after.items <= before.items + SHELF_PART(SHELF_ITEMS_MAX), "nor the shelf");
    bound(s, after.peers <= before.peers + SHELF_PART(SHELF_PEERS_MAX), "nor the peers");
    bound(s, after.memory <= before.memory + (2u << 20), "memory is bounded");
}

static void flood(struct siege *s)
{
    begin(s, 1, LARGE_LEN, 0);
    (void)store_all(s, put_older);
    (void)attack_closest(&s->a, &s->item[0].target, &s->next, 1);
    flood_from(s, 1, s->o.n, FLOOD_MS, "one address");
    run(s, MINUTE_MS, 0, NULL);
    flood_from(s, 254, s->o.n, FLOOD_MS, "254 addresses of a /24");
    run(s, MINUTE_MS, 0, NULL);
    flood_from(s, 0, s->o.n, FLOOD_MS, "forged addresses anywhere");
    run(s, MINUTE_MS, 0, NULL);
    flood_from(s, 254, FILL_PER_S, FILL_MS, "254 addresses within the limits");
    struct state st = state_of(s, s->next);
    bound(s, st.items >= SHELF_PART(SHELF_ITEMS_MAX), "the shelf is put to the test");
}

/* ---- Sybil ids around a target ---- */

static void sybil(struct siege *s)
{
    double radius = s->o.spread ? (double)LOOKUP_K / s->o.nodes : 0;
    begin(s, TARGETS, VALUE_LEN, 0);
    (void)store_all(s, put_older);
    struct reads calm = read_all(s, READS, 1, "reads without attackers");
    for (uint32_t i = 0; i < s->n_items; i++) {
        uint32_t g = attack_group(&s->a, &s->item[i].target);
        attack_surround(&s->a, g, s->o.n, s->o.nets, radius, !s->o.odd);
    }
    run(s, 10 * MINUTE_MS, 0, NULL);
    struct reads r = read_all(s, READS, 1, "reads, stored before");
    (void)store_all(s, put_newer);
    struct reads again = read_all(s, READS, 2, "reads, stored meanwhile");
    say_cost(s, ATTACK_SYBIL);
    bound(s, calm.newest == calm.n, "all is found without attackers");
    bound(s, r.newest >= 0.99 * r.n, "what was stored before is found");
    bound(s, again.newest >= 0.99 * again.n, "what was stored meanwhile is found");
    bound(s, ratio(r.queries, r.n) <= 3 * ratio(calm.queries, calm.n), "it is cheap");
}

/* ---- an eclipse ---- */

static void read_fresh(struct siege *s)
{
    read_at(s, s->o.nodes - 1, s->next++ % s->n_items);
}

static void eclipse(struct siege *s)
{
    uint32_t fresh = s->o.nodes - 1;
    struct dht_stats stats;
    begin(s, ITEMS, VALUE_LEN, 1);
    (void)store_all(s, put_older);
    dw_start(s->w, fresh);
    dht_stats(dw_host(s->w, fresh)->d, &stats);
    uint32_t g = attack_group(&s->a, &stats.id[0]);
    s->a.group[g].near[0] = fresh;
    s->a.group[g].n_near = 1;
    attack_surround(&s->a, g, s->o.n, s->o.nets, 1, !s->o.odd);
    for (uint32_t i = 0; i < HINTED && i < s->o.n; i++) {
        (void)dht_add_hint(dw_host(s->w, fresh)->d,
                           &s->a.actor[s->a.group[g].member[i]].addr, dw_now(s->w));
    }
    dw_touch(s->w, fresh);
    (void)count(s, 0, NULL);
    run(s, MINUTE_MS, FRESH_READS, read_fresh);
    run(s, END_MS, 0, NULL);
    struct reads early = count(s, 1, "reads of the fresh node, first minute");
    run(s, 30 * MINUTE_MS, 0, NULL);
    run(s, MINUTE_MS, FRESH_READS, read_fresh);
    run(s, END_MS, 0, NULL);
    struct reads late = count(s, 1, "… after 30 minutes");
    struct state st = state_of(s, fresh);
    say_cost(s, ATTACK_SYBIL);
    say(s, "of its table", "%zu of %zu nodes are attackers (%.1f %%)", st.theirs,
        st.nodes, percent(st.theirs, st.nodes));
    bound(s, early.newest >= 0.9 * early.n, "it finds things at once");
    bound(s, late.newest >= 0.99 * late.n, "it finds nearly all later");
    bound(s, 2 * st.theirs <= st.nodes, "most of its table is honest");
}

/* ---- forged transaction ids ---- */

static void forged_ids(struct siege *s)
{
    struct dw_sums sums;
    struct addr own = attack_addr(attack_net(&s->a), 9);
    struct dht_id id;
    begin(s, TARGETS, VALUE_LEN, 0);
    (void)store_all(s, put_older);
    dht_id_random(&s->a.env, &id);
    uint32_t liar = attack_add(&s->a, ATTACK_FLOODER, &own, &id, 0);
    (void)count(s, 0, NULL);
    dw_reset(s->w);
    for (uint32_t i = 0; i < READS; i++) {
        uint32_t item = i % s->n_items, near[HOLDERS], host = pick_honest(s);
        (void)attack_closest(&s->a, &s->item[item].target, near, HOLDERS);
        read_at(s, host, item);
        for (uint32_t n = 0; n < s->o.n; n++) {
            const struct addr *from = &dw_host(s->w, near[n % HOLDERS])->addr;
            attack_guess(&s->a, liar, from, &s->item[item].target,
                         &dw_host(s->w, host)->addr);
            if (n % (s->o.n / 50 + 1) == 0) {
                dw_step(s->w);
            }
        }
    }
    run(s, END_MS, 0, NULL);
    dw_sums(s->w, &sums);
    struct reads r = count(s, 1, "reads");
    say(s, "forged answers", "%llu arrived, %llu believed",
        (unsigned long long)sums.forged, (unsigned long long)sums.forged_taken);
    bound(s, sums.forged > 10 * READS, "the forger is busy");
    bound(s, sums.forged_taken == 0, "no forged answer is believed");
    bound(s, r.newest == r.n, "all is found");
}

/* ---- forged values ---- */

static void add_putter(struct siege *s, uint32_t item)
{
    struct addr at;
    struct dht_id id;
    uint32_t who;
    do {
        at = attack_addr(attack_net(&s->a), 9);
    } while (dw_find(s->w, &at, &who));
    dht_id_for_addr(&s->a.env, &at, &id);
    (void)attack_add(&s->a, ATTACK_PUTTER, &at, &id, item);
}

static void read_small(struct siege *s)
{
    read_at(s, pick_honest(s), s->n_items - 1);
}

static void forge(struct siege *s)
{
    begin(s, ITEMS + 1, VALUE_LEN, 0);
    attack_item_small(&s->a, &s->item[ITEMS]);
    s->n_items = ITEMS; /* the last is not stored by anybody honest */
    (void)store_all(s, put_older);
    (void)store_all(s, put_newer);
    attack_corrupt(&s->a, s->o.n, ATTACK_FORGER);
    for (uint32_t i = 0; i <= ITEMS; i++) {
        add_putter(s, i);
    }
    run(s, MINUTE_MS, 0, NULL);
    struct reads r = read_all(s, READS, 2, "reads");
    s->n_items = ITEMS + 1;
    (void)count(s, 0, NULL);
    run(s, MINUTE_MS, 50, read_small);
    run(s, END_MS, 0, NULL);
    struct reads none = count(s, 2, "reads of a key of small order");
    uint64_t taken = s->a.taken[0] + s->a.taken[1] + s->a.taken[2] + s->a.taken[3];
    say_cost(s, ATTACK_FORGER);
    say(s, "puts of forged values", "%llu taken, %llu refused; of older ones %llu taken",
        (unsigned long long)taken, (unsigned long long)s->a.refused,
        (unsigned long long)s->a.taken[4]);
    bound(s, s->a.refused > 1000, "the putters are busy");
    bound(s, taken == 0, "no forged value is stored");
    bound(s, r.newest >= 0.995 * r.n, "the newest is found");
    bound(s, none.newest + none.older == 0, "a key of small order has nothing");
}

/* ---- the table of runs ---- */

struct scenario {
    const char *name, *what;
    uint32_t n;
    void (*run)(struct siege *s);
};

static const struct scenario scenarios[] = {
    {"poison", "per cent of the nodes name nodes where nobody should be asked", 20,
     poison},
    {"reflect", "forged queries a second to each of 8 nodes", 100, reflection},
    {"flood", "queries a second at one node", FLOOD_PER_S, flood},
    {"sybil", "ids around each of 10 targets", 16, sybil},
    {"eclipse", "attackers that a new node begins from and is queried by", 64, eclipse},
    {"tid", "forged answers during each of 400 lookups", 500, forged_ids},
    {"forge", "per cent of the nodes that answer with forged values", 25, forge},
};

static const struct scenario *scenario_of(const char *name)
{
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
        if (strcmp(scenarios[i].name, name) == 0) {
            return &scenarios[i];
        }
    }
    return NULL;
}

void siege_help(void)
{
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
        printf("    %-8s N: %s (%u)\n", scenarios[i].name, scenarios[i].what,
               scenarios[i].n);
    }
}

bool siege_run(const struct siege_options *o)
{
    const struct scenario *sc = scenario_of(o->name);
    struct siege s = {.o = *o};
    if (sc == NULL) {
        return false;
    }
    s.o.n = o->n == 0 ? sc->n : o->n;
    s.o.nets = o->nets == 0 || o->nets > s.o.n ? s.o.n : o->nets;
    printf("%s:%u  %u nodes, seed %llu\n", o->name, s.o.n, o->nodes,
           (unsigned long long)o->seed);
    sc->run(&s);
    say(&s, "values handed out that nobody honest made", "%llu",
        (unsigned long long)s.forged);
    bound(&s, s.forged == 0, "nothing forged is handed out");
    end(&s);
    return !s.failed;
}

/* Not more than half a minute each with sanitizers. */
bool siege_test(const char *name)
{
    static const struct siege_options runs[] = {
        {.name = "poison", .nodes = 300},
        {.name = "reflect", .nodes = 150},
        {.name = "flood", .nodes = 150},
        {.name = "sybil", .nodes = 250, .n = 16},
        {.name = "sybil", .nodes = 250, .n = 32, .nets = 8},
        {.name = "sybil", .nodes = 250, .n = 32, .odd = true},
        {.name = "sybil", .nodes = 250, .n = 16, .spread = true},
        {.name = "eclipse", .nodes = 300, .n = 64},
        {.name = "tid", .nodes = 150, .n = 200},
        {.name = "forge", .nodes = 300},
    };
    bool any = false, ok = true;
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        if (strcmp(runs[i].name, name) == 0) {
            struct siege_options o = runs[i];
            o.seed = 1;
            o.bounds = any = true;
            ok = siege_run(&o) && ok;
        }
    }
    return any && ok;
}
