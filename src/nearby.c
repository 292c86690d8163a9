#include "nearby.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/bucket.h"
#include "base/deadline.h"
#include "base/err.h"

enum { BURST = 3 };

/* Beacons heard and answers given: of one source, and of all. What is in the list
 * already is not counted against all, so that a flood cannot let it run out. */
static const struct bucket_rate heard_source = {16, 4, 1000},
                                heard_all = {512, 128, 1000},
                                answer_source = {2, 1, 5000}, answer_all = {64, 32, 1000};

static const struct bucket_rate shake_source = {NEARBY_SHAKE_SOURCE_BURST, 1,
                                                NEARBY_SHAKE_SOURCE_MS},
                                shake_all = {NEARBY_SHAKE_BURST, NEARBY_SHAKE_PER_S,
                                             1000};

struct source {
    struct bucket heard, answered, shook;
};

struct nearby {
    const struct env *env;
    uint8_t cert[32];
    char name[WIRE_NAME_MAX + 1];
    uint16_t port;
    uint8_t presence;

    uint64_t until_ms;                             /* 0: hidden */
    unsigned step;                                 /* beacons of the burst that are out */
    uint64_t next_ms;                              /* the next beacon */
    struct nearby_nonce nonces[NEARBY_NONCES_MAX]; /* oldest first */
    size_t n_nonces;
    uint32_t last_ref;

    struct nearby_person people[NEARBY_MAX]; /* by number */
    size_t n_people;
    uint32_t last_number;
    uint8_t hash_seed[16];
    struct source sources[NEARBY_SOURCES];
    struct bucket heard, answered, shook;

    struct nearby_out outs[NEARBY_OUTS_MAX];
    size_t outs_head, outs_len;
    struct nearby_event events[NEARBY_EVENTS_MAX];
    size_t events_head, events_len;
};

struct nearby *nearby_new(const struct env *env)
{
    struct nearby *n = calloc(1, sizeof *n);
    if (n != NULL) {
        n->env = env;
        n->next_ms = DEADLINE_NONE;
        env_random(env, n->hash_seed, sizeof n->hash_seed);
    }
    return n;
}

void nearby_free(struct nearby *n)
{
    free(n);
}

/* ---- queues ---- */

static void tell(struct nearby *n, enum nearby_event_type type,
                 const struct nearby_person *who)
{
    /* One place is kept for the word that something is missing. */
    if (n->events_len >= NEARBY_EVENTS_MAX - 1) {
        size_t last = (n->events_head + n->events_len - 1) % NEARBY_EVENTS_MAX;
        if (n->events[last].type == NEARBY_MANY) {
            return;
        }
        type = NEARBY_MANY;
        who = NULL;
    }
    struct nearby_event *e =
        &n->events[(n->events_head + n->events_len++) % NEARBY_EVENTS_MAX];
    *e = (struct nearby_event){.type = type};
    if (who != NULL) {
        e->person = *who;
    }
}

bool nearby_next_event(struct nearby *n, struct nearby_event *e)
{
    if (n->events_len == 0) {
        return false;
    }
    *e = n->events[n->events_head];
    n->events_head = (n->events_head + 1) % NEARBY_EVENTS_MAX;
    n->events_len--;
    return true;
}

/* What does not fit is lost, as any datagram may be. */
static void say(struct nearby *n, const struct addr *dest, uint8_t flags)
{
    if (n->outs_len == NEARBY_OUTS_MAX || n->n_nonces == 0 || n->port == 0 ||
        n->name[0] == '\0') {
        return;
    }
    struct nearby_out *out = &n->outs[(n->outs_head + n->outs_len++) % NEARBY_OUTS_MAX];
    struct wire_open v = {.port = n->port, .presence = n->presence, .flags = flags};
    memcpy(v.cert, n->cert, sizeof v.cert);
    memcpy(v.name, n->name, sizeof v.name);
    memcpy(v.nonce, n->nonces[n->n_nonces - 1].nonce, sizeof v.nonce);
    *out = (struct nearby_out){.all = dest == NULL};
    if (dest != NULL) {
        out->dest = *dest;
    }
    wire_open_put(out->bytes, &v);
}

