#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/size.h"
#include "base/when.h"
#include "presence.h"

enum {
    LINE_MAX_BYTES = 190, /* inih reads lines of up to 198 */
    PORT_DIGITS_MAX = 5,
    AWAY_AFTER_MAX_DAYS = 366,
    DAY_MS = 86400000,
    ACCEPT_MAX_DEFAULT = 100 * 1000 * 1000,
};
#define ACCEPT_QUOTA_DEFAULT (UINT64_C(10) * 1000 * 1000 * 1000)

static const struct {
    const char *name;
    bool restarts;
} keys[CONFIG_KEYS] = {
    [CONFIG_NAME] = {"name", false},
    [CONFIG_INTERFACES] = {"interfaces", true},
    [CONFIG_SUBNETS] = {"subnets", true},
    [CONFIG_PEER] = {"peer", true},
    [CONFIG_BOOTSTRAP] = {"bootstrap", true},
    [CONFIG_SCOPE] = {"scope", true},
    [CONFIG_PORT] = {"port", true},
    [CONFIG_LOG_LEVEL] = {"log_level", false},
    [CONFIG_NETWORK] = {"network", true},
    [CONFIG_NETWORK_SECRET_FILE] = {"network-secret-file", true},
    [CONFIG_AWAY_AFTER] = {"away_after", false},
    [CONFIG_ACCEPT] = {"accept", false},
    [CONFIG_ACCEPT_MAX] = {"accept_max", false},
    [CONFIG_ACCEPT_QUOTA] = {"accept_quota", false},
    [CONFIG_DOWNLOADS] = {"downloads", false},
    [CONFIG_LIMIT_RATE] = {"limit_rate", false},
};

static const char *const levels[] = {"error", "warn", "info", "debug"};

const char *config_key_name(enum config_key k)
{
    return keys[k].name;
}

enum config_key config_key_find(const char *name)
{
    unsigned k = 0;
    while (k < CONFIG_KEYS && strcmp(keys[k].name, name) != 0) {
        k++;
    }
    return (enum config_key)k;
}

bool config_key_restarts(enum config_key k)
{
    return keys[k].restarts;
}

/* Takes the next item off a list separated by commas and blanks. False at the end, and
 * with *too_long when an item has more than max bytes. */
static bool next_item(const char **s, char *out, size_t max, bool *too_long)
{
    const char *p = *s + strspn(*s, ", \t");
    size_t n = strcspn(p, ", \t");
    *s = p + n;
    if (n > max) {
        *too_long = true;
        return false;
    }
    memcpy(out, p, n);
    out[n] = '\0';
    return n > 0;
}

static bool parse_ifaces(const char *s, struct config_view *v)
{
    char item[CONFIG_IFACE_LEN + 1];
    bool bad = false;
    v->n_ifaces = 0;
    while (next_item(&s, item, CONFIG_IFACE_LEN, &bad)) {
        if (v->n_ifaces == CONFIG_IFACES_MAX || strchr(item, '/') != NULL) {
            return false;
        }
        memcpy(v->ifaces[v->n_ifaces++], item, sizeof item);
    }
    return !bad;
}

static bool parse_subnets(const char *s, struct config_view *v)
{
    char item[ADDR_STR_MAX];
    bool bad = false;
    v->n_subnets = 0;
    while (next_item(&s, item, sizeof item - 1, &bad)) {
        if (v->n_subnets == CONFIG_SUBNETS_MAX ||
            prefix_parse(item, &v->subnets[v->n_subnets]) != 0) {
            return false;
        }
        v->n_subnets++;
    }
    return !bad;
}

/* standard: the port when none is given; 0: one has to be. */
static bool split(const char *s, uint16_t standard, char host[CONFIG_HOST_MAX + 1],
                  uint16_t *port)
{
    const char *colon = strrchr(s, ':');
    size_t n = colon == NULL ? strlen(s) : (size_t)(colon - s);
    unsigned long v = standard;
    if (colon != NULL) {
        char *end;
        v = strtoul(colon + 1, &end, 10);
        if (*end != '\0' || end == colon + 1 || v == 0 || v > UINT16_MAX) {
            return false;
        }
    }
    if (v == 0 || n == 0 || n > CONFIG_HOST_MAX || memchr(s, ':', n) != NULL) {
        return false;
    }
    memcpy(host, s, n);
    host[n] = '\0';
    *port = (uint16_t)v;
    return true;
}

