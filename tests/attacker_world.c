/* Parties, links and oracles of the attacker's simulation (attacker_world.h). */
#include "attacker_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct config configs[CONFIGS] = {
    {A, B, B, LINK_CONTACT, CARRIER_TCP, false, false},
    {B, A, A, LINK_CONTACT, CARRIER_TCP, false, false},
    {A, C, C, LINK_CONTACT, CARRIER_TCP, false, false},
    {C, B, B, LINK_CONTACT, CARRIER_TCP, false, false},
    {A, B, B, LINK_INVITE, CARRIER_TCP, false, false},
    {C, B, B, LINK_INVITE, CARRIER_TCP, false, false},
    {A, B, B, LINK_CONTACT, CARRIER_UDP, false, false},
    {A, B, B, LINK_INVITE, CARRIER_UDP, false, false},
    {A, B, B, LINK_CONTACT, CARRIER_TCP, true, false},
    {A, B, B, LINK_NETWORK, CARRIER_TCP, false, false},
    {B, A, A, LINK_NETWORK, CARRIER_TCP, false, false},
    {A, B, B, LINK_STRANGER, CARRIER_TCP, false, false},
    {C, B, B, LINK_STRANGER, CARRIER_TCP, false, false},
    {A, B, B, LINK_INVITE, CARRIER_TCP, false, true},
    {C, B, B, LINK_INVITE, CARRIER_TCP, false, true},
    {A, B, B, LINK_INVITE, CARRIER_UDP, false, true},
    {A, M, B, LINK_INVITE, CARRIER_TCP, false, false},
    {A, C, B, LINK_CONTACT, CARRIER_TCP, false, false},
    {A, M, B, LINK_NETWORK, CARRIER_TCP, false, false},
    {A, M, B, LINK_STRANGER, CARRIER_TCP, false, false},
    {A, M, B, LINK_INVITE, CARRIER_TCP, false, true}, /* with the code of B */
    {A, M, M, LINK_INVITE, CARRIER_TCP, false, true}, /* with one that A does not hold */
};

static void fail(const struct sim *s, const char *what)
{
    fprintf(stderr, "seed %llu, %s, session %zu, place %zu, item %zu%s: %s\n",
            (unsigned long long)s->seed, s->doing, s->at_cfg, s->at_slot, s->at_what,
            s->forgetful ? ", after a restart" : "", what);
    exit(1);
}

void aw_check(const struct sim *s, bool ok, const char *what)
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

void aw_candidates(struct sim *s, const struct config *cfg, struct link_candidate *dial,
                   struct link_candidate *listen)
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
        world_invite(l, 0x99, cfg->intended + 1u, dial, listen);
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

static void know(struct sim *s, unsigned who, const struct link_candidate *c)
{
    aw_check(s, keyring_put(&s->party[who].ring, c) == 0, "a candidate is refused");
}

/* Who listens knows who comes; who holds a code of B takes a call for it. */
void aw_parties(struct sim *s)
{
    for (unsigned i = 0; i < PARTIES; i++) {
        world_self(&s->party[i].self, &s->env.env, (uint8_t)(i + 1));
    }
    for (size_t i = 0; i < CONFIGS; i++) {
        const struct config *cfg = &configs[i];
        struct link_candidate dial, listen;
        aw_candidates(s, cfg, &dial, &listen);
        if (cfg->listener == cfg->intended ||
            (cfg->listener == M && cfg->kind != LINK_NETWORK)) {
            know(s, cfg->listener, &listen);
        }
        if (cfg->call && cfg->intended != M) {
            dial.kind = LINK_CALL;
            know(s, cfg->dialler, &dial);
        }
    }
}

/* Copies all candidates from the keyrings, or (back) into them. */
void aw_copy_rings(struct sim *s, struct link_candidate kept[PARTIES][KEPT_MAX],
                   bool back)
{
    for (unsigned i = 0; i < PARTIES; i++) {
        const struct keyring *k = &s->party[i].ring;
        aw_check(s, k->n <= KEPT_MAX, "too many candidates");
        for (size_t j = 0; j < k->n; j++) {
            struct link_candidate *in = &k->v[j], *out = &kept[i][j];
            world_candidate_copy(back ? in : out, back ? out : in);
        }
    }
}

/* The listeners restart without tags and counters. */
void aw_forget(struct sim *s)
{
    for (unsigned i = 0; i < PARTIES; i++) {
        struct keyring *k = &s->party[i].ring;
        for (size_t j = 0; j < k->n; j++) {
            k->v[j].n_tags = k->v[j].next_tag = 0;
            k->v[j].counter_seen = 0;
        }
    }
}

