/* An office through a working day, on the virtual clock: people arrive one after the
 * other, write to a few colleagues often and to anybody at times, go to lunch, close
 * their laptops and open them again; a switch fails; in the evening most stop their node
 * and some just close the lid. The next morning all come back.
 *
 *   sim_office [NODES [HOURS [SEED]]]     40 nodes, 2 hours, a fixed seed and a fresh one
 *
 * `sim_office 200 9` is the whole of it (some minutes). What must hold:
 *   - every message is shown to whom it is for, once, and after the next morning all are;
 *   - a message between two who can reach each other since CALM_MS, and of whom the
 *     sender's node says that the other is online, is shown within PROMPT_MS;
 *   - nobody is told `stored` or `delivered` of what the other has not shown;
 *   - presence is right ONLINE_MS after two can reach each other, OFFLINE_MS after they
 *     cannot, and LEFT_MS after a clean stop;
 *   - no more than PEER_LINKS_FREE links are up once nobody has written, come or opened
 *     a laptop for QUIET_MS. */
#include <assert.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "node_priv.h"
#include "seed.h"
#include "sim_world.h"

enum {
    CALM_MS = 90000,
    PROMPT_MS = 1000,
    ONLINE_MS = 80000,
    OFFLINE_MS = 155000,
    LEFT_MS = 2000,
    QUIET_MS = 180000,
    IDLE_MS = 600000, /* of the measurement */
    MINUTE = 60000,
    MSGS_MAX = 1 << 18,
    FRIENDS = 5,
    SENT_MAX = 300, /* bytes a second, idle, as docs/BENCHMARKS.md has them */
    RECEIVED_MAX = 1000,
};

struct msg {
    int from, to;
    uint64_t sent_ms, shown_ms;
    bool shown, prompt; /* prompt: it had to be */
    uint8_t mid[WIRE_MID];
};

struct person {
    int friends[FRIENDS];
    bool left; /* said good-bye */
    uint64_t left_ms;
};

struct office {
    struct sim_world w;
    struct seed_person *people;
    struct person *p;
    struct msg *msgs;
    int n_msgs;
    struct map by_mid;
    bool (*online)[SIM_NODES_MAX]; /* what [a] is told of [b] */
    bool (*reach)[SIM_NODES_MAX];  /* can reach each other, since: */
    uint64_t (*since)[SIM_NODES_MAX];
    bool *away_segment;
    bool switch_down;
    uint64_t day_ms, slowest_ms, prompts;
    unsigned links_most;
    bool failed;
};

#define FAIL(o, ...)                                                                     \
    do {                                                                                 \
        if (!(o)->failed) {                                                              \
            printf("at %lu ms: ", (unsigned long)(o)->w.now_ms);                         \
            printf(__VA_ARGS__);                                                         \
            printf("\n");                                                                \
        }                                                                                \
        (o)->failed = true;                                                              \
    } while (0)

/* ---- who is whom ---- */

static uint32_t contact_id(int me, int other)
{
    return (uint32_t)(other < me ? other + 1 : other);
}

static int contact_node(int me, uint32_t id)
{
    return (int)id - 1 < me ? (int)id - 1 : (int)id;
}

static bool can_reach(const struct office *o, int a, int b)
{
    const struct sim_node *x = &o->w.nodes[a], *y = &o->w.nodes[b];

    return x->node != NULL && y->node != NULL && !x->frozen && !y->frozen &&
           !o->w.cut[a][b];
}

/* After anything that changes who can reach whom. */
static void note_reach(struct office *o)
{
    for (int a = 0; a < o->w.n; a++) {
        for (int b = 0; b < o->w.n; b++) {
            bool now = a != b && can_reach(o, a, b);

            if (o->reach[a][b] != now) {
                o->reach[a][b] = now;
                o->since[a][b] = o->w.now_ms;
            }
        }
    }
}

/* ---- what nodes do ---- */

static void on_committed(void *ctx, int node, const struct txn *t)
{
    (void)ctx;
    (void)node;
    (void)t;
}

