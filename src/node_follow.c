/* Who we are to others, and who follows a change of contacts: loading at start, the
 * device dictionary, beacons, the keyring. */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/log.h"
#include "node_priv.h"

static const char meta_name[] = "name";
static const char meta_presence[] = "presence";

/* ---- loading ---- */

static int meta_set(struct node *n, const char *key, const void *value, size_t len)
{
    struct meta *m = NULL;

    for (size_t i = 0; i < n->n_metas; i++) {
        if (strcmp(n->metas[i].key, key) == 0) {
            m = &n->metas[i];
        }
    }
    if (m == NULL) {
        if (n->n_metas == NODE_METAS_MAX || strlen(key) > REC_META_KEY_MAX) {
            return ERR_LIMIT;
        }
        m = &n->metas[n->n_metas++];
        memcpy(m->key, key, strlen(key) + 1);
    }
    blob_release(&m->value);
    return blob_set(&m->value, value, len) ? 0 : ERR_NOMEM;
}

const struct blob *node_meta(const struct node *n, const char *key)
{
    for (size_t i = 0; i < n->n_metas; i++) {
        if (strcmp(n->metas[i].key, key) == 0) {
            return &n->metas[i].value;
        }
    }
    return NULL;
}

int node_meta_put(struct node *n, const char *key, const void *value, size_t len)
{
    struct rec r = {.kind = REC_META};
    int err = meta_set(n, key, value, len);

    if (err != 0) {
        return err;
    }
    memcpy(r.u.meta.key, key, strlen(key) + 1);
    if (!blob_set(&r.u.meta.value, value, len)) {
        return ERR_NOMEM;
    }
    return txn_add(&n->txn, &r);
}

static int load_own_device(struct node *n, const struct rec_device *d)
{
    struct cert cert;

    if (d->cert.n > KEYS_CERT_MAX || cert_open(d->cert.p, d->cert.n, &cert) != 0 ||
        memcmp(cert.device, n->device, WIRE_ID) != 0) {
        return ERR_CORRUPT; /* the database of another key file */
    }
    memcpy(n->self.cert, d->cert.p, d->cert.n);
    n->self.cert_len = d->cert.n;
    n->have_own_device = true;
    return 0;
}

static int tell_feeds_device(struct node *n, const struct rec_device *d,
                             const uint8_t root[WIRE_ID])
{
    struct feeds_device fd = {
        .ref = d->id, .contact = d->contact, .box_time = d->box_time};

    memcpy(fd.root, root, WIRE_ID);
    memcpy(fd.device, d->device, WIRE_ID);
    memcpy(fd.stat, d->stat, 32);
    memcpy(fd.box, d->box, 32);
    return feeds_device_put(n->feeds, &fd);
}

static int load_device(struct node *n, const struct rec *r)
{
    const struct rec_device *d = &r->u.device;
    const struct rec_contact *c;
    int err;

    if (d->contact == 0) {
        err = d->id == 1 ? load_own_device(n, d) : 0;
        return err != 0 ? err : tell_feeds_device(n, d, n->self.root);
    }
    err = contacts_load(n->contacts, r);
    c = contacts_get(n->contacts, d->contact);
    if (err != 0 || c == NULL) {
        return err != 0 ? err : ERR_CORRUPT;
    }
    return tell_feeds_device(n, d, c->root);
}

int node_load(struct node *n, const struct rec *r)
{
    switch (r->kind) {
    case REC_META:
        return meta_set(n, r->u.meta.key, r->u.meta.value.p, r->u.meta.value.n);
    case REC_DEVICE:
        return load_device(n, r);
    case REC_CONTACT: {
        int err = contacts_load(n->contacts, r);

        if (r->u.contact.id > n->last_contact) {
            n->last_contact = r->u.contact.id;
        }
        return err != 0 ? err
                        : feeds_pair_put(n->feeds, r->u.contact.id, r->u.contact.root,
                                         r->u.contact.pair);
    }
    case REC_INVITE:
    case REC_ADDING:
    case REC_REQUEST:
        return contacts_load(n->contacts, r);
    case REC_BOXKEY:
    case REC_CONV:
    case REC_FEED:
    case REC_HAVE:
        return feeds_load(n->feeds, r);
    case REC_FILE:
    case REC_FILE_BITS:
    case REC_FILE_PEER:
    case REC_FILE_RULE:
        return node_file_load(n, r);
    case REC_ENTRY:
    case REC_FORK:
    case REC_MSG:
    case REC_CHANGE:
    case REC_STATE:
    case REC_EVENT:
        return 0;
    }
    return 0;
}

