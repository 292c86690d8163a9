#include "dht/lookup_priv.h"

#include <stdlib.h>
#include <string.h>

enum {
    SUBNET4_LEN = 3,
    SUBNET6_LEN = 6,
    CROWD_MAX = 24, /* candidates closer than the closest honest one should be */
    /* A slot: the index, above it how often that place was taken anew. */
    INDEX_BITS = 6,
    GENERATIONS = 511,
    NOBODY = LOOKUP_NODES_MAX,
};
_Static_assert(1 << INDEX_BITS == LOOKUP_NODES_MAX, "an index fits exactly");
_Static_assert((GENERATIONS << INDEX_BITS) <= LOOKUP_OTHER, "the bits are apart");

struct lookup *lookup_new(const struct lookup_config *c, uint64_t now_ms)
{
    struct lookup *l = calloc(1, sizeof *l);
    if (l != NULL) {
        l->c = *c;
        l->k = LOOKUP_K;
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

uint16_t lookup_slot(const struct lookup *l, const struct node *node)
{
    return (uint16_t)(node->gen << INDEX_BITS | (node - l->node));
}

const struct node *lookup_node_const(const struct lookup *l, uint16_t slot)
{
    size_t i = slot & (LOOKUP_NODES_MAX - 1);
    return i < l->n && lookup_slot(l, &l->node[i]) == slot ? &l->node[i] : NULL;
}

/* NULL: it has made room for another. */
struct node *lookup_node_at(struct lookup *l, uint16_t slot)
{
    const struct node *node = lookup_node_const(l, slot);
    return node == NULL ? NULL : &l->node[node - l->node];
}

static bool same_subnet(const struct lookup *l, const struct addr *a,
                        const struct addr *b)
{
    size_t len = a->family == 4 ? SUBNET4_LEN : SUBNET6_LEN;
    return a->family == b->family && memcmp(a->ip, b->ip, len) == 0 &&
           !(l->c.private_too && addr_is_private(a));
}

/* ---- candidates ---- */

/* What is told proves nothing: neither a wrong address for an id nor a wrong id for an
 * address keeps away who is really there, and what one teller says of a subnet is no
 * limit to another. */
static bool is_welcome(const struct lookup *l, const struct table_node *n,
                       uint16_t teller)
{
    unsigned near = 0;
    for (size_t i = 0; i < l->n; i++) {
        const struct node *other = &l->node[i];
        bool id = dht_id_eq(&other->n.id, &n->id);
        bool addr = addr_eq(&other->n.addr, &n->addr);
        if ((id && addr) || ((id || addr) && other->state == NODE_ANSWERED)) {
            return false;
        }
        if (other->teller == teller && same_subnet(l, &other->n.addr, &n->addr)) {
            if (addr_eq_ip(&other->n.addr, &n->addr)) {
                return false; /* a table has one entry an address */
            }
            near += other->state != NODE_FAILED;
        }
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

static bool is_spent(const struct lookup *l, uint16_t teller)
{
    unsigned told = 0;
    for (size_t i = 0; i < l->n; i++) {
        told += l->node[i].teller == teller;
    }
    return teller != LOOKUP_TABLE && told >= LOOKUP_K;
}

/* The place in the order, behind place, of the farthest that a teller has named and
 * nobody has asked; or NOBODY. */
static size_t last_told(const struct lookup *l, uint16_t teller, size_t place)
{
    for (size_t i = l->n; i-- > place;) {
        const struct node *node = &l->node[l->order[i]];
        if (node->teller == teller && node->state == NODE_NEW) {
            return i;
        }
    }
    return NOBODY;
}

static bool is_idle(const struct node *node)
{
    return node->state == NODE_SLOW || node->state == NODE_FAILED ||
           node->state == NODE_MOOT || node->shut;
}

/* The place in the order of who makes room for another at place: the farthest behind it
 * that is not asked yet; of those who gave no answer the farthest, when there is none or
 * when most are of that kind; or NOBODY. */
static size_t last_needed(const struct lookup *l, size_t place)
{
    size_t idle = NOBODY, fresh = NOBODY, n_idle = 0;
    for (size_t i = 0; i < l->n; i++) {
        const struct node *node = &l->node[l->order[i]];
        if (is_idle(node)) {
            idle = i;
            n_idle++;
        } else if (node->state == NODE_NEW && i >= place) {
            fresh = i;
        }
    }
    return fresh == NOBODY || n_idle > LOOKUP_NODES_MAX / 2 ? idle : fresh;
}

/* How far an id is from the target, in units of the mean gap between honest ids. */
static double gaps(const struct lookup *l, const struct dht_id *id)
{
    return dht_id_distance(&l->c.target, id) * (double)l->c.nodes;
}

/* The same, for a candidate with this id. Where more are closer to the target than the
 * closest honest one should be than can be true, they push out one another only, not
 * those who stand behind. */
static size_t last_in_crowd(const struct lookup *l, size_t place, const struct dht_id *id)
{
    size_t fresh = NOBODY, crowd = 0;
    if (l->c.nodes == 0 || gaps(l, id) >= 1) {
        return last_needed(l, place);
    }
    while (crowd < l->n && gaps(l, &l->node[l->order[crowd]].n.id) < 1) {
        const struct node *node = &l->node[l->order[crowd]];
        fresh = node->state == NODE_NEW && crowd >= place ? crowd : fresh;
        crowd++;
    }
    return crowd < CROWD_MAX ? last_needed(l, place) : fresh;
}

/* Takes out who stands at this place of the order; his index. What he answers later is
 * nobody's: the slot has changed. */
static size_t take_out(struct lookup *l, size_t place)
{
    size_t index = l->order[place];
    struct node *gone = &l->node[index];
    memmove(l->order + place, l->order + place + 1, (size_t)l->n - place - 1);
    l->n--;
    l->asked_now = (uint8_t)(l->asked_now - (gone->state == NODE_ASKED ? 1 : 0));
    l->slow_now = (uint8_t)(l->slow_now - (gone->state == NODE_SLOW ? 1 : 0));
    free(gone->token);
    *gone = (struct node){.gen = (uint16_t)((gone->gen + 1) % GENERATIONS)};
    return index;
}

static uint8_t depth_below(const struct lookup *l, uint16_t teller)
{
    if (teller == LOOKUP_TABLE) {
        return 0;
    }
    const struct node *node =
        (teller & LOOKUP_OTHER) != 0 ? NULL : lookup_node_const(l, teller);
    return node == NULL ? 1 : (uint8_t)(node->depth + 1);
}

/* Whether somebody was asked at this address and is silent: under another id nobody is
 * there either, but who names it often would have us send there as often. */
static bool is_shut(const struct lookup *l, const struct addr *a)
{
    for (size_t i = 0; i < l->n; i++) {
        if (l->node[i].shut && addr_eq(&l->node[i].n.addr, a)) {
            return true;
        }
    }
    return false;
}

/* index: of an unused node. */
static void insert(struct lookup *l, size_t place, size_t index, const struct node *node)
{
    memmove(l->order + place + 1, l->order + place, l->n - place);
    l->order[place] = (uint8_t)index;
    l->n++;
    uint16_t gen = l->node[index].gen;
    l->node[index] = *node;
    l->node[index].gen = gen;
    l->node[index].fits = dht_id_fits(&node->n.id, &node->n.addr);
}

bool lookup_add(struct lookup *l, const struct table_node *n, uint16_t teller)
{
    if (!is_welcome(l, n, teller)) {
        return false;
    }
    size_t place = rank(l, &n->id), index = l->n;
    bool spent = is_spent(l, teller);
    struct node node = {.n = *n,
                        .depth = depth_below(l, teller),
                        .shut = is_shut(l, &n->addr),
                        .teller = teller};
    if (spent || l->n == LOOKUP_NODES_MAX) {
        size_t goes =
            spent ? last_told(l, teller, place) : last_in_crowd(l, place, &n->id);
        if (goes == NOBODY) {
            return false;
        }
        place -= goes < place ? 1 : 0;
        index = take_out(l, goes);
    }
    insert(l, place, index, &node);
    return true;
}

bool lookup_add_beside(struct lookup *l, const struct table_node *n)
{
    size_t index = l->n;
    struct node node = {.n = *n, .beside = true, .teller = LOOKUP_TABLE};
    if (!is_welcome(l, n, LOOKUP_TABLE) || is_shut(l, &n->addr)) {
        return false;
    }
    if (l->n == LOOKUP_NODES_MAX) {
        size_t goes = last_needed(l, 0);
        if (goes == NOBODY) {
            return false;
        }
        index = take_out(l, goes);
    }
    insert(l, rank(l, &n->id), index, &node);
    return true;
}

/* ---- asking ---- */

static bool shares_subnet(const struct lookup *l, const struct set *s,
                          const struct node *node)
{
    for (size_t i = 0; i < s->n; i++) {
        if (same_subnet(l, &s->met[i]->n.addr, &node->n.addr)) {
            return true;
        }
    }
    return false;
}

static bool counts(const struct lookup *l, const struct node *node)
{
    switch ((enum node_state)node->state) {
    case NODE_NEW:
        return !node->shut;
    case NODE_ASKED:
        return true;
    case NODE_ANSWERED:
        return !l->c.tokens || node->token != NULL;
    case NODE_SLOW:
    case NODE_FAILED:
    case NODE_MOOT:
        return false;
    }
    return false;
}

bool lookup_has_answered(const struct lookup *l, const struct node *node)
{
    return node->state == NODE_ANSWERED && counts(l, node);
}

/* Takes the closest for whom which() is true until there are max; at most odd of them
 * may have an id that does not fit. */
static void take(const struct lookup *l,
                 bool (*which)(const struct lookup *, const struct node *), size_t max,
                 size_t odd, bool taken[LOOKUP_NODES_MAX], struct set *s)
{
    for (size_t i = 0; i < l->n && s->n < max; i++) {
        const struct node *node = &l->node[l->order[i]];
        if (taken[i] || !which(l, node) || (!node->fits && odd == 0) ||
            shares_subnet(l, s, node)) {
            continue;
        }
        odd -= node->fits ? 0 : 1;
        taken[i] = true;
        s->met[s->n++] = node;
    }
}

/* At most max of those for whom which() is true. Who shares its subnet with a closer one
 * is passed over, and so is, while others are there, whose id does not fit its address,
 * once there are k / 2 of the kind: who chooses his ids does not choose all of k. */
void lookup_choose(const struct lookup *l,
                   bool (*which)(const struct lookup *, const struct node *), size_t max,
                   struct set *out)
{
    bool taken[LOOKUP_NODES_MAX] = {false};
    out->n = 0;
    take(l, which, max, LOOKUP_K / 2, taken, out);
    take(l, which, max, LOOKUP_NODES_MAX, taken, out);
    out->n = 0;
    for (size_t i = 0; i < l->n; i++) {
        if (taken[i]) {
            out->met[out->n++] = &l->node[l->order[i]];
        }
    }
}

/* Whether a node may be one more of those who stand as honest ids do, when there are n
 * closer ones: by chance, of a thousand targets one has n + 1 ids closer than this (the
 * quantiles of gamma distributions). The first three may stand anywhere. */
static bool is_plausible(double gaps_away, size_t n)
{
    static const double least[LOOKUP_PICKS] = {0,    0,    0,    0.43, 0.74, 1.11,
                                               1.52, 1.97, 2.45, 2.96, 3.49, 4.04,
                                               4.61, 5.20, 5.79, 6.41};
    return gaps_away >= least[n];
}

/* How many in s stand as honest ids do, if the network is `more` times as large as is
 * known. */
static size_t count_plausible(const struct lookup *l, const struct set *s, double more)
{
    size_t picks = 0;
    for (size_t i = 0; i < s->n; i++) {
        picks += is_plausible(more * gaps(l, &s->met[i]->n.id), picks) ? 1 : 0;
    }
    return picks;
}

/* Whether some in s are closer than chance allows. Readers may err on the cheap side. */
static bool is_crowd(const struct lookup *l, const struct set *s)
{
    return l->c.nodes > 0 && count_plausible(l, s, l->c.wary ? 1 : 1.25) < s->n;
}

/* When some of the closest in s are a crowd, those behind them who stand as honest ids do
 * are taken, too. */
void lookup_pass_crowd(const struct lookup *l,
                       bool (*which)(const struct lookup *, const struct node *),
                       struct set *s)
{
    if (!is_crowd(l, s)) {
        return;
    }
    const struct node *last = s->met[s->n - 1];
    size_t picks = count_plausible(l, s, 1);
    bool behind = false;
    for (size_t i = 0; i < l->n && picks < LOOKUP_PICKS && s->n < SET_MAX; i++) {
        const struct node *node = &l->node[l->order[i]];
        if (behind && which(l, node) && is_plausible(gaps(l, &node->n.id), picks) &&
            !shares_subnet(l, s, node)) {
            s->met[s->n++] = node;
            picks++;
        }
        behind = behind || node == last;
    }
}

static bool have_answered(const struct set *s)
{
    for (size_t i = 0; i < s->n; i++) {
        if (s->met[i]->state != NODE_ANSWERED) {
            return false;
        }
    }
    return true;
}

/* Those that are near: the closest, and once they have answered, which is returned, some
 * behind a crowd. */
static bool want_near(const struct lookup *l, size_t k, struct set *out)
{
    lookup_choose(l, counts, k, out);
    if (!have_answered(out)) {
        return false;
    }
    lookup_pass_crowd(l, counts, out);
    return true;
}

/* Those whose answers are wanted: once the closest have answered, those who are asked
 * beside, too. */
static void want(const struct lookup *l, size_t k, struct set *out)
{
    if (!want_near(l, k, out)) {
        return;
    }
    for (size_t i = 0; i < l->n && out->n < SET_MAX; i++) {
        const struct node *node = &l->node[l->order[i]];
        if (node->beside && counts(l, node) &&
            (node->state == NODE_NEW || node->state == NODE_ASKED)) {
            out->met[out->n++] = node;
        }
    }
}

/* Whether somebody is being asked there, under another id. */
static bool is_busy(const struct lookup *l, const struct addr *a)
{
    for (size_t i = 0; i < l->n; i++) {
        if (l->node[i].state == NODE_ASKED && addr_eq(&l->node[i].n.addr, a)) {
            return true;
        }
    }
    return false;
}

bool lookup_next(struct lookup *l, uint64_t now_ms, struct table_node *who,
                 uint16_t *slot)
{
    unsigned most = LOOKUP_ALPHA + l->slow_now;
    if (l->asked_now >= (most < LOOKUP_ALPHA_MAX ? most : LOOKUP_ALPHA_MAX) ||
        l->asked >= LOOKUP_ASKED_MAX || now_ms >= l->end_ms) {
        return false;
    }
    struct set s;
    want(l, l->k, &s);
    for (size_t i = 0; i < s.n; i++) {
        const struct node *node = s.met[i];
        if (node->state == NODE_NEW && node->not_before_ms <= now_ms &&
            !is_busy(l, &node->n.addr)) {
            *slot = lookup_slot(l, node);
            *who = node->n;
            l->node[node - l->node].state = NODE_ASKED;
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
    struct node *node = lookup_node_at(l, slot);
    if (node == NULL) {
        return;
    }
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

/* Now that it has shown who is there: whoever else was named with its id or address and
 * was not asked need not be. */
static void settle(struct lookup *l, const struct node *node)
{
    for (size_t i = 0; i < l->n; i++) {
        struct node *other = &l->node[i];
        if (other->state == NODE_NEW && (dht_id_eq(&other->n.id, &node->n.id) ||
                                         addr_eq(&other->n.addr, &node->n.addr))) {
            other->state = NODE_MOOT;
        }
    }
}

bool lookup_answered(struct lookup *l, uint16_t slot, const struct krpc_view *token)
{
    struct node *node = lookup_node_at(l, slot);
    if (node == NULL || !stop_waiting(l, node)) {
        return false;
    }
    node->state = NODE_ANSWERED;
    node->shut = false;
    settle(l, node);
    keep_token(node, token);
    return true;
}

void lookup_slow(struct lookup *l, uint16_t slot)
{
    struct node *node = lookup_node_at(l, slot);
    if (node != NULL && node->state == NODE_ASKED) {
        node->state = NODE_SLOW;
        l->asked_now--;
        l->slow_now++;
        for (size_t i = 0; i < l->n; i++) {
            l->node[i].shut =
                l->node[i].shut || addr_eq(&l->node[i].n.addr, &node->n.addr);
        }
    }
}

void lookup_lost(struct lookup *l, uint16_t slot)
{
    struct node *node = lookup_node_at(l, slot);
    if (node != NULL && stop_waiting(l, node)) {
        node->state = NODE_FAILED;
    }
}

void lookup_failed(struct lookup *l, uint16_t slot)
{
    const struct node *node = lookup_node_at(l, slot);
    lookup_lost(l, slot);
    for (size_t i = 0; node != NULL && i < l->n; i++) {
        l->node[i].shut = l->node[i].shut && !addr_eq(&l->node[i].n.addr, &node->n.addr);
    }
}

bool lookup_waits(const struct lookup *l, uint64_t now_ms)
{
    return l->asked_now > 0 && now_ms < l->end_ms;
}

bool lookup_is_near(const struct lookup *l, uint16_t slot)
{
    const struct node *node = lookup_node_const(l, slot);
    size_t nearer = 0;
    for (size_t i = 0; node != NULL && i < l->n; i++) {
        const struct node *other = &l->node[l->order[i]];
        if (other == node) {
            return nearer < LOOKUP_K;
        }
        nearer += counts(l, other) ? 1 : 0;
    }
    return false;
}

enum lookup_state lookup_state(const struct lookup *l, uint64_t now_ms)
{
    struct set s = {.n = 0};
    bool waits = false;
    want(l, l->k, &s);
    for (size_t i = 0; i < s.n; i++) {
        waits = waits || s.met[i]->state != NODE_ANSWERED;
    }
    bool out_of_queries = l->asked >= LOOKUP_ASKED_MAX && l->asked_now == 0;
    if (s.n >= l->k && !waits) {
        return LOOKUP_COMPLETE;
    }
    if (now_ms >= l->end_ms) {
        return LOOKUP_LATE;
    }
    /* With less than k who answer, the slow ones are worth waiting for. */
    return (waits && !out_of_queries) || l->slow_now > 0 ? LOOKUP_RUNNING
                                                         : LOOKUP_EXHAUSTED;
}

bool lookup_is_complete(const struct lookup *l)
{
    struct set s;
    return want_near(l, LOOKUP_K, &s) && have_answered(&s) && s.n >= LOOKUP_K;
}

bool lookup_is_crowded(const struct lookup *l)
{
    struct set s;
    lookup_choose(l, lookup_has_answered, LOOKUP_K, &s);
    return is_crowd(l, &s);
}

bool lookup_widen(struct lookup *l)
{
    bool more = l->k < STORE_MAX;
    l->k = STORE_MAX;
    return more;
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

/* Whether it has not answered, and nobody else has with its id or at its address. */
static bool is_silent(const struct lookup *l, const struct node *node)
{
    if (node->state != NODE_SLOW && node->state != NODE_FAILED) {
        return false;
    }
    for (size_t i = 0; i < l->n; i++) {
        const struct node *other = &l->node[i];
        if (other->state == NODE_ANSWERED && (dht_id_eq(&other->n.id, &node->n.id) ||
                                              addr_eq(&other->n.addr, &node->n.addr))) {
            return false;
        }
    }
    return true;
}

void lookup_count(const struct lookup *l, struct lookup_counts *out)
{
    struct set s;
    *out = (struct lookup_counts){.asked = l->asked};
    lookup_choose(l, lookup_has_answered, LOOKUP_K, &s);
    out->closest = (uint16_t)s.n;
    const struct node *last = s.n == LOOKUP_K ? s.met[s.n - 1] : NULL;
    bool nearer = true;
    for (size_t i = 0; i < l->n; i++) {
        const struct node *node = &l->node[l->order[i]];
        if (node->state == NODE_ANSWERED) {
            out->answered++;
            out->beside = (uint16_t)(out->beside + node->beside);
            out->depth = node->depth > out->depth ? node->depth : out->depth;
        }
        bool silent = is_silent(l, node);
        out->silent = (uint16_t)(out->silent + (silent ? 1 : 0));
        out->silent_near = (uint16_t)(out->silent_near + (silent && nearer ? 1 : 0));
        nearer = nearer && node != last;
    }
}

uint8_t lookup_depth(const struct lookup *l, uint16_t slot)
{
    const struct node *node = lookup_node_const(l, slot);
    return node == NULL ? 0 : node->depth;
}

size_t lookup_closest(const struct lookup *l, struct table_node *out, size_t max)
{
    struct set s;
    lookup_choose(l, lookup_has_answered, max < STORE_MAX ? max : STORE_MAX, &s);
    for (size_t i = 0; i < s.n; i++) {
        out[i] = s.met[i]->n;
    }
    return s.n;
}
