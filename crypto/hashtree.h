/* The hash tree of a file (docs/PROTOCOL.md, "Hash tree"): BLAKE2b-256 over leaves of
 * 1 MiB, over blocks of up to 1,024 leaf hashes, and over the size and all block hashes.
 *
 *   leaf  = H(32; -; "linnet file leaf v1"; bytes)
 *   block = H(32; -; "linnet file block v1"; leaf hashes)
 *   root  = H(32; -; "linnet file root v1"; size 8, block hashes)
 *
 * An empty file has no leaf and no block. */
#ifndef LINNET_CRYPTO_HASHTREE_H
#define LINNET_CRYPTO_HASHTREE_H

#include <stddef.h>
#include <stdint.h>

#include <sodium.h>

enum {
    HASHTREE_HASH = 32,
    HASHTREE_LEAF = 1024 * 1024, /* bytes; the last leaf may have fewer */
    HASHTREE_FANOUT = 1024,      /* leaves in a block; the last one may have fewer */
    HASHTREE_LEAVES_MAX = 1 << 24,
    HASHTREE_BLOCKS_MAX = HASHTREE_LEAVES_MAX / HASHTREE_FANOUT,
};

/* Leaves and blocks of a file of that size. */
uint64_t hashtree_leaves(uint64_t size);
uint64_t hashtree_blocks(uint64_t leaves);
/* Bytes of a leaf, leaf < hashtree_leaves(size). */
size_t hashtree_leaf_len(uint64_t size, uint64_t leaf);

void hashtree_leaf(const uint8_t *p, size_t len, uint8_t out[HASHTREE_HASH]);
/* n leaf hashes, 1..HASHTREE_FANOUT. */
void hashtree_block(const uint8_t *leaves, size_t n, uint8_t out[HASHTREE_HASH]);
/* The root, block hashes one after the other. */
struct hashtree_root {
    crypto_generichash_state state;
};
void hashtree_root_init(struct hashtree_root *r, uint64_t size);
void hashtree_root_add(struct hashtree_root *r, const uint8_t *blocks, size_t n);
void hashtree_root_final(struct hashtree_root *r, uint8_t out[HASHTREE_HASH]);

#endif
