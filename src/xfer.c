/* Files: life, conversations, policy, what the user asks for, what feeds tell. */
#include "xfer.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "xfer_priv.h"

enum {
    SOURCES_MAX = 1 << 24, /* each has memory of its own: files and devices bound them */
    ROOTS_MAX = (XFER_FILES_MAX + XFER_SHOWN) * WIRE_MEMBERS_MAX,
};

/* ---- small things ---- */

void file_key(uint32_t author, const uint8_t mid[WIRE_MID], uint8_t key[XFER_KEY])
{
    memcpy(key, &author, sizeof author);
    memcpy(key + sizeof author, mid, WIRE_MID);
}

bool file_ended(const struct file *f)
{
    return f->r.state > FILE_ACTIVE;
}

bool file_piped(const struct rec_file *r)
{
    return r->state == FILE_DONE && (r->flags & FILE_PIPE) != 0;
}

bool file_incoming(const struct file *f)
{
    return f->r.author != 0;
}

struct file *file_by_id(const struct xfer *x, uint32_t id)
{
    return map_get(&x->file_by_id, &id);
}

struct file *file_by_key(const struct xfer *x, uint32_t author,
                         const uint8_t mid[WIRE_MID])
{
    uint8_t key[XFER_KEY];
    file_key(author, mid, key);
    return map_get(&x->file_by_key, key);
}

static const uint8_t *root_of(const struct xconv *c, uint32_t contact)
{
    for (size_t i = 0; i < c->n; i++) {
        if (c->v[i].contact == contact) {
            return c->v[i].root;
        }
    }
    return NULL;
}

const uint8_t *file_author_root(const struct file *f)
{
    return root_of(f->conv, f->r.author);
}

uint32_t conv_contact(const struct xconv *c, const uint8_t root[WIRE_ID])
{
    for (size_t i = 0; i < c->n; i++) {
        if (memcmp(c->v[i].root, root, WIRE_ID) == 0) {
            return c->v[i].contact;
        }
    }
    return UINT32_MAX;
}

bool conv_has_contact(const struct xconv *c, uint32_t contact)
{
    return root_of(c, contact) != NULL;
}

bool bit_get(const uint8_t *bits, uint64_t i)
{
    return (bits[i / 8] >> (i % 8) & 1) != 0;
}

void bit_set(uint8_t *bits, uint64_t i, bool on)
{
    uint8_t mask = (uint8_t)(1u << (i % 8));
    bits[i / 8] = on ? bits[i / 8] | mask : (uint8_t)(bits[i / 8] & ~mask);
}

/* In whole blocks, so that each block's bits can be read out. */
int file_bits_room(struct file *f, uint64_t n)
{
    if (n <= f->n_bits) {
        return 0;
    }
    if (n > HASHTREE_LEAVES_MAX) {
        return ERR_LIMIT;
    }
    uint64_t cap = hashtree_blocks(n) * HASHTREE_FANOUT;
    uint8_t *v = realloc(f->bits, (size_t)(cap / 8));
    if (v == NULL) {
        return ERR_NOMEM;
    }
    memset(v + f->n_bits / 8, 0, (size_t)((cap - f->n_bits) / 8));
    f->bits = v;
    f->n_bits = cap;
    return 0;
}

uint64_t file_leaves(const struct file *f)
{
    return (f->r.flags & FILE_SIZED) != 0 ? hashtree_leaves(f->r.size) : UINT64_MAX;
}

bool text_set(struct blob *b, const char *s, size_t n)
{
    char *p = NULL;
    if (n > 0) {
        p = malloc(n + 1);
        if (p == NULL) {
            return false;
        }
        memcpy(p, s, n);
        p[n] = '\0';
    }
    free(b->p);
    b->p = (uint8_t *)p;
    b->n = n;
    return true;
}

const char *text_of(const struct blob *b)
{
    return (const char *)b->p;
}

/* ---- queues ---- */

struct xev *ev_new(struct xfer *x, enum xfer_event_kind kind)
{
    struct xev *e = calloc(1, sizeof *e);
    if (e != NULL) {
        e->e.kind = kind;
        *(x->ev_last != NULL ? &x->ev_last->next : &x->ev_first) = e;
        x->ev_last = e;
    }
    return e;
}

