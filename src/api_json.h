/* JSON of the local API: requests in (jansson), answers and events out.
 *
 * Answers are written straight into one reused buffer; strings that are not UTF-8 (paths)
 * get replacement characters, so that what goes out is always JSON. */
#ifndef LINNET_API_JSON_H
#define LINNET_API_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    API_REQUEST_MAX = 256 * 1024, /* bytes of a request */
    API_ID_MAX = 256,             /* bytes of its id as JSON */
    API_METHOD_MAX = 32,
    API_OUT_MAX = 64 * 1024 * 1024, /* bytes of one answer: beyond every page */
    API_OUT_KEEP = 256 * 1024,      /* a larger buffer is given back after use */
};

/* ---- out ---- */

struct jout {
    char *p;
    size_t len, cap;
    bool bad; /* out of memory: what is there is not to be sent */
};
void jout_reset(struct jout *o);
void jout_release(struct jout *o);
/* Values; commas are put where they belong. */
void jout_open(struct jout *o, char c);  /* '{' or '[' */
void jout_close(struct jout *o, char c); /* '}' or ']' */
void jout_key(struct jout *o, const char *key);
void jout_raw(struct jout *o, const char *json, size_t len);
void jout_str(struct jout *o, const char *s);
void jout_strn(struct jout *o, const void *s, size_t len);
void jout_u64(struct jout *o, uint64_t v);
void jout_bool(struct jout *o, bool v);
void jout_null(struct jout *o);
void jout_hex(struct jout *o, const uint8_t *p, size_t len);
/* Key and value. */
void jout_kstr(struct jout *o, const char *key, const char *s);
void jout_ku64(struct jout *o, const char *key, uint64_t v);
void jout_kbool(struct jout *o, const char *key, bool v);
void jout_khex(struct jout *o, const char *key, const uint8_t *p, size_t len);

/* ---- in ---- */

struct api_request {
    json_t *root;
    const char *method;   /* root's */
    const json_t *params; /* root's, an object; NULL when missing */
    char id[API_ID_MAX];  /* as JSON, "null" while unknown */
    size_t id_len;
};
/* 0, or ERR_FORMAT with *why a sentence (static); id is usable in both cases. Release in
 * both cases. */
int api_request_parse(const char *p, size_t len, struct api_request *out,
                      const char **why);
/* Frees and wipes strings (they may be passphrases). */
void api_request_release(struct api_request *r);

/* Parameters. 1 when there, 0 when missing or null, -1 when of another type. */
int param_str(const json_t *params, const char *key, const char **s, size_t *len);
int param_u64(const json_t *params, const char *key, uint64_t *out);
int param_bool(const json_t *params, const char *key, bool *out);

#endif
