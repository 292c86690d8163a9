/* Feeds under everything that goes wrong, deterministic from a seed: links that come and
 * go, nodes that die between making a transaction and storing it, homes set back to old
 * copies, clocks that jump. At the end all meet: everybody has every message that was not
 * lost with the only home that held it, once, in the same order, delivered by true words.
 * Some of what is said are offers of files, and words about such offers, which are no
 * messages: everybody was told of those that were not lost.
 *
 *   sim_feed              the fixed seeds
 *   sim_feed SEED         one of them
 *   sim_feed FROM TO      seeds FROM to TO */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "feed_harness.h"

enum { SAID_MAX = 600, STEPS = 120, SEEDS = 60 };

static bool say_all; /* one line for each step */

struct said {
    enum body_kind kind;
    size_t who;
};

struct walk {
    struct hnet *h;
    uint64_t seed;
    unsigned said;
    struct said what[SAID_MAX + 1];
    bool must[SAID_MAX + 1]; /* the number has to be there in the end */
    struct blob copy[HARNESS_NODES];
    bool backs; /* a home was set back: then words can outlive messages */
    uint8_t word[HARNESS_NODES][SAID_MAX + 1]; /* the last one seen, plus 1 */
    bool ok;
};

#define note(...)                                                                        \
    do {                                                                                 \
        if (say_all) {                                                                   \
            printf(__VA_ARGS__);                                                         \
            fflush(stdout);                                                              \
        }                                                                                \
    } while (0)

static size_t below(struct walk *w, size_t n)
{
    return (size_t)(harness_random(w->h) % n);
}

static void mark_file(void *ctx, size_t author, enum body_kind kind, unsigned number)
{
    bool *held = ctx;
    (void)author;
    if (kind != BODY_OFFER) { /* those are messages */
        held[number] = true;
    }
}

/* The numbers that a node's store holds. */
static void mark(struct hnode *n, bool *held)
{
    harness_files(n, mark_file, held);
    struct hlist *l = harness_history(n);
    for (size_t i = 0; i < l->n; i++) {
        held[l->v[i].number] = true;
    }
    free(l);
}

/* What nobody holds any more was lost with a home, and is not asked for. */
static void forget_lost(struct walk *w)
{
    bool held[SAID_MAX + 1] = {false};
    for (size_t i = 0; i < w->h->n; i++) {
        mark(&w->h->node[i], held);
    }
    for (unsigned i = 1; i <= w->said; i++) {
        if (w->must[i] && !held[i]) {
            note("  number %u is lost with its home\n", i);
        }
        w->must[i] = w->must[i] && held[i];
    }
}

static void say(struct walk *w, struct hnode *n)
{
    if (!n->alive || w->said >= SAID_MAX) {
        return;
    }
    static const enum body_kind kinds[] = {BODY_OFFER, BODY_SEALED, BODY_FILE_END};
    unsigned number = ++w->said;
    size_t k = below(w, 8);
    w->what[number] = (struct said){.kind = BODY_TEXT, .who = n->i};
    if (k < sizeof kinds / sizeof kinds[0]) {
        w->what[number].kind = kinds[k];
        harness_file(n, kinds[k], below(w, w->h->n), number);
    } else {
        harness_say(n, number);
    }
    /* Acknowledged when the commit went through. */
    w->must[number] = n->alive;
    note("%zu says %u (%u)%s\n", n->i, number, (unsigned)w->what[number].kind,
         n->alive ? "" : " and dies");
}

static void set_back(struct walk *w, size_t i)
{
    if (w->copy[i].p == NULL) {
        w->copy[i] = harness_copy(&w->h->node[i]);
        note("copy of %zu\n", i);
        return;
    }
    if (w->h->node[i].alive) {
        harness_kill(&w->h->node[i]);
    }
    note("%zu set back\n", i);
    w->backs = true;
    harness_back(&w->h->node[i], &w->copy[i]);
    forget_lost(w);
}

static void step(struct walk *w)
{
    struct hnet *h = w->h;
    size_t a = below(w, h->n), b = below(w, h->n);
    switch (below(w, 14)) {
    case 0:
    case 1:
    case 2:
        if (a != b) {
            note("link %zu %zu\n", a, b);
            harness_link(h, a, b);
        }
        break;
    case 3:
        if (a != b) {
            note("cut %zu %zu\n", a, b);
            harness_cut(h, a, b);
        }
        break;
    case 4:
        if (h->node[a].alive && below(w, 2) == 0) {
            h->node[a].die_in = (long)below(w, 6);
            note("%zu dies in %ld commits\n", a, h->node[a].die_in);
        }
        break;
    case 5:
        if (!h->node[a].alive) {
            note("%zu starts\n", a);
            harness_start(&h->node[a]);
        }
        break;
    case 6:
        if (below(w, 4) == 0) {
            set_back(w, a);
        }
        break;
    case 7:
        if (h->node[a].alive) {
            note("%zu reads\n", a);
            (void)feeds_read(h->node[a].f, &h->node[a].txn, h->node[a].conv, h->now_ms);
            (void)harness_settle(&h->node[a]);
        }
        break;
    case 8:
        note("pass\n");
        harness_pass(h, below(w, 40000));
        break;
    case 9:
        if (below(w, 4) == 0) {
            h->wall_us += (below(w, 2) == 0 ? 8 * 86400U : 3600U) * UINT64_C(1000000);
        }
        break;
    case 10:
        if (h->node[a].alive && below(w, 3) == 0 &&
            feeds_box_rotate(h->node[a].f, &h->node[a].txn, h->wall_us / 1000000)) {
            note("%zu has a new box key\n", a);
            harness_announce(&h->node[a]);
        }
        break;
    default:
        for (size_t i = below(w, 4); i > 0; i--) {
            say(w, &h->node[a]);
        }
        (void)harness_run(h, below(w, 60));
    }
}

