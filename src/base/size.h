/* Sizes in bytes, as people write them. */
#ifndef LINNET_BASE_SIZE_H
#define LINNET_BASE_SIZE_H

#include <stdbool.h>
#include <stdint.h>

/* What "none" is where no limit is meant. A file's size never reaches it, and it is a
 * whole number in JSON and in the database. */
#define SIZE_NONE ((uint64_t)INT64_MAX)

/* "1500", "100M", "1.5G", "64KiB" in bytes: k, M, G and T (also kB, MB …) are powers of
 * 1000, KiB, MiB, GiB and TiB of 1024; capitals do not matter. A fraction (of at most six
 * digits) is cut to whole bytes. */
bool size_parse(const char *s, uint64_t *bytes);
/* The same, or "none": SIZE_NONE. */
bool size_or_none(const char *s, uint64_t *bytes);

#endif
