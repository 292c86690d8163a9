#include "dht/table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    PLACES_STEP = 8,  /* by how many places a bucket grows */
    CHECK_STEPS = 96, /* entries that one step of the walk looks at: all of a few nodes */
    IP4_LEN = 4,
    IP6_LEN = 16,
    SUBNET4_LEN = 3,
    SUBNET6_LEN = 6,
};

/* An entry. They stand one behind the other in arrays, each t->stride bytes long: ip has
 * 4 or 16 bytes. */
struct entry {
    struct dht_id id;
    uint32_t seen_s;  /* when it was last heard of; 0: it never answered */
    uint32_t asked_s; /* when it was last named by table_next_check() */
    uint16_t port, rtt_ms;
    uint8_t fails;
    bool fits; /* BEP 42 */
    uint8_t ip[];
};

struct bucket {
    uint8_t *place, *spare; /* entries */
    uint32_t changed_s;     /* when a node of it has answered */
    uint32_t wanted_s;      /* when nodes for it were last asked for */
    uint8_t n, n_spare, cap;
    bool grew; /* since then */
};

enum { DEPTH_MARGIN = 4 }; /* buckets below the one in which the last node should be */

struct table {
    struct dht_id self;
    struct table_config c;
    struct bucket *buckets;
    uint8_t n_buckets; /* that exist: up to the deepest that ever had a node */
    uint16_t count;    /* nodes in places */
    uint16_t stride;
    uint16_t walk_bucket, walk_at; /* of table_next_check() */
    uint64_t expected;             /* nodes of the network */
};

static size_t ip_len(const struct table *t)
{
    return t->c.family == 4 ? IP4_LEN : IP6_LEN;
}

static uint32_t seconds(uint64_t now_ms)
{
    return (uint32_t)(now_ms / 1000) + 1; /* 0 is never */
}

static struct entry *at(const struct table *t, uint8_t *array, size_t i)
{
    return (struct entry *)(void *)(array + i * t->stride);
}

static uint32_t good_s(const struct table *t)
{
    return t->c.narrow ? TABLE_LEAF_GOOD_S : TABLE_GOOD_S;
}

static size_t places_max(const struct table *t, unsigned bucket)
{
    return t->c.narrow || bucket >= TABLE_WIDE ? (size_t)TABLE_K
                                               : (size_t)TABLE_WIDE_MAX >> bucket;
}

struct table *table_new(const struct dht_id *self, const struct table_config *c)
{
    assert(c->family == 4 || c->family == 6);
    struct table *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return NULL;
    }
    t->self = *self;
    t->c = *c;
    size_t align = _Alignof(struct entry);
    size_t size = offsetof(struct entry, ip) + ip_len(t);
    t->stride = (uint16_t)((size + align - 1) / align * align);
    return t;
}

static void release_buckets(struct table *t)
{
    for (unsigned i = 0; i < t->n_buckets; i++) {
        free(t->buckets[i].place);
        free(t->buckets[i].spare);
    }
    free(t->buckets);
}

void table_free(struct table *t)
{
    if (t != NULL) {
        release_buckets(t);
        free(t);
    }
}

/* ---- entries ---- */

static void entry_addr(const struct table *t, const struct entry *e, struct addr *out)
{
    *out = (struct addr){.family = t->c.family, .port = e->port};
    memcpy(out->ip, e->ip, ip_len(t));
}

static void entry_node(const struct table *t, const struct entry *e,
                       struct table_node *out)
{
    out->id = e->id;
    entry_addr(t, e, &out->addr);
    out->rtt_ms = e->rtt_ms;
    out->fails = e->fails;
    out->answered = e->seen_s != 0;
}

static bool same_ip(const struct table *t, const struct entry *e, const struct addr *a)
{
    /* The first four bytes, all there is of IPv4, decide nearly always. */
    return memcmp(e->ip, a->ip, IP4_LEN) == 0 &&
           (t->c.family == 4 || memcmp(e->ip, a->ip, IP6_LEN) == 0);
}