bool nearby_next_out(struct nearby *n, struct nearby_out *out)
{
    if (n->outs_len == 0) {
        return false;
    }
    *out = n->outs[n->outs_head];
    n->outs_head = (n->outs_head + 1) % NEARBY_OUTS_MAX;
    n->outs_len--;
    return true;
}

/* ---- being visible ---- */

void nearby_set_self(struct nearby *n, const uint8_t cert[32], const char *name,
                     uint16_t link_port)
{
    memcpy(n->cert, cert, sizeof n->cert);
    memset(n->name, 0, sizeof n->name);
    memcpy(n->name, name, strnlen(name, WIRE_NAME_MAX));
    n->port = link_port;
}

void nearby_set_presence(struct nearby *n, uint8_t presence)
{
    n->presence = presence;
}

static bool visible(const struct nearby *n)
{
    return n->until_ms != 0;
}

static void drop_nonces(struct nearby *n, size_t count)
{
    n->n_nonces -= count;
    memmove(n->nonces, n->nonces + count, n->n_nonces * sizeof n->nonces[0]);
}

/* Old nonces go, and a new one comes when the newest has served its time. */
static void renew_nonces(struct nearby *n, uint64_t now_ms)
{
    size_t old = 0;
    while (old < n->n_nonces && now_ms - n->nonces[old].made_ms >= NEARBY_NONCE_KEEP_MS) {
        old++;
    }
    bool fresh = n->n_nonces == 0 ||
                 now_ms - n->nonces[n->n_nonces - 1].made_ms >= NEARBY_NONCE_MS;
    if (fresh && n->n_nonces - old == NEARBY_NONCES_MAX) {
        old++;
    }
    drop_nonces(n, old);
    if (fresh) {
        struct nearby_nonce *v = &n->nonces[n->n_nonces++];
        v->ref = ++n->last_ref;
        v->made_ms = now_ms;
        env_random(n->env, v->nonce, sizeof v->nonce);
    }
    if (fresh || old > 0) {
        tell(n, NEARBY_NONCES, NULL);
    }
}

static void begin(struct nearby *n, uint64_t now_ms)
{
    n->step = 0;
    n->next_ms = now_ms;
}

void nearby_show(struct nearby *n, uint64_t until_ms, uint64_t now_ms)
{
    bool was = visible(n);
    n->until_ms = until_ms > now_ms ? until_ms : now_ms + 1;
    if (!was) {
        renew_nonces(n, now_ms);
        begin(n, now_ms);
    }
}

void nearby_hide(struct nearby *n, uint64_t now_ms)
{
    (void)now_ms;
    if (!visible(n)) {
        return;
    }
    say(n, NULL, OPEN_FLAG_LEAVE);
    n->until_ms = 0;
    n->next_ms = DEADLINE_NONE;
    drop_nonces(n, n->n_nonces);
    tell(n, NEARBY_NONCES, NULL);
}

uint64_t nearby_until(const struct nearby *n)
{
    return n->until_ms;
}

void nearby_restart(struct nearby *n, uint64_t now_ms)
{
    if (visible(n)) {
        begin(n, now_ms);
    }
}

const struct nearby_nonce *nearby_nonce_next(const struct nearby *n, size_t *pos)
{
    return *pos < n->n_nonces ? &n->nonces[(*pos)++] : NULL;
}

static void send_own(struct nearby *n, uint64_t now_ms)
{
    renew_nonces(n, now_ms);
    say(n, NULL, n->step < BURST ? OPEN_FLAG_ASK : 0);
    n->step += n->step < BURST ? 1 : 0;
    if (n->step == 1) {
        n->next_ms = now_ms + NEARBY_BURST_2_MS;
    } else if (n->step == 2) {
        n->next_ms = now_ms + NEARBY_BURST_3_MS - NEARBY_BURST_2_MS;
    } else {
        n->next_ms =
            now_ms + NEARBY_INTERVAL_MS + env_uniform(n->env, NEARBY_JITTER_MS + 1);
        n->step = BURST;
    }
}