static void on_shown(struct office *o, struct msg *m)
{
    uint64_t took = o->w.now_ms - m->sent_ms;

    if (m->shown) {
        FAIL(o, "a message of n%d to n%d was shown twice", m->from, m->to);
    }
    m->shown = true;
    m->shown_ms = o->w.now_ms;
    /* only when nothing came between in the meantime */
    if (m->prompt && o->reach[m->from][m->to] && o->since[m->from][m->to] < m->sent_ms) {
        o->prompts++;
        o->slowest_ms = took > o->slowest_ms ? took : o->slowest_ms;
        if (took > PROMPT_MS) {
            FAIL(o, "a message of n%d to n%d took %lu ms", m->from, m->to,
                 (unsigned long)took);
        }
    }
}

static void on_event(void *ctx, int node, const struct store_event *ev)
{
    struct office *o = ctx;
    char text[16] = {0};
    struct msg *m;

    if (ev->topic == TOPIC_MESSAGE && ev->text.n > 1 && ev->text.n < sizeof(text)) {
        memcpy(text, ev->text.p, ev->text.n);
        m = &o->msgs[atoi(text + 1)];
        if (node == m->to) {
            on_shown(o, m);
        } else if (node == m->from) {
            memcpy(m->mid, ev->mid, WIRE_MID);
            (void)map_put(&o->by_mid, m->mid, m);
        } else {
            FAIL(o, "a message of n%d to n%d came to n%d", m->from, m->to, node);
        }
    } else if (ev->topic == TOPIC_STATE && (m = map_get(&o->by_mid, ev->mid)) != NULL &&
               node == m->from && ev->state >= STATE_STORED && ev->state <= STATE_READ &&
               !m->shown) {
        FAIL(o, "n%d says %u of a message that n%d has not shown", node, ev->state,
             m->to);
    }
}

static void on_result(void *ctx, int node, const struct node_event *ev)
{
    if (ev->err != 0) {
        FAIL((struct office *)ctx, "n%d: a request failed: %d", node, ev->err);
    }
}

static void on_presence(void *ctx, int node, const struct node_event *ev)
{
    struct office *o = ctx;

    if (ev->contact != 0) { /* 0: of itself */
        o->online[node][contact_node(node, ev->contact)] = ev->online;
    }
}

static void rolled_back(void *ctx, int node)
{
    (void)ctx;
    (void)node;
}

/* ---- what people do ---- */

static void arrive(struct office *o, int i)
{
    memset(o->online[i], 0, (size_t)o->w.n * sizeof(bool));
    sim_start(&o->w, i);
    o->p[i].left = false;
    note_reach(o);
}

static void leave(struct office *o, int i)
{
    sim_stop(&o->w, i);
    o->p[i].left = true;
    o->p[i].left_ms = o->w.now_ms;
    note_reach(o);
}

static void lid(struct office *o, int i, bool closed)
{
    if (o->w.nodes[i].node != NULL && o->w.nodes[i].frozen != closed) {
        sim_freeze(&o->w, i, closed);
        note_reach(o);
    }
}

static void set_switch(struct office *o, bool down)
{
    for (int a = 0; a < o->w.n; a++) {
        for (int b = 0; b < a; b++) {
            if (o->away_segment[a] != o->away_segment[b]) {
                sim_set_cut(&o->w, a, b, down);
            }
        }
    }
    o->switch_down = down;
    note_reach(o);
}

static void write_to(struct office *o, int a, int b)
{
    char text[16];
    struct msg *m = &o->msgs[o->n_msgs];

    if (o->n_msgs == MSGS_MAX || o->w.nodes[a].node == NULL || o->w.nodes[a].frozen ||
        a == b) {
        return;
    }
    *m = (struct msg){.from = a, .to = b, .sent_ms = o->w.now_ms};
    m->prompt =
        o->reach[a][b] && o->w.now_ms - o->since[a][b] >= CALM_MS && o->online[a][b];
    (void)snprintf(text, sizeof(text), "m%d", o->n_msgs++);
    int err = node_send_text(o->w.nodes[a].node, 1, contact_id(a, b), (uint8_t *)text,
                             strlen(text), NULL, o->w.now_ms);
    if (err != 0) {
        FAIL(o, "n%d cannot write to n%d: %d", a, b, err);
    }
    sim_drain(&o->w, a);
}