static bool is_crowded(const struct table *t, const struct addr *a)
{
    return t->c.private_too && addr_is_private(a);
}

/* Some bytes of an id that differ even between neighbours. */
static uint32_t id_tail(const struct dht_id *id)
{
    uint32_t v;
    memcpy(&v, id->b + DHT_ID_LEN / 2, sizeof v);
    return v;
}

static struct entry *find_in(const struct table *t, uint8_t *array, size_t n,
                             const struct dht_id *id)
{
    uint32_t tail = id_tail(id);
    for (size_t i = 0; i < n; i++) {
        struct entry *e = at(t, array, i);
        if (id_tail(&e->id) == tail && dht_id_eq(&e->id, id)) {
            return e;
        }
    }
    return NULL;
}

static struct bucket *bucket_of(const struct table *t, const struct dht_id *id)
{
    unsigned i = dht_id_shared(&t->self, id);
    return i < t->n_buckets ? &t->buckets[i] : NULL;
}

/* The same, and the buckets down to it are made; NULL: no memory, or our own id, or
 * zero, which stands for no id. */
static struct bucket *make_bucket(struct table *t, const struct dht_id *id)
{
    unsigned i = dht_id_shared(&t->self, id);
    if (i >= DHT_ID_BITS || dht_id_is_zero(id)) {
        return NULL;
    }
    if (i >= t->n_buckets) {
        struct bucket *b = reallocarray(t->buckets, i + 1, sizeof *b);
        if (b == NULL) {
            return NULL;
        }
        memset(b + t->n_buckets, 0, (i + 1 - t->n_buckets) * sizeof *b);
        t->buckets = b;
        t->n_buckets = (uint8_t)(i + 1);
    }
    return &t->buckets[i];
}

static void take_out(const struct table *t, uint8_t *array, uint8_t *n,
                     const struct entry *e)
{
    uint8_t *gap = array + ((size_t)((const uint8_t *)e - array));
    size_t behind = (size_t)(array + *n * (size_t)t->stride - gap) - t->stride;
    memmove(gap, gap + t->stride, behind);
    (*n)--;
}

static void drop_place(struct table *t, struct bucket *b, const struct entry *e)
{
    take_out(t, b->place, &b->n, e);
    t->count--;
}

/* ---- who may stand here ---- */

static unsigned in_subnet(const struct table *t, uint8_t *array, size_t n,
                          const struct addr *a, const struct dht_id *but)
{
    size_t len = t->c.family == 4 ? SUBNET4_LEN : SUBNET6_LEN;
    unsigned found = 0;
    for (size_t i = 0; i < n; i++) {
        const struct entry *e = at(t, array, i);
        found += memcmp(e->ip, a->ip, len) == 0 && !dht_id_eq(&e->id, but);
    }
    return found;
}

/* Whether a node of this address may join b: `but`, who may be there already, apart. */
static bool subnet_allows(const struct table *t, const struct bucket *b,
                          const struct addr *a, const struct dht_id *but)
{
    return is_crowded(t, a) || in_subnet(t, b->place, b->n, a, but) +
                                       in_subnet(t, b->spare, b->n_spare, a, but) <
                                   TABLE_SUBNET_MAX;
}

/* Another entry with this address, in any place. */
static struct entry *find_addr(const struct table *t, const struct addr *a,
                               struct bucket **where)
{
    bool with_port = is_crowded(t, a);
    for (unsigned i = 0; i < t->n_buckets; i++) {
        struct bucket *b = &t->buckets[i];
        for (size_t j = 0; j < b->n; j++) {
            struct entry *e = at(t, b->place, j);
            if (same_ip(t, e, a) && (!with_port || e->port == a->port)) {
                *where = b;
                return e;
            }
        }
    }
    return NULL;
}

