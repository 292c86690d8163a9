#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LOG_TEXT_MAX = 1024, LOG_LINE_MAX = LOG_TEXT_MAX + 64, LOG_WINDOW_MS = 1000 };

static _Atomic int current_level = LOG_INFO;

/* What log_peer() counts; one lock, because worker threads may log too. */
static pthread_mutex_t peer_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t peer_window_ms;
static unsigned peer_lines, peer_left_out;
static bool peer_used;

void log_set_level(enum log_level level)
{
    current_level = (int)level;
}

enum log_level log_get_level(void)
{
    return (enum log_level)current_level;
}

/* True for characters that move the cursor or turn the direction of what follows. */
static bool is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || c == 0x200e ||
           c == 0x200f || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

/* The length of the valid UTF-8 sequence at s (1 to 4), its character in *c; 0 when it
 * is none. s ends with NUL, which no continuation byte equals. */
static size_t utf8_char(const unsigned char *s, uint32_t *c)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = s[0] < 0x80              ? 1
               : (s[0] & 0xe0u) == 0xc0 ? 2
               : (s[0] & 0xf0u) == 0xe0 ? 3
               : (s[0] & 0xf8u) == 0xf0 ? 4
                                        : 0;
    if (n == 0) {
        return 0;
    }
    uint32_t v = n == 1 ? s[0] : s[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0u) != 0x80) {
            return 0;
        }
        v = v << 6 | (s[i] & 0x3fu);
    }
    if (v < least[n] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff)) {
        return 0;
    }
    *c = v;
    return n;
}

static void replace_controls(char *text)
{
    unsigned char *in = (unsigned char *)text, *out = in;
    while (*in != '\0') {
        uint32_t c = 0;
        size_t n = utf8_char(in, &c);
        if (n == 0 || is_control(c)) {
            *out++ = '?';
            in += n == 0 ? 1 : n;
        } else {
            memmove(out, in, n);
            out += n;
            in += n;
        }
    }
    *out = '\0';
}

static void write_line(const char *line, size_t len)
{
    while (len > 0) {
        ssize_t n = write(STDERR_FILENO, line, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return;
        }
        line += n;
        len -= (size_t)n;
    }
}

__attribute__((format(printf, 2, 0))) static void log_va(enum log_level level,
                                                         const char *fmt, va_list ap)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    static const int priorities[] = {3, 4, 6, 7}; /* of sd-daemon(3) */
    char text[LOG_TEXT_MAX];
    char head[32];
    char line[LOG_LINE_MAX];

    int saved = errno;
    if (vsnprintf(text, sizeof text, fmt, ap) < 0) {
        errno = saved;
        return;
    }
    replace_controls(text);
    if (getenv("JOURNAL_STREAM") != NULL) {
        (void)snprintf(head, sizeof head, "<%d>", priorities[level]);
    } else {
        struct tm tm;
        time_t now = time(NULL);
        if (gmtime_r(&now, &tm) == NULL ||
            strftime(head, sizeof head, "%Y-%m-%dT%H:%M:%SZ ", &tm) == 0) {
            head[0] = '\0';
        }
    }
    int n = snprintf(line, sizeof line, "%s%s: %s\n", head, names[level], text);
    if (n > 0 && (size_t)n < sizeof line) {
        write_line(line, (size_t)n); /* one write, so that threads do not mix lines */
    }
    errno = saved;
}

void log_line(enum log_level level, const char *fmt, ...)
{
    if ((int)level > current_level) {
        return;
    }
    va_list ap;
    va_start(ap, fmt);
    log_va(level, fmt, ap);
    va_end(ap);
}

/* Whether one more line fits into this second; *left_out is the number to tell first. */
static bool peer_may_log(uint64_t now_ms, unsigned *left_out)
{
    bool ok = true;
    *left_out = 0;
    (void)pthread_mutex_lock(&peer_lock);
    if (!peer_used || now_ms < peer_window_ms ||
        now_ms - peer_window_ms >= LOG_WINDOW_MS) {
        *left_out = peer_left_out;
        peer_used = true;
        peer_window_ms = now_ms;
        peer_lines = peer_left_out = 0;
    }
    if (peer_lines < LOG_PEER_BURST) {
        peer_lines++;
    } else {
        peer_left_out++;
        ok = false;
    }
    (void)pthread_mutex_unlock(&peer_lock);
    return ok;
}

void log_peer(uint64_t now_ms, enum log_level level, const char *fmt, ...)
{
    unsigned left_out;
    if ((int)level > current_level || !peer_may_log(now_ms, &left_out)) {
        return;
    }
    if (left_out > 0) {
        log_line(level, "%u lines left out", left_out);
    }
    va_list ap;
    va_start(ap, fmt);
    log_va(level, fmt, ap);
    va_end(ap);
}
