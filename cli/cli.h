/* What every command gets: the parsed command line, where output goes, and the node.
 *
 * Data goes to standard output, all else to standard error. With --json the data is JSON
 * Lines whose objects carry "v":1. Exit codes are those of linnet(1). */
#ifndef LINNET_CLI_CLI_H
#define LINNET_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "args.h"
#include "client.h"

enum cli_exit {
    CLI_OK = 0,
    CLI_ERROR = 1,
    CLI_USAGE = 2,
    CLI_NO_NODE = 3,
    CLI_NAME = 4,     /* unknown or ambiguous */
    CLI_IDENTITY = 5, /* changed or unverified */
    CLI_ABSENT = 6,   /* nobody there */
    CLI_REFUSED = 7,
    CLI_PARTIAL = 8,
    CLI_INTEGRITY = 9,
    CLI_TIMEOUT = 10, /* though the peer is linked */
    CLI_INTERRUPTED = 130,
};

enum {
    CLI_TEXT_MAX = 32 * 1024, /* bytes of a message */
    CLI_PAGE = 256,           /* rows asked for at once */
    CLI_ID_SHOWN = 8,         /* hex digits of an id on a terminal */
};

struct cli {
    struct args args;
    bool json, tty_in, tty_out, tty_err;
    bool colour;  /* on standard output */
    size_t width; /* columns of the terminal */
    struct client *client;
    const char *passphrase; /* read already, or NULL; borrowed */
};

/* A command. Returns an exit code; the caller frees what cli holds. */
typedef int cli_run(struct cli *c);

/* Connects to the node, and starts it where that is wanted. 0 or an exit code, told. */
int cli_connect(struct cli *c);
/* One request; connects first when need be. params is taken. 0 and *result (the
 * caller's), or the error's exit code, told on standard error. */
int cli_call(struct cli *c, const char *method, json_t *params, json_t **result);
/* The same with another time-out. */
int cli_call_for(struct cli *c, const char *method, json_t *params, uint64_t timeout_ms,
                 json_t **result);

/* Columns of the terminal behind a descriptor. */
size_t cli_width(int fd);
/* A sentence on standard error. */
__attribute__((format(printf, 1, 2))) void cli_say(const char *fmt, ...);
/* The same with "linnet: " before it; returns code. */
__attribute__((format(printf, 2, 3))) int cli_fail(int code, const char *fmt, ...);
/* A usage error: the sentence and the command's usage. Returns CLI_USAGE. */
__attribute__((format(printf, 2, 3))) int cli_misused(const struct cli *c,
                                                      const char *fmt, ...);
/* One line of JSON on standard output; "v":1 is added when missing. */
void cli_json(json_t *object);
/* Flushes standard output. 0, or CLI_ERROR when something could not be written. */
int cli_flush(void);
/* Asks on the terminal, "[y/N]". */
bool cli_ask(const char *question);
/* Reads a line without echo from the terminal. Ends the program with 130 on ^C. False at
 * the end of input, or when it does not fit. */
bool cli_secret(const char *prompt, char *out, size_t size);
/* Reads one line from a file descriptor, without its line feed; for secrets. */
bool cli_read_line(int fd, char *out, size_t size);

/* SGR sequences, or "" when colours are not wanted. */
const char *cli_dim(const struct cli *c);
const char *cli_bold(const struct cli *c);
const char *cli_plain(const struct cli *c);

/* Members of objects from the API; "" or 0 or false when missing or of another type. */
const char *cli_str(const json_t *o, const char *key);
uint64_t cli_int(const json_t *o, const char *key);
bool cli_true(const json_t *o, const char *key);

/* A name or other text of somebody else, safe on one line; freed by the caller. Never
 * NULL: without memory the program ends. */
char *cli_shown(const char *s);
/* The same as a word of a command that is shown to be copied: in quotes where the shell
 * needs them. */
char *cli_word(const char *s);
uint64_t cli_now_ms(void);

#endif
