/* The table of commands: names, options and help. docs/man/linnet.1 names each of them,
 * which tests/test_args.c checks. */
#include <stdio.h>
#include <string.h>

#include "cmd.h"

enum { LIKE_MAX = 2 }; /* mistakes that are forgiven in a guess */

#define END                                                                              \
    {                                                                                    \
        NULL, 0, NULL                                                                    \
    }

static const struct args_option daemon_options[] = {{"--scope", 0, "lan|internet"},
                                                    {"--port", 0, "N"},
                                                    {"--peer", 0, "HOST[:PORT]"},
                                                    {"--bootstrap", 0, "HOST:PORT"},
                                                    {"--name", 0, "NAME"},
                                                    {"--network", 0, "NAME"},
                                                    {"--network-secret-fd", 0, "N"},
                                                    {"--passphrase-fd", 0, "N"},
                                                    END};
static const struct args_option passphrase_options[] = {{"--passphrase-fd", 0, "N"}, END};
static const struct args_option id_options[] = {{"--qr", 0, NULL}, END};
static const struct args_option invite_options[] = {
    {"--qr", 0, NULL}, {"--expires", 0, "24h"}, {"--addr", 0, "HOST:PORT"}, END};
static const struct args_option add_options[] = {
    {"--as", 0, "NAME"}, {"--message", 0, "LINE"}, END};
static const struct args_option requests_options[] = {
    {"--as", 0, "NAME"}, {"--block", 0, NULL}, {"--blocked", 0, NULL}, END};
static const struct args_option visible_options[] = {{"--stay", 0, NULL}, END};
static const struct args_option nearby_options[] = {{"--watch", 0, NULL}, END};
static const struct args_option contact_options[] = {
    {"--max", 0, "SIZE"}, {"--quota", 0, "SIZE"}, END};
static const struct args_option transfers_options[] = {
    {"--all", 0, NULL}, {"--output", 'o', "PATH"}, END};
static const struct args_option verify_options[] = {
    {"--yes", 'y', NULL}, {"--code", 0, NULL}, END};
static const struct args_option send_options[] = {
    {"--reply", 0, "ID"},    {"--wait", 0, "sent|stored|delivered|read"},
    {"--timeout", 0, "30s"}, {"--file", 'f', "PATH..."},
    {"--name", 0, "FILE"},   END};
static const struct args_option react_options[] = {{"--remove", 0, NULL}, END};
static const struct args_option recv_options[] = {{"--follow", 'f', NULL},
                                                  {"--from", 0, "NAME"},
                                                  {"--file", 0, "N"},
                                                  {"--output", 'o', "PATH"},
                                                  END};
static const struct args_option history_options[] = {
    {"--number", 'n', "N"}, {"--since", 0, "T"}, END};
static const struct args_option export_options[] = {{"--format", 0, "jsonl|md"}, END};
static const struct args_option search_options[] = {{"--number", 'n', "N"}, END};
static const struct args_option dht_options[] = {{"--key", 0, "HEX"},
                                                 {"--salt", 0, "S"},
                                                 {"--hex", 0, NULL},
                                                 {"--mutable", 0, NULL},
                                                 {"--seed-fd", 0, "N"},
                                                 {"--seq", 0, "N"},
                                                 {"--cas", 0, "N"},
                                                 {"--bencoded", 0, NULL},
                                                 {"--port", 0, "N"},
                                                 {"--listen", 0, "ADDR:PORT"},
                                                 {"--bootstrap", 0, "HOST:PORT"},
                                                 {"--rate", 0, "SIZE"},
                                                 END};
static const struct args_option events_options[] = {{"--since", 0, "N"}, END};

#define LATER(name, what)                                                                \
    {                                                                                    \
        {name, NULL, 0, ARGS_WORDS_MAX, "", ARGS_LOOSE}, NULL, what, "Not there yet.\n"  \
    }

