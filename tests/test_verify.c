/* The live code: two who compare, and one who sits between them. */
#include <criterion/criterion.h>

#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "seeded.h"
#include "verify.h"

static uint64_t state = 1;

static const struct env env = {&state, seeded, NULL};
static uint8_t HASH_1[64] = {1}, HASH_2[64] = {2}, ADA[32] = {3}, BOB[32] = {4},
               EVE[32] = {5};

struct end {
    struct verify v;
    struct verify_link link;
    bool dialler, done, failed;
    unsigned asks;
    char code[VERIFY_CODE_STR];
    int err;
};

static struct end end(bool dialler, const uint8_t *hash, const uint8_t *a,
                      const uint8_t *b)
{
    return (struct end){.link = {hash, a, b}, .dialler = dialler};
}

static void note(struct end *e, const struct verify_out *out)
{
    e->done = e->done || out->done;
    e->failed = e->failed || out->failed;
    e->asks += out->asks;
    if (out->done) {
        memcpy(e->code, out->code, sizeof e->code);
    }
}

static int give(struct end *e, const struct wire_code_frame *f, uint64_t now,
                struct verify_out *out)
{
    uint8_t buf[128];
    struct wr w = wr_init(buf, sizeof buf);
    wire_code_frame_put(&w, f);
    cr_assert(wr_ok(&w));
    *out = (struct verify_out){0};
    int err = verify_recv(&e->v, &e->link, buf, w.len, now, out);
    e->err = err != 0 ? err : e->err;
    note(e, out);
    return err;
}

/* Delivers what `out` of x holds to y, and so on. */
static void settle(struct end *x, struct end *y, struct verify_out out, uint64_t now)
{
    for (size_t i = 0; i < out.n; i++) {
        struct verify_out back;
        (void)give(y, &out.frames[i], now, &back);
        settle(y, x, back, now);
    }
}

static struct verify_out start(struct end *e, uint64_t now)
{
    struct verify_out out = {0};
    cr_assert_eq(verify_begin(&e->v, &env, e->dialler, now, &out), 0);
    return out;
}

static void check_code(const struct end *a, const struct end *b)
{
    cr_assert(a->done && b->done);
    cr_assert_str_eq(a->code, b->code);
    cr_assert_eq(strlen(a->code), 8);
    cr_assert(a->code[3] == ' ');
    cr_assert_eq(a->v.state, VERIFY_IDLE);
    cr_assert_eq(b->v.state, VERIFY_IDLE);
    cr_assert(sodium_is_zero(a->v.own, 32) && sodium_is_zero(b->v.own, 32));
}

Test(verify, both_get_one_code)
{
    for (int first = 0; first < 2; first++) {
        struct end a = end(true, HASH_1, ADA, BOB), b = end(false, HASH_1, ADA, BOB);
        struct end *x = first == 0 ? &a : &b, *y = first == 0 ? &b : &a;
        settle(x, y, start(x, 1000), 1000);
        cr_assert_not(x->done);
        cr_assert_eq(y->asks, 1, "the other's user is told");
        settle(y, x, start(y, 5000), 5000);
        check_code(&a, &b);
        cr_assert_eq(verify_deadline(&a.v), UINT64_MAX);
    }
}

Test(verify, another_time_another_code)
{
    char before[VERIFY_CODE_STR];
    struct end a = end(true, HASH_1, ADA, BOB), b = end(false, HASH_1, ADA, BOB);
    settle(&a, &b, start(&a, 0), 0);
    settle(&b, &a, start(&b, 0), 0);
    memcpy(before, a.code, sizeof before);
    a.done = b.done = false;
    settle(&a, &b, start(&a, 0), 0);
    cr_assert_not(a.done, "each time both users");
    settle(&b, &a, start(&b, 0), 0);
    check_code(&a, &b);
    cr_assert_str_neq(a.code, before);
}

/* Eve has a link to each. Whatever she passes on, the two see different codes. */
Test(verify, somebody_between_them)
{
    struct end a = end(true, HASH_1, ADA, EVE), ea = end(false, HASH_1, ADA, EVE);
    struct end b = end(false, HASH_2, EVE, BOB), eb = end(true, HASH_2, EVE, BOB);
    settle(&a, &ea, start(&a, 0), 0);
    settle(&b, &eb, start(&b, 0), 0);
    settle(&ea, &a, start(&ea, 0), 0);
    settle(&eb, &b, start(&eb, 0), 0);
    check_code(&a, &ea);
    check_code(&b, &eb);
    cr_assert_str_neq(a.code, b.code);
}

/* She passes on every frame as it is: the nonces are the same on both links then, the
 * hashes of the handshakes and the roots are not. */
