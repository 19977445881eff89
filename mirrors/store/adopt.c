// SPDX-License-Identifier: Apache-2.0
//
// Files that the index does not know: after a crash between a file's name and its row, or when the index was lost.
//
// A file got its name when it was whole, and an attribute says how long it was then: one that is still so long is taken
// back as content, any other (also where the file system has no attributes) only if its digest is right; what is not is
// removed. Who delivered it is taken back by the word of another attribute. That a repository may give it is never
// taken back: its upstream must say so again. On the keeper's thread, but for adopt().

#include "mirrors/base/mem.h"
#include "mirrors/store/inside.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { FOLDERS = 256, ROWS_MAX = 256, CHUNK = 256 * 1024, NUMBER_MAX = 24 };

static const char *const algorithms[] = {"sha256", "sha512"};

// --- who delivered a file ---

void adopt_mark(int fd, const char *registry, uint64_t size) {
    char line[REGISTRY_MAX + 2], number[NUMBER_MAX];
    int n = snprintf(number, sizeof number, "%" PRIu64, size);
    (void)fsetxattr(fd, STORE_SIZE_ATTRIBUTE, number, (size_t)n, 0); // Without it: to be hashed.
    n = snprintf(line, sizeof line, "%s\n", registry);
    if (n > 0 && (size_t)n < sizeof line)
        (void)fsetxattr(fd, STORE_ATTRIBUTE, line, (size_t)n, 0); // Without it: content that nobody has delivered yet.
}

static size_t read_mark(int fd, char *text, size_t max) {
    ssize_t n = fgetxattr(fd, STORE_ATTRIBUTE, text, max - 1);
    text[n > 0 ? n : 0] = '\0';
    return n > 0 ? (size_t)n : 0;
}

static bool has_line(const char *text, const char *line) {
    size_t len = strlen(line);
    for (const char *at = text; (at = strstr(at, line)) != NULL; at += len)
        if ((at == text || at[-1] == '\n') && at[len] == '\n')
            return true;
    return false;
}

