/* Who among the contacts somebody nearby is, or looks like (contact_priv.h). */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "contact_priv.h"

static uint64_t skeleton_hash(const struct contacts *c, const char *name)
{
    char skeleton[WIRE_SKELETON_MAX + 1];
    uint64_t h = 0;
    if (wire_name_skeleton(name, skeleton)) {
        (void)crypto_shorthash((uint8_t *)&h, (const uint8_t *)skeleton, strlen(skeleton),
                               c->likes_seed);
    }
    return h;
}

static int by_hash(const void *a, const void *b)
{
    const struct like *x = a, *y = b;
    if (x->hash != y->hash) {
        return x->hash < y->hash ? -1 : 1;
    }
    return x->contact < y->contact ? -1 : x->contact > y->contact;
}

static void add_like(struct contacts *c, uint32_t id, const char *name)
{
    uint64_t h = name[0] != '\0' ? skeleton_hash(c, name) : 0;
    if (h != 0) {
        c->likes[c->n_likes++] = (struct like){h, id};
    }
}

/* The skeletons of all names, sorted; made again after any contact has changed. */
static bool likes_fresh(struct contacts *c)
{
    if (c->likes != NULL && c->likes_of == c->changes) {
        return true;
    }
    struct like *v = realloc(c->likes, (2 * c->n + 1) * sizeof *v);
    if (v == NULL) {
        return false;
    }
    if (c->likes_of == 0) {
        env_random(c->self.env, c->likes_seed, sizeof c->likes_seed);
    }
    c->likes = v;
    c->n_likes = 0;
    for (size_t i = 0; i < c->n; i++) {
        const struct rec_contact *r = &c->v[i]->r;
        if ((r->flags & CONTACT_REMOVED) == 0) {
            add_like(c, r->id, r->name);
            add_like(c, r->id, r->announced);
        }
    }
    qsort(c->likes, c->n_likes, sizeof *c->likes, by_hash);
    c->likes_of = c->changes;
    return true;
}

const struct rec_contact *contacts_like(struct contacts *c, const char *name,
                                        uint32_t except)
{
    if (!likes_fresh(c)) {
        return NULL;
    }
    uint64_t h = skeleton_hash(c, name);
    size_t low = 0, high = c->n_likes;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (c->likes[mid].hash < h) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    for (; h != 0 && low < c->n_likes && c->likes[low].hash == h; low++) {
        if (c->likes[low].contact != except) {
            return contacts_get(c, c->likes[low].contact);
        }
    }
    return NULL;
}

const struct rec_contact *contacts_by_cert(struct contacts *c, const uint8_t hash[32])
{
    for (size_t i = 0; i < c->n_devices; i++) {
        struct device *d = c->devices[i];
        if (d->r.cert.n == 0) {
            continue;
        }
        if (!d->hashed) {
            cert_hash(d->r.cert.p, d->r.cert.n, d->cert_hash);
            d->hashed = true;
        }
        const struct contact *k = contacts_row(c, d->r.contact);
        if (memcmp(d->cert_hash, hash, sizeof d->cert_hash) == 0 && k != NULL &&
            (k->r.flags & CONTACT_REMOVED) == 0) {
            return &k->r;
        }
    }
    return NULL;
}
