/* Hashes of leaves that are kept, and what is made of them. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "files_priv.h"

bool files_hash_known(const uint8_t hash[HASHTREE_HASH])
{
    return !sodium_is_zero(hash, HASHTREE_HASH);
}

int files_hashes_open(struct files_job *j)
{
    int e = 0;
    (void)pthread_mutex_lock(&j->o->lock);
    if (j->o->leaves < 0) {
        j->o->leaves = files_kept_open(j, "leaves", O_RDWR | O_CREAT);
        e = j->o->leaves < 0 ? errno : 0;
    }
    (void)pthread_mutex_unlock(&j->o->lock);
    return e == 0 ? 0 : files_fail_errno(j, e, "cannot be written", j->f->dir);
}

int files_hashes(struct files_job *j, uint64_t first, size_t n, uint8_t *out)
{
    size_t len = n * HASHTREE_HASH;
    ssize_t got = files_pread(j->o->leaves, out, len, first * HASHTREE_HASH);
    if (got < 0) {
        return files_fail_errno(j, errno, "cannot be read", j->f->dir);
    }
    memset(out + got, 0, len - (size_t)got);
    return 0;
}

int files_hash_keep(struct files_job *j, uint64_t leaf, const uint8_t *hash)
{
    if (files_pwrite(j->o->leaves, hash, HASHTREE_HASH, leaf * HASHTREE_HASH) != 0) {
        return files_fail_errno(j, errno, "cannot be written", j->f->dir);
    }
    return 0;
}

int files_hashes_forget(const struct files_job *j)
{
    return ftruncate(j->o->leaves, 0);
}

static size_t block_len(uint64_t leaves, uint64_t block)
{
    uint64_t left = leaves - block * HASHTREE_FANOUT;
    return left < HASHTREE_FANOUT ? (size_t)left : (size_t)HASHTREE_FANOUT;
}

/* The hash of a block; ERR_STATE when not all of its leaves are known. */
static int block_hash(struct files_job *j, uint64_t leaves, uint64_t block,
                      uint8_t out[HASHTREE_HASH])
{
    uint8_t v[HASHTREE_FANOUT * HASHTREE_HASH];
    size_t n = block_len(leaves, block);
    int err = files_hashes(j, block * HASHTREE_FANOUT, n, v);
    for (size_t i = 0; err == 0 && i < n; i++) {
        err = files_hash_known(v + i * HASHTREE_HASH) ? 0 : ERR_STATE;
    }
    if (err == 0) {
        hashtree_block(v, n, out);
    }
    return err;
}

int files_root(struct files_job *j, uint8_t out[HASHTREE_HASH])
{
    if (j->in.size > WIRE_FILE_SIZE_MAX) {
        return ERR_LIMIT;
    }
    uint64_t leaves = hashtree_leaves(j->in.size), blocks = hashtree_blocks(leaves);
    struct hashtree_root root;
    hashtree_root_init(&root, j->in.size);
    for (uint64_t i = 0; i < blocks; i++) {
        uint8_t hash[HASHTREE_HASH];
        int err = files_given_up(j) ? ERR_CLOSED : block_hash(j, leaves, i, hash);
        if (err != 0) {
            return err;
        }
        hashtree_root_add(&root, hash, 1);
    }
    hashtree_root_final(&root, out);
    return 0;
}

int files_list(struct files_job *j)
{
    if (j->in.size > WIRE_FILE_SIZE_MAX) {
        return ERR_LIMIT;
    }
    uint64_t leaves = hashtree_leaves(j->in.size), blocks = hashtree_blocks(leaves);
    if (j->in.list > blocks) {
        return files_fail(j, ERR_ARG, "There is no such list of hashes.");
    }
    int err = 0;
    size_t n = (size_t)blocks;
    if (j->in.list == 0) {
        for (uint64_t i = 0; err == 0 && i < blocks; i++) {
            err = files_given_up(j)
                      ? ERR_CLOSED
                      : block_hash(j, leaves, i, j->in.buf + i * HASHTREE_HASH);
        }
    } else {
        n = block_len(leaves, j->in.list - 1);
        err = files_hashes(j, (uint64_t)(j->in.list - 1) * HASHTREE_FANOUT, n, j->in.buf);
        for (size_t i = 0; err == 0 && i < n; i++) {
            err = files_hash_known(j->in.buf + i * HASHTREE_HASH) ? 0 : ERR_STATE;
        }
    }
    if (err == ERR_STATE) {
        return files_fail(j, err, "Not all of the file has been hashed yet.");
    }
    j->out.len = n * HASHTREE_HASH;
    return err;
}

int files_check_root(struct files_job *j)
{
    uint8_t root[HASHTREE_HASH];
    int err = files_root(j, root);
    if (err == ERR_STATE || (err == 0 && memcmp(root, j->in.hash, sizeof root) != 0)) {
        return files_fail(j, ERR_AUTH, "What came is not what the sender has sealed.");
    }
    memcpy(j->out.hash, root, sizeof root);
    return err;
}

int files_compare(struct files_job *j)
{
    uint8_t v[HASHTREE_FANOUT * HASHTREE_HASH];
    size_t n = j->in.len / HASHTREE_HASH;
    if (j->in.list == 0 || j->in.list > HASHTREE_BLOCKS_MAX || n > HASHTREE_FANOUT) {
        return files_fail(j, ERR_ARG, "There is no such list of hashes.");
    }
    int err = files_hashes(j, (uint64_t)(j->in.list - 1) * HASHTREE_FANOUT, n, v);
    if (err == 0) {
        err = files_bits(j, HASHTREE_FANOUT);
    }
    for (size_t i = 0; err == 0 && i < n; i++) {
        const uint8_t *kept = v + i * HASHTREE_HASH;
        bool same = memcmp(kept, j->in.buf + i * HASHTREE_HASH, HASHTREE_HASH) == 0;
        files_bit_set(j->bits, i, files_hash_known(kept) && same);
    }
    return err;
}

/* ---- bits ---- */

int files_bits(struct files_job *j, uint64_t leaves)
{
    size_t n = (size_t)((leaves + 7) / 8);
    j->bits = calloc(n + 1, 1);
    if (j->bits == NULL) {
        return ERR_NOMEM;
    }
    j->out.bits = j->bits;
    j->out.n_bits = n;
    return 0;
}

void files_bit_set(uint8_t *bits, uint64_t i, bool on)
{
    uint8_t mask = (uint8_t)(1u << (i % 8));
    bits[i / 8] = on ? (uint8_t)(bits[i / 8] | mask) : (uint8_t)(bits[i / 8] & ~mask);
}

bool files_bit(const uint8_t *bits, uint64_t i)
{
    return (bits[i / 8] >> (i % 8) & 1) != 0;
}
