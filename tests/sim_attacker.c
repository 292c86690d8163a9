/* A bounded Dolev-Yao attacker over the real link state machines.
 *
 * A, B and C are honest: contacts of each other, members of one network, and A and C hold
 * an invite of B and saw B's open beacon. M is not honest: it holds the invite and saw
 * the beacon too, and listens under both. All bytes go through the attacker, who can
 * drop, double, reorder, reflect, splice, change and replay them in every place of every
 * session, and put known bad points in place of ephemerals.
 *
 * First each session is run honestly and recorded. Then each kind of session is run again
 * with one thing wrong: in every place every recorded message, every message of its own
 * session, every byte changed. Then random walks over several sessions at a time.
 *
 * What must hold, always:
 *   agreement  a link comes up only with a partner, one and the same for both, who has
 *              the same handshake (bytes and hash), the intended identity and is not
 *              anybody else's partner; a listener only after its dialler
 *   frames     what a link gives is what its partner sent, in that order, without gaps
 *   CLOSE      is believed only when the partner sent it
 *   silence    a listener sends nothing unless its first bytes are a record that was made
 *              for it, and not for a second time
 *   nonces     no key seals twice under one nonce
 *
 * With an argument: the random walk of that seed only. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "link_world.h"

enum {
    A,
    B,
    C,
    M,
    PARTIES,
    ACTORS_MAX = 64,
    PAST_MAX = 32,
    POOL_MAX = 512,
    OUTBOX_MAX = 48,
    NONCES_MAX = 4096,
    KEPT_MAX = 8,
    TRANSCRIPT_MAX = WIRE_RECORD1 + WIRE_RECORD3,
    MOVES_MAX = 64,
    START_MS = 1000,
    WALKS = 2000,
    WALK_STEPS = 140,
    WALK_SESSIONS = 6,
};

struct party {
    struct link_self self;
    struct keyring ring;
};

/* Which session is run. */
struct config {
    uint8_t dialler, listener;
    uint8_t intended; /* whom the dialler means; not always the listener */
    enum link_kind kind;
    enum carrier carrier;
    bool rehs;
};

static const struct config configs[] = {
    {A, B, B, LINK_CONTACT, CARRIER_TCP, false},
    {B, A, A, LINK_CONTACT, CARRIER_TCP, false},
    {A, C, C, LINK_CONTACT, CARRIER_TCP, false},
    {C, B, B, LINK_CONTACT, CARRIER_TCP, false},
    {A, B, B, LINK_INVITE, CARRIER_TCP, false},
    {C, B, B, LINK_INVITE, CARRIER_TCP, false},
    {A, B, B, LINK_CONTACT, CARRIER_UDP, false},
    {A, B, B, LINK_INVITE, CARRIER_UDP, false},
    {A, B, B, LINK_CONTACT, CARRIER_TCP, true},
    {A, B, B, LINK_NETWORK, CARRIER_TCP, false},
    {B, A, A, LINK_NETWORK, CARRIER_TCP, false},
    {A, B, B, LINK_STRANGER, CARRIER_TCP, false},
    {C, B, B, LINK_STRANGER, CARRIER_TCP, false},
    {A, M, B, LINK_INVITE, CARRIER_TCP, false},
    {A, C, B, LINK_CONTACT, CARRIER_TCP, false},
    {A, M, B, LINK_NETWORK, CARRIER_TCP, false},
    {A, M, B, LINK_STRANGER, CARRIER_TCP, false},
};
enum { CONFIGS = sizeof configs / sizeof configs[0], CONFIGS_HONEST = 13 };

struct msg {
    uint8_t *p;
    size_t n;
};

/* One link and what is known of it from outside. */
struct actor {
    struct link *l;
    uint32_t id;
    struct config cfg;
    bool dialler, rehs_done, close_sent, up, taken;
    uint8_t in[TRANSCRIPT_MAX], out[TRANSCRIPT_MAX];
    size_t in_len, out_len;
    uint8_t hash[NOISE_HASH];
    struct actor *partner;
    uint32_t sent, got;
    struct msg outbox[OUTBOX_MAX];
    size_t n_outbox, next; /* next: of the outbox, honestly delivered */
};

