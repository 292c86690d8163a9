/* Receiving a file: accepting it, following it, and passing it on while it comes. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd.h"
#include "fmt.h"
#include "track.h"
#include "transfer.h"

enum {
    PASS_CHUNK = 64 * 1024, /* as much as a pipe holds, unless somebody changes that */
    WAIT_CHUNK = 4096, /* a pipe that says to have room takes so much without waiting */
    PASS_SENTENCE_MAX = 512,
};

struct get {
    struct cli *cli;
    struct track track;
    uint64_t n;
    char *dest; /* absolute; NULL: the download folder, or standard output */
    bool pass;  /* to standard output */
    int fd;     /* what is passed on */
    int out;    /* standard output, or the pipe behind it in a way that never waits */
    bool plain; /* standard output is a file: writing does not wait */
    uint64_t passed;
};

/* ---- to standard output ---- */

/* A pipe is opened once more, without waiting: standard output itself is shared with
 * whoever started us. */
static void out_open(struct get *g)
{
    struct stat st;
    bool known = fstat(STDOUT_FILENO, &st) == 0;
    g->plain = known && S_ISREG(st.st_mode);
    if (known && S_ISFIFO(st.st_mode)) {
        g->out = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    }
    if (g->out < 0) {
        g->out = STDOUT_FILENO;
    }
    (void)signal(SIGPIPE, SIG_IGN); /* that nobody reads any more is told */
}

static void out_close(const struct get *g)
{
    if (g->out != STDOUT_FILENO) {
        (void)close(g->out);
    }
}

/* Whether something can be written now; false: ^C was pressed, which is taken. */
static bool writable(struct get *g)
{
    struct pollfd v[2] = {{.fd = g->out, .events = POLLOUT},
                          {.fd = g->track.signals, .events = POLLIN}};
    int n = poll(v, 2, g->plain ? 0 : -1);
    return !(n > 0 && v[1].revents != 0 && track_interrupted(&g->track));
}

/* Writes a piece. 1; 0: ^C; or -1. */
static int put(struct get *g, const uint8_t *p, size_t n)
{
    bool waits = !g->plain && g->out == STDOUT_FILENO;
    while (n > 0) {
        if (!writable(g)) {
            return 0;
        }
        ssize_t w = write(g->out, p, waits && n > WAIT_CHUNK ? (size_t)WAIT_CHUNK : n);
        if (w < 0 && errno != EINTR && errno != EAGAIN) {
            return -1;
        }
        if (w > 0) {
            p += w;
            n -= (size_t)w;
            g->passed += (uint64_t)w;
        }
    }
    return 1;
}

__attribute__((format(printf, 2, 3))) static enum track_end
pass_failed(struct get *g, const char *fmt, ...)
{
    char text[PASS_SENTENCE_MAX];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    track_line_end(&g->track);
    g->track.rc = cli_fail(CLI_ERROR, "%s", text);
    return TRACK_FAILED;
}

/* Opens what came. */
static enum track_end pass_open(struct get *g, const char *path)
{
    if (path[0] == '\0') { /* another command has read it to its end meanwhile */
        return pass_failed(g,
                           "Transfer %llu was read out already, and is kept no longer.",
                           (unsigned long long)g->n);
    }
    g->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return g->fd >= 0 ? TRACK_GOING
                      : pass_failed(g, "What came cannot be read: %s.", strerror(errno));
}

/* What has been verified from the start without a gap, and was not passed on yet. */
static enum track_end pass_on(void *ctx, const json_t *t)
{
    struct get *g = ctx;
    uint8_t chunk[PASS_CHUNK];
    uint64_t prefix = cli_int(t, "prefix");
    enum track_end end = TRACK_GOING;
    if (prefix > g->passed && g->fd < 0) {
        end = pass_open(g, cli_str(t, "path"));
    }
    while (end == TRACK_GOING && g->passed < prefix) {
        uint64_t left = prefix - g->passed;
        size_t want = left < sizeof chunk ? (size_t)left : sizeof chunk;
        ssize_t n = pread(g->fd, chunk, want, (off_t)g->passed);
        if (n <= 0) {
            return pass_failed(g, "What came cannot be read: %s.",
                               n < 0 ? strerror(errno) : "it is shorter than it was");
        }
        int done = put(g, chunk, (size_t)n);
        if (done < 0) {
            return pass_failed(
                g,
                "What came cannot be written out: %s. It is kept; from the "
                "start again: linnet recv --file %llu -o -",
                strerror(errno), (unsigned long long)g->n);
        }
        end = done == 0 ? TRACK_INTERRUPTED : TRACK_GOING;
    }
    return end;
}

