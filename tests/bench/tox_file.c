/* One file from one Tox node to another over loopback, to measure linnet's beside: two
 * processes, friends by their keys, each told of the other's address; local discovery is
 * off. The time runs from tox_file_send() until the receiver has written the last byte
 * and found that all are those of the source; processor time is that of both.
 *
 *   tox_file MIB FILE wait|spin    FILE: what the receiver writes; it is removed
 *
 * wait: each turn of the loop sleeps as long as tox_iteration_interval() says, as clients
 * do. spin: it does not sleep. Prints "SECONDS CPU_SECONDS". */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <tox/tox.h>
#include <unistd.h>

enum { CONNECT_S = 120, TRANSFER_S = 120, MIB = 1024 * 1024, PORT = 33445, PORTS = 100 };

/* What the two tell each other about themselves. */
struct hello {
    uint8_t key[TOX_PUBLIC_KEY_SIZE], dht[TOX_PUBLIC_KEY_SIZE];
    uint16_t port;
};

struct result {
    double end, cpu_s;
};

struct side {
    Tox *tox;
    const uint8_t *source;
    size_t len;
    const char *path;
    bool spin, linked, sent;
    int other; /* the socket to the other process */
    int out;
    size_t got;
    double cpu_s; /* of the receiver when it began */
};

__attribute__((noreturn)) static void fail(const char *why)
{
    (void)fprintf(stderr, "tox: %s\n", why);
    _exit(1);
}

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- what toxcore tells ---- */

static void on_connection(Tox *tox, uint32_t friend, Tox_Connection c, void *ctx)
{
    (void)tox, (void)friend;
    ((struct side *)ctx)->linked = c != TOX_CONNECTION_NONE;
}

static void on_request(Tox *tox, uint32_t friend, uint32_t file, uint64_t at, size_t len,
                       void *ctx)
{
    struct side *s = ctx;
    if (len == 0) {
        s->sent = true;
    } else if (at + len <= s->len) {
        (void)tox_file_send_chunk(tox, friend, file, at, s->source + at, len, NULL);
    }
}

static void on_file(Tox *tox, uint32_t friend, uint32_t file, uint32_t kind,
                    uint64_t size, const uint8_t *name, size_t name_len, void *ctx)
{
    struct side *s = ctx;
    (void)kind, (void)size, (void)name, (void)name_len;
    s->out = open(s->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    s->cpu_s = cpu();
    if (s->out < 0 ||
        !tox_file_control(tox, friend, file, TOX_FILE_CONTROL_RESUME, NULL)) {
        fail("the file cannot be received");
    }
}

/* The source is mapped in both processes. */
static void on_chunk(Tox *tox, uint32_t friend, uint32_t file, uint64_t at,
                     const uint8_t *p, size_t len, void *ctx)
{
    struct side *s = ctx;
    (void)tox, (void)friend, (void)file;
    if (len == 0) {
        struct result r = {.end = now(), .cpu_s = cpu() - s->cpu_s};
        if (s->got != s->len || write(s->other, &r, sizeof r) != sizeof r) {
            fail("the file has not come as a whole");
        }
        return;
    }
    if (at + len > s->len || memcmp(p, s->source + at, len) != 0 ||
        pwrite(s->out, p, len, (off_t)at) != (ssize_t)len) {
        fail("what comes is not what was sent, or cannot be written");
    }
    s->got += len;
}

/* ---- the two sides ---- */

static Tox *make(void)
{
    struct Tox_Options *o = tox_options_new(NULL);
    tox_options_set_ipv6_enabled(o, false);
    tox_options_set_local_discovery_enabled(o, false);
    tox_options_set_start_port(o, PORT);
    tox_options_set_end_port(o, PORT + PORTS);
    Tox *tox = tox_new(o, NULL);
    tox_options_free(o);
    if (tox == NULL) {
        fail("a node cannot be made");
    }
    tox_callback_friend_connection_status(tox, on_connection);
    tox_callback_file_chunk_request(tox, on_request);
    tox_callback_file_recv(tox, on_file);
    tox_callback_file_recv_chunk(tox, on_chunk);
    return tox;
}

/* The number of the other as a friend. */
static uint32_t meet(struct side *s)
{
    struct hello us, them;
    memset(&us, 0, sizeof us);
    s->tox = make();
    tox_self_get_public_key(s->tox, us.key);
    tox_self_get_dht_id(s->tox, us.dht);
    us.port = tox_self_get_udp_port(s->tox, NULL);
    if (write(s->other, &us, sizeof us) != sizeof us ||
        read(s->other, &them, sizeof them) != sizeof them ||
        !tox_bootstrap(s->tox, "127.0.0.1", them.port, them.dht, NULL)) {
        fail("the two do not meet");
    }
    return tox_friend_add_norequest(s->tox, them.key, NULL);
}

static void turn(struct side *s)
{
    tox_iterate(s->tox, s);
    if (!s->spin) {
        (void)usleep(tox_iteration_interval(s->tox) * 1000);
    }
}

/* Whether the other process has said something. */
static bool told(const struct side *s)
{
    struct pollfd p = {.fd = s->other, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

static void receive(struct side *s)
{
    (void)meet(s);
    for (;;) {
        turn(s);
    }
}

static void until(struct side *s, const bool *what, int seconds, const char *why)
{
    for (double end = now() + seconds; !*what;) {
        turn(s);
        if (now() > end) {
            fail(why);
        }
    }
}

static void send_file(struct side *s)
{
    struct result r;
    uint32_t friend = meet(s);
    until(s, &s->linked, CONNECT_S, "no connection");
    for (double end = now() + 2; now() < end;) { /* the other has to see it too */
        turn(s);
    }
    double t0 = now(), c0 = cpu();
    if (tox_file_send(s->tox, friend, TOX_FILE_KIND_DATA, s->len, NULL,
                      (const uint8_t *)"f", 1, NULL) == UINT32_MAX) {
        fail("the file cannot be sent");
    }
    until(s, &s->sent, TRANSFER_S, "the transfer takes too long");
    while (!told(s)) {
        turn(s);
    }
    double c1 = cpu();
    if (read(s->other, &r, sizeof r) != sizeof r) {
        fail("the receiver has ended");
    }
    (void)printf("%.6f %.6f\n", r.end - t0, c1 - c0 + r.cpu_s);
}

/* Bytes that repeat nowhere near. */
static uint8_t *make_source(size_t len)
{
    uint8_t *p =
        mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        fail("no memory");
    }
    for (uint64_t i = 0; i < len; i += sizeof i) {
        uint64_t v = i * 0x9E3779B97F4A7C15U;
        memcpy(p + i, &v, sizeof v);
    }
    return p;
}

int main(int argc, char **argv)
{
    int pair[2];
    if (argc != 4 || strtoul(argv[1], NULL, 10) == 0) {
        (void)fputs("usage: tox_file MIB FILE wait|spin\n", stderr);
        return 2;
    }
    struct side s = {.len = strtoul(argv[1], NULL, 10) * MIB, .path = argv[2]};
    s.source = make_source(s.len);
    s.spin = strcmp(argv[3], "spin") == 0;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        fail("no sockets");
    }
    pid_t receiver = fork();
    s.other = receiver == 0 ? pair[1] : pair[0];
    (void)close(receiver == 0 ? pair[0] : pair[1]);
    if (receiver == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        receive(&s);
    }
    send_file(&s);
    (void)kill(receiver, SIGKILL);
    (void)waitpid(receiver, NULL, 0);
    (void)unlink(s.path);
    return 0;
}
