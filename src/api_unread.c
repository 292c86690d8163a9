/* What libzmq holds for clients that have not read it yet. libzmq counts messages, not
 * bytes, so every answer and event tells when it is freed, on whichever thread that is.
 */
#include "api_unread.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

/* A message's bytes. The counter outlives them: of a client it is freed at 0 only. */
struct held {
    api_unread_count *count;
    size_t n;
    uint8_t bytes[];
};

struct api_unread_client {
    struct api_unread_client *next;
    api_unread_count count;
    size_t len;
    uint8_t route[];
};

static void let_go(void *data, void *hint)
{
    struct held *h = hint;
    (void)data;
    (void)atomic_fetch_sub(h->count, h->n);
    free(h);
}

bool api_unread_send(void *socket, const void *p, size_t n, api_unread_count *count)
{
    struct held *h = malloc(sizeof *h + n);
    zmq_msg_t m;
    if (h == NULL) {
        return false;
    }
    h->count = count;
    h->n = n;
    memcpy(h->bytes, p, n);
    if (zmq_msg_init_data(&m, h->bytes, n, let_go, h) != 0) {
        free(h);
        return false;
    }
    (void)atomic_fetch_add(count, n);
    if (zmq_msg_send(&m, socket, ZMQ_DONTWAIT) < 0) {
        (void)zmq_msg_close(&m);
        return false;
    }
    return true;
}

api_unread_count *api_unread_client(struct api_unread *u, const void *route, size_t len,
                                    size_t n)
{
    struct api_unread_client *c = NULL, **at = &u->clients;
    size_t all = 0;
    unsigned clients = 0;
    while (*at != NULL) {
        struct api_unread_client *i = *at;
        size_t unread = atomic_load(&i->count);
        all += unread;
        if (i->len == len && memcmp(i->route, route, len) == 0) {
            c = i;
        } else if (unread == 0) {
            *at = i->next;
            free(i);
            continue;
        }
        clients++;
        at = &i->next;
    }
    size_t here = c == NULL ? 0 : atomic_load(&c->count);
    bool much = here > 0 && (here + n > API_UNREAD_CLIENT || all + n > API_UNREAD_ALL);
    if (much || (c == NULL && clients >= API_UNREAD_CLIENTS)) {
        return NULL;
    }
    if (c == NULL) {
        c = malloc(sizeof *c + len);
        if (c == NULL) {
            return NULL;
        }
        atomic_init(&c->count, 0);
        c->len = len;
        memcpy(c->route, route, len);
        c->next = u->clients;
        u->clients = c;
    }
    return &c->count;
}

void api_unread_release(struct api_unread *u)
{
    while (u->clients != NULL) {
        struct api_unread_client *c = u->clients;
        u->clients = c->next;
        free(c);
    }
}