void aw_rested(struct sim *s)
{
    for (unsigned i = 0; i < PARTIES; i++) {
        struct keyring *k = &s->party[i].ring;
        k->trials = (struct bucket){0};
        memset(k->sources, 0, sizeof k->sources);
    }
}

/* Actors */

struct actor *aw_actor(struct sim *s, const struct config *cfg, bool dialler)
{
    aw_check(s, s->n_actors < ACTORS_MAX, "too many actors");
    struct actor *a = &s->actors[s->n_actors++];
    struct party *p = &s->party[dialler ? cfg->dialler : cfg->listener];
    *a = (struct actor){.id = s->next_id++,
                        .cfg = *cfg,
                        .owner = dialler ? cfg->dialler : cfg->listener,
                        .intended = cfg->intended,
                        .kind = cfg->kind,
                        .dialler = dialler && !cfg->call,
                        .calls = !dialler && cfg->call};
    s->env.wall_us += 10;
    if (a->dialler) {
        struct link_candidate dial;
        aw_candidates(s, cfg, &dial, NULL);
        a->l = link_dial(&p->self, &dial, cfg->carrier, s->env.wall_us, s->now);
    } else if (a->calls) {
        a->l = link_call(&p->self, &p->ring, cfg->intended + 1u, cfg->carrier, s->now);
    } else {
        a->l = link_listen(&p->self, &p->ring, cfg->carrier, s->now);
    }
    aw_check(s, a->l != NULL, "no link");
    return a;
}

struct actor *aw_begin(struct sim *s, const struct config *cfg)
{
    struct actor *d = aw_actor(s, cfg, true), *l = aw_actor(s, cfg, false);
    aw_speak(s, cfg->call ? l : d);
    return d;
}

void aw_release(struct actor *a)
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
    return WIRE_RECORD1 + (a->kind == LINK_CONTACT ? 0 : WIRE_RECORD3);
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
    return d->kind == LINK_NETWORK ? l->owner != M : d->intended == l->owner;
}

/* The one that the listener has made and the dialler taken, or none. */
static bool same_call(const struct actor *d, const struct actor *l)
{
    return d->called == l->calls &&
           (!d->called || memcmp(d->call, l->call, sizeof d->call) == 0);
}

