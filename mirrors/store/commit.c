// SPDX-License-Identifier: Apache-2.0
//
// Content on its way into the store: a file under a temporary name until it is whole, verified (by whoever writes it)
// and synced; then it gets its name, the folder is synced, and the index is told.
//
// A file belongs to one writer at a time, then to the worker that commits it. Room is counted from the start: as soon
// as a file is begun it weighs on the cap with its whole size, and eviction goes ahead of it.

#include "mirrors/base/mem.h"
#include "mirrors/store/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    RESERVE_MIN = 64 * 1024, // Smaller files are not worth a call.
    AHEAD_MAX = 64 << 20,    // Bytes that are made room for before they have come.
    NAME_MAX_LEN = 48        // "tmp/INSTANCE-NUMBER"
};

struct store_file {
    struct store *store;
    int fd;
    bool lent;     // `fd` belongs to a piece now.
    uint64_t size; // UINT64_MAX: unknown.
    uint64_t written, counted;
    char name[NAME_MAX_LEN];
    char digest[DIGEST_TEXT_MAX + 1];
};

// --- beginning ---

static void count(struct store_file *f, uint64_t bytes) {
    atomic_fetch_add(&f->store->writing_bytes, (long long)bytes - (long long)f->counted);
    f->counted = bytes;
}

static bool has_room(struct store *s, uint64_t bytes) {
    health_measure(s);
    if (!evict_needed(s, bytes))
        return true;
    // Nothing is evicted in vain for what would not fit anyway.
    if (!evict_could_ever_fit(s, bytes))
        return false;
    keeper_evict(s, bytes);
    return !atomic_load(&s->full) && evict_could_fit(s, bytes);
}

static int open_new(struct store *s, const char *name) {
    int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC;
    int fd = openat(s->dir, name, flags, 0600);
    if (fd >= 0 || errno != ENOENT)
        return fd;
    return files_prepare(s, NULL) ? openat(s->dir, name, flags, 0600) : -1;
}

// Learn now rather than in the middle whether the disk has room. False: it has not.
static bool reserve(const struct store_file *f, uint64_t bytes) {
    if (bytes < RESERVE_MIN || f->store->in_memory_fs)
        return true;
    return fallocate(f->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes) == 0 || (errno != ENOSPC && errno != EDQUOT);
}

static bool takes_files(struct store *s) {
    return !s->read_only && store_writable(s);
}

struct store_file *store_file_new(struct store *s, const char *digest, uint64_t size) {
    char path[STORE_PATH_MAX];
    uint64_t known = size == UINT64_MAX ? 0 : size;
    // No more is made room for than a little ahead: that so much will come is only what an upstream says.
    uint64_t ahead = known < AHEAD_MAX ? known : AHEAD_MAX;
    if (!takes_files(s) || !files_path(digest, path))
        return NULL;
    if (known > INT64_MAX || !evict_could_ever_fit(s, known) || !has_room(s, ahead)) {
        health_no_room(s, digest, known);
        return NULL;
    }
    struct store_file *f = mem_zalloc(1, sizeof *f);
    f->store = s;
    f->size = size;
    strcpy(f->digest, digest);
    snprintf(f->name, sizeof f->name, "tmp/%s-%llu", s->instance, atomic_fetch_add(&s->next_file, 1));
    f->fd = open_new(s, f->name);
    if (f->fd < 0) {
        if (errno != EMFILE && errno != ENFILE)
            health_failed(s, errno, "begin a file");
        free(f);
        return NULL;
    }
    count(f, ahead);
    if (reserve(f, ahead))
        return f;
    keeper_evict(s, ahead);
    store_file_drop(f);
    return NULL;
}

int store_file_fd(const struct store_file *f) {
    return f->fd;
}

// --- writing ---

bool store_file_write(struct store_file *f, const void *data, size_t len) {
    const char *from = data;
    while (len > 0) {
        ssize_t n = pwrite(f->fd, from, len, (off_t)f->written);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            health_failed(f->store, n < 0 ? errno : ENOSPC, "write content");
            return false;
        }
        from += n;
        len -= (size_t)n;
        f->written += (uint64_t)n;
    }
    if (f->written <= f->counted)
        return true;
    count(f, f->written);
    if (!evict_needed(f->store, 0))
        return true;
    keeper_evict(f->store, 0);
    return !atomic_load(&f->store->full);
}

// --- ending ---

static void file_free(struct store_file *f) {
    count(f, 0);
    if (!f->lent && !graves_lay(f->store->graves, f->fd))
        close(f->fd);
    free(f);
}

void store_file_drop(struct store_file *f) {
    if (f == NULL)
        return;
    unlinkat(f->store->dir, f->name, 0);
    file_free(f);
}

struct commit {
    struct store_file *file;
    char *registry, *repository, *media_type;
    void (*done)(void *ctx, struct piece *piece);
    void *ctx;
};

