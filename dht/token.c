#include "dht/token.h"

#include <string.h>

#include <sodium.h>

_Static_assert(TOKEN_LEN == crypto_shorthash_siphash24_BYTES &&
                   TOKEN_SECRET_LEN == crypto_shorthash_siphash24_KEYBYTES,
               "a token is one SipHash-2-4");

void token_init(struct token_secrets *s, const struct env *env, uint64_t now_ms)
{
    env_random(env, s->now, sizeof s->now);
    env_random(env, s->before, sizeof s->before);
    s->rotate_ms = now_ms + TOKEN_ROTATE_MS;
}

void token_release(struct token_secrets *s)
{
    if (s != NULL) {
        sodium_memzero(s, sizeof *s);
    }
}

void token_tick(struct token_secrets *s, const struct env *env, uint64_t now_ms)
{
    if (now_ms < s->rotate_ms) {
        return;
    }
    if (now_ms - s->rotate_ms >= TOKEN_ROTATE_MS) { /* both are too old */
        token_init(s, env, now_ms);
        return;
    }
    memcpy(s->before, s->now, sizeof s->before);
    env_random(env, s->now, sizeof s->now);
    s->rotate_ms += TOKEN_ROTATE_MS;
}

static void make(const uint8_t secret[TOKEN_SECRET_LEN], const struct addr *from,
                 const struct dht_id *target, uint8_t out[TOKEN_LEN])
{
    uint8_t in[1 + sizeof from->ip + DHT_ID_LEN];
    in[0] = from->family;
    memcpy(in + 1, from->ip, sizeof from->ip);
    memcpy(in + 1 + sizeof from->ip, target->b, DHT_ID_LEN);
    (void)crypto_shorthash_siphash24(out, in, sizeof in, secret);
}

void token_make(const struct token_secrets *s, const struct addr *from,
                const struct dht_id *target, uint8_t out[TOKEN_LEN])
{
    make(s->now, from, target, out);
}

bool token_check(const struct token_secrets *s, const struct addr *from,
                 const struct dht_id *target, const uint8_t *p, size_t n)
{
    uint8_t now[TOKEN_LEN], before[TOKEN_LEN];
    if (n != TOKEN_LEN) {
        return false;
    }
    make(s->now, from, target, now);
    make(s->before, from, target, before);
    return sodium_memcmp(p, now, TOKEN_LEN) == 0 ||
           sodium_memcmp(p, before, TOKEN_LEN) == 0;
}
