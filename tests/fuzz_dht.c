/* A whole DHT node: datagrams of anybody at any time, answers to its own queries, and
 * operations. An input is a row of steps, each a byte that says what and one that says
 * which, and for datagrams a length of two bytes and the datagram:
 *
 *   0 time passes        1 a datagram of a node
 *   2 an answer: "TTTT" in it becomes the transaction id of the last query, and it comes
 *     from where that went
 *   3 an operation begins, or ends */
#include <assert.h>
#include <string.h>

#include "base/buf.h"
#include "dht/dht.h"
#include "seeded.h"

enum { STEPS_MAX = 200, TICKS_MAX = 64, NODES = 8, TID_LEN = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz {
    struct dht *d;
    uint64_t now_ms;
    uint32_t op;
    struct addr asked; /* the last query's; family 0: none */
    uint8_t tid[TID_LEN];
};

static struct addr node(uint8_t i)
{
    if (i % NODES < NODES / 2) {
        return (struct addr){
            .family = 4, .ip = {20, (uint8_t)(i % NODES), 1, 1}, .port = 9};
    }
    return (struct addr){.family = 6, .ip = {0x20, 1, (uint8_t)(i % NODES)}, .port = 9};
}

static void drain(struct fuzz *f)
{
    struct dht_out out;
    struct dht_event e;
    struct krpc_msg m;
    while (dht_next_out(f->d, &out)) {
        int rc = krpc_decode(out.bytes, out.len, &m);
        assert(rc == 0 && addr_is_dialable(&out.dest));
        if (m.kind == KRPC_QUERY) {
            assert(m.t.n == TID_LEN);
            memcpy(f->tid, m.t.p, TID_LEN);
            f->asked = out.dest;
        }
    }
    while (dht_next_event(f->d, &e)) {
        assert(e.type >= DHT_DONE && e.type <= DHT_OPEN);
    }
}

static void pass(struct fuzz *f, uint64_t ms)
{
    uint64_t until = f->now_ms + ms;
    for (int i = 0; i < TICKS_MAX && dht_deadline(f->d) <= until; i++) {
        uint64_t at = dht_deadline(f->d);
        f->now_ms = at > f->now_ms ? at : f->now_ms;
        dht_tick(f->d, f->now_ms);
        drain(f);
    }
    f->now_ms = until;
}

static void receive(struct fuzz *f, bool is_answer, uint8_t from, const uint8_t *p,
                    size_t n)
{
    uint8_t copy[2048];
    struct addr a = is_answer ? f->asked : node(from);
    if (n > sizeof copy || a.family == 0) {
        return;
    }
    memcpy(copy, p, n);
    uint8_t *t = is_answer ? memmem(copy, n, "TTTT", TID_LEN) : NULL;
    if (t != NULL) {
        memcpy(t, f->tid, TID_LEN);
    }
    (void)dht_recv(f->d, &a, copy, n, f->now_ms);
}

static void begin(struct fuzz *f, uint8_t which)
{
    static const uint8_t k[KRPC_KEY_LEN] = {1}, salt[2] = "s";
    struct item it = {.v = {(const uint8_t *)"2:hi", 4}};
    struct dht_id target = {{which}};
    struct addr a = node(which);
    bool flag = (which & 8) != 0;
    switch (which % 8) {
    case 0:
        (void)dht_ping(f->d, &a, f->now_ms, &f->op);
        break;
    case 1:
        (void)dht_find(f->d, &target, f->now_ms, &f->op);
        break;
    case 2:
        item_target(&it, &target);
        (void)dht_get(f->d, &target, flag, f->now_ms, &f->op);
        break;
    case 3:
        (void)dht_get_mutable(f->d, k, salt, which & 1, flag, f->now_ms, &f->op);
        break;
    case 4:
        (void)dht_put(f->d, &it, NULL, flag, f->now_ms, &f->op);
        break;
    case 5:
        (void)dht_announce(f->d, &target, which, flag, f->now_ms, &f->op);
        break;
    case 6:
        (void)dht_peers(f->d, &target, f->now_ms, &f->op);
        break;
    case 7:
        dht_cancel(f->d, f->op);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t state = 1;
    struct env env = {&state, seeded, NULL};
    struct dht_config c = {.family = {true, true}};
    struct fuzz f = {.now_ms = 1000};
    struct rd r = rd_init(data, size);
    struct addr a = node(0);
    f.d = dht_new(&c, &env, f.now_ms);
    assert(f.d != NULL);
    (void)dht_add_router(f.d, &a, f.now_ms);
    pass(&f, 1);
    for (int i = 0; i < STEPS_MAX && r.n > 0; i++) {
        uint8_t what = rd_u8(&r) % 4, which = rd_u8(&r);
        if (what == 0) {
            pass(&f, (uint64_t)which * which * 16);
        } else if (what == 3) {
            begin(&f, which);
        } else {
            size_t n = rd_u16(&r);
            n = n < r.n ? n : r.n;
            const uint8_t *p = rd_bytes(&r, n);
            if (p != NULL) {
                receive(&f, what == 2, which, p, n);
            }
        }
        drain(&f);
    }
    pass(&f, 20000);
    dht_free(f.d);
    return 0;
}
