/* A bounded Dolev-Yao attacker over the real link state machines.
 *
 * A, B and C are honest: contacts of each other, members of one network, and A and C hold
 * an invite of B, who also calls them with it, and saw B's open beacon. M is not honest:
 * it holds the invite and saw the beacon too, listens under both, and calls A with the
 * invite, and with one of its own that A does not hold. All bytes go through the
 * attacker, who can drop, double, reorder, reflect, splice, change and replay them in
 * every place of every session, and put known bad points in place of ephemerals.
 *
 * First each session is run honestly and recorded. Then each kind of session is run again
 * with one thing wrong: in every place every recorded message, every message of its own
 * session and of the one before, every byte changed. Then random walks over several
 * sessions at a time.
 *
 * What must hold, always:
 *   agreement  a link comes up only with a partner, one and the same for both, who has
 *              the same handshake (bytes and hash), the intended identity and is not
 *              anybody else's partner, and has made the call that was taken, if there
 *              was one; a listener only after its dialler
 *   frames     what a link gives is what its partner sent, in that order, without gaps
 *   CLOSE      is believed only when the partner sent it
 *   silence    a listener sends nothing unless its first bytes are a record that was made
 *              for it, and not for a second time; or a call with a code that it holds,
 *              likewise
 *   nonces     no key seals twice under one nonce
 *
 * With an argument: the random walk of that seed only. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "attacker_world.h"

enum {
    MOVES_MAX = 64,
    START_MS = 1000,
    WALKS = 2000,
    WALK_STEPS = 140,
    WALK_SESSIONS = 6,
};

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

/* In which place record 1 is. */
static size_t slot_record1(const struct config *cfg)
{
    return cfg->call ? 1 : 0;
}

/* An attacker who holds the keys of tag and mask, though not the psk, puts a point of
 * its choice in place of the ephemeral. */
