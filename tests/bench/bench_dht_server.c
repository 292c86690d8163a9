/* A DHT node as a server: how many find_node questions it answers for each second of
 * processor time that it takes, linnet's beside those of libtorrent and of transmission
 * (jech/dht), and beside the same datagrams read and sent with nothing in between (bare),
 * which no server can be faster than.
 *
 * All have warm tables from the same network of nodes (crowd.h) and are asked in turns,
 * by many addresses, in a closed loop. Each is bound to one processor, the crowd to
 * another. The figure is answers over the process' own time, all threads and the kernel's
 * work for them included: a machine that is busy otherwise weighs little on it.
 *
 * Limits of their own: linnet's are as `dht serve` has them, but for --rate. libtorrent's
 * are set out of reach. jech's allows 100 answers a second, and 400 at once; nothing sets
 * it, but when the clock is put back, its count turns negative and never ends:
 * step_back.c does that once its table is warm. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "crowd.h"

enum {
    TURNS = 7,
    TURNS_LONG = 21,
    WARM_S = 300,    /* at most */
    WARM_PLAY_S = 5, /* jech's limit lets a look and an introduction through */
    WARM_ENOUGH = CROWD_NODES * 9 / 10,
    BARE_BATCH = 64,
    BARE_BYTES = 1500,
    SERVERS_AT = 2, /* second byte of their addresses */
    SERVERS_PORT = 6881,
    DRAIN_S = 2,
    STEP_BACK_S = 3600,
    LIFTED = 4000, /* answers that no limit of 100 a second lets through */
    ROOM = 64,
};

static const double turn_s = 1.5;

enum kind { BARE, LINNET, LIBTORRENT, TRANSMISSION, KINDS };
static const char *const names[KINDS] = {"bare", "linnet", "libtorrent", "transmission"};

struct server {
    enum kind kind;
    pid_t pid; /* 0: not there */
    struct addr addr;
    size_t known;
    double cpu[TURNS_LONG], wall[TURNS_LONG], busy[TURNS_LONG];
    size_t answers, named, lost, wrong;
};

struct run {
    struct bench *b;
    struct crowd *crowd;
    struct server servers[KINDS];
    int64_t *step; /* of transmission's clock */
};

/* ---- processes ---- */

/* Processor n, when there are two or more. */
static void pin(size_t n)
{
    cpu_set_t all, one;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof all, &all) != 0 || CPU_COUNT(&all) < 2) {
        return;
    }
    for (size_t i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &all) && n-- == 0) {
            CPU_SET(i, &one);
            (void)sched_setaffinity(0, sizeof one, &one);
            return;
        }
    }
}

/* A child on the servers' processor, with standard input from in and output to the log.
 */
