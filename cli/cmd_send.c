/* Sending, and waiting until it has got somewhere. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/env.h"
#include "cmd.h"
#include "fmt.h"
#include "show.h"

enum { WAIT_DEFAULT_MS = 30000, FIRST_MS = 100 };

static const char *const states[] = {"queued", "sent", "stored", "delivered", "read"};
enum { STATES = sizeof states / sizeof states[0] };

static size_t rank(const char *state)
{
    size_t i = 0;
    while (i < STATES && strcmp(states[i], state) != 0) {
        i++;
    }
    return i == STATES ? 0 : i;
}

char *cmd_read_text(size_t *len)
{
    enum { ROOM = CLI_TEXT_MAX + 2 }; /* a line feed, and one byte too many */
    char *p = malloc(ROOM + 1);
    size_t n = 0;
    ssize_t r = 1;
    if (p == NULL) {
        (void)cli_fail(CLI_ERROR, "Memory is exhausted.");
        return NULL;
    }
    while (n < ROOM && (r = read(STDIN_FILENO, p + n, ROOM - n)) > 0) {
        n += (size_t)r;
    }
    if (r < 0) {
        free(p);
        (void)cli_fail(CLI_ERROR, "Standard input cannot be read.");
        return NULL;
    }
    if (n > 0 && p[n - 1] == '\n') {
        n--;
    }
    p[n] = '\0';
    *len = n;
    return p;
}

int cmd_check_text(const char *text, size_t len)
{
    if (len == 0) {
        return cli_fail(CLI_USAGE, "There is no text to send.");
    }
    if (len > CLI_TEXT_MAX) {
        return cli_fail(CLI_USAGE,
                        "The text is too long: a message holds at most %d bytes. "
                        "Send it in pieces.",
                        CLI_TEXT_MAX);
    }
    if (!fmt_utf8_ok(text, len) || memchr(text, '\0', len) != NULL) {
        return cli_fail(CLI_USAGE,
                        "That is not UTF-8 text. For other encodings: iconv -t "
                        "UTF-8.");
    }
    return 0;
}

int send_wait_parse(struct cli *c, struct send_wait *w)
{
    const char *until = args_value(&c->args, "--wait");
    const char *timeout = args_value(&c->args, "--timeout");
    *w = (struct send_wait){.timed = timeout != NULL, .timeout_ms = WAIT_DEFAULT_MS};
    if (until != NULL && (w->wanted = rank(until)) == 0) {
        return cli_misused(c, "--wait wants sent, stored, delivered or read.");
    }
    if (timeout != NULL && !fmt_duration(timeout, &w->timeout_ms)) {
        return cli_misused(c, "--timeout wants a duration, as in 500ms, 30s or 10m.");
    }
    return 0;
}

/* The message as it is now: its state may have changed before we listened. */
static void look_again(struct cli *c, json_t *m)
{
    struct client_fail fail;
    json_t *now;
    if (client_call(c->client, "message", json_pack("{s:s}", "id", cli_str(m, "id")),
                    CLIENT_ANSWER_MS, &now, &fail) == 0) {
        if (rank(cli_str(now, "state")) > rank(cli_str(m, "state"))) {
            (void)json_object_set(m, "state", json_object_get(now, "state"));
        }
        json_decref(now);
    }
}

/* Whether a link to this contact is up, and whether it is seen at all. */
static bool linked(struct cli *c, const char *name, bool *online)
{
    struct client_fail fail;
    json_t *o, *k;
    size_t i;
    bool up = false;
    *online = false;
    if (client_call(c->client, "contacts", NULL, CLIENT_ANSWER_MS, &o, &fail) != 0) {
        return false;
    }
    json_array_foreach(json_object_get(o, "contacts"), i, k)
    {
        if (strcmp(cli_str(k, "name"), name) == 0) {
            up = cli_true(k, "linked");
            *online = cli_true(k, "online");
        }
    }
    json_decref(o);
    return up;
}

