#include "args.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fmt.h"

enum {
    WORD_MAX = 24,  /* letters of a command that are compared */
    SHOWN_MAX = 80, /* bytes of an argument that are shown */
};

static void complain(char why[ARGS_WHY_MAX], const char *before, const char *word,
                     const char *after)
{
    size_t len = strlen(word);
    char *shown = fmt_escape(word, len < SHOWN_MAX ? len : SHOWN_MAX, FMT_NAME);
    (void)snprintf(why, ARGS_WHY_MAX, "%s%.160s%s", before, shown != NULL ? shown : "?",
                   after);
    free(shown);
}

struct parser {
    int argc, at;
    char *const *argv;
    const struct args_option *many; /* takes the arguments that follow; NULL: none */
    struct args *out;
    char *why;
};

/* The value of an option: behind '=' or the next argument. */
static const char *take_value(struct parser *p, const char *inside, const char *option)
{
    if (inside != NULL) {
        return inside;
    }
    if (p->at >= p->argc) {
        complain(p->why, "The option ", option, " wants a value.");
        return NULL;
    }
    return p->argv[p->at++];
}

/* 1: it was a global option; 0: it was not; -1: wrong. */
static int global_option(struct parser *p, const char *name, size_t len,
                         const char *inside)
{
    struct args *a = p->out;
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {{"--json", &a->json},
                 {"--no-start", &a->no_start},
                 {"--help", &a->help},
                 {"--version", &a->version}};
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        if (strlen(flags[i].name) == len && memcmp(flags[i].name, name, len) == 0) {
            if (inside != NULL) {
                complain(p->why, "The option ", flags[i].name, " takes no value.");
                return -1;
            }
            *flags[i].flag = true;
            return 1;
        }
    }
    if (len == strlen("--home") && memcmp(name, "--home", len) == 0) {
        a->home = take_value(p, inside, "--home");
        if (a->home != NULL && a->home[0] == '\0') {
            complain(p->why, "The option --home wants a folder.", "", "");
            a->home = NULL;
        }
        return a->home != NULL ? 1 : -1;
    }
    return 0;
}

static const struct args_option *find_option(const struct args_command *c,
                                             const char *name, size_t len)
{
    if (c == NULL || c->options == NULL) {
        return NULL;
    }
    for (const struct args_option *o = c->options; o->name != NULL; o++) {
        bool is_long = strlen(o->name) == len && memcmp(o->name, name, len) == 0;
        if (is_long || (len == 2 && o->letter != '\0' && name[1] == o->letter)) {
            return o;
        }
    }
    return NULL;
}

/* Where a value stands in the same word: behind '=', or behind the letter as in -n20. */
static const char *value_inside(const struct parser *p, const char *word, size_t *len)
{
    const char *equals = word[1] == '-' ? strchr(word, '=') : NULL;
    *len = equals != NULL ? (size_t)(equals - word) : strlen(word);
    if (equals != NULL) {
        return equals + 1;
    }
    const struct args_option *o =
        word[1] != '-' && *len > 2 ? find_option(p->out->command, word, 2) : NULL;
    if (o == NULL || o->value == NULL) {
        return NULL;
    }
    *len = 2;
    return word + 2;
}

static bool takes_many(const struct args_option *o)
{
    size_t len = o->value == NULL ? 0 : strlen(o->value);
    return len > 3 && strcmp(o->value + len - 3, "...") == 0;
}

static bool add_value(struct parser *p, const struct args_option *o, const char *value)
{
    if (p->out->n_values == ARGS_VALUES_MAX) {
        complain(p->why, "The option ", o->name, " is given too often.");
        return false;
    }
    p->out->values[p->out->n_values].option = o;
    p->out->values[p->out->n_values++].value = value;
    return true;
}

