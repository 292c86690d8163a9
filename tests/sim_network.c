/* An office that starts: nodes of one secret network that know nobody, on one LAN.
 *
 *   sim_network [NODES [SEED]]      40 nodes, a fixed seed and a fresh one
 *
 * They start within START_MS, some at one moment; bytes and commits take LATENCY_MS. What
 * must hold: PAIRED_MS after the last start all know one another, unverified and with one
 * secret for each two; hardly any pairing is done twice; then, idle, each sends and
 * receives no more than it may. A table has the figures. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <sodium.h>

#include "node_world.h"

enum {
    NODES = 40,
    START_MS = 5000,
    LATENCY_MS = 2,
    PAIRED_MS = 60000,
    STEP_MS = 250,
    SETTLE_MS = 120000,
    IDLE_MS = 600000,
    SENT_MAX = 300, /* bytes a second, idle */
    RECEIVED_MAX = 1000,
    TWICE_PERCENT = 5,
};

static void check(bool ok, uint64_t seed, const char *what)
{
    if (!ok) {
        fprintf(stderr, "seed %llu: %s\n", (unsigned long long)seed, what);
        exit(1);
    }
}

static size_t pairs(const struct nw_world *w)
{
    size_t n = 0;
    for (int a = 0; a < w->count; a++) {
        struct node_stats s;
        if (w->n[a].node != NULL) {
            node_stats(w->n[a].node, &s);
            n += s.contacts;
        }
    }
    return n;
}

static void check_pairs(const struct nw_world *w, uint64_t seed)
{
    for (int a = 0; a < w->count; a++) {
        for (int b = 0; b < a; b++) {
            const struct rec_contact *there =
                contacts_by_root(node_contacts(w->n[a].node), node_root(w->n[b].node));
            const struct rec_contact *back =
                contacts_by_root(node_contacts(w->n[b].node), node_root(w->n[a].node));
            check(there != NULL && back != NULL, seed, "two do not know each other");
            check(there->flags == CONTACT_NETWORK && back->flags == CONTACT_NETWORK, seed,
                  "not as they should be marked");
            check(memcmp(there->pair, back->pair, 32) == 0, seed,
                  "two secrets of a pair");
        }
    }
}

/* All nodes, in groups of one to four at moments of START_MS. */
static void start(struct nw_world *w, uint64_t seed)
{
    for (int i = 0; i < w->count;) {
        uint64_t dice = (seed + (uint64_t)i) * UINT64_C(0x9e3779b97f4a7c15) >> 33;
        for (uint64_t k = 0; k <= dice % 4 && i < w->count; k++, i++) {
            nw_start(w, i);
            nw_drain(w, i);
        }
        nw_run(w, dice % (8 * START_MS / (uint64_t)w->count + 1));
    }
}

struct traffic {
    size_t sent, received;
};

static struct traffic traffic_of(const struct nw_node *n)
{
    return (struct traffic){n->udp_out + n->out_bytes, n->udp_in + n->tcp_in};
}

static void idle(struct nw_world *w, uint64_t seed)
{
    static struct traffic before[NW_NODES_MAX];
    double sent = 0, received = 0, most_sent = 0, most_received = 0;
    nw_run(w, SETTLE_MS);
    for (int i = 0; i < w->count; i++) {
        before[i] = traffic_of(&w->n[i]);
    }
    nw_run(w, IDLE_MS);
    for (int i = 0; i < w->count; i++) {
        struct traffic now = traffic_of(&w->n[i]);
        double s = (double)(now.sent - before[i].sent) * 1000 / IDLE_MS;
        double r = (double)(now.received - before[i].received) * 1000 / IDLE_MS;
        sent += s / w->count;
        received += r / w->count;
        most_sent = s > most_sent ? s : most_sent;
        most_received = r > most_received ? r : most_received;
    }
    printf("  idle           sent %.0f B/s (most %.0f), received %.0f B/s (most %.0f) a "
           "node, "
           "IPv4\n",
           sent, most_sent, received, most_received);
    check(most_sent <= SENT_MAX && most_received <= RECEIVED_MAX, seed,
          "too much is sent when idle");
}

static void run(int count, uint64_t seed)
{
    struct nw_world *w = malloc(sizeof *w);
    check(w != NULL, seed, "memory");
    nw_init_of(w, count);
    w->rng = seed;
    w->latency_ms = LATENCY_MS;
    for (int i = 0; i < count; i++) {
        w->n[i].network = "the office";
        w->n[i].secret = 9;
    }
    start(w, seed);
    uint64_t last = w->now_ms, done = 0;
    size_t all = (size_t)count * (size_t)(count - 1);
    while (w->now_ms < last + PAIRED_MS && done == 0) {
        nw_run(w, STEP_MS);
        done = pairs(w) == all ? w->now_ms - last : 0;
    }
    printf("seed %llu: %d nodes, %zu pairings\n", (unsigned long long)seed, count,
           all / 2);
    check(done != 0, seed, "not all are paired in time");
    check_pairs(w, seed);
    size_t out = 0, in = 0, links = 0, twice = 0;
    for (int i = 0; i < count; i++) {
        out += traffic_of(&w->n[i]).sent / (size_t)count;
        in += traffic_of(&w->n[i]).received / (size_t)count;
        twice += w->n[i].repaired;
    }
    for (size_t i = 0; i < w->n_carriers; i++) {
        links += w->carriers[i].sent[1] > 0;
    }
    printf("  all paired     %.1f s after the last start\n", (double)done / 1000);
    printf("  until then     %zu KiB sent, %zu KiB received a node; %zu dials, %zu "
           "answered\n",
           out / 1024, in / 1024, w->n_carriers, links);
    printf("  done twice     %zu\n", twice / 2);
    check(twice * 50 <= all / 2 * TWICE_PERCENT, seed,
          "too many pairings are done twice");
    idle(w, seed);
    check(pairs(w) == all, seed, "somebody is lost");
    nw_release(w);
    free(w);
}

int main(int argc, char **argv)
{
    int count = argc > 1 ? atoi(argv[1]) : NODES;
    if (sodium_init() < 0 || count < 2 || count > NW_NODES_MAX) {
        return 2;
    }
    if (argc > 2) {
        run(count, strtoull(argv[2], NULL, 10));
        return 0;
    }
    uint64_t fresh = 0;
    run(count, 1);
    if (argc <= 1 && getrandom(&fresh, sizeof fresh, 0) == (ssize_t)sizeof fresh) {
        run(count, fresh);
    }
    return 0;
}
