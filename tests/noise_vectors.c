/* noise-vectors FILE...: runs files of Noise vectors through crypto/noise.
 *
 * Exit code 0: none failed; 1: some did; 2: a file is not such a file, or none is given.
 */
#include <sodium.h>
#include <stdio.h>

#include "noise_runner.h"

int main(int argc, char **argv)
{
    struct noise_runner r = {0};
    int bad = 0;

    if (argc < 2) {
        (void)fprintf(stderr, "usage: noise-vectors FILE...\n");
        return 2;
    }
    if (sodium_init() < 0) {
        (void)fprintf(stderr, "noise-vectors: libsodium does not start\n");
        return 2;
    }
    for (int i = 1; i < argc; i++) {
        bad += noise_runner_file(&r, argv[i], stdout, stderr) != 0;
    }
    printf("%zu damaged messages refused\n", r.damaged);
    printf("%zu passed, %zu failed, %zu skipped\n", r.passed, r.failed, r.skipped);
    if (bad > 0) {
        return 2;
    }
    return r.failed > 0 ? 1 : 0;
}
