/* Many DHT nodes on one virtual network: they join, fill their tables, store items, and
 * look them up while hosts come and go and datagrams are lost.
 *
 *   sim_dht                    the runs of ./test: 1,000 nodes, fixed seeds, a fresh one
 *   sim_dht --nodes N [--churn MIN] [--loss PCT] [--readonly PCT] [--dead PCT]
 *           [--part PCT] [--lookups N] [--minutes MIN] [--seed S] [--threads 1|2]
 *   sim_dht --attack NAME[:N] [--nodes N] [--nets N] [--bep42 0|1] [--spread 0|1]
 *           [--loss PCT] [--seed S]
 *   sim_dht --bounds NAME      the runs of ./test with that attack, and what must hold
 *   sim_dht --help
 *
 * --churn is the median of a session, --dead kills that share just before the lookups,
 * --part cuts that share off for two minutes before them, --minutes is the time over
 * which the lookups are spread. One line a run:
 *
 *   found     of the lookups of stored items that ended, how many brought the value
 *   absent    of the lookups of what nobody stored, how many said "not found"
 *   hops      from a node the host knew to the one that had the value: mean, most
 *   queries   of a lookup: mean, 99 of 100
 *   value     when the value came, end: when the lookup ended; ms, half and 99 of 100
 *   copies    of an item when it was stored: mean, fewest
 *   bytes     sent an hour and node in that time, headers included
 *   KiB       of memory a node: as counted, and all of the process
 *   mark      a number over all that happened: the same for the same seed */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <sodium.h>

#include "dht_siege.h"
#include "dht_world.h"

enum {
    ITEMS_MAX = 500,
    VALUE_LEN = 200, /* characters of a value */
    JOIN_MS = 60000,
    JOIN_BIG_MS = 300000, /* of more than BIG hosts */
    BIG = 2000,
    SETTLE_MS = 600000,
    STORE_MS = 20000, /* over which the items are stored */
    PART_MS = 120000,
    DEAD_WINDOW_MS = 60000, /* of lookups, with --dead: before the tables are mended */
    HOUR_MS = 3600000,
    END_MS = 10000,    /* for the last ones to end */
    AGE_MS = 60000,    /* of a host that looks something up */
    ABSENT_EVERY = 10, /* one lookup of so many is of what nobody has stored */
};

struct options {
    uint32_t nodes, lookups, threads;
    double churn_min, loss, read_only, dead, part, minutes;
    uint64_t seed;
    struct siege_options siege; /* name: NULL for none */
    bool test;                  /* … with the bounds of ./test */
};

struct stored {
    bool is_mutable;
    struct dht_id target;
    uint8_t k[ITEM_KEY_LEN];
};

struct look {
    struct look *next;             /* of the same host */
    uint32_t host, life, op, item; /* item ITEMS_MAX: one that is not there */
    uint64_t begun_ms, value_ms, end_ms;
    struct dht_result result;
    uint8_t hops;
    bool found, ended, is_put;
};

struct sim {
    struct options o;
    struct dw *w;
    struct stored item[ITEMS_MAX];
    const struct look *put[ITEMS_MAX];
    uint32_t there[ITEMS_MAX]; /* those whose storing has come to its end */
    uint32_t n_items, n_looks, n_there;
    struct look *look;
    struct look **of_host;
};

struct figures {
    uint32_t looked, found, absent, absent_right, unasked, copies_min;
    double hops, queries, copies;
    uint32_t hops_max, queries_99, value_50, value_99, end_50, end_99;
    double bytes_hour, kib, kib_rss, wall_s, cpu_s;
    uint64_t mark;
};

/* ---- events ---- */

static void on_event(void *ctx, uint32_t host, const struct dht_event *e, uint64_t now_ms)
{
    struct sim *s = ctx;
    struct look *l = s->of_host[host];
    while (l != NULL && (l->op != e->op || l->ended)) {
        l = l->next;
    }
    if (l == NULL) {
        return;
    }
    if (e->type == DHT_VALUE && !l->found) {
        l->found = true;
        l->value_ms = now_ms;
        l->hops = e->u.value.depth;
    } else if (e->type == DHT_DONE) {
        l->ended = true;
        l->end_ms = now_ms;
        l->result = e->u.done;
    }
}

