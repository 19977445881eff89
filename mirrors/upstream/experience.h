// SPDX-License-Identifier: Apache-2.0
//
// What was learned of endpoints lately: which failed, and which gave wrong content for a digest.
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

/// `host` of this registry gave wrong content for `digest`; `sentence` is what later asks get.
void experience_mismatched(struct experience *x, const char *registry, const char *host, const char *digest,
                           const char *sentence);
bool experience_is_mismatched(struct experience *x, const char *registry, const char *host, const char *digest,
                              struct err *err);
