/* Files: what the user asks for, what is accepted by itself, what feeds tell. */
#include <stdlib.h>
#include <string.h>

#include "xfer_priv.h"

/* ---- offering ---- */

int xfer_scan(struct xfer *x, uint64_t tag, const struct xfer_source *s, uint64_t now_ms)
{
    xfer_enter(x, now_ms);
    if (x->n_open >= XFER_FILES_MAX) {
        return ERR_LIMIT;
    }
    struct scan *v = calloc(1, sizeof *v);
    struct xjob *j = v == NULL ? NULL : job_new(x, XFER_JOB_SCAN, NULL);
    if (j == NULL) {
        free(v);
        return ERR_NOMEM;
    }
    v->tag = tag;
    v->conv = s->conv;
    env_random(x->env, v->mid, sizeof v->mid);
    j->path = s->path != NULL ? strdup(s->path) : NULL;
    j->name = s->name != NULL ? strdup(s->name) : NULL;
    if ((s->path != NULL && j->path == NULL) || (s->name != NULL && j->name == NULL)) {
        free(v);
        job_free(j);
        return ERR_NOMEM;
    }
    j->scan = v;
    j->j.path = j->path;
    j->j.name = j->name;
    memcpy(j->j.key, v->mid, sizeof v->mid);
    v->next = x->scans;
    x->scans = v;
    job_give(x, j);
    return 0;
}

static struct scan *scan_take(struct xfer *x, uint64_t tag)
{
    for (struct scan **at = &x->scans; *at != NULL; at = &(*at)->next) {
        if ((*at)->tag == tag && (*at)->done) {
            struct scan *s = *at;
            *at = s->next;
            return s;
        }
    }
    return NULL;
}

static void offer_body(const struct scan *s, struct wire_body *b)
{
    *b = (struct wire_body){.kind = BODY_OFFER,
                            .text = s->r.name.p,
                            .text_len = s->r.name.n,
                            .has_size = (s->r.flags & FILE_SIZED) != 0,
                            .folder = s->r.kind == FILE_FOLDER,
                            .exec = (s->r.flags & FILE_EXEC) != 0,
                            .size = s->r.size,
                            .manifest = s->r.head,
                            .count = s->r.count};
    memcpy(b->mid, s->mid, sizeof b->mid);
}

/* What a scan has found out. */
static int scan_fill(struct scan *s, const struct xfer_result *r)
{
    s->r.kind = r->file_kind;
    s->r.state = FILE_ACTIVE;
    s->r.flags =
        (r->exec ? FILE_EXEC : 0) | (r->file_kind != FILE_STREAM ? FILE_SIZED : 0);
    s->r.size = r->size;
    s->r.head = r->head;
    s->r.count = r->count;
    s->r.conv = s->conv;
    memcpy(s->r.mid, s->mid, sizeof s->r.mid);
    return text_set(&s->r.name, r->name, strlen(r->name)) &&
                   text_set(&s->r.path, r->path, strlen(r->path))
               ? 0
               : ERR_NOMEM;
}

int scan_done(struct xfer *x, struct xjob *j, const struct xfer_result *r)
{
    struct scan *s = j->scan;
    int err = r->err == 0 ? scan_fill(s, r) : 0;
    struct xev *e = err == 0 ? ev_new(x, XFER_EV_OFFER) : NULL;
    s->done = true;
    if (e == NULL) {
        return ERR_NOMEM;
    }
    e->e.tag = s->tag;
    e->e.conv = s->conv;
    e->e.err = r->err;
    if (r->err == 0) {
        offer_body(s, &e->e.body);
        return 0;
    }
    if (r->why != NULL) {
        memcpy(s->why, r->why, strnlen(r->why, sizeof s->why - 1));
        e->e.why = s->why;
    }
    e->scan = scan_take(x, s->tag);
    return 0;
}

static int forget_notes(struct xfer *x, const struct scan *s)
{
    struct xjob *j = job_new(x, XFER_JOB_FORGET, NULL);
    if (j == NULL) {
        return ERR_NOMEM;
    }
    memcpy(j->j.key, s->mid, sizeof j->j.key);
    j->j.file_kind = s->r.kind;
    job_give(x, j);
    return 0;
}