struct nonce {
    uint8_t k[NOISE_KEY];
    uint64_t n;
};

struct sim {
    struct world_env env;
    uint64_t seed, now;
    struct party party[PARTIES];
    struct link_candidate kept[PARTIES][KEPT_MAX];     /* before forget() */
    struct link_candidate recorded[PARTIES][KEPT_MAX]; /* after record_all() */
    uint64_t recorded_wall_us;
    uint32_t recorded_id;
    struct actor actors[ACTORS_MAX];
    size_t n_actors, n_past; /* the first n_past are of recorded sessions */
    struct msg pool[POOL_MAX];
    size_t n_pool;
    struct nonce nonces[NONCES_MAX];
    size_t n_nonces;
    uint32_t next_id;
    bool forgetful; /* listeners have restarted: no tags, no counters */
    const char *doing;
    size_t at_cfg, at_slot, at_what;
    size_t runs, ups, answers, silences;
};

static void fail(const struct sim *s, const char *what)
{
    fprintf(stderr, "seed %llu, %s, session %zu, place %zu, item %zu%s: %s\n",
            (unsigned long long)s->seed, s->doing, s->at_cfg, s->at_slot, s->at_what,
            s->forgetful ? ", after a restart" : "", what);
    exit(1);
}

static void check(const struct sim *s, bool ok, const char *what)
{
    if (!ok) {
        fail(s, what);
    }
}

/* Parties */

static uint8_t pair_secret(unsigned a, unsigned b)
{
    return (uint8_t)(a < b ? 16 * a + b + 1 : 16 * b + a + 1);
}

static void candidates(struct sim *s, const struct config *cfg,
                       struct link_candidate *dial, struct link_candidate *listen)
{
    const struct link_self *d = &s->party[cfg->dialler].self;
    const struct link_self *l = &s->party[cfg->intended].self;
    switch (cfg->kind) {
    case LINK_CONTACT:
        world_contact(d, l, pair_secret(cfg->dialler, cfg->intended), dial, listen);
        if (listen != NULL) {
            listen->ref = cfg->dialler + 1u;
        }
        break;
    case LINK_INVITE:
        world_invite(l, 0x99, 1, dial, listen);
        break;
    case LINK_NETWORK:
        world_network(0x9a, dial, listen);
        break;
    case LINK_STRANGER:
        world_stranger(l, 0x9b, 1, dial, listen);
        break;
    case LINK_CALL: /* a way to begin a link of an invite */
        abort();
    }
}

static void parties(struct sim *s)
{
    for (unsigned i = 0; i < PARTIES; i++) {
        world_self(&s->party[i].self, &s->env.env, (uint8_t)(i + 1));
    }
    for (size_t i = 0; i < CONFIGS; i++) {
        struct link_candidate listen;
        candidates(s, &configs[i], NULL, &listen);
        bool theirs = configs[i].listener == configs[i].intended;
        if (theirs || (configs[i].listener == M && configs[i].kind != LINK_NETWORK)) {
            int rc = keyring_put(&s->party[configs[i].listener].ring, &listen);
            check(s, rc == 0, "a candidate is refused");
        }
    }
}

/* Copies all candidates from the keyrings, or (back) into them. */
static void copy_rings(struct sim *s, struct link_candidate kept[PARTIES][KEPT_MAX],
                       bool back)
{
    for (unsigned i = 0; i < PARTIES; i++) {
        const struct keyring *k = &s->party[i].ring;
        check(s, k->n <= KEPT_MAX, "too many candidates");
        for (size_t j = 0; j < k->n; j++) {
            struct link_candidate *in = &k->v[j], *out = &kept[i][j];
            world_candidate_copy(back ? in : out, back ? out : in);
        }
    }
}

/* The listeners restart without tags and counters. */
static void forget(struct sim *s)
{
    for (unsigned i = 0; i < PARTIES; i++) {
        struct keyring *k = &s->party[i].ring;
        for (size_t j = 0; j < k->n; j++) {
            k->v[j].n_tags = k->v[j].next_tag = 0;
            k->v[j].counter_seen = 0;
        }
    }
}

/* Actors */