int xout_add(struct xfer *x, uint32_t device, enum frame_type type, const struct wr *w)
{
    struct xout *o = wr_ok(w) ? malloc(sizeof *o + w->len) : NULL;
    if (o == NULL) {
        return wr_ok(w) ? ERR_NOMEM : ERR_LIMIT;
    }
    *o = (struct xout){.o = {.device = device, .type = type, .len = w->len}};
    memcpy(o->bytes, w->p, w->len);
    *(x->out_last != NULL ? &x->out_last->next : &x->out_first) = o;
    x->out_last = o;
    return 0;
}

bool xfer_next_out(struct xfer *x, struct xfer_out *out)
{
    free(x->out_now);
    x->out_now = x->out_first;
    if (x->out_now == NULL) {
        return false;
    }
    x->out_first = x->out_now->next;
    x->out_last = x->out_first == NULL ? NULL : x->out_last;
    *out = x->out_now->o;
    out->payload = x->out_now->bytes;
    return true;
}

int state_send(struct xfer *x, const struct file *f, struct xpeer *p, enum file_word word,
               uint64_t leaves)
{
    uint8_t buf[XFER_FRAME_MAX];
    struct wr w = wr_init(buf, sizeof buf);
    struct wire_file_state v = {.leaves = leaves, .state = word};
    memcpy(v.author, file_author_root(f), sizeof v.author);
    memcpy(v.mid, f->r.mid, sizeof v.mid);
    wire_file_state_put(&w, &v);
    return xout_add(x, p->device, FRAME_FILE_STATE, &w);
}

/* ---- records ---- */

static bool blob_copy(struct blob *out, const struct blob *b)
{
    return blob_set(out, b->p, b->n);
}

int file_row(struct txn *t, const struct file *f)
{
    struct rec r = {.kind = REC_FILE, .u.file = f->r};
    struct rec_file *v = &r.u.file;
    v->name = v->path = v->dest = (struct blob){0};
    if (!blob_copy(&v->name, &f->r.name) || !blob_copy(&v->path, &f->r.path) ||
        !blob_copy(&v->dest, &f->r.dest)) {
        rec_release(&r);
        return ERR_NOMEM;
    }
    return txn_add(t, &r);
}

static size_t utf8_cut(const char *s, size_t n)
{
    while (n > 0 && ((uint8_t)s[n] & 0xc0) == 0x80) {
        n--;
    }
    return n;
}

int file_event(struct txn *t, const struct file *f, uint8_t what, uint32_t contact)
{
    struct rec r = {.kind = REC_EVENT,
                    .u.event = {.topic = TOPIC_TRANSFER,
                                .what = what,
                                .contact = contact,
                                .conv = f->r.conv,
                                .value = f->r.id}};
    size_t n = f->r.name.n;
    n = n > WIRE_NAME_MAX ? utf8_cut(text_of(&f->r.name), WIRE_NAME_MAX) : n;
    if (n > 0) {
        memcpy(r.u.event.text, f->r.name.p, n);
    }
    return txn_add(t, &r);
}

int file_peer_row(struct txn *t, const struct rec_file_peer *p)
{
    struct rec r = {.kind = REC_FILE_PEER, .u.file_peer = *p};
    return txn_add(t, &r);
}

struct taker *file_taker(struct file *f, uint32_t contact, bool make)
{
    for (size_t i = 0; i < f->n_takers; i++) {
        if (f->takers[i].r.contact == contact) {
            return &f->takers[i];
        }
    }
    if (!make) {
        return NULL;
    }
    struct taker *v = f->n_takers >= WIRE_MEMBERS_MAX
                          ? NULL
                          : reallocarray(f->takers, f->n_takers + 1, sizeof *f->takers);
    if (v == NULL) {
        return NULL;
    }
    f->takers = v;
    v[f->n_takers] = (struct taker){.r = {.file = f->r.id, .contact = contact}};
    return &v[f->n_takers++];
}

