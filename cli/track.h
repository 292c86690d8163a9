/* Following a file until it is done, or until whoever waits has waited enough.
 *
 * While a tracker is open ^C does not end the program: it ends the following
 * (TRACK_INTERRUPTED), and the caller says what becomes of the file. After that, or after
 * track_close(), ^C ends the program again.
 *
 * With a screen the last line of the terminal is redrawn at most TRACK_DRAW_MS apart, on
 * standard error. With --json each step is a line on standard output: {"v":1, "what":
 * "offered" | "accepted" | "progress" | its state in the end, "transfer": {…}}. */
#ifndef LINNET_CLI_TRACK_H
#define LINNET_CLI_TRACK_H

#include "cli.h"

enum {
    TRACK_DRAW_MS = 100,
    TRACK_ASK_MS = 500,   /* how the file is, when nothing is heard of it */
    TRACK_LOOK_MS = 3000, /* whether the other side is there */
    TRACK_JSON_MS = 1000,
};

enum track_end {
    TRACK_GOING,
    TRACK_ENDED,       /* the file: transfer_code() */
    TRACK_IDLE,        /* nothing moved for so long */
    TRACK_ABSENT,      /* nobody has accepted, and the other side is not there */
    TRACK_INTERRUPTED, /* ^C */
    TRACK_NO_NODE,     /* it has ended; told */
    TRACK_FAILED,      /* rc; told */
};

struct track {
    struct cli *cli;
    bool screen;
    /* How long nothing may move, before it was accepted and after; UINT64_MAX: for ever.
     */
    uint64_t wait_ms, idle_ms;
    bool leave_absent;
    /* Called with each new look at the file, NULL: not. TRACK_GOING, TRACK_INTERRUPTED
     * (it has taken the ^C), or TRACK_FAILED with rc set, told. */
    enum track_end (*look)(void *ctx, const json_t *t);
    void *ctx;

    uint64_t n;
    json_t *t; /* the file as it is */
    int rc;
    bool begun;
    uint64_t begun_ms;                                       /* when it was accepted */
    uint64_t moved_ms, asked_ms, drawn_ms, told_ms, seen_ms; /* seen: other side */
    enum { TRACK_NO_LINE, TRACK_WAITING_LINE, TRACK_BAR_LINE } line;
    int signals; /* descriptor of ^C */
};

/* Connects, subscribes, and takes ^C over. 0 or an exit code, told. */
int track_open(struct track *k, struct cli *c);
/* Turns to a file. TRACK_GOING, or why not. Of several files that are followed one after
 * the other, the time in which nothing moved is counted over all of them. */
enum track_end track_begin(struct track *k, uint64_t n);
/* One step, waiting for at most wait_ms. */
enum track_end track_step(struct track *k, uint64_t wait_ms);
/* Steps until something ends. */
enum track_end track_follow(struct track *k);
/* Ends the line that is being redrawn, so that something else can be written. */
void track_line_end(struct track *k);
/* Whether ^C was pressed; asking takes it. */
bool track_interrupted(struct track *k);
/* From now on ^C ends the program. */
void track_release(struct track *k);
void track_close(struct track *k);

/* How a contact is. */
struct track_who {
    bool there; /* it is known, and online */
    bool linked, verified;
};
void track_who(struct cli *c, const char *name, struct track_who *out);
/* The first line of the screen: To or From, who, how they are reached. */
void track_head(struct track *k, const char *label, const struct track_who *who);
/* "report.iso  419.4 MB" behind a label. */
void track_file(struct track *k);
/* Done 419.4 MB in 3.9 s, verified … #17. what stands behind the comma. */
void track_done(struct track *k, const char *what);
/* The line of a program that is not at a terminal: N \t STATE \t BYTES \t last. */
void track_print(const struct track *k, const char *last);

#endif
