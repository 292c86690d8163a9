/* The loop over real sockets on the loopback interface. */
#include <criterion/criterion.h>

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

static void on_datagram(void *ctx, const struct addr *from, const uint8_t *p, size_t len,
                        uint64_t now_ms)
{
    (void)ctx, (void)from, (void)p, (void)len, (void)now_ms;
}

static void on_interfaces(void *ctx, const struct lan_interface *v, size_t n,
                          uint64_t now_ms)
{
    (void)ctx, (void)v, (void)n, (void)now_ms;
}

static void on_resolved(void *ctx, size_t what, const struct addr *v, size_t n,
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
    const struct loop_handler h = {
        .accepted = on_accepted,
        .connected = on_conn,
        .received = on_received,
        .sent = on_sent,
        .closed = on_conn,
        .datagram = on_datagram,
        .interfaces = on_interfaces,
        .resolved = on_resolved,
        .timer = on_timer,
        .signalled = on_signalled,
        .turn = on_turn,
    };
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
    const struct loop_handler h = {
        .accepted = on_accepted,
        .connected = on_conn,
        .received = on_received,
        .sent = on_rest_sent,
        .closed = on_conn,
        .datagram = on_datagram,
        .interfaces = on_interfaces,
        .resolved = on_resolved,
        .timer = on_timer,
        .signalled = on_signalled,
        .turn = on_turn_of_many,
    };
    start();
    clients[0] = client();
    loop_run(l, &h);
    cr_expect_eq(n_pieces, (size_t)PIECES);
    (void)close(clients[0]);
    loop_free(l);
}
