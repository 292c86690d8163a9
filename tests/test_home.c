#include <criterion/criterion.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "home.h"

static char dir[64], at[128], why[HOME_WHY_MAX];
static struct home h;

static void make_dir(void)
{
    cr_assert_geq(sodium_init(), 0);
    strcpy(dir, "/tmp/linnet-home-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    (void)snprintf(at, sizeof at, "%s/a/b", dir);
    (void)unsetenv("XDG_RUNTIME_DIR");
    (void)unsetenv("LINNET_HOME");
    why[0] = '\0';
}

static void drop_dir(void)
{
    char command[128];
    home_release(&h);
    (void)snprintf(command, sizeof command, "rm -rf %s", dir);
    cr_expect_eq(system(command), 0);
}

TestSuite(home, .init = make_dir, .fini = drop_dir);

static unsigned mode_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? st.st_mode & 0777 : 0;
}

Test(home, made_with_its_parents_for_us_alone)
{
    (void)umask(0);
    cr_assert_eq(home_init(&h, at, true, why), 0, "%s", why);
    cr_expect_str_eq(h.dir, at);
    cr_expect_eq(mode_of(at), 0700);
    cr_assert_eq(home_lock(&h, why), 0, "%s", why);
    cr_assert_eq(home_make_run(&h, why), 0, "%s", why);
    cr_expect_eq(mode_of(h.run), 0700);
    cr_expect_eq(mode_of(at), 0700);
}

Test(home, not_made_unasked)
{
    cr_expect_eq(home_init(&h, at, false, why), ERR_NOTFOUND);
    cr_expect_neq(why[0], '\0');
    cr_expect_str_eq(h.dir, at);
    cr_expect_eq(mode_of(at), 0);
}

Test(home, a_readable_home_is_closed)
{
    cr_assert_eq(mkdir(dir, 0700) == 0 || mode_of(dir) != 0, true);
    cr_assert_eq(chmod(dir, 0755), 0);
    cr_assert_eq(home_init(&h, dir, true, why), 0, "%s", why);
    cr_assert_eq(home_lock(&h, why), 0, "%s", why);
    cr_expect_eq(mode_of(dir), 0700);
}

Test(home, paths_by_environment)
{
    cr_assert_eq(setenv("LINNET_HOME", at, 1), 0);
    cr_assert_eq(setenv("XDG_RUNTIME_DIR", dir, 1), 0);
    cr_assert_eq(home_init(&h, NULL, true, why), 0, "%s", why);
    cr_expect_str_eq(h.dir, at);
    char want[256];
    (void)snprintf(want, sizeof want, "%s/config.ini", at);
    cr_expect_str_eq(h.config, want, "a home that was named has its own configuration");
    unsigned char hash[32];
    (void)crypto_generichash(hash, sizeof hash, (unsigned char *)at, strlen(at), NULL, 0);
    (void)snprintf(want, sizeof want, "ipc://%s/linnet/%02x%02x%02x%02x/api", dir,
                   hash[0], hash[1], hash[2], hash[3]);
    cr_expect_str_eq(h.api, want);
}

Test(home, default_paths)
{
    cr_assert_eq(setenv("HOME", dir, 1), 0);
    (void)unsetenv("XDG_DATA_HOME");
    (void)unsetenv("XDG_CONFIG_HOME");
    cr_assert_eq(home_init(&h, NULL, true, why), 0, "%s", why);
    char want[256];
    (void)snprintf(want, sizeof want, "%s/.local/share/linnet", dir);
    cr_expect_str_eq(h.dir, want);
    (void)snprintf(want, sizeof want, "%s/.config/linnet/config.ini", dir);
    cr_expect_str_eq(h.config, want);
}

Test(home, one_node_a_home)
{
    cr_assert_eq(home_init(&h, at, true, why), 0);
    cr_assert_eq(home_lock(&h, why), 0);
    struct home second;
    cr_assert_eq(home_init(&second, at, true, why), 0);
    cr_expect_eq(home_lock(&second, why), ERR_BUSY);
    char pid[24];
    (void)snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    cr_expect(strstr(why, pid) != NULL, "%s", why);
    home_release(&h);
    cr_expect_eq(home_lock(&second, why), 0, "%s", why);
    home_release(&second);
}

Test(home, a_dead_holder_keeps_nothing)
{
    cr_assert_eq(home_init(&h, at, true, why), 0);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        _exit(home_lock(&h, why) == 0 ? 0 : 1); /* ends with the lock held */
    }
    int status = 1;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    cr_expect_eq(home_lock(&h, why), 0, "%s", why);
}

