/* LAN discovery, receiving: whose beacon it is, and who is there. */
#include "lan.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "lan_internal.h"

enum {
    REF_KEY = 8,             /* key of by_ref: kind and ref */
    SOURCE_KEY = ADDR_WIRE6, /* key of by_source: its wire address */
    NONCES_CAP_MIN = 8,
    SOURCES_PER_WATCH = 2,
    RETRY_MS = 1000, /* a LAN_GONE that found no room */
};

struct lan *lan_new(const struct env *env)
{
    struct lan *l = calloc(1, sizeof *l);
    if (l == NULL) {
        return NULL;
    }
    l->env = env;
    l->next_ms = DEADLINE_NONE;
    l->sweep.next_ms = DEADLINE_NONE;
    env_random(env, l->hash_seed, sizeof l->hash_seed);
    map_init(&l->by_ref, env, REF_KEY, LAN_WATCH_MAX);
    map_init(&l->by_source, env, SOURCE_KEY, (size_t)LAN_WATCH_MAX * SOURCES_PER_WATCH);
    deadlines_init(&l->timers, LAN_WATCH_MAX);
    return l;
}

/* ---- watches ---- */

static void ref_key(uint8_t out[REF_KEY], enum lan_kind kind, uint32_t ref)
{
    struct wr w = wr_init(out, REF_KEY);
    wr_u32(&w, (uint32_t)kind);
    wr_u32(&w, ref);
}

static struct lan_watch *find(const struct lan *l, enum lan_kind kind, uint32_t ref)
{
    uint8_t key[REF_KEY];
    ref_key(key, kind, ref);
    return map_get(&l->by_ref, key);
}

static void source_key(uint8_t out[SOURCE_KEY], const struct addr *a)
{
    memset(out, 0, SOURCE_KEY);
    (void)addr_to_wire(a, out, SOURCE_KEY);
}

static struct addr *last_source(struct lan_watch *w, uint8_t family)
{
    return &w->sources[family == 4 ? 0 : 1];
}

static void forget_source(struct lan *l, struct lan_watch *w, uint8_t family)
{
    struct addr *a = last_source(w, family);
    uint8_t key[SOURCE_KEY];
    source_key(key, a);
    if (a->family != 0 && map_get(&l->by_source, key) == w) {
        (void)map_del(&l->by_source, key);
    }
    *a = (struct addr){0};
}

/* Two that send from one place take turns in the map; it is only a short cut. */
static void learn_source(struct lan *l, struct lan_watch *w, const struct addr *a)
{
    uint8_t key[SOURCE_KEY];
    source_key(key, a);
    if (map_get(&l->by_source, key) != w) {
        forget_source(l, w, a->family);
        (void)map_del(&l->by_source, key);
        (void)map_put(&l->by_source, key, w);
    }
    *last_source(w, a->family) = *a;
}

static void free_keys(struct lan_watch *w)
{
    if (w->keys != NULL) {
        sodium_memzero(w->keys, w->n_keys * sizeof *w->keys);
        free(w->keys);
        w->lan->n_keys -= w->n_keys;
    }
    w->keys = NULL;
    w->n_keys = 0;
}

static void watch_free(struct lan_watch *w)
{
    deadlines_remove(&w->lan->timers, &w->timer);
    forget_source(w->lan, w, 4);
    forget_source(w->lan, w, 6);
    free_keys(w);
    free(w->nonces);
    free(w);
}

void lan_free(struct lan *l)
{
    if (l == NULL) {
        return;
    }
    for (size_t i = 0; i < l->n_watches; i++) {
        watch_free(l->watches[i]);
    }
    free(l->watches);
    map_release(&l->by_ref);
    map_release(&l->by_source);
    deadlines_release(&l->timers);
    if (l->alternates != NULL) {
        sodium_memzero(l->alternates, l->n_alternates * sizeof *l->alternates);
        free(l->alternates);
    }
    free(l->outs);
    sodium_memzero(l, sizeof *l);
    free(l);
}

static struct lan_watch *watch_new(struct lan *l, enum lan_kind kind, uint32_t ref)
{
    if (l->n_watches == l->cap_watches) {
        size_t cap = l->cap_watches == 0 ? 16 : 2 * l->cap_watches;
        struct lan_watch **v = realloc(l->watches, cap * sizeof(*v));
        if (v == NULL) {
            return NULL;
        }
        l->watches = v;
        l->cap_watches = cap;
    }
    struct lan_watch *w = calloc(1, sizeof *w);
    uint8_t key[REF_KEY];
    ref_key(key, kind, ref);
    if (w == NULL || map_put(&l->by_ref, key, w) != 0) {
        free(w);
        return NULL;
    }
    w->lan = l;
    w->kind = kind;
    w->ref = ref;
    w->timer.owner = w;
    w->index = l->n_watches;
    l->watches[l->n_watches++] = w;
    return w;
}

