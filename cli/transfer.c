#include "transfer.h"

#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "fmt.h"

enum {
    GAP = 2, /* blanks between columns */
    NAME_MIN = 10,
    WHO_MAX = 12,
    WHO_NARROW = 6,
    BAR_MIN = 8,
    BAR_MAX = 30,
    PERCENT_COLUMNS = 5, /* " 58% " */
    PART_MAX = 2 * FMT_TIME_MAX,
    LABEL = 10, /* columns of a field's name */
    ALL = 100,
};

static bool known(const json_t *t, const char *key)
{
    return json_is_integer(json_object_get(t, key));
}

static bool is(const json_t *t, const char *state)
{
    return strcmp(cli_str(t, "state"), state) == 0;
}

/* ---- what states mean ---- */

bool transfer_ended(const json_t *t)
{
    static const char *const words[] = {"done",    "declined", "stopped", "cancelled",
                                        "changed", "broken",   "lost"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (is(t, words[i])) {
            return true;
        }
    }
    return false;
}

bool transfer_begun(const json_t *t)
{
    return !transfer_ended(t) && !is(t, "offered") &&
           (!is(t, "paused") || !cli_true(t, "mine") || cli_int(t, "done") > 0);
}

int transfer_code(const json_t *t)
{
    bool refused = cli_true(t, "mine") && (is(t, "declined") || is(t, "stopped"));
    return is(t, "done")     ? CLI_OK
           : is(t, "broken") ? CLI_INTEGRITY
           : refused         ? CLI_REFUSED
                             : CLI_ERROR;
}

char *transfer_sentence(const json_t *t)
{
    static const struct {
        const char *state, *ours, *theirs; /* %1$s who, %2$s the file */
    } v[] = {
        {"declined", "%1$s declined %2$s.", "%2$s of %1$s was declined here."},
        {"stopped", "%1$s gave up %2$s before all of it was there.",
         "%2$s of %1$s was given up here."},
        {"cancelled", "The offer of %2$s to %1$s was taken back.",
         "%1$s took %2$s back."},
        {"changed",
         "%2$s changed while it was being sent, or is gone: %1$s keeps nothing of it. "
         "Send it again.",
         "%2$s changed at the side of %1$s while it was being sent: nothing of it is "
         "kept. Ask for it again."},
        {"broken",
         "What arrived of %2$s at %1$s is not what was sent: it was thrown away. Send it "
         "again.",
         "What came of %2$s is not what %1$s offered: it was thrown away. Ask for it "
         "again."},
        {"lost", "What is needed to send %2$s to %1$s is gone. Send it again.",
         "%1$s does not have %2$s any more. Ask for it again."},
    };
    char *who = cli_shown(cli_str(t, "conversation")), *out = NULL;
    char *name = cli_shown(cli_str(t, "name"));
    for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
        if (is(t, v[i].state) &&
            asprintf(&out, cli_true(t, "mine") ? v[i].ours : v[i].theirs, who, name) <
                0) {
            out = NULL;
        }
    }
    free(who);
    free(name);
    return out != NULL ? out : cli_shown(cli_str(t, "state"));
}

/* ---- the table ---- */

enum column {
    C_ID,
    C_DONE,
    C_HAVE,
    C_ETA,
    C_UP,
    C_DOWN,
    C_STATUS,
    C_WHO,
    C_NAME,
    COLUMNS
};
static const char *const heads[COLUMNS] = {"ID",   "Done",   "Have", "ETA", "Up",
                                           "Down", "Status", "Who",  "Name"};

static void rate_cell(const json_t *t, const char *key, char out[FMT_TIME_MAX])
{
    if (cli_int(t, key) > 0) {
        fmt_short(cli_int(t, key), out);
    } else {
        (void)snprintf(out, FMT_TIME_MAX, "-");
    }
}

/* →bob gets it, ←bob sends it. */
static char *who_cell(const json_t *t)
{
    char *who = cli_shown(cli_str(t, "conversation")), *out = NULL;
    if (asprintf(&out, "%s%s", cli_true(t, "mine") ? "→" : "←", who) < 0) {
        return who;
    }
    free(who);
    return out;
}

