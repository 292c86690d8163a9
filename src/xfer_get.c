/* Files that come in: which leaves are asked for, of whom, and how long they are waited
 * for. What sources send is judged in xfer_take.c, and written in xfer_part.c. */
#include <stdlib.h>
#include <string.h>

#include "xfer_priv.h"

/* ---- what is missing ---- */

static bool leaf_asked(const struct get *g, uint64_t leaf)
{
    for (size_t i = 0; i < g->n_asks; i++) {
        if (g->asks[i].leaf == leaf) {
            return true;
        }
    }
    return false;
}

/* Up to which leaf there is something to ask for now. */
static uint64_t ask_limit(const struct file *f)
{
    if (f->r.kind == FILE_FOLDER && !f->get->tree) {
        return hashtree_leaves(f->r.head);
    }
    uint64_t n = file_leaves(f);
    return n < HASHTREE_LEAVES_MAX ? n : (uint64_t)HASHTREE_LEAVES_MAX;
}

/* The first leaf that is neither there nor asked for; the limit: none. */
static uint64_t next_missing(struct file *f)
{
    struct get *g = f->get;
    uint64_t limit = ask_limit(f), i = g->first_missing;
    while (i < limit && i < f->n_bits && bit_get(f->bits, i)) {
        i++;
    }
    g->first_missing = i;
    while (i < limit && ((i < f->n_bits && bit_get(f->bits, i)) || leaf_asked(g, i))) {
        i++;
    }
    return i;
}

/* ---- asking ---- */

static bool can_ask(const struct source *s)
{
    return s->usable && !s->liar && !s->gone && !s->slow && !s->paused;
}

bool get_is_origin(const struct source *s)
{
    return s->peer->device == s->file->r.device;
}

/* Whether hashes have to come from lists: the root did not fit, or others than the
 * offering device are asked as well. */
static bool by_lists(const struct get *g)
{
    bool others = false;
    for (const struct source *s = g->sources; s != NULL; s = s->next) {
        others = others || (can_ask(s) && !get_is_origin(s));
    }
    return g->strict || others;
}

struct hashes *get_hashes(const struct get *g, uint32_t block)
{
    for (size_t i = 0; i < XFER_LISTS; i++) {
        if (g->lists[i] != NULL && g->lists[i]->ok && g->lists[i]->block == block) {
            return g->lists[i];
        }
    }
    return NULL;
}

/* The one with the least under way. */
struct source *get_pick(const struct get *g)
{
    struct source *best = NULL;
    for (struct source *s = g->sources; s != NULL; s = s->next) {
        if (can_ask(s) && (best == NULL || s->under_way < best->under_way)) {
            best = s;
        }
    }
    return best;
}

static int want(struct xfer *x, const struct source *s, const struct wire_file_want *v)
{
    uint8_t buf[XFER_FRAME_MAX];
    struct wr w = wr_init(buf, sizeof buf);
    struct wire_file_want full = *v;
    memcpy(full.author, file_author_root(s->file), sizeof full.author);
    memcpy(full.mid, s->file->r.mid, sizeof full.mid);
    full.handle = s->handle;
    wire_file_want_put(&w, &full);
    return xout_add(x, s->peer->device, FRAME_FILE_WANT, &w);
}

/* Asks for a list, one at a time. */
static int want_list(struct xfer *x, struct file *f, struct source *s, uint32_t list)
{
    struct get *g = f->get;
    struct wire_file_want v = {.n_lists = 1, .lists = {list}};
    if (g->list_asked != 0) {
        return 0;
    }
    g->list_asked = 1 + list;
    g->list_from = s;
    s->heard_ms = x->now_ms;
    return want(x, s, &v);
}

/* True when the hashes of the block's leaves are known; else asks for what is missing. */
int get_lists(struct xfer *x, struct file *f, struct source *s, uint32_t block,
              bool *there)
{
    *there = get_hashes(f->get, block) != NULL;
    if (*there) {
        return 0;
    }
    return want_list(x, f, s, f->get->top_ok ? block + 1 : 0);
}

/* A stream whose end is not known: a leaf of it comes when it has been written at the
 * other side, which may be never. Nobody else waits behind it. */
bool get_open_stream(const struct file *f)
{
    return f->r.kind == FILE_STREAM && (f->r.flags & FILE_SIZED) == 0;
}

