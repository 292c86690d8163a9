#include "bare.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    BODY = 100,
    TAG = crypto_aead_xchacha20poly1305_ietf_ABYTES,
    FRAME = BODY + TAG,
    BATCH = 256,
    WINDOW = 4096,
};

/* One end: its connection, database and counters. */
struct end {
    int fd;
    sqlite3 *db;
    sqlite3_stmt *put;
    uint8_t key[crypto_aead_xchacha20poly1305_ietf_KEYBYTES];
    uint64_t sent, received;
    uint8_t side, buf[BATCH * FRAME];
    char path[BENCH_PATH + 32];
};

static void store_open_at(struct end *e, const struct bench *b, const char *name)
{
    (void)snprintf(e->path, sizeof e->path, "%s/bare-%s-%d.db", b->dir, name,
                   (int)getpid());
    if (sqlite3_open(e->path, &e->db) != SQLITE_OK ||
        sqlite3_exec(e->db,
                     "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                     "CREATE TABLE m(id INTEGER PRIMARY KEY, body BLOB)",
                     NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(e->db, "INSERT INTO m(body) VALUES(?)", -1, &e->put, NULL) !=
            SQLITE_OK) {
        bench_die("%s: %s", e->path, sqlite3_errmsg(e->db));
    }
}

/* The last connection that closes removes the log's files. */
static void store_remove(struct end *e)
{
    (void)sqlite3_finalize(e->put);
    (void)sqlite3_close(e->db);
    (void)unlink(e->path);
}

static void sql(struct end *e, const char *text)
{
    if (sqlite3_exec(e->db, text, NULL, NULL, NULL) != SQLITE_OK) {
        bench_die("%s: %s", text, sqlite3_errmsg(e->db));
    }
}

static void put(struct end *e, const uint8_t body[BODY])
{
    (void)sqlite3_bind_blob(e->put, 1, body, BODY, SQLITE_STATIC);
    if (sqlite3_step(e->put) != SQLITE_DONE || sqlite3_reset(e->put) != SQLITE_OK) {
        bench_die("insert: %s", sqlite3_errmsg(e->db));
    }
}

static void nonce_of(uint8_t out[24], uint8_t side, uint64_t n)
{
    memset(out, 0, 24);
    out[0] = side;
    memcpy(out + 8, &n, sizeof n);
}

static void seal(struct end *e, uint8_t out[FRAME], const uint8_t body[BODY])
{
    uint8_t nonce[24];
    nonce_of(nonce, e->side, e->sent++);
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt(out, NULL, body, BODY, NULL, 0, NULL,
                                                     nonce, e->key);
}

static void unseal(struct end *e, uint8_t body[BODY], const uint8_t frame[FRAME])
{
    uint8_t nonce[24];
    nonce_of(nonce, e->side ^ 1, e->received++);
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(body, NULL, NULL, frame, FRAME, NULL,
                                                   0, nonce, e->key) != 0) {
        bench_die("a bare message does not open");
    }
}

static void write_all(int fd, const uint8_t *p, size_t n)
{
    while (n > 0) {
        ssize_t did = write(fd, p, n);
        if (did <= 0) {
            bench_die("bare write: %s", strerror(errno));
        }
        p += did;
        n -= (size_t)did;
    }
}

static void read_all(int fd, uint8_t *p, size_t n)
{
    while (n > 0) {
        ssize_t did = read(fd, p, n);
        if (did <= 0) {
            bench_die("bare read: %s", strerror(errno));
        }
        p += did;
        n -= (size_t)did;
    }
}

/* ---- round trips ---- */

static void send_one(struct end *e)
{
    uint8_t body[BODY] = {1}, frame[FRAME];
    put(e, body);
    seal(e, frame, body);
    write_all(e->fd, frame, FRAME);
}

static void receive_one(struct end *e)
{
    uint8_t body[BODY], frame[FRAME];
    read_all(e->fd, frame, FRAME);
    unseal(e, body, frame);
    put(e, body);
}

/* ---- pipelined ---- */

