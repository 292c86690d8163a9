#include "api_json.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

enum { OUT_MIN = 4096 };

static bool room(struct jout *o, size_t n)
{
    if (o->bad || n > API_OUT_MAX - o->len) {
        o->bad = true;
        return false;
    }
    if (o->len + n <= o->cap) {
        return true;
    }
    size_t cap = o->cap == 0 ? OUT_MIN : o->cap;
    while (cap < o->len + n) {
        cap *= 2;
    }
    char *p = realloc(o->p, cap);
    if (p == NULL) {
        o->bad = true;
        return false;
    }
    o->p = p;
    o->cap = cap;
    return true;
}

static void put(struct jout *o, const char *s, size_t n)
{
    if (n > 0 && room(o, n)) { /* an empty text may have no bytes to point to */
        memcpy(o->p + o->len, s, n);
        o->len += n;
    }
}

/* A comma, unless a value opens a list or follows its key. */
static void separate(struct jout *o)
{
    if (o->len > 0 && strchr("{[:,", o->p[o->len - 1]) == NULL) {
        put(o, ",", 1);
    }
}

void jout_reset(struct jout *o)
{
    if (o->cap > API_OUT_KEEP) {
        free(o->p);
        o->p = NULL;
        o->cap = 0;
    }
    o->len = 0;
    o->bad = false;
}

void jout_release(struct jout *o)
{
    free(o->p);
    memset(o, 0, sizeof *o);
}

void jout_open(struct jout *o, char c)
{
    separate(o);
    put(o, &c, 1);
}

void jout_close(struct jout *o, char c)
{
    put(o, &c, 1);
}

void jout_raw(struct jout *o, const char *json, size_t len)
{
    separate(o);
    put(o, json, len);
}

/* The length of the UTF-8 sequence at p, 0 when it is none. */
static size_t utf8_len(const uint8_t *p, size_t n)
{
    uint32_t c = p[0];
    size_t len = c < 0x80 ? 1 : c >> 5 == 6 ? 2 : c >> 4 == 14 ? 3 : c >> 3 == 30 ? 4 : 0;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (len < 2 || len > n) {
        return len <= 1 ? len : 0;
    }
    c &= 0xffu >> (len + 1);
    for (size_t i = 1; i < len; i++) {
        if (p[i] >> 6 != 2) {
            return 0;
        }
        c = c << 6 | (p[i] & 0x3fu);
    }
    return c >= least[len] && c <= 0x10ffff && c >> 11 != 27 ? len : 0;
}

static void put_escaped(struct jout *o, uint8_t c)
{
    char s[8];
    const char *from = "\"\\\n\t\r\b\f", *to = "\"\\ntrbf";
    const char *at = c == 0 ? NULL : strchr(from, c);
    int n = at != NULL ? snprintf(s, sizeof s, "\\%c", to[at - from])
                       : snprintf(s, sizeof s, "\\u%04x", (unsigned)c);
    put(o, s, (size_t)n);
}

void jout_strn(struct jout *o, const void *str, size_t len)
{
    const uint8_t *s = len > 0 ? str : (const void *)"";
    separate(o);
    put(o, "\"", 1);
    for (size_t i = 0, start = 0; i <= len;) {
        bool plain = i < len && s[i] >= ' ' && s[i] < 0x7f && s[i] != '"' && s[i] != '\\';
        size_t n = plain ? 1 : i < len && s[i] >= 0x80 ? utf8_len(s + i, len - i) : 0;
        if (n > 0) {
            i += n;
            continue;
        }
        put(o, (const char *)s + start, i - start);
        if (i < len && s[i] < 0x80) {
            put_escaped(o, s[i]);
        } else if (i < len) {
            put(o, "\\ufffd", 6);
        }
        start = ++i;
    }
    put(o, "\"", 1);
}

void jout_str(struct jout *o, const char *s)
{
    jout_strn(o, s, strlen(s));
}