static bool option(struct parser *p, const char *word)
{
    size_t len;
    p->many = NULL;
    const char *inside = value_inside(p, word, &len);
    int global = strcmp(word, "-h") == 0 ? 1 : global_option(p, word, len, inside);
    if (global != 0) {
        p->out->help |= strcmp(word, "-h") == 0;
        return global > 0;
    }
    const struct args_command *c = p->out->command;
    const struct args_option *o = find_option(c, word, len);
    if (o == NULL) {
        complain(p->why, "There is no option ", word,
                 c != NULL && c->words_max > 0
                     ? " here. Text that begins with a dash goes behind --."
                     : " here.");
        return false;
    }
    if (o->value == NULL && inside != NULL) {
        complain(p->why, "The option ", o->name, " takes no value.");
        return false;
    }
    const char *value = o->value == NULL ? "" : take_value(p, inside, o->name);
    p->many = takes_many(o) ? o : NULL;
    return value != NULL && add_value(p, o, value);
}

static bool word(struct parser *p, const char *w,
                 const struct args_command *(*find)(const char *name))
{
    struct args *a = p->out;
    if (a->command == NULL) {
        a->command = find(w);
        if (a->command == NULL) {
            complain(p->why, "There is no command \"", w, "\".");
        }
        return a->command != NULL;
    }
    if (p->many != NULL && a->n_words >= a->command->words_min) {
        return add_value(p, p->many, w);
    }
    if (a->n_words == ARGS_WORDS_MAX || a->n_words == a->command->words_max) {
        if (a->command->form == ARGS_LOOSE) {
            return true;
        }
        complain(p->why, "\"", w,
                 "\" is one argument too many. Text with blanks is put in "
                 "quotation marks.");
        return false;
    }
    a->words[a->n_words++] = w;
    return true;
}

/* -word, which is an argument of this command: not --option, -o or -n20. */
static bool dashed(const struct args_command *c, const char *w)
{
    if (c == NULL || c->form != ARGS_DASHES || w[1] == '-' || strcmp(w, "-h") == 0) {
        return false;
    }
    const struct args_option *o = find_option(c, w, 2);
    return o == NULL || (w[2] != '\0' && (w[2] < '0' || w[2] > '9'));
}

bool args_parse(int argc, char *const argv[],
                const struct args_command *(*find)(const char *name), struct args *out,
                char why[ARGS_WHY_MAX])
{
    struct parser p = {argc, 1, argv, NULL, out, why};
    bool ended = false;
    memset(out, 0, sizeof *out);
    while (p.at < argc) {
        const char *w = argv[p.at++];
        bool is_option =
            !ended && w[0] == '-' && w[1] != '\0' && !dashed(out->command, w);
        if (is_option && strcmp(w, "--") == 0) {
            ended = true;
        } else if (is_option && out->command != NULL &&
                   out->command->form == ARGS_LOOSE) {
            out->help |= strcmp(w, "--help") == 0 || strcmp(w, "-h") == 0;
        } else if (is_option ? !option(&p, w) : !word(&p, w, find)) {
            return false;
        }
    }
    if (out->command != NULL && !out->help && out->command->form != ARGS_LOOSE &&
        out->n_words < out->command->words_min) {
        (void)snprintf(why, ARGS_WHY_MAX, "An argument is missing.");
        return false;
    }
    return true;
}

const char *args_value(const struct args *a, const char *name)
{
    const char *found = NULL;
    for (size_t i = 0; i < a->n_values; i++) {
        if (strcmp(a->values[i].option->name, name) == 0) {
            found = a->values[i].value;
        }
    }
    return found;
}

static size_t least(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

size_t args_distance(const char *a, const char *b)
{
    /* Optimal string alignment over three rows. */
    size_t rows[3][WORD_MAX + 1];
    size_t n = strnlen(a, WORD_MAX), m = strnlen(b, WORD_MAX);
    for (size_t j = 0; j <= m; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= n; i++) {
        size_t *row = rows[i % 3], *up = rows[(i + 2) % 3], *up2 = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t swap = a[i - 1] != b[j - 1];
            row[j] = least(up[j] + 1, row[j - 1] + 1, up[j - 1] + swap);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                up2[j - 2] + 1 < row[j]) {
                row[j] = up2[j - 2] + 1;
            }
        }
    }
    return rows[n % 3][m];
}
