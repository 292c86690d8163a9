/* Files between two nodes on one machine over loopback, in memory (/dev/shm), homes on
 * the disk:
 *
 *   one file     from the request `send` to the event `done` at the sender: all of it is
 *                verified and in place at the receiver, which accepts by itself. In
 *                turns with scp of the same file to an sshd of our own, each one first
 *                in every other round; and Tox. The memory was in use before: where a
 *                machine is a virtual one, its first use costs whoever comes first
 *   many files   a folder of small ones, in turns with `scp -r`
 *   a large one  the most memory that either node needs
 *   texts        from the request `send` to the event `message` at the other node, with
 *                nothing else to do and while files are sent
 *
 * What has come is compared with what was sent. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <zmq.h>

#include "bench.h"
#include "scp.h"

enum {
    SECONDS = 1800,
    MEBI = 1024 * 1024,
    FILE_MIB = 1024,
    LARGE_MIB = 4096,
    SPARE_MIB = 1024, /* of memory, beside a large file */
    TOX_MIB = 64,
    ROUNDS = 7, /* in turns with scp */
    TOX_ROUNDS = 3,
    TEXT_ROUNDS = 3,
    ROUNDS_LONG = 7, /* of those two, with --long */
    WARM = 2,        /* sizes of the file: itself, and what comes of it */
    SMALL_FILES = 10000,
    SMALL_FOLDERS = 100,
    SMALL_BYTES = 4096,
    TEXTS = 300,
    TEXT_MS = 20,
    STALL_MS = 30000, /* without a word of a transfer */
    COMMAND = 3 * BENCH_PATH,
};

/* ---- what is sent ---- */

static void make_file(const char *path, size_t len)
{
    static uint8_t block[MEBI];
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    for (size_t n; fd >= 0 && len > 0; len -= n) {
        n = len < sizeof block ? len : sizeof block;
        if (getrandom(block, n, 0) != (ssize_t)n || write(fd, block, n) != (ssize_t)n) {
            break;
        }
    }
    if (fd < 0 || len > 0) {
        bench_die("%s: %s", path, strerror(errno));
    }
    (void)close(fd);
}

static void make_folder(const char *path)
{
    if (mkdir(path, 0700) != 0) {
        bench_die("%s: %s", path, strerror(errno));
    }
}

static void make_small_files(const char *path, size_t n)
{
    char at[2 * BENCH_PATH];
    make_folder(path);
    for (size_t i = 0; i < SMALL_FOLDERS; i++) {
        (void)snprintf(at, sizeof at, "%s/%zu", path, i);
        make_folder(at);
    }
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(at, sizeof at, "%s/%zu/file-%zu", path, i % SMALL_FOLDERS, i);
        make_file(at, SMALL_BYTES);
    }
}

/* Holes all the way: it takes no memory. */
static void make_sparse(const char *path, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)len) != 0) {
        bench_die("%s: %s", path, strerror(errno));
    }
    (void)close(fd);
}

static void check_same(const char *a, const char *b)
{
    char command[COMMAND];
    (void)snprintf(command, sizeof command, "diff -rq '%s' '%s' >&2", a, b);
    if (system(command) != 0) {
        bench_die("what has come differs from what was sent");
    }
}

/* ---- our transfers ---- */

struct world {
    struct bench *b;
    struct bench_node v[2]; /* who sends, who receives */
    char here[BENCH_PATH];  /* where files come to; emptied after each */
    struct scp scp;
    bool has_scp, has_tox;
    char tox[BENCH_PATH];
};

struct took {
    double seconds, cpu_s[2];
    uint64_t peak[2];
};

static void empty(const char *folder)
{
    bench_remove(folder);
    make_folder(folder);
}

/* Where a file of that name comes to. */
static void come_to(const struct world *w, const char *path, char out[2 * BENCH_PATH])
{
    char copy[BENCH_PATH];
    (void)snprintf(copy, sizeof copy, "%s", path);
    (void)snprintf(out, 2 * (size_t)BENCH_PATH, "%s/%s", w->here, basename(copy));
}

