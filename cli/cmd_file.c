/* Sending files: offering them, and following them until the other side has them. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/env.h"
#include "cmd.h"
#include "fmt.h"
#include "track.h"
#include "transfer.h"

enum {
    OFFER_MS = 600000, /* for the node to look at what is sent: a folder may be large */
    SPOOL_TELL_MS = 250,
    SPOOL_CHUNK = 256 * 1024,
};

struct send {
    struct cli *cli;
    struct send_wait wait;
    struct track track;
    bool interactive; /* somebody sits at a terminal and may wait */
    bool interrupted;
    size_t n;         /* files */
    json_t *messages; /* what was offered; the text's is not among them */
};

char *cmd_absolute(const char *path)
{
    char *copy = strdup(path), *copy2 = strdup(path), *out = NULL, folder[PATH_MAX];
    const char *base = copy != NULL ? basename(copy) : "";
    bool dots = strcmp(base, ".") == 0 || strcmp(base, "..") == 0 || base[0] == '/';
    const char *of = dots || copy2 == NULL ? path : dirname(copy2);
    errno = 0;
    bool found = path[0] != '\0' && realpath(of, folder) != NULL;
    if (!found || (dots ? (out = strdup(folder)) == NULL
                        : asprintf(&out, "%s/%s", strcmp(folder, "/") == 0 ? "" : folder,
                                   base) < 0)) {
        char *shown = cli_shown(path);
        (void)cli_fail(CLI_ERROR, "%s cannot be found: %s.", shown,
                       errno != 0 ? strerror(errno) : "there is no path");
        free(shown);
        out = NULL;
    } else if (!fmt_utf8_ok(out, strlen(out))) {
        (void)cli_fail(CLI_ERROR, "The name of a folder on the way is not UTF-8.");
        free(out);
        out = NULL;
    }
    free(copy);
    free(copy2);
    return out;
}

/* The absolute paths of all -f. NULL: told. */
static json_t *paths_of(const struct args *a)
{
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < a->n_values; i++) {
        if (strcmp(a->values[i].option->name, "--file") != 0) {
            continue;
        }
        char *path = cmd_absolute(a->values[i].value);
        if (path == NULL) {
            json_decref(list);
            return NULL;
        }
        (void)json_array_append_new(list, json_string(path));
        free(path);
    }
    return list;
}

static size_t count_files(const struct args *a, bool *input)
{
    size_t n = 0;
    *input = false;
    for (size_t i = 0; i < a->n_values; i++) {
        if (strcmp(a->values[i].option->name, "--file") == 0) {
            *input = *input || strcmp(a->values[i].value, "-") == 0;
            n++;
        }
    }
    return n;
}

/* ---- what becomes of it ---- */

/* " at 58 %", where that is known. */
static void put_percent(const json_t *t, char out[FMT_TIME_MAX])
{
    out[0] = '\0';
    if (json_is_integer(json_object_get(t, "percent"))) {
        (void)snprintf(out, FMT_TIME_MAX, " at %llu %%",
                       (unsigned long long)cli_int(t, "percent"));
    }
}

/* Begun and not complete. */
static int tell_partial(const struct track *k)
{
    char *why = cli_shown(cli_str(k->t, "reason")), at[FMT_TIME_MAX];
    put_percent(k->t, at);
    (void)cli_fail(CLI_PARTIAL,
                   "Nothing moves: transfer %llu is %s%s%s%s. It goes on by itself when "
                   "it can: linnet transfers show %llu",
                   (unsigned long long)k->n, cli_str(k->t, "state"), at,
                   why[0] != '\0' ? ": " : "", why, (unsigned long long)k->n);
    free(why);
    return CLI_PARTIAL;
}

