/* The node itself: start, stop, status, identity, passphrase. */
#include <poll.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "cmd.h"
#include "fmt.h"
#include "home.h"
#include "qr.h"

enum {
    STOP_MS = 15000,
    PASSPHRASE_MS = 60000, /* Argon2id on a slow machine, twice */
    PORT_MAX = 65535,
    FD_MAX = 1 << 20,
    QR_TEXT_MAX = 128,
};

static const char bits_warning[] = "The messages in linnet.db are not encrypted yet: the "
                                   "passphrase keeps the key, and so "
                                   "your identity, from whoever copies the home.";

/* What a home that does not run looks like from outside. */
static int tell_stopped(struct cli *c)
{
    struct home h;
    char why[HOME_WHY_MAX];
    if (home_init(&h, c->args.home, false, why) != 0) {
        return cli_fail(CLI_NO_NODE, "No node runs. %s", why);
    }
    bool running = client_running(&h);
    if (!running && c->json) {
        json_t *o = json_pack("{s:i,s:b,s:s,s:s,s:s}", "v", 1, "running", 0, "home",
                              h.dir, "api", h.api, "events", h.events);
        cli_json(o);
        json_decref(o);
    }
    if (!running) {
        (void)cli_fail(CLI_NO_NODE, "No node runs in %s. `linnet` starts one.", h.dir);
    }
    home_release(&h);
    return running ? 0 : CLI_NO_NODE;
}

static void say_addresses(const json_t *status)
{
    const json_t *list = json_object_get(status, "addresses"), *a;
    size_t i;
    json_array_foreach(list, i, a)
    {
        const char *s = json_string_value(a);
        (void)printf("%s%s", i > 0 ? ", " : "", s != NULL ? s : "");
    }
    (void)puts(json_array_size(list) == 0 ? "none: no network is up" : "");
}

static void print_network(const json_t *n)
{
    if (!json_is_object(n)) {
        return;
    }
    char *name = cli_shown(cli_str(n, "name"));
    (void)printf("network   %s, %llu contacts through it\n", name,
                 (unsigned long long)cli_int(n, "contacts"));
    free(name);
}

/* Whether contacts find this node there, and if not, why. */
static const char *found_words(const json_t *s, const json_t *d)
{
    const json_t *v4 = json_object_get(d, "ip4"), *v6 = json_object_get(d, "ip6");
    if (strcmp(cli_str(s, "presence"), "invisible") == 0) {
        return "; invisible: contacts do not find this node";
    }
    if (cli_true(d, "published")) {
        return "; contacts find this node";
    }
    return cli_int(v4, "nodes") + cli_int(v6, "nodes") == 0
               ? "; nobody answers"
               : "; contacts do not find this node yet";
}

static void print_dht(const json_t *s, const json_t *d)
{
    if (!json_is_object(d)) {
        return;
    }
    const json_t *v4 = json_object_get(d, "ip4"), *v6 = json_object_get(d, "ip6");
    unsigned long long n4 = cli_int(v4, "estimate"), n6 = cli_int(v6, "estimate");
    (void)printf("dht       %llu nodes over IPv4, %llu over IPv6",
                 (unsigned long long)cli_int(v4, "nodes"),
                 (unsigned long long)cli_int(v6, "nodes"));
    if (n4 + n6 > 0) {
        (void)printf(", of about %llu", n4 > n6 ? n4 : n6);
    }
    (void)printf("%s%s\n", cli_true(d, "read_only") ? "; read-only" : "",
                 found_words(s, d));
}

