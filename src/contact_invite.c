/* Invites that we gave out, and codes of others that we hold (contact_priv.h). */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "contact_priv.h"

static uint64_t wall_s(const struct contacts *c)
{
    return env_wall_ms(c->self.env) / 1000;
}

void contacts_invites_free(struct contacts *c)
{
    if (c->invites != NULL) {
        sodium_memzero(c->invites, c->cap_invites * sizeof *c->invites);
    }
    free(c->invites);
    for (size_t i = 0; i < c->n_addings; i++) {
        sodium_memzero(c->addings[i], sizeof *c->addings[i]);
        free(c->addings[i]);
    }
}

/* ---- invites ---- */

struct rec_invite *contacts_invite_row(const struct contacts *c, uint32_t id)
{
    for (size_t i = 0; i < c->n_invites; i++) {
        if (c->invites[i].id == id) {
            return &c->invites[i];
        }
    }
    return NULL;
}

/* Room for one more; a moved array leaves no secrets behind. */
static bool invites_grow(struct contacts *c)
{
    if (c->n_invites < c->cap_invites) {
        return true;
    }
    size_t cap = c->cap_invites == 0 ? 8 : 2 * c->cap_invites;
    struct rec_invite *v = calloc(cap, sizeof *v);
    if (v == NULL) {
        return false;
    }
    if (c->invites != NULL) {
        memcpy(v, c->invites, c->n_invites * sizeof *v);
        sodium_memzero(c->invites, c->cap_invites * sizeof *v);
    }
    free(c->invites);
    c->invites = v;
    c->cap_invites = cap;
    return true;
}

int contacts_load_invite(struct contacts *c, const struct rec_invite *r)
{
    if (r->id == 0 || contacts_invite_row(c, r->id) != NULL) {
        return ERR_CORRUPT;
    }
    if (!invites_grow(c)) {
        return ERR_NOMEM;
    }
    size_t i = c->n_invites++;
    for (; i > 0 && c->invites[i - 1].id > r->id; i--) {
        c->invites[i] = c->invites[i - 1];
    }
    c->invites[i] = *r;
    if (r->id > c->last_invite) {
        c->last_invite = r->id;
    }
    return 0;
}

static int put_invite(struct txn *t, const struct rec_invite *v, bool del)
{
    struct rec r = {.kind = REC_INVITE, .del = del, .u.invite = *v};
    int err = txn_add(t, &r);
    sodium_memzero(&r, sizeof r);
    return err;
}

/* Deletes the row at place i. 0, ERR_NOMEM: nothing is changed. */
static int invite_delete(struct contacts *c, struct txn *t, size_t i)
{
    int err = put_invite(t, &c->invites[i], true);
    if (err != 0) {
        return err;
    }
    memmove(&c->invites[i], &c->invites[i + 1],
            (c->n_invites - i - 1) * sizeof *c->invites);
    sodium_memzero(&c->invites[--c->n_invites], sizeof *c->invites);
    return 0;
}

static bool is_open(const struct rec_invite *v, uint64_t now_s)
{
    return !v->used && !v->revoked && now_s < v->expiry_s;
}

/* When an invite that is over was so at the latest. */
static uint64_t over_s(const struct rec_invite *v)
{
    return v->used || v->revoked ? v->ended_s : v->expiry_s;
}

/* Room among the kept ones, at the cost of the one that is over longest. */
static int make_room(struct contacts *c, struct txn *t, uint64_t now_s)
{
    size_t open = 0, oldest = SIZE_MAX;
    for (size_t i = 0; i < c->n_invites; i++) {
        if (is_open(&c->invites[i], now_s)) {
            open++;
        } else if (oldest == SIZE_MAX ||
                   over_s(&c->invites[i]) < over_s(&c->invites[oldest])) {
            oldest = i;
        }
    }
    if (open >= INVITES_OPEN_MAX) {
        return ERR_LIMIT;
    }
    return c->n_invites < INVITES_KEPT_MAX ? 0 : invite_delete(c, t, oldest);
}

