/* Offering files: `send` with files, spools.
 *
 * The files of one request are looked at one after the other, since each look takes the
 * disk a while: the result of one starts the next. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "api_priv.h"
#include "base/deadline.h"
#include "base/err.h"

enum {
    OFFERS_MAX = 64,        /* files of one request */
    SPOOL_WATCH_MS = 10000, /* between two looks whether somebody still writes */
};

struct offering {
    uint32_t contact;
    size_t n, at;      /* files; offered so far */
    char *name;        /* of the only one; NULL: its own */
    struct jout shown; /* "[message,message" */
    char *paths[OFFERS_MAX];
};

static void offering_free(void *work)
{
    struct offering *w = work;
    for (size_t i = 0; i < w->n; i++) {
        free(w->paths[i]);
    }
    free(w->name);
    jout_release(&w->shown);
    free(w);
}

static bool name_ok(struct api_req *r, const char *name, size_t len)
{
    if (wire_file_name_ok((const uint8_t *)name, len)) {
        return true;
    }
    api_fail(r, CODE_USAGE,
             "That cannot be the name of a file: it has to be UTF-8 of at most %d bytes, "
             "without \"/\" and control characters.",
             WIRE_FILE_NAME_MAX);
    return false;
}

/* Copies the paths. False: r has been answered. */
static bool take_paths(struct app *a, struct api_req *r, struct offering *w,
                       const json_t *files)
{
    size_t n = json_array_size(files);
    if (!json_is_array(files) || n == 0 || n > OFFERS_MAX) {
        api_fail(r, CODE_USAGE, "\"files\" has to be a list of 1 to %d absolute paths.",
                 OFFERS_MAX);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *j = json_array_get(files, i);
        const char *s = json_string_value(j);
        size_t len = json_string_length(j);
        if (s == NULL || s[0] != '/' || strlen(s) != len || len >= HOME_PATH_MAX) {
            api_fail(r, CODE_USAGE, "\"%.200s\" is not an absolute path.",
                     s != NULL ? s : "");
            return false;
        }
        w->paths[w->n] = strdup(s);
        if (w->paths[w->n] == NULL) {
            api_fail_err(a, r, ERR_NOMEM, NULL);
            return false;
        }
        w->n++;
    }
    return true;
}

bool api_offer_take(struct app *a, struct api_req *r, uint32_t contact,
                    const json_t *params)
{
    const char *name;
    size_t len;
    struct offering *w = calloc(1, sizeof *w);
    if (w == NULL) {
        api_fail_err(a, r, ERR_NOMEM, NULL);
        return false;
    }
    w->contact = contact;
    r->work = w;
    r->work_free = offering_free;
    if (!api_may_str(r, params, "name", &name, &len) ||
        (name != NULL && !name_ok(r, name, len)) ||
        !take_paths(a, r, w, json_object_get(params, "files"))) {
        return false;
    }
    if (name != NULL && w->n > 1) {
        api_fail(r, CODE_USAGE, "Only one file at a time can get another \"name\".");
        return false;
    }
    w->name = name != NULL ? strdup(name) : NULL;
    if (name != NULL && w->name == NULL) {
        api_fail_err(a, r, ERR_NOMEM, NULL);
        return false;
    }
    jout_open(&w->shown, '[');
    return true;
}

/* ---- one after the other ---- */

static void answer(struct api_req *r, struct offering *w)
{
    jout_close(&w->shown, ']');
    struct jout *o = api_begin(r);
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    jout_key(o, "messages");
    if (w->shown.bad) {
        o->bad = true;
    } else {
        jout_raw(o, w->shown.p, w->shown.len);
    }
    jout_close(o, '}');
    api_end(r);
}

/* What was offered before stays so. */
static void fail_offer(struct app *a, struct api_req *r, const struct offering *w,
                       int err, const char *why)
{
    const char *path = w->paths[w->at];
    bool contact = err == ERR_REFUSED || err == ERR_AUTH || err == ERR_NOTFOUND;
    if (why[0] == '\0' && contact) { /* who was blocked or removed meanwhile */
        api_fail_err(a, r, err, api_contact_name(a, w->contact));
    } else if (why[0] == '\0') {
        api_fail(r, CODE_ERROR, "%.400s cannot be sent: %s. (offered: %zu)", path,
                 err_str(err), w->at);
    } else if (w->n > 1) {
        api_fail(r, CODE_ERROR, "%.512s (offered: %zu)", why, w->at);
    } else {
        api_fail(r, CODE_ERROR, "%.512s", why);
    }
}

static void offered(struct app *a, struct api_req *r, const struct node_event *ev)
{
    struct offering *w = r->work;
    if (ev->err != 0) {
        fail_offer(a, r, w, ev->err, ev->why);
        return;
    }
    w->at++;
    api_offer_next(a, r, ev->mid);
}

static void offer_next(struct app *a, struct api_req *r)
{
    struct offering *w = r->work;
    if (w->at == w->n) {
        answer(r, w);
        return;
    }
    r->result = offered;
    r->contact = w->contact;
    int rc = node_send_file(a->node, r->tag, w->contact, w->paths[w->at], w->name,
                            env_mono_ms());
    if (rc != 0) {
        api_fail_err(a, r, rc, api_contact_name(a, w->contact));
    }
}

