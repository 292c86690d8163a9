/* Folders, sent and taken in. */
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/err.h"
#include "files_make.h"

enum { MIB = HASHTREE_LEAF };

TestSuite(files_folder, .init = world_begin, .fini = world_end, .timeout = 120);

/* How many files a disk has room for, instead of what there is; UINT64_MAX: no other. */
static uint64_t files_left = UINT64_MAX;

/* In the place of libc's, for the program that is tested as well. */
int fstatvfs(int fd, struct statvfs *v)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int rc = statvfs(path, v);
    if (rc == 0 && files_left != UINT64_MAX) {
        v->f_files = 1000000;
        v->f_favail = files_left;
    }
    return rc;
}

static struct xfer_job scan(const char *path)
{
    return (struct xfer_job){.kind = XFER_JOB_SCAN, .key = {1}, .path = path};
}

static void put_dir(const char *path)
{
    cr_assert_eq(mkdir(path, 0700), 0, "%s", path);
}

static void expect_text(const char *path, const char *text)
{
    size_t len;
    uint8_t *p = get_file(path, &len);
    cr_assert(len == strlen(text) && memcmp(p, text, len) == 0, "%s", path);
    free(p);
}

/* Small and large ones, empty ones, and names of many kinds. */
static void put_album(void)
{
    char name[WIRE_FILE_NAME_MAX + 1];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    put_dir(at("source/album"));
    put_dir(at("source/album/empty"));
    put_dir(at("source/album/empty/more"));
    put_dir(at("source/album/照片"));
    put_dir(at("source/album/صور"));
    put_dir(at("source/album/照片/夏天"));
    put_random(at("source/album/照片/夏天/海.jpg"), 2 * MIB + 100, 1);
    put_random(at("source/album/صور/بحر.jpg"), MIB, 2);
    put_random(at("source/album/%s", name), 300, 3);
    put_file(at("source/album/.hidden"), "h", 1);
    put_file(at("source/album/nothing"), "", 0);
    put_file(at("source/album/run.sh"), "#!/bin/sh\n", 10);
    cr_assert_eq(chmod(at("source/album/run.sh"), 0755), 0);
    put_dir(at("source/album/a"));
    put_file(at("source/album/a/b"), "1", 1);
    put_file(at("source/album/a-b"), "2", 1); /* '-' is before '/' */
    for (unsigned i = 0; i < 300; i++) {
        put_random(at("source/album/a/%u.txt", i), 5000, 100 + i);
    }
}

static void same_album(const char *to)
{
    static const char *const names[] = {
        "照片/夏天/海.jpg", "صور/بحر.jpg", ".hidden", "nothing", "run.sh", "a/b", "a-b",
        "a/0.txt",          "a/299.txt"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[PATH_MAX];
        (void)snprintf(path, sizeof path, "%s/%s", to, names[i]);
        cr_assert(same_file(at("source/album/%s", names[i]), path), "%s", names[i]);
    }
    char command[3 * PATH_MAX];
    (void)snprintf(command, sizeof command, "diff -r '%s' '%s'", at("source/album"), to);
    cr_assert_eq(system(command), 0);
}

