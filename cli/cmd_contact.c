/* Contacts: the list, changes, and making sure who they are. */
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "fmt.h"

enum {
    NAME_COLUMNS_MAX = 24,
    PRESENCE_COLUMNS = 7,
    TRUST_COLUMNS = 10,
    STATUS_COLUMNS_MIN = 12, /* less room: the status text gets a line */
    STATUS_INDENT = 4,
    DIGIT_GROUP = 5, /* digits of a safety number */
    GROUPS_A_LINE = 6,
    NUMBER_DIGITS = 60,
    VERIFY_CODE_MS = 150000, /* longer than the node waits */
};

static const char *trust(const json_t *k)
{
    return cli_true(k, "blocked")    ? "blocked"
           : cli_true(k, "asked")    ? "asked"
           : cli_true(k, "conflict") ? "conflict"
           : cli_true(k, "verified") ? "verified"
           : cli_str(k, "like")[0]   ? "lookalike"
                                     : "unverified";
}

/* What stands behind a contact on a terminal: unread messages, live typing, the status
 * text in what room there is. */
static void print_rest(struct cli *c, const json_t *k, size_t column)
{
    const json_t *live = json_object_get(k, "live");
    unsigned long long unread = cli_int(k, "unread");
    char *status = cli_shown(cli_str(k, "status"));
    char *network = cli_shown(cli_str(k, "network"));
    if (unread > 0) {
        column += (size_t)printf("  %llu new", unread);
    }
    if (network[0] != '\0') {
        size_t wide = sizeof "  through " - 1 + fmt_width(network);
        if (column + wide > c->width) { /* its own line, like a status text */
            (void)fputs("\n  ", stdout);
            column = 2;
        }
        (void)printf("  through %s", network);
        column += wide;
    }
    if (cli_true(k, "typing")) {
        column += (size_t)printf("  writes");
    }
    if (cli_true(live, "ours")) {
        column += (size_t)printf(cli_true(live, "theirs") ? "  live" : "  live (asked)");
    }
    size_t width = fmt_width(status),
           room = c->width > column + 2 ? c->width - column - 2 : 0;
    if (width > 0 && room >= (width < STATUS_COLUMNS_MIN ? width : STATUS_COLUMNS_MIN)) {
        (void)fputs("  ", stdout);
        fmt_pad(stdout, status, width < room ? width : room);
    } else if (width > 0) { /* a line of its own */
        size_t own = c->width > STATUS_INDENT ? c->width - STATUS_INDENT : width;
        (void)printf("\n%*s", STATUS_INDENT, "");
        fmt_pad(stdout, status, width < own ? width : own);
    }
    (void)fputc('\n', stdout);
    free(network);
    free(status);
}

/* Whom the name could be taken for. */
static void print_claims(const json_t *k)
{
    const char *like = cli_str(k, "like"), *rival = cli_str(k, "rival");
    if (like[0] != '\0' || rival[0] != '\0') {
        char *other = cli_shown(rival[0] != '\0' ? rival : like);
        (void)printf(rival[0] != '\0' ? "%*s%s claims the same name\n"
                                      : "%*slooks like %s\n",
                     STATUS_INDENT, "", other);
        free(other);
    }
}

/* Why somebody is not there, as far as that is known. */
static void print_looked(const struct cli *c, const json_t *k)
{
    static const char *const said[][2] = {
        {"found", "the DHT says where they were not long ago, but nobody answers there"},
        {"absent", "they have left no word in the DHT"},
        {"unasked", "the DHT could not be asked where they are"},
    };
    const char *looked = cli_str(k, "dht");
    size_t own = c->width > STATUS_INDENT ? c->width - STATUS_INDENT : c->width;
    if (strcmp(cli_str(k, "presence"), "offline") != 0) {
        return;
    }
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) {
        if (strcmp(looked, said[i][0]) == 0) {
            size_t width = fmt_width(said[i][1]);
            (void)printf("%*s%s", STATUS_INDENT, "", cli_dim(c));
            fmt_pad(stdout, said[i][1], width < own ? width : own);
            (void)printf("%s\n", cli_plain(c));
        }
    }
}

