#include "noise_runner.h"

#include <ctype.h>
#include <jansson.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "crypto/noise.h"

enum {
    FLIP_EVERY_MAX = 1024, /* up to this length each byte of a message is damaged */
    FLIP_SAMPLES = 64,     /* of a longer one, so many */
    CUT_STEP = 8,
    REASON_MAX = 200,
    VECTORS_MAX = 100000,
};

static const char suite[] = "25519_ChaChaPoly_BLAKE2b";

struct bytes {
    uint8_t *p; /* NULL: the field is absent */
    size_t n;
};

struct message {
    bool from_init, rekey_before;
    struct bytes payload, ciphertext;
};

/* Index 0 is the initiator, 1 the responder. */
struct vector {
    const struct noise_pattern *pattern;
    struct bytes prologue[2], s[2], e[2], rs[2], psks[2][NOISE_PSKS_MAX];
    unsigned n_psks[2];
    struct bytes hash;
    struct message *messages;
    size_t n_messages;
};

/* Both sides of one run. It is copied to try damage from any point on. */
struct session {
    struct noise_handshake hs[2];
    struct noise_cipher tx[2], rx[2];
    bool split;
};

struct run {
    const struct vector *v;
    uint8_t *wire, *plain; /* NOISE_MSG_MAX + 1 each */
    char *reason;
    size_t *damaged;
};

__attribute__((format(printf, 2, 3))) static bool fail(char *reason, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(reason, REASON_MAX, fmt, ap);
    va_end(ap);
    return false;
}

/* ---- Reading a vector ---- */

static bool parse_hex(const json_t *j, const char *what, struct bytes *out, char *reason)
{
    const char *hex = json_string_value(j);
    size_t len, n;

    if (hex == NULL) {
        return fail(reason, "%s is not a string", what);
    }
    len = json_string_length(j);
    out->p = malloc(len / 2 + 1);
    if (out->p == NULL) {
        return fail(reason, "memory is exhausted");
    }
    if (sodium_hex2bin(out->p, len / 2 + 1, hex, len, NULL, &n, NULL) != 0 ||
        n * 2 != len) {
        return fail(reason, "%s is not hexadecimal", what);
    }
    out->n = n;
    return true;
}

/* A field that may be absent; want: its length, or 0 for any. */
static bool get_hex(const json_t *obj, const char *key, size_t want, struct bytes *out,
                    char *reason)
{
    const json_t *j = json_object_get(obj, key);

    if (j == NULL) {
        return true;
    }
    if (!parse_hex(j, key, out, reason)) {
        return false;
    }
    if (want != 0 && out->n != want) {
        return fail(reason, "%s has %zu bytes, not %zu", key, out->n, want);
    }
    return true;
}

static bool get_psks(const json_t *obj, const char *key, struct vector *v, unsigned side,
                     char *reason)
{
    const json_t *list = json_object_get(obj, key);

    if (list == NULL) {
        return true;
    }
    if (!json_is_array(list) || json_array_size(list) > NOISE_PSKS_MAX) {
        return fail(reason, "%s is not a list of at most %d", key, NOISE_PSKS_MAX);
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct bytes *psk = &v->psks[side][i];

        if (!parse_hex(json_array_get(list, i), key, psk, reason)) {
            return false;
        }
        if (psk->n != NOISE_KEY) {
            return fail(reason, "%s holds %zu bytes, not %d", key, psk->n, NOISE_KEY);
        }
        v->n_psks[side]++;
    }
    return true;
}