struct told {
    struct walk *w;
    bool v[SAID_MAX + 1];
    bool ok;
};

static void see_file(void *ctx, size_t author, enum body_kind kind, unsigned number)
{
    struct told *t = ctx;
    const struct said *x = &t->w->what[number];
    t->ok = t->ok && kind == x->kind && author == x->who;
    t->v[number] = true;
}

/* What was said of files and is not lost was told, also of every offer that is shown. */
static bool check_files(struct walk *w, struct hnode *n, const struct hlist *l)
{
    struct told t = {.w = w, .ok = true};
    harness_files(n, see_file, &t);
    bool want[SAID_MAX + 1];
    for (unsigned i = 1; i <= w->said; i++) {
        want[i] = w->must[i] && w->what[i].kind != BODY_TEXT;
    }
    for (size_t i = 0; i < l->n; i++) {
        bool offer = w->what[l->v[i].number].kind == BODY_OFFER;
        t.ok = t.ok && offer == (l->v[i].kind == MSG_FILE);
        want[l->v[i].number] = offer;
    }
    for (unsigned i = 1; i <= w->said; i++) {
        if (want[i] && !t.v[i]) {
            printf("node %zu was not told of %u\n", n->i, i);
            t.ok = false;
        }
    }
    return t.ok;
}

static size_t author_of(const struct hnode *n, const struct hmsg *m)
{
    return m->author == 0 ? n->i : m->author - 1;
}

static bool check_node(struct walk *w, struct hnode *n, const struct hlist *first)
{
    struct hlist *l = harness_history(n);
    bool held[SAID_MAX + 1] = {false};
    bool ok = l->n == first->n;
    for (size_t i = 0; i < l->n; i++) {
        ok = ok && !held[l->v[i].number];
        held[l->v[i].number] = true;
        /* Two of one order and author (written twice in one place of the log, before and
         * after it was set back) stand as they came. */
        bool there = i < first->n && l->v[i].order == first->v[i].order &&
                     author_of(n, &l->v[i]) == author_of(&w->h->node[0], &first->v[i]);
        if (!there && ok) {
            printf("node %zu shows %u in place %zu, not %u\n", n->i, l->v[i].number, i,
                   i < first->n ? first->v[i].number : 0);
        }
        ok = ok && there;
        bool word = l->v[i].author != 0 || l->v[i].state >= STATE_DELIVERED;
        if (!word) {
            printf("node %zu: number %u ended in state %u\n", n->i, l->v[i].number,
                   l->v[i].state);
        }
        ok = ok && word;
    }
    ok = check_files(w, n, l) && ok;
    for (unsigned i = 1; i <= w->said; i++) {
        if (w->must[i] && w->what[i].kind <= BODY_OFFER && !held[i]) {
            printf("node %zu lacks %u\n", n->i, i);
            ok = false;
        }
    }
    if (n->n_errors > 0) {
        printf("node %zu refused frames: %s\n", n->i, err_str(n->err));
        ok = false;
    }
    for (size_t j = 0; j < w->h->n; j++) {
        if (n->waits[j]) {
            printf("node %zu still waits for %zu\n", n->i, j);
            ok = false;
        }
    }
    if (!ok) {
        printf("node %zu has %zu messages, node 0 has %zu\n", n->i, l->n, first->n);
    }
    free(l);
    return ok;
}

/* Whether another node has stored the entry, opened or not. */
static bool stored_there(struct walk *w, size_t i, const struct hmsg *m)
{
    const struct hnode *n = &w->h->node[i];
    const struct rec_feed *ours = n->alive ? feeds_feed(n->f, m->feed) : NULL;
    for (size_t j = 0; ours != NULL && j < w->h->n; j++) {
        const struct hnode *o = &w->h->node[j];
        for (uint32_t id = 1; j != i && o->alive && id < 200; id++) {
            const struct rec_feed *r = feeds_feed(o->f, id);
            /* With something closed, m may be the repeat of what is stored there. */
            if (r != NULL && memcmp(r->gen, ours->gen, WIRE_GEN) == 0 &&
                (r->head >= m->seq || r->closed_from != 0)) {
                return true;
            }
        }
    }
    return ours == NULL;
}

