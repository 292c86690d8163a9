/* noise-peer: the bare handshake of crypto/noise over TCP, to try foreign implementations
 * against it. Every Noise message has its length before it, 2 bytes big-endian; the one
 * who connects is the initiator. Payloads of handshake messages are empty when sent and
 * ignored when received.
 *
 * Standard output, line by line: `listening: HOST:PORT` (--listen), `handshake_hash:
 * HEX`, `remote_static: HEX` when there is one, `received: HEX` for each transport
 * message unless --echo. End of standard input closes our direction; what the peer still
 * sends is read. When the peer has closed, what standard input holds already is still
 * sent. Exit code 0: both ended in order; 1: a failure; 2: usage. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/err.h"
#include "crypto/noise.h"

enum {
    EXIT_USAGE = 2,
    LENGTH = 2,
    PROLOGUE_MAX = 4096,
    HOST_MAX = 256,
    LINE_MAX_HEX = 2 * (NOISE_MSG_MAX - NOISE_TAG),
    GRACE_MS = 500,         /* for input that is on its way when the peer has closed */
    QUEUE_LOW = 256 * 1024, /* unsent bytes above which nothing new is taken in */
    QUEUE_MAX = QUEUE_LOW + 2 * (LENGTH + NOISE_MSG_MAX),
};

struct options {
    bool listen, echo, has_static, has_remote;
    const char *at;
    const struct noise_pattern *pattern;
    uint8_t prologue[PROLOGUE_MAX];
    size_t prologue_len;
    uint8_t s[NOISE_KEY], rs[NOISE_KEY];
    uint8_t psks[NOISE_PSKS_MAX][NOISE_KEY];
    unsigned n_psks;
};

struct peer {
    const struct options *opt;
    int fd;
    bool input_open, peer_open, sent_fin;
    struct noise_handshake hs;
    struct noise_cipher tx, rx;
    struct buf in, out, lines; /* from the peer, to the peer, from standard input */
    uint8_t msg[NOISE_MSG_MAX], plain[NOISE_MSG_MAX];
};

/* Says what is wrong; always -1. */
__attribute__((format(printf, 1, 2))) static int complain(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)fputs("noise-peer: ", stderr);
    (void)vfprintf(stderr, fmt, ap);
    (void)fputc('\n', stderr);
    va_end(ap);
    return -1;
}

/* ---- Options ---- */

static void usage(FILE *f)
{
    (void)fputs(
        "usage: noise-peer --listen|--connect HOST:PORT --pattern NAME\n"
        "    [--prologue HEX] [--static HEX] [--remote-static HEX]\n"
        "    [--psk HEX]... [--echo]\n"
        "The suite is 25519_ChaChaPoly_BLAKE2b. --static is a private key, one is\n"
        "made up when the pattern wants it; --remote-static is a public key.\n",
        f);
}

static int get_key(const char *option, const char *hex, uint8_t out[NOISE_KEY])
{
    size_t n;

    if (sodium_hex2bin(out, NOISE_KEY, hex, strlen(hex), NULL, &n, NULL) != 0 ||
        n != NOISE_KEY || strlen(hex) != 2 * (size_t)NOISE_KEY) {
        return complain("%s wants %d hexadecimal digits", option, 2 * NOISE_KEY);
    }
    return 0;
}

static int set_option(struct options *o, int c)
{
    switch (c) {
    case 'l':
    case 'c':
        if (o->at != NULL) {
            return complain("one of --listen and --connect, once");
        }
        o->listen = c == 'l';
        o->at = optarg;
        return 0;
    case 'a':
        o->pattern = noise_pattern_find(optarg);
        return o->pattern != NULL ? 0 : complain("unknown pattern: %s", optarg);
    case 'p':
        if (sodium_hex2bin(o->prologue, sizeof(o->prologue), optarg, strlen(optarg), NULL,
                           &o->prologue_len, NULL) != 0 ||
            o->prologue_len * 2 != strlen(optarg)) {
            return complain("--prologue wants at most %d bytes as hexadecimal digits",
                            PROLOGUE_MAX);
        }
        return 0;
    case 's':
        o->has_static = true;
        return get_key("--static", optarg, o->s);
    case 'r':
        o->has_remote = true;
        return get_key("--remote-static", optarg, o->rs);
    case 'k':
        if (o->n_psks == NOISE_PSKS_MAX) {
            return complain("at most %d times --psk", NOISE_PSKS_MAX);
        }
        return get_key("--psk", optarg, o->psks[o->n_psks++]);
    case 'e':
        o->echo = true;
        return 0;
    default:
        return -1; /* getopt has said why */
    }
}