int send_wait_state(struct cli *c, json_t *m, const struct send_wait *w)
{
    uint64_t deadline = env_mono_ms() + w->timeout_ms;
    look_again(c, m);
    while (rank(cli_str(m, "state")) < w->wanted) {
        uint64_t now = env_mono_ms();
        char topic[CLIENT_TOPIC_MAX];
        json_t *e;
        int n = client_event(c->client, deadline > now ? deadline - now : 0, topic, &e);
        if (n < 0) {
            return cli_fail(CLI_NO_NODE,
                            "The node has ended. The message is kept and goes "
                            "out when it runs again.");
        }
        if (n == 0) {
            break;
        }
        if (strcmp(cli_str(e, "id"), cli_str(m, "id")) == 0 &&
            rank(cli_str(e, "state")) > rank(cli_str(m, "state"))) {
            (void)json_object_set(m, "state", json_object_get(e, "state"));
        }
        json_decref(e);
    }
    if (rank(cli_str(m, "state")) >= w->wanted) {
        return 0;
    }
    char *name = cli_shown(cli_str(m, "conversation"));
    bool online, up = linked(c, cli_str(m, "conversation"), &online);
    int rc =
        up ? cli_fail(CLI_TIMEOUT,
                      "%s is there, but the message is not %s yet; it is %s.", name,
                      states[w->wanted], cli_str(m, "state"))
           : cli_fail(CLI_ABSENT,
                      online
                          ? "There is no link to %s. The message stays queued and goes "
                            "out when there is one."
                          : "%s is offline. The message stays queued and goes out "
                            "when they are back.",
                      name);
    free(name);
    return rc;
}

static void print_sent(struct cli *c, json_t *m)
{
    if (c->json) {
        cli_json(m);
        return;
    }
    const char *state = cli_str(m, "state");
    if (!c->tty_out) {
        (void)printf("%.*s\t%s\n", CLI_ID_SHOWN, cli_str(m, "id"), state);
        return;
    }
    char *name = cli_shown(cli_str(m, "conversation"));
    (void)printf("%s  to %s%s%s  %s%.*s%s\n", show_mark(state), cli_bold(c), name,
                 cli_plain(c), cli_dim(c), CLI_ID_SHOWN, cli_str(m, "id"), cli_plain(c));
    free(name);
}

static int send_text(struct cli *c, const char *text, size_t len,
                     const struct send_wait *w)
{
    static const char *const topics[] = {"state", NULL};
    const char *reply = args_value(&c->args, "--reply");
    struct client_fail fail;
    struct client_welcome welcome;
    json_t *m;
    int rc = cli_connect(c);
    if (rc == 0 && w->wanted > 0 &&
        client_follow(c->client, topics, &welcome, &fail) != 0) {
        rc = cli_fail(fail.code, "%s", fail.message);
    }
    if (rc != 0) {
        return rc;
    }
    json_t *params = json_pack("{s:s,s:s%}", "to", c->args.words[0], "text", text, len);
    if (reply != NULL) {
        (void)json_object_set_new(params, "reply_to", json_string(reply));
    }
    rc = cli_call(c, "send", params, &m);
    if (rc != 0) {
        return rc;
    }
    if (w->wanted > 0) {
        rc = send_wait_state(c, m, w);
    }
    print_sent(c, m);
    json_decref(m);
    return rc;
}

int cmd_send(struct cli *c)
{
    struct send_wait w;
    if (args_value(&c->args, "--file") != NULL) {
        return cmd_send_files(c);
    }
    if (args_value(&c->args, "--name") != NULL) {
        return cli_misused(c, "--name is the name of what is sent with -f.");
    }
    int rc = send_wait_parse(c, &w);
    if (rc == 0 && c->args.n_words < 2) {
        rc = cli_misused(c, "The text is missing.");
    }
    if (rc != 0) {
        return rc;
    }
    const char *text = c->args.words[1];
    char *input = NULL;
    size_t len = strlen(text);
    if (strcmp(text, "-") == 0) {
        text = input = cmd_read_text(&len);
        if (input == NULL) {
            return CLI_ERROR;
        }
    }
    rc = cmd_check_text(text, len);
    if (rc == 0) {
        rc = send_text(c, text, len, &w);
    }
    free(input);
    return rc;
}

int cmd_read(struct cli *c)
{
    json_t *o;
    int rc = cli_call(c, "read", json_pack("{s:s}", "name", c->args.words[0]), &o);
    if (rc != 0) {
        return rc;
    }
    if (c->json) {
        (void)json_object_set_new(o, "name", json_string(c->args.words[0]));
        cli_json(o);
    } else if (c->tty_err) {
        char *name = cli_shown(c->args.words[0]);
        cli_say("All of %s's messages are read.", name);
        free(name);
    }
    json_decref(o);
    return 0;
}