/* ---- sharing ---- */

void get_count(struct xfer *x, struct file *f)
{
    struct shares *v = &x->shares;
    struct get *g = f->get;
    if (g == NULL) {
        return;
    }
    bool counts = !get_open_stream(f), any = false;
    bool held = (f->r.flags & FILE_PAUSED) != 0 || f->retry_ms != 0;
    bool wants = counts && g->step == GET_OPEN && !held &&
                 (g->n_asks > 0 || next_missing(f) < ask_limit(f));
    size_t asks = counts ? g->n_asks : 0;
    v->asks = v->asks - g->counted + asks;
    g->counted = asks;
    for (struct source *s = g->sources; s != NULL; s = s->next) {
        struct xpeer *p = s->peer;
        size_t n = counts ? s->under_way : 0;
        bool busy = wants && can_ask(s);
        p->asks = p->asks - s->counted + n;
        p->busy = p->busy - s->busy + busy;
        s->counted = n;
        s->busy = busy;
        any = any || busy;
    }
    v->files = v->files - g->wanting + any;
    g->wanting = any;
}

/* What changed since was touched. */
static void count_touched(struct xfer *x)
{
    for (struct file *f = x->touched; f != NULL; f = f->touched_next) {
        get_count(x, f);
    }
}

/* Leaves of tardy devices. */
static size_t tardy_asks(const struct xfer *x)
{
    size_t n = 0;
    for (const struct xpeer *p = x->peers; p != NULL; p = p->next) {
        n += p->tardy ? p->asks : 0;
    }
    return n;
}

/* Once in a call from outside: what is released within it is given out by the next
 * tick. */
static struct shares *share(struct xfer *x)
{
    struct shares *v = &x->shares;
    size_t devices = 0;
    if (v->at == x->calls) {
        return v;
    }
    count_touched(x);
    for (const struct xpeer *p = x->peers; p != NULL; p = p->next) {
        devices += p->busy > 0;
    }
    v->at = x->calls;
    v->tardy = tardy_asks(x);
    v->device = devices < 2               ? (size_t)XFER_BUFFERS
                : devices >= XFER_BUFFERS ? (size_t)1
                                          : XFER_BUFFERS / devices;
    return v;
}

/* How many leaves a file may have under way. */
static size_t window(const struct shares *v, const struct file *of)
{
    if (get_open_stream(of)) {
        return XFER_STREAM_WINDOW;
    }
    size_t n = v->files == 0 ? XFER_WINDOW : XFER_BUFFERS / v->files;
    return n < 1 ? 1 : n > XFER_WINDOW ? (size_t)XFER_WINDOW : n;
}

/* Devices that send nothing, or a byte a minute, do not take the buffers of all others:
 * each has its share, and tardy ones have half of all together. */
static bool has_room(const struct shares *v, const struct file *f, const struct xpeer *p)
{
    return get_open_stream(f) ||
           (p->asks < v->device && (!p->tardy || v->tardy < (size_t)XFER_BUFFERS / 2));
}

/* The source to ask for a leaf; NULL: nobody now. */
static struct source *pick_for_leaf(const struct shares *v, const struct file *f)
{
    struct source *best = NULL;
    for (struct source *s = f->get->sources; s != NULL; s = s->next) {
        if (can_ask(s) && has_room(v, f, s->peer) &&
            (best == NULL || s->under_way < best->under_way)) {
            best = s;
        }
    }
    return best;
}

static int want_leaf(struct xfer *x, struct file *f, struct source *s, uint32_t leaf)
{
    struct get *g = f->get;
    struct wire_file_want v = {.n_ranges = 1, .ranges = {{leaf, 1}}};
    g->asks[g->n_asks++] = (struct ask){leaf, s};
    if (s->under_way++ == 0) {
        s->heard_ms = x->now_ms;
    }
    if (!get_open_stream(f)) {
        s->peer->leaf_ms = s->peer->asks++ == 0 ? x->now_ms : s->peer->leaf_ms;
        s->counted++;
        g->counted++;
        x->shares.asks++;
        x->shares.tardy += s->peer->tardy;
    }
    rate_spend(&x->rx, HASHTREE_LEAF, x->now_ms);
    return want(x, s, &v);
}

