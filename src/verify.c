#include "verify.h"

#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "base/deadline.h"
#include "base/err.h"
#include "crypto/kdf.h"

enum { CODE_HALF = 10000, CODES = 10000000 }; /* seven digits, three and four */

static void add(struct verify_out *out, enum code_step step, const uint8_t *value)
{
    struct wire_code_frame *f = &out->frames[out->n++];
    *f = (struct wire_code_frame){.step = step};
    if (value != NULL) {
        memcpy(f->value, value, sizeof f->value);
    }
}

static void commit_to(const uint8_t nonce[32], uint8_t out[32])
{
    kdf_hash(out, 32, NULL, "linnet live code commit v1", nonce, (size_t)32, NULL);
}

static void make_code(const struct verify_link *l, const uint8_t a[32],
                      const uint8_t b[32], char out[VERIFY_CODE_STR])
{
    uint8_t h[16];
    uint64_t n = 0;
    kdf_hash(h, sizeof h, NULL, "linnet live code v1", l->hash, (size_t)64,
             l->root_dialler, (size_t)WIRE_ID, l->root_listener, (size_t)WIRE_ID, a,
             (size_t)32, b, (size_t)32, NULL);
    for (size_t i = 0; i < sizeof n; i++) {
        n = n << 8 | h[i];
    }
    n %= CODES;
    (void)snprintf(out, VERIFY_CODE_STR, "%03u %04u", (unsigned)(n / CODE_HALF),
                   (unsigned)(n % CODE_HALF));
    sodium_memzero(h, sizeof h);
}

/* Back to the start; that our user was told stays, so that nobody is told too often. */
static void reset(struct verify *v)
{
    v->state = VERIFY_IDLE;
    v->ready = false;
    v->until_ms = 0;
    sodium_memzero(v->own, sizeof v->own);
    sodium_memzero(v->commit, sizeof v->commit);
}

void verify_wipe(struct verify *v)
{
    sodium_memzero(v, sizeof *v);
}

static void fail(struct verify *v, struct verify_out *out)
{
    out->failed = v->state != VERIFY_IDLE;
    reset(v);
}

static void finish(struct verify *v, const struct verify_link *l, const uint8_t other[32],
                   struct verify_out *out)
{
    make_code(l, v->dialler ? v->own : other, v->dialler ? other : v->own, out->code);
    out->done = true;
    reset(v);
}

/* Both users have asked: the dialler begins. */
static void both_ready(struct verify *v, struct verify_out *out)
{
    if (v->dialler && v->ready) {
        commit_to(v->own, v->commit);
        add(out, STEP_COMMIT, v->commit);
        v->state = VERIFY_COMMITTED;
    }
}

int verify_begin(struct verify *v, const struct env *env, bool dialler, uint64_t now_ms,
                 struct verify_out *out)
{
    if (v->state != VERIFY_IDLE) {
        return ERR_STATE;
    }
    v->dialler = dialler;
    v->state = VERIFY_WAITING;
    v->until_ms = now_ms + VERIFY_MS;
    env_random(env, v->own, sizeof v->own);
    add(out, STEP_READY, NULL);
    both_ready(v, out);
    return 0;
}

void verify_cancel(struct verify *v, struct verify_out *out)
{
    if (v->state != VERIFY_IDLE) {
        add(out, STEP_STOP, NULL);
        fail(v, out);
    }
}

/* The other's user has asked for a code. */
static void got_ready(struct verify *v, uint64_t now_ms, struct verify_out *out)
{
    v->ready = true;
    if (v->state == VERIFY_WAITING) {
        both_ready(v, out);
        return;
    }
    v->until_ms = now_ms + VERIFY_MS;
    if (!v->told || now_ms - v->told_ms >= VERIFY_TELL_MS) {
        v->told = true;
        v->told_ms = now_ms;
        out->asks = true;
    }
}

static int got_open(struct verify *v, const struct verify_link *l,
                    const uint8_t value[32], struct verify_out *out)
{
    uint8_t commit[32];
    commit_to(value, commit);
    if (sodium_memcmp(commit, v->commit, sizeof commit) != 0) {
        return ERR_AUTH;
    }
    finish(v, l, value, out);
    return 0;
}

static int take(struct verify *v, const struct verify_link *l,
                const struct wire_code_frame *f, uint64_t now_ms, struct verify_out *out)
{
    switch (f->step) {
    case STEP_READY:
        if (v->state == VERIFY_COMMITTED || v->state == VERIFY_REVEALED) {
            return ERR_STATE;
        }
        got_ready(v, now_ms, out);
        return 0;
    case STEP_COMMIT:
        if (v->state == VERIFY_WAITING && !v->dialler && v->ready) {
            memcpy(v->commit, f->value, sizeof v->commit);
            add(out, STEP_NONCE, v->own);
            v->state = VERIFY_REVEALED;
            return 0;
        }
        /* Our user has just given up, and our STOP crossed it. */
        return v->state == VERIFY_IDLE ? 0 : ERR_STATE;
    case STEP_NONCE:
        if (v->state == VERIFY_COMMITTED) {
            add(out, STEP_OPEN, v->own);
            finish(v, l, f->value, out);
            return 0;
        }
        return v->state == VERIFY_IDLE ? 0 : ERR_STATE;
    case STEP_OPEN:
        if (v->state == VERIFY_REVEALED) {
            return got_open(v, l, f->value, out);
        }
        return v->state == VERIFY_IDLE ? 0 : ERR_STATE;
    case STEP_STOP:
        fail(v, out);
        return 0;
    case STEP_UNKNOWN:
        return 0;
    }
    return 0;
}

int verify_recv(struct verify *v, const struct verify_link *link, const uint8_t *payload,
                size_t len, uint64_t now_ms, struct verify_out *out)
{
    struct wire_code_frame f;
    int rc = wire_code_frame_get(payload, len, &f) ? take(v, link, &f, now_ms, out)
                                                   : ERR_FORMAT;
    if (rc != 0) {
        fail(v, out);
        rc = rc == ERR_STATE ? ERR_FORMAT : rc;
    }
    sodium_memzero(&f, sizeof f);
    return rc;
}

void verify_tick(struct verify *v, uint64_t now_ms, struct verify_out *out)
{
    if (v->until_ms == 0 || now_ms < v->until_ms) {
        return;
    }
    if (v->state == VERIFY_IDLE) { /* the other's wish is too old */
        reset(v);
    } else {
        verify_cancel(v, out);
    }
}

uint64_t verify_deadline(const struct verify *v)
{
    return v->until_ms == 0 ? DEADLINE_NONE : v->until_ms;
}
