/* Pairing links: PAIR, PAIRED, and what they store (contact_priv.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/err.h"
#include "contact_priv.h"
#include "crypto/noise.h"

enum { PAIR_FRAME_MAX = 1024 };

static struct pairing *pairing_of(const struct contacts *c, uint32_t conn)
{
    struct pairing *p = c->pairings;
    while (p != NULL && p->conn != conn) {
        p = p->next;
    }
    return p;
}

static void pairing_free(struct contacts *c, struct pairing *p)
{
    struct pairing **at = &c->pairings;
    while (*at != p) {
        at = &(*at)->next;
    }
    *at = p->next;
    c->n_pairings--;
    sodium_memzero(p, sizeof *p);
    free(p);
}

void contacts_pairings_free(struct contacts *c)
{
    while (c->pairings != NULL) {
        pairing_free(c, c->pairings);
    }
}

static void ask_close(struct contacts *c, uint32_t conn, unsigned code)
{
    contacts_event_add(c, (struct contacts_event){CONTACTS_EV_CLOSE, 0, 0, conn, code});
}

/* Ends a pairing and its link. */
static void pairing_end(struct contacts *c, struct pairing *p, unsigned code)
{
    ask_close(c, p->conn, code);
    pairing_free(c, p);
}

void contacts_pairings_drop_root(struct contacts *c, const uint8_t root[WIRE_ID])
{
    struct pairing *next;
    for (struct pairing *p = c->pairings; p != NULL; p = next) {
        next = p->next;
        if (memcmp(p->root, root, WIRE_ID) == 0) {
            pairing_end(c, p, CLOSE_NORMAL);
        }
    }
}

void contacts_pairings_tick(struct contacts *c, uint64_t now_ms)
{
    struct pairing *next;
    for (struct pairing *p = c->pairings; p != NULL; p = next) {
        next = p->next;
        if (p->until_ms == 0) {
            p->until_ms = now_ms + PAIRING_MS;
        } else if (now_ms >= p->until_ms) {
            pairing_end(c, p, CLOSE_BUSY);
        }
    }
}

uint64_t contacts_pairings_deadline(const struct contacts *c)
{
    uint64_t at = UINT64_MAX;
    for (const struct pairing *p = c->pairings; p != NULL; p = p->next) {
        at = p->until_ms < at ? p->until_ms : at;
    }
    return at;
}

void contacts_pair_down(struct contacts *c, uint32_t conn)
{
    struct pairing *p = pairing_of(c, conn);
    if (p != NULL) {
        pairing_free(c, p);
    }
}

bool contacts_code_free(const struct contacts *c, uint32_t slot)
{
    const struct pairing *p = c->pairings;
    while (p != NULL && (p->via != VIA_INVITE || !p->dialler || p->ref != slot)) {
        p = p->next;
    }
    return p == NULL && contacts_adding_row(c, slot) != NULL;
}

int contacts_linked(struct contacts *c, struct txn *t, uint32_t id)
{
    const struct contact *k = contacts_row(c, id);
    for (size_t i = c->n_addings; k != NULL && i-- > 0;) {
        const struct adding *a = c->addings[i];
        uint32_t slot = a->pub.slot;
        if (!a->stored || memcmp(a->pub.code.root, k->r.root, WIRE_ID) != 0 ||
            !contacts_code_free(c, slot)) {
            continue;
        }
        int err = contacts_room(c);
        err = err != 0 ? err : contacts_adding_drop(c, t, slot);
        if (err != 0) {
            return err;
        }
        contacts_event_add(c,
                           (struct contacts_event){CONTACTS_EV_PAIRED, id, slot, 0, 0});
    }
    return 0;
}

/* ---- the network ---- */

void contacts_set_network(struct contacts *c, const char *name)
{
    (void)snprintf(c->network, sizeof c->network, "%s", name);
}

size_t contacts_of_network(const struct contacts *c, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++) {
        n +=
            (c->v[i]->r.flags & (CONTACT_NETWORK | CONTACT_REMOVED)) == CONTACT_NETWORK &&
            strcmp(c->v[i]->r.network, name) == 0;
    }
    return n;
}

/* ---- up ---- */

/* Whether the new link goes on beside what is under way with the same account; ends what
 * has to give way. */