static void print_contact(struct cli *c, json_t *k, size_t columns)
{
    const char *presence = cli_str(k, "presence");
    const char *network = cli_str(k, "network"); /* empty: met in another way */
    if (c->json) {
        cli_json(k);
        return;
    }
    if (!c->tty_out) {
        fmt_put(stdout, cli_str(k, "name"), FMT_LINE);
        (void)printf("\t%.*s\t%s\t%s\t%llu\t", CLI_ID_SHOWN, cli_str(k, "root"), presence,
                     trust(k), (unsigned long long)cli_int(k, "unread"));
        fmt_put(stdout, cli_str(k, "status"), FMT_LINE);
        if (network[0] != '\0') {
            (void)fputc('\t', stdout);
            fmt_put(stdout, network, FMT_LINE);
        }
        (void)fputc('\n', stdout);
        return;
    }
    char *name = cli_shown(cli_str(k, "name"));
    (void)printf("%s %s", presence_sign(presence), cli_bold(c));
    fmt_pad(stdout, name, columns);
    (void)printf("%s  %-*s  %s%-*s%s", cli_plain(c), PRESENCE_COLUMNS, presence,
                 cli_true(k, "conflict") ? cli_bold(c) : cli_dim(c), TRUST_COLUMNS,
                 trust(k), cli_plain(c));
    print_rest(c, k, 2 + columns + 2 + PRESENCE_COLUMNS + 2 + TRUST_COLUMNS);
    print_claims(k);
    print_looked(c, k);
    free(name);
}

int cmd_contacts(struct cli *c)
{
    json_t *o, *k;
    size_t i, columns = 0, max = c->width > 50 ? NAME_COLUMNS_MAX : NAME_COLUMNS_MAX / 2;
    bool conflict = false;
    int rc = cli_call(c, "contacts", NULL, &o);
    if (rc != 0) {
        return rc;
    }
    const json_t *list = json_object_get(o, "contacts");
    json_array_foreach(list, i, k)
    {
        char *name = cli_shown(cli_str(k, "name"));
        size_t w = fmt_width(name);
        columns = w > columns ? (w < max ? w : max) : columns;
        conflict = conflict || cli_true(k, "conflict");
        free(name);
    }
    json_array_foreach(list, i, k)
    {
        print_contact(c, k, columns);
    }
    if (json_array_size(list) == 0 && c->tty_err) {
        cli_say("Nobody yet. Meet somebody: linnet invite");
    }
    if (conflict && c->tty_err) {
        cli_say("Two identities claim the same name: nothing is sent to them before you "
                "say who is who. How: linnet verify --help");
    }
    json_decref(o);
    return 0;
}

static int contact_rename(struct cli *c, const char *name, const char *fresh)
{
    json_t *o;
    int rc = cli_call(c, "contact.rename",
                      json_pack("{s:s,s:s}", "name", name, "new", fresh), &o);
    if (rc != 0) {
        return rc;
    }
    json_t *k = json_object_get(o, "contact");
    char *now = cli_shown(cli_str(k, "name"));
    if (c->json) {
        cli_json(json_is_object(k) ? k : o);
    } else {
        cli_say("You call them %s now. They do not see that.", now);
    }
    free(now);
    json_decref(o);
    return 0;
}

static int contact_change(struct cli *c, const char *verb, const char *name)
{
    static const char *const changes[][2] = {{"block", "contact.block"},
                                             {"unblock", "contact.unblock"},
                                             {"remove", "contact.remove"}};
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        json_t *o;
        if (strcmp(verb, changes[i][0]) != 0) {
            continue;
        }
        int rc = cli_call(c, changes[i][1], json_pack("{s:s}", "name", name), &o);
        if (rc != 0) {
            return rc;
        }
        char *shown = cli_shown(name), *word = cli_word(name);
        if (c->json) {
            (void)json_object_set_new(o, "name", json_string(name));
            cli_json(o);
        } else if (i == 0) {
            cli_say(
                "%s is blocked: nothing of theirs gets through, and they are not told.\n"
                "Undo it with:\n    linnet contact unblock %s",
                shown, word);
        } else if (i == 1) {
            cli_say("%s is not blocked any more. Write:\n    linnet send %s TEXT", shown,
                    word);
        } else {
            cli_say("%s is not your contact any more.\n"
                    "To meet again you need a new invite: linnet invite",
                    shown);
        }
        free(shown);
        free(word);
        json_decref(o);
        return 0;
    }
    return cli_misused(c,
                       "Of a contact you can do: rename, files, block, unblock, remove.");
}

int cmd_contact(struct cli *c)
{
    const char *verb = c->args.words[0];
    size_t n = c->args.n_words;
    if (strcmp(verb, "files") == 0) {
        return cmd_contact_files(c);
    }
    if (c->args.n_values > 0) {
        return cli_misused(c, "--max and --quota belong to contact files.");
    }
    if (strcmp(verb, "rename") == 0) {
        return n == 3 ? contact_rename(c, c->args.words[1], c->args.words[2])
                      : cli_misused(c, "rename wants the name and the new one.");
    }
    if (n != 2) {
        return cli_misused(c, "Those arguments do not fit together.");
    }
    return contact_change(c, verb, c->args.words[1]);
}

