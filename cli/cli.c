#include "cli.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/env.h"
#include "fmt.h"

enum {
    CTRL_C = 3,
    CTRL_D = 4,
    BACKSPACE = 8,
    CTRL_U = 21,
    DELETE = 127,
    SAY_MAX = 2048,
    COLUMNS_DEFAULT = 80,
    COLUMNS_MIN = 20,
    COLUMNS_MAX = 500,
};

size_t cli_width(int fd)
{
    struct winsize w;
    const char *columns = getenv("COLUMNS");
    uint64_t n = COLUMNS_DEFAULT;
    if (ioctl(fd, TIOCGWINSZ, &w) == 0 && w.ws_col > 0) {
        n = w.ws_col;
    } else if (columns != NULL) {
        (void)fmt_number(columns, COLUMNS_MAX, &n);
    }
    return n < COLUMNS_MIN ? COLUMNS_MIN : n > COLUMNS_MAX ? COLUMNS_MAX : (size_t)n;
}

/* On a terminal sentences are broken between words; what is indented is a command to be
 * copied and stays whole. */
static void say(const char *before, const char *fmt, va_list ap)
{
    char text[SAY_MAX], *rest = text, *line;
    int n = snprintf(text, sizeof text, "%s", before);
    (void)vsnprintf(text + n, sizeof text - (size_t)n, fmt, ap);
    (void)fflush(stdout);
    bool wrap = isatty(STDERR_FILENO) == 1;
    size_t width = cli_width(STDERR_FILENO);
    while ((line = strsep(&rest, "\n")) != NULL) {
        if (wrap && line[0] != ' ') {
            (void)fmt_wrap(stderr, line, 0, width);
            (void)fputc('\n', stderr);
        } else {
            (void)fprintf(stderr, "%s\n", line);
        }
    }
}

void cli_say(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say("", fmt, ap);
    va_end(ap);
}

int cli_fail(int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say("linnet: ", fmt, ap);
    va_end(ap);
    return code;
}

int cli_misused(const struct cli *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say("linnet: ", fmt, ap);
    va_end(ap);
    const struct args_command *cmd = c->args.command;
    if (cmd != NULL) {
        cli_say("Usage: linnet %s %s\nMore: linnet %s --help", cmd->name, cmd->usage,
                cmd->name);
    } else {
        cli_say("All commands: linnet --help");
    }
    return CLI_USAGE;
}

/* Asks for the passphrase of the key when a node is to be started. */
static bool ask_passphrase(void *ctx, char *out, size_t size)
{
    struct cli *c = ctx;
    if (c->passphrase != NULL) {
        return snprintf(out, size, "%s", c->passphrase) < (int)size;
    }
    return c->tty_in && cli_secret("Passphrase of the key: ", out, size);
}

int cli_connect(struct cli *c)
{
    struct client_fail fail;
    struct client_options o = {.home = c->args.home,
                               .start = !c->args.no_start,
                               .passphrase = ask_passphrase,
                               .ctx = c};
    if (c->client != NULL) {
        return 0;
    }
    int rc = client_open(&o, &c->client, &fail);
    return rc == 0 ? 0 : cli_fail(rc, "%s", fail.message);
}

int cli_call_for(struct cli *c, const char *method, json_t *params, uint64_t timeout_ms,
                 json_t **result)
{
    struct client_fail fail;
    int rc = cli_connect(c);
    if (rc != 0) {
        json_decref(params);
        return rc;
    }
    rc = client_call(c->client, method, params, timeout_ms, result, &fail);
    return rc == 0 ? 0 : cli_fail(rc, "%s", fail.message);
}

int cli_call(struct cli *c, const char *method, json_t *params, json_t **result)
{
    return cli_call_for(c, method, params, CLIENT_ANSWER_MS, result);
}

void cli_json(json_t *object)
{
    if (json_object_get(object, "v") == NULL) {
        json_t *with = json_pack("{s:i}", "v", 1);
        (void)json_object_update(with, object);
        (void)json_dumpf(with, stdout, JSON_COMPACT);
        json_decref(with);
    } else {
        (void)json_dumpf(object, stdout, JSON_COMPACT);
    }
    (void)fputc('\n', stdout);
}

int cli_flush(void)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        return cli_fail(CLI_ERROR, "What was asked for could not be written out.");
    }
    return 0;
}