static struct actor *actor_new(struct sim *s, const struct config *cfg, bool dialler)
{
    check(s, s->n_actors < ACTORS_MAX, "too many actors");
    struct actor *a = &s->actors[s->n_actors++];
    *a = (struct actor){.id = s->next_id++, .cfg = *cfg, .dialler = dialler};
    if (dialler) {
        struct link_candidate dial;
        candidates(s, cfg, &dial, NULL);
        s->env.wall_us += 10;
        a->l = link_dial(&s->party[cfg->dialler].self, &dial, cfg->carrier,
                         s->env.wall_us, s->now);
    } else {
        a->l = link_listen(&s->party[cfg->listener].self, &s->party[cfg->listener].ring,
                           cfg->carrier, s->now);
    }
    check(s, a->l != NULL, "no link");
    return a;
}

static void actor_release(struct actor *a)
{
    link_free(a->l);
    a->l = NULL;
    for (size_t i = 0; i < a->n_outbox; i++) {
        free(a->outbox[i].p);
    }
    a->n_outbox = 0;
}

static size_t dialler_len(const struct actor *a)
{
    return WIRE_RECORD1 + (a->cfg.kind == LINK_CONTACT ? 0 : WIRE_RECORD3);
}

static bool bytes_match(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len,
                        size_t want)
{
    return a_len >= want && b_len >= want && memcmp(a, b, want) == 0;
}

/* The other end of a, judged by the bytes of the handshake alone. */
static struct actor *find_partner(struct sim *s, const struct actor *a)
{
    for (size_t i = 0; i < s->n_actors; i++) {
        struct actor *b = &s->actors[i];
        const struct actor *d = a->dialler ? a : b, *l = a->dialler ? b : a;
        if (a->dialler == b->dialler) {
            continue;
        }
        /* When the dialler comes up, record 3 is not yet out. */
        size_t want = a->dialler ? WIRE_RECORD1 : dialler_len(d);
        if (bytes_match(d->out, d->out_len, l->in, l->in_len, want) &&
            bytes_match(l->out, l->out_len, d->in, d->in_len, WIRE_RECORD2)) {
            return b;
        }
    }
    return NULL;
}

/* Whether the dialler means this listener: in a network, any of its members. */
static bool meant(const struct actor *d, const struct actor *l)
{
    return d->cfg.kind == LINK_NETWORK ? l->cfg.listener != M
                                       : d->cfg.intended == l->cfg.listener;
}

static void came_up(struct sim *s, struct actor *a)
{
    struct actor *b = find_partner(s, a);
    s->ups++;
    check(s, b != NULL, "agreement: up without a partner");
    const struct actor *d = a->dialler ? a : b, *l = a->dialler ? b : a;
    check(s, meant(d, l), "agreement: not the one who was meant");
    check(s, d->cfg.dialler != l->cfg.listener, "agreement: with oneself");
    check(s, d->cfg.carrier == l->cfg.carrier, "agreement: another carrier");
    check(s, !a->up && !b->taken, "agreement: one partner for two");
    check(s, a->dialler || (b->up && b->partner == a), "agreement: before the dialler");
    const struct link_self *them =
        &s->party[a->dialler ? l->cfg.listener : d->cfg.dialler].self;
    check(s, memcmp(link_remote_static(a->l), them->stat_pub, 32) == 0,
          "agreement: another static");
    check(s, link_kind(a->l) == d->cfg.kind, "agreement: another kind");
    memcpy(a->hash, link_hash(a->l), NOISE_HASH);
    if (!a->dialler) {
        check(s, memcmp(a->hash, b->hash, NOISE_HASH) == 0, "agreement: another hash");
        check(s, d->cfg.kind != LINK_CONTACT || link_ref(a->l) == d->cfg.dialler + 1u,
              "agreement: another contact");
    }
    if (d->cfg.kind != LINK_CONTACT) {
        const uint8_t *p;
        size_t n;
        const struct cert *c = link_remote_cert(a->l, &p, &n);
        check(s, c != NULL && memcmp(c->root, them->root, KEYS_ROOT) == 0,
              "agreement: another account");
    }
    a->up = true;
    a->partner = b;
    b->taken = true;
}

