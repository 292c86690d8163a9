/* The DHT: looking into it by hand, and a bare node of it. */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "daemon_dht.h"
#include "fmt.h"

enum {
    ANSWER_MS = 90000, /* two operations, of which each may wait for a first node */
    VALUE_MAX = 1000,
    SEED_LEN = 32,
    FD_MAX = 1 << 20,
    PORT_MAX = 65535,
};

/* ---- the command line ---- */

static bool is_given(const struct cli *c, const char *option)
{
    return args_value(&c->args, option) != NULL;
}

/* A number that becomes a member of params. False: told. */
static bool take_number(const struct cli *c, json_t *params, const char *option,
                        uint64_t max)
{
    const char *s = args_value(&c->args, option);
    uint64_t n;
    if (s == NULL) {
        return true;
    }
    if (!fmt_number(s, max, &n)) {
        (void)cli_misused(c, "%s wants a number from 0 to %llu.", option,
                          (unsigned long long)max);
        return false;
    }
    (void)json_object_set_new(params, option + 2, json_integer((json_int_t)n));
    return true;
}

static void take_text(const struct cli *c, json_t *params, const char *option)
{
    const char *s = args_value(&c->args, option);
    if (s != NULL) {
        (void)json_object_set_new(params, option + 2, json_string(s));
    }
}

static char *hex(const void *p, size_t len)
{
    char *s = malloc(2 * len + 1);
    if (s == NULL) {
        exit(cli_fail(CLI_ERROR, "Memory is exhausted."));
    }
    return sodium_bin2hex(s, 2 * len + 1, p, len);
}

/* Reads to the end, at most max bytes; -1: it cannot be read, or there are more. */
static ssize_t read_all(int fd, uint8_t *out, size_t max)
{
    size_t n = 0;
    ssize_t got = 1;
    while (n < max && (got = read(fd, out + n, max - n)) != 0) {
        if (got < 0 && errno != EINTR) {
            return -1;
        }
        n += got > 0 ? (size_t)got : 0;
    }
    return got == 0 ? (ssize_t)n : -1;
}

/* ---- what comes back ---- */

/* The bytes of a bencoded string, or all of any other value. */
static const uint8_t *content(const uint8_t *p, size_t *len)
{
    size_t i = 0;
    while (i < *len && p[i] >= '0' && p[i] <= '9') {
        i++;
    }
    if (i > 0 && i < *len && p[i] == ':') {
        *len -= i + 1;
        return p + i + 1;
    }
    return p;
}

static int print_value(struct cli *c, const json_t *o)
{
    uint8_t bytes[VALUE_MAX];
    const char *s = cli_str(o, "bencoded");
    size_t len = 0;
    if (sodium_hex2bin(bytes, sizeof bytes, s, strlen(s), NULL, &len, NULL) != 0) {
        return cli_fail(CLI_ERROR, "The node's answer cannot be read.");
    }
    const uint8_t *p = content(bytes, &len);
    char *shown = is_given(c, "--hex") ? hex(p, len)
                  : c->tty_out         ? fmt_escape((const char *)p, len, FMT_TEXT)
                                       : NULL;
    if (shown != NULL) {
        (void)fputs(shown, stdout);
    } else {
        (void)fwrite(p, 1, len, stdout);
    }
    (void)fputc('\n', stdout);
    free(shown);
    return 0;
}

static void print_nodes(const json_t *o)
{
    const json_t *list = json_object_get(o, "nodes"), *n;
    size_t i;
    json_array_foreach(list, i, n)
    {
        (void)printf("%s %s\n", cli_str(n, "id"), cli_str(n, "address"));
    }
}

static void print_peers(const json_t *o)
{
    const json_t *list = json_object_get(o, "peers"), *p;
    size_t i;
    json_array_foreach(list, i, p)
    {
        (void)puts(json_string_value(p));
    }
}

static void print_family(const char *name, const json_t *f)
{
    unsigned long long about = cli_int(f, "estimate");
    (void)printf("%-9s %llu nodes", name, (unsigned long long)cli_int(f, "nodes"));
    if (about > 0) {
        (void)printf(", of about %llu", about);
    }
    if (cli_str(f, "seen")[0] != '\0') {
        (void)printf("; others see us at %s", cli_str(f, "seen"));
    }
    (void)printf("\n          id %s\n", cli_str(f, "id"));
}

static void print_stats(const json_t *o)
{
    if (!cli_true(o, "on")) {
        (void)puts("state     off: scope lan, and no bootstrap node is set");
        return;
    }
    (void)printf("state     %s, %s\n",
                 cli_true(o, "ready") ? "ready" : "looking for nodes",
                 cli_true(o, "read_only") ? "read-only: others do not reach us"
                                          : "answering others");
    print_family("IPv4", json_object_get(o, "ip4"));
    print_family("IPv6", json_object_get(o, "ip6"));
    (void)printf("stores    %llu items and %llu peers for others\n",
                 (unsigned long long)cli_int(o, "items"),
                 (unsigned long long)cli_int(o, "peers"));
    (void)printf("sent      %llu datagrams, %llu bytes\n",
                 (unsigned long long)cli_int(o, "sent"),
                 (unsigned long long)cli_int(o, "sent_bytes"));
    (void)printf("received  %llu datagrams, %llu bytes\n",
                 (unsigned long long)cli_int(o, "received"),
                 (unsigned long long)cli_int(o, "received_bytes"));
}