int file_bits_gone(struct txn *t, const struct file *f)
{
    struct rec r = {.kind = REC_FILE_BITS,
                    .del = true,
                    .u.file_bits = {.file = f->r.id, .block = UINT32_MAX}};
    return txn_add(t, &r);
}

/* ---- life ---- */

struct xfer *xfer_new(const struct env *env)
{
    struct xfer *x = calloc(1, sizeof *x);
    if (x == NULL) {
        return NULL;
    }
    x->env = env;
    x->next_id = 1;
    env_random(env, &x->next_handle, sizeof x->next_handle);
    map_init(&x->conv_by_id, env, sizeof(uint32_t), XFER_FILES_MAX + XFER_SHOWN);
    map_init(&x->file_by_id, env, sizeof(uint32_t), XFER_FILES_MAX + XFER_SHOWN);
    map_init(&x->file_by_key, env, XFER_KEY, XFER_FILES_MAX + XFER_SHOWN);
    map_init(&x->ended, env, XFER_KEY, XFER_ENDED_MAX);
    map_init(&x->peer_by_device, env, sizeof(uint32_t), UINT16_MAX);
    map_init(&x->source_by_handle, env, sizeof(uint32_t), SOURCES_MAX);
    map_init(&x->contact_by_root, env, WIRE_ID, ROOTS_MAX);
    deadlines_init(&x->due, XFER_FILES_MAX + XFER_SHOWN);
    x->policy = (struct xfer_policy){XFER_ACCEPT_ASK, UINT64_MAX, UINT64_MAX};
    return x;
}

void rec_file_free(struct rec_file *r)
{
    free(r->name.p);
    free(r->path.p);
    free(r->dest.p);
    r->name = r->path = r->dest = (struct blob){0};
}

static void file_free(struct xfer *x, struct file *f)
{
    get_free(x, f);
    file_untouch(x, f);
    rec_file_free(&f->r);
    free(f->bits);
    free(f->takers);
    free(f);
}

static void file_unlink(struct xfer *x, struct file *f)
{
    uint8_t key[XFER_KEY];
    struct file **at = &x->files, *before = NULL;
    file_key(f->r.author, f->r.mid, key);
    (void)map_del(&x->file_by_id, &f->r.id);
    (void)map_del(&x->file_by_key, key);
    file_untouch(x, f);
    while (*at != NULL && *at != f) {
        before = *at;
        at = &(*at)->next;
    }
    if (*at == f) {
        *at = f->next;
        x->last = x->last == f ? before : x->last;
    }
}

void file_free_if_over(struct xfer *x, struct file *f)
{
    if (f->over && f->jobs == 0) {
        file_free(x, f);
    }
}

/* Ended files are shown for a while; the oldest go. */
void ended_shown(struct xfer *x)
{
    static char mark;
    while (x->n_ended_shown > XFER_SHOWN) {
        struct file *f = x->files;
        uint8_t key[XFER_KEY];
        while (f != NULL && !file_ended(f)) {
            f = f->next;
        }
        if (f == NULL) {
            return;
        }
        file_key(f->r.author, f->r.mid, key);
        (void)map_put(&x->ended, key, &mark); /* else it may be offered once more */
        (void)put_stop(x, f, FILE_NO_GONE);   /* of a group it may still be given */
        file_unlink(x, f);
        x->n_ended_shown--;
        f->over = true;
        file_free_if_over(x, f);
    }
}

void scan_free(struct scan *s)
{
    if (s != NULL) {
        rec_file_free(&s->r);
        free(s);
    }
}

void job_free(struct xjob *j)
{
    if (j->slot != NULL) {
        free(j->slot->buf);
        free(j->slot);
    } else if (j->j.kind == XFER_JOB_WRITE || j->j.kind == XFER_JOB_KEEP) {
        free(j->j.buf);
    }
    free(j->path);
    free(j->name);
    free(j->bits);
    free(j);
}

static void event_free(struct xev *e)
{
    if (e != NULL) {
        scan_free(e->scan);
        free(e);
    }
}