int lan_watch(struct lan *l, enum lan_kind kind, uint32_t ref, const uint8_t (*keys)[32],
              size_t n, uint64_t now_ms)
{
    struct lan_watch *w = find(l, kind, ref);
    if (n == 0 || n > LAN_WATCH_KEYS || (w == NULL && l->n_watches == LAN_WATCH_MAX)) {
        return ERR_LIMIT;
    }
    uint8_t(*copy)[32] = malloc(n * sizeof *copy);
    if (copy == NULL) {
        return ERR_NOMEM;
    }
    bool is_new = w == NULL;
    w = is_new ? watch_new(l, kind, ref) : w;
    if (w == NULL) {
        free(copy);
        return ERR_NOMEM;
    }
    free_keys(w);
    memcpy(copy, keys, n * sizeof *copy);
    w->keys = copy;
    w->n_keys = n;
    l->n_keys += n;
    if (is_new && (kind == LAN_ADDING || kind == LAN_NETWORK)) {
        int rc = deadlines_set(&l->timers, &w->timer, now_ms);
        if (rc != 0) {
            lan_unwatch(l, kind, ref);
            return rc;
        }
        lan_sweep_start(l, now_ms);
    }
    return 0;
}

void lan_unwatch(struct lan *l, enum lan_kind kind, uint32_t ref)
{
    uint8_t key[REF_KEY];
    ref_key(key, kind, ref);
    struct lan_watch *w = map_del(&l->by_ref, key);
    if (w == NULL) {
        return;
    }
    l->network = w == l->network ? NULL : l->network;
    l->watches[w->index] = l->watches[--l->n_watches];
    l->watches[w->index]->index = w->index;
    watch_free(w);
}

int lan_set_network(struct lan *l, const uint8_t key[32],
                    const uint8_t member[NETKEY_MEMBER], uint64_t now_ms)
{
    uint8_t keys[1][32];
    memcpy(l->member, member, NETKEY_MEMBER);
    memcpy(keys[0], key, sizeof keys[0]);
    int rc = lan_watch(l, LAN_NETWORK, 0, (const uint8_t(*)[32])keys, 1, now_ms);
    sodium_memzero(keys, sizeof keys);
    if (rc == 0) {
        l->network = find(l, LAN_NETWORK, 0);
    }
    return rc;
}

void lan_answer_member(struct lan *l, const struct addr *source)
{
    if (l->network != NULL && l->has_main) {
        lan_send_unicast(l, l->network->keys[0], 0, source);
    }
}

const struct lan_watch *lan_contact(const struct lan *l, uint32_t ref)
{
    return find(l, LAN_CONTACT, ref);
}

bool lan_is_seen(const struct lan *l, uint32_t ref)
{
    const struct lan_watch *w = lan_contact(l, ref);
    return w != NULL && w->seen;
}

/* ---- limits ---- */

static const struct bucket_rate source_rate = {LAN_SOURCE_BURST, LAN_SOURCE_PER_S, 1000};
static const struct bucket_rate checks_rate = {LAN_CHECKS_BURST, LAN_CHECKS_PER_S, 1000};
static const struct bucket_rate watch_rate = {LAN_WATCH_BURST, LAN_WATCH_PER_S, 1000};
static const struct bucket_rate network_rate = {LAN_NETWORK_BURST, LAN_NETWORK_PER_S,
                                                1000};

static uint64_t hash64(const struct lan *l, const void *p, size_t n)
{
    uint64_t h;
    static_assert(sizeof h == crypto_shorthash_BYTES, "a hash fits");
    static_assert(sizeof l->hash_seed == crypto_shorthash_KEYBYTES, "the key fits");
    (void)crypto_shorthash((uint8_t *)&h, p, n, l->hash_seed);
    return h;
}

void lan_source_key(const struct lan *l, const struct addr *a,
                    uint8_t key[LAN_SOURCE_KEY])
{
    static_assert(1 + sizeof a->ip <= LAN_SOURCE_KEY, "an address fits");
    static_assert((size_t)ADDR_SOURCE_LEN <= LAN_SOURCE_KEY, "a prefix fits");
    memset(key, 0, LAN_SOURCE_KEY);
    if (lan_is_neighbour(l, a)) {
        key[0] = a->family;
        memcpy(key + 1, a->ip, sizeof a->ip);
    } else {
        addr_source_key(a, key);
    }
}

