/* What benchmarks of the store on a disk share. */
#ifndef LINNET_TESTS_BENCH_DISK_H
#define LINNET_TESTS_BENCH_DISK_H

#include <stddef.h>
#include <time.h>

/* A clock, in seconds. */
double disk_now(clockid_t clock);
/* Ends the program with a line when err is not 0. */
void disk_check(int err, const char *what);
/* The path of a database of that name in dir; what is left of one there is deleted. */
void disk_scratch(const char *dir, const char *name, char *path, size_t size);

#endif
