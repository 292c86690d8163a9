#include "contact_make.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#define MUST(x)                                                                          \
    do {                                                                                 \
        if (!(x)) {                                                                      \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                      \
            abort();                                                                     \
        }                                                                                \
    } while (0)

static const uint64_t START_US = 1700000000ULL * 1000000;

static void side_random(void *ctx, void *buf, size_t len)
{
    struct side *s = ctx;
    uint8_t seed[randombytes_SEEDBYTES] = {0};
    s->seed++;
    memcpy(seed, &s->seed, sizeof s->seed);
    randombytes_buf_deterministic(buf, len, seed);
}

static uint64_t side_wall(void *ctx)
{
    return ((struct side *)ctx)->wall_us;
}

static int load_one(void *ctx, const struct rec *r)
{
    return contacts_load(ctx, r);
}

static void side_start(struct side *s)
{
    struct contacts_self self = {&s->env, {0}, 1, s->cert_bytes, s->cert_len};
    memcpy(self.root, s->root, sizeof self.root);
    s->c = contacts_new(&self);
    MUST(s->c != NULL);
    contacts_set_device(s->c, &s->dev);
    if (s->store != NULL) {
        MUST(store_load(s->store, load_one, s->c) == 0);
    }
}

static void side_make(struct side *s, uint64_t seed, const char *name)
{
    memset(s, 0, sizeof *s);
    s->wall_us = START_US;
    s->seed = seed << 32;
    s->env = (struct env){s, side_random, side_wall};
    uint8_t key[KEYS_SEED], sec[32];
    side_random(s, key, sizeof key);
    keys_root(key, s->root, s->sign);
    side_random(s, sec, sizeof sec);
    keys_public(sec, s->cert.stat);
    side_random(s, sec, sizeof sec);
    keys_public(sec, s->cert.box);
    s->cert.not_before = START_US / 1000000;
    MUST(cert_sign(&s->cert, s->sign, s->cert_bytes, &s->cert_len) == 0);
    s->dev = (struct wire_device){.cert = s->cert_bytes,
                                  .cert_len = s->cert_len,
                                  .box_time = 1700000000,
                                  .has_presence = true};
    memcpy(s->dev.box, s->cert.box, sizeof s->dev.box);
    side_random(s, s->dev.presence_p, sizeof s->dev.presence_p);
    side_random(s, s->dev.presence_a, sizeof s->dev.presence_a);
    (void)snprintf(s->dev.name, sizeof s->dev.name, "%s", name);
}

void side_init(struct side *s, uint64_t seed, const char *name)
{
    char why[256];
    side_make(s, seed, name);
    MUST(store_open(":memory:", &s->store, why, sizeof why) == 0);
    side_start(s);
}

void side_init_bare(struct side *s, uint64_t seed, const char *name)
{
    side_make(s, seed, name);
    side_start(s);
}

void side_release(struct side *s)
{
    contacts_free(s->c);
    txn_release(&s->txn);
    store_events_release(&s->events);
    store_close(s->store);
    memset(s, 0, sizeof *s);
}

static void drain_events(struct side *s)
{
    struct contacts_event ev;
    while (contacts_next_event(s->c, &ev)) {
        switch (ev.kind) {
        case CONTACTS_EV_CHANGED:
            s->changed++;
            break;
        case CONTACTS_EV_GONE:
            s->gone++;
            break;
        case CONTACTS_EV_INVITES:
            s->invites++;
            break;
        case CONTACTS_EV_PAIRED:
            s->paired++;
            break;
        case CONTACTS_EV_STORED:
            s->stored++;
            break;
        case CONTACTS_EV_ASKED:
            s->asked++;
            break;
        case CONTACTS_EV_CLOSE:
            s->closed++;
            s->close_code = ev.code;
            s->close_conn = ev.conn;
            break;
        case CONTACTS_EV_FAILED:
            s->failed++;
            s->fail_code = ev.code;
            break;
        }
    }
}

void side_commit(struct side *s)
{
    if (s->txn.n > 0 && s->store != NULL) {
        const struct txn *t = &s->txn;
        MUST(store_commit(s->store, &t, 1, &s->events) == 0);
    }
    txn_release(&s->txn);
    memset(&s->txn, 0, sizeof s->txn);
    drain_events(s);
}