/* The time is over. */
static int tell_idle(struct send *s)
{
    struct track *k = &s->track;
    unsigned long long n = k->n;
    struct track_who who;
    if (k->begun) {
        return tell_partial(k);
    }
    track_who(s->cli, cli_str(k->t, "conversation"), &who);
    char *name = cli_shown(cli_str(k->t, "conversation"));
    int rc = 0;
    if (s->wait.wanted > 0) {
        rc = who.there ? cli_fail(CLI_TIMEOUT,
                                  "%s is there and has not accepted yet. The offer stays "
                                  "open; take it back: linnet transfers cancel %llu",
                                  name, n)
                       : cli_fail(CLI_ABSENT,
                                  "%s is offline. The offer waits; take it back: linnet "
                                  "transfers cancel %llu",
                                  name, n);
    } else if (k->screen) {
        cli_say("%s has not accepted yet. The offer waits: linnet transfers show %llu",
                name, n);
    }
    free(name);
    return rc;
}

static int tell_absent(struct send *s)
{
    struct track *k = &s->track;
    if (k->screen) {
        char *name = cli_shown(cli_str(k->t, "conversation"));
        cli_say("%s is offline. The offer waits, and what is sent has to stay where it "
                "is until they have it: linnet transfers show %llu",
                name, (unsigned long long)k->n);
        free(name);
    }
    return 0;
}

/* ^C: what is under way is paused, what was offered stays. */
static int tell_interrupted(struct send *s)
{
    struct track *k = &s->track;
    unsigned long long n = k->n;
    track_line_end(k);
    track_release(k);
    s->interrupted = true;
    if (!k->begun) {
        cli_say("The offer stays open; take it back: linnet transfers cancel %llu", n);
        return CLI_PARTIAL;
    }
    json_t *t;
    int rc =
        cli_call(s->cli, "transfers.pause", json_pack("{s:I}", "n", (json_int_t)n), &t);
    if (rc != 0) {
        return rc;
    }
    char at[FMT_TIME_MAX];
    put_percent(t, at);
    cli_say("Paused%s. Resume: linnet transfers resume %llu", at, n);
    json_decref(k->t);
    k->t = t;
    return CLI_PARTIAL;
}

static int tell_ended(struct send *s)
{
    struct track *k = &s->track;
    int rc = transfer_code(k->t);
    if (rc == 0) {
        char *name = cli_shown(cli_str(k->t, "conversation")), *what = NULL;
        if (asprintf(&what, "verified by %s", name) >= 0) {
            track_done(k, what);
            free(what);
        }
        free(name);
        return 0;
    }
    char *sentence = transfer_sentence(k->t);
    (void)cli_fail(rc, "%s", sentence);
    free(sentence);
    return rc;
}

static int tell_end(struct send *s, enum track_end end)
{
    struct track *k = &s->track;
    int rc = k->rc;
    track_line_end(k);
    switch (end) {
    case TRACK_ENDED:
        rc = tell_ended(s);
        break;
    case TRACK_IDLE:
        rc = tell_idle(s);
        break;
    case TRACK_ABSENT:
        rc = tell_absent(s);
        break;
    case TRACK_INTERRUPTED:
        rc = tell_interrupted(s);
        break;
    case TRACK_GOING:
    case TRACK_NO_NODE:
    case TRACK_FAILED:
        break;
    }
    if (k->t != NULL) {
        track_print(k, cli_str(k->t, "name"));
    }
    return rc;
}

/* ---- following ---- */

/* How long it is followed, by --wait, --timeout, and whether somebody looks on. */
static void set_patience(struct send *s)
{
    bool wait = s->wait.wanted > 0;
    s->track.idle_ms = s->wait.timeout_ms;
    s->track.wait_ms =
        wait || s->wait.timed || !s->interactive ? s->wait.timeout_ms : UINT64_MAX;
    s->track.leave_absent = !wait;
}

static uint64_t number_of(const json_t *message)
{
    return cli_int(json_object_get(message, "file"), "n");
}

/* Turns to the file of a message, and shows what is sent to whom. *end is not TRACK_GOING
 * when there is nothing to follow. */
static void begin(struct send *s, uint64_t n, bool first, enum track_end *end)
{
    struct track *k = &s->track;
    struct track_who who;
    *end = track_begin(k, n);
    if (*end == TRACK_FAILED || *end == TRACK_NO_NODE) {
        return;
    }
    track_who(s->cli, cli_str(k->t, "conversation"), &who);
    if (first) {
        track_head(k, "To", &who);
    }
    track_file(k);
    bool open = *end == TRACK_GOING && !k->begun;
    *end = open && k->leave_absent && !who.there ? TRACK_ABSENT : *end;
}