static bool sync_folder(struct store *s, const char *name) {
    int fd = openat(s->dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0;
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return synced;
}

// "blobs/sha256/ab" of "blobs/sha256/ab/HEX", and "blobs/sha256" of that.
static void parent_of(const char *path, char out[STORE_PATH_MAX]) {
    strcpy(out, path);
    *strrchr(out, '/') = '\0';
}

static bool make_folder(struct store *s, const char *folder) {
    char above[STORE_PATH_MAX];
    parent_of(folder, above);
    if (mkdirat(s->dir, folder, 0700) != 0)
        return errno == EEXIST;
    return sync_folder(s, above);
}

static bool sync_file(struct store_file *f, const char *registry, struct stat *st) {
    // Room that was reserved and not needed goes back.
    if (f->size != UINT64_MAX && f->written < f->size && ftruncate(f->fd, (off_t)f->written) != 0)
        return false;
    adopt_mark(f->fd, registry, f->written);
    return fsync(f->fd) == 0 && fstat(f->fd, st) == 0;
}

// Small content stays in memory; it is read back for that, and must be what was written. False: it is not.
static bool read_back(struct store_file *f, char **bytes) {
    bool wrong;
    *bytes = NULL;
    if (f->written > STORE_SMALL_MAX)
        return true;
    *bytes = files_read_small(f->fd, f->digest, f->written, &wrong);
    errno = EIO;
    return *bytes != NULL;
}

static struct piece *make_piece(struct store_file *f, char *bytes) {
    f->lent = bytes == NULL;
    return piece_new(f->store->graves, f->digest, f->written, bytes == NULL ? f->fd : -1, bytes);
}

// What is no file there is nobody's content.
static bool rename_over(struct store *s, const char *from, const char *to) {
    if (renameat(s->dir, from, s->dir, to) == 0)
        return true;
    return errno == EISDIR && unlinkat(s->dir, to, AT_REMOVEDIR) == 0 && renameat(s->dir, from, s->dir, to) == 0;
}

// Not the disk's fault, but that of what somebody put there.
static bool is_in_the_way(int error) {
    return error == EISDIR || error == ENOTEMPTY || error == ENOTDIR || error == EEXIST || error == ELOOP;
}

// The name and what memory says of it change together.
static struct piece *give_name(struct store_file *f, const char *path, char *bytes) {
    struct store *s = f->store;
    struct piece *p = NULL;
    uint64_t size, replaced = 0;
    pthread_mutex_lock(&s->names);
    if (!files_stat(s, f->digest, &size, &replaced))
        replaced = 0;
    if (rename_over(s, f->name, path)) {
        p = make_piece(f, bytes);
        facts_held(s->facts, f->digest, f->written, p);
        atomic_fetch_sub(&s->blob_bytes, (long long)replaced);
    }
    int error = errno;
    pthread_mutex_unlock(&s->names);
    if (p == NULL)
        free(bytes);
    errno = error;
    return p;
}

static void tell_index(const struct commit *c, uint64_t disk) {
    struct store *s = c->file->store;
    const char *digest = c->file->digest;
    int64_t now = store_now();
    keeper_put(s, note_new(&(struct index_note){
                      .kind = NOTE_CONTENT, .digest = digest, .size = c->file->written, .disk = disk, .time = now}));
    // Counted once: no longer as being written, from now on as held.
    count(c->file, 0);
    atomic_fetch_add(&s->blob_bytes, (long long)disk);
    note_delivered(s, c->registry, digest, true);
    note_confirmed(s, c->registry, c->repository, digest, c->media_type, now);
}

static struct piece *commit_file(const struct commit *c) {
    struct store_file *f = c->file;
    struct store *s = f->store;
    char path[STORE_PATH_MAX], folder[STORE_PATH_MAX];
    struct stat st;
    char *bytes;
    files_path(f->digest, path);
    parent_of(path, folder);
    struct piece *p = NULL;
    // A name without a row is found after a crash only if the next start knows that there was one.
    if (!atomic_load(&s->marked))
        keeper_flush(s);
    if (sync_file(f, c->registry, &st) && make_folder(s, folder) && read_back(f, &bytes))
        p = give_name(f, path, bytes);
    if (p == NULL && is_in_the_way(errno))
        store_tell(s, "store_content", "%s cannot be kept: something else stands in its place in the store", f->digest);
    else if (p == NULL || !sync_folder(s, folder))
        health_failed(s, errno, "keep content");
    if (p == NULL)
        unlinkat(s->dir, f->name, 0);
    else
        tell_index(c, (uint64_t)st.st_blocks * 512);
    return p;
}

static void commit_free(struct commit *c) {
    file_free(c->file);
    free(c->registry);
    free(c->repository);
    free(c->media_type);
    free(c);
}

static void commit_run(void *ctx) {
    struct commit *c = ctx;
    c->done(c->ctx, commit_file(c));
    // Not before: until it has been told of the piece, somebody may read from the file.
    commit_free(c);
}

void store_file_commit(struct store_file *f, const char *registry, const char *repository, const char *media_type,
                       void (*done)(void *ctx, struct piece *piece), void *ctx) {
    struct commit *c = mem_alloc(sizeof *c);
    *c = (struct commit){.file = f,
                         .registry = mem_strdup(registry),
                         .repository = mem_strdup(repository),
                         .media_type = mem_strdup(media_type),
                         .done = done,
                         .ctx = ctx};
    workers_put(f->store->workers, true, commit_run, c);
}