void adopt_mark_also(struct store *s, const char *digest, const char *registry) {
    char path[STORE_PATH_MAX], text[STORE_REGISTRIES_MAX];
    if (*registry == '\0' || !files_path(digest, path))
        return;
    int fd = openat(s->dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return;
    size_t len = read_mark(fd, text, sizeof text);
    if (!has_line(text, registry) && len + strlen(registry) + 2 < sizeof text) {
        int n = snprintf(text + len, sizeof text - len, "%s\n", registry);
        (void)fsetxattr(fd, STORE_ATTRIBUTE, text, len + (size_t)n, 0);
    }
    close(fd);
}

static void adopt_deliveries(struct store *s, const char *path, const char *digest) {
    char text[STORE_REGISTRIES_MAX];
    int fd = openat(s->dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return;
    read_mark(fd, text, sizeof text);
    close(fd);
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
        if (strlen(line) <= REGISTRY_MAX)
            note_delivered(s, line, digest, true);
}

// --- is it still what it was? ---

static bool has_its_size(int fd, uint64_t size) {
    char number[NUMBER_MAX], expected[NUMBER_MAX];
    ssize_t n = fgetxattr(fd, STORE_SIZE_ATTRIBUTE, number, sizeof number - 1);
    number[n > 0 ? n : 0] = '\0';
    snprintf(expected, sizeof expected, "%" PRIu64, size);
    return strcmp(number, expected) == 0;
}

static bool hash_all(int fd, struct digest_hasher *h) {
    char *chunk = mem_alloc(CHUNK);
    off_t at = 0;
    ssize_t n;
    while ((n = pread(fd, chunk, CHUNK, at)) > 0 || (n < 0 && errno == EINTR)) {
        if (n < 0)
            continue;
        digest_hasher_add(h, chunk, (size_t)n);
        at += n;
    }
    free(chunk);
    return n == 0;
}

static bool has_its_digest(int fd, const char *digest) {
    enum digest_algorithm algorithm;
    char computed[DIGEST_TEXT_MAX + 1];
    if (digest_check(digest, strlen(digest), &algorithm) != DIGEST_OK)
        return false;
    struct digest_hasher *h = digest_hasher_new(algorithm);
    bool read = hash_all(fd, h);
    digest_hasher_end(h, computed);
    digest_hasher_free(h);
    return read && strcmp(computed, digest) == 0;
}

// What is not is removed, and told.
static bool is_sound(struct store *s, const char *path, const char *digest) {
    struct stat st;
    int fd = openat(s->dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return false;
    bool regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    bool sound = regular && (has_its_size(fd, (uint64_t)st.st_size) || has_its_digest(fd, digest));
    close(fd);
    if (regular && !sound)
        files_lost(s, digest, (uint64_t)st.st_size, true, "its bytes are not what its digest says");
    return sound;
}

// Whoever sees the content sees who delivered it.
static bool adopt_content(struct store *s, const char *digest, uint64_t *size, uint64_t *disk) {
    pthread_mutex_lock(&s->names);
    bool there = files_stat(s, digest, size, disk) && facts_adopt(s->facts, digest, *size);
    pthread_mutex_unlock(&s->names);
    return there;
}

bool adopt(struct store *s, const char *digest, uint64_t *size) {
    char path[STORE_PATH_MAX];
    uint64_t disk;
    struct stat st;
    if (!files_path(digest, path) || fstatat(s->dir, path, &st, AT_SYMLINK_NOFOLLOW) != 0 || !is_sound(s, path, digest))
        return false;
    adopt_deliveries(s, path, digest);
    if (!adopt_content(s, digest, size, &disk))
        return false;
    keeper_put(s,
               note_new(&(struct index_note){
                   .kind = NOTE_CONTENT, .digest = digest, .size = *size, .disk = disk, .time = (int64_t)st.st_mtime}));
    return true;
}

// --- the walk ---

static DIR *open_folder(struct store *s, const char *path) {
    int fd = openat(s->dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (d == NULL && fd >= 0)
        close(fd);
    return d;
}

// Somebody else's file, or none, under a digest's name would stand in the way.
static void remove_foreign(struct store *s, const char *digest) {
    char path[STORE_PATH_MAX];
    uint64_t size, disk;
    if (files_path(digest, path) && !files_stat(s, digest, &size, &disk))
        unlinkat(s->dir, path, 0);
}

static enum index_result sweep_file(struct store *s, struct index *i, struct sweep *w, const char *digest) {
    struct index_content known;
    uint64_t size;
    enum index_result r = index_content(i, digest, &known);
    if (r == INDEX_NOTHING && adopt(s, digest, &size))
        w->adopted++;
    else if (r == INDEX_NOTHING)
        remove_foreign(s, digest);
    return r == INDEX_NOTHING ? INDEX_OK : r;
}

static enum index_result sweep_folder(struct store *s, struct index *i, struct sweep *w) {
    const char *algorithm = algorithms[w->at / FOLDERS];
    char folder[3], path[STORE_PATH_MAX], digest[DIGEST_TEXT_MAX + 1];
    snprintf(folder, sizeof folder, "%02x", w->at % FOLDERS);
    snprintf(path, sizeof path, "blobs/%s/%s", algorithm, folder);
    w->at++;
    DIR *d = open_folder(s, path);
    if (d == NULL)
        return INDEX_OK;
    enum index_result r = INDEX_OK;
    for (const struct dirent *e = readdir(d); e != NULL && r == INDEX_OK; e = readdir(d)) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (files_digest(algorithm, folder, e->d_name, digest))
            r = sweep_file(s, i, w, digest);
        else
            unlinkat(dirfd(d), e->d_name, 0); // Nothing of ours has such a name.
    }
    closedir(d);
    return r;
}

struct rows {
    size_t count;
    struct {
        char digest[DIGEST_TEXT_MAX + 1];
        uint64_t size;
    } row[ROWS_MAX];
};

static bool note_row(void *ctx, const char *digest, const struct index_content *c) {
    struct rows *r = ctx;
    snprintf(r->row[r->count].digest, sizeof r->row->digest, "%s", digest);
    r->row[r->count].size = c->size;
    return ++r->count < ROWS_MAX;
}

static void sweep_row(struct store *s, struct sweep *w, const char *digest, uint64_t expected) {
    uint64_t size, disk;
    bool there = files_stat(s, digest, &size, &disk);
    if (there && size == expected)
        return;
    w->missing++;
    files_lost(s, digest, expected, false, there ? "its file has another size than it had when it was written" : NULL);
}

static enum index_result sweep_rows(struct store *s, struct index *i, struct sweep *w, bool *through) {
    struct rows *r = mem_zalloc(1, sizeof *r);
    enum index_result result = index_contents(i, w->after, note_row, r);
    for (size_t n = 0; n < r->count; n++)
        sweep_row(s, w, r->row[n].digest, r->row[n].size);
    *through = r->count < ROWS_MAX;
    if (r->count > 0)
        strcpy(w->after, r->row[r->count - 1].digest);
    free(r);
    return result == INDEX_NOTHING ? INDEX_OK : result;
}

enum index_result sweep_turn(struct store *s, struct index *i, struct sweep *w, bool *through) {
    *through = false;
    if (w->at < FOLDERS * (sizeof algorithms / sizeof *algorithms))
        return sweep_folder(s, i, w);
    return sweep_rows(s, i, w, through);
}

void sweep_temporary(struct store *s) {
    DIR *d = open_folder(s, "tmp");
    if (d == NULL)
        return;
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
            strncmp(e->d_name, s->instance, strlen(s->instance)) != 0)
            unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
}
