/* Files that have come in: they get their name once, whatever ends in the middle, and are
 * the user's from then on. */
#include <criterion/criterion.h>

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "files_make.h"

enum { MIB = HASHTREE_LEAF, LEN = 2 * MIB };

TestSuite(files_end, .init = world_begin, .fini = world_end, .timeout = 120);

/* One byte of what is there, or behind it, becomes another. */
static void damage(const char *path, off_t where)
{
    int fd = open(path, O_RDWR);
    uint8_t c = 0;
    cr_assert_geq(fd, 0);
    cr_assert_geq(pread(fd, &c, 1, where), 0);
    c ^= 1;
    cr_assert_eq(pwrite(fd, &c, 1, where), 1);
    cr_assert_eq(close(fd), 0);
}

/* All leaves have come; part: where they are. */
static void move_but_finish(struct move *m, char part[PATH_MAX])
{
    const char *path = at("source/plan.odt");
    put_random(path, LEN, 1);
    move_scan(m, path, 1);
    move_open(m);
    memcpy(part, m->to, PATH_MAX);
    move_leaves(m, 0, LEN / MIB);
}

/* As it ends when the node is killed behind the rename: the store has the part's path. */
static void move_and_kill(struct move *m, char whole[PATH_MAX])
{
    char part[PATH_MAX];
    move_but_finish(m, part);
    put_file(at("down/loads/plan.odt"), "mine", 4);
    move_finish(m);
    memcpy(whole, m->to, PATH_MAX);
    cr_assert_str_eq(whole, at("down/loads/plan (1).odt"));
    world_restart();
    memcpy(m->to, part, PATH_MAX);
}

Test(files_end, a_node_that_ends_while_it_gives_the_name_finds_the_file)
{
    struct move m;
    char whole[PATH_MAX];
    move_and_kill(&m, whole);
    move_open(&m);
    cr_assert_str_eq(m.to, whole);
    cr_assert_eq(m.bits[0], 3);
    move_finish(&m);
    cr_assert_str_eq(m.to, whole);
    cr_assert(same_file(m.from, whole));
    cr_assert_eq(count_in(w.downloads), 2);
}

/* The user has written behind it by then. */
Test(files_end, a_file_in_use_is_not_cut)
{
    struct move m;
    char whole[PATH_MAX];
    size_t len = 0;
    move_and_kill(&m, whole);
    damage(whole, LEN);
    move_open(&m);
    cr_assert_str_eq(m.to, whole);
    move_finish(&m);
    free(get_file(whole, &len));
    cr_assert_eq(len, LEN + 1);
}

/* The folder could not be synced behind the rename: it is tried again. */
Test(files_end, what_has_its_name_is_not_looked_for_as_a_part)
{
    struct move m;
    char part[PATH_MAX];
    move_but_finish(&m, part);
    world_restart();
    cr_assert_eq(rename(part, at("down/loads/plan.odt")), 0);
    m.in.kind = XFER_JOB_FINISH;
    cr_assert_str_eq(must(0, m.in)->path, at("down/loads/plan.odt"));
    cr_assert(same_file(m.from, at("down/loads/plan.odt")));
    cr_assert_eq(count_in(w.downloads), 1);
}

/* What is there by then may be anything. */
Test(files_end, of_what_was_taken_in_only_what_was_verified_is_given)
{
    struct move m;
    static uint8_t buf[MIB];
    char hex[2 * WIRE_MID + 1];
    const char *path = at("source/film.mkv");
    put_random(path, LEN, 1);
    move_all(&m, path, 1);
    m.in.kind = XFER_JOB_READ;
    m.in.path = m.to;
    m.in.buf = buf;
    m.in.leaf = 1;
    (void)must(0, m.in);
    damage(m.to, MIB + 5);
    (void)must(ERR_STALE, m.in);
    (void)sodium_bin2hex(hex, sizeof hex, m.in.key, sizeof m.in.key);
    cr_assert_eq(truncate(at("home/files/%s.leaves", hex), 0), 0);
    (void)must(ERR_STALE, m.in);
}
