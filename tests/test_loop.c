/* The loop over real sockets on the loopback interface. */
#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "loop.h"

enum {
    CLIENTS = LOOP_CLOSING_MAX + 40,
    TURNS_MAX = 100000,
    PIECE = 32 * 1024,
    PIECES = 64,
};

static struct loop *l;
static struct config_view view;
static int clients[CLIENTS];
static uint32_t accepted[CLIENTS];
static size_t n_accepted, n_closed, n_ended, n_turns;

static uint32_t on_accepted(void *ctx, const struct addr *from, uint64_t now_ms)
{
    (void)ctx, (void)now_ms;
    cr_assert(addr_is_loopback(from));
    cr_assert_lt(n_accepted, (size_t)CLIENTS);
    accepted[n_accepted] = (uint32_t)n_accepted + 1;
    return accepted[n_accepted++];
}

static void on_conn(void *ctx, uint32_t conn, uint64_t now_ms)
{
    (void)ctx, (void)conn, (void)now_ms;
    n_ended++;
}

static void on_received(void *ctx, uint32_t conn, const uint8_t *p, size_t len,
                        uint64_t now_ms)
{
    (void)ctx, (void)conn, (void)p, (void)len, (void)now_ms;
}

static void on_sent(void *ctx, uint32_t conn, size_t len, uint64_t now_ms)
{
    (void)ctx, (void)conn, (void)len, (void)now_ms;
}

static void on_datagram(void *ctx, bool group, const struct addr *from, const uint8_t *p,
                        size_t len, uint64_t now_ms)
{
    (void)ctx, (void)group, (void)from, (void)p, (void)len, (void)now_ms;
}

static void on_interfaces(void *ctx, const struct lan_interface *v, size_t n,
                          uint64_t now_ms)
{
    (void)ctx, (void)v, (void)n, (void)now_ms;
}

static void on_resolved(void *ctx, uint64_t what, const struct addr *v, size_t n,
                        uint64_t now_ms)
{
    (void)ctx, (void)what, (void)v, (void)n, (void)now_ms;
}

static void on_timer(void *ctx, uint64_t now_ms)
{
    (void)ctx, (void)now_ms;
}

static void on_signalled(void *ctx, int signum)
{
    (void)ctx, (void)signum;
}

/* Each one gets a byte, and is given up. */
static bool on_turn(void *ctx, uint64_t now_ms)
{
    (void)ctx;
    cr_assert_lt(++n_turns, (size_t)TURNS_MAX, "it does not end");
    for (; n_closed < n_accepted; n_closed++) {
        (void)loop_send(l, accepted[n_closed], (const uint8_t *)"x", 1);
        if (loop_close(l, accepted[n_closed], now_ms)) {
            n_ended++;
        }
    }
    if (n_closed == CLIENTS) {
        loop_stop(l);
    }
    return false;
}

static struct loop_handler handler(void (*sent)(void *ctx, uint32_t conn, size_t len,
                                                uint64_t now_ms),
                                   bool (*turn)(void *ctx, uint64_t now_ms))
{
    return (struct loop_handler){
        .accepted = on_accepted,
        .connected = on_conn,
        .received = on_received,
        .sent = sent,
        .closed = on_conn,
        .datagram = on_datagram,
        .interfaces = on_interfaces,
        .resolved = on_resolved,
        .timer = on_timer,
        .signalled = on_signalled,
        .turn = turn,
    };
}

static void start(void)
{
    char why[LOOP_WHY_MAX];
    view.scope = SCOPE_LAN;
    view.n_ifaces = 1;
    memcpy(view.ifaces[0], "lo", 3);
    cr_assert_eq(loop_new(env_system(), &view, 0, false, &l, why), 0, "%s", why);
}

