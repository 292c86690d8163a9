/* Presence between the modules: what beacons and links tell of contacts, what contacts
 * are told of us, and what front ends ask. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "node_priv.h"

static const char meta_status[] = "status";

bool node_hidden(const struct node *n)
{
    struct presence_own own;

    presence_own(n->presence, &own);
    return own.state == PRESENCE_INVISIBLE;
}

static void check(struct node *n, int err)
{
    if (err == ERR_NOMEM) {
        n->broken = err;
    }
}

void node_presence_start(struct node *n, uint64_t now_ms)
{
    const struct blob *b = node_meta(n, meta_status);

    if (b != NULL && presence_load(n->presence, b->p, b->n) != 0) {
        log_warn("the stored state and status text cannot be read: set them again");
    }
    n->hidden = node_hidden(n);
    presence_active(n->presence, n->active_ms != 0 ? n->active_ms : now_ms, now_ms);
    lan_set_presence(n->lan, presence_byte(n->presence), now_ms);
}

/* ---- contacts ---- */

void node_presence_up(struct node *n, uint32_t device, uint64_t now_ms)
{
    const struct rec_device *d = contacts_device(n->contacts, device);
    const struct rec_contact *c =
        d != NULL ? contacts_get(n->contacts, d->contact) : NULL;
    struct presence_link l = {.device = device};

    if (c != NULL) {
        l.contact = c->id;
        l.live = (c->flags & CONTACT_LIVE) != 0;
        feeds_pair_id(n->self.root, c->root, l.conv);
        check(n, presence_up(n->presence, &l, now_ms));
    }
}

void node_presence_reach(struct node *n, uint32_t device, bool reachable, uint64_t now_ms)
{
    const struct rec_device *d = contacts_device(n->contacts, device);

    if (d != NULL && d->contact != 0) {
        check(n, presence_reach(n->presence, device, d->contact, reachable, now_ms));
    }
}

/* A beacon of before its link said "invisible" may come behind that. */
bool node_presence_beacon(struct node *n, uint32_t device, uint8_t byte, uint64_t now_ms)
{
    const struct rec_device *d = contacts_device(n->contacts, device);

    if (d != NULL && d->contact != 0) {
        check(n, presence_beacon(n->presence, device, d->contact, byte, now_ms));
    }
    return !presence_is_hiding(n->presence, device);
}

void node_presence_heard(struct node *n, uint64_t now_ms)
{
    for (uint32_t at = n->txn.last[REC_MSG]; at != 0; at = n->txn.recs[at - 1].prev) {
        const struct rec_msg *m = &n->txn.recs[at - 1].u.msg;

        if (m->author != 0 && feeds_conv_contact(n->feeds, m->conv) == m->author) {
            presence_heard(n->presence, m->author, now_ms);
        }
    }
}

/* ---- routing ---- */

/* Beacons say how we are, or nothing at all from now on: the last one says that we left,
 * as at the end of the node. */
static void follow_own(struct node *n, uint64_t now_ms)
{
    bool hidden = node_hidden(n);

    lan_set_presence(n->lan, presence_byte(n->presence), now_ms);
    if (hidden && !n->hidden) {
        lan_leave(n->lan);
        if (nearby_until(n->nearby) != 0) {
            struct node_event ev = {.kind = NODE_EV_VISIBLE};

            nearby_hide(n->nearby, now_ms);
            node_emit(n, &ev);
        }
    }
    if (hidden != n->hidden) {
        n->hidden = hidden;
        node_beacons_changed(n);
        nearby_start(n, now_ms);
    }
}

static void tell(struct node *n, uint32_t contact, enum node_presence_what what)
{
    struct node_event ev = {
        .kind = NODE_EV_PRESENCE, .contact = contact, .what = (uint8_t)what};

    ev.online = contact != 0 && node_online(n, contact);
    node_emit(n, &ev);
}

