#include "seed.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

enum { BATCH = 256 };

void seed_person(struct seed_person *p, const struct env *env, const struct keyfile *key,
                 const char *name)
{
    uint8_t sk[64];
    struct cert cert = {.not_before = env_wall_us(env) / 1000000};

    memset(p, 0, sizeof(*p));
    p->made_s = cert.not_before;
    (void)snprintf(p->name, sizeof(p->name), "%s", name);
    if (key != NULL) {
        p->key = *key;
    } else {
        env_random(env, &p->key, sizeof(p->key));
        keys_self(p->key.seed, p->key.self);
    }
    keys_root(p->key.seed, p->root, p->root_sec);
    keys_public(p->key.device_sec, p->stat);
    keys_device_id(p->root, p->stat, p->device);
    env_random(env, p->box_sec, sizeof(p->box_sec));
    keys_public(p->box_sec, p->box_pub);
    (void)crypto_sign_seed_keypair(p->presence_a, sk, p->key.presence_a);
    memcpy(cert.stat, p->stat, 32);
    memcpy(cert.box, p->box_pub, 32);
    int err = cert_sign(&cert, p->root_sec, p->cert, &p->cert_len);
    assert(err == 0);
    (void)err;
}

static void add(struct txn *t, struct rec *r)
{
    int err = txn_add(t, r);

    assert(err == 0);
    (void)err;
}

static void add_device(struct txn *t, const struct seed_person *p, uint32_t id,
                       uint32_t contact)
{
    struct rec r = {.kind = REC_DEVICE};
    struct rec_device *d = &r.u.device;

    d->id = id;
    d->contact = contact;
    memcpy(d->device, p->device, 32);
    memcpy(d->stat, p->stat, 32);
    memcpy(d->box, p->box_pub, 32);
    d->box_time = p->made_s;
    d->has_presence = contact != 0;
    memcpy(d->presence_p, p->key.presence_p, 32);
    memcpy(d->presence_a, p->presence_a, 32);
    bool ok = blob_set(&d->cert, p->cert, p->cert_len);
    assert(ok);
    (void)ok;
    add(t, &r);
}

void seed_pair(const struct seed_person *a, const struct seed_person *b, uint8_t out[32])
{
    static const uint8_t label[] = "a pair of the seed";
    crypto_generichash_state st;
    bool first = memcmp(a->root, b->root, 32) < 0;

    (void)crypto_generichash_init(&st, label, sizeof(label), 32);
    (void)crypto_generichash_update(&st, first ? a->root : b->root, 32);
    (void)crypto_generichash_update(&st, first ? b->root : a->root, 32);
    (void)crypto_generichash_final(&st, out, 32);
}

static void add_contact(struct txn *t, const struct seed_person *me,
                        const struct seed_person *p, uint32_t id)
{
    struct rec r = {.kind = REC_CONTACT};
    struct rec_contact *c = &r.u.contact;

    c->id = id;
    memcpy(c->root, p->root, 32);
    (void)snprintf(c->name, sizeof(c->name), "%s", p->name);
    (void)snprintf(c->announced, sizeof(c->announced), "%s", p->name);
    seed_pair(me, p, c->pair);
    c->created_ms = me->made_s * 1000;
    add(t, &r);
}

static void commit(struct store *s, struct txn *t)
{
    const struct txn *one = t;
    struct store_events events = {0};
    int err = t->n == 0 ? 0 : store_commit(s, &one, 1, &events);

    assert(err == 0);
    (void)err;
    store_events_release(&events);
    txn_release(t);
    memset(t, 0, sizeof(*t));
}

void seed_home(struct store *s, const struct seed_person *v, size_t n, size_t me)
{
    struct txn t = {0};
    struct rec box = {.kind = REC_BOXKEY};
    uint32_t id = 1;

    memcpy(box.u.boxkey.pub, v[me].box_pub, 32);
    memcpy(box.u.boxkey.sec, v[me].box_sec, 32);
    box.u.boxkey.created_s = v[me].made_s;
    add(&t, &box);
    add_device(&t, &v[me], 1, 0);
    for (size_t j = 0; j < n; j++) {
        if (j == me) {
            continue;
        }
        add_contact(&t, &v[me], &v[j], id);
        add_device(&t, &v[j], id + 1, id);
        id++;
        if (t.n >= BATCH) {
            commit(s, &t);
        }
    }
    commit(s, &t);
}
