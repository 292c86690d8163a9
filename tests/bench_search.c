/* Search in a million messages, what its index costs, and a start with as many.
 * Prints `name: value unit`. Arguments: [--messages N] DIR, a folder on the disk to
 * measure.
 *
 * The messages have 4 to 30 words of a vocabulary whose k-th word comes 1/k as often as
 * its first; every tenth is Chinese, of 3,000 characters likewise. They lie in 10,000
 * conversations, half of them in one. A page has 256 messages. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench_disk.h"
#include "store.h"
#include "store_make.h"
#include "store_search.h"

enum {
    CONTACTS = 10000,
    VOCABULARY = 50000,
    HAN = 3000,
    BATCH = 1000,
    RUNS = 21,
    PAGE = 256,
    BOX = 384,
    COST_MESSAGES = 100000,
    COST_BATCH = 200,
};
static const uint64_t first_ms = UINT64_C(1600000000000), step_ms = 60000;

/* ---- texts ---- */

static uint64_t seed = 1;

static uint64_t draw(void)
{
    seed += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t x = seed;
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* 0..n-1, the k-th about 1/(k+1) as often as the first. */
static uint64_t rank_of(uint64_t n)
{
    double u = (double)(draw() >> 11) / 9007199254740992.0;
    uint64_t k = (uint64_t)exp(u * log((double)n + 1)) - 1;
    return k < n ? k : n - 1;
}

/* The k-th word: syllables, so that words have many first letters. */
static size_t put_word(char *out, uint64_t k)
{
    static const char *const parts[] = {"ka", "te", "mo", "ri", "su", "la", "ne", "do",
                                        "vi", "pa", "ge", "bo", "fi", "hu", "ze", "wo"};
    size_t n = 0;
    for (uint64_t v = k + 16; v > 0; v /= 16) {
        memcpy(out + n, parts[v % 16], 2);
        n += 2;
    }
    return n;
}

static size_t put_han(char *out, uint64_t k)
{
    unsigned c = 0x4e00 + (unsigned)(k * 7 % 20000);
    out[0] = (char)(0xe0 | c >> 12);
    out[1] = (char)(0x80 | (c >> 6 & 0x3f));
    out[2] = (char)(0x80 | (c & 0x3f));
    return 3;
}

/* Message i's text; a few hold words that nothing else does. */
static size_t put_text(char out[1024], uint64_t i)
{
    size_t n = 0;
    if (i % 10 == 3) {
        for (uint64_t k = 8 + draw() % 40; k > 0; k--) {
            n += put_han(out + n, rank_of(HAN));
        }
    } else {
        for (uint64_t k = 4 + draw() % 27; k > 0; k--) {
            n += put_word(out + n, rank_of(VOCABULARY));
            out[n++] = ' ';
        }
        n--;
    }
    if (i % 200000 == 77) {
        memcpy(out + n, " Zanzibar", 9);
        n += 9;
    }
    return n;
}

static void add_msg(struct txn *t, uint64_t i, uint32_t conv, uint32_t author)
{
    char text[1024];
    size_t n = put_text(text, i);
    make_msg(t, conv, conv, i, author, i, first_ms + i * step_ms);
    struct rec_msg *m = &t->recs[t->n - 1].u.msg;
    blob_release(&m->text);
    disk_check(blob_set(&m->text, text, n) ? 0 : -1, "memory");
}

/* ---- the store ---- */

static void commit(struct store *s, struct txn *t)
{
    struct store_events ev = {0};
    const struct txn *list[] = {t};
    disk_check(store_commit(s, list, 1, &ev), "commit");
    store_events_release(&ev);
    txn_release(t);
    if (store_checkpoint_due(s)) {
        disk_check(store_checkpoint(s), "checkpoint");
    }
}

static void put(struct txn *t, struct rec *r)
{
    disk_check(txn_add(t, r), "record");
}

/* A contact with its device, conversation, both feeds and what it has of ours. */
static void add_contact(struct txn *t, uint32_t id)
{
    uint8_t bytes[600] = {0};
    struct rec c = {.kind = REC_CONTACT}, v = {.kind = REC_CONV};
    memcpy(bytes, &id, sizeof id);
    c.u.contact.id = id;
    (void)snprintf(c.u.contact.name, sizeof c.u.contact.name, "contact-%u", (unsigned)id);
    (void)snprintf(c.u.contact.announced, sizeof c.u.contact.announced, "contact-%u",
                   (unsigned)id);
    memcpy(c.u.contact.root, bytes, sizeof c.u.contact.root);
    put(t, &c);
    struct rec d = {.kind = REC_DEVICE};
    d.u.device.id = id;
    d.u.device.contact = id;
    memcpy(d.u.device.device, bytes, sizeof d.u.device.device);
    disk_check(blob_set(&d.u.device.cert, bytes, 200) ? 0 : -1, "memory");
    put(t, &d);
    v.u.conv.id = id;
    v.u.conv.kind = CONV_PAIR;
    v.u.conv.contact = id;
    disk_check(blob_set(&v.u.conv.members, bytes, 64) ? 0 : -1, "memory");
    put(t, &v);
    for (uint32_t k = 0; k < 2; k++) {
        struct rec f = {.kind = REC_FEED}, h = {.kind = REC_HAVE};
        f.u.feed.id = 2 * id + k;
        f.u.feed.conv = id;
        f.u.feed.device = k == 0 ? 0 : id;
        put(t, &f);
        h.u.have.device = id;
        h.u.have.feed = 2 * id + k;
        put(t, &h);
    }
}

static void fill(struct store *s, uint64_t messages)
{
    struct txn t = {0};
    for (uint32_t id = 1; id <= CONTACTS; id++) {
        add_contact(&t, id);
        if (id % 100 == 0) {
            commit(s, &t);
        }
    }
    for (uint64_t i = 1; i <= messages; i++) {
        uint64_t r = draw();
        uint32_t conv = r % 2 == 0 ? 1 : 1 + (uint32_t)((r >> 8) % CONTACTS);
        add_msg(&t, i, conv, (r >> 4) % 2 == 0 ? 0 : conv);
        if (i % BATCH == 0 || i == messages) {
            commit(s, &t);
        }
    }
}

/* Indexes all. The longest slice is what a commit may have to wait for. */
static void index_all(struct store *s, uint64_t messages)
{
    double cpu = disk_now(CLOCK_PROCESS_CPUTIME_ID), wall = disk_now(CLOCK_MONOTONIC),
           worst = 0;
    size_t slices = 0, late = 0;
    for (bool more = true; more; slices++) {
        double t0 = disk_now(CLOCK_MONOTONIC);
        disk_check(store_index(s, false, &more), "index");
        double took = disk_now(CLOCK_MONOTONIC) - t0;
        worst = took > worst ? took : worst;
        late += took > 0.01;
        if (store_checkpoint_due(s)) {
            disk_check(store_checkpoint(s), "checkpoint");
        }
    }
    (void)printf("index_all_wall: %.1f s\nindex_all_cpu: %.2f us/message\n",
                 disk_now(CLOCK_MONOTONIC) - wall,
                 (disk_now(CLOCK_PROCESS_CPUTIME_ID) - cpu) * 1e6 / (double)messages);
    (void)printf("index_slices: %zu\nindex_slice_worst: %.2f ms\n"
                 "index_slices_over_10ms: %zu\n",
                 slices, worst * 1e3, late);
}

/* ---- searches ---- */

struct page {
    size_t n;
    uint64_t last;
};

static int on_found(void *ctx, const struct store_msg *m, const struct search_match *v,
                    size_t n)
{
    struct page *p = ctx;
    (void)v, (void)n;
    p->last = m->row;
    return ++p->n == PAGE ? 1 : 0;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void search(struct store *s, const char *name, const char *text)
{
    static struct search q;
    double times[RUNS], slice = 0;
    struct page p;
    disk_check(search_parse(text, strlen(text), &q), "query");
    for (size_t i = 0; i < q.n_filters; i++) {
        q.filters[i].id = strtoull(q.filters[i].value, NULL, 10);
    }
    for (size_t i = 0; i < RUNS; i++) {
        struct search_at at = {.below = UINT64_MAX};
        double t0 = disk_now(CLOCK_MONOTONIC), t1 = t0;
        int rc = 0;
        p = (struct page){0};
        while (rc == 0 && !at.done) {
            rc = store_search(s, &q, &at, on_found, &p);
            double t2 = disk_now(CLOCK_MONOTONIC);
            slice = t2 - t1 > slice ? t2 - t1 : slice;
            t1 = t2;
        }
        disk_check(rc < 0 ? rc : 0, "search");
        times[i] = t1 - t0;
    }
    qsort(times, RUNS, sizeof *times, by_value);
    (void)printf("search_%s: %.2f ms (worst %.2f, longest slice %.2f; %zu found)\n", name,
                 times[RUNS / 2] * 1e3, times[RUNS - 1] * 1e3, slice * 1e3, p.n);
}

static void searches(struct store *s, uint64_t messages)
{
    char common[64], middle[64], q[256], pair[16];
    common[put_word(common, 0)] = '\0';
    middle[put_word(middle, 2000)] = '\0';
    pair[put_han(pair, 2) + put_han(pair + 3, 5)] = '\0';
    uint64_t mid_ms = first_ms + messages / 2 * step_ms;
    search(s, "rare_word", "zanzibar");
    search(s, "middle_word", middle);
    search(s, "common_word", common);
    search(s, "no_such_word", "xylophone");
    search(s, "chinese_two", pair);
    pair[put_han(pair, 1500) + put_han(pair + 3, 700)] = '\0';
    search(s, "chinese_two_rare", pair);
    pair[put_han(pair, 0)] = '\0';
    search(s, "chinese_one", pair);
    (void)snprintf(q, sizeof q, "%s from:77", common);
    search(s, "common_from_rare", q);
    (void)snprintf(q, sizeof q, "%s from:1", common);
    search(s, "common_from_common", q);
    (void)snprintf(q, sizeof q, "%s in:77", common);
    search(s, "common_in_rare", q);
    (void)snprintf(q, sizeof q, "zanzibar in:1");
    search(s, "rare_in_common", q);
    (void)snprintf(q, sizeof q, "%s before:%llu", common, (unsigned long long)mid_ms);
    search(s, "common_before", q);
    (void)snprintf(q, sizeof q, "%s before:%llu", common,
                   (unsigned long long)(first_ms + 1000 * step_ms));
    search(s, "common_before_first_days", q);
    (void)snprintf(q, sizeof q, "%s after:%llu", middle, (unsigned long long)mid_ms);
    search(s, "middle_after", q);
    (void)snprintf(q, sizeof q, "\"%s %s\"", common, common);
    search(s, "phrase_of_common", q);
    (void)snprintf(q, sizeof q, "%s -%s", middle, common);
    search(s, "middle_without_common", q);
    search(s, "prefix_of_two", "ka*");
    search(s, "prefix_of_four", "katemo*");
    search(s, "prefix_rare", "zanz*");
    search(s, "conversation_alone", "in:77");
}

/* ---- the start ---- */

static int on_row(void *ctx, const struct rec *r)
{
    (void)r;
    ++*(uint64_t *)ctx;
    return 0;
}

static int on_msg(void *ctx, const struct store_msg *m)
{
    struct page *p = ctx;
    p->n++;
    p->last = m->row;
    return 0;
}

static void start(const char *path, struct store **s)
{
    uint64_t rows = 0, unread = 0, sum = 0;
    double t0 = disk_now(CLOCK_MONOTONIC);
    store_close(*s);
    double t1 = disk_now(CLOCK_MONOTONIC);
    disk_check(store_open(path, s, NULL, 0), "open");
    double t2 = disk_now(CLOCK_MONOTONIC);
    disk_check(store_load(*s, on_row, &rows), "load");
    double t3 = disk_now(CLOCK_MONOTONIC);
    for (uint32_t i = 1; i <= CONTACTS; i++) {
        disk_check(store_unread(*s, i, &unread), "unread");
        sum += unread;
    }
    double t4 = disk_now(CLOCK_MONOTONIC);
    (void)printf("close: %.2f ms\nstart_open: %.2f ms\n"
                 "start_load: %.2f ms (%llu rows)\nunread_all: %.2f ms (%llu)\n",
                 (t1 - t0) * 1e3, (t2 - t1) * 1e3, (t3 - t2) * 1e3,
                 (unsigned long long)rows, (t4 - t3) * 1e3, (unsigned long long)sum);
    (void)printf("start_store: %.2f ms\n", (t4 - t1) * 1e3);
}

static void requests(struct store *s, uint64_t messages)
{
    struct page p = {0};
    double t0 = disk_now(CLOCK_MONOTONIC);
    disk_check(store_find(s, "0011223344", on_msg, &p), "find");
    double t1 = disk_now(CLOCK_MONOTONIC);
    (void)printf("find_by_id: %.2f ms\n", (t1 - t0) * 1e3);
    const struct store_query all = {.limit = PAGE};
    disk_check(store_history(s, &all, on_msg, &p), "history");
    double t2 = disk_now(CLOCK_MONOTONIC);
    (void)printf("page_of_all: %.2f ms\n", (t2 - t1) * 1e3);
    const struct store_query one = {.conv = 1, .backwards = true, .limit = PAGE};
    disk_check(store_history(s, &one, on_msg, &p), "history");
    double t3 = disk_now(CLOCK_MONOTONIC);
    (void)printf("page_of_one: %.2f ms\n", (t3 - t2) * 1e3);
    const struct store_query since = {
        .conv = 1, .since_ms = first_ms + messages / 2 * step_ms, .limit = PAGE};
    disk_check(store_history(s, &since, on_msg, &p), "history");
    (void)printf("page_since: %.2f ms\n", (disk_now(CLOCK_MONOTONIC) - t3) * 1e3);
}

/* ---- what the index costs ---- */

/* Whole batches, as bench_store; with the index, a slice follows each batch for as long
 * as there is something to do, so that it keeps up. */
static double cost(const char *dir, bool index, double *cpu)
{
    char path[512];
    struct store *s = NULL;
    disk_scratch(dir, "cost", path, sizeof path);
    disk_check(store_open(path, &s, NULL, 0), "open");
    struct txn t = {0};
    add_contact(&t, 1);
    commit(s, &t);
    double made = 0, made_cpu = 0, wall = disk_now(CLOCK_MONOTONIC);
    *cpu = disk_now(CLOCK_PROCESS_CPUTIME_ID);
    for (uint64_t i = 1; i <= COST_MESSAGES; i += COST_BATCH) {
        double t0 = disk_now(CLOCK_MONOTONIC), c0 = disk_now(CLOCK_PROCESS_CPUTIME_ID);
        for (uint64_t j = i; j < i + COST_BATCH; j++) {
            make_entry(&t, 2, j, BOX, j, true);
            add_msg(&t, j, 1, 0);
        }
        made += disk_now(CLOCK_MONOTONIC) - t0;
        made_cpu += disk_now(CLOCK_PROCESS_CPUTIME_ID) - c0;
        commit(s, &t);
        make_state(&t, 1, i, i + COST_BATCH - 1, STATE_DELIVERED);
        commit(s, &t);
        for (bool more = index && store_index_behind(s) >= 512; more;) {
            disk_check(store_index(s, true, &more), "index");
            more = more && store_index_behind(s) >= 512;
            if (store_checkpoint_due(s)) {
                disk_check(store_checkpoint(s), "checkpoint");
            }
        }
    }
    for (bool more = index; more;) {
        disk_check(store_index(s, false, &more), "index");
    }
    wall = disk_now(CLOCK_MONOTONIC) - wall - made;
    *cpu = (disk_now(CLOCK_PROCESS_CPUTIME_ID) - *cpu - made_cpu) * 1e6 / COST_MESSAGES;
    store_close(s);
    disk_scratch(dir, "cost", path, sizeof path);
    return COST_MESSAGES / wall;
}

static void costs(const char *dir)
{
    double cpu, cpu_index;
    double rate = cost(dir, false, &cpu);
    double rate_index = cost(dir, true, &cpu_index);
    (void)printf("store_rate: %.0f messages/s\nstore_cpu: %.2f us/message\n", rate, cpu);
    (void)printf("store_rate_with_index: %.0f messages/s\n"
                 "store_cpu_with_index: %.2f us/message\n",
                 rate_index, cpu_index);
}

int main(int argc, char **argv)
{
    uint64_t messages = 1000000;
    char path[512];
    struct store *s = NULL;
    if (argc > 2 && strcmp(argv[1], "--messages") == 0) {
        messages = strtoull(argv[2], NULL, 10);
        argc -= 2;
        argv += 2;
    }
    const char *dir = argc > 1 ? argv[1] : ".";
    costs(dir);
    disk_scratch(dir, "million", path, sizeof path);
    disk_check(store_open(path, &s, NULL, 0), "open");
    fill(s, messages);
    index_all(s, messages);
    start(path, &s);
    requests(s, messages);
    searches(s, messages);
    start(path, &s);
    store_close(s);
    disk_scratch(dir, "million", path, sizeof path);
    return 0;
}