static int check_options(const struct options *o)
{
    if (o->at == NULL || o->pattern == NULL) {
        return complain("--listen or --connect, and --pattern, are needed");
    }
    if (o->n_psks != noise_pattern_psks(o->pattern)) {
        return complain("the pattern takes %u --psk, %u given",
                        noise_pattern_psks(o->pattern), o->n_psks);
    }
    if (noise_pattern_needs_remote_static(o->pattern, !o->listen) && !o->has_remote) {
        return complain("the pattern needs --remote-static on this side");
    }
    if (noise_pattern_oneway(o->pattern) && o->listen && o->echo) {
        return complain("in a one-way pattern the responder sends nothing: no --echo");
    }
    return 0;
}

/* 0, 1 when help was printed, or -1. */
static int get_options(struct options *o, int argc, char **argv)
{
    static const struct option longs[] = {
        {"listen", required_argument, NULL, 'l'},
        {"connect", required_argument, NULL, 'c'},
        {"pattern", required_argument, NULL, 'a'},
        {"prologue", required_argument, NULL, 'p'},
        {"static", required_argument, NULL, 's'},
        {"remote-static", required_argument, NULL, 'r'},
        {"psk", required_argument, NULL, 'k'},
        {"echo", no_argument, NULL, 'e'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (c == 'h') {
            usage(stdout);
            return 1;
        }
        if (set_option(o, c) != 0) {
            return -1;
        }
    }
    if (optind != argc) {
        return complain("what is %s?", argv[optind]);
    }
    return check_options(o);
}

/* ---- TCP ---- */

/* Splits HOST:PORT or [IPV6]:PORT. */
static int split_host(const char *at, char host[HOST_MAX], const char **port)
{
    const char *colon = strrchr(at, ':');
    size_t n = colon != NULL ? (size_t)(colon - at) : 0;

    if (n >= 2 && at[0] == '[' && at[n - 1] == ']') {
        at++;
        n -= 2;
    }
    if (n == 0 || n >= HOST_MAX || colon[1] == '\0') {
        return complain("HOST:PORT or [IPV6]:PORT is wanted");
    }
    memcpy(host, at, n);
    host[n] = '\0';
    *port = colon + 1;
    return 0;
}

/* Prints where we listen and waits for one connection. */
static int accept_one(int fd)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    struct addr a;
    char str[ADDR_STR_MAX];
    int got;

    if (getsockname(fd, (struct sockaddr *)&ss, &len) != 0 ||
        addr_from_sockaddr((struct sockaddr *)&ss, &a) != 0) {
        return complain("the socket has no address");
    }
    printf("listening: %s\n", addr_str(&a, str));
    do {
        got = accept(fd, NULL, NULL);
    } while (got < 0 && errno == EINTR);
    return got >= 0 ? got : complain("accept: %s", strerror(errno));
}

static int open_socket(const struct options *o)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = o->listen ? AI_PASSIVE : 0};
    struct addrinfo *list;
    char host[HOST_MAX];
    const char *port = NULL;
    const int on = 1;
    int fd, rc;

    if (split_host(o->at, host, &port) != 0) {
        return -1;
    }
    rc = getaddrinfo(host, port, &hints, &list);
    if (rc != 0) {
        return complain("%s: %s", o->at, gai_strerror(rc));
    }
    fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        rc = -1;
    } else if (o->listen) {
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        rc = bind(fd, list->ai_addr, list->ai_addrlen);
        rc = rc == 0 ? listen(fd, 1) : rc;
    } else {
        rc = connect(fd, list->ai_addr, list->ai_addrlen);
    }
    if (rc != 0) {
        (void)complain("%s: %s", o->at, strerror(errno));
    }
    freeaddrinfo(list);
    if (rc == 0 && o->listen) {
        rc = accept_one(fd);
        (void)close(fd);
        return rc;
    }
    if (rc != 0 && fd >= 0) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