bool config_split_peer(const char *s, char host[CONFIG_HOST_MAX + 1], uint16_t *port)
{
    return split(s, WIRE_LINK_PORT, host, port);
}

bool config_split_bootstrap(const char *s, char host[CONFIG_HOST_MAX + 1], uint16_t *port)
{
    return split(s, 0, host, port);
}

static bool parse_peers(const char *s, struct config_view *v)
{
    char item[CONFIG_HOST_MAX + 1];
    bool bad = false;
    v->n_peers = 0;
    while (next_item(&s, item, CONFIG_HOST_MAX, &bad)) {
        struct addr addr;
        char host[CONFIG_HOST_MAX + 1];
        uint16_t port;
        if (v->n_peers == CONFIG_PEERS_MAX ||
            (addr_parse(item, WIRE_LINK_PORT, &addr) != 0 &&
             !config_split_peer(item, host, &port))) {
            return false;
        }
        memcpy(v->peers[v->n_peers++], item, sizeof item);
    }
    return !bad;
}

static bool parse_bootstrap(const char *s, struct config_view *v)
{
    char item[CONFIG_HOST_MAX + 1];
    bool bad = false;
    v->n_bootstrap = 0;
    while (next_item(&s, item, CONFIG_HOST_MAX, &bad)) {
        struct addr addr;
        char host[CONFIG_HOST_MAX + 1];
        uint16_t port;
        bool number = addr_parse(item, 0, &addr) == 0;
        if (v->n_bootstrap == CONFIG_BOOTSTRAP_MAX || (number && addr.port == 0) ||
            (!number && !config_split_bootstrap(item, host, &port))) {
            return false;
        }
        memcpy(v->bootstrap[v->n_bootstrap++], item, sizeof item);
    }
    return !bad;
}

static bool parse_port(const char *s, uint16_t *out)
{
    size_t n = strspn(s, "0123456789");
    unsigned long v = n > 0 && n <= PORT_DIGITS_MAX ? strtoul(s, NULL, 10) : 0;
    if (s[n] != '\0' || v > UINT16_MAX || (n > 0 && v == 0) || n > PORT_DIGITS_MAX) {
        return false;
    }
    *out = (uint16_t)v;
    return true;
}

