/* Files between the modules: what feeds and links tell of them, what is told and sent. */
#include <stdlib.h>
#include <string.h>

#include "node_priv.h"

int node_send_file(struct node *n, uint64_t tag, uint32_t contact, const char *path,
                   const char *name, uint64_t now_ms)
{
    (void)n, (void)tag, (void)contact, (void)path, (void)name, (void)now_ms;
    return ERR_STATE;
}

int node_file_spooled(struct node *n, uint32_t id, uint64_t size, bool end,
                      uint64_t now_ms)
{
    (void)n, (void)id, (void)size, (void)end, (void)now_ms;
    return ERR_STATE;
}

int node_file(struct node *n, uint64_t tag, enum node_file_verb verb, uint32_t id,
              const char *dest, bool pipe, uint64_t now_ms)
{
    (void)n, (void)tag, (void)verb, (void)id, (void)dest, (void)pipe, (void)now_ms;
    return ERR_STATE;
}

int node_file_rule(struct node *n, uint64_t tag, const struct rec_file_rule *r,
                   uint64_t now_ms)
{
    (void)n, (void)tag, (void)r, (void)now_ms;
    return ERR_STATE;
}

void node_file_policy(struct node *n, const struct xfer_policy *p, uint64_t now_ms)
{
    (void)n, (void)p, (void)now_ms;
}

void node_file_limit(struct node *n, uint64_t rate, uint64_t now_ms)
{
    (void)n, (void)rate, (void)now_ms;
}

const struct xfer *node_xfer(const struct node *n)
{
    (void)n;
    return NULL;
}

const char *node_route(const struct node *n, uint32_t contact, struct addr *addr)
{
    (void)n, (void)contact, (void)addr;
    return NULL;
}

void node_job_done(struct node *n, const struct xfer_result *r, uint64_t now_ms)
{
    (void)n, (void)r, (void)now_ms;
}
