#include "daemon_dht.h"

#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/deadline.h"
#include "base/err.h"
#include "base/log.h"
#include "base/size.h"
#include "config.h"
#include "dht/dht.h"
#include "loop.h"

enum {
    EXIT_FAIL = 1,
    EXIT_USAGE = 2,
    AGAIN_MS = 60000,
    FAMILIES = 2,
};

/* Bytes a second, of all answers: it is there to answer. */
static const uint64_t rate_usual = 50 * 1000 * 1000, rate_max = UINT64_C(1) << 40;

struct serve {
    const struct daemon_dht_opts *opts;
    struct loop *loop;
    struct dht *dht;
    bool told;                     /* that it is there */
    struct dht_id shown[FAMILIES]; /* the ids that it told */
    uint64_t boot_at;              /* when names are looked up, while nobody is known */
    char why[LOOP_WHY_MAX];
};

static int fail(int code, const char *what, const char *about)
{
    (void)fprintf(stderr, "linnet: %s%s\n", what, about);
    return code;
}

/* ---- what it says ---- */

/* Each address with its id, but for those that were told already. */
static void print(struct serve *s)
{
    struct dht_stats stats;
    struct addr at;
    char text[ADDR_STR_MAX], id[2 * DHT_ID_LEN + 1];
    dht_stats(s->dht, &stats);
    for (size_t i = 0; loop_udp_at(s->loop, i, &at); i++) {
        const struct dht_id *mine = &stats.id[at.family == 6];
        if (memcmp(mine, &s->shown[at.family == 6], sizeof *mine) == 0) {
            continue;
        }
        s->shown[at.family == 6] = *mine;
        (void)sodium_bin2hex(id, sizeof id, mine->b, DHT_ID_LEN);
        (void)printf(s->opts->json ? "{\"v\":1,\"address\":\"%s\",\"id\":\"%s\"}\n"
                                   : "address: %s id: %s\n",
                     addr_str(&at, text), id);
    }
    (void)fflush(stdout);
}

/* ---- where to begin ---- */

static bool is_alone(const struct serve *s)
{
    struct dht_stats stats;
    dht_stats(s->dht, &stats);
    return stats.nodes[0] + stats.nodes[1] == 0;
}

static void look_up(struct serve *s, uint64_t now_ms)
{
    bool names = false;
    for (size_t i = 0; i < s->opts->n_bootstrap; i++) {
        char host[CONFIG_HOST_MAX + 1];
        struct addr a;
        uint16_t port;
        if (addr_parse(s->opts->bootstrap[i], 0, &a) == 0) {
            continue;
        }
        names = true;
        if (is_alone(s) && config_split_bootstrap(s->opts->bootstrap[i], host, &port)) {
            (void)loop_resolve(s->loop, i, host, port);
        }
    }
    s->boot_at = names ? now_ms + AGAIN_MS : DEADLINE_NONE;
}

static void on_resolved(void *ctx, uint64_t what, const struct addr *v, size_t n,
                        uint64_t now_ms)
{
    struct serve *s = ctx;
    if (n == 0) {
        log_warn("the bootstrap node %s is not known to the name service",
                 s->opts->bootstrap[what]);
    }
    for (size_t i = 0; i < n; i++) {
        (void)dht_add_router(s->dht, &v[i], now_ms);
    }
}

/* ---- the loop's calls ---- */

static void on_datagram(void *ctx, bool group, const struct addr *from, const uint8_t *p,
                        size_t len, uint64_t now_ms)
{
    struct serve *s = ctx;
    (void)group;
    (void)dht_recv(s->dht, from, p, len, now_ms);
}

static void on_timer(void *ctx, uint64_t now_ms)
{
    struct serve *s = ctx;
    dht_tick(s->dht, now_ms);
    if (s->boot_at <= now_ms) {
        look_up(s, now_ms);
    }
}

static void on_signalled(void *ctx, int signum)
{
    struct serve *s = ctx;
    (void)signum;
    loop_stop(s->loop);
}

static bool on_turn(void *ctx, uint64_t now_ms)
{
    static const struct addr any = {.family = 0};
    struct serve *s = ctx;
    struct dht_out out;
    struct dht_event e;
    (void)now_ms;
    if (!s->told) { /* signals end it cleanly from here on */
        s->told = true;
        print(s);
    }
    while (dht_next_out(s->dht, &out)) {
        loop_send_datagram(s->loop, &any, 0, &out.dest, out.bytes, out.len);
    }
    while (dht_next_event(s->dht, &e)) {
        if (e.type == DHT_SELF) {
            print(s);
        }
    }
    uint64_t at = dht_deadline(s->dht);
    loop_set_timer(s->loop, s->boot_at < at ? s->boot_at : at);
    return false;
}

