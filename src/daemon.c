#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "app.h"
#include "base/err.h"
#include "base/log.h"
#include "config.h"
#include "crypto/keys.h"
#include "daemon_network.h"
#include "home.h"
#include "loop.h"
#include "store.h"

enum {
    EXIT_FAIL = 1,
    EXIT_USAGE = 2,
    EXIT_PASSPHRASE = 3,
    EXIT_INTERRUPTED = 130,
    CTRL_C = 3,
    ID_SHOWN = 4,
    MAX_ADDRS = 16,
};

void daemon_opts_init(struct daemon_opts *o)
{
    memset(o, 0, sizeof *o);
    o->passphrase_fd = -1;
    o->network_secret_fd = -1;
}

/* Everything of one run. */
struct run {
    const struct daemon_opts *opts;
    struct home home;
    struct config config;
    struct config_view view;
    struct keyfile key;
    struct daemon_network network;
    bool protected_, port_asked;
    struct loop *loop;
    struct app *app;
};

__attribute__((format(printf, 1, 2))) static void say(const char *fmt, ...)
{
    va_list ap;
    (void)fputs("linnet: ", stderr);
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fputc('\n', stderr);
}

/* No core dumps, no debugger of the same user, no new privileges, files for us alone. */
static void harden(void)
{
    const struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        log_warn("the process cannot be hardened: %s", strerror(errno));
    }
    (void)umask(077);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a file beyond `ulimit -f` is a full disk */
    /* As many descriptors as may be had: strangers' half-open links must not lock out
     * contacts. */
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max < LOOP_CARRIERS_MAX * 2 ? files.rlim_max
                                                                : LOOP_CARRIERS_MAX * 2;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    /* Few threads that allocate little: one arena keeps the memory small. */
    (void)mallopt(M_ARENA_MAX, 1);
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 20);
}

/* ---- configuration ---- */

/* One of a list: as check_option(), but a single item. */
static int check_item(enum config_key k, const char *s, const char *wanted)
{
    char why[CONFIG_WHY_MAX];
    if (s[0] == '\0' || strpbrk(s, ", \t") != NULL || config_check(k, s, why) != 0) {
        say("%s", wanted);
        return EXIT_USAGE;
    }
    return 0;
}

static int check_option(enum config_key k, const char *value)
{
    char why[CONFIG_WHY_MAX];
    if (value == NULL) {
        return 0;
    }
    if (value[0] == '\0' || config_check(k, value, why) != 0) {
        say("%s", value[0] == '\0' ? "An option's value is empty." : why);
        return EXIT_USAGE;
    }
    return 0;
}

/* The options, before anything is touched: a slip of the pen ends with 2 whatever the
 * home is like. */
static int check_options(const struct daemon_opts *o)
{
    int rc = check_option(CONFIG_SCOPE, o->scope);
    rc = rc != 0 ? rc : check_option(CONFIG_PORT, o->port);
    rc = rc != 0 ? rc : check_option(CONFIG_NAME, o->name);
    rc = rc != 0 ? rc : check_option(CONFIG_NETWORK, o->network);
    for (size_t i = 0; rc == 0 && i < o->n_peers; i++) {
        rc = check_item(CONFIG_PEER, o->peers[i], "--peer wants HOST or HOST:PORT.");
    }
    for (size_t i = 0; rc == 0 && i < o->n_bootstrap; i++) {
        rc =
            check_item(CONFIG_BOOTSTRAP, o->bootstrap[i], "--bootstrap wants HOST:PORT.");
    }
    return rc;
}

static void take_option(struct run *r, enum config_key k, const char *value)
{
    if (value != NULL) {
        (void)snprintf(r->config.value[k], sizeof r->config.value[k], "%s", value);
    }
}

static int take_peers(struct run *r)
{
    for (size_t i = 0; i < r->opts->n_peers; i++) {
        const char *p = r->opts->peers[i];
        size_t len = strlen(p);
        if (r->view.n_peers == CONFIG_PEERS_MAX) {
            say("There are more than %d peers.", CONFIG_PEERS_MAX);
            return EXIT_USAGE;
        }
        memcpy(r->view.peers[r->view.n_peers++], p, len + 1);
    }
    return 0;
}

/* The option's nodes in place of the configured ones: whoever names some wants that
 * network. */
static void take_bootstrap(struct run *r)
{
    const struct daemon_opts *o = r->opts;
    for (size_t i = 0; i < o->n_bootstrap; i++) {
        (void)snprintf(r->view.bootstrap[i], sizeof r->view.bootstrap[i], "%s",
                       o->bootstrap[i]);
    }
    r->view.n_bootstrap = o->n_bootstrap > 0 ? o->n_bootstrap : r->view.n_bootstrap;
}

/* The file's values, then the options in their place; the file's stay what `config.get`
 * shows. */
