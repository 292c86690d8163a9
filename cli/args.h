/* The command line: global options before or after the command, options of the command,
 * and its arguments. Nothing is done here but parsing; what is wrong is told in a
 * sentence. */
#ifndef LINNET_CLI_ARGS_H
#define LINNET_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>

enum {
    ARGS_VALUES_MAX = 64, /* options of a command, counted as given */
    ARGS_WORDS_MAX = 64,  /* arguments of a command */
    ARGS_WHY_MAX = 256,
};

/* An option of a command: "--name", or "-n" when letter is set too. A list of them ends
 * with a NULL name. */
struct args_option {
    const char *name;
    char letter; /* 0: none */
    /* What its value is called in the help; NULL: a flag. With "..." at its end,
     * arguments behind the value are further ones of it, until the next option, once the
     * command has as many arguments as it needs. */
    const char *value;
};

/* What may follow a command. */
enum args_form {
    ARGS_STRICT, /* its options and its arguments */
    ARGS_LOOSE,  /* anything: it is known but not there yet */
    ARGS_DASHES, /* arguments may begin with a dash, where they are no option of it */
};

/* What the table of commands says for the parser. */
struct args_command {
    const char *name;
    const struct args_option *options; /* NULL: none */
    size_t words_min, words_max;
    const char *usage; /* behind "linnet NAME " */
    unsigned form;     /* enum args_form */
};

struct args {
    const char *home;
    bool json, no_start, help, version;
    const struct args_command *command; /* NULL: none given */
    const char *words[ARGS_WORDS_MAX];
    size_t n_words;
    struct {
        const struct args_option *option;
        const char *value;
    } values[ARGS_VALUES_MAX];
    size_t n_values;
};

/* find returns the command of that name or NULL. Strings are borrowed from argv. False:
 * why holds a sentence (its words shown, not obeyed). */
bool args_parse(int argc, char *const argv[],
                const struct args_command *(*find)(const char *name), struct args *out,
                char why[ARGS_WHY_MAX]);
/* The value of the option, the last one when given several times; NULL: not given. A flag
 * that was given has the value "". */
const char *args_value(const struct args *a, const char *name);
/* How many letters must be changed, added, left out or swapped to make b of a; capped. */
size_t args_distance(const char *a, const char *b);

#endif
