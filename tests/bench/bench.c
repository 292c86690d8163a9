#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

enum { ROW = 600, LINK_S = 20 };

void bench_die(const char *fmt, ...)
{
    va_list ap;
    (void)fflush(stdout);
    (void)fputs("benchmark: ", stderr);
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fputc('\n', stderr);
    _exit(1);
}

/* ---- time and figures ---- */

double bench_now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void bench_sleep(double seconds)
{
    struct timespec t = {.tv_sec = (time_t)seconds};
    t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
    while (nanosleep(&t, &t) != 0 && errno == EINTR) {
    }
}

void bench_print(double value, const char *unit, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vprintf(fmt, ap);
    va_end(ap);
    (void)printf(": %.*f %s\n", value >= 1000 ? 0 : value >= 10 ? 1 : 3, value, unit);
    (void)fflush(stdout);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_percentile(double *v, size_t n, double q)
{
    qsort(v, n, sizeof *v, by_value);
    return v[(size_t)(q * (double)(n - 1) + 0.5)];
}

/* ---- files ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

void bench_remove(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- the worker ---- */

/* Waits for the worker until the limit or a signal; its group then ends with it. */
static int watch(pid_t worker, unsigned seconds)
{
    const struct timespec limit = {.tv_sec = seconds};
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGCHLD);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    int got = sigtimedwait(&set, NULL, &limit), status = 0;
    if (got != SIGCHLD) {
        (void)fprintf(stderr, "benchmark: %s\n", got < 0 ? "took too long" : "stopped");
    }
    (void)kill(-worker, SIGKILL);
    (void)waitpid(worker, &status, 0);
    return got == SIGCHLD && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text, strlen(text)) < 0) {
        bench_die("%s: %s", path, strerror(errno));
    }
    (void)close(fd);
}

/* A network namespace with nothing but lo; without root also a user namespace. */
static bool own_network(void)
{
    char map[64];
    uid_t uid = geteuid();
    gid_t gid = getegid();
    if (unshare(CLONE_NEWNET) != 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
            return false;
        }
        write_file("/proc/self/setgroups", "deny");
        (void)snprintf(map, sizeof map, "0 %u 1", (unsigned)uid);
        write_file("/proc/self/uid_map", map);
        (void)snprintf(map, sizeof map, "0 %u 1", (unsigned)gid);
        write_file("/proc/self/gid_map", map);
    }
    return system("ip link set lo up") == 0;
}

static void work(struct bench *b, void (*run)(struct bench *))
{
    sigset_t none;
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    if (!own_network()) {
        (void)printf("skipped: network namespaces are not permitted here\n");
        (void)fflush(stdout);
        _exit(BENCH_SKIP);
    }
    b->zmq = zmq_ctx_new();
    run(b);
    (void)fflush(stdout);
    _exit(0);
}

/* The folder DIR of the arguments. */
static const char *take_args(int argc, char **argv, struct bench *b)
{
    const char *at = ".";
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--long") == 0) {
            b->wide = true;
        } else if (strcmp(argv[i], "--size") == 0 && i + 1 < argc) {
            b->mib = (unsigned)strtoul(argv[++i], NULL, 10);
        } else {
            at = argv[i];
        }
    }
    return at;
}

static bool make_folders(struct bench *b, const char *at)
{
    char real[4096];
    if (realpath(at, real) == NULL || strlen(real) > 70) {
        (void)fprintf(stderr, "%s: not a folder, or its path is too long for sockets\n",
                      at);
        return false;
    }
    (void)snprintf(b->dir, sizeof b->dir, "%.70s/lb.XXXXXX", real);
    (void)snprintf(b->shm, sizeof b->shm, "/dev/shm/lb.XXXXXX");
    if (mkdtemp(b->dir) == NULL) {
        (void)fprintf(stderr, "%s: %s\n", b->dir, strerror(errno));
        return false;
    }
    if (mkdtemp(b->shm) == NULL) {
        (void)fprintf(stderr, "%s: %s\n", b->shm, strerror(errno));
        bench_remove(b->dir);
        return false;
    }
    return true;
}