/* The digits in groups of five: on one line, or in two lines of thirty. */
static void print_number(const char *number, bool lines, const char *before)
{
    size_t n = 0;
    (void)fputs(before, stdout);
    for (; *number != '\0' && n < NUMBER_DIGITS; number++) {
        if (*number < '0' || *number > '9') {
            continue;
        }
        if (n > 0 && n % DIGIT_GROUP == 0) {
            bool end = lines && n % (DIGIT_GROUP * GROUPS_A_LINE) == 0;
            (void)fputs(end ? "\n" : " ", stdout);
            (void)fputs(end ? before : "", stdout);
        }
        (void)fputc(*number, stdout);
        n++;
    }
    (void)fputc('\n', stdout);
}

static int verify_call(struct cli *c, bool confirm, json_t **o)
{
    return cli_call(c, "verify",
                    json_pack("{s:s,s:b}", "name", c->args.words[0], "confirm", confirm),
                    o);
}

/* What the number shows, and whether to mark: asks on a terminal. */
static bool wants_mark(struct cli *c, json_t *o, bool yes)
{
    char *name = cli_shown(cli_str(o, "name"));
    bool mark = yes;
    if (!c->json) {
        if (c->tty_out) {
            (void)printf("Safety number of you and %s%s%s (%.*s):\n\n", cli_bold(c), name,
                         cli_plain(c), CLI_ID_SHOWN, cli_str(o, "root"));
        }
        print_number(cli_str(o, "number"), c->tty_out, c->tty_out ? "    " : "");
        (void)fflush(stdout);
    }
    if (!yes && !c->json && c->tty_out && c->tty_in) {
        cli_say("\nCompare it with what `linnet verify` shows them, face to face or by "
                "voice.");
        mark = cli_ask("Do they match?");
    }
    free(name);
    return mark;
}

/* The live code: both run this at one time, and compare by voice. */
static int verify_code(struct cli *c)
{
    const char *name = c->args.words[0];
    json_t *o;
    int rc = cli_connect(c);
    if (rc == 0 && c->tty_err) {
        cli_say("Waiting for the other side to run the same: linnet verify YOU --code");
    }
    if (rc == 0) {
        rc = cli_call_for(c, "verify", json_pack("{s:s,s:b}", "name", name, "code", 1),
                          VERIFY_CODE_MS, &o);
    }
    if (rc != 0) {
        return rc;
    }
    char *shown = cli_shown(cli_str(o, "name"));
    if (c->json) {
        cli_json(o);
    } else {
        (void)printf("%s%s%s\n", cli_bold(c), cli_str(o, "code"), cli_plain(c));
    }
    rc = cli_flush();
    if (rc == 0 && c->tty_in && c->tty_err && !c->json) {
        bool same = cli_ask("Ask them, by voice or face to face. Do they see the same?");
        json_t *marked = NULL;
        rc = same ? verify_call(c, true, &marked) : CLI_IDENTITY;
        if (rc == 0) {
            cli_say("%s is verified.", shown);
        } else if (!same) {
            cli_say("%s is not verified. If the codes differ, somebody is between you: "
                    "meet, and use a new invite.",
                    shown);
        }
        json_decref(marked);
    } else if (rc == 0 && c->tty_err) {
        cli_say("If they see the same: linnet verify %s --yes", shown);
    }
    free(shown);
    json_decref(o);
    return rc;
}

int cmd_verify(struct cli *c)
{
    json_t *o;
    bool yes = args_value(&c->args, "--yes") != NULL;
    if (args_value(&c->args, "--code") != NULL) {
        if (yes) {
            return cli_misused(c, "With --code you are asked whether the codes match.");
        }
        return verify_code(c);
    }
    int rc = verify_call(c, false, &o);
    if (rc != 0) {
        return rc;
    }
    if (wants_mark(c, o, yes)) {
        json_decref(o);
        rc = verify_call(c, true, &o);
        if (rc != 0) {
            return rc;
        }
    }
    char *name = cli_shown(cli_str(o, "name")), *word = cli_word(cli_str(o, "name"));
    if (c->json) {
        cli_json(o);
    } else if (cli_true(o, "verified")) {
        cli_say("%s is verified. Should another identity come under this name, you will "
                "be told.",
                name);
        if (cli_str(o, "rival")[0] != '\0') {
            char *rival = cli_shown(cli_str(o, "rival"));
            char *other = cli_word(cli_str(o, "rival"));
            cli_say("%s still claims this name. Remove it, or give it another name:\n"
                    "    linnet contact remove %s\n"
                    "    linnet contact rename %s NEW",
                    rival, other, other);
            free(rival);
            free(other);
        }
    } else if (cli_true(o, "conflict")) {
        cli_say("Not verified: another identity has come under this name, and nothing is "
                "sent to it before you say which one you mean. If the numbers match:\n"
                "    linnet verify %s --yes",
                word);
    } else {
        cli_say("%s is not verified. If the numbers match:\n    linnet verify %s --yes",
                name, word);
    }
    free(word);
    free(name);
    json_decref(o);
    return 0;
}
