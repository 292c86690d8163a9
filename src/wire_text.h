/* What single characters may do in a line that people see: shared by all that checks
 * names, status texts and reactions, and the names of files. */
#ifndef LINNET_WIRE_TEXT_H
#define LINNET_WIRE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Takes one code point off p[*i..len), *i < len; false, *i as it was, when it is not
 * well-formed UTF-8. */
bool wire_char_next(const uint8_t *p, size_t len, size_t *i, int32_t *c);
/* Characters that change how the text around them is shown, or break the line. */
bool wire_char_deceives(int32_t c);
bool wire_char_space(int32_t c);
/* Nothing to see: spaces, and what is not drawn at all. */
bool wire_char_blank(int32_t c);

#endif
