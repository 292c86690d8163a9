/* How long two contacts on one LAN take to find each other and link, when one of them
 * starts: 100 starts on a loopback interface that loses nothing. The time runs from the
 * node's own line `ready`, printed when its sockets are bound and before its loop turns
 * (and, as an upper bound, from the start of the process), until both say `linked`. */
#include "bench.h"

/* Nodes take a limited number of beacons a second from one address, and a node's start
 * sends a handful: starts that follow at once would measure that limit. */
#define PACE_S 1.3

enum { STARTS = 100, STARTS_LONG = 500, SECONDS = 1000, LIMIT_S = 20 };

static void both_linked(struct bench_node *a, struct bench_node *b, double since)
{
    while (!bench_linked(b) || !bench_linked(a)) {
        if (bench_now() > since + LIMIT_S) {
            bench_die("not linked after %d s", LIMIT_S);
        }
        bench_sleep(0.001);
    }
}

static void none_linked(struct bench_node *a)
{
    while (bench_linked(a)) {
        bench_sleep(0.002);
    }
}

static void print(const char *what, double *ms, size_t n)
{
    bench_print(bench_percentile(ms, n, 0.5), "ms", "linked_%s_median", what);
    bench_print(bench_percentile(ms, n, 0.99), "ms", "linked_%s_p99", what);
    bench_print(bench_percentile(ms, n, 1), "ms", "linked_%s_worst", what);
}

static void run(struct bench *b)
{
    size_t starts = b->wide ? STARTS_LONG : STARTS;
    double bound[STARTS_LONG], whole[STARTS_LONG];
    struct bench_node ann, bob;
    bench_node_init(b, &ann, "ann", "lo");
    bench_node_init(b, &bob, "bob", "lo");
    bench_spawn(&ann, NULL);
    bench_spawn(&bob, NULL);
    bench_await(&ann);
    bench_await(&bob);
    bench_pair(&ann, &bob);
    for (size_t i = 0; i < starts; i++) {
        bench_stop(&bob);
        none_linked(&ann);
        bench_sleep(PACE_S);
        double t0 = bench_now();
        bench_spawn(&bob, NULL);
        bench_await_line(&bob);
        double t1 = bench_now();
        both_linked(&ann, &bob, t1);
        double t2 = bench_now();
        bound[i] = (t2 - t1) * 1e3;
        whole[i] = (t2 - t0) * 1e3;
    }
    bench_stop(&bob);
    bench_stop(&ann);
    bench_print((double)starts, "starts", "linked_runs");
    print("from_bound", bound, starts);
    print("from_exec", whole, starts);
}

int main(int argc, char **argv)
{
    return bench_main(argc, argv, SECONDS, run);
}