void xfer_not_offered(struct xfer *x, uint64_t tag)
{
    struct scan *s = scan_take(x, tag);
    if (s != NULL) {
        (void)forget_notes(x, s);
        scan_free(s);
    }
}

int xfer_offered_by_us(struct xfer *x, struct txn *t, uint64_t tag, uint32_t device,
                       uint32_t *id, uint64_t now_ms)
{
    struct scan *s = scan_take(x, tag);
    struct file *f = NULL;
    xfer_enter(x, now_ms);
    if (s == NULL) {
        return ERR_NOTFOUND;
    }
    s->r.id = x->next_id;
    s->r.device = device;
    s->r.created_ms = env_wall_ms(x->env);
    int err = file_new(x, &s->r, &f);
    if (err == 0) {
        f->r.name = s->r.name;
        f->r.path = s->r.path;
        s->r.name = s->r.path = (struct blob){0};
        f->checked = true;
        f->held_back = f->r.kind == FILE_STREAM;
        err = f->held_back ? 0 : file_bits_room(f, hashtree_leaves(f->r.size));
    }
    if (err == 0) {
        *id = f->r.id;
        file_told(x, f);
        err = file_row(t, f);
    }
    scan_free(s);
    return err == 0 ? put_run(x, f) : err;
}

int xfer_spooled(struct xfer *x, struct txn *t, uint32_t id, uint64_t size, bool end,
                 uint64_t now_ms)
{
    struct file *f = file_by_id(x, id);
    xfer_enter(x, now_ms);
    if (f == NULL) {
        return ERR_NOTFOUND;
    }
    if (f->r.kind != FILE_STREAM || file_incoming(f) || file_ended(f) ||
        (f->r.flags & FILE_SIZED) != 0 || size < f->spooled) {
        return ERR_STATE;
    }
    if (size > WIRE_FILE_SIZE_MAX) {
        return ERR_LIMIT;
    }
    f->spooled = size;
    int err = file_bits_room(f, hashtree_leaves(size));
    if (err == 0 && end) {
        f->held_back = false;
        f->r.size = size;
        f->r.flags |= FILE_SIZED;
        err = file_row(t, f);
    }
    file_told(x, f);
    err = err == 0 ? put_run(x, f) : err;
    return err == 0 ? put_pump(x) : err;
}

/* ---- the user's words ---- */

int file_say_end(struct xfer *x, struct file *f, enum file_end end)
{
    struct xev *e = ev_new(x, XFER_EV_SAY);
    if (e == NULL) {
        return ERR_NOMEM;
    }
    e->e.conv = f->r.conv;
    e->e.author = f->r.author;
    e->e.body.kind = BODY_FILE_END;
    memcpy(e->e.body.target, f->r.mid, sizeof e->e.body.target);
    e->e.body.end = end;
    return 0;
}

/* A file that has not ended; NULL and *err otherwise. */
static struct file *live(struct xfer *x, uint32_t id, uint64_t now_ms, int *err)
{
    struct file *f = file_by_id(x, id);
    xfer_enter(x, now_ms);
    *err = f == NULL ? ERR_NOTFOUND : file_ended(f) ? ERR_STATE : 0;
    return *err == 0 ? f : NULL;
}

int xfer_accept(struct xfer *x, struct txn *t, uint32_t id, const char *dest, bool pipe,
                uint64_t now_ms)
{
    int err;
    struct file *f = live(x, id, now_ms, &err);
    if (f == NULL) {
        return err;
    }
    if (!file_incoming(f) || (f->r.state == FILE_ACTIVE && (dest != NULL || pipe))) {
        return ERR_STATE;
    }
    if (f->r.state == FILE_ACTIVE) {
        return xfer_resume(x, t, id, now_ms);
    }
    if (pipe && f->r.kind == FILE_FOLDER) {
        return ERR_ARG;
    }
    if (dest != NULL && !text_set(&f->r.dest, dest, strlen(dest))) {
        return ERR_NOMEM;
    }
    f->r.flags |= pipe ? FILE_PIPE : 0;
    f->r.state = FILE_ACTIVE;
    err = file_row(t, f);
    if (err == 0) {
        err = file_event(t, f, EVENT_FILE_ACCEPTED, f->r.author);
    }
    file_told(x, f);
    waits_changed(x);
    return err == 0 ? get_begin(x, t, f) : err;
}

