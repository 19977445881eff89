// SPDX-License-Identifier: Apache-2.0
//
// The directory and its lock: one gateway a directory, on a file system where locks and renames can be trusted.
//
// The lock is a flock() on the file `lock`, which goes with the process however it ends. Commands that only look share
// it among themselves, never with a gateway. The file says who has it, for the sentence that refuses the next one.

#include "mirrors/store/inside.h"

#include "mirrors/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { TMPFS = 0x01021994 };

// Where flock(), rename() or mmap() across machines cannot be relied upon, by statfs(2)'s f_type.
static const struct {
    unsigned long type;
    const char *name;
} remote_types[] = {
    {0x6969, "NFS"},        {0x517B, "SMB"},      {0xFE534D42, "SMB"},   {0xFF534D42, "CIFS"}, {0x01021997, "9p"},
    {0x00C36400, "Ceph"},   {0x5346414F, "AFS"},  {0x6B414653, "AFS"},   {0x73757245, "Coda"}, {0x564C, "NCP"},
    {0x0BD00BD0, "Lustre"}, {0x01161970, "GFS2"}, {0x7461636F, "OCFS2"},
};

static const char *remote_name(unsigned long type) {
    for (size_t i = 0; i < sizeof remote_types / sizeof *remote_types; i++)
        if ((type & 0xFFFFFFFFUL) == remote_types[i].type)
            return remote_types[i].name;
    return NULL;
}

// mkdir -p, each part for the owner alone.
static bool make_directory(const char *directory, struct err *err) {
    char *path = mem_strdup(directory);
    int failed = 0;
    for (char *at = path + 1; failed == 0; at++) {
        if (*at != '/' && *at != '\0')
            continue;
        char end = *at;
        *at = '\0';
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            failed = errno;
        if (end == '\0')
            break;
        *at = end;
    }
    free(path);
    return failed == 0 || err_set(err, "%s: it cannot be made: %s", directory, strerror(failed));
}

static bool check_directory(const char *directory, int dir, bool *tmpfs, struct err *err) {
    struct stat st;
    struct statfs fs;
    if (fstat(dir, &st) != 0 || fstatfs(dir, &fs) != 0)
        return err_set(err, "%s: %s", directory, strerror(errno));
    const char *remote = remote_name((unsigned long)fs.f_type);
    if (remote != NULL)
        return err_set(err, "%s is on a network file system (%s); the store needs a local one", directory, remote);
    if (st.st_uid != geteuid())
        return err_set(err, "%s belongs to user %u, not to user %u, who runs this", directory, (unsigned)st.st_uid,
                       (unsigned)geteuid());
    if ((st.st_mode & 022) != 0)
        return err_set(err, "%s can be written by others (mode %o); a store is its owner's alone: chmod 700 it",
                       directory, (unsigned)st.st_mode & 07777);
    *tmpfs = fs.f_type == TMPFS;
    return true;
}

static bool open_directory(const char *directory, bool read_only, int *dir, bool *tmpfs, struct err *err) {
    if (directory == NULL || *directory == '\0')
        return err_set(err, "the store has no directory");
    *dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*dir < 0 && errno == ENOENT && !read_only) {
        if (!make_directory(directory, err))
            return false;
        *dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    if (*dir < 0)
        return err_set(err, "%s: %s", directory, strerror(errno));
    if (check_directory(directory, *dir, tmpfs, err))
        return true;
    close(*dir);
    return false;
}

static bool refuse_second(const char *directory, int lock, struct err *err) {
    char who[32];
    ssize_t n = pread(lock, who, sizeof who - 1, 0);
    who[n > 0 ? n : 0] = '\0';
    long pid = strtol(who, NULL, 10);
    if (pid > 0)
        return err_set(err, "%s is in use by another pullgate (process %ld); a store has one gateway", directory, pid);
    return err_set(err, "%s is in use by another pullgate; a store has one gateway", directory);
}

static void write_owner(int lock) {
    char who[32];
    int n = snprintf(who, sizeof who, "%ld\n", (long)getpid());
    // Only for people: where it cannot be written, the lock holds all the same.
    if (ftruncate(lock, 0) == 0 && pwrite(lock, who, (size_t)n, 0) < 0)
        return;
}

static bool take_lock(const char *directory, int dir, bool read_only, int *lock, struct err *err) {
    *lock = openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*lock < 0 && (errno == EROFS || errno == ENOSPC || errno == EDQUOT))
        *lock = openat(dir, "lock", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (*lock < 0)
        return err_set(err, "%s/lock: %s", directory, strerror(errno));
    if (flock(*lock, (read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0) {
        if (!read_only)
            write_owner(*lock);
        return true;
    }
    if (errno == EWOULDBLOCK)
        refuse_second(directory, *lock, err);
    else
        err_set(err, "%s/lock: %s", directory, strerror(errno));
    close(*lock);
    return false;
}

bool lock_take(const char *directory, bool read_only, int *dir, int *lock, bool *tmpfs, struct err *err) {
    if (!open_directory(directory, read_only, dir, tmpfs, err))
        return false;
    if (take_lock(directory, *dir, read_only, lock, err))
        return true;
    close(*dir);
    return false;
}

void lock_give(int dir, int lock) {
    close(lock);
    close(dir);
}
