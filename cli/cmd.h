/* The commands, and the table that names them. */
#ifndef LINNET_CLI_CMD_H
#define LINNET_CLI_CMD_H

#include "cli.h"

struct cmd {
    struct args_command parse; /* first: the parser hands it back */
    cli_run *run;              /* NULL: not there yet */
    const char *what;          /* one line for the list */
    const char *help;          /* what it does, and examples */
};

/* All commands, in the order of the help; NULL at the end of them. */
const struct cmd *cmd_at(size_t i);
const struct args_command *cmd_find(const char *name);
/* The command most like a mistyped one, or NULL. */
const char *cmd_like(const char *name);
/* The help of all, or of one command, on standard output. */
void cmd_help(const struct cmd *cmd);

cli_run cmd_welcome, cmd_daemon, cmd_stop, cmd_status, cmd_id, cmd_passphrase; /* node */
cli_run cmd_config;
cli_run cmd_invite, cmd_add;
cli_run cmd_visible, cmd_nearby, cmd_requests;
cli_run cmd_contacts, cmd_contact, cmd_verify;
cli_run cmd_presence, cmd_live;
/* The shape of a state: ● online, ◐ away, ⊘ busy, ○ offline. */
const char *presence_sign(const char *presence);
/* "away: at lunch", of an object with presence, status and automatic, safe on one line;
 * freed by the caller. */
char *presence_words(const json_t *o);
cli_run cmd_send, cmd_read;
cli_run cmd_edit, cmd_react, cmd_redact;
cli_run cmd_recv, cmd_history, cmd_search, cmd_export, cmd_events;

cli_run cmd_transfers, cmd_contact_files;
cli_run cmd_dht;

/* send and recv with files: cmd_send and cmd_recv hand over to them. */
cli_run cmd_send_files, cmd_recv_file;

/* --wait and --timeout of send. */
struct send_wait {
    size_t wanted; /* 0: none; SEND_WAIT_DELIVERED and more: until somebody has it */
    bool timed;    /* --timeout was given */
    uint64_t timeout_ms;
};
enum { SEND_WAIT_DELIVERED = 3 };
/* 0, or a usage error, told. */
int send_wait_parse(struct cli *c, struct send_wait *w);
/* Follows the states of a message (subscribed to `state` before) until the wanted one. 0
 * or an exit code, told. */
int send_wait_state(struct cli *c, json_t *m, const struct send_wait *w);

/* Standard input up to its end, without its last line feed. malloc'ed; NULL: told. */
char *cmd_read_text(size_t *len);
/* A path made absolute: its folder is looked up, what it names is not followed; freed by
 * the caller. NULL: told. */
char *cmd_absolute(const char *path);
/* Whether a text can be sent: 0, or CLI_USAGE and told. */
int cmd_check_text(const char *text, size_t len);

#endif