bool cli_ask(const char *question)
{
    char line[16] = "";
    (void)fflush(stdout);
    (void)fprintf(stderr, "%s [y/N] ", question);
    (void)fflush(stderr);
    return cli_read_line(STDIN_FILENO, line, sizeof line) &&
           (line[0] == 'y' || line[0] == 'Y') && line[1] == '\0';
}

bool cli_read_line(int fd, char *out, size_t size)
{
    size_t n = 0;
    char ch;
    ssize_t r;
    while ((r = read(fd, &ch, 1)) == 1 && ch != '\n' && n + 1 < size) {
        out[n++] = ch;
    }
    out[n] = '\0';
    return r >= 0 && (r == 1 || n > 0) && (r == 0 || ch == '\n');
}

bool cli_secret(const char *prompt, char *out, size_t size)
{
    struct termios old, quiet;
    size_t n = 0;
    unsigned char ch = 0;
    if (tcgetattr(STDIN_FILENO, &old) != 0) {
        return false;
    }
    quiet = old;
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ICANON | ISIG);
    quiet.c_cc[VMIN] = 1;
    quiet.c_cc[VTIME] = 0;
    /* Before the prompt: what is typed after it is neither shown nor thrown away. */
    if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) != 0) {
        return false;
    }
    (void)fflush(stdout);
    (void)fputs(prompt, stderr);
    (void)fflush(stderr);
    bool fits = true, more = true;
    while (more) {
        more = read(STDIN_FILENO, &ch, 1) == 1 && ch != '\n' && ch != '\r' &&
               ch != CTRL_C && !(ch == CTRL_D && n == 0);
        if (!more) {
            break;
        }
        if (ch == CTRL_U) {
            n = 0;
        } else if (ch == BACKSPACE || ch == DELETE) {
            while (n > 0 && ((unsigned char)out[--n] & 0xc0) == 0x80) {
            }
        } else if (ch >= ' ' && n + 1 < size) {
            out[n++] = (char)ch;
        } else {
            fits = fits && ch < ' ';
        }
    }
    out[n] = '\0';
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
    (void)fputc('\n', stderr);
    if (ch == CTRL_C) {
        _exit(CLI_INTERRUPTED);
    }
    return fits && (ch == '\n' || ch == '\r');
}

const char *cli_dim(const struct cli *c)
{
    return c->colour ? "\033[2m" : "";
}

const char *cli_bold(const struct cli *c)
{
    return c->colour ? "\033[1m" : "";
}

const char *cli_plain(const struct cli *c)
{
    return c->colour ? "\033[0m" : "";
}

const char *cli_str(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s != NULL ? s : "";
}

uint64_t cli_int(const json_t *o, const char *key)
{
    json_int_t v = json_integer_value(json_object_get(o, key));
    return v > 0 ? (uint64_t)v : 0;
}

bool cli_true(const json_t *o, const char *key)
{
    return json_is_true(json_object_get(o, key));
}

char *cli_shown(const char *s)
{
    char *shown = fmt_escape(s, strlen(s), FMT_NAME);
    if (shown == NULL) {
        _exit(cli_fail(CLI_ERROR, "Memory is exhausted."));
    }
    return shown;
}

static bool plain(unsigned char c)
{
    return isalnum(c) || c >= 0x80 || strchr("._+-@", c) != NULL;
}

char *cli_word(const char *s)
{
    char *shown = cli_shown(s);
    size_t n = 0, quotes = 0;
    bool bare = shown[0] != '\0' && shown[0] != '-';
    for (; shown[n] != '\0'; n++) {
        bare = bare && plain((unsigned char)shown[n]);
        quotes += shown[n] == '\'' ? 1 : 0;
    }
    if (bare) {
        return shown;
    }
    char *out = malloc(n + 3 * quotes + sizeof "''"), *at = out;
    if (out == NULL) {
        _exit(cli_fail(CLI_ERROR, "Memory is exhausted."));
    }
    *at++ = '\'';
    for (size_t i = 0; i < n; i++) {
        const char *piece = shown[i] == '\'' ? "'\\''" : (char[]){shown[i], '\0'};
        at = stpcpy(at, piece);
    }
    *at++ = '\'';
    *at = '\0';
    free(shown);
    return out;
}

uint64_t cli_now_ms(void)
{
    return env_wall_ms(env_system());
}