int bench_main(int argc, char **argv, unsigned seconds, void (*run)(struct bench *))
{
    struct bench b = {.linnet = getenv("LINNET")};
    const char *at = take_args(argc, argv, &b);
    if (b.linnet == NULL) {
        (void)fputs("LINNET must name the program\n", stderr);
        return 2;
    }
    if (!make_folders(&b, at)) {
        return 2;
    }
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGCHLD);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    (void)unsetenv("XDG_RUNTIME_DIR");
    (void)unsetenv("LINNET_HOME");
    pid_t worker = fork();
    if (worker == 0) {
        work(&b, run);
    }
    (void)setpgid(worker, worker);
    int rc = watch(worker, seconds);
    bench_remove(b.dir);
    bench_remove(b.shm);
    return rc;
}

/* ---- nodes ---- */

void bench_node_init(struct bench *b, struct bench_node *n, const char *name,
                     const char *interface)
{
    char path[BENCH_PATH + 16], line[64];
    memset(n, 0, sizeof *n);
    n->b = b;
    n->out = -1;
    (void)snprintf(n->name, sizeof n->name, "%s", name);
    (void)snprintf(n->home, sizeof n->home, "%.400s/%s", b->dir, name);
    if (mkdir(n->home, 0700) != 0) {
        bench_die("%s: %s", n->home, strerror(errno));
    }
    (void)snprintf(path, sizeof path, "%s/config.ini", n->home);
    (void)snprintf(line, sizeof line, "interfaces = %s\n", interface);
    write_file(path, line);
}

void bench_config(const struct bench_node *n, const char *lines)
{
    char path[BENCH_PATH + 16];
    (void)snprintf(path, sizeof path, "%s/config.ini", n->home);
    write_file(path, lines);
}

static void *client(struct bench_node *n, int type, const char *socket)
{
    char endpoint[BENCH_PATH + 32];
    int none = 0, soon_ms = 1;
    void *s = zmq_socket(n->b->zmq, type);
    (void)snprintf(endpoint, sizeof endpoint, "ipc://%s/run/%s", n->home, socket);
    if (s == NULL || zmq_setsockopt(s, ZMQ_SNDHWM, &none, sizeof none) != 0 ||
        zmq_setsockopt(s, ZMQ_RCVHWM, &none, sizeof none) != 0 ||
        zmq_setsockopt(s, ZMQ_LINGER, &none, sizeof none) != 0 ||
        zmq_setsockopt(s, ZMQ_RECONNECT_IVL, &soon_ms, sizeof soon_ms) != 0 ||
        zmq_connect(s, endpoint) != 0) {
        bench_die("%s: %s", endpoint, zmq_strerror(errno));
    }
    return s;
}

static void exec_node(const struct bench_node *n, const int out[2])
{
    char path[64], log[BENCH_PATH + 16];
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (n->netns != 0) {
        (void)snprintf(path, sizeof path, "/proc/%d/ns/net", (int)n->netns);
        int ns = open(path, O_RDONLY | O_CLOEXEC);
        if (ns < 0 || setns(ns, CLONE_NEWNET) != 0) {
            bench_die("%s: %s", path, strerror(errno));
        }
    }
    (void)snprintf(log, sizeof log, "%s.log", n->home);
    int err = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    (void)dup2(out[1], STDOUT_FILENO);
    (void)dup2(err, STDERR_FILENO);
    (void)execl(n->b->linnet, "linnet", "--home", n->home, "daemon", "--scope", "lan",
                "--name", n->name, (char *)NULL);
    _exit(127);
}

void bench_spawn(struct bench_node *n, const char *const *topics)
{
    int out[2];
    if (pipe2(out, O_CLOEXEC) != 0) {
        bench_die("pipe: %s", strerror(errno));
    }
    n->pid = fork();
    if (n->pid == 0) {
        exec_node(n, out);
    }
    (void)close(out[1]);
    n->out = out[0];
    n->api = client(n, ZMQ_DEALER, "api");
    if (topics != NULL) {
        n->events = client(n, ZMQ_SUB, "events");
    }
    for (; topics != NULL && *topics != NULL; topics++) {
        (void)zmq_setsockopt(n->events, ZMQ_SUBSCRIBE, *topics, strlen(*topics));
    }
}

void bench_await(struct bench_node *n)
{
    json_decref(bench_call(n, "status", NULL));
}