/* The worst of two exit codes: of what is told last, the larger. */
static int worse(int a, int b)
{
    return b > a ? b : a;
}

/* After ^C those that follow are treated as the one that was looked at. */
static int follow_one(struct send *s, uint64_t n, bool first)
{
    enum track_end end;
    begin(s, n, first, &end);
    if (s->interrupted && end == TRACK_GOING) {
        end = TRACK_INTERRUPTED;
    } else if (end == TRACK_GOING || end == TRACK_ENDED) {
        end = track_follow(&s->track);
    }
    return tell_end(s, end);
}

static int follow_all(struct send *s)
{
    json_t *m;
    size_t i, n = json_array_size(s->messages);
    int rc = 0;
    set_patience(s);
    for (i = 0; i < n && s->track.rc != CLI_NO_NODE; i++) {
        m = json_array_get(s->messages, i);
        rc = worse(rc, follow_one(s, number_of(m), i == 0));
    }
    return rc;
}

/* --wait sent or stored: of the messages that offer them. */
static int wait_offers(struct send *s)
{
    bool interrupted = track_interrupted(&s->track);
    json_t *m;
    size_t i;
    int rc = 0;
    track_release(&s->track);
    json_array_foreach(s->messages, i, m)
    {
        rc = worse(rc, interrupted ? 0 : send_wait_state(s->cli, m, &s->wait));
        if (track_begin(&s->track, number_of(m)) != TRACK_FAILED) {
            rc = worse(rc, interrupted ? tell_interrupted(s) : 0);
            track_print(&s->track, cli_str(s->track.t, "name"));
        }
    }
    return rc;
}

/* ---- offering ---- */

/* A request that ^C ends; said tells then what may become of what was asked. 0 or an exit
 * code, told. */
static int call_until_c(struct send *s, const char *method, json_t *params,
                        uint64_t timeout_ms, const char *said, json_t **out)
{
    struct client_fail fail;
    client_watch(s->cli->client, s->track.signals);
    int rc = client_call(s->cli->client, method, params, timeout_ms, out, &fail);
    client_watch(s->cli->client, -1);
    if (rc == CLI_INTERRUPTED) {
        cli_say("%s", said);
    } else if (rc != 0) {
        (void)cli_fail(rc, "%s", fail.message);
    }
    return rc;
}

/* `send`: text and files. Keeps the messages of the files. */
static int offer(struct send *s, const char *text, size_t len, json_t *files)
{
    const struct args *a = &s->cli->args;
    const char *name = args_value(a, "--name"), *reply = args_value(a, "--reply");
    json_t *params = json_pack("{s:s,s:o}", "to", a->words[0], "files", files), *o, *m;
    size_t i;
    if (text != NULL) {
        (void)json_object_set_new(params, "text", json_stringn(text, len));
    }
    if (name != NULL) {
        (void)json_object_set_new(params, "name", json_string(name));
    }
    if (reply != NULL) {
        (void)json_object_set_new(params, "reply_to", json_string(reply));
    }
    int rc = call_until_c(s, "send", params, OFFER_MS,
                          "Interrupted while the node looks at what is sent. It may be "
                          "offered all the same: linnet transfers",
                          &o);
    if (rc != 0) {
        return rc;
    }
    s->messages = json_array();
    json_array_foreach(json_object_get(o, "messages"), i, m)
    {
        if (strcmp(cli_str(m, "kind"), "file") == 0) {
            (void)json_array_append(s->messages, m);
        } else if (s->cli->json) {
            cli_json(m);
        }
    }
    json_decref(o);
    return 0;
}

static int send_paths(struct send *s, const char *text, size_t len)
{
    json_t *files = paths_of(&s->cli->args);
    if (files == NULL) {
        return CLI_ERROR;
    }
    int rc = track_open(&s->track, s->cli); /* ^C is ours before anything is offered */
    if (rc != 0) {
        json_decref(files);
    } else {
        rc = offer(s, text, len, files);
    }
    if (rc == 0) {
        bool offers = s->wait.wanted > 0 && s->wait.wanted < SEND_WAIT_DELIVERED;
        rc = offers ? wait_offers(s) : follow_all(s);
    }
    track_close(&s->track);
    json_decref(s->messages);
    return rc;
}