static bool goes_first(struct contacts *c, const uint8_t root[WIRE_ID], bool dialler)
{
    struct pairing *p = c->pairings;
    while (p != NULL && memcmp(p->root, root, WIRE_ID) != 0) {
        p = p->next;
    }
    if (p == NULL) {
        return true;
    }
    bool we_are_smaller = memcmp(c->self.root, root, WIRE_ID) < 0;
    if (p->dialler != dialler && dialler != we_are_smaller && !p->got_paired) {
        return false;
    }
    pairing_end(c, p, p->got_paired ? CLOSE_NORMAL : CLOSE_REPLACED);
    return true;
}

/* In a network: who is new, and a contact that the network made (one side may have lost
 * it in a crash). What the user took away or made otherwise stays. */
static bool may_pair_network(const struct contacts *c, const uint8_t root[WIRE_ID],
                             unsigned *code)
{
    const struct contact *k = contacts_row_by_root(c, root);
    uint32_t flags = k != NULL ? k->r.flags : CONTACT_NETWORK;
    bool away = (flags & CONTACT_REMOVED) != 0 || contacts_root_blocked(c, root);
    *code = away ? CLOSE_REVOKED : CLOSE_NORMAL;
    return c->network[0] != 0 && !away && (flags & CONTACT_NETWORK) != 0;
}

/* Somebody whom we may ask: no contact yet, or one that never answered. */
static bool may_ask(const struct contacts *c, const struct pairing *p)
{
    const struct contact *k = contacts_row_by_root(c, p->root);
    return contacts_ask_row(c, p->ref) != NULL && !contacts_root_blocked(c, p->root) &&
           (k == NULL || (k->r.flags & (CONTACT_REMOVED | CONTACT_ASKED)) != 0 ||
            contacts_unmet(k));
}

/* Whether this link may pair; if not, the code to close it with. */
static bool may_pair(const struct contacts *c, const struct pairing *p, unsigned *code)
{
    if (p->via == VIA_STRANGER) {
        *code = p->dialler ? CLOSE_NORMAL : CLOSE_BUSY;
        return p->dialler ? may_ask(c, p)
                          : !contacts_root_blocked(c, p->root) &&
                                (contacts_wanted(c, p) || contacts_request_room(c, p));
    }
    if (p->via == VIA_NETWORK) {
        return may_pair_network(c, p->root, code);
    }
    if (p->dialler) {
        *code = CLOSE_NORMAL;
        return contacts_adding_row(c, p->ref) != NULL;
    }
    *code = contacts_invite_judge(c, p->ref, p->root, env_wall_ms(c->self.env) / 1000);
    return *code == 0;
}

static int send_pair(struct contacts *c, struct pairing *p)
{
    struct wire_pair v = {.device = *c->own};
    if (p->via == VIA_STRANGER) { /* not before both have accepted */
        v.device.has_presence = false;
        sodium_memzero(v.device.presence_p, sizeof v.device.presence_p);
        sodium_memzero(v.device.presence_a, sizeof v.device.presence_a);
    }
    env_random(c->self.env, p->dh_sec, sizeof p->dh_sec);
    env_random(c->self.env, p->nonce, sizeof p->nonce);
    keys_public(p->dh_sec, v.dh);
    memcpy(v.nonce, p->nonce, sizeof v.nonce);
    uint8_t *bytes = malloc(PAIR_FRAME_MAX);
    int err = ERR_NOMEM;
    if (bytes != NULL) {
        struct wr w = wr_init(bytes, PAIR_FRAME_MAX);
        wire_pair_put(&w, &v);
        err = wr_ok(&w) ? 0 : ERR_LIMIT;
        if (err == 0) {
            contacts_out_add(c, p->conn, FRAME_PAIR, bytes, w.len);
            bytes = NULL;
        }
    }
    free(bytes);
    sodium_memzero(&v, sizeof v);
    return err;
}

/* The line that goes with it, and where we listen. */
static int send_request(struct contacts *c, const struct pairing *p)
{
    const struct contacts_ask *a = contacts_ask_row(c, p->ref);
    struct wire_request v = {.port = p->addr.port};
    uint8_t *bytes = a == NULL ? NULL : malloc(PAIR_FRAME_MAX);
    if (bytes == NULL) {
        return a == NULL ? ERR_STATE : ERR_NOMEM;
    }
    memcpy(v.line, a->line, sizeof v.line);
    struct wr w = wr_init(bytes, PAIR_FRAME_MAX);
    wire_request_put(&w, &v);
    if (!wr_ok(&w)) {
        free(bytes);
        return ERR_LIMIT;
    }
    contacts_out_add(c, p->conn, FRAME_REQUEST, bytes, w.len);
    return 0;
}

