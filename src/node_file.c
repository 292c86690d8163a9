/* Files between the modules: what feeds and links tell of them, what is told and sent. */
#include <stdlib.h>
#include <string.h>

#include "node_priv.h"

/* ---- who is in a conversation ---- */

static int tell_conv(struct node *n, uint32_t conv)
{
    struct xfer_member v[WIRE_MEMBERS_MAX];
    size_t count = 0;

    while (count < WIRE_MEMBERS_MAX &&
           feeds_member(n->feeds, conv, count, v[count].root, &v[count].contact)) {
        count++;
    }
    return count == 0 ? ERR_NOTFOUND : xfer_conv(n->xfer, conv, v, count);
}

int node_file_load(struct node *n, const struct rec *r)
{
    int err = r->kind == REC_FILE ? tell_conv(n, r->u.file.conv) : 0;

    return err == ERR_NOTFOUND ? ERR_CORRUPT : err == 0 ? xfer_load(n->xfer, r) : err;
}

static void check(struct node *n, int err)
{
    if (err == ERR_NOMEM) {
        n->broken = err;
    }
}

/* ---- links ---- */

void node_file_up(struct node *n, struct conn *c, uint32_t contact, uint64_t now_ms)
{
    check(n, xfer_peer_up(n->xfer, &n->txn, c->ref, contact, now_ms));
}

/* Looks for output where file data waits. */
static void wake(struct node *n, uint64_t now_ms)
{
    for (struct conn *c = n->first; c != NULL; c = c->next) {
        if (c->current && xfer_has_data(n->xfer, c->ref, now_ms)) {
            conn_make_ready(n, c);
        }
    }
}

size_t node_file_out(struct node *n, struct conn *c, uint64_t now_ms)
{
    struct wr w;
    size_t len;

    if (!c->current || c->link == NULL || !xfer_has_data(n->xfer, c->ref, now_ms) ||
        !link_bulk_begin(c->link, n->out_buf, NODE_OUT_BUF, &w)) {
        return 0;
    }
    (void)xfer_fill(n->xfer, c->ref, &w, now_ms);
    len = link_bulk_end(c->link, n->out_buf, &w, now_ms);
    if (len > 0) {
        peers_used(n->peers, c->ref, now_ms);
        (void)node_file_route(n, now_ms); /* what it lets be read next */
    }
    return len;
}

/* ---- routing ---- */

void node_file_said(struct node *n, const struct feeds_event *ev, uint64_t now_ms)
{
    const struct rec_device *d = contacts_device(n->contacts, ev->device);
    const struct rec_contact *c =
        d == NULL ? NULL : contacts_get(n->contacts, d->contact);
    struct xfer_said s = {.conv = ev->conv,
                          .contact = d == NULL ? 0 : d->contact,
                          .device = ev->device,
                          .taken_back = ev->taken_back,
                          .body = ev->body};
    int err = tell_conv(n, ev->conv);

    s.verified = c != NULL && (c->flags & CONTACT_VERIFIED) != 0;
    if (err == 0) {
        err = xfer_said(n->xfer, &n->txn, &s, now_ms);
    }
    check(n, err);
}

/* Whether a file may be offered to a contact. 0 or an error. */
static int may_offer(const struct node *n, uint32_t contact)
{
    const struct rec_contact *c = contacts_get(n->contacts, contact);

    if (c == NULL || (c->flags & CONTACT_REMOVED) != 0) {
        return ERR_NOTFOUND;
    }
    if ((c->flags & CONTACT_BLOCKED) != 0) {
        return ERR_REFUSED;
    }
    return (c->flags & CONTACT_CONFLICT) != 0 ? ERR_AUTH : 0;
}

/* The look at a large folder takes a while, in which the contact may have been blocked.
 */
static void on_offer(struct node *n, const struct xfer_event *ev, uint64_t now_ms)
{
    struct node_event out = {
        .kind = NODE_EV_RESULT, .tag = ev->tag, .err = ev->err, .contact = 0};
    int err = ev->err != 0 ? ev->err : may_offer(n, node_conv_contact(n, ev->conv));

    if (err == 0) {
        err = feeds_send_file(n->feeds, &n->txn, ev->conv, 0, &ev->body, now_ms);
    }
    if (err == 0) {
        memcpy(out.mid, ev->body.mid, sizeof(out.mid));
        err = xfer_offered_by_us(n->xfer, &n->txn, ev->tag, 1, &out.id, now_ms);
    } else if (ev->err == 0) {
        xfer_not_offered(n->xfer, ev->tag);
    }
    if (ev->why != NULL) {
        memcpy(out.why, ev->why, strnlen(ev->why, sizeof(out.why) - 1));
    }
    out.err = err;
    check(n, err);
    node_result(n, &out);
}

static void on_waits(struct node *n, const struct xfer_event *ev, uint64_t now_ms)
{
    const struct rec_device *d;
    size_t pos = 0;

    if (ev->device != 0) {
        peers_hold(n->peers, ev->device, PEER_HOLD_FILE, ev->waits, now_ms);
        node_meet_want(n, ev->device, now_ms);
        return;
    }
    while ((d = contacts_device_next(n->contacts, ev->contact, &pos)) != NULL) {
        peers_hold(n->peers, d->id, PEER_HOLD_FILES, ev->waits, now_ms);
        node_meet_want(n, d->id, now_ms);
    }
}

