/* Meeting: invite on one side, add on the other. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "fmt.h"
#include "qr.h"
#include "show.h"

enum {
    EXPIRES_MIN_MS = 1000,
    EXPIRES_DAYS_MAX = 365, /* docs/API.md */
    DAY_MS = 86400 * 1000,
    ADD_MS = 45000, /* the node answers after 15 s at the latest */
    CODE_MAX = 512,
};

static json_t *invite_params(struct cli *c, int *rc)
{
    const char *expires = args_value(&c->args, "--expires");
    json_t *params = json_object(), *addr = NULL;
    uint64_t ms;
    *rc = 0;
    if (expires != NULL) {
        if (!fmt_duration(expires, &ms) || ms < EXPIRES_MIN_MS ||
            ms > (uint64_t)EXPIRES_DAYS_MAX * DAY_MS) {
            *rc =
                cli_misused(c,
                            "--expires wants a duration, as in 10m, 24h or 7d, of 1s to "
                            "%dd.",
                            EXPIRES_DAYS_MAX);
        } else {
            (void)json_object_set_new(params, "expires_s",
                                      json_integer((json_int_t)(ms / 1000)));
        }
    }
    for (size_t i = 0; i < c->args.n_values; i++) {
        if (strcmp(c->args.values[i].option->name, "--addr") == 0) {
            addr = addr != NULL ? addr : json_array();
            (void)json_array_append_new(addr, json_string(c->args.values[i].value));
        }
    }
    if (addr != NULL) {
        (void)json_object_set_new(params, "addr", addr);
    }
    return params;
}

static int invite_new(struct cli *c)
{
    json_t *o;
    int rc;
    json_t *params = invite_params(c, &rc);
    if (rc != 0) {
        json_decref(params);
        return rc;
    }
    rc = cli_call(c, "invite", params, &o);
    if (rc != 0) {
        return rc;
    }
    const char *code = cli_str(o, "code");
    if (c->json) {
        cli_json(o);
        json_decref(o);
        return 0;
    }
    uint64_t now = cli_now_ms(), expires = cli_int(o, "expires_ms");
    (void)puts(code);
    (void)fflush(stdout);
    if (args_value(&c->args, "--qr") != NULL && !qr_draw(stderr, code, c->colour)) {
        rc = cli_fail(CLI_ERROR, "The code does not fit into a QR code.");
    }
    if (c->tty_err) {
        char span[FMT_TIME_MAX];
        fmt_span(expires > now ? expires - now : 0, span);
        cli_say("\nThe other side runs, within %s:\n\n    linnet add %s\n", span, code);
        cli_say("It works once; whoever has it first becomes your contact, so give it to "
                "them alone. Take it back with: linnet invite revoke %llu",
                (unsigned long long)cli_int(o, "n"));
    }
    json_decref(o);
    return rc;
}

static void print_invite(struct cli *c, json_t *i)
{
    char when[FMT_TIME_MAX];
    const char *state = cli_str(i, "state");
    char *by = cli_shown(cli_str(i, "used_by"));
    unsigned long long n = cli_int(i, "n");
    uint64_t now = cli_now_ms(), expires = cli_int(i, "expires_ms");
    if (c->json) {
        cli_json(i);
    } else if (!c->tty_out) {
        fmt_iso(expires, when);
        (void)printf("%llu\t%s\t%s\t%s\n", n, state, when, by);
    } else if (strcmp(state, "open") == 0) {
        fmt_span(expires > now ? expires - now : 0, when);
        (void)printf("%3llu  open     for %s\n", n, when);
    } else {
        (void)printf("%3llu  %-8s %s%s\n", n, state, by[0] != '\0' ? "by " : "", by);
    }
    free(by);
}

static int invite_ls(struct cli *c)
{
    json_t *o, *i;
    size_t k;
    int rc = cli_call(c, "invite.ls", NULL, &o);
    if (rc != 0) {
        return rc;
    }
    const json_t *list = json_object_get(o, "invites");
    json_array_foreach(list, k, i)
    {
        print_invite(c, i);
    }
    if (json_array_size(list) == 0 && c->tty_err) {
        cli_say("No invites. Make one: linnet invite");
    }
    json_decref(o);
    return 0;
}

