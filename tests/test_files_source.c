/* Files that are sent: what may be, what is noted, and that no change goes unnoticed. */
#include <criterion/criterion.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "files_make.h"

enum { MIB = HASHTREE_LEAF };

TestSuite(files_source, .init = world_begin, .fini = world_end, .timeout = 120);

static struct xfer_job scan(const char *path)
{
    return (struct xfer_job){.kind = XFER_JOB_SCAN, .key = {1}, .path = path};
}

Test(files_source, what_a_file_is)
{
    put_random(at("source/plan.odt"), 1234567, 1);
    const struct got *g = must(0, scan(at("source/plan.odt")));
    cr_assert_eq(g->file_kind, FILE_PLAIN);
    cr_assert_eq(g->size, 1234567);
    cr_assert_eq(g->head, 0);
    cr_assert_eq(g->count, 0);
    cr_assert(!g->exec);
    cr_assert_str_eq(g->name, "plan.odt");
    cr_assert_str_eq(g->path, at("source/plan.odt"));
    struct xfer_job j = scan(at("source/plan.odt"));
    j.name = "other/../name.odt"; /* as the user wants it to be called */
    cr_assert_null(strchr(must(0, j)->name, '/'));
    cr_assert_eq(symlink("plan.odt", at("source/link.odt")), 0);
    g = must(0, scan(at("source/link.odt"))); /* the user names it */
    cr_assert_str_eq(g->name, "link.odt");
    cr_assert_eq(g->size, 1234567);
}

Test(files_source, what_cannot_be_sent)
{
    cr_assert_eq(mkfifo(at("source/fifo"), 0600), 0);
    struct got *g = must(ERR_ARG, scan(at("source/fifo")));
    cr_assert_not_null(strstr(g->why, "source/fifo"), "%s", g->why);
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    (void)snprintf(a.sun_path, sizeof a.sun_path, "%s", at("source/socket"));
    cr_assert_eq(bind(s, (struct sockaddr *)&a, sizeof a), 0);
    (void)close(s);
    (void)must(ERR_ARG, scan(at("source/socket")));
    (void)must(ERR_ARG, scan("/dev/null"));
    (void)must(ERR_ARG, scan("source"));
    g = must(ERR_NOTFOUND, scan(at("source/nothing")));
    cr_assert_not_null(strstr(g->why, "source/nothing"), "%s", g->why);
    (void)must(ERR_NOTFOUND, scan(at("source/fifo/x")));
    cr_assert_eq(count_in(w.kept), 0);
}

Test(files_source, the_home_is_not_sent)
{
    put_file(at("home/key"), "key", 3);
    cr_assert_eq(symlink(at("home/key"), at("source/link")), 0);
    (void)must(ERR_REFUSED, scan(at("home/key")));
    (void)must(ERR_REFUSED, scan(at("home/../home/key")));
    (void)must(ERR_REFUSED, scan(at("home")));
    (void)must(ERR_REFUSED, scan(at("home/")));
    (void)must(ERR_REFUSED, scan(at("source/link")));
    (void)must(ERR_REFUSED, scan(at("."))); /* holds it */
    cr_assert_eq(mkdir(at("home2"), 0700), 0);
    put_file(at("home2/key"), "key", 3);
    (void)must(0, scan(at("home2/key")));
}

/* ---- changes ---- */

/* A scan of 3 leaves, the first of which has been read. */
static void offered(struct move *m)
{
    put_random(at("source/plan"), 3 * MIB, 1);
    move_scan(m, at("source/plan"), 1);
    move_open(m);
    move_leaf(m, 0);
}

static void expect(struct move *m, int err)
{
    uint8_t *buf = malloc(MIB);
    cr_assert_not_null(buf);
    m->out.kind = XFER_JOB_READ;
    m->out.leaf = 1;
    m->out.buf = buf;
    (void)must(err, m->out);
    m->out.kind = XFER_JOB_SEAL;
    (void)must(err, m->out);
    m->out.kind = XFER_JOB_CHECK;
    (void)must(err, m->out);
    world_restart();
    (void)must(err, m->out);
    free(buf);
}

Test(files_source, longer)
{
    struct move m;
    offered(&m);
    int fd = open(m.from, O_WRONLY | O_APPEND);
    cr_assert_eq(write(fd, "x", 1), 1);
    (void)close(fd);
    expect(&m, ERR_STALE);
}

Test(files_source, shorter)
{
    struct move m;
    offered(&m);
    cr_assert_eq(truncate(m.from, MIB + 1), 0);
    expect(&m, ERR_STALE);
}

