/* A min-heap of deadlines, embedded in the objects that wait (capped).
 *
 * struct deadline lives inside its object and knows its place in the heap, so that
 * changing or removing one costs log n. Equal times fire in the order they were set. */
#ifndef LINNET_BASE_DEADLINE_H
#define LINNET_BASE_DEADLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEADLINE_NONE UINT64_MAX

struct deadline {
    uint64_t at_ms;
    uint64_t order;
    size_t pos; /* place in the heap + 1; 0 when not in it */
    void *owner;
};

struct deadlines {
    struct deadline **heap;
    size_t len, cap, max;
    uint64_t next_order;
};

void deadlines_init(struct deadlines *h, size_t max);
void deadlines_release(struct deadlines *h);
/* Sets or moves d; at_ms DEADLINE_NONE removes it. 0, ERR_LIMIT or ERR_NOMEM. */
int deadlines_set(struct deadlines *h, struct deadline *d, uint64_t at_ms);
void deadlines_remove(struct deadlines *h, struct deadline *d);
/* The earliest time, DEADLINE_NONE when empty. */
uint64_t deadlines_next(const struct deadlines *h);
/* Takes out and returns the earliest that is due (at_ms ≤ now_ms), or NULL. */
struct deadline *deadlines_pop(struct deadlines *h, uint64_t now_ms);

#endif