static size_t receive_batch(struct end *e, size_t have)
{
    uint8_t body[BODY];
    ssize_t got = read(e->fd, e->buf + have, sizeof e->buf - have);
    if (got <= 0) {
        bench_die("bare read: %s", strerror(errno));
    }
    have += (size_t)got;
    size_t at = 0;
    if (have < FRAME) {
        return have;
    }
    sql(e, "BEGIN IMMEDIATE");
    for (; have - at >= FRAME; at += FRAME) {
        unseal(e, body, e->buf + at);
        put(e, body);
    }
    sql(e, "COMMIT");
    memmove(e->buf, e->buf + at, have - at);
    /* The acknowledgement: a sealed frame with the count. */
    uint8_t frame[FRAME];
    memset(body, 0, sizeof body);
    memcpy(body, &e->received, sizeof e->received);
    seal(e, frame, body);
    write_all(e->fd, frame, FRAME);
    return have - at;
}

static void send_batch(struct end *e, size_t n)
{
    uint8_t body[BODY] = {2};
    sql(e, "BEGIN IMMEDIATE");
    for (size_t i = 0; i < n; i++) {
        put(e, body);
        seal(e, e->buf + i * FRAME, body);
    }
    sql(e, "COMMIT");
    write_all(e->fd, e->buf, n * FRAME);
}

static void send_all(struct end *e, size_t messages)
{
    uint8_t body[BODY], frame[FRAME];
    uint64_t acked = 0;
    while (acked < messages) {
        size_t n = messages - e->sent;
        n = n < BATCH ? n : BATCH;
        bool may = n > 0 && e->sent - acked + n <= WINDOW;
        if (may) {
            send_batch(e, n);
        }
        while (recv(e->fd, frame, FRAME, MSG_PEEK | (may ? MSG_DONTWAIT : 0)) > 0) {
            read_all(e->fd, frame, FRAME);
            unseal(e, body, frame);
            memcpy(&acked, body, sizeof acked);
            may = true;
        }
    }
}

/* ---- both ends ---- */

static void listener(struct bench *b, int at, size_t trips, size_t messages)
{
    struct end *e = calloc(1, sizeof *e);
    int one = 1;
    size_t have = 0;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    e->fd = accept(at, NULL, NULL);
    e->side = 1;
    (void)setsockopt(e->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    store_open_at(e, b, "b");
    for (size_t i = 0; i < trips; i++) {
        receive_one(e);
        send_one(e);
    }
    while (e->received < trips + messages) {
        have = receive_batch(e, have);
    }
    store_remove(e);
    _exit(0);
}

static pid_t begin(struct bench *b, struct end *e, size_t trips, size_t messages)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof a;
    int at = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (at < 0 || bind(at, (struct sockaddr *)&a, sizeof a) != 0 || listen(at, 1) != 0 ||
        getsockname(at, (struct sockaddr *)&a, &len) != 0) {
        bench_die("bare listen: %s", strerror(errno));
    }
    (void)fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        listener(b, at, trips, messages);
    }
    (void)close(at);
    e->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(e->fd, (struct sockaddr *)&a, sizeof a) != 0) {
        bench_die("bare connect: %s", strerror(errno));
    }
    (void)setsockopt(e->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    store_open_at(e, b, "a");
    return pid;
}

static void finish(struct end *e, pid_t pid)
{
    (void)waitpid(pid, NULL, 0);
    store_remove(e);
    (void)close(e->fd);
    free(e);
}

void bare_round_trips(struct bench *b, double *seconds, size_t n)
{
    struct end *e = calloc(1, sizeof *e);
    pid_t pid = begin(b, e, n, 0);
    for (size_t i = 0; i < n; i++) {
        double t0 = bench_now();
        send_one(e);
        receive_one(e);
        seconds[i] = bench_now() - t0;
    }
    finish(e, pid);
}

double bare_rate(struct bench *b, size_t messages)
{
    struct end *e = calloc(1, sizeof *e);
    pid_t pid = begin(b, e, 0, messages);
    double t0 = bench_now();
    send_all(e, messages);
    double s = bench_now() - t0;
    finish(e, pid);
    return (double)messages / s;
}