int get_ask(struct xfer *x, struct file *f)
{
    struct get *g = f->get;
    struct shares *v = share(x);
    size_t may = window(v, f);
    bool stream = get_open_stream(f), there = true;
    bool lists = (f->r.flags & FILE_SEALED) != 0 && by_lists(g);
    int err = 0;
    while (err == 0 && g->n_asks < may && (stream || v->asks < XFER_BUFFERS) &&
           g->pause_ms <= x->now_ms && rate_may(&x->rx, x->now_ms)) {
        uint64_t leaf = next_missing(f);
        struct source *s = leaf < ask_limit(f) ? pick_for_leaf(v, f) : NULL;
        if (s == NULL) {
            break;
        }
        if (lists) {
            err = get_lists(x, f, s, (uint32_t)(leaf / HASHTREE_FANOUT), &there);
        }
        if (err != 0 || !there) {
            break;
        }
        err = want_leaf(x, f, s, (uint32_t)leaf);
    }
    x->starving = x->starving || (!stream && g->n_asks == 0 && v->asks >= XFER_BUFFERS);
    return err;
}

/* From f on, of those that have up to so many leaves under way. */
static int ask_among(struct xfer *x, struct txn *t, struct file *f,
                     const struct file *end, size_t most)
{
    const struct shares *v = share(x);
    int err = 0;
    for (; err == 0 && f != end; f = f->gets_next) {
        bool full = v->asks >= XFER_BUFFERS && !get_open_stream(f);
        x->starving = x->starving || (full && f->get->wanting && f->get->n_asks == 0);
        err = !full && f->get->n_asks <= most ? get_run(x, t, f) : 0;
    }
    return err;
}

int get_ask_all(struct xfer *x, struct txn *t, struct file *f)
{
    int err = ask_among(x, t, f->gets_next, NULL, 0);
    if (err == 0) { /* f may have ended: all are before it then */
        err = ask_among(x, t, x->gets, f->get != NULL ? f : NULL, 0);
    }
    return err == 0 ? get_run(x, t, f) : err;
}

int get_ask_room(struct xfer *x, struct txn *t)
{
    return ask_among(x, t, x->gets, NULL, XFER_WINDOW);
}

/* ---- asks that end ---- */

static void intake_drop(struct xfer *x, struct source *s)
{
    buf_give(x, s->in.buf, s->in.kind);
    s->in = (struct intake){0};
}

/* Nothing of what was asked of this source is waited for any more. What is on its way
 * comes under the old handle, and is not taken for an answer to what is asked next. */
void source_release(struct xfer *x, struct source *s)
{
    struct get *g = s->file->get;
    file_touch(x, s->file);
    if (s->under_way > 0 || s->in.on || g->list_from == s) {
        source_name(x, s);
    }
    for (size_t i = 0; i < g->n_asks;) {
        if (g->asks[i].source == s) {
            bool begun = s->in.buf != NULL && s->in.leaf == g->asks[i].leaf;
            rate_return(&x->rx, HASHTREE_LEAF - (begun ? s->in.filled : 0));
            x->room = true;
            g->first_missing =
                g->asks[i].leaf < g->first_missing ? g->asks[i].leaf : g->first_missing;
            g->asks[i] = g->asks[--g->n_asks];
        } else {
            i++;
        }
    }
    if (g->list_from == s) {
        g->list_from = NULL;
        g->list_asked = 0;
        g->top_n = g->top_ok ? g->top_n : 0;
        for (size_t i = 0; i < XFER_LISTS; i++) { /* the next one begins with the first */
            if (g->lists[i] != NULL && !g->lists[i]->ok) {
                g->lists[i]->n = 0;
            }
        }
    }
    intake_drop(x, s);
    s->under_way = 0;
}

static void source_free(struct xfer *x, struct source *s)
{
    source_release(x, s);
    for (struct xjob *j = x->jobs; j != NULL; j = j->next) {
        j->source = j->source == s ? NULL : j->source;
    }
    *s->peer_at = s->peer_next;
    if (s->peer_next != NULL) {
        s->peer_next->peer_at = s->peer_at;
    }
    s->peer->asks -= s->counted;
    s->peer->busy -= s->busy;
    source_unname(x, s);
    free(s);
}

