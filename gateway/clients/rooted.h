// SPDX-License-Identifier: Apache-2.0
//
// Files below a folder that stands for "/": the machine itself, or a tree that is prepared for another one (--root).
//
// No symbolic link, absolute or with "..", leads out of that folder (openat2 with RESOLVE_IN_ROOT; where the kernel has
// no openat2 only the machine itself can be written). A file is replaced by rename in the folder in which it really
// stands, and keeps its owner and mode; what is no plain file is refused. One thread.

#pragma once

#include "mirrors/base/buf.h"
#include "mirrors/base/err.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

struct rooted {
    int fd; ///< The folder that stands for "/".
    bool machine;
    bool plain; ///< No symbolic link is followed: rooted_enter().
};

/// `root`: "" or "/" is the machine itself.
bool rooted_open(struct rooted *r, const char *root, struct err *err);
void rooted_close(struct rooted *r);

/// A user's own folder below `r`. In it no symbolic link is followed: where root acts, its owner could lead it
/// anywhere.
bool rooted_enter(const struct rooted *r, const char *folder, struct rooted *inner, struct err *err);

/// Where a path leads: a folder that is open, and a name in it that is no symbolic link (unless it was asked for).
struct rooted_place {
    int folder; ///< -1: a folder on the way is missing, and was not to be made.
    char name[NAME_MAX + 1];
    struct stat st; ///< Where `exists`.
    bool exists;
};

enum rooted_flags {
    ROOTED_MAKE = 1, ///< Make missing folders, 0755.
    ROOTED_LINK = 2, ///< Do not follow a symbolic link at the end.
};

bool rooted_find(const struct rooted *r, const char *path, unsigned flags, struct rooted_place *place, struct err *err);
void rooted_leave(struct rooted_place *place);

/// The content of a plain file, whole; more than `text->max` is an error.
bool rooted_read(const struct rooted_place *place, struct buf *text, struct err *err);

/// Replace or make the file: written aside, synced, renamed. An existing file's owner and mode are kept, less what
/// `mode` does not permit to others where `mode` is a secret's (no bits for others).
bool rooted_write(struct rooted_place *place, const void *data, size_t len, mode_t mode, struct err *err);

/// Replace or make a symbolic link.
bool rooted_symlink(struct rooted_place *place, const char *target, struct err *err);

/// The target of the symbolic link there; false when it is none.
bool rooted_target(const struct rooted_place *place, char target[PATH_MAX]);

/// Keep what is there as NAME.pullgate-backup[.N], a copy, in the folder of `into` (which may be the same place).
/// `kept` is that name.
bool rooted_backup(const struct rooted_place *place, const struct rooted_place *into, char kept[NAME_MAX + 1],
                   struct err *err);

/// Rename what is there to NAME.pullgate-aside[.N] in the folder of `into` (which may be the same place).
bool rooted_aside(const struct rooted_place *place, const struct rooted_place *into, char kept[NAME_MAX + 1],
                  struct err *err);

// --- looking ---

/// The text of the file at `path` below `root`; false (and an empty text) when there is none that can be read.
bool rooted_look(const char *root, const char *path, struct buf *text);

/// Is anything there?
bool rooted_has(const char *root, const char *path);

/// The names in a folder, sorted; freed by the caller, each and the list. 0 and NULL when there is none.
char **rooted_names(const char *root, const char *path, size_t *count);
void rooted_names_free(char **names, size_t count);
