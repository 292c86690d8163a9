/* The link's handshakes (docs/PROTOCOL.md, "Link records" and "New handshake in place").
 *
 *   record 1  tag 16 ‖ message 1 masked under k_mask[0]; payload: counter 8, zeros
 *   record 2  message 2, its ephemeral masked under k_mask[1]; payload: zeros, and in
 *             XXpsk0 and XX length 2 ‖ certificate before them
 *   record 3  message 3 (not in KKpsk0); payload: length 2 ‖ certificate ‖ zeros
 *
 *   call      tag 16 ‖ random bytes, of record 1's length, the other way and before it
 *
 * The tag is over the clear message 1, so a listener unmasks for each candidate and
 * compares before it does any DH. Prologue: each field behind its 2-byte length; the tag
 * is not in it (it would be circular), nor are addresses (NAT changes them).
 *
 *   links       "linnet", version, carrier kind; KKpsk0: dialler's root, listener's
 *               root; under a network's key: the network's name; after a call: its tag
 *   in place    "linnet rehandshake", hash of the handshake whose keys are replaced */
#include "link_priv.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/err.h"

enum {
    PROLOGUE_MAX = 160,
    CERT_LEN = 2, /* length before a certificate */
};

static const char prologue_link[] = "linnet";
static const char prologue_rehs[] = "linnet rehandshake";

bool link_counter_fresh(uint64_t counter, uint64_t seen, uint64_t wall_us)
{
    uint64_t ahead = wall_us > UINT64_MAX - (uint64_t)LINK_COUNTER_AHEAD_US
                         ? UINT64_MAX
                         : wall_us + (uint64_t)LINK_COUNTER_AHEAD_US;
    return counter > (seen < ahead ? seen : ahead);
}

/* What counter_seen becomes: it never stands above our clock plus a day, or a peer whose
 * clock once stood in 2099 would be stale for as long. */
static uint64_t counter_after(uint64_t counter, uint64_t seen, uint64_t wall_us)
{
    uint64_t newest = counter > seen ? counter : seen;
    return link_counter_fresh(newest, UINT64_MAX, wall_us)
               ? wall_us + (uint64_t)LINK_COUNTER_AHEAD_US
               : newest;
}

static bool all_zero(const uint8_t *p, size_t n)
{
    return n == 0 || sodium_is_zero(p, n);
}

/* Sessions */

static struct link_session *session_new(const struct link_candidate *c)
{
    struct link_session *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    s->kind = c->kind;
    s->ref = c->ref;
    memcpy(s->psk, c->keys.psk, sizeof s->psk);
    memcpy(s->k_mask2, c->keys.k_mask[1], sizeof s->k_mask2);
    memcpy(s->remote_static, c->remote_static, sizeof s->remote_static);
    memcpy(s->remote_root, c->remote_root, sizeof s->remote_root);
    memcpy(s->remote_cert_hash, c->cert_hash, sizeof s->remote_cert_hash);
    buf_init(&s->in, TRANSPORT_BODY_MAX + TRANSPORT_OVERHEAD);
    buf_init(&s->rx, LINK_RX_MAX);
    for (size_t i = 0; i < LINK_CLASSES; i++) {
        buf_init(&s->tx[i], LINK_QUEUE_MAX);
    }
    return s;
}

void link_session_wipe(struct link_session *s)
{
    if (s == NULL) {
        return;
    }
    sodium_memzero(s->psk, sizeof s->psk);
    sodium_memzero(s->k_mask2, sizeof s->k_mask2);
    sodium_memzero(s->rehs_msg, sizeof s->rehs_msg);
    sodium_memzero(s->rec, sizeof s->rec);
    sodium_memzero(s->out, sizeof s->out);
    s->out_len = s->rec_len = s->rehs_len = 0;
    noise_release(&s->hs);
    transport_release(&s->t);
    transport_release(&s->next);
    buf_release(&s->in);
    for (size_t i = 0; i < LINK_CLASSES; i++) {
        buf_release(&s->tx[i]);
    }
}

