/* Edits, reactions and redactions: which one counts, what it changes, what waits for its
 * message, and taking texts out of the file.
 *
 * Every node comes to the same in whatever order changes arrive: of edits, and of one
 * account's reactions, the greatest (order, rank, mid) counts; a redaction is final. What
 * comes before its message waits in `pending`, one row for each (message, kind, author),
 * at most STORE_PENDING_MAX of an author in a conversation: then that author's oldest
 * goes, so that a flood harms nobody else. Edits and redactions name their author in the
 * place of the message's author, so those of others find nothing, ever. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "store_priv.h"

/* What decides between two changes. */
struct place {
    uint64_t order;
    int64_t rank;
    const uint8_t *mid;
};

/* A message that changes are for. */
struct target {
    uint64_t row;
    uint32_t flags;
    bool file; /* offers a file: its text is a name, which nobody edits */
};

static int compare(const struct place *a, const struct place *b)
{
    if (a->order != b->order) {
        return a->order < b->order ? -1 : 1;
    }
    if (a->rank != b->rank) {
        return a->rank < b->rank ? -1 : 1;
    }
    return memcmp(a->mid, b->mid, WIRE_MID);
}

static void bind_target(struct bind *b, uint32_t conv, uint32_t author,
                        const uint8_t mid[WIRE_MID])
{
    bind_int(b, conv);
    bind_int(b, author);
    bind_bytes(b, mid, WIRE_MID);
}

static int run_row(struct store *s, enum stmt_id id, uint64_t row)
{
    struct bind b = bind_start(s, id);
    bind_int(&b, row);
    return bind_run(&b);
}

/* ---- taking texts away ---- */

static int drop_box(struct store *s, uint64_t k)
{
    s->scrub = true;
    return run_row(s, ST_ENTRY_DROP, k);
}

int store_drop_entry(struct store *s, uint32_t feed, uint64_t seq)
{
    uint64_t k = 0;
    return store_key(feed, seq, &k) ? drop_box(s, k) : ERR_LIMIT;
}

/* The entries that carried the message, and those that carried its edits. */
static int drop_boxes(struct store *s, const struct rec_change *c, uint64_t row)
{
    s->scrub = true;
    int err = run_row(s, ST_ENTRY_DROP_MSG, row);
    for (int i = 0; err == 0 && i < 2; i++) {
        struct bind b = bind_start(s, i == 0 ? ST_ENTRY_DROP_EDITS : ST_EDITED_BY_DEL);
        bind_target(&b, c->conv, c->target_author, c->target);
        err = bind_run(&b);
    }
    return err;
}

/* ---- events ---- */

/* An event of a message that has changed. text is copied. */
static int tell(struct store_work *w, uint64_t row, const struct rec_change *c,
                const struct blob *text)
{
    struct store *s = w->s;
    struct bind b = bind_start(s, ST_MSG_ROW);
    bind_int(&b, row);
    int rc = bind_row(&b);
    if (rc != 1) {
        return rc < 0 ? rc : ERR_CORRUPT;
    }
    struct store_event *e = store_events_add(&w->events);
    if (e == NULL) {
        (void)sqlite3_reset(b.st);
        return ERR_NOMEM;
    }
    store_event_cols(b.st, 0, e);
    (void)sqlite3_reset(b.st);
    e->topic = TOPIC_STATE;
    e->change = c->kind;
    e->by = c->author;
    e->changed_ms = c->time_ms;
    if (text != NULL && !blob_set(&e->text, text->p, text->n)) {
        return ERR_NOMEM;
    }
    e->n = ++s->event_last;
    b = bind_start(s, ST_EVENT_PUT);
    bind_int(&b, e->n);
    bind_int(&b, e->topic);
    bind_int(&b, (uint64_t)STORE_CHANGED + c->kind);
    bind_int(&b, row);
    bind_int(&b, c->author);
    bind_null(&b);
    bind_null(&b);
    bind_null(&b);
    return bind_run(&b);
}

