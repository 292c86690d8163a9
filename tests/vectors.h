/* Reads tests/vectors/ for unit tests. What is not as expected ends the test. */
#ifndef LINNET_TESTS_VECTORS_H
#define LINNET_TESTS_VECTORS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"

/* A file of tests/vectors/; release with json_decref(). */
json_t *vectors_load(const char *name);
/* Decodes a hexadecimal member into out; returns its length, at most cap. */
size_t vectors_hex(const json_t *obj, const char *key, uint8_t *out, size_t cap);
/* The same for a member of linnet_kat.json that has exactly n bytes. */
void vectors_kat(const char *key, uint8_t *out, size_t n);
/* The bytes start, start + 1, … (mod 256). */
void vectors_seq(uint8_t start, uint8_t *out, size_t n);
/* An environment whose randomness counts on from *next. */
struct env vectors_env(uint8_t *next);

#endif