void link_session_free(struct link_session *s)
{
    if (s == NULL) {
        return;
    }
    link_session_wipe(s);
    buf_release(&s->rx);
    sodium_memzero(s, sizeof *s);
    free(s);
}

/* Noise */

static void put_field(struct wr *w, const void *p, size_t n)
{
    wr_u16(w, (uint16_t)n);
    wr_bytes(w, p, n);
}

static const char *pattern_of(enum link_kind kind)
{
    switch (kind) {
    case LINK_CONTACT:
        return "KKpsk0";
    case LINK_INVITE:
    case LINK_NETWORK:
        return "XXpsk0";
    case LINK_STRANGER:
        return "XX";
    case LINK_CALL:
        break;
    }
    return NULL;
}

/* Initialises s->hs with a fresh ephemeral. */
static int start(struct link *l, struct link_session *s, const struct wr *prologue)
{
    assert(wr_ok(prologue));
    bool kk = s->kind == LINK_CONTACT;
    uint8_t e[NOISE_KEY];
    env_random(l->self->env, e, sizeof e);
    struct noise_setup setup = {
        .pattern = noise_pattern_find(pattern_of(s->kind)),
        .initiator = l->dialler,
        .prologue = prologue->p,
        .prologue_len = prologue->len,
        .s = l->self->stat_sec,
        .rs = kk ? s->remote_static : NULL,
        .e = e,
        .psks = {s->psk},
        .n_psks = s->kind == LINK_STRANGER ? 0 : 1,
    };
    noise_release(&s->hs);
    int rc = noise_init(&s->hs, &setup);
    sodium_memzero(e, sizeof e);
    return rc;
}

static int start_link(struct link *l, struct link_session *s)
{
    uint8_t space[PROLOGUE_MAX];
    struct wr w = wr_init(space, sizeof space);
    uint8_t version = WIRE_VERSION, carrier = (uint8_t)l->carrier;
    put_field(&w, prologue_link, sizeof prologue_link - 1);
    put_field(&w, &version, 1);
    put_field(&w, &carrier, 1);
    if (s->kind == LINK_CONTACT) {
        put_field(&w, l->dialler ? l->self->root : s->remote_root, KEYS_ROOT);
        put_field(&w, l->dialler ? s->remote_root : l->self->root, KEYS_ROOT);
    } else if (s->kind == LINK_NETWORK) {
        put_field(&w, l->self->network, l->self->network_len);
    } else if (l->called) {
        put_field(&w, l->call, KEYS_TAG);
    }
    return start(l, s, &w);
}

static int start_rehs(struct link *l)
{
    uint8_t space[PROLOGUE_MAX];
    struct wr w = wr_init(space, sizeof space);
    put_field(&w, prologue_rehs, sizeof prologue_rehs - 1);
    put_field(&w, l->s->key_hash, NOISE_HASH);
    return start(l, l->s, &w);
}

/* The handshake is done: its keys become the transport's. */
static int finish(struct link_session *s)
{
    memcpy(s->hash, noise_hash(&s->hs), NOISE_HASH);
    memcpy(s->key_hash, s->hash, NOISE_HASH);
    int rc = transport_init(&s->t, &s->hs);
    noise_release(&s->hs);
    return rc;
}

/* Payloads: length ‖ certificate ‖ zeros */

static int put_cert(const struct link_self *self, uint8_t *payload, size_t len)
{
    struct wr w = wr_init(payload, len);
    put_field(&w, self->cert, self->cert_len);
    if (!wr_ok(&w)) {
        return ERR_LIMIT;
    }
    wr_zero(&w, len - w.len);
    return 0;
}

/* The certificate is good, its static is the handshake's, and it is not our own come
 * back. Kept in the session, on success only. */