static bool parse_level(const char *s, enum log_level *out)
{
    for (unsigned i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (strcmp(s, levels[i]) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

static bool parse_away_after(const char *s, uint64_t *out)
{
    uint64_t ms = 0;
    if (strcmp(s, "0") != 0 && !when_duration(s, &ms)) {
        return false;
    }
    if (ms > (uint64_t)AWAY_AFTER_MAX_DAYS * DAY_MS) {
        return false;
    }
    *out = ms;
    return true;
}

static bool parse_scope(const char *s, enum scope_mode *out)
{
    if (strcmp(s, "lan") != 0 && strcmp(s, "internet") != 0) {
        return false;
    }
    *out = s[0] == 'l' ? SCOPE_LAN : SCOPE_INTERNET;
    return true;
}

static bool parse_accept(const char *s, enum xfer_accept *out)
{
    static const char *const words[] = {[XFER_ACCEPT_ASK] = "ask",
                                        [XFER_ACCEPT_CONTACTS] = "contacts",
                                        [XFER_ACCEPT_VERIFIED] = "verified"};
    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(s, words[i]) == 0) {
            *out = (enum xfer_accept)i;
            return true;
        }
    }
    return false;
}

/* A limit in bytes, UINT64_MAX when there is none. */
static bool parse_limit(const char *s, uint64_t *out)
{
    uint64_t v;
    if (!size_or_none(s, &v)) {
        return false;
    }
    *out = v == SIZE_NONE ? UINT64_MAX : v;
    return true;
}

static bool parse_rate(const char *s, uint64_t *out)
{
    uint64_t v;
    if (!size_or_none(s, &v)) {
        return false;
    }
    *out = v == SIZE_NONE ? 0 : v;
    return true;
}

/* Where files go unless something else is set. */
static void default_downloads(char out[HOME_PATH_MAX])
{
    const char *dir = getenv("XDG_DOWNLOAD_DIR"), *home = getenv("HOME");
    int n = dir != NULL && dir[0] == '/' ? snprintf(out, HOME_PATH_MAX, "%s/linnet", dir)
            : home != NULL && home[0] == '/'
                ? snprintf(out, HOME_PATH_MAX, "%s/Downloads/linnet", home)
                : 0;
    if (n <= 0 || n >= HOME_PATH_MAX) {
        out[0] = '\0';
    }
}

/* The keys about files. */
static const char *parse_file_value(enum config_key k, const char *s,
                                    struct config_view *v)
{
    if (k == CONFIG_ACCEPT) {
        return parse_accept(s, &v->accept.accept) ? NULL : "ask, contacts or verified";
    }
    if (k == CONFIG_ACCEPT_MAX) {
        return parse_limit(s, &v->accept.max) ? NULL : "a size, as in 100M, or none";
    }
    if (k == CONFIG_ACCEPT_QUOTA) {
        return parse_limit(s, &v->accept.quota) ? NULL
                                                : "a size for a day, as in 10G, or none";
    }
    if (k == CONFIG_LIMIT_RATE) {
        return parse_rate(s, &v->limit_rate)
                   ? NULL
                   : "a size for a second, as in 5M, or 0 for no limit";
    }
    if (s[0] != '/' || strlen(s) > CONFIG_VALUE_MAX) {
        return "the absolute path of a folder";
    }
    (void)snprintf(v->downloads, sizeof v->downloads, "%s", s);
    return NULL;
}

/* What one value means. NULL when it can be used, else what is wanted. */
static const char *parse_value(enum config_key k, const char *s, struct config_view *v)
{
    if (s[0] == '\0') {
        return NULL;
    }
    size_t len = strlen(s);
    switch (k) {
    case CONFIG_NAME:
        if (!wire_name_ok((const uint8_t *)s, len)) {
            return "a name of at most 64 bytes without control characters";
        }
        memcpy(v->name, s, len + 1);
        return NULL;
    case CONFIG_INTERFACES:
        return parse_ifaces(s, v) ? NULL : "names of network interfaces, as in lo,eth0";
    case CONFIG_SUBNETS:
        return parse_subnets(s, v) ? NULL : "networks, as in 10.1.0.0/16,10.2.0.0/16";
    case CONFIG_PEER:
        return parse_peers(s, v) ? NULL : "hosts, as in 10.1.0.7:7679,printer.lan";
    case CONFIG_BOOTSTRAP:
        return parse_bootstrap(s, v)
                   ? NULL
                   : "hosts with a port, as in 192.0.2.1:6881,node.lan:6881";
    case CONFIG_SCOPE:
        return parse_scope(s, &v->scope) ? NULL : "lan or internet";
    case CONFIG_PORT:
        return parse_port(s, &v->port) ? NULL : "a number from 1 to 65535";
    case CONFIG_LOG_LEVEL:
        return parse_level(s, &v->log_level) ? NULL : "error, warn, info or debug";
    case CONFIG_NETWORK:
        if (!wire_name_ok((const uint8_t *)s, len)) {
            return "the name of a network, of at most 64 bytes without control "
                   "characters";
        }
        memcpy(v->network, s, len + 1);
        return NULL;
    case CONFIG_NETWORK_SECRET_FILE:
        if (s[0] != '/' || len > CONFIG_VALUE_MAX) {
            return "the absolute path of a file that holds the secret";
        }
        memcpy(v->network_secret_file, s, len + 1);
        return NULL;
    case CONFIG_AWAY_AFTER:
        return parse_away_after(s, &v->away_after_ms)
                   ? NULL
                   : "a duration of at most a year, as in 10m, or 0 for never";
    case CONFIG_ACCEPT:
    case CONFIG_ACCEPT_MAX:
    case CONFIG_ACCEPT_QUOTA:
    case CONFIG_DOWNLOADS:
    case CONFIG_LIMIT_RATE:
        return parse_file_value(k, s, v);
    case CONFIG_KEYS:
        break;
    }
    return "a known key";
}

void config_view(const struct config *c, struct config_view *out)
{
    memset(out, 0, sizeof *out);
    out->scope = SCOPE_INTERNET;
    out->log_level = LOG_WARN;
    out->away_after_ms = PRESENCE_AWAY_AFTER_MS;
    out->accept = (struct xfer_policy){.accept = XFER_ACCEPT_ASK,
                                       .max = ACCEPT_MAX_DEFAULT,
                                       .quota = ACCEPT_QUOTA_DEFAULT};
    default_downloads(out->downloads);
    for (unsigned k = 0; k < CONFIG_KEYS; k++) {
        (void)parse_value((enum config_key)k, c->value[k], out);
    }
}

int config_check(enum config_key k, const char *value, char why[CONFIG_WHY_MAX])
{
    struct config_view *v = calloc(1, sizeof *v);
    if (v == NULL) {
        return ERR_NOMEM;
    }
    const char *wanted = parse_value(k, value, v);
    free(v);
    size_t len = strlen(value);
    for (size_t i = 0; wanted == NULL && i < len; i++) {
        if ((unsigned char)value[i] < ' ' || value[i] == ';') {
            wanted = "text without control characters and semicolons";
        }
    }
    if (wanted == NULL && len > 0 &&
        (value[0] == ' ' || value[len - 1] == ' ' ||
         len + strlen(keys[k].name) + sizeof " = " > LINE_MAX_BYTES)) {
        wanted = "a shorter text without blanks at its ends";
    }
    if (wanted != NULL) {
        (void)snprintf(why, CONFIG_WHY_MAX, "\"%s\" wants %s.", keys[k].name, wanted);
        return ERR_ARG;
    }
    return 0;
}

struct parse {
    struct config *c;
    char *why; /* CONFIG_WHY_MAX bytes; empty while all is well */
};

/* inih's handler: 1 when the line is fine. A key given again adds to a list. */
static int take(void *ctx, const char *section, const char *name, const char *value)
{
    struct parse *p = ctx;
    if (p->why[0] != '\0') {
        return 0;
    }
    enum config_key k = config_key_find(name);
    if (section[0] != '\0') {
        (void)snprintf(p->why, CONFIG_WHY_MAX, "sections are not used");
        return 0;
    }
    if (k == CONFIG_KEYS) {
        (void)snprintf(
            p->why, CONFIG_WHY_MAX,
            "unknown key \"%.40s\"; known are name, interfaces, subnets, peer, "
            "bootstrap, scope, port, log_level, away_after, network, "
            "network-secret-file, accept, "
            "accept_max, accept_quota, downloads and limit_rate",
            name);
        return 0;
    }
    char check[CONFIG_WHY_MAX];
    if (config_check(k, value, check) != 0) {
        (void)snprintf(p->why, CONFIG_WHY_MAX, "%.400s", check);
        return 0;
    }
    char *v = p->c->value[k];
    bool list = k == CONFIG_INTERFACES || k == CONFIG_SUBNETS || k == CONFIG_PEER ||
                k == CONFIG_BOOTSTRAP;
    size_t have = list ? strlen(v) : 0;
    int n = snprintf(v + have, CONFIG_VALUE_MAX + 1 - have, "%s%s", have > 0 ? "," : "",
                     value);
    if (n < 0 || (size_t)n > CONFIG_VALUE_MAX - have ||
        config_check(k, value, check) != 0) {
        (void)snprintf(p->why, CONFIG_WHY_MAX, "\"%s\" has too long a value", name);
        return 0;
    }
    return 1;
}

/* The number of the first line that is too long or holds a NUL, 0 when there is none. */
static unsigned bad_line(const char *text, size_t len)
{
    unsigned line = 1;
    size_t start = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\n') {
            line++;
            start = i + 1;
        } else if (i - start >= LINE_MAX_BYTES || text[i] == '\0') {
            return line;
        }
    }
    return 0;
}

