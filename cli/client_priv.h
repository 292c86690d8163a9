/* Between client.c and client_start.c. */
#ifndef LINNET_CLI_CLIENT_PRIV_H
#define LINNET_CLI_CLIENT_PRIV_H

#include "client.h"
#include "home.h"

/* Starts a node in h and waits until it answers. 0 or an exit code, with *fail. */
int client_start(struct home *h, const struct client_options *o,
                 struct client_fail *fail);

#endif