static bool get_message(const json_t *obj, struct message *m, char *reason)
{
    const char *from = json_string_value(json_object_get(obj, "from"));
    const json_t *rekey = json_object_get(obj, "rekey_before");

    if (from == NULL || (strcmp(from, "init") != 0 && strcmp(from, "resp") != 0)) {
        return fail(reason, "a message without \"from\": \"init\" or \"resp\"");
    }
    if (rekey != NULL && !json_is_boolean(rekey)) {
        return fail(reason, "rekey_before is neither true nor false");
    }
    m->from_init = strcmp(from, "init") == 0;
    m->rekey_before = json_is_true(rekey);
    if (!get_hex(obj, "payload", 0, &m->payload, reason) ||
        !get_hex(obj, "ciphertext", 0, &m->ciphertext, reason)) {
        return false;
    }
    if (m->payload.p == NULL || m->ciphertext.p == NULL) {
        return fail(reason, "a message without payload or ciphertext");
    }
    return true;
}

static bool get_messages(const json_t *obj, struct vector *v, char *reason)
{
    const json_t *list = json_object_get(obj, "messages");
    size_t n = json_array_size(list);

    if (!json_is_array(list) || n == 0) {
        return fail(reason, "messages is not a list with something in it");
    }
    v->messages = calloc(n, sizeof(*v->messages));
    if (v->messages == NULL) {
        return fail(reason, "memory is exhausted");
    }
    v->n_messages = n;
    for (size_t i = 0; i < n; i++) {
        if (!get_message(json_array_get(list, i), &v->messages[i], reason)) {
            return false;
        }
    }
    return true;
}

static bool vector_parse(const json_t *obj, struct vector *v, char *reason)
{
    return get_hex(obj, "init_prologue", 0, &v->prologue[0], reason) &&
           get_hex(obj, "resp_prologue", 0, &v->prologue[1], reason) &&
           get_hex(obj, "init_static", NOISE_KEY, &v->s[0], reason) &&
           get_hex(obj, "resp_static", NOISE_KEY, &v->s[1], reason) &&
           get_hex(obj, "init_ephemeral", NOISE_KEY, &v->e[0], reason) &&
           get_hex(obj, "resp_ephemeral", NOISE_KEY, &v->e[1], reason) &&
           get_hex(obj, "init_remote_static", NOISE_KEY, &v->rs[0], reason) &&
           get_hex(obj, "resp_remote_static", NOISE_KEY, &v->rs[1], reason) &&
           get_hex(obj, "handshake_hash", NOISE_HASH, &v->hash, reason) &&
           get_psks(obj, "init_psks", v, 0, reason) &&
           get_psks(obj, "resp_psks", v, 1, reason) && get_messages(obj, v, reason);
}

static void vector_release(struct vector *v)
{
    free(v->hash.p);
    for (unsigned side = 0; side < 2; side++) {
        free(v->prologue[side].p);
        free(v->s[side].p);
        free(v->e[side].p);
        free(v->rs[side].p);
        for (unsigned i = 0; i < NOISE_PSKS_MAX; i++) {
            free(v->psks[side][i].p);
        }
    }
    for (size_t i = 0; i < v->n_messages; i++) {
        free(v->messages[i].payload.p);
        free(v->messages[i].ciphertext.p);
    }
    free(v->messages);
}

/* ---- Running it ---- */

static bool session_start(const struct run *r, struct session *s)
{
    const struct vector *v = r->v;

    memset(s, 0, sizeof(*s));
    for (unsigned side = 0; side < 2; side++) {
        struct noise_setup setup = {
            .pattern = v->pattern,
            .initiator = side == 0,
            .prologue = v->prologue[side].p,
            .prologue_len = v->prologue[side].n,
            .s = v->s[side].p,
            .rs = v->rs[side].p,
            .e = v->e[side].p,
            .n_psks = v->n_psks[side],
        };

        for (unsigned i = 0; i < v->n_psks[side]; i++) {
            setup.psks[i] = v->psks[side][i].p;
        }
        int err = noise_init(&s->hs[side], &setup);

        if (err != 0) {
            return fail(r->reason, "the %s cannot start: %s",
                        side == 0 ? "initiator" : "responder", err_str(err));
        }
    }
    return true;
}

