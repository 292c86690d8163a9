/* What the benchmarks of whole nodes share: a scratch folder, a network namespace of
 * their own, nodes as processes, and their API as any client sees it.
 *
 * Every benchmark prints `name: value unit` lines. bench_main gives it a worker process
 * with a time limit; when that ends, for whatever reason, all it started ends and the
 * folders are removed. Failing is bench_die: a benchmark that cannot measure has nothing
 * to return. Exit code 77: namespaces are not permitted here. */
#ifndef LINNET_TESTS_BENCH_H
#define LINNET_TESTS_BENCH_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    BENCH_PATH = 512,
    BENCH_SKIP = 77,
    BENCH_CALL_MS = 20000,
};

struct bench {
    char dir[BENCH_PATH]; /* scratch, on the disk to measure */
    char shm[BENCH_PATH]; /* scratch in memory (/dev/shm) */
    const char *linnet;   /* the program */
    void *zmq;
    bool wide;    /* --long: more repetitions */
    unsigned mib; /* --size: of what is transferred; 0: as the benchmark wants it */
};

/* A node: its home outlives its process. */
struct bench_node {
    struct bench *b;
    char name[16], home[BENCH_PATH];
    pid_t pid;   /* 0: not running */
    pid_t netns; /* the process whose network namespace it is to run in; 0: ours */
    int out;     /* the node's standard output */
    void *api, *events;
    uint64_t next_id;
};

/* args: [--long] [--size MIB] [DIR]; DIR is where homes are made, the working directory
 * by default. */
int bench_main(int argc, char **argv, unsigned seconds, void (*run)(struct bench *));
__attribute__((noreturn, format(printf, 1, 2))) void bench_die(const char *fmt, ...);

/* ---- time and figures ---- */
double bench_now(void); /* seconds, monotonic */
void bench_sleep(double seconds);
__attribute__((format(printf, 3, 4))) void bench_print(double value, const char *unit,
                                                       const char *fmt, ...);
/* Sorts v. */
double bench_percentile(double *v, size_t n, double q);

/* ---- files ---- */
/* With everything in it; what is not there is fine. */
void bench_remove(const char *path);

/* ---- nodes ---- */
/* Makes a home that uses the interface alone. */
void bench_node_init(struct bench *b, struct bench_node *n, const char *name,
                     const char *interface);
/* Further lines for its configuration, before it is started. */
void bench_config(const struct bench_node *n, const char *lines);
/* Starts the process and returns at once. events: topics to subscribe to, NULL ended. */
void bench_spawn(struct bench_node *n, const char *const *topics);
/* Until the API answers. */
void bench_await(struct bench_node *n);
/* Until the first line of its output. */
void bench_await_line(struct bench_node *n);
void bench_stop(struct bench_node *n);
void bench_kill(struct bench_node *n);
/* The result of a request (a new reference); params is taken. */
json_t *bench_call(struct bench_node *n, const char *method, json_t *params);
/* The next event (a new reference); NULL: none within that time. */
json_t *bench_event(struct bench_node *n, int wait_ms);
/* Whether its first contact is linked. */
bool bench_linked(struct bench_node *n);
/* Until the first contact of each is linked. */
void bench_await_link(struct bench_node *a, struct bench_node *b);
/* Two running nodes without contacts: pairs them and waits until they are linked. */
void bench_pair(struct bench_node *a, struct bench_node *b);

/* ---- what the kernel counts ---- */
struct bench_usage {
    double cpu_s;
    uint64_t rss, wakeups; /* bytes; voluntary context switches of all threads */
};
void bench_usage(const struct bench_node *n, struct bench_usage *out);
/* The most memory that was resident since bench_peak_reset, in bytes. */
void bench_peak_reset(const struct bench_node *n);
uint64_t bench_peak(const struct bench_node *n);
/* Bytes and packets sent and received by an interface of this namespace. */
struct bench_traffic {
    uint64_t rx_bytes, rx_packets, tx_bytes, tx_packets;
};
void bench_traffic(const char *interface, struct bench_traffic *out);

/* ---- the disk ---- */
/* Times n commits of one row of 600 bytes, SQLite in WAL with synchronous=FULL. */
void bench_commits(const struct bench *b, double *seconds, size_t n);

#endif
