/* Storing at those whom a lookup has found. */
#include <stdlib.h>

#include "dht/lookup_priv.h"

static size_t store_at(struct lookup *l, size_t max, bool spare)
{
    struct set s;
    lookup_choose(l, lookup_has_answered, max, &s);
    if (!spare) {
        lookup_pass_crowd(l, lookup_has_answered, &s);
    }
    for (size_t i = 0; i < s.n; i++) {
        struct node *chosen = &l->node[s.met[i] - l->node];
        if (chosen->token != NULL && chosen->store == STORE_NONE) {
            chosen->store = chosen->has_copy ? STORE_DONE : STORE_WAITS;
            chosen->spare = spare;
        }
    }
    return s.n;
}

void lookup_store(struct lookup *l, uint64_t now_ms)
{
    l->store_end_ms = now_ms + LOOKUP_STORE_MS;
    size_t n = store_at(l, LOOKUP_K, false);
    l->stores = (uint8_t)(n > LOOKUP_K ? n : LOOKUP_K);
    (void)store_at(l, STORE_MAX, true);
}

static size_t store_count(const struct lookup *l, enum store_state state)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++) {
        n += l->node[i].store == state;
    }
    return n;
}

/* Places that need nobody else. */
static size_t settled(const struct lookup *l)
{
    return store_count(l, STORE_DONE) + store_count(l, STORE_TAKEN);
}

bool lookup_store_next(struct lookup *l, uint64_t now_ms, struct table_node *who,
                       uint16_t *slot, struct krpc_view *token)
{
    if (store_count(l, STORE_ASKED) + settled(l) >= l->stores) {
        return false;
    }
    struct node *next = NULL;
    for (size_t i = 0; i < l->n && (next == NULL || next->spare); i++) {
        struct node *node = &l->node[l->order[i]];
        bool waits = node->store == STORE_WAITS && node->not_before_ms <= now_ms;
        if (waits && (next == NULL || !node->spare)) {
            next = node;
        }
    }
    if (next == NULL) {
        return false;
    }
    next->store = STORE_ASKED;
    next->tries++;
    l->asked++;
    *who = next->n;
    *slot = lookup_slot(l, next);
    *token = (struct krpc_view){next->token, next->token_len};
    return true;
}

void lookup_store_result(struct lookup *l, uint16_t slot, enum lookup_stored result)
{
    struct node *node = lookup_node_at(l, slot);
    if (node == NULL || node->store == STORE_NONE || node->store == STORE_DONE) {
        return;
    }
    switch (result) {
    case LOOKUP_STORED:
        node->store = STORE_DONE;
        break;
    case LOOKUP_REFUSED:
        node->store = STORE_FAILED;
        break;
    case LOOKUP_TAKEN:
        node->store = STORE_TAKEN;
        break;
    case LOOKUP_SLOW:
    case LOOKUP_LOST:
        if (node->store == STORE_ASKED) {
            node->store = node->tries < LOOKUP_STORE_TRIES ? STORE_WAITS : STORE_FAILED;
        }
        break;
    }
}

bool lookup_store_confirm(struct lookup *l, uint16_t slot)
{
    struct node *node = lookup_node_at(l, slot);
    if (node == NULL || node->confirm || node->tries < LOOKUP_STORE_TRIES ||
        (node->store != STORE_ASKED && node->store != STORE_FAILED)) {
        return false;
    }
    node->confirm = true;
    node->named_seq = true;
    node->store = STORE_WAITS;
    return true;
}

bool lookup_store_confirms(const struct lookup *l, uint16_t slot)
{
    const struct node *node = lookup_node_const(l, slot);
    return node != NULL && node->confirm;
}

void lookup_named_seq(struct lookup *l, uint16_t slot)
{
    struct node *node = lookup_node_at(l, slot);
    if (node != NULL) {
        node->named_seq = true;
    }
}

bool lookup_names_seq(const struct lookup *l, uint16_t slot)
{
    const struct node *node = lookup_node_const(l, slot);
    return node != NULL && node->named_seq;
}

bool lookup_store_done(const struct lookup *l, uint64_t now_ms)
{
    if (now_ms >= l->store_end_ms || settled(l) >= l->stores) {
        return true;
    }
    return store_count(l, STORE_ASKED) + store_count(l, STORE_WAITS) == 0;
}

size_t lookup_taken(const struct lookup *l)
{
    return store_count(l, STORE_TAKEN);
}

size_t lookup_copies(const struct lookup *l)
{
    return store_count(l, STORE_DONE);
}

void lookup_has_copy(struct lookup *l, uint16_t slot)
{
    struct node *node = lookup_node_at(l, slot);
    if (node != NULL) {
        node->has_copy = true;
    }
}

void lookup_no_copies(struct lookup *l)
{
    for (size_t i = 0; i < l->n; i++) {
        l->node[i].has_copy = false;
    }
}

void lookup_count_copies(const struct lookup *l, size_t *have, size_t *lack)
{
    struct set s;
    *have = *lack = 0;
    lookup_choose(l, lookup_has_answered, LOOKUP_K, &s);
    lookup_pass_crowd(l, lookup_has_answered, &s);
    for (size_t i = 0; i < s.n; i++) {
        *have += s.met[i]->has_copy ? 1 : 0;
        *lack += s.met[i]->has_copy ? 0 : 1;
    }
}