/* ---- Messages ---- */

static void print_hex(const char *what, const uint8_t *p, size_t n)
{
    (void)fputs(what, stdout);
    for (size_t i = 0; i < n; i++) {
        printf("%02x", p[i]);
    }
    (void)putchar('\n');
}

/* Takes n bytes of msg, its length before it, into the queue. */
static int queue(struct peer *p, size_t n)
{
    uint8_t head[LENGTH];
    struct wr w = wr_init(head, sizeof(head));

    wr_u16(&w, (uint16_t)n);
    if (buf_append(&p->out, head, sizeof(head)) != 0 ||
        buf_append(&p->out, p->msg, n) != 0) {
        return complain("the queue is full");
    }
    return 0;
}

/* Sends of the queue what the socket takes. */
static int flush_queue(struct peer *p)
{
    while (p->out.len > 0) {
        ssize_t n = send(p->fd, buf_data(&p->out), p->out.len, MSG_NOSIGNAL);

        if (n > 0) {
            buf_consume(&p->out, (size_t)n);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return 0;
        } else if (errno == EPIPE || errno == ECONNRESET) {
            buf_consume(&p->out, p->out.len); /* reading tells whether it is an error */
        } else if (errno != EINTR) {
            return complain("send: %s", strerror(errno));
        }
    }
    return 0;
}

/* Reads once into p->in: 1, 0 at the end or -1. */
static int receive(struct peer *p)
{
    uint8_t *room = buf_reserve(&p->in, NOISE_MSG_MAX);
    ssize_t n;

    if (room == NULL) {
        return complain("memory is exhausted");
    }
    do {
        n = recv(p->fd, room, NOISE_MSG_MAX, 0);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return errno == EAGAIN ? 1 : complain("receive: %s", strerror(errno));
    }
    buf_commit(&p->in, (size_t)n);
    return n > 0;
}

/* The next whole message of p->in: its length, or SIZE_MAX. It is moved to p->msg. */
static size_t next_message(struct peer *p)
{
    struct rd r = rd_init(buf_data(&p->in), p->in.len);
    size_t n = rd_u16(&r);

    if (!rd_copy(&r, p->msg, n) || !rd_ok(&r)) {
        return SIZE_MAX;
    }
    buf_consume(&p->in, LENGTH + n);
    return n;
}

/* ---- The handshake, with a blocking socket ---- */

static int start_handshake(struct peer *p)
{
    const struct options *o = p->opt;
    uint8_t s[NOISE_KEY], e[NOISE_KEY], pub[NOISE_KEY];
    struct noise_setup setup = {
        .pattern = o->pattern,
        .initiator = !o->listen,
        .prologue = o->prologue,
        .prologue_len = o->prologue_len,
        .s = s,
        .rs = o->has_remote ? o->rs : NULL,
        .e = e,
        .n_psks = o->n_psks,
    };
    int err;

    randombytes_buf(e, sizeof(e));
    randombytes_buf(s, sizeof(s));
    if (o->has_static) {
        memcpy(s, o->s, sizeof(s));
    } else if (noise_pattern_needs_local_static(o->pattern, setup.initiator)) {
        (void)crypto_scalarmult_base(pub, s);
        (void)fputs("noise-peer: a static key was made up; public: ", stderr);
        for (size_t i = 0; i < sizeof(pub); i++) {
            (void)fprintf(stderr, "%02x", pub[i]);
        }
        (void)fputc('\n', stderr);
    }
    for (unsigned i = 0; i < o->n_psks; i++) {
        setup.psks[i] = o->psks[i];
    }
    err = noise_init(&p->hs, &setup);
    sodium_memzero(s, sizeof(s));
    sodium_memzero(e, sizeof(e));
    return err == 0 ? 0 : complain("the handshake cannot start: %s", err_str(err));
}