static int configure(struct run *r)
{
    char why[CONFIG_WHY_MAX];
    const struct daemon_opts *o = r->opts;
    if (config_load(r->home.config, &r->config, why) != 0) {
        say("%s", why);
        return EXIT_FAIL;
    }
    struct config *file = malloc(sizeof *file);
    if (file == NULL) {
        return EXIT_FAIL;
    }
    *file = r->config;
    take_option(r, CONFIG_SCOPE, o->scope);
    take_option(r, CONFIG_PORT, o->port);
    take_option(r, CONFIG_NAME, o->name);
    config_view(&r->config, &r->view);
    r->port_asked = r->view.port != 0;
    r->config = *file;
    free(file);
    log_set_level(r->view.log_level);
    take_bootstrap(r);
    return take_peers(r);
}

/* Its name and secret; not read before the home is ours. */
static int take_network(struct run *r)
{
    char why[DAEMON_NETWORK_WHY_MAX] = "";
    int rc = daemon_network_take(r->opts, &r->view, &r->network, why);
    if (rc != 0) {
        say("%s", why);
    }
    return rc == 0 ? 0 : rc == ERR_ARG ? EXIT_USAGE : EXIT_FAIL;
}

/* ---- the key ---- */

static int save_key(struct run *r)
{
    uint8_t bytes[KEYFILE_MAX];
    size_t len = 0;
    int rc = keyfile_encode(&r->key, env_system(), NULL, 0, bytes, &len);
    if (rc == 0) {
        rc = home_write_key(&r->home, bytes, len);
    }
    sodium_memzero(bytes, sizeof bytes);
    if (rc != 0) {
        say("The key file %s cannot be written: %s. Nothing was started.", r->home.key,
            err_str(rc));
    }
    return rc == 0 ? 0 : EXIT_FAIL;
}

/* A new home asks nothing: fresh secrets, no passphrase. */
static int make_key(struct run *r)
{
    const struct env *env = env_system();
    if (access(r->home.db, F_OK) == 0) {
        say("The home %s has a database but no key file: it would be of no use with a "
            "new "
            "key. Restore %s, or use another home.",
            r->home.dir, r->home.key);
        return EXIT_FAIL;
    }
    env_random(env, r->key.seed, sizeof r->key.seed);
    env_random(env, r->key.device_sec, sizeof r->key.device_sec);
    env_random(env, r->key.db_key, sizeof r->key.db_key);
    env_random(env, r->key.presence_p, sizeof r->key.presence_p);
    env_random(env, r->key.presence_a, sizeof r->key.presence_a);
    keys_self(r->key.seed, r->key.self);
    return save_key(r);
}

/* Reads up to the end of the line or of the file; -1 when that cannot be, or the line is
 * too long, -2 for ^C on a terminal. */
static ssize_t read_line(int fd, bool terminal, char *out, size_t cap)
{
    size_t n = 0;
    while (n < cap) {
        ssize_t got = read(fd, out + n, 1);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return -1;
        }
        if (got == 0 || out[n] == '\n') {
            return (ssize_t)n;
        }
        if (terminal && out[n] == CTRL_C) {
            return -2;
        }
        n++;
    }
    return -1;
}

/* Asks on the terminal, without echo. Negative: there is none (-1), or ^C (-2). */
static ssize_t ask(char *out, size_t cap)
{
    struct termios was, quiet;
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC);
    if (fd < 0 || tcgetattr(fd, &was) != 0) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return -1;
    }
    quiet = was;
    /* ^C comes as a line's end and not as a signal, so that the echo is switched on
     * again. */
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
    quiet.c_cc[VEOL] = CTRL_C;
    static const char prompt[] = "Passphrase of this home: ";
    (void)tcsetattr(fd, TCSAFLUSH, &quiet);
    (void)!write(fd, prompt, sizeof prompt - 1);
    ssize_t n = read_line(fd, true, out, cap);
    (void)tcsetattr(fd, TCSAFLUSH, &was);
    (void)!write(fd, "\n", 1);
    (void)close(fd);
    return n;
}

static int fail_key(const struct run *r, int rc)
{
    switch (rc) {
    case ERR_AUTH:
        say("The passphrase is wrong. The key file was not changed.");
        break;
    case ERR_NEWER:
        say("The key file %s was written by a newer linnet and was not changed. Bring "
            "this "
            "program up to date.",
            r->home.key);
        break;
    case ERR_NOMEM:
        say("There is not enough memory to open the key file.");
        break;
    default:
        say("The key file %s is damaged and was not changed. Restore it from a backup of "
            "the home.",
            r->home.key);
        break;
    }
    return EXIT_FAIL;
}

static int open_key(struct run *r, const uint8_t *bytes, size_t len)
{
    char pass[KEYFILE_PASSPHRASE_MAX + 1];
    ssize_t n = 0;
    int rc = keyfile_protected(bytes, len, &r->protected_);
    if (rc != 0) {
        return fail_key(r, rc);
    }
    if (r->protected_) {
        n = r->opts->passphrase_fd >= 0
                ? read_line(r->opts->passphrase_fd, false, pass, sizeof pass)
                : ask(pass, sizeof pass);
        if (n == -2) {
            sodium_memzero(pass, sizeof pass);
            return EXIT_INTERRUPTED;
        }
        if (n < 0) {
            sodium_memzero(pass, sizeof pass);
            say("The key of this home has a passphrase, and there is nobody to ask for "
                "it. "
                "Start it on a terminal, or give --passphrase-fd N.");
            return EXIT_PASSPHRASE;
        }
    }
    rc = keyfile_decode(bytes, len, r->protected_ ? pass : NULL, (size_t)n, &r->key);
    sodium_memzero(pass, sizeof pass);
    return rc == 0 ? 0 : fail_key(r, rc);
}

