#include "track.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/env.h"
#include "fmt.h"
#include "transfer.h"

enum { LABEL = 9 };

/* ---- ^C ---- */

static void sigint_set(sigset_t *s)
{
    (void)sigemptyset(s);
    (void)sigaddset(s, SIGINT);
}

bool track_interrupted(struct track *k)
{
    struct signalfd_siginfo info;
    return k->signals >= 0 && read(k->signals, &info, sizeof info) > 0;
}

void track_release(struct track *k)
{
    sigset_t s;
    if (k->signals >= 0) {
        sigint_set(&s);
        (void)close(k->signals);
        k->signals = -1;
        (void)sigprocmask(SIG_UNBLOCK, &s, NULL);
    }
}

int track_open(struct track *k, struct cli *c)
{
    static const char *const topics[] = {"transfer", "state", NULL};
    struct client_welcome welcome;
    struct client_fail fail;
    sigset_t s;
    *k = (struct track){.cli = c,
                        .screen = c->tty_err && !c->json,
                        .wait_ms = UINT64_MAX,
                        .idle_ms = UINT64_MAX,
                        .signals = -1};
    int rc = cli_connect(c);
    if (rc == 0 && client_follow(c->client, topics, &welcome, &fail) != 0) {
        rc = cli_fail(fail.code, "%s", fail.message);
    }
    if (rc == 0) {
        sigint_set(&s);
        (void)sigprocmask(SIG_BLOCK, &s, NULL);
        k->signals = signalfd(-1, &s, SFD_NONBLOCK | SFD_CLOEXEC);
    }
    return rc;
}

void track_close(struct track *k)
{
    track_line_end(k);
    track_release(k);
    json_decref(k->t);
    k->t = NULL;
}

/* ---- the screen ---- */

void track_line_end(struct track *k)
{
    if (k->line != TRACK_NO_LINE) {
        (void)fputc('\n', stderr);
        k->line = TRACK_NO_LINE;
    }
}

static void draw_waiting(struct track *k)
{
    if (k->line == TRACK_NO_LINE) {
        char *who = cli_shown(cli_str(k->t, "conversation"));
        (void)fprintf(stderr, "%-*s%s must accept … ", LABEL, "Waiting", who);
        free(who);
        k->line = TRACK_WAITING_LINE;
    }
}

static void draw_bar(struct track *k, bool last)
{
    uint64_t now = env_mono_ms();
    if (!last && k->line == TRACK_BAR_LINE && now - k->drawn_ms < TRACK_DRAW_MS) {
        return;
    }
    if (k->line == TRACK_WAITING_LINE) {
        (void)fputs("accepted", stderr);
        track_line_end(k);
    }
    (void)fputc('\r', stderr);
    /* One column stays free: some terminals break a line that is full. */
    transfer_bar(stderr, k->t, cli_width(STDERR_FILENO) - 1);
    (void)fflush(stderr);
    k->line = TRACK_BAR_LINE;
    k->drawn_ms = now;
}

static void draw(struct track *k)
{
    if (!k->screen) {
        return;
    }
    if (k->begun) {
        draw_bar(k, transfer_ended(k->t));
    } else if (!transfer_ended(k->t) && cli_true(k->t, "mine")) {
        draw_waiting(k);
    }
    (void)fflush(stderr);
}

void track_head(struct track *k, const char *label, const struct track_who *who)
{
    if (!k->screen) {
        return;
    }
    char *name = cli_shown(cli_str(k->t, "conversation"));
    const char *route = cli_str(k->t, "route"), *at = cli_str(k->t, "address");
    (void)fprintf(stderr, "%-*s%s  %s  (", LABEL, label, name,
                  who->verified ? "✓ verified" : "unverified");
    if (route[0] != '\0') {
        fmt_put(stderr, route, FMT_NAME);
        (void)fputs(at[0] != '\0' ? ", " : "", stderr);
        fmt_put(stderr, at, FMT_NAME);
    } else {
        (void)fputs(who->there ? "no link yet" : "offline", stderr);
    }
    (void)fputs(")\n", stderr);
    free(name);
}