/* Writes message m into r->wire. 0 or the error. */
static int session_write(const struct run *r, struct session *s, const struct message *m,
                         size_t *len)
{
    unsigned w = m->from_init ? 0 : 1;

    if (!s->split) {
        return noise_write(&s->hs[w], m->payload.p, m->payload.n, r->wire, NOISE_MSG_MAX,
                           len);
    }
    if (!s->tx[w].has_key || m->payload.n > NOISE_MSG_MAX - NOISE_TAG) {
        return ERR_STATE;
    }
    if (m->rekey_before) {
        noise_rekey(&s->tx[w]);
    }
    *len = m->payload.n + NOISE_TAG;
    return noise_encrypt(&s->tx[w], NULL, 0, m->payload.p, m->payload.n, r->wire);
}

/* Reads len bytes at msg, sent as message m, into r->plain. 0 or the error. */
static int session_read(const struct run *r, struct session *s, const struct message *m,
                        const uint8_t *msg, size_t len, size_t *plain_len)
{
    unsigned reader = m->from_init ? 1 : 0;

    if (!s->split) {
        return noise_read(&s->hs[reader], msg, len, r->plain, NOISE_MSG_MAX, plain_len);
    }
    if (len > NOISE_MSG_MAX) {
        return ERR_LIMIT;
    }
    if (m->rekey_before) {
        noise_rekey(&s->rx[reader]);
    }
    int err = noise_decrypt(&s->rx[reader], NULL, 0, msg, len, r->plain);

    if (err == 0) {
        *plain_len = len - NOISE_TAG;
    }
    return err;
}

/* After the last handshake message: Split() on both sides. */
static int session_split(struct session *s)
{
    for (unsigned side = 0; side < 2 && !s->split; side++) {
        int err = noise_split(&s->hs[side], &s->tx[side], &s->rx[side]);

        if (err != 0) {
            return err;
        }
        /* The keys are handed out once. */
        if (noise_split(&s->hs[side], &s->tx[side], &s->rx[side]) != ERR_STATE) {
            return ERR_ARG;
        }
    }
    s->split = true;
    return 0;
}

static bool check_end(const struct run *r, const struct session *s)
{
    const struct vector *v = r->v;

    for (unsigned side = 0; side < 2; side++) {
        const char *who = side == 0 ? "initiator" : "responder";
        const uint8_t *rs = noise_remote_static(&s->hs[side]);
        uint8_t pub[NOISE_KEY];
        bool known = noise_pattern_needs_local_static(v->pattern, side != 0);

        if (v->hash.p != NULL &&
            memcmp(noise_hash(&s->hs[side]), v->hash.p, NOISE_HASH) != 0) {
            return fail(r->reason, "handshake hash of the %s", who);
        }
        if ((rs != NULL) != known) {
            return fail(r->reason, "remote static of the %s", who);
        }
        if (rs != NULL) {
            (void)crypto_scalarmult_base(pub, v->s[1 - side].p);
            if (memcmp(rs, pub, NOISE_KEY) != 0) {
                return fail(r->reason, "remote static of the %s", who);
            }
        }
    }
    return true;
}

/* Goes on from message at + 1 after the reader took something else for message at, each
 * side reading what the other really writes. True when somebody refuses. */
static bool refused_later(const struct run *r, struct session *s, size_t at)
{
    const struct vector *v = r->v;

    for (size_t i = at; i < v->n_messages; i++) {
        const struct message *m = &v->messages[i];
        size_t len, plain_len;

        if (i + 1 == noise_pattern_messages(v->pattern) && session_split(s) != 0) {
            return true;
        }
        if (i + 1 == v->n_messages) {
            break;
        }
        m++;
        if (session_write(r, s, m, &len) != 0 ||
            session_read(r, s, m, r->wire, len, &plain_len) != 0) {
            return true;
        }
    }
    return false;
}

