/* Datagrams: many in one call, in and out, and from the right address of ours. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "loop_priv.h"
#include "netif.h"

static_assert((int)LOOP_DATAGRAMS == (int)SOCK_BATCH, "a turn reads one batch");
static_assert((int)SOCK_BATCH * SOCK_UDP_MAX <= (int)LOOP_READ_SIZE, "room for a batch");

/* ---- whom we answer from where ---- */

/* A host has several addresses; who asked one of them takes answers from that one only.
 */
static struct asker *asker(struct loop *l, const struct addr *from)
{
    uint32_t h = from->port * UINT32_C(0x9e3779b1);
    for (size_t i = 0; i < sizeof from->ip; i++) {
        h = (h ^ from->ip[i]) * UINT32_C(0x01000193);
    }
    return &l->askers[(h ^ h >> 16) % LOOP_ASKERS];
}

static void note(struct loop *l, const struct sock_in *in)
{
    if (in->at.family == in->from.family && !addr_is_multicast(&in->at)) {
        *asker(l, &in->from) = (struct asker){.from = in->from, .at = in->at};
    }
}

/* ---- in ---- */

void loop_udp_readable(uv_poll_t *p, int status, int events)
{
    struct watch *w = p->data;
    struct loop *l = w->loop;
    struct sock_in v[SOCK_BATCH];
    uint64_t now_ms = env_mono_ms();
    bool group = w == &l->multicast[0] || w == &l->multicast[1];
    (void)status;
    (void)events;
    /* An error is that of a datagram of ours; the next turn reads on. */
    int n = sock_recv_many(w->fd, l->read_buf, v);
    for (int i = 0; i < n; i++) {
        const struct addr *from = &v[i].from;
        if (from->family == 0 || !scope_may_answer(&l->scope, from) ||
            (l->config != NULL && !netif_counts(l->config, v[i].ifindex))) {
            continue;
        }
        scope_heard(&l->scope, from);
        if (!group) {
            note(l, &v[i]);
        }
        l->h->datagram(l->h->ctx, group, from, v[i].p, v[i].len, now_ms);
    }
}

/* ---- out ---- */

static void failed(struct loop *l, const struct sock_out *o, int rc)
{
    char s[ADDR_STR_MAX];
    struct asker *a = asker(l, &o->dst);
    if (addr_eq(&a->from, &o->dst)) {
        memset(a, 0, sizeof *a); /* perhaps that address is ours no more */
    }
    log_debug("datagram to %s: %s", addr_str(&o->dst, s), strerror(-rc));
}

static void flush(struct loop *l, size_t family)
{
    struct batch *b = l->batch[family];
    int rc[SOCK_BATCH];
    if (b == NULL || b->n == 0) {
        return;
    }
    sock_send_many(l->udp[family].fd, b->v, b->n, rc);
    for (size_t i = 0; i < b->n; i++) {
        if (rc[i] != 0) {
            failed(l, &b->v[i], rc[i]);
        }
    }
    b->n = 0;
}

void loop_udp_flush(struct loop *l)
{
    for (size_t i = 0; i < LOOP_FAMILIES; i++) {
        flush(l, i);
    }
}

void loop_udp_free(struct loop *l)
{
    for (size_t i = 0; i < LOOP_FAMILIES; i++) {
        free(l->batch[i]);
    }
}

void loop_send_datagram(struct loop *l, const struct addr *source, uint32_t ifindex,
                        const struct addr *dst, const uint8_t *p, size_t len)
{
    size_t family = dst->family == 6;
    if (l->udp[family].fd < 0 || !scope_may_send(&l->scope, dst) ||
        len > LOOP_DATAGRAM_MAX) {
        return;
    }
    if (l->batch[family] == NULL) {
        l->batch[family] = malloc(sizeof *l->batch[family]);
        if (l->batch[family] == NULL) {
            return; /* as the network would */
        }
        l->batch[family]->n = 0;
    }
    struct batch *b = l->batch[family];
    struct sock_out *o = &b->v[b->n];
    const struct asker *a = asker(l, dst);
    *o =
        (struct sock_out){.source = *source, .dst = *dst, .ifindex = ifindex, .len = len};
    if (source->family == 0 && addr_eq(&a->from, dst)) {
        o->source = a->at;
    }
    o->p = memcpy(b->bytes[b->n], p, len);
    b->n++;
    if (b->n == SOCK_BATCH) {
        flush(l, family);
    }
}