/* ---- who we are to others ---- */

/* The account's certificate for this device, made at the first start. */
static int make_own_device(struct node *n)
{
    struct rec r = {.kind = REC_DEVICE};
    struct rec_device *d = &r.u.device;
    struct cert cert = {.not_before = env_wall_us(n->env) / 1000000};
    uint64_t created;
    int err;

    memcpy(cert.stat, n->self.stat_pub, 32);
    feeds_box(n->feeds, cert.box, &created);
    err = cert_sign(&cert, n->root_sec, n->self.cert, &n->self.cert_len);
    if (err != 0) {
        return err;
    }
    d->id = 1;
    memcpy(d->device, n->device, WIRE_ID);
    memcpy(d->stat, n->self.stat_pub, 32);
    memcpy(d->box, cert.box, 32);
    d->box_time = created;
    if (!blob_set(&d->cert, n->self.cert, n->self.cert_len)) {
        return ERR_NOMEM;
    }
    err = tell_feeds_device(n, d, n->self.root);
    return err != 0 ? err : txn_add(&n->txn, &r);
}

static void refresh_dictionary(struct node *n)
{
    uint8_t sk[64];
    uint64_t created;

    memset(&n->own, 0, sizeof(n->own));
    n->own.cert = n->self.cert;
    n->own.cert_len = n->self.cert_len;
    feeds_box(n->feeds, n->own.box, &created);
    n->own.box_time = created;
    n->own.has_presence = true;
    memcpy(n->own.presence_p, n->presence_p, 32);
    (void)crypto_sign_seed_keypair(n->presence_a, sk, n->presence_seed);
    memcpy(n->own.presence_a, n->presence_a, 32);
    sodium_memzero(sk, sizeof(sk));
    memcpy(n->own.name, n->name, sizeof(n->own.name));
    contacts_set_device(n->contacts, &n->own);
    nearby_follow(n);
}

void node_beacons_changed(struct node *n)
{
    n->beacons_due = true;
}

bool node_newly_acked(const struct node *n, uint32_t contact)
{
    for (size_t i = 0; i < n->n_unacked; i++) {
        if (n->unacked[i] == contact) {
            return feeds_device_acked(n->feeds, contact);
        }
    }
    return false;
}

/* Finds the contacts that have not acknowledged our device dictionary. False: out of
 * memory. */
static bool find_unacked(struct node *n)
{
    const struct rec_contact *c;
    size_t pos = 0;

    n->n_unacked = 0;
    while ((c = contacts_next(n->contacts, &pos)) != NULL) {
        if ((c->flags & (CONTACT_REMOVED | CONTACT_BLOCKED)) != 0 ||
            feeds_device_acked(n->feeds, c->id)) {
            continue;
        }
        if (n->n_unacked == n->cap_unacked) {
            size_t cap = n->cap_unacked == 0 ? 16 : 2 * n->cap_unacked;
            uint32_t *v = realloc(n->unacked, cap * sizeof(*v));

            if (v == NULL) {
                return false;
            }
            n->unacked = v;
            n->cap_unacked = cap;
        }
        n->unacked[n->n_unacked++] = c->id;
    }
    return true;
}

/* Own beacons, none while we are invisible: under the presence secret, and in turn under
 * the pair's key of each contact who may not know that secret yet. */
void node_beacons_follow(struct node *n, uint64_t now_ms)
{
    uint8_t main_key[32], (*alt)[32] = NULL;

    if (!n->beacons_due || !n->started || n->stopping) {
        return;
    }
    n->beacons_due = false;
    if (!find_unacked(n) || (alt = calloc(n->n_unacked + 1, 32)) == NULL) {
        n->broken = ERR_NOMEM;
        return;
    }
    for (size_t i = 0; i < n->n_unacked; i++) {
        wire_beacon_key_pair(contacts_get(n->contacts, n->unacked[i])->pair, n->device,
                             alt[i]);
    }
    wire_beacon_key_presence(n->presence_p, main_key);
    if (lan_set_keys(n->lan, node_hidden(n) ? NULL : main_key, (const uint8_t(*)[32])alt,
                     n->n_unacked, now_ms) != 0) {
        n->broken = ERR_NOMEM;
    }
    network_show(n);
    node_meet_follow(n, now_ms);
    sodium_memzero(main_key, sizeof(main_key));
    sodium_memzero(alt, (n->n_unacked + 1) * 32);
    free(alt);
}