/* The number of the transfer. */
static json_int_t offer(struct world *w, const char *path)
{
    json_t *r = bench_call(&w->v[0], "send",
                           json_pack("{s:s,s:[s]}", "to", "bob", "files", path));
    const json_t *m = json_array_get(json_object_get(r, "messages"), 0);
    const json_t *n = json_object_get(json_object_get(m, "file"), "n");
    if (!json_is_integer(n)) {
        bench_die("the answer to send has no transfer");
    }
    json_int_t number = json_integer_value(n);
    json_decref(r);
    return number;
}

/* Whether the event is the end of a transfer as it should be; another end is fatal. */
static bool is_done(const json_t *e)
{
    static const char *const bad[] = {"declined", "stopped", "cancelled",
                                      "changed",  "broken",  "lost"};
    const char *what = json_string_value(json_object_get(e, "what"));
    for (size_t i = 0; what != NULL && i < sizeof bad / sizeof *bad; i++) {
        if (strcmp(what, bad[i]) == 0) {
            bench_die("the transfer was %s", what);
        }
    }
    return what != NULL && strcmp(what, "done") == 0;
}

static void await_done(struct world *w, json_int_t number)
{
    bool done = false;
    while (!done) {
        json_t *e = bench_event(&w->v[0], STALL_MS);
        if (e == NULL) {
            bench_die("the transfer does not go on");
        }
        done = is_done(e) && json_integer_value(json_object_get(e, "transfer")) == number;
        json_decref(e);
    }
}

static void send_ours(struct world *w, const char *path, struct took *out)
{
    struct bench_usage from[2], to[2];
    for (int i = 0; i < 2; i++) {
        bench_peak_reset(&w->v[i]);
        bench_usage(&w->v[i], &from[i]);
    }
    double t0 = bench_now();
    await_done(w, offer(w, path));
    out->seconds = bench_now() - t0;
    for (int i = 0; i < 2; i++) {
        bench_usage(&w->v[i], &to[i]);
        out->cpu_s[i] = to[i].cpu_s - from[i].cpu_s;
        out->peak[i] = bench_peak(&w->v[i]);
    }
}

static void send_and_check(struct world *w, const char *path, struct took *out)
{
    char came[2 * BENCH_PATH];
    send_ours(w, path, out);
    come_to(w, path, came);
    check_same(path, came);
    empty(w->here);
}

/* ---- others ---- */

static void send_scp(struct world *w, const char *path, struct scp_took *out)
{
    char came[2 * BENCH_PATH];
    scp_copy(&w->scp, path, w->here, out);
    come_to(w, path, came);
    check_same(path, came);
    empty(w->here);
}

/* The program stands beside this one where libtoxcore was there to build it. */
static bool find_tox(struct world *w)
{
    char self[BENCH_PATH] = "";
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) {
        return false;
    }
    (void)snprintf(w->tox, sizeof w->tox, "%.400s/tox_file", dirname(self));
    return access(w->tox, X_OK) == 0;
}

static void send_tox(struct world *w, const char *how, struct scp_took *out)
{
    char command[COMMAND];
    (void)snprintf(command, sizeof command, "'%s' %d '%s/tox' %s", w->tox, TOX_MIB,
                   w->here, how);
    FILE *f = popen(command, "re");
    if (f == NULL || fscanf(f, "%lf %lf", &out->seconds, &out->cpu_s) != 2 ||
        pclose(f) != 0) {
        bench_die("%s has failed", w->tox);
    }
}

/* ---- rounds ---- */

/* Values of one figure in all rounds. */
struct series {
    double v[ROUNDS > ROUNDS_LONG ? ROUNDS : ROUNDS_LONG];
    size_t n;
};

static void add(struct series *s, double v)
{
    s->v[s->n++] = v;
}

/* The median, which is printed. */
static double tell(struct series *s, const char *unit, const char *name)
{
    double median = bench_percentile(s->v, s->n, 0.5);
    bench_print(median, unit, "%s", name);
    return median;
}

/* The same with its range. */
static double tell_range(struct series *s, const char *unit, const char *name)
{
    double median = tell(s, unit, name); /* sorts them */
    bench_print(s->v[0], unit, "%s_least", name);
    bench_print(s->v[s->n - 1], unit, "%s_most", name);
    return median;
}

static double most(const struct series *s)
{
    double v = 0;
    for (size_t i = 0; i < s->n; i++) {
        v = s->v[i] > v ? s->v[i] : v;
    }
    return v;
}

struct rounds {
    struct series rate, cpu, cpu_of[2], peak[2];
    struct series scp, scp_bare, scp_setup, scp_cpu;
};