int contacts_invite(struct contacts *c, struct txn *t, uint64_t expires_s,
                    const struct addr *addrs, size_t n_addrs, char out[WIRE_CODE_MAX + 1],
                    uint32_t *id)
{
    uint64_t now = wall_s(c);
    if (expires_s == 0 || expires_s > INVITE_EXPIRES_MAX_S ||
        now + expires_s > UINT32_MAX || n_addrs > WIRE_CODE_ADDRS_MAX) {
        return ERR_ARG;
    }
    struct wire_code code = {.expiry_s = (uint32_t)(now + expires_s), .n_addrs = n_addrs};
    for (size_t i = 0; i < n_addrs; i++) {
        if (!addr_is_dialable(&addrs[i])) {
            return ERR_ARG;
        }
        code.addrs[i] = addrs[i];
    }
    int err = make_room(c, t, now);
    if (err != 0) {
        return err;
    }
    if (c->last_invite == UINT32_MAX) {
        return ERR_LIMIT;
    }
    if (!invites_grow(c) || contacts_room(c) != 0) {
        return ERR_NOMEM;
    }
    struct rec_invite v = {
        .id = c->last_invite + 1, .created_s = now, .expiry_s = now + expires_s};
    memcpy(code.root, c->self.root, sizeof code.root);
    env_random(c->self.env, code.secret, sizeof code.secret);
    memcpy(v.secret, code.secret, sizeof v.secret);
    err = wire_code_put(&code, out);
    if (err == 0) {
        err = put_invite(t, &v, false);
    }
    if (err == 0) {
        c->invites[c->n_invites++] = v;
        c->last_invite = v.id;
        *id = v.id;
        contacts_event_add(c, (struct contacts_event){CONTACTS_EV_INVITES, 0, 0, 0, 0});
    }
    sodium_memzero(&v, sizeof v);
    sodium_memzero(&code, sizeof code);
    return err;
}

int contacts_revoke(struct contacts *c, struct txn *t, uint32_t id)
{
    struct rec_invite *v = contacts_invite_row(c, id);
    if (v == NULL) {
        return ERR_NOTFOUND;
    }
    if (v->used || v->revoked) {
        return ERR_STATE;
    }
    if (contacts_room(c) != 0) {
        return ERR_NOMEM;
    }
    v->revoked = true;
    v->ended_s = wall_s(c);
    contacts_event_add(c, (struct contacts_event){CONTACTS_EV_INVITES, 0, 0, 0, 0});
    return put_invite(t, v, false);
}

const struct rec_invite *contacts_invite_get(const struct contacts *c, uint32_t id)
{
    return contacts_invite_row(c, id);
}

const struct rec_invite *contacts_invite_next(const struct contacts *c, size_t *pos)
{
    return *pos < c->n_invites ? &c->invites[(*pos)++] : NULL;
}

unsigned contacts_invite_judge(const struct contacts *c, uint32_t id,
                               const uint8_t root[WIRE_ID], uint64_t now_s)
{
    const struct rec_invite *v = contacts_invite_row(c, id);
    const struct contact *k = contacts_row_by_root(c, root);
    uint32_t flags = k == NULL ? 0 : k->r.flags;
    if (v == NULL) {
        return CLOSE_EXPIRED;
    }
    if (memcmp(root, c->self.root, WIRE_ID) == 0) {
        return CLOSE_PROTOCOL;
    }
    if (v->used && memcmp(v->used_by, root, WIRE_ID) != 0) {
        return CLOSE_USED;
    }
    if (v->revoked || contacts_root_blocked(c, root) ||
        (v->used && (flags & CONTACT_REMOVED) != 0)) {
        return CLOSE_REVOKED;
    }
    return now_s < v->expiry_s ? 0 : CLOSE_EXPIRED;
}

int contacts_invite_burn(struct contacts *c, struct txn *t, uint32_t id,
                         const uint8_t root[WIRE_ID], uint32_t contact, const char *name)
{
    struct rec_invite *v = contacts_invite_row(c, id);
    if (v == NULL || v->used) {
        return 0;
    }
    v->used = true;
    v->ended_s = wall_s(c);
    memcpy(v->used_by, root, WIRE_ID);
    contacts_event_add(c, (struct contacts_event){CONTACTS_EV_INVITES, 0, 0, 0, 0});
    int err = put_invite(t, v, false);
    return err != 0 ? err : contacts_tell(t, EVENT_INVITE_USED, contact, id, name);
}

/* ---- adding ---- */

struct adding *contacts_adding_row(const struct contacts *c, uint32_t slot)
{
    for (size_t i = 0; i < c->n_addings; i++) {
        if (c->addings[i]->pub.slot == slot) {
            return c->addings[i];
        }
    }
    return NULL;
}

static struct adding *adding_by_secret(const struct contacts *c, const uint8_t secret[32])
{
    for (size_t i = 0; i < c->n_addings; i++) {
        if (sodium_memcmp(c->addings[i]->pub.code.secret, secret, 32) == 0) {
            return c->addings[i];
        }
    }
    return NULL;
}

