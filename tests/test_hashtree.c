/* The hash tree of files. Wanted values are from vectors/linnet_kat.py. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "crypto/hashtree.h"
#include "vectors.h"
#include "wire.h"

#define LEAF UINT64_C(1048576)

static void start(void)
{
    cr_assert_geq(sodium_init(), 0);
}

TestSuite(hashtree, .init = start);

static void check(const char *name, const uint8_t got[HASHTREE_HASH])
{
    uint8_t want[HASHTREE_HASH];
    vectors_kat(name, want, sizeof want);
    cr_assert_arr_eq(got, want, sizeof want, "%s", name);
}

/* The root over leaf hashes; last: hash of the last block, zeros when there is none. */
static void root_of(uint64_t size, const uint8_t *leaves, uint8_t root[HASHTREE_HASH],
                    uint8_t last[HASHTREE_HASH])
{
    struct hashtree_root r;
    uint64_t n = hashtree_leaves(size), blocks = hashtree_blocks(n);
    memset(last, 0, HASHTREE_HASH);
    hashtree_root_init(&r, size);
    for (uint64_t b = 0; b < blocks; b++) {
        uint64_t first = b * HASHTREE_FANOUT, left = n - first;
        hashtree_block(leaves + first * HASHTREE_HASH,
                       left < HASHTREE_FANOUT ? (size_t)left : (size_t)HASHTREE_FANOUT,
                       last);
        hashtree_root_add(&r, last, 1);
    }
    hashtree_root_final(&r, root);
}

Test(hashtree, sizes)
{
    static const struct {
        uint64_t size, leaves, blocks;
        size_t last;
    } cases[] = {
        {1, 1, 1, 1},
        {LEAF - 1, 1, 1, LEAF - 1},
        {LEAF, 1, 1, LEAF},
        {LEAF + 1, 2, 1, 1},
        {2 * LEAF, 2, 1, LEAF},
        {1023 * LEAF, 1023, 1, LEAF},
        {1024 * LEAF - 1, 1024, 1, LEAF - 1},
        {1024 * LEAF, 1024, 1, LEAF},
        {1024 * LEAF + 1, 1025, 2, 1},
        {2048 * LEAF, 2048, 2, LEAF},
        {WIRE_FILE_SIZE_MAX - 1, HASHTREE_LEAVES_MAX, HASHTREE_BLOCKS_MAX, LEAF - 1},
        {WIRE_FILE_SIZE_MAX, HASHTREE_LEAVES_MAX, HASHTREE_BLOCKS_MAX, LEAF},
    };
    cr_assert_eq(hashtree_leaves(0), 0u);
    cr_assert_eq(hashtree_blocks(0), 0u);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t n = hashtree_leaves(cases[i].size);
        cr_assert_eq(n, cases[i].leaves, "case %zu", i);
        cr_assert_eq(hashtree_blocks(n), cases[i].blocks, "case %zu", i);
        cr_assert_eq(hashtree_leaf_len(cases[i].size, n - 1), cases[i].last, "case %zu",
                     i);
        cr_assert(n == 1 || hashtree_leaf_len(cases[i].size, n - 2) == LEAF, "case %zu",
                  i);
        cr_assert(n == 1 || hashtree_leaf_len(cases[i].size, 0) == LEAF, "case %zu", i);
    }
    cr_assert_eq(hashtree_leaves(UINT64_MAX), UINT64_C(1) << 44, "nothing overflows");
    cr_assert_eq(hashtree_blocks(UINT64_MAX), UINT64_C(1) << 54);
}

Test(hashtree, contents)
{
    static const struct {
        const char *name;
        uint64_t size;
    } cases[] = {{"file 0", 0},
                 {"file 1", 1},
                 {"file leaf-1", LEAF - 1},
                 {"file leaf", LEAF},
                 {"file leaf+1", LEAF + 1},
                 {"file 3 leaves", 3 * LEAF - 7}};
    uint8_t *data = malloc(3 * LEAF);
    cr_assert_not_null(data);
    for (size_t i = 0; i < 3 * LEAF; i++) {
        data[i] = (uint8_t)(i % 251);
    }
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t leaves[3 * HASHTREE_HASH], root[HASHTREE_HASH], block[HASHTREE_HASH];
        uint64_t n = hashtree_leaves(cases[i].size);
        for (uint64_t l = 0; l < n; l++) {
            hashtree_leaf(data + l * LEAF, hashtree_leaf_len(cases[i].size, l),
                          leaves + l * HASHTREE_HASH);
        }
        root_of(cases[i].size, leaves, root, block);
        check(cases[i].name, root);
        if (cases[i].size == 1) {
            check("file leaf of 1", leaves);
            check("file block of 1", block);
        }
    }
    free(data);
}

Test(hashtree, blocks)
{
    static const unsigned counts[] = {1023, 1024, 1025, 2048, 2049};
    static uint8_t leaves[2049][HASHTREE_HASH];
    for (unsigned i = 0; i < 2049; i++) {
        for (size_t k = 0; k < HASHTREE_HASH; k++) {
            leaves[i][k] = (uint8_t)(i >> (3 - k % 4) * 8);
        }
    }
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        uint8_t root[HASHTREE_HASH], block[HASHTREE_HASH];
        char name[32];
        root_of(counts[i] * LEAF, leaves[0], root, block);
        snprintf(name, sizeof name, "file root %u", counts[i]);
        check(name, root);
        snprintf(name, sizeof name, "file block %u", counts[i]);
        check(name, block);
    }
}

/* Block hashes may be added one by one or many at once. */
Test(hashtree, root_in_pieces)
{
    uint8_t blocks[5 * HASHTREE_HASH], one[HASHTREE_HASH], many[HASHTREE_HASH];
    struct hashtree_root r;
    vectors_seq(7, blocks, sizeof blocks);
    hashtree_root_init(&r, 99);
    hashtree_root_add(&r, blocks, 5);
    hashtree_root_final(&r, many);
    hashtree_root_init(&r, 99);
    for (size_t i = 0; i < 5; i++) {
        hashtree_root_add(&r, blocks + i * HASHTREE_HASH, 1);
    }
    hashtree_root_final(&r, one);
    cr_assert_arr_eq(one, many, sizeof one);
    hashtree_root_init(&r, 100);
    hashtree_root_add(&r, blocks, 5);
    hashtree_root_final(&r, one);
    cr_assert_neq(memcmp(one, many, sizeof one), 0, "the size is in the root");
}

/* The same bytes are another thing as leaf, as block and as root. */
Test(hashtree, kinds_are_apart)
{
    uint8_t bytes[HASHTREE_HASH], leaf[HASHTREE_HASH], block[HASHTREE_HASH];
    vectors_seq(1, bytes, sizeof bytes);
    hashtree_leaf(bytes, sizeof bytes, leaf);
    hashtree_block(bytes, 1, block);
    cr_assert_neq(memcmp(leaf, block, sizeof leaf), 0);
}
