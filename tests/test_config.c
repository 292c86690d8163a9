#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "config.h"

static char dir[64], path[96], why[CONFIG_WHY_MAX];
static struct config c;
static struct config_view v;

static void make_dir(void)
{
    strcpy(dir, "/tmp/linnet-config-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/sub/config.ini", dir);
}

static void drop_dir(void)
{
    char sub[96];
    (void)unlink(path);
    (void)snprintf(sub, sizeof sub, "%s/sub", dir);
    (void)rmdir(sub);
    cr_expect_eq(rmdir(dir), 0, "only the configuration is left behind");
}

TestSuite(config, .init = make_dir, .fini = drop_dir);

static int parse(const char *text)
{
    memset(&c, 0, sizeof c);
    why[0] = '\0';
    int rc = config_parse(text, strlen(text), &c, why);
    if (rc == 0) {
        config_view(&c, &v);
    }
    return rc;
}

static void write_text(const char *text)
{
    char sub[96];
    (void)snprintf(sub, sizeof sub, "%s/sub", dir);
    (void)mkdir(sub, 0700);
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    (void)fputs(text, f);
    cr_assert_eq(fclose(f), 0);
}

static void expect_text(const char *text)
{
    char got[1024];
    FILE *f = fopen(path, "r");
    cr_assert_not_null(f);
    size_t n = fread(got, 1, sizeof got - 1, f);
    got[n] = '\0';
    (void)fclose(f);
    cr_expect_str_eq(got, text);
}

Test(config, defaults)
{
    cr_assert_eq(parse(""), 0);
    cr_expect_eq(v.scope, SCOPE_INTERNET);
    cr_expect_eq(v.port, 0);
    cr_expect_eq(v.n_ifaces + v.n_subnets + v.n_peers, 0);
    cr_expect_str_eq(v.name, "");
    cr_expect_eq(v.accept.accept, XFER_ACCEPT_ASK);
    cr_expect_eq(v.accept.max, 100000000);
    cr_expect_eq(v.accept.quota, UINT64_C(10000000000));
    cr_expect_eq(v.limit_rate, 0);
}

Test(config, keys_of_files)
{
    cr_assert_eq(parse("accept = verified\naccept_max = 1.5G\naccept_quota = none\n"
                       "downloads = /srv/in box\nlimit_rate = 5M\n"),
                 0, "%s", why);
    cr_expect_eq(v.accept.accept, XFER_ACCEPT_VERIFIED);
    cr_expect_eq(v.accept.max, 1500000000);
    cr_expect_eq(v.accept.quota, UINT64_MAX);
    cr_expect_str_eq(v.downloads, "/srv/in box");
    cr_expect_eq(v.limit_rate, 5000000);
    cr_assert_eq(parse("accept = contacts\naccept_max = none\nlimit_rate = none\n"), 0);
    cr_expect_eq(v.accept.accept, XFER_ACCEPT_CONTACTS);
    cr_expect_eq(v.accept.max, UINT64_MAX);
    cr_expect_eq(v.limit_rate, 0);
}

Test(config, downloads_by_default)
{
    cr_assert_eq(setenv("HOME", "/home/ann", 1), 0);
    cr_assert_eq(unsetenv("XDG_DOWNLOAD_DIR"), 0);
    cr_assert_eq(parse(""), 0);
    cr_expect_str_eq(v.downloads, "/home/ann/Downloads/linnet");
    cr_assert_eq(setenv("XDG_DOWNLOAD_DIR", "/srv/down", 1), 0);
    cr_assert_eq(parse(""), 0);
    cr_expect_str_eq(v.downloads, "/srv/down/linnet");
    cr_assert_eq(setenv("XDG_DOWNLOAD_DIR", "down", 1), 0); /* only absolute ones count */
    cr_assert_eq(parse(""), 0);
    cr_expect_str_eq(v.downloads, "/home/ann/Downloads/linnet");
}

Test(config, all_keys)
{
    cr_assert_eq(parse("# a comment\n"
                       "name = Bob of \"Sales\"\n"
                       "interfaces=lo, eth0\n"
                       "subnets = 10.1.0.0/16 fd00::/8\n"
                       "peer = 10.1.0.7, [fd00::1]:99\n"
                       "peer = printer.lan:7000\n"
                       "scope = lan\nport=65535\nlog_level = debug\n"),
                 0, "%s", why);
    cr_expect_str_eq(v.name, "Bob of \"Sales\"");
    cr_expect_eq(v.n_ifaces, 2);
    cr_expect_str_eq(v.ifaces[1], "eth0");
    cr_expect_eq(v.n_subnets, 2);
    cr_expect_eq(v.subnets[0].bits, 16);
    cr_expect_eq(v.n_peers, 3, "a key given twice adds to the list");
    cr_expect_str_eq(v.peers[2], "printer.lan:7000");
    cr_expect_eq(v.scope, SCOPE_LAN);
    cr_expect_eq(v.port, 65535);
    cr_expect_eq(v.log_level, LOG_DEBUG);
}