void track_file(struct track *k)
{
    if (!k->screen) {
        return;
    }
    char *name = cli_shown(cli_str(k->t, "name"));
    bool folder = strcmp(cli_str(k->t, "kind"), "folder") == 0;
    (void)fprintf(stderr, "%-*s%s  ", LABEL, folder ? "Folder" : "File", name);
    transfer_size(stderr, k->t);
    (void)fputc('\n', stderr);
    free(name);
}

void track_done(struct track *k, const char *what)
{
    char size[FMT_TIME_MAX], took[FMT_TIME_MAX];
    if (!k->screen) {
        return;
    }
    track_line_end(k);
    fmt_size(cli_int(k->t, "size"), size);
    (void)fprintf(stderr, "%-*s%s", LABEL, "Done", size);
    if (k->begun_ms > 0) {
        fmt_took(env_mono_ms() - k->begun_ms, took);
        (void)fprintf(stderr, " in %s", took);
    }
    (void)fprintf(stderr, ", %s   #%llu\n", what, (unsigned long long)k->n);
}

void track_print(const struct track *k, const char *last)
{
    const struct cli *c = k->cli;
    const char *key = json_is_integer(json_object_get(k->t, "size")) ? "size" : "done";
    if (!c->json && (!c->tty_out || !c->tty_err)) {
        (void)printf("%llu\t%s\t%llu\t", (unsigned long long)k->n, cli_str(k->t, "state"),
                     (unsigned long long)cli_int(k->t, key));
        fmt_put(stdout, last, FMT_LINE);
        (void)fputc('\n', stdout);
    }
}

static void tell(struct track *k, const char *what)
{
    if (k->cli->json) {
        json_t *o = json_pack("{s:i,s:s,s:O}", "v", 1, "what", what, "transfer", k->t);
        cli_json(o);
        json_decref(o);
        (void)fflush(stdout);
    }
}

/* ---- the file ---- */

/* Takes a new look at it in. */
static void take(struct track *k, json_t *t)
{
    uint64_t now = env_mono_ms();
    bool first = k->t == NULL;
    bool moved = first || strcmp(cli_str(t, "state"), cli_str(k->t, "state")) != 0 ||
                 cli_int(t, "done") != cli_int(k->t, "done") ||
                 !json_equal(json_object_get(t, "size"), json_object_get(k->t, "size"));
    json_decref(k->t);
    k->t = t;
    k->asked_ms = now;
    k->moved_ms = moved && !first ? now : k->moved_ms;
    if (first) {
        tell(k, "offered");
    }
    if (!k->begun && (transfer_begun(t) || strcmp(cli_str(t, "state"), "done") == 0)) {
        k->begun = true;
        k->begun_ms = k->told_ms = now;
        tell(k, "accepted");
    }
    if (transfer_ended(t)) {
        tell(k, cli_str(t, "state"));
    } else if (k->begun && moved && now - k->told_ms >= TRACK_JSON_MS) {
        k->told_ms = now;
        tell(k, "progress");
    }
}

static enum track_end ask(struct track *k)
{
    struct client_fail fail;
    json_t *t;
    int rc = client_call(k->cli->client, "transfers.show",
                         json_pack("{s:I}", "n", (json_int_t)k->n), CLIENT_ANSWER_MS, &t,
                         &fail);
    if (rc != 0) {
        track_line_end(k);
        k->rc = cli_fail(rc, "%s", fail.message);
        return rc == CLI_NO_NODE ? TRACK_NO_NODE : TRACK_FAILED;
    }
    take(k, t);
    k->rc = 0;
    enum track_end end = k->look != NULL ? k->look(k->ctx, k->t) : TRACK_GOING;
    draw(k);
    return end != TRACK_GOING ? end : transfer_ended(k->t) ? TRACK_ENDED : TRACK_GOING;
}