/* What is sent in a round: so many units, for the rates, and gb times 10^9 bytes. */
struct load {
    const char *path;
    double units, gb;
};

static void our_turn(struct world *w, struct rounds *r, const struct load *l)
{
    struct took t;
    send_and_check(w, l->path, &t);
    add(&r->rate, l->units / t.seconds);
    add(&r->cpu, (t.cpu_s[0] + t.cpu_s[1]) / l->gb);
    for (int i = 0; i < 2; i++) {
        add(&r->cpu_of[i], t.cpu_s[i] / l->gb);
        add(&r->peak[i], (double)t.peak[i] / MEBI);
    }
}

static void turn_of_scp(struct world *w, struct rounds *r, const struct load *l)
{
    char tiny[BENCH_PATH + 8];
    struct scp_took small, big;
    if (!w->has_scp) {
        return;
    }
    (void)snprintf(tiny, sizeof tiny, "%s/tiny", w->b->shm);
    send_scp(w, tiny, &small);
    send_scp(w, l->path, &big);
    add(&r->scp, l->units / big.seconds);
    add(&r->scp_bare, l->units / (big.seconds - small.seconds));
    add(&r->scp_setup, small.seconds);
    add(&r->scp_cpu, (big.cpu_s - small.cpu_s) / l->gb);
}

static void all_rounds(struct world *w, struct rounds *r, const struct load *l)
{
    for (size_t i = 0; i < ROUNDS; i++) {
        if (i % 2 == 0) {
            our_turn(w, r, l);
        }
        turn_of_scp(w, r, l);
        if (i % 2 == 1) {
            our_turn(w, r, l);
        }
    }
}

static void print_rounds(const struct world *w, struct rounds *r, const char *unit,
                         const char *what)
{
    char name[64];
    const char *const figures[] = {"cpu_sender", "cpu_receiver", "peak_sender",
                                   "peak_receiver"};
    for (size_t i = 0; i < r->rate.n; i++) {
        bench_print(r->rate.v[i], unit, "%s_run_%zu", what, i + 1);
    }
    for (size_t i = 0; i < r->scp.n; i++) {
        bench_print(r->scp_bare.v[i], unit, "%s_scp_without_setup_run_%zu", what, i + 1);
    }
    (void)snprintf(name, sizeof name, "%s_rate", what);
    double ours = tell_range(&r->rate, unit, name);
    (void)snprintf(name, sizeof name, "%s_cpu_both", what);
    (void)tell(&r->cpu, "s/GB", name);
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(name, sizeof name, "%s_%s", what, figures[i]);
        (void)tell(&r->cpu_of[i], "s/GB", name);
    }
    for (size_t i = 0; i < 2; i++) {
        bench_print(most(&r->peak[i]), "MiB", "%s_%s", what, figures[2 + i]);
    }
    if (w->has_scp) {
        (void)snprintf(name, sizeof name, "%s_scp_setup", what);
        (void)tell(&r->scp_setup, "s", name);
        (void)snprintf(name, sizeof name, "%s_scp_rate", what);
        double with = tell_range(&r->scp, unit, name);
        (void)snprintf(name, sizeof name, "%s_scp_rate_without_setup", what);
        double without = tell_range(&r->scp_bare, unit, name);
        (void)snprintf(name, sizeof name, "%s_scp_cpu", what);
        (void)tell(&r->scp_cpu, "s/GB", name);
        bench_print(ours / (with > without ? with : without), "x", "%s_over_scp", what);
    }
}

static void tox_rounds(struct world *w, size_t n, double ours)
{
    static const char *const how[] = {"spin", "wait"};
    struct series rate[2] = {0}, cpu[2] = {0};
    char name[64];
    for (size_t i = 0; i < 2 * n; i++) {
        struct scp_took t;
        send_tox(w, how[i % 2], &t);
        add(&rate[i % 2], (double)TOX_MIB * MEBI / 1e6 / t.seconds);
        add(&cpu[i % 2], t.cpu_s / ((double)TOX_MIB * MEBI / 1e9));
    }
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(name, sizeof name, "tox_%s_rate", how[i]);
        double theirs = tell(&rate[i], "MB/s", name);
        (void)snprintf(name, sizeof name, "tox_%s_cpu_both", how[i]);
        (void)tell(&cpu[i], "s/GB", name);
        bench_print(ours / theirs, "x", "file_over_tox_%s", how[i]);
    }
}

