/* A disk in memory that does the jobs of the transfer module (xfer.h).
 *
 * Sources are bytes that a test makes, changes, cuts and removes. Of each offer the disk
 * keeps a `note`: of ours its source and the hashes of leaves, of an incoming one the
 * part with its hashes, and what it has become when it is finished. Jobs wait in a queue
 * until the test runs one of them, in any order; what a job does, it does then. What was
 * written and not synced goes with a loss of power, by chance, and stays when the program
 * is killed. Folders are one stream of bytes: a manifest and the contents behind it. */
#ifndef LINNET_TESTS_FILE_DISK_H
#define LINNET_TESTS_FILE_DISK_H

#include "xfer.h"

enum {
    DISK_SOURCES = 256,
    DISK_NOTES = 1024,
    DISK_JOBS = 256,
    DISK_KINDS = XFER_JOB_FORGET + 1,
    DISK_PATH = 64,
    DISK_SAMPLE = 4096, /* a quick hash looks at 8 bytes of so many */
};

struct disk_source {
    char path[DISK_PATH];
    uint8_t *p; /* NULL: gone */
    size_t len, cap;
    uint64_t version;
    uint8_t kind; /* enum file_kind */
    uint64_t head;
    uint32_t count;
    bool exec;
};

struct disk_leaf {
    uint8_t hash[HASHTREE_HASH];
    bool known;
    uint64_t at;    /* when it was written; 0: durable */
    unsigned reads; /* how often it was read to be sent */
};

struct disk_note {
    bool used, incoming, part, synced, finished, tree;
    uint8_t key[WIRE_MID];
    struct disk_source *source; /* ours */
    uint64_t version;
    uint8_t *p; /* incoming: its bytes; len: up to the last one written */
    size_t len, cap;
    struct disk_leaf *leaf;
    size_t n_leaves;
};

/* What a liar does to leaves and lists that it gives. */
enum disk_lie {
    LIE_NONE,
    LIE_DATA,   /* other bytes, the right hash */
    LIE_HASH,   /* the right bytes, another hash */
    LIE_LIST,   /* hashes in lists are others */
    LIE_AUTHOR, /* other bytes with the hash of these */
    LIE_FORK,   /* the root of something else is sealed */
};

struct disk_job {
    struct xfer_job j;
    char path[DISK_PATH], name[WIRE_FILE_NAME_MAX + 1], dest[DISK_PATH];
    uint8_t *bits;
    uint64_t at;
};

struct disk {
    struct disk_source source[DISK_SOURCES];
    size_t n_sources;
    struct disk_note note[DISK_NOTES];
    struct disk_job job[DISK_JOBS];
    size_t n_jobs;
    uint64_t clock, rng;
    uint64_t used, quota; /* bytes of parts and of what is finished */
    bool quick;           /* leaves are hashed by samples */
    enum disk_lie lie;
    int fail[DISK_KINDS]; /* the next job of the kind ends with this error */
    unsigned syncs_failed;
    uint64_t done[DISK_KINDS];
    size_t bufs_in_max, bufs_out_max; /* the most that were out at once */
    /* of the result that is handed out */
    uint8_t *out_bits;
    char out_path[DISK_PATH];
};

void disk_init(struct disk *d, uint64_t seed);
void disk_release(struct disk *d);
/* A file of len bytes, other ones for each salt. */
struct disk_source *disk_put(struct disk *d, const char *path, size_t len, uint64_t salt);
/* A folder with n files of len bytes each. */
struct disk_source *disk_put_folder(struct disk *d, const char *path, unsigned n,
                                    size_t len, uint64_t salt);
/* More bytes behind a source; other bytes in it; fewer; none at all. */
void disk_grow(struct disk *d, struct disk_source *s, size_t len);
void disk_change(struct disk_source *s);
void disk_shrink(struct disk_source *s, size_t len);
void disk_remove(struct disk_source *s);

void disk_start(struct disk *d, const struct xfer_job *j);
/* Whether the k-th job may be done now: jobs of a file that read and write leaves run
 * beside each other, any other waits for those before it and holds up those behind it. */
bool disk_may(const struct disk *d, size_t k);
/* Does the k-th job and tells what came of it; the result lives until the next call. */
void disk_run(struct disk *d, size_t k, struct xfer_result *r);
/* The program ends: some of the jobs that wait are done all the same, with power lost
 * what is not durable may go. */
void disk_kill(struct disk *d, bool power);
struct disk_note *disk_note(struct disk *d, const uint8_t key[WIRE_MID], bool incoming);
/* What a leaf's hash is on this disk. */
void disk_hash(const struct disk *d, const uint8_t *p, size_t len,
               uint8_t out[HASHTREE_HASH]);
uint32_t disk_rand(struct disk *d, uint32_t n);

#endif
