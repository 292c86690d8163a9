/* Tokens (BEP 5, BEP 44): who announces or puts shows what we gave to its address before,
 * so that nobody stores things in the name of an address that isn't his.
 *
 * A token is SipHash-2-4 over the IP address and the target under a secret that changes
 * every TOKEN_ROTATE_MS; the one before counts as well, so that a token is good for 5 to
 * 10 minutes. The port is not in it: NATs change ports, and some nodes use several. */
#ifndef LINNET_DHT_TOKEN_H
#define LINNET_DHT_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/env.h"
#include "dht/id.h"

enum { TOKEN_LEN = 8, TOKEN_SECRET_LEN = 16, TOKEN_ROTATE_MS = 5 * 60 * 1000 };

struct token_secrets {
    uint8_t now[TOKEN_SECRET_LEN], before[TOKEN_SECRET_LEN];
    uint64_t rotate_ms; /* when a new one is due */
};

void token_init(struct token_secrets *s, const struct env *env, uint64_t now_ms);
/* Wipes the secrets. */
void token_release(struct token_secrets *s);
/* Changes the secret when that is due; cheap enough for each query. */
void token_tick(struct token_secrets *s, const struct env *env, uint64_t now_ms);

void token_make(const struct token_secrets *s, const struct addr *from,
                const struct dht_id *target, uint8_t out[TOKEN_LEN]);
/* True when these n bytes (p may be NULL) are a token we gave to this address for target
 * with one of the two secrets. */
bool token_check(const struct token_secrets *s, const struct addr *from,
                 const struct dht_id *target, const uint8_t *p, size_t n);

#endif