void side_crash(struct side *s)
{
    txn_release(&s->txn);
    memset(&s->txn, 0, sizeof s->txn);
    contacts_free(s->c);
    side_start(s);
}

void side_forget(struct side *s)
{
    s->asked = 0;
    s->changed = s->gone = s->invites = s->paired = s->stored = s->failed = 0;
    s->closed = s->close_code = s->fail_code = 0;
}

unsigned side_told(const struct side *s, enum event_what what)
{
    unsigned n = 0;
    for (size_t i = 0; i < s->events.n; i++) {
        n += s->events.v[i].event.what == what;
    }
    return n;
}

const struct rec_contact *side_contact(const struct side *s, const struct side *other)
{
    return contacts_by_root(s->c, other->root);
}

size_t side_adding_count(const struct side *s)
{
    size_t n = 0, pos = 0;
    while (contacts_adding_next(s->c, &pos) != NULL) {
        n++;
    }
    return n;
}

/* ---- a link ---- */

/* What a committed call wants to send; a crash before it would have sent nothing. */
static void collect(struct wire_sim *w, bool from_a)
{
    struct side *s = from_a ? w->a : w->b;
    size_t dir = from_a ? 0 : 1;
    struct contacts_out out;
    s->closed = 0;
    side_commit(s);
    while (contacts_next_out(s->c, &out)) {
        if (out.conn != w->conn) {
            continue;
        }
        MUST(out.len <= sizeof w->q[0][0].bytes && w->tail[dir] < WIRE_FRAMES_MAX);
        w->q[dir][w->tail[dir]].type = (uint8_t)out.type;
        memcpy(w->q[dir][w->tail[dir]].bytes, out.payload, out.len);
        w->q[dir][w->tail[dir]++].len = out.len;
    }
    if (s->closed > 0 && s->close_conn == w->conn) {
        sim_down(w);
    }
}

void sim_up(struct wire_sim *w, struct side *a, struct side *b, uint32_t conn,
            uint32_t slot, uint32_t invite)
{
    memset(w, 0, sizeof *w);
    w->a = a;
    w->b = b;
    w->conn = conn;
    uint8_t hash[64];
    memset(hash, 0x40, sizeof hash);
    memcpy(hash, &conn, sizeof conn);
    memcpy(hash + 8, a->root, 8);
    w->err[0] = contacts_pair_up(a->c, conn, true, slot, &b->cert, b->cert_bytes,
                                 b->cert_len, hash);
    collect(w, true);
    if (w->down || w->err[0] != 0) {
        return;
    }
    w->err[1] = contacts_pair_up(b->c, conn, false, invite, &a->cert, a->cert_bytes,
                                 a->cert_len, hash);
    collect(w, false);
}

static int stranger_end(struct wire_sim *w, bool at_a, uint32_t slot,
                        const struct addr *from)
{
    struct side *me = at_a ? w->a : w->b, *peer = at_a ? w->b : w->a;
    uint8_t hash[64];
    memset(hash, 0x50, sizeof hash);
    memcpy(hash, &w->conn, sizeof w->conn);
    struct contacts_stranger s = {.conn = w->conn,
                                  .dialler = at_a,
                                  .slot = slot,
                                  .port = 7679,
                                  .addr = from,
                                  .cert = &peer->cert,
                                  .cert_bytes = peer->cert_bytes,
                                  .cert_len = peer->cert_len,
                                  .hash = hash};
    return contacts_stranger_up(me->c, &s, me->now_ms);
}

void sim_up_stranger(struct wire_sim *w, struct side *a, struct side *b, uint32_t conn,
                     uint32_t slot, const struct addr *from)
{
    static const struct addr usual = {.family = 4, .ip = {10, 0, 0, 1}, .port = 40000};
    memset(w, 0, sizeof *w);
    w->a = a;
    w->b = b;
    w->conn = conn;
    from = from == NULL ? &usual : from;
    w->err[0] = stranger_end(w, true, slot, from);
    collect(w, true);
    w->down = w->down || w->err[0] != 0;
    if (w->down || w->err[0] != 0) {
        return;
    }
    w->err[1] = stranger_end(w, false, 0, from);
    collect(w, false);
    if (w->err[1] != 0) {
        sim_down(w);
    }
}