static char *name_cell(const json_t *t)
{
    char *name = cli_shown(cli_str(t, "name")), *out = NULL;
    bool folder = strcmp(cli_str(t, "kind"), "folder") == 0;
    if (!folder || asprintf(&out, "%s/", name) < 0) {
        return name;
    }
    free(name);
    return out;
}

/* The text of one cell, escaped; freed by the caller. */
static char *cell(const json_t *t, enum column c)
{
    char out[FMT_TIME_MAX] = "-";
    switch (c) {
    case C_ID:
        (void)snprintf(out, sizeof out, "%llu", (unsigned long long)cli_int(t, "n"));
        break;
    case C_DONE:
        if (known(t, "percent")) {
            (void)snprintf(out, sizeof out, "%llu%%",
                           (unsigned long long)cli_int(t, "percent"));
        }
        break;
    case C_HAVE:
        fmt_short(cli_int(t, "done"), out);
        break;
    case C_ETA:
        if (known(t, "eta_s")) {
            fmt_left(cli_int(t, "eta_s"), out);
        }
        break;
    case C_UP:
        rate_cell(t, "rate_up", out);
        break;
    case C_DOWN:
        rate_cell(t, "rate_down", out);
        break;
    case C_STATUS:
        return cli_shown(cli_str(t, "state"));
    case C_WHO:
        return who_cell(t);
    case C_NAME:
        return name_cell(t);
    case COLUMNS:
        break;
    }
    return cli_shown(out);
}

/* Columns of all but the name: as wide as what is in them. */
static void measure(const json_t *list, size_t widths[COLUMNS])
{
    const json_t *t;
    size_t i;
    for (unsigned c = 0; c < COLUMNS; c++) {
        widths[c] = strlen(heads[c]);
        json_array_foreach(list, i, t)
        {
            char *s = cell(t, (enum column)c);
            size_t w = fmt_width(s);
            widths[c] = w > widths[c] ? w : widths[c];
            free(s);
        }
    }
    widths[C_WHO] = widths[C_WHO] < WHO_MAX ? widths[C_WHO] : WHO_MAX;
}

static size_t line_width(const size_t widths[COLUMNS])
{
    size_t sum = 0;
    for (unsigned c = 0; c < C_NAME; c++) {
        sum += widths[c] > 0 ? widths[c] + GAP : 0;
    }
    return sum;
}

/* Leaves columns out (width 0) until a name has room. */
static void fit_in(size_t widths[COLUMNS], size_t width)
{
    static const enum column order[] = {C_DOWN, C_UP, C_ETA, C_HAVE};
    for (size_t i = 0;
         i < sizeof order / sizeof order[0] && line_width(widths) + NAME_MIN > width;
         i++) {
        widths[order[i]] = 0;
    }
    if (line_width(widths) + NAME_MIN > width && widths[C_WHO] > WHO_NARROW) {
        widths[C_WHO] = WHO_NARROW;
    }
    size_t used = line_width(widths);
    size_t room = width > used + NAME_MIN ? width - used : NAME_MIN;
    widths[C_NAME] = widths[C_NAME] < room ? widths[C_NAME] : room;
}

/* Numbers stand at the right of their column. */
static void put_cell(FILE *f, const char *s, enum column c, size_t width)
{
    size_t w = fmt_width(s);
    if (c < C_STATUS && w < width) {
        (void)fprintf(f, "%*s", (int)(width - w), "");
        width = w;
    }
    fmt_pad(f, s, c == C_NAME && w < width ? w : width);
    if (c != C_NAME) {
        (void)fprintf(f, "%*s", GAP, "");
    }
}

static void put_table_line(FILE *f, const json_t *t, const size_t widths[COLUMNS])
{
    for (unsigned c = 0; c < COLUMNS; c++) {
        char *s = t != NULL ? cell(t, (enum column)c) : cli_shown(heads[c]);
        if (widths[c] > 0) {
            put_cell(f, s, (enum column)c, widths[c]);
        }
        free(s);
    }
    (void)fputc('\n', f);
}

