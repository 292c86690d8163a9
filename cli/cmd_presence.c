/* How you are: away, busy, online, invisible; live typing. */
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "fmt.h"

const char *presence_sign(const char *presence)
{
    return strcmp(presence, "online") == 0 ? "●"
           : strcmp(presence, "away") == 0 ? "◐"
           : strcmp(presence, "busy") == 0 ? "⊘"
                                           : "○";
}

char *presence_words(const json_t *o)
{
    char *status = cli_shown(cli_str(o, "status")), *out = NULL;
    const char *word = cli_str(o, "presence");
    int n =
        asprintf(&out, "%s%s%s%s", word, cli_true(o, "automatic") ? " (by itself)" : "",
                 status[0] != '\0' ? ": " : "", status);
    free(status);
    if (n < 0) {
        exit(cli_fail(CLI_ERROR, "Memory is exhausted."));
    }
    return out;
}

static void say(const json_t *o)
{
    char *words = presence_words(o);
    if (strcmp(cli_str(o, "presence"), "invisible") == 0) {
        cli_say("You are invisible: contacts see you as offline. Messages come and go as "
                "always, and who writes to you can tell by that. End it: linnet online");
    } else {
        cli_say("You are %s", words);
    }
    free(words);
}

/* The words of the command line, joined by blanks; none: NULL. */
static char *joined(const struct cli *c)
{
    size_t len = 1;
    for (size_t i = 0; i < c->args.n_words; i++) {
        len += strlen(c->args.words[i]) + 1;
    }
    char *out = calloc(1, len), *at = out;
    if (out == NULL) {
        exit(cli_fail(CLI_ERROR, "Memory is exhausted."));
    }
    for (size_t i = 0; i < c->args.n_words; i++) {
        at = stpcpy(at, c->args.words[i]);
        *at++ = ' ';
    }
    size_t skip = strspn(out, " \t\n");
    memmove(out, out + skip, len - skip);
    for (len = strlen(out); len > 0 && strchr(" \t\n", out[len - 1]) != NULL;) {
        out[--len] = '\0';
    }
    return out;
}

/* The commands are called as the methods are. */
int cmd_presence(struct cli *c)
{
    json_t *o;
    char *status = joined(c);
    json_t *params = json_pack("{s:s}", "status", status);
    free(status);
    if (params == NULL) {
        return cli_fail(CLI_USAGE, "That status text is not UTF-8.");
    }
    int rc = cli_call(c, c->args.command->name, params, &o);
    if (rc != 0) {
        return rc;
    }
    if (c->json) {
        cli_json(o);
    } else {
        say(o);
    }
    json_decref(o);
    return 0;
}

int cmd_live(struct cli *c)
{
    json_t *o;
    bool on = strcmp(c->args.words[1], "on") == 0;
    if (!on && strcmp(c->args.words[1], "off") != 0) {
        return cli_misused(c, "Say on or off.");
    }
    int rc = cli_call(c, "live",
                      json_pack("{s:s,s:b}", "name", c->args.words[0], "on", on), &o);
    if (rc != 0) {
        return rc;
    }
    char *name = cli_shown(cli_str(o, "name"));
    const json_t *live = json_object_get(o, "live");
    if (c->json) {
        cli_json(o);
    } else if (!on) {
        cli_say("Live typing with %s is off.", name);
    } else if (cli_true(live, "theirs")) {
        cli_say("Live typing with %s is on: each sees what the other writes while it is "
                "being written.",
                name);
    } else {
        cli_say("Live typing with %s is on here. Nothing is shown before they turn it on "
                "too.",
                name);
    }
    free(name);
    json_decref(o);
    return 0;
}
