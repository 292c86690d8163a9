#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/fmt.h"
#include "cli/show.h"
#include "cli/transfer.h"

static json_t *object(const char *text)
{
    json_error_t e;
    json_t *t = json_loads(text, 0, &e);
    cr_assert_not_null(t, "%s: %s", text, e.text);
    return t;
}

static const char active[] =
    "{\"v\":1,\"n\":17,\"conversation\":\"bob\",\"mine\":true,\"name\":\"report.iso\","
    "\"kind\":\"file\",\"size\":419400000,\"files\":null,\"state\":\"active\",\"reason\":"
    "null,\"done\":243100000,\"percent\":58,\"rate_down\":0,\"rate_up\":108000000,"
    "\"eta_s\":2,\"route\":\"LAN\",\"address\":\"192.168.1.23\",\"path\":\"/r.iso\","
    "\"prefix\":0,\"sealed\":false,\"created_ms\":1795356005000,\"ended_ms\":null,"
    "\"id\":\"00112233445566778899aabbccddeeff\"}";
static const char folder[] =
    "{\"n\":18,\"conversation\":\"陈波\",\"mine\":false,\"name\":"
    "\"早上好报告已经收到早上好"
    "\",\"kind\":\"folder\",\"size\":999950,\"files\":12,\"state\":\"offered\",\"done\":"
    "0,"
    "\"percent\":0,\"rate_down\":0,\"rate_up\":0,\"eta_s\":null}";
static const char stream[] =
    "{\"n\":19,\"conversation\":\"roberta of the second floor\",\"mine\":false,"
    "\"name\":\"a\\u001b[2J\\u202etar\",\"kind\":\"stream\",\"size\":null,\"state\":"
    "\"active\",\"done\":1500,\"percent\":null,\"rate_down\":1500,\"rate_up\":0,"
    "\"eta_s\":null}";

typedef void show_fn(FILE *f, const json_t *t);

static char *shown(show_fn *fn, const json_t *t)
{
    char *out = NULL;
    size_t len;
    FILE *f = open_memstream(&out, &len);
    cr_assert_not_null(f);
    fn(f, t);
    cr_assert_eq(fclose(f), 0);
    return out;
}

/* The table of the three at a width. */
static char *table(size_t width)
{
    json_t *list = json_array();
    char *out = NULL;
    size_t len;
    FILE *f = open_memstream(&out, &len);
    cr_assert_not_null(f);
    (void)json_array_append_new(list, object(active));
    (void)json_array_append_new(list, object(folder));
    (void)json_array_append_new(list, object(stream));
    transfer_table(f, list, width);
    cr_assert_eq(fclose(f), 0);
    json_decref(list);
    for (char *s = strdup(out), *line = s, *next; line != NULL; line = next) {
        next = strchr(line, '\n');
        if (next != NULL) {
            *next++ = '\0';
        }
        cr_expect_leq(fmt_width(line), width, "%s", line);
        if (next == NULL) {
            free(s);
        }
    }
    return out;
}

Test(transfer, table_of_80_columns)
{
    char *out = table(80);
    cr_expect_str_eq(
        out,
        "ID  Done  Have   ETA    Up  Down  Status   Who           Name\n"
        "17   58%  243M  0:02  108M     -  active   →bob          report.iso\n"
        "18    0%     0     -     -     -  offered  ←陈波         "
        "早上好报告已经收到早上…\n"
        "19     -  1.5k     -     -  1.5k  active   ←roberta of…  a\\x1b[2J\\u202etar\n");
    free(out);
}

Test(transfer, table_of_120_columns)
{
    char *out = table(120);
    cr_expect_str_eq(
        out,
        "ID  Done  Have   ETA    Up  Down  Status   Who           Name\n"
        "17   58%  243M  0:02  108M     -  active   →bob          report.iso\n"
        "18    0%     0     -     -     -  offered  ←陈波         "
        "早上好报告已经收到早上好/\n"
        "19     -  1.5k     -     -  1.5k  active   ←roberta of…  a\\x1b[2J\\u202etar\n");
    free(out);
}

Test(transfer, table_of_40_columns)
{
    char *out = table(40);
    cr_expect_str_eq(out, "ID  Done  Status   Who     Name\n"
                          "17   58%  active   →bob    report.iso\n"
                          "18    0%  offered  ←陈波   早上好报告已…\n"
                          "19     -  active   ←robe…  a\\x1b[2J\\u20…\n");
    free(out);
}

Test(transfer, rows_for_programs)
{
    json_t *t = object(active), *s = object(stream);
    char *out = shown(transfer_row, t);
    cr_expect_str_eq(out, "17\tactive\t243100000\t419400000\t2\t108000000\t0\tout\tbob\t"
                          "report.iso\n");
    free(out);
    out = shown(transfer_row, s);
    cr_expect_str_eq(out, "19\tactive\t1500\t-\t-\t0\t1500\tin\troberta of the second "
                          "floor\ta\\x1b[2J\\u202etar\n");
    free(out);
    json_decref(t);
    json_decref(s);
}

static void expect_bar(const char *text, size_t width, const char *wanted)
{
    json_t *t = object(text);
    char *out = NULL;
    size_t len;
    FILE *f = open_memstream(&out, &len);
    cr_assert_not_null(f);
    transfer_bar(f, t, width);
    cr_assert_eq(fclose(f), 0);
    cr_expect_eq(fmt_width(out), width, "|%s|", out);
    cr_expect_eq(strncmp(out, wanted, strlen(wanted)), 0, "|%s|", out);
    cr_expect_eq(strspn(out + strlen(wanted), " "), strlen(out) - strlen(wanted),
                 "only blanks follow: |%s|", out);
    free(out);
    json_decref(t);
}