/* ---- life ---- */

static int check(const struct daemon_dht_opts *o)
{
    for (size_t i = 0; i < o->n_bootstrap; i++) {
        char why[CONFIG_WHY_MAX];
        const char *b = o->bootstrap[i];
        if (b[0] == '\0' || strpbrk(b, ", \t") != NULL ||
            config_check(CONFIG_BOOTSTRAP, b, why) != 0) {
            return fail(EXIT_USAGE, "--bootstrap wants HOST:PORT.", "");
        }
    }
    return 0;
}

/* Bytes a second; 0: no limit. */
static int parse_rate(const struct daemon_dht_opts *o, uint64_t *rate)
{
    *rate = rate_usual;
    if (o->rate == NULL) {
        return 0;
    }
    if (!size_or_none(o->rate, rate) || *rate == 0) {
        return fail(EXIT_USAGE, "--rate wants a size for a second, as in 5M, or none.",
                    "");
    }
    *rate = *rate > rate_max ? 0 : *rate;
    return 0;
}

static int listen_at(struct serve *s, struct addr at[FAMILIES], size_t *n)
{
    at[0] = (struct addr){.family = 4, .port = DAEMON_DHT_PORT};
    at[1] = (struct addr){.family = 6, .port = DAEMON_DHT_PORT};
    *n = FAMILIES;
    if (s->opts->listen != NULL) {
        *n = 1;
        if (addr_parse(s->opts->listen, DAEMON_DHT_PORT, &at[0]) != 0 ||
            addr_is_multicast(&at[0])) {
            return fail(EXIT_USAGE, "--listen wants ADDRESS:PORT, in numbers.", "");
        }
    }
    int rc = loop_new_udp(env_system(), at, *n, &s->loop, s->why);
    return rc == 0 ? 0 : fail(EXIT_FAIL, s->why, "");
}

/* Nodes of one private subnet may be many: it may well be the first node of an office's
 * network. In the public one there are no such addresses. */
static int make_dht(struct serve *s, uint64_t rate, uint64_t now_ms)
{
    struct server_config answers;
    struct addr at;
    struct dht_config c = {
        .server = &answers,
        .family = {loop_has_family(s->loop, 4), loop_has_family(s->loop, 6)},
        .open = true,
        .private_too = true,
    };
    server_config_init(&answers);
    answers.bytes_per_s = rate;
    answers.bytes_burst = rate > KRPC_SEND_MAX ? rate : KRPC_SEND_MAX;
    if (loop_udp_at(s->loop, 0, &at) && addr_is_dialable(&at)) {
        dht_id_for_addr(env_system(), &at, &c.id[at.family == 6]);
    }
    s->dht = dht_new(&c, env_system(), now_ms);
    if (s->dht == NULL) {
        return fail(EXIT_FAIL, "Memory is exhausted.", "");
    }
    for (size_t i = 0; i < s->opts->n_bootstrap; i++) {
        struct addr a;
        if (addr_parse(s->opts->bootstrap[i], 0, &a) == 0 &&
            dht_add_router(s->dht, &a, now_ms) == ERR_ARG) {
            return fail(EXIT_USAGE, "No node can be there: ", s->opts->bootstrap[i]);
        }
    }
    s->boot_at = now_ms;
    return 0;
}

static void run(struct serve *s)
{
    const struct loop_handler h = {
        .ctx = s,
        .datagram = on_datagram,
        .resolved = on_resolved,
        .timer = on_timer,
        .signalled = on_signalled,
        .turn = on_turn,
    };
    loop_run(s->loop, &h);
}

int daemon_dht_main(const struct daemon_dht_opts *o)
{
    struct serve s = {.opts = o, .boot_at = DEADLINE_NONE};
    struct addr at[FAMILIES];
    size_t n;
    uint64_t rate;
    if (sodium_init() < 0) {
        return fail(EXIT_FAIL, "libsodium cannot be used on this machine.", "");
    }
    (void)signal(SIGPIPE, SIG_IGN);
    int rc = check(o);
    rc = rc != 0 ? rc : parse_rate(o, &rate);
    rc = rc != 0 ? rc : listen_at(&s, at, &n);
    rc = rc != 0 ? rc : make_dht(&s, rate, env_mono_ms());
    if (rc == 0) {
        run(&s);
    }
    dht_free(s.dht);
    loop_free(s.loop);
    return rc;
}