static void print_status(struct cli *c, const json_t *s)
{
    char *name = cli_shown(cli_str(s, "name")), *home = cli_shown(cli_str(s, "home"));
    unsigned long long contacts = cli_int(s, "contacts"), online = cli_int(s, "online"),
                       links = cli_int(s, "links"), unread = cli_int(s, "unread");
    (void)printf("name      %s%s%s\n", cli_bold(c), name, cli_plain(c));
    (void)printf("id        %.*s\n", CLI_ID_SHOWN, cli_str(s, "root"));
    char *presence = presence_words(s);
    (void)printf("presence  %s %s\n", presence_sign(cli_str(s, "presence")), presence);
    free(presence);
    (void)printf("node      linnet %s, process %llu, scope %s\n", cli_str(s, "version"),
                 (unsigned long long)cli_int(s, "pid"), cli_str(s, "scope"));
    (void)printf("address   ");
    say_addresses(s);
    (void)printf("contacts  %llu, %llu online, %llu linked\n", contacts, online, links);
    (void)printf("unread    %llu\n", unread);
    if (cli_int(s, "conflicts") > 0) {
        (void)printf("careful   identities claim one name: linnet contacts\n");
    }
    print_network(json_object_get(s, "network"));
    print_dht(s, json_object_get(s, "dht"));
    if (cli_int(s, "requests") > 0) {
        (void)printf("requests  %llu: linnet requests\n",
                     (unsigned long long)cli_int(s, "requests"));
    }
    if (cli_int(s, "transfers") > 0) {
        (void)printf("transfers %llu: linnet transfers\n",
                     (unsigned long long)cli_int(s, "transfers"));
    }
    if (cli_true(s, "visible")) {
        char at[FMT_TIME_MAX];
        uint64_t until = cli_int(s, "visible_until_ms");
        fmt_clock(until, at);
        (void)printf("visible   to everyone on this network, until %s\n",
                     until > 0 ? at : "you turn it off");
    }
    (void)printf("home      %s\n", home);
    (void)printf("key       %s\n", cli_true(s, "protected")
                                       ? "has a passphrase"
                                       : "NOT protected: linnet passphrase");
    const char *store = cli_str(s, "store");
    if (strcmp(store, "ok") != 0 && store[0] != '\0') {
        char *why = cli_shown(cli_str(s, "store_error"));
        (void)printf("store     %s: %s\n", store, why);
        free(why);
    }
    free(name);
    free(home);
}

int cmd_status(struct cli *c)
{
    json_t *s;
    int rc = c->args.no_start ? tell_stopped(c) : 0;
    if (rc == 0) {
        rc = cli_call(c, "status", NULL, &s);
    }
    if (rc != 0) {
        return rc;
    }
    if (c->json) {
        cli_json(s);
    } else {
        print_status(c, s);
    }
    json_decref(s);
    return 0;
}

/* `linnet` alone, until there is the chat. */
int cmd_welcome(struct cli *c)
{
    json_t *s;
    int rc = cli_call(c, "status", NULL, &s);
    if (rc != 0) {
        return rc;
    }
    if (c->json) {
        cli_json(s);
        json_decref(s);
        return 0;
    }
    char *name = cli_shown(cli_str(s, "name"));
    (void)printf("%s%s%s is up, id %.*s\n", cli_bold(c), name, cli_plain(c), CLI_ID_SHOWN,
                 cli_str(s, "root"));
    (void)printf("address  ");
    say_addresses(s);
    if (cli_int(s, "contacts") == 0) {
        (void)puts("\nMeet somebody: one of you invites, the other adds the code.\n"
                   "    linnet invite\n"
                   "    linnet add CODE");
    } else {
        (void)printf("contacts %llu, %llu online; %llu unread\n",
                     (unsigned long long)cli_int(s, "contacts"),
                     (unsigned long long)cli_int(s, "online"),
                     (unsigned long long)cli_int(s, "unread"));
        (void)puts("\nNext:\n"
                   "    linnet contacts\n"
                   "    linnet send NAME TEXT\n"
                   "    linnet recv -f");
    }
    (void)puts("\nThe node stays in the background;\n"
               "`linnet stop` ends it.\n"
               "Everything else: linnet --help");
    free(name);
    json_decref(s);
    return 0;
}