/* ---- applying ---- */

/* Whether a change counts against what the statement finds at (ord, rank, mid): 1, 0 or
 * an error. */
static int newer(struct bind *b, const struct rec_change *c, int64_t rank)
{
    struct place mine = {c->order, rank, c->mid};
    uint8_t mid[WIRE_MID];
    int rc = bind_row(b);
    if (rc != 1) {
        return rc < 0 ? rc : 1;
    }
    struct place there = {col_int(b->st, 0), sqlite3_column_int64(b->st, 1), mid};
    bool ok = col_fixed(b->st, 2, mid, sizeof mid);
    (void)sqlite3_reset(b->st);
    return !ok ? ERR_CORRUPT : compare(&mine, &there) > 0;
}

static int set_flags(struct store *s, const struct target *t, uint32_t flags)
{
    if ((t->flags & flags) == flags) {
        return 0;
    }
    struct bind b = bind_start(s, ST_MSG_FLAGS);
    bind_int(&b, t->flags | flags);
    bind_int(&b, t->row);
    return bind_run(&b);
}

/* The index of words forgets the old text and learns the new one. */
static int set_text(struct store *s, uint64_t row, uint32_t flags,
                    const struct blob *text)
{
    int err = store_index_forget(s, row);
    if (err != 0) {
        return err;
    }
    struct bind b = bind_start(s, ST_MSG_TEXT);
    bind_int(&b, flags);
    bind_text(&b, text->p, text->n);
    bind_int(&b, row);
    err = bind_run(&b);
    return err == 0 ? store_index_learn(s, row) : err;
}

static int apply_edit(struct store_work *w, const struct target *t,
                      const struct rec_change *c, int64_t rank)
{
    struct store *s = w->s;
    struct bind b = bind_start(s, ST_EDIT_GET);
    bind_int(&b, t->row);
    int rc = newer(&b, c, rank);
    if (rc != 1) {
        return rc;
    }
    b = bind_start(s, ST_EDIT_PUT);
    bind_int(&b, t->row);
    bind_int(&b, c->order);
    bind_i64(&b, rank);
    bind_bytes(&b, c->mid, sizeof c->mid);
    bind_int(&b, c->time_ms);
    int err = bind_run(&b);
    if (err == 0) {
        err = set_text(s, t->row, t->flags | MSG_EDITED, &c->text);
    }
    return err == 0 ? tell(w, t->row, c, &c->text) : err;
}

static int apply_reaction(struct store_work *w, const struct target *t,
                          const struct rec_change *c, int64_t rank)
{
    struct store *s = w->s;
    struct bind b = bind_start(s, ST_REACTION_GET);
    bind_int(&b, t->row);
    bind_int(&b, c->author);
    int rc = newer(&b, c, rank);
    if (rc != 1) {
        return rc;
    }
    b = bind_start(s, ST_REACTION_PUT);
    bind_int(&b, t->row);
    bind_int(&b, c->author);
    bind_int(&b, c->order);
    bind_i64(&b, rank);
    bind_bytes(&b, c->mid, sizeof c->mid);
    bind_text(&b, c->text.p, c->text.n);
    int err = bind_run(&b);
    if (err == 0) {
        err = set_flags(s, t, MSG_REACTED);
    }
    return err == 0 ? tell(w, t->row, c, &c->text) : err;
}

static int apply_redaction(struct store_work *w, const struct target *t,
                           const struct rec_change *c)
{
    struct store *s = w->s;
    const struct blob none = {0};
    int err = drop_boxes(s, c, t->row);
    if (err == 0) {
        err = run_row(s, ST_EDIT_DEL, t->row);
    }
    if (err == 0) {
        err = run_row(s, ST_REACTION_DEL, t->row);
    }
    if (err == 0) {
        err = store_file_unname(s, c->conv, c->target_author, c->target);
    }
    if (err == 0) {
        uint32_t kept = t->flags & ~(uint32_t)(MSG_EDITED | MSG_REACTED);
        err = set_text(s, t->row, kept | MSG_REDACTED, &none);
    }
    return err == 0 ? tell(w, t->row, c, NULL) : err;
}