/* What takes something away from the disk waits until its reason is durable. */
static void on_job(struct node *n, const struct xfer_job *job)
{
    struct node_event out = {.kind = NODE_EV_JOB, .job = job};

    if (job->kind == XFER_JOB_DROP || job->kind == XFER_JOB_FORGET) {
        node_result(n, &out);
    } else {
        node_emit(n, &out);
    }
}

bool node_file_route(struct node *n, uint64_t now_ms)
{
    struct node_event out = {.kind = NODE_EV_TRANSFER};
    struct xfer_event ev;
    bool any = false;

    while (xfer_next_event(n->xfer, &ev)) {
        any = true;
        switch (ev.kind) {
        case XFER_EV_JOB:
            on_job(n, ev.job);
            break;
        case XFER_EV_OFFER:
            on_offer(n, &ev, now_ms);
            break;
        case XFER_EV_SAY:
            check(n, feeds_send_file(n->feeds, &n->txn, ev.conv, ev.author, &ev.body,
                                     now_ms));
            break;
        case XFER_EV_WAITS:
            on_waits(n, &ev, now_ms);
            break;
        case XFER_EV_TELL:
            out.id = ev.file;
            node_emit(n, &out);
            break;
        }
    }
    return any;
}

void node_job_done(struct node *n, const struct xfer_result *r, uint64_t now_ms)
{
    check(n, xfer_done(n->xfer, &n->txn, r, now_ms));
    wake(n, now_ms);
    node_settle(n, now_ms);
}

void node_file_tick(struct node *n, uint64_t now_ms)
{
    check(n, xfer_tick(n->xfer, &n->txn, now_ms));
    wake(n, now_ms);
}

/* ---- requests ---- */

int node_send_file(struct node *n, uint64_t tag, uint32_t contact, const char *path,
                   const char *name, uint64_t now_ms)
{
    struct xfer_source s = {.path = path, .name = name};
    int err = may_offer(n, contact);

    if (err != 0) {
        return err;
    }
    s.conv = feeds_conv_of(n->feeds, contact);
    err = tell_conv(n, s.conv);
    if (err == 0) {
        err = xfer_scan(n->xfer, tag, &s, now_ms);
    }
    check(n, err);
    node_settle(n, now_ms);
    return err;
}

int node_file_spooled(struct node *n, uint32_t id, uint64_t size, bool end,
                      uint64_t now_ms)
{
    int err = xfer_spooled(n->xfer, &n->txn, id, size, end, now_ms);

    check(n, err);
    node_settle(n, now_ms);
    return err;
}

int node_file(struct node *n, uint64_t tag, enum node_file_verb verb, uint32_t id,
              const char *dest, bool pipe, uint64_t now_ms)
{
    struct node_event ev = {.id = id};
    int err = ERR_ARG;

    switch (verb) {
    case NODE_FILE_ACCEPT:
        err = xfer_accept(n->xfer, &n->txn, id, dest, pipe, now_ms);
        break;
    case NODE_FILE_DECLINE:
        err = xfer_decline(n->xfer, &n->txn, id, now_ms);
        break;
    case NODE_FILE_PAUSE:
        err = xfer_pause(n->xfer, &n->txn, id, now_ms);
        break;
    case NODE_FILE_RESUME:
        err = xfer_resume(n->xfer, &n->txn, id, now_ms);
        break;
    case NODE_FILE_CANCEL:
        err = xfer_cancel(n->xfer, &n->txn, id, now_ms);
        break;
    case NODE_FILE_PIPED:
        err = xfer_piped(n->xfer, &n->txn, id, now_ms);
        break;
    }
    return node_done(n, err, &ev, tag, now_ms);
}

int node_file_rule(struct node *n, uint64_t tag, const struct rec_file_rule *r,
                   uint64_t now_ms)
{
    struct node_event ev = {.contact = r->contact};

    return node_done(n, xfer_set_rule(n->xfer, &n->txn, r), &ev, tag, now_ms);
}

void node_file_policy(struct node *n, const struct xfer_policy *p, uint64_t now_ms)
{
    xfer_set_policy(n->xfer, p);
    node_settle(n, now_ms);
}

void node_file_limit(struct node *n, uint64_t rate, uint64_t now_ms)
{
    xfer_limit(n->xfer, rate, now_ms);
    node_settle(n, now_ms);
}

/* ---- what front ends ask ---- */

const struct xfer *node_xfer(const struct node *n)
{
    return n->xfer;
}

const char *node_route(const struct node *n, uint32_t contact, struct addr *addr)
{
    const struct rec_device *d;
    size_t pos = 0;

    while ((d = contacts_device_next(n->contacts, contact, &pos)) != NULL) {
        const struct conn *c = conn_get(n, peers_link(n->peers, d->id));

        if (c != NULL) {
            *addr = c->addr;
            return addr_is_private(addr) || addr_is_link_local(addr) ||
                           addr_is_loopback(addr)
                       ? "LAN"
                       : "direct";
        }
    }
    return NULL;
}
