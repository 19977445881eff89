// SPDX-License-Identifier: Apache-2.0
//
// See store_kit.h.

#include "tests/unit/store_kit.h"

#include "mirrors/base/mem.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

char *kit_directory(const char *parent) {
    const char *tmp = getenv("TMPDIR");
    char *name = mem_printf("%s/pullgate-store-XXXXXX", parent != NULL ? parent : tmp != NULL ? tmp : "/tmp");
    cr_assert(mkdtemp(name) != NULL, "no temporary directory");
    return name;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *at) {
    return remove(path);
}

void kit_remove(char *directory) {
    nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(directory);
}

static void note_event(void *ctx, const char *event, const char *sentence) {
    struct kit_events *e = ctx;
    pthread_mutex_lock(&e->lock);
    if (e->count < KIT_EVENTS_MAX) {
        snprintf(e->event[e->count], sizeof e->event[0], "%s", event);
        snprintf(e->sentence[e->count], sizeof e->sentence[0], "%s", sentence);
        e->count++;
    }
    pthread_mutex_unlock(&e->lock);
}

struct store_settings kit_settings(const char *directory, struct kit_events *events) {
    return (struct store_settings){.directory = directory, .event = events == NULL ? NULL : note_event, .ctx = events};
}

struct store *kit_open(const struct store_settings *settings) {
    struct err err = {0};
    struct store *s = store_open(settings, &err);
    cr_assert(s != NULL, "the store does not open: %s", err.text);
    return s;
}

unsigned kit_told(struct kit_events *events, const char *event) {
    unsigned told = 0;
    pthread_mutex_lock(&events->lock);
    for (unsigned n = 0; n < events->count; n++)
        told += strcmp(events->event[n], event) == 0;
    pthread_mutex_unlock(&events->lock);
    return told;
}

char *kit_content(unsigned n, size_t len, char digest[DIGEST_TEXT_MAX + 1]) {
    char *bytes = mem_alloc(len + 1);
    for (size_t at = 0; at < len; at++)
        bytes[at] = (char)((at * 31 + n * 7 + at / 251) & 0xFF);
    if (len >= sizeof n)
        memcpy(bytes, &n, sizeof n);
    digest_of(DIGEST_SHA256, bytes, len, digest);
    return bytes;
}

struct waiting {
    atomic_uint done;
    struct piece *piece;
};

static void note_done(void *ctx, struct piece *piece) {
    struct waiting *w = ctx;
    w->piece = piece;
    atomic_fetch_add(&w->done, 1);
}

struct piece *kit_put(struct store *s, unsigned n, size_t len, const char *media_type) {
    char digest[DIGEST_TEXT_MAX + 1];
    char *bytes = kit_content(n, len, digest);
    struct waiting w = {0};
    struct store_file *f = store_file_new(s, digest, len);
    bool written =
        f != NULL && store_file_write(f, bytes, len / 2) && store_file_write(f, bytes + len / 2, len - len / 2);
    free(bytes);
    if (!written) {
        store_file_drop(f);
        return NULL;
    }
    store_file_commit(f, KIT_REPOSITORY, media_type, note_done, &w);
    cr_assert(kit_wait(&w.done, 1), "a commit is told of");
    return w.piece;
}

bool kit_is(struct piece *p, unsigned n, size_t len) {
    char digest[DIGEST_TEXT_MAX + 1];
    if (p == NULL || piece_size(p) != len)
        return false;
    char *bytes = kit_content(n, len, digest), *read = mem_alloc(len + 1);
    const char *in_memory = piece_bytes(p);
    bool is = strcmp(piece_digest(p), digest) == 0 && (in_memory == NULL || memcmp(in_memory, bytes, len) == 0) &&
              pread(piece_fd(p), read, len, 0) == (ssize_t)len && memcmp(read, bytes, len) == 0;
    free(bytes);
    free(read);
    return is;
}

char *kit_path(const char *directory, const char *digest) {
    const char *hex = strchr(digest, ':') + 1;
    return mem_printf("%s/blobs/sha256/%.2s/%s", directory, hex, hex);
}

void kit_sleep_ms(unsigned ms) {
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

bool kit_wait(const atomic_uint *value, unsigned at_least) {
    for (unsigned n = 0; n < 4000 && atomic_load(value) < at_least; n++)
        kit_sleep_ms(5);
    return atomic_load(value) >= at_least;
}

struct store_facts kit_look(struct store *s, unsigned n, size_t len) {
    char digest[DIGEST_TEXT_MAX + 1];
    free(kit_content(n, len, digest));
    struct store_facts f, again;
    store_look(s, KIT_REPOSITORY, digest, &f);
    cr_expect(f.known, "a look always knows");
    store_recall(s, KIT_REPOSITORY, digest, &again);
    cr_expect(!again.known || (again.piece != NULL) == (f.piece != NULL), "memory says what the look said");
    piece_unref(again.piece);
    return f;
}
