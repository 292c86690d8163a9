/* Records for the tests of the store. */
#ifndef LINNET_TESTS_STORE_MAKE_H
#define LINNET_TESTS_STORE_MAKE_H

#include <stddef.h>
#include <stdint.h>

#include "rec.h"

/* The i-th message id. */
void make_mid(uint64_t i, uint8_t mid[WIRE_MID]);
void make_device(struct txn *t, uint32_t id, uint32_t contact, uint8_t first);
/* An entry of len bytes of box that carries message i (ours when mine). */
void make_entry(struct txn *t, uint32_t feed, uint64_t seq, size_t len, uint64_t i,
                bool mine);
/* Message i of a feed: 100 bytes of text that begin with its number. */
void make_msg(struct txn *t, uint32_t conv, uint32_t feed, uint64_t seq, uint32_t author,
              uint64_t i, uint64_t order);
void make_state(struct txn *t, uint32_t feed, uint64_t from, uint64_t to, uint8_t state);
void make_meta(struct txn *t, const char *key, const void *p, size_t n);

#endif
