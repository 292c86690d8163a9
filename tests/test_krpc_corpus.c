#include <criterion/criterion.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "dht/krpc.h"

enum { TEXT_MAX = 8192 };

static void start(void)
{
    cr_assert(sodium_init() >= 0);
}

TestSuite(krpc_corpus, .init = start);

/* Decodes from an allocation of exactly the length, so that ASan sees a byte too many;
 * the caller frees *copy. */
static int decode(const void *p, size_t n, uint8_t **copy, struct krpc_msg *m)
{
    *copy = malloc(n > 0 ? n : 1);
    cr_assert_not_null(*copy);
    if (n > 0) {
        memcpy(*copy, p, n);
    }
    memset(m, 0xee, sizeof *m);
    return krpc_decode(*copy, n, m);
}

static bool is(struct krpc_view v, const char *s)
{
    return v.n == strlen(s) && (v.n == 0 || memcmp(v.p, s, v.n) == 0);
}

static FILE *open_vectors(const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/vectors/%s", getenv("LINNET_TESTS"), name);
    FILE *f = fopen(path, "r");
    cr_assert_not_null(f);
    return f;
}

/* The examples of BEP 5: every field, and the same bytes when written again. */
Test(krpc_corpus, bep5_examples)
{
    char line[TEXT_MAX], name[64], text[TEXT_MAX];
    FILE *f = open_vectors("bep05.txt");
    unsigned seen = 0;
    while (fgets(line, sizeof line, f) != NULL) {
        uint8_t out[KRPC_SEND_MAX];
        line[strcspn(line, "\n")] = '\0';
        char *space = strchr(line, ' ');
        if (line[0] == '#' || space == NULL) {
            continue;
        }
        seen++;
        (void)snprintf(name, sizeof name, "%.*s", (int)(space - line), line);
        (void)snprintf(text, sizeof text, "%s", space + 1);
        struct krpc_msg m;
        cr_assert_eq(krpc_decode((const uint8_t *)text, strlen(text), &m), 0, "%s", name);
        cr_assert(is(m.t, "aa"), "%s", name);
        /* "def456..." stands for nodes, but is none. */
        bool placeholder = strstr(text, "def456") != NULL;
        cr_assert_eq(m.bad, placeholder ? KRPC_NODES : 0, "%s", name);
        size_t n = krpc_encode(&m, out, sizeof out);
        cr_assert(placeholder || (n == strlen(text) && memcmp(out, text, n) == 0), "%s",
                  name);
        cr_assert_eq(m.kind, strstr(name, "query")      ? KRPC_QUERY
                             : strstr(name, "response") ? KRPC_REPLY
                                                        : KRPC_ERROR);
    }
    cr_assert_eq(fclose(f), 0);
    cr_assert_eq(seen, 10);
}

/* What comment says a message is. */
struct claim {
    const char *sender, *kind, *method, *keys, *text;
    bool ro, ipv6, has_values;
    int code, values;
};

static char *cut_at(char *s, const char *mark)
{
    char *at = strstr(s, mark);
    if (at == NULL) {
        return NULL;
    }
    *at = '\0';
    return at + strlen(mark);
}

/* "# libtorrent 2.0.8: reply to get (keys id,nodes,p,token; 0 values; over IPv6)". */
static struct claim read_claim(char *line)
{
    struct claim c = {.sender = line + 2, .keys = "", .text = ""};
    char *rest = cut_at(line, ": ");
    cr_assert_not_null(rest);
    c.kind = rest;
    char *inner = cut_at(rest, " (");
    cr_assert_not_null(inner);
    inner[strlen(inner) - 1] = '\0';
    char *method = cut_at(rest, " to ");
    c.method = method != NULL ? method : cut_at(rest, "query ");
    c.kind = method != NULL ? rest : "query";
    for (char *part = cut_at(inner, "; "); part != NULL;) {
        char *next = cut_at(part, "; ");
        c.ro |= strcmp(part, "ro") == 0;
        c.ipv6 |= strcmp(part, "over IPv6") == 0;
        c.has_values |= sscanf(part, "%d values", &c.values) == 1;
        part = next;
    }
    if (strcmp(c.kind, "error") == 0) {
        char *text;
        c.code = (int)strtol(inner, &text, 10);
        c.text = text + 1;
    } else {
        c.keys = inner + strlen("keys ");
    }
    return c;
}

