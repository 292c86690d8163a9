/* Methods about files: transfers, transfers.*, contact.files. */
#include <stdlib.h>
#include <string.h>

#include "api_priv.h"
#include "base/err.h"
#include "base/size.h"

/* ---- the list ---- */

static void show_limit(struct app *a, struct jout *o)
{
    jout_key(o, "limit");
    if (a->limit_rate > 0) {
        jout_u64(o, a->limit_rate);
    } else {
        jout_null(o);
    }
}

static void show_end(struct app *a, struct jout *o, uint32_t last, bool more)
{
    jout_close(o, ']');
    jout_kbool(o, "more", more);
    jout_key(o, "after");
    if (last > 0) {
        jout_u64(o, last);
    } else {
        jout_null(o);
    }
    show_limit(a, o);
    jout_close(o, '}');
}

static struct jout *show_begin(struct api_req *r)
{
    struct jout *o = api_begin(r);
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    jout_key(o, "transfers");
    jout_open(o, '[');
    return o;
}

/* Those in memory: they have not ended, or since the start. */
static void list_open(struct app *a, struct api_req *r, uint32_t after)
{
    struct xfer_view v;
    struct jout *o = show_begin(r);
    size_t n = 0;
    bool more;
    while ((more = xfer_next(node_xfer(a->node), after, &v)) && n < API_PAGE_MAX) {
        api_show_transfer(a, o, &v, api_transfer_end(a, v.r->id));
        after = v.r->id;
        n++;
    }
    show_end(a, o, after, more);
    api_end(r);
}

/* A row that a query has copied, and how the only recipient of one of ours ended it. */
struct file_row {
    struct rec_file f; /* names and paths are the row's own */
    uint8_t end;
    unsigned peers;
};

struct rows_query {
    struct app *app;
    uint64_t tag;
    uint32_t after, only; /* only: this one, 0: a page */
    bool more;
    size_t n;
    struct file_row v[API_PAGE_MAX];
};

static int row_add(void *ctx, const struct rec_file *f)
{
    struct rows_query *q = ctx;
    struct file_row *r = &q->v[q->n];
    r->f = *f;
    memset(&r->f.name, 0, sizeof r->f.name);
    memset(&r->f.path, 0, sizeof r->f.path);
    memset(&r->f.dest, 0, sizeof r->f.dest);
    q->n++;
    return blob_set(&r->f.name, f->name.p, f->name.n) &&
                   blob_set(&r->f.path, f->path.p, f->path.n)
               ? 0
               : ERR_NOMEM;
}

static int row_behind(void *ctx, const struct rec_file *f)
{
    struct rows_query *q = ctx;
    q->more = f->id > q->after;
    return 0;
}

static int peer_add(void *ctx, const struct rec_file_peer *p)
{
    struct file_row *r = ctx;
    r->end = r->peers == 0 ? p->end : 0;
    r->peers++;
    return 0;
}

static int rows_run(void *ctx, struct store *s)
{
    struct rows_query *q = ctx;
    int rc = q->only != 0 ? store_file(s, q->only, row_add, q)
                          : store_files(s, q->after, API_PAGE_MAX, row_add, q);
    if (rc == 0 && q->n == API_PAGE_MAX) {
        rc = store_files(s, q->v[q->n - 1].f.id, 1, row_behind, q);
    }
    for (size_t i = 0; rc == 0 && i < q->n; i++) {
        if (q->v[i].f.author == 0) {
            rc = store_file_peers(s, q->v[i].f.id, peer_add, &q->v[i]);
        }
    }
    return rc;
}

static void rows_free(struct rows_query *q)
{
    for (size_t i = 0; i < q->n; i++) {
        blob_release(&q->v[i].f.name);
        blob_release(&q->v[i].f.path);
    }
    free(q);
}

