/* Codes being tried: where to dial with them, and who waits for the result. */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "node_priv.h"

struct attempt *attempt_get(struct node *n, uint32_t slot)
{
    for (struct attempt *a = n->attempts; a != NULL; a = a->next) {
        if (a->slot == slot) {
            return a;
        }
    }
    return NULL;
}

/* An inviter whom we cannot dial may call. */
static void call_follow(struct node *n, const struct attempt *a)
{
    struct link_candidate as = {.kind = LINK_CALL, .ref = a->slot};

    keys_link_invite(a->code.secret, a->code.root, &as.keys);
    memcpy(as.remote_root, a->code.root, KEYS_ROOT);
    if (keyring_put(&n->ring, &as) == ERR_NOMEM) {
        n->broken = ERR_NOMEM;
    }
    sodium_memzero(&as, sizeof(as));
}

static void attempt_new(struct node *n, const struct contacts_adding *adding,
                        uint64_t now_ms)
{
    struct attempt *a = calloc(1, sizeof(*a));
    uint8_t key[1][32];

    if (a == NULL) {
        n->broken = ERR_NOMEM;
        return;
    }
    a->slot = adding->slot;
    a->code = adding->code;
    a->next_ms = now_ms;
    a->next = n->attempts;
    n->attempts = a;
    wire_beacon_key_invite(a->code.secret, key[0]);
    (void)lan_watch(n->lan, LAN_ADDING, a->slot, key, 1, now_ms);
    node_meet_adding(n, a, now_ms);
    sodium_memzero(key, sizeof(key));
    call_follow(n, a);
}

static void attempt_free(struct node *n, struct attempt *a)
{
    lan_unwatch(n->lan, LAN_ADDING, a->slot);
    keyring_del(&n->ring, LINK_CALL, a->slot);
    node_meet_added(n, a->slot);
    sodium_memzero(a, sizeof(*a));
    free(a);
}

/* Makes the list of attempts equal to the codes that contacts hold. */
void attempts_sync(struct node *n, uint64_t now_ms)
{
    const struct contacts_adding *adding;
    size_t pos = 0;

    for (struct attempt *a = n->attempts; a != NULL; a = a->next) {
        a->gone = true;
    }
    while ((adding = contacts_adding_next(n->contacts, &pos)) != NULL) {
        struct attempt *a = attempt_get(n, adding->slot);

        if (a == NULL) {
            attempt_new(n, adding, now_ms);
        } else {
            a->gone = false;
        }
    }
    for (struct attempt **at = &n->attempts; *at != NULL;) {
        struct attempt *a = *at;

        if (a->gone) {
            *at = a->next;
            attempt_free(n, a);
        } else {
            at = &a->next;
        }
    }
}

static bool attempt_addr(const struct node *n, const struct attempt *a, size_t i,
                         struct addr *out)
{
    if (a->has_found && i-- == 0) {
        *out = a->found;
        return true;
    }
    if (i < a->n_where) {
        *out = a->where[i];
        return true;
    }
    i -= a->n_where;
    if (i < a->code.n_addrs) {
        *out = a->code.addrs[i];
        return true;
    }
    i -= a->code.n_addrs;
    if (i < n->n_targets) {
        *out = n->targets[i];
        return true;
    }
    return false;
}

static void attempt_dial(struct node *n, struct attempt *a, uint64_t now_ms)
{
    struct addr to;

    while (a->conn == 0 && attempt_addr(n, a, a->next_addr, &to)) {
        a->next_addr++;
        a->conn = conn_dial_code(n, a->slot, &to, now_ms);
    }
    if (a->conn == 0) {
        a->next_addr = 0;
        a->next_ms = now_ms + NODE_ADD_RETRY_MS;
    } else {
        a->next_ms = DEADLINE_NONE;
        a->late_ms = now_ms + NODE_ADD_ADDR_MS;
    }
}

/* From the first address again: one that does not answer must not hold up a new one. */
static void attempt_anew(struct node *n, struct attempt *a, uint64_t now_ms)
{
    struct conn *c = a->conn != 0 ? conn_get(n, a->conn) : NULL;

    a->next_addr = 0;
    if (c != NULL) {
        a->conn = 0;
        conn_close(n, c, CLOSE_NORMAL, now_ms);
    }
    attempt_dial(n, a, now_ms);
}

/* The inviter answered a beacon from there. */
void attempt_found(struct node *n, uint32_t slot, const struct addr *addr,
                   uint64_t now_ms)
{
    struct attempt *a = attempt_get(n, slot);

    if (a == NULL) {
        return;
    }
    a->has_found = true;
    a->found = *addr;
    struct conn *c = a->conn != 0 ? conn_get(n, a->conn) : NULL;

    if (c != NULL && (c->up || addr_eq(&c->addr, addr))) {
        return;
    }
    attempt_anew(n, a, now_ms);
}