static const struct cmd table[] = {
    {{"daemon", daemon_options, 0, 0,
      "[--scope lan|internet] [--port N] [--peer HOST[:PORT]]...\n"
      "                     [--bootstrap HOST:PORT]...\n"
      "                     [--name NAME] [--network NAME --network-secret-fd N]\n"
      "                     [--passphrase-fd N]",
      false},
     cmd_daemon,
     "run the node in the foreground",
     "Other commands start the node in the background by themselves; this one is for a\n"
     "service manager, or to watch what it says. ^C ends it.\n"
     "\n"
     "    linnet daemon --scope lan --name ann\n"
     "    linnet daemon --peer 10.1.0.7 --peer printer.lan:7679\n"
     "    linnet daemon --bootstrap 192.0.2.1:6881\n"
     "    linnet daemon --network \"The Office\" --network-secret-fd 3 3< office.secret\n"
     "    linnet daemon --passphrase-fd 3 3< secret\n"
     "\n"
     "Nodes of one network find one another and become contacts by themselves, marked "
     "as\n"
     "unverified. The first line of the descriptor is the network's secret.\n"
     "--bootstrap names nodes of the DHT to begin from, in place of the public ones; in\n"
     "scope lan there is no DHT without it.\n"},
    {{"stop", NULL, 0, 0, "", false},
     cmd_stop,
     "end the node",
     "Returns when it has ended. What is queued goes out at the next start.\n"
     "\n"
     "    linnet stop\n"},
    {{"status", NULL, 0, 0, "", false},
     cmd_status,
     "how the node is",
     "With --json also the endpoints of the local API (linnet-api(7)). With --no-start "
     "it\n"
     "exits 3 when no node runs.\n"
     "\n"
     "    linnet status\n"
     "    linnet status --json --no-start\n"},
    {{"id", id_options, 0, 0, "[--qr]", false},
     cmd_id,
     "who you are",
     "Your name, your root (the key that others know you by) and this device.\n"
     "\n"
     "    linnet id\n"
     "    linnet id --qr\n"},
    {{"passphrase", passphrase_options, 0, 0, "[--passphrase-fd N]", false},
     cmd_passphrase,
     "set, change or remove the key's passphrase",
     "Asks on the terminal; an empty new one removes it. With --passphrase-fd the "
     "passphrase\n"
     "as it is (if there is one) is the first line read, the new one the next.\n"
     "\n"
     "    linnet passphrase\n"
     "    linnet passphrase --passphrase-fd 3 3< secrets\n"},
    {{"invite", invite_options, 0, 2,
      "[--qr] [--expires 24h] [--addr HOST:PORT]... | ls | revoke N", false},
     cmd_invite,
     "make a code that lets one person become your contact",
     "The code alone goes to standard output. It works once, for 24 hours unless "
     "--expires\n"
     "says otherwise.\n"
     "\n"
     "    linnet invite\n"
     "    linnet invite --qr --expires 10m\n"
     "    linnet invite --addr 192.0.2.1:7679\n"
     "    linnet invite ls\n"
     "    linnet invite revoke 3\n"},
    {{"add", add_options, 1, 1, "CODE|NEARBY|- [--as NAME] [--message LINE]", false},
     cmd_add,
     "become the contact of whoever made a code, or ask somebody nearby",
     "NEARBY is the number, the name or 8 or more digits of the hash that `linnet "
     "nearby`\n"
     "shows; --message is a line that they see with the request. Prints the name of the "
     "new\n"
     "contact. When nobody is there, or they have not accepted yet, exits 6 after 15\n"
     "seconds; the node goes on trying.\n"
     "\n"
     "    linnet add linnet1…\n"
     "    linnet add - --as bob < code\n"
     "    linnet add 3 --message 'Ann from the second floor'\n"},
    {{"nearby", nearby_options, 0, 0, "[--watch]", false},
     cmd_nearby,
     "who is visible on this network",
     "Everybody whose node says that it is visible, with a number for `linnet add`. "
     "What\n"
     "they say of themselves is not proved, names least of all. With --watch it stays "
     "and\n"
     "prints who comes (+) and goes (-), until ^C.\n"
     "\n"
     "    linnet nearby\n"
     "    linnet nearby --watch\n"
     "    linnet add 3\n"},
    {{"visible", visible_options, 0, 1, "[on|off] [--stay]", false},
     cmd_visible,
     "let people nearby see you",
     "For ten minutes, or with --stay until you turn it off (also after a restart),\n"
     "everyone on this network sees your name and a hash of your identity, and may ask "
     "to\n"
     "become your contact. Alone it says how things are.\n"
     "\n"
     "    linnet visible on\n"
     "    linnet visible on --stay\n"
     "    linnet visible off\n"},
    {{"requests", requests_options, 0, 2,
      "[--blocked] | accept N [--as NAME] | deny N [--block] | unblock N", false},
     cmd_requests,
     "people nearby who want to become contacts",
     "Somebody who is denied learns nothing and may ask again after an hour; with "
     "--block\n"
     "never again. --blocked lists those. A name that looks like that of a contact is "
     "marked:\n"
     "look twice, and say with --as what to call them.\n"
     "\n"
     "    linnet requests\n"
     "    linnet requests accept 2 --as 'bob (sales)'\n"
     "    linnet requests deny 3 --block\n"
     "    linnet requests --blocked\n"},
    {{"contacts", NULL, 0, 0, "", false},
     cmd_contacts,
     "your contacts, and who is there",
     "\n"
     "    linnet contacts\n"
     "    linnet contacts --json\n"},
    {{"contact", contact_options, 2, 3,
      "rename NAME NEW | block NAME | unblock NAME | remove NAME\n"
      "                      | files NAME [ask|always|never|default] [--max SIZE]\n"
      "                      [--quota SIZE]",
      false},
     cmd_contact,
     "rename, block or remove a contact; what of their files is accepted",
     "With files: whether their files are accepted without asking, up to --max bytes "
     "each\n"
     "and --quota bytes a day (none: any); default: as the settings accept, accept_max "
     "and\n"
     "accept_quota say. Alone it says how it is.\n"
     "\n"
     "    linnet contact rename bob-2 robert\n"
     "    linnet contact block 1a2b3c4d\n"
     "    linnet contact remove robert\n"
     "    linnet contact files robert\n"
     "    linnet contact files robert always --max 1.5G --quota none\n"
     "    linnet contact files robert default --max default\n"},
    {{"verify", verify_options, 1, 1, "NAME [--yes] [--code]", false},
     cmd_verify,
     "make sure that a contact is who you think",
     "Shows the safety number, the same at both ends. On a terminal it asks whether the "
     "two\n"
     "match; --yes says so. That also settles which one you mean when two identities "
     "claim\n"
     "the same name.\n"
     "\n"
     "With --code both run it at one time and get the same seven digits, made for this "
     "once\n"
     "so that nobody between you could have the same ones at both ends; compare them by\n"
     "voice or face to face. It waits two minutes for the other.\n"
     "\n"
     "    linnet verify bob\n"
     "    linnet verify bob --yes\n"
     "    linnet verify bob --code\n"
     "\n"
     "When bob lost everything and began anew, he comes as bob-2. If the numbers match:\n"
     "    linnet verify bob-2 --yes\n"
     "    linnet contact remove bob\n"
     "    linnet contact rename bob-2 bob\n"
     "The same, when bob gave you a new code: linnet add CODE --as bob, then\n"
     "linnet contact remove bob-2. Two people with one name need two names:\n"
     "    linnet contact rename bob-2 'bob sales'\n"},
    {{"send", send_options, 1, 2,
      "NAME [TEXT|-] [-f PATH|-...] [--name FILE] [--reply ID]\n"
      "                   [--wait sent|stored|delivered|read] [--timeout 30s]",
      false},
     cmd_send,
     "send a message, files or folders",
     "Returns when the message is on disk here; it goes out when the other is there. "
     "With\n"
     "--wait, when it has got that far; exits 6 when they are offline at the end of the\n"
     "time-out, 10 when they are there.\n"
     "\n"
     "    linnet send bob 'Lunch?'\n"
     "    uptime | linnet send bob -\n"
     "    linnet send bob 'Yes.' --reply 1a2b3c4d --wait delivered --timeout 10s\n"
     "    linnet send bob -- '-5 degrees'\n"
     "\n"
     "With -f files and folders, a text before them. They go while both are there and "
     "go\n"
     "on by themselves after a break; nothing is copied, so leave them where they are\n"
     "until they have arrived. On a terminal it shows how it goes; ^C pauses. Else it\n"
     "prints number, state, bytes and name; exits 7 when they were declined, 8 when\n"
     "nothing moves for the time-out, 9 when what arrived is not what was sent.\n"
     "\n"
     "    linnet send bob -f report.pdf photos/\n"
     "    linnet send bob 'As you wished.' -f plan.odt --name 'plan 2.odt'\n"
     "    linnet send bob -f disk.img --wait delivered --timeout 10m\n"
     "    tar c src | linnet send bob -f - --name src.tar\n"},
    {{"edit", NULL, 2, 2, "ID TEXT|-", false},
     cmd_edit,
     "change a message of yours",
     "ID is 8 or more digits of the message's id, as history shows it. Everybody who "
     "has\n"
     "the message sees the new text, and that it was edited.\n"
     "\n"
     "    linnet edit 1a2b3c4d 'Lunch at one?'\n"
     "    linnet edit 1a2b3c4d - < text\n"},
    {{"react", react_options, 1, 2, "ID EMOJI|--remove", false},
     cmd_react,
     "react to a message",
     "With one emoji or one character; another one replaces it.\n"
     "\n"
     "    linnet react 1a2b3c4d 👍\n"
     "    linnet react 1a2b3c4d --remove\n"},
    {{"redact", NULL, 1, 1, "ID", false},
     cmd_redact,
     "take a message of yours back",
     "For good: its text is deleted here, and by every node that cooperates once it "
     "hears\n"
     "of it. Who has read it has read it.\n"
     "\n"
     "    linnet redact 1a2b3c4d\n"},
    {{"read", NULL, 1, 1, "NAME", false},
     cmd_read,
     "mark a contact's messages as read",
     "They see that. Nothing else on the command line does it.\n"
     "\n"
     "    linnet read bob\n"},
    {{"recv", recv_options, 0, 0, "[-f] [--from NAME] | --file N [-o PATH|-]", false},
     cmd_recv,
     "print what has arrived, or take a file",
     "Prints what it has not printed yet; with -f it stays and prints what arrives, "
     "also\n"
     "after the node was started anew, and edits, reactions and what is taken back.\n"
     "\n"
     "    linnet recv\n"
     "    linnet recv -f --from bob\n"
     "    linnet recv -f --json | jq -r .text\n"
     "\n"
     "With --file it accepts the file with that number and stays until it is here; -o "
     "says\n"
     "where to, a folder or the whole path, or - for standard output, which gets what "
     "has\n"
     "been verified while the rest comes. ^C pauses; exits 9 when what came is not what\n"
     "was offered.\n"
     "\n"
     "    linnet recv --file 17\n"
     "    linnet recv --file 17 -o ~/plans/\n"
     "    linnet recv --file 18 -o - | tar x\n"},
    {{"transfers", transfers_options, 0, ARGS_WORDS_MAX,
      "[--all] | show N | accept N [-o PATH] | decline N...\n"
      "                        | pause N... | resume N... | cancel N... | limit "
      "[RATE|none]",
      false},
     cmd_transfers,
     "files on their way",
     "Those that have not ended, and those that ended lately; with --all every one. "
     "Files\n"
     "of others wait until you accept them, unless the settings accept them "
     "(linnet.ini(5),\n"
     "linnet contact files). cancel takes an offer of yours back, and gives up what "
     "comes\n"
     "in. A rate is bytes a second, in each direction.\n"
     "\n"
     "    linnet transfers\n"
     "    linnet transfers accept 17 -o ~/plans/\n"
     "    linnet transfers pause 17 18\n"
     "    linnet transfers show 17\n"
     "    linnet transfers limit 5M\n"
     "    linnet transfers --all --json\n"},
    {{"history", history_options, 1, 1, "NAME [-n N] [--since T]", false},
     cmd_history,
     "print a conversation",
     "On a terminal the newest 50 unless asked otherwise, else everything. T is a "
     "duration\n"
     "(2h, 3d, 1w), today, yesterday, or a date.\n"
     "\n"
     "    linnet history bob -n 20\n"
     "    linnet history bob --since 2d\n"
     "    linnet history bob --since yesterday\n"
     "    linnet history bob --since 2026-11-22T14:00\n"},
    {{"search", search_options, 1, ARGS_WORDS_MAX, "WORDS... [-n N]", ARGS_DASHES},
     cmd_search,
     "find messages",
     "All messages that have all the words, newest first; on a terminal the newest 50\n"
     "unless asked otherwise. Case and accents do not matter. Besides words:\n"
     "\n"
     "    \"quick fox\"     these words, one after the other (mind the shell's quotes)\n"
     "    umbr*           words that begin so\n"
     "    -word           without that word\n"
     "    from:NAME       of that author; from:me is you\n"
     "    in:NAME         in the conversation with NAME\n"
     "    before:DATE     and after:DATE: as --since of `linnet history`\n"
     "\n"
     "    linnet search umbrella\n"
     "    linnet search '\"quick fox\"' from:bob after:1w\n"
     "    linnet search 北京 -n 5\n"
     "    linnet search caf* -coffee in:'Bob Smith' --json\n"},
    {{"export", export_options, 0, 1, "[NAME] [--format jsonl|md]", false},
     cmd_export,
     "print everything, as JSON Lines or Markdown",
     "Oldest first. A line of JSON is a message as in linnet-api(7).\n"
     "\n"
     "    linnet export > all.jsonl\n"
     "    linnet export bob --format md > bob.md\n"},
    {{"events", events_options, 0, 0, "[--since N]", false},
     cmd_events,
     "print what happens, until ^C",
     "With --since first what happened after that event. Goes on when the node was\n"
     "started anew.\n"
     "\n"
     "    linnet events\n"
     "    linnet events --json --since 120\n"},
    {{"away", NULL, 0, ARGS_WORDS_MAX, "[STATUS TEXT]", ARGS_STRICT},
     cmd_presence,
     "say that you are away, and why",
     "Contacts see it with the text, until you say something else; without a text there "
     "is\n"
     "none. Without activity you are shown as away by yourself (setting away_after).\n"
     "\n"
     "    linnet away\n"
     "    linnet away At lunch, back at one\n"},
    {{"busy", NULL, 0, ARGS_WORDS_MAX, "[STATUS TEXT]", ARGS_STRICT},
     cmd_presence,
     "say that you are busy, and why",
     "Contacts see it with the text, until you say something else.\n"
     "\n"
     "    linnet busy 'In a meeting'\n"},
    {{"online", NULL, 0, ARGS_WORDS_MAX, "[STATUS TEXT]", ARGS_STRICT},
     cmd_presence,
     "say that you are there",
     "Ends away, busy and invisible. The text stays when you are away by yourself.\n"
     "\n"
     "    linnet online\n"
     "    linnet online 'Room 4 today'\n"},
    {{"invisible", NULL, 0, ARGS_WORDS_MAX, "[STATUS TEXT]", ARGS_STRICT},
     cmd_presence,
     "be shown as offline",
     "Contacts see you as offline, and nobody else sees anything; messages come and go "
     "as\n"
     "always. Who writes to you can tell that they were delivered. The text is for "
     "yourself.\n"
     "\n"
     "    linnet invisible\n"},
    {{"live", NULL, 2, 2, "NAME on|off", ARGS_STRICT},
     cmd_live,
     "show a contact what you write while you write it",
     "Every key, as soon as both of you have turned it on; off by default. Front ends "
     "that\n"
     "tell the node what is being typed show it (linnet-api(7)).\n"
     "\n"
     "    linnet live bob on\n"
     "    linnet live bob off\n"},
    {{"config", NULL, 1, 3, "get [KEY] | set KEY VALUE | path", false},
     cmd_config,
     "look at or change settings",
     "The settings are in linnet.ini(5). An empty value removes one.\n"
     "\n"
     "    linnet config get\n"
     "    linnet config set name ann\n"
     "    linnet config set interfaces eth0,wlan0\n"
     "    linnet config path\n"},
    {{"dht", dht_options, 1, 2,
      "ping HOST:PORT | find HEX | peers HEX | announce HEX [--port N]\n"
      "                  | get HEX | get --key HEX [--salt S] [--hex]\n"
      "                  | put VALUE|- [--bencoded]\n"
      "                        [--mutable --seed-fd N [--salt S] [--seq N] [--cas N]]\n"
      "                  | stats | serve [--listen ADDR:PORT] [--bootstrap "
      "HOST:PORT]...\n"
      "                          [--rate SIZE]",
      ARGS_STRICT},
     cmd_dht,
     "look into the DHT, store in it, serve it",
     "The DHT is that of BitTorrent (BEP 5, 44), or one of your own begun with "
     "--bootstrap.\n"
     "HEX is a target of 40 digits, with --key a public key of 64. put prints the target "
     "to\n"
     "get it by, or with --mutable the key; a value is a string of at most 996 bytes, "
     "or "
     "with\n"
     "--bencoded any bencoded value. The seed of an Ed25519 key is read from a "
     "descriptor.\n"
     "Without --seq it is one more than what is stored. Exits 1 when nothing is stored\n"
     "there, 6 when nobody could be asked, 7 when nobody took it, 10 when a ping got no\n"
     "answer. What is stored is public and lasts about two hours.\n"
     "\n"
     "    linnet dht put 'Hello World!'\n"
     "    linnet dht get e5f96f6f38320f0f33959cb4d3d656452117aadb\n"
     "    linnet dht put --mutable --seed-fd 3 --salt news - 3< seed < news.txt\n"
     "    linnet dht get --key KEY --salt news\n"
     "    linnet dht ping router.bittorrent.com:6881\n"
     "    linnet dht stats --json\n"
     "\n"
     "serve runs a bare node in the foreground that others can begin from: no identity, "
     "no\n"
     "home, port 6881 unless --listen says otherwise. It prints its address and id. All\n"
     "answers of a second together have 50 MB at most, or what --rate says (none: no "
     "limit).\n"
     "\n"
     "    linnet dht serve --listen 192.0.2.1:6881\n"
     "    linnet dht serve --bootstrap 192.0.2.7:6881\n"},
    LATER("chat", "the chat in the terminal"),
    LATER("doctor", "look for what is wrong, and say what helps"),
    LATER("group", "groups"),
    LATER("hook", "run programs on events"),
    LATER("backup", "back up and restore the home"),
};