bool sim_step(struct wire_sim *w, bool to_b)
{
    size_t dir = to_b ? 0 : 1;
    if (w->down || w->head[dir] == w->tail[dir]) {
        return false;
    }
    struct side *s = to_b ? w->b : w->a;
    size_t i = w->head[dir]++;
    w->err[dir == 0 ? 1 : 0] = contacts_pair_recv(
        s->c, &s->txn, w->conn, w->q[dir][i].type, w->q[dir][i].bytes, w->q[dir][i].len);
    collect(w, !to_b);
    return true;
}

unsigned sim_run(struct wire_sim *w, unsigned steps)
{
    unsigned done = 0;
    bool to_b = !w->b_was_first;
    while (done < steps && !w->down) {
        if (!sim_step(w, to_b) && !sim_step(w, !to_b)) {
            break;
        }
        done++;
        to_b = !to_b;
    }
    return done;
}

void sim_down(struct wire_sim *w)
{
    if (!w->down) {
        w->down = true;
        contacts_pair_down(w->a->c, w->conn);
        contacts_pair_down(w->b->c, w->conn);
    }
}

/* ---- people ---- */

void side_invite(struct side *s, uint64_t expires_s, char code[WIRE_CODE_MAX + 1],
                 uint32_t *id)
{
    MUST(contacts_invite(s->c, &s->txn, expires_s, NULL, 0, code, id) == 0);
    side_commit(s);
}

uint32_t side_add(struct side *s, const char *code, const char *as)
{
    uint32_t slot = 0;
    MUST(contacts_add(s->c, &s->txn, code, strlen(code), as, &slot) == 0);
    side_commit(s);
    return slot;
}

uint32_t side_ask(struct side *s, const struct side *other, const char *as,
                  const char *line)
{
    uint8_t hash[32];
    uint32_t slot = 0;
    cert_hash(other->cert_bytes, other->cert_len, hash);
    MUST(contacts_ask(s->c, hash, as, line, &slot) == 0);
    return slot;
}

const struct rec_request *side_request(const struct side *s)
{
    size_t pos = 0;
    return contacts_request_next(s->c, &pos);
}

unsigned side_judge(const struct side *s, uint32_t id, const struct side *who)
{
    return contacts_invite_judge(s->c, id, who->root, s->wall_us / 1000000);
}

bool sides_paired(const struct side *a, const struct side *b)
{
    const struct rec_contact *ab = side_contact(a, b), *ba = side_contact(b, a);
    if (ab == NULL || ba == NULL || sodium_is_zero(ab->pair, sizeof ab->pair) ||
        memcmp(ab->pair, ba->pair, sizeof ab->pair) != 0 || side_adding_count(a) != 0) {
        return false;
    }
    size_t pos = 0;
    const struct rec_device *d = contacts_device_next(a->c, ab->id, &pos);
    return d != NULL && memcmp(d->stat, b->cert.stat, sizeof d->stat) == 0 &&
           memcmp(d->device, b->cert.device, sizeof d->device) == 0 &&
           memcmp(d->box, b->dev.box, sizeof d->box) == 0 && d->has_presence &&
           memcmp(d->presence_p, b->dev.presence_p, sizeof d->presence_p) == 0 &&
           d->cert.n == b->cert_len && memcmp(d->cert.p, b->cert_bytes, d->cert.n) == 0 &&
           contacts_device_next(a->c, ab->id, &pos) == NULL;
}

const struct rec_contact *side_meet(struct side *x, struct side *y, const char *as)
{
    struct wire_sim w;
    char code[WIRE_CODE_MAX + 1];
    uint32_t id, slot;
    side_invite(y, 3600, code, &id);
    slot = side_add(x, code, as);
    sim_up(&w, x, y, 1000 + id, slot, id);
    (void)sim_run(&w, SIM_ALL);
    MUST(sides_paired(x, y));
    return side_contact(x, y);
}

void pair_init(struct pair *p)
{
    side_init(&p->a, 1, "alice");
    side_init(&p->b, 2, "bob");
    side_invite(&p->b, 3600, p->code, &p->invite);
    p->slot = side_add(&p->a, p->code, NULL);
}

void pair_release(struct pair *p)
{
    side_release(&p->a);
    side_release(&p->b);
}

void pair_run(struct pair *p, uint32_t conn)
{
    sim_up(&p->w, &p->a, &p->b, conn, p->slot, p->invite);
    (void)sim_run(&p->w, SIM_ALL);
}
