#include "store_words.h"

#include <string.h>
#include <utf8proc.h>

enum {
    UNIT_CHARS_MAX = 32, /* code points of a character with its marks; more are ignored */
    FOLDED_MAX = 64,     /* code points that come of it */
    UTF8_MAX = 4,
};

enum sort {
    DIVIDES, /* blanks, punctuation, controls */
    LETTER,  /* letters, digits, marks: part of a word */
    JOINED,  /* a character of a script without blanks */
    SYMBOL,  /* a word by itself */
    IGNORED, /* not there: joiners, selectors, skin tones */
};

struct words {
    words_cb *cb;
    void *ctx;
    int rc;
    uint32_t pos; /* of the next word */
    /* the word that grows */
    char word[WORD_BYTES_MAX];
    size_t len;
    bool open, full;
    size_t from, to;
    /* the joined character before this one, when nothing stands between */
    char last[UTF8_MAX];
    size_t last_len, last_from;
    uint32_t last_pos;
};

struct range {
    utf8proc_int32_t first, last;
};

/* Scripts that are written without blanks between words, or where what stands between
 * blanks is more than a word (Korean). Sorted. */
static const struct range joined_ranges[] = {
    {0x0e01, 0x0e3a},   /* Thai */
    {0x0e40, 0x0e4e},   /* Thai, without its digits */
    {0x0e81, 0x0ebd},   /* Lao */
    {0x0ec0, 0x0ece},   /* Lao */
    {0x0f40, 0x0fbc},   /* Tibetan */
    {0x1000, 0x103f},   /* Burmese */
    {0x1050, 0x108f},   /* Burmese */
    {0x109a, 0x109f},   /* Burmese */
    {0x1100, 0x11ff},   /* Hangul, letters */
    {0x1780, 0x17d3},   /* Khmer */
    {0x17d7, 0x17dd},   /* Khmer */
    {0x1950, 0x19df},   /* Tai Le, New Tai Lue */
    {0x1a20, 0x1aad},   /* Tai Tham */
    {0x2e80, 0x2fd5},   /* radicals */
    {0x3005, 0x3007},   /* Han: repetition, closing mark, zero */
    {0x3021, 0x3029},   /* Han: Suzhou numerals */
    {0x3031, 0x3035},   /* Kana: repetition */
    {0x3038, 0x303b},   /* Han */
    {0x3041, 0x3096},   /* Hiragana */
    {0x3099, 0x309a},   /* Kana: voicing */
    {0x309d, 0x309f},   /* Hiragana */
    {0x30a1, 0x30fa},   /* Katakana */
    {0x30fc, 0x30ff},   /* Katakana: long vowel, repetition */
    {0x3105, 0x312f},   /* Bopomofo */
    {0x3131, 0x318e},   /* Hangul, letters */
    {0x31a0, 0x31bf},   /* Bopomofo */
    {0x31f0, 0x31ff},   /* Katakana, small */
    {0x3400, 0x4dbf},   /* Han, extension A */
    {0x4e00, 0x9fff},   /* Han */
    {0xa000, 0xa48c},   /* Yi */
    {0xa960, 0xa97c},   /* Hangul, letters */
    {0xa9e0, 0xa9fe},   /* Burmese */
    {0xaa60, 0xaa7f},   /* Burmese */
    {0xac00, 0xd7fb},   /* Hangul */
    {0xf900, 0xfad9},   /* Han, for compatibility */
    {0x16f00, 0x18cff}, /* Miao, Tangut, Khitan */
    {0x1aff0, 0x1b2fb}, /* Kana, extensions; Nushu */
    {0x20000, 0x3fffd}, /* Han, further extensions */
};

static bool is_joined(utf8proc_int32_t c)
{
    size_t low = 0, high = sizeof joined_ranges / sizeof joined_ranges[0];
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (c < joined_ranges[mid].first) {
            high = mid;
        } else if (c > joined_ranges[mid].last) {
            low = mid + 1;
        } else {
            return true;
        }
    }
    return false;
}

/* Emoji that this version of Unicode's tables does not know yet count as well. */
static bool is_pictograph(utf8proc_int32_t c)
{
    return c >= 0x1f000 && c <= 0x1faff;
}