static int put_adding(struct txn *t, const struct adding *a, bool del)
{
    struct rec r = {.kind = REC_ADDING, .del = del};
    struct rec_adding *v = &r.u.adding;
    memcpy(v->secret, a->pub.code.secret, sizeof v->secret);
    memcpy(v->root, a->pub.code.root, sizeof v->root);
    memcpy(v->as, a->pub.as, sizeof v->as);
    v->started_ms = a->started_ms;
    int err = ERR_NOMEM;
    if (blob_set(&v->code, a->text, strlen(a->text))) {
        err = txn_add(t, &r);
    }
    sodium_memzero(&r, sizeof r);
    return err;
}

static void adding_free(struct adding *a)
{
    sodium_memzero(a, sizeof *a);
    free(a);
}

static struct adding *adding_new(struct contacts *c, const struct wire_code *code)
{
    struct adding *a = calloc(1, sizeof *a);
    if (a == NULL) {
        return NULL;
    }
    if (wire_code_put(code, a->text) != 0) {
        adding_free(a);
        return NULL;
    }
    a->pub.code = *code;
    a->pub.slot = ++c->last_slot;
    return a;
}

int contacts_load_adding(struct contacts *c, const struct rec_adding *r)
{
    struct wire_code code;
    if (wire_code_get((const char *)r->code.p, r->code.n, &code) != 0 ||
        c->n_addings == ADDINGS_MAX) {
        return ERR_CORRUPT;
    }
    struct adding *a = adding_new(c, &code);
    sodium_memzero(&code, sizeof code);
    if (a == NULL) {
        return ERR_NOMEM;
    }
    memcpy(a->pub.as, r->as, sizeof a->pub.as);
    a->pub.as[WIRE_NAME_MAX] = 0;
    a->started_ms = r->started_ms;
    c->addings[c->n_addings++] = a;
    return 0;
}

/* Goes on with a code that is held already; another name replaces the first. */
static int add_again(struct contacts *c, struct txn *t, struct adding *a, const char *as,
                     uint32_t *slot)
{
    if (as[0] != 0 && strcmp(as, a->pub.as) != 0) {
        memset(a->pub.as, 0, sizeof a->pub.as);
        memcpy(a->pub.as, as, strlen(as));
        int err = put_adding(t, a, false);
        if (err != 0) {
            return err;
        }
    }
    contacts_event_add(c, (struct contacts_event){CONTACTS_EV_INVITES, 0, 0, 0, 0});
    *slot = a->pub.slot;
    return 0;
}

static int add_new(struct contacts *c, struct txn *t, const struct wire_code *code,
                   const char *as, uint32_t *slot)
{
    const struct contact *k = contacts_row_by_root(c, code->root);
    bool there = k != NULL && (k->r.flags & CONTACT_REMOVED) == 0;
    if (there && (k->r.flags & CONTACT_BLOCKED) != 0) {
        return ERR_REFUSED;
    }
    if (c->n_addings == ADDINGS_MAX || (!there && contacts_full(c))) {
        return ERR_LIMIT;
    }
    struct adding *a = adding_new(c, code);
    if (a == NULL) {
        return ERR_NOMEM;
    }
    memcpy(a->pub.as, as, strlen(as));
    a->started_ms = env_wall_ms(c->self.env);
    int err = put_adding(t, a, false);
    if (err != 0) {
        adding_free(a);
        return err;
    }
    c->addings[c->n_addings++] = a;
    contacts_event_add(c, (struct contacts_event){CONTACTS_EV_INVITES, 0, 0, 0, 0});
    *slot = a->pub.slot;
    return 0;
}

int contacts_add(struct contacts *c, struct txn *t, const char *code, size_t len,
                 const char *as, uint32_t *slot)
{
    struct wire_code v;
    as = as == NULL ? "" : as;
    size_t as_len = strlen(as);
    int err = wire_code_get(code, len, &v);
    if (err != 0) {
        return err;
    }
    if (as_len > 0 &&
        (as_len > WIRE_NAME_MAX || !wire_name_ok((const uint8_t *)as, as_len))) {
        err = ERR_ARG;
    } else if (memcmp(v.root, c->self.root, WIRE_ID) == 0) {
        err = ERR_STATE;
    } else {
        err = contacts_room(c);
    }
    if (err == 0) {
        struct adding *a = adding_by_secret(c, v.secret);
        err = a != NULL ? add_again(c, t, a, as, slot) : add_new(c, t, &v, as, slot);
    }
    sodium_memzero(&v, sizeof v);
    return err;
}

const struct contacts_adding *contacts_adding_next(const struct contacts *c, size_t *pos)
{
    return *pos < c->n_addings ? &c->addings[(*pos)++]->pub : NULL;
}