/* Makes the address free for a node that has answered under it: its entry under an older
 * id goes, and so does one at another port that owes an answer. */
static bool free_addr(struct table *t, const struct addr *a)
{
    struct bucket *b;
    const struct entry *e = find_addr(t, a, &b);
    if (e == NULL) {
        return true;
    }
    if (e->port != a->port && e->fails == 0) {
        return false;
    }
    drop_place(t, b, e);
    return true;
}

/* ---- adding ---- */

static void entry_set(const struct table *t, struct entry *e, const struct dht_id *id,
                      const struct addr *a)
{
    memset(e, 0, t->stride);
    e->id = *id;
    e->port = a->port;
    memcpy(e->ip, a->ip, ip_len(t));
    e->fits = dht_id_fits(id, a);
}

static bool reserve_place(struct table *t, struct bucket *b)
{
    if (b->n < b->cap) {
        return true;
    }
    size_t cap = b->cap + (size_t)PLACES_STEP;
    uint8_t *p = reallocarray(b->place, cap, t->stride);
    if (p == NULL) {
        return false;
    }
    b->place = p;
    b->cap = (uint8_t)cap;
    return true;
}

static bool has_room(const struct table *t, const struct bucket *b)
{
    return b->n < places_max(t, (unsigned)(b - t->buckets)) &&
           (t->c.max == 0 || t->count < t->c.max);
}

/* A place for a node that has answered: an empty one, or that of a node that has left
 * queries unanswered, or whose id does not fit where the new one's does. NULL: none. */
static struct entry *find_place(struct table *t, struct bucket *b, bool fits)
{
    if (has_room(t, b)) {
        if (!reserve_place(t, b)) {
            return NULL;
        }
        t->count++;
        return at(t, b->place, b->n++);
    }
    struct entry *worst = NULL;
    for (size_t i = 0; i < b->n; i++) {
        struct entry *e = at(t, b->place, i);
        bool bad = e->fails >= TABLE_FAILS_REPLACE;
        if (!bad && (e->fits || !fits)) {
            continue;
        }
        if (worst == NULL || e->fails > worst->fails ||
            (e->fails == worst->fails && e->seen_s < worst->seen_s)) {
            worst = e;
        }
    }
    return worst;
}

/* A place among the spares: an empty one, or that of the hearsay, or (for who has
 * answered) of the node, that waits longest. */
static struct entry *find_spare(const struct table *t, struct bucket *b, bool answered)
{
    if (b->spare == NULL) {
        b->spare = calloc(TABLE_SPARES, t->stride);
        if (b->spare == NULL) {
            return NULL;
        }
    }
    if (b->n_spare < TABLE_SPARES) {
        return at(t, b->spare, b->n_spare++);
    }
    struct entry *oldest = NULL;
    for (size_t i = 0; i < b->n_spare; i++) {
        struct entry *e = at(t, b->spare, i);
        if (answered && (oldest == NULL || e->seen_s < oldest->seen_s)) {
            oldest = e;
        }
    }
    return oldest;
}

static void note_rtt(struct entry *e, uint32_t rtt_ms)
{
    uint32_t rtt = rtt_ms < UINT16_MAX ? rtt_ms : UINT16_MAX;
    rtt = rtt == TABLE_RTT_NONE ? 1 : rtt;
    e->rtt_ms =
        (uint16_t)(e->rtt_ms == TABLE_RTT_NONE ? rtt : (e->rtt_ms * 7u + rtt) / 8);
}

static void note_answer(struct bucket *b, struct entry *e, uint32_t rtt_ms,
                        uint64_t now_ms)
{
    e->seen_s = seconds(now_ms);
    e->fails = 0;
    note_rtt(e, rtt_ms);
    b->changed_s = e->seen_s;
}