Test(transfer, bars)
{
    expect_bar(
        active, 79,
        " 58% ▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓░░░░░░░░░░░░ 243.1/419.4 MB  108.0 MB/s  ETA 0:02");
    expect_bar(active, 59, " 58% ▓▓▓▓▓▓▓▓▓▓░░░░░░░ 243.1/419.4 MB  108.0 MB/s  ETA 0:02");
    expect_bar(active, 39, " 58% ▓▓▓▓▓▓░░░ 243.1/419.4 MB  ETA 0:02");
    expect_bar(active, 20, " 58% 243.1/419.4 MB");
    expect_bar(stream, 39, " 1.5 kB  1.5 kB/s");
    expect_bar(folder, 39, "  0% ░░░░░░░░░░░░░░ 0.0/1.0 MB  offered");
}

static json_t *with(const char *state, bool mine, unsigned done)
{
    return json_pack("{s:s,s:b,s:i,s:s,s:s}", "state", state, "mine", mine, "done", done,
                     "conversation", "bob", "name", "plan.odt");
}

Test(transfer, what_states_mean)
{
    static const struct {
        const char *state;
        bool mine, ended, begun;
        int code;
    } v[] = {
        {"offered", true, false, false, 0},   {"waiting", true, false, true, 0},
        {"active", true, false, true, 0},     {"held", false, false, true, 0},
        {"paused", false, false, true, 0},    {"stuck", false, false, true, 0},
        {"paused", true, false, false, 0},    {"done", true, true, false, CLI_OK},
        {"declined", true, true, false, 7},   {"stopped", true, true, false, 7},
        {"declined", false, true, false, 1},  {"stopped", false, true, false, 1},
        {"broken", true, true, false, 9},     {"broken", false, true, false, 9},
        {"cancelled", false, true, false, 1}, {"changed", true, true, false, 1},
        {"lost", false, true, false, 1},
    };
    for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
        json_t *t = with(v[i].state, v[i].mine, 0);
        cr_expect_eq(transfer_ended(t), v[i].ended, "%s", v[i].state);
        cr_expect_eq(transfer_begun(t), v[i].begun, "%s", v[i].state);
        if (v[i].ended) {
            cr_expect_eq(transfer_code(t), v[i].code, "%s", v[i].state);
        }
        if (v[i].ended && v[i].code != 0) {
            char *s = transfer_sentence(t);
            cr_expect_not_null(strstr(s, "plan.odt"), "%s", s);
            cr_expect_not_null(strstr(s, "bob"), "%s", s);
            cr_expect_eq(s[strlen(s) - 1], '.', "%s", s);
            free(s);
        }
        json_decref(t);
    }
    json_t *t = with("paused", true, 5);
    cr_expect(transfer_begun(t), "something is there already");
    json_decref(t);
}

Test(transfer, details_say_what_is_next)
{
    json_t *t = object(active), *o = object(folder);
    cr_assert_eq(setenv("TZ", "UTC", 1), 0);
    char *out = shown(transfer_details, t);
    cr_expect_str_eq(out, "number    17\n"
                          "name      report.iso\n"
                          "kind      file\n"
                          "size      419.4 MB (419400000 bytes)\n"
                          "to        bob\n"
                          "state     active\n"
                          "there     58 %, 243.1 MB\n"
                          "rate      108.0 MB/s\n"
                          "left      0:02\n"
                          "route     LAN\n"
                          "address   192.168.1.23\n"
                          "path      /r.iso\n"
                          "sealed    no\n"
                          "offered   2026-11-22T14:00:05+00:00\n"
                          "id        00112233445566778899aabbccddeeff\n"
                          "next      linnet transfers pause 17\n"
                          "          linnet transfers cancel 17\n");
    free(out);
    out = shown(transfer_details, o);
    cr_expect_not_null(strstr(out, "linnet transfers accept 18\n"), "%s", out);
    cr_expect_not_null(strstr(out, "1.0 MB in 12 entries (999950 bytes)"), "%s", out);
    free(out);
    json_decref(t);
    json_decref(o);
}

static void expect_message(const char *text, const char *people, const char *line)
{
    json_t *m = object(text);
    cr_assert(show_is_file(m));
    char *out = show_file_text(m, true);
    cr_expect_str_eq(out, people);
    free(out);
    out = show_file_text(m, false);
    cr_expect_str_eq(out, line);
    free(out);
    json_decref(m);
}

Test(transfer, messages)
{
    expect_message("{\"kind\":\"file\",\"mine\":false,\"text\":\"plan.odt\",\"file\":{"
                   "\"n\":18,\"name\":\"plan.odt\",\"kind\":\"file\",\"size\":1200000,"
                   "\"state\":\"offered\"}}",
                   "[file] plan.odt 1.2 MB  #18: linnet transfers accept 18",
                   "[file #18 1200000] plan.odt");
    expect_message("{\"kind\":\"file\",\"mine\":true,\"text\":\"a\\tb\",\"file\":{\"n\":"
                   "19,\"kind\":\"stream\",\"size\":null,\"state\":\"offered\"}}",
                   "[stream] a\\tb  #19 offered", "[stream #19 -] a\\tb");
    expect_message(
        "{\"kind\":\"file\",\"mine\":false,\"text\":\"src\",\"file\":{\"n\":20,"
        "\"kind\":\"folder\",\"size\":0,\"state\":\"done\"}}",
        "[folder] src 0 B  #20 done", "[folder #20 0] src");
    expect_message("{\"kind\":\"file\",\"text\":\"gone\",\"file\":null}", "[file] gone",
                   "[file] gone");
    json_t *m = object("{\"kind\":\"file\",\"redacted\":true,\"text\":\"\"}");
    cr_expect_not(show_is_file(m));
    json_decref(m);
}