static void queues_free(struct xfer *x)
{
    event_free(x->ev_now);
    for (struct xev *e = x->ev_first, *next; e != NULL; e = next) {
        next = e->next;
        event_free(e);
    }
    free(x->out_now);
    for (struct xout *o = x->out_first, *next; o != NULL; o = next) {
        next = o->next;
        free(o);
    }
}

void xfer_free(struct xfer *x)
{
    if (x == NULL) {
        return;
    }
    queues_free(x);
    for (struct xpeer *p = x->peers; p != NULL; p = p->next) {
        put_peer_down(x, p); /* slots that are being read are their jobs' alone then */
    }
    for (struct xjob *j = x->jobs, *next; j != NULL; j = next) {
        next = j->next;
        if (j->file != NULL && j->file->over && --j->file->jobs == 0) {
            file_free(x, j->file);
        }
        job_free(j);
    }
    x->jobs = NULL;
    for (struct file *f = x->files, *next; f != NULL; f = next) {
        next = f->next;
        file_free(x, f);
    }
    for (struct xpeer *p = x->peers, *next; p != NULL; p = next) {
        next = p->next;
        free(p);
    }
    for (struct scan *s = x->scans, *next; s != NULL; s = next) {
        next = s->next;
        scan_free(s);
    }
    for (struct xconv *c = x->convs, *next; c != NULL; c = next) {
        next = c->next;
        free(c->v);
        free(c);
    }
    while (x->n_pool > 0) {
        free(x->pool[--x->n_pool]);
    }
    map_release(&x->conv_by_id);
    map_release(&x->file_by_id);
    map_release(&x->file_by_key);
    map_release(&x->ended);
    map_release(&x->peer_by_device);
    map_release(&x->source_by_handle);
    map_release(&x->contact_by_root);
    for (struct xroot *r = x->roots, *next; r != NULL; r = next) {
        next = r->next;
        free(r);
    }
    deadlines_release(&x->due);
    free(x->rules);
    free(x->taken);
    free(x->waits);
    free(x);
}

static int root_put(struct xfer *x, const struct xfer_member *m)
{
    struct xroot *r = map_get(&x->contact_by_root, m->root);
    if (r == NULL) {
        r = calloc(1, sizeof *r);
        int err = r == NULL ? ERR_NOMEM : map_put(&x->contact_by_root, m->root, r);
        if (err != 0) {
            free(r);
            return err;
        }
        r->next = x->roots;
        x->roots = r;
    }
    r->contact = m->contact;
    return 0;
}

int xfer_conv(struct xfer *x, uint32_t conv, const struct xfer_member *v, size_t n)
{
    struct xconv *c = map_get(&x->conv_by_id, &conv);
    int err = 0;
    for (size_t i = 0; err == 0 && i < n; i++) {
        err = root_put(x, &v[i]);
    }
    struct xfer_member *copy = err == 0 ? malloc(n * sizeof *copy) : NULL;
    if (copy == NULL) {
        return err == 0 ? ERR_NOMEM : err;
    }
    memcpy(copy, v, n * sizeof *copy);
    if (c == NULL) {
        c = calloc(1, sizeof *c);
        err = c == NULL ? ERR_NOMEM : map_put(&x->conv_by_id, &conv, c);
        if (err != 0) {
            free(c);
            free(copy);
            return err;
        }
        c->id = conv;
        c->next = x->convs;
        x->convs = c;
    }
    free(c->v);
    c->v = copy;
    c->n = n;
    return 0;
}

/* ---- making files ---- */

/* A file with the row's numbers, linked by its id; strings are the caller's to set. */
int file_new(struct xfer *x, const struct rec_file *r, struct file **out)
{
    uint8_t key[XFER_KEY];
    struct xconv *c = map_get(&x->conv_by_id, &r->conv);
    struct file *f = c == NULL ? NULL : calloc(1, sizeof *f);
    if (f == NULL) {
        return c == NULL ? ERR_NOTFOUND : ERR_NOMEM;
    }
    f->r = *r;
    f->r.name = f->r.path = f->r.dest = (struct blob){0};
    f->conv = c;
    file_key(r->author, r->mid, key);
    int err = map_put(&x->file_by_id, &f->r.id, f);
    if (err == 0) {
        err = map_put(&x->file_by_key, key, f);
        if (err != 0) {
            (void)map_del(&x->file_by_id, &f->r.id);
        }
    }
    if (err != 0) {
        free(f);
        return err;
    }
    *(x->last != NULL ? &x->last->next : &x->files) = f;
    x->last = f;
    x->next_id = f->r.id >= x->next_id ? f->r.id + 1 : x->next_id;
    x->n_open++;
    *out = f;
    return 0;
}

