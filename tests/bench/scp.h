/* Copies by scp, to measure beside: an sshd on loopback with keys and a configuration of
 * its own, nothing of the user's or the machine's. */
#ifndef LINNET_TESTS_SCP_H
#define LINNET_TESTS_SCP_H

#include <stdbool.h>
#include <sys/types.h>

#include "bench.h"

struct scp {
    const struct bench *b;
    char dir[BENCH_PATH]; /* keys, configuration, log */
    pid_t sshd;
};

/* What a copy took. The processor time is of all processes: scp and ssh as getrusage
 * tells it of children, sshd with the processes it started and waited for as
 * /proc/PID/stat tells it (whole hundredths of a second). */
struct scp_took {
    double seconds, cpu_s;
};

/* False: it cannot be measured here; why was printed. */
bool scp_start(const struct bench *b, struct scp *s);
void scp_stop(struct scp *s);
/* A file or a whole folder into a folder that is there. */
void scp_copy(const struct scp *s, const char *from, const char *to,
              struct scp_took *out);

#endif