void attempt_where(struct node *n, uint32_t slot, const struct addr *v, size_t count,
                   uint64_t now_ms)
{
    struct attempt *a = attempt_get(n, slot);
    struct conn *c = a != NULL && a->conn != 0 ? conn_get(n, a->conn) : NULL;

    if (a == NULL) {
        return;
    }
    memcpy(a->where, v, count * sizeof(v[0]));
    a->n_where = count;
    if (c == NULL || !c->connected) {
        attempt_anew(n, a, now_ms);
    }
}

void attempt_conn_over(struct node *n, uint32_t conn, uint64_t now_ms)
{
    for (struct attempt *a = n->attempts; a != NULL; a = a->next) {
        if (a->conn == conn) {
            a->conn = 0;
            a->next_ms = now_ms;
        }
    }
}

/* Whether the address that is dialled does not answer, and there are others. */
static bool is_slow(const struct node *n, const struct attempt *a)
{
    const struct conn *c = a->conn != 0 ? conn_get(n, a->conn) : NULL;
    struct addr next;

    return c != NULL && !c->connected && attempt_addr(n, a, a->next_addr, &next);
}

static void give_up_slow(struct node *n, struct attempt *a, uint64_t now_ms)
{
    struct conn *c = conn_get(n, a->conn);

    a->conn = 0;
    conn_close(n, c, CLOSE_NORMAL, now_ms);
    attempt_dial(n, a, now_ms);
}

void attempts_tick(struct node *n, uint64_t now_ms)
{
    for (struct attempt *a = n->attempts; a != NULL; a = a->next) {
        if (a->conn == 0 && a->next_ms <= now_ms) {
            attempt_dial(n, a, now_ms);
        } else if (a->late_ms <= now_ms && is_slow(n, a)) {
            give_up_slow(n, a, now_ms);
        }
    }
    for (struct waiter **at = &n->waiters; *at != NULL;) {
        struct waiter *w = *at;

        if (w->until_ms > now_ms) {
            at = &w->next;
            continue;
        }
        struct node_event ev = {.kind = NODE_EV_RESULT,
                                .tag = w->tag,
                                .err = ERR_TIMEOUT,
                                .contact = w->contact,
                                .looked = node_meet_looked(n, w->slot)};

        node_result(n, &ev);
        *at = w->next;
        n->n_waiters--;
        free(w);
    }
}

uint64_t attempts_deadline(const struct node *n)
{
    uint64_t at = DEADLINE_NONE;

    for (const struct attempt *a = n->attempts; a != NULL; a = a->next) {
        if (a->conn == 0 && a->next_ms < at) {
            at = a->next_ms;
        } else if (a->late_ms < at && is_slow(n, a)) {
            at = a->late_ms;
        }
    }
    for (const struct waiter *w = n->waiters; w != NULL; w = w->next) {
        if (w->until_ms < at) {
            at = w->until_ms;
        }
    }
    return at;
}

int waiter_new(struct node *n, uint64_t tag, uint32_t slot, uint32_t contact,
               uint64_t now_ms)
{
    struct waiter *w = n->n_waiters < NODE_WAITERS_MAX ? calloc(1, sizeof(*w)) : NULL;

    if (w == NULL) {
        return n->n_waiters < NODE_WAITERS_MAX ? ERR_NOMEM : ERR_LIMIT;
    }
    w->tag = tag;
    w->slot = slot;
    w->contact = contact;
    w->until_ms = now_ms + NODE_ADD_WAIT_MS;
    w->next = n->waiters;
    n->waiters = w;
    n->n_waiters++;
    return 0;
}

/* Those who wait for the slot, or (slot 0) for the answer of the contact. */
static void finish(struct node *n, uint32_t slot, uint32_t contact, int err,
                   unsigned code)
{
    for (struct waiter **at = &n->waiters; *at != NULL;) {
        struct waiter *w = *at;

        if (w->slot != slot || (slot == 0 && w->contact != contact)) {
            at = &w->next;
            continue;
        }
        struct node_event ev = {.kind = NODE_EV_RESULT,
                                .tag = w->tag,
                                .err = err,
                                .contact = contact,
                                .close_code = code};

        node_result(n, &ev);
        *at = w->next;
        n->n_waiters--;
        free(w);
    }
}

void waiters_done(struct node *n, uint32_t slot, uint32_t contact, int err, unsigned code)
{
    if (slot != 0) {
        finish(n, slot, contact, err, code);
    }
}

void waiters_answered(struct node *n, uint32_t contact)
{
    finish(n, 0, contact, 0, 0);
}

void attempts_free(struct node *n)
{
    while (n->attempts != NULL) {
        struct attempt *a = n->attempts;

        n->attempts = a->next;
        attempt_free(n, a);
    }
    while (n->waiters != NULL) {
        struct waiter *w = n->waiters;

        n->waiters = w->next;
        free(w);
    }
}
