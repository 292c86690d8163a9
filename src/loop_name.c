/* Names: each is looked up on a thread of its own, which nobody waits for at the end. A
 * name service that does not answer holds a thread for half a minute, and would hold up
 * the stop of the node when it were one of the loop's workers. */
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "loop_priv.h"

enum { HOST_MAX = 255, LOOKUPS_MAX = 64 };

struct lookup {
    struct lookup *next;
    struct names *names;
    uint64_t what;
    size_t n;
    uint16_t port;
    char host[HOST_MAX + 1];
    struct addr v[LOOP_RESOLVE_MAX];
};

/* Shared by the loop and the threads; the last one frees it. */
struct names {
    pthread_mutex_t lock;
    size_t threads;      /* that run */
    struct loop *loop;   /* NULL: it is gone */
    uv_async_t *wake;    /* the loop's */
    struct lookup *done; /* to be told */
};

static void names_free(struct names *s)
{
    for (struct lookup *k = s->done, *next; k != NULL; k = next) {
        next = k->next;
        free(k);
    }
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

static void *look_up(void *arg)
{
    struct lookup *k = arg;
    struct names *s = k->names;
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    if (getaddrinfo(k->host, NULL, &hints, &list) == 0) {
        for (const struct addrinfo *i = list; i != NULL && k->n < LOOP_RESOLVE_MAX;
             i = i->ai_next) {
            if (addr_from_sockaddr(i->ai_addr, &k->v[k->n]) == 0) {
                k->v[k->n++].port = k->port;
            }
        }
        freeaddrinfo(list);
    }
    (void)pthread_mutex_lock(&s->lock);
    s->threads--;
    k->next = s->done;
    s->done = k;
    if (s->loop != NULL) {
        (void)uv_async_send(s->wake);
    }
    bool last = s->loop == NULL && s->threads == 0;
    (void)pthread_mutex_unlock(&s->lock);
    if (last) {
        names_free(s);
    }
    return NULL;
}

static void on_done(uv_async_t *wake)
{
    struct loop *l = wake->data;
    struct names *s = l->names;
    (void)pthread_mutex_lock(&s->lock);
    struct lookup *all = s->done;
    s->done = NULL;
    (void)pthread_mutex_unlock(&s->lock);
    for (struct lookup *k = all, *next; k != NULL; k = next) {
        next = k->next;
        for (size_t i = 0; i < k->n; i++) {
            (void)scope_add_peer(&l->scope, &k->v[i]);
        }
        if (l->h != NULL && !l->stopping) {
            l->h->resolved(l->h->ctx, k->what, k->v, k->n, env_mono_ms());
        }
        free(k);
    }
}

static void free_handle(uv_handle_t *h)
{
    free(h);
}

static struct names *names_new(struct loop *l)
{
    struct names *s = calloc(1, sizeof *s);
    uv_async_t *wake = calloc(1, sizeof *wake);
    if (s == NULL || wake == NULL || pthread_mutex_init(&s->lock, NULL) != 0) {
        free(s);
        free(wake);
        return NULL;
    }
    if (uv_async_init(&l->uv, wake, on_done) != 0) {
        free(wake);
        names_free(s);
        return NULL;
    }
    wake->data = l;
    s->wake = wake;
    s->loop = l;
    return s;
}

void loop_name_free(struct loop *l)
{
    struct names *s = l->names;
    if (s == NULL) {
        return;
    }
    l->names = NULL;
    uv_close((uv_handle_t *)s->wake, free_handle);
    (void)pthread_mutex_lock(&s->lock);
    s->loop = NULL;
    bool last = s->threads == 0;
    (void)pthread_mutex_unlock(&s->lock);
    if (last) {
        names_free(s);
    }
}

static int start(struct names *s, struct lookup *k)
{
    pthread_attr_t attr;
    pthread_t thread;
    int rc = pthread_attr_init(&attr);
    if (rc != 0) {
        return ERR_NOMEM;
    }
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    (void)pthread_mutex_lock(&s->lock);
    rc = s->threads < LOOKUPS_MAX ? pthread_create(&thread, &attr, look_up, k) : EAGAIN;
    s->threads += rc == 0 ? 1 : 0;
    (void)pthread_mutex_unlock(&s->lock);
    (void)pthread_attr_destroy(&attr);
    return rc == 0 ? 0 : ERR_LIMIT;
}

int loop_resolve(struct loop *l, uint64_t what, const char *host, uint16_t port)
{
    if (l->scope.mode == SCOPE_LAN) {
        return ERR_REFUSED;
    }
    if (l->names == NULL) {
        l->names = names_new(l);
    }
    struct lookup *k = l->names != NULL ? calloc(1, sizeof *k) : NULL;
    if (k == NULL) {
        return ERR_NOMEM;
    }
    k->names = l->names;
    k->what = what;
    k->port = port;
    (void)snprintf(k->host, sizeof k->host, "%s", host);
    int rc = start(l->names, k);
    if (rc != 0) {
        free(k);
    }
    return rc;
}