enum track_end track_begin(struct track *k, uint64_t n)
{
    track_line_end(k);
    k->moved_ms = k->t == NULL ? env_mono_ms() : k->moved_ms;
    json_decref(k->t);
    k->t = NULL;
    k->n = n;
    k->begun = false;
    k->begun_ms = k->told_ms = 0;
    k->seen_ms = env_mono_ms();
    struct client_fail fail;
    json_t *t;
    k->rc =
        client_call(k->cli->client, "transfers.show",
                    json_pack("{s:I}", "n", (json_int_t)n), CLIENT_ANSWER_MS, &t, &fail);
    if (k->rc != 0) {
        (void)cli_fail(k->rc, "%s", fail.message);
        return TRACK_FAILED;
    }
    take(k, t);
    return transfer_ended(k->t) ? TRACK_ENDED : TRACK_GOING;
}

/* Whether an event is about our file. */
static bool ours(const struct track *k, const json_t *e)
{
    const json_t *t = json_object_get(e, "transfer");
    return (json_is_object(t) ? cli_int(t, "n") : cli_int(e, "transfer")) == k->n;
}

/* Waits for an event of our file, at most wait_ms. 1: there was one; 0; -1: no node. */
static int hear(struct track *k, uint64_t wait_ms)
{
    uint64_t until = env_mono_ms() + wait_ms, now;
    char topic[CLIENT_TOPIC_MAX];
    json_t *e;
    int got = 1;
    bool any = false;
    while (got > 0 && !any) {
        now = env_mono_ms();
        got = client_event(k->cli->client, until > now ? until - now : 0, topic, &e);
        if (got > 0) {
            any = strcmp(topic, "transfer") == 0 && ours(k, e);
            json_decref(e);
        }
    }
    return any ? 1 : got;
}

/* Nothing moves: whether that has lasted too long. */
static enum track_end patience(struct track *k)
{
    uint64_t now = env_mono_ms(), limit = k->begun ? k->idle_ms : k->wait_ms;
    if (limit != UINT64_MAX && now - k->moved_ms >= limit) {
        return TRACK_IDLE;
    }
    if (k->leave_absent && !k->begun && now - k->seen_ms >= TRACK_LOOK_MS) {
        struct track_who who;
        k->seen_ms = now;
        track_who(k->cli, cli_str(k->t, "conversation"), &who);
        return who.there ? TRACK_GOING : TRACK_ABSENT;
    }
    return TRACK_GOING;
}

enum track_end track_step(struct track *k, uint64_t wait_ms)
{
    if (track_interrupted(k)) {
        return TRACK_INTERRUPTED;
    }
    int got = hear(k, wait_ms);
    if (got < 0) {
        track_line_end(k);
        k->rc = cli_fail(k->begun ? CLI_PARTIAL : CLI_NO_NODE,
                         "The node has ended. The transfer goes on when it runs again: "
                         "linnet transfers show %llu",
                         (unsigned long long)k->n);
        return TRACK_NO_NODE;
    }
    uint64_t since = env_mono_ms() - k->asked_ms;
    bool drawing = k->screen && k->begun;
    if (got > 0 || since >= (drawing ? TRACK_DRAW_MS : TRACK_ASK_MS)) {
        enum track_end end = ask(k);
        if (end != TRACK_GOING) {
            return end;
        }
    }
    return patience(k);
}

enum track_end track_follow(struct track *k)
{
    enum track_end end = ask(k);
    while (end == TRACK_GOING) {
        end = track_step(k, TRACK_DRAW_MS);
    }
    track_line_end(k);
    return end;
}

void track_who(struct cli *c, const char *name, struct track_who *out)
{
    struct client_fail fail;
    json_t *o, *k;
    size_t i;
    *out = (struct track_who){.there = false};
    if (client_call(c->client, "contacts", NULL, CLIENT_ANSWER_MS, &o, &fail) != 0) {
        return;
    }
    json_array_foreach(json_object_get(o, "contacts"), i, k)
    {
        if (strcmp(cli_str(k, "name"), name) == 0) {
            *out = (struct track_who){.there = cli_true(k, "online"),
                                      .linked = cli_true(k, "linked"),
                                      .verified = cli_true(k, "verified")};
        }
    }
    json_decref(o);
}
