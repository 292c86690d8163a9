/* Requests of front ends: each is checked, carried to the module that it is for, and
 * answered when its transaction is durable. */
#include <stdlib.h>
#include <string.h>

#include "node_priv.h"

int node_done(struct node *n, int err, struct node_event *ev, uint64_t tag,
              uint64_t now_ms)
{
    if (err == 0) {
        ev->kind = NODE_EV_RESULT;
        ev->tag = tag;
        node_result(n, ev);
    } else if (err == ERR_NOMEM) {
        n->broken = err;
    }
    node_settle(n, now_ms);
    return err;
}

static int known(const struct node *n, uint32_t contact, const struct rec_contact **out)
{
    const struct rec_contact *c = contacts_get(n->contacts, contact);

    if (c == NULL || (c->flags & CONTACT_REMOVED) != 0) {
        return ERR_NOTFOUND;
    }
    *out = c;
    return 0;
}

int node_invite(struct node *n, uint64_t tag, uint64_t expires_s,
                const struct addr *addrs, size_t n_addrs, uint64_t now_ms)
{
    struct node_event ev = {0};
    int err =
        contacts_invite(n->contacts, &n->txn, expires_s, addrs, n_addrs, ev.code, &ev.id);

    return node_done(n, err, &ev, tag, now_ms);
}

int node_invite_revoke(struct node *n, uint64_t tag, uint32_t id, uint64_t now_ms)
{
    struct node_event ev = {.id = id};

    return node_done(n, contacts_revoke(n->contacts, &n->txn, id), &ev, tag, now_ms);
}

int node_add(struct node *n, uint64_t tag, const char *code, size_t len, const char *as,
             uint64_t now_ms)
{
    uint32_t slot;
    int err = n->n_waiters < NODE_WAITERS_MAX ? 0 : ERR_LIMIT;

    if (err == 0) {
        err = contacts_add(n->contacts, &n->txn, code, len, as, &slot);
    }
    if (err == 0) {
        err = waiter_new(n, tag, slot, 0, now_ms);
    }
    if (err == ERR_NOMEM) {
        n->broken = err;
    }
    node_settle(n, now_ms);
    return err;
}

int node_send_conv(struct node *n, uint64_t tag, uint32_t conv, const uint8_t *text,
                   size_t len, const uint8_t *reply_mid, uint64_t now_ms)
{
    struct node_event ev = {0};
    int err =
        feeds_send_text(n->feeds, &n->txn, conv, text, len, reply_mid, ev.mid, now_ms);

    return node_done(n, err, &ev, tag, now_ms);
}

int node_send_text(struct node *n, uint64_t tag, uint32_t contact, const uint8_t *text,
                   size_t len, const uint8_t *reply_mid, uint64_t now_ms)
{
    const struct rec_contact *c;
    int err = known(n, contact, &c);

    if (err != 0) {
        return err;
    }
    if ((c->flags & CONTACT_BLOCKED) != 0) {
        return ERR_REFUSED;
    }
    if ((c->flags & CONTACT_CONFLICT) != 0) {
        return ERR_AUTH;
    }
    (void)presence_typing(n->presence, contact, NULL, 0, false, now_ms);
    return node_send_conv(n, tag, feeds_conv_of(n->feeds, contact), text, len, reply_mid,
                          now_ms);
}

int node_change(struct node *n, uint64_t tag, uint32_t conv, const struct feeds_change *v,
                uint64_t now_ms)
{
    uint32_t contact = feeds_conv_contact(n->feeds, conv);
    const struct rec_contact *c = NULL;
    struct node_event ev = {.contact = contact};
    int err = contact == 0 ? 0 : known(n, contact, &c);

    if (err != 0) {
        return err;
    }
    if (c != NULL && (c->flags & CONTACT_BLOCKED) != 0) {
        return ERR_REFUSED;
    }
    if (c != NULL && (c->flags & CONTACT_CONFLICT) != 0) {
        return ERR_AUTH;
    }
    memcpy(ev.mid, v->target, sizeof(ev.mid));
    if (v->kind == CHANGE_REDACTION) { /* an offer ends with its message */
        err = xfer_redacted(n->xfer, &n->txn, v->target, now_ms);
    }
    if (err == 0) {
        err = feeds_change(n->feeds, &n->txn, conv, v, now_ms);
    }
    return node_done(n, err, &ev, tag, now_ms);
}

int node_group(struct node *n, const uint8_t cid[WIRE_ID],
               const uint8_t (*members)[WIRE_ID], size_t count, uint32_t *conv,
               uint64_t now_ms)
{
    int err = feeds_conv_group(n->feeds, &n->txn, cid, members, count, conv);

    node_settle(n, now_ms);
    return err;
}

int node_read(struct node *n, uint64_t tag, uint32_t contact, uint64_t now_ms)
{
    const struct rec_contact *c;
    struct node_event ev = {.contact = contact};
    uint32_t conv;
    int err = known(n, contact, &c);

    if (err == 0 && (conv = feeds_conv_of(n->feeds, contact)) != 0) {
        err = feeds_read(n->feeds, &n->txn, conv, now_ms);
    }
    return node_done(n, err, &ev, tag, now_ms);
}

int node_contact_rename(struct node *n, uint64_t tag, uint32_t contact, const char *name,
                        uint64_t now_ms)
{
    const struct rec_contact *c;
    struct node_event ev = {.contact = contact};
    int err = known(n, contact, &c);

    if (err == 0) {
        err = contacts_rename(n->contacts, &n->txn, contact, name);
    }
    return node_done(n, err, &ev, tag, now_ms);
}