enum { COMMANDS = sizeof table / sizeof table[0] };

const struct cmd *cmd_at(size_t i)
{
    return i < COMMANDS ? &table[i] : NULL;
}

const struct args_command *cmd_find(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(table[i].parse.name, name) == 0) {
            return &table[i].parse;
        }
    }
    return NULL;
}

const char *cmd_like(const char *name)
{
    const char *best = NULL;
    size_t least = LIKE_MAX + 1;
    for (size_t i = 0; i < COMMANDS; i++) {
        size_t d = args_distance(name, table[i].parse.name);
        if (d < least && d < strlen(table[i].parse.name)) {
            least = d;
            best = table[i].parse.name;
        }
    }
    return best;
}

static void help_all(void)
{
    (void)fputs("linnet: a messenger without servers\n"
                "\n"
                "Usage: linnet [--home DIR] [--json] [--no-start] COMMAND [ARGUMENTS]\n"
                "\n"
                "Two people, one invite:\n"
                "    linnet invite                 prints a code; give it to the other\n"
                "    linnet add CODE               the other side runs this\n"
                "    linnet send NAME 'Hello!'\n"
                "    linnet recv -f\n"
                "\n"
                "Commands (linnet COMMAND --help has examples):\n",
                stdout);
    for (size_t i = 0; i < COMMANDS && table[i].run != NULL; i++) {
        (void)printf("    %-11s %s\n", table[i].parse.name, table[i].what);
    }
    (void)fputs("\nNot there yet:", stdout);
    size_t column = strlen("Not there yet:");
    for (size_t i = 0; i < COMMANDS; i++) {
        size_t len = strlen(table[i].parse.name) + 1;
        if (table[i].run != NULL) {
            continue;
        }
        if (column + len > 76) {
            (void)fputs("\n   ", stdout);
            column = 3;
        }
        (void)printf(" %s", table[i].parse.name);
        column += len;
    }
    (void)fputs("\n\nOptions, before or after the command:\n"
                "    --home DIR   another home (also: LINNET_HOME)\n"
                "    --json       JSON Lines on standard output\n"
                "    --no-start   do not start a node; exit 3 when none runs\n"
                "    --version    which linnet this is\n"
                "\nAlone, linnet starts the node and says how to go on.\n",
                stdout);
}

void cmd_help(const struct cmd *cmd)
{
    if (cmd == NULL) {
        help_all();
        return;
    }
    (void)printf("linnet %s: %s\n\nUsage: linnet %s %s\n", cmd->parse.name, cmd->what,
                 cmd->parse.name, cmd->parse.usage);
    (void)printf("%s%s", cmd->help[0] == '\n' ? "" : "\n", cmd->help);
}
