// SPDX-License-Identifier: Apache-2.0
//
// Files of the state directory.

#include "certs/state.h"

#include "mirrors/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DIRECTORY_MODE = 0700, SECRET_MODE = 0600, PUBLIC_MODE = 0644 };

static enum state_result fail(struct err *err, const char *path, const char *what) {
    err_set(err, "%s: %s", path, what);
    return STATE_FAILED;
}

/// The folders above it are the site's to make readable; only the last one is ours.
static bool make_folders(const char *directory) {
    char *path = mem_strdup(directory);
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, 0755) != 0 && errno != EEXIST)
            break;
        *slash = '/';
    }
    bool ok = mkdir(path, DIRECTORY_MODE) == 0 || errno == EEXIST;
    free(path);
    return ok;
}

enum state_result state_directory(const char *directory, bool make, struct err *err) {
    struct stat st;
    if (stat(directory, &st) != 0) {
        if (errno != ENOENT)
            return fail(err, directory, strerror(errno));
        if (!make) {
            err_set(err, "%s: there is no such directory", directory);
            return STATE_MISSING;
        }
        if (!make_folders(directory) || stat(directory, &st) != 0)
            return fail(err, directory, strerror(errno));
    }
    if (!S_ISDIR(st.st_mode))
        return fail(err, directory, "not a directory");
    if (st.st_uid != geteuid() && geteuid() != 0)
        return fail(err, directory, "belongs to another user");
    if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return fail(err, directory, "others may look into it: chmod 0700");
    return STATE_OK;
}

static char *path_of(const char *directory, const char *name) {
    return mem_printf("%s/%s", directory, name);
}

// --- reading ---

static bool read_whole(int fd, char *data, size_t len) {
    for (size_t at = 0; at < len;) {
        ssize_t n = read(fd, data + at, len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += (size_t)n;
    }
    return true;
}

static enum state_result read_open(int fd, const char *path, mode_t others, char **out, size_t *len, struct err *err) {
    struct stat st;
    if (fstat(fd, &st) != 0)
        return fail(err, path, strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_size > STATE_FILE_MAX)
        return fail(err, path, "not a regular file of a fitting size");
    if ((st.st_mode & others) != 0)
        return fail(err, path, "others may read it: chmod 0600");
    *len = (size_t)st.st_size;
    *out = mem_alloc(*len + 1);
    (*out)[*len] = '\0';
    if (read_whole(fd, *out, *len))
        return STATE_OK;
    state_free(*out, *len);
    *out = NULL;
    return fail(err, path, "cannot be read to its end");
}

static enum state_result read_path(const char *path, int flags, mode_t others, char **out, size_t *len,
                                   struct err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | flags);
    if (fd < 0) {
        int saved = errno;
        fail(err, path, strerror(saved));
        return saved == ENOENT ? STATE_MISSING : STATE_FAILED;
    }
    enum state_result result = read_open(fd, path, others, out, len, err);
    close(fd);
    return result;
}

enum state_result state_read(const char *directory, const char *name, bool secret, char **out, size_t *len,
                             struct err *err) {
    char *path = path_of(directory, name);
    enum state_result result = read_path(path, O_NOFOLLOW, secret ? S_IRWXG | S_IRWXO : 0, out, len, err);
    free(path);
    return result;
}

enum state_result state_read_site(const char *path, bool secret, char **out, size_t *len, struct err *err) {
    return read_path(path, 0, secret ? S_IRWXO : 0, out, len, err);
}

void state_free(char *data, size_t len) {
    if (data != NULL)
        OPENSSL_cleanse(data, len);
    free(data);
}

// --- writing ---

static bool write_whole(int fd, const char *data, size_t len) {
    for (size_t at = 0; at < len;) {
        ssize_t n = write(fd, data + at, len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += (size_t)n;
    }
    return fsync(fd) == 0;
}

static void sync_folder(const char *directory) {
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    fsync(fd);
    close(fd);
}

/// Where root writes into another's directory the file is that one's.
static bool give_owner(int fd, const char *directory) {
    struct stat st;
    return geteuid() != 0 || (stat(directory, &st) == 0 && fchown(fd, st.st_uid, st.st_gid) == 0);
}

/// Under its name: rename() replaces, link() does not.
static enum state_result give_name(const char *aside, const char *path, bool replace, struct err *err) {
    if ((replace ? rename(aside, path) : link(aside, path)) == 0)
        return STATE_OK;
    if (!replace && errno == EEXIST)
        return STATE_MISSING;
    return fail(err, path, strerror(errno));
}

enum state_result state_write(const char *directory, const char *name, const void *data, size_t len, bool secret,
                              bool replace, struct err *err) {
    char *path = path_of(directory, name), *aside = mem_printf("%s/.%s.XXXXXX", directory, name);
    enum state_result result;
    int fd = mkostemp(aside, O_CLOEXEC); // 0600
    if (fd < 0) {
        result = fail(err, aside, strerror(errno));
    } else {
        bool ok = fchmod(fd, secret ? SECRET_MODE : PUBLIC_MODE) == 0 && give_owner(fd, directory) &&
                  write_whole(fd, data, len);
        result = ok ? give_name(aside, path, replace, err) : fail(err, aside, strerror(errno));
        close(fd);
        if (!replace || result != STATE_OK)
            unlink(aside);
        sync_folder(directory);
    }
    free(aside);
    free(path);
    return result;
}