/* ---- from standard input ---- */

struct spool {
    int fd;
    uint64_t size, told, told_ms;
    bool end;
    uint8_t chunk[SPOOL_CHUNK];
};

static bool write_all(int fd, const uint8_t *p, size_t n)
{
    while (n > 0) {
        ssize_t w = write(fd, p, n);
        if (w < 0 && errno != EINTR) {
            return false;
        }
        if (w > 0) {
            p += w;
            n -= (size_t)w;
        }
    }
    return true;
}

/* Moves what standard input has. 0, or an exit code, told. */
static int spool_some(struct spool *p)
{
    ssize_t n = read(STDIN_FILENO, p->chunk, sizeof p->chunk);
    if (n < 0 && errno != EINTR && errno != EAGAIN) {
        return cli_fail(CLI_ERROR, "Standard input cannot be read: %s.", strerror(errno));
    }
    p->end = n == 0;
    if (n > 0 && !write_all(p->fd, p->chunk, (size_t)n)) {
        return cli_fail(CLI_ERROR, "What is read cannot be kept until it is sent: %s.",
                        strerror(errno));
    }
    p->size += n > 0 ? (uint64_t)n : 0;
    return 0;
}

static int spool_tell(struct send *s, struct spool *p, uint64_t n)
{
    struct client_fail fail;
    json_t *o;
    int rc = client_call(s->cli->client, "transfers.spooled",
                         json_pack("{s:I,s:I,s:b}", "n", (json_int_t)n, "size",
                                   (json_int_t)p->size, "end", p->end),
                         CLIENT_ANSWER_MS, &o, &fail);
    if (rc != 0) {
        track_line_end(&s->track);
        return cli_fail(rc, "%s", fail.message);
    }
    json_decref(o);
    p->told = p->size;
    p->told_ms = env_mono_ms();
    return 0;
}

/* Reads to the end of standard input. TRACK_GOING: all of it is there. */
static enum track_end spool_read(struct send *s, struct spool *p, uint64_t n)
{
    struct track *k = &s->track;
    enum track_end end = TRACK_GOING;
    while (end == TRACK_GOING && !p->end) {
        struct pollfd v[2] = {{.fd = STDIN_FILENO, .events = POLLIN},
                              {.fd = k->signals, .events = POLLIN}};
        (void)poll(v, 2, SPOOL_TELL_MS);
        k->rc = v[0].revents != 0 ? spool_some(p) : 0;
        bool due = p->size != p->told && env_mono_ms() - p->told_ms >= SPOOL_TELL_MS;
        end = k->rc == 0 ? track_step(k, 0) : TRACK_FAILED;
        if (end == TRACK_GOING && (due || p->end)) {
            k->rc = spool_tell(s, p, n);
            end = k->rc == 0 ? TRACK_GOING : TRACK_FAILED;
        }
    }
    return end;
}

/* What was not read to its end is not sent. */
static int spool_broken(struct send *s, enum track_end end, uint64_t n)
{
    json_t *t;
    if (end != TRACK_INTERRUPTED && end != TRACK_FAILED) {
        return tell_end(s, end);
    }
    track_line_end(&s->track);
    track_release(&s->track);
    if (cli_call(s->cli, "transfers.cancel", json_pack("{s:I}", "n", (json_int_t)n),
                 &t) == 0) {
        json_decref(t);
        cli_say("The offer was taken back.");
    }
    return end == TRACK_INTERRUPTED ? CLI_INTERRUPTED : s->track.rc;
}

static int spool_send(struct send *s, struct spool *p, uint64_t n)
{
    enum track_end end;
    begin(s, n, true, &end);
    if (end == TRACK_GOING) {
        end = spool_read(s, p, n);
    }
    if (end != TRACK_GOING) {
        return spool_broken(s, end, n);
    }
    set_patience(s);
    s->track.moved_ms = env_mono_ms();
    return tell_end(s, track_follow(&s->track));
}