static int take_cert(const struct link *l, const uint8_t *payload, size_t len)
{
    struct link_session *s = l->s;
    struct rd r = rd_init(payload, len);
    size_t cert_len = rd_u16(&r);
    const uint8_t *p = rd_bytes(&r, cert_len);
    if (p == NULL || cert_len > KEYS_CERT_MAX || !all_zero(r.p, r.n)) {
        return ERR_FORMAT;
    }
    struct cert cert;
    int rc = cert_open(p, cert_len, &cert);
    if (rc != 0) {
        return rc;
    }
    const uint8_t *rs = noise_remote_static(&s->hs);
    if (rs == NULL || !noise_key_canonical(rs) ||
        sodium_memcmp(cert.stat, rs, sizeof cert.stat) != 0 ||
        sodium_memcmp(rs, l->self->stat_pub, sizeof cert.stat) == 0) {
        return ERR_AUTH;
    }
    s->cert = cert;
    memcpy(s->cert_bytes, p, cert_len);
    s->cert_len = cert_len;
    memcpy(s->remote_static, rs, sizeof s->remote_static);
    return 0;
}

/* Records */

int link_hs_dial(struct link *l, const struct link_candidate *as, uint64_t counter)
{
    struct link_session *s = session_new(as);
    if (s == NULL) {
        return ERR_NOMEM;
    }
    int rc = start_link(l, s);
    if (rc != 0) {
        goto out;
    }
    uint8_t payload[LINK_MSG1];
    size_t n = LINK_MSG1 - noise_overhead(&s->hs), len = 0;
    struct wr w = wr_init(payload, n);
    wr_u64(&w, counter);
    wr_zero(&w, n - w.len);
    uint8_t *msg = s->out + KEYS_TAG;
    rc = noise_write(&s->hs, payload, n, msg, LINK_MSG1, &len);
    if (rc != 0) {
        goto out;
    }
    assert(len == LINK_MSG1);
    keys_tag(as->keys.k_tag, msg, len, s->tag);
    keys_mask(as->keys.k_mask[0], s->tag, msg, len);
    memcpy(s->out, s->tag, KEYS_TAG);
    s->out_len = WIRE_RECORD1;
    l->s = s;
    return 0;
out:
    link_session_free(s);
    return rc;
}

static bool tag_known(const struct link_candidate *c, const uint8_t tag[KEYS_TAG])
{
    for (unsigned i = 0; i < c->n_tags; i++) {
        if (sodium_memcmp(c->tags[i], tag, KEYS_TAG) == 0) {
            return true;
        }
    }
    return false;
}

int link_hs_call(struct link *l)
{
    const struct link_candidate *c = keyring_get(l->ring, LINK_INVITE, l->only_ref);
    if (c == NULL) {
        return ERR_NOTFOUND;
    }
    env_random(l->self->env, l->call + KEYS_TAG, LINK_MSG1);
    keys_tag_call(c->keys.k_tag, l->call + KEYS_TAG, LINK_MSG1, l->call);
    l->call_len = sizeof l->call;
    l->called = true;
    return 0;
}

/* The inviter calls: we dial over the carrier that it has made. A call that comes again
 * is somebody else's. */
static int take_call(struct link *l, struct link_candidate *c)
{
    struct link_candidate as = *c;
    as.kind = LINK_INVITE;
    int rc = keyring_tag(c, l->rec1);
    if (rc == 0) {
        memcpy(l->call, l->rec1, sizeof l->call);
        l->called = l->dialler = true;
        rc = link_hs_dial(l, &as, env_wall_us(l->self->env));
        l->dialler = rc == 0;
    }
    sodium_memzero(&as, sizeof as);
    return rc;
}

static int write_record2(struct link *l, struct link_session *s)
{
    uint8_t payload[WIRE_RECORD2] = {0};
    size_t n = WIRE_RECORD2 - noise_overhead(&s->hs), len = 0;
    if (s->kind != LINK_CONTACT) {
        int rc = put_cert(l->self, payload, n);
        if (rc != 0) {
            return rc;
        }
    }
    int rc = noise_write(&s->hs, payload, n, s->out, sizeof s->out, &len);
    if (rc != 0) {
        return rc;
    }
    assert(len == WIRE_RECORD2);
    keys_mask(s->k_mask2, s->tag, s->out, NOISE_KEY);
    s->out_len = len;
    return s->kind == LINK_CONTACT ? finish(s) : 0;
}

