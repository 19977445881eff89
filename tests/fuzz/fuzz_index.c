// SPDX-License-Identifier: Apache-2.0
//
// The index as a damaged disk leaves it: the input scribbles over a sound file. Each group of four bytes is an offset
// (three, big endian, taken within the file) and a byte to put there. Whatever is then answered about who may read what
// was true of the sound file, and writing to it does not end the program.

#include "mirrors/store/index.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DIGESTS = 12, FIRST_TIME = 1000, GROUP = 4, FILE_MAX = 256 * 1024 };

static char path[64], sound[FILE_MAX];
static size_t sound_len;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static void require(bool promise) {
    if (!promise)
        abort();
}

static void remove_file(const char *suffix) {
    char file[80];
    snprintf(file, sizeof file, "%s%s", path, suffix);
    unlink(file);
}

static void remove_files(void) {
    remove_file("");
    remove_file("-wal");
    remove_file("-shm");
    *strrchr(path, '/') = '\0';
    rmdir(path);
}

static void write_digest(unsigned n, char *out) {
    snprintf(out, DIGEST_TEXT_MAX + 1, "sha256:%064x", n);
}

static const char *repository_of(unsigned n) {
    return n % 2 == 0 ? "a/even" : "b/odd";
}

static void write_one(struct index *i, unsigned n) {
    char digest[DIGEST_TEXT_MAX + 1], child[DIGEST_TEXT_MAX + 1], tag[16];
    write_digest(n, digest);
    write_digest(n + 2, child);
    snprintf(tag, sizeof tag, "t%u", n);
    const struct index_note notes[] = {
        {.kind = NOTE_CONTENT, .digest = digest, .size = n, .disk = n, .time = FIRST_TIME},
        {.kind = NOTE_CONFIRMED,
         .registry = "r.io",
         .repository = repository_of(n),
         .digest = digest,
         .time = FIRST_TIME},
        {.kind = NOTE_DELIVERED, .registry = "r.io", .digest = digest},
        {.kind = NOTE_TAG, .registry = "r.io", .repository = repository_of(n), .tag = tag, .digest = digest},
        {.kind = NOTE_EDGE,
         .registry = "r.io",
         .repository = repository_of(n),
         .tag = digest,
         .digest = child,
         .flags = 1},
    };
    require(index_apply(i, notes, sizeof notes / sizeof *notes) == INDEX_OK);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    char directory[] = "/tmp/fuzz-index-XXXXXX";
    require(mkdtemp(directory) != NULL);
    snprintf(path, sizeof path, "%s/index.db", directory);
    atexit(remove_files);
    struct index *i = NULL;
    require(index_open(path, INDEX_WRITE, false, &i, NULL) == INDEX_OK);
    for (unsigned n = 0; n < DIGESTS; n++)
        write_one(i, n);
    index_close(i);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = read(fd, sound, sizeof sound);
    require(got > 0 && got < FILE_MAX);
    sound_len = (size_t)got;
    close(fd);
    return 0;
}

static void put_file(const uint8_t *data, size_t size) {
    static char bytes[FILE_MAX];
    memcpy(bytes, sound, sound_len);
    for (size_t at = 0; at + GROUP <= size; at += GROUP)
        bytes[((size_t)data[at] << 16 | (size_t)data[at + 1] << 8 | data[at + 2]) % sound_len] = (char)data[at + 3];
    remove_file("-wal");
    remove_file("-shm");
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    require(write(fd, bytes, sound_len) == (ssize_t)sound_len);
    close(fd);
}

static void check_edge(void *ctx, const struct store_edge *e) {
    const char *repository = ctx;
    unsigned parent = 0, child = 0;
    require(sscanf(e->parent + 7, "%x", &parent) == 1 && sscanf(e->child + 7, "%x", &child) == 1);
    require(child == parent + 2 && repository == repository_of(parent));
}

static bool check_item(void *ctx, const struct store_item *i) {
    require(strlen(i->digest) <= DIGEST_TEXT_MAX && strlen(i->media_type) <= MEDIA_TYPE_MAX);
    return true;
}

static bool check_content(void *ctx, const char *digest, const struct index_content *c) {
    require(c->size < DIGESTS);
    return true;
}

static bool check_holder(void *ctx, const char *registry, const char *repository, const char *tag) {
    require(strcmp(registry, "r.io") == 0 && (tag[0] == '\0' || tag[0] == 't'));
    return true;
}

static void ask_about(struct index *i, unsigned n) {
    char digest[DIGEST_TEXT_MAX + 1], type[MEDIA_TYPE_MAX + 1], tag[16];
    struct index_content c;
    struct store_tag t;
    int64_t at = 0;
    bool delivered = false;
    write_digest(n, digest);
    snprintf(tag, sizeof tag, "t%u", n);
    require(index_content(i, digest, &c) != INDEX_OK || c.size == n);
    require(index_confirmed(i, "r.io", repository_of(n + 1), digest, &at, type) != INDEX_OK);
    require(index_confirmed(i, "r.io", repository_of(n), digest, &at, type) != INDEX_OK ||
            (at == FIRST_TIME && n < DIGESTS));
    require(index_delivered(i, "r.io", digest, &delivered) != INDEX_OK || n < DIGESTS);
    require(index_tag(i, "r.io", repository_of(n), tag, &t) != INDEX_OK || strcmp(t.digest, digest) == 0);
    index_holders(i, digest, check_holder, NULL);
}

static void ask_everything(struct index *i) {
    struct index_sums sums;
    struct index_oldest oldest[4];
    size_t count = 0;
    for (unsigned n = 0; n <= DIGESTS; n += 3)
        ask_about(i, n);
    for (unsigned n = 0; n < 2; n++)
        index_edges(i, "r.io", repository_of(n), check_edge, (void *)(uintptr_t)repository_of(n));
    require(index_sum(i, &sums) != INDEX_OK || sums.pieces <= DIGESTS);
    index_oldest(i, 0, oldest, 4, &count);
    index_list(i, false, check_item, NULL);
    index_list(i, true, check_item, NULL);
    index_contents(i, "", check_content, NULL);
}

static void write_again(struct index *i) {
    char digest[DIGEST_TEXT_MAX + 1];
    write_digest(0, digest);
    const struct index_note note = {.kind = NOTE_USED, .digest = digest, .time = FIRST_TIME + 1};
    index_apply(i, &note, 1);
}

// With the check or without, by the first byte: what the check misses is for the rows themselves to tell.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    bool check = data[0] & 1, write = data[0] & 2;
    put_file(data + 1, size - 1);
    struct index *i = NULL;
    if (index_open(path, write ? INDEX_WRITE : INDEX_READ, check, &i, NULL) != INDEX_OK)
        return 0;
    ask_everything(i);
    if (write) {
        write_again(i);
        ask_everything(i);
    }
    index_close(i);
    return 0;
}
