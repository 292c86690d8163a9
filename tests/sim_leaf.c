/* What an idle leaf costs: whole nodes behind address translation, in a network of DHT
 * nodes that come and go, on a virtual clock. Their contacts are records only, or nodes
 * that come and go, too.
 *
 *   sim_leaf                    the runs of ./test: 2 hours, 300 nodes, 20 contacts;
 *                               a fixed seed; and a fresh one, with 100 nodes
 *   sim_leaf SEED               the first of them with another seed
 *   sim_leaf --hours H [--nodes N] [--churn MIN] [--loss PCT] [--seed S] [--threads 1|2]
 *
 * The table has a column for a leaf with 0, 20 and 100 contacts who are never there, and
 * for one with 20 who come for half an hour and go for one; and a row for each cause of
 * datagrams: bytes in and out in a day, in MB of 10^6, with 28 bytes for IPv4 and UDP.
 * Below it: all with the 48 bytes of IPv6 in their place, datagrams, and how long at most
 * a knock slot was not asked for. Then how long it took from the start of a contact, who
 * can be dialled and was somewhere else before, to a link with the leaf. */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <sodium.h>

#include "leaf_meter.h"
#include "leaf_world.h"

enum {
    MINUTE = 60000,
    HOUR = 60 * MINUTE,
    DAY = 24 * HOUR,
    JOIN_MS = MINUTE,
    SETTLE_MS = 10 * MINUTE,
    LOOK_MS = 100, /* between two looks who is linked */
    IP6_MORE = 20,
    BUDGET = 6000000, /* bytes a day */
    POLL_GAP_S = 70,  /* 66 s, and until a first one that is asked was given up */
    MET_HALF_S = 90,  /* 35 s until it knocks, and 66 until that is seen, at most */
    MET_MOST_S = 200,
    TEST_NODES = 300,
    TEST_NODES_FRESH = 100,

    LEAVES_MAX = 4,
    MANY = 100,
    VISITORS = 20,
    STAY_MS = 30 * MINUTE,
    AWAY_MS = HOUR, /* mean */
    PLACES = 10,    /* where a visitor may be */
    MEETINGS_MAX = 1 << 16,
};

struct options {
    uint32_t nodes, threads;
    double hours, churn_min, loss;
    uint64_t seed;
};

struct leaf {
    const char *name;
    struct lw_person *p;
    struct meter meter;
    struct seed_person *people; /* itself, then its contacts */
    size_t contacts;
};

struct visitor {
    struct lw_person *p;
    uint32_t place;
    uint64_t turn_ms, came_ms;
    bool linked;
};

struct sim {
    struct options o;
    struct dw *dw;
    struct lw w;
    struct leaf leaf[LEAVES_MAX];
    size_t n_leaves;
    struct visitor visitor[VISITORS];
    size_t n_visitors;
    uint32_t met_ms[MEETINGS_MAX];
    size_t n_met, n_missed;
};

/* ---- who is there ---- */

static struct leaf *leaf_new(struct sim *s, const char *name, size_t contacts)
{
    assert(s->n_leaves < LEAVES_MAX && contacts <= MANY);
    struct leaf *l = &s->leaf[s->n_leaves++];
    l->name = name;
    l->contacts = contacts;
    l->p = lw_person(&s->w, true);
    l->people = calloc(contacts + 1, sizeof *l->people);
    assert(l->people != NULL);
    l->people[0] = l->p->who;
    for (size_t i = 1; i <= contacts; i++) {
        char who[16];
        (void)snprintf(who, sizeof who, "c%zu", i);
        seed_person(&l->people[i], &l->p->env, NULL, who);
    }
    return l;
}

/* Its contacts are known by now. */
static void leaf_start(struct sim *s, struct leaf *l)
{
    seed_home(l->p->store, l->people, l->contacts + 1, 0);
    meter_init(&l->meter, &l->p->env, &l->people[0], l->people + 1, l->contacts);
    l->p->meter = meter_datagram;
    l->p->meter_ctx = &l->meter;
    lw_on(l->p, (uint32_t)(l - s->leaf));
}

static void visitors_new(struct sim *s, struct leaf *l)
{
    struct seed_person two[2] = {l->people[0]};
    for (size_t i = 0; i < VISITORS; i++) {
        struct visitor *v = &s->visitor[s->n_visitors++];
        v->p = lw_person(&s->w, false);
        two[1] = l->people[i + 1] = v->p->who;
        seed_home(v->p->store, two, 2, 1);
        v->turn_ms = dw_now(s->dw) + dw_below(s->dw, AWAY_MS);
    }
}

static void leave(struct sim *s, struct visitor *v)
{
    s->n_missed += v->linked ? 0 : 1;
    lw_off(v->p);
    double away = -log(1 - dw_below(s->dw, 1 << 20) / (double)(1 << 20)) * AWAY_MS;
    v->turn_ms = dw_now(s->dw) + 1 + (uint64_t)away;
}

