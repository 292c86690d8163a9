#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "cli/cmd.h"

/* The words are split at blanks; "_" stands for an empty one. */
enum { WORDS_MAX = 256 };

struct parsed {
    char line[4096];
    struct args a;
    char why[ARGS_WHY_MAX];
};

static bool parse(struct parsed *p, const char *line)
{
    char *argv[WORDS_MAX] = {"linnet"}, *rest = NULL;
    int argc = 1;
    (void)snprintf(p->line, sizeof p->line, "%s", line);
    for (char *w = strtok_r(p->line, " ", &rest); w != NULL && argc < WORDS_MAX;
         w = strtok_r(NULL, " ", &rest)) {
        argv[argc++] = strcmp(w, "_") == 0 ? "" : w;
    }
    p->why[0] = '\0';
    return args_parse(argc, argv, cmd_find, &p->a, p->why);
}

Test(args, nothing)
{
    struct parsed p;
    cr_assert(parse(&p, ""));
    cr_assert_null(p.a.command);
    cr_assert_not(p.a.json || p.a.no_start || p.a.help || p.a.version);
}

Test(args, global_options_stand_anywhere)
{
    static const char *const lines[] = {
        "--home /x --json --no-start send bob hi",
        "send --home /x bob --json hi --no-start",
        "send bob hi --no-start --json --home=/x",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct parsed p;
        cr_assert(parse(&p, lines[i]), "%s: %s", lines[i], p.why);
        cr_assert_str_eq(p.a.home, "/x");
        cr_assert(p.a.json && p.a.no_start);
        cr_assert_str_eq(p.a.command->name, "send");
        cr_assert_eq(p.a.n_words, 2);
        cr_assert_str_eq(p.a.words[0], "bob");
        cr_assert_str_eq(p.a.words[1], "hi");
    }
}

Test(args, options_of_a_command)
{
    struct parsed p;
    cr_assert(parse(&p, "send bob - --wait delivered --timeout=5s"));
    cr_assert_str_eq(args_value(&p.a, "--wait"), "delivered");
    cr_assert_str_eq(args_value(&p.a, "--timeout"), "5s");
    cr_assert_null(args_value(&p.a, "--reply"));
    cr_assert_str_eq(p.a.words[1], "-");

    cr_assert(parse(&p, "recv -f"));
    cr_assert_str_eq(args_value(&p.a, "--follow"), "");

    cr_assert(parse(&p, "history bob -n20"));
    cr_assert_str_eq(args_value(&p.a, "--number"), "20");
    cr_assert(!parse(&p, "history bob -x20"));
    cr_assert(parse(&p, "history bob -n 3 -n 4"));
    cr_assert_str_eq(args_value(&p.a, "--number"), "4");
    cr_assert_eq(p.a.n_values, 2);
}

Test(args, options_about_files)
{
    struct parsed p;
    cr_assert(parse(&p, "send bob text -f a -fb/ --file=- --name c"));
    cr_assert_eq(p.a.n_values, 4);
    cr_assert_str_eq(p.a.values[0].value, "a");
    cr_assert_str_eq(p.a.values[1].value, "b/");
    cr_assert_str_eq(p.a.values[2].value, "-");
    cr_assert_str_eq(p.a.words[1], "text");
    cr_assert(parse(&p, "recv --file 17 -o -"));
    cr_assert_str_eq(args_value(&p.a, "--file"), "17");
    cr_assert_str_eq(args_value(&p.a, "--output"), "-");
    cr_assert(parse(&p, "transfers pause 1 2 3"));
    cr_assert_eq(p.a.n_words, 4);
    cr_assert(parse(&p, "transfers accept 1 -o dir/"));
    cr_assert(parse(&p, "transfers --all --json"));
    cr_assert(parse(&p, "contact files bob always --max 1G --quota none"));
    cr_assert_eq(p.a.n_words, 3);
    cr_assert_not(parse(&p, "transfers accept 1 -o"));
    cr_assert_not(parse(&p, "transfers --max 1G"));
    cr_assert_not(parse(&p, "contact files bob always never"));
}

static size_t count_values(const struct parsed *p, const char *option)
{
    size_t n = 0;
    for (size_t i = 0; i < p->a.n_values; i++) {
        n += strcmp(p->a.values[i].option->name, option) == 0;
    }
    return n;
}

Test(args, many_files_behind_one_option)
{
    struct parsed p;
    cr_assert(parse(&p, "send bob hi -f a b c"));
    cr_assert_eq(count_values(&p, "--file"), 3);
    cr_assert_str_eq(p.a.values[2].value, "c");
    cr_assert_eq(p.a.n_words, 2);
    cr_assert(parse(&p, "send -f a bob"), "before the name only one");
    cr_assert_eq(count_values(&p, "--file"), 1);
    cr_assert_str_eq(p.a.words[0], "bob");
    cr_assert(parse(&p, "send bob hi -f a -f b --wait read --file c"));
    cr_assert_eq(count_values(&p, "--file"), 3);
    cr_assert(!parse(&p, "send bob hi -f a --wait read b"), "the next option ends it");
    cr_assert(parse(&p, "recv --file 3 -o -"));
    cr_assert_eq(count_values(&p, "--file"), 1);
}

