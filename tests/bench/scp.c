#include "scp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PORT = 2299, START_S = 10, WORD_MAX = BENCH_PATH + 64 };
static const char sshd_path[] = "/usr/sbin/sshd";

/* ---- processes ---- */

static void log_to(const struct scp *s)
{
    char path[WORD_MAX];
    (void)snprintf(path, sizeof path, "%s/log", s->dir);
    int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int out = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    (void)dup2(in, STDIN_FILENO);
    (void)dup2(out, STDOUT_FILENO);
    (void)dup2(out, STDERR_FILENO);
}

static pid_t start(const struct scp *s, char *const argv[])
{
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        log_to(s);
        (void)execvp(argv[0], argv);
        _exit(127);
    }
    return pid;
}

static bool succeeds(const struct scp *s, char *const argv[])
{
    int status = 0;
    pid_t pid = start(s, argv);
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

static void print_log(const struct scp *s)
{
    char path[WORD_MAX], line[256];
    (void)snprintf(path, sizeof path, "%s/log", s->dir);
    FILE *f = fopen(path, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        (void)fprintf(stderr, "scp: %s", line);
    }
    if (f != NULL) {
        (void)fclose(f);
    }
}

/* ---- sshd ---- */

static bool make_key(const struct scp *s, const char *name)
{
    char path[WORD_MAX];
    (void)snprintf(path, sizeof path, "%s/%s", s->dir, name);
    char *argv[] = {"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path, NULL};
    return succeeds(s, argv);
}

static FILE *make_file(const struct scp *s, const char *name)
{
    char path[WORD_MAX];
    (void)snprintf(path, sizeof path, "%s/%s", s->dir, name);
    FILE *f = fopen(path, "we");
    if (f == NULL) {
        bench_die("%s: %s", path, strerror(errno));
    }
    return f;
}

static void configure(const struct scp *s)
{
    FILE *f = make_file(s, "sshd.conf");
    (void)fprintf(f,
                  "Port %d\nListenAddress 127.0.0.1\nHostKey %s/host\n"
                  "AuthorizedKeysFile %s/user.pub\nStrictModes no\nUsePAM no\n"
                  "PermitRootLogin yes\nPidFile none\nSubsystem sftp internal-sftp\n",
                  PORT, s->dir, s->dir);
    (void)fclose(f);
    f = make_file(s, "ssh.conf");
    (void)fprintf(f,
                  "Port %d\nIdentityFile %s/user\nIdentitiesOnly yes\n"
                  "IdentityAgent none\nStrictHostKeyChecking no\n"
                  "UserKnownHostsFile /dev/null\nGlobalKnownHostsFile /dev/null\n"
                  "BatchMode yes\nLogLevel ERROR\n",
                  PORT, s->dir);
    (void)fclose(f);
}

/* sshd wants /run/sshd, which there is only once the machine's own has been started: it
 * gets a /run of its own. */
static void exec_sshd(const struct scp *s)
{
    char path[WORD_MAX];
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    log_to(s);
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", "/run", "tmpfs", 0, "mode=755") != 0 ||
        mkdir("/run/sshd", 0755) != 0) {
        perror("/run/sshd");
        _exit(1);
    }
    (void)snprintf(path, sizeof path, "%s/sshd.conf", s->dir);
    (void)execl(sshd_path, sshd_path, "-D", "-e", "-f", path, (char *)NULL);
    _exit(127);
}

static bool listens(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = connect(fd, (struct sockaddr *)&to, sizeof to) == 0;
    (void)close(fd);
    return ok;
}

static bool run_sshd(struct scp *s)
{
    s->sshd = fork();
    if (s->sshd == 0) {
        exec_sshd(s);
    }
    double until = bench_now() + START_S;
    while (!listens()) {
        if (waitpid(s->sshd, NULL, WNOHANG) == s->sshd) {
            s->sshd = 0;
            return false;
        }
        if (bench_now() > until) {
            return false;
        }
        bench_sleep(0.01);
    }
    return true;
}

/* ---- copies ---- */

static bool copy(const struct scp *s, const char *from, const char *to)
{
    char conf[WORD_MAX], source[WORD_MAX], dest[WORD_MAX];
    (void)snprintf(conf, sizeof conf, "%s/ssh.conf", s->dir);
    (void)snprintf(source, sizeof source, "%s", from);
    (void)snprintf(dest, sizeof dest, "root@127.0.0.1:%s/", to);
    char *argv[] = {"scp", "-r", "-q", "-F", conf, source, dest, NULL};
    return succeeds(s, argv);
}

static double of_children(void)
{
    struct rusage u;
    (void)getrusage(RUSAGE_CHILDREN, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static bool has_children(pid_t pid)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *f = fopen(path, "re");
    bool any = f != NULL && fgetc(f) != EOF;
    if (f != NULL) {
        (void)fclose(f);
    }
    return any;
}

/* Of sshd and what it has waited for, once the processes of connections have ended. */
static double of_sshd(const struct scp *s)
{
    char path[64], line[1024] = "";
    unsigned long long t[4] = {0};
    double until = bench_now() + START_S;
    while (has_children(s->sshd) && bench_now() < until) {
        bench_sleep(0.005);
    }
    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)s->sshd);
    FILE *f = fopen(path, "re");
    if (f == NULL || fgets(line, sizeof line, f) == NULL) {
        bench_die("%s: %s", path, strerror(errno));
    }
    (void)fclose(f);
    const char *after = strrchr(line, ')');
    if (after == NULL ||
        sscanf(after + 1,
               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %llu %llu", &t[0],
               &t[1], &t[2], &t[3]) != 4) {
        bench_die("%s cannot be read", path);
    }
    return (double)(t[0] + t[1] + t[2] + t[3]) / (double)sysconf(_SC_CLK_TCK);
}

void scp_copy(const struct scp *s, const char *from, const char *to, struct scp_took *out)
{
    double cpu = of_children() + of_sshd(s), t0 = bench_now();
    if (!copy(s, from, to)) {
        print_log(s);
        bench_die("scp %s failed", from);
    }
    out->seconds = bench_now() - t0;
    out->cpu_s = of_children() + of_sshd(s) - cpu;
}

bool scp_start(const struct bench *b, struct scp *s)
{
    char probe[WORD_MAX];
    memset(s, 0, sizeof *s);
    s->b = b;
    (void)snprintf(s->dir, sizeof s->dir, "%.400s/ssh", b->dir);
    if (mkdir(s->dir, 0700) != 0) {
        bench_die("%s: %s", s->dir, strerror(errno));
    }
    if (access(sshd_path, X_OK) != 0 || !make_key(s, "host") || !make_key(s, "user")) {
        (void)printf("scp is left out: openssh-server and openssh-client are needed\n");
        return false;
    }
    configure(s);
    (void)snprintf(probe, sizeof probe, "%s/user.pub", s->dir);
    if (!run_sshd(s) || !copy(s, probe, b->shm)) {
        (void)printf("scp is left out: it does not work here\n");
        print_log(s);
        scp_stop(s);
        return false;
    }
    return true;
}

void scp_stop(struct scp *s)
{
    if (s->sshd > 0) {
        (void)kill(s->sshd, SIGTERM);
        (void)waitpid(s->sshd, NULL, 0);
        s->sshd = 0;
    }
}
