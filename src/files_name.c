/* Where an incoming file goes, and what it is called there. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "files_priv.h"
#include "home.h"

enum {
    ENDING_MAX = 16, /* bytes of what counts as an ending, its dot among them */
    NUMBER_MAX = 16, /* " (1000)" */
};

/* Where the ending begins: ".odt", ".tar.gz"; at the end when there is none. */
static size_t ending_of(const char *name)
{
    size_t len = strlen(name);
    const char *dot = strrchr(name, '.');
    if (dot == NULL || dot == name || len - (size_t)(dot - name) > ENDING_MAX ||
        strchr(dot, ' ') != NULL) {
        return len;
    }
    static const char tar[] = ".tar";
    size_t at = (size_t)(dot - name), n = sizeof tar - 1;
    return at > n && strncmp(dot - n, tar, n) == 0 ? at - n : at;
}

void files_numbered(const char *name, bool folder, unsigned n, size_t room,
                    char out[WIRE_FILE_NAME_MAX + 1])
{
    char number[NUMBER_MAX] = "";
    if (n > 0) {
        (void)snprintf(number, sizeof number, " (%u)", n);
    }
    size_t len = strlen(name), stem = folder ? len : ending_of(name);
    const char *ending = name + stem;
    size_t rest = len - stem + strlen(number) + room; /* far below the limit */
    if (stem + rest > WIRE_FILE_NAME_MAX) {
        stem = WIRE_FILE_NAME_MAX - rest;
        while (stem > 0 && ((uint8_t)name[stem] & 0xc0) == 0x80) {
            stem--; /* no half characters */
        }
    }
    (void)snprintf(out, WIRE_FILE_NAME_MAX + 1, "%.*s%s%s", (int)stem, name, number,
                   ending);
}

bool files_is_part(const char *path)
{
    size_t len = strlen(path), n = sizeof FILES_PART - 1;
    return len > n && strcmp(path + len - n, FILES_PART) == 0;
}

/* Without slashes at the end. */
static bool strip(const char *path, char out[PATH_MAX])
{
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/') {
        len--;
    }
    if (path[0] != '/' || len >= PATH_MAX) {
        return false;
    }
    memcpy(out, path, len);
    out[len] = '\0';
    return true;
}

static void offered_name(const struct files_job *j, char name[WIRE_FILE_NAME_MAX + 1])
{
    wire_file_name_fix(j->in.name == NULL ? "" : j->in.name, name);
}

static int place_by_default(struct files_job *j, char dir[PATH_MAX])
{
    const char *downloads = j->downloads == NULL ? "" : j->downloads;
    if (!strip(downloads, dir)) {
        return files_fail(j, ERR_IO,
                          "There is no usable download folder: set it in the "
                          "configuration, or say where to.");
    }
    errno = 0;
    if (home_make_dirs(dir) != 0) {
        return files_fail_errno(j, errno == ENOENT ? EIO : errno, "cannot be made", dir);
    }
    return 0;
}

int files_place(struct files_job *j, char dir[PATH_MAX],
                char name[WIRE_FILE_NAME_MAX + 1])
{
    struct stat st;
    offered_name(j, name);
    if (j->in.dest == NULL) {
        return place_by_default(j, dir);
    }
    char shown[FILES_SHOWN_MAX + 1];
    if (!strip(j->in.dest, dir)) {
        return files_fail(j, ERR_ARG,
                          "%s is no place for it: give a path that begins "
                          "with / and is not too long.",
                          files_shown(j->in.dest, shown));
    }
    if (stat(dir, &st) == 0 && S_ISDIR(st.st_mode)) {
        return 0;
    }
    char *slash = strrchr(dir, '/');
    const char *last = slash + 1;
    if (strlen(last) > WIRE_FILE_NAME_MAX || strcmp(last, ".") == 0 ||
        strcmp(last, "..") == 0) {
        return files_fail(j, ERR_ARG, "%s is no name for it: choose another one.",
                          files_shown(j->in.dest, shown));
    }
    (void)snprintf(name, WIRE_FILE_NAME_MAX + 1, "%s", last);
    slash[slash == dir ? 1 : 0] = '\0';
    if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode)) {
        return files_fail(j, ERR_IO,
                          "The folder %s, where it should go, is not there. Make "
                          "it, then it goes on.",
                          files_shown(dir, shown));
    }
    return 0;
}

void files_wanted(const struct files_job *j, const char *dir,
                  char name[WIRE_FILE_NAME_MAX + 1])
{
    char dest[PATH_MAX];
    offered_name(j, name);
    if (j->in.dest != NULL && strip(j->in.dest, dest) && strcmp(dest, dir) != 0) {
        (void)snprintf(name, WIRE_FILE_NAME_MAX + 1, "%s", strrchr(dest, '/') + 1);
    }
}