/* A node that has no place yet has answered. */
static bool join(struct table *t, struct bucket *b, const struct dht_id *id,
                 const struct addr *a, uint32_t rtt_ms, uint64_t now_ms)
{
    const struct entry *waits = find_in(t, b->spare, b->n_spare, id);
    uint16_t rtt_before = waits != NULL && same_ip(t, waits, a) ? waits->rtt_ms : 0;
    if (waits != NULL) {
        take_out(t, b->spare, &b->n_spare, waits);
    }
    if (!subnet_allows(t, b, a, id) || !free_addr(t, a)) {
        return false;
    }
    struct entry *e = find_place(t, b, dht_id_fits(id, a));
    bool placed = e != NULL;
    if (!placed) {
        e = find_spare(t, b, true);
    }
    if (e == NULL) {
        return false;
    }
    entry_set(t, e, id, a);
    e->rtt_ms = rtt_before;
    b->grew = b->grew || placed;
    note_answer(b, e, rtt_ms, now_ms);
    return placed;
}

bool table_answered(struct table *t, const struct dht_id *id, const struct addr *a,
                    uint32_t rtt_ms, uint64_t now_ms)
{
    struct bucket *b = a->family == t->c.family ? make_bucket(t, id) : NULL;
    if (b == NULL) {
        return false;
    }
    struct entry *e = find_in(t, b->place, b->n, id);
    if (e == NULL) {
        return join(t, b, id, a, rtt_ms, now_ms);
    }
    if (!same_ip(t, e, a) || e->port != a->port) {
        /* It has moved, or two share an id: the first one stays while it answers. */
        if (e->fails == 0) {
            return false;
        }
        drop_place(t, b, e);
        return join(t, b, id, a, rtt_ms, now_ms);
    }
    note_answer(b, e, rtt_ms, now_ms);
    return true;
}

static void add_hearsay(struct table *t, struct bucket *b, const struct dht_id *id,
                        const struct addr *a)
{
    struct bucket *other;
    if (find_in(t, b->spare, b->n_spare, id) != NULL || !subnet_allows(t, b, a, id) ||
        find_addr(t, a, &other) != NULL) {
        return;
    }
    struct entry *e = find_spare(t, b, false);
    if (e != NULL) {
        entry_set(t, e, id, a);
    }
}

void table_heard(struct table *t, const struct dht_id *id, const struct addr *a)
{
    struct bucket *b = a->family == t->c.family ? make_bucket(t, id) : NULL;
    if (b != NULL && b->n_spare < TABLE_SPARES && has_room(t, b) &&
        find_in(t, b->place, b->n, id) == NULL) {
        add_hearsay(t, b, id, a);
    }
}

/* Of the hearsay that waits for its answer the one that was asked first makes room: when
 * it answers, it finds a place all the same. */
static void drop_asked(const struct table *t, struct bucket *b)
{
    const struct entry *first = NULL;
    for (size_t i = 0; i < b->n_spare; i++) {
        const struct entry *e = at(t, b->spare, i);
        if (e->seen_s == 0 && e->asked_s != 0 &&
            (first == NULL || e->asked_s < first->asked_s)) {
            first = e;
        }
    }
    if (first != NULL) {
        take_out(t, b->spare, &b->n_spare, first);
    }
}

void table_queried(struct table *t, const struct dht_id *id, const struct addr *a,
                   uint64_t now_ms)
{
    struct bucket *b = a->family == t->c.family ? make_bucket(t, id) : NULL;
    if (b == NULL) {
        return;
    }
    struct entry *e = find_in(t, b->place, b->n, id);
    if (e == NULL) {
        if (b->n_spare == TABLE_SPARES && find_in(t, b->spare, b->n_spare, id) == NULL) {
            drop_asked(t, b);
        }
        table_heard(t, id, a);
    } else if (same_ip(t, e, a) && e->port == a->port && e->fails == 0) {
        e->seen_s = seconds(now_ms); /* BEP 5: it has answered once, and it is there */
    }
}

/* Whether the address of a spare is not that of a node in a place, but for the one whose
 * place it would take: it may have answered with another id since. */