static void come(struct sim *s, struct visitor *v)
{
    uint32_t at = LEAVES_MAX + (uint32_t)(v - s->visitor) * PLACES + v->place;
    v->place = (v->place + 1) % PLACES;
    v->came_ms = dw_now(s->dw);
    v->turn_ms = v->came_ms + STAY_MS;
    v->linked = false;
    lw_on(v->p, at);
}

/* The first device row is its own; contact i of a leaf has row i. */
static void visit(struct sim *s, struct visitor *v, uint32_t contact)
{
    const struct leaf *l = &s->leaf[s->n_leaves - 1];
    if (dw_now(s->dw) >= v->turn_ms) {
        if (v->p->node != NULL) {
            leave(s, v);
        } else {
            come(s, v);
        }
    }
    if (v->p->node != NULL && !v->linked && node_linked(l->p->node, contact) &&
        node_linked(v->p->node, 1)) {
        v->linked = true;
        s->met_ms[s->n_met++] = (uint32_t)(dw_now(s->dw) - v->came_ms);
        assert(s->n_met < MEETINGS_MAX);
    }
}

/* ---- time ---- */

static void join(struct sim *s)
{
    for (uint32_t i = 0; i < s->o.nodes; i++) {
        dw_start(s->dw, i);
        for (uint64_t ms = 0; ms < JOIN_MS / s->o.nodes; ms += DW_STEP_MS) {
            dw_step(s->dw);
        }
    }
    for (uint64_t ms = 0; ms < SETTLE_MS; ms += DW_STEP_MS) {
        dw_step(s->dw);
    }
}

static void run(struct sim *s, double hours)
{
    uint64_t end_ms = dw_now(s->dw) + (uint64_t)(hours * HOUR);
    while (dw_now(s->dw) < end_ms) {
        lw_step(&s->w);
        for (uint32_t i = 0; dw_now(s->dw) % LOOK_MS == 0 && i < s->n_visitors; i++) {
            visit(s, &s->visitor[i], i + 1);
        }
    }
}

/* ---- figures ---- */

static double a_day(const struct sim *s, uint64_t bytes)
{
    return (double)bytes * 24 / s->o.hours;
}

static uint64_t cost(const struct meter_sum *m, uint64_t header)
{
    return m->in_bytes + m->out_bytes + (m->in + m->out) * header;
}

static uint64_t cost_all(const struct leaf *l, uint64_t header)
{
    uint64_t sum = 0;
    for (int i = 0; i < METER_CAUSES; i++) {
        sum += cost(&l->meter.sum[i], header);
    }
    return sum;
}

static void print_row(const struct sim *s, const char *name, uint64_t header)
{
    printf("%-26s", name);
    for (size_t i = 0; i < s->n_leaves; i++) {
        printf(" %20.2f", a_day(s, cost_all(&s->leaf[i], header)) / 1e6);
    }
    printf("\n");
}

