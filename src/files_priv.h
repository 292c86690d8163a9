/* What the files_*.c share.
 *
 * Two kinds of code meet here. On the loop's thread (files.c) lives the table of open
 * files: it alone makes and ends struct files_open, queues jobs on it and hands them to
 * workers. On the workers run the jobs (files_part.c, files_scan.c, files_source.c,
 * files_tree.c, files_hash.c). A job has what is open to itself (alone), or shares it
 * with others of the same file that read and write other leaves: then what is open is
 * opened by whoever comes first, under its lock, and not changed afterwards. */
#ifndef LINNET_FILES_PRIV_H
#define LINNET_FILES_PRIV_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "base/err.h"
#include "files.h"

enum {
    FILES_HEX = 2 * WIRE_MID,
    FILES_KEPT_MAX = FILES_HEX + 16,    /* "HEX.manifest.tmp" and its NUL */
    FILES_NOTES_MAX = 32 * 1024 * 1024, /* bytes of ID.source */
    FILES_SIZE_TEXT = 32,               /* "12.3 GB" */
    FILES_SHOWN_MAX = 128,              /* bytes of a path in a sentence */
    FILES_PART_DIR_MODE = 0700,
    FILES_PART_MODE = 0600,
    FILES_NEW_DIR_MODE = 0500, /* of a part until it is noted which file it is */
    FILES_NEW_MODE = 0400,
    FILES_MANIFEST_DONE = 0400, /* mode of ID.manifest once what it names is made */
};

#define FILES_PART ".part"

/* What tells whether a file of ours is still the one that was offered. The device's
 * number is no part of it: some file systems get another one at each start. */
struct files_id {
    uint64_t inode, size;
    uint64_t mtime_ns, ctime_ns;
};

struct files_entry {
    uint64_t start, size; /* place of its contents in what is sent */
    const char *path;     /* below the folder: ours as it is called there; "" when it is
                           * no folder */
    bool folder, exec;
    struct files_id id; /* ours */
};

/* A file or folder of ours as it was noted, or what an incoming manifest names. */
struct files_tree {
    struct files_entry *v;
    uint32_t n;
    char *text; /* holds the paths */
    uint64_t head, size;
};

struct files_open {
    struct files_open *next;
    uint8_t key[WIRE_MID];
    char hex[FILES_HEX + 1];
    /* the loop's */
    struct files_job *first, *last; /* wait for others of the file */
    unsigned users;
    bool alone;
    uint64_t used;
    /* the workers' */
    pthread_mutex_t lock;
    pthread_mutex_t writing;  /* the kernel takes one write of a file at a time, and who
                               * waits for it there spins */
    int fd, leaves, manifest; /* -1: not open */
    bool made;                /* incoming folder: what its manifest names is there */
    struct files_tree *tree;
};

struct files {
    struct loop *loop;
    files_done *done;
    void *ctx;
    char home[PATH_MAX], dir[PATH_MAX];
    int dir_fd;
    dev_t home_dev;
    ino_t home_inode;
    char *downloads;
    struct files_open *open;
    size_t n_open;
    uint64_t clock;
    struct files_job *first, *last;               /* wait for a place in the table */
    struct files_job *failed_first, *failed_last; /* no memory to run them */
    size_t n_jobs;                                /* that libuv has */
    pthread_mutex_t lock;
    pthread_cond_t idle;
    unsigned running;
    _Atomic uint64_t age; /* grows when jobs are forgotten */
};

struct files_job {
    struct files_job *next;
    struct files *f;
    struct files_open *o;
    uint64_t age;
    struct xfer_job in; /* its strings and bits are copies, none of them empty */
    char *path_in, *name_in, *dest_in, *downloads;
    uint8_t *bits_in;
    struct xfer_result out;
    uint8_t *bits;
    char why[FILES_SENTENCE_MAX], name[WIRE_FILE_NAME_MAX + 1], path[PATH_MAX];
};

/* ---- files_io.c ---- */

/* Fails a job: returns err; the sentence says what, why, and what to do. */
__attribute__((format(printf, 3, 4))) int files_fail(struct files_job *j, int err,
                                                     const char *fmt, ...);
/* The same for an errno. what: "cannot be read"; path as it is shown. */
int files_fail_errno(struct files_job *j, int e, const char *what, const char *path);
/* The end of a path that is too long for a sentence; valid UTF-8 stays so. */
const char *files_shown(const char *path, char out[FILES_SHOWN_MAX + 1]);
void files_size_text(uint64_t size, char out[FILES_SIZE_TEXT]);
/* Reads n bytes, or as many as there are before the end. -1 (errno), or their number. */
ssize_t files_pread(int fd, void *p, size_t n, uint64_t at);
/* 0, or -1 (errno). */
int files_pwrite(int fd, const void *p, size_t n, uint64_t at);
/* True when close() finds nothing wrong either; fd -1 is fine. */
bool files_close(int *fd);
/* Some file systems sync no folders. False: errno. */
bool files_sync_dir(int fd);
/* Joins folder and name. False: longer than PATH_MAX. */
bool files_join(char out[PATH_MAX], const char *dir, const char *name);
/* The job's result is not wanted any more: what takes long ends. */
bool files_given_up(const struct files_job *j);
/* Whether the disk of the folder dir has room for n more files and folders. 0 or
 * ERR_FULL. path: as it is shown. */
int files_room_for(struct files_job *j, int dir, const char *path, uint32_t n);
void files_id_of(const struct stat *st, struct files_id *out);
bool files_id_equal(const struct files_id *a, const struct files_id *b);

/* What is kept in the home. */
void files_kept_name(const struct files_open *o, const char *ending,
                     char out[FILES_KEPT_MAX]);
