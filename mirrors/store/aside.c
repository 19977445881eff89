// SPDX-License-Identifier: Apache-2.0
//
// A damaged index is set aside, never believed and never repaired: index.db.damaged-TIME, for a person to look at.

#include "mirrors/base/mem.h"
#include "mirrors/store/inside.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ASIDE_PREFIX STORE_INDEX_NAME ".damaged-"

static const char *const suffixes[] = {"", "-wal", "-shm"};
enum { SUFFIXES = sizeof suffixes / sizeof *suffixes, ASIDE_NAME_LEN = sizeof ASIDE_PREFIX - 1 + 15 };

// --- only a few are kept ---

// Does this name the index itself, not its -wal or -shm?
static bool is_aside(const char *name) {
    return strncmp(name, ASIDE_PREFIX, sizeof ASIDE_PREFIX - 1) == 0 && strlen(name) == ASIDE_NAME_LEN;
}

// The oldest set-aside index and how many there are: their names sort by time.
static size_t count_aside(struct store *s, char oldest[ASIDE_NAME_LEN + 1]) {
    int fd = openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    size_t count = 0;
    if (d == NULL)
        return 0;
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        if (!is_aside(e->d_name))
            continue;
        if (count++ == 0 || strcmp(e->d_name, oldest) < 0)
            strcpy(oldest, e->d_name);
    }
    closedir(d);
    return count;
}

static void remove_aside(struct store *s, const char *name) {
    for (size_t n = 0; n < SUFFIXES; n++) {
        char path[STORE_PATH_MAX];
        snprintf(path, sizeof path, "%s%s", name, suffixes[n]);
        unlinkat(s->dir, path, 0);
    }
}

static void keep_few(struct store *s) {
    char oldest[ASIDE_NAME_LEN + 1];
    for (size_t left = count_aside(s, oldest); left > STORE_ASIDE_MAX; left--) {
        remove_aside(s, oldest);
        count_aside(s, oldest);
    }
}

// --- setting aside ---

bool aside_put(struct store *s, const char *why) {
    char stamp[32], name[STORE_PATH_MAX];
    time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%S", &tm);
    snprintf(name, sizeof name, ASIDE_PREFIX "%s", stamp);
    remove_aside(s, name);
    for (size_t n = 0; n < SUFFIXES; n++) {
        char from[STORE_PATH_MAX], to[STORE_PATH_MAX + 8];
        snprintf(from, sizeof from, STORE_INDEX_NAME "%s", suffixes[n]);
        snprintf(to, sizeof to, "%s%s", name, suffixes[n]);
        if (renameat(s->dir, from, s->dir, to) != 0 && errno != ENOENT)
            return false;
    }
    keep_few(s);
    store_tell(
        s, "store_index",
        "the index of the store in %s is damaged (%s): it was set aside as %s and a new one begun. Content is kept "
        "and taken back in the background; which repositories and tags hold it is asked of the upstreams again",
        s->directory, why, name);
    return true;
}

// --- opening ---

static enum index_result try_open(struct store *s, bool check, struct index **out, struct err *err) {
    // Made here, so that nobody else can read it; SQLite gives its other files the same mode.
    int fd = openat(s->dir, STORE_INDEX_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0)
        close(fd);
    char *path = mem_printf("%s/%s", s->directory, STORE_INDEX_NAME);
    *out = NULL;
    enum index_result r = index_open(path, INDEX_WRITE, check, out, err);
    free(path);
    if (r != INDEX_OK) {
        index_close(*out);
        *out = NULL;
    }
    return r;
}

struct index *aside_open(struct store *s, bool check, bool *aside, struct err *err) {
    struct index *i;
    struct err own = {0};
    *aside = false;
    if (err == NULL)
        err = &own;
    enum index_result r = try_open(s, check, &i, err);
    if (r != INDEX_DAMAGED)
        return i;
    if (!aside_put(s, err->text)) {
        err_set(err, "%s/%s is damaged and cannot be set aside: %s", s->directory, STORE_INDEX_NAME, strerror(errno));
        return NULL;
    }
    *aside = true;
    try_open(s, false, &i, err);
    return i;
}