static struct look *look_new(struct sim *s, uint32_t host, uint32_t item)
{
    struct look *l = &s->look[s->n_looks++];
    *l = (struct look){
        .host = host,
        .life = dw_host(s->w, host)->life,
        .item = item,
        .begun_ms = dw_now(s->w),
        .next = s->of_host[host],
    };
    s->of_host[host] = l;
    return l;
}

/* ---- what hosts do ---- */

static void store(struct sim *s)
{
    uint32_t host, i = s->n_items++;
    struct stored *item = &s->item[i];
    uint8_t v[VALUE_LEN + 8], seed[ITEM_SEED_LEN], sig[ITEM_SIG_LEN];
    struct item_key key;
    bool ok = dw_pick(s->w, AGE_MS, false, &host);
    assert(ok);
    struct dw_host *h = dw_host(s->w, host);
    int head = snprintf((char *)v, sizeof v, "%d:", VALUE_LEN);
    for (int n = 0; n < VALUE_LEN; n++) {
        v[head + n] = (uint8_t)('a' + dw_below(s->w, 26));
    }
    for (size_t n = 0; n < sizeof seed; n++) {
        seed[n] = (uint8_t)dw_random(s->w);
    }
    struct item it = {.v = {v, (size_t)head + VALUE_LEN}};
    item->is_mutable = i % 2 == 1;
    if (item->is_mutable) {
        item_key_from_seed(seed, &key);
        memcpy(item->k, key.public_key, sizeof item->k);
        it.k = item->k;
        it.seq = 1;
        it.sig = sig;
        ok = item_sign(&it, &key, sig) == 0;
        assert(ok);
    }
    item_target(&it, &item->target);
    struct look *l = look_new(s, host, i);
    l->is_put = true;
    s->put[i] = l;
    int rc = dht_put(h->d, &it, NULL, true, dw_now(s->w), &l->op);
    assert(rc == 0);
    dw_touch(s->w, host);
}

/* An item lives as long as there is somebody who keeps it, and for an hour at least. */
static bool is_published(const struct sim *s, uint32_t item)
{
    const struct look *l = s->put[item];
    return dw_host(s->w, l->host)->life == l->life || dw_now(s->w) < l->end_ms + HOUR_MS;
}

static void look_up(struct sim *s)
{
    uint32_t host;
    if (!dw_pick(s->w, AGE_MS, false, &host)) {
        return;
    }
    struct dw_host *h = dw_host(s->w, host);
    uint32_t i = s->there[dw_below(s->w, s->n_there)];
    if (!is_published(s, i)) {
        return;
    }
    bool absent = s->n_looks % ABSENT_EVERY == 0;
    struct look *l = look_new(s, host, absent ? ITEMS_MAX : i);
    struct dht_id target = s->item[i].target;
    uint8_t k[ITEM_KEY_LEN];
    memcpy(k, s->item[i].k, sizeof k);
    if (absent) {
        target.b[19] ^= 1;
        k[31] ^= 1;
    }
    int rc = s->item[i].is_mutable
                 ? dht_get_mutable(h->d, k, NULL, 0, false, dw_now(s->w), &l->op)
                 : dht_get(h->d, &target, false, dw_now(s->w), &l->op);
    assert(rc == 0);
    dw_touch(s->w, host);
}

/* A host may have gone before it had stored anything. */
static void count_stored(struct sim *s)
{
    for (uint32_t i = 0; i < s->n_looks; i++) {
        if (s->look[i].ended && s->look[i].result.copies > 0) {
            s->there[s->n_there++] = s->look[i].item;
        }
    }
    assert(s->n_there > 0);
}

/* ---- phases ---- */

/* Runs for ms; meanwhile does something n times, evenly. */
static void run(struct sim *s, uint64_t ms, uint32_t n, void (*what)(struct sim *))
{
    uint64_t begin = dw_now(s->w);
    uint32_t done = 0;
    while (dw_now(s->w) < begin + ms) {
        uint64_t due = (uint64_t)n * (dw_now(s->w) - begin + DW_STEP_MS) / ms;
        for (; done < due && done < n; done++) {
            what(s);
        }
        dw_step(s->w);
    }
}

static void join(struct sim *s)
{
    uint32_t i = 0;
    while (dw_host(s->w, i)->d != NULL) {
        i++;
    }
    dw_start(s->w, i);
}