/* Words never go back, and are true at any time. */
static void check_words(struct walk *w)
{
    bool held[HARNESS_NODES][SAID_MAX + 1];
    memset(held, 0, sizeof held);
    for (size_t i = 0; i < w->h->n; i++) {
        mark(&w->h->node[i], held[i]);
    }
    for (size_t i = 0; i < w->h->n; i++) {
        struct hlist *l = harness_history(&w->h->node[i]);
        for (size_t k = 0; k < l->n; k++) {
            const struct hmsg *m = &l->v[k];
            size_t there = 0;
            for (size_t j = 0; j < w->h->n; j++) {
                there += j != i && held[j][m->number];
            }
            bool dead = false; /* what it holds is not seen */
            for (size_t j = 0; j < w->h->n; j++) {
                dead = dead || !w->h->node[j].alive;
            }
            bool stored =
                m->state < STATE_STORED || there > 0 || dead || stored_there(w, i, m);
            bool delivered = m->state < STATE_DELIVERED || there == w->h->n - 1;
            bool back = m->state + 1 < w->word[i][m->number];
            w->word[i][m->number] = (uint8_t)(m->state + 1);
            if (!w->backs && m->author == 0 && (!stored || !delivered || back)) {
                printf(
                    "seed %llu: node %zu says %u of number %u, which %zu others have\n",
                    (unsigned long long)w->seed, i, m->state, m->number, there);
                w->ok = false;
                for (size_t j = 0; say_all && j < w->h->n; j++) {
                    harness_dump(&w->h->node[j]);
                }
            }
        }
        free(l);
    }
}

/* Nobody writes without end: a few entries for each that was asked for. */
static void check_amount(struct walk *w)
{
    size_t gens = 0;
    uint64_t entries = 0;
    for (uint32_t id = 1; id < 2000; id++) {
        const struct rec_feed *r = feeds_feed(w->h->node[0].f, id);
        gens += r != NULL;
        entries += r != NULL ? r->head : 0;
    }
    note("%zu generations, %llu entries for %u said\n", gens, (unsigned long long)entries,
         w->said);
    if (entries > 4 * (uint64_t)w->said + 60 * w->h->n || gens > 24 * w->h->n) {
        printf("seed %llu: %zu generations, %llu entries for %u said\n",
               (unsigned long long)w->seed, gens, (unsigned long long)entries, w->said);
        w->ok = false;
    }
}

static bool walk(uint64_t seed)
{
    struct walk *w = calloc(1, sizeof *w);
    size_t n = 2 + (size_t)(seed % 3 == 0 ? seed / 3 % 7 : seed % 2);
    w->h = harness_new(n, seed);
    w->seed = seed;
    w->ok = true;
    w->h->shuffle = true;
    for (size_t i = 0; i < STEPS; i++) {
        step(w);
        if (i % 4 == 0) {
            check_words(w);
        }
    }
    note("the end: all meet\n");
    for (size_t i = 0; i < n; i++) {
        w->h->node[i].die_in = -1;
        if (!w->h->node[i].alive) {
            harness_start(&w->h->node[i]);
        }
    }
    for (size_t i = 0; i < 6; i++) {
        harness_mesh(w->h);
        harness_pass(w->h, 60000);
        if (i % 2 == 1) { /* and a second time, over new links */
            harness_unmesh(w->h);
        }
    }
    harness_mesh(w->h);
    harness_pass(w->h, 100000);
    struct hlist *first = harness_history(&w->h->node[0]);
    check_words(w);
    check_amount(w);
    bool ok = w->ok;
    for (size_t i = 0; i < n; i++) {
        ok = check_node(w, &w->h->node[i], first) && ok;
    }
    note("%u said, %zu kept\n", w->said, first->n);
    if (!ok) {
        for (size_t i = 0; say_all && i < n; i++) {
            harness_dump(&w->h->node[i]);
        }
        printf("seed %llu failed: %zu nodes\n", (unsigned long long)seed, n);
    }
    free(first);
    for (size_t i = 0; i < n; i++) {
        blob_release(&w->copy[i]);
    }
    harness_free(w->h);
    free(w);
    return ok;
}

int main(int argc, char **argv)
{
    uint64_t from = 1, to = SEEDS, failed = 0;
    if (argc > 1) {
        from = to = strtoull(argv[1], NULL, 10);
        say_all = argc == 2;
    }
    if (argc > 2) {
        to = strtoull(argv[2], NULL, 10);
    }
    for (uint64_t s = from; s <= to; s++) {
        failed += !walk(s);
    }
    printf("%llu seeds, %llu failed\n", (unsigned long long)(to - from + 1),
           (unsigned long long)failed);
    return failed == 0 ? 0 : 1;
}