/* What an honest node does with its link. */
static void say(struct sim *s, struct actor *a, unsigned n)
{
    for (unsigned i = 0; i < n && link_is_up(a->l); i++) {
        uint8_t payload[8];
        struct wr w = wr_init(payload, sizeof payload);
        wr_u32(&w, a->id);
        wr_u32(&w, a->sent++);
        int rc = link_send(a->l, LINK_CHAT, (enum frame_type)WORLD_FRAME, payload,
                           sizeof payload);
        check(s, rc == 0, "a frame is refused");
    }
}

static void got_frame(struct sim *s, struct actor *a, const struct link_event *ev)
{
    struct rd r = rd_init(ev->payload, ev->len);
    uint32_t id = rd_u32(&r), seq = rd_u32(&r);
    check(s, a->up && rd_end(&r) && ev->type == WORLD_FRAME, "frames: not what was sent");
    check(s, id == a->partner->id, "frames: not from the partner");
    check(s, seq == a->got && seq < a->partner->sent, "frames: not in order");
    a->got++;
    if (!a->dialler) {
        return;
    }
    if (a->cfg.rehs && !a->rehs_done && a->got == 2) {
        a->rehs_done = true;
        a->l->s->rehs_ms = s->now;
        link_tick(a->l, s->now);
    } else if (a->got == (a->cfg.rehs ? 4u : 2u)) {
        link_close(a->l, CLOSE_BUSY, s->now);
        a->close_sent = true;
    }
}

static void events(struct sim *s, struct actor *a)
{
    struct link_event ev;
    while (link_next_event(a->l, &ev)) {
        switch (ev.kind) {
        case LINK_EV_UP:
            came_up(s, a);
            say(s, a, 2);
            break;
        case LINK_EV_FRAME:
            got_frame(s, a, &ev);
            break;
        case LINK_EV_COUNTER:
            check(s, !a->dialler && !a->up, "a counter from nowhere");
            break;
        case LINK_EV_CLOSED:
            check(s,
                  !ev.by_peer ||
                      (a->up && ev.code == CLOSE_BUSY && a->partner->close_sent),
                  "CLOSE: nobody said so");
            break;
        }
    }
}

/* A stranger's message 1 is under no key: the prologue counts from message 2 on. */
static bool same_prologue(const struct actor *d, const struct actor *a)
{
    return d->cfg.carrier == a->cfg.carrier || d->cfg.kind == LINK_STRANGER;
}

/* A listener speaks: to whom? */
static void check_may_speak(struct sim *s, const struct actor *a)
{
    bool made_for_us = false;
    if (a->dialler || a->out_len > 0) {
        return;
    }
    for (size_t i = 0; i < s->n_actors; i++) {
        const struct actor *d = &s->actors[i];
        bool shares =
            meant(d, a) || (a->cfg.listener == M && d->cfg.kind != LINK_NETWORK);
        made_for_us = made_for_us ||
                      (d->dialler && shares && same_prologue(d, a) &&
                       bytes_match(d->out, d->out_len, a->in, a->in_len, WIRE_RECORD1));
    }
    check(s, made_for_us, "silence: a word to a stranger");
    for (size_t i = 0; i < s->n_actors; i++) {
        const struct actor *b = &s->actors[i];
        bool again = b != a && !b->dialler && b->out_len > 0 &&
                     b->cfg.listener == a->cfg.listener &&
                     bytes_match(b->in, b->in_len, a->in, a->in_len, WIRE_RECORD1);
        /* Tags are forgotten after LINK_TAGS others, everything in a restart. */
        bool may = i < s->n_past && (s->forgetful || link_kind(a->l) != LINK_CONTACT);
        check(s, !again || may, "silence: a word to a replay");
    }
    s->answers++;
}

static void spend(struct sim *s, const struct noise_cipher *c, uint64_t n)
{
    for (size_t i = 0; i < s->n_nonces; i++) {
        check(s, s->nonces[i].n != n || memcmp(s->nonces[i].k, c->k, NOISE_KEY) != 0,
              "nonces: used twice");
    }
    check(s, s->n_nonces < NONCES_MAX, "too many nonces");
    s->nonces[s->n_nonces].n = n;
    memcpy(s->nonces[s->n_nonces++].k, c->k, NOISE_KEY);
}