static int write_step(struct peer *p)
{
    size_t n;
    int err = noise_write(&p->hs, NULL, 0, p->msg, sizeof(p->msg), &n);

    if (err != 0) {
        return complain("handshake failed: message cannot be written: %s", err_str(err));
    }
    return queue(p, n) == 0 ? flush_queue(p) : -1;
}

static int read_step(struct peer *p)
{
    size_t n, payload;
    int rc, err;

    while ((n = next_message(p)) == SIZE_MAX) {
        rc = receive(p);
        if (rc <= 0) {
            return rc < 0 ? -1 : complain("handshake failed: the peer closed");
        }
    }
    err = noise_read(&p->hs, p->msg, n, p->plain, sizeof(p->plain), &payload);
    if (err != 0) {
        return complain("handshake failed: message refused: %s", err_str(err));
    }
    return 0;
}

static int handshake(struct peer *p)
{
    const uint8_t *rs;
    int rc = start_handshake(p);

    while (rc == 0 && p->hs.state != NOISE_DONE) {
        rc = noise_my_turn(&p->hs) ? write_step(p) : read_step(p);
    }
    if (rc != 0) {
        return rc;
    }
    rs = noise_remote_static(&p->hs);
    if (rs != NULL && p->opt->has_remote && memcmp(rs, p->opt->rs, NOISE_KEY) != 0) {
        return complain("handshake failed: the peer has another static key");
    }
    if (noise_split(&p->hs, &p->tx, &p->rx) != 0) {
        return complain("handshake failed: no keys");
    }
    print_hex("handshake_hash: ", noise_hash(&p->hs), NOISE_HASH);
    if (rs != NULL) {
        print_hex("remote_static: ", rs, NOISE_KEY);
    }
    return 0;
}

/* ---- Transport, with a non-blocking socket ---- */

static int send_message(struct peer *p, const uint8_t *plain, size_t n)
{
    if (!p->tx.has_key) {
        return complain("in a one-way pattern the responder sends nothing");
    }
    if (noise_encrypt(&p->tx, NULL, 0, plain, n, p->msg) != 0) {
        return complain("no nonce is left");
    }
    return queue(p, n + NOISE_TAG);
}

static bool queue_has_room(const struct peer *p)
{
    return p->out.len < QUEUE_LOW;
}

/* What came and is whole. */
static int take_messages(struct peer *p)
{
    size_t n;
    int err;

    while (queue_has_room(p) && (n = next_message(p)) != SIZE_MAX) {
        if (!p->rx.has_key) {
            return complain("in a one-way pattern the responder sends nothing");
        }
        err = noise_decrypt(&p->rx, NULL, 0, p->msg, n, p->plain);
        if (err != 0) {
            return complain("transport message refused: %s", err_str(err));
        }
        n -= NOISE_TAG;
        if (!p->opt->echo) {
            print_hex("received: ", p->plain, n);
        } else if (send_message(p, p->plain, n) != 0) {
            return -1;
        }
    }
    return 0;
}

static int send_line(struct peer *p, const char *line, size_t len)
{
    size_t n;

    while (len > 0 && (line[len - 1] == '\r' || line[len - 1] == ' ')) {
        len--;
    }
    if (sodium_hex2bin(p->plain, NOISE_MSG_MAX - NOISE_TAG, line, len, NULL, &n, NULL) !=
            0 ||
        n * 2 != len) {
        return complain("a line is not hexadecimal, or longer than %d digits",
                        LINE_MAX_HEX);
    }
    return send_message(p, p->plain, n);
}

/* The lines read so far; at the end of input also one without a line break. */
static int take_lines(struct peer *p)
{
    while (queue_has_room(p) && p->lines.len > 0) {
        const char *line = (const char *)buf_data(&p->lines);
        const char *end = memchr(line, '\n', p->lines.len);
        size_t len = end != NULL ? (size_t)(end - line) : p->lines.len;

        if (end == NULL && p->input_open) {
            return len <= LINE_MAX_HEX + 2 ? 0 : complain("a line is too long");
        }
        if (send_line(p, line, len) != 0) {
            return -1;
        }
        buf_consume(&p->lines, end != NULL ? len + 1 : len);
    }
    return 0;
}