void get_peer_down(struct xfer *x, struct file *f, struct xpeer *p)
{
    for (struct source **at = &f->get->sources; *at != NULL;) {
        struct source *s = *at;
        if (s->peer == p) {
            *at = s->next;
            source_free(x, s);
        } else {
            at = &s->next;
        }
    }
}

void get_stop(struct xfer *x, struct file *f)
{
    for (struct source *s = f->get == NULL ? NULL : f->get->sources; s != NULL;
         s = s->next) {
        source_release(x, s);
    }
}

void get_free(struct xfer *x, struct file *f)
{
    struct get *g = f->get;
    if (g == NULL) {
        return;
    }
    while (g->sources != NULL) {
        struct source *s = g->sources;
        g->sources = s->next;
        source_free(x, s);
    }
    x->room = x->room || g->n_asks > 0;
    x->shares.asks -= g->counted;
    x->shares.files -= g->wanting;
    for (size_t i = 0; i < XFER_LISTS; i++) {
        free(g->lists[i]);
    }
    free(g->top);
    free(g->dirty);
    free(g->copies);
    free(g);
    f->get = NULL;
    gets_del(x, f);
}

/* ---- sources ---- */

/* How it is here, told to who offered it. */
int get_tell(struct xfer *x, struct file *f, struct source *s)
{
    enum file_word word = (f->r.flags & FILE_PAUSED) != 0 ? FILE_WORD_PAUSED
                          : f->retry_ms != 0              ? FILE_WORD_STUCK
                                                          : FILE_WORD_ACTIVE;
    uint64_t leaves = get_durable(f);
    if (s->told_word == 1u + word && s->told_leaves == leaves) {
        return 0;
    }
    s->told_word = 1u + word;
    s->told_leaves = leaves;
    s->told_ms = x->now_ms;
    return state_send(x, f, s->peer, word, leaves);
}

static int source_new(struct xfer *x, struct file *f, struct xpeer *p)
{
    struct source *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return ERR_NOMEM;
    }
    s->file = f;
    s->peer = p;
    source_name(x, s);
    s->usable = p->device == f->r.device;
    s->next = f->get->sources;
    f->get->sources = s;
    s->peer_next = p->sources;
    s->peer_at = &p->sources;
    if (p->sources != NULL) {
        p->sources->peer_at = &s->peer_next;
    }
    p->sources = s;
    /* Others say whether they have it when they hear that we want it. */
    return s->usable ? get_tell(x, f, s)
                     : state_send(x, f, p, FILE_WORD_ACTIVE, get_durable(f));
}

int get_peer_up(struct xfer *x, struct txn *t, struct file *f, struct xpeer *p)
{
    if (f->get != NULL) {
        int err = source_new(x, f, p);
        return err == 0 ? get_run(x, t, f) : err;
    }
    if (f->r.state == FILE_OFFERED && p->device == f->r.device) {
        return state_send(x, f, p, FILE_WORD_ASKS, 0);
    }
    if (f->r.state == FILE_DONE && f->conv->n > 2) {
        return state_send(x, f, p, FILE_WORD_WHOLE, file_leaves(f));
    }
    return 0;
}

int get_begin(struct xfer *x, struct txn *t, struct file *f)
{
    int err = 0;
    if (f->get == NULL) {
        f->get = calloc(1, sizeof *f->get);
        if (f->get == NULL) {
            return ERR_NOMEM;
        }
        gets_add(x, f);
        for (struct xpeer *p = x->peers; err == 0 && p != NULL; p = p->next) {
            err = conv_has_contact(f->conv, p->contact) ? source_new(x, f, p) : 0;
        }
    }
    return err == 0 ? get_run(x, t, f) : err;
}

/* ---- room ---- */

/* Leaves that take too long of devices that have more than tardy ones may have. */
static void room_of_leaves(struct xfer *x)
{
    x->starving = false; /* who still starves says so again */
    count_touched(x);
    for (struct xpeer *p = x->peers; p != NULL; p = p->next) {
        bool waits = p->asks > 0;
        p->tardy = p->tardy || (waits && p->leaf_ms + XFER_TURN_MS <= x->now_ms);
        x->starving = x->starving || (waits && !p->tardy);
    }
    for (struct xpeer *p = x->peers; p != NULL; p = p->next) {
        for (struct source *s = p->tardy ? p->sources : NULL; s != NULL;
             s = s->peer_next) {
            if (s->under_way > 0 && !get_open_stream(s->file) &&
                tardy_asks(x) > (size_t)XFER_BUFFERS / 2) {
                source_release(x, s);
                get_count(x, s->file);
            }
        }
    }
}