int xfer_decline(struct xfer *x, struct txn *t, uint32_t id, uint64_t now_ms)
{
    int err;
    struct file *f = live(x, id, now_ms, &err);
    if (f == NULL) {
        return err;
    }
    if (!file_incoming(f)) {
        return ERR_STATE;
    }
    if (f->r.state == FILE_ACTIVE) {
        return xfer_cancel(x, t, id, now_ms);
    }
    err = file_say_end(x, f, FILE_END_DECLINED);
    return err == 0 ? file_end(x, t, f, FILE_DECLINED, EVENT_FILE_DECLINED, false) : err;
}

int xfer_pause(struct xfer *x, struct txn *t, uint32_t id, uint64_t now_ms)
{
    int err;
    struct file *f = live(x, id, now_ms, &err);
    if (f == NULL) {
        return err;
    }
    if (f->r.state != FILE_ACTIVE) {
        return ERR_STATE;
    }
    if ((f->r.flags & FILE_PAUSED) != 0) {
        return 0;
    }
    f->r.flags |= FILE_PAUSED;
    err = file_row(t, f);
    if (err == 0) {
        err = file_event(t, f, EVENT_FILE_PAUSED, f->r.author);
    }
    file_told(x, f);
    waits_changed(x);
    if (err == 0 && file_incoming(f)) {
        get_stop(x, f);
        return get_run(x, t, f);
    }
    err = err == 0 ? put_stop(x, f, FILE_NO_PAUSED) : err;
    return err == 0 ? put_tell(x, f) : err;
}

int xfer_resume(struct xfer *x, struct txn *t, uint32_t id, uint64_t now_ms)
{
    int err;
    struct file *f = live(x, id, now_ms, &err);
    if (f == NULL) {
        return err;
    }
    if (f->r.state != FILE_ACTIVE) {
        return ERR_STATE;
    }
    bool paused = (f->r.flags & FILE_PAUSED) != 0;
    f->r.flags &= ~(uint32_t)(FILE_PAUSED | FILE_AUTO); /* the user knows of it now */
    f->retry_ms = 0;
    f->why[0] = '\0';
    err = paused ? file_row(t, f) : 0;
    if (err == 0 && paused) {
        err = file_event(t, f, EVENT_FILE_RESUMED, f->r.author);
    }
    file_told(x, f);
    waits_changed(x);
    if (err != 0) {
        return err;
    }
    if (file_incoming(f)) {
        return get_begin(x, t, f);
    }
    err = put_run(x, f);
    return err == 0 ? put_tell(x, f) : err;
}

int xfer_cancel(struct xfer *x, struct txn *t, uint32_t id, uint64_t now_ms)
{
    int err;
    struct file *f = live(x, id, now_ms, &err);
    if (f == NULL) {
        return err;
    }
    if (!file_incoming(f)) {
        err = file_say_end(x, f, FILE_END_CANCELLED);
        return err == 0 ? file_end(x, t, f, FILE_CANCELLED, EVENT_FILE_CANCELLED, false)
                        : err;
    }
    if (f->r.state == FILE_OFFERED) {
        return xfer_decline(x, t, id, now_ms);
    }
    if (f->get != NULL && f->get->step == GET_FINISH) {
        return ERR_STATE; /* it is all there, and being put into its place */
    }
    err = file_say_end(x, f, FILE_END_STOPPED);
    return err == 0 ? file_end(x, t, f, FILE_STOPPED, EVENT_FILE_STOPPED, true) : err;
}

int xfer_redacted(struct xfer *x, struct txn *t, const uint8_t mid[WIRE_MID],
                  uint64_t now_ms)
{
    const struct file *f = file_by_key(x, 0, mid);
    return f == NULL || file_ended(f) ? 0 : xfer_cancel(x, t, f->r.id, now_ms);
}