/* One damaged form of message at, given to a copy of the session. */
static bool try_damaged(const struct run *r, const struct session *before, size_t at,
                        const uint8_t *msg, size_t len)
{
    const struct message *m = &r->v->messages[at];
    unsigned reader = m->from_init ? 1 : 0;
    struct session s = *before;
    uint64_t nonce = s.rx[reader].n;
    size_t plain_len;
    bool ok = true;

    if (session_read(r, &s, m, msg, len, &plain_len) == 0) {
        /* Nothing in it was authenticated yet: somebody must notice later. */
        if (s.split || !refused_later(r, &s, at)) {
            ok = fail(r->reason, "message %zu: damage was not noticed", at + 1);
        }
    } else if (s.split) {
        if (s.rx[reader].n != nonce) {
            ok = fail(r->reason, "message %zu: a refused one spent a nonce", at + 1);
        }
    } else if (session_read(r, &s, m, m->ciphertext.p, m->ciphertext.n, &plain_len) !=
                   ERR_STATE ||
               !sodium_is_zero(s.hs[reader].ck, NOISE_HASH) ||
               !sodium_is_zero(s.hs[reader].e, NOISE_KEY)) {
        ok = fail(r->reason, "message %zu: could be tried again", at + 1);
    }
    *r->damaged += ok;
    return ok;
}

/* Message at with one bit of each byte flipped, cut short, and with a byte more; long
 * messages are sampled. */
static bool try_all_damage(const struct run *r, const struct session *before, size_t at)
{
    const struct bytes *c = &r->v->messages[at].ciphertext;
    size_t step = c->n <= FLIP_EVERY_MAX ? 1 : c->n / FLIP_SAMPLES;
    uint8_t *copy = malloc(c->n + 1);
    bool ok = copy != NULL;

    if (!ok) {
        return fail(r->reason, "memory is exhausted");
    }
    memcpy(copy, c->p, c->n);
    copy[c->n] = 0;
    for (size_t i = 0; ok && i < c->n; i += step) {
        uint8_t bit = (uint8_t)(1U << (i % 8));

        copy[i] ^= bit;
        ok = try_damaged(r, before, at, copy, c->n);
        copy[i] ^= bit;
        if (ok && (i % CUT_STEP == 0 || i + 1 == c->n)) {
            ok = try_damaged(r, before, at, copy, i);
        }
    }
    ok = ok && try_damaged(r, before, at, copy, c->n + 1);
    free(copy);
    return ok;
}

static bool run_message(const struct run *r, struct session *s, size_t at)
{
    const struct message *m = &r->v->messages[at];
    struct session before;
    size_t len, plain_len;
    int err = session_write(r, s, m, &len);

    if (err != 0) {
        return fail(r->reason, "message %zu cannot be written: %s", at + 1, err_str(err));
    }
    if (len != m->ciphertext.n || memcmp(r->wire, m->ciphertext.p, len) != 0) {
        return fail(r->reason, "message %zu: other bytes were written", at + 1);
    }
    before = *s;
    err = session_read(r, s, m, m->ciphertext.p, m->ciphertext.n, &plain_len);
    if (err != 0) {
        return fail(r->reason, "message %zu cannot be read: %s", at + 1, err_str(err));
    }
    if (plain_len != m->payload.n || memcmp(r->plain, m->payload.p, plain_len) != 0) {
        return fail(r->reason, "message %zu: another payload was read", at + 1);
    }
    return try_all_damage(r, &before, at);
}

static bool vector_run(const struct run *r)
{
    size_t n_handshake = noise_pattern_messages(r->v->pattern);
    struct session s;

    if (!session_start(r, &s)) {
        return false;
    }
    if (r->v->n_messages < n_handshake) {
        return fail(r->reason, "it ends within the handshake");
    }
    for (size_t i = 0; i < r->v->n_messages; i++) {
        if (!run_message(r, &s, i)) {
            return false;
        }
        if (i + 1 == n_handshake) {
            if (session_split(&s) != 0) {
                return fail(r->reason, "Split() is refused, or possible twice");
            }
            if (!check_end(r, &s)) {
                return false;
            }
        }
    }
    return true;
}

