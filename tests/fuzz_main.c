/* Replays a fuzz target's corpus where libFuzzer is not at hand: each file as it is, cut
 * at every length and with every bit flipped. Long files are sampled evenly, so that the
 * work for each stays bounded. Those of KEPT are replayed as they are. Every input lies
 * in an allocation of exactly its size, so that a sanitizer sees a read beyond it. */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_SIZE_MAX = 1 << 20, CUTS_MAX = 1024, FLIPS_MAX = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t inputs;

/* Feeds the first n bytes of data, with one bit flipped when flip < 8 * n. */
static void feed(const uint8_t *data, size_t n, size_t flip)
{
    uint8_t *copy = malloc(n > 0 ? n : 1);
    if (copy == NULL) {
        abort();
    }
    if (n > 0) {
        memcpy(copy, data, n);
    }
    if (flip / 8 < n) {
        copy[flip / 8] ^= (uint8_t)(1u << flip % 8);
    }
    (void)LLVMFuzzerTestOneInput(copy, n);
    free(copy);
    inputs++;
}

static void replay(const uint8_t *data, size_t n)
{
    feed(data, n, SIZE_MAX);
    size_t step = n / CUTS_MAX + 1;
    for (size_t i = 0; i < n; i += step) {
        feed(data, i, SIZE_MAX);
    }
    step = n * 8 / FLIPS_MAX + 1;
    if (step > 1 && step % 2 == 0) {
        step++; /* odd, so that all bits of a byte get their turn */
    }
    for (size_t i = 0; i < n * 8; i += step) {
        feed(data, n, i);
    }
}

static int replay_file(const char *dir, const char *name, bool changed)
{
    char path[4096];
    int len = snprintf(path, sizeof path, "%s/%s", dir, name);
    struct stat st;
    if (len < 0 || (size_t)len >= sizeof path || stat(path, &st) != 0) {
        fprintf(stderr, "%s: cannot be read\n", name);
        return -1;
    }
    if (!S_ISREG(st.st_mode)) {
        return 0;
    }
    uint8_t *data = malloc(FILE_SIZE_MAX);
    FILE *f = fopen(path, "rb");
    int rc = -1;
    if (data != NULL && f != NULL && st.st_size <= FILE_SIZE_MAX) {
        size_t n = fread(data, 1, FILE_SIZE_MAX, f);
        if (!ferror(f)) {
            if (changed) {
                replay(data, n);
            } else {
                feed(data, n, SIZE_MAX);
            }
            rc = 1;
        }
    }
    if (rc < 0) {
        fprintf(stderr, "%s: cannot be read, or is too large\n", path);
    }
    if (f != NULL) {
        fclose(f);
    }
    free(data);
    return rc;
}

/* How many files there are; -1 when one of them, or all, cannot be read. */
static int replay_dir(const char *dir, bool changed)
{
    struct dirent **names = NULL;
    int n = scandir(dir, &names, NULL, alphasort);
    int files = 0, failed = n < 0;
    for (int i = 0; i < n; i++) {
        int rc = replay_file(dir, names[i]->d_name, changed);
        files += rc > 0;
        failed += rc < 0;
        free(names[i]);
    }
    free(names);
    if (files == 0) {
        fprintf(stderr, "%s holds no file to replay\n", dir);
    }
    return failed > 0 || files == 0 ? -1 : files;
}

int main(int argc, char **argv)
{
    if (argc != 2 && argc != 3) {
        fprintf(stderr, "usage: %s DIRECTORY [KEPT]\n", argv[0]);
        return 2;
    }
    int files = replay_dir(argv[1], true);
    int kept = argc == 3 ? replay_dir(argv[2], false) : 0;
    feed((const uint8_t *)"", 0, SIZE_MAX);
    printf("%d files, %d kept, %zu inputs\n", files, kept, inputs);
    return files < 0 || kept < 0;
}
