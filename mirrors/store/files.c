// SPDX-License-Identifier: Apache-2.0
//
// The layout of the directory: blobs/ALGORITHM/ab/HEX for content, tmp/ for what is on its way.
//
// A file has its name only when it is whole, verified and synced (commit.c); here files are found, opened, checked and
// removed. A name is given or taken under the store's `names`, together with what memory says about it.

#include "mirrors/base/mem.h"
#include "mirrors/store/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool files_path(const char *digest, char out[STORE_PATH_MAX]) {
    enum digest_algorithm algorithm;
    size_t len = strlen(digest);
    if (digest_check(digest, len, &algorithm) != DIGEST_OK)
        return false;
    const char *hex = strchr(digest, ':') + 1;
    snprintf(out, STORE_PATH_MAX, "blobs/%.*s/%.2s/%s", (int)(hex - digest - 1), digest, hex, hex);
    return true;
}

bool files_digest(const char *algorithm, const char *folder, const char *name, char out[DIGEST_TEXT_MAX + 1]) {
    enum digest_algorithm a;
    int n = snprintf(out, DIGEST_TEXT_MAX + 1, "%s:%s", algorithm, name);
    return n > 0 && n <= DIGEST_TEXT_MAX && digest_check(out, (size_t)n, &a) == DIGEST_OK &&
           strncmp(folder, name, 2) == 0;
}

static bool make_folder(struct store *s, const char *name, struct err *err) {
    if (mkdirat(s->dir, name, 0700) == 0 || errno == EEXIST)
        return true;
    return err_set(err, "%s/%s: %s", s->directory, name, strerror(errno));
}

bool files_prepare(struct store *s, struct err *err) {
    return make_folder(s, "tmp", err) && make_folder(s, "blobs", err) && make_folder(s, "blobs/sha256", err) &&
           make_folder(s, "blobs/sha512", err);
}

static bool is_ours(const struct stat *st) {
    return S_ISREG(st->st_mode) && st->st_uid == geteuid();
}

bool files_stat(struct store *s, const char *digest, uint64_t *size, uint64_t *disk) {
    char path[STORE_PATH_MAX];
    struct stat st;
    if (!files_path(digest, path) || fstatat(s->dir, path, &st, AT_SYMLINK_NOFOLLOW) != 0 || !is_ours(&st))
        return false;
    *size = (uint64_t)st.st_size;
    *disk = (uint64_t)st.st_blocks * 512;
    return true;
}

// With `names` held.
static void unlink_counted(struct store *s, const char *digest) {
    char path[STORE_PATH_MAX];
    uint64_t size, disk;
    if (!files_path(digest, path))
        return;
    bool counted = files_stat(s, digest, &size, &disk);
    if (unlinkat(s->dir, path, 0) == 0 && counted)
        atomic_fetch_sub(&s->blob_bytes, (long long)disk);
}

void files_unlink(struct store *s, const char *digest) {
    pthread_mutex_lock(&s->names);
    if (facts_is_absent(s->facts, digest))
        unlink_counted(s, digest);
    pthread_mutex_unlock(&s->names);
}

// --- what turned out wrong ---

static bool still_right(struct store *s, const char *digest, uint64_t size) {
    uint64_t now, disk;
    return files_stat(s, digest, &now, &disk) && now == size;
}

void files_lost(struct store *s, const char *digest, uint64_t size, bool wrong_content, const char *why) {
    if (s->read_only)
        return;
    pthread_mutex_lock(&s->names);
    // It may have been written anew since it was looked at.
    bool lost = wrong_content || !still_right(s, digest, size);
    if (lost) {
        facts_absent(s->facts, digest, false);
        keeper_put(s, note_new(&(struct index_note){.kind = NOTE_DROPPED, .digest = digest}));
        unlink_counted(s, digest);
    }
    pthread_mutex_unlock(&s->names);
    if (lost && why != NULL)
        store_tell(s, "store_content", "%s was removed from the store: %s", digest, why);
}

// --- opening ---

static bool read_whole(int fd, char *bytes, uint64_t size) {
    for (uint64_t done = 0; done < size;) {
        ssize_t n = pread(fd, bytes + done, size - done, (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        done += (uint64_t)n;
    }
    return true;
}

char *files_read_small(int fd, const char *digest, uint64_t size, bool *wrong) {
    enum digest_algorithm algorithm;
    char computed[DIGEST_TEXT_MAX + 1];
    char *bytes = mem_alloc(size + 1);
    *wrong = false;
    if (read_whole(fd, bytes, size) && digest_check(digest, strlen(digest), &algorithm) == DIGEST_OK) {
        digest_of(algorithm, bytes, size, computed);
        *wrong = strcmp(computed, digest) != 0;
        if (!*wrong)
            return bytes;
    }
    free(bytes);
    return NULL;
}

static int open_content(struct store *s, const char *path) {
    int fd = openat(s->dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd >= 0 || (errno != EMFILE && errno != ENFILE))
        return fd;
    facts_close_some(s->facts);
    return openat(s->dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

static struct piece *open_small(struct store *s, const char *digest, uint64_t size, int fd, bool *gone) {
    char *bytes = files_read_small(fd, digest, size, gone);
    close(fd);
    if (*gone)
        files_lost(s, digest, size, true, "its bytes are not what its digest says");
    return bytes == NULL ? NULL : piece_new(s->graves, digest, size, -1, bytes);
}

struct piece *files_open(struct store *s, const char *digest, uint64_t size, bool *gone) {
    char path[STORE_PATH_MAX];
    struct stat st;
    *gone = false;
    if (!files_path(digest, path))
        return NULL;
    int fd = open_content(s, path);
    if (fd < 0) {
        *gone = errno == ENOENT || errno == ELOOP || errno == ENOTDIR;
        if (*gone)
            files_lost(s, digest, size, false, "its file is missing");
        return NULL;
    }
    if (fstat(fd, &st) != 0 || !is_ours(&st) || (uint64_t)st.st_size != size) {
        close(fd);
        *gone = true;
        files_lost(s, digest, size, false, "its file has another size than it had when it was written");
        return NULL;
    }
    return size <= STORE_SMALL_MAX ? open_small(s, digest, size, fd, gone)
                                   : piece_new(s->graves, digest, size, fd, NULL);
}
