/* Files that come in: their part, their name, and what happens when a node or a disk
 * fails. */
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sodium.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "files_make.h"

enum { MIB = HASHTREE_LEAF, SMALL_DISK = 24 * MIB };

TestSuite(files, .init = world_begin, .fini = world_end, .timeout = 120);

/* A job of an incoming file that is called name, of no offer of ours. */
static struct xfer_job incoming(enum xfer_job_kind kind, const char *name, unsigned n)
{
    struct xfer_job j = {
        .kind = kind, .incoming = true, .file_kind = FILE_PLAIN, .name = name};
    memset(j.key, (int)n, sizeof j.key);
    return j;
}

static void expect_path(const struct got *g, const char *name)
{
    cr_assert_str_eq(g->path, at("down/loads/%s", name));
}

/* Opens the part of an empty file and finishes it. */
static const char *take_in(const char *name, unsigned n, const char *dest)
{
    struct xfer_job j = incoming(XFER_JOB_OPEN, name, n);
    j.sized = true;
    j.dest = dest;
    char part[PATH_MAX];
    (void)snprintf(part, sizeof part, "%s", must(0, j)->path);
    j.path = part;
    j.kind = XFER_JOB_FINISH;
    return must(0, j)->path;
}

Test(files, what_is_sent_arrives)
{
    static const size_t sizes[] = {0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 17};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct move m;
        const char *path = at("source/plan %u.odt", i);
        put_random(path, sizes[i], i);
        move_all(&m, path, i + 1);
        cr_assert_str_eq(m.to, at("down/loads/plan %u.odt", i));
        cr_assert(same_file(path, m.to));
        struct stat st;
        cr_assert_eq(stat(m.to, &st), 0);
        cr_assert_eq(st.st_mode & 07777, 0600);
        m.out.kind = m.in.kind = XFER_JOB_FORGET;
        (void)must(0, m.out);
        m.in.path = m.to;
        (void)must(0, m.in);
        cr_assert(is_there(m.to));
    }
    cr_assert_eq(count_in(w.kept), 0);
    struct stat st;
    cr_assert_eq(stat(w.downloads, &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0700);
}

