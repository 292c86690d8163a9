/* Durations and dates as people write them. Dates are local time, unless they say
 * otherwise. */
#ifndef LINNET_BASE_WHEN_H
#define LINNET_BASE_WHEN_H

#include <stdbool.h>
#include <stdint.h>

/* "500ms", "30s", "10m", "24h", "7d", "2w" in milliseconds. */
bool when_duration(const char *s, uint64_t *ms);
/* A moment in milliseconds since 1970: a duration (that long before now_ms), "today" or
 * "yesterday" (their beginning), or a date: 2026-11-22, 2026-11-22T14:00,
 * 2026-11-22T14:00:05, the latter two also with Z or +01:00 behind them. */
bool when_since(const char *s, uint64_t now_ms, uint64_t *ms);

#endif