void transfer_table(FILE *f, const json_t *list, size_t width)
{
    size_t widths[COLUMNS], i;
    const json_t *t;
    measure(list, widths);
    fit_in(widths, width);
    put_table_line(f, NULL, widths);
    json_array_foreach(list, i, t)
    {
        put_table_line(f, t, widths);
    }
}

static void put_number(FILE *f, const json_t *t, const char *key)
{
    if (known(t, key)) {
        (void)fprintf(f, "%llu", (unsigned long long)cli_int(t, key));
    } else {
        (void)fputc('-', f);
    }
    (void)fputc('\t', f);
}

void transfer_row(FILE *f, const json_t *t)
{
    put_number(f, t, "n");
    (void)fprintf(f, "%s\t", cli_str(t, "state"));
    put_number(f, t, "done");
    put_number(f, t, "size");
    put_number(f, t, "eta_s");
    put_number(f, t, "rate_up");
    put_number(f, t, "rate_down");
    (void)fprintf(f, "%s\t", cli_true(t, "mine") ? "out" : "in");
    fmt_put(f, cli_str(t, "conversation"), FMT_LINE);
    (void)fputc('\t', f);
    fmt_put(f, cli_str(t, "name"), FMT_LINE);
    (void)fputc('\n', f);
}

/* ---- one line of progress ---- */

/* "108.0 MB/s", or what keeps it from moving. */
static void put_pace(const json_t *t, char out[PART_MAX])
{
    char size[FMT_TIME_MAX];
    uint64_t rate = cli_int(t, cli_true(t, "mine") ? "rate_up" : "rate_down");
    out[0] = '\0';
    if (is(t, "active") && rate > 0) {
        fmt_size(rate, size);
        (void)snprintf(out, PART_MAX, "  %s/s", size);
    } else if (!is(t, "active")) {
        (void)snprintf(out, PART_MAX, "  %s", cli_str(t, "state"));
    }
}

static void put_blocks(FILE *f, uint64_t percent, size_t columns)
{
    for (size_t i = 0; i < columns; i++) {
        (void)fputs(i * ALL < percent * columns ? "▓" : "░", f);
    }
}

/* The line, of any width up to width. */
static void bar(FILE *f, const json_t *t, size_t width)
{
    char part[FMT_TIME_MAX], pace[PART_MAX], left[PART_MAX] = "", eta[FMT_TIME_MAX];
    put_pace(t, pace);
    if (!known(t, "percent")) {
        fmt_size(cli_int(t, "done"), part);
        (void)fprintf(f, " %s%s", part, pace);
        return;
    }
    uint64_t percent = cli_int(t, "percent");
    fmt_part(cli_int(t, "done"), cli_int(t, "size"), part);
    if (known(t, "eta_s") && is(t, "active")) {
        fmt_left(cli_int(t, "eta_s"), eta);
        (void)snprintf(left, sizeof left, "  ETA %s", eta);
    }
    size_t used = PERCENT_COLUMNS + strlen(part) + 1;
    if (used + strlen(pace) + strlen(left) + BAR_MIN > width && left[0] != '\0') {
        pace[0] = '\0';
    }
    if (used + strlen(pace) + strlen(left) + BAR_MIN > width) {
        left[0] = '\0';
    }
    used += strlen(pace) + strlen(left);
    (void)fprintf(f, "%3llu%% ", (unsigned long long)percent);
    if (used + BAR_MIN <= width) {
        put_blocks(f, percent, width - used < BAR_MAX ? width - used : BAR_MAX);
        (void)fputc(' ', f);
    }
    (void)fprintf(f, "%s%s%s", part, pace, left);
}

void transfer_bar(FILE *f, const json_t *t, size_t width)
{
    char *line = NULL;
    size_t len;
    FILE *m = open_memstream(&line, &len);
    if (m == NULL) {
        return;
    }
    bar(m, t, width);
    if (fclose(m) == 0) {
        fmt_pad(f, line, width);
    }
    free(line);
}

