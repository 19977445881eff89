// SPDX-License-Identifier: Apache-2.0
//
// Verifying: every file is read and its digest compared, at most at a given rate, beside whatever else runs.

#include "mirrors/base/clock.h"
#include "mirrors/base/mem.h"
#include "mirrors/store/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ROWS_MAX = 256, CHUNK = 256 * 1024, SLICE_MS = 100 };

struct row {
    char digest[DIGEST_TEXT_MAX + 1];
    uint64_t size;
};

struct verify {
    struct store *s;
    uint64_t rate, done, all, wrong;
    int64_t began;
    bool (*progress)(void *ctx, uint64_t done, uint64_t all);
    void (*bad)(void *ctx, const char *digest, const char *why);
    void *ctx;
    bool stop;
    char *chunk;
    size_t count;
    struct row rows[ROWS_MAX];
};

// --- the rate ---

static void sleep_ms(int64_t ms) {
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

// Wait until the bytes done are no more than the rate allows by now, in slices so that it can be ended.
static void pace(struct verify *v) {
    while (!v->stop && v->rate != 0) {
        int64_t due = v->began + (int64_t)((double)v->done / (double)v->rate * 1000), now = clock_ms();
        if (now >= due)
            return;
        sleep_ms(due - now < SLICE_MS ? due - now : SLICE_MS);
        v->stop = v->progress != NULL && !v->progress(v->ctx, v->done, v->all);
    }
}

static void advance(struct verify *v, uint64_t bytes) {
    v->done += bytes;
    if (v->progress != NULL && !v->progress(v->ctx, v->done, v->all))
        v->stop = true;
    pace(v);
}

// --- one file ---

enum verdict { VERDICT_RIGHT, VERDICT_SIZE, VERDICT_BYTES, VERDICT_UNREADABLE, VERDICT_MISSING, VERDICT_UNKNOWN };

static const char *const words[] = {
    [VERDICT_SIZE] = "its file has another size than it had when it was written",
    [VERDICT_BYTES] = "its bytes are not what its digest says",
    [VERDICT_UNREADABLE] = "its file cannot be read",
    [VERDICT_MISSING] = "its file is missing",
};

// Bytes are added to the hash; false where they cannot be read.
static bool hash_file(struct verify *v, int fd, struct digest_hasher *h, uint64_t *size) {
    *size = 0;
    while (!v->stop) {
        ssize_t n = pread(fd, v->chunk, CHUNK, (off_t)*size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0;
        digest_hasher_add(h, v->chunk, (size_t)n);
        *size += (uint64_t)n;
        advance(v, (uint64_t)n);
    }
    return true;
}

static enum verdict judge(struct verify *v, int fd, const struct row *row) {
    enum digest_algorithm algorithm;
    char computed[DIGEST_TEXT_MAX + 1];
    uint64_t size;
    if (digest_check(row->digest, strlen(row->digest), &algorithm) != DIGEST_OK)
        return VERDICT_UNKNOWN;
    struct digest_hasher *h = digest_hasher_new(algorithm);
    bool readable = hash_file(v, fd, h, &size);
    digest_hasher_end(h, computed);
    digest_hasher_free(h);
    if (v->stop)
        return VERDICT_UNKNOWN;
    if (!readable)
        return VERDICT_UNREADABLE;
    if (size != row->size)
        return VERDICT_SIZE;
    return strcmp(computed, row->digest) == 0 ? VERDICT_RIGHT : VERDICT_BYTES;
}

// Evicted or removed since the row was read?
static bool is_still_held(struct store *s, const char *digest) {
    struct index_content c;
    uint64_t generation;
    keeper_flush(s);
    struct index *i = readers_take(s, &generation);
    if (i == NULL)
        return false;
    enum index_result r = index_content(i, digest, &c);
    readers_give(s, i, generation, r);
    return r == INDEX_OK && !facts_is_absent(s->facts, digest);
}

static enum verdict judge_missing(struct verify *v, const struct row *row, int error) {
    if (error == ENOENT)
        return is_still_held(v->s, row->digest) ? VERDICT_MISSING : VERDICT_UNKNOWN;
    return error == ELOOP || error == EIO ? VERDICT_UNREADABLE : VERDICT_UNKNOWN;
}

static void tell_wrong(struct verify *v, const struct row *row, enum verdict verdict) {
    v->wrong++;
    files_lost(v->s, row->digest, row->size, verdict == VERDICT_BYTES || verdict == VERDICT_UNREADABLE, words[verdict]);
    if (v->bad != NULL)
        v->bad(v->ctx, row->digest, words[verdict]);
}

static void verify_row(struct verify *v, const struct row *row) {
    char path[STORE_PATH_MAX];
    if (!files_path(row->digest, path))
        return;
    int fd = openat(v->s->dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    enum verdict verdict = fd < 0 ? judge_missing(v, row, errno) : judge(v, fd, row);
    if (fd >= 0)
        close(fd);
    if (verdict != VERDICT_RIGHT && verdict != VERDICT_UNKNOWN)
        tell_wrong(v, row, verdict);
}

// --- all of them ---

static bool note_row(void *ctx, const char *digest, const struct index_content *c) {
    struct verify *v = ctx;
    struct row *row = &v->rows[v->count];
    snprintf(row->digest, sizeof row->digest, "%s", digest);
    row->size = c->size;
    return ++v->count < ROWS_MAX;
}

static bool add_size(void *ctx, const char *digest, const struct index_content *c) {
    ((struct verify *)ctx)->all += c->size;
    return true;
}

static void each_row(struct store *s, const char *after,
                     bool (*row)(void *ctx, const char *digest, const struct index_content *c), void *ctx) {
    uint64_t generation;
    struct index *i = readers_take(s, &generation);
    if (i != NULL)
        readers_give(s, i, generation, index_contents(i, after, row, ctx));
}

static void verify_all(struct verify *v) {
    char after[DIGEST_TEXT_MAX + 1] = "";
    do {
        v->count = 0;
        each_row(v->s, after, note_row, v);
        for (size_t n = 0; n < v->count && !v->stop; n++)
            verify_row(v, &v->rows[n]);
        if (v->count > 0)
            strcpy(after, v->rows[v->count - 1].digest);
    } while (v->count == ROWS_MAX && !v->stop);
}

uint64_t store_verify(struct store *s, uint64_t bytes_per_second,
                      bool (*progress)(void *ctx, uint64_t done, uint64_t all),
                      void (*bad)(void *ctx, const char *digest, const char *why), void *ctx) {
    struct verify *v = mem_zalloc(1, sizeof *v);
    v->s = s;
    v->rate = bytes_per_second;
    v->progress = progress;
    v->bad = bad;
    v->ctx = ctx;
    v->began = clock_ms();
    v->chunk = mem_alloc(CHUNK);
    keeper_flush(s);
    each_row(s, "", add_size, v);
    verify_all(v);
    uint64_t wrong = v->wrong;
    free(v->chunk);
    free(v);
    return wrong;
}
