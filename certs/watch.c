// SPDX-License-Identifier: Apache-2.0
//
// Files that are looked at again: by what stat() says, so that a look costs nothing.

#include "certs/server.h"

#include "mirrors/base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct certs_seen {
    char *path;
    struct stat st; ///< Zeroed where there was none.
};

static struct stat look(const char *path) {
    struct stat st;
    if (stat(path, &st) != 0)
        memset(&st, 0, sizeof(st));
    return st;
}

/// The time of the inode's last change goes with every change of content, name or mode, set back or not.
static bool differs(const struct stat *a, const struct stat *b) {
    return a->st_dev != b->st_dev || a->st_ino != b->st_ino || a->st_size != b->st_size ||
           a->st_mtim.tv_sec != b->st_mtim.tv_sec || a->st_mtim.tv_nsec != b->st_mtim.tv_nsec ||
           a->st_ctim.tv_sec != b->st_ctim.tv_sec || a->st_ctim.tv_nsec != b->st_ctim.tv_nsec;
}

void certs_watch_add(struct certs_watch *w, const char *path) {
    if (path == NULL || w->count >= CERTS_FILES_MAX)
        return;
    for (size_t i = 0; i < w->count; i++)
        if (strcmp(w->seen[i].path, path) == 0)
            return;
    w->seen = mem_resize(w->seen, w->count + 1, sizeof(*w->seen));
    w->seen[w->count++] = (struct certs_seen){.path = mem_strdup(path), .st = look(path)};
}

bool certs_files_changed(const struct certs_watch *w) {
    for (size_t i = 0; i < w->count; i++) {
        struct stat now = look(w->seen[i].path);
        if (differs(&now, &w->seen[i].st))
            return true;
    }
    return false;
}

void certs_watch_clear(struct certs_watch *w) {
    for (size_t i = 0; i < w->count; i++)
        free(w->seen[i].path);
    free(w->seen);
    *w = (struct certs_watch){0};
}