Test(files, what_may_be_executed_stays_so_for_us_alone)
{
    struct move m;
    const char *path = at("source/run");
    put_file(path, "#!/bin/sh\n", 10);
    cr_assert_eq(chmod(path, 0755), 0);
    move_all(&m, path, 1);
    struct stat st;
    cr_assert_eq(stat(m.to, &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0700);
}

Test(files, nothing_is_ever_overwritten)
{
    cr_assert_eq(mkdir(at("down"), 0700), 0);
    cr_assert_eq(mkdir(w.downloads, 0700), 0);
    put_file(at("down/loads/plan.odt"), "mine", 4);
    cr_assert_str_eq(take_in("plan.odt", 1, NULL), at("down/loads/plan (1).odt"));
    cr_assert_str_eq(take_in("plan.odt", 2, NULL), at("down/loads/plan (2).odt"));
    size_t len;
    uint8_t *p = get_file(at("down/loads/plan.odt"), &len);
    cr_assert(len == 4 && memcmp(p, "mine", 4) == 0);
    free(p);
    cr_assert_str_eq(take_in("a.tar.gz", 3, NULL), at("down/loads/a.tar.gz"));
    cr_assert_str_eq(take_in("a.tar.gz", 4, NULL), at("down/loads/a (1).tar.gz"));
    cr_assert_str_eq(take_in("Makefile", 5, NULL), at("down/loads/Makefile"));
    cr_assert_str_eq(take_in("Makefile", 6, NULL), at("down/loads/Makefile (1)"));
    cr_assert_str_eq(take_in(".profile", 7, NULL), at("down/loads/.profile"));
    cr_assert_str_eq(take_in(".profile", 8, NULL), at("down/loads/.profile (1)"));
}

Test(files, two_of_one_name_at_a_time)
{
    struct xfer_job a = incoming(XFER_JOB_OPEN, "plan.odt", 1), b = a;
    memset(b.key, 2, sizeof b.key);
    a.sized = b.sized = true;
    char first[PATH_MAX], second[PATH_MAX];
    (void)snprintf(first, sizeof first, "%s", must(0, a)->path);
    (void)snprintf(second, sizeof second, "%s", must(0, b)->path);
    cr_assert_str_eq(first, at("down/loads/plan.odt.part"));
    cr_assert_str_eq(second, at("down/loads/plan (1).odt.part"));
    a.kind = b.kind = XFER_JOB_FINISH;
    a.path = first;
    b.path = second;
    expect_path(must(0, b), "plan.odt"); /* who comes first */
    expect_path(must(0, a), "plan (1).odt");
}

Test(files, a_name_that_appears_meanwhile_is_left_alone)
{
    struct xfer_job j = incoming(XFER_JOB_OPEN, "plan.odt", 1);
    j.sized = true;
    (void)must(0, j);
    put_file(at("down/loads/plan.odt"), "mine", 4);
    j.path = at("down/loads/plan.odt.part");
    j.kind = XFER_JOB_FINISH;
    expect_path(must(0, j), "plan (1).odt");
    cr_assert(!is_there(j.path));
}

Test(files, a_link_in_the_way_leads_nowhere)
{
    cr_assert_eq(mkdir(at("down"), 0700), 0);
    cr_assert_eq(mkdir(w.downloads, 0700), 0);
    put_file(at("outside/canary"), "canary", 6);
    cr_assert_eq(symlink(at("outside/canary"), at("down/loads/a")), 0);
    cr_assert_eq(symlink(at("outside/new"), at("down/loads/b.part")), 0);
    cr_assert_eq(symlink(at("outside/canary"), at("down/loads/c.part")), 0);
    cr_assert_str_eq(take_in("a", 1, NULL), at("down/loads/a (1)"));
    cr_assert_str_eq(take_in("b", 2, NULL), at("down/loads/b"));
    /* The part that was opened is replaced while no node runs. */
    struct move m;
    put_random(at("source/d"), 10, 1);
    move_scan(&m, at("source/d"), 3);
    move_open(&m);
    world_restart();
    cr_assert_eq(unlink(m.to), 0);
    cr_assert_eq(symlink(at("outside/canary"), m.to), 0);
    uint8_t buf[10] = {0};
    m.in.kind = XFER_JOB_WRITE;
    m.in.buf = buf;
    m.in.len = sizeof buf;
    hashtree_leaf(buf, sizeof buf, m.in.hash);
    (void)must(ERR_NOTFOUND, m.in);
    m.in.kind = XFER_JOB_OPEN;
    (void)must(ERR_NOTFOUND, m.in);
    m.in.kind = XFER_JOB_DROP;
    (void)must(0, m.in);
    size_t len;
    uint8_t *p = get_file(at("outside/canary"), &len);
    cr_assert(len == 6 && memcmp(p, "canary", 6) == 0);
    free(p);
    cr_assert_eq(count_in(w.outside), 1);
}

/* Another name of the part would change with it. */
Test(files, a_part_with_a_second_name_is_not_used)
{
    struct move m;
    put_random(at("source/d"), 10, 1);
    move_scan(&m, at("source/d"), 1);
    move_open(&m);
    world_restart();
    cr_assert_eq(link(m.to, at("outside/other")), 0);
    m.in.kind = XFER_JOB_OPEN;
    (void)must(ERR_NOTFOUND, m.in);
}

Test(files, where_the_user_wants_it)
{
    cr_assert_eq(mkdir(at("there"), 0700), 0);
    cr_assert_str_eq(take_in("a", 1, at("there")), at("there/a"));
    cr_assert_str_eq(take_in("a", 2, at("there/")), at("there/a (1)"));
    cr_assert_str_eq(take_in("a", 3, at("there/my name.txt")), at("there/my name.txt"));
    cr_assert_str_eq(take_in("a", 4, at("there/my name.txt")),
                     at("there/my name (1).txt"));
    cr_assert(!is_there(w.downloads));
    files_set_downloads(w.files, at("elsewhere"));
    cr_assert_str_eq(take_in("a", 5, NULL), at("elsewhere/a"));
    struct xfer_job j = incoming(XFER_JOB_OPEN, "a", 6);
    j.dest = at("not/there");
    struct got *g = must(ERR_IO, j);
    cr_assert_not_null(strstr(g->why, "/not"));
    j.dest = "relative";
    (void)must(ERR_ARG, j);
    j.dest = at("there/..");
    j.name = "b";
    cr_assert_str_eq(must(0, j)->path, at("there/../b.part"));
}

Test(files, long_and_foreign_names)
{
    static const char *const names[] = {"报告 最终版.pdf", "تقرير نهائي.pdf",
                                        "Größe.txt"};
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        cr_assert_str_eq(take_in(names[i], i + 1, NULL), at("down/loads/%s", names[i]));
    }
    char name[WIRE_FILE_NAME_MAX + 1] = "";
    while (strlen(name) + 3 + 4 < WIRE_FILE_NAME_MAX) {
        (void)strcat(name, "报");
    }
    (void)strcat(name, "x.pdf");
    name[WIRE_FILE_NAME_MAX] = '\0';
    cr_assert_gt(strlen(name), WIRE_FILE_NAME_MAX - 5);
    cr_assert_str_eq(take_in(name, 10, NULL), at("down/loads/%s", name));
    const char *second = take_in(name, 11, NULL);
    const char *last = strrchr(second, '/') + 1;
    cr_assert_leq(strlen(last), WIRE_FILE_NAME_MAX);
    cr_assert_str_eq(last + strlen(last) - 8, " (1).pdf");
    cr_assert(is_there(second));
    /* A name that could not be offered is made one. */
    cr_assert_null(strchr(strrchr(take_in("a\\b\n", 12, NULL), '/') + 1, '\n'));
    cr_assert(is_there(take_in("..", 13, NULL)));
    cr_assert(!is_there(at("down/loads/../...part")));
}