int cmd_stop(struct cli *c)
{
    json_t *s, *done;
    c->args.no_start = true;
    int rc = tell_stopped(c);
    if (rc == 0) {
        rc = cli_call(c, "status", NULL, &s);
    }
    if (rc != 0) {
        return rc;
    }
    int fd = pidfd_open((pid_t)cli_int(s, "pid"), 0);
    json_decref(s);
    rc = cli_call(c, "stop", NULL, &done);
    if (rc == 0) {
        json_decref(done);
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (fd >= 0 && poll(&p, 1, STOP_MS) != 1) {
            rc = cli_fail(CLI_ERROR, "The node was asked to stop and has not ended yet.");
        }
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    if (rc == 0 && c->json) {
        json_t *o = json_pack("{s:i,s:b}", "v", 1, "running", 0);
        cli_json(o);
        json_decref(o);
    } else if (rc == 0) {
        cli_say("The node has stopped. Messages to you wait at their senders.");
    }
    return rc;
}

int cmd_id(struct cli *c)
{
    json_t *o;
    char text[QR_TEXT_MAX];
    int rc = cli_call(c, "id", NULL, &o);
    if (rc != 0) {
        return rc;
    }
    if (c->json) {
        cli_json(o);
    } else {
        char *name = cli_shown(cli_str(o, "name")),
             *safety = cli_shown(cli_str(o, "safety"));
        (void)printf("name    %s%s%s\n", cli_bold(c), name, cli_plain(c));
        (void)printf("id      %.*s\n", CLI_ID_SHOWN, cli_str(o, "root"));
        (void)printf("root    %s\n", cli_str(o, "root"));
        (void)printf("device  %s\n", cli_str(o, "device"));
        if (safety[0] != '\0') {
            (void)printf("safety  %s\n", safety);
        }
        free(name);
        free(safety);
        (void)snprintf(text, sizeof text, "LINNET:%s", cli_str(o, "root"));
        if (args_value(&c->args, "--qr") != NULL && !qr_draw(stdout, text, c->colour)) {
            rc = cli_fail(CLI_ERROR, "That does not fit into a QR code.");
        }
    }
    json_decref(o);
    return rc;
}

/* Old and new passphrase from the descriptor: two lines, or one when there is no old. */
static int passphrases_from(struct cli *c, int fd, bool protected, char *old, char *fresh)
{
    if (protected && !cli_read_line(fd, old, CLIENT_PASSPHRASE_MAX + 1)) {
        return cli_misused(
            c, "The first line of the descriptor is the passphrase as it is.");
    }
    /* Only an empty line means none: nothing at all is a mistake that would lay the key
     * open. */
    if (!cli_read_line(fd, fresh, CLIENT_PASSPHRASE_MAX + 1)) {
        return cli_misused(c,
                           "The %s line of the descriptor is the new passphrase, of at "
                           "most %d bytes; an empty line removes it.",
                           protected ? "second" : "first", CLIENT_PASSPHRASE_MAX);
    }
    return 0;
}

static int passphrases_asked(struct cli *c, bool protected, char *old, char *fresh)
{
    char again[CLIENT_PASSPHRASE_MAX + 1];
    int rc = 0;
    if (!c->tty_in) {
        return cli_fail(CLI_ERROR,
                        "There is no terminal to ask for a passphrase. Give it "
                        "with --passphrase-fd N.");
    }
    if (protected && old[0] == '\0' &&
        !cli_secret("Passphrase as it is: ", old, CLIENT_PASSPHRASE_MAX + 1)) {
        rc = cli_fail(CLI_ERROR, "No passphrase was given; nothing has changed.");
    }
    if (rc == 0 && (!cli_secret("New passphrase (empty: none): ", fresh,
                                CLIENT_PASSPHRASE_MAX + 1) ||
                    !cli_secret("New passphrase again: ", again, sizeof again))) {
        rc = cli_fail(CLI_ERROR, "No passphrase was given; nothing has changed.");
    }
    if (rc == 0 && strcmp(fresh, again) != 0) {
        rc = cli_fail(CLI_ERROR, "The two differ; nothing has changed.");
    }
    sodium_memzero(again, sizeof again);
    return rc;
}

static int change_passphrase(struct cli *c, const char *old, const char *fresh)
{
    json_t *params = json_object(), *done;
    if (old[0] != '\0') {
        (void)json_object_set_new(params, "old", json_string(old));
    }
    if (fresh[0] != '\0') {
        (void)json_object_set_new(params, "new", json_string(fresh));
    }
    int rc = cli_call_for(c, "passphrase", params, PASSPHRASE_MS, &done);
    if (rc != 0) {
        return rc;
    }
    if (c->json) {
        cli_json(done);
    } else if (cli_true(done, "protected")) {
        cli_say(
            "The key is protected now. The node asks for the passphrase when it starts; "
            "there is no way to get it back.\n%s",
            bits_warning);
    } else {
        cli_say(
            "The key has no passphrase now: whoever copies the home can write as you.");
    }
    json_decref(done);
    return 0;
}

int cmd_passphrase(struct cli *c)
{
    char old[CLIENT_PASSPHRASE_MAX + 1] = "", fresh[CLIENT_PASSPHRASE_MAX + 1] = "";
    const char *from = args_value(&c->args, "--passphrase-fd");
    struct home h;
    char why[HOME_WHY_MAX];
    uint64_t fd = 0;
    bool protected = false;
    if (from != NULL && !fmt_number(from, FD_MAX, &fd)) {
        return cli_misused(c, "--passphrase-fd wants the number of an open descriptor.");
    }
    /* Told by the key file, so that an old passphrase can also start the node. */
    if (home_init(&h, c->args.home, false, why) == 0) {
        (void)home_key_protected(&h, &protected);
        home_release(&h);
    }
    int rc = from != NULL ? passphrases_from(c, (int)fd, protected, old, fresh)
                          : passphrases_asked(c, protected, old, fresh);
    if (rc == 0) {
        c->passphrase = protected ? old : NULL;
        rc = change_passphrase(c, old, fresh);
        c->passphrase = NULL;
    }
    sodium_memzero(old, sizeof old);
    sodium_memzero(fresh, sizeof fresh);
    return rc;
}
