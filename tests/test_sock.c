/* How fast a carrier goes, and what that lets be on its way. */
#include <criterion/criterion.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sock.h"

enum { BEGIN_MS = 5000, STEP_MS = 10 };

static uint64_t at_ms;

static struct sock_flow begun(void)
{
    at_ms = BEGIN_MS;
    return (struct sock_flow){0};
}

/* At so many bytes/s, for so long. */
static void go(struct sock_flow *f, uint64_t rate, uint64_t ms)
{
    for (uint64_t end = at_ms + ms; at_ms < end; at_ms += STEP_MS) {
        (void)sock_flow_add(f, (size_t)(rate * STEP_MS / 1000), at_ms);
    }
}

Test(flow, has_a_rate_after_a_span)
{
    struct sock_flow f = begun();
    for (; at_ms <= BEGIN_MS + SOCK_FLOW_SPAN_MS; at_ms += STEP_MS) {
        cr_expect_eq(sock_flow_add(&f, 10000, at_ms),
                     at_ms == BEGIN_MS + SOCK_FLOW_SPAN_MS);
    }
    cr_expect_geq(sock_flow_rate(&f), 1000000);
    cr_expect_leq(sock_flow_rate(&f), 1100000);
    cr_expect_not(sock_flow_add(&f, 1, at_ms), "only so often");
    cr_expect(sock_flow_add(&f, 1, at_ms + SOCK_FLOW_MS));
}

Test(flow, grows_until_a_span_is_not_faster)
{
    struct sock_flow f = begun();
    go(&f, 1000000, SOCK_FLOW_SPAN_MS + SOCK_FLOW_MS);
    cr_expect(f.grows, "it has only begun");
    go(&f, 1000000, SOCK_FLOW_SPAN_MS);
    cr_expect_not(f.grows);
    go(&f, 1500000, 2 * SOCK_FLOW_SPAN_MS - SOCK_FLOW_MS);
    cr_expect(f.grows, "the path carries more");
    cr_expect_geq(sock_flow_rate(&f), 1500000);
    go(&f, 1500000, SOCK_FLOW_SPAN_MS + SOCK_FLOW_MS);
    cr_expect_not(f.grows);
}

Test(flow, the_best_counts_until_it_is_two_spans_old)
{
    struct sock_flow f = begun();
    go(&f, 8000000, 3 * SOCK_FLOW_SPAN_MS);
    go(&f, 2000000, SOCK_FLOW_SPAN_MS / 2);
    cr_expect_geq(sock_flow_rate(&f), 8000000);
    go(&f, 2000000, 3 * SOCK_FLOW_SPAN_MS);
    cr_expect_leq(sock_flow_rate(&f), 2200000);
    cr_expect_geq(sock_flow_rate(&f), 2000000);
}

Test(flow, one_that_stood_still_begins_anew)
{
    struct sock_flow f = begun();
    go(&f, 1000000, 4 * SOCK_FLOW_SPAN_MS);
    cr_assert_neq(sock_flow_rate(&f), 0);
    cr_expect_not(sock_flow_add(&f, 1, at_ms + 2 * SOCK_FLOW_SPAN_MS));
    cr_expect_eq(sock_flow_rate(&f), 0);
}

static uint32_t window(uint64_t rate, bool grows, uint32_t min_rtt_us)
{
    struct sock_flow f = {.last = rate, .grows = grows};
    return sock_window(&f, min_rtt_us);
}

Test(bounds, the_window_is_what_the_path_holds_and_some_more)
{
    cr_expect_eq(window(2500000, false, 50000), 156250u, "20 Mbit/s, 50 ms: a quarter");
    cr_expect_eq(window(12500000, false, 200000), 3125000u, "100 Mbit/s, 200 ms");
    cr_expect_eq(window(125000000, false, 1000), 1375000u, "1 Gbit/s, 1 ms: 10 ms more");
    cr_expect_eq(window(12500000, true, 200000), 6250000u, "it grows");
    cr_expect_eq(window(1000, false, 50000), (uint32_t)SOCK_WINDOW_MIN);
    cr_expect_eq(window(UINT64_MAX, true, 1), (uint32_t)SOCK_WINDOW_MAX);
    cr_expect_eq(window(2500000, false, UINT32_MAX), (uint32_t)SOCK_WINDOW_MAX,
                 "no round trip is known");
}

static uint32_t unsent(uint64_t rate, bool grows)
{
    struct sock_flow f = {.last = rate, .grows = grows};
    return sock_unsent(&f);
}

Test(bounds, what_lies_unsent_leaves_soon)
{
    cr_expect_eq(unsent(2500000, false), 7500u, "20 Mbit/s: 3 ms");
    cr_expect_eq(unsent(1000, false), (uint32_t)SOCK_UNSENT_MIN);
    cr_expect_eq(unsent(125000000, false), (uint32_t)SOCK_UNSENT_MAX);
    cr_expect_eq(unsent(2500000, true), (uint32_t)SOCK_UNSENT_MAX, "it grows");
    cr_expect_eq(unsent(UINT64_MAX, false), (uint32_t)SOCK_UNSENT_MAX);
}

static int option(int fd, int name)
{
    int v = -1;
    socklen_t len = sizeof v;
    cr_assert_eq(getsockopt(fd, IPPROTO_TCP, name, &v, &len), 0);
    return v;
}

/* A carrier over the loopback interface, both ends of which have a round trip. */
static void connected(int fd[2])
{
    char c = 'x';
    struct sockaddr_storage sa;
    int listener = sock_listen(4, 0);
    cr_assert_geq(listener, 0);
    struct addr to = {.family = 4, .port = sock_port(listener), .ip = {127, 0, 0, 1}};
    socklen_t len = addr_to_sockaddr(&to, &sa);
    fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(fd[0], (struct sockaddr *)&sa, len), 0);
    fd[1] = accept(listener, NULL, NULL);
    cr_assert_geq(fd[1], 0);
    for (int i = 0; i < 2; i++) {
        sock_tune(fd[i]);
        cr_assert_eq(send(fd[i], &c, 1, 0), 1);
        cr_assert_eq(recv(fd[1 - i], &c, 1, MSG_WAITALL), 1);
    }
    (void)close(listener);
}

Test(bounds, are_set_and_widened)
{
    const struct sock_flow slow = {.last = 1000}, fast = {.last = 1000000000};
    int fd[2];
    connected(fd);
    for (int i = 0; i < 2; i++) {
        sock_bound_window(fd[i], &slow);
        cr_expect_eq(option(fd[i], TCP_WINDOW_CLAMP), SOCK_WINDOW_MIN);
        sock_bound_window(fd[i], &fast);
        cr_expect_geq(option(fd[i], TCP_WINDOW_CLAMP), 10000000, "10 ms at 1 GB/s");
        sock_bound_unsent(fd[i], &slow);
        cr_expect_eq(option(fd[i], TCP_NOTSENT_LOWAT), SOCK_UNSENT_MIN);
        sock_bound_unsent(fd[i], &fast);
        cr_expect_eq(option(fd[i], TCP_NOTSENT_LOWAT), SOCK_UNSENT_MAX);
    }
    (void)close(fd[0]);
    (void)close(fd[1]);
}
