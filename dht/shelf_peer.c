#include <stdlib.h>
#include <string.h>

#include "base/bencode.h"
#include "base/err.h"
#include "dht/shelf_parts.h"

enum { PEERS_MIN = 2 };

struct peer {
    uint64_t at_ms; /* when it was announced */
    uint8_t ip[16];
    uint16_t port;
    uint8_t family;
    bool seed;
};

/* The peers of one hash, the oldest first. */
struct swarm {
    struct kept kept;
    struct peer *peers;
    size_t len, cap;
};

/* kept is the first member of what owns it. */
static struct swarm *swarm_at(const struct kept *k)
{
    return (struct swarm *)k;
}

static struct addr addr_of(const struct peer *p)
{
    struct addr a = {.family = p->family, .port = p->port};
    memcpy(a.ip, p->ip, sizeof a.ip);
    return a;
}

static bool is_alive(const struct peer *p, uint64_t now_ms)
{
    return p->at_ms + SHELF_PEER_TTL_MS > now_ms;
}

/* Forgets the first n peers of a hash. */
static void forget(struct shelf *s, struct swarm *w, size_t n)
{
    if (n == 0) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        struct addr a = addr_of(&w->peers[i]);
        struct source source;
        source_of(&a, &source);
        quota_drop(&s->peer_sources, &source);
    }
    w->len -= n;
    s->peers -= n;
    memmove(w->peers, w->peers + n, w->len * sizeof *w->peers);
}

static void drop(struct shelf *s, struct swarm *w)
{
    forget(s, w, w->len);
    row_remove(&s->swarms, &w->kept);
    free(w->peers);
    free(w);
}

/* Gives back memory of a hash that had many peers more. */
static void shrink(struct swarm *w)
{
    size_t cap = w->cap / 2;
    if (cap < PEERS_MIN || w->len > cap / 2) {
        return;
    }
    struct peer *peers = reallocarray(w->peers, cap, sizeof *peers);
    if (peers != NULL) {
        w->peers = peers;
        w->cap = cap;
    }
}

/* The hash ends with its last peer; till then its time is that of its oldest. */
static void settle(struct shelf *s, struct swarm *w)
{
    if (w->len == 0) {
        drop(s, w);
    } else {
        shrink(w);
        row_expire_at(&s->swarms, &w->kept, w->peers[0].at_ms + SHELF_PEER_TTL_MS);
    }
}

/* A hash without peers yet. */
static int add_swarm(struct shelf *s, const struct dht_id *hash, uint64_t now_ms,
                     struct swarm **out)
{
    if (s->swarms.len >= s->swarms.max) {
        struct kept *far = row_farther(&s->swarms, hash);
        if (far == NULL) {
            return ERR_FULL;
        }
        drop(s, swarm_at(far));
    }
    struct swarm *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return ERR_NOMEM;
    }
    w->kept.key = *hash;
    int rc = row_add(&s->swarms, &w->kept, now_ms + SHELF_PEER_TTL_MS);
    if (rc != 0) {
        free(w);
        return rc;
    }
    *out = w;
    return 0;
}

/* Makes room for one more peer of a hash: its own oldest goes when it has too many, a
 * farther hash when there are too many in all. */
static int make_room(struct shelf *s, struct swarm *w)
{
    if (w->len >= SHELF_HASH_PEERS_MAX) {
        forget(s, w, 1);
    }
    if (s->peers >= s->config.peers_max) {
        struct kept *far = row_farther(&s->swarms, &w->kept.key);
        if (far != NULL) {
            drop(s, swarm_at(far));
        } else if (w->len > 0) {
            forget(s, w, 1);
        } else {
            return ERR_FULL;
        }
    }
    if (w->len < w->cap) {
        return 0;
    }
    size_t cap = w->cap == 0 ? PEERS_MIN : 2 * w->cap;
    struct peer *peers = reallocarray(w->peers, cap, sizeof *peers);
    if (peers == NULL) {
        return ERR_NOMEM;
    }
    w->peers = peers;
    w->cap = cap;
    return 0;
}

static int add_peer(struct shelf *s, struct swarm *w, const struct peer *p)
{
    struct addr a = addr_of(p);
    struct source source;
    source_of(&a, &source);
    int rc = quota_has(&s->peer_sources, &source) ? make_room(s, w) : ERR_FULL;
    rc = rc == 0 ? quota_add(&s->peer_sources, &source) : rc;
    if (rc != 0) {
        return rc;
    }
    w->peers[w->len++] = *p;
    s->peers++;
    return 0;
}

/* The place of a peer's IP address among those of a hash, or its length. */
static size_t find(const struct swarm *w, const struct peer *p)
{
    size_t i = 0;
    while (i < w->len && (w->peers[i].family != p->family ||
                          memcmp(w->peers[i].ip, p->ip, sizeof p->ip) != 0)) {
        i++;
    }
    return i;
}

