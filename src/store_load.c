/* What a node starts from: the rows of the state tables as records. */
#include <sodium.h>
#include <string.h>

#include "base/err.h"
#include "store_priv.h"

/* Each turns the current row into a record; false when a column has not its size. */

static bool load_meta(sqlite3_stmt *st, struct rec *r)
{
    col_name(st, 0, r->u.meta.key, sizeof r->u.meta.key);
    r->u.meta.value = col_blob(st, 1);
    return true;
}

static bool load_boxkey(sqlite3_stmt *st, struct rec *r)
{
    struct rec_boxkey *v = &r->u.boxkey;
    v->created_s = col_int(st, 2);
    return col_fixed(st, 0, v->pub, sizeof v->pub) &&
           col_fixed(st, 1, v->sec, sizeof v->sec);
}

static bool load_contact(sqlite3_stmt *st, struct rec *r)
{
    struct rec_contact *v = &r->u.contact;
    v->id = (uint32_t)col_int(st, 0);
    col_name(st, 2, v->name, sizeof v->name);
    col_name(st, 3, v->announced, sizeof v->announced);
    col_name(st, 7, v->network, sizeof v->network);
    v->flags = (uint32_t)col_int(st, 5);
    v->created_ms = col_int(st, 6);
    return col_fixed(st, 1, v->root, sizeof v->root) &&
           col_fixed(st, 4, v->pair, sizeof v->pair);
}

static bool load_device(sqlite3_stmt *st, struct rec *r)
{
    struct rec_device *v = &r->u.device;
    v->id = (uint32_t)col_int(st, 0);
    v->contact = (uint32_t)col_int(st, 1);
    v->cert = col_blob(st, 4);
    v->box_time = col_int(st, 6);
    v->has_presence = sqlite3_column_type(st, 7) != SQLITE_NULL;
    v->counter_tx = col_int(st, 9);
    v->counter_rx = col_int(st, 10);
    v->addrs = col_blob(st, 11);
    bool ok = col_fixed(st, 2, v->device, sizeof v->device) &&
              col_fixed(st, 3, v->stat, sizeof v->stat) &&
              col_fixed(st, 5, v->box, sizeof v->box);
    if (ok && v->has_presence) {
        ok = col_fixed(st, 7, v->presence_p, sizeof v->presence_p) &&
             col_fixed(st, 8, v->presence_a, sizeof v->presence_a);
    }
    return ok;
}

static bool load_invite(sqlite3_stmt *st, struct rec *r)
{
    struct rec_invite *v = &r->u.invite;
    v->id = (uint32_t)col_int(st, 0);
    v->created_s = col_int(st, 2);
    v->expiry_s = col_int(st, 3);
    v->ended_s = col_int(st, 4);
    v->used = col_int(st, 5) != 0;
    v->revoked = col_int(st, 6) != 0;
    return col_fixed(st, 1, v->secret, sizeof v->secret) &&
           col_fixed(st, 7, v->used_by, sizeof v->used_by);
}

static bool load_adding(sqlite3_stmt *st, struct rec *r)
{
    struct rec_adding *v = &r->u.adding;
    v->code = col_blob(st, 2);
    col_name(st, 3, v->as, sizeof v->as);
    v->started_ms = col_int(st, 4);
    return col_fixed(st, 0, v->secret, sizeof v->secret) &&
           col_fixed(st, 1, v->root, sizeof v->root);
}

static bool load_request(sqlite3_stmt *st, struct rec *r)
{
    struct rec_request *v = &r->u.request;
    struct blob addr = col_blob(st, 11);
    v->id = (uint32_t)col_int(st, 0);
    v->state = (uint8_t)col_int(st, 1);
    v->cert = col_blob(st, 5);
    v->box_time = col_int(st, 7);
    col_name(st, 9, v->name, sizeof v->name);
    v->text = col_blob(st, 10);
    v->time_ms = col_int(st, 12);
    if (addr.n > sizeof v->addr) {
        return false;
    }
    if (addr.n > 0) {
        memcpy(v->addr, addr.p, addr.n);
    }
    v->addr_len = (uint8_t)addr.n;
    return col_fixed(st, 2, v->root, sizeof v->root) &&
           col_fixed(st, 3, v->device, sizeof v->device) &&
           col_fixed(st, 4, v->stat, sizeof v->stat) &&
           col_fixed(st, 6, v->box, sizeof v->box) &&
           col_fixed(st, 8, v->pair, sizeof v->pair);
}

static bool load_conv(sqlite3_stmt *st, struct rec *r)
{
    struct rec_conv *v = &r->u.conv;
    v->id = (uint32_t)col_int(st, 0);
    v->kind = (uint8_t)col_int(st, 2);
    v->contact = (uint32_t)col_int(st, 3);
    v->members = col_blob(st, 4);
    v->created_ms = col_int(st, 5);
    return col_fixed(st, 1, v->cid, sizeof v->cid);
}