Test(files_source, touched)
{
    struct move m;
    offered(&m);
    const struct timespec t[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    cr_assert_eq(utimensat(AT_FDCWD, m.from, t, 0), 0);
    expect(&m, ERR_STALE);
}

Test(files_source, other_bytes_of_the_same_length_and_time)
{
    struct move m;
    struct stat st;
    offered(&m);
    cr_assert_eq(stat(m.from, &st), 0);
    int fd = open(m.from, O_WRONLY);
    cr_assert_eq(pwrite(fd, "something else", 14, 100), 14);
    (void)close(fd);
    const struct timespec t[2] = {st.st_atim, st.st_mtim};
    cr_assert_eq(utimensat(AT_FDCWD, m.from, t, 0), 0);
    expect(&m, ERR_STALE);
}

Test(files_source, replaced)
{
    struct move m;
    offered(&m);
    put_random(at("source/new"), 3 * MIB, 1);
    cr_assert_eq(rename(at("source/new"), m.from), 0);
    expect(&m, ERR_STALE);
}

Test(files_source, replaced_by_a_fifo)
{
    struct move m;
    offered(&m);
    cr_assert_eq(unlink(m.from), 0);
    cr_assert_eq(mkfifo(m.from, 0600), 0);
    expect(&m, ERR_STALE);
}

Test(files_source, vanished)
{
    struct move m;
    offered(&m);
    cr_assert_eq(unlink(m.from), 0);
    expect(&m, ERR_NOTFOUND);
}

/* What was sent of it must not turn into something else, whatever the clock says. */
Test(files_source, a_leaf_that_is_not_what_it_was)
{
    struct move m;
    uint8_t other[HASHTREE_HASH] = {1};
    offered(&m);
    int fd = open(at("home/files/02020202020202020202020202020202.leaves"), O_WRONLY);
    cr_assert_eq(pwrite(fd, other, sizeof other, 2 * HASHTREE_HASH), HASHTREE_HASH);
    (void)close(fd);
    m.out.kind = XFER_JOB_READ;
    m.out.leaf = 2;
    m.out.buf = malloc(MIB);
    (void)must(ERR_STALE, m.out);
    free(m.out.buf);
}

Test(files_source, unchanged_it_goes_on_after_a_start)
{
    struct move m;
    offered(&m);
    world_restart();
    m.out.kind = XFER_JOB_CHECK;
    const struct got *g = must(0, m.out);
    cr_assert_eq(g->n_bits, 1);
    cr_assert_eq(g->bits[0], 1);
    m.out.kind = XFER_JOB_SEAL;
    (void)must(ERR_STATE, m.out); /* two are not hashed yet */
    m.out.kind = XFER_JOB_LIST;
    m.out.buf = malloc(MIB);
    (void)must(ERR_STATE, m.out);
    free(m.out.buf);
    move_leaves(&m, 1, 3);
    move_finish(&m);
}

Test(files_source, without_notes_there_is_no_going_on)
{
    struct move m;
    offered(&m);
    const char *notes = at("home/files/02020202020202020202020202020202.source");
    size_t len;
    uint8_t *p = get_file(notes, &len);
    for (size_t i = 0; i < len; i++) { /* cut at every length */
        world_restart();
        put_file(notes, p, i);
        m.out.kind = XFER_JOB_CHECK;
        (void)must(ERR_NOTFOUND, m.out);
    }
    put_file(notes, p, len);
    (void)must(0, m.out);
    free(p);
    world_restart();
    cr_assert_eq(unlink(notes), 0);
    (void)must(ERR_NOTFOUND, m.out);
}

/* ---- hashes ---- */

Test(files_source, lists_and_the_root)
{
    enum { LEAVES = HASHTREE_FANOUT + 3 };
    const uint64_t size = LEAVES * (uint64_t)MIB - 7;
    struct move m;
    put_file(at("source/holes"), "", 0);
    cr_assert_eq(truncate(at("source/holes"), (off_t)size), 0);
    move_scan(&m, at("source/holes"), 1);
    uint8_t *buf = malloc(MIB), *v = malloc((size_t)LEAVES * HASHTREE_HASH);
    cr_assert(buf != NULL && v != NULL);
    m.out.buf = buf;
    m.out.kind = XFER_JOB_READ;
    for (uint32_t i = 0; i < LEAVES; i++) {
        m.out.leaf = i;
        memcpy(v + (size_t)i * HASHTREE_HASH, must(0, m.out)->hash, HASHTREE_HASH);
    }
    uint8_t blocks[2 * HASHTREE_HASH], root[HASHTREE_HASH];
    hashtree_block(v, HASHTREE_FANOUT, blocks);
    hashtree_block(v + (size_t)HASHTREE_FANOUT * HASHTREE_HASH, 3,
                   blocks + HASHTREE_HASH);
    struct hashtree_root r;
    hashtree_root_init(&r, size);
    hashtree_root_add(&r, blocks, 2);
    hashtree_root_final(&r, root);
    m.out.kind = XFER_JOB_SEAL;
    cr_assert_arr_eq(must(0, m.out)->hash, root, sizeof root);
    m.out.kind = XFER_JOB_LIST;
    cr_assert_eq(must(0, m.out)->len, sizeof blocks);
    cr_assert_arr_eq(buf, blocks, sizeof blocks);
    m.out.list = 1;
    cr_assert_eq(must(0, m.out)->len, HASHTREE_FANOUT * HASHTREE_HASH);
    cr_assert_arr_eq(buf, v, HASHTREE_FANOUT * HASHTREE_HASH);
    m.out.list = 2;
    cr_assert_eq(must(0, m.out)->len, 3 * HASHTREE_HASH);
    m.out.list = 3;
    (void)must(ERR_ARG, m.out);
    free(buf);
    free(v);
}

/* ---- what is piped in ---- */

Test(files_source, standard_input)
{
    struct xfer_job j = scan(NULL);
    j.name = "out.log";
    const struct got *g = must(0, j);
    char spool[PATH_MAX];
    (void)snprintf(spool, sizeof spool, "%s", g->path);
    cr_assert_eq(g->file_kind, FILE_STREAM);
    cr_assert_str_eq(g->name, "out.log");
    cr_assert_eq(strncmp(spool, w.kept, strlen(w.kept)), 0);
    struct stat st;
    cr_assert_eq(stat(spool, &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0600);

    uint8_t *all = malloc(2 * MIB + 9), *buf = malloc(MIB), want[HASHTREE_HASH];
    cr_assert(all != NULL && buf != NULL);
    fill_random(all, 2 * MIB + 9, 1);
    put_file(spool, all, MIB + 100);
    j.kind = XFER_JOB_READ;
    j.file_kind = FILE_STREAM;
    j.path = spool;
    j.buf = buf;
    j.len = MIB;
    g = must(0, j);
    hashtree_leaf(all, MIB, want);
    cr_assert_arr_eq(g->hash, want, sizeof want);
    j.leaf = 1;
    (void)must(ERR_STALE, j); /* so much is not there */
    put_file(spool, all, 2 * MIB + 9);
    (void)must(0, j);
    j.leaf = 2;
    j.len = 9;
    (void)must(0, j);
    cr_assert_arr_eq(buf, all + 2 * MIB, 9);
    j.size = 2 * MIB + 9;
    j.sized = true;
    world_restart();
    j.kind = XFER_JOB_CHECK;
    cr_assert_eq(must(0, j)->bits[0], 7);
    j.kind = XFER_JOB_SEAL;
    (void)must(0, j);
    cr_assert_eq(truncate(spool, MIB), 0);
    j.kind = XFER_JOB_CHECK;
    (void)must(ERR_STALE, j);
    j.kind = XFER_JOB_FORGET;
    (void)must(0, j);
    cr_assert_eq(count_in(w.kept), 0);
    free(all);
    free(buf);
}

/* ---- the loop comes first ---- */

/* Threads of the process beside the one that runs the loop, and those that step back. */
static void count_threads(size_t *others, size_t *back)
{
    DIR *d = opendir("/proc/self/task");
    cr_assert_not_null(d);
    *others = *back = 0;
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        int tid = atoi(e->d_name);
        if (tid > 0 && tid != gettid()) {
            *others += 1;
            *back += getpriority(PRIO_PROCESS, (id_t)tid) == FILES_NICE;
        }
    }
    (void)closedir(d);
}

Test(files_source, workers_give_way)
{
    enum { LEAVES = 64 };
    static uint64_t ids[LEAVES];
    struct move m;
    put_random(at("source/a"), LEAVES * (size_t)MIB, 1);
    move_scan(&m, at("source/a"), 1);
    uint8_t *bufs = malloc((size_t)LEAVES * MIB);
    cr_assert_not_null(bufs);
    int before = getpriority(PRIO_PROCESS, (id_t)gettid());
    m.out.kind = XFER_JOB_READ;
    for (uint32_t i = 0; i < LEAVES; i++) {
        m.out.leaf = i;
        m.out.buf = bufs + (size_t)i * MIB;
        ids[i] = begin(m.out);
    }
    for (uint32_t i = 0; i < LEAVES; i++) {
        cr_assert_eq(wait_for(ids[i])->err, 0);
    }
    size_t others, back;
    count_threads(&others, &back);
    cr_assert(back > 0 && back <= others);
    cr_assert_eq(getpriority(PRIO_PROCESS, (id_t)gettid()), before);
    free(bufs);
}
