/* Words of a text, as the search index knows them (docs/ARCHITECTURE.md, "Search").
 *
 * Letters, digits and their marks form words; everything else divides them. Case is
 * folded, compatibility forms are made plain (NFKC) and accents dropped: "Café" and
 * "CAFE" are one word. Of scripts written without blanks between words (Chinese,
 * Japanese, Korean, Thai and so on) each character is a word, and so is each pair of
 * neighbours: a longer word is found as a row of pairs. Emoji and other symbols are words
 * of their own, without skin tones and variation selectors.
 *
 * Any bytes may be given; what is not UTF-8 divides words. No memory is allocated. */
#ifndef LINNET_STORE_WORDS_H
#define LINNET_STORE_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WORD_BYTES_MAX = 128, /* of a folded word; what follows of a longer one is ignored */
};

struct word {
    const char *s;   /* folded, not terminated; dies with the call */
    size_t len;      /* 1..WORD_BYTES_MAX */
    uint32_t pos;    /* 0, 1, 2…: of a word among the words of the text */
    size_t from, to; /* bytes of the text that it stands for */
    bool pair;       /* two characters; has the place of the one before it */
    bool joined;     /* of a script whose words are looked for as pairs */
};

/* Non-zero stops. */
typedef int words_cb(void *ctx, const struct word *w);

/* Calls cb for each word in order; a pair comes right after its first character. 0, or
 * what cb returned. */
int words_each(const char *text, size_t len, words_cb *cb, void *ctx);

#endif