/* ---- the verbs ---- */

static int call(struct cli *c, const char *method, json_t *params, json_t **o)
{
    int rc = cli_call_for(c, method, params, ANSWER_MS, o);
    if (rc == 0 && c->json) {
        cli_json(*o);
    }
    return rc;
}

static int dht_ping(struct cli *c)
{
    json_t *o;
    int rc = call(c, "dht.ping", json_pack("{s:s}", "to", c->args.words[1]), &o);
    if (rc == 0 && !c->json) {
        (void)printf("%s %llu ms\n", cli_str(o, "address"),
                     (unsigned long long)cli_int(o, "ms"));
    }
    if (rc == 0) {
        json_decref(o);
    }
    return rc;
}

static int dht_find(struct cli *c)
{
    json_t *o;
    int rc = call(c, "dht.find", json_pack("{s:s}", "target", c->args.words[1]), &o);
    if (rc == 0 && !c->json) {
        print_nodes(o);
    }
    if (rc == 0) {
        json_decref(o);
    }
    return rc;
}

static int dht_peers(struct cli *c)
{
    json_t *o;
    int rc = call(c, "dht.peers", json_pack("{s:s}", "target", c->args.words[1]), &o);
    if (rc == 0 && !c->json) {
        print_peers(o);
    }
    if (rc == 0) {
        json_decref(o);
    }
    return rc;
}

static int dht_announce(struct cli *c)
{
    json_t *o, *params = json_pack("{s:s}", "target", c->args.words[1]);
    if (!take_number(c, params, "--port", PORT_MAX)) {
        json_decref(params);
        return CLI_USAGE;
    }
    int rc = call(c, "dht.announce", params, &o);
    if (rc == 0 && !c->json) {
        cli_say("Announced port %llu at %llu nodes.",
                (unsigned long long)cli_int(o, "port"),
                (unsigned long long)cli_int(o, "copies"));
    }
    if (rc == 0) {
        json_decref(o);
    }
    return rc;
}

static int dht_stats(struct cli *c)
{
    json_t *o;
    int rc = call(c, "dht.stats", NULL, &o);
    if (rc == 0 && !c->json) {
        print_stats(o);
    }
    if (rc == 0) {
        json_decref(o);
    }
    return rc;
}

static int dht_get(struct cli *c)
{
    json_t *o, *params = json_object();
    bool keyed = is_given(c, "--key");
    if (keyed == (c->args.n_words > 1) || (!keyed && is_given(c, "--salt"))) {
        json_decref(params);
        return cli_misused(c, "get wants a target, or --key.");
    }
    if (keyed) {
        take_text(c, params, "--key");
        take_text(c, params, "--salt");
    } else {
        (void)json_object_set_new(params, "target", json_string(c->args.words[1]));
    }
    int rc = call(c, "dht.get", params, &o);
    if (rc == 0) {
        rc = c->json ? 0 : print_value(c, o);
        json_decref(o);
    }
    return rc;
}

/* VALUE, or standard input without its last line feed. False: told. */
static bool take_value(struct cli *c, json_t *params)
{
    uint8_t bytes[VALUE_MAX + 2];
    const char *s = c->args.words[1],
               *key = is_given(c, "--bencoded") ? "bencoded" : "hex";
    size_t len = strlen(s);
    const void *p = s;
    if (strcmp(s, "-") == 0) {
        ssize_t n = read_all(STDIN_FILENO, bytes, sizeof bytes);
        if (n < 0) {
            (void)cli_fail(CLI_USAGE, "A value has at most %d bytes.", VALUE_MAX);
            return false;
        }
        len = (size_t)n;
        len -= len > 0 && bytes[len - 1] == '\n' ? 1 : 0;
        p = bytes;
    }
    char *digits = hex(p, len);
    (void)json_object_set_new(params, key, json_string(digits));
    free(digits);
    return true;
}

/* The seed from the descriptor: 64 hex digits, or 32 bytes; a line feed may follow.
 * False: told. */
