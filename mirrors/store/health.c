// SPDX-License-Identifier: Apache-2.0
//
// A disk that fails: the store rests from writing, its operator is told once, and the keeper tries again after a while.
//
// Nothing here fails a pull: whoever wanted to write gets NULL or false and goes on through memory. Any thread may
// report a failure; only the keeper ends the rest.

#include "mirrors/base/clock.h"
#include "mirrors/store/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { PROBE_SIZE = 4096 };

static void rest(struct store *s) {
    atomic_store(&s->rest_until, clock_ms() + STORE_REST_MS);
}

// True: this is the first of its kind since it last worked.
static bool begins_failing(struct store *s) {
    atomic_fetch_add(&s->write_errors, 1);
    rest(s);
    return !atomic_exchange(&s->failing, true);
}

void health_failed(struct store *s, int error, const char *what) {
    if (begins_failing(s))
        store_tell(s, "store_failing", "the store in %s could not %s: %s; content passes through memory until it can",
                   s->directory, what, strerror(error));
}

void health_failed_index(struct store *s, const char *sentence) {
    if (begins_failing(s))
        store_tell(s, "store_failing", "the store in %s could not write its index: %s; content passes through memory",
                   s->directory, sentence);
}

void health_no_room(struct store *s, const char *digest, uint64_t size) {
    long long now = clock_ms(), told = atomic_load(&s->refused_told);
    atomic_fetch_add(&s->refused, 1);
    if ((told != 0 && now - told < STORE_FULL_MS) || !atomic_compare_exchange_strong(&s->refused_told, &told, now))
        return;
    store_tell(s, "store_full", "the store in %s has no room for %s (%llu bytes): it passes through memory",
               s->directory, digest, (unsigned long long)size);
}

bool health_rested(struct store *s) {
    return clock_ms() >= atomic_load(&s->rest_until);
}

void health_rest_on(struct store *s) {
    atomic_fetch_add(&s->write_errors, 1);
    rest(s);
}

void health_recovered(struct store *s) {
    if (atomic_exchange(&s->failing, false))
        store_tell(s, "store_recovered", "the store in %s can be written again", s->directory);
}

bool health_probe(struct store *s) {
    char name[STORE_PATH_MAX];
    static const char zeros[PROBE_SIZE];
    snprintf(name, sizeof name, "tmp/%s-probe", s->instance);
    if (!files_prepare(s, NULL))
        return false;
    int fd = openat(s->dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return false;
    bool works = write(fd, zeros, sizeof zeros) == (ssize_t)sizeof zeros && fsync(fd) == 0;
    close(fd);
    unlinkat(s->dir, name, 0);
    return works;
}

static uint64_t disk_of(struct store *s, const char *name) {
    struct stat st;
    return fstatat(s->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

void health_measure(struct store *s) {
    struct statvfs fs;
    if (fstatvfs(s->dir, &fs) == 0) {
        atomic_store(&s->file_system_free, (unsigned long long)fs.f_bavail * fs.f_frsize);
        atomic_store(&s->file_system_size, (unsigned long long)fs.f_blocks * fs.f_frsize);
    }
    atomic_store(&s->index_bytes, disk_of(s, STORE_INDEX_NAME) + disk_of(s, STORE_INDEX_NAME "-wal") +
                                      disk_of(s, STORE_INDEX_NAME "-shm"));
}