int xfer_piped(struct xfer *x, struct txn *t, uint32_t id, uint64_t now_ms)
{
    struct file *f = file_by_id(x, id);
    xfer_enter(x, now_ms);
    if (f == NULL) {
        return ERR_NOTFOUND;
    }
    if (!file_piped(&f->r)) {
        return ERR_STATE;
    }
    struct xjob *j = job_new(x, XFER_JOB_DROP, f);
    if (j == NULL) {
        return ERR_NOMEM;
    }
    job_give(x, j);
    f->r.flags &= ~(uint32_t)FILE_PIPE;
    return text_set(&f->r.path, NULL, 0) ? file_row(t, f) : ERR_NOMEM;
}

/* ---- what is accepted by itself ---- */

void xfer_set_policy(struct xfer *x, const struct xfer_policy *p)
{
    x->policy = *p;
}

int xfer_set_rule(struct xfer *x, struct txn *t, const struct rec_file_rule *r)
{
    struct rec rec = {.kind = REC_FILE_RULE, .u.file_rule = *r};
    rec.del = r->mode == FILE_MODE_DEFAULT && !r->has_max && !r->has_quota;
    int err = rule_put(x, r);
    return err == 0 ? txn_add(t, &rec) : err;
}

void xfer_rule(const struct xfer *x, uint32_t contact, struct rec_file_rule *out)
{
    *out = (struct rec_file_rule){.contact = contact};
    for (size_t i = 0; i < x->n_rules; i++) {
        if (x->rules[i].contact == contact) {
            *out = x->rules[i];
        }
    }
}

/* What was accepted by itself within a day, of one contact or (UINT32_MAX) of all. */
static uint64_t taken_sum(struct xfer *x, uint32_t contact, uint64_t wall_ms)
{
    uint64_t sum = 0;
    size_t kept = 0;
    for (size_t i = 0; i < x->n_taken; i++) {
        struct taken *k = &x->taken[i];
        if (!taken_counts(&k->at_ms, wall_ms)) {
            continue;
        }
        sum += contact == UINT32_MAX || contact == k->contact ? k->bytes : 0;
        x->taken[kept++] = *k;
    }
    x->n_taken = kept;
    return sum;
}

static uint64_t size_max(const struct xfer *x, const struct rec_file_rule *rule)
{
    return rule->has_max ? rule->max : x->policy.max;
}

int file_auto_grown(struct xfer *x, struct file *f, uint64_t bytes, bool *over)
{
    struct rec_file_rule rule;
    uint64_t wall_ms = env_wall_ms(x->env);
    struct taken *last = x->n_taken > 0 ? &x->taken[x->n_taken - 1] : NULL;
    int err = 0;
    xfer_rule(x, f->r.author, &rule);
    if (bytes > f->counted) {
        uint64_t more = bytes - f->counted;
        bool recent = last != NULL && last->contact == f->r.author &&
                      last->at_ms <= wall_ms && wall_ms - last->at_ms < XFER_COUNT_MS;
        if (recent) {
            last->bytes += more;
        } else {
            err = taken_note(x, f->r.author, wall_ms, more);
        }
        f->counted = bytes;
    }
    *over = bytes > size_max(x, &rule) ||
            taken_sum(x, UINT32_MAX, wall_ms) > x->policy.quota ||
            (rule.has_quota && taken_sum(x, f->r.author, wall_ms) > rule.quota);
    return err;
}

/* What of a contact was accepted and has not ended: one alone does not fill the table. */
static size_t under_way_of(const struct xfer *x, uint32_t contact)
{
    size_t n = 0;
    for (const struct file *f = x->files; f != NULL; f = f->next) {
        n += f->r.author == contact && f->r.state == FILE_ACTIVE;
    }
    return n;
}

