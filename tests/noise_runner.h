/* Runs Noise test vectors (tests/vectors/README.md, "Format of the Noise files") through
 * crypto/noise, both sides, then each message damaged in many ways. */
#ifndef LINNET_TESTS_NOISE_RUNNER_H
#define LINNET_TESTS_NOISE_RUNNER_H

#include <stddef.h>
#include <stdio.h>

struct noise_runner {
    size_t passed, failed, skipped;
    size_t damaged; /* damaged messages that were refused, as all must be */
};

/* Runs all vectors of a file and adds to the counts; failures and what is skipped go to
 * out, one line each. Returns 0, or -1 when the file is no vector file, with a line on
 * err. */
int noise_runner_file(struct noise_runner *r, const char *path, FILE *out, FILE *err);

#endif
