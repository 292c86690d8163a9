/* The bare limit of a message, to measure beside: two processes, one TCP connection over
 * loopback, every message sealed with XChaCha20-Poly1305 and committed to SQLite (WAL,
 * synchronous=FULL) at both ends before it goes on. No log, no order, no API. */
#ifndef LINNET_TESTS_BENCH_BARE_H
#define LINNET_TESTS_BENCH_BARE_H

#include "bench.h"

/* Round trips one after the other: four commits each, as between two nodes. */
void bare_round_trips(struct bench *b, double *seconds, size_t n);
/* Messages a second, pipelined, committed in batches, acknowledged once committed. */
double bare_rate(struct bench *b, size_t messages);

#endif