/* Certificate and root that the link was proved for. */
static int check_peer(const struct contacts *c, const struct pairing *p,
                      const struct cert *cert, size_t cert_len)
{
    const struct adding *a =
        p->dialler && p->via == VIA_INVITE ? contacts_adding_row(c, p->ref) : NULL;
    if (cert_len > KEYS_CERT_MAX) {
        return ERR_FORMAT;
    }
    bool wrong = a != NULL && memcmp(a->pub.code.root, cert->root, WIRE_ID) != 0;
    bool own = memcmp(c->self.root, cert->root, WIRE_ID) == 0;
    return wrong || own || !noise_key_canonical(cert->stat) ? ERR_AUTH : 0;
}

/* A pairing of the kind that proto says begins, or its link is to be closed. let says
 * whether it may, where that was found out already. */
static int begin(struct contacts *c, const struct pairing *proto, bool let,
                 const struct cert *cert, const uint8_t *cert_bytes, size_t cert_len,
                 const uint8_t handshake_hash[64])
{
    unsigned code;
    if (!may_pair(c, proto, &code)) {
        if (proto->via != VIA_STRANGER) {
            ask_close(c, proto->conn, code);
        }
        return proto->via == VIA_STRANGER ? ERR_REFUSED : 0;
    }
    if (!let || !goes_first(c, cert->root, proto->dialler) ||
        c->n_pairings == PAIRINGS_MAX) {
        if (proto->via != VIA_STRANGER) {
            ask_close(c, proto->conn, CLOSE_BUSY);
        }
        return proto->via == VIA_STRANGER ? ERR_REFUSED : 0;
    }
    struct pairing *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return ERR_NOMEM;
    }
    *p = *proto;
    memcpy(p->cert, cert_bytes, cert_len);
    p->cert_len = cert_len;
    memcpy(p->hash, handshake_hash, sizeof p->hash);
    p->next = c->pairings;
    c->pairings = p;
    c->n_pairings++;
    int err = p->via == VIA_STRANGER && p->dialler ? send_request(c, p) : 0;
    if (err == 0) {
        err = send_pair(c, p);
    }
    if (err != 0) {
        pairing_free(c, p);
    }
    return err;
}

/* Who is at the other end, and whether a pairing can begin at all. */
static int take_peer(struct contacts *c, struct pairing *proto, const struct cert *cert,
                     size_t cert_len)
{
    int err = check_peer(c, proto, cert, cert_len);
    if (err != 0) {
        return err;
    }
    if (c->own == NULL || pairing_of(c, proto->conn) != NULL) {
        return ERR_STATE;
    }
    memcpy(proto->root, cert->root, WIRE_ID);
    memcpy(proto->device, cert->device, WIRE_ID);
    memcpy(proto->stat, cert->stat, sizeof proto->stat);
    return contacts_room(c);
}

int contacts_pair_up(struct contacts *c, uint32_t conn, bool dialler, uint32_t ref,
                     const struct cert *cert, const uint8_t *cert_bytes, size_t cert_len,
                     const uint8_t handshake_hash[64])
{
    struct pairing proto = {
        .conn = conn, .dialler = dialler, .via = VIA_INVITE, .ref = ref};
    int err = take_peer(c, &proto, cert, cert_len);
    return err != 0 ? err
                    : begin(c, &proto, true, cert, cert_bytes, cert_len, handshake_hash);
}

int contacts_pair_up_network(struct contacts *c, uint32_t conn, bool dialler,
                             const struct cert *cert, const uint8_t *cert_bytes,
                             size_t cert_len, const uint8_t handshake_hash[64])
{
    struct pairing proto = {.conn = conn, .dialler = dialler, .via = VIA_NETWORK};
    int err = take_peer(c, &proto, cert, cert_len);
    return err != 0 ? err
                    : begin(c, &proto, true, cert, cert_bytes, cert_len, handshake_hash);
}

int contacts_stranger_up(struct contacts *c, const struct contacts_stranger *s,
                         uint64_t now_ms)
{
    struct pairing proto = {.conn = s->conn,
                            .dialler = s->dialler,
                            .via = VIA_STRANGER,
                            .ref = s->slot,
                            .addr = *s->addr};
    int err = take_peer(c, &proto, s->cert, s->cert_len);
    if (err != 0) {
        return err;
    }
    proto.addr.port = s->dialler ? s->port : 0; /* theirs comes with their request */
    memcpy(proto.cert, s->cert_bytes, s->cert_len);
    proto.cert_len = s->cert_len;
    bool let = s->dialler || contacts_request_let(c, &proto, now_ms);
    return begin(c, &proto, let, s->cert, s->cert_bytes, s->cert_len, s->hash);
}

