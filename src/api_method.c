/* The API's table of methods, their parameters, and what errors become. */
#include <string.h>

#include "api_priv.h"
#include "base/err.h"

static const struct api_method methods[] = {
    {"add", api_add, false},
    {"away", api_away, false},
    {"busy", api_busy, false},
    {"config.get", api_config_get, true},
    {"config.path", api_config_path, true},
    {"config.set", api_config_set, true},
    {"contact.block", api_contact_block, false},
    {"contact.files", api_contact_files, false},
    {"contact.remove", api_contact_remove, false},
    {"contact.rename", api_contact_rename, false},
    {"contact.unblock", api_contact_unblock, false},
    {"contacts", api_contacts, false},
    {"dht.announce", api_dht_announce, false},
    {"dht.find", api_dht_find, false},
    {"dht.get", api_dht_get, false},
    {"dht.peers", api_dht_peers, false},
    {"dht.ping", api_dht_ping, false},
    {"dht.put", api_dht_put, false},
    {"dht.stats", api_dht_stats, false},
    {"edit", api_edit, false},
    {"events.since", api_events_since, false},
    {"export", api_export, false},
    {"history", api_history, false},
    {"id", api_id, false},
    {"invisible", api_invisible, false},
    {"invite", api_invite, false},
    {"invite.ls", api_invite_ls, false},
    {"invite.revoke", api_invite_revoke, false},
    {"live", api_live, false},
    {"message", api_message, false},
    {"nearby", api_nearby, false},
    {"online", api_online, false},
    {"passphrase", api_passphrase, true},
    {"react", api_react, false},
    {"read", api_read, false},
    {"recv", api_recv, false},
    {"recv.ack", api_recv_ack, false},
    {"redact", api_redact, false},
    {"requests", api_requests, false},
    {"requests.accept", api_requests_accept, false},
    {"requests.deny", api_requests_deny, false},
    {"requests.unblock", api_requests_unblock, false},
    {"search", api_search, false},
    {"send", api_send, false},
    {"status", api_status, true},
    {"stop", api_stop, true},
    {"transfers", api_transfers, false},
    {"transfers.accept", api_transfers_accept, false},
    {"transfers.cancel", api_transfers_cancel, false},
    {"transfers.decline", api_transfers_decline, false},
    {"transfers.limit", api_transfers_limit, false},
    {"transfers.pause", api_transfers_pause, false},
    {"transfers.piped", api_transfers_piped, false},
    {"transfers.resume", api_transfers_resume, false},
    {"transfers.show", api_transfers_show, false},
    {"transfers.spool", api_transfers_spool, false},
    {"transfers.spooled", api_transfers_spooled, false},
    {"typing", api_typing, false},
    {"verify", api_verify, false},
    {"visible", api_visible, false},
};

