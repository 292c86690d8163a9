/* The live code: which link it runs over, and who waits for it. */
#include <stdlib.h>
#include <string.h>

#include "node_priv.h"

/* The link of any device of the contact, or NULL. */
static struct conn *link_of(const struct node *n, uint32_t contact)
{
    const struct rec_device *d;
    size_t pos = 0;

    while ((d = contacts_device_next(n->contacts, contact, &pos)) != NULL) {
        struct conn *c = conn_get(n, peers_link(n->peers, d->id));

        if (c != NULL && c->current && c->link != NULL && link_is_up(c->link)) {
            return c;
        }
    }
    return NULL;
}

/* The devices of the contact are dialled, and their links kept, as long as somebody
 * waits for a code. */
static void want(struct node *n, uint32_t contact, bool on, uint64_t now_ms)
{
    const struct rec_device *d;
    size_t pos = 0;

    while ((d = contacts_device_next(n->contacts, contact, &pos)) != NULL) {
        peers_hold(n->peers, d->id, PEER_HOLD_PERSON, on, now_ms);
        node_meet_want(n, d->id, now_ms);
    }
}

static void answer(struct node *n, uint32_t contact, int err, const char *text,
                   uint64_t now_ms)
{
    struct node_event ev = {.kind = NODE_EV_RESULT, .err = err, .contact = contact};

    if (text != NULL) {
        memcpy(ev.code, text, VERIFY_CODE_STR);
    }
    for (struct comparing **at = &n->comparings; *at != NULL;) {
        struct comparing *w = *at;

        if (w->contact != contact) {
            at = &w->next;
            continue;
        }
        ev.tag = w->tag;
        node_result(n, &ev);
        *at = w->next;
        free(w);
    }
    want(n, contact, false, now_ms);
}

static struct comparing *comparing_of(const struct node *n, uint32_t contact)
{
    struct comparing *w = n->comparings;

    while (w != NULL && w->contact != contact) {
        w = w->next;
    }
    return w;
}

/* What the exchange of a link wants. failed_as: what it means when it has failed. */
static void carry_out(struct node *n, struct conn *c, uint32_t contact,
                      const struct verify_out *out, int failed_as, uint64_t now_ms)
{
    for (size_t i = 0; i < out->n; i++) {
        uint8_t buf[128];
        struct wr w = wr_init(buf, sizeof(buf));

        wire_code_frame_put(&w, &out->frames[i]);
        (void)conn_send(n, c, LINK_CONTROL, FRAME_CODE, buf, w.len, now_ms);
    }
    if (out->asks) {
        struct node_event ev = {.kind = NODE_EV_VERIFY, .contact = contact};

        node_emit(n, &ev);
    }
    if (out->done) {
        answer(n, contact, 0, out->code, now_ms);
    } else if (out->failed) {
        answer(n, contact, failed_as, NULL, now_ms);
    }
}

static void begin(struct node *n, struct conn *c, uint32_t contact, uint64_t now_ms)
{
    struct verify_out out = {0};

    if (verify_begin(&c->verify, n->env, c->dialled, now_ms, &out) == 0) {
        carry_out(n, c, contact, &out, ERR_STATE, now_ms);
    }
}

int verify_frame(struct node *n, struct conn *c, uint32_t contact, const uint8_t *p,
                 size_t len, uint64_t now_ms)
{
    const struct rec_contact *k = contacts_get(n->contacts, contact);
    struct verify_out out = {0};

    if (k == NULL) {
        return 0;
    }
    struct verify_link link = {.hash = link_hash(c->link),
                               .root_dialler = c->dialled ? n->self.root : k->root,
                               .root_listener = c->dialled ? k->root : n->self.root};
    int err = verify_recv(&c->verify, &link, p, len, now_ms, &out);

    /* STOP: their user has given up. */
    carry_out(n, c, contact, &out, err != 0 ? ERR_AUTH : ERR_REFUSED, now_ms);
    return err;
}

void verify_link_up(struct node *n, struct conn *c, uint32_t contact, uint64_t now_ms)
{
    struct comparing *w = comparing_of(n, contact);

    if (w != NULL && !w->linked) {
        for (; w != NULL; w = w->next) {
            w->linked = w->linked || w->contact == contact;
        }
        begin(n, c, contact, now_ms);
    }
}

void verify_link_down(struct node *n, struct conn *c, uint32_t contact, uint64_t now_ms)
{
    bool was = c->verify.state != VERIFY_IDLE;

    verify_wipe(&c->verify);
    if (was) {
        answer(n, contact, ERR_IO, NULL, now_ms);
    }
}

int node_verify_code(struct node *n, uint64_t tag, uint32_t contact, uint64_t now_ms)
{
    const struct rec_contact *k = contacts_get(n->contacts, contact);
    struct comparing *w;
    struct conn *c;

    if (k == NULL || (k->flags & CONTACT_REMOVED) != 0) {
        return ERR_NOTFOUND;
    }
    if ((k->flags & CONTACT_BLOCKED) != 0) {
        return ERR_REFUSED;
    }
    const struct comparing *other = comparing_of(n, contact);
    w = calloc(1, sizeof(*w));
    if (w == NULL) {
        return ERR_NOMEM;
    }
    c = link_of(n, contact);
    w->tag = tag;
    w->contact = contact;
    w->linked = other != NULL ? other->linked : c != NULL;
    w->until_ms = now_ms + NODE_ADD_WAIT_MS;
    w->next = n->comparings;
    n->comparings = w;
    want(n, contact, true, now_ms);
    if (c != NULL && other == NULL) { /* else this one waits for the same code */
        begin(n, c, contact, now_ms);
    }
    node_settle(n, now_ms);
    return 0;
}

void verifies_tick(struct node *n, uint64_t now_ms)
{
    for (struct comparing *w = n->comparings, *next; w != NULL; w = next) {
        next = w->next;
        if (!w->linked && w->until_ms <= now_ms) {
            uint32_t contact = w->contact;

            answer(n, contact, ERR_NOTFOUND, NULL, now_ms);
            next = n->comparings;
        }
    }
    for (struct conn *c = n->first; c != NULL; c = c->next) {
        struct verify_out out = {0};

        if (c->current && verify_deadline(&c->verify) <= now_ms) {
            verify_tick(&c->verify, now_ms, &out);
            carry_out(n, c, conn_contact(n, c), &out, ERR_TIMEOUT, now_ms);
        }
    }
}

uint64_t verifies_deadline(const struct node *n)
{
    uint64_t at = DEADLINE_NONE;

    for (const struct comparing *w = n->comparings; w != NULL; w = w->next) {
        at = !w->linked && w->until_ms < at ? w->until_ms : at;
    }
    for (const struct conn *c = n->first; c != NULL; c = c->next) {
        uint64_t due = c->current ? verify_deadline(&c->verify) : DEADLINE_NONE;

        at = due < at ? due : at;
    }
    return at;
}

void verifies_free(struct node *n)
{
    while (n->comparings != NULL) {
        struct comparing *w = n->comparings;

        n->comparings = w->next;
        free(w);
    }
}
