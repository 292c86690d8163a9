/* The configuration: through the node when it runs, else in the file. */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "cmd.h"
#include "config.h"
#include "fmt.h"
#include "home.h"

static int show_value(struct cli *c, const char *key, const char *value)
{
    if (c->json) {
        json_t *o = json_pack("{s:i,s:s,s:s}", "v", 1, "key", key, "value", value);
        cli_json(o);
        json_decref(o);
    } else if (c->args.n_words > 1) {
        (void)puts(value);
    } else {
        (void)printf("%s = %s\n", key, value);
    }
    return 0;
}

static int get_from_node(struct cli *c, const char *key)
{
    json_t *o, *value;
    const char *k;
    json_t *params = json_object();
    if (key != NULL) {
        (void)json_object_set_new(params, "key", json_string(key));
    }
    int rc = cli_call(c, "config.get", params, &o);
    if (rc != 0) {
        return rc;
    }
    json_object_foreach(json_object_get(o, "values"), k, value)
    {
        const char *s = json_string_value(value);
        (void)show_value(c, k, s != NULL ? s : "");
    }
    json_decref(o);
    return 0;
}

static int get_from_file(struct cli *c, const struct home *h, const char *key)
{
    struct config *conf = calloc(1, sizeof *conf);
    char why[CONFIG_WHY_MAX] = "Memory is exhausted.";
    int rc = conf == NULL ? ERR_NOMEM : config_load(h->config, conf, why);
    for (unsigned k = 0; rc == 0 && k < CONFIG_KEYS; k++) {
        const char *name = config_key_name((enum config_key)k);
        if (key == NULL || strcmp(key, name) == 0) {
            (void)show_value(c, name, conf->value[k]);
        }
    }
    free(conf);
    return rc == 0 ? 0 : cli_fail(CLI_ERROR, "%s", why);
}

static int set_said(struct cli *c, const char *key, const char *value, bool restart)
{
    if (c->json) {
        json_t *o = json_pack("{s:i,s:s,s:s,s:b}", "v", 1, "key", key, "value", value,
                              "restart", restart);
        cli_json(o);
        json_decref(o);
        return 0;
    }
    char *shown = cli_shown(value);
    if (value[0] == '\0') {
        cli_say("%s is not set any more.", key);
    } else {
        cli_say("%s = %s", key, shown);
    }
    if (restart) {
        cli_say("It counts from the next start of the node: linnet stop, then linnet.");
    }
    free(shown);
    return 0;
}

static int set_in_node(struct cli *c, const char *key, const char *value)
{
    json_t *o;
    int rc =
        cli_call(c, "config.set", json_pack("{s:s,s:s}", "key", key, "value", value), &o);
    if (rc != 0) {
        return rc;
    }
    rc = set_said(c, key, value, cli_true(o, "restart"));
    json_decref(o);
    return rc;
}

static int set_in_file(struct cli *c, const struct home *h, const char *key,
                       const char *value)
{
    struct config *conf = calloc(1, sizeof *conf);
    char why[CONFIG_WHY_MAX] = "Memory is exhausted.";
    int rc = conf == NULL ? ERR_NOMEM
                          : config_set(h->config, conf, config_key_find(key), value, why);
    free(conf);
    if (rc != 0) {
        return cli_fail(rc == ERR_ARG ? CLI_USAGE : CLI_ERROR, "%s", why);
    }
    return set_said(c, key, value, false);
}

static int unknown_key(struct cli *c, const char *key)
{
    char *shown = cli_shown(key);
    (void)cli_fail(CLI_USAGE, "There is no setting \"%.80s\". There are:", shown);
    for (unsigned k = 0; k < CONFIG_KEYS; k++) {
        cli_say("    %s", config_key_name((enum config_key)k));
    }
    free(shown);
    (void)c;
    return CLI_USAGE;
}

int cmd_config(struct cli *c)
{
    const char *verb = c->args.words[0];
    const char *key = c->args.n_words > 1 ? c->args.words[1] : NULL;
    bool get = strcmp(verb, "get") == 0, set = strcmp(verb, "set") == 0;
    size_t words = c->args.n_words;
    struct home h;
    char why[HOME_WHY_MAX];
    if (get ? words > 2 : set ? words != 3 : strcmp(verb, "path") != 0 || words != 1) {
        return cli_misused(c, "Those arguments do not fit together.");
    }
    if (key != NULL && config_key_find(key) == CONFIG_KEYS) {
        return unknown_key(c, key);
    }
    /* Only what writes makes a home. */
    int found = home_init(&h, c->args.home, set, why);
    if (found != 0 && (found != ERR_NOTFOUND || h.config[0] == '\0')) {
        return cli_fail(CLI_ERROR, "%s", why);
    }
    bool running = found == 0 && client_running(&h);
    int rc = 0;
    if (get) {
        rc = running ? get_from_node(c, key) : get_from_file(c, &h, key);
    } else if (set) {
        rc = running ? set_in_node(c, key, c->args.words[2])
                     : set_in_file(c, &h, key, c->args.words[2]);
    } else if (c->json) {
        json_t *o = json_pack("{s:i,s:s}", "v", 1, "path", h.config);
        cli_json(o);
        json_decref(o);
    } else {
        (void)puts(h.config);
    }
    home_release(&h);
    return rc;
}