Test(args, what_follows_two_dashes_is_text)
{
    struct parsed p;
    cr_assert(parse(&p, "send bob -- --wait"));
    cr_assert_str_eq(p.a.words[1], "--wait");
    cr_assert_null(args_value(&p.a, "--wait"));
    cr_assert(parse(&p, "send -- bob --"));
    cr_assert_str_eq(p.a.words[1], "--");
}

Test(args, an_empty_text_is_a_word)
{
    struct parsed p;
    cr_assert(parse(&p, "send bob _"));
    cr_assert_eq(p.a.n_words, 2);
    cr_assert_str_eq(p.a.words[1], "");
}

Test(args, mistakes_are_told)
{
    static const char *const lines[] = {
        "sned bob hi",
        "send bob hi there",
        "send bob hi --wiat read",
        "send bob hi --wait",
        "send",
        "recv --follow=yes",
        "--json=1 id",
        "--home",
        "--home= id",
        "id -x",
        "send bob -5",
        "history",
        "stop now",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct parsed p;
        cr_assert_not(parse(&p, lines[i]), "%s", lines[i]);
        cr_assert(p.why[0] != '\0' && p.why[strlen(p.why) - 1] == '.', "%s: %s", lines[i],
                  p.why);
    }
}

Test(args, control_characters_of_a_mistake_are_shown)
{
    struct parsed p;
    cr_assert_not(parse(&p, "\033[2J"));
    cr_assert_null(strchr(p.why, '\033'));
    cr_assert_not_null(strstr(p.why, "\\x1b[2J"));
}

Test(args, help_needs_no_arguments)
{
    struct parsed p;
    cr_assert(parse(&p, "send --help"));
    cr_assert(p.a.help);
    cr_assert(parse(&p, "chat bob --plain --help"));
    cr_assert(p.a.help);
    cr_assert(parse(&p, "-h"));
    cr_assert(p.a.help);
}

Test(args, what_is_not_there_yet_takes_anything)
{
    struct parsed p;
    cr_assert(parse(&p, "group create lunch --with bob -x 1 2 3"));
    cr_assert_str_eq(p.a.command->name, "group");
}

Test(args, too_many)
{
    struct parsed p;
    char line[4096] = "invite";
    for (int i = 0; i <= ARGS_VALUES_MAX; i++) {
        strcat(line, " --addr a:1");
    }
    cr_assert_not(parse(&p, line));
    cr_assert_not_null(strstr(p.why, "too often"));
}

Test(args, distance)
{
    cr_assert_eq(args_distance("send", "send"), 0);
    cr_assert_eq(args_distance("sned", "send"), 1);
    cr_assert_eq(args_distance("sendd", "send"), 1);
    cr_assert_eq(args_distance("snd", "send"), 1);
    cr_assert_eq(args_distance("", "send"), 4);
    cr_assert_eq(args_distance("status", "stop"), 4);
}

Test(args, guesses)
{
    cr_assert_str_eq(cmd_like("sned"), "send");
    cr_assert_str_eq(cmd_like("contcats"), "contacts");
    cr_assert_null(cmd_like("frobnicate"));
    cr_assert_null(cmd_like("x"));
}

/* Every command is in the manual, and every option of it. */
Test(args, the_manual_names_every_command)
{
    char path[4096], *text = NULL;
    const char *tests = getenv("LINNET_TESTS");
    cr_assert_not_null(tests);
    (void)snprintf(path, sizeof path, "%s/../docs/man/linnet.1", tests);
    FILE *f = fopen(path, "r");
    size_t cap = 0;
    cr_assert_not_null(f, "%s", path);
    cr_assert_gt(getdelim(&text, &cap, '\0', f), 0);
    cr_assert_eq(fclose(f), 0);
    for (size_t i = 0; cmd_at(i) != NULL; i++) {
        const struct args_command *c = &cmd_at(i)->parse;
        char entry[64];
        (void)snprintf(entry, sizeof entry, "\n.It Ic %s", c->name);
        cr_assert_not_null(strstr(text, entry), "%s is not in the manual", c->name);
        for (const struct args_option *o = c->options; o != NULL && o->name != NULL;
             o++) {
            (void)snprintf(entry, sizeof entry, "Fl Fl %s", o->name + 2);
            cr_assert_not_null(strstr(text, entry), "%s %s is not in the manual", c->name,
                               o->name);
        }
    }
    free(text);
}