/* What is in memory is newer than its row. */
static void show_file_row(struct app *a, struct jout *o, const struct file_row *r)
{
    if (!api_show_transfer_n(a, o, r->f.id)) {
        uint64_t done = r->f.state == FILE_DONE ? r->f.size : 0;
        const struct xfer_view v = {.r = &r->f,
                                    .phase = XFER_PHASE_ENDED,
                                    .done = done,
                                    .prefix = r->f.author != 0 ? done : 0,
                                    .eta_s = UINT64_MAX,
                                    .contact = node_conv_contact(a->node, r->f.conv)};
        api_show_transfer(a, o, &v, r->end);
    }
}

static void fail_unknown(struct api_req *r, uint64_t n)
{
    api_fail(r, CODE_UNKNOWN, "There is no transfer %llu here.", (unsigned long long)n);
}

static void rows_done(void *ctx, int rc)
{
    struct rows_query *q = ctx;
    struct app *a = q->app;
    struct api_req *r = api_find(a->api, q->tag);
    if (r != NULL && rc == ERR_NOTFOUND && a->node != NULL) {
        fail_unknown(r, q->only);
    } else if (r != NULL && (rc != 0 || a->node == NULL)) {
        api_fail_err(a, r, rc, NULL);
    } else if (r != NULL && q->only != 0) {
        show_file_row(a, api_begin(r), &q->v[0]);
        api_end(r);
    } else if (r != NULL) {
        struct jout *o = show_begin(r);
        for (size_t i = 0; i < q->n; i++) {
            show_file_row(a, o, &q->v[i]);
        }
        show_end(a, o, q->n > 0 ? q->v[q->n - 1].f.id : q->after, q->more);
        api_end(r);
    }
    rows_free(q);
}

static void rows_start(struct app *a, struct api_req *r, uint32_t after, uint32_t only)
{
    struct rows_query *q = calloc(1, sizeof *q);
    int rc = ERR_NOMEM;
    if (q != NULL) {
        q->app = a;
        q->tag = r->tag;
        q->after = after;
        q->only = only;
        rc = app_query(a, rows_run, rows_done, q);
    }
    if (rc != 0) {
        free(q);
        api_fail_err(a, r, rc, NULL);
    }
}

void api_transfers(struct app *a, struct api_req *r, const json_t *params)
{
    bool all = false;
    uint64_t after = 0;
    if (!api_may_bool(r, params, "all", &all) ||
        !api_may_u64(r, params, "after", UINT32_MAX, &after)) {
        return;
    }
    if (all) {
        rows_start(a, r, (uint32_t)after, 0);
    } else {
        list_open(a, r, (uint32_t)after);
    }
}

/* ---- one of them ---- */

/* The number that params give; 0: r has been answered. */
static uint32_t want_n(struct api_req *r, const json_t *params)
{
    uint64_t n = 0;
    if (!api_may_u64(r, params, "n", UINT32_MAX, &n)) {
        return 0;
    }
    if (n == 0) {
        api_fail(r, CODE_USAGE, "\"n\" is missing: the number of a transfer.");
    }
    return (uint32_t)n;
}

void api_transfers_show(struct app *a, struct api_req *r, const json_t *params)
{
    struct xfer_view v;
    uint32_t n = want_n(r, params);
    if (n == 0) {
        return;
    }
    if (xfer_get(node_xfer(a->node), n, &v)) {
        (void)api_show_transfer_n(a, api_begin(r), n);
        api_end(r);
    } else {
        rows_start(a, r, 0, n);
    }
}

/* Why the node does not do it. */
static void fail_verb(struct app *a, struct api_req *r, int err, uint32_t n)
{
    struct xfer_view v;
    bool here = a->node != NULL && xfer_get(node_xfer(a->node), n, &v);
    if (err == ERR_STATE && here) {
        const char *word = api_transfer_state(&v, api_transfer_end(a, n));
        api_fail(r, CODE_ERROR, "That cannot be done with transfer %u%s: it is %s.", n,
                 v.r->author == 0 && v.phase != XFER_PHASE_ENDED ? ", which is ours" : "",
                 word);
    } else if (err == ERR_NOTFOUND && a->node != NULL) {
        api_fail(r, CODE_UNKNOWN, "There is no transfer %u that has not ended.", n);
    } else {
        api_fail_err(a, r, err, NULL);
    }
}

