#include "base/deadline.h"

#include <stdlib.h>

#include "base/err.h"

enum { HEAP_CAP_MIN = 16 };

void deadlines_init(struct deadlines *h, size_t max)
{
    *h = (struct deadlines){.max = max};
}

void deadlines_release(struct deadlines *h)
{
    if (h == NULL) {
        return;
    }
    for (size_t i = 0; i < h->len; i++) {
        h->heap[i]->pos = 0;
    }
    free(h->heap);
    *h = (struct deadlines){.max = h->max};
}

static bool before(const struct deadline *a, const struct deadline *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void place(struct deadlines *h, size_t i, struct deadline *d)
{
    h->heap[i] = d;
    d->pos = i + 1;
}

/* Moves d from the empty place i towards the root or the leaves, to where it belongs. */
static void settle(struct deadlines *h, size_t i, struct deadline *d)
{
    while (i > 0 && before(d, h->heap[(i - 1) / 2])) {
        place(h, i, h->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->len) {
            break;
        }
        if (child + 1 < h->len && before(h->heap[child + 1], h->heap[child])) {
            child++;
        }
        if (!before(h->heap[child], d)) {
            break;
        }
        place(h, i, h->heap[child]);
        i = child;
    }
    place(h, i, d);
}

static int reserve(struct deadlines *h)
{
    if (h->len >= h->max) {
        return ERR_LIMIT;
    }
    if (h->len < h->cap) {
        return 0;
    }
    size_t cap = h->cap == 0 ? HEAP_CAP_MIN : 2 * h->cap;
    struct deadline **heap = reallocarray(h->heap, cap, sizeof *heap);
    if (heap == NULL) {
        return ERR_NOMEM;
    }
    h->heap = heap;
    h->cap = cap;
    return 0;
}

int deadlines_set(struct deadlines *h, struct deadline *d, uint64_t at_ms)
{
    if (at_ms == DEADLINE_NONE) {
        deadlines_remove(h, d);
        return 0;
    }
    if (d->pos == 0) {
        int rc = reserve(h);
        if (rc != 0) {
            return rc;
        }
        h->len++;
        d->pos = h->len;
    }
    d->at_ms = at_ms;
    d->order = h->next_order++;
    settle(h, d->pos - 1, d);
    return 0;
}

void deadlines_remove(struct deadlines *h, struct deadline *d)
{
    if (d->pos == 0) {
        return;
    }
    size_t i = d->pos - 1;
    d->pos = 0;
    struct deadline *last = h->heap[--h->len];
    if (last != d) {
        settle(h, i, last);
    }
}

uint64_t deadlines_next(const struct deadlines *h)
{
    return h->len == 0 ? DEADLINE_NONE : h->heap[0]->at_ms;
}

struct deadline *deadlines_pop(struct deadlines *h, uint64_t now_ms)
{
    if (h->len == 0 || h->heap[0]->at_ms > now_ms) {
        return NULL;
    }
    struct deadline *d = h->heap[0];
    deadlines_remove(h, d);
    return d;
}