/* ---- resuming ---- */

static size_t count_bits(const struct move *m)
{
    size_t n = 0;
    for (size_t i = 0; i < 8 * m->n_bits; i++) {
        n += m->bits[i / 8] >> (i % 8) & 1;
    }
    return n;
}

static bool has_bit(const struct move *m, uint32_t i)
{
    return (m->bits[i / 8] >> (i % 8) & 1) != 0;
}

static void damage(const char *path, off_t where)
{
    int fd = open(path, O_RDWR);
    uint8_t c;
    cr_assert_geq(fd, 0);
    cr_assert_eq(pread(fd, &c, 1, where), 1);
    c ^= 1;
    cr_assert_eq(pwrite(fd, &c, 1, where), 1);
    cr_assert_eq(close(fd), 0);
}

Test(files, after_a_kill_nothing_that_is_there_is_sent_again)
{
    struct move m;
    const char *path = at("source/film.mkv");
    put_random(path, 9 * MIB + 5, 1);
    move_scan(&m, path, 1);
    move_open(&m);
    cr_assert_eq(m.n_bits, 2);
    cr_assert_eq(count_bits(&m), 0);
    move_leaves(&m, 0, 4);
    move_leaf(&m, 9); /* the short one */
    world_restart();
    uint8_t known[2] = {3, 0}; /* the store had heard of two */
    m.bits = known;
    move_open(&m);
    cr_assert_eq(count_bits(&m), 5);
    cr_assert(has_bit(&m, 0) && has_bit(&m, 3) && has_bit(&m, 9) && !has_bit(&m, 4));
    move_leaves(&m, 4, 9);
    move_finish(&m);
    cr_assert(same_file(path, m.to));
}

Test(files, a_damaged_leaf_is_sent_again)
{
    struct move m;
    const char *path = at("source/film.mkv");
    put_random(path, 3 * MIB, 1);
    move_scan(&m, path, 1);
    move_open(&m);
    move_leaves(&m, 0, 3);
    world_restart();
    damage(m.to, MIB + 100);
    uint8_t known[1] = {0};
    m.bits = known;
    move_open(&m);
    cr_assert(has_bit(&m, 0) && !has_bit(&m, 1) && has_bit(&m, 2));
    /* What is known of it says so too. */
    m.out.kind = XFER_JOB_SEAL;
    m.in.kind = XFER_JOB_ROOT;
    memcpy(m.in.hash, must(0, m.out)->hash, HASHTREE_HASH);
    (void)must(ERR_AUTH, m.in);
    move_leaf(&m, 1);
    move_finish(&m);
    cr_assert(same_file(path, m.to));
}

Test(files, a_part_that_was_cut_is_filled_again)
{
    struct move m;
    const char *path = at("source/film.mkv");
    put_random(path, 3 * MIB, 1);
    move_scan(&m, path, 1);
    move_open(&m);
    move_leaves(&m, 0, 3);
    world_restart();
    cr_assert_eq(truncate(m.to, MIB + 5), 0);
    m.in.kind = XFER_JOB_FINISH;
    (void)must(ERR_NOTFOUND, m.in);
    uint8_t known[1] = {7}; /* although the store knows them as durable */
    m.bits = known;
    move_open(&m);
    cr_assert_eq(count_bits(&m), 1);
    move_leaves(&m, 1, 3);
    move_finish(&m);
    cr_assert(same_file(path, m.to));
}