static void verb_done(struct app *a, struct api_req *r, const struct node_event *ev)
{
    struct xfer_view v;
    if (ev->err != 0) {
        fail_verb(a, r, ev->err, r->contact);
    } else if (!xfer_get(node_xfer(a->node), r->contact, &v)) {
        rows_start(a, r, 0, r->contact);
    } else {
        (void)api_show_transfer_n(a, api_begin(r), r->contact);
        api_end(r);
    }
}

static void verb(struct app *a, struct api_req *r, enum node_file_verb what, uint32_t n,
                 const char *dest, bool pipe)
{
    r->result = verb_done;
    r->contact = n;
    int rc = node_file(a->node, r->tag, what, n, dest, pipe, env_mono_ms());
    if (rc != 0) {
        fail_verb(a, r, rc, n);
    }
}

static void plain_verb(struct app *a, struct api_req *r, const json_t *params,
                       enum node_file_verb what)
{
    uint32_t n = want_n(r, params);
    if (n != 0) {
        verb(a, r, what, n, NULL, false);
    }
}

void api_transfers_accept(struct app *a, struct api_req *r, const json_t *params)
{
    const char *path;
    size_t len;
    bool pipe = false;
    uint32_t n = want_n(r, params);
    if (n == 0 || !api_may_str(r, params, "path", &path, &len) ||
        !api_may_bool(r, params, "pipe", &pipe)) {
        return;
    }
    if (path != NULL && (path[0] != '/' || len >= HOME_PATH_MAX)) {
        api_fail(r, CODE_USAGE, "\"path\" has to be an absolute path.");
    } else if (path != NULL && pipe) {
        api_fail(r, CODE_USAGE, "What goes into a pipe has no \"path\".");
    } else {
        verb(a, r, NODE_FILE_ACCEPT, n, path, pipe);
    }
}

void api_transfers_decline(struct app *a, struct api_req *r, const json_t *params)
{
    plain_verb(a, r, params, NODE_FILE_DECLINE);
}

void api_transfers_pause(struct app *a, struct api_req *r, const json_t *params)
{
    plain_verb(a, r, params, NODE_FILE_PAUSE);
}

void api_transfers_resume(struct app *a, struct api_req *r, const json_t *params)
{
    plain_verb(a, r, params, NODE_FILE_RESUME);
}

void api_transfers_cancel(struct app *a, struct api_req *r, const json_t *params)
{
    plain_verb(a, r, params, NODE_FILE_CANCEL);
}

void api_transfers_piped(struct app *a, struct api_req *r, const json_t *params)
{
    plain_verb(a, r, params, NODE_FILE_PIPED);
}

/* As the configuration says now. */
static void apply_limit(struct app *a)
{
    struct config_view *v = malloc(sizeof *v);
    if (v != NULL) {
        config_view(a->cfg.config, v);
        app_file_settings(a, v);
        free(v);
    }
}

void api_transfers_limit(struct app *a, struct api_req *r, const json_t *params)
{
    enum { RATE_DIGITS = 24 };
    char value[RATE_DIGITS] = "", why[CONFIG_WHY_MAX] = "";
    uint64_t rate = 0;
    if (!api_may_u64(r, params, "rate", INT64_MAX - 1, &rate)) {
        return;
    }
    if (json_object_get(params, "rate") != NULL) {
        if (rate > 0) {
            (void)snprintf(value, sizeof value, "%llu", (unsigned long long)rate);
        }
        int rc =
            config_set(a->cfg.home->config, a->cfg.config, CONFIG_LIMIT_RATE, value, why);
        if (rc != 0) {
            api_fail(r, CODE_ERROR, "%s", why);
            return;
        }
        apply_limit(a);
    }
    struct jout *o = api_begin(r);
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    show_limit(a, o);
    jout_close(o, '}');
    api_end(r);
}

/* ---- what of a contact is accepted by itself ---- */