static bool take_seed(struct cli *c, json_t *params)
{
    uint8_t bytes[2 * SEED_LEN + 2], seed[SEED_LEN];
    char digits[2 * SEED_LEN + 1];
    uint64_t fd;
    size_t got = 0;
    if (!fmt_number(args_value(&c->args, "--seed-fd"), FD_MAX, &fd)) {
        (void)cli_misused(c, "--seed-fd wants the number of an open descriptor.");
        return false;
    }
    ssize_t n = read_all((int)fd, bytes, sizeof bytes);
    n -= (n == SEED_LEN + 1 || n == 2 * SEED_LEN + 1) && bytes[n - 1] == '\n' ? 1 : 0;
    bool ok = n == SEED_LEN || (n == (ssize_t)sizeof digits - 1 &&
                                sodium_hex2bin(seed, sizeof seed, (const char *)bytes,
                                               (size_t)n, NULL, &got, NULL) == 0 &&
                                got == sizeof seed);
    if (ok) {
        (void)sodium_bin2hex(digits, sizeof digits, n == SEED_LEN ? bytes : seed,
                             SEED_LEN);
        (void)json_object_set_new(params, "seed", json_string(digits));
    } else {
        (void)cli_misused(c,
                          "The descriptor of --seed-fd has to give a seed: %d bytes, "
                          "or as many in hex.",
                          SEED_LEN);
    }
    sodium_memzero(bytes, sizeof bytes);
    sodium_memzero(seed, sizeof seed);
    sodium_memzero(digits, sizeof digits);
    return ok;
}

static int put_params(struct cli *c, json_t *params)
{
    bool is_mutable = is_given(c, "--mutable");
    if (is_mutable != is_given(c, "--seed-fd")) {
        return cli_misused(c, "--mutable and --seed-fd go together.");
    }
    if (!is_mutable &&
        (is_given(c, "--salt") || is_given(c, "--seq") || is_given(c, "--cas"))) {
        return cli_misused(c, "--salt, --seq and --cas are for --mutable.");
    }
    (void)json_object_set_new(params, "mutable", json_boolean(is_mutable));
    take_text(c, params, "--salt");
    return take_number(c, params, "--seq", INT64_MAX) &&
                   take_number(c, params, "--cas", INT64_MAX) && take_value(c, params) &&
                   (!is_mutable || take_seed(c, params))
               ? 0
               : CLI_USAGE;
}

static int dht_put(struct cli *c)
{
    json_t *o, *params = json_object();
    int rc = put_params(c, params);
    if (rc != 0) {
        json_decref(params);
        return rc;
    }
    rc = call(c, "dht.put", params, &o);
    if (rc != 0) {
        return rc;
    }
    unsigned long long copies = cli_int(o, "copies"), seq = cli_int(o, "seq");
    if (!c->json && cli_true(o, "mutable")) {
        (void)puts(cli_str(o, "key"));
        cli_say(
            "Stored at %llu nodes with seq %llu, for about two hours. Read it: linnet "
            "dht get --key KEY",
            copies, seq);
    } else if (!c->json) {
        (void)puts(cli_str(o, "target"));
        cli_say(
            "Stored at %llu nodes, for about two hours. Read it: linnet dht get TARGET",
            copies);
    }
    json_decref(o);
    return 0;
}

static int dht_serve(struct cli *c)
{
    struct daemon_dht_opts o = {.listen = args_value(&c->args, "--listen"),
                                .rate = args_value(&c->args, "--rate"),
                                .json = c->json};
    for (size_t i = 0; i < c->args.n_values; i++) {
        if (strcmp(c->args.values[i].option->name, "--bootstrap") != 0) {
            continue;
        }
        if (o.n_bootstrap == DAEMON_DHT_BOOTSTRAP_MAX) {
            return cli_misused(c, "There are more than %d bootstrap nodes.",
                               DAEMON_DHT_BOOTSTRAP_MAX);
        }
        o.bootstrap[o.n_bootstrap++] = c->args.values[i].value;
    }
    return daemon_dht_main(&o);
}

/* ---- which verb ---- */

static const struct verb {
    const char *name;
    cli_run *run;
    size_t words_min, words_max; /* behind the verb */
    const char *options;         /* that it takes, each with a blank before and behind */
} verbs[] = {
    {"announce", dht_announce, 1, 1, " --port "},
    {"find", dht_find, 1, 1, ""},
    {"get", dht_get, 0, 1, " --key --salt --hex "},
    {"peers", dht_peers, 1, 1, ""},
    {"ping", dht_ping, 1, 1, ""},
    {"put", dht_put, 1, 1, " --mutable --seed-fd --salt --seq --cas --bencoded "},
    {"serve", dht_serve, 0, 0, " --listen --bootstrap --rate "},
    {"stats", dht_stats, 0, 0, ""},
};

static bool takes(const struct verb *v, const char *option)
{
    const char *at = strstr(v->options, option);
    return at != NULL && at[strlen(option)] == ' ';
}

int cmd_dht(struct cli *c)
{
    const struct verb *v = NULL;
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        v = strcmp(verbs[i].name, c->args.words[0]) == 0 ? &verbs[i] : v;
    }
    size_t words = c->args.n_words - 1;
    if (v == NULL || words < v->words_min || words > v->words_max) {
        return cli_misused(c, "Those arguments do not fit together.");
    }
    for (size_t i = 0; i < c->args.n_values; i++) {
        if (!takes(v, c->args.values[i].option->name)) {
            return cli_misused(c, "%s does not go with %s.",
                               c->args.values[i].option->name, v->name);
        }
    }
    return v->run(c);
}
