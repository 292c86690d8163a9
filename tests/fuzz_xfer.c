/* Any frames from a linked member of a group of three, to a node that has offered a file
 * and takes one in, while its jobs are done, time passes and file data goes out: nothing
 * may break, and all memory for leaves comes back.
 *
 * Input: a sequence of steps, each a byte, taken modulo STEPS. 0 to 5: a frame of the
 * type FILE_WANT and so on, length (2, big-endian) ‖ payload. STEP_JOB: which one of
 * those that wait (1). STEP_TIME: in quarters of a second (1). STEP_PULL: nothing.
 * STEP_SAY: what is said in the feed of the member, as a body's kind, end and size (1
 * each, size in halves of the file). In a payload "@a" stands for our root, "@b" for
 * theirs, "@o" for the id of our offer, "@i" for that of theirs, "@h" for our handle,
 * "@n" for the same in decimal, "@H" for the hash of the last leaf, "@D" for its bytes.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xfer_priv.h"
#include "xfer_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SIZE = HASHTREE_LEAF + 100, LAST = 100, ROUNDS = 64, QUARTER_MS = 250 };
enum { STEP_JOB = 6, STEP_TIME, STEP_PULL, STEP_SAY, STEPS };

struct fuzz {
    struct xw *w;
    uint8_t ours[WIRE_MID], theirs[WIRE_MID];
};

/* Node 0 is the one that is tried; node 1 only lends its name. */
static void start(struct fuzz *z)
{
    struct xw *w = z->w = xw_new(3, 1);
    for (size_t i = 0; i < 3; i++) {
        w->node[i].disk.quick = true;
    }
    xw_link(w, 0, 1);
    xw_offer(w, 0, SIZE);
    xw_offer(w, 1, SIZE);
    memcpy(z->ours, w->node[0].mid, WIRE_MID);
    memcpy(z->theirs, w->node[1].mid, WIRE_MID);
    w->node[0].held[1] = w->node[1].held[0] = true;
    int err = xw_accept(w, 0, z->theirs);
    assert(err == 0);
    xw_settle(w);
    w->node[0].jobs_held = true;
}

static void expand(const struct fuzz *z, uint8_t k, struct wr *w)
{
    const struct file *f = file_by_key(z->w->node[0].x, 2, z->theirs);
    const struct source *s = f != NULL && f->get != NULL ? f->get->sources : NULL;
    const uint8_t *last =
        disk_note(&z->w->node[1].disk, z->theirs, false)->source->p + HASHTREE_LEAF;
    uint8_t b[WIRE_ID];
    switch (k) {
    case 'a':
    case 'b':
        xw_root(k - 'a', b);
        wr_bytes(w, b, sizeof b);
        break;
    case 'o':
        wr_bytes(w, z->ours, WIRE_MID);
        break;
    case 'i':
        wr_bytes(w, z->theirs, WIRE_MID);
        break;
    case 'h':
        wr_u32(w, s != NULL ? s->handle : 0);
        break;
    case 'n':
        (void)snprintf((char *)b, sizeof b, "%u", s != NULL ? s->handle : 0);
        wr_bytes(w, b, strlen((char *)b));
        break;
    case 'H':
        disk_hash(&z->w->node[1].disk, last, LAST, b);
        wr_bytes(w, b, HASHTREE_HASH);
        break;
    default:
        wr_bytes(w, last, LAST);
        break;
    }
}

static void frame(struct fuzz *z, uint8_t type, struct rd *r)
{
    static uint8_t payload[WIRE_FRAME_MAX];
    size_t len = rd_u16(r);
    len = len < r->n ? len : r->n;
    const uint8_t *p = rd_bytes(r, len);
    struct wr w = wr_init(payload, sizeof payload);
    for (size_t i = 0; p != NULL && i < len; i++) {
        bool name = p[i] == '@' && i + 1 < len && strchr("aboihnHD", p[i + 1]) != NULL &&
                    p[i + 1] != '\0';
        if (name) {
            expand(z, p[++i], &w);
        } else {
            wr_u8(&w, p[i]);
        }
    }
    if (!wr_ok(&w)) {
        return;
    }
    int err = xw_recv(z->w, 0, 1, type, payload, w.len);
    assert(err == 0 || err == ERR_FORMAT);
    if (err != 0) { /* its link ends, and it comes again */
        xw_cut(z->w, 0, 1);
        xw_link(z->w, 0, 1);
    }
}

static void job(struct fuzz *z, size_t k)
{
    struct xw_node *n = &z->w->node[0];
    struct xfer_result r;
    struct txn t = {0};
    if (n->disk.n_jobs > 0) {
        disk_run(&n->disk, k % n->disk.n_jobs, &r);
        xw_after(n, &t, xfer_done(n->x, &t, &r, z->w->now_ms));
    }
}

static void pull(struct fuzz *z)
{
    static uint8_t out[WIRE_FRAME_MAX + WIRE_FRAME_HEAD];
    struct xw_node *n = &z->w->node[0];
    struct txn t = {0};
    struct wr w = wr_init(out, sizeof out);
    (void)xfer_fill(n->x, 101, &w, z->w->now_ms);
    assert(wr_ok(&w));
    xw_after(n, &t, 0);
}

static void say(struct fuzz *z, struct rd *r)
{
    struct xw_node *n = &z->w->node[0];
    struct txn t = {0};
    struct wire_body b = {.kind = BODY_SEALED + rd_u8(r) % 2};
    b.end = rd_u8(r) % (FILE_END_BROKEN + 1);
    b.size = (uint64_t)(rd_u8(r) % 3) * (SIZE / 2);
    memcpy(b.target,
           b.kind == BODY_SEALED || b.end < FILE_END_DECLINED ? z->theirs : z->ours,
           WIRE_MID);
    xw_root(b.end < FILE_END_DECLINED ? 1 : 0, b.author);
    struct xfer_said s = {.conv = 1, .contact = 2, .device = 101, .body = &b};
    xw_after(n, &t, xfer_said(n->x, &t, &s, z->w->now_ms));
}

static void step(struct fuzz *z, struct rd *r)
{
    uint8_t what = rd_u8(r) % STEPS;
    if (what < STEP_JOB) {
        frame(z, FRAME_FILE_WANT + what, r);
    } else if (what == STEP_JOB) {
        job(z, rd_u8(r));
    } else if (what == STEP_TIME) {
        z->w->now_ms += rd_u8(r) * QUARTER_MS;
        xw_tick(z->w);
    } else if (what == STEP_PULL) {
        pull(z);
    } else {
        say(z, r);
    }
    /* Nobody reads what is answered. */
    struct xw_node *n = &z->w->node[0];
    for (struct xw_frame *f = n->first[1], *next; f != NULL; f = next) {
        next = f->next;
        free(f);
    }
    n->first[1] = NULL;
    n->end[1] = &n->first[1];
    n->n_frames[1] = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz z;
    struct rd r = rd_init(data, size);
    start(&z);
    for (unsigned k = 0; k < ROUNDS && r.n > 0; k++) {
        step(&z, &r);
    }
    struct xfer *x = z.w->node[0].x;
    xw_cut(z.w, 0, 1);
    z.w->node[0].jobs_held = false;
    xw_settle(z.w);
    assert(x->bufs[BUF_IN] == 0 && x->bufs[BUF_OUT] == 0 && x->jobs == NULL);
    xw_free(z.w);
    return 0;
}