static bool may_replace(const struct table *t, const struct entry *spare,
                        const struct entry *old)
{
    struct addr a;
    struct bucket *where;
    entry_addr(t, spare, &a);
    const struct entry *other = find_addr(t, &a, &where);
    return other == NULL || other == old;
}

/* The spare that was heard of last, of those that have answered, to take old's place. */
static struct entry *best_spare(const struct table *t, const struct bucket *b,
                                const struct entry *old)
{
    struct entry *best = NULL;
    for (size_t i = 0; i < b->n_spare; i++) {
        struct entry *e = at(t, b->spare, i);
        if (e->seen_s != 0 && e->fails == 0 &&
            (best == NULL || e->seen_s > best->seen_s) && may_replace(t, e, old)) {
            best = e;
        }
    }
    return best;
}

void table_nameless(struct table *t, const struct dht_id *id, const struct addr *a)
{
    struct bucket *b = a->family == t->c.family ? bucket_of(t, id) : NULL;
    const struct entry *e = b == NULL ? NULL : find_in(t, b->spare, b->n_spare, id);
    if (e != NULL && e->seen_s == 0 && same_ip(t, e, a)) {
        take_out(t, b->spare, &b->n_spare, e);
    }
}

void table_failed(struct table *t, const struct dht_id *id, const struct addr *a)
{
    struct bucket *b = bucket_of(t, id);
    if (b == NULL || a->family != t->c.family) {
        return;
    }
    struct entry *e = find_in(t, b->spare, b->n_spare, id);
    if (e != NULL && same_ip(t, e, a)) {
        take_out(t, b->spare, &b->n_spare, e);
        return;
    }
    e = find_in(t, b->place, b->n, id);
    if (e == NULL || !same_ip(t, e, a) || e->port != a->port) {
        return;
    }
    if (e->fails < TABLE_FAILS_DROP) {
        e->fails++;
    }
    struct entry *spare = e->fails < TABLE_FAILS_REPLACE ? NULL : best_spare(t, b, e);
    if (spare != NULL) {
        memcpy(e, spare, t->stride);
        take_out(t, b->spare, &b->n_spare, spare);
    } else if (e->fails >= TABLE_FAILS_DROP) {
        drop_place(t, b, e);
    }
}

bool table_has(const struct table *t, const struct dht_id *id, const struct addr *a)
{
    const struct bucket *b = bucket_of(t, id);
    if (b == NULL || a->family != t->c.family) {
        return false;
    }
    const struct entry *e = find_in(t, b->place, b->n, id);
    return e != NULL && e->fails == 0 && e->port == a->port && same_ip(t, e, a);
}

/* Puts the entries of an old bucket where they belong now. */
static void move_bucket(struct table *t, struct bucket *old)
{
    for (size_t i = 0; i < old->n; i++) {
        const struct entry *e = at(t, old->place, i);
        struct bucket *b = make_bucket(t, &e->id);
        if (b == NULL || !has_room(t, b) || !reserve_place(t, b)) {
            continue;
        }
        memcpy(at(t, b->place, b->n++), e, t->stride);
        b->changed_s = b->changed_s > e->seen_s ? b->changed_s : e->seen_s;
        t->count++;
    }
}

void table_set_self(struct table *t, const struct dht_id *self)
{
    struct table old = *t;
    t->self = *self;
    t->buckets = NULL;
    t->n_buckets = 0;
    t->count = t->walk_bucket = t->walk_at = 0;
    for (unsigned i = 0; i < old.n_buckets; i++) {
        move_bucket(t, &old.buckets[i]);
    }
    release_buckets(&old);
}

void table_limit(struct table *t, bool narrow, uint16_t max)
{
    const struct dht_id self = t->self;
    if (t->c.narrow != narrow || t->c.max != max) {
        t->c.narrow = narrow;
        t->c.max = max;
        table_set_self(t, &self);
    }
}