const struct api_method *api_method_find(const char *name)
{
    size_t low = 0, high = sizeof methods / sizeof methods[0];
    while (low < high) {
        size_t mid = (low + high) / 2;
        int order = strcmp(name, methods[mid].name);
        if (order == 0) {
            return &methods[mid];
        }
        if (order < 0) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    return NULL;
}

void api_method_call(struct app *a, struct api_req *r, const struct api_method *m,
                     const json_t *params)
{
    if (a->state == APP_STOPPING) {
        api_fail(r, CODE_NO_NODE, "The node is stopping.");
    } else if (a->node == NULL && !m->without_store) {
        api_fail(r, CODE_ERROR, "%s", a->store_error);
    } else {
        api_note_activity(a, m->name, params);
        m->fn(a, r, params);
    }
}

/* ---- params ---- */

bool api_may_str(struct api_req *r, const json_t *params, const char *key, const char **s,
                 size_t *len)
{
    *s = NULL;
    *len = 0;
    if (param_str(params, key, s, len) < 0) {
        api_fail(r, CODE_USAGE, "\"%s\" has to be a string without NUL.", key);
        return false;
    }
    return true;
}

bool api_want_str(struct api_req *r, const json_t *params, const char *key,
                  const char **s, size_t *len)
{
    if (!api_may_str(r, params, key, s, len)) {
        return false;
    }
    if (*s == NULL) {
        api_fail(r, CODE_USAGE, "\"%s\" is missing.", key);
        return false;
    }
    return true;
}

bool api_may_u64(struct api_req *r, const json_t *params, const char *key, uint64_t max,
                 uint64_t *v)
{
    uint64_t n;
    int rc = param_u64(params, key, &n);
    if (rc < 0 || (rc > 0 && n > max)) {
        api_fail(r, CODE_USAGE, "\"%s\" has to be a whole number from 0 to %llu.", key,
                 (unsigned long long)max);
        return false;
    }
    if (rc > 0) {
        *v = n;
    }
    return true;
}

bool api_may_bool(struct api_req *r, const json_t *params, const char *key, bool *v)
{
    if (param_bool(params, key, v) < 0) {
        api_fail(r, CODE_USAGE, "\"%s\" has to be true or false.", key);
        return false;
    }
    return true;
}

/* How many letters have to change to make b of a: Levenshtein's distance of names. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[WIRE_NAME_MAX + 1];
    size_t n = strnlen(b, WIRE_NAME_MAX);
    for (size_t j = 0; j <= n; j++) {
        row[j] = (unsigned)j;
    }
    for (unsigned i = 1; a[i - 1] != '\0'; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            unsigned best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            best = row[j] + 1 < best ? row[j] + 1 : best;
            row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
        }
    }
    return row[n];
}

static void fail_unknown(struct app *a, struct api_req *r, const char *name)
{
    const struct rec_contact *c, *near = NULL;
    size_t pos = 0;
    unsigned least = 3;
    while (strnlen(name, WIRE_NAME_MAX + 1) <= WIRE_NAME_MAX &&
           (c = contacts_next(node_contacts(a->node), &pos)) != NULL) {
        unsigned d = (c->flags & CONTACT_REMOVED) != 0 ? least : distance(name, c->name);
        if (d < least) {
            least = d;
            near = c;
        }
    }
    if (near != NULL) {
        api_fail(r, CODE_UNKNOWN, "No contact is called \"%s\". Did you mean %s?", name,
                 near->name);
    } else {
        api_fail(r, CODE_UNKNOWN, "No contact is called \"%.200s\".", name);
    }
}

const struct rec_contact *api_find_contact(struct app *a, struct api_req *r,
                                           const char *name)
{
    const struct rec_contact *c = NULL;
    int rc = contacts_find(node_contacts(a->node), name, &c);
    if (rc == ERR_EXISTS) {
        api_fail(r, CODE_UNKNOWN,
                 "More than one contact's root begins with \"%.80s\". Give more digits.",
                 name);
        return NULL;
    }
    if (rc != 0) {
        fail_unknown(a, r, name);
        return NULL;
    }
    return c;
}

const struct rec_contact *api_want_contact(struct app *a, struct api_req *r,
                                           const json_t *params, const char *key)
{
    const char *name;
    size_t len;
    if (!api_want_str(r, params, key, &name, &len)) {
        return NULL;
    }
    return api_find_contact(a, r, name);
}

/* ---- what errors become ---- */

/* Nothing is sent to a name that two claim. */
static void fail_conflict(struct app *a, struct api_req *r, const char *name)
{
    const struct rec_contact *c = NULL, *o = NULL;
    if (contacts_find(node_contacts(a->node), name, &c) == 0) {
        o = contacts_rival(node_contacts(a->node), c->id);
    }
    if (o == NULL) {
        api_fail(
            r, CODE_IDENTITY,
            "Another identity has come under the name %s. Nothing is sent before you "
            "say which one you mean: linnet verify %s",
            name, name);
        return;
    }
    const char *old = c->id < o->id ? c->name : o->name;
    const char *fresh = c->id < o->id ? o->name : c->name;
    api_fail(r, CODE_IDENTITY,
             "%s and %s claim the same name: nothing is sent before you say who is who. "
             "Compare the numbers (linnet verify %s). If %s began anew as %s: linnet "
             "contact remove %s. If both are people you know: linnet contact rename %s "
             "NEW. If %s is right: linnet verify %s --yes",
             old, fresh, name, old, fresh, old, fresh, old, old);
}

void api_fail_err(struct app *a, struct api_req *r, int err, const char *name)
{
    const char *who = name == NULL ? "that contact" : name;
    if (a->node == NULL) {
        api_fail(r, CODE_ERROR, "%s", a->store_error);
        return;
    }
    switch (err) {
    case ERR_NOTFOUND:
        api_fail(r, CODE_UNKNOWN, "There is no such thing: %s.", who);
        break;
    case ERR_AUTH:
        fail_conflict(a, r, who);
        break;
    case ERR_REFUSED:
        api_fail(r, CODE_REFUSED, "%s is blocked. Unblock them first.", who);
        break;
    case ERR_LIMIT:
        api_fail(r, CODE_ERROR, "There are too many already, or too much waits.");
        break;
    case ERR_EXISTS:
        api_fail(r, CODE_ERROR, "That name is taken by another contact.");
        break;
    case ERR_ARG:
    case ERR_FORMAT:
        api_fail(r, CODE_USAGE, "That cannot be used: %s.", err_str(err));
        break;
    default:
        api_fail(r, CODE_ERROR, "That did not work: %s.", err_str(err));
        break;
    }
}

void api_result_empty(struct app *a, struct api_req *r, const struct node_event *ev)
{
    if (ev->err != 0) {
        api_fail_err(a, r, ev->err, NULL);
        return;
    }
    struct jout *o = api_begin(r);
    jout_open(o, '{');
    jout_close(o, '}');
    api_end(r);
}

void api_started(struct app *a, struct api_req *r, int err, const char *name)
{
    if (err != 0) {
        api_fail_err(a, r, err, name);
    }
}
