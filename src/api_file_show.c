/* How files look in JSON: transfers, the files of messages, events. */
#include <string.h>

#include "api_priv.h"

/* ---- words ---- */

static const char *kind_word(uint8_t kind)
{
    return kind == FILE_FOLDER ? "folder" : kind == FILE_STREAM ? "stream" : "file";
}

static const char *row_word(uint8_t state, bool mine)
{
    switch ((enum file_state)state) {
    case FILE_OFFERED:
        return "offered";
    case FILE_ACTIVE:
        return mine ? "offered" : "waiting";
    case FILE_DONE:
        return "done";
    case FILE_DECLINED:
        return "declined";
    case FILE_STOPPED:
        return "stopped";
    case FILE_CANCELLED:
        return "cancelled";
    case FILE_CHANGED:
        return "changed";
    case FILE_BROKEN:
        return "broken";
    case FILE_LOST:
        return "lost";
    }
    return "lost";
}

/* How the only recipient of a file of ours ended it. */
static const char *end_word(uint8_t end)
{
    switch ((enum file_end)end) {
    case FILE_END_DECLINED:
        return "declined";
    case FILE_END_RECEIVED:
        return "done";
    case FILE_END_BROKEN:
        return "broken";
    case FILE_END_CANCELLED:
    case FILE_END_CHANGED:
    case FILE_END_STOPPED:
        break;
    }
    return "stopped";
}

const char *api_transfer_state(const struct xfer_view *v, uint8_t end)
{
    switch (v->phase) {
    case XFER_PHASE_OFFERED:
        return "offered";
    case XFER_PHASE_WAITING:
        return "waiting";
    case XFER_PHASE_ACTIVE:
        return "active";
    case XFER_PHASE_PAUSED:
        return "paused";
    case XFER_PHASE_HELD:
        return "held";
    case XFER_PHASE_STUCK:
        return "stuck";
    case XFER_PHASE_ENDED:
        break;
    }
    bool told = v->r->author == 0 && v->r->state == FILE_DONE && end != 0;
    return told ? end_word(end) : row_word(v->r->state, v->r->author == 0);
}

uint8_t api_transfer_end(const struct app *a, uint32_t id)
{
    struct rec_file_peer first, other;
    const struct xfer *x = node_xfer(a->node);
    return xfer_peer(x, id, 0, &first) && !xfer_peer(x, id, 1, &other) ? first.end : 0;
}

/* ---- a transfer ---- */

static void maybe_u64(struct jout *o, const char *key, bool known, uint64_t v)
{
    jout_key(o, key);
    if (known) {
        jout_u64(o, v);
    } else {
        jout_null(o);
    }
}

static void maybe_str(struct jout *o, const char *key, const char *s)
{
    jout_key(o, key);
    if (s != NULL) {
        jout_str(o, s);
    } else {
        jout_null(o);
    }
}

static void show_blob(struct jout *o, const char *key, const struct blob *b)
{
    jout_key(o, key);
    if (b->n > 0) {
        jout_strn(o, b->p, b->n);
    } else {
        jout_null(o);
    }
}

/* Bytes of the contents: what is before them, a folder's manifest, is not counted. */
static uint64_t contents(uint64_t bytes, uint64_t head)
{
    return bytes > head ? bytes - head : 0;
}

static uint64_t percent(const struct xfer_view *v)
{
    const struct rec_file *r = v->r;
    enum { ALL = 100 };
    if (r->state == FILE_DONE) {
        return ALL;
    }
    /* All of it only when it is done: to its last byte it may still not fit. */
    if (v->done >= r->size) {
        return ALL - 1;
    }
    uint64_t p =
        r->size <= UINT64_MAX / ALL ? v->done * ALL / r->size : v->done / (r->size / ALL);
    return p < ALL ? p : ALL - 1;
}

static void show_size(struct jout *o, const struct xfer_view *v)
{
    const struct rec_file *r = v->r;
    bool sized = (r->flags & FILE_SIZED) != 0;
    jout_kstr(o, "kind", kind_word(r->kind));
    maybe_u64(o, "size", sized, contents(r->size, r->head));
    maybe_u64(o, "files", r->kind == FILE_FOLDER, r->count);
}

static void show_route(struct app *a, struct jout *o, const struct xfer_view *v)
{
    struct addr addr;
    char s[ADDR_STR_MAX];
    bool open = v->phase != XFER_PHASE_ENDED && v->contact != 0;
    const char *route = open ? node_route(a->node, v->contact, &addr) : NULL;
    maybe_str(o, "route", route);
    maybe_str(o, "address", route != NULL ? addr_ip_str(&addr, s) : NULL);
}