Test(home, stale_sockets_go)
{
    cr_assert_eq(home_init(&h, at, true, why), 0);
    cr_assert_eq(home_make_run(&h, why), 0, "%s", why);
    char path[HOME_PATH_MAX + 8];
    (void)snprintf(path, sizeof path, "%s/api", h.run);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    cr_assert_geq(fd, 0);
    (void)close(fd);
    cr_assert_eq(home_make_run(&h, why), 0, "%s", why);
    cr_expect_neq(access(path, F_OK), 0);
    home_clear_run(&h);
    cr_expect_neq(access(h.run, F_OK), 0);
}

Test(home, a_run_folder_that_is_a_link_is_refused)
{
    cr_assert_eq(home_init(&h, at, true, why), 0);
    cr_assert_eq(symlink("/tmp", h.run), 0);
    cr_expect_eq(home_make_run(&h, why), ERR_IO);
}

/* In a shared place somebody else may have been there before us. */
Test(home, a_run_folder_in_others_hands_is_refused)
{
    char shared[HOME_PATH_MAX], theirs[HOME_PATH_MAX];
    (void)snprintf(shared, sizeof shared, "%s/linnet", dir);
    (void)snprintf(theirs, sizeof theirs, "%s/theirs", dir);
    cr_assert_eq(setenv("XDG_RUNTIME_DIR", dir, 1), 0);
    cr_assert_eq(home_init(&h, at, true, why), 0);
    cr_assert_eq(mkdir(theirs, 0777), 0);
    cr_assert_eq(symlink(theirs, shared), 0);
    cr_expect_eq(home_make_run(&h, why), ERR_IO, "a link to a folder");
    cr_assert_eq(unlink(shared), 0);
    cr_assert_eq(mkdir(shared, 0777), 0);
    cr_assert_eq(chmod(shared, 0777), 0);
    cr_expect_eq(home_make_run(&h, why), 0, "%s", why);
    cr_expect_eq(mode_of(shared), 0700, "nobody else may change what is in it");
    home_clear_run(&h);
    if (geteuid() == 0 && chown(shared, 65534, 65534) == 0) {
        cr_expect_eq(home_make_run(&h, why), ERR_IO, "somebody else's");
    }
    (void)unsetenv("XDG_RUNTIME_DIR");
}

Test(home, key_file)
{
    uint8_t key[KEYFILE_MAX + 1], got[KEYFILE_MAX];
    size_t len = 0;
    cr_assert_eq(home_init(&h, at, true, why), 0);
    cr_expect_eq(home_read_key(&h, got, &len), ERR_NOTFOUND);
    randombytes_buf(key, sizeof key);
    cr_assert_eq(home_write_key(&h, key, KEYFILE_MAX), 0);
    cr_expect_eq(mode_of(h.key), 0600);
    cr_assert_eq(home_read_key(&h, got, &len), 0);
    cr_expect(len == KEYFILE_MAX && memcmp(got, key, len) == 0);
    cr_assert_eq(home_write_key(&h, key, 10), 0);
    cr_assert_eq(home_read_key(&h, got, &len), 0);
    cr_expect_eq(len, 10, "a shorter one replaces it whole");
    cr_assert_eq(home_write_file(h.key, key, sizeof key), 0);
    cr_expect_eq(home_read_key(&h, got, &len), ERR_CORRUPT);
    cr_expect_eq(len, 10, "outputs stay as they were");
}

Test(home, a_failed_write_keeps_the_old_file)
{
    char tmp[HOME_PATH_MAX + 8];
    uint8_t got[KEYFILE_MAX];
    size_t len = 0;
    cr_assert_eq(home_init(&h, at, true, why), 0);
    cr_assert_eq(home_write_key(&h, (const uint8_t *)"old", 3), 0);
    /* A folder in the temporary file's place cannot be removed or opened. */
    (void)snprintf(tmp, sizeof tmp, "%s.tmp", h.key);
    cr_assert_eq(mkdir(tmp, 0700), 0);
    cr_expect_eq(home_write_key(&h, (const uint8_t *)"new", 3), ERR_IO);
    cr_assert_eq(home_read_key(&h, got, &len), 0);
    cr_expect(len == 3 && memcmp(got, "old", 3) == 0);
}

Test(home, too_long_paths)
{
    char *deep = malloc(HOME_PATH_MAX + 2);
    cr_assert_not_null(deep);
    memset(deep, 'a', HOME_PATH_MAX + 1);
    deep[HOME_PATH_MAX + 1] = '\0';
    cr_expect_eq(home_init(&h, deep, true, why), ERR_LIMIT);
    /* A Unix socket's path is short. */
    (void)snprintf(deep, HOME_PATH_MAX, "%s/%0120d", dir, 1);
    cr_expect_eq(home_init(&h, deep, true, why), ERR_LIMIT);
    cr_expect(strstr(why, "XDG_RUNTIME_DIR") != NULL, "%s", why);
    free(deep);
}