static struct bucket *source_bucket(struct lan *l, const struct addr *a)
{
    uint8_t key[LAN_SOURCE_KEY];
    lan_source_key(l, a, key);
    return &l->sources[hash64(l, key, sizeof key) % LAN_SOURCES];
}

/* ---- nonces ---- */

static bool nonce_known(const struct lan_watch *w, uint64_t hash, uint64_t now_ms)
{
    for (size_t i = 0; i < w->n_nonces; i++) {
        const struct lan_nonce *n = &w->nonces[i];
        if (n->hash == hash && now_ms - n->at_ms < LAN_NONCE_MS) {
            return true;
        }
    }
    return false;
}

/* The ring grows only while its oldest is still of the last hour. */
static int nonce_add(struct lan_watch *w, uint64_t hash, uint64_t now_ms)
{
    struct lan_nonce n = {hash, now_ms};
    bool full = w->n_nonces == w->cap_nonces;
    bool needed = full && (w->cap_nonces == 0 ||
                           now_ms - w->nonces[w->nonce_pos].at_ms < LAN_NONCE_MS);
    if (needed && w->cap_nonces < LAN_NONCES_MAX) {
        size_t cap = w->cap_nonces == 0 ? NONCES_CAP_MIN : 2 * w->cap_nonces;
        struct lan_nonce *v = malloc(cap * sizeof *v);
        if (v == NULL) {
            return ERR_NOMEM;
        }
        for (size_t i = 0; i < w->n_nonces; i++) {
            v[i] = w->nonces[(w->nonce_pos + i) % w->n_nonces];
        }
        free(w->nonces);
        w->nonces = v;
        w->cap_nonces = cap;
        w->nonce_pos = 0;
        full = false;
    }
    if (full) {
        w->nonces[w->nonce_pos] = n;
        w->nonce_pos = (w->nonce_pos + 1) % w->cap_nonces;
    } else {
        w->nonces[w->n_nonces++] = n;
    }
    return 0;
}

/* ---- receiving ---- */

static struct lan_event *event_push(struct lan *l)
{
    if (l->events_len == LAN_EVENTS_MAX) {
        return NULL;
    }
    return &l->events[(l->events_head + l->events_len++) % LAN_EVENTS_MAX];
}

bool lan_next_event(struct lan *l, struct lan_event *e)
{
    if (l->events_len == 0) {
        return false;
    }
    *e = l->events[l->events_head];
    l->events_head = (l->events_head + 1) % LAN_EVENTS_MAX;
    l->events_len--;
    return true;
}

/* Whether a beacon with these flags means something under a key of that kind. */
static bool flags_fit(enum lan_kind kind, uint8_t flags)
{
    uint8_t way = flags & (BEACON_FLAG_ADD | BEACON_FLAG_REPLY);
    switch (kind) {
    case LAN_CONTACT:
    case LAN_NETWORK:
        return way == 0;
    case LAN_INVITE:
        return way == BEACON_FLAG_ADD;
    case LAN_ADDING:
        return way == BEACON_FLAG_REPLY;
    }
    return false;
}

static bool matches(const struct lan_watch *w, const struct addr *source,
                    const uint8_t *p, size_t len, struct wire_beacon *b, uint8_t *key)
{
    for (size_t i = 0; i < w->n_keys; i++) {
        if (wire_beacon_get(p, len, w->keys[i], source, b) &&
            flags_fit(w->kind, b->flags)) {
            *key = (uint8_t)i;
            return true;
        }
    }
    return false;
}

/* The one whose beacon it is, within the limits. 0, ERR_LIMIT, ERR_AUTH. */
static int recognise(struct lan *l, const struct addr *source, const uint8_t *p,
                     size_t len, uint64_t now_ms, struct lan_watch **out,
                     struct wire_beacon *b, uint8_t *key)
{
    uint8_t from[SOURCE_KEY];
    source_key(from, source);
    struct lan_watch *w = map_get(&l->by_source, from);
    if (w != NULL && matches(w, source, p, len, b, key)) {
        *out = w;
        return 0;
    }
    if (!bucket_take(source_bucket(l, source), &source_rate, 1, now_ms) ||
        !bucket_take(&l->checks, &checks_rate, l->n_keys, now_ms)) {
        return ERR_LIMIT;
    }
    if (l->network != NULL && matches(l->network, source, p, len, b, key)) {
        *out = l->network;
        return 0;
    }
    for (size_t i = 0; i < l->n_watches; i++) {
        if (matches(l->watches[i], source, p, len, b, key)) {
            *out = l->watches[i];
            return 0;
        }
    }
    return ERR_AUTH;
}