static void put_point(struct sim *s, const struct config *cfg, size_t slot,
                      const uint8_t *record1, uint8_t *p, const uint8_t *point)
{
    struct link_candidate c;
    aw_candidates(s, cfg, &c, NULL);
    if (slot == slot_record1(cfg)) {
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
        aw_hear(s, to, plan->with->p, plan->with->n);
        return;
    case INSERT:
        aw_hear(s, to, plan->with->p, plan->with->n);
        break;
    case DROP:
        return;
    case DOUBLE:
        aw_hear(s, to, bytes, n);
        break;
    case SWAP:
        if (from->next < from->n_outbox) {
            const struct msg *later = &from->outbox[from->next++];
            aw_hear(s, to, later->p, later->n);
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
    aw_hear(s, to, bytes, n);
}

static void clear_run(struct sim *s)
{
    for (size_t i = s->n_past; i < s->n_actors; i++) {
        aw_release(&s->actors[i]);
    }
    for (size_t i = 0; i < s->n_past; i++) {
        s->actors[i].partner = NULL;
    }
    s->n_actors = s->n_past;
    s->n_nonces = 0;
    aw_rested(s);
}

/* A session with one thing wrong; returns how many places for it there are. The actors
 * stay until clear_run(). */
static size_t run(struct sim *s, const struct config *cfg, const struct plan *plan)
{
    struct actor *d = aw_begin(s, cfg), *l = d + 1;
    size_t slot = 0;
    s->runs++;
    s->at_slot = plan->slot;
    if (s->forgetful) {
        aw_copy_rings(s, s->kept, false);
        aw_forget(s);
    }
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
        aw_copy_rings(s, s->kept, true);
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
        aw_check(s, both_up(s) == (i < CONFIGS_HONEST), "an honest session");
        if (i < CONFIGS_HONEST) {
            uint32_t frames = configs[i].rehs ? 4 : 2;
            aw_check(s, d->got == frames && l->got >= 2, "an honest session's frames");
            aw_check(s, !configs[i].rehs || memcmp(d->hash, l->hash, NOISE_HASH) == 0,
                     "hash");
        }
        for (int side = 0; side < 2; side++) {
            struct actor *a = side == 0 ? d : l;
            for (size_t j = 0; j < a->n_outbox; j++) {
                aw_check(s, s->n_pool < POOL_MAX, "a full pool");
                s->pool[s->n_pool++] = a->outbox[j];
            }
            a->n_outbox = 0; /* now the pool's */
            link_free(a->l);
            a->l = NULL;
        }
    }
    s->n_past = s->n_actors;
    aw_copy_rings(s, s->recorded, false);
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
            if (slot < slot_record1(cfg) + 4) {
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
    size_t first = slot_record1(cfg);
    for (size_t slot = 0; slot < slots && slot < first + 4; slot++) {
        size_t len = slot <= first ? WIRE_RECORD1 : slot < first + 3 ? WIRE_RECORD2 : 64;
        for (size_t pos = 0; pos < len; pos += slot <= first ? 1 : 3) {
            s->at_what = pos;
            try(s, cfg, (struct plan){CHANGE, slot, NULL, pos});
        }
    }
    static const size_t joints[] = {16, 32, 48, 64, 80, 96, 112, 176, 496};
    s->doing = "splicing";
    for (size_t slot = 0; slot < slots && slot < first + 3; slot++) {
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
    size_t first = slot_record1(cfg);
    for (size_t slot = first; slot < first + 2; slot++) {
        for (size_t i = 0; i < BAD_POINTS; i++) {
            struct plan plan = {BAD_POINT, slot, NULL, i};
            s->at_what = i;
            (void)run(s, cfg, &plan);
            aw_check(s, !s->actors[s->n_actors - 1].up && !s->actors[s->n_actors - 2].up,
                     "a bad point came up");
            aw_check(s, slot != first || s->actors[s->n_actors - 1].out_len == 0,
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
        struct actor *d = aw_begin(s, cfg), *l = d + 1;
        s->runs++;
        s->at_slot = first;
        for (size_t slot = 0; slot < slots; slot++) {
            struct actor *from = d->next < d->n_outbox ? d : l, *to = from == d ? l : d;
            if (from->next == from->n_outbox) {
                break;
            }
            struct msg m = from->outbox[from->next++];
            if (slot == first) {
                aw_hear(s, from, m.p, m.n);
            }
            aw_hear(s, to, m.p, m.n);
        }
        clear_run(s);
    }
}

/* Each message of a session comes once more, to the same side of the next one. */
static void repeat(struct sim *s, const struct config *cfg, size_t slots)
{
    static const struct plan honest = {.wrong = HONEST, .slot = SIZE_MAX};
    s->doing = "repeating";
    for (size_t i = 0; i < slots; i++) {
        (void)run(s, cfg, &honest);
        struct actor *d = &s->actors[s->n_actors - 2], *l = d + 1;
        bool theirs = i >= d->n_outbox;
        struct actor *to = aw_begin(s, cfg) + (theirs ? 0 : 1);
        const struct msg *m = theirs ? &l->outbox[i - d->n_outbox] : &d->outbox[i];
        s->at_slot = i;
        aw_hear(s, to, m->p, m->n);
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
            aw_hear(s, to, m->p, m->n);
        }
    } else if (dice < 965) { /* any other one */
        const struct msg *m = any_message(s);
        aw_hear(s, to, m->p, m->n);
    } else if (dice < 975) { /* changed or spliced */
        const struct msg *m = any_message(s), *o = any_message(s);
        memcpy(bytes, m->p, m->n);
        size_t at = below(s, m->n);
        bytes[at] ^= 1;
        for (size_t j = at; below(s, 2) == 0 && j < m->n && j < o->n; j++) {
            bytes[j] = o->p[j];
        }
        aw_hear(s, to, bytes, m->n);
    } else if (dice < 980) { /* a piece of one */
        const struct msg *m = any_message(s);
        aw_hear(s, to, m->p, below(s, m->n));
    } else if (dice < 985) {
        from->next += from->next < from->n_outbox;
    } else if (dice < 997) {
        s->now += below(s, 500);
        link_tick(to->l, s->now);
        aw_speak(s, to);
    } else {
        link_carrier_closed(to->l, s->now);
        aw_events(s, to);
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
    aw_copy_rings(s, s->recorded, true);
    if (s->forgetful) {
        aw_forget(s);
    }
    for (size_t i = 0; i < WALK_SESSIONS; i++) {
        const struct config *cfg = &configs[below(s, CONFIGS)];
        (void)aw_begin(s, cfg);
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
        aw_check(s, both_up(s) == (i < CONFIGS_HONEST), "an honest session");
        clear_run(s);
        disturb(s, &configs[i], slots);
        reflect(s, &configs[i], slots);
        repeat(s, &configs[i], slots);
        points(s, &configs[i]);
        for (int forgetful = 0; forgetful < 2; forgetful++) {
            s->forgetful = forgetful != 0;
            size_t most = slot_record1(&configs[i]) + 3;
            substitute(s, &configs[i], forgetful != 0 && slots > most ? most : slots);
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
    aw_parties(s);
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
        aw_check(s, s->ups - before > WALKS,
                 "the walks hardly ever come up: they prove little");
    }
    printf("%zu recorded messages, %zu runs, %zu links came up, %zu listeners answered, "
           "%zu stayed silent, %zu calls were taken\n",
           s->n_pool, s->runs, s->ups, s->answers, s->silences, s->calls);
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
