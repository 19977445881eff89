// SPDX-License-Identifier: Apache-2.0
//
// An index in a directory of its own: see index_bed.h.

#include "index_bed.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char bed_directory[64], bed_path[96];

void bed_enter(void) {
    strcpy(bed_directory, "/tmp/test-index-XXXXXX");
    cr_assert_not_null(mkdtemp(bed_directory));
    snprintf(bed_path, sizeof bed_path, "%s/index.db", bed_directory);
}

void bed_leave(void) {
    static const char *const SUFFIXES[] = {"", "-wal", "-shm"};
    for (size_t s = 0; s < sizeof SUFFIXES / sizeof *SUFFIXES; s++) {
        char file[128];
        snprintf(file, sizeof file, "%s%s", bed_path, SUFFIXES[s]);
        unlink(file);
    }
    rmdir(bed_directory);
}

struct text text_of(unsigned n) {
    struct text t;
    snprintf(t.s, sizeof t.s, "sha256:%08x%056x", n * 2654435761u, n);
    return t;
}

struct index *open_ok(enum index_mode mode, bool check) {
    struct index *i = NULL;
    struct err err = {0};
    enum index_result r = index_open(bed_path, mode, check, &i, &err);
    cr_assert(r == INDEX_OK && i != NULL, "%d: %s", r, err.text);
    return i;
}

void apply_ok(struct index *i, const struct index_note *notes, size_t count) {
    enum index_result r = index_apply(i, notes, count);
    cr_assert_eq(r, INDEX_OK, "%s", index_error(i));
}
