/* Methods that change a message: edit, react, redact. The message is looked up first;
 * then what does not fit is refused here, with a sentence, and nothing is logged. */
#include <stdlib.h>
#include <string.h>

#include "api_priv.h"
#include "base/err.h"

/* The change is durable: the answer is the message as it is now. */
static void changed(struct app *a, struct api_req *r, const struct node_event *ev)
{
    if (ev->err != 0) {
        api_fail_err(a, r, ev->err, api_contact_name(a, r->contact));
    } else {
        api_find_mid(a, r, ev->mid, api_found_show);
    }
}

/* Whether the message may be changed so; otherwise r has been answered. */
static bool may_change(struct api_req *r, const struct store_msg *m,
                       enum change_kind kind)
{
    if (kind != CHANGE_REACTION && m->author != 0) {
        api_fail(r, CODE_USAGE, "Only who wrote a message can %s it.",
                 kind == CHANGE_EDIT ? "edit" : "redact");
    } else if (kind == CHANGE_EDIT && m->kind == MSG_FILE) {
        api_fail(r, CODE_USAGE, "What offers a file has no text that could be edited.");
    } else if ((m->flags & MSG_REDACTED) != 0) {
        api_fail(r, CODE_ERROR,
                 kind == CHANGE_REDACTION ? "The message was redacted already."
                                          : "The message was redacted: nothing of it can "
                                            "be changed any more.");
    } else {
        return true;
    }
    return false;
}

/* Whether it would change nothing. */
static bool is_so(const struct store_msg *m, const struct find *q)
{
    if (q->change == CHANGE_EDIT) {
        return m->text.n == q->text_len && memcmp(m->text.p, q->text, q->text_len) == 0;
    }
    if (q->change != CHANGE_REACTION) {
        return false;
    }
    for (size_t i = 0; i < m->n_reactions; i++) {
        const char *emoji = m->reactions[i].emoji;
        if (m->reactions[i].author == 0) {
            return strlen(emoji) == q->text_len &&
                   memcmp(emoji, q->text, q->text_len) == 0;
        }
    }
    return q->text_len == 0;
}

static void change_found(void *ctx, int rc)
{
    struct find *q = ctx;
    struct app *a = q->app;
    struct api_req *r = api_find(a->api, q->tag);
    if (r == NULL || !api_found_one(a, r, q, rc) ||
        !may_change(r, &q->rows.v[0].m, (enum change_kind)q->change)) {
        api_find_free(q);
        return;
    }
    const struct store_msg *m = &q->rows.v[0].m;
    if (is_so(m, q)) {
        api_show_row(a, api_begin(r), m);
        api_end(r);
        api_find_free(q);
        return;
    }
    struct feeds_change v = {.kind = (enum change_kind)q->change,
                             .author = m->author,
                             .text = (const uint8_t *)q->text,
                             .len = q->text_len};
    memcpy(v.target, m->mid, sizeof v.target);
    r->result = changed;
    r->contact = node_conv_contact(a->node, m->conv);
    rc = node_change(a->node, r->tag, m->conv, &v, env_mono_ms());
    if (rc != 0) {
        api_fail_err(a, r, rc, api_contact_name(a, r->contact));
    }
    api_find_free(q);
}

/* With a copy of the text. */
static void change_start(struct app *a, struct api_req *r, const json_t *params,
                         enum change_kind kind, const char *text, size_t len)
{
    struct find q = {.change = (uint8_t)kind, .text_len = len};
    if (len > 0) {
        q.text = malloc(len);
        if (q.text == NULL) {
            api_fail_err(a, r, ERR_NOMEM, NULL);
            return;
        }
        memcpy(q.text, text, len);
    }
    api_find_message(a, r, params, &q, change_found);
}

void api_edit(struct app *a, struct api_req *r, const json_t *params)
{
    const char *text;
    size_t len;
    if (api_want_str(r, params, "text", &text, &len) && api_text_ok(r, text, len)) {
        change_start(a, r, params, CHANGE_EDIT, text, len);
    }
}

void api_react(struct app *a, struct api_req *r, const json_t *params)
{
    const char *emoji;
    size_t len;
    if (!api_may_str(r, params, "emoji", &emoji, &len)) {
        return;
    }
    if (emoji != NULL && !wire_emoji_ok((const uint8_t *)emoji, len)) {
        api_fail(r, CODE_USAGE,
                 "A reaction is one emoji or one character, of at most 64 bytes.");
        return;
    }
    change_start(a, r, params, CHANGE_REACTION, emoji, len);
}

void api_redact(struct app *a, struct api_req *r, const json_t *params)
{
    change_start(a, r, params, CHANGE_REDACTION, NULL, 0);
}