static struct source *oldest_stream(const struct xfer *x)
{
    struct source *best = NULL;
    for (const struct xpeer *p = x->peers; p != NULL; p = p->next) {
        for (struct source *s = p->sources; s != NULL; s = s->peer_next) {
            bool holds = s->in.buf != NULL && s->in.kind == BUF_STREAM;
            if (holds && (best == NULL || s->in.begun_ms < best->in.begun_ms)) {
                best = s;
            }
        }
    }
    return best;
}

void get_make_room(struct xfer *x)
{
    struct source *s = x->starving_stream ? oldest_stream(x) : NULL;
    if (s == NULL) {
        x->starving_stream = false;
    } else if (s->in.begun_ms + XFER_TURN_MS <= x->now_ms) {
        x->starving_stream = false;
        s->file->get->pause_ms = x->now_ms + XFER_TURN_MS;
        source_release(x, s);
    }
    if (x->starving) {
        room_of_leaves(x);
    }
}

uint64_t get_room_deadline(const struct xfer *x)
{
    const struct source *s = x->starving_stream ? oldest_stream(x) : NULL;
    uint64_t at = s != NULL ? s->in.begun_ms + XFER_TURN_MS : XFER_NEVER;
    for (const struct xpeer *p = x->starving ? x->peers : NULL; p != NULL; p = p->next) {
        uint64_t turn = p->leaf_ms + XFER_TURN_MS;
        at = !p->tardy && turn < at && p->asks > 0 ? turn : at;
    }
    return at;
}

/* ---- time ---- */

/* When nothing has come for too long. The offering device gives one file after the other,
 * so what it gives of any is a sign of life. */
static uint64_t silent_at(const struct file *f, const struct source *s)
{
    bool waits = s->under_way > 0 || f->get->list_from == s;
    uint64_t heard = s->heard_ms;
    if (get_is_origin(s) && s->peer->heard_ms > heard) {
        heard = s->peer->heard_ms;
    }
    return waits && !get_open_stream(f) ? heard + XFER_ANSWER_MS : XFER_NEVER;
}

int get_tick(struct xfer *x, struct txn *t, struct file *f)
{
    struct get *g = f->get;
    int err = 0;
    if (g == NULL) {
        return 0;
    }
    g->pause_ms = g->pause_ms > x->now_ms ? g->pause_ms : 0;
    for (struct source *s = g->sources; s != NULL; s = s->next) {
        if (silent_at(f, s) <= x->now_ms) {
            s->slow = !get_is_origin(s);
            s->heard_ms = x->now_ms;
            source_release(x, s);
        }
    }
    for (struct source *s = g->sources; err == 0 && s != NULL; s = s->next) {
        bool due = get_is_origin(s) && s->told_ms + XFER_TELL_MS <= x->now_ms;
        err = due ? get_tell(x, f, s) : 0;
    }
    return err == 0 ? get_run(x, t, f) : err;
}

uint64_t get_deadline(const struct xfer *x, const struct file *f)
{
    const struct get *g = f->get;
    uint64_t at = XFER_NEVER;
    if (g->step == GET_OPEN && g->unsynced > 0 && !g->syncing) {
        at = g->sync_ms;
    }
    if (g->step == GET_OPEN && g->n_asks == 0 && rate_short(&x->rx)) {
        uint64_t next = rate_next(&x->rx, x->now_ms);
        at = next < at ? next : at;
    }
    if (g->step == GET_OPEN && g->pause_ms != 0 && g->pause_ms < at) {
        at = g->pause_ms;
    }
    for (const struct source *s = g->sources; s != NULL; s = s->next) {
        if (get_is_origin(s) && s->told_leaves != get_durable(f) &&
            s->told_ms + XFER_TELL_MS < at) {
            at = s->told_ms + XFER_TELL_MS;
        }
        at = silent_at(f, s) < at ? silent_at(f, s) : at;
    }
    return at;
}