static enum sort sort_of(utf8proc_int32_t c)
{
    if (c < 0x80) {
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        return letter || (c >= '0' && c <= '9') ? LETTER : DIVIDES;
    }
    if (is_joined(c)) {
        return JOINED;
    }
    if ((c >= 0x1f3fb && c <= 0x1f3ff) || (c >= 0xfe00 && c <= 0xfe0f) || c == 0x200d ||
        c == 0x00ad || c == 0x20e3) {
        return IGNORED;
    }
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
    case UTF8PROC_CATEGORY_CO:
        return LETTER;
    case UTF8PROC_CATEGORY_SO:
    case UTF8PROC_CATEGORY_SM:
    case UTF8PROC_CATEGORY_SC:
        return SYMBOL;
    case UTF8PROC_CATEGORY_CF:
        return IGNORED;
    default:
        return is_pictograph(c) ? SYMBOL : DIVIDES;
    }
}

/* ---- words ---- */

static void tell(struct words *w, const char *s, size_t len, uint32_t pos, size_t from,
                 size_t to, bool pair, bool joined)
{
    const struct word out = {s, len, pos, from, to, pair, joined};
    if (w->rc == 0) {
        w->rc = w->cb(w->ctx, &out);
    }
}

static void close_word(struct words *w)
{
    if (w->open && w->len > 0) {
        tell(w, w->word, w->len, w->pos++, w->from, w->to, false, false);
    }
    w->open = w->full = false;
    w->len = 0;
}

static void add_letter(struct words *w, const char *s, size_t len, size_t from, size_t to)
{
    w->last_len = 0;
    if (!w->open) {
        w->open = true;
        w->from = from;
    }
    w->to = to;
    w->full = w->full || w->len + len > WORD_BYTES_MAX;
    if (!w->full) {
        memcpy(w->word + w->len, s, len);
        w->len += len;
    }
}

static void add_joined(struct words *w, const char *s, size_t len, size_t from, size_t to)
{
    close_word(w);
    if (w->last_len > 0) {
        char pair[2 * UTF8_MAX];
        memcpy(pair, w->last, w->last_len);
        memcpy(pair + w->last_len, s, len);
        tell(w, pair, w->last_len + len, w->last_pos, w->last_from, to, true, true);
    }
    memcpy(w->last, s, len);
    w->last_len = len;
    w->last_from = from;
    w->last_pos = w->pos++;
    tell(w, s, len, w->last_pos, from, to, false, true);
}

static void divide(struct words *w)
{
    close_word(w);
    w->last_len = 0;
}

/* One folded code point, which bytes from..to of the text stand for. */
static void add_char(struct words *w, utf8proc_int32_t c, size_t from, size_t to)
{
    utf8proc_uint8_t utf8[UTF8_MAX];
    size_t n = (size_t)utf8proc_encode_char(c, utf8);
    const char *s = (const char *)utf8;
    switch (sort_of(c)) {
    case DIVIDES:
        divide(w);
        break;
    case LETTER:
        add_letter(w, s, n, from, to);
        break;
    case JOINED:
        add_joined(w, s, n, from, to);
        break;
    case SYMBOL:
        divide(w);
        tell(w, s, n, w->pos++, from, to, false, false);
        break;
    case IGNORED:
        break;
    }
}

/* ---- folding ---- */

/* Letters with a stroke or the like, which Unicode takes for letters of their own. */
static utf8proc_int32_t plain(utf8proc_int32_t c)
{
    switch (c) {
    case 0x00f8: /* ø */
        return 'o';
    case 0x0111: /* đ */
        return 'd';
    case 0x0127: /* ħ */
        return 'h';
    case 0x0131: /* ı */
        return 'i';
    case 0x0142: /* ł */
        return 'l';
    case 0x0167: /* ŧ */
        return 't';
    default:
        return c;
    }
}

/* Accents, and the points of Hebrew and Arabic, which people leave out. Not the vowels of
 * Indic scripts, the voicing of kana or the tones of Thai: those make other words. */
static bool is_accent(utf8proc_int32_t c)
{
    const utf8proc_property_t *p = utf8proc_get_property(c);
    return p->category == UTF8PROC_CATEGORY_MN &&
           (p->combining_class >= 200 ||
            (p->combining_class >= 10 && p->combining_class <= 35));
}

