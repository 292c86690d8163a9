/* How long a node takes from its start to the first answer of its API: on a fresh home
 * (the key, the database and the first keys are made), on an existing one, and on one
 * whose node was killed. The client tries to connect every 1 to 2 ms. */
#include <stdio.h>

#include "bench.h"

enum { RUNS = 40, RUNS_LONG = 200, SECONDS = 240 };

static double start(struct bench_node *n)
{
    double t0 = bench_now();
    bench_spawn(n, NULL);
    bench_await(n);
    return (bench_now() - t0) * 1e3;
}

static void print(const char *what, double *ms, size_t n)
{
    bench_print(bench_percentile(ms, n, 0.5), "ms", "start_%s_median", what);
    bench_print(bench_percentile(ms, n, 1), "ms", "start_%s_worst", what);
}

static void run(struct bench *b)
{
    size_t runs = b->wide ? RUNS_LONG : RUNS;
    double fresh[RUNS_LONG], again[RUNS_LONG], killed[RUNS_LONG];
    struct bench_node n;
    char name[16];
    for (size_t i = 0; i < runs; i++) {
        (void)snprintf(name, sizeof name, "n%zu", i);
        bench_node_init(b, &n, name, "lo");
        fresh[i] = start(&n);
        bench_stop(&n);
        again[i] = start(&n);
        bench_kill(&n);
        killed[i] = start(&n);
        bench_stop(&n);
    }
    bench_print((double)runs, "starts", "start_runs");
    print("fresh", fresh, runs);
    print("existing", again, runs);
    print("killed", killed, runs);
}

int main(int argc, char **argv)
{
    return bench_main(argc, argv, SECONDS, run);
}
