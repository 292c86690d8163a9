/* How messages and events are printed: for people on a terminal, else a line each.
 *
 * A line of a message, and of a change of one, is TIME \t FROM \t STATE \t ID \t TEXT
 * (linnet(1), "OUTPUT"). */
#ifndef LINNET_CLI_SHOW_H
#define LINNET_CLI_SHOW_H

#include "cli.h"
#include "fmt.h"

/* What was printed last, to print a day only when it changes. */
struct show {
    struct cli *cli;
    bool conversation; /* several conversations are mixed: name them */
    size_t name_width; /* columns of names; grows */
    char day[FMT_TIME_MAX];
    const json_t *around; /* messages that are being printed: what is replied to may be
                           * among them; borrowed */
};

/* Looks at messages that are to be printed, for the width of names. */
void show_prepare(struct show *s, const json_t *messages);
void show_message(struct show *s, json_t *m);
/* A change of a message, as an event of topic `state` tells it. */
void show_change(struct show *s, json_t *e);
/* Whether an event of topic `state` is of a change, and not of a word. */
bool show_is_change(const json_t *e);
/* Whether a message offers a file. */
bool show_is_file(const json_t *m);
/* The text of a message that offers a file, escaped; freed by the caller. For people
 * "[file] plan.odt 1.2 MB  #18: linnet transfers accept 18" while it is undecided, else
 * its state behind it; on a line "[file #18 1200000] plan.odt". */
char *show_file_text(const json_t *m, bool people);
/* The words of a message's STATE column. */
void show_words(const json_t *m);
/* One event of docs/API.md, of that topic. */
void show_event(struct cli *c, const char *topic, json_t *event);
/* Says on standard error that two identities claim one name, and what to do. */
void show_conflict(const char *name, const char *other);
/* The same of a name that looks like another. */
void show_like(const char *name, const char *like);
/* Either, when a contact (docs/API.md) needs it. */
void show_claims(const json_t *contact);
/* "queued", … and how it is drawn. */
const char *show_mark(const char *state);

#endif
