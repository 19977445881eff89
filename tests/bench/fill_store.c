// SPDX-License-Identifier: Apache-2.0
//
// For the benchmark: fill a store's directory with blobs that nobody has fetched.
//
//     fill_store DIRECTORY COUNT REGISTRY REPOSITORY
//
// Each blob is a sparse file of zeros under a made-up digest (large enough for nobody to read it before), known to the
// index as delivered by REGISTRY and confirmed for REPOSITORY just now: as much for a starting gateway to cope with as
// if it were real. Prints the last digest.

#include "mirrors/store/index.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BLOB_SIZE = 1 << 20, BATCH = 1000, NOTES = 3, PATH_SIZE = 4096 };

struct blob {
    char digest[DIGEST_TEXT_MAX + 1];
};

static _Noreturn void die(const char *what) {
    fprintf(stderr, "fill_store: %s\n", what);
    exit(1);
}

/// Spread evenly over the folders, as digests are.
static void make_digest(uint64_t number, char out[DIGEST_TEXT_MAX + 1]) {
    uint64_t mixed = (number + 1) * UINT64_C(0x9E3779B97F4A7C15);
    snprintf(out, DIGEST_TEXT_MAX + 1, "sha256:%016" PRIx64 "%048" PRIx64, mixed, number);
}

static void make_file(const char *directory, const char *digest) {
    char path[PATH_SIZE];
    const char *hex = digest + sizeof("sha256:") - 1;
    snprintf(path, sizeof(path), "%s/blobs/sha256/%.2s", directory, hex);
    mkdir(path, 0700);
    snprintf(path, sizeof(path), "%s/blobs/sha256/%.2s/%s", directory, hex, hex);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, BLOB_SIZE) != 0)
        die("cannot make a file");
    close(fd);
}

static void fill(struct index *i, const char *directory, size_t from, size_t count, const char *registry,
                 const char *repository) {
    static struct index_note notes[BATCH * NOTES];
    static struct blob blobs[BATCH];
    int64_t now = (int64_t)time(NULL);
    for (size_t n = 0; n < count; n++) {
        struct index_note *at = notes + n * NOTES;
        make_digest(from + n, blobs[n].digest);
        make_file(directory, blobs[n].digest);
        struct index_note note = {.registry = registry,
                                  .repository = repository,
                                  .digest = blobs[n].digest,
                                  .media_type = "",
                                  .size = BLOB_SIZE,
                                  .time = now};
        for (size_t k = 0; k < NOTES; k++)
            at[k] = note;
        at[0].kind = NOTE_CONTENT;
        at[1].kind = NOTE_DELIVERED;
        at[2].kind = NOTE_CONFIRMED;
    }
    if (index_apply(i, notes, count * NOTES) != INDEX_OK)
        die(index_error(i));
}

/// The directory as a gateway leaves it that kept nothing.
static void make_store(const char *directory) {
    struct store_settings settings = {.directory = directory};
    struct err err = {0};
    struct store *s = store_open(&settings, &err);
    if (s == NULL)
        die(err.text);
    store_close(s);
}

int main(int argc, char **argv) {
    char path[PATH_SIZE], last[DIGEST_TEXT_MAX + 1];
    struct err err = {0};
    struct index *i = NULL;
    if (argc != 5)
        die("usage: fill_store DIRECTORY COUNT REGISTRY REPOSITORY");
    size_t count = strtoul(argv[2], NULL, 10);
    make_store(argv[1]);
    snprintf(path, sizeof(path), "%s/index.db", argv[1]);
    if (index_open(path, INDEX_WRITE, false, &i, &err) != INDEX_OK)
        die(err.text);
    for (size_t from = 0; from < count; from += BATCH)
        fill(i, argv[1], from, count - from < BATCH ? count - from : BATCH, argv[3], argv[4]);
    if (index_set_unclean(i, false) != INDEX_OK)
        die(index_error(i));
    index_close(i);
    make_digest(count - 1, last);
    printf("%s\n", last);
    return 0;
}
