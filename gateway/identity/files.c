// SPDX-License-Identifier: Apache-2.0
//
// Files that are read again when they change.

#include "gateway/identity/inside.h"

#include "mirrors/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct file_print file_print_of(const char *path) {
    struct stat st;
    if (path == NULL || stat(path, &st) != 0)
        return (struct file_print){.there = false};
    return (struct file_print){true, st.st_dev, st.st_ino, st.st_size, st.st_mtim, st.st_ctim};
}

static bool same_time(const struct timespec *a, const struct timespec *b) {
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

bool file_print_equal(const struct file_print *a, const struct file_print *b) {
    return a->there == b->there && a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
           same_time(&a->modified, &b->modified) && same_time(&a->changed, &b->changed);
}

static bool fits(int fd, size_t max, bool secret, struct stat *st, struct err *err) {
    if (fstat(fd, st) != 0)
        return err_set(err, "%s", strerror(errno));
    if (!S_ISREG(st->st_mode) || st->st_size < 0 || (size_t)st->st_size > max)
        return err_set(err, "not a regular file of at most %zu bytes", max);
    if (secret && (st->st_mode & S_IRWXO) != 0)
        return err_set(err, "others may read it: chmod o-rwx");
    return true;
}

char *file_read(const char *path, size_t max, bool secret, size_t *len, struct err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    char *data = NULL;
    bool ok = fd >= 0 ? fits(fd, max, secret, &st, err) : err_set(err, "%s", strerror(errno));
    if (ok) {
        size_t size = (size_t)st.st_size, at = 0;
        data = mem_alloc(size + 1);
        for (ssize_t n; at < size && ((n = read(fd, data + at, size - at)) > 0 || (n < 0 && errno == EINTR));)
            at += n > 0 ? (size_t)n : 0;
        data[at] = '\0';
        *len = at;
    }
    if (fd >= 0)
        close(fd);
    if (!ok)
        err_prefix(err, "%s: ", path);
    return data;
}