static void one_file(struct world *w, const char *path, size_t bytes)
{
    struct rounds r = {0};
    struct load l = {path, (double)bytes / 1e6, (double)bytes / 1e9};
    all_rounds(w, &r, &l);
    bench_print((double)bytes / MEBI, "MiB", "file_size");
    print_rounds(w, &r, "MB/s", "file");
    if (w->has_tox) {
        tox_rounds(w, w->b->wide ? ROUNDS_LONG : TOX_ROUNDS,
                   bench_percentile(r.rate.v, r.rate.n, 0.5));
    }
}

static void many_files(struct world *w)
{
    char path[BENCH_PATH + 8];
    struct rounds r = {0};
    struct load l = {path, SMALL_FILES, (double)SMALL_FILES * SMALL_BYTES / 1e9};
    (void)snprintf(path, sizeof path, "%s/small", w->b->shm);
    make_small_files(path, SMALL_FILES);
    all_rounds(w, &r, &l);
    bench_print(SMALL_FILES, "files", "folder_files");
    print_rounds(w, &r, "files/s", "folder");
    bench_remove(path);
}

/* ---- a large file ---- */

static void restart(struct world *w)
{
    static const char *const topics[2][3] = {{"transfer", NULL}, {"message", NULL}};
    for (int i = 0; i < 2; i++) {
        if (w->v[i].pid != 0) {
            bench_stop(&w->v[i]);
        }
        bench_spawn(&w->v[i], topics[i]);
        bench_await(&w->v[i]);
    }
}

/* Bytes that a file may have there; /dev/shm may be larger than memory. */
static size_t room(const char *folder)
{
    struct statvfs f;
    char line[128];
    size_t kib = 0, space;
    FILE *m = fopen("/proc/meminfo", "re");
    while (m != NULL && fgets(line, sizeof line, m) != NULL &&
           sscanf(line, "MemAvailable: %zu", &kib) != 1) {
    }
    if (m == NULL || statvfs(folder, &f) != 0) {
        bench_die("%s: %s", folder, strerror(errno));
    }
    (void)fclose(m);
    space = f.f_bavail * f.f_frsize;
    space = space < kib * 1024 ? space : kib * 1024;
    return space > (size_t)SPARE_MIB * MEBI ? space - (size_t)SPARE_MIB * MEBI : 0;
}

/* In nodes that have just been started, so that nothing else has needed memory. */
static void large_file(struct world *w)
{
    size_t wanted = (size_t)LARGE_MIB * MEBI, bytes = room(w->here);
    char path[BENCH_PATH + 8];
    struct took t;
    if (bytes >= wanted) {
        bytes = wanted;
    } else {
        (void)printf("there is no room for %d MiB: a smaller file is sent\n", LARGE_MIB);
    }
    (void)snprintf(path, sizeof path, "%s/large", w->b->shm);
    make_sparse(path, bytes);
    restart(w);
    bench_await_link(&w->v[0], &w->v[1]);
    send_and_check(w, path, &t);
    bench_remove(path);
    bench_print((double)bytes / MEBI, "MiB", "large_size");
    bench_print((double)bytes / 1e6 / t.seconds, "MB/s", "large_rate");
    bench_print((double)t.peak[0] / MEBI, "MiB", "large_peak_sender");
    bench_print((double)t.peak[1] / MEBI, "MiB", "large_peak_receiver");
}

/* ---- texts ---- */

struct texts {
    double *at, *took; /* when each was sent, how long it took */
    size_t n, sent, heard;
    const char *files; /* what is sent meanwhile, over and over; NULL: nothing */
    size_t transfers;  /* that have ended meanwhile */
};

/* Does not wait for the answer. */
static void request(struct bench_node *n, const char *params)
{
    char q[2 * BENCH_PATH];
    int len = snprintf(q, sizeof q,
                       "{\"id\":%llu,\"method\":\"send\",\"params\":{\"to\":\"bob\",%s}}",
                       (unsigned long long)++n->next_id, params);
    if (zmq_send(n->api, q, (size_t)len, 0) < 0) {
        bench_die("send: %s", zmq_strerror(errno));
    }
}

