#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "api_json.h"
#include "base/err.h"

static struct api_request q;
static const char *why;

static int parse(const char *text, size_t len)
{
    why = "";
    return api_request_parse(text, len, &q, &why);
}

static void expect_id(const char *want)
{
    cr_expect(q.id_len == strlen(want) && memcmp(q.id, want, q.id_len) == 0, "%.*s",
              (int)q.id_len, q.id);
}

Test(api, request)
{
    static const char text[] = "{\"id\": 7, \"method\": \"send\", \"params\": {\"to\": "
                               "\"bob\", \"n\": 5, \"b\": true}}";
    const char *s;
    size_t len;
    uint64_t n = 0;
    bool b = false;
    cr_assert_eq(parse(text, sizeof text - 1), 0, "%s", why);
    expect_id("7");
    cr_expect_str_eq(q.method, "send");
    cr_expect_eq(param_str(q.params, "to", &s, &len), 1);
    cr_expect(len == 3 && memcmp(s, "bob", 3) == 0);
    cr_expect_eq(param_str(q.params, "n", &s, &len), -1);
    cr_expect_eq(param_str(q.params, "nothing", &s, &len), 0);
    cr_expect_eq(param_u64(q.params, "n", &n), 1);
    cr_expect_eq(n, 5);
    cr_expect_eq(param_u64(q.params, "to", &n), -1);
    cr_expect_eq(param_bool(q.params, "b", &b), 1);
    cr_expect(b);
    cr_expect_eq(param_bool(q.params, "n", &b), -1);
    api_request_release(&q);
    for (size_t i = 0; i < sizeof text - 1; i++) {
        cr_expect_eq(parse(text, i), ERR_FORMAT, "%zu bytes of it", i);
        expect_id("null");
        api_request_release(&q);
    }
}

Test(api, ids_are_given_back)
{
    static const char *const ids[] = {"0",       "-5",       "9007199254740993",
                                      "\"a b\"", "\"\\\"\"", "2.5"};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        char text[128];
        int n = snprintf(text, sizeof text, "{\"id\":%s,\"method\":\"id\"}", ids[i]);
        cr_expect_eq(parse(text, (size_t)n), 0, "%s", ids[i]);
        cr_expect_null(q.params);
        expect_id(ids[i]);
        api_request_release(&q);
    }
}

Test(api, what_is_no_request)
{
    static const char *const bad[] = {
        "",
        "hello",
        "[]",
        "7",
        "{}",
        "{\"id\":1}",
        "{\"method\":\"id\"}",
        "{\"id\":null,\"method\":\"id\"}",
        "{\"id\":[1],\"method\":\"id\"}",
        "{\"id\":1,\"method\":2}",
        "{\"id\":1,\"method\":\"a-name-that-is-much-longer-than-any-method\"}",
        "{\"id\":1,\"method\":\"id\",\"params\":[]}",
        "{\"id\":1,\"method\":\"id\\u0000\"}",
        "{\"id\":1,\"method\":\"id\"} x",
        "{\"id\":1,\"method\":\"\xff\"}",
        "{\"id\":99999999999999999999,\"method\":\"id\"}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_expect_eq(parse(bad[i], strlen(bad[i])), ERR_FORMAT, "%s", bad[i]);
        cr_expect_neq(why[0], '\0');
        api_request_release(&q);
    }
    /* What is usable of it is given back. */
    cr_expect_neq(parse("{\"id\":\"x\"}", 10), 0);
    expect_id("\"x\"");
    api_request_release(&q);
}

Test(api, limits_of_a_request)
{
    char *text = malloc(API_REQUEST_MAX + 1);
    cr_assert_not_null(text);
    memset(text, ' ', API_REQUEST_MAX + 1);
    memcpy(text, "{\"id\":1,\"method\":\"id\"}", 22);
    cr_expect_eq(parse(text, API_REQUEST_MAX), 0);
    api_request_release(&q);
    cr_expect_eq(parse(text, API_REQUEST_MAX + 1), ERR_FORMAT);
    api_request_release(&q);
    memset(text, '[', API_REQUEST_MAX);
    cr_expect_eq(parse(text, API_REQUEST_MAX), ERR_FORMAT, "nesting is bounded");
    api_request_release(&q);
    int n = snprintf(text, 512, "{\"id\":\"%0*d\",\"method\":\"id\"}", API_ID_MAX, 1);
    cr_expect_eq(parse(text, (size_t)n), ERR_FORMAT);
    expect_id("null");
    api_request_release(&q);
    free(text);
}

