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

/* ---- whose first record we answer ---- */

/* One candidate for each nonce that counts: none while we are hidden. */
static void strangers_follow(struct node *n)
{
    const struct nearby_nonce *v;
    size_t pos = 0;
    uint8_t hash[32];

    for (size_t i = n->ring.n; i-- > 0;) {
        bool counts = false;

        for (pos = 0; (v = nearby_nonce_next(n->nearby, &pos)) != NULL;) {
            counts = counts || v->ref == n->ring.v[i].ref;
        }
        if (n->ring.v[i].kind == LINK_STRANGER && !counts) {
            keyring_del(&n->ring, LINK_STRANGER, n->ring.v[i].ref);
        }
    }
    node_cert_hash(n, hash);
    for (pos = 0; (v = nearby_nonce_next(n->nearby, &pos)) != NULL;) {
        struct link_candidate as = {.kind = LINK_STRANGER, .ref = v->ref};

        keys_link_stranger(v->nonce, hash, &as.keys);
        (void)keyring_put(&n->ring, &as);
    }
}

void strangers_before(struct node *n, struct conn *c, uint64_t now_ms)
{
    if (!c->dialled && link_is_half_open(c->link)) {
        link_skip_strangers(c->link, !nearby_may_shake(n->nearby, &c->addr, now_ms));
    }
}

void strangers_after(struct node *n, struct conn *c, uint64_t now_ms)
{
    if (!c->dialled && !c->shook && link_kind(c->link) == LINK_STRANGER) {
        c->shook = true;
        nearby_shook(n->nearby, &c->addr, now_ms);
    }
}

/* ---- whom we ask ---- */

struct asking *asking_get(const struct node *n, uint32_t slot)
{
    struct asking *a = n->askings;

    while (a != NULL && a->slot != slot) {
        a = a->next;
    }
    return a;
}

static void asking_due(struct asking *a, uint64_t now_ms)
{
    if (a->conn == 0) {
        a->next_ms = now_ms;
    }
}

/* Somebody has come: perhaps the one who is to be asked. */
static void asking_heard(struct node *n, const struct nearby_person *p, uint64_t now_ms)
{
    for (struct asking *a = n->askings; a != NULL; a = a->next) {
        if (memcmp(a->cert, p->cert, sizeof(a->cert)) == 0) {
            asking_due(a, now_ms);
        }
    }
}

/* The entry of that certificate behind the one that was tried last, in a circle. */
static const struct nearby_person *asking_next(const struct node *n,
                                               const struct asking *a)
{
    const struct nearby_person *p, *first = NULL;
    size_t pos = 0;

    while ((p = nearby_next_all(n->nearby, &pos)) != NULL) {
        if (memcmp(p->cert, a->cert, sizeof(a->cert)) != 0) {
            continue;
        }
        first = first == NULL ? p : first;
        if (p->number > a->tried) {
            return p;
        }
    }
    return first;
}

bool asking_nonce(const struct node *n, const struct asking *a, const struct addr *at,
                  uint8_t nonce[16])
{
    const struct nearby_person *p;
    size_t pos = 0;

    while ((p = nearby_next_all(n->nearby, &pos)) != NULL) {
        if (memcmp(p->cert, a->cert, sizeof(a->cert)) == 0 &&
            addr_eq_ip(&p->source, at) && p->port == at->port) {
            memcpy(nonce, p->nonce, 16);
            return true;
        }
    }
    return false;
}

static void asking_dial(struct node *n, struct asking *a, uint64_t now_ms)
{
    const struct nearby_person *p = asking_next(n, a);

    a->next_ms = DEADLINE_NONE;
    if (p != NULL) {
        struct addr to = p->source;

        to.port = p->port;
        a->tried = p->number;
        a->conn = conn_dial_stranger(n, a->slot, &to, now_ms);
        if (a->conn == 0) {
            a->next_ms = now_ms + NODE_ADD_RETRY_MS;
        }
    }
}

void asking_conn_over(struct node *n, uint32_t conn, uint64_t now_ms)
{
    for (struct asking *a = n->askings; a != NULL; a = a->next) {
        if (a->conn == conn) {
            a->conn = 0;
            a->next_ms = now_ms + NODE_ADD_RETRY_MS;
        }
    }
}

/* Whether contacts still hold the ask. */
static bool asking_held(const struct node *n, uint32_t slot)
{
    const struct contacts_ask *a;
    size_t pos = 0;

    while ((a = contacts_ask_next(n->contacts, &pos)) != NULL) {
        if (a->slot == slot) {
            return true;
        }
    }
    return false;
}

void askings_tick(struct node *n, uint64_t now_ms)
{
    for (struct asking **at = &n->askings; *at != NULL;) {
        struct asking *a = *at;

        if (a->until_ms <= now_ms) {
            contacts_ask_drop(n->contacts, a->slot);
        }
        if (!asking_held(n, a->slot)) {
            *at = a->next;
            free(a);
            continue;
        }
        if (a->conn == 0 && a->next_ms <= now_ms) {
            asking_dial(n, a, now_ms);
        }
        at = &a->next;
    }
}