int node_contact_block(struct node *n, uint64_t tag, uint32_t contact, bool block,
                       uint64_t now_ms)
{
    const struct rec_contact *c;
    struct node_event ev = {.contact = contact};
    int err = known(n, contact, &c);

    bool was = err == 0 && (c->flags & CONTACT_BLOCKED) != 0, back = was && !block;
    uint32_t conv = 0;

    if (err == 0) {
        err =
            contacts_set_flags(n->contacts, &n->txn, contact, block ? CONTACT_BLOCKED : 0,
                               block ? 0 : CONTACT_BLOCKED);
    }
    if (err == 0 && block) {
        err = xfer_contact_gone(n->xfer, &n->txn, contact, now_ms);
    }
    if (err == 0 && block && !was) {
        node_rotate_presence(n, now_ms);
    }
    if (err == 0 && back) { /* what we are called and found by may have changed */
        contact_follow(n, contact, now_ms);
        conv = feeds_conv_of(n->feeds, contact);
    }
    if (err == 0 && conv != 0) {
        err = feeds_send_device(n->feeds, &n->txn, conv, &n->own, now_ms);
    }
    return node_done(n, err, &ev, tag, now_ms);
}

int node_contact_remove(struct node *n, uint64_t tag, uint32_t contact, uint64_t now_ms)
{
    const struct rec_contact *c;
    struct node_event ev = {.contact = contact};
    int err = known(n, contact, &c);

    if (err == 0) {
        err = xfer_contact_gone(n->xfer, &n->txn, contact, now_ms);
    }
    if (err == 0) {
        err = contacts_remove(n->contacts, &n->txn, contact);
    }
    if (err == 0) {
        node_rotate_presence(n, now_ms);
    }
    return node_done(n, err, &ev, tag, now_ms);
}

int node_contact_verify(struct node *n, uint64_t tag, uint32_t contact, bool verified,
                        uint64_t now_ms)
{
    const struct rec_contact *c;
    struct node_event ev = {.contact = contact};
    int err = known(n, contact, &c);

    if (err == 0) {
        err = contacts_set_flags(n->contacts, &n->txn, contact,
                                 verified ? CONTACT_VERIFIED : 0, CONTACT_CONFLICT);
    }
    return node_done(n, err, &ev, tag, now_ms);
}

int node_set_name(struct node *n, uint64_t tag, const char *name, uint64_t now_ms)
{
    struct node_event ev = {0};
    size_t len = strnlen(name, WIRE_NAME_MAX + 1);
    int err = wire_name_ok((const uint8_t *)name, len) ? 0 : ERR_ARG;

    if (err == 0) {
        err = node_meta_put(n, "name", name, len);
    }
    if (err == 0) {
        memcpy(n->name, name, len + 1);
        node_device_changed(n, true, now_ms);
    }
    return node_done(n, err, &ev, tag, now_ms);
}

int node_set_meta(struct node *n, uint64_t tag, const char *key, const void *value,
                  size_t len, uint64_t now_ms)
{
    struct node_event ev = {0};

    return node_done(n, node_meta_put(n, key, value, len), &ev, tag, now_ms);
}

/* ---- what front ends ask ---- */

const struct contacts *node_contacts(const struct node *n)
{
    return n->contacts;
}

const struct rec_contact *node_contact_like(struct node *n, uint32_t contact)
{
    const struct rec_contact *c = contacts_get(n->contacts, contact);

    if (c == NULL || (c->flags & CONTACT_VERIFIED) != 0) {
        return NULL;
    }
    const struct rec_contact *o = contacts_like(n->contacts, c->name, contact);

    return o != NULL && o->id < contact ? o : NULL;
}

bool node_linked(const struct node *n, uint32_t contact)
{
    const struct rec_device *d;
    size_t pos = 0;

    while ((d = contacts_device_next(n->contacts, contact, &pos)) != NULL) {
        if (peers_link(n->peers, d->id) != 0) {
            return true;
        }
    }
    return false;
}

uint32_t node_conv_of(const struct node *n, uint32_t contact)
{
    return feeds_conv_of(n->feeds, contact);
}

uint32_t node_conv_contact(const struct node *n, uint32_t conv)
{
    return feeds_conv_contact(n->feeds, conv);
}

const char *node_name(const struct node *n)
{
    return n->name;
}

const uint8_t *node_root(const struct node *n)
{
    return n->self.root;
}

const uint8_t *node_device(const struct node *n)
{
    return n->device;
}

void node_stats(const struct node *n, struct node_stats *out)
{
    const struct rec_contact *c;
    size_t pos = 0;

    memset(out, 0, sizeof(*out));
    out->conns = n->n_conns;
    for (const struct conn *k = n->first; k != NULL; k = k->next) {
        out->links += k->current ? 1 : 0;
        out->half_open += k->link != NULL && link_is_half_open(k->link) ? 1 : 0;
    }
    while ((c = contacts_next(n->contacts, &pos)) != NULL) {
        if ((c->flags & CONTACT_REMOVED) == 0) {
            out->contacts++;
            out->online += node_online(n, c->id) ? 1 : 0;
            out->conflicts += (c->flags & CONTACT_CONFLICT) != 0 ? 1 : 0;
        }
    }
    out->unstored_bytes = n->unstored;
    out->last_txn = n->last_txn;
    out->durable_txn = n->durable;
}