void api_show_transfer(struct app *a, struct jout *o, const struct xfer_view *v,
                       uint8_t end)
{
    const struct rec_file *r = v->r;
    bool sized = (r->flags & FILE_SIZED) != 0;
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    jout_ku64(o, "n", r->id);
    jout_khex(o, "id", r->mid, WIRE_MID);
    jout_kstr(o, "conversation", api_conv_name(a, r->conv));
    jout_kstr(o, "from", api_contact_name(a, r->author));
    jout_kbool(o, "mine", r->author == 0);
    jout_key(o, "name");
    jout_strn(o, r->name.p, r->name.n);
    show_size(o, v);
    jout_kstr(o, "state", api_transfer_state(v, end));
    maybe_str(o, "reason", v->why);
    jout_ku64(o, "done", contents(v->done, r->head));
    maybe_u64(o, "percent", sized, percent(v));
    jout_ku64(o, "rate_down", v->rate_down);
    jout_ku64(o, "rate_up", v->rate_up);
    maybe_u64(o, "eta_s", v->eta_s != UINT64_MAX, v->eta_s);
    show_route(a, o, v);
    show_blob(o, "path", &r->path);
    jout_ku64(o, "prefix", contents(v->prefix, r->head));
    jout_kbool(o, "sealed", (r->flags & FILE_SEALED) != 0);
    jout_ku64(o, "created_ms", r->created_ms);
    maybe_u64(o, "ended_ms", r->ended_ms != 0, r->ended_ms);
    jout_close(o, '}');
}

bool api_show_transfer_n(struct app *a, struct jout *o, uint32_t n)
{
    struct xfer_view v;
    if (!xfer_get(node_xfer(a->node), n, &v)) {
        return false;
    }
    api_show_transfer(a, o, &v, api_transfer_end(a, n));
    return true;
}

unsigned api_open_transfers(const struct app *a)
{
    struct xfer_view v;
    unsigned n = 0;
    for (uint32_t id = 0; xfer_next(node_xfer(a->node), id, &v); id = v.r->id) {
        n += v.phase != XFER_PHASE_ENDED;
    }
    return n;
}

/* ---- the file of a message ---- */

void api_show_msg_file(struct app *a, struct jout *o, const struct msg_view *m)
{
    const struct store_msg_file *f = m->file;
    struct xfer_view v;
    jout_key(o, "file");
    if (f == NULL) {
        jout_null(o);
        return;
    }
    bool here = xfer_get(node_xfer(a->node), f->id, &v);
    jout_open(o, '{');
    jout_ku64(o, "n", f->id);
    jout_key(o, "name");
    jout_strn(o, m->text, m->text_len);
    if (here) {
        show_size(o, &v);
    } else {
        const struct rec_file r = {.kind = f->kind,
                                   .flags = f->flags,
                                   .size = f->size,
                                   .head = f->head,
                                   .count = f->count};
        show_size(o, &(struct xfer_view){.r = &r});
    }
    jout_kstr(o, "state",
              here ? api_transfer_state(&v, api_transfer_end(a, f->id))
                   : row_word(f->state, m->author == 0));
    jout_close(o, '}');
}

/* ---- events ---- */

void api_show_file_event(struct app *a, struct jout *o, const struct rec_event *e)
{
    struct xfer_view v;
    jout_ku64(o, "transfer", e->value);
    jout_key(o, "name");
    if (e->value <= UINT32_MAX && xfer_get(node_xfer(a->node), (uint32_t)e->value, &v) &&
        v.r->name.n > 0) {
        jout_strn(o, v.r->name.p, v.r->name.n);
    } else {
        jout_str(o, e->text); /* as much as an event keeps of a name */
    }
    maybe_str(o, "contact", e->contact != 0 ? api_contact_name(a, e->contact) : NULL);
}

void api_publish_transfer(struct app *a, uint32_t id)
{
    struct xfer_view v;
    if (!api_wanted(a->api, "transfer") || !xfer_get(node_xfer(a->node), id, &v)) {
        return;
    }
    struct jout *o = api_event(a->api);
    jout_open(o, '{');
    jout_ku64(o, "v", 1);
    jout_key(o, "n");
    jout_null(o);
    jout_kstr(o, "what", "progress");
    jout_key(o, "transfer");
    api_show_transfer(a, o, &v, api_transfer_end(a, id));
    jout_close(o, '}');
    api_publish(a->api, "transfer");
}