/* Hashes are written without a sync: a crash of the machine may take them. */
static const char *hashes_of(const struct move *m)
{
    char hex[2 * WIRE_MID + 1];
    (void)sodium_bin2hex(hex, sizeof hex, m->in.key, WIRE_MID);
    return at("home/files/%s.leaves", hex);
}

Test(files, lost_hashes_of_what_is_durable_are_made_again)
{
    struct move m;
    const char *path = at("source/film.mkv");
    put_random(path, 3 * MIB, 1);
    move_scan(&m, path, 1);
    move_open(&m);
    move_leaves(&m, 0, 3);
    world_restart();
    cr_assert_eq(truncate(hashes_of(&m), 0), 0);
    uint8_t known[1] = {3};
    m.bits = known;
    move_open(&m);
    cr_assert_eq(count_bits(&m), 2);
    move_leaf(&m, 2);
    move_finish(&m);
    cr_assert(same_file(path, m.to));
}

Test(files, a_part_that_is_gone_begins_anew)
{
    struct move m;
    const char *path = at("source/plan.odt");
    put_random(path, 2 * MIB, 1);
    move_scan(&m, path, 1);
    move_open(&m);
    move_leaves(&m, 0, 2);
    world_restart();
    cr_assert_eq(unlink(m.to), 0);
    m.in.kind = XFER_JOB_OPEN;
    (void)must(ERR_NOTFOUND, m.in);
    m.in.path = NULL;
    m.n_bits = 0;
    move_open(&m);
    cr_assert_eq(count_bits(&m), 0, "hashes of the old part count no more");
    move_leaves(&m, 0, 2);
    move_finish(&m);
    cr_assert(same_file(path, m.to));
}

Test(files, a_part_whose_path_was_not_stored_is_not_left_behind)
{
    struct move m;
    put_random(at("source/plan.odt"), 10, 1);
    move_scan(&m, at("source/plan.odt"), 1);
    move_open(&m);
    put_file(at("down/loads/other.part"), "", 0);
    world_restart();
    m.in.path = NULL;
    m.n_bits = 0;
    move_open(&m);
    cr_assert_str_eq(m.to, at("down/loads/plan.odt.part"));
    cr_assert_eq(count_in(w.downloads), 2);
    /* One that somebody else put there since is left alone. */
    put_file(at("outside/mine"), "mine", 4);
    cr_assert_eq(rename(at("outside/mine"), m.to), 0);
    world_restart();
    m.in.path = NULL;
    m.n_bits = 0;
    move_open(&m);
    cr_assert_str_eq(m.to, at("down/loads/plan (1).odt.part"));
    cr_assert_eq(count_in(w.downloads), 3);
}

/* As a node leaves it that is killed when the part is noted, but not yet which file it
 * is. */
static void forget_inode(void)
{
    enum { INODE_AT = 14 };
    static const uint8_t none[8] = {0};
    int fd = open(at("home/files/01010101010101010101010101010101.source"), O_WRONLY);
    cr_assert_eq(pwrite(fd, none, sizeof none, INODE_AT), (ssize_t)sizeof none);
    (void)close(fd);
}

Test(files, a_part_that_was_not_noted_again_is_not_left_behind)
{
    struct xfer_job j = incoming(XFER_JOB_OPEN, "plan.odt", 1);
    j.sized = true;
    for (unsigned drop = 0; drop < 2; drop++) {
        j.kind = XFER_JOB_OPEN;
        cr_assert_str_eq(must(0, j)->path, at("down/loads/plan.odt.part"));
        world_restart();
        forget_inode();
        cr_assert_eq(chmod(at("down/loads/plan.odt.part"), 0400), 0);
        j.kind = drop == 1 ? XFER_JOB_DROP : XFER_JOB_OPEN;
        (void)must(0, j);
        cr_assert_eq(count_in(w.downloads), 1 - drop);
    }
    /* An empty one that has another mode belongs to another transfer. */
    j.kind = XFER_JOB_OPEN;
    (void)must(0, j);
    world_restart();
    forget_inode();
    cr_assert_str_eq(must(0, j)->path, at("down/loads/plan (1).odt.part"));
    cr_assert(is_there(at("down/loads/plan.odt.part")));
}

