#include "store_thread.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "store_search.h"

/* A transaction or a query on its way to the thread, and what comes back: for each group
 * of transactions its last one, for each query itself. */
struct job {
    struct job *next;
    uint64_t seq; /* of handing in */
    struct txn txn;
    size_t bytes; /* of this transaction; on the way back, of the group */
    int (*run)(void *ctx, struct store *s); /* NULL: a transaction */
    void (*done)(void *ctx, int rc);
    void *ctx;
    int rc;
    bool dropped; /* not tried, since a commit before it has failed */
    uint64_t first_no, last_no;
    struct store_events events;
};

struct queue {
    struct job *head, **tail;
};

struct store_thread {
    struct store *store; /* the thread's */
    struct store_thread_cb cb;
    uv_thread_t thread;
    uv_async_t wake; /* to the loop */
    /* the loop's */
    size_t bytes, queries;
    uint64_t seq;
    bool failed;
    /* both sides', under lock */
    uv_mutex_t lock;
    uv_cond_t work;
    struct queue commits, asks, results;
    bool stop;
    bool broken; /* a commit has failed: drop */
    /* the thread's */
    const struct txn **group;
    size_t group_cap;
    bool quiet;     /* nothing was asked for a while */
    bool index_off; /* indexing has failed: not before the next commit */
};

static void queue_init(struct queue *q)
{
    q->head = NULL;
    q->tail = &q->head;
}

static void queue_add(struct queue *q, struct job *j)
{
    j->next = NULL;
    *q->tail = j;
    q->tail = &j->next;
}

/* Moves all of from behind what to holds. */
static void queue_move(struct queue *to, struct queue *from)
{
    if (from->head != NULL) {
        *to->tail = from->head;
        to->tail = from->tail;
        queue_init(from);
    }
}

static struct job *queue_take(struct queue *q)
{
    struct job *j = q->head;
    if (j != NULL) {
        q->head = j->next;
        if (q->head == NULL) {
            q->tail = &q->head;
        }
    }
    return j;
}

static void job_free(struct job *j)
{
    txn_release(&j->txn);
    store_events_release(&j->events);
    free(j);
}

/* Frees a list; the bytes of its transactions. */
static size_t queue_free(struct queue *q)
{
    size_t bytes = 0;
    for (struct job *j = queue_take(q); j != NULL; j = queue_take(q)) {
        bytes += j->bytes;
        job_free(j);
    }
    return bytes;
}

/* The thread */

/* Gives one result to the loop. */
static void give(struct store_thread *st, struct job *j)
{
    uv_mutex_lock(&st->lock);
    queue_add(&st->results, j);
    uv_mutex_unlock(&st->lock);
    (void)uv_async_send(&st->wake);
}

/* The transactions of a list in an array; NULL: out of memory. */
static const struct txn **group_of(struct store_thread *st, const struct queue *list,
                                   size_t *n)
{
    *n = 0;
    for (struct job *j = list->head; j != NULL; j = j->next) {
        if (*n == st->group_cap) {
            size_t cap = st->group_cap == 0 ? 64 : 2 * st->group_cap;
            const struct txn **v = realloc(st->group, cap * sizeof *v);
            if (v == NULL) {
                return NULL;
            }
            st->group = v;
            st->group_cap = cap;
        }
        st->group[(*n)++] = &j->txn;
    }
    return st->group;
}