/* ---- stored ---- */

/* The name that the user asked for; who has it gets another one and is marked. */
static int name_as(struct contacts *c, struct txn *t, struct contact *k, const char *as)
{
    struct contact *old = contacts_named(c, as, k);
    memset(k->r.name, 0, sizeof k->r.name);
    memcpy(k->r.name, as, strlen(as));
    k->r.flags &= ~(uint32_t)CONTACT_CONFLICT;
    if (old == NULL) {
        return 0;
    }
    contacts_unique(c, old, as, 2, old->r.name);
    old->r.flags |= CONTACT_CONFLICT;
    contacts_event_add(c,
                       (struct contacts_event){CONTACTS_EV_CHANGED, old->r.id, 0, 0, 0});
    int err = contacts_put(c, t, old);
    return err != 0 ? err
                    : contacts_tell(t, EVENT_CONTACT_CONFLICT, old->r.id, k->r.id,
                                    old->r.name);
}

/* Whether the contact goes by that name, or (alike) by one that a reader takes for it. */
static bool goes_by(const struct contact *o, const char *name, const char *skeleton)
{
    char other[WIRE_SKELETON_MAX + 1];
    if (strcmp(o->r.name, name) == 0 || strcmp(o->r.announced, name) == 0) {
        return true;
    }
    return skeleton[0] != '\0' &&
           ((wire_name_skeleton(o->r.name, other) && strcmp(other, skeleton) == 0) ||
            (wire_name_skeleton(o->r.announced, other) && strcmp(other, skeleton) == 0));
}

/* A free name, made from what the contact calls itself. When somebody else is known by
 * that, or (alike) by one that looks the same, both are marked. */
static int name_announced(struct contacts *c, struct txn *t, struct contact *k,
                          bool alike)
{
    char skeleton[WIRE_SKELETON_MAX + 1] = "";
    char base[WIRE_NAME_MAX + 1], named[WIRE_NAME_MAX + 1];
    contacts_base_name(&k->r, base);
    /* One that comes back is known to us by the name it had. */
    memcpy(named, k->r.name[0] != 0 ? k->r.name : base, sizeof named);
    contacts_unique(c, k, named, 1, named);
    if (alike && !wire_name_skeleton(base, skeleton)) {
        skeleton[0] = '\0';
    }
    bool conflict = false;
    int err = 0;
    for (size_t i = 0; i < c->n && err == 0; i++) {
        struct contact *o = c->v[i];
        if (o == k || (o->r.flags & CONTACT_REMOVED) != 0 ||
            !goes_by(o, base, skeleton)) {
            continue;
        }
        conflict = true;
        o->r.flags |= CONTACT_CONFLICT;
        err = contacts_put(c, t, o);
        if (err == 0) {
            err = contacts_tell(t, EVENT_CONTACT_CONFLICT, o->r.id, k->r.id, o->r.name);
        }
        contacts_event_add(
            c, (struct contacts_event){CONTACTS_EV_CHANGED, o->r.id, 0, 0, 0});
    }
    memcpy(k->r.name, named, sizeof k->r.name);
    if (conflict && err == 0) {
        k->r.flags |= CONTACT_CONFLICT;
        err = contacts_tell(t, EVENT_CONTACT_CONFLICT, k->r.id, 0, k->r.name);
    }
    return err;
}

int contacts_store(struct contacts *c, struct txn *t, const struct newcomer *n,
                   struct contact **out)
{
    struct contact *k = contacts_row_by_root(c, n->root);
    enum event_what what = EVENT_CONTACT_ADDED;
    int err = k == NULL ? contacts_row_add(c, n->root, &k) : 0;
    if (err != 0) {
        return err;
    }
    bool known = k->r.name[0] != 0 && (k->r.flags & CONTACT_REMOVED) == 0;
    memcpy(k->r.pair, n->secret, sizeof k->r.pair);
    k->r.flags &= ~(uint32_t)(CONTACT_REMOVED | CONTACT_ASKED);
    k->r.flags |= n->asked ? CONTACT_ASKED : 0;
    if (n->network && !known) {
        k->r.flags |= CONTACT_NETWORK;
        memcpy(k->r.network, c->network, sizeof k->r.network);
    }
    (void)contacts_announce(c, k, n->dict->name);
    if (n->as[0] != 0) {
        err = name_as(c, t, k, n->as);
    } else if (!known) {
        err = name_announced(c, t, k, n->stranger);
    }
    if (known) {
        what = EVENT_CONTACT_REPAIRED;
    }
    if (err == 0) {
        err = contacts_put(c, t, k);
    }
    if (err == 0) {
        err = contacts_device_put(c, t, k, n->device, n->stat, n->dict, true);
    }
    if (err == 0) {
        err = contacts_tell(t, what, k->r.id, 0, k->r.name);
    }
    *out = k;
    return err;
}