Test(files, dropped_is_gone)
{
    struct move m;
    put_random(at("source/a"), 2 * MIB, 1);
    move_scan(&m, at("source/a"), 1);
    move_open(&m);
    move_leaf(&m, 0);
    m.in.kind = XFER_JOB_DROP;
    (void)must(0, m.in);
    cr_assert(!is_there(m.to));
    cr_assert_eq(count_in(w.downloads), 0);
    m.out.kind = XFER_JOB_DROP;
    (void)must(0, m.out);
    cr_assert(is_there(at("source/a")), "ours stays");
    cr_assert_eq(count_in(w.kept), 0);
    (void)must(0, m.in); /* again does no harm */
}

/* ---- leaves ---- */

Test(files, a_leaf_that_does_not_fit_is_not_written)
{
    struct move m;
    uint8_t *buf = calloc(1, MIB);
    cr_assert_not_null(buf);
    put_random(at("source/a"), 2 * MIB, 1);
    move_scan(&m, at("source/a"), 1);
    move_open(&m);
    m.in.kind = XFER_JOB_WRITE;
    m.in.buf = buf;
    m.in.len = MIB;
    (void)must(ERR_AUTH, m.in);
    struct stat st;
    cr_assert_eq(stat(m.to, &st), 0);
    cr_assert_eq(st.st_size, 0);
    hashtree_leaf(buf, MIB - 1, m.in.hash);
    m.in.len = MIB - 1; /* shorter than it has to be */
    (void)must(ERR_ARG, m.in);
    hashtree_leaf(buf, MIB, m.in.hash);
    m.in.len = MIB;
    m.in.leaf = 2;
    (void)must(ERR_ARG, m.in);
    cr_assert_eq(stat(m.to, &st), 0);
    cr_assert_eq(st.st_size, 0);
    free(buf);
}

Test(files, which_hashes_differ)
{
    struct move m;
    uint8_t *buf = calloc(1, HASHTREE_FANOUT * HASHTREE_HASH);
    cr_assert_not_null(buf);
    put_random(at("source/a"), 4 * MIB, 1);
    move_scan(&m, at("source/a"), 1);
    move_open(&m);
    move_leaves(&m, 0, 3);
    m.out.kind = XFER_JOB_READ;
    m.out.leaf = 3;
    m.out.buf = malloc(MIB);
    (void)must(0, m.out);
    free(m.out.buf);
    m.out.kind = XFER_JOB_LIST;
    m.out.list = 1;
    m.out.buf = buf;
    cr_assert_eq(must(0, m.out)->len, 4 * HASHTREE_HASH);
    buf[HASHTREE_HASH] ^= 1; /* of leaf 1 */
    m.in.kind = XFER_JOB_KEEP;
    m.in.list = 1;
    m.in.buf = buf;
    m.in.len = 4 * HASHTREE_HASH;
    const struct got *g = must(0, m.in);
    cr_assert_eq(g->n_bits, FILE_BITS);
    cr_assert_eq(g->bits[0], 5);
    cr_assert(sodium_is_zero(g->bits + 1, FILE_BITS - 1));
    free(buf);
}

/* A sender may have lied about a leaf, and about how much there is, before the root was
 * known. */
Test(files, what_is_behind_the_end_is_cut_off)
{
    struct move m;
    uint8_t buf[100] = {0};
    put_random(at("source/a"), 10, 1);
    move_scan(&m, at("source/a"), 1);
    m.in.sized = false;
    move_open(&m);
    m.in.kind = XFER_JOB_WRITE;
    m.in.buf = buf;
    m.in.len = sizeof buf;
    hashtree_leaf(buf, sizeof buf, m.in.hash);
    (void)must(0, m.in);
    m.in.sized = true;
    move_leaf(&m, 0);
    move_finish(&m);
    cr_assert(same_file(at("source/a"), m.to));
}