static void remember(uint8_t *to, size_t *have, size_t cap, const uint8_t *p, size_t n)
{
    size_t take = n < cap - *have ? n : cap - *have;
    memcpy(to + *have, p, take);
    *have += take;
}

/* Everything the link has to say goes into its outbox, a record or a frame each. */
static void speak(struct sim *s, struct actor *a)
{
    static uint8_t out[WORLD_OUT];
    for (;;) {
        struct link_session *ls = a->l->s;
        struct noise_cipher before = ls != NULL ? ls->t.tx : (struct noise_cipher){0};
        bool frame = ls != NULL && ls->out_len == 0;
        size_t n = link_next_out(a->l, out, sizeof out, s->now);
        if (n == 0) {
            break;
        }
        check_may_speak(s, a);
        if (frame) {
            spend(s, &before, before.n);
            spend(s, &before, before.n + 1);
        }
        remember(a->out, &a->out_len, a->dialler ? dialler_len(a) : WIRE_RECORD2, out, n);
        check(s, a->n_outbox < OUTBOX_MAX, "a full outbox");
        struct msg *m = &a->outbox[a->n_outbox++];
        m->p = malloc(n);
        check(s, m->p != NULL, "memory");
        memcpy(m->p, out, n);
        m->n = n;
        link_sent(a->l, n);
    }
    events(s, a);
}

static void hear(struct sim *s, struct actor *a, const uint8_t *p, size_t n)
{
    size_t cap = a->dialler ? WIRE_RECORD2 : TRANSCRIPT_MAX;
    remember(a->in, &a->in_len, cap, p, n);
    (void)link_recv(a->l, p, n, s->now);
    events(s, a);
    if (a->dialler && a->rehs_done && a->sent == 2 && link_is_up(a->l) &&
        a->l->s->next_ready) {
        say(s, a, 2);
    }
    if (!a->dialler && a->up && a->cfg.rehs && a->sent == 2 && link_is_up(a->l) &&
        a->l->s->next_ready) {
        say(s, a, 2);
    }
    speak(s, a);
}

/* One thing wrong */

enum wrong { HONEST, REPLACE, INSERT, DROP, DOUBLE, SWAP, CHANGE, SPLICE, BAD_POINT };

struct plan {
    enum wrong wrong;
    size_t slot;
    const struct msg *with; /* REPLACE, INSERT, SPLICE */
    size_t pos;             /* CHANGE, SPLICE, BAD_POINT */
};

