#include "dht/lookup.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { SUBNET4_LEN = 3, SUBNET6_LEN = 6, STORE_MAX = LOOKUP_K + LOOKUP_SPARES };

enum node_state {
    NODE_NEW,
    NODE_ASKED,
    NODE_SLOW,
    NODE_ANSWERED,
    NODE_FAILED,
};

enum store_state {
    STORE_NONE, /* not one of those to store at */
    STORE_WAITS,
    STORE_ASKED,
    STORE_DONE,
    STORE_FAILED,
};

struct node {
    struct table_node n;
    uint8_t state, store; /* enum node_state, store_state */
    uint8_t depth, tries, token_len;
    bool has_copy;
    uint8_t *token; /* ours; NULL: none */
    uint64_t not_before_ms;
};

struct lookup {
    struct lookup_config c;
    uint64_t end_ms, store_end_ms;
    struct node node[LOOKUP_NODES_MAX]; /* the index is the slot */
    uint8_t order[LOOKUP_NODES_MAX];    /* slots, the closest first */
    uint8_t n;
    uint8_t asked_now, slow_now;
    uint16_t asked;
};

struct lookup *lookup_new(const struct lookup_config *c, uint64_t now_ms)
{
    struct lookup *l = calloc(1, sizeof *l);
    if (l != NULL) {
        l->c = *c;
        l->end_ms = now_ms + LOOKUP_MS;
    }
    return l;
}

void lookup_free(struct lookup *l)
{
    if (l == NULL) {
        return;
    }
    for (size_t i = 0; i < l->n; i++) {
        free(l->node[i].token);
    }
    free(l);
}

size_t lookup_memory(void)
{
    return sizeof(struct lookup);
}

static struct node *node_at(struct lookup *l, uint16_t slot)
{
    assert(slot < l->n);
    return &l->node[slot];
}

static bool same_subnet(const struct lookup *l, const struct addr *a,
                        const struct addr *b)
{
    size_t len = a->family == 4 ? SUBNET4_LEN : SUBNET6_LEN;
    return a->family == b->family && memcmp(a->ip, b->ip, len) == 0 &&
           !(l->c.private_too && addr_is_private(a));
}

/* ---- candidates ---- */

static bool is_welcome(const struct lookup *l, const struct table_node *n)
{
    unsigned near = 0;
    for (size_t i = 0; i < l->n; i++) {
        const struct node *other = &l->node[i];
        if (dht_id_eq(&other->n.id, &n->id) || addr_eq(&other->n.addr, &n->addr)) {
            return false;
        }
        near += other->state != NODE_FAILED && same_subnet(l, &other->n.addr, &n->addr);
    }
    return near < LOOKUP_SUBNET_MAX;
}

/* Where in the order an id belongs. */
static size_t rank(const struct lookup *l, const struct dht_id *id)
{
    size_t i = l->n;
    while (i > 0 && dht_id_cmp(&l->c.target, id, &l->node[l->order[i - 1]].n.id) < 0) {
        i--;
    }
    return i;
}

/* Takes the farthest that nobody waits for out of the order, when it stands behind place;
 * its slot, or LOOKUP_NODES_MAX. */
static size_t make_room(struct lookup *l, size_t place)
{
    for (size_t i = l->n; i-- > place;) {
        size_t slot = l->order[i];
        struct node *gone = &l->node[slot];
        if (gone->state == NODE_NEW || gone->state == NODE_FAILED) {
            memmove(l->order + i, l->order + i + 1, (size_t)l->n - i - 1);
            free(gone->token);
            return slot;
        }
    }
    return LOOKUP_NODES_MAX;
}

bool lookup_add(struct lookup *l, const struct table_node *n, uint16_t teller)
{
    if (!is_welcome(l, n)) {
        return false;
    }
    size_t place = rank(l, &n->id), slot = l->n;
    if (l->n == LOOKUP_NODES_MAX) {
        slot = make_room(l, place);
        if (slot == LOOKUP_NODES_MAX) {
            return false;
        }
        l->n--;
    }
    memmove(l->order + place + 1, l->order + place, l->n - place);
    l->order[place] = (uint8_t)slot;
    l->n++;
    uint8_t depth = teller == LOOKUP_TABLE ? 0 : (uint8_t)(node_at(l, teller)->depth + 1);
    l->node[slot] = (struct node){.n = *n, .depth = depth};
    return true;
}

/* ---- asking ---- */

/* A walk over the candidates that may count among the closest k: who has failed, is slow,
 * or has answered without the token that is wanted is passed over, and so is who shares
 * its subnet with a closer one. */
struct walk {
    const struct node *met[STORE_MAX];
    size_t i, n;
};

static bool shares_subnet(const struct lookup *l, const struct walk *w,
                          const struct node *node)
{
    for (size_t i = 0; i < w->n; i++) {
        if (same_subnet(l, &w->met[i]->n.addr, &node->n.addr)) {
            return true;
        }
    }
    return false;
}