Test(files, leaves_of_a_file_at_the_same_time)
{
    enum { LEAVES = 24 };
    struct move m;
    uint64_t ids[LEAVES];
    uint8_t *bufs = malloc((size_t)LEAVES * MIB);
    cr_assert_not_null(bufs);
    put_random(at("source/a"), LEAVES * (size_t)MIB - 3, 1);
    move_scan(&m, at("source/a"), 1);
    move_open(&m);
    world_restart(); /* so that the first ones open the files */
    m.out.kind = XFER_JOB_READ;
    for (uint32_t i = 0; i < LEAVES; i++) {
        m.out.leaf = i;
        m.out.buf = bufs + (size_t)i * MIB;
        ids[i] = begin(m.out);
    }
    m.in.kind = XFER_JOB_WRITE;
    for (uint32_t i = 0; i < LEAVES; i++) {
        const struct got *g = wait_for(ids[i]);
        cr_assert_eq(g->err, 0, "%s", g->why);
        m.in.leaf = i;
        m.in.buf = bufs + (size_t)i * MIB;
        m.in.len = g->len;
        memcpy(m.in.hash, g->hash, sizeof g->hash);
        ids[i] = begin(m.in);
        if (i % 8 == 7) {
            struct xfer_job sync = m.in;
            sync.kind = XFER_JOB_SYNC;
            (void)must(0, sync);
        }
    }
    for (uint32_t i = 0; i < LEAVES; i++) {
        cr_assert_eq(wait_for(ids[i])->err, 0);
    }
    move_finish(&m);
    cr_assert(same_file(at("source/a"), m.to));
    free(bufs);
}

Test(files, more_files_than_may_be_open)
{
    enum { FILES = FILES_OPEN_MAX + 10 };
    static struct move m[FILES];
    static uint64_t ids[FILES];
    uint8_t *bufs = malloc((size_t)FILES * 64);
    cr_assert_not_null(bufs);
    for (unsigned i = 0; i < FILES; i++) {
        put_random(at("source/%u", i), 64, i);
        move_scan(&m[i], at("source/%u", i), i + 1);
        move_open(&m[i]);
    }
    for (unsigned i = 0; i < FILES; i++) { /* all want a place at once */
        m[i].out.kind = XFER_JOB_READ;
        m[i].out.buf = bufs + (size_t)i * 64;
        ids[i] = begin(m[i].out);
    }
    for (unsigned i = 0; i < FILES; i++) {
        cr_assert_eq(wait_for(ids[i])->err, 0);
    }
    cr_assert_leq(count_in("/proc/self/fd"), 3 * FILES_OPEN_MAX + 64);
    for (unsigned i = 0; i < FILES; i++) {
        move_leaf(&m[i], 0);
        move_finish(&m[i]);
        cr_assert(same_file(m[i].from, m[i].to));
    }
    free(bufs);
}

/* What takes the file away waits for those who use it. */
Test(files, dropped_behind_leaves_that_are_under_way)
{
    enum { LEAVES = 32 };
    struct move m;
    uint64_t ids[LEAVES];
    uint8_t *bufs = malloc((size_t)LEAVES * MIB);
    cr_assert_not_null(bufs);
    put_random(at("source/a"), LEAVES * (size_t)MIB, 1);
    move_scan(&m, at("source/a"), 1);
    m.out.kind = XFER_JOB_READ;
    for (uint32_t i = 0; i < LEAVES; i++) {
        m.out.leaf = i;
        m.out.buf = bufs + (size_t)i * MIB;
        ids[i] = begin(m.out);
    }
    m.out.kind = XFER_JOB_FORGET;
    uint64_t forget = begin(m.out);
    m.out.kind = XFER_JOB_CHECK;
    uint64_t check = begin(m.out);
    for (uint32_t i = 0; i < LEAVES; i++) {
        cr_assert_eq(wait_for(ids[i])->err, 0);
    }
    cr_assert_eq(wait_for(forget)->err, 0);
    cr_assert_eq(wait_for(check)->err, ERR_NOTFOUND);
    free(bufs);
}

/* ---- life ---- */

Test(files, forgotten_jobs_tell_nothing_and_leave_buffers_alone)
{
    enum { LEAVES = 32 };
    struct move m;
    put_random(at("source/a"), LEAVES * (size_t)MIB, 1);
    move_scan(&m, at("source/a"), 1);
    uint8_t *bufs = malloc((size_t)LEAVES * MIB);
    cr_assert_not_null(bufs);
    size_t before = w.n_done;
    m.out.kind = XFER_JOB_READ;
    for (uint32_t i = 0; i < LEAVES; i++) {
        m.out.leaf = i;
        m.out.buf = bufs + (size_t)i * MIB;
        (void)begin(m.out);
    }
    m.out.kind = XFER_JOB_SEAL; /* waits for them */
    (void)begin(m.out);
    files_forget(w.files);
    free(bufs);
    m.out.kind = XFER_JOB_CHECK;
    (void)must(0, m.out);
    cr_assert_eq(w.n_done, before + 1);
}

