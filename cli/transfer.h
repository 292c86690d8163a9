/* How files are shown: a table, one line of progress, all there is to one; what their
 * states mean. Everything is made of the objects that the API gives (docs/API.md, "A
 * transfer"); names of others are escaped and measured by columns. */
#ifndef LINNET_CLI_TRANSFER_H
#define LINNET_CLI_TRANSFER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* A table with a header, in lines of at most width columns (but at least 40). */
void transfer_table(FILE *f, const json_t *list, size_t width);
/* The same as a line for programs: N \t STATE \t DONE \t SIZE \t ETA \t UP \t DOWN \t
 * in|out \t WHO \t NAME; "-" for what is not known. */
void transfer_row(FILE *f, const json_t *t);
/* All fields, one a line, and what to type next. */
void transfer_details(FILE *f, const json_t *t);
/* One line of progress, exactly width columns, without a line feed. */
void transfer_bar(FILE *f, const json_t *t, size_t width);

/* How it ended is final. */
bool transfer_ended(const json_t *t);
/* It was accepted: bytes move, did so, or will when both sides are there. */
bool transfer_begun(const json_t *t);
/* The exit code of one that has ended. */
int transfer_code(const json_t *t);
/* A sentence about one that has ended otherwise than done; freed by the caller. */
char *transfer_sentence(const json_t *t);
/* "419.4 MB", or "of unknown size". */
void transfer_size(FILE *f, const json_t *t);

#endif