static void part(struct sim *s, double share, uint8_t name)
{
    for (uint32_t i = 0; i < s->o.nodes * share; i++) {
        dw_host(s->w, dw_below(s->w, s->o.nodes))->part = name;
    }
}

static void kill_some(struct sim *s)
{
    for (uint32_t n = 0; n < s->o.nodes * s->o.dead;) {
        struct dw_host *h = dw_host(s->w, dw_below(s->w, s->o.nodes));
        n += h->silent ? 0 : 1;
        h->silent = true;
    }
}

static void phases(struct sim *s)
{
    uint32_t nodes = s->o.nodes;
    run(s, nodes > BIG ? JOIN_BIG_MS : JOIN_MS, nodes, join);
    run(s, SETTLE_MS, 0, NULL);
    run(s, STORE_MS, s->o.lookups < ITEMS_MAX ? s->o.lookups : ITEMS_MAX, store);
    run(s, END_MS, 0, NULL);
    count_stored(s);
    if (s->o.part > 0) {
        part(s, s->o.part, 1);
        run(s, PART_MS, 0, NULL);
        for (uint32_t i = 0; i < nodes; i++) {
            dw_host(s->w, i)->part = 0;
        }
    }
    kill_some(s);
    dw_reset(s->w);
    double window = s->o.dead > 0 ? DEAD_WINDOW_MS : s->o.minutes * 60000;
    run(s, (uint64_t)window, s->o.lookups, look_up);
    run(s, END_MS, 0, NULL);
}

/* ---- figures ---- */

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint32_t percentile(uint32_t *v, size_t n, double share)
{
    if (n == 0) {
        return 0;
    }
    qsort(v, n, sizeof *v, compare);
    return v[(size_t)((double)(n - 1) * share)];
}

static void count_looks(struct sim *s, struct figures *f)
{
    uint32_t *q = calloc(s->n_looks + 1, sizeof *q),
             *v = calloc(s->n_looks + 1, sizeof *v),
             *e = calloc(s->n_looks + 1, sizeof *e);
    assert(q != NULL && v != NULL && e != NULL);
    double hops = 0, queries = 0;
    for (uint32_t i = 0; i < s->n_looks; i++) {
        const struct look *l = &s->look[i];
        if (l->is_put || !l->ended) {
            continue; /* its host has gone, or the run is over */
        }
        if (l->item == ITEMS_MAX) {
            f->absent++;
            f->absent_right += l->result.outcome == DHT_NOT_FOUND;
            continue;
        }
        q[f->looked] = l->result.n.asked;
        e[f->looked++] = (uint32_t)(l->end_ms - l->begun_ms);
        queries += l->result.n.asked;
        f->unasked += l->result.outcome == DHT_NOT_ASKED;
        if (l->found) {
            v[f->found++] = (uint32_t)(l->value_ms - l->begun_ms);
            hops += l->hops;
            f->hops_max = l->hops > f->hops_max ? l->hops : f->hops_max;
        }
    }
    f->hops = hops / f->found;
    f->queries = queries / f->looked;
    f->queries_99 = percentile(q, f->looked, 0.99);
    f->value_50 = percentile(v, f->found, 0.5);
    f->value_99 = percentile(v, f->found, 0.99);
    f->end_50 = percentile(e, f->looked, 0.5);
    f->end_99 = percentile(e, f->looked, 0.99);
    free(q);
    free(v);
    free(e);
}

static void count_copies(const struct sim *s, struct figures *f)
{
    uint32_t puts = 0;
    f->copies_min = LOOKUP_K;
    for (uint32_t i = 0; i < s->n_looks; i++) {
        const struct look *l = &s->look[i];
        if (l->is_put && l->ended) {
            puts++;
            f->copies += l->result.copies;
            f->copies_min =
                l->result.copies < f->copies_min ? l->result.copies : f->copies_min;
        }
    }
    f->copies /= puts;
}

static double rss_kib(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file != NULL) {
        (void)(fscanf(file, "%*d %ld", &pages) == 1);
        (void)fclose(file);
    }
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1024;
}

