#include "base/bucket.h"

enum { THOUSANDTHS = 1000 };

static void refill(struct bucket *b, const struct bucket_rate *r, uint64_t now_ms)
{
    uint64_t passed = now_ms > b->at_ms ? now_ms - b->at_ms : 0;
    /* The time in which everything would be back: beyond it no product is formed. */
    uint64_t full_ms = b->spent * r->per_ms / (r->tokens * THOUSANDTHS) + 1;
    if (passed >= full_ms) {
        b->spent = 0;
        b->at_ms = now_ms;
        return;
    }
    uint64_t back = passed * r->tokens * THOUSANDTHS / r->per_ms;
    /* What is too little for a thousandth adds up. */
    b->spent -= back;
    b->at_ms +=
        (back * r->per_ms + r->tokens * THOUSANDTHS - 1) / (r->tokens * THOUSANDTHS);
}

bool bucket_has(struct bucket *b, const struct bucket_rate *r, uint64_t cost,
                uint64_t now_ms)
{
    refill(b, r, now_ms);
    return b->spent + cost * THOUSANDTHS <= r->burst * THOUSANDTHS;
}

bool bucket_take(struct bucket *b, const struct bucket_rate *r, uint64_t cost,
                 uint64_t now_ms)
{
    if (!bucket_has(b, r, cost, now_ms)) {
        return false;
    }
    b->spent += cost * THOUSANDTHS;
    return true;
}