void bench_await_line(struct bench_node *n)
{
    char c = 0;
    while (c != '\n') {
        if (read(n->out, &c, 1) != 1) {
            bench_die("%s's node ended before it was ready", n->name);
        }
    }
}

static void gone(struct bench_node *n)
{
    (void)waitpid(n->pid, NULL, 0);
    (void)close(n->out);
    (void)zmq_close(n->api);
    if (n->events != NULL) {
        (void)zmq_close(n->events);
    }
    n->pid = 0;
    n->out = -1;
    n->api = n->events = NULL;
}

void bench_stop(struct bench_node *n)
{
    json_decref(bench_call(n, "stop", NULL));
    gone(n);
}

void bench_kill(struct bench_node *n)
{
    (void)kill(n->pid, SIGKILL);
    gone(n);
}

/* Reads answers until ours; others are of requests nobody waits for any more. */
static json_t *answer(struct bench_node *n, const char *method, uint64_t id)
{
    int wait_ms = BENCH_CALL_MS;
    (void)zmq_setsockopt(n->api, ZMQ_RCVTIMEO, &wait_ms, sizeof wait_ms);
    for (;;) {
        zmq_msg_t m;
        json_error_t bad;
        (void)zmq_msg_init(&m);
        if (zmq_msg_recv(&m, n->api, 0) < 0) {
            bench_die("%s's node does not answer %s", n->name, method);
        }
        json_t *a = json_loadb(zmq_msg_data(&m), zmq_msg_size(&m), 0, &bad);
        (void)zmq_msg_close(&m);
        if (a == NULL || (uint64_t)json_integer_value(json_object_get(a, "id")) != id) {
            json_decref(a);
            continue;
        }
        return a;
    }
}

json_t *bench_call(struct bench_node *n, const char *method, json_t *params)
{
    uint64_t id = ++n->next_id;
    json_t *q = json_pack("{sIss}", "id", (json_int_t)id, "method", method);
    if (params != NULL) {
        (void)json_object_set_new(q, "params", params);
    }
    char *text = json_dumps(q, JSON_COMPACT);
    json_decref(q);
    if (text == NULL || zmq_send(n->api, text, strlen(text), 0) < 0) {
        bench_die("%s: %s", method, zmq_strerror(errno));
    }
    free(text);
    json_t *a = answer(n, method, id);
    json_t *result = json_object_get(a, "result");
    if (result == NULL) {
        const json_t *e = json_object_get(a, "error");
        bench_die("%s at %s: %s", method, n->name,
                  json_string_value(json_object_get(e, "message")));
    }
    json_incref(result);
    json_decref(a);
    return result;
}

json_t *bench_event(struct bench_node *n, int wait_ms)
{
    zmq_pollitem_t item = {.socket = n->events, .events = ZMQ_POLLIN};
    if (zmq_poll(&item, 1, wait_ms) <= 0) {
        return NULL;
    }
    zmq_msg_t m;
    json_error_t bad;
    json_t *e = NULL;
    bool more;
    do { /* the topic, then the event */
        json_decref(e);
        (void)zmq_msg_init(&m);
        if (zmq_msg_recv(&m, n->events, 0) < 0) {
            bench_die("%s's events: %s", n->name, zmq_strerror(errno));
        }
        e = json_loadb(zmq_msg_data(&m), zmq_msg_size(&m), 0, &bad);
        more = zmq_msg_more(&m) != 0;
        (void)zmq_msg_close(&m);
    } while (more);
    if (e == NULL) {
        bench_die("%s: an event that is no JSON", n->name);
    }
    return e;
}

bool bench_linked(struct bench_node *n)
{
    json_t *r = bench_call(n, "contacts", NULL);
    const json_t *c = json_array_get(json_object_get(r, "contacts"), 0);
    bool linked = json_is_true(json_object_get(c, "linked"));
    json_decref(r);
    return linked;
}

void bench_await_link(struct bench_node *a, struct bench_node *b)
{
    double until = bench_now() + LINK_S;
    while (!bench_linked(a) || !bench_linked(b)) {
        if (bench_now() > until) {
            bench_die("the two are not linked");
        }
        bench_sleep(0.01);
    }
}

