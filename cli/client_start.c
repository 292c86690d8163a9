/* Starting a node in the background. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sodium.h>

#include "base/env.h"
#include "cli.h"
#include "client_priv.h"
#include "fmt.h"
#include "home.h"

enum {
    POLL_MS = 5,
    GRACE_MS = 3000, /* for the node of somebody else, when ours gave way to it */
    TAIL_MAX = 2048, /* bytes of the log that are looked at */
    FD_TEXT_MAX = 16,
};

struct start {
    struct home *home;
    int lock, log, pass; /* file descriptors, -1: none */
    off_t log_at;        /* where what this node says begins */
    pid_t pid;
};

static int failed(struct client_fail *f, int code, const char *message)
{
    f->code = code;
    (void)snprintf(f->message, sizeof f->message, "%s", message);
    return code;
}

static int open_in(const struct home *h, const char *name, int flags)
{
    char path[HOME_PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", h->dir, name);
    if (n < 0 || (size_t)n >= sizeof path) {
        return -1;
    }
    return open(path, flags | O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

/* Waits for our turn among those that start a node here. */
static bool take_turn(struct start *s, uint64_t deadline)
{
    s->lock = open_in(s->home, "start.lock", 0);
    while (s->lock >= 0 && flock(s->lock, LOCK_EX | LOCK_NB) != 0) {
        if ((errno != EWOULDBLOCK && errno != EINTR) || env_mono_ms() >= deadline) {
            return false;
        }
        (void)poll(NULL, 0, POLL_MS);
    }
    return s->lock >= 0;
}

/* A pipe that holds the passphrase; its end for reading. */
static int passphrase_pipe(const struct client_options *o)
{
    char pass[CLIENT_PASSPHRASE_MAX + 1];
    int ends[2];
    if (o->passphrase == NULL || !o->passphrase(o->ctx, pass, sizeof pass) ||
        pipe2(ends, O_CLOEXEC) != 0) {
        sodium_memzero(pass, sizeof pass);
        return -1;
    }
    size_t len = strlen(pass);
    bool ok = write(ends[1], pass, len) == (ssize_t)len; /* a pipe holds 64 KiB */
    sodium_memzero(pass, sizeof pass);
    (void)close(ends[1]);
    if (!ok) {
        (void)close(ends[0]);
        return -1;
    }
    return ends[0];
}

/* In the child: becomes the node. */
static _Noreturn void become_node(struct start *s)
{
    char fd[FD_TEXT_MAX];
    char *const with[] = {"linnet",          "--home", s->home->dir, "daemon",
                          "--passphrase-fd", fd,       NULL};
    char *const without[] = {"linnet", "--home", s->home->dir, "daemon", NULL};
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    (void)setsid();
    (void)signal(SIGINT, SIG_DFL);
    (void)signal(SIGPIPE, SIG_DFL);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(s->log, STDOUT_FILENO) < 0 ||
        dup2(s->log, STDERR_FILENO) < 0 || chdir("/") != 0) {
        _exit(CLI_ERROR);
    }
    (void)snprintf(fd, sizeof fd, "%d", s->pass);
    if (s->pass >= 0) {
        (void)fcntl(s->pass, F_SETFD, 0);
    }
    (void)execv("/proc/self/exe", s->pass >= 0 ? with : without);
    _exit(CLI_ERROR);
}

/* The last sentence of the log since the start, without what a journal puts before it. */
static void last_words(const struct start *s, struct client_fail *fail)
{
    char text[TAIL_MAX + 1];
    struct stat st;
    if (fstat(s->log, &st) != 0 || st.st_size <= s->log_at) {
        return;
    }
    off_t from = st.st_size - s->log_at > TAIL_MAX ? st.st_size - TAIL_MAX : s->log_at;
    ssize_t n = pread(s->log, text, TAIL_MAX, from);
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' ')) {
        n--;
    }
    text[n > 0 ? n : 0] = '\0';
    char *line = strrchr(text, '\n');
    line = line != NULL ? line + 1 : text;
    if (line[0] == '<' && line[1] != '\0' && line[2] == '>') {
        line += 3;
    }
    static const char *const tags[] = {"linnet: ", "error: "};
    for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++) {
        if (strncmp(line, tags[i], strlen(tags[i])) == 0) {
            line += strlen(tags[i]);
        }
    }
    if (line[0] != '\0') {
        char *shown = cli_shown(line);
        (void)snprintf(fail->message, sizeof fail->message, "%s", shown);
        free(shown);
    }
}

/* Waits until a node answers. */
static int await(struct start *s, uint64_t deadline, struct client_fail *fail)
{
    bool ended = false;
    for (;;) {
        if (client_running(s->home)) {
            return 0;
        }
        if (!ended && waitpid(s->pid, NULL, WNOHANG) == s->pid) {
            ended = true;
            (void)failed(fail, CLI_NO_NODE,
                         "The node did not start. Try `linnet daemon`.");
            last_words(s, fail);
            /* It gave way to a node that was started by hand meanwhile: wait for that. */
            bool other = strstr(fail->message, "runs in") != NULL;
            deadline = other ? env_mono_ms() + GRACE_MS : 0;
        }
        if (env_mono_ms() >= deadline) {
            break;
        }
        (void)poll(NULL, 0, POLL_MS);
    }
    if (!ended) {
        (void)failed(
            fail, CLI_NO_NODE,
            "The node was started, but does not answer yet. Look into node.log in "
            "its home.");
    }
    return fail->code;
}

static int launch(struct start *s, uint64_t deadline, struct client_fail *fail)
{
    struct stat st;
    s->log = open_in(s->home, "node.log", O_APPEND);
    if (s->log < 0 || fstat(s->log, &st) != 0) {
        (void)snprintf(fail->message, sizeof fail->message,
                       "The home %.300s cannot be written to: %s.", s->home->dir,
                       strerror(errno));
        return fail->code = CLI_NO_NODE;
    }
    s->log_at = st.st_size;
    if (st.st_size > CLIENT_LOG_MAX && ftruncate(s->log, 0) == 0) {
        s->log_at = 0;
    }
    s->pid = fork();
    if (s->pid == 0) {
        become_node(s);
    }
    if (s->pid < 0) {
        return failed(fail, CLI_NO_NODE, "No process can be started for the node.");
    }
    return await(s, deadline, fail);
}

static void close_fd(int fd)
{
    if (fd >= 0) {
        (void)close(fd);
    }
}

int client_start(struct home *h, const struct client_options *o, struct client_fail *fail)
{
    struct start s = {.home = h, .lock = -1, .log = -1, .pass = -1};
    uint64_t deadline = env_mono_ms() + CLIENT_START_MS;
    bool wanted = false;
    int rc = 0;
    (void)failed(fail, CLI_NO_NODE,
                 "The home cannot be locked for the start of the node.");
    if (!take_turn(&s, deadline)) {
        rc = fail->code;
    } else if (client_running(h)) {
        rc = 0; /* somebody else's turn came first */
    } else if (home_key_protected(h, &wanted) == 0 && wanted &&
               (s.pass = passphrase_pipe(o)) < 0) {
        rc = failed(
            fail, CLI_NO_NODE,
            "The key of this home has a passphrase, and there is no terminal to ask "
            "for it. Start the node with `linnet daemon --passphrase-fd N`.");
    } else {
        rc = launch(&s, env_mono_ms() + CLIENT_START_MS, fail);
    }
    close_fd(s.pass);
    close_fd(s.log);
    close_fd(s.lock);
    return rc;
}