static void check_answers(struct bench_node *n)
{
    char p[4 * BENCH_PATH];
    int len;
    while ((len = zmq_recv(n->api, p, sizeof p, ZMQ_DONTWAIT)) >= 0) {
        size_t used = (size_t)len < sizeof p ? (size_t)len : sizeof p;
        if (memmem(p, used, "\"result\"", 8) == NULL) {
            bench_die("%s: %.*s", n->name, (int)used, p);
        }
    }
}

static void say(struct world *w, struct texts *t)
{
    char params[64];
    (void)snprintf(params, sizeof params, "\"text\":\"text %zu\"", t->sent);
    t->at[t->sent++] = bench_now();
    request(&w->v[0], params);
}

/* Texts come in order. */
static void hear(struct world *w, struct texts *t)
{
    json_t *e;
    while ((e = bench_event(&w->v[1], 0)) != NULL) {
        char *text = json_dumps(e, JSON_COMPACT), expected[64];
        double now = bench_now();
        (void)snprintf(expected, sizeof expected, "\"text\":\"text %zu\"", t->heard);
        if (text != NULL && strstr(text, expected) != NULL) {
            t->took[t->heard] = now - t->at[t->heard];
            t->heard++;
        }
        free(text);
        json_decref(e);
    }
}

static void send_more(struct world *w, struct texts *t)
{
    char params[BENCH_PATH + 32];
    (void)snprintf(params, sizeof params, "\"files\":[\"%s\"]", t->files);
    request(&w->v[0], params);
}

/* When a transfer has ended the next one begins. */
static void keep_sending(struct world *w, struct texts *t)
{
    json_t *e;
    while ((e = bench_event(&w->v[0], 0)) != NULL) {
        if (is_done(e)) {
            t->transfers++;
            empty(w->here);
            send_more(w, t);
        }
        json_decref(e);
    }
}

/* Takes what comes until then. */
static void wait_until(struct world *w, struct texts *t, double due)
{
    for (double left; (left = due - bench_now()) > 0 && t->heard < t->n;) {
        zmq_pollitem_t items[] = {{.socket = w->v[1].events, .events = ZMQ_POLLIN},
                                  {.socket = w->v[0].events, .events = ZMQ_POLLIN}};
        if (left < 1e-3) {
            bench_sleep(left);
        } else if (zmq_poll(items, 2, (long)(left * 1e3)) > 0) {
            hear(w, t);
            keep_sending(w, t);
            check_answers(&w->v[0]);
        }
    }
}

static void texts(struct world *w, struct texts *t)
{
    double start = bench_now();
    for (size_t i = 0; i < t->n; i++) {
        wait_until(w, t, start + (double)i * TEXT_MS / 1e3);
        say(w, t);
    }
    wait_until(w, t, bench_now() + STALL_MS / 1e3);
    if (t->heard < t->n) {
        bench_die("%zu of %zu texts have come", t->heard, t->n);
    }
}

/* The receiver's number of the transfer that is under way, 0: none. */
static json_int_t under_way(struct world *w)
{
    json_t *r = bench_call(&w->v[1], "transfers", NULL);
    json_t *list = json_object_get(r, "transfers"), *x;
    json_int_t n = 0;
    size_t i;
    json_array_foreach(list, i, x)
    {
        const char *state = json_string_value(json_object_get(x, "state"));
        if (state != NULL && strcmp(state, "active") == 0 &&
            json_integer_value(json_object_get(x, "done")) > 0) {
            n = json_integer_value(json_object_get(x, "n"));
        }
    }
    json_decref(r);
    return n;
}

/* Ends a transfer early, and waits until the sender knows. */
static void cancel(struct world *w, json_int_t number)
{
    bool ended = false;
    json_decref(
        bench_call(&w->v[1], "transfers.cancel", json_pack("{s:I}", "n", number)));
    while (!ended) {
        json_t *e = bench_event(&w->v[0], STALL_MS);
        const char *what = json_string_value(json_object_get(e, "what"));
        if (what == NULL) {
            bench_die("the sender does not learn that a transfer was cancelled");
        }
        ended = strcmp(what, "stopped") == 0 || strcmp(what, "declined") == 0 ||
                strcmp(what, "cancelled") == 0;
        json_decref(e);
    }
}