int config_parse(const char *text, size_t len, struct config *out,
                 char why[CONFIG_WHY_MAX])
{
    if (len > CONFIG_FILE_MAX) {
        (void)snprintf(why, CONFIG_WHY_MAX, "the file is too long");
        return ERR_LIMIT;
    }
    unsigned line = bad_line(text, len);
    if (line != 0) {
        (void)snprintf(why, CONFIG_WHY_MAX,
                       "line %u: too long (%d bytes are possible), or not text", line,
                       LINE_MAX_BYTES);
        return ERR_FORMAT;
    }
    char *copy = malloc(len + 1);
    struct config *c = calloc(1, sizeof *c);
    char detail[CONFIG_WHY_MAX] = "";
    struct parse p = {c, detail};
    int rc = copy == NULL || c == NULL ? ERR_NOMEM : 0;
    if (rc == 0) {
        memcpy(copy, text, len);
        copy[len] = '\0';
        int bad = ini_parse_string(copy, take, &p);
        if (bad != 0) {
            (void)snprintf(why, CONFIG_WHY_MAX, "line %d: %.400s", bad,
                           detail[0] != '\0' ? detail : "not of the form KEY = VALUE");
            rc = ERR_FORMAT;
        } else {
            *out = *c;
        }
    }
    free(copy);
    free(c);
    return rc;
}