static pid_t begin(const struct run *r, struct server *s, int in)
{
    char path[BENCH_PATH + ROOM];
    s->pid = fork();
    if (s->pid != 0) {
        return s->pid;
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    pin(0);
    (void)snprintf(path, sizeof path, "%s/%s.log", r->b->dir, names[s->kind]);
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    (void)dup2(in, STDIN_FILENO);
    (void)dup2(log, STDOUT_FILENO);
    if (s->kind > LINNET) {
        (void)dup2(log, STDERR_FILENO);
    }
    return 0;
}

static double cpu_s(const struct server *s)
{
    struct timespec t;
    clockid_t clock;
    if (clock_getcpuclockid(s->pid, &clock) != 0 || clock_gettime(clock, &t) != 0) {
        bench_die("%s has ended", names[s->kind]);
    }
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool has_ended(struct server *s)
{
    if (s->pid != 0 && waitpid(s->pid, NULL, WNOHANG) != 0) {
        s->pid = 0;
    }
    return s->pid == 0;
}

static void text_of(const struct addr *a, char ip[ADDR_STR_MAX], char both[ADDR_STR_MAX])
{
    (void)addr_ip_str(a, ip);
    (void)addr_str(a, both);
}

/* The path of a file in the folder of this program. */
static void beside(const char *name, char out[BENCH_PATH])
{
    char self[BENCH_PATH] = "";
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) {
        bench_die("/proc/self/exe: %s", strerror(errno));
    }
    (void)snprintf(out, BENCH_PATH, "%.400s/%s", dirname(self), name);
    if (access(out, R_OK) != 0) {
        bench_die("%s: %s", out, strerror(errno));
    }
}

/* ---- the servers ---- */

/* Answers with always the same nodes. */
__attribute__((noreturn)) static void serve_bare(const struct run *r,
                                                 const struct addr *a)
{
    static uint8_t in[BARE_BATCH][BARE_BYTES], out[BARE_BATCH][KRPC_SEND_MAX];
    struct mmsghdr m[BARE_BATCH], o[BARE_BATCH];
    struct iovec iv[BARE_BATCH], ov[BARE_BATCH];
    struct sockaddr_in from[BARE_BATCH];
    struct sockaddr_storage sa;
    size_t tid_at, len = crowd_sample(r->crowd, out[0], &tid_at);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, addr_to_sockaddr(a, &sa)) != 0) {
        bench_die("bare: %s", strerror(errno));
    }
    for (size_t i = 0; i < BARE_BATCH; i++) {
        memcpy(out[i], out[0], len);
        iv[i] = (struct iovec){in[i], sizeof in[i]};
        ov[i] = (struct iovec){out[i], len};
        m[i].msg_hdr = (struct msghdr){.msg_name = &from[i], .msg_iov = &iv[i]};
        m[i].msg_hdr.msg_iovlen = 1;
        o[i].msg_hdr = (struct msghdr){.msg_name = &from[i], .msg_iov = &ov[i]};
        o[i].msg_hdr.msg_iovlen = 1;
        o[i].msg_hdr.msg_namelen = m[i].msg_hdr.msg_namelen = sizeof from[i];
    }
    for (;;) {
        int n = recvmmsg(fd, m, BARE_BATCH, MSG_WAITFORONE, NULL);
        for (int i = 0; i < n; i++) {
            size_t at = crowd_question_tid_at(m[i].msg_len);
            memcpy(out[i] + tid_at, in[i] + at, CROWD_TID);
        }
        (void)sendmmsg(fd, o, n > 0 ? (unsigned)n : 0, 0);
    }
}

static void start_bare(const struct run *r, struct server *s)
{
    if (begin(r, s, STDIN_FILENO) == 0) {
        serve_bare(r, &s->addr);
    }
}

static void start_linnet(const struct run *r, struct server *s)
{
    char ip[ADDR_STR_MAX], at[ADDR_STR_MAX], first[2][ADDR_STR_MAX];
    text_of(&s->addr, ip, at);
    for (size_t i = 0; i < 2; i++) {
        (void)addr_str(&crowd_node(r->crowd, i)->addr, first[i]);
    }
    if (begin(r, s, STDIN_FILENO) == 0) {
        (void)execl(r->b->linnet, "linnet", "dht", "serve", "--rate", "none", "--listen",
                    at, "--bootstrap", first[0], "--bootstrap", first[1], (char *)NULL);
        _exit(127);
    }
}

static void start_libtorrent(const struct run *r, struct server *s)
{
    char ip[ADDR_STR_MAX], at[ADDR_STR_MAX], script[BENCH_PATH];
    int in[2];
    if (pipe2(in, O_CLOEXEC) != 0) {
        bench_die("pipe: %s", strerror(errno));
    }
    beside("dht_libtorrent.py", script);
    text_of(&s->addr, ip, at);
    if (begin(r, s, in[0]) == 0) {
        (void)execl("/usr/bin/python3", "python3", script, at, (char *)NULL);
        _exit(127);
    }
    for (size_t i = 0; i < CROWD_NODES; i++) {
        const struct addr *a = &crowd_node(r->crowd, i)->addr;
        (void)dprintf(in[1], "%s %u\n", addr_ip_str(a, ip), (unsigned)a->port);
    }
    (void)close(in[0]);
    (void)close(in[1]);
}