Test(files, ended_with_jobs_under_way)
{
    struct move m;
    uint8_t *buf = malloc(MIB);
    cr_assert_not_null(buf);
    put_random(at("source/a"), 4 * MIB, 1);
    move_scan(&m, at("source/a"), 1);
    size_t before = w.n_done;
    m.out.kind = XFER_JOB_READ;
    m.out.buf = buf;
    (void)begin(m.out);
    world_restart();
    free(buf);
    cr_assert_eq(w.n_done, before);
}

static bool needs(void *ctx, const uint8_t mid[WIRE_MID])
{
    const uint8_t *known = ctx;
    return memcmp(mid, known, WIRE_MID) == 0;
}

Test(files, what_no_offer_needs_is_cleared_away)
{
    struct move a, b;
    put_random(at("source/a"), 10, 1);
    move_scan(&a, at("source/a"), 1);
    move_open(&a);
    move_leaf(&a, 0);
    move_scan(&b, at("source/a"), 2);
    put_file(at("home/files/0123456789abcdef0123456789abcdef.source.tmp"), "", 0);
    put_file(at("home/files/notes"), "", 0);
    put_file(at("home/files/0123456789abcdef0123456789abcdef.other"), "", 0);
    world_restart();
    files_clean(w.files, needs, b.out.key);
    cr_assert_eq(count_in(w.kept), 3);
    b.out.kind = XFER_JOB_CHECK;
    (void)must(0, b.out);
    a.out.kind = XFER_JOB_CHECK;
    (void)must(ERR_NOTFOUND, a.out);
}

/* ---- pipes ---- */

Test(files, a_pipe_is_kept_in_the_home)
{
    struct move m;
    put_random(at("source/a"), 2 * MIB, 1);
    move_scan(&m, at("source/a"), 1);
    m.in.pipe = true;
    move_open(&m);
    cr_assert_eq(strncmp(m.to, w.kept, strlen(w.kept)), 0);
    move_leaf(&m, 0);
    world_restart();
    move_open(&m);
    cr_assert_eq(count_bits(&m), 1);
    move_leaf(&m, 1);
    move_finish(&m);
    cr_assert(same_file(at("source/a"), m.to));
    m.in.kind = XFER_JOB_DROP;
    (void)must(0, m.in);
    cr_assert(!is_there(m.to));
    cr_assert(!is_there(w.downloads));
}

/* ---- disks ---- */

Test(files, no_room_is_said_before_it_begins)
{
    struct xfer_job j = incoming(XFER_JOB_OPEN, "huge", 1);
    j.sized = true;
    j.size = WIRE_FILE_SIZE_MAX;
    struct got *g = must(ERR_FULL, j);
    cr_assert_not_null(strstr(g->why, "17.5 TB"), "%s", g->why);
    cr_assert_not_null(strstr(g->why, " left"), "%s", g->why);
    cr_assert_eq(count_in(w.downloads), 0);
    j.pipe = true;
    (void)must(ERR_FULL, j);
}

/* Writes leaves of zeros until it fails, at most n. */
static int fill_up(struct xfer_job *j, uint32_t n)
{
    uint8_t *buf = calloc(1, MIB);
    cr_assert_not_null(buf);
    int err = 0;
    j->kind = XFER_JOB_WRITE;
    j->buf = buf;
    j->len = MIB;
    hashtree_leaf(buf, MIB, j->hash);
    for (j->leaf = 0; err == 0 && j->leaf < n; j->leaf++) {
        struct got *g = run(*j);
        err = g->err;
        cr_assert(err == 0 || strstr(g->why, "room") != NULL, "%s", g->why);
    }
    free(buf);
    return err;
}

