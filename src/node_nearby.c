/* People nearby: being visible, and what the list of them is for. */
#include <stdlib.h>
#include <string.h>

#include "node_priv.h"

static const char meta_visible[] = "visible"; /* 1: until it is turned off */

void nearby_follow(struct node *n)
{
    uint8_t hash[32];

    node_cert_hash(n, hash);
    nearby_set_self(n->nearby, hash, n->name, n->link_port);
}

void nearby_start(struct node *n, uint64_t now_ms)
{
    const struct blob *b = node_meta(n, meta_visible);

    if (b != NULL && b->n == 1 && b->p[0] == 1 && !node_hidden(n)) {
        nearby_show(n->nearby, UINT64_MAX, now_ms);
    }
}

static bool may_answer(const struct node *n, const struct addr *from)
{
    return addr_is_private(from) || lan_is_neighbour(n->lan, from);
}

void nearby_datagram(struct node *n, const struct addr *from, const uint8_t *p,
                     size_t len, uint64_t now_ms)
{
    (void)nearby_recv(n->nearby, from, may_answer(n, from), p, len, now_ms);
}

static void on_nearby_event(struct node *n, const struct nearby_event *ev)
{
    struct node_event out = {.kind = NODE_EV_NEARBY, .person = ev->person};

    switch (ev->type) {
    case NEARBY_CAME:
    case NEARBY_LEFT:
        out.online = ev->type == NEARBY_CAME;
        node_emit(n, &out);
        break;
    case NEARBY_MANY:
        out.person.number = 0;
        node_emit(n, &out);
        break;
    case NEARBY_HIDDEN:
        out.kind = NODE_EV_VISIBLE;
        node_emit(n, &out);
        break;
    case NEARBY_NONCES:
        break;
    }
}

bool nearby_route(struct node *n, uint64_t now_ms)
{
    struct nearby_event ev;
    struct nearby_out out;
    bool any = false;

    while (nearby_next_out(n->nearby, &out)) {
        if (out.all) {
            lan_open(n->lan, out.bytes, now_ms);
        } else {
            lan_open_to(n->lan, out.bytes, &out.dest);
        }
    }
    if (nearby_until(n->nearby) == 0) {
        lan_open(n->lan, NULL, now_ms);
    }
    while (nearby_next_event(n->nearby, &ev)) {
        on_nearby_event(n, &ev);
        any = true;
    }
    return any;
}

/* ---- requests ---- */

int node_visible(struct node *n, uint64_t tag, bool on, bool stay, uint64_t now_ms)
{
    struct node_event ev = {0};
    const struct blob *b = node_meta(n, meta_visible);
    uint8_t keep = on && stay ? 1 : 0;
    int err = on && node_hidden(n) ? ERR_STATE : 0;

    if (err == 0 && keep != (b != NULL && b->n == 1 ? b->p[0] : 0)) {
        err = node_meta_put(n, meta_visible, &keep, 1);
    }
    if (err == 0 && on) {
        nearby_show(n->nearby, stay ? UINT64_MAX : now_ms + NEARBY_VISIBLE_MS, now_ms);
    } else if (err == 0) {
        nearby_hide(n->nearby, now_ms);
    }
    return node_done(n, err, &ev, tag, now_ms);
}

uint64_t node_visible_left(const struct node *n, uint64_t now_ms)
{
    uint64_t until = nearby_until(n->nearby);

    if (until == UINT64_MAX) {
        return until;
    }
    return until > now_ms ? until - now_ms : 0;
}

void node_cert_hash(const struct node *n, uint8_t hash[32])
{
    cert_hash(n->self.cert, n->self.cert_len, hash);
}

const struct nearby *node_nearby(const struct node *n)
{
    return n->nearby;
}

const struct rec_contact *node_nearby_contact(const struct node *n,
                                              const struct nearby_person *p)
{
    return contacts_by_cert(n->contacts, p->cert);
}

const struct rec_contact *node_nearby_like(const struct node *n,
                                           const struct nearby_person *p)
{
    const struct rec_contact *c = contacts_by_cert(n->contacts, p->cert);

    return c != NULL ? NULL : contacts_like(n->contacts, p->name, 0);
}