bool contacts_has_room(const struct contacts *c, const uint8_t root[WIRE_ID],
                       const uint8_t device[WIRE_ID])
{
    const struct contact *k = contacts_row_by_root(c, root);
    if (k == NULL) {
        return c->n < CONTACT_ROWS_MAX && !contacts_full(c);
    }
    bool back = (k->r.flags & CONTACT_REMOVED) != 0;
    return contacts_device_fits(k, device) && !(back && contacts_full(c));
}

/* The ask that this pairing answers: our own, or one that crossed theirs. 0: none. */
static uint32_t ask_slot(const struct contacts *c, const struct pairing *p)
{
    const struct contacts_ask *a;
    size_t pos = 0;
    uint8_t hash[32];
    if (p->via != VIA_STRANGER || p->dialler) {
        return p->via == VIA_STRANGER ? p->ref : 0;
    }
    cert_hash(p->cert, p->cert_len, hash);
    while ((a = contacts_ask_next(c, &pos)) != NULL) {
        if (memcmp(a->cert, hash, sizeof hash) == 0) {
            return a->slot;
        }
    }
    return 0;
}

/* What is stored: a contact, or (in *k NULL) a request that waits for our user. */
static int store_peer(struct contacts *c, struct txn *t, const struct pairing *p,
                      const struct wire_device *d, const uint8_t secret[32],
                      struct contact **k)
{
    struct adding *a =
        p->dialler && p->via == VIA_INVITE ? contacts_adding_row(c, p->ref) : NULL;
    bool known = contacts_row_by_root(c, p->root) != NULL;
    const struct contacts_ask *ask = contacts_ask_row(c, ask_slot(c, p));
    if (p->via == VIA_STRANGER && !p->dialler && !contacts_wanted(c, p)) {
        return contacts_request_put(c, t, p, d, secret);
    }
    char as[WIRE_NAME_MAX + 1] = "";
    if (a != NULL || ask != NULL) {
        memcpy(as, a != NULL ? a->pub.as : ask->as, sizeof as);
    }
    struct newcomer n = {.root = p->root,
                         .device = p->device,
                         .stat = p->stat,
                         .secret = secret,
                         .as = as,
                         .dict = d,
                         .network = p->via == VIA_NETWORK,
                         .asked = p->via == VIA_STRANGER && p->dialler,
                         .stranger = p->via == VIA_STRANGER};
    int err = contacts_store(c, t, &n, k);
    if (a != NULL) {
        a->stored = err == 0 && !known;
    }
    return err != 0 ? err : contacts_request_drop_root(c, t, p->root);
}

static int store_pairing(struct contacts *c, struct txn *t, struct pairing *p,
                         const struct wire_device *d, const uint8_t secret[32])
{
    uint8_t *bytes = malloc(PAIR_FRAME_MAX);
    if (bytes == NULL) {
        return ERR_NOMEM;
    }
    struct wr w = wr_init(bytes, PAIR_FRAME_MAX);
    wire_paired_put(&w);
    struct contact *k = NULL;
    int err = store_peer(c, t, p, d, secret, &k);
    if (err == 0 && !p->dialler && p->via == VIA_INVITE) {
        err = contacts_invite_burn(c, t, p->ref, p->root, k->r.id, k->r.name);
    }
    if (err != 0) {
        free(bytes);
        return err;
    }
    p->got_pair = true;
    contacts_out_add(c, p->conn, FRAME_PAIRED, bytes, w.len);
    if (k == NULL) {
        return 0;
    }
    p->contact = k->r.id;
    uint32_t slot = p->dialler ? p->ref : 0;
    contacts_event_add(
        c, (struct contacts_event){CONTACTS_EV_CHANGED, k->r.id, slot, p->conn, 0});
    contacts_event_add(
        c, (struct contacts_event){CONTACTS_EV_STORED, k->r.id, slot, p->conn, 0});
    if (p->via == VIA_STRANGER &&
        !p->dialler) { /* asks that crossed: both have accepted */
        slot = ask_slot(c, p);
        contacts_event_add(
            c, (struct contacts_event){CONTACTS_EV_PAIRED, k->r.id, slot, p->conn, 0});
        contacts_ask_drop(c, slot);
    }
    return 0;
}