static bool accepts(struct xfer *x, const struct file *f, bool verified)
{
    struct rec_file_rule rule;
    /* Something of a stream has to fit; it counts as it comes. */
    uint64_t wall_ms = env_wall_ms(x->env);
    uint64_t cost = (f->r.flags & FILE_SIZED) != 0 ? taken_cost(&f->r) : (uint64_t)1;
    xfer_rule(x, f->r.author, &rule);
    bool general = x->policy.accept == XFER_ACCEPT_CONTACTS ||
                   (x->policy.accept == XFER_ACCEPT_VERIFIED && verified);
    bool may = rule.mode == FILE_MODE_DEFAULT ? general : rule.mode == FILE_MODE_ALWAYS;
    if (!may || f->r.size > size_max(x, &rule) ||
        under_way_of(x, f->r.author) >= XFER_AUTO_MAX) {
        return false;
    }
    uint64_t all = taken_sum(x, UINT32_MAX, wall_ms);
    uint64_t theirs = taken_sum(x, f->r.author, wall_ms);
    return (all <= x->policy.quota && cost <= x->policy.quota - all) &&
           (!rule.has_quota || (theirs <= rule.quota && cost <= rule.quota - theirs));
}

static size_t undecided(const struct xfer *x, uint32_t contact)
{
    size_t n = 0;
    for (const struct file *f = x->files; f != NULL; f = f->next) {
        n += f->r.author == contact && f->r.state == FILE_OFFERED;
    }
    return n;
}

/* An offer has come: what becomes of it. */
static int judge(struct xfer *x, struct txn *t, struct file *f, bool verified, bool full)
{
    struct rec_file_rule rule;
    xfer_rule(x, f->r.author, &rule);
    int err = 0;
    if (full) { /* not said: who floods is not answered for each */
        return file_end(x, t, f, FILE_DECLINED, 0, false);
    }
    if (rule.mode == FILE_MODE_NEVER) {
        err = file_say_end(x, f, FILE_END_DECLINED);
        return err == 0 ? file_end(x, t, f, FILE_DECLINED, 0, false) : err;
    }
    if (!accepts(x, f, verified)) {
        return file_event(t, f, EVENT_FILE_OFFERED, f->r.author);
    }
    f->r.state = FILE_ACTIVE;
    f->r.flags |= FILE_AUTO;
    f->counted = f->r.size;
    err = taken_note(x, f->r.author, f->r.created_ms, taken_cost(&f->r));
    if (err == 0) {
        err = file_row(t, f);
    }
    if (err == 0) {
        err = file_event(t, f, EVENT_FILE_ACCEPTED, f->r.author);
    }
    waits_changed(x);
    return err == 0 ? get_begin(x, t, f) : err;
}

static int said_offer(struct xfer *x, struct txn *t, const struct xfer_said *s)
{
    const struct wire_body *b = s->body;
    uint8_t key[XFER_KEY];
    struct file *f = NULL;
    bool full =
        undecided(x, s->contact) >= XFER_OFFERS_MAX || x->n_open >= XFER_FILES_MAX;
    file_key(s->contact, b->mid, key);
    if (map_get(&x->ended, key) != NULL || file_by_key(x, s->contact, b->mid) != NULL ||
        (s->contact == 0 && !s->taken_back)) {
        return 0; /* known; or of another device of ours, which serves it */
    }
    struct rec_file r = {.id = x->next_id,
                         .conv = s->conv,
                         .author = s->contact,
                         .device = s->device,
                         .kind = b->folder ? FILE_FOLDER : FILE_PLAIN,
                         .state = FILE_OFFERED,
                         .size = b->has_size ? b->size : 0,
                         .head = b->manifest,
                         .count = (uint32_t)b->count,
                         .created_ms = env_wall_ms(x->env)};
    r.kind = b->has_size ? r.kind : (uint8_t)FILE_STREAM;
    r.flags = (b->exec ? FILE_EXEC : 0) | (b->has_size ? FILE_SIZED : 0);
    memcpy(r.mid, b->mid, sizeof r.mid);
    int err = file_new(x, &r, &f);
    if (err == ERR_LIMIT) {
        return 0; /* as many ended ones are shown as may be: it waits for nothing */
    }
    if (err == 0 && !text_set(&f->r.name, (const char *)b->text, b->text_len)) {
        err = ERR_NOMEM;
    }
    if (err == 0 && s->contact == 0) { /* what it was made of is not known any more */
        return file_end(x, t, f, FILE_LOST, 0, false);
    }
    err = err == 0 ? file_row(t, f) : err;
    if (err == 0) {
        file_told(x, f);
        err = judge(x, t, f, s->verified, full);
    }
    return err;
}