/* What transmission keeps of its table between runs: its id and nodes. */
static void write_table(const struct run *r, const char *home)
{
    char path[BENCH_PATH + 2 * ROOM];
    uint8_t node[KRPC_NODE6_LEN];
    (void)snprintf(path, sizeof path, "%s/dht.dat", home);
    FILE *f = fopen(path, "we");
    if (f == NULL) {
        bench_die("%s: %s", path, strerror(errno));
    }
    struct dht_id id;
    dht_id_for_addr(env_system(), &r->servers[TRANSMISSION].addr, &id);
    (void)fprintf(f, "d2:id%d:", DHT_ID_LEN);
    (void)fwrite(id.b, 1, DHT_ID_LEN, f);
    (void)fprintf(f, "5:nodes%d:", CROWD_NODES * KRPC_ADDR4_LEN);
    for (size_t i = 0; i < CROWD_NODES; i++) {
        (void)krpc_pack_node(crowd_node(r->crowd, i), node);
        (void)fwrite(node + DHT_ID_LEN, 1, KRPC_ADDR4_LEN, f);
    }
    (void)fputs("e", f);
    (void)fclose(f);
}

static int64_t *map_step(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(int64_t)) != 0) {
        bench_die("%s: %s", path, strerror(errno));
    }
    void *p = mmap(NULL, sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
        bench_die("%s: %s", path, strerror(errno));
    }
    (void)close(fd);
    return p;
}

static void start_transmission(struct run *r, struct server *s)
{
    char home[BENCH_PATH + ROOM], path[BENCH_PATH + 2 * ROOM];
    char ip[ADDR_STR_MAX], at[ADDR_STR_MAX], port[ROOM];
    char library[BENCH_PATH];
    beside("step_back.so", library);
    (void)snprintf(home, sizeof home, "%s/transmission", r->b->dir);
    if (mkdir(home, 0700) != 0) {
        bench_die("%s: %s", home, strerror(errno));
    }
    (void)snprintf(path, sizeof path, "%s/step", home);
    (void)snprintf(port, sizeof port, "%u", (unsigned)s->addr.port);
    r->step = map_step(path);
    write_table(r, home);
    text_of(&s->addr, ip, at);
    if (begin(r, s, STDIN_FILENO) == 0) {
        (void)setenv("STEP_BACK", path, 1);
        (void)setenv("LD_PRELOAD", library, 1);
        (void)execlp("transmission-daemon", "transmission-daemon", "-f", "-g", home, "-w",
                     home, "--dht", "--no-portmap", "--no-lpd", "-i", ip, "-P", port,
                     (char *)NULL);
        _exit(127);
    }
}

/* ---- warm tables ---- */

/* Until all servers know most of the nodes, or the time is over. Those that keep few in
 * a part of their table, or ask new ones one by one, take longest. */
static void warm_all(struct run *r)
{
    bool cold = true;
    double end = bench_now() + WARM_S;
    while (cold && bench_now() < end) {
        cold = false;
        for (size_t i = LINNET; i < KINDS; i++) {
            if (!has_ended(&r->servers[i]) && r->servers[i].known < WARM_ENOUGH) {
                crowd_introduce(r->crowd, &r->servers[i].addr);
            }
        }
        crowd_play(r->crowd, WARM_PLAY_S);
        for (size_t i = LINNET; i < KINDS; i++) {
            struct server *s = &r->servers[i];
            if (!has_ended(s)) {
                s->known = crowd_known(r->crowd, &s->addr);
                cold = cold || s->known < WARM_ENOUGH;
            }
        }
    }
}

/* Spends all that jech's limit has left, and puts the clock back while it has nothing. */
static void lift_limit(struct run *r, struct server *s)
{
    struct crowd_result got;
    crowd_ask(r->crowd, &s->addr, DRAIN_S, &got);
    bench_print((double)got.answers / got.seconds, "answers/s",
                "dht_server_transmission_as_it_ships");
    *r->step = STEP_BACK_S;
    crowd_ask(r->crowd, &s->addr, DRAIN_S, &got);
    s->known = crowd_known(r->crowd, &s->addr);
    if (got.answers < LIFTED) {
        bench_die("transmission's limit still holds: %zu answers, %zu lost", got.answers,
                  got.lost);
    }
}

static void missing(const char *what, const char *package)
{
    (void)printf("not there or ended, so not measured: %s (package %s)\n", what, package);
    (void)fflush(stdout);
}