static int client(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(loop_port(l)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* Clients who got an answer and do not end their side take no more places than there are
 * for them. */
Test(loop, those_who_do_not_end_use_up_nothing, .timeout = 60)
{
    const struct loop_handler h = handler(on_sent, on_turn);
    start();
    for (size_t i = 0; i < CLIENTS; i++) { /* all fit into the listener's queue */
        clients[i] = client();
    }
    size_t most = 0;
    loop_run(l, &h);
    most = n_accepted - n_ended;
    cr_expect_eq(n_accepted, (size_t)CLIENTS);
    cr_expect_leq(most, (size_t)LOOP_CLOSING_MAX);
    for (size_t i = 0; i < CLIENTS; i++) { /* and all got what was for them */
        char c = 0;
        cr_expect_eq(recv(clients[i], &c, 1, 0), 1);
        cr_expect_eq(c, 'x');
        (void)close(clients[i]);
    }
    loop_free(l);
}

static size_t n_pieces, n_waiting, n_read;

static void on_rest_sent(void *ctx, uint32_t conn, size_t len, uint64_t now_ms)
{
    (void)ctx, (void)conn, (void)now_ms;
    cr_assert_leq(len, n_waiting);
    n_waiting -= len;
}

static void read_all(int fd)
{
    static uint8_t bytes[PIECE];
    for (ssize_t n; (n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0;) {
        n_read += (size_t)n;
    }
}

/* As long as the socket takes all of a piece there is another one, and its other side
 * reads at once. */
static bool on_turn_of_many(void *ctx, uint64_t now_ms)
{
    static uint8_t piece[PIECE];
    size_t gone = 0;
    (void)ctx, (void)now_ms;
    cr_assert_lt(++n_turns, (size_t)TURNS_MAX, "it does not end");
    read_all(clients[0]);
    while (n_accepted > 0 && n_waiting == 0 && n_pieces < PIECES) {
        size_t n = loop_send(l, accepted[0], piece, sizeof piece);
        gone += n;
        n_waiting = sizeof piece - n;
        n_pieces++;
        read_all(clients[0]);
    }
    cr_expect_lt(gone, (size_t)LOOP_SEND_TURN + PIECE);
    if (n_read == (size_t)PIECES * PIECE) {
        loop_stop(l);
    }
    return true;
}

/* What is written without an end leaves other things their turns, and all of it
 * arrives. */
Test(loop, a_carrier_writes_a_part_in_each_turn, .timeout = 60)
{
    const struct loop_handler h = handler(on_rest_sent, on_turn_of_many);
    start();
    clients[0] = client();
    loop_run(l, &h);
    cr_expect_eq(n_pieces, (size_t)PIECES);
    (void)close(clients[0]);
    loop_free(l);
}

/* ---- UDP alone ---- */

enum { ASKED = 100, BIG = 5000 };

static size_t n_heard, n_resolved;
static struct addr resolved[LOOP_RESOLVE_MAX];

/* Echoes. */
static void on_asked(void *ctx, bool group, const struct addr *from, const uint8_t *p,
                     size_t len, uint64_t now_ms)
{
    static const struct addr any = {.family = 0};
    (void)ctx, (void)now_ms;
    cr_expect_not(group);
    n_heard++;
    loop_send_datagram(l, &any, 0, from, p, len);
}

static bool on_asked_turn(void *ctx, uint64_t now_ms)
{
    (void)ctx, (void)now_ms;
    if (n_heard == ASKED) {
        loop_stop(l);
    }
    return false;
}

static int client_of(const char *ip, uint16_t port)
{
    const struct timeval tv = {.tv_sec = 20};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(inet_pton(AF_INET, ip, &to.sin_addr), 1);
    cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    return fd;
}

/* A socket on every address has several, and answers from the one that was asked: who
 * asked another takes no such answer. What is too long is not cut, but dropped. */
Test(loop, datagrams_are_answered_from_where_they_went, .timeout = 60)
{
    const struct loop_handler h = {.datagram = on_asked,
                                   .timer = on_timer,
                                   .signalled = on_signalled,
                                   .turn = on_asked_turn};
    struct addr at = {.family = 4};
    char why[LOOP_WHY_MAX];
    uint8_t big[BIG] = {0};
    cr_assert_eq(loop_new_udp(env_system(), &at, 1, &l, why), 0, "%s", why);
    cr_assert(loop_has_family(l, 4) && !loop_has_family(l, 6));
    cr_assert(loop_udp_at(l, 0, &at) && at.port != 0);
    cr_assert_not(loop_udp_at(l, 1, &at));
    int fd = client_of("127.0.0.2", at.port);
    cr_assert_eq(send(fd, big, sizeof big, 0), (ssize_t)sizeof big);
    for (uint8_t i = 0; i < ASKED; i++) {
        cr_assert_eq(send(fd, &i, 1, 0), 1);
    }
    loop_run(l, &h);
    for (uint8_t i = 0; i < ASKED; i++) {
        uint8_t got = ASKED;
        cr_assert_eq(recv(fd, &got, 1, 0), 1);
        cr_assert_eq(got, i);
    }
    (void)close(fd);
    loop_free(l);
}

Test(loop, an_address_that_is_taken_or_not_ours)
{
    struct addr at = {.family = 4, .ip = {127, 0, 0, 1}};
    struct loop *other;
    char why[LOOP_WHY_MAX];
    cr_assert_eq(loop_new_udp(env_system(), &at, 1, &l, why), 0, "%s", why);
    cr_assert(loop_udp_at(l, 0, &at));
    cr_assert_eq(loop_new_udp(env_system(), &at, 1, &other, why), ERR_BUSY);
    cr_assert_neq(why[0], '\0');
    at.ip[0] = 192;
    at.ip[3] = 2; /* 192.0.0.2 */
    cr_assert_eq(loop_new_udp(env_system(), &at, 1, &other, why), ERR_IO);
    loop_free(l);
}

/* ---- names ---- */

static void on_name(void *ctx, uint64_t what, const struct addr *v, size_t n,
                    uint64_t now_ms)
{
    (void)ctx, (void)now_ms;
    cr_expect_eq(what, UINT64_MAX);
    memcpy(resolved, v, n * sizeof *v);
    n_resolved = n;
    loop_stop(l);
}

static bool on_idle_turn(void *ctx, uint64_t now_ms)
{
    (void)ctx, (void)now_ms;
    return false;
}

Test(loop, a_name_is_looked_up, .timeout = 60)
{
    const struct loop_handler h = {.datagram = on_asked,
                                   .resolved = on_name,
                                   .timer = on_timer,
                                   .signalled = on_signalled,
                                   .turn = on_idle_turn};
    struct addr at = {.family = 4, .ip = {127, 0, 0, 1}};
    char why[LOOP_WHY_MAX];
    cr_assert_eq(loop_new_udp(env_system(), &at, 1, &l, why), 0, "%s", why);
    cr_assert_eq(loop_resolve(l, UINT64_MAX, "127.0.0.1", 99), 0);
    loop_run(l, &h);
    cr_assert_eq(n_resolved, 1);
    cr_assert(resolved[0].port == 99 && addr_eq_ip(&resolved[0], &at));
    loop_free(l);
}

/* Nobody waits for the name service at the end, and nothing of it is left. */
Test(loop, names_that_nobody_waits_for)
{
    struct addr at = {.family = 4, .ip = {127, 0, 0, 1}};
    char why[LOOP_WHY_MAX];
    cr_assert_eq(loop_new_udp(env_system(), &at, 1, &l, why), 0, "%s", why);
    for (int i = 0; i < 8; i++) {
        cr_assert_eq(loop_resolve(l, 1, "localhost", 99), 0);
    }
    loop_free(l);
    view.scope = SCOPE_LAN;
    cr_assert_eq(loop_new(env_system(), &view, 0, false, &l, why), 0, "%s", why);
    cr_assert_eq(loop_resolve(l, 1, "localhost", 99), ERR_REFUSED);
    loop_free(l);
}
