#include "network.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/bucket.h"
#include "base/deadline.h"
#include "base/err.h"
#include "base/map.h"

enum { HOUR_MS = 3600000, JITTER = 4 /* a quarter of a delay */ };

static const struct bucket_rate all_rate = {NETWORK_NEW_BURST, NETWORK_NEW_HOUR, HOUR_MS};
static const struct bucket_rate source_rate = {NETWORK_NEW_SOURCE, NETWORK_NEW_SOURCE,
                                               HOUR_MS};
static const struct bucket_rate told_rate = {NETWORK_TOLD_BURST, NETWORK_TOLD_PER_S,
                                             1000};

/* A member that we do not know yet. */
struct member {
    uint8_t name[NETKEY_MEMBER];
    uint8_t source[NETWORK_SOURCE_KEY];
    struct addr addrs[NETWORK_ADDRS]; /* newest first */
    size_t n_addrs, next_addr;
    uint32_t ref, conn; /* conn: dialled now */
    bool dialling, told;
    unsigned tries, busy;
    uint64_t next_ms;     /* when to dial, or to give the dial up */
    uint64_t answered_ms; /* 0: never */
};

struct network {
    const struct env *env;
    uint8_t key[NETKEY];
    uint8_t own[NETKEY_MEMBER];
    struct map known; /* short names */
    struct member **v;
    size_t n, cap, n_dials;
    uint32_t last_ref;
    uint64_t next_ms, now_ms;
    struct bucket all, told, sources[NETWORK_SOURCES];
    uint8_t hash_seed[crypto_shorthash_KEYBYTES];
};

struct network *network_new(const struct env *env, const uint8_t key[NETKEY],
                            const uint8_t own[32])
{
    struct network *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return NULL;
    }
    w->env = env;
    w->next_ms = DEADLINE_NONE;
    memcpy(w->key, key, sizeof w->key);
    netkey_member(key, own, w->own);
    env_random(env, w->hash_seed, sizeof w->hash_seed);
    map_init(&w->known, env, NETKEY_MEMBER, NETWORK_KNOWN_MAX);
    return w;
}

void network_free(struct network *w)
{
    if (w == NULL) {
        return;
    }
    for (size_t i = 0; i < w->n; i++) {
        free(w->v[i]);
    }
    free(w->v);
    map_release(&w->known);
    sodium_memzero(w, sizeof *w);
    free(w);
}

const uint8_t *network_member(const struct network *w)
{
    return w->own;
}

/* ---- the list ---- */

static struct member *find(const struct network *w, const uint8_t name[NETKEY_MEMBER])
{
    for (size_t i = 0; i < w->n; i++) {
        if (memcmp(w->v[i]->name, name, NETKEY_MEMBER) == 0) {
            return w->v[i];
        }
    }
    return NULL;
}

static void drop(struct network *w, struct member *m)
{
    for (size_t i = 0; i < w->n; i++) {
        if (w->v[i] == m) {
            w->v[i] = w->v[--w->n];
            break;
        }
    }
    w->n_dials -= m->dialling;
    free(m);
}

static void due(struct network *w, struct member *m, uint64_t at_ms)
{
    m->next_ms = at_ms;
    w->next_ms = at_ms < w->next_ms ? at_ms : w->next_ms;
}

static uint64_t spread(const struct network *w, uint64_t ms)
{
    return ms + env_uniform(w->env, (uint32_t)(ms / JITTER) + 1);
}

/* NULL: there are too many, or no memory. */
static struct member *add(struct network *w, const uint8_t name[NETKEY_MEMBER],
                          const uint8_t source[NETWORK_SOURCE_KEY])
{
    size_t same = 0;
    for (size_t i = 0; i < w->n; i++) {
        same += memcmp(w->v[i]->source, source, NETWORK_SOURCE_KEY) == 0;
    }
    if (w->n == NETWORK_MEMBERS_MAX || same >= NETWORK_SOURCE_MAX) {
        return NULL;
    }
    if (w->n == w->cap) {
        size_t cap = w->cap == 0 ? 16 : 2 * w->cap;
        struct member **v = realloc(w->v, cap * sizeof(*v));
        if (v == NULL) {
            return NULL;
        }
        w->v = v;
        w->cap = cap;
    }
    struct member *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return NULL;
    }
    memcpy(m->name, name, NETKEY_MEMBER);
    memcpy(m->source, source, NETWORK_SOURCE_KEY);
    m->ref = ++w->last_ref;
    w->v[w->n++] = m;
    return m;
}