/* ---- what becomes of it ---- */

static int ended(struct get *g)
{
    struct track *k = &g->track;
    json_t *o;
    int rc = transfer_code(k->t);
    if (rc != 0) {
        char *sentence = transfer_sentence(k->t);
        (void)cli_fail(rc, "%s", sentence);
        free(sentence);
        return rc;
    }
    if (g->pass) {
        struct client_fail fail;
        track_done(k, "verified");
        if (client_call(g->cli->client, "transfers.piped",
                        json_pack("{s:I}", "n", (json_int_t)g->n), CLIENT_ANSWER_MS, &o,
                        &fail) == 0) {
            json_decref(o);
        }
        return 0;
    }
    char *path = cli_shown(cli_str(k->t, "path")), *what = NULL;
    if (asprintf(&what, "verified: %s", path) >= 0) {
        track_done(k, what);
        free(what);
    }
    free(path);
    return 0;
}

/* Pauses it, unless it ends meanwhile; the tracker has how it is then. 0, or an exit
 * code, told. */
static int pause_it(struct get *g)
{
    struct track *k = &g->track;
    struct client *c = g->cli->client;
    struct client_fail fail, none;
    json_t *n = json_pack("{s:I}", "n", (json_int_t)g->n), *t = NULL;
    int rc =
        client_call(c, "transfers.pause", json_incref(n), CLIENT_ANSWER_MS, &t, &fail);
    if (rc != 0 && client_call(c, "transfers.show", json_incref(n), CLIENT_ANSWER_MS, &t,
                               &none) == 0) {
        rc = transfer_ended(t) ? 0 : rc;
    }
    json_decref(n);
    if (rc != 0) {
        json_decref(t);
        return cli_fail(rc, "%s", fail.message);
    }
    json_decref(k->t);
    k->t = t;
    return 0;
}

static int interrupted(struct get *g)
{
    struct track *k = &g->track;
    unsigned long long n = g->n;
    char size[FMT_TIME_MAX];
    track_line_end(k);
    track_release(k);
    int rc = transfer_ended(k->t) ? 0 : pause_it(g);
    if (rc != 0) {
        return rc;
    }
    if (transfer_ended(k->t) && (!g->pass || transfer_code(k->t) != 0)) {
        return ended(g);
    }
    const char *again = g->pass ? " -o -" : "";
    const char *what = g->pass ? ", from the start" : "";
    if (transfer_ended(k->t)) {
        fmt_size(g->passed, size);
        cli_say(
            "Stopped after %s. All of it is here and kept. Again%s: linnet recv --file "
            "%llu%s",
            size, what, n, again);
    } else if (json_is_integer(json_object_get(k->t, "percent"))) {
        cli_say("Paused at %llu %%. Go on%s: linnet recv --file %llu%s",
                (unsigned long long)cli_int(k->t, "percent"), what, n, again);
    } else {
        cli_say("Paused. Go on%s: linnet recv --file %llu%s", what, n, again);
    }
    return CLI_PARTIAL;
}

static int tell_end(struct get *g, enum track_end end)
{
    int rc = g->track.rc;
    track_line_end(&g->track);
    switch (end) {
    case TRACK_ENDED:
        rc = ended(g);
        break;
    case TRACK_INTERRUPTED:
        rc = interrupted(g);
        break;
    case TRACK_GOING:
    case TRACK_IDLE:
    case TRACK_ABSENT:
    case TRACK_NO_NODE:
    case TRACK_FAILED:
        break;
    }
    if (!g->pass) {
        bool done = strcmp(cli_str(g->track.t, "state"), "done") == 0;
        track_print(&g->track, done ? cli_str(g->track.t, "path") : "");
    }
    return rc;
}