uint64_t askings_deadline(const struct node *n)
{
    uint64_t at = DEADLINE_NONE;

    for (const struct asking *a = n->askings; a != NULL; a = a->next) {
        uint64_t due =
            a->conn == 0 && a->next_ms < a->until_ms ? a->next_ms : a->until_ms;

        at = due < at ? due : at;
    }
    return at;
}

void askings_free(struct node *n)
{
    while (n->askings != NULL) {
        struct asking *a = n->askings;

        n->askings = a->next;
        free(a);
    }
}

void asking_stored(struct node *n, uint32_t slot, uint32_t contact)
{
    for (struct waiter *w = n->waiters; w != NULL; w = w->next) {
        if (w->slot == slot) {
            w->slot = 0;
            w->contact = contact;
        }
    }
}

static void on_nearby_event(struct node *n, const struct nearby_event *ev,
                            uint64_t now_ms)
{
    struct node_event out = {.kind = NODE_EV_NEARBY, .person = ev->person};

    switch (ev->type) {
    case NEARBY_CAME:
    case NEARBY_LEFT:
        if (ev->type == NEARBY_CAME) {
            asking_heard(n, &ev->person, now_ms);
        }
        out.online = ev->type == NEARBY_CAME;
        node_emit(n, &out);
        break;
    case NEARBY_MANY:
        for (struct asking *a = n->askings; a != NULL; a = a->next) {
            asking_due(a, now_ms);
        }
        out.person.number = 0;
        node_emit(n, &out);
        break;
    case NEARBY_HIDDEN:
        out.kind = NODE_EV_VISIBLE;
        node_emit(n, &out);
        break;
    case NEARBY_NONCES:
        strangers_follow(n);
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
        on_nearby_event(n, &ev, now_ms);
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

/* Somebody who has asked us already is accepted by that. */
static const struct rec_request *request_of_cert(const struct node *n,
                                                 const uint8_t cert[32])
{
    const struct rec_request *r;
    size_t pos = 0;
    uint8_t hash[32];

    while ((r = contacts_request_next(n->contacts, &pos)) != NULL) {
        if (r->state == REQUEST_OPEN) {
            cert_hash(r->cert.p, r->cert.n, hash);
            if (memcmp(hash, cert, sizeof(hash)) == 0) {
                return r;
            }
        }
    }
    return NULL;
}

static int ask(struct node *n, uint64_t tag, const uint8_t cert[32], const char *as,
               const char *line, uint64_t now_ms)
{
    uint32_t slot;
    int err = contacts_ask(n->contacts, cert, as, line, &slot);
    struct asking *a = err == 0 ? asking_get(n, slot) : NULL;

    if (err == 0 && a == NULL) {
        a = calloc(1, sizeof(*a));
        if (a == NULL) {
            contacts_ask_drop(n->contacts, slot);
            return ERR_NOMEM;
        }
        a->slot = slot;
        memcpy(a->cert, cert, sizeof(a->cert));
        a->next = n->askings;
        n->askings = a;
    }
    if (err == 0) {
        a->until_ms = now_ms + NODE_ASK_MS;
        asking_due(a, now_ms);
        err = waiter_new(n, tag, slot, 0, now_ms);
        askings_tick(n, now_ms);
    }
    return err;
}

int node_ask(struct node *n, uint64_t tag, const uint8_t cert[32], const char *as,
             const char *line, uint64_t now_ms)
{
    const struct rec_contact *c = contacts_by_cert(n->contacts, cert);
    const struct rec_request *r = request_of_cert(n, cert);
    struct node_event ev = {0};
    int err;

    if (c != NULL && (c->flags & CONTACT_BLOCKED) != 0) {
        return ERR_REFUSED;
    }
    if (c != NULL && (c->flags & CONTACT_ASKED) == 0 &&
        contacts_met(n->contacts, c->id)) {
        ev.contact = c->id; /* a contact already */
        return node_done(n, 0, &ev, tag, now_ms);
    }
    if (r != NULL) {
        return node_request_accept(n, tag, r->id, as, now_ms);
    }
    err = ask(n, tag, cert, as, line, now_ms);
    node_settle(n, now_ms);
    return err;
}

int node_request_accept(struct node *n, uint64_t tag, uint32_t id, const char *as,
                        uint64_t now_ms)
{
    struct node_event ev = {0};
    int err = contacts_request_accept(n->contacts, &n->txn, id, as, &ev.contact);

    return node_done(n, err, &ev, tag, now_ms);
}

int node_request_deny(struct node *n, uint64_t tag, uint32_t id, bool block,
                      uint64_t now_ms)
{
    struct node_event ev = {.id = id};
    int err = contacts_request_deny(n->contacts, &n->txn, id, block, now_ms);

    return node_done(n, err, &ev, tag, now_ms);
}

int node_request_unblock(struct node *n, uint64_t tag, uint32_t id, uint64_t now_ms)
{
    struct node_event ev = {.id = id};
    int err = contacts_request_unblock(n->contacts, &n->txn, id);

    return node_done(n, err, &ev, tag, now_ms);
}

const struct rec_contact *node_like(const struct node *n, const char *name,
                                    uint32_t except)
{
    return contacts_like(n->contacts, name, except);
}