static bool load_feed(sqlite3_stmt *st, struct rec *r)
{
    struct rec_feed *v = &r->u.feed;
    v->id = (uint32_t)col_int(st, 0);
    v->conv = (uint32_t)col_int(st, 1);
    v->device = (uint32_t)col_int(st, 2);
    v->flags = (uint32_t)col_int(st, 4);
    v->head = col_int(st, 5);
    v->head_order = col_int(st, 6);
    v->opened = col_int(st, 8);
    v->opened_order = col_int(st, 9);
    v->closed_from = col_int(st, 11);
    v->chain_start = col_int(st, 12);
    v->chain_n = (uint32_t)col_int(st, 13);
    v->chain_created_s = col_int(st, 15);
    v->read = col_int(st, 18);
    return col_fixed(st, 3, v->gen, sizeof v->gen) &&
           col_fixed(st, 7, v->head_id, sizeof v->head_id) &&
           col_fixed(st, 10, v->opened_id, sizeof v->opened_id) &&
           col_fixed(st, 14, v->chain_secret, sizeof v->chain_secret) &&
           col_fixed(st, 16, v->sign_pub, sizeof v->sign_pub) &&
           col_fixed(st, 17, v->sign_sec, sizeof v->sign_sec);
}

static bool load_have(sqlite3_stmt *st, struct rec *r)
{
    struct rec_have *v = &r->u.have;
    v->device = (uint32_t)col_int(st, 0);
    v->feed = (uint32_t)col_int(st, 1);
    v->n = col_int(st, 2);
    v->opened = col_int(st, 3);
    v->read = col_int(st, 4);
    return true;
}

static bool load_file(sqlite3_stmt *st, struct rec *r)
{
    return store_file_cols(st, true, &r->u.file);
}

static bool load_file_bits(sqlite3_stmt *st, struct rec *r)
{
    struct rec_file_bits *v = &r->u.file_bits;
    v->file = (uint32_t)col_int(st, 0);
    v->block = (uint32_t)col_int(st, 1);
    return col_fixed(st, 2, v->bits, sizeof v->bits);
}

static bool load_file_peer(sqlite3_stmt *st, struct rec *r)
{
    store_file_peer_cols(st, &r->u.file_peer);
    return true;
}

static bool load_file_rule(sqlite3_stmt *st, struct rec *r)
{
    struct rec_file_rule *v = &r->u.file_rule;
    v->contact = (uint32_t)col_int(st, 0);
    v->mode = (uint8_t)col_int(st, 1);
    v->has_max = sqlite3_column_type(st, 2) != SQLITE_NULL;
    v->max = col_int(st, 2);
    v->has_quota = sqlite3_column_type(st, 3) != SQLITE_NULL;
    v->quota = col_int(st, 3);
    return true;
}

/* Ids of files that have not ended. */
#define FILES_OPEN "SELECT id FROM file WHERE state <= 2"

static const struct table {
    enum rec_kind kind;
    const char *sql; /* ?1: STORE_FILES_ENDED_MAX */
    bool (*load)(sqlite3_stmt *st, struct rec *r);
} tables[] = {
    {REC_META, "SELECT * FROM meta ORDER BY key", load_meta},
    {REC_BOXKEY, "SELECT * FROM boxkey ORDER BY created_s, pub", load_boxkey},
    {REC_CONTACT, "SELECT * FROM contact ORDER BY id", load_contact},
    {REC_DEVICE, "SELECT * FROM device ORDER BY id", load_device},
    {REC_INVITE, "SELECT * FROM invite ORDER BY id", load_invite},
    {REC_ADDING, "SELECT * FROM adding ORDER BY started_ms, secret", load_adding},
    {REC_REQUEST, "SELECT * FROM request ORDER BY id", load_request},
    {REC_CONV, "SELECT * FROM conv ORDER BY id", load_conv},
    {REC_FEED, "SELECT * FROM feed ORDER BY id", load_feed},
    {REC_HAVE, "SELECT * FROM have ORDER BY device, feed", load_have},
    {REC_FILE,
     "SELECT * FROM file WHERE id IN (" FILES_OPEN " UNION ALL SELECT * FROM"
     " (SELECT id FROM file WHERE state > 2 ORDER BY id DESC LIMIT ?1)) ORDER BY id",
     load_file},
    {REC_FILE_BITS,
     "SELECT * FROM file_bits WHERE file IN (" FILES_OPEN ") ORDER BY file, block",
     load_file_bits},
    {REC_FILE_PEER,
     "SELECT * FROM file_peer WHERE file IN (" FILES_OPEN ") ORDER BY file, contact",
     load_file_peer},
    {REC_FILE_RULE, "SELECT * FROM file_rule ORDER BY contact", load_file_rule},
};

static int load_table(struct store *s, const struct table *t,
                      int (*cb)(void *ctx, const struct rec *r), void *ctx)
{
    sqlite3_stmt *st = NULL;
    int rc = sqlite3_prepare_v2(s->db, t->sql, -1, &st, NULL);
    if (rc == SQLITE_OK && sqlite3_bind_parameter_count(st) > 0) {
        rc = sqlite3_bind_int(st, 1, STORE_FILES_ENDED_MAX);
    }
    int err = store_err(rc);
    while (err == 0 && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct rec r;
        memset(&r, 0, sizeof r);
        r.kind = t->kind;
        err = t->load(st, &r) ? cb(ctx, &r) : ERR_CORRUPT;
        sodium_memzero(&r, sizeof r);
    }
    if (err == 0) {
        err = store_err(rc);
    }
    (void)sqlite3_finalize(st);
    return err;
}

int store_load(struct store *s, int (*cb)(void *ctx, const struct rec *r), void *ctx)
{
    int err = 0;
    for (size_t i = 0; err == 0 && i < sizeof tables / sizeof *tables; i++) {
        err = load_table(s, &tables[i], cb, ctx);
    }
    return err;
}