static bool counts(const struct lookup *l, const struct node *node)
{
    switch ((enum node_state)node->state) {
    case NODE_NEW:
    case NODE_ASKED:
        return true;
    case NODE_ANSWERED:
        return !l->c.tokens || node->token != NULL;
    case NODE_SLOW:
    case NODE_FAILED:
        return false;
    }
    return false;
}

static const struct node *walk_next(const struct lookup *l, struct walk *w)
{
    while (w->i < l->n && w->n < LOOKUP_K) {
        const struct node *node = &l->node[l->order[w->i++]];
        if (counts(l, node) && !shares_subnet(l, w, node)) {
            w->met[w->n++] = node;
            return node;
        }
    }
    return NULL;
}

bool lookup_next(struct lookup *l, uint64_t now_ms, struct table_node *who,
                 uint16_t *slot)
{
    unsigned most = LOOKUP_ALPHA + l->slow_now;
    if (l->asked_now >= (most < LOOKUP_ALPHA_MAX ? most : LOOKUP_ALPHA_MAX) ||
        l->asked >= LOOKUP_ASKED_MAX || now_ms >= l->end_ms) {
        return false;
    }
    struct walk w = {.i = 0};
    const struct node *node;
    while ((node = walk_next(l, &w)) != NULL) {
        if (node->state == NODE_NEW && node->not_before_ms <= now_ms) {
            *slot = (uint16_t)(node - l->node);
            *who = node->n;
            l->node[*slot].state = NODE_ASKED;
            l->asked_now++;
            l->asked++;
            return true;
        }
    }
    return false;
}

/* Leaves the state in which an answer is waited for. False: it was not in one. */
static bool stop_waiting(struct lookup *l, struct node *node)
{
    if (node->state == NODE_ASKED) {
        l->asked_now--;
        return true;
    }
    if (node->state == NODE_SLOW) {
        l->slow_now--;
        return true;
    }
    return false;
}

void lookup_postpone(struct lookup *l, uint16_t slot, uint64_t at_ms)
{
    struct node *node = node_at(l, slot);
    if (node->store == STORE_ASKED) {
        node->store = STORE_WAITS;
        node->tries--;
    } else if (stop_waiting(l, node)) {
        node->state = NODE_NEW;
    } else {
        return;
    }
    node->not_before_ms = at_ms;
    l->asked--;
}

static void keep_token(struct node *node, const struct krpc_view *token)
{
    if (token == NULL || token->n == 0 || token->n > KRPC_TOKEN_MAX) {
        return;
    }
    node->token = malloc(token->n);
    if (node->token != NULL) {
        memcpy(node->token, token->p, token->n);
        node->token_len = (uint8_t)token->n;
    }
}

bool lookup_answered(struct lookup *l, uint16_t slot, const struct krpc_view *token)
{
    struct node *node = node_at(l, slot);
    if (!stop_waiting(l, node)) {
        return false;
    }
    node->state = NODE_ANSWERED;
    keep_token(node, token);
    return true;
}

void lookup_slow(struct lookup *l, uint16_t slot)
{
    struct node *node = node_at(l, slot);
    if (node->state == NODE_ASKED) {
        node->state = NODE_SLOW;
        l->asked_now--;
        l->slow_now++;
    }
}

void lookup_failed(struct lookup *l, uint16_t slot)
{
    struct node *node = node_at(l, slot);
    if (stop_waiting(l, node)) {
        node->state = NODE_FAILED;
    }
}

enum lookup_state lookup_state(const struct lookup *l, uint64_t now_ms)
{
    struct walk w = {.i = 0};
    const struct node *node;
    bool waits = false;
    while ((node = walk_next(l, &w)) != NULL) {
        waits = waits || node->state != NODE_ANSWERED;
    }
    bool out_of_queries = l->asked >= LOOKUP_ASKED_MAX && l->asked_now == 0;
    if (w.n == LOOKUP_K && !waits) {
        return LOOKUP_COMPLETE;
    }
    if (now_ms >= l->end_ms) {
        return LOOKUP_LATE;
    }
    /* With less than k who answer, the slow ones are worth waiting for. */
    return (waits && !out_of_queries) || l->slow_now > 0 ? LOOKUP_RUNNING
                                                         : LOOKUP_EXHAUSTED;
}

uint64_t lookup_deadline(const struct lookup *l, uint64_t now_ms)
{
    uint64_t at = l->store_end_ms != 0 ? l->store_end_ms : l->end_ms;
    for (size_t i = 0; i < l->n; i++) {
        const struct node *node = &l->node[i];
        bool waits = node->state == NODE_NEW || node->store == STORE_WAITS;
        if (waits && node->not_before_ms > now_ms && node->not_before_ms < at) {
            at = node->not_before_ms;
        }
    }
    return at;
}

