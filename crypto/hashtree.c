#include "crypto/hashtree.h"

#include <assert.h>

#include "base/buf.h"

static const char leaf_label[] = "linnet file leaf v1";
static const char block_label[] = "linnet file block v1";
static const char root_label[] = "linnet file root v1";

uint64_t hashtree_leaves(uint64_t size)
{
    return size / HASHTREE_LEAF + (size % HASHTREE_LEAF != 0);
}

uint64_t hashtree_blocks(uint64_t leaves)
{
    return leaves / HASHTREE_FANOUT + (leaves % HASHTREE_FANOUT != 0);
}

size_t hashtree_leaf_len(uint64_t size, uint64_t leaf)
{
    assert(leaf < hashtree_leaves(size));
    uint64_t left = size - leaf * HASHTREE_LEAF;
    return left < HASHTREE_LEAF ? (size_t)left : (size_t)HASHTREE_LEAF;
}

/* As kdf_hash() without a key, for more than one part. */
static void begin(crypto_generichash_state *s, const char *label, size_t size)
{
    (void)crypto_generichash_init(s, NULL, 0, HASHTREE_HASH);
    (void)crypto_generichash_update(s, (const uint8_t *)label, size);
}

static void hash(const char *label, size_t size, const uint8_t *p, size_t len,
                 uint8_t out[HASHTREE_HASH])
{
    crypto_generichash_state s;
    begin(&s, label, size);
    (void)crypto_generichash_update(&s, p, len);
    (void)crypto_generichash_final(&s, out, HASHTREE_HASH);
}

void hashtree_leaf(const uint8_t *p, size_t len, uint8_t out[HASHTREE_HASH])
{
    hash(leaf_label, sizeof leaf_label, p, len, out);
}

void hashtree_block(const uint8_t *leaves, size_t n, uint8_t out[HASHTREE_HASH])
{
    assert(n > 0 && n <= HASHTREE_FANOUT);
    hash(block_label, sizeof block_label, leaves, n * HASHTREE_HASH, out);
}

void hashtree_root_init(struct hashtree_root *r, uint64_t size)
{
    uint8_t head[8];
    struct wr w = wr_init(head, sizeof head);
    wr_u64(&w, size);
    begin(&r->state, root_label, sizeof root_label);
    (void)crypto_generichash_update(&r->state, head, sizeof head);
}

void hashtree_root_add(struct hashtree_root *r, const uint8_t *blocks, size_t n)
{
    (void)crypto_generichash_update(&r->state, blocks, n * HASHTREE_HASH);
}

void hashtree_root_final(struct hashtree_root *r, uint8_t out[HASHTREE_HASH])
{
    (void)crypto_generichash_final(&r->state, out, HASHTREE_HASH);
}