Test(files_folder, a_folder_arrives)
{
    struct move m;
    put_album();
    move_all(&m, at("source/album"), 1);
    cr_assert_eq(m.in.file_kind, FILE_FOLDER);
    cr_assert_str_eq(m.name, "album");
    cr_assert_str_eq(m.to, at("down/loads/album"));
    same_album(m.to);
    struct stat st;
    cr_assert_eq(stat(at("down/loads/album/run.sh"), &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0700);
    cr_assert_eq(stat(at("down/loads/album/a-b"), &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0600);
    cr_assert_eq(stat(at("down/loads/album/empty/more"), &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0700);
    move_all(&m, at("source/album"), 2);
    cr_assert_str_eq(m.to, at("down/loads/album (1)"));
}

Test(files_folder, the_manifest_is_right)
{
    put_album();
    const struct got *g = must(0, scan(at("source/album/")));
    size_t len;
    uint8_t *p =
        get_file(at("home/files/01000000000000000000000000000000.manifest"), &len);
    struct rd r = rd_init(p, len);
    struct wire_manifest_at where = {0};
    struct wire_manifest_entry e;
    bool hidden = false, run = false;
    while (wire_manifest_next(&r, &where, &e)) {
        hidden = hidden || (e.path_len == 7 && memcmp(e.path, ".hidden", 7) == 0);
        run = run || (e.path_len == 6 && memcmp(e.path, "run.sh", 6) == 0 &&
                      e.flags == MANIFEST_EXEC && e.size == 10);
    }
    cr_assert(!r.bad && hidden && run);
    cr_assert_eq(where.n, g->count);
    cr_assert_eq(len, g->head);
    cr_assert_eq(len + where.total, g->size);
    cr_assert_eq(g->file_kind, FILE_FOLDER);
    cr_assert_str_eq(g->name, "album");
    free(p);
}

Test(files_folder, an_empty_folder)
{
    struct move m;
    put_dir(at("source/empty"));
    move_all(&m, at("source/empty"), 1);
    cr_assert_eq(m.in.count, 0);
    cr_assert_eq(m.in.size, 0);
    cr_assert_eq(count_in(m.to), 0);
}

Test(files_folder, what_is_left_out)
{
    put_dir(at("source/f"));
    put_file(at("outside/canary"), "canary", 6);
    cr_assert_eq(symlink(at("outside"), at("source/f/out")), 0);
    cr_assert_eq(symlink(at("outside/canary"), at("source/f/canary")), 0);
    cr_assert_eq(symlink(".", at("source/f/loop")), 0);
    cr_assert_eq(mkfifo(at("source/f/fifo"), 0600), 0);
    put_file(at("source/f/real"), "1", 1);
    cr_assert_eq(must(0, scan(at("source/f")))->count, 1);
    cr_assert_eq(symlink("f", at("source/link")), 0);
    cr_assert_eq(must(0, scan(at("source/link")))->count, 1, "the user names that one");
}

Test(files_folder, names_that_others_cannot_have)
{
    put_dir(at("source/f"));
    put_file(at("source/f/a\\b"), "1", 1);
    struct move m;
    move_all(&m, at("source/f"), 1);
    expect_text(at("down/loads/f/a_b"), "1");
    put_file(at("source/f/a_b"), "2", 1);
    const struct got *g = must(ERR_ARG, scan(at("source/f")));
    cr_assert(strstr(g->why, "a\\b") != NULL && strstr(g->why, "a_b") != NULL, "%s",
              g->why);
    cr_assert(!is_there(at("home/files/01000000000000000000000000000000.source")));
}

Test(files_folder, too_deep_or_too_long)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s", at("source/deep"));
    put_dir(path);
    for (int i = 0; i < WIRE_FILE_DEPTH_MAX; i++) {
        (void)strcat(path, "/d");
        put_dir(path);
    }
    cr_assert_eq(must(0, scan(at("source/deep")))->count, WIRE_FILE_DEPTH_MAX);
    (void)strcat(path, "/x");
    put_file(path, "1", 1);
    (void)must(ERR_LIMIT, scan(at("source/deep")));

    (void)snprintf(path, sizeof path, "%s", at("source/long"));
    put_dir(path);
    char name[202];
    memset(name, 'l', sizeof name - 1);
    name[0] = '/';
    name[sizeof name - 1] = '\0';
    for (int i = 0; i < WIRE_FILE_PATH_MAX / 200 + 1; i++) {
        (void)strcat(path, name);
        put_dir(path);
    }
    (void)must(ERR_LIMIT, scan(at("source/long")));
}

Test(files_folder, too_large)
{
    put_dir(at("source/f"));
    for (int i = 0; i < 2; i++) {
        put_file(at("source/f/%d", i), "", 0);
        /* two of them are too much together, where a file may be so large */
        if (truncate(at("source/f/%d", i), (off_t)(WIRE_FILE_SIZE_MAX / 2 + 1)) != 0) {
            cr_skip_test("no such large files here");
        }
    }
    const struct got *g = must(ERR_LIMIT, scan(at("source/f")));
    cr_assert_not_null(strstr(g->why, "too large"), "%s", g->why);
}

/* ---- changes ---- */

static void expect_end(struct move *m, int err)
{
    uint8_t *buf = malloc(MIB);
    cr_assert_not_null(buf);
    m->out.kind = XFER_JOB_SEAL;
    (void)must(err, m->out);
    m->out.kind = XFER_JOB_CHECK;
    (void)must(err, m->out);
    m->out.kind = XFER_JOB_READ;
    m->out.buf = buf;
    m->out.leaf = 1; /* a/b lies in it */
    (void)must(err, m->out);
    free(buf);
}

Test(files_folder, a_change_in_it_is_noticed)
{
    put_album();
    struct move m;
    move_scan(&m, at("source/album"), 1);
    put_file(at("source/album/a/b"), "3", 1);
    expect_end(&m, ERR_STALE);
    move_scan(&m, at("source/album"), 2);
    cr_assert_eq(unlink(at("source/album/a/b")), 0);
    expect_end(&m, ERR_NOTFOUND);
    cr_assert_eq(symlink(at("outside"), at("source/album/a/b")), 0);
    world_restart();
    expect_end(&m, ERR_STALE);
}

/* What was a folder when it was looked at must not lead elsewhere later. */
Test(files_folder, a_folder_in_it_that_became_a_link)
{
    put_album();
    struct move m;
    move_scan(&m, at("source/album"), 1);
    cr_assert_eq(rename(at("source/album/a"), at("outside/a")), 0);
    cr_assert_eq(symlink(at("outside/a"), at("source/album/a")), 0);
    expect_end(&m, ERR_NOTFOUND);
}

/* ---- taking in ---- */

static uint32_t head_leaves(const struct move *m)
{
    return (uint32_t)hashtree_leaves(m->in.head);
}

Test(files_folder, contents_have_to_wait_for_the_manifest)
{
    struct move m;
    put_album();
    move_scan(&m, at("source/album"), 1);
    move_open(&m);
    uint8_t *buf = malloc(MIB);
    cr_assert_not_null(buf);
    m.out.kind = XFER_JOB_READ;
    m.out.leaf = m.in.leaf = 2;
    m.out.buf = m.in.buf = buf;
    const struct got *g = must(0, m.out);
    m.in.kind = XFER_JOB_WRITE;
    m.in.len = g->len;
    memcpy(m.in.hash, g->hash, sizeof g->hash);
    (void)must(ERR_STATE, m.in);
    m.in.kind = XFER_JOB_TREE;
    (void)must(ERR_FORMAT, m.in);
    free(buf);
}

Test(files_folder, after_a_kill_it_goes_on)
{
    struct move m;
    put_album();
    move_scan(&m, at("source/album"), 1);
    cr_assert_eq(head_leaves(&m), 1);
    move_open(&m);
    move_leaf(&m, 0);
    world_restart(); /* before the tree is made */
    uint8_t none[16] = {0};
    m.bits = none;
    move_open(&m);
    cr_assert_eq(m.bits[0], 1);
    move_tree(&m);
    move_leaf(&m, 2);
    world_restart(); /* behind it */
    m.bits = none;
    move_open(&m);
    cr_assert_eq(m.bits[0], 5);
    move_tree(&m);
    move_leaf(&m, 1);
    move_leaves(&m, 3, move_count(&m));
    world_restart();
    uint8_t all[16];
    memset(all, 0xff, sizeof all); /* all of them known as durable */
    m.bits = all;
    cr_assert_eq(truncate(at("down/loads/album.part/صور/بحر.jpg"), 5), 0);
    cr_assert_eq(unlink(at("down/loads/album.part/a/7.txt")), 0);
    move_open(&m);
    move_tree(&m); /* makes the one that is gone */
    size_t resent = 0;
    for (uint32_t i = 0; i < move_count(&m); i++) {
        if ((m.bits[i / 8] >> (i % 8) & 1) == 0) {
            move_leaf(&m, i);
            resent++;
        }
    }
    cr_assert(resent > 0 && resent < move_count(&m), "%zu", resent);
    move_finish(&m);
    same_album(m.to);
}

/* Makes the album's part and its tree. */
static void tree_made(struct move *m)
{
    put_album();
    put_file(at("outside/canary"), "canary", 6);
    move_scan(m, at("source/album"), 1);
    move_open(m);
    move_leaf(m, 0);
    move_tree(m);
}

static void canary_lives(void)
{
    expect_text(at("outside/canary"), "canary");
    cr_assert_eq(count_in(w.outside), 1);
}

Test(files_folder, a_link_planted_in_the_part_leads_nowhere)
{
    struct move m;
    tree_made(&m);
    /* A file, and a folder, of the part. */
    cr_assert_eq(unlink(at("down/loads/album.part/صور/بحر.jpg")), 0);
    cr_assert_eq(symlink(at("outside/canary"), at("down/loads/album.part/صور/بحر.jpg")),
                 0);
    cr_assert_eq(rename(at("down/loads/album.part/照片/夏天"), at("gone")), 0);
    cr_assert_eq(symlink(at("outside"), at("down/loads/album.part/照片/夏天")), 0);
    uint8_t *buf = malloc(MIB);
    cr_assert_not_null(buf);
    int refused = 0;
    for (uint32_t i = 1; i < move_count(&m); i++) {
        m.out.kind = XFER_JOB_READ;
        m.in.kind = XFER_JOB_WRITE;
        m.out.leaf = m.in.leaf = i;
        m.out.buf = m.in.buf = buf;
        const struct got *g = must(0, m.out);
        m.in.len = g->len;
        memcpy(m.in.hash, g->hash, sizeof g->hash);
        g = run(m.in);
        cr_assert(g->err == 0 || g->err == ERR_NOTFOUND, "%s", g->why);
        refused += g->err != 0;
    }
    free(buf);
    cr_assert_gt(refused, 1);
    canary_lives();
    m.in.kind = XFER_JOB_TREE;
    (void)must(ERR_NOTFOUND, m.in);
    m.in.kind = XFER_JOB_FINISH;
    (void)must(ERR_NOTFOUND, m.in);
    m.in.kind = XFER_JOB_DROP;
    (void)must(0, m.in);
    canary_lives();
}

Test(files_folder, a_file_where_a_folder_should_be)
{
    struct move m;
    tree_made(&m);
    cr_assert_eq(rmdir(at("down/loads/album.part/empty/more")), 0);
    put_file(at("down/loads/album.part/empty/more"), "", 0);
    m.in.kind = XFER_JOB_TREE; /* as where case does not count */
    struct got *g = must(ERR_FORMAT, m.in);
    cr_assert_not_null(strstr(g->why, "empty/more"), "%s", g->why);
}

Test(files_folder, dropping_takes_only_what_the_manifest_names)
{
    struct move m;
    tree_made(&m);
    put_file(at("down/loads/album.part/empty/mine"), "mine", 4);
    cr_assert_eq(symlink(at("outside"), at("down/loads/album.part/link")), 0);
    m.in.kind = XFER_JOB_DROP;
    (void)must(0, m.in);
    expect_text(at("down/loads/album.part/empty/mine"), "mine");
    cr_assert(!is_there(at("down/loads/album.part/a")));
    cr_assert(!is_there(at("down/loads/album.part/run.sh")));
    canary_lives();
    move_scan(&m, at("source/album"), 2);
    move_open(&m);
    move_leaf(&m, 0);
    m.in.kind = XFER_JOB_DROP; /* before its tree is made */
    (void)must(0, m.in);
    cr_assert(!is_there(m.to));
}

Test(files_folder, a_manifest_that_is_not_as_offered)
{
    struct move m;
    put_album();
    move_scan(&m, at("source/album"), 1);
    move_open(&m);
    move_leaf(&m, 0);
    m.in.kind = XFER_JOB_TREE;
    m.in.count++;
    (void)must(ERR_FORMAT, m.in);
    m.in.count--;
    m.in.size++;
    (void)must(ERR_FORMAT, m.in);
    m.in.size--;
    m.in.head--;
    (void)must(ERR_FORMAT, m.in);
    m.in.head++;
    cr_assert_eq(count_in(m.to), 0);
    (void)must(0, m.in);
}

/* A list that changed behind the tree that was made of it. */
Test(files_folder, a_manifest_that_changes)
{
    struct move m;
    tree_made(&m);
    uint8_t *buf = malloc(MIB);
    cr_assert_not_null(buf);
    m.out.kind = XFER_JOB_READ;
    m.out.leaf = 0;
    m.out.buf = m.in.buf = buf;
    m.in.len = must(0, m.out)->len;
    buf[20] ^= 1;
    m.in.kind = XFER_JOB_WRITE;
    m.in.leaf = 0;
    hashtree_leaf(buf, m.in.len, m.in.hash);
    (void)must(ERR_FORMAT, m.in);
    buf[20] ^= 1;
    hashtree_leaf(buf, m.in.len, m.in.hash);
    (void)must(0, m.in);
    free(buf);
}

/* A manifest of more than a leaf, whose end and first contents come in one. */
Test(files_folder, very_many_files)
{
    enum { FILES = 8000, NAME = 150 };
    struct move m;
    char name[NAME + 1];
    memset(name, 'm', NAME);
    name[NAME] = '\0';
    put_dir(at("source/many"));
    for (unsigned i = 0; i < FILES; i++) {
        put_file(at("source/many/%05u%s", i, name), &i, i % 5 == 0 ? 0 : 4);
    }
    move_scan(&m, at("source/many"), 1);
    cr_assert_eq(head_leaves(&m), 2);
    cr_assert_eq(move_count(&m), 2);
    move_open(&m);
    move_leaves(&m, 0, 2);
    move_tree(&m);
    move_finish(&m);
    char command[3 * PATH_MAX];
    (void)snprintf(command, sizeof command, "diff -r '%s' '%s'", at("source/many"), m.to);
    cr_assert_eq(system(command), 0);
}

Test(files_folder, no_room_for_so_many_files)
{
    struct move m;
    put_album();
    move_scan(&m, at("source/album"), 1);
    const uint64_t all = m.in.count;
    m.in.kind = XFER_JOB_OPEN;
    files_left = all + FILES_SPARE_ENTRIES; /* and the folder itself */
    const struct got *g = must(ERR_FULL, m.in);
    cr_assert_not_null(strstr(g->why, "has room for 1"), "%s", g->why);
    cr_assert_not_null(strstr(g->why, "more files"), "%s", g->why);
    cr_assert_eq(count_in(w.downloads), 0);
    files_left++;
    move_open(&m);
    move_leaf(&m, 0);
    m.in.kind = XFER_JOB_TREE;
    files_left = all + FILES_SPARE_ENTRIES - 1; /* others have made some meanwhile */
    (void)must(ERR_FULL, m.in);
    cr_assert_eq(count_in(m.to), 0, "it does not begin what it cannot end");
    files_left++;
    move_tree(&m);
    files_left = 0;
    world_restart();
    move_tree(&m); /* what is there needs no room */
    files_left = UINT64_MAX;
    move_leaves(&m, 1, move_count(&m));
    move_finish(&m);
    same_album(m.to);
}

/* Leaves of the finished one can be given on. */
Test(files_folder, what_came_can_be_read_again)
{
    struct move m;
    put_album();
    move_all(&m, at("source/album"), 1);
    uint8_t *a = malloc(MIB), *b = malloc(MIB);
    cr_assert(a != NULL && b != NULL);
    m.in.path = m.to;
    m.in.kind = m.out.kind = XFER_JOB_READ;
    for (uint32_t i = 0; i < move_count(&m); i++) {
        m.in.leaf = m.out.leaf = i;
        m.in.buf = a;
        m.out.buf = b;
        size_t len = must(0, m.in)->len;
        cr_assert_eq(must(0, m.out)->len, len);
        cr_assert_arr_eq(a, b, len);
    }
    put_file(at("down/loads/album/a/b"), "3", 1);
    m.in.leaf = 1;
    (void)must(ERR_STALE, m.in);
    free(a);
    free(b);
}