/* A second in which everybody writes with so many chances in a hundred thousand. */
static void second(struct office *o, uint64_t chance)
{
    struct sim_world *w = &o->w;

    for (int i = 0; chance > 0 && i < w->n; i++) {
        if (sim_below(w, 100000) < chance) {
            int to = sim_chance(w, 800) ? o->p[i].friends[sim_below(w, FRIENDS)]
                                        : (int)sim_below(w, (uint64_t)w->n);

            write_to(o, i, to);
        }
    }
    sim_run(w, w->now_ms + 1000);
}

/* ---- what must hold ---- */

static void check_presence(struct office *o)
{
    for (int a = 0; a < o->w.n; a++) {
        for (int b = 0; b < o->w.n; b++) {
            uint64_t lasts = o->w.now_ms - o->since[a][b];
            const struct sim_node *me = &o->w.nodes[a];

            if (a == b || me->node == NULL || me->frozen) {
                continue;
            }
            if (o->reach[a][b] && lasts > ONLINE_MS && !o->online[a][b]) {
                FAIL(o, "n%d does not see n%d, after %lu ms", a, b, (unsigned long)lasts);
            }
            if (!o->reach[a][b] && lasts > OFFLINE_MS && o->online[a][b]) {
                FAIL(o, "n%d sees n%d, gone for %lu ms", a, b, (unsigned long)lasts);
            }
            if (o->p[b].left && o->w.nodes[b].node == NULL && o->online[a][b] &&
                o->w.now_ms - o->p[b].left_ms > LEFT_MS && lasts > LEFT_MS &&
                !o->switch_down) {
                FAIL(o, "n%d sees n%d, which said good-bye", a, b);
            }
        }
    }
}

static unsigned links(const struct office *o, int i)
{
    const struct node *n = o->w.nodes[i].node;

    return n == NULL ? 0 : (unsigned)peers_links(n->peers);
}

static void check_links(struct office *o, bool quiet)
{
    for (int i = 0; i < o->w.n; i++) {
        unsigned n = links(o, i);

        o->links_most = n > o->links_most ? n : o->links_most;
        if (quiet && n > PEER_LINKS_FREE) {
            FAIL(o, "n%d holds %u links although nobody writes", i, n);
        }
    }
}

static void check_all_shown(struct office *o)
{
    for (int i = 0; i < o->n_msgs; i++) {
        if (!o->msgs[i].shown) {
            FAIL(o, "a message of n%d to n%d, sent at %lu, was never shown",
                 o->msgs[i].from, o->msgs[i].to, (unsigned long)o->msgs[i].sent_ms);
        }
    }
}

/* ---- the day ---- */

static void seconds(struct office *o, uint64_t ms, uint64_t chance)
{
    for (uint64_t end = o->w.now_ms + ms; o->w.now_ms < end && !o->failed;) {
        second(o, chance);
        if (o->w.now_ms / 1000 % 20 == 0) {
            check_presence(o);
            check_links(o, false);
        }
    }
}

static void arrivals(struct office *o, uint64_t within_ms, uint64_t chance)
{
    int n = o->w.n;
    uint64_t begin = o->w.now_ms;

    for (int i = 0; i < n && !o->failed; i++) {
        uint64_t at = begin + within_ms * (uint64_t)i / (uint64_t)n;

        if (at > o->w.now_ms) {
            seconds(o, at - o->w.now_ms, chance);
        }
        arrive(o, (i * 7 + 3) % n); /* n has no factor 7 in common, see begin() */
    }
}

