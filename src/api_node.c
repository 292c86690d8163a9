/* Methods of the node itself: status, id, stop, passphrase, config.*. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api_priv.h"
#include "base/err.h"

enum { SAFETY_HALF = 35 /* six groups of five digits */, ADDRESSES_SHOWN = 32 };

/* ---- status ---- */

static void show_addresses(struct app *a, struct jout *o)
{
    struct addr v[ADDRESSES_SHOWN];
    char s[ADDR_STR_MAX];
    size_t n = app_addresses(a, v, ADDRESSES_SHOWN);
    jout_key(o, "addresses");
    jout_open(o, '[');
    for (size_t i = 0; i < n; i++) {
        jout_str(o, addr_str(&v[i], s));
    }
    jout_close(o, ']');
}

/* The network that it is in, with how many contacts came through it, or null. */
static void show_network(struct app *a, struct jout *o)
{
    const char *name = node_network(a->node);
    jout_key(o, "network");
    if (name[0] == '\0') {
        jout_null(o);
        return;
    }
    jout_open(o, '{');
    jout_kstr(o, "name", name);
    jout_ku64(o, "contacts", contacts_of_network(node_contacts(a->node), name));
    jout_close(o, '}');
}

static void show_node(struct app *a, struct jout *o, uint64_t unread)
{
    struct node_stats s;
    node_stats(a->node, &s);
    jout_kstr(o, "name", node_name(a->node));
    jout_khex(o, "root", node_root(a->node), KEYS_ROOT);
    jout_khex(o, "device", node_device(a->node), KEYS_DEVICE_ID);
    jout_ku64(o, "contacts", s.contacts);
    jout_ku64(o, "online", s.online);
    jout_ku64(o, "links", s.links);
    jout_ku64(o, "unread", unread);
    api_show_presence(a, o);
    jout_ku64(o, "conflicts", s.conflicts);
    api_show_visible(a, o);
    show_network(a, o);
    jout_ku64(o, "requests", api_open_requests(a));
    jout_ku64(o, "transfers", api_open_transfers(a));
    api_show_dht(a, o);
}

static void answer_status(struct app *a, struct api_req *r, uint64_t unread)
{
    const struct app_config *cfg = &a->cfg;
    struct jout *o = api_begin(r);
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    jout_kbool(o, "running", true);
    jout_kstr(o, "version", LINNET_VERSION);
    if (a->node != NULL) {
        show_node(a, o, unread);
    }
    jout_kstr(o, "home", cfg->home->dir);
    jout_ku64(o, "pid", (uint64_t)getpid());
    jout_kstr(o, "scope", cfg->view->scope == SCOPE_LAN ? "lan" : "internet");
    jout_ku64(o, "port", loop_port(cfg->loop));
    jout_kbool(o, "protected", a->protected_);
    jout_kstr(o, "api", cfg->home->api);
    jout_kstr(o, "events", cfg->home->events);
    show_addresses(a, o);
    jout_kstr(o, "store", app_store_state(a));
    jout_key(o, "store_error");
    if (a->state == APP_DOWN) {
        jout_str(o, a->store_error);
    } else {
        jout_null(o);
    }
    jout_ku64(o, "newest", a->newest);
    jout_close(o, '}');
    api_end(r);
}

static void status_counted(struct app *a, struct api_req *r, const struct unread *u)
{
    answer_status(a, r, u->sum);
}

void api_status(struct app *a, struct api_req *r, const json_t *params)
{
    (void)params;
    if (a->node == NULL) {
        answer_status(a, r, 0);
    } else {
        api_with_unread(a, r, 0, status_counted);
    }
}

void api_id(struct app *a, struct api_req *r, const json_t *params)
{
    char number[KEYS_SAFETY_STR];
    (void)params;
    /* Both halves of a number with oneself are our half of every number. */
    keys_safety_number(node_root(a->node), node_root(a->node), number);
    struct jout *o = api_begin(r);
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    jout_kstr(o, "name", node_name(a->node));
    jout_khex(o, "root", node_root(a->node), KEYS_ROOT);
    jout_khex(o, "device", node_device(a->node), KEYS_DEVICE_ID);
    jout_key(o, "safety");
    jout_strn(o, number, SAFETY_HALF);
    jout_close(o, '}');
    api_end(r);
}