static json_int_t await_transfer(struct world *w)
{
    double until = bench_now() + STALL_MS / 1e3;
    json_int_t n;
    while ((n = under_way(w)) == 0) {
        if (bench_now() > until) {
            bench_die("no transfer begins");
        }
        bench_sleep(0.001);
    }
    return n;
}

/* With a transfer under way from before the first text until behind the last. */
static void busy_texts(struct world *w, struct texts *t)
{
    send_more(w, t);
    (void)await_transfer(w);
    texts(w, t);
    cancel(w, await_transfer(w));
    empty(w->here);
}

struct latency {
    struct series p50, p99, worst;
};

static void add_texts(struct latency *l, struct texts *t)
{
    add(&l->p50, bench_percentile(t->took, t->n, 0.5) * 1e3);
    add(&l->p99, bench_percentile(t->took, t->n, 0.99) * 1e3);
    add(&l->worst, t->took[t->n - 1] * 1e3);
}

/* Idle and busy in turns, since the disk of the homes weighs on both. */
static void latency(struct world *w, const char *path)
{
    static const char *const names[] = {"text_idle", "text_busy"};
    size_t rounds = w->b->wide ? ROUNDS_LONG : TEXT_ROUNDS, ended = 0;
    double v[2 * TEXTS], p99[2];
    struct latency l[2] = {0};
    char name[64];
    for (size_t i = 0; i < rounds; i++) {
        struct texts idle = {.at = v, .took = v + TEXTS, .n = TEXTS}, busy = idle;
        busy.files = path;
        texts(w, &idle);
        add_texts(&l[0], &idle);
        busy_texts(w, &busy);
        add_texts(&l[1], &busy);
        ended += busy.transfers;
    }
    bench_commits(w->b, v, TEXTS);
    bench_print(bench_percentile(v, TEXTS, 0.5) * 1e3, "ms", "text_commit_p50");
    bench_print(bench_percentile(v, TEXTS, 0.99) * 1e3, "ms", "text_commit_p99");
    for (int i = 0; i < 2; i++) {
        (void)snprintf(name, sizeof name, "%s_p50", names[i]);
        (void)tell(&l[i].p50, "ms", name);
        (void)snprintf(name, sizeof name, "%s_p99", names[i]);
        p99[i] = tell(&l[i].p99, "ms", name);
        bench_print(most(&l[i].worst), "ms", "%s_worst", names[i]);
    }
    bench_print(p99[1] - p99[0], "ms", "text_p99_difference");
    bench_print((double)ended, "transfers", "text_busy_transfers_ended");
}

/* ---- all of it ---- */

static void make_world(struct world *w, struct bench *b)
{
    char lines[2 * BENCH_PATH];
    memset(w, 0, sizeof *w);
    w->b = b;
    (void)snprintf(w->here, sizeof w->here, "%.400s/here", b->shm);
    make_folder(w->here);
    (void)snprintf(lines, sizeof lines,
                   "accept = contacts\naccept_max = none\naccept_quota = none\n"
                   "downloads = %s\n",
                   w->here);
    bench_node_init(b, &w->v[0], "ann", "lo");
    bench_node_init(b, &w->v[1], "bob", "lo");
    bench_config(&w->v[1], lines);
    restart(w);
    bench_pair(&w->v[0], &w->v[1]);
    w->has_scp = scp_start(b, &w->scp);
    w->has_tox = find_tox(w);
    if (!w->has_tox) {
        (void)printf("Tox is left out: libtoxcore-dev was not there to build it\n");
    }
}

static void run(struct bench *b)
{
    struct world w;
    char path[BENCH_PATH + 8];
    size_t bytes = (size_t)(b->mib == 0 ? FILE_MIB : b->mib) * MEBI;
    make_world(&w, b);
    (void)snprintf(path, sizeof path, "%s/tiny", b->shm);
    make_file(path, 1);
    (void)snprintf(path, sizeof path, "%s/file", b->shm);
    make_file(path, WARM * bytes);
    bench_remove(path);
    make_file(path, bytes);
    one_file(&w, path, bytes);
    latency(&w, path);
    bench_remove(path);
    many_files(&w);
    large_file(&w);
    bench_stop(&w.v[0]);
    bench_stop(&w.v[1]);
    if (w.has_scp) {
        scp_stop(&w.scp);
    }
}

int main(int argc, char **argv)
{
    return bench_main(argc, argv, SECONDS, run);
}