/* ---- the closest ---- */

/* The first 8 bytes of the distance, as a number. */
static uint64_t near_key(const struct dht_id *a, const struct dht_id *b)
{
    uint64_t x, y;
    memcpy(&x, a->b, sizeof x);
    memcpy(&y, b->b, sizeof y);
    return __builtin_bswap64(x ^ y);
}

enum { CLOSEST_MAX = 64 };

/* The closest found so far in one bucket, sorted. */
struct best {
    const struct dht_id *target;
    const struct entry *e[CLOSEST_MAX];
    uint64_t key[CLOSEST_MAX];
    size_t n, max;
};

static bool closer(const struct best *best, const struct entry *e, uint64_t key, size_t i)
{
    return key != best->key[i] ? key < best->key[i]
                               : dht_id_cmp(best->target, &e->id, &best->e[i]->id) < 0;
}

static void best_add(struct best *best, const struct entry *e)
{
    uint64_t key = near_key(best->target, &e->id);
    if (best->n == best->max && !closer(best, e, key, best->n - 1)) {
        return;
    }
    size_t i = best->n < best->max ? best->n++ : best->n - 1;
    for (; i > 0 && closer(best, e, key, i - 1); i--) {
        best->e[i] = best->e[i - 1];
        best->key[i] = best->key[i - 1];
    }
    best->e[i] = e;
    best->key[i] = key;
}

/* Adds the closest of one bucket to out; returns the new number. */
static size_t closest_in(const struct table *t, unsigned bucket,
                         const struct dht_id *target, struct table_node *out, size_t n,
                         size_t max)
{
    const struct bucket *b = &t->buckets[bucket];
    struct best best;
    best.target = target;
    best.n = 0;
    best.max = max - n;
    for (size_t i = 0; i < b->n; i++) {
        const struct entry *e = at(t, b->place, i);
        if (e->fails == 0) {
            best_add(&best, e);
        }
    }
    for (size_t i = 0; i < best.n; i++) {
        entry_node(t, best.e[i], &out[n++]);
    }
    return n;
}

/* Where target and our own id differ in bit i, the nodes of bucket i are closer to target
 * than all of deeper buckets; where they agree, farther. So the buckets come in this
 * order: those of bits that differ, going down, then the others, going up. */
size_t table_closest(const struct table *t, const struct dht_id *target,
                     struct table_node *out, size_t max)
{
    size_t n = 0;
    max = max < CLOSEST_MAX ? max : CLOSEST_MAX;
    for (unsigned i = 0; i < t->n_buckets && n < max; i++) {
        if (dht_id_bit(&t->self, i) != dht_id_bit(target, i)) {
            n = closest_in(t, i, target, out, n, max);
        }
    }
    for (unsigned i = t->n_buckets; i-- > 0 && n < max;) {
        if (dht_id_bit(&t->self, i) == dht_id_bit(target, i)) {
            n = closest_in(t, i, target, out, n, max);
        }
    }
    return n;
}

/* ---- upkeep ---- */

/* A spare to ask, when its bucket has room. */
static struct entry *check_spare(const struct table *t, struct bucket *b, uint32_t now_s)
{
    for (size_t i = 0; i < b->n_spare && has_room(t, b); i++) {
        struct entry *e = at(t, b->spare, i);
        if (e->asked_s == 0 || now_s - e->asked_s >= good_s(t)) {
            return e;
        }
    }
    return NULL;
}

static struct entry *check_place(const struct table *t, const struct bucket *b,
                                 uint16_t at_place, uint32_t now_s)
{
    struct entry *e = at(t, b->place, at_place);
    bool due = now_s - e->seen_s >= good_s(t) || e->fails > 0;
    /* Who has just been asked and owes the answer is asked again after a while. */
    bool asked = e->asked_s != 0 && now_s - e->asked_s < TABLE_AGAIN_S;
    return due && !asked ? e : NULL;
}

