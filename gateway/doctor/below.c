// SPDX-License-Identifier: Apache-2.0
//
// Looking at files below a root. openat2() keeps symbolic links inside; a kernel without it (before 5.6) is asked the
// plain way.

#include "gateway/doctor/below.h"

#include "mirrors/base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool is_machine(const char *root) {
    return root[0] == '\0' || strcmp(root, "/") == 0;
}

static int open_inside(int folder, const char *path, int flags) {
    struct open_how how = {.flags = (unsigned)flags, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    return (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
}

static int open_plainly(const char *root, const char *path, int flags) {
    char *whole = mem_printf("%s%s", root, path);
    int fd = open(whole, flags);
    free(whole);
    return fd;
}

static int open_below(const char *root, const char *path, int flags) {
    flags |= O_CLOEXEC | ((flags & O_PATH) != 0 ? 0 : O_NONBLOCK); // openat2() wants no more than that with O_PATH
    if (is_machine(root))
        return open(path, flags);
    int folder = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return -1;
    int fd = open_inside(folder, path, flags);
    int saved = errno;
    close(folder);
    if (fd < 0 && saved == ENOSYS)
        return open_plainly(root, path, flags);
    errno = saved;
    return fd;
}

static enum below from_errno(int number) {
    switch (number) {
    case ENOENT:
    case ENOTDIR:
        return BELOW_MISSING;
    case EACCES:
    case EPERM:
        return BELOW_FORBIDDEN;
    default:
        return BELOW_UNUSABLE;
    }
}

static enum below read_all(int fd, struct buf *out) {
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return BELOW_UNUSABLE;
    char piece[16 * 1024];
    for (;;) {
        ssize_t got = read(fd, piece, sizeof piece);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return from_errno(errno);
        if (got == 0)
            return BELOW_OK;
        if (!buf_add(out, piece, (size_t)got))
            return BELOW_UNUSABLE;
    }
}

enum below below_text(const char *root, const char *path, struct buf *out) {
    buf_init(out, BELOW_TEXT_MAX);
    buf_add(out, "", 0);
    int fd = open_below(root, path, O_RDONLY);
    enum below result = fd < 0 ? from_errno(errno) : read_all(fd, out);
    if (fd >= 0)
        close(fd);
    if (result != BELOW_OK || out->data == NULL) {
        buf_clear(out);
        buf_adds(out, "");
    }
    return result;
}

enum below below_folder(const char *root, const char *path, struct names *out) {
    int fd = open_below(root, path, O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return from_errno(errno);
    DIR *folder = fdopendir(fd);
    if (folder == NULL) {
        close(fd);
        return BELOW_UNUSABLE;
    }
    for (const struct dirent *entry; out->count < BELOW_FOLDER_MAX && (entry = readdir(folder)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            names_add(out, entry->d_name);
    closedir(folder);
    names_sort(out);
    return BELOW_OK;
}

static bool ends_with(const char *name, const char *suffix) {
    size_t len = strlen(name), end = strlen(suffix);
    return len > end && strcmp(name + len - end, suffix) == 0;
}

void below_matching(const char *root, const char *folder, const char *suffix, struct names *paths) {
    struct names all = {0};
    below_folder(root, folder, &all);
    for (size_t i = 0; i < all.count; i++) {
        if (!ends_with(all.at[i], suffix))
            continue;
        char *path = mem_printf("%s/%s", folder, all.at[i]);
        names_add(paths, path);
        free(path);
    }
    names_deinit(&all);
}

static bool stat_below(const char *root, const char *path, struct stat *st) {
    int fd = open_below(root, path, O_PATH);
    if (fd < 0)
        return false;
    bool known = fstat(fd, st) == 0;
    close(fd);
    return known;
}

bool below_is_folder(const char *root, const char *path) {
    struct stat st;
    return stat_below(root, path, &st) && S_ISDIR(st.st_mode);
}

bool below_is_there(const char *root, const char *path) {
    struct stat st;
    return stat_below(root, path, &st);
}

bool below_is_hidden(const char *root, const char *path) {
    int fd = open_below(root, path, O_PATH);
    if (fd >= 0)
        close(fd);
    return fd < 0 && from_errno(errno) == BELOW_FORBIDDEN;
}

int64_t below_changed(const char *root, const char *path) {
    struct stat st;
    return stat_below(root, path, &st) ? (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000 : 0;
}

const char *below_words(enum below result) {
    switch (result) {
    case BELOW_OK:
        return "it can be read";
    case BELOW_MISSING:
        return "there is none";
    case BELOW_FORBIDDEN:
        return "it may not be read by this user";
    default:
        return "it is no plain file, or too long for one";
    }
}
