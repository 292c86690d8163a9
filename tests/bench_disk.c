#include "bench_disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

double disk_now(clockid_t clock)
{
    struct timespec t;
    (void)clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void disk_check(int err, const char *what)
{
    if (err != 0) {
        (void)fprintf(stderr, "%s: error %d\n", what, err);
        exit(1);
    }
}

void disk_scratch(const char *dir, const char *name, char *path, size_t size)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    char more[600];
    (void)snprintf(path, size, "%s/bench-%s-%d.db", dir, name, (int)getpid());
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        (void)snprintf(more, sizeof more, "%s%s", path, ends[i]);
        (void)unlink(more);
    }
}
