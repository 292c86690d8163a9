/* Typing and live typing: our drafts, and theirs. */
#include <string.h>

#include "base/err.h"
#include "presence_priv.h"

enum { SECOND_MS = 1000 };

static struct presence_contact *find(const struct presence *p, uint32_t contact)
{
    return map_get(&p->contacts, &contact);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ---- ours ---- */

static void out_all(struct presence *p, struct presence_contact *k, unsigned bits)
{
    for (struct presence_device *d = k->devices; d != NULL; d = d->next) {
        presence_push_out(p, d, bits);
    }
}

static void typing_tell(struct presence *p, struct presence_contact *k, bool typing,
                        uint64_t now_ms)
{
    k->typing_told = typing;
    k->typing_ms = now_ms;
    out_all(p, k, OUT_TYPING);
}

/* Whether the device is to see our draft. */
static bool sees(const struct presence_device *d)
{
    return d->contact->live && d->live && d->contact->draft.p != NULL;
}

/* Whether LIVE would tell the device anything. */
static bool live_is_news(const struct presence_device *d)
{
    return d->link && (d->told_on != d->contact->live || d->told_text || sees(d));
}

static void live_tell(struct presence *p, struct presence_contact *k, uint64_t now_ms)
{
    bool any = false;
    k->live_due = false;
    for (struct presence_device *d = k->devices; d != NULL; d = d->next) {
        if (live_is_news(d)) {
            presence_push_out(p, d, OUT_LIVE);
            any = true;
        }
    }
    if (any) {
        k->live_n++;
        k->live_next_ms = now_ms + PRESENCE_LIVE_GAP_MS;
    }
}

static void draft_drop(struct presence_contact *k)
{
    if (k->draft.p != NULL) {
        (void)presence_text_set(&k->draft, NULL, 0);
        k->live_due = true;
    }
}

void presence_draft_end(struct presence *p, struct presence_contact *k)
{
    draft_drop(k);
    if (k->typing_told) {
        typing_tell(p, k, false, 0);
    }
}

uint64_t presence_draft_due(struct presence *p, struct presence_contact *k,
                            uint64_t now_ms)
{
    uint64_t at = DEADLINE_NONE;
    if (k->typing_told && now_ms >= k->key_ms + PRESENCE_TYPING_IDLE_MS) {
        typing_tell(p, k, false, now_ms);
    }
    bool again = k->typing_told && k->key_ms > k->typing_ms;
    if (again && now_ms >= k->typing_ms + PRESENCE_TYPING_REPEAT_MS) {
        typing_tell(p, k, true, now_ms);
        again = false;
    }
    if (k->typing_told) {
        at = k->key_ms + PRESENCE_TYPING_IDLE_MS;
        at = again ? earlier(at, k->typing_ms + PRESENCE_TYPING_REPEAT_MS) : at;
    }
    if (k->draft.p != NULL && now_ms >= k->draft_ms + PRESENCE_LIVE_IDLE_MS) {
        draft_drop(k);
    }
    if (k->draft.p != NULL) {
        at = earlier(at, k->draft_ms + PRESENCE_LIVE_IDLE_MS);
    }
    if (k->live_due && now_ms >= k->live_next_ms) {
        live_tell(p, k, now_ms);
    }
    return k->live_due ? earlier(at, k->live_next_ms) : at;
}

void presence_live(struct presence *p, uint32_t contact, bool on, uint64_t now_ms)
{
    struct presence_contact *k = find(p, contact);
    if (k == NULL || k->live == on) {
        return;
    }
    k->live = on;
    k->live_due = true;
    k->dirty |= DIRTY_LIVE;
    if (!on) {
        draft_drop(k);
        for (struct presence_device *d = k->devices; d != NULL; d = d->next) {
            (void)presence_text_set(&d->text, NULL, 0);
        }
    }
    presence_settle(p, k, now_ms);
}

int presence_typing(struct presence *p, uint32_t contact, const uint8_t *text, size_t len,
                    bool typing, uint64_t now_ms)
{
    struct presence_contact *k = find(p, contact);
    if (text != NULL && (len > WIRE_TEXT_MAX || !wire_text_ok(text, len))) {
        return ERR_ARG;
    }
    presence_active(p, now_ms, now_ms);
    if (k == NULL || p->state == PRESENCE_INVISIBLE) {
        return 0;
    }
    typing = text != NULL ? len > 0 : typing;
    if (text != NULL && k->live && !presence_text_is(&k->draft, text, len)) {
        if (presence_text_set(&k->draft, text, len) != 0) {
            return ERR_NOMEM;
        }
        k->draft_ms = now_ms;
        k->live_due = true;
    }
    if (!typing) {
        presence_draft_end(p, k);
    } else {
        k->key_ms = now_ms;
        if (!k->typing_told) {
            typing_tell(p, k, true, now_ms);
        }
    }
    presence_settle(p, k, now_ms);
    return 0;
}

void presence_put_typing(const struct presence_device *d, struct wr *w)
{
    struct wire_typing v = {.typing = d->contact->typing_told};
    memcpy(v.conv, d->conv, sizeof v.conv);
    wire_typing_put(w, &v);
}

void presence_put_live(struct presence_device *d, struct wr *w)
{
    const struct presence_contact *k = d->contact;
    struct wire_live v = {.n = k->live_n, .on = k->live};
    memcpy(v.conv, d->conv, sizeof v.conv);
    if (sees(d)) {
        v.text = k->draft.p;
        v.text_len = k->draft.len;
    }
    d->told_on = k->live;
    d->told_text = v.text != NULL;
    wire_live_put(w, &v);
}

void presence_unsent(struct presence *p, const struct presence_out *out, uint64_t now_ms)
{
    struct presence_device *d = map_get(&p->devices, &out->device);
    if (d != NULL && out->type == FRAME_LIVE) {
        d->told_text = true; /* news, whatever there is to tell then */
        d->contact->live_due = true;
        presence_settle(p, d->contact, now_ms);
    }
}

/* ---- theirs ---- */

void presence_live_reset(struct presence_device *d)
{
    if (d->text.p != NULL) {
        d->contact->dirty |= DIRTY_LIVE;
    }
    (void)presence_text_set(&d->text, NULL, 0);
    d->live = d->told_on = d->told_text = d->typing = false;
    d->live_n = 0;
}

void presence_heard(struct presence *p, uint32_t contact, uint64_t now_ms)
{
    struct presence_contact *k = find(p, contact);
    if (k == NULL) {
        return;
    }
    for (struct presence_device *d = k->devices; d != NULL; d = d->next) {
        if (d->text.p != NULL) {
            k->dirty |= DIRTY_LIVE;
        }
        (void)presence_text_set(&d->text, NULL, 0);
        d->typing = false;
    }
    presence_settle(p, k, now_ms);
}

/* Whether the device may tell one more now. */
static bool allowed(struct presence_device *d, uint64_t now_ms)
{
    static const struct bucket_rate rate = {PRESENCE_FRAMES_BURST, PRESENCE_FRAMES_PER_S,
                                            SECOND_MS};
    return bucket_take(&d->frames, &rate, 1, now_ms);
}

int presence_recv_typing(struct presence *p, struct presence_device *d,
                         const uint8_t *payload, size_t len, uint64_t now_ms)
{
    struct wire_typing v;
    (void)p;
    if (!allowed(d, now_ms)) {
        return 0;
    }
    if (!wire_typing_get(payload, len, &v)) {
        return ERR_FORMAT;
    }
    if (memcmp(v.conv, d->conv, sizeof v.conv) == 0) {
        d->typing = v.typing && !d->hidden;
        d->typing_until_ms = now_ms + PRESENCE_TYPING_EXPIRE_MS;
    }
    return 0;
}

int presence_recv_live(struct presence *p, struct presence_device *d,
                       const uint8_t *payload, size_t len, uint64_t now_ms)
{
    struct presence_contact *k = d->contact;
    struct wire_live v;
    (void)p;
    if (!allowed(d, now_ms)) {
        return 0;
    }
    if (!wire_live_get(payload, len, &v)) {
        return ERR_FORMAT;
    }
    if (memcmp(v.conv, d->conv, sizeof v.conv) != 0 || v.n <= d->live_n) {
        return 0;
    }
    d->live_n = v.n;
    if (v.on != d->live) {
        d->live = v.on;
        k->live_due = true; /* they may see our draft now, or not any more */
        k->dirty |= DIRTY_LIVE;
    }
    if (!k->live || !v.on || d->hidden) {
        v.text_len = 0;
    }
    if (!presence_text_is(&d->text, v.text, v.text_len)) {
        if (presence_text_set(&d->text, v.text, v.text_len) != 0) {
            return ERR_NOMEM;
        }
        k->dirty |= DIRTY_LIVE;
    }
    return 0;
}
