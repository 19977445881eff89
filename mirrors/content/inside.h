// SPDX-License-Identifier: Apache-2.0
//
// The inside of mirrors/content/: what its files share. Nobody else includes this.

#pragma once

#include "mirrors/base/buf.h"
#include "mirrors/base/lru.h"
#include "mirrors/content/content.h"

#include <pthread.h>

struct content {
    struct fetcher *fetcher;
    struct links *links;
    pthread_mutex_t lock; ///< Guards the tables below; never held across I/O.
    struct lru *judged;   ///< owner, registry, repository, digest -> struct manifest
    struct lru *refused;  ///< owner, registry, digest -> struct refusal
    struct lru *sizes;    ///< registry, repository, digest -> uint64_t
};

/// A digest that was refused as a manifest, and is therefore refused as a blob.
struct refusal {
    enum document_verdict verdict;
    struct err err;
};

bool content_refused(struct content *c, const struct content_place *place, const char *digest, struct refusal *out);
void content_remember(struct content *c, const struct content_place *place, struct manifest *m);
struct manifest *content_recall(struct content *c, const struct content_place *place, const char *digest);

/// The size that a manifest of this repository gives for a digest; UINT64_MAX: unknown.
uint64_t content_size(struct content *c, const struct content_place *place, const char *digest);

/// A spec for the fetcher from a place.
struct fetch_spec content_spec(const struct content_place *place, enum fetch_resource resource, const char *reference);

// whole.c: an answer that is read whole, with a bound.
struct whole {
    struct transfer_head head; ///< Its `location` is not kept.
    struct buf body;
    const struct fetch_result *result; ///< In `done` only.
};
typedef void (*whole_fn)(void *ctx, const struct whole *w);
void whole_start(struct fetcher *f, const struct fetch_spec *spec, size_t max, whole_fn done, void *ctx);