/* ---- the list ---- */

static bool same_face(const struct nearby_person *a, const struct nearby_person *b)
{
    return memcmp(a->cert, b->cert, sizeof a->cert) == 0 && strcmp(a->name, b->name) == 0;
}

/* Whether another entry of the list looks the same as the one at i. */
static bool shown_elsewhere(const struct nearby *n, size_t i, size_t below)
{
    for (size_t k = 0; k < below; k++) {
        if (k != i && same_face(&n->people[k], &n->people[i])) {
            return true;
        }
    }
    return false;
}

const struct nearby_person *nearby_next_all(const struct nearby *n, size_t *pos)
{
    return *pos < n->n_people ? &n->people[(*pos)++] : NULL;
}

const struct nearby_person *nearby_next(const struct nearby *n, size_t *pos)
{
    while (*pos < n->n_people) {
        size_t i = (*pos)++;
        if (!shown_elsewhere(n, i, i)) {
            return &n->people[i];
        }
    }
    return NULL;
}

static void leave(struct nearby *n, size_t i)
{
    if (!shown_elsewhere(n, i, n->n_people)) {
        tell(n, NEARBY_LEFT, &n->people[i]);
    }
    n->n_people--;
    memmove(&n->people[i], &n->people[i + 1], (n->n_people - i) * sizeof n->people[0]);
}

static size_t find(const struct nearby *n, const struct addr *source,
                   const uint8_t cert[32])
{
    size_t i = 0;
    while (i < n->n_people && (!addr_eq_ip(&n->people[i].source, source) ||
                               memcmp(n->people[i].cert, cert, 32) != 0)) {
        i++;
    }
    return i;
}

/* How many entries a source has, and which of them was silent longest. */
static size_t count(const struct nearby *n, const struct addr *source, size_t *oldest)
{
    size_t k = 0;
    for (size_t i = 0; i < n->n_people; i++) {
        if (!addr_eq_ip(&n->people[i].source, source)) {
            continue;
        }
        if (k == 0 || n->people[i].last_ms < n->people[*oldest].last_ms) {
            *oldest = i;
        }
        k++;
    }
    return k;
}

/* Room for an entry of that source: at its own cost, or at that of the source which
 * takes most. */
static bool make_room(struct nearby *n, const struct addr *source)
{
    size_t oldest = 0, worst = 0, most = 0, own = count(n, source, &oldest);
    if (own >= NEARBY_SOURCE_MAX) {
        leave(n, oldest);
        return true;
    }
    if (n->n_people < NEARBY_MAX) {
        return true;
    }
    for (size_t i = 0; i < n->n_people; i++) {
        size_t of = 0, k = count(n, &n->people[i].source, &of);
        if (k > most) {
            most = k;
            worst = of;
        }
    }
    if (most < own + 2) {
        return false;
    }
    leave(n, worst);
    return true;
}

/* ---- receiving ---- */

static struct source *source_of(struct nearby *n, const struct addr *a)
{
    uint64_t h;
    uint8_t key[1 + sizeof a->ip];
    key[0] = a->family;
    memcpy(key + 1, a->ip, sizeof a->ip);
    (void)crypto_shorthash((uint8_t *)&h, key, sizeof key, n->hash_seed);
    return &n->sources[h % NEARBY_SOURCES];
}

static void keep(struct nearby_person *p, const struct addr *source,
                 const struct wire_open *v, uint64_t now_ms)
{
    memcpy(p->cert, v->cert, sizeof p->cert);
    memcpy(p->nonce, v->nonce, sizeof p->nonce);
    memcpy(p->name, v->name, sizeof p->name);
    p->source = *source;
    p->port = v->port;
    p->presence = v->presence;
    p->last_ms = now_ms;
}