/* The whole file; *out is malloc'ed. A missing file is empty. */
static int read_file(const char *path, char **out, size_t *len)
{
    char *p = malloc(CONFIG_FILE_MAX + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (p == NULL || (fd < 0 && errno != ENOENT)) {
        free(p);
        if (fd >= 0) {
            (void)close(fd);
        }
        return p == NULL ? ERR_NOMEM : ERR_IO;
    }
    size_t n = 0;
    ssize_t r = 0;
    while (fd >= 0 && n <= CONFIG_FILE_MAX &&
           (r = read(fd, p + n, CONFIG_FILE_MAX + 1 - n)) > 0) {
        n += (size_t)r;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    if (r < 0 || n > CONFIG_FILE_MAX) {
        free(p);
        return r < 0 ? ERR_IO : ERR_LIMIT;
    }
    *out = p;
    *len = n;
    return 0;
}

int config_load(const char *path, struct config *out, char why[CONFIG_WHY_MAX])
{
    char *text, detail[CONFIG_WHY_MAX] = "it cannot be read";
    size_t len;
    int rc = read_file(path, &text, &len);
    if (rc == 0) {
        rc = config_parse(text, len, out, detail);
        free(text);
    }
    if (rc != 0) {
        (void)snprintf(why, CONFIG_WHY_MAX,
                       "The configuration %.100s cannot be used: %.300s. Mend that line.",
                       path, detail);
    }
    return rc;
}

/* Whether a line sets the key. */
static bool line_sets(const char *line, size_t len, const char *name)
{
    size_t i = 0, n = strlen(name);
    while (i < len && (line[i] == ' ' || line[i] == '\t')) {
        i++;
    }
    if (len - i < n || memcmp(line + i, name, n) != 0) {
        return false;
    }
    i += n;
    while (i < len && (line[i] == ' ' || line[i] == '\t')) {
        i++;
    }
    return i < len && (line[i] == '=' || line[i] == ':');
}

/* The text with the key's lines replaced by one, into out (a stream in memory). */
static void rewrite(FILE *out, const char *text, size_t len, const char *name,
                    const char *value)
{
    bool done = value[0] == '\0', inside = false;
    for (size_t i = 0; i < len;) {
        const char *line = text + i;
        const char *end = memchr(line, '\n', len - i);
        size_t n = end == NULL ? len - i : (size_t)(end - line);
        i += n + 1;
        /* An indented line goes on with the key before it. */
        bool more = inside && n > 0 && (line[0] == ' ' || line[0] == '\t');
        inside = more || line_sets(line, n, name);
        if (!inside) {
            (void)fprintf(out, "%.*s\n", (int)n, line);
        } else if (!done) {
            (void)fprintf(out, "%s = %s\n", name, value);
            done = true;
        }
    }
    if (!done) {
        (void)fprintf(out, "%s = %s\n", name, value);
    }
}

int config_set(const char *path, struct config *c, enum config_key k, const char *value,
               char why[CONFIG_WHY_MAX])
{
    char *text = NULL, *fresh = NULL;
    size_t len, fresh_len = 0;
    int rc = config_check(k, value, why);
    if (rc != 0) {
        return rc;
    }
    rc = config_load(path, c, why);
    if (rc == 0) {
        rc = read_file(path, &text, &len);
    }
    FILE *f = rc == 0 ? open_memstream(&fresh, &fresh_len) : NULL;
    if (f != NULL) {
        rewrite(f, text, len, keys[k].name, value);
        if (fclose(f) != 0) {
            rc = ERR_NOMEM;
        }
    } else if (rc == 0) {
        rc = ERR_NOMEM;
    }
    if (rc == 0) {
        char dir[HOME_PATH_MAX];
        const char *slash = strrchr(path, '/');
        if (slash != NULL && slash != path) {
            (void)snprintf(dir, sizeof dir, "%.*s", (int)(slash - path), path);
            (void)home_make_dirs(dir);
        }
        rc = home_write_file(path, fresh, fresh_len);
        if (rc != 0) {
            (void)snprintf(why, CONFIG_WHY_MAX,
                           "The configuration %.200s cannot be written.", path);
        }
    }
    if (rc == 0) {
        (void)snprintf(c->value[k], sizeof c->value[k], "%s", value);
    }
    free(text);
    free(fresh);
    return rc;
}