Test(files, a_file_that_may_not_grow)
{
    struct xfer_job j = incoming(XFER_JOB_OPEN, "a", 1);
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s", must(0, j)->path);
    j.path = path;
    (void)signal(SIGXFSZ, SIG_IGN);
    struct rlimit old, limit;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = old;
    limit.rlim_cur = 2 * MIB + 17;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    int err = fill_up(&j, 4);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
    cr_assert_eq(err, ERR_FULL);
    cr_assert_eq(j.leaf, 3);
    cr_assert_eq(fill_up(&j, 4), 0, "it goes on when there is room");
}

Test(files, a_disk_that_runs_full)
{
    cr_assert_eq(mkdir(at("disk"), 0700), 0);
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", at("disk"), "tmpfs", 0, "size=24m,mode=700") != 0) {
        cr_skip_test("a disk of our own cannot be mounted here: %s", strerror(errno));
    }
    struct xfer_job j = incoming(XFER_JOB_OPEN, "a", 1);
    j.dest = at("disk");
    j.sized = true;
    j.size = SMALL_DISK - FILES_SPARE + 1;
    (void)must(ERR_FULL, j);
    j.sized = false; /* who knows */
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s", must(0, j)->path);
    j.path = path;
    cr_assert_eq(fill_up(&j, 30), ERR_FULL);
    cr_assert_gt(j.leaf, 20);
    j.kind = XFER_JOB_DROP;
    (void)must(0, j);
    cr_assert_eq(count_in(j.dest), 0);
    struct xfer_job k = incoming(XFER_JOB_OPEN, "b", 2);
    k.dest = at("disk");
    k.file_kind = FILE_STREAM;
    (void)snprintf(path, sizeof path, "%s", must(0, k)->path);
    k.path = path;
    cr_assert_eq(fill_up(&k, 30), ERR_FULL);
    struct statvfs left;
    cr_assert_eq(statvfs(k.dest, &left), 0);
    cr_assert_geq(left.f_bavail * left.f_frsize, FILES_SPARE);
    k.kind = XFER_JOB_DROP;
    (void)must(0, k);
    cr_assert_eq(umount(at("disk")), 0);
}

/* File systems that cannot rename without replacing. */
static void forbid_renameat2(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_renameat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog prog = {.len = sizeof code / sizeof code[0], .filter = code};
    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog), 0);
}

Test(files, nothing_is_overwritten_where_renames_replace)
{
    forbid_renameat2(); /* before there are workers */
    struct xfer_job j = incoming(XFER_JOB_OPEN, "plan.odt", 1);
    j.sized = true;
    (void)must(0, j);
    put_file(at("down/loads/plan.odt"), "mine", 4);
    j.path = at("down/loads/plan.odt.part");
    j.kind = XFER_JOB_FINISH;
    expect_path(must(0, j), "plan (1).odt");
    cr_assert_eq(count_in(w.downloads), 2);
    j = incoming(XFER_JOB_OPEN, "photos", 2);
    j.file_kind = FILE_FOLDER;
    j.sized = true;
    (void)must(0, j);
    cr_assert_eq(mkdir(at("down/loads/photos"), 0700), 0);
    j.path = at("down/loads/photos.part");
    j.kind = XFER_JOB_FINISH;
    expect_path(must(0, j), "photos (1)");
    cr_assert_eq(count_in(w.downloads), 4);
}

Test(files, where_one_may_not_write)
{
    if (geteuid() == 0) {
        cr_assert_eq(chown(w.top, 65534, 65534), 0);
        cr_assert_eq(chown(w.home, 65534, 65534), 0);
        cr_assert_eq(chown(w.kept, 65534, 65534), 0);
        cr_assert_eq(setresuid(65534, 65534, 65534), 0);
    }
    cr_assert_eq(mkdir(at("locked"), 0500), 0);
    struct xfer_job j = incoming(XFER_JOB_OPEN, "a", 1);
    j.dest = at("locked");
    struct got *g = must(ERR_REFUSED, j);
    cr_assert_not_null(strstr(g->why, "locked"), "%s", g->why);
    put_file(at("secret"), "x", 1);
    cr_assert_eq(chmod(at("secret"), 0), 0);
    struct xfer_job scan = {.kind = XFER_JOB_SCAN, .path = at("secret")};
    (void)must(ERR_REFUSED, scan);
    cr_assert_eq(mkdir(at("folder"), 0700), 0);
    cr_assert_eq(rename(at("secret"), at("folder/secret")), 0);
    scan.path = at("folder");
    g = must(ERR_REFUSED, scan);
    cr_assert_not_null(strstr(g->why, "secret"), "%s", g->why);
}