static int read_input(struct peer *p)
{
    uint8_t *room = buf_reserve(&p->lines, NOISE_MSG_MAX);
    ssize_t n;

    if (room == NULL) {
        return complain("memory is exhausted");
    }
    do {
        n = read(STDIN_FILENO, room, NOISE_MSG_MAX);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return complain("standard input: %s", strerror(errno));
    }
    buf_commit(&p->lines, (size_t)n);
    p->input_open = n > 0;
    return 0;
}

/* Whatever can be done without waiting. */
static int work(struct peer *p)
{
    bool full;

    do {
        if (take_messages(p) != 0 || take_lines(p) != 0) {
            return -1;
        }
        full = !queue_has_room(p);
        if (flush_queue(p) != 0) {
            return -1;
        }
    } while (full && queue_has_room(p));
    if (!p->opt->echo && !p->input_open && p->lines.len == 0 && p->out.len == 0 &&
        !p->sent_fin) {
        (void)shutdown(p->fd, SHUT_WR);
        p->sent_fin = true;
    }
    return 0;
}

/* Waits for something to do. 1, 0 when there is nothing more, or -1. */
static int wait_events(struct peer *p)
{
    bool room = queue_has_room(p);
    struct pollfd fds[2] = {
        {.fd = p->fd},
        {.fd = p->input_open && room ? STDIN_FILENO : -1, .events = POLLIN},
    };
    int rc;

    fds[0].events =
        (short)((p->peer_open && room ? POLLIN : 0) | (p->out.len > 0 ? POLLOUT : 0));
    rc = poll(fds, 2, p->peer_open ? -1 : GRACE_MS);
    if (rc <= 0) {
        return rc == 0 || errno == EINTR ? rc != 0
                                         : complain("poll: %s", strerror(errno));
    }
    if (fds[1].revents != 0 && read_input(p) != 0) {
        return -1;
    }
    if (!p->peer_open) {
        return (fds[0].revents & (POLLHUP | POLLERR)) == 0;
    }
    if ((fds[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
        rc = receive(p);
        p->peer_open = rc > 0;
        return rc < 0 ? -1 : 1;
    }
    return 1;
}

static int transport(struct peer *p)
{
    int rc = 1;

    (void)fcntl(p->fd, F_SETFL, fcntl(p->fd, F_GETFL) | O_NONBLOCK);
    while (rc > 0) {
        rc = work(p);
        if (rc == 0 && (p->peer_open || p->input_open || p->out.len > 0)) {
            rc = wait_events(p);
        }
    }
    if (rc == 0 && p->in.len > 0) {
        return complain("the peer closed within a message");
    }
    return rc;
}

static void peer_free(struct peer *p)
{
    buf_release(&p->in);
    buf_release(&p->out);
    buf_release(&p->lines);
    noise_release(&p->hs);
    if (p->fd >= 0) {
        (void)close(p->fd);
    }
    sodium_memzero(p, sizeof(*p));
    free(p);
}

int main(int argc, char **argv)
{
    struct options o = {0};
    struct peer *p;
    int rc = get_options(&o, argc, argv);

    if (rc != 0) {
        if (rc < 0) {
            usage(stderr);
        }
        return rc < 0 ? EXIT_USAGE : EXIT_SUCCESS;
    }
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    (void)signal(SIGPIPE, SIG_IGN);
    p = calloc(1, sizeof(*p));
    if (sodium_init() < 0 || p == NULL) {
        (void)complain("cannot start");
        free(p);
        return EXIT_FAILURE;
    }
    p->opt = &o;
    p->input_open = !o.echo;
    p->peer_open = true;
    buf_init(&p->in, 2 * NOISE_MSG_MAX + LENGTH);
    buf_init(&p->out, QUEUE_MAX);
    buf_init(&p->lines, LINE_MAX_HEX + 2 * NOISE_MSG_MAX);
    p->fd = open_socket(&o);
    rc = p->fd < 0 ? -1 : handshake(p);
    if (rc == 0) {
        rc = transport(p);
    }
    peer_free(p);
    sodium_memzero(&o, sizeof(o));
    return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