/* Reads message 1 and gives its counter. */
static int read_message1(struct link_session *s, const uint8_t msg[LINK_MSG1],
                         uint64_t *counter)
{
    uint8_t payload[LINK_MSG1];
    size_t len = 0;
    int rc = noise_read(&s->hs, msg, LINK_MSG1, payload, sizeof payload, &len);
    if (rc != 0) {
        return rc;
    }
    struct rd r = rd_init(payload, len);
    *counter = rd_u64(&r);
    return rd_ok(&r) && all_zero(r.p, r.n) ? 0 : ERR_FORMAT;
}

int link_hs_record1(struct link *l, uint64_t now_ms)
{
    uint8_t msg[LINK_MSG1];
    struct link_candidate *c =
        l->only_ref != 0 ? keyring_match_invite(l->ring, l->only_ref, l->rec1, msg)
                         : keyring_match(l->ring, &l->from, l->rec1, msg, now_ms);
    if (c == NULL || (c->kind == LINK_STRANGER && l->skip_strangers)) {
        return ERR_NOTFOUND;
    }
    if (tag_known(c, l->rec1)) {
        return ERR_STALE;
    }
    if (c->kind == LINK_CALL) {
        return take_call(l, c);
    }
    if (!noise_key_canonical(msg)) { /* its ephemeral: noise.c refuses statics only */
        return ERR_AUTH;
    }
    struct link_session *s = session_new(c);
    if (s == NULL) {
        return ERR_NOMEM;
    }
    memcpy(s->tag, l->rec1, KEYS_TAG);
    uint64_t counter = 0, wall_us = env_wall_us(l->self->env);
    int rc = start_link(l, s);
    if (rc == 0) {
        rc = read_message1(s, msg, &counter);
    }
    if (rc == 0 && c->kind == LINK_CONTACT &&
        !link_counter_fresh(counter, c->counter_seen, wall_us)) {
        rc = ERR_STALE;
    }
    if (rc == 0) {
        rc = write_record2(l, s);
    }
    if (rc == 0) {
        rc = keyring_tag(c, s->tag);
    }
    if (rc != 0) {
        link_session_free(s);
        return rc;
    }
    if (c->kind == LINK_CONTACT) {
        c->counter_seen = counter_after(counter, c->counter_seen, wall_us);
        s->counter = c->counter_seen;
        l->ev_counter = true;
    }
    l->s = s;
    return 0;
}

/* Whether the certificate of who answered is the one that the dialler means. */
static int check_answerer(struct link_session *s)
{
    uint8_t hash[KEYS_CERT_HASH];
    switch (s->kind) {
    case LINK_INVITE:
        return sodium_memcmp(s->cert.root, s->remote_root, KEYS_ROOT) == 0 ? 0 : ERR_AUTH;
    case LINK_STRANGER:
        cert_hash(s->cert_bytes, s->cert_len, hash);
        if (sodium_memcmp(hash, s->remote_cert_hash, sizeof hash) != 0) {
            return ERR_AUTH;
        }
        break;
    case LINK_NETWORK: /* any member */
        break;
    case LINK_CONTACT:
    case LINK_CALL:
        return ERR_STATE;
    }
    memcpy(s->remote_root, s->cert.root, KEYS_ROOT);
    return 0;
}