/* Opens what is to be written, and sends it. */
static int spool_into(struct send *s, const char *path, uint64_t n)
{
    struct spool *p = calloc(1, sizeof *p);
    int rc;
    if (p == NULL) {
        return cli_fail(CLI_ERROR, "Memory is exhausted.");
    }
    p->fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (p->fd < 0 || flock(p->fd, LOCK_EX) != 0) {
        s->track.rc = cli_fail(CLI_ERROR, "The place where it is kept cannot be opened.");
        rc = spool_broken(s, TRACK_FAILED, n);
    } else {
        rc = spool_send(s, p, n);
    }
    if (p->fd >= 0) {
        (void)close(p->fd);
    }
    free(p);
    return rc;
}

static int send_input(struct send *s, const char *name)
{
    json_t *o,
        *params = json_pack("{s:s,s:s}", "to", s->cli->args.words[0], "name", name);
    int rc = track_open(&s->track, s->cli);
    if (rc != 0) {
        json_decref(params);
    } else {
        rc = call_until_c(s, "transfers.spool", params, CLIENT_ANSWER_MS,
                          "Interrupted. If it was offered already, that is taken back.",
                          &o);
    }
    if (rc == 0) {
        rc = spool_into(s, cli_str(o, "path"), cli_int(o, "n"));
        json_decref(o);
    }
    track_close(&s->track);
    return rc;
}

/* A text that goes before standard input, which has a request of its own. */
static int send_text_before(struct send *s, const char *text, size_t len)
{
    json_t *m,
        *params = json_pack("{s:s,s:s%}", "to", s->cli->args.words[0], "text", text, len);
    const char *reply = args_value(&s->cli->args, "--reply");
    if (reply != NULL) {
        (void)json_object_set_new(params, "reply_to", json_string(reply));
    }
    int rc = cli_call(s->cli, "send", params, &m);
    if (rc == 0) {
        if (s->cli->json) {
            cli_json(m);
        }
        json_decref(m);
    }
    return rc;
}

/* What does not fit together. 0, or told. */
static int check(struct send *s, bool input, bool text_input)
{
    struct cli *c = s->cli;
    bool named = args_value(&c->args, "--name") != NULL;
    if (input && s->n > 1) {
        return cli_misused(c, "Standard input is sent alone: one -f, and that is -.");
    }
    if (input && text_input) {
        return cli_misused(c, "Text and file cannot both come from standard input.");
    }
    if (input && !named) {
        return cli_misused(c, "What comes from standard input needs a --name.");
    }
    if (named && s->n > 1) {
        return cli_misused(c, "--name fits one file: with several each keeps its own.");
    }
    if (args_value(&c->args, "--reply") != NULL && c->args.n_words < 2) {
        return cli_misused(c, "--reply wants a text, which may go with the file.");
    }
    return 0;
}

int cmd_send_files(struct cli *c)
{
    struct send s = {.cli = c, .interactive = c->tty_out && c->tty_err && !c->json};
    const char *text = c->args.n_words > 1 ? c->args.words[1] : NULL;
    char *read_text = NULL;
    size_t len = text != NULL ? strlen(text) : 0;
    bool input, text_input = text != NULL && strcmp(text, "-") == 0;
    s.n = count_files(&c->args, &input);
    int rc = send_wait_parse(c, &s.wait);
    if (rc == 0) {
        rc = check(&s, input, text_input);
    }
    if (rc == 0 && text_input) {
        text = read_text = cmd_read_text(&len);
        rc = text == NULL ? CLI_ERROR : 0;
    }
    if (rc == 0 && text != NULL) {
        rc = cmd_check_text(text, len);
    }
    if (rc == 0 && input) {
        rc = text != NULL ? send_text_before(&s, text, len) : 0;
        rc = rc == 0 ? send_input(&s, args_value(&c->args, "--name")) : rc;
    } else if (rc == 0) {
        rc = send_paths(&s, text, len);
    }
    free(read_text);
    return rc;
}