bool node_presence_route(struct node *n, uint64_t now_ms)
{
    struct presence_event ev;
    bool any = false;

    while (presence_next_event(n->presence, &ev)) {
        any = true;
        switch (ev.kind) {
        case PRESENCE_EV_OWN:
            follow_own(n, now_ms);
            tell(n, 0, NODE_PRESENCE_STATE);
            break;
        case PRESENCE_EV_STATE:
            tell(n, ev.contact, NODE_PRESENCE_STATE);
            break;
        case PRESENCE_EV_TYPING:
            tell(n, ev.contact, NODE_PRESENCE_TYPING);
            break;
        case PRESENCE_EV_LIVE:
            tell(n, ev.contact, NODE_PRESENCE_LIVE);
            break;
        case PRESENCE_EV_FETCH:
            peers_ask(n->peers, ev.device, now_ms);
            break;
        case PRESENCE_EV_HIDING:
            peers_gone(n->peers, ev.device, now_ms);
            break;
        }
    }
    return any;
}

/* Presence waits for no commit: it depends on none. What a slow link has no room for is
 * left out, but for the state. */
void node_presence_drain(struct node *n, uint64_t now_ms)
{
    struct presence_out out;

    while (presence_next_out(n->presence, &out)) {
        struct conn *c = conn_get(n, peers_link(n->peers, out.device));

        if (c == NULL || c->link == NULL) {
            continue;
        }
        if (out.type != FRAME_PRESENCE &&
            link_room(c->link, LINK_CONTROL) < WIRE_FRAME_HEAD + out.len) {
            presence_unsent(n->presence, &out, now_ms);
            continue;
        }
        (void)conn_send(n, c, LINK_CONTROL, out.type, out.payload, out.len, now_ms);
    }
}

/* ---- requests ---- */

int node_presence_set(struct node *n, uint64_t tag, enum presence_state state,
                      const char *status, size_t len, uint64_t now_ms)
{
    uint8_t saved[PRESENCE_SAVED_MAX];
    struct node_event ev = {0};
    int err = presence_set(n->presence, state, status, len, now_ms);

    if (err == 0) {
        size_t size = presence_save(n->presence, saved);

        err = node_meta_put(n, meta_status, saved, size);
    }
    return node_done(n, err, &ev, tag, now_ms);
}

void node_activity(struct node *n, uint64_t now_ms)
{
    struct presence_own own;

    presence_own(n->presence, &own);
    presence_active(n->presence, now_ms, now_ms);
    if (own.automatic) { /* else nobody has to be told, however often this is called */
        node_settle(n, now_ms);
    }
}

void node_away_after(struct node *n, uint64_t ms, uint64_t now_ms)
{
    presence_away_after(n->presence, ms, now_ms);
    node_settle(n, now_ms);
}

int node_live(struct node *n, uint64_t tag, uint32_t contact, bool on, uint64_t now_ms)
{
    struct node_event ev = {.contact = contact};
    int err = contacts_set_flags(n->contacts, &n->txn, contact, on ? CONTACT_LIVE : 0,
                                 on ? 0 : CONTACT_LIVE);

    if (err == 0) {
        presence_live(n->presence, contact, on, now_ms);
    }
    return node_done(n, err, &ev, tag, now_ms);
}

int node_typing(struct node *n, uint32_t contact, const uint8_t *text, size_t len,
                bool typing, uint64_t now_ms)
{
    const struct rec_contact *c = contacts_get(n->contacts, contact);
    int err;

    if (c == NULL || (c->flags & CONTACT_REMOVED) != 0) {
        return ERR_NOTFOUND;
    }
    if ((c->flags & CONTACT_BLOCKED) != 0) {
        return ERR_REFUSED;
    }
    if ((c->flags & CONTACT_CONFLICT) != 0) {
        return ERR_AUTH;
    }
    err = presence_typing(n->presence, contact, text, len, typing, now_ms);
    node_settle(n, now_ms);
    return err;
}

/* ---- what front ends ask ---- */

void node_presence(const struct node *n, struct presence_own *out)
{
    presence_own(n->presence, out);
}

void node_presence_of(const struct node *n, uint32_t contact, struct presence_view *out)
{
    const struct rec_contact *c = contacts_get(n->contacts, contact);

    presence_view(n->presence, contact, out);
    out->live_ours = c != NULL && (c->flags & CONTACT_LIVE) != 0;
}

bool node_online(const struct node *n, uint32_t contact)
{
    return presence_online(n->presence, contact);
}