static int drop_at(struct contacts *c, struct txn *t, size_t i)
{
    int err = put_adding(t, c->addings[i], true);
    if (err != 0) {
        return err;
    }
    adding_free(c->addings[i]);
    c->n_addings--;
    memmove(&c->addings[i], &c->addings[i + 1],
            (c->n_addings - i) * sizeof(struct adding *));
    contacts_event_add(c, (struct contacts_event){CONTACTS_EV_INVITES, 0, 0, 0, 0});
    return 0;
}

int contacts_adding_drop(struct contacts *c, struct txn *t, uint32_t slot)
{
    for (size_t i = 0; i < c->n_addings; i++) {
        if (c->addings[i]->pub.slot == slot) {
            return drop_at(c, t, i);
        }
    }
    return 0;
}

/* Gives up the code at place i, with the reason. */
static int give_up(struct contacts *c, struct txn *t, size_t i, unsigned code)
{
    const struct adding *a = c->addings[i];
    const struct contact *k = contacts_row_by_root(c, a->pub.code.root);
    struct contacts_event ev = {CONTACTS_EV_FAILED, k == NULL ? 0 : k->r.id, a->pub.slot,
                                0, code};
    int err = contacts_tell(t, EVENT_ADD_FAILED, ev.contact, code, a->pub.as);
    if (err == 0) {
        err = drop_at(c, t, i);
    }
    if (err == 0) {
        contacts_event_add(c, ev);
    }
    return err;
}

void contacts_add_failed(struct contacts *c, struct txn *t, uint32_t slot, unsigned code)
{
    if (code != CLOSE_USED && code != CLOSE_REVOKED && code != CLOSE_EXPIRED) {
        return;
    }
    for (size_t i = 0; i < c->n_addings && contacts_room(c) == 0; i++) {
        if (c->addings[i]->pub.slot == slot) {
            (void)give_up(c, t, i, code);
            return;
        }
    }
}

int contacts_addings_drop_root(struct contacts *c, struct txn *t,
                               const uint8_t root[WIRE_ID])
{
    for (size_t i = c->n_addings; i-- > 0;) {
        const struct adding *a = c->addings[i];
        if (memcmp(a->pub.code.root, root, WIRE_ID) != 0) {
            continue;
        }
        struct contacts_event ev = {CONTACTS_EV_FAILED, 0, a->pub.slot, 0, CLOSE_NORMAL};
        int err = drop_at(c, t, i);
        if (err != 0) {
            return err;
        }
        contacts_event_add(c, ev);
    }
    return 0;
}

/* ---- what is over ---- */

/* When the wall clock jumped (no clock at boot, a user who sets it), codes started before
 * are as old as they were, not decades older. */
static void follow_clock(struct contacts *c, struct txn *t, uint64_t wall,
                         uint64_t now_ms)
{
    int64_t jump = (int64_t)(wall - c->last_wall) - (int64_t)(now_ms - c->last_ms);
    bool first = c->last_wall == 0;
    c->last_wall = wall;
    c->last_ms = now_ms;
    if (first || (jump < CLOCK_JUMP_MS && jump > -CLOCK_JUMP_MS)) {
        return;
    }
    for (size_t i = 0; i < c->n_addings; i++) {
        int64_t at = (int64_t)c->addings[i]->started_ms + jump;
        c->addings[i]->started_ms = at > 0 ? (uint64_t)at : 0;
        (void)put_adding(t, c->addings[i], false);
    }
}

void contacts_sweep(struct contacts *c, struct txn *t, uint64_t now_ms)
{
    uint64_t wall = env_wall_ms(c->self.env), now_s = wall / 1000;
    follow_clock(c, t, wall, now_ms);
    if (now_ms < c->sweep_ms) {
        return;
    }
    c->sweep_ms = now_ms + SWEEP_MS;
    size_t invites = c->n_invites;
    for (size_t i = invites; i-- > 0;) {
        const struct rec_invite *v = &c->invites[i];
        if (!is_open(v, now_s) && now_s >= over_s(v) + INVITE_KEEP_S) {
            (void)invite_delete(c, t, i);
        }
    }
    if (c->n_invites < invites) {
        contacts_event_add(c, (struct contacts_event){CONTACTS_EV_INVITES, 0, 0, 0, 0});
    }
    for (size_t i = c->n_addings; i-- > 0;) {
        uint64_t started = c->addings[i]->started_ms;
        if (wall >= started && wall - started >= (uint64_t)ADDING_GIVE_UP_MS) {
            (void)give_up(c, t, i, CLOSE_EXPIRED);
        }
    }
}