/* Commits a list as one group and gives back its last job with the result. */
static void commit_group(struct store_thread *st, struct queue *list, bool drop)
{
    struct store_events events = {0};
    size_t n = 0, bytes = 0;
    int rc = ERR_STATE;
    if (!drop) {
        const struct txn **group = group_of(st, list, &n);
        rc = group == NULL ? ERR_NOMEM : store_commit(st->store, group, n, &events);
        st->index_off = rc != 0;
    }
    if (rc != 0 && !drop) {
        uv_mutex_lock(&st->lock);
        st->broken = true;
        uv_mutex_unlock(&st->lock);
    }
    struct job *last = list->head;
    uint64_t first_no = last->txn.no;
    for (; last->next != NULL; last = last->next) {
        bytes += last->bytes;
    }
    last->rc = rc;
    last->dropped = drop;
    last->bytes += bytes;
    last->first_no = first_no;
    last->last_no = last->txn.no;
    last->events = events;
    /* tell first, tidy up then */
    struct txn txn = last->txn;
    memset(&last->txn, 0, sizeof last->txn);
    struct queue rest;
    queue_init(&rest);
    while (list->head != last) {
        queue_add(&rest, queue_take(list));
    }
    give(st, last);
    txn_release(&txn);
    (void)queue_free(&rest);
}

/* What the thread does next: commits, else a query, else the index. Everything handed in
 * before a query is committed before it runs, and after a query waiting commits come
 * first. */
struct work {
    struct queue commits;
    struct job *ask;
    bool drop;
    bool index; /* neither: a slice of the index */
};

/* Waits for work. False: the index may go on meanwhile. */
static bool wait_work(struct store_thread *st)
{
    while (st->commits.head == NULL && st->asks.head == NULL && !st->stop) {
        if (st->broken || st->index_off || !store_index_due(st->store)) {
            uv_cond_wait(&st->work, &st->lock);
        } else if (st->quiet || store_index_behind(st->store) > STORE_THREAD_BEHIND) {
            return false;
        } else {
            st->quiet = uv_cond_timedwait(&st->work, &st->lock,
                                          STORE_THREAD_QUIET_MS * UINT64_C(1000000)) ==
                        UV_ETIMEDOUT;
        }
    }
    st->quiet = false;
    return true;
}

/* Waits for work and takes it. False: nothing is left and nothing will come. */
static bool take_work(struct store_thread *st, struct work *w, bool asked)
{
    queue_init(&w->commits);
    w->ask = NULL;
    uv_mutex_lock(&st->lock);
    w->index = !wait_work(st);
    struct job *c = st->commits.head, *a = st->asks.head;
    if (a != NULL && (c == NULL || (!asked && a->seq < c->seq))) {
        w->ask = queue_take(&st->asks);
    } else {
        queue_move(&w->commits, &st->commits);
    }
    w->drop = st->broken;
    uv_mutex_unlock(&st->lock);
    return a != NULL || c != NULL || w->index;
}

/* Moves the WAL on while nobody waits. */
static void tidy(struct store_thread *st)
{
    if (store_checkpoint_due(st->store)) {
        uv_mutex_lock(&st->lock);
        bool idle = st->commits.head == NULL && st->asks.head == NULL;
        uv_mutex_unlock(&st->lock);
        if (idle) {
            (void)store_checkpoint(st->store); /* the next commit tells what is wrong */
        }
    }
}

static void thread_main(void *arg)
{
    struct store_thread *st = arg;
    struct work w;
    bool asked = false;
    while (take_work(st, &w, asked)) {
        asked = w.ask != NULL;
        if (asked) {
            w.ask->rc = w.ask->run(w.ask->ctx, st->store);
            give(st, w.ask);
        } else if (w.index) {
            bool more;
            st->index_off = store_index(st->store, !st->quiet, &more) != 0;
        } else {
            commit_group(st, &w.commits, w.drop);
        }
        tidy(st);
    }
}

/* The loop */

static void deliver_one(struct store_thread *st, struct job *j)
{
    if (j->run != NULL) {
        st->queries--;
        j->done(j->ctx, j->rc);
        return;
    }
    st->bytes -= j->bytes;
    if (j->rc == 0) {
        st->cb.committed(st->cb.ctx, j->last_no, &j->events);
    } else if (!j->dropped) {
        st->failed = true;
        st->cb.failed(st->cb.ctx, j->rc, j->first_no);
    }
}

static void deliver(struct store_thread *st)
{
    struct queue list;
    queue_init(&list);
    uv_mutex_lock(&st->lock);
    queue_move(&list, &st->results);
    uv_mutex_unlock(&st->lock);
    for (struct job *j = queue_take(&list); j != NULL; j = queue_take(&list)) {
        deliver_one(st, j);
        job_free(j);
    }
}

