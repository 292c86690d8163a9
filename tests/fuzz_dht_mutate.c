/* Changes the inputs of fuzz_dht step by step: whole steps are put in, taken out, doubled
 * and exchanged, and a datagram that changes keeps its length right. */
#include <stdint.h>
#include <string.h>

enum {
    HEAD_LEN = 2,
    STEP_LEN = 5,
    STEP_RAW = 1, /* a datagram follows */
    STEP_KINDS = 8,
    STEPS_MAX = 128,
    RAW_GROWTH = 64,
    SCRATCH = 1 << 16
};

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_len, const uint8_t *b,
                                 size_t b_len, uint8_t *out, size_t max_size,
                                 unsigned seed);

/* Where steps begin; at[n] is the end. */
struct steps {
    size_t at[STEPS_MAX + 1];
    unsigned n;
};

static unsigned below(unsigned *state, unsigned bound)
{
    *state = *state * 1103515245u + 12345u;
    return bound == 0 ? 0 : (*state >> 16) % bound;
}

static struct steps find_steps(const uint8_t *p, size_t n)
{
    struct steps s = {.n = 0};
    size_t at = HEAD_LEN;
    while (at + STEP_LEN <= n && s.n < STEPS_MAX) {
        size_t raw = (size_t)(p[at + 2] << 8 | p[at + 3]);
        size_t left = n - at - STEP_LEN;
        s.at[s.n++] = at;
        raw = p[at] % STEP_KINDS == STEP_RAW ? raw : 0;
        at += STEP_LEN + (raw < left ? raw : left);
    }
    s.at[s.n] = at < n ? at : n;
    return s;
}

/* Puts n bytes in place of those from at to end; the new size, or the old one when they
 * do not fit. */
static size_t replace(uint8_t *data, size_t size, size_t max_size, size_t at, size_t end,
                      const uint8_t *p, size_t n)
{
    if (size - (end - at) + n > max_size) {
        return size;
    }
    memmove(data + at + n, data + end, size - end);
    memcpy(data + at, p, n);
    return size - (end - at) + n;
}

static size_t insert(uint8_t *data, size_t size, size_t max_size, size_t at,
                     unsigned *state)
{
    uint8_t step[STEP_LEN];
    for (int i = 0; i < STEP_LEN; i++) {
        step[i] = (uint8_t)below(state, 256);
    }
    step[0] %= STEP_KINDS;
    if (step[0] == STEP_RAW) {
        step[0] = STEP_KINDS - 1;
    }
    return replace(data, size, max_size, at, at, step, sizeof step);
}

/* A step, or the datagram behind it, gets other bytes. */
static size_t change(uint8_t *data, size_t size, size_t max_size, size_t at, size_t end,
                     unsigned *state)
{
    static uint8_t raw[SCRATCH];
    size_t n = end - at - STEP_LEN;
    if (n == 0 || n + RAW_GROWTH > sizeof raw || below(state, 4) == 0) {
        if (below(state, 2) == 0) {
            data[at + below(state, STEP_LEN)] = (uint8_t)below(state, 256);
        } else {
            data[at + 1 + below(state, STEP_LEN - 1)] ^= (uint8_t)(1u << below(state, 8));
        }
        return size;
    }
    memcpy(raw, data + at + STEP_LEN, n);
    size_t len = LLVMFuzzerMutate(raw, n, n + RAW_GROWTH);
    size_t now = replace(data, size, max_size, at + STEP_LEN, end, raw, len);
    if (now == size - n + len) {
        data[at + 2] = (uint8_t)(len >> 8);
        data[at + 3] = (uint8_t)len;
    }
    return now;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    static uint8_t copy[SCRATCH];
    struct steps s = find_steps(data, size);
    unsigned what = below(&seed, 16), i = below(&seed, s.n);
    if (s.n == 0 || what == 0) {
        return LLVMFuzzerMutate(data, size, max_size);
    }
    size_t at = s.at[i], end = s.at[i + 1], n = end - at;
    size_t to = s.at[below(&seed, s.n + 1)];
    if (what == 1) {
        data[below(&seed, HEAD_LEN)] = (uint8_t)below(&seed, 256);
        return size;
    }
    if (what <= 4) {
        return insert(data, size, max_size, to, &seed);
    }
    if (what <= 6 && s.n > 1) {
        return replace(data, size, max_size, at, end, data, 0);
    }
    if (what <= 9 && n <= sizeof copy) {
        memcpy(copy, data + at, n);
        if (what == 9) { /* it moves */
            size = replace(data, size, max_size, at, end, data, 0);
            to = to >= end ? to - n : to > at ? at : to;
        }
        return replace(data, size, max_size, to, to, copy, n);
    }
    return change(data, size, max_size, at, end, &seed);
}

/* Some steps of one, then some of the other. */
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_len, const uint8_t *b,
                                 size_t b_len, uint8_t *out, size_t max_size,
                                 unsigned seed)
{
    struct steps sa = find_steps(a, a_len), sb = find_steps(b, b_len);
    size_t n = sa.at[below(&seed, sa.n + 1)], from = sb.at[below(&seed, sb.n + 1)];
    n = n < a_len ? n : a_len;
    n = n < max_size ? n : max_size;
    from = from < b_len ? from : b_len;
    size_t more = b_len - from;
    more = more < max_size - n ? more : max_size - n;
    memcpy(out, a, n);
    memcpy(out + n, b + from, more);
    return n + more;
}