Test(verify, somebody_who_passes_everything_on)
{
    struct end a = end(true, HASH_1, ADA, EVE), b = end(false, HASH_2, EVE, BOB);
    settle(&a, &b, start(&a, 0), 0);
    settle(&b, &a, start(&b, 0), 0);
    cr_assert(a.done && b.done);
    cr_assert_str_neq(a.code, b.code);
}

/* She opens another nonce than the one she is committed to. */
Test(verify, what_is_committed_cannot_be_changed)
{
    struct end a = end(true, HASH_1, ADA, BOB), b = end(false, HASH_1, ADA, BOB);
    struct verify_out out, none;
    struct wire_code_frame f;
    settle(&b, &a, start(&b, 0), 0);
    out = start(&a, 0);
    cr_assert_eq(out.n, 2, "READY and COMMIT");
    cr_assert_eq(give(&b, &out.frames[0], 0, &none), 0);
    cr_assert_eq(give(&b, &out.frames[1], 0, &none), 0);
    f = (struct wire_code_frame){.step = STEP_OPEN};
    memcpy(f.value, a.v.own, 32);
    f.value[0] ^= 1;
    cr_assert_eq(give(&b, &f, 0, &none), ERR_AUTH);
    cr_assert(b.failed && !b.done);
    f.value[0] ^= 1;
    cr_assert_eq(give(&b, &f, 0, &none), 0, "over: no second try");
    cr_assert_not(b.done);
}

/* Every frame in every state: no code but by the whole exchange. */
Test(verify, frames_out_of_place)
{
    static const enum code_step steps[] = {STEP_READY, STEP_COMMIT, STEP_NONCE, STEP_OPEN,
                                           STEP_STOP};
    for (unsigned k = 0; k < 5 * 5 * 5 * 2; k++) {
        bool dialler = k % 2 == 0;
        struct end e = end(dialler, HASH_1, ADA, BOB);
        struct verify_out out;
        (void)start(&e, 0);
        for (unsigned i = 0, x = k / 2; i < 3; i++, x /= 5) {
            struct wire_code_frame f = {.step = steps[x % 5]};
            seeded(&state, f.value, sizeof f.value);
            (void)give(&e, &f, 0, &out);
            if (out.done) {
                cr_assert(dialler && f.step == STEP_NONCE && e.err == 0);
            }
        }
    }
}

Test(verify, alone_it_ends_after_its_time)
{
    struct end a = end(true, HASH_1, ADA, BOB), b = end(false, HASH_1, ADA, BOB);
    struct verify_out out = {0};
    settle(&a, &b, start(&a, 0), 0);
    cr_assert_eq(verify_deadline(&a.v), VERIFY_MS);
    cr_assert_eq(verify_begin(&a.v, &env, true, 0, &out), ERR_STATE);
    out = (struct verify_out){0};
    verify_tick(&a.v, VERIFY_MS, &out);
    note(&a, &out);
    cr_assert(a.failed);
    cr_assert_eq(out.n, 1);
    cr_assert_eq(out.frames[0].step, STEP_STOP);
    settle(&a, &b, out, VERIFY_MS);
    settle(&b, &a, start(&b, VERIFY_MS), VERIFY_MS);
    cr_assert_not(b.done, "an old wish does not count");
}

Test(verify, the_user_is_not_told_too_often)
{
    struct end b = end(false, HASH_1, ADA, BOB);
    struct wire_code_frame f = {.step = STEP_READY};
    struct verify_out out;
    for (uint64_t now = 1; now < 60000; now += 100) {
        cr_assert_eq(give(&b, &f, now, &out), 0);
    }
    cr_assert_eq(b.asks, 2);
}

/* Expected bytes come from Python's hashlib.blake2b. */
Test(verify, exact)
{
    struct end a = end(true, HASH_1, ADA, BOB), b = end(false, HASH_1, ADA, BOB);
    struct verify_out out = {0}, back;
    settle(&b, &a, start(&b, 0), 0);
    memset(b.v.own, 0xbb, 32);
    (void)verify_begin(&a.v, &env, true, 0, &out);
    memset(a.v.own, 0xaa, 32);
    struct wire_code_frame f = {.step = STEP_COMMIT};
    size_t n;
    cr_assert_eq(
        sodium_hex2bin(f.value, 32,
                       "0dbf0ba5300d9adf3607c0f651d44628668b73c80baaf0b596fc1b9a5c65b000",
                       64, NULL, &n, NULL),
        0);
    cr_assert_eq(give(&b, &(struct wire_code_frame){.step = STEP_READY}, 0, &back), 0);
    cr_assert_eq(give(&b, &f, 0, &back), 0);
    cr_assert_eq(back.n, 1);
    f = (struct wire_code_frame){.step = STEP_OPEN};
    memset(f.value, 0xaa, 32);
    cr_assert_eq(give(&b, &f, 0, &back), 0);
    cr_assert(b.done);
    cr_assert_str_eq(b.code, "668 7018");
}
