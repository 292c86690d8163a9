/* What an idle node costs: two linked contacts, each in a network namespace of its own,
 * with a veth pair between them (IPv4 and IPv6, as on a LAN). Resident memory after
 * SETTLE_S; then, over IDLE_S (two beacon intervals), all bytes on the wire in both
 * directions, CPU time and wake-ups. */
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bench.h"

enum { SETTLE_S = 10, IDLE_S = 140, IDLE_LONG_S = 600, SECONDS = 700 };

/* A process that does nothing but hold a network namespace. */
static pid_t make_network(void)
{
    int ready[2];
    char c = 0;
    if (pipe(ready) != 0) {
        bench_die("pipe");
    }
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (unshare(CLONE_NEWNET) != 0 || write(ready[1], &c, 1) != 1) {
            _exit(1);
        }
        for (;;) {
            (void)pause();
        }
    }
    (void)close(ready[1]);
    if (pid < 0 || read(ready[0], &c, 1) != 1) {
        bench_die("the second network namespace cannot be made");
    }
    (void)close(ready[0]);
    return pid;
}

static void shell(const char *fmt, int pid)
{
    char line[256];
    (void)snprintf(line, sizeof line, fmt, pid);
    if (system(line) != 0) {
        bench_die("failed: %s", line);
    }
}

static void connect_networks(int pid)
{
    shell("ip link add va type veth peer name vb netns %d", pid);
    shell("ip addr add 10.9.9.1/24 dev va && ip link set va up", 0);
    shell(
        "nsenter -t %d -n sh -c 'ip link set lo up && ip addr add 10.9.9.2/24 dev vb && "
        "ip link set vb up'",
        pid);
    bench_sleep(3); /* addresses that are tentative at first */
}

struct sample {
    double at;
    struct bench_usage usage[2];
    struct bench_traffic traffic;
};

static void take(const struct bench_node v[2], struct sample *s)
{
    s->at = bench_now();
    bench_usage(&v[0], &s->usage[0]);
    bench_usage(&v[1], &s->usage[1]);
    bench_traffic("va", &s->traffic);
}

static double worse(double a, double b)
{
    return a > b ? a : b;
}

static void print(const struct sample *from, const struct sample *to)
{
    double s = to->at - from->at, cpu[2], wake[2];
    for (int i = 0; i < 2; i++) {
        cpu[i] = 100 * (to->usage[i].cpu_s - from->usage[i].cpu_s) / s;
        wake[i] = (double)(to->usage[i].wakeups - from->usage[i].wakeups) / s;
    }
    double sent = (double)(to->traffic.tx_bytes - from->traffic.tx_bytes);
    double received = (double)(to->traffic.rx_bytes - from->traffic.rx_bytes);
    uint64_t packets = to->traffic.tx_packets - from->traffic.tx_packets +
                       to->traffic.rx_packets - from->traffic.rx_packets;
    bench_print(s, "s", "idle_time");
    bench_print((sent + received) / s, "B/s", "idle_wire_both_directions");
    bench_print(sent / s, "B/s", "idle_wire_sent");
    bench_print(received / s, "B/s", "idle_wire_received");
    bench_print((double)packets, "packets", "idle_wire_packets");
    bench_print(worse(cpu[0], cpu[1]), "%", "idle_cpu_worse_node");
    bench_print(worse(wake[0], wake[1]), "/s", "idle_wakeups_worse_node");
}

static void run(struct bench *b)
{
    struct bench_node v[2];
    struct sample start, end;
    pid_t other = make_network();
    connect_networks((int)other);
    bench_node_init(b, &v[0], "ann", "va");
    bench_node_init(b, &v[1], "bob", "vb");
    v[1].netns = other;
    for (int i = 0; i < 2; i++) {
        bench_spawn(&v[i], NULL);
        bench_await(&v[i]);
    }
    bench_pair(&v[0], &v[1]);
    bench_sleep(SETTLE_S);
    take(v, &start);
    bench_print(worse((double)start.usage[0].rss, (double)start.usage[1].rss) / 1048576,
                "MiB", "idle_rss_after_pairing");
    bench_sleep(b->wide ? IDLE_LONG_S : IDLE_S);
    take(v, &end);
    print(&start, &end);
    if (!bench_linked(&v[0]) || !bench_linked(&v[1])) {
        bench_die("the link did not last");
    }
    bench_stop(&v[0]);
    bench_stop(&v[1]);
    /* The usual state: a node that has started and found its contact. */
    for (int i = 0; i < 2; i++) {
        bench_spawn(&v[i], NULL);
        bench_await(&v[i]);
    }
    while (!bench_linked(&v[0]) || !bench_linked(&v[1])) {
        bench_sleep(0.1);
    }
    bench_sleep(SETTLE_S);
    take(v, &end);
    bench_print(worse((double)end.usage[0].rss, (double)end.usage[1].rss) / 1048576,
                "MiB", "idle_rss_after_start");
    bench_stop(&v[0]);
    bench_stop(&v[1]);
}

int main(int argc, char **argv)
{
    return bench_main(argc, argv, SECONDS, run);
}
