/* Looking at what is to be sent: what it is, what a folder holds, and notes of it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "files_priv.h"

/* Something in a folder: its name there, and the one it is offered under. */
struct item {
    char *name, *fixed;
    struct stat st;
};

/* A folder that is being walked through. */
struct level {
    int fd;
    struct item *v;
    size_t n, cap, next;
    size_t real_len, fixed_len; /* of the paths up to it */
};

struct walk {
    struct files_job *j;
    struct level levels[WIRE_FILE_DEPTH_MAX + 1];
    size_t depth;
    size_t n_items; /* seen so far */
    char real[PATH_MAX], fixed[WIRE_FILE_PATH_MAX + 1];
    struct wr manifest;
    struct files_tree *tree;
    size_t cap;
    struct buf text;
    uint64_t total;
};

static int too_much(struct files_job *j, const char *path, const char *what)
{
    char shown[FILES_SHOWN_MAX + 1];
    return files_fail(j, ERR_LIMIT, "%s %s. Send it in parts, or as an archive.",
                      files_shown(path, shown), what);
}

/* ---- one folder ---- */

static void level_release(struct level *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->v[i].name);
        free(l->v[i].fixed);
    }
    free(l->v);
    (void)files_close(&l->fd);
    *l = (struct level){.fd = -1};
}

static int by_fixed(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    return strcmp(x->fixed, y->fixed);
}

static int add_item(struct walk *w, struct level *l, const char *name,
                    const struct stat *st)
{
    char fixed[WIRE_FILE_NAME_MAX + 1];
    if (++w->n_items > WIRE_FILE_ENTRIES_MAX) {
        return too_much(w->j, w->j->in.path, "holds too many files");
    }
    if (l->n == l->cap) {
        size_t cap = l->cap == 0 ? 16 : 2 * l->cap;
        struct item *v = realloc(l->v, cap * sizeof *v);
        if (v == NULL) {
            return ERR_NOMEM;
        }
        l->v = v;
        l->cap = cap;
    }
    wire_file_name_fix(name, fixed);
    struct item *it = &l->v[l->n];
    *it = (struct item){.name = strdup(name), .fixed = strdup(fixed), .st = *st};
    l->n++;
    return it->name == NULL || it->fixed == NULL ? ERR_NOMEM : 0;
}

/* Takes in what is in the folder: files and folders, the rest is left out. */
static int list(struct walk *w, struct level *l)
{
    int copy = fcntl(l->fd, F_DUPFD_CLOEXEC, 0);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    if (d == NULL) {
        int e = errno;
        (void)files_close(&copy);
        return files_fail_errno(w->j, e, "cannot be read", w->real);
    }
    int err = 0;
    for (;;) {
        errno = 0;
        struct dirent *e = readdir(d);
        if (e == NULL) {
            err =
                errno == 0 ? 0 : files_fail_errno(w->j, errno, "cannot be read", w->real);
            break;
        }
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
            continue;
        }
        if (fstatat(l->fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
            if (errno == ENOENT) { /* it went meanwhile */
                continue;
            }
            err = files_fail_errno(w->j, errno, "cannot be read", e->d_name);
            break;
        }
        if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) {
            err = add_item(w, l, e->d_name, &st);
        }
        if (err != 0) {
            break;
        }
    }
    (void)closedir(d);
    return err;
}

static int sort(struct walk *w, struct level *l)
{
    if (l->n > 0) {
        qsort(l->v, l->n, sizeof *l->v, by_fixed);
    }
    for (size_t i = 1; i < l->n; i++) {
        if (strcmp(l->v[i].fixed, l->v[i - 1].fixed) == 0) {
            char a[FILES_SHOWN_MAX + 1], b[FILES_SHOWN_MAX + 1];
            return files_fail(w->j, ERR_ARG,
                              "%s and %s in the same folder get the same name when what "
                              "other systems cannot have in names is taken out. Rename "
                              "one of them.",
                              files_shown(l->v[i - 1].name, a),
                              files_shown(l->v[i].name, b));
        }
    }
    return 0;
}

static int home_in_it(struct files_job *j)
{
    return files_fail(
        j, ERR_REFUSED,
        "This is, or holds, the home of this node (%s), in which its secret "
        "key lies: it is not sent. Choose something else.",
        files_shown(j->f->home, (char[FILES_SHOWN_MAX + 1]){0}));
}

/* Takes fd over. */
static int go_in(struct walk *w, int fd, size_t real_len, size_t fixed_len)
{
    struct level *l = &w->levels[w->depth++];
    *l = (struct level){.fd = fd, .real_len = real_len, .fixed_len = fixed_len};
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return files_fail_errno(w->j, errno, "cannot be read", w->real);
    }
    if (st.st_dev == w->j->f->home_dev && st.st_ino == w->j->f->home_inode) {
        return home_in_it(w->j);
    }
    int err = list(w, l);
    return err == 0 ? sort(w, l) : err;
}

