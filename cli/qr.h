/* QR codes in half blocks, two modules a character high. */
#ifndef LINNET_CLI_QR_H
#define LINNET_CLI_QR_H

#include <stdbool.h>
#include <stdio.h>

enum { QR_QUIET = 2 }; /* light modules around the code */

/* Draws text in upper case, error correction level L. With colour dark is dark whatever
 * the terminal's colours are; without, a dark background is taken for granted. False when
 * the text is too long. */
bool qr_draw(FILE *f, const char *text, bool colour);

#endif