/* A fresh beacon of w: tells it, and answers who asks with an invite. */
static void seen(struct lan *l, struct lan_watch *w, const struct addr *source,
                 const struct wire_beacon *b, struct lan_event *e)
{
    e->type = LAN_SEEN;
    e->kind = w->kind;
    e->ref = w->ref;
    e->addr = *source;
    e->addr.port = b->port;
    e->presence = b->presence;
    e->flags = b->flags;
    e->source = *source;
    if (w->kind == LAN_NETWORK) { /* one key of many members: no place is its own */
        memcpy(e->member, b->member, sizeof e->member);
        return;
    }
    const struct addr *last = last_source(w, source->family);
    e->first = w->kind == LAN_CONTACT ? !w->seen : last->family == 0;
    e->changed = e->first || !addr_eq(last, source) || w->presence != b->presence;
    learn_source(l, w, source);
    w->presence = b->presence;
    if (w->kind == LAN_CONTACT) {
        w->seen = true;
    }
    if (w->kind == LAN_INVITE) {
        lan_send_unicast(l, w->keys[e->key], BEACON_FLAG_REPLY, source);
    }
}

/* w said good-bye. */
static void left(struct lan *l, struct lan_watch *w)
{
    deadlines_remove(&l->timers, &w->timer);
    w->heard_ms = w->deaf_ms = 0;
    if (w->seen) {
        w->seen = false;
        *event_push(l) = (struct lan_event){
            .type = LAN_GONE,
            .kind = w->kind,
            .ref = w->ref,
        };
    }
}

int lan_recv(struct lan *l, const struct addr *source, const uint8_t *p, size_t len,
             uint64_t now_ms)
{
    if (len != WIRE_BEACON || !addr_is_dialable(source) ||
        (source->port == l->udp_port && lan_is_own(l, source))) {
        return ERR_FORMAT;
    }
    struct lan_watch *w;
    struct wire_beacon b;
    uint8_t key;
    l->now_ms = now_ms;
    int rc = recognise(l, source, p, len, now_ms, &w, &b, &key);
    if (rc != 0) {
        return rc;
    }
    uint64_t nonce = hash64(l, b.nonce, sizeof b.nonce);
    if (nonce_known(w, nonce, now_ms)) {
        return ERR_STALE;
    }
    if (b.port == 0) {
        return ERR_FORMAT;
    }
    if (l->events_len == LAN_EVENTS_MAX ||
        !bucket_take(&w->bucket, w->kind == LAN_NETWORK ? &network_rate : &watch_rate, 1,
                     now_ms)) {
        return ERR_LIMIT;
    }
    rc = nonce_add(w, nonce, now_ms);
    if (rc == 0 && w->kind == LAN_CONTACT) {
        rc = deadlines_set(&l->timers, &w->timer, now_ms + LAN_GONE_MS);
    }
    if (rc != 0) {
        return rc;
    }
    if (w->kind == LAN_CONTACT && (b.flags & BEACON_FLAG_LEAVE) != 0) {
        left(l, w);
        return 0;
    }
    if ((b.flags & BEACON_FLAG_ALONE) == 0) {
        w->heard_ms = now_ms;
    } else if ((b.flags & BEACON_FLAG_DEAF) != 0) {
        w->deaf_ms = now_ms;
    }
    struct lan_event *e = event_push(l);
    *e = (struct lan_event){.key = key};
    seen(l, w, source, &b, e);
    return 0;
}

/* ---- time ---- */

static void timer_fired(struct lan *l, struct lan_watch *w, uint64_t now_ms)
{
    switch (w->kind) {
    case LAN_CONTACT: {
        struct lan_event *e = event_push(l);
        if (e == NULL) {
            (void)deadlines_set(&l->timers, &w->timer, now_ms + RETRY_MS);
            return;
        }
        *e = (struct lan_event){.type = LAN_GONE, .kind = w->kind, .ref = w->ref};
        w->seen = false;
        return;
    }
    case LAN_ADDING:
        lan_send_adding(l, w, now_ms);
        return;
    case LAN_NETWORK:
        lan_send_network(l, w, now_ms);
        return;
    case LAN_INVITE:
        return;
    }
}

void lan_tick(struct lan *l, uint64_t now_ms)
{
    struct deadline *d;
    l->now_ms = now_ms;
    while ((d = deadlines_pop(&l->timers, now_ms)) != NULL) {
        timer_fired(l, d->owner, now_ms);
    }
    lan_send_tick(l, now_ms);
}

uint64_t lan_deadline(const struct lan *l)
{
    uint64_t at = deadlines_next(&l->timers);
    at = l->next_ms < at ? l->next_ms : at;
    return l->sweep.next_ms < at ? l->sweep.next_ms : at;
}
