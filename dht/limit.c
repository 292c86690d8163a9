#include "dht/limit.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

enum { ROWS = 2, GROWTH = 4, WINDOW_MS = 1000 };

_Static_assert(LIMIT_SEED_LEN == crypto_shorthash_siphash24_KEYBYTES, "SipHash's key");

void limit_init(struct limit *l, const struct env *env, uint32_t gap_ms, uint32_t burst)
{
    *l = (struct limit){.gap_ms = gap_ms, .burst = burst};
    env_random(env, l->seed, sizeof l->seed);
}

void limit_release(struct limit *l)
{
    free(l->slots);
    l->slots = NULL;
    l->n = 0;
}

/* Each new place inherits what the place of its keys held before. */
static bool grow(struct limit *l)
{
    size_t n = l->n == 0 ? LIMIT_SLOTS_MIN : l->n * GROWTH;
    n = n > LIMIT_SLOTS_MAX ? LIMIT_SLOTS_MAX : n;
    uint64_t *slots = calloc(ROWS * n, sizeof *slots);
    if (slots == NULL) {
        return l->n > 0;
    }
    for (size_t i = 0; l->n > 0 && i < n; i++) {
        slots[i] = l->slots[i & (l->n - 1)];
        slots[n + i] = l->slots[l->n + (i & (l->n - 1))];
    }
    free(l->slots);
    l->slots = slots;
    l->n = n;
    return true;
}

static bool make_room(struct limit *l, uint64_t now_ms)
{
    if (now_ms - l->window_ms >= WINDOW_MS) {
        l->window_ms = now_ms;
        l->taken = 0;
    }
    l->taken++;
    bool crowded = l->taken > l->n && l->n < LIMIT_SLOTS_MAX;
    return crowded ? grow(l) : true;
}

bool limit_take(struct limit *l, const void *key, size_t key_len, uint64_t now_ms)
{
    uint8_t hash[crypto_shorthash_siphash24_BYTES];
    uint64_t h;
    if (l->gap_ms == 0) {
        return true;
    }
    if (!make_room(l, now_ms)) {
        return false;
    }
    (void)crypto_shorthash_siphash24(hash, key, key_len, l->seed);
    memcpy(&h, hash, sizeof h);
    uint64_t *a = &l->slots[(size_t)h & (l->n - 1)];
    uint64_t *b = &l->slots[l->n + ((size_t)(h >> 32) & (l->n - 1))];
    uint64_t paid_ms = *a < *b ? *a : *b;
    paid_ms = (paid_ms > now_ms ? paid_ms : now_ms) + l->gap_ms;
    if (paid_ms - now_ms > (uint64_t)l->gap_ms * l->burst) {
        return false;
    }
    *a = *a > paid_ms ? *a : paid_ms;
    *b = *b > paid_ms ? *b : paid_ms;
    return true;
}

size_t limit_memory(const struct limit *l)
{
    return ROWS * l->n * sizeof *l->slots;
}