static int said_sealed(struct xfer *x, struct txn *t, const struct xfer_said *s)
{
    const struct wire_body *b = s->body;
    struct file *f = file_by_key(x, s->contact, b->target);
    if (f == NULL || file_ended(f) || !file_incoming(f) ||
        (f->r.flags & FILE_SEALED) != 0) {
        return 0;
    }
    /* A size that was offered is final, and what came of a stream is not more than that.
     */
    bool fits =
        (f->r.flags & FILE_SIZED) != 0 ? b->size == f->r.size : get_fits(f, b->size);
    if (!fits || b->size < f->r.head) {
        int err = file_say_end(x, f, FILE_END_BROKEN);
        return err == 0 ? file_end(x, t, f, FILE_BROKEN, EVENT_FILE_BROKEN, true) : err;
    }
    f->r.size = b->size;
    f->r.flags |= FILE_SIZED | FILE_SEALED;
    memcpy(f->r.root, b->hash, sizeof f->r.root);
    int err = file_row(t, f);
    file_told(x, f);
    if (f->get == NULL || err != 0) {
        return err;
    }
    get_trim(x, f);
    return get_run(x, t, f);
}

/* The author of an incoming file has ended it. */
static int said_withdrawn(struct xfer *x, struct txn *t, struct file *f, bool changed)
{
    bool finishing = f->get != NULL && f->get->step == GET_FINISH;
    if (finishing || (file_ended(f) && f->r.state != FILE_LOST)) {
        return 0; /* it is ours now, or has ended already */
    }
    return changed ? file_end(x, t, f, FILE_CHANGED, EVENT_FILE_CHANGED, true)
                   : file_end(x, t, f, FILE_CANCELLED, EVENT_FILE_CANCELLED, true);
}

static int said_end(struct xfer *x, struct txn *t, const struct xfer_said *s)
{
    const struct wire_body *b = s->body;
    struct xconv *c = map_get(&x->conv_by_id, &s->conv);
    uint32_t author = c == NULL ? UINT32_MAX : conv_contact(c, b->author);
    struct file *f = author == UINT32_MAX ? NULL : file_by_key(x, author, b->target);
    bool by_author = b->end == FILE_END_CANCELLED || b->end == FILE_END_CHANGED;
    if (f == NULL || f->conv != c || by_author != (author == s->contact)) {
        return 0;
    }
    if (author != 0) { /* what a third one says of it is not about us */
        return by_author ? said_withdrawn(x, t, f, b->end == FILE_END_CHANGED) : 0;
    }
    return by_author ? 0 : put_end_told(x, t, f, s->contact, b->end);
}

int xfer_said(struct xfer *x, struct txn *t, const struct xfer_said *s, uint64_t now_ms)
{
    const struct wire_body *b = s->body;
    struct file *f;
    xfer_enter(x, now_ms);
    if (b->kind == BODY_OFFER) {
        return said_offer(x, t, s);
    }
    if (b->kind == BODY_SEALED) {
        return said_sealed(x, t, s);
    }
    if (b->kind == BODY_FILE_END) {
        return said_end(x, t, s);
    }
    f = b->kind == BODY_REDACTION ? file_by_key(x, s->contact, b->target) : NULL;
    return f == NULL || !file_incoming(f) ? 0 : said_withdrawn(x, t, f, false);
}

int xfer_contact_gone(struct xfer *x, struct txn *t, uint32_t contact, uint64_t now_ms)
{
    int err = 0;
    xfer_enter(x, now_ms);
    for (struct file *f = x->files, *next; err == 0 && f != NULL; f = next) {
        next = f->next;
        if (file_ended(f) || !conv_has_contact(f->conv, contact)) {
            continue;
        }
        if (f->r.author == contact) {
            err = file_end(x, t, f, FILE_STOPPED, EVENT_FILE_STOPPED, true);
        } else if (!file_incoming(f) && f->conv->n <= 2) {
            err = file_end(x, t, f, FILE_CANCELLED, EVENT_FILE_CANCELLED, false);
        } else if (!file_incoming(f)) { /* the others go on */
            err = put_end_told(x, t, f, contact, FILE_END_STOPPED);
        }
    }
    return err;
}