/* An entry that is there: up to date again, or under another name. */
static void heard_again(struct nearby *n, size_t i, const struct addr *source,
                        const struct wire_open *v, uint64_t now_ms)
{
    struct nearby_person *p = &n->people[i];
    if ((v->flags & OPEN_FLAG_LEAVE) != 0) {
        leave(n, i);
        return;
    }
    bool renamed = strcmp(p->name, v->name) != 0;
    if (renamed && !shown_elsewhere(n, i, n->n_people)) {
        tell(n, NEARBY_LEFT, p);
    }
    keep(p, source, v, now_ms);
    if (renamed && !shown_elsewhere(n, i, n->n_people)) {
        tell(n, NEARBY_CAME, p);
    }
}

static int heard_first(struct nearby *n, const struct addr *source,
                       const struct wire_open *v, uint64_t now_ms)
{
    if ((v->flags & OPEN_FLAG_LEAVE) != 0) {
        return 0;
    }
    if (!bucket_take(&n->heard, &heard_all, 1, now_ms) || !make_room(n, source)) {
        return ERR_LIMIT;
    }
    struct nearby_person *p = &n->people[n->n_people++];
    *p = (struct nearby_person){.number = ++n->last_number, .first_ms = now_ms};
    keep(p, source, v, now_ms);
    if (!shown_elsewhere(n, n->n_people - 1, n->n_people)) {
        tell(n, NEARBY_CAME, p);
    }
    return 0;
}

int nearby_recv(struct nearby *n, const struct addr *source, bool local, const uint8_t *p,
                size_t len, uint64_t now_ms)
{
    struct wire_open v;
    struct source *s = source_of(n, source);
    if (!bucket_take(&s->heard, &heard_source, 1, now_ms)) {
        return ERR_LIMIT;
    }
    if (!addr_is_dialable(source) || !wire_open_get(p, len, &v) ||
        memcmp(v.cert, n->cert, sizeof v.cert) == 0) {
        return ERR_FORMAT;
    }
    size_t i = find(n, source, v.cert);
    int rc = 0;
    if (i < n->n_people) {
        heard_again(n, i, source, &v, now_ms);
    } else {
        rc = heard_first(n, source, &v, now_ms);
    }
    if ((v.flags & OPEN_FLAG_ASK) != 0 && local && visible(n) &&
        bucket_has(&n->answered, &answer_all, 1, now_ms) &&
        bucket_take(&s->answered, &answer_source, 1, now_ms)) {
        (void)bucket_take(&n->answered, &answer_all, 1, now_ms);
        say(n, source, 0);
    }
    return rc;
}

bool nearby_may_shake(struct nearby *n, const struct addr *source, uint64_t now_ms)
{
    return visible(n) &&
           bucket_has(&source_of(n, source)->shook, &shake_source, 1, now_ms) &&
           bucket_has(&n->shook, &shake_all, 1, now_ms);
}

void nearby_shook(struct nearby *n, const struct addr *source, uint64_t now_ms)
{
    (void)bucket_take(&source_of(n, source)->shook, &shake_source, 1, now_ms);
    (void)bucket_take(&n->shook, &shake_all, 1, now_ms);
}

/* ---- time ---- */

void nearby_tick(struct nearby *n, uint64_t now_ms)
{
    for (size_t i = n->n_people; i-- > 0;) {
        if (now_ms - n->people[i].last_ms >= NEARBY_GONE_MS) {
            leave(n, i);
        }
    }
    if (visible(n) && n->until_ms <= now_ms) {
        nearby_hide(n, now_ms);
        tell(n, NEARBY_HIDDEN, NULL);
    }
    if (n->next_ms <= now_ms) {
        send_own(n, now_ms);
    }
}

uint64_t nearby_deadline(const struct nearby *n)
{
    uint64_t at = n->next_ms;
    if (visible(n) && n->until_ms < at) {
        at = n->until_ms;
    }
    for (size_t i = 0; i < n->n_people; i++) {
        uint64_t gone = n->people[i].last_ms + NEARBY_GONE_MS;
        at = gone < at ? gone : at;
    }
    return at;
}
