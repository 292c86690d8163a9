/* Messages between two bots, each a client of its own node's API (ZeroMQ), both nodes on
 * one machine over loopback, their homes on one disk:
 *
 *   round trip   a bot sends a text, the other bot sees the event and answers with a
 * text, until the first bot sees that event. Each text is committed with FULL by its
 * author's node before it leaves and by the other before it is told: so four commits in a
 * row. Beside it: single commits on that disk, and the same round trip bare (TCP, AEAD,
 * commits; bare.h). rate         texts of 100 bytes, as many requests under way as the
 * API lets in, until the last is told at the far end and `delivered` at the near one. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "bare.h"
#include "bench.h"

enum {
    SECONDS = 280,
    BLOCK = 100,
    BLOCKS = 20,
    BLOCKS_LONG = 100,
    PACE_MS = 5,
    MESSAGES = 100000,
    MESSAGES_LONG = 400000,
    BARE = 400000,
    UNANSWERED = 2048,
    TURN = 512, /* frames read before other sockets get their turn */
    STALL_MS = 20000,
};

static void say(struct bench_node *n, const char *to, const char *text)
{
    char q[512];
    int len = snprintf(q, sizeof q,
                       "{\"id\":%llu,\"method\":\"send\",\"params\":{\"to\":\"%s\","
                       "\"text\":\"%s\"}}",
                       (unsigned long long)++n->next_id, to, text);
    if (zmq_send(n->api, q, (size_t)len, 0) < 0) {
        bench_die("send: %s", zmq_strerror(errno));
    }
}

/* Counts events whose JSON has the words; all when words is NULL. Reads at most TURN. */
static size_t count(void *socket, const char *words)
{
    size_t found = 0;
    for (int i = 0; i < TURN; i++) {
        zmq_msg_t m;
        (void)zmq_msg_init(&m);
        if (zmq_msg_recv(&m, socket, ZMQ_DONTWAIT) < 0) {
            (void)zmq_msg_close(&m);
            break;
        }
        const void *p = zmq_msg_data(&m);
        size_t len = zmq_msg_size(&m);
        if (words == NULL || memmem(p, len, words, strlen(words)) != NULL) {
            found++;
        }
        (void)zmq_msg_close(&m);
    }
    return found;
}

static void check_answers(struct bench_node *n)
{
    for (;;) {
        char p[1024];
        int len = zmq_recv(n->api, p, sizeof p, ZMQ_DONTWAIT);
        if (len < 0) {
            return;
        }
        size_t used = (size_t)len < sizeof p ? (size_t)len : sizeof p;
        if (memmem(p, used, "\"result\"", 8) == NULL) {
            bench_die("%s: %.*s", n->name, (int)used, p);
        }
    }
}

/* ---- round trip ---- */

/* Waits for another's message in n's events. */
static void hear(struct bench_node *n)
{
    zmq_pollitem_t item = {.socket = n->events, .events = ZMQ_POLLIN};
    while (count(n->events, "\"mine\":false") == 0) {
        if (zmq_poll(&item, 1, STALL_MS) <= 0) {
            bench_die("%s heard nothing", n->name);
        }
    }
}

static void trips(struct bench_node v[2], double *s, size_t n, unsigned pace_ms)
{
    for (size_t i = 0; i < n; i++) {
        if (pace_ms > 0) {
            bench_sleep(pace_ms / 1e3);
        }
        (void)count(v[0].events, NULL);
        double t0 = bench_now();
        say(&v[0], "bob", "ping");
        hear(&v[1]);
        say(&v[1], "ann", "pong");
        hear(&v[0]);
        s[i] = bench_now() - t0;
        check_answers(&v[0]);
        check_answers(&v[1]);
    }
}

static void print_trips(const char *name, double *s, size_t n, double commit)
{
    double median = bench_percentile(s, n, 0.5), p99 = bench_percentile(s, n, 0.99);
    bench_print(median * 1e3, "ms", "%s_median", name);
    bench_print(p99 * 1e3, "ms", "%s_p99", name);
    bench_print((median - 4 * commit) * 1e3, "ms", "%s_median_less_4_commits", name);
    bench_print(p99 / (4 * commit + 0.3e-3), "x", "%s_p99_over_4_commits_and_0.3_ms",
                name);
}