void api_stop(struct app *a, struct api_req *r, const json_t *params)
{
    (void)params;
    struct jout *o = api_begin(r);
    jout_open(o, '{');
    jout_close(o, '}');
    api_end(r);
    app_stop(a);
}

/* ---- passphrase ---- */

/* Argon2id takes a second and 256 MiB: it runs on a worker. */
struct change {
    struct app *app;
    uint64_t tag;
    const struct home *home;
    const struct env *env;
    char *old, *fresh; /* NULL: none */
    size_t old_len, fresh_len;
    int rc;
    bool writing; /* the step that rc is about */
};

static void change_run(void *ctx)
{
    struct change *c = ctx;
    struct keyfile k = {0};
    uint8_t *bytes = sodium_malloc(KEYFILE_MAX);
    size_t len = 0;
    c->rc = bytes == NULL ? ERR_NOMEM : home_read_key(c->home, bytes, &len);
    if (c->rc == 0) {
        c->rc = keyfile_decode(bytes, len, c->old, c->old_len, &k);
    }
    if (c->rc == 0) {
        c->writing = true;
        c->rc = keyfile_encode(&k, c->env, c->fresh, c->fresh_len, bytes, &len);
    }
    if (c->rc == 0) {
        c->rc = home_write_key(c->home, bytes, len);
    }
    keyfile_release(&k);
    sodium_free(bytes);
}

static void wipe(char *s, size_t len)
{
    if (s != NULL) {
        sodium_memzero(s, len);
        free(s);
    }
}

static void change_free(struct change *c)
{
    wipe(c->old, c->old_len);
    wipe(c->fresh, c->fresh_len);
    free(c);
}

static void change_fail(struct app *a, struct api_req *r, const struct change *c)
{
    if (c->rc == ERR_AUTH && !c->writing) {
        api_fail(r, CODE_ERROR,
                 c->old == NULL ? "The key has a passphrase: the old one is needed."
                                : "The old passphrase is wrong.");
    } else if (c->rc == ERR_FULL) {
        api_fail(r, CODE_ERROR,
                 "The disk is full: the key file is as it was. Free some space and try "
                 "again.");
    } else if (c->rc == ERR_NOMEM) {
        api_fail(r, CODE_ERROR,
                 "There is not enough memory (256 MiB are needed): the key file is as it "
                 "was.");
    } else if (c->rc == ERR_LIMIT) {
        api_fail(r, CODE_USAGE, "The passphrase is longer than %d bytes.",
                 KEYFILE_PASSPHRASE_MAX);
    } else {
        api_fail(r, CODE_ERROR, "The key file %s cannot be changed: %s.",
                 a->cfg.home->key, err_str(c->rc));
    }
}

static void change_done(void *ctx)
{
    struct change *c = ctx;
    struct app *a = c->app;
    struct api_req *r = api_find(a->api, c->tag);
    a->changing = false;
    if (c->rc == 0) {
        a->protected_ = c->fresh != NULL;
    }
    if (r != NULL && c->rc != 0) {
        change_fail(a, r, c);
    } else if (r != NULL) {
        struct jout *o = api_begin(r);
        jout_open(o, '{');
        jout_kbool(o, "protected", a->protected_);
        jout_close(o, '}');
        api_end(r);
    }
    change_free(c);
}

static bool keep(const char *s, size_t len, char **out, size_t *out_len)
{
    if (s == NULL || len == 0) {
        return true;
    }
    *out = malloc(len);
    if (*out == NULL) {
        return false;
    }
    memcpy(*out, s, len);
    *out_len = len;
    return true;
}