/* The newest first; true when it is another one than before. */
static bool note_addr(struct member *m, const struct addr *a)
{
    size_t i = 0;
    while (i < m->n_addrs && !addr_eq(&m->addrs[i], a)) {
        i++;
    }
    bool fresh = i == m->n_addrs;
    if (fresh && m->n_addrs < NETWORK_ADDRS) {
        m->n_addrs++;
    }
    i = i < NETWORK_ADDRS ? i : NETWORK_ADDRS - 1;
    memmove(&m->addrs[1], &m->addrs[0], i * sizeof m->addrs[0]);
    m->addrs[0] = *a;
    return fresh;
}

int network_know(struct network *w, const uint8_t device[32])
{
    static char there;
    uint8_t name[NETKEY_MEMBER];
    netkey_member(w->key, device, name);
    struct member *m = find(w, name);
    if (m != NULL && !m->dialling) {
        drop(w, m);
    }
    int rc = map_put(&w->known, name, &there);
    return rc == ERR_EXISTS ? 0 : rc;
}

static bool is_known(const struct network *w, const uint8_t name[NETKEY_MEMBER])
{
    return map_get(&w->known, name) != NULL || memcmp(name, w->own, NETKEY_MEMBER) == 0;
}

/* ---- who is named ---- */

/* Whether it is ours to dial first. */
static bool we_dial(const struct network *w, const uint8_t name[NETKEY_MEMBER])
{
    return memcmp(w->own, name, NETKEY_MEMBER) < 0;
}

static struct member *named(struct network *w, const uint8_t name[NETKEY_MEMBER],
                            const struct addr *at,
                            const uint8_t source[NETWORK_SOURCE_KEY], bool told,
                            uint64_t now_ms)
{
    if (is_known(w, name) || !addr_is_dialable(at)) {
        return NULL;
    }
    struct member *m = find(w, name);
    bool fresh = m == NULL;
    m = fresh ? add(w, name, source) : m;
    if (m == NULL) {
        return NULL;
    }
    m->told = told && (fresh || m->told);
    bool moved = note_addr(m, at);
    if (fresh) {
        uint64_t wait = we_dial(w, name) ? 0 : NETWORK_LATE_MS;
        due(w, m, now_ms + wait + env_uniform(w->env, NETWORK_SPREAD_MS));
    } else if (moved && !m->dialling && m->tries > 0) {
        m->next_addr = 0;
        due(w, m, now_ms + env_uniform(w->env, NETWORK_SPREAD_MS));
    }
    return m;
}

bool network_heard(struct network *w, const uint8_t member[NETKEY_MEMBER],
                   const struct addr *at, const uint8_t source[NETWORK_SOURCE_KEY],
                   uint64_t now_ms)
{
    struct member *m = named(w, member, at, source, false, now_ms);
    if (m == NULL || we_dial(w, member) ||
        (m->answered_ms != 0 && now_ms - m->answered_ms < NETWORK_ANSWER_MS)) {
        return false;
    }
    m->answered_ms = now_ms > 0 ? now_ms : 1;
    return true;
}

void network_told(struct network *w, const uint8_t device[32], const struct addr *at,
                  const uint8_t source[NETWORK_SOURCE_KEY], uint64_t now_ms)
{
    uint8_t name[NETKEY_MEMBER];
    netkey_member(w->key, device, name);
    (void)named(w, name, at, source, true, now_ms);
}

bool network_names(const struct network *w, const struct addr *a)
{
    for (size_t i = 0; i < w->n; i++) {
        for (size_t k = 0; k < w->v[i]->n_addrs; k++) {
            if (addr_eq_ip(&w->v[i]->addrs[k], a)) {
                return true;
            }
        }
    }
    return false;
}