int shelf_announce(struct shelf *s, const struct dht_id *hash, const struct addr *peer,
                   bool seed, uint64_t now_ms)
{
    struct peer p = {
        .at_ms = now_ms, .port = peer->port, .family = peer->family, .seed = seed};
    int rc = 0;
    if (!addr_is_dialable(peer)) {
        return ERR_ARG;
    }
    memcpy(p.ip, peer->ip, sizeof p.ip);
    shelf_swarms_expire(s, now_ms);
    struct kept *k = row_find(&s->swarms, hash);
    struct swarm *w = k != NULL ? swarm_at(k) : NULL;
    if (w == NULL) {
        rc = add_swarm(s, hash, now_ms, &w);
        if (rc != 0) {
            return rc;
        }
    }
    size_t at = find(w, &p);
    if (at < w->len) {
        memmove(w->peers + at, w->peers + at + 1, (w->len - at - 1) * sizeof p);
        w->peers[w->len - 1] = p;
    } else {
        rc = add_peer(s, w, &p);
    }
    settle(s, w);
    return rc;
}

/* A cheap sequence for choices that need not be secret (SplitMix64). */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static bool is_wanted(const struct peer *p, unsigned family, bool noseed, uint64_t now_ms)
{
    return p->family == family && !(noseed && p->seed) && is_alive(p, now_ms);
}

static void write_peer(struct wr *w, const struct peer *p)
{
    uint8_t compact[KRPC_ADDR6_LEN];
    struct addr a = addr_of(p);
    wr_ben_str(w, compact, krpc_pack_addr(&a, compact));
}

size_t shelf_peers(const struct shelf *s, const struct dht_id *hash, unsigned family,
                   bool noseed, size_t max, uint64_t now_ms, struct wr *w)
{
    const struct kept *k = row_find(&s->swarms, hash);
    const struct swarm *swarm = k != NULL ? swarm_at(k) : NULL;
    uint64_t state = 0;
    size_t left = 0, taken = 0;
    for (size_t i = 0; swarm != NULL && i < swarm->len; i++) {
        left += is_wanted(&swarm->peers[i], family, noseed, now_ms);
    }
    if (left == 0) {
        return 0;
    }
    if (left > max) {
        env_random(s->env, &state, sizeof state);
    }
    wr_ben_list(w);
    for (size_t i = 0; i < swarm->len && taken < max; i++) {
        const struct peer *p = &swarm->peers[i];
        if (!is_wanted(p, family, noseed, now_ms)) {
            continue;
        }
        /* Each of those left has the same chance (selection sampling). */
        if (left <= max - taken || next_random(&state) % left < max - taken) {
            write_peer(w, p);
            taken++;
        }
        left--;
    }
    wr_ben_end(w);
    return taken;
}

bool shelf_scrape(const struct shelf *s, const struct dht_id *hash, uint64_t now_ms,
                  uint8_t seeds[BLOOM_LEN], uint8_t peers[BLOOM_LEN])
{
    const struct kept *k = row_find(&s->swarms, hash);
    const struct swarm *w = k != NULL ? swarm_at(k) : NULL;
    bool any = false;
    for (size_t i = 0; w != NULL && i < w->len; i++) {
        if (!is_alive(&w->peers[i], now_ms)) {
            continue;
        }
        if (!any) {
            memset(seeds, 0, BLOOM_LEN);
            memset(peers, 0, BLOOM_LEN);
            any = true;
        }
        struct addr a = addr_of(&w->peers[i]);
        bloom_add(w->peers[i].seed ? seeds : peers, &a);
    }
    return any;
}

static size_t draw(const struct shelf *s, struct dht_id out[SHELF_SAMPLES_MAX])
{
    uint64_t state = 0;
    size_t left = s->swarms.len, n = 0;
    if (left > SHELF_SAMPLES_MAX) {
        env_random(s->env, &state, sizeof state);
    }
    for (size_t i = 0; i < s->swarms.len && n < SHELF_SAMPLES_MAX; i++, left--) {
        if (next_random(&state) % left < SHELF_SAMPLES_MAX - n) {
            out[n++] = s->swarms.places[i].kept->key;
        }
    }
    return n;
}

size_t shelf_sample(struct shelf *s, uint64_t now_ms,
                    struct dht_id out[SHELF_SAMPLES_MAX])
{
    if (s->swarms.len <= SHELF_SAMPLES_MAX) {
        free(s->sample);
        s->sample = NULL;
    } else if (s->sample == NULL) {
        s->sample = calloc(1, sizeof *s->sample); /* without it each draws anew */
    }
    if (s->sample == NULL) {
        return draw(s, out);
    }
    if (now_ms >= s->sample->until_ms) {
        (void)draw(s, s->sample->ids);
        s->sample->until_ms = now_ms + (uint64_t)SHELF_SAMPLE_S * 1000;
    }
    memcpy(out, s->sample->ids, sizeof s->sample->ids);
    return SHELF_SAMPLES_MAX;
}

void shelf_swarms_expire(struct shelf *s, uint64_t now_ms)
{
    struct kept *k;
    while ((k = row_expired(&s->swarms, now_ms)) != NULL) {
        struct swarm *w = swarm_at(k);
        size_t n = 0;
        while (n < w->len && !is_alive(&w->peers[n], now_ms)) {
            n++;
        }
        forget(s, w, n);
        settle(s, w);
    }
}

void shelf_swarms_clear(struct shelf *s)
{
    while (s->swarms.len > 0) {
        drop(s, swarm_at(s->swarms.places[s->swarms.len - 1].kept));
    }
}

size_t shelf_swarms_memory(const struct shelf *s)
{
    size_t n = s->swarms.len * sizeof(struct swarm);
    for (size_t i = 0; i < s->swarms.len; i++) {
        n += swarm_at(s->swarms.places[i].kept)->cap * sizeof(struct peer);
    }
    return n;
}
