#include "rec.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

enum { TXN_CAP_MIN = 8, REC_BLOBS_MAX = 3 };

bool blob_set(struct blob *out, const void *p, size_t n)
{
    uint8_t *copy = NULL;
    if (n > 0) {
        copy = malloc(n);
        if (copy == NULL) {
            return false;
        }
        memcpy(copy, p, n);
    }
    out->p = copy;
    out->n = n;
    return true;
}

void blob_release(struct blob *b)
{
    if (b->p != NULL) {
        sodium_memzero(b->p, b->n);
        free(b->p);
    }
    b->p = NULL;
    b->n = 0;
}

/* The blobs of a record. */
static size_t rec_blobs(struct rec *r, struct blob *out[REC_BLOBS_MAX])
{
    switch (r->kind) {
    case REC_META:
        out[0] = &r->u.meta.value;
        return 1;
    case REC_DEVICE:
        out[0] = &r->u.device.cert;
        out[1] = &r->u.device.addrs;
        return 2;
    case REC_ADDING:
        out[0] = &r->u.adding.code;
        return 1;
    case REC_REQUEST:
        out[0] = &r->u.request.cert;
        out[1] = &r->u.request.text;
        return 2;
    case REC_CONV:
        out[0] = &r->u.conv.members;
        return 1;
    case REC_ENTRY:
        out[0] = &r->u.entry.header;
        out[1] = &r->u.entry.box;
        return 2;
    case REC_FORK:
        out[0] = &r->u.fork.header_a;
        out[1] = &r->u.fork.header_b;
        return 2;
    case REC_MSG:
        out[0] = &r->u.msg.text;
        return 1;
    case REC_CHANGE:
        out[0] = &r->u.change.text;
        return 1;
    case REC_FILE:
        out[0] = &r->u.file.name;
        out[1] = &r->u.file.path;
        out[2] = &r->u.file.dest;
        return 3;
    case REC_BOXKEY:
    case REC_CONTACT:
    case REC_INVITE:
    case REC_FEED:
    case REC_HAVE:
    case REC_FILE_BITS:
    case REC_FILE_PEER:
    case REC_FILE_RULE:
    case REC_STATE:
    case REC_EVENT:
        return 0;
    }
    return 0;
}

void rec_release(struct rec *r)
{
    struct blob *blobs[REC_BLOBS_MAX];
    size_t n = rec_blobs(r, blobs);
    for (size_t i = 0; i < n; i++) {
        blob_release(blobs[i]);
    }
    sodium_memzero(r, sizeof *r);
}

/* Whether a and b, of one kind, are states of the same row, so that the later one alone
 * tells what is to be stored. */
static bool same_row(const struct rec *a, const struct rec *b)
{
    switch (a->kind) {
    case REC_META:
        return strncmp(a->u.meta.key, b->u.meta.key, sizeof a->u.meta.key) == 0;
    case REC_BOXKEY:
        return memcmp(a->u.boxkey.pub, b->u.boxkey.pub, sizeof a->u.boxkey.pub) == 0;
    case REC_CONTACT:
        return a->u.contact.id == b->u.contact.id;
    case REC_DEVICE:
        return a->u.device.id == b->u.device.id;
    case REC_INVITE:
        return a->u.invite.id == b->u.invite.id;
    case REC_ADDING:
        return sodium_memcmp(a->u.adding.secret, b->u.adding.secret,
                             sizeof a->u.adding.secret) == 0;
    case REC_REQUEST:
        return a->u.request.id == b->u.request.id;
    case REC_CONV:
        return a->u.conv.id == b->u.conv.id;
    case REC_FEED:
        return a->u.feed.id == b->u.feed.id;
    case REC_HAVE:
        return a->u.have.device == b->u.have.device && a->u.have.feed == b->u.have.feed;
    case REC_FILE:
        return a->u.file.id == b->u.file.id;
    case REC_FILE_BITS:
        return a->u.file_bits.file == b->u.file_bits.file &&
               a->u.file_bits.block == b->u.file_bits.block;
    case REC_FILE_PEER:
        return a->u.file_peer.file == b->u.file_peer.file &&
               a->u.file_peer.contact == b->u.file_peer.contact;
    case REC_FILE_RULE:
        return a->u.file_rule.contact == b->u.file_rule.contact;
    case REC_ENTRY:
    case REC_FORK:
    case REC_MSG:
    case REC_CHANGE:
    case REC_STATE:
    case REC_EVENT:
        return false;
    }
    return false;
}

/* Whether old takes away all rows of a file's bits, r's among them: what was put before
 * it is gone, so r may not take the place of one of those. */
static bool clears(const struct rec *old, const struct rec *r)
{
    return old->kind == REC_FILE_BITS && old->del &&
           old->u.file_bits.block == UINT32_MAX &&
           old->u.file_bits.file == r->u.file_bits.file;
}

int txn_add(struct txn *t, struct rec *r)
{
    assert(r->kind >= REC_META && r->kind <= REC_EVENT);
    for (uint32_t i = t->last[r->kind]; i != 0; i = t->recs[i - 1].prev) {
        struct rec *old = &t->recs[i - 1];
        if (r->kind >= REC_ENTRY || clears(old, r)) {
            break; /* these never replace each other */
        }
        if (same_row(old, r)) {
            r->prev = old->prev;
            rec_release(old);
            *old = *r;
            sodium_memzero(r, sizeof *r);
            return 0;
        }
    }
    if (t->n == t->cap) {
        size_t cap = t->cap < TXN_CAP_MIN ? TXN_CAP_MIN : 2 * t->cap;
        struct rec *recs = cap < UINT32_MAX ? malloc(cap * sizeof *recs) : NULL;
        if (recs == NULL) {
            rec_release(r);
            return ERR_NOMEM;
        }
        if (t->n > 0) {
            memcpy(recs, t->recs, t->n * sizeof *recs);
            sodium_memzero(t->recs, t->n * sizeof *recs);
        }
        free(t->recs);
        t->recs = recs;
        t->cap = cap;
    }
    r->prev = t->last[r->kind];
    t->recs[t->n++] = *r;
    t->last[r->kind] = (uint32_t)t->n;
    sodium_memzero(r, sizeof *r);
    return 0;
}

size_t txn_bytes(const struct txn *t)
{
    size_t sum = sizeof *t;
    for (size_t i = 0; i < t->n; i++) {
        struct blob *blobs[REC_BLOBS_MAX];
        size_t n = rec_blobs(&t->recs[i], blobs);
        sum += sizeof t->recs[i];
        for (size_t j = 0; j < n; j++) {
            sum += blobs[j]->n;
        }
    }
    return sum;
}

void txn_release(struct txn *t)
{
    for (size_t i = 0; i < t->n; i++) {
        rec_release(&t->recs[i]);
    }
    free(t->recs);
    memset(t, 0, sizeof *t);
}