static void expect_out(struct jout *o, const char *want)
{
    cr_expect(!o->bad && o->len == strlen(want) && memcmp(o->p, want, o->len) == 0,
              "%.*s instead of %s", (int)o->len, o->p, want);
}

Test(api, values_out)
{
    struct jout o = {0};
    jout_open(&o, '{');
    jout_ku64(&o, "v", 1);
    jout_kstr(&o, "s", "a\"\\\n\t\x01\x7f\xc3\xa4");
    jout_kbool(&o, "b", false);
    jout_key(&o, "l");
    jout_open(&o, '[');
    jout_null(&o);
    jout_hex(&o, (const uint8_t *)"\x00\xff", 2);
    jout_open(&o, '{');
    jout_close(&o, '}');
    jout_u64(&o, UINT64_MAX);
    jout_close(&o, ']');
    jout_close(&o, '}');
    expect_out(&o, "{\"v\":1,\"s\":\"a\\\"\\\\\\n\\t\\u0001\\u007f\xc3\xa4\",\"b\":false,"
                   "\"l\":[null,\"00ff\",{},18446744073709551615]}");
    jout_release(&o);
}

Test(api, strings_end_with_any_character)
{
    /* A value's last byte must not be taken for an open list. */
    static const char *const tails[] = {"a{", "a[", "a:", "a,"};
    for (size_t i = 0; i < 4; i++) {
        struct jout o = {0};
        jout_open(&o, '[');
        jout_str(&o, tails[i]);
        jout_str(&o, "b");
        jout_close(&o, ']');
        json_t *v = json_loadb(o.p, o.len, 0, NULL);
        cr_assert_not_null(v);
        cr_expect_eq(json_array_size(v), 2);
        cr_expect_str_eq(json_string_value(json_array_get(v, 0)), tails[i]);
        json_decref(v);
        jout_release(&o);
    }
}

Test(api, every_byte_string_is_json_out)
{
    /* All pairs of bytes, as a name or path might hold them. */
    for (unsigned i = 0; i < 0x10000; i++) {
        const char s[] = {'x', (char)(i >> 8), (char)i, 'y'};
        struct jout o = {0};
        jout_strn(&o, s, sizeof s);
        json_t *v = json_loadb(o.p, o.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        cr_assert_not_null(v, "%02x %02x", i >> 8, i & 0xff);
        json_decref(v);
        jout_release(&o);
    }
}

Test(api, subscriptions)
{
    struct api_topics t = {0};
    cr_expect_not(api_topics_wanted(&t, "message"));
    cr_expect(api_topics_note(&t, (const uint8_t *)"\1mess", 5));
    cr_expect(api_topics_wanted(&t, "message"));
    cr_expect_not(api_topics_wanted(&t, "state"));
    cr_expect(api_topics_note(&t, (const uint8_t *)"\1", 1));
    cr_expect(api_topics_wanted(&t, "state"));
    cr_expect_not(api_topics_note(&t, (const uint8_t *)"\0", 1));
    cr_expect_not(api_topics_wanted(&t, "state"));
    cr_expect(api_topics_wanted(&t, "message"));
    cr_expect_not(api_topics_note(&t, (const uint8_t *)"\0mess", 5));
    cr_expect_not(api_topics_wanted(&t, "message"));
    cr_expect_not(api_topics_note(&t, (const uint8_t *)"", 0));
    cr_expect_not(api_topics_note(&t, (const uint8_t *)"\2x", 2));
    cr_expect(api_topics_note(&t, (const uint8_t *)"\1messages", 9));
    cr_expect_not(api_topics_wanted(&t, "message"), "no prefix of it");
}
