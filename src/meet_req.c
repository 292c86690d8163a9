/* Requests to the DHT: made, handed out, answered. */
#include <assert.h>
#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "meet_priv.h"

struct req *meet_req(struct meet *m, enum req_kind kind, enum meet_out_kind out,
                     struct party *p, uint64_t now_ms)
{
    struct req *r = m->reqs;
    while (r->out.id != 0) {
        r++;
        assert(r < m->reqs + MEET_REQS_MAX);
    }
    m->last_id = m->last_id == UINT32_MAX ? 1 : m->last_id + 1;
    memset(&r->out, 0, sizeof r->out);
    r->out.kind = out;
    r->out.id = m->last_id;
    r->kind = kind;
    r->sent = false;
    r->party = p;
    meet_timer(&m->asked, &r->timer, now_ms + MEET_ANSWER_MS);
    return r;
}

struct req *meet_req_get(struct meet *m, uint32_t id)
{
    for (size_t i = 0; id != 0 && i < MEET_REQS_MAX; i++) {
        if (m->reqs[i].out.id == id) {
            return &m->reqs[i];
        }
    }
    return NULL;
}

static void drop_poll(struct meet *m, struct req *r)
{
    if (r->party != NULL) {
        r->party->slot_req = 0;
        m->n_invite_polls--;
    } else {
        m->slots[r->slot].req = 0;
    }
}

void meet_req_drop(struct meet *m, struct req *r)
{
    switch (r->kind) {
    case REQ_PUB:
    case REQ_LOOK:
        (r->party != NULL ? &r->party->pub : &m->pub)->req = 0;
        m->n_pubs--;
        break;
    case REQ_FIND:
        r->party->find.req = 0;
        m->n_finds--;
        break;
    case REQ_KNOCK:
        m->n_knocks--;
        break;
    case REQ_POLL:
        drop_poll(m, r);
        break;
    }
    r->out.id = 0;
    r->party = NULL;
    sodium_memzero(r->seal, sizeof r->seal);
    meet_timer(&m->asked, &r->timer, MEET_NEVER);
}

int meet_req_put(struct meet *m, struct req *r, const struct blind_key *k, uint64_t seq,
                 const struct wire_where *where)
{
    uint8_t content[WIRE_WHERE_MAX], value[BLIND_VALUE], nonce[BLIND_NONCE];
    uint8_t text[WIRE_ITEM_SIGNED_MAX], fresh[BLIND_RANDOM];
    struct wr w = wr_init(content, sizeof content);
    wire_where_put(&w, where);
    env_random(m->env, nonce, sizeof nonce);
    env_random(m->env, fresh, sizeof fresh);
    int err = wr_ok(&w) ? blind_seal(r->seal, k->pub, seq, nonce, content, w.len, value)
                        : ERR_LIMIT;
    sodium_memzero(content, sizeof content);
    if (err != 0) {
        return err;
    }
    w = wr_init(r->out.v, sizeof r->out.v);
    wire_item_put(&w, value);
    struct wr s = wr_init(text, sizeof text);
    wire_item_signed(&s, seq, r->out.v, w.len);
    if (!wr_ok(&w) || !wr_ok(&s)) {
        return ERR_LIMIT;
    }
    memcpy(r->out.pub, k->pub, sizeof r->out.pub);
    r->out.seq = seq;
    err = blind_sign(k, text, s.len, fresh, r->out.sig);
    sodium_memzero(fresh, sizeof fresh);
    return err;
}

bool meet_next_out(struct meet *m, struct meet_out *out)
{
    struct req *first = NULL;
    for (size_t i = 0; i < MEET_REQS_MAX; i++) {
        struct req *r = &m->reqs[i];
        if (r->out.id != 0 && !r->sent &&
            (first == NULL || (int32_t)(r->out.id - first->out.id) < 0)) {
            first = r;
        }
    }
    if (first == NULL) {
        return false;
    }
    first->sent = true;
    *out = first->out;
    m->stats.puts += out->kind == MEET_PUT;
    m->stats.gets += out->kind == MEET_GET || out->kind == MEET_MEND;
    m->stats.polls += out->kind == MEET_POLL;
    return true;
}

/* Signature first: a seq that is not signed means nothing. */
static int judge(const struct req *r, uint64_t seq, const uint8_t *v, size_t len,
                 const uint8_t sig[BLIND_SIG], const uint8_t **value)
{
    uint8_t text[WIRE_ITEM_SIGNED_MAX];
    struct wr w = wr_init(text, sizeof text);
    if (len > WIRE_ITEM_VALUE) {
        return ERR_FORMAT;
    }
    wire_item_signed(&w, seq, v, len);
    if (!wr_ok(&w)) {
        return ERR_FORMAT;
    }
    if (blind_verify(r->out.pub, text, w.len, sig) != 0) {
        return ERR_AUTH;
    }
    *value = wire_item_get(v, len);
    return *value != NULL ? 0 : ERR_FORMAT;
}

static int find_value(struct meet *m, struct req *r, uint64_t seq, const uint8_t *value,
                      uint64_t now_ms)
{
    uint8_t content[BLIND_CONTENT_MAX];
    struct wire_where where;
    size_t len;
    int err = blind_open(r->seal, r->out.pub, seq, value, BLIND_VALUE, content, &len);
    if (err == 0 && !wire_where_get(content, len, &where)) {
        err = ERR_FORMAT;
    }
    sodium_memzero(content, sizeof content);
    if (err == 0) {
        err = meet_find_value(m, r, seq, &where, now_ms);
        sodium_memzero(&where, sizeof where);
    }
    return err;
}

int meet_value(struct meet *m, uint32_t id, uint64_t seq, const uint8_t *v, size_t len,
               const uint8_t sig[BLIND_SIG], uint64_t now_ms)
{
    struct req *r = meet_req_get(m, id);
    const uint8_t *value;
    if (r == NULL || r->out.kind == MEET_PUT) {
        return ERR_NOTFOUND;
    }
    int err = judge(r, seq, v, len, sig, &value);
    if (err == 0 && r->kind == REQ_FIND) {
        err = find_value(m, r, seq, value, now_ms);
    } else if (err == 0 && r->kind == REQ_LOOK) {
        err = meet_look_value(r, seq);
    } else if (err == 0) {
        err = meet_poll_value(m, r, seq, value, now_ms);
    }
    m->stats.refused += err == ERR_AUTH || err == ERR_FORMAT;
    return err;
}

void meet_req_end(struct meet *m, struct req *r, enum meet_end end, uint64_t newest,
                  uint64_t now_ms)
{
    switch (r->kind) {
    case REQ_PUB:
        meet_pub_done(m, r, end, newest, now_ms);
        break;
    case REQ_LOOK:
        meet_look_done(m, r, end, now_ms);
        break;
    case REQ_FIND:
        meet_find_done(m, r, end, now_ms);
        break;
    case REQ_KNOCK:
        meet_knock_done(m, r, end, newest, now_ms);
        break;
    case REQ_POLL:
        meet_req_drop(m, r);
        break;
    }
}

void meet_done(struct meet *m, uint32_t id, enum meet_end end, uint64_t rival_seq,
               uint64_t now_ms)
{
    struct req *r = meet_req_get(m, id);
    if (r != NULL) {
        meet_req_end(m, r, end, rival_seq, now_ms);
    }
}