static void start_all(struct run *r)
{
    for (size_t i = 0; i < KINDS; i++) {
        struct server *s = &r->servers[i];
        s->kind = (enum kind)i;
        s->addr = (struct addr){.family = 4, .port = SERVERS_PORT};
        memcpy(s->addr.ip, (uint8_t[]){CROWD_NET, SERVERS_AT, (uint8_t)(1 + i), 1}, 4);
    }
    start_bare(r, &r->servers[BARE]);
    start_linnet(r, &r->servers[LINNET]);
    start_libtorrent(r, &r->servers[LIBTORRENT]);
    start_transmission(r, &r->servers[TRANSMISSION]);
    warm_all(r);
    if (has_ended(&r->servers[BARE]) || has_ended(&r->servers[LINNET])) {
        bench_die("a server of ours has ended");
    }
    if (has_ended(&r->servers[LIBTORRENT])) {
        missing("libtorrent", "python3-libtorrent");
    }
    if (has_ended(&r->servers[TRANSMISSION])) {
        missing("jech/dht", "transmission-daemon");
    } else {
        lift_limit(r, &r->servers[TRANSMISSION]);
    }
}

/* ---- turns ---- */

static void take_turn(struct run *r, struct server *s, size_t n)
{
    struct crowd_result got;
    double before = cpu_s(s);
    crowd_ask(r->crowd, &s->addr, turn_s, &got);
    double took = cpu_s(s) - before;
    s->cpu[n] = (double)got.answers / took;
    s->wall[n] = (double)got.answers / got.seconds;
    s->busy[n] = took / got.seconds;
    s->answers += got.answers;
    s->named += got.named;
    s->lost += got.lost;
    s->wrong += got.wrong;
}

static void print_server(struct server *s, size_t turns)
{
    const char *name = names[s->kind];
    double least = bench_percentile(s->cpu, turns, 0), most = s->cpu[turns - 1];
    bench_print(s->cpu[turns / 2], "answers/s of its processor time", "dht_server_%s",
                name);
    bench_print(least, "least of the turns", "dht_server_%s_least", name);
    bench_print(most, "most", "dht_server_%s_most", name);
    bench_print(bench_percentile(s->wall, turns, 0.5), "answers/s by the clock",
                "dht_server_%s_wall", name);
    bench_print(100 * bench_percentile(s->busy, turns, 0.5), "% of a processor",
                "dht_server_%s_busy", name);
    bench_print((double)s->named / (double)s->answers, "nodes in an answer, mean",
                "dht_server_%s_named", name);
    bench_print((double)(s->lost + s->wrong), "questions without a right answer",
                "dht_server_%s_lost", name);
    if (s->kind != BARE) {
        bench_print((double)s->known, "of 200 nodes known", "dht_server_%s_known", name);
    }
}

/* The median of the ratios of each turn. */
static void print_ratio(const struct run *r, enum kind a, enum kind b, size_t turns)
{
    double ratio[TURNS_LONG];
    for (size_t i = 0; i < turns; i++) {
        ratio[i] = r->servers[a].cpu[i] / r->servers[b].cpu[i];
    }
    bench_print(bench_percentile(ratio, turns, 0.5), "times", "dht_server_%s_to_%s",
                names[a], names[b]);
}

static void measure(struct run *r)
{
    size_t turns = r->b->wide ? TURNS_LONG : TURNS;
    for (size_t n = 0; n < turns; n++) {
        for (size_t i = 0; i < KINDS; i++) {
            struct server *s = &r->servers[(i + n) % KINDS];
            if (s->pid != 0) {
                take_turn(r, s, n);
            }
        }
    }
    for (size_t i = BARE; i < KINDS; i++) {
        if (i != LINNET && r->servers[i].pid != 0) {
            print_ratio(r, LINNET, (enum kind)i, turns);
        }
    }
    for (size_t i = BARE; i < KINDS; i++) {
        if (r->servers[i].pid != 0) {
            print_server(&r->servers[i], turns);
        }
    }
}

static void run(struct bench *b)
{
    static struct run r;
    char command[2 * ROOM];
    (void)snprintf(command, sizeof command, "ip route add local %d.0.0.0/8 dev lo",
                   CROWD_NET);
    if (system(command) != 0) {
        bench_die("%s: failed (it needs iproute2)", command);
    }
    r.b = b;
    r.crowd = crowd_new();
    pin(1);
    start_all(&r);
    measure(&r);
    crowd_free(r.crowd);
}

int main(int argc, char **argv)
{
    return bench_main(argc, argv, 600, run);
}
