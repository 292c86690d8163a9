/* The store's thread: commits and queries run beside the loop, results come back on it.
 *
 * All transactions that wait form one group commit, which starts at once when the thread
 * is idle. Queries run between commits, one at a time, and see every transaction that was
 * handed in before them. Everything here is called from the loop's thread, and all
 * callbacks run there.
 *
 * After a commit has failed the thread drops the transactions that still wait and those
 * that come, since they build on what was not stored: tells `failed` once, and refuses
 * more until store_thread_resume(), by which time the owner has loaded its state again.
 * Queries go on. Memory is bounded: STORE_THREAD_BYTES_MAX of transactions that wait.
 *
 * When nothing was asked of it for a while, the thread brings the index of words up to
 * date, a slice at a time; when much is missing there, whenever nothing waits. */
#ifndef LINNET_STORE_THREAD_H
#define LINNET_STORE_THREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "store.h"

enum {
    STORE_THREAD_BYTES_SOFT = 1 << 20, /* from here on the owner stops taking input */
    STORE_THREAD_BYTES_MAX = 16 << 20, /* from here on transactions are refused */
    STORE_THREAD_QUERIES_MAX = 1024,   /* queries that wait */
    STORE_THREAD_QUIET_MS = 100,       /* without work, then the index follows */
    STORE_THREAD_BEHIND = 2048, /* messages behind which it does not wait for that */
};

struct store_thread_cb {
    void *ctx;
    /* All transactions up to number up_to are stored. events is the callee's to read, and
     * released after the call (or taken over by zeroing it). */
    void (*committed)(void *ctx, uint64_t up_to, struct store_events *events);
    /* Transaction no and all after it are not stored (ERR_IO: perhaps). */
    void (*failed)(void *ctx, int err, uint64_t no);
};

struct store_thread;

/* Starts the thread, which from then on alone uses s. 0, ERR_NOMEM, ERR_IO; on failure s
 * stays the caller's. */
int store_thread_start(uv_loop_t *loop, struct store *s, const struct store_thread_cb *cb,
                       struct store_thread **out);
/* Hands t over (zeroed then). 0; ERR_LIMIT: too much waits (one is always taken);
 * ERR_STATE: a commit has failed and resume was not called; ERR_NOMEM. On failure t stays
 * the caller's. */
int store_thread_commit(struct store_thread *st, struct txn *t);
/* Bytes of transactions that are not stored yet. */
size_t store_thread_pending(const struct store_thread *st);
/* Takes transactions again after a failure. */
void store_thread_resume(struct store_thread *st);

/* Runs run(ctx, store) on the thread, then done(ctx, its result) on the loop. run reads
 * one page at most, so that commits don't wait. 0, ERR_LIMIT, ERR_NOMEM. */
int store_thread_query(struct store_thread *st, int (*run)(void *ctx, struct store *s),
                       void (*done)(void *ctx, int rc), void *ctx);

/* Does what was handed in, delivers all results through the callbacks, ends the thread
 * and closes the store. Frees st when the loop has closed its handle (run the loop once
 * more). Callbacks must not hand in more. NULL is fine. */
void store_thread_stop(struct store_thread *st);

#endif