/* ---- all there is to one ---- */

void transfer_size(FILE *f, const json_t *t)
{
    char size[FMT_TIME_MAX];
    if (!known(t, "size")) {
        (void)fputs("of unknown size", f);
        return;
    }
    fmt_size(cli_int(t, "size"), size);
    (void)fputs(size, f);
    if (known(t, "files")) {
        unsigned long long n = cli_int(t, "files");
        (void)fprintf(f, n == 1 ? " in 1 entry" : " in %llu entries", n);
    }
}

static void label(FILE *f, const char *name)
{
    (void)fprintf(f, "%-*s", LABEL, name);
}

static void put_text(FILE *f, const json_t *t, const char *name, const char *key)
{
    if (cli_str(t, key)[0] != '\0') {
        label(f, name);
        fmt_put(f, cli_str(t, key), FMT_NAME);
        (void)fputc('\n', f);
    }
}

static void put_time(FILE *f, const json_t *t, const char *name, const char *key)
{
    char when[FMT_TIME_MAX];
    if (cli_int(t, key) > 0) {
        fmt_iso(cli_int(t, key), when);
        label(f, name);
        (void)fprintf(f, "%s\n", when);
    }
}

static void put_have(FILE *f, const json_t *t)
{
    char size[FMT_TIME_MAX], rate[FMT_TIME_MAX], left[FMT_TIME_MAX];
    bool mine = cli_true(t, "mine");
    uint64_t v = cli_int(t, mine ? "rate_up" : "rate_down");
    fmt_size(cli_int(t, "done"), size);
    label(f, mine ? "there" : "have");
    if (known(t, "percent")) {
        (void)fprintf(f, "%llu %%, ", (unsigned long long)cli_int(t, "percent"));
    }
    (void)fprintf(f, "%s\n", size);
    if (v > 0) {
        fmt_size(v, rate);
        label(f, "rate");
        (void)fprintf(f, "%s/s\n", rate);
    }
    if (known(t, "eta_s")) {
        fmt_left(cli_int(t, "eta_s"), left);
        label(f, "left");
        (void)fprintf(f, "%s\n", left);
    }
}

static void put_next(FILE *f, const json_t *t)
{
    unsigned long long n = cli_int(t, "n");
    bool mine = cli_true(t, "mine");
    if (is(t, "paused")) {
        label(f, "next");
        (void)fprintf(f, "linnet transfers resume %llu\n", n);
    } else if (is(t, "offered") && !mine) {
        label(f, "next");
        (void)fprintf(f, "linnet transfers accept %llu\n", n);
        label(f, "");
        (void)fprintf(f, "linnet transfers decline %llu\n", n);
    } else if (!transfer_ended(t)) {
        label(f, "next");
        (void)fprintf(f, "linnet transfers pause %llu\n", n);
        label(f, "");
        (void)fprintf(f, "linnet transfers cancel %llu\n", n);
    }
}

void transfer_details(FILE *f, const json_t *t)
{
    label(f, "number");
    (void)fprintf(f, "%llu\n", (unsigned long long)cli_int(t, "n"));
    put_text(f, t, "name", "name");
    put_text(f, t, "kind", "kind");
    label(f, "size");
    transfer_size(f, t);
    if (known(t, "size")) {
        (void)fprintf(f, " (%llu bytes)", (unsigned long long)cli_int(t, "size"));
    }
    (void)fputc('\n', f);
    put_text(f, t, cli_true(t, "mine") ? "to" : "from", "conversation");
    put_text(f, t, "state", "state");
    put_text(f, t, "reason", "reason");
    put_have(f, t);
    put_text(f, t, "route", "route");
    put_text(f, t, "address", "address");
    put_text(f, t, "path", "path");
    label(f, "sealed");
    (void)fprintf(f, "%s\n", cli_true(t, "sealed") ? "yes" : "no");
    put_time(f, t, "offered", "created_ms");
    put_time(f, t, "ended", "ended_ms");
    put_text(f, t, "id", "id");
    put_next(f, t);
}
