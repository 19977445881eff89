// SPDX-License-Identifier: Apache-2.0
//
// What was learned of upstreams lately: which endpoints failed, which gave wrong content for a digest, and which
// registries asked to be left alone.
//
// Bounded tables under a lock of their own. Thread-safe.

#pragma once

#include "mirrors/base/err.h"

#include <stdint.h>

enum {
    EXPERIENCE_REST_S = 30,      ///< An endpoint that failed is asked last for so long.
    EXPERIENCE_MISMATCH_S = 300, ///< An endpoint whose content did not match its digest is not asked for that digest.
    EXPERIENCE_ENTRIES_MAX = 10000
};

struct experience;

struct experience *experience_new(void);
void experience_free(struct experience *x);

/// `endpoint` (its base URL) failed now, or did well.
void experience_failed(struct experience *x, const char *endpoint);
void experience_good(struct experience *x, const char *endpoint);

/// Did it fail a short while ago?
bool experience_rests(struct experience *x, const char *endpoint);

/// `registry` asked to be left alone for so long. A shorter time does not cut a longer one that runs.
void experience_limited(struct experience *x, const char *registry, int seconds);

/// For how many seconds more? 0: it may be asked.
int experience_limited_left(struct experience *x, const char *registry);

/// `host` of this registry gave wrong content for `digest`; `sentence` is what later asks get.
void experience_mismatched(struct experience *x, const char *registry, const char *host, const char *digest,
                           const char *sentence);
bool experience_is_mismatched(struct experience *x, const char *registry, const char *host, const char *digest,
                              struct err *err);