static void idle_figures(struct office *o)
{
    int n = o->w.n;
    uint64_t sent = 0, received = 0, most_sent = 0, most_received = 0, dials = 0;
    unsigned all = 0;

    for (int i = 0; i < n; i++) {
        o->w.nodes[i].sent = o->w.nodes[i].received = o->w.nodes[i].dials = 0;
    }
    seconds(o, IDLE_MS, 0);
    check_links(o, true);
    for (int i = 0; i < n; i++) {
        const struct sim_node *sn = &o->w.nodes[i];

        sent += sn->sent;
        received += sn->received;
        dials += sn->dials;
        most_sent = sn->sent > most_sent ? sn->sent : most_sent;
        most_received = sn->received > most_received ? sn->received : most_received;
        all += links(o, i);
    }
    const double s = IDLE_MS / 1000.0;
    printf("%-44s %8s %8s %8s\n", "idle, a node (Ethernet, IP, UDP and TCP headers",
           "mean", "worst", "limit");
    printf("%-44s %8.0f %8.0f %8d\n", "counted): sent, B/s", (double)sent / n / s,
           (double)most_sent / s, SENT_MAX);
    printf("%-44s %8.0f %8.0f %8d\n", "received, B/s", (double)received / n / s,
           (double)most_received / s, RECEIVED_MAX);
    printf("%-44s %8.1f\n", "links held", (double)all / n);
    printf("%-44s %8lu\n", "dials in those ten minutes, all nodes", (unsigned long)dials);
    if (most_sent / (IDLE_MS / 1000) > SENT_MAX ||
        most_received / (IDLE_MS / 1000) > RECEIVED_MAX) {
        FAIL(o, "too much traffic");
    }
}

/* Somebody closes a lid, or opens one. */
static void lids(struct office *o, uint64_t *opens, unsigned per_mille)
{
    for (int i = 0; i < o->w.n; i++) {
        if (o->w.nodes[i].frozen && o->w.now_ms >= opens[i]) {
            lid(o, i, false);
        } else if (!o->w.nodes[i].frozen && sim_chance(&o->w, per_mille)) {
            opens[i] = o->w.now_ms + MINUTE + sim_below(&o->w, o->day_ms / 16);
            lid(o, i, true);
        }
    }
}

static void work(struct office *o, uint64_t ms, uint64_t *opens, unsigned lids_per_mille,
                 uint64_t chance)
{
    for (uint64_t end = o->w.now_ms + ms; o->w.now_ms < end && !o->failed;) {
        lids(o, opens, lids_per_mille);
        seconds(o, MINUTE, chance);
    }
}

static void day(struct office *o)
{
    uint64_t *opens = calloc((size_t)o->w.n, sizeof(*opens));
    const uint64_t busy = 200; /* a message in 8 minutes each */

    assert(opens != NULL);
    arrivals(o, o->day_ms / 16, busy);
    seconds(o, QUIET_MS, 0);
    idle_figures(o);
    work(o, o->day_ms / 4, opens, 5, busy);
    set_switch(o, true);
    seconds(o, 4 * MINUTE, busy);
    set_switch(o, false);
    work(o, o->day_ms / 16, opens, 5, busy);
    work(o, o->day_ms / 12, opens, 40, 0); /* lunch */
    seconds(o, QUIET_MS, 0);               /* who opened a laptop is asked by all */
    check_links(o, true);
    work(o, o->day_ms / 4, opens, 5, busy);
    for (int i = 0; i < o->w.n && !o->failed; i++) { /* home */
        lid(o, i, false);
        if (sim_chance(&o->w, 800)) {
            leave(o, i);
        } else {
            lid(o, i, true);
        }
        seconds(o, 1000 + sim_below(&o->w, 5000), busy);
    }
    for (int i = 0; i < o->w.n && !o->failed; i++) { /* the next morning */
        if (o->w.nodes[i].node == NULL) {
            arrive(o, i);
        } else {
            lid(o, i, false);
        }
    }
    seconds(o, 5 * MINUTE, 0);
    check_presence(o);
    check_all_shown(o);
    check_links(o, true);
    free(opens);
}