static int invite_revoke(struct cli *c, const char *word)
{
    json_t *o;
    uint64_t n;
    if (!fmt_number(word, INT32_MAX, &n)) {
        return cli_misused(c, "Which invite? Its number stands in `linnet invite ls`.");
    }
    int rc = cli_call(c, "invite.revoke", json_pack("{s:I}", "n", (json_int_t)n), &o);
    if (rc == 0 && c->json) {
        cli_json(o);
    } else if (rc == 0) {
        cli_say("Invite %llu is worth nothing now.", (unsigned long long)n);
    }
    if (rc == 0) {
        json_decref(o);
    }
    return rc;
}

int cmd_invite(struct cli *c)
{
    size_t n = c->args.n_words;
    const char *verb = n > 0 ? c->args.words[0] : NULL;
    if (verb == NULL) {
        return invite_new(c);
    }
    if (strcmp(verb, "ls") == 0 && n == 1) {
        return invite_ls(c);
    }
    if (strcmp(verb, "revoke") == 0 && n == 2) {
        return invite_revoke(c, c->args.words[1]);
    }
    return cli_misused(c, "Those arguments do not fit together.");
}

/* The code without the blanks that mail and chat put around or into it. */
static bool clean_code(const char *in, char out[CODE_MAX])
{
    size_t n = 0;
    for (; *in != '\0'; in++) {
        if (isspace((unsigned char)*in)) {
            continue;
        }
        if (n + 1 >= CODE_MAX) {
            return false;
        }
        out[n++] = *in;
    }
    out[n] = '\0';
    return n > 0;
}

static bool is_code(const char *word)
{
    static const char prefix[] = "linnet1";
    return strncasecmp(word, prefix, sizeof prefix - 1) == 0;
}

static bool read_code(struct cli *c, char out[CODE_MAX])
{
    char line[CODE_MAX * 2];
    const char *word = c->args.words[0];
    size_t blanks = strspn(word, " \t\r\n"), len = strlen(word);
    if (!is_code(word + blanks) && strcmp(word, "-") != 0 && len < CODE_MAX) {
        memcpy(out, word, len + 1); /* somebody nearby, whose name may have blanks */
        return len > 0;
    }
    if (strcmp(word, "-") != 0) {
        return clean_code(word, out);
    }
    if (c->tty_in) {
        (void)fprintf(stderr, "Code: ");
        (void)fflush(stderr);
    }
    return cli_read_line(STDIN_FILENO, line, sizeof line) && clean_code(line, out);
}

int cmd_add(struct cli *c)
{
    char code[CODE_MAX];
    const char *as = args_value(&c->args, "--as");
    json_t *o;
    if (!read_code(c, code) || !fmt_utf8_ok(code, strlen(code))) {
        return cli_misused(c, "That is not an invite code.");
    }
    json_t *params = json_pack("{s:s}", "code", code);
    const char *line = args_value(&c->args, "--message");
    if (line != NULL) {
        (void)json_object_set_new(params, "message", json_string(line));
    }
    if (as != NULL) {
        (void)json_object_set_new(params, "as", json_string(as));
    }
    int rc = cli_connect(c);
    if (rc == 0 && c->tty_err) {
        cli_say(is_code(code) ? "Looking for whoever made this code …" : "Asking them …");
    }
    if (rc != 0) {
        json_decref(params);
        return rc;
    }
    rc = cli_call_for(c, "add", params, ADD_MS, &o);
    if (rc != 0) {
        return rc;
    }
    if (c->json) {
        cli_json(o);
    } else {
        char *name = cli_shown(cli_str(o, "name")), *word = cli_word(cli_str(o, "name"));
        const json_t *contact = json_object_get(o, "contact");
        (void)puts(name);
        if (cli_true(contact, "conflict") || cli_str(contact, "like")[0] != '\0') {
            (void)cli_flush();
            show_claims(contact);
        } else if (c->tty_err) {
            cli_say("%s is your contact now. Say hello:\n    linnet send %s hello\n"
                    "Make sure that it is really them:\n    linnet verify %s",
                    name, word, word);
        }
        free(name);
        free(word);
    }
    json_decref(o);
    return 0;
}
