#include <assert.h>
#include <string.h>

#include "api.h"
#include "api_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever a client sends: it is refused with a sentence or understood, and the id that
 * goes back is JSON. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct api_request q;
    struct api_topics t = {0};
    struct jout o = {0};
    const char *why = NULL, *s;
    size_t len;
    uint64_t n;
    bool b;
    (void)api_topics_note(&t, data, size);
    int rc = api_request_parse((const char *)data, size, &q, &why);
    assert(rc == 0 || (rc < 0 && why != NULL));
    json_t *id = json_loadb(q.id, q.id_len, JSON_DECODE_ANY, NULL);
    assert(id != NULL && q.id_len <= sizeof q.id);
    json_decref(id);
    if (rc == 0) {
        assert(strlen(q.method) <= API_METHOD_MAX);
        static const char *const keys[] = {"to", "text", "n", "peek"};
        for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
            (void)param_u64(q.params, keys[i], &n);
            (void)param_bool(q.params, keys[i], &b);
            if (param_str(q.params, keys[i], &s, &len) == 1) {
                jout_strn(&o, s, len);
            }
        }
    }
    jout_reset(&o);
    jout_strn(&o, data, size);
    json_t *v = json_loadb(o.p, o.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    assert(o.bad || v != NULL);
    json_decref(v);
    jout_release(&o);
    api_request_release(&q);
    return 0;
}