/* All kinds in turn, block by block, so that a busy disk weighs on all of them alike. */
static void round_trips(struct bench *b, struct bench_node v[2])
{
    size_t blocks = b->wide ? BLOCKS_LONG : BLOCKS, n = blocks * BLOCK;
    double *s = calloc(4 * n, sizeof *s), *paced = s + n, *bare = s + 2 * n;
    double *commits = s + 3 * n;
    if (s == NULL) {
        bench_die("no memory");
    }
    trips(v, s, BLOCK, 0); /* warm */
    for (size_t i = 0; i < n; i += BLOCK) {
        bench_commits(b, commits + i, BLOCK);
        trips(v, s + i, BLOCK, 0);
        trips(v, paced + i, BLOCK, PACE_MS);
        bare_round_trips(b, bare + i, BLOCK);
    }
    double commit = bench_percentile(commits, n, 0.5);
    bench_print(commit * 1e6, "us", "commit_median");
    bench_print(bench_percentile(commits, n, 0.99) * 1e6, "us", "commit_p99");
    print_trips("round_trip", s, n, commit);
    print_trips("round_trip_paced", paced, n, commit);
    print_trips("bare_round_trip", bare, n, commit);
    bench_print(bench_percentile(s, n, 0.5) / bench_percentile(bare, n, 0.5), "x",
                "round_trip_over_bare");
    free(s);
}

/* ---- rate ---- */

static void text_of(char out[101], size_t i)
{
    (void)snprintf(out, 101, "%-100zu", i);
}

/* Sends all and returns when the last is heard at the far end and delivered. */
static void pour(struct bench_node v[2], size_t n)
{
    size_t sent = 0, answered = 0, delivered = 0, heard = 0;
    char text[101];
    zmq_pollitem_t items[] = {{.socket = v[0].api, .events = ZMQ_POLLIN},
                              {.socket = v[0].events, .events = ZMQ_POLLIN},
                              {.socket = v[1].events, .events = ZMQ_POLLIN}};
    while (delivered < n || heard < n) {
        for (int i = 0; i < TURN && sent < n && sent - answered < UNANSWERED; i++) {
            text_of(text, sent++);
            say(&v[0], "bob", text);
        }
        size_t got = count(v[0].api, "\"result\"");
        size_t done = count(v[0].events, "\"state\":\"delivered\"");
        size_t far = count(v[1].events, "\"mine\":false");
        answered += got;
        delivered += done;
        heard += far;
        if (got + done + far == 0 && zmq_poll(items, 3, STALL_MS) <= 0) {
            bench_die("stalled: %zu sent, %zu answered, %zu heard, %zu delivered", sent,
                      answered, heard, delivered);
        }
    }
}

static void restart(struct bench_node *n, const char *topic)
{
    const char *topics[] = {topic, NULL};
    bench_stop(n);
    bench_spawn(n, topics);
    bench_await(n);
}

static void rate(struct bench *b, struct bench_node v[2])
{
    size_t n = b->wide ? MESSAGES_LONG : MESSAGES;
    struct bench_usage from[2], to[2];
    double median, bare = bare_rate(b, BARE), all[3];
    restart(&v[0], "state");
    restart(&v[1], "message");
    bench_await_link(&v[0], &v[1]);
    pour(v, 1000); /* warm */
    bench_usage(&v[0], &from[0]);
    bench_usage(&v[1], &from[1]);
    for (size_t i = 0; i < 3; i++) {
        double t0 = bench_now();
        pour(v, n);
        all[i] = (double)n / (bench_now() - t0);
        bench_print(all[i], "messages/s", "rate_run_%zu", i + 1);
    }
    bench_usage(&v[0], &to[0]);
    bench_usage(&v[1], &to[1]);
    median = bench_percentile(all, 3, 0.5);
    bench_print(median, "messages/s", "rate");
    bench_print((to[0].cpu_s - from[0].cpu_s) * 1e6 / (3 * (double)n), "us/message",
                "rate_cpu_sender");
    bench_print((to[1].cpu_s - from[1].cpu_s) * 1e6 / (3 * (double)n), "us/message",
                "rate_cpu_receiver");
    bench_print((double)to[0].rss / 1048576, "MiB", "rate_rss_sender");
    bench_print((double)to[1].rss / 1048576, "MiB", "rate_rss_receiver");
    bench_print(bare, "messages/s", "bare_rate");
    bench_print(median / bare, "x", "rate_over_bare");
}

static void run(struct bench *b)
{
    static const char *const messages[] = {"message", NULL};
    struct bench_node v[2];
    bench_node_init(b, &v[0], "ann", "lo");
    bench_node_init(b, &v[1], "bob", "lo");
    for (int i = 0; i < 2; i++) {
        bench_spawn(&v[i], messages);
        bench_await(&v[i]);
    }
    bench_pair(&v[0], &v[1]);
    round_trips(b, v);
    rate(b, v);
    bench_stop(&v[0]);
    bench_stop(&v[1]);
}

int main(int argc, char **argv)
{
    return bench_main(argc, argv, SECONDS, run);
}