/* ---- all of it ---- */

/* The path of something in a folder, both ways. */
static int set_paths(struct walk *w, const struct level *l, const struct item *it)
{
    int real = snprintf(w->real + l->real_len, sizeof w->real - l->real_len, "%s%s",
                        l->real_len == 0 ? "" : "/", it->name);
    int fixed = snprintf(w->fixed + l->fixed_len, sizeof w->fixed - l->fixed_len, "%s%s",
                         l->fixed_len == 0 ? "" : "/", it->fixed);
    if (real < 0 || (size_t)real >= sizeof w->real - l->real_len || fixed < 0 ||
        (size_t)fixed >= sizeof w->fixed - l->fixed_len) {
        return too_much(w->j, it->name, "lies too deep in the folder");
    }
    return 0;
}

/* Notes the entry whose paths are set. */
static int add_entry(struct walk *w, const struct item *it)
{
    bool folder = S_ISDIR(it->st.st_mode);
    struct files_tree *t = w->tree;
    struct wire_manifest_entry e = {.flags = folder ? MANIFEST_FOLDER
                                             : (it->st.st_mode & S_IXUSR) != 0
                                                 ? MANIFEST_EXEC
                                                 : 0,
                                    .size = folder ? 0 : (uint64_t)it->st.st_size,
                                    .path = (const uint8_t *)w->fixed,
                                    .path_len = strlen(w->fixed)};
    if (t->n == w->cap) {
        size_t cap = w->cap == 0 ? 64 : 2 * w->cap;
        struct files_entry *v = realloc(t->v, cap * sizeof *v);
        if (v == NULL) {
            return ERR_NOMEM;
        }
        t->v = v;
        w->cap = cap;
    }
    wire_manifest_put(&w->manifest, &e);
    int err = buf_append(&w->text, w->real, strlen(w->real) + 1);
    if (!wr_ok(&w->manifest) || err == ERR_LIMIT) {
        return too_much(w->j, w->j->in.path, "holds too many files");
    }
    if (err != 0) {
        return err;
    }
    if (e.size > WIRE_FILE_SIZE_MAX || w->total > WIRE_FILE_SIZE_MAX - e.size) {
        return too_much(w->j, w->j->in.path, "is too large");
    }
    w->total += e.size;
    struct files_entry *n = &t->v[t->n++];
    *n = (struct files_entry){.size = e.size, .folder = folder};
    files_id_of(&it->st, &n->id);
    return 0;
}

