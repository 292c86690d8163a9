/* Live typing between two nodes on one machine over loopback, each driven by a client of
 * its API (ZeroMQ): from the request `typing` at one node to the event `presence` with
 * that text at the other.
 *
 *   single keys   one each KEY_MS, so that no update went out within the last 200 ms
 *   typing        KEYS_PER_S keys a second without a pause: the node tells the first at
 *                 once and then, each 200 ms, what has come meanwhile. A key counts from
 *                 its request until the first event whose text has it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "bench.h"

enum {
    SECONDS = 280,
    KEYS = 300,
    KEYS_LONG = 800,
    KEY_MS = 230,
    TYPED = 500,
    TYPED_LONG = 1000,
    STALL_MS = 20000,
    FRAME = 2048,
};
static const double per_s = 10;

/* The draft after so many keys is told as its number. */
static void press(struct bench_node *n, const char *to, size_t key)
{
    char q[256];
    int len = snprintf(q, sizeof q,
                       "{\"id\":%llu,\"method\":\"typing\",\"params\":{\"to\":\"%s\","
                       "\"text\":\"key %zu\"}}",
                       (unsigned long long)++n->next_id, to, key);
    if (zmq_send(n->api, q, (size_t)len, 0) < 0) {
        bench_die("typing: %s", zmq_strerror(errno));
    }
}

static void check_answers(struct bench_node *n)
{
    char p[FRAME];
    int len;
    while ((len = zmq_recv(n->api, p, sizeof p - 1, ZMQ_DONTWAIT)) >= 0) {
        p[len < FRAME - 1 ? len : FRAME - 1] = '\0';
        if (strstr(p, "\"live\":true") == NULL) {
            bench_die("%s: %s", n->name, p);
        }
    }
}

/* The newest draft that has come, or 0: none. Counts them. */
static size_t hear(struct bench_node *n, size_t *updates)
{
    char p[FRAME];
    size_t newest = 0;
    int len;
    while ((len = zmq_recv(n->events, p, sizeof p - 1, ZMQ_DONTWAIT)) >= 0) {
        p[len < FRAME - 1 ? len : FRAME - 1] = '\0';
        const char *at = strstr(p, "\"text\":\"key ");
        if (at != NULL) {
            newest = strtoul(at + strlen("\"text\":\"key "), NULL, 10);
            (*updates)++;
        }
    }
    return newest;
}

static bool wait_event(struct bench_node *n, double seconds)
{
    zmq_pollitem_t item = {.socket = n->events, .events = ZMQ_POLLIN};
    long ms = seconds > 0 ? (long)(seconds * 1e3) : 0;
    return zmq_poll(&item, 1, ms) > 0;
}

static void single_keys(struct bench_node v[2], size_t n)
{
    double *s = calloc(n, sizeof *s);
    size_t updates = 0;
    if (s == NULL) {
        bench_die("no memory");
    }
    for (size_t i = 0; i < n; i++) {
        bench_sleep(KEY_MS / 1e3);
        double t0 = bench_now();
        press(&v[0], "bob", i + 1);
        while (hear(&v[1], &updates) != i + 1) {
            if (!wait_event(&v[1], STALL_MS / 1e3)) {
                bench_die("key %zu was not seen", i);
            }
        }
        s[i] = bench_now() - t0;
        check_answers(&v[0]);
    }
    bench_print((double)n, "keys", "live_key_count");
    bench_print(bench_percentile(s, n, 0.5) * 1e3, "ms", "live_key_p50");
    bench_print(bench_percentile(s, n, 0.99) * 1e3, "ms", "live_key_p99");
    bench_print(s[n - 1] * 1e3, "ms", "live_key_worst");
    free(s);
}

struct typed {
    double *at, *took; /* of each key */
    size_t n, seen, updates;
    double first, last, least_gap; /* of updates */
};

static void see(struct typed *t, struct bench_node *n)
{
    size_t before = t->updates, newest = hear(n, &t->updates);
    double now = bench_now();
    if (t->updates == before || newest <= t->n) {
        return;
    }
    if (before > 0 && now - t->last < t->least_gap) {
        t->least_gap = now - t->last;
    }
    t->first = before == 0 ? now : t->first;
    t->last = now;
    for (; t->seen < newest - t->n; t->seen++) {
        t->took[t->seen] = now - t->at[t->seen];
    }
}

/* Numbers above those of before, so that what is left of them is not counted. */
static void typing(struct bench_node v[2], size_t n)
{
    struct typed t = {.n = 1000000, .least_gap = 1e9};
    t.at = calloc(2 * n, sizeof *t.at);
    if (t.at == NULL) {
        bench_die("no memory");
    }
    t.took = t.at + n;
    double start = bench_now();
    for (size_t i = 0; i < n; i++) {
        double due = start + (double)i / per_s, left;
        while ((left = due - bench_now()) > 0) {
            if (left > 2e-3 && wait_event(&v[1], left - 1e-3)) {
                see(&t, &v[1]);
            } else if (left <= 2e-3) {
                bench_sleep(left);
            }
        }
        t.at[i] = bench_now();
        press(&v[0], "bob", t.n + i + 1);
        check_answers(&v[0]);
    }
    while (t.seen < n) {
        if (!wait_event(&v[1], STALL_MS / 1e3)) {
            bench_die("%zu of %zu keys were seen", t.seen, n);
        }
        see(&t, &v[1]);
    }
    bench_print(per_s, "keys/s", "live_typing_speed");
    bench_print(bench_percentile(t.took, n, 0.5) * 1e3, "ms", "live_typing_p50");
    bench_print(bench_percentile(t.took, n, 0.99) * 1e3, "ms", "live_typing_p99");
    bench_print((double)(t.updates - 1) / (t.last - t.first), "updates/s",
                "live_typing_rate");
    bench_print(t.least_gap * 1e3, "ms", "live_typing_least_gap");
    free(t.at);
}

static void want_live(struct bench_node *n, const char *name)
{
    json_decref(bench_call(n, "live", json_pack("{s:s,s:b}", "name", name, "on", 1)));
}

static bool is_live(struct bench_node *n)
{
    json_t *o = bench_call(n, "contacts", NULL);
    const json_t *k = json_array_get(json_object_get(o, "contacts"), 0);
    const json_t *live = json_object_get(k, "live");
    bool both = json_is_true(json_object_get(live, "ours")) &&
                json_is_true(json_object_get(live, "theirs"));
    json_decref(o);
    return both;
}

static void run(struct bench *b)
{
    static const char *const presence[] = {"presence", NULL};
    struct bench_node v[2];
    bench_node_init(b, &v[0], "ann", "lo");
    bench_node_init(b, &v[1], "bob", "lo");
    for (int i = 0; i < 2; i++) {
        bench_spawn(&v[i], presence);
        bench_await(&v[i]);
    }
    bench_pair(&v[0], &v[1]);
    want_live(&v[0], "bob");
    want_live(&v[1], "ann");
    for (double until = bench_now() + STALL_MS / 1e3;
         !is_live(&v[0]) || !is_live(&v[1]);) {
        if (bench_now() > until) {
            bench_die("live typing does not begin");
        }
        bench_sleep(0.01);
    }
    single_keys(v, b->wide ? KEYS_LONG : KEYS);
    bench_sleep(KEY_MS / 1e3);
    typing(v, b->wide ? TYPED_LONG : TYPED);
    bench_stop(&v[0]);
    bench_stop(&v[1]);
}

int main(int argc, char **argv)
{
    return bench_main(argc, argv, SECONDS, run);
}