static void count_nodes(struct sim *s, struct figures *f)
{
    struct dw_sums sums;
    double memory = 0;
    dw_sums(s->w, &sums);
    double minutes = (s->o.dead > 0 ? DEAD_WINDOW_MS : s->o.minutes * 60000) + END_MS;
    f->bytes_hour = (double)sums.bytes / s->o.nodes * 3600000 / minutes;
    for (uint32_t i = 0; i < s->o.nodes; i++) {
        memory += (double)dht_memory(dw_host(s->w, i)->d);
    }
    f->kib = memory / 1024 / s->o.nodes;
    f->kib_rss = rss_kib() / s->o.nodes;
    f->mark = dw_mark(s->w);
}

static double cpu_s(void)
{
    struct rusage u;
    (void)getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void print_head(void)
{
    printf("%7s %20s %8s %7s %9s %11s %11s %11s %6s %9s %11s %13s  %s\n", "nodes", "seed",
           "found %", "absent", "hops", "queries", "value ms", "end ms", "copies",
           "bytes/h", "KiB/rss", "wall/cpu s", "mark");
}

static void print_figures(const struct options *o, const struct figures *f)
{
    printf("%7u %20llu %8.3f %7.2f %5.2f/%-3u %5.1f/%-5u %5u/%-5u %5u/%-5u %4.1f/%u "
           "%9.0f %5.1f/%-5.1f %6.1f/%-6.1f  %016llx\n",
           o->nodes, (unsigned long long)o->seed, 100.0 * f->found / f->looked,
           f->absent == 0 ? 100.0 : 100.0 * f->absent_right / f->absent, f->hops,
           f->hops_max, f->queries, f->queries_99, f->value_50, f->value_99, f->end_50,
           f->end_99, f->copies, f->copies_min, f->bytes_hour, f->kib, f->kib_rss,
           f->wall_s, f->cpu_s, (unsigned long long)f->mark);
    (void)fflush(stdout);
}

static void simulate(const struct options *o, struct figures *f)
{
    struct sim s = {.o = *o};
    struct timespec begin, end;
    struct dw_config c = {
        .hosts = o->nodes,
        .seed = o->seed,
        .loss = o->loss,
        .read_only = o->read_only,
        .leaf = 1,
        .threads = o->threads == DW_SHARDS,
        .median_ms = o->churn_min * 60000,
        .ctx = &s,
        .on_event = on_event,
    };
    double cpu = cpu_s();
    (void)clock_gettime(CLOCK_MONOTONIC, &begin);
    s.of_host = calloc(o->nodes, sizeof(struct look *));
    s.look = calloc(o->lookups + (size_t)ITEMS_MAX, sizeof *s.look);
    assert(s.of_host != NULL && s.look != NULL);
    s.w = dw_new(&c);
    phases(&s);
    *f = (struct figures){.looked = 0};
    count_looks(&s, f);
    count_copies(&s, f);
    count_nodes(&s, f);
    dw_free(s.w);
    free(s.look);
    free(s.of_host);
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    f->wall_s =
        (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
    f->cpu_s = cpu_s() - cpu;
    print_figures(o, f);
}

/* ---- the runs of ./test ---- */

static void check(bool ok, uint64_t seed, const char *what)
{
    if (!ok) {
        fprintf(stderr, "seed %llu: %s\n", (unsigned long long)seed, what);
        exit(1);
    }
}

static uint64_t fresh_seed(void)
{
    uint32_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed) {
        seed = (uint32_t)getpid();
    }
    return seed;
}

/* What must hold in every run. */
static void check_run(const struct options *o, struct figures *f)
{
    simulate(o, f);
    check(f->looked > o->lookups / 2, o->seed, "hardly any lookup has ended");
    /* Of a thousand, one may have been bad luck: all eight answers lost. */
    check(f->found + 1 >= 0.999 * f->looked, o->seed, "items are not found");
    check(f->queries <= 25, o->seed, "too many queries");
    check(f->value_50 <= 400 && f->value_99 <= 2000, o->seed, "it takes too long");
    check(f->kib <= 24, o->seed, "too much memory");
    check(f->copies >= 7.5, o->seed, "too few copies");
    check(f->absent_right + 1 >= 0.99 * f->absent, o->seed, "absence is not told");
}

static void test(void)
{
    const struct options all = {
        .nodes = 1000,
        .lookups = 1000,
        .churn_min = 60,
        .loss = 0.05,
        .read_only = 0.3,
        .minutes = 5,
        .seed = 1,
    };
    struct options o = all;
    struct figures f, again;
    check_run(&o, &f);
    o.seed = fresh_seed();
    check_run(&o, &f);
    o = all; /* a fifth has just gone */
    o.seed = 2;
    o.churn_min = 0;
    o.dead = 0.2;
    check_run(&o, &f);
    o = all; /* a third was cut off for a while */
    o.seed = 3;
    o.part = 0.3;
    check_run(&o, &f);
    o = all;
    o.seed = 4;
    o.nodes = o.lookups = 150;
    simulate(&o, &f);
    o.threads = DW_SHARDS;
    simulate(&o, &again);
    check(f.mark == again.mark, o.seed, "one seed, two outcomes");
}

/* NAME or NAME:N. */
static bool attack_option(const char *name, char *value, struct options *o)
{
    char *n = strchr(value, ':');
    o->test = strcmp(name, "--bounds") == 0;
    o->siege.name = value;
    if (n != NULL) {
        *n = 0;
        o->siege.n = (uint32_t)strtoul(n + 1, NULL, 10);
    }
    return true;
}

static bool option(const char *name, char *value, struct options *o)
{
    char *end;
    double v = strtod(value, &end);
    if (strcmp(name, "--attack") == 0 || strcmp(name, "--bounds") == 0) {
        return attack_option(name, value, o);
    }
    if (*end != 0 || v < 0) {
        return false;
    }
    if (strcmp(name, "--seed") == 0) {
        o->seed = strtoull(value, NULL, 10);
    } else if (strcmp(name, "--nodes") == 0) {
        o->nodes = (uint32_t)v;
    } else if (strcmp(name, "--lookups") == 0) {
        o->lookups = (uint32_t)v;
    } else if (strcmp(name, "--churn") == 0) {
        o->churn_min = v;
    } else if (strcmp(name, "--loss") == 0) {
        o->loss = v / 100;
    } else if (strcmp(name, "--readonly") == 0) {
        o->read_only = v / 100;
    } else if (strcmp(name, "--dead") == 0) {
        o->dead = v / 100;
    } else if (strcmp(name, "--part") == 0) {
        o->part = v / 100;
    } else if (strcmp(name, "--threads") == 0) {
        o->threads = (uint32_t)v;
    } else if (strcmp(name, "--minutes") == 0) {
        o->minutes = v;
    } else if (strcmp(name, "--nets") == 0) {
        o->siege.nets = (uint32_t)v;
    } else if (strcmp(name, "--bep42") == 0) {
        o->siege.odd = v == 0;
    } else if (strcmp(name, "--spread") == 0) {
        o->siege.spread = v != 0;
    } else {
        return false;
    }
    return true;
}

static int usage(void)
{
    printf("sim_dht                  the runs of ./test\n"
           "sim_dht --nodes N ...    one run; see the head of tests/sim_dht.c\n"
           "sim_dht --bounds NAME    the runs of ./test with that attack\n"
           "sim_dht --attack NAME[:N] [--nodes N] [--nets N] [--bep42 0|1]\n"
           "        [--spread 0|1] [--loss PCT] [--seed S]\n\n");
    siege_help();
    printf("\n--nets     /24s that the attacker of sybil and eclipse has (one each)\n"
           "--bep42 0  their ids do not fit their addresses\n"
           "--spread 1 they stand where honest nodes should, not all at the target\n");
    return 2;
}

int main(int argc, char **argv)
{
    struct options o = {.nodes = 1000, .lookups = 1000, .minutes = 10, .seed = 1};
    struct figures f;
    if (sodium_init() < 0) {
        return 1;
    }
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc || !option(argv[i], argv[i + 1], &o) || o.nodes == 0) {
            return usage();
        }
    }
    if (o.siege.name != NULL) {
        o.siege.nodes = o.nodes;
        o.siege.seed = o.seed;
        o.siege.loss = o.loss;
        return (o.test ? siege_test(o.siege.name) : siege_run(&o.siege)) ? 0 : 1;
    }
    print_head();
    if (argc == 1) {
        test();
    } else {
        simulate(&o, &f);
    }
    return 0;
}