/* Opens ID.ending in the home. -1 (errno). */
int files_kept_open(const struct files_job *j, const char *ending, int flags);
/* Writes it at once or not at all. 0 or an error. */
int files_kept_write(struct files_job *j, const char *ending, const void *p, size_t len);
/* Reads all of it; the caller frees. 0 or an error, ERR_NOTFOUND among them. */
int files_kept_read(struct files_job *j, const char *ending, size_t max, uint8_t **out,
                    size_t *len);
/* Removes all that is kept for the file. 0 or an errno. */
int files_kept_remove(const struct files_job *j);
/* Whether a name in HOME/files is one of ours; then whose. */
bool files_kept_parse(const char *name, uint8_t key[WIRE_MID]);

/* ---- files_hash.c ---- */

/* Opens, under the lock, where they are kept. 0 or an error. */
int files_hashes_open(struct files_job *j);
/* n kept hashes from leaf first on; zeros: not known. 0 or an error. */
int files_hashes(struct files_job *j, uint64_t first, size_t n, uint8_t *out);
int files_hash_keep(struct files_job *j, uint64_t leaf, const uint8_t *hash);
/* Forgets all of them. 0, or -1 (errno). */
int files_hashes_forget(const struct files_job *j);
bool files_hash_known(const uint8_t hash[HASHTREE_HASH]);
/* The root of the kept hashes. ERR_STATE: some are not known. */
int files_root(struct files_job *j, uint8_t out[HASHTREE_HASH]);
/* Makes the result's bits, all zero. 0, ERR_NOMEM. */
int files_bits(struct files_job *j, uint64_t leaves);
void files_bit_set(uint8_t *bits, uint64_t i, bool on);
bool files_bit(const uint8_t *bits, uint64_t i);
int files_list(struct files_job *j);
int files_check_root(struct files_job *j);
int files_compare(struct files_job *j); /* KEEP */

/* ---- files_tree.c ---- */

/* The folder that was opened last below another one, so that files that lie beside each
 * other do not cost the way down each time. No symbolic link is followed. */
struct files_at {
    int top, fd; /* fd: -1 none, or top */
    size_t len;
    char path[PATH_MAX];
};
void files_at_init(struct files_at *at, int top);
void files_at_release(struct files_at *at);
/* The folder that path lies in, and path's last component. -1 (errno). */
int files_at_dir(struct files_at *at, const char *path, const char **last);
int files_at_open(struct files_at *at, const char *path, int flags);

void files_tree_free(struct files_tree *t);
/* The entry that holds the byte, head ≤ at < size. */
uint32_t files_tree_find(const struct files_tree *t, uint64_t at);
/* Reads a manifest. 0, ERR_FORMAT, ERR_NOMEM. */
int files_tree_parse(const uint8_t *p, size_t len, struct files_tree **out);
/* Writes or reads contents of an incoming folder, head ≤ at; behind what a file holds
 * there are zeros. */
int files_tree_write(struct files_job *j, const uint8_t *p, size_t len, uint64_t at);
int files_tree_read(struct files_job *j, uint8_t *p, size_t len, uint64_t at);
int files_tree_make(struct files_job *j);  /* TREE */
int files_tree_modes(struct files_job *j); /* sets those of what may be executed */
void files_tree_holes(struct files_job *j, uint8_t *bits); /* clears what is too short */
void files_tree_remove(const struct files_tree *t, int top);

/* ---- files_scan.c, files_source.c ---- */
int files_scan(struct files_job *j);
int files_check(struct files_job *j);
int files_read(struct files_job *j);
int files_seal(struct files_job *j);
/* Notes of what a source is, or which file an incoming one is written to. */
int files_notes_write(struct files_job *j, const struct files_tree *t);
/* 0; ERR_NOTFOUND (none, or damaged; without a sentence), ERR_NOMEM, ERR_IO. */
int files_notes_read(struct files_job *j, struct files_tree **out);

/* ---- files_part.c, files_end.c, files_name.c ---- */

/* Opens, under the lock, what a job of an incoming file needs. 0 or an error. */
int files_part_get(struct files_job *j);
int files_part_open(struct files_job *j);
int files_part_write(struct files_job *j);
int files_part_read(struct files_job *j, uint8_t *p, size_t len, uint64_t at);
int files_part_sync(struct files_job *j);
int files_part_finish(struct files_job *j);
/* Opens the file that has got its name already, when a node or the sync of a folder ended
 * between that and the note of it: under the names that it may have. 0 or an error. */
int files_find_finished(struct files_job *j);
int files_drop(struct files_job *j);
/* Removes a part: the file, or of a folder what its manifest names. Nothing else than
 * what is called a part. 0 or an error. */
int files_part_remove(struct files_job *j, const char *path);
/* The same of the one that was noted in the home, if any. */
int files_part_remove_noted(struct files_job *j);
/* name with " (n)" before its ending (n 0: as it is), cut so that room bytes fit behind
 * it. */
void files_numbered(const char *name, bool folder, unsigned n, size_t room,
                    char out[WIRE_FILE_NAME_MAX + 1]);
/* Where an incoming file goes: its folder and the name it should get there. 0 or an
 * error. */
int files_place(struct files_job *j, char dir[PATH_MAX],
                char name[WIRE_FILE_NAME_MAX + 1]);
/* The same of a part that is there, in its folder dir. */
void files_wanted(const struct files_job *j, const char *dir,
                  char name[WIRE_FILE_NAME_MAX + 1]);
bool files_is_part(const char *path);

/* Closes what is open of a file; nobody else uses it. */
bool files_close_all(struct files_open *o);

#endif
