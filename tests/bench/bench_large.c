/* How long a node of 10,000 contacts and 1,000,000 messages takes from its start to the
 * first answer of its API, beside one of an empty home in the same run. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/env.h"
#include "bench.h"
#include "home.h"
#include "store_search.h"
#include "tests/seed.h"
#include "tests/store_make.h"

enum {
    CONTACTS = 10000,
    PER_FEED = 50, /* messages of either side */
    BOX = 256,
    RUNS = 10,
    RUNS_LONG = 50,
    LIMIT_MS = 300,
    SECONDS = 1800,
};

static void must(bool ok, const char *what)
{
    if (!ok) {
        bench_die("failed: %s", what);
    }
}

static void commit(struct store *s, struct txn *t)
{
    struct store_events events = {0};
    const struct txn *one = t;

    must(store_commit(s, &one, 1, &events) == 0, "a commit");
    store_events_release(&events);
    txn_release(t);
    memset(t, 0, sizeof(*t));
}

static void add(struct txn *t, struct rec *r)
{
    must(txn_add(t, r) == 0, "a record");
}

static void write_key(const struct bench_node *n, const struct seed_person *me)
{
    struct home h;
    char why[HOME_WHY_MAX];
    uint8_t bytes[KEYFILE_MAX];
    size_t len;

    must(home_init(&h, n->home, true, why) == 0, "the home");
    must(keyfile_encode(&me->key, env_system(), NULL, 0, bytes, &len) == 0, "the key");
    must(home_write_key(&h, bytes, len) == 0, "the key file");
    home_release(&h);
}

static void open_store(const struct bench_node *n, struct store **s)
{
    char path[BENCH_PATH + 16];

    (void)snprintf(path, sizeof path, "%s/linnet.db", n->home);
    must(store_open(path, s, NULL, 0) == 0, "the database");
}

/* The feed of one side of the conversation with contact c, and its messages. */
static void add_feed(struct txn *t, uint32_t c, bool mine, uint64_t *made)
{
    struct rec r = {.kind = REC_FEED};
    struct rec_feed *f = &r.u.feed;
    uint32_t id = 2 * c - (mine ? 1 : 0);

    f->id = id;
    f->conv = c;
    f->device = mine ? 1 : c + 1;
    f->flags = mine ? FEED_MINE : 0;
    memcpy(f->gen, &id, sizeof id);
    f->head = f->opened = PER_FEED;
    f->head_order = f->opened_order = *made + PER_FEED;
    add(t, &r);
    r = (struct rec){.kind = REC_HAVE, .u.have = {c + 1, id, PER_FEED, PER_FEED, 0}};
    add(t, &r);
    for (uint64_t seq = 1; seq <= PER_FEED; seq++) {
        ++*made;
        make_entry(t, id, seq, BOX, *made, mine);
        make_msg(t, c, id, seq, mine ? 0 : c, *made, *made);
    }
    if (mine) {
        make_state(t, id, 1, PER_FEED, STATE_DELIVERED);
    }
}

static void make_messages(const struct bench_node *n)
{
    struct store *s;
    struct txn t = {0};
    uint64_t made = 0;
    bool more = true;

    open_store(n, &s);
    for (uint32_t c = 1; c <= CONTACTS; c++) {
        add_feed(&t, c, true, &made);
        add_feed(&t, c, false, &made);
        if (c % 20 == 0 || c == CONTACTS) {
            commit(s, &t);
        }
    }
    while (more) {
        must(store_index(s, false, &more) == 0, "the index");
    }
    store_close(s);
    bench_print((double)made, "messages", "large_messages");
}

static void make_home(struct bench_node *n)
{
    struct seed_person *v = calloc(CONTACTS + 1, sizeof *v);
    struct store *s;
    char name[16];

    must(v != NULL, "memory");
    for (int i = 0; i <= CONTACTS; i++) {
        (void)snprintf(name, sizeof name, "n%d", i);
        seed_person(&v[i], env_system(), NULL, name);
    }
    write_key(n, &v[0]);
    open_store(n, &s);
    seed_home(s, v, CONTACTS + 1, 0);
    store_close(s);
    free(v);
    double t0 = bench_now(); /* makes the conversations */
    bench_spawn(n, NULL);
    bench_await(n);
    bench_print((bench_now() - t0) * 1e3, "ms", "large_first_start");
    bench_stop(n);
    make_messages(n);
}

static double start(struct bench_node *n)
{
    double t0 = bench_now();

    bench_spawn(n, NULL);
    bench_await(n);
    return (bench_now() - t0) * 1e3;
}

static void run(struct bench *b)
{
    size_t runs = b->wide ? RUNS_LONG : RUNS;
    double large[RUNS_LONG], small[RUNS_LONG];
    struct bench_node a, n;
    struct bench_usage use;

    bench_node_init(b, &a, "small", "lo");
    bench_node_init(b, &n, "large", "lo");
    make_home(&n);
    (void)start(&a);
    bench_stop(&a);
    for (size_t i = 0; i < runs; i++) {
        small[i] = start(&a);
        bench_stop(&a);
        large[i] = start(&n);
        bench_usage(&n, &use);
        bench_stop(&n);
    }
    bench_print(CONTACTS, "contacts", "large_contacts");
    bench_print((double)runs, "starts", "large_runs");
    bench_print(bench_percentile(small, runs, 0.5), "ms", "large_small_home_median");
    bench_print(bench_percentile(large, runs, 0.5), "ms", "large_start_median");
    bench_print(bench_percentile(large, runs, 1), "ms", "large_start_worst");
    bench_print(LIMIT_MS, "ms", "large_start_limit");
    bench_print((double)use.rss / 1048576, "MiB", "large_memory");
}

int main(int argc, char **argv)
{
    return bench_main(argc, argv, SECONDS, run);
}
