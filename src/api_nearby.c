/* Methods about people nearby: visible, nearby. */
#include <string.h>

#include "api_priv.h"
#include "base/err.h"

/* ---- being visible ---- */

void api_show_visible(struct app *a, struct jout *o)
{
    uint64_t left = node_visible_left(a->node, env_mono_ms());
    jout_kbool(o, "visible", left > 0);
    jout_key(o, "visible_until_ms");
    if (left > 0 && left < UINT64_MAX) {
        jout_u64(o, env_wall_ms(a->cfg.env) + left);
    } else {
        jout_null(o);
    }
}

static void show_visible(struct app *a, struct jout *o)
{
    uint8_t hash[32];
    node_cert_hash(a->node, hash);
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    api_show_visible(a, o);
    jout_kstr(o, "name", node_name(a->node));
    jout_khex(o, "hash", hash, sizeof hash);
    jout_close(o, '}');
}

static void visible_set(struct app *a, struct api_req *r, const struct node_event *ev)
{
    if (ev->err != 0) {
        api_fail_err(a, r, ev->err, NULL);
        return;
    }
    api_publish_visible(a);
    show_visible(a, api_begin(r));
    api_end(r);
}

void api_visible(struct app *a, struct api_req *r, const json_t *params)
{
    bool on = false, stay = false;
    if (!api_may_bool(r, params, "on", &on) || !api_may_bool(r, params, "stay", &stay)) {
        return;
    }
    if (json_object_get(params, "on") == NULL) {
        show_visible(a, api_begin(r));
        api_end(r);
        return;
    }
    if (on && node_hidden(a->node)) {
        api_fail(r, CODE_ERROR,
                 "You are invisible: nobody can be shown that you are here. Say `linnet "
                 "online` first.");
        return;
    }
    r->result = visible_set;
    api_started(a, r, node_visible(a->node, r->tag, on, stay, env_mono_ms()), NULL);
}

void api_publish_visible(struct app *a)
{
    if (a->node == NULL || !api_wanted(a->api, "node")) {
        return;
    }
    struct jout *o = api_event(a->api);
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    jout_key(o, "n");
    jout_null(o);
    jout_kstr(o, "what", "visible");
    api_show_visible(a, o);
    jout_close(o, '}');
    api_publish(a->api, "node");
}

/* ---- who is nearby ---- */

static void name_or_null(struct jout *o, const char *key, const struct rec_contact *c)
{
    jout_key(o, key);
    if (c != NULL) {
        jout_str(o, c->name);
    } else {
        jout_null(o);
    }
}

/* The members of an entry, without its braces. */
static void show_person(struct app *a, struct jout *o, const struct nearby_person *p)
{
    char s[ADDR_STR_MAX];
    jout_ku64(o, "number", p->number);
    jout_kstr(o, "name", p->name);
    jout_khex(o, "hash", p->cert, sizeof p->cert);
    name_or_null(o, "contact", node_nearby_contact(a->node, p));
    name_or_null(o, "like", node_nearby_like(a->node, p));
    jout_kstr(o, "address", addr_ip_str(&p->source, s));
}

void api_nearby(struct app *a, struct api_req *r, const json_t *params)
{
    const struct nearby_person *p;
    size_t pos = 0;
    (void)params;
    struct jout *o = api_begin(r);
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    jout_key(o, "people");
    jout_open(o, '[');
    while ((p = nearby_next(node_nearby(a->node), &pos)) != NULL) {
        jout_open(o, '{');
        jout_ku64(o, "v", 1);
        show_person(a, o, p);
        jout_close(o, '}');
    }
    jout_close(o, ']');
    api_show_visible(a, o);
    jout_close(o, '}');
    api_end(r);
}

void api_publish_nearby(struct app *a, const struct node_event *ev)
{
    if (!api_wanted(a->api, "request")) {
        return;
    }
    struct jout *o = api_event(a->api);
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    jout_key(o, "n");
    jout_null(o);
    if (ev->person.number == 0) {
        jout_kstr(o, "what", "nearby_many");
    } else {
        jout_kstr(o, "what", ev->online ? "nearby" : "nearby_gone");
        show_person(a, o, &ev->person);
    }
    jout_close(o, '}');
    api_publish(a->api, "request");
}