Test(config, bootstrap)
{
    char host[CONFIG_HOST_MAX + 1];
    uint16_t port;
    cr_assert_eq(parse("bootstrap = 10.1.0.7:6881, [fd00::1]:99\n"
                       "bootstrap = node.lan:7000\n"),
                 0, "%s", why);
    cr_expect_eq(v.n_bootstrap, 3);
    cr_expect_str_eq(v.bootstrap[1], "[fd00::1]:99");
    cr_expect_eq(config_check(CONFIG_BOOTSTRAP, "node.lan", why), ERR_ARG, "no port");
    cr_expect_eq(config_check(CONFIG_BOOTSTRAP, "10.1.0.7", why), ERR_ARG);
    cr_expect_eq(config_check(CONFIG_BOOTSTRAP, "fd00::1", why), ERR_ARG);
    cr_expect_eq(config_check(CONFIG_BOOTSTRAP, "node.lan:0", why), ERR_ARG);
    cr_expect_eq(config_check(CONFIG_BOOTSTRAP, "node.lan:99999", why), ERR_ARG);
    cr_assert(config_split_bootstrap("node.lan:7", host, &port));
    cr_expect_str_eq(host, "node.lan");
    cr_expect_eq(port, 7);
    cr_expect_not(config_split_bootstrap("node.lan", host, &port));
    cr_expect_not(config_split_bootstrap(":7", host, &port));
}

Test(config, unusable_lines_are_named)
{
    static const char *const bad[] = {
        "colour = red\n",      "scope = everywhere\n", "port = 0\n",
        "port = 65536\n",      "port = 12x\n",         "log_level = loud\n",
        "subnets = 10.1\n",    "[section]\nport=1\n",  "interfaces = /etc\n",
        "just words\n",        "name = \xff\xfe\n",    "accept = all\n",
        "accept_max = much\n", "accept_quota = -1\n",  "downloads = here\n",
        "limit_rate = 5 M\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct config before = {.value = {"kept"}};
        struct config got = before;
        why[0] = '\0';
        cr_expect_eq(config_parse(bad[i], strlen(bad[i]), &got, why), ERR_FORMAT, "%s",
                     bad[i]);
        cr_expect(strstr(why, "line ") != NULL, "%s: %s", bad[i], why);
        cr_expect_str_eq(got.value[0], "kept", "outputs stay as they were");
    }
    cr_expect_neq(parse("name = a\ncolour = red\n"), 0);
    cr_expect(strstr(why, "line 2") != NULL && strstr(why, "colour") != NULL, "%s", why);
}

Test(config, long_lines_and_nuls)
{
    char text[400];
    memset(text, 'x', sizeof text);
    cr_expect_eq(config_parse(text, sizeof text, &c, why), ERR_FORMAT);
    memcpy(text, "name = a\0\n", 10);
    cr_expect_eq(config_parse(text, 10, &c, why), ERR_FORMAT);
    char *big = calloc(1, CONFIG_FILE_MAX + 1);
    cr_assert_not_null(big);
    memset(big, '\n', CONFIG_FILE_MAX + 1);
    cr_expect_eq(config_parse(big, CONFIG_FILE_MAX + 1, &c, why), ERR_LIMIT);
    free(big);
}

Test(config, a_missing_file_is_empty)
{
    cr_assert_eq(config_load(path, &c, why), 0);
    cr_expect_str_eq(c.value[CONFIG_NAME], "");
}

Test(config, set_keeps_other_lines)
{
    write_text("# mine\nname = old\n\nport = 7000\nname = again\n; end");
    cr_assert_eq(config_load(path, &c, why), 0, "%s", why);
    cr_assert_eq(config_set(path, &c, CONFIG_NAME, "new", why), 0, "%s", why);
    expect_text("# mine\nname = new\n\nport = 7000\n; end\n");
    cr_expect_str_eq(c.value[CONFIG_NAME], "new");
    cr_assert_eq(config_set(path, &c, CONFIG_SCOPE, "lan", why), 0, "%s", why);
    expect_text("# mine\nname = new\n\nport = 7000\n; end\nscope = lan\n");
    cr_assert_eq(config_set(path, &c, CONFIG_NAME, "", why), 0, "%s", why);
    expect_text("# mine\n\nport = 7000\n; end\nscope = lan\n");
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    cr_expect_eq(st.st_mode & 0777, 0600);
}

Test(config, set_makes_the_folder_and_reads_back)
{
    cr_assert_eq(config_set(path, &c, CONFIG_PEER, "10.0.0.1,10.0.0.2:80", why), 0, "%s",
                 why);
    struct config again;
    cr_assert_eq(config_load(path, &again, why), 0, "%s", why);
    cr_expect_str_eq(again.value[CONFIG_PEER], "10.0.0.1,10.0.0.2:80");
}

Test(config, set_refuses)
{
    write_text("port = 7000\n");
    static const struct {
        enum config_key k;
        const char *value;
    } bad[] = {
        {CONFIG_PORT, "none"}, {CONFIG_NAME, "a\nscope = lan"},
        {CONFIG_NAME, "a ;b"}, {CONFIG_NAME, " leading"},
        {CONFIG_SCOPE, "LAN"}, {CONFIG_SUBNETS, "x/8"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_expect_eq(config_set(path, &c, bad[i].k, bad[i].value, why), ERR_ARG, "%s",
                     bad[i].value);
        expect_text("port = 7000\n");
    }
    write_text("colour = red\n");
    cr_expect_eq(config_set(path, &c, CONFIG_PORT, "1", why), ERR_FORMAT);
    expect_text("colour = red\n");
}

Test(config, names_of_keys)
{
    for (unsigned k = 0; k < CONFIG_KEYS; k++) {
        cr_expect_eq(config_key_find(config_key_name((enum config_key)k)), k);
    }
    cr_expect_eq(config_key_find("nothing"), CONFIG_KEYS);
}
