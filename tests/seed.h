/* People who know one another already: homes with contacts in them, written as records,
 * for simulations and benchmarks of many nodes. */
#ifndef LINNET_TESTS_SEED_H
#define LINNET_TESTS_SEED_H

#include "base/env.h"
#include "crypto/keyfile.h"
#include "crypto/keys.h"
#include "store.h"

struct seed_person {
    struct keyfile key;
    uint8_t root[32], root_sec[64];
    uint8_t stat[32], device[32];
    uint8_t box_pub[32], box_sec[32];
    uint64_t made_s;
    uint8_t presence_a[32];
    uint8_t cert[KEYS_CERT_MAX];
    size_t cert_len;
    char name[16];
};

/* A person with one device; key is given when its members are set already, otherwise all
 * is drawn from env. */
void seed_person(struct seed_person *p, const struct env *env, const struct keyfile *key,
                 const char *name);
/* The root secret of the pair. */
void seed_pair(const struct seed_person *a, const struct seed_person *b, uint8_t out[32]);
/* What `self` has in its store when it is paired with all the others of v (self is
 * v[me]), in order: the contact of v[j] has row j + 1, or j when j is behind me. */
void seed_home(struct store *s, const struct seed_person *v, size_t n, size_t me);

#endif