static void on_wake(uv_async_t *wake)
{
    deliver(wake->data);
}

static void free_all(struct store_thread *st)
{
    uv_cond_destroy(&st->work);
    uv_mutex_destroy(&st->lock);
    free(st->group);
    free(st);
}

static void on_closed(uv_handle_t *wake)
{
    free_all(wake->data);
}

int store_thread_start(uv_loop_t *loop, struct store *s, const struct store_thread_cb *cb,
                       struct store_thread **out)
{
    struct store_thread *st = calloc(1, sizeof *st);
    if (st == NULL) {
        return ERR_NOMEM;
    }
    st->store = s;
    st->cb = *cb;
    queue_init(&st->commits);
    queue_init(&st->asks);
    queue_init(&st->results);
    if (uv_mutex_init(&st->lock) != 0) {
        free(st);
        return ERR_NOMEM;
    }
    if (uv_cond_init(&st->work) != 0) {
        uv_mutex_destroy(&st->lock);
        free(st);
        return ERR_NOMEM;
    }
    if (uv_async_init(loop, &st->wake, on_wake) != 0) {
        free_all(st);
        return ERR_IO;
    }
    st->wake.data = st;
    if (uv_thread_create(&st->thread, thread_main, st) != 0) {
        uv_close((uv_handle_t *)&st->wake, on_closed);
        return ERR_IO;
    }
    *out = st;
    return 0;
}

/* Hands a job to the thread. */
static void hand_in(struct store_thread *st, struct queue *q, struct job *j)
{
    j->seq = ++st->seq;
    uv_mutex_lock(&st->lock);
    queue_add(q, j);
    uv_cond_signal(&st->work);
    uv_mutex_unlock(&st->lock);
}

int store_thread_commit(struct store_thread *st, struct txn *t)
{
    size_t bytes = txn_bytes(t);
    if (st->failed) {
        return ERR_STATE;
    }
    if (st->bytes > 0 && (st->bytes >= STORE_THREAD_BYTES_MAX ||
                          bytes > STORE_THREAD_BYTES_MAX - st->bytes)) {
        return ERR_LIMIT;
    }
    struct job *j = calloc(1, sizeof *j);
    if (j == NULL) {
        return ERR_NOMEM;
    }
    j->txn = *t;
    j->bytes = bytes;
    memset(t, 0, sizeof *t);
    st->bytes += bytes;
    hand_in(st, &st->commits, j);
    return 0;
}

size_t store_thread_pending(const struct store_thread *st)
{
    return st->bytes;
}

void store_thread_resume(struct store_thread *st)
{
    struct queue late;
    queue_init(&late);
    uv_mutex_lock(&st->lock);
    queue_move(&late, &st->commits); /* handed in before the failure was known */
    st->broken = false;
    uv_mutex_unlock(&st->lock);
    st->bytes -= queue_free(&late);
    st->failed = false;
}

int store_thread_query(struct store_thread *st, int (*run)(void *ctx, struct store *s),
                       void (*done)(void *ctx, int rc), void *ctx)
{
    if (st->queries >= STORE_THREAD_QUERIES_MAX) {
        return ERR_LIMIT;
    }
    struct job *j = calloc(1, sizeof *j);
    if (j == NULL) {
        return ERR_NOMEM;
    }
    j->run = run;
    j->done = done;
    j->ctx = ctx;
    st->queries++;
    hand_in(st, &st->asks, j);
    return 0;
}

void store_thread_stop(struct store_thread *st)
{
    if (st == NULL) {
        return;
    }
    uv_mutex_lock(&st->lock);
    st->stop = true;
    uv_cond_signal(&st->work);
    uv_mutex_unlock(&st->lock);
    (void)uv_thread_join(&st->thread);
    deliver(st);
    store_close(st->store);
    st->store = NULL;
    uv_close((uv_handle_t *)&st->wake, on_closed);
}
