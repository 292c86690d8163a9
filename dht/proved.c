#include "dht/proved.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

_Static_assert(PROVED_SEED_LEN == crypto_shorthash_siphash24_KEYBYTES, "SipHash's key");

void proved_init(struct proved *p, const struct env *env)
{
    *p = (struct proved){.n = 0};
    env_random(env, p->seed, sizeof p->seed);
}

void proved_release(struct proved *p)
{
    free(p->slots);
    p->slots = NULL;
    p->n = 0;
}

static uint32_t tag_of(const struct proved *p, const struct addr *a)
{
    uint8_t in[1 + sizeof a->ip], out[crypto_shorthash_siphash24_BYTES];
    uint32_t tag;
    in[0] = a->family;
    memcpy(in + 1, a->ip, sizeof a->ip);
    (void)crypto_shorthash_siphash24(out, in, sizeof in, p->seed);
    memcpy(&tag, out, sizeof tag);
    return tag;
}

/* Where a tag stands or may stand: its own place, else that with the least time left. */
static struct proved_slot *place(const struct proved *p, uint32_t tag)
{
    struct proved_slot *best = &p->slots[tag & (p->n - 1)];
    for (size_t i = 0; i < PROVED_WAYS; i++) {
        struct proved_slot *slot = &p->slots[(tag + i) & (p->n - 1)];
        if (slot->tag == tag && slot->until_s > 0) {
            return slot;
        }
        best = slot->until_s < best->until_s ? slot : best;
    }
    return best;
}

static void grow(struct proved *p)
{
    struct proved bigger = *p;
    bigger.n = p->n == 0 ? PROVED_SLOTS_MIN : 2 * p->n;
    bigger.slots = calloc(bigger.n, sizeof *bigger.slots);
    if (bigger.slots == NULL) {
        return;
    }
    for (size_t i = 0; i < p->n; i++) {
        if (p->slots[i].until_s > 0) {
            *place(&bigger, p->slots[i].tag) = p->slots[i];
        }
    }
    free(p->slots);
    *p = bigger;
}

/* Whether more than a quarter of the places is taken. */
static bool is_crowded(const struct proved *p, uint32_t now_s)
{
    size_t taken = 0;
    for (size_t i = 0; i < p->n; i++) {
        taken += p->slots[i].until_s > now_s;
    }
    return taken > p->n / 4;
}

void proved_add(struct proved *p, const struct addr *a, uint64_t now_ms)
{
    uint32_t tag = tag_of(p, a), now_s = (uint32_t)(now_ms / 1000);
    if (p->n == 0) {
        grow(p);
    }
    if (p->n == 0) {
        return;
    }
    struct proved_slot *slot = place(p, tag);
    if (slot->until_s > now_s && slot->tag != tag && p->n < PROVED_SLOTS_MAX &&
        is_crowded(p, now_s)) {
        grow(p);
        slot = place(p, tag);
    }
    *slot = (struct proved_slot){tag, now_s + 1 + PROVED_MS / 1000};
}

bool proved_has(const struct proved *p, const struct addr *a, uint64_t now_ms)
{
    uint32_t tag = tag_of(p, a);
    if (p->n == 0) {
        return false;
    }
    const struct proved_slot *slot = place(p, tag);
    return slot->tag == tag && slot->until_s > now_ms / 1000;
}

size_t proved_memory(const struct proved *p)
{
    return p->n * sizeof *p->slots;
}
