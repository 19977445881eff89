// SPDX-License-Identifier: Apache-2.0
//
// A bed for tests of content: a scripted upstream, a fetcher and a content without a store.

#pragma once

#include "mirrors/content/inside.h"
#include "tests/unit/upstream.h"

#include <time.h>

enum { BED_BIG = 3 * 1024 * 1024 + 17, BED_PATIENCE_S = 20 };

struct bed {
    struct upstream *upstream;
    struct registry *registry;
    struct fetcher *fetcher;
    struct content *content;
    struct content_place place; ///< "a/b" of the registry "test".
};

void bed_open(struct bed *b, upstream_fn answer, void *ctx);

/// Over what stands at these ports; `upstream` stays NULL.
void bed_open_at(struct bed *b, const uint16_t *ports, size_t count);

/// Expects that nobody has kept the place's owner.
void bed_close(struct bed *b);

/// Have a manifest of this repository say how large `digest` is.
void bed_tell_size(struct bed *b, const char *digest, uint64_t size);

/// When patience ends that begins now, for pthread_cond_timedwait().
struct timespec bed_soon(void);

/// The sha256 of a text.
void bed_digest(const char *text, char *out);

/// BED_BIG random bytes, always the same ones; to be freed.
char *bed_big(char *digest);
