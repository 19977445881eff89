// SPDX-License-Identifier: Apache-2.0
//
// Replacing, keeping and moving below a root; see rooted.h.

#include "gateway/clients/rooted.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { KEPT_MAX = 1000, KEPT_TEXT_MAX = 16 * 1024 * 1024, NEW_FILE_FLAGS = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW };

static bool failed(struct err *err) {
    return err_set(err, "%s", strerror(errno));
}

static bool write_all(int fd, const char *data, size_t len) {
    while (len > 0) {
        ssize_t done = write(fd, data, len);
        if (done < 0 && errno != EINTR)
            return false;
        if (done > 0) {
            data += done;
            len -= (size_t)done;
        }
    }
    return true;
}

/// The folder is open as a path only, which cannot be synced.
static bool sync_folder(int folder) {
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

static bool aside_name(const char *name, char aside[NAME_MAX + 1]) {
    int len = snprintf(aside, NAME_MAX + 1, ".%s.pullgate-new", name);
    return len > 0 && len <= NAME_MAX;
}

/// NAME.WORD, then NAME.WORD.1 and so on.
static bool kept_name(const char *name, const char *word, unsigned n, char kept[NAME_MAX + 1]) {
    int len = n == 0 ? snprintf(kept, NAME_MAX + 1, "%s.%s", name, word)
                     : snprintf(kept, NAME_MAX + 1, "%s.%s.%u", name, word, n);
    return len > 0 && len <= NAME_MAX;
}

/// Owner, mode and content of a new file.
static bool fill(int fd, const struct stat *like, mode_t mode, const void *data, size_t len) {
    if (like != NULL && fchown(fd, like->st_uid, like->st_gid) != 0 && geteuid() == 0)
        return false;
    return fchmod(fd, mode) == 0 && write_all(fd, data, len) && fsync(fd) == 0;
}

static mode_t wanted_mode(const struct rooted_place *place, mode_t mode) {
    if (!place->exists)
        return mode;
    mode_t old = place->st.st_mode & 0777;
    return (mode & 0077) == 0 ? old & mode : old;
}

bool rooted_write(struct rooted_place *place, const void *data, size_t len, mode_t mode, struct err *err) {
    char aside[NAME_MAX + 1];
    if (place->exists && !S_ISREG(place->st.st_mode))
        return err_set(err, "it is no plain file");
    if (!aside_name(place->name, aside))
        return err_set(err, "its name is too long");
    if (unlinkat(place->folder, aside, 0) != 0 && errno != ENOENT)
        return failed(err);
    int fd = openat(place->folder, aside, NEW_FILE_FLAGS | O_CLOEXEC, 0600);
    if (fd < 0)
        return failed(err);
    bool ok = fill(fd, place->exists ? &place->st : NULL, wanted_mode(place, mode), data, len);
    ok = close(fd) == 0 && ok;
    ok = ok && renameat(place->folder, aside, place->folder, place->name) == 0 && sync_folder(place->folder);
    if (ok)
        return true;
    failed(err);
    unlinkat(place->folder, aside, 0);
    return false;
}

bool rooted_symlink(struct rooted_place *place, const char *target, struct err *err) {
    char aside[NAME_MAX + 1];
    if (!aside_name(place->name, aside))
        return err_set(err, "its name is too long");
    if (place->exists && S_ISDIR(place->st.st_mode))
        return err_set(err, "it is a folder");
    unlinkat(place->folder, aside, 0);
    if (symlinkat(target, place->folder, aside) == 0 &&
        renameat(place->folder, aside, place->folder, place->name) == 0 && sync_folder(place->folder))
        return true;
    failed(err);
    unlinkat(place->folder, aside, 0);
    return false;
}

// --- keeping what was there ---

static bool keep_link(const struct rooted_place *place, int folder, const char *kept) {
    char target[PATH_MAX];
    return rooted_target(place, target) && symlinkat(target, folder, kept) == 0;
}

static bool keep_text(const struct rooted_place *place, int folder, const char *kept, const struct buf *text) {
    int fd = openat(folder, kept, NEW_FILE_FLAGS | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool ok = fill(fd, &place->st, place->st.st_mode & 0777, text->data, text->len);
    int cause = errno;
    close(fd);
    if (!ok)
        unlinkat(folder, kept, 0);
    errno = cause;
    return ok;
}

bool rooted_backup(const struct rooted_place *place, const struct rooted_place *into, char kept[NAME_MAX + 1],
                   struct err *err) {
    bool is_link = S_ISLNK(place->st.st_mode);
    struct buf text;
    buf_init(&text, KEPT_TEXT_MAX);
    bool ok = is_link || rooted_read(place, &text, err);
    bool done = false;
    for (unsigned n = 0; ok && !done; n++) {
        ok = n < KEPT_MAX && kept_name(place->name, "pullgate-backup", n, kept);
        if (!ok) {
            err_set(err, "no name is left for a copy of it");
            break;
        }
        done = is_link ? keep_link(place, into->folder, kept) : keep_text(place, into->folder, kept, &text);
        if (!done && errno != EEXIST)
            ok = failed(err);
    }
    buf_deinit(&text);
    return ok;
}

bool rooted_aside(const struct rooted_place *place, const struct rooted_place *into, char kept[NAME_MAX + 1],
                  struct err *err) {
    for (unsigned n = 0; n < KEPT_MAX && kept_name(place->name, "pullgate-aside", n, kept); n++) {
        if (renameat2(place->folder, place->name, into->folder, kept, RENAME_NOREPLACE) == 0)
            return sync_folder(place->folder) && sync_folder(into->folder) ? true : failed(err);
        if (errno != EEXIST)
            return failed(err);
    }
    return err_set(err, "no name is left for it");
}
