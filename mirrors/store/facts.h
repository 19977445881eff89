// SPDX-License-Identifier: Apache-2.0
//
// The inside of what memory knows: shared by facts.c (content, confirmations, deliveries) and tags.c (tags,
// forgetting).

#pragma once

#include "mirrors/store/inside.h"

struct lru;

struct facts {
    pthread_mutex_t lock;
    uint64_t generation;   // Of the index that counts.
    struct lru *confirmed; // registry, repository, digest -> struct confirmed
    struct lru *delivered; // registry, digest -> struct delivered
    struct lru *tags;      // registry, repository, tag -> struct tag_fact
    struct lru *gone;      // registry, repository, digest or tag: the upstream said so
    struct lru *held;      // digest -> struct held
    struct lru *open;      // digest -> struct piece, with a descriptor
    struct lru *small;     // digest -> struct piece, with bytes
    struct lru *used;      // digest -> int64_t: uses that the index has not got
};

/// Parts joined by NULs, as the tables want them.
struct key {
    size_t len;
    char bytes[REGISTRY_MAX + 1 + REPOSITORY_MAX + 1 + DIGEST_TEXT_MAX + 1];
};

/// Up to three parts (`c` may be NULL). False: longer than any name can be.
bool key_make(struct key *k, const char *a, const char *b, const char *c);

/// Does a fact of this generation (0: our own) still count?
bool fact_counts(const struct facts *f, uint64_t generation);