static int enter_item(struct walk *w, const struct level *l, const struct item *it)
{
    if (w->depth > WIRE_FILE_DEPTH_MAX) {
        return too_much(w->j, it->name, "lies too deep in the folder");
    }
    int err = set_paths(w, l, it);
    if (err == 0) {
        err = add_entry(w, it);
    }
    if (err != 0) {
        return err;
    }
    if (!S_ISDIR(it->st.st_mode)) {
        return faccessat(l->fd, it->name, R_OK, AT_EACCESS) == 0
                   ? 0
                   : files_fail_errno(w->j, errno, "cannot be read", w->real);
    }
    int fd = openat(l->fd, it->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? files_fail_errno(w->j, errno, "cannot be read", w->real)
                  : go_in(w, fd, strlen(w->real), strlen(w->fixed));
}

/* In the order of the manifest: each folder's own in order, and what is in one right
 * behind it. */
static int walk_all(struct walk *w, int top)
{
    int err = go_in(w, top, 0, 0);
    while (err == 0 && w->depth > 0) {
        struct level *l = &w->levels[w->depth - 1];
        if (files_given_up(w->j)) {
            err = ERR_CLOSED;
        } else if (l->next == l->n) {
            level_release(l);
            w->depth--;
        } else {
            err = enter_item(w, l, &l->v[l->next++]);
        }
    }
    while (w->depth > 0) {
        level_release(&w->levels[--w->depth]);
    }
    return err;
}

/* Places and paths, now that the manifest's length is known and no text moves. */
static void settle(struct walk *w)
{
    const char *p = (const char *)buf_data(&w->text);
    uint64_t at = w->manifest.len;
    for (uint32_t i = 0; i < w->tree->n; i++) {
        struct files_entry *e = &w->tree->v[i];
        e->start = at;
        e->path = p;
        at += e->size;
        p += strlen(p) + 1;
    }
    w->tree->head = w->manifest.len;
    w->tree->size = at;
}

static int scan_folder(struct files_job *j, int fd)
{
    struct walk *w = calloc(1, sizeof *w);
    uint8_t *manifest = malloc(WIRE_MANIFEST_MAX);
    struct files_tree *t = calloc(1, sizeof *t);
    int err = ERR_NOMEM;
    if (w == NULL || manifest == NULL || t == NULL) {
        (void)files_close(&fd);
        goto out;
    }
    w->j = j;
    w->tree = t;
    w->manifest = wr_init(manifest, WIRE_MANIFEST_MAX);
    buf_init(&w->text, FILES_NOTES_MAX);
    err = walk_all(w, fd);
    if (err == 0 && w->total > WIRE_FILE_SIZE_MAX - w->manifest.len) {
        err = too_much(j, j->in.path, "is too large");
    }
    if (err == 0) {
        settle(w);
        err = files_kept_write(j, "manifest", manifest, w->manifest.len);
    }
    if (err == 0) {
        err = files_notes_write(j, t);
    }
    if (err == 0) {
        j->out.file_kind = FILE_FOLDER;
        j->out.size = t->size;
        j->out.head = t->head;
        j->out.count = t->n;
    }
out:
    if (w != NULL) {
        buf_release(&w->text);
    }
    free(w);
    free(manifest);
    files_tree_free(t);
    return err;
}

static int scan_plain(struct files_job *j, const struct stat *st)
{
    struct files_entry e = {.size = (uint64_t)st->st_size, .path = ""};
    struct files_tree t = {.v = &e, .n = 1, .size = e.size};
    if (e.size > WIRE_FILE_SIZE_MAX) {
        return too_much(j, j->in.path, "is too large");
    }
    files_id_of(st, &e.id);
    j->out.file_kind = FILE_PLAIN;
    j->out.size = e.size;
    j->out.exec = (st->st_mode & S_IXUSR) != 0;
    return files_notes_write(j, &t);
}

static int scan_stream(struct files_job *j)
{
    char name[FILES_KEPT_MAX];
    int fd = files_kept_open(j, "spool", O_WRONLY | O_CREAT | O_EXCL);
    files_kept_name(j->o, "spool", name);
    if (fd < 0 || !files_close(&fd) || !files_sync_dir(j->f->dir_fd)) {
        return files_fail_errno(j, errno, "cannot be written", j->f->dir);
    }
    if (!files_join(j->path, j->f->dir, name)) {
        return files_fail_errno(j, ENAMETOOLONG, "cannot be used", j->f->dir);
    }
    wire_file_name_fix(j->in.name == NULL ? "" : j->in.name, j->name);
    j->out.file_kind = FILE_STREAM;
    return 0;
}

/* ---- which one ---- */

static bool lies_in(const char *path, const char *dir)
{
    size_t len = strlen(dir);
    return strncmp(path, dir, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

/* Opens what the user named, a symbolic link too; nothing but files and folders, so that
 * opening does not wait and has no effect. */
static int open_named(struct files_job *j, struct stat *st, int *out)
{
    char real[PATH_MAX];
    if (realpath(j->in.path, real) == NULL || stat(real, st) != 0) {
        return files_fail_errno(j, errno, "cannot be sent", j->in.path);
    }
    if (!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode)) {
        return files_fail(
            j, ERR_ARG,
            "%s is neither a file nor a folder. To send what comes out of a "
            "program, pipe it in.",
            files_shown(j->in.path, (char[FILES_SHOWN_MAX + 1]){0}));
    }
    if (lies_in(real, j->f->home)) {
        return home_in_it(j);
    }
    int fd = open(real, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    mode_t type = st->st_mode & S_IFMT;
    if (fd < 0 || fstat(fd, st) != 0 || (st->st_mode & S_IFMT) != type) {
        int e = fd < 0 ? errno : ENOENT;
        (void)files_close(&fd);
        return files_fail_errno(j, e, "cannot be sent", j->in.path);
    }
    const char *slash = strrchr(j->path, '/');
    const char *last = slash + 1;
    if (*last == '\0' || strcmp(last, ".") == 0 || strcmp(last, "..") == 0) {
        last = strrchr(real, '/') + 1;
    }
    wire_file_name_fix(j->in.name != NULL ? j->in.name : last, j->name);
    *out = fd;
    return 0;
}

static int scan_path(struct files_job *j)
{
    struct stat st;
    int fd;
    size_t len = strlen(j->in.path);
    if (j->in.path[0] != '/' || len >= sizeof j->path) {
        return files_fail(j, ERR_ARG,
                          "The path of what is to be sent is not usable: it has "
                          "to begin with / and must not be too long.");
    }
    while (len > 1 && j->in.path[len - 1] == '/') {
        len--;
    }
    memcpy(j->path, j->in.path, len);
    j->path[len] = '\0';
    int err = open_named(j, &st, &fd);
    if (err != 0) {
        return err;
    }
    if (S_ISDIR(st.st_mode)) {
        return scan_folder(j, fd);
    }
    (void)files_close(&fd);
    return scan_plain(j, &st);
}

int files_scan(struct files_job *j)
{
    int err = j->in.path == NULL ? scan_stream(j) : scan_path(j);
    if (err != 0) {
        (void)files_kept_remove(j);
        return err;
    }
    j->out.name = j->name;
    j->out.path = j->path;
    return 0;
}