/* ---- the request ---- */

/* What cannot be received, with a sentence. 0, or an exit code. */
static int refuse(const struct get *g, const json_t *t)
{
    unsigned long long n = g->n;
    char *path = cli_shown(cli_str(t, "path"));
    int rc = 0;
    if (cli_true(t, "mine")) {
        rc =
            cli_fail(CLI_ERROR, "Transfer %llu is a file of yours: nothing comes in.", n);
    } else if (g->pass && strcmp(cli_str(t, "kind"), "folder") == 0) {
        rc = cli_fail(CLI_ERROR,
                      "Transfer %llu is a folder, which cannot go to standard output. "
                      "Say where it belongs: linnet recv --file %llu -o PATH",
                      n, n);
    } else if (strcmp(cli_str(t, "state"), "done") == 0 &&
               (g->pass ? path[0] == '\0' : g->dest != NULL)) {
        rc = cli_fail(CLI_ERROR, "Transfer %llu is done already%s%s", n,
                      path[0] != '\0' ? ": it is in " : ".", path);
    }
    free(path);
    return rc;
}

/* Accepts what is undecided, goes on with what was paused. 0, or an exit code, told. */
static int accept(struct get *g, const json_t *t)
{
    bool offered = strcmp(cli_str(t, "state"), "offered") == 0;
    bool paused = strcmp(cli_str(t, "state"), "paused") == 0;
    json_t *params = json_pack("{s:I}", "n", (json_int_t)g->n), *o;
    if (!offered && !paused && g->dest == NULL) {
        json_decref(params);
        return 0; /* it is under way */
    }
    if (g->dest != NULL) {
        (void)json_object_set_new(params, "path", json_string(g->dest));
    }
    if (g->pass && offered) {
        (void)json_object_set_new(params, "pipe", json_true());
    }
    bool resume = paused && g->dest == NULL;
    int rc =
        cli_call(g->cli, resume ? "transfers.resume" : "transfers.accept", params, &o);
    if (rc == 0) {
        json_decref(o);
    }
    return rc;
}

static int get(struct get *g)
{
    struct track *k = &g->track;
    struct track_who who;
    int rc = track_open(k, g->cli);
    if (rc != 0) {
        return rc;
    }
    enum track_end end = track_begin(k, g->n);
    if (end == TRACK_FAILED) {
        return k->rc;
    }
    rc = refuse(g, k->t);
    if (rc == 0 && end == TRACK_GOING) {
        rc = accept(g, k->t);
    }
    if (rc != 0) {
        return rc;
    }
    track_who(g->cli, cli_str(k->t, "conversation"), &who);
    track_head(k, "From", &who);
    track_file(k);
    k->look = g->pass ? pass_on : NULL;
    k->ctx = g;
    return tell_end(g, track_follow(k));
}

int cmd_recv_file(struct cli *c)
{
    struct get g = {.cli = c, .fd = -1, .out = STDOUT_FILENO};
    const char *to = args_value(&c->args, "--output");
    if (!fmt_number(args_value(&c->args, "--file"), UINT32_MAX, &g.n) || g.n == 0) {
        return cli_misused(c, "--file wants the number of a transfer.");
    }
    if (args_value(&c->args, "--follow") != NULL ||
        args_value(&c->args, "--from") != NULL) {
        return cli_misused(c, "--file stands alone, but for -o.");
    }
    g.pass = to != NULL && strcmp(to, "-") == 0;
    if (g.pass && c->json) {
        return cli_misused(c, "Standard output cannot hold the file and JSON.");
    }
    if (g.pass && c->tty_out) {
        return cli_misused(c, "A file is not written to a terminal. Say where it goes, "
                              "or pass it on: -o - | tar t");
    }
    if (g.pass) {
        out_open(&g);
    }
    if (to != NULL && !g.pass && (g.dest = cmd_absolute(to)) == NULL) {
        return CLI_ERROR;
    }
    int rc = get(&g);
    track_close(&g.track);
    if (g.fd >= 0) {
        (void)close(g.fd);
    }
    out_close(&g);
    free(g.dest);
    return rc;
}