void node_device_changed(struct node *n, bool tell, uint64_t now_ms)
{
    const struct rec_contact *c;
    size_t pos = 0;

    refresh_dictionary(n);
    while (tell && (c = contacts_next(n->contacts, &pos)) != NULL) {
        uint32_t conv = feeds_conv_of(n->feeds, c->id);

        if (conv != 0 && (c->flags & (CONTACT_REMOVED | CONTACT_BLOCKED)) == 0) {
            (void)feeds_send_device(n->feeds, &n->txn, conv, &n->own, now_ms);
        }
    }
    node_beacons_changed(n);
}

/* Somebody was removed or blocked: those who stay get a presence secret that he does not
 * know. */
void node_rotate_presence(struct node *n, uint64_t now_ms)
{
    uint8_t both[64];

    env_random(n->env, both, sizeof(both));
    memcpy(n->presence_p, both, 32);
    memcpy(n->presence_seed, both + 32, 32);
    if (node_meta_put(n, meta_presence, both, sizeof(both)) != 0) {
        n->broken = ERR_NOMEM;
    }
    sodium_memzero(both, sizeof(both));
    node_device_changed(n, true, now_ms);
}

/* ---- contacts and who follows them ---- */

/* A limit leaves that device aside; without memory nothing can be relied on. */
static void follow_failed(struct node *n, int err)
{
    if (err == ERR_NOMEM) {
        n->broken = err;
    } else if (err != 0) {
        log_warn("a contact's device cannot be followed: %s", err_str(err));
    }
}

static void watch_device(struct node *n, const struct rec_contact *c,
                         const struct rec_device *d, uint64_t now_ms)
{
    uint8_t keys[2][32];
    size_t count = 0;

    if (d->has_presence) {
        wire_beacon_key_presence(d->presence_p, keys[count++]);
    }
    wire_beacon_key_pair(c->pair, d->device, keys[count++]);
    (void)lan_watch(n->lan, LAN_CONTACT, d->id, (const uint8_t(*)[32])keys, count,
                    now_ms);
    sodium_memzero(keys, sizeof(keys));
}

static void device_follow(struct node *n, const struct rec_contact *c,
                          const struct rec_device *d, uint64_t now_ms)
{
    struct link_candidate as = {
        .kind = LINK_CONTACT, .ref = d->id, .counter_seen = d->counter_rx};
    struct addr met[PEER_ADDRS];
    bool fresh;

    memcpy(as.remote_static, d->stat, 32);
    memcpy(as.remote_root, c->root, KEYS_ROOT);
    keys_link_pair(c->pair, d->stat, n->self.stat_pub, &as.keys);
    follow_failed(n, keyring_put(&n->ring, &as));
    sodium_memzero(&as, sizeof(as));
    follow_failed(n, tell_feeds_device(n, d, c->root));
    watch_device(n, c, d, now_ms);
    fresh = peers_add(n->peers, d->id, d->stat) == 0;
    if (fresh) {
        size_t count = contacts_device_addrs(d, met, PEER_ADDRS);

        for (size_t i = 0; i < count; i++) {
            peers_addr(n->peers, d->id, &met[i], false, now_ms);
        }
    }
}

/* A contact is new, changed, or there again: everything that depends on it. */
void contact_follow(struct node *n, uint32_t id, uint64_t now_ms)
{
    const struct rec_contact *c = contacts_get(n->contacts, id);
    const struct rec_device *d;
    uint32_t conv;
    size_t pos = 0;

    if (c == NULL || (c->flags & (CONTACT_REMOVED | CONTACT_BLOCKED)) != 0) {
        return;
    }
    follow_failed(n, feeds_pair_put(n->feeds, c->id, c->root, c->pair));
    while ((d = contacts_device_next(n->contacts, id, &pos)) != NULL) {
        device_follow(n, c, d, now_ms);
    }
    follow_failed(n, feeds_conv_pair(n->feeds, &n->txn, id, &conv));
    network_follow(n, id, now_ms);
    node_beacons_changed(n);
}