static int apply(struct store_work *w, const struct target *t, const struct rec_change *c,
                 int64_t rank)
{
    if ((t->flags & MSG_REDACTED) != 0) {
        return 0; /* final */
    }
    switch ((enum change_kind)c->kind) {
    case CHANGE_EDIT:
        return t->file ? 0 : apply_edit(w, t, c, rank);
    case CHANGE_REACTION:
        return apply_reaction(w, t, c, rank);
    case CHANGE_REDACTION:
        return apply_redaction(w, t, c);
    }
    return ERR_STATE;
}

/* ---- what waits for its message ---- */

/* Of the rows of an author in a conversation the oldest go until there is room. */
static int pending_room(struct store *s, const struct rec_change *c)
{
    uint64_t n = 0;
    struct bind b = bind_start(s, ST_PENDING_COUNT);
    bind_int(&b, c->conv);
    bind_int(&b, c->author);
    int rc = bind_row(&b);
    if (rc < 0) {
        return rc;
    }
    if (rc == 1) {
        n = col_int(b.st, 0);
        (void)sqlite3_reset(b.st);
    }
    if (n < STORE_PENDING_MAX) {
        return 0;
    }
    b = bind_start(s, ST_PENDING_OLDEST);
    bind_int(&b, c->conv);
    bind_int(&b, c->author);
    rc = bind_run(&b);
    s->pending_n -= rc == 0;
    return rc;
}

static void bind_slot(struct bind *b, const struct rec_change *c)
{
    bind_target(b, c->conv, c->target_author, c->target);
    bind_int(b, c->kind);
    bind_int(b, c->author);
}

/* Keeps the change until its message comes, if it counts against what waits there. */
static int pending_put(struct store *s, const struct rec_change *c, int64_t rank)
{
    struct bind b = bind_start(s, ST_PENDING_GET);
    bind_slot(&b, c);
    int rc = newer(&b, c, rank);
    if (rc != 1) {
        return rc;
    }
    b = bind_start(s, ST_PENDING_DEL);
    bind_slot(&b, c);
    int err = bind_run(&b);
    if (err == 0) {
        s->pending_n -= (uint64_t)sqlite3_changes(s->db);
        err = pending_room(s, c);
    }
    if (err != 0) {
        return err;
    }
    b = bind_start(s, ST_PENDING_PUT);
    bind_slot(&b, c);
    bind_int(&b, c->device);
    bind_int(&b, c->order);
    bind_i64(&b, rank);
    bind_bytes(&b, c->mid, sizeof c->mid);
    bind_int(&b, c->time_ms);
    bind_text(&b, c->text.p, c->text.n);
    err = bind_run(&b);
    s->pending_n += err == 0;
    return err;
}

/* A redaction without its message: what it would have taken away goes now. */
static int pending_redacted(struct store *s, const struct rec_change *c)
{
    for (int i = 0; i < 3; i++) {
        static const enum stmt_id steps[] = {ST_ENTRY_DROP_EDITS, ST_EDITED_BY_DEL,
                                             ST_PENDING_DEL_EDIT};
        struct bind b = bind_start(s, steps[i]);
        bind_target(&b, c->conv, c->target_author, c->target);
        int err = bind_run(&b);
        if (err != 0) {
            return err;
        }
    }
    s->pending_n -= (uint64_t)sqlite3_changes(s->db);
    s->scrub = true;
    return 0;
}

