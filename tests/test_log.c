#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

static int saved_stderr = -1;
static FILE *captured;

/* From here on stderr goes into a file. */
static void capture(void)
{
    unsetenv("JOURNAL_STREAM");
    captured = tmpfile();
    cr_assert_not_null(captured);
    saved_stderr = dup(STDERR_FILENO);
    cr_assert_geq(dup2(fileno(captured), STDERR_FILENO), 0);
}

/* Gives stderr back, and what was written meanwhile. */
static const char *text(void)
{
    static char out[65536];
    (void)dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    rewind(captured);
    size_t n = fread(out, 1, sizeof out - 1, captured);
    out[n] = '\0';
    fclose(captured);
    return out;
}

static size_t count(const char *s, const char *what)
{
    size_t n = 0;
    for (s = strstr(s, what); s != NULL; s = strstr(s + 1, what)) {
        n++;
    }
    return n;
}

Test(log, one_line_with_time_and_level)
{
    capture();
    log_warn("%s %d", "disk", 7);
    const char *s = text();
    cr_assert_eq(strlen(s), strlen("2026-01-01T00:00:00Z warn: disk 7\n"));
    cr_assert_str_eq(s + 20, " warn: disk 7\n");
}

Test(log, levels)
{
    capture();
    cr_assert_eq(log_get_level(), LOG_INFO);
    log_debug("d1");
    log_info("i1");
    log_set_level(LOG_DEBUG);
    log_debug("d2");
    log_set_level(LOG_ERROR);
    log_warn("w3");
    log_error("e3");
    const char *s = text();
    cr_assert_null(strstr(s, "d1"));
    cr_assert_not_null(strstr(s, "i1"));
    cr_assert_not_null(strstr(s, "debug: d2"));
    cr_assert_null(strstr(s, "w3"));
    cr_assert_not_null(strstr(s, "error: e3"));
}

Test(log, journal_prefixes)
{
    capture();
    setenv("JOURNAL_STREAM", "8:1", 1);
    log_set_level(LOG_DEBUG);
    log_error("a");
    log_warn("b");
    log_info("c");
    log_debug("d");
    unsetenv("JOURNAL_STREAM");
    cr_assert_str_eq(text(), "<3>error: a\n<4>warn: b\n<6>info: c\n<7>debug: d\n");
}

static void expect(const char *in, const char *out)
{
    capture();
    setenv("JOURNAL_STREAM", "8:1", 1);
    log_info("%s", in);
    unsetenv("JOURNAL_STREAM");
    char line[256];
    (void)snprintf(line, sizeof line, "<6>info: %s\n", out);
    cr_assert_str_eq(text(), line);
}

Test(log, what_could_command_a_terminal_is_replaced)
{
    expect("a\033[31m\r\nb\x7f", "a?[31m??b?");
    expect("plain ü 中 😀", "plain ü 中 😀");
    expect("c1 \xc2\x9b end", "c1 ? end");
    expect("raw \x9b and \xff", "raw ? and ?");
    expect("bidi \u202e\u2066\u200f.", "bidi ???.");
    expect("overlong \xc0\x80 surrogate \xed\xa0\x80", "overlong ?? surrogate ???");
    expect("cut \xe4\xb8", "cut ??");
}

Test(log, long_texts_are_cut)
{
    char big[5000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    capture();
    log_info("%s", big);
    const char *s = text();
    cr_assert_lt(strlen(s), 1200);
    cr_assert_eq(s[strlen(s) - 1], '\n');
    cr_assert_eq(count(s, "\n"), 1);
}

Test(log, peers_cannot_flood_it)
{
    capture();
    for (int i = 0; i < 22; i++) {
        log_peer(1000, LOG_INFO, "first");
    }
    log_peer(1999, LOG_INFO, "first");
    log_peer(1999, LOG_DEBUG, "below the level: not counted");
    log_peer(2000, LOG_INFO, "second");
    log_peer(9000, LOG_INFO, "third");
    const char *s = text();
    cr_assert_eq(count(s, "first"), LOG_PEER_BURST);
    cr_assert_eq(count(s, "13 lines left out"), 1);
    cr_assert_eq(count(s, "left out"), 1);
    cr_assert_eq(count(s, "second"), 1);
    cr_assert_eq(count(s, "third"), 1);
}
