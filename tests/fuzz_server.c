#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/bencode.h"
#include "dht/server.h"
#include "seeded.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t state;
static const struct env env = {.ctx = &state, .random = seeded};

/* Nodes made of the target: as many as its last byte says. */
static size_t closest(void *ctx, unsigned family, const struct dht_id *target,
                      struct krpc_node *out, size_t max)
{
    size_t n = target->b[DHT_ID_LEN - 1] % (max + 1);
    (void)ctx;
    for (size_t i = 0; i < n; i++) {
        out[i] = (struct krpc_node){.id = *target,
                                    .addr = {.family = (uint8_t)family, .port = 7}};
        out[i].addr.ip[0] = 20;
        out[i].addr.ip[3] = (uint8_t)i;
    }
    return n;
}

/* A query that lacks a good token gets the one that it needs, since none can be guessed.
 */
static void give_token(struct server *s, struct krpc_msg *q, const struct addr *from,
                       uint64_t now_ms, uint8_t token[KRPC_TOKEN_MAX])
{
    const struct server_nodes nodes = {NULL, closest};
    uint8_t out[KRPC_SEND_MAX];
    struct krpc_msg ask = *q, r;
    struct item it;
    if (q->method == KRPC_PUT) {
        item_of(q, &it);
        item_target(&it, &ask.target);
        ask.method = KRPC_GET;
        ask.has = KRPC_ID | KRPC_TARGET;
    } else {
        ask.method = KRPC_GET_PEERS;
        ask.has &= KRPC_ID | KRPC_INFO_HASH;
    }
    size_t n = server_answer(s, &ask, from, &nodes, now_ms, out);
    if (n > 0 && krpc_decode(out, n, &r) == 0 && r.token.n > 0) {
        memcpy(token, r.token.p, r.token.n);
        q->token = (struct krpc_view){token, r.token.n};
        q->has |= KRPC_TOKEN;
    }
}

static void check_answer(const uint8_t *out, size_t n, const struct krpc_msg *q,
                         const struct addr *from)
{
    struct krpc_msg r;
    struct ben whole;
    assert(n <= KRPC_SEND_MAX && bencode_check(out, n, &whole));
    assert(krpc_decode(out, n, &r) == 0 && r.bad == 0);
    assert(r.kind == KRPC_ERROR || r.kind == KRPC_REPLY);
    assert(r.t.n == q->t.n && (r.t.n == 0 || memcmp(r.t.p, q->t.p, r.t.n) == 0));
    assert(addr_eq(&r.ip, from));
    assert((r.has & KRPC_V) != 0 || n <= SERVER_SMALL_MAX);
}

/* The input: for each query two bytes of length, one that chooses the asker and whether a
 * token is given, one of seconds that pass, and the datagram. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct dht_id self = {{1, 2, 3}};
    const struct server_nodes nodes = {NULL, closest};
    struct server_config c;
    struct rd r = rd_init(data, size);
    uint64_t now_ms = 0;
    state = 1;
    if (sodium_init() < 0) {
        abort();
    }
    server_config_init(&c);
    c.shelf.items_max = 3;
    c.shelf.hashes_max = 3;
    c.shelf.peers_max = 4;
    struct server *s = server_new(&env, &self, &c, now_ms);
    assert(s != NULL);
    while (rd_ok(&r) && r.n > 4) {
        uint8_t out[KRPC_SEND_MAX], token[KRPC_TOKEN_MAX];
        struct krpc_msg q;
        size_t n = rd_u16(&r);
        uint8_t who = rd_u8(&r), wait_s = rd_u8(&r);
        struct addr from = {.family = who & 1 ? 6 : 4, .ip = {20}, .port = 6881};
        from.ip[1] = who >> 4;
        n = n > r.n ? r.n : n;
        const uint8_t *p = rd_bytes(&r, n);
        now_ms += (uint64_t)wait_s * 100;
        server_tick(s, now_ms);
        if (p == NULL || krpc_decode(p, n, &q) != 0 || q.kind != KRPC_QUERY) {
            continue;
        }
        if ((who & 2) != 0 && (q.method == KRPC_PUT || q.method == KRPC_ANNOUNCE_PEER)) {
            give_token(s, &q, &from, now_ms, token);
        }
        n = server_answer(s, &q, &from, &nodes, now_ms, out);
        if (n > 0) {
            check_answer(out, n, &q, &from);
        }
    }
    server_tick(s, UINT64_MAX - 1);
    assert(server_deadline(s) == UINT64_MAX);
    server_free(s);
    return 0;
}