/* Whether a redaction waits for this message: 1, 0 or an error. */
int store_change_gone(struct store *s, const struct rec_msg *m)
{
    if (s->pending_n == 0) {
        return 0;
    }
    struct bind b = bind_start(s, ST_PENDING_GET);
    bind_target(&b, m->conv, m->author, m->mid);
    bind_int(&b, CHANGE_REDACTION);
    bind_int(&b, m->author);
    int rc = bind_row(&b);
    if (rc == 1) {
        (void)sqlite3_reset(b.st);
    }
    return rc;
}

/* One of those that wait, copied out of its row. 1, 0: none is left, or an error. */
static int pending_take(struct store *s, const struct rec_msg *m, struct rec_change *c,
                        int64_t *rank)
{
    struct bind b = bind_start(s, ST_PENDING_NEXT);
    bind_target(&b, m->conv, m->author, m->mid);
    int rc = bind_row(&b);
    if (rc != 1) {
        return rc;
    }
    *c = (struct rec_change){.conv = m->conv, .target_author = m->author};
    memcpy(c->target, m->mid, sizeof c->target);
    uint64_t n = col_int(b.st, 0);
    c->kind = (uint8_t)col_int(b.st, 1);
    c->author = (uint32_t)col_int(b.st, 2);
    c->device = (uint32_t)col_int(b.st, 3);
    c->order = col_int(b.st, 4);
    *rank = sqlite3_column_int64(b.st, 5);
    bool ok = col_fixed(b.st, 6, c->mid, sizeof c->mid);
    c->time_ms = col_int(b.st, 7);
    struct blob text = col_blob(b.st, 8);
    bool copied = blob_set(&c->text, text.p, text.n);
    (void)sqlite3_reset(b.st);
    if (!copied || !ok) {
        blob_release(&c->text);
        return copied ? ERR_CORRUPT : ERR_NOMEM;
    }
    int err = run_row(s, ST_PENDING_DEL_N, n);
    if (err != 0) {
        blob_release(&c->text);
        return err;
    }
    s->pending_n--;
    return 1;
}

/* The flags may have changed with the change before. */
static int find_target(struct store *s, uint32_t conv, uint32_t author,
                       const uint8_t mid[WIRE_MID], struct target *t)
{
    struct bind b = bind_start(s, ST_MSG_TARGET);
    bind_target(&b, conv, author, mid);
    int rc = bind_row(&b);
    if (rc == 1) {
        t->row = col_int(b.st, 0);
        t->flags = (uint32_t)col_int(b.st, 1);
        t->file = col_int(b.st, 2) == MSG_FILE;
        (void)sqlite3_reset(b.st);
    }
    return rc;
}

int store_change_arrived(struct store_work *w, const struct rec_msg *m)
{
    int rc = 1;
    while (rc == 1 && w->s->pending_n > 0) {
        struct rec_change c;
        struct target t = {0};
        int64_t rank = 0;
        rc = pending_take(w->s, m, &c, &rank);
        if (rc == 1) {
            rc = find_target(w->s, m->conv, m->author, m->mid, &t);
            int err = rc == 1 ? apply(w, &t, &c, rank) : rc;
            blob_release(&c.text);
            rc = err != 0 ? err : 1;
        }
    }
    return rc < 0 ? rc : 0;
}

/* ---- a change ---- */

/* Notes that an entry carries an edit of a message. */
static int edited_by(struct store *s, const struct rec_change *c)
{
    uint64_t k = 0;
    if (!store_key(c->feed, c->seq, &k)) {
        return ERR_LIMIT;
    }
    struct bind b = bind_start(s, ST_EDITED_BY_PUT);
    bind_int(&b, k);
    bind_target(&b, c->conv, c->target_author, c->target);
    return bind_run(&b);
}