static const uint8_t bad_points[][NOISE_KEY] = {
    {0}, /* of order 2 */
    {1}, /* 4 */
    {0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3,
     0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32,
     0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00}, /* 8 */
    {0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1,
     0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c,
     0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57}, /* 8 */
    {0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, /* p - 1 */
    {0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, /* p */
    {0xee, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, /* p + 1 */
    {0xf6, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, /* 9, not canonical */
};
enum { BAD_POINTS = sizeof bad_points / sizeof bad_points[0] };

/* An attacker who holds the keys of tag and mask, though not the psk, puts a point of
 * its choice in place of the ephemeral. */
static void put_point(struct sim *s, const struct config *cfg, size_t slot,
                      const uint8_t *record1, uint8_t *p, const uint8_t *point)
{
    struct link_candidate c;
    candidates(s, cfg, &c, NULL);
    if (slot == 0) {
        uint8_t *msg = p + KEYS_TAG;
        keys_mask(c.keys.k_mask[0], p, msg, LINK_MSG1);
        memcpy(msg, point, NOISE_KEY);
        keys_tag(c.keys.k_tag, msg, LINK_MSG1, p);
        keys_mask(c.keys.k_mask[0], p, msg, LINK_MSG1);
    } else {
        memcpy(p, point, NOISE_KEY);
        keys_mask(c.keys.k_mask[1], record1, p, NOISE_KEY);
    }
}

/* The message m in its place of the plan, to a. */
static void deliver_wrong(struct sim *s, struct actor *from, struct actor *to,
                          const struct plan *plan)
{
    const struct msg *m = &from->outbox[from->next++];
    static uint8_t bytes[WORLD_OUT];
    size_t n = m->n;
    memcpy(bytes, m->p, n);
    switch (plan->wrong) {
    case HONEST:
        break;
    case REPLACE:
        hear(s, to, plan->with->p, plan->with->n);
        return;
    case INSERT:
        hear(s, to, plan->with->p, plan->with->n);
        break;
    case DROP:
        return;
    case DOUBLE:
        hear(s, to, bytes, n);
        break;
    case SWAP:
        if (from->next < from->n_outbox) {
            const struct msg *later = &from->outbox[from->next++];
            hear(s, to, later->p, later->n);
        }
        break;
    case CHANGE:
        if (plan->pos < n) {
            bytes[plan->pos] ^= (uint8_t)(1u << world_random(&s->env) % 8);
        }
        break;
    case SPLICE:
        for (size_t i = plan->pos; i < n && i < plan->with->n; i++) {
            bytes[i] = plan->with->p[i];
        }
        break;
    case BAD_POINT:
        put_point(s, &from->cfg, plan->slot, to->out, bytes, bad_points[plan->pos]);
        break;
    }
    hear(s, to, bytes, n);
}

static void clear_run(struct sim *s)
{
    for (size_t i = s->n_past; i < s->n_actors; i++) {
        actor_release(&s->actors[i]);
    }
    for (size_t i = 0; i < s->n_past; i++) {
        s->actors[i].partner = NULL;
    }
    s->n_actors = s->n_past;
    s->n_nonces = 0;
}

/* A session with one thing wrong; returns how many places for it there are. The actors
 * stay until clear_run(). */
static size_t run(struct sim *s, const struct config *cfg, const struct plan *plan)
{
    struct actor *d = actor_new(s, cfg, true), *l = actor_new(s, cfg, false);
    size_t slot = 0;
    s->runs++;
    s->at_slot = plan->slot;
    if (s->forgetful) {
        copy_rings(s, s->kept, false);
        forget(s);
    }
    speak(s, d);
    for (int moves = 0; moves < MOVES_MAX; moves++) {
        struct actor *from = d->next < d->n_outbox ? d : l, *to = from == d ? l : d;
        if (from->next == from->n_outbox) {
            break;
        }
        static const struct plan honest = {.wrong = HONEST};
        deliver_wrong(s, from, to, slot++ == plan->slot ? plan : &honest);
    }
    s->silences += l->out_len == 0;
    if (s->forgetful) {
        copy_rings(s, s->kept, true);
    }
    return slot;
}

static bool both_up(const struct sim *s)
{
    return s->actors[s->n_actors - 2].up && s->actors[s->n_actors - 1].up;
}

/* Record every session once, and keep what was said. */
static void record_all(struct sim *s)
{
    static const struct plan honest = {.wrong = HONEST, .slot = SIZE_MAX};
    s->doing = "recording";
    for (size_t i = 0; i < CONFIGS; i++) {
        s->at_cfg = i;
        (void)run(s, &configs[i], &honest);
        struct actor *d = &s->actors[s->n_actors - 2], *l = d + 1;
        check(s, both_up(s) == (i < CONFIGS_HONEST), "an honest session");
        if (i < CONFIGS_HONEST) {
            uint32_t frames = configs[i].rehs ? 4 : 2;
            check(s, d->got == frames && l->got >= 2, "an honest session's frames");
            check(s, !configs[i].rehs || memcmp(d->hash, l->hash, NOISE_HASH) == 0,
                  "hash");
        }
        for (int side = 0; side < 2; side++) {
            struct actor *a = side == 0 ? d : l;
            for (size_t j = 0; j < a->n_outbox; j++) {
                check(s, s->n_pool < POOL_MAX, "a full pool");
                s->pool[s->n_pool++] = a->outbox[j];
            }
            a->n_outbox = 0; /* now the pool's */
            link_free(a->l);
            a->l = NULL;
        }
    }
    s->n_past = s->n_actors;
    copy_rings(s, s->recorded, false);
    s->recorded_wall_us = s->env.wall_us;
    s->recorded_id = s->next_id;
}

static void try(struct sim *s, const struct config *cfg, struct plan plan)
{
    (void)run(s, cfg, &plan);
    clear_run(s);
}

/* In every place of a session: every recorded message, instead of and before the honest
 * one. */
static void substitute(struct sim *s, const struct config *cfg, size_t slots)
{
    s->doing = "substituting";
    for (size_t slot = 0; slot < slots; slot++) {
        for (size_t i = 0; i < s->n_pool; i++) {
            s->at_what = i;
            try(s, cfg, (struct plan){REPLACE, slot, &s->pool[i], 0});
            if (slot < 4) {
                try(s, cfg, (struct plan){INSERT, slot, &s->pool[i], 0});
            }
        }
    }
}

static void disturb(struct sim *s, const struct config *cfg, size_t slots)
{
    s->doing = "disturbing";
    for (size_t slot = 0; slot < slots; slot++) {
        try(s, cfg, (struct plan){DROP, slot, NULL, 0});
        try(s, cfg, (struct plan){DOUBLE, slot, NULL, 0});
        try(s, cfg, (struct plan){SWAP, slot, NULL, 0});
    }
    s->doing = "changing bytes";
    for (size_t slot = 0; slot < slots && slot < 4; slot++) {
        size_t len = slot == 0 ? WIRE_RECORD1 : slot < 3 ? WIRE_RECORD2 : 64;
        for (size_t pos = 0; pos < len; pos += slot == 0 ? 1 : 3) {
            s->at_what = pos;
            try(s, cfg, (struct plan){CHANGE, slot, NULL, pos});
        }
    }
    static const size_t joints[] = {16, 32, 48, 64, 80, 96, 112, 176, 496};
    s->doing = "splicing";
    for (size_t slot = 0; slot < slots && slot < 3; slot++) {
        for (size_t i = 0; i < s->n_pool; i++) {
            s->at_what = i;
            size_t joint = joints[i % (sizeof joints / sizeof joints[0])];
            try(s, cfg, (struct plan){SPLICE, slot, &s->pool[i], joint});
        }
    }
}

static void points(struct sim *s, const struct config *cfg)
{
    s->doing = "bad points";
    for (size_t slot = 0; slot < 2; slot++) {
        for (size_t i = 0; i < BAD_POINTS; i++) {
            struct plan plan = {BAD_POINT, slot, NULL, i};
            s->at_what = i;
            (void)run(s, cfg, &plan);
            check(s, !s->actors[s->n_actors - 1].up && !s->actors[s->n_actors - 2].up,
                  "a bad point came up");
            check(s, slot != 0 || s->actors[s->n_actors - 1].out_len == 0,
                  "a bad point got an answer");
            clear_run(s);
        }
    }
}

/* A message of the session itself comes back to its sender, or again. */
static void reflect(struct sim *s, const struct config *cfg, size_t slots)
{
    s->doing = "reflecting";
    for (size_t first = 0; first < slots; first++) {
        struct actor *d = actor_new(s, cfg, true), *l = actor_new(s, cfg, false);
        s->runs++;
        s->at_slot = first;
        speak(s, d);
        for (size_t slot = 0; slot < slots; slot++) {
            struct actor *from = d->next < d->n_outbox ? d : l, *to = from == d ? l : d;
            if (from->next == from->n_outbox) {
                break;
            }
            struct msg m = from->outbox[from->next++];
            if (slot == first) {
                hear(s, from, m.p, m.n);
            }
            hear(s, to, m.p, m.n);
        }
        clear_run(s);
    }
}

/* Random walks */

static size_t below(struct sim *s, size_t n)
{
    return (size_t)(world_random(&s->env) % n);
}

static const struct msg *any_message(struct sim *s)
{
    if (below(s, 3) == 0) {
        return &s->pool[below(s, s->n_pool)];
    }
    const struct actor *a = &s->actors[s->n_past + below(s, s->n_actors - s->n_past)];
    return a->n_outbox > 0 ? &a->outbox[below(s, a->n_outbox)]
                           : &s->pool[below(s, s->n_pool)];
}

static void step(struct sim *s)
{
    size_t i = below(s, s->n_actors - s->n_past);
    struct actor *to = &s->actors[s->n_past + i], *from = &s->actors[s->n_past + (i ^ 1)];
    static uint8_t bytes[WORLD_OUT];
    size_t dice = below(s, 1000);
    if (to->n_outbox + 8 > OUTBOX_MAX) {
        return;
    }
    if (dice < 940) { /* the honest one */
        if (from->next < from->n_outbox) {
            const struct msg *m = &from->outbox[from->next++];
            hear(s, to, m->p, m->n);
        }
    } else if (dice < 965) { /* any other one */
        const struct msg *m = any_message(s);
        hear(s, to, m->p, m->n);
    } else if (dice < 975) { /* changed or spliced */
        const struct msg *m = any_message(s), *o = any_message(s);
        memcpy(bytes, m->p, m->n);
        size_t at = below(s, m->n);
        bytes[at] ^= 1;
        for (size_t j = at; below(s, 2) == 0 && j < m->n && j < o->n; j++) {
            bytes[j] = o->p[j];
        }
        hear(s, to, bytes, m->n);
    } else if (dice < 980) { /* a piece of one */
        const struct msg *m = any_message(s);
        hear(s, to, m->p, below(s, m->n));
    } else if (dice < 985) {
        from->next += from->next < from->n_outbox;
    } else if (dice < 997) {
        s->now += below(s, 500);
        link_tick(to->l, s->now);
        speak(s, to);
    } else {
        link_carrier_closed(to->l, s->now);
        events(s, to);
    }
}

/* Sessions in pairs of actors: 2i dials, 2i + 1 listens; the bytes are the attacker's. */
static void walk(struct sim *s, uint64_t seed)
{
    s->doing = "walking";
    s->seed = seed;
    s->env.state = seed * UINT64_C(0x2545f4914f6cdd1d) + 1;
    s->env.wall_us = s->recorded_wall_us;
    s->next_id = s->recorded_id;
    s->now = START_MS;
    s->forgetful = seed % 4 == 0;
    s->runs++;
    copy_rings(s, s->recorded, true);
    if (s->forgetful) {
        forget(s);
    }
    for (size_t i = 0; i < WALK_SESSIONS; i++) {
        const struct config *cfg = &configs[below(s, CONFIGS)];
        struct actor *d = actor_new(s, cfg, true);
        (void)actor_new(s, cfg, false);
        speak(s, d);
    }
    for (int i = 0; i < WALK_STEPS; i++) {
        step(s);
    }
    clear_run(s);
}

static void exhaust(struct sim *s)
{
    static const struct plan honest = {.wrong = HONEST, .slot = SIZE_MAX};
    for (size_t i = 0; i < CONFIGS; i++) {
        s->at_cfg = i;
        s->doing = "counting places";
        size_t slots = run(s, &configs[i], &honest);
        check(s, both_up(s) == (i < CONFIGS_HONEST), "an honest session");
        clear_run(s);
        disturb(s, &configs[i], slots);
        reflect(s, &configs[i], slots);
        points(s, &configs[i]);
        for (int forgetful = 0; forgetful < 2; forgetful++) {
            s->forgetful = forgetful != 0;
            substitute(s, &configs[i], forgetful != 0 && slots > 3 ? 3 : slots);
        }
        s->forgetful = false;
    }
}

int main(int argc, char **argv)
{
    struct sim *s = calloc(1, sizeof *s);
    if (s == NULL || sodium_init() < 0) {
        return 2;
    }
    world_env(&s->env, 1);
    s->now = START_MS;
    parties(s);
    record_all(s);
    clear_run(s);
    if (argc > 1) {
        walk(s, strtoull(argv[1], NULL, 10));
    } else {
        exhaust(s);
        size_t before = s->ups;
        for (uint64_t seed = 1; seed <= WALKS; seed++) {
            walk(s, seed);
        }
        check(s, s->ups - before > WALKS,
              "the walks hardly ever come up: they prove little");
    }
    printf("%zu recorded messages, %zu runs, %zu links came up, %zu listeners answered, "
           "%zu stayed silent\n",
           s->n_pool, s->runs, s->ups, s->answers, s->silences);
    for (size_t i = 0; i < s->n_pool; i++) {
        free(s->pool[i].p);
    }
    for (unsigned i = 0; i < PARTIES; i++) {
        keyring_release(&s->party[i].ring);
        for (size_t j = 0; j < KEPT_MAX; j++) {
            free(s->kept[i][j].tags);
            free(s->recorded[i][j].tags);
        }
    }
    free(s);
    return 0;
}
