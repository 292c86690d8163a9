/* Files on disk: runs the jobs of xfer (xfer.h, enum xfer_job_kind) on libuv's workers.
 *
 * Owns the open files of transfers (FILES_OPEN_MAX of them), and what is kept beside them
 * in HOME/files/ (0700), named by the hex digits of the offer's id:
 *
 *   ID.leaves    hash of each leaf at 32 × its number; zeros: not known. Written without
 *                fsync: after a crash of the machine what does not fit is done again
 *   ID.source    ours: path, inode, size, mtime and ctime of each file, to find out
 *                whether it has changed; incoming: which file the part is
 *   ID.manifest  of a folder, ours or incoming (then what belongs into the last leaf of
 *                it too; not writable any more once what it names is made)
 *   ID.spool     standard input that is being sent; a piped file that comes in
 *
 * Nothing that a peer sends chooses a place outside of the download folder: a final name
 * is one component that was fixed (wire_file_name_fix), paths in a folder come from a
 * checked manifest, every component is opened with O_NOFOLLOW below a folder that we
 * made, nothing that is there is opened for writing or replaced (O_EXCL,
 * RENAME_NOREPLACE: "plan (1).odt"). No space is reserved ahead; what would not fit into
 * the free space of the disk, or of a folder into the files it has room for, is refused
 * before it begins. Of a source only regular files
 * and folders are read; symbolic links in it are not followed and left out. */
#ifndef LINNET_FILES_H
#define LINNET_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xfer.h"

struct loop;

enum {
    FILES_OPEN_MAX = 64,
    FILES_SPARE = 16 * 1024 * 1024, /* bytes that a transfer leaves free on a disk */
    FILES_SPARE_ENTRIES = 1024,     /* files and folders that one leaves room for */
    FILES_CLASHES_MAX = 1000,       /* "plan (1000).odt", then it fails */
    FILES_NICE = 5,                 /* workers give way to the loop by so much */
    FILES_SENTENCE_MAX = 512,
};

struct files;

/* home: the node's folder. downloads: where files go by default, made when it is needed.
 * done is called on the loop for each job. 0, ERR_NOMEM, ERR_IO (the folder in the home
 * cannot be made). */
typedef void files_done(void *ctx, const struct xfer_result *r);
int files_new(struct loop *l, const char *home, const char *downloads, files_done *done,
              void *ctx, struct files **out);
/* Waits for jobs under way; their results are dropped. Before loop_free(), and not inside
 * a callback of the loop. NULL is fine. */
void files_free(struct files *f);
void files_set_downloads(struct files *f, const char *downloads);
/* Takes a job: done is called later, always (without memory for the job: at once). Those
 * of a file that read and write leaves run beside each other; any other waits for those
 * before it and keeps those behind it waiting. */
void files_start(struct files *f, const struct xfer_job *job);
/* Results of jobs started so far go nowhere: the node that asked is gone. Waits for jobs
 * under way, so that afterwards no buffer is touched; what takes long gives up soon. */
void files_forget(struct files *f);
/* Removes what is kept for offers that needs() does not know. */
void files_clean(struct files *f, bool (*needs)(void *ctx, const uint8_t key[WIRE_MID]),
                 void *ctx);

#endif
