#include "vectors.h"

#include <criterion/criterion.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *vectors_load(const char *name)
{
    const char *tests = getenv("LINNET_TESTS");
    char path[4096];
    json_error_t error;

    (void)snprintf(path, sizeof(path), "%s/vectors/%s", tests != NULL ? tests : "tests",
                   name);
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);

    cr_assert(root != NULL, "%s: %s", path, error.text);
    return root;
}

size_t vectors_hex(const json_t *obj, const char *key, uint8_t *out, size_t cap)
{
    const char *hex = json_string_value(json_object_get(obj, key));
    size_t n = 0;

    cr_assert(hex != NULL, "no %s", key);
    cr_assert(sodium_hex2bin(out, cap, hex, strlen(hex), NULL, &n, NULL) == 0, "%s", key);
    cr_assert(n * 2 == strlen(hex), "%s", key);
    return n;
}

void vectors_kat(const char *key, uint8_t *out, size_t n)
{
    json_t *root = vectors_load("linnet_kat.json");

    cr_assert_eq(vectors_hex(root, key, out, n), n, "%s", key);
    json_decref(root);
}

void vectors_seq(uint8_t start, uint8_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = (uint8_t)(start + i);
    }
}

static void count_random(void *ctx, void *buf, size_t len)
{
    uint8_t *next = ctx;

    vectors_seq(*next, buf, len);
    *next = (uint8_t)(*next + len);
}

static uint64_t no_time(void *ctx)
{
    (void)ctx;
    return 0;
}

struct env vectors_env(uint8_t *next)
{
    return (struct env){.ctx = next, .random = count_random, .wall_us = no_time};
}