bool network_admit(struct network *w, const uint8_t source[NETWORK_SOURCE_KEY],
                   uint64_t now_ms)
{
    uint64_t h;
    (void)crypto_shorthash((uint8_t *)&h, source, NETWORK_SOURCE_KEY, w->hash_seed);
    struct bucket *b = &w->sources[h % NETWORK_SOURCES];
    return bucket_has(&w->all, &all_rate, 1, now_ms) &&
           bucket_take(b, &source_rate, 1, now_ms) &&
           bucket_take(&w->all, &all_rate, 1, now_ms);
}

/* ---- dialling ---- */

void network_tick(struct network *w, uint64_t now_ms)
{
    w->now_ms = now_ms;
}

/* The next that is due, the one that waits longest first; NULL: none. Sets when to look
 * again. */
static struct member *next_due(struct network *w)
{
    struct member *best = NULL;
    uint64_t later = DEADLINE_NONE;
    for (size_t i = 0; i < w->n; i++) {
        struct member *m = w->v[i];
        bool now =
            m->next_ms <= w->now_ms && (m->dialling || w->n_dials < NETWORK_DIALS_MAX);
        if (now && (best == NULL || m->next_ms < best->next_ms)) {
            best = m;
        } else if (m->next_ms > w->now_ms && m->next_ms < later) {
            later = m->next_ms;
        }
    }
    w->next_ms = best != NULL ? w->now_ms : later;
    return best;
}

bool network_next_out(struct network *w, struct network_out *out)
{
    struct member *m;
    while (w->next_ms <= w->now_ms && (m = next_due(w)) != NULL) {
        if (m->dialling) {
            *out = (struct network_out){.give_up = true, .conn = m->conn};
            due(w, m, w->now_ms + NETWORK_DIAL_MS); /* its end will be told */
            return true;
        }
        if (m->told && !bucket_take(&w->told, &told_rate, 1, w->now_ms)) {
            due(w, m, w->now_ms + 1000 / NETWORK_TOLD_PER_S);
            continue;
        }
        m->next_addr = m->next_addr < m->n_addrs ? m->next_addr : 0;
        *out = (struct network_out){.ref = m->ref, .addr = m->addrs[m->next_addr++]};
        m->dialling = true;
        m->conn = 0;
        w->n_dials++;
        due(w, m, w->now_ms + NETWORK_DIAL_MS);
        return true;
    }
    return false;
}

static uint64_t backoff(unsigned times, uint64_t most)
{
    uint64_t wait = NETWORK_RETRY_MIN_MS;
    for (unsigned i = 1; i < times && wait < most; i++) {
        wait *= 2;
    }
    return wait < most ? wait : most;
}

static void failed(struct network *w, struct member *m, enum network_end end,
                   uint64_t now_ms)
{
    m->dialling = false;
    m->conn = 0;
    w->n_dials--;
    w->next_ms = now_ms < w->next_ms ? now_ms : w->next_ms; /* another may go */
    if (is_known(w, m->name) ||
        (end == NETWORK_FAILED && ++m->tries == NETWORK_TRIES_MAX)) {
        drop(w, m);
        return;
    }
    uint64_t wait = 0;
    switch (end) {
    case NETWORK_FAILED:
        wait = backoff(m->tries, NETWORK_RETRY_MAX_MS);
        break;
    case NETWORK_BUSY:
        wait = backoff(++m->busy, NETWORK_BUSY_MAX_MS);
        break;
    case NETWORK_REFUSED:
        wait = NETWORK_REFUSED_MS;
        break;
    }
    due(w, m, now_ms + spread(w, wait));
}

void network_dialling(struct network *w, uint32_t ref, uint32_t conn, uint64_t now_ms)
{
    for (size_t i = 0; i < w->n; i++) {
        struct member *m = w->v[i];
        if (m->ref == ref && m->dialling && m->conn == 0) {
            m->conn = conn;
            if (conn == 0) {
                failed(w, m, NETWORK_BUSY, now_ms);
            }
            return;
        }
    }
}

void network_over(struct network *w, uint32_t conn, enum network_end end, uint64_t now_ms)
{
    for (size_t i = 0; i < w->n; i++) {
        if (w->v[i]->dialling && w->v[i]->conn == conn) {
            failed(w, w->v[i], end, now_ms);
            return;
        }
    }
}

uint64_t network_deadline(const struct network *w)
{
    return w->next_ms;
}

size_t network_count(const struct network *w)
{
    return w->n;
}