/* ---- A file ---- */

/* Names come from a file: what is not printable ASCII is not printed. */
static void print_line(FILE *out, const char *word, const char *name, const char *reason)
{
    (void)fprintf(out, "%s: ", word);
    for (size_t i = 0; name[i] != '\0' && i < 128; i++) {
        (void)fputc(isascii(name[i]) && isprint(name[i]) ? name[i] : '?', out);
    }
    (void)fprintf(out, ": %s\n", reason);
}

/* The pattern when we know it and the suite; otherwise why not. */
static const struct noise_pattern *find_pattern(const char *name, char *reason)
{
    char pattern[NOISE_NAME_MAX];
    const char *end;

    if (strncmp(name, "Noise_", 6) != 0 || (end = strchr(name + 6, '_')) == NULL) {
        (void)fail(reason, "unknown protocol");
        return NULL;
    }
    if (strcmp(end + 1, suite) != 0) {
        (void)fail(reason, "unknown suite");
        return NULL;
    }
    size_t n = (size_t)(end - (name + 6));
    const struct noise_pattern *found = NULL;

    if (n < sizeof(pattern)) {
        memcpy(pattern, name + 6, n);
        pattern[n] = '\0';
        found = noise_pattern_find(pattern);
    }
    if (found == NULL) {
        (void)fail(reason, "unknown pattern");
    }
    return found;
}

/* 0, or -1 with a reason when the vector is malformed. */
static int run_one(struct noise_runner *counts, const json_t *obj, struct run *r,
                   FILE *out)
{
    const char *name = json_string_value(json_object_get(obj, "protocol_name"));
    struct vector v = {0};
    int rc = 0;

    if (name == NULL) {
        (void)fail(r->reason, "no protocol_name");
        return -1;
    }
    v.pattern = find_pattern(name, r->reason);
    r->v = &v;
    if (v.pattern == NULL) {
        counts->skipped++;
        print_line(out, "skipped", name, r->reason);
    } else if (!vector_parse(obj, &v, r->reason)) {
        rc = -1;
    } else if (vector_run(r)) {
        counts->passed++;
    } else {
        counts->failed++;
        print_line(out, "failed", name, r->reason);
    }
    vector_release(&v);
    return rc;
}

static int run_list(struct noise_runner *counts, const json_t *list, const char *path,
                    FILE *out, FILE *err)
{
    char reason[REASON_MAX] = "";
    struct run r = {
        .wire = malloc(NOISE_MSG_MAX + 1),
        .plain = malloc(NOISE_MSG_MAX + 1),
        .reason = reason,
        .damaged = &counts->damaged,
    };
    int rc = 0;

    if (r.wire == NULL || r.plain == NULL) {
        (void)fprintf(err, "%s: memory is exhausted\n", path);
        rc = -1;
    }
    for (size_t i = 0; rc == 0 && i < json_array_size(list); i++) {
        rc = run_one(counts, json_array_get(list, i), &r, out);
        if (rc != 0) {
            (void)fprintf(err, "%s: vector %zu: %s\n", path, i + 1, reason);
        }
    }
    free(r.wire);
    free(r.plain);
    return rc;
}

int noise_runner_file(struct noise_runner *r, const char *path, FILE *out, FILE *err)
{
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    const json_t *list = json_object_get(root, "vectors");
    int rc = -1;

    if (root == NULL) {
        if (error.line < 0) {
            (void)fprintf(err, "%s: cannot be read: %s\n", path, error.text);
        } else {
            (void)fprintf(err, "%s:%d: not JSON: %s\n", path, error.line, error.text);
        }
    } else if (!json_is_array(list) || json_array_size(list) > VECTORS_MAX) {
        (void)fprintf(err, "%s: no list \"vectors\" in it\n", path);
    } else {
        rc = run_list(r, list, path, out, err);
    }
    json_decref(root);
    return rc;
}