static int take_key(struct run *r)
{
    uint8_t bytes[KEYFILE_MAX];
    size_t len = 0;
    int rc = home_read_key(&r->home, bytes, &len);
    if (rc == ERR_NOTFOUND) {
        return make_key(r);
    }
    if (rc == ERR_IO) {
        say("The key file %s cannot be read: %s.", r->home.key, strerror(errno));
        return EXIT_FAIL;
    }
    rc = rc != 0 ? fail_key(r, rc) : open_key(r, bytes, len);
    sodium_memzero(bytes, sizeof bytes);
    return rc;
}

/* ---- start and end ---- */

static int take_home(struct run *r)
{
    char why[HOME_WHY_MAX] = "";
    int rc = home_init(&r->home, r->opts->home, true, why);
    if (rc == 0) {
        rc = home_lock(&r->home, why);
    }
    if (rc != 0) {
        say("%s", why);
    }
    return rc == 0 ? 0 : EXIT_FAIL;
}

static int open_parts(struct run *r)
{
    char why[APP_WHY_MAX] = "";
    struct store *store = NULL;
    uint16_t port = r->port_asked ? r->view.port : WIRE_LINK_PORT;
    int rc = home_make_run(&r->home, why);
    if (rc == 0) {
        rc = loop_new(env_system(), &r->view, port, r->port_asked, &r->loop, why);
    }
    if (rc == 0) {
        rc = store_open(r->home.db, &store, why, sizeof why);
    }
    if (rc == 0) {
        const struct app_config cfg = {
            .env = env_system(),
            .home = &r->home,
            .config = &r->config,
            .view = &r->view,
            .key = &r->key,
            .protected_ = r->protected_,
            .loop = r->loop,
            .store = store,
            .network = r->network.name,
            .network_secret = r->network.secret,
            .network_secret_len = r->network.secret_len,
        };
        rc = app_new(&cfg, &r->app, why);
        daemon_network_wipe(&r->network); /* its key is made */
    }
    if (rc != 0) {
        say("%s", why);
    }
    return rc == 0 ? 0 : EXIT_FAIL;
}

static void print_ready(void *ctx, struct app *a)
{
    const struct run *r = ctx;
    struct addr v[MAX_ADDRS];
    char id[2 * ID_SHOWN + 1], s[ADDR_STR_MAX];
    (void)sodium_bin2hex(id, sizeof id, node_root(a->node), ID_SHOWN);
    /* Names hold no control characters; the terminal gets nothing else of others'. */
    (void)printf("linnet: ready — %s, ID %s, port %u, %s\n", node_name(a->node), id,
                 (unsigned)loop_port(r->loop),
                 r->protected_ ? "protected"
                               : "the key is not protected by a passphrase");
    size_t n = app_addresses(a, v, MAX_ADDRS);
    for (size_t i = 0; i < n; i++) {
        (void)printf("address: %s\n", addr_str(&v[i], s));
    }
    (void)printf("api: %s\n", r->home.api);
    if (node_network(a->node)[0] != '\0') {
        (void)printf("network: %s\n", node_network(a->node));
    }
    if (node_network_left(a->node)[0] != '\0') {
        say("This node is not in the network \"%s\" any more. The contacts that it made "
            "stay: `linnet contacts` names them, `linnet contact remove` removes one.",
            node_network_left(a->node));
    }
    (void)fflush(stdout);
}

static int run_all(struct run *r)
{
    int rc = check_options(r->opts);
    rc = rc != 0 ? rc : take_home(r);
    rc = rc != 0 ? rc : configure(r);
    rc = rc != 0 ? rc : take_network(r);
    rc = rc != 0 ? rc : take_key(r);
    rc = rc != 0 ? rc : open_parts(r);
    if (rc == 0) {
        app_run(r->app, print_ready, r);
    }
    return rc;
}

int daemon_main(const struct daemon_opts *o)
{
    struct run *r = calloc(1, sizeof *r);
    if (r == NULL || sodium_init() < 0) {
        free(r);
        say("Memory is exhausted.");
        return EXIT_FAIL;
    }
    r->opts = o;
    r->home.lock_fd = -1;
    harden();
    int rc = run_all(r);
    bool locked = r->home.lock_fd >= 0;
    app_free(r->app);
    loop_free(r->loop);
    if (locked && r->home.run[0] != '\0') {
        home_clear_run(&r->home);
    }
    daemon_network_wipe(&r->network);
    keyfile_release(&r->key);
    home_release(&r->home);
    free(r);
    return rc;
}