/* Folds n code points, a character and its marks, in place into at most FOLDED_MAX. */
static size_t fold(const utf8proc_int32_t *in, size_t n, utf8proc_int32_t *out)
{
    const int how = UTF8PROC_COMPAT | UTF8PROC_DECOMPOSE | UTF8PROC_CASEFOLD;
    utf8proc_int32_t parts[FOLDED_MAX];
    size_t len = 0, kept = 0;
    int boundary = 0;
    for (size_t i = 0; i < n; i++) {
        utf8proc_ssize_t got = utf8proc_decompose_char(
            in[i], parts + len, (utf8proc_ssize_t)(FOLDED_MAX - len), how, &boundary);
        if (got < 0 || (size_t)got > FOLDED_MAX - len) {
            break; /* nobody writes that: the rest is left out */
        }
        len += (size_t)got;
    }
    for (size_t i = 0; i < len; i++) {
        if (!is_accent(parts[i])) {
            out[kept++] = plain(parts[i]);
        }
    }
    if (kept == 1) {
        return kept;
    }
    utf8proc_ssize_t composed = utf8proc_normalize_utf32(
        out, (utf8proc_ssize_t)kept, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    return composed > 0 ? (size_t)composed : kept;
}

/* Whether a code point stays with the one before it: marks, the letters of a Korean
 * syllable, the voicing of narrow katakana. */
static bool extends(utf8proc_int32_t c)
{
    if (c < 0x300) {
        return false;
    }
    if ((c >= 0x1160 && c <= 0x11ff) || c == 0xff9e || c == 0xff9f) {
        return true;
    }
    utf8proc_category_t k = utf8proc_category(c);
    return k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_MC ||
           k == UTF8PROC_CATEGORY_ME;
}

/* Characters that folding leaves as they are, and nothing but such: most of Han, kana and
 * Hangul, which then cost no tables. */
static bool folded_already(utf8proc_int32_t c)
{
    return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3041 && c <= 0x3096) ||
           (c >= 0x30a1 && c <= 0x30fa) || (c >= 0xac00 && c <= 0xd7a3) ||
           (c >= 0x0e40 && c <= 0x0e46);
}

/* Takes a code point from the text at *at; -1, and one byte, when there is none. */
static utf8proc_int32_t take(const char *text, size_t len, size_t *at)
{
    utf8proc_int32_t c;
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text + *at,
                                          (utf8proc_ssize_t)(len - *at), &c);
    *at += n > 0 ? (size_t)n : 1;
    return n > 0 ? c : -1;
}

/* A character with its marks, which begins at from with c and goes on at *at. */
static void add_unit(struct words *w, const char *text, size_t len, utf8proc_int32_t c,
                     size_t from, size_t *at)
{
    utf8proc_int32_t unit[UNIT_CHARS_MAX], folded[FOLDED_MAX];
    size_t n = 0;
    while (c >= 0) {
        if (n < UNIT_CHARS_MAX) {
            unit[n++] = c;
        }
        size_t next = *at;
        c = next < len ? take(text, len, &next) : -1;
        if (c < 0 || !extends(c)) {
            break;
        }
        *at = next;
    }
    if (n == 1 && folded_already(unit[0])) {
        add_char(w, unit[0], from, *at);
        return;
    }
    n = fold(unit, n, folded);
    for (size_t i = 0; i < n; i++) {
        add_char(w, folded[i], from, *at);
    }
}

/* Whether the byte after this one begins a mark, so that both have to be looked at. */
static bool stands_alone(const char *text, size_t len, size_t at)
{
    return at >= len || (unsigned char)text[at] < 0x80;
}

int words_each(const char *text, size_t len, words_cb *cb, void *ctx)
{
    struct words w = {.cb = cb, .ctx = ctx};
    for (size_t at = 0; at < len && w.rc == 0;) {
        size_t from = at;
        unsigned char b = (unsigned char)text[at];
        if (b < 0x80 && stands_alone(text, len, at + 1)) {
            at++;
            add_char(&w, b >= 'A' && b <= 'Z' ? b + ('a' - 'A') : b, from, at);
            continue;
        }
        utf8proc_int32_t c = take(text, len, &at);
        if (c < 0) {
            divide(&w);
        } else {
            add_unit(&w, text, len, c, from, &at);
        }
    }
    close_word(&w);
    return w.rc;
}