static void begin(struct office *o, int n, uint64_t seed)
{
    char name[16];

    memset(o, 0, sizeof(*o));
    sim_init(&o->w, seed, n);
    assert(n % 7 != 0);
    o->w.hooks = (struct sim_hooks){.ctx = o,
                                    .committed = on_committed,
                                    .event = on_event,
                                    .result = on_result,
                                    .presence = on_presence,
                                    .rolled_back = rolled_back};
    o->w.faults = (struct sim_faults){.loss_pct = 0, .dup_pct = 0, .delay_max_ms = 2};
    o->people = calloc((size_t)n, sizeof(*o->people));
    o->p = calloc((size_t)n, sizeof(*o->p));
    o->msgs = calloc(MSGS_MAX, sizeof(*o->msgs));
    o->online = calloc((size_t)n, sizeof(*o->online));
    o->reach = calloc((size_t)n, sizeof(*o->reach));
    o->since = calloc((size_t)n, sizeof(*o->since));
    o->away_segment = calloc((size_t)n, sizeof(*o->away_segment));
    assert(o->people && o->p && o->msgs && o->online && o->reach && o->since &&
           o->away_segment);
    map_init(&o->by_mid, &o->w.nodes[0].env, WIRE_MID, MSGS_MAX);
    for (int i = 0; i < n; i++) {
        (void)snprintf(name, sizeof(name), "n%d", i);
        seed_person(&o->people[i], &o->w.nodes[i].env, &o->w.nodes[i].key, name);
        o->away_segment[i] = i % 4 == 0;
        for (int k = 0; k < FRIENDS; k++) {
            o->p[i].friends[k] = (int)sim_below(&o->w, (uint64_t)n);
        }
    }
    for (int i = 0; i < n; i++) {
        seed_home(o->w.nodes[i].store, o->people, (size_t)n, (size_t)i);
    }
}

static void end(struct office *o)
{
    sim_release(&o->w);
    map_release(&o->by_mid);
    free(o->people);
    free(o->p);
    free(o->msgs);
    free(o->online);
    free(o->reach);
    free(o->since);
    free(o->away_segment);
}

static bool run(int n, int hours, uint64_t seed)
{
    static struct office o;
    bool ok;

    printf("%d nodes, each with %d contacts, a day of %d hours, seed %lu\n", n, n - 1,
           hours, (unsigned long)seed);
    begin(&o, n, seed);
    o.day_ms = (uint64_t)hours * 3600000;
    day(&o);
    printf("%-44s %8d\n", "messages", o.n_msgs);
    printf("%-44s %8lu\n", "of them to somebody online", (unsigned long)o.prompts);
    printf("%-44s %8s %8lu %8d\n", "the slowest of those, ms", "",
           (unsigned long)o.slowest_ms, PROMPT_MS);
    printf("%-44s %8s %8u\n", "links at most, when all write", "", o.links_most);
    printf("%-44s %8.1f\n\n", "heap with the store in it, MiB a node",
           (double)mallinfo2().uordblks / n / 1048576);
    ok = !o.failed;
    end(&o);
    return ok;
}

int main(int argc, char **argv)
{
    int n = argc > 1 ? atoi(argv[1]) : 40, hours = argc > 2 ? atoi(argv[2]) : 2;
    bool ok;

    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    if (n < 2 || n > SIM_NODES_MAX || n % 7 == 0 || hours < 1 || hours > 24) {
        (void)fprintf(stderr,
                      "usage: sim_office [NODES [HOURS [SEED]]], NODES 2 to %d, "
                      "not a multiple of 7\n",
                      SIM_NODES_MAX);
        return 2;
    }
    if (argc > 3) {
        return run(n, hours, strtoull(argv[3], NULL, 10)) ? 0 : 1;
    }
    ok = run(n, hours, 1);
    return run(n, hours, (uint64_t)time(NULL)) && ok ? 0 : 1;
}
