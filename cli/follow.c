#include "follow.h"

#include <string.h>

#include "client.h"

/* All durable topics, so that a gap in the numbers means that events are missing. */
static const char *const durable[] = {"message", "state",    "request", "contact",
                                      "node",    "transfer", NULL};
enum { TOPICS_MAX = 16 };

static bool in(const char *const *prefixes, const char *topic)
{
    for (size_t i = 0; prefixes[i] != NULL; i++) {
        if (strncmp(prefixes[i], topic, strlen(prefixes[i])) == 0) {
            return true;
        }
    }
    return false;
}

/* Subscribes to what is durable and to what is wanted. */
static int subscribe(struct follow *f, bool wait)
{
    const char *all[TOPICS_MAX + 1];
    size_t n = 0;
    struct client_fail fail;
    for (size_t i = 0; durable[i] != NULL; i++) {
        all[n++] = durable[i];
    }
    for (size_t i = 0; f->topics[i] != NULL && n < TOPICS_MAX; i++) {
        if (!in(durable, f->topics[i])) {
            all[n++] = f->topics[i];
        }
    }
    all[n] = NULL;
    struct client_welcome w;
    int rc = wait ? client_again(f->cli->client, all, &w, &fail)
                  : client_follow(f->cli->client, all, &w, &fail);
    if (rc != 0) {
        return cli_fail(fail.code, "%s", fail.message);
    }
    f->set_back = wait && w.newest < f->seen; /* it counts anew */
    f->seen = !wait || f->set_back ? w.newest : f->seen;
    f->row = w.row;
    f->run = 0;
    return 0;
}

int follow_start(struct follow *f, struct cli *c, const char *const *topics,
                 const uint64_t *since)
{
    *f = (struct follow){.cli = c, .topics = topics};
    int rc = cli_connect(c);
    if (rc == 0) {
        rc = subscribe(f, false);
    }
    if (rc == 0 && since != NULL && *since < f->seen) {
        f->seen = *since;
        f->behind = true;
    }
    return rc;
}

/* The node has ended: waits for the next one. */
static int meet_again(struct follow *f)
{
    cli_say("The node has ended. Waiting until it runs again (linnet status starts it).");
    int rc = subscribe(f, true);
    if (rc == 0) {
        cli_say("The node runs again.");
        f->behind = true;
        f->again = true;
    }
    return rc;
}

/* Whether the node's store fails at present. */
static bool store_failing(struct follow *f)
{
    struct client_fail fail;
    json_t *o;
    if (client_call(f->cli->client, "status", NULL, CLIENT_ANSWER_MS, &o, &fail) != 0) {
        return false;
    }
    const char *store = cli_str(o, "store");
    bool bad = store[0] != '\0' && strcmp(store, "ok") != 0;
    json_decref(o);
    return bad;
}

/* Waits until the store works again, or the node has ended. What is dropped here is asked
 * for again. */
static int await_store(struct follow *f, const char *why)
{
    cli_say("%s Waiting until the node can go on.", why);
    f->behind = true;
    for (bool ok = false; !ok;) {
        char topic[CLIENT_TOPIC_MAX];
        json_t *e;
        int got = client_event(f->cli->client, UINT64_MAX, topic, &e);
        if (got < 0) {
            return meet_again(f);
        }
        ok = got > 0 && strcmp(cli_str(e, "what"), "store_ok") == 0;
        json_decref(got > 0 ? e : NULL);
    }
    return 0;
}

int follow_call(struct follow *f, const char *method, json_t *params, json_t **result)
{
    struct client_fail fail;
    for (;;) {
        int rc = client_call(f->cli->client, method, json_incref(params),
                             CLIENT_ANSWER_MS, result, &fail);
        bool waits = rc == CLI_ERROR && store_failing(f);
        if (rc != CLI_NO_NODE && !waits) {
            json_decref(params);
            return rc == 0 ? 0 : cli_fail(fail.code, "%s", fail.message);
        }
        rc = waits ? await_store(f, fail.message) : meet_again(f);
        if (rc != 0) {
            json_decref(params);
            return rc;
        }
    }
}

/* The next page of what was missed. */
static int catch_up(struct follow *f)
{
    json_t *o;
    json_decref(f->page);
    f->page = NULL;
    f->at = 0;
    int rc = follow_call(
        f, "events.since",
        json_pack("{s:I,s:i}", "n", (json_int_t)f->seen, "limit", CLI_PAGE), &o);
    if (rc != 0) {
        return rc;
    }
    f->page = json_incref(json_object_get(o, "events"));
    f->behind = json_array_size(f->page) > 0;
    f->run = 0;
    json_decref(o);
    return 0;
}

/* Takes note of an event. Whether it is to be given. */
static bool take(struct follow *f, const char *topic, const json_t *e, bool live)
{
    uint64_t n = cli_int(e, "n");
    if (n == 0) {
        return strcmp(topic, "welcome") != 0 && in(f->topics, topic);
    }
    if (n <= f->seen) {
        return false;
    }
    if (live && (n != f->seen + 1 || cli_true(e, "omitted"))) {
        f->behind = true; /* this one comes again */
        return false;
    }
    f->seen = n;
    return in(f->topics, topic);
}

/* The next one of the page, NULL at its end. */
static json_t *from_page(struct follow *f, char topic[CLIENT_TOPIC_MAX])
{
    while (f->at < json_array_size(f->page)) {
        json_t *e = json_array_get(f->page, f->at++);
        const char *t = cli_str(e, "topic");
        if (take(f, t, e, false)) {
            (void)snprintf(topic, CLIENT_TOPIC_MAX, "%s", t);
            return json_incref(e);
        }
    }
    return NULL;
}

int follow_next(struct follow *f, char topic[CLIENT_TOPIC_MAX], json_t **event)
{
    for (;;) {
        int rc = 0;
        *event = f->again ? NULL : from_page(f, topic);
        if (*event != NULL || f->again) {
            f->again = false;
            return 0;
        }
        if (f->behind) {
            rc = catch_up(f);
            if (rc != 0) {
                return rc;
            }
            continue;
        }
        int got = client_event(f->cli->client, 0, topic, event);
        if (got == 0) {
            f->behind = f->run >= FOLLOW_RUN;
            f->run = 0;
            got = f->behind ? 0 : client_event(f->cli->client, UINT64_MAX, topic, event);
        }
        if (got < 0) {
            rc = meet_again(f);
            if (rc != 0) {
                return rc;
            }
        } else if (got > 0) {
            f->run++;
            if (take(f, topic, *event, true)) {
                return 0;
            }
            json_decref(*event);
        }
    }
}

void follow_end(struct follow *f)
{
    json_decref(f->page);
    f->page = NULL;
}