static int file_strings(struct file *f, const struct rec_file *r)
{
    const struct blob *from[] = {&r->name, &r->path, &r->dest};
    struct blob *to[] = {&f->r.name, &f->r.path, &f->r.dest};
    for (size_t i = 0; i < 3; i++) {
        if (!text_set(to[i], text_of(from[i]), from[i]->n)) {
            return ERR_NOMEM;
        }
    }
    return 0;
}

int taken_note(struct xfer *x, uint32_t contact, uint64_t at_ms, uint64_t bytes)
{
    if (x->n_taken == x->cap_taken) {
        size_t cap = x->cap_taken == 0 ? 16 : 2 * x->cap_taken;
        struct taken *v = reallocarray(x->taken, cap, sizeof *v);
        if (v == NULL) {
            return ERR_NOMEM;
        }
        x->taken = v;
        x->cap_taken = cap;
    }
    x->taken[x->n_taken++] = (struct taken){contact, at_ms, bytes};
    return 0;
}

uint64_t taken_cost(const struct rec_file *r)
{
    return r->size + (uint64_t)r->count * XFER_ENTRY_COST;
}

bool taken_counts(uint64_t *at_ms, uint64_t wall_ms)
{
    *at_ms = *at_ms < wall_ms ? *at_ms : wall_ms;
    return wall_ms - *at_ms < XFER_DAY_MS;
}

static int load_taken(struct xfer *x, const struct rec_file *r)
{
    uint64_t at_ms = r->created_ms;
    bool counts =
        (r->flags & FILE_AUTO) != 0 && taken_counts(&at_ms, env_wall_ms(x->env));
    return counts ? taken_note(x, r->author, at_ms, taken_cost(r)) : 0;
}

static int load_ended(struct xfer *x, const struct rec_file *r)
{
    static char mark;
    uint8_t key[XFER_KEY];
    file_key(r->author, r->mid, key);
    int err = map_put(&x->ended, key, &mark);
    x->next_id = r->id >= x->next_id ? r->id + 1 : x->next_id;
    if (err == 0 || err == ERR_LIMIT) {
        err = load_taken(x, r);
    }
    return err == ERR_EXISTS ? ERR_CORRUPT : err;
}

/* One that came in to be piped out, which nobody has read to its end. */
static bool waits_for_reader(const struct xfer *x, const struct rec_file *r)
{
    return file_piped(r) && r->path.n > 0 && x->n_ended_shown < XFER_SHOWN;
}

static int load_file(struct xfer *x, const struct rec_file *r)
{
    struct file *f;
    if (r->id == 0 || r->size > WIRE_FILE_SIZE_MAX) {
        return ERR_CORRUPT;
    }
    if (r->state > FILE_ACTIVE && !waits_for_reader(x, r)) {
        return load_ended(x, r);
    }
    int err = file_new(x, r, &f);
    if (err == 0) {
        err = file_strings(f, r);
    }
    if (err == 0 && (f->r.flags & FILE_SIZED) != 0 && f->r.author == 0) {
        err = file_bits_room(f, hashtree_leaves(f->r.size));
    }
    if (err == 0) {
        f->counted = r->size;
        err = load_taken(x, r);
    }
    if (err == 0 && file_ended(f)) {
        x->n_open--;
        x->n_ended_shown++;
    }
    /* Who spooled ended with the node, or tells again how far it is. */
    bool spools = r->author == 0 && r->kind == FILE_STREAM;
    if (err == 0) {
        f->held_back = spools && (r->flags & FILE_SIZED) == 0;
    }
    return err == ERR_EXISTS || err == ERR_NOTFOUND ? ERR_CORRUPT : err;
}