static uint32_t bits_of(const char *keys)
{
    static const char *const names[] = {
        "BFpe",  "BFsd",    "cas",    "id",     "implied_port", "info_hash", "interval",
        "k",     "nodes",   "nodes6", "noseed", "num",          "p",         "port",
        "salt",  "samples", "scrape", "seed",   "seq",          "sig",       "target",
        "token", "v",       "values", "want"};
    uint32_t bits = 0;
    while (*keys != '\0') {
        size_t n = strcspn(keys, ","), i = 0;
        while (strlen(names[i]) != n || memcmp(names[i], keys, n) != 0) {
            cr_assert_lt(++i, sizeof names / sizeof *names, "%s", keys);
        }
        bits |= (uint32_t)1 << i;
        keys += keys[n] == ',' ? n + 1 : n;
    }
    return bits;
}

static int count_values(const struct krpc_msg *m, unsigned family)
{
    struct addr a;
    size_t pos = 0;
    int n = 0;
    while (krpc_peer_next(&m->values, &pos, &a)) {
        cr_assert_eq(a.family, family);
        n++;
    }
    return n;
}

static void check_nodes(const struct krpc_msg *m)
{
    struct krpc_view nodes = m->nodes, nodes6 = m->nodes6;
    struct krpc_node node;
    size_t n = 0, n6 = 0;
    while (krpc_node_next(&nodes, 4, &node)) {
        cr_assert_eq(node.addr.family, 4);
        n++;
    }
    while (krpc_node_next(&nodes6, 6, &node)) {
        cr_assert_eq(node.addr.family, 6);
        n6++;
    }
    cr_assert_eq(n * KRPC_NODE4_LEN, m->nodes.n);
    cr_assert_eq(n6 * KRPC_NODE6_LEN, m->nodes6.n);
}

static void check_message(const struct claim *c, const uint8_t *p, size_t n)
{
    struct krpc_msg m;
    uint8_t *copy, out[KRPC_RECV_MAX];
    cr_assert_eq(decode(p, n, &copy, &m), 0, "%s: %s to %s", c->sender, c->kind,
                 c->method);
    cr_assert_eq(m.bad, 0);
    cr_assert_eq(m.ro, c->ro);
    cr_assert_eq(m.has, bits_of(c->keys), "%s: %s to %s (%s)", c->sender, c->kind,
                 c->method, c->keys);
    cr_assert(m.ip.family == 0 || m.ip.family == (c->ipv6 ? 6 : 4));
    cr_assert(strncmp(c->sender, "libtorrent", 10) != 0 ||
              (m.version.n == 4 && memcmp(m.version.p, "LT\x02\x08", 4) == 0));
    cr_assert_eq(c->has_values, (m.has & KRPC_VALUES) != 0);
    cr_assert_eq(c->values, count_values(&m, c->ipv6 ? 6 : 4));
    check_nodes(&m);
    if (strcmp(c->kind, "error") == 0) {
        cr_assert_eq(m.kind, KRPC_ERROR);
        cr_assert_eq(m.code, c->code);
        cr_assert(is(m.text, c->text), "%s", c->text);
        free(copy);
        return;
    }
    if (strcmp(c->kind, "query") == 0) {
        cr_assert_eq(m.kind, KRPC_QUERY);
        cr_assert(is(m.q, c->method));
        cr_assert_neq(m.method, KRPC_OTHER);
        cr_assert_str_eq(krpc_method_name(m.method), c->method);
    } else {
        cr_assert_eq(m.kind, KRPC_REPLY);
    }
    cr_assert_eq(krpc_encode(&m, out, sizeof out), n);
    cr_assert_arr_eq(out, p, n, "written again it is the same");
    free(copy);
}

/* Messages of four implementations: what each is stands above it. */
Test(krpc_corpus, captured_messages)
{
    char line[TEXT_MAX], comment[TEXT_MAX] = "";
    FILE *f = open_vectors("krpc_corpus.txt");
    unsigned seen = 0;
    while (fgets(line, sizeof line, f) != NULL) {
        uint8_t raw[TEXT_MAX / 2];
        size_t n;
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '#' || line[0] == '\0') {
            memcpy(comment, line, sizeof line);
            continue;
        }
        cr_assert_eq(sodium_hex2bin(raw, sizeof raw, line, strlen(line), NULL, &n, NULL),
                     0);
        struct claim c = read_claim(comment);
        check_message(&c, raw, n);
        for (size_t cut = 0; cut < n; cut++) {
            struct krpc_msg m;
            uint8_t *copy;
            cr_assert_eq(decode(raw, cut, &copy, &m), ERR_FORMAT);
            free(copy);
        }
        seen++;
    }
    cr_assert_eq(fclose(f), 0);
    cr_assert_eq(seen, 100);
}