static void shown_row(void *ctx, int rc)
{
    struct find *q = ctx;
    struct api_req *r = api_find(q->app->api, q->tag);
    if (r != NULL && api_found_one(q->app, r, q, rc)) {
        struct offering *w = r->work;
        api_show_row(q->app, &w->shown, &q->rows.v[0].m);
        offer_next(q->app, r);
    }
    api_find_free(q);
}

void api_offer_next(struct app *a, struct api_req *r, const uint8_t *mid)
{
    struct offering *w = r->work;
    if (mid == NULL) {
        offer_next(a, r);
        return;
    }
    const struct store_event *e = app_fresh_message(a, mid);
    if (e == NULL) {
        api_find_mid(a, r, mid, shown_row);
        return;
    }
    struct msg_view v;
    api_view_event(e, &v);
    v.n = 0;
    api_show_message(a, &w->shown, &v, NULL);
    offer_next(a, r);
}

/* ---- spools ---- */

static void show_spool(struct app *a, struct api_req *r, const struct msg_view *m,
                       uint32_t id)
{
    struct xfer_view v;
    if (!xfer_get(node_xfer(a->node), id, &v)) {
        api_fail(r, CODE_ERROR, "The offer is gone already.");
        return;
    }
    struct jout *o = api_begin(r);
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    jout_key(o, "message");
    api_show_message(a, o, m, NULL);
    jout_ku64(o, "n", id);
    jout_key(o, "path");
    jout_strn(o, v.r->path.p, v.r->path.n);
    jout_close(o, '}');
    api_end(r);
}

static void spool_made(struct app *a, struct api_req *r, const struct node_event *ev)
{
    const struct store_event *e = ev->err == 0 ? app_fresh_message(a, ev->mid) : NULL;
    struct msg_view v;
    if (ev->err != 0 && ev->why[0] == '\0') {
        api_fail_err(a, r, ev->err, NULL);
    } else if (ev->err != 0) {
        api_fail(r, CODE_ERROR, "%.512s", ev->why);
    } else if (e == NULL) {
        api_fail(r, CODE_ERROR, "The offer is not in the history.");
    } else {
        api_view_event(e, &v);
        v.n = 0;
        uint64_t next = env_mono_ms() + SPOOL_WATCH_MS;
        a->spool_at = next < a->spool_at ? next : a->spool_at;
        show_spool(a, r, &v, ev->id);
    }
}

void api_transfers_spool(struct app *a, struct api_req *r, const json_t *params)
{
    const char *name;
    size_t len;
    const struct rec_contact *c = api_want_contact(a, r, params, "to");
    if (c == NULL || !api_want_str(r, params, "name", &name, &len) ||
        !name_ok(r, name, len)) {
        return;
    }
    r->result = spool_made;
    r->contact = c->id;
    api_started(a, r, node_send_file(a->node, r->tag, c->id, NULL, name, env_mono_ms()),
                c->name);
}

void api_transfers_spooled(struct app *a, struct api_req *r, const json_t *params)
{
    uint64_t n = 0, size = 0;
    bool end = false;
    if (!api_may_u64(r, params, "n", UINT32_MAX, &n) ||
        !api_may_u64(r, params, "size", INT64_MAX, &size) ||
        !api_may_bool(r, params, "end", &end)) {
        return;
    }
    int rc = node_file_spooled(a->node, (uint32_t)n, size, end, env_mono_ms());
    if (rc == ERR_NOTFOUND || rc == ERR_STATE) {
        api_fail(r, rc == ERR_STATE ? CODE_ERROR : CODE_UNKNOWN,
                 "Nothing is spooled under the number %llu.", (unsigned long long)n);
    } else if (rc != 0) {
        api_fail_err(a, r, rc, NULL);
    } else {
        struct jout *o = api_begin(r);
        jout_open(o, '{');
        jout_close(o, '}');
        api_end(r);
    }
}

bool api_spool_left(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        return true;
    }
    bool left = flock(fd, LOCK_EX | LOCK_NB) == 0;
    (void)close(fd); /* with the lock */
    return left;
}

/* Whether a file of ours is still being written into its spool, by its number. */
static bool being_spooled(const struct xfer_view *v)
{
    return v->r->author == 0 && v->r->kind == FILE_STREAM &&
           v->phase != XFER_PHASE_ENDED && (v->r->flags & FILE_SIZED) == 0;
}

/* Whoever has only just been told where to write gets time to take the lock. */
static bool is_left(const struct app *a, const struct xfer_view *v)
{
    char path[HOME_PATH_MAX];
    uint64_t wall = env_wall_ms(a->cfg.env), made = v->r->created_ms;
    if ((made <= wall && wall - made < SPOOL_WATCH_MS) || v->r->path.n >= sizeof path) {
        return false;
    }
    memcpy(path, v->r->path.p, v->r->path.n);
    path[v->r->path.n] = '\0';
    return api_spool_left(path);
}

void api_watch_spools(struct app *a, uint64_t now_ms)
{
    struct xfer_view v;
    bool any = false;
    for (uint32_t id = 0; a->node != NULL && xfer_next(node_xfer(a->node), id, &v);) {
        id = v.r->id;
        if (!being_spooled(&v)) {
            continue;
        }
        any = true;
        if (is_left(a, &v)) {
            (void)node_file(a->node, API_TAG_NOBODY, NODE_FILE_CANCEL, id, NULL, false,
                            now_ms);
        }
    }
    a->spool_at = any ? now_ms + SPOOL_WATCH_MS : DEADLINE_NONE;
}