int link_hs_record2(struct link *l)
{
    struct link_session *s = l->s;
    uint8_t payload[WIRE_RECORD2];
    size_t len = 0;
    keys_mask(s->k_mask2, s->tag, s->rec, NOISE_KEY);
    if (!noise_key_canonical(s->rec)) {
        return ERR_AUTH;
    }
    int rc = noise_read(&s->hs, s->rec, WIRE_RECORD2, payload, sizeof payload, &len);
    if (rc != 0) {
        return rc;
    }
    if (s->kind == LINK_CONTACT) {
        return all_zero(payload, len) ? finish(s) : ERR_FORMAT;
    }
    /* Who answered is checked before message 3 tells who asks. */
    rc = take_cert(l, payload, len);
    if (rc == 0) {
        rc = check_answerer(s);
    }
    if (rc != 0) {
        return rc;
    }
    size_t n = WIRE_RECORD3 - noise_overhead(&s->hs), out_len = 0;
    uint8_t ours[WIRE_RECORD3];
    rc = put_cert(l->self, ours, n);
    if (rc == 0) {
        rc = noise_write(&s->hs, ours, n, s->out, sizeof s->out, &out_len);
    }
    if (rc == 0) {
        assert(out_len == WIRE_RECORD3);
        rc = finish(s);
    }
    s->out_len = rc == 0 ? out_len : 0;
    return rc;
}

int link_hs_record3(struct link *l)
{
    struct link_session *s = l->s;
    uint8_t payload[WIRE_RECORD3];
    size_t len = 0;
    int rc = noise_read(&s->hs, s->rec, WIRE_RECORD3, payload, sizeof payload, &len);
    if (rc == 0) {
        rc = take_cert(l, payload, len);
    }
    if (rc == 0) {
        memcpy(s->remote_root, s->cert.root, KEYS_ROOT);
        rc = finish(s);
    }
    return rc;
}

/* The new handshake in place */

/* The new keys are there, and our SWITCH can follow. */
static int rehs_ready(struct link_session *s)
{
    memcpy(s->next_hash, noise_hash(&s->hs), NOISE_HASH);
    int rc = transport_init(&s->next, &s->hs);
    noise_release(&s->hs);
    if (rc == 0) {
        s->next_ready = true;
        s->switch_due = true;
    }
    return rc;
}

static int rehs_write(struct link_session *s)
{
    static const uint8_t none[1];
    size_t len = 0;
    int rc = noise_write(&s->hs, none, 0, s->rehs_msg, sizeof s->rehs_msg, &len);
    if (rc == 0) {
        assert(len == sizeof s->rehs_msg);
        s->rehs_len = len;
    }
    return rc;
}

int link_rehs_begin(struct link *l)
{
    int rc = start_rehs(l);
    if (rc == 0) {
        rc = rehs_write(l->s);
    }
    if (rc == 0) {
        l->s->rehs_begun = true;
    }
    return rc;
}

int link_rehs_recv(struct link *l, const uint8_t *msg, size_t len)
{
    struct link_session *s = l->s;
    if (s->kind != LINK_CONTACT || s->next_ready || l->dialler != s->rehs_begun ||
        len != LINK_REHS_MSG) {
        return ERR_FORMAT;
    }
    uint8_t none[1];
    size_t none_len = 0;
    int rc = l->dialler ? 0 : start_rehs(l);
    if (rc == 0) {
        rc = noise_read(&s->hs, msg, len, none, sizeof none, &none_len);
    }
    if (rc == 0 && !l->dialler) {
        rc = rehs_write(s);
    }
    return rc == 0 ? rehs_ready(s) : rc;
}

/* Both directions are under the new keys: nothing of the old remains. */
static bool rehs_done(struct link_session *s)
{
    if (!s->tx_switched || !s->rx_switched) {
        return false;
    }
    memcpy(s->key_hash, s->next_hash, NOISE_HASH);
    transport_release(&s->next);
    s->next_ready = s->rehs_begun = false;
    s->tx_switched = s->rx_switched = false;
    return true;
}

bool link_rehs_switch_rx(struct link_session *s)
{
    s->t.rx = s->next.rx;
    s->t.rx_frames = 0;
    sodium_memzero(&s->next.rx, sizeof s->next.rx);
    s->rx_switched = true;
    return rehs_done(s);
}

bool link_rehs_switch_tx(struct link_session *s)
{
    s->t.tx = s->next.tx;
    s->t.tx_frames = 0;
    sodium_memzero(&s->next.tx, sizeof s->next.tx);
    s->switch_due = false;
    s->tx_switched = true;
    return rehs_done(s);
}