void jout_u64(struct jout *o, uint64_t v)
{
    char s[24];
    size_t i = sizeof s;
    do {
        s[--i] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    jout_raw(o, s + i, sizeof s - i);
}

void jout_bool(struct jout *o, bool v)
{
    jout_raw(o, v ? "true" : "false", v ? 4 : 5);
}

void jout_null(struct jout *o)
{
    jout_raw(o, "null", 4);
}

void jout_hex(struct jout *o, const uint8_t *p, size_t len)
{
    separate(o);
    put(o, "\"", 1);
    if (room(o, 2 * len + 1)) { /* the terminating NUL is overwritten */
        (void)sodium_bin2hex(o->p + o->len, 2 * len + 1, p, len);
        o->len += 2 * len;
    }
    put(o, "\"", 1);
}

void jout_key(struct jout *o, const char *key)
{
    separate(o);
    put(o, "\"", 1);
    put(o, key, strlen(key));
    put(o, "\":", 2);
}

void jout_kstr(struct jout *o, const char *key, const char *s)
{
    jout_key(o, key);
    jout_str(o, s);
}

void jout_ku64(struct jout *o, const char *key, uint64_t v)
{
    jout_key(o, key);
    jout_u64(o, v);
}

void jout_kbool(struct jout *o, const char *key, bool v)
{
    jout_key(o, key);
    jout_bool(o, v);
}

void jout_khex(struct jout *o, const char *key, const uint8_t *p, size_t len)
{
    jout_key(o, key);
    jout_hex(o, p, len);
}

/* ---- in ---- */

/* The id as JSON again, so that it can be given back unchanged. */
static bool keep_id(const json_t *id, struct api_request *out)
{
    if (!json_is_number(id) && !json_is_string(id)) {
        return false;
    }
    size_t n = json_dumpb(id, out->id, sizeof out->id, JSON_ENCODE_ANY | JSON_COMPACT);
    if (n == 0 || n > sizeof out->id) {
        memcpy(out->id, "null", 4);
        out->id_len = 4;
        return false;
    }
    out->id_len = n;
    return true;
}

/* A string without NUL: what C calls one. */
static bool is_text(const json_t *v)
{
    return json_is_string(v) && strlen(json_string_value(v)) == json_string_length(v);
}

int api_request_parse(const char *p, size_t len, struct api_request *out,
                      const char **why)
{
    memset(out, 0, sizeof *out);
    memcpy(out->id, "null", 4);
    out->id_len = 4;
    if (len > API_REQUEST_MAX) {
        *why = "The request is longer than 256 KiB.";
        return ERR_FORMAT;
    }
    /* NUL is let in, so that who sends one is answered under the id of the request. */
    out->root = json_loadb(p, len, JSON_ALLOW_NUL, NULL);
    if (!json_is_object(out->root)) {
        *why = "The request is not a JSON object.";
        return ERR_FORMAT;
    }
    if (!keep_id(json_object_get(out->root, "id"), out)) {
        *why = "The request has no \"id\" that is a number or a string of at most 250 "
               "bytes.";
        return ERR_FORMAT;
    }
    const json_t *method = json_object_get(out->root, "method");
    if (!is_text(method) || json_string_length(method) > API_METHOD_MAX) {
        *why = "The request has no \"method\" that is the name of one.";
        return ERR_FORMAT;
    }
    const json_t *params = json_object_get(out->root, "params");
    if (params != NULL && !json_is_object(params) && !json_is_null(params)) {
        *why = "The \"params\" of the request are not an object.";
        return ERR_FORMAT;
    }
    out->method = json_string_value(method);
    out->params = json_is_object(params) ? params : NULL;
    return 0;
}

void api_request_release(struct api_request *r)
{
    const char *key;
    json_t *value;
    json_t *params = r->root == NULL ? NULL : json_object_get(r->root, "params");
    json_object_foreach(params, key, value)
    {
        if (json_is_string(value)) {
            sodium_memzero((char *)(uintptr_t)json_string_value(value),
                           json_string_length(value));
        }
    }
    json_decref(r->root);
    r->root = NULL;
}

int param_str(const json_t *params, const char *key, const char **s, size_t *len)
{
    const json_t *v = json_object_get(params, key);
    if (v == NULL || json_is_null(v)) {
        return 0;
    }
    if (!is_text(v)) {
        return -1;
    }
    *s = json_string_value(v);
    *len = json_string_length(v);
    return 1;
}

int param_u64(const json_t *params, const char *key, uint64_t *out)
{
    const json_t *v = json_object_get(params, key);
    if (v == NULL || json_is_null(v)) {
        return 0;
    }
    if (!json_is_integer(v) || json_integer_value(v) < 0) {
        return -1;
    }
    *out = (uint64_t)json_integer_value(v);
    return 1;
}

int param_bool(const json_t *params, const char *key, bool *out)
{
    const json_t *v = json_object_get(params, key);
    if (v == NULL || json_is_null(v)) {
        return 0;
    }
    if (!json_is_boolean(v)) {
        return -1;
    }
    *out = json_is_true(v);
    return 1;
}