static void print_costs(const struct sim *s)
{
    printf("%-26s", "MB a day (of them out)");
    for (size_t i = 0; i < s->n_leaves; i++) {
        printf(" %20s", s->leaf[i].name);
    }
    printf("\n");
    for (int c = 0; c < METER_CAUSES; c++) {
        printf("%-26s", meter_name((enum meter_cause)c));
        for (size_t i = 0; i < s->n_leaves; i++) {
            const struct meter_sum *m = &s->leaf[i].meter.sum[c];
            printf("        %5.2f (%5.2f)", a_day(s, cost(m, DW_IP_HEADERS)) / 1e6,
                   a_day(s, m->out_bytes + m->out * DW_IP_HEADERS) / 1e6);
        }
        printf("\n");
    }
    print_row(s, "in all", DW_IP_HEADERS);
    print_row(s, "the same over IPv6", DW_IP_HEADERS + IP6_MORE);
    printf("%-26s", "queries a day");
    for (size_t i = 0; i < s->n_leaves; i++) {
        uint64_t n = 0;
        for (int c = 0; c < METER_ANSWER; c++) {
            n += s->leaf[i].meter.sum[c].out;
        }
        printf(" %20.0f", a_day(s, n));
    }
    printf("\n%-26s", "a slot not asked for, s");
    for (size_t i = 0; i < s->n_leaves; i++) {
        printf(" %20.1f", (double)s->leaf[i].meter.longest_ms / 1000);
    }
    printf("\n");
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double percentile(const struct sim *s, double share)
{
    return s->met_ms[(size_t)((double)(s->n_met - 1) * share)] / 1000.0;
}

static void print_meetings(struct sim *s)
{
    if (s->n_met == 0) {
        return;
    }
    qsort(s->met_ms, s->n_met, sizeof s->met_ms[0], compare);
    printf(
        "linked after the start of a contact: %zu times, half within %.0f s, 90 of 100 "
        "%.0f s, 99 %.0f s, all %.0f s; %zu left unlinked\n",
        s->n_met, percentile(s, 0.5), percentile(s, 0.9), percentile(s, 0.99),
        percentile(s, 1), s->n_missed);
}

/* ---- runs ---- */

static void sim_begin(struct sim *s, const struct options *o)
{
    struct dw_config c = {
        .hosts = o->nodes,
        .seed = o->seed,
        .loss = o->loss,
        .read_only = 0.3,
        .leaf = 1,
        .threads = o->threads == DW_SHARDS,
        .median_ms = o->churn_min * MINUTE,
    };
    s->o = *o;
    s->dw = dw_new(&c);
    join(s);
    lw_init(&s->w, s->dw);
}

static void sim_end(struct sim *s)
{
    (void)fflush(stdout);
    lw_release(&s->w);
    dw_free(s->dw);
    for (size_t i = 0; i < s->n_leaves; i++) {
        meter_release(&s->leaf[i].meter);
        sodium_memzero(s->leaf[i].people,
                       (s->leaf[i].contacts + 1) * sizeof *s->leaf[i].people);
        free(s->leaf[i].people);
    }
    free(s);
}

static void day(const struct options *o)
{
    struct sim *s = calloc(1, sizeof *s);
    assert(s != NULL);
    sim_begin(s, o);
    leaf_start(s, leaf_new(s, "0 contacts", 0));
    leaf_start(s, leaf_new(s, "20 contacts", 20));
    leaf_start(s, leaf_new(s, "100 contacts", MANY));
    struct leaf *l = leaf_new(s, "20 who come and go", VISITORS);
    visitors_new(s, l);
    leaf_start(s, l);
    run(s, o->hours);
    print_costs(s);
    print_meetings(s);
    sim_end(s);
}

/* ---- the run of ./test ---- */

static void check(bool ok, const struct options *o, const char *what, double is,
                  double limit)
{
    printf("%s: %.2f (%.2f)\n", what, is, limit);
    if (!ok) {
        fprintf(stderr, "seed %llu: %s\n", (unsigned long long)o->seed, what);
        exit(1);
    }
}

/* A day is its first hour and 23 like the second: what is done once, is done in the
 * first. */
static void test(struct options o)
{
    o.hours = 2;
    struct sim *s = calloc(1, sizeof *s);
    assert(s != NULL);
    sim_begin(s, &o);
    struct leaf *idle = leaf_new(s, "20 contacts", VISITORS);
    leaf_start(s, idle);
    struct leaf *met = leaf_new(s, "20 who come and go", VISITORS);
    visitors_new(s, met);
    leaf_start(s, met);
    run(s, 1);
    double first = (double)cost_all(idle, DW_IP_HEADERS);
    run(s, 1);
    double second = (double)cost_all(idle, DW_IP_HEADERS) - first;
    printf("seed %llu\n", (unsigned long long)o.seed);
    print_costs(s);
    print_meetings(s);
    double day = (first + 23 * second) / 1e6, gap = (double)idle->meter.longest_ms / 1000;
    check(day <= BUDGET / 1e6, &o, "MB a day of an idle leaf", day, BUDGET / 1e6);
    check(gap <= POLL_GAP_S, &o, "s at most without asking for a slot", gap, POLL_GAP_S);
    check(s->n_met >= VISITORS / 2, &o, "meetings", (double)s->n_met, VISITORS / 2);
    check(s->n_missed == 0, &o, "contacts who came and were not met", (double)s->n_missed,
          0);
    check(percentile(s, 0.5) <= MET_HALF_S, &o, "s until half are linked",
          percentile(s, 0.5), MET_HALF_S);
    check(percentile(s, 0.9) <= MET_MOST_S, &o, "s until 9 of 10 are linked",
          percentile(s, 0.9), MET_MOST_S);
    sim_end(s);
}

static uint64_t fresh_seed(void)
{
    uint32_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed) {
        seed = 3;
    }
    return seed;
}

static bool option(const char *name, const char *value, struct options *o)
{
    char *end;
    double v = strtod(value, &end);
    if (*end != 0 || v < 0) {
        return false;
    }
    if (strcmp(name, "--seed") == 0) {
        o->seed = strtoull(value, NULL, 10);
    } else if (strcmp(name, "--nodes") == 0) {
        o->nodes = (uint32_t)v;
    } else if (strcmp(name, "--hours") == 0) {
        o->hours = v;
    } else if (strcmp(name, "--churn") == 0) {
        o->churn_min = v;
    } else if (strcmp(name, "--loss") == 0) {
        o->loss = v / 100;
    } else if (strcmp(name, "--threads") == 0) {
        o->threads = (uint32_t)v;
    } else {
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    struct options o = {
        .nodes = 1000, .hours = 24, .churn_min = 60, .loss = 0.05, .seed = 1};
    if (sodium_init() < 0) {
        return 1;
    }
    if (argc == 2 && strspn(argv[1], "0123456789") == strlen(argv[1])) {
        o.nodes = TEST_NODES;
        o.seed = strtoull(argv[1], NULL, 10);
        test(o);
        return 0;
    }
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc || !option(argv[i], argv[i + 1], &o) || o.nodes == 0 ||
            o.hours <= 0) {
            fprintf(stderr, "see the head of tests/sim_leaf.c\n");
            return 2;
        }
    }
    if (argc > 1) {
        day(&o);
        return 0;
    }
    o.nodes = TEST_NODES;
    test(o);
    o.nodes = TEST_NODES_FRESH;
    o.seed = fresh_seed();
    test(o);
    return 0;
}
