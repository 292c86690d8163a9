/* The node in the foreground: its options, handed to daemon. */
#include <string.h>

#include "cmd.h"
#include "daemon.h"
#include "fmt.h"

enum { FD_MAX = 1 << 20 };

static int take_peers(const struct cli *c, struct daemon_opts *o)
{
    for (size_t i = 0; i < c->args.n_values; i++) {
        if (strcmp(c->args.values[i].option->name, "--peer") != 0) {
            continue;
        }
        if (o->n_peers == DAEMON_PEERS_MAX) {
            return cli_misused(c, "There are more than %d peers.", DAEMON_PEERS_MAX);
        }
        o->peers[o->n_peers++] = c->args.values[i].value;
    }
    return 0;
}

static int take_bootstrap(const struct cli *c, struct daemon_opts *o)
{
    for (size_t i = 0; i < c->args.n_values; i++) {
        if (strcmp(c->args.values[i].option->name, "--bootstrap") != 0) {
            continue;
        }
        if (o->n_bootstrap == DAEMON_BOOTSTRAP_MAX) {
            return cli_misused(c, "There are more than %d bootstrap nodes.",
                               DAEMON_BOOTSTRAP_MAX);
        }
        o->bootstrap[o->n_bootstrap++] = c->args.values[i].value;
    }
    return 0;
}

int cmd_daemon(struct cli *c)
{
    struct daemon_opts o;
    const char *pass = args_value(&c->args, "--passphrase-fd");
    const char *secret = args_value(&c->args, "--network-secret-fd");
    uint64_t fd;
    daemon_opts_init(&o);
    o.home = c->args.home;
    o.scope = args_value(&c->args, "--scope");
    o.port = args_value(&c->args, "--port");
    o.name = args_value(&c->args, "--name");
    o.network = args_value(&c->args, "--network");
    int rc = take_peers(c, &o);
    rc = rc != 0 ? rc : take_bootstrap(c, &o);
    if (rc != 0) {
        return rc;
    }
    if (secret != NULL) {
        if (!fmt_number(secret, FD_MAX, &fd)) {
            return cli_misused(
                c, "--network-secret-fd wants the number of an open descriptor.");
        }
        o.network_secret_fd = (int)fd;
    }
    if (pass != NULL) {
        if (!fmt_number(pass, FD_MAX, &fd)) {
            return cli_misused(c,
                               "--passphrase-fd wants the number of an open descriptor.");
        }
        o.passphrase_fd = (int)fd;
    }
    return daemon_main(&o);
}
