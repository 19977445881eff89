// SPDX-License-Identifier: Apache-2.0
//
// An index in a directory of its own, for tests.

#pragma once

#include "mirrors/oci/name.h"
#include "mirrors/store/index.h"

#define HUB "docker.io"
#define MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define IN(repository_) .registry = HUB, .repository = repository_

extern char bed_directory[64], bed_path[96];

/// For TestSuite's .init and .fini.
void bed_enter(void);
void bed_leave(void);

struct text {
    char s[DIGEST_TEXT_MAX + 1];
};

/// The digest with this number; spread, as real digests are.
struct text text_of(unsigned n);

/// For the length of a statement.
#define dig(n) (text_of(n).s)

struct index *open_ok(enum index_mode mode, bool check);
void apply_ok(struct index *i, const struct index_note *notes, size_t count);

#define apply(i, ...)                                                                                                  \
    apply_ok(i, (const struct index_note[]){__VA_ARGS__},                                                              \
             sizeof((const struct index_note[]){__VA_ARGS__}) / sizeof(struct index_note))