void bench_pair(struct bench_node *a, struct bench_node *b)
{
    json_t *r = bench_call(a, "invite", NULL);
    const char *code = json_string_value(json_object_get(r, "code"));
    json_decref(bench_call(b, "add", json_pack("{ss}", "code", code)));
    json_decref(r);
    bench_await_link(a, b);
}

/* ---- what the kernel counts ---- */

/* The number behind `key` in a /proc file of lines; 0 when there is none. */
static uint64_t number_in(const char *path, const char *key)
{
    char line[256];
    uint64_t v = 0;
    FILE *f = fopen(path, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0) {
            v = strtoull(line + strlen(key), NULL, 10);
            break;
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return v;
}

/* Sums one number over all threads. */
static uint64_t over_threads(pid_t pid, const char *key)
{
    char pattern[64], path[128];
    uint64_t sum = 0;
    (void)snprintf(pattern, sizeof pattern, "ls /proc/%d/task", (int)pid);
    FILE *list = popen(pattern, "re");
    int tid;
    while (list != NULL && fscanf(list, "%d", &tid) == 1) {
        (void)snprintf(path, sizeof path, "/proc/%d/task/%d/status", (int)pid, tid);
        sum += number_in(path, key);
    }
    if (list != NULL) {
        (void)pclose(list);
    }
    return sum;
}

void bench_usage(const struct bench_node *n, struct bench_usage *out)
{
    char path[64];
    clockid_t clock;
    struct timespec t = {0};
    if (clock_getcpuclockid(n->pid, &clock) != 0 || clock_gettime(clock, &t) != 0) {
        bench_die("the CPU time of %s's node cannot be read", n->name);
    }
    out->cpu_s = (double)t.tv_sec + (double)t.tv_nsec / 1e9;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)n->pid);
    out->rss = number_in(path, "VmRSS:") * 1024;
    out->wakeups = over_threads(n->pid, "voluntary_ctxt_switches:");
}

void bench_peak_reset(const struct bench_node *n)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/clear_refs", (int)n->pid);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "5", 1) != 1) {
        bench_die("%s: %s", path, strerror(errno));
    }
    (void)close(fd);
}

uint64_t bench_peak(const struct bench_node *n)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)n->pid);
    return number_in(path, "VmHWM:") * 1024;
}

void bench_traffic(const char *interface, struct bench_traffic *out)
{
    char line[512], name[32];
    bool found = false;
    FILE *f = fopen("/proc/self/net/dev", "re");
    while (f != NULL && !found && fgets(line, sizeof line, f) != NULL) {
        unsigned long long v[4];
        found = sscanf(line, " %31[^:]: %llu %llu %*u %*u %*u %*u %*u %*u %llu %llu",
                       name, &v[0], &v[1], &v[2], &v[3]) == 5 &&
                strcmp(name, interface) == 0;
        if (found) {
            *out = (struct bench_traffic){v[0], v[1], v[2], v[3]};
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    if (!found) {
        bench_die("there is no interface %s", interface);
    }
}

/* ---- the disk ---- */

void bench_commits(const struct bench *b, double *seconds, size_t n)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    static const uint8_t row[ROW];
    char path[BENCH_PATH + 16], more[BENCH_PATH + 32];
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;
    (void)snprintf(path, sizeof path, "%s/commits.db", b->dir);
    if (sqlite3_open(path, &db) != SQLITE_OK ||
        sqlite3_exec(db,
                     "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                     "CREATE TABLE IF NOT EXISTS m(id INTEGER PRIMARY KEY, body BLOB)",
                     NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(db, "INSERT INTO m(body) VALUES(?)", -1, &st, NULL) !=
            SQLITE_OK) {
        bench_die("%s: %s", path, sqlite3_errmsg(db));
    }
    (void)sqlite3_bind_blob(st, 1, row, sizeof row, SQLITE_STATIC);
    for (size_t i = 0; i < n; i++) {
        double t0 = bench_now();
        if (sqlite3_step(st) != SQLITE_DONE || sqlite3_reset(st) != SQLITE_OK) {
            bench_die("%s: %s", path, sqlite3_errmsg(db));
        }
        seconds[i] = bench_now() - t0;
    }
    (void)sqlite3_finalize(st);
    (void)sqlite3_close(db);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        (void)snprintf(more, sizeof more, "%s%s", path, ends[i]);
        (void)unlink(more);
    }
}