static void came_up(struct sim *s, struct actor *a)
{
    struct actor *b = find_partner(s, a);
    s->ups++;
    aw_check(s, b != NULL, "agreement: up without a partner");
    const struct actor *d = a->dialler ? a : b, *l = a->dialler ? b : a;
    aw_check(s, meant(d, l), "agreement: not the one who was meant");
    aw_check(s, d->owner != l->owner, "agreement: with oneself");
    aw_check(s, same_call(d, l), "agreement: another call");
    aw_check(s, d->cfg.carrier == l->cfg.carrier, "agreement: another carrier");
    aw_check(s, !a->up && !b->taken, "agreement: one partner for two");
    aw_check(s, a->dialler || (b->up && b->partner == a),
             "agreement: before the dialler");
    const struct link_self *them = &s->party[a->dialler ? l->owner : d->owner].self;
    aw_check(s, memcmp(link_remote_static(a->l), them->stat_pub, 32) == 0,
             "agreement: another static");
    aw_check(s, link_kind(a->l) == d->kind, "agreement: another kind");
    memcpy(a->hash, link_hash(a->l), NOISE_HASH);
    if (!a->dialler) {
        aw_check(s, memcmp(a->hash, b->hash, NOISE_HASH) == 0, "agreement: another hash");
        aw_check(s, d->kind != LINK_CONTACT || link_ref(a->l) == d->owner + 1u,
                 "agreement: another contact");
    }
    if (d->kind != LINK_CONTACT) {
        const uint8_t *p;
        size_t n;
        const struct cert *c = link_remote_cert(a->l, &p, &n);
        aw_check(s, c != NULL && memcmp(c->root, them->root, KEYS_ROOT) == 0,
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
        aw_check(s, rc == 0, "a frame is refused");
    }
}

static void got_frame(struct sim *s, struct actor *a, const struct link_event *ev)
{
    struct rd r = rd_init(ev->payload, ev->len);
    uint32_t id = rd_u32(&r), seq = rd_u32(&r);
    aw_check(s, a->up && rd_end(&r) && ev->type == WORLD_FRAME,
             "frames: not what was sent");
    aw_check(s, id == a->partner->id, "frames: not from the partner");
    aw_check(s, seq == a->got && seq < a->partner->sent, "frames: not in order");
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

void aw_events(struct sim *s, struct actor *a)
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
            aw_check(s, !a->dialler && !a->up, "a counter from nowhere");
            break;
        case LINK_EV_CLOSED:
            aw_check(s,
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
    return same_call(d, a) &&
           (d->cfg.carrier == a->cfg.carrier || d->kind == LINK_STRANGER);
}

/* Tags are forgotten after LINK_TAGS others, everything in a restart. */
static bool may_be_replayed(const struct sim *s, size_t i, enum link_kind kind)
{
    return i < s->n_past && (s->forgetful || kind != LINK_CONTACT);
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
        bool shares = meant(d, a) || (a->owner == M && d->kind != LINK_NETWORK);
        made_for_us = made_for_us ||
                      (d->dialler && shares && same_prologue(d, a) &&
                       bytes_match(d->out, d->out_len, a->in, a->in_len, WIRE_RECORD1));
    }
    aw_check(s, made_for_us, "silence: a word to a stranger");
    for (size_t i = 0; i < s->n_actors; i++) {
        const struct actor *b = &s->actors[i];
        bool again = b != a && !b->dialler && b->out_len > 0 && b->owner == a->owner &&
                     bytes_match(b->in, b->in_len, a->in, a->in_len, WIRE_RECORD1);
        aw_check(s, !again || may_be_replayed(s, i, link_kind(a->l)),
                 "silence: a word to a replay");
    }
    s->answers++;
}

/* A listener is the dialler from now on: who has called, and with which code? */
static void took_call(struct sim *s, struct actor *a)
{
    bool made = false;
    a->dialler = a->called = a->has_call = true;
    a->kind = LINK_INVITE;
    a->intended = (uint8_t)(link_ref(a->l) - 1);
    memcpy(a->call, a->in, sizeof a->call);
    a->in_len -= sizeof a->call;
    memmove(a->in, a->in + sizeof a->call, a->in_len);
    for (size_t i = 0; i < s->n_actors; i++) {
        const struct actor *b = &s->actors[i];
        bool same =
            b != a && b->has_call && memcmp(b->call, a->call, sizeof a->call) == 0;
        made = made || (same && b->calls && b->intended == a->intended);
        aw_check(s,
                 !same || !b->called || b->owner != a->owner ||
                     may_be_replayed(s, i, LINK_INVITE),
                 "call: the same one again");
    }
    aw_check(s, made, "call: nobody has made it");
    s->calls++;
}

static void spend(struct sim *s, const struct noise_cipher *c, uint64_t n)
{
    for (size_t i = 0; i < s->n_nonces; i++) {
        aw_check(s, s->nonces[i].n != n || memcmp(s->nonces[i].k, c->k, NOISE_KEY) != 0,
                 "nonces: used twice");
    }
    aw_check(s, s->n_nonces < NONCES_MAX, "too many nonces");
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
void aw_speak(struct sim *s, struct actor *a)
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
        bool call = a->calls && !a->has_call;
        if (!call) {
            check_may_speak(s, a);
        }
        if (frame) {
            spend(s, &before, before.n);
            spend(s, &before, before.n + 1);
        }
        if (call) {
            aw_check(s, n == sizeof a->call, "a call of another length");
            memcpy(a->call, out, n);
            a->has_call = true;
        } else {
            remember(a->out, &a->out_len, a->dialler ? dialler_len(a) : WIRE_RECORD2, out,
                     n);
        }
        aw_check(s, a->n_outbox < OUTBOX_MAX, "a full outbox");
        struct msg *m = &a->outbox[a->n_outbox++];
        m->p = malloc(n);
        aw_check(s, m->p != NULL, "memory");
        memcpy(m->p, out, n);
        m->n = n;
        link_sent(a->l, n);
    }
    aw_events(s, a);
}

void aw_hear(struct sim *s, struct actor *a, const uint8_t *p, size_t n)
{
    size_t cap = a->dialler ? WIRE_RECORD2 : TRANSCRIPT_MAX;
    remember(a->in, &a->in_len, cap, p, n);
    (void)link_recv(a->l, p, n, s->now);
    if (!a->dialler && link_is_dialler(a->l)) {
        took_call(s, a);
    }
    aw_events(s, a);
    if (a->dialler && a->rehs_done && a->sent == 2 && link_is_up(a->l) &&
        a->l->s->next_ready) {
        say(s, a, 2);
    }
    if (!a->dialler && a->up && a->cfg.rehs && a->sent == 2 && link_is_up(a->l) &&
        a->l->s->next_ready) {
        say(s, a, 2);
    }
    aw_speak(s, a);
}