void api_passphrase(struct app *a, struct api_req *r, const json_t *params)
{
    const char *old, *fresh;
    size_t old_len, fresh_len;
    if (!api_may_str(r, params, "old", &old, &old_len) ||
        !api_may_str(r, params, "new", &fresh, &fresh_len)) {
        return;
    }
    if (old_len > KEYFILE_PASSPHRASE_MAX || fresh_len > KEYFILE_PASSPHRASE_MAX) {
        api_fail(r, CODE_USAGE, "A passphrase has at most %d bytes.",
                 KEYFILE_PASSPHRASE_MAX);
        return;
    }
    if (a->changing) {
        api_fail(r, CODE_ERROR, "The passphrase is being changed already.");
        return;
    }
    struct change *c = calloc(1, sizeof *c);
    if (c == NULL || !keep(old, old_len, &c->old, &c->old_len) ||
        !keep(fresh, fresh_len, &c->fresh, &c->fresh_len)) {
        if (c != NULL) {
            change_free(c);
        }
        api_fail_err(a, r, ERR_NOMEM, NULL);
        return;
    }
    c->app = a;
    c->tag = r->tag;
    c->home = a->cfg.home;
    c->env = a->cfg.env;
    a->changing = true;
    if (loop_work(a->cfg.loop, change_run, change_done, c) != 0) {
        a->changing = false;
        change_free(c);
        api_fail_err(a, r, ERR_NOMEM, NULL);
    }
}

/* ---- config ---- */

void api_config_get(struct app *a, struct api_req *r, const json_t *params)
{
    const char *key;
    size_t len;
    if (!api_may_str(r, params, "key", &key, &len)) {
        return;
    }
    enum config_key only = key == NULL ? CONFIG_KEYS : config_key_find(key);
    if (key != NULL && only == CONFIG_KEYS) {
        api_fail(r, CODE_UNKNOWN, "There is no setting \"%.40s\".", key);
        return;
    }
    struct jout *o = api_begin(r);
    jout_open(o, '{');
    jout_key(o, "values");
    jout_open(o, '{');
    for (unsigned k = 0; k < CONFIG_KEYS; k++) {
        if (key == NULL || k == only) {
            jout_kstr(o, config_key_name((enum config_key)k), a->cfg.config->value[k]);
        }
    }
    jout_close(o, '}');
    jout_close(o, '}');
    api_end(r);
}

static void show_set(struct api_req *r, enum config_key k, const char *value)
{
    struct jout *o = api_begin(r);
    jout_open(o, '{');
    jout_kstr(o, "key", config_key_name(k));
    jout_kstr(o, "value", value);
    jout_kbool(o, "restart", config_key_restarts(k));
    jout_close(o, '}');
    api_end(r);
}

static void name_set(struct app *a, struct api_req *r, const struct node_event *ev)
{
    if (ev->err != 0) {
        api_fail_err(a, r, ev->err, NULL);
    } else {
        show_set(r, CONFIG_NAME, a->cfg.config->value[CONFIG_NAME]);
    }
}

void api_config_set(struct app *a, struct api_req *r, const json_t *params)
{
    const char *key, *value;
    size_t len;
    char why[CONFIG_WHY_MAX] = "";
    if (!api_want_str(r, params, "key", &key, &len) ||
        !api_want_str(r, params, "value", &value, &len)) {
        return;
    }
    enum config_key k = config_key_find(key);
    if (k == CONFIG_KEYS) {
        api_fail(r, CODE_UNKNOWN, "There is no setting \"%.40s\".", key);
        return;
    }
    int rc = config_set(a->cfg.home->config, a->cfg.config, k, value, why);
    if (rc != 0) {
        api_fail(r, rc == ERR_ARG ? CODE_USAGE : CODE_ERROR, "%s", why);
        return;
    }
    if (!config_key_restarts(k) && k != CONFIG_NAME) {
        struct config_view *v = malloc(sizeof *v);
        if (v != NULL) {
            config_view(a->cfg.config, v);
            log_set_level(v->log_level);
            app_away_after(a, v->away_after_ms);
            app_file_settings(a, v);
            free(v);
        }
    }
    if (k == CONFIG_NAME && value[0] != '\0' && a->node != NULL) {
        r->result = name_set;
        api_started(a, r, node_set_name(a->node, r->tag, value, env_mono_ms()), NULL);
    } else {
        show_set(r, k, value);
    }
}

void api_config_path(struct app *a, struct api_req *r, const json_t *params)
{
    (void)params;
    struct jout *o = api_begin(r);
    jout_open(o, '{');
    jout_kstr(o, "path", a->cfg.home->config);
    jout_close(o, '}');
    api_end(r);
}