bool table_next_check(struct table *t, uint64_t now_ms, struct table_node *out)
{
    uint32_t now_s = seconds(now_ms);
    struct entry *e = NULL;
    for (int steps = 0; e == NULL && steps < CHECK_STEPS && t->n_buckets > 0; steps++) {
        if (t->walk_bucket >= t->n_buckets) {
            t->walk_bucket = t->walk_at = 0;
        }
        struct bucket *b = &t->buckets[t->walk_bucket];
        if (t->walk_at == 0) {
            e = check_spare(t, b, now_s);
        }
        if (e == NULL && t->walk_at < b->n) {
            e = check_place(t, b, t->walk_at++, now_s);
        } else if (e == NULL) {
            t->walk_bucket++;
            t->walk_at = 0;
        }
    }
    if (e == NULL) {
        return false;
    }
    e->asked_s = now_s;
    entry_node(t, e, out);
    return true;
}

/* The bucket from which on down there are less than k nodes: a lookup of our own id finds
 * all of them, unless there are no others. */
static unsigned near_bucket(const struct table *t)
{
    unsigned i = t->n_buckets, n = 0;
    while (t->count >= TABLE_K && i > 0 && n + t->buckets[i - 1].n < TABLE_K) {
        n += t->buckets[--i].n;
    }
    return i;
}

void table_expect(struct table *t, uint64_t nodes)
{
    t->expected = nodes;
}

/* The end of the buckets in which nodes are looked for. */
static unsigned wanted_end(const struct table *t)
{
    uint64_t nodes = t->expected > t->count ? t->expected : t->count;
    unsigned end = near_bucket(t), deepest = DEPTH_MARGIN;
    for (; nodes > 1; nodes /= 2) {
        deepest++;
    }
    return end < deepest ? end : deepest;
}

bool table_next_refresh(struct table *t, const struct env *env, uint64_t now_ms,
                        struct dht_id *target)
{
    uint32_t now_s = seconds(now_ms);
    unsigned end = wanted_end(t);
    for (unsigned i = 0; i < end; i++) {
        struct bucket *b = &t->buckets[i];
        if (has_room(t, b) && now_s - b->changed_s >= good_s(t)) {
            b->changed_s = now_s;
            dht_id_random_near(env, &t->self, i, target);
            return true;
        }
    }
    return false;
}

bool table_next_wanted(struct table *t, const struct env *env, uint64_t now_ms,
                       struct dht_id *target)
{
    uint32_t now_s = seconds(now_ms);
    unsigned end = wanted_end(t);
    for (unsigned i = 0; i < end; i++) {
        struct bucket *b = &t->buckets[i];
        bool turn = b->grew || b->wanted_s == 0 || now_s - b->wanted_s >= good_s(t);
        if (turn && has_room(t, b) && check_spare(t, b, now_s) == NULL) {
            b->grew = false;
            b->wanted_s = now_s;
            dht_id_random_near(env, &t->self, i, target);
            return true;
        }
    }
    return false;
}

size_t table_count(const struct table *t)
{
    return t->count;
}

size_t table_memory(const struct table *t)
{
    size_t n = sizeof *t + t->n_buckets * sizeof *t->buckets;
    for (unsigned i = 0; i < t->n_buckets; i++) {
        const struct bucket *b = &t->buckets[i];
        n += (b->cap + (b->spare == NULL ? 0u : (size_t)TABLE_SPARES)) * t->stride;
    }
    return n;
}

bool table_next(const struct table *t, size_t *pos, struct table_node *out)
{
    size_t skip = *pos;
    for (unsigned i = t->n_buckets; i-- > 0;) {
        const struct bucket *b = &t->buckets[i];
        if (skip < b->n) {
            entry_node(t, at(t, b->place, skip), out);
            (*pos)++;
            return true;
        }
        skip -= b->n;
    }
    return false;
}