static const char *const modes[] = {[FILE_MODE_DEFAULT] = "default",
                                    [FILE_MODE_ASK] = "ask",
                                    [FILE_MODE_ALWAYS] = "always",
                                    [FILE_MODE_NEVER] = "never"};
enum { MODES = sizeof modes / sizeof modes[0] };

/* Bytes, "none", or null where the general limit holds. */
static void show_bytes(struct jout *o, const char *key, bool has, uint64_t v)
{
    jout_key(o, key);
    if (!has) {
        jout_null(o);
    } else if (v >= SIZE_NONE) {
        jout_str(o, "none");
    } else {
        jout_u64(o, v);
    }
}

static void show_rule(struct app *a, struct api_req *r, const struct rec_contact *c)
{
    struct rec_file_rule rule;
    xfer_rule(node_xfer(a->node), c->id, &rule);
    struct jout *o = api_begin(r);
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    jout_kstr(o, "name", c->name);
    jout_kstr(o, "mode", modes[rule.mode < MODES ? rule.mode : FILE_MODE_DEFAULT]);
    show_bytes(o, "max", rule.has_max, rule.max);
    show_bytes(o, "quota", rule.has_quota, rule.quota);
    jout_close(o, '}');
    api_end(r);
}

/* 1: there, 0: missing, -1: r has been answered. */
static int may_bytes(struct api_req *r, const json_t *params, const char *key, bool *has,
                     uint64_t *v)
{
    const json_t *j = json_object_get(params, key);
    const char *s = json_string_value(j);
    if (j == NULL) {
        return 0;
    }
    bool number = json_is_integer(j) && json_integer_value(j) >= 0;
    bool none = s != NULL && strcmp(s, "none") == 0;
    if (!number && !none && !json_is_null(j)) {
        api_fail(r, CODE_USAGE,
                 "\"%s\" has to be a number of bytes, \"none\" for any, or null for the "
                 "general one.",
                 key);
        return -1;
    }
    *has = number || none;
    *v = number ? (uint64_t)json_integer_value(j) : none ? SIZE_NONE : 0;
    return 1;
}

/* 1: there, 0: missing, -1: r has been answered. */
static int may_mode(struct api_req *r, const json_t *params, uint8_t *mode)
{
    const char *s;
    size_t len;
    if (!api_may_str(r, params, "mode", &s, &len)) {
        return -1;
    }
    for (uint8_t i = 0; s != NULL && i < MODES; i++) {
        if (strcmp(s, modes[i]) == 0) {
            *mode = i;
            return 1;
        }
    }
    if (s != NULL) {
        api_fail(r, CODE_USAGE, "\"mode\" has to be default, ask, always or never.");
    }
    return s == NULL ? 0 : -1;
}

static void rule_set(struct app *a, struct api_req *r, const struct node_event *ev)
{
    const struct rec_contact *c = contacts_get(node_contacts(a->node), r->contact);
    if (ev->err != 0 || c == NULL) {
        api_fail_err(a, r, ev->err != 0 ? ev->err : ERR_NOTFOUND, NULL);
    } else {
        show_rule(a, r, c);
    }
}

void api_contact_files(struct app *a, struct api_req *r, const json_t *params)
{
    struct rec_file_rule rule;
    const struct rec_contact *c = api_want_contact(a, r, params, "name");
    if (c == NULL) {
        return;
    }
    xfer_rule(node_xfer(a->node), c->id, &rule);
    rule.contact = c->id;
    int mode = may_mode(r, params, &rule.mode);
    int max = mode < 0 ? -1 : may_bytes(r, params, "max", &rule.has_max, &rule.max);
    int quota =
        max < 0 ? -1 : may_bytes(r, params, "quota", &rule.has_quota, &rule.quota);
    if (quota < 0) {
        return;
    }
    if (mode + max + quota == 0) {
        show_rule(a, r, c);
        return;
    }
    r->result = rule_set;
    r->contact = c->id;
    api_started(a, r, node_file_rule(a->node, r->tag, &rule, env_mono_ms()), c->name);
}
