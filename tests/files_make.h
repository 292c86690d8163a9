/* Jobs on files, run by a real loop in a folder of the test's own. */
#ifndef LINNET_TESTS_FILES_MAKE_H
#define LINNET_TESTS_FILES_MAKE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "files.h"

/* What a job gave, copied. */
struct got {
    bool done;
    int err;
    uint8_t file_kind;
    bool exec;
    uint64_t size, head;
    uint32_t count;
    char why[FILES_SENTENCE_MAX], name[WIRE_FILE_NAME_MAX + 1], path[PATH_MAX];
    size_t len;
    uint8_t hash[HASHTREE_HASH];
    uint8_t *bits;
    size_t n_bits;
};

/* One for each test; ended by world_end(). */
struct world {
    char top[64], home[80], kept[96], downloads[96], source[80], outside[80];
    struct loop *loop;
    struct files *files;
    uint64_t next_id;
    size_t n_done;
    struct got *got; /* by id - 1 */
    size_t n_got;
};
extern struct world w;

void world_begin(void);
void world_end(void);
/* As after kill -9: another struct files over the same folders. */
void world_restart(void);

/* Starts a job; its number, which wait_for() takes. */
uint64_t begin(struct xfer_job j);
struct got *wait_for(uint64_t id);
/* Both. What it gives lives until world_end() or the next begin(). */
struct got *run(struct xfer_job j);
/* The same, and it must end so. */
struct got *must(int err, struct xfer_job j);

/* A path below the world's top. */
const char *at(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void put_file(const char *path, const void *p, size_t len);
/* size bytes that differ from seed to seed. */
void put_random(const char *path, size_t size, uint64_t seed);
void fill_random(uint8_t *p, size_t size, uint64_t seed);
uint8_t *get_file(const char *path, size_t *len);
bool same_file(const char *a, const char *b);
bool is_there(const char *path);
size_t count_in(const char *dir);

/* An offer that a scan gave, and the transfer that takes it in. */
struct move {
    struct xfer_job out, in;
    char from[PATH_MAX], to[PATH_MAX], name[WIRE_FILE_NAME_MAX + 1];
    uint8_t root[HASHTREE_HASH];
    uint8_t *bits;
    size_t n_bits;
};
/* Scans path; mids are made of n, which is another one for each move. */
void move_scan(struct move *m, const char *path, unsigned n);
void move_open(struct move *m);
/* Reads a leaf and writes it. */
void move_leaf(struct move *m, uint32_t leaf);
void move_leaves(struct move *m, uint32_t from, uint32_t to);
uint32_t move_count(const struct move *m);
void move_tree(struct move *m);
void move_finish(struct move *m);
/* All of it. */
void move_all(struct move *m, const char *path, unsigned n);

#endif