static int load_bits(struct xfer *x, const struct rec_file_bits *r)
{
    struct file *f = file_by_id(x, r->file);
    if (f == NULL || r->block >= HASHTREE_BLOCKS_MAX) {
        return 0; /* of one that has ended */
    }
    int err = file_bits_room(f, ((uint64_t)r->block + 1) * HASHTREE_FANOUT);
    if (err != 0) {
        return err;
    }
    memcpy(f->bits + (size_t)r->block * FILE_BITS, r->bits, FILE_BITS);
    for (size_t i = 0; i < HASHTREE_FANOUT; i++) {
        f->n_have += bit_get(r->bits, i);
    }
    return 0;
}

static int load_peer(struct xfer *x, const struct rec_file_peer *r)
{
    struct file *f = file_by_id(x, r->file);
    struct taker *k = f == NULL ? NULL : file_taker(f, r->contact, true);
    if (k != NULL) {
        k->r = *r;
    }
    return f != NULL && k == NULL ? ERR_NOMEM : 0;
}

int rule_put(struct xfer *x, const struct rec_file_rule *r)
{
    bool none = r->mode == FILE_MODE_DEFAULT && !r->has_max && !r->has_quota;
    size_t i = 0;
    while (i < x->n_rules && x->rules[i].contact != r->contact) {
        i++;
    }
    if (none) {
        if (i < x->n_rules) {
            x->rules[i] = x->rules[--x->n_rules];
        }
        return 0;
    }
    if (i == x->n_rules) {
        struct rec_file_rule *v =
            reallocarray(x->rules, x->n_rules + 1, sizeof *x->rules);
        if (v == NULL) {
            return ERR_NOMEM;
        }
        x->rules = v;
        x->n_rules++;
    }
    x->rules[i] = *r;
    return 0;
}

int xfer_load(struct xfer *x, const struct rec *r)
{
    return r->kind == REC_FILE        ? load_file(x, &r->u.file)
           : r->kind == REC_FILE_BITS ? load_bits(x, &r->u.file_bits)
           : r->kind == REC_FILE_PEER ? load_peer(x, &r->u.file_peer)
           : r->kind == REC_FILE_RULE ? rule_put(x, &r->u.file_rule)
                                      : 0;
}

int xfer_start(struct xfer *x, struct txn *t, uint64_t now_ms)
{
    int err = 0;
    xfer_enter(x, now_ms);
    x->started = true;
    waits_changed(x);
    for (struct file *f = x->files; err == 0 && f != NULL; f = f->next) {
        bool goes_on = file_incoming(f) && f->r.state == FILE_ACTIVE;
        err = goes_on ? get_begin(x, t, f) : 0;
    }
    return err;
}

void xfer_key(const uint8_t author[WIRE_ID], const uint8_t mid[WIRE_MID],
              uint8_t key[WIRE_MID])
{
    uint8_t both[WIRE_ID + WIRE_MID];
    if (author == NULL) {
        memcpy(key, mid, WIRE_MID);
        return;
    }
    memcpy(both, author, WIRE_ID);
    memcpy(both + WIRE_ID, mid, WIRE_MID);
    (void)crypto_generichash(key, WIRE_MID, both, sizeof both, NULL, 0);
}

void file_kept_key(const struct file *f, uint8_t key[WIRE_MID])
{
    xfer_key(file_incoming(f) ? file_author_root(f) : NULL, f->r.mid, key);
}

bool xfer_needs(const struct xfer *x, const uint8_t key[WIRE_MID])
{
    for (const struct file *f = x->files; f != NULL; f = f->next) {
        uint8_t of[WIRE_MID];
        file_kept_key(f, of);
        if (memcmp(of, key, WIRE_MID) == 0) {
            return !file_ended(f) || f->jobs > 0 || file_piped(&f->r);
        }
    }
    for (const struct scan *s = x->scans; s != NULL; s = s->next) {
        if (memcmp(s->mid, key, WIRE_MID) == 0) {
            return true;
        }
    }
    return false;
}
