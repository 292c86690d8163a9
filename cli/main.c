/* The program: finds the command and runs it. */
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "fmt.h"

/* ^C ends a command at once; what is under way at the node goes on. */
static void interrupted(int sig)
{
    (void)sig;
    _exit(CLI_INTERRUPTED);
}

static void look_around(struct cli *c)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    c->tty_in = isatty(STDIN_FILENO) == 1;
    c->tty_out = isatty(STDOUT_FILENO) == 1;
    c->tty_err = isatty(STDERR_FILENO) == 1;
    c->colour = c->tty_out && (no_color == NULL || no_color[0] == '\0') && term != NULL &&
                strcmp(term, "dumb") != 0;
    c->width = cli_width(STDOUT_FILENO);
    c->json = c->args.json;
}

/* All that the user typed has to be UTF-8: it goes into JSON. */
static int check_words(const struct cli *c)
{
    bool ok = true;
    for (size_t i = 0; i < c->args.n_words; i++) {
        ok = ok && fmt_utf8_ok(c->args.words[i], strlen(c->args.words[i]));
    }
    for (size_t i = 0; i < c->args.n_values; i++) {
        ok = ok && fmt_utf8_ok(c->args.values[i].value, strlen(c->args.values[i].value));
    }
    return ok ? 0
              : cli_fail(CLI_USAGE,
                         "That is not UTF-8 text. For other encodings: iconv -t "
                         "UTF-8.");
}

/* A command line that was not understood: says why, and what may have been meant. */
static int wrong(struct cli *c, int argc, char *argv[], const char *why)
{
    const char *like = NULL;
    for (int i = 1; c->args.command == NULL && like == NULL && i < argc; i++) {
        like = argv[i][0] != '-' && cmd_find(argv[i]) == NULL ? cmd_like(argv[i]) : NULL;
    }
    if (like != NULL) {
        return cli_misused(c, "%s Did you mean: linnet %s", why, like);
    }
    return cli_misused(c, "%s", why);
}

static int run(struct cli *c)
{
    const struct cmd *cmd = (const struct cmd *)(const void *)c->args.command;
    if (c->args.version) {
        (void)puts("linnet " LINNET_VERSION);
        return 0;
    }
    if (c->args.help) {
        cmd_help(cmd);
        return 0;
    }
    if (cmd == NULL) {
        return cmd_welcome(c);
    }
    if (cmd->run == NULL) {
        return cli_fail(CLI_ERROR, "`linnet %s` is not there yet.", cmd->parse.name);
    }
    int rc = check_words(c);
    if (rc == 0 && cmd->run != cmd_daemon) {
        (void)signal(SIGINT, interrupted);
    }
    return rc == 0 ? cmd->run(c) : rc;
}

int main(int argc, char *argv[])
{
    struct cli c = {.client = NULL};
    char why[ARGS_WHY_MAX];
    if (sodium_init() < 0) {
        return cli_fail(CLI_ERROR, "libsodium cannot be used on this machine.");
    }
    bool ok = args_parse(argc, argv, cmd_find, &c.args, why);
    look_around(&c);
    int rc = ok ? run(&c) : wrong(&c, argc, argv, why);
    client_close(c.client);
    int flushed = cli_flush();
    return rc != 0 ? rc : flushed;
}