void lookup_count(const struct lookup *l, struct lookup_counts *out)
{
    *out = (struct lookup_counts){.asked = l->asked};
    for (size_t i = 0; i < l->n; i++) {
        const struct node *node = &l->node[i];
        if (node->state == NODE_ANSWERED) {
            out->answered++;
            out->depth = node->depth > out->depth ? node->depth : out->depth;
        }
        if (node->state == NODE_SLOW || node->state == NODE_FAILED) {
            out->silent++;
        }
    }
    struct walk w = {.i = 0};
    const struct node *node;
    while ((node = walk_next(l, &w)) != NULL) {
        if (node->state == NODE_ANSWERED) {
            out->closest++;
        }
    }
}

uint8_t lookup_depth(const struct lookup *l, uint16_t slot)
{
    assert(slot < l->n);
    return l->node[slot].depth;
}

/* The next in the order that has answered as wanted; subnets count as in walk_next(). */
static const struct node *answered_next(const struct lookup *l, struct walk *w)
{
    while (w->i < l->n && w->n < STORE_MAX) {
        const struct node *node = &l->node[l->order[w->i++]];
        if (node->state == NODE_ANSWERED && counts(l, node) &&
            !shares_subnet(l, w, node)) {
            w->met[w->n++] = node;
            return node;
        }
    }
    return NULL;
}

size_t lookup_closest(const struct lookup *l, struct table_node *out, size_t max)
{
    struct walk w = {.i = 0};
    const struct node *node;
    size_t n = 0;
    while (n < max && (node = answered_next(l, &w)) != NULL) {
        out[n++] = node->n;
    }
    return n;
}

/* ---- storing ---- */

void lookup_store(struct lookup *l, uint64_t now_ms)
{
    struct walk w = {.i = 0};
    const struct node *node;
    l->store_end_ms = now_ms + LOOKUP_STORE_MS;
    while ((node = answered_next(l, &w)) != NULL) {
        if (node->token != NULL) {
            struct node *chosen = &l->node[node - l->node];
            chosen->store = chosen->has_copy ? STORE_DONE : STORE_WAITS;
        }
    }
}

static size_t store_count(const struct lookup *l, enum store_state state)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++) {
        n += l->node[i].store == state;
    }
    return n;
}

bool lookup_store_next(struct lookup *l, uint64_t now_ms, struct table_node *who,
                       uint16_t *slot, struct krpc_view *token)
{
    if (store_count(l, STORE_ASKED) + store_count(l, STORE_DONE) >= LOOKUP_K) {
        return false;
    }
    for (size_t i = 0; i < l->n; i++) {
        struct node *node = &l->node[l->order[i]];
        if (node->store == STORE_WAITS && node->not_before_ms <= now_ms) {
            node->store = STORE_ASKED;
            node->tries++;
            l->asked++;
            *who = node->n;
            *slot = l->order[i];
            *token = (struct krpc_view){node->token, node->token_len};
            return true;
        }
    }
    return false;
}

void lookup_store_result(struct lookup *l, uint16_t slot, enum lookup_stored result)
{
    struct node *node = node_at(l, slot);
    if (node->store == STORE_NONE || node->store == STORE_DONE) {
        return;
    }
    switch (result) {
    case LOOKUP_STORED:
        node->store = STORE_DONE;
        break;
    case LOOKUP_REFUSED:
        node->store = STORE_FAILED;
        break;
    case LOOKUP_SLOW:
    case LOOKUP_LOST:
        if (node->store == STORE_ASKED) {
            node->store = node->tries < LOOKUP_STORE_TRIES ? STORE_WAITS : STORE_FAILED;
        }
        break;
    }
}

bool lookup_store_done(const struct lookup *l, uint64_t now_ms)
{
    if (now_ms >= l->store_end_ms || store_count(l, STORE_DONE) >= LOOKUP_K) {
        return true;
    }
    return store_count(l, STORE_ASKED) + store_count(l, STORE_WAITS) == 0;
}

size_t lookup_copies(const struct lookup *l)
{
    return store_count(l, STORE_DONE);
}

void lookup_has_copy(struct lookup *l, uint16_t slot)
{
    node_at(l, slot)->has_copy = true;
}

void lookup_no_copies(struct lookup *l)
{
    for (size_t i = 0; i < l->n; i++) {
        l->node[i].has_copy = false;
    }
}

void lookup_count_copies(const struct lookup *l, size_t *have, size_t *lack)
{
    struct walk w = {.i = 0};
    const struct node *node;
    *have = *lack = 0;
    while (w.n < LOOKUP_K && (node = answered_next(l, &w)) != NULL) {
        *have += node->has_copy ? 1 : 0;
        *lack += node->has_copy ? 0 : 1;
    }
}