/* A stranger's line, and where they listen; before PAIR. */
static int got_request(struct pairing *p, const uint8_t *payload, size_t len)
{
    struct wire_request v;
    if (p->via != VIA_STRANGER || p->dialler || p->got_request || p->got_pair) {
        return ERR_STATE;
    }
    if (!wire_request_get(payload, len, &v)) {
        return ERR_FORMAT;
    }
    p->got_request = true;
    p->addr.port = v.port;
    memcpy(p->line, v.line, sizeof p->line);
    return 0;
}

static int got_pair(struct contacts *c, struct txn *t, struct pairing *p,
                    const uint8_t *payload, size_t len)
{
    struct wire_pair v;
    uint8_t secret[KEYS_PAIR_SECRET];
    if (p->got_pair || (p->via == VIA_STRANGER && !p->dialler && !p->got_request)) {
        return ERR_STATE;
    }
    int err = wire_pair_get(payload, len, &v) ? 0 : ERR_FORMAT;
    /* The certificate that the handshake proved, byte for byte. */
    if (err == 0 && (v.device.cert_len != p->cert_len ||
                     memcmp(v.device.cert, p->cert, p->cert_len) != 0 ||
                     !noise_key_canonical(v.dh) || !noise_key_canonical(v.device.box))) {
        err = ERR_AUTH;
    }
    if (err == 0) {
        const uint8_t *n_a = p->dialler ? p->nonce : v.nonce;
        const uint8_t *n_b = p->dialler ? v.nonce : p->nonce;
        err = keys_pair_root(p->hash, p->dh_sec, v.dh, n_a, n_b, secret);
    }
    if (err == 0) {
        sodium_memzero(p->dh_sec, sizeof p->dh_sec);
        unsigned code;
        v.device.has_presence = v.device.has_presence && p->via != VIA_STRANGER;
        if (!may_pair(c, p, &code)) {
            pairing_end(c, p, code);
        } else if (!contacts_has_room(c, p->root, p->device)) {
            pairing_end(c, p, CLOSE_BUSY);
        } else {
            err = store_pairing(c, t, p, &v.device, secret);
        }
    }
    sodium_memzero(secret, sizeof secret);
    sodium_memzero(&v, sizeof v);
    return err;
}

static int got_paired(struct contacts *c, struct txn *t, struct pairing *p,
                      const uint8_t *payload, size_t len)
{
    struct ben dict;
    if (!bencode_check(payload, len, &dict) || !ben_is_dict(dict)) {
        return ERR_FORMAT;
    }
    if (!p->got_pair || p->got_paired) {
        return ERR_STATE;
    }
    p->got_paired = true;
    if (!p->dialler) {
        /* The dialler will close; until then the link may stay. */
        return 0;
    }
    struct contacts_event ev = {p->via == VIA_STRANGER ? CONTACTS_EV_ASKED
                                                       : CONTACTS_EV_PAIRED,
                                p->contact, p->ref, p->conn, 0};
    int err = 0;
    if (p->via == VIA_STRANGER) {
        contacts_ask_drop(c, p->ref);
    } else if (p->via == VIA_INVITE) {
        err = contacts_adding_drop(c, t, p->ref);
    }
    if (err == 0) {
        contacts_event_add(c, ev);
        pairing_end(c, p, CLOSE_PAIRED);
    }
    return err;
}

int contacts_pair_recv(struct contacts *c, struct txn *t, uint32_t conn, uint8_t type,
                       const uint8_t *payload, size_t len)
{
    struct pairing *p = pairing_of(c, conn);
    if (p == NULL) {
        return ERR_STATE;
    }
    if (contacts_room(c) != 0) {
        return ERR_NOMEM;
    }
    if (type == FRAME_PAIR) {
        return got_pair(c, t, p, payload, len);
    }
    if (type == FRAME_REQUEST) {
        return got_request(p, payload, len);
    }
    return type == FRAME_PAIRED ? got_paired(c, t, p, payload, len) : ERR_STATE;
}