int store_change_put(struct store_work *w, const struct rec_change *c)
{
    struct store *s = w->s;
    struct target t = {0};
    int64_t rank = 0;
    bool edit = c->kind == CHANGE_EDIT;
    if ((edit || c->kind == CHANGE_REDACTION) && c->author != c->target_author) {
        return ERR_STATE;
    }
    int err = store_rank(s, c->device, &rank);
    if (err != 0) {
        return err;
    }
    int found = find_target(s, c->conv, c->target_author, c->target, &t);
    if (found < 0) {
        return found;
    }
    if (edit && found == 0) {
        struct rec_msg m = {.conv = c->conv, .author = c->target_author};
        memcpy(m.mid, c->target, sizeof m.mid);
        int gone = store_change_gone(s, &m);
        t.flags = gone == 1 ? MSG_REDACTED : 0;
        err = gone < 0 ? gone : 0;
    }
    if (err == 0 && edit) {
        bool gone = (t.flags & MSG_REDACTED) != 0;
        err = gone ? store_drop_entry(s, c->feed, c->seq) : edited_by(s, c);
        if (gone || err != 0) {
            return err;
        }
    }
    if (err == 0 && found == 1) {
        return apply(w, &t, c, rank);
    }
    if (err == 0 && c->kind == CHANGE_REDACTION) {
        err = pending_redacted(s, c);
    }
    return err == 0 ? pending_put(s, c, rank) : err;
}

/* ---- reading ---- */

static bool reaction_add(struct store *s, size_t n, sqlite3_stmt *st)
{
    if (n == s->cap_reactions) {
        size_t cap = n == 0 ? 8 : 2 * n;
        struct store_reaction *v = realloc(s->reactions, cap * sizeof *v);
        if (v == NULL) {
            return false;
        }
        s->reactions = v;
        s->cap_reactions = cap;
    }
    s->reactions[n].author = (uint32_t)col_int(st, 0);
    col_name(st, 1, s->reactions[n].emoji, sizeof s->reactions[n].emoji);
    return true;
}

int store_msg_more(struct store *s, struct store_msg *m)
{
    int rc = 0;
    if (m->kind == MSG_FILE) {
        rc = store_file_of(s, m->conv, m->author, m->mid, &m->file);
        m->has_file = rc == 1;
    }
    if (rc >= 0 && (m->flags & MSG_EDITED) != 0) {
        struct bind b = bind_start(s, ST_EDIT_TIME);
        bind_int(&b, m->row);
        rc = bind_row(&b);
        if (rc == 1) {
            m->edited_ms = col_int(b.st, 0);
            (void)sqlite3_reset(b.st);
        }
    }
    if (rc < 0 || (m->flags & MSG_REACTED) == 0) {
        return rc < 0 ? rc : 0;
    }
    struct bind b = bind_start(s, ST_REACTIONS);
    bind_int(&b, m->row);
    while ((rc = bind_row(&b)) == 1) {
        if (!reaction_add(s, m->n_reactions, b.st)) {
            (void)sqlite3_reset(b.st);
            return ERR_NOMEM;
        }
        m->n_reactions++;
    }
    m->reactions = s->reactions;
    return rc;
}

int store_event_changes(struct store *s, struct store_event *e)
{
    struct bind b;
    int rc;
    if (e->change == CHANGE_EDIT && (e->flags & MSG_EDITED) != 0) {
        b = bind_start(s, ST_EDIT_TIME);
        bind_int(&b, e->row);
        rc = bind_row(&b);
        if (rc == 1) {
            e->changed_ms = col_int(b.st, 0);
            (void)sqlite3_reset(b.st);
        }
        return rc < 0 ? rc : 0;
    }
    if (e->change != CHANGE_REACTION) {
        return 0;
    }
    b = bind_start(s, ST_REACTION_NOW);
    bind_int(&b, e->row);
    bind_int(&b, e->by);
    rc = bind_row(&b);
    if (rc == 1) {
        struct blob emoji = col_blob(b.st, 0);
        rc = blob_set(&e->text, emoji.p, emoji.n) ? 0 : ERR_NOMEM;
        (void)sqlite3_reset(b.st);
    }
    return rc < 0 ? rc : 0;
}
