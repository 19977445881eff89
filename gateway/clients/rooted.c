// SPDX-License-Identifier: Apache-2.0
//
// Finding and reading below a root; see rooted.h.

#include "gateway/clients/rooted.h"

#include "mirrors/base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LINKS_MAX = 16, LOOK_TEXT_MAX = 1024 * 1024, NAMES_MAX = 10000 };

bool rooted_open(struct rooted *r, const char *root, struct err *err) {
    *r = (struct rooted){.machine = root[0] == '\0' || strcmp(root, "/") == 0};
    r->fd = open(r->machine ? "/" : root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return r->fd >= 0 || err_set(err, "%s: %s", r->machine ? "/" : root, strerror(errno));
}

void rooted_close(struct rooted *r) {
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
}

static int open_below(const struct rooted *r, const char *path, int flags) {
    struct open_how how = {.flags = (unsigned)(flags | O_CLOEXEC), .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    if (r->plain)
        how.resolve |= RESOLVE_NO_SYMLINKS;
    int fd = (int)syscall(SYS_openat2, r->fd, path, &how, sizeof how);
    if (fd < 0 && r->machine && (errno == ENOSYS || errno == EPERM))
        fd = open(path, flags | O_CLOEXEC);
    return fd;
}

bool rooted_enter(const struct rooted *r, const char *folder, struct rooted *inner, struct err *err) {
    *inner = (struct rooted){.plain = true};
    inner->fd = open_below(r, folder, O_PATH | O_DIRECTORY);
    return inner->fd >= 0 || err_set(err, "%s: %s", folder, strerror(errno));
}

// --- the folder ---

/// The folder at `path`, made step by step if `make`. -1 with errno.
static int open_folder(const struct rooted *r, const char *path, bool make) {
    int fd = open_below(r, path, O_PATH | O_DIRECTORY);
    if (fd >= 0 || errno != ENOENT || !make)
        return fd;
    char *above = mem_strdup(path), *slash = strrchr(above, '/');
    if (slash == NULL || slash == above)
        slash = above;
    char *name = mem_strdup(*slash == '/' ? slash + 1 : above);
    *slash = '\0';
    int parent = open_folder(r, above[0] != '\0' ? above : "/", true);
    bool made = parent >= 0 && (mkdirat(parent, name, 0755) == 0 || errno == EEXIST);
    int cause = errno;
    if (parent >= 0)
        close(parent);
    free(above);
    free(name);
    errno = cause;
    return made ? open_below(r, path, O_PATH | O_DIRECTORY) : -1;
}

static bool split(const char *path, char *folder, char *name) {
    const char *slash = strrchr(path, '/');
    size_t above = slash != NULL ? (size_t)(slash - path) : 0;
    const char *last = slash != NULL ? slash + 1 : path;
    size_t len = strlen(last);
    if (slash == NULL || above >= PATH_MAX || len == 0 || len > NAME_MAX || strcmp(last, ".") == 0 ||
        strcmp(last, "..") == 0)
        return false;
    memcpy(folder, path, above);
    memcpy(folder + above, above == 0 ? "/" : "", above == 0 ? 2 : 1);
    memcpy(name, last, len + 1);
    return true;
}

/// The path that the symbolic link at this place means, from the root. False when it is too long.
static bool follow(const struct rooted_place *place, const char *folder, char *path) {
    char target[PATH_MAX];
    if (!rooted_target(place, target))
        return false;
    if (target[0] == '/') {
        memcpy(path, target, strlen(target) + 1);
        return true;
    }
    int len = snprintf(path, PATH_MAX, "%s/%s", folder, target);
    return len > 0 && len < PATH_MAX;
}

/// A folder that is missing is an error for whoever wanted it made: then a symbolic link leads past it.
static bool no_folder(const char *folder, unsigned flags, struct err *err) {
    if (errno == ELOOP)
        return err_set(err, "a symbolic link leads to it, which is not followed here");
    if (errno != ENOENT)
        return err_set(err, "%s: %s", folder, strerror(errno));
    return (flags & ROOTED_MAKE) == 0 || err_set(err, "a symbolic link leads to %s, which is not there", folder);
}

bool rooted_find(const struct rooted *r, const char *path, unsigned flags, struct rooted_place *place,
                 struct err *err) {
    char at[PATH_MAX], folder[PATH_MAX];
    *place = (struct rooted_place){.folder = -1};
    if (path[0] != '/' || strlen(path) >= sizeof at)
        return err_set(err, "\"%s\" is no path that begins at the root", path);
    memcpy(at, path, strlen(path) + 1);
    for (int links = 0; links < LINKS_MAX; links++) {
        if (!split(at, folder, place->name))
            return err_set(err, "\"%s\" names no file", at);
        place->folder = open_folder(r, folder, links == 0 && (flags & ROOTED_MAKE) != 0);
        if (place->folder < 0)
            return no_folder(folder, flags, err);
        place->exists = fstatat(place->folder, place->name, &place->st, AT_SYMLINK_NOFOLLOW) == 0;
        if (!place->exists && errno != ENOENT)
            break;
        if (!place->exists || !S_ISLNK(place->st.st_mode) || (flags & ROOTED_LINK) != 0)
            return true;
        bool followed = follow(place, folder, at);
        rooted_leave(place);
        if (!followed)
            return err_set(err, "its symbolic link leads nowhere");
    }
    rooted_leave(place);
    return err_set(err, "it cannot be reached, or too many symbolic links follow each other");
}

void rooted_leave(struct rooted_place *place) {
    if (place->folder >= 0)
        close(place->folder);
    place->folder = -1;
}

bool rooted_target(const struct rooted_place *place, char target[PATH_MAX]) {
    ssize_t len = place->folder >= 0 ? readlinkat(place->folder, place->name, target, PATH_MAX - 1) : -1;
    if (len <= 0)
        return false;
    target[len] = '\0';
    return true;
}

// --- reading ---

static bool read_all(int fd, struct buf *text, struct err *err) {
    char block[16 * 1024];
    for (ssize_t len; (len = read(fd, block, sizeof block)) != 0;) {
        if (len < 0 && errno != EINTR)
            return err_set(err, "%s", strerror(errno));
        if (len > 0 && !buf_add(text, block, (size_t)len))
            return err_set(err, "it is longer than %zu bytes", text->max);
    }
    return true;
}

bool rooted_read(const struct rooted_place *place, struct buf *text, struct err *err) {
    int fd = openat(place->folder, place->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, "%s", strerror(errno));
    struct stat st;
    bool plain = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    bool ok = plain ? read_all(fd, text, err) : err_set(err, "it is no plain file");
    close(fd);
    return ok;
}

// --- looking ---

static bool look(const struct rooted *r, const char *path, struct buf *text) {
    struct rooted_place place;
    bool found = rooted_find(r, path, 0, &place, NULL) && place.exists && rooted_read(&place, text, NULL);
    rooted_leave(&place);
    if (!found)
        buf_clear(text);
    return found;
}

bool rooted_look(const char *root, const char *path, struct buf *text) {
    struct rooted r;
    buf_clear(text);
    if (!rooted_open(&r, root, NULL))
        return false;
    bool found = look(&r, path, text);
    rooted_close(&r);
    return found;
}

bool rooted_has(const char *root, const char *path) {
    struct rooted r;
    if (!rooted_open(&r, root, NULL))
        return false;
    int fd = open_below(&r, path, O_PATH);
    if (fd >= 0)
        close(fd);
    rooted_close(&r);
    return fd >= 0;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char **read_names(DIR *folder, size_t *count) {
    char **names = NULL;
    for (struct dirent *e; *count < NAMES_MAX && (e = readdir(folder)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        names = mem_resize(names, *count + 1, sizeof(char *));
        names[(*count)++] = mem_strdup(e->d_name);
    }
    if (names != NULL)
        qsort(names, *count, sizeof(char *), by_name);
    return names;
}

char **rooted_names(const char *root, const char *path, size_t *count) {
    struct rooted r;
    *count = 0;
    if (!rooted_open(&r, root, NULL))
        return NULL;
    int fd = open_below(&r, path, O_RDONLY | O_DIRECTORY);
    rooted_close(&r);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    if (folder == NULL) {
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    char **names = read_names(folder, count);
    closedir(folder);
    return names;
}

void rooted_names_free(char **names, size_t count) {
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
}