void contact_unfollow(struct node *n, uint32_t id, uint64_t now_ms)
{
    const struct rec_device *d;
    size_t pos = 0;

    conns_drop_contact(n, id, CLOSE_NORMAL, now_ms);
    while ((d = contacts_device_next(n->contacts, id, &pos)) != NULL) {
        keyring_del(&n->ring, LINK_CONTACT, d->id);
        lan_unwatch(n->lan, LAN_CONTACT, d->id);
        peers_del(n->peers, d->id);
        node_meet_forget(n, d->id);
    }
    feeds_contact_del(n->feeds, id);
    presence_forget(n->presence, id);
    node_beacons_changed(n);
    node_targets_changed(n, now_ms);
}

/* Every kept invite can be answered (a reason, at least); open ones are looked for. */
void invites_follow(struct node *n, uint64_t now_ms)
{
    const struct rec_invite *inv;
    size_t pos = 0;

    for (size_t i = n->ring.n; i-- > 0;) {
        uint32_t ref = n->ring.v[i].ref;

        if (n->ring.v[i].kind == LINK_INVITE &&
            contacts_invite_get(n->contacts, ref) == NULL) {
            keyring_del(&n->ring, LINK_INVITE, ref);
            lan_unwatch(n->lan, LAN_INVITE, ref);
        }
    }
    while ((inv = contacts_invite_next(n->contacts, &pos)) != NULL) {
        struct link_candidate as = {.kind = LINK_INVITE, .ref = inv->id};
        uint8_t key[1][32];

        keys_link_invite(inv->secret, n->self.root, &as.keys);
        (void)keyring_put(&n->ring, &as);
        sodium_memzero(&as, sizeof(as));
        wire_beacon_key_invite(inv->secret, key[0]);
        (void)lan_watch(n->lan, LAN_INVITE, inv->id, (const uint8_t(*)[32])key, 1,
                        now_ms);
        sodium_memzero(key, sizeof(key));
    }
    node_meet_invites(n, now_ms);
    attempts_sync(n, now_ms);
}

int node_start(struct node *n, uint64_t now_ms)
{
    const struct blob *b;
    const struct rec_contact *c;
    bool renamed = false;
    int err;

    if ((b = node_meta(n, meta_presence)) != NULL && b->n == 64) {
        memcpy(n->presence_p, b->p, 32);
        memcpy(n->presence_seed, b->p + 32, 32);
    }
    if ((b = node_meta(n, meta_name)) != NULL && n->name[0] == '\0' &&
        wire_name_ok(b->p, b->n)) {
        memcpy(n->name, b->p, b->n);
        n->name[b->n] = '\0';
    }
    if (n->name[0] == '\0') {
        memcpy(n->name, "user", 5);
    }
    err = feeds_start(n->feeds, &n->txn, now_ms);
    if (err == 0 && !n->have_own_device) {
        err = make_own_device(n);
    }
    if (err == 0 &&
        (b == NULL || b->n != strlen(n->name) || memcmp(b->p, n->name, b->n) != 0)) {
        renamed = b != NULL;
        err = node_meta_put(n, meta_name, n->name, strlen(n->name));
    }
    if (err != 0) {
        return err;
    }
    lan_set_ports(n->lan, n->link_port, n->udp_port, now_ms);
    node_presence_start(n, now_ms);
    err = network_begin(n, now_ms);
    if (err != 0) {
        return err;
    }
    refresh_dictionary(n);
    for (uint32_t id = 1; id <= n->last_contact; id++) {
        c = contacts_get(n->contacts, id);
        if (c != NULL && (c->flags & (CONTACT_REMOVED | CONTACT_BLOCKED)) != 0) {
            feeds_contact_del(n->feeds, id);
            network_follow(n, id, now_ms);
        } else if (c != NULL) {
            contact_follow(n, id, now_ms);
        }
    }
    node_device_changed(n, renamed, now_ms);
    invites_follow(n, now_ms);
    node_targets_changed(n, now_ms);
    n->next_box_check_ms = now_ms;
    err = xfer_start(n->xfer, &n->txn, now_ms);
    if (err == 0) {
        err = node_dht_start(n, now_ms);
    }
    if (err == 0) {
        err = node_meet_start(n, now_ms);
    }
    if (err != 0) {
        return err;
    }
    n->started = true;
    nearby_start(n, now_ms);
    node_settle(n, now_ms);
    return n->broken;
}